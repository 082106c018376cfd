/* Multilayer perceptron: linear, activation (and dropout), ..., linear.
 *
 *   {"type":"mlp", "hidden":[128,128], or "hidden":128 and "layers":2, "activation":"relu",
 *    "dropout":0, "last_init":0}
 *
 * h_0 = the input parts side by side, h_l = dropout(act(W_l-1 h_l-1 + b_l-1)), out = W_L h_L + b_L.
 * Weights w0, b0, w1, b1, ... as PyTorch's Linear (out, in), drawn as there from +-1/sqrt(in); a
 * net made with zero_last starts its last layer at zero, or in +-last_init.  */
#include <stdio.h>

#include "base/ctx_impl.h"
#include "base/json_impl.h"
#include "math/kern_impl.h"
#include "nn/config_impl.h"
#include "nn/mlp_impl.h"
#include "nn/net_impl.h"

static dfo_status read_settings(dfo_ctx *ctx, const json_t *config, struct dfoi_mlp_settings *s)
{
    static const char *const keys[] = {"type",    "hidden",    "layers", "activation",
                                       "dropout", "last_init", NULL};
    *s = (struct dfoi_mlp_settings){0};
    DFO_TRY(dfoi_json_keys(ctx, config, keys));
    DFO_TRY(dfoi_config_hidden(ctx, config, 128, DFOI_MLP_LAYERS, s->hidden, &s->layers));
    DFO_TRY(dfoi_config_activation(ctx, config, "relu", &s->act));
    DFO_TRY(dfoi_json_real(ctx, config, "dropout", 0, 0, DFOI_DROPOUT_MAX, &s->dropout));
    return dfoi_json_real(ctx, config, "last_init", 0, 0, 1, &s->last_init);
}

static dfo_status check(dfo_ctx *ctx, const json_t *config)
{
    struct dfoi_mlp_settings s;
    return read_settings(ctx, config, &s);
}

static dfo_status build_layers(dfo_build *build, const dfo_net *net, int zero_last, struct dfoi_mlp *m)
{
    size_t in = net->in;
    m->widest = in;
    for (size_t l = 0; l <= m->layers; l++) {
        char w[16], b[16];
        int last = l == m->layers;
        size_t out = last ? net->out : m->settings.hidden[l];
        snprintf(w, sizeof w, "w%zu", l);
        snprintf(b, sizeof b, "b%zu", l);
        DFO_TRY(dfoi_linear_new(build, w, b, in, out,
                                last && zero_last ? m->settings.last_init : -1, &m->linear[l]));
        size_t scratch = dfoi_linear_scratch(&m->linear[l], DFOI_PANELS);
        m->scratch_grad = scratch > m->scratch_grad ? scratch : m->scratch_grad;
        if (last)
            break;
        m->unit[l] = (dfoi_unit){.width = out,
                                 .act = m->settings.act,
                                 .drop = dfoi_unit_drop(m->settings.dropout),
                                 .stream = dfoi_unit_stream(m->linear[l].b)};
        m->at[l] = m->keep;
        m->keep += dfoi_unit_keep(&m->unit[l]);
        m->widest = out > m->widest ? out : m->widest;
        in = out;
    }
    return DFO_OK;
}

static dfo_status create(dfo_build *build, const json_t *config, int zero_last, dfo_net *net)
{
    struct dfoi_mlp *m;
    DFO_TRY(dfoi_alloc(build->ctx, 1, sizeof *m, &m));
    net->state = m;
    DFO_TRY(read_settings(build->ctx, config, &m->settings));
    m->layers = m->settings.layers;
    return build_layers(build, net, zero_last, m);
}

static dfo_status describe(const dfo_net *net, json_t *to)
{
    const struct dfoi_mlp *m = net->state;
    const struct dfoi_mlp_settings *s = &m->settings;
    DFO_TRY(dfoi_config_set_sizes(net->ctx, to, "hidden", s->layers, s->hidden));
    DFO_TRY(dfoi_json_set(net->ctx, to, "activation", json_string(dfoi_act_name(s->act))));
    DFO_TRY(dfoi_json_set(net->ctx, to, "dropout", json_real(s->dropout)));
    return dfoi_json_set(net->ctx, to, "last_init", json_real(s->last_init));
}

static void release(dfo_net *net)
{
    dfoi_free(net->ctx, net->state);
}

static size_t panel(const struct dfoi_mlp *m)
{
    return m->widest * DFO_PANEL;
}

/* Panels: values and tangents, two each, mask, d1, d2; and the weight gradients' scratch.  Or, of
 * several panels, values, gradients and a mask.  */
static size_t scratch(const dfo_net *net, size_t rows)
{
    const struct dfoi_mlp *m = net->state;
    size_t panels = 4 * dfoi_panels_of(rows);
    return dfo_arena_size((panels > 8 ? panels : 8) * panel(m) + m->scratch_grad);
}

static size_t acts(const dfo_net *net, size_t rows)
{
    const struct dfoi_mlp *m = net->state;
    return dfoi_panels_of(rows) * m->keep;
}

/* Takes `panels` panels and the scratch of gradients behind them.  */
static dfo_status take(const struct dfoi_mlp *m, dfo_run *run, size_t panels, dfo_real **memory)
{
    *memory = dfo_arena_take(run, panels * panel(m) + m->scratch_grad);
    return *memory ? DFO_OK
                   : dfo_run_fail(run, DFO_EMEM, (size_t)-1, "mlp net: the arena is too small");
}

/* A panel's four: two in turn, the unit's output and mask.  */
static dfo_real *own(const struct dfoi_mlp *m, dfo_real *memory, size_t p, size_t which)
{
    return memory + (4 * p + which) * panel(m);
}

/* Two panels in turn; with acts, units write into what is kept instead.  */
static dfo_status forward(const dfo_net *net, dfo_run *run, const dfo_cond *in, dfo_block out,
                          dfo_real *keep)
{
    const struct dfoi_mlp *m = net->state;
    size_t panels = dfoi_panels_of(out.n);
    dfo_real *memory, *y[DFOI_PANELS];
    const dfo_real *h[DFOI_PANELS];
    DFO_TRY(take(m, run, 4 * panels, &memory));
    for (size_t p = 0; p < panels; p++) {
        h[p] = own(m, memory, p, 0);
        dfoi_parts_to_panel(net, in, out.n, p, own(m, memory, p, 0));
    }
    for (size_t l = 0; l < m->layers; l++) {
        const dfoi_unit *unit = &m->unit[l];
        dfoi_unit_room room[DFOI_PANELS];
        int fused = dfoi_unit_fused(unit);
        for (size_t p = 0; p < panels; p++) {
            room[p] = (dfoi_unit_room){.h = own(m, memory, p, (l + 1) % 2),
                                       .mask = own(m, memory, p, 2),
                                       .first = p * DFO_PANEL};
            y[p] = dfoi_unit_target(unit, &room[p], keep ? keep + p * m->keep + m->at[l] : NULL);
        }
        dfoi_linear_forward(&m->linear[l], run, panels, h, fused ? unit->act : DFOI_ACT_NONE, NULL, y);
        for (size_t p = 0; p < panels; p++)
            h[p] = dfoi_unit_forward(unit, run, y[p], fused, &room[p],
                                     keep ? keep + p * m->keep + m->at[l] : NULL);
    }
    for (size_t p = 0; p < panels; p++)
        y[p] = out.x + p * out.d * DFO_PANEL;
    dfoi_linear_forward(&m->linear[m->layers], run, panels, h, DFOI_ACT_NONE, NULL, y);
    return DFO_OK;
}

static dfo_status backward(const dfo_net *net, dfo_run *run, const dfo_cond *in, dfo_block gout,
                           dfo_cond *gin, const dfo_real *keep)
{
    const struct dfoi_mlp *m = net->state;
    size_t panels = dfoi_panels_of(gout.n);
    dfo_real *memory, *to[DFOI_PANELS];
    const dfo_real *g[DFOI_PANELS], *h[DFOI_PANELS], *gate[DFOI_PANELS];
    dfoi_unit_room room[DFOI_PANELS];
    DFO_TRY(take(m, run, 4 * panels, &memory));
    dfo_real *gradient_scratch = memory + 4 * panels * panel(m);
    for (size_t p = 0; p < panels; p++) {
        g[p] = gout.x + p * gout.d * DFO_PANEL;
        room[p] = (dfoi_unit_room){.h = own(m, memory, p, 2),
                                   .mask = own(m, memory, p, 3),
                                   .first = p * DFO_PANEL};
    }
    for (size_t l = m->layers; l > 0; l--) {
        const dfoi_unit *unit = &m->unit[l - 1];
        for (size_t p = 0; p < panels; p++) {
            const dfo_real *kept = keep + p * m->keep + m->at[l - 1];
            h[p] = dfoi_unit_output(unit, run, &room[p], kept);
            gate[p] = dfoi_unit_gate(unit, run, kept, 0);
            to[p] = own(m, memory, p, l % 2);
        }
        dfoi_linear_grads(&m->linear[l], run, panels, g, h, 1, gradient_scratch);
        dfoi_linear_backward(&m->linear[l], run, panels, g, gate[0] ? gate : NULL, NULL, to,
                             gradient_scratch);
        for (size_t p = 0; p < panels; p++) {
            dfoi_unit_backward(unit, run, &room[p], gate[p] != NULL,
                               keep + p * m->keep + m->at[l - 1], to[p]);
            g[p] = to[p];
        }
    }
    for (size_t p = 0; p < panels; p++)
        h[p] = to[p] = room[p].h;
    if (run->grads) {
        for (size_t p = 0; p < panels; p++)
            dfoi_parts_to_panel(net, in, gout.n, p, to[p]);
        dfoi_linear_grads(&m->linear[0], run, panels, g, h, 1, gradient_scratch);
    }
    if (dfoi_parts_wanted(net, gin)) {
        dfoi_linear_backward(&m->linear[0], run, panels, g, NULL, NULL, to, gradient_scratch);
        for (size_t p = 0; p < panels; p++)
            dfoi_parts_add(net, to[p], gout.n, p, gin);
    }
    return DFO_OK;
}

static dfo_status jvp(const dfo_net *net, dfo_run *run, const dfo_cond *in, const dfo_cond *din,
                      dfo_block out, dfo_block dout, dfo_real *keep)
{
    const struct dfoi_mlp *m = net->state;
    dfo_real *memory;
    DFO_TRY(take(m, run, 6, &memory));
    dfoi_pair h = {memory, memory + panel(m)};
    dfoi_pair turn[2] = {{memory + 2 * panel(m), memory + 3 * panel(m)}, h};
    dfoi_parts_to_panel(net, in, out.n, 0, h.x);
    dfoi_parts_to_panel(net, din, out.n, 0, h.dx);
    for (size_t l = 0; l < m->layers; l++) {
        const dfoi_unit *unit = &m->unit[l];
        dfoi_unit_room room = {.h = turn[l % 2].x,
                               .dh = turn[l % 2].dx,
                               .mask = memory + 4 * panel(m),
                               .d1 = memory + 5 * panel(m)};
        dfo_real *kept = keep ? keep + 2 * m->at[l] : NULL;
        dfoi_pair x = dfoi_unit_jvp_target(unit, &room, kept);
        int fused = dfoi_unit_fused(unit);
        dfoi_linear_forward_one(&m->linear[l], run, h.x, fused ? unit->act : DFOI_ACT_NONE, NULL, x.x);
        dfoi_linear_tangent(&m->linear[l], run, h.dx,
                            fused && unit->act == DFOI_ACT_RELU ? x.x : NULL, NULL, x.dx);
        h = dfoi_unit_jvp(unit, run, x, fused, &room, kept);
    }
    dfoi_linear_forward_one(&m->linear[m->layers], run, h.x, DFOI_ACT_NONE, NULL, out.x);
    dfoi_linear_tangent(&m->linear[m->layers], run, h.dx, NULL, NULL, dout.x);
    return DFO_OK;
}

static dfo_status jvp_backward(const dfo_net *net, dfo_run *run, const dfo_cond *in,
                               const dfo_cond *din, dfo_block gout, dfo_block gdout, dfo_cond *gin,
                               dfo_cond *gdin, const dfo_real *keep)
{
    const struct dfoi_mlp *m = net->state;
    dfo_real *memory;
    DFO_TRY(take(m, run, 8, &memory));
    size_t size = panel(m);
    dfoi_pair turn[2] = {{memory, memory + size}, {memory + 2 * size, memory + 3 * size}};
    dfoi_pair g = {gout.x, gdout.x};
    dfoi_unit_room room = {.h = memory + 4 * size,
                           .dh = memory + 5 * size,
                           .mask = memory + 6 * size,
                           .d1 = memory + 4 * size,
                           .d2 = memory + 5 * size};
    dfo_real *gradient_scratch = memory + 8 * size;
    for (size_t l = m->layers; l > 0; l--) {
        const dfoi_unit *unit = &m->unit[l - 1];
        const dfoi_linear *linear = &m->linear[l];
        const dfo_real *kept = keep + 2 * m->at[l - 1];
        dfoi_pair next = turn[l % 2], h = dfoi_unit_jvp_output(unit, run, &room, kept);
        const dfo_real *gate = dfoi_unit_gate(unit, run, kept, 1);
        dfoi_linear_grads_one(linear, run, g.x, h.x, 1, gradient_scratch);
        dfoi_linear_grads_one(linear, run, g.dx, h.dx, 0, gradient_scratch);
        dfoi_linear_backward_one(linear, run, g.x, gate, NULL, next.x, gradient_scratch);
        dfoi_linear_backward_one(linear, run, g.dx, gate, NULL, next.dx, gradient_scratch);
        g = next;
        dfoi_unit_jvp_backward(unit, run, &room, gate != NULL, kept, g.x, g.dx);
    }
    if (run->grads) {
        dfoi_parts_to_panel(net, in, gout.n, 0, room.h);
        dfoi_parts_to_panel(net, din, gout.n, 0, room.dh);
        dfoi_linear_grads_one(&m->linear[0], run, g.x, room.h, 1, gradient_scratch);
        dfoi_linear_grads_one(&m->linear[0], run, g.dx, room.dh, 0, gradient_scratch);
    }
    if (dfoi_parts_wanted(net, gin)) {
        dfoi_linear_backward_one(&m->linear[0], run, g.x, NULL, NULL, room.h, gradient_scratch);
        dfoi_parts_add(net, room.h, gout.n, 0, gin);
    }
    if (dfoi_parts_wanted(net, gdin)) {
        dfoi_linear_backward_one(&m->linear[0], run, g.dx, NULL, NULL, room.h, gradient_scratch);
        dfoi_parts_add(net, room.h, gout.n, 0, gdin);
    }
    return DFO_OK;
}

static const struct dfo_net_ops ops = {
    .type = "mlp",
    .layout = DFO_FEATURES,
    .scratch = scratch,
    .acts = acts,
    .forward = forward,
    .backward = backward,
    .jvp = jvp,
    .jvp_backward = jvp_backward,
    .describe = describe,
    .free = release,
};

const struct dfoi_net_type dfoi_net_mlp = {&ops, check, create};
