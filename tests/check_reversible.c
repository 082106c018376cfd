/* Reversible solvers: states and gradients of the reference vectors, the way back, the scheme on whole numbers.  */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <diffeo/reversible.h>
#include "ctxfix.h"
#include "odefields.h"
#include "util.h"

static void close_to(const char *name, const char *what, size_t n, const dfo_real *got, const double *want, double allowed)
{
    double size = 1;
    for (size_t i = 0; i < n; i++)
        size = fmax(size, fabs(want[i]));
    for (size_t i = 0; i < n; i++)
        ck_assert_msg(fabs((double)got[i] - want[i]) <= allowed * size, "%s, %s: %zu is %.17g, expected %.17g", name, what, i, (double)got[i],
                      want[i]);
}

static dfo_reversible *made(const char *scheme, const char *method, double coupling, size_t steps)
{
    dfo_reversible_options o = {scheme, method, coupling, steps};
    dfo_reversible *rev;
    OK(dfo_reversible_new(ctx, &o, &rev));
    return rev;
}

static dfo_run run_of(const dfo_reversible *rev, const dfo_field *f, size_t rows)
{
    dfo_run run = {.arena_size = dfo_reversible_scratch(rev, f, rows)};
    run.arena = calloc(run.arena_size, sizeof *run.arena);
    ck_assert_ptr_nonnull(run.arena);
    memset(run.arena, -1, run.arena_size * sizeof *run.arena);      /* not a number */
    return run;
}

/* The states after each step, the way back, the gradient of seed . y_N with respect to the start and the weights.  */
static void reference_case(ref_case c)
{
    int mf = ref_get(c, "outputs.z").data && strncmp(c.name, "alf", 3), alf = !strncmp(c.name, "alf", 3);
    if (strstr(c.name, "sde"))
        return;
    ref_array y0 = ref_need(c, "inputs.y0").data ? ref_need(c, "inputs.y0") : ref_need(c, "inputs.z0"), seed = ref_need(c, "inputs.seed");
    size_t d = y0.n, n = (size_t)ref_number(c, "settings.nsteps", 0);
    double t0 = ref_number(c, "settings.t0", 0), h = ref_number(c, "settings.h", 0), allowed = IS_DOUBLE ? 1e-12 : 1e-5;
    dfo_field f = odefield_of(c, "inputs");
    dfo_reversible *rev = made(mf ? "mccallum-foster" : alf ? "leapfrog" : "heun", ref_text(c, "settings.tableau", "midpoint"),
                               mf ? ref_number(c, "settings.coupling", 1) : alf ? ref_number(c, "settings.eta", 1) : 1, n);
    dfo_run run = run_of(rev, &f, 1);
    dfo_real y[8], s[8], gy[8], gs[8], gw[256] = {0};
    dfo_batch by = dfo_batch_of(y, 1, d), bs = dfo_batch_of(s, 1, d), bgy = dfo_batch_of(gy, 1, d), bgs = dfo_batch_of(gs, 1, d);
    for (size_t i = 0; i < d; i++) {
        y[i] = (dfo_real)y0.data[i];
        gy[i] = (dfo_real)seed.data[i];
        gs[i] = 0;
    }
    RUN(dfo_reversible_start(rev, &f, &run, t0, by, bs));
    RUN(dfo_reversible_forward(rev, &f, &run, t0, t0 + (double)n * h, by, bs, NULL));
    close_to(c.name, "y", d, y, ref_need(c, alf ? "outputs.z" : "outputs.y").data + n * d, allowed);
    close_to(c.name, "second state", d, s, ref_need(c, mf ? "outputs.z" : alf ? "outputs.v" : "outputs.yh").data + n * d, allowed);
    run.grads = gw;
    RUN(dfo_reversible_backward(rev, &f, &run, t0, t0 + (double)n * h, by, bs, bgy, bgs, NULL));
    close_to(c.name, "start", d, y, y0.data, 10 * allowed);
    RUN(dfo_reversible_start_backward(rev, &f, &run, t0, by, bgy, bgs));
    close_to(c.name, "gradient", d, gy, ref_need(c, alf && ref_get(c, "outputs.grad_z0").data ? "outputs.grad_z0" : "outputs.grad_y0").data,
             10 * allowed);
    static const char *const name[] = {"outputs.grad_W1", "outputs.grad_wt", "outputs.grad_b1", "outputs.grad_W2", "outputs.grad_b2"};
    for (size_t k = 0, at = 0; k < 5; k++) {
        ref_array g = ref_need(c, name[k]);
        close_to(c.name, name[k], g.n, gw + at, g.data, 10 * allowed);
        at += g.n;
    }
    free(run.arena);
    dfo_reversible_free(rev);
}

START_TEST(reference)
{
    static const char *const file[] = {"reversible_mf", "reversible_other"};
    for (size_t k = 0; k < 2; k++) {
        ref_file *f = ref_open(file[k]);
        for (size_t i = 0; i < ref_cases(f); i++)
            reference_case(ref_at(f, i));
        ref_close(f);
    }
}
END_TEST

static const struct {
    const char *scheme, *method;
    double coupling;
} kind[] = {{NULL, "rk4", 0.999}, {NULL, "dopri5", 0.99}, {NULL, "midpoint", 0.9}, {"heun", NULL, 1}, {"leapfrog", NULL, 1}, {"leapfrog", NULL, 0.9}};

/* 50 steps and back: what is lost is rounding times the scheme's growth.  */
START_TEST(there_and_back)
{
    dfo_field f = odefield_named("B5", 3);
    dfo_reversible *rev = made(kind[_i].scheme, kind[_i].method, kind[_i].coupling, 50);
    dfo_run run = run_of(rev, &f, 4);
    dfo_real y[12], s[12], start[12];
    dfo_batch by = dfo_batch_of(y, 4, 3), bs = dfo_batch_of(s, 4, 3);
    for (size_t i = 0; i < 12; i++)
        start[i] = y[i] = (dfo_real)cos(2.0 * (double)i);
    RUN(dfo_reversible_start(rev, &f, &run, 0, by, bs));
    RUN(dfo_reversible_forward(rev, &f, &run, 0, 2, by, bs, NULL));
    ck_assert(fabs((double)y[0] - (double)start[0]) > 1e-3);
    RUN(dfo_reversible_inverse(rev, &f, &run, 0, 2, by, bs));
    double allowed = 200 * (double)DFO_REAL_EPS * dfo_reversible_growth(rev);
    for (size_t i = 0; i < 12; i++)
        ck_assert_msg(fabs((double)y[i] - (double)start[i]) <= allowed, "%zu is off by %g, bound %g", i,
                      fabs((double)y[i] - (double)start[i]), allowed);
    free(run.arena);
    dfo_reversible_free(rev);
}
END_TEST

#ifdef DFO_DOUBLE
/* Quadratures' gradients, of rows and weights, against differences.  */
static double loss_of(const dfo_reversible *rev, const dfo_field *f, dfo_run *run, const dfo_real *start, dfo_real *gy)
{
    dfo_real y[6], s[6], gs[6] = {0};
    double q[4] = {0}, gq[4], loss = 0;
    dfo_batch by = dfo_batch_of(y, 2, 3), bs = dfo_batch_of(s, 2, 3);
    memcpy(y, start, sizeof y);
    ck_assert_int_eq(dfo_reversible_start(rev, f, run, 0.2, by, bs), DFO_OK);
    ck_assert_int_eq(dfo_reversible_forward(rev, f, run, 0.2, 1.2, by, bs, q), DFO_OK);
    for (size_t i = 0; i < 6; i++) {
        loss += cos((double)i) * (double)y[i];
        if (gy)
            gy[i] = (dfo_real)cos((double)i);
    }
    for (size_t i = 0; i < 4; i++) {
        gq[i] = sin((double)i + 1);
        loss += gq[i] * q[i];
    }
    if (gy) {
        ck_assert_int_eq(dfo_reversible_backward(rev, f, run, 0.2, 1.2, by, bs, dfo_batch_of(gy, 2, 3), dfo_batch_of(gs, 2, 3), gq), DFO_OK);
        ck_assert_int_eq(dfo_reversible_start_backward(rev, f, run, 0.2, by, dfo_batch_of(gy, 2, 3), dfo_batch_of(gs, 2, 3)), DFO_OK);
    }
    return loss;
}

START_TEST(gradients)
{
    ref_file *file = ref_open("reversible_mf");
    dfo_field f = odefield_of(ref_at(file, 0), "inputs");
    f.nq = 2;
    dfo_reversible *rev = made(kind[_i].scheme, kind[_i].method, kind[_i].coupling, 6);
    dfo_run run = run_of(rev, &f, 2);
    dfo_real x[6], gy[6], gw[256] = {0};
    double worst = 0, *w;
    for (size_t i = 0; i < 6; i++)
        x[i] = (dfo_real)sin(1.3 * (double)i);
    run.grads = gw;
    loss_of(rev, &f, &run, x, gy);
    run.grads = NULL;
    for (size_t i = 0; i < 6; i++) {
        dfo_real was = x[i];
        x[i] = was + 1e-5;
        double up = loss_of(rev, &f, &run, x, NULL);
        x[i] = was - 1e-5;
        worst = fmax(worst, fabs((up - loss_of(rev, &f, &run, x, NULL)) / 2e-5 - (double)gy[i]));
        x[i] = was;
    }
    for (size_t k = 0; (w = odefield_weight(k)); k++) {
        double was = *w;
        *w = was + 1e-5;
        double up = loss_of(rev, &f, &run, x, NULL);
        *w = was - 1e-5;
        worst = fmax(worst, fabs((up - loss_of(rev, &f, &run, x, NULL)) / 2e-5 - (double)gw[k]));
        *w = was;
    }
    ck_assert_msg(worst < 1e-8, "off by %g", worst);
    free(run.arena);
    dfo_reversible_free(rev);
    ref_close(file);
}
END_TEST

/* The order of the wrapper is its method's.  */
START_TEST(orders)
{
    static const struct { const char *scheme, *method; double order; } some[] = {{NULL, "midpoint", 2}, {NULL, "bosh3", 3}, {NULL, "rk4", 4},
                                                                                {"heun", NULL, 2}, {"leapfrog", NULL, 2}};
    dfo_field f = odefield_named("A3", 1);
    double error[2];
    for (size_t k = 0; k < 2; k++) {
        dfo_reversible *rev = made(some[_i].scheme, some[_i].method, 1, k ? 80 : 40);
        dfo_run run = run_of(rev, &f, 1);
        dfo_real y[1] = {1}, s[1];
        RUN(dfo_reversible_start(rev, &f, &run, 0, dfo_batch_of(y, 1, 1), dfo_batch_of(s, 1, 1)));
        RUN(dfo_reversible_forward(rev, &f, &run, 0, 2, dfo_batch_of(y, 1, 1), dfo_batch_of(s, 1, 1), NULL));
        error[k] = fabs((double)y[0] - exp(sin(2.0)));
        free(run.arena);
        dfo_reversible_free(rev);
    }
    double order = log2(error[0] / error[1]);
    ck_assert_msg(fabs(order - some[_i].order) < 0.3 || order > some[_i].order, "order %g", order);
}
END_TEST
#endif

/* 10,000 steps of the scheme on whole numbers give back every bit.  */
START_TEST(whole_numbers)
{
    dfo_field f = odefield_named("harmonic", 2);
    dfo_reversible *rev = made(NULL, "rk4", 1, 10000), *other = made("heun", NULL, 1, 10);
    dfo_run run = run_of(rev, &f, 3);
    int64_t y[6], s[6], start[6], moved = 0;
    for (size_t i = 0; i < 6; i++)
        start[i] = y[i] = s[i] = (int64_t)(sin((double)i + 1) * 1099511627776.0);          /* 2^40 */
    RUN(dfo_reversible_fixed_forward(rev, &f, &run, 0, 100.3, 40, 3, y, s));
    for (size_t i = 0; i < 6; i += 2) {                /* a rotation by 100.3 */
        double a = (double)start[i], b = (double)start[i + 1], want = a * cos(100.3) + b * sin(100.3);
        ck_assert_msg(fabs((double)y[i] - want) < (IS_DOUBLE ? 1e-6 : 1e-2) * 1099511627776.0, "%g, expected %g", (double)y[i], want);
        moved |= y[i] - start[i];
    }
    RUN(dfo_reversible_fixed_inverse(rev, &f, &run, 0, 100.3, 40, 3, y, s));
    ck_assert(moved && !memcmp(y, start, sizeof y) && !memcmp(s, start, sizeof s));
    ck_assert_int_eq(dfo_reversible_fixed_forward(other, &f, &run, 0, 1, 40, 3, y, s), DFO_EUNSUP);
    y[0] = (int64_t)1 << 62;
    run.status = DFO_OK;
    ck_assert_int_eq(dfo_reversible_fixed_forward(rev, &f, &run, 0, 1, 40, 3, y, s), DFO_ENUM);
    ck_assert_ptr_nonnull(strstr(run.text, "row 0, t = 0"));
    free(run.arena);
    dfo_reversible_free(rev);
    dfo_reversible_free(other);
}
END_TEST

START_TEST(refused)
{
    static const dfo_reversible_options bad[] = {{"euler", NULL, 1, 1}, {NULL, "rk5", 1, 1}, {NULL, NULL, 0, 1}, {NULL, NULL, 1.1, 1},
                                                 {"leapfrog", NULL, 0.5, 1}, {NULL, NULL, 1, 0}, {NULL, NULL, NAN, 1}};
    dfo_reversible *rev;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        ck_assert_int_eq(dfo_reversible_new(ctx, &bad[i], &rev), DFO_EARG);
    dfo_reversible_free(NULL);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("reversible solvers " DFO_REAL_NAME);
    TCase *t = tcase_create("reversible");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, reference);
    tcase_add_loop_test(t, there_and_back, 0, 6);
    tcase_add_test(t, whole_numbers);
    tcase_add_test(t, refused);
#ifdef DFO_DOUBLE
    tcase_add_loop_test(t, gradients, 0, 6);
    tcase_add_loop_test(t, orders, 0, 5);
#endif
    suite_add_tcase(suite, t);
    return test_run(suite);
}
