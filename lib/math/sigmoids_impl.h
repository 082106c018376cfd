/* Increasing maps of one variable made of sigmoids, z = logit(u) with u a weighted mean of sigmoids of x: the mixture of
 * logistics of Flow++ (Ho et al. 2019) and the deep sigmoidal transform of neural autoregressive flows (Huang et al. 2018); and
 * the way from logits to normal quantiles.  One source compiled per instruction set, same bits at every level.  Private.  */
#ifndef DFOI_SIGMOIDS_IMPL_H
#define DFOI_SIGMOIDS_IMPL_H

#include <stddef.h>
#include "base/real_impl.h"
#include "math/isa_impl.h"

#define DFOI_SIGMOIDS_MOST 64

/* u = sum_k w_k sigmoid(t_k), w the softmax of the first K parameters.
 * Mixture: t_k = (x - m_k - o_k) e^-s_k with K means m, K log scales s; then, if outer, z = logit(u) e^a + b, a = c tanh(r/c)
 * with r and b the two last parameters.  Deep: t_k = softplus(r_k) (x - o_k) + b_k with K slopes r, K shifts b.
 * The offsets o_k lie evenly in [-spread, spread]: components that begin alike would stay so.
 *
 * Parameters by features, nb features of P parameters with m values each, as splines have them (kern_impl.h): par[(f*P + p)*m
 * + i].  The inverse is found by Newton's method inside a bracket that the components give, value by value to the last digit.
 * NaN and infinite values come out as such or as NaN in that element alone.  */
typedef struct dfoi_sigmoids {
    int      deep, outer;
    size_t   components;               /* K, at most DFOI_SIGMOIDS_MOST */
    dfo_real spread, scale_max;
} dfoi_sigmoids;

static inline size_t dfoi_sigmoids_params(const dfoi_sigmoids *how)        /* P */
{
    return 3 * how->components + (how->outer ? 2 : 0);
}

struct dfoi_sigmoids_kernels {
    /* As the four of splines, but backward is given x, which stays: where z hardly moves it does not tell x.  */
    void (*forward)(const dfoi_sigmoids *, size_t nb, size_t m, const dfo_real *par, dfo_real *x, dfo_real *ld);
    void (*inverse)(const dfoi_sigmoids *, size_t nb, size_t m, const dfo_real *par, dfo_real *z, dfo_real *ld);
    void (*backward)(const dfoi_sigmoids *, size_t nb, size_t m, const dfo_real *par, const dfo_real *x, dfo_real *gz,
                     const dfo_real *gld, dfo_real *gpar);
    void (*inverse_backward)(const dfoi_sigmoids *, size_t nb, size_t m, const dfo_real *par, dfo_real *x, dfo_real *gx,
                             const dfo_real *gld, dfo_real *gpar);
    /* y -> z = Phi^-1(sigmoid(y)), ld += log dz/dy; and back, ld -=.  n values.  */
    void (*to_normal)(size_t n, dfo_real *y, dfo_real *ld);
    void (*from_normal)(size_t n, dfo_real *z, dfo_real *ld);
    /* gz -> gy at y, gld of the log-det that to_normal adds; y -> z, gy -> gz, gld of the one that from_normal adds.  */
    void (*to_normal_backward)(size_t n, const dfo_real *y, dfo_real *gz, const dfo_real *gld);
    void (*from_normal_backward)(size_t n, dfo_real *y, dfo_real *gy, const dfo_real *gld);
};

extern const struct dfoi_sigmoids_kernels dfoi_sigmoids_kernels_generic;
extern const struct dfoi_sigmoids_kernels dfoi_sigmoids_kernels_avx2;
extern const struct dfoi_sigmoids_kernels dfoi_sigmoids_kernels_avx512;

#define DFOI_SIGMOIDS_KERN DFOI_PICK(dfoi_sigmoids_kernels)

#endif
