/* What chains are worth (Vehtari et al. 2021; equations of that paper).
 *
 * Every chain is cut into halves, m chains of n draws.  With W the mean of their variances and B/n the variance of their means,
 *     var+ = (n-1)/n W + B/n,                       R-hat = sqrt(var+ / W)                          (eqs. 3, 4)
 *     rho_t = 1 - (W - mean over chains of the autocovariance at lag t) / var+                      (eq. 10)
 *     ESS = m n / (-1 + 2 sum_k P_k),               P_k = rho_2k + rho_2k+1,
 * the sum over the initial sequence of positive P_k, made decreasing (Geyer 1992).  Ranks r of all S values become
 * normal: z = Phi^-1((r - 3/8) / (S + 1/4)) (eq. 14), equal values share their mean rank.  */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <diffeo/mcmc.h>
#include "base/ctx_impl.h"

struct value {
    double x;
    size_t at;
};

struct work {
    size_t  m, n;                      /* halves of chains, and their length */
    double *x, *z;                     /* (m, n): a column, and something made of it */
    double *mean, *variance;           /* (m) */
    struct value *sorted;              /* (m n) */
};

static int rising(const void *a, const void *b)
{
    const struct value *x = a, *y = b;
    return (x->x > y->x) - (x->x < y->x);
}

/* Phi^-1(p): Abramowitz and Stegun 26.2.23 to 5e-4, then Halley's steps on Phi(z) - p, which treble the digits.  */
static double normal_quantile(double p)
{
    double q = p < 0.5 ? p : 1 - p, t = sqrt(-2 * log(q));
    double z = -(t - (2.515517 + t * (0.802853 + t * 0.010328)) / (1 + t * (1.432788 + t * (0.189269 + t * 0.001308))));
    for (int i = 0; i < 3; i++) {
        double step = (0.5 * erfc(-z * M_SQRT1_2) - q) * sqrt(2 * M_PI) * exp(0.5 * z * z);
        z -= step / (1 + 0.5 * z * step);
    }
    return p < 0.5 ? z : -z;
}

static void sort(struct work *w, const double *x)
{
    for (size_t i = 0; i < w->m * w->n; i++)
        w->sorted[i] = (struct value){x[i], i};
    qsort(w->sorted, w->m * w->n, sizeof *w->sorted, rising);
}

/* The quantile of sorted values, between its neighbours (type 7 of Hyndman and Fan 1996).  */
static double quantile(const struct work *w, double q)
{
    double at = q * (double)(w->m * w->n - 1);
    size_t low = (size_t)at, high = low + 1 < w->m * w->n ? low + 1 : low;
    return w->sorted[low].x + (at - (double)low) * (w->sorted[high].x - w->sorted[low].x);
}

/* z from x; the two may be the same.  */
static void normalise_ranks(struct work *w, const double *x)
{
    size_t all = w->m * w->n;
    sort(w, x);
    for (size_t i = 0, end; i < all; i = end) {
        for (end = i + 1; end < all && w->sorted[end].x == w->sorted[i].x; end++)
            ;
        double rank = 0.5 * (double)(i + 1 + end), z = normal_quantile((rank - 0.375) / ((double)all + 0.25));
        for (size_t k = i; k < end; k++)
            w->z[w->sorted[k].at] = z;
    }
}

/* Means and variances of the chains of x; W and var+.  */
static void moments(struct work *w, const double *x, double *within, double *plus)
{
    double n = (double)w->n, m = (double)w->m, mean = 0, between = 0;
    *within = 0;
    for (size_t c = 0; c < w->m; c++) {
        double sum = 0, squares = 0;
        for (size_t i = 0; i < w->n; i++)
            sum += x[c * w->n + i];
        w->mean[c] = sum / n;
        for (size_t i = 0; i < w->n; i++)
            squares += pow(x[c * w->n + i] - w->mean[c], 2);
        w->variance[c] = squares / (n - 1);
        *within += w->variance[c] / m;
        mean += w->mean[c] / m;
    }
    for (size_t c = 0; c < w->m; c++)
        between += pow(w->mean[c] - mean, 2) / (m - 1);
    *plus = (n - 1) / n * *within + between;
}

static double rhat(struct work *w, const double *x)
{
    double within, plus;
    moments(w, x, &within, &plus);
    return within > 0 ? sqrt(plus / within) : plus > 0 ? INFINITY : NAN;
}

static double rho(const struct work *w, const double *x, size_t lag, double within, double plus)
{
    double mean = 0;
    for (size_t c = 0; c < w->m; c++) {
        const double *at = x + c * w->n;
        double sum = 0;
        for (size_t i = 0; i + lag < w->n; i++)
            sum += (at[i] - w->mean[c]) * (at[i + lag] - w->mean[c]);
        mean += sum / (double)w->n / (double)w->m;
    }
    return 1 - (within - mean) / plus;
}

/* tau = -1 + 2 sum P_k is kept above 1/log10(m n), as anticorrelated chains of finite length ask for (there, section 3.2).  */
static double ess(struct work *w, const double *x)
{
    double within, plus, sum = 0, least = INFINITY, all = (double)(w->m * w->n);
    moments(w, x, &within, &plus);
    if (!(plus > 0))
        return NAN;
    for (size_t t = 0; t + 1 < w->n; t += 2) {
        double pair = (t ? rho(w, x, t, within, plus) : 1) + rho(w, x, t + 1, within, plus);
        if (!(pair > 0))
            break;
        least = fmin(least, pair);
        sum += least;
    }
    return all / fmax(2 * sum - 1, 1 / log10(all));
}

static double ess_below(struct work *w, double q)
{
    sort(w, w->x);
    double limit = quantile(w, q);
    for (size_t i = 0; i < w->m * w->n; i++)
        w->z[i] = w->x[i] <= limit;
    return ess(w, w->z);
}

static void summarise(struct work *w, dfo_mcmc_summary *out)
{
    size_t all = w->m * w->n;
    double sum = 0, squares = 0;
    for (size_t i = 0; i < all; i++)
        sum += w->x[i];
    out->mean = sum / (double)all;
    for (size_t i = 0; i < all; i++)
        squares += pow(w->x[i] - out->mean, 2);
    out->deviation = sqrt(squares / (double)(all - 1));
    out->ess = ess(w, w->x);
    out->error = out->deviation / sqrt(out->ess);
    normalise_ranks(w, w->x);
    out->ess_bulk = ess(w, w->z);
    out->rhat = rhat(w, w->z);
    out->ess_tail = fmin(ess_below(w, 0.05), ess_below(w, 0.95));
    double median = quantile(w, 0.5);              /* still sorted */
    for (size_t i = 0; i < all; i++)
        w->z[i] = fabs(w->x[i] - median);
    normalise_ranks(w, w->z);
    out->rhat = fmax(out->rhat, rhat(w, w->z));
}

dfo_status dfo_mcmc_summarise(dfo_ctx *ctx, size_t chains, size_t draws, size_t d, const double *x, dfo_mcmc_summary *out)
{
    struct work w = {.n = draws / 2};
    dfo_status status;
    size_t all;
    if (!chains || !d || draws < 4)
        return dfoi_fail(ctx, DFO_EARG, "mcmc: expected chains of 4 draws or more, got %zu of %zu", chains, draws);
    for (size_t i = 0; i < chains * draws * d; i++)
        if (!isfinite(x[i]))
            return dfoi_fail(ctx, DFO_ENUM, "mcmc: chain %zu, draw %zu, column %zu is not finite", i / d / draws, i / d % draws, i % d + 1);
    w.m = 2 * chains;
    DFO_TRY(dfoi_mul(ctx, w.m, w.n, "mcmc: draws", &all));
    DFO_GO(dfoi_alloc(ctx, all, sizeof *w.x, &w.x));
    DFO_GO(dfoi_alloc(ctx, all, sizeof *w.z, &w.z));
    DFO_GO(dfoi_alloc(ctx, w.m, sizeof *w.mean, &w.mean));
    DFO_GO(dfoi_alloc(ctx, w.m, sizeof *w.variance, &w.variance));
    DFO_GO(dfoi_alloc(ctx, all, sizeof *w.sorted, &w.sorted));
    for (size_t k = 0; k < d; k++) {
        for (size_t i = 0; i < all; i++) {         /* of an odd number of draws the middle one is left out */
            size_t half = i / w.n, first = half / 2 * draws + (half % 2 ? draws - w.n : 0);
            w.x[i] = x[(first + i % w.n) * d + k];
        }
        summarise(&w, out + k);
    }
fail:
    dfoi_free(ctx, w.sorted);
    dfoi_free(ctx, w.variance);
    dfoi_free(ctx, w.mean);
    dfoi_free(ctx, w.z);
    dfoi_free(ctx, w.x);
    return status;
}
