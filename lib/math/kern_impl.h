/* Elementwise kernels.  One file (kern.c) is compiled once per instruction set and the best is
 * chosen at run time; results have the same bits at every level.  n may be any number; pointers
 * need not be aligned.  In-place use (y == x) is fine.  Private.  */
#ifndef DFOI_KERN_IMPL_H
#define DFOI_KERN_IMPL_H

#include <stddef.h>
#include "base/real_impl.h"
#include "math/gemm_impl.h"

/* y = f(x), relative error a few eps; exact limits at +-inf, NaN stays NaN.  */
void dfoi_vexp(size_t n, const dfo_real *x, dfo_real *y);
void dfoi_vlog(size_t n, const dfo_real *x, dfo_real *y);
void dfoi_vtanh(size_t n, const dfo_real *x, dfo_real *y);
void dfoi_vsigmoid(size_t n, const dfo_real *x, dfo_real *y);
void dfoi_vsoftplus(size_t n, const dfo_real *x, dfo_real *y);        /* log(1 + e^x) */
void dfoi_vsincos2pi(size_t n, const dfo_real *x, dfo_real *s, dfo_real *c);  /* sin, cos of 2 pi x, 0 <= x < 1 */

/* Sums with 16 fixed lanes and a fixed tree, in double.  */
double dfoi_sum(size_t n, const dfo_real *x);
double dfoi_dot(size_t n, const dfo_real *x, const dfo_real *y);
double dfoi_sum_squares(size_t n, const dfo_real *x);
double dfoi_max_abs(size_t n, const dfo_real *x);                      /* NaN if any is NaN */
double dfoi_max_abs_diff(size_t n, const dfo_real *x, const dfo_real *y);
int dfoi_all_finite(size_t n, const dfo_real *x);                      /* 1 or 0 */

void dfoi_axpy(size_t n, dfo_real a, const dfo_real *x, dfo_real *y);  /* y += a x */
void dfoi_add(size_t n, const dfo_real *x, dfo_real *y);               /* y += x */
void dfoi_add_to(size_t n, const dfo_real *x, const dfo_real *y, dfo_real *to);      /* to = x + y; to may be either */
void dfoi_scale(size_t n, dfo_real a, dfo_real *x);                    /* x *= a */

/* 16 complex numbers side by side: their real parts, then their imaginary parts; all begin at multiples of 64 bytes.  */
#define DFOI_COMPLEX 16

/* y[r][o] = sum over inputs i of k[o][i] x[r][i] (k's conjugate; the sum's negative; added to y), for 16 numbers each;
 * what stands where is told in reals.  */
typedef struct dfoi_complex {
    size_t inputs, outputs, rows;
    size_t k_output, k_input, x_row, x_input, y_row, y_output;
    int    conjugate, negative, add;
} dfoi_complex;
void dfoi_complex_product(const dfoi_complex *how, const dfo_real *k, const dfo_real *x, dfo_real *y);

/* y = act(a).  dact: g *= act'(a), y = act(a) given too (relu, leaky, elu, tanh, softplus, sigmoid use
 * y alone, so a may be NULL for them); d2act: h = act''(a), from a.  */
int  dfoi_act_from_output(dfoi_act act);
void dfoi_vact(dfoi_act act, size_t n, const dfo_real *a, dfo_real *y);
void dfoi_vdact(dfoi_act act, size_t n, const dfo_real *a, const dfo_real *y, dfo_real *g);
void dfoi_vact_derivatives(dfoi_act act, size_t n, const dfo_real *a, dfo_real *d1, dfo_real *d2);
/* "relu" -> DFOI_ACT_RELU; DFOI_ACT_COUNT if there is none of that name.  */
dfoi_act dfoi_act_named(const char *name);
const char *dfoi_act_name(dfoi_act act);

/* One fused Adam(W) pass over n weights: m, v moments; step >= 1; scale multiplies the gradient
 * first (clipping, averaging); wd is decoupled weight decay (AdamW), l2 adds to the gradient.
 * ema (or NULL) = ema_decay*ema + (1-ema_decay)*w afterwards.  */
typedef struct dfoi_adam { double lr, beta1, beta2, eps, wd, l2, scale, ema_decay; double step; } dfoi_adam;
void dfoi_adam_step(const dfoi_adam *how, size_t n, const dfo_real *g, dfo_real *w, dfo_real *m, dfo_real *v,
                    dfo_real *ema);

/* Affine transform of coupling layers over panels.  nb features, m values each (m = 64 rows, or the
 * pixels of one image channel); feature f: raw scale r = par[f*m ..], shift t = par[(nb+f)*m ..].
 * kind 0: s = smax tanh(r/smax); kind 1: s = log sigmoid(r + 2).  x (nb*m) in place:
 * forward z = x e^s + t, ld[i] += s (m values, summed over features);
 * inverse x = (z - t) e^-s, ld[i] -= s.  */
typedef struct dfoi_affine { int kind; dfo_real smax; } dfoi_affine;
void dfoi_affine_forward(const dfoi_affine *how, size_t nb, size_t m, const dfo_real *par, dfo_real *x, dfo_real *ld);
void dfoi_affine_inverse(const dfoi_affine *how, size_t nb, size_t m, const dfo_real *par, dfo_real *z, dfo_real *ld);
/* z -> x in place, gz -> gx in place, gpar (2 nb * m) written; gld (m) = dL/dlogdet.  */
void dfoi_affine_backward(const dfoi_affine *how, size_t nb, size_t m, const dfo_real *par, dfo_real *z, dfo_real *gz,
                          const dfo_real *gld, dfo_real *gpar);
/* The other direction: x -> z, gx -> gz; gld belongs to the inverse's logdet (= -s).  */
void dfoi_affine_inverse_backward(const dfoi_affine *how, size_t nb, size_t m, const dfo_real *par, dfo_real *x,
                                  dfo_real *gx, const dfo_real *gld, dfo_real *gpar);

/* Rational-quadratic splines (Durkan et al. 2019), layout of parameters per feature f and value i:
 * par[(f*P + p)*m + i], P = 3K-1 (linear tails) or 3K (circular): K raw widths, K raw heights, then
 * raw slopes: of inner knots 1..K-1 (linear), of knots 0..K-1, knot K being knot 0 (circular).  scale
 * multiplies raw widths and heights first (1, or 1/sqrt(hidden)).  1 <= bins <= DFOI_SPLINE_MAX_BINS;
 * min_width and min_height at least 1e-4, bins times either below 1; min_derivative >= 0; bound > 0:
 * the caller checks.  The box is [-bound, bound].  Linear tails: a value outside passes unchanged,
 * log-derivative 0.  Circular: a value outside is first wrapped into the box (so that backward gives
 * back the wrapped x), log-derivative that of the wrapped value.  Infinite or NaN values and parameters
 * come out as infinity or NaN in that element alone; the inverse never fails.  */
#define DFOI_SPLINE_MAX_BINS 256
typedef struct dfoi_spline {
    size_t bins;
    int circular;
    dfo_real bound, min_width, min_height, min_derivative, scale;
} dfoi_spline;
size_t dfoi_spline_params(const dfoi_spline *how);                     /* P */
/* x (nb*m) in place; ld[i] += the log-derivatives of value i over the features (m values).  */
void dfoi_spline_forward(const dfoi_spline *how, size_t nb, size_t m, const dfo_real *par, dfo_real *x, dfo_real *ld);
void dfoi_spline_inverse(const dfoi_spline *how, size_t nb, size_t m, const dfo_real *par, dfo_real *z, dfo_real *ld);
/* z -> x in place, gz -> gx in place, gpar (nb*P*m, may not overlap par) written; gld (m) = dL/dlogdet.  */
void dfoi_spline_backward(const dfoi_spline *how, size_t nb, size_t m, const dfo_real *par, dfo_real *z, dfo_real *gz,
                          const dfo_real *gld, dfo_real *gpar);
/* The other direction: x -> z, gx -> gz; gld belongs to the inverse's logdet, the negative of forward's.  */
void dfoi_spline_inverse_backward(const dfoi_spline *how, size_t nb, size_t m, const dfo_real *par, dfo_real *x,
                                  dfo_real *gx, const dfo_real *gld, dfo_real *gpar);

#endif
