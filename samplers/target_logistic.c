/* The posterior of a logistic regression: log p(w) = sum_i (y_i h_i - log(1 + e^{h_i})) + sum_k log N(w_k; 0, s^2), h = w_0 + x w; its
 * gradient is sum_i (y_i - 1/(1 + e^{-h_i})) (1, x_i) - w/s^2.  */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <diffeo/source.h>
#include "base/parse_impl.h"
#include "targets_impl.h"

#define CHUNK ((size_t)1024)           /* rows read at a time */

struct logistic {
    double deviation;
    size_t rows;
    double row[];                      /* (rows, d): d - 1 features and the label */
};

static dfo_status log_prob(const dfo_target *target, size_t n, const double *x, double *out, double *g)
{
    const struct logistic *t = target->data;
    size_t d = target->d;
    double precision = 1 / (t->deviation * t->deviation);
    for (size_t i = 0; i < n; i++) {
        const double *w = x + i * d;
        double *to = g ? g + i * d : NULL, sum = -(double)d * (log(t->deviation) + 0.5 * DFOI_LOG_2PI);
        for (size_t k = 0; k < d; k++) {
            sum -= 0.5 * precision * w[k] * w[k];
            if (to)
                to[k] = -precision * w[k];
        }
        for (size_t r = 0; r < t->rows; r++) {
            const double *row = t->row + r * d;
            double h = w[0], y = row[d - 1];
            for (size_t k = 1; k < d; k++)
                h += w[k] * row[k - 1];
            double e = exp(-fabs(h)), p = (h > 0 ? 1 : e) / (1 + e);
            sum += y * h - fmax(h, 0) - log1p(e);
            if (!to)
                continue;
            to[0] += y - p;
            for (size_t k = 1; k < d; k++)
                to[k] += (y - p) * row[k - 1];
        }
        out[i] = isfinite(sum) ? sum : -INFINITY;          /* weights beyond numbers */
    }
    return DFO_OK;
}

static dfo_status read_rows(dfo_named_target *t, const dfo_source *source, const char *path)
{
    struct logistic *to = t->target.data;
    size_t d = t->target.d;
    dfo_real *x;
    DFO_TRY(dfoi_alloc(t->ctx, CHUNK, d * sizeof *x, &x));
    dfo_status status = DFO_OK;
    for (size_t first = 0; first < to->rows && status == DFO_OK; first += CHUNK) {
        size_t n = to->rows - first < CHUNK ? to->rows - first : CHUNK;
        status = dfo_source_read(source, t->ctx, first, dfo_batch_of(x, n, d), NULL);
        for (size_t i = 0; i < n * d && status == DFO_OK; i++) {
            double value = to->row[first * d + i] = (double)x[i];
            if (i % d == d - 1 && value != 0 && value != 1)
                status = dfoi_fail(t->ctx, DFO_EFORMAT, "%s: row %zu: expected 0 or 1 in the last column, got %g", path, first + i / d, value);
        }
    }
    dfoi_free(t->ctx, x);
    return status;
}

static dfo_status name_columns(dfo_named_target *t, const dfo_source *source)
{
    char text[32];
    DFO_TRY(dfoi_target_column(t, 0, "intercept"));
    for (size_t k = 1; k < t->target.d; k++) {
        const char *name = dfo_source_column(source, k - 1);
        snprintf(text, sizeof text, "x%zu", k);
        DFO_TRY(dfoi_target_column(t, k, name ? name : text));
    }
    return DFO_OK;
}

static dfo_status from_source(dfo_named_target *t, const dfo_source *source, const char *path, double deviation)
{
    dfo_source_info info;
    struct logistic *to;
    size_t bytes;
    dfo_source_describe(source, &info);
    if (info.shape.h * info.shape.w > 1 || info.shape.c < 2 || !info.rows)
        return dfoi_fail(t->ctx, DFO_ESHAPE, "%s: expected rows of features and a last column of 0 and 1, got %llu rows of %zu numbers", path,
                         (unsigned long long)info.rows, dfo_shape_size(info.shape));
    t->target.d = info.shape.c;
    DFO_TRY(dfoi_mul(t->ctx, (size_t)info.rows, info.shape.c * sizeof *to->row, "rows of a regression", &bytes));
    if (bytes > SIZE_MAX - sizeof *to)
        return dfoi_fail(t->ctx, DFO_EMEM, "out of memory: rows of a regression");
    DFO_TRY(dfoi_alloc(t->ctx, 1, sizeof *to + bytes, &to));
    t->target.data = to;
    to->deviation = deviation;
    to->rows = (size_t)info.rows;
    t->target.log_prob = log_prob;
    t->log_normaliser = NAN;
    DFO_TRY(read_rows(t, source, path));
    return name_columns(t, source);
}

/* SPEC[:DEVIATION]: what stands behind the last colon, unless that is inside of the rows A:B of '#A:B'.  */
dfo_status dfoi_target_logistic(dfo_named_target *t, const char *text)
{
    const char *hash = text ? strrchr(text, '#') : NULL, *colon = text ? strrchr(text, ':') : NULL;
    double deviation = 1;
    char *path;
    dfo_source *source = NULL;
    if (!text || !*text)
        return dfoi_fail(t->ctx, DFO_EARG, "expected logistic:SPEC[:DEVIATION], the rows are missing");
    if (colon && hash && hash < colon && !memchr(hash, ':', (size_t)(colon - hash)))
        colon = NULL;
    if (colon && (!dfoi_number(colon + 1, strlen(colon + 1), &deviation) || !(deviation > 0) || !isfinite(deviation)))
        return dfoi_fail(t->ctx, DFO_EARG, "expected a deviation above 0 behind the last colon, got '%.50s'", colon + 1);
    DFO_TRY(dfoi_strdup(t->ctx, text, &path));
    if (colon)
        path[colon - text] = 0;
    dfo_status status = dfo_source_open(t->ctx, path, NULL, &source);
    if (status == DFO_OK)
        status = from_source(t, source, path, deviation);
    dfo_source_free(source);
    dfoi_free(t->ctx, path);
    return status;
}
