/* What the layers share that multiply each row, or the channels of each pixel, by a square matrix:
 * z = W x + b.  Such a layer computes W and W^-1 in prepare (double, in the mix's own corner of
 * derived data) and turns the gradient with respect to W into its weights' in pullback.  Private to
 * flows.  */
#ifndef DFOI_MIX_IMPL_H
#define DFOI_MIX_IMPL_H

#include "base/real_impl.h"
#include "layer_impl.h"

/* Begins the state of such a layer.  */
struct dfoi_mix {
    size_t c;                          /* channels */
    int    bias;
    size_t bias_at;                    /* (c) in the store, where bias is set */
};

size_t dfoi_mix_scratch(const dfo_bijector *bij, size_t rows);
size_t dfoi_mix_derived(const dfo_bijector *bij);

/* gderived: the gradient with respect to W (c, c), then sum of glogdet times pixels.  */
size_t dfoi_mix_gderived(const dfo_bijector *bij);

/* W and W^-1 (c, c) each, in double, within derived data: prepare fills both, then calls finish.
 * Then W's place holds it rounded; W^-1 is still there when pullback comes.  */
double *dfoi_mix_matrix(const dfo_bijector *bij, dfo_real *derived);
double *dfoi_mix_inverse_matrix(const dfo_bijector *bij, dfo_real *derived);
dfo_status dfoi_mix_finish(const dfo_bijector *bij, dfo_run *run, dfo_real *derived, double logdet);

dfo_status dfoi_mix_forward(const dfo_bijector *bij, dfo_run *run, dfo_batch x,
                            const dfo_cond *cond, double *logdet);
dfo_status dfoi_mix_inverse(const dfo_bijector *bij, dfo_run *run, dfo_batch z,
                            const dfo_cond *cond, double *logdet);
dfo_status dfoi_mix_backward(const dfo_bijector *bij, dfo_run *run, dfo_batch z, dfo_batch gz,
                             const dfo_cond *cond, dfo_cond *gcond, const double *glogdet);
dfo_status dfoi_mix_inverse_backward(const dfo_bijector *bij, dfo_run *run, dfo_batch x,
                                     dfo_batch gx, const dfo_cond *cond, dfo_cond *gcond,
                                     const double *glogdet);

/* ---- small matrices in double, by rows (matrix.c)
 *
 * A random orthogonal matrix (c, c), a function of the build's seed and path.  */
void dfoi_random_orthogonal(const dfo_build *build, size_t c, double *q);

/* P A = L U, in place, by rows with partial pivoting (row i of P A is row perm[i] of A); L's unit
 * diagonal is not stored.  0 if a pivot is 0 or not finite.  */
int dfoi_lu(size_t c, double *a, size_t *perm);

/* inverse = (L U)^-1 from such factors; no permutation.  */
void dfoi_lu_inverse(size_t c, const double *lu, double *inverse);

#endif
