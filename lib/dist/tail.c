/* Tails of the laws of test statistics.
 *
 * Kolmogorov's limit law: Q(t) = 2 sum_{k>=1} (-1)^{k-1} e^{-2 k^2 t^2}, for small t by its theta-function twin
 *     1 - sqrt(2 pi)/t sum_{k>=1} e^{-(2k-1)^2 pi^2 / (8 t^2)}.  */
#include <math.h>
#include <stdlib.h>

#include "dist/special_impl.h"
#include "dist/tail_impl.h"

#define SMALL 1.18                     /* both series of Kolmogorov's law are short here */

double dfoi_chi_square_tail(double x, double k)
{
    return dfoi_gamma_above(k / 2, x / 2);
}

double dfoi_kolmogorov_tail(double d, size_t n)
{
    double root = sqrt((double)n), t = (root + 0.12 + 0.11 / root) * d, sum = 0;
    if (!(t > 0.04))                   /* below, it is 1 to the last bit */
        return isnan(t) ? t : 1;
    for (int k = 1; k < 20; k++)
        sum += t < SMALL ? exp(-(2 * k - 1) * (2 * k - 1) * M_PI * M_PI / (8 * t * t)) : (k % 2 ? 2 : -2) * exp(-2.0 * k * k * t * t);
    return fmin(1, fmax(0, t < SMALL ? 1 - sqrt(2 * M_PI) / t * sum : sum));
}

static int rising(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

void dfoi_sort(size_t n, double *x)
{
    qsort(x, n, sizeof *x, rising);
}

double dfoi_uniform_distance(size_t n, double *u)
{
    double most = 0;
    dfoi_sort(n, u);
    for (size_t i = 0; i < n; i++)
        most = fmax(most, fmax((double)(i + 1) / (double)n - u[i], u[i] - (double)i / (double)n));
    return most;
}
