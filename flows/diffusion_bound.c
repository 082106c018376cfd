/* The variational bound of a flow that ends in diffusion (Kingma et al. 2021, eq. 11-18; Ho et al. 2020, eq. 5): with x_0 what the
 * layer is given, d numbers, x = alpha x_0 + sigma e, n^2 = alpha^2 + sigma^2 and l = log(alpha^2/sigma^2),
 *
 *     log p(x_0) >= -KL(q(x_T | x_0) || p(x_T)) - 1/2 int E |e - e(x)|^2 dl + E log N(x_0; x_0(x), (sigma/alpha)^2 I at the data's time),
 *
 * e(x) and x_0(x) being what the net finds in x; where it was trained at k/times the integral is the sum over the chain of so many steps.
 * In the last term |x_0 - x_0(x)|^2 (alpha/sigma)^2 = |e - e(x)|^2.  The first is drawn too: log p(x_T) - log q(x_T | x_0), all but constant.
 * Places are spread evenly over l, one in each of draws/2 parts, twice, so that the halves' difference tells the error.  Of |e - e(x)|^2 is
 * taken off c (|e|^2 - d), whose mean is 0; c = (alpha/n)^4, its part of that square for normal data.  Log-dets of the layers before are
 * added, among them what makes densities of dequantised values log-probabilities of bins.  */
#include <math.h>
#include <string.h>

#include "cnf_impl.h"
#include "flow_impl.h"
#include "matching_impl.h"
#include "train/plan_impl.h"

#define LOG_2PI 1.8378770664093454836

struct dfo_flow_bound {
    dfo_ctx *ctx;
    const dfo_flow *flow;
    const dfo_bijector *layer;             /* the last one, diffusion */
    size_t    draws;
    uint64_t  seed;
    dfo_plan *plan;
};

/* ---- made and freed */

static dfo_status make_plan(dfo_flow_bound *b)
{
    size_t block = dfo_flow_block(b->flow), d = b->flow->d;
    dfo_run how = {.memory = DFO_MEMORY_INVERT};
    dfo_need need = dfoi_flow_need(b->flow, block, &how, 0);
    size_t net = dfoi_cnf_net_scratch(b->layer, block), base = dfo_dist_scratch(b->flow->base, block);
    /* rows, condition, noise, net's input, output and what it should be; times, places, weights, sums of both halves, results, log-dets */
    need.scratch += 5 * dfo_arena_size(block * d) + dfo_arena_size(block * b->flow->cond_d) + 9 * dfoi_doubles_size(block) +
                    (net > base ? net : base);
    dfo_plan_options plan = {.block = block, .memory = DFO_MEMORY_INVERT, .mode = DFO_EVALUATE};
    return dfo_plan_new(b->ctx, b->flow->store, &need, &plan, &b->plan);
}

dfo_status dfo_flow_bound_new(dfo_ctx *ctx, const dfo_flow *flow, size_t draws, uint64_t seed, dfo_flow_bound **out)
{
    dfo_flow_bound *b;
    *out = NULL;
    if (!dfo_flow_diffuses(flow))
        return dfoi_fail(ctx, DFO_EUNSUP, "the flow has no diffusion layer: the bound is of one");
    if (draws < 2 || draws % 2 || draws > 1000000)
        return dfoi_fail(ctx, DFO_EARG, "bound: expected an even number of draws from 2 to 1000000, got %zu", draws);
    DFO_TRY(dfoi_alloc(ctx, 1, sizeof *b, &b));
    *b = (dfo_flow_bound){.ctx = ctx, .flow = flow, .draws = draws, .seed = seed};
    size_t at;
    b->layer = dfoi_matching_layer(flow, &at);
    dfo_status status = make_plan(b);
    if (status == DFO_OK)
        *out = b;
    else
        dfo_flow_bound_free(b);
    return status;
}

void dfo_flow_bound_free(dfo_flow_bound *b)
{
    if (!b)
        return;
    dfo_plan_free(b->plan);
    dfoi_free(b->ctx, b);
}

/* ---- rows of a block */

struct rows {
    dfo_batch x, e, y, said, want;         /* x_0; noise; net's input, what it says and should say */
    double   *time, *place, *weight, *last;
    double   *half[2];
};

static struct rows take(dfo_run *run, dfo_batch x)
{
    struct rows r = {.x = x};
    dfo_batch *const reals[] = {&r.e, &r.y, &r.said, &r.want};
    double **const doubles[] = {&r.time, &r.place, &r.weight, &r.last, &r.half[0], &r.half[1]};
    for (size_t k = 0; k < sizeof reals / sizeof *reals; k++)
        *reals[k] = dfo_batch_of(dfo_arena_take(run, x.n * x.d), x.n, x.d);
    for (size_t k = 0; k < sizeof doubles / sizeof *doubles; k++)
        *doubles[k] = dfoi_take_doubles(run, x.n);
    return r;
}

static dfo_key key_of(const dfo_flow_bound *b, const dfo_run *run, size_t i, dfo_purpose purpose, size_t draw)
{
    return (dfo_key){.seed = b->seed, .row = run->key.row + i, .purpose = (uint32_t)purpose, .step = (uint32_t)draw};
}

static double square(const dfo_real *e, size_t d)
{
    double sum = 0;
    for (size_t j = 0; j < d; j++)
        sum += (double)e[j] * (double)e[j];
    return sum;
}

/* last += log p(x_T) - log q(x_T | x_0).  */
static dfo_status prior(const dfo_flow_bound *b, dfo_run *run, struct rows *r, const dfo_cond *cond, size_t draw, double *sum)
{
    const dfoi_diffusion *of = dfoi_cnf_diffusion(b->layer);
    dfoi_diffusion_point p = dfoi_diffusion_at(of, dfoi_diffusion_noise_place(of));
    double d = (double)r->x.d;
    for (size_t i = 0; i < r->x.n; i++) {
        dfo_draw_real_normal(key_of(b, run, i, DFO_FOR_NOISE, draw), r->x.d, dfo_row(r->e, i));
        dfoi_diffusion_target(of, &p, r->x.d, dfo_row(r->x, i), dfo_row(r->e, i), dfo_row(r->y, i), dfo_row(r->want, i));
        r->last[i] = 0;
        sum[i] += d * (p.at.log_sigma - log(p.n) + LOG_2PI / 2) + square(dfo_row(r->e, i), r->x.d) / 2;
    }
    DFO_TRY(dfoi_flow_base_log_prob(b->flow, run, r->y, cond, r->last));
    for (size_t i = 0; i < r->x.n; i++)
        sum[i] += r->last[i];
    return DFO_OK;
}

/* Takes weight (|e - e(x)|^2 - c (|e|^2 - d)) at the places off the sums.  */
static dfo_status errors(const dfo_flow_bound *b, dfo_run *run, struct rows *r, const dfo_cond *cond, size_t draw, double *sum)
{
    const dfoi_diffusion *of = dfoi_cnf_diffusion(b->layer);
    size_t d = r->x.d;
    for (size_t i = 0; i < r->x.n; i++) {
        dfoi_diffusion_point p = dfoi_diffusion_at(of, r->place[i]);
        double by = dfoi_diffusion_of_net(of, &p), keep = p.at.alpha / p.n;
        dfo_draw_real_normal(key_of(b, run, i, DFO_FOR_NOISE, draw), d, dfo_row(r->e, i));
        dfoi_diffusion_target(of, &p, d, dfo_row(r->x, i), dfo_row(r->e, i), dfo_row(r->y, i), dfo_row(r->want, i));
        r->time[i] = p.net_time;
        sum[i] += r->weight[i] * pow(keep, 4) * (square(dfo_row(r->e, i), d) - (double)d);
        r->weight[i] *= by * by;
    }
    DFO_TRY(dfoi_cnf_net(&(struct dfoi_cnf_solve){.bij = b->layer}, run, r->time, r->y, cond, r->said));
    for (size_t i = 0; i < r->x.n; i++) {
        double off = 0;
        for (size_t j = 0; j < d; j++) {
            double by = (double)dfo_row(r->want, i)[j] - (double)dfo_row(r->said, i)[j];
            off += by * by;
        }
        sum[i] -= r->weight[i] * off;
    }
    return DFO_OK;
}

/* One half: the integral by a place in each part, the ends.  */
static dfo_status half(const dfo_flow_bound *b, dfo_run *run, struct rows *r, const dfo_cond *cond, size_t which)
{
    const dfoi_diffusion *of = dfoi_cnf_diffusion(b->layer);
    size_t parts = b->draws / 2, draw = which * (parts + 2);
    double *sum = r->half[which], end = dfoi_diffusion_data_place(of);
    dfoi_diffusion_point p = dfoi_diffusion_at(of, end);
    for (size_t i = 0; i < r->x.n; i++) {
        sum[i] = (double)r->x.d * (p.at.log_alpha - p.at.log_sigma - LOG_2PI / 2);
        r->place[i] = end;
        r->weight[i] = 0.5;
    }
    DFO_TRY(errors(b, run, r, cond, draw++, sum));
    DFO_TRY(prior(b, run, r, cond, draw++, sum));
    for (size_t k = 0; k < parts; k++, draw++) {
        for (size_t i = 0; i < r->x.n; i++) {
            double u;
            dfo_draw_uniform(key_of(b, run, i, DFO_FOR_TIME, draw), 0, 1, &u);
            dfoi_diffusion_term term = dfoi_diffusion_term_at(of, ((double)k + u) / (double)parts);
            r->place[i] = term.place;
            r->weight[i] = term.weight / (double)parts;
        }
        DFO_TRY(errors(b, run, r, cond, draw, sum));
    }
    return DFO_OK;
}

static dfo_status bound_block(const dfo_flow_bound *b, dfo_run *run, dfo_batch x, const dfo_cond *cond, double *out, double *variance)
{
    memset(out, 0, x.n * sizeof *out);
    DFO_TRY(dfoi_diffusion_others(b->flow, run, x, cond, 0, out));
    struct rows r = take(run, x);
    DFO_TRY(run->status);
    for (size_t which = 0; which < 2; which++)
        if (half(b, run, &r, cond, which) != DFO_OK)
            return dfoi_diffusion_named(b->flow, run);
    for (size_t i = 0; i < x.n; i++) {
        double apart = r.half[0][i] - r.half[1][i];
        out[i] += (r.half[0][i] + r.half[1][i]) / 2;
        variance[i] = apart * apart / 4;
        if (!isfinite(out[i])) {
            dfo_run_fail(run, DFO_ENUM, i, "row %llu: the bound is not finite", (unsigned long long)(run->key.row + i));
            return dfoi_diffusion_named(b->flow, run);
        }
    }
    return DFO_OK;
}

/* ---- calls */

struct call {
    const dfo_flow_bound *of;
    dfo_batch       x;
    const dfo_cond *cond;
    double         *out, *variance;
};

/* The last block is filled up, as in flow_plan.c.  */
static dfo_status block(void *data, dfo_run *run, size_t first, size_t n)
{
    const struct call *c = data;
    size_t full = dfo_flow_block(c->of->flow);
    dfo_batch x = dfo_batch_rows(c->x, first, n), fx = dfoi_flow_fill(run, x, full);
    dfo_cond cond = dfoi_flow_fill_cond(c->of->flow, run, c->cond, first, n, full);
    double *out = dfoi_take_doubles(run, full), *variance = dfoi_take_doubles(run, full);
    DFO_TRY(bound_block(c->of, run, fx, c->of->flow->cond_d ? &cond : NULL, out, variance));
    dfoi_flow_put_back(fx, x);
    memcpy(c->out + first, out, n * sizeof *out);
    memcpy(c->variance + first, variance, n * sizeof *variance);
    return DFO_OK;
}

dfo_status dfo_flow_bound_log_prob(dfo_flow_bound *b, uint64_t first_row, dfo_batch x, const dfo_cond *cond, double *out, double *variance)
{
    struct call c = {.of = b, .x = x, .cond = cond, .out = out, .variance = variance};
    dfo_key key = {.row = first_row, .purpose = DFO_FOR_DEQUANTISE};
    DFO_TRY(dfoi_flow_fits(b->flow, b->ctx, x, cond));
    DFO_TRY(dfoi_flow_ready(b->flow, b->plan, key));
    return dfoi_plan_blocks(b->plan, key, x.n, block, &c);
}
