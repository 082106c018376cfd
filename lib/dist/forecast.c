/* Forecasts against what came: ranks, PIT, fair CRPS and energy score (formulas and sources: <diffeo/forecast.h>).
 *
 * Of sorted draws x_(0) <= ... <= x_(L-1), sum_{l<m} |x_l - x_m| = sum_k (2k + 1 - L) x_(k).
 * Every row is a task; what it gives stands at its place, and sums run over rows in order: the same bits for any number of threads.  */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <diffeo/forecast.h>
#include <diffeo/rng.h>
#include "base/ctx_impl.h"
#include "base/par_impl.h"
#include "dist/tail_impl.h"

struct dfo_forecast {
    dfo_ctx *ctx;
    dfo_forecast_options o;
    double *pit, *score;               /* (d + 1, rows): column by column; the last is of whole rows */
    unsigned char *state;              /* (rows) ABSENT or ADDED */
};

enum { ABSENT, ADDED };

dfo_status dfo_forecast_new(dfo_ctx *ctx, const dfo_forecast_options *options, dfo_forecast **out)
{
    dfo_forecast *f = NULL;
    dfo_status status;
    size_t numbers;
    *out = NULL;
    if (!options->rows || !options->d)
        return dfoi_fail(ctx, DFO_EARG, "forecast: no rows or no columns (%zu, %zu)", options->rows, options->d);
    if (options->draws < 2)
        return dfoi_fail(ctx, DFO_EARG, "forecast: draws: expected 2 at least, got %zu", options->draws);
    if (options->bins < 2 || options->bins > options->draws + 1)
        return dfoi_fail(ctx, DFO_EARG, "forecast: bins: expected 2 to %zu, as many as ranks, got %zu", options->draws + 1, options->bins);
    DFO_TRY(dfoi_mul(ctx, options->rows, options->d + 1, "forecast: rows", &numbers));
    DFO_TRY(dfoi_alloc(ctx, 1, sizeof *f, &f));
    f->ctx = ctx;
    f->o = *options;
    size_t limit = dfoi_memory_limit(ctx);
    if (limit && (numbers > SIZE_MAX / 32 || dfo_ctx_bytes(ctx) + 16 * numbers > limit)) {
        status = dfoi_fail(ctx, DFO_ELIMIT, "forecast: %zu rows take %zu bytes, the limit is %zu", options->rows, 16 * numbers, limit);
        goto fail;
    }
    DFO_GO(dfoi_alloc(ctx, numbers, sizeof *f->pit, &f->pit));
    DFO_GO(dfoi_alloc(ctx, numbers, sizeof *f->score, &f->score));
    DFO_GO(dfoi_alloc(ctx, options->rows, sizeof *f->state, &f->state));
    *out = f;
    return DFO_OK;
fail:
    dfo_forecast_free(f);
    return status;
}

void dfo_forecast_free(dfo_forecast *forecast)
{
    if (!forecast)
        return;
    dfoi_free(forecast->ctx, forecast->state);
    dfoi_free(forecast->ctx, forecast->score);
    dfoi_free(forecast->ctx, forecast->pit);
    dfoi_free(forecast->ctx, forecast);
}

/* Rows that are being added.  */
struct adding {
    dfo_forecast *f;
    size_t first;
    const double *y, *draws, *logp, *draw_logp;
    double *sorted;                    /* (workers, L) */
};

/* (r + u)/(L + 1): r draws below the value, of equal ones as many as the lot says.  */
static double pit_of(const dfo_forecast *f, size_t row, size_t j, size_t below, size_t equal)
{
    dfo_key key = {.seed = f->o.seed, .row = row, .purpose = DFO_FOR_CHECK, .step = (uint32_t)j};
    double u[2];
    dfo_draw_uniform(key, 0, 2, u);
    double rank = (double)below + floor(u[0] * (double)(equal + 1));
    return (rank + u[1]) / (double)(f->o.draws + 1);
}

/* CRPS of value y from draws x (L), stride apart, which are sorted into `sorted`; counts what lies below and on y.  */
static double crps(size_t draws, const double *x, size_t stride, double y, double *sorted, size_t *below, size_t *equal)
{
    double off = 0, spread = 0;
    *below = *equal = 0;
    for (size_t l = 0; l < draws; l++) {
        sorted[l] = x[l * stride];
        off += fabs(sorted[l] - y);
        *below += sorted[l] < y;
        *equal += sorted[l] == y;
    }
    dfoi_sort(draws, sorted);
    for (size_t k = 0; k < draws; k++)
        spread += (2.0 * (double)k + 1 - (double)draws) * sorted[k];
    return off / (double)draws - spread / ((double)draws * (double)(draws - 1));
}

static double distance(size_t d, const double *x, const double *y)
{
    double sum = 0;
    for (size_t k = 0; k < d; k++)
        sum += (x[k] - y[k]) * (x[k] - y[k]);
    return sqrt(sum);
}

static double energy(size_t draws, size_t d, const double *x, const double *y)
{
    double off = 0, spread = 0;
    for (size_t l = 0; l < draws; l++) {
        off += distance(d, x + l * d, y);
        for (size_t m = l + 1; m < draws; m++)
            spread += distance(d, x + l * d, x + m * d);
    }
    return off / (double)draws - spread / ((double)draws * (double)(draws - 1));
}

static void task(void *data, size_t i, int worker)
{
    const struct adding *a = data;
    dfo_forecast *f = a->f;
    size_t draws = f->o.draws, d = f->o.d, row = a->first + i, below, equal;
    const double *y = a->y + i * d, *x = a->draws + i * draws * d;
    for (size_t j = 0; j < d; j++) {
        f->score[j * f->o.rows + row] = crps(draws, x + j, d, y[j], a->sorted + (size_t)worker * draws, &below, &equal);
        f->pit[j * f->o.rows + row] = pit_of(f, row, j, below, equal);
    }
    f->score[d * f->o.rows + row] = d == 1 ? f->score[row] : energy(draws, d, x, y);      /* of one column it is the CRPS */
    below = equal = 0;
    for (size_t l = 0; a->logp && l < draws; l++) {
        below += a->draw_logp[i * draws + l] > a->logp[i];
        equal += a->draw_logp[i * draws + l] == a->logp[i];
    }
    f->pit[d * f->o.rows + row] = a->logp ? pit_of(f, row, d, below, equal) : NAN;
    f->state[row] = ADDED;
}

static dfo_status check(const struct adding *a, size_t n)
{
    const dfo_forecast *f = a->f;
    size_t draws = f->o.draws, d = f->o.d;
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < d; k++)
            if (!isfinite(a->y[i * d + k]))
                return dfoi_fail(f->ctx, DFO_ENUM, "forecast: row %zu, column %zu is not finite", a->first + i, k + 1);
        for (size_t k = 0; k < draws * d; k++)
            if (!isfinite(a->draws[i * draws * d + k]))
                return dfoi_fail(f->ctx, DFO_ENUM, "forecast: row %zu: draw %zu, column %zu is not finite", a->first + i, k / d, k % d + 1);
        for (size_t l = 0; a->logp && l < draws; l++)
            if (isnan(a->draw_logp[i * draws + l]) || isnan(a->logp[i]))
                return dfoi_fail(f->ctx, DFO_ENUM, "forecast: row %zu: a log density is not a number", a->first + i);
    }
    return DFO_OK;
}

dfo_status dfo_forecast_add(dfo_forecast *forecast, uint64_t first, size_t n, const double *y, const double *draws, const double *logp,
                            const double *draw_logp)
{
    dfo_ctx *ctx = forecast->ctx;
    struct adding a = {.f = forecast, .first = (size_t)first, .y = y, .draws = draws, .logp = logp, .draw_logp = draw_logp};
    int threads = dfo_ctx_threads(ctx);
    if (first > forecast->o.rows || n > forecast->o.rows - (size_t)first)
        return dfoi_fail(ctx, DFO_EARG, "forecast: rows %llu to %llu of %zu", (unsigned long long)first,
                         (unsigned long long)(first + n), forecast->o.rows);
    if (!logp != !draw_logp)
        return dfoi_fail(ctx, DFO_EARG, "forecast: log densities of rows and of draws go together");
    DFO_TRY(check(&a, n));
    DFO_TRY(dfoi_alloc(ctx, (size_t)threads, forecast->o.draws * sizeof *a.sorted, &a.sorted));
    dfoi_par_for(threads, n, task, &a);
    dfoi_free(ctx, a.sorted);
    return DFO_OK;
}

static dfo_status complete(const dfo_forecast *f, size_t j)
{
    if (j > f->o.d)
        return dfoi_fail(f->ctx, DFO_EARG, "forecast: place %zu of %zu columns", j, f->o.d);
    for (size_t i = 0; i < f->o.rows; i++)
        if (f->state[i] != ADDED)
            return dfoi_fail(f->ctx, DFO_EARG, "forecast: row %zu is missing", i);
    return DFO_OK;
}

/* Mean and its standard error.  */
static dfo_estimate mean(size_t n, const double *x)
{
    double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++)
        sum += x[i];
    sum /= (double)n;
    for (size_t i = 0; i < n; i++)
        squares += (x[i] - sum) * (x[i] - sum);
    return (dfo_estimate){sum, n > 1 ? sqrt(squares / ((double)n - 1) / (double)n) : NAN};
}

/* Bin of a rank, 0 .. L; bin b has the ranks of which (L + 1) b <= bins r < (L + 1)(b + 1).  */
static size_t bin_of(const dfo_forecast *f, size_t rank)
{
    return rank * f->o.bins / (f->o.draws + 1);
}

/* Pearson's statistic of the counts (bins), of which ranks that are equally likely make what is expected.  */
static double chi_square(const dfo_forecast *f, const uint64_t *count, double *expected)
{
    double sum = 0;
    memset(expected, 0, f->o.bins * sizeof *expected);
    for (size_t r = 0; r <= f->o.draws; r++)
        expected[bin_of(f, r)] += (double)f->o.rows / (double)(f->o.draws + 1);
    for (size_t b = 0; b < f->o.bins; b++)
        sum += ((double)count[b] - expected[b]) * ((double)count[b] - expected[b]) / expected[b];
    return sum;
}

dfo_status dfo_forecast_measure(const dfo_forecast *forecast, size_t j, dfo_forecast_result *out, uint64_t *ranks)
{
    const dfo_forecast *f = forecast;
    size_t n = f->o.rows, bins = f->o.bins;
    double *sorted = NULL, *expected = NULL;
    uint64_t *count = NULL;
    dfo_status status;
    DFO_TRY(complete(f, j));
    const double *pit = f->pit + j * n;
    DFO_GO(dfoi_alloc(f->ctx, n, sizeof *sorted, &sorted));
    DFO_GO(dfoi_alloc(f->ctx, bins, sizeof *expected, &expected));
    DFO_GO(dfoi_alloc(f->ctx, bins, sizeof *count, &count));
    int known = 1;
    for (size_t i = 0; i < n; i++)
        known &= !isnan(pit[i]);
    for (size_t i = 0; i < n && known; i++) {
        sorted[i] = pit[i];
        size_t rank = (size_t)(pit[i] * (double)(f->o.draws + 1));
        count[bin_of(f, rank > f->o.draws ? f->o.draws : rank)]++;
    }
    *out = (dfo_forecast_result){mean(n, f->score + j * n), NAN, NAN, NAN, NAN};
    if (known) {
        out->chi_square = chi_square(f, count, expected);
        out->chi_square_p = dfoi_chi_square_tail(out->chi_square, (double)(bins - 1));
        out->ks = dfoi_uniform_distance(n, sorted);
        out->ks_p = dfoi_kolmogorov_tail(out->ks, n);
    }
    if (ranks)
        memcpy(ranks, count, bins * sizeof *ranks);
fail:
    dfoi_free(f->ctx, count);
    dfoi_free(f->ctx, expected);
    dfoi_free(f->ctx, sorted);
    return status;
}

dfo_status dfo_forecast_coverage(const dfo_forecast *forecast, size_t j, double level, dfo_estimate *out)
{
    size_t n = forecast->o.rows, in = 0;
    const double *pit = forecast->pit;
    if (!(level > 0 && level < 1))
        return dfoi_fail(forecast->ctx, DFO_EARG, "forecast: level: expected a number between 0 and 1, got %g", level);
    DFO_TRY(complete(forecast, j));
    for (size_t i = 0; i < n; i++) {
        double at = pit[j * n + i];
        if (isnan(at))
            return dfoi_fail(forecast->ctx, DFO_EARG, "forecast: row %zu came without densities: no highest-density region", i);
        in += j < forecast->o.d ? fabs(at - 0.5) < level / 2 : at < level;
    }
    *out = (dfo_estimate){(double)in / (double)n, sqrt(level * (1 - level) / (double)n)};
    return DFO_OK;
}

double dfo_forecast_pit(const dfo_forecast *forecast, size_t i, size_t j)
{
    return forecast->pit[j * forecast->o.rows + i];
}

double dfo_forecast_score(const dfo_forecast *forecast, size_t i, size_t j)
{
    return forecast->score[j * forecast->o.rows + i];
}
