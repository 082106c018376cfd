/* What layers share when they are built and described.  */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/file_impl.h"
#include "layer_impl.h"

dfo_status dfoi_layer_child(const dfo_build *parent, json_t *config, const char *name, dfo_bijector **out)
{
    char path[256];
    dfo_build child;
    *out = NULL;
    DFO_TRY(dfo_build_child(parent, name, path, sizeof path, &child));
    return dfo_bijector_new(&child, config, out);
}

dfo_status dfoi_layer_json(const dfo_bijector *bij, json_t **out)
{
    dfo_status status;
    *out = json_object();
    DFO_GO(dfoi_json_set(bij->ctx, *out, "type", json_string(bij->ops->type)));
    DFO_GO(dfo_bijector_describe(bij, *out));
    return DFO_OK;
fail:
    json_decref(*out);
    *out = NULL;
    return status;
}

/* A layer that needs its input has no inverse_backward that a composite could pass on.  */
void dfoi_layer_join(dfo_bijector *composite, const dfo_bijector *child)
{
    unsigned needed = DFO_CLOSED_INVERSE | DFO_VOLUME_PRESERVING, brought = ~(needed | DFO_NEEDS_INPUT | DFO_KEEPS_INPUT);
    if (!(child->caps & DFO_CLOSED_INVERSE) || child->caps & DFO_NEEDS_INPUT)
        composite->caps &= ~(unsigned)DFO_CLOSED_INVERSE;
    if (!(child->caps & DFO_VOLUME_PRESERVING))
        composite->caps &= ~(unsigned)DFO_VOLUME_PRESERVING;
    composite->caps |= child->caps & brought;
}

dfo_status dfoi_layer_behind(dfo_ctx *ctx, const dfo_bijector *layer)
{
    if (!(layer->caps & DFO_OWN_MEASURE))
        return DFO_OK;
    return dfoi_fail(ctx, DFO_EARG, "%s: goes first and forwards: it takes data by a measure of its own, which other layers do not know",
                     layer->ops->type);
}

size_t dfoi_doubles_size(size_t n)
{
    return dfo_arena_size(n * (sizeof(double) / sizeof(dfo_real)));
}

void dfoi_column_moments(dfo_batch x, size_t first, size_t count, double *mean, double *std)
{
    double n = (double)x.n * (double)count, sum = 0, squares = 0;
    for (size_t i = 0; i < x.n; i++)
        for (size_t j = first; j < first + count; j++)
            sum += (double)dfo_row(x, i)[j];
    *mean = sum / n;
    for (size_t i = 0; i < x.n; i++)
        for (size_t j = first; j < first + count; j++) {
            double e = (double)dfo_row(x, i)[j] - *mean;
            squares += e * e;
        }
    *std = sqrt(squares / n);
}

dfo_status dfoi_check_permutation(dfo_ctx *ctx, const char *what, size_t c, size_t n, const size_t *list)
{
    unsigned char *seen;
    dfo_status status = DFO_OK;
    if (n != c)
        return dfoi_fail(ctx, DFO_EARG, "%s: expected %zu entries, got %zu", what, c, n);
    DFO_TRY(dfoi_alloc(ctx, c, 1, &seen));
    for (size_t i = 0; i < c && status == DFO_OK; i++)
        if (list[i] >= c || seen[list[i]]++)
            status = dfoi_fail(ctx, DFO_EARG, "%s: %zu is there twice or too large", what, list[i]);
    dfoi_free(ctx, seen);
    return status;
}

dfo_key dfoi_layer_key(const dfo_build *build)
{
    uint64_t row = dfoi_hash(DFOI_HASH_START, build->path, strlen(build->path)) & 0xffffffffffff;
    return (dfo_key){.seed = build->seed, .purpose = DFO_FOR_WEIGHTS, .step = 1, .row = row};
}
