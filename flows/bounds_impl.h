/* One variable with bounds, mapped to the whole line; formulas are in bounds.c.  Private to flows.  */
#ifndef DFOI_BOUNDS_IMPL_H
#define DFOI_BOUNDS_IMPL_H

#include "base/real_impl.h"

/* Where values lie, ends excluded; -INFINITY, INFINITY where there is none.  */
typedef struct dfoi_bound {
    double low, high;
} dfoi_bound;

/* z of x, x strictly inside; x of z, not yet rounded; rounded, and strictly inside.  */
double dfoi_bound_value(dfoi_bound b, double x);
double dfoi_bound_back(dfoi_bound b, double z);
dfo_real dfoi_bound_inside(dfoi_bound b, double x);

/* log dz/dx at z, and its derivative by z.  */
double dfoi_bound_log_slope(dfoi_bound b, double z);
double dfoi_bound_change(dfoi_bound b, double z);

/* Is there a dfo_real strictly inside?  */
int dfoi_bound_holds(dfoi_bound b);

#endif
