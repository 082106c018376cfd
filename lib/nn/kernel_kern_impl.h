/* Kernels of expansions over inducing points (kernel.c), compiled per instruction set (math/isa_impl.h), same bits at every
 * level.  v (points, in) are the points and u, gu, du, gdu panels (in, 64) the rows, both in units of the lengths; q, w and
 * what is made of them panels (points, 64).  Called as DFOI_KERNEL_KERN->distances(...).  Private.  */
#ifndef DFOI_KERNEL_KERN_IMPL_H
#define DFOI_KERNEL_KERN_IMPL_H

#include <stddef.h>
#include "base/real_impl.h"
#include "math/isa_impl.h"

/* k as a function of q = r^2: exp(-q/2), and Matern's of 1/2, 3/2 and 5/2.  */
typedef enum dfoi_kernel_kind {
    DFOI_SQUARED_EXPONENTIAL, DFOI_MATERN_12, DFOI_MATERN_32, DFOI_MATERN_52, DFOI_KERNEL_KINDS
} dfoi_kernel_kind;

struct dfoi_kernel_kernels {
    /* q_n = sum_j (u_j - v_nj)^2; dq_n = 2 sum_j (u_j - v_nj) du_j.  */
    void (*distances)(size_t in, size_t points, const dfo_real *v, const dfo_real *u, dfo_real *q);
    void (*tangents)(size_t in, size_t points, const dfo_real *v, const dfo_real *u, const dfo_real *du, dfo_real *dq);
    /* k(q); dk = k'(q) dq.  k may be q, dk may be dq.  */
    void (*value)(dfoi_kernel_kind kind, size_t n, const dfo_real *q, dfo_real *k);
    void (*slope)(dfoi_kernel_kind kind, size_t n, const dfo_real *q, const dfo_real *dq, dfo_real *dk);
    /* Of gradients g of k, gd of dk: w = 2 (g k' + gd k'' dq), wd = 2 gd k'.  w may be g, wd may be gd.  */
    void (*second)(dfoi_kernel_kind kind, size_t n, const dfo_real *q, const dfo_real *dq, const dfo_real *g,
                   const dfo_real *gd, dfo_real *w, dfo_real *wd);
    /* gu_j += sum_n w_n (u_j - v_nj), gv_nj -= the same summed over rows (NULL: not wanted).  */
    void (*pull)(size_t in, size_t points, const dfo_real *v, const dfo_real *u, const dfo_real *w, dfo_real *gu,
                 dfo_real *gv);
    /* The tangent's share: gu_j += sum_n wd_n du_j, gv_nj -= the same summed over rows.  */
    void (*pull_tangent)(size_t in, size_t points, const dfo_real *du, const dfo_real *wd, dfo_real *gu, dfo_real *gv);
};

extern const struct dfoi_kernel_kernels dfoi_kernel_kernels_generic;
extern const struct dfoi_kernel_kernels dfoi_kernel_kernels_avx2;
extern const struct dfoi_kernel_kernels dfoi_kernel_kernels_avx512;

#define DFOI_KERNEL_KERN DFOI_PICK(dfoi_kernel_kernels)

#endif
