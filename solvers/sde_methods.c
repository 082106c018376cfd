/* Stochastic Runge-Kutta methods as data, and a step of them: stages take W and the space-time Levy area H of the step.
 *
 * euler-maruyama, milstein, euler-heun, heun: Kloeden and Platen 1992, chapters 10 and 11.  sra1: Roessler 2010, its I_10/h
 * written as W/2 + H.  shark: Foster, dos Reis and Strange 2024, "High order splitting methods for SDEs satisfying a commutativity
 * condition".  spark: Foster 2023, "On the convergence of adaptive approximations for stochastic differential equations",
 * definition 1.6.  Additive noise that changes with time is met at both ends of the step: int g dW = g0 (W/2 + H) + g1 (W/2 - H)
 * but for what is of higher order.  */
#include <math.h>
#include <string.h>

#include "dist/dist_impl.h"
#include "math/kern_impl.h"
#include "sde_impl.h"

#define ROOT3 1.7320508075688772
#define X1 ((3 - ROOT3) / 6)
#define X2 (ROOT3 / 3)
#define BOTH (DFOI_DRIFT | DFOI_NOISE)

static const dfoi_sde_method methods[] = {
    {.name = "euler-maruyama", .text = "Euler and Maruyama, Ito, any noise", .order = {1, 0.5, 0.5}, .stages = 1, .what = {BOTH},
     .y = {.f = {1}, .w = {1}}},
    {.name = "milstein", .text = "Milstein, Ito, additive and diagonal noise", .order = {1, 1, 0}, .stages = 1, .milstein = 1, .what = {BOTH},
     .y = {.f = {1}, .w = {1}}},
    {.name = "milstein-strat", .text = "Milstein, Stratonovich, additive and diagonal noise", .calculus = DFO_STRATONOVICH,
     .order = {1, 1, 0}, .stages = 1, .milstein = 1, .what = {BOTH}, .y = {.f = {1}, .w = {1}}},
    {.name = "euler-heun", .text = "Euler's drift and Heun's noise, Stratonovich, any noise", .calculus = DFO_STRATONOVICH,
     .order = {1, 1, 0.5}, .stages = 2, .what = {BOTH, DFOI_NOISE}, .cg = {0, 1}, .z = {{{0}}, {.w = {1}}},
     .y = {.f = {1}, .w = {0.5, 0.5}}},
    {.name = "heun", .text = "Heun, Stratonovich, any noise", .calculus = DFO_STRATONOVICH, .order = {1, 1, 0.5}, .stages = 2,
     .what = {BOTH, BOTH}, .c = {0, 1}, .cg = {0, 1}, .z = {{{0}}, {.f = {1}, .w = {1}}}, .y = {.f = {0.5, 0.5}, .w = {0.5, 0.5}}},
    {.name = "sra1", .text = "Roessler's SRA1, additive noise", .order = {1.5, 0, 0}, .stages = 2, .levy = 1, .what = {BOTH, BOTH},
     .c = {0, 0.75}, .cg = {0, 1}, .z = {{{0}}, {.f = {0.75}, .w = {0.75}, .a = {1.5}}},
     .y = {.f = {1.0 / 3, 2.0 / 3}, .w = {0.5, 0.5}, .a = {1, -1}}},
    {.name = "shark", .text = "ShARK of Foster et al., additive noise, estimates its errors", .order = {1.5, 0, 0}, .stages = 3, .levy = 1,
     .embedded = 1, .what = {DFOI_NOISE, DFOI_DRIFT, BOTH}, .c = {0, 0, 5.0 / 6}, .cg = {0, 0, 1},
     .z = {{{0}}, {.a = {1}}, {.f = {0, 5.0 / 6}, .w = {5.0 / 6}, .a = {1}}},
     .y = {.f = {0, 0.4, 0.6}, .w = {0.5, 0, 0.5}, .a = {1, 0, -1}}, .e = {.f = {0, -0.6, 0.6}}},
    {.name = "spark", .text = "SPaRK of Foster, Stratonovich, any noise, estimates its errors", .calculus = DFO_STRATONOVICH,
     .order = {1.5, 1, 0.5}, .stages = 3, .levy = 1, .embedded = 1, .what = {BOTH, BOTH, BOTH}, .c = {0, 0.5, 1}, .cg = {0, 0.5, 1},
     .z = {{{0}}, {.f = {0.5}, .w = {0.5}, .a = {ROOT3}}, {.f = {0, 1}, .w = {0, 1}}},
     .y = {.f = {X1, X2, X1}, .w = {X1, X2, X1}, .a = {1, 0, -1}},
     .e = {.f = {X1 - 0.5, X2, X1 - 0.5}, .w = {X1 - 0.5, X2, X1 - 0.5}, .a = {1, 0, -1}}},
};

const dfoi_sde_method *dfoi_sde_method_at(size_t i)
{
    return i < sizeof methods / sizeof *methods ? &methods[i] : NULL;
}

const dfoi_sde_method *dfoi_sde_method_named(const char *name)
{
    for (size_t i = 0; name && i < sizeof methods / sizeof *methods; i++)
        if (!strcmp(methods[i].name, name))
            return &methods[i];
    return NULL;
}

/* ---- memory */

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

size_t dfoi_sde_step_size(const dfoi_sde_method *method, const dfo_field *field, const dfo_noise *noise, size_t rows)
{
    size_t own = field->ops->scratch ? field->ops->scratch(field, rows) : 0;
    return 3 * dfoi_doubles_size(rows) + 2 * dfoi_doubles_size(rows * dfoi_noise_columns(noise)) +
           (3 * method->stages + 4) * dfo_arena_size(rows * field->d) + dfo_arena_size(dfoi_noise_size(noise, rows)) +
           larger(own, dfo_noise_correction_scratch(noise, rows));
}

void dfoi_sde_step_take(dfoi_sde_step *k, const dfoi_sde_method *method, const dfo_field *field, const dfo_noise *noise, dfo_run *run,
                        dfo_batch x)
{
    size_t size = x.n * field->d;
    *k = (dfoi_sde_step){.method = method, .field = field, .noise = noise, .run = run, .x = x, .n = x.n, .m = dfoi_noise_columns(noise)};
    if (noise->kind != DFO_NOISE_ADDITIVE && noise->calculus != method->calculus)
        k->convert = method->calculus == DFO_ITO ? 1 : -1;
    k->t = dfoi_take_doubles(run, x.n);
    k->h = dfoi_take_doubles(run, x.n);
    k->at = dfoi_take_doubles(run, x.n);
    k->w = dfoi_take_doubles(run, x.n * k->m);
    k->area = dfoi_take_doubles(run, x.n * k->m);
    for (size_t s = 0; s < method->stages; s++) {
        k->f[s] = dfo_arena_take(run, size);
        k->gw[s] = dfo_arena_take(run, size);
        k->ga[s] = dfo_arena_take(run, size);
    }
    k->z = dfo_arena_take(run, size);
    k->y = dfo_arena_take(run, size);
    k->err = dfo_arena_take(run, size);
    k->c = dfo_arena_take(run, size);
    k->g = dfo_arena_take(run, dfoi_noise_size(noise, x.n));
}

/* ---- a step */

static const double *times(dfoi_sde_step *k, double c)
{
    for (size_t i = 0; i < k->n; i++)
        k->at[i] = k->t[i] + c * k->h[i];
    return k->at;
}

static dfo_status drift_at(dfoi_sde_step *k, size_t s, dfo_batch at)
{
    size_t mark = k->run->arena_used, size = k->n * k->x.d;
    const double *t = times(k, k->method->c[s]);
    k->drifts++;
    dfo_status status = k->field->ops->eval(k->field, k->run, t, at, dfo_batch_of(k->f[s], k->n, k->x.d), NULL);
    k->run->arena_used = mark;
    DFO_TRY(status);
    if (k->convert != 0) {
        DFO_TRY(dfo_noise_correction(k->noise, k->run, t, at, k->c));
        dfoi_axpy(size, (dfo_real)k->convert, k->c, k->f[s]);
    }
    return DFO_OK;
}

static dfo_status noise_at(dfoi_sde_step *k, size_t s, dfo_batch at)
{
    size_t mark = k->run->arena_used;
    k->noises++;
    dfo_status status = k->noise->ops->eval(k->noise, k->run, times(k, k->method->cg[s]), at, k->g);
    k->run->arena_used = mark;
    DFO_TRY(status);
    dfoi_noise_apply(k->noise, k->n, k->g, k->w, k->gw[s]);
    if (k->method->levy)
        dfoi_noise_apply(k->noise, k->n, k->g, k->area, k->ga[s]);
    return DFO_OK;
}

static void add(size_t d, double by, const dfo_real *x, double *sum)
{
    for (size_t j = 0; by != 0 && j < d; j++)
        sum[j] += by * (double)x[j];
}

#define PANEL 64

/* to = x (or nothing) + how, in double.  */
static void combine(const dfoi_sde_step *k, const dfoi_sde_sum *how, int from_zero, dfo_real *to)
{
    size_t d = k->x.d;
    for (size_t i = 0; i < k->n; i++)
        for (size_t from = 0; from < d; from += PANEL) {
            size_t width = d - from < PANEL ? d - from : PANEL, at = i * d + from;
            double sum[PANEL] = {0};
            if (!from_zero)
                add(width, 1, dfo_row(k->x, i) + from, sum);
            for (size_t s = 0; s < k->method->stages; s++) {
                add(width, k->h[i] * how->f[s], k->f[s] + at, sum);
                add(width, how->w[s], k->gw[s] + at, sum);
                add(width, how->a[s], k->ga[s] + at, sum);
            }
            for (size_t j = 0; j < width; j++)
                to[at + j] = (dfo_real)sum[j];
        }
}

/* y += 1/2 g g' (W^2 - h), Stratonovich's without h.  */
static dfo_status milstein(dfoi_sde_step *k)
{
    size_t d = k->x.d;
    double by = k->method->calculus == DFO_ITO ? 1 : 0;
    DFO_TRY(dfo_noise_correction(k->noise, k->run, times(k, 0), k->x, k->c));
    for (size_t i = 0; i < k->n; i++)
        for (size_t j = 0; j < d; j++) {
            double w = k->w[i * d + j];
            k->y[i * d + j] += (dfo_real)((double)k->c[i * d + j] * (w * w - by * fabs(k->h[i])));
        }
    return DFO_OK;
}

dfo_status dfoi_sde_advance(dfoi_sde_step *k)
{
    const dfoi_sde_method *m = k->method;
    for (size_t s = 0; s < m->stages; s++) {
        dfo_batch at = s ? dfo_batch_of(k->z, k->n, k->x.d) : k->x;
        if (s)
            combine(k, &m->z[s], 0, k->z);
        if (m->what[s] & DFOI_DRIFT)
            DFO_TRY(drift_at(k, s, at));
        if (m->what[s] & DFOI_NOISE)
            DFO_TRY(noise_at(k, s, at));
    }
    combine(k, &m->y, 0, k->y);
    if (m->milstein && k->noise->kind != DFO_NOISE_ADDITIVE)
        DFO_TRY(milstein(k));
    if (m->embedded)
        combine(k, &m->e, 1, k->err);
    return DFO_OK;
}
