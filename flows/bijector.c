/* The dispatchers: every call of a layer goes through here.  They check shapes, put the arena mark
 * back, and say which layer lacks what.  */
#include <math.h>
#include <string.h>

#include <diffeo/bijector.h>
#include "layer_impl.h"
#include "math/kern_impl.h"

size_t dfo_bijector_scratch(const dfo_bijector *bij, size_t rows)
{
    return bij->ops->scratch ? bij->ops->scratch(bij, rows) : 0;
}

size_t dfoi_input_size(const dfo_bijector *bij, size_t rows)
{
    return bij->caps & (DFO_NEEDS_INPUT | DFO_KEEPS_INPUT) ? dfo_arena_size(rows * bij->d) : 0;
}

dfo_status dfoi_take_input(const dfo_bijector *bij, dfo_run *run, dfo_batch z, const dfo_cond *cond)
{
    if (!run->saved)
        return dfo_bijector_inverse(bij, run, z, cond, NULL);
    for (size_t i = 0; i < z.n; i++)
        memcpy(dfo_row(z, i), run->saved + i * z.d, z.d * sizeof(dfo_real));
    return DFO_OK;
}

size_t dfo_bijector_saved(const dfo_bijector *bij, size_t rows, const dfo_run *how)
{
    return dfoi_input_size(bij, rows) + (bij->ops->saved ? bij->ops->saved(bij, rows, how) : 0);
}

size_t dfo_bijector_derived(const dfo_bijector *bij)
{
    return bij->ops->derived ? bij->ops->derived(bij) : 0;
}

size_t dfo_bijector_gderived(const dfo_bijector *bij)
{
    return bij->ops->gderived ? bij->ops->gderived(bij) : 0;
}

size_t dfo_bijector_aux(const dfo_bijector *bij)
{
    return bij->ops->aux ? bij->ops->aux(bij) : 0;
}

void dfo_bijector_free(dfo_bijector *bij)
{
    if (!bij)
        return;
    if (bij->ops->free)
        bij->ops->free(bij);
    else
        dfoi_free(bij->ctx, bij->state);
    dfoi_free(bij->ctx, bij);
}

static dfo_status absent(const dfo_bijector *bij, dfo_run *run, const char *what)
{
    return dfo_run_fail(run, DFO_EUNSUP, (size_t)-1, "%s has no %s", bij->ops->type, what);
}

static dfo_status shapes(const dfo_bijector *bij, dfo_run *run, dfo_batch x, const dfo_cond *cond)
{
    size_t parts = cond ? cond->n : 0;
    if (x.d != bij->d || x.ld < x.d)
        return dfo_run_fail(run, DFO_ESHAPE, (size_t)-1, "%s: expected %zu features, got %zu", bij->ops->type,
                            bij->d, x.d);
    if (parts != bij->conds)
        return dfo_run_fail(run, DFO_ESHAPE, (size_t)-1, "%s: expected a context of %zu parts, got %zu",
                            bij->ops->type, bij->conds, parts);
    for (size_t p = 0; p < parts; p++) {
        dfo_batch rows = cond->part[p].rows;
        size_t d = dfo_shape_size(bij->cond[p]);
        if (rows.d != d || rows.ld < d)
            return dfo_run_fail(run, DFO_ESHAPE, (size_t)-1, "%s: expected %zu context features, got %zu",
                                bij->ops->type, d, rows.d);
        if (rows.n != x.n)
            return dfo_run_fail(run, DFO_ESHAPE, (size_t)-1, "%s: %zu rows but %zu rows of context",
                                bij->ops->type, x.n, rows.n);
    }
    return DFO_OK;
}

dfo_status dfo_bijector_prepare(const dfo_bijector *bij, dfo_run *run, dfo_real *derived)
{
    if (!bij->ops->prepare)
        return DFO_OK;
    size_t mark = run->arena_used;
    dfo_status status = bij->ops->prepare(bij, run, derived);
    run->arena_used = mark;
    return status;
}

dfo_status dfo_bijector_conditioning(const dfo_bijector *bij, dfo_run *run, dfo_conditioning *out)
{
    size_t mark = run->arena_used;
    *out = (dfo_conditioning){NAN, NAN};
    dfo_status status = bij->ops->conditioning ? bij->ops->conditioning(bij, run, out) : DFO_OK;
    run->arena_used = mark;
    return status;
}

dfo_status dfo_bijector_forward(const dfo_bijector *bij, dfo_run *run, dfo_batch x, const dfo_cond *cond,
                                double *logdet)
{
    if (!bij->ops->forward)
        return absent(bij, run, "forward map");
    DFO_TRY(shapes(bij, run, x, cond));
    if (x.n == 0)
        return DFO_OK;
    if (run->saved && dfoi_input_size(bij, x.n))
        for (size_t i = 0; i < x.n; i++)
            memcpy(run->saved + i * x.d, dfo_row(x, i), x.d * sizeof(dfo_real));
    size_t mark = run->arena_used;
    dfo_status status = bij->ops->forward(bij, run, x, cond, logdet);
    run->arena_used = mark;
    return status;
}

dfo_status dfo_bijector_inverse(const dfo_bijector *bij, dfo_run *run, dfo_batch z, const dfo_cond *cond,
                                double *logdet)
{
    if (!bij->ops->inverse)
        return absent(bij, run, "inverse");
    DFO_TRY(shapes(bij, run, z, cond));
    if (z.n == 0)
        return DFO_OK;
    size_t mark = run->arena_used;
    dfo_status status = bij->ops->inverse(bij, run, z, cond, logdet);
    run->arena_used = mark;
    return status;
}

dfo_status dfo_bijector_backward(const dfo_bijector *bij, dfo_run *run, dfo_batch z, dfo_batch gz,
                                 const dfo_cond *cond, dfo_cond *gcond, const double *glogdet)
{
    if (!bij->ops->backward)
        return absent(bij, run, "gradient");
    DFO_TRY(shapes(bij, run, z, cond));
    if (z.n == 0)
        return DFO_OK;
    size_t mark = run->arena_used;
    dfo_status status = bij->ops->backward(bij, run, z, gz, cond, gcond, glogdet);
    run->arena_used = mark;
    return status;
}

dfo_status dfo_bijector_inverse_backward(const dfo_bijector *bij, dfo_run *run, dfo_batch x, dfo_batch gx,
                                         const dfo_cond *cond, dfo_cond *gcond, const double *glogdet)
{
    if (!bij->ops->inverse_backward)
        return absent(bij, run, "gradient of its inverse");
    DFO_TRY(shapes(bij, run, x, cond));
    if (x.n == 0)
        return DFO_OK;
    size_t mark = run->arena_used;
    dfo_status status = bij->ops->inverse_backward(bij, run, x, gx, cond, gcond, glogdet);
    run->arena_used = mark;
    return status;
}

dfo_status dfo_bijector_pullback(const dfo_bijector *bij, dfo_run *run, const dfo_real *derived,
                                 const dfo_real *gderived)
{
    if (!bij->ops->pullback)
        return DFO_OK;
    size_t mark = run->arena_used;
    dfo_status status = bij->ops->pullback(bij, run, derived, gderived);
    run->arena_used = mark;
    return status;
}

dfo_status dfo_bijector_init(dfo_bijector *bij, dfo_run *run, dfo_batch x, const dfo_cond *cond)
{
    if (!bij->ops->init)
        return DFO_OK;
    DFO_TRY(shapes(bij, run, x, cond));
    if (x.n == 0)
        return dfo_run_fail(run, DFO_ESHAPE, (size_t)-1, "%s: no rows to initialise from", bij->ops->type);
    for (size_t i = 0; i < x.n && !(bij->caps & DFO_TAKES_MISSING); i++)       /* else the weights would not be numbers either */
        if (!dfoi_all_finite(x.d, dfo_row(x, i)))
            return dfo_run_fail(run, DFO_ENUM, i, "%s: row %llu: not finite", bij->ops->type,
                                (unsigned long long)(run->key.row + i));
    size_t mark = run->arena_used;
    dfo_status status = bij->ops->init(bij, run, x, cond);
    run->arena_used = mark;
    return status;
}

dfo_status dfo_bijector_update(const dfo_bijector *bij, dfo_run *run)
{
    return bij->ops->update ? bij->ops->update(bij, run) : DFO_OK;
}

dfo_status dfo_bijector_describe(const dfo_bijector *bij, struct json_t *to)
{
    return bij->ops->describe ? bij->ops->describe(bij, to) : DFO_OK;
}
