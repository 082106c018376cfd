/* The other way round: data to latent by the layer's inverse.  Gradients by the layer's
 * inverse_backward, so the layer's inverse must be exact.  The layer is built for these rows: one that changes
 * their shape cannot be turned round, since it would have to be built for the shape that it ends with.  */
#include <string.h>

#include "layers.h"

static dfo_bijector *inner(const dfo_bijector *bij)
{
    return bij->state;
}

static size_t scratch(const dfo_bijector *bij, size_t rows)
{
    return dfo_bijector_scratch(inner(bij), rows);
}

static size_t derived(const dfo_bijector *bij)
{
    return dfo_bijector_derived(inner(bij));
}

static size_t gderived(const dfo_bijector *bij)
{
    return dfo_bijector_gderived(inner(bij));
}

static dfo_status prepare(const dfo_bijector *bij, dfo_run *run, dfo_real *to)
{
    return dfo_bijector_prepare(inner(bij), run, to);
}

/* The inner layer keeps nothing: its inverse_backward rebuilds.  */
static dfo_status forward(const dfo_bijector *bij, dfo_run *run, dfo_batch x, const dfo_cond *cond,
                          double *logdet)
{
    return dfo_bijector_inverse(inner(bij), run, x, cond, logdet);
}

static dfo_status inverse(const dfo_bijector *bij, dfo_run *run, dfo_batch z, const dfo_cond *cond,
                          double *logdet)
{
    dfo_real *saved = run->saved;
    run->saved = NULL;
    dfo_status status = dfo_bijector_forward(inner(bij), run, z, cond, logdet);
    run->saved = saved;
    return status;
}

static dfo_status backward(const dfo_bijector *bij, dfo_run *run, dfo_batch z, dfo_batch gz,
                           const dfo_cond *cond, dfo_cond *gcond, const double *glogdet)
{
    return dfo_bijector_inverse_backward(inner(bij), run, z, gz, cond, gcond, glogdet);
}

static dfo_status inverse_backward(const dfo_bijector *bij, dfo_run *run, dfo_batch x, dfo_batch gx,
                                   const dfo_cond *cond, dfo_cond *gcond, const double *glogdet)
{
    dfo_real *saved = run->saved;
    run->saved = NULL;
    dfo_status status = dfo_bijector_backward(inner(bij), run, x, gx, cond, gcond, glogdet);
    run->saved = saved;
    return status;
}

static dfo_status pullback(const dfo_bijector *bij, dfo_run *run, const dfo_real *from, const dfo_real *gfrom)
{
    return dfo_bijector_pullback(inner(bij), run, from, gfrom);
}

static dfo_status update(const dfo_bijector *bij, dfo_run *run)
{
    return dfo_bijector_update(inner(bij), run);
}

static dfo_status conditioning(const dfo_bijector *bij, dfo_run *run, dfo_conditioning *out)
{
    DFO_TRY(dfo_bijector_conditioning(inner(bij), run, out));
    *out = (dfo_conditioning){1 / out->largest, 1 / out->smallest};
    return DFO_OK;
}

static dfo_status describe(const dfo_bijector *bij, json_t *to)
{
    json_t *layer;
    DFO_TRY(dfoi_layer_json(inner(bij), &layer));
    return dfoi_json_set(bij->ctx, to, "layer", layer);
}

static void invert_free(dfo_bijector *bij)
{
    dfo_bijector_free(inner(bij));
}

dfo_status dfoi_invert_create(dfo_build *build, json_t *config, dfo_bijector *bij)
{
    static const char *const keys[] = {"type", "layer", NULL};
    dfo_bijector *layer = NULL;
    DFO_TRY(dfoi_json_keys(build->ctx, config, keys));
    DFO_TRY(dfoi_layer_child(build, json_object_get(config, "layer"), "layer", &layer));
    bij->state = layer;
    dfoi_layer_join(bij, layer);
    bij->caps &= ~(unsigned)DFO_DATA_INIT;         /* the rows that come out of it cannot be fitted */
    DFO_TRY(dfoi_layer_behind(build->ctx, layer));
    if (!(bij->caps & DFO_CLOSED_INVERSE) || dfo_bijector_aux(layer))
        return dfoi_fail(build->ctx, DFO_EUNSUP, "%s has no exact inverse to train through", layer->ops->type);
    if (memcmp(&layer->out, &layer->shape, sizeof layer->out))
        return dfoi_fail(build->ctx, DFO_EUNSUP, "%s makes rows of %zux%zux%zu into %zux%zux%zu", layer->ops->type,
                         layer->shape.c, layer->shape.h, layer->shape.w, layer->out.c, layer->out.h, layer->out.w);
    return DFO_OK;
}

const struct dfo_bijector_ops dfoi_invert_ops = {
    .type = "invert",
    .caps = DFO_CLOSED_INVERSE | DFO_VOLUME_PRESERVING,
    .scratch = scratch,
    .derived = derived,
    .gderived = gderived,
    .prepare = prepare,
    .forward = forward,
    .inverse = inverse,
    .backward = backward,
    .inverse_backward = inverse_backward,
    .pullback = pullback,
    .update = update,
    .conditioning = conditioning,
    .describe = describe,
    .free = invert_free,
};
