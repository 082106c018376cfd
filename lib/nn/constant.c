/* A learned vector that depends on nothing: what a net without input features is.
 *
 *   {"type":"constant"}        weights: c (out), zero at first.  */
#include <string.h>

#include "base/ctx_impl.h"
#include "base/json_impl.h"
#include "nn/net_impl.h"
#include "math/gemm_impl.h"

struct constant {
    size_t c;
};

static dfo_status check(dfo_ctx *ctx, const json_t *config)
{
    static const char *const keys[] = {"type", NULL};
    return dfoi_json_keys(ctx, config, keys);
}

static dfo_status create(dfo_build *build, const json_t *config, int zero_last, dfo_net *net)
{
    struct constant *s;
    (void)config;
    (void)zero_last;
    DFO_TRY(dfoi_alloc(build->ctx, 1, sizeof *s, &s));
    net->state = s;
    return dfo_build_weights(build, "c", 1, &net->out, &s->c);
}

static dfo_status describe(const dfo_net *net, json_t *to)
{
    (void)net;
    (void)to;
    return DFO_OK;
}

static void release(dfo_net *net)
{
    dfoi_free(net->ctx, net->state);
}

static size_t nothing(const dfo_net *net, size_t rows)
{
    (void)net;
    (void)rows;
    return 0;
}

static dfo_status forward(const dfo_net *net, dfo_run *run, const dfo_cond *in, dfo_block out,
                          dfo_real *acts)
{
    const struct constant *s = net->state;
    const dfo_real *c = dfo_run_weights(run, s->c);
    (void)in;
    (void)acts;
    for (size_t p = 0; p < dfoi_panels_of(out.n); p++)
        for (size_t j = 0; j < net->out; j++)
            for (size_t i = 0; i < DFO_PANEL; i++)
                out.x[(p * net->out + j) * DFO_PANEL + i] = c[j];
    return DFO_OK;
}

static dfo_status backward(const dfo_net *net, dfo_run *run, const dfo_cond *in, dfo_block gout,
                           dfo_cond *gin, const dfo_real *acts)
{
    const struct constant *s = net->state;
    (void)in;
    (void)gin;
    (void)acts;
    for (size_t j = 0; run->grads && j < net->out; j++) {
        double sum = 0;
        for (size_t i = 0; i < gout.n; i++)
            sum += (double)gout.x[(i / DFO_PANEL * net->out + j) * DFO_PANEL + i % DFO_PANEL];
        dfo_run_grads(run, s->c)[j] += (dfo_real)sum;
    }
    return DFO_OK;
}

static dfo_status jvp(const dfo_net *net, dfo_run *run, const dfo_cond *in, const dfo_cond *din,
                      dfo_block out, dfo_block dout, dfo_real *acts)
{
    (void)din;
    memset(dout.x, 0, net->out * DFO_PANEL * sizeof *dout.x);
    return forward(net, run, in, out, acts);
}

static dfo_status jvp_backward(const dfo_net *net, dfo_run *run, const dfo_cond *in,
                               const dfo_cond *din, dfo_block gout, dfo_block gdout, dfo_cond *gin,
                               dfo_cond *gdin, const dfo_real *acts)
{
    (void)din;
    (void)gdout;
    (void)gdin;
    return backward(net, run, in, gout, gin, acts);
}

static const struct dfo_net_ops ops = {
    .type = "constant",
    .layout = DFO_FEATURES,
    .scratch = nothing,
    .acts = nothing,
    .forward = forward,
    .backward = backward,
    .jvp = jvp,
    .jvp_backward = jvp_backward,
    .describe = describe,
    .free = release,
};

const struct dfoi_net_type dfoi_net_constant = {&ops, check, create};
