/* Data to noise and back by every scheme that undoes its steps, and by DDIM, which does not: roundtrip MODEL PICTURES [PLOT.png].
 * The mean squared error of what comes back, in 10, 20 and 50 steps of equal log-SNR, and what the way back multiplies rounding by; first of
 * points of a mixture of Gaussians whose predictor is known, then of the pictures and a diffusion model of them.  All go from data to
 * noise and back from the two states they have there (Blasingame and Liu 2025, table 1).  */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <diffeo/brownian.h>
#include <diffeo/ddim.h>
#include <diffeo/diffeo.h>
#include <diffeo/plot.h>
#include <diffeo/rex.h>
#include "cnf_impl.h"
#include "flow_impl.h"
#include "matching_impl.h"
#include "mixfield.h"

enum { COUNTS = 3, ROWS = 16, FIXED_POINT = 10, FINEST = 47 };
static const size_t counts[COUNTS] = {10, 20, 50};

static const struct scheme {
    const char *name, *ddim, *rex;         /* one of the two */
    size_t iterations;
    int    sde, exact;
} schemes[] = {
    {"ddim", "ddim", NULL, 0, 0, 0},
    {"ddim, fixed point", "ddim", NULL, FIXED_POINT, 0, 0},
    {"edict", "edict", NULL, 0, 0, 0},
    {"bdia", "bdia", NULL, 0, 0, 0},
    {"o-belm", "o-belm", NULL, 0, 0, 0},
    {"rex euler", NULL, "euler", 0, 0, 0},
    {"rex midpoint", NULL, "midpoint", 0, 0, 0},
    {"rex rk4", NULL, "rk4", 0, 0, 0},
    {"rex dopri5", NULL, "dopri5", 0, 0, 0},
    {"rex sde, euler", NULL, "euler-maruyama", 0, 1, 0},
    {"rex sde, shark", NULL, "shark", 0, 1, 0},
    {"rex midpoint, whole", NULL, "midpoint", 0, 0, 1},
};
enum { SCHEMES = sizeof schemes / sizeof *schemes };

/* Rows x (n,d) at the data's time and the predictor of x_0; run: its weights, and what arena it takes besides.  */
struct problem {
    dfo_ctx *ctx;
    dfo_noise_schedule schedule;
    double first;
    dfo_field field;
    dfo_run run;
    dfo_batch x;
};

static void die(const dfo_ctx *ctx)
{
    fprintf(stderr, "roundtrip: %s\n", dfo_ctx_error(ctx));
    exit(1);
}

static void *room(size_t n, size_t size)
{
    void *p = aligned_alloc(64, (n * size + 63) / 64 * 64);
    if (!p)
        exit(1);
    return p;
}

static dfo_batch copy(dfo_batch x)
{
    dfo_batch to = dfo_batch_of(room(x.n * x.d, sizeof *to.x), x.n, x.d);
    for (size_t i = 0; i < x.n; i++)
        memcpy(dfo_row(to, i), dfo_row(x, i), x.d * sizeof *to.x);
    return to;
}

static double apart(dfo_batch x, dfo_batch y)
{
    double sum = 0;
    for (size_t i = 0; i < x.n; i++)
        for (size_t j = 0; j < x.d; j++) {
            double e = (double)dfo_row(x, i)[j] - (double)dfo_row(y, i)[j];
            sum += e * e;
        }
    return sum / (double)(x.n * x.d);
}

static void draw(const void *data, uint64_t row, size_t d, double s, double t, double *w, double *h)
{
    dfo_brownian_increment(data, row, d, s, t, w, h);
}

/* ---- DDIM and its kin */

static double by_ddim(struct problem *p, const struct scheme *s, size_t steps, const double *t, double *growth)
{
    dfo_ddim *ddim;
    dfo_ddim_options o = {.schedule = p->schedule, .scheme = s->ddim, .data = 1, .iterations = s->iterations};
    if (dfo_ddim_new(p->ctx, &o, &ddim))
        die(p->ctx);
    dfo_run run = p->run;
    run.arena_size = dfo_ddim_scratch(ddim, &p->field, p->x.n);
    run.arena = room(run.arena_size, sizeof *run.arena);
    dfo_batch x = copy(p->x), second = copy(p->x), none = dfo_batch_of(NULL, x.n, x.d);
    dfo_batch state = dfo_ddim_pair(ddim) ? second : none;
    int bad = dfo_ddim_forward(ddim, &p->field, &run, steps, t, x, state) || dfo_ddim_inverse(ddim, &p->field, &run, steps, t, x, state);
    double error = bad ? NAN : apart(x, p->x);
    *growth = !strcmp(s->ddim, "edict") ? pow(0.93, -2 * (double)steps) : !strcmp(s->ddim, "bdia") ? pow(0.5, -(double)steps) : NAN;
    free(x.x);
    free(second.x);
    free(run.arena);
    dfo_ddim_free(ddim);
    return error;
}

/* ---- Rex */

/* On whole numbers: those that x is rounded to, there and back.  */
static double on_whole(struct problem *p, const dfo_rex *rex, dfo_run *run, size_t steps, const double *t)
{
    double kappa = dfo_noise_schedule_at(&p->schedule, t[0]).sigma, wrong = 0;
    int bits = (int)fmin(60, fmax(0, ceil(FINEST + log2(kappa))));
    size_t all = p->x.n * p->x.d;
    int64_t *start = room(all, sizeof *start), *y = room(all, sizeof *y), *yh = room(all, sizeof *yh);
    for (size_t i = 0; i < all; i++)
        start[i] = y[i] = yh[i] = (int64_t)rint(ldexp((double)dfo_row(p->x, i / p->x.d)[i % p->x.d] / kappa, bits));
    int bad = dfo_rex_fixed_forward(rex, &p->field, run, steps, t, bits, p->x.n, y, yh) ||
              dfo_rex_fixed_inverse(rex, &p->field, run, steps, t, bits, p->x.n, y, yh);
    for (size_t i = 0; i < all; i++) {
        double e = ldexp((double)(y[i] - start[i]), -bits) * kappa;
        wrong += e * e;
    }
    free(start);
    free(y);
    free(yh);
    return bad ? NAN : wrong / (double)all;
}

static double by_rex(struct problem *p, const struct scheme *s, size_t steps, const double *t, double *growth)
{
    dfo_rex *rex;
    dfo_rex_options o;
    double low = dfo_noise_schedule_clock(&p->schedule, DFO_CLOCK_RHO, t[steps]), high = dfo_noise_schedule_clock(&p->schedule, DFO_CLOCK_RHO, t[0]);
    dfo_brownian noise = {.seed = 1, .t0 = low, .t1 = high, .tol = ldexp(high - low, -48)};
    dfo_rex_defaults(&o);
    o.schedule = p->schedule;
    o.form = s->sde ? DFO_REX_SDE_DATA : DFO_REX_ODE_DATA;
    o.method = s->rex;
    o.zeta = s->exact ? 1 : 0.999;
    o.noise = draw;
    o.noise_data = &noise;
    if (dfo_rex_new(p->ctx, &o, &rex))
        die(p->ctx);
    dfo_run run = p->run;
    size_t whole = 2 * dfoi_doubles_size(p->x.n * p->x.d);
    run.arena_size = dfo_rex_scratch(rex, &p->field, p->x.n) + whole;
    run.arena = room(run.arena_size, sizeof *run.arena);
    *growth = s->exact ? 1 : dfo_rex_growth(rex, steps, t);
    double error;
    if (s->exact) {
        error = on_whole(p, rex, &run, steps, t);
    } else {
        dfo_batch x = copy(p->x), second = copy(p->x);
        int bad = dfo_rex_forward(rex, &p->field, &run, steps, t, x, second) || dfo_rex_inverse(rex, &p->field, &run, steps, t, x, second);
        error = bad ? NAN : apart(x, p->x);
        free(x.x);
        free(second.x);
    }
    free(run.arena);
    dfo_rex_free(rex);
    return error;
}

/* ---- the table */

static void table(struct problem *p, const char *title, double error[SCHEMES][COUNTS])
{
    dfo_time_grid grid = {.kind = "log-snr", .from = p->first, .to = dfo_noise_schedule_noisy(&p->schedule)};
    double t[64], growth[COUNTS];
    printf("# %s, %s: mean squared error, growth of rounding\n%-20s", title, DFO_REAL_NAME, "steps");
    for (size_t k = 0; k < COUNTS; k++)
        printf("  %8zu          ", counts[k]);
    putchar('\n');
    for (size_t s = 0; s < SCHEMES; s++) {
        printf("%-20s", schemes[s].name);
        for (size_t k = 0; k < COUNTS; k++) {
            if (dfo_noise_schedule_grid(p->ctx, &p->schedule, &grid, counts[k], t))
                die(p->ctx);
            error[s][k] = schemes[s].ddim ? by_ddim(p, &schemes[s], counts[k], t, &growth[k]) : by_rex(p, &schemes[s], counts[k], t, &growth[k]);
            printf("  %8.1e", error[s][k]);
            printf(isnan(growth[k]) ? "          " : " (%7.1e)", growth[k]);
        }
        putchar('\n');
        fflush(stdout);
    }
}

static struct problem of_mixture(dfo_ctx *ctx, mixture *m)
{
    struct problem p = {.ctx = ctx, .first = 1e-3, .x = dfo_batch_of(room(2 * ROWS, sizeof *p.x.x), ROWS, 2)};
    *m = (mixture){.data = 1, .n = 3, .w = {0.5, 0.3, 0.2}, .mean = {{1, 0.5}, {-1.2, 0.3}, {0.2, -1}},
                   .cov = {{0.3, 0.1, 0.2}, {0.15, -0.05, 0.4}, {0.25, 0, 0.1}}};
    if (dfo_noise_schedule_named(ctx, "vp", &m->schedule))
        die(ctx);
    p.schedule = m->schedule;
    p.field = mixture_field(m);
    for (size_t i = 0; i < ROWS; i++)
        dfo_draw_real_normal((dfo_key){.row = i, .purpose = DFO_FOR_TEST}, 2, dfo_row(p.x, i));
    return p;
}

/* The pictures through the layers before diffusion.  */
static struct problem of_model(dfo_ctx *ctx, const char *path, const char *pictures, dfo_model **model)
{
    dfo_source *source;
    size_t at;
    if (dfo_model_load(ctx, path, model) || dfo_source_open(ctx, pictures, NULL, &source))
        die(ctx);
    const dfo_flow *flow = dfo_model_flow(*model);
    const dfo_bijector *layer = flow ? dfoi_matching_layer(flow, &at) : NULL;
    if (!layer || !dfo_flow_diffuses(flow) || flow->cond_d) {
        fprintf(stderr, "roundtrip: %s: expected a diffusion model without a condition\n", path);
        exit(1);
    }
    const dfoi_diffusion *d = dfoi_cnf_diffusion(layer);
    dfo_run how = {.memory = DFO_MEMORY_INVERT};
    struct problem p = {.ctx = ctx, .schedule = d->schedule, .first = d->first, .field = dfoi_diffusion_predictor(layer, flow->d, NULL)};
    p.x = dfo_batch_of(room(ROWS * flow->d, sizeof *p.x.x), ROWS, flow->d);
    p.run = (dfo_run){.weights = dfo_store_weights(flow->store), .buffers = dfo_store_buffers(flow->store), .key = {.purpose = DFO_FOR_DEQUANTISE}};
    dfo_run run = p.run;
    run.arena_size = dfoi_flow_need(flow, ROWS, &how, 0).scratch + dfoi_doubles_size(ROWS);
    run.arena = room(run.arena_size, sizeof *run.arena);
    if (dfo_source_read(source, ctx, 0, p.x, NULL))
        die(ctx);
    if (dfoi_diffusion_others(flow, &run, p.x, NULL, 0, NULL)) {
        fprintf(stderr, "roundtrip: %s\n", run.text);
        exit(1);
    }
    dfoi_diffusion_scale(p.x, dfoi_diffusion_data_at(d, d->first).n);
    free(run.arena);
    dfo_source_free(source);
    return p;
}

static void plot(dfo_ctx *ctx, double error[SCHEMES][COUNTS], const char *path)
{
    dfo_plot_series series[SCHEMES];
    double x[COUNTS];
    for (size_t k = 0; k < COUNTS; k++)
        x[k] = (double)counts[k];
    for (size_t s = 0; s < SCHEMES; s++)
        series[s] = (dfo_plot_series){.name = schemes[s].name, .x = x, .y = error[s], .n = COUNTS,
                                      .style = schemes[s].sde ? DFO_PLOT_DASHED : DFO_PLOT_LINE};
    dfo_plot_curves c = {.look = {.title = "Pictures to noise and back, " DFO_REAL_NAME, .x_label = "steps", .y_label = "mean squared error"},
                         .x_scale = DFO_PLOT_LOG, .y_scale = DFO_PLOT_LOG, .series = series, .n = SCHEMES};
    if (dfo_plot_curves_png(ctx, &c, path))
        die(ctx);
}

int main(int argc, char **argv)
{
    double error[SCHEMES][COUNTS];
    mixture m;
    dfo_ctx *ctx;
    dfo_model *model;
    if (argc < 3 || argc > 4 || dfo_ctx_new(&ctx)) {
        fputs("usage: roundtrip MODEL PICTURES [PLOT.png]\n", stderr);
        return 2;
    }
    struct problem p = of_mixture(ctx, &m);
    table(&p, "a mixture of Gaussians", error);
    free(p.x.x);
    p = of_model(ctx, argv[1], argv[2], &model);
    table(&p, "pictures", error);
    if (argc == 4)
        plot(ctx, error, argv[3]);
    free(p.x.x);
    dfo_model_free(model);
    dfo_ctx_free(ctx);
    return 0;
}
