/* Pixels under the taps of a kernel, gathered into panels for products ("im2col") or summed after
 * them ("col2im"); compiled per instruction set.
 *
 * With stride 1 a tap moves all columns of a panel by the same distance: its row is the end of one
 * panel's row and the beginning of the next one's, vector by vector, and a mask takes away what
 * lies outside of the column's image.  Other strides go by a list of indices.  */
#include <string.h>

#include "math/gemm_impl.h"
#include "math/vec_impl.h"
#include "nn/conv_kern_impl.h"

#define VECTORS (DFO_PANEL / DFOI_VL)
#define NOWHERE (INT32_MIN / 2)

/* Pixels of a panel's columns; y = NOWHERE behind the last image.  */
struct pixels {
    size_t image[DFO_PANEL];
    int32_t y[DFO_PANEL], x[DFO_PANEL];
};

static void locate(const dfoi_taps *g, size_t panel, struct pixels *at)
{
    size_t plane = g->to_h * g->to_w, q = panel * DFO_PANEL;
    size_t image = q / plane, y = q % plane / g->to_w, x = q % g->to_w;
    for (size_t j = 0; j < DFO_PANEL; j++) {
        at->image[j] = image;
        at->y[j] = image < g->images ? (int32_t)y : NOWHERE;
        at->x[j] = (int32_t)x;
        if (++x < g->to_w)
            continue;
        x = 0;
        if (++y < g->to_h)
            continue;
        y = 0;
        image++;
    }
}

/* One tap of stride 1: column j is column first + j of panel a while j < split, then column j -
 * split of panel b.  A panel that is not there is a row of zeros (step 0).  */
struct shift {
    const dfo_real *a, *b;
    size_t a_step, b_step;
    size_t split;
    dfoi_mask mask[DFO_PANEL] __attribute__((aligned(64)));
};

static const dfo_real zeros[DFO_PANEL] __attribute__((aligned(64)));

static const dfo_real *row_of(dfoi_map from, ptrdiff_t panel, ptrdiff_t panels, size_t *step)
{
    int there = panel >= 0 && panel < panels;
    *step = there ? DFO_PANEL : 0;
    return there ? from.x + (size_t)panel * from.stride : zeros;
}

static void find_shift(const dfoi_taps *g, size_t panel, size_t ky, size_t kx,
                       const struct pixels *at, dfoi_map from, struct shift *s)
{
    int32_t h = (int32_t)g->from_h, w = (int32_t)g->from_w;
    int32_t dy = (int32_t)ky - (int32_t)g->pad, dx = (int32_t)kx - (int32_t)g->pad;
    if (g->up) {
        dy = -dy;
        dx = -dx;
    }
    for (size_t j = 0; j < DFO_PANEL; j++) {
        uint32_t y = (uint32_t)(at->y[j] + dy), x = (uint32_t)(at->x[j] + dx);
        s->mask[j] = -(dfoi_mask)((y < (uint32_t)h) & (x < (uint32_t)w));
    }
    ptrdiff_t panels = (ptrdiff_t)((g->images * g->from_h * g->from_w + DFO_PANEL - 1) / DFO_PANEL);
    ptrdiff_t begin = (ptrdiff_t)(panel * DFO_PANEL) + (ptrdiff_t)dy * w + dx;
    ptrdiff_t a = begin >= 0 ? begin / DFO_PANEL : -((DFO_PANEL - 1 - begin) / DFO_PANEL);
    s->split = (size_t)((a + 1) * DFO_PANEL - begin);
    s->a = row_of(from, a, panels, &s->a_step);
    s->b = row_of(from, a + 1, panels, &s->b_step);
}

DFOI_INLINE void put(dfo_real *to, dfoi_vec v, int adding)
{
    if (adding)
        v += dfoi_load(to);
    dfoi_store(to, v);
}

/* The last `over` lanes of `last`, then the first of `first`; pick: their numbers.  */
DFOI_INLINE dfoi_vec joined(dfoi_vec last, dfoi_vec first, size_t over, dfoi_masks pick)
{
#ifdef __clang__ /* it shuffles by constants alone */
    dfo_real both[2 * DFOI_VL] __attribute__((aligned(DFOI_VBYTES)));
    (void)pick;
    dfoi_store(both, last);
    dfoi_store(both + DFOI_VL, first);
    return dfoi_loadu(both + DFOI_VL - over);
#else
    (void)over;
    return __builtin_shuffle(last, first, pick);
#endif
}

/* All channels of one tap; rows of `from` and `to` are given by their steps over channels.  */
DFOI_INLINE void move_shift(const struct shift *s, size_t channels, size_t from_step, dfo_real *to,
                            size_t to_step, int adding)
{
    size_t whole = s->split / DFOI_VL, over = s->split % DFOI_VL;
    size_t a_step = s->a_step * from_step, b_step = s->b_step * from_step;
    const dfo_real *a = s->a + DFO_PANEL - s->split, *b = s->b;
    dfoi_masks pick;
    for (size_t e = 0; e < DFOI_VL; e++)
        pick[e] = (dfoi_mask)(DFOI_VL - over + e);
    for (size_t c = 0; c < channels; c++) {
        const dfoi_mask *mask = s->mask;
        size_t v = 0;
        for (; v < whole; v++)
            put(to + v * DFOI_VL, dfoi_masked(mask + v * DFOI_VL, dfoi_loadu(a + v * DFOI_VL)), adding);
        if (over) {
            dfoi_vec last = dfoi_load(a + s->split - DFOI_VL), first = dfoi_load(b);
            put(to + v * DFOI_VL, dfoi_masked(mask + v * DFOI_VL, joined(last, first, over, pick)), adding);
            v++;
        }
        for (; v < VECTORS; v++)
            put(to + v * DFOI_VL,
                dfoi_masked(mask + v * DFOI_VL, dfoi_loadu(b + v * DFOI_VL - s->split)), adding);
        a += a_step;
        b += b_step;
        to += to_step * DFO_PANEL;
    }
}

/* from = whole + out of `n` for one coordinate, or -1.  */
DFOI_INLINE ptrdiff_t source(const dfoi_taps *g, int32_t to, size_t tap, size_t n)
{
    ptrdiff_t stride = (ptrdiff_t)g->stride, at = to;
    if (to < 0)
        return -1;
    if (!g->up) {
        at = at * stride + (ptrdiff_t)tap - (ptrdiff_t)g->pad;
    } else {
        at += (ptrdiff_t)g->pad - (ptrdiff_t)tap;
        if (at % stride)
            return -1;
        at /= stride;
    }
    return at < (ptrdiff_t)n ? at : -1;
}

static void find_indices(const dfoi_taps *g, size_t ky, size_t kx, const struct pixels *at,
                         dfoi_map from, ptrdiff_t *index)
{
    for (size_t j = 0; j < DFO_PANEL; j++) {
        ptrdiff_t y = source(g, at->y[j], ky, g->from_h), x = source(g, at->x[j], kx, g->from_w);
        index[j] = -1;
        if (y < 0 || x < 0)
            continue;
        size_t q = (at->image[j] * g->from_h + (size_t)y) * g->from_w + (size_t)x;
        index[j] = (ptrdiff_t)(q / DFO_PANEL * from.stride + q % DFO_PANEL);
    }
}

DFOI_INLINE void move_indices(const ptrdiff_t *index, const dfo_real *from, size_t channels,
                              size_t from_step, dfo_real *to, size_t to_step, int adding)
{
    for (size_t c = 0; c < channels; c++) {
        for (size_t j = 0; j < DFO_PANEL; j++) {
            dfo_real v = index[j] < 0 ? 0 : from[index[j]];
            to[j] = adding ? to[j] + v : v;
        }
        from += from_step * DFO_PANEL;
        to += to_step * DFO_PANEL;
    }
}

/* Over all taps.  In a map that is gathered channels follow each other; in one that is summed, all
 * rows of a tap.  */
DFOI_INLINE void over_taps(const dfoi_taps *g, size_t panel, dfoi_tap_rows rows, dfoi_map from,
                           dfo_real *to, int summing)
{
    struct pixels at;
    locate(g, panel, &at);
    for (size_t t = 0; t < g->kernel * g->kernel; t++) {
        size_t ky = t / g->kernel, kx = t % g->kernel, skip = t * rows.by_tap * DFO_PANEL;
        dfoi_map source_map = {from.x + (summing ? skip : 0), from.stride};
        dfo_real *target = to + (summing ? 0 : skip);
        size_t from_step = summing ? rows.by_channel : 1, to_step = summing ? 1 : rows.by_channel;
        if (g->stride == 1) {
            struct shift s;
            find_shift(g, panel, ky, kx, &at, source_map, &s);
            move_shift(&s, rows.channels, from_step, target, to_step, summing);
        } else {
            ptrdiff_t index[DFO_PANEL];
            find_indices(g, ky, kx, &at, from, index);
            move_indices(index, source_map.x, rows.channels, from_step, target, to_step, summing);
        }
    }
}

static void gather(const dfoi_taps *taps, size_t panel, dfoi_tap_rows rows, dfoi_map from,
                   dfo_real *to)
{
    over_taps(taps, panel, rows, from, to, 0);
}

static void gather_sum(const dfoi_taps *taps, size_t panel, dfoi_tap_rows rows, dfoi_map from,
                       const dfo_real *start, dfo_real *to)
{
    for (size_t c = 0; c < rows.channels; c++) {
        dfo_real v = start ? start[c] : 0;
        for (size_t j = 0; j < DFO_PANEL; j++)
            to[c * DFO_PANEL + j] = v;
    }
    over_taps(taps, panel, rows, from, to, 1);
}

static void scale(size_t channels, const dfo_real *by, dfo_real *x)
{
    for (size_t c = 0; c < channels; c++)
        for (size_t j = 0; j < DFO_PANEL; j++)
            x[c * DFO_PANEL + j] *= by[c];
}

static void add_dots(size_t channels, const dfo_real *x, const dfo_real *y, dfo_real *to)
{
    enum { LANES = 8 };
    for (size_t c = 0; c < channels; c++) {
        double sum[LANES] = {0}, total = 0;
        for (size_t j = 0; j < DFO_PANEL; j += LANES)
            for (size_t l = 0; l < LANES; l++)
                sum[l] += (double)x[c * DFO_PANEL + j + l] * (double)y[c * DFO_PANEL + j + l];
        for (size_t l = 0; l < LANES; l++)
            total += sum[l];
        to[c] += (dfo_real)total;
    }
}

const struct dfoi_conv_kernels DFOI_TABLE(dfoi_conv_kernels) = {
    .gather = gather,
    .gather_sum = gather_sum,
    .scale = scale,
    .add_dots = add_dots,
};
