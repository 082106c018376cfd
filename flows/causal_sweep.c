/* Passes of a causal convolution over pixels, by anti-diagonals.  With the pixel's own tap and those of its neighbours in
 * one matrix, y = M x, its inverse and both transposes are the same loop: a column holds what stands at the pixel and at
 * its neighbours, and its product with the matrix takes the pixel's place.
 *
 *                      neighbours   diagonals    matrix
 *     y = M x          before       falling      K
 *     x = M^-1 y       before       rising       K00^-1 [1, -K_ij ...]
 *     M^T              behind       rising       K_ij^T
 *     M^-T             behind       falling      K00^-T [1, -K_ij^T ...]
 *
 * A convolution reads neighbours that it has not been to yet, a solve those that it has.  The pixels of a diagonal, of
 * several images side by side, share a product; H + W - 1 diagonals follow each other.  */
#include <string.h>

#include "causal_impl.h"
#include "math/gemm_impl.h"
#include "math/kern_impl.h"

/* Images that go through together and the pixels of each in a panel of columns; and how their diagonals lie: diagonal
 * d of picture row h is (d, c, h, n), so that pixels of a diagonal and their neighbours stand in one piece.  Zeros stand
 * where there is no pixel: `pad` rows before the first of every channel, `wide` diagonals before and after.  */
struct group {
    size_t n, pixels, pad, wide, line, size;           /* line: reals of a diagonal */
};

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t taps_of(const dfo_bijector *bij)
{
    const dfoi_causal *s = bij->state;
    return s->conv.kh * s->conv.kw;
}

static struct group group_of(const dfo_bijector *bij, size_t rows)
{
    const dfoi_causal *s = bij->state;
    dfo_shape shape = bij->shape;
    struct group g = {.n = least(rows, DFO_PANEL), .pad = least(s->conv.kh, shape.h) - 1};
    g.pixels = g.n ? DFO_PANEL / g.n : 0;
    g.wide = g.pad + least(s->conv.kw, shape.w) - 1;
    g.line = shape.c * (g.pad + shape.h) * g.n;
    g.size = dfo_arena_size((shape.h + shape.w - 1 + 2 * g.wide) * g.line + (g.pad + 1) * g.n + DFO_PANEL);
    return g;
}

size_t dfoi_causal_scratch(const dfo_bijector *bij, size_t rows)
{
    size_t c = bij->shape.c, k = taps_of(bij) * c;
    return 2 * group_of(bij, rows).size + (k + c) * DFO_PANEL + dfo_arena_size(dfoi_gemm_grad_scratch(k, 1));
}

/* Where row h of a channel stands on diagonal d; both may be less than 0 by the pads.  */
static size_t spot(const dfo_bijector *bij, const struct group *g, ptrdiff_t d, size_t c, ptrdiff_t h)
{
    return (size_t)(d + (ptrdiff_t)g->wide) * g->line +
           (c * (g->pad + bij->shape.h) + (size_t)(h + (ptrdiff_t)g->pad)) * g->n;
}

/* Pixels of a diagonal: rows first .. last of image rows h, at column d - h.  */
struct diagonal {
    size_t d, first, last;
};

static struct diagonal diagonal_of(dfo_shape shape, size_t d)
{
    struct diagonal g = {d, d < shape.w ? 0 : d - shape.w + 1, d < shape.h ? d : shape.h - 1};
    return g;
}

/* Images of a group to their diagonals, the orientation undone; and back.  */
static void load(const dfo_bijector *bij, const struct group *g, dfo_batch x, dfo_real *v, int store)
{
    const dfoi_causal *s = bij->state;
    dfo_shape shape = bij->shape;
    ptrdiff_t step = s->from_right ? -(ptrdiff_t)g->line : (ptrdiff_t)g->line;
    for (size_t c = 0; c < shape.c; c++)
        for (size_t h = 0; h < shape.h; h++) {
            dfo_real *image = x.x + (c * shape.h + (s->from_bottom ? shape.h - 1 - h : h)) * shape.w;
            dfo_real *at = v + spot(bij, g, (ptrdiff_t)(h + (s->from_right ? shape.w - 1 : 0)), c, (ptrdiff_t)h);
            if (store)
                dfoi_collect(x.n, shape.w, at, step, image, x.ld);
            else
                dfoi_spread(x.n, shape.w, image, x.ld, at, step);
        }
}

/* Zeros around the diagonals: the passes leave them.  */
static void clear(const struct group *g, dfo_real *v)
{
    memset(v, 0, g->size * sizeof *v);
}

/* What a pass works with: columns (taps c, 64), products (c, 64).  */
struct work {
    struct group g;
    dfo_real *in, *out;
};

/* Columns of the pixels from row h of the diagonal on: the pixel, then its neighbours.  Always 64 columns are copied;
 * those that belong to no pixel of the diagonal are numbers that nobody reads.  */
static void gather(const dfo_bijector *bij, const struct work *w, const dfo_real *v, size_t d, size_t h, int behind)
{
    const dfoi_causal *s = bij->state;
    size_t c = bij->shape.c, pitch = (w->g.pad + bij->shape.h) * w->g.n;
    dfo_real *row = w->in;
    for (size_t i = 0; i < s->conv.kh; i++)
        for (size_t j = 0; j < s->conv.kw; j++) {
            if (i >= bij->shape.h || j >= bij->shape.w) {
                memset(row, 0, c * DFO_PANEL * sizeof *row);
                row += c * DFO_PANEL;
                continue;
            }
            ptrdiff_t away = behind ? (ptrdiff_t)(i + j) : -(ptrdiff_t)(i + j), down = behind ? (ptrdiff_t)i : -(ptrdiff_t)i;
            const dfo_real *from = v + spot(bij, &w->g, (ptrdiff_t)d + away, 0, (ptrdiff_t)h + down);
            for (size_t k = 0; k < c; k++, row += DFO_PANEL, from += pitch)
                memcpy(row, from, DFO_PANEL * sizeof *row);
        }
}

/* The pixels' own values between v and the panel `out`.  */
static void own(const dfo_bijector *bij, const struct work *w, dfo_real *v, size_t d, size_t h, size_t pixels, int store)
{
    size_t c = bij->shape.c, pitch = (w->g.pad + bij->shape.h) * w->g.n, size = pixels * w->g.n * sizeof *v;
    dfo_real *at = v + spot(bij, &w->g, (ptrdiff_t)d, 0, (ptrdiff_t)h), *panel = w->out;
    for (size_t k = 0; k < c; k++, at += pitch, panel += DFO_PANEL)
        memcpy(store ? at : panel, store ? panel : at, size);
}

static void sweep(const dfo_bijector *bij, const dfo_run *run, const struct work *w, dfo_real *v, enum dfoi_sweep which)
{
    const dfo_real *matrix = run->derived + (size_t)which * dfoi_causal_matrix(bij);
    int behind = which == DFOI_CONVOLVE_BACK || which == DFOI_SOLVE_BACK;
    int rising = which == DFOI_SOLVE || which == DFOI_CONVOLVE_BACK;
    size_t c = bij->shape.c, k = taps_of(bij) * c, diagonals = bij->shape.h + bij->shape.w - 1;
    for (size_t step = 0; step < diagonals; step++) {
        struct diagonal g = diagonal_of(bij->shape, rising ? step : diagonals - 1 - step);
        for (size_t h = g.first, m; h <= g.last; h += m) {
            m = g.last - h + 1 < w->g.pixels ? g.last - h + 1 : w->g.pixels;
            gather(bij, w, v, g.d, h, behind);
            dfoi_gemm(c, k, matrix, k, w->in, NULL, DFOI_ACT_NONE, NULL, w->out);
            own(bij, w, v, g.d, h, m, 1);
        }
    }
}

/* gk += sign sum over pixels of g (neighbours of x)^T.  */
static void add_taps(const dfo_bijector *bij, const struct work *w, const dfo_real *x, dfo_real *g, dfo_real sign,
                     dfo_real *gk, dfo_real *scratch)
{
    size_t c = bij->shape.c, k = taps_of(bij) * c;
    for (size_t d = 0; d + 1 < bij->shape.h + bij->shape.w; d++) {
        struct diagonal line = diagonal_of(bij->shape, d);
        for (size_t h = line.first, m; h <= line.last; h += m) {
            m = line.last - h + 1 < w->g.pixels ? line.last - h + 1 : w->g.pixels;
            memset(w->out, 0, c * DFO_PANEL * sizeof *w->out);
            gather(bij, w, x, d, h, 0);
            own(bij, w, g, d, h, m, 0);
            dfoi_scale(c * DFO_PANEL, sign, w->out);
            dfoi_gemm_grad(c, k, w->out, w->in, gk, k, NULL, scratch);
        }
    }
}

static struct work take(const dfo_bijector *bij, dfo_run *run)
{
    size_t c = bij->shape.c, k = taps_of(bij) * c;
    struct work w = {.in = dfo_arena_take(run, k * DFO_PANEL), .out = dfo_arena_take(run, c * DFO_PANEL)};
    return w;
}

void dfoi_causal_sweep(const dfo_bijector *bij, dfo_run *run, dfo_batch x, enum dfoi_sweep which)
{
    struct work w = take(bij, run);
    dfo_real *v = dfo_arena_take(run, group_of(bij, x.n).size);
    for (size_t first = 0; first < x.n; first += w.g.n) {
        size_t before = w.g.n;
        w.g = group_of(bij, x.n - first);
        if (w.g.n != before)
            clear(&w.g, v);
        dfo_batch rows = dfo_batch_rows(x, first, w.g.n);
        load(bij, &w.g, rows, v, 0);
        sweep(bij, run, &w, v, which);
        load(bij, &w.g, rows, v, 1);
    }
}

/* The input of M's (or M^-1's) images v and its gradient from theirs, on diagonals.  kept: the input is known.  */
static void back(const dfo_bijector *bij, dfo_run *run, const struct work *w, dfo_real *v, dfo_real *g, int solve, int kept,
                 dfo_real *gk, dfo_real *scratch)
{
    if (solve) {                       /* u = M^-T g; dL/dK = -u x^T with the output x; y = M x */
        sweep(bij, run, w, g, DFOI_SOLVE_BACK);
        if (gk)
            add_taps(bij, w, v, g, -1, gk, scratch);
        if (!kept)
            sweep(bij, run, w, v, DFOI_CONVOLVE);
    } else {                           /* dL/dK = g x^T with the input x */
        if (!kept)
            sweep(bij, run, w, v, DFOI_SOLVE);
        if (gk)
            add_taps(bij, w, v, g, 1, gk, scratch);
        sweep(bij, run, w, g, DFOI_CONVOLVE_BACK);
    }
}

static void restore(dfo_batch x, const dfo_real *kept)
{
    for (size_t i = 0; i < x.n; i++)
        memcpy(dfo_row(x, i), kept + i * x.d, x.d * sizeof *kept);
}

void dfoi_causal_back(const dfo_bijector *bij, dfo_run *run, dfo_batch y, dfo_batch gy, int solve, const dfo_real *kept,
                      dfo_real *gk)
{
    size_t k = taps_of(bij) * bij->shape.c;
    struct work w = take(bij, run);
    dfo_real *v = dfo_arena_take(run, group_of(bij, y.n).size), *g = dfo_arena_take(run, group_of(bij, y.n).size);
    dfo_real *scratch = dfo_arena_take(run, dfoi_gemm_grad_scratch(k, 1));
    for (size_t first = 0; first < y.n; first += w.g.n) {
        size_t before = w.g.n;
        w.g = group_of(bij, y.n - first);
        if (w.g.n != before) {
            clear(&w.g, v);
            clear(&w.g, g);
        }
        dfo_batch rows = dfo_batch_rows(y, first, w.g.n), grows = dfo_batch_rows(gy, first, w.g.n);
        if (kept && !solve)
            restore(rows, kept + first * bij->d);
        load(bij, &w.g, rows, v, 0);
        load(bij, &w.g, grows, g, 0);
        back(bij, run, &w, v, g, solve, kept != NULL, gk, scratch);
        if (kept && solve)
            restore(rows, kept + first * bij->d);
        if (!kept)
            load(bij, &w.g, rows, v, 1);
        load(bij, &w.g, grows, g, 1);
    }
}
