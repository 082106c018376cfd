/* Densities of rows whose whole numbers are dequantised, or which lack something, by several draws k of what is added, or missing:
 * every one gives p_k, whose mean over draws is the row's probability (Burda et al. 2016; of dequantisation: Ho et al. 2019,
 * section 3), and
 *
 *     log P = log 1/K sum_k p_k,     variance = sum_k (p_k/p - 1)^2 / (K (K - 1)),  p their mean.
 *
 * The sum is kept by the running largest log p_k.  E log P is below log of the probability, and rises to it with K.  */
#include <math.h>
#include <string.h>

#include "flow_impl.h"
#include "layer_impl.h"

struct sums {
    double *most, *sum, *squares;      /* (n) largest log p_k; sums of exp(log p_k - most), of their squares */
};

size_t dfoi_flow_draws_scratch(size_t rows)
{
    return 4 * dfoi_doubles_size(rows);
}

static struct sums sums_new(dfo_run *run, size_t n)
{
    struct sums s = {dfoi_take_doubles(run, n), dfoi_take_doubles(run, n), dfoi_take_doubles(run, n)};
    for (size_t i = 0; i < n; i++) {
        s.most[i] = -INFINITY;
        s.sum[i] = s.squares[i] = 0;
    }
    return s;
}

static void add(struct sums *s, size_t i, double log_p)
{
    double scale = exp(-fabs(log_p - s->most[i]));
    if (log_p == -INFINITY)            /* outside of a bounded base */
        return;
    if (log_p > s->most[i]) {
        s->sum[i] = s->sum[i] * scale + 1;
        s->squares[i] = s->squares[i] * scale * scale + 1;
        s->most[i] = log_p;
    } else {
        s->sum[i] += scale;
        s->squares[i] += scale * scale;
    }
}

/* Each draw begins from the rows, which are kept where gradients would be.  */
dfo_status dfoi_flow_log_prob_draws(const dfo_flow *flow, dfo_run *run, dfo_batch x, const dfo_cond *cond, size_t draws, double *logp)
{
    dfo_batch rows = dfoi_flow_fill(run, x, x.n);
    struct sums s = sums_new(run, x.n);
    double *variance = run->variance, *one = dfoi_take_doubles(run, x.n), k = (double)draws;
    dfo_status status = DFO_OK;
    run->variance = NULL;
    for (run->draw = 1; run->draw <= draws && status == DFO_OK; run->draw++) {
        dfoi_flow_put_back(rows, x);
        status = dfoi_flow_log_prob(flow, run, x, cond, one);
        for (size_t i = 0; i < x.n && status == DFO_OK; i++)
            add(&s, i, one[i]);
    }
    run->draw = 0;
    run->variance = variance;
    for (size_t i = 0; i < x.n && status == DFO_OK; i++) {
        logp[i] = s.most[i] + log(s.sum[i] / k);
        if (variance && draws > 1 && s.sum[i] > 0)
            variance[i] += fmax(0, s.squares[i] / (s.sum[i] * s.sum[i]) - 1 / k) * k / (k - 1);
    }
    return status;
}

int dfoi_flow_lacks(const dfo_flow *flow, dfo_batch x)
{
    int lacks = 0;
    if (dfo_flow_missing(flow) != DFO_MISSING_INTEGRATED)
        return 0;
    for (size_t i = 0; i < x.n && !lacks; i++)
        for (size_t j = 0; j < x.d; j++)
            lacks |= isnan(dfo_row(x, i)[j]);
    return lacks;
}

/* Draw k takes the place of the one before with probability p_k/(p_1 + ... + p_k).  The gradient at what is chosen is on the
 * average that of log 1/K sum_k p_k (Burda et al. 2016; of missing values: Mattei and Frellsen 2019).  */
dfo_status dfoi_flow_choose(const dfo_flow *flow, dfo_run *run, dfo_batch x, const dfo_cond *cond, size_t draws, uint32_t *chosen, double *logp)
{
    dfo_batch rows = dfo_batch_of(dfo_arena_take(run, x.n * x.d), x.n, x.d);
    struct sums s = sums_new(run, x.n);
    double *one = dfoi_take_doubles(run, x.n), u;
    dfo_real *saved = run->saved;
    dfo_status status = DFO_OK;
    run->saved = NULL;
    for (run->draw = 1; run->draw <= draws && status == DFO_OK; run->draw++) {
        dfoi_flow_put_back(x, rows);
        status = dfoi_flow_log_prob(flow, run, rows, cond, one);
        for (size_t i = 0; i < x.n && status == DFO_OK; i++) {
            dfo_key key = {.seed = run->key.seed ^ run->draw, .row = run->key.row + i, .purpose = DFO_FOR_CHOICE, .step = run->key.step};
            dfo_draw_uniform(key, 0, 1, &u);
            add(&s, i, one[i]);
            if (run->draw == 1 || u * s.sum[i] < exp(one[i] - s.most[i]))
                chosen[i] = run->draw;
        }
    }
    run->draw = 0;
    run->saved = saved;
    for (size_t i = 0; i < x.n && status == DFO_OK; i++)
        logp[i] = s.most[i] + log(s.sum[i] / (double)draws);
    return status;
}
