/* One step of a Runge-Kutta method over many rows.  Private to solvers.  */
#ifndef DFOI_RK_IMPL_H
#define DFOI_RK_IMPL_H

#include "base/ctx_impl.h"
#include "base/real_impl.h"
#include "tableau_impl.h"

struct dfo_ode {
    dfo_ctx *ctx;
    dfo_ode_options options;
    const dfoi_tableau *tableau;
};

/* Of implicit methods: every row's matrix and its factors, corrections smaller than these tolerances end the iteration (0: those
 * of rounding).  */
typedef struct dfoi_newton {
    dfo_real *lu, *z, *at, *f;
    int      *pivot;
    double   *last, *state, rtol, atol;
} dfoi_newton;

/* What a step works with; k[i] (n,d), kq[i] (n,nq): slopes of stage i, of which `known` says that the first is there.  */
typedef struct dfoi_rk {
    const dfoi_tableau *tableau;
    const dfo_field *field;
    dfo_run   *run;
    dfo_batch  x;                          /* the states the steps begin at */
    size_t     n;
    double    *t, *h, *at;                 /* (n) where each row is, its step, a stage's times */
    dfo_real  *k[DFOI_STAGES], *y, *err, *second;   /* second: NULL unless the method has two estimates */
    double    *kq[DFOI_STAGES];
    dfo_real  *kept[DFOI_STAGES];          /* where a stage's slopes and, behind them, what the field records go, or NULL */
    int        known, quadratures, rates;  /* quadratures: rates are wanted; rates: the way back has gradients of them */
    uint64_t   evaluations;
    dfoi_newton newton;
} dfoi_rk;

/* The arena of rows' iterations, and its share of it.  */
size_t dfoi_newton_size(const dfoi_tableau *tableau, size_t n, size_t d);
void dfoi_newton_take(dfoi_newton *w, dfo_run *run, size_t n, size_t d);

/* The rows' matrices at the start of the step; stage s, with y the state before its own slope, which
 * gets the stage's state.  */
dfo_status dfoi_newton_begin(dfoi_rk *rk);
dfo_status dfoi_newton_stage(dfoi_rk *rk, size_t s);

/* Arena for a step of `rows` rows, without the field's own; takes it.  */
size_t dfoi_rk_size(const dfoi_tableau *tableau, const dfo_field *field, size_t rows);
void dfoi_rk_take(dfoi_rk *rk, const dfoi_tableau *tableau, const dfo_field *field, dfo_run *run, dfo_batch x, int quadratures);

/* y = x + h sum over j < count of w[j] k[j]; and without x.  */
void dfoi_rk_combine(const dfoi_rk *rk, size_t count, const double *w, int from_zero, dfo_real *y);

/* The slopes of stage i, at y (stage 0: at x).  */
dfo_status dfoi_rk_stage(dfoi_rk *rk, size_t i);

/* All stages of all rows, then the new states in y, the estimated errors in err, and in second, if the method has them.  */
dfo_status dfoi_rk_step(dfoi_rk *rk);

/* Called at every accepted step of rows that go together, before they move: x, t, h, k and y are the step's; err is free.  */
typedef struct dfoi_watch {
    dfo_status (*accepted)(void *state, dfoi_rk *rk);
    void *state;
} dfoi_watch;

/* Where states are wanted inside steps, from times[1] on: out[m] (n,d).  next[i]: row i's next one.  */
typedef struct dfoi_saves {
    size_t        count, *next;
    const double *times;
    dfo_real     *out;
} dfoi_saves;

/* dfo_ode_solve with what else may be wanted of its steps (saves, watch: or NULL).  */
dfo_status dfoi_ode_steps(const dfo_ode *ode, const dfo_field *field, dfo_run *run, double t0, double t1, dfo_batch x, double *q,
                          dfo_ode_trace *trace, const dfoi_saves *saves, const dfoi_watch *watch, dfo_ode_report *report);

/* dfo_ode_solve of rows together, watched; without quadratures.  */
dfo_status dfoi_ode_solve(const dfo_ode *ode, const dfo_field *field, dfo_run *run, double t0, double t1, dfo_batch x,
                          const dfoi_watch *watch, dfo_ode_report *report);

/* active: stages that the result depends on; taken: those whose slopes another such stage's state takes, which are kept.  */
void dfoi_rk_needed(const dfoi_tableau *tableau, int *active, int *taken);

/* Numbers kept of a stage, 0 of fields that do not record; where the field's begin; where a trace keeps stage i of a step, or NULL.  */
size_t dfoi_kept_stage(const dfo_field *field, size_t rows);
dfo_real *dfoi_kept_field(dfo_real *kept, const dfo_field *field, size_t rows);
dfo_real *dfoi_kept_at(const dfo_ode_trace *trace, const dfoi_tableau *tableau, const dfo_field *field, size_t rows, size_t step, size_t i);

/* The gradient of a step's increment.  */
typedef struct dfoi_rk_back {
    dfoi_rk   rk;
    dfo_real *gk[DFOI_STAGES], *gy;
    double   *gq;                          /* a stage's */
    const double *given;                   /* the quadratures', (n,nq), or NULL */
    int       active[DFOI_STAGES], taken[DFOI_STAGES];
    dfo_real *own[DFOI_STAGES];            /* where stages that are taken are kept for one step, or NULL */
    int       known;                       /* slopes are there, and what rk.kept points to */
} dfoi_rk_back;

/* Arena for it, without the field's own; takes it.  */
size_t dfoi_rk_back_size(const dfoi_tableau *tableau, const dfo_field *field, size_t rows);
void dfoi_rk_back_take(dfoi_rk_back *b, const dfoi_tableau *tableau, const dfo_field *field, dfo_run *run, size_t n, const double *given);

/* Of the step of size h from x at t: with g the gradient with respect to h sum b_i k_i, what that gives for x is added to `to`
 * (which may be g).  */
dfo_status dfoi_rk_back_step(dfoi_rk_back *b, dfo_batch x, double t, double h, dfo_batch g, dfo_batch to);

/* h sum w[j] kq[j] of row i's quadrature j.  */
double dfoi_rk_quadrature(const dfoi_rk *rk, const double *w, size_t i, size_t j);

#endif
