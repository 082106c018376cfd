/* Dequantisation: whole numbers 0 .. bins-1 become numbers of the line, z = x + u with u in (0,1), and back by
 * floor.  A density p of z gives a lower bound of the probability of x,
 *
 *     log P(x) >= E log p(x + u) - log q(u | x),     u ~ q(. | x)
 *
 * (Uria et al. 2013; Theis et al. 2016; Ho et al. 2019, section 3).  uniform: q = 1, log-det 0.  variational: u =
 * sigmoid(v), where `layer`, given x/bins - 1/2 as its first condition, maps v to a standard normal e; the
 * log-det of the layer is -log q(u | x).
 *
 * u is a function of seed, the layer's place in the model, row and feature.  Training, and an estimate by several draws (run->draw), draw it
 * continuously (training differentiates through it: u moves with the weights while e stays).  Evaluation puts it on the grid (k + 1/2)/32 and takes log q there:
 * x + u is exact in float, and every value keeps 1/64 of a bin for the rounding of the layers behind.  */
#include <math.h>
#include <string.h>

#include "layers.h"
#include "scalar_impl.h"

#define GRID 32
#define LOG_2PI 1.8378770664093454836

struct dequantise {
    size_t        bins;
    uint64_t      stream;              /* a function of the layer's place: no other's draws are its own */
    dfo_bijector *layer;               /* NULL: uniform */
};

static const struct dequantise *state(const dfo_bijector *bij)
{
    return bij->state;
}

static double grid(double u)
{
    double k = floor(GRID * u);
    return ((k < 0 ? 0 : k > GRID - 1 ? GRID - 1 : k) + 0.5) / GRID;
}

static double sigmoid(double v)
{
    double e = exp(-fabs(v));
    return (v < 0 ? e : 1) / (1 + e);
}

static dfo_key key_of(const dfo_bijector *bij, const dfo_run *run, size_t i)
{
    dfo_key key = {.seed = run->key.seed ^ state(bij)->stream, .row = run->key.row + i, .purpose = DFO_FOR_DEQUANTISE};
    key.step = run->mode == DFO_TRAIN ? run->key.step : run->draw;
    return key;
}

/* Not on the grid?  */
static int anywhere(const dfo_run *run)
{
    return run->mode == DFO_TRAIN || run->draw;
}

static dfo_status check_rows(const dfo_bijector *bij, dfo_run *run, dfo_batch x)
{
    dfo_real most = (dfo_real)(state(bij)->bins - 1);
    for (size_t i = 0; i < x.n; i++)
        for (size_t j = 0; j < x.d; j++) {
            dfo_real v = dfo_row(x, i)[j];
            if (!(v >= 0 && v <= most) || v != (dfo_real)floor((double)v))
                return dfo_run_fail(run, DFO_ENUM, i, "%s: row %llu, column %zu: %.9g is not a whole number from 0 "
                                    "to %zu", bij->ops->type, (unsigned long long)(run->key.row + i), j, (double)v,
                                    state(bij)->bins - 1);
        }
    return DFO_OK;
}

/* x + u, below x + 1 even where it is rounded.  */
static dfo_real add(const dfo_run *run, dfo_real x, double u)
{
    dfo_real z = (dfo_real)((double)x + (anywhere(run) ? u : grid(u)));
    return z < x + 1 ? z : (dfo_real)((double)(x + 1) * (1 - (double)DFO_REAL_EPS));
}

static void add_uniform(const dfo_bijector *bij, dfo_run *run, dfo_batch x)
{
    double *u = dfoi_take_doubles(run, x.d);
    for (size_t i = 0; i < x.n; i++) {
        dfo_draw_uniform(key_of(bij, run, i), 0, x.d, u);
        for (size_t j = 0; j < x.d; j++)
            dfo_row(x, i)[j] = add(run, dfo_row(x, i)[j], u[j]);
    }
}

/* ---- variational: the layer, its condition and memory */

struct work {
    dfo_batch v;                       /* (n, d): e, or v */
    dfo_batch g;                       /* (n, d) */
    dfo_batch centred;                 /* (n, d) x/bins - 1/2 */
    dfo_cond  cond;
    double   *logdet;                  /* (n) */
    dfo_real *saved;                   /* of this layer: the inner one keeps nothing */
};

static struct work enter(const dfo_bijector *bij, dfo_run *run, dfo_batch x, const dfo_cond *cond)
{
    struct work w = {.saved = run->saved};
    run->saved = NULL;
    w.v = dfo_batch_of(dfo_arena_take(run, x.n * x.d), x.n, x.d);
    w.g = dfo_batch_of(dfo_arena_take(run, x.n * x.d), x.n, x.d);
    w.centred = dfo_batch_of(dfo_arena_take(run, x.n * x.d), x.n, x.d);
    w.logdet = dfoi_take_doubles(run, x.n);
    for (size_t i = 0; i < x.n; i++)
        for (size_t j = 0; j < x.d; j++)
            dfo_row(w.centred, i)[j] = (dfo_real)((double)dfo_row(x, i)[j] / (double)state(bij)->bins - 0.5);
    w.cond.part[w.cond.n].rows = w.centred;
    w.cond.part[w.cond.n++].shape = bij->shape;
    for (size_t p = 0; cond && p < cond->n; p++)
        w.cond.part[w.cond.n++] = cond->part[p];
    return w;
}

/* log of the standard normal density of a row.  */
static double log_normal(dfo_batch e, size_t i)
{
    double sum = 0;
    for (size_t j = 0; j < e.d; j++)
        sum += (double)dfo_row(e, i)[j] * (double)dfo_row(e, i)[j];
    return -0.5 * (sum + LOG_2PI * (double)e.d);
}

/* v of every row; w.logdet = log|dv/de| - log N(e).  */
static dfo_status draw(const dfo_bijector *bij, dfo_run *run, struct work *w)
{
    for (size_t i = 0; i < w->v.n; i++) {
        dfo_draw_real_normal(key_of(bij, run, i), w->v.d, dfo_row(w->v, i));
        w->logdet[i] = -log_normal(w->v, i);
    }
    return dfo_bijector_inverse(state(bij)->layer, run, w->v, &w->cond, w->logdet);
}

static double log_slopes(dfo_batch v, size_t i)
{
    double sum = 0;
    for (size_t j = 0; j < v.d; j++)
        sum += dfoi_log_sigmoid_slope((double)dfo_row(v, i)[j]);
    return sum;
}

/* v of u on the grid, in place; -log q of it is added to logdet (or not, if NULL), and v is e then.  */
static dfo_status on_grid(const dfo_bijector *bij, dfo_run *run, struct work *w, double *logdet)
{
    if (!logdet)
        return DFO_OK;
    for (size_t i = 0; i < w->v.n; i++)
        logdet[i] += log_slopes(w->v, i);
    memset(w->logdet, 0, w->v.n * sizeof *w->logdet);
    DFO_TRY(dfo_bijector_forward(state(bij)->layer, run, w->v, &w->cond, w->logdet));
    for (size_t i = 0; i < w->v.n; i++)
        logdet[i] -= log_normal(w->v, i) + w->logdet[i];
    return DFO_OK;
}

static void to_grid(dfo_batch v)
{
    for (size_t i = 0; i < v.n; i++)
        for (size_t j = 0; j < v.d; j++) {
            double u = grid(sigmoid((double)dfo_row(v, i)[j]));
            dfo_row(v, i)[j] = (dfo_real)log(u / (1 - u));
        }
}

static dfo_status add_variational(const dfo_bijector *bij, dfo_run *run, dfo_batch x, struct work *w, double *logdet)
{
    int free = anywhere(run);
    DFO_TRY(draw(bij, run, w));
    for (size_t i = 0; i < x.n; i++) {
        if (free && logdet)            /* -log q = log|dv/de| + log sigma'(v) - log N(e) */
            logdet[i] += w->logdet[i] + log_slopes(w->v, i);
        for (size_t j = 0; j < x.d; j++)
            dfo_row(x, i)[j] = add(run, dfo_row(x, i)[j], sigmoid((double)dfo_row(w->v, i)[j]));
    }
    if (free)
        return DFO_OK;
    to_grid(w->v);
    return on_grid(bij, run, w, logdet);
}

static dfo_status forward(const dfo_bijector *bij, dfo_run *run, dfo_batch x, const dfo_cond *cond, double *logdet)
{
    DFO_TRY(check_rows(bij, run, x));
    if (!state(bij)->layer) {
        add_uniform(bij, run, x);
        return DFO_OK;
    }
    struct work w = enter(bij, run, x, cond);
    dfo_status status = add_variational(bij, run, x, &w, logdet);
    run->saved = w.saved;
    return status;
}

/* floor, within 0 .. bins-1; u (n, d) or NULL gets the logit of the rest on the grid.  */
static dfo_status to_bins(const dfo_bijector *bij, dfo_run *run, dfo_batch z, dfo_batch *v)
{
    double most = (double)(state(bij)->bins - 1);
    for (size_t i = 0; i < z.n; i++)
        for (size_t j = 0; j < z.d; j++) {
            double value = (double)dfo_row(z, i)[j], bin = floor(value);
            if (!isfinite(value))
                return dfo_run_fail(run, DFO_ENUM, i, "%s: row %llu, column %zu: not finite", bij->ops->type,
                                    (unsigned long long)(run->key.row + i), j);
            bin = bin < 0 ? 0 : bin > most ? most : bin;
            dfo_row(z, i)[j] = (dfo_real)bin;
            double u = grid(value - bin);
            if (v)
                dfo_row(*v, i)[j] = (dfo_real)log(u / (1 - u));
        }
    return DFO_OK;
}

static dfo_status inverse(const dfo_bijector *bij, dfo_run *run, dfo_batch z, const dfo_cond *cond, double *logdet)
{
    if (!state(bij)->layer || !logdet)
        return to_bins(bij, run, z, NULL);
    double *own = dfoi_take_doubles(run, z.n);
    dfo_batch v = dfo_batch_of(dfo_arena_take(run, z.n * z.d), z.n, z.d);
    DFO_TRY(to_bins(bij, run, z, &v));
    struct work w = enter(bij, run, z, cond);
    w.v = v;
    memset(own, 0, z.n * sizeof *own);
    dfo_status status = on_grid(bij, run, &w, own);
    for (size_t i = 0; i < z.n; i++)
        logdet[i] -= own[i];
    run->saved = w.saved;
    return status;
}

/* Through the layer's inverse: u = sigmoid(v), L gets -log q = log|dv/de| + log sigma'(v) - log N(e).  */
static dfo_status back_train(const dfo_bijector *bij, dfo_run *run, dfo_batch gz, struct work *w, dfo_cond *gcond,
                             const double *glogdet)
{
    DFO_TRY(draw(bij, run, w));
    for (size_t i = 0; i < gz.n; i++)
        for (size_t j = 0; j < gz.d; j++) {
            double v = (double)dfo_row(w->v, i)[j];
            dfo_row(w->g, i)[j] = (dfo_real)((double)dfo_row(gz, i)[j] * sigmoid(v) * sigmoid(-v) -
                                             glogdet[i] * tanh(v / 2));
        }
    return dfo_bijector_inverse_backward(state(bij)->layer, run, w->v, w->g, &w->cond, gcond, glogdet);
}

/* u stays on its place of the grid: the gradient of -log q there alone.  */
static dfo_status back_evaluate(const dfo_bijector *bij, dfo_run *run, struct work *w, dfo_cond *gcond,
                                const double *glogdet)
{
    DFO_TRY(draw(bij, run, w));
    to_grid(w->v);
    DFO_TRY(dfo_bijector_forward(state(bij)->layer, run, w->v, &w->cond, NULL));
    for (size_t i = 0; i < w->v.n; i++) {
        w->logdet[i] = -glogdet[i];
        for (size_t j = 0; j < w->v.d; j++)
            dfo_row(w->g, i)[j] = (dfo_real)glogdet[i] * dfo_row(w->v, i)[j];
    }
    return dfo_bijector_backward(state(bij)->layer, run, w->v, w->g, &w->cond, gcond, w->logdet);
}

/* dz/dx = 1; x is what the dispatcher kept.  */
static dfo_status backward(const dfo_bijector *bij, dfo_run *run, dfo_batch z, dfo_batch gz, const dfo_cond *cond,
                           dfo_cond *gcond, const double *glogdet)
{
    const dfo_real *kept = run->saved;
    for (size_t i = 0; i < z.n; i++)
        memcpy(dfo_row(z, i), kept + i * z.d, z.d * sizeof *kept);
    if (!state(bij)->layer)
        return DFO_OK;
    struct work w = enter(bij, run, z, cond);
    dfo_cond inner = {.n = w.cond.n};
    for (size_t p = 0; gcond && p < gcond->n; p++)
        inner.part[p + 1] = gcond->part[p];
    dfo_status status = run->mode == DFO_TRAIN ? back_train(bij, run, gz, &w, &inner, glogdet)
                                               : back_evaluate(bij, run, &w, &inner, glogdet);
    run->saved = w.saved;
    return status;
}

static dfo_status init(dfo_bijector *bij, dfo_run *run, dfo_batch x, const dfo_cond *cond)
{
    struct dequantise *s = bij->state;
    DFO_TRY(check_rows(bij, run, x));
    if (!s->layer)
        return DFO_OK;
    struct work w = enter(bij, run, x, cond);
    for (size_t i = 0; i < x.n; i++) {
        dfo_draw_real_uniform(key_of(bij, run, i), x.d, dfo_row(w.v, i));
        for (size_t j = 0; j < x.d; j++) {
            double u = grid((double)dfo_row(w.v, i)[j]);
            dfo_row(w.v, i)[j] = (dfo_real)log(u / (1 - u));
        }
    }
    dfo_status status = dfo_bijector_init(s->layer, run, w.v, &w.cond);
    run->saved = w.saved;
    return status;
}

static size_t scratch(const dfo_bijector *bij, size_t rows)
{
    if (!state(bij)->layer)
        return dfoi_doubles_size(bij->d);
    return 4 * dfo_arena_size(rows * bij->d) + 2 * dfoi_doubles_size(rows) +
           dfo_bijector_scratch(state(bij)->layer, rows);
}

static size_t derived(const dfo_bijector *bij)
{
    return state(bij)->layer ? dfo_bijector_derived(state(bij)->layer) : 0;
}

static size_t gderived(const dfo_bijector *bij)
{
    return state(bij)->layer ? dfo_bijector_gderived(state(bij)->layer) : 0;
}

static dfo_status prepare(const dfo_bijector *bij, dfo_run *run, dfo_real *to)
{
    return state(bij)->layer ? dfo_bijector_prepare(state(bij)->layer, run, to) : DFO_OK;
}

static dfo_status pullback(const dfo_bijector *bij, dfo_run *run, const dfo_real *from, const dfo_real *gfrom)
{
    return state(bij)->layer ? dfo_bijector_pullback(state(bij)->layer, run, from, gfrom) : DFO_OK;
}

static dfo_status update(const dfo_bijector *bij, dfo_run *run)
{
    return state(bij)->layer ? dfo_bijector_update(state(bij)->layer, run) : DFO_OK;
}

static dfo_status describe(const dfo_bijector *bij, json_t *to)
{
    json_t *layer;
    const char *kind = state(bij)->layer ? "variational" : "uniform";
    DFO_TRY(dfoi_json_set(bij->ctx, to, "bins", json_integer((json_int_t)state(bij)->bins)));
    DFO_TRY(dfoi_json_set(bij->ctx, to, "kind", json_string(kind)));
    if (!state(bij)->layer)
        return DFO_OK;
    DFO_TRY(dfoi_layer_json(state(bij)->layer, &layer));
    return dfoi_json_set(bij->ctx, to, "layer", layer);
}

static void dequantise_free(dfo_bijector *bij)
{
    if (!state(bij))
        return;
    dfo_bijector_free(state(bij)->layer);
    dfoi_free(bij->ctx, bij->state);
}

static dfo_status add_layer(dfo_build *build, json_t *config, struct dequantise *s)
{
    dfo_build inner = *build;
    if (build->conds == DFO_COND_PARTS)
        return dfoi_fail(build->ctx, DFO_EARG, "more than %d conditions", DFO_COND_PARTS - 1);
    inner.cond[0] = build->shape;
    for (size_t p = 0; p < build->conds; p++)
        inner.cond[p + 1] = build->cond[p];
    inner.conds = build->conds + 1;
    DFO_TRY(dfoi_layer_child(&inner, json_object_get(config, "layer"), "layer", &s->layer));
    if (!(s->layer->caps & DFO_CLOSED_INVERSE) || s->layer->caps & DFO_NEEDS_INPUT || dfo_bijector_aux(s->layer))
        return dfoi_fail(build->ctx, DFO_EUNSUP, "%s has no exact inverse to train through", s->layer->ops->type);
    return dfoi_layer_behind(build->ctx, s->layer);
}

dfo_status dfoi_dequantise_create(dfo_build *build, json_t *config, dfo_bijector *bij)
{
    static const char *const uniform[] = {"type", "bins", "kind", NULL},
                      *const variational[] = {"type", "bins", "kind", "layer", NULL};
    dfo_ctx *ctx = build->ctx;
    struct dequantise *s;
    int varies;
    DFO_TRY(dfoi_alloc(ctx, 1, sizeof *s, &s));
    bij->state = s;
    s->stream = dfoi_layer_key(build).row;
    DFO_TRY(dfoi_json_either(ctx, config, "kind", "uniform", "variational", &varies));
    DFO_TRY(dfoi_json_keys(ctx, config, varies ? variational : uniform));
    DFO_TRY(dfoi_json_size(ctx, config, "bins", 256, 2, 65536, &s->bins));
    if (!varies)
        return DFO_OK;
    DFO_TRY(add_layer(build, config, s));
    bij->caps |= s->layer->caps & DFO_DATA_INIT;
    return DFO_OK;
}

size_t dfoi_dequantise_bins(const dfo_bijector *bij)
{
    return bij->ops == &dfoi_dequantise_ops ? state(bij)->bins : 0;
}

const struct dfo_bijector_ops dfoi_dequantise_ops = {
    .type = "dequantise",
    .caps = DFO_STOCHASTIC | DFO_NEEDS_INPUT,
    .scratch = scratch,
    .derived = derived,
    .gderived = gderived,
    .prepare = prepare,
    .forward = forward,
    .inverse = inverse,
    .backward = backward,
    .pullback = pullback,
    .init = init,
    .update = update,
    .describe = describe,
    .free = dequantise_free,
};
