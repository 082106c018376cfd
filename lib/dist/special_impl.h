/* Special functions that densities need.  Private.  */
#ifndef DFOI_SPECIAL_IMPL_H
#define DFOI_SPECIAL_IMPL_H

#include <stddef.h>

/* log Gamma(a + m/2) - log Gamma(a) for a > 0, without the cancellation of two log-gammas, and its
 * derivative with respect to a (slope may be NULL).  Relative error about 1e-15.  */
double dfoi_log_gamma_step(double a, size_t m, double *slope);

#endif
