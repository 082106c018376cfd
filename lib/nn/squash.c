/* Layers with the time, the nets of FFJORD (Grathwohl et al. 2019):
 *
 *   {"type":"concatsquash", "hidden":[64,64], or "hidden":64 and "layers":2, "activation":"softplus"}
 *
 * The last input feature is the time t, the others are h_0.  h_l = act(u_l), the output is the last u, where
 *
 *   concatsquash:  u_l = (W_l h_l-1 + b_l) sigmoid(gate_l t + shift_l) + drift_l t,
 *   concat:        u_l = W_l h_l-1 + b_l + drift_l t,
 *   hyper:         u_l = (W_l + W'_l t) h_l-1 + b_l + b'_l t.
 *
 * Weights w0, b0, gate0, shift0, drift0, w1, ...: all drawn from +-1/sqrt(in), those of the time from +-1; a net made with
 * zero_last starts with the last w, b and drift at zero.  hyper's w and b have W' below W, b' behind b.  Forward keeps
 * a_l = W_l h_l-1 + b_l, with W'_l h_l-1 + b'_l behind it, and h_l.  */
#include <stdio.h>
#include <string.h>

#include "base/ctx_impl.h"
#include "base/json_impl.h"
#include "math/kern_impl.h"
#include "nn/config_impl.h"
#include "nn/dense_impl.h"
#include "nn/net_impl.h"
#include "nn/squash_impl.h"

static dfo_status read_settings(dfo_ctx *ctx, const json_t *config, struct squash_settings *s)
{
    static const char *const keys[] = {"type", "hidden", "layers", "activation", NULL};
    *s = (struct squash_settings){0};
    DFO_TRY(dfoi_json_keys(ctx, config, keys));
    DFO_TRY(dfoi_config_hidden(ctx, config, 64, SQUASH_LAYERS, s->hidden, &s->layers));
    return dfoi_config_activation(ctx, config, "softplus", &s->act);
}

static dfo_status check(dfo_ctx *ctx, const json_t *config)
{
    struct squash_settings s;
    return read_settings(ctx, config, &s);
}

/* A layer's vectors of the time.  */
static dfo_status build_time(dfo_build *build, size_t l, size_t out, int zero, struct squash *m)
{
    static const char *const part[] = {"gate", "shift", "drift"};
    for (size_t i = m->kind == SQUASH_GATE ? 0 : 2; i < 3; i++) {
        char name[24];
        snprintf(name, sizeof name, "%s%zu", part[i], l);
        DFO_TRY(dfo_build_weights(build, name, 1, &out, &m->time[l][i]));
        if (i < 2 || !zero)
            dfo_build_uniform(build, m->time[l][i], out, 1);
    }
    return DFO_OK;
}

static dfo_status build_layers(dfo_build *build, const dfo_net *net, int zero_last, struct squash *m)
{
    size_t in = net->in - 1;
    m->widest = net->in;
    for (size_t l = 0; l < m->layers; l++) {
        char w[24], b[24];
        int last = l + 1 == m->layers;
        size_t out = last ? net->out : m->settings.hidden[l];
        snprintf(w, sizeof w, "w%zu", l);
        snprintf(b, sizeof b, "b%zu", l);
        size_t rows = m->kind == SQUASH_HYPER ? 2 * out : out;
        DFO_TRY(dfoi_linear_new(build, w, b, in, rows, last && zero_last ? 0 : -1, &m->linear[l]));
        if (m->kind != SQUASH_HYPER)
            DFO_TRY(build_time(build, l, out, last && zero_last, m));
        size_t scratch = dfoi_linear_scratch(&m->linear[l], 1);
        m->scratch_grad = scratch > m->scratch_grad ? scratch : m->scratch_grad;
        m->at[l] = m->keep;
        m->keep += (rows + (last ? 0 : out)) * DFO_PANEL;
        m->widest = rows > m->widest ? rows : m->widest;
        in = out;
    }
    return DFO_OK;
}

static dfo_status create(dfo_build *build, const json_t *config, int zero_last, squash_kind kind, dfo_net *net)
{
    struct squash *m;
    DFO_TRY(dfoi_alloc(build->ctx, 1, sizeof *m, &m));
    net->state = m;
    m->kind = kind;
    DFO_TRY(read_settings(build->ctx, config, &m->settings));
    m->layers = m->settings.layers + 1;
    if (net->in < 2)
        return dfoi_fail(build->ctx, DFO_ESHAPE, "expected a feature beside the time, the last one");
    return build_layers(build, net, zero_last, m);
}

static dfo_status create_gated(dfo_build *build, const json_t *config, int zero_last, dfo_net *net)
{
    return create(build, config, zero_last, SQUASH_GATE, net);
}

static dfo_status create_concat(dfo_build *build, const json_t *config, int zero_last, dfo_net *net)
{
    return create(build, config, zero_last, SQUASH_CONCAT, net);
}

static dfo_status create_hyper(dfo_build *build, const json_t *config, int zero_last, dfo_net *net)
{
    return create(build, config, zero_last, SQUASH_HYPER, net);
}

static dfo_status describe(const dfo_net *net, json_t *to)
{
    const struct squash *m = net->state;
    DFO_TRY(dfoi_config_set_sizes(net->ctx, to, "hidden", m->settings.layers, m->settings.hidden));
    return dfoi_json_set(net->ctx, to, "activation", json_string(dfoi_act_name(m->settings.act)));
}

static void release(dfo_net *net)
{
    dfoi_free(net->ctx, net->state);
}

static size_t panel(const struct squash *m)
{
    return m->widest * DFO_PANEL;
}

/* Panels: input and its tangent, gates, u (or d1, d2), two values and two tangents in turn; a row of the time's gradient and
 * one of its tangent's; the weight gradients' scratch.  Gradients that grow to twice a layer's outputs go from panels of ours.  */
enum { INPUT, DINPUT, GATE, FIRST, SECOND, X0, X1, DX0, DX1, PANELS };

static size_t scratch(const dfo_net *net, size_t rows)
{
    const struct squash *m = net->state;
    size_t passes = dfo_arena_size(PANELS * panel(m) + 2 * DFO_PANEL + m->scratch_grad), trace = dfoi_squash_trace_scratch(net, rows);
    return passes > trace ? passes : trace;
}

static size_t acts(const dfo_net *net, size_t rows)
{
    const struct squash *m = net->state;
    return dfoi_panels_of(rows) * m->keep;
}

struct room {
    dfo_real *p[PANELS];
    dfo_real *gt, *gdt, *scratch;
};

static dfo_status take(const dfo_net *net, dfo_run *run, struct room *r)
{
    const struct squash *m = net->state;
    dfo_real *memory = dfo_arena_take(run, PANELS * panel(m) + 2 * DFO_PANEL + m->scratch_grad);
    if (!memory)
        return dfo_run_fail(run, DFO_EMEM, (size_t)-1, "%s net: the arena is too small", net->ops->type);
    for (size_t i = 0; i < PANELS; i++)
        r->p[i] = memory + i * panel(m);
    r->gt = memory + PANELS * panel(m);
    r->gdt = r->gt + DFO_PANEL;
    r->scratch = r->gdt + DFO_PANEL;
    memset(r->gt, 0, 2 * DFO_PANEL * sizeof *r->gt);
    return DFO_OK;
}

static int is_last(const struct squash *m, size_t l)
{
    return l + 1 == m->layers;
}

static dfo_status forward(const dfo_net *net, dfo_run *run, const dfo_cond *in, dfo_block out, dfo_real *keep)
{
    const struct squash *m = net->state;
    struct room r = {0};
    DFO_TRY(take(net, run, &r));
    for (size_t p = 0; p < dfoi_panels_of(out.n); p++) {
        const dfo_real *h = r.p[INPUT];
        dfoi_parts_to_panel(net, in, out.n, p, r.p[INPUT]);
        for (size_t l = 0; l < m->layers; l++) {
            dfoi_squash how = dfoi_squash_layer(net, run, l, r.p[INPUT] + (net->in - 1) * DFO_PANEL, r.gt);
            size_t size = how.out * DFO_PANEL;
            dfo_real *kept = keep ? keep + p * m->keep + m->at[l] : NULL;
            dfo_real *a = kept ? kept : r.p[FIRST], *to = kept ? kept + m->linear[l].out * DFO_PANEL : r.p[l % 2 ? X0 : X1];
            if (is_last(m, l))
                to = out.x + p * out.d * DFO_PANEL;
            dfoi_linear_forward_one(&m->linear[l], run, h, DFOI_ACT_NONE, NULL, a);
            DFOI_SQUASH_KERN->gate(&how, r.p[GATE]);
            DFOI_SQUASH_KERN->value(&how, a, r.p[GATE], to);
            if (!is_last(m, l))
                dfoi_vact(m->settings.act, size, to, to);
            h = to;
        }
    }
    return DFO_OK;
}

/* The gradient of layer l's u, of `size` numbers, where there is room for that of a.  */
static dfo_real *widen(const struct squash *m, size_t l, dfo_real *g, size_t size, dfo_real *room)
{
    return m->kind == SQUASH_HYPER && is_last(m, l) ? memcpy(room, g, size * sizeof *g) : g;
}

/* h_l-1 of what is kept, or the input.  */
static const dfo_real *input_of(const struct squash *m, const struct room *r, const dfo_real *keep, size_t l, int tangents)
{
    if (!l)
        return r->p[INPUT];
    return keep + (tangents ? 2 : 1) * m->at[l - 1] + (tangents ? 2 : 1) * m->linear[l - 1].out * DFO_PANEL;
}

static dfo_status backward(const dfo_net *net, dfo_run *run, const dfo_cond *in, dfo_block gout, dfo_cond *gin,
                           const dfo_real *keep)
{
    const struct squash *m = net->state;
    struct room r = {0};
    DFO_TRY(take(net, run, &r));
    for (size_t p = 0; p < dfoi_panels_of(gout.n); p++, keep += m->keep) {
        dfo_real *g = gout.x + p * gout.d * DFO_PANEL;
        memset(r.gt, 0, DFO_PANEL * sizeof *r.gt);
        dfoi_parts_to_panel(net, in, gout.n, p, r.p[INPUT]);
        for (size_t l = m->layers; l-- > 0;) {
            dfoi_squash how = dfoi_squash_layer(net, run, l, r.p[INPUT] + (net->in - 1) * DFO_PANEL, r.gt);
            const dfo_real *a = keep + m->at[l];
            g = widen(m, l, g, how.out * DFO_PANEL, r.p[l % 2 ? X1 : X0]);
            DFOI_SQUASH_KERN->gate(&how, r.p[GATE]);
            if (!is_last(m, l)) {
                DFOI_SQUASH_KERN->value(&how, a, r.p[GATE], r.p[FIRST]);
                dfoi_vdact(m->settings.act, how.out * DFO_PANEL, r.p[FIRST], a + m->linear[l].out * DFO_PANEL, g);
            }
            DFOI_SQUASH_KERN->backward(&how, a, r.p[GATE], g);
            dfoi_linear_grads_one(&m->linear[l], run, g, input_of(m, &r, keep, l, 0), 1, r.scratch);
            if (l || dfoi_parts_wanted(net, gin)) {
                dfo_real *next = r.p[l % 2 ? X0 : X1];
                dfoi_linear_backward_one(&m->linear[l], run, g, NULL, NULL, next, r.scratch);
                g = next;
            }
        }
        if (dfoi_parts_wanted(net, gin)) {
            memcpy(g + (net->in - 1) * DFO_PANEL, r.gt, DFO_PANEL * sizeof *g);
            dfoi_parts_add(net, g, gout.n, p, gin);
        }
    }
    return DFO_OK;
}

/* Kept of a layer with tangents: a, da, then h, dh.  */
static dfo_status jvp(const dfo_net *net, dfo_run *run, const dfo_cond *in, const dfo_cond *din, dfo_block out, dfo_block dout,
                      dfo_real *keep)
{
    const struct squash *m = net->state;
    struct room r = {0};
    DFO_TRY(take(net, run, &r));
    const dfo_real *h = r.p[INPUT], *dh = r.p[DINPUT];
    dfoi_parts_to_panel(net, in, out.n, 0, r.p[INPUT]);
    dfoi_parts_to_panel(net, din, out.n, 0, r.p[DINPUT]);
    for (size_t l = 0; l < m->layers; l++) {
        dfoi_squash how = dfoi_squash_layer(net, run, l, r.p[INPUT] + (net->in - 1) * DFO_PANEL, r.gt);
        size_t size = how.out * DFO_PANEL, before = m->linear[l].out * DFO_PANEL;
        dfo_real *kept = keep ? keep + 2 * m->at[l] : NULL;
        dfo_real *a = kept ? kept : r.p[FIRST], *da = kept ? kept + before : r.p[SECOND];
        dfo_real *to = kept ? kept + 2 * before : r.p[l % 2 ? X0 : X1], *dto = kept ? to + size : r.p[l % 2 ? DX0 : DX1];
        if (is_last(m, l)) {
            to = out.x;
            dto = dout.x;
        }
        how.dt = r.p[DINPUT] + (net->in - 1) * DFO_PANEL;
        dfoi_linear_forward_one(&m->linear[l], run, h, DFOI_ACT_NONE, NULL, a);
        dfoi_linear_tangent(&m->linear[l], run, dh, NULL, NULL, da);
        DFOI_SQUASH_KERN->gate(&how, r.p[GATE]);
        DFOI_SQUASH_KERN->tangent(&how, a, r.p[GATE], da, dto);
        DFOI_SQUASH_KERN->value(&how, a, r.p[GATE], to);
        if (!is_last(m, l)) {
            /* dh = act'(u) du, and h, in place where the slope is known from it */
            dfo_real *y = dfoi_act_from_output(m->settings.act) ? to : r.p[GATE];
            dfoi_vact(m->settings.act, size, to, y);
            dfoi_vdact(m->settings.act, size, to, y, dto);
            if (y != to)
                memcpy(to, y, size * sizeof *y);
        }
        h = to;
        dh = dto;
    }
    return DFO_OK;
}

static dfo_status jvp_backward(const dfo_net *net, dfo_run *run, const dfo_cond *in, const dfo_cond *din, dfo_block gout,
                               dfo_block gdout, dfo_cond *gin, dfo_cond *gdin, const dfo_real *keep)
{
    const struct squash *m = net->state;
    struct room r = {0};
    int wanted = dfoi_parts_wanted(net, gin) || dfoi_parts_wanted(net, gdin);
    DFO_TRY(take(net, run, &r));
    dfo_real *g = gout.x, *gd = gdout.x;
    dfoi_parts_to_panel(net, in, gout.n, 0, r.p[INPUT]);
    dfoi_parts_to_panel(net, din, gout.n, 0, r.p[DINPUT]);
    for (size_t l = m->layers; l-- > 0;) {
        dfoi_squash how = dfoi_squash_layer(net, run, l, r.p[INPUT] + (net->in - 1) * DFO_PANEL, r.gt);
        size_t size = how.out * DFO_PANEL;
        const dfo_real *a = keep + 2 * m->at[l], *da = a + m->linear[l].out * DFO_PANEL;
        dfo_real *next = r.p[l % 2 ? X0 : X1], *dnext = r.p[l % 2 ? DX0 : DX1];
        g = widen(m, l, g, size, r.p[l % 2 ? X1 : X0]);
        gd = widen(m, l, gd, size, r.p[l % 2 ? DX1 : DX0]);
        how.dt = r.p[DINPUT] + (net->in - 1) * DFO_PANEL;
        how.gdt = dfoi_parts_wanted(net, gdin) ? r.gdt : NULL;
        DFOI_SQUASH_KERN->gate(&how, r.p[GATE]);
        if (!is_last(m, l)) {                  /* next and dnext are free until this layer's products */
            DFOI_SQUASH_KERN->tangent(&how, a, r.p[GATE], da, dnext);
            if (m->settings.act == DFOI_ACT_TANH) {
                DFOI_SQUASH_KERN->tanh_backward(size, da + m->linear[l].out * DFO_PANEL, dnext, g, gd);
            } else {
                DFOI_SQUASH_KERN->value(&how, a, r.p[GATE], next);
                dfoi_vact_derivatives(m->settings.act, size, next, r.p[FIRST], r.p[SECOND]);
                DFOI_SQUASH_KERN->act_backward(size, r.p[FIRST], r.p[SECOND], dnext, g, gd);
            }
        }
        DFOI_SQUASH_KERN->tangent_backward(&how, a, da, r.p[GATE], g, gd);
        const dfo_real *h = input_of(m, &r, keep, l, 1), *dh = l ? h + m->linear[l].in * DFO_PANEL : r.p[DINPUT];
        dfoi_linear_grads_one(&m->linear[l], run, g, h, 1, r.scratch);
        dfoi_linear_grads_one(&m->linear[l], run, gd, dh, 0, r.scratch);
        if (l || wanted) {
            dfoi_linear_backward_one(&m->linear[l], run, g, NULL, NULL, next, r.scratch);
            dfoi_linear_backward_one(&m->linear[l], run, gd, NULL, NULL, dnext, r.scratch);
            g = next;
            gd = dnext;
        }
    }
    if (dfoi_parts_wanted(net, gin)) {
        memcpy(g + (net->in - 1) * DFO_PANEL, r.gt, DFO_PANEL * sizeof *g);
        dfoi_parts_add(net, g, gout.n, 0, gin);
    }
    if (dfoi_parts_wanted(net, gdin)) {
        memcpy(gd + (net->in - 1) * DFO_PANEL, r.gdt, DFO_PANEL * sizeof *gd);
        dfoi_parts_add(net, gd, gout.n, 0, gdin);
    }
    return DFO_OK;
}

#define OPS(name)                                                                                                                  \
    {.type = name, .layout = DFO_FEATURES, .scratch = scratch, .acts = acts, .forward = forward, .backward = backward, .jvp = jvp,   \
     .jvp_backward = jvp_backward, .trace_size = dfoi_squash_trace_size, .trace_begin = dfoi_squash_trace_begin,                     \
     .trace = dfoi_squash_trace, .path_kept = dfoi_squash_path_kept, .path_scratch = dfoi_squash_path_scratch,                      \
     .path = dfoi_squash_path, .path_backward = dfoi_squash_path_backward, .describe = describe, .free = release}

static const struct dfo_net_ops gated = OPS("concatsquash"), concat = OPS("concat"), hyper = OPS("hyper");

const struct dfoi_net_type dfoi_net_squash = {&gated, check, create_gated}, dfoi_net_concat = {&concat, check, create_concat},
                           dfoi_net_hyper = {&hyper, check, create_hyper};
