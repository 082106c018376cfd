/* A layer applied to a slice of the row: features (channels, for images) first .. first+count-1.  With
 * "rest": true the layer is given the rest of the row as its first condition: a conditional prior on
 * split-off latents is a conditional affine layer on that slice.  Rows keep all their d features, and their
 * shape: a slice that the layer gives another one (by squeeze) lies in its place feature by feature, and parts
 * further on say which with "shape": [c, h, w], the slice then being that many features from feature `first`
 * on, and its rest vectors.  So a chain is flat however many levels a flow has.  */
#include <string.h>

#include "layers.h"

struct part {
    dfo_bijector *layer;
    size_t        channel, channels;       /* the slice */
    size_t        first, d;                /* the same in features */
    dfo_shape     seen;                    /* what the layer takes it for */
    int           shaped;                  /* that is given; channel counts features */
    int           rest;
};

static size_t scratch(const dfo_bijector *bij, size_t rows)
{
    const struct part *p = bij->state;
    return dfo_bijector_scratch(p->layer, rows);
}

static size_t saved(const dfo_bijector *bij, size_t rows, const dfo_run *how)
{
    const struct part *p = bij->state;
    return dfo_bijector_saved(p->layer, rows, how);
}

static size_t derived(const dfo_bijector *bij)
{
    const struct part *p = bij->state;
    return dfo_bijector_derived(p->layer);
}

static size_t gderived(const dfo_bijector *bij)
{
    const struct part *p = bij->state;
    return dfo_bijector_gderived(p->layer);
}

static size_t aux(const dfo_bijector *bij)
{
    const struct part *p = bij->state;
    return dfo_bijector_aux(p->layer);
}

static dfo_status prepare(const dfo_bijector *bij, dfo_run *run, dfo_real *to)
{
    const struct part *p = bij->state;
    return dfo_bijector_prepare(p->layer, run, to);
}

/* The condition of the layer: the rest of the row (before, after), then the caller's.  With from.x =
 * NULL (gradients not wanted for the row's rest) parts stay empty.  */
static dfo_cond condition(const dfo_bijector *bij, dfo_batch row, const dfo_cond *cond)
{
    const struct part *p = bij->state;
    dfo_cond all = {0};
    if (p->rest) {
        size_t h = p->shaped ? 1 : bij->shape.h, w = p->shaped ? 1 : bij->shape.w, end = p->first + p->d;
        if (p->first) {
            all.part[all.n].rows = dfo_batch_columns(row, 0, p->first);
            all.part[all.n++].shape = (dfo_shape){p->first / (h * w), h, w};
        }
        if (end < bij->d) {
            all.part[all.n].rows = dfo_batch_columns(row, end, bij->d - end);
            all.part[all.n++].shape = (dfo_shape){(bij->d - end) / (h * w), h, w};
        }
    }
    for (size_t i = 0; i < bij->conds; i++) {
        if (cond)
            all.part[all.n] = cond->part[i];
        all.n++;
    }
    return all;
}

static dfo_batch slice(const struct part *p, dfo_batch x)
{
    return dfo_batch_columns(x, p->first, p->d);
}

static dfo_status forward(const dfo_bijector *bij, dfo_run *run, dfo_batch x, const dfo_cond *cond,
                          double *logdet)
{
    const struct part *p = bij->state;
    dfo_cond all = condition(bij, x, cond);
    return dfo_bijector_forward(p->layer, run, slice(p, x), &all, logdet);
}

static dfo_status inverse(const dfo_bijector *bij, dfo_run *run, dfo_batch z, const dfo_cond *cond,
                          double *logdet)
{
    const struct part *p = bij->state;
    dfo_cond all = condition(bij, z, cond);
    return dfo_bijector_inverse(p->layer, run, slice(p, z), &all, logdet);
}

/* The gradient with respect to the rest is added where the rest's gradient already stands.  */
static dfo_status backward(const dfo_bijector *bij, dfo_run *run, dfo_batch z, dfo_batch gz,
                           const dfo_cond *cond, dfo_cond *gcond, const double *glogdet)
{
    const struct part *p = bij->state;
    dfo_cond all = condition(bij, z, cond), gall = condition(bij, gz, gcond);
    return dfo_bijector_backward(p->layer, run, slice(p, z), slice(p, gz), &all, &gall, glogdet);
}

static dfo_status inverse_backward(const dfo_bijector *bij, dfo_run *run, dfo_batch x, dfo_batch gx,
                                   const dfo_cond *cond, dfo_cond *gcond, const double *glogdet)
{
    const struct part *p = bij->state;
    dfo_cond all = condition(bij, x, cond), gall = condition(bij, gx, gcond);
    return dfo_bijector_inverse_backward(p->layer, run, slice(p, x), slice(p, gx), &all, &gall, glogdet);
}

static dfo_status pullback(const dfo_bijector *bij, dfo_run *run, const dfo_real *from, const dfo_real *gfrom)
{
    const struct part *p = bij->state;
    return dfo_bijector_pullback(p->layer, run, from, gfrom);
}

static dfo_status init(dfo_bijector *bij, dfo_run *run, dfo_batch x, const dfo_cond *cond)
{
    struct part *p = bij->state;
    dfo_cond all = condition(bij, x, cond);
    return dfo_bijector_init(p->layer, run, slice(p, x), &all);
}

static dfo_status update(const dfo_bijector *bij, dfo_run *run)
{
    const struct part *p = bij->state;
    return dfo_bijector_update(p->layer, run);
}

static dfo_status conditioning(const dfo_bijector *bij, dfo_run *run, dfo_conditioning *out)
{
    const struct part *p = bij->state;
    return dfo_bijector_conditioning(p->layer, run, out);
}

static dfo_status describe(const dfo_bijector *bij, json_t *to)
{
    const struct part *p = bij->state;
    json_t *layer;
    DFO_TRY(dfoi_json_set(bij->ctx, to, "first", json_integer((json_int_t)p->channel)));
    if (p->shaped)
        DFO_TRY(dfoi_json_set(bij->ctx, to, "shape", json_pack("[I, I, I]", (json_int_t)p->seen.c,
                                                               (json_int_t)p->seen.h, (json_int_t)p->seen.w)));
    else
        DFO_TRY(dfoi_json_set(bij->ctx, to, "count", json_integer((json_int_t)p->channels)));
    DFO_TRY(dfoi_json_set(bij->ctx, to, "rest", json_boolean(p->rest)));
    DFO_TRY(dfoi_layer_json(p->layer, &layer));
    return dfoi_json_set(bij->ctx, to, "layer", layer);
}

static void part_free(dfo_bijector *bij)
{
    struct part *p = bij->state;
    if (!p)
        return;
    dfo_bijector_free(p->layer);
    dfoi_free(bij->ctx, p);
}

/* "first" and "count" of channels.  */
static dfo_status read_channels(dfo_ctx *ctx, const json_t *config, dfo_shape shape, struct part *p)
{
    size_t plane = shape.h * shape.w;
    DFO_TRY(dfoi_json_size(ctx, config, "first", 0, 0, shape.c - 1, &p->channel));
    DFO_TRY(dfoi_json_size(ctx, config, "count", shape.c - p->channel, 1, shape.c - p->channel, &p->channels));
    p->first = p->channel * plane;
    p->d = p->channels * plane;
    p->seen = (dfo_shape){p->channels, shape.h, shape.w};
    return DFO_OK;
}

/* "first" of features and "shape".  */
static dfo_status read_shape(dfo_ctx *ctx, const json_t *config, size_t d, struct part *p)
{
    size_t s[3], n;
    p->shaped = 1;
    DFO_TRY(dfoi_json_sizes(ctx, config, "shape", 1, d, 3, s, &n));
    DFO_TRY(dfoi_json_size(ctx, config, "first", 0, 0, d - 1, &p->first));
    if (n != 3 || s[1] > d / s[0] || s[2] > d / s[0] / s[1] || s[0] * s[1] * s[2] > d - p->first)
        return dfoi_fail(ctx, DFO_EARG, "shape: expected [channels, height, width] of at most %zu features",
                         d - p->first);
    p->channel = p->first;
    p->seen = (dfo_shape){s[0], s[1], s[2]};
    p->d = dfo_shape_size(p->seen);
    return DFO_OK;
}

dfo_status dfoi_part_create(dfo_build *build, json_t *config, dfo_bijector *bij)
{
    static const char *const keys[] = {"type", "first", "count", "rest", "layer", NULL},
                      *const shape_keys[] = {"type", "first", "shape", "rest", "layer", NULL};
    dfo_ctx *ctx = build->ctx;
    struct part *p;
    int shaped = json_object_get(config, "shape") != NULL;
    DFO_TRY(dfoi_json_keys(ctx, config, shaped ? shape_keys : keys));
    DFO_TRY(dfoi_alloc(ctx, 1, sizeof *p, &p));
    bij->state = p;
    DFO_TRY(dfoi_json_bool(ctx, config, "rest", 0, &p->rest));
    DFO_TRY(shaped ? read_shape(ctx, config, bij->d, p) : read_channels(ctx, config, build->shape, p));
    dfo_build inner = *build;
    inner.shape = p->seen;
    dfo_cond all = condition(bij, dfo_batch_of(NULL, 0, bij->d), NULL);
    if (all.n > DFO_COND_PARTS)
        return dfoi_fail(ctx, DFO_EARG, "more than %d conditions", DFO_COND_PARTS);
    for (size_t i = 0; i < all.n; i++) {
        size_t own = all.n - build->conds;
        inner.cond[i] = i < own ? all.part[i].shape : build->cond[i - own];
    }
    inner.conds = all.n;
    DFO_TRY(dfoi_layer_child(&inner, json_object_get(config, "layer"), "layer", &p->layer));
    dfoi_layer_join(bij, p->layer);
    return DFO_OK;
}

const dfo_bijector *dfoi_part_layer(const dfo_bijector *bij)
{
    const struct part *p = bij->ops == &dfoi_part_ops ? bij->state : NULL;
    return p ? p->layer : NULL;
}

const struct dfo_bijector_ops dfoi_part_ops = {
    .type = "part",
    .caps = DFO_CLOSED_INVERSE | DFO_VOLUME_PRESERVING,
    .scratch = scratch,
    .saved = saved,
    .derived = derived,
    .gderived = gderived,
    .aux = aux,
    .prepare = prepare,
    .forward = forward,
    .inverse = inverse,
    .backward = backward,
    .inverse_backward = inverse_backward,
    .pullback = pullback,
    .init = init,
    .update = update,
    .conditioning = conditioning,
    .describe = describe,
    .free = part_free,
};
