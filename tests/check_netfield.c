/* Fields made of nets: values against plain loops, gradients of solves against differences, paths, rows alone and together.  */
#include <jansson.h>
#include <math.h>
#include <string.h>

#include <diffeo/netfield.h>
#include <diffeo/ode.h>
#include <diffeo/plan.h>
#include "testrun.h"
#include "util.h"

#define ROWS 131                   /* more than the net takes at a time, and a panel that is not full */
#define D 3
#define HIDDEN 5
#define CHANNELS 2
#define POINTS 4

static const double times[POINTS] = {0, 0.5, 1.25, 2};
static const dfo_path path = {POINTS, CHANNELS, times};
static dfo_ctx *ctx;
static dfo_store *store;
static dfo_net *net;
static dfo_ode *ode;
static dfo_real x[ROWS * D], other[ROWS * 2], gother[ROWS * 2], coefficients[ROWS * 4 * (POINTS - 1) * CHANNELS];
static dfo_cond cond, gcond;
static dfo_netfield field;

#define OK(call) ck_assert_msg((call) == DFO_OK, "%s", dfo_ctx_error(ctx))
#define RUN(call) ck_assert_msg((call) == DFO_OK, "%s", t->run.text)

static void make(size_t d, size_t out, const char *type)
{
    const dfo_shape in[3] = {dfo_shape_vector(d), dfo_shape_vector(2), dfo_shape_vector(1)};
    dfo_build build = {.ctx = ctx, .store = store, .seed = 5, .path = "net"};
    json_t *config = json_pack("{s:s, s:[i], s:s}", "type", type, "hidden", HIDDEN, "activation", "tanh");
    OK(dfo_net_new(&build, config, 3, in, dfo_shape_vector(out), 0, &net));
    json_decref(config);
}

/* A timed net with a condition, driven by a path or (_i = 0) not.  */
static void setup_with(size_t driven)
{
    dfo_real points[ROWS * POINTS * CHANNELS];
    dfo_ode_options options;
    dfo_ode_defaults(&options);
    options.method = "rk4";
    options.steps = 2;
    OK(dfo_ode_new(ctx, &options, &ode));
    make(D, driven ? D * CHANNELS : D, "mlp");
    dfo_draw_real_normal((dfo_key){.seed = 1, .purpose = DFO_FOR_TEST}, ROWS * D, x);
    dfo_draw_real_normal((dfo_key){.seed = 2, .purpose = DFO_FOR_TEST}, ROWS * 2, other);
    dfo_draw_real_normal((dfo_key){.seed = 3, .purpose = DFO_FOR_TEST}, ROWS * POINTS * CHANNELS, points);
    dfo_batch rows = dfo_batch_of(coefficients, ROWS, dfo_path_size(&path));
    OK(dfo_path_fit(ctx, &path, DFO_PATH_HERMITE, DFO_PATH_CARRY, dfo_batch_of(points, ROWS, POINTS * CHANNELS), NULL, rows));
    cond = gcond = (dfo_cond){.n = 1, .part = {{dfo_batch_of(other, ROWS, 2), dfo_shape_vector(2)}}};
    gcond.part[0].rows.x = gother;
    field = (dfo_netfield){.net = net, .timed = 1, .path = driven ? &path : NULL, .rows = rows};
}

static void setup(void)
{
    ck_assert_int_eq(dfo_ctx_new(&ctx), DFO_OK);
    OK(dfo_store_new(ctx, &store));
}

static void teardown(void)
{
    dfo_ode_free(ode);
    dfo_net_free(net);
    dfo_store_free(store);
    dfo_ctx_free(ctx);
}

static testrun *run_for(const dfo_field *f)
{
    size_t solve = dfo_ode_scratch(ode, f, ROWS), back = dfo_ode_backward_scratch(ode, f, ROWS);
    dfo_need need = {.rows = ROWS, .scratch = solve > back ? solve : back};
    testrun *t;
    OK(testrun_new(ctx, store, &need, &t));
    return t;
}

static double weight(const char *name, size_t i)
{
    return (double)dfo_store_weights(store)[dfo_store_find(store, name)->offset + i];
}

/* Output o of the net at row i and time t.  */
static double plain(size_t i, double t, size_t o)
{
    double in[D + 3] = {0, 0, 0, (double)other[2 * i], (double)other[2 * i + 1], t}, sum = weight("net.b1", o);
    for (size_t j = 0; j < D; j++)
        in[j] = (double)x[i * D + j];
    for (size_t k = 0; k < HIDDEN; k++) {
        double a = weight("net.b0", k);
        for (size_t j = 0; j < D + 3; j++)
            a += weight("net.w0", k * (D + 3) + j) * in[j];
        sum += weight("net.w1", o * HIDDEN + k) * tanh(a);
    }
    return sum;
}

START_TEST(values)
{
    setup_with((size_t)_i);
    field.piece = 1;
    dfo_field f = dfo_netfield_of(&field, &cond, NULL);
    testrun *t = run_for(&f);
    dfo_real dx[ROWS * D];
    double at[ROWS];
    for (size_t i = 0; i < ROWS; i++)
        at[i] = 0.5 + 0.75 * (double)i / ROWS;
    RUN(f.ops->eval(&f, &t->run, at, dfo_batch_of(x, ROWS, D), dfo_batch_of(dx, ROWS, D), NULL));
    testrun_check(t, "values");
    for (size_t i = 0; i < ROWS; i++)
        for (size_t a = 0; a < D; a++) {
            dfo_real slope[CHANNELS];
            dfo_path_slope(&path, dfo_row(field.rows, i), 1, at[i], slope);
            double want = _i ? 0 : plain(i, at[i], a);
            for (size_t c = 0; _i && c < CHANNELS; c++)
                want += plain(i, at[i], a * CHANNELS + c) * (double)slope[c];
            double got = (double)dx[i * D + a], allowed = (IS_DOUBLE ? 1e-12 : 1e-5) * (1 + fabs(want));
            ck_assert_msg(fabs(got - want) < allowed, "row %zu: %.17g, expected %.17g", i, got, want);
        }
    testrun_free(t);
}
END_TEST

/* One path is time itself: the field without a path, bit by bit.  Rows alone are rows together.  */
START_TEST(paths_and_rows)
{
    const double even[3] = {0, 1, 2};
    const dfo_path time = {3, 1, even};
    dfo_real points[ROWS * 3], rows[ROWS * 8], a[ROWS * D], b[ROWS * D];
    setup_with(0);
    for (size_t i = 0; i < ROWS * 3; i++)
        points[i] = (dfo_real)even[i % 3];
    OK(dfo_path_fit(ctx, &time, DFO_PATH_SPLINE, DFO_PATH_CARRY, dfo_batch_of(points, ROWS, 3), NULL, dfo_batch_of(rows, ROWS, 8)));
    dfo_netfield driven = {.net = net, .timed = 1, .path = &time, .rows = dfo_batch_of(rows, ROWS, 8)};
    dfo_field f = dfo_netfield_of(&field, &cond, NULL), g = dfo_netfield_of(&driven, &cond, NULL);
    testrun *t = run_for(&g);
    memcpy(a, x, sizeof x);
    memcpy(b, x, sizeof x);
    RUN(dfo_ode_solve(ode, &f, &t->run, 0, 1, dfo_batch_of(a, ROWS, D), NULL, NULL, NULL));
    RUN(dfo_ode_solve(ode, &g, &t->run, 0, 1, dfo_batch_of(b, ROWS, D), NULL, NULL, NULL));
    ck_assert(!memcmp(a, b, sizeof a) && memcmp(a, x, sizeof a));
    for (size_t i = 0; i < ROWS; i += 13) {
        dfo_real one[D];
        dfo_cond its = dfo_cond_rows(&cond, i, 1);
        memcpy(one, x + i * D, sizeof one);
        driven.rows = dfo_batch_of(rows + i * 8, 1, 8);
        g.cond = &its;
        RUN(dfo_ode_solve(ode, &g, &t->run, 0, 1, dfo_batch_of(one, 1, D), NULL, NULL, NULL));
        ck_assert(!memcmp(one, b + i * D, sizeof one));
    }
    testrun_free(t);
}
END_TEST

#ifdef DFO_DOUBLE
/* Through all pieces; trace (2 steps a piece) may be NULL.  */
static void solve(testrun *t, const dfo_field *f, dfo_batch rows, dfo_ode_trace *trace)
{
    for (field.piece = 0; field.piece + 1 < POINTS; field.piece++)
        RUN(dfo_ode_solve(ode, f, &t->run, times[field.piece], times[field.piece + 1], rows, NULL, trace ? &trace[field.piece] : NULL,
                          NULL));
}

/* sum of cos(i) times the end's i-th number.  */
static double loss(testrun *t, const dfo_field *f)
{
    double sum = 0, end[ROWS * D];
    memcpy(end, x, sizeof end);
    solve(t, f, dfo_batch_of(end, ROWS, D), NULL);
    for (size_t i = 0; i < ROWS * D; i++)
        sum += cos((double)i) * end[i];
    return sum;
}

static void compare(testrun *t, const dfo_field *f, const char *what, size_t n, double *of, const double *g)
{
    for (size_t i = 0; i < n; i += n / 20 + 1) {
        double was = of[i], up;
        of[i] = was + 1e-5;
        up = loss(t, f);
        of[i] = was - 1e-5;
        double want = (up - loss(t, f)) / 2e-5;
        of[i] = was;
        ck_assert_msg(fabs(g[i] - want) < 1e-7 * (1 + fabs(want)), "%s %zu: %.12g, difference %.12g", what, i, g[i], want);
    }
}

START_TEST(gradients)
{
    static double kept[POINTS - 1][3 * ROWS * D], when[POINTS - 1][3], g[ROWS * D];
    dfo_ode_trace trace[POINTS - 1];
    double end[ROWS * D];
    setup_with((size_t)_i);
    dfo_field f = dfo_netfield_of(&field, &cond, &gcond);
    testrun *t = run_for(&f);
    memcpy(end, x, sizeof end);
    memset(gother, 0, sizeof gother);
    for (size_t p = 0; p + 1 < POINTS; p++)
        trace[p] = (dfo_ode_trace){.most = 2, .t = when[p], .x = kept[p]};
    for (size_t i = 0; i < ROWS * D; i++)
        g[i] = cos((double)i);
    solve(t, &f, dfo_batch_of(end, ROWS, D), trace);
    for (field.piece = POINTS - 1; field.piece-- > 0;)
        RUN(dfo_ode_backward(ode, &f, &t->run, &trace[field.piece], dfo_batch_of(g, ROWS, D), NULL, NULL));
    testrun_check(t, "gradients");
    compare(t, &f, "row", ROWS * D, x, g);
    compare(t, &f, "condition", ROWS * 2, other, gother);
    for (size_t e = 0; e < dfo_store_entries(store); e++) {
        const dfo_entry *entry = dfo_store_entry(store, e);
        compare(t, &f, entry->name, entry->count, dfo_store_weights(store) + entry->offset, t->run.grads + entry->offset);
    }
    testrun_free(t);
}
END_TEST
#endif

/* A field without a path is the net with rows on both sides; in a plan's memory the same bits.  */
START_TEST(rows_of_nets)
{
    double at[ROWS] = {0};
    dfo_real dx[ROWS * D], out[ROWS * D], gx[ROWS * D] = {0}, gin[ROWS * D] = {0}, time[ROWS] = {0}, *grads;
    setup_with(0);
    dfo_field f = dfo_netfield_of(&field, &cond, NULL);
    dfo_cond in = {.n = 3, .part = {{dfo_batch_of(x, ROWS, D), {D, 1, 1}}, cond.part[0], {dfo_batch_of(time, ROWS, 1), {1, 1, 1}}}};
    dfo_cond g = {.n = 3, .part = {{dfo_batch_of(gin, ROWS, D), {D, 1, 1}}}};
    dfo_batch bx = dfo_batch_of(x, ROWS, D), bout = dfo_batch_of(out, ROWS, D);
    testrun *first = run_for(&f), *t = first;
    RUN(f.ops->eval(&f, &t->run, at, bx, dfo_batch_of(dx, ROWS, D), NULL));
    RUN(dfo_net_rows_forward(net, &t->run, &in, bout));
    ck_assert(!memcmp(dx, out, sizeof dx));
    RUN(dfo_net_rows_backward(net, &t->run, &in, bx, &g));
    grads = first->run.grads;
    t = run_for(&f);
    RUN(f.ops->vjp(&f, &t->run, at, bx, bx, NULL, dfo_batch_of(gx, ROWS, D)));
    ck_assert(!memcmp(gx, gin, sizeof gx) && !memcmp(grads, t->run.grads, t->weights * sizeof *grads));
    bout.d--;
    ck_assert_int_eq(dfo_net_rows_forward(net, &t->run, &in, bout), DFO_ESHAPE);
    dfo_plan *plan;
    dfo_need need = {.rows = ROWS, .scratch = dfo_net_rows_scratch(net, ROWS)};
    OK(dfo_plan_new(ctx, store, &need, &(dfo_plan_options){.threads = 1, .block = ROWS}, &plan));
    bout.d++;
    memset(out, 0, sizeof out);
    for (size_t twice = 0; twice < 2; twice++)
        ck_assert_int_eq(dfo_net_rows_forward(net, dfo_plan_run(plan, (dfo_key){0}), &in, bout), DFO_OK);
    ck_assert(!memcmp(dx, out, sizeof dx));
    dfo_plan_free(plan);
    testrun_free(t);
    testrun_free(first);
}
END_TEST

/* Without a run of one's own: the field brings the weights.  */
START_TEST(integrated)
{
    double at[2] = {0, 0.5};
    dfo_real out[2 * ROWS * D], end[ROWS * D];
    setup_with(1);
    dfo_field f = dfo_netfield_of(&field, &cond, NULL);
    ck_assert_int_eq(dfo_ode_integrate(ctx, ode, &f, dfo_batch_of(x, ROWS, D), 2, at, out, NULL, NULL), DFO_EARG);
    ck_assert_ptr_nonnull(strstr(dfo_ctx_error(ctx), "weights"));
    testrun *t = run_for(&f);
    memcpy(end, x, sizeof end);
    RUN(dfo_ode_solve(ode, &f, &t->run, 0, 0.5, dfo_batch_of(end, ROWS, D), NULL, NULL, NULL));
    field.weights = dfo_store_weights(store);
    OK(dfo_ode_integrate(ctx, ode, &f, dfo_batch_of(x, ROWS, D), 2, at, out, NULL, NULL));
    ck_assert(!memcmp(out + ROWS * D, end, sizeof end));
    testrun_free(t);
}
END_TEST

static void refuse(dfo_status status, const char *text)
{
    dfo_field f = dfo_netfield_of(&field, &cond, NULL);
    dfo_real y[ROWS * D];
    testrun *t = run_for(&f);
    f.d = D;
    memcpy(y, x, sizeof y);
    dfo_status got = dfo_ode_solve(ode, &f, &t->run, 0, 1, dfo_batch_of(y, ROWS, D), NULL, NULL, NULL);
    ck_assert_msg(got == status && strstr(t->run.text, text), "%s, expected '%s'", t->run.text, text);
    testrun_free(t);
}

START_TEST(refused)
{
    setup_with(1);
    field.piece = 3;
    refuse(DFO_ESHAPE, "got 131 of 24 and piece 3");
    field.piece = 0;
    field.rows.n = 130;
    refuse(DFO_ESHAPE, "got 130 of 24 and piece 0");
    field.path = NULL;
    refuse(DFO_ESHAPE, "net of 3 x 1 outputs, got 6");
    dfo_net_free(net);
    const dfo_shape in = {3, 1, 1};
    dfo_build build = {.ctx = ctx, .store = store, .path = "picture"};
    json_t *config = json_pack("{s:s, s:[i]}", "type", "conv", "hidden", 4);
    OK(dfo_net_new(&build, config, 1, &in, in, 0, &net));
    json_decref(config);
    field.net = net;
    refuse(DFO_EUNSUP, "got conv");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("fields of nets " DFO_REAL_NAME);
    TCase *t = tcase_create("netfield");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_loop_test(t, values, 0, 2);
    tcase_add_test(t, paths_and_rows);
    tcase_add_test(t, rows_of_nets);
    tcase_add_test(t, integrated);
    tcase_add_test(t, refused);
#ifdef DFO_DOUBLE
    tcase_add_loop_test(t, gradients, 0, 2);
#endif
    suite_add_tcase(suite, t);
    return test_run(suite);
}
