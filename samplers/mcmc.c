/* Markov chains side by side (sources: <diffeo/mcmc.h>).
 *
 * In units of the columns' scales s (inverse mass s^2) a leapfrog step is, g being the gradient of log p,
 *     v += e/2 s g(x),  x += e s v,  v += e/2 s g(x),       v ~ N(0, 1) at first,
 * and x is accepted with probability min(1, exp(log p - |v|^2/2 after - before)); MALA is that with one step.  A random walk is
 * x + e s v without the gradient.  A way through a place of density 0 is turned down: it would be so from its other end too.
 *
 * Dual averaging (Hoffman and Gelman 2014, eq. 6, with their gamma, t0 and kappa) aims the mean over chains of that probability at
 * what was asked for.  */
#include <math.h>
#include <string.h>

#include <diffeo/mcmc.h>
#include <diffeo/rng.h>
#include "base/ctx_impl.h"

#define GAMMA 0.05
#define T0 10
#define KAPPA 0.75
#define DIVERGES 1000                  /* energy */
#define FIRST_WINDOW 25                /* iterations, then twice as many and so on */
#define SEARCHES 100                   /* halvings or doublings of the first step */

struct chains {
    dfo_ctx *ctx;
    const dfo_target *target;
    const dfo_mcmc_options *o;
    size_t  n, d;
    double *x, *g, *logp;              /* (n,d), (n,d), (n): where they are */
    double *y, *gy, *ylogp;            /* where they may go */
    double *v, *energy, *accept;       /* (n,d), (n) of v, (n) probabilities */
    double *lot;                       /* (n) */
    double *scale, *mean, *m2;         /* (d); moments of the present window */
    double  counted;
    double  step, mu, error, log_average, averaged;
    uint64_t evaluations, divergences;
};

static dfo_status evaluate(struct chains *c, const double *x, double *logp, double *g)
{
    c->evaluations += c->n;
    dfo_status status = c->target->log_prob(c->target, c->n, x, logp, c->o->kind == DFO_METROPOLIS ? NULL : g);
    if (status != DFO_OK && dfo_ctx_status(c->ctx) == DFO_OK)
        return dfoi_fail(c->ctx, status, "mcmc: the target's density failed");
    return status;
}

/* n normal numbers of chain and iteration (Box and Muller 1958); the uniform behind them, *lot, is for the decision.  */
static void draw(const struct chains *c, size_t chain, uint32_t iteration, double *to, double *lot)
{
    dfo_key key = {.seed = c->o->seed, .row = chain, .purpose = DFO_FOR_MCMC, .step = iteration};
    double u[2];
    for (size_t k = 0; k < c->d; k += 2) {
        dfo_draw_uniform(key, k, 2, u);
        double r = sqrt(-2 * log(u[0]));
        to[k] = r * cos(2 * M_PI * u[1]);
        if (k + 1 < c->d)
            to[k + 1] = r * sin(2 * M_PI * u[1]);
    }
    dfo_draw_uniform(key, (c->d + 1) / 2 * 2, 1, lot);
}

static double kinetic(size_t d, const double *v)
{
    double sum = 0;
    for (size_t k = 0; k < d; k++)
        sum += v[k] * v[k];
    return 0.5 * sum;
}

/* A chain whose density is 0 or no number on the way stays where it was.  */
static void stop_lost(struct chains *c, int *lost)
{
    for (size_t i = 0; i < c->n; i++) {
        lost[i] |= !isfinite(c->ylogp[i]);
        for (size_t k = 0; k < c->d && !lost[i] && c->o->kind != DFO_METROPOLIS; k++)
            lost[i] |= !isfinite(c->gy[i * c->d + k]);
        if (lost[i])
            memcpy(c->y + i * c->d, c->x + i * c->d, c->d * sizeof *c->y);
    }
}

static void kick(struct chains *c, double by)
{
    for (size_t i = 0; i < c->n; i++)
        for (size_t k = 0; k < c->d; k++)
            c->v[i * c->d + k] += by * c->scale[k] * c->gy[i * c->d + k];
}

static void drift(struct chains *c)
{
    for (size_t i = 0; i < c->n; i++)
        for (size_t k = 0; k < c->d; k++)
            c->y[i * c->d + k] += c->step * c->scale[k] * c->v[i * c->d + k];
}

/* From x to y; accept[i] is the probability, energy[i] becomes what H rose by (infinite for a chain that is lost).  */
static dfo_status propose(struct chains *c, size_t steps, int *lost)
{
    int walk = c->o->kind == DFO_METROPOLIS;
    memset(lost, 0, c->n * sizeof *lost);
    memcpy(c->y, c->x, c->n * c->d * sizeof *c->y);
    memcpy(c->gy, c->g, c->n * c->d * sizeof *c->y);
    for (size_t i = 0; i < c->n; i++)
        c->energy[i] = kinetic(c->d, c->v + i * c->d) - c->logp[i];
    for (size_t s = 0; s < (walk ? 1 : steps); s++) {
        if (!walk)
            kick(c, c->step / 2);
        drift(c);
        for (size_t i = 0; i < c->n; i++)          /* too far for a number */
            for (size_t k = 0; k < c->d; k++)
                lost[i] |= !isfinite(c->y[i * c->d + k]);
        for (size_t i = 0; i < c->n; i++)
            if (lost[i])
                memcpy(c->y + i * c->d, c->x + i * c->d, c->d * sizeof *c->y);
        DFO_TRY(evaluate(c, c->y, c->ylogp, c->gy));
        stop_lost(c, lost);
        if (!walk)
            kick(c, c->step / 2);
    }
    for (size_t i = 0; i < c->n; i++) {
        c->energy[i] = lost[i] ? INFINITY : kinetic(c->d, c->v + i * c->d) - c->ylogp[i] - c->energy[i];     /* a walk's v stays as it is */
        if (isnan(c->energy[i]))
            c->energy[i] = INFINITY;
        c->accept[i] = c->energy[i] > 0 ? exp(-c->energy[i]) : 1;
    }
    return DFO_OK;
}

static double mean_acceptance(const struct chains *c)
{
    double sum = 0;
    for (size_t i = 0; i < c->n; i++)
        sum += c->accept[i];
    return sum / (double)c->n;
}

/* Leapfrog steps of an iteration: all chains take as many.  */
static size_t length_of(const struct chains *c, uint32_t iteration)
{
    dfo_key key = {.seed = c->o->seed, .row = c->n, .purpose = DFO_FOR_MCMC, .step = iteration};
    double u;
    if (c->o->kind != DFO_HMC)
        return 1;
    dfo_draw_uniform(key, 0, 1, &u);
    return 1 + (size_t)(u * (double)(2 * c->o->leapfrog - 1));
}

static dfo_status iterate(struct chains *c, uint32_t iteration, int *lost)
{
    for (size_t i = 0; i < c->n; i++)
        draw(c, i, iteration, c->v + i * c->d, c->lot + i);
    DFO_TRY(propose(c, length_of(c, iteration), lost));
    for (size_t i = 0; i < c->n; i++) {
        c->divergences += c->o->kind != DFO_METROPOLIS && c->energy[i] > DIVERGES;
        if (!(c->lot[i] < c->accept[i]))
            continue;
        memcpy(c->x + i * c->d, c->y + i * c->d, c->d * sizeof *c->x);
        memcpy(c->g + i * c->d, c->gy + i * c->d, c->d * sizeof *c->g);
        c->logp[i] = c->ylogp[i];
    }
    return DFO_OK;
}

/* The step at which one leapfrog step's acceptance crosses 1/2 (Hoffman and Gelman 2014, algorithm 4, for the mean over chains).  The
 * chains stay.  */
static dfo_status find_step(struct chains *c, uint32_t place, int *lost)
{
    double lot, first = c->step;
    int grow = 0;
    for (int s = 0; s < SEARCHES; s++) {
        for (size_t i = 0; i < c->n; i++)
            draw(c, i, UINT32_MAX - place, c->v + i * c->d, &lot);
        DFO_TRY(propose(c, 1, lost));
        int high = mean_acceptance(c) > 0.5;
        if (s == 0)
            grow = high;
        if (high != grow)
            return DFO_OK;
        c->step *= grow ? 2 : 0.5;
    }
    return dfoi_fail(c->ctx, DFO_ENUM, "mcmc: no step was found from %g to %g: is the density's gradient right?", first, c->step);
}

static void average_anew(struct chains *c)
{
    c->mu = log(10 * c->step);
    c->error = c->averaged = 0;
    c->log_average = 0;
}

static void adapt_step(struct chains *c)
{
    double m = ++c->averaged, rate = 1 / (m + T0), weight = pow(m, -KAPPA);
    c->error += rate * (c->o->acceptance - mean_acceptance(c) - c->error);
    double log_step = c->mu - sqrt(m) / GAMMA * c->error;
    c->log_average = weight * log_step + (1 - weight) * c->log_average;
    c->step = exp(log_step);
}

static void count_moments(struct chains *c)
{
    for (size_t i = 0; i < c->n; i++) {
        c->counted += 1;
        for (size_t k = 0; k < c->d; k++) {
            double off = c->x[i * c->d + k] - c->mean[k];
            c->mean[k] += off / c->counted;
            c->m2[k] += off * (c->x[i * c->d + k] - c->mean[k]);
        }
    }
}

/* The window's variances, drawn a little towards 1e-3 as Stan draws them; the next window begins.  */
static void take_scales(struct chains *c)
{
    double n = c->counted;
    for (size_t k = 0; k < c->d && n > 1; k++)
        c->scale[k] = sqrt(n / (n + 5) * c->m2[k] / (n - 1) + 1e-3 * 5 / (n + 5));
    c->counted = 0;
    memset(c->mean, 0, c->d * sizeof *c->mean);
    memset(c->m2, 0, c->d * sizeof *c->m2);
}

static dfo_status warm_up(struct chains *c, int *lost)
{
    size_t all = c->o->warmup, from = all * 15 / 100, to = all * 9 / 10, length = FIRST_WINDOW, end = from + length;
    if (!c->o->step)
        DFO_TRY(find_step(c, 0, lost));
    average_anew(c);
    for (size_t t = 0; t < all; t++) {
        end = end + 2 * length > to ? to : end;
        DFO_TRY(dfoi_stopped(c->ctx));
        DFO_TRY(iterate(c, (uint32_t)t, lost));
        adapt_step(c);
        if (!c->o->mass || t < from || t >= to)
            continue;
        count_moments(c);
        if (t + 1 == end) {
            take_scales(c);
            c->step = exp(c->log_average);
            DFO_TRY(find_step(c, (uint32_t)end, lost));
            average_anew(c);
            length *= 2;
            end += length;
        }
    }
    c->step = all ? exp(c->log_average) : c->step;
    return DFO_OK;
}

void dfo_mcmc_defaults(dfo_mcmc_kind kind, dfo_mcmc_options *options)
{
    *options = (dfo_mcmc_options){.kind = kind, .chains = 4, .warmup = 1000, .draws = 1000, .leapfrog = 16, .mass = 1};
    options->acceptance = kind == DFO_HMC ? 0.8 : kind == DFO_MALA ? 0.574 : 0.234;
}

static dfo_status check(dfo_ctx *ctx, const dfo_target *target, const dfo_mcmc_options *o)
{
    if (!target->d || !o->chains || !o->draws)
        return dfoi_fail(ctx, DFO_EARG, "mcmc: no columns, chains or draws (%zu, %zu, %zu)", target->d, o->chains, o->draws);
    if (o->kind == DFO_HMC && (!o->leapfrog || o->leapfrog > 1 << 20))
        return dfoi_fail(ctx, DFO_EARG, "mcmc: leapfrog: expected 1 to %d steps, got %zu", 1 << 20, o->leapfrog);
    if (!(o->step >= 0) || isinf(o->step))
        return dfoi_fail(ctx, DFO_EARG, "mcmc: step: expected a number above 0, or 0, got %g", o->step);
    if (!(o->acceptance > 0 && o->acceptance < 1))
        return dfoi_fail(ctx, DFO_EARG, "mcmc: acceptance: expected a number between 0 and 1, got %g", o->acceptance);
    if (o->warmup > UINT32_MAX / 4 || o->draws > UINT32_MAX / 4)
        return dfoi_fail(ctx, DFO_EARG, "mcmc: at most %u iterations", UINT32_MAX / 4);
    return DFO_OK;
}

/* One block of memory for everything.  */
static dfo_status room(struct chains *c)
{
    size_t n = c->n, d = c->d, rows, all;
    DFO_TRY(dfoi_mul(c->ctx, n, d, "mcmc: chains", &rows));
    DFO_TRY(dfoi_mul(c->ctx, rows, 5, "mcmc: chains", &all));
    DFO_TRY(dfoi_alloc(c->ctx, all + 5 * n + 3 * d, sizeof *c->x, &c->x));
    c->g = c->x + rows;
    c->y = c->g + rows;
    c->gy = c->y + rows;
    c->v = c->gy + rows;
    c->logp = c->v + rows;
    c->ylogp = c->logp + n;
    c->energy = c->ylogp + n;
    c->accept = c->energy + n;
    c->lot = c->accept + n;
    c->scale = c->lot + n;
    c->mean = c->scale + d;
    c->m2 = c->mean + d;
    return DFO_OK;
}

static dfo_status begin(struct chains *c, const double *start)
{
    memcpy(c->x, start, c->n * c->d * sizeof *c->x);
    for (size_t k = 0; k < c->d; k++)
        c->scale[k] = 1;
    c->step = c->o->step > 0 ? c->o->step : 1;
    DFO_TRY(evaluate(c, c->x, c->logp, c->g));
    for (size_t i = 0; i < c->n; i++)
        if (!isfinite(c->logp[i]))
            return dfoi_fail(c->ctx, DFO_ENUM, "mcmc: chain %zu starts where log p is %g", i, c->logp[i]);
    return DFO_OK;
}

dfo_status dfo_mcmc_run(dfo_ctx *ctx, const dfo_target *target, const dfo_mcmc_options *options, const double *start, double *out,
                        double *logp, dfo_mcmc_report *report)
{
    struct chains c = {.ctx = ctx, .target = target, .o = options, .n = options->chains, .d = target->d};
    size_t d = c.d;
    int *lost = NULL;
    double accepted = 0;
    dfo_status status;
    dfo_ctx_clear(ctx);
    DFO_TRY(check(ctx, target, options));
    DFO_GO(room(&c));
    DFO_GO(dfoi_alloc(ctx, c.n, sizeof *lost, &lost));
    DFO_GO(begin(&c, start));
    if (options->warmup)
        DFO_GO(warm_up(&c, lost));
    else if (!options->step)
        DFO_GO(find_step(&c, 0, lost));
    c.divergences = 0;
    for (size_t t = 0; t < options->draws; t++) {
        DFO_GO(dfoi_stopped(ctx));
        DFO_GO(iterate(&c, (uint32_t)(options->warmup + t), lost));
        accepted += mean_acceptance(&c) / (double)options->draws;
        for (size_t i = 0; i < c.n; i++) {
            memcpy(out + (i * options->draws + t) * d, c.x + i * d, d * sizeof *out);
            if (logp)
                logp[i * options->draws + t] = c.logp[i];
        }
    }
    *report = (dfo_mcmc_report){c.step, accepted, c.divergences, c.evaluations};
fail:
    dfoi_free(ctx, lost);
    dfoi_free(ctx, c.x);
    return status;
}
