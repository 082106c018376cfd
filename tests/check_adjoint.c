/* Gradients by the continuous adjoint: against closed forms, against the gradient of fine steps as tolerances shrink, what is
 * added of rejected steps (nothing), memory, refusals.  */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <diffeo/ode.h>
#include "ctxfix.h"
#include "odefields.h"
#include "util.h"

#define SPAN 1.3

static dfo_ode *ode_of(const char *method, size_t steps, double tol, size_t most)
{
    dfo_ode_options o;
    dfo_ode *ode;
    dfo_ode_defaults(&o);
    o.method = method;
    o.steps = steps;
    o.rtol = o.atol = tol;
    o.most = most;
    o.together = 1;
    ck_assert_msg(dfo_ode_new(ctx, &o, &ode) == DFO_OK, "%s", dfo_ctx_error(ctx));
    return ode;
}

/* ---- closed forms: x' = A x of two numbers with the trace, and x' = w b(t) x with a kick */

static double own_weight[4];

static dfo_status linear_eval(const dfo_field *f, dfo_run *run, const double *t, dfo_batch x, dfo_batch dx, double *dq)
{
    const double *a = own_weight;
    (void)f;
    (void)run;
    (void)t;
    for (size_t i = 0; i < x.n; i++) {
        const dfo_real *y = dfo_row(x, i);
        dfo_real *to = dfo_row(dx, i), first = (dfo_real)(a[0] * (double)y[0] + a[1] * (double)y[1]);
        to[1] = (dfo_real)(a[2] * (double)y[0] + a[3] * (double)y[1]);
        to[0] = first;
        if (dq)
            dq[i] = a[0] + a[3];
    }
    return DFO_OK;
}

static dfo_status linear_vjp(const dfo_field *f, dfo_run *run, const double *t, dfo_batch x, dfo_batch gdx, const double *gdq, dfo_batch gx)
{
    const double *a = own_weight;
    (void)f;
    (void)t;
    for (size_t i = 0; i < x.n; i++) {
        dfo_real *g = dfo_row(gdx, i), *to = dfo_row(gx, i);
        for (size_t k = 0; k < 2; k++) {
            to[k] += (dfo_real)(a[k] * (double)g[0] + a[2 + k] * (double)g[1]);
            for (size_t j = 0; run->grads && j < 2; j++)
                run->grads[2 * k + j] += g[k] * dfo_row(x, i)[j];
            if (run->grads && gdq)
                run->grads[3 * k] += (dfo_real)gdq[i];
        }
        g[0] = g[1] = NAN;                 /* it may be overwritten, and nobody may count on it */
    }
    return DFO_OK;
}

static double bump(double t)
{
    return exp(-0.5 * pow((t - 0.6) / 0.08, 2));
}

static dfo_status kick_eval(const dfo_field *f, dfo_run *run, const double *t, dfo_batch x, dfo_batch dx, double *dq)
{
    (void)f;
    (void)run;
    (void)dq;
    for (size_t i = 0; i < x.n; i++)
        dfo_row(dx, i)[0] = (dfo_real)(own_weight[0] * bump(t[i])) * dfo_row(x, i)[0];
    return DFO_OK;
}

static dfo_status kick_vjp(const dfo_field *f, dfo_run *run, const double *t, dfo_batch x, dfo_batch gdx, const double *gdq, dfo_batch gx)
{
    (void)f;
    (void)gdq;
    for (size_t i = 0; i < x.n; i++) {
        dfo_row(gx, i)[0] += (dfo_real)(own_weight[0] * bump(t[i])) * dfo_row(gdx, i)[0];
        if (run->grads)
            run->grads[0] += (dfo_real)bump(t[i]) * dfo_row(x, i)[0] * dfo_row(gdx, i)[0];
    }
    return DFO_OK;
}

static const struct dfo_field_ops linear_ops = {.type = "linear", .eval = linear_eval, .vjp = linear_vjp},
                                  kick_ops = {.type = "kick", .eval = kick_eval, .vjp = kick_vjp};

/* The adjoint from the end, in exactly the memory that it says.  */
static dfo_status back(const dfo_ode *ode, const dfo_field *f, dfo_run *run, dfo_batch x, dfo_batch gx, const double *gq, dfo_ode_report *report)
{
    run->arena_size = dfo_ode_adjoint_scratch(ode, f, x.n);
    run->arena = calloc(run->arena_size, sizeof *run->arena);
    dfo_real *grads = run->grads;
    dfo_status status = dfo_ode_adjoint(ode, f, run, 0, SPAN, x, gx, gq, report);
    ck_assert(run->grads == grads && run->arena_used == 0);
    free(run->arena);
    return status;
}

static dfo_status there_and_back(const dfo_ode *ode, const dfo_field *f, dfo_run *run, dfo_batch x, dfo_batch gx, const double *gq,
                                 dfo_ode_report *report)
{
    dfo_run solve = {.arena_size = dfo_ode_scratch(ode, f, x.n)};
    solve.arena = calloc(solve.arena_size, sizeof *solve.arena);
    ck_assert_msg(dfo_ode_solve(ode, f, &solve, 0, SPAN, x, NULL, NULL, NULL) == DFO_OK, "%s", solve.text);
    free(solve.arena);
    return back(ode, f, run, x, gx, gq, report);
}

/* exp(t (s I + w K)) v, K the turn, or its transpose: x at t, the adjoint SPAN - t before the end.  */
static void turned(double t, double sign, const double *v, double *to)
{
    double size = exp(t * own_weight[0]), c = cos(t * own_weight[1]), s = sign * sin(t * own_weight[1]);
    to[0] = size * (c * v[0] + s * v[1]);
    to[1] = size * (-s * v[0] + c * v[1]);
}

static void linear_case(const char *method, size_t steps, double tol, double allowed)
{
    enum { N = 2, CUTS = 400 };
    const double begin[N][2] = {{1, -0.4}, {0.3, 2}}, g[N][2] = {{0.7, 1.1}, {-2, 0.1}}, gq[N] = {0.3, -0.8};
    double want[4] = {0}, home[2], x[2], a[2];
    dfo_real y[2 * N], gy[2 * N], gw[4] = {0};
    dfo_field f = {.ops = &linear_ops, .d = 2, .nq = 1};
    dfo_run run = {.grads = gw};
    dfo_ode *ode = ode_of(method, steps, tol, 100000);
    for (size_t i = 0; i < 2 * N; i++)
        y[i] = (dfo_real)begin[i / 2][i % 2], gy[i] = (dfo_real)g[i / 2][i % 2];
    ck_assert_msg(there_and_back(ode, &f, &run, dfo_batch_of(y, N, 2), dfo_batch_of(gy, N, 2), gq, NULL) == DFO_OK, "%s", run.text);
    for (size_t i = 0; i < N; i++) {
        turned(SPAN, -1, g[i], home);
        for (size_t k = 0; k < 2; k++) {
            ck_assert_msg(fabs((double)gy[2 * i + k] - home[k]) < allowed, "%s: gradient %g, expected %g", method, (double)gy[2 * i + k], home[k]);
            ck_assert_msg(fabs((double)y[2 * i + k] - begin[i][k]) < allowed, "%s: state %g, was %g", method, (double)y[2 * i + k], begin[i][k]);
        }
        for (size_t m = 0; m <= CUTS; m++) {           /* int a x^T dt by Simpson's rule */
            double t = SPAN * (double)m / CUTS, by = SPAN / CUTS / 3 * (m == 0 || m == CUTS ? 1 : m % 2 ? 4 : 2);
            turned(t, 1, begin[i], x);
            turned(SPAN - t, -1, g[i], a);
            for (size_t k = 0; k < 4; k++)
                want[k] += by * a[k / 2] * x[k % 2];
        }
        want[0] += SPAN * gq[i];
        want[3] += SPAN * gq[i];
    }
    for (size_t k = 0; k < 4; k++)
        ck_assert_msg(fabs((double)gw[k] - want[k]) < allowed, "%s: weight %zu's gradient %.9g, expected %.9g", method, k, (double)gw[k], want[k]);
    dfo_ode_free(ode);
}

/* Every method, in chosen steps if it has them.  */
START_TEST(linear_field)
{
    const double a[4] = {-0.5, 2, -2, -0.5};
    memcpy(own_weight, a, sizeof a);
    for (size_t m = 0; dfo_ode_method(m); m++) {
        const char *method = dfo_ode_method(m);
        size_t order = dfo_ode_method_order(method);
        double allowed = order < 2 ? 2e-2 : order < 3 ? 1e-4 : order < 4 ? 1e-6 : 1e-7;
        linear_case(method, order < 3 ? 1000 : order < 5 ? 400 : 40, 0, IS_DOUBLE ? allowed : fmax(allowed, 1e-3));
        if (dfo_ode_method_embedded(method))
            linear_case(method, 0, IS_DOUBLE ? 1e-7 : 1e-5, IS_DOUBLE ? 1e-5 : 1e-3);
    }
}
END_TEST

/* A field that is still but for an instant: steps are rejected there, and nothing of them is left.  */
START_TEST(rejected_steps)
{
    static const char *const method[] = {"dopri5", "pd87", "dop853", "kvaerno3"};
    double area = 0.08 * sqrt(2 * M_PI), size = exp(9 * area), tol = IS_DOUBLE ? 1e-8 : 1e-5;
    dfo_field f = {.ops = &kick_ops, .d = 1};
    own_weight[0] = 9;
    for (size_t m = 0; m < 4; m++) {
        dfo_ode *ode = ode_of(method[m], 0, tol, 100000);
        dfo_real x = (dfo_real)size, g = 3, gw = 0;
        dfo_run run = {.grads = &gw};
        dfo_ode_report r = {0};
        ck_assert_msg(back(ode, &f, &run, dfo_batch_of(&x, 1, 1), dfo_batch_of(&g, 1, 1), NULL, &r) == DFO_OK, "%s", run.text);
        ck_assert_uint_ge(r.rejected, 3);
        ck_assert_msg(fabs((double)x - 1) < 300 * tol, "%s: state %g", method[m], (double)x);
        ck_assert_msg(fabs((double)g - 3 * size) < 300 * tol, "%s: %g, expected %g", method[m], (double)g, 3 * size);
        ck_assert_msg(fabs((double)gw - 3 * size * area) < 300 * tol, "%s: weight's gradient %.9g, expected %.9g", method[m], (double)gw,
                      3 * size * area);
        dfo_ode_free(ode);
    }
}
END_TEST

/* ---- a net */

enum { N = 3, D = 3, NQ = 2, WEIGHTS = 256 };

struct gradient {
    dfo_real x[N * D], gx[N * D], gw[WEIGHTS];
    dfo_ode_report report;
};

static void start(struct gradient *g, double *gq)
{
    *g = (struct gradient){0};
    for (size_t i = 0; i < N * D; i++)
        g->x[i] = (dfo_real)sin(2.0 * (double)i), g->gx[i] = (dfo_real)cos((double)i);
    for (size_t i = 0; i < N * NQ; i++)
        gq[i] = sin((double)i + 1);
}

static void by_adjoint(const dfo_field *f, const char *method, size_t steps, double tol, struct gradient *g)
{
    double gq[N * NQ];
    dfo_ode *ode = ode_of(method, steps, tol, 100000);
    dfo_run run = {.grads = g->gw};
    start(g, gq);
    ck_assert_msg(there_and_back(ode, f, &run, dfo_batch_of(g->x, N, D), dfo_batch_of(g->gx, N, D), gq, &g->report) == DFO_OK, "%s", run.text);
    dfo_ode_free(ode);
}

static void by_trace(const dfo_field *f, const char *method, size_t steps, double tol, struct gradient *g)
{
    enum { MOST = 2000 };
    double gq[N * NQ], *t = calloc(MOST + 1, sizeof *t);
    dfo_real *states = calloc((MOST + 1) * N * D, sizeof *states);
    dfo_ode *ode = ode_of(method, steps, tol, 100000);
    dfo_ode_trace trace = {.most = MOST, .t = t, .x = states};
    dfo_run run = {.arena_size = dfo_ode_scratch(ode, f, N) + dfo_ode_backward_scratch(ode, f, N), .grads = g->gw};
    run.arena = calloc(run.arena_size, sizeof *run.arena);
    start(g, gq);
    ck_assert_msg(dfo_ode_solve(ode, f, &run, 0, SPAN, dfo_batch_of(g->x, N, D), NULL, &trace, NULL) == DFO_OK, "%s", run.text);
    ck_assert_int_eq(dfo_ode_backward(ode, f, &run, &trace, dfo_batch_of(g->gx, N, D), gq, NULL), DFO_OK);
    free(run.arena);
    free(states);
    free(t);
    dfo_ode_free(ode);
}

/* The largest difference of two gradients, of rows' and weights', over the second's largest number.  */
static double apart(const struct gradient *a, const struct gradient *b)
{
    double worst = 0, size = 0;
    for (size_t i = 0; i < N * D; i++) {
        worst = fmax(worst, fabs((double)a->gx[i] - (double)b->gx[i]));
        size = fmax(size, fabs((double)b->gx[i]));
    }
    for (size_t i = 0; i < WEIGHTS; i++) {
        worst = fmax(worst, fabs((double)a->gw[i] - (double)b->gw[i]));
        size = fmax(size, fabs((double)b->gw[i]));
    }
    return worst / size;
}

static void with_net(void (*run)(const dfo_field *))
{
    ref_file *file = ref_open("ode_steps");
    size_t found = 0;
    for (size_t i = 0; i < ref_cases(file); i++) {
        ref_case c = ref_at(file, i);
        if (strcmp(c.name, "mlp_rk4_h0"))
            continue;
        dfo_field f = odefield_of(c, "inputs");
        f.nq = NQ;
        run(&f);
        found++;
    }
    ck_assert_uint_eq(found, 1);
    ref_close(file);
}

/* Both gradients go to that of fine steps as tolerances shrink, about as fast as these.  */
static void shrinking(const dfo_field *f)
{
    static const char *const method[] = {"bosh3", "dopri5", "tsit5", "pd87", "dop853", "kvaerno3"};
    int last = IS_DOUBLE ? 9 : 5;
    struct gradient exact, adjoint, stored;
    by_trace(f, "pd87", 60, 0, &exact);
    for (size_t m = 0; m < 6; m++) {
        double first = 0, off = 0;
        for (int k = 3; k <= last; k++) {
            double tol = pow(10, -k), floor = IS_DOUBLE ? 0 : 5e-6;
            by_adjoint(f, method[m], 0, tol, &adjoint);
            off = apart(&adjoint, &exact);
            first = k == 3 ? off : first;
            ck_assert_msg(off < 30 * tol + floor, "%s at %g: adjoint off by %g", method[m], tol, off);
            if (m == 5)
                continue;
            by_trace(f, method[m], 0, tol, &stored);
            off = apart(&adjoint, &stored);
            ck_assert_msg(off < 200 * tol + floor, "%s at %g: adjoint and stored apart by %g", method[m], tol, off);
        }
        off = log10(first / apart(&adjoint, &exact)) / (last - 3);
        ck_assert_msg(!IS_DOUBLE || off > 0.9, "%s: the error falls like the tolerance to the power of %g", method[m], off);
    }
}

START_TEST(tolerances)
{
    with_net(shrinking);
}
END_TEST

#ifdef DFO_DOUBLE
/* In equal steps the error falls with the method's order.  */
static void orders_of(const dfo_field *f)
{
    struct gradient exact, few, many;
    by_trace(f, "pd87", 100, 0, &exact);
    for (size_t m = 0; dfo_ode_method(m); m++) {
        size_t order = dfo_ode_method_order(dfo_ode_method(m)), steps = order < 3 ? 100 : order < 5 ? 20 : 3;
        by_adjoint(f, dfo_ode_method(m), steps, 0, &few);
        by_adjoint(f, dfo_ode_method(m), 2 * steps, 0, &many);
        double slope = log(apart(&few, &exact) / apart(&many, &exact)) / log(2);
        ck_assert_msg(slope > (double)order - 0.4, "%s: order %g", dfo_ode_method(m), slope);
    }
}

START_TEST(orders)
{
    with_net(orders_of);
}
END_TEST
#endif

/* A loss that is 2^-20 of another has 2^-20 of its gradient, bit for bit; without gradients of weights the same rows.  */
static void scales(const dfo_field *f)
{
    struct gradient g, small, rows;
    double gq[N * NQ];
    dfo_ode *ode = ode_of("dopri5", 0, 1e-4, 100000);
    by_adjoint(f, "dopri5", 0, 1e-4, &g);
    ck_assert(g.gw[0] != 0);
    for (int k = 0; k < 2; k++) {
        dfo_run run = {.grads = k ? NULL : small.gw};
        struct gradient *to = k ? &rows : &small;
        start(to, gq);
        for (size_t i = 0; i < N * D && !k; i++)
            to->gx[i] = (dfo_real)(ldexp(1, -20) * (double)to->gx[i]);
        for (size_t i = 0; i < N * NQ && !k; i++)
            gq[i] = ldexp(1, -20) * gq[i];
        ck_assert_int_eq(there_and_back(ode, f, &run, dfo_batch_of(to->x, N, D), dfo_batch_of(to->gx, N, D), gq, NULL), DFO_OK);
    }
    ck_assert(!memcmp(rows.gx, g.gx, sizeof g.gx));
    for (size_t i = 0; i < N * D; i++)
        ck_assert(small.gx[i] == (dfo_real)(ldexp(1, -20) * (double)g.gx[i]));
    for (size_t i = 0; i < WEIGHTS; i++)
        ck_assert(small.gw[i] == (dfo_real)(ldexp(1, -20) * (double)g.gw[i]));
    dfo_ode_free(ode);
}

START_TEST(scaling)
{
    with_net(scales);
}
END_TEST

/* The same memory for any number of steps, less than a trace of some.  */
static void constant_memory(const dfo_field *f)
{
    dfo_ode *few = ode_of("rk4", 2, 0, 100), *many = ode_of("rk4", 100000, 0, 1000000), *chosen = ode_of("dopri5", 0, 1e-12, 1000000);
    ck_assert_uint_eq(dfo_ode_adjoint_scratch(few, f, N), dfo_ode_adjoint_scratch(many, f, N));
    ck_assert_uint_lt(dfo_ode_adjoint_scratch(chosen, f, 1000), 40 * 1000 * D);
    struct gradient g, exact;
    by_adjoint(f, "rk4", 3000, 0, &g);
    by_trace(f, "pd87", 60, 0, &exact);
    ck_assert_msg(apart(&g, &exact) < (IS_DOUBLE ? 1e-11 : 1e-3), "off by %g", apart(&g, &exact));
    dfo_ode_free(few);
    dfo_ode_free(many);
    dfo_ode_free(chosen);
}

START_TEST(memory)
{
    with_net(constant_memory);
}
END_TEST

/* ---- what goes wrong */

static dfo_status broken_vjp(const dfo_field *f, dfo_run *run, const double *t, dfo_batch x, dfo_batch gdx, const double *gdq, dfo_batch gx)
{
    (void)f;
    (void)run;
    (void)gdx;
    (void)gdq;
    for (size_t i = 0; i < x.n; i++)
        dfo_row(gx, i)[0] += i == 1 && t[i] < 0.7 ? (dfo_real)NAN : 0;
    return DFO_OK;
}

START_TEST(failures)
{
    static const struct dfo_field_ops broken = {.type = "broken", .eval = kick_eval, .vjp = broken_vjp}, none = {.type = "none", .eval = kick_eval};
    const struct { const dfo_field *f; const char *method, *words; size_t steps, most; dfo_status status; } bad[] = {
        {&(dfo_field){.ops = &none, .d = 1}, "dopri5", "adjoint: the field none has no gradient", 0, 1000, DFO_EUNSUP},
        {&(dfo_field){.ops = &broken, .d = 1}, "rk4", "adjoint: rk4, row 11, t = 0.78: not finite", 5, 1000, DFO_ENUM},
        {&(dfo_field){.ops = &broken, .d = 1}, "dopri5", "adjoint: dopri5, row 11, t = 0.7: not finite", 0, 100000, DFO_ENUM},
        {&(dfo_field){.ops = &kick_ops, .d = 1}, "bosh3", "adjoint: bosh3, row 11, t = 0.90022084", 0, 12, DFO_ENUM},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        dfo_ode *ode = ode_of(bad[i].method, bad[i].steps, 1e-5, bad[i].most);
        dfo_real x[2] = {1, 2}, g[2] = {1, 1};
        dfo_run run = {.arena_size = dfo_ode_adjoint_scratch(ode, bad[i].f, 2), .key.row = 10};
        run.arena = calloc(run.arena_size, sizeof *run.arena);
        own_weight[0] = 9;
        ck_assert_int_eq(dfo_ode_adjoint(ode, bad[i].f, &run, 0, SPAN, dfo_batch_of(x, 2, 1), dfo_batch_of(g, 2, 1), NULL, NULL), bad[i].status);
        ck_assert_msg(!strncmp(run.text, bad[i].words, strlen(bad[i].words)), "%s", run.text);
        free(run.arena);
        dfo_ode_free(ode);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("continuous adjoint " DFO_REAL_NAME);
    TCase *t = tcase_create("adjoint");
    tcase_set_timeout(t, 60);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, linear_field);
    tcase_add_test(t, rejected_steps);
    tcase_add_test(t, tolerances);
#ifdef DFO_DOUBLE
    tcase_add_test(t, orders);
#endif
    tcase_add_test(t, scaling);
    tcase_add_test(t, memory);
    tcase_add_test(t, failures);
    suite_add_tcase(suite, t);
    return test_run(suite);
}
