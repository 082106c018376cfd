/* Rex against exact predictors of a Gaussian mixture: its first step and DDIM's, the orders of all methods, all schedules.  */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <diffeo/ode.h>
#include "ctxfix.h"
#include "rextools.h"

/* The first step of Euler's Rex is DDIM's, x' = a x + (sigma' - sigma a) eps, in both forms; also where it starts anew.  */
START_TEST(first_step_is_ddim)
{
    double worst = 0;
    for (int form = 0; form < 2; form++)
        for (double t0 = 0.95; t0 > 0.1; t0 -= 0.1) {
            mixture m = mixture_usual(DFO_NOISE_VP, form == DFO_REX_ODE_DATA), noise = mixture_usual(DFO_NOISE_VP, 0);
            dfo_rex_options o = options_of((dfo_rex_form)form, "euler", 0.9);
            dfo_field f = mixture_field(&m);
            dfo_rex *rex = made(ctx, &o);
            dfo_run run = run_of(rex, &f, 1);
            double t[2] = {t0, t0 - 0.07}, start[2], eps[2];
            dfo_real x[2] = {(dfo_real)0.7, (dfo_real)-0.4}, xh[2] = {x[0], x[1]};
            dfo_noise_point p = dfo_noise_schedule_at(&m.schedule, t[0]), q = dfo_noise_schedule_at(&m.schedule, t[1]);
            start[0] = (double)x[0], start[1] = (double)x[1];
            mixture_at(&noise, t[0], start, eps, NULL);
            RUN(dfo_rex_forward(rex, &f, &run, 1, t, dfo_batch_of(x, 1, 2), dfo_batch_of(xh, 1, 2)));
            for (size_t j = 0; j < 2; j++) {
                double a = q.alpha / p.alpha, want = a * start[j] + (q.sigma - p.sigma * a) * eps[j];
                worst = fmax(worst, fabs((double)x[j] - want) / (double)DFO_REAL_EPS);
            }
            free(run.arena);
            dfo_rex_free(rex);
        }
    ck_assert_msg(worst <= 16, "off by %g eps", worst);
}
END_TEST

#ifdef DFO_DOUBLE
#define STEPS_MAX 4096

/* Both coordinates after n steps; dt of the grid as told.  */
static void end_of(dfo_rex_form form, const char *method, double zeta, size_t n, int late, double out[2])
{
    static double t[STEPS_MAX + 1];
    dfo_rex_options o = options_of(form, method, zeta);
    mixture m = mixture_usual(DFO_NOISE_VP, wants_data(form));
    dfo_field f = mixture_field(&m);
    dfo_rex *rex = made(ctx, &o);
    dfo_run run = run_of(rex, &f, 1);
    dfo_real xh[2] = {0.7, -0.4};
    out[0] = 0.7, out[1] = -0.4;
    if (late)
        grid_of(ctx, &m.schedule, "uniform", 0.5, 0.2, n, t);
    else
        grid_of(ctx, &m.schedule, "log-snr", 0.7, 0.15, n, t);
    RUN(dfo_rex_forward(rex, &f, &run, n, t, dfo_batch_of(out, 1, 2), dfo_batch_of(zeta > 0 ? xh : NULL, 1, 2)));
    free(run.arena);
    dfo_rex_free(rex);
}

/* Slopes from n to 2 n steps, within 0.15: n where they are near their limit and rounding is still far.  zeta 0: Princeps.  Odd
 * orders want a smaller zeta: with one near 1 the errors of two steps nearly cancel for long (Euler: up to some 1000 steps).  */
static const struct order {
    const char *method;
    double zeta, order;
    size_t n;
    int late[2];                           /* ode-data, ode-noise: on the grid from 0.5 to 0.2 */
} orders_of[] = {
    {"euler", 0, 1, 320, {0, 0}},     {"midpoint", 0, 2, 160, {0, 0}},  {"heun", 0, 2, 160, {0, 0}},
    {"ralston", 0, 2, 160, {0, 0}},   {"ssprk3", 0, 3, 160, {0, 0}},    {"bosh3", 0, 3, 160, {0, 0}},
    {"rk4", 0, 4, 80, {0, 0}},        {"rk38", 0, 4, 80, {0, 0}},       {"dopri5", 0, 5, 80, {0, 0}},
    {"tsit5", 0, 5, 40, {0, 1}},      {"euler", 0.3, 1, 640, {0, 0}},   {"midpoint", 0.9, 2, 160, {0, 0}},
    {"heun", 0.9, 2, 160, {0, 0}},    {"ralston", 0.9, 2, 160, {0, 0}}, {"ssprk3", 0.3, 3, 640, {0, 0}},
    {"bosh3", 0.3, 3, 640, {0, 0}},   {"rk4", 0.9, 4, 80, {0, 0}},      {"rk38", 0.9, 4, 80, {0, 0}},
    {"dopri5", 0.999, 5, 80, {0, 0}}, {"tsit5", 0.999, 5, 80, {0, 0}},
};

START_TEST(orders)
{
    const struct order *k = &orders_of[_i];
    for (int form = 0; form < 2; form++) {
        double want[2], other[2], got[2], err[2];
        end_of((dfo_rex_form)form, "pd87", 0, 1000, k->late[form], want);
        end_of((dfo_rex_form)!form, "dop853", 0, 1000, k->late[form], other);      /* both forms are one and the same equation */
        ck_assert(hypot(want[0] - other[0], want[1] - other[1]) < 1e-13);
        for (size_t i = 0; i < 2; i++) {
            end_of((dfo_rex_form)form, k->method, k->zeta, k->n << i, k->late[form], got);
            err[i] = hypot(got[0] - want[0], got[1] - want[1]);
        }
        double slope = log2(err[0] / err[1]);
        ck_assert_msg(fabs(slope - k->order) <= 0.15, "%s, %s, zeta %g: slope %.3f from %zu to %zu steps, errors %g, %g",
                      dfo_rex_form_name((size_t)form), k->method, k->zeta, slope, k->n, 2 * k->n, err[0], err[1]);
    }
}
END_TEST

/* Every schedule, both forms: the solution of dx/dt = drift x + g2/(2 sigma) eps, by a solver that knows no clock.  */
static dfo_status flow(const dfo_field *f, dfo_run *run, const double *t, dfo_batch x, dfo_batch dx, double *dq)
{
    const mixture *m = f->state;
    double value[2];
    (void)run, (void)dq;
    for (size_t i = 0; i < x.n; i++) {
        dfo_noise_point p = dfo_noise_schedule_at(&m->schedule, t[i]);
        mixture_at(m, t[i], dfo_row(x, i), value, NULL);
        for (size_t j = 0; j < 2; j++)
            dfo_row(dx, i)[j] = p.drift * dfo_row(x, i)[j] + p.g2 / (2 * p.sigma) * value[j];
    }
    return DFO_OK;
}

START_TEST(schedules)
{
    static const struct dfo_field_ops ops = {.type = "probability flow", .eval = flow};
    mixture m = mixture_usual((dfo_noise_schedule_kind)_i, 0);
    dfo_field f = {.ops = &ops, .state = &m, .d = 2};
    double t[201], times[2], out[4];
    dfo_real start[2] = {0.7, -0.4};
    dfo_ode_options how;
    dfo_ode *ode;
    dfo_ode_defaults(&how);
    how.rtol = how.atol = 1e-13;
    how.most = 100000;
    OK(dfo_ode_new(ctx, &how, &ode));
    times[0] = dfo_noise_schedule_time(&m.schedule, DFO_CLOCK_CHI, 5);
    times[1] = dfo_noise_schedule_time(&m.schedule, DFO_CLOCK_CHI, 0.1);
    OK(dfo_ode_integrate(ctx, ode, &f, dfo_batch_of(start, 1, 2), 2, times, out, NULL, NULL));
    grid_of(ctx, &m.schedule, "log-snr", times[0], times[1], 200, t);
    for (int form = 0; form < 4; form++) {
        dfo_rex_options o = options_of((dfo_rex_form)(form % 2), "dopri5", form < 2 ? 0 : 0.9);
        mixture own = mixture_usual((dfo_noise_schedule_kind)_i, wants_data(o.form));
        dfo_field predictor = mixture_field(&own);
        o.schedule = m.schedule;
        dfo_rex *rex = made(ctx, &o);
        dfo_run run = run_of(rex, &predictor, 1);
        dfo_real x[2] = {0.7, -0.4}, xh[2] = {0.7, -0.4};
        RUN(dfo_rex_forward(rex, &predictor, &run, 200, t, dfo_batch_of(x, 1, 2), dfo_batch_of(o.one_state ? NULL : xh, 1, 2)));
        double off = hypot(x[0] - out[2], x[1] - out[3]);
        ck_assert_msg(off < 1e-10, "%s, %s, zeta %g: off by %g", dfo_noise_schedule_name((size_t)_i), dfo_rex_form_name(o.form),
                      o.zeta, off);
        free(run.arena);
        dfo_rex_free(rex);
    }
    dfo_ode_free(ode);
}
END_TEST
#endif

int main(void)
{
    Suite *suite = suite_create("rex, orders " DFO_REAL_NAME);
    TCase *t = tcase_create("rex");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, first_step_is_ddim);
#ifdef DFO_DOUBLE
    tcase_add_loop_test(t, orders, 0, sizeof orders_of / sizeof *orders_of);
    tcase_add_loop_test(t, schedules, 0, DFO_NOISE_KINDS);
#endif
    suite_add_tcase(suite, t);
    return test_run(suite);
}
