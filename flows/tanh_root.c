/* The root of p + r tanh(s p + e) = y, r s > -1: the left side rises with p, and as |tanh| < 1 the root lies within |r| of
 * y; Newton's method in that bracket.  */
#include <float.h>
#include <math.h>

#include "math/root_impl.h"
#include "tanh_root_impl.h"

/* With q = e^(-2|v|) - 1:  tanh |v| = -q/(2 + q),  1 - tanh^2 = 4 (1 + q)/(2 + q)^2.  */
double dfoi_tanh_slope(double v, double *slope)
{
    double q = expm1(-2 * fabs(v));
    *slope = 4 * (1 + q) / ((2 + q) * (2 + q));
    return copysign(q / (2 + q), v);
}

/* Both forms are sums of positive numbers where they are used.  */
double dfoi_tanh_line_slope(const dfoi_tanh_line *line, double t, double slope)
{
    double product = line->r * line->s;
    return product < 0 ? line->slack - product * t * t : 1 + product * slope;
}

static double excess(const void *data, double p, double *slope)
{
    const dfoi_tanh_line *line = data;
    double t = dfoi_tanh_slope(line->s * p + line->e, slope);
    *slope = dfoi_tanh_line_slope(line, t, *slope);
    return (p - line->y) + line->r * t;
}

dfo_status dfoi_tanh_line_root(const dfoi_tanh_line *line, double *p)
{
    double reach = fabs(line->r) + 4 * DBL_EPSILON * (1 + fabs(line->y));      /* and what rounding of y +- |r| takes off */
    if (!isfinite(line->y) || !isfinite(reach) || !isfinite(line->s) || !isfinite(line->e))
        return DFO_ENUM;
    return dfoi_root(excess, line, line->y - reach, line->y + reach, line->y, 0, p);
}
