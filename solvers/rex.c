/* Rex and Princeps (Blasingame and Liu 2025) over a grid of times, see <diffeo/rex.h>: along it, back, and back with gradients.  */
#include <float.h>
#include <math.h>
#include <string.h>

#include "rex_impl.h"

static const char *const form_name[DFO_REX_FORMS] = {"ode-data", "ode-noise", "sde-data", "sde-noise"};

/* ShARK (Foster, dos Reis and Strange 2023): strong order 1.5 for additive noise.  Its first state is moved by H alone.  */
static const double shark_c[] = {0, 5.0 / 6}, shark_a[] = {0, 0, 5.0 / 6, 0}, shark_b[] = {0.4, 0.6}, shark_e[] = {-0.6, 0.6},
                    shark_aw[] = {0, 5.0 / 6}, shark_ah[] = {1, 1}, none[] = {0};
static const dfoi_tableau shark = {"shark", "ShARK", 2, 2, 1, 0, shark_c, shark_a, shark_b, shark_e, NULL, 0};

const char *dfo_rex_form_name(size_t i)
{
    return i < DFO_REX_FORMS ? form_name[i] : NULL;
}

void dfo_rex_defaults(dfo_rex_options *o)
{
    *o = (dfo_rex_options){.form = DFO_REX_ODE_DATA, .zeta = 0.999, .rtol = 1e-3, .atol = 1e-3,
                           .schedule = {.kind = DFO_NOISE_VP, .beta_min = 0.1, .beta_max = 20}};
}

/* The method of an SDE: its tableau, and where noise enters.  */
static dfo_status noisy_method(dfo_ctx *ctx, const char *name, struct dfo_rex *r)
{
    if (!r->options.noise)
        return dfoi_fail(ctx, DFO_EARG, "rex: the form %s wants noise, and none is given", form_name[r->options.form]);
    r->aw = r->ah = none;
    r->options.method = "euler-maruyama";
    r->tableau = dfoi_tableau_named("euler");
    if (!name || !strcmp(name, "euler-maruyama"))
        return DFO_OK;
    if (strcmp(name, "shark"))
        return dfoi_fail(ctx, DFO_EARG, "rex: no method for an SDE is called '%.40s'; known: euler-maruyama, shark", name);
    if (r->options.form == DFO_REX_SDE_NOISE)
        return dfoi_fail(ctx, DFO_EARG,
                         "rex: shark goes with the form sde-data: in sde-noise the noise's clock is not the solver's");
    r->tableau = &shark;
    r->options.method = shark.name;
    r->aw = shark_aw;
    r->ah = shark_ah;
    return DFO_OK;
}

static dfo_status quiet_method(dfo_ctx *ctx, const char *name, struct dfo_rex *r)
{
    char list[DFOI_METHODS];
    r->tableau = dfoi_tableau_named(name ? name : "midpoint");
    dfoi_tableau_list(0, list);
    if (!r->tableau)
        return dfoi_fail(ctx, DFO_EARG, "rex: no method for an ODE is called '%.40s'; known: %s", name, list);
    if (r->tableau->gamma != 0)
        return dfoi_fail(ctx, DFO_EARG, "rex: %s is implicit: expected an explicit method", name);
    r->options.method = r->tableau->name;
    return DFO_OK;
}

static void find_active(struct dfo_rex *r)
{
    const dfoi_tableau *m = r->tableau;
    for (size_t i = m->stages; i-- > 0;) {
        r->active[i] = m->b[i] != 0;
        for (size_t j = i + 1; j < m->stages; j++)
            r->active[i] |= r->active[j] && m->a[j * m->stages + i] != 0;
    }
}

dfo_status dfo_rex_new(dfo_ctx *ctx, const dfo_rex_options *o, dfo_rex **out)
{
    struct dfo_rex r = {.ctx = ctx, .options = *o};
    *out = NULL;
    if ((unsigned)o->form >= DFO_REX_FORMS)
        return dfoi_fail(ctx, DFO_EARG, "rex: there is no form number %d", (int)o->form);
    DFO_TRY(dfo_noise_schedule_check(ctx, &o->schedule));
    DFO_TRY(o->form >= DFO_REX_SDE_DATA ? noisy_method(ctx, o->method, &r) : quiet_method(ctx, o->method, &r));
    if (!o->one_state && !(o->zeta > 0 && o->zeta <= 1))
        return dfoi_fail(ctx, DFO_EARG, "rex: zeta %g: expected a number above 0, 1 at most", o->zeta);
    if (!(o->rtol >= 0 && o->atol >= 0 && o->rtol < HUGE_VAL && o->atol < HUGE_VAL))
        return dfoi_fail(ctx, DFO_EARG, "rex: rtol %g, atol %g: expected numbers from 0", o->rtol, o->atol);
    find_active(&r);
    DFO_TRY(dfoi_alloc(ctx, 1, sizeof **out, out));
    **out = r;
    return DFO_OK;
}

void dfo_rex_free(dfo_rex *rex)
{
    if (rex)
        dfoi_free(rex->ctx, rex);
}

const dfo_rex_options *dfo_rex_options_of(const dfo_rex *rex)
{
    return &rex->options;
}

double dfo_rex_growth(const dfo_rex *rex, size_t steps, const double *t)
{
    double most = 1, zeta = rex->options.zeta;
    if (rex->options.one_state)
        return HUGE_VAL;
    if (!t)
        return pow(1 / zeta, (double)steps);
    for (size_t m = 1; m <= steps; m++)
        most = fmax(most, pow(1 / zeta, (double)m) * dfoi_rex_at(rex, t[0]).kappa / dfoi_rex_at(rex, t[m]).kappa);
    return most;
}

size_t dfo_rex_scratch(const dfo_rex *rex, const dfo_field *field, size_t rows)
{
    return dfoi_rex_size(rex, field, rows, 0) + dfo_arena_size(rows * field->d);
}

size_t dfo_rex_backward_scratch(const dfo_rex *rex, const dfo_field *field, size_t rows)
{
    return dfoi_rex_size(rex, field, rows, 1);
}

/* x = a x + b s + c psi; where b is 0, s is not read.  */
static void mix(const dfoi_rex_work *k, double a, dfo_batch x, double b, dfo_batch s, double c)
{
    for (size_t i = 0; i < k->n; i++) {
        dfo_real *row = dfo_row(x, i);
        const dfo_real *other = b != 0 ? dfo_row(s, i) : row;
        const double *psi = k->psi + i * k->d;
        for (size_t j = 0; j < k->d; j++)
            row[j] = (dfo_real)(a * (double)row[j] + b * (double)other[j] + c * psi[j]);
    }
}

/* The rest of a step after the increment along it.  */
static dfo_status advance(dfoi_rex_work *k, dfoi_rex_time a, dfoi_rex_time b, dfo_batch x, dfo_batch xh)
{
    double r = b.kappa / a.kappa, zeta = k->rex->options.zeta;
    if (k->rex->options.one_state) {
        mix(k, r, x, 0, x, b.kappa);
        return dfoi_rex_finite(k, x, b.t);
    }
    mix(k, r * zeta, x, r * (1 - zeta), xh, b.kappa);
    DFO_TRY(dfoi_rex_finite(k, x, b.t));
    DFO_TRY(dfoi_rex_increment(k, b, a, x, -1, 0));
    mix(k, r, xh, 0, x, -b.kappa);
    return dfoi_rex_finite(k, xh, b.t);
}

static dfo_status step(dfoi_rex_work *k, dfoi_rex_time a, dfoi_rex_time b, dfo_batch x, dfo_batch xh)
{
    DFO_TRY(dfoi_rex_draw(k, a, b));
    DFO_TRY(dfoi_rex_increment(k, a, b, k->rex->options.one_state ? x : xh, 1, 0));
    return advance(k, a, b, x, xh);
}

/* gx.x is NULL: no gradients.  */
static dfo_status step_back(dfoi_rex_work *k, dfoi_rex_time a, dfoi_rex_time b, dfo_batch x, dfo_batch xh, dfo_batch gx,
                            dfo_batch gxh)
{
    double r = b.kappa / a.kappa, zeta = k->rex->options.zeta;
    DFO_TRY(dfoi_rex_draw(k, a, b));
    DFO_TRY(dfoi_rex_increment(k, b, a, x, -1, 0));
    if (gx.x)
        DFO_TRY(dfoi_rex_increment_back(k, b, a, x, -1, -b.kappa, gxh, gx));
    mix(k, 1 / r, xh, 0, x, a.kappa);
    DFO_TRY(dfoi_rex_finite(k, xh, a.t));
    DFO_TRY(dfoi_rex_increment(k, a, b, xh, 1, 0));
    if (gx.x) {
        for (size_t i = 0; i < k->n; i++)
            for (size_t j = 0; j < k->d; j++)
                dfo_row(gxh, i)[j] = (dfo_real)(r * ((double)dfo_row(gxh, i)[j] + (1 - zeta) * (double)dfo_row(gx, i)[j]));
        DFO_TRY(dfoi_rex_increment_back(k, a, b, xh, 1, b.kappa, gx, gxh));
        for (size_t i = 0; i < k->n; i++)
            for (size_t j = 0; j < k->d; j++)
                dfo_row(gx, i)[j] = (dfo_real)(r * zeta * (double)dfo_row(gx, i)[j]);
    }
    mix(k, 1 / (r * zeta), x, -(1 - zeta) / zeta, xh, -a.kappa / zeta);
    return dfoi_rex_finite(k, x, a.t);
}

static dfo_status rows_fit(const dfo_rex *rex, const dfo_field *field, dfo_run *run, dfo_batch x, dfo_batch xh)
{
    if (x.d != field->d)
        return dfo_run_fail(run, DFO_ESHAPE, (size_t)-1, "rex: rows of %zu numbers, expected %zu", x.d, field->d);
    if (!rex->options.one_state && (!xh.x || xh.n != x.n || xh.d != x.d))
        return dfo_run_fail(run, DFO_ESHAPE, (size_t)-1, "rex: a second state of %zu rows of %zu, expected %zu of %zu",
                            xh.x ? xh.n : 0, xh.d, x.n, x.d);
    return DFO_OK;
}

dfo_status dfo_rex_forward(const dfo_rex *rex, const dfo_field *field, dfo_run *run, size_t steps, const double *t, dfo_batch x,
                           dfo_batch xh)
{
    size_t mark = run->arena_used;
    dfoi_rex_work k;
    DFO_TRY(dfoi_rex_check(rex, run, steps, t));
    DFO_TRY(rows_fit(rex, field, run, x, xh));
    dfoi_rex_take(&k, rex, field, run, x.n, 0);
    dfo_status status = DFO_OK;
    for (size_t m = 0; m < steps && status == DFO_OK; m++)
        status = step(&k, dfoi_rex_at(rex, t[m]), dfoi_rex_at(rex, t[m + 1]), x, xh);
    run->arena_used = mark;
    return status;
}

static dfo_status back(const dfo_rex *rex, const dfo_field *field, dfo_run *run, size_t steps, const double *t, dfo_batch x,
                       dfo_batch xh, dfo_batch gx, dfo_batch gxh)
{
    size_t mark = run->arena_used;
    dfoi_rex_work k;
    if (rex->options.one_state)
        return dfo_run_fail(run, DFO_EUNSUP, (size_t)-1, "rex: Princeps has one state: there is no way back");
    if (gx.x && !field->ops->vjp)
        return dfo_run_fail(run, DFO_EUNSUP, (size_t)-1, "rex: the predictor %s has no gradient", field->ops->type);
    DFO_TRY(dfoi_rex_check(rex, run, steps, t));
    DFO_TRY(rows_fit(rex, field, run, x, xh));
    dfoi_rex_take(&k, rex, field, run, x.n, gx.x != NULL);
    dfo_status status = DFO_OK;
    for (size_t m = steps; m-- > 0 && status == DFO_OK;)
        status = step_back(&k, dfoi_rex_at(rex, t[m]), dfoi_rex_at(rex, t[m + 1]), x, xh, gx, gxh);
    run->arena_used = mark;
    return status;
}

dfo_status dfo_rex_inverse(const dfo_rex *rex, const dfo_field *field, dfo_run *run, size_t steps, const double *t, dfo_batch x,
                           dfo_batch xh)
{
    return back(rex, field, run, steps, t, x, xh, dfo_batch_of(NULL, 0, 0), dfo_batch_of(NULL, 0, 0));
}

dfo_status dfo_rex_backward(const dfo_rex *rex, const dfo_field *field, dfo_run *run, size_t steps, const double *t, dfo_batch x,
                            dfo_batch xh, dfo_batch gx, dfo_batch gxh)
{
    return back(rex, field, run, steps, t, x, xh, gx, gxh);
}

/* ---- steps that are chosen */

/* The largest component of row i of sum w_q F_q; not a number where one is none.  */
static double largest(const dfoi_rex_work *k, size_t i, const double *w)
{
    double most = 0;
    for (size_t j = 0; j < k->d; j++) {
        double e = 0;
        for (size_t q = 0; q < k->rex->tableau->stages; q++)
            e += w[q] * (double)k->k[q][i * k->d + j];
        if (!isfinite(e))
            return NAN;
        most = fmax(most, fabs(e));
    }
    return most;
}

/* The largest of the rows' scaled errors, kappa h sum e_i F_i; not a number where one is none.  */
static double error_of(const dfoi_rex_work *k, dfoi_rex_time a, dfoi_rex_time b, dfo_batch x)
{
    const dfoi_tableau *m = k->rex->tableau;
    double by = b.kappa * (b.s - a.s) * (k->rex->options.form == DFO_REX_SDE_NOISE ? 2 : 1), worst = 0;
    for (size_t i = 0; i < k->n; i++) {
        double size = 0, most = largest(k, i, m->e), second = m->second ? largest(k, i, m->second) : 0;
        if (isnan(most) || isnan(second))
            return NAN;
        if (m->second)
            most = sqrt(dfoi_two_errors(most * most, second * second));
        for (size_t j = 0; j < k->d; j++)
            size = fmax(size, fabs((double)dfo_row(x, i)[j]));
        worst = fmax(worst, fabs(by) * most / (k->rex->options.atol + k->rex->options.rtol * size));
    }
    return worst;
}

/* The next step over this one: 0.9 err^(-1/(q+1)), after a rejection 0.9 err^(-1/q), q the embedded order, from 0.1 to 2.  */
static double change(const dfoi_tableau *m, double err)
{
    double q = (double)m->embedded + (err <= 1);
    return err > 0 || err <= 0 ? fmin(2, fmax(0.1, 0.9 * pow(fmax(err, 1e-300), -1 / q))) : 0.1;
}

static dfo_status chosen(dfoi_rex_work *k, double to, dfo_batch x, dfo_batch xh, size_t most, double *t, size_t *steps)
{
    const dfo_rex *rex = k->rex;
    double dt = (to - t[0]) / 100;
    while (t[*steps] != to) {
        double now = t[*steps], next = fabs(dt) * (1 + 1e-9) >= fabs(to - now) ? to : now + dt;
        if (*steps == most)
            return dfo_run_fail(k->run, DFO_ENUM, 0,
                                "rex, t = %.9g: more than %zu steps; larger tolerances or more room would help", now, most);
        if (!(fabs(next - now) > 8 * DBL_EPSILON * fmax(fabs(now), fabs(to))))
            return dfo_run_fail(k->run, DFO_ENUM, 0, "rex, t = %.9g: the step became too small", now);
        dfoi_rex_time a = dfoi_rex_at(rex, now), b = dfoi_rex_at(rex, next);
        dfo_batch from = rex->options.one_state ? x : xh;
        DFO_TRY(dfoi_rex_draw(k, a, b));
        DFO_TRY(dfoi_rex_increment(k, a, b, from, 1, 1));
        double err = error_of(k, a, b, from);
        dt = (next - now) * change(rex->tableau, err);
        if (!(err <= 1))
            continue;
        DFO_TRY(advance(k, a, b, x, xh));
        t[++*steps] = next;
    }
    return DFO_OK;
}

dfo_status dfo_rex_adapt(const dfo_rex *rex, const dfo_field *field, dfo_run *run, double from, double to, dfo_batch x,
                         dfo_batch xh, size_t most, double *t, size_t *steps)
{
    const double ends[2] = {from, to};
    size_t mark = run->arena_used;
    dfoi_rex_work k;
    *steps = 0;
    if (!rex->tableau->e)
        return dfo_run_fail(run, DFO_EARG, (size_t)-1, "rex: %s has no estimate of its errors: it wants a grid of times",
                            rex->options.method);
    if (!(rex->options.rtol + rex->options.atol > 0))
        return dfo_run_fail(run, DFO_EARG, (size_t)-1, "rex: rtol 0, atol 0: expected a tolerance above 0");
    DFO_TRY(dfoi_rex_check(rex, run, 1, ends));
    DFO_TRY(rows_fit(rex, field, run, x, xh));
    dfoi_rex_take(&k, rex, field, run, x.n, 0);
    t[0] = from;
    dfo_status status = chosen(&k, to, x, xh, most, t, steps);
    run->arena_used = mark;
    return status;
}
