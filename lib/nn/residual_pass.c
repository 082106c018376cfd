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

/* A pass's panels: `wide` ones of all inputs, `tall` ones of the hidden features, scratch of
 * gradients.  */
struct room {
    dfo_real *wide[4], *tall[10], *scratch;
};

size_t dfoi_residual_scratch(const dfo_net *net, size_t rows)
{
    const struct dfoi_residual *m = net->state;
    (void)rows;
    return dfo_arena_size((4 * m->in + 10 * m->hidden) * DFO_PANEL + m->scratch_grad);
}

static dfo_status take(const struct dfoi_residual *m, dfo_run *run, struct room *room)
{
    dfo_real *at = dfo_arena_take(run, (4 * m->in + 10 * m->hidden) * DFO_PANEL + m->scratch_grad);
    if (!at)
        return dfo_run_fail(run, DFO_EMEM, (size_t)-1, "residual-mlp net: the arena is too small");
    for (int i = 0; i < 10; i++, at += m->hidden * DFO_PANEL)
        room->tall[i] = at;
    for (int i = 0; i < 4; i++, at += m->in * DFO_PANEL)
        room->wide[i] = at;
    room->scratch = at;
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

dfo_status dfoi_residual_forward(const dfo_net *net, dfo_run *run, const dfo_cond *in,
                                 dfo_block out, dfo_real *acts)
{
    const struct dfoi_residual *m = net->state;
    size_t n = out.n, size = panel(m), blocks = m->settings.blocks;
    struct room room = {0};
    DFO_TRY(take(m, run, &room));
    dfo_real *x = room.wide[0], *s = room.tall[0], *last = acts ? acts + m->at_last : s;
    const dfoi_unit_room first = {.h = room.tall[1]},
                         second = {.h = room.tall[2], .mask = room.tall[3]};
    dfoi_parts_to_panel(net, in, n, 0, x);
    dfoi_linear_forward(m->first, run, x, DFOI_ACT_NONE, NULL, blocks ? s : last);
    for (size_t k = 0; k < blocks; k++) {
        const struct dfoi_residual_block *b = &m->block[k];
        dfo_real *kept0 = acts ? acts + b->at[0] : NULL, *kept1 = acts ? acts + b->at[1] : NULL;
        dfo_real *next = k + 1 == blocks ? last : s;
        const dfo_real *u = dfoi_unit_forward(&b->unit[0], run, s, 0, &first, kept0);
        dfo_real *v = dfoi_unit_target(&b->unit[1], &second, kept1);
        dfoi_linear_forward(b->linear[0], run, u, fused_act(&b->unit[1]), NULL, v);
        const dfo_real *h =
            dfoi_unit_forward(&b->unit[1], run, v, dfoi_unit_fused(&b->unit[1]), &second, kept1);
        if (!b->gate) {
            dfoi_linear_forward(b->linear[1], run, h, DFOI_ACT_NONE, s, next);
            continue;
        }
        dfo_real *r = acts ? acts + b->at_gate : room.tall[1], *g = acts ? r + size : room.tall[3];
        dfoi_linear_forward(b->linear[1], run, h, DFOI_ACT_NONE, NULL, r);
        dfoi_linear_forward(b->gate, run, context(m, x), DFOI_ACT_NONE, NULL, g);
        dfoi_vsigmoid(size, g, g);
        DFOI_UNIT_KERN->gate(size, &(struct dfoi_gate){.s = s, .r = r, .g = g}, next);
    }
    dfoi_linear_forward(m->last, run, last, DFOI_ACT_NONE, NULL, out.x);
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
    dfoi_linear_grads(b->gate, run, gq, context(m, x), 1, scratch);
    if (gx)
        dfoi_linear_backward(b->gate, run, gq, NULL, context(m, gx), context(m, gx), scratch);
}

static void clear(size_t n, dfo_real *x)
{
    for (size_t i = 0; i < n; i++)
        x[i] = 0;
}

dfo_status dfoi_residual_backward(const dfo_net *net, dfo_run *run, const dfo_cond *in,
                                  dfo_block gout, dfo_cond *gin, const dfo_real *acts)
{
    const struct dfoi_residual *m = net->state;
    size_t n = gout.n, size = panel(m);
    struct room room = {0};
    DFO_TRY(take(m, run, &room));
    dfo_real *gs = room.tall[0], *gv = room.tall[1], *gu = room.tall[2], *x = room.wide[0];
    dfo_real *gx = dfoi_parts_wanted(net, gin) ? room.wide[1] : NULL;
    const dfoi_unit_room work = {.h = room.tall[3], .mask = room.tall[4]};
    dfoi_parts_to_panel(net, in, n, 0, x);
    if (gx && m->context)
        clear(m->in * DFO_PANEL, gx);
    dfoi_linear_grads(m->last, run, gout.x, acts + m->at_last, 1, room.scratch);
    dfoi_linear_backward(m->last, run, gout.x, NULL, NULL, gs, room.scratch);
    for (size_t k = m->settings.blocks; k-- > 0;) {
        const struct dfoi_residual_block *b = &m->block[k];
        const dfo_real *kept0 = acts + b->at[0], *kept1 = acts + b->at[1], *gr = gs;
        if (b->gate) {
            gate_backward(m, b, run, acts, gs, x, gx, gu, gv, room.scratch);
            gr = gu;
        }
        const dfo_real *h = dfoi_unit_output(&b->unit[1], run, &work, kept1);
        const dfo_real *mask = dfoi_unit_gate(&b->unit[1], run, kept1, 0);
        dfoi_linear_grads(b->linear[1], run, gr, h, 1, room.scratch);
        dfoi_linear_backward(b->linear[1], run, gr, mask, NULL, gv, room.scratch);
        dfoi_unit_backward(&b->unit[1], run, &work, mask != NULL, kept1, gv);
        const dfo_real *u = dfoi_unit_output(&b->unit[0], run, &work, kept0);
        mask = dfoi_unit_gate(&b->unit[0], run, kept0, 0);
        dfoi_linear_grads(b->linear[0], run, gv, u, 1, room.scratch);
        if (mask && !b->unit[0].norm) {
            dfoi_linear_backward(b->linear[0], run, gv, mask, gs, gs, room.scratch);
            continue;
        }
        dfoi_linear_backward(b->linear[0], run, gv, mask, NULL, gu, room.scratch);
        dfoi_unit_backward(&b->unit[0], run, &work, mask != NULL, kept0, gu);
        dfoi_add(size, gu, gs);
    }
    dfoi_linear_grads(m->first, run, gs, x, 1, room.scratch);
    if (gx) {
        dfoi_linear_backward(m->first, run, gs, NULL, m->context ? gx : NULL, gx, room.scratch);
        dfoi_parts_add(net, gx, n, gin);
    }
    return DFO_OK;
}

dfo_status dfoi_residual_jvp(const dfo_net *net, dfo_run *run, const dfo_cond *in,
                             const dfo_cond *din, dfo_block out, dfo_block dout, dfo_real *acts)
{
    const struct dfoi_residual *m = net->state;
    size_t n = out.n, size = panel(m), blocks = m->settings.blocks;
    struct room room = {0};
    DFO_TRY(take(m, run, &room));
    dfoi_pair x = {room.wide[0], room.wide[1]}, s = {room.tall[0], room.tall[1]}, last = s;
    const dfoi_unit_room first = {.h = room.tall[2], .dh = room.tall[3], .d1 = room.tall[4]};
    const dfoi_unit_room second = {
        .h = room.tall[5], .dh = room.tall[6], .d1 = room.tall[7], .mask = room.tall[8]};
    if (acts)
        last = (dfoi_pair){acts + 2 * m->at_last, acts + 2 * m->at_last + size};
    dfoi_parts_to_panel(net, in, n, 0, x.x);
    dfoi_parts_to_panel(net, din, n, 0, x.dx);
    dfoi_linear_forward(m->first, run, x.x, DFOI_ACT_NONE, NULL, blocks ? s.x : last.x);
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
        dfoi_linear_forward(b->linear[0], run, u.x, fused_act(unit), NULL, v.x);
        dfoi_linear_tangent(b->linear[0], run, u.dx,
                            fused && unit->act == DFOI_ACT_RELU ? v.x : NULL, NULL, v.dx);
        dfoi_pair h = dfoi_unit_jvp(unit, run, v, fused, &second, kept1);
        if (!b->gate) {
            dfoi_linear_forward(b->linear[1], run, h.x, DFOI_ACT_NONE, s.x, next.x);
            dfoi_linear_tangent(b->linear[1], run, h.dx, NULL, s.dx, next.dx);
            continue;
        }
        dfo_real *r = acts ? acts + 2 * b->at_gate : room.tall[2],
                 *g = acts ? r + size : room.tall[3];
        dfo_real *dr = acts ? g + size : room.tall[4], *dq = acts ? dr + size : room.tall[9];
        dfoi_linear_forward(b->linear[1], run, h.x, DFOI_ACT_NONE, NULL, r);
        dfoi_linear_tangent(b->linear[1], run, h.dx, NULL, NULL, dr);
        dfoi_linear_forward(b->gate, run, context(m, x.x), DFOI_ACT_NONE, NULL, g);
        dfoi_linear_tangent(b->gate, run, context(m, x.dx), NULL, NULL, dq);
        dfoi_vsigmoid(size, g, g);
        const struct dfoi_gate gate = {.s = s.x, .ds = s.dx, .r = r, .dr = dr, .g = g, .dq = dq};
        DFOI_UNIT_KERN->gate_jvp(size, &gate, next.x, next.dx);
    }
    dfoi_linear_forward(m->last, run, last.x, DFOI_ACT_NONE, NULL, out.x);
    dfoi_linear_tangent(m->last, run, last.dx, NULL, NULL, dout.x);
    return DFO_OK;
}

/* Weight gradients and adjoints through a linear layer, of value and tangent.  */
static void pair_grads(const dfoi_linear *linear, const dfo_run *run, dfoi_pair g, dfoi_pair x,
                       dfo_real *scratch)
{
    dfoi_linear_grads(linear, run, g.x, x.x, 1, scratch);
    dfoi_linear_grads(linear, run, g.dx, x.dx, 0, scratch);
}

static void pair_backward(const dfoi_linear *linear, const dfo_run *run, dfoi_pair g,
                          const dfo_real *mask, dfoi_pair add, dfoi_pair to, dfo_real *scratch)
{
    dfoi_linear_backward(linear, run, g.x, mask, add.x, to.x, scratch);
    dfoi_linear_backward(linear, run, g.dx, mask, add.dx, to.dx, scratch);
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
        dfoi_linear_backward(b->gate, run, gq.x, NULL, context(m, gx.x), context(m, gx.x), scratch);
    if (gx.dx)
        dfoi_linear_backward(b->gate, run, gq.dx, NULL, context(m, gx.dx), context(m, gx.dx), scratch);
}

dfo_status dfoi_residual_jvp_backward(const dfo_net *net, dfo_run *run, const dfo_cond *in,
                                      const dfo_cond *din, dfo_block gout, dfo_block gdout,
                                      dfo_cond *gin, dfo_cond *gdin, const dfo_real *acts)
{
    const struct dfoi_residual *m = net->state;
    size_t n = gout.n, size = panel(m);
    struct room room = {0};
    DFO_TRY(take(m, run, &room));
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
        dfoi_linear_backward(m->first, run, gs.x, NULL, m->context ? gx.x : NULL, gx.x, room.scratch);
        dfoi_parts_add(net, gx.x, n, gin);
    }
    if (gx.dx) {
        dfoi_linear_backward(m->first, run, gs.dx, NULL, m->context ? gx.dx : NULL, gx.dx, room.scratch);
        dfoi_parts_add(net, gx.dx, n, gdin);
    }
    return DFO_OK;
}
