/* One-sample Kolmogorov-Smirnov tests, see <diffeo/normality.h>: D = sup |F_n - F|.  With s = (sqrt(n) + 0.12 + 0.11/sqrt(n)) D
 * (Stephens 1970, "Use of the Kolmogorov-Smirnov ... statistics without extensive tables") the chance of more is Kolmogorov's
 *
 *     Q(s) = 2 sum_k (-1)^(k-1) exp(-2 k^2 s^2) = 1 - sqrt(2 pi)/s sum_k exp(-(2k-1)^2 pi^2/(8 s^2)),
 *
 * the second series for small s.  */
#include <math.h>
#include <stdlib.h>

#include <diffeo/normality.h>
#include "base/ctx_impl.h"
#include "dist/special_impl.h"

static double kolmogorov(double s)
{
    const double pi = 3.14159265358979323846;
    double sum = 0;
    if (s < 0.05)
        return 1;
    for (int k = 1; k <= 20; k++)
        sum += s < 1.18 ? exp(-(2 * k - 1) * (2 * k - 1) * pi * pi / (8 * s * s)) : (k % 2 ? 1 : -1) * exp(-2.0 * k * k * s * s);
    return s < 1.18 ? 1 - sqrt(2 * pi) / s * sum : 2 * sum;
}

static int rising(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Of n numbers u that should be uniform; they are sorted.  */
static double distance_of(double *u, size_t n, double *p)
{
    double most = 0, root = sqrt((double)n);
    qsort(u, n, sizeof *u, rising);
    for (size_t i = 0; i < n; i++)
        most = fmax(most, fmax((double)(i + 1) / (double)n - u[i], u[i] - (double)i / (double)n));
    *p = kolmogorov((root + 0.12 + 0.11 / root) * most);
    return most;
}

static dfo_status check(dfo_ctx *ctx, const dfo_samples *z)
{
    if (!z->n || !z->d)
        return dfoi_fail(ctx, DFO_EARG, "normality: no numbers (%zu rows of %zu)", z->n, z->d);
    for (size_t i = 0; i < z->n * z->d; i++)
        if (!isfinite(z->x[i]))
            return dfoi_fail(ctx, DFO_EARG, "normality: row %zu: not finite", i / z->d);
    return DFO_OK;
}

dfo_status dfo_normality_test(dfo_ctx *ctx, const dfo_samples *z, dfo_normality *out)
{
    double *u, n = (double)z->n, d = (double)z->d;
    DFO_TRY(check(ctx, z));
    DFO_TRY(dfoi_alloc(ctx, z->n, sizeof *u, &u));
    *out = (dfo_normality){.column_p = 1};
    for (size_t j = 0; j < z->d; j++) {
        double p;
        for (size_t i = 0; i < z->n; i++) {
            double x = z->x[i * z->d + j];
            out->mean += x / (n * d);
            out->variance += x * x / (n * d);
            u[i] = erfc(-x / sqrt(2)) / 2;
        }
        double distance = distance_of(u, z->n, &p);
        if (!j || distance > out->distance) {
            out->distance = distance;
            out->column = j;
            out->column_p = fmin(1, p * d);
        }
    }
    for (size_t i = 0; i < z->n; i++) {
        double sum = 0;
        for (size_t j = 0; j < z->d; j++)
            sum += z->x[i * z->d + j] * z->x[i * z->d + j];
        u[i] = dfoi_gamma_below(d / 2, sum / 2);
    }
    out->norm_distance = distance_of(u, z->n, &out->norm_p);
    out->p = fmin(1, 2 * fmin(out->column_p, out->norm_p));
    dfoi_free(ctx, u);
    return DFO_OK;
}
