/* Sinks of images: what is written is what is read again, values kept in range, grids laid out, folders and
 * files whole or not there.  */
#include <sys/stat.h>
#include <unistd.h>

#include "datafix.h"
#include "faults.h"
#include "oom.h"

static dfo_status write_all(dfo_ctx *c, const char *path, const char *format, dfo_batch x, dfo_shape shape,
                            uint32_t levels)
{
    dfo_sink *sink;
    DFO_TRY(dfo_sink_open_images(c, path, format, x.n, shape, levels, 0, &sink));
    dfo_status status = DFO_OK;
    for (size_t i = 0; i < x.n && status == DFO_OK; i += 2)
        status = dfo_sink_write(sink, dfo_batch_rows(x, i, x.n - i < 2 ? 1 : 2));
    if (status == DFO_OK)
        status = dfo_sink_finish(sink);
    dfo_sink_free(sink);
    return status;
}

static void expect(const char *path, dfo_batch x, dfo_shape shape, uint32_t levels)
{
    dfo_source *source;
    dfo_source_info info;
    size_t d;
    OK(dfo_source_open(ctx, path, NULL, &source));
    dfo_source_describe(source, &info);
    ck_assert_msg(info.rows == x.n && info.shape.c == shape.c && info.shape.h == shape.h && info.shape.w == shape.w &&
                  info.levels == levels, "seed %llu", (unsigned long long)test_seed());
    dfo_real *y = data_read(source, &d, NULL);
    for (size_t i = 0; i < x.n; i++)
        ck_assert(!memcmp(y + i * d, dfo_row(x, i), d * sizeof *y));
    free(y);
    dfo_source_free(source);
}

START_TEST(again)
{
    test_rng rng = test_rng_new(test_seed() + (uint64_t)_i);
    uint32_t levels = _i & 1 ? 65536 : 256;
    size_t n = test_rng_between(&rng, 1, 14);
    dfo_shape shape = {_i & 2 ? 3 : 1, test_rng_between(&rng, 2, 9), test_rng_between(&rng, 2, 9)};
    size_t d = dfo_shape_size(shape), ld = d + test_rng_between(&rng, 0, 3);
    dfo_real *x = malloc(n * ld * sizeof *x);
    ck_assert_ptr_nonnull(x);
    for (size_t i = 0; i < n * ld; i++)
        x[i] = (dfo_real)test_rng_between(&rng, 0, levels - 1);
    dfo_batch rows = {x, n, d, ld};
    OK(write_all(ctx, test_tmp_file("a.npy"), NULL, rows, shape, levels));
    expect(test_tmp_file("a.npy"), rows, shape, levels);
    char folder[40];
    snprintf(folder, sizeof folder, "folder%d/", _i);
    OK(write_all(ctx, test_tmp_file(folder), NULL, rows, shape, levels));
    expect(test_tmp_file(folder), rows, shape, levels);
    OK(write_all(ctx, test_tmp_file("one.png"), NULL, dfo_batch_rows(rows, 0, 1), shape, levels));
    expect(test_tmp_file("one.png"), dfo_batch_rows(rows, 0, 1), shape, levels);
    OK(write_all(ctx, test_tmp_file("by-format"), "png", dfo_batch_rows(rows, n - 1, 1), shape, levels));
    expect(test_tmp_file("by-format"), dfo_batch_rows(rows, n - 1, 1), shape, levels);
    snprintf(folder, sizeof folder, "named%d/", _i);
    OK(write_all(ctx, test_tmp_file(folder), "png", rows, shape, levels));
    expect(test_tmp_file(folder), rows, shape, levels);
    free(x);
}
END_TEST

START_TEST(in_range)
{
    dfo_real x[6] = {-5, (dfo_real)254.4, (dfo_real)254.6, 1000, NAN, (dfo_real)0.5};
    dfo_real want[6] = {0, 254, 255, 255, 0, 1};
    dfo_shape shape = {1, 2, 3};
    OK(write_all(ctx, test_tmp_file("r.npy"), NULL, dfo_batch_of(x, 1, 6), shape, 256));
    expect(test_tmp_file("r.npy"), dfo_batch_of(want, 1, 6), shape, 256);
    want[2] = want[1] = want[3] = 3;
    OK(write_all(ctx, test_tmp_file("few.png"), NULL, dfo_batch_of(x, 1, 6), shape, 4));
    expect(test_tmp_file("few.png"), dfo_batch_of(want, 1, 6), shape, 256);
}
END_TEST

/* Seven images of 2 x 3 in a grid of 3 columns, a pixel between them, white where there is none.  */
START_TEST(grid)
{
    dfo_real x[7 * 6], *y;
    dfo_shape shape = {1, 2, 3};
    dfo_source *source;
    dfo_source_info info;
    size_t d;
    for (size_t i = 0; i < 42; i++)
        x[i] = (dfo_real)(i + 1);
    OK(write_all(ctx, test_tmp_file("g.png"), NULL, dfo_batch_of(x, 7, 6), shape, 256));
    OK(dfo_source_open(ctx, test_tmp_file("g.png"), NULL, &source));
    dfo_source_describe(source, &info);
    ck_assert(info.shape.c == 1 && info.shape.h == 3 * 2 + 2 && info.shape.w == 3 * 3 + 2);
    y = data_read(source, &d, NULL);
    for (size_t v = 0; v < 8; v++)
        for (size_t u = 0; u < 11; u++) {
            size_t i = v / 3 * 3 + u / 4;
            int inside = v % 3 < 2 && u % 4 < 3 && i < 7;
            ck_assert(y[v * 11 + u] == (inside ? x[i * 6 + v % 3 * 3 + u % 4] : 255));
        }
    free(y);
    dfo_source_free(source);
    dfo_sink *sink;
    OK(dfo_sink_open_images(ctx, test_tmp_file("c.png"), NULL, 7, shape, 256, 5, &sink));
    OK(dfo_sink_write(sink, dfo_batch_of(x, 7, 6)));
    OK(dfo_sink_finish(sink));
    dfo_sink_free(sink);
    OK(dfo_source_open(ctx, test_tmp_file("c.png"), NULL, &source));
    dfo_source_describe(source, &info);
    ck_assert(info.shape.h == 2 * 2 + 1 && info.shape.w == 5 * 3 + 4);
    dfo_source_free(source);
}
END_TEST

START_TEST(refused)
{
    dfo_real x[12] = {0};
    dfo_sink *sink;
    dfo_shape two = {2, 2, 3}, one = {1, 2, 3};
    ck_assert_int_eq(dfo_sink_open_images(ctx, test_tmp_file("n.png"), NULL, 1, two, 256, 0, &sink), DFO_EARG);
    SAYS("n.png: pictures have 1 or 3 channels, these images 2");
    OK(write_all(ctx, test_tmp_file("two.npy"), NULL, dfo_batch_of(x, 1, 12), two, 256));
    ck_assert_int_eq(dfo_sink_open_images(ctx, test_tmp_file("n.jpg"), NULL, 1, one, 256, 0, &sink), DFO_EARG);
    SAYS("n.jpg: expected the name of an output of images to end in .png, .npy or /");
    ck_assert_int_eq(dfo_sink_open_images(ctx, test_tmp_file("n.png"), NULL, 1, one, 1, 0, &sink), DFO_EARG);
    ck_assert_int_eq(dfo_sink_open_images(ctx, test_tmp_file("n.png"), NULL, 0, one, 256, 0, &sink), DFO_EARG);
    ck_assert_int_eq(dfo_sink_open_images(ctx, test_tmp_file("n.png"), NULL, 1u << 30, one, 256, 0, &sink), DFO_EARG);
    SAYS("are more than 65535 pixels");
    dfo_shape large = {3, 500, 500};
    ck_assert_int_eq(dfo_sink_open_images(ctx, test_tmp_file("n.png"), NULL, 10000, large, 256, 0, &sink), DFO_ELIMIT);
    SAYS("10000 images of 750000 bytes need more than 268435456 bytes in a grid");
    mkdir(test_tmp_file("used"), 0777);
    test_write(test_tmp_file("used/x"), "x", 1);
    ck_assert_int_eq(dfo_sink_open_images(ctx, test_tmp_file("used"), NULL, 1, one, 256, 0, &sink), DFO_EIO);
    SAYS("used: the folder is not empty");
    ck_assert_int_eq(dfo_sink_open_images(ctx, test_tmp_file("used/x/"), NULL, 1, one, 256, 0, &sink), DFO_EIO);
    SAYS("x: is a file, expected the name of a folder");
    ck_assert_int_eq(dfo_sink_open_images(ctx, test_tmp_file("no/where/"), NULL, 1, one, 256, 0, &sink), DFO_EIO);
    OK(dfo_sink_open_images(ctx, test_tmp_file("short.png"), NULL, 2, one, 256, 0, &sink));
    OK(dfo_sink_write(sink, dfo_batch_of(x, 1, 6)));
    ck_assert_int_eq(dfo_sink_write(sink, dfo_batch_of(x, 2, 6)), DFO_EARG);
    SAYS("short.png: expected 2 rows in all, got more");
    ck_assert_int_eq(dfo_sink_write(sink, dfo_batch_of(x, 1, 5)), DFO_ESHAPE);
    ck_assert_int_eq(dfo_sink_finish(sink), DFO_EARG);
    SAYS("short.png: expected 2 rows, got 1");
    dfo_sink_free(sink);
    ck_assert_int_ne(access(test_tmp_file("short.png"), F_OK), 0);
}
END_TEST

static dfo_status work(dfo_ctx *c, void *path)
{
    dfo_real x[54];
    for (size_t i = 0; i < 54; i++)
        x[i] = (dfo_real)(4 * i);
    return write_all(c, path, NULL, dfo_batch_of(x, 3, 18), (dfo_shape){3, 2, 3}, 256);
}

static void old_file(void *path)
{
    test_write(path, "old\n", 4);
}

static int whole_file(void *path, int killed)
{
    size_t n;
    char *got = test_read(path, &n);
    int fine = (n == 4 && !memcmp(got, "old\n", 4)) ||
               (n > 60 && !memcmp(got + n - 8, "IEND\xae\x42\x60\x82", 8)) || n == 128 + 54;
    (void)killed;
    free(got);
    return fine;
}

static void no_folder(void *path)
{
    char command[700];
    snprintf(command, sizeof command, "rm -rf '%s'", (const char *)path);
    ck_assert_int_eq(system(command), 0);
}

/* Either none, or all three pictures.  */
static int whole_folder(void *path, int killed)
{
    char name[700];
    int there = 0;
    (void)killed;
    for (int i = 0; i < 3; i++) {
        snprintf(name, sizeof name, "%s/0000%d.png", (const char *)path, i);
        there += !access(name, F_OK);
    }
    return there == 3 || access(path, F_OK);
}

/* Over whatever is there.  */
static dfo_status folder_work(dfo_ctx *c, void *path)
{
    no_folder(path);
    return work(c, path);
}

START_TEST(each_fault)
{
    char png[600], npy[600], folder[600];
    snprintf(png, sizeof png, "%s", test_tmp_file("f.png"));
    snprintf(npy, sizeof npy, "%s", test_tmp_file("f.npy"));
    mkdir(test_tmp_file("place"), 0777);
    snprintf(folder, sizeof folder, "%s", test_tmp_file("place/f/"));
    faults_check(&(faults){.what = "a grid", .work = work, .data = png, .reset = old_file, .whole = whole_file,
                           .folder = test_tmp()});
    faults_check(&(faults){.what = "an array", .work = work, .data = npy, .reset = old_file, .whole = whole_file,
                           .folder = test_tmp()});
    faults_check(&(faults){.what = "a folder", .work = folder_work, .data = folder, .reset = no_folder, .whole = whole_folder});
    oom_check("a grid", OOM_ALL, work, png);
    oom_check("an array", OOM_ALL, work, npy);
}
END_TEST

START_TEST(folder_memory)
{
    char folder[600];
    snprintf(folder, sizeof folder, "%s", test_tmp_file("m/"));
    oom_check("a folder", OOM_OURS, folder_work, folder);
    no_folder(folder);
}
END_TEST

/* What a killed writer left goes when the next one comes; the folder of one that lives stays.  */
START_TEST(left_over)
{
    char dead[700], alive[700], file[800];
    dfo_sink *sink;
    dfo_real x[6] = {0};
    dfo_shape shape = {1, 2, 3};
    snprintf(dead, sizeof dead, "%s.tmp-1-0", test_tmp_file("l"));
    snprintf(file, sizeof file, "%s/00000.png", dead);
    mkdir(dead, 0777);
    test_write(file, "x", 1);
    OK(dfo_sink_open_images(ctx, test_tmp_file("l/"), NULL, 1, shape, 256, 0, &sink));
    ck_assert_int_ne(access(dead, F_OK), 0);
    snprintf(alive, sizeof alive, "%s.tmp-%ld-0", test_tmp_file("l"), (long)getpid());
    ck_assert_int_eq(access(alive, F_OK), 0);
    dfo_sink *other;
    OK(dfo_sink_open_images(ctx, test_tmp_file("l/"), NULL, 1, shape, 256, 0, &other));
    ck_assert_int_eq(access(alive, F_OK), 0);
    dfo_sink_free(other);
    OK(dfo_sink_write(sink, dfo_batch_of(x, 1, 6)));
    OK(dfo_sink_finish(sink));
    dfo_sink_free(sink);
    ck_assert_int_eq(access(test_tmp_file("l/00000.png"), F_OK), 0);
    ck_assert_int_ne(access(alive, F_OK), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("pictures " DFO_REAL_NAME);
    TCase *tc = tcase_create("pictures");
    tcase_set_timeout(tc, 120);
    tcase_add_checked_fixture(tc, data_begin, data_end);
    tcase_add_loop_test(tc, again, 0, 8);
    tcase_add_test(tc, in_range);
    tcase_add_test(tc, grid);
    tcase_add_test(tc, refused);
    tcase_add_test(tc, each_fault);
    tcase_add_test(tc, folder_memory);
    tcase_add_test(tc, left_over);
    suite_add_tcase(suite, tc);
    return test_run(suite);
}
