/* Layers one after the other: z = f_L(... f_1(x)).  A layer is built for the shape of row that the one before
 * it gives.  On the way back inputs are rebuilt from outputs;
 * N anchors, evenly spread, are rows kept on the way forth that replace the rebuilt ones, so that
 * rounding does not pile up over many layers; the largest difference met is the run's drift.
 * Rows are checked for NaN and infinity after every layer: the error names layer and row.  */
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/par_impl.h"
#include "layers.h"
#include "math/kern_impl.h"

struct chain {
    size_t         n;
    dfo_bijector **layer;              /* (n) */
    size_t        *derived, *gderived; /* (n) where a layer's slice begins */
    size_t         derived_size, gderived_size, aux;
    json_t        *settings;           /* of a chain with another name, which says what its layers are; or NULL */
};

static size_t scratch(const dfo_bijector *bij, size_t rows)
{
    const struct chain *c = bij->state;
    size_t most = 0;
    for (size_t i = 0; i < c->n; i++) {
        size_t s = dfo_bijector_scratch(c->layer[i], rows);
        most = s > most ? s : most;
    }
    return most;
}

static size_t anchors(const struct chain *c, const dfo_run *how)
{
    if (how->memory != DFO_MEMORY_ANCHORS || c->n < 2)
        return 0;
    return how->anchors < c->n - 1 ? how->anchors : c->n - 1;
}

/* Layer whose input anchor k (0 <= k < n) keeps.  */
static size_t anchor_at(const struct chain *c, size_t k, size_t n)
{
    return (k + 1) * c->n / (n + 1);
}

/* The children of a chain keep no anchors of their own.  */
static dfo_run without_anchors(const dfo_run *how)
{
    dfo_run inner = *how;
    if (inner.memory == DFO_MEMORY_ANCHORS)
        inner.anchors = 0;
    return inner;
}

static size_t saved(const dfo_bijector *bij, size_t rows, const dfo_run *how)
{
    const struct chain *c = bij->state;
    size_t total = anchors(c, how) * dfo_arena_size(rows * bij->d);
    dfo_run inner = without_anchors(how);
    for (size_t i = 0; i < c->n; i++)
        total += dfo_arena_size(dfo_bijector_saved(c->layer[i], rows, &inner));
    return total;
}

static size_t derived(const dfo_bijector *bij)
{
    const struct chain *c = bij->state;
    return c->derived_size;
}

static size_t gderived(const dfo_bijector *bij)
{
    const struct chain *c = bij->state;
    return c->gderived_size;
}

static size_t aux(const dfo_bijector *bij)
{
    const struct chain *c = bij->state;
    return c->aux;
}

struct preparation {
    const struct chain *chain;
    const dfo_run      *run;
    dfo_real           *derived;
    atomic_size_t       lowest;        /* layer that failed */
};

static void prepare_one(void *data, size_t i, int worker)
{
    struct preparation *p = data;
    dfo_run run = *p->run;
    (void)worker;
    run.threads = 1;
    run.arena_size = run.arena_used = 0;
    if (dfo_bijector_prepare(p->chain->layer[i], &run, p->derived + p->chain->derived[i]) == DFO_OK)
        return;
    size_t lowest = atomic_load(&p->lowest);
    while (i < lowest && !atomic_compare_exchange_weak(&p->lowest, &lowest, i))
        ;
}

static dfo_status name_layer(const struct chain *c, dfo_run *run, size_t i)
{
    return dfo_run_wrap(run, "layer %zu (%s): ", i, c->layer[i]->ops->type);
}

static dfo_status prepare(const dfo_bijector *bij, dfo_run *run, dfo_real *to)
{
    const struct chain *c = bij->state;
    struct preparation p = {.chain = c, .run = run, .derived = to};
    atomic_store(&p.lowest, c->n);
    dfoi_par_for(run->threads, c->n, prepare_one, &p);
    size_t failed = atomic_load(&p.lowest);
    if (failed == c->n)
        return DFO_OK;
    /* Again, alone, for its message.  */
    (void)dfo_bijector_prepare(c->layer[failed], run, to + c->derived[failed]);
    return name_layer(c, run, failed);
}

/* Where a layer finds its things; put back by leave().  */
struct place {
    dfo_real *derived, *gderived, *saved;
    dfo_batch aux;
    dfo_reduction *reduction;
    unsigned anchors;
};

static struct place here(const dfo_run *run)
{
    struct place p = {run->derived, run->gderived, run->saved, run->aux, run->reduction, run->anchors};
    return p;
}

static void leave(dfo_run *run, const struct place *p)
{
    run->derived = p->derived;
    run->gderived = p->gderived;
    run->saved = p->saved;
    run->aux = p->aux;
    run->reduction = p->reduction;
    run->anchors = p->anchors;
}

static void enter(const struct chain *c, dfo_run *run, const struct place *p, size_t i, size_t saved_at)
{
    run->derived = p->derived ? p->derived + c->derived[i] : NULL;
    run->gderived = p->gderived ? p->gderived + c->gderived[i] : NULL;
    run->saved = p->saved ? p->saved + saved_at : NULL;
    run->reduction = NULL;             /* a layer's gradients are summed by the outermost chain */
    if (run->memory == DFO_MEMORY_ANCHORS)
        run->anchors = 0;
}

static dfo_status check_rows(const struct chain *c, dfo_run *run, dfo_batch x, size_t i)
{
    int good = x.ld == x.d ? dfoi_all_finite(x.n * x.d, x.x) : 0;
    for (size_t r = 0; !good && r < x.n; r++)
        if (!dfoi_all_finite(x.d, dfo_row(x, r))) {
            dfo_run_fail(run, DFO_ENUM, r, "row %llu: not finite", (unsigned long long)(run->key.row + r));
            return name_layer(c, run, i);
        }
    return DFO_OK;
}

static dfo_status check_logdet(dfo_run *run, size_t n, const double *logdet)
{
    for (size_t r = 0; logdet && r < n; r++)
        if (!isfinite(logdet[r]))
            return dfo_run_fail(run, DFO_ENUM, r, "row %llu: log-determinant is not finite",
                                (unsigned long long)(run->key.row + r));
    return DFO_OK;
}

static void keep(dfo_batch x, dfo_real *to)
{
    for (size_t i = 0; i < x.n; i++)
        memcpy(to + i * x.d, dfo_row(x, i), x.d * sizeof(dfo_real));
}

/* Takes the anchor's rows in place of the rebuilt ones; returns the largest difference.  */
static double replace(dfo_batch x, const dfo_real *anchor)
{
    double drift = 0;
    for (size_t i = 0; i < x.n; i++) {
        double e = dfoi_max_abs_diff(x.d, dfo_row(x, i), anchor + i * x.d);
        drift = e > drift ? e : drift;
        memcpy(dfo_row(x, i), anchor + i * x.d, x.d * sizeof(dfo_real));
    }
    return drift;
}

static dfo_status forward(const dfo_bijector *bij, dfo_run *run, dfo_batch x, const dfo_cond *cond,
                          double *logdet)
{
    const struct chain *c = bij->state;
    struct place p = here(run);
    size_t count = run->saved ? anchors(c, run) : 0, k = 0, size = dfo_arena_size(x.n * x.d);
    size_t saved_at = count * size;
    dfo_run inner = without_anchors(run);
    dfo_status status = DFO_OK;
    for (size_t i = 0; i < c->n && status == DFO_OK; i++) {
        if (k < count && anchor_at(c, k, count) == i)
            keep(x, p.saved + k++ * size);
        enter(c, run, &p, i, saved_at);
        status = dfo_bijector_forward(c->layer[i], run, x, cond, logdet);
        if (status != DFO_OK)
            name_layer(c, run, i);
        else
            status = check_rows(c, run, x, i);
        if (p.saved)
            saved_at += dfo_arena_size(dfo_bijector_saved(c->layer[i], x.n, &inner));
        leave(run, &p);
    }
    return status == DFO_OK ? check_logdet(run, x.n, logdet) : status;
}

static dfo_status inverse(const dfo_bijector *bij, dfo_run *run, dfo_batch z, const dfo_cond *cond,
                          double *logdet)
{
    const struct chain *c = bij->state;
    struct place p = here(run);
    dfo_status status = DFO_OK;
    for (size_t i = c->n; i-- > 0 && status == DFO_OK;) {
        enter(c, run, &p, i, 0);
        status = dfo_bijector_inverse(c->layer[i], run, z, cond, logdet);
        if (status != DFO_OK)
            name_layer(c, run, i);
        else
            status = check_rows(c, run, z, i);
        leave(run, &p);
    }
    return status == DFO_OK ? check_logdet(run, z.n, logdet) : status;
}

static dfo_status backward(const dfo_bijector *bij, dfo_run *run, dfo_batch z, dfo_batch gz,
                           const dfo_cond *cond, dfo_cond *gcond, const double *glogdet)
{
    const struct chain *c = bij->state;
    struct place p = here(run);
    size_t count = run->saved ? anchors(c, run) : 0, k = count, size = dfo_arena_size(z.n * z.d);
    dfo_run inner = without_anchors(run);
    size_t saved_at = run->saved ? saved(bij, z.n, run) : 0;
    dfo_status status = DFO_OK;
    for (size_t i = c->n; i-- > 0 && status == DFO_OK;) {
        const dfo_bijector *layer = c->layer[i];
        size_t gn = dfo_bijector_gderived(layer);
        if (p.saved)
            saved_at -= dfo_arena_size(dfo_bijector_saved(layer, z.n, &inner));
        dfo_run_grads_begin(run, layer->first, layer->count, c->gderived[i], gn);
        p.gderived = run->gderived;
        enter(c, run, &p, i, saved_at);
        status = dfo_bijector_backward(layer, run, z, gz, cond, gcond, glogdet);
        if (status != DFO_OK)
            name_layer(c, run, i);
        else
            status = check_rows(c, run, gz, i);
        leave(run, &p);
        dfo_run_grads_done(run, layer->first, layer->count, c->gderived[i], gn);
        if (k > 0 && anchor_at(c, k - 1, count) == i) {
            double drift = replace(z, p.saved + --k * size);
            run->drift = drift > run->drift ? drift : run->drift;
        }
    }
    return status;
}

static dfo_status inverse_backward(const dfo_bijector *bij, dfo_run *run, dfo_batch x, dfo_batch gx,
                                   const dfo_cond *cond, dfo_cond *gcond, const double *glogdet)
{
    const struct chain *c = bij->state;
    struct place p = here(run);
    dfo_status status = DFO_OK;
    for (size_t i = 0; i < c->n && status == DFO_OK; i++) {
        const dfo_bijector *layer = c->layer[i];
        size_t gn = dfo_bijector_gderived(layer);
        dfo_run_grads_begin(run, layer->first, layer->count, c->gderived[i], gn);
        p.gderived = run->gderived;
        enter(c, run, &p, i, 0);
        status = dfo_bijector_inverse_backward(layer, run, x, gx, cond, gcond, glogdet);
        if (status != DFO_OK)
            name_layer(c, run, i);
        else
            status = check_rows(c, run, gx, i);
        leave(run, &p);
        dfo_run_grads_done(run, layer->first, layer->count, c->gderived[i], gn);
    }
    return status;
}

static dfo_status pullback(const dfo_bijector *bij, dfo_run *run, const dfo_real *from, const dfo_real *gfrom)
{
    const struct chain *c = bij->state;
    for (size_t i = 0; i < c->n; i++)
        if (dfo_bijector_pullback(c->layer[i], run, from + c->derived[i], gfrom + c->gderived[i]) != DFO_OK)
            return name_layer(c, run, i);
    return DFO_OK;
}

/* Layer by layer: a layer is fitted to what the ones before it make of the rows.  */
static dfo_status init(dfo_bijector *bij, dfo_run *run, dfo_batch x, const dfo_cond *cond)
{
    struct chain *c = bij->state;
    struct place p = here(run);
    dfo_status status = DFO_OK;
    for (size_t i = 0; i < c->n && status == DFO_OK; i++) {
        enter(c, run, &p, i, 0);
        run->saved = NULL;
        status = dfo_bijector_init(c->layer[i], run, x, cond);
        if (status == DFO_OK)
            status = dfo_bijector_prepare(c->layer[i], run, run->derived);
        if (status == DFO_OK)
            status = dfo_bijector_forward(c->layer[i], run, x, cond, NULL);
        if (status != DFO_OK)
            name_layer(c, run, i);
        else
            status = check_rows(c, run, x, i);
        leave(run, &p);
    }
    return status;
}

static dfo_status update(const dfo_bijector *bij, dfo_run *run)
{
    const struct chain *c = bij->state;
    struct place p = here(run);
    dfo_status status = DFO_OK;
    for (size_t i = 0; i < c->n && status == DFO_OK; i++) {
        enter(c, run, &p, i, 0);
        status = dfo_bijector_update(c->layer[i], run);
        leave(run, &p);
    }
    return status;
}

/* Of the layer with the largest ratio.  */
static dfo_status conditioning(const dfo_bijector *bij, dfo_run *run, dfo_conditioning *out)
{
    const struct chain *c = bij->state;
    struct place p = here(run);
    dfo_status status = DFO_OK;
    for (size_t i = 0; i < c->n && status == DFO_OK; i++) {
        dfo_conditioning one;
        enter(c, run, &p, i, 0);
        status = dfo_bijector_conditioning(c->layer[i], run, &one);
        leave(run, &p);
        if (!isnan(one.largest) && !(out->largest / out->smallest >= one.largest / one.smallest))
            *out = one;
    }
    return status;
}

static dfo_status describe(const dfo_bijector *bij, json_t *to)
{
    const struct chain *c = bij->state;
    const char *key;
    json_t *value, *list;
    json_object_foreach(c->settings, key, value)
        DFO_TRY(dfoi_json_set(bij->ctx, to, key, dfoi_json_copy(value)));
    if (c->settings)
        return DFO_OK;
    list = json_array();
    DFO_TRY(dfoi_json_set(bij->ctx, to, "layers", list));
    for (size_t i = 0; i < c->n; i++) {
        json_t *layer;
        DFO_TRY(dfoi_layer_json(c->layer[i], &layer));
        if (json_array_append_new(list, layer))
            return dfoi_fail(bij->ctx, DFO_EMEM, "out of memory: description of a chain");
    }
    return DFO_OK;
}

static void chain_free(dfo_bijector *bij)
{
    struct chain *c = bij->state;
    if (!c)
        return;
    for (size_t i = 0; c->layer && i < c->n; i++)
        dfo_bijector_free(c->layer[i]);
    dfoi_free(bij->ctx, c->layer);
    dfoi_free(bij->ctx, c->derived);
    dfoi_free(bij->ctx, c->gderived);
    json_decref(c->settings);
    dfoi_free(bij->ctx, c);
}

dfo_status dfoi_chain_create(dfo_build *build, json_t *config, dfo_bijector *bij)
{
    static const char *const keys[] = {"type", "layers", NULL};
    dfo_ctx *ctx = build->ctx;
    struct chain *c;
    dfo_build inner = *build;
    DFO_TRY(dfoi_json_keys(ctx, config, keys));
    json_t *list = json_object_get(config, "layers");
    if (!json_is_array(list))
        return dfoi_fail(ctx, DFO_EARG, "layers: expected an array of layers");
    DFO_TRY(dfoi_alloc(ctx, 1, sizeof *c, &c));
    bij->state = c;
    c->n = json_array_size(list);
    DFO_TRY(dfoi_alloc(ctx, c->n, sizeof *c->layer, &c->layer));
    DFO_TRY(dfoi_alloc(ctx, c->n, sizeof *c->derived, &c->derived));
    DFO_TRY(dfoi_alloc(ctx, c->n, sizeof *c->gderived, &c->gderived));
    for (size_t i = 0; i < c->n; i++) {
        char name[24];
        snprintf(name, sizeof name, "%zu", i);
        inner.shape = bij->out;
        DFO_TRY(dfoi_layer_child(&inner, json_array_get(list, i), name, &c->layer[i]));
        if (i)
            DFO_TRY(dfoi_layer_behind(ctx, c->layer[i]));
        bij->out = c->layer[i]->out;
        dfoi_layer_join(bij, c->layer[i]);
        c->derived[i] = c->derived_size;
        c->gderived[i] = c->gderived_size;
        c->derived_size += dfo_arena_size(dfo_bijector_derived(c->layer[i]));
        c->gderived_size += dfo_arena_size(dfo_bijector_gderived(c->layer[i]));
        c->aux += dfo_bijector_aux(c->layer[i]);
    }
    return DFO_OK;
}

dfo_status dfoi_chain_named(dfo_build *build, const json_t *settings, json_t *list, dfo_bijector *bij)
{
    json_t *config = list ? json_pack("{s:O}", "layers", list) : NULL;
    dfo_status status = config ? dfoi_chain_create(build, config, bij)
                               : dfoi_fail(build->ctx, DFO_EMEM, "out of memory: layers of %s", bij->ops->type);
    struct chain *c = bij->state;
    if (status == DFO_OK && !(c->settings = dfoi_json_copy(settings)))
        status = dfoi_fail(build->ctx, DFO_EMEM, "out of memory: settings of %s", bij->ops->type);
    json_decref(config);
    return status;
}

size_t dfoi_chain_count(const dfo_bijector *bij)
{
    const struct chain *c = bij->state;
    return bij->ops == &dfoi_chain_ops ? c->n : 1;
}

const dfo_bijector *dfoi_chain_layer(const dfo_bijector *bij, size_t i, size_t *derived_at)
{
    const struct chain *c = bij->state;
    *derived_at = bij->ops == &dfoi_chain_ops ? c->derived[i] : 0;
    return bij->ops == &dfoi_chain_ops ? c->layer[i] : bij;
}

#define CHAIN(name)                                                                                                \
    {                                                                                                              \
        .type = name, .caps = DFO_CLOSED_INVERSE | DFO_VOLUME_PRESERVING, .scratch = scratch, .saved = saved,      \
        .derived = derived, .gderived = gderived, .aux = aux, .prepare = prepare, .forward = forward,              \
        .inverse = inverse, .backward = backward, .inverse_backward = inverse_backward, .pullback = pullback,      \
        .init = init, .update = update, .conditioning = conditioning, .describe = describe, .free = chain_free,    \
    }

const struct dfo_bijector_ops dfoi_chain_ops = CHAIN("chain");
const struct dfo_bijector_ops dfoi_finc_ops = CHAIN("finc");
const struct dfo_bijector_ops dfoi_emerging_ops = CHAIN("emerging");
