/* Differences of log-gamma functions, and the incomplete one.
 *
 * For large a:  log Gamma(a+1/2) - log Gamma(a) = 1/2 log a - 1/(8a) + 1/(192 a^3) - 1/(640 a^5) +
 * … (Tricomi and Erdelyi 1951, "The asymptotic expansion of a ratio of gamma functions"); at a >=
 * 12 the terms below leave 4e-18.  Smaller a are lifted by Gamma(a+1) = a Gamma(a).  Whole steps
 * are sums of logarithms.  */
#include <math.h>

#include "dist/special_impl.h"

#define LARGE 12.0

static double half_step(double a, double *slope)
{
    static const double c[] = {-1.0 / 8,      1.0 / 192,      -1.0 / 640,      17.0 / 14336,
                               -31.0 / 18432, 691.0 / 180224, -5461.0 / 425984};
    const int terms = sizeof c / sizeof *c;
    double product = 1, lifted = 0;
    for (; a < LARGE; a += 1) {
        product *= a / (a + 0.5);
        lifted += 0.5 / (a * (a + 0.5));
    }
    double y = 1 / a, y2 = y * y, value = 0, derivative = 0;
    for (int i = terms - 1; i >= 0; i--) { /* Horner: sum of c_i y^(2i+1), and (2i+1) c_i */
        value = value * y2 + c[i];
        derivative = derivative * y2 + (2 * i + 1) * c[i];
    }
    *slope = 0.5 * y - derivative * y2 + lifted;
    return 0.5 * log(a) + value * y + log(product);
}

double dfoi_log_gamma_step(double a, size_t m, double *slope)
{
    double value = 0, derivative = 0;
    for (size_t k = 0; k < m / 2; k++) {
        value += log(a + (double)k);
        derivative += 1 / (a + (double)k);
    }
    if (m % 2) {
        double s;
        value += half_step(a + (double)(m / 2), &s);
        derivative += s;
    }
    if (slope)
        *slope = derivative;
    return value;
}

/* x^a e^-x/Gamma(a), which both forms have in front.  */
static double front(double a, double x)
{
    int sign;
    return exp(a * log(x) - x - lgamma_r(a, &sign));       /* lgamma writes a global */
}

/* Abramowitz and Stegun 6.5.29, of the part below x, for x < a + 1.  Terms go with sqrt(a).  */
static double series(double a, double x)
{
    double term = 1 / a, sum = term;
    for (double k = 1; term > 1e-16 * sum; k++) {
        term *= x / (a + k);
        sum += term;
    }
    return front(a, x) * sum;
}

/* Their continued fraction 6.5.31, even part, of the part above, beyond; by Lentz's method.  */
static double fraction(double a, double x)
{
    double b = x + 1 - a, c = 1e300, d = 1 / b, h = d;
    for (double k = 1; k < 1e6; k++) {
        double by = -k * (k - a);
        b += 2;
        d = 1 / (by * d + b);
        c = b + by / c;
        h *= c * d;
        if (fabs(c * d - 1) < 4e-16)
            break;
    }
    return front(a, x) * h;
}

double dfoi_gamma_below(double a, double x)
{
    if (!(x > 0))
        return isnan(x) ? x : 0;
    if (isinf(x))
        return 1;
    return x < a + 1 ? series(a, x) : 1 - fraction(a, x);
}

double dfoi_gamma_above(double a, double x)
{
    if (!(x > 0))
        return isnan(x) ? x : 1;
    if (isinf(x))
        return 0;
    return x < a + 1 ? 1 - series(a, x) : fraction(a, x);
}

double dfoi_log_sigmoid(double t)
{
    return t < 0 ? t - log1p(exp(t)) : -log1p(exp(-t));
}

double dfoi_sigmoid(double t)
{
    double e = exp(-fabs(t));
    return (t < 0 ? e : 1) / (1 + e);
}

double dfoi_log_sum_exp(size_t n, const double *v)
{
    double most = v[0], sum = 0;
    for (size_t k = 1; k < n; k++)
        most = v[k] > most || isnan(v[k]) ? v[k] : most;
    if (!isfinite(most))
        return most;
    for (size_t k = 0; k < n; k++)
        sum += exp(v[k] - most);
    return most + log(sum);
}
