/* Fitting a flow to a density by its own draws (objectives and sources: <diffeo/variational.h>).
 *
 * With z from the base b and x = T(z), log w = log p(x) + log|det dT/dz| - log b(z).  The gradient of -1/alpha log mean w^alpha
 * is that of -sum_i u_i log w_i at fixed u_i = w_i^alpha / sum w^alpha, and of alpha = 0 with u_i = 1/K: so the way back through T
 * begins with -u_i d log p/dx and -u_i.  */
#include <math.h>
#include <string.h>

#include <diffeo/variational.h>
#include "base/ctx_impl.h"
#include "flow_impl.h"
#include "layer_impl.h"

struct reverse {
    dfo_flow         *flow;
    const dfo_target *target;
    double            alpha;
};

static dfo_flow *flow_of(const dfo_loss *loss)
{
    const struct reverse *r = loss->state;
    return r->flow;
}

static dfo_need need(const dfo_loss *loss, size_t rows, const dfo_run *how, int train)
{
    const dfo_flow *flow = flow_of(loss);
    dfo_need n = dfoi_flow_need(flow, rows, how, train);
    n.scratch += dfo_arena_size(rows * flow->d) + 2 * dfoi_doubles_size(rows * flow->d) +
                 5 * dfoi_doubles_size(rows);
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

/* Draws of a seed's own: those that steps and validation have seen are not the ones that a sample of the same seed has.  */
#define OWN_SEED 0x72657665727365u

static dfo_status draw_base(const dfo_flow *flow, dfo_run *run, dfo_batch x)
{
    dfo_key key = run->key;
    run->key.purpose = DFO_FOR_BASE;
    run->key.seed ^= OWN_SEED;
    run->key.step = run->mode == DFO_TRAIN ? key.step + 1 : 0;
    dfo_status status = dfo_dist_sample(flow->base, run, x, NULL, 1);
    run->key = key;
    return status;
}

/* Draws x and their log weights; gradient (n,d) of log p, or NULL.  */
static dfo_status weigh(const struct reverse *r, dfo_run *run, dfo_batch x, double *log_weight, double *gradient)
{
    const dfo_flow *flow = r->flow;
    double *logdet = dfoi_take_doubles(run, x.n), *base = dfoi_take_doubles(run, x.n), *wide = dfoi_take_doubles(run, x.n * x.d);
    memset(logdet, 0, x.n * sizeof *logdet);
    memset(base, 0, x.n * sizeof *base);
    DFO_TRY(draw_base(flow, run, x));
    DFO_TRY(dfo_dist_log_prob(flow->base, run, x, NULL, base));
    DFO_TRY(dfoi_flow_inverse(flow, run, x, NULL, logdet));
    for (size_t i = 0; i < x.n; i++)
        for (size_t k = 0; k < x.d; k++)
            wide[i * x.d + k] = (double)dfo_row(x, i)[k];
    dfo_status status = r->target->log_prob(r->target, x.n, wide, log_weight, gradient);
    if (status != DFO_OK)
        return dfo_run_fail(run, status, (size_t)-1, "the target's density failed");
    for (size_t i = 0; i < x.n; i++)
        log_weight[i] += logdet[i] - base[i];
    return DFO_OK;
}

/* The objective over n draws, and each one's part u of its gradient.  */
static double objective(double alpha, size_t n, const double *log_weight, double *u)
{
    double top = -INFINITY, sum = 0;
    for (size_t i = 0; i < n; i++)
        top = fmax(top, log_weight[i]);
    if (!(alpha > 0)) {
        for (size_t i = 0; i < n; i++) {
            u[i] = 1 / (double)n;
            sum -= log_weight[i] / (double)n;
        }
        return sum;
    }
    for (size_t i = 0; i < n; i++)
        sum += u[i] = exp(alpha * (log_weight[i] - top));
    for (size_t i = 0; i < n; i++)
        u[i] /= sum;
    return -top - log(sum / (double)n) / alpha;
}

static dfo_status grad(const dfo_loss *loss, dfo_run *run, dfo_minibatch shard, double scale, double *sum)
{
    const struct reverse *r = loss->state;
    dfo_batch x = shard.x;
    if (shard.weight)
        return dfo_run_fail(run, DFO_EARG, (size_t)-1, "reverse: its rows are the flow's own draws and have no weights");
    size_t n = x.n, d = x.d;
    double *log_weight = dfoi_take_doubles(run, n), *u = dfoi_take_doubles(run, n), *gradient = dfoi_take_doubles(run, n * d);
    dfo_batch gx = dfo_batch_of(dfo_arena_take(run, n * d), n, d);
    DFO_TRY(weigh(r, run, x, log_weight, gradient));
    double told = objective(r->alpha, n, log_weight, u);
    if (told == INFINITY)
        return dfo_run_fail(run, DFO_ENUM, (size_t)-1, "reverse: %s of a shard's draws lie outside of the target's support%s",
                            r->alpha > 0 ? "all" : "some", r->alpha > 0 ? "" : ": alpha = 0 is infinite there, one above 0 is not");
    *sum += (double)n * told;
    for (size_t i = 0; i < n; i++) {
        u[i] *= -scale * (double)n;
        for (size_t k = 0; k < d; k++)
            dfo_row(gx, i)[k] = u[i] == 0 ? 0 : (dfo_real)(u[i] * gradient[i * d + k]);      /* outside of the support it is anything */
    }
    return dfoi_flow_inverse_backward(r->flow, run, x, gx, u);
}

static dfo_status eval(const dfo_loss *loss, dfo_run *run, dfo_minibatch shard, double *out)
{
    const struct reverse *r = loss->state;
    size_t n = shard.x.n;
    double *log_weight = dfoi_take_doubles(run, n), *u = dfoi_take_doubles(run, n);
    DFO_TRY(weigh(r, run, shard.x, log_weight, NULL));
    double all = objective(r->alpha, n, log_weight, u);
    for (size_t i = 0; i < n; i++)
        out[i] = r->alpha > 0 ? all : -log_weight[i];
    return DFO_OK;
}

/* Layers that start from data start from the base's draws.  */
static dfo_status init(dfo_loss *loss, dfo_run *run, dfo_minibatch batch)
{
    DFO_TRY(draw_base(flow_of(loss), run, batch.x));
    return dfoi_flow_init(flow_of(loss), run, batch.x, NULL);
}

static dfo_status update(const dfo_loss *loss, dfo_run *run)
{
    return dfo_bijector_update(flow_of(loss)->bij, run);
}

static void reverse_free(dfo_loss *loss)
{
    dfoi_free(loss->ctx, loss->state);
}

static const struct dfo_loss_ops ops = {
    .type = "reverse",
    .need = need,
    .prepare = prepare,
    .pullback = pullback,
    .grad = grad,
    .eval = eval,
    .init = init,
    .update = update,
    .free = reverse_free,
};

static dfo_status check(const dfo_flow *flow, const dfo_target *target, double alpha)
{
    if (flow->d != target->d)
        return dfoi_fail(flow->ctx, DFO_ESHAPE, "a flow of rows of %zu numbers, a target of %zu", flow->d, target->d);
    if (flow->cond_d)
        return dfoi_fail(flow->ctx, DFO_EUNSUP, "expected a flow without a condition, got one of %zu columns", flow->cond_d);
    if (flow->matching.on)
        return dfoi_fail(flow->ctx, DFO_EUNSUP, "a flow with \"matching\" is fitted by rows, not to a density");
    if (flow->base->count || !flow->base->ops->sample || flow->base->ops->bound)
        return dfoi_fail(flow->ctx, DFO_EUNSUP, "expected a base without weights, got %s", flow->base->ops->type);
    if (!(alpha >= 0 && alpha <= 1))
        return dfoi_fail(flow->ctx, DFO_EARG, "alpha: expected a number from 0 to 1, got %g", alpha);
    return DFO_OK;
}

dfo_status dfo_loss_reverse_new(dfo_flow *flow, const dfo_target *target, double alpha, dfo_loss **out)
{
    struct reverse *r;
    *out = NULL;
    DFO_TRY(check(flow, target, alpha));
    DFO_TRY(dfoi_alloc(flow->ctx, 1, sizeof *r, &r));
    dfo_status status = dfoi_alloc(flow->ctx, 1, sizeof **out, out);
    if (status != DFO_OK) {
        dfoi_free(flow->ctx, r);
        return status;
    }
    *r = (struct reverse){flow, target, alpha};
    (*out)->ops = &ops;
    (*out)->ctx = flow->ctx;
    (*out)->store = flow->store;
    (*out)->state = r;
    return DFO_OK;
}
