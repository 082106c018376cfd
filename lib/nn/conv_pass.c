/* Forward and backward of a chain of convolutions (conv.c).  A block of images goes through all
 * layers before the next one, so that its maps stay in the second cache.  As in dense nets, a layer
 * writes its result where the following unit wants it, activations and relu's masks stand in the
 * products' epilogues, and of each unit dfoi_unit_keep reals a panel are kept.  With last_scale the
 * last layer's result is kept too: the scale's gradient is 3 g out.  */
#include <string.h>

#include "base/ctx_impl.h"
#include "math/kern_impl.h"
#include "nn/convnet_impl.h"

/* Where layer l writes: into what is kept, or a map of its own.  */
static dfoi_map target(const dfoi_convnet *m, dfoi_images images, size_t l,
                       const dfoi_unit_room *room, dfo_real *keep)
{
    dfo_real *kept = keep ? keep + dfoi_convnet_kept_at(m, images.n, l + 1) : NULL;
    if (l + 1 < m->layers)
        return dfoi_conv_unit_target(&m->unit[l + 1], dfoi_convnet_area(m, images, l + 1), room,
                                     kept);
    return dfoi_map_of(kept && m->settings.last_scale ? kept : room->h, m->conv[l].out);
}

static void forward_block(const dfoi_convnet_work *w, const dfo_cond *in, dfoi_images images,
                          dfo_block out, dfo_real *keep)
{
    const dfoi_convnet *m = w->m;
    const dfo_shape *s = &w->net->shape;
    const dfoi_map none = {NULL, 0};
    dfoi_unit_room room = {.h = w->map[1], .mask = w->map[2]};
    dfoi_map x = dfoi_map_of(w->map[0], m->input.channels);
    int done = 0;
    dfoi_conv_read(w->net, &m->input, in, images, x);
    for (size_t l = 0; l < m->layers; l++) {
        if (!m->plain[l])
            x = dfoi_conv_unit_forward(&m->unit[l], w->run, dfoi_convnet_area(m, images, l), x,
                                       done, &room,
                                       keep ? keep + dfoi_convnet_kept_at(m, images.n, l) : NULL);
        if (x.x == room.h)
            room.h = room.h == w->map[1] ? w->map[0] : w->map[1];
        dfoi_map y = target(m, images, l, &room, keep);
        done = dfoi_convnet_fused(m, l);
        dfoi_conv_forward(&m->conv[l], w->run, images.n, x,
                          done ? m->unit[l + 1].unit.act : DFOI_ACT_NONE, none, &w->room, y);
        if (!l && m->input.features)
            dfoi_conv_vector_forward(w->net, &m->input, &m->vector, w->run, in, images,
                                     dfoi_convnet_plane(m, 0), w->vector, y);
        x = y;
    }
    if (m->settings.last_scale) {
        dfoi_convnet_scale(w, images.n, x, dfoi_map_of(w->map[2], s->c));
        x = dfoi_map_of(w->map[2], s->c);
    }
    dfoi_map_to_rows(images, s->c, s->h, s->w, x, 0, 0, out.x, out.ld);
}

dfo_status dfoi_convnet_forward(const dfo_net *net, dfo_run *run, const dfo_cond *in, dfo_block out,
                                dfo_real *acts)
{
    const dfoi_convnet *m = net->state;
    dfoi_convnet_work w;
    DFO_TRY(dfoi_convnet_take(net, run, out.n, &w));
    for (dfoi_images images = {0, 0}; images.first < out.n; images.first += images.n) {
        images = dfoi_convnet_images(m, images.first, out.n);
        forward_block(&w, in, images, out,
                      acts ? acts + dfoi_convnet_acts(net, images.first) : NULL);
    }
    return DFO_OK;
}

/* The output's gradient becomes that of the last layer's result; adds the scale's.  */
static void scale_backward(const dfoi_convnet_work *w, size_t n, dfoi_map result, dfoi_map g)
{
    dfo_real *sums = w->map[1];
    dfoi_convnet_scale(w, n, g, g);
    if (!w->run->grads)
        return;
    memset(sums, 0, w->net->shape.c * sizeof *sums);
    dfoi_convnet_dots(w, n, result, g, sums);
    dfoi_axpy(w->net->shape.c, 3, sums, dfo_run_grads(w->run, w->m->log_scale));
}

static void backward_block(const dfoi_convnet_work *w, const dfo_cond *in, dfoi_images images,
                           dfo_block gout, dfo_cond *gin, const dfo_real *keep)
{
    const dfoi_convnet *m = w->m;
    const dfo_shape *s = &w->net->shape;
    const dfoi_map none = {NULL, 0};
    const dfoi_unit_room room = {.h = w->map[2], .mask = w->map[3]};
    const dfo_real *result = keep + dfoi_convnet_kept_at(m, images.n, m->layers);
    int image = dfoi_conv_wanted(w->net, &m->input, gin, 0);
    dfoi_map g = dfoi_map_of(w->map[0], s->c);
    dfoi_map gv = dfoi_conv_vectors_begin(w->net, &m->input, gin, images.n, w->gvector[0]);
    dfo_real *other = w->map[1];
    dfoi_map_from_rows(images, s->c, s->h, s->w, gout.x, gout.ld, 0, g);
    if (m->settings.last_scale)
        scale_backward(w, images.n, dfoi_map_of((dfo_real *)result, s->c), g);
    for (size_t l = m->layers; l-- > 0;) {
        const dfoi_conv_unit *unit = &m->unit[l];
        const dfo_real *kept = keep + dfoi_convnet_kept_at(m, images.n, l);
        const dfoi_area area = dfoi_convnet_area(m, images, l);
        dfoi_map x = dfoi_map_of(room.h, unit->unit.width), mask = none;
        dfoi_map gx = dfoi_map_of(other, unit->unit.width);
        if (m->plain[l]) {
            dfoi_conv_read(w->net, &m->input, in, images, x);
        } else {
            x = dfoi_conv_unit_output(unit, w->run, area, &room, kept);
            mask = dfoi_conv_unit_gate(unit, w->run, area, kept, 0);
        }
        if (!l && m->input.features)
            dfoi_conv_vector_backward(w->net, &m->input, &m->vector, w->run, in, images,
                                      dfoi_convnet_plane(m, 0), w->vector, g, gv);
        if (m->plain[l] && !image)
            gx = none;
        dfoi_conv_backward(&m->conv[l], w->run, images.n, g, x, 1, mask, none, &w->room, gx);
        if (!m->plain[l])
            dfoi_conv_unit_backward(unit, w->run, area, &room, mask.x != NULL, kept, gx);
        other = g.x;
        g = gx;
    }
    if (image)
        dfoi_conv_add(w->net, &m->input, gin, images, g);
    dfoi_conv_vectors_add(w->net, &m->input, gin, images, gv);
}

dfo_status dfoi_convnet_backward(const dfo_net *net, dfo_run *run, const dfo_cond *in,
                                 dfo_block gout, dfo_cond *gin, const dfo_real *acts)
{
    const dfoi_convnet *m = net->state;
    dfoi_convnet_work w;
    DFO_TRY(dfoi_convnet_take(net, run, gout.n, &w));
    for (dfoi_images images = {0, 0}; images.first < gout.n; images.first += images.n) {
        images = dfoi_convnet_images(m, images.first, gout.n);
        backward_block(&w, in, images, gout, gin, acts + dfoi_convnet_acts(net, images.first));
    }
    return DFO_OK;
}
