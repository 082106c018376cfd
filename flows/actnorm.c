/* Activation normalisation: z_c = e^{s_c} x_c + b_c per feature, or per channel of an image;
 * log-det = h w sum s.  The first batch sets s and b so that z has mean 0 and variance 1 (init, never
 * inside forward).  Kingma & Dhariwal 2018, section 3.1.  */
#include <math.h>

#include "layers.h"
#include "math/kern_impl.h"

struct actnorm {
    size_t log_scale, shift;           /* (c) each */
};

static size_t scratch(const dfo_bijector *bij, size_t rows)
{
    (void)rows;
    return dfo_arena_size(bij->shape.c);
}

/* e^{sign s} and the log-det, sign * hw * sum s.  */
static dfo_real *scales(const dfo_bijector *bij, dfo_run *run, dfo_real sign, double *logdet)
{
    const struct actnorm *a = bij->state;
    const dfo_real *s = dfo_run_weights(run, a->log_scale);
    dfo_real *scale = dfo_arena_take(run, bij->shape.c);
    for (size_t c = 0; c < bij->shape.c; c++)
        scale[c] = sign * s[c];
    dfoi_vexp(bij->shape.c, scale, scale);
    *logdet = (double)sign * (double)(bij->shape.h * bij->shape.w) * dfoi_sum(bij->shape.c, s);
    return scale;
}

/* z = e^s x + b, or x = (z - b) e^-s.  */
static dfo_status map(const dfo_bijector *bij, dfo_run *run, dfo_batch x, double *logdet, dfo_real sign)
{
    const struct actnorm *a = bij->state;
    const dfo_real *shift = dfo_run_weights(run, a->shift);
    size_t plane = bij->shape.h * bij->shape.w;
    double sum;
    const dfo_real *scale = scales(bij, run, sign, &sum);
    for (size_t i = 0; i < x.n; i++) {
        dfo_real *row = dfo_row(x, i);
        for (size_t c = 0; c < bij->shape.c; c++, row += plane)
            if (sign > 0)
                for (size_t p = 0; p < plane; p++)
                    row[p] = row[p] * scale[c] + shift[c];
            else
                for (size_t p = 0; p < plane; p++)
                    row[p] = (row[p] - shift[c]) * scale[c];
        if (logdet)
            logdet[i] += sum;
    }
    return DFO_OK;
}

static dfo_status forward(const dfo_bijector *bij, dfo_run *run, dfo_batch x, const dfo_cond *cond,
                          double *logdet)
{
    (void)cond;
    return map(bij, run, x, logdet, 1);
}

static dfo_status inverse(const dfo_bijector *bij, dfo_run *run, dfo_batch z, const dfo_cond *cond,
                          double *logdet)
{
    (void)cond;
    return map(bij, run, z, logdet, -1);
}

/* gs = sum gz (z - b) + hw glogdet, gb = sum gz, gx = e^s gz.  */
static dfo_status backward(const dfo_bijector *bij, dfo_run *run, dfo_batch z, dfo_batch gz,
                           const dfo_cond *cond, dfo_cond *gcond, const double *glogdet)
{
    const struct actnorm *a = bij->state;
    const dfo_real *shift = dfo_run_weights(run, a->shift), *s = dfo_run_weights(run, a->log_scale);
    dfo_real *gs = dfo_run_grads(run, a->log_scale), *gb = dfo_run_grads(run, a->shift);
    size_t plane = bij->shape.h * bij->shape.w;
    double sum;
    const dfo_real *down = scales(bij, run, -1, &sum);
    (void)cond;
    (void)gcond;
    for (size_t i = 0; gs && i < z.n; i++)
        for (size_t c = 0; c < bij->shape.c; c++) {
            double d_scale = (double)plane * glogdet[i], d_shift = 0;
            for (size_t p = c * plane; p < (c + 1) * plane; p++) {
                d_scale += (double)(dfo_row(gz, i)[p] * (dfo_row(z, i)[p] - shift[c]));
                d_shift += (double)dfo_row(gz, i)[p];
            }
            gs[c] += (dfo_real)d_scale;
            gb[c] += (dfo_real)d_shift;
        }
    for (size_t c = 0; c < bij->shape.c; c++) {
        dfo_real up;
        dfoi_vexp(1, &s[c], &up);
        for (size_t i = 0; i < z.n; i++)
            for (size_t p = c * plane; p < (c + 1) * plane; p++) {
                dfo_row(z, i)[p] = (dfo_row(z, i)[p] - shift[c]) * down[c];
                dfo_row(gz, i)[p] *= up;
            }
    }
    return DFO_OK;
}

/* x = (z - b) e^{-s}: gz = e^{-s} gx, gb = -sum gz, gs = -sum gx x - hw glogdet.  */
static dfo_status inverse_backward(const dfo_bijector *bij, dfo_run *run, dfo_batch x, dfo_batch gx,
                                   const dfo_cond *cond, dfo_cond *gcond, const double *glogdet)
{
    const struct actnorm *a = bij->state;
    const dfo_real *shift = dfo_run_weights(run, a->shift), *s = dfo_run_weights(run, a->log_scale);
    dfo_real *gs = dfo_run_grads(run, a->log_scale), *gb = dfo_run_grads(run, a->shift);
    size_t plane = bij->shape.h * bij->shape.w;
    double sum;
    const dfo_real *down = scales(bij, run, -1, &sum);
    (void)cond;
    (void)gcond;
    for (size_t c = 0; c < bij->shape.c; c++) {
        dfo_real up;
        dfoi_vexp(1, &s[c], &up);
        double d_scale = 0, d_shift = 0;
        for (size_t i = 0; i < x.n; i++) {
            d_scale -= (double)plane * glogdet[i];
            for (size_t p = c * plane; p < (c + 1) * plane; p++) {
                dfo_real value = dfo_row(x, i)[p], g = dfo_row(gx, i)[p];
                d_scale -= (double)(g * value);
                d_shift -= (double)(g * down[c]);
                dfo_row(x, i)[p] = value * up + shift[c];
                dfo_row(gx, i)[p] = g * down[c];
            }
        }
        if (gs) {
            gs[c] += (dfo_real)d_scale;
            gb[c] += (dfo_real)d_shift;
        }
    }
    return DFO_OK;
}

static dfo_status init(dfo_bijector *bij, dfo_run *run, dfo_batch x, const dfo_cond *cond)
{
    const struct actnorm *a = bij->state;
    dfo_real *w = dfo_store_weights(bij->store);
    size_t plane = bij->shape.h * bij->shape.w;
    (void)run;
    (void)cond;
    for (size_t c = 0; c < bij->shape.c; c++) {
        double mean, std;
        dfoi_column_moments(x, c * plane, plane, &mean, &std);
        w[a->log_scale + c] = (dfo_real)-log(std + 1e-6);
        w[a->shift + c] = (dfo_real)(-mean * exp((double)w[a->log_scale + c]));
    }
    dfo_store_touch(bij->store);
    return DFO_OK;
}

dfo_status dfoi_actnorm_create(dfo_build *build, json_t *config, dfo_bijector *bij)
{
    static const char *const keys[] = {"type", NULL};
    struct actnorm *a;
    DFO_TRY(dfoi_json_keys(build->ctx, config, keys));
    DFO_TRY(dfoi_alloc(build->ctx, 1, sizeof *a, &a));
    bij->state = a;
    DFO_TRY(dfo_build_weights(build, "log_scale", 1, &build->shape.c, &a->log_scale));
    return dfo_build_weights(build, "shift", 1, &build->shape.c, &a->shift);
}

const struct dfo_bijector_ops dfoi_actnorm_ops = {
    .type = "actnorm",
    .caps = DFO_CLOSED_INVERSE | DFO_DATA_INIT,
    .scratch = scratch,
    .forward = forward,
    .inverse = inverse,
    .backward = backward,
    .inverse_backward = inverse_backward,
    .init = init,
};
