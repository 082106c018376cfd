/* Densities: construction from the registry, and the dispatchers, which check shapes, put the
 * arena mark back and explain what a density cannot do.  */
#include <math.h>
#include <string.h>

#include "base/ctx_impl.h"
#include "base/json_impl.h"
#include "dist/dist_impl.h"

static const struct dfoi_dist_kind *kind_named(const char *type)
{
    for (size_t i = 0; i < dfoi_dist_kinds_count; i++)
        if (!strcmp(dfoi_dist_kinds[i].type, type))
            return &dfoi_dist_kinds[i];
    return NULL;
}

static dfo_status unknown(dfo_ctx *ctx, const char *type)
{
    char list[512] = "";
    size_t used = 0;
    for (size_t i = 0; i < dfoi_dist_kinds_count; i++) {
        size_t length = strlen(dfoi_dist_kinds[i].type);
        if (used + length + 3 > sizeof list)
            break;
        if (used) {
            memcpy(list + used, ", ", 2);
            used += 2;
        }
        memcpy(list + used, dfoi_dist_kinds[i].type, length + 1);
        used += length;
    }
    return dfoi_fail(ctx, DFO_EARG, "type: there is no density '%s'; known: %s", type, list);
}

dfo_status dfo_dist_new(dfo_build *build, json_t *config, dfo_dist **out)
{
    dfo_ctx *ctx = build->ctx;
    dfo_dist *dist = NULL;
    const struct dfoi_dist_kind *kind = NULL;
    const char *type;
    dfo_status status;

    *out = NULL;
    if (!json_is_object(config))
        return dfoi_fail(ctx, DFO_EARG, "%s: a density is described by an object", build->path);
    DFO_GO(dfoi_json_string(ctx, config, "type", NULL, &type));
    kind = kind_named(type);
    if (!kind)
        DFO_GO(unknown(ctx, type));
    DFO_GO(dfoi_alloc(ctx, 1, sizeof *dist, &dist));
    dist->ctx = ctx;
    dist->store = build->store;
    dist->d = dfo_shape_size(build->shape);
    dist->first = build->store ? dfo_store_weights_size(build->store) : 0;
    if (!dist->d)
        DFO_GO(dfoi_fail(ctx, DFO_ESHAPE, "rows have no columns"));
    DFO_GO(kind->create(build, config, dist));
    if (build->store)
        dist->count = dfo_store_weights_size(build->store) - dist->first;
    if (!dist->count)
        dist->store = NULL;
    *out = dist;
    return DFO_OK;
fail:
    dfo_dist_free(dist);
    if (kind)
        return dfoi_wrap(ctx, "%s (%s): ", build->path, kind->type);
    return dfoi_wrap(ctx, "%s: ", build->path);
}

void dfo_dist_free(dfo_dist *dist)
{
    if (!dist)
        return;
    if (dist->ops && dist->ops->free)
        dist->ops->free(dist);
    dfoi_free(dist->ctx, dist);
}

size_t dfo_dist_types(void)
{
    return dfoi_dist_kinds_count;
}

const char *dfo_dist_type(size_t i)
{
    return i < dfoi_dist_kinds_count ? dfoi_dist_kinds[i].type : NULL;
}

size_t dfo_dist_scratch(const dfo_dist *dist, size_t rows)
{
    return dist->ops->scratch ? dist->ops->scratch(dist, rows) : 0;
}

size_t dfo_dist_derived(const dfo_dist *dist)
{
    return dist->ops->derived ? dist->ops->derived(dist) : 0;
}

dfo_status dfo_dist_prepare(const dfo_dist *dist, dfo_run *run, dfo_real *derived)
{
    size_t mark = run->arena_used;
    if (!dist->ops->prepare)
        return DFO_OK;
    dfo_status status = dist->ops->prepare(dist, run, derived);
    run->arena_used = mark;
    return status;
}

static dfo_status absent(const dfo_dist *dist, dfo_run *run, const char *what)
{
    return dfo_run_fail(run, DFO_EUNSUP, (size_t)-1, "%s: this density has no %s", dist->ops->type,
                        what);
}

/* Rows, and the condition if the density wants one.  */
static dfo_status check(const dfo_dist *dist, dfo_run *run, dfo_batch x, const dfo_cond *cond)
{
    const char *type = dist->ops->type;
    if (x.d != dist->d)
        return dfo_run_fail(run, DFO_ESHAPE, (size_t)-1, "%s: expected %zu columns, got %zu", type,
                            dist->d, x.d);
    if (x.n > 1 && x.ld < x.d)
        return dfo_run_fail(run, DFO_ESHAPE, (size_t)-1, "%s: rows of %zu columns lie %zu apart",
                            type, x.d, x.ld);
    if (x.n && !x.x)
        return dfo_run_fail(run, DFO_EARG, (size_t)-1, "%s: no rows were given", type);
    if (!dist->conds)
        return DFO_OK;
    if (!cond || cond->n != dist->conds || dfo_cond_features(cond) != dist->cond_d)
        return dfo_run_fail(run, DFO_ESHAPE, (size_t)-1,
                            "%s: expected a condition of %zu columns in %zu parts, got %zu in %zu",
                            type, dist->cond_d, dist->conds, dfo_cond_features(cond),
                            cond ? cond->n : 0);
    for (size_t p = 0; p < cond->n; p++)
        if (cond->part[p].rows.n != x.n)
            return dfo_run_fail(run, DFO_ESHAPE, (size_t)-1,
                                "%s: %zu rows, but %zu rows of condition", type, x.n,
                                cond->part[p].rows.n);
    return DFO_OK;
}

dfo_status dfo_dist_log_prob(const dfo_dist *dist, dfo_run *run, dfo_batch x, const dfo_cond *cond,
                             double *out)
{
    size_t mark = run->arena_used;
    if (!dist->ops->log_prob)
        return absent(dist, run, "log-density");
    DFO_TRY(check(dist, run, x, cond));
    if (!x.n)
        return DFO_OK;
    dfo_status status = dist->ops->log_prob(dist, run, x, cond, out);
    run->arena_used = mark;
    return status;
}

/* Gradients have the shapes of what they belong to, where they are wanted.  */
static dfo_status check_gradients(const dfo_dist *dist, dfo_run *run, dfo_batch x,
                                  const dfo_cond *cond, dfo_batch gx, const dfo_cond *gcond)
{
    const char *type = dist->ops->type;
    if (gx.x && (gx.n != x.n || gx.d != x.d || (gx.n > 1 && gx.ld < gx.d)))
        return dfo_run_fail(run, DFO_ESHAPE, (size_t)-1,
                            "%s: gradient of %zu x %zu for %zu x %zu rows", type, gx.n, gx.d, x.n,
                            x.d);
    if (!gcond || !gcond->n || !dist->conds)
        return DFO_OK;
    if (gcond->n != cond->n)
        return dfo_run_fail(run, DFO_ESHAPE, (size_t)-1,
                            "%s: condition of %zu parts, its gradient of %zu", type, cond->n,
                            gcond->n);
    for (size_t p = 0; p < cond->n; p++) {
        dfo_batch c = cond->part[p].rows, g = gcond->part[p].rows;
        if (g.x && (g.n != c.n || g.d != c.d))
            return dfo_run_fail(run, DFO_ESHAPE, (size_t)-1,
                                "%s: part %zu: gradient of %zu x %zu for %zu x %zu", type, p, g.n,
                                g.d, c.n, c.d);
    }
    return DFO_OK;
}

dfo_status dfo_dist_log_prob_grad(const dfo_dist *dist, dfo_run *run, dfo_batch x,
                                  const dfo_cond *cond, const double *glogp, dfo_batch gx,
                                  dfo_cond *gcond)
{
    size_t mark = run->arena_used;
    if (!dist->ops->log_prob_grad)
        return absent(dist, run, "gradient");
    DFO_TRY(check(dist, run, x, cond));
    DFO_TRY(check_gradients(dist, run, x, cond, gx, gcond));
    if (!x.n)
        return DFO_OK;
    if (gcond && !gcond->n)
        gcond = NULL;
    dfo_status status = dist->ops->log_prob_grad(dist, run, x, cond, glogp, gx, gcond);
    run->arena_used = mark;
    return status;
}

dfo_status dfo_dist_sample(const dfo_dist *dist, dfo_run *run, dfo_batch x, const dfo_cond *cond,
                           double temperature)
{
    size_t mark = run->arena_used;
    if (!dist->ops->sample)
        return absent(dist, run, "sampling");
    DFO_TRY(check(dist, run, x, cond));
    if (!(temperature >= 0) || !isfinite(temperature))
        return dfo_run_fail(run, DFO_EARG, (size_t)-1,
                            "%s: temperature must be a number from 0, got %g", dist->ops->type,
                            temperature);
    if (!x.n)
        return DFO_OK;
    dfo_status status = dist->ops->sample(dist, run, x, cond, temperature);
    run->arena_used = mark;
    return status;
}

dfo_status dfo_dist_sample_given(const dfo_dist *dist, dfo_run *run, dfo_batch x, const dfo_cond *cond, double temperature, dfo_batch given,
                                 double noise)
{
    size_t mark = run->arena_used;
    if (!dist->ops->sample_given)
        return absent(dist, run, "draws where something is given");
    DFO_TRY(check(dist, run, x, cond));
    if (!(temperature >= 0) || !isfinite(temperature))
        return dfo_run_fail(run, DFO_EARG, (size_t)-1, "%s: temperature must be a number from 0, got %g", dist->ops->type, temperature);
    if (!(noise >= 0) || !isfinite(noise))
        return dfo_run_fail(run, DFO_EARG, (size_t)-1, "%s: noise must be a number from 0, got %g", dist->ops->type, noise);
    if (given.n != x.n || given.d != x.d || (given.n > 1 && given.ld < given.d))
        return dfo_run_fail(run, DFO_ESHAPE, (size_t)-1, "%s: %zu x %zu given for %zu x %zu rows", dist->ops->type, given.n, given.d, x.n, x.d);
    if (!x.n)
        return DFO_OK;
    dfo_status status = dist->ops->sample_given(dist, run, x, cond, temperature, given, noise);
    run->arena_used = mark;
    return status;
}

dfo_status dfo_dist_describe(const dfo_dist *dist, json_t *to)
{
    return dist->ops->describe(dist, to);
}

double dfo_bits_per_dim(double nats, double dims, double bins)
{
    return -nats / (dims * log(2)) + log2(bins);
}
