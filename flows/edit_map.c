/* Rows of one condition made into rows of another, by a flow that ends in diffusion: from data to a time on the way to noise along the
 * probability flow of the source's condition, and back along the target's, over equal steps of the log-SNR by Rex (Blasingame and Liu
 * 2025).  That is two-stage editing (ReInversion), noise to that time as the source and from there on as the target, without the way
 * from noise, which the first stage would take back.  Kept entries follow the source: after every step back
 *
 *     x <- m x_edit + (1 - m) x_source,
 *
 * both states of Rex, m = 0 where they are kept; the source's states are found again by stepping back, exactly, and are not stored.
 * Guidance (cnf_guide.c) is the target's alone.  */
#include <math.h>
#include <string.h>

#include <diffeo/rex.h>
#include "cnf_impl.h"
#include "flow_impl.h"
#include "matching_impl.h"
#include "train/plan_impl.h"

struct dfo_flow_editor {
    dfo_ctx *ctx;
    const dfo_flow *flow;
    const dfo_bijector *layer;             /* the last one, diffusion */
    dfo_flow_edit_options options;
    dfo_rex  *rex;
    double   *t;                           /* (steps + 1) from the data's time */
    double    n;                           /* at the data's time */
    unsigned char *keep;                   /* (d) or NULL */
    dfo_plan *plan;
};

/* ---- made and freed */

/* The time at that part of the way to noise: even in the schedule's time; of edm, whose time is sigma, in sigma^(1/7) (Karras et al.
 * 2022, eq. 5).  */
static double time_at(const dfoi_diffusion *d, double strength)
{
    double from = d->first, to = d->noisy;
    if (strength >= 1)
        return to;
    if (d->schedule.kind != DFO_NOISE_EDM)
        return from + strength * (to - from);
    double low = pow(from, 1.0 / 7), high = pow(to, 1.0 / 7);
    return pow(low + strength * (high - low), 7);
}

static dfo_status make_plan(dfo_flow_editor *e)
{
    size_t block = dfo_flow_block(e->flow), d = e->flow->d;
    struct dfoi_cnf_solve of = {.bij = e->layer};
    dfo_field field = dfoi_diffusion_predictor(&of, d, NULL);
    dfo_run how = {.memory = DFO_MEMORY_INVERT};
    dfo_need need = dfoi_flow_need(e->flow, block, &how, 0);
    /* rows, both states of source and target, two conditions of a block; log-dets of the other layers, both ways */
    need.scratch += 5 * dfo_arena_size(block * d) + 2 * dfo_arena_size(block * e->flow->cond_d) + 2 * dfoi_doubles_size(block) +
                    dfo_rex_scratch(e->rex, &field, block);
    dfo_plan_options plan = {.block = block, .memory = DFO_MEMORY_INVERT, .mode = DFO_EVALUATE};
    return dfo_plan_new(e->ctx, e->flow->store, &need, &plan, &e->plan);
}

static dfo_status make(dfo_flow_editor *e, const unsigned char *keep)
{
    const dfoi_diffusion *d = dfoi_cnf_diffusion(e->layer);
    dfo_flow_edit_options *o = &e->options;
    dfo_time_grid grid = {.kind = "log-snr", .from = d->first, .to = time_at(d, o->strength)};
    dfo_noise_point first = dfo_noise_schedule_at(&d->schedule, d->first);
    dfo_rex_options rex;
    e->n = sqrt(first.alpha * first.alpha + first.sigma * first.sigma);
    DFO_TRY(dfoi_alloc(e->ctx, o->steps + 1, sizeof *e->t, &e->t));
    DFO_TRY(dfo_noise_schedule_grid(e->ctx, &d->schedule, &grid, o->steps, e->t));
    dfo_rex_defaults(&rex);
    rex.schedule = d->schedule;
    rex.method = o->method;
    rex.zeta = o->zeta;
    DFO_TRY(dfo_rex_new(e->ctx, &rex, &e->rex));
    o->method = dfo_rex_options_of(e->rex)->method;
    if (keep) {
        DFO_TRY(dfoi_alloc(e->ctx, e->flow->d, 1, &e->keep));
        memcpy(e->keep, keep, e->flow->d);
    }
    return make_plan(e);
}

static dfo_status check(dfo_ctx *ctx, const dfo_flow *flow, const dfo_flow_edit_options *o)
{
    if (!dfo_flow_diffuses(flow))
        return dfoi_fail(ctx, DFO_EUNSUP, "the flow has no diffusion layer: editing wants one");
    if (!flow->cond_d)
        return dfoi_fail(ctx, DFO_EUNSUP, "the flow has no condition: editing goes from one to another");
    if (!o->steps || o->steps > 1000000)
        return dfoi_fail(ctx, DFO_EARG, "edit: expected from 1 to 1000000 steps, got %zu", o->steps);
    if (!(o->strength > 0 && o->strength <= 1))
        return dfoi_fail(ctx, DFO_EARG, "edit: strength %g: expected a number above 0, 1 at most", o->strength);
    if (!isfinite(o->guidance))
        return dfoi_fail(ctx, DFO_EARG, "edit: guidance: expected a number, got %g", o->guidance);
    int guides = o->guidance < 1 || o->guidance > 1;
    if (guides && !(flow->matching.label_dropout > 0))
        return dfoi_fail(ctx, DFO_EUNSUP, "guidance: it was not trained with label_dropout, to know rows without their condition");
    return DFO_OK;
}

dfo_status dfo_flow_editor_new(dfo_ctx *ctx, const dfo_flow *flow, const dfo_flow_edit_options *options, const unsigned char *keep,
                               dfo_flow_editor **out)
{
    dfo_flow_editor *e;
    size_t at;
    *out = NULL;
    DFO_TRY(check(ctx, flow, options));
    DFO_TRY(dfoi_alloc(ctx, 1, sizeof *e, &e));
    e->ctx = ctx;
    e->flow = flow;
    e->layer = dfoi_matching_layer(flow, &at);
    e->options = *options;
    dfo_status status = make(e, keep);
    if (status == DFO_OK)
        *out = e;
    else
        dfo_flow_editor_free(e);
    return status;
}

void dfo_flow_editor_free(dfo_flow_editor *e)
{
    if (!e)
        return;
    dfo_plan_free(e->plan);
    dfo_rex_free(e->rex);
    dfoi_free(e->ctx, e->keep);
    dfoi_free(e->ctx, e->t);
    dfoi_free(e->ctx, e);
}

const dfo_flow_edit_options *dfo_flow_editor_options(const dfo_flow_editor *e)
{
    return &e->options;
}

dfo_noise_point dfo_flow_editor_turn(const dfo_flow_editor *e)
{
    return dfo_noise_schedule_at(&dfoi_cnf_diffusion(e->layer)->schedule, e->t[e->options.steps]);
}

/* ---- a block of rows */

struct call {
    const dfo_flow_editor *of;
    dfo_batch       x;
    const dfo_cond *from, *to;
    double         *off;                   /* (n) or NULL */
};

/* Rex's two states.  */
struct pair {
    dfo_batch x, xh;
};

static struct pair take_pair(dfo_run *run, size_t n, size_t d)
{
    return (struct pair){dfo_batch_of(dfo_arena_take(run, n * d), n, d), dfo_batch_of(dfo_arena_take(run, n * d), n, d)};
}

static void keep_source(const dfo_flow_editor *e, struct pair edit, struct pair source)
{
    for (size_t i = 0; i < edit.x.n; i++)
        for (size_t j = 0; j < edit.x.d; j++)
            if (e->keep[j]) {
                dfo_row(edit.x, i)[j] = dfo_row(source.x, i)[j];
                dfo_row(edit.xh, i)[j] = dfo_row(source.xh, i)[j];
            }
}

/* To the turn as the source, and back as the target.  */
static dfo_status there_and_back(const dfo_flow_editor *e, dfo_run *run, struct pair at, const dfo_cond *from, const dfo_cond *to)
{
    const double unguided = 1;
    struct dfoi_cnf_solve as_source = {.bij = e->layer, .guidance = &unguided}, as_target = {.bij = e->layer, .guidance = &e->options.guidance};
    dfo_field plain = dfoi_diffusion_predictor(&as_source, e->flow->d, from), target = dfoi_diffusion_predictor(&as_target, e->flow->d, to);
    struct pair source = {0};
    size_t steps = e->options.steps;
    dfoi_flow_put_back(at.x, at.xh);
    DFO_TRY(dfo_rex_forward(e->rex, &plain, run, steps, e->t, at.x, at.xh));
    if (!e->keep)
        return dfo_rex_inverse(e->rex, &target, run, steps, e->t, at.x, at.xh);
    source = take_pair(run, at.x.n, at.x.d);
    dfoi_flow_put_back(at.x, source.x);
    dfoi_flow_put_back(at.xh, source.xh);
    for (size_t m = steps; m-- > 0;) {
        DFO_TRY(dfo_rex_inverse(e->rex, &target, run, 1, e->t + m, at.x, at.xh));
        DFO_TRY(dfo_rex_inverse(e->rex, &plain, run, 1, e->t + m, source.x, source.xh));
        keep_source(e, at, source);
    }
    return DFO_OK;
}

/* Kept entries are the caller's own; how far off they were.  */
static double put_kept(const dfo_flow_editor *e, const dfo_real *from, dfo_real *to, size_t d)
{
    double off = 0;
    for (size_t j = 0; e->keep && j < d; j++)
        if (e->keep[j]) {
            off = fmax(off, fabs((double)to[j] - (double)from[j]));
            to[j] = from[j];
        }
    return off;
}

/* The last block is filled up, as in flow_plan.c.  */
static dfo_status block(void *data, dfo_run *run, size_t first, size_t n)
{
    const struct call *c = data;
    const dfo_flow_editor *e = c->of;
    size_t full = dfo_flow_block(e->flow), d = e->flow->d;
    dfo_batch x = dfo_batch_rows(c->x, first, n);
    dfo_cond from = dfoi_flow_fill_cond(e->flow, run, c->from, first, n, full), to = dfoi_flow_fill_cond(e->flow, run, c->to, first, n, full);
    struct pair at = {dfoi_flow_fill(run, x, full), dfo_batch_of(dfo_arena_take(run, full * d), full, d)};
    DFO_TRY(dfoi_diffusion_others(e->flow, run, at.x, &from, 0, NULL));
    dfoi_diffusion_scale(at.x, e->n);
    if (there_and_back(e, run, at, &from, &to) != DFO_OK)
        return dfoi_diffusion_named(e->flow, run);
    dfoi_diffusion_scale(at.x, 1 / e->n);
    DFO_TRY(dfoi_diffusion_others(e->flow, run, at.x, &to, 1, NULL));
    for (size_t i = 0; i < n; i++) {
        double off = put_kept(e, dfo_row(x, i), dfo_row(at.x, i), d);
        if (c->off)
            c->off[first + i] = off;
    }
    dfoi_flow_put_back(at.x, x);
    return DFO_OK;
}

dfo_status dfo_flow_edit(dfo_flow_editor *e, uint64_t first_row, dfo_batch x, const dfo_cond *from, const dfo_cond *to, double *off)
{
    struct call c = {.of = e, .x = x, .from = from, .to = to, .off = off};
    dfo_key key = {.row = first_row, .purpose = DFO_FOR_DEQUANTISE};
    DFO_TRY(dfoi_flow_fits(e->flow, e->ctx, x, from));
    DFO_TRY(dfoi_flow_fits(e->flow, e->ctx, x, to));
    DFO_TRY(dfoi_flow_ready(e->flow, e->plan, key));
    return dfoi_plan_blocks(e->plan, key, x.n, block, &c);
}
