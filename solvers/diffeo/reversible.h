/* Solvers that go back over their own steps: exact gradients in memory that does not grow with the steps.  */
#ifndef DIFFEO_REVERSIBLE_H
#define DIFFEO_REVERSIBLE_H

#include <stdint.h>
#include <diffeo/real.h>
#include <diffeo/ctx.h>
#include <diffeo/ode.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dfo_reversible dfo_reversible;

/* Schemes carry a second state s beside the rows y.  "mccallum-foster": any explicit method, with P its increment over a step,
 *     y' = c y + (1 - c) s + P_h(t, s),   s' = s - P_-h(t', y'),   s = y at the start
 * (McCallum and Foster 2024); a step back multiplies rounding by 1/c.  "heun": reversible Heun (Kidger et al. 2021), s = y at
 * the start.  "leapfrog": asynchronous leapfrog with damping c = eta (Zhuang et al. 2021), s = f(t, y) at the start; a step
 * back multiplies rounding by 1/|1 - 2 eta|.  */
typedef struct dfo_reversible_options {
    const char *scheme;        /* NULL: mccallum-foster */
    const char *method;        /* of mccallum-foster; NULL: midpoint */
    double      coupling;      /* c: above 0, 1 at most (0.999); of leapfrog eta, above 0.5 (1) */
    size_t      steps;         /* equal ones */
} dfo_reversible_options;

/* DFO_EARG names the option that is wrong.  */
dfo_status dfo_reversible_new(dfo_ctx *ctx, const dfo_reversible_options *options, dfo_reversible **out);
void dfo_reversible_free(dfo_reversible *rev);

/* Arena that any of the calls below takes for `rows` rows.  */
size_t dfo_reversible_scratch(const dfo_reversible *rev, const dfo_field *field, size_t rows);

/* The second state (n,d) at t0 of rows that start there.  */
dfo_status dfo_reversible_start(const dfo_reversible *rev, const dfo_field *field, dfo_run *run, double t0, dfo_batch y, dfo_batch s);

/* From t0 to t1, in place; quadratures are added to q (n,nq) (NULL: not wanted).  DFO_ENUM, naming time and row, where
 * something is not finite.  */
dfo_status dfo_reversible_forward(const dfo_reversible *rev, const dfo_field *field, dfo_run *run, double t0, double t1, dfo_batch y,
                                  dfo_batch s, double *q);

/* Back: from what forward(t0, t1) left to what it began with, to rounding times the scheme's growth.  */
dfo_status dfo_reversible_inverse(const dfo_reversible *rev, const dfo_field *field, dfo_run *run, double t0, double t1, dfo_batch y,
                                  dfo_batch s);

/* The same, with gradients: gy, gs (n,d) with respect to the end become those with respect to the start; gq (n,nq) belongs to
 * the quadratures (NULL: zeros); weights' gradients go to run->grads.  dfo_reversible_start_backward then adds to gy what comes
 * through the second state's start.  */
dfo_status dfo_reversible_backward(const dfo_reversible *rev, const dfo_field *field, dfo_run *run, double t0, double t1, dfo_batch y,
                                   dfo_batch s, dfo_batch gy, dfo_batch gs, const double *gq);
dfo_status dfo_reversible_start_backward(const dfo_reversible *rev, const dfo_field *field, dfo_run *run, double t0, dfo_batch y,
                                         dfo_batch gy, dfo_batch gs);

/* mccallum-foster with c = 1 on whole numbers, y = Y 2^-bits: increments are rounded to the grid and whole numbers' sums undo
 * themselves, so that inverse gives back Y and S (n,d) to the last bit, after any number of steps.  DFO_EUNSUP for other
 * schemes; DFO_ENUM where a state leaves the grid's range.  */
dfo_status dfo_reversible_fixed_forward(const dfo_reversible *rev, const dfo_field *field, dfo_run *run, double t0, double t1, int bits,
                                        size_t n, int64_t *y, int64_t *s);
dfo_status dfo_reversible_fixed_inverse(const dfo_reversible *rev, const dfo_field *field, dfo_run *run, double t0, double t1, int bits,
                                        size_t n, int64_t *y, int64_t *s);

/* What the way back multiplies rounding by, over all steps: (1/c)^steps, of leapfrog 1/|1 - 2 eta|^steps.  */
double dfo_reversible_growth(const dfo_reversible *rev);

#ifdef __cplusplus
}
#endif
#endif
