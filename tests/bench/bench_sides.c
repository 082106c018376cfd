/* Time against the side of an image: bench_sides [--seconds S] [--plot FILE.png].  32 square images of 8 channels, n = 8 to
 * 256 pixels a side, through one causal convolution of 3x3: its solve and the convolution itself, with one thread and
 * with two; up to n = 32 also a dense triangular solve of the same size (OpenBLAS's strsm).  One JSON line for each, then
 * the growth of the time per pixel: the slope of its logarithm over the logarithm of the side.  */
#include <cblas.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <diffeo/diffeo.h>
#include "timing.h"

#define IMAGES 32
#define CHANNELS 8
#define SIDES 6
#define DENSE 3            /* the first of them */
#define MOST 4096

static const double sides[SIDES] = {8, 16, 32, 64, 128, 256};
static double seconds = 0.5;

enum op { SOLVE, CONVOLVE, DENSE_SOLVE, OPS };
static const char *const names[OPS] = {"solve", "convolution", "dense solve"};

static void die(dfo_ctx *ctx)
{
    fprintf(stderr, "bench_sides: %s\n", dfo_ctx_error(ctx));
    exit(1);
}

static void *memory(size_t n)
{
    void *p = calloc(n, sizeof(float));
    if (!p) {
        fprintf(stderr, "bench_sides: out of memory\n");
        exit(1);
    }
    return p;
}

static double report(enum op op, size_t side, int threads, double *ms, size_t n)
{
    qsort(ms, n, sizeof *ms, ascending);
    double median = quantile(ms, n, 0.5);
    printf("{\"workload\": \"sides\", \"op\": \"%s\", \"side\": %zu, \"threads\": %d, \"n\": %zu, \"ms_med\": %.4f, \"ms_min\": %.4f, "
           "\"ns_per_pixel\": %.3f}\n", names[op], side, threads, n, median, ms[0],
           median * 1e6 / (double)(IMAGES * side * side));
    fflush(stdout);
    return median;
}

static void layer(size_t side, int threads, double median[2])
{
    static double ms[MOST], out[IMAGES];
    size_t d = CHANNELS * side * side;
    dfo_ctx *ctx;
    dfo_model *model;
    dfo_model_plan *plan;
    if (dfo_ctx_new(&ctx))
        exit(1);
    dfo_ctx_set_threads(ctx, threads);
    json_t *config = json_pack("{s:s, s:{s:s, s:b}}", "flow", "custom", "bijector", "type", "causal-conv", "solve", 1);
    if (dfo_model_new(ctx, config, (dfo_shape){CHANNELS, side, side}, 0, 0, &model) || dfo_model_plan_new(ctx, model, 0, &plan))
        die(ctx);
    dfo_batch x = dfo_batch_of(memory(IMAGES * d), IMAGES, d), y = dfo_batch_of(memory(IMAGES * d), IMAGES, d);
    dfo_draw_real_normal((dfo_key){.purpose = DFO_FOR_TEST}, IMAGES * d, x.x);
    for (int op = SOLVE; op <= CONVOLVE; op++) {
        size_t n = 0;
        double end = now() + seconds;
        for (int i = 0; n < 5 || (now() < end && n < MOST); i++) {
            memcpy(y.x, x.x, IMAGES * d * sizeof(dfo_real));
            double t = now();
            if (op == SOLVE ? dfo_model_log_prob(plan, 0, y, NULL, out) : dfo_model_decode(plan, 0, y, NULL, NULL))
                die(ctx);
            if (i >= 2)
                ms[n++] = 1e3 * (now() - t);
        }
        median[op] = report(op, side, threads, ms, n);
    }
    free(x.x);
    free(y.x);
    dfo_model_plan_free(plan);
    dfo_model_free(model);
    json_decref(config);
    dfo_ctx_free(ctx);
}

/* The triangle is as full as an inverse's would be.  */
static double dense(size_t side, int threads)
{
    static double ms[MOST];
    size_t d = CHANNELS * side * side, n = 0;
    float *m = memory(d * d), *x = memory(d * IMAGES), *y = memory(d * IMAGES);
    for (size_t j = 0; j < d; j++)
        for (size_t i = j; i < d; i++)
            m[j * d + i] = i == j ? 1 : (float)((i * 31 + j * 17) % 64) * 1e-6f;
    dfo_draw_real_normal((dfo_key){.purpose = DFO_FOR_TEST}, d * IMAGES, x);
    openblas_set_num_threads(threads);
    double end = now() + seconds;
    for (int i = 0; n < 5 || (now() < end && n < MOST); i++) {
        memcpy(y, x, d * IMAGES * sizeof *y);
        double t = now();
        cblas_strsm(CblasColMajor, CblasLeft, CblasLower, CblasNoTrans, CblasUnit, (int)d, IMAGES, 1, m, (int)d, y, (int)d);
        if (i >= 1)
            ms[n++] = 1e3 * (now() - t);
    }
    free(m);
    free(x);
    free(y);
    return report(DENSE_SOLVE, side, threads, ms, n);
}

/* The slope of log(ms / side^2) over log(side).  */
static double growth(const double *ms, size_t n)
{
    double mx = 0, my = 0, xy = 0, xx = 0;
    for (size_t i = 0; i < n; i++) {
        mx += log(sides[i]) / (double)n;
        my += log(ms[i] / sides[i] / sides[i]) / (double)n;
    }
    for (size_t i = 0; i < n; i++) {
        double e = log(sides[i]) - mx;
        xy += e * (log(ms[i] / sides[i] / sides[i]) - my);
        xx += e * e;
    }
    return xy / xx;
}

static void draw(double ms[2][OPS][SIDES], const char *path)
{
    dfo_ctx *ctx;
    dfo_plot_series series[5];
    char name[5][32];
    size_t n = 0;
    for (int t = 0; t < 2; t++)
        for (int op = 0; op < OPS; op++) {
            if (op == DENSE_SOLVE && t == 0)
                continue;
            snprintf(name[n], sizeof name[n], "%s, %d thread%s", names[op], t + 1, t ? "s" : "");
            series[n] = (dfo_plot_series){.name = name[n], .x = sides, .y = ms[t][op], .n = op == DENSE_SOLVE ? DENSE : SIDES,
                                          .style = op == CONVOLVE ? DFO_PLOT_DASHED : DFO_PLOT_LINE};
            n++;
        }
    dfo_plot_curves c = {.look = {.title = "32 images of 8 channels, kernel 3x3", .x_label = "side in pixels", .y_label = "ms"},
                         .x_scale = DFO_PLOT_LOG, .y_scale = DFO_PLOT_LOG, .series = series, .n = n};
    if (dfo_ctx_new(&ctx))
        exit(1);
    if (dfo_plot_curves_png(ctx, &c, path))
        die(ctx);
    dfo_ctx_free(ctx);
}

int main(int argc, char **argv)
{
    static double ms[2][OPS][SIDES];
    const char *plot = NULL;
    for (int i = 1; i + 1 < argc; i += 2)
        if (!strcmp(argv[i], "--seconds"))
            seconds = strtod(argv[i + 1], NULL);
        else if (!strcmp(argv[i], "--plot"))
            plot = argv[i + 1];
        else
            return fprintf(stderr, "bench_sides: unknown option %s\n", argv[i]), 2;
    for (int t = 0; t < 2; t++)
        for (size_t s = 0; s < SIDES; s++) {
            double median[2];
            layer((size_t)sides[s], t + 1, median);
            ms[t][SOLVE][s] = median[SOLVE];
            ms[t][CONVOLVE][s] = median[CONVOLVE];
            if (s < DENSE)
                ms[t][DENSE_SOLVE][s] = dense((size_t)sides[s], t + 1);
        }
    for (int t = 0; t < 2; t++)
        for (int op = 0; op < OPS; op++)
            printf("{\"workload\": \"sides\", \"op\": \"%s\", \"threads\": %d, \"growth_per_pixel\": %.3f}\n", names[op], t + 1,
                   growth(ms[t][op], op == DENSE_SOLVE ? DENSE : SIDES));
    if (plot)
        draw(ms, plot);
    return 0;
}
