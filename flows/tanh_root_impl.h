/* What layers of one hidden tanh share: it with its slope, and the root of p + r tanh(s p + e) = y.  Private to flows.  */
#ifndef DFOI_TANH_ROOT_IMPL_H
#define DFOI_TANH_ROOT_IMPL_H

#include "base/real_impl.h"
#include <diffeo/status.h>

/* tanh(v), and *slope = 1 - tanh(v)^2 without its cancellation.  */
double dfoi_tanh_slope(double v, double *slope);

/* p + r tanh(s p + e): rises with p where r s > -1.  */
typedef struct dfoi_tanh_line {
    double r, s, e;
    double slack;              /* 1 + r s, as exact as it is known */
    double y;
} dfoi_tanh_line;

/* The slope at p, by tanh's value and slope there: 1 + r s (1 - t^2) = slack - r s t^2.  */
double dfoi_tanh_line_slope(const dfoi_tanh_line *line, double t, double slope);

/* *p with p + r tanh(s p + e) = y, to the last digit.  DFO_ENUM: y, r, s or e is not finite.  */
dfo_status dfoi_tanh_line_root(const dfoi_tanh_line *line, double *p);

#endif
