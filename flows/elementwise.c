/* Elementwise layers: z_j = f(x_j) with a fixed increasing f (scalar.c), log-det = sum log f'.
 * They are computed in double in both precisions.  Layers whose output is squeezed into a range
 * keep their input for backward: it cannot be found again from a saturated output.  Box-Cox has a
 * learned exponent per feature (channel, for images), logit its margin and scale: z = logit(alpha +
 * (1-2 alpha) (x-low)/(high-low)), rescale: z = (x-low)/(high-low) - 1/2. A value outside f's domain is an error that names row and
 * column.  */
#include <math.h>
#include <string.h>

#include "channels_impl.h"
#include "layers.h"
#include "scalar_impl.h"

struct elementwise {
    const struct dfoi_scalar *f;
    struct dfoi_scalar_set set;
    double low, high;                  /* domain */
    int    box_cox;
    size_t lambda;                     /* (c) weights, for box-cox */
    double start;                      /* what lambda began with */
};

/* Settings for feature j.  */
static void settings(const dfo_bijector *bij, const dfo_run *run, size_t j,
                     struct dfoi_scalar_set *set)
{
    const struct elementwise *e = bij->state;
    if (e->box_cox)
        set->lambda = (double)dfo_run_weights(run, e->lambda)[j / dfoi_plane(bij)];
}

static dfo_status outside(const dfo_bijector *bij, dfo_run *run, size_t i, size_t j, double value,
                          double low, double high)
{
    return dfo_run_fail(run, DFO_ENUM, i, "%s: row %llu, column %zu: %.9g is outside (%g, %g)",
                        bij->ops->type, (unsigned long long)(run->key.row + i), j, value, low,
                        high);
}

static dfo_status forward(const dfo_bijector *bij, dfo_run *run, dfo_batch x, const dfo_cond *cond,
                          double *logdet)
{
    const struct elementwise *e = bij->state;
    struct dfoi_scalar_set set = e->set;
    (void)cond;
    for (size_t i = 0; i < x.n; i++) {
        dfo_real *row = dfo_row(x, i);
        double sum = 0;
        for (size_t j = 0; j < x.d; j++) {
            double in = (double)row[j];
            settings(bij, run, j, &set);
            if (!(in > e->low && in < e->high))
                return outside(bij, run, i, j, in, e->low, e->high);
            double out = e->f->value(&set, in);
            sum += e->f->log_slope(&set, e->f->from_z ? out : in);
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
    const struct elementwise *e = bij->state;
    struct dfoi_scalar_set set = e->set;
    (void)cond;
    for (size_t i = 0; i < z.n; i++) {
        dfo_real *row = dfo_row(z, i);
        double sum = 0;
        for (size_t j = 0; j < z.d; j++) {
            double in = (double)row[j];
            settings(bij, run, j, &set);
            double out = e->f->inverse(&set, in);
            if (!(in > e->f->z_low && in < e->f->z_high) || isnan(out))
                return outside(bij, run, i, j, in, e->f->z_low, e->f->z_high);
            sum += e->f->log_slope(&set, e->f->from_z ? in : out);
            row[j] = (dfo_real)out;
        }
        if (logdet)
            logdet[i] -= sum;
    }
    return DFO_OK;
}

/* Gradients of lambda, one double a channel, from scratch; NULL if not wanted.  */
static double *lambda_grads(const dfo_bijector *bij, dfo_run *run)
{
    const struct elementwise *e = bij->state;
    if (!e->box_cox || !run->grads)
        return NULL;
    double *g = dfoi_take_doubles(run, bij->shape.c);
    memset(g, 0, bij->shape.c * sizeof *g);
    return g;
}

static void add_lambda_grads(const dfo_bijector *bij, dfo_run *run, const double *g)
{
    const struct elementwise *e = bij->state;
    for (size_t c = 0; g && c < bij->shape.c; c++)
        dfo_run_grads(run, e->lambda)[c] += (dfo_real)g[c];
}

/* gx = f' gz + (log f')' glogdet.  */
static dfo_status backward(const dfo_bijector *bij, dfo_run *run, dfo_batch z, dfo_batch gz,
                           const dfo_cond *cond, dfo_cond *gcond, const double *glogdet)
{
    const struct elementwise *e = bij->state;
    const dfo_real *kept = bij->caps & DFO_NEEDS_INPUT ? run->saved : NULL;
    struct dfoi_scalar_set set = e->set;
    double *gl = lambda_grads(bij, run);
    (void)cond;
    (void)gcond;
    for (size_t i = 0; i < z.n; i++) {
        dfo_real *row = dfo_row(z, i), *g = dfo_row(gz, i);
        for (size_t j = 0; j < z.d; j++) {
            settings(bij, run, j, &set);
            double out = (double)row[j],
                   in = kept ? (double)kept[i * z.d + j] : e->f->inverse(&set, out);
            double u = e->f->from_z ? out : in;
            if (gl)
                gl[j / dfoi_plane(bij)] +=
                    (double)g[j] * dfoi_box_cox_lambda_slope(set.lambda, in) + glogdet[i] * log(in);
            g[j] = (dfo_real)(e->f->slope(&set, u) * (double)g[j] +
                              e->f->change(&set, u) * glogdet[i]);
            row[j] = (dfo_real)in;
        }
    }
    add_lambda_grads(bij, run, gl);
    return DFO_OK;
}

/* The log-det is -log f'(x):  gz = (gx - (log f')' glogdet) / f'.  */
static dfo_status inverse_backward(const dfo_bijector *bij, dfo_run *run, dfo_batch x, dfo_batch gx,
                                   const dfo_cond *cond, dfo_cond *gcond, const double *glogdet)
{
    const struct elementwise *e = bij->state;
    struct dfoi_scalar_set set = e->set;
    double *gl = lambda_grads(bij, run);
    (void)cond;
    (void)gcond;
    for (size_t i = 0; i < x.n; i++) {
        dfo_real *row = dfo_row(x, i), *g = dfo_row(gx, i);
        for (size_t j = 0; j < x.d; j++) {
            settings(bij, run, j, &set);
            double in = (double)row[j], out = e->f->value(&set, in), u = e->f->from_z ? out : in;
            double down =
                ((double)g[j] - e->f->change(&set, u) * glogdet[i]) / e->f->slope(&set, u);
            if (gl)
                gl[j / dfoi_plane(bij)] -=
                    down * dfoi_box_cox_lambda_slope(set.lambda, in) + glogdet[i] * log(in);
            g[j] = (dfo_real)down;
            row[j] = (dfo_real)out;
        }
    }
    add_lambda_grads(bij, run, gl);
    return DFO_OK;
}

static size_t scratch(const dfo_bijector *bij, size_t rows)
{
    const struct elementwise *e = bij->state;
    (void)rows;
    return e->box_cox ? dfoi_doubles_size(bij->shape.c) : 0;
}

static dfo_status describe(const dfo_bijector *bij, json_t *to)
{
    const struct elementwise *e = bij->state;
    if (!strcmp(e->f->type, "leaky-relu"))
        return dfoi_json_set(bij->ctx, to, "slope", json_real(e->set.slope));
    if (e->box_cox)
        return dfoi_json_set(bij->ctx, to, "lambda", json_real(e->start));
    int logit = !strcmp(e->f->type, "logit");
    if (!logit && strcmp(e->f->type, "rescale"))
        return DFO_OK;
    if (logit)
        DFO_TRY(dfoi_json_set(bij->ctx, to, "alpha", json_real(e->set.alpha)));
    DFO_TRY(dfoi_json_set(bij->ctx, to, "low", json_real(e->set.low)));
    return dfoi_json_set(bij->ctx, to, "high", json_real(e->set.high));
}

static dfo_status read_range(dfo_ctx *ctx, const json_t *config, struct dfoi_scalar_set *s)
{
    DFO_TRY(dfoi_json_real(ctx, config, "low", 0, -1e30, 1e30, &s->low));
    DFO_TRY(dfoi_json_real(ctx, config, "high", 1, -1e30, 1e30, &s->high));
    if (!(s->high > s->low))
        return dfoi_fail(ctx, DFO_EARG, "high must be more than low, got %g and %g", s->high,
                         s->low);
    return DFO_OK;
}

static dfo_status create_rescale(dfo_ctx *ctx, const json_t *config, struct elementwise *e)
{
    static const char *const keys[] = {"type", "low", "high", NULL};
    DFO_TRY(dfoi_json_keys(ctx, config, keys));
    return read_range(ctx, config, &e->set);
}

static dfo_status create_logit(dfo_ctx *ctx, const json_t *config, struct elementwise *e)
{
    static const char *const keys[] = {"type", "alpha", "low", "high", NULL};
    struct dfoi_scalar_set *s = &e->set;
    DFO_TRY(dfoi_json_keys(ctx, config, keys));
    DFO_TRY(dfoi_json_real(ctx, config, "alpha", 0, 0, 0.499, &s->alpha));
    DFO_TRY(read_range(ctx, config, s));
    double margin = (s->high - s->low) * s->alpha / (1 - 2 * s->alpha);
    e->low = s->low - margin;
    e->high = s->high + margin;
    return DFO_OK;
}

static dfo_status create_box_cox(dfo_build *build, const json_t *config, struct elementwise *e)
{
    static const char *const keys[] = {"type", "lambda", NULL};
    size_t c = build->shape.c;
    e->box_cox = 1;
    DFO_TRY(dfoi_json_keys(build->ctx, config, keys));
    DFO_TRY(dfoi_json_real(build->ctx, config, "lambda", 1, -10, 10, &e->start));
    DFO_TRY(dfo_build_weights(build, "lambda", 1, &c, &e->lambda));
    dfo_build_constant(build, e->lambda, c, e->start);
    return DFO_OK;
}

dfo_status dfoi_elementwise_create(dfo_build *build, json_t *config, dfo_bijector *bij)
{
    static const char *const keys[] = {"type", NULL}, *const leaky[] = {"type", "slope", NULL};
    dfo_ctx *ctx = build->ctx;
    struct elementwise *e;
    DFO_TRY(dfoi_alloc(ctx, 1, sizeof *e, &e));
    bij->state = e;
    e->f = dfoi_scalar_named(bij->ops->type);
    e->low = e->f->low;
    e->high = e->f->high;
    if (!strcmp(e->f->type, "logit"))
        return create_logit(ctx, config, e);
    if (!strcmp(e->f->type, "rescale"))
        return create_rescale(ctx, config, e);
    if (!strcmp(e->f->type, "box-cox"))
        return create_box_cox(build, config, e);
    if (strcmp(e->f->type, "leaky-relu"))
        return dfoi_json_keys(ctx, config, keys);
    DFO_TRY(dfoi_json_keys(ctx, config, leaky));
    return dfoi_json_real(ctx, config, "slope", 0.01, 1e-6, 1e6, &e->set.slope);
}

#define ELEMENTWISE(name, its_type, its_caps)        \
    const struct dfo_bijector_ops name = {           \
        .type = its_type,                            \
        .caps = its_caps,                            \
        .scratch = scratch,                          \
        .forward = forward,                          \
        .inverse = inverse,                          \
        .backward = backward,                        \
        .inverse_backward = inverse_backward,        \
        .describe = describe,                        \
    }

#define EXACT DFO_CLOSED_INVERSE
#define SQUEEZE                                                                                    \
    (DFO_CLOSED_INVERSE | DFO_NEEDS_INPUT) /* the output may be rounded beyond recognition */

ELEMENTWISE(dfoi_sigmoid_ops, "sigmoid", SQUEEZE);
ELEMENTWISE(dfoi_logit_ops, "logit", EXACT);
ELEMENTWISE(dfoi_rescale_ops, "rescale", EXACT);
ELEMENTWISE(dfoi_tanh_ops, "tanh", SQUEEZE);
ELEMENTWISE(dfoi_atanh_ops, "atanh", EXACT);
ELEMENTWISE(dfoi_softplus_ops, "softplus", SQUEEZE);
ELEMENTWISE(dfoi_softplus_inverse_ops, "softplus-inverse", EXACT);
ELEMENTWISE(dfoi_exp_ops, "exp", SQUEEZE);
ELEMENTWISE(dfoi_log_ops, "log", EXACT);
ELEMENTWISE(dfoi_sinh_ops, "sinh", EXACT);
ELEMENTWISE(dfoi_asinh_ops, "asinh", EXACT);
ELEMENTWISE(dfoi_leaky_relu_ops, "leaky-relu", EXACT);
ELEMENTWISE(dfoi_box_cox_ops, "box-cox", SQUEEZE);
