/* The residual network of images with tangents, and the reverse of that pass: residual_conv_pass.c
 * with pairs (value, tangent); formulas of the gate in residual_pass.c.  */
#include <string.h>

#include "base/ctx_impl.h"
#include "math/kern_impl.h"
#include "nn/residual_conv_impl.h"

static const dfoi_map none = {NULL, 0};

static dfoi_map_pair pair(dfo_real *x, dfo_real *dx, size_t channels)
{
    return (dfoi_map_pair){dfoi_map_of(x, channels), dfoi_map_of(dx, channels)};
}

static dfoi_map_pair tall(const dfoi_resconv_work *w, size_t i)
{
    return pair(w->tall[i], w->tall[i + 1], w->m->settings.hidden);
}

static dfoi_map context(const dfoi_resconv *m, dfoi_map x)
{
    return (dfoi_map){x.x ? x.x + m->before_context * DFO_PANEL : NULL, x.stride};
}

/* Map i of four that lie panel by panel beside each other.  */
static dfoi_map quarter(const dfoi_resconv *m, const dfo_real *kept, size_t i)
{
    size_t size = m->settings.hidden * DFO_PANEL;
    return (dfoi_map){(dfo_real *)kept + i * size, 4 * size};
}

static dfoi_map_pair stream_of(const dfoi_resconv_work *w, dfoi_area area, const dfo_real *acts)
{
    size_t size = area.panels * w->m->settings.hidden * DFO_PANEL;
    dfo_real *at =
        (dfo_real *)acts + 2 * dfoi_resconv_kept_at(w->m, area.panels, w->m->settings.blocks, 0);
    return pair(at, at + size, w->m->settings.hidden);
}

/* Value and tangent of a convolution: residual and its tangent are added.  */
static void pair_forward(const dfoi_resconv_work *w, const dfoi_conv *conv, size_t n,
                         dfoi_map_pair x, dfoi_act act, dfoi_map_pair residual, dfoi_map_pair y)
{
    dfoi_conv_forward(conv, w->run, n, x.x, act, residual.x, &w->room, y.x);
    dfoi_conv_tangent(conv, w->run, n, x.dx, act == DFOI_ACT_RELU ? y.x : none, residual.dx,
                      &w->room, y.dx);
}

static void pair_vector(const dfoi_resconv_work *w, const dfoi_conv_input *input,
                        const dfoi_conv_vector *vector, const dfo_cond *in, const dfo_cond *din,
                        dfoi_images images, dfoi_map_pair y)
{
    size_t plane = w->m->input.h * w->m->input.w;
    if (!input->features)
        return;
    dfoi_conv_vector_forward(w->net, input, vector, w->run, in, images, plane, w->vector, y.x);
    dfoi_conv_vector_forward(w->net, input, vector, w->run, din, images, plane, w->vector, y.dx);
}

/* q and dq to g = sigmoid(q) and dq; s and r to next.  */
static void gate_jvp(const dfoi_resconv_work *w, const dfoi_resconv_block *b, const dfo_cond *in,
                     const dfo_cond *din, dfoi_images images, dfoi_map_pair x, dfoi_map_pair s,
                     dfoi_map_pair r, dfoi_map_pair q, dfoi_map_pair next)
{
    const dfoi_resconv *m = w->m;
    const dfoi_map_pair nothing = {none, none};
    dfoi_map_pair c = {context(m, x.x), context(m, x.dx)};
    size_t size = m->settings.hidden * DFO_PANEL, panels = dfoi_resconv_area(m, images).panels;
    pair_forward(w, &b->gate, images.n, c, DFOI_ACT_NONE, nothing, q);
    pair_vector(w, &m->context, &b->gate_vector, in, din, images, q);
    for (size_t p = 0; p < panels; p++) {
        dfo_real *g = dfoi_map_panel(q.x, p);
        const struct dfoi_gate v = {.s = dfoi_map_panel(s.x, p),
                                    .ds = dfoi_map_panel(s.dx, p),
                                    .r = dfoi_map_panel(r.x, p),
                                    .dr = dfoi_map_panel(r.dx, p),
                                    .g = g,
                                    .dq = dfoi_map_panel(q.dx, p)};
        dfoi_vsigmoid(size, g, g);
        DFOI_UNIT_KERN->gate_jvp(size, &v, dfoi_map_panel(next.x, p), dfoi_map_panel(next.dx, p));
    }
}

static void jvp_block(const dfoi_resconv_work *w, const dfo_cond *in, const dfo_cond *din,
                      dfoi_images images, dfo_block out, dfo_block dout, dfo_real *acts)
{
    const dfoi_resconv *m = w->m;
    const dfo_shape *shape = &w->net->shape;
    const dfoi_area area = dfoi_resconv_area(m, images);
    const dfoi_map_pair nothing = {none, none};
    const dfoi_unit_room first = {.h = w->tall[2], .dh = w->tall[3], .d1 = w->tall[4]};
    const dfoi_unit_room second = {
        .h = w->tall[5], .dh = w->tall[6], .d1 = w->tall[7], .mask = w->tall[8]};
    size_t blocks = m->settings.blocks;
    dfoi_map_pair x = pair(w->wide[0], w->wide[1], m->input.channels), s = tall(w, 0);
    dfoi_map_pair last = acts ? stream_of(w, area, acts) : s;
    dfoi_map_pair y = pair(w->out[0], w->out[1], shape->c), start = blocks ? s : last;
    dfoi_conv_read(w->net, &m->input, in, images, x.x);
    dfoi_conv_read(w->net, &m->input, din, images, x.dx);
    pair_forward(w, &m->first, images.n, x, DFOI_ACT_NONE, nothing, start);
    pair_vector(w, &m->input, &m->vector, in, din, images, start);
    for (size_t k = 0; k < blocks; k++) {
        const dfoi_resconv_block *b = &m->blocks[k];
        const dfoi_conv_unit *unit = &b->unit[1];
        dfo_real *kept0 = acts ? acts + 2 * dfoi_resconv_kept_at(m, area.panels, k, 0) : NULL;
        dfo_real *kept1 = acts ? acts + 2 * dfoi_resconv_kept_at(m, area.panels, k, 1) : NULL;
        dfoi_map_pair next = k + 1 == blocks ? last : s;
        dfoi_map_pair u = dfoi_conv_unit_jvp(&b->unit[0], w->run, area, s, 0, &first, kept0);
        dfoi_map_pair v = dfoi_conv_unit_jvp_target(unit, area, &second, kept1);
        int fused = dfoi_conv_unit_fused(unit);
        pair_forward(w, &b->conv[0], images.n, u, fused ? unit->unit.act : DFOI_ACT_NONE, nothing,
                     v);
        dfoi_map_pair h = dfoi_conv_unit_jvp(unit, w->run, area, v, fused, &second, kept1);
        if (!b->gate.out) {
            pair_forward(w, &b->conv[1], images.n, h, DFOI_ACT_NONE, s, next);
            continue;
        }
        dfoi_map_pair r = {tall(w, 2).x, tall(w, 4).x}, q = {tall(w, 3).x, tall(w, 8).dx};
        if (acts) {
            const dfo_real *at = acts + 2 * dfoi_resconv_kept_at(m, area.panels, k, 2);
            r = (dfoi_map_pair){quarter(m, at, 0), quarter(m, at, 2)};
            q = (dfoi_map_pair){quarter(m, at, 1), quarter(m, at, 3)};
        }
        pair_forward(w, &b->conv[1], images.n, h, DFOI_ACT_NONE, nothing, r);
        gate_jvp(w, b, in, din, images, x, s, r, q, next);
    }
    pair_forward(w, &m->last, images.n, last, DFOI_ACT_NONE, nothing, y);
    dfoi_map_to_rows(images, shape->c, shape->h, shape->w, y.x, 0, 0, out.x, out.ld);
    dfoi_map_to_rows(images, shape->c, shape->h, shape->w, y.dx, 0, 0, dout.x, dout.ld);
}

dfo_status dfoi_resconv_jvp(const dfo_net *net, dfo_run *run, const dfo_cond *in,
                            const dfo_cond *din, dfo_block out, dfo_block dout, dfo_real *acts)
{
    const dfoi_resconv *m = net->state;
    dfoi_resconv_work w;
    DFO_TRY(dfoi_resconv_take(net, run, out.n, &w));
    for (dfoi_images images = {0, 0}; images.first < out.n; images.first += images.n) {
        images = dfoi_resconv_images(m, images.first, out.n);
        jvp_block(&w, in, din, images, out, dout,
                  acts ? acts + 2 * dfoi_resconv_acts(net, images.first) : NULL);
    }
    return DFO_OK;
}

/* What a call's gradients go through, and to.  */
struct reverse {
    const dfo_cond *in, *din;
    dfo_cond *gin, *gdin;
    dfoi_images images;
    dfoi_map_pair x, gx, gvec;
};

static void pair_backward(const dfoi_resconv_work *w, const dfoi_conv *conv, size_t n,
                          dfoi_map_pair g, dfoi_map_pair x, dfoi_map mask, dfoi_map_pair add,
                          dfoi_map_pair to)
{
    dfoi_conv_backward(conv, w->run, n, g.x, x.x, 1, mask, add.x, &w->room, to.x);
    dfoi_conv_backward(conv, w->run, n, g.dx, x.dx, 0, mask, add.dx, &w->room, to.dx);
}

/* `before`: features of vectors in front of the input's own.  */
static void vector_backward(const dfoi_resconv_work *w, const dfoi_conv_input *input,
                            const dfoi_conv_vector *vector, const struct reverse *r,
                            dfoi_map_pair g, size_t before)
{
    size_t plane = w->m->input.h * w->m->input.w;
    dfoi_map gv = r->gvec.x, gdv = r->gvec.dx;
    if (!input->features)
        return;
    gv.x = gv.x ? gv.x + before * DFO_PANEL : NULL;
    gdv.x = gdv.x ? gdv.x + before * DFO_PANEL : NULL;
    dfoi_conv_vector_backward(w->net, input, vector, w->run, r->in, r->images, plane, w->vector,
                              g.x, gv);
    dfoi_conv_vector_backward(w->net, input, vector, w->run, r->din, r->images, plane, w->vector,
                              g.dx, gdv);
}

/* gs to gr and gq, of values and tangents.  */
static void gate_backward(const dfoi_resconv_work *w, const dfoi_resconv_block *b,
                          const struct reverse *r, const dfo_real *kept, dfoi_map_pair gs,
                          dfoi_map_pair gr, dfoi_map_pair gq)
{
    const dfoi_resconv *m = w->m;
    size_t size = m->settings.hidden * DFO_PANEL, panels = dfoi_resconv_area(m, r->images).panels;
    for (size_t p = 0; p < panels; p++) {
        const dfo_real *at = kept + 4 * p * size;
        const struct dfoi_gate v = {
            .r = at, .g = at + size, .dr = at + 2 * size, .dq = at + 3 * size};
        DFOI_UNIT_KERN->gate_jvp_backward(
            size, &v, dfoi_map_panel(gs.x, p), dfoi_map_panel(gs.dx, p), dfoi_map_panel(gr.x, p),
            dfoi_map_panel(gr.dx, p), dfoi_map_panel(gq.x, p), dfoi_map_panel(gq.dx, p));
    }
    dfoi_map_pair c = {context(m, r->x.x), context(m, r->x.dx)};
    dfoi_map_pair gc = {context(m, r->gx.x), context(m, r->gx.dx)};
    pair_backward(w, &b->gate, r->images.n, gq, c, none, gc, gc);
    vector_backward(w, &m->context, &b->gate_vector, r, gq, m->before_vectors);
}

static void block_backward(const dfoi_resconv_work *w, size_t k, const struct reverse *reverse,
                           const dfo_real *acts, dfoi_map_pair gs)
{
    const dfoi_resconv *m = w->m;
    const dfoi_resconv_block *b = &m->blocks[k];
    const dfoi_area area = dfoi_resconv_area(m, reverse->images);
    const dfoi_map_pair nothing = {none, none};
    const dfoi_map_pair gv = tall(w, 2), gu = tall(w, 4);
    const dfoi_unit_room work = {
        .h = w->tall[6], .dh = w->tall[7], .mask = w->tall[8], .d1 = w->tall[6], .d2 = w->tall[7]};
    const dfo_real *kept0 = acts + 2 * dfoi_resconv_kept_at(m, area.panels, k, 0);
    const dfo_real *kept1 = acts + 2 * dfoi_resconv_kept_at(m, area.panels, k, 1);
    size_t n = reverse->images.n, size = area.panels * m->settings.hidden * DFO_PANEL;
    dfoi_map_pair gr = gs;
    if (b->gate.out) {
        gate_backward(w, b, reverse, acts + 2 * dfoi_resconv_kept_at(m, area.panels, k, 2), gs, gu,
                      gv);
        gr = gu;
    }
    dfoi_map_pair h = dfoi_conv_unit_jvp_output(&b->unit[1], w->run, area, &work, kept1);
    dfoi_map mask = dfoi_conv_unit_gate(&b->unit[1], w->run, area, kept1, 1);
    pair_backward(w, &b->conv[1], n, gr, h, mask, nothing, gv);
    dfoi_conv_unit_jvp_backward(&b->unit[1], w->run, area, &work, mask.x != NULL, kept1, gv);
    dfoi_map_pair u = dfoi_conv_unit_jvp_output(&b->unit[0], w->run, area, &work, kept0);
    mask = dfoi_conv_unit_gate(&b->unit[0], w->run, area, kept0, 1);
    if (mask.x && dfoi_conv_unit_fused(&b->unit[0])) {
        pair_backward(w, &b->conv[0], n, gv, u, mask, gs, gs);
        return;
    }
    pair_backward(w, &b->conv[0], n, gv, u, mask, nothing, gu);
    dfoi_conv_unit_jvp_backward(&b->unit[0], w->run, area, &work, mask.x != NULL, kept0, gu);
    dfoi_add(size, gu.x.x, gs.x.x);
    dfoi_add(size, gu.dx.x, gs.dx.x);
}

static dfoi_map wanted(const dfoi_resconv_work *w, dfoi_area area, const dfo_cond *to, dfo_real *at)
{
    const dfoi_resconv *m = w->m;
    if (!dfoi_conv_wanted(w->net, &m->input, to, 0))
        return none;
    memset(at, 0, area.panels * m->input.channels * DFO_PANEL * sizeof *at);
    return dfoi_map_of(at, m->input.channels);
}

static void jvp_backward_block(const dfoi_resconv_work *w, struct reverse *r, dfo_block gout,
                               dfo_block gdout, const dfo_real *acts)
{
    const dfoi_resconv *m = w->m;
    const dfo_shape *shape = &w->net->shape;
    const dfoi_area area = dfoi_resconv_area(m, r->images);
    const dfoi_map_pair nothing = {none, none}, gs = tall(w, 0);
    dfoi_map_pair g = pair(w->out[0], w->out[1], shape->c);
    r->x = pair(w->wide[0], w->wide[1], m->input.channels);
    r->gx.x = wanted(w, area, r->gin, w->wide[2]);
    r->gx.dx = wanted(w, area, r->gdin, w->wide[3]);
    r->gvec.x = dfoi_conv_vectors_begin(w->net, &m->input, r->gin, r->images.n, w->gvector[0]);
    r->gvec.dx = dfoi_conv_vectors_begin(w->net, &m->input, r->gdin, r->images.n, w->gvector[1]);
    dfoi_conv_read(w->net, &m->input, r->in, r->images, r->x.x);
    dfoi_conv_read(w->net, &m->input, r->din, r->images, r->x.dx);
    dfoi_map_from_rows(r->images, shape->c, shape->h, shape->w, gout.x, gout.ld, 0, g.x);
    dfoi_map_from_rows(r->images, shape->c, shape->h, shape->w, gdout.x, gdout.ld, 0, g.dx);
    pair_backward(w, &m->last, r->images.n, g, stream_of(w, area, acts), none, nothing, gs);
    for (size_t k = m->settings.blocks; k-- > 0;)
        block_backward(w, k, r, acts, gs);
    vector_backward(w, &m->input, &m->vector, r, gs, 0);
    pair_backward(w, &m->first, r->images.n, gs, r->x, none, r->gx, r->gx);
    if (r->gx.x.x)
        dfoi_conv_add(w->net, &m->input, r->gin, r->images, r->gx.x);
    if (r->gx.dx.x)
        dfoi_conv_add(w->net, &m->input, r->gdin, r->images, r->gx.dx);
    dfoi_conv_vectors_add(w->net, &m->input, r->gin, r->images, r->gvec.x);
    dfoi_conv_vectors_add(w->net, &m->input, r->gdin, r->images, r->gvec.dx);
}

dfo_status dfoi_resconv_jvp_backward(const dfo_net *net, dfo_run *run, const dfo_cond *in,
                                     const dfo_cond *din, dfo_block gout, dfo_block gdout,
                                     dfo_cond *gin, dfo_cond *gdin, const dfo_real *acts)
{
    const dfoi_resconv *m = net->state;
    dfoi_resconv_work w;
    struct reverse r = {.in = in, .din = din, .gin = gin, .gdin = gdin};
    DFO_TRY(dfoi_resconv_take(net, run, gout.n, &w));
    for (; r.images.first < gout.n; r.images.first += r.images.n) {
        r.images = dfoi_resconv_images(m, r.images.first, gout.n);
        jvp_backward_block(&w, &r, gout, gdout, acts + 2 * dfoi_resconv_acts(net, r.images.first));
    }
    return DFO_OK;
}
