/* CIFAR-10 records: images and labels from the same bytes; class labels of other files, and as one-hot rows.  */
#include "datafix.h"
#include "faults.h"
#include "oom.h"

#define RECORD 3073

static unsigned char bytes[5 * RECORD];

/* Five records: labels 3 1 4 1 5; byte k of image i is 7 k + i.  */
static const char *make(void)
{
    static const unsigned char label[] = {3, 1, 4, 1, 5};
    const char *path = test_tmp_file("five.bin");
    for (size_t i = 0; i < 5; i++) {
        bytes[i * RECORD] = label[i];
        for (size_t k = 0; k < 3072; k++)
            bytes[i * RECORD + 1 + k] = (unsigned char)(7 * k + i);
    }
    test_write(path, bytes, sizeof bytes);
    return path;
}

START_TEST(records)
{
    const char *path = make();
    dfo_source *source;
    dfo_source_info info;
    size_t d, classes;
    OK(dfo_source_open(ctx, path, NULL, &source));
    dfo_source_describe(source, &info);
    ck_assert(info.rows == 5 && info.shape.c == 3 && info.shape.h == 32 && info.shape.w == 32 && info.discrete &&
              info.levels == 256);
    dfo_real *x = data_read(source, &d, NULL);
    for (size_t i = 0; i < 5; i++)
        for (size_t k = 0; k < 3072; k++)
            ck_assert(x[i * d + k] == (dfo_real)((7 * k + i) % 256));
    free(x);
    dfo_source_free(source);
    OK(dfo_source_labels(ctx, path, NULL, &source, &classes));
    x = data_read(source, &d, NULL);
    ck_assert(d == 1 && classes == 6 && x[0] == 3 && x[1] == 1 && x[4] == 5);
    free(x);
    dfo_source_free(source);
    char spec[700];
    snprintf(spec, sizeof spec, "%s#1:4", path);
    OK(dfo_source_labels(ctx, spec, NULL, &source, &classes));
    x = data_read(source, &d, NULL);
    ck_assert(data_rows(source) == 3 && classes == 5 && x[1] == 4);
    free(x);
    dfo_source_free(source);
}
END_TEST

/* A dark picture of class 0 begins as an IDX file does: the name decides.  */
START_TEST(dark)
{
    const char *path = make();
    dfo_source *source;
    dfo_source_info info;
    static const unsigned char idx[] = {0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1};
    memcpy(bytes, idx, sizeof idx);
    test_write(path, bytes, sizeof bytes);
    OK(dfo_source_open(ctx, path, NULL, &source));
    dfo_source_describe(source, &info);
    ck_assert(info.rows == 5 && info.shape.c == 3);
    dfo_source_free(source);
}
END_TEST

START_TEST(hostile)
{
    const char *path = make();
    dfo_source *source;
    for (size_t n = 1; n < 2 * RECORD; n += n == RECORD - 1 ? 2 : n < 4 || n > 3060 ? 1 : 60) {
        if (n % RECORD == 0)
            continue;
        test_write(path, bytes, n);
        ck_assert_int_eq(dfo_source_open(ctx, path, NULL, &source), DFO_EFORMAT);
        SAYS("five.bin: expected records of 3073 bytes (CIFAR-10), found ");
    }
    bytes[2 * RECORD] = 10;
    test_write(path, bytes, sizeof bytes);
    ck_assert_int_eq(dfo_source_open(ctx, path, NULL, &source), DFO_EFORMAT);
    SAYS("five.bin: row 2: expected a label from 0 to 9, found 10");
    make();
    dfo_source_options options = {.columns = "1-3"};
    ck_assert_int_eq(dfo_source_open(ctx, path, &options, &source), DFO_EARG);
    SAYS("columns cannot be chosen from images");
}
END_TEST

START_TEST(tables)
{
    const char *path = test_tmp_file("labels.csv");
    dfo_source *source;
    size_t classes;
    dfo_sink *sink;
    OK(dfo_sink_open_doubles(ctx, test_tmp_file("labels.npy"), NULL, 3, NULL, &sink));
    OK(dfo_sink_write_doubles(sink, (double[]){4, 0, 2}, 3));
    OK(dfo_sink_finish(sink));
    dfo_sink_free(sink);
    OK(dfo_source_labels(ctx, test_tmp_file("labels.npy"), NULL, &source, &classes));
    ck_assert(classes == 5 && data_rows(source) == 3);
    dfo_source_free(source);
    dfo_source_options options = {.columns = "class"};
    test_write(path, "x,class\n0.5,2\n1.5,0\n2.5,6\n", 26);
    OK(dfo_source_labels(ctx, path, &options, &source, &classes));
    ck_assert_uint_eq(classes, 7);
    dfo_source_free(source);
    ck_assert_int_eq(dfo_source_labels(ctx, path, NULL, &source, &classes), DFO_ESHAPE);
    ck_assert_ptr_null(source);
    SAYS("labels.csv: expected one column of labels, found 2");
    options.columns = "x";
    ck_assert_int_eq(dfo_source_labels(ctx, path, &options, &source, &classes), DFO_EFORMAT);
    SAYS("labels.csv: row 0: expected a class from 0 to 9999, found 0.5");
    static const char *const bad[] = {"1\n-1\n", "1\n10000\n", "1\n1e30\n"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        test_write(path, bad[i], strlen(bad[i]));
        ck_assert_int_eq(dfo_source_labels(ctx, path, NULL, &source, &classes), DFO_EFORMAT);
        SAYS("labels.csv: row 1: expected a class from 0 to 9999, found ");
    }
}
END_TEST

/* Images and one-hot labels side by side, read in any order and through slices and splits.  */
START_TEST(one_hot)
{
    const char *path = make();
    dfo_source *data, *labels, *hot, *both, *part;
    dfo_source_info info;
    size_t classes;
    static dfo_real x[600 * 8];
    OK(dfo_source_open(ctx, path, NULL, &data));
    OK(dfo_source_labels(ctx, path, NULL, &labels, &classes));
    OK(dfo_source_one_hot(ctx, labels, 8, &hot));
    dfo_source_describe(hot, &info);
    ck_assert(info.rows == 5 && info.shape.c == 8 && !info.discrete);
    uint64_t rows[600];
    double weight[600];
    for (size_t i = 0; i < 600; i++)
        rows[i] = i * 3 % 5;
    for (size_t i = 0; i < 600 * 8; i++)
        x[i] = 7;
    OK(dfo_source_gather(hot, ctx, rows, dfo_batch_of(x, 600, 8), weight));
    for (size_t i = 0; i < 600; i++)
        for (size_t j = 0; j < 8; j++)
            ck_assert(x[i * 8 + j] == (dfo_real)(j == bytes[rows[i] * RECORD]) && weight[i] == 1);
    OK(dfo_source_join(ctx, data, hot, &both));
    OK(dfo_source_slice(ctx, both, 2, 3, &part));
    static dfo_real y[3080];
    OK(dfo_source_read(part, ctx, 2, dfo_batch_of(y, 1, 3080), NULL));
    ck_assert(y[0] == 4 && y[3072 + 5] == 1 && y[3072] == 0 && y[3079] == 0);
    char a[17], b[17];
    dfo_source_hash(hot, a);
    dfo_source *other;
    OK(dfo_source_one_hot(ctx, labels, 9, &other));
    dfo_source_hash(other, b);
    ck_assert_str_ne(a, b);
    dfo_source_free(other);
    OK(dfo_source_one_hot(ctx, labels, 5, &other));          /* the last label is 5 */
    OK(dfo_source_read(other, ctx, 0, dfo_batch_of(x, 4, 5), NULL));
    ck_assert_int_eq(dfo_source_read(other, ctx, 3, dfo_batch_of(x, 2, 5), NULL), DFO_EFORMAT);
    SAYS("five.bin: row 4: expected a class from 0 to 4, found 5");
    dfo_source_free(other);
    OK(dfo_source_class(ctx, 2, 4, 1000, &other));
    OK(dfo_source_read(other, ctx, 400, dfo_batch_of(x, 600, 4), NULL));
    for (size_t i = 0; i < 2400; i++)
        ck_assert(x[i] == (dfo_real)(i % 4 == 2));
    ck_assert(data_rows(other) == 1000);
    dfo_source_free(other);
    ck_assert_int_eq(dfo_source_class(ctx, 4, 4, 10, &other), DFO_EARG);
    SAYS("expected a class from 0 to 3, got 4");
    ck_assert_int_eq(dfo_source_one_hot(ctx, labels, 0, &other), DFO_EARG);
    ck_assert_int_eq(dfo_source_one_hot(ctx, data, 5, &other), DFO_ESHAPE);
    dfo_source_free(part);
    dfo_source_free(both);
    dfo_source_free(hot);
    dfo_source_free(labels);
    dfo_source_free(data);
}
END_TEST

static dfo_status work(dfo_ctx *c, void *path)
{
    dfo_source *data = NULL, *labels = NULL, *hot = NULL, *both = NULL;
    size_t classes;
    static dfo_real x[3078];
    dfo_status status;
    DFO_GO(dfo_source_open(c, path, NULL, &data));
    DFO_GO(dfo_source_labels(c, path, NULL, &labels, &classes));
    DFO_GO(dfo_source_one_hot(c, labels, classes, &hot));
    DFO_GO(dfo_source_join(c, data, hot, &both));
    DFO_GO(dfo_source_read(both, c, 4, dfo_batch_of(x, 1, 3078), NULL));
fail:
    dfo_source_free(both);
    dfo_source_free(hot);
    dfo_source_free(labels);
    dfo_source_free(data);
    return status;
}

START_TEST(each_fault)
{
    char path[700];
    snprintf(path, sizeof path, "%s", make());
    faults_check(&(faults){.what = "reading CIFAR-10", .work = work, .data = path, .folder = test_tmp()});
    oom_check("reading CIFAR-10", OOM_ALL, work, path);
}
END_TEST

/* Figures computed apart.  */
START_TEST(real_data)
{
    static const int first[] = {3, 8, 8, 0, 6, 6, 1, 6, 3, 1};
    const char *path = data_shared("cifar10/test_1017.bin");
    dfo_source *source;
    size_t d, classes;
    double sum = 0;
    if (!path)
        return;
    OK(dfo_source_open(ctx, path, NULL, &source));
    dfo_real *x = data_read(source, &d, NULL);
    for (size_t i = 0; i < 1017 * 3072; i++)
        sum += (double)x[i];
    ck_assert_msg(d == 3072 && data_rows(source) == 1017 && sum == 380676608, "%.0f", sum);
    free(x);
    dfo_source_free(source);
    OK(dfo_source_labels(ctx, path, NULL, &source, &classes));
    x = data_read(source, &d, NULL);
    for (size_t i = 0; i < 10; i++)
        ck_assert(x[i] == (dfo_real)first[i]);
    ck_assert_uint_eq(classes, 10);
    free(x);
    dfo_source_free(source);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("cifar " DFO_REAL_NAME);
    TCase *tc = tcase_create("cifar");
    tcase_set_timeout(tc, 120);
    tcase_add_checked_fixture(tc, data_begin, data_end);
    tcase_add_test(tc, records);
    tcase_add_test(tc, dark);
    tcase_add_test(tc, hostile);
    tcase_add_test(tc, tables);
    tcase_add_test(tc, one_hot);
    tcase_add_test(tc, each_fault);
    tcase_add_test(tc, real_data);
    suite_add_tcase(suite, tc);
    return test_run(suite);
}
