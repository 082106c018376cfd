/* What the passes of a U-net share: memory, blocks of images, what stands in front of a convolution, the embedding.  */
#include <string.h>

#include "base/ctx_impl.h"
#include "math/kern_impl.h"
#include "nn/unet_impl.h"

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

static size_t panels_of(const dfoi_unet *m, size_t n, size_t level)
{
    return dfoi_panels(n, m->input.h >> level, m->input.w >> level);
}

static size_t map_size(const dfoi_unet *m, const dfoi_unet_map *map, size_t n)
{
    return map->channels * panels_of(m, n, map->level) * DFO_PANEL;
}

static size_t block_of(const dfoi_unet *m, size_t rows)
{
    return rows > m->block ? m->block : rows;
}

/* Reals of all homes, of n images; of a map in front of a convolution, and a panel of it; of columns of taps.  */
static size_t homes_size(const dfoi_unet *m, size_t n)
{
    size_t size = 0;
    for (size_t h = 0; h < m->homes; h++)
        size += map_size(m, &m->home[h], n);
    return size;
}

static size_t front_size(const dfoi_unet *m, size_t n)
{
    size_t most = 0;
    for (size_t i = 0; i < m->ops; i++)
        if (m->op[i].unit)
            most = larger(most, map_size(m, &m->map[m->op[i].from.map], n));
    return most;
}

static size_t widest_panel(const dfoi_unet *m)
{
    size_t most = 0;
    for (size_t i = 0; i < m->ops; i++)
        most = larger(most, m->op[i].conv.in);
    return most * DFO_PANEL;
}

static size_t columns_size(const dfoi_unet *m, size_t n)
{
    size_t most = 0;
    for (size_t i = 0; i < m->ops; i++)
        if (!m->op[i].attend)
            most = larger(most, dfoi_conv_columns(&m->op[i].conv, n));
    return dfo_arena_size(most);
}

static size_t q_size(const dfoi_unet *m, size_t rows)
{
    return m->embedded * dfoi_panels_of(rows) * DFO_PANEL;
}

size_t dfoi_unet_scratch(const dfo_net *net, size_t rows)
{
    const dfoi_unet *m = net->state;
    size_t n = block_of(m, rows);
    return 2 * homes_size(m, n) + 2 * map_size(m, &m->map[m->maps - 1], n) + DFOI_UNET_WORK * front_size(m, n) +
           2 * widest_panel(m) + dfo_arena_size(m->statistics * n) + columns_size(m, n) + m->products + 2 * q_size(m, rows) +
           2 * dfoi_embed_keep(&m->embed) + dfo_arena_size(dfoi_embed_scratch(&m->embed));
}

static dfo_real *part(dfo_real **at, size_t size)
{
    dfo_real *x = *at;
    *at += size;
    return x;
}

dfo_status dfoi_unet_take(const dfo_net *net, dfo_run *run, size_t rows, dfoi_unet_work *w)
{
    const dfoi_unet *m = net->state;
    size_t n = block_of(m, rows);
    dfo_real *at = dfo_arena_take(run, dfoi_unet_scratch(net, rows));
    if (!at)
        return dfo_run_fail(run, DFO_EMEM, (size_t)-1, "unet net: the arena is too small");
    w->net = net;
    w->m = m;
    w->run = run;
    w->images = (dfoi_images){0, 0};
    for (size_t i = 0; i < 2; i++) {
        w->home[i] = part(&at, homes_size(m, n));
        w->out[i] = part(&at, map_size(m, &m->map[m->maps - 1], n));
        w->derivative[i] = part(&at, widest_panel(m));
    }
    for (size_t i = 0; i < DFOI_UNET_WORK; i++)
        w->work[i] = part(&at, front_size(m, n));
    w->own_statistics = part(&at, dfo_arena_size(m->statistics * n));
    w->room.columns = part(&at, columns_size(m, n));
    w->room.scratch = part(&at, m->products);
    w->q = part(&at, q_size(m, rows));
    w->dq = part(&at, q_size(m, rows));
    w->own_embed = part(&at, 2 * dfoi_embed_keep(&m->embed));
    w->embed = at;
    return DFO_OK;
}

/* Kept of a block of n images: all maps but the output, then the norms' statistics.  */
static size_t kept_maps(const dfoi_unet *m, size_t n)
{
    size_t size = 0;
    for (size_t i = 0; i + 1 < m->maps; i++)
        size += map_size(m, &m->map[i], n);
    return size;
}

static size_t kept_size(const dfoi_unet *m, size_t n)
{
    return n ? kept_maps(m, n) + dfo_arena_size(m->statistics * n) : 0;
}

/* What the embedding keeps of all rows comes first, then blocks of images.  */
static size_t kept_embed(const dfoi_unet *m, size_t rows)
{
    return dfoi_panels_of(rows) * dfoi_embed_keep(&m->embed);
}

size_t dfoi_unet_acts(const dfo_net *net, size_t rows)
{
    const dfoi_unet *m = net->state;
    return kept_embed(m, rows) + rows / m->block * kept_size(m, m->block) + kept_size(m, rows % m->block);
}

static void keep_maps(const dfoi_unet *m, size_t n, const dfo_real *at, dfo_real **maps)
{
    for (size_t i = 0; i + 1 < m->maps; i++) {
        maps[i] = (dfo_real *)at;
        at += map_size(m, &m->map[i], n);
    }
}

static void house_maps(const dfoi_unet *m, size_t n, dfo_real *at, dfo_real **maps)
{
    dfo_real *home[DFOI_UNET_OPS];
    for (size_t h = 0; h < m->homes; h++)
        home[h] = part(&at, map_size(m, &m->home[h], n));
    for (size_t i = 0; i + 1 < m->maps; i++)
        maps[i] = home[m->map[i].home];
}

int dfoi_unet_next(dfoi_unet_work *w, size_t rows, const dfo_real *acts, size_t times)
{
    const dfoi_unet *m = w->m;
    size_t last = m->maps - 1, first = w->images.first + w->images.n;
    if (first == rows)
        return 0;
    size_t n = block_of(m, rows - first);
    w->images = (dfoi_images){first, n};
    house_maps(m, n, w->home[0], w->g);
    house_maps(m, n, w->home[1], w->gd);
    w->x[last] = w->g[last] = w->out[0];
    w->dx[last] = w->gd[last] = w->out[1];
    w->statistics = w->own_statistics;
    if (!acts) {
        memcpy(w->x, w->g, last * sizeof *w->x);
        memcpy(w->dx, w->gd, last * sizeof *w->dx);
        return 1;
    }
    acts += times * (kept_embed(m, rows) + first / m->block * kept_size(m, m->block));
    keep_maps(m, n, acts, w->x);
    if (times > 1)
        keep_maps(m, n, acts + kept_size(m, n), w->dx);
    w->statistics = (dfo_real *)acts + kept_maps(m, n);
    return 1;
}

dfoi_map dfoi_unet_at(const dfoi_unet *m, dfo_real *const *maps, dfoi_unet_place place)
{
    dfoi_map map = dfoi_map_of(maps[place.map], m->map[place.map].channels);
    map.x += place.first * DFO_PANEL;
    return map;
}

dfoi_area dfoi_unet_area(const dfoi_unet *m, dfoi_images images, size_t level)
{
    return (dfoi_area){panels_of(m, images.n, level), images.n, (m->input.h >> level) * (m->input.w >> level), images.first};
}

size_t dfoi_unet_panel(const dfoi_unet_op *op)
{
    return op->conv.in * DFO_PANEL;
}

dfoi_map dfoi_unet_front(const dfoi_unet_work *w, const dfoi_unet_op *op, dfoi_map *a)
{
    const dfoi_area area = dfoi_unet_area(w->m, w->images, w->m->map[op->from.map].level);
    dfoi_map y = dfoi_map_of(w->work[DFOI_UNET_Y], op->conv.in);
    *a = dfoi_unet_at(w->m, w->x, op->from);
    if (!op->unit)
        return *a;
    if (op->norm.groups) {
        dfoi_map to = dfoi_map_of(w->work[DFOI_UNET_A], op->conv.in);
        dfoi_group_apply(&op->norm, w->run, area, *a, w->statistics + op->statistics * w->images.n, to);
        *a = to;
    }
    for (size_t p = 0; p < area.panels; p++)
        dfoi_vact(op->act, dfoi_unet_panel(op), dfoi_map_panel(*a, p), dfoi_map_panel(y, p));
    return y;
}

/* Images of the block whose embeddings lie in one panel: which of the block, how many, their first one's q.  */
struct some {
    size_t first, n, at;
};

static struct some some_of(const dfoi_unet_work *w, const dfoi_unet_op *op, size_t first)
{
    size_t image = w->images.first + first, left = w->images.n - first, fit = DFO_PANEL - image % DFO_PANEL;
    return (struct some){first, left < fit ? left : fit,
                         (image / DFO_PANEL * w->m->embedded + op->embed) * DFO_PANEL + image % DFO_PANEL};
}

void dfoi_unet_add_embedding(const dfoi_unet_work *w, const dfoi_unet_op *op, const dfo_real *q, dfoi_map to)
{
    const dfoi_conv *conv = &op->conv;
    struct some s;
    for (size_t first = 0; op->embedded && first < w->images.n; first += s.n) {
        s = some_of(w, op, first);
        dfoi_map_add_images(w->images.n, s.first, s.n, conv->out_h * conv->out_w, conv->out, q + s.at, to);
    }
}

void dfoi_unet_sum_embedding(const dfoi_unet_work *w, const dfoi_unet_op *op, dfoi_map g, dfo_real *gq)
{
    size_t plane = op->conv.out_h * op->conv.out_w;
    for (size_t i = 0; op->embedded && i < w->images.n; i++) {
        dfo_real *to = gq + some_of(w, op, i).at;
        for (size_t c = 0; c < op->conv.out; c++) {
            double sum, unused;
            DFOI_GROUP_KERN->sums((dfoi_strip){i * plane, plane}, c, g, g, 0, &sum, &unused);
            to[c * DFO_PANEL] = (dfo_real)sum;
        }
    }
}

void dfoi_unet_begin_gradients(const dfoi_unet_work *w, size_t i, dfo_real *const *maps)
{
    const dfoi_unet_op *op = &w->m->op[i];
    const size_t read[2] = {op->from.map, op->residual.map};
    for (size_t k = 0; k < (read[0] == read[1] ? 1 : 2); k++) {
        const dfoi_unet_map *map = &w->m->map[read[k]];
        if (map->last == i)
            memset(maps[read[k]], 0, map_size(w->m, map, w->images.n) * sizeof *maps[0]);
    }
}

void dfoi_unet_add(dfoi_area area, size_t channels, dfoi_map x, dfoi_map to)
{
    for (size_t p = 0; p < area.panels; p++)
        dfoi_add(channels * DFO_PANEL, dfoi_map_panel(x, p), dfoi_map_panel(to, p));
}
