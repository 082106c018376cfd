/* Stochastic equations of the reference vectors and of tests of orders, and their solves.  Compile sdefields.c into the test
 * program.  */
#ifndef DIFFEO_TESTS_SDEFIELDS_H
#define DIFFEO_TESTS_SDEFIELDS_H

#include <diffeo/real.h>
#include <diffeo/sde.h>

enum { MOST = 16 };                        /* entries and columns */

/* ou, gbm (of entry i: a[i % 2], b[i % 2]), nonlinear_additive, nonlinear_diagonal as the vectors' README has them; sine and
 * time: f = sin 2x - x with noise 1 and 1 + sin 3t; area: pairs of columns that do not commute; quiet: no drift; unbounded: f = x^2;
 * where s (d,m) is given the noise is that.  */
struct equation {
    const char *name;
    const double *a, *b, *s;
    size_t m;
};

/* Of rows of d; e stays the caller's.  */
dfo_field sdefield_of(const struct equation *e, size_t d);
dfo_noise sdefield_noise(const struct equation *e, size_t d, dfo_noise_kind kind, dfo_calculus calculus);

/* A solver that fails the test where it is refused.  tol: both tolerances.  */
dfo_sde *sdefield_solver(dfo_ctx *ctx, const char *method, size_t steps, double tol);

/* n rows from x, in place; the first one's number.  text (512) gets the error, NULL: there may be none.  */
dfo_status sdefield_go(const dfo_sde *sde, const dfo_field *f, const dfo_noise *noise, const dfo_brownian *b, double t0, double t1,
                       size_t n, uint64_t row, dfo_real *x, dfo_sde_report *report, char *text);

/* The same from row 0 with a solver of that name and number of steps.  */
void sdefield_solve(dfo_ctx *ctx, const char *method, size_t steps, const dfo_field *f, const dfo_noise *noise, const dfo_brownian *b,
                    double t0, double t1, size_t n, dfo_real *x);

void sdefield_start(size_t n, double x0, dfo_real *x);

/* Geometric Brownian motion at time t from 1 at s, n rows of d; Ito's sense is that of the direction.  */
extern const double gbm_mu[2], gbm_sigma[2];
void sdefield_gbm(dfo_calculus calculus, const dfo_brownian *b, double s, double t, size_t n, size_t d, double *out);

/* The root of the mean square of x - want.  */
double sdefield_rms(size_t n, const dfo_real *x, const double *want);

#endif
