/* Densities whose columns are independent, each a standard one that is moved and stretched: normal,
 * logistic, Laplace.  With z_j = (x_j - loc_j) / e^{log_scale_j}
 *
 *     log p(x) = sum_j log f(z_j) - log_scale_j
 *     normal     log f = -z^2/2 - log(2 pi)/2          d/dz = -z
 *     logistic   log f = -|z| - 2 log(1 + e^{-|z|})    d/dz = -tanh(z/2)
 *     Laplace    log f = -|z| - log 2                  d/dz = -sign z
 *
 * The standard normal, with which nearly every flow ends, has a path of its own.  */
#include <math.h>

#include "base/ctx_impl.h"
#include "base/json_impl.h"
#include "dist/dist_impl.h"
#include "math/kern_impl.h"

struct family {
    const char *loc, *log_scale;          /* what the parameters are called */
    double constant;                      /* of a column */
    double (*sum)(size_t d, dfo_real *z); /* sum_j log f(z_j) - constant; z is lost */
    void (*slope)(size_t d, const dfo_real *z, dfo_real *s);     /* d log f/dz */
    void (*draw)(dfo_key key, size_t d, dfo_real *z, double *u); /* u: room for d */
};

struct location_scale {
    const struct family *family;
    int learned, standard; /* standard: loc 0 and log_scale 0, not learned */
    struct dfoi_param loc, log_scale;
};

static double normal_sum(size_t d, dfo_real *z)
{
    return -0.5 * dfoi_sum_squares(d, z);
}

static void normal_slope(size_t d, const dfo_real *z, dfo_real *s)
{
    for (size_t j = 0; j < d; j++)
        s[j] = -z[j];
}

static void normal_draw(dfo_key key, size_t d, dfo_real *z, double *u)
{
    (void)u;
    dfo_draw_real_normal(key, d, z);
}

static double laplace_sum(size_t d, dfo_real *z)
{
    for (size_t j = 0; j < d; j++)
        z[j] = z[j] < 0 ? -z[j] : z[j];
    return -dfoi_sum(d, z);
}

static void laplace_slope(size_t d, const dfo_real *z, dfo_real *s)
{
    for (size_t j = 0; j < d; j++)
        s[j] = z[j] > 0   ? (dfo_real)-1
               : z[j] < 0 ? (dfo_real)1
                          : (dfo_real)0 * z[j]; /* NaN stays */
}

/* z = log 2u below the middle, -log 2(1-u) above.  */
static void laplace_draw(dfo_key key, size_t d, dfo_real *z, double *u)
{
    dfo_draw_uniform(key, 0, d, u);
    for (size_t j = 0; j < d; j++)
        z[j] = (dfo_real)(u[j] < 0.5 ? log(2 * u[j]) : -log(2 * (1 - u[j])));
}

static double logistic_sum(size_t d, dfo_real *z)
{
    double sum = laplace_sum(d, z); /* z is |z| now */
    for (size_t j = 0; j < d; j++)
        z[j] = -z[j];
    dfoi_vsoftplus(d, z, z);
    return sum - 2 * dfoi_sum(d, z);
}

static void logistic_slope(size_t d, const dfo_real *z, dfo_real *s)
{
    for (size_t j = 0; j < d; j++)
        s[j] = (dfo_real)-0.5 * z[j];
    dfoi_vtanh(d, s, s);
}

/* z = log u/(1-u).  */
static void logistic_draw(dfo_key key, size_t d, dfo_real *z, double *u)
{
    dfo_draw_uniform(key, 0, d, u);
    for (size_t j = 0; j < d; j++)
        z[j] = (dfo_real)(log(u[j]) - log1p(-u[j]));
}

static const struct family normal = {
    .loc = "mean",
    .log_scale = "log_std",
    .constant = -0.5 * DFOI_LOG_2PI,
    .sum = normal_sum,
    .slope = normal_slope,
    .draw = normal_draw,
};

static const struct family logistic = {
    .loc = "loc",
    .log_scale = "log_scale",
    .constant = 0,
    .sum = logistic_sum,
    .slope = logistic_slope,
    .draw = logistic_draw,
};

static const struct family laplace = {
    .loc = "loc",
    .log_scale = "log_scale",
    .constant = -0.69314718055994530942,
    .sum = laplace_sum,
    .slope = laplace_slope,
    .draw = laplace_draw,
};

/* Location, 1/scale and scale of the columns, and the log-density's constant.  */
struct values {
    double *loc, *inverse, *scale, constant;
};

static dfo_status take_values(const dfo_dist *dist, dfo_run *run, struct values *v)
{
    const struct location_scale *s = dist->state;
    size_t d = dist->d;
    v->loc = dfoi_take_doubles(run, 3 * d);
    if (!v->loc)
        return run->status;
    v->inverse = v->loc + d;
    v->scale = v->inverse + d;
    v->constant = (double)d * s->family->constant;
    dfoi_param_get(&s->loc, run, v->loc);
    dfoi_param_get(&s->log_scale, run, v->scale);
    for (size_t j = 0; j < d; j++) {
        v->constant -= v->scale[j];
        v->inverse[j] = exp(-v->scale[j]);
        v->scale[j] = exp(v->scale[j]);
    }
    return DFO_OK;
}

static void standardise(size_t d, const dfo_real *x, const struct values *v, dfo_real *z)
{
    for (size_t j = 0; j < d; j++)
        z[j] = (dfo_real)(((double)x[j] - v->loc[j]) * v->inverse[j]);
}

static size_t scratch(const dfo_dist *dist, size_t rows)
{
    const struct location_scale *s = dist->state;
    (void)rows;
    if (s->standard && s->family == &normal)
        return 0;
    return dfoi_doubles_size(3 * dist->d) + dfoi_doubles_size(2 * dist->d) +
           2 * dfo_arena_size(dist->d);
}

static dfo_status log_prob(const dfo_dist *dist, dfo_run *run, dfo_batch x, const dfo_cond *cond,
                           double *out)
{
    const struct location_scale *s = dist->state;
    struct values v;
    (void)cond;
    if (s->standard && s->family == &normal) {
        double constant = -0.5 * DFOI_LOG_2PI * (double)x.d;
        for (size_t i = 0; i < x.n; i++)
            out[i] += constant - 0.5 * dfoi_sum_squares(x.d, dfo_row(x, i));
        return DFO_OK;
    }
    DFO_TRY(take_values(dist, run, &v));
    dfo_real *z = dfoi_take_reals(run, x.d);
    if (!z)
        return run->status;
    for (size_t i = 0; i < x.n; i++) {
        standardise(x.d, dfo_row(x, i), &v, z);
        out[i] += v.constant + s->family->sum(x.d, z);
    }
    return DFO_OK;
}

static dfo_status log_prob_grad(const dfo_dist *dist, dfo_run *run, dfo_batch x,
                                const dfo_cond *cond, const double *glogp, dfo_batch gx,
                                dfo_cond *gcond)
{
    const struct location_scale *s = dist->state;
    size_t d = x.d;
    struct values v;
    (void)cond;
    (void)gcond;
    if (s->standard && s->family == &normal) {
        for (size_t i = 0; gx.x && i < x.n; i++)
            dfoi_axpy(d, (dfo_real)-glogp[i], dfo_row(x, i), dfo_row(gx, i));
        return DFO_OK;
    }
    DFO_TRY(take_values(dist, run, &v));
    double *gloc = dfoi_take_doubles(run, 2 * d);
    dfo_real *z = dfoi_take_reals(run, d), *slope = dfoi_take_reals(run, d);
    if (!gloc || !z || !slope)
        return run->status;
    double *glog = gloc + d;
    for (size_t j = 0; j < 2 * d; j++)
        gloc[j] = 0;
    for (size_t i = 0; i < x.n; i++) {
        double g = glogp[i];
        standardise(d, dfo_row(x, i), &v, z);
        s->family->slope(d, z, slope);
        if (gx.x) {
            dfo_real *grow = dfo_row(gx, i);
            for (size_t j = 0; j < d; j++)
                grow[j] += (dfo_real)(g * (double)slope[j] * v.inverse[j]);
        }
        if (!s->learned || !run->grads)
            continue;
        for (size_t j = 0; j < d; j++) {
            gloc[j] -= g * (double)slope[j] * v.inverse[j];
            glog[j] -= g * ((double)slope[j] * (double)z[j] + 1);
        }
    }
    dfoi_param_add_grad(&s->loc, run, gloc);
    dfoi_param_add_grad(&s->log_scale, run, glog);
    return DFO_OK;
}

static dfo_status sample(const dfo_dist *dist, dfo_run *run, dfo_batch x, const dfo_cond *cond,
                         double temperature)
{
    const struct location_scale *s = dist->state;
    struct values v;
    (void)cond;
    if (s->standard && s->family == &normal) {
        dfo_draw_real_normals(dfoi_base_key(run, 0), x.n, x.d, x.x, x.ld);
        for (size_t i = 0; i < x.n && (temperature < 1 || temperature > 1); i++)
            dfoi_scale(x.d, (dfo_real)temperature, dfo_row(x, i));
        return DFO_OK;
    }
    DFO_TRY(take_values(dist, run, &v));
    double *u = dfoi_take_doubles(run, x.d);
    if (!u)
        return run->status;
    for (size_t i = 0; i < x.n; i++) {
        dfo_real *row = dfo_row(x, i);
        s->family->draw(dfoi_base_key(run, i), x.d, row, u);
        for (size_t j = 0; j < x.d; j++)
            row[j] = (dfo_real)(v.loc[j] + temperature * v.scale[j] * (double)row[j]);
    }
    return DFO_OK;
}

static dfo_status describe(const dfo_dist *dist, json_t *to)
{
    const struct location_scale *s = dist->state;
    DFO_TRY(dfoi_dist_describe_head(dist, to, s->learned));
    DFO_TRY(dfoi_param_describe(dist->ctx, &s->loc, to));
    return dfoi_param_describe(dist->ctx, &s->log_scale, to);
}

static void free_state(dfo_dist *dist)
{
    struct location_scale *s = dist->state;
    if (s) {
        dfoi_param_free(dist->ctx, &s->loc);
        dfoi_param_free(dist->ctx, &s->log_scale);
    }
    dfoi_free(dist->ctx, s);
}

#define OPS(name)                                                                                  \
    {                                                                                              \
        .type = name, .scratch = scratch, .log_prob = log_prob, .log_prob_grad = log_prob_grad,    \
        .sample = sample, .describe = describe, .free = free_state,                                \
    }
static const struct dfo_dist_ops normal_ops = OPS("normal");
static const struct dfo_dist_ops logistic_ops = OPS("logistic");
static const struct dfo_dist_ops laplace_ops = OPS("laplace");

static dfo_status create(dfo_build *build, json_t *config, dfo_dist *dist,
                         const struct dfo_dist_ops *ops, const struct family *family)
{
    dfo_ctx *ctx = build->ctx;
    const char *const known[] = {"type", "learned", family->loc, family->log_scale, NULL};
    struct location_scale *s;
    dist->ops = ops;
    DFO_TRY(dfoi_alloc(ctx, 1, sizeof *s, &s));
    dist->state = s;
    s->family = family;
    DFO_TRY(dfoi_json_keys(ctx, config, known));
    DFO_TRY(dfoi_json_bool(ctx, config, "learned", 0, &s->learned));
    DFO_TRY(dfoi_param_new(build, config, family->loc, 0, dist->d, 0, -DFO_REAL_MAX, DFO_REAL_MAX,
                           s->learned, &s->loc));
    DFO_TRY(dfoi_param_new(build, config, family->log_scale, 0, dist->d, 0, -80, 80, s->learned,
                           &s->log_scale));
    s->standard = !s->learned && !s->loc.given && !s->log_scale.given;
    return DFO_OK;
}

dfo_status dfoi_dist_normal(dfo_build *build, json_t *config, dfo_dist *dist)
{
    return create(build, config, dist, &normal_ops, &normal);
}

dfo_status dfoi_dist_logistic(dfo_build *build, json_t *config, dfo_dist *dist)
{
    return create(build, config, dist, &logistic_ops, &logistic);
}

dfo_status dfoi_dist_laplace(dfo_build *build, json_t *config, dfo_dist *dist)
{
    return create(build, config, dist, &laplace_ops, &laplace);
}
