/* Weights of draws: their mean, their worth, draws in proportion to them (formulas: <diffeo/mcmc.h>).  All relative to the largest.  */
#include <math.h>

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

dfo_status dfo_weights_summarise(dfo_ctx *ctx, size_t n, const double *log_weight, dfo_weight_summary *out)
{
    double top, sum = 0, squares = 0, off = 0;
    DFO_TRY(largest(ctx, n, log_weight, &top));
    for (size_t i = 0; i < n; i++) {
        double w = exp(log_weight[i] - top);
        sum += w;
        squares += w * w;
    }
    double mean = sum / (double)n;
    for (size_t i = 0; i < n; i++)
        off += pow(exp(log_weight[i] - top) - mean, 2);
    out->log_mean = top + log(mean);
    out->log_mean_error = n > 1 ? sqrt(off / (double)(n - 1) / (double)n) / mean : NAN;
    out->ess = sum * sum / squares;
    out->largest = 1 / sum;
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
