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

/* Images that go through together, and the pixels of each in a panel of columns.  */
struct group {
    size_t n, pixels;
};

static struct group group_of(size_t rows)
{
    struct group g = {.n = rows < DFO_PANEL ? rows : DFO_PANEL};
    g.pixels = g.n ? DFO_PANEL / g.n : 0;
    return g;
}

static size_t taps_of(const dfo_bijector *bij)
{
    const dfoi_causal *s = bij->state;
    return s->kh * s->kw;
}

size_t dfoi_causal_scratch(const dfo_bijector *bij, size_t rows)
{
    size_t c = bij->shape.c, k = taps_of(bij) * c;
    return 2 * dfo_arena_size(bij->d * group_of(rows).n) + (k + c) * DFO_PANEL + dfo_arena_size(dfoi_gemm_grad_scratch(k, 1));
}

/* Images of a group, (h, w, c, n), the orientation undone; and back.  */
static void load(const dfo_bijector *bij, dfo_batch x, dfo_real *to, int store)
{
    const dfoi_causal *s = bij->state;
    dfo_shape shape = bij->shape;
    for (size_t h = 0; h < shape.h; h++)
        for (size_t w = 0; w < shape.w; w++) {
            size_t y = s->from_bottom ? shape.h - 1 - h : h, at = s->from_right ? shape.w - 1 - w : w;
            for (size_t c = 0; c < shape.c; c++, to += x.n)
                for (size_t i = 0; i < x.n; i++) {
                    dfo_real *p = dfo_row(x, i) + (c * shape.h + y) * shape.w + at;
                    if (store)
                        *p = to[i];
                    else
                        to[i] = *p;
                }
        }
}

/* What a pass works with: `n` images in v, columns (taps c, 64), products (c, 64).  */
struct work {
    struct group g;
    dfo_real *in, *out;
};

/* Pixels of a diagonal: rows first .. last of image rows h, at column d - h.  */
struct diagonal {
    size_t d, first, last;
};

static struct diagonal diagonal_of(dfo_shape shape, size_t d)
{
    struct diagonal g = {d, d < shape.w ? 0 : d - shape.w + 1, d < shape.h ? d : shape.h - 1};
    return g;
}

/* Columns of `pixels` pixels from row h of the diagonal on: the pixel, then its neighbours, zero outside.  */
static void gather(const dfo_bijector *bij, const struct work *w, const dfo_real *v, size_t d, size_t h, size_t pixels,
                   int behind)
{
    const dfoi_causal *s = bij->state;
    size_t c = bij->shape.c, n = w->g.n;
    dfo_real *row = w->in;
    for (size_t i = 0; i < s->kh; i++)
        for (size_t j = 0; j < s->kw; j++, row += c * DFO_PANEL)
            for (size_t p = 0; p < pixels; p++) {
                size_t y = h + p, x = d - y;
                int inside = behind ? y + i < bij->shape.h && x + j < bij->shape.w : y >= i && x >= j;
                const dfo_real *from = v;
                if (inside)
                    from += (behind ? (y + i) * bij->shape.w + x + j : (y - i) * bij->shape.w + x - j) * c * n;
                for (size_t k = 0; k < c; k++)
                    if (inside)
                        memcpy(row + k * DFO_PANEL + p * n, from + k * n, n * sizeof *row);
                    else
                        memset(row + k * DFO_PANEL + p * n, 0, n * sizeof *row);
            }
}

/* The pixels' own values between v and the panel `out`.  */
static void own(const dfo_bijector *bij, const struct work *w, dfo_real *v, size_t d, size_t h, size_t pixels, int store)
{
    size_t c = bij->shape.c, n = w->g.n;
    for (size_t p = 0; p < pixels; p++) {
        dfo_real *at = v + ((h + p) * bij->shape.w + d - h - p) * c * n;
        for (size_t k = 0; k < c; k++) {
            dfo_real *panel = w->out + k * DFO_PANEL + p * n;
            memcpy(store ? at + k * n : panel, store ? panel : at + k * n, n * sizeof *panel);
        }
    }
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
            gather(bij, w, v, g.d, h, m, behind);
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
            gather(bij, w, x, d, h, m, 0);
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
    memset(w.in, 0, k * DFO_PANEL * sizeof *w.in);     /* columns that stay unused are numbers */
    return w;
}

void dfoi_causal_sweep(const dfo_bijector *bij, dfo_run *run, dfo_batch x, enum dfoi_sweep which)
{
    struct work w = take(bij, run);
    dfo_real *v = dfo_arena_take(run, bij->d * group_of(x.n).n);
    for (size_t first = 0; first < x.n; first += w.g.n) {
        w.g = group_of(x.n - first);
        dfo_batch rows = dfo_batch_rows(x, first, w.g.n);
        load(bij, rows, v, 0);
        sweep(bij, run, &w, v, which);
        load(bij, rows, v, 1);
    }
}

void dfoi_causal_back(const dfo_bijector *bij, dfo_run *run, dfo_batch y, dfo_batch gy, int solve, dfo_real *gk)
{
    size_t k = taps_of(bij) * bij->shape.c;
    struct work w = take(bij, run);
    dfo_real *v = dfo_arena_take(run, bij->d * group_of(y.n).n), *g = dfo_arena_take(run, bij->d * group_of(y.n).n);
    dfo_real *scratch = dfo_arena_take(run, dfoi_gemm_grad_scratch(k, 1));
    for (size_t first = 0; first < y.n; first += w.g.n) {
        w.g = group_of(y.n - first);
        dfo_batch rows = dfo_batch_rows(y, first, w.g.n), grows = dfo_batch_rows(gy, first, w.g.n);
        load(bij, rows, v, 0);
        load(bij, grows, g, 0);
        if (solve) {                   /* u = M^-T g; dL/dK = -u x^T with the output x; y = M x */
            sweep(bij, run, &w, g, DFOI_SOLVE_BACK);
            if (gk)
                add_taps(bij, &w, v, g, -1, gk, scratch);
            sweep(bij, run, &w, v, DFOI_CONVOLVE);
        } else {                       /* dL/dK = g x^T with the input x */
            sweep(bij, run, &w, v, DFOI_SOLVE);
            if (gk)
                add_taps(bij, &w, v, g, 1, gk, scratch);
            sweep(bij, run, &w, g, DFOI_CONVOLVE_BACK);
        }
        load(bij, rows, v, 1);
        load(bij, grows, g, 1);
    }
}
