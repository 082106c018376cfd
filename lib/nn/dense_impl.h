/* Linear layers of dense nets, on panels of 64 rows (feature j, row i at x[j*64 + i]), one or several, and the way
 * from input parts to panels.  Private.  */
#ifndef DFOI_DENSE_IMPL_H
#define DFOI_DENSE_IMPL_H

#include <diffeo/net.h>
#include "base/real_impl.h"
#include "math/gemm_impl.h"

/* y = W x + b.  */
typedef struct dfoi_linear {
    size_t in, out;
    size_t w, b;             /* offsets in the store: (out, in), (out) */
    const size_t *reach;     /* NULL, or (out), rising: output r sees its first reach[r] inputs alone (made.c) */
} dfoi_linear;

/* Adds weights w_name (out, in) and b_name (out) to the store, drawn from [-bound, bound], bound =
 * 0 for zeros; bound < 0: PyTorch's 1/sqrt(in).  */
dfo_status dfoi_linear_new(dfo_build *build, const char *w_name, const char *b_name, size_t in,
                           size_t out, double bound, dfoi_linear *linear);

/* Up to DFOI_PANELS panels at a time where an operand is an array of pointers to them.
 *
 * y (out,64) = act(W x + b) [+ residual]; act as in dfoi_gemm.  y = residual is fine, y = x is not.
 */
void dfoi_linear_forward(const dfoi_linear *linear, const dfo_run *run, size_t panels,
                         const dfo_real *const *x, dfoi_act act, const dfo_real *const *residual,
                         dfo_real *const *y);

/* dy = (W dx) [* (mask > 0)] [+ add].  */
void dfoi_linear_tangent(const dfoi_linear *linear, const dfo_run *run, const dfo_real *dx,
                         const dfo_real *mask, const dfo_real *add, dfo_real *dy);

/* What the scratch of the two calls below takes, in reals.  */
size_t dfoi_linear_scratch(const dfoi_linear *linear, size_t panels);

/* gx = (W^T gy) [* (mask > 0)] [+ add]; gx = add is fine.  */
void dfoi_linear_backward(const dfoi_linear *linear, const dfo_run *run, size_t panels,
                          const dfo_real *const *gy, const dfo_real *const *mask,
                          const dfo_real *const *add, dfo_real *const *gx, dfo_real *scratch);

/* Adds gy x^T, and the row sums of gy where `bias` is set, to run->grads; nothing if that is NULL.  */
void dfoi_linear_grads(const dfoi_linear *linear, const dfo_run *run, size_t panels,
                       const dfo_real *const *gy, const dfo_real *const *x, int bias,
                       dfo_real *scratch);

/* Outputs first .. first + count - 1 alone, which see the same inputs; residual and y begin at them.  */
void dfoi_linear_forward_part(const dfoi_linear *linear, const dfo_run *run, size_t first, size_t count,
                              size_t panels, const dfo_real *const *x, dfoi_act act,
                              const dfo_real *const *residual, dfo_real *const *y);

/* Gradients of inputs first .. first + count - 1 alone, from the outputs from `above` on, which see all of them; gx
 * begins at them.  */
void dfoi_linear_backward_part(const dfoi_linear *linear, const dfo_run *run, size_t first, size_t count,
                               size_t above, size_t panels, const dfo_real *const *gy, dfo_real *const *gx,
                               dfo_real *scratch);

/* The same of one panel.  */
static inline void dfoi_linear_forward_one(const dfoi_linear *linear, const dfo_run *run,
                                           const dfo_real *x, dfoi_act act, const dfo_real *residual,
                                           dfo_real *y)
{
    dfoi_linear_forward(linear, run, 1, &x, act, residual ? &residual : NULL, &y);
}

static inline void dfoi_linear_backward_one(const dfoi_linear *linear, const dfo_run *run,
                                            const dfo_real *gy, const dfo_real *mask,
                                            const dfo_real *add, dfo_real *gx, dfo_real *scratch)
{
    dfoi_linear_backward(linear, run, 1, &gy, mask ? &mask : NULL, add ? &add : NULL, &gx, scratch);
}

static inline void dfoi_linear_grads_one(const dfoi_linear *linear, const dfo_run *run,
                                         const dfo_real *gy, const dfo_real *x, int bias,
                                         dfo_real *scratch)
{
    dfoi_linear_grads(linear, run, 1, &gy, &x, bias, scratch);
}

/* The p-th 64 of n rows, all parts of `in` side by side, as a panel (in features); parts without rows
 * (absent tangents) are zeros.  The tail repeats the last row.  */
void dfoi_parts_to_panel(const dfo_net *net, const dfo_cond *in, size_t n, size_t p, dfo_real *panel);

/* Adds rows of such a panel to the parts of `to` that are wanted.  */
void dfoi_parts_add(const dfo_net *net, const dfo_real *panel, size_t n, size_t p, dfo_cond *to);

/* 1 if any part's gradient is wanted.  */
int dfoi_parts_wanted(const dfo_net *net, const dfo_cond *to);

#endif
