/* Exact maps of columns with declared bounds to the whole line:
 * {"lower":[0,null,…],"upper":[1,null,…]}, a single number for all columns.  All are increasing:
 *   a < x < b:  z = logit((x-a)/(b-a)),  log dz/dx = -log(b-a) - log sigma(z) sigma(-z)
 *   a < x:      z = log(x-a),            log dz/dx = -z
 *   x < b:      z = -log(b-x),           log dz/dx = z
 * and the identity where nothing is declared.  In double inside.  A value on or outside a bound is
 * an error naming row and column; what inverse gives lies strictly inside, even where rounding
 * would meet the bound, so that samples can be scored.  */
#include <math.h>

#include "bounds_impl.h"
#include "layers.h"
#include "scalar_impl.h"

struct bounds {
    double *lower, *upper;             /* (d): -INFINITY, INFINITY where there is none */
};

enum kind { FREE, ABOVE, BELOW, BETWEEN };

static enum kind kind_of(dfoi_bound b)
{
    return isfinite(b.low) ? isfinite(b.high) ? BETWEEN : ABOVE : isfinite(b.high) ? BELOW : FREE;
}

double dfoi_bound_value(dfoi_bound b, double x)
{
    double difference;
    switch (kind_of(b)) {
    case ABOVE:
        return log(x - b.low);
    case BELOW:
        return -log(b.high - x);
    case BETWEEN: /* near the middle the ratio's distance from 1 keeps its digits */
        difference = (x - b.low) - (b.high - x);
        return fabs(difference) < 0.5 * (b.high - b.low) ? log1p(difference / (b.high - x))
                                                         : log(x - b.low) - log(b.high - x);
    case FREE:
        break;
    }
    return x;
}

double dfoi_bound_back(dfoi_bound b, double z)
{
    double e = exp(-fabs(z)), part = (b.high - b.low) * e / (1 + e);
    switch (kind_of(b)) {
    case ABOVE:
        return b.low + exp(z);
    case BELOW:
        return b.high - exp(-z);
    case BETWEEN:
        return z < 0 ? b.low + part : b.high - part;
    case FREE:
        break;
    }
    return z;
}

static dfo_real next(dfo_real x, dfo_real towards)
{
#ifdef DFO_DOUBLE
    return nextafter(x, towards);
#else
    return nextafterf(x, towards);
#endif
}

dfo_real dfoi_bound_inside(dfoi_bound b, double x)
{
    dfo_real r = (dfo_real)x;
    while (isfinite(b.low) && (double)r <= b.low)
        r = next(r, (dfo_real)INFINITY);
    while (isfinite(b.high) && (double)r >= b.high)
        r = next(r, (dfo_real)-INFINITY);
    return r;
}

double dfoi_bound_log_slope(dfoi_bound b, double z)
{
    switch (kind_of(b)) {
    case ABOVE:
        return -z;
    case BELOW:
        return z;
    case BETWEEN:
        return -log(b.high - b.low) - dfoi_log_sigmoid_slope(z);
    case FREE:
        break;
    }
    return 0;
}

double dfoi_bound_change(dfoi_bound b, double z)
{
    switch (kind_of(b)) {
    case ABOVE:
        return -1;
    case BELOW:
        return 1;
    case BETWEEN:
        return tanh(z / 2);
    case FREE:
        break;
    }
    return 0;
}

int dfoi_bound_holds(dfoi_bound b)
{
    double some = kind_of(b) == BETWEEN ? b.low / 2 + b.high / 2
                  : isfinite(b.low)     ? b.low
                  : isfinite(b.high)    ? b.high
                                        : 0;
    if (!isfinite((dfo_real)some) || !(b.low < b.high))
        return 0;
    some = (double)dfoi_bound_inside(b, some);
    return some > b.low && some < b.high;
}

static dfoi_bound bound(const struct bounds *b, size_t j)
{
    return (dfoi_bound){b->lower[j], b->upper[j]};
}

static dfo_status forward(const dfo_bijector *bij, dfo_run *run, dfo_batch x, const dfo_cond *cond,
                          double *logdet)
{
    const struct bounds *b = bij->state;
    (void)cond;
    for (size_t i = 0; i < x.n; i++) {
        dfo_real *row = dfo_row(x, i);
        double sum = 0;
        for (size_t j = 0; j < x.d; j++) {
            double in = (double)row[j];
            if (!(in > b->lower[j] && in < b->upper[j]))
                return dfo_run_fail(
                    run, DFO_ENUM, i, "bounds: row %llu, column %zu: %.9g is not inside (%g, %g)",
                    (unsigned long long)(run->key.row + i), j, in, b->lower[j], b->upper[j]);
            double out = dfoi_bound_value(bound(b, j), in);
            sum += dfoi_bound_log_slope(bound(b, j), out);
            row[j] = (dfo_real)out;
        }
        if (logdet)
            logdet[i] += sum;
    }
    return DFO_OK;
}

static dfo_status inverse(const dfo_bijector *bij, dfo_run *run, dfo_batch z, const dfo_cond *cond,
                          double *logdet)
{
    const struct bounds *b = bij->state;
    (void)cond;
    for (size_t i = 0; i < z.n; i++) {
        dfo_real *row = dfo_row(z, i);
        double sum = 0;
        for (size_t j = 0; j < z.d; j++) {
            double in = (double)row[j];
            if (!isfinite(in))
                return dfo_run_fail(run, DFO_ENUM, i, "bounds: row %llu, column %zu: not finite",
                                    (unsigned long long)(run->key.row + i), j);
            sum += dfoi_bound_log_slope(bound(b, j), in);
            row[j] = dfoi_bound_inside(bound(b, j), dfoi_bound_back(bound(b, j), in));
        }
        if (logdet)
            logdet[i] -= sum;
    }
    return DFO_OK;
}

/* gx = dz/dx (gz + glogdet d log(dz/dx)/dz), all from z.  */
static dfo_status backward(const dfo_bijector *bij, dfo_run *run, dfo_batch z, dfo_batch gz,
                           const dfo_cond *cond, dfo_cond *gcond, const double *glogdet)
{
    const struct bounds *b = bij->state;
    (void)run;
    (void)cond;
    (void)gcond;
    for (size_t i = 0; i < z.n; i++) {
        dfo_real *row = dfo_row(z, i), *g = dfo_row(gz, i);
        for (size_t j = 0; j < z.d; j++) {
            double out = (double)row[j];
            g[j] = (dfo_real)(((double)g[j] + glogdet[i] * dfoi_bound_change(bound(b, j), out)) *
                              exp(dfoi_bound_log_slope(bound(b, j), out)));
            row[j] = dfoi_bound_inside(bound(b, j), dfoi_bound_back(bound(b, j), out));
        }
    }
    return DFO_OK;
}

/* gz = gx dx/dz - glogdet d log(dz/dx)/dz.  */
static dfo_status inverse_backward(const dfo_bijector *bij, dfo_run *run, dfo_batch x, dfo_batch gx,
                                   const dfo_cond *cond, dfo_cond *gcond, const double *glogdet)
{
    const struct bounds *b = bij->state;
    (void)run;
    (void)cond;
    (void)gcond;
    for (size_t i = 0; i < x.n; i++) {
        dfo_real *row = dfo_row(x, i), *g = dfo_row(gx, i);
        for (size_t j = 0; j < x.d; j++) {
            double out = dfoi_bound_value(bound(b, j), (double)row[j]);
            g[j] = (dfo_real)((double)g[j] * exp(-dfoi_bound_log_slope(bound(b, j), out)) -
                              glogdet[i] * dfoi_bound_change(bound(b, j), out));
            row[j] = (dfo_real)out;
        }
    }
    return DFO_OK;
}

/* Number, null for none; `none` is the infinity that stands for it.  */
static dfo_status one_bound(dfo_ctx *ctx, const char *key, size_t j, const json_t *v, double none,
                            double *out)
{
    *out = none;
    if (!v || json_is_null(v))
        return DFO_OK;
    if (!json_is_number(v))
        return dfoi_fail(ctx, DFO_EARG, "%s: entry %zu is neither a number nor null", key, j);
    *out = json_number_value(v);
    return DFO_OK;
}

static dfo_status read_bounds(dfo_ctx *ctx, const json_t *config, const char *key, size_t d,
                              double none, double *out)
{
    const json_t *given = json_object_get(config, key);
    int list = json_is_array(given);
    if (list && json_array_size(given) != d)
        return dfoi_fail(ctx, DFO_EARG, "%s: expected %zu entries, got %zu", key, d,
                         json_array_size(given));
    for (size_t j = 0; j < d; j++)
        DFO_TRY(one_bound(ctx, key, j, list ? json_array_get(given, j) : given, none, &out[j]));
    return DFO_OK;
}

static json_t *bounds_list(size_t d, const double *bound)
{
    json_t *list = json_array();
    for (size_t j = 0; list && j < d; j++)
        if (json_array_append_new(list, isfinite(bound[j]) ? json_real(bound[j]) : json_null())) {
            json_decref(list);
            return NULL;
        }
    return list;
}

static dfo_status describe(const dfo_bijector *bij, json_t *to)
{
    const struct bounds *b = bij->state;
    DFO_TRY(dfoi_json_set(bij->ctx, to, "lower", bounds_list(bij->d, b->lower)));
    return dfoi_json_set(bij->ctx, to, "upper", bounds_list(bij->d, b->upper));
}

static void bounds_free(dfo_bijector *bij)
{
    struct bounds *b = bij->state;
    if (!b)
        return;
    dfoi_free(bij->ctx, b->lower);
    dfoi_free(bij->ctx, b->upper);
    dfoi_free(bij->ctx, b);
}

dfo_status dfoi_bounds_create(dfo_build *build, json_t *config, dfo_bijector *bij)
{
    static const char *const keys[] = {"type", "lower", "upper", NULL};
    dfo_ctx *ctx = build->ctx;
    struct bounds *b;
    DFO_TRY(dfoi_json_keys(ctx, config, keys));
    DFO_TRY(dfoi_alloc(ctx, 1, sizeof *b, &b));
    bij->state = b;
    DFO_TRY(dfoi_alloc(ctx, bij->d, sizeof *b->lower, &b->lower));
    DFO_TRY(dfoi_alloc(ctx, bij->d, sizeof *b->upper, &b->upper));
    DFO_TRY(read_bounds(ctx, config, "lower", bij->d, -INFINITY, b->lower));
    DFO_TRY(read_bounds(ctx, config, "upper", bij->d, INFINITY, b->upper));
    for (size_t j = 0; j < bij->d; j++)
        if (!dfoi_bound_holds(bound(b, j)))
            return dfoi_fail(ctx, DFO_EARG, "column %zu: nothing lies between lower %.17g and upper %.17g", j,
                             b->lower[j], b->upper[j]);
    return DFO_OK;
}

const struct dfo_bijector_ops dfoi_bounds_ops = {
    .type = "bounds",
    .caps = DFO_CLOSED_INVERSE,
    .forward = forward,
    .inverse = inverse,
    .backward = backward,
    .inverse_backward = inverse_backward,
    .describe = describe,
    .free = bounds_free,
};
