/* Working memory of a flow's evaluations, and the calls that use it.  Rows are cut into blocks by
 * absolute index; the last block is filled up with copies of its last row, so that a row's bits do not
 * depend on how many rows come with it.  */
#include <string.h>

#include <diffeo/variational.h>
#include "flow_impl.h"
#include "layer_impl.h"
#include "train/plan_impl.h"

struct dfo_flow_plan {
    const dfo_flow *flow;
    dfo_plan       *plan;
    int             gradients;
};

dfo_status dfo_flow_plan_new(dfo_ctx *ctx, const dfo_flow *flow, int gradients, dfo_flow_plan **out)
{
    dfo_status status;
    dfo_flow_plan *plan;
    *out = NULL;
    DFO_TRY(dfoi_alloc(ctx, 1, sizeof *plan, &plan));
    plan->flow = flow;
    plan->gradients = gradients;
    size_t block = dfo_flow_block(flow);
    dfo_run how = {.memory = DFO_MEMORY_INVERT};
    dfo_need need = dfoi_flow_need(flow, block, &how, gradients);
    /* rows of the last block, their gradients and log-dets; what is given of them */
    need.scratch += 3 * dfo_arena_size(block * flow->d) + 2 * dfo_arena_size(block * flow->cond_d) +
                    2 * dfoi_doubles_size(block) + dfoi_flow_draws_scratch(block);
    dfo_plan_options options = {.block = block, .memory = DFO_MEMORY_INVERT, .mode = DFO_EVALUATE};
    DFO_GO(dfo_plan_new(ctx, flow->store, &need, &options, &plan->plan));
    *out = plan;
    return DFO_OK;
fail:
    dfoi_free(ctx, plan);
    return status;
}

void dfo_flow_plan_free(dfo_flow_plan *plan)
{
    if (!plan)
        return;
    dfo_ctx *ctx = plan->plan->ctx;
    dfo_plan_free(plan->plan);
    dfoi_free(ctx, plan);
}

void dfo_flow_plan_evaluations(const dfo_flow_plan *plan, uint64_t *evaluations, uint64_t *solves)
{
    dfo_plan_evaluations(plan->plan, evaluations, solves);
}

struct call {
    const dfo_flow *flow;
    enum { LOG_PROB, LOG_PROB_GRAD, ENCODE, DECODE, SAMPLE, DECODE_BACKWARD, SAMPLE_GIVEN, LOG_PROB_DRAWS } what;
    dfo_batch       x, gx;
    const dfo_cond *cond;
    dfo_cond       *gcond;
    double         *out;               /* log p, or log-det, or NULL */
    const double   *glogdet;           /* of DECODE_BACKWARD */
    double         *variance;          /* of log p's estimate, or NULL */
    double          temperature;
    dfo_batch       given;             /* what is known of draws, and its noise */
    double          noise;
    size_t          draws;             /* of LOG_PROB_DRAWS */
};

/* gx: gradients, or what is given.  */
static dfo_status work(const struct call *c, dfo_run *run, dfo_batch x, dfo_batch gx, const dfo_cond *cond,
                       dfo_cond *gcond, double *out)
{
    const dfo_flow *flow = c->flow;
    const dfo_cond *given = flow->cond_d ? cond : NULL;
    switch (c->what) {
    case LOG_PROB:
        return dfoi_flow_log_prob(flow, run, x, given, out);
    case LOG_PROB_DRAWS:
        return dfoi_flow_log_prob_draws(flow, run, x, given, c->draws, out);
    case LOG_PROB_GRAD: {
        double *one = dfoi_take_doubles(run, x.n);
        for (size_t i = 0; i < x.n; i++)
            one[i] = 1;
        for (size_t p = 0; gcond && p < gcond->n; p++)
            for (size_t i = 0; gcond->part[p].rows.x && i < x.n; i++)
                memset(dfo_row(gcond->part[p].rows, i), 0, gcond->part[p].rows.d * sizeof(dfo_real));
        DFO_TRY(dfoi_flow_log_prob_grad(flow, run, x, given, one, out, gx, gcond));
        dfoi_flow_condition_back(flow, run, gcond);
        return DFO_OK;
    }
    case ENCODE:
        memset(out, 0, x.n * sizeof *out);
        return dfoi_flow_forward(flow, run, x, given, out);
    case DECODE:
        memset(out, 0, x.n * sizeof *out);
        return dfoi_flow_inverse(flow, run, x, given, out);
    case SAMPLE_GIVEN: {
        dfo_batch y = dfoi_given_take(run, gx, x.n);
        DFO_TRY(dfoi_flow_forward(flow, run, y, given, NULL));
        dfoi_given_mark(gx, y);
        DFO_TRY(dfo_dist_sample_given(flow->base, run, x, flow->base->conds ? given : NULL, c->temperature, y, c->noise));
        DFO_TRY(dfoi_flow_inverse(flow, run, x, given, NULL));
        if (!(c->noise > 0))
            dfoi_given_put(gx, x);
        return DFO_OK;
    }
    case SAMPLE:                           /* without log-dets: of continuous layers these are most of the work */
        DFO_TRY(dfo_dist_sample(flow->base, run, x, flow->base->conds ? given : NULL, c->temperature));
        return dfoi_flow_inverse(flow, run, x, given, NULL);
    case DECODE_BACKWARD:                  /* out holds its glogdet */
        return dfo_bijector_inverse_backward(flow->bij, run, x, gx, given, NULL, out);
    }
    return DFO_OK;
}

dfo_batch dfoi_flow_fill(dfo_run *run, dfo_batch from, size_t rows)
{
    dfo_batch to = dfo_batch_of(dfo_arena_take(run, rows * from.d), rows, from.d);
    for (size_t i = 0; i < rows; i++)
        memcpy(dfo_row(to, i), dfo_row(from, i < from.n ? i : from.n - 1), from.d * sizeof(dfo_real));
    return to;
}

dfo_cond dfoi_flow_fill_cond(const dfo_flow *flow, dfo_run *run, const dfo_cond *cond, size_t first, size_t n, size_t rows)
{
    dfo_cond filled = dfo_cond_rows(cond, first, n);
    for (size_t p = 0; p < filled.n; p++)
        filled.part[p].rows = dfoi_flow_fill(run, filled.part[p].rows, rows);
    dfoi_flow_condition_apply(flow, run, &filled);
    return filled;
}

void dfoi_flow_put_back(dfo_batch from, dfo_batch to)
{
    for (size_t i = 0; to.x && i < to.n; i++)
        memcpy(dfo_row(to, i), dfo_row(from, i), to.d * sizeof(dfo_real));
}

static dfo_status block(void *data, dfo_run *run, size_t first, size_t n)
{
    struct call *c = data;
    size_t full = dfo_flow_block(c->flow);
    dfo_batch x = dfo_batch_rows(c->x, first, n), gx = dfo_batch_rows(c->what == SAMPLE_GIVEN ? c->given : c->gx, first, n);
    int as_given = n == full && !c->flow->condition.on;
    dfo_cond cond = as_given ? dfo_cond_rows(c->cond, first, n) : dfoi_flow_fill_cond(c->flow, run, c->cond, first, n, full);
    dfo_cond gcond = dfo_cond_rows(c->gcond, first, n);
    double *out = dfoi_take_doubles(run, full);
    run->variance = c->variance ? dfoi_take_doubles(run, full) : NULL;
    if (run->variance)
        memset(run->variance, 0, full * sizeof *out);
    for (size_t i = 0; c->what == DECODE_BACKWARD && i < full; i++)
        out[i] = c->glogdet[first + (i < n ? i : n - 1)];
    if (n == full) {
        DFO_TRY(work(c, run, x, gx, &cond, c->gcond ? &gcond : NULL, out));
    } else {
        dfo_batch fx = dfoi_flow_fill(run, x, full), fgx = {0};
        dfo_cond fgcond = gcond;
        if (c->what == LOG_PROB_GRAD)
            fgx = dfo_batch_of(dfo_arena_take(run, full * x.d), full, x.d);
        if (c->what == DECODE_BACKWARD || c->what == SAMPLE_GIVEN)
            fgx = dfoi_flow_fill(run, gx, full);
        for (size_t p = 0; p < gcond.n; p++)
            if (gcond.part[p].rows.x)
                fgcond.part[p].rows = dfoi_flow_fill(run, gcond.part[p].rows, full);
        DFO_TRY(work(c, run, fx, fgx, &cond, c->gcond ? &fgcond : NULL, out));
        dfoi_flow_put_back(fx, x);
        if (c->what != SAMPLE_GIVEN)
            dfoi_flow_put_back(fgx, gx);
        for (size_t p = 0; p < gcond.n; p++)
            dfoi_flow_put_back(fgcond.part[p].rows, gcond.part[p].rows);
    }
    if (c->out)
        memcpy(c->out + first, out, n * sizeof *out);
    if (c->variance)
        memcpy(c->variance + first, run->variance, n * sizeof *out);
    run->variance = NULL;
    return DFO_OK;
}

dfo_status dfoi_flow_fits(const dfo_flow *flow, dfo_ctx *ctx, dfo_batch x, const dfo_cond *cond)
{
    const dfo_bijector *bij = flow->bij;
    size_t parts = cond ? cond->n : 0;
    if (x.d != flow->d || x.ld < x.d)
        return dfoi_fail(ctx, DFO_ESHAPE, "expected rows of %zu features, got %zu", flow->d, x.d);
    if (parts != bij->conds)
        return dfoi_fail(ctx, DFO_ESHAPE, "expected a context of %zu parts, got %zu", bij->conds, parts);
    for (size_t i = 0; i < parts; i++) {
        dfo_batch rows = cond->part[i].rows;
        size_t d = dfo_shape_size(bij->cond[i]);
        if (rows.d != d || rows.ld < d)
            return dfoi_fail(ctx, DFO_ESHAPE, "expected %zu context features a row, got %zu", d, rows.d);
        if (rows.n != x.n)
            return dfoi_fail(ctx, DFO_ESHAPE, "%zu rows but %zu rows of context", x.n, rows.n);
    }
    return DFO_OK;
}

dfo_status dfoi_flow_ready(const dfo_flow *flow, dfo_plan *p, dfo_key key)
{
    uint64_t version = dfo_store_version(flow->store);
    if (p->stale || p->version != version) {
        dfo_run *run = dfoi_plan_single(p, key);
        if (dfoi_flow_prepare(flow, run, p->derived) != DFO_OK)
            return dfoi_plan_error(p, run);
        p->version = version;
        p->stale = 0;
    }
    return DFO_OK;
}

static dfo_status run_call(dfo_flow_plan *plan, struct call *c, dfo_key key)
{
    DFO_TRY(dfoi_flow_fits(plan->flow, plan->plan->ctx, c->x, c->cond));
    DFO_TRY(dfoi_flow_ready(plan->flow, plan->plan, key));
    c->flow = plan->flow;
    return dfoi_plan_blocks(plan->plan, key, c->x.n, block, c);
}

dfo_status dfo_flow_log_prob(dfo_flow_plan *plan, uint64_t first_row, dfo_batch x, const dfo_cond *cond, double *out)
{
    struct call c = {.what = LOG_PROB, .x = x, .cond = cond, .out = out};
    dfo_key key = {.row = first_row, .purpose = DFO_FOR_DEQUANTISE};
    return run_call(plan, &c, key);
}

dfo_status dfo_flow_log_prob_estimate(dfo_flow_plan *plan, uint64_t first_row, dfo_batch x, const dfo_cond *cond, double *out, double *variance)
{
    struct call c = {.what = LOG_PROB, .x = x, .cond = cond, .out = out, .variance = variance};
    dfo_key key = {.row = first_row, .purpose = DFO_FOR_DEQUANTISE};
    return run_call(plan, &c, key);
}

dfo_status dfo_flow_log_prob_draws(dfo_flow_plan *plan, uint64_t first_row, dfo_batch x, const dfo_cond *cond, size_t draws, double *out,
                                   double *variance)
{
    struct call c = {.what = LOG_PROB_DRAWS, .x = x, .cond = cond, .out = out, .variance = variance, .draws = draws};
    dfo_key key = {.row = first_row, .purpose = DFO_FOR_DEQUANTISE};
    if (!draws || draws >= UINT32_MAX)
        return dfoi_fail(plan->plan->ctx, DFO_EARG, "expected at least one draw and less than 2^32 - 1, got %zu", draws);
    return run_call(plan, &c, key);
}

static dfo_status gradients_fit(const dfo_flow_plan *plan, dfo_batch x, dfo_batch gx)
{
    if (!plan->gradients)
        return dfoi_fail(plan->plan->ctx, DFO_EARG, "this plan was made without gradients");
    if (gx.d != x.d || gx.n != x.n || gx.ld < gx.d)
        return dfoi_fail(plan->plan->ctx, DFO_ESHAPE, "gradient: expected (%zu, %zu), got (%zu, %zu)", x.n, x.d,
                         gx.n, gx.d);
    return DFO_OK;
}

dfo_status dfo_flow_log_prob_grad(dfo_flow_plan *plan, uint64_t first_row, dfo_batch x, const dfo_cond *cond,
                                  double *out, dfo_batch gx, dfo_cond *gcond)
{
    struct call c = {.what = LOG_PROB_GRAD, .x = x, .cond = cond, .out = out, .gx = gx, .gcond = gcond};
    dfo_key key = {.row = first_row, .purpose = DFO_FOR_DEQUANTISE};
    DFO_TRY(gradients_fit(plan, x, gx));
    if (gcond && cond && gcond->n != cond->n)
        return dfoi_fail(plan->plan->ctx, DFO_ESHAPE, "gradient of the context: expected %zu parts, got %zu", cond->n,
                         gcond->n);
    for (size_t p = 0; gcond && cond && p < gcond->n; p++) {
        dfo_batch g = gcond->part[p].rows, of = cond->part[p].rows;
        if (g.x && (g.n != of.n || g.d != of.d || g.ld < g.d))
            return dfoi_fail(plan->plan->ctx, DFO_ESHAPE, "gradient of the context: expected (%zu, %zu), got (%zu, %zu)",
                             of.n, of.d, g.n, g.d);
    }
    return run_call(plan, &c, key);
}

dfo_status dfo_flow_encode(dfo_flow_plan *plan, uint64_t first_row, dfo_batch x, const dfo_cond *cond, double *logdet)
{
    struct call c = {.what = ENCODE, .x = x, .cond = cond, .out = logdet};
    dfo_key key = {.row = first_row, .purpose = DFO_FOR_DEQUANTISE};
    return run_call(plan, &c, key);
}

dfo_status dfo_flow_decode(dfo_flow_plan *plan, uint64_t first_row, dfo_batch z, const dfo_cond *cond, double *logdet)
{
    struct call c = {.what = DECODE, .x = z, .cond = cond, .out = logdet};
    dfo_key key = {.row = first_row, .purpose = DFO_FOR_DEQUANTISE};
    return run_call(plan, &c, key);
}

dfo_status dfo_flow_sample(dfo_flow_plan *plan, uint64_t seed, uint64_t first_row, dfo_batch x, const dfo_cond *cond,
                           double temperature)
{
    struct call c = {.what = SAMPLE, .x = x, .cond = cond, .temperature = temperature};
    dfo_key key = {.seed = seed, .row = first_row, .purpose = DFO_FOR_BASE};
    return run_call(plan, &c, key);
}

dfo_status dfo_flow_decode_backward(dfo_flow_plan *plan, uint64_t first_row, dfo_batch x, dfo_batch gx, const dfo_cond *cond,
                                    const double *glogdet)
{
    struct call c = {.what = DECODE_BACKWARD, .x = x, .cond = cond, .gx = gx, .glogdet = glogdet};
    dfo_key key = {.row = first_row, .purpose = DFO_FOR_DEQUANTISE};
    DFO_TRY(gradients_fit(plan, x, gx));
    return run_call(plan, &c, key);
}

dfo_status dfo_flow_sample_given(dfo_flow_plan *plan, uint64_t seed, uint64_t first_row, dfo_batch x, const dfo_cond *cond, double temperature,
                                 dfo_batch given, double noise)
{
    const dfo_flow *flow = plan->flow;
    struct call c = {.what = SAMPLE_GIVEN, .x = x, .cond = cond, .temperature = temperature, .given = given, .noise = noise};
    dfo_key key = {.seed = seed, .row = first_row, .purpose = DFO_FOR_BASE};
    if (!flow->base->ops->sample_given)
        return dfoi_fail(plan->plan->ctx, DFO_EUNSUP, "the base %s has no draws where something is given", flow->base->ops->type);
    DFO_TRY(dfoi_given_check(flow, plan->plan->ctx, dfoi_chain_count(flow->bij), x, given));
    return run_call(plan, &c, key);
}
