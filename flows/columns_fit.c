/* What a columns layer takes from the training rows: the normal density that missing values are drawn by, fitted by expectation
 * and maximisation (Dempster, Laird, Rubin 1977; Little and Rubin, section 11.2), on the line.  Expectation: a row's missing entries
 * are their conditional mean, and its part of the covariance has their conditional covariance besides; maximisation: moments.  */
#include <float.h>
#include <math.h>
#include <string.h>

#include "columns_impl.h"

#define CHUNK 1024
#define MOST_ROWS 20000                /* that are fitted to, evenly spread */
#define MOST_WORK 2e8                  /* multiplications of one pass */
#define MOST_PASSES 100
#define SETTLED 1e-5                   /* of a standard deviation, of a correlation: what a pass still changes */
#define RIDGE (64 * (double)DFO_REAL_EPS)   /* of the variances: copies of columns are none of each other */

struct fit {
    dfo_bijector *bij;
    dfo_ctx      *ctx;
    size_t        d, n, most;          /* rows that are kept */
    uint64_t      step;                /* one in so many */
    dfo_run      *run;
    dfo_real     *rows, *kept;         /* (CHUNK, width), (most, d) */
    double       *low, *high, *mean, *delta, *w, *row;   /* (d) */
    double       *count;               /* (d) entries that are known */
    double       *sum;                 /* (d, d) */
    dfo_real     *centre, *covariance, *l;               /* (d), (d, d) */
};

/* ---- all rows, on the line */

static dfo_status take_row(struct fit *f, const dfo_source *train, uint64_t at, dfo_real *row)
{
    double ignored = 0;
    f->run->key.row = at;
    f->run->arena_used = 0;
    if (dfoi_columns_row(f->bij, f->run, 0, row, &ignored) != DFO_OK)
        return dfoi_fail(f->ctx, f->run->status, "%s: %s", dfo_source_name(train), f->run->text);
    for (size_t j = 0; j < f->d; j++) {
        f->count[j] += !isnan(row[j]);
        f->low[j] = fmin(f->low[j], (double)row[j]);       /* of NaN and a number: the number */
        f->high[j] = fmax(f->high[j], (double)row[j]);
    }
    if (at % f->step == 0 && f->n < f->most)
        memcpy(f->kept + f->n++ * f->d, row, f->d * sizeof *row);
    return DFO_OK;
}

static dfo_status all_rows(struct fit *f, const dfo_source *train, uint64_t rows, size_t width)
{
    for (size_t j = 0; j < f->d; j++) {
        f->low[j] = INFINITY;
        f->high[j] = -INFINITY;
    }
    for (uint64_t first = 0; first < rows; first += CHUNK) {
        dfo_batch x = dfo_batch_of(f->rows, rows - first < CHUNK ? (size_t)(rows - first) : CHUNK, width);
        DFO_TRY(dfo_source_read(train, f->ctx, first, x, NULL));
        for (size_t i = 0; i < x.n; i++)
            DFO_TRY(take_row(f, train, first + i, dfo_row(x, i)));
    }
    return DFO_OK;
}

static dfo_status refuse(const struct fit *f, const dfo_source *train, int density)
{
    const struct dfoi_columns *s = dfoi_columns_of(f->bij);
    for (size_t j = 0; j < f->d; j++) {
        const char *name = dfo_source_column(train, j), *open = name ? " (" : "", *close = name ? ")" : "";
        if (f->count[j] < 1)
            return dfoi_fail(f->ctx, DFO_EARG, "%s: column %zu%s%s%s is missing in all rows: leave it out", dfo_source_name(train), j + 1,
                             open, name ? name : "", close);
        if (density && !dfoi_column_whole(&s->column[j]) && !(f->high[j] > f->low[j]))
            return dfoi_fail(f->ctx, DFO_EARG, "%s: column %zu%s%s%s is constant: its density has no upper bound; leave it out",
                             dfo_source_name(train), j + 1, open, name ? name : "", close);
    }
    return DFO_OK;
}

/* ---- expectation and maximisation */

/* Moments of what is known of every column by itself.  */
static void begin(struct fit *f)
{
    for (size_t j = 0; j < f->d; j++) {
        double n = 0, mean = 0, squares = 0;
        for (size_t i = 0; i < f->n; i++) {
            double x = (double)f->kept[i * f->d + j], e = x - mean;
            if (isnan(x))
                continue;
            mean += e / ++n;
            squares += e * (x - mean);
        }
        f->mean[j] = mean;
        f->covariance[j * (f->d + 1)] = squares > 0 ? (dfo_real)(squares / n) : 1;
    }
}

/* Deviations of a row from the mean, what is missing by its expectation, to f->row; to f->sum their conditional covariance.  */
static int expect(struct fit *f, const dfo_real *from)
{
    size_t order[DFOI_MISSING_MOST], d = f->d, known = dfoi_missing_order(d, from, order);
    for (size_t a = 0; a < known; a++)
        f->row[order[a]] = (double)from[order[a]] - f->mean[order[a]];
    if (known == d)
        return 1;
    if (!dfoi_missing_factor(d, order, f->covariance, f->l))
        return 0;
    dfoi_missing_known(d, known, order, f->centre, f->l, from, f->w);
    for (size_t a = known; a < d; a++) {
        double mean = 0;
        for (size_t b = 0; b < known; b++)
            mean += (double)f->l[a * d + b] * f->w[b];
        f->row[order[a]] = mean;
        for (size_t b = known; b <= a; b++) {
            double product = 0;
            for (size_t k = known; k <= b; k++)
                product += (double)f->l[a * d + k] * (double)f->l[b * d + k];
            f->sum[order[a] * d + order[b]] += product;
            if (a != b)
                f->sum[order[b] * d + order[a]] += product;
        }
    }
    return 1;
}

/* One pass; *change is the largest, in standard deviations.  0: the covariance has no factor.  */
static int pass(struct fit *f, double *change)
{
    size_t d = f->d;
    double n = (double)f->n;
    memset(f->sum, 0, d * d * sizeof *f->sum);
    memset(f->delta, 0, d * sizeof *f->delta);
    for (size_t j = 0; j < d; j++)
        f->centre[j] = (dfo_real)f->mean[j];
    for (size_t i = 0; i < f->n; i++) {
        if (!expect(f, f->kept + i * d))
            return 0;
        for (size_t j = 0; j < d; j++) {
            f->delta[j] += f->row[j] / n;
            for (size_t k = 0; k < d; k++)
                f->sum[j * d + k] += f->row[j] * f->row[k];
        }
    }
    *change = 0;
    for (size_t j = 0; j < d; j++) {
        f->w[j] = sqrt((double)f->covariance[j * (d + 1)]);
        *change = fmax(*change, fabs(f->delta[j]) / f->w[j]);
        f->mean[j] += f->delta[j];
    }
    for (size_t j = 0; j < d; j++)
        for (size_t k = 0; k < d; k++) {
            double c = f->sum[j * d + k] / n - f->delta[j] * f->delta[k];
            c = j != k ? c : c > 0 ? c * (1 + RIDGE) : 1;
            *change = fmax(*change, fabs(c - (double)f->covariance[j * d + k]) / (f->w[j] * f->w[k]));
            f->covariance[j * d + k] = (dfo_real)c;
        }
    return 1;
}

static dfo_status normal(struct fit *f, const dfo_source *train)
{
    const struct dfoi_columns *s = dfoi_columns_of(f->bij);
    dfo_real *to = dfo_store_buffers(f->bij->store);
    double change = INFINITY;
    begin(f);
    for (size_t k = 0; k < MOST_PASSES && change > SETTLED; k++)
        if (!pass(f, &change))
            return dfoi_fail(f->ctx, DFO_ENUM, "%s: columns are so alike that missing values have no covariance to be drawn by: leave some out",
                             dfo_source_name(train));
    for (size_t j = 0; j < f->d; j++)
        to[s->mean + j] = (dfo_real)f->mean[j];
    memcpy(to + s->covariance, f->covariance, f->d * f->d * sizeof *to);
    dfo_store_touch(f->bij->store);
    return DFO_OK;
}

/* ---- memory */

static dfo_status make(struct fit *f, uint64_t rows, size_t width)
{
    double d = (double)f->d;
    int missing = dfoi_columns_of(f->bij)->missing != DFOI_MISSING_REFUSED;
    f->most = missing ? (size_t)fmin(fmin((double)rows, MOST_ROWS), fmax(1000, MOST_WORK / (d * d * d))) : 0;
    f->step = f->most ? (rows + f->most - 1) / f->most : 1;
    DFO_TRY(dfoi_alloc(f->ctx, 1, sizeof *f->run, &f->run));
    f->run->arena_size = dfo_bijector_scratch(f->bij, 1);
    DFO_TRY(dfoi_alloc(f->ctx, f->run->arena_size, sizeof *f->run->arena, &f->run->arena));
    DFO_TRY(dfoi_alloc(f->ctx, CHUNK, width * sizeof *f->rows, &f->rows));
    DFO_TRY(dfoi_alloc(f->ctx, 7 * f->d, sizeof *f->low, &f->low));
    f->high = f->low + f->d;
    f->mean = f->high + f->d;
    f->delta = f->mean + f->d;
    f->w = f->delta + f->d;
    f->row = f->w + f->d;
    f->count = f->row + f->d;
    if (!missing)
        return DFO_OK;
    DFO_TRY(dfoi_alloc(f->ctx, f->most, f->d * sizeof *f->kept, &f->kept));
    DFO_TRY(dfoi_alloc(f->ctx, f->d * f->d, sizeof *f->sum, &f->sum));
    DFO_TRY(dfoi_alloc(f->ctx, f->d * (2 * f->d + 1), sizeof *f->centre, &f->centre));
    f->covariance = f->centre + f->d;
    f->l = f->covariance + f->d * f->d;
    return DFO_OK;
}

dfo_status dfoi_columns_fit(dfo_bijector *bij, const dfo_source *train, int density)
{
    dfo_status status;
    dfo_source_info info;
    struct fit f = {.bij = bij, .ctx = bij->ctx, .d = bij->d};
    dfo_source_describe(train, &info);
    size_t width = dfo_shape_size(info.shape);
    if (width < f.d || !info.rows)
        return dfoi_fail(f.ctx, DFO_ESHAPE, "%s: expected rows of at least %zu columns, got %llu of %zu", dfo_source_name(train), f.d,
                         (unsigned long long)info.rows, width);
    DFO_GO(make(&f, info.rows, width));
    DFO_GO(all_rows(&f, train, info.rows, width));
    DFO_GO(refuse(&f, train, density));
    if (f.most)
        DFO_GO(normal(&f, train));
    status = DFO_OK;
fail:
    if (f.run)
        dfoi_free(f.ctx, f.run->arena);
    dfoi_free(f.ctx, f.run);
    dfoi_free(f.ctx, f.rows);
    dfoi_free(f.ctx, f.low);
    dfoi_free(f.ctx, f.kept);
    dfoi_free(f.ctx, f.sum);
    dfoi_free(f.ctx, f.centre);
    return status;
}
