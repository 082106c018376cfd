/* A permutation of the features (channels, for images): z_j = x_{order[j]}; log-det 0.  "random" (a
 * function of seed and place in the model), "reverse", or a list.  The list is what is stored.  */
#include <string.h>

#include "channels_impl.h"
#include "layers.h"

struct permute {
    size_t *order, *back;              /* (c): back[order[j]] = j */
};

static size_t scratch(const dfo_bijector *bij, size_t rows)
{
    (void)rows;
    return dfo_arena_size(bij->d);
}

static void apply(const dfo_bijector *bij, dfo_run *run, dfo_batch x, const size_t *order)
{
    size_t c = bij->shape.c, plane = dfoi_plane(bij);
    dfo_real *copy = dfo_arena_take(run, bij->d);
    for (size_t i = 0; i < x.n; i++) {
        dfo_real *row = dfo_row(x, i);
        memcpy(copy, row, bij->d * sizeof *copy);
        if (plane == 1)
            for (size_t j = 0; j < c; j++)
                row[j] = copy[order[j]];
        else
            for (size_t j = 0; j < c; j++)
                memcpy(row + j * plane, copy + order[j] * plane, plane * sizeof *row);
    }
}

static dfo_status forward(const dfo_bijector *bij, dfo_run *run, dfo_batch x, const dfo_cond *cond,
                          double *logdet)
{
    const struct permute *p = bij->state;
    (void)cond;
    (void)logdet;
    apply(bij, run, x, p->order);
    return DFO_OK;
}

static dfo_status inverse(const dfo_bijector *bij, dfo_run *run, dfo_batch z, const dfo_cond *cond,
                          double *logdet)
{
    const struct permute *p = bij->state;
    (void)cond;
    (void)logdet;
    apply(bij, run, z, p->back);
    return DFO_OK;
}

static dfo_status backward(const dfo_bijector *bij, dfo_run *run, dfo_batch z, dfo_batch gz,
                           const dfo_cond *cond, dfo_cond *gcond, const double *glogdet)
{
    const struct permute *p = bij->state;
    size_t mark = run->arena_used;
    (void)cond;
    (void)gcond;
    (void)glogdet;
    apply(bij, run, z, p->back);
    run->arena_used = mark;
    apply(bij, run, gz, p->back);
    return DFO_OK;
}

static dfo_status inverse_backward(const dfo_bijector *bij, dfo_run *run, dfo_batch x, dfo_batch gx,
                                   const dfo_cond *cond, dfo_cond *gcond, const double *glogdet)
{
    const struct permute *p = bij->state;
    size_t mark = run->arena_used;
    (void)cond;
    (void)gcond;
    (void)glogdet;
    apply(bij, run, x, p->order);
    run->arena_used = mark;
    apply(bij, run, gx, p->order);
    return DFO_OK;
}

static dfo_status describe(const dfo_bijector *bij, json_t *to)
{
    const struct permute *p = bij->state;
    json_t *list = json_array();
    DFO_TRY(dfoi_json_set(bij->ctx, to, "order", list));
    for (size_t j = 0; j < bij->shape.c; j++)
        if (json_array_append_new(list, json_integer((json_int_t)p->order[j])))
            return dfoi_fail(bij->ctx, DFO_EMEM, "out of memory: order");
    return DFO_OK;
}

static void permute_free(dfo_bijector *bij)
{
    struct permute *p = bij->state;
    if (!p)
        return;
    dfoi_free(bij->ctx, p->order);
    dfoi_free(bij->ctx, p->back);
    dfoi_free(bij->ctx, p);
}

static dfo_status read_order(dfo_build *build, json_t *config, struct permute *p)
{
    size_t c = build->shape.c, n;
    dfo_key key = dfoi_layer_key(build);
    const char *name;
    if (json_is_array(json_object_get(config, "order"))) {
        DFO_TRY(dfoi_json_sizes(build->ctx, config, "order", 0, c - 1, c, p->order, &n));
        return dfoi_check_permutation(build->ctx, "order", c, n, p->order);
    }
    DFO_TRY(dfoi_json_string(build->ctx, config, "order", "random", &name));
    if (strcmp(name, "random") && strcmp(name, "reverse"))
        return dfoi_fail(build->ctx, DFO_EARG, "order: expected random, reverse or a list, got %s",
                         name);
    for (size_t j = 0; j < c; j++)
        p->order[j] = !strcmp(name, "reverse") ? c - 1 - j : (size_t)dfo_permute_index(key, c, j);
    return DFO_OK;
}

dfo_status dfoi_permute_create(dfo_build *build, json_t *config, dfo_bijector *bij)
{
    static const char *const keys[] = {"type", "order", NULL};
    size_t c = build->shape.c;
    struct permute *p;
    DFO_TRY(dfoi_json_keys(build->ctx, config, keys));
    DFO_TRY(dfoi_alloc(build->ctx, 1, sizeof *p, &p));
    bij->state = p;
    DFO_TRY(dfoi_alloc(build->ctx, c, sizeof *p->order, &p->order));
    DFO_TRY(dfoi_alloc(build->ctx, c, sizeof *p->back, &p->back));
    DFO_TRY(read_order(build, config, p));
    for (size_t j = 0; j < c; j++)
        p->back[p->order[j]] = j;
    return DFO_OK;
}

const struct dfo_bijector_ops dfoi_permute_ops = {
    .type = "permute",
    .caps = DFO_CLOSED_INVERSE | DFO_VOLUME_PRESERVING,
    .scratch = scratch,
    .forward = forward,
    .inverse = inverse,
    .backward = backward,
    .inverse_backward = inverse_backward,
    .describe = describe,
    .free = permute_free,
};
