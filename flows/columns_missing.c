/* What is missing of a row, drawn from the normal density q of the training rows on the line, given the entries that are known
 * (mean and covariance: columns_fit.c).  With L the Cholesky factor of the covariance, known entries first, and w = L^-1 (z -
 * mean), the known w follow from their z by substitution, the others are standard normal draws, and
 *
 *     log q(missing | known) = - sum over the missing (w^2/2 + log L_aa + log(2 pi)/2)
 *
 * Less that, the log-density of the full row is a draw's estimate of that of the known entries alone:
 * p(known) = E_q p(known, missing)/q(missing | known).  Imputed, rows count as what they were made.  */
#include <math.h>

#include "columns_impl.h"
#include "math/linalg_impl.h"

#define HALF_LOG_2PI 0.91893853320467274

size_t dfoi_missing_order(size_t d, const dfo_real *row, size_t *order)
{
    size_t known = 0, n;
    for (size_t j = 0; j < d; j++)
        if (!isnan(row[j]))
            order[known++] = j;
    n = known;
    for (size_t j = 0; j < d; j++)
        if (isnan(row[j]))
            order[n++] = j;
    return known;
}

int dfoi_missing_factor(size_t d, const size_t *order, const dfo_real *covariance, dfo_real *l)
{
    for (size_t a = 0; a < d; a++)
        for (size_t b = 0; b <= a; b++)
            l[a * d + b] = covariance[order[a] * d + order[b]];
    return dfoi_cholesky(d, l, d) == DFO_OK;
}

void dfoi_missing_known(size_t d, size_t known, const size_t *order, const dfo_real *mean, const dfo_real *l, const dfo_real *row, double *w)
{
    for (size_t a = 0; a < known; a++) {
        double sum = (double)row[order[a]] - (double)mean[order[a]];
        for (size_t b = 0; b < a; b++)
            sum -= (double)l[a * d + b] * w[b];
        w[a] = sum / (double)l[a * d + a];
    }
}

size_t dfoi_missing_scratch(const dfo_bijector *bij)
{
    return dfo_arena_size(bij->d * bij->d) + dfo_arena_size(bij->d) + dfoi_doubles_size(bij->d);
}

dfo_status dfoi_missing_fill(const dfo_bijector *bij, dfo_run *run, size_t i, dfo_real *row, double *logdet)
{
    const struct dfoi_columns *s = dfoi_columns_of(bij);
    const dfo_real *mean = dfo_run_buffers(run, s->mean);
    size_t order[DFOI_MISSING_MOST], d = bij->d, known = dfoi_missing_order(d, row, order);
    dfo_real *l = dfo_arena_take(run, d * d), *e = dfo_arena_take(run, d);
    double *w = dfoi_take_doubles(run, d), log_q = 0;
    if (!dfoi_missing_factor(d, order, dfo_run_buffers(run, s->covariance), l))
        return dfo_run_fail(run, DFO_ENUM, i, "columns: the covariance that missing values are drawn by is not positive definite");
    dfoi_missing_known(d, known, order, mean, l, row, w);
    dfo_draw_real_normal(dfoi_columns_key(bij, run, i, DFOI_FILLS), d, e);
    for (size_t a = known; a < d; a++) {
        double sum = (double)mean[order[a]];
        w[a] = (double)e[order[a]];
        for (size_t b = 0; b <= a; b++)
            sum += (double)l[a * d + b] * w[b];
        row[order[a]] = (dfo_real)sum;
        log_q -= 0.5 * w[a] * w[a] + log((double)l[a * d + a]) + HALF_LOG_2PI;
    }
    if (s->missing == DFOI_MISSING_MARGINALISE)
        *logdet -= log_q;
    return DFO_OK;
}
