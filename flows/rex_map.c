/* Rows through a flow that ends in diffusion, by Rex (Blasingame and Liu 2025): the layers before it as they are; then x = n y, y the
 * layer's rows, over equal steps of the log-SNR from the data's time to noise, with a second state that begins as a copy.  Both
 * states at the noisy end, over n there, are what the way back starts from.
 * With start noise x = alpha y + sigma e there, or at a later time, e from the generator: rows of the law that the net knows at that time, of which
 * y alone lacks the noise.  For a seed it is one to one, and the way back takes the same e off.  */
#include <math.h>
#include <string.h>

#include <diffeo/brownian.h>
#include <diffeo/rex.h>
#include <diffeo/rng.h>
#include "cnf_impl.h"
#include "flow_impl.h"
#include "matching_impl.h"
#include "train/plan_impl.h"

#define FINEST 47                          /* whole numbers resolve rows before the layer to 2^-47, and hold those below 2^14 */

struct dfo_flow_rex {
    dfo_ctx *ctx;
    const dfo_flow *flow;
    const dfo_bijector *layer;             /* the last one, diffusion */
    dfo_flow_rex_options options;
    dfo_brownian noise;
    dfo_rex  *rex;
    double   *t;                           /* (steps + 1) */
    double    n[2], kappa[2];              /* at the two ends */
    double    of_rows, of_noise;           /* x at the start: so much of the layer's rows, and of noise */
    int       bits;                        /* of whole numbers, behind the point */
    dfo_plan *plan;
};

static void draw(const void *data, uint64_t row, size_t d, double s, double t, double *w, double *h)
{
    dfo_brownian_increment(data, row, d, s, t, w, h);
}

/* ---- made and freed */

/* Paths in the clock rho between the grid's ends; the last steps before noise are some 2^-30 of it.  */
static dfo_status choose_noise(dfo_flow_rex *r, const dfo_noise_schedule *schedule)
{
    double low = dfo_noise_schedule_clock(schedule, DFO_CLOCK_RHO, r->t[r->options.steps]);
    double high = dfo_noise_schedule_clock(schedule, DFO_CLOCK_RHO, r->t[0]);
    r->noise = (dfo_brownian){.seed = r->options.seed, .t0 = low, .t1 = high, .tol = ldexp(high - low, -48)};
    return r->options.sde ? dfo_brownian_check(r->ctx, &r->noise) : DFO_OK;
}

static dfo_status make_plan(dfo_flow_rex *r)
{
    size_t block = dfo_flow_block(r->flow);
    struct dfoi_cnf_solve of = {.bij = r->layer};
    dfo_field field = dfoi_diffusion_predictor(&of, r->flow->d, NULL);
    dfo_run how = {.memory = DFO_MEMORY_INVERT};
    dfo_need need = dfoi_flow_need(r->flow, block, &how, 0);
    /* rows, second states, a row's noise, condition of a block; whole numbers, and what they are as numbers; log-dets of the other layers */
    need.scratch += 2 * dfo_arena_size(block * r->flow->d) + dfo_arena_size(r->flow->d) + dfo_arena_size(block * r->flow->cond_d) +
                    2 * dfoi_doubles_size(block * r->flow->d) + dfoi_doubles_size(block) + dfo_rex_scratch(r->rex, &field, block);
    dfo_plan_options plan = {.block = block, .memory = DFO_MEMORY_INVERT, .mode = DFO_EVALUATE};
    return dfo_plan_new(r->ctx, r->flow->store, &need, &plan, &r->plan);
}

static dfo_status choose_start(dfo_flow_rex *r, double first, double noisy)
{
    double *t = &r->options.start_time;
    if (*t <= 0 && *t >= 0)
        *t = first;
    if (!(*t >= first && *t < noisy))
        return dfoi_fail(r->ctx, DFO_EARG, "rex: expected a start from %g, the data's time, to below %g, got %g", first, noisy, *t);
    if (*t > first && !r->options.start_noise)
        return dfoi_fail(r->ctx, DFO_EARG, "rex: rows without noise start at %g, the data's time, got %g", first, *t);
    return DFO_OK;
}

static dfo_status make(dfo_flow_rex *r)
{
    const dfoi_diffusion *d = dfoi_cnf_diffusion(r->layer);
    dfo_flow_rex_options *o = &r->options;
    dfo_time_grid grid = {.kind = "log-snr", .from = d->first, .to = d->noisy};
    dfo_rex_options options;
    DFO_TRY(choose_start(r, grid.from, grid.to));
    grid.from = o->start_time;
    DFO_TRY(dfoi_alloc(r->ctx, o->steps + 1, sizeof *r->t, &r->t));
    DFO_TRY(dfo_noise_schedule_grid(r->ctx, &d->schedule, &grid, o->steps, r->t));
    DFO_TRY(choose_noise(r, &d->schedule));
    dfo_rex_defaults(&options);
    options.schedule = d->schedule;
    options.form = o->sde ? DFO_REX_SDE_DATA : DFO_REX_ODE_DATA;
    options.method = o->method;
    options.zeta = o->zeta;
    options.noise = draw;
    options.noise_data = &r->noise;
    DFO_TRY(dfo_rex_new(r->ctx, &options, &r->rex));
    o->method = dfo_rex_options_of(r->rex)->method;
    for (int end = 0; end < 2; end++) {
        dfo_noise_point at = dfo_noise_schedule_at(&d->schedule, r->t[end ? o->steps : 0]);
        r->n[end] = sqrt(at.alpha * at.alpha + at.sigma * at.sigma);
        r->kappa[end] = o->sde ? at.sigma * at.sigma / at.alpha : at.sigma;
    }
    dfo_noise_point start = dfo_noise_schedule_at(&d->schedule, r->t[0]);
    r->of_rows = o->start_noise ? start.alpha : r->n[0];
    r->of_noise = o->start_noise ? start.sigma : 0;
    r->bits = (int)fmin(60, fmax(0, ceil(FINEST + log2(r->kappa[0] / r->of_rows))));
    return make_plan(r);
}

dfo_status dfo_flow_rex_new(dfo_ctx *ctx, const dfo_flow *flow, const dfo_flow_rex_options *options, dfo_flow_rex **out)
{
    dfo_flow_rex *r;
    size_t at;
    *out = NULL;
    if (!dfo_flow_diffuses(flow))
        return dfoi_fail(ctx, DFO_EUNSUP, "the flow has no diffusion layer: Rex wants one");
    if (!options->steps || options->steps > 1000000)
        return dfoi_fail(ctx, DFO_EARG, "rex: expected from 1 to 1000000 steps, got %zu", options->steps);
    if (options->exact && options->zeta != 1)
        return dfoi_fail(ctx, DFO_EARG, "rex: whole numbers go with a zeta of 1, got %g", options->zeta);
    DFO_TRY(dfoi_alloc(ctx, 1, sizeof *r, &r));
    r->ctx = ctx;
    r->flow = flow;
    r->layer = dfoi_matching_layer(flow, &at);
    r->options = *options;
    dfo_status status = make(r);
    if (status == DFO_OK)
        *out = r;
    else
        dfo_flow_rex_free(r);
    return status;
}

void dfo_flow_rex_free(dfo_flow_rex *r)
{
    if (!r)
        return;
    dfo_plan_free(r->plan);
    dfo_rex_free(r->rex);
    dfoi_free(r->ctx, r->t);
    dfoi_free(r->ctx, r);
}

const dfo_flow_rex_options *dfo_flow_rex_options_of(const dfo_flow_rex *r)
{
    return &r->options;
}

double dfo_flow_rex_growth(const dfo_flow_rex *r)
{
    return dfo_rex_growth(r->rex, r->options.steps, r->t);
}

/* ---- the start */

/* Row i's noise, or NULL.  */
static const dfo_real *noise_of(const dfo_flow_rex *r, const dfo_run *run, size_t i, size_t d, dfo_real *e)
{
    if (!r->options.start_noise)
        return NULL;
    dfo_key key = {.seed = r->options.seed, .row = run->key.row + i, .purpose = DFO_FOR_NOISE};
    dfo_draw_real_normal(key, d, e);
    return e;
}

/* The layer's rows to x, or back.  */
static void start(const dfo_flow_rex *r, dfo_run *run, dfo_batch x, int back)
{
    dfo_real *room = dfo_arena_take(run, x.d);
    for (size_t i = 0; i < x.n; i++) {
        const dfo_real *e = noise_of(r, run, i, x.d, room);
        dfo_real *row = dfo_row(x, i);
        for (size_t j = 0; j < x.d; j++) {
            double add = e ? r->of_noise * (double)e[j] : 0;
            row[j] = (dfo_real)(back ? ((double)row[j] - add) / r->of_rows : (double)row[j] * r->of_rows + add);
        }
    }
}

/* ---- a block of rows */

static dfo_status encode_block(const dfo_flow_rex *r, dfo_run *run, dfo_batch x, const dfo_cond *cond, dfo_batch aux)
{
    struct dfoi_cnf_solve of = {.bij = r->layer};
    dfo_field field = dfoi_diffusion_predictor(&of, r->flow->d, cond);
    DFO_TRY(dfoi_diffusion_others(r->flow, run, x, cond, 0, NULL));
    start(r, run, x, 0);
    dfoi_flow_put_back(x, aux);
    if (dfo_rex_forward(r->rex, &field, run, r->options.steps, r->t, x, aux) != DFO_OK)
        return dfoi_diffusion_named(r->flow, run);
    dfoi_diffusion_scale(x, 1 / r->n[1]);
    dfoi_diffusion_scale(aux, 1 / r->n[1]);
    return DFO_OK;
}

static dfo_status decode_block(const dfo_flow_rex *r, dfo_run *run, dfo_batch z, const dfo_cond *cond, dfo_batch aux)
{
    struct dfoi_cnf_solve of = {.bij = r->layer};
    dfo_field field = dfoi_diffusion_predictor(&of, r->flow->d, cond);
    dfoi_diffusion_scale(z, r->n[1]);
    dfoi_diffusion_scale(aux, r->n[1]);
    if (dfo_rex_inverse(r->rex, &field, run, r->options.steps, r->t, z, aux) != DFO_OK)
        return dfoi_diffusion_named(r->flow, run);
    start(r, run, z, 1);
    return dfoi_diffusion_others(r->flow, run, z, cond, 1, NULL);
}

/* Y = x / kappa.  The rows' part in one product, so that float's y is found again to the last bit; noise, rounded by itself, is added to whole
 * numbers and comes off as it came.  */
static dfo_status to_whole(const dfo_flow_rex *r, dfo_run *run, dfo_batch y, int64_t *whole)
{
    double by = ldexp(r->of_rows / r->kappa[0], r->bits), of_noise = ldexp(r->of_noise / r->kappa[0], r->bits);
    dfo_real *room = dfo_arena_take(run, y.d);
    for (size_t i = 0; i < y.n; i++) {
        const dfo_real *e = noise_of(r, run, i, y.d, room);
        for (size_t j = 0; j < y.d; j++) {
            double number = rint((double)dfo_row(y, i)[j] * by);
            if (!(fabs(number) < ldexp(1, 61)))
                return dfo_run_fail(run, DFO_ENUM, i, "rex, row %llu: %g leaves the range of the grid",
                                    (unsigned long long)(run->key.row + i), (double)dfo_row(y, i)[j]);
            whole[i * y.d + j] = (int64_t)number + (e ? (int64_t)rint((double)e[j] * of_noise) : 0);
        }
    }
    return DFO_OK;
}

/* Y at the start without its noise.  */
static void without_noise(const dfo_flow_rex *r, dfo_run *run, int64_t *whole, size_t n, size_t d)
{
    double of_noise = ldexp(r->of_noise / r->kappa[0], r->bits);
    dfo_real *room = dfo_arena_take(run, d);
    for (size_t i = 0; i < n; i++) {
        const dfo_real *e = noise_of(r, run, i, d, room);
        for (size_t j = 0; e && j < d; j++)
            whole[i * d + j] -= (int64_t)rint((double)e[j] * of_noise);
    }
}

static void from_whole(const dfo_flow_rex *r, int end, const int64_t *whole, dfo_batch y)
{
    double by = ldexp((end ? r->n[1] : r->of_rows) / r->kappa[end], r->bits);
    for (size_t i = 0; i < y.n; i++)
        for (size_t j = 0; j < y.d; j++)
            dfo_row(y, i)[j] = (dfo_real)((double)whole[i * y.d + j] / by);
}

/* Where the net finds x/alpha for data, in the least noise, Y' = Y/rho over the clock rho: down it Y shrinks with rho, and the difference of
 * the two states, which noise feeds (sqrt(rho) at first), grows as 1/rho, zeta being 1.  With a net that knows what is data this ends where
 * noise hides it; one that has learned little lets it go on to the end.  */
static void parting(const dfo_flow_rex *r, dfo_run *run)
{
    const dfo_noise_schedule *of = &dfoi_cnf_diffusion(r->layer)->schedule;
    double rho = dfo_noise_schedule_clock(of, DFO_CLOCK_RHO, r->t[0]) / dfo_noise_schedule_clock(of, DFO_CLOCK_RHO, r->t[r->options.steps]);
    (void)dfo_run_wrap(run, "along the SDE from t = %.3g the two states part, by up to %.1e times; more steps, a model of more training or of a later "
                            "\"first\", or the ODE keep them: ", r->t[0], rho);
}

static dfo_status encode_whole(const dfo_flow_rex *r, dfo_run *run, dfo_batch x, const dfo_cond *cond, int64_t *y, int64_t *yh)
{
    struct dfoi_cnf_solve of = {.bij = r->layer};
    dfo_field field = dfoi_diffusion_predictor(&of, r->flow->d, cond);
    DFO_TRY(dfoi_diffusion_others(r->flow, run, x, cond, 0, NULL));
    dfo_status status = to_whole(r, run, x, y);
    memcpy(yh, y, x.n * x.d * sizeof *y);
    if (status == DFO_OK) {
        status = dfo_rex_fixed_forward(r->rex, &field, run, r->options.steps, r->t, r->bits, x.n, y, yh);
        if (status == DFO_ENUM && r->options.sde)
            parting(r, run);
    }
    if (status != DFO_OK)
        return dfoi_diffusion_named(r->flow, run);
    from_whole(r, 1, y, x);
    return DFO_OK;
}

static dfo_status decode_whole(const dfo_flow_rex *r, dfo_run *run, dfo_batch x, const dfo_cond *cond, int64_t *y, int64_t *yh)
{
    struct dfoi_cnf_solve of = {.bij = r->layer};
    dfo_field field = dfoi_diffusion_predictor(&of, r->flow->d, cond);
    if (dfo_rex_fixed_inverse(r->rex, &field, run, r->options.steps, r->t, r->bits, x.n, y, yh) != DFO_OK)
        return dfoi_diffusion_named(r->flow, run);
    without_noise(r, run, y, x.n, x.d);
    from_whole(r, 0, y, x);
    return dfoi_diffusion_others(r->flow, run, x, cond, 1, NULL);
}

/* ---- calls */

struct call {
    const dfo_flow_rex *rex;
    int             back;
    dfo_batch       x, aux;
    int64_t        *y, *yh;                /* encoding: written; decoding: read */
    const dfo_cond *cond;
};

/* n rows of whole numbers in scratch of `full`, the last of them repeated.  */
static int64_t *take_whole(dfo_run *run, const int64_t *from, size_t n, size_t full, size_t d)
{
    int64_t *to = (int64_t *)(void *)dfoi_take_doubles(run, full * d);
    for (size_t i = 0; from && i < full; i++)
        memcpy(to + i * d, from + (i < n ? i : n - 1) * d, d * sizeof *to);
    return to;
}

static dfo_status whole_block(const struct call *c, dfo_run *run, dfo_batch x, const dfo_cond *cond, size_t first, size_t n)
{
    size_t d = x.d, at = first * d, bytes = n * d * sizeof(int64_t);
    int64_t *y = take_whole(run, c->back ? c->y + at : NULL, n, x.n, d), *yh = take_whole(run, c->back ? c->yh + at : NULL, n, x.n, d);
    if (c->back)
        return decode_whole(c->rex, run, x, cond, y, yh);
    DFO_TRY(encode_whole(c->rex, run, x, cond, y, yh));
    memcpy(c->y + at, y, bytes);
    memcpy(c->yh + at, yh, bytes);
    return DFO_OK;
}

/* The last block is filled up, as in flow_plan.c.  */
static dfo_status block(void *data, dfo_run *run, size_t first, size_t n)
{
    const struct call *c = data;
    size_t full = dfo_flow_block(c->rex->flow);
    dfo_batch x = dfo_batch_rows(c->x, first, n), aux = dfo_batch_rows(c->aux, first, n);
    dfo_batch fx = dfoi_flow_fill(run, x, full), faux = {0};
    dfo_cond cond = dfoi_flow_fill_cond(c->rex->flow, run, c->cond, first, n, full);
    const dfo_cond *given = c->rex->flow->cond_d ? &cond : NULL;
    if (c->rex->options.exact) {
        DFO_TRY(whole_block(c, run, fx, given, first, n));
    } else {
        faux = dfoi_flow_fill(run, aux, full);
        DFO_TRY(c->back ? decode_block(c->rex, run, fx, given, faux) : encode_block(c->rex, run, fx, given, faux));
        dfoi_flow_put_back(faux, aux);
    }
    dfoi_flow_put_back(fx, x);
    return DFO_OK;
}

static dfo_status run_call(dfo_flow_rex *r, struct call *c, uint64_t first_row)
{
    dfo_plan *p = r->plan;
    dfo_key key = {.row = first_row, .purpose = DFO_FOR_DEQUANTISE};
    DFO_TRY(dfoi_flow_fits(r->flow, p->ctx, c->x, c->cond));
    if (!c->rex->options.exact != !c->y)
        return dfoi_fail(p->ctx, DFO_EARG, "rex: made %s whole numbers, called %s", c->y ? "without" : "for", c->y ? "with" : "without");
    if (!c->y && (c->aux.n != c->x.n || c->aux.d != c->x.d || c->aux.ld < c->aux.d))
        return dfoi_fail(p->ctx, DFO_ESHAPE, "second states: expected (%zu, %zu), got (%zu, %zu)", c->x.n, c->x.d, c->aux.n, c->aux.d);
    DFO_TRY(dfoi_flow_ready(r->flow, p, key));
    return dfoi_plan_blocks(p, key, c->x.n, block, c);
}

dfo_status dfo_flow_rex_encode(dfo_flow_rex *r, uint64_t first_row, dfo_batch x, const dfo_cond *cond, dfo_batch aux)
{
    struct call c = {.rex = r, .x = x, .aux = aux, .cond = cond};
    for (size_t i = 0; i < aux.n; i++)
        memset(dfo_row(aux, i), 0, aux.d * sizeof *aux.x);
    return run_call(r, &c, first_row);
}

dfo_status dfo_flow_rex_decode(dfo_flow_rex *r, uint64_t first_row, dfo_batch z, const dfo_cond *cond, dfo_batch aux)
{
    struct call c = {.rex = r, .back = 1, .x = z, .aux = aux, .cond = cond};
    return run_call(r, &c, first_row);
}

dfo_status dfo_flow_rex_encode_exact(dfo_flow_rex *r, uint64_t first_row, dfo_batch x, const dfo_cond *cond, int64_t *y, int64_t *yh)
{
    struct call c = {.rex = r, .x = x, .y = y, .yh = yh, .cond = cond};
    return run_call(r, &c, first_row);
}

dfo_status dfo_flow_rex_decode_exact(dfo_flow_rex *r, uint64_t first_row, dfo_batch x, const dfo_cond *cond, const int64_t *y,
                                     const int64_t *yh)
{
    struct call c = {.rex = r, .back = 1, .x = x, .y = (int64_t *)y, .yh = (int64_t *)yh, .cond = cond};
    return run_call(r, &c, first_row);
}
