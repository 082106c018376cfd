/* Forward and backward of a U-net (unet.c): its operations in order, and in the reverse order.  A block of images goes
 * through all of them before the next one.  Kept are the maps alone and the norms' statistics: what stands in front of a
 * convolution is computed again on the way back, where gradients of a map are added up as its readers come.  */
#include <string.h>

#include "base/ctx_impl.h"
#include "math/kern_impl.h"
#include "nn/unet_impl.h"

static const dfoi_map none = {NULL, 0};

static void op_forward(const dfoi_unet_work *w, const dfoi_unet_op *op)
{
    const dfoi_unet *m = w->m;
    const dfoi_area area = dfoi_unet_area(m, w->images, m->map[op->from.map].level);
    dfoi_map a, x = dfoi_unet_at(m, w->x, op->from), y = dfoi_unet_at(m, w->x, op->to);
    if (op->attend) {
        dfoi_attend(op->conv.out, area, x, y, w->room.scratch);
        return;
    }
    if (op->norm.groups)
        dfoi_group_measure(&op->norm, area, x, w->statistics + op->statistics * w->images.n);
    x = dfoi_unet_front(w, op, &a);
    dfoi_conv_forward(&op->conv, w->run, w->images.n, x, DFOI_ACT_NONE,
                      op->add ? dfoi_unet_at(m, w->x, op->residual) : none, &w->room, y);
    dfoi_unet_add_embedding(w, op, w->q, y);
}

dfo_status dfoi_unet_forward(const dfo_net *net, dfo_run *run, const dfo_cond *in, dfo_block out, dfo_real *acts)
{
    const dfoi_unet *m = net->state;
    const dfo_shape *s = &net->shape;
    dfoi_unet_work w;
    DFO_TRY(dfoi_unet_take(net, run, out.n, &w));
    for (size_t p = 0; p < dfoi_panels_of(out.n); p++)
        DFO_TRY(dfoi_embed_forward(&m->embed, net, run, in, p * DFO_PANEL, dfoi_panel_rows(out.n, p),
                                   acts ? acts + p * dfoi_embed_keep(&m->embed) : w.own_embed,
                                   w.q + p * m->embedded * DFO_PANEL));
    while (dfoi_unet_next(&w, out.n, acts, 1)) {
        dfoi_conv_read(net, &m->input, in, w.images, dfoi_map_of(w.x[0], m->input.channels));
        for (size_t i = 0; i < m->ops; i++)
            op_forward(&w, &m->op[i]);
        dfoi_map_to_rows(w.images, s->c, s->h, s->w, dfoi_map_of(w.out[0], s->c), 0, 0, out.x, out.ld);
    }
    return DFO_OK;
}

/* Operation i on the way back; the input's gradient is wanted or not.  */
static void op_backward(const dfoi_unet_work *w, size_t i, int wanted)
{
    const dfoi_unet *m = w->m;
    const dfoi_unet_op *op = &m->op[i];
    const dfoi_area from = dfoi_unet_area(m, w->images, m->map[op->from.map].level);
    const dfoi_area to = dfoi_unet_area(m, w->images, m->map[op->to.map].level);
    dfoi_map a, x = dfoi_unet_at(m, w->x, op->from), gx = dfoi_unet_at(m, w->g, op->from), gy = dfoi_unet_at(m, w->g, op->to);
    dfoi_map g = dfoi_map_of(w->work[DFOI_UNET_G], op->conv.in), y = dfoi_unet_front(w, op, &a);
    dfoi_unet_begin_gradients(w, i, w->g);
    if (op->attend) {
        dfoi_attend_backward(op->conv.out, from, x, gy, gx, w->room.scratch);
        return;
    }
    dfoi_unet_sum_embedding(w, op, gy, w->q);
    if (op->add && op->residual.map != op->to.map)
        dfoi_unet_add(to, op->conv.out, gy, dfoi_unet_at(m, w->g, op->residual));
    if (!op->unit) {
        dfoi_map add = op->from.map || wanted ? gx : none;
        dfoi_conv_backward(&op->conv, w->run, w->images.n, gy, y, 1, none, add, &w->room, add);
        return;
    }
    dfoi_conv_backward(&op->conv, w->run, w->images.n, gy, y, 1, none, none, &w->room, g);
    for (size_t p = 0; p < from.panels; p++)
        dfoi_vdact(op->act, dfoi_unet_panel(op), dfoi_map_panel(a, p), dfoi_map_panel(y, p), dfoi_map_panel(g, p));
    if (op->norm.groups)
        dfoi_group_backward(&op->norm, w->run, from, x, w->statistics + op->statistics * w->images.n, g, gx);
    else
        dfoi_unet_add(from, op->conv.in, g, gx);
}

dfo_status dfoi_unet_backward(const dfo_net *net, dfo_run *run, const dfo_cond *in, dfo_block gout, dfo_cond *gin,
                              const dfo_real *acts)
{
    const dfoi_unet *m = net->state;
    const dfo_shape *s = &net->shape;
    int wanted = dfoi_conv_wanted(net, &m->input, gin, 0);
    dfoi_unet_work w;
    DFO_TRY(dfoi_unet_take(net, run, gout.n, &w));
    memset(w.q, 0, m->embedded * dfoi_panels_of(gout.n) * DFO_PANEL * sizeof *w.q);
    while (dfoi_unet_next(&w, gout.n, acts, 1)) {
        dfoi_map_from_rows(w.images, s->c, s->h, s->w, gout.x, gout.ld, 0, dfoi_map_of(w.out[0], s->c));
        for (size_t i = m->ops; i-- > 0;)
            op_backward(&w, i, wanted);
        if (wanted)
            dfoi_conv_add(net, &m->input, gin, w.images, dfoi_map_of(w.g[0], m->input.channels));
    }
    for (size_t p = 0; p < dfoi_panels_of(gout.n); p++)
        dfoi_embed_backward(&m->embed, net, run, in, p * DFO_PANEL, dfoi_panel_rows(gout.n, p),
                            acts + p * dfoi_embed_keep(&m->embed), w.q + p * m->embedded * DFO_PANEL, w.embed, gin);
    return DFO_OK;
}
