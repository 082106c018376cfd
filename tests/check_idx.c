/* IDX files: images, rows and labels, plain and packed, found by name or content; hostile headers; faults.  */
#include <zlib.h>

#include "datafix.h"
#include "faults.h"
#include "oom.h"

/* A file: header and as many bytes as the dimensions say, value i being 3 i + 1 mod 256; its size.  */
static size_t build(unsigned char *to, int type, int ndim, const uint32_t *shape)
{
    size_t n = 4, values = 1;
    to[0] = to[1] = 0;
    to[2] = (unsigned char)type;
    to[3] = (unsigned char)ndim;
    for (int i = 0; i < ndim; i++, n += 4) {
        for (int k = 0; k < 4; k++)
            to[n + (size_t)k] = (unsigned char)(shape[i] >> (24 - 8 * k));
        values = values * shape[i] < 60000 ? values * shape[i] : 60000;
    }
    for (size_t i = 0; i < values; i++)
        to[n + i] = (unsigned char)(3 * i + 1);
    return n + values;
}

static unsigned char bytes[1 << 16];

static void pack(const char *path, size_t n)
{
    gzFile z = gzopen(path, "wb");
    ck_assert_int_eq(gzwrite(z, bytes, (unsigned)n), (int)n);
    gzclose(z);
}

static const char *const names[] = {
    "t10k-images-idx3-ubyte", "t10k-images-idx3-ubyte.gz", "images.idx", "images", "images.gz", "train-images.idx3-ubyte",
};

START_TEST(images)
{
    const char *path = test_tmp_file(names[_i]);
    size_t n = build(bytes, 8, 3, (uint32_t[]){5, 3, 4}), d;
    if (strstr(path, ".gz"))
        pack(path, n);
    else
        test_write(path, bytes, n);
    dfo_source *source;
    dfo_source_info info;
    double *weight;
    OK(dfo_source_open(ctx, path, NULL, &source));
    dfo_source_describe(source, &info);
    ck_assert(info.rows == 5 && info.shape.c == 1 && info.shape.h == 3 && info.shape.w == 4 && info.discrete &&
              info.levels == 256);
    dfo_real *x = data_read(source, &d, &weight);
    for (size_t i = 0; i < 60; i++)
        ck_assert(x[i] == (dfo_real)((3 * i + 1) % 256));
    ck_assert(weight[4] == 1);
    free(weight);
    free(x);
    dfo_real y[3 * 14];
    for (size_t i = 0; i < 42; i++)
        y[i] = -1;
    OK(dfo_source_gather(source, ctx, (uint64_t[]){4, 0, 4}, (dfo_batch){y, 3, 12, 14}, NULL));
    ck_assert(y[0] == 145 && y[14] == 1 && y[28] == 145 && y[39] == 178 && y[12] == -1 && y[41] == -1);
    dfo_source_free(source);
    char spec[700];
    snprintf(spec, sizeof spec, "%s#3:5", path);
    OK(dfo_source_open(ctx, spec, NULL, &source));
    OK(dfo_source_read(source, ctx, 1, dfo_batch_of(y, 1, 12), NULL));
    ck_assert(data_rows(source) == 2 && y[0] == 145);
    dfo_source_free(source);
}
END_TEST

START_TEST(labels)
{
    const char *path = test_tmp_file("t-labels-idx1-ubyte");
    dfo_source *source;
    dfo_source_info info;
    size_t classes, n = build(bytes, 8, 1, (uint32_t[]){4});
    test_write(path, bytes, n);
    OK(dfo_source_open(ctx, path, NULL, &source));
    dfo_source_describe(source, &info);
    ck_assert(info.rows == 4 && info.shape.c == 1 && info.shape.h == 1 && !info.discrete);
    dfo_source_free(source);
    OK(dfo_source_labels(ctx, path, NULL, &source, &classes));
    ck_assert_uint_eq(classes, 11);                          /* 1 4 7 10 */
    dfo_source_free(source);
    test_write(path, bytes, build(bytes, 8, 2, (uint32_t[]){4, 2}));
    ck_assert_int_eq(dfo_source_labels(ctx, path, NULL, &source, &classes), DFO_EFORMAT);
    SAYS("an IDX array of 2 dimensions, expected labels");
    OK(dfo_source_open(ctx, path, NULL, &source));
    dfo_source_describe(source, &info);
    ck_assert(info.rows == 4 && info.shape.c == 2 && !info.discrete);
    dfo_source_free(source);
    dfo_source_options options = {.columns = "1"};
    ck_assert_int_eq(dfo_source_open(ctx, path, &options, &source), DFO_EARG);
    SAYS("neither columns nor a size of images");
}
END_TEST

static const struct {
    int         type, ndim;
    uint32_t    shape[4];
    size_t      keep;            /* bytes of the file */
    const char *says;
} bad[] = {
    {8, 3, {5, 3, 4}, 0, "the file is empty"},
    {8, 3, {5, 3, 4}, 3, "truncated: expected an IDX header, found 3 bytes"},
    {8, 3, {5, 3, 4}, 10, "truncated: expected an IDX header of 16 bytes, the file has 10"},
    {8, 3, {5, 3, 4}, 75, "truncated: the header promises 76 bytes, the file has 75"},
    {8, 3, {1, 3, 4}, 76, "too long: the header promises 28 bytes, the file has 76"},
    {8, 3, {0, 3, 4}, 16, "expected rows of bytes, found none (dimension 1 is 0)"},
    {8, 3, {5, 3, 0}, 16, "expected rows of bytes, found none (dimension 3 is 0)"},
    {8, 3, {1u << 31, 1u << 31, 1}, 100, "truncated: the header promises 4611686018427387920 bytes, the file has 100"},
    {8, 3, {0xffffffff, 0xffffffff, 0xffffffff}, 100, "more than can be addressed"},
    {13, 3, {5, 3, 4}, 100, "IDX values of type 0x0d, expected bytes (0x08)"},
    {8, 4, {5, 3, 2, 2}, 100, "an IDX array of 4 dimensions, expected 1 to 3"},
    {8, 0, {0}, 100, "an IDX array of 0 dimensions, expected 1 to 3"},
};

START_TEST(hostile)
{
    size_t before = dfo_ctx_peak_bytes(ctx);
    for (int packed = 0; packed < 2; packed++) {
        char path[700];
        dfo_source *source;
        snprintf(path, sizeof path, "%s", test_tmp_file(packed ? "bad-idx3-ubyte.gz" : "bad-idx3-ubyte"));
        memset(bytes, 0, sizeof bytes);
        build(bytes, bad[_i].type, bad[_i].ndim, bad[_i].shape);
        if (packed)
            pack(path, bad[_i].keep);
        else
            test_write(path, bytes, bad[_i].keep);
        dfo_status status = dfo_source_open(ctx, path, NULL, &source);
        ck_assert_msg(status == DFO_EFORMAT || status == DFO_EUNSUP || (packed && status == DFO_ELIMIT),
                      "case %d: %s", _i, dfo_status_text(status));
        SAYS("bad-idx3-ubyte");
        if (status != DFO_ELIMIT)
            SAYS(bad[_i].says);
    }
    ck_assert_uint_lt(dfo_ctx_peak_bytes(ctx) - before, 600000);
}
END_TEST

START_TEST(not_idx)
{
    const char *path = test_tmp_file("x-idx3-ubyte");
    dfo_source *source;
    test_write(path, "1,2\n3,4\n", 8);
    ck_assert_int_eq(dfo_source_open(ctx, path, NULL, &source), DFO_EFORMAT);
    SAYS("x-idx3-ubyte: not an IDX file: expected it to begin with two bytes 0");
    path = test_tmp_file("cut-idx3-ubyte.gz");
    pack(path, build(bytes, 8, 3, (uint32_t[]){50, 30, 4}));
    size_t n;
    char *whole = test_read(path, &n);
    for (size_t k = 2; k < n; k += 7) {
        test_write(path, whole, k);
        ck_assert_int_eq(dfo_source_open(ctx, path, NULL, &source), DFO_EFORMAT);
        SAYS("cut-idx3-ubyte.gz: truncated");
    }
    free(whole);
}
END_TEST

static dfo_status work(dfo_ctx *c, void *data)
{
    dfo_source *source;
    dfo_real x[24];
    DFO_TRY(dfo_source_open(c, data, NULL, &source));
    dfo_status status = dfo_source_read(source, c, 0, dfo_batch_of(x, 2, 12), NULL);
    dfo_source_free(source);
    return status;
}

START_TEST(each_fault)
{
    char plain[600], packed[600];
    size_t n = build(bytes, 8, 3, (uint32_t[]){5, 3, 4});
    snprintf(plain, sizeof plain, "%s", test_tmp_file("f-idx3-ubyte"));
    snprintf(packed, sizeof packed, "%s", test_tmp_file("f-idx3-ubyte.gz"));
    test_write(plain, bytes, n);
    pack(packed, n);
    faults_check(&(faults){.what = "reading IDX", .work = work, .data = plain, .folder = test_tmp()});
    faults_check(&(faults){.what = "unpacking IDX", .work = work, .data = packed, .folder = test_tmp()});
    oom_check("reading IDX", OOM_ALL, work, plain);
    oom_check("unpacking IDX", OOM_ALL, work, packed);
}
END_TEST

/* Sums computed apart.  */
START_TEST(mnist)
{
    const char *path = data_shared("mnist/t10k-images-idx3-ubyte.gz");
    dfo_source *source;
    size_t d, classes;
    double sum = 0;
    if (!path)
        return;
    OK(dfo_source_open(ctx, path, NULL, &source));
    ck_assert_uint_lt(dfo_ctx_bytes(ctx), 20000000);         /* bytes, not numbers */
    dfo_real *x = data_read(source, &d, NULL);
    ck_assert(d == 784 && data_rows(source) == 10000);
    for (size_t i = 0; i < 10000 * d; i++)
        sum += (double)x[i];
    ck_assert_msg(sum == 264923200, "%.0f", sum);
    free(x);
    dfo_source_free(source);
    OK(dfo_source_labels(ctx, data_shared("mnist/t10k-labels-idx1-ubyte.gz"), NULL, &source, &classes));
    x = data_read(source, &d, NULL);
    sum = 0;
    for (size_t i = 0; i < 10000; i++)
        sum += (double)x[i];
    ck_assert(classes == 10 && sum == 44434 && x[0] == 7 && x[9] == 9);
    free(x);
    dfo_source_free(source);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("idx " DFO_REAL_NAME);
    TCase *tc = tcase_create("idx");
    tcase_set_timeout(tc, 120);
    tcase_add_checked_fixture(tc, data_begin, data_end);
    tcase_add_loop_test(tc, images, 0, sizeof names / sizeof *names);
    tcase_add_test(tc, labels);
    tcase_add_loop_test(tc, hostile, 0, sizeof bad / sizeof *bad);
    tcase_add_test(tc, not_idx);
    tcase_add_test(tc, each_fault);
    tcase_add_test(tc, mnist);
    suite_add_tcase(suite, tc);
    return test_run(suite);
}
