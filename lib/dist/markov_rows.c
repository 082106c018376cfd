/* Rows along chains of noise (markov.c): the bound, its gradients, draws.  */
#include <math.h>
#include <string.h>

#include "base/ctx_impl.h"
#include "dist/dist_impl.h"
#include "dist/markov_impl.h"
#include "nn/rows_impl.h"

/* Some rows on their way.  */
struct rows {
    dfo_batch x, xt, e, out;        /* out (n, outs d): what the net says, then its gradient */
    dfo_batch time, gxt, gx;        /* gxt, gx: of these rows alone */
    dfo_block block;
    dfo_real *acts;
    double   *log_abar;             /* (T+1) */
    double   *slope;                /* (T+1) of log_abar, or NULL */
    double   *by;                   /* (n) times the terms' gradients */
    size_t   *t;                    /* (n) */
    int      *odd;                  /* (n) 1: NaN, 2: outside the support */
    dfo_key   key;                  /* the run's, before it was moved */
};

static size_t at_once(size_t n)
{
    return n < DFO_NET_ROWS ? n : DFO_NET_ROWS;
}

size_t dfoi_markov_scratch(const dfo_dist *dist, size_t rows)
{
    const struct dfoi_markov *m = dist->state;
    size_t n = at_once(rows), d = dist->d, outs = m->net->out;
    return 4 * dfo_arena_size(n * d) + dfo_arena_size(n * outs) + dfo_arena_size(n) + dfo_arena_size(n * d) +
           dfo_arena_size(dfoi_block_size(m->net->ops->layout, n, outs)) + dfo_arena_size(dfo_net_acts(m->net, n)) +
           2 * dfoi_doubles_size(m->steps + 1) + 3 * dfoi_doubles_size(n) + dfo_net_scratch(m->net, n);
}

static dfo_status take(const dfo_dist *dist, dfo_run *run, size_t rows, int gradients, struct rows *r)
{
    const struct dfoi_markov *m = dist->state;
    size_t n = at_once(rows), d = dist->d, outs = m->net->out;
    memset(r, 0, sizeof *r);
    r->key = run->key;
    r->x = dfo_batch_of(dfoi_take_reals(run, n * d), n, d);
    r->xt = dfo_batch_of(dfoi_take_reals(run, n * d), n, d);
    r->e = dfo_batch_of(dfoi_take_reals(run, n * d), n, d);
    r->out = dfo_batch_of(dfoi_take_reals(run, n * outs), n, outs);
    r->time = dfo_batch_of(dfoi_take_reals(run, n), n, 1);
    r->block = dfoi_block_take(run, m->net->ops->layout, n, outs);
    r->log_abar = dfoi_take_doubles(run, m->steps + 1);
    r->by = dfoi_take_doubles(run, n);
    r->t = (size_t *)(void *)dfoi_take_doubles(run, n);
    r->odd = (int *)(void *)dfoi_take_doubles(run, n);
    if (gradients) {
        r->gxt = dfo_batch_of(dfoi_take_reals(run, n * d), n, d);
        r->gx = dfo_batch_of(dfoi_take_reals(run, n * d), n, d);
        r->acts = dfoi_take_reals(run, dfo_net_acts(m->net, n));
        r->slope = dfoi_take_doubles(run, m->steps + 1);
        if (r->slope)
            memset(r->slope, 0, (m->steps + 1) * sizeof *r->slope);
    }
    return run->status;
}

/* ---- rates */

static double rate(const struct dfoi_markov *m, const dfo_run *run, size_t t)
{
    double steps = (double)m->steps;
    if (m->kind == &dfoi_markov_binary)
        return 1 / (steps - (double)t + 1);
    if (m->learned && t > 1) {
        double w = (double)dfo_run_weights(run, m->schedule)[t - 2];
        return w < 0 ? exp(w) / (1 + exp(w)) : 1 / (1 + exp(-w));
    }
    return m->first + (m->last - m->first) * (m->steps > 1 ? ((double)t - 1) / (steps - 1) : 1);
}

static void rates(const struct dfoi_markov *m, const dfo_run *run, double *log_abar)
{
    log_abar[0] = 0;
    for (size_t t = 1; t <= m->steps; t++)
        log_abar[t] = log_abar[t - 1] + log1p(-rate(m, run, t));
}

static dfoi_markov_step step_of(const struct dfoi_markov *m, const dfo_run *run, const struct rows *r, size_t t)
{
    return (dfoi_markov_step){t, rate(m, run, t), r->log_abar[t], r->log_abar[t - 1]};
}

/* slope_t of log abar_t, the sum of log(1 - sigmoid(w_s)) over s <= t, to the w_s.  */
static void learn_rates(const struct dfoi_markov *m, dfo_run *run, const double *slope)
{
    dfo_real *g = m->learned ? dfo_run_grads(run, m->schedule) : NULL;
    double sum = 0;
    for (size_t t = m->steps; g && t >= 2; t--) {
        sum += slope[t];
        g[t - 2] -= (dfo_real)(rate(m, run, t) * sum);
    }
}

/* ---- the bound */

/* Rows of x without what is no number, which the net need not see; odd says which.  DFO_EARG names a number that is no bit.  */
static dfo_status look(const struct dfoi_markov *m, dfo_run *run, dfo_batch x, size_t first, size_t n, struct rows *r)
{
    int bits = m->kind == &dfoi_markov_binary;
    for (size_t i = 0; i < n; i++) {
        memcpy(dfo_row(r->x, i), dfo_row(x, first + i), x.d * sizeof(dfo_real));
        r->odd[i] = 0;
        for (size_t j = 0; j < x.d; j++) {
            dfo_real v = dfo_row(r->x, i)[j];
            if (!isfinite(v))
                r->odd[i] |= isnan(v) ? 1 : 2;
            else if (bits && v != 0 && v != 1)
                return dfo_run_fail(run, DFO_EARG, i, "row %llu, column %zu: expected 0 or 1, got %.9g",
                                    (unsigned long long)(run->key.row + i), j, (double)v);
        }
        if (r->odd[i])
            memset(dfo_row(r->x, i), 0, x.d * sizeof(dfo_real));
    }
    return DFO_OK;
}

/* Steps of the rows and what they are like there.  t = 0: a step drawn for every row.  */
static void make_noise(const struct dfoi_markov *m, const dfo_run *run, size_t n, size_t d, size_t t, struct rows *r)
{
    for (size_t i = 0; i < n; i++) {
        dfo_key key = run->key;
        key.row += i;
        r->t[i] = t;
        if (t) {
            key.step = (uint32_t)t;
        } else {
            double u;
            key.purpose = DFO_FOR_TIME;
            dfo_draw_uniform(key, 0, 1, &u);
            r->t[i] = 1 + (size_t)(u * (double)m->steps);
            r->t[i] = r->t[i] > m->steps ? m->steps : r->t[i];
        }
        key.purpose = DFO_FOR_NOISE;
        dfoi_markov_step s = step_of(m, run, r, r->t[i]);
        m->kind->noise(&s, d, dfo_row(r->x, i), key, dfo_row(r->e, i), dfo_row(r->xt, i));
        dfo_row(r->time, i)[0] = (dfo_real)r->t[i] / (dfo_real)m->steps;
    }
}

/* What the net sees.  */
static dfo_cond inputs(const struct dfoi_markov *m, dfo_batch x, const dfo_cond *cond, size_t first, size_t n, dfo_batch time)
{
    dfo_cond in = {.n = m->net->parts};
    dfo_cond given = dfo_cond_rows(cond, first, n);
    in.part[0] = (struct dfo_cond_part){dfo_batch_rows(x, 0, n), m->net->part[0]};
    for (size_t p = 0; p < given.n && p + 2 < in.n; p++)
        in.part[p + 1] = given.part[p];
    in.part[in.n - 1] = (struct dfo_cond_part){dfo_batch_rows(time, 0, n), m->net->part[in.n - 1]};
    return in;
}

/* Takes the terms of the rows' steps, times weight, off out, and adds by[i] times their gradients.  */
static dfo_status some_terms(const dfo_dist *dist, dfo_run *run, size_t first, size_t n, const dfo_cond *cond, double weight, struct rows *r,
                             double *out, dfo_cond *gcond)
{
    const struct dfoi_markov *m = dist->state;
    size_t d = dist->d;
    dfo_cond in = inputs(m, r->xt, cond, first, n, r->time);
    r->block.n = n;
    DFO_TRY(dfo_net_forward(m->net, run, &in, r->block, r->acts));
    dfoi_block_to_rows(r->block, dfo_batch_rows(r->out, 0, n));
    for (size_t i = 0; i < n; i++) {
        dfoi_markov_step s = step_of(m, run, r, r->t[i]);
        dfo_real *said = dfo_row(r->out, i);
        dfoi_markov_grads g = {0};
        if (r->slope) {
            g = (dfoi_markov_grads){.net = said, .x = dfo_row(r->gx, i), .noisy = dfo_row(r->gxt, i)};
            memset(g.noisy, 0, d * sizeof *g.noisy);
        }
        out[i] -= weight * m->kind->term(&s, d, dfo_row(r->x, i), dfo_row(r->xt, i), said, r->by[i] * weight, &g);
        if (r->slope) {
            r->slope[s.t] += g.slope.here;
            r->slope[s.t - 1] += g.slope.before;
        }
    }
    if (!r->slope)
        return DFO_OK;
    dfoi_block_from_rows(dfo_batch_rows(r->out, 0, n), r->block);
    dfo_cond gin = {.n = in.n}, given = dfo_cond_rows(gcond, first, n);
    gin.part[0] = (struct dfo_cond_part){dfo_batch_rows(r->gxt, 0, n), in.part[0].shape};
    for (size_t p = 0; p < given.n && p + 2 < in.n; p++)
        gin.part[p + 1] = given.part[p];
    DFO_TRY(dfo_net_backward(m->net, run, &in, r->block, &gin, r->acts));
    for (size_t i = 0; m->kind->noise_grad && i < n; i++) {
        dfoi_markov_step s = step_of(m, run, r, r->t[i]);
        dfoi_markov_grads g = {.x = dfo_row(r->gx, i), .noisy = dfo_row(r->gxt, i)};
        m->kind->noise_grad(&s, d, dfo_row(r->x, i), dfo_row(r->e, i), &g);
        r->slope[s.t] += g.slope.here;
    }
    return DFO_OK;
}

/* The bounds of rows first .. first+n-1, added to out, and glogp times their gradients.  */
static dfo_status some_rows(const dfo_dist *dist, dfo_run *run, dfo_batch x, size_t first, size_t n, const dfo_cond *cond, const double *glogp,
                            struct rows *r, double *out, dfo_batch gx, dfo_cond *gcond)
{
    const struct dfoi_markov *m = dist->state;
    int training = run->mode == DFO_TRAIN;
    size_t passes = training ? 1 : m->steps;
    dfoi_markov_step last = step_of(m, run, r, m->steps);
    double *sum = out;
    DFO_TRY(look(m, run, x, first, n, r));
    for (size_t i = 0; i < n; i++) {
        dfoi_markov_grads g = {0};
        r->by[i] = glogp && !r->odd[i] ? -glogp[first + i] : 0;
        if (r->slope) {
            memset(dfo_row(r->gx, i), 0, x.d * sizeof(dfo_real));
            g.x = dfo_row(r->gx, i);
        }
        sum[i] -= m->kind->last(&last, x.d, dfo_row(r->x, i), r->by[i], &g);
        if (r->slope)
            r->slope[m->steps] += g.slope.here;
    }
    for (size_t k = 1; k <= passes; k++) {
        make_noise(m, run, n, x.d, training ? 0 : k, r);
        DFO_TRY(some_terms(dist, run, first, n, cond, training ? (double)m->steps : 1, r, sum, gcond));
    }
    for (size_t i = 0; i < n; i++) {
        if (r->odd[i])
            sum[i] = r->odd[i] & 1 ? NAN : -INFINITY;
        for (size_t j = 0; gx.x && j < x.d; j++)
            dfo_row(gx, first + i)[j] += r->odd[i] ? (dfo_real)NAN : dfo_row(r->gx, i)[j];
    }
    return DFO_OK;
}

/* Values with glogp = NULL, gradients with out = NULL.  */
static dfo_status all_rows(const dfo_dist *dist, dfo_run *run, dfo_batch x, const dfo_cond *cond, const double *glogp, double *out, dfo_batch gx,
                           dfo_cond *gcond)
{
    const struct dfoi_markov *m = dist->state;
    dfo_status status = DFO_OK;
    double sum[DFO_NET_ROWS];
    struct rows r;
    DFO_TRY(take(dist, run, x.n, glogp != NULL, &r));
    rates(m, run, r.log_abar);
    for (size_t first = 0, n; first < x.n && status == DFO_OK; first += n) {
        n = at_once(x.n - first);
        memset(sum, 0, sizeof sum);
        run->key.row = r.key.row + first;
        status = some_rows(dist, run, x, first, n, cond, glogp, &r, sum, gx, gcond);
        for (size_t i = 0; out && i < n; i++)
            out[first + i] += sum[i];
    }
    run->key = r.key;
    if (glogp && status == DFO_OK)
        learn_rates(m, run, r.slope);
    return status;
}

dfo_status dfoi_markov_log_prob(const dfo_dist *dist, dfo_run *run, dfo_batch x, const dfo_cond *cond, double *out)
{
    return all_rows(dist, run, x, cond, NULL, out, (dfo_batch){0}, NULL);
}

dfo_status dfoi_markov_log_prob_grad(const dfo_dist *dist, dfo_run *run, dfo_batch x, const dfo_cond *cond, const double *glogp, dfo_batch gx,
                                     dfo_cond *gcond)
{
    return x.n ? all_rows(dist, run, x, cond, glogp, NULL, gx, gcond) : DFO_OK;
}

/* ---- draws */

/* given.x NULL: nothing is known.  */
static dfo_status draw_rows(const dfo_dist *dist, dfo_run *run, dfo_batch x, size_t first, size_t n, const dfo_cond *cond, double temperature,
                            dfo_batch given, double noise, struct rows *r)
{
    const struct dfoi_markov *m = dist->state;
    r->block.n = n;
    for (size_t i = 0; i < n; i++)
        m->kind->begin(x.d, dfoi_base_key(run, i), temperature, dfo_row(r->xt, i));
    for (size_t t = m->steps; t; t--) {
        dfoi_markov_step s = step_of(m, run, r, t);
        for (size_t i = 0; i < n; i++)
            dfo_row(r->time, i)[0] = (dfo_real)t / (dfo_real)m->steps;
        dfo_cond in = inputs(m, r->xt, cond, first, n, r->time);
        DFO_TRY(dfo_net_forward(m->net, run, &in, r->block, NULL));
        dfoi_block_to_rows(r->block, dfo_batch_rows(r->out, 0, n));
        for (size_t i = 0; i < n; i++) {
            dfo_key key = dfoi_base_key(run, i);
            key.purpose = DFO_FOR_SAMPLER;         /* not the bound's, which scores rows that were drawn */
            key.step = key.step * (uint32_t)(m->steps + 1) + (uint32_t)t;
            dfoi_markov_given known = {given.x ? dfo_row(given, first + i) : NULL, noise};
            m->kind->step(&s, x.d, dfo_row(r->out, i), key, temperature, given.x ? &known : NULL, dfo_row(r->e, i), dfo_row(r->xt, i));
        }
    }
    for (size_t i = 0; i < n; i++)
        memcpy(dfo_row(x, first + i), dfo_row(r->xt, i), x.d * sizeof(dfo_real));
    return DFO_OK;
}

/* Whether what is given can be: bits are bits, and the noise of a bit does not make it its opposite.  */
static dfo_status look_at_given(const struct dfoi_markov *m, dfo_run *run, dfo_batch given, double noise)
{
    if (m->kind != &dfoi_markov_binary)
        return DFO_OK;
    if (noise >= 0.5)
        return dfo_run_fail(run, DFO_EARG, (size_t)-1, "noise %g: expected the chance of a wrong bit, below 0.5", noise);
    for (size_t i = 0; i < given.n; i++)
        for (size_t j = 0; j < given.d; j++) {
            dfo_real v = dfo_row(given, i)[j];
            if (!isnan(v) && v != 0 && v != 1)
                return dfo_run_fail(run, DFO_EARG, i, "row %llu, column %zu: expected 0 or 1, got %.9g", (unsigned long long)(run->key.row + i),
                                    j, (double)v);
        }
    return DFO_OK;
}

dfo_status dfoi_markov_sample_given(const dfo_dist *dist, dfo_run *run, dfo_batch x, const dfo_cond *cond, double temperature,
                                    dfo_batch given, double noise)
{
    dfo_status status = DFO_OK;
    struct rows r;
    DFO_TRY(look_at_given(dist->state, run, given, noise));
    DFO_TRY(take(dist, run, x.n, 0, &r));
    rates(dist->state, run, r.log_abar);
    for (size_t first = 0, n; first < x.n && status == DFO_OK; first += n) {
        n = at_once(x.n - first);
        run->key.row = r.key.row + first;
        status = draw_rows(dist, run, x, first, n, cond, temperature, given, noise, &r);
    }
    run->key = r.key;
    return status;
}

dfo_status dfoi_markov_sample(const dfo_dist *dist, dfo_run *run, dfo_batch x, const dfo_cond *cond, double temperature)
{
    return dfoi_markov_sample_given(dist, run, x, cond, temperature, (dfo_batch){0}, 0);
}
