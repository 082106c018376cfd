/* Safeguarded Newton in a bracket ("rtsafe"): a Newton step is taken if it stays inside the bracket
 * and if the bracket has halved within the last three evaluations, else the middle is taken.  */
#include <float.h>
#include <math.h>

#include "math/root_impl.h"

dfo_status dfoi_bracket(dfoi_function f, const void *data, double *low, double *high)
{
    double slope, width = *high - *low, at_low = f(data, *low, &slope), at_high = f(data, *high, &slope);
    while (at_low * at_high > 0) {
        *low -= width;
        *high += width;
        width *= 2;
        if (!isfinite(*low) || !isfinite(*high))
            return DFO_ENUM;
        at_low = f(data, *low, &slope);
        at_high = f(data, *high, &slope);
    }
    return isnan(at_low) || isnan(at_high) || at_low * at_high > 0 ? DFO_ENUM : DFO_OK;
}

#define EVALUATIONS 400                   /* 130 halvings and more */

static double middle(double low, double high)
{
    return 0.5 * low + 0.5 * high;        /* no overflow */
}

dfo_status dfoi_root(dfoi_function f, const void *data, double low, double high, double start, double tolerance,
                     double *root)
{
    double slope, at_low = f(data, low, &slope), at_high = f(data, high, &slope);
    if (isnan(at_low) || isnan(at_high))
        return DFO_ENUM;
    if (at_low == 0 || at_high == 0) {
        *root = at_low == 0 ? low : high;
        return DFO_OK;
    }
    if ((at_low > 0) == (at_high > 0))
        return DFO_EARG;
    double x = start > low && start < high ? start : middle(low, high);
    double before = high - low;           /* the bracket's width three evaluations ago */
    for (int i = 1; i <= EVALUATIONS; i++) {
        double value = f(data, x, &slope);
        if (isnan(value))
            return DFO_ENUM;
        *root = x;
        if (value == 0)
            return DFO_OK;
        if ((value > 0) == (at_high > 0))
            high = x;
        else
            low = x;
        double width = high - low, close = (tolerance > DBL_EPSILON ? tolerance : DBL_EPSILON) * (1 + fabs(x));
        double next = isfinite(slope) ? x - value / slope : NAN;
        int slow = i % 3 == 0 && width > 0.5 * before;
        if (i % 3 == 0)
            before = width;
        if (fabs(next - x) <= 0.5 * close && next >= low && next <= high) {
            *root = next;
            return DFO_OK;
        }
        if (!(next > low && next < high) || slow)
            next = middle(low, high);
        if (width <= close || next == low || next == high) {
            *root = next;
            return DFO_OK;
        }
        x = next;
    }
    return DFO_ENUM;
}
