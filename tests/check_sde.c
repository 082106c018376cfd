/* Stochastic equations: single steps against the reference vectors, rows alone, chosen steps, refusals.  */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctxfix.h"
#include "oom.h"
#include "reference.h"
#include "sde_impl.h"
#include "sdefields.h"
#include "util.h"

/* ---- single steps */

static void close_to(ref_case c, const char *what, size_t n, const dfo_real *got, const double *want, double allowed)
{
    double size = 1;
    for (size_t i = 0; i < n; i++)
        size = fmax(size, fabs(want[i]));
    for (size_t i = 0; i < n; i++)
        ck_assert_msg(fabs((double)got[i] - want[i]) <= allowed * size, "%s, %s: %zu is %.17g, expected %.17g", c.name, what, i,
                      (double)got[i], want[i]);
}

static const dfoi_sde_method *method_of(ref_case c)
{
    char name[32];
    snprintf(name, sizeof name, "%s", ref_text(c, "settings.method", ""));
    for (char *p = name; *p; p++)
        *p = *p == '_' ? '-' : *p;
    const dfoi_sde_method *m = dfoi_sde_method_named(!strcmp(name, "milstein-ito") ? "milstein" : name);
    ck_assert_msg(m != NULL, "%s", name);
    return m;
}

static const double *either(ref_case c, const char *first, const char *second)
{
    ref_array a = ref_get(c, first);
    return a.data ? a.data : ref_get(c, second).data;
}

static void step_case(ref_case c)
{
    const dfoi_sde_method *m = method_of(c);
    ref_array y0 = ref_need(c, "inputs.y0"), w = ref_need(c, "inputs.W"), area = ref_need(c, "inputs.H"), y = ref_need(c, "outputs.y");
    int additive = !strcmp(ref_text(c, "settings.noise", ""), "additive");
    size_t d = y0.n, columns = w.shape[1];
    struct equation e = {ref_text(c, "settings.field", ""), ref_get(c, "inputs.theta").data, ref_get(c, "inputs.mu").data,
                         ref_get(c, "inputs.S").data, additive ? columns : 0};
    if (!additive) {
        e.a = either(c, "inputs.a", "inputs.mu");
        e.b = either(c, "inputs.b", "inputs.sig");
    }
    dfo_field f = sdefield_of(&e, d);
    dfo_noise noise = sdefield_noise(&e, d, additive ? DFO_NOISE_ADDITIVE : DFO_NOISE_DIAGONAL, m->calculus);
    dfo_run run = {.arena_size = dfoi_sde_step_size(m, &f, &noise, 1)};
    dfo_real x[MOST];
    dfoi_sde_step k;
    run.arena = calloc(run.arena_size, sizeof *run.arena);
    memset(run.arena, -1, run.arena_size * sizeof *run.arena);
    for (size_t i = 0; i < d; i++)
        x[i] = (dfo_real)y0.data[i];
    dfoi_sde_step_take(&k, m, &f, &noise, &run, dfo_batch_of(x, 1, d));
    k.h[0] = ref_number(c, "settings.h", 0);
    for (size_t s = 0; s < w.shape[0]; s++) {
        k.t[0] = ref_number(c, "settings.t0", 0) + (double)s * k.h[0];
        memcpy(k.w, w.data + s * columns, columns * sizeof *k.w);
        memcpy(k.area, area.data + s * columns, columns * sizeof *k.w);
        ck_assert_int_eq(dfoi_sde_advance(&k), DFO_OK);
        close_to(c, "y", d, k.y, y.data + (s + 1) * d, IS_DOUBLE ? 1e-13 : 2e-6 * (double)w.shape[0]);
        ck_assert((ref_get(c, "outputs.err").data != NULL) == m->embedded);
        if (m->embedded)
            close_to(c, "err", d, k.err, ref_need(c, "outputs.err").data + s * d, IS_DOUBLE ? 1e-13 : 2e-6 * (double)w.shape[0]);
        memcpy(x, k.y, d * sizeof *x);
    }
    free(run.arena);
}

START_TEST(single_steps)
{
    ref_file *f = ref_open("sde_steps");
    ck_assert_uint_eq(ref_cases(f), 24);
    for (size_t i = 0; i < ref_cases(f); i++)
        step_case(ref_at(f, i));
    ref_close(f);
}
END_TEST

/* A row's bits know nothing of its neighbours, equal steps or chosen ones.  */
START_TEST(rows_alone)
{
    enum { N = 9 };
    struct equation e = {.name = "gbm", .a = gbm_mu, .b = gbm_sigma};
    dfo_field f = sdefield_of(&e, 2);
    dfo_noise noise = sdefield_noise(&e, 2, DFO_NOISE_DIAGONAL, DFO_STRATONOVICH);
    dfo_brownian b = {80, 0, 1, 1e-5};
    for (size_t steps = 0; steps <= 30; steps += 30) {
        dfo_sde *sde = sdefield_solver(ctx, "spark", steps, 1e-2);
        dfo_real all[2 * N], some[2 * N];
        sdefield_start(2 * N, 1, all);
        sdefield_start(2 * N, 1, some);
        sdefield_go(sde, &f, &noise, &b, 0, 1, N, 100, all, NULL, NULL);
        for (size_t i = 0; i < N; i += 4)
            sdefield_go(sde, &f, &noise, &b, 0, 1, N - i < 4 ? N - i : 4, 100 + i, some + 2 * i, NULL, NULL);
        ck_assert(!memcmp(all, some, sizeof all));
        ck_assert(all[0] != all[2]);
        dfo_sde_free(sde);
    }
}
END_TEST

/* Chosen steps: the error follows the tolerance, either way in time; more steps where it is small.  */
START_TEST(chosen_steps)
{
    enum { N = 40 };
    struct equation gbm = {.name = "gbm", .a = gbm_mu, .b = gbm_sigma}, sine = {.name = "sine"};
    dfo_brownian b = {90, 0, 1, 1e-5};
    double last[2] = {1, 1};
    dfo_real x[N], fine[N];
    double want[N];
    uint64_t steps[2] = {0, 0};
    for (int k = 0; k < 3; k++)
        for (int back = 0; back < 2; back++) {
            double tol = pow(10, -1.5 - k), error;
            dfo_sde_report report = {0};
            dfo_field f = sdefield_of(back ? &sine : &gbm, 1);
            dfo_noise noise = sdefield_noise(back ? &sine : &gbm, 1, back ? DFO_NOISE_ADDITIVE : DFO_NOISE_DIAGONAL, DFO_ITO);
            dfo_sde *sde = sdefield_solver(ctx, back ? "shark" : "spark", 0, tol);
            sdefield_start(N, 1, x);
            sdefield_start(N, 1, fine);
            sdefield_gbm(DFO_ITO, &b, 0, 1, N, 1, want);
            if (back) {
                sdefield_solve(ctx, "sra1", 1024, &f, &noise, &b, 1, 0, N, fine);
                for (size_t i = 0; i < N; i++)
                    want[i] = (double)fine[i];
            }
            sdefield_go(sde, &f, &noise, &b, back, 1 - back, N, 0, x, &report, NULL);
            for (size_t i = 0; i < N; i++) {       /* over what tolerances are scaled by */
                x[i] /= (dfo_real)(1 + fabs(want[i]));
                want[i] /= 1 + fabs(want[i]);
            }
            error = sdefield_rms(N, x, want);
            ck_assert_msg(error < 15 * tol && error < 0.7 * last[back], "tol %g: %g, before %g", tol, error, last[back]);
            ck_assert(report.accepted > steps[back] && report.drifts == (back ? 2 : 3) * (report.accepted + report.rejected));
            last[back] = error;
            steps[back] = report.accepted;
            dfo_sde_free(sde);
        }
}
END_TEST

/* ---- refusals and failures */

static void fails(const char *method, size_t steps, double tol, const char *equation, size_t m, dfo_noise_kind kind, dfo_brownian b,
                  double t1, dfo_status status, const char *text)
{
    struct equation e = {.name = equation, .a = gbm_mu, .b = gbm_sigma, .m = m};
    dfo_field f = sdefield_of(&e, 1);
    dfo_noise noise = sdefield_noise(&e, 1, kind, DFO_ITO);
    dfo_sde *sde = sdefield_solver(ctx, method, steps, tol);
    dfo_real x[3] = {1, 1, 1};
    char got[sizeof ((dfo_run *)NULL)->text];
    struct dfo_noise_ops bare = {.type = "bare", .eval = noise.ops->eval};
    if (status == DFO_EUNSUP)
        noise.ops = &bare;
    dfo_status was = sdefield_go(sde, &f, &noise, &b, 0, t1, 3, 7, x, NULL, got);
    ck_assert_msg(was == status && strstr(got, text) && !strchr(got, '\n'), "%s: status %d, '%s', expected '%s'", method, (int)was, got, text);
    dfo_sde_free(sde);
}

START_TEST(refused)
{
    static const struct { dfo_sde_options o; const char *text; } bad[] = {
        {{.method = "rk4", .steps = 1}, "no method is called 'rk4'; known: euler-maruyama"}, {{.method = NULL, .steps = 1}, "no method"},
        {{.method = "heun"}, "wants a number of steps, got 0"}, {{.method = "spark", .rtol = -1, .i = 1, .most = 1}, "rtol -1"},
        {{.method = "spark", .atol = 1, .most = 1}, "controller"}, {{.method = "spark", .atol = 1, .i = 1}, "at most 0 steps"},
        {{.method = "spark", .atol = 1, .i = 1, .first = NAN, .most = 1}, "first step nan"}};
    dfo_brownian b = {1, 0, 1, 1e-3}, none = {1, 1, 1, 1e-3}, zero = {1, 0, 1, 0};
    dfo_sde *sde;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ck_assert_int_eq(dfo_sde_new(ctx, &bad[i].o, &sde), DFO_EARG);
        ck_assert_msg(strstr(dfo_ctx_error(ctx), bad[i].text) != NULL, "%s", dfo_ctx_error(ctx));
        ck_assert_ptr_null(sde);
    }
    fails("sra1", 10, 0, "gbm", 0, DFO_NOISE_DIAGONAL, b, 1, DFO_EARG, "sra1: expected additive noise, got diagonal noise 'test'");
    fails("milstein", 10, 0, "gbm", 1, DFO_NOISE_GENERAL, b, 1, DFO_EARG, "milstein: expected additive or diagonal noise, got general");
    fails("heun", 10, 0, "gbm", 0, DFO_NOISE_GENERAL, b, 1, DFO_EARG, "does not fit");
    fails("heun", 10, 0, "gbm", 0, DFO_NOISE_DIAGONAL, none, 1, DFO_EARG, "from 1 to 1");
    fails("heun", 10, 0, "gbm", 0, DFO_NOISE_DIAGONAL, zero, 1, DFO_EARG, "tol 0");
    fails("heun", 10, 0, "gbm", 0, DFO_NOISE_DIAGONAL, b, 1.5, DFO_EARG, "expected times of the path, 0 to 1");
    fails("heun", 2000, 0, "gbm", 0, DFO_NOISE_DIAGONAL, b, 1, DFO_EARG, "expected steps from the path's tol on");
    fails("milstein", 10, 0, "gbm", 0, DFO_NOISE_DIAGONAL, b, 1, DFO_EUNSUP, "'bare' does not tell its slope");
    fails("heun", 10, 0, "gbm", 1, DFO_NOISE_GENERAL, b, 1, DFO_EUNSUP, "'bare' does not tell its correction");
    dfo_brownian wide = {1, 0, 100, 1e-3};
    fails("heun", 50, 0, "unbounded", 0, DFO_NOISE_ADDITIVE, wide, 50, DFO_ENUM, "heun, row ");
    fails("spark", 0, 1e-6, "unbounded", 0, DFO_NOISE_ADDITIVE, wide, 50, DFO_ENUM, "smaller than the path's tol");
    ck_assert(!dfo_sde_method_adaptive("heun") && dfo_sde_method_adaptive("shark") && !dfo_sde_method_adaptive("no"));
    ck_assert(dfo_sde_method_order("no", DFO_NOISE_ADDITIVE) == 0 && dfo_sde_method_text(0) && !dfo_sde_method_text(100));
    dfo_sde_free(NULL);
}
END_TEST

/* Without a plan: the states of solves from time to time; times that do not go on; no memory.  */
static dfo_status integrate(dfo_ctx *c, void *out)
{
    static const double times[3] = {0.1, 0.4, 0.9};
    struct equation e = {.name = "sine"};
    dfo_field f = sdefield_of(&e, 1);
    dfo_noise noise = sdefield_noise(&e, 1, DFO_NOISE_ADDITIVE, DFO_ITO);
    dfo_brownian b = {5, 0, 1, 1e-3};
    dfo_sde_options o = {.method = "sra1", .steps = 10};
    dfo_real x[2] = {1, 2};
    dfo_sde *sde;
    dfo_status status = dfo_sde_new(c, &o, &sde);
    if (status == DFO_OK)
        status = dfo_sde_integrate(c, sde, &f, &noise, &b, dfo_batch_of(x, 2, 1), 3, times, out, NULL);
    dfo_sde_free(sde);
    return status;
}

START_TEST(without_plan)
{
    struct equation e = {.name = "sine"};
    dfo_field f = sdefield_of(&e, 1);
    dfo_noise noise = sdefield_noise(&e, 1, DFO_NOISE_ADDITIVE, DFO_ITO);
    dfo_brownian b = {5, 0, 1, 1e-3};
    dfo_real x[2] = {1, 2}, out[6];
    double times[2] = {0.5, 0.5};
    OK(integrate(ctx, out));
    ck_assert(!memcmp(out, x, sizeof x));
    sdefield_solve(ctx, "sra1", 10, &f, &noise, &b, 0.1, 0.4, 2, x);
    ck_assert(!memcmp(out + 2, x, sizeof x));
    sdefield_solve(ctx, "sra1", 10, &f, &noise, &b, 0.4, 0.9, 2, x);
    ck_assert(!memcmp(out + 4, x, sizeof x));
    dfo_sde *sde = sdefield_solver(ctx, "sra1", 10, 0);
    ck_assert_int_eq(dfo_sde_integrate(ctx, sde, &f, &noise, &b, dfo_batch_of(x, 2, 1), 2, times, out, NULL), DFO_EARG);
    ck_assert_int_eq(dfo_sde_integrate(ctx, sde, &f, &noise, &b, dfo_batch_of(x, 1, 2), 2, times, out, NULL), DFO_ESHAPE);
    times[1] = 2;
    ck_assert_int_eq(dfo_sde_integrate(ctx, sde, &f, &noise, &b, dfo_batch_of(x, 2, 1), 2, times, out, NULL), DFO_EARG);
    ck_assert_msg(strstr(dfo_ctx_error(ctx), "times of the path") != NULL, "%s", dfo_ctx_error(ctx));
    dfo_sde_free(sde);
    ck_assert_uint_ge(oom_check("stochastic solver", OOM_ALL, integrate, out), 2);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("stochastic equations " DFO_REAL_NAME);
    TCase *t = tcase_create("sde");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, single_steps);
    tcase_add_test(t, rows_alone);
    tcase_add_test(t, chosen_steps);
    tcase_add_test(t, refused);
    tcase_add_test(t, without_plan);
    suite_add_tcase(suite, t);
    return test_run(suite);
}
