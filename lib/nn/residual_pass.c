/* The four passes of the residual network (residual.c).  Per block and direction nothing but
 * products where the activation is relu: the stream's sum, the activation between the two layers
 * and the masks of the gradients stand in their epilogues; relu of the stream itself is one pass.
 *
 * A gate g = sigmoid(q), s' = s + r g, with g' = g (1 - g):  gr = gs g, gq = g' gs r;  with
 * tangents ds' = ds + dr g + r g' dq, and for adjoints gs, gds of s', ds': gr = gs g + gds g' dq,
 * gdr = gds g,  gq = g' (gs r + gds dr) + g' (1 - 2g) dq gds r,  gdq = g' gds r.  */
#include "base/ctx_impl.h"
#include "math/kern_impl.h"
#include "nn/residual_impl.h"
#include "nn/unit_kern_impl.h"

/* A panel's room in a pass: `wide` panels of all inputs, `tall` ones of the hidden features.  */
#define WIDE 4
#define TALL 10
struct room {
    dfo_real *wide[WIDE], *tall[TALL], *scratch;
};

static size_t room_size(const struct dfoi_residual *m)
{
    return (WIDE * m->in + TALL * m->hidden) * DFO_PANEL;
}

size_t dfoi_residual_scratch(const dfo_net *net, size_t rows)
{
    const struct dfoi_residual *m = net->state;
    return dfo_arena_size(dfoi_panels_of(rows) * room_size(m) + m->scratch_grad);
}

static dfo_status take(const struct dfoi_residual *m, dfo_run *run, size_t panels, struct room *room)
{
    dfo_real *at = dfo_arena_take(run, panels * room_size(m) + m->scratch_grad);
    if (!at)
        return dfo_run_fail(run, DFO_EMEM, (size_t)-1, "residual-mlp net: the arena is too small");
    for (size_t p = 0; p < panels; p++) {
        for (int i = 0; i < TALL; i++, at += m->hidden * DFO_PANEL)
            room[p].tall[i] = at;
        for (int i = 0; i < WIDE; i++, at += m->in * DFO_PANEL)
            room[p].wide[i] = at;
    }
    for (size_t p = 0; p < panels; p++)
        room[p].scratch = at;
    return DFO_OK;
}

static size_t panel(const struct dfoi_residual *m)
{
    return m->hidden * DFO_PANEL;
}

/* The context's features of a panel of all inputs.  */
static dfo_real *context(const struct dfoi_residual *m, dfo_real *wide)
{
    return wide + m->before_context * DFO_PANEL;
}

static dfoi_act fused_act(const dfoi_unit *unit)
{
    return dfoi_unit_fused(unit) ? unit->act : DFOI_ACT_NONE;
}

/* Where panel p's activations begin.  */
static dfo_real *own(const struct dfoi_residual *m, const dfo_real *acts, size_t p)
{
    return acts ? (dfo_real *)acts + p * m->keep : NULL;
}

/* next = s + r g of one panel.  */
static void gate_forward(const struct dfoi_residual *m, const struct dfoi_residual_block *b,
                         const dfo_run *run, struct room *room, dfo_real *acts, const dfo_real *h,
                         dfo_real *next)
{
    size_t size = panel(m);
    dfo_real *s = room->tall[0], *r = acts ? acts + b->at_gate : room->tall[1],
             *g = acts ? r + size : room->tall[3];
    dfoi_linear_forward_one(b->linear[1], run, h, DFOI_ACT_NONE, NULL, r);
    dfoi_linear_forward_one(b->gate, run, context(m, room->wide[0]), DFOI_ACT_NONE, NULL, g);
    dfoi_vsigmoid(size, g, g);
    DFOI_UNIT_KERN->gate(size, &(struct dfoi_gate){.s = s, .r = r, .g = g}, next);
}

dfo_status dfoi_residual_forward(const dfo_net *net, dfo_run *run, const dfo_cond *in,
                                 dfo_block out, dfo_real *acts)
{
    const struct dfoi_residual *m = net->state;
    size_t panels = dfoi_panels_of(out.n), blocks = m->settings.blocks;
    struct room room[DFOI_PANELS];
    const dfo_real *x[DFOI_PANELS], *s[DFOI_PANELS];
    dfo_real *y[DFOI_PANELS], *next[DFOI_PANELS];
    DFO_TRY(take(m, run, panels, room));
    for (size_t p = 0; p < panels; p++) {
        dfoi_parts_to_panel(net, in, out.n, p, room[p].wide[0]);
        x[p] = room[p].wide[0];
        s[p] = room[p].tall[0];
        y[p] = !blocks && acts ? own(m, acts, p) + m->at_last : room[p].tall[0];
    }
    dfoi_linear_forward(m->first, run, panels, x, DFOI_ACT_NONE, NULL, y);
    for (size_t k = 0; k < blocks; k++) {
        const struct dfoi_residual_block *b = &m->block[k];
        dfoi_unit_room second[DFOI_PANELS];
        int fused = dfoi_unit_fused(&b->unit[1]);
        for (size_t p = 0; p < panels; p++) {
            const dfoi_unit_room first = {.h = room[p].tall[1]};
            second[p] = (dfoi_unit_room){.h = room[p].tall[2],
                                         .mask = room[p].tall[3],
                                         .first = p * DFO_PANEL};
            dfo_real *kept = own(m, acts, p);
            x[p] = dfoi_unit_forward(&b->unit[0], run, s[p], 0, &first, kept ? kept + b->at[0] : NULL);
            y[p] = dfoi_unit_target(&b->unit[1], &second[p], kept ? kept + b->at[1] : NULL);
            next[p] = k + 1 == blocks && kept ? kept + m->at_last : room[p].tall[0];
        }
        dfoi_linear_forward(b->linear[0], run, panels, x, fused_act(&b->unit[1]), NULL, y);
        for (size_t p = 0; p < panels; p++) {
            dfo_real *kept = own(m, acts, p);
            x[p] = dfoi_unit_forward(&b->unit[1], run, y[p], fused, &second[p],
                                     kept ? kept + b->at[1] : NULL);
            if (b->gate)
                gate_forward(m, b, run, &room[p], kept, x[p], next[p]);
        }
        if (!b->gate)
            dfoi_linear_forward(b->linear[1], run, panels, x, DFOI_ACT_NONE, s, next);
    }
    for (size_t p = 0; p < panels; p++) {
        x[p] = acts ? own(m, acts, p) + m->at_last : room[p].tall[0];
        y[p] = out.x + p * out.d * DFO_PANEL;
    }
    dfoi_linear_forward(m->last, run, panels, x, DFOI_ACT_NONE, NULL, y);
    return DFO_OK;
}

/* The gate on the way back: gs becomes gr (another panel); adds the gate's weight gradients and
 * those of the context to gx.  gq: a panel to work in.  */
static void gate_backward(const struct dfoi_residual *m, const struct dfoi_residual_block *b,
                          const dfo_run *run, const dfo_real *acts, const dfo_real *gs, dfo_real *x,
                          dfo_real *gx, dfo_real *gr, dfo_real *gq, dfo_real *scratch)
{
    size_t size = panel(m);
    const dfo_real *r = acts + b->at_gate;
    DFOI_UNIT_KERN->gate_backward(size, &(struct dfoi_gate){.r = r, .g = r + size}, gs, gr, gq);
    dfoi_linear_grads_one(b->gate, run, gq, context(m, x), 1, scratch);
    if (gx)
        dfoi_linear_backward_one(b->gate, run, gq, NULL, context(m, gx), context(m, gx), scratch);
}

static void clear(size_t n, dfo_real *x)
{
    for (size_t i = 0; i < n; i++)
        x[i] = 0;
}

/* A pass's operands: the stream's gradient gs, gv and gu inside a block, the inputs x and theirs gx.  */
struct back {
    dfo_real *gs[DFOI_PANELS], *gv[DFOI_PANELS], *gu[DFOI_PANELS], *gx[DFOI_PANELS];
    const dfo_real *cs[DFOI_PANELS], *cv[DFOI_PANELS], *x[DFOI_PANELS];    /* gs, gv to read */
    dfoi_unit_room work[DFOI_PANELS];
};

/* One block on the way back: gs becomes the gradient of the stream before it.  */
static void block_backward(const struct dfoi_residual *m, const struct dfoi_residual_block *b,
                           const dfo_run *run, size_t panels, struct room *room, struct back *o,
                           int want_gx, const dfo_real *acts)
{
    const dfo_real *gr[DFOI_PANELS], *h[DFOI_PANELS], *mask[DFOI_PANELS];
    dfo_real *scratch = room[0].scratch;
    for (size_t p = 0; p < panels; p++) {
        const dfo_real *kept = own(m, acts, p);
        gr[p] = o->gs[p];
        if (b->gate) {
            gate_backward(m, b, run, kept, o->gs[p], room[p].wide[0], want_gx ? o->gx[p] : NULL, o->gu[p],
                          o->gv[p], scratch);
            gr[p] = o->gu[p];
        }
        h[p] = dfoi_unit_output(&b->unit[1], run, &o->work[p], kept + b->at[1]);
        mask[p] = dfoi_unit_gate(&b->unit[1], run, kept + b->at[1], 0);
    }
    dfoi_linear_grads(b->linear[1], run, panels, gr, h, 1, scratch);
    dfoi_linear_backward(b->linear[1], run, panels, gr, mask[0] ? mask : NULL, NULL, o->gv, scratch);
    for (size_t p = 0; p < panels; p++) {
        const dfo_real *kept = own(m, acts, p);
        dfoi_unit_backward(&b->unit[1], run, &o->work[p], mask[p] != NULL, kept + b->at[1], o->gv[p]);
        h[p] = dfoi_unit_output(&b->unit[0], run, &o->work[p], kept + b->at[0]);
        mask[p] = dfoi_unit_gate(&b->unit[0], run, kept + b->at[0], 0);
    }
    dfoi_linear_grads(b->linear[0], run, panels, o->cv, h, 1, scratch);
    if (mask[0] && !b->unit[0].norm) {
        dfoi_linear_backward(b->linear[0], run, panels, o->cv, mask, o->cs, o->gs, scratch);
        return;
    }
    dfoi_linear_backward(b->linear[0], run, panels, o->cv, mask[0] ? mask : NULL, NULL, o->gu, scratch);
    for (size_t p = 0; p < panels; p++) {
        dfoi_unit_backward(&b->unit[0], run, &o->work[p], mask[p] != NULL, own(m, acts, p) + b->at[0],
                           o->gu[p]);
        dfoi_add(panel(m), o->gu[p], o->gs[p]);
    }
}

dfo_status dfoi_residual_backward(const dfo_net *net, dfo_run *run, const dfo_cond *in,
                                  dfo_block gout, dfo_cond *gin, const dfo_real *acts)
{
    const struct dfoi_residual *m = net->state;
    size_t panels = dfoi_panels_of(gout.n);
    int want_gx = dfoi_parts_wanted(net, gin);
    struct room room[DFOI_PANELS];
    struct back o;
    const dfo_real *g[DFOI_PANELS], *last[DFOI_PANELS];
    DFO_TRY(take(m, run, panels, room));
    for (size_t p = 0; p < panels; p++) {
        dfoi_parts_to_panel(net, in, gout.n, p, room[p].wide[0]);
        o.x[p] = room[p].wide[0];
        o.gx[p] = room[p].wide[1];
        if (want_gx && m->context)
            clear(m->in * DFO_PANEL, o.gx[p]);
        o.cs[p] = o.gs[p] = room[p].tall[0];
        o.cv[p] = o.gv[p] = room[p].tall[1];
        o.gu[p] = room[p].tall[2];
        o.work[p] = (dfoi_unit_room){.h = room[p].tall[3],
                                     .mask = room[p].tall[4],
                                     .first = p * DFO_PANEL};
        g[p] = gout.x + p * gout.d * DFO_PANEL;
        last[p] = own(m, acts, p) + m->at_last;
    }
    dfoi_linear_grads(m->last, run, panels, g, last, 1, room[0].scratch);
    dfoi_linear_backward(m->last, run, panels, g, NULL, NULL, o.gs, room[0].scratch);
    for (size_t k = m->settings.blocks; k-- > 0;)
        block_backward(m, &m->block[k], run, panels, room, &o, want_gx, acts);
    dfoi_linear_grads(m->first, run, panels, o.cs, o.x, 1, room[0].scratch);
    if (want_gx) {
        for (size_t p = 0; p < panels; p++)
            last[p] = o.gx[p];
        dfoi_linear_backward(m->first, run, panels, o.cs, NULL, m->context ? last : NULL, o.gx,
                             room[0].scratch);
        for (size_t p = 0; p < panels; p++)
            dfoi_parts_add(net, o.gx[p], gout.n, p, gin);
    }
    return DFO_OK;
}

dfo_status dfoi_residual_jvp(const dfo_net *net, dfo_run *run, const dfo_cond *in,
                             const dfo_cond *din, dfo_block out, dfo_block dout, dfo_real *acts)
{
    const struct dfoi_residual *m = net->state;
    size_t n = out.n, size = panel(m), blocks = m->settings.blocks;
    struct room room = {0};
    DFO_TRY(take(m, run, 1, &room));
    dfoi_pair x = {room.wide[0], room.wide[1]}, s = {room.tall[0], room.tall[1]}, last = s;
    const dfoi_unit_room first = {.h = room.tall[2], .dh = room.tall[3], .d1 = room.tall[4]};
    const dfoi_unit_room second = {
        .h = room.tall[5], .dh = room.tall[6], .d1 = room.tall[7], .mask = room.tall[8]};
    if (acts)
        last = (dfoi_pair){acts + 2 * m->at_last, acts + 2 * m->at_last + size};
    dfoi_parts_to_panel(net, in, n, 0, x.x);
    dfoi_parts_to_panel(net, din, n, 0, x.dx);
    dfoi_linear_forward_one(m->first, run, x.x, DFOI_ACT_NONE, NULL, blocks ? s.x : last.x);
    dfoi_linear_tangent(m->first, run, x.dx, NULL, NULL, blocks ? s.dx : last.dx);
    for (size_t k = 0; k < blocks; k++) {
        const struct dfoi_residual_block *b = &m->block[k];
        const dfoi_unit *unit = &b->unit[1];
        dfo_real *kept0 = acts ? acts + 2 * b->at[0] : NULL,
                 *kept1 = acts ? acts + 2 * b->at[1] : NULL;
        dfoi_pair next = k + 1 == blocks ? last : s;
        dfoi_pair u = dfoi_unit_jvp(&b->unit[0], run, s, 0, &first, kept0);
        dfoi_pair v = dfoi_unit_jvp_target(unit, &second, kept1);
        int fused = dfoi_unit_fused(unit);
        dfoi_linear_forward_one(b->linear[0], run, u.x, fused_act(unit), NULL, v.x);
        dfoi_linear_tangent(b->linear[0], run, u.dx,
                            fused && unit->act == DFOI_ACT_RELU ? v.x : NULL, NULL, v.dx);
        dfoi_pair h = dfoi_unit_jvp(unit, run, v, fused, &second, kept1);
        if (!b->gate) {
            dfoi_linear_forward_one(b->linear[1], run, h.x, DFOI_ACT_NONE, s.x, next.x);
            dfoi_linear_tangent(b->linear[1], run, h.dx, NULL, s.dx, next.dx);
            continue;
        }
        dfo_real *r = acts ? acts + 2 * b->at_gate : room.tall[2],
                 *g = acts ? r + size : room.tall[3];
        dfo_real *dr = acts ? g + size : room.tall[4], *dq = acts ? dr + size : room.tall[9];
        dfoi_linear_forward_one(b->linear[1], run, h.x, DFOI_ACT_NONE, NULL, r);
        dfoi_linear_tangent(b->linear[1], run, h.dx, NULL, NULL, dr);
        dfoi_linear_forward_one(b->gate, run, context(m, x.x), DFOI_ACT_NONE, NULL, g);
        dfoi_linear_tangent(b->gate, run, context(m, x.dx), NULL, NULL, dq);
        dfoi_vsigmoid(size, g, g);
        const struct dfoi_gate gate = {.s = s.x, .ds = s.dx, .r = r, .dr = dr, .g = g, .dq = dq};
        DFOI_UNIT_KERN->gate_jvp(size, &gate, next.x, next.dx);
    }
    dfoi_linear_forward_one(m->last, run, last.x, DFOI_ACT_NONE, NULL, out.x);
    dfoi_linear_tangent(m->last, run, last.dx, NULL, NULL, dout.x);
    return DFO_OK;
}

/* Weight gradients and adjoints through a linear layer, of value and tangent.  */
static void pair_grads(const dfoi_linear *linear, const dfo_run *run, dfoi_pair g, dfoi_pair x,
                       dfo_real *scratch)
{
    dfoi_linear_grads_one(linear, run, g.x, x.x, 1, scratch);
    dfoi_linear_grads_one(linear, run, g.dx, x.dx, 0, scratch);
}

static void pair_backward(const dfoi_linear *linear, const dfo_run *run, dfoi_pair g,
                          const dfo_real *mask, dfoi_pair add, dfoi_pair to, dfo_real *scratch)
{
    dfoi_linear_backward_one(linear, run, g.x, mask, add.x, to.x, scratch);
    dfoi_linear_backward_one(linear, run, g.dx, mask, add.dx, to.dx, scratch);
}

static void gate_jvp_backward(const struct dfoi_residual *m, const struct dfoi_residual_block *b,
                              const dfo_run *run, const dfo_real *acts, dfoi_pair gs, dfoi_pair x,
                              dfoi_pair gx, dfoi_pair gr, dfoi_pair gq, dfo_real *scratch)
{
    size_t size = panel(m);
    const dfo_real *r = acts + 2 * b->at_gate;
    const struct dfoi_gate gate = {.r = r, .g = r + size, .dr = r + 2 * size, .dq = r + 3 * size};
    DFOI_UNIT_KERN->gate_jvp_backward(size, &gate, gs.x, gs.dx, gr.x, gr.dx, gq.x, gq.dx);
    dfoi_pair c = {context(m, x.x), context(m, x.dx)};
    pair_grads(b->gate, run, gq, c, scratch);
    if (gx.x)
        dfoi_linear_backward_one(b->gate, run, gq.x, NULL, context(m, gx.x), context(m, gx.x), scratch);
    if (gx.dx)
        dfoi_linear_backward_one(b->gate, run, gq.dx, NULL, context(m, gx.dx), context(m, gx.dx), scratch);
}

dfo_status dfoi_residual_jvp_backward(const dfo_net *net, dfo_run *run, const dfo_cond *in,
                                      const dfo_cond *din, dfo_block gout, dfo_block gdout,
                                      dfo_cond *gin, dfo_cond *gdin, const dfo_real *acts)
{
    const struct dfoi_residual *m = net->state;
    size_t n = gout.n, size = panel(m);
    struct room room = {0};
    DFO_TRY(take(m, run, 1, &room));
    const dfoi_pair none = {NULL, NULL}, g = {gout.x, gdout.x}, x = {room.wide[0], room.wide[1]};
    const dfoi_pair gs = {room.tall[0], room.tall[1]}, gv = {room.tall[2], room.tall[3]},
                    gu = {room.tall[4], room.tall[5]};
    const dfoi_pair gx = {dfoi_parts_wanted(net, gin) ? room.wide[2] : NULL,
                          dfoi_parts_wanted(net, gdin) ? room.wide[3] : NULL};
    const dfoi_unit_room work = {.h = room.tall[6],
                                 .dh = room.tall[7],
                                 .mask = room.tall[8],
                                 .d1 = room.tall[6],
                                 .d2 = room.tall[7]};
    const dfoi_pair last = {(dfo_real *)acts + 2 * m->at_last,
                            (dfo_real *)acts + 2 * m->at_last + size};
    dfoi_parts_to_panel(net, in, n, 0, x.x);
    dfoi_parts_to_panel(net, din, n, 0, x.dx);
    if (gx.x && m->context)
        clear(m->in * DFO_PANEL, gx.x);
    if (gx.dx && m->context)
        clear(m->in * DFO_PANEL, gx.dx);
    pair_grads(m->last, run, g, last, room.scratch);
    pair_backward(m->last, run, g, NULL, none, gs, room.scratch);
    for (size_t k = m->settings.blocks; k-- > 0;) {
        const struct dfoi_residual_block *b = &m->block[k];
        const dfo_real *kept0 = acts + 2 * b->at[0], *kept1 = acts + 2 * b->at[1];
        dfoi_pair gr = gs;
        if (b->gate) {
            gate_jvp_backward(m, b, run, acts, gs, x, gx, gu, gv, room.scratch);
            gr = gu;
        }
        dfoi_pair h = dfoi_unit_jvp_output(&b->unit[1], run, &work, kept1);
        const dfo_real *mask = dfoi_unit_gate(&b->unit[1], run, kept1, 1);
        pair_grads(b->linear[1], run, gr, h, room.scratch);
        pair_backward(b->linear[1], run, gr, mask, none, gv, room.scratch);
        dfoi_unit_jvp_backward(&b->unit[1], run, &work, mask != NULL, kept1, gv.x, gv.dx);
        dfoi_pair u = dfoi_unit_jvp_output(&b->unit[0], run, &work, kept0);
        mask = dfoi_unit_gate(&b->unit[0], run, kept0, 1);
        pair_grads(b->linear[0], run, gv, u, room.scratch);
        if (mask && !b->unit[0].norm) {
            pair_backward(b->linear[0], run, gv, mask, gs, gs, room.scratch);
            continue;
        }
        pair_backward(b->linear[0], run, gv, mask, none, gu, room.scratch);
        dfoi_unit_jvp_backward(&b->unit[0], run, &work, mask != NULL, kept0, gu.x, gu.dx);
        dfoi_add(size, gu.x, gs.x);
        dfoi_add(size, gu.dx, gs.dx);
    }
    pair_grads(m->first, run, gs, x, room.scratch);
    if (gx.x) {
        dfoi_linear_backward_one(m->first, run, gs.x, NULL, m->context ? gx.x : NULL, gx.x, room.scratch);
        dfoi_parts_add(net, gx.x, n, 0, gin);
    }
    if (gx.dx) {
        dfoi_linear_backward_one(m->first, run, gs.dx, NULL, m->context ? gx.dx : NULL, gx.dx, room.scratch);
        dfoi_parts_add(net, gx.dx, n, 0, gdin);
    }
    return DFO_OK;
}
