/* Samples of a flow that ends in diffusion, by the samplers of <diffeo/denoise.h>: noise y of the base density is x = n y at the noisy
 * level; data come out of it, which the layers before diffusion take to rows.  */
#include <math.h>
#include <string.h>

#include "cnf_impl.h"
#include "flow_impl.h"
#include "matching_impl.h"
#include "train/plan_impl.h"

#define SAMPLER_NUMBERS 32768              /* of images a worker takes fewer rows at a time, 16 of 32x32x3 are work for two; */
#define LEAST_IMAGES 4                     /* not fewer than share products */

struct dfo_flow_denoiser {
    dfo_ctx *ctx;
    const dfo_flow *flow;
    const dfo_bijector *layer;             /* the last one, diffusion */
    dfo_denoiser *denoiser;
    double    n;                           /* at the noisy level */
    uint64_t  seed;
    size_t    block;                       /* rows, a part of the flow's */
    double    given_noise;
    int       takes_given;
    dfo_plan *plan;
};

/* ---- made and freed */

/* Levels to the noise of what is given and from there on, each side's part of them that of its log-SNR: below it the known entries
 * go their own way, and few steps there would find their mean.  */
static dfo_status both_sides(dfo_ctx *ctx, const dfo_noise_schedule *of, const dfo_time_grid *all, double met, size_t steps, double *t)
{
    double snr[3] = {dfo_noise_schedule_clock(of, DFO_CLOCK_LOG_SNR, all->from), dfo_noise_schedule_clock(of, DFO_CLOCK_LOG_SNR, met),
                     dfo_noise_schedule_clock(of, DFO_CLOCK_LOG_SNR, all->to)};
    dfo_time_grid above = {.kind = all->kind, .from = all->from, .to = met}, below = {.kind = "log-snr", .from = met, .to = all->to};
    size_t part = (size_t)((double)(steps - 1) * (snr[2] - snr[1]) / (snr[2] - snr[0]) + 0.5);
    part = part < 1 ? 1 : part > steps - 2 ? steps - 2 : part;
    DFO_TRY(dfo_noise_schedule_grid(ctx, of, &above, steps - 1 - part, t));
    return dfo_noise_schedule_grid(ctx, of, &below, part, t + steps - 1 - part);
}

static dfo_status levels(dfo_ctx *ctx, const dfoi_diffusion *d, const dfo_denoiser_kind *kind, const dfo_denoiser_options *o, const char *grid,
                         size_t steps, double *t)
{
    const dfo_noise_schedule *of = &d->schedule;
    double noisy = d->noisy, met = dfo_noise_schedule_time(of, DFO_CLOCK_CHI, o->given_noise);
    if ((o->given_whole || o->given_noise > 0) && !((noisy - met) * (met - d->first) >= 0))
        return dfoi_fail(ctx, DFO_EARG, "noise %g of what is given: expected %sfrom %.3g to %.3g, what the schedule has", o->given_noise,
                         o->given_whole ? "" : "none, or ",
                         dfo_noise_schedule_clock(of, DFO_CLOCK_CHI, d->first), dfo_noise_schedule_clock(of, DFO_CLOCK_CHI, noisy));
    if (o->given_whole)
        noisy = met;
    /* equal steps of edm's time, sigma, would leave out all that is below one step */
    const char *suits = of->kind == DFO_NOISE_EDM && !strcmp(kind->grid, "uniform") ? "edm" : kind->grid;
    dfo_time_grid how = {.kind = grid ? grid : suits, .from = noisy, .to = d->first};
    t[0] = noisy;
    if (o->given_noise > 0 && !o->given_whole && (noisy - met) * (met - d->first) > 0) {
        if (steps < 3)
            return dfoi_fail(ctx, DFO_EARG, "noise %g of what is given: expected 3 steps at least, got %zu", o->given_noise, steps);
        return both_sides(ctx, of, &how, met, steps, t);
    }
    return steps > 1 ? dfo_noise_schedule_grid(ctx, of, &how, steps - 1, t) : DFO_OK;
}

static dfo_status make_plan(dfo_flow_denoiser *r)
{
    size_t block = dfo_flow_block(r->flow);
    dfo_shape shape = r->layer->shape;
    size_t least = dfoi_cnf_net_layout(r->layer) == DFO_FEATURES ? block : LEAST_IMAGES;      /* dense nets take whole panels */
    while (shape.h * shape.w > 1 && block / 2 >= least && block * r->flow->d > SAMPLER_NUMBERS)
        block /= 2;
    r->block = block;
    struct dfoi_cnf_solve of = {.bij = r->layer};
    dfo_field field = dfoi_diffusion_predictor(&of, r->flow->d, NULL);
    dfo_run how = {.memory = DFO_MEMORY_INVERT};
    dfo_need need = dfoi_flow_need(r->flow, block, &how, 0);
    /* rows, what is given of them and condition of a block; log-dets of the other layers, both ways */
    need.scratch += 2 * dfo_arena_size(block * r->flow->d) + dfo_arena_size(block * r->flow->cond_d) + 2 * dfoi_doubles_size(block) +
                    dfo_denoiser_scratch(r->denoiser, &field, block);
    dfo_plan_options plan = {.block = block, .memory = DFO_MEMORY_INVERT, .mode = DFO_EVALUATE};
    return dfo_plan_new(r->ctx, r->flow->store, &need, &plan, &r->plan);
}

static dfo_status make(dfo_flow_denoiser *r, dfo_denoiser_options *o, const char *grid, size_t steps)
{
    const dfoi_diffusion *d = dfoi_cnf_diffusion(r->layer);
    const dfo_denoiser_kind *kind;
    double *t;
    o->sampler = o->sampler ? o->sampler : dfo_denoiser_kind_at(0)->name;
    o->schedule = d->schedule;
    r->seed = o->seed;
    r->given_noise = o->given_noise;
    DFO_TRY(dfo_denoiser_kind_named(r->ctx, o->sampler, &kind));
    r->takes_given = (kind->takes & DFO_TAKES_GIVEN) != 0;
    DFO_TRY(dfoi_alloc(r->ctx, steps, sizeof *t, &t));
    dfo_status status = levels(r->ctx, d, kind, o, grid, steps, t);
    dfo_noise_point at = dfo_noise_schedule_at(&d->schedule, t[0]);
    r->n = sqrt(at.alpha * at.alpha + at.sigma * at.sigma);
    if (status == DFO_OK)
        status = dfo_denoiser_new(r->ctx, o, steps, t, &r->denoiser);
    dfoi_free(r->ctx, t);
    return status == DFO_OK ? make_plan(r) : status;
}

dfo_status dfo_flow_denoiser_new(dfo_ctx *ctx, const dfo_flow *flow, const dfo_denoiser_options *options, const char *grid, size_t steps,
                                 dfo_flow_denoiser **out)
{
    dfo_flow_denoiser *r;
    dfo_denoiser_options o = *options;
    size_t at;
    *out = NULL;
    if (!dfo_flow_diffuses(flow))
        return dfoi_fail(ctx, DFO_EUNSUP, "the flow has no diffusion layer: samplers want one");
    if (!steps || steps > 1000000)
        return dfoi_fail(ctx, DFO_EARG, "sampler: expected from 1 to 1000000 steps, got %zu", steps);
    DFO_TRY(dfoi_alloc(ctx, 1, sizeof *r, &r));
    r->ctx = ctx;
    r->flow = flow;
    r->layer = dfoi_matching_layer(flow, &at);
    dfo_status status = make(r, &o, grid, steps);
    if (status == DFO_OK)
        *out = r;
    else
        dfo_flow_denoiser_free(r);
    return status;
}

void dfo_flow_denoiser_free(dfo_flow_denoiser *r)
{
    if (!r)
        return;
    dfo_plan_free(r->plan);
    dfo_denoiser_free(r->denoiser);
    dfoi_free(r->ctx, r);
}

double dfo_flow_denoiser_nfe(const dfo_flow_denoiser *r)
{
    uint64_t evaluations, solves;
    dfo_plan_evaluations(r->plan, &evaluations, &solves);
    return solves ? (double)evaluations / (double)solves : 0;
}

/* ---- draws */

struct call {
    const dfo_flow_denoiser *of;
    dfo_batch       x, given;
    const dfo_cond *cond;
};

/* given: of the rows, or nothing.  */
static dfo_status draw_block(const dfo_flow_denoiser *r, dfo_run *run, dfo_batch x, dfo_batch given, const dfo_cond *cond)
{
    dfo_batch y = {0};
    struct dfoi_cnf_solve of = {.bij = r->layer};
    dfo_field field = dfoi_diffusion_predictor(&of, r->flow->d, cond);
    DFO_TRY(dfo_dist_sample(r->flow->base, run, x, r->flow->base->conds ? cond : NULL, 1));
    dfoi_diffusion_scale(x, r->n);
    run->solves++;
    if (given.x) {
        y = dfoi_given_take(run, given, x.n);
        DFO_TRY(dfoi_diffusion_others(r->flow, run, y, cond, 0, NULL));
        dfoi_given_mark(given, y);
    }
    if (dfo_denoiser_run_given(r->denoiser, &field, run, x, y) != DFO_OK)
        return dfoi_diffusion_named(r->flow, run);
    return dfoi_diffusion_others(r->flow, run, x, cond, 1, NULL);
}

/* The last block is filled up, as in flow_plan.c.  */
static dfo_status block(void *data, dfo_run *run, size_t first, size_t n)
{
    const struct call *c = data;
    size_t full = c->of->block;
    dfo_batch x = dfo_batch_rows(c->x, first, n), fx = dfoi_flow_fill(run, x, full);
    dfo_cond cond = dfoi_flow_fill_cond(c->of->flow, run, c->cond, first, n, full);
    dfo_batch given = dfo_batch_rows(c->given, first, n);
    DFO_TRY(draw_block(c->of, run, fx, given, c->of->flow->cond_d ? &cond : NULL));
    dfoi_flow_put_back(fx, x);
    if (given.x && !(c->of->given_noise > 0))
        dfoi_given_put(given, x);
    return DFO_OK;
}

static dfo_status draw(dfo_flow_denoiser *r, uint64_t first_row, struct call *c)
{
    dfo_key key = {.seed = r->seed, .row = first_row, .purpose = DFO_FOR_BASE};
    DFO_TRY(dfoi_flow_fits(r->flow, r->ctx, c->x, c->cond));
    DFO_TRY(dfoi_flow_ready(r->flow, r->plan, key));
    return dfoi_plan_blocks(r->plan, key, c->x.n, block, c);
}

dfo_status dfo_flow_denoiser_draw(dfo_flow_denoiser *r, uint64_t first_row, dfo_batch x, const dfo_cond *cond)
{
    return draw(r, first_row, &(struct call){.of = r, .x = x, .cond = cond});
}

dfo_status dfo_flow_denoiser_draw_given(dfo_flow_denoiser *r, uint64_t first_row, dfo_batch x, const dfo_cond *cond, dfo_batch given)
{
    if (!r->takes_given)
        return dfoi_fail(r->ctx, DFO_EUNSUP, "rex: it goes all the way at once, and takes nothing that is given");
    DFO_TRY(dfoi_given_check(r->flow, r->ctx, dfoi_chain_count(r->flow->bij) - 1, x, given));
    return draw(r, first_row, &(struct call){.of = r, .x = x, .given = given, .cond = cond});
}
