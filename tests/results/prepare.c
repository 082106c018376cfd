/* Recipes of data sets that need more than a file: `prepare bsds SEED IN.npy OUT.npy [TURNS]` makes the 63 columns of the
 * BSDS300 benchmark from 8x8 patches of bytes: x = (patch + U[0,1)) / 256, minus the patch's mean, without the
 * last column; with TURNS every patch TURNS times, each under another symmetry of the square and with noise of its own (for training: the official file has
 * five times the patches of this one).  `prepare fold K FOLDS IN.npy TRAIN.npy TEST.npy` takes row i into the test part if a fixed random
 * order of the rows puts it into fold K, and standardises both parts with the training part's moments.  `prepare split K IN.npy
 * MASK.npy TRAIN.npy TEST.npy [DITHER]` does so with the rows that row K of MASK says, and prints the last column's deviation.  `prepare
 * shuffle SEED IN OUT` writes the rows in an order that the seed says.  `prepare crop LEFT TOP SIDE OUT PICTURE...` puts squares of
 * pictures of one size side by side.  */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DFO_DOUBLE
#include <diffeo/diffeo.h>

#define CHUNK 4096

static int fail(dfo_ctx *ctx)
{
    fprintf(stderr, "prepare: %s\n", dfo_ctx_error(ctx));
    return 1;
}

/* turn: one of the eight symmetries of the square; 0 leaves it.  */
static void patch_to_row(uint64_t seed, uint64_t row, unsigned turn, const double *patch, double *out)
{
    double noise[64], x[64], mean = 0;
    dfo_key key = {.seed = seed, .row = row, .purpose = DFO_FOR_DEQUANTISE};
    dfo_draw_uniform(key, 0, 64, noise);
    for (int j = 0; j < 64; j++) {
        int y0 = turn & 1 ? 7 - j / 8 : j / 8, x0 = turn & 2 ? 7 - j % 8 : j % 8;
        x[j] = (patch[turn & 4 ? x0 * 8 + y0 : y0 * 8 + x0] + noise[j]) / 256;
        mean += x[j] / 64;
    }
    for (int j = 0; j < 63; j++)
        out[j] = x[j] - mean;
}

static int bsds(dfo_ctx *ctx, uint64_t seed, const char *in, const char *out, unsigned turns)
{
    dfo_source *source;
    dfo_source_info info;
    dfo_sink *sink;
    static double x[CHUNK * 64], y[CHUNK * 63];
    if (dfo_source_open(ctx, in, NULL, &source))
        return fail(ctx);
    dfo_source_describe(source, &info);
    if (dfo_shape_size(info.shape) != 64)
        return fprintf(stderr, "prepare: %s: expected 64 columns\n", in), 1;
    if (dfo_sink_open(ctx, out, NULL, turns * info.rows, 63, NULL, &sink))
        return fail(ctx);
    for (unsigned turn = 0; turn < turns; turn++)
        for (uint64_t first = 0; first < info.rows; first += CHUNK) {
            size_t n = info.rows - first < CHUNK ? (size_t)(info.rows - first) : CHUNK;
            if (dfo_source_read(source, ctx, first, dfo_batch_of(x, n, 64), NULL))
                return fail(ctx);
            for (size_t i = 0; i < n; i++)
                patch_to_row(seed, turn * info.rows + first + i, turn, x + i * 64, y + i * 63);
            if (dfo_sink_write(sink, dfo_batch_of(y, n, 63)))
                return fail(ctx);
        }
    int bad = dfo_sink_finish(sink) != DFO_OK;
    if (bad)
        fail(ctx);
    dfo_sink_free(sink);
    dfo_source_free(source);
    return bad;
}

/* Mean and standard deviation of every column over the rows outside of low .. high-1 of the order.  */
static dfo_status moments(dfo_ctx *ctx, const dfo_source *source, const uint64_t *order, uint64_t low, uint64_t high,
                          uint64_t rows, size_t d, double *row, double *mean, double *std)
{
    for (int pass = 0; pass < 2; pass++)
        for (uint64_t i = 0; i < rows; i++) {
            if (i >= low && i < high)
                continue;
            dfo_status status = dfo_source_read(source, ctx, order[i], dfo_batch_of(row, 1, d), NULL);
            if (status)
                return status;
            for (size_t j = 0; j < d; j++) {
                double e = row[j] - mean[j];
                if (pass)
                    std[j] += e * e / (double)(rows - (high - low));
                else
                    mean[j] += row[j] / (double)(rows - (high - low));
            }
        }
    for (size_t j = 0; j < d; j++)
        std[j] = sqrt(std[j]);
    return DFO_OK;
}

/* Rows low .. high-1 of the order to `test`, the others to `train`, both standardised by the others' moments.  train holds `copies`
 * of each row, each with independent normal noise of standard deviation `noise` on every value: a density fitted to
 * few rows must not find the grid that they were rounded to.  Its last column has uniform noise of the width `dither` in the data's units.
 * *scale: the last column's standard deviation.  */
static int parts(dfo_ctx *ctx, const dfo_source *source, const uint64_t *order, uint64_t low, uint64_t high, uint64_t seed, const char *train,
                 const char *test, uint64_t copies, double noise, double dither, double *scale)
{
    dfo_source_info info;
    dfo_sink *sink[2];
    dfo_source_describe(source, &info);
    size_t d = dfo_shape_size(info.shape);
    double *row = calloc(5 * d, sizeof *row), *mean = row + d, *std = row + 2 * d, *draw = row + 3 * d, *noisy = row + 4 * d, u;
    if (!row)
        return fprintf(stderr, "prepare: out of memory\n"), 1;
    if (moments(ctx, source, order, low, high, info.rows, d, row, mean, std) ||
        dfo_sink_open(ctx, train, NULL, copies * (info.rows - (high - low)), d, NULL, &sink[0]) ||
        dfo_sink_open(ctx, test, NULL, high - low, d, NULL, &sink[1]))
        return fail(ctx);
    for (uint64_t n = 0; n < copies * info.rows; n++) {
        uint64_t i = n % info.rows;
        int tested = i >= low && i < high;
        if (tested && n >= info.rows)
            continue;
        if (dfo_source_read(source, ctx, order[i], dfo_batch_of(row, 1, d), NULL))
            return fail(ctx);
        dfo_draw_real_normal((dfo_key){.seed = seed, .row = n, .purpose = DFO_FOR_TEST}, d, draw);
        dfo_draw_uniform((dfo_key){.seed = seed, .row = n, .purpose = DFO_FOR_DEQUANTISE}, 0, 1, &u);
        row[d - 1] += tested ? 0 : dither * (u - 0.5);
        for (size_t j = 0; j < d; j++)
            noisy[j] = (row[j] - mean[j]) / std[j] + (tested ? 0 : noise * draw[j]);
        if (dfo_sink_write(sink[tested], dfo_batch_of(noisy, 1, d)))
            return fail(ctx);
    }
    int bad = dfo_sink_finish(sink[0]) || dfo_sink_finish(sink[1]);
    if (bad)
        fail(ctx);
    *scale = std[d - 1];
    dfo_sink_free(sink[0]);
    dfo_sink_free(sink[1]);
    free(row);
    return bad;
}

static int fold(dfo_ctx *ctx, uint64_t k, uint64_t folds, const char *in, const char *train, const char *test,
                uint64_t copies, double noise)
{
    dfo_source *source;
    dfo_source_info info;
    double scale;
    if (dfo_source_open(ctx, in, NULL, &source))
        return fail(ctx);
    dfo_source_describe(source, &info);
    uint64_t *order = malloc(info.rows * sizeof *order);
    if (!order)
        return fprintf(stderr, "prepare: out of memory\n"), 1;
    dfo_key key = {.purpose = DFO_FOR_SPLIT};
    for (uint64_t i = 0; i < info.rows; i++)
        order[i] = dfo_permute_index(key, info.rows, i);
    int bad = parts(ctx, source, order, info.rows * k / folds, info.rows * (k + 1) / folds, k, train, test, copies, noise, 0, &scale);
    dfo_source_free(source);
    free(order);
    return bad;
}

/* Row k of `mask` says which rows are tested.  Prints the target's standard deviation, by which its densities are multiplied.  */
static int split(dfo_ctx *ctx, uint64_t k, const char *in, const char *mask, const char *train, const char *test, double dither)
{
    dfo_source *source, *masks;
    dfo_source_info info, shape;
    double scale = 0;
    if (dfo_source_open(ctx, in, NULL, &source) || dfo_source_open(ctx, mask, NULL, &masks))
        return fail(ctx);
    dfo_source_describe(source, &info);
    dfo_source_describe(masks, &shape);
    if (dfo_shape_size(shape.shape) != info.rows)
        return fprintf(stderr, "prepare: %s: expected %llu columns\n", mask, (unsigned long long)info.rows), 1;
    uint64_t *order = malloc(info.rows * sizeof *order), n = 0, tested = 0;
    double *in_test = malloc(info.rows * sizeof *in_test);
    if (!order || !in_test)
        return fprintf(stderr, "prepare: out of memory\n"), 1;
    if (dfo_source_read(masks, ctx, k, dfo_batch_of(in_test, 1, info.rows), NULL))
        return fail(ctx);
    for (int pass = 1; pass >= 0; pass--) {
        for (uint64_t i = 0; i < info.rows; i++)
            if ((in_test[i] != 0) == pass)
                order[n++] = i;
        tested = pass ? n : tested;
    }
    int bad = parts(ctx, source, order, 0, tested, k, train, test, 1, 0, dither, &scale);
    printf("%.10g\n", scale);
    dfo_source_free(masks);
    dfo_source_free(source);
    free(in_test);
    free(order);
    return bad;
}

static int shuffle(dfo_ctx *ctx, uint64_t seed, const char *in, const char *out)
{
    dfo_source *source;
    dfo_source_info info;
    dfo_sink *sink;
    dfo_key key = {.seed = seed, .purpose = DFO_FOR_SPLIT};
    double row[64];
    if (dfo_source_open(ctx, in, NULL, &source))
        return fail(ctx);
    dfo_source_describe(source, &info);
    size_t d = dfo_shape_size(info.shape);
    if (d > 64)
        return fprintf(stderr, "prepare: %s: expected at most 64 columns\n", in), 1;
    if (dfo_sink_open(ctx, out, NULL, info.rows, d, NULL, &sink))
        return fail(ctx);
    for (uint64_t i = 0; i < info.rows; i++)
        if (dfo_source_read(source, ctx, dfo_permute_index(key, info.rows, i), dfo_batch_of(row, 1, d), NULL) ||
            dfo_sink_write(sink, dfo_batch_of(row, 1, d)))
            return fail(ctx);
    int bad = dfo_sink_finish(sink) != DFO_OK;
    if (bad)
        fail(ctx);
    dfo_sink_free(sink);
    dfo_source_free(source);
    return bad;
}

/* A row of squares (side, side) whose upper left corners are at (left, top), as one image after the other.  */
static int crop(dfo_ctx *ctx, size_t left, size_t top, size_t side, const char *out, int n, char **picture)
{
    dfo_sink *sink = NULL;
    for (int i = 0; i < n; i++) {
        dfo_source *source;
        dfo_source_info info;
        if (dfo_source_open(ctx, picture[i], NULL, &source))
            return fail(ctx);
        dfo_source_describe(source, &info);
        dfo_shape s = info.shape;
        double *x = malloc(dfo_shape_size(s) * sizeof *x);
        if (!x || left + side > s.w || top + side > s.h)
            return fprintf(stderr, "prepare: %s: no such square\n", picture[i]), 1;
        if (!sink && dfo_sink_open_images(ctx, out, NULL, (uint64_t)n, (dfo_shape){s.c, side, side}, 256, (size_t)n, &sink))
            return fail(ctx);
        if (dfo_source_read(source, ctx, 0, dfo_batch_of(x, 1, dfo_shape_size(s)), NULL))
            return fail(ctx);
        for (size_t k = 0; k < s.c * side; k++)
            memmove(x + k * side, x + (k / side * s.h + top + k % side) * s.w + left, side * sizeof *x);
        if (dfo_sink_write(sink, dfo_batch_of(x, 1, s.c * side * side)))
            return fail(ctx);
        free(x);
        dfo_source_free(source);
    }
    int bad = !sink || dfo_sink_finish(sink) != DFO_OK;
    if (bad)
        fail(ctx);
    dfo_sink_free(sink);
    return bad;
}

int main(int argc, char **argv)
{
    dfo_ctx *ctx;
    int status = 2;
    if (dfo_ctx_new(&ctx))
        return 1;
    unsigned turns = argc == 6 ? (unsigned)strtoull(argv[5], NULL, 10) : 1;
    if ((argc == 5 || argc == 6) && !strcmp(argv[1], "bsds") && turns >= 1 && turns <= 8)
        status = bsds(ctx, strtoull(argv[2], NULL, 10), argv[3], argv[4], turns);
    else if ((argc == 7 || argc == 9) && !strcmp(argv[1], "fold") && strtoull(argv[3], NULL, 10) > 1)
        status = fold(ctx, strtoull(argv[2], NULL, 10), strtoull(argv[3], NULL, 10), argv[4], argv[5], argv[6],
                      argc == 9 ? strtoull(argv[7], NULL, 10) : 1, argc == 9 ? strtod(argv[8], NULL) : 0);
    else if (argc == 5 && !strcmp(argv[1], "shuffle"))
        status = shuffle(ctx, strtoull(argv[2], NULL, 10), argv[3], argv[4]);
    else if ((argc == 7 || argc == 8) && !strcmp(argv[1], "split"))
        status = split(ctx, strtoull(argv[2], NULL, 10), argv[3], argv[4], argv[5], argv[6], argc == 8 ? strtod(argv[7], NULL) : 0);
    else if (argc > 6 && !strcmp(argv[1], "crop"))
        status = crop(ctx, strtoull(argv[2], NULL, 10), strtoull(argv[3], NULL, 10), strtoull(argv[4], NULL, 10), argv[5],
                      argc - 6, argv + 6);
    else
        fprintf(stderr, "usage: prepare bsds SEED IN OUT [TURNS] | prepare fold K FOLDS IN TRAIN TEST [COPIES NOISE] | "
                        "prepare split K IN MASK TRAIN TEST [DITHER] | prepare shuffle SEED IN OUT | "
                        "prepare crop LEFT TOP SIDE OUT PICTURE...\n");
    dfo_ctx_free(ctx);
    return status;
}
