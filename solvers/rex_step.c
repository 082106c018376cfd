/* One increment of an exponential Runge-Kutta method, and its gradient.  From clock s_0 to s_0 + h, Y = x/kappa,
 *
 *     Z_i = Y + h sum over j < i of a_ij F_j + aW_i W + aH_i H,   F_i = F(s_0 + c_i h, kappa_i Z_i),   P = h sum b_i F_i + W
 *
 * (the stages in x = kappa Z, so that the predictor sees rows of the size it knows).  Sums are made in double.  */
#include <math.h>
#include <string.h>

#include "dist/dist_impl.h"
#include "math/kern_impl.h"
#include "rex_impl.h"

static dfo_noise_clock clock_of(const dfo_rex *rex)
{
    return rex->options.form == DFO_REX_ODE_DATA ? DFO_CLOCK_GAMMA : rex->options.form == DFO_REX_SDE_DATA ? DFO_CLOCK_RHO
                                                                                                         : DFO_CLOCK_CHI;
}

/* F over the predictor's value.  */
static double factor(const dfo_rex *rex)
{
    return rex->options.form == DFO_REX_SDE_NOISE ? 2 : 1;
}

static double kappa_of(const dfo_rex *rex, double t)
{
    dfo_noise_point p = dfo_noise_schedule_at(&rex->options.schedule, t);
    switch (rex->options.form) {
    case DFO_REX_ODE_DATA: return p.sigma;
    case DFO_REX_SDE_DATA: return p.sigma * p.sigma / p.alpha;
    default: return p.alpha;
    }
}

dfoi_rex_time dfoi_rex_at(const dfo_rex *rex, double t)
{
    return (dfoi_rex_time){t, dfo_noise_schedule_clock(&rex->options.schedule, clock_of(rex), t), kappa_of(rex, t)};
}

/* The time at s_0 + c h, counted from the nearer end: clocks run over many powers of ten, and the smaller end would drown.  */
static dfoi_rex_time between(const dfo_rex *rex, dfoi_rex_time from, dfoi_rex_time to, double c)
{
    if (c == 0 || c == 1)
        return c == 0 ? from : to;
    double h = to.s - from.s, s = c <= 0.5 ? from.s + c * h : to.s - (1 - c) * h;
    double t = dfo_noise_schedule_time(&rex->options.schedule, clock_of(rex), s);
    return (dfoi_rex_time){t, s, kappa_of(rex, t)};
}

size_t dfoi_rex_size(const dfo_rex *rex, const dfo_field *field, size_t rows, int gradient)
{
    size_t stages = rex->tableau->stages, all = rows * field->d;
    size_t size = (stages + 1) * dfo_arena_size(all) + 3 * dfoi_doubles_size(all) + dfoi_doubles_size(rows);
    if (gradient)
        size += (stages + 1) * dfoi_doubles_size(all) + 2 * dfo_arena_size(all);
    return size + (field->ops->scratch ? field->ops->scratch(field, rows) : 0);
}

void dfoi_rex_take(dfoi_rex_work *k, const dfo_rex *rex, const dfo_field *field, dfo_run *run, size_t rows, int gradient)
{
    size_t all = rows * field->d;
    *k = (dfoi_rex_work){.rex = rex, .field = field, .run = run, .n = rows, .d = field->d};
    for (size_t i = 0; i < rex->tableau->stages; i++) {
        k->k[i] = dfo_arena_take(run, all);
        k->gk[i] = gradient ? dfoi_take_doubles(run, all) : NULL;
    }
    k->z = dfo_arena_take(run, all);
    k->psi = dfoi_take_doubles(run, all);
    k->w = dfoi_take_doubles(run, all);
    k->h = dfoi_take_doubles(run, all);
    k->t = dfoi_take_doubles(run, rows);
    if (gradient) {
        k->gy = dfoi_take_doubles(run, all);
        k->g = dfo_arena_take(run, all);
        k->gz = dfo_arena_take(run, all);
    }
}

dfo_status dfoi_rex_check(const dfo_rex *rex, dfo_run *run, size_t steps, const double *t)
{
    if (!steps)
        return dfo_run_fail(run, DFO_EARG, (size_t)-1, "rex: 0 steps: expected a grid of two times at least");
    for (size_t i = 0; i <= steps; i++) {
        if (i && !((t[i] > t[i - 1]) == (t[1] > t[0]) && t[i] != t[i - 1]))
            return dfo_run_fail(run, DFO_EARG, (size_t)-1, "rex: time %zu of the grid, %.9g, does not go on from %.9g", i, t[i],
                                t[i - 1]);
        dfoi_rex_time at = dfoi_rex_at(rex, t[i]);
        if (!(isfinite(at.s) && at.s >= 0 && isfinite(at.kappa) && at.kappa > 0))
            return dfo_run_fail(run, DFO_EARG, (size_t)-1, "rex: time %zu of the grid, %.9g: the form %s has no finite clock there",
                                i, t[i], dfo_rex_form_name(rex->options.form));
    }
    return DFO_OK;
}

dfo_status dfoi_rex_finite(const dfoi_rex_work *k, dfo_batch x, double t)
{
    for (size_t i = 0; i < k->n; i++)
        if (!dfoi_all_finite(k->d, dfo_row(x, i)))
            return dfo_run_fail(k->run, DFO_ENUM, i, "rex, row %llu, t = %.9g: not finite",
                                (unsigned long long)(k->run->key.row + i), t);
    return DFO_OK;
}

dfo_status dfoi_rex_draw(dfoi_rex_work *k, dfoi_rex_time a, dfoi_rex_time b)
{
    const dfo_rex_options *o = &k->rex->options;
    int square = o->form == DFO_REX_SDE_NOISE;
    if (!k->rex->aw)
        return DFO_OK;
    double s = square ? a.s * a.s : a.s, t = square ? b.s * b.s : b.s;
    for (size_t i = 0; i < k->n; i++) {
        double *w = k->w + i * k->d, *h = k->h + i * k->d, sum = 0;
        o->noise(o->noise_data, k->run->key.row + i, k->d, s, t, w, h);
        for (size_t j = 0; j < k->d; j++)
            sum += fabs(w[j]) + fabs(h[j]);
        if (!isfinite(sum))
            return dfo_run_fail(k->run, DFO_ENUM, i, "rex, row %llu, t = %.9g: the noise is not finite",
                                (unsigned long long)(k->run->key.row + i), a.t);
    }
    return DFO_OK;
}

/* z = kappa Z_i.  */
static void stage_state(dfoi_rex_work *k, size_t i, dfoi_rex_time from, dfoi_rex_time at, double h, dfo_batch x, double sign)
{
    const dfoi_tableau *m = k->rex->tableau;
    double by[DFOI_STAGES], aw = k->rex->aw ? sign * k->rex->aw[i] : 0, ah = k->rex->aw ? k->rex->ah[i] : 0;
    for (size_t q = 0; q < i; q++)
        by[q] = h * factor(k->rex) * m->a[i * m->stages + q];
    for (size_t r = 0; r < k->n; r++) {
        const dfo_real *row = dfo_row(x, r);
        for (size_t j = 0; j < k->d; j++) {
            double y = (double)row[j] / from.kappa;
            for (size_t q = 0; q < i; q++)
                y += by[q] == 0 ? 0 : by[q] * (double)k->k[q][r * k->d + j];
            if (k->rex->aw)
                y += aw * k->w[r * k->d + j] + ah * k->h[r * k->d + j];
            k->z[r * k->d + j] = (dfo_real)(at.kappa * y);
        }
    }
    for (size_t r = 0; r < k->n; r++)
        k->t[r] = at.t;
}

static dfo_status predict(dfoi_rex_work *k, size_t i)
{
    size_t mark = k->run->arena_used;
    dfo_status status =
        k->field->ops->eval(k->field, k->run, k->t, dfo_batch_of(k->z, k->n, k->d), dfo_batch_of(k->k[i], k->n, k->d), NULL);
    k->run->arena_used = mark;
    return status;
}

dfo_status dfoi_rex_increment(dfoi_rex_work *k, dfoi_rex_time from, dfoi_rex_time to, dfo_batch x, double sign, int all)
{
    const dfoi_tableau *m = k->rex->tableau;
    double h = to.s - from.s, by = h * factor(k->rex);
    for (size_t i = 0; i < m->stages; i++) {
        if (!k->rex->active[i] && !all)
            continue;
        stage_state(k, i, from, between(k->rex, from, to, m->c[i]), h, x, sign);
        DFO_TRY(predict(k, i));
    }
    for (size_t q = 0; q < k->n * k->d; q++) {
        double sum = 0;
        for (size_t i = 0; i < m->stages; i++)
            sum += m->b[i] == 0 ? 0 : m->b[i] * (double)k->k[i][q];
        k->psi[q] = by * sum + (k->rex->aw ? sign * k->w[q] : 0);
    }
    return DFO_OK;
}

/* Stage i's part: gk[i] is the gradient of F_i over the factor; what its state gets goes to gy and to the stages before.  */
static dfo_status stage_back(dfoi_rex_work *k, size_t i, double kappa, double h)
{
    const double *a = k->rex->tableau->a + i * k->rex->tableau->stages;
    size_t all = k->n * k->d, mark = k->run->arena_used;
    for (size_t q = 0; q < all; q++) {
        k->g[q] = (dfo_real)(factor(k->rex) * k->gk[i][q]);
        k->gz[q] = 0;
    }
    dfo_status status = k->field->ops->vjp(k->field, k->run, k->t, dfo_batch_of(k->z, k->n, k->d), dfo_batch_of(k->g, k->n, k->d),
                                           NULL, dfo_batch_of(k->gz, k->n, k->d));
    k->run->arena_used = mark;
    for (size_t q = 0; q < all; q++)
        k->gy[q] += kappa * (double)k->gz[q];
    for (size_t p = 0; p < i; p++)
        for (size_t q = 0; a[p] != 0 && q < all; q++)
            k->gk[p][q] += h * a[p] * kappa * (double)k->gz[q];
    return status;
}

dfo_status dfoi_rex_increment_back(dfoi_rex_work *k, dfoi_rex_time from, dfoi_rex_time to, dfo_batch x, double sign, double c,
                                   dfo_batch g, dfo_batch gx)
{
    const dfoi_tableau *m = k->rex->tableau;
    double h = to.s - from.s;
    for (size_t r = 0; r < k->n; r++)
        for (size_t j = 0; j < k->d; j++) {
            k->gy[r * k->d + j] = 0;
            for (size_t i = 0; i < m->stages; i++)
                k->gk[i][r * k->d + j] = h * m->b[i] * c * (double)dfo_row(g, r)[j];
        }
    for (size_t i = m->stages; i-- > 0;) {
        if (!k->rex->active[i])
            continue;
        dfoi_rex_time at = between(k->rex, from, to, m->c[i]);
        stage_state(k, i, from, at, h, x, sign);
        DFO_TRY(stage_back(k, i, at.kappa, h));
    }
    for (size_t r = 0; r < k->n; r++)
        for (size_t j = 0; j < k->d; j++)
            dfo_row(gx, r)[j] += (dfo_real)(k->gy[r * k->d + j] / from.kappa);
    return DFO_OK;
}
