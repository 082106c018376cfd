/* Roots of monotone functions of one variable.  Private.  */
#ifndef DFOI_ROOT_IMPL_H
#define DFOI_ROOT_IMPL_H

#include <diffeo/status.h>

/* Value at x and, in *slope, the derivative (NaN where it is not known: bisection then).  */
typedef double (*dfoi_function)(const void *data, double x, double *slope);

/* Widens [*low, *high] until f changes sign in it: each side moves away from the other by the present
 * width, then twice that, ...; f rises or falls.  DFO_ENUM where that does not come about or f is NaN.  */
dfo_status dfoi_bracket(dfoi_function f, const void *data, double *low, double *high);

/* *root in [low, high] with f(*root) = 0: Newton's method from `start`, halving where it leaves the
 * bracket or is slow, until the bracket or the step is within `tolerance` (1 + |x|) (0: to the last
 * digit).  f(low) and f(high) must differ in sign (or be 0).  DFO_EARG: no change of sign.  DFO_ENUM: f
 * gave NaN, or 400 evaluations were not enough.  */
dfo_status dfoi_root(dfoi_function f, const void *data, double low, double high, double start, double tolerance,
                     double *root);

#endif
