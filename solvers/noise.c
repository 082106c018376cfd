/* Noise of stochastic equations: its shapes, its products with increments, the difference of the two calculi's drifts.  */
#include <math.h>
#include <string.h>

#include "brownian_impl.h"
#include "sde_impl.h"

size_t dfoi_noise_columns(const dfo_noise *noise)
{
    return noise->m ? noise->m : noise->d;
}

size_t dfoi_noise_size(const dfo_noise *noise, size_t rows)
{
    return rows * noise->d * (noise->m ? noise->m : 1);
}

void dfoi_noise_apply(const dfo_noise *noise, size_t n, const dfo_real *g, const double *w, dfo_real *to)
{
    size_t m = noise->m;
    if (!m) {
        for (size_t i = 0; i < n * noise->d; i++)
            to[i] = (dfo_real)((double)g[i] * w[i]);
        return;
    }
    for (size_t i = 0; i < n; i++, w += m)
        for (size_t j = 0; j < noise->d; j++, g += m) {
            double sum = 0;
            for (size_t k = 0; k < m; k++)
                sum += (double)g[k] * w[k];
            *to++ = (dfo_real)sum;
        }
}

size_t dfo_noise_correction_scratch(const dfo_noise *noise, size_t rows)
{
    return dfo_arena_size(rows * noise->d) + (noise->ops->scratch ? noise->ops->scratch(noise, rows) : 0);
}

/* c = g of diagonal noise, times its slope.  */
static dfo_status diagonal(const dfo_noise *noise, dfo_run *run, const double *t, dfo_batch x, dfo_real *c)
{
    dfo_real *slope = dfo_arena_take(run, x.n * noise->d);
    size_t mark = run->arena_used;
    if (!noise->ops->slope)
        return dfo_run_fail(run, DFO_EUNSUP, (size_t)-1, "noise '%s' does not tell its slope, which Milstein's methods and the other "
                            "calculus take", noise->ops->type);
    DFO_TRY(noise->ops->eval(noise, run, t, x, c));
    run->arena_used = mark;
    DFO_TRY(noise->ops->slope(noise, run, t, x, slope));
    for (size_t i = 0; i < x.n * noise->d; i++)
        c[i] *= slope[i];
    return DFO_OK;
}

static dfo_status general(const dfo_noise *noise, dfo_run *run, const double *t, dfo_batch x, dfo_real *c)
{
    if (!noise->ops->correction)
        return dfo_run_fail(run, DFO_EUNSUP, (size_t)-1, "noise '%s' does not tell its correction, which the other calculus takes",
                            noise->ops->type);
    return noise->ops->correction(noise, run, t, x, c);
}

dfo_status dfo_noise_correction(const dfo_noise *noise, dfo_run *run, const double *t, dfo_batch x, dfo_real *c)
{
    size_t mark = run->arena_used, size = x.n * noise->d;
    dfo_status status = DFO_OK;
    if (noise->kind == DFO_NOISE_ADDITIVE)
        memset(c, 0, size * sizeof *c);
    else
        status = noise->kind == DFO_NOISE_DIAGONAL ? diagonal(noise, run, t, x, c) : general(noise, run, t, x, c);
    for (size_t i = 0; status == DFO_OK && i < size; i++)
        c[i] /= 2;
    run->arena_used = mark;
    return status;
}

dfo_status dfoi_sde_check(dfo_run *run, const char *who, const dfo_field *field, const dfo_noise *noise, const dfo_brownian *b, double t0,
                          double t1, double h)
{
    double low = fmin(t0, t1), high = fmax(t0, t1);
    char text[200];
    if (noise->d != field->d || (noise->kind == DFO_NOISE_DIAGONAL && noise->m) || (noise->kind == DFO_NOISE_GENERAL && !noise->m))
        return dfo_run_fail(run, DFO_EARG, (size_t)-1, "%s: noise '%s' of %zu entries and %zu columns does not fit a drift of %zu", who,
                            noise->ops->type, noise->d, noise->m, field->d);
    if (dfoi_brownian_wrong(b, text, sizeof text))
        return dfo_run_fail(run, DFO_EARG, (size_t)-1, "%s: %s", who, text);
    if (!(low >= b->t0 && high <= b->t1))
        return dfo_run_fail(run, DFO_EARG, (size_t)-1, "%s from %g to %g: expected times of the path, %g to %g", who, t0, t1, b->t0, b->t1);
    if (h < b->tol * (1 - 1e-9))
        return dfo_run_fail(run, DFO_EARG, (size_t)-1, "%s: steps of %g: expected steps from the path's tol on, %g", who, h, b->tol);
    return DFO_OK;
}
