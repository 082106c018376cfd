/* Layers one by one: rows x go to z and back to x'; the error is held against the bound 64 eps kappa with
 * kappa = 1 + |dx/dz|_F |z|: what rounding z by one eps does to x, plus rounding x itself.  The Frobenius
 * norm of dx/dz comes from J^-T u (the layer's inverse_backward): u over the unit vectors where there are
 * few, else over 16 random vectors (E |J^-T u|^2 is its square).
 *
 * The two log-dets, L(x) and L'(z), cancel but for rounding; their sum is held against 64 eps kappa' with
 * kappa' = d + |L'| + |dL'/dz| |z|: each of d logarithms is rounded, absolutely and relatively, and L' belongs to a
 * z that was rounded by one eps.  dL'/dz is what inverse_backward makes of no gradient of x and one of L'.  The
 * last term is the layer's, not the arithmetic's: where a slope changes within a narrow bin, no arithmetic that
 * hands z on in this precision can do better.  */
#include <math.h>
#include <string.h>

#include "check_impl.h"
#include "layer_impl.h"
#include "train/plan_impl.h"

#define BLOCK DFOI_CHECK_BLOCK
#define PROBES 16

struct dfoi_layer_check {
    dfo_ctx  *ctx;
    const dfo_flow *flow;
    dfo_check_report *report;
    dfo_plan *plan;
    dfo_batch x;
    const dfo_cond *cond;
    size_t   *derived;             /* (layers) */
    const dfo_bijector **layer;
    uint64_t  seed;
    int       prepared;
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
static dfo_status inverse_norms(const dfoi_layer_check *l, const dfo_bijector *bij, dfo_run *run, dfo_batch back,
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

/* norm[i] = |dL'/dz| of row i.  */
static dfo_status logdet_slopes(const dfo_bijector *bij, dfo_run *run, dfo_batch back, const dfo_cond *cond,
                                double *slope)
{
    dfo_batch x = packed(run, back), u = packed(run, back);
    double *one = dfoi_take_doubles(run, back.n);
    copy(back, x);
    memset(u.x, 0, u.n * u.d * sizeof *u.x);
    for (size_t i = 0; i < back.n; i++)
        one[i] = 1;
    DFO_TRY(dfo_bijector_inverse_backward(bij, run, x, u, cond, NULL, one));
    for (size_t i = 0; i < back.n; i++)
        slope[i] = norm(back.d, dfo_row(u, i));
    return DFO_OK;
}

/* A figure, the number it is held against, and how it is done: the worst ratio counts.  */
static void hold(double figure, double kappa, double *most, double *worst_kappa, double *over)
{
    double ratio = figure / (64 * (double)DFO_REAL_EPS * kappa);
    *most = fmax(*most, figure);
    if (ratio > *over || (isnan(*worst_kappa) && !isnan(kappa))) {
        *over = ratio;
        *worst_kappa = kappa;
    }
}

/* x becomes z on the way; the layer's worst figures are updated.  */
static dfo_status one_layer(const dfoi_layer_check *l, size_t k, dfo_run *run, dfo_batch x, const dfo_cond *cond)
{
    const dfo_bijector *bij = l->layer[k];
    dfo_check_layer *worst = &l->report->layer[k];
    size_t mark = run->arena_used;
    dfo_batch z = packed(run, x), back = packed(run, x);
    double *to = dfoi_take_doubles(run, x.n), *from = dfoi_take_doubles(run, x.n);
    double *square = dfoi_take_doubles(run, x.n), *slope = dfoi_take_doubles(run, x.n);
    run->derived += l->derived[k];
    memset(to, 0, x.n * sizeof *to);
    memset(from, 0, x.n * sizeof *from);
    copy(x, z);
    DFO_TRY(dfo_bijector_forward(bij, run, z, cond, to));
    copy(z, back);
    DFO_TRY(dfo_bijector_inverse(bij, run, back, cond, from));
    size_t inner = run->arena_used;
    int bounded = bij->ops->inverse_backward && !(bij->caps & (DFO_STOCHASTIC | DFO_ITERATIVE_INVERSE));
    if (bounded) {
        DFO_TRY(inverse_norms(l, bij, run, back, cond, square));
        run->arena_used = inner;
        DFO_TRY(logdet_slopes(bij, run, back, cond, slope));
    }
    for (size_t i = 0; i < x.n; i++) {
        double e = 0;
        for (size_t j = 0; j < x.d; j++) {
            double t = (double)dfo_row(back, i)[j] - (double)dfo_row(x, i)[j];
            e += t * t;
        }
        e = sqrt(e);
        double size = norm(x.d, dfo_row(z, i));
        hold(e, bounded ? 1 + sqrt(square[i]) * size : NAN, &worst->error, &worst->kappa, &worst->over);
        hold(fabs(to[i] + from[i]), bounded ? (double)x.d + fabs(from[i]) + slope[i] * size : NAN, &worst->logdet_sum,
             &worst->logdet_kappa, &worst->logdet_over);
    }
    copy(z, x);
    run->arena_used = mark;
    return DFO_OK;
}

static dfo_status block(void *data, dfo_run *run, size_t first, size_t n)
{
    const dfoi_layer_check *l = data;
    dfo_batch x = packed(run, dfo_batch_rows(l->x, first, n));
    dfo_cond given = dfo_cond_rows(l->cond, first, n), cond = dfoi_flow_condition(l->flow, run, &given);
    dfo_real *derived = run->derived;
    copy(dfo_batch_rows(l->x, first, n), x);
    for (size_t k = 0; k < l->report->layers; k++) {
        run->derived = derived;
        if (one_layer(l, k, run, x, l->flow->cond_d ? &cond : NULL) != DFO_OK)
            return dfo_run_wrap(run, "layer %zu (%s): ", k, l->layer[k]->ops->type);
    }
    return DFO_OK;
}

/* One worker: the figures of a layer are shared.  */
static dfo_status make_plan(dfoi_layer_check *l)
{
    dfo_run how = {.memory = DFO_MEMORY_INVERT};
    dfo_need need = dfoi_flow_need(l->flow, BLOCK, &how, 0);
    need.scratch += 6 * dfo_arena_size(BLOCK * l->flow->d) + 5 * dfoi_doubles_size(BLOCK) +
                    dfoi_flow_condition_scratch(l->flow, BLOCK);
    dfo_plan_options options = {.threads = 1, .block = BLOCK, .seed = l->seed, .mode = DFO_EVALUATE};
    return dfo_plan_new(l->ctx, l->flow->store, &need, &options, &l->plan);
}

dfo_status dfoi_layer_check_new(dfo_ctx *ctx, const dfo_flow *flow, uint64_t seed, dfo_check_report *r,
                                dfoi_layer_check **out)
{
    dfo_status status;
    dfoi_layer_check *l;
    *out = NULL;
    DFO_TRY(dfoi_alloc(ctx, 1, sizeof *l, &l));
    *l = (dfoi_layer_check){.ctx = ctx, .flow = flow, .report = r, .seed = seed};
    size_t layers = dfoi_chain_count(flow->bij);
    DFO_GO(dfoi_alloc(ctx, layers, sizeof *r->layer, &r->layer));
    r->layers = layers;
    DFO_GO(dfoi_alloc(ctx, layers, sizeof *l->derived, &l->derived));
    DFO_GO(dfoi_alloc(ctx, layers, sizeof *l->layer, &l->layer));
    for (size_t k = 0; k < layers; k++) {
        l->layer[k] = dfoi_chain_layer(flow->bij, k, &l->derived[k]);
        r->layer[k].type = l->layer[k]->ops->type;
        r->layer[k].kappa = r->layer[k].logdet_kappa = NAN;
    }
    DFO_GO(make_plan(l));
    *out = l;
    return DFO_OK;
fail:
    dfoi_layer_check_free(l);
    return status;
}

static dfo_status prepare(dfoi_layer_check *l, dfo_run *run)
{
    DFO_TRY(dfoi_flow_prepare(l->flow, run, l->plan->derived));
    for (size_t k = 0; k < l->report->layers; k++) {
        run->derived = l->plan->derived + l->derived[k];
        if (dfo_bijector_conditioning(l->layer[k], run, &l->report->layer[k].conditioning) != DFO_OK)
            return dfo_run_wrap(run, "layer %zu (%s): ", k, l->layer[k]->ops->type);
    }
    return DFO_OK;
}

dfo_status dfoi_layer_check_rows(dfoi_layer_check *l, uint64_t first, dfo_batch x, const dfo_cond *cond)
{
    dfo_key key = {.seed = l->seed, .purpose = DFO_FOR_CHECK, .row = first};
    if (!l->prepared) {
        dfo_run *run = dfoi_plan_single(l->plan, key);
        if (prepare(l, run) != DFO_OK)
            return dfoi_plan_error(l->plan, run);
        l->prepared = 1;
    }
    l->x = x;
    l->cond = cond;
    return dfoi_plan_blocks(l->plan, key, x.n, block, l);
}

void dfoi_layer_check_end(dfoi_layer_check *l)
{
    dfo_check_report *r = l->report;
    r->roundtrip_over_bound = r->logdet_over_bound = 0;
    for (size_t k = 0; k < r->layers; k++) {
        r->logdet_over_bound = fmax(r->logdet_over_bound, r->layer[k].logdet_over);
        if (r->layer[k].over >= r->roundtrip_over_bound) {
            r->roundtrip_over_bound = r->layer[k].over;
            r->kappa = r->layer[k].kappa;
            r->worst_layer = k;
        }
    }
}

void dfoi_layer_check_free(dfoi_layer_check *l)
{
    if (!l)
        return;
    dfo_plan_free(l->plan);
    dfoi_free(l->ctx, l->layer);
    dfoi_free(l->ctx, l->derived);
    dfoi_free(l->ctx, l);
}
