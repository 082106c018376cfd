/* Rex: reversible exponential (stochastic) Runge-Kutta methods for diffusion models, along a grid of times and back over it.  */
#ifndef DIFFEO_REX_H
#define DIFFEO_REX_H

#include <stdint.h>
#include <diffeo/real.h>
#include <diffeo/ctx.h>
#include <diffeo/field.h>
#include <diffeo/schedule.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dfo_rex dfo_rex;

/* What is solved: with Y = x/kappa and a clock s of the schedule, dY = F ds, F the predictor's value at (kappa Y, t(s)).
 *     ode-data   kappa = sigma,          s = gamma, F = x_0
 *     ode-noise  kappa = alpha,          s = chi,   F = eps
 *     sde-data   kappa = sigma^2/alpha,  s = rho,   F = x_0,    + dW of the clock rho
 *     sde-noise  kappa = alpha,          s = chi,   F = 2 eps,  + dW of the clock chi^2
 * With two states sde-noise wants steps below (1 - zeta)/2 of chi: with wider ones the states part (Princeps has one).  */
typedef enum dfo_rex_form { DFO_REX_ODE_DATA, DFO_REX_ODE_NOISE, DFO_REX_SDE_DATA, DFO_REX_SDE_NOISE, DFO_REX_FORMS } dfo_rex_form;

/* The i-th form's name ("ode-data"), NULL past the end.  */
const char *dfo_rex_form_name(size_t i);

/* Brownian motion of row `row`: w (d) = W(t) - W(s), h (d) its space-time Levy area over it; s and t in the noise's clock.  A
 * function of its arguments: the way back asks again.  s > t: w negated, h the same.  */
typedef void (*dfo_rex_noise)(const void *data, uint64_t row, size_t d, double s, double t, double *w, double *h);

typedef struct dfo_rex_options {
    dfo_noise_schedule schedule;
    dfo_rex_form  form;
    const char   *method;      /* ODE: an explicit one of dfo_ode_method (NULL: midpoint); SDE: euler-maruyama (NULL) or shark */
    int           one_state;   /* 1: Princeps, the solver without a second state and without a way back; zeta is not read */
    double        zeta;        /* above 0, 1 at most */
    double        rtol, atol;  /* of dfo_rex_adapt */
    dfo_rex_noise noise;       /* SDE: its increments, and what they are handed */
    const void   *noise_data;
} dfo_rex_options;

/* vp, ode-data, zeta 0.999, tolerances 1e-3, the rest 0.  */
void dfo_rex_defaults(dfo_rex_options *options);

/* Copies the options.  DFO_EARG names the one that is wrong: shark goes with sde-data alone, for the clock that its Levy area
 * belongs to is the one it steps in.  */
dfo_status dfo_rex_new(dfo_ctx *ctx, const dfo_rex_options *options, dfo_rex **out);
void dfo_rex_free(dfo_rex *rex);

/* The options, with the method's name filled in.  */
const dfo_rex_options *dfo_rex_options_of(const dfo_rex *rex);

/* Arena that the calls below take for `rows` rows; that of dfo_rex_backward.  */
size_t dfo_rex_scratch(const dfo_rex *rex, const dfo_field *field, size_t rows);
size_t dfo_rex_backward_scratch(const dfo_rex *rex, const dfo_field *field, size_t rows);

/* Along t[0] .. t[steps], which rise or fall all the way, in place: x (n,d) and the second state xh (n,d), a copy of x at the start
 * (Princeps: xh.x is NULL).  field: the predictor, x_0 or eps as the form says; its quadratures are not read.  Over a step from 0 to 1,
 * with P the method's increment of Y, r = kappa_1/kappa_0,
 *     x_1 = r (zeta x_0 + (1 - zeta) xh_0) + kappa_1 P_h(s_0, xh_0, W),   xh_1 = r xh_0 - kappa_1 P_-h(s_1, x_1, -W)
 * (McCallum and Foster 2024 in the variable Y; the area H of W is the same both ways).  DFO_EARG: times that do not go one way, or
 * where a clock is not finite.  DFO_ENUM, naming time and row, where something is not finite.  */
dfo_status dfo_rex_forward(const dfo_rex *rex, const dfo_field *field, dfo_run *run, size_t steps, const double *t, dfo_batch x,
                           dfo_batch xh);

/* Back: from what forward left along the same grid to what it began with, to rounding times dfo_rex_growth and what the
 * predictor itself amplifies.  DFO_EUNSUP: Princeps.  */
dfo_status dfo_rex_inverse(const dfo_rex *rex, const dfo_field *field, dfo_run *run, size_t steps, const double *t, dfo_batch x,
                           dfo_batch xh);

/* The same, with gradients: gx, gxh (n,d) with respect to the end become those with respect to the start (their sum, where xh began
 * as a copy); weights' gradients go to run->grads, the condition's to field->gcond.  Grid and noise count as constants.  */
dfo_status dfo_rex_backward(const dfo_rex *rex, const dfo_field *field, dfo_run *run, size_t steps, const double *t, dfo_batch x,
                            dfo_batch xh, dfo_batch gx, dfo_batch gxh);

/* Forward from one time to another in steps chosen by the method's estimate of its errors, the same for all rows of the call: the
 * largest component of a row's error, over atol + rtol times that of its state.  The grid goes to t (room for most + 1 times), its
 * steps to *steps: the other calls retrace it.  DFO_EARG: a method without an estimate.  DFO_ENUM: more than `most` steps, or too
 * small ones.  */
dfo_status dfo_rex_adapt(const dfo_rex *rex, const dfo_field *field, dfo_run *run, double from, double to, dfo_batch x,
                         dfo_batch xh, size_t most, double *t, size_t *steps);

/* What the way back multiplies rounding of x by: (1/zeta)^steps in the variable Y, which is all where t is NULL; else the largest
 * (1/zeta)^m kappa(t[0])/kappa(t[m]) over the grid.  kappa falls along the grid (ode-data and sde-data towards data, ode-noise and
 * sde-noise towards noise): Y then grows, and x_0 loses that much.  Infinite: Princeps.  */
double dfo_rex_growth(const dfo_rex *rex, size_t steps, const double *t);

/* zeta = 1 on whole numbers, Y = y 2^-bits (n,d): increments are rounded to the grid and whole numbers' sums undo themselves, so
 * that inverse gives back y and yh to the last bit, ODE or SDE, after any number of steps.  yh: a copy of y at the start.
 * DFO_EUNSUP: another zeta, Princeps; DFO_ENUM where a state leaves the grid's range.  */
dfo_status dfo_rex_fixed_forward(const dfo_rex *rex, const dfo_field *field, dfo_run *run, size_t steps, const double *t, int bits,
                                 size_t n, int64_t *y, int64_t *yh);
dfo_status dfo_rex_fixed_inverse(const dfo_rex *rex, const dfo_field *field, dfo_run *run, size_t steps, const double *t, int bits,
                                 size_t n, int64_t *y, int64_t *yh);

/* Rows at time t to whole numbers, rounded, and back.  DFO_ENUM where they leave the grid's range.  */
dfo_status dfo_rex_fixed_from(const dfo_rex *rex, dfo_run *run, double t, int bits, dfo_batch x, int64_t *y);
dfo_status dfo_rex_fixed_to(const dfo_rex *rex, dfo_run *run, double t, int bits, const int64_t *y, dfo_batch x);

#ifdef __cplusplus
}
#endif
#endif
