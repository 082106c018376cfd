/* Standardised conditions: whose statistics they are, what a file must not hold, how they are configured and described, what is refused,
 * allocations among it.  */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <diffeo/fit.h>
#include "contextfix.h"
#include "oom.h"

/* Of the rows that the source has, and no others.  */
START_TEST(statistics)
{
    struct side *s = side_new(context_configs[0], 1, 1);
    take_rows(s, N / 3);
    const dfo_real *mean = means(s), *std = stds(s);
    for (size_t j = 0; j < C; j++) {
        double sum = 0, squares = 0, n = N / 3;
        for (size_t i = 0; i < N / 3; i++)
            sum += (double)s->rows[i * (D + C) + D + j];
        for (size_t i = 0; i < N / 3; i++)
            squares += pow((double)s->rows[i * (D + C) + D + j] - sum / n, 2);
        double want = j == 3 ? 1 : sqrt(squares / n), eps = 8 * (double)DFO_REAL_EPS;
        ck_assert_msg(fabs((double)mean[j] - sum / n) <= eps * fabs(sum / n) + 1e-14, "%zu: mean %.17g, expected %.17g", j, (double)mean[j], sum / n);
        ck_assert_msg(fabs((double)std[j] - want) <= (eps + 1e-9) * want, "%zu: std %.17g, expected %.17g", j, (double)std[j], want);
    }
    dfo_source *narrow;
    good(s, dfo_source_rows(s->ctx, dfo_batch_of(s->rows, N, D + C - 1), &narrow));
    ck_assert_int_eq(dfo_flow_standardise(s->flow, narrow, 1), DFO_ESHAPE);
    ck_assert_msg(strstr(dfo_ctx_error(s->ctx), "at least 7 columns"), "%s", dfo_ctx_error(s->ctx));
    dfo_source_free(narrow);
    side_free(s);
}
END_TEST

/* What divides rows must be a number above 0.  */
START_TEST(hostile)
{
    static const double bad[] = {0, -1, (double)NAN, (double)INFINITY};
    for (size_t k = 0; k < 6; k++) {
        struct side *s = side_new(context_configs[DIFFUSION], 1, 1);
        dfo_real x[N * D];
        double out[N];
        dfo_flow_rex *rex;
        dfo_loss *loss;
        dfo_source *source;
        dfo_fit_options o;
        dfo_fit_report report;
        take_rows(s, N);
        dfo_cond cond = condition_in(s, s->rows);
        (k < 4 ? stds(s) : means(s))[3] = (dfo_real)bad[k < 4 ? k : k - 2];
        dfo_store_touch(s->store);
        ck_assert_int_eq(dfo_flow_log_prob(s->plan, 0, copied(s, x), &cond, out), DFO_ENUM);
        ck_assert_msg(strstr(dfo_ctx_error(s->ctx), "condition: column 3: expected a mean and a standard deviation above 0"), "%s", dfo_ctx_error(s->ctx));
        ck_assert_int_eq(dfo_flow_sample(s->plan, 1, 0, dfo_batch_of(x, N, D), &cond, 1), DFO_ENUM);
        good(s, dfo_flow_rex_new(s->ctx, s->flow, &(dfo_flow_rex_options){.steps = 2, .zeta = 0.999}, &rex));
        ck_assert_int_eq(dfo_flow_rex_decode(rex, 0, copied(s, x), &cond, dfo_batch_of(x, N, D)), DFO_ENUM);
        dfo_flow_rex_free(rex);
        good(s, dfo_loss_flow_new(s->flow, &loss));
        good(s, dfo_source_rows(s->ctx, dfo_batch_of(s->rows, N, D + C), &source));
        dfo_fit_defaults(&o);
        o.steps = 1;
        good(s, dfo_fit(loss, source, NULL, C, &o, &report));
        ck_assert_uint_eq(report.skipped, 1);
        dfo_source_free(source);
        dfo_loss_free(loss);
        side_free(s);
    }
}
END_TEST

START_TEST(refused)
{
    static const char *const bad[][2] = {
        {",\"condition\":\"normalise\"", "condition: expected raw or standardise, got normalise"},
        {",\"condition\":true", "condition"},
        {",\"conditions\":\"raw\"", "conditions"},
        {",\"condition\":\"standardise\"", "goes with a flow that has a condition"},
    };
    for (size_t i = 0; i < 4; i++) {
        dfo_ctx *ctx;
        dfo_store *store;
        dfo_flow *flow;
        ck_assert(dfo_ctx_new(&ctx) == DFO_OK && dfo_store_new(ctx, &store) == DFO_OK);
        ck_assert_int_eq(context_flow(ctx, store, i < 3 ? context_configs[1] : "\"bijector\":{\"type\":\"actnorm\"}", bad[i][0], i < 3, &flow), DFO_EARG);
        ck_assert_msg(strstr(dfo_ctx_error(ctx), bad[i][1]) && !flow, "%s", dfo_ctx_error(ctx));
        dfo_store_free(store);
        dfo_ctx_free(ctx);
    }
}
END_TEST

/* What describes it makes it again, and says nothing of it where there is nothing.  */
START_TEST(described)
{
    for (int on = 0; on < 2; on++) {
        struct side *s = side_new(context_configs[0], on, 1);
        json_t *to = json_object(), *how;
        dfo_build build = {.ctx = s->ctx, .path = "flow", .shape = dfo_shape_vector(D), .conds = 1, .cond = {dfo_shape_vector(C)}};
        dfo_flow *again;
        good(s, dfo_flow_describe(s->flow, to));
        how = json_object_get(to, "condition");
        ck_assert(on ? how && !strcmp(json_string_value(how), "standardise") : !how);
        good(s, dfo_store_new(s->ctx, &build.store));
        good(s, dfo_flow_new(&build, to, &again));
        ck_assert_uint_eq(dfo_store_entries(build.store), dfo_store_entries(s->store));
        ck_assert_int_eq(dfo_flow_standardises_context(again), on);
        dfo_flow_free(again);
        dfo_store_free(build.store);
        json_decref(to);
        side_free(s);
    }
}
END_TEST

static dfo_status make_and_measure(dfo_ctx *ctx, void *data)
{
    dfo_store *store = NULL;
    dfo_flow *flow = NULL;
    dfo_source *source = NULL;
    dfo_status status = dfo_store_new(ctx, &store);
    if (status == DFO_OK)
        status = context_flow(ctx, store, context_configs[1], ",\"condition\":\"standardise\"", 1, &flow);
    if (status == DFO_OK)
        status = dfo_source_rows(ctx, dfo_batch_of(data, 20, D + C), &source);
    if (status == DFO_OK)
        status = dfo_flow_standardise(flow, source, 1);
    dfo_source_free(source);
    dfo_flow_free(flow);
    dfo_store_free(store);
    return status;
}

START_TEST(no_memory)
{
    struct side *s = side_new(context_configs[1], 1, 1);
    take_rows(s, N);
    oom_check("a standardised condition", OOM_OURS, make_and_measure, s->rows);
    side_free(s);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("statistics of conditions " DFO_REAL_NAME);
    TCase *t = tcase_create("config");
    tcase_add_test(t, statistics);
    tcase_add_test(t, hostile);
    tcase_add_test(t, refused);
    tcase_add_test(t, described);
    tcase_add_test(t, no_memory);
    suite_add_tcase(suite, t);
    return test_run(suite);
}
