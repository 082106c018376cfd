/* Vector fields dx/dt = f(t, x): the noun that solvers plug into.  */
#ifndef DIFFEO_FIELD_H
#define DIFFEO_FIELD_H

#include <diffeo/real.h>
#include <diffeo/batch.h>
#include <diffeo/run.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dfo_field dfo_field;

struct dfo_field_ops {
    const char *type;
    size_t     (*scratch)(const dfo_field *, size_t rows);     /* arena, the larger of both passes; NULL: none */
    /* dx (n,d) = f(t[i], x[i]), dq (n,nq) the rates of the quadratures (NULL: not wanted).  x is only read.  */
    dfo_status (*eval)(const dfo_field *, dfo_run *, const double *t, dfo_batch x, dfo_batch dx, double *dq);
    /* Adds to gx (n,d) the gradient of sum gdx . dx + sum gdq . dq with respect to x, to run->grads (unless NULL) that of
     * weights.  gdx may be overwritten; gdq NULL: zeros.  Absent: no gradients.  */
    dfo_status (*vjp)(const dfo_field *, dfo_run *, const double *t, dfo_batch x, dfo_batch gdx, const double *gdq, dfo_batch gx);
    /* Or all three: numbers that record keeps of rows; it is eval, with the same bits, before a vjp with gdq or without (rates); and replay is
     * that vjp at the same t and x from what was kept, which gives the same bits for less work.  */
    size_t     (*kept)(const dfo_field *, size_t rows);
    dfo_status (*record)(const dfo_field *, dfo_run *, const double *t, dfo_batch x, dfo_batch dx, double *dq, int rates,
                         dfo_real *kept);
    dfo_status (*replay)(const dfo_field *, dfo_run *, const double *t, dfo_batch x, dfo_batch gdx, const double *gdq, dfo_batch gx,
                         dfo_real *kept);
};

/* A field, for one solve: rows of d numbers and nq quadratures, integrals along the way that do not feed back.  Rows do not
 * depend on each other.  Nobody frees it: it may stand on the stack, with what it needs in state.  */
struct dfo_field {
    const struct dfo_field_ops *ops;
    const void     *state;
    size_t          d, nq;
    const dfo_cond *cond;              /* n rows, or NULL */
    dfo_cond       *gcond;             /* where vjp adds the condition's gradient, or NULL */
};

#ifdef __cplusplus
}
#endif
#endif
