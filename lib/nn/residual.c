/* Residual network of neural spline flows (Durkan et al. 2019; nflows' ResidualNet): structure and
 * weights.
 *
 *   {"type":"residual-mlp", "hidden":128, "blocks":2, "activation":"relu", "dropout":0,
 * "norm":"none" or "layer", "context":"concat" or "gate", "last_init":0}
 *
 * s = W x + b;  for each block s += r, or s += r * sigmoid(Wg c + bg) with "gate", where
 * r = W1 dropout(act(norm(W0 act(norm(s)) + b0))) + b1;  out = W s + b.  x is all input parts side
 * by side, c those from the second on.  The second linear layer of a block starts in +-1e-3, all
 * others as PyTorch's Linear.  Weights: first.w, first.b, block0.w0, block0.b0, block0.w1,
 * block0.b1, block0.gate_w, block0.gate_b, block0.scale0, block0.shift0, ..., last.w, last.b.  The
 * passes are in residual_pass.c.  */
#include <stdio.h>
#include <string.h>

#include "base/ctx_impl.h"
#include "base/json_impl.h"
#include "math/kern_impl.h"
#include "nn/config_impl.h"
#include "nn/net_impl.h"
#include "nn/residual_impl.h"

#define SMALL 1e-3 /* nflows: blocks start near the identity */

static dfo_status read_settings(dfo_ctx *ctx, const json_t *config,
                                struct dfoi_residual_settings *s)
{
    static const char *const keys[] = {"type", "hidden",  "blocks",    "activation", "dropout",
                                       "norm", "context", "last_init", NULL};
    DFO_TRY(dfoi_json_keys(ctx, config, keys));
    DFO_TRY(dfoi_json_size(ctx, config, "hidden", 128, 1, DFOI_NET_WIDEST, &s->hidden));
    DFO_TRY(dfoi_json_size(ctx, config, "blocks", 2, 0, DFOI_RESIDUAL_BLOCKS, &s->blocks));
    DFO_TRY(dfoi_config_activation(ctx, config, "relu", &s->act));
    DFO_TRY(dfoi_json_real(ctx, config, "dropout", 0, 0, DFOI_DROPOUT_MAX, &s->dropout));
    DFO_TRY(dfoi_json_either(ctx, config, "norm", "none", "layer", &s->norm));
    DFO_TRY(dfoi_json_either(ctx, config, "context", "concat", "gate", &s->gate));
    return dfoi_json_real(ctx, config, "last_init", 0, 0, 1, &s->last_init);
}

static dfo_status check(dfo_ctx *ctx, const json_t *config)
{
    struct dfoi_residual_settings s;
    return read_settings(ctx, config, &s);
}

/* Adds a layer named by prefix and the ends of its weights' names.  */
static dfo_status add_linear(dfo_build *build, struct dfoi_residual *m, const char *prefix,
                             const char *w, const char *b, size_t in, size_t out, double bound)
{
    char w_name[64], b_name[64];
    dfoi_linear *linear = &m->linear[m->linears++];
    snprintf(w_name, sizeof w_name, "%s.%s", prefix, w);
    snprintf(b_name, sizeof b_name, "%s.%s", prefix, b);
    DFO_TRY(dfoi_linear_new(build, w_name, b_name, in, out, bound, linear));
    size_t scratch = dfoi_linear_scratch(linear, DFOI_PANELS);
    m->scratch_grad = scratch > m->scratch_grad ? scratch : m->scratch_grad;
    return DFO_OK;
}

static dfo_status add_unit(dfo_build *build, struct dfoi_residual *m, const char *prefix, int which,
                           dfoi_unit *unit)
{
    const struct dfoi_residual_settings *s = &m->settings;
    char name[64];
    *unit = (dfoi_unit){.width = m->hidden, .act = s->act, .norm = s->norm};
    if (s->norm) {
        snprintf(name, sizeof name, "%s.scale%d", prefix, which);
        DFO_TRY(dfo_build_weights(build, name, 1, &m->hidden, &unit->scale));
        snprintf(name, sizeof name, "%s.shift%d", prefix, which);
        DFO_TRY(dfo_build_weights(build, name, 1, &m->hidden, &unit->shift));
        dfo_build_constant(build, unit->scale, m->hidden, 1);
    }
    return DFO_OK;
}

static dfo_status add_block(dfo_build *build, struct dfoi_residual *m, size_t k)
{
    struct dfoi_residual_block *block = &m->block[k];
    size_t h = m->hidden;
    char prefix[32];
    snprintf(prefix, sizeof prefix, "block%zu", k);
    DFO_TRY(add_unit(build, m, prefix, 0, &block->unit[0]));
    DFO_TRY(add_linear(build, m, prefix, "w0", "b0", h, h, -1));
    block->linear[0] = &m->linear[m->linears - 1];
    DFO_TRY(add_unit(build, m, prefix, 1, &block->unit[1]));
    block->unit[1].drop = dfoi_unit_drop(m->settings.dropout);
    block->unit[1].stream = dfoi_unit_stream(block->linear[0]->b);
    DFO_TRY(add_linear(build, m, prefix, "w1", "b1", h, h, SMALL));
    block->linear[1] = &m->linear[m->linears - 1];
    if (m->context) {
        DFO_TRY(add_linear(build, m, prefix, "gate_w", "gate_b", m->context, h, -1));
        block->gate = &m->linear[m->linears - 1];
    }
    for (int u = 0; u < 2; u++) {
        block->at[u] = m->keep;
        m->keep += dfoi_unit_keep(&block->unit[u]);
    }
    block->at_gate = m->keep;
    m->keep += block->gate ? 2 * h * DFO_PANEL : 0;
    return DFO_OK;
}

static dfo_status create(dfo_build *build, const json_t *config, int zero_last, dfo_net *net)
{
    struct dfoi_residual *m;
    DFO_TRY(dfoi_alloc(build->ctx, 1, sizeof *m, &m));
    net->state = m;
    DFO_TRY(read_settings(build->ctx, config, &m->settings));
    m->hidden = m->settings.hidden;
    m->in = net->in;
    m->before_context = net->parts ? dfo_shape_size(net->part[0]) : 0;
    m->context = m->settings.gate ? m->in - m->before_context : 0;
    DFO_TRY(add_linear(build, m, "first", "w", "b", net->in, m->hidden, -1));
    for (size_t k = 0; k < m->settings.blocks; k++)
        DFO_TRY(add_block(build, m, k));
    m->at_last = m->keep;
    m->keep += m->hidden * DFO_PANEL;
    DFO_TRY(add_linear(build, m, "last", "w", "b", m->hidden, net->out,
                       zero_last ? m->settings.last_init : -1));
    m->first = &m->linear[0];
    m->last = &m->linear[m->linears - 1];
    return DFO_OK;
}

static dfo_status describe(const dfo_net *net, json_t *to)
{
    const struct dfoi_residual *m = net->state;
    const struct dfoi_residual_settings *s = &m->settings;
    DFO_TRY(dfoi_json_set(net->ctx, to, "hidden", json_integer((json_int_t)s->hidden)));
    DFO_TRY(dfoi_json_set(net->ctx, to, "blocks", json_integer((json_int_t)s->blocks)));
    DFO_TRY(dfoi_json_set(net->ctx, to, "activation", json_string(dfoi_act_name(s->act))));
    DFO_TRY(dfoi_json_set(net->ctx, to, "dropout", json_real(s->dropout)));
    DFO_TRY(dfoi_json_set(net->ctx, to, "norm", json_string(s->norm ? "layer" : "none")));
    DFO_TRY(dfoi_json_set(net->ctx, to, "context", json_string(s->gate ? "gate" : "concat")));
    return dfoi_json_set(net->ctx, to, "last_init", json_real(s->last_init));
}

static void release(dfo_net *net)
{
    dfoi_free(net->ctx, net->state);
}

static size_t acts(const dfo_net *net, size_t rows)
{
    const struct dfoi_residual *m = net->state;
    return dfoi_panels_of(rows) * m->keep;
}

static const struct dfo_net_ops ops = {
    .type = "residual-mlp",
    .layout = DFO_FEATURES,
    .scratch = dfoi_residual_scratch,
    .acts = acts,
    .forward = dfoi_residual_forward,
    .backward = dfoi_residual_backward,
    .jvp = dfoi_residual_jvp,
    .jvp_backward = dfoi_residual_jvp_backward,
    .describe = describe,
    .free = release,
};

const struct dfoi_net_type dfoi_net_residual = {&ops, check, create};
