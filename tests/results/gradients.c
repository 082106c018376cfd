/* A training step of ffjord by every way to its gradient: gradients [--plot FILE.png].  43 columns, batches of 256 rows, 8 to 512
 * equal steps of rk4, two layers of 32 units, one thread: working memory of the step, seconds of the processor, and the gradient against that of
 * "stored", |g - g_stored| / |g_stored|.  The field is that of 200 steps of training, not the initial zero.  A step of plain descent
 * of rate 1 tells the gradient: it is what the weights lose.  */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <diffeo/diffeo.h>
#include <diffeo/plot.h>

enum { WAYS = 4, COUNTS = 4, BATCH = 256 };
static const char *const ways[WAYS] = {"stored", "checkpoint", "adjoint", "reversible"};
static const size_t counts[COUNTS] = {8, 32, 128, 512};

static dfo_ctx *data_ctx;
static dfo_source *rows;

static void die(dfo_ctx *ctx)
{
    fprintf(stderr, "gradients: %s\n", dfo_ctx_error(ctx));
    exit(1);
}

struct outcome {
    double bytes, seconds;
    dfo_real *weights;             /* (size) after the step */
    size_t size;
};

/* Trains a new model of these steps from these weights (NULL: its own, standardised); what comes of it.  */
static struct outcome train(const char *way, size_t count, const dfo_real *weights, dfo_fit_options o)
{
    struct outcome out = {0};
    dfo_ctx *ctx;
    dfo_model *model;
    dfo_loss *loss;
    dfo_fit_report report;
    json_t *config = json_pack("{s:s, s:i, s:i, s:s, s:I, s:s}", "flow", "ffjord", "hidden", 32, "depth", 2, "solver", "rk4", "solver_steps",
                               (json_int_t)count, "gradient", way);
    if (!config || dfo_ctx_new(&ctx))
        exit(1);
    dfo_ctx_set_threads(ctx, 1);
    if (dfo_model_new(ctx, config, dfo_shape_vector(43), 0, 0, &model) || dfo_model_prepare_data(model, rows))
        die(ctx);
    dfo_store *store = dfo_model_store(model);
    out.size = dfo_store_weights_size(store);
    if (weights)
        memcpy(dfo_store_weights(store), weights, out.size * sizeof *weights);
    dfo_store_touch(store);
    clock_t start = clock();
    if (dfo_model_loss(model, &loss) || dfo_fit(loss, rows, NULL, 0, &o, &report))
        die(ctx);
    out.bytes = (double)report.plan_bytes;
    out.seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
    out.weights = malloc(out.size * sizeof *out.weights);
    if (!out.weights)
        exit(1);
    memcpy(out.weights, dfo_store_weights(store), out.size * sizeof *out.weights);
    dfo_loss_free(loss);
    dfo_model_free(model);
    dfo_ctx_free(ctx);
    json_decref(config);
    return out;
}

/* |g - h| / |h| of the steps from weights to g and h.  */
static double apart(const dfo_real *weights, const dfo_real *g, const dfo_real *h, size_t size)
{
    double far = 0, norm = 0;
    for (size_t i = 0; i < size; i++) {
        far += ((double)g[i] - (double)h[i]) * ((double)g[i] - (double)h[i]);
        norm += ((double)h[i] - (double)weights[i]) * ((double)h[i] - (double)weights[i]);
    }
    return sqrt(far / norm);
}

static void draw(double mb[WAYS][COUNTS], const char *path)
{
    dfo_plot_series series[WAYS];
    double x[COUNTS];
    for (size_t k = 0; k < COUNTS; k++)
        x[k] = (double)counts[k];
    for (size_t w = 0; w < WAYS; w++)
        series[w] = (dfo_plot_series){.name = ways[w], .x = x, .y = mb[w], .n = COUNTS};
    dfo_plot_curves c = {.look = {.title = "ffjord, 43 columns, batch 256: memory of a training step", .x_label = "steps of rk4",
                                  .y_label = "MiB"},
                         .x_scale = DFO_PLOT_LOG, .y_scale = DFO_PLOT_LOG, .series = series, .n = WAYS};
    if (dfo_plot_curves_png(data_ctx, &c, path))
        die(data_ctx);
}

int main(int argc, char **argv)
{
    double mb[WAYS][COUNTS];
    dfo_fit_options learn, descend;
    dfo_fit_defaults(&learn);
    learn.steps = 200;
    learn.batch = BATCH;
    learn.lr = 1e-3;
    learn.keep_best = 0;
    descend = learn;
    descend.steps = 1;
    descend.optimiser = DFO_SGD;
    descend.schedule = DFO_CONSTANT;
    descend.lr = 1;
    descend.momentum = descend.clip = 0;
    if (dfo_ctx_new(&data_ctx) || dfo_source_open(data_ctx, "toy:gaussian43:4096", NULL, &rows))
        die(data_ctx);
    struct outcome fitted = train("stored", 8, NULL, learn);
    printf("# %s\n%-11s %5s %9s %11s %11s\n", sizeof(dfo_real) == 4 ? "float" : "double", "gradient", "steps", "MiB", "seconds", "error");
    for (size_t k = 0; k < COUNTS; k++) {
        struct outcome one[WAYS];
        for (size_t w = 0; w < WAYS; w++) {
            one[w] = train(ways[w], counts[k], fitted.weights, descend);
            mb[w][k] = one[w].bytes / 1048576;
            printf("%-11s %5zu %9.2f %11.3f %11.1e\n", ways[w], counts[k], mb[w][k], one[w].seconds,
                   apart(fitted.weights, one[w].weights, one[0].weights, fitted.size));
            fflush(stdout);
        }
        for (size_t w = 0; w < WAYS; w++)
            free(one[w].weights);
    }
    if (argc == 3 && !strcmp(argv[1], "--plot"))
        draw(mb, argv[2]);
    free(fitted.weights);
    dfo_source_free(rows);
    dfo_ctx_free(data_ctx);
    return 0;
}
