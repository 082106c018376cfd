/* Axes without the drawing: ranges, ticks at round numbers, their texts.  Private.  */
#ifndef DFOI_PLOT_AXIS_IMPL_H
#define DFOI_PLOT_AXIS_IMPL_H

#include <stddef.h>

#define DFOI_TICKS 32
#define DFOI_MINORS 128
#define DFOI_TICK_TEXT 48 /* bytes */

struct dfoi_axis {
    double low, high; /* low < high; a log axis: both positive */
    int log;
    size_t n; /* labelled ticks, all within the range */
    double tick[DFOI_TICKS];
    char text[DFOI_TICKS][DFOI_TICK_TEXT]; /* UTF-8 */
    size_t minors;                         /* small ticks between them (log) */
    double minor[DFOI_MINORS];
};

/* Sets range and about `target` ticks (at least 2 where round numbers allow).  */
void dfoi_axis_set(struct dfoi_axis *axis, double low, double high, int log, size_t target);

/* Where a value stands: 0 at low, 1 at high.  */
double dfoi_axis_place(const struct dfoi_axis *axis, double value);

/* Widens a range by `share` of itself on both sides (on a log axis in decades); an empty one
 * becomes one of some width around its value.  */
void dfoi_range_pad(double *low, double *high, int log, double share);

/* The range of the finite values of x (n, stride apart); positive ones only if log.  0 if there are
 * none.  */
int dfoi_range_of(size_t n, const double *x, size_t stride, int log, double *low, double *high);

#endif
