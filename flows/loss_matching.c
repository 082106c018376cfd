/* Flow matching: the field of a continuous flow fitted without solving it.  With a row mapped by the layers before it to x1,
 * noise x0, a time t and a path x(t) between them, the loss of a row is the mean square of f(x(t), t) - dx/dt; its
 * minimiser's flow takes noise to data (Lipman et al. 2023).  Noise and times are functions of seed, step and row.
 * With "given", every row comes with its noise, which stands behind its condition: the latents of a flow that was fitted before,
 * whose paths are made straight so (reflow: Liu et al. 2023).
 * With transport, the noises of a shard are dealt out to its rows at the least sum of squared distances (Pooladian et al.
 * 2023; Tong et al. 2024).  */
#include <string.h>

#include <diffeo/rng.h>
#include "base/ctx_impl.h"
#include "cnf_impl.h"
#include "layer_impl.h"
#include "math/assign_impl.h"
#include "matching_impl.h"

static dfo_flow *flow_of(const dfo_loss *loss)
{
    return loss->state;
}

static const dfo_bijector *layer_of(const dfo_loss *loss)
{
    size_t derived;
    return dfoi_matching_layer(flow_of(loss), &derived);
}

static dfo_need need(const dfo_loss *loss, size_t rows, const dfo_run *how, int train)
{
    const dfo_flow *flow = flow_of(loss);
    const dfo_bijector *layer = layer_of(loss);
    dfo_need n = dfoi_flow_need(flow, rows, how, 0);
    size_t pairs = flow->matching.transport ? dfoi_doubles_size(rows * rows) + dfoi_doubles_size(dfoi_assign_room(rows)) +
                                                   dfoi_doubles_size(rows) : 0;
    size_t own = 4 * dfo_arena_size(rows * flow->d) + 3 * dfoi_doubles_size(rows) + pairs + dfoi_cnf_regress_scratch(layer, rows);
    n.scratch = n.scratch > own ? n.scratch : own;
    if (train)
        n.range = layer->count > n.range ? layer->count : n.range;
    return n;
}

static dfo_status prepare(const dfo_loss *loss, dfo_run *run, dfo_real *derived)
{
    return dfoi_flow_prepare(flow_of(loss), run, derived);
}

/* Rows through the layers before the continuous one, as they are.  */
static dfo_status to_field(const dfo_flow *flow, dfo_run *run, dfo_batch x, const dfo_cond *cond)
{
    dfo_real *derived = run->derived, *saved = run->saved;
    size_t n = dfoi_chain_count(flow->bij), at;
    dfo_status status = DFO_OK;
    run->saved = NULL;
    for (size_t i = 0; i + 1 < n && status == DFO_OK; i++) {
        const dfo_bijector *layer = dfoi_chain_layer(flow->bij, i, &at);
        run->derived = derived ? derived + at : NULL;
        status = dfo_bijector_forward(layer, run, x, cond, NULL);
    }
    run->derived = derived;
    run->saved = saved;
    return status;
}

static dfo_key key_of(const dfo_run *run, size_t i, dfo_purpose purpose)
{
    dfo_key key = {.seed = run->key.seed, .row = run->key.row + i, .purpose = (uint32_t)purpose};
    key.step = run->mode == DFO_TRAIN ? run->key.step : 0;
    return key;
}

/* The noise of every row: its own, or that which the assignment gives it.  */
static void pair(const dfo_flow *flow, dfo_run *run, dfo_batch x1, dfo_batch x0)
{
    size_t n = x1.n, d = x1.d;
    if (!flow->matching.transport)
        return;
    double *cost = dfoi_take_doubles(run, n * n), *room = dfoi_take_doubles(run, dfoi_assign_room(n));
    size_t *to = (size_t *)(void *)dfoi_take_doubles(run, n);
    dfo_batch old = dfo_batch_of(dfo_arena_take(run, n * d), n, d);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++) {
            double sum = 0;
            for (size_t k = 0; k < d; k++) {
                double by = (double)dfo_row(x1, i)[k] - (double)dfo_row(x0, j)[k];
                sum += by * by;
            }
            cost[i * n + j] = sum;
        }
    dfoi_assign(n, cost, room, to);
    memcpy(old.x, x0.x, n * d * sizeof *x0.x);
    for (size_t i = 0; i < n; i++)
        memcpy(dfo_row(x0, i), dfo_row(old, to[i]), d * sizeof *x0.x);
}

/* A minibatch's condition without the noise behind it.  */
static dfo_cond condition(const dfo_flow *flow, const dfo_minibatch *b)
{
    dfo_cond cond = b->cond;
    if (!flow->matching.given)
        return cond;
    cond.n = flow->cond_d > 0;
    cond.part[0].rows.d = flow->cond_d;
    cond.part[0].shape = dfo_shape_vector(flow->cond_d);
    return cond;
}

static dfo_status noise(const dfo_flow *flow, dfo_run *run, const dfo_minibatch *b, dfo_batch x0)
{
    const dfo_batch *given = &b->cond.part[0].rows;
    if (flow->matching.given && (!b->cond.n || given->d != flow->cond_d + flow->d))
        return dfo_run_fail(run, DFO_ESHAPE, (size_t)-1, "pairing: given wants the noise of every row, %zu numbers", flow->d);
    for (size_t i = 0; i < x0.n; i++) {
        if (flow->matching.given)
            memcpy(dfo_row(x0, i), dfo_row(*given, i) + flow->cond_d, flow->d * sizeof *x0.x);
        else
            dfo_draw_real_normal(key_of(run, i, DFO_FOR_NOISE), flow->d, dfo_row(x0, i));
    }
    return DFO_OK;
}

/* The rows' losses, and gradients of sum by[i] loss[i] if wanted.  */
static dfo_status regress(const dfo_flow *flow, dfo_run *run, dfo_minibatch shard, const double *by, double *loss)
{
    size_t n = shard.x.n, d = flow->d, at;
    const dfo_bijector *layer = dfoi_matching_layer(flow, &at);
    const dfo_cond own = condition(flow, &shard), *cond = flow->cond_d ? &own : NULL;
    dfo_real *derived = run->derived;
    DFO_TRY(to_field(flow, run, shard.x, cond));
    dfo_batch x0 = dfo_batch_of(dfo_arena_take(run, n * d), n, d), u = dfo_batch_of(dfo_arena_take(run, n * d), n, d);
    dfo_real *e = dfo_arena_take(run, d);
    double *t = dfoi_take_doubles(run, n);
    DFO_TRY(noise(flow, run, &shard, x0));
    pair(flow, run, shard.x, x0);
    for (size_t i = 0; i < n; i++) {
        dfo_key key = key_of(run, i, DFO_FOR_TIME);
        dfo_real *x = dfo_row(shard.x, i);
        dfo_draw_uniform(key, 0, 1, t + i);
        key.purpose = DFO_FOR_PAIRING;
        dfo_draw_real_normal(key, d, e);
        dfoi_matching_path(&flow->matching, t[i], d, dfo_row(x0, i), x, e, x, dfo_row(u, i));
    }
    run->derived = derived ? derived + at : NULL;
    dfo_status status = dfoi_cnf_regress(layer, run, t, shard.x, cond, u, by, loss);
    run->derived = derived;
    return status;
}

static dfo_status grad(const dfo_loss *loss, dfo_run *run, dfo_minibatch shard, double scale, double *sum)
{
    const dfo_flow *flow = flow_of(loss);
    const dfo_bijector *layer = layer_of(loss);
    size_t n = shard.x.n;
    double *out = dfoi_take_doubles(run, n), *by = dfoi_take_doubles(run, n);
    for (size_t i = 0; i < n; i++)
        by[i] = scale * (shard.weight ? shard.weight[i] : 1.0);
    dfo_run_grads_begin(run, layer->first, layer->count, 0, 0);
    dfo_status status = regress(flow, run, shard, by, out);
    dfo_run_grads_done(run, layer->first, layer->count, 0, 0);
    for (size_t i = 0; i < n && status == DFO_OK; i++)
        *sum += out[i] * (shard.weight ? shard.weight[i] : 1.0);
    return status;
}

static dfo_status eval(const dfo_loss *loss, dfo_run *run, dfo_minibatch shard, double *out)
{
    dfo_real *grads = run->grads;
    run->grads = NULL;
    dfo_status status = regress(flow_of(loss), run, shard, NULL, out);
    run->grads = grads;
    return status;
}

static dfo_status init(dfo_loss *loss, dfo_run *run, dfo_minibatch batch)
{
    dfo_flow *flow = flow_of(loss);
    dfo_cond cond = condition(flow, &batch);
    return dfo_bijector_init(flow->bij, run, batch.x, flow->cond_d ? &cond : NULL);
}

static const struct dfo_loss_ops ops = {
    .type = "matching",
    .need = need,
    .prepare = prepare,
    .grad = grad,
    .eval = eval,
    .init = init,
};

static dfo_status matching_new(dfo_flow *flow, dfo_loss **out)
{
    DFO_TRY(dfoi_alloc(flow->ctx, 1, sizeof **out, out));
    (*out)->ops = &ops;
    (*out)->ctx = flow->ctx;
    (*out)->store = flow->store;
    (*out)->state = flow;
    return DFO_OK;
}

dfo_status dfo_loss_flow_new(dfo_flow *flow, dfo_loss **out)
{
    return flow->matching.on ? matching_new(flow, out) : dfo_loss_nll_new(flow, out);
}
