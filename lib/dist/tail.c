/* Tails of the laws of test statistics.
 *
 * Chi-square: Q(a, y) with a = k/2, y = x/2.  Below y = a + 1 as 1 - P by the series (Abramowitz and Stegun 6.5.29)
 *     P(a, y) = e^{-y} y^a / Gamma(a+1) (1 + y/(a+1) + y^2/((a+1)(a+2)) + ...),
 * beyond by the continued fraction (6.5.31, its even part)
 *     Q(a, y) = e^{-y} y^a / Gamma(a)  1/(y+1-a - 1(1-a)/(y+3-a - 2(2-a)/(y+5-a - ...))),
 * evaluated from the front (Lentz 1976).
 *
 * Kolmogorov's limit law: Q(t) = 2 sum_{k>=1} (-1)^{k-1} e^{-2 k^2 t^2}, for small t by its theta-function twin
 *     1 - sqrt(2 pi)/t sum_{k>=1} e^{-(2k-1)^2 pi^2 / (8 t^2)}.  */
#include <float.h>
#include <math.h>

#include "dist/tail_impl.h"

#define TERMS 10000
#define SMALL 1.18                     /* both series of Kolmogorov's law are short here */

static double series(double a, double y)
{
    double term = 1, sum = 1;
    for (int i = 1; i < TERMS && term > DBL_EPSILON * sum; i++) {
        term *= y / (a + i);
        sum += term;
    }
    return sum * exp(a * log(y) - y - lgamma(a + 1));
}

static double fraction(double a, double y)
{
    const double tiny = 1e-300;
    double b = y + 1 - a, c = 1 / tiny, d = 1 / b, f = d;
    for (int i = 1; i < TERMS; i++) {
        double p = -i * (i - a);
        b += 2;
        d = p * d + b;
        c = b + p / c;
        d = 1 / (fabs(d) < tiny ? tiny : d);
        c = fabs(c) < tiny ? tiny : c;
        f *= d * c;
        if (fabs(d * c - 1) < DBL_EPSILON)
            break;
    }
    return f * exp(a * log(y) - y - lgamma(a));
}

double dfoi_chi_square_tail(double x, double k)
{
    double a = k / 2, y = x / 2;
    if (!(y > 0))
        return isnan(x) ? x : 1;
    if (isinf(y))
        return 0;
    return y < a + 1 ? 1 - series(a, y) : fraction(a, y);
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
