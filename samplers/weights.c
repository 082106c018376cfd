/* Weights of draws: their mean, their worth, draws in proportion to them (formulas: <diffeo/mcmc.h>).  All relative to the largest.  */
#include <math.h>
#include <stdlib.h>

#include <diffeo/mcmc.h>
#include <diffeo/rng.h>
#include "base/ctx_impl.h"

static dfo_status largest(dfo_ctx *ctx, size_t n, const double *log_weight, double *top)
{
    *top = -INFINITY;
    for (size_t i = 0; i < n; i++) {
        if (isnan(log_weight[i]) || log_weight[i] == INFINITY)
            return dfoi_fail(ctx, DFO_EARG, "weights: log weight %zu is %g", i, log_weight[i]);
        *top = fmax(*top, log_weight[i]);
    }
    if (!isfinite(*top))
        return dfoi_fail(ctx, DFO_EARG, n ? "weights: all %zu are 0" : "weights: there are none", n);
    return DFO_OK;
}

static int rising(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double mean_log(size_t n, const double *x, double theta)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += log1p(-theta * x[i]);
    return sum / (double)n;
}

/* k of the generalised Pareto law of x (n), rising, from 0 on: the mean over a grid of theta = -k/scale, each weighted by its profile likelihood,
 * drawn a little to 1/2 as by ten more observations.  */
static double pareto(size_t n, const double *x)
{
    size_t grid = 30 + (size_t)sqrt((double)n);
    double quarter = x[(size_t)((double)n / 4 + 0.5) - 1], top = -INFINITY, sum = 0, theta = 0;
    if (!(quarter > 0))
        return NAN;
    for (int pass = 0; pass < 2; pass++)           /* the largest log-likelihood, then weights relative to it */
        for (size_t j = 0; j < grid; j++) {
            double at = 1 / x[n - 1] + (1 - sqrt((double)grid / ((double)j + 0.5))) / (3 * quarter), k = mean_log(n, x, at);
            double loglik = (double)n * (log(-at / k) - k - 1);
            if (!pass) {
                top = fmax(top, loglik);
                continue;
            }
            sum += exp(loglik - top);
            theta += exp(loglik - top) * at;
        }
    return (mean_log(n, x, theta / sum) * (double)n + 5) / ((double)n + 10);
}

/* Of weights relative to the largest: of the 3 sqrt(n) largest, a fifth at most, what they exceed the next one by.  */
static double tail_of(size_t n, double *w)
{
    size_t m = (size_t)ceil(fmin(0.2 * (double)n, 3 * sqrt((double)n)));
    if (n < 25)
        return NAN;
    qsort(w, n, sizeof *w, rising);
    for (size_t i = n - m; i < n; i++)
        w[i] -= w[n - m - 1];
    return pareto(m, w + n - m);
}

dfo_status dfo_weights_summarise(dfo_ctx *ctx, size_t n, const double *log_weight, dfo_weight_summary *out)
{
    double top, sum = 0, squares = 0, off = 0, *w;
    DFO_TRY(largest(ctx, n, log_weight, &top));
    DFO_TRY(dfoi_alloc(ctx, n, sizeof *w, &w));
    for (size_t i = 0; i < n; i++) {
        w[i] = exp(log_weight[i] - top);
        sum += w[i];
        squares += w[i] * w[i];
    }
    double mean = sum / (double)n;
    for (size_t i = 0; i < n; i++)
        off += pow(w[i] - mean, 2);
    out->log_mean = top + log(mean);
    out->log_mean_error = n > 1 ? sqrt(off / (double)(n - 1) / (double)n) / mean : NAN;
    out->ess = sum * sum / squares;
    out->largest = 1 / sum;
    out->tail = tail_of(n, w);
    dfoi_free(ctx, w);
    return DFO_OK;
}

dfo_status dfo_weights_resample(dfo_ctx *ctx, size_t n, const double *log_weight, uint64_t seed, size_t m, size_t *places)
{
    dfo_key key = {.seed = seed, .row = UINT64_MAX, .purpose = DFO_FOR_MCMC};       /* no chain's */
    double top, sum = 0, u, passed = 0;
    size_t at = 0;
    DFO_TRY(largest(ctx, n, log_weight, &top));
    for (size_t i = 0; i < n; i++)
        sum += exp(log_weight[i] - top);
    dfo_draw_uniform(key, 0, 1, &u);
    for (size_t i = 0; i < n; i++) {
        passed += exp(log_weight[i] - top) / sum * (double)m;
        while (at < m && u + (double)at < passed)
            places[at++] = i;
    }
    for (size_t last = n; at < m; at++) {          /* what rounding left over: the last one that has a weight */
        while (last > 1 && log_weight[last - 1] == -INFINITY)
            last--;
        places[at] = last - 1;
    }
    return DFO_OK;
}
