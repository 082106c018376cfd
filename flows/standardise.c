/* z_c = (x_c - mean_c) / std_c per feature, or per channel of an image; log-det = -h w sum log std.
 * Mean and standard deviation are buffers in the store: taken from data once (init, or
 * dfoi_standardise_set), kept with the model, never trained.  A column that does not vary is only
 * centred: its std counts as 1 (as scikit-learn's StandardScaler does).  */
#include <math.h>

#include "channels_impl.h"
#include "layers.h"
#include "standardise_impl.h"

struct standardise {
    size_t mean, std;                  /* (c) each, buffers */
    int    set;                        /* by dfoi_standardise_set: init has nothing to do */
};

/* h w sum log std.  */
static double log_scale(const dfo_bijector *bij, const dfo_real *std)
{
    double sum = 0;
    for (size_t c = 0; c < bij->shape.c; c++)
        sum += log((double)std[c]);
    return (double)dfoi_plane(bij) * sum;
}

/* Rows to latents (x - mean) / std, or back.  The gradient g, if not NULL, goes with them: it is divided where
 * they are multiplied.  */
static dfo_status map(const dfo_bijector *bij, dfo_run *run, dfo_batch x, dfo_batch *g, double *logdet, int to_data)
{
    const struct standardise *s = bij->state;
    const dfo_real *mean = dfo_run_buffers(run, s->mean), *std = dfo_run_buffers(run, s->std);
    double sum = (to_data ? 1 : -1) * log_scale(bij, std);
    size_t plane = dfoi_plane(bij);
    for (size_t i = 0; i < x.n; i++) {
        dfo_real *row = dfo_row(x, i), *grad = g ? dfo_row(*g, i) : NULL;
        for (size_t c = 0; c < bij->shape.c; c++, row += plane) {
            if (to_data)
                for (size_t p = 0; p < plane; p++)
                    row[p] = row[p] * std[c] + mean[c];
            else
                for (size_t p = 0; p < plane; p++)
                    row[p] = (row[p] - mean[c]) / std[c];
            for (size_t p = c * plane; grad && p < (c + 1) * plane; p++)
                grad[p] = to_data ? grad[p] / std[c] : grad[p] * std[c];
        }
        if (logdet)
            logdet[i] += sum;
    }
    return DFO_OK;
}

static dfo_status forward(const dfo_bijector *bij, dfo_run *run, dfo_batch x, const dfo_cond *cond,
                          double *logdet)
{
    (void)cond;
    return map(bij, run, x, NULL, logdet, 0);
}

static dfo_status inverse(const dfo_bijector *bij, dfo_run *run, dfo_batch z, const dfo_cond *cond,
                          double *logdet)
{
    (void)cond;
    return map(bij, run, z, NULL, logdet, 1);
}

static dfo_status backward(const dfo_bijector *bij, dfo_run *run, dfo_batch z, dfo_batch gz,
                           const dfo_cond *cond, dfo_cond *gcond, const double *glogdet)
{
    (void)cond;
    (void)gcond;
    (void)glogdet;
    return map(bij, run, z, &gz, NULL, 1);
}

static dfo_status inverse_backward(const dfo_bijector *bij, dfo_run *run, dfo_batch x, dfo_batch gx,
                                   const dfo_cond *cond, dfo_cond *gcond, const double *glogdet)
{
    (void)cond;
    (void)gcond;
    (void)glogdet;
    return map(bij, run, x, &gx, NULL, 0);
}

/* What divides column c: 1 where the spread is nothing, or only the rounding of its mean.  */
static dfo_real divisor(double mean, double std)
{
    int constant = std <= 1e-12 * fabs(mean) || (dfo_real)std < (dfo_real)FLT_MIN;
    return constant ? 1 : (dfo_real)std;
}

static dfo_status init(dfo_bijector *bij, dfo_run *run, dfo_batch x, const dfo_cond *cond)
{
    const struct standardise *s = bij->state;
    dfo_real *to = dfo_store_buffers(bij->store);
    size_t plane = dfoi_plane(bij);
    (void)cond;
    for (size_t c = 0; !s->set && c < bij->shape.c; c++) {
        double mean, std;
        dfoi_column_moments(x, c * plane, plane, &mean, &std);
        if (!isfinite(mean) || !isfinite((dfo_real)std))
            return dfo_run_fail(run, DFO_ENUM, (size_t)-1, "standardise: column %zu is not finite",
                                c);
        to[s->mean + c] = (dfo_real)mean;
        to[s->std + c] = divisor(mean, std);
    }
    dfo_store_touch(bij->store);
    return DFO_OK;
}

dfo_status dfoi_standardise_keep(dfo_ctx *ctx, const char *what, size_t n, const double *mean, const double *std, dfo_real *to_mean,
                                 dfo_real *to_std)
{
    for (size_t c = 0; c < n; c++)
        if (!isfinite((dfo_real)mean[c]) || !isfinite((dfo_real)std[c]) || std[c] < 0)
            return dfoi_fail(ctx, DFO_ENUM, "%s: column %zu: mean %g, standard deviation %g", what, c, mean[c], std[c]);
    for (size_t c = 0; c < n; c++) {
        to_mean[c] = (dfo_real)mean[c];
        to_std[c] = divisor(mean[c], std[c]);
    }
    return DFO_OK;
}

dfo_status dfoi_standardise_set(dfo_bijector *bij, const double *mean, const double *std)
{
    struct standardise *s = bij->state;
    if (bij->ops != &dfoi_standardise_ops)
        return dfoi_fail(bij->ctx, DFO_EARG, "%s: it has no mean and standard deviation",
                         bij->ops->type);
    dfo_real *to = dfo_store_buffers(bij->store);
    DFO_TRY(dfoi_standardise_keep(bij->ctx, "standardise", bij->shape.c, mean, std, to + s->mean, to + s->std));
    s->set = 1;
    dfo_store_touch(bij->store);
    return DFO_OK;
}

dfo_status dfoi_standardise_create(dfo_build *build, json_t *config, dfo_bijector *bij)
{
    static const char *const keys[] = {"type", NULL};
    struct standardise *s;
    DFO_TRY(dfoi_json_keys(build->ctx, config, keys));
    DFO_TRY(dfoi_alloc(build->ctx, 1, sizeof *s, &s));
    bij->state = s;
    DFO_TRY(dfo_build_buffer(build, "mean", 1, &build->shape.c, &s->mean));
    DFO_TRY(dfo_build_buffer(build, "std", 1, &build->shape.c, &s->std));
    for (size_t c = 0; c < build->shape.c; c++)
        dfo_store_buffers(build->store)[s->std + c] = 1;
    return DFO_OK;
}

const struct dfo_bijector_ops dfoi_standardise_ops = {
    .type = "standardise",
    .caps = DFO_CLOSED_INVERSE | DFO_DATA_INIT,
    .forward = forward,
    .inverse = inverse,
    .backward = backward,
    .inverse_backward = inverse_backward,
    .init = init,
};
