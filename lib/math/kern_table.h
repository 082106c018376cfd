/* The tables of kernels that lib/math/kern*.c, gemm_kern.c and panel_kern.c fill at every
 * instruction set.  One list gives the slots, the initialisers and the public functions.  Private.  */
#ifndef DFOI_KERN_TABLE_H
#define DFOI_KERN_TABLE_H

#include "base/real_impl.h"
#include "math/gemm_impl.h"
#include "math/isa_impl.h"
#include "math/kern_impl.h"
#include <diffeo/rng.h>

/* X(type, name, parameters, arguments): slot `name`, public function dfoi_`name`.  */
#define DFOI_KERN_LIST(X)                                                                        \
    X(void, vexp, (size_t n, const dfo_real *x, dfo_real *y), (n, x, y))                         \
    X(void, vlog, (size_t n, const dfo_real *x, dfo_real *y), (n, x, y))                         \
    X(void, vtanh, (size_t n, const dfo_real *x, dfo_real *y), (n, x, y))                        \
    X(void, vsigmoid, (size_t n, const dfo_real *x, dfo_real *y), (n, x, y))                     \
    X(void, vsoftplus, (size_t n, const dfo_real *x, dfo_real *y), (n, x, y))                    \
    X(void, vsincos2pi, (size_t n, const dfo_real *x, dfo_real *s, dfo_real *c), (n, x, s, c))   \
    X(double, sum, (size_t n, const dfo_real *x), (n, x))                                        \
    X(double, dot, (size_t n, const dfo_real *x, const dfo_real *y), (n, x, y))                  \
    X(double, sum_squares, (size_t n, const dfo_real *x), (n, x))                                \
    X(double, max_abs, (size_t n, const dfo_real *x), (n, x))                                    \
    X(double, max_abs_diff, (size_t n, const dfo_real *x, const dfo_real *y), (n, x, y))         \
    X(int, all_finite, (size_t n, const dfo_real *x), (n, x))                                    \
    X(void, axpy, (size_t n, dfo_real a, const dfo_real *x, dfo_real *y), (n, a, x, y))          \
    X(void, add, (size_t n, const dfo_real *x, dfo_real *y), (n, x, y))                          \
    X(void, add_to, (size_t n, const dfo_real *x, const dfo_real *y, dfo_real *to), (n, x, y, to)) \
    X(void, scale, (size_t n, dfo_real a, dfo_real *x), (n, a, x))

#define DFOI_ACT_LIST(X)                                                                         \
    X(void, vact, (dfoi_act act, size_t n, const dfo_real *a, dfo_real *y), (act, n, a, y))      \
    X(void, vdact, (dfoi_act act, size_t n, const dfo_real *a, const dfo_real *y, dfo_real *g),  \
      (act, n, a, y, g))                                                                         \
    X(void, vact_derivatives,                                                                    \
      (dfoi_act act, size_t n, const dfo_real *a, dfo_real *d1, dfo_real *d2), (act, n, a, d1, d2))

#define DFOI_AFFINE_LIST(X)                                                                      \
    X(void, affine_forward,                                                                      \
      (const dfoi_affine *how, size_t nb, size_t m, const dfo_real *par, dfo_real *x, dfo_real *ld), \
      (how, nb, m, par, x, ld))                                                                  \
    X(void, affine_inverse,                                                                      \
      (const dfoi_affine *how, size_t nb, size_t m, const dfo_real *par, dfo_real *z, dfo_real *ld), \
      (how, nb, m, par, z, ld))                                                                  \
    X(void, affine_backward,                                                                     \
      (const dfoi_affine *how, size_t nb, size_t m, const dfo_real *par, dfo_real *z, dfo_real *gz, \
       const dfo_real *gld, dfo_real *gpar), (how, nb, m, par, z, gz, gld, gpar))                \
    X(void, affine_inverse_backward,                                                             \
      (const dfoi_affine *how, size_t nb, size_t m, const dfo_real *par, dfo_real *x, dfo_real *gx, \
       const dfo_real *gld, dfo_real *gpar), (how, nb, m, par, x, gx, gld, gpar))

#define DFOI_GEMM_LIST(X)                                                                        \
    X(void, gemm_stairs,                                                                         \
      (size_t m, size_t k, const dfo_real *w, size_t ldw, const size_t *reach, size_t panels,    \
       const dfo_real *const *x, const dfo_real *b, dfoi_act act, const dfo_real *const *residual, \
       dfo_real *const *y),                                                                      \
      (m, k, w, ldw, reach, panels, x, b, act, residual, y))                                     \
    X(void, gemm_tangent_stairs,                                                                 \
      (size_t m, size_t k, const dfo_real *w, size_t ldw, const size_t *reach, size_t panels,    \
       const dfo_real *const *x, const dfo_real *const *mask, const dfo_real *const *add,        \
       dfo_real *const *y),                                                                      \
      (m, k, w, ldw, reach, panels, x, mask, add, y))                                            \
    X(void, gemm_back_stairs,                                                                    \
      (size_t m, size_t k, const dfo_real *w, size_t ldw, const size_t *reach, size_t panels,    \
       const dfo_real *const *gy, const dfo_real *const *mask, const dfo_real *const *add,       \
       dfo_real *const *gx, dfo_real *scratch),                                                  \
      (m, k, w, ldw, reach, panels, gy, mask, add, gx, scratch))                                 \
    X(void, gemm_grad_stairs,                                                                    \
      (size_t m, size_t k, const size_t *reach, size_t panels, const dfo_real *const *gy,        \
       const dfo_real *const *x, dfo_real *gw, size_t ldgw, dfo_real *gb, dfo_real *scratch),    \
      (m, k, reach, panels, gy, x, gw, ldgw, gb, scratch))                                       \
    X(void, gemm_alike, (size_t m, size_t k, const dfo_real *w, size_t ldw, const dfo_real *x,   \
                         const dfo_real *b, dfo_real *y), (m, k, w, ldw, x, b, y))

#define DFOI_COMPLEX_LIST(X)                                                                     \
    X(void, complex_product, (const dfoi_complex *how, const dfo_real *k, const dfo_real *x, dfo_real *y), \
      (how, k, x, y))

#define DFOI_PANEL_LIST(X)                                                                       \
    X(void, to_panel,                                                                            \
      (size_t n, size_t d, const dfo_real *x, size_t ldx, const size_t *index, int zero_tail,    \
       dfo_real *panel), (n, d, x, ldx, index, zero_tail, panel))                                \
    X(void, from_panel,                                                                          \
      (size_t n, size_t d, const dfo_real *panel, const size_t *index, dfo_real *x, size_t ldx), \
      (n, d, panel, index, x, ldx))                                                              \
    X(void, from_panel_add,                                                                      \
      (size_t n, size_t d, const dfo_real *panel, const size_t *index, dfo_real *x, size_t ldx), \
      (n, d, panel, index, x, ldx))                                                              \
    X(void, spread, (size_t n, size_t w, const dfo_real *x, size_t ldx, dfo_real *to, ptrdiff_t step), \
      (n, w, x, ldx, to, step))                                                                  \
    X(void, collect, (size_t n, size_t w, const dfo_real *from, ptrdiff_t step, dfo_real *x, size_t ldx), \
      (n, w, from, step, x, ldx))

/* What dfoi_adam_step makes of its settings: the constants of one pass.  */
struct dfoi_adam_constants {
    dfo_real scale, l2, beta1, beta2, rest1, rest2;  /* rest = 1 - beta */
    dfo_real keep;                                   /* 1 - lr wd */
    dfo_real rate;                                   /* lr / (1 - beta1^step) */
    dfo_real root;                                   /* 1 / sqrt(1 - beta2^step) */
    dfo_real eps;
    dfo_real ema_rest;                               /* 1 - ema_decay */
};

#define DFOI_SLOT(type, name, params, args) type (*name) params;
#define DFOI_FILL(type, name, params, args) .name = name,

struct dfoi_kernels { DFOI_KERN_LIST(DFOI_SLOT) };
struct dfoi_act_kernels { DFOI_ACT_LIST(DFOI_SLOT) };
struct dfoi_step_kernels {
    DFOI_AFFINE_LIST(DFOI_SLOT)
    void (*adam)(const struct dfoi_adam_constants *how, size_t n, const dfo_real *g, dfo_real *w,
                 dfo_real *m, dfo_real *v, dfo_real *ema);
};
struct dfoi_draw_kernels {
    /* Draws, two from each block of the key's stream; n rows of d, row i at out + i ld.  */
    void (*uniform)(dfo_key key, size_t n, dfo_real *out);
    void (*normal)(dfo_key key, size_t n, size_t d, dfo_real *out, size_t ld);
};
struct dfoi_gemm_kernels { DFOI_GEMM_LIST(DFOI_SLOT) };
struct dfoi_complex_kernels { DFOI_COMPLEX_LIST(DFOI_SLOT) };
struct dfoi_panel_kernels { DFOI_PANEL_LIST(DFOI_SLOT) };

/* The constants of a step.  */
struct dfoi_adam_constants dfoi_adam_prepare(const dfoi_adam *how);

extern const struct dfoi_kernels dfoi_kernels_generic;
extern const struct dfoi_act_kernels dfoi_act_kernels_generic;
extern const struct dfoi_step_kernels dfoi_step_kernels_generic;
extern const struct dfoi_draw_kernels dfoi_draw_kernels_generic;
extern const struct dfoi_gemm_kernels dfoi_gemm_kernels_generic;
extern const struct dfoi_complex_kernels dfoi_complex_kernels_generic;
extern const struct dfoi_panel_kernels dfoi_panel_kernels_generic;
extern const struct dfoi_kernels dfoi_kernels_avx2;
extern const struct dfoi_act_kernels dfoi_act_kernels_avx2;
extern const struct dfoi_step_kernels dfoi_step_kernels_avx2;
extern const struct dfoi_draw_kernels dfoi_draw_kernels_avx2;
extern const struct dfoi_gemm_kernels dfoi_gemm_kernels_avx2;
extern const struct dfoi_complex_kernels dfoi_complex_kernels_avx2;
extern const struct dfoi_panel_kernels dfoi_panel_kernels_avx2;
extern const struct dfoi_kernels dfoi_kernels_avx512;
extern const struct dfoi_act_kernels dfoi_act_kernels_avx512;
extern const struct dfoi_step_kernels dfoi_step_kernels_avx512;
extern const struct dfoi_draw_kernels dfoi_draw_kernels_avx512;
extern const struct dfoi_gemm_kernels dfoi_gemm_kernels_avx512;
extern const struct dfoi_complex_kernels dfoi_complex_kernels_avx512;
extern const struct dfoi_panel_kernels dfoi_panel_kernels_avx512;

#endif
