/* The benchmark of i-RevNet, W6: 32 images of 32x32x3, space to depth, three stages of 24, 96 and 384 channels a half
 * with strides 2, bottleneck 1/4, batch normalisation as it is at evaluation.  encode: the body and the head; invert:
 * the body back.  One JSON line a case and operation, in the form of bench.c.
 *     bench_irevnet [--threads N] [--seconds S] [--filter TEXT] [--list]
 * Sizes as in peers/w6_irevnet.py: small has 6-6-6 blocks, full 18-18-18.  */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <diffeo/diffeo.h>
#include "timing.h"

#define BATCH 32
#define D (3 * 32 * 32)
#define MOST 4096                      /* samples kept */

static const struct bench {
    const char *name;
    int         blocks;
} benches[] = {{"small", 6}, {"full", 18}};

static void die(dfo_ctx *ctx)
{
    fprintf(stderr, "bench_irevnet: %s\n", dfo_ctx_error(ctx));
    exit(1);
}

static dfo_model *model_of(dfo_ctx *ctx, const struct bench *b)
{
    dfo_model *model;
    json_t *config = json_pack("{s:s, s:i, s:i, s:i, s:[i,i,i], s:i, s:i, s:i, s:s, s:b, s:b, s:i, s:b}", "flow", "irevnet",
                               "classes", 10, "levels", 0, "squeeze", 2, "strides", 2, 2, 2, "blocks", b->blocks, "hidden",
                               0, "dense_blocks", 0, "norm", "batch", "standardise", 0, "zero_init", 0, "shift", 0, "flip", 0);
    if (!config || dfo_model_new(ctx, config, (dfo_shape){3, 32, 32}, 0, 0, &model))
        die(ctx);
    json_decref(config);
    return model;
}

/* GFLOP of the convolutions for the batch: two for every weight, input and output pixel.  The spatial side of a
 * stage's weights is known by its channels: 24, 96 and 384 a half stand on 8x8, 4x4 and 2x2 pixels.  */
static double gflop(dfo_model *model)
{
    dfo_store *s = dfo_model_store(model);
    double n = 0;
    for (size_t i = 0; i < dfo_store_entries(s); i++) {
        const dfo_entry *e = dfo_store_entry(s, i);
        size_t hidden = e->shape[0] < e->shape[3] ? e->shape[0] : e->shape[3];
        if (e->ndim == 4)              /* (out, 3, 3, in): hidden is 6, 24 or 96 */
            n += (double)e->count * (hidden <= 6 ? 64 : hidden <= 24 ? 16 : 4);
    }
    return 2 * n * BATCH / 1e9;
}

static void print_line(const struct bench *b, dfo_model *model, const char *op, int threads, double *ms, size_t n,
                       double rate, double error)
{
    qsort(ms, n, sizeof *ms, ascending);
    double median = ms[n / 2], work = gflop(model);
    printf("{\"workload\": \"W6\", \"case\": \"%s\", \"lib\": \"ours\", \"blocks\": %d, \"config\": \"tuned\", \"threads\": %d, "
           "\"op\": \"%s\", \"batch\": %d, \"n\": %zu, \"rounds\": 1, \"ms_med\": %.4f, \"ms_min\": %.4f, \"ms_max\": %.4f, "
           "\"samples_per_s\": %.2f, \"params\": %zu, \"gflop\": %.6f, \"gflops_achieved\": %.2f, \"ref_gflops\": %.1f, "
           "\"gemm_share\": %.3f, \"max_err\": %.3g, \"cpu\": \"%s\", \"blas\": \"%s\"}\n",
           b->name, b->blocks, threads, op, BATCH, n, median, ms[0], ms[n - 1], BATCH / median * 1e3,
           dfo_store_parameters(dfo_model_store(model)), work, work / median * 1e3, rate, work / ms[0] * 1e3 / rate, error,
           dfo_cpu_name(), dfo_blas_core(NULL));
    fflush(stdout);
}

static void run(const struct bench *b, int threads, double seconds)
{
    static double ms[2][MOST], logits[BATCH * 10];
    dfo_ctx *ctx;
    dfo_model_plan *plan;
    if (dfo_ctx_new(&ctx))
        exit(1);
    dfo_ctx_set_threads(ctx, threads);
    threads = dfo_ctx_threads(ctx);
    dfo_model *model = model_of(ctx, b);
    dfo_real *x = malloc(BATCH * D * sizeof *x), *z = malloc(BATCH * D * sizeof *z);
    dfo_key key = {.purpose = DFO_FOR_TEST};
    if (!x || !z || dfo_model_plan_new(ctx, model, 0, &plan))
        die(ctx);
    dfo_draw_real_uniform(key, BATCH * D, x);
    double rate = sgemm_rate(threads), end = now() + 2 * seconds, error = 0;
    size_t n = 0;
    for (int i = 0; n < 5 || (now() < end && n < MOST); i++) {
        memcpy(z, x, BATCH * D * sizeof *z);
        double start = now();
        if (dfo_model_classify(plan, 0, dfo_batch_of(z, BATCH, D), logits))
            die(ctx);
        double middle = now();
        if (dfo_model_decode(plan, 0, dfo_batch_of(z, BATCH, D), NULL, NULL))
            die(ctx);
        double stop = now();
        for (size_t k = 0; k < BATCH * D && !i; k++)
            error = fmax(error, fabs((double)z[k] - (double)x[k]));
        if (i >= 2) {
            ms[0][n] = 1e3 * (middle - start);
            ms[1][n++] = 1e3 * (stop - middle);
        }
    }
    print_line(b, model, "encode", threads, ms[0], n, rate, error);
    print_line(b, model, "invert", threads, ms[1], n, rate, error);
    dfo_model_plan_free(plan);
    dfo_model_free(model);
    dfo_ctx_free(ctx);
    free(x);
    free(z);
}

int main(int argc, char **argv)
{
    struct bench_options o = {.seconds = 1, .filter = ""};
    for (int i = 1; i < argc; i++)
        if (!bench_option(&o, argc, argv, &i))
            return fprintf(stderr, "bench_irevnet: unknown option %s\n", argv[i]), 2;
    for (size_t i = 0; i < sizeof benches / sizeof *benches; i++)
        if (bench_wanted(&o, "W6", benches[i].name))
            run(&benches[i], o.threads, o.seconds);
    return 0;
}
