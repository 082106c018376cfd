/* PNG pictures as data: every kind that libpng writes, folders, what is refused and how, faults.  */
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "datafix.h"
#include "faults.h"
#include "oom.h"
#include "pngfix.h"

static const png_kind kinds[] = {
    {5, 4, 8, PNG_COLOR_TYPE_GRAY, 0, 0},  {5, 4, 8, PNG_COLOR_TYPE_RGB, 0, 0},
    {3, 7, 16, PNG_COLOR_TYPE_GRAY, 0, 0}, {3, 7, 16, PNG_COLOR_TYPE_RGB, 0, 0},
    {9, 9, 8, PNG_COLOR_TYPE_RGB, 1, 0},   {13, 2, 16, PNG_COLOR_TYPE_GRAY, 1, 0},
    {1, 1, 8, PNG_COLOR_TYPE_GRAY, 1, 0},  {11, 3, 1, PNG_COLOR_TYPE_GRAY, 0, 0},
    {7, 3, 2, PNG_COLOR_TYPE_GRAY, 0, 0},  {6, 5, 4, PNG_COLOR_TYPE_GRAY, 1, 0},
    {6, 5, 8, PNG_COLOR_TYPE_PALETTE, 0, 0}, {10, 3, 2, PNG_COLOR_TYPE_PALETTE, 1, 0},
};

/* Channel k of pixel (y, x), from the packed rows.  */
static unsigned expected(const png_kind *kind, const unsigned char *rows, size_t stride, size_t k, size_t y, size_t x)
{
    static const unsigned char colour[4][3] = {{1, 2, 3}, {40, 50, 60}, {255, 0, 128}, {7, 77, 177}};
    const unsigned char *row = rows + y * stride;
    size_t channels = kind->type == PNG_COLOR_TYPE_RGB ? 3 : 1, bits = (size_t)kind->bits;
    if (bits == 16)
        return (unsigned)row[2 * (x * channels + k)] << 8 | row[2 * (x * channels + k) + 1];
    if (bits == 8 && kind->type != PNG_COLOR_TYPE_PALETTE)
        return row[x * channels + k];
    unsigned v = row[x * bits / 8] >> (8 - bits - x * bits % 8) & ((1u << bits) - 1);
    if (kind->type == PNG_COLOR_TYPE_PALETTE)
        return colour[v][k];
    return v * 255 / ((1u << bits) - 1);
}

START_TEST(each_kind)
{
    const png_kind *k = &kinds[_i];
    test_rng rng = test_rng_new(test_seed() + (uint64_t)_i);
    const char *path = test_tmp_file("kind.png");
    size_t stride, d;
    unsigned char *rows = png_random(path, k, &rng, &stride);
    dfo_source *source;
    dfo_source_info info;
    OK(dfo_source_open(ctx, path, NULL, &source));
    dfo_source_describe(source, &info);
    size_t c = k->type == PNG_COLOR_TYPE_GRAY ? 1 : 3;
    ck_assert(info.rows == 1 && info.shape.c == c && info.shape.h == k->h && info.shape.w == k->w);
    ck_assert(info.discrete && info.levels == (k->bits == 16 ? 65536 : 256));
    double *weight;
    dfo_real *x = data_read(source, &d, &weight);
    ck_assert(d == c * k->h * k->w && weight[0] == 1);
    for (size_t j = 0; j < c; j++)
        for (size_t y = 0; y < k->h; y++)
            for (size_t i = 0; i < k->w; i++) {
                unsigned want = expected(k, rows, stride, j, y, i);
                dfo_real got = x[(j * k->h + y) * k->w + i];
                ck_assert_msg(got == (dfo_real)want, "seed %llu kind %d: channel %zu (%zu,%zu): %g, not %u",
                              (unsigned long long)test_seed(), _i, j, y, i, (double)got, want);
            }
    free(weight);
    free(x);
    free(rows);
    dfo_source_free(source);
}
END_TEST

/* Folder `name` with n pictures of kind k; picture i is filled with 10 + i.  Written in another order than that
 * of their names.  */
static const char *make_folder(const char *name, size_t n, const png_kind *k)
{
    const char *folder = test_tmp_file(name);
    unsigned char rows[4096];
    mkdir(folder, 0777);
    for (size_t j = 0; j < n; j++) {
        size_t i = (j * 7 + 3) % n;
        char path[700];
        memset(rows, (int)(10 + i), sizeof rows);
        snprintf(path, sizeof path, "%s/p%03zu.%s", folder, i, i % 2 ? "png" : "PNG");
        png_make(path, k, rows, k->w * 3);
    }
    return folder;
}

START_TEST(folders)
{
    static const png_kind k = {4, 6, 8, PNG_COLOR_TYPE_RGB, 0, 0};
    const char *folder = make_folder("many", 11, &k);
    char path[700];
    snprintf(path, sizeof path, "%s/readme.txt", folder);
    test_write(path, "no picture", 10);
    snprintf(path, sizeof path, "%s/.hidden.png", folder);
    test_write(path, "no picture", 10);
    for (int slash = 0; slash < 2; slash++) {
        dfo_source *source;
        size_t d;
        snprintf(path, sizeof path, "%s%s", folder, slash ? "/" : "#0:11");
        OK(dfo_source_open(ctx, path, NULL, &source));
        ck_assert_uint_eq(data_rows(source), 11);
        dfo_real *x = data_read(source, &d, NULL);
        for (size_t i = 0; i < 11; i++)
            ck_assert(x[i * d] == (dfo_real)(10 + i) && x[i * d + d - 1] == (dfo_real)(10 + i));
        free(x);
        dfo_source_free(source);
    }
    dfo_source *source;
    dfo_source_info info;
    snprintf(path, sizeof path, "%s#2:5", folder);
    OK(dfo_source_open(ctx, path, NULL, &source));
    dfo_source_describe(source, &info);
    dfo_real x[72];
    ck_assert(info.rows == 3 && info.levels == 256 && info.shape.c == 3);
    OK(dfo_source_read(source, ctx, 2, dfo_batch_of(x, 1, 72), NULL));
    ck_assert(x[0] == 14);
    dfo_source_free(source);
}
END_TEST

/* A PNG by hand: chunks as they are given, checksums right.  */
static size_t chunk(unsigned char *to, const char *type, const unsigned char *data, size_t n)
{
    uint32_t crc = (uint32_t)crc32(crc32(0, (const unsigned char *)type, 4), data, (uInt)n);
    for (int i = 0; i < 4; i++)
        to[i] = (unsigned char)(n >> (24 - 8 * i));
    memcpy(to + 4, type, 4);
    if (n)
        memcpy(to + 8, data, n);
    for (int i = 0; i < 4; i++)
        to[8 + n + (size_t)i] = (unsigned char)(crc >> (24 - 8 * i));
    return n + 12;
}

static void huge(const char *path, uint32_t w, uint32_t h, unsigned char bits, unsigned char type)
{
    static const unsigned char magic[] = "\x89PNG\r\n\x1a\n";
    unsigned char head[13] = {0}, bytes[200], idat[] = {0x78, 0x9c, 0x63, 0, 1, 0, 1, 0, 1};
    for (int i = 0; i < 4; i++) {
        head[i] = (unsigned char)(w >> (24 - 8 * i));
        head[4 + i] = (unsigned char)(h >> (24 - 8 * i));
    }
    head[8] = bits;
    head[9] = type;
    memcpy(bytes, magic, 8);
    size_t n = 8 + chunk(bytes + 8, "IHDR", head, 13);
    n += chunk(bytes + n, "IDAT", idat, sizeof idat);
    n += chunk(bytes + n, "IEND", idat, 0);
    test_write(path, bytes, n);
}

START_TEST(too_large)
{
    static const struct { uint32_t w, h; unsigned char bits, type; const char *says; } cases[] = {
        {20000, 20000, 8, 2, "20000 x 20000 pixels need 1200000000 bytes, expected at most 268435456"},
        {20000, 20000, 8, 0, "20000 x 20000 pixels need 400000000 bytes, expected at most 268435456"},
        {20000, 20000, 16, 2, "need 2400000000 bytes"},
        {0x7fffffff, 0x7fffffff, 16, 2, "2147483647 x 2147483647 pixels need "},
        {1000000000, 1, 8, 0, "1000000000 x 1 pixels need 1000000000 bytes"},
    };
    const char *path = test_tmp_file("huge.png");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        dfo_source *source;
        huge(path, cases[i].w, cases[i].h, cases[i].bits, cases[i].type);
        ck_assert_int_eq(dfo_source_open(ctx, path, NULL, &source), DFO_ELIMIT);
        SAYS(cases[i].says);
        SAYS("huge.png: ");
        ck_assert_uint_lt(dfo_ctx_peak_bytes(ctx), 200000);
    }
    dfo_source *source;
    huge(path, 1000, 1000, 8, 0);
    dfo_ctx_set_memory_limit(ctx, 999999);
    ck_assert_int_eq(dfo_source_open(ctx, path, NULL, &source), DFO_ELIMIT);
    SAYS("1000 x 1000 pixels need 1000000 bytes, expected at most 999999");
    dfo_ctx_set_memory_limit(ctx, 1000000);
    ck_assert_int_eq(dfo_source_open(ctx, path, NULL, &source), DFO_EFORMAT);     /* its pixels are missing */
    SAYS("huge.png: ");
    dfo_ctx_set_memory_limit(ctx, 0);
}
END_TEST

/* Texts and profiles that claim two thousand million bytes: none is asked for.  */
START_TEST(claims)
{
    static const char *const name[] = {"tEXt", "zTXt", "iTXt", "iCCP", "sPLT", "eXIf"};
    const char *path = test_tmp_file("claims.png");
    struct rusage use;
    for (size_t i = 0; i < sizeof name / sizeof *name; i++) {
        dfo_source *source;
        huge(path, 8, 8, 8, 0);
        FILE *f = fopen(path, "r+b");
        ck_assert_ptr_nonnull(f);
        fseek(f, 33, SEEK_SET);                        /* behind the head */
        ck_assert_int_eq(fprintf(f, "\x77\x35\x94%c%sA", 0, name[i]), 9);
        for (int k = 0; k < 4000; k++)
            fputc(k % 7, f);
        ck_assert_int_eq(fclose(f), 0);
        ck_assert_int_eq(dfo_source_open(ctx, path, NULL, &source), DFO_EFORMAT);
        SAYS("claims.png: ");
        getrusage(RUSAGE_SELF, &use);
        ck_assert_int_lt(use.ru_maxrss, 400000);       /* KiB */
    }
}
END_TEST

START_TEST(refused)
{
    static const png_kind bad[] = {
        {4, 4, 8, PNG_COLOR_TYPE_RGB_ALPHA, 0, 0}, {4, 4, 16, PNG_COLOR_TYPE_GRAY_ALPHA, 0, 0},
        {4, 4, 8, PNG_COLOR_TYPE_PALETTE, 0, 1}, {4, 4, 8, PNG_COLOR_TYPE_GRAY, 0, 1},
    };
    test_rng rng = test_rng_new(1);
    const char *path = test_tmp_file("bad.png");
    dfo_source *source;
    size_t stride;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        free(png_random(path, &bad[i], &rng, &stride));
        ck_assert_int_eq(dfo_source_open(ctx, path, NULL, &source), DFO_EUNSUP);
        SAYS("bad.png: expected gray or RGB, found ");
        SAYS(i < 2 ? "an alpha channel" : "transparent colours");
    }
    free(png_random(path, &kinds[0], &rng, &stride));
    dfo_source_options options = {.columns = "1"};
    ck_assert_int_eq(dfo_source_open(ctx, path, &options, &source), DFO_EARG);
    SAYS("columns cannot be chosen from images");
    options = (dfo_source_options){.images = "4x5"};
    ck_assert_int_eq(dfo_source_open(ctx, path, &options, &source), DFO_EARG);
    options = (dfo_source_options){.labels = 1};
    ck_assert_int_eq(dfo_source_open(ctx, path, &options, &source), DFO_EUNSUP);
    SAYS("pictures hold no labels");
    test_write(path, "text\n", 5);
    ck_assert_int_eq(dfo_source_open(ctx, path, NULL, &source), DFO_EFORMAT);
    SAYS("bad.png: not a PNG file");
    mkdir(test_tmp_file("empty"), 0777);
    ck_assert_int_eq(dfo_source_open(ctx, test_tmp_file("empty"), NULL, &source), DFO_EFORMAT);
    SAYS("empty: is a directory without any *.png");
}
END_TEST

START_TEST(mixed)
{
    static const png_kind k = {4, 6, 8, PNG_COLOR_TYPE_RGB, 0, 0};
    static const png_kind other[] = {
        {6, 4, 8, PNG_COLOR_TYPE_RGB, 0, 0}, {4, 6, 8, PNG_COLOR_TYPE_GRAY, 0, 0},
        {4, 6, 16, PNG_COLOR_TYPE_RGB, 0, 0},
    };
    static const char *const says[] = {"6 x 4, RGB, 8 bits" , "gray, 8 bits", "RGB, 16 bits"};
    const char *folder = make_folder("mixed", 5, &k);
    for (size_t i = 0; i < sizeof other / sizeof *other; i++) {
        test_rng rng = test_rng_new(i);
        char path[700];
        dfo_source *source;
        size_t stride;
        snprintf(path, sizeof path, "%s/p003.png", folder);
        free(png_random(path, &other[i], &rng, &stride));
        ck_assert_int_eq(dfo_source_open(ctx, folder, NULL, &source), DFO_EFORMAT);
        SAYS("p003.png: ");
        SAYS(i ? says[i] : "6 x 4 pixels, RGB, 8 bits, but ");
        SAYS("p000.PNG has 4 x 6, RGB, 8 bits: expected one size in a folder");
    }
}
END_TEST

/* Every shorter file, and every file with one byte changed, is refused with a message that names it, or
 * (unused bytes) read.  */
START_TEST(damaged)
{
    test_rng rng = test_rng_new(5);
    const char *path = test_tmp_file("cut.png");
    dfo_source *source;
    size_t n, stride;
    free(png_random(path, &kinds[_i], &rng, &stride));
    char *bytes = test_read(path, &n);
    for (size_t k = 0; k < n; k++) {
        test_write(path, bytes, k);
        dfo_status status = dfo_source_open(ctx, path, NULL, &source);
        ck_assert_msg(status == DFO_EFORMAT, "%zu bytes of %zu: %s", k, n, dfo_status_text(status));
        SAYS("cut.png: ");
    }
    for (size_t k = 0; k < n; k++) {
        bytes[k] = (char)(bytes[k] ^ 0x55);
        test_write(path, bytes, n);
        dfo_status status = dfo_source_open(ctx, path, NULL, &source);
        if (status == DFO_OK)
            dfo_source_free(source);
        else
            SAYS("cut.png: ");
        bytes[k] = (char)(bytes[k] ^ 0x55);
    }
    free(bytes);
}
END_TEST

static dfo_status work(dfo_ctx *c, void *data)
{
    dfo_source *source;
    dfo_source_info info;
    dfo_real x[72];
    DFO_TRY(dfo_source_open(c, data, NULL, &source));
    dfo_source_describe(source, &info);
    dfo_status status = dfo_source_read(source, c, info.rows - 1, dfo_batch_of(x, 1, 72), NULL);
    dfo_source_free(source);
    return status;
}

START_TEST(each_fault)
{
    static const png_kind k = {4, 6, 8, PNG_COLOR_TYPE_RGB, 1, 0};
    char folder[600], file[700];
    snprintf(folder, sizeof folder, "%s", make_folder("faulty", 3, &k));
    snprintf(file, sizeof file, "%s/p001.png", folder);
    faults_check(&(faults){.what = "reading a PNG", .work = work, .data = file, .folder = folder});
    faults_check(&(faults){.what = "reading a folder", .work = work, .data = folder, .folder = folder});
    oom_check("reading a PNG", OOM_ALL, work, file);
    oom_check("reading a folder", OOM_ALL, work, folder);
}
END_TEST

/* The sum of a photograph's values, computed by another decoder.  */
START_TEST(photograph)
{
    const char *path = data_shared("kodak/kodim01.png");
    dfo_source *source;
    dfo_source_info info;
    size_t d;
    if (!path)
        return;
    OK(dfo_source_open(ctx, path, NULL, &source));
    dfo_source_describe(source, &info);
    ck_assert(info.shape.c == 3 && info.shape.h == 512 && info.shape.w == 768);
    dfo_real *x = data_read(source, &d, NULL);
    double sum[3] = {0};
    for (size_t i = 0; i < d; i++)
        sum[i / (512 * 768)] += (double)x[i];
    ck_assert_msg(sum[0] == 47092044 && sum[1] == 42760789 && sum[2] == 34755002, "%.0f %.0f %.0f", sum[0], sum[1], sum[2]);
    free(x);
    dfo_source_free(source);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("png " DFO_REAL_NAME);
    TCase *tc = tcase_create("png");
    int n = sizeof kinds / sizeof *kinds;
    tcase_set_timeout(tc, 120);
    tcase_add_checked_fixture(tc, data_begin, data_end);
    tcase_add_loop_test(tc, each_kind, 0, n);
    tcase_add_test(tc, folders);
    tcase_add_test(tc, too_large);
    tcase_add_test(tc, claims);
    tcase_add_test(tc, refused);
    tcase_add_test(tc, mixed);
    tcase_add_loop_test(tc, damaged, 0, n);
    tcase_add_test(tc, each_fault);
    tcase_add_test(tc, photograph);
    suite_add_tcase(suite, tc);
    return test_run(suite);
}
