/* Speed of nets of images on one core, as JSON lines: forward alone, training (forward with
 * activations, backward with weight and input gradients) and the pair of passes with tangents, over
 * a batch of 32 images in shards of eight.  gflops counts the convolutions' multiply-adds alone
 * (taps outside of the image too); share_of_gemm is of dfoi_gemm's rate at 128 x 128, measured
 * before. bench_conv [milliseconds per figure [case]]  */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <diffeo/net.h>
#include "bench/peak.h"
#include "base/ctx_impl.h"
#include "math/gemm_impl.h"

#define ROWS 32
#define SHARD 8

struct conv_case {
    const char *name, *config;
    dfo_shape in, out;
    double products; /* multiply-adds of an image */
};

#define GLOW "{\"type\":\"conv\",\"hidden\":128}"
#define CHAIN(in, out, pixels) ((9.0 * (in)*128 + 128 * 128 + 9.0 * 128 * (out)) * (pixels))
#define BOTTLENECK(m)                                                                              \
    "{\"type\":\"conv\",\"layers\":[{\"activation\":\"relu\",\"channels\":" m "},{\"channels\":" m \
    "},{}]}"
#define NARROW(c, m, pixels) ((18.0 * (c) * (m) + 9.0 * (m) * (m)) * (pixels))

#define UNET(more) "{\"type\":\"unet\"," more "}"
/* W7's net: 64 channels, four blocks, one level; and one of two levels, with two blocks of 64 and of 128 channels on each side.  */
#define W7 ((9.0 * 3 * 64 * 2 + 8 * 9.0 * 64 * 64) * 1024)
#define TWO_LEVELS                                                                                 \
    ((9.0 * 3 * 64 * 2 + 7 * 9.0 * 64 * 64 + 10.0 * 128 * 64) * 1024 +                             \
     (9.0 * 64 * 128 + 4 * 9.0 * 128 * 128 + 16.0 * 128 * 64) * 256)

static const struct conv_case cases[] = {
    {"W3 level 1", GLOW, {6, 16, 16}, {12, 16, 16}, CHAIN(6, 12, 256)},
    {"W3 level 2", GLOW, {12, 8, 8}, {24, 8, 8}, CHAIN(12, 24, 64)},
    {"W3 level 3", GLOW, {24, 4, 4}, {48, 4, 4}, CHAIN(24, 48, 16)},
    {"MNIST level 1", GLOW, {2, 14, 14}, {4, 14, 14}, CHAIN(2, 4, 196)},
    {"MNIST level 2", GLOW, {4, 7, 7}, {8, 7, 7}, CHAIN(4, 8, 49)},
    {"W6 stage 1", BOTTLENECK("6"), {24, 8, 8}, {24, 8, 8}, NARROW(24, 6, 64)},
    {"W6 stage 2", BOTTLENECK("24"), {96, 4, 4}, {96, 4, 4}, NARROW(96, 24, 16)},
    {"W6 stage 3", BOTTLENECK("96"), {384, 2, 2}, {384, 2, 2}, NARROW(384, 96, 4)},
    {"W6 stage 2, batch norm",
     "{\"type\":\"conv\",\"norm\":\"batch\",\"layers\":[{\"norm\":\"batch\",\"activation\":\"relu\","
     "\"channels\":24,\"bias\":false},{\"channels\":24,\"bias\":false},{\"bias\":false}]}",
     {96, 4, 4},
     {96, 4, 4},
     NARROW(96, 24, 16)},
    {"NSF residual",
     "{\"type\":\"residual-conv\",\"hidden\":96,\"blocks\":3}",
     {6, 16, 16},
     {66, 16, 16},
     (6.0 * 96 + 54.0 * 96 * 96 + 96 * 66) * 256},
    {"3x3 96 to 96",
     "{\"type\":\"conv\",\"layers\":[{}]}",
     {96, 16, 16},
     {96, 16, 16},
     9.0 * 96 * 96 * 256},
    {"W7 conv32",
     UNET("\"channels\":[64],\"blocks\":4,\"norm\":\"none\",\"embedding\":0"),
     {3, 32, 32},
     {3, 32, 32},
     W7},
    {"unet 64, 128", UNET("\"channels\":[64,128]"), {3, 32, 32}, {3, 32, 32}, TWO_LEVELS},
};

struct bench {
    dfo_ctx *ctx;
    dfo_net *net;
    dfo_run run;
    dfo_cond in, gin;
    dfo_real *acts, *out, *dout;
};

static void must(dfo_status status, const struct bench *b)
{
    if (status == DFO_OK)
        return;
    fprintf(stderr, "bench_conv: %s: %s %s\n", dfo_status_text(status), dfo_ctx_error(b->ctx),
            b->run.text);
    exit(1);
}

static dfo_block block(const struct bench *b, dfo_real *x)
{
    return (dfo_block){x, SHARD, b->net->out, b->net->out, DFO_ROWS};
}

static void forward(struct bench *b)
{
    for (size_t first = 0; first < ROWS; first += SHARD) {
        dfo_cond in = dfo_cond_rows(&b->in, first, SHARD);
        must(dfo_net_forward(b->net, &b->run, &in, block(b, b->out), NULL), b);
    }
}

static void train(struct bench *b)
{
    for (size_t first = 0; first < ROWS; first += SHARD) {
        dfo_cond in = dfo_cond_rows(&b->in, first, SHARD),
                 gin = dfo_cond_rows(&b->gin, first, SHARD);
        must(dfo_net_forward(b->net, &b->run, &in, block(b, b->out), b->acts), b);
        must(dfo_net_backward(b->net, &b->run, &in, block(b, b->dout), &gin, b->acts), b);
    }
}

static void tangents(struct bench *b)
{
    for (size_t first = 0; first < ROWS; first += SHARD) {
        dfo_cond in = dfo_cond_rows(&b->in, first, SHARD),
                 gin = dfo_cond_rows(&b->gin, first, SHARD);
        dfo_block x = block(b, b->out), dx = block(b, b->dout);
        must(dfo_net_jvp(b->net, &b->run, &in, &in, x, dx, b->acts), b);
        must(dfo_net_jvp_backward(b->net, &b->run, &in, &in, x, dx, &gin, &gin, b->acts), b);
    }
}

/* Seconds of the fastest call.  */
static double fastest(struct bench *b, void (*call)(struct bench *), double seconds)
{
    double best = 1e9;
    for (double end = now() + seconds; now() < end;) {
        double t = now();
        call(b);
        t = now() - t;
        best = t < best ? t : best;
    }
    return best;
}

static dfo_real *reals(struct bench *b, size_t n)
{
    dfo_real *x;
    must(dfoi_alloc_big(b->ctx, n, sizeof *x, &x), b);
    for (size_t i = 0; i < n; i++)
        x[i] = (dfo_real)((double)(i * 2654435761u % 1000) / 1000 - 0.5);
    return x;
}

static void report(const struct conv_case *c, const char *op, double seconds, double flop,
                   double top)
{
    printf(
        "{\"workload\": \"conv\", \"case\": \"%s\", \"op\": \"%s\", \"lib\": \"ours\", \"real\": "
        "\"%s\", \"threads\": 1, \"batch\": %d, \"ms_min\": %.4f, \"gflops\": %.1f, "
        "\"share_of_gemm\": %.3f}\n",
        c->name, op, DFO_REAL_NAME, ROWS, seconds * 1e3, flop / seconds * 1e-9,
        flop / seconds * 1e-9 / top);
    fflush(stdout);
}

static void run_case(const struct conv_case *c, double seconds, double top)
{
    struct bench b = {0};
    dfo_store *store;
    must(dfo_ctx_new(&b.ctx), &b);
    must(dfo_store_new(b.ctx, &store), &b);
    json_t *config = json_loads(c->config, 0, NULL);
    dfo_build build = {.ctx = b.ctx, .store = store, .seed = 1, .path = "net"};
    const dfo_shape parts[2] = {c->in, dfo_shape_vector(1)};      /* the second one: a time, of a U-net */
    must(dfo_net_new(&build, config, strstr(c->config, "unet") ? 2 : 1, parts, c->out, 0, &b.net), &b);
    size_t scratch = dfo_net_scratch(b.net, SHARD), weights = dfo_store_weights_size(store);
    b.run = (dfo_run){.mode = DFO_TRAIN,
                      .weights = dfo_store_weights(store),
                      .buffers = dfo_store_buffers(store),
                      .grads = reals(&b, weights),
                      .arena = reals(&b, scratch),
                      .arena_size = scratch,
                      .threads = 1};
    b.acts = reals(&b, 2 * dfo_net_acts(b.net, SHARD));
    b.out = reals(&b, b.net->out * SHARD);
    b.dout = reals(&b, b.net->out * SHARD);
    b.in = b.gin = (dfo_cond){.n = b.net->parts, .part = {{.shape = parts[0]}, {.shape = parts[1]}}};
    for (size_t p = 0; p < 2; p++) {
        size_t d = dfo_shape_size(parts[p]);
        b.in.part[p].rows = dfo_batch_of(reals(&b, ROWS * d), ROWS, d);
        b.gin.part[p].rows = dfo_batch_of(reals(&b, ROWS * d), ROWS, d);
    }
    double flop = 2.0 * ROWS * c->products;
    report(c, "forward", fastest(&b, forward, seconds), flop, top);
    report(c, "train", fastest(&b, train, seconds), 3 * flop, top);
    report(c, "tangents", fastest(&b, tangents, seconds), 6 * flop, top);
    dfo_real *all[] = {b.run.grads,         b.run.arena,          b.acts,              b.out,                b.dout,
                       b.in.part[0].rows.x, b.gin.part[0].rows.x, b.in.part[1].rows.x, b.gin.part[1].rows.x};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        dfoi_free(b.ctx, all[i]);
    json_decref(config);
    dfo_net_free(b.net);
    dfo_store_free(store);
    dfo_ctx_free(b.ctx);
}

/* GFLOP/s of the product that stands for all: 128 x 128 with a panel, in the caches.  */
static double product_rate(double seconds)
{
    enum { N = 128 };
    struct bench b = {0};
    double best = 1e9;
    must(dfo_ctx_new(&b.ctx), &b);
    dfo_real *w = reals(&b, N * N), *x = reals(&b, N * DFO_PANEL), *y = reals(&b, N * DFO_PANEL);
    for (double end = now() + seconds; now() < end;) {
        double t = now();
        for (int i = 0; i < 8; i++)
            dfoi_gemm(N, N, w, N, x, NULL, DFOI_ACT_RELU, NULL, y);
        t = (now() - t) / 8;
        best = t < best ? t : best;
    }
    dfo_real *all[] = {w, x, y};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        dfoi_free(b.ctx, all[i]);
    dfo_ctx_free(b.ctx);
    return 2.0 * N * N * DFO_PANEL / best * 1e-9;
}

int main(int argc, char **argv)
{
    double seconds = (argc > 1 ? strtod(argv[1], NULL) : 200) * 1e-3, top = product_rate(seconds);
    printf("{\"real\": \"%s\", \"level\": \"%s\", \"peak_gflops\": %.1f, \"gemm_gflops\": %.1f}\n",
           DFO_REAL_NAME, dfo_cpu_name(), peak(), top);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (argc < 3 || strstr(cases[i].name, argv[2]))
            run_case(&cases[i], seconds, top);
    return 0;
}
