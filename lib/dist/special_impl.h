/* Special functions that densities need.  Private.  */
#ifndef DFOI_SPECIAL_IMPL_H
#define DFOI_SPECIAL_IMPL_H

#include <stddef.h>

/* log Gamma(a + m/2) - log Gamma(a) for a > 0, without the cancellation of two log-gammas, and its
 * derivative with respect to a (slope may be NULL).  Relative error about 1e-15.  */
double dfoi_log_gamma_step(double a, size_t m, double *slope);

/* P(a, x) and Q = 1 - P, the parts of the gamma law of shape a > 0 that lie below and above x (of |z|^2 of d normal numbers: P(d/2,
 * x/2)).  Absolute error below 1e-15 max(a, 100); the smaller of the two is relatively as good.  */
double dfoi_gamma_below(double a, double x);
double dfoi_gamma_above(double a, double x);

/* log(1/(1 + e^-t)), and without the logarithm; log sum exp v (n >= 1), where a number that is none stays one.  */
double dfoi_log_sigmoid(double t);
double dfoi_sigmoid(double t);
double dfoi_log_sum_exp(size_t n, const double *v);

#endif
