/* Runge-Kutta methods, the control of steps, solves and their gradients: against the reference vectors and differences
 * (check_orders.c measures orders).  */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <diffeo/reversible.h>
#include "ctxfix.h"
#include "odefields.h"
#include "rk_impl.h"
#include "util.h"

/* max |got - want| over max(1, max |want|), as the vectors' README has it.  */
static void close_to(const char *what, const char *name, size_t n, const dfo_real *got, const double *want, double allowed)
{
    double worst = 0, size = 1;
    for (size_t i = 0; i < n; i++) {
        worst = fmax(worst, fabs((double)got[i] - want[i]));
        size = fmax(size, fabs(want[i]));
        ck_assert(isfinite((double)got[i]));
    }
    ck_assert_msg(worst <= allowed * size, "%s, %s: off by %g of %g", name, what, worst, size);
}

static void same_doubles(const char *what, const char *name, size_t n, const double *a, const double *b, double allowed)
{
    for (size_t i = 0; i < n; i++)
        ck_assert_msg(fabs(a[i] - b[i]) <= allowed * fmax(1, fabs(b[i])), "%s, %s %zu: %.17g, expected %.17g", name, what, i, a[i], b[i]);
}

static void each(const char *file, void (*run)(ref_case))
{
    ref_file *f = ref_open(file);
    ck_assert_uint_gt(ref_cases(f), 0);
    for (size_t i = 0; i < ref_cases(f); i++)
        run(ref_at(f, i));
    ref_close(f);
}

/* ---- coefficients and steps */

/* The vectors have no pairs of estimates (check_estimates.c).  */
static void tableau_case(ref_case c)
{
    const dfoi_tableau *m = dfoi_tableau_named(c.name);
    ck_assert_ptr_nonnull(m);
    ref_array a = ref_need(c, "outputs.a"), e = ref_get(c, "outputs.e");
    ck_assert_uint_eq(m->stages, a.shape[0]);
    ck_assert_uint_eq(m->order, (size_t)ref_number(c, "settings.order", 0));
    ck_assert_uint_eq(m->second ? 0 : m->embedded, (size_t)ref_number(c, "settings.embedded_order", 0));
    ck_assert(!memcmp(m->a, a.data, a.n * sizeof *m->a) && !memcmp(m->b, ref_need(c, "outputs.b").data, m->stages * sizeof *m->b));
    ck_assert(!memcmp(m->c, ref_need(c, "outputs.c").data, m->stages * sizeof *m->c));
    ck_assert((m->e && !m->second) == (e.data != NULL) && (!e.data || !memcmp(m->e, e.data, e.n * sizeof *m->e)));
}

START_TEST(tableaus)
{
    each("ode_tableaus", tableau_case);
    ck_assert_ptr_null(dfo_ode_method(1000));
    ck_assert(dfo_ode_method_order("rk4") == 4 && dfo_ode_method_stages("pd87") == 13 && !dfo_ode_method_order("no"));
}
END_TEST

static void step_case(ref_case c)
{
    const dfoi_tableau *m = dfoi_tableau_named(ref_text(c, "settings.tableau", ""));
    ref_array y0 = ref_need(c, "inputs.y0"), err = ref_get(c, "outputs.err");
    ck_assert_ptr_nonnull(m);
    double more = m->gamma != 0 ? 100 : 1;     /* what stiffness makes of rounding */
    dfo_field f = odefield_of(c, "inputs");
    dfo_run run = {.arena_size = dfoi_rk_size(m, &f, 1)};
    dfo_real x[64];
    dfoi_rk rk;
    run.arena = calloc(run.arena_size, sizeof *run.arena);
    for (size_t i = 0; i < y0.n; i++)
        x[i] = (dfo_real)y0.data[i];
    dfoi_rk_take(&rk, m, &f, &run, dfo_batch_of(x, 1, y0.n), 0);
    rk.t[0] = ref_number(c, "settings.t0", 0);
    rk.h[0] = ref_number(c, "settings.h", 0);
    ck_assert_int_eq(dfoi_rk_step(&rk), DFO_OK);
    close_to("y1", c.name, y0.n, rk.y, ref_need(c, "outputs.y1").data, more * (IS_DOUBLE ? 1e-13 : 2e-6));
    if (err.data)
        close_to("err", c.name, y0.n, rk.err, err.data, more * (IS_DOUBLE ? 1e-13 : 2e-6));
    ref_array inside[2] = {ref_get(c, "outputs.dense_030"), ref_get(c, "outputs.dense_077")};
    for (size_t i = 0; i < 2; i++) {
        double w[DFOI_STAGES];
        if (!inside[i].data)
            continue;
        ck_assert_uint_eq(dfoi_tableau_dense(m, i ? 0.77 : 0.3, w), 4);
        dfoi_rk_combine(&rk, m->stages, w, 0, rk.err);
        close_to("inside", c.name, y0.n, rk.err, inside[i].data, IS_DOUBLE ? 1e-13 : 2e-6);
    }
    free(run.arena);
}

START_TEST(single_steps)
{
    each("ode_steps", step_case);
}
END_TEST

/* ---- the control of steps */

static void controller_case(ref_case c)
{
    ref_array err = ref_need(c, "inputs.err"), accepted = ref_need(c, "outputs.accepted"), factor = ref_need(c, "outputs.factor");
    dfo_ode_options o = {.p = ref_number(c, "settings.P", 0), .i = ref_number(c, "settings.I", 0), .d = ref_number(c, "settings.D", 0)};
    dfoi_control control = DFOI_CONTROL_FIRST;
    for (size_t i = 0; i < err.n; i++) {
        double got;
        int took = dfoi_control_step(&o, ref_number(c, "settings.k", 0), &control, err.data[i], &got);
        ck_assert_msg(took == (int)accepted.data[i], "%s: attempt %zu", c.name, i);
        same_doubles("factor", c.name, 1, &got, factor.data + i, 1e-12);
    }
}

/* What is no number shrinks a step as much as an infinite error.  */
START_TEST(errors_that_are_no_numbers)
{
    const dfo_ode_options o = {.p = 0.4, .i = 0.7, .d = 0.1};
    const double err[] = {1e9, INFINITY, NAN};
    for (size_t i = 0; i < 3; i++) {
        dfoi_control control = DFOI_CONTROL_FIRST;
        double factor;
        ck_assert(!dfoi_control_step(&o, 5, &control, err[i], &factor) && factor == 0.2);
        ck_assert(control.last == 1 && control.before == 1 && control.lost == (i == 2));
    }
}
END_TEST

static void norm_case(ref_case c)
{
    ref_array y0 = ref_need(c, "inputs.y0"), y1 = ref_need(c, "inputs.y1"), err = ref_need(c, "inputs.y_err");
    dfo_ode_options o = {.rtol = ref_number(c, "settings.rtol", 0), .atol = ref_number(c, "settings.atol", 0)};
    dfo_real x[3][64];
    for (size_t i = 0; i < y0.n; i++)
        x[0][i] = (dfo_real)err.data[i], x[1][i] = (dfo_real)y0.data[i], x[2][i] = (dfo_real)y1.data[i];
    double got = sqrt(dfoi_error_squares(&o, y0.n, x[0], x[1], x[2]) / (double)y0.n);
    same_doubles("norm", c.name, 1, &got, ref_need(c, "outputs.err").data, IS_DOUBLE ? 1e-12 : 1e-6);
}

static void first_case(ref_case c)
{
    double d0 = ref_need(c, "outputs.d0").data[0], d1 = ref_need(c, "outputs.d1").data[0], d2 = ref_need(c, "outputs.d2").data[0];
    double h0 = dfoi_first_guess(d0, d1), h = dfoi_first_step(h0, d1, d2, ref_number(c, "settings.k", 0));
    same_doubles("h0", c.name, 1, &h0, ref_need(c, "outputs.h0").data, 1e-12);
    same_doubles("h", c.name, 1, &h, ref_need(c, "outputs.h").data, 1e-12);
}

static void control_case(ref_case c)
{
    if (!strncmp(c.name, "controller", 10))
        controller_case(c);
    else if (!strncmp(c.name, "error_norm", 10))
        norm_case(c);
    else
        first_case(c);
}

START_TEST(control)
{
    each("step_control", control_case);
}
END_TEST

/* ---- solves */

static dfo_ode *ode_of(const char *method, size_t steps, double rtol, double atol, int together)
{
    dfo_ode_options o;
    dfo_ode *ode;
    dfo_ode_defaults(&o);
    o.method = method;
    o.steps = steps;
    o.rtol = rtol;
    o.atol = atol;
    o.together = together;
    o.most = 1000000;
    OK(dfo_ode_new(ctx, &o, &ode));
    return ode;
}

/* A stiff field: few steps where explicit methods take theirs by stability; no gradient.  */
START_TEST(stiff)
{
    enum { N = 2, D = 2 };
    ref_file *file = ref_open("ode_steps");
    for (size_t i = 0; i < ref_cases(file); i++) {
        ref_case c = ref_at(file, i);
        if (strcmp(c.name, "kvaerno3_linear_0"))
            continue;
        dfo_field f = odefield_of(c, "inputs");
        double tol = IS_DOUBLE ? 1e-6 : 1e-4, t[2] = {0, 10}, times[101];
        for (int together = 0; together < 2; together++) {
            dfo_ode *ode = ode_of("kvaerno3", 0, tol, tol, together), *explicit = ode_of("dopri5", 0, tol, tol, together);
            dfo_real x[N * D] = {1, 2, -3, (dfo_real)0.5}, out[2 * N * D], want[2 * N * D], states[N * D * 101];
            dfo_ode_report few = {0}, many = {0};
            dfo_batch rows = dfo_batch_of(x, N, D);
            ck_assert_msg(dfo_ode_integrate(ctx, ode, &f, rows, 2, t, out, NULL, &few) == DFO_OK, "%s", dfo_ctx_error(ctx));
            dfo_ode_options o = *dfo_ode_options_of(explicit);
            o.most = 100000;
            dfo_ode_free(explicit);
            ck_assert_int_eq(dfo_ode_new(ctx, &o, &explicit), DFO_OK);
            ck_assert_int_eq(dfo_ode_integrate(ctx, explicit, &f, rows, 2, t, want, NULL, &many), DFO_OK);
            for (size_t k = N * D; k < 2 * N * D; k++)
                ck_assert_msg(fabs((double)out[k] - (double)want[k]) < 30 * tol, "%zu: %g, expected %g", k, (double)out[k], (double)want[k]);
            ck_assert_msg(few.accepted * 10 < many.accepted, "%llu steps, explicit %llu", (unsigned long long)few.accepted,
                          (unsigned long long)many.accepted);
            dfo_ode_trace trace = {.most = 100, .n = 1, .t = times, .x = states};
            dfo_run run = {.arena_size = dfo_ode_backward_scratch(ode, &f, N)};
            run.arena = calloc(run.arena_size, sizeof *run.arena);
            ck_assert_int_eq(dfo_ode_backward(ode, &f, &run, &trace, rows, NULL, NULL), DFO_EUNSUP);
            free(run.arena);
            dfo_ode_free(ode);
            dfo_ode_free(explicit);
        }
        dfo_reversible *reversible;
        ck_assert_int_eq(dfo_reversible_new(ctx, &(dfo_reversible_options){NULL, "kvaerno3", 0.99, 10}, &reversible), DFO_EARG);
    }
    ref_close(file);
}
END_TEST

/* States inside the steps, of rows that take their own, either way in time: as exact as the steps, for no evaluation more; what
 * a method is said to have, weights that are its own at the end.  */
START_TEST(save_points)
{
    enum { N = 3, D = 3, COUNT = 40 };
    static const char *const method[] = {"bosh3", "dopri5", "dopri5_classic", "tsit5"};
    ref_file *file = ref_open("ode_steps");
    double tol = IS_DOUBLE ? 1e-9 : 1e-5, w[DFOI_STAGES];
    dfo_field f = odefield_of(ref_at(file, 0), "inputs");
    ck_assert_uint_eq(f.d, D);
    for (size_t m = 0; m < 4; m++)
        for (int back = 0; back < 2; back++) {
            const dfoi_tableau *tableau = dfoi_tableau_named(method[m]);
            dfo_ode *ode = ode_of(method[m], 0, tol, tol, 0), *exact = ode_of("pd87", 0, tol / 100, tol / 100, 0);
            dfo_real x[N * D], out[COUNT * N * D], want[COUNT * N * D];
            double times[COUNT], ends[2];
            dfo_ode_report few = {0}, many = {0};
            for (size_t i = 0; i < N * D; i++)
                x[i] = (dfo_real)((double)(i / D + 1) * cos(3.0 * (double)i));
            for (size_t i = 0; i < COUNT; i++)
                times[i] = (back ? -0.01 : 0.02) * (double)i;
            ends[0] = times[0], ends[1] = times[COUNT - 1];
            dfo_batch rows = dfo_batch_of(x, N, D);
            ck_assert_int_eq(dfo_ode_integrate(ctx, ode, &f, rows, 2, ends, out, NULL, &few), DFO_OK);
            ck_assert_int_eq(dfo_ode_integrate(ctx, ode, &f, rows, COUNT, times, out, NULL, &many), DFO_OK);
            ck_assert_int_eq(dfo_ode_integrate(ctx, exact, &f, rows, COUNT, times, want, NULL, NULL), DFO_OK);
            ck_assert_uint_eq(few.evaluations, many.evaluations);
            for (size_t i = 0; i < COUNT * N * D; i++)
                ck_assert_msg(fabs((double)out[i] - (double)want[i]) < 200 * tol * (1 + fabs((double)want[i])), "%s: %zu is %g, expected %g",
                              method[m], i, (double)out[i], (double)want[i]);
            ck_assert_uint_eq(dfo_ode_method_dense(method[m]), m ? 4 : 3);
            dfoi_tableau_dense(tableau, 1, w);
            for (size_t i = 0; i < tableau->stages; i++)
                ck_assert(fabs(w[i] - tableau->b[i]) < 1e-13);
            dfo_ode_free(ode);
            dfo_ode_free(exact);
        }
    ck_assert(!dfo_ode_method_dense("rk4") && !dfo_ode_method_dense("pd87") && !dfo_ode_method_dense("no"));
    ref_close(file);
}
END_TEST

/* The end of a problem from its start, as n copies of the row.  */
static void solve_case(ref_case c, const char *method, double rtol, size_t rows, int together, double *error, uint64_t *evaluations)
{
    ref_array y0 = ref_need(c, "inputs.y0"), t = ref_need(c, "inputs.t"), y = ref_need(c, "outputs.y");
    dfo_field f = odefield_named(ref_text(c, "settings.problem", c.name), y0.n);
    dfo_ode *ode = ode_of(method, 0, rtol, rtol, together);
    dfo_ode_report r = {0};
    double times[64];
    size_t d = y0.n, count = t.n + 1;
    dfo_real *x = calloc(rows * d, sizeof *x), *out = calloc(count * rows * d, sizeof *out);
    times[0] = ref_number(c, "settings.t0", 0);
    memcpy(times + 1, t.data, t.n * sizeof *times);
    for (size_t i = 0; i < rows * d; i++)
        x[i] = (dfo_real)y0.data[i % d];
    size_t before = odefield_evaluations;
    OK(dfo_ode_integrate(ctx, ode, &f, dfo_batch_of(x, rows, d), count, times, out, NULL, &r));
    ck_assert_uint_eq(r.evaluations, odefield_evaluations - before);
    *error = 0;
    for (size_t m = 0; m < t.n; m++)
        for (size_t i = 0; i < rows * d; i++)
            *error = fmax(*error, fabs((double)out[(m + 1) * rows * d + i] - y.data[m * d + i % d]) / fmax(1, fabs(y.data[m * d + i % d])));
    *evaluations = r.evaluations;
    ck_assert_uint_gt(r.accepted, 0);
    dfo_ode_free(ode);
    free(x);
    free(out);
}

/* Errors follow the tolerance on every problem but those that amplify them without bound.  */
static void detest_case(ref_case c)
{
    static const char *const method[] = {"dopri5", "tsit5", "pd87", "dop853", "bosh3"};
    double error, rtol[] = {1e-6, IS_DOUBLE ? 1e-9 : 1e-5};
    uint64_t evaluations;
    if (!strcmp(c.name, "lorenz") || !strcmp(c.name, "van_der_pol"))
        return;
    for (size_t k = 0; k < 2; k++)
        for (size_t m = 0; m < (k ? 4 : 5); m++) {
            solve_case(c, method[m], rtol[k], m ? 1 : 3, m % 2, &error, &evaluations);
            int orbit = strstr(c.name, "_D") || !strcmp(c.name, "kepler"), near = strstr(c.name, "_B1") || strstr(c.name, "_C5");
            double allowed = (orbit ? 4000 : near ? 700 : 200) * rtol[k];
            ck_assert_msg(error <= (IS_DOUBLE ? allowed : allowed + 2e-3), "%s, %s at %g: error %g, %llu evaluations", c.name, method[m], rtol[k],
                          error, (unsigned long long)evaluations);
        }
}

START_TEST(problems)
{
    each("ode_reference", detest_case);
}
END_TEST

/* Quadratures are integrals along the way; rows alone are what each is by itself, bit for bit.  */
START_TEST(rows_and_quadratures)
{
    enum { N = 5 };
    dfo_field f = odefield_named("harmonic", 2);
    f.nq = 3;
    double t[2] = {0.5, 3}, q[3 * N], one[3];
    dfo_real x[2 * N], out[4 * N], single[4];
    for (size_t i = 0; i < N; i++)
        x[2 * i] = (dfo_real)(0.1 + (double)(i * i)), x[2 * i + 1] = (dfo_real)(1.0 / (double)(i + 1));
    dfo_ode *ode = ode_of("dopri5", 0, 1e-5, 1e-6, 0);
    OK(dfo_ode_integrate(ctx, ode, &f, dfo_batch_of(x, N, 2), 2, t, out, q, NULL));
    for (size_t i = 0; i < N; i++) {
        double a = (double)x[2 * i], b = (double)x[2 * i + 1], s = t[1] - t[0];
        double want[3] = {(a * a + b * b) * s / 2 + (a * a - b * b) * sin(2 * s) / 4 + a * b * sin(s) * sin(s),
                          (a * a + b * b) * s / 2 - (a * a - b * b) * sin(2 * s) / 4 - a * b * sin(s) * sin(s), (27 - 0.125) / 3};
        for (size_t k = 0; k < 3; k++)
            ck_assert_msg(fabs(q[3 * i + k] - want[k]) <= 1e-3 * (1 + want[k]), "row %zu: %zu is %g, expected %g", i, k, q[3 * i + k], want[k]);
        OK(dfo_ode_integrate(ctx, ode, &f, dfo_batch_of(x + 2 * i, 1, 2), 2, t, single, one, NULL));
        ck_assert(!memcmp(single + 2, out + 2 * N + 2 * i, 2 * sizeof *single) && !memcmp(one, q + 3 * i, sizeof one));
    }
    /* there and back */
    double back[2] = {3, 0.5};
    dfo_real home[4 * N];
    OK(dfo_ode_integrate(ctx, ode, &f, dfo_batch_of(out + 2 * N, N, 2), 2, back, home, q, NULL));
    for (size_t i = 0; i < 2 * N; i++)
        ck_assert(fabs((double)home[2 * N + i] - (double)x[i]) < 1e-3 * (1 + fabs((double)x[i])));
    dfo_ode_free(ode);
}
END_TEST

/* ---- gradients */

#ifdef DFO_DOUBLE
/* L = sum over rows of seed . end + seed . quadratures, and its gradient by the trace.  */
static double run_loss(const dfo_ode *ode, const dfo_field *f, dfo_run *run, dfo_ode_trace *trace, const dfo_real *x, dfo_real *gx)
{
    enum { N = 3, D = 3 };
    dfo_real y[N * D];
    double q[N * 2] = {0}, gq[N * 2], loss = 0;
    memcpy(y, x, sizeof y);
    run->status = DFO_OK;
    ck_assert_msg(dfo_ode_solve(ode, f, run, 0.1, 1.3, dfo_batch_of(y, N, D), q, trace, NULL) == DFO_OK, "%s", run->text);
    for (size_t i = 0; i < N * D; i++) {
        loss += cos((double)i) * (double)y[i];
        if (gx)
            gx[i] = (dfo_real)cos((double)i);
    }
    for (size_t i = 0; i < N * 2; i++) {
        loss += sin((double)i + 1) * q[i];
        gq[i] = sin((double)i + 1);
    }
    if (gx)
        ck_assert_msg(dfo_ode_backward(ode, f, run, trace, dfo_batch_of(gx, N, D), gq, NULL) == DFO_OK, "%s", run->text);
    return loss;
}

START_TEST(gradients)
{
    static const char *const method[] = {"euler", "rk4", "dopri5", "tsit5", "pd87", "dopri5", "dop853"};
    ref_file *file = ref_open("ode_steps");
    for (size_t i = 0; i < ref_cases(file); i++) {
        ref_case c = ref_at(file, i);
        if (strcmp(c.name, "mlp_rk4_h0"))
            continue;
        dfo_field f = odefield_of(c, "inputs");
        f.nq = 2;
        int chosen = _i >= 5;
        dfo_ode *ode = ode_of(method[_i], chosen ? 0 : 7, 1e-4, 1e-4, 1);
        dfo_real x[9], gx[9], gw[256] = {0}, states[9 * 101];
        double t[101], worst = 0;
        dfo_ode_trace trace = {.most = 100, .t = t, .x = states};
        dfo_run run = {.arena_size = dfo_ode_scratch(ode, &f, 3) + dfo_ode_backward_scratch(ode, &f, 3), .grads = gw};
        run.arena = calloc(run.arena_size, sizeof *run.arena);
        for (size_t k = 0; k < 9; k++)
            x[k] = (dfo_real)sin(2.0 * (double)k);
        run_loss(ode, &f, &run, &trace, x, gx);
        ck_assert(chosen ? trace.n > 2 && trace.n < 100 : trace.n == 7);
        /* Few states kept: the same gradient.  */
        dfo_real start[9], again[9], other[256] = {0};
        dfo_ode_trace times = trace;
        double gq[6];
        for (size_t k = 0; k < 9; k++) {
            start[k] = states[k];
            again[k] = (dfo_real)cos(5.0 * (double)k);
            gx[k] = again[k];
        }
        for (size_t k = 0; k < 6; k++)
            gq[k] = sin((double)k + 1);
        dfo_run less = {.arena_size = dfo_ode_checkpoint_scratch(ode, &f, 3, 100), .grads = other};
        less.arena = calloc(less.arena_size, sizeof *less.arena);
        times.x = NULL;
        for (times.most = 1; times.most <= 128; times.most *= 2) {
            dfo_real g[9];
            memcpy(g, again, sizeof g);
            memset(other, 0, sizeof other);
            ck_assert_int_eq(dfo_ode_checkpoint_backward(ode, &f, &less, &times, dfo_batch_of(start, 3, 3), dfo_batch_of(g, 3, 3), gq, NULL),
                             DFO_OK);
            memset(gw, 0, sizeof gw);
            memcpy(gx, again, sizeof gx);
            ck_assert_int_eq(dfo_ode_backward(ode, &f, &run, &trace, dfo_batch_of(gx, 3, 3), gq, NULL), DFO_OK);
            for (size_t k = 0; k < 9; k++)
                ck_assert_msg(fabs((double)g[k] - (double)gx[k]) < (IS_DOUBLE ? 1e-12 : 1e-4), "%g, with states kept %g", (double)g[k], (double)gx[k]);
            for (size_t k = 0; k < 256; k++)
                ck_assert(fabs((double)other[k] - (double)gw[k]) < (IS_DOUBLE ? 1e-11 : 1e-3));
        }
        free(less.arena);
        memset(gw, 0, sizeof gw);
        run_loss(ode, &f, &run, &trace, x, gx);
        /* The steps of the trace are held: differences take them again as they were.  */
        for (size_t k = 0; k < 9 && !chosen; k++) {
            dfo_real was = x[k], h = (dfo_real)1e-5;
            x[k] = was + h;
            double up = run_loss(ode, &f, &run, &trace, x, NULL);
            x[k] = was - h;
            double down = run_loss(ode, &f, &run, &trace, x, NULL);
            x[k] = was;
            worst = fmax(worst, fabs((up - down) / (2 * (double)h) - (double)gx[k]));
        }
        ck_assert_msg(worst < 1e-8, "%s: gradient of rows off by %g", method[_i], worst);
        double *w;
        for (size_t k = 0; (w = odefield_weight(k)) && !chosen; k += 3) {
            double was = *w;
            *w = was + 1e-5;
            double up = run_loss(ode, &f, &run, &trace, x, NULL);
            *w = was - 1e-5;
            double down = run_loss(ode, &f, &run, &trace, x, NULL);
            *w = was;
            worst = fmax(worst, fabs((up - down) / 2e-5 - (double)gw[k]));
        }
        ck_assert_msg(worst < 1e-8, "%s: gradient of weights off by %g", method[_i], worst);
        free(run.arena);
        dfo_ode_free(ode);
    }
    ref_close(file);
}
END_TEST
#endif

/* ---- what goes wrong */

static dfo_status bad_eval(const dfo_field *f, dfo_run *run, const double *t, dfo_batch x, dfo_batch dx, double *dq)
{
    (void)run;
    (void)dq;
    for (size_t i = 0; i < x.n; i++) {
        double y = (double)dfo_row(x, i)[0];
        dfo_row(dx, i)[0] = f->state ? (dfo_real)(y * y) : (dfo_real)(t[i] > 0.5 && i == 1 ? NAN : y);
    }
    return DFO_OK;
}

static void refused(const char *method, size_t steps, double rtol, double atol, const char *words)
{
    dfo_ode_options o;
    dfo_ode *ode;
    dfo_ode_defaults(&o);
    o.method = method;
    o.steps = steps;
    o.rtol = rtol;
    o.atol = atol;
    ck_assert_int_eq(dfo_ode_new(ctx, &o, &ode), DFO_EARG);
    ck_assert_msg(strstr(dfo_ctx_error(ctx), words) != NULL, "%s", dfo_ctx_error(ctx));
}

START_TEST(bad_input)
{
    static const struct dfo_field_ops ops = {.type = "bad", .eval = bad_eval};
    dfo_field f = {.ops = &ops, .d = 1};
    dfo_real x[2] = {1, 1}, out[4];
    double t[2] = {0, 2}, same[2] = {1, 1};
    refused("rk5", 0, 1e-3, 1e-3, "no method is called 'rk5'; known: euler, midpoint");
    refused("rk4", 0, 1e-3, 1e-3, "rk4 has no estimate");
    refused("dopri5", 0, -1, 1e-3, "rtol -1");
    refused("dopri5", 0, 0, 0, "tolerances above 0");
    refused("dopri5", 0, NAN, 1, "tolerances above 0");
    dfo_ode *ode = ode_of("dopri5", 0, 1e-6, 1e-6, 0), *equal = ode_of("rk4", 10, 0, 0, 0);
    ck_assert_int_eq(dfo_ode_integrate(ctx, equal, &f, dfo_batch_of(x, 2, 1), 2, t, out, NULL, NULL), DFO_ENUM);
    ck_assert_ptr_nonnull(strstr(dfo_ctx_error(ctx), "rk4, row 1, t = 0.4: not finite"));
    ck_assert_int_eq(dfo_ode_integrate(ctx, ode, &f, dfo_batch_of(x, 2, 1), 2, t, out, NULL, NULL), DFO_ENUM);
    ck_assert_msg(strstr(dfo_ctx_error(ctx), "row 1, t = 0.5") || strstr(dfo_ctx_error(ctx), "row 1, t = 0.4999"), "%s", dfo_ctx_error(ctx));
    f.state = &f;                          /* y' = y^2 from 1: infinite at t = 1 */
    ck_assert_int_eq(dfo_ode_integrate(ctx, ode, &f, dfo_batch_of(x, 2, 1), 2, t, out, NULL, NULL), DFO_ENUM);
    ck_assert_msg(strstr(dfo_ctx_error(ctx), "dopri5, row 0, t = ") != NULL, "%s", dfo_ctx_error(ctx));
    ck_assert_int_eq(dfo_ode_integrate(ctx, ode, &f, dfo_batch_of(x, 2, 1), 2, same, out, NULL, NULL), DFO_EARG);
    ck_assert_int_eq(dfo_ode_integrate(ctx, ode, &f, dfo_batch_of(x, 1, 2), 2, t, out, NULL, NULL), DFO_ESHAPE);
    dfo_ode_free(ode);
    dfo_ode_free(equal);
    dfo_ode_free(NULL);
}
END_TEST

/* Whatever makes a solve give up, it says where: the row, of rows together the one that is to blame, and the time.  */
START_TEST(giving_up)
{
    static const struct dfo_field_ops ops = {.type = "bad", .eval = bad_eval};
    static const struct { const char *method, *why; size_t steps, most; int square; double first, second, low, high; } how[] = {
        {"dopri5", "not finite", 0, 1000, 0, 1, 1, 0.3, 0.51},
        {"rk4", "not finite", 10, 1000, 0, 1, 1, 0.39, 0.41},
        {"kvaerno3", "not finite", 0, 1000, 0, 1, 1, 0.3, 0.51},
        {"tsit5", "the step became too small", 0, 1000, 1, 0.1, 1, 0.99, 1.01},
        {"pd87", "the step became too small", 0, 1000, 1, 0.1, 1, 0.99, 1.01},
        {"dop853", "the step became too small", 0, 1000, 1, 0.1, 1, 0.99, 1.01},
        {"dop853", "not finite", 0, 1000, 0, 1, 1, 0.3, 0.51},
        {"dopri5", "too many steps", 0, 60, 1, 0.1, 1, 0.5, 1},
        {"bosh3", "the field is not finite", 0, 1000, 0, 1, NAN, 0, 0},
    };
    for (size_t k = 0; k < sizeof how / sizeof *how; k++)
        for (int together = 0; together < 2; together++) {
            dfo_field f = {.ops = &ops, .d = 1, .state = how[k].square ? &ops : NULL};
            dfo_ode_options o;
            dfo_ode *ode;
            dfo_ode_report r = {0};
            dfo_real x[3] = {(dfo_real)how[k].first, (dfo_real)how[k].second, (dfo_real)how[k].first};
            char words[64];
            double t = -1;
            dfo_ode_defaults(&o);
            o.method = how[k].method;
            o.steps = how[k].steps;
            o.most = how[k].most;
            o.together = together;
            OK(dfo_ode_new(ctx, &o, &ode));
            dfo_run run = {.arena_size = dfo_ode_scratch(ode, &f, 3), .key.row = 100};
            run.arena = calloc(run.arena_size, sizeof *run.arena);
            ck_assert_int_eq(dfo_ode_solve(ode, &f, &run, 0, 2, dfo_batch_of(x, 3, 1), NULL, NULL, &r), DFO_ENUM);
            snprintf(words, sizeof words, "%s, row 101, t = ", how[k].method);
            ck_assert_msg(!strncmp(run.text, words, strlen(words)), "%s", run.text);
            ck_assert_uint_eq(run.error_row, 101);
            t = strtod(run.text + strlen(words), NULL);
            ck_assert_msg(t >= how[k].low && t <= how[k].high, "%s", run.text);
            ck_assert_msg(strstr(run.text, how[k].why) != NULL, "%s: expected '%s'", run.text, how[k].why);
            ck_assert_uint_le(r.accepted + r.rejected, how[k].most);
            free(run.arena);
            dfo_ode_free(ode);
        }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("solvers " DFO_REAL_NAME);
    TCase *t = tcase_create("ode");
    tcase_set_timeout(t, 120);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, tableaus);
    tcase_add_test(t, single_steps);
    tcase_add_test(t, errors_that_are_no_numbers);
    tcase_add_test(t, save_points);
    tcase_add_test(t, stiff);
    tcase_add_test(t, control);
    tcase_add_test(t, problems);
    tcase_add_test(t, rows_and_quadratures);
    tcase_add_test(t, bad_input);
    tcase_add_test(t, giving_up);
#ifdef DFO_DOUBLE
    tcase_add_loop_test(t, gradients, 0, 7);
#endif
    suite_add_tcase(suite, t);
    return test_run(suite);
}
