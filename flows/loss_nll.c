/* Negative log-likelihood of a flow, in nats a row: what maximum likelihood minimises.  Of rows that lack what the flow integrates
 * out, of DRAWS draws of it (flow_draws.c).  */
#include <string.h>

#include "base/ctx_impl.h"
#include "flow_impl.h"
#include "layer_impl.h"

#define DRAWS 5

static dfo_flow *flow_of(const dfo_loss *loss)
{
    return loss->state;
}

static dfo_need need(const dfo_loss *loss, size_t rows, const dfo_run *how, int train)
{
    dfo_need n = dfoi_flow_need(flow_of(loss), rows, how, train);
    n.scratch += 3 * dfo_arena_size(flow_of(loss)->d);           /* for condition() */
    n.scratch += dfoi_flow_condition_scratch(flow_of(loss), rows);
    if (train)
        n.scratch += dfo_arena_size(rows * flow_of(loss)->d) + 2 * dfoi_doubles_size(rows);
    if (dfo_flow_missing(flow_of(loss)) == DFO_MISSING_INTEGRATED)
        n.scratch += dfo_arena_size(rows * flow_of(loss)->d) + dfoi_flow_draws_scratch(rows) + dfo_arena_size(rows) + dfoi_doubles_size(rows);
    return n;
}

static dfo_status prepare(const dfo_loss *loss, dfo_run *run, dfo_real *derived)
{
    return dfoi_flow_prepare(flow_of(loss), run, derived);
}

static dfo_status pullback(const dfo_loss *loss, dfo_run *run, const dfo_real *derived, const dfo_real *gderived)
{
    return dfo_bijector_pullback(flow_of(loss)->bij, run, derived, gderived);
}

static dfo_status grad(const dfo_loss *loss, dfo_run *run, dfo_minibatch shard, double scale, double *sum)
{
    const dfo_flow *flow = flow_of(loss);
    size_t n = shard.x.n;
    double *logp = dfoi_take_doubles(run, n), *weight = dfoi_take_doubles(run, n);
    dfo_cond own = dfoi_flow_condition(flow, run, &shard.cond);
    const dfo_cond *cond = flow->cond_d ? &own : NULL;
    dfo_batch gx = dfo_batch_of(dfo_arena_take(run, n * flow->d), n, flow->d);
    double *of_draws = NULL;
    for (size_t i = 0; i < n; i++)
        weight[i] = -scale * (shard.weight ? shard.weight[i] : 1.0);
    if (dfoi_flow_lacks(flow, shard.x)) {
        uint32_t *chosen = (uint32_t *)dfo_arena_take(run, n);
        of_draws = dfoi_take_doubles(run, n);
        DFO_TRY(dfoi_flow_choose(flow, run, shard.x, cond, DRAWS, chosen, of_draws));
        run->chosen = chosen;
    }
    dfo_status status = dfoi_flow_log_prob_grad(flow, run, shard.x, cond, weight, logp, gx, NULL);
    run->chosen = NULL;
    DFO_TRY(status);
    for (size_t i = 0; i < n; i++)
        *sum -= (of_draws ? of_draws : logp)[i] * (shard.weight ? shard.weight[i] : 1.0);
    return DFO_OK;
}

static dfo_status eval(const dfo_loss *loss, dfo_run *run, dfo_minibatch shard, double *out)
{
    const dfo_flow *flow = flow_of(loss);
    dfo_cond own = dfoi_flow_condition(flow, run, &shard.cond);
    const dfo_cond *cond = flow->cond_d ? &own : NULL;
    if (dfoi_flow_lacks(flow, shard.x))
        DFO_TRY(dfoi_flow_log_prob_draws(flow, run, shard.x, cond, DRAWS, out));
    else
        DFO_TRY(dfoi_flow_log_prob(flow, run, shard.x, cond, out));
    for (size_t i = 0; i < shard.x.n; i++)
        out[i] = -out[i];
    return DFO_OK;
}

static dfo_status condition(const dfo_loss *loss, dfo_run *run, double *out)
{
    dfo_conditioning c;
    DFO_TRY(dfo_bijector_conditioning(flow_of(loss)->bij, run, &c));
    *out = c.largest / c.smallest;
    return DFO_OK;
}

static dfo_status init(dfo_loss *loss, dfo_run *run, dfo_minibatch batch)
{
    dfo_flow *flow = flow_of(loss);
    dfo_cond own = dfoi_flow_condition(flow, run, &batch.cond);
    return dfo_bijector_init(flow->bij, run, batch.x, flow->cond_d ? &own : NULL);
}

static dfo_status update(const dfo_loss *loss, dfo_run *run)
{
    return dfo_bijector_update(flow_of(loss)->bij, run);
}

static const struct dfo_loss_ops ops = {
    .type = "nll",
    .need = need,
    .prepare = prepare,
    .pullback = pullback,
    .grad = grad,
    .eval = eval,
    .condition = condition,
    .init = init,
    .update = update,
};

dfo_status dfo_loss_nll_new(dfo_flow *flow, dfo_loss **out)
{
    DFO_TRY(dfoi_alloc(flow->ctx, 1, sizeof **out, out));
    (*out)->ops = &ops;
    (*out)->ctx = flow->ctx;
    (*out)->store = flow->store;
    (*out)->state = flow;
    return DFO_OK;
}
