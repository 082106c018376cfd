/* A U-net with tangents, and the reverse of that pass: as unet_pass.c with pairs (value, tangent).  */
#include <string.h>

#include "base/ctx_impl.h"
#include "math/kern_impl.h"
#include "nn/unet_impl.h"
#include "nn/unit_kern_impl.h"

static const dfoi_map none = {NULL, 0};

static dfoi_map_pair pair_at(const dfoi_unet *m, dfo_real *const *x, dfo_real *const *dx, dfoi_unet_place place)
{
    return (dfoi_map_pair){dfoi_unet_at(m, x, place), dfoi_unet_at(m, dx, place)};
}

/* Value and tangent of what stands in front of a convolution, and of what the activation is applied to.  */
static dfoi_map_pair front(const dfoi_unet_work *w, const dfoi_unet_op *op, dfoi_area area, dfoi_map_pair *a)
{
    dfoi_map_pair x = pair_at(w->m, w->x, w->dx, op->from), y = {dfoi_unet_front(w, op, &a->x), x.dx};
    a->dx = x.dx;
    if (!op->unit)
        return y;
    if (op->norm.groups) {
        a->dx = dfoi_map_of(w->work[DFOI_UNET_DA], op->conv.in);
        dfoi_group_tangent(&op->norm, w->run, area, x, w->statistics + op->statistics * w->images.n, a->dx);
    }
    y.dx = dfoi_map_of(w->work[DFOI_UNET_DY], op->conv.in);
    for (size_t p = 0; p < area.panels; p++) {
        memcpy(dfoi_map_panel(y.dx, p), dfoi_map_panel(a->dx, p), dfoi_unet_panel(op) * sizeof *y.dx.x);
        dfoi_vdact(op->act, dfoi_unet_panel(op), dfoi_map_panel(a->x, p), dfoi_map_panel(y.x, p),
                   dfoi_map_panel(y.dx, p));
    }
    return y;
}

static void op_jvp(const dfoi_unet_work *w, const dfoi_unet_op *op)
{
    const dfoi_unet *m = w->m;
    const dfoi_area area = dfoi_unet_area(m, w->images, m->map[op->from.map].level);
    dfoi_map_pair a, x = pair_at(m, w->x, w->dx, op->from), y = pair_at(m, w->x, w->dx, op->to), more = {none, none};
    if (op->attend) {
        dfoi_attend_tangent(op->conv.out, area, x, y, w->room.scratch);
        return;
    }
    if (op->norm.groups) {
        dfo_real *statistics = w->statistics + op->statistics * w->images.n;
        dfoi_group_measure(&op->norm, area, x.x, statistics);
        dfoi_group_tangent_measure(&op->norm, area, x, statistics);
    }
    x = front(w, op, area, &a);
    if (op->add)
        more = pair_at(m, w->x, w->dx, op->residual);
    dfoi_conv_forward(&op->conv, w->run, w->images.n, x.x, DFOI_ACT_NONE, more.x, &w->room, y.x);
    dfoi_conv_tangent(&op->conv, w->run, w->images.n, x.dx, none, more.dx, &w->room, y.dx);
    dfoi_unet_add_embedding(w, op, w->q, y.x);
    dfoi_unet_add_embedding(w, op, w->dq, y.dx);
}

dfo_status dfoi_unet_jvp(const dfo_net *net, dfo_run *run, const dfo_cond *in, const dfo_cond *din, dfo_block out,
                         dfo_block dout, dfo_real *acts)
{
    const dfoi_unet *m = net->state;
    const dfo_shape *s = &net->shape;
    dfoi_unet_work w;
    DFO_TRY(dfoi_unet_take(net, run, out.n, &w));
    for (size_t p = 0; p < dfoi_panels_of(out.n); p++) {
        dfo_real *keep = acts ? acts + 2 * p * dfoi_embed_keep(&m->embed) : w.own_embed;
        size_t first = p * DFO_PANEL, n = dfoi_panel_rows(out.n, p), at = p * m->embedded * DFO_PANEL;
        DFO_TRY(dfoi_embed_forward(&m->embed, net, run, in, first, n, keep, w.q + at));
        dfoi_embed_tangent(&m->embed, net, run, din, first, n, keep, w.dq + at);
    }
    while (dfoi_unet_next(&w, out.n, acts, 2)) {
        dfoi_conv_read(net, &m->input, in, w.images, dfoi_map_of(w.x[0], m->input.channels));
        dfoi_conv_read(net, &m->input, din, w.images, dfoi_map_of(w.dx[0], m->input.channels));
        for (size_t i = 0; i < m->ops; i++)
            op_jvp(&w, &m->op[i]);
        dfoi_map_to_rows(w.images, s->c, s->h, s->w, dfoi_map_of(w.out[0], s->c), 0, 0, out.x, out.ld);
        dfoi_map_to_rows(w.images, s->c, s->h, s->w, dfoi_map_of(w.out[1], s->c), 0, 0, dout.x, dout.ld);
    }
    return DFO_OK;
}

static void pair_backward(const dfoi_unet_work *w, const dfoi_unet_op *op, dfoi_map_pair gy, dfoi_map_pair y,
                          dfoi_map_pair add, dfoi_map_pair to)
{
    dfoi_conv_backward(&op->conv, w->run, w->images.n, gy.x, y.x, 1, none, add.x, &w->room, to.x);
    dfoi_conv_backward(&op->conv, w->run, w->images.n, gy.dx, y.dx, 0, none, add.dx, &w->room, to.dx);
}

static void op_jvp_backward(const dfoi_unet_work *w, size_t i)
{
    const dfoi_unet *m = w->m;
    const dfoi_unet_op *op = &m->op[i];
    const dfoi_area from = dfoi_unet_area(m, w->images, m->map[op->from.map].level);
    const dfoi_area to = dfoi_unet_area(m, w->images, m->map[op->to.map].level);
    const dfoi_map_pair x = pair_at(m, w->x, w->dx, op->from), gx = pair_at(m, w->g, w->gd, op->from);
    const dfoi_map_pair gy = pair_at(m, w->g, w->gd, op->to), nothing = {none, none};
    const dfoi_map_pair g = {dfoi_map_of(w->work[DFOI_UNET_G], op->conv.in), dfoi_map_of(w->work[DFOI_UNET_GD], op->conv.in)};
    dfoi_map_pair a, y = front(w, op, from, &a);
    dfoi_unet_begin_gradients(w, i, w->g);
    dfoi_unet_begin_gradients(w, i, w->gd);
    if (op->attend) {
        dfoi_attend_tangent_backward(op->conv.out, from, x, gy, gx, w->room.scratch);
        return;
    }
    dfoi_unet_sum_embedding(w, op, gy.x, w->q);
    dfoi_unet_sum_embedding(w, op, gy.dx, w->dq);
    if (op->add && op->residual.map != op->to.map) {
        const dfoi_map_pair residual = pair_at(m, w->g, w->gd, op->residual);
        dfoi_unet_add(to, op->conv.out, gy.x, residual.x);
        dfoi_unet_add(to, op->conv.out, gy.dx, residual.dx);
    }
    if (!op->unit) {
        pair_backward(w, op, gy, y, gx, gx);
        return;
    }
    pair_backward(w, op, gy, y, nothing, g);
    for (size_t p = 0; p < from.panels; p++) {
        dfoi_vact_derivatives(op->act, dfoi_unet_panel(op), dfoi_map_panel(a.x, p), w->derivative[0], w->derivative[1]);
        DFOI_UNIT_KERN->reverse(dfoi_unet_panel(op), w->derivative[0], w->derivative[1], dfoi_map_panel(a.dx, p),
                                dfoi_map_panel(g.x, p), dfoi_map_panel(g.dx, p));
    }
    if (op->norm.groups) {
        dfoi_group_tangent_backward(&op->norm, w->run, from, x, w->statistics + op->statistics * w->images.n, g, gx);
    } else {
        dfoi_unet_add(from, op->conv.in, g.x, gx.x);
        dfoi_unet_add(from, op->conv.in, g.dx, gx.dx);
    }
}

dfo_status dfoi_unet_jvp_backward(const dfo_net *net, dfo_run *run, const dfo_cond *in, const dfo_cond *din, dfo_block gout,
                                  dfo_block gdout, dfo_cond *gin, dfo_cond *gdin, const dfo_real *acts)
{
    const dfoi_unet *m = net->state;
    const dfo_shape *s = &net->shape;
    dfoi_unet_work w;
    DFO_TRY(dfoi_unet_take(net, run, gout.n, &w));
    size_t q = m->embedded * dfoi_panels_of(gout.n) * DFO_PANEL;
    memset(w.q, 0, q * sizeof *w.q);
    memset(w.dq, 0, q * sizeof *w.dq);
    while (dfoi_unet_next(&w, gout.n, acts, 2)) {
        dfoi_map_from_rows(w.images, s->c, s->h, s->w, gout.x, gout.ld, 0, dfoi_map_of(w.out[0], s->c));
        dfoi_map_from_rows(w.images, s->c, s->h, s->w, gdout.x, gdout.ld, 0, dfoi_map_of(w.out[1], s->c));
        for (size_t i = m->ops; i-- > 0;)
            op_jvp_backward(&w, i);
        if (dfoi_conv_wanted(net, &m->input, gin, 0))
            dfoi_conv_add(net, &m->input, gin, w.images, dfoi_map_of(w.g[0], m->input.channels));
        if (dfoi_conv_wanted(net, &m->input, gdin, 0))
            dfoi_conv_add(net, &m->input, gdin, w.images, dfoi_map_of(w.gd[0], m->input.channels));
    }
    for (size_t p = 0; p < dfoi_panels_of(gout.n); p++)
        dfoi_embed_tangent_backward(&m->embed, net, run, in, din, p * DFO_PANEL, dfoi_panel_rows(gout.n, p),
                                    acts + 2 * p * dfoi_embed_keep(&m->embed), w.q + p * m->embedded * DFO_PANEL,
                                    w.dq + p * m->embedded * DFO_PANEL, w.embed, gin, gdin);
    return DFO_OK;
}
