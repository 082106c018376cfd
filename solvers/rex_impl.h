/* Rex: what its steps, gradients and whole numbers share.  Private to solvers.  */
#ifndef DFOI_REX_IMPL_H
#define DFOI_REX_IMPL_H

#include "base/ctx_impl.h"
#include "base/real_impl.h"
#include "tableau_impl.h"
#include <diffeo/rex.h>

struct dfo_rex {
    dfo_ctx *ctx;
    dfo_rex_options options;
    const dfoi_tableau *tableau;
    const double *aw, *ah;                 /* (stages) weights of W and H in a stage's state, or NULL: there is no noise */
    int active[DFOI_STAGES];               /* stages that the increment depends on */
};

/* A time with its clock and kappa.  */
typedef struct dfoi_rex_time {
    double t, s, kappa;
} dfoi_rex_time;
dfoi_rex_time dfoi_rex_at(const dfo_rex *rex, double t);

/* A call's memory.  gk, gy, g, gz: the gradient's alone.  */
typedef struct dfoi_rex_work {
    const dfo_rex   *rex;
    const dfo_field *field;
    dfo_run  *run;
    size_t    n, d;
    dfo_real *k[DFOI_STAGES], *z;          /* (n,d) predictions at the stages, a stage's state */
    double   *psi, *w, *h, *t;             /* (n,d) the increment, the step's noise; (n) */
    double   *gk[DFOI_STAGES], *gy;        /* (n,d) */
    dfo_real *g, *gz;                      /* (n,d) */
} dfoi_rex_work;
size_t dfoi_rex_size(const dfo_rex *rex, const dfo_field *field, size_t rows, int gradient);
void dfoi_rex_take(dfoi_rex_work *k, const dfo_rex *rex, const dfo_field *field, dfo_run *run, size_t rows, int gradient);

/* DFO_EARG unless times go one way and have finite clocks.  */
dfo_status dfoi_rex_check(const dfo_rex *rex, dfo_run *run, size_t steps, const double *t);

/* DFO_ENUM for the first row that is not finite.  */
dfo_status dfoi_rex_finite(const dfoi_rex_work *k, dfo_batch x, double t);

/* W and H of the step from a to b, for both of its increments.  */
dfo_status dfoi_rex_draw(dfoi_rex_work *k, dfoi_rex_time a, dfoi_rex_time b);

/* psi = P(x) from one time to the other; sign: +1 along the step that was drawn, -1 against it.  all: stages that only the error
 * wants, too.  */
dfo_status dfoi_rex_increment(dfoi_rex_work *k, dfoi_rex_time from, dfoi_rex_time to, dfo_batch x, double sign, int all);

/* After that increment: adds to gx the gradient with respect to x of sum c g . psi.  */
dfo_status dfoi_rex_increment_back(dfoi_rex_work *k, dfoi_rex_time from, dfoi_rex_time to, dfo_batch x, double sign, double c,
                                   dfo_batch g, dfo_batch gx);

#endif
