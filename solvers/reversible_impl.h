/* Reversible solvers: what the schemes on reals and the one on whole numbers share.  Private to solvers.  */
#ifndef DFOI_REVERSIBLE_IMPL_H
#define DFOI_REVERSIBLE_IMPL_H

#include "base/real_impl.h"
#include "rk_impl.h"
#include <diffeo/reversible.h>

typedef enum dfoi_scheme { DFOI_MCCALLUM_FOSTER, DFOI_REVERSIBLE_HEUN, DFOI_LEAPFROG, DFOI_SCHEMES } dfoi_scheme;

struct dfo_reversible {
    dfo_ctx *ctx;
    dfoi_scheme scheme;
    const dfoi_tableau *tableau;           /* of mccallum-foster */
    double coupling;
    size_t steps;
};

/* Time at step m of all.  */
static inline double dfoi_step_time(const dfo_reversible *rev, double t0, double t1, size_t m)
{
    return m == rev->steps ? t1 : t0 + (t1 - t0) * (double)m / (double)rev->steps;
}

/* P_h(t, x) of all rows, to rk->err.  */
dfo_status dfoi_increment(dfoi_rk *rk, dfo_batch x, double t, double h);

/* DFO_ENUM for the first row that is not finite.  */
dfo_status dfoi_reversible_check(dfo_run *run, dfo_batch x, double t);

#endif
