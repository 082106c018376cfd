/* Reversible Heun for Stratonovich equations, see <diffeo/sde.h>: steps, steps back along the same increments, and gradients of
 * a step with the state before it rebuilt (Kidger, Foster, Li and Lyons 2021, "Efficient and accurate gradients for neural SDEs").  */
#include <math.h>
#include <string.h>

#include "dist/dist_impl.h"
#include "math/kern_impl.h"
#include "sde_impl.h"

/* f, g: drift and noise at s and the present time.  gf, gg: their gradients.  */
struct work {
    const dfo_sde_reversible *how;
    dfo_run   *run;
    const double *given;
    size_t     n, d, m;
    double    *t, *w;                      /* (n); (n,m) */
    dfo_real  *f, *g, *gw, *gf, *gg, *v;
};

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

size_t dfo_sde_reversible_scratch(const dfo_sde_reversible *how, size_t rows)
{
    const dfo_field *f = how->field;
    const dfo_noise *noise = how->noise;
    return dfoi_doubles_size(rows) + dfoi_doubles_size(rows * dfoi_noise_columns(noise)) + 4 * dfo_arena_size(rows * f->d) +
           2 * dfo_arena_size(dfoi_noise_size(noise, rows)) +
           larger(f->ops->scratch ? f->ops->scratch(f, rows) : 0, noise->ops->scratch ? noise->ops->scratch(noise, rows) : 0);
}

static void take(struct work *k, const dfo_sde_reversible *how, dfo_run *run, const double *given, size_t n)
{
    size_t d = how->field->d, matrices = dfoi_noise_size(how->noise, n);
    *k = (struct work){.how = how, .run = run, .given = given, .n = n, .d = d, .m = dfoi_noise_columns(how->noise)};
    k->t = dfoi_take_doubles(run, n);
    k->w = dfoi_take_doubles(run, n * k->m);
    k->f = dfo_arena_take(run, n * d);
    k->gw = dfo_arena_take(run, n * d);
    k->gf = dfo_arena_take(run, n * d);
    k->v = dfo_arena_take(run, n * d);
    k->g = dfo_arena_take(run, matrices);
    k->gg = dfo_arena_take(run, matrices);
}

static double time_of(const dfo_sde_reversible *how, size_t step)
{
    return step == how->steps ? how->t1 : how->t0 + (how->t1 - how->t0) * (double)step / (double)how->steps;
}

/* The increments of a step, from its beginning to its end whichever way it is gone.  */
static void look(struct work *k, size_t step)
{
    double from = time_of(k->how, step), to = time_of(k->how, step + 1);
    if (k->given)
        memcpy(k->w, k->given + step * k->n * k->m, k->n * k->m * sizeof *k->w);
    for (size_t i = 0; !k->given && i < k->n; i++)
        dfo_brownian_increment(k->how->path, k->run->key.row + i, k->m, from, to, k->w + i * k->m, NULL);
}

static dfo_status eval(struct work *k, double t, dfo_batch s)
{
    const dfo_field *f = k->how->field;
    const dfo_noise *noise = k->how->noise;
    size_t mark = k->run->arena_used;
    for (size_t i = 0; i < k->n; i++)
        k->t[i] = t;
    DFO_TRY(f->ops->eval(f, k->run, k->t, s, dfo_batch_of(k->f, k->n, k->d), NULL));
    k->run->arena_used = mark;
    dfo_status status = noise->ops->eval(noise, k->run, k->t, s, k->g);
    k->run->arena_used = mark;
    return status;
}

/* v = the gradient through f and g at (t, s).  */
static dfo_status vjp(struct work *k, double t, dfo_batch s)
{
    const dfo_field *f = k->how->field;
    const dfo_noise *noise = k->how->noise;
    size_t mark = k->run->arena_used;
    dfo_batch v = dfo_batch_of(k->v, k->n, k->d);
    for (size_t i = 0; i < k->n; i++)
        k->t[i] = t;
    memset(k->v, 0, k->n * k->d * sizeof *k->v);
    DFO_TRY(f->ops->vjp(f, k->run, k->t, s, dfo_batch_of(k->gf, k->n, k->d), NULL, v));
    k->run->arena_used = mark;
    dfo_status status = noise->ops->vjp ? noise->ops->vjp(noise, k->run, k->t, s, k->gg, v) : DFO_OK;
    k->run->arena_used = mark;
    return status;
}

/* y += by (f h + G W); the mirrored second state is s = 2 y - s + by (f h + G W).  */
static void move(const struct work *k, double by, double h, dfo_batch y)
{
    for (size_t i = 0, at = 0; i < k->n; i++)
        for (size_t j = 0; j < k->d; j++, at++)
            dfo_row(y, i)[j] = (dfo_real)((double)dfo_row(y, i)[j] + by * (h * (double)k->f[at] + (double)k->gw[at]));
}

static void mirror(const struct work *k, double by, double h, dfo_batch y, dfo_batch s)
{
    for (size_t i = 0, at = 0; i < k->n; i++)
        for (size_t j = 0; j < k->d; j++, at++)
            dfo_row(s, i)[j] = (dfo_real)(2 * (double)dfo_row(y, i)[j] - (double)dfo_row(s, i)[j] +
                                          by * (h * (double)k->f[at] + (double)k->gw[at]));
}

static dfo_status check_finite(struct work *k, dfo_batch y, double t)
{
    for (size_t i = 0; i < k->n; i++)
        if (!dfoi_all_finite(k->d, dfo_row(y, i)))
            return dfo_run_fail(k->run, DFO_ENUM, i, "reversible Heun, row %llu, t = %.9g: not finite",
                                (unsigned long long)(k->run->key.row + i), t);
    return DFO_OK;
}

/* From `from` to `to` by h; back: the same with by = -1, from the end, whose f and g are there.  */
static dfo_status step(struct work *k, double by, double h, double to, dfo_batch y, dfo_batch s)
{
    const dfo_noise *noise = k->how->noise;
    dfoi_noise_apply(noise, k->n, k->g, k->w, k->gw);
    mirror(k, by, h, y, s);
    move(k, by / 2, h, y);
    DFO_TRY(eval(k, to, s));
    dfoi_noise_apply(noise, k->n, k->g, k->w, k->gw);
    move(k, by / 2, h, y);
    return check_finite(k, y, to);
}

/* gf += a h x, gg += a x W^T for rows x (n,d); first: they begin so.  */
static void spread(const struct work *k, double a, double h, dfo_batch x, int first)
{
    size_t m = k->how->noise->m;
    dfo_real *gf = k->gf, *gg = k->gg;
    for (size_t i = 0; i < k->n; i++)
        for (size_t j = 0; j < k->d; j++, gf++) {
            const double *w = k->w + i * k->m + (m ? 0 : j);
            double by = a * (double)dfo_row(x, i)[j];
            *gf = (dfo_real)((first ? 0 : (double)*gf) + by * h);
            for (size_t l = 0; l < (m ? m : 1); l++, gg++)
                *gg = (dfo_real)((first ? 0 : (double)*gg) + by * w[l]);
        }
}

/* With v the gradient that comes through f and g at the end and u = gs + v: gy += 2 u, gs = -u, f and g at the beginning get h/2
 * gy + h u and as much of W.  Then the step is taken back.  */
static dfo_status step_back(struct work *k, double h, double from, double to, dfo_batch y, dfo_batch s, dfo_batch gy, dfo_batch gs)
{
    spread(k, 0.5, h, gy, 0);
    DFO_TRY(vjp(k, to, s));
    spread(k, 0.5, h, gy, 1);
    for (size_t i = 0, at = 0; i < k->n; i++)
        for (size_t j = 0; j < k->d; j++, at++) {
            dfo_real u = dfo_row(gs, i)[j] + k->v[at];
            dfo_row(gy, i)[j] += 2 * u;
            dfo_row(gs, i)[j] = -u;
        }
    spread(k, -1, h, gs, 0);
    return step(k, -1, h, from, y, s);
}

static dfo_status all_steps(struct work *k, dfoi_way way, dfo_batch y, dfo_batch s, dfo_batch gy, dfo_batch gs)
{
    const dfo_sde_reversible *how = k->how;
    DFO_TRY(eval(k, way == DFOI_FORWARD ? how->t0 : how->t1, s));
    memset(k->gf, 0, k->n * k->d * sizeof *k->gf);
    memset(k->gg, 0, dfoi_noise_size(how->noise, k->n) * sizeof *k->gg);
    for (size_t i = 0; i < how->steps; i++) {
        size_t at = way == DFOI_FORWARD ? i : how->steps - 1 - i;
        double from = time_of(how, at), to = time_of(how, at + 1), h = to - from;
        look(k, at);
        DFO_TRY(way == DFOI_FORWARD ? step(k, 1, h, to, y, s) : way == DFOI_INVERSE ? step(k, -1, h, from, y, s)
                                                                                     : step_back(k, h, from, to, y, s, gy, gs));
    }
    if (way != DFOI_BACKWARD)
        return DFO_OK;
    DFO_TRY(vjp(k, how->t0, s));           /* what is left of f's and g's at the first time */
    for (size_t i = 0; i < k->n; i++)
        dfoi_add(k->d, k->v + i * k->d, dfo_row(gs, i));
    return DFO_OK;
}

static dfo_status check(const dfo_sde_reversible *how, dfo_run *run, dfoi_way way, int given)
{
    const dfo_noise *noise = how->noise;
    double h = how->t0 == how->t1 ? how->path->tol : fabs(how->t1 - how->t0) / (double)how->steps;
    if (!how->steps || how->steps > (size_t)1 << 30)
        return dfo_run_fail(run, DFO_EARG, (size_t)-1, "reversible Heun: %zu steps", how->steps);
    if (noise->kind != DFO_NOISE_ADDITIVE && noise->calculus != DFO_STRATONOVICH)
        return dfo_run_fail(run, DFO_EUNSUP, (size_t)-1, "reversible Heun: expected a drift in Stratonovich's sense, got Ito's");
    if (way == DFOI_BACKWARD && (!how->field->ops->vjp || (!noise->ops->vjp && noise->kind != DFO_NOISE_ADDITIVE)))
        return dfo_run_fail(run, DFO_EUNSUP, (size_t)-1, "reversible Heun: %s '%s' has no gradient", how->field->ops->vjp ? "noise" : "drift",
                            how->field->ops->vjp ? noise->ops->type : how->field->ops->type);
    return given ? DFO_OK : dfoi_sde_check(run, "reversible Heun", how->field, noise, how->path, how->t0, how->t1, h);
}

dfo_status dfoi_sde_reversible_go(const dfo_sde_reversible *how, dfo_run *run, dfoi_way way, const double *w, dfo_batch y, dfo_batch s,
                                  dfo_batch gy, dfo_batch gs)
{
    size_t mark = run->arena_used;
    struct work k;
    DFO_TRY(check(how, run, way, w != NULL));
    take(&k, how, run, w, y.n);
    dfo_status status = all_steps(&k, way, y, s, gy, gs);
    run->arena_used = mark;
    return status;
}

dfo_status dfo_sde_reversible_forward(const dfo_sde_reversible *how, dfo_run *run, dfo_batch y, dfo_batch s)
{
    return dfoi_sde_reversible_go(how, run, DFOI_FORWARD, NULL, y, s, y, s);
}

dfo_status dfo_sde_reversible_inverse(const dfo_sde_reversible *how, dfo_run *run, dfo_batch y, dfo_batch s)
{
    return dfoi_sde_reversible_go(how, run, DFOI_INVERSE, NULL, y, s, y, s);
}

dfo_status dfo_sde_reversible_backward(const dfo_sde_reversible *how, dfo_run *run, dfo_batch y, dfo_batch s, dfo_batch gy, dfo_batch gs)
{
    return dfoi_sde_reversible_go(how, run, DFOI_BACKWARD, NULL, y, s, gy, gs);
}
