/* One rational-quadratic spline, one value at a time, in long double: what the kernels are compared
 * with.  Written from the textbook formulas (Durkan et al. 2019), sharing nothing with the library.
 */
#ifndef DFOI_TESTS_SPLINE_SCALAR_H
#define DFOI_TESTS_SPLINE_SCALAR_H

#include <stddef.h>

typedef struct scalar_spline {
    size_t bins;
    int circular;
    double bound, min_width, min_height, min_derivative, scale;
} scalar_spline;

/* y(x) and log dy/dx; raw: 2K + slopes (K-1, or K where circular).  */
void scalar_forward(const scalar_spline *how, const double *raw, double x, double *y,
                    double *logdet);

/* x(y), by the quadratic and one Newton step.  */
double scalar_inverse(const scalar_spline *how, const double *raw, double y);

/* Gradient of gy*y + gl*logdet at x: with respect to x, and to raw (written).  */
double scalar_backward(const scalar_spline *how, const double *raw, double x, double gy, double gl,
                       double *graw);

/* The same for the inverse at y(x): gradient of gx*x - gl*logdet with respect to y, and to raw.  */
double scalar_inverse_backward(const scalar_spline *how, const double *raw, double x, double gx,
                               double gl, double *graw);

/* The smaller of width and height of the bin that x lies in; the box's where x is outside.  */
double scalar_extent(const scalar_spline *how, const double *raw, double x);

#endif
