/* The symplectic leapfrog: order, its own inverse, areas, energy over long times, what goes wrong.  */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <diffeo/leapfrog.h>
#include "util.h"

/* ---- fields of (q, p), by kind */

enum kind { PENDULUM, FORCED, RELATIVE, WALL, KINDS = WALL };

static dfo_status eval(const dfo_field *f, dfo_run *run, const double *t, dfo_batch x, dfo_batch dx, double *dq)
{
    enum kind kind = *(const enum kind *)f->state;
    (void)run;
    ck_assert_ptr_null(dq);
    for (size_t i = 0; i < x.n; i++) {
        double q = (double)dfo_row(x, i)[0], p = (double)dfo_row(x, i)[1], a = -sin(q);
        a += kind == FORCED ? 0.7 * cos(t[i]) : 0;
        a = kind == WALL && i == 1 && t[i] > 0.45 ? NAN : a;
        dfo_row(dx, i)[0] = (dfo_real)(kind == RELATIVE ? p / sqrt(1 + p * p) : p);
        dfo_row(dx, i)[1] = (dfo_real)a;
    }
    return DFO_OK;
}

static const struct dfo_field_ops ops = {.type = "test", .eval = eval};

/* In exactly the memory that it says.  */
static dfo_status leap_of(enum kind kind, double t0, double t1, size_t steps, dfo_batch x, dfo_run *run, dfo_ode_report *report)
{
    dfo_field f = {.ops = &ops, .state = &kind, .d = 2};
    *run = (dfo_run){.arena_size = dfo_leapfrog_scratch(&f, x.n), .key.row = 40};
    run->arena = calloc(run->arena_size, sizeof *run->arena);
    dfo_status status = dfo_leapfrog(&f, run, t0, t1, steps, x, report);
    ck_assert_uint_eq(run->arena_used, 0);
    free(run->arena);
    return status;
}

static void leap(enum kind kind, double t0, double t1, size_t steps, dfo_real *x, size_t n)
{
    dfo_run run;
    ck_assert_msg(leap_of(kind, t0, t1, steps, dfo_batch_of(x, n, 2), &run, NULL) == DFO_OK, "%s", run.text);
}

#ifdef DFO_DOUBLE
static void exact(enum kind kind, double t1, double *x)
{
    dfo_field f = {.ops = &ops, .state = &kind, .d = 2};
    dfo_ctx *ctx;
    dfo_ode *ode;
    dfo_ode_options o;
    double t[2] = {0, t1}, out[4];
    dfo_ode_defaults(&o);
    o.method = "pd87";
    o.steps = 400;
    ck_assert_int_eq(dfo_ctx_new(&ctx), DFO_OK);
    ck_assert_int_eq(dfo_ode_new(ctx, &o, &ode), DFO_OK);
    ck_assert_int_eq(dfo_ode_integrate(ctx, ode, &f, dfo_batch_of(x, 1, 2), 2, t, out, NULL, NULL), DFO_OK);
    memcpy(x, out + 2, 2 * sizeof *x);
    dfo_ode_free(ode);
    dfo_ctx_free(ctx);
}

START_TEST(order)
{
    double want[2] = {0.9, -0.4}, error[4];
    exact((enum kind)_i, 4, want);
    for (size_t k = 0; k < 4; k++) {
        double x[2] = {0.9, -0.4};
        leap((enum kind)_i, 0, 4, (size_t)100 << k, x, 1);
        error[k] = hypot(x[0] - want[0], x[1] - want[1]);
        double slope = k ? log(error[k - 1] / error[k]) / log(2) : 2;
        ck_assert_msg(fabs(slope - 2) < 0.05, "kind %d: order %.3f", _i, slope);
    }
    ck_assert(error[3] > 1e-9 && error[3] < 1e-4);
}
END_TEST

/* The map keeps areas.  */
START_TEST(areas)
{
    double h = 1e-5, to[4][2];
    for (size_t k = 0; k < 4; k++) {
        double x[2] = {0.9 + (k < 2 ? k ? h : -h : 0), -0.4 + (k < 2 ? 0 : k > 2 ? h : -h)};
        leap((enum kind)_i, 0, 6, 20, x, 1);
        memcpy(to[k], x, sizeof x);
    }
    double area = ((to[1][0] - to[0][0]) * (to[3][1] - to[2][1]) - (to[1][1] - to[0][1]) * (to[3][0] - to[2][0])) / (4 * h * h);
    ck_assert_msg(fabs(area - 1) < 1e-8, "kind %d: %.12f", _i, area);
}
END_TEST
#endif

/* Back it undoes itself but for rounding, rows with others between them too.  */
START_TEST(there_and_back)
{
    enum { N = 5 };
    dfo_real x[3 * N];
    dfo_batch rows = {x, N, 2, 3};
    dfo_run run;
    dfo_ode_report report = {0};
    for (size_t i = 0; i < 3 * N; i++)
        x[i] = (dfo_real)cos((double)i);
    ck_assert_int_eq(leap_of((enum kind)_i, 0.5, 20, 400, rows, &run, &report), DFO_OK);
    ck_assert(report.evaluations == 801 && report.accepted == 400);
    ck_assert(fabs((double)x[0] - 1) > 1e-3);
    ck_assert_int_eq(leap_of((enum kind)_i, 20, 0.5, 400, rows, &run, NULL), DFO_OK);
    for (size_t i = 0; i < 3 * N; i++)
        ck_assert_msg(fabs((double)x[i] - cos((double)i)) < (IS_DOUBLE ? 1e-12 : 2e-4), "number %zu off by %g", i, (double)x[i] - cos((double)i));
    for (size_t i = 0; i < N; i++)
        ck_assert(x[3 * i + 2] == (dfo_real)cos((double)(3 * i + 2)));
}
END_TEST

/* A pendulum's energy after 10^5 steps is no further off than in the first thousand; that of Heun's method drifts away.  */
START_TEST(energy)
{
    enum { BLOCK = 10, BLOCKS = 10000 };
    double h = 0.1, first = 0, worst = 0, start = -cos(1.5);
    dfo_real x[2] = {(dfo_real)1.5, 0};
    for (size_t b = 0; b < BLOCKS; b++) {
        leap(PENDULUM, 0, BLOCK * h, BLOCK, x, 1);
        double off = fabs(0.5 * (double)x[1] * (double)x[1] - cos((double)x[0]) - start);
        first = b < 100 ? fmax(first, off) : first;
        worst = fmax(worst, off);
    }
    ck_assert_msg(first > 1e-5 && first < 2 * h * h, "%g in the first thousand steps", first);
    ck_assert_msg(worst < (IS_DOUBLE ? 1.05 : 1.5) * first, "%g in all, %g in the first thousand steps", worst, first);
    dfo_ctx *ctx;
    dfo_ode *ode;
    dfo_ode_options o;
    enum kind kind = PENDULUM;
    dfo_field f = {.ops = &ops, .state = &kind, .d = 2};
    dfo_real y[2] = {(dfo_real)1.5, 0}, out[4];
    double t[2] = {0, 1000};
    dfo_ode_defaults(&o);
    o.method = "heun";
    o.steps = 10000;
    ck_assert_int_eq(dfo_ctx_new(&ctx), DFO_OK);
    ck_assert_int_eq(dfo_ode_new(ctx, &o, &ode), DFO_OK);
    ck_assert_int_eq(dfo_ode_integrate(ctx, ode, &f, dfo_batch_of(y, 1, 2), 2, t, out, NULL, NULL), DFO_OK);
    ck_assert(fabs(0.5 * (double)out[3] * (double)out[3] - cos((double)out[2]) - start) > 20 * worst);
    dfo_ode_free(ode);
    dfo_ctx_free(ctx);
}
END_TEST

START_TEST(failures)
{
    dfo_real x[6] = {1, 0, 1, 0, 1, 0};
    dfo_run run;
    ck_assert_int_eq(leap_of(WALL, 0, 1, 10, dfo_batch_of(x, 3, 2), &run, NULL), DFO_ENUM);
    ck_assert_str_eq(run.text, "leapfrog, row 41, t = 0.5: not finite");
    ck_assert_int_eq(leap_of(PENDULUM, 0, 1, 0, dfo_batch_of(x, 3, 2), &run, NULL), DFO_EARG);
    ck_assert_str_eq(run.text, "leapfrog: 0 steps from 0 to 1");
    ck_assert_int_eq(leap_of(PENDULUM, 0, INFINITY, 3, dfo_batch_of(x, 3, 2), &run, NULL), DFO_EARG);
    ck_assert_int_eq(leap_of(PENDULUM, 0, 1, 3, dfo_batch_of(x, 2, 3), &run, NULL), DFO_ESHAPE);
    ck_assert(strstr(run.text, "of 2 numbers, an even one, got 3") != NULL);
    ck_assert_int_eq(leap_of(PENDULUM, 0, 1, 3, dfo_batch_of(x, 0, 2), &run, NULL), DFO_OK);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("leapfrog " DFO_REAL_NAME);
    TCase *t = tcase_create("leapfrog");
    tcase_set_timeout(t, 60);
#ifdef DFO_DOUBLE
    tcase_add_loop_test(t, order, 0, KINDS);
    tcase_add_loop_test(t, areas, 0, KINDS);
#endif
    tcase_add_loop_test(t, there_and_back, 0, KINDS);
    tcase_add_test(t, energy);
    tcase_add_test(t, failures);
    suite_add_tcase(suite, t);
    return test_run(suite);
}
