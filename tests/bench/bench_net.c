/* Speed of dense nets on one core, as JSON lines: forward alone (nothing kept), training (forward
 * with activations, backward with weight and input gradients) and the pair of passes with tangents,
 * over the eight panels of a batch of 512 rows.  gflops counts the products alone; share_of_peak is
 * of fused multiply-adds in registers. bench_net [milliseconds per figure]  */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <diffeo/net.h>
#include "bench/peak.h"
#include "math/gemm_impl.h"
#include "base/ctx_impl.h"

#define ROWS 512

struct net_case {
    const char *name, *config;
    size_t in, out;
};

static const struct net_case cases[] = {
    {"W1 d43 h128", "{\"type\":\"mlp\",\"hidden\":[128,128]}", 21, 44},
    {"W1 d43 h512", "{\"type\":\"mlp\",\"hidden\":[512,512]}", 21, 44},
    {"W2 NSF-C", "{\"type\":\"residual-mlp\",\"hidden\":128,\"blocks\":2}", 21, 506},
    {"W2 h512", "{\"type\":\"residual-mlp\",\"hidden\":512,\"blocks\":2}", 21, 506},
    {"W2 silu", "{\"type\":\"residual-mlp\",\"hidden\":128,\"blocks\":2,\"activation\":\"silu\"}",
     21, 506},
    {"W2 norm, dropout",
     "{\"type\":\"residual-mlp\",\"hidden\":128,\"blocks\":2,\"norm\":\"layer\",\"dropout\":0.25}",
     21, 506},
    {"cnf tanh", "{\"type\":\"mlp\",\"hidden\":[64,64,64],\"activation\":\"tanh\"}", 7, 6},
    {"W7 mlp2d, about", "{\"type\":\"time-mlp\",\"hidden\":256,\"layers\":2,\"inject\":\"first\",\"embedding\":0}", 2, 2},
};

struct bench {
    dfo_ctx *ctx;
    dfo_net *net;
    dfo_run run;
    dfo_cond in, gin;
    dfo_real *acts, *out, *dout;
    size_t products; /* multiply-adds of a row through all layers */
};

static void must(dfo_status status, const struct bench *b)
{
    if (status == DFO_OK)
        return;
    fprintf(stderr, "bench_net: %s: %s %s\n", dfo_status_text(status), dfo_ctx_error(b->ctx),
            b->run.text);
    exit(1);
}

static dfo_block block(const struct bench *b, dfo_real *x)
{
    return (dfo_block){x, DFO_PANEL, b->net->out, DFO_PANEL, DFO_FEATURES};
}

static void forward(struct bench *b)
{
    for (size_t first = 0; first < ROWS; first += DFO_PANEL) {
        dfo_cond in = dfo_cond_rows(&b->in, first, DFO_PANEL);
        must(dfo_net_forward(b->net, &b->run, &in, block(b, b->out), NULL), b);
    }
}

static void train(struct bench *b)
{
    for (size_t first = 0; first < ROWS; first += DFO_PANEL) {
        dfo_cond in = dfo_cond_rows(&b->in, first, DFO_PANEL),
                 gin = dfo_cond_rows(&b->gin, first, DFO_PANEL);
        must(dfo_net_forward(b->net, &b->run, &in, block(b, b->out), b->acts), b);
        must(dfo_net_backward(b->net, &b->run, &in, block(b, b->dout), &gin, b->acts), b);
    }
}

static void tangents(struct bench *b)
{
    for (size_t first = 0; first < ROWS; first += DFO_PANEL) {
        dfo_cond in = dfo_cond_rows(&b->in, first, DFO_PANEL),
                 gin = dfo_cond_rows(&b->gin, first, DFO_PANEL);
        must(dfo_net_jvp(b->net, &b->run, &in, &in, block(b, b->out), block(b, b->dout), b->acts),
             b);
        must(dfo_net_jvp_backward(b->net, &b->run, &in, &in, block(b, b->out), block(b, b->dout),
                                  &gin, &gin, b->acts),
             b);
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

static void report(const struct net_case *c, const char *op, double seconds, double flop,
                   double top)
{
    printf("{\"workload\": \"net\", \"case\": \"%s\", \"op\": \"%s\", \"lib\": \"ours\", \"real\": "
           "\"%s\", \"threads\": 1, "
           "\"batch\": %d, \"ms_min\": %.4f, \"samples_per_s\": %.0f, \"gflops\": %.1f, "
           "\"share_of_peak\": %.3f}\n",
           c->name, op, DFO_REAL_NAME, ROWS, seconds * 1e3, ROWS / seconds, flop / seconds * 1e-9,
           flop / seconds * 1e-9 / top);
    fflush(stdout);
}

static void run_case(const struct net_case *c, double seconds, double top)
{
    struct bench b = {0};
    dfo_store *store;
    const dfo_shape in[2] = {dfo_shape_vector(c->in), dfo_shape_vector(1)};      /* the second one: a time */
    must(dfo_ctx_new(&b.ctx), &b);
    must(dfo_store_new(b.ctx, &store), &b);
    json_t *config = json_loads(c->config, 0, NULL);
    dfo_build build = {.ctx = b.ctx, .store = store, .seed = 1, .path = "net"};
    must(dfo_net_new(&build, config, strstr(c->config, "time") ? 2 : 1, in, dfo_shape_vector(c->out), 0, &b.net), &b);
    for (size_t i = 0; i < dfo_store_entries(store); i++)
        if (dfo_store_entry(store, i)->ndim == 2)
            b.products += dfo_store_entry(store, i)->count;
    size_t scratch = dfo_net_scratch(b.net, DFO_PANEL), weights = dfo_store_weights_size(store);
    b.run = (dfo_run){.mode = DFO_TRAIN,
                      .weights = dfo_store_weights(store),
                      .grads = reals(&b, weights),
                      .arena = reals(&b, scratch),
                      .arena_size = scratch,
                      .threads = 1};
    b.acts = reals(&b, 2 * dfo_net_acts(b.net, DFO_PANEL));
    b.out = reals(&b, c->out * DFO_PANEL);
    b.dout = reals(&b, c->out * DFO_PANEL);
    b.in = b.gin = (dfo_cond){.n = b.net->parts, .part = {{.shape = in[0]}, {.shape = in[1]}}};
    for (size_t p = 0; p < 2; p++) {
        size_t d = dfo_shape_size(in[p]);
        b.in.part[p].rows = dfo_batch_of(reals(&b, ROWS * d), ROWS, d);
        b.gin.part[p].rows = dfo_batch_of(reals(&b, ROWS * d), ROWS, d);
    }
    double flop = 2.0 * ROWS * (double)b.products;
    report(c, "forward", fastest(&b, forward, seconds), flop, top);
    report(c, "train", fastest(&b, train, seconds), 3 * flop, top);
    report(c, "tangents", fastest(&b, tangents, seconds), 6 * flop, top);
    dfo_real *all[] = {b.run.grads, b.run.arena, b.acts, b.out, b.dout, b.in.part[0].rows.x, b.gin.part[0].rows.x,
                       b.in.part[1].rows.x, b.gin.part[1].rows.x};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        dfoi_free(b.ctx, all[i]);
    json_decref(config);
    dfo_net_free(b.net);
    dfo_store_free(store);
    dfo_ctx_free(b.ctx);
}

int main(int argc, char **argv)
{
    double seconds = (argc > 1 ? strtod(argv[1], NULL) : 200) * 1e-3, top = peak();
    printf("{\"real\": \"%s\", \"level\": \"%s\", \"peak_gflops\": %.1f}\n", DFO_REAL_NAME,
           dfo_cpu_name(), top);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        run_case(&cases[i], seconds, top);
    return 0;
}
