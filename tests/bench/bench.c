/* The benchmark of flows: W1 (affine couplings, 10 layers) and W2's NSF-C (10 spline couplings) and MAF (5
 * autoregressive layers; GFLOP as if their weights had no masks), batch 512; W3
 * (Glow on 32x32x3 images, 3 levels of K steps, batch 32): log-likelihood, sampling, one training step; W4 (FFJORD by dopri5,
 * rtol = atol = 1e-5, the trace exact or of one probe; "nfe": evaluations of the field by a call, a product and its tangent each with a probe; GFLOP of the others
 * are not counted); W5 (one causal
 * convolution, batch 32): its solve, the convolution, the solve with its gradients; the solve of a periodic one, and
 * fft_bare, FFTW's transforms alone with the time that its products take at sgemm's rate.  One JSON line for each case and operation, in the form that tests/bench/peers prints for the others.
 *     bench [--threads N] [--seconds S] [--filter TEXT] [--list]        cases
 *     bench --memory [--plot FILE.png]                                  working memory against depth
 *     bench --machine                                                   sgemm with one and two threads
 * ms are per call; peak_rss_mb is the process's; gemm_share: the products' FLOP over the time and the rate of
 * OpenBLAS sgemm 512^3 on as many threads, measured beside it.  */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <diffeo/diffeo.h>
#include "math/fft_impl.h"
#include "timed_fit.h"
#include "timing.h"

#define BATCH 512                      /* rows; images: IMAGES */
#define IMAGES 32

static struct bench_options option = {.seconds = 1, .filter = ""};
static const char *plot;               /* of --memory, or NULL */

struct bench {
    const char *workload, *name;
    size_t      d, hidden, layers;     /* W3: layers are the steps of a level; W5: hidden are the channels */
    dfo_memory_mode memory;
    unsigned    anchors;
    size_t      side;                  /* of square images, 0: vectors */
};

static const struct bench benches[] = {
    {"W1", "d43_h128", 43, 128, 10, DFO_MEMORY_ANCHORS, 4, 0}, {"W1", "d43_h512", 43, 512, 10, DFO_MEMORY_ANCHORS, 4, 0},
    {"W1", "d6_h128", 6, 128, 10, DFO_MEMORY_ANCHORS, 4, 0},   {"W1", "d63_h128", 63, 128, 10, DFO_MEMORY_ANCHORS, 4, 0},
    {"W2", "nsfc", 43, 128, 10, DFO_MEMORY_ANCHORS, 4, 0},
    {"W2", "maf", 43, 512, 5, DFO_MEMORY_ANCHORS, 4, 0}, {"W2", "maf_store", 43, 512, 5, DFO_MEMORY_STORE, 0, 0},
    {"W3", "32x32x3_K8", 3072, 128, 8, DFO_MEMORY_ANCHORS, 4, 32},
    {"W3", "32x32x3_K32", 3072, 128, 32, DFO_MEMORY_ANCHORS, 4, 32},
    {"W1", "d43_h128_store", 43, 128, 10, DFO_MEMORY_STORE, 0, 0},
    {"W1", "d43_h512_store", 43, 512, 10, DFO_MEMORY_STORE, 0, 0},
    {"W2", "nsfc_store", 43, 128, 10, DFO_MEMORY_STORE, 0, 0},
    {"W3", "32x32x3_K8_store", 3072, 128, 8, DFO_MEMORY_STORE, 0, 32},
    {"W3", "32x32x3_K32_store", 3072, 128, 32, DFO_MEMORY_STORE, 0, 32},
    {"W4", "toy2d_hutch", 2, 64, 3, DFO_MEMORY_INVERT, 0, 0}, {"W4", "toy2d_exact", 2, 64, 3, DFO_MEMORY_INVERT, 0, 0},
    {"W4", "miniboone_hutch", 43, 860, 2, DFO_MEMORY_INVERT, 0, 0}, {"W4", "miniboone_exact", 43, 860, 2, DFO_MEMORY_INVERT, 0, 0},
    {"W5", "12x32x32", 12 * 32 * 32, 12, 1, DFO_MEMORY_INVERT, 0, 32},
    {"W5", "48x64x64", 48 * 64 * 64, 48, 1, DFO_MEMORY_INVERT, 0, 64},
    {"W5", "12x32x32_fft", 12 * 32 * 32, 12, 1, DFO_MEMORY_INVERT, 0, 32},
    {"W5", "48x64x64_fft", 48 * 64 * 64, 48, 1, DFO_MEMORY_INVERT, 0, 64},
    {"W5", "12x32x32_store", 12 * 32 * 32, 12, 1, DFO_MEMORY_STORE, 0, 32},
    {"W5", "48x64x64_store", 48 * 64 * 64, 48, 1, DFO_MEMORY_STORE, 0, 64},
};

static int images(const struct bench *b)
{
    return b->side != 0;
}

static int causal(const struct bench *b)
{
    return !strcmp(b->workload, "W5");
}

static int continuous(const struct bench *b)
{
    return !strcmp(b->workload, "W4");
}

static int exact(const struct bench *b)
{
    return strstr(b->name, "_exact") != NULL;
}

static int periodic(const struct bench *b)
{
    return causal(b) && strstr(b->name, "_fft");
}

static int autoregressive(const struct bench *b)
{
    return !strncmp(b->name, "maf", 3);
}

static size_t batch_of(const struct bench *b)
{
    return images(b) ? IMAGES : BATCH;
}

static dfo_shape shape_of(const struct bench *b)
{
    return images(b) ? (dfo_shape){b->d / (b->side * b->side), b->side, b->side} : dfo_shape_vector(b->d);
}

static void die(dfo_ctx *ctx)
{
    fprintf(stderr, "bench: %s\n", dfo_ctx_error(ctx));
    exit(1);
}

/* The preset without its first two layers: dequantisation and scaling.  */
static json_t *glow(dfo_ctx *ctx, const struct bench *b)
{
    json_t *out, *config = json_pack("{s:s, s:i, s:I, s:I, s:b}", "flow", "glow", "levels", 3, "depth",
                                     (json_int_t)b->layers, "hidden", (json_int_t)b->hidden, "prior", 0);
    if (dfo_preset_expand(ctx, config, shape_of(b), &out))
        die(ctx);
    json_t *layers = json_object_get(json_object_get(out, "bijector"), "layers");
    json_array_remove(layers, 0);
    json_array_remove(layers, 0);
    json_object_set_new(out, "flow", json_string("custom"));
    json_decref(config);
    return out;
}

static json_t *config_of(dfo_ctx *ctx, const struct bench *b)
{
    if (causal(b))
        return json_pack("{s:s, s:{s:s, s:[{s:s, s:b}]}}", "flow", "custom", "bijector", "type", "chain", "layers", "type",
                         periodic(b) ? "periodic-conv" : "causal-conv", "solve", 1);
    if (images(b))
        return glow(ctx, b);
    if (continuous(b))
        return json_pack("{s:s, s:{s:s, s:[{s:s, s:b, s:b, s:i, s:f, s:f, s:{s:s, s:I, s:I, s:s}}]}}", "flow", "custom", "bijector", "type",
                         "chain", "layers", "type", "cnf", "zero_init", 0, "together", 1, "probes", !exact(b), "rtol", 1e-5, "atol", 1e-5,
                         "net", "type", "concatsquash", "hidden", (json_int_t)b->hidden, "layers", (json_int_t)b->layers, "activation",
                         b->d == 2 ? "tanh" : "softplus");
    json_t *layers = json_array();
    int spline = !strcmp(b->workload, "W2");
    for (size_t i = 0; i < b->layers; i++) {
        const char *mask = i % 2 ? "half-swapped" : "half";
        if (autoregressive(b))
            json_array_append_new(layers, json_pack("{s:s, s:s, s:b, s:{s:[I, I]}}", "type", "autoregressive", "order",
                i % 2 ? "reverse" : "natural", "zero_init", 0, "net", "hidden", (json_int_t)b->hidden, (json_int_t)b->hidden));
        else if (spline)
            json_array_append_new(layers, json_pack("{s:s, s:s, s:b, s:i, s:f, s:f, s:{s:s, s:I, s:i}}", "type",
                "spline-coupling", "mask", mask, "zero_init", 0, "bins", 8, "tail_bound", 3.0, "parameter_scale",
                1 / sqrt((double)b->hidden), "net", "type", "residual-mlp", "hidden", (json_int_t)b->hidden, "blocks",
                2));
        else
            json_array_append_new(layers, json_pack("{s:s, s:s, s:b, s:f, s:{s:s, s:[I,I]}}", "type",
                "affine-coupling", "mask", mask, "zero_init", 0, "scale_max", 1.0, "net", "type", "mlp", "hidden",
                (json_int_t)b->hidden, (json_int_t)b->hidden));
    }
    return json_pack("{s:s, s:{s:s, s:o}}", "flow", "custom", "bijector", "type", "chain", "layers", layers);
}

/* GFLOP of the conditioners' products in one forward pass of the batch: two for every weight but biases; of
 * images for every pixel, and those of the 1x1 convolutions.  */
static double gflop(const struct bench *b, dfo_model *model)
{
    dfo_store *s = dfo_model_store(model);
    double n = 0, h = (double)b->hidden;
    if (periodic(b))                   /* complex: four products and four sums */
        return 8 * h * h * (double)(dfoi_fft_count(b->side, b->side) * batch_of(b)) / 1e9;
    if (causal(b))                     /* the last tap is triangular */
        return 2 * 8.5 * h * h * (double)(b->side * b->side * batch_of(b)) / 1e9;
    for (size_t i = 0; !images(b) && i < dfo_store_entries(s); i++)
        if (dfo_store_entry(s, i)->ndim == 2)
            n += (double)dfo_store_entry(s, i)->count;
    for (size_t level = 0, c = 12, side = 16; images(b) && level < 3; level++, c *= 2, side /= 2) {
        double half = (double)c / 2, pixels = (double)(side * side);
        n += (double)b->layers * pixels * (9 * half * h + h * h + 9 * h * 2 * half + 4 * half * half);
    }
    return 2 * n * (double)batch_of(b) / 1e9;
}

static uint64_t evaluations;           /* of the field in a call; 0: not counted */

static void print_line(const struct bench *b, dfo_model *model, const char *op, double *ms, size_t n, double work,
                       double rate)
{
    qsort(ms, n, sizeof *ms, ascending);
    double median = quantile(ms, n, 0.5);
    printf("{\"workload\": \"%s\", \"case\": \"%s\", \"lib\": \"ours\", \"dim\": %zu, \"hidden\": %zu, \"layers\": %zu, "
           "\"config\": \"tuned\", \"threads\": %d, \"op\": \"%s\", \"batch\": %zu, \"n\": %zu, \"rounds\": 1, "
           "\"ms_med\": %.4f, \"ms_min\": %.4f, \"ms_p90\": %.4f, \"ms_max\": %.4f, \"samples_per_s\": %.2f, "
           "\"peak_rss_mb\": %.1f, \"params\": %zu, \"gflop\": %.6f, \"gflops_achieved\": %.2f, \"ref_gflops\": %.1f, "
           "\"gemm_share\": %.3f, \"nfe\": %llu, \"cpu\": \"%s\", \"blas\": \"%s\"}\n",
           b->workload, b->name, b->d, b->hidden, b->layers, option.threads, op, batch_of(b), n, median, ms[0],
           quantile(ms, n, 0.9), ms[n - 1], (double)batch_of(b) / median * 1e3, peak_rss_mb(),
           dfo_store_parameters(dfo_model_store(model)), work, work / median * 1e3, rate, work / ms[0] * 1e3 / rate,
           (unsigned long long)evaluations, dfo_cpu_name(), dfo_blas_core(NULL));
    fflush(stdout);
}

static dfo_fit_options fit_options(const struct bench *b)
{
    dfo_fit_options o;
    dfo_fit_defaults(&o);
    o.batch = batch_of(b);
    o.lr = 1e-4;
    o.schedule = DFO_CONSTANT;
    o.clip = 0;
    o.memory = b->memory;
    o.anchors = b->anchors;
    o.threads = option.threads;
    o.valid_every = UINT64_MAX;
    if (images(b))
        o.shards = IMAGES / 8;
    return o;
}

static void train(dfo_ctx *ctx, const struct bench *b, dfo_model *model, dfo_batch x, double rate)
{
    static double ms[TIMED_MOST];
    size_t n = timed_fit(ctx, model, x, fit_options(b), option.seconds, ms);
    if (!n)
        die(ctx);
    print_line(b, model, causal(b) ? "solve_bwd" : "train", ms, n, continuous(b) ? 0 : 3 * gflop(b, model), rate);
}

/* GFLOP of a log-likelihood; 0: not counted.  */
static double work_of(const struct bench *b, dfo_model *model)
{
    if (continuous(b))
        return exact(b) ? 0 : 2 * (double)evaluations * gflop(b, model);
    return gflop(b, model);
}

static void evaluate(dfo_ctx *ctx, const struct bench *b, dfo_model *model, dfo_batch x, int sample, double rate)
{
    static double ms[TIMED_MOST];
    static double out[BATCH];
    dfo_model_plan *plan;
    dfo_batch y = dfo_batch_of(calloc(batch_of(b) * b->d, sizeof(dfo_real)), batch_of(b), b->d);
    size_t n = 0;
    if (!y.x || dfo_model_plan_new(ctx, model, 0, &plan))
        die(ctx);
    double end = now() + option.seconds;
    for (int i = 0; n < 5 || (now() < end && n < TIMED_MOST); i++) {
        double t = now();
        if (!sample || causal(b))
            memcpy(y.x, x.x, batch_of(b) * b->d * sizeof(dfo_real));
        dfo_status status = !sample ? dfo_model_log_prob(plan, 0, y, NULL, out)
                            : causal(b) ? dfo_model_decode(plan, 0, y, NULL, NULL)
                                        : dfo_model_sample(plan, (uint64_t)i, 0, y, NULL, 1);
        if (status)
            die(ctx);
        if (i >= 2)
            ms[n++] = 1e3 * (now() - t);
    }
    const char *op = periodic(b) ? "fft_solve" : causal(b) ? sample ? "conv_fwd" : "solve" : sample ? "sample" : "log_prob";
    evaluations = (uint64_t)(dfo_model_plan_nfe(plan) + 0.5);
    print_line(b, model, op, ms, n, work_of(b, model), rate);
    evaluations = 0;
    dfo_model_plan_free(plan);
    free(y.x);
}

static void bare(dfo_ctx *ctx, const struct bench *b, dfo_model *model, dfo_batch x, double rate)
{
    static double ms[TIMED_MOST];
    size_t plane = b->side * b->side, size = dfo_arena_size(2 * dfoi_fft_count(b->side, b->side)), n = 0;
    dfo_real *spectrum = aligned_alloc(64, x.n * b->hidden * size * sizeof *spectrum);
    dfo_real *rows = aligned_alloc(64, x.n * b->d * sizeof *rows);
    dfoi_fft *fft;
    if (!spectrum || !rows || dfoi_fft_new(ctx, DFOI_FFT_REAL, b->side, b->side, &fft))
        die(ctx);
    double end = now() + option.seconds;
    for (int i = 0; n < 5 || (now() < end && n < TIMED_MOST); i++) {
        memcpy(rows, x.x, x.n * b->d * sizeof *rows);
        double t = now();
#pragma omp parallel for num_threads(option.threads)
        for (size_t p = 0; p < x.n * b->hidden; p++)
            dfoi_fft_forward(fft, rows + p * plane, spectrum + p * size);
#pragma omp parallel for num_threads(option.threads)
        for (size_t p = 0; p < x.n * b->hidden; p++)
            dfoi_fft_inverse(fft, spectrum + p * size, rows + p * plane);
        if (i >= 2)
            ms[n++] = 1e3 * (now() - t) + 1e3 * gflop(b, model) / rate;
    }
    print_line(b, model, "fft_bare", ms, n, gflop(b, model), rate);
    dfoi_fft_free(ctx, fft);
    free(spectrum);
    free(rows);
}

static dfo_batch data(const struct bench *b)
{
    size_t n = batch_of(b);
    dfo_batch x = dfo_batch_of(malloc(n * b->d * sizeof(dfo_real)), n, b->d);
    if (!x.x)
        exit(1);
    dfo_draw_real_normal((dfo_key){.purpose = DFO_FOR_TEST}, n * b->d, x.x);
    return x;
}

static void run(const struct bench *b)
{
    dfo_ctx *ctx;
    dfo_model *model;
    if (dfo_ctx_new(&ctx))
        exit(1);
    dfo_ctx_set_threads(ctx, option.threads);
    option.threads = dfo_ctx_threads(ctx);
    json_t *config = config_of(ctx, b);
    if (dfo_model_new(ctx, config, shape_of(b), 0, 0, &model))
        die(ctx);
    dfo_batch x = data(b);
    double rate = sgemm_rate(option.threads);
    int store = b->memory == DFO_MEMORY_STORE;
    if (continuous(b) && !exact(b) &&
        dfo_model_set_solver(model, &(dfo_solver_options){.steps = DFO_AS_IT_IS, .rtol = -1, .atol = -1, .probes = 1}))
        die(ctx);
    if (!store)
        evaluate(ctx, b, model, x, 0, rate);
    if (!store && !periodic(b) && !continuous(b))
        evaluate(ctx, b, model, x, 1, rate);
    if (periodic(b))
        bare(ctx, b, model, x, rate);
    else if (!(continuous(b) && exact(b) && b->d > 2))
        train(ctx, b, model, x, rate);
    free(x.x);
    dfo_model_free(model);
    json_decref(config);
    dfo_ctx_free(ctx);
}

/* Working memory of a training step beyond weights, gradient and Adam's moments.  */
static double memory_line(const struct bench *b, const char *mode)
{
    dfo_ctx *ctx;
    dfo_model *model;
    dfo_loss *loss;
    dfo_source *source;
    dfo_fit_report report;
    if (dfo_ctx_new(&ctx))
        exit(1);
    dfo_ctx_set_threads(ctx, option.threads);
    json_t *config = config_of(ctx, b);
    dfo_batch x = data(b);
    if (dfo_model_new(ctx, config, shape_of(b), 0, 0, &model) || dfo_model_loss(model, &loss) ||
        dfo_source_rows(ctx, x, &source))
        die(ctx);
    dfo_fit_options o = fit_options(b);
    o.steps = 2;
    if (dfo_fit(loss, source, NULL, 0, &o, &report))
        die(ctx);
    double weights = (double)(dfo_store_weights_size(dfo_model_store(model)) * sizeof(dfo_real));
    double beyond = ((double)dfo_ctx_peak_bytes(ctx) - 4 * weights) / 1048576;
    printf("{\"workload\": \"memory\", \"case\": \"%s\", \"mode\": \"%s\", \"layers\": %zu, \"threads\": %d, "
           "\"weights_mb\": %.3f, \"peak_beyond_mb\": %.3f, \"drift\": %.2g}\n", b->workload, mode, b->layers,
           dfo_ctx_threads(ctx), weights / 1048576, beyond, report.drift);
    fflush(stdout);
    dfo_source_free(source);
    dfo_loss_free(loss);
    dfo_model_free(model);
    json_decref(config);
    free(x.x);
    dfo_ctx_free(ctx);
    return beyond;
}

#define MODES 3
#define DEPTHS 4

/* Glow's memory over its steps a level, a curve for each mode.  */
static void draw_memory(const char *const name[MODES], double mb[MODES][DEPTHS])
{
    static const double steps[DEPTHS] = {4, 8, 16, 32};
    dfo_ctx *ctx;
    dfo_plot_series series[MODES];
    for (int m = 0; m < MODES; m++)
        series[m] = (dfo_plot_series){.name = name[m], .x = steps, .y = mb[m], .n = DEPTHS};
    dfo_plot_curves c = {.look = {.title = "Glow on 32x32x3, batch 32: memory of a training step", .x_label = "steps a level",
                                  .y_label = "MiB beyond weights, gradient and moments"},
                         .x_scale = DFO_PLOT_LOG, .y_scale = DFO_PLOT_LOG, .series = series, .n = MODES};
    if (dfo_ctx_new(&ctx))
        exit(1);
    if (dfo_plot_curves_png(ctx, &c, plot))
        die(ctx);
    dfo_ctx_free(ctx);
}

/* By depth and mode: W1 and W2 of 10 to 40 layers, W3 of 4 to 32 steps a level.  */
static void memory_table(void)
{
    static const struct bench depth[] = {
        {"W1", "depth", 43, 128, 10, DFO_MEMORY_INVERT, 0, 0},
        {"W2", "depth", 43, 128, 10, DFO_MEMORY_INVERT, 0, 0},
        {"W3", "depth", 3072, 128, 4, DFO_MEMORY_INVERT, 0, 32},
    };
    static const struct {
        const char *name;
        dfo_memory_mode mode;
        unsigned anchors;
    } modes[MODES] = {{"invert", DFO_MEMORY_INVERT, 0}, {"anchors=4", DFO_MEMORY_ANCHORS, 4}, {"store", DFO_MEMORY_STORE, 0}};
    const char *const name[MODES] = {modes[0].name, modes[1].name, modes[2].name};
    double mb[MODES][DEPTHS];
    for (size_t m = 0; m < MODES; m++)
        for (size_t i = 0; i < 3 * DEPTHS; i++) {
            struct bench b = depth[i / DEPTHS];
            b.layers = images(&b) ? (size_t)4 << i % DEPTHS : 10 * (i % DEPTHS + 1);
            b.memory = modes[m].mode;
            b.anchors = modes[m].anchors;
            mb[m][i % DEPTHS] = memory_line(&b, modes[m].name);    /* W3 comes last */
        }
    if (plot)
        draw_memory(name, mb);
}

int main(int argc, char **argv)
{
    int memory = 0, machine = 0;
    for (int i = 1; i < argc; i++) {
        if (bench_option(&option, argc, argv, &i))
            continue;
        if (!strcmp(argv[i], "--plot") && i + 1 < argc)
            plot = argv[++i];
        else if (!strcmp(argv[i], "--memory"))
            memory = 1;
        else if (!strcmp(argv[i], "--machine"))
            machine = 1;
        else
            return fprintf(stderr, "bench: unknown option %s\n", argv[i]), 2;
    }
    if (memory) {
        memory_table();
        return 0;
    }
    if (machine)
        return printf("{\"workload\": \"machine\", \"cpu\": \"%s\", \"blas\": \"%s\", \"sgemm_1\": %.1f, "
                      "\"sgemm_2\": %.1f}\n", dfo_cpu_name(), dfo_blas_core(NULL), sgemm_rate(1), sgemm_rate(2)) < 0;
    for (size_t i = 0; i < sizeof benches / sizeof *benches; i++)
        if (bench_wanted(&option, benches[i].workload, benches[i].name))
            run(&benches[i]);
    return 0;
}
