/* Residual network of images of neural spline flows (Durkan et al. 2019; nflows' ConvResidualNet):
 * structure, weights, memory.
 *
 *   {"type":"residual-conv", "hidden":96, "blocks":3, "first_kernel":1, "activation":"relu",
 * "dropout":0, "norm":"none", "layer" or "batch", "context":"concat" or "gate", "last_init":0}
 *
 * s = W * x + V v + b;  for each block s += r, or s += r sigmoid(Wg * c + Vg w + bg) with "gate",
 * where r = W1 * dropout(act(norm(W0 * act(norm(s)) + b0))) + b1;  out = W * s + b.  W0 and W1 are
 * 3x3, the others 1x1, but for the first one's first_kernel.  x: all image parts side by side, v:
 * all vectors; c and w: those from the second part on.  W1 and b1 start in +-1e-3, all others as
 * PyTorch's.  Weights: first.w, first.b, first.vector.w, block0.w0, block0.b0, block0.w1,
 * block0.b1, block0.scale0, block0.shift0, ..., block0.gate_w, block0.gate_b, block0.gate.vector.w,
 * last.w, last.b; buffers: block0.mean0, block0.var0, ....  The passes are in residual_conv_pass.c
 * and residual_conv_jvp.c.  */
#include <stdio.h>
#include <string.h>

#include "base/ctx_impl.h"
#include "base/json_impl.h"
#include "math/kern_impl.h"
#include "nn/config_impl.h"
#include "nn/net_impl.h"
#include "nn/residual_conv_impl.h"

#define SMALL 1e-3 /* nflows: blocks start near the identity */

static dfo_status read_settings(dfo_ctx *ctx, const json_t *config, dfoi_resconv_settings *s)
{
    static const char *const keys[] = {"type", "hidden",  "blocks",    "first_kernel", "activation",
                                       "norm", "dropout", "last_init", "context",      NULL};
    *s = (dfoi_resconv_settings){.gate = 0};
    DFO_TRY(dfoi_json_keys(ctx, config, keys));
    DFO_TRY(dfoi_json_size(ctx, config, "hidden", 96, 1, DFOI_NET_WIDEST, &s->hidden));
    DFO_TRY(dfoi_json_size(ctx, config, "blocks", 3, 0, DFOI_RESIDUAL_CONV_BLOCKS, &s->blocks));
    DFO_TRY(dfoi_json_size(ctx, config, "first_kernel", 1, 1, DFOI_CONV_KERNEL, &s->first_kernel));
    DFO_TRY(dfoi_config_activation(ctx, config, "relu", &s->act));
    DFO_TRY(dfoi_json_real(ctx, config, "dropout", 0, 0, DFOI_DROPOUT_MAX, &s->dropout));
    DFO_TRY(dfoi_conv_read_norm(ctx, config, DFOI_NORM_NONE, &s->norm));
    DFO_TRY(dfoi_json_either(ctx, config, "context", "concat", "gate", &s->gate));
    return dfoi_json_real(ctx, config, "last_init", 0, 0, 1, &s->last_init);
}

static dfo_status check(dfo_ctx *ctx, const json_t *config)
{
    dfoi_resconv_settings s;
    return read_settings(ctx, config, &s);
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* A convolution of stride 1 named by prefix and the ends of its weights' names.  */
static dfo_status add_conv(dfo_build *build, dfoi_resconv *m, const char *prefix, const char *w,
                           const char *b, size_t in, size_t out, size_t kernel, double bound,
                           dfoi_conv *conv)
{
    char w_name[64], b_name[64];
    snprintf(w_name, sizeof w_name, "%s.%s", prefix, w);
    snprintf(b_name, sizeof b_name, "%s.%s", prefix, b);
    *conv = (dfoi_conv){.in = in,
                        .out = out,
                        .in_h = m->input.h,
                        .in_w = m->input.w,
                        .kernel = kernel,
                        .stride = 1,
                        .bias = 1};
    DFO_TRY(dfoi_conv_new(build, w_name, b_name, bound, conv));
    m->scratch = larger(m->scratch, dfoi_conv_scratch(conv));
    return DFO_OK;
}

static dfo_status add_block(dfo_build *build, dfoi_resconv *m, size_t k)
{
    const dfoi_resconv_settings *s = &m->settings;
    dfoi_resconv_block *block = &m->blocks[k];
    char name[32], part[64];
    snprintf(name, sizeof name, "block%zu", k);
    snprintf(part, sizeof part, "%s.", name);
    for (size_t u = 0; u < 2; u++) {
        DFO_TRY(add_conv(build, m, name, u ? "w1" : "w0", u ? "b1" : "b0", s->hidden, s->hidden, 3,
                         u ? SMALL : -1, &block->conv[u]));
        DFO_TRY(dfoi_conv_unit_new(build, part, u, s->hidden, s->norm, s->act, u ? s->dropout : 0,
                                   block->conv[u].w, &m->statistics, &block->unit[u]));
    }
    if (!m->context.channels && !m->context.features)
        return DFO_OK;
    DFO_TRY(add_conv(build, m, name, "gate_w", "gate_b", m->context.channels, s->hidden, 1, -1,
                     &block->gate));
    if (!m->context.features)
        return DFO_OK;
    snprintf(part, sizeof part, "%s.gate.vector.w", name);
    return dfoi_conv_vector_new(build, part, m->context.features, s->hidden, -1,
                                &block->gate_vector);
}

static dfo_status create(dfo_build *build, const json_t *config, int zero_last, dfo_net *net)
{
    dfoi_resconv *m;
    DFO_TRY(dfoi_alloc(build->ctx, 1, sizeof *m, &m));
    net->state = m;
    DFO_TRY(read_settings(build->ctx, config, &m->settings));
    const dfoi_resconv_settings *s = &m->settings;
    DFO_TRY(dfoi_conv_input_of(net, net->shape.h == 1 && net->shape.w == 1, &m->input));
    if (m->input.h != net->shape.h || m->input.w != net->shape.w)
        return dfoi_fail(build->ctx, DFO_ESHAPE, "its input has %zux%zu pixels, expected %zux%zu",
                         m->input.h, m->input.w, net->shape.h, net->shape.w);
    if (s->gate)
        m->context = dfoi_conv_input_from(net, &m->input, 1);
    m->before_vectors = m->input.features - m->context.features;
    m->before_context = m->input.channels - m->context.channels;
    DFO_TRY(add_conv(build, m, "first", "w", "b", m->input.channels, s->hidden, s->first_kernel, -1,
                     &m->first));
    if (m->input.features)
        DFO_TRY(dfoi_conv_vector_new(build, "first.vector.w", m->input.features, s->hidden, -1,
                                     &m->vector));
    for (size_t k = 0; k < s->blocks; k++)
        DFO_TRY(add_block(build, m, k));
    DFO_TRY(add_conv(build, m, "last", "w", "b", s->hidden, net->shape.c, 1,
                     zero_last ? s->last_init : -1, &m->last));
    m->block = m->statistics ? 0 : dfoi_conv_block(m->input.h, m->input.w);
    return DFO_OK;
}

static dfo_status describe(const dfo_net *net, json_t *to)
{
    const dfoi_resconv *m = net->state;
    const dfoi_resconv_settings *s = &m->settings;
    dfo_ctx *ctx = net->ctx;
    DFO_TRY(dfoi_json_set(ctx, to, "hidden", json_integer((json_int_t)s->hidden)));
    DFO_TRY(dfoi_json_set(ctx, to, "blocks", json_integer((json_int_t)s->blocks)));
    DFO_TRY(dfoi_json_set(ctx, to, "first_kernel", json_integer((json_int_t)s->first_kernel)));
    DFO_TRY(dfoi_json_set(ctx, to, "activation", json_string(dfoi_act_name(s->act))));
    DFO_TRY(dfoi_json_set(ctx, to, "dropout", json_real(s->dropout)));
    DFO_TRY(dfoi_json_set(ctx, to, "norm", json_string(dfoi_conv_norm_name(s->norm))));
    DFO_TRY(dfoi_json_set(ctx, to, "context", json_string(s->gate ? "gate" : "concat")));
    return dfoi_json_set(ctx, to, "last_init", json_real(s->last_init));
}

static void release(dfo_net *net)
{
    dfoi_free(net->ctx, net->state);
}

/* ---- memory
 * ---------------------------------------------------------------------------------------- */

static size_t block_of(const dfoi_resconv *m, size_t rows)
{
    return m->block && rows > m->block ? m->block : rows;
}

static size_t panels_of(const dfoi_resconv *m, size_t n)
{
    return dfoi_panels(n, m->input.h, m->input.w);
}

static size_t columns(const dfoi_resconv *m, size_t n)
{
    size_t most = larger(dfoi_conv_columns(&m->first, n), dfoi_conv_columns(&m->last, n));
    if (m->settings.blocks)
        most = larger(most, dfoi_conv_columns(&m->blocks[0].conv[0], n));
    return dfo_arena_size(most);
}

static size_t vector_size(const dfoi_resconv *m)
{
    return m->input.features ? dfoi_conv_vector_scratch(&m->vector) : 0;
}

size_t dfoi_resconv_scratch(const dfo_net *net, size_t rows)
{
    const dfoi_resconv *m = net->state;
    size_t n = block_of(m, rows);
    size_t channels = DFOI_RESCONV_WIDE * m->input.channels +
                      DFOI_RESCONV_TALL * m->settings.hidden + 2 * net->shape.c;
    return channels * panels_of(m, n) * DFO_PANEL + columns(m, n) + m->scratch + vector_size(m) +
           2 * dfoi_conv_vectors_size(&m->input, n);
}

dfo_status dfoi_resconv_take(const dfo_net *net, dfo_run *run, size_t rows, dfoi_resconv_work *w)
{
    const dfoi_resconv *m = net->state;
    size_t n = block_of(m, rows), map = panels_of(m, n) * DFO_PANEL;
    dfo_real *at = dfo_arena_take(run, dfoi_resconv_scratch(net, rows));
    if (!at)
        return dfo_run_fail(run, DFO_EMEM, (size_t)-1, "residual-conv net: the arena is too small");
    *w = (dfoi_resconv_work){.net = net, .m = m, .run = run};
    for (size_t i = 0; i < DFOI_RESCONV_WIDE; i++, at += m->input.channels * map)
        w->wide[i] = at;
    for (size_t i = 0; i < DFOI_RESCONV_TALL; i++, at += m->settings.hidden * map)
        w->tall[i] = at;
    for (size_t i = 0; i < 2; i++, at += net->shape.c * map)
        w->out[i] = at;
    w->room.columns = at;
    w->room.scratch = at + columns(m, n);
    w->vector = w->room.scratch + m->scratch;
    w->gvector[0] = w->vector + vector_size(m);
    w->gvector[1] = w->gvector[0] + dfoi_conv_vectors_size(&m->input, n);
    return DFO_OK;
}

dfoi_images dfoi_resconv_images(const dfoi_resconv *m, size_t first, size_t n)
{
    return (dfoi_images){first, block_of(m, n - first)};
}

dfoi_area dfoi_resconv_area(const dfoi_resconv *m, dfoi_images images)
{
    return (dfoi_area){panels_of(m, images.n), images.n, m->input.h * m->input.w, images.first};
}

size_t dfoi_resconv_kept_at(const dfoi_resconv *m, size_t panels, size_t k, int what)
{
    if (!m->settings.blocks)
        return 0;
    const dfoi_resconv_block *block = &m->blocks[0]; /* all keep the same */
    size_t unit = dfoi_conv_unit_keep(&block->unit[0], panels);
    size_t gate = block->gate.out ? 2 * m->settings.hidden * panels * DFO_PANEL : 0;
    return k * (2 * unit + gate) + (size_t)what * unit;
}

static size_t kept_size(const dfoi_resconv *m, size_t n)
{
    size_t panels = panels_of(m, n);
    return n ? dfoi_resconv_kept_at(m, panels, m->settings.blocks, 0) +
                   m->settings.hidden * panels * DFO_PANEL
             : 0;
}

size_t dfoi_resconv_acts(const dfo_net *net, size_t rows)
{
    const dfoi_resconv *m = net->state;
    if (!m->block)
        return kept_size(m, rows);
    return rows / m->block * kept_size(m, m->block) + kept_size(m, rows % m->block);
}

static size_t statistics(const dfo_net *net)
{
    const dfoi_resconv *m = net->state;
    return m->statistics;
}

static dfo_status update(const dfo_net *net, dfo_run *run)
{
    const dfoi_resconv *m = net->state;
    for (size_t k = 0; k < m->settings.blocks; k++)
        for (int u = 0; u < 2; u++)
            dfoi_batch_update(&m->blocks[k].unit[u], run);
    return DFO_OK;
}

static const struct dfo_net_ops ops = {
    .type = "residual-conv",
    .layout = DFO_ROWS,
    .scratch = dfoi_resconv_scratch,
    .acts = dfoi_resconv_acts,
    .forward = dfoi_resconv_forward,
    .backward = dfoi_resconv_backward,
    .jvp = dfoi_resconv_jvp,
    .jvp_backward = dfoi_resconv_jvp_backward,
    .statistics = statistics,
    .update = update,
    .describe = describe,
    .free = release,
};

const struct dfoi_net_type dfoi_net_residual_conv = {&ops, check, create};
