/* The uniform density on a box: log p(x) = -sum_j log(high_j - low_j) where low <= x <= high in
 * every column, -infinity elsewhere; NaN where x is NaN.  The bounds are settings: the likelihood
 * has no useful gradient with respect to them.  */
#include <math.h>

#include "base/ctx_impl.h"
#include "base/json_impl.h"
#include "dist/dist_impl.h"

struct box {
    struct dfoi_param low, high;
    double constant;
};

static dfo_status log_prob(const dfo_dist *dist, dfo_run *run, dfo_batch x, const dfo_cond *cond,
                           double *out)
{
    const struct box *s = dist->state;
    (void)run;
    (void)cond;
    for (size_t i = 0; i < x.n; i++) {
        const dfo_real *row = dfo_row(x, i);
        double value = s->constant;
        for (size_t j = 0; j < x.d; j++) {
            double v = (double)row[j];
            if (isnan(v))
                value = NAN;
            else if ((v < s->low.value[j] || v > s->high.value[j]) && !isnan(value))
                value = -INFINITY;
        }
        out[i] += value;
    }
    return DFO_OK;
}

static dfo_status log_prob_grad(const dfo_dist *dist, dfo_run *run, dfo_batch x,
                                const dfo_cond *cond, const double *glogp, dfo_batch gx,
                                dfo_cond *gcond)
{
    (void)dist;
    (void)run;
    (void)cond;
    (void)glogp;
    (void)gcond;
    for (size_t i = 0; gx.x && i < x.n; i++) /* flat: 0, but NaN where x is NaN */
        for (size_t j = 0; j < x.d; j++)
            if (isnan(dfo_row(x, i)[j]))
                dfo_row(gx, i)[j] = (dfo_real)NAN;
    return DFO_OK;
}

/* The real nearest to v within [low, high], so that a draw is never outside by rounding.  */
static dfo_real inside(double v, double low, double high)
{
    dfo_real r = (dfo_real)fmin(fmax(v, low), high);
    if ((double)r < low) /* in float: low itself lies between two of them */
        r = (dfo_real)nextafterf((float)r, INFINITY);
    if ((double)r > high)
        r = (dfo_real)nextafterf((float)r, -INFINITY);
    return r;
}

static size_t scratch(const dfo_dist *dist, size_t rows)
{
    (void)rows;
    return dfoi_doubles_size(dist->d);
}

static dfo_status sample(const dfo_dist *dist, dfo_run *run, dfo_batch x, const dfo_cond *cond,
                         double temperature)
{
    const struct box *s = dist->state;
    double *u = dfoi_take_doubles(run, x.d);
    (void)cond;
    if (!u)
        return run->status;
    for (size_t i = 0; i < x.n; i++) {
        dfo_real *row = dfo_row(x, i);
        dfo_draw_uniform(dfoi_base_key(run, i), 0, x.d, u);
        for (size_t j = 0; j < x.d; j++) {
            double low = s->low.value[j], high = s->high.value[j], half = 0.5 * (high - low);
            double v = low + half + temperature * half * (2 * u[j] - 1);
            row[j] = temperature <= 1 ? inside(v, low, high) : (dfo_real)v;
        }
    }
    return DFO_OK;
}

static dfo_status describe(const dfo_dist *dist, json_t *to)
{
    const struct box *s = dist->state;
    DFO_TRY(dfoi_dist_describe_head(dist, to, -1));
    DFO_TRY(dfoi_param_describe(dist->ctx, &s->low, to));
    return dfoi_param_describe(dist->ctx, &s->high, to);
}

static void free_state(dfo_dist *dist)
{
    struct box *s = dist->state;
    if (s) {
        dfoi_param_free(dist->ctx, &s->low);
        dfoi_param_free(dist->ctx, &s->high);
    }
    dfoi_free(dist->ctx, s);
}

static const struct dfo_dist_ops ops = {
    .type = "box",
    .scratch = scratch,
    .log_prob = log_prob,
    .log_prob_grad = log_prob_grad,
    .sample = sample,
    .describe = describe,
    .free = free_state,
};

dfo_status dfoi_dist_box(dfo_build *build, json_t *config, dfo_dist *dist)
{
    static const char *const known[] = {"type", "low", "high", NULL};
    dfo_ctx *ctx = build->ctx;
    const double most = 0.25 * (double)DFO_REAL_MAX;
    struct box *s;
    dist->ops = &ops;
    DFO_TRY(dfoi_alloc(ctx, 1, sizeof *s, &s));
    dist->state = s;
    DFO_TRY(dfoi_json_keys(ctx, config, known));
    DFO_TRY(dfoi_param_new(build, config, "low", 0, dist->d, 0, -most, most, 0, &s->low));
    DFO_TRY(dfoi_param_new(build, config, "high", 0, dist->d, 1, -most, most, 0, &s->high));
    for (size_t j = 0; j < dist->d; j++) {
        double low = s->low.value[j], high = s->high.value[j];
        if (!((dfo_real)low < (dfo_real)high))
            return dfoi_fail(ctx, DFO_EARG, "high: must be above low in column %zu, got %g and %g",
                             j + 1, low, high);
        s->constant -= log(high - low);
    }
    return DFO_OK;
}
