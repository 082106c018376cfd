/* Residual net of vectors that depends on a time, for diffusion models and flow matching:
 *
 *   {"type":"time-mlp", "hidden":256, "layers":3, "activation":"silu", "dropout":0, "embedding":64, "frequencies":32,
 *    "most":16, "classes":0, "inject":"layers", "last_init":0}
 *
 * h_0 = W x + b;  h_k+1 = h_k + W_k y_k + b_k,  y_k = dropout(act(h_k + q_k));  out = W y_L + b, L = layers, where
 * q = [q_0, ..., q_L] is what the embedding of time, condition and class (embed_impl.h) gives to the layers; with "inject":
 * "first", q = [q_0] and the others are zero.  Parts: x first, then those of the condition, the class with "classes", the
 * time.  Weights: first.w, first.b, embed.w, embed.b, embed.classes, project.w (q's features, embedding), project.b, w0, b0,
 * ..., last.w, last.b, drawn as PyTorch's; a net made with zero_last starts its last layer at zero, or in +-last_init.  Its exact trace: time_mlp_trace.c.  */
#include <stdio.h>
#include <string.h>

#include "base/ctx_impl.h"
#include "base/json_impl.h"
#include "math/kern_impl.h"
#include "nn/config_impl.h"
#include "nn/net_impl.h"
#include "nn/time_mlp_impl.h"

static const char *const inject[] = {"layers", "first", NULL};

static dfo_status read_settings(dfo_ctx *ctx, const json_t *config, struct time_mlp_settings *s)
{
    static const char *const keys[] = {"type", "hidden", "layers", "activation", "dropout", "inject", "last_init", DFOI_EMBED_KEYS, NULL};
    *s = (struct time_mlp_settings){0};
    DFO_TRY(dfoi_json_keys(ctx, config, keys));
    DFO_TRY(dfoi_json_size(ctx, config, "hidden", 256, 1, DFOI_NET_WIDEST, &s->hidden));
    DFO_TRY(dfoi_json_size(ctx, config, "layers", 3, 0, TIME_MLP_LAYERS, &s->layers));
    DFO_TRY(dfoi_config_activation(ctx, config, "silu", &s->act));
    DFO_TRY(dfoi_json_real(ctx, config, "dropout", 0, 0, DFOI_DROPOUT_MAX, &s->dropout));
    DFO_TRY(dfoi_json_choice(ctx, config, "inject", inject, 0, &s->inject));
    DFO_TRY(dfoi_embed_read(ctx, config, 64, &s->embed));
    return dfoi_json_real(ctx, config, "last_init", 0, 0, 1, &s->last_init);
}

static dfo_status check(dfo_ctx *ctx, const json_t *config)
{
    struct time_mlp_settings s;
    return read_settings(ctx, config, &s);
}

static void measure(struct time_mlp *m, const dfoi_linear *linear)
{
    size_t scratch = dfoi_linear_scratch(linear, DFOI_PANELS);
    m->products = scratch > m->products ? scratch : m->products;
}

static dfo_status add_layers(dfo_build *build, const dfo_net *net, int zero_last, struct time_mlp *m)
{
    const struct time_mlp_settings *s = &m->settings;
    for (size_t k = 0; k <= s->layers; k++) {
        int last = k == s->layers;
        dfoi_linear *linear = last ? &m->last : &m->layer[k];
        char w[16], b[16];
        snprintf(w, sizeof w, last ? "last.w" : "w%zu", k);
        snprintf(b, sizeof b, last ? "last.b" : "b%zu", k);
        DFO_TRY(dfoi_linear_new(build, w, b, s->hidden, last ? net->out : s->hidden, last && zero_last ? s->last_init : -1,
                                linear));
        measure(m, linear);
        m->unit[k] = (dfoi_unit){.width = s->hidden,
                                 .act = s->act,
                                 .drop = dfoi_unit_drop(s->dropout),
                                 .stream = dfoi_unit_stream(linear->w)};
    }
    return DFO_OK;
}

static dfo_status create(dfo_build *build, const json_t *config, int zero_last, dfo_net *net)
{
    struct time_mlp *m;
    int vector[DFO_COND_PARTS] = {0};
    DFO_TRY(dfoi_alloc(build->ctx, 1, sizeof *m, &m));
    net->state = m;
    DFO_TRY(read_settings(build->ctx, config, &m->settings));
    const struct time_mlp_settings *s = &m->settings;
    size_t in = net->parts ? dfo_shape_size(net->part[0]) : 0, out;
    for (size_t p = 1; p < net->parts; p++)
        vector[p] = 1;
    m->injected = s->inject ? 1 : s->layers + 1;
    DFO_TRY(dfoi_mul(build->ctx, m->injected, s->hidden, "hidden features", &out));
    DFO_TRY(dfoi_embed_new(build, net, &s->embed, vector, out, &m->embed));
    if (!in)
        return dfoi_fail(build->ctx, DFO_ESHAPE, "expected features in its first input part");
    DFO_TRY(dfoi_linear_new(build, "first.w", "first.b", in, s->hidden, -1, &m->first));
    measure(m, &m->first);
    DFO_TRY(add_layers(build, net, zero_last, m));
    m->keep_unit = dfoi_unit_keep(&m->unit[0]);
    m->keep = dfoi_embed_keep(&m->embed) + (s->layers + 1) * m->keep_unit;
    return DFO_OK;
}

static dfo_status describe(const dfo_net *net, json_t *to)
{
    const struct time_mlp *m = net->state;
    const struct time_mlp_settings *s = &m->settings;
    DFO_TRY(dfoi_json_set(net->ctx, to, "hidden", json_integer((json_int_t)s->hidden)));
    DFO_TRY(dfoi_json_set(net->ctx, to, "layers", json_integer((json_int_t)s->layers)));
    DFO_TRY(dfoi_json_set(net->ctx, to, "activation", json_string(dfoi_act_name(s->act))));
    DFO_TRY(dfoi_json_set(net->ctx, to, "dropout", json_real(s->dropout)));
    DFO_TRY(dfoi_json_set(net->ctx, to, "inject", json_string(inject[s->inject])));
    DFO_TRY(dfoi_embed_describe(&m->embed, net->ctx, to));
    return dfoi_json_set(net->ctx, to, "last_init", json_real(s->last_init));
}

static void release(dfo_net *net)
{
    dfoi_free(net->ctx, net->state);
}

/* Panels of the hidden width: the stream and its tangent (or their gradients), the units' room; D1 and D2 are the gradients of
 * the arguments of layers that take nothing of the embedding.  */
enum { H, DH, Y, DY, MASK, D1, D2, PANELS };

/* A panel's memory: x and its tangent, q and its tangent (or gradients of all these), what the embedding keeps where
 * nothing else is.  */
struct room {
    dfo_real *x, *dx, *q, *dq, *embed, *tall[PANELS];
};

static size_t panel(const struct time_mlp *m)
{
    return m->settings.hidden * DFO_PANEL;
}

static size_t room_size(const struct time_mlp *m)
{
    return (2 * m->first.in + 2 * m->embed.project.out) * DFO_PANEL + 2 * dfoi_embed_keep(&m->embed) + PANELS * panel(m);
}

static size_t scratch(const dfo_net *net, size_t rows)
{
    const struct time_mlp *m = net->state;
    size_t passes = dfo_arena_size(dfoi_panels_of(rows) * room_size(m) + m->products + dfoi_embed_scratch(&m->embed));
    size_t trace = dfoi_time_mlp_trace_scratch(net);
    return passes > trace ? passes : trace;
}

static size_t acts(const dfo_net *net, size_t rows)
{
    const struct time_mlp *m = net->state;
    return dfoi_panels_of(rows) * m->keep;
}

/* Rooms of `panels` panels, the products' scratch and that of the embedding.  */
struct work {
    struct room room[DFOI_PANELS];
    dfo_real *products, *embed;
};

static dfo_status take(const struct time_mlp *m, dfo_run *run, size_t panels, struct work *w)
{
    dfo_real *at = dfo_arena_take(run, panels * room_size(m) + m->products + dfoi_embed_scratch(&m->embed));
    if (!at)
        return dfo_run_fail(run, DFO_EMEM, (size_t)-1, "time-mlp net: the arena is too small");
    for (size_t p = 0; p < panels; p++) {
        struct room *r = &w->room[p];
        r->x = at;
        r->dx = r->x + m->first.in * DFO_PANEL;
        r->q = r->dx + m->first.in * DFO_PANEL;
        r->dq = r->q + m->embed.project.out * DFO_PANEL;
        r->embed = r->dq + m->embed.project.out * DFO_PANEL;
        r->tall[0] = r->embed + 2 * dfoi_embed_keep(&m->embed);
        for (size_t i = 1; i < PANELS; i++)
            r->tall[i] = r->tall[i - 1] + panel(m);
        at += room_size(m);
    }
    w->products = at;
    w->embed = at + m->products;
    return DFO_OK;
}

/* The p-th panel of x, or of its tangent.  */
static void read_x(const struct time_mlp *m, const dfo_cond *in, size_t n, size_t p, dfo_real *x)
{
    dfo_batch rows = in->part[0].rows;
    if (rows.x)
        dfoi_to_panel(dfoi_panel_rows(n, p), m->first.in, dfo_row(rows, p * DFO_PANEL), rows.ld, NULL, 0, x);
    else
        memset(x, 0, m->first.in * DFO_PANEL * sizeof *x);
}

static void add_x(const struct time_mlp *m, const dfo_real *gx, size_t n, size_t p, dfo_cond *to)
{
    dfo_batch rows = to->part[0].rows;
    dfoi_from_panel_add(dfoi_panel_rows(n, p), m->first.in, gx, NULL, dfo_row(rows, p * DFO_PANEL), rows.ld);
}

static int x_wanted(const dfo_cond *to)
{
    return to && to->part[0].rows.x;
}

/* What unit k keeps of panel p, with or without tangents.  */
static dfo_real *unit_keep(const struct time_mlp *m, const dfo_real *keep, size_t p, size_t k, size_t times)
{
    return keep ? (dfo_real *)keep + times * (p * m->keep + dfoi_embed_keep(&m->embed) + k * m->keep_unit) : NULL;
}

static dfo_status forward(const dfo_net *net, dfo_run *run, const dfo_cond *in, dfo_block out, dfo_real *keep)
{
    const struct time_mlp *m = net->state;
    size_t panels = dfoi_panels_of(out.n), size = panel(m);
    struct work w;
    const dfo_real *from[DFOI_PANELS], *stream[DFOI_PANELS];
    dfo_real *to[DFOI_PANELS];
    DFO_TRY(take(m, run, panels, &w));
    int once = !keep && panels > 1 && dfoi_embed_alike(&m->embed, net, in, 0, out.n);      /* one panel's q is all panels' */
    for (size_t p = 0; p < panels; p++) {
        struct room *r = &w.room[p];
        if (p && once)
            r->q = w.room[0].q;
        else
            DFO_TRY(dfoi_embed_forward(&m->embed, net, run, in, p * DFO_PANEL, dfoi_panel_rows(out.n, p),
                                       keep ? keep + p * m->keep : r->embed, r->q));
        read_x(m, in, out.n, p, r->x);
        from[p] = r->x;
        stream[p] = to[p] = r->tall[H];
    }
    dfoi_linear_forward(&m->first, run, panels, from, DFOI_ACT_NONE, NULL, to);
    for (size_t k = 0; k <= m->settings.layers; k++) {
        int last = k == m->settings.layers;
        for (size_t p = 0; p < panels; p++) {
            const struct room *r = &w.room[p];
            const dfoi_unit_room room = {.h = r->tall[Y], .mask = r->tall[MASK], .first = p * DFO_PANEL};
            dfo_real *kept = unit_keep(m, keep, p, k, 1);
            if (k < m->injected)
                from[p] = dfoi_unit_forward_sum(&m->unit[k], run, r->tall[H], r->q + k * size, &room, kept);
            else
                from[p] = dfoi_unit_forward(&m->unit[k], run, r->tall[H], 0, &room, kept);
            to[p] = last ? out.x + p * out.d * DFO_PANEL : r->tall[H];
        }
        dfoi_linear_forward(last ? &m->last : &m->layer[k], run, panels, from, DFOI_ACT_NONE, last ? NULL : stream, to);
    }
    return DFO_OK;
}

/* Layer k on the way back: the gradient of h_k + q_k is written where q_k's belongs, if there is one, and added to the
 * stream's.  g: the gradients of the layer's result.  */
static void layer_backward(const struct time_mlp *m, const dfo_run *run, size_t k, size_t panels, struct work *w,
                           const dfo_real *const *g, const dfo_real *keep)
{
    const dfoi_linear *linear = k == m->settings.layers ? &m->last : &m->layer[k];
    const dfo_real *h[DFOI_PANELS];
    dfo_real *to[DFOI_PANELS];
    dfoi_unit_room room[DFOI_PANELS];
    for (size_t p = 0; p < panels; p++) {
        room[p] = (dfoi_unit_room){.h = w->room[p].tall[Y], .mask = w->room[p].tall[MASK], .first = p * DFO_PANEL};
        h[p] = dfoi_unit_output(&m->unit[k], run, &room[p], unit_keep(m, keep, p, k, 1));
        to[p] = k < m->injected ? w->room[p].q + k * panel(m) : w->room[p].tall[D1];
    }
    dfoi_linear_grads(linear, run, panels, g, h, 1, w->products);
    dfoi_linear_backward(linear, run, panels, g, NULL, NULL, to, w->products);
    for (size_t p = 0; p < panels; p++) {
        dfoi_unit_backward(&m->unit[k], run, &room[p], 0, unit_keep(m, keep, p, k, 1), to[p]);
        dfoi_add(panel(m), to[p], w->room[p].tall[H]);
    }
}

static dfo_status backward(const dfo_net *net, dfo_run *run, const dfo_cond *in, dfo_block gout, dfo_cond *gin,
                           const dfo_real *keep)
{
    const struct time_mlp *m = net->state;
    size_t panels = dfoi_panels_of(gout.n);
    struct work w;
    const dfo_real *g[DFOI_PANELS], *x[DFOI_PANELS];
    dfo_real *gx[DFOI_PANELS];
    DFO_TRY(take(m, run, panels, &w));
    for (size_t p = 0; p < panels; p++) {
        g[p] = gout.x + p * gout.d * DFO_PANEL;
        memset(w.room[p].tall[H], 0, panel(m) * sizeof *g[p]);
        read_x(m, in, gout.n, p, w.room[p].x);
        x[p] = w.room[p].x;
        gx[p] = w.room[p].dx;
    }
    for (size_t k = m->settings.layers + 1; k-- > 0;) {
        layer_backward(m, run, k, panels, &w, g, keep);
        for (size_t p = 0; p < panels; p++)
            g[p] = w.room[p].tall[H];
    }
    dfoi_linear_grads(&m->first, run, panels, g, x, 1, w.products);
    if (x_wanted(gin))
        dfoi_linear_backward(&m->first, run, panels, g, NULL, NULL, gx, w.products);
    for (size_t p = 0; p < panels; p++) {
        if (x_wanted(gin))
            add_x(m, gx[p], gout.n, p, gin);
        dfoi_embed_backward(&m->embed, net, run, in, p * DFO_PANEL, dfoi_panel_rows(gout.n, p), keep + p * m->keep, w.room[p].q,
                            w.embed, gin);
    }
    return DFO_OK;
}

static dfo_status jvp(const dfo_net *net, dfo_run *run, const dfo_cond *in, const dfo_cond *din, dfo_block out, dfo_block dout,
                      dfo_real *keep)
{
    const struct time_mlp *m = net->state;
    struct work w;
    DFO_TRY(take(m, run, 1, &w));
    const struct room *r = &w.room[0];
    const dfoi_unit_room room = {.h = r->tall[Y], .dh = r->tall[DY], .mask = r->tall[MASK], .d1 = r->tall[D1]};
    dfo_real *h = r->tall[H], *dh = r->tall[DH], *embed = keep ? keep : r->embed;
    DFO_TRY(dfoi_embed_forward(&m->embed, net, run, in, 0, out.n, embed, r->q));
    dfoi_embed_tangent(&m->embed, net, run, din, 0, out.n, embed, r->dq);
    read_x(m, in, out.n, 0, r->x);
    read_x(m, din, out.n, 0, r->dx);
    dfoi_linear_forward_one(&m->first, run, r->x, DFOI_ACT_NONE, NULL, h);
    dfoi_linear_tangent(&m->first, run, r->dx, NULL, NULL, dh);
    for (size_t k = 0; k <= m->settings.layers; k++) {
        int last = k == m->settings.layers;
        const dfoi_linear *linear = last ? &m->last : &m->layer[k];
        dfo_real *kept = unit_keep(m, keep, 0, k, 2);
        dfoi_pair a = dfoi_unit_jvp_target(&m->unit[k], &room, kept);
        time_mlp_argument(m, k, h, r->q, a.x);
        time_mlp_argument(m, k, dh, r->dq, a.dx);
        dfoi_pair y = dfoi_unit_jvp(&m->unit[k], run, a, 0, &room, kept);
        dfoi_linear_forward_one(linear, run, y.x, DFOI_ACT_NONE, last ? NULL : h, last ? out.x : h);
        dfoi_linear_tangent(linear, run, y.dx, NULL, last ? NULL : dh, last ? dout.x : dh);
    }
    return DFO_OK;
}

/* As layer_backward, of one panel.  */
static void layer_jvp_backward(const struct time_mlp *m, const dfo_run *run, size_t k, struct work *w, dfoi_pair g,
                               const dfo_real *keep)
{
    const dfoi_linear *linear = k == m->settings.layers ? &m->last : &m->layer[k];
    const struct room *r = &w->room[0];
    const dfoi_unit_room room = {
        .h = r->tall[Y], .dh = r->tall[DY], .mask = r->tall[MASK], .d1 = r->tall[Y], .d2 = r->tall[DY]};
    const dfo_real *kept = unit_keep(m, keep, 0, k, 2);
    dfo_real *to = k < m->injected ? r->q + k * panel(m) : r->tall[D1];
    dfo_real *dto = k < m->injected ? r->dq + k * panel(m) : r->tall[D2];
    dfoi_pair y = dfoi_unit_jvp_output(&m->unit[k], run, &room, kept);
    dfoi_linear_grads_one(linear, run, g.x, y.x, 1, w->products);
    dfoi_linear_grads_one(linear, run, g.dx, y.dx, 0, w->products);
    dfoi_linear_backward_one(linear, run, g.x, NULL, NULL, to, w->products);
    dfoi_linear_backward_one(linear, run, g.dx, NULL, NULL, dto, w->products);
    dfoi_unit_jvp_backward(&m->unit[k], run, &room, 0, kept, to, dto);
    dfoi_add(panel(m), to, r->tall[H]);
    dfoi_add(panel(m), dto, r->tall[DH]);
}

static dfo_status jvp_backward(const dfo_net *net, dfo_run *run, const dfo_cond *in, const dfo_cond *din, dfo_block gout,
                               dfo_block gdout, dfo_cond *gin, dfo_cond *gdin, const dfo_real *keep)
{
    const struct time_mlp *m = net->state;
    struct work w;
    DFO_TRY(take(m, run, 1, &w));
    const struct room *r = &w.room[0];
    dfoi_pair stream = {r->tall[H], r->tall[DH]}, g = {gout.x, gdout.x};
    memset(stream.x, 0, panel(m) * sizeof *stream.x);
    memset(stream.dx, 0, panel(m) * sizeof *stream.dx);
    for (size_t k = m->settings.layers + 1; k-- > 0;) {
        layer_jvp_backward(m, run, k, &w, g, keep);
        g = stream;
    }
    read_x(m, in, gout.n, 0, r->x);
    read_x(m, din, gout.n, 0, r->dx);
    dfoi_linear_grads_one(&m->first, run, g.x, r->x, 1, w.products);
    dfoi_linear_grads_one(&m->first, run, g.dx, r->dx, 0, w.products);
    if (x_wanted(gin)) {
        dfoi_linear_backward_one(&m->first, run, g.x, NULL, NULL, r->x, w.products);
        add_x(m, r->x, gout.n, 0, gin);
    }
    if (x_wanted(gdin)) {
        dfoi_linear_backward_one(&m->first, run, g.dx, NULL, NULL, r->x, w.products);
        add_x(m, r->x, gout.n, 0, gdin);
    }
    dfoi_embed_tangent_backward(&m->embed, net, run, in, din, 0, gout.n, keep, r->q, r->dq, w.embed, gin, gdin);
    return DFO_OK;
}

static const struct dfo_net_ops ops = {
    .type = "time-mlp",
    .layout = DFO_FEATURES,
    .scratch = scratch,
    .acts = acts,
    .forward = forward,
    .backward = backward,
    .jvp = jvp,
    .jvp_backward = jvp_backward,
    .trace_size = dfoi_time_mlp_trace_size,
    .trace_begin = dfoi_time_mlp_trace_begin,
    .trace = dfoi_time_mlp_trace,
    .trace_alone = 1,
    .describe = describe,
    .free = release,
};

const struct dfoi_net_type dfoi_net_time_mlp = {&ops, check, create};
