/* See sdefields.h.  */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sdefields.h"
#include "util.h"

/* ---- equations: f, and entry i of G's column k with its slope */

static double drift_of(const struct equation *e, double t, const double *x, size_t i)
{
    switch (e->name[0]) {
    case 'o': return e->a[i] * (e->b[i] - x[i]);                                            /* ou */
    case 'g': return e->a[i % 2] * x[i];                                                        /* gbm */
    case 'n': return strcmp(e->name, "nonlinear_additive") ? i ? -sin(x[0]) - x[1] / 2 : x[1] - x[0] + t / 4
                                                           : i ? cos(x[0]) - x[1] * x[1] * x[1] / 2 : sin(2 * x[1]) - x[0] + t / 4;
    case 's': case 't': return sin(2 * x[i]) - x[i];                                        /* sine, time */
    case 'u': return x[i] * x[i];                                                           /* unbounded */
    default: return 0;                                                                      /* area, quiet */
    }
}

static double noise_of(const struct equation *e, double t, const double *x, size_t i, size_t k, double *slope)
{
    *slope = 0;
    switch (e->name[0]) {
    case 'g': *slope = i == k ? e->b[i % 2] : 0; return *slope * x[i];
    case 'n': if (e->s) return e->s[i * e->m + k];
        *slope = e->b[i] * cos(x[i]);
        return e->a[i] + e->b[i] * sin(x[i]);
    case 'a': return i == k ? i % 2 ? x[i - 1] : 1 : 0;      /* pairs: the second one's noise is the first */
    case 't': return 1 + sin(3 * t);
    default: return e->s ? e->s[i * e->m + k] : 1;
    }
}

static void row_of(dfo_batch x, size_t r, double *out)
{
    for (size_t j = 0; j < x.d; j++)
        out[j] = (double)dfo_row(x, r)[j];
}

static dfo_status eval_drift(const dfo_field *f, dfo_run *run, const double *t, dfo_batch x, dfo_batch dx, double *dq)
{
    double in[MOST];
    (void)run, (void)dq;
    for (size_t r = 0; r < x.n; r++) {
        row_of(x, r, in);
        for (size_t i = 0; i < f->d; i++)
            dfo_row(dx, r)[i] = (dfo_real)drift_of(f->state, t[r], in, i);
    }
    return DFO_OK;
}

/* what: 0 G, 1 the slopes of its diagonal, 2 its correction (of the equations here the diagonal's, or none).  */
static dfo_status noises(const dfo_noise *noise, const double *t, dfo_batch x, int what, dfo_real *out)
{
    double in[MOST], slope;
    for (size_t r = 0; r < x.n; r++) {
        row_of(x, r, in);
        for (size_t i = 0; i < noise->d; i++)
            for (size_t k = 0; k < (noise->m && !what ? noise->m : 1); k++) {
                double g = noise_of(noise->state, t[r], in, i, noise->m && !what ? k : i, &slope);
                *out++ = (dfo_real)(what == 0 ? g : what == 1 ? slope : g * slope);
            }
    }
    return DFO_OK;
}

static dfo_status eval_noise(const dfo_noise *noise, dfo_run *run, const double *t, dfo_batch x, dfo_real *g)
{
    (void)run;
    return noises(noise, t, x, 0, g);
}

static dfo_status eval_slope(const dfo_noise *noise, dfo_run *run, const double *t, dfo_batch x, dfo_real *dg)
{
    (void)run;
    return noises(noise, t, x, 1, dg);
}

static dfo_status eval_correction(const dfo_noise *noise, dfo_run *run, const double *t, dfo_batch x, dfo_real *c)
{
    (void)run;
    return noises(noise, t, x, 2, c);
}

static const struct dfo_field_ops drift_ops = {.type = "test", .eval = eval_drift};
static const struct dfo_noise_ops noise_ops = {.type = "test", .eval = eval_noise, .slope = eval_slope, .correction = eval_correction};

dfo_field sdefield_of(const struct equation *e, size_t d)
{
    return (dfo_field){.ops = &drift_ops, .state = e, .d = d};
}

dfo_noise sdefield_noise(const struct equation *e, size_t d, dfo_noise_kind kind, dfo_calculus calculus)
{
    return (dfo_noise){.ops = &noise_ops, .state = e, .kind = kind, .calculus = calculus, .d = d, .m = e->m};
}

/* ---- solves */

dfo_sde *sdefield_solver(dfo_ctx *ctx, const char *method, size_t steps, double tol)
{
    dfo_sde_options o;
    dfo_sde *sde;
    dfo_sde_defaults(&o);
    o.method = method;
    o.steps = steps;
    o.rtol = o.atol = tol;
    ck_assert_msg(dfo_sde_new(ctx, &o, &sde) == DFO_OK, "%s", dfo_ctx_error(ctx));
    return sde;
}

/* n rows from x, in place; the first one's number.  */
dfo_status sdefield_go(const dfo_sde *sde, const dfo_field *f, const dfo_noise *noise, const dfo_brownian *b, double t0, double t1, size_t n,
                     uint64_t row, dfo_real *x, dfo_sde_report *report, char *text)
{
    dfo_run run = {.arena_size = dfo_sde_scratch(sde, f, noise, n), .key.row = row};
    run.arena = calloc(run.arena_size, sizeof *run.arena);
    memset(run.arena, -1, run.arena_size * sizeof *run.arena);
    dfo_status status = dfo_sde_solve(sde, f, noise, &run, b, t0, t1, dfo_batch_of(x, n, f->d), report);
    ck_assert_uint_eq(run.arena_used, 0);
    if (text)
        snprintf(text, sizeof run.text, "%s", run.text);
    else
        ck_assert_msg(status == DFO_OK, "%s", run.text);
    free(run.arena);
    return status;
}

void sdefield_solve(dfo_ctx *ctx, const char *method, size_t steps, const dfo_field *f, const dfo_noise *noise, const dfo_brownian *b, double t0, double t1,
                  size_t n, dfo_real *x)
{
    dfo_sde *sde = sdefield_solver(ctx, method, steps, 1e-3);
    sdefield_go(sde, f, noise, b, t0, t1, n, 0, x, NULL, NULL);
    dfo_sde_free(sde);
}

void sdefield_start(size_t n, double x0, dfo_real *x)
{
    for (size_t i = 0; i < n; i++)
        x[i] = (dfo_real)x0;
}

const double gbm_mu[2] = {0.7, -0.4}, gbm_sigma[2] = {0.8, 0.5};

/* Geometric Brownian motion at time t from 1 at s, n rows of d; Ito's sense is that of the direction.  */
void sdefield_gbm(dfo_calculus calculus, const dfo_brownian *b, double s, double t, size_t n, size_t d, double *out)
{
    for (size_t r = 0; r < n; r++, out += d) {
        dfo_brownian_increment(b, r, d, s, t, out, NULL);
        for (size_t i = 0; i < d; i++) {
            double sigma = gbm_sigma[i % 2], ito = calculus == DFO_ITO ? copysign(sigma * sigma / 2, t - s) : 0;
            out[i] = exp((gbm_mu[i % 2] - ito) * (t - s) + sigma * out[i]);
        }
    }
}

double sdefield_rms(size_t n, const dfo_real *x, const double *want)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += ((double)x[i] - want[i]) * ((double)x[i] - want[i]);
    return sqrt(sum / (double)n);
}
