/* The benchmark of diffusion, W7: 10 steps of DDIM and of Euler and Maruyama's method, one training step of the noise's prediction, and
 * `net`, 10 passes of the net alone over the same rows in the same blocks, what a sampler cannot do without.  mlp2d: 4,096 points, a net
 * of 256-256-256; conv32: 16 images of 32x32x3, four residual blocks of 3x3 convolutions of 64 channels.  One JSON line a case and
 * operation, in the form of bench.c; ms are per call.
 *     bench_diffusion [--threads N] [--seconds S] [--filter TEXT] [--list]
 * Products and activations as in peers/w7_diffusion.py; the time goes into every layer of the points' net, there into the first.  */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <diffeo/diffeo.h>
#include "timed_fit.h"
#include "timing.h"

#define STEPS 10

static const struct bench {
    const char *name, *net;
    size_t      batch, block;          /* block: rows that samplers take at a time */
    dfo_shape   shape;
    size_t      shards;
} benches[] = {
    {"mlp2d", "{\"type\":\"time-mlp\",\"hidden\":256,\"layers\":2,\"inject\":\"first\",\"embedding\":0}", 4096, 128, {2, 1, 1}, 16},
    {"conv32", "{\"type\":\"unet\",\"channels\":64,\"levels\":1,\"blocks\":4,\"norm\":\"none\",\"embedding\":0}", 16, 8, {3, 32, 32}, 2},
};

static struct bench_options option = {.seconds = 1, .filter = ""};

static void die(dfo_ctx *ctx)
{
    fprintf(stderr, "bench_diffusion: %s\n", dfo_ctx_error(ctx));
    exit(1);
}

static dfo_model *model_of(dfo_ctx *ctx, const struct bench *b)
{
    dfo_model *model;
    json_t *net = json_loads(b->net, 0, NULL);
    json_t *config = json_pack("{s:s, s:{s:s}, s:{s:s, s:[{s:s, s:b, s:o, s:{s:s, s:s, s:f}}]}}", "flow", "custom", "matching", "path", "diffusion", "bijector",
                               "type", "chain", "layers", "type", "cnf", "zero_init", 0, "net", net, "diffusion", "schedule", "vp", "prediction", "noise",
                               "first", 1e-3);
    if (!config || dfo_model_new(ctx, config, b->shape, 0, 0, &model))
        die(ctx);
    json_decref(config);
    return model;
}

/* GFLOP of one pass of the net for the batch, without those of the time: two for every weight, of images for every pixel.  */
static double gflop(const struct bench *b, dfo_model *model)
{
    dfo_store *s = dfo_model_store(model);
    double n = 0, pixels = (double)(b->shape.h * b->shape.w);
    for (size_t i = 0; i < dfo_store_entries(s); i++) {
        const dfo_entry *e = dfo_store_entry(s, i);
        if (!strstr(e->name, "project") && !strstr(e->name, "embed") && e->ndim > 1)
            n += (double)e->count * pixels;
    }
    return 2 * n * (double)b->batch / 1e9;
}

static void print_line(const struct bench *b, dfo_model *model, const char *op, double *ms, size_t n, double work, double rate)
{
    qsort(ms, n, sizeof *ms, ascending);
    double median = quantile(ms, n, 0.5);
    printf("{\"workload\": \"W7\", \"case\": \"%s\", \"lib\": \"ours\", \"config\": \"tuned\", \"threads\": %d, \"op\": \"%s\", \"batch\": %zu, \"n\": %zu, "
           "\"rounds\": 1, \"ms_med\": %.4f, \"ms_min\": %.4f, \"ms_p90\": %.4f, \"ms_max\": %.4f, \"samples_per_s\": %.2f, \"peak_rss_mb\": %.1f, "
           "\"params\": %zu, \"gflop\": %.6f, \"gflops_achieved\": %.2f, \"ref_gflops\": %.1f, \"gemm_share\": %.3f, \"cpu\": \"%s\", \"blas\": \"%s\"}\n",
           b->name, option.threads, op, b->batch, n, median, ms[0], quantile(ms, n, 0.9), ms[n - 1], (double)b->batch / median * 1e3, peak_rss_mb(),
           dfo_store_parameters(dfo_model_store(model)), work, work / median * 1e3, rate, work / ms[0] * 1e3 / rate, dfo_cpu_name(), dfo_blas_core(NULL));
    fflush(stdout);
}

/* ---- samplers */

static void sample(dfo_ctx *ctx, const struct bench *b, dfo_model *model, const char *sampler, const char *op, dfo_batch x, double rate)
{
    static double ms[TIMED_MOST];
    dfo_denoiser_options o;
    dfo_flow_denoiser *r;
    size_t n = 0;
    dfo_denoiser_defaults(&o);
    o.sampler = sampler;
    if (dfo_flow_denoiser_new(ctx, dfo_model_flow(model), &o, "uniform", STEPS, &r))
        die(ctx);
    double end = now() + option.seconds;
    for (int i = 0; n < 5 || (now() < end && n < TIMED_MOST); i++) {
        double t = now();
        if (dfo_flow_denoiser_draw(r, 0, x, NULL))
            die(ctx);
        if (i >= 2)
            ms[n++] = 1e3 * (now() - t);
    }
    print_line(b, model, op, ms, n, STEPS * gflop(b, model), rate);
    dfo_flow_denoiser_free(r);
}

/* ---- the net alone, over blocks as the samplers take them */

struct worker {
    dfo_run   run;
    dfo_real *out, *time;
};

static struct worker worker_of(dfo_store *store, const dfo_net *net, size_t rows)
{
    struct worker w = {.run = {.mode = DFO_EVALUATE, .weights = dfo_store_weights(store), .buffers = dfo_store_buffers(store), .threads = 1}};
    w.run.arena_size = dfo_net_rows_scratch(net, rows);
    w.run.arena = aligned_alloc(64, (w.run.arena_size + 16) / 16 * 16 * sizeof(dfo_real));
    w.out = malloc(rows * net->out * sizeof *w.out);
    w.time = malloc(rows * sizeof *w.time);
    if (!w.run.arena || !w.out || !w.time)
        exit(1);
    for (size_t i = 0; i < rows; i++)
        w.time[i] = (dfo_real)0.3;
    return w;
}

static void net_alone(dfo_ctx *ctx, const struct bench *b, dfo_model *model, dfo_batch x, double rate)
{
    static double ms[TIMED_MOST];
    const dfo_shape in[2] = {b->shape, dfo_shape_vector(1)};
    dfo_store *store;
    dfo_net *net;
    json_t *config = json_loads(b->net, 0, NULL);
    size_t n = 0, block = b->block, blocks = b->batch / block;
    if (dfo_store_new(ctx, &store))
        die(ctx);
    dfo_build build = {.ctx = ctx, .store = store, .seed = 1, .path = "net"};
    if (dfo_net_new(&build, config, 2, in, b->shape, 0, &net))
        die(ctx);
    struct worker *w = calloc((size_t)option.threads, sizeof *w);
    for (int k = 0; w && k < option.threads; k++)
        w[k] = worker_of(store, net, block);
    double end = now() + option.seconds;
    for (int i = 0; w && (n < 5 || (now() < end && n < TIMED_MOST)); i++) {
        double t = now();
        for (int step = 0; step < STEPS; step++) {
#pragma omp parallel for num_threads(option.threads) schedule(static, 1)
            for (size_t k = 0; k < blocks; k++) {
                struct worker *own = &w[k % (size_t)option.threads];
                dfo_batch rows = dfo_batch_rows(x, k * block, block);
                dfo_cond parts = {.n = 2, .part = {{rows, in[0]}, {dfo_batch_of(own->time, block, 1), in[1]}}};
                if (dfo_net_rows_forward(net, &own->run, &parts, dfo_batch_of(own->out, block, net->out)))
                    exit(1);
            }
        }
        if (i >= 2)
            ms[n++] = 1e3 * (now() - t);
    }
    print_line(b, model, "net", ms, n, STEPS * gflop(b, model), rate);
    for (int k = 0; w && k < option.threads; k++) {
        free(w[k].run.arena);
        free(w[k].out);
        free(w[k].time);
    }
    free(w);
    json_decref(config);
    dfo_net_free(net);
    dfo_store_free(store);
}

static void train(dfo_ctx *ctx, const struct bench *b, dfo_model *model, dfo_batch x, double rate)
{
    static double ms[TIMED_MOST];
    dfo_fit_options o;
    dfo_fit_defaults(&o);
    o.batch = b->batch;
    o.lr = 1e-4;
    o.schedule = DFO_CONSTANT;
    o.clip = 0;
    o.threads = option.threads;
    o.shards = b->shards;
    o.valid_every = UINT64_MAX;
    size_t n = timed_fit(ctx, model, x, o, option.seconds, ms);
    if (!n)
        die(ctx);
    print_line(b, model, "train", ms, n, 3 * gflop(b, model), rate);
}

static void run(const struct bench *b)
{
    dfo_ctx *ctx;
    size_t d = dfo_shape_size(b->shape);
    if (dfo_ctx_new(&ctx))
        exit(1);
    dfo_ctx_set_threads(ctx, option.threads);
    option.threads = dfo_ctx_threads(ctx);
    dfo_model *model = model_of(ctx, b);
    dfo_batch x = dfo_batch_of(malloc(b->batch * d * sizeof(dfo_real)), b->batch, d);
    if (!x.x)
        exit(1);
    double rate = sgemm_rate(option.threads);
    dfo_draw_real_normal((dfo_key){.purpose = DFO_FOR_TEST}, b->batch * d, x.x);
    train(ctx, b, model, x, rate);
    net_alone(ctx, b, model, x, rate);
    sample(ctx, b, model, "ddim", "ddim", x, rate);
    sample(ctx, b, model, "euler-maruyama", "em", x, rate);
    free(x.x);
    dfo_model_free(model);
    dfo_ctx_free(ctx);
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (!bench_option(&option, argc, argv, &i))
            return fprintf(stderr, "bench_diffusion: unknown option %s\n", argv[i]), 2;
    for (size_t i = 0; i < sizeof benches / sizeof *benches; i++)
        if (bench_wanted(&option, "W7", benches[i].name))
            run(&benches[i]);
    return 0;
}
