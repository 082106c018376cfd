/* A chain of convolutions with tangents, and the reverse of that pass: as conv_pass.c, with pairs
 * (value, tangent) for maps.  out = e^(3 s) y and dout = e^(3 s) dy give 3 (g out + gd dout) for s.
 */
#include <string.h>

#include "base/ctx_impl.h"
#include "math/kern_impl.h"
#include "nn/convnet_impl.h"

static dfoi_map_pair pair(dfo_real *x, dfo_real *dx, size_t channels)
{
    return (dfoi_map_pair){dfoi_map_of(x, channels), dfoi_map_of(dx, channels)};
}

/* The last layer's result and its tangent, in what a block of n images keeps.  */
static dfoi_map_pair result(const dfoi_convnet *m, size_t n, const dfo_real *keep)
{
    const dfoi_conv *last = &m->conv[m->layers - 1];
    dfo_real *at = (dfo_real *)keep + 2 * dfoi_convnet_kept_at(m, n, m->layers);
    return pair(at, at + last->out * dfoi_panels(n, last->out_h, last->out_w) * DFO_PANEL,
                last->out);
}

/* Where layer l writes.  */
static dfoi_map_pair target(const dfoi_convnet *m, dfoi_images images, size_t l,
                            const dfoi_unit_room *room, dfo_real *keep)
{
    if (l + 1 < m->layers)
        return dfoi_conv_unit_jvp_target(&m->unit[l + 1], dfoi_convnet_area(m, images, l + 1), room,
                                         keep ? keep + 2 * dfoi_convnet_kept_at(m, images.n, l + 1)
                                              : NULL);
    return keep && m->settings.last_scale ? result(m, images.n, keep)
                                          : pair(room->h, room->dh, m->conv[l].out);
}

static void jvp_block(const dfoi_convnet_work *w, const dfo_cond *in, const dfo_cond *din,
                      dfoi_images images, dfo_block out, dfo_block dout, dfo_real *keep)
{
    const dfoi_convnet *m = w->m;
    const dfo_shape *s = &w->net->shape;
    const dfoi_map none = {NULL, 0};
    dfoi_unit_room room = {.h = w->map[2], .dh = w->map[3], .mask = w->map[4], .d1 = w->map[5]};
    dfoi_map_pair x = pair(w->map[0], w->map[1], m->input.channels);
    int done = 0;
    dfoi_conv_read(w->net, &m->input, in, images, x.x);
    dfoi_conv_read(w->net, &m->input, din, images, x.dx);
    for (size_t l = 0; l < m->layers; l++) {
        const dfoi_conv *conv = &m->conv[l];
        if (!m->plain[l])
            x = dfoi_conv_unit_jvp(&m->unit[l], w->run, dfoi_convnet_area(m, images, l), x, done,
                                   &room,
                                   keep ? keep + 2 * dfoi_convnet_kept_at(m, images.n, l) : NULL);
        if (x.x.x == room.h) {
            int first = room.h == w->map[0];
            room.h = w->map[first ? 2 : 0];
            room.dh = w->map[first ? 3 : 1];
        }
        dfoi_map_pair y = target(m, images, l, &room, keep);
        done = dfoi_convnet_fused(m, l);
        dfoi_act act = done ? m->unit[l + 1].unit.act : DFOI_ACT_NONE;
        dfoi_conv_forward(conv, w->run, images.n, x.x, act, none, &w->room, y.x);
        dfoi_conv_tangent(conv, w->run, images.n, x.dx, act == DFOI_ACT_RELU ? y.x : none, none,
                          &w->room, y.dx);
        if (!l && m->input.features) {
            size_t plane = dfoi_convnet_plane(m, 0);
            dfoi_conv_vector_forward(w->net, &m->input, &m->vector, w->run, in, images, plane,
                                     w->vector, y.x);
            dfoi_conv_vector_forward(w->net, &m->input, &m->vector, w->run, din, images, plane,
                                     w->vector, y.dx);
        }
        x = y;
    }
    if (m->settings.last_scale) {
        dfoi_map_pair y = pair(w->map[4], w->map[5], s->c);
        dfoi_convnet_scale(w, images.n, x.x, y.x);
        dfoi_convnet_scale(w, images.n, x.dx, y.dx);
        x = y;
    }
    dfoi_map_to_rows(images, s->c, s->h, s->w, x.x, 0, 0, out.x, out.ld);
    dfoi_map_to_rows(images, s->c, s->h, s->w, x.dx, 0, 0, dout.x, dout.ld);
}

dfo_status dfoi_convnet_jvp(const dfo_net *net, dfo_run *run, const dfo_cond *in,
                            const dfo_cond *din, dfo_block out, dfo_block dout, dfo_real *acts)
{
    const dfoi_convnet *m = net->state;
    dfoi_convnet_work w;
    DFO_TRY(dfoi_convnet_take(net, run, out.n, &w));
    for (dfoi_images images = {0, 0}; images.first < out.n; images.first += images.n) {
        images = dfoi_convnet_images(m, images.first, out.n);
        jvp_block(&w, in, din, images, out, dout,
                  acts ? acts + 2 * dfoi_convnet_acts(net, images.first) : NULL);
    }
    return DFO_OK;
}

static void scale_backward(const dfoi_convnet_work *w, size_t n, dfoi_map_pair y, dfoi_map_pair g)
{
    dfo_real *sums = w->map[2];
    dfoi_convnet_scale(w, n, g.x, g.x);
    dfoi_convnet_scale(w, n, g.dx, g.dx);
    if (!w->run->grads)
        return;
    memset(sums, 0, w->net->shape.c * sizeof *sums);
    dfoi_convnet_dots(w, n, y.x, g.x, sums);
    dfoi_convnet_dots(w, n, y.dx, g.dx, sums);
    dfoi_axpy(w->net->shape.c, 3, sums, dfo_run_grads(w->run, w->m->log_scale));
}

static void vector_backward(const dfoi_convnet_work *w, const dfo_cond *in, const dfo_cond *din,
                            dfoi_images images, dfoi_map_pair g, dfo_cond *gin, dfo_cond *gdin)
{
    const dfoi_convnet *m = w->m;
    size_t plane = dfoi_convnet_plane(m, 0);
    dfoi_map gv = dfoi_conv_vectors_begin(w->net, &m->input, gin, images.n, w->gvector[0]);
    dfoi_map gdv = dfoi_conv_vectors_begin(w->net, &m->input, gdin, images.n, w->gvector[1]);
    dfoi_conv_vector_backward(w->net, &m->input, &m->vector, w->run, in, images, plane, w->vector,
                              g.x, gv);
    dfoi_conv_vector_backward(w->net, &m->input, &m->vector, w->run, din, images, plane, w->vector,
                              g.dx, gdv);
    dfoi_conv_vectors_add(w->net, &m->input, gin, images, gv);
    dfoi_conv_vectors_add(w->net, &m->input, gdin, images, gdv);
}

static void jvp_backward_block(const dfoi_convnet_work *w, const dfo_cond *in, const dfo_cond *din,
                               dfoi_images images, dfo_block gout, dfo_block gdout, dfo_cond *gin,
                               dfo_cond *gdin, const dfo_real *keep)
{
    const dfoi_convnet *m = w->m;
    const dfo_shape *s = &w->net->shape;
    const dfoi_map none = {NULL, 0};
    const dfoi_unit_room room = {
        .h = w->map[4], .dh = w->map[5], .mask = w->map[6], .d1 = w->map[4], .d2 = w->map[5]};
    int image = dfoi_conv_wanted(w->net, &m->input, gin, 0);
    int tangent = dfoi_conv_wanted(w->net, &m->input, gdin, 0);
    dfoi_map_pair g = pair(w->map[0], w->map[1], s->c);
    dfo_real *other[2] = {w->map[2], w->map[3]};
    dfoi_map_from_rows(images, s->c, s->h, s->w, gout.x, gout.ld, 0, g.x);
    dfoi_map_from_rows(images, s->c, s->h, s->w, gdout.x, gdout.ld, 0, g.dx);
    if (m->settings.last_scale)
        scale_backward(w, images.n, result(m, images.n, keep), g);
    for (size_t l = m->layers; l-- > 0;) {
        const dfoi_conv_unit *unit = &m->unit[l];
        const dfo_real *kept = keep + 2 * dfoi_convnet_kept_at(m, images.n, l);
        const dfoi_area area = dfoi_convnet_area(m, images, l);
        dfoi_map_pair x = pair(room.h, room.dh, unit->unit.width);
        dfoi_map_pair gx = pair(other[0], other[1], unit->unit.width);
        dfoi_map mask = none;
        if (m->plain[l]) {
            dfoi_conv_read(w->net, &m->input, in, images, x.x);
            dfoi_conv_read(w->net, &m->input, din, images, x.dx);
            gx.x = image ? gx.x : none;
            gx.dx = tangent ? gx.dx : none;
        } else {
            x = dfoi_conv_unit_jvp_output(unit, w->run, area, &room, kept);
            mask = dfoi_conv_unit_gate(unit, w->run, area, kept, 1);
        }
        if (!l && m->input.features)
            vector_backward(w, in, din, images, g, gin, gdin);
        dfoi_conv_backward(&m->conv[l], w->run, images.n, g.x, x.x, 1, mask, none, &w->room, gx.x);
        dfoi_conv_backward(&m->conv[l], w->run, images.n, g.dx, x.dx, 0, mask, none, &w->room,
                           gx.dx);
        if (!m->plain[l])
            dfoi_conv_unit_jvp_backward(unit, w->run, area, &room, mask.x != NULL, kept, gx);
        other[0] = g.x.x;
        other[1] = g.dx.x;
        g = gx;
    }
    if (image)
        dfoi_conv_add(w->net, &m->input, gin, images, g.x);
    if (tangent)
        dfoi_conv_add(w->net, &m->input, gdin, images, g.dx);
}

dfo_status dfoi_convnet_jvp_backward(const dfo_net *net, dfo_run *run, const dfo_cond *in,
                                     const dfo_cond *din, dfo_block gout, dfo_block gdout,
                                     dfo_cond *gin, dfo_cond *gdin, const dfo_real *acts)
{
    const dfoi_convnet *m = net->state;
    dfoi_convnet_work w;
    DFO_TRY(dfoi_convnet_take(net, run, gout.n, &w));
    for (dfoi_images images = {0, 0}; images.first < gout.n; images.first += images.n) {
        images = dfoi_convnet_images(m, images.first, gout.n);
        jvp_backward_block(&w, in, din, images, gout, gdout, gin, gdin,
                           acts + 2 * dfoi_convnet_acts(net, images.first));
    }
    return DFO_OK;
}
