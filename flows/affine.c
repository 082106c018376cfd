/* z_c = e^{s_c} x_c + b_c with learned s and b per feature, or per channel of an image, beginning
 * at the identity; log-det = h w sum s.  With "net" the scale and shift of every feature come from
 * a net of the condition instead (of nothing: learned constants), scales bounded as in affine
 * couplings: an affine coupling in which no feature passes.  */
#include <math.h>

#include "channels_impl.h"
#include "layers.h"

struct affine {
    size_t        log_scale, shift;    /* (c) each */
    dfo_bijector *net;                 /* the coupling that does it all, or NULL */
};

static const struct affine *state(const dfo_bijector *bij)
{
    return bij->state;
}

static size_t scratch(const dfo_bijector *bij, size_t rows)
{
    return state(bij)->net ? dfo_bijector_scratch(state(bij)->net, rows) : 0;
}

static size_t saved(const dfo_bijector *bij, size_t rows, const dfo_run *how)
{
    return state(bij)->net ? dfo_bijector_saved(state(bij)->net, rows, how) : 0;
}

static size_t derived(const dfo_bijector *bij)
{
    return state(bij)->net ? dfo_bijector_derived(state(bij)->net) : 0;
}

static size_t gderived(const dfo_bijector *bij)
{
    return state(bij)->net ? dfo_bijector_gderived(state(bij)->net) : 0;
}

static dfo_status prepare(const dfo_bijector *bij, dfo_run *run, dfo_real *to)
{
    return state(bij)->net ? dfo_bijector_prepare(state(bij)->net, run, to) : DFO_OK;
}

static dfo_status update(const dfo_bijector *bij, dfo_run *run)
{
    return state(bij)->net ? dfo_bijector_update(state(bij)->net, run) : DFO_OK;
}

/* The features of channel c in row i.  */
static dfo_real *channel(const dfo_bijector *bij, dfo_batch x, size_t i, size_t c)
{
    return dfo_row(x, i) + c * dfoi_plane(bij);
}

static void scale_and_shift(const dfo_bijector *bij, dfo_run *run, dfo_batch x, double *logdet)
{
    const dfo_real *s = dfo_run_weights(run, state(bij)->log_scale),
                   *b = dfo_run_weights(run, state(bij)->shift);
    size_t plane = dfoi_plane(bij);
    for (size_t c = 0; c < bij->shape.c; c++) {
        dfo_real factor = (dfo_real)exp((double)s[c]);
        for (size_t i = 0; i < x.n; i++) {
            for (size_t p = 0; p < plane; p++)
                channel(bij, x, i, c)[p] = channel(bij, x, i, c)[p] * factor + b[c];
            if (logdet)
                logdet[i] += (double)plane * (double)s[c];
        }
    }
}

static void unshift_and_unscale(const dfo_bijector *bij, dfo_run *run, dfo_batch z, double *logdet)
{
    const dfo_real *s = dfo_run_weights(run, state(bij)->log_scale),
                   *b = dfo_run_weights(run, state(bij)->shift);
    size_t plane = dfoi_plane(bij);
    for (size_t c = 0; c < bij->shape.c; c++) {
        dfo_real factor = (dfo_real)exp(-(double)s[c]);
        for (size_t i = 0; i < z.n; i++) {
            for (size_t p = 0; p < plane; p++)
                channel(bij, z, i, c)[p] = (channel(bij, z, i, c)[p] - b[c]) * factor;
            if (logdet)
                logdet[i] -= (double)plane * (double)s[c];
        }
    }
}

static dfo_status forward(const dfo_bijector *bij, dfo_run *run, dfo_batch x, const dfo_cond *cond,
                          double *logdet)
{
    if (state(bij)->net)
        return dfo_bijector_forward(state(bij)->net, run, x, cond, logdet);
    scale_and_shift(bij, run, x, logdet);
    return DFO_OK;
}

static dfo_status inverse(const dfo_bijector *bij, dfo_run *run, dfo_batch z, const dfo_cond *cond,
                          double *logdet)
{
    if (state(bij)->net)
        return dfo_bijector_inverse(state(bij)->net, run, z, cond, logdet);
    unshift_and_unscale(bij, run, z, logdet);
    return DFO_OK;
}

/* x is the data, g the gradient with respect to latents: gs = sum e^s g x + h w sum glogdet, gb =
 * sum g, both times `sign`; then g becomes factor g.  */
static void weight_grads(const dfo_bijector *bij, dfo_run *run, dfo_batch x, dfo_batch g,
                         const double *glogdet, double sign)
{
    const dfo_real *s = dfo_run_weights(run, state(bij)->log_scale);
    dfo_real *gs = dfo_run_grads(run, state(bij)->log_scale),
             *gb = dfo_run_grads(run, state(bij)->shift);
    size_t plane = dfoi_plane(bij);
    for (size_t c = 0; gs && c < bij->shape.c; c++) {
        double scale = 0, shift = 0, logdet = 0;
        for (size_t i = 0; i < x.n; i++) {
            const dfo_real *gc = channel(bij, g, i, c), *xc = channel(bij, x, i, c);
            for (size_t p = 0; p < plane; p++) {
                scale += (double)gc[p] * (double)xc[p];
                shift += (double)gc[p];
            }
            logdet += glogdet[i];
        }
        gs[c] += (dfo_real)(sign * (scale * exp((double)s[c]) + (double)plane * logdet));
        gb[c] += (dfo_real)(sign * shift);
    }
}

static void scale_gradient(const dfo_bijector *bij, dfo_run *run, dfo_batch g, double sign)
{
    const dfo_real *s = dfo_run_weights(run, state(bij)->log_scale);
    size_t plane = dfoi_plane(bij);
    for (size_t c = 0; c < bij->shape.c; c++) {
        dfo_real factor = (dfo_real)exp(sign * (double)s[c]);
        for (size_t i = 0; i < g.n; i++)
            for (size_t p = 0; p < plane; p++)
                channel(bij, g, i, c)[p] *= factor;
    }
}

static dfo_status backward(const dfo_bijector *bij, dfo_run *run, dfo_batch z, dfo_batch gz,
                           const dfo_cond *cond, dfo_cond *gcond, const double *glogdet)
{
    if (state(bij)->net)
        return dfo_bijector_backward(state(bij)->net, run, z, gz, cond, gcond, glogdet);
    unshift_and_unscale(bij, run, z, NULL);
    weight_grads(bij, run, z, gz, glogdet, 1);
    scale_gradient(bij, run, gz, 1);
    return DFO_OK;
}

/* x = (z - b) e^-s: gz = e^-s gx, gs = -sum gx x - h w glogdet, gb = -sum gz.  */
static dfo_status inverse_backward(const dfo_bijector *bij, dfo_run *run, dfo_batch x, dfo_batch gx,
                                   const dfo_cond *cond, dfo_cond *gcond, const double *glogdet)
{
    if (state(bij)->net)
        return dfo_bijector_inverse_backward(state(bij)->net, run, x, gx, cond, gcond, glogdet);
    scale_gradient(bij, run, gx, -1);
    weight_grads(bij, run, x, gx, glogdet, -1);
    scale_and_shift(bij, run, x, NULL);
    return DFO_OK;
}

static dfo_status init(dfo_bijector *bij, dfo_run *run, dfo_batch x, const dfo_cond *cond)
{
    return state(bij)->net ? dfo_bijector_init(state(bij)->net, run, x, cond) : DFO_OK;
}

static dfo_status describe(const dfo_bijector *bij, json_t *to)
{
    if (!state(bij)->net)
        return DFO_OK;
    DFO_TRY(dfo_bijector_describe(state(bij)->net, to));
    json_object_del(to, "mask");
    return DFO_OK;
}

static void affine_free(dfo_bijector *bij)
{
    if (!state(bij))
        return;
    dfo_bijector_free(state(bij)->net);
    dfoi_free(bij->ctx, bij->state);
}

/* The same configuration as an affine coupling whose mask lets nothing pass.  */
static dfo_status create_net(dfo_build *build, json_t *config, struct affine *a)
{
    static const char *const keys[] = {"type", "net", "zero_init", "scale", "scale_max", NULL};
    DFO_TRY(dfoi_json_keys(build->ctx, config, keys));
    json_t *coupling = json_copy(config);          /* which drops members without a word */
    int whole = json_object_size(coupling) == json_object_size(config);
    dfo_status status = whole ? DFO_OK : dfoi_fail(build->ctx, DFO_EMEM, "out of memory: net");
    if (status == DFO_OK)
        status = dfoi_json_set(build->ctx, coupling, "type", json_string("affine-coupling"));
    if (status == DFO_OK)
        status = dfoi_json_set(build->ctx, coupling, "mask", json_string("none"));
    if (status == DFO_OK)
        status = dfo_bijector_new(build, coupling, &a->net);
    json_decref(coupling);
    return status;
}

dfo_status dfoi_affine_create(dfo_build *build, json_t *config, dfo_bijector *bij)
{
    static const char *const keys[] = {"type", NULL};
    struct affine *a;
    DFO_TRY(dfoi_alloc(build->ctx, 1, sizeof *a, &a));
    bij->state = a;
    if (json_object_get(config, "net")) {
        DFO_TRY(create_net(build, config, a));
        bij->caps |= a->net->caps & DFO_DATA_INIT;
        return DFO_OK;
    }
    DFO_TRY(dfoi_json_keys(build->ctx, config, keys));
    DFO_TRY(dfo_build_weights(build, "log_scale", 1, &build->shape.c, &a->log_scale));
    return dfo_build_weights(build, "shift", 1, &build->shape.c, &a->shift);
}

const struct dfo_bijector_ops dfoi_affine_ops = {
    .type = "affine",
    .caps = DFO_CLOSED_INVERSE,
    .scratch = scratch,
    .saved = saved,
    .derived = derived,
    .gderived = gderived,
    .prepare = prepare,
    .forward = forward,
    .inverse = inverse,
    .backward = backward,
    .inverse_backward = inverse_backward,
    .init = init,
    .update = update,
    .describe = describe,
    .free = affine_free,
};
