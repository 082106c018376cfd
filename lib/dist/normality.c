/* One-sample Kolmogorov-Smirnov tests, see <diffeo/normality.h>.  */
#include <math.h>

#include <diffeo/normality.h>
#include "base/ctx_impl.h"
#include "dist/special_impl.h"
#include "dist/tail_impl.h"

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
        for (size_t i = 0; i < z->n; i++) {
            double x = z->x[i * z->d + j];
            out->mean += x / (n * d);
            out->variance += x * x / (n * d);
            u[i] = erfc(-x / sqrt(2)) / 2;
        }
        double distance = dfoi_uniform_distance(z->n, u);
        if (!j || distance > out->distance) {
            out->distance = distance;
            out->column = j;
            out->column_p = fmin(1, d * dfoi_kolmogorov_tail(distance, z->n));
        }
    }
    for (size_t i = 0; i < z->n; i++) {
        double sum = 0;
        for (size_t j = 0; j < z->d; j++)
            sum += z->x[i * z->d + j] * z->x[i * z->d + j];
        u[i] = dfoi_gamma_below(d / 2, sum / 2);
    }
    out->norm_distance = dfoi_uniform_distance(z->n, u);
    out->norm_p = dfoi_kolmogorov_tail(out->norm_distance, z->n);
    out->p = fmin(1, 2 * fmin(out->column_p, out->norm_p));
    dfoi_free(ctx, u);
    return DFO_OK;
}
