/* One step of a stochastic method over many rows.  Private to solvers.  */
#ifndef DFOI_SDE_IMPL_H
#define DFOI_SDE_IMPL_H

#include "base/ctx_impl.h"
#include "base/real_impl.h"
#include <diffeo/sde.h>

#define DFOI_SDE_STAGES 3
#define DFOI_DRIFT 1
#define DFOI_NOISE 2

/* x + h sum f[s] F_s + sum w[s] G_s W + sum a[s] G_s H.  */
typedef struct dfoi_sde_sum {
    double f[DFOI_SDE_STAGES], w[DFOI_SDE_STAGES], a[DFOI_SDE_STAGES];
} dfoi_sde_sum;

/* Stage s stands at z[s]; what is evaluated there: the drift F_s at t + c[s] h, the noise G_s at t + cg[s] h.  */
typedef struct dfoi_sde_method {
    const char *name, *text;
    dfo_calculus calculus;
    double order[3];                       /* by kind of noise; 0: does not take it */
    size_t stages;
    int    levy, milstein, embedded;       /* uses H; corrects for diagonal noise; e is there */
    int    what[DFOI_SDE_STAGES];
    double c[DFOI_SDE_STAGES], cg[DFOI_SDE_STAGES];
    dfoi_sde_sum z[DFOI_SDE_STAGES], y, e;
} dfoi_sde_method;

struct dfo_sde {
    dfo_ctx *ctx;
    dfo_sde_options options;
    const dfoi_sde_method *method;
};

/* NULL past the end, and for names that are not known.  */
const dfoi_sde_method *dfoi_sde_method_at(size_t i);
const dfoi_sde_method *dfoi_sde_method_named(const char *name);

/* What a step works with.  m: Brownian columns.  w, area (n,m) are given, as t and h are.  */
typedef struct dfoi_sde_step {
    const dfoi_sde_method *method;
    const dfo_field *field;
    const dfo_noise *noise;
    dfo_run   *run;
    dfo_batch  x;                          /* the states the steps begin at */
    size_t     n, m;
    double    *t, *h, *at, *w, *area;
    dfo_real  *f[DFOI_SDE_STAGES], *gw[DFOI_SDE_STAGES], *ga[DFOI_SDE_STAGES];   /* (n,d): F_s, G_s W, G_s H */
    dfo_real  *z, *y, *err, *g, *c;        /* a stage's state; new states and errors; its matrices; half corrections */
    double     convert;                    /* times the half correction is added to the drift */
    uint64_t   drifts, noises;
} dfoi_sde_step;

/* Arena for a step of `rows` rows, the field's and the noise's own included; takes it.  */
size_t dfoi_sde_step_size(const dfoi_sde_method *method, const dfo_field *field, const dfo_noise *noise, size_t rows);
void dfoi_sde_step_take(dfoi_sde_step *k, const dfoi_sde_method *method, const dfo_field *field, const dfo_noise *noise, dfo_run *run,
                        dfo_batch x);

/* The new states in y, the estimated errors in err if the method has them.  */
dfo_status dfoi_sde_advance(dfoi_sde_step *k);

/* Columns of Brownian paths; reals of n rows' matrices.  */
size_t dfoi_noise_columns(const dfo_noise *noise);
size_t dfoi_noise_size(const dfo_noise *noise, size_t rows);

/* to (n,d) = G w of every row, g its matrices, w (n,columns).  */
void dfoi_noise_apply(const dfo_noise *noise, size_t n, const dfo_real *g, const double *w, dfo_real *to);

/* DFO_EARG where field, noise, path and times do not belong together; h: the length of the smallest step that is known.  */
dfo_status dfoi_sde_check(dfo_run *run, const char *who, const dfo_field *field, const dfo_noise *noise, const dfo_brownian *b, double t0,
                          double t1, double h);

/* Reversible Heun along given increments w (steps,n,columns), the path's where that is NULL.  DFOI_BACKWARD: back
 * with gradients.  */
typedef enum dfoi_way { DFOI_FORWARD, DFOI_INVERSE, DFOI_BACKWARD } dfoi_way;
dfo_status dfoi_sde_reversible_go(const dfo_sde_reversible *how, dfo_run *run, dfoi_way way, const double *w, dfo_batch y, dfo_batch s,
                                  dfo_batch gy, dfo_batch gs);

#endif
