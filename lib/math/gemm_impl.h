/* The nets' own matrix products: weights times a panel of 64 rows, fused with what stands around
 * them.  A panel holds `d` features of DFO_PANEL rows, feature after feature:
 * element (feature j, row i) = panel[j*DFO_PANEL + i].  Panels are 64-byte aligned; weights are row-major
 * with any row stride and alignment, read as they lie: no packed copy is kept anywhere.  Private.
 * Sums run over k in rising order, so a row's bits do not depend on its neighbours.  */
#ifndef DFOI_GEMM_IMPL_H
#define DFOI_GEMM_IMPL_H

#include <stddef.h>
#include "base/real_impl.h"

#define DFO_PANEL 64

/* Activations that are fused or run over panels; derivative taken from the OUTPUT y where that is
 * possible, else from the pre-activation a (see dfoi_act_from_output).  */
typedef enum dfoi_act {
    DFOI_ACT_NONE, DFOI_ACT_RELU, DFOI_ACT_LEAKY_RELU, DFOI_ACT_ELU, DFOI_ACT_GELU, DFOI_ACT_SILU,
    DFOI_ACT_TANH, DFOI_ACT_SOFTPLUS, DFOI_ACT_SIGMOID, DFOI_ACT_COUNT
} dfoi_act;

#define DFOI_LEAK ((dfo_real)0.01) /* leaky relu's slope */

/* Several panels at a time, at most DFOI_PANELS: an operand is an array of pointers to them.  The weights
 * are read once for all, and gradients of weights are added to once.  */
#define DFOI_PANELS 2
static inline size_t dfoi_panels_of(size_t rows)
{
    return (rows + DFO_PANEL - 1) / DFO_PANEL;
}

/* Stairs: with `reach` (m), rising, row r of W sees its first reach[r] <= k inputs alone; its other numbers are not
 * read, and gradients leave them.  NULL: rows see all.
 *
 * Y (m,64) = act(W X + b) [+ residual], W (m,k) with row stride ldw, X (k,64).  b (m) or NULL; residual
 * (m,64) or NULL, may be Y itself.  act: DFOI_ACT_NONE or DFOI_ACT_RELU or DFOI_ACT_LEAKY_RELU (others:
 * dfoi_vact after).  Y must not overlap X.  */
void dfoi_gemm_stairs(size_t m, size_t k, const dfo_real *w, size_t ldw, const size_t *reach, size_t panels,
                      const dfo_real *const *x, const dfo_real *b, dfoi_act act,
                      const dfo_real *const *residual, dfo_real *const *y);

/* Y (m,64) = W X [* (mask > 0)] [+ add].  mask (m,64) or NULL: the relu output whose tangent this is; add
 * (m,64) or NULL, may be Y.  The mask applies to the product before `add` is added.  */
void dfoi_gemm_tangent_stairs(size_t m, size_t k, const dfo_real *w, size_t ldw, const size_t *reach, size_t panels,
                              const dfo_real *const *x, const dfo_real *const *mask,
                              const dfo_real *const *add, dfo_real *const *y);

/* GX (k,64) = W^T GY [* (mask > 0)] [+ add], GY (m,64), W (m,k) as above; mask and add (k,64) or NULL,
 * add may be GX.  scratch: dfoi_gemm_back_scratch(m) reals.  */
#define DFOI_BACK_WIDE 16
static inline size_t dfoi_gemm_back_scratch(size_t m)
{
    return m * DFOI_BACK_WIDE;
}
void dfoi_gemm_back_stairs(size_t m, size_t k, const dfo_real *w, size_t ldw, const size_t *reach, size_t panels,
                           const dfo_real *const *gy, const dfo_real *const *mask,
                           const dfo_real *const *add, dfo_real *const *gx, dfo_real *scratch);

/* GW (m,k) += GY X^T, row stride ldgw; gb (m) += row sums of GY (gb may be NULL).
 * GY (m,64), X (k,64).  scratch: dfoi_gemm_grad_scratch(k, panels) reals, for X transposed in blocks of 32
 * columns.  */
static inline size_t dfoi_gemm_grad_scratch(size_t k, size_t panels)
{
    return (k + 31) / 32 * 32 * DFO_PANEL * panels;
}
void dfoi_gemm_grad_stairs(size_t m, size_t k, const size_t *reach, size_t panels, const dfo_real *const *gy,
                           const dfo_real *const *x, dfo_real *gw, size_t ldgw, dfo_real *gb,
                           dfo_real *scratch);

/* Y (m,64) = W X + b of a panel whose rows are all alike, by one vector of them: the bits that dfoi_gemm gives.  b (m) or NULL.  */
void dfoi_gemm_alike(size_t m, size_t k, const dfo_real *w, size_t ldw, const dfo_real *x, const dfo_real *b, dfo_real *y);

/* The same where rows see all.  */
static inline void dfoi_gemm_panels(size_t m, size_t k, const dfo_real *w, size_t ldw, size_t panels,
                                    const dfo_real *const *x, const dfo_real *b, dfoi_act act,
                                    const dfo_real *const *residual, dfo_real *const *y)
{
    dfoi_gemm_stairs(m, k, w, ldw, NULL, panels, x, b, act, residual, y);
}

static inline void dfoi_gemm_tangent_panels(size_t m, size_t k, const dfo_real *w, size_t ldw, size_t panels,
                                            const dfo_real *const *x, const dfo_real *const *mask,
                                            const dfo_real *const *add, dfo_real *const *y)
{
    dfoi_gemm_tangent_stairs(m, k, w, ldw, NULL, panels, x, mask, add, y);
}

static inline void dfoi_gemm_back_panels(size_t m, size_t k, const dfo_real *w, size_t ldw, size_t panels,
                                         const dfo_real *const *gy, const dfo_real *const *mask,
                                         const dfo_real *const *add, dfo_real *const *gx, dfo_real *scratch)
{
    dfoi_gemm_back_stairs(m, k, w, ldw, NULL, panels, gy, mask, add, gx, scratch);
}

static inline void dfoi_gemm_grad_panels(size_t m, size_t k, size_t panels, const dfo_real *const *gy,
                                         const dfo_real *const *x, dfo_real *gw, size_t ldgw, dfo_real *gb,
                                         dfo_real *scratch)
{
    dfoi_gemm_grad_stairs(m, k, NULL, panels, gy, x, gw, ldgw, gb, scratch);
}

/* And of one panel.  */
static inline void dfoi_gemm(size_t m, size_t k, const dfo_real *w, size_t ldw, const dfo_real *x,
                             const dfo_real *b, dfoi_act act, const dfo_real *residual, dfo_real *y)
{
    dfoi_gemm_panels(m, k, w, ldw, 1, &x, b, act, residual ? &residual : NULL, &y);
}

static inline void dfoi_gemm_tangent(size_t m, size_t k, const dfo_real *w, size_t ldw, const dfo_real *x,
                                     const dfo_real *mask, const dfo_real *add, dfo_real *y)
{
    dfoi_gemm_tangent_panels(m, k, w, ldw, 1, &x, mask ? &mask : NULL, add ? &add : NULL, &y);
}

static inline void dfoi_gemm_back(size_t m, size_t k, const dfo_real *w, size_t ldw, const dfo_real *gy,
                                  const dfo_real *mask, const dfo_real *add, dfo_real *gx, dfo_real *scratch)
{
    dfoi_gemm_back_panels(m, k, w, ldw, 1, &gy, mask ? &mask : NULL, add ? &add : NULL, &gx, scratch);
}

static inline void dfoi_gemm_grad(size_t m, size_t k, const dfo_real *gy, const dfo_real *x, dfo_real *gw,
                                  size_t ldgw, dfo_real *gb, dfo_real *scratch)
{
    dfoi_gemm_grad_panels(m, k, 1, &gy, &x, gw, ldgw, gb, scratch);
}

/* Rows to panel and back.  Row i < n of x has row stride ldx; column index[j] (or first + j where
 * index is NULL) becomes panel row j, j < d.  Columns n..63 of the panel are copies of the last row,
 * or zero where `zero_tail` is set (gradients).  */
void dfoi_to_panel(size_t n, size_t d, const dfo_real *x, size_t ldx, const size_t *index, int zero_tail,
                   dfo_real *panel);
void dfoi_from_panel(size_t n, size_t d, const dfo_real *panel, const size_t *index, dfo_real *x, size_t ldx);
/* The same, adding to x.  */
void dfoi_from_panel_add(size_t n, size_t d, const dfo_real *panel, const size_t *index, dfo_real *x, size_t ldx);

/* Rows side by side, a column at a time: column j < w of row i < n of x (row stride ldx) goes to to[j step + i]; and
 * back from from[j step + i].  step may be negative.  */
void dfoi_spread(size_t n, size_t w, const dfo_real *x, size_t ldx, dfo_real *to, ptrdiff_t step);
void dfoi_collect(size_t n, size_t w, const dfo_real *from, ptrdiff_t step, dfo_real *x, size_t ldx);

#endif
