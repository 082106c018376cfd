/* The head of a model of a table: every column has a kind, and goes to the whole line by an exact map:
 *   {"kind":"real"}                              as it is
 *   {"kind":"positive"}                          log x
 *   {"kind":"interval","low":a,"high":b}         as `bounds` has it; null: no such bound
 *   {"kind":"integer","low":a,"high":b}          x + u, u uniform in (0, 1), inside (a, b + 1) as `bounds` has it; null: none
 *   {"kind":"categorical","count":K}             the same for 0 .. K-1
 *   {"kind":"periodic","start":s,"period":p,"cut":c}   x modulo p inside (c, c + p), as an interval; back inside [s, s + p)
 * The log-det is the sum of the maps', so that densities stay in the columns' own units.  Of whole numbers a density of x + u is
 * a lower bound of their log-probability, or by several draws an estimate of it, as in dequantise.c, and draws are keyed as there:
 * training's, and the further ones of an estimate (run->draw), are continuous, those of evaluation stand on the grid (k + 1/2)/32.
 * Back, whole numbers are rounded down and kept inside their bounds.  With "missing" NaN stands for what is not known:
 * columns_missing.c draws it.  */
#include <math.h>
#include <string.h>

#include "columns_impl.h"
#include "layers.h"

#define GRID 32
/* Whole numbers beyond are so far apart on the line of numbers that x + u is not exact on the grid.  */
#define MOST_WHOLE (1 / (64 * (double)DFO_REAL_EPS))

static const char *const kinds[DFOI_KINDS + 1] = {"real", "positive", "interval", "integer", "categorical", "periodic", NULL};
static const char *const missings[DFOI_MISSINGS + 1] = {"refuse", "marginalise", "impute", NULL};

static const struct dfoi_columns *state(const dfo_bijector *bij)
{
    return bij->state;
}

const struct dfoi_columns *dfoi_columns_of(const dfo_bijector *bij)
{
    return bij->ops == &dfoi_columns_ops ? bij->state : NULL;
}

dfo_key dfoi_columns_key(const dfo_bijector *bij, const dfo_run *run, size_t i, enum dfoi_draws kind)
{
    dfo_key key = {.seed = run->key.seed ^ state(bij)->stream, .row = run->key.row + i};
    uint32_t draw = run->chosen ? run->chosen[i] : run->draw;
    int fills = kind == DFOI_FILLS, train = run->mode == DFO_TRAIN;
    key.purpose = fills ? DFO_FOR_MISSING : DFO_FOR_DEQUANTISE;
    key.step = train ? run->key.step : fills && state(bij)->missing == DFOI_MISSING_IMPUTE ? 0 : run->draw;
    if (fills && train)
        key.seed ^= (uint64_t)draw << 32;
    return key;
}

/* x + u, or the representative of x modulo the period: what lies inside the bounds.  */
static double enter(const dfo_run *run, const struct dfoi_column *c, double x, double u)
{
    double period = c->bound.high - c->bound.low, y;
    if (dfoi_column_whole(c)) {
        y = x + (run->mode == DFO_TRAIN || run->draw ? u : (floor(GRID * u) + 0.5) / GRID);
        return y <= c->bound.low ? nextafter(y, INFINITY) : y >= c->bound.high ? nextafter(y, -INFINITY) : y;
    }
    if (c->kind != DFOI_PERIODIC)
        return x;
    y = fmod(x - c->bound.low, period);    /* exact, however many turns */
    return (double)dfoi_bound_inside(c->bound, c->bound.low + (y < 0 ? y + period : y));
}

static dfo_status refuse(const dfo_bijector *bij, dfo_run *run, size_t i, size_t j, double x)
{
    const struct dfoi_column *c = &state(bij)->column[j];
    unsigned long long row = run->key.row + i;
    if (isnan(x))
        return dfo_run_fail(run, DFO_ENUM, i, "columns: row %llu, column %zu: NaN, but the layer's \"missing\" is \"refuse\"", row, j);
    if (dfoi_column_whole(c) && !(fabs(x) <= MOST_WHOLE))
        return dfo_run_fail(run, DFO_ENUM, i, "columns: row %llu, column %zu: %.9g is not a whole number within +-%.0f", row, j, x, MOST_WHOLE);
    if (dfoi_column_whole(c))
        return dfo_run_fail(run, DFO_ENUM, i, "columns: row %llu, column %zu: %.9g is not a whole number from %g to %g (%s)", row, j, x,
                            c->bound.low, c->bound.high - 1, kinds[c->kind]);
    return dfo_run_fail(run, DFO_ENUM, i, "columns: row %llu, column %zu: %.9g is not inside (%g, %g) (%s)", row, j, x, c->bound.low,
                        c->bound.high, kinds[c->kind]);
}

static int fits(const struct dfoi_column *c, double x)
{
    if (c->kind == DFOI_PERIODIC)
        return isfinite(x);
    if (!dfoi_column_whole(c))
        return isfinite(x) && x > c->bound.low && x < c->bound.high;
    return fabs(x) <= MOST_WHOLE && x == floor(x) && x >= c->bound.low && x <= c->bound.high - 1;
}

dfo_status dfoi_columns_row(const dfo_bijector *bij, dfo_run *run, size_t i, dfo_real *row, double *logdet)
{
    const struct dfoi_columns *s = state(bij);
    double *u = dfoi_take_doubles(run, bij->d), sum = 0;
    if (s->whole)
        dfo_draw_uniform(dfoi_columns_key(bij, run, i, DFOI_ADDS), 0, bij->d, u);
    for (size_t j = 0; j < bij->d; j++) {
        const struct dfoi_column *c = &s->column[j];
        double x = (double)row[j];
        if (isnan(x) && s->missing)
            continue;
        if (!fits(c, x))
            return refuse(bij, run, i, j, x);
        double z = dfoi_bound_value(c->bound, enter(run, c, x, s->whole ? u[j] : 0));
        sum += dfoi_bound_log_slope(c->bound, z);
        row[j] = (dfo_real)z;
    }
    *logdet += sum;
    return DFO_OK;
}

static int lacks(size_t d, const dfo_real *row)
{
    for (size_t j = 0; j < d; j++)
        if (isnan(row[j]))
            return 1;
    return 0;
}

static dfo_status forward(const dfo_bijector *bij, dfo_run *run, dfo_batch x, const dfo_cond *cond, double *logdet)
{
    size_t mark = run->arena_used;
    (void)cond;
    for (size_t i = 0; i < x.n; i++, run->arena_used = mark) {
        double sum = 0;
        DFO_TRY(dfoi_columns_row(bij, run, i, dfo_row(x, i), &sum));
        if (state(bij)->missing && lacks(x.d, dfo_row(x, i)))
            DFO_TRY(dfoi_missing_fill(bij, run, i, dfo_row(x, i), &sum));
        if (logdet)
            logdet[i] += sum;
    }
    return DFO_OK;
}

/* x of z.  */
static dfo_real leave(const struct dfoi_column *c, double z)
{
    double y = dfoi_bound_back(c->bound, z), period = c->bound.high - c->bound.low;
    if (c->kind == DFOI_PERIODIC && (double)dfoi_bound_inside(c->bound, y) >= c->start + period)
        return (dfo_real)fmax((double)dfoi_bound_inside(c->bound, y) - period, c->start);
    if (!dfoi_column_whole(c))
        return dfoi_bound_inside(c->bound, y);
    return (dfo_real)fmin(fmax(floor(y), c->bound.low), c->bound.high - 1);
}

static dfo_status inverse(const dfo_bijector *bij, dfo_run *run, dfo_batch z, const dfo_cond *cond, double *logdet)
{
    (void)cond;
    for (size_t i = 0; i < z.n; i++) {
        dfo_real *row = dfo_row(z, i);
        double sum = 0;
        for (size_t j = 0; j < z.d; j++) {
            const struct dfoi_column *c = &state(bij)->column[j];
            double in = (double)row[j];
            if (!isfinite(in))
                return dfo_run_fail(run, DFO_ENUM, i, "columns: row %llu, column %zu: not finite",
                                    (unsigned long long)(run->key.row + i), j);
            sum += dfoi_bound_log_slope(c->bound, in);
            row[j] = leave(c, in);
        }
        if (logdet)
            logdet[i] -= sum;
    }
    return DFO_OK;
}

/* gx = dz/dx (gz + glogdet d log(dz/dx)/dz), from z; x from what was kept, where there are draws.  Draws stay where they are:
 * what is missing has no gradient.  */
static dfo_status backward(const dfo_bijector *bij, dfo_run *run, dfo_batch z, dfo_batch gz, const dfo_cond *cond,
                           dfo_cond *gcond, const double *glogdet)
{
    const dfo_real *kept = bij->caps & DFO_NEEDS_INPUT ? run->saved : NULL;
    (void)cond;
    (void)gcond;
    for (size_t i = 0; i < z.n; i++) {
        dfo_real *row = dfo_row(z, i), *g = dfo_row(gz, i);
        for (size_t j = 0; j < z.d; j++) {
            const struct dfoi_column *c = &state(bij)->column[j];
            double out = (double)row[j];
            g[j] = (dfo_real)(((double)g[j] + glogdet[i] * dfoi_bound_change(c->bound, out)) *
                              exp(dfoi_bound_log_slope(c->bound, out)));
            row[j] = kept ? kept[i * z.d + j] : leave(c, out);
            if (isnan(row[j]))
                g[j] = 0;
        }
    }
    return DFO_OK;
}

/* gz = gx dx/dz - glogdet d log(dz/dx)/dz.  */
static dfo_status inverse_backward(const dfo_bijector *bij, dfo_run *run, dfo_batch x, dfo_batch gx, const dfo_cond *cond,
                                   dfo_cond *gcond, const double *glogdet)
{
    (void)cond;
    (void)gcond;
    if (bij->caps & DFO_NEEDS_INPUT)
        return dfo_run_fail(run, DFO_EUNSUP, (size_t)-1, "columns: whole numbers and missing values have no gradient of the inverse");
    for (size_t i = 0; i < x.n; i++) {
        dfo_real *row = dfo_row(x, i), *g = dfo_row(gx, i);
        for (size_t j = 0; j < x.d; j++) {
            const struct dfoi_column *c = &state(bij)->column[j];
            double out = dfoi_bound_value(c->bound, enter(run, c, (double)row[j], 0));
            g[j] = (dfo_real)((double)g[j] * exp(-dfoi_bound_log_slope(c->bound, out)) -
                              glogdet[i] * dfoi_bound_change(c->bound, out));
            row[j] = (dfo_real)out;
        }
    }
    return DFO_OK;
}

static size_t scratch(const dfo_bijector *bij, size_t rows)
{
    (void)rows;
    return dfoi_doubles_size(bij->d) + (state(bij)->missing ? dfoi_missing_scratch(bij) : 0);
}

/* ---- made and described */

static json_t *end(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

static json_t *column_json(const struct dfoi_column *c)
{
    dfoi_bound b = c->bound;
    const char *kind = kinds[c->kind];
    switch (c->kind) {
    case DFOI_INTERVAL:
        return json_pack("{s:s, s:o, s:o}", "kind", kind, "low", end(b.low), "high", end(b.high));
    case DFOI_INTEGER:
        return json_pack("{s:s, s:o, s:o}", "kind", kind, "low", end(b.low), "high", end(b.high - 1));
    case DFOI_CATEGORICAL:
        return json_pack("{s:s, s:I}", "kind", kind, "count", (json_int_t)b.high);
    case DFOI_PERIODIC:
        return json_pack("{s:s, s:f, s:f, s:f}", "kind", kind, "start", c->start, "period", b.high - b.low, "cut", b.low);
    default:
        return json_pack("{s:s}", "kind", kind);
    }
}

static dfo_status describe(const dfo_bijector *bij, json_t *to)
{
    json_t *list = json_array();
    DFO_TRY(dfoi_json_set(bij->ctx, to, "columns", list));
    for (size_t j = 0; j < bij->d; j++) {
        json_t *one = column_json(&state(bij)->column[j]);
        if (!one || json_array_append_new(list, one))
            return dfoi_fail(bij->ctx, DFO_EMEM, "out of memory: kinds of columns");
    }
    return dfoi_json_set(bij->ctx, to, "missing", json_string(missings[state(bij)->missing]));
}

/* A bound that may be null or left out.  */
static dfo_status read_end(dfo_ctx *ctx, const json_t *config, const char *key, double none, double *out)
{
    const json_t *given = json_object_get(config, key);
    *out = none;
    return !given || json_is_null(given) ? DFO_OK : dfoi_json_real(ctx, config, key, 0, -1e300, 1e300, out);
}

static dfo_status read_whole(dfo_ctx *ctx, const json_t *config, dfoi_bound *b)
{
    DFO_TRY(read_end(ctx, config, "low", -INFINITY, &b->low));
    DFO_TRY(read_end(ctx, config, "high", INFINITY, &b->high));
    int whole = (isinf(b->low) || (floor(b->low) == b->low && fabs(b->low) <= MOST_WHOLE)) &&
                (isinf(b->high) || (floor(b->high) == b->high && fabs(b->high) <= MOST_WHOLE));
    if (!whole || !(b->low < b->high))
        return dfoi_fail(ctx, DFO_EARG, "expected whole numbers low < high within +-%.0f, got %g and %g", MOST_WHOLE, b->low, b->high);
    b->high += 1;
    return DFO_OK;
}

static dfo_status read_kind(dfo_ctx *ctx, const json_t *config, dfoi_kind *out)
{
    const char *kind;
    size_t k = 0;
    DFO_TRY(dfoi_json_string(ctx, config, "kind", NULL, &kind));
    while (kinds[k] && strcmp(kinds[k], kind))
        k++;
    if (!kinds[k])
        return dfoi_fail(ctx, DFO_EARG, "kind: expected real, positive, interval, integer, categorical or periodic, got '%.40s'", kind);
    *out = (dfoi_kind)k;
    return DFO_OK;
}

static dfo_status read_column(dfo_ctx *ctx, json_t *config, struct dfoi_column *c)
{
    static const char *const plain[] = {"kind", NULL}, *const range[] = {"kind", "low", "high", NULL},
                      *const codes[] = {"kind", "count", NULL}, *const circle[] = {"kind", "start", "period", "cut", NULL};
    static const char *const *const keys[DFOI_KINDS] = {plain, plain, range, range, codes, circle};
    size_t count;
    double period;
    if (!json_is_object(config))
        return dfoi_fail(ctx, DFO_EARG, "expected an object with \"kind\"");
    DFO_TRY(read_kind(ctx, config, &c->kind));
    DFO_TRY(dfoi_json_keys(ctx, config, keys[c->kind]));
    c->bound = (dfoi_bound){-INFINITY, INFINITY};
    switch (c->kind) {
    case DFOI_POSITIVE:
        c->bound.low = 0;
        break;
    case DFOI_INTERVAL:
        DFO_TRY(read_end(ctx, config, "low", -INFINITY, &c->bound.low));
        DFO_TRY(read_end(ctx, config, "high", INFINITY, &c->bound.high));
        break;
    case DFOI_INTEGER:
        DFO_TRY(read_whole(ctx, config, &c->bound));
        break;
    case DFOI_CATEGORICAL:
        DFO_TRY(dfoi_json_size(ctx, config, "count", 0, 2, 65536, &count));
        c->bound = (dfoi_bound){0, (double)count};
        break;
    case DFOI_PERIODIC:
        DFO_TRY(dfoi_json_real(ctx, config, "start", 0, -1e300, 1e300, &c->start));
        DFO_TRY(dfoi_json_real(ctx, config, "period", 6.283185307179586, 1e-300, 1e300, &period));
        DFO_TRY(dfoi_json_real(ctx, config, "cut", c->start, c->start, c->start + period, &c->bound.low));
        c->bound.high = c->bound.low + period;
        break;
    default:
        break;
    }
    if (!dfoi_bound_holds(c->bound))
        return dfoi_fail(ctx, DFO_EARG, "nothing lies between %.17g and %.17g", c->bound.low, c->bound.high);
    return DFO_OK;
}

static void columns_free(dfo_bijector *bij)
{
    struct dfoi_columns *s = bij->state;
    if (s)
        dfoi_free(bij->ctx, s->column);
    dfoi_free(bij->ctx, s);
}

static dfo_status read_missing(dfo_build *build, json_t *config, struct dfoi_columns *s)
{
    const char *missing;
    size_t k = 0, d = dfo_shape_size(build->shape);
    DFO_TRY(dfoi_json_string(build->ctx, config, "missing", missings[0], &missing));
    while (missings[k] && strcmp(missings[k], missing))
        k++;
    if (!missings[k])
        return dfoi_fail(build->ctx, DFO_EARG, "missing: expected refuse, marginalise or impute, got '%.40s'", missing);
    s->missing = (dfoi_missing)k;
    if (!k)
        return DFO_OK;
    if (d > DFOI_MISSING_MOST)
        return dfoi_fail(build->ctx, DFO_ESHAPE, "missing: expected at most %d columns, got %zu", DFOI_MISSING_MOST, d);
    DFO_TRY(dfo_build_buffer(build, "mean", 1, &d, &s->mean));
    DFO_TRY(dfo_build_buffer(build, "covariance", 2, (size_t[2]){d, d}, &s->covariance));
    for (size_t j = 0; j < d; j++)
        dfo_store_buffers(build->store)[s->covariance + j * (d + 1)] = 1;
    return DFO_OK;
}

dfo_status dfoi_columns_create(dfo_build *build, json_t *config, dfo_bijector *bij)
{
    static const char *const keys[] = {"type", "columns", "missing", NULL};
    dfo_ctx *ctx = build->ctx;
    json_t *list = json_object_get(config, "columns");
    struct dfoi_columns *s;
    DFO_TRY(dfoi_json_keys(ctx, config, keys));
    if (build->shape.h * build->shape.w > 1)
        return dfoi_fail(ctx, DFO_ESHAPE, "expected rows of a table, got images of %zux%zu", build->shape.h, build->shape.w);
    if (!json_is_array(list) || json_array_size(list) != bij->d)
        return dfoi_fail(ctx, DFO_EARG, "columns: expected an array of %zu columns' kinds", bij->d);
    DFO_TRY(dfoi_alloc(ctx, 1, sizeof *s, &s));
    bij->state = s;
    s->stream = dfoi_layer_key(build).row;
    DFO_TRY(dfoi_alloc(ctx, bij->d, sizeof *s->column, &s->column));
    for (size_t j = 0; j < bij->d; j++) {
        if (read_column(ctx, json_array_get(list, j), &s->column[j]) != DFO_OK)
            return dfoi_wrap(ctx, "columns: column %zu: ", j);
        s->whole |= dfoi_column_whole(&s->column[j]);
    }
    DFO_TRY(read_missing(build, config, s));
    if (s->missing)
        bij->caps |= DFO_TAKES_MISSING;
    if (s->whole || s->missing)
        bij->caps = (bij->caps & ~(unsigned)DFO_CLOSED_INVERSE) | DFO_STOCHASTIC | DFO_NEEDS_INPUT;
    return DFO_OK;
}

const struct dfo_bijector_ops dfoi_columns_ops = {
    .type = "columns",
    .caps = DFO_CLOSED_INVERSE,
    .scratch = scratch,
    .forward = forward,
    .inverse = inverse,
    .backward = backward,
    .inverse_backward = inverse_backward,
    .describe = describe,
    .free = columns_free,
};
