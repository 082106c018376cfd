/* Transforms of Winograd's convolutions (winograd_kern_impl.h); compiled per instruction set.  Sums of two or three numbers and
 * halves: no products to fuse.  */
#include <string.h>

#include "math/gemm_impl.h"
#include "math/vec_impl.h"
#include "nn/winograd_kern_impl.h"

#define VECTORS (DFO_PANEL / DFOI_VL)
#define HALF (DFO_PANEL / 2)

/* Even and odd numbers of two vectors, and two vectors' numbers in turn.  */
#if DFOI_VBYTES == 64 && !defined DFO_DOUBLE
#define EVEN 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30
#define ODD 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31
#define LOW 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define HIGH 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#elif DFOI_VBYTES == 64 || (DFOI_VBYTES == 32 && !defined DFO_DOUBLE)
#define EVEN 0, 2, 4, 6, 8, 10, 12, 14
#define ODD 1, 3, 5, 7, 9, 11, 13, 15
#define LOW 0, 8, 1, 9, 2, 10, 3, 11
#define HIGH 4, 12, 5, 13, 6, 14, 7, 15
#elif DFOI_VBYTES == 32 || !defined DFO_DOUBLE
#define EVEN 0, 2, 4, 6
#define ODD 1, 3, 5, 7
#define LOW 0, 4, 1, 5
#define HIGH 2, 6, 3, 7
#else
#define EVEN 0, 2
#define ODD 1, 3
#define LOW 0, 2
#define HIGH 1, 3
#endif

static dfo_real *plane_of(dfoi_tiling g, dfo_real *planes, size_t c, size_t which)
{
    return planes + (4 * c + which) * dfoi_plane_length(g) + dfoi_plane_before(g);
}

/* ---- maps to planes */

/* Columns of a panel that lie in one row of an image: pairs first .. first+n-1 of the panel are tiles tile ... of the planes of odd
 * or even rows.  */
struct run {
    size_t first, n, tile, odd;
};

static size_t find_runs(dfoi_tiling g, size_t panel, struct run *run)
{
    size_t half = g.w / 2, all = 2 * dfoi_tiles(g), n = 0;
    for (size_t first = 0, pair; first < HALF && (pair = panel * HALF + first) < all; first += run[n++].n) {
        size_t row = pair / half, x = pair % half, left = half - x;
        run[n] = (struct run){first, left < HALF - first ? left : HALF - first, row / 2 * half + x, row % 2};
    }
    return n;
}

/* Whole vectors: what stands behind is overwritten later.  */
DFOI_INLINE void copy(size_t n, const dfo_real *from, dfo_real *to)
{
    for (size_t j = 0; j < n; j += DFOI_VL)
        dfoi_storeu(to + j, dfoi_loadu(from + j));
}

static void clear_around(dfoi_tiling g, size_t channels, dfo_real *planes)
{
    size_t before = dfoi_plane_before(g), length = dfoi_plane_length(g), end = before + dfoi_tiles(g);
    for (size_t c = 0; c < 4 * channels; c++) {
        memset(planes + c * length, 0, before * sizeof *planes);
        memset(planes + c * length + end, 0, (length - end) * sizeof *planes);
    }
}

static void split(dfoi_tiling g, size_t channels, dfoi_map from, dfo_real *planes)
{
    size_t panels = (g.images * g.h * g.w + DFO_PANEL - 1) / DFO_PANEL, length = dfoi_plane_length(g);
    for (size_t p = 0; p < panels; p++) {
        struct run run[HALF];
        size_t runs = find_runs(g, p, run);
        const dfo_real *x = from.x + p * from.stride;
        for (size_t c = 0; c < channels; c++, x += DFO_PANEL) {
            dfo_real side[2][HALF + DFOI_VL] __attribute__((aligned(64)));
            dfo_real *plane = plane_of(g, planes, c, 0);
            for (size_t v = 0; v < VECTORS / 2; v++) {
                dfoi_vec a = dfoi_load(x + 2 * v * DFOI_VL), b = dfoi_load(x + (2 * v + 1) * DFOI_VL);
                dfoi_store(side[0] + v * DFOI_VL, __builtin_shufflevector(a, b, EVEN));
                dfoi_store(side[1] + v * DFOI_VL, __builtin_shufflevector(a, b, ODD));
            }
            for (size_t s = 0; s < 2; s++)
                dfoi_store(side[s] + HALF, (dfoi_vec){0});
            for (size_t r = 0; r < runs; r++)
                for (size_t s = 0; s < 2; s++)
                    copy(run[r].n, side[s] + run[r].first, plane + (2 * run[r].odd + s) * length + run[r].tile);
        }
    }
    clear_around(g, channels, planes);
}

/* ---- tiles */

/* Which tiles of a panel have pixels above, below, left and right of them.  */
struct edges {
    dfoi_mask side[4][DFO_PANEL] __attribute__((aligned(64)));
};

static void find_edges(dfoi_tiling g, size_t panel, struct edges *e)
{
    size_t w = g.w / 2, h = g.h / 2, x = panel * DFO_PANEL % w, y = panel * DFO_PANEL / w % h;
    for (size_t j = 0; j < DFO_PANEL; j++) {
        const dfoi_mask there[4] = {-(dfoi_mask)(y > 0), -(dfoi_mask)(y + 1 < h), -(dfoi_mask)(x > 0), -(dfoi_mask)(x + 1 < w)};
        for (size_t s = 0; s < 4; s++)
            e->side[s][j] = there[s];
        if (++x < w)
            continue;
        x = 0;
        y = y + 1 < h ? y + 1 : 0;
    }
}

/* Where the 4x4 pixels of a panel's vector of tiles are found: row and column 0 belong to the neighbour above or left, 3 to that
 * below or right.  */
struct corner {
    const dfo_real *at; /* plane of even rows and columns */
    size_t length, w;
    const struct edges *edges;
    size_t v;
};

DFOI_INLINE dfoi_vec pixel(const struct corner *o, size_t i, size_t j)
{
    size_t plane = (i % 2 ? (size_t)0 : 2) + (j % 2 ? (size_t)0 : 1);
    const dfo_real *x = o->at + plane * o->length + (j == 3 ? 1 : j == 0 ? -1 : 0);
    if (i == 0)
        return dfoi_masked(o->edges->side[0] + o->v, dfoi_loadu(x - o->w));
    if (i == 3)
        return dfoi_masked(o->edges->side[1] + o->v, dfoi_loadu(x + o->w));
    return dfoi_loadu(x);
}

/* Columns of one row of B^T d become those of B^T d B.  */
DFOI_INLINE void across(const struct corner *o, dfoi_vec d[4], size_t step, dfo_real *to)
{
    d[0] = dfoi_masked(o->edges->side[2] + o->v, d[0]);
    d[3] = dfoi_masked(o->edges->side[3] + o->v, d[3]);
    dfoi_store(to, d[0] - d[2]);
    dfoi_store(to + step, d[1] + d[2]);
    dfoi_store(to + 2 * step, d[2] - d[1]);
    dfoi_store(to + 3 * step, d[1] - d[3]);
}

/* Rows 1 and 2 of B^T d need the same pixels; all at once would not fit into the registers.  */
DFOI_INLINE void input_vector(const struct corner *o, size_t step, dfo_real *to)
{
    dfoi_vec a[4], b[4];
#pragma GCC unroll 4
    for (size_t j = 0; j < 4; j++)
        a[j] = pixel(o, 0, j) - pixel(o, 2, j);
    across(o, a, step, to);
#pragma GCC unroll 4
    for (size_t j = 0; j < 4; j++) {
        dfoi_vec one = pixel(o, 1, j), two = pixel(o, 2, j);
        a[j] = one + two;
        b[j] = two - one;
    }
    across(o, a, step, to + 4 * step);
    across(o, b, step, to + 8 * step);
#pragma GCC unroll 4
    for (size_t j = 0; j < 4; j++)
        a[j] = pixel(o, 1, j) - pixel(o, 3, j);
    across(o, a, step, to + 12 * step);
}

static void input(dfoi_tiling g, size_t channels, size_t panel, const dfo_real *planes, dfo_real *to)
{
    struct edges e;
    struct corner o = {.length = dfoi_plane_length(g), .w = g.w / 2, .edges = &e};
    find_edges(g, panel, &e);
    for (size_t c = 0; c < channels; c++)
        for (o.v = 0; o.v < DFO_PANEL; o.v += DFOI_VL) {
            o.at = plane_of(g, (dfo_real *)planes, c, 0) + panel * DFO_PANEL + o.v;
            input_vector(&o, dfoi_place_step(channels), to + c * DFO_PANEL + o.v);
        }
}

/* A applied to two numbers.  */
DFOI_INLINE void widen(dfoi_vec a, dfoi_vec b, dfoi_vec to[4])
{
    to[0] = a;
    to[1] = a + b;
    to[2] = a - b;
    to[3] = -b;
}

static void output_adjoint(dfoi_tiling g, size_t channels, size_t panel, const dfo_real *planes, dfo_real *to)
{
    size_t length = dfoi_plane_length(g), step = dfoi_place_step(channels);
    for (size_t c = 0; c < channels; c++) {
        const dfo_real *at = plane_of(g, (dfo_real *)planes, c, 0) + panel * DFO_PANEL;
        for (size_t v = 0; v < DFO_PANEL; v += DFOI_VL) {
            dfoi_vec left[4], right[4];
            widen(dfoi_loadu(at + v), dfoi_loadu(at + 2 * length + v), left);
            widen(dfoi_loadu(at + length + v), dfoi_loadu(at + 3 * length + v), right);
#pragma GCC unroll 4
            for (size_t i = 0; i < 4; i++) {
                dfoi_vec s[4];
                widen(left[i], right[i], s);
#pragma GCC unroll 4
                for (size_t j = 0; j < 4; j++)
                    dfoi_store(to + (4 * i + j) * step + c * DFO_PANEL + v, s[j]);
            }
        }
    }
}

/* ---- tiles to maps */

/* Two rows of pixels of a channel's panel of tiles, as they lie beside each other in the image.  */
typedef dfo_real pixel_rows[2][2 * DFO_PANEL];

DFOI_INLINE void gather_rows(size_t step, const dfo_real *m, dfo_real b, pixel_rows to)
{
    for (size_t v = 0; v < DFO_PANEL; v += DFOI_VL) {
        dfoi_vec top[4], bottom[4];
#pragma GCC unroll 4
        for (size_t j = 0; j < 4; j++) {
            const dfo_real *at = m + j * step + v;
            dfoi_vec middle = dfoi_load(at + 4 * step), other = dfoi_load(at + 8 * step);
            top[j] = dfoi_load(at) + middle + other;
            bottom[j] = middle - other - dfoi_load(at + 12 * step);
        }
        const dfoi_vec y[2][2] = {{top[0] + top[1] + top[2] + b, top[1] - top[2] - top[3] + b},
                                  {bottom[0] + bottom[1] + bottom[2] + b, bottom[1] - bottom[2] - bottom[3] + b}};
        for (size_t a = 0; a < 2; a++) {
            dfoi_store(to[a] + 2 * v, __builtin_shufflevector(y[a][0], y[a][1], LOW));
            dfoi_store(to[a] + 2 * v + DFOI_VL, __builtin_shufflevector(y[a][0], y[a][1], HIGH));
        }
    }
}

/* Pixels from .. from+n-1 of row a of a panel's pixels go to one panel of a map, at reals `at` (of the map's channel).  */
struct piece {
    size_t a, from, n, panel, column;
};

/* Pieces of a panel: rows of images and panels of the map cut it.  */
#define PIECES (4 * DFO_PANEL)

static size_t find_pieces(dfoi_tiling g, size_t panel, struct piece *piece)
{
    size_t w = g.w / 2, tiles = dfoi_tiles(g), n = 0;
    for (size_t j = 0, t, count; j < DFO_PANEL && (t = panel * DFO_PANEL + j) < tiles; j += count) {
        count = w - t % w < DFO_PANEL - j ? w - t % w : DFO_PANEL - j;
        for (size_t a = 0; a < 2; a++) {
            size_t q = (t / w * 2 + a) * g.w + t % w * 2;
            for (size_t from = 2 * j, left = 2 * count, part; left; from += part, left -= part, q += part) {
                part = DFO_PANEL - q % DFO_PANEL < left ? DFO_PANEL - q % DFO_PANEL : left;
                piece[n++] = (struct piece){a, from, part, q / DFO_PANEL, q % DFO_PANEL};
            }
        }
    }
    return n;
}

DFOI_INLINE void put_piece(size_t n, const dfo_real *restrict from, dfoi_act act, const dfo_real *mask, const dfo_real *add,
                           dfo_real *to)
{
    for (size_t j = 0; j < n; j++) {
        dfo_real y = from[j];
        if (act == DFOI_ACT_RELU)                             /* NaN stays */
            y = y < 0 ? 0 : y;
        if (act == DFOI_ACT_LEAKY_RELU)
            y = y < 0 ? DFOI_LEAK * y : y;
        if (mask)
            y = mask[j] > 0 ? y : 0;
        if (add)
            y += add[j];
        to[j] = y;
    }
}

static const dfo_real *place(dfoi_map map, const struct piece *p, size_t channel)
{
    return map.x ? map.x + p->panel * map.stride + channel * DFO_PANEL + p->column : NULL;
}

static void put_finished(const struct piece *p, const dfo_real *from, size_t channel, const dfoi_finish *finish, dfo_real *to)
{
    const dfo_real *mask = place(finish->mask, p, channel), *add = place(finish->add, p, channel);
    if (finish->act == DFOI_ACT_RELU)
        put_piece(p->n, from, DFOI_ACT_RELU, mask, add, to);
    else if (finish->act == DFOI_ACT_LEAKY_RELU)
        put_piece(p->n, from, DFOI_ACT_LEAKY_RELU, mask, add, to);
    else if (mask)
        put_piece(p->n, from, DFOI_ACT_NONE, mask, add, to);
    else if (add)
        put_piece(p->n, from, DFOI_ACT_NONE, NULL, add, to);
    else
        put_piece(p->n, from, DFOI_ACT_NONE, NULL, NULL, to);
}

/* Columns behind the last pixel become zeros.  */
static void clear_behind(dfoi_tiling g, size_t first, size_t channels, dfoi_map to)
{
    size_t pixels = g.images * g.h * g.w, used = pixels % DFO_PANEL;
    for (size_t c = 0; used && c < channels; c++)
        memset(to.x + pixels / DFO_PANEL * to.stride + (first + c) * DFO_PANEL + used, 0, (DFO_PANEL - used) * sizeof *to.x);
}

static void output(dfoi_tiling g, size_t first, size_t channels, size_t panel, const dfo_real *m, const dfo_real *b,
                   const dfoi_finish *finish, dfoi_map to)
{
    struct piece piece[PIECES];
    size_t pieces = find_pieces(g, panel, piece);
    for (size_t c = 0; c < channels; c++) {
        pixel_rows rows __attribute__((aligned(64)));
        gather_rows(dfoi_place_step(channels), m + c * DFO_PANEL, b ? b[first + c] : 0, rows);
        for (size_t i = 0; i < pieces; i++) {
            const struct piece *p = piece + i;
            put_finished(p, rows[p->a] + p->from, first + c, finish, (dfo_real *)place(to, p, first + c));
        }
    }
    if ((panel + 1) * DFO_PANEL >= dfoi_tiles(g))
        clear_behind(g, first, channels, to);
}

/* ---- weights */

/* n <= DFOI_VL numbers, zeros behind them.  */
DFOI_INLINE dfoi_vec take(const dfo_real *x, size_t n)
{
    dfo_real some[DFOI_VL] __attribute__((aligned(DFOI_VBYTES))) = {0};
    if (n == DFOI_VL)
        return dfoi_loadu(x);
    memcpy(some, x, n * sizeof *x);
    return dfoi_load(some);
}

DFOI_INLINE void give(dfo_real *x, dfoi_vec v, size_t n)
{
    if (n == DFOI_VL)
        dfoi_storeu(x, v);
    else
        memcpy(x, &v, n * sizeof *x);
}

/* G applied to three numbers, and G^T to four.  */
DFOI_INLINE void lengthen(const dfoi_vec g[3], dfoi_vec to[4])
{
    const dfo_real half = (dfo_real)0.5;
    dfoi_vec outer = g[0] + g[2];
    to[0] = g[0];
    to[1] = half * (outer + g[1]);
    to[2] = half * (outer - g[1]);
    to[3] = g[2];
}

DFOI_INLINE void shorten(const dfoi_vec g[4], dfoi_vec to[3])
{
    const dfo_real half = (dfo_real)0.5;
    dfoi_vec middle = half * (g[1] + g[2]);
    to[0] = g[0] + middle;
    to[1] = half * (g[1] - g[2]);
    to[2] = middle + g[3];
}

static void weights(size_t out, size_t in, const dfo_real *w, dfo_real *u)
{
    for (size_t o = 0; o < out; o++)
        for (size_t c = 0, n; c < in; c += n) {
            dfoi_vec column[3][4], row[4][3];
            n = in - c < DFOI_VL ? in - c : DFOI_VL;
#pragma GCC unroll 3
            for (size_t j = 0; j < 3; j++) {
                dfoi_vec g[3];
#pragma GCC unroll 3
                for (size_t i = 0; i < 3; i++)
                    g[i] = take(w + (o * 9 + 3 * i + j) * in + c, n);
                lengthen(g, column[j]);
#pragma GCC unroll 4
                for (size_t i = 0; i < 4; i++)
                    row[i][j] = column[j][i];
            }
#pragma GCC unroll 4
            for (size_t i = 0; i < 4; i++) {
                dfoi_vec place[4];
                lengthen(row[i], place);
#pragma GCC unroll 4
                for (size_t j = 0; j < 4; j++)
                    give(u + (4 * i + j) * dfoi_weight_step(out, in) + o * in + c, place[j], n);
            }
        }
}

static void weights_adjoint(size_t out, size_t in, const dfo_real *gu, dfo_real *gw)
{
    for (size_t o = 0; o < out; o++)
        for (size_t c = 0, n; c < in; c += n) {
            dfoi_vec column[4][3], row[4], g[3];
            n = in - c < DFOI_VL ? in - c : DFOI_VL;
#pragma GCC unroll 4
            for (size_t j = 0; j < 4; j++) {
#pragma GCC unroll 4
                for (size_t i = 0; i < 4; i++)
                    row[i] = take(gu + (4 * i + j) * dfoi_weight_step(out, in) + o * in + c, n);
                shorten(row, column[j]);
            }
#pragma GCC unroll 3
            for (size_t i = 0; i < 3; i++) {
#pragma GCC unroll 4
                for (size_t j = 0; j < 4; j++)
                    row[j] = column[j][i];
                shorten(row, g);
#pragma GCC unroll 3
                for (size_t j = 0; j < 3; j++) {
                    dfo_real *to = gw + (o * 9 + 3 * i + j) * in + c;
                    give(to, take(to, n) + g[j], n);
                }
            }
        }
}

const struct dfoi_winograd_kernels DFOI_TABLE(dfoi_winograd_kernels) = {
    .split = split,
    .input = input,
    .output_adjoint = output_adjoint,
    .output = output,
    .weights = weights,
    .weights_adjoint = weights_adjoint,
};
