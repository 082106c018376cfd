/* Energy distance and maximum mean discrepancy from all pairs of rows.  Rows are sorted by category (sample, group),
 * so that the sums over pairs of categories, which are all that is kept, give the estimates of all rows and of all but
 * a group.  A task takes some rows against all behind them; tasks' sums are added in order.  */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/ctx_impl.h"
#include "base/par_impl.h"
#include "dist/distance_impl.h"
#include "dist/tail_impl.h"

#define CATEGORIES (2 * DFOI_GROUPS)
#define ROWS 64                        /* of a task */
#define TILE 256                       /* rows behind, at a time */
#define MEDIAN_ROWS 1000               /* of each sample */

/* Sums over pairs of rows of two categories, the lower first: of |x - y| and of the kernel.  */
struct sums {
    double distance[CATEGORIES][CATEGORIES], kernel[CATEGORIES][CATEGORIES];
};

struct pairs {
    size_t  n, d;                      /* of both samples together */
    size_t  first[CATEGORIES + 1];     /* rows of category c: first[c] .. first[c+1]-1 */
    double *x;                         /* (d, n) */
    double  rate;                      /* 1/(2 w^2) */
    struct sums *sums;                 /* (tasks) */
};

/* |x_i - x_j|^2 for j = from .. from+n-1.  */
static void squares(const struct pairs *p, size_t i, size_t from, size_t n, double *restrict to)
{
    memset(to, 0, n * sizeof *to);
    for (size_t k = 0; k < p->d; k++) {
        const double *row = p->x + k * p->n + from, at = p->x[k * p->n + i];
        for (size_t j = 0; j < n; j++)
            to[j] += (row[j] - at) * (row[j] - at);
    }
}

static void against_category(const struct pairs *p, size_t i, size_t ci, size_t cj, struct sums *s)
{
    double tile[TILE];
    size_t begin = p->first[cj] > i ? p->first[cj] : i + 1;
    for (size_t from = begin; from < p->first[cj + 1]; from += TILE) {
        size_t n = p->first[cj + 1] - from < TILE ? p->first[cj + 1] - from : TILE;
        double distance = 0, kernel = 0;
        squares(p, i, from, n, tile);
        for (size_t j = 0; j < n; j++)
            distance += sqrt(tile[j]);
        for (size_t j = 0; j < n; j++)
            kernel += exp(-p->rate * tile[j]);
        s->distance[ci][cj] += distance;
        s->kernel[ci][cj] += kernel;
    }
}

static void task(void *data, size_t index, int worker)
{
    const struct pairs *p = data;
    size_t end = (index + 1) * ROWS < p->n ? (index + 1) * ROWS : p->n, ci = 0;
    (void)worker;
    for (size_t i = index * ROWS; i < end; i++) {
        while (i >= p->first[ci + 1])
            ci++;
        for (size_t cj = ci; cj < CATEGORIES; cj++)
            against_category(p, i, ci, cj, p->sums + index);
    }
}

/* Copies both samples, sorted by category, feature by feature.  */
static void sort_rows(const dfo_samples *sample[2], struct pairs *p)
{
    size_t at = 0;
    for (size_t c = 0; c < CATEGORIES; c++) {
        const dfo_samples *s = sample[c / DFOI_GROUPS];
        p->first[c] = at;
        for (size_t i = c % DFOI_GROUPS; i < s->n; i += DFOI_GROUPS, at++)
            for (size_t k = 0; k < s->d; k++)
                p->x[k * p->n + at] = s->x[i * s->d + k];
    }
    p->first[CATEGORIES] = at;
}

/* The mean over pairs within a sample (which = 0, 1) or between both (2) without one group (DFOI_GROUPS: with all).  */
static double mean(const struct pairs *p, double sums[CATEGORIES][CATEGORIES], int which, size_t without)
{
    double sum = 0, rows[2] = {0, 0};
    for (size_t c = 0; c < CATEGORIES; c++)
        if (c % DFOI_GROUPS != without)
            rows[c / DFOI_GROUPS] += (double)(p->first[c + 1] - p->first[c]);
    for (size_t c = 0; c < CATEGORIES; c++)
        for (size_t e = c; e < CATEGORIES; e++) {
            size_t of_c = c / DFOI_GROUPS, of_e = e / DFOI_GROUPS;
            int kind = of_c != of_e ? 2 : (int)of_c;
            if (kind == which && c % DFOI_GROUPS != without && e % DFOI_GROUPS != without)
                sum += sums[c][e];
        }
    return which == 2 ? sum / (rows[0] * rows[1]) : 2 * sum / (rows[which] * (rows[which] - 1));
}

static double energy_of(const struct pairs *p, size_t without)
{
    return 2 * mean(p, p->sums->distance, 2, without) - mean(p, p->sums->distance, 0, without) -
           mean(p, p->sums->distance, 1, without);
}

static double mmd_of(const struct pairs *p, size_t without)
{
    return mean(p, p->sums->kernel, 0, without) + mean(p, p->sums->kernel, 1, without) -
           2 * mean(p, p->sums->kernel, 2, without);
}

static dfo_estimate estimate(const struct pairs *p, double (*of)(const struct pairs *, size_t))
{
    double without[DFOI_GROUPS];
    for (size_t g = 0; g < DFOI_GROUPS; g++)
        without[g] = of(p, g);
    return (dfo_estimate){of(p, DFOI_GROUPS), dfoi_jackknife(without)};
}

/* The median of |x - y| over the pairs of the first rows of both samples.  */
static dfo_status median(dfo_ctx *ctx, const dfo_samples *a, const dfo_samples *b, double *out)
{
    size_t na = a->n < MEDIAN_ROWS ? a->n : MEDIAN_ROWS, nb = b->n < MEDIAN_ROWS ? b->n : MEDIAN_ROWS, n = na + nb,
           count = 0;
    double *all;
    DFO_TRY(dfoi_alloc(ctx, n * (n - 1) / 2, sizeof *all, &all));
    for (size_t i = 0; i < n; i++)
        for (size_t j = i + 1; j < n; j++) {
            const double *x = i < na ? a->x + i * a->d : b->x + (i - na) * b->d;
            const double *y = j < na ? a->x + j * a->d : b->x + (j - na) * b->d;
            double sum = 0;
            for (size_t k = 0; k < a->d; k++)
                sum += (x[k] - y[k]) * (x[k] - y[k]);
            all[count++] = sqrt(sum);
        }
    dfoi_sort(count, all);
    *out = all[count / 2];
    dfoi_free(ctx, all);
    if (!(*out > 0))
        return dfoi_fail(ctx, DFO_EARG, "distance: half of all pairs of rows are the same: give a bandwidth");
    return DFO_OK;
}

static void add_up(struct sums *s, size_t tasks)
{
    for (size_t t = 1; t < tasks; t++)
        for (size_t c = 0; c < CATEGORIES; c++)
            for (size_t e = c; e < CATEGORIES; e++) {
                s->distance[c][e] += s[t].distance[c][e];
                s->kernel[c][e] += s[t].kernel[c][e];
            }
}

dfo_status dfo_pair_distances(dfo_ctx *ctx, const dfo_samples *a, const dfo_samples *b, double *bandwidth,
                              dfo_estimate *energy, dfo_estimate *mmd)
{
    const dfo_samples *sample[2] = {a, b};
    dfo_status status;
    DFO_TRY(dfoi_samples_check(ctx, a, b));
    struct pairs p = {.n = a->n + b->n, .d = a->d};
    size_t tasks = (p.n + ROWS - 1) / ROWS;
    if (!(*bandwidth >= 0) || isinf(*bandwidth))
        return dfoi_fail(ctx, DFO_EARG, "distance: bandwidth: expected a number above 0, got %g", *bandwidth);
    if (!*bandwidth)
        DFO_TRY(median(ctx, a, b, bandwidth));
    p.rate = 0.5 / (*bandwidth * *bandwidth);
    DFO_GO(dfoi_alloc(ctx, p.n, p.d * sizeof *p.x, &p.x));
    DFO_GO(dfoi_alloc(ctx, tasks, sizeof *p.sums, &p.sums));
    sort_rows(sample, &p);
    dfoi_par_for(dfo_ctx_threads(ctx), tasks, task, &p);
    add_up(p.sums, tasks);
    *energy = estimate(&p, energy_of);
    *mmd = estimate(&p, mmd_of);
    status = DFO_OK;
fail:
    dfoi_free(ctx, p.sums);
    dfoi_free(ctx, p.x);
    return status;
}
