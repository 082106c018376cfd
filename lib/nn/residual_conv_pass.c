/* Forward and backward of the residual network of images (residual_conv.c): as residual_pass.c,
 * with convolutions of maps for products with panels, a block of images at a time.  */
#include <string.h>

#include "base/ctx_impl.h"
#include "math/kern_impl.h"
#include "nn/residual_conv_impl.h"

static const dfoi_map none = {NULL, 0};

/* The context's channels of a map of all inputs.  */
static dfoi_map context(const dfoi_resconv *m, dfoi_map x)
{
    return (dfoi_map){x.x + m->before_context * DFO_PANEL, x.stride};
}

static dfoi_map vectors(const dfoi_resconv *m, dfoi_map gv)
{
    return (dfoi_map){gv.x ? gv.x + m->before_vectors * DFO_PANEL : NULL, gv.stride};
}

static dfoi_map tall(const dfoi_resconv_work *w, size_t i)
{
    return dfoi_map_of(w->tall[i], w->m->settings.hidden);
}

static dfoi_act fused_act(const dfoi_conv_unit *unit)
{
    return dfoi_conv_unit_fused(unit) ? unit->unit.act : DFOI_ACT_NONE;
}

/* g = sigmoid(q), next = s + r g.  */
static void gate(const dfoi_resconv_work *w, const dfoi_resconv_block *b, const dfo_cond *in,
                 dfoi_images images, dfoi_map x, dfoi_map s, dfoi_map r, dfoi_map g, dfoi_map next)
{
    const dfoi_resconv *m = w->m;
    dfoi_area area = dfoi_resconv_area(m, images);
    size_t size = m->settings.hidden * DFO_PANEL;
    dfoi_conv_forward(&b->gate, w->run, images.n, context(m, x), DFOI_ACT_NONE, none, &w->room, g);
    if (m->context.features)
        dfoi_conv_vector_forward(w->net, &m->context, &b->gate_vector, w->run, in, images,
                                 area.plane, w->vector, g);
    for (size_t p = 0; p < area.panels; p++) {
        const struct dfoi_gate v = {
            .s = dfoi_map_panel(s, p), .r = dfoi_map_panel(r, p), .g = dfoi_map_panel(g, p)};
        dfoi_vsigmoid(size, v.g, dfoi_map_panel(g, p));
        DFOI_UNIT_KERN->gate(size, &v, dfoi_map_panel(next, p));
    }
}

static void forward_block(const dfoi_resconv_work *w, const dfo_cond *in, dfoi_images images,
                          dfo_block out, dfo_real *acts)
{
    const dfoi_resconv *m = w->m;
    const dfo_shape *shape = &w->net->shape;
    const dfoi_area area = dfoi_resconv_area(m, images);
    size_t blocks = m->settings.blocks, hidden = m->settings.hidden;
    const dfoi_unit_room first = {.h = w->tall[1]}, second = {.h = w->tall[2], .mask = w->tall[3]};
    dfo_real *end = acts ? acts + dfoi_resconv_kept_at(m, area.panels, blocks, 0) : w->tall[0];
    dfoi_map x = dfoi_map_of(w->wide[0], m->input.channels), s = tall(w, 0),
             last = dfoi_map_of(end, hidden), y = dfoi_map_of(w->out[0], shape->c);
    dfoi_map start = blocks ? s : last;
    dfoi_conv_read(w->net, &m->input, in, images, x);
    dfoi_conv_forward(&m->first, w->run, images.n, x, DFOI_ACT_NONE, none, &w->room, start);
    if (m->input.features)
        dfoi_conv_vector_forward(w->net, &m->input, &m->vector, w->run, in, images, area.plane,
                                 w->vector, start);
    for (size_t k = 0; k < blocks; k++) {
        const dfoi_resconv_block *b = &m->blocks[k];
        dfo_real *kept0 = acts ? acts + dfoi_resconv_kept_at(m, area.panels, k, 0) : NULL;
        dfo_real *kept1 = acts ? acts + dfoi_resconv_kept_at(m, area.panels, k, 1) : NULL;
        dfoi_map next = k + 1 == blocks ? last : s;
        dfoi_map u = dfoi_conv_unit_forward(&b->unit[0], w->run, area, s, 0, &first, kept0);
        dfoi_map v = dfoi_conv_unit_target(&b->unit[1], area, &second, kept1);
        dfoi_conv_forward(&b->conv[0], w->run, images.n, u, fused_act(&b->unit[1]), none, &w->room,
                          v);
        dfoi_map h = dfoi_conv_unit_forward(&b->unit[1], w->run, area, v,
                                            dfoi_conv_unit_fused(&b->unit[1]), &second, kept1);
        if (!b->gate.out) {
            dfoi_conv_forward(&b->conv[1], w->run, images.n, h, DFOI_ACT_NONE, s, &w->room, next);
            continue;
        }
        dfoi_map r = tall(w, 1), g = tall(w, 3);
        if (acts) {
            r = dfoi_map_of(acts + dfoi_resconv_kept_at(m, area.panels, k, 2), 2 * hidden);
            g = (dfoi_map){r.x + hidden * DFO_PANEL, r.stride};
        }
        dfoi_conv_forward(&b->conv[1], w->run, images.n, h, DFOI_ACT_NONE, none, &w->room, r);
        gate(w, b, in, images, x, s, r, g, next);
    }
    dfoi_conv_forward(&m->last, w->run, images.n, last, DFOI_ACT_NONE, none, &w->room, y);
    dfoi_map_to_rows(images, shape->c, shape->h, shape->w, y, 0, 0, out.x, out.ld);
}

dfo_status dfoi_resconv_forward(const dfo_net *net, dfo_run *run, const dfo_cond *in, dfo_block out,
                                dfo_real *acts)
{
    const dfoi_resconv *m = net->state;
    dfoi_resconv_work w;
    DFO_TRY(dfoi_resconv_take(net, run, out.n, &w));
    for (dfoi_images images = {0, 0}; images.first < out.n; images.first += images.n) {
        images = dfoi_resconv_images(m, images.first, out.n);
        forward_block(&w, in, images, out,
                      acts ? acts + dfoi_resconv_acts(net, images.first) : NULL);
    }
    return DFO_OK;
}

/* The gate on the way back: gr of gs; adds the gate's weight gradients and those of the context to
 * gx and gin.  gq: a map to work in.  */
static void gate_backward(const dfoi_resconv_work *w, const dfoi_resconv_block *b,
                          const dfo_cond *in, dfoi_images images, const dfo_real *kept, dfoi_map gs,
                          dfoi_map x, dfoi_map gx, dfoi_map gr, dfoi_map gq, dfoi_map gv)
{
    const dfoi_resconv *m = w->m;
    dfoi_area area = dfoi_resconv_area(m, images);
    size_t size = m->settings.hidden * DFO_PANEL;
    for (size_t p = 0; p < area.panels; p++) {
        const struct dfoi_gate v = {.r = kept + 2 * p * size, .g = kept + (2 * p + 1) * size};
        DFOI_UNIT_KERN->gate_backward(size, &v, dfoi_map_panel(gs, p), dfoi_map_panel(gr, p),
                                      dfoi_map_panel(gq, p));
    }
    dfoi_map gc = gx.x ? context(m, gx) : none;
    dfoi_conv_backward(&b->gate, w->run, images.n, gq, context(m, x), 1, none, gc, &w->room, gc);
    if (m->context.features)
        dfoi_conv_vector_backward(w->net, &m->context, &b->gate_vector, w->run, in, images,
                                  area.plane, w->vector, gq, vectors(m, gv));
}

static void backward_block(const dfoi_resconv_work *w, const dfo_cond *in, dfoi_images images,
                           dfo_block gout, dfo_cond *gin, const dfo_real *acts)
{
    const dfoi_resconv *m = w->m;
    const dfo_shape *shape = &w->net->shape;
    const dfoi_area area = dfoi_resconv_area(m, images);
    size_t hidden = m->settings.hidden, channels = m->input.channels;
    size_t size = area.panels * hidden * DFO_PANEL;
    const dfoi_unit_room work = {.h = w->tall[3], .mask = w->tall[4]};
    dfo_real *end = (dfo_real *)acts + dfoi_resconv_kept_at(m, area.panels, m->settings.blocks, 0);
    dfoi_map g = dfoi_map_of(w->out[0], shape->c), gs = tall(w, 0), gv = tall(w, 1),
             gu = tall(w, 2);
    dfoi_map x = dfoi_map_of(w->wide[0], channels), gx = none;
    dfoi_map gvec = dfoi_conv_vectors_begin(w->net, &m->input, gin, images.n, w->gvector[0]);
    if (dfoi_conv_wanted(w->net, &m->input, gin, 0)) {
        gx = dfoi_map_of(w->wide[1], channels);
        memset(gx.x, 0, area.panels * channels * DFO_PANEL * sizeof *gx.x);
    }
    dfoi_conv_read(w->net, &m->input, in, images, x);
    dfoi_map_from_rows(images, shape->c, shape->h, shape->w, gout.x, gout.ld, 0, g);
    dfoi_conv_backward(&m->last, w->run, images.n, g, dfoi_map_of(end, hidden), 1, none, none,
                       &w->room, gs);
    for (size_t k = m->settings.blocks; k-- > 0;) {
        const dfoi_resconv_block *b = &m->blocks[k];
        const dfo_real *kept0 = acts + dfoi_resconv_kept_at(m, area.panels, k, 0);
        const dfo_real *kept1 = acts + dfoi_resconv_kept_at(m, area.panels, k, 1);
        dfoi_map gr = gs;
        if (b->gate.out) {
            gate_backward(w, b, in, images, acts + dfoi_resconv_kept_at(m, area.panels, k, 2), gs,
                          x, gx, gu, gv, gvec);
            gr = gu;
        }
        dfoi_map h = dfoi_conv_unit_output(&b->unit[1], w->run, area, &work, kept1);
        dfoi_map mask = dfoi_conv_unit_gate(&b->unit[1], w->run, area, kept1, 0);
        dfoi_conv_backward(&b->conv[1], w->run, images.n, gr, h, 1, mask, none, &w->room, gv);
        dfoi_conv_unit_backward(&b->unit[1], w->run, area, &work, mask.x != NULL, kept1, gv);
        dfoi_map u = dfoi_conv_unit_output(&b->unit[0], w->run, area, &work, kept0);
        mask = dfoi_conv_unit_gate(&b->unit[0], w->run, area, kept0, 0);
        if (mask.x && dfoi_conv_unit_fused(&b->unit[0])) {
            dfoi_conv_backward(&b->conv[0], w->run, images.n, gv, u, 1, mask, gs, &w->room, gs);
            continue;
        }
        dfoi_conv_backward(&b->conv[0], w->run, images.n, gv, u, 1, mask, none, &w->room, gu);
        dfoi_conv_unit_backward(&b->unit[0], w->run, area, &work, mask.x != NULL, kept0, gu);
        dfoi_add(size, gu.x, gs.x);
    }
    if (m->input.features)
        dfoi_conv_vector_backward(w->net, &m->input, &m->vector, w->run, in, images, area.plane,
                                  w->vector, gs, gvec);
    dfoi_conv_backward(&m->first, w->run, images.n, gs, x, 1, none, gx, &w->room, gx);
    if (gx.x)
        dfoi_conv_add(w->net, &m->input, gin, images, gx);
    dfoi_conv_vectors_add(w->net, &m->input, gin, images, gvec);
}

dfo_status dfoi_resconv_backward(const dfo_net *net, dfo_run *run, const dfo_cond *in,
                                 dfo_block gout, dfo_cond *gin, const dfo_real *acts)
{
    const dfoi_resconv *m = net->state;
    dfoi_resconv_work w;
    DFO_TRY(dfoi_resconv_take(net, run, gout.n, &w));
    for (dfoi_images images = {0, 0}; images.first < gout.n; images.first += images.n) {
        images = dfoi_resconv_images(m, images.first, gout.n);
        backward_block(&w, in, images, gout, gin, acts + dfoi_resconv_acts(net, images.first));
    }
    return DFO_OK;
}
