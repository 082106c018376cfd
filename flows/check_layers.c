/* Layers one by one: rows x go to z and back to x'; the error is held against the bound 64 eps kappa with
 * kappa = 1 + |dx/dz|_F |z|: what rounding z by one eps does to x, plus rounding x itself.  The Frobenius
 * norm of dx/dz comes from J^-T u (the layer's inverse_backward): u over the unit vectors where there are
 * few, else over 16 random vectors (E |J^-T u|^2 is its square).  */
#include <math.h>
#include <string.h>

#include "check_impl.h"
#include "layer_impl.h"
#include "train/plan_impl.h"

#define BLOCK 256
#define PROBES 16

struct layers {
    const dfo_flow *flow;
    dfo_check_report *report;
    dfo_batch x;
    const dfo_cond *cond;
    size_t   *derived;             /* (layers) */
    const dfo_bijector **layer;
    uint64_t  seed;
};

static double norm(size_t n, const dfo_real *x)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    return sqrt(sum);
}

static dfo_batch packed(dfo_run *run, dfo_batch like)
{
    return dfo_batch_of(dfo_arena_take(run, like.n * like.d), like.n, like.d);
}

static void copy(dfo_batch from, dfo_batch to)
{
    for (size_t i = 0; i < from.n; i++)
        memcpy(dfo_row(to, i), dfo_row(from, i), from.d * sizeof(dfo_real));
}

/* square[i] = |dx/dz|_F^2 of row i.  */
static dfo_status inverse_norms(const struct layers *l, const dfo_bijector *bij, dfo_run *run, dfo_batch back,
                                const dfo_cond *cond, double *square)
{
    size_t n = back.n, d = back.d, probes = d <= PROBES ? d : PROBES;
    dfo_batch x = packed(run, back), u = packed(run, back);
    double *zero = dfoi_take_doubles(run, n);
    memset(zero, 0, n * sizeof *zero);
    memset(square, 0, n * sizeof *square);
    for (size_t p = 0; p < probes; p++) {
        copy(back, x);
        dfo_key key = {.seed = l->seed, .purpose = DFO_FOR_PROBE, .row = run->key.row, .step = (uint32_t)p};
        if (d <= PROBES)
            for (size_t i = 0; i < n; i++)
                for (size_t j = 0; j < d; j++)
                    dfo_row(u, i)[j] = j == p;
        else
            dfo_draw_real_normal(key, n * d, u.x);
        DFO_TRY(dfo_bijector_inverse_backward(bij, run, x, u, cond, NULL, zero));
        for (size_t i = 0; i < n; i++) {
            double s = norm(d, dfo_row(u, i));
            square[i] += s * s / (d <= PROBES ? 1.0 : (double)probes);
        }
    }
    return DFO_OK;
}

/* x becomes z on the way; the layer's worst figures are updated.  */
static dfo_status one_layer(const struct layers *l, size_t k, dfo_run *run, dfo_batch x, const dfo_cond *cond)
{
    const dfo_bijector *bij = l->layer[k];
    dfo_check_layer *worst = &l->report->layer[k];
    size_t mark = run->arena_used;
    dfo_batch z = packed(run, x), back = packed(run, x);
    double *to = dfoi_take_doubles(run, x.n), *from = dfoi_take_doubles(run, x.n);
    double *square = dfoi_take_doubles(run, x.n);
    run->derived += l->derived[k];
    memset(to, 0, x.n * sizeof *to);
    memset(from, 0, x.n * sizeof *from);
    copy(x, z);
    DFO_TRY(dfo_bijector_forward(bij, run, z, cond, to));
    copy(z, back);
    DFO_TRY(dfo_bijector_inverse(bij, run, back, cond, from));
    int bounded = bij->ops->inverse_backward != NULL;
    if (bounded)
        DFO_TRY(inverse_norms(l, bij, run, back, cond, square));
    for (size_t i = 0; i < x.n; i++) {
        double e = 0;
        for (size_t j = 0; j < x.d; j++) {
            double t = (double)dfo_row(back, i)[j] - (double)dfo_row(x, i)[j];
            e += t * t;
        }
        e = sqrt(e);
        double kappa = bounded ? 1 + sqrt(square[i]) * norm(x.d, dfo_row(z, i)) : NAN;
        double over = e / (64 * (double)DFO_REAL_EPS * kappa);
        worst->error = fmax(worst->error, e);
        worst->logdet_sum = fmax(worst->logdet_sum, fabs(to[i] + from[i]));
        if (over > worst->over || (isnan(worst->kappa) && bounded)) {
            worst->over = over;
            worst->kappa = kappa;
        }
    }
    copy(z, x);
    run->arena_used = mark;
    return DFO_OK;
}

static dfo_status block(void *data, dfo_run *run, size_t first, size_t n)
{
    const struct layers *l = data;
    dfo_batch x = packed(run, dfo_batch_rows(l->x, first, n));
    dfo_cond cond = dfo_cond_rows(l->cond, first, n);
    dfo_real *derived = run->derived;
    copy(dfo_batch_rows(l->x, first, n), x);
    for (size_t k = 0; k < l->report->layers; k++) {
        run->derived = derived;
        if (one_layer(l, k, run, x, l->flow->cond_d ? &cond : NULL) != DFO_OK)
            return dfo_run_wrap(run, "layer %zu (%s): ", k, l->layer[k]->ops->type);
    }
    return DFO_OK;
}

static dfo_status measure(dfo_ctx *ctx, struct layers *l)
{
    dfo_plan *plan;
    dfo_run how = {.memory = DFO_MEMORY_INVERT};
    dfo_need need = dfoi_flow_need(l->flow, BLOCK, &how, 0);
    need.scratch += 6 * dfo_arena_size(BLOCK * l->flow->d) + 4 * dfoi_doubles_size(BLOCK);
    /* One worker: the figures of a layer are shared.  */
    dfo_plan_options options = {.threads = 1, .block = BLOCK, .seed = l->seed, .mode = DFO_EVALUATE};
    DFO_TRY(dfo_plan_new(ctx, l->flow->store, &need, &options, &plan));
    dfo_key key = {.seed = l->seed, .purpose = DFO_FOR_CHECK};
    dfo_run *run = dfoi_plan_single(plan, key);
    dfo_status status = dfoi_flow_prepare(l->flow, run, plan->derived);
    status = status != DFO_OK ? dfoi_plan_error(plan, run) : dfoi_plan_blocks(plan, key, l->x.n, block, l);
    dfo_plan_free(plan);
    return status;
}

dfo_status dfoi_check_layers(dfo_ctx *ctx, const dfo_flow *flow, uint64_t seed, dfo_batch x, const dfo_cond *cond,
                             dfo_check_report *r)
{
    dfo_status status;
    struct layers l = {.flow = flow, .report = r, .x = x, .cond = cond, .seed = seed};
    r->layers = dfoi_chain_count(flow->bij);
    DFO_GO(dfoi_alloc(ctx, r->layers, sizeof *r->layer, &r->layer));
    DFO_GO(dfoi_alloc(ctx, r->layers, sizeof *l.derived, &l.derived));
    DFO_GO(dfoi_alloc(ctx, r->layers, sizeof *l.layer, &l.layer));
    for (size_t k = 0; k < r->layers; k++) {
        l.layer[k] = dfoi_chain_layer(flow->bij, k, &l.derived[k]);
        r->layer[k].type = l.layer[k]->ops->type;
        r->layer[k].kappa = NAN;
    }
    DFO_GO(measure(ctx, &l));
    r->roundtrip_over_bound = 0;
    for (size_t k = 0; k < r->layers; k++)
        if (r->layer[k].over >= r->roundtrip_over_bound) {
            r->roundtrip_over_bound = r->layer[k].over;
            r->kappa = r->layer[k].kappa;
            r->worst_layer = k;
        }
fail:
    dfoi_free(ctx, l.layer);
    dfoi_free(ctx, l.derived);
    return status;
}
