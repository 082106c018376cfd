/* Causal convolutions: what the layer (causal.c) and its passes over pixels (causal_sweep.c) share.  Private to
 * flows.  */
#ifndef DFOI_CAUSAL_IMPL_H
#define DFOI_CAUSAL_IMPL_H

#include "base/real_impl.h"
#include "convolution_impl.h"

typedef struct dfoi_causal {
    struct dfoi_convolution conv;      /* its kernel: (c, kh, kw, c) */
    int     from_right, from_bottom;   /* where the pixels lie that a pixel depends on */
    enum { DFOI_CAUSAL_UNIT, DFOI_CAUSAL_LOG, DFOI_CAUSAL_FULL } diagonal;
    double *sign;                      /* (c) 1 or -1, with DFOI_CAUSAL_LOG */
    size_t  log_diagonal;              /* (c) in the store */
    int     stable;                    /* rows are kept diagonally dominant */
} dfoi_causal;

/* The four passes over an image, each a product of a matrix (c, kh kw c), [first tap, other taps], with columns that hold
 * the pixel and its neighbours: y = M x, x = M^-1 y and the same with the transpose of M.  */
enum dfoi_sweep { DFOI_CONVOLVE, DFOI_SOLVE, DFOI_CONVOLVE_BACK, DFOI_SOLVE_BACK, DFOI_SWEEPS };

/* Reals of one of these matrices.  */
static inline size_t dfoi_causal_matrix(const dfo_bijector *bij)
{
    const dfoi_causal *s = bij->state;
    return dfo_arena_size(bij->shape.c * s->conv.kh * s->conv.kw * bij->shape.c);
}

size_t dfoi_causal_scratch(const dfo_bijector *bij, size_t rows);

/* One pass over all rows, in place.  run->derived begins with the matrices, in the enum's order.  */
void dfoi_causal_sweep(const dfo_bijector *bij, dfo_run *run, dfo_batch x, enum dfoi_sweep which);

/* A pass and the pass back of its gradient.  From the output of M (solve = 0) or M^-1 (1) and its gradient, in place, to
 * the input and its gradient; the gradient with respect to the taps (c, kh kw c) is added to gk (NULL: not wanted).
 * kept: the input (n, d), or NULL: it is computed.  */
void dfoi_causal_back(const dfo_bijector *bij, dfo_run *run, dfo_batch y, dfo_batch gy, int solve, const dfo_real *kept,
                      dfo_real *gk);

#endif
