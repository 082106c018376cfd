/* Linear layer, or 1x1 convolution over channels, with a free matrix: z = W x + b, log-det h w
 * log|det W|, by LU with partial pivoting once per version of the weights.  d log|det W| / dW =
 * W^-T.  Training can make W singular, which is an error then; `linear` cannot.  */
#include <math.h>
#include <string.h>

#include "channels_impl.h"
#include "layers.h"
#include "mix_impl.h"

struct dense {
    struct dfoi_mix mix;
    size_t w;                          /* (c, c) */
};

static size_t derived(const dfo_bijector *bij)
{
    size_t c = bij->shape.c;
    return dfoi_mix_derived(bij) + dfoi_doubles_size(c * c) +
           dfo_arena_size(c * sizeof(size_t) / sizeof(dfo_real) + 1);
}

static dfo_status prepare(const dfo_bijector *bij, dfo_run *run, dfo_real *to)
{
    const struct dense *l = bij->state;
    const dfo_real *w = dfo_run_weights(run, l->w);
    size_t c = l->mix.c;
    double *matrix = dfoi_mix_matrix(bij, to), *inverse = dfoi_mix_inverse_matrix(bij, to),
           logdet = 0;
    double *lu = (double *)(void *)(to + dfoi_mix_derived(bij));
    size_t *perm = (size_t *)(void *)(lu + c * c);
    for (size_t i = 0; i < c * c; i++)
        lu[i] = (double)w[i];
    if (!dfoi_lu(c, lu, perm))
        return dfo_run_fail(run, DFO_ENUM, (size_t)-1, "linear-dense: the matrix is singular");
    dfoi_lu_inverse(c, lu, matrix);
    for (size_t i = 0; i < c; i++) { /* W^-1 = (L U)^-1 P: column i to column perm[i] */
        logdet += log(fabs(lu[i * c + i]));
        for (size_t r = 0; r < c; r++)
            inverse[r * c + perm[i]] = matrix[r * c + i];
    }
    for (size_t i = 0; i < c * c; i++)
        matrix[i] = (double)w[i];
    return dfoi_mix_finish(bij, run, to, logdet);
}

static dfo_status pullback(const dfo_bijector *bij, dfo_run *run, const dfo_real *from,
                           const dfo_real *gfrom)
{
    const struct dense *l = bij->state;
    size_t c = l->mix.c;
    const double *inverse = dfoi_mix_inverse_matrix(bij, (dfo_real *)from);
    dfo_real *g = dfo_run_grads(run, l->w);
    for (size_t i = 0; g && i < c; i++)
        for (size_t j = 0; j < c; j++)
            g[i * c + j] +=
                (dfo_real)((double)gfrom[i * c + j] + (double)gfrom[c * c] * inverse[j * c + i]);
    return DFO_OK;
}

static dfo_status describe(const dfo_bijector *bij, json_t *to)
{
    const struct dense *l = bij->state;
    return dfoi_json_set(bij->ctx, to, "bias", json_boolean(l->mix.bias));
}

static dfo_status start(dfo_build *build, const struct dense *l, int orthogonal)
{
    size_t c = l->mix.c;
    double *q;
    DFO_TRY(dfoi_alloc(build->ctx, c * c, sizeof *q, &q));
    if (orthogonal)
        dfoi_random_orthogonal(build, c, q);
    for (size_t i = 0; !orthogonal && i < c; i++)
        q[i * c + i] = 1;
    dfo_real *w = dfo_store_weights(build->store) + l->w;
    for (size_t i = 0; i < c * c; i++)
        w[i] = (dfo_real)q[i];
    dfoi_free(build->ctx, q);
    return DFO_OK;
}

dfo_status dfoi_linear_dense_create(dfo_build *build, json_t *config, dfo_bijector *bij)
{
    static const char *const keys[] = {"type", "init", "bias", NULL};
    dfo_ctx *ctx = build->ctx;
    size_t c = build->shape.c, shape[2] = {c, c};
    struct dense *l;
    int orthogonal;
    DFO_TRY(dfoi_json_keys(ctx, config, keys));
    DFO_TRY(dfoi_alloc(ctx, 1, sizeof *l, &l));
    bij->state = l;
    l->mix.c = c;
    DFO_TRY(dfoi_json_bool(ctx, config, "bias", 0, &l->mix.bias));
    DFO_TRY(dfoi_json_either(ctx, config, "init", "identity", "orthogonal", &orthogonal));
    DFO_TRY(dfo_build_weights(build, "w", 2, shape, &l->w));
    if (l->mix.bias)
        DFO_TRY(dfo_build_weights(build, "bias", 1, shape, &l->mix.bias_at));
    return start(build, l, orthogonal);
}

const struct dfo_bijector_ops dfoi_linear_dense_ops = {
    .type = "linear-dense",
    .caps = DFO_CLOSED_INVERSE,
    .scratch = dfoi_mix_scratch,
    .derived = derived,
    .gderived = dfoi_mix_gderived,
    .prepare = prepare,
    .forward = dfoi_mix_forward,
    .inverse = dfoi_mix_inverse,
    .backward = dfoi_mix_backward,
    .inverse_backward = dfoi_mix_inverse_backward,
    .pullback = pullback,
    .describe = describe,
};
