/* Tails of the laws of test statistics.  Private.  */
#ifndef DFOI_TAIL_IMPL_H
#define DFOI_TAIL_IMPL_H

#include <stddef.h>

/* P(X > x) of a chi-square law with k > 0 degrees of freedom.  */
double dfoi_chi_square_tail(double x, double k);

/* P(D > d) of Kolmogorov's distance between n uniform numbers and their law.  The limit law of (sqrt n + 0.12 + 0.11/sqrt n) D: good to
 * 0.001 from n = 20 on (Stephens 1970, "Use of the Kolmogorov-Smirnov, Cramer-von Mises and related statistics without extensive tables").  */
double dfoi_kolmogorov_tail(double d, size_t n);

/* Kolmogorov's distance of n numbers from the uniform law on (0, 1); they are sorted.  */
double dfoi_uniform_distance(size_t n, double *u);

void dfoi_sort(size_t n, double *x);

#endif
