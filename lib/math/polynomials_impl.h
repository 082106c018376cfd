/* Increasing maps of one variable that are polynomials for |x| <= B and straight beyond, with the slope of the end, so that
 * they reach every z: Bernstein polynomials (Ramasinghe et al. 2021, eq. 5) and integrals of sums of squares (Jaini et al.
 * 2019, eq. 6).  One source compiled per instruction set, same bits at every level.  Private.  */
#ifndef DFOI_POLYNOMIALS_IMPL_H
#define DFOI_POLYNOMIALS_IMPL_H

#include <stddef.h>
#include "base/real_impl.h"
#include "math/isa_impl.h"

#define DFOI_BERNSTEIN_MOST 64         /* degree */
#define DFOI_SQUARES_MOST 8            /* degree of what is squared */
#define DFOI_SQUARES_TERMS 16

/* Bernstein, of degree K, with t = (x + B)/2B and b_j the polynomials of degree K:
 *   z = p_0 - B + sum_k=1^K d_k (b_k + ... + b_K)(t),   d_k = 2B/K (e + (1 - e) softplus(p_k + log(e' - 1))),  log e' = 1,
 * coefficients that rise by d_k; all p zero make the identity.
 * Squares, K of them of degree r, with v = u/B:
 *   z = p_0 + int_0^x P(u) du,   P = e + (1 - e)/K sum_k (1 + o_k v + sum_l=0^r p_kl v^l)^2.
 * P has degree 2r: Gauss and Legendre's r + 1 points integrate it exactly.  o_k lie evenly in [-spread, spread] (r > 0): terms
 * that begin alike would stay so.  e is the least slope.
 *
 * Parameters by features as splines have them (kern_impl.h): p_0, then p_k, or p_kl with l fastest.  NaN and infinite values
 * come out as such or as NaN in that element alone.  */
typedef struct dfoi_polynomial {
    int      squares;
    size_t   degree, terms;            /* K, unused; or r, K */
    dfo_real bound, spread, least;     /* B, of squares, e */
} dfoi_polynomial;

static inline size_t dfoi_polynomial_params(const dfoi_polynomial *how)
{
    return 1 + (how->squares ? how->terms * (how->degree + 1) : how->degree);
}

/* As those of sigmoids: inverse by Newton's method in a bracket, backward at x, which stays.  */
struct dfoi_polynomial_kernels {
    void (*forward)(const dfoi_polynomial *, size_t nb, size_t m, const dfo_real *par, dfo_real *x, dfo_real *ld);
    void (*inverse)(const dfoi_polynomial *, size_t nb, size_t m, const dfo_real *par, dfo_real *z, dfo_real *ld);
    void (*backward)(const dfoi_polynomial *, size_t nb, size_t m, const dfo_real *par, const dfo_real *x, dfo_real *gz,
                     const dfo_real *gld, dfo_real *gpar);
    void (*inverse_backward)(const dfoi_polynomial *, size_t nb, size_t m, const dfo_real *par, dfo_real *x, dfo_real *gx,
                             const dfo_real *gld, dfo_real *gpar);
};

extern const struct dfoi_polynomial_kernels dfoi_polynomial_kernels_generic;
extern const struct dfoi_polynomial_kernels dfoi_polynomial_kernels_avx2;
extern const struct dfoi_polynomial_kernels dfoi_polynomial_kernels_avx512;

#define DFOI_POLYNOMIAL_KERN DFOI_PICK(dfoi_polynomial_kernels)

#endif
