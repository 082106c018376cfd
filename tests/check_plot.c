/* Pictures: valid PNG files of the size that was asked for, with the expected colours at some
 * places; bad input and failing writes are reported; every failing allocation is survived.  Without
 * cairo: that this is said.  */
#include <math.h>
#include <png.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <diffeo/plot.h>
#include "base/ctx_impl.h"
#include "faults.h"
#include "oom.h"
#include "plot/axis_impl.h"
#include "util.h"

#ifdef __SANITIZE_ADDRESS__
/* fontconfig keeps what it read about fonts until the end of the process.  */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libfontconfig";
}

const char *__lsan_default_options(void);
const char *__lsan_default_options(void)
{
    return "print_suppressions=0";
}
#endif

#define N 600

/* A picture read back, RGB.  */
struct picture {
    png_image image;
    unsigned char *pixel;
};

static struct picture picture_read(const char *path)
{
    struct picture p;
    memset(&p, 0, sizeof p);
    p.image.version = PNG_IMAGE_VERSION;
    ck_assert_msg(png_image_begin_read_from_file(&p.image, path), "%s: %s", path, p.image.message);
    p.image.format = PNG_FORMAT_RGB;
    p.pixel = malloc(PNG_IMAGE_SIZE(p.image));
    ck_assert_ptr_nonnull(p.pixel);
    ck_assert_msg(png_image_finish_read(&p.image, NULL, p.pixel, 0, NULL), "%s: %s", path,
                  p.image.message);
    return p;
}

static unsigned colour_at(const struct picture *p, double x, double y)
{
    size_t at = 3 * ((size_t)(y * p->image.height) * p->image.width + (size_t)(x * p->image.width));
    return (unsigned)p->pixel[at] << 16 | (unsigned)p->pixel[at + 1] << 8 | p->pixel[at + 2];
}

/* The share of pixels of that colour.  */
static double share_of(const struct picture *p, unsigned colour)
{
    size_t n = (size_t)p->image.width * p->image.height, hits = 0;
    for (size_t i = 0; i < n; i++)
        hits += ((unsigned)p->pixel[3 * i] << 16 | (unsigned)p->pixel[3 * i + 1] << 8 |
                 p->pixel[3 * i + 2]) == colour;
    return (double)hits / (double)n;
}

static void check_size(const char *path, unsigned width, unsigned height)
{
    struct picture p = picture_read(path);
    ck_assert_uint_eq(p.image.width, width);
    ck_assert_uint_eq(p.image.height, height);
    ck_assert_msg(share_of(&p, 0xffffff) < 0.999, "%s is empty", path);
    ck_assert_msg(share_of(&p, 0xffffff) > 0.02, "%s has no margin", path);
    free(p.pixel);
}

/* Data that every picture can be made of.  */
struct stuff {
    double rows[N * 3], other[N * 3], map[24 * 20], x[N], y[N];
    dfo_plot_series series[2];
    unsigned char pixel[7 * 3 * 5 * 4];
};

static struct stuff *stuff_new(void)
{
    test_rng rng = test_rng_new(test_seed());
    struct stuff *s = malloc(sizeof *s);
    ck_assert_ptr_nonnull(s);
    for (size_t i = 0; i < N * 3; i++) {
        s->rows[i] = test_rng_normal(&rng);
        s->other[i] = 1.2 * test_rng_normal(&rng);
    }
    for (size_t j = 0; j < 20; j++)
        for (size_t i = 0; i < 24; i++)
            s->map[j * 24 + i] = exp(-0.02 * (pow((double)i - 6, 2) + pow((double)j - 15, 2)));
    for (size_t i = 0; i < N; i++) {
        s->x[i] = (double)i / 100 - 3;
        s->y[i] = exp(-0.5 * s->x[i] * s->x[i]) / 2.5066;
    }
    s->series[0] = (dfo_plot_series){"model", s->x, s->y, N, DFO_PLOT_LINE};
    s->series[1] = (dfo_plot_series){"rows", NULL, s->rows, 50, DFO_PLOT_DOTS};
    for (size_t i = 0; i < sizeof s->pixel; i++)
        s->pixel[i] = (unsigned char)(i * 37);
    return s;
}

static dfo_plot_map map_of(const struct stuff *s)
{
    static const double masses[] = {0.5, 0.9};
    return (dfo_plot_map){.look = {.title = "map", .x_label = "x", .y_label = "y"},
                          .x_low = -1,
                          .x_high = 2,
                          .y_low = 10,
                          .y_high = 30,
                          .nx = 24,
                          .ny = 20,
                          .value = s->map,
                          .bar_label = "density",
                          .masses = masses,
                          .contours = 2};
}

static dfo_plot_corner corner_of(const struct stuff *s)
{
    return (dfo_plot_corner){.look = {.title = "corner"},
                             .data = {"data", s->rows, N, 3, 3},
                             .other = {"samples", s->other, N, 3, 3}};
}

static dfo_plot_curves curves_of(const struct stuff *s)
{
    return (dfo_plot_curves){.look = {.x_label = "step"}, .series = s->series, .n = 2};
}

static dfo_plot_histogram histogram_of(const struct stuff *s)
{
    return (dfo_plot_histogram){.data = {"data", s->rows, N, 1, 3}, .curves = s->series, .n = 1};
}

static dfo_plot_images images_of(const struct stuff *s)
{
    return (dfo_plot_images){
        .pixel = s->pixel, .n = 7, .c = 3, .h = 5, .w = 4, .gap = 2, .zoom = 3};
}

static dfo_ctx *ctx_new(void)
{
    dfo_ctx *ctx;
    ck_assert_int_eq(dfo_ctx_new(&ctx), DFO_OK);
    return ctx;
}

static void fine(dfo_ctx *ctx, dfo_status status)
{
    ck_assert_msg(status == DFO_OK, "%s", dfo_ctx_error(ctx));
    ck_assert_uint_eq(dfo_ctx_bytes(ctx), 0);
}

static void refused(dfo_ctx *ctx, dfo_status status, const char *names)
{
    ck_assert_msg(status == DFO_EARG, "status %d, wanted an error that names '%s'", status, names);
    ck_assert_msg(strstr(dfo_ctx_error(ctx), names) != NULL, "'%s' says nothing of '%s'",
                  dfo_ctx_error(ctx), names);
    ck_assert_uint_eq(dfo_ctx_bytes(ctx), 0);
}

static const char *out(void)
{
    return test_tmp_file("out.png");
}

/* 1 (and checks what is said) where there is no cairo.  */
static int without_cairo(dfo_ctx *ctx)
{
    dfo_plot_map map = {0};
    if (dfo_plot_available())
        return 0;
    ck_assert_int_eq(dfo_plot_map_png(ctx, &map, out()), DFO_EUNSUP);
    ck_assert_ptr_nonnull(strstr(dfo_ctx_error(ctx), "--without-cairo"));
    return 1;
}

START_TEST(sizes)
{
    dfo_ctx *ctx = ctx_new();
    struct stuff *s = stuff_new();
    if (!without_cairo(ctx)) {
        dfo_plot_map map = map_of(s);
        fine(ctx, dfo_plot_map_png(ctx, &map, out()));
        check_size(out(), 900, 720);
        map.look.width = 333;
        map.look.height = 222;
        map.scale = DFO_PLOT_LOG;
        map.points = (dfo_plot_points){"points", s->rows, N, 2, 3};
        fine(ctx, dfo_plot_map_png(ctx, &map, out()));
        check_size(out(), 333, 222);
        dfo_plot_corner corner = corner_of(s);
        fine(ctx, dfo_plot_corner_png(ctx, &corner, out()));
        check_size(out(), 800, 800);
        dfo_plot_curves curves = curves_of(s);
        fine(ctx, dfo_plot_curves_png(ctx, &curves, out()));
        check_size(out(), 900, 600);
        dfo_plot_histogram histogram = histogram_of(s);
        histogram.look.width = 640;
        fine(ctx, dfo_plot_histogram_png(ctx, &histogram, out()));
        check_size(out(), 640, 600);
    }
    free(s);
    dfo_ctx_free(ctx);
}
END_TEST

/* The peak is yellow, its opposite violet; y rises upwards.  */
START_TEST(map_colours)
{
    dfo_ctx *ctx = ctx_new();
    struct stuff *s = stuff_new();
    if (!without_cairo(ctx)) {
        dfo_plot_map map = map_of(s);
        map.contours = 0;
        fine(ctx, dfo_plot_map_png(ctx, &map, out()));
        struct picture p = picture_read(out());
        /* the frame takes about 0.07 .. 0.85 of the width and 0.05 .. 0.91 of the height */
        ck_assert_uint_eq(colour_at(&p, 0.07 + 0.78 * 6.5 / 24, 0.05 + 0.86 * 4.5 / 20), 0xfde725);
        ck_assert_uint_eq(colour_at(&p, 0.07 + 0.78 * 20.5 / 24, 0.05 + 0.86 * 18.5 / 20),
                          0x440154);
        free(p.pixel);
        double one_nan[4] = {1, NAN, 1, 1};
        map.nx = map.ny = 2;
        map.value = one_nan;
        fine(ctx, dfo_plot_map_png(ctx, &map, out()));
        p = picture_read(out());
        ck_assert_msg(share_of(&p, 0xbbbbbb) > 0.1, "NaN is not gray");
        free(p.pixel);
    }
    free(s);
    dfo_ctx_free(ctx);
}
END_TEST

START_TEST(image_pixels)
{
    dfo_ctx *ctx = ctx_new();
    struct stuff *s = stuff_new();
    dfo_plot_images im = images_of(s); /* 3 x 3 images of 12 x 15 and gaps of 2 */
    fine(ctx, dfo_plot_images_png(ctx, &im, out()));
    struct picture p = picture_read(out());
    ck_assert_uint_eq(p.image.width, 40);
    ck_assert_uint_eq(p.image.height, 49);
    for (size_t y = 0; y < 49; y++)
        for (size_t x = 0; x < 40; x++) {
            size_t column = x / 14, row = y / 17, u = x % 14 / 3, v = y % 17 / 3,
                   i = 3 * row + column;
            int image = x % 14 < 12 && y % 17 < 15 && i < 7;
            for (size_t c = 0; c < 3; c++)
                ck_assert_uint_eq(p.pixel[3 * (40 * y + x) + c],
                                  image ? s->pixel[((i * 3 + c) * 5 + v) * 4 + u] : 255);
        }
    free(p.pixel);
    im = (dfo_plot_images){.pixel = s->pixel, .n = 20, .c = 1, .h = 3, .w = 4, .columns = 20};
    fine(ctx, dfo_plot_images_png(ctx, &im, out()));
    p = picture_read(out());
    ck_assert_uint_eq(p.image.width, 80);
    ck_assert_uint_eq(p.image.height, 3);
    ck_assert_uint_eq(p.pixel[3 * (80 + 5)], s->pixel[12 + 4 + 1]);
    free(p.pixel);
    im.c = 2;
    refused(ctx, dfo_plot_images_png(ctx, &im, out()), "1 or 3 channels");
    im.c = 1;
    im.zoom = (size_t)1 << 62;
    refused(ctx, dfo_plot_images_png(ctx, &im, out()), "pixels");
    im.n = 0;
    refused(ctx, dfo_plot_images_png(ctx, &im, out()), "nothing to draw");
    free(s);
    dfo_ctx_free(ctx);
}
END_TEST

START_TEST(bad_input)
{
    dfo_ctx *ctx = ctx_new();
    struct stuff *s = stuff_new();
    if (!without_cairo(ctx)) {
        dfo_plot_map map = map_of(s);
        map.x_high = NAN;
        refused(ctx, dfo_plot_map_png(ctx, &map, out()), "x_low and x_high");
        map.x_high = INFINITY;
        refused(ctx, dfo_plot_map_png(ctx, &map, out()), "x_low and x_high");
        map = map_of(s);
        map.y_low = map.y_high;
        refused(ctx, dfo_plot_map_png(ctx, &map, out()), "y_low and y_high");
        map = map_of(s);
        map.nx = 0;
        refused(ctx, dfo_plot_map_png(ctx, &map, out()), "no values");
        map = map_of(s);
        map.look.width = 99;
        refused(ctx, dfo_plot_map_png(ctx, &map, out()), "width of the picture");
        map.look.width = 1000000;
        refused(ctx, dfo_plot_map_png(ctx, &map, out()), "width of the picture");
        map = map_of(s);
        map.low = 2;
        map.high = 1;
        refused(ctx, dfo_plot_map_png(ctx, &map, out()), "low and high");
        const double nothing[4] = {NAN, INFINITY, NAN, NAN}, zero[4] = {0};
        map = map_of(s);
        map.nx = map.ny = 2;
        map.value = nothing;
        refused(ctx, dfo_plot_map_png(ctx, &map, out()), "finite");
        map.value = zero;
        map.scale = DFO_PLOT_LOG;
        refused(ctx, dfo_plot_map_png(ctx, &map, out()), "positive");

        dfo_plot_corner corner = corner_of(s);
        corner.data.n = 0;
        refused(ctx, dfo_plot_corner_png(ctx, &corner, out()), "no rows");
        corner = corner_of(s);
        corner.other.d = 2;
        refused(ctx, dfo_plot_corner_png(ctx, &corner, out()), "sets of 3 and of 2 columns");
        corner = corner_of(s);
        for (size_t i = 0; i < N; i++)
            s->rows[3 * i + 1] = NAN;
        refused(ctx, dfo_plot_corner_png(ctx, &corner, out()), "column 2 has no finite value");
        corner.data.d = 17;
        refused(ctx, dfo_plot_corner_png(ctx, &corner, out()), "1 to 16 columns");

        dfo_plot_curves curves = curves_of(s);
        curves.n = 0;
        refused(ctx, dfo_plot_curves_png(ctx, &curves, out()), "none");
        const dfo_plot_series empty = {"nan", NULL, nothing, 4, DFO_PLOT_LINE};
        curves = (dfo_plot_curves){.series = &empty, .n = 1};
        refused(ctx, dfo_plot_curves_png(ctx, &curves, out()), "nothing to draw");
        curves = curves_of(s);
        curves.y_low = 1;
        refused(ctx, dfo_plot_curves_png(ctx, &curves, out()), "y_low");

        dfo_plot_histogram histogram = histogram_of(s);
        histogram.data.d = 2;
        refused(ctx, dfo_plot_histogram_png(ctx, &histogram, out()), "1 column");
        histogram = (dfo_plot_histogram){.bins = 0};
        refused(ctx, dfo_plot_histogram_png(ctx, &histogram, out()), "nothing to draw");
        histogram.data = (dfo_plot_points){"nan", nothing, 4, 1, 1};
        refused(ctx, dfo_plot_histogram_png(ctx, &histogram, out()), "no value is finite");
    }
    free(s);
    dfo_ctx_free(ctx);
}
END_TEST

/* Odd but drawable: constant columns, one row, single points, texts that are no UTF-8, a hundred
 * pixels.  */
START_TEST(odd_input)
{
    dfo_ctx *ctx = ctx_new();
    struct stuff *s = stuff_new();
    if (!without_cairo(ctx)) {
        const char *const labels[] = {"\xff\xfe", "\xe2\x88",
                                      "a name that is far too long for the room there is"};
        for (size_t i = 0; i < N; i++)
            s->rows[3 * i] = 1e9;
        s->rows[5] = NAN;
        s->rows[7] = INFINITY;
        dfo_plot_corner corner = corner_of(s);
        corner.labels = labels;
        corner.look.title = "\x80";
        fine(ctx, dfo_plot_corner_png(ctx, &corner, out()));
        corner.data.n = 1;
        corner.other.n = 0;
        corner.look.width = corner.look.height = 100;
        fine(ctx, dfo_plot_corner_png(ctx, &corner, out()));
        check_size(out(), 100, 100);
        dfo_plot_map map = map_of(s);
        map.look.width = map.look.height = 100;
        fine(ctx, dfo_plot_map_png(ctx, &map, out()));
        const double far[3] = {1e300, -1e300, 0}, one = 3;
        const dfo_plot_series single[2] = {{"one", NULL, &one, 1, DFO_PLOT_LINE},
                                           {"far", NULL, far, 3, DFO_PLOT_DASHED}};
        dfo_plot_curves curves = {.series = single, .n = 1};
        fine(ctx, dfo_plot_curves_png(ctx, &curves, out()));
        curves.x_scale = curves.y_scale = DFO_PLOT_LOG;
        refused(ctx, dfo_plot_curves_png(ctx, &curves, out()), "positive");
        curves = (dfo_plot_curves){.series = single, .n = 2};
        fine(ctx, dfo_plot_curves_png(ctx, &curves, out()));
        dfo_plot_histogram histogram = {.data = {"one", &one, 1, 1, 1}};
        fine(ctx, dfo_plot_histogram_png(ctx, &histogram, out()));
    }
    free(s);
    dfo_ctx_free(ctx);
}
END_TEST

/* Ticks lie within the range, rise, are neither none nor too many, and their texts say what they
 * are.  */
START_TEST(ticks)
{
    test_rng rng = test_rng_new(test_seed());
    for (size_t k = 0; k < 2000; k++) {
        struct dfoi_axis a;
        int log = k % 2 == 0;
        size_t target = test_rng_between(&rng, 2, 12);
        double low = pow(10, test_rng_real(&rng, -12, 12)),
               high = low * pow(10, test_rng_real(&rng, 0.01, 8));
        if (!log && k % 4 == 1)
            low = -low;
        dfoi_axis_set(&a, low, high, log, target);
        ck_assert_msg(a.n >= 2 && a.n <= 2 * target + 6, "%g to %g: %zu ticks, wanted about %zu",
                      low, high, a.n, target);
        for (size_t i = 0; i < a.n; i++) {
            double place = dfoi_axis_place(&a, a.tick[i]);
            ck_assert_msg(place > -1e-6 && place < 1 + 1e-6, "%g to %g: tick %g outside", low, high,
                          a.tick[i]);
            ck_assert(!i || a.tick[i] > a.tick[i - 1]);
            ck_assert_msg(!i || strcmp(a.text[i], a.text[i - 1]), "%g to %g: two ticks say %s", low,
                          high, a.text[i]);
        }
    }
}
END_TEST

/* Every picture, to a file.  */
static dfo_status draw_all(dfo_ctx *ctx, const struct stuff *s, const char *path)
{
    dfo_plot_map map = map_of(s);
    dfo_plot_corner corner = corner_of(s);
    dfo_plot_curves curves = curves_of(s);
    dfo_plot_histogram histogram = histogram_of(s);
    dfo_plot_images images = images_of(s);
    DFO_TRY(dfo_plot_images_png(ctx, &images, path));
    if (!dfo_plot_available())
        return DFO_OK;
    map.look.width = map.look.height = corner.look.width = corner.look.height = curves.look.width =
        curves.look.height = histogram.look.width = histogram.look.height = 120;
    DFO_TRY(dfo_plot_map_png(ctx, &map, path));
    DFO_TRY(dfo_plot_corner_png(ctx, &corner, path));
    DFO_TRY(dfo_plot_curves_png(ctx, &curves, path));
    return dfo_plot_histogram_png(ctx, &histogram, path);
}

static dfo_status draw_all_here(dfo_ctx *ctx, void *data)
{
    return draw_all(ctx, data, out());
}

/* Ours only: cairo and fontconfig go on without memory as they can.  */
START_TEST(allocations)
{
    struct stuff *s = stuff_new();
    oom_check("pictures", OOM_OURS, draw_all_here, s);
    free(s);
}
END_TEST

START_TEST(failing_writes)
{
    dfo_ctx *ctx = ctx_new();
    struct stuff *s = stuff_new();
    ck_assert_int_eq(draw_all(ctx, s, "/dev/full"), DFO_EIO);
    ck_assert_ptr_nonnull(strstr(dfo_ctx_error(ctx), "/dev/full"));
    const char *nowhere = test_tmp_file("no/such/folder.png");
    ck_assert_int_eq(draw_all(ctx, s, nowhere), DFO_EIO);
    ck_assert_ptr_nonnull(strstr(dfo_ctx_error(ctx), "folder.png"));
    if (!without_cairo(ctx)) {
        dfo_plot_histogram histogram = histogram_of(s);
        ck_assert_int_eq(dfo_plot_histogram_png(ctx, &histogram, "/dev/full"), DFO_EIO);
        ck_assert_ptr_nonnull(strstr(dfo_ctx_error(ctx), "/dev/full"));
    }
    ck_assert_uint_eq(dfo_ctx_bytes(ctx), 0);
    free(s);
    dfo_ctx_free(ctx);
}
END_TEST

static dfo_status one_picture(dfo_ctx *ctx, void *data)
{
    const struct stuff *s = data;
    dfo_plot_curves curves = curves_of(s);
    dfo_plot_images images = images_of(s);
    return dfo_plot_available() ? dfo_plot_curves_png(ctx, &curves, out())
                                : dfo_plot_images_png(ctx, &images, out());
}

static void old_picture(void *data)
{
    (void)data;
    test_write(out(), "old", 3);
}

static int whole_picture(void *data, int killed)
{
    size_t n;
    char *bytes = test_read(out(), &n);
    (void)data;
    (void)killed;
    int whole = (n == 3 && !memcmp(bytes, "old", 3)) ||
                (n > 8 && !memcmp(bytes, "\x89PNG", 4) && !memcmp(bytes + n - 8, "IEND", 4));
    free(bytes);
    return whole;
}

START_TEST(file_faults)
{
    struct stuff *s = stuff_new();
    faults f = {.what = "a picture",
                .work = one_picture,
                .reset = old_picture,
                .whole = whole_picture,
                .data = s,
                .folder = test_tmp()};
    old_picture(s);
    ck_assert_uint_gt(faults_check(&f), 2);
    free(s);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("plot");
    TCase *tc = tcase_create("plot");
    tcase_add_test(tc, sizes);
    tcase_add_test(tc, map_colours);
    tcase_add_test(tc, image_pixels);
    tcase_add_test(tc, bad_input);
    tcase_add_test(tc, odd_input);
    tcase_add_test(tc, ticks);
    tcase_add_test(tc, allocations);
    tcase_add_test(tc, failing_writes);
    tcase_add_test(tc, file_faults);
    suite_add_tcase(suite, tc);
    return test_run(suite);
}
