/* What the passes of a chain of convolutions share: memory, blocks of images, where things are
 * kept, the scale of the last layer.  */
#include <string.h>

#include "base/ctx_impl.h"
#include "math/kern_impl.h"
#include "nn/convnet_impl.h"

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* Reals of the largest map of n images.  */
static size_t widest(const dfoi_convnet *m, size_t n)
{
    size_t most = m->input.channels * dfoi_panels(n, m->input.h, m->input.w);
    for (size_t l = 0; l < m->layers; l++)
        most = larger(most, m->conv[l].out * dfoi_panels(n, m->conv[l].out_h, m->conv[l].out_w));
    return dfo_arena_size(most * DFO_PANEL);
}

static size_t columns(const dfoi_convnet *m, size_t n)
{
    size_t most = 0;
    for (size_t l = 0; l < m->layers; l++)
        most = larger(most, dfoi_conv_columns(&m->conv[l], n));
    return dfo_arena_size(most);
}

static size_t vector_size(const dfoi_convnet *m)
{
    return m->input.features ? dfoi_conv_vector_scratch(&m->vector) : 0;
}

static size_t block_of(const dfoi_convnet *m, size_t rows)
{
    return m->block && rows > m->block ? m->block : rows;
}

size_t dfoi_convnet_scratch(const dfo_net *net, size_t rows)
{
    const dfoi_convnet *m = net->state;
    size_t n = block_of(m, rows);
    return DFOI_CONVNET_MAPS * widest(m, n) + columns(m, n) + m->scratch + vector_size(m) +
           2 * dfoi_conv_vectors_size(&m->input, n) + dfo_arena_size(net->shape.c);
}

dfo_status dfoi_convnet_take(const dfo_net *net, dfo_run *run, size_t rows, dfoi_convnet_work *w)
{
    const dfoi_convnet *m = net->state;
    size_t n = block_of(m, rows), size = widest(m, n);
    dfo_real *at = dfo_arena_take(run, dfoi_convnet_scratch(net, rows));
    if (!at)
        return dfo_run_fail(run, DFO_EMEM, (size_t)-1, "conv net: the arena is too small");
    *w = (dfoi_convnet_work){.net = net, .m = m, .run = run};
    for (size_t i = 0; i < DFOI_CONVNET_MAPS; i++, at += size)
        w->map[i] = at;
    w->room.columns = at;
    w->room.scratch = w->room.columns + columns(m, n);
    w->vector = w->room.scratch + m->scratch;
    w->gvector[0] = w->vector + vector_size(m);
    w->gvector[1] = w->gvector[0] + dfoi_conv_vectors_size(&m->input, n);
    w->scale = w->gvector[1] + dfoi_conv_vectors_size(&m->input, n);
    if (m->settings.last_scale) {
        const dfo_real *s = dfo_run_weights(run, m->log_scale);
        for (size_t c = 0; c < net->shape.c; c++)
            w->scale[c] = 3 * s[c];
        dfoi_vexp(net->shape.c, w->scale, w->scale);
    }
    return DFO_OK;
}

dfoi_images dfoi_convnet_images(const dfoi_convnet *m, size_t first, size_t n)
{
    return (dfoi_images){first, block_of(m, n - first)};
}

size_t dfoi_convnet_kept_at(const dfoi_convnet *m, size_t n, size_t l)
{
    size_t at = 0;
    for (size_t i = 0; i < l; i++)
        if (!m->plain[i])
            at +=
                dfoi_conv_unit_keep(&m->unit[i], dfoi_panels(n, m->conv[i].in_h, m->conv[i].in_w));
    return at;
}

static size_t kept_size(const dfoi_convnet *m, size_t n)
{
    const dfoi_conv *last = &m->conv[m->layers - 1];
    if (!n)
        return 0;
    size_t result = last->out * dfoi_panels(n, last->out_h, last->out_w) * DFO_PANEL;
    return dfoi_convnet_kept_at(m, n, m->layers) + (m->settings.last_scale ? result : 0);
}

size_t dfoi_convnet_acts(const dfo_net *net, size_t rows)
{
    const dfoi_convnet *m = net->state;
    if (!m->block)
        return kept_size(m, rows);
    return rows / m->block * kept_size(m, m->block) + kept_size(m, rows % m->block);
}

dfoi_area dfoi_convnet_area(const dfoi_convnet *m, dfoi_images images, size_t l)
{
    const dfoi_conv *c = &m->conv[l];
    return (dfoi_area){dfoi_panels(images.n, c->in_h, c->in_w), images.n, c->in_h * c->in_w,
                       images.first};
}

size_t dfoi_convnet_plane(const dfoi_convnet *m, size_t l)
{
    return m->conv[l].out_h * m->conv[l].out_w;
}

int dfoi_convnet_fused(const dfoi_convnet *m, size_t l)
{
    return l + 1 < m->layers && dfoi_conv_unit_fused(&m->unit[l + 1]) && (l || !m->input.features);
}

void dfoi_convnet_scale(const dfoi_convnet_work *w, size_t n, dfoi_map x, dfoi_map y)
{
    const dfo_shape *s = &w->net->shape;
    for (size_t p = 0; p < dfoi_panels(n, s->h, s->w); p++) {
        const dfo_real *from = dfoi_map_panel(x, p);
        dfo_real *to = dfoi_map_panel(y, p);
        if (to != from)
            memcpy(to, from, s->c * DFO_PANEL * sizeof *to);
        DFOI_CONV_KERN->scale(s->c, w->scale, to);
    }
}

void dfoi_convnet_dots(const dfoi_convnet_work *w, size_t n, dfoi_map x, dfoi_map y, dfo_real *sums)
{
    const dfo_shape *s = &w->net->shape;
    for (size_t p = 0; p < dfoi_panels(n, s->h, s->w); p++)
        DFOI_CONV_KERN->add_dots(s->c, dfoi_map_panel(x, p), dfoi_map_panel(y, p), sums);
}

size_t dfoi_convnet_statistics(const dfo_net *net)
{
    const dfoi_convnet *m = net->state;
    return m->statistics;
}

dfo_status dfoi_convnet_update(const dfo_net *net, dfo_run *run)
{
    const dfoi_convnet *m = net->state;
    for (size_t l = 0; l < m->layers; l++)
        dfoi_batch_update(&m->unit[l], run);
    return DFO_OK;
}
