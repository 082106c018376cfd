/* Densities against the reference vectors (double: stated tolerances; float: 1e-4 and 1e-3), what
 * is refused, and the shapes the dispatcher checks.  */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/ctx_impl.h"
#include "base/json_impl.h"
#include "distfix.h"
#include "reference.h"
#include "util.h"

#define DOUBLE_BUILD (sizeof(dfo_real) == sizeof(double))

struct kind {
    const char *distribution, *type;
    int components; /* loc and scale are (K, d) */
};

static const struct kind kinds[] = {
    {"normal_diag", "normal", 0},
    {"normal_full", "normal-full", 0},
    {"logistic", "logistic", 0},
    {"laplace", "laplace", 0},
    {"student_t", "student-t", 0},
    {"student_t_multivariate", "student-t-multivariate", 0},
    {"box", "box", 0},
    {"mixture_normal", "mixture-normal", 1},
    {"mixture_logistic", "mixture-logistic", 1},
    {"discretized_logistic_mixture", "discretised-logistic-mixture", 1},
};

static json_t *rows_json(ref_array a, size_t rows)
{
    json_t *all = json_array();
    size_t cols = a.n / rows;
    for (size_t i = 0; i < rows; i++) {
        json_t *row = json_array();
        for (size_t j = 0; j < cols; j++)
            json_array_append_new(row, json_real(a.data[i * cols + j]));
        json_array_append_new(all, row);
    }
    return all;
}

static json_t *flat_json(ref_array a)
{
    json_t *all = json_array();
    for (size_t i = 0; i < a.n; i++)
        json_array_append_new(all, json_real(a.data[i]));
    return all;
}

/* The density's configuration with the case's parameters as (first) values.  */
static json_t *config_of(ref_case c, const struct kind *kind, int learned)
{
    static const char *const names[] = {"mean", "loc", "log_std", "log_scale",
                                        "df",   "low", "high",    "logits"};
    json_t *config = json_object();
    json_object_set_new(config, "type", json_string(kind->type));
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[64];
        snprintf(path, sizeof path, "params.%s", names[i]);
        ref_array a = ref_get(c, path);
        if (!a.data)
            continue;
        int by_rows = kind->components && strcmp(names[i], "logits");
        size_t k = kind->components ? ref_need(c, "params.logits").n : 1;
        json_object_set_new(config, names[i], by_rows ? rows_json(a, k) : flat_json(a));
    }
    if (ref_get(c, "params.L").data)
        json_object_set_new(config, "cholesky",
                            rows_json(ref_need(c, "params.L"), ref_need(c, "params.L").shape[0]));
    if (kind->components && json_object_get(c.settings, "low")) {
        json_object_set(config, "low", json_object_get(c.settings, "low"));
        json_object_set(config, "high", json_object_get(c.settings, "high"));
    }
    if (kind->components)
        json_object_set_new(config, "components",
                            json_integer((json_int_t)ref_need(c, "params.logits").n));
    if (learned)
        json_object_set_new(config, "learned", json_true());
    if (learned && ref_get(c, "params.df").data) {
        json_object_set_new(config, "learned_df", json_true());
        json_object_set_new(config, "df_floor", json_real(0));
    }
    return config;
}

static dfo_batch rows_of(struct distfix *f, ref_array a)
{
    dfo_real *x;
    ck_assert_int_eq(dfoi_alloc(f->ctx, a.n, sizeof *x, &x), DFO_OK);
    for (size_t i = 0; i < a.n; i++)
        x[i] = (dfo_real)a.data[i];
    return dfo_batch_of(x, a.shape[0], a.shape[1]);
}

static void close_to(ref_case c, const char *what, const double *got, ref_array want,
                     double tolerance)
{
    double worst = ref_worst(want.n, got, want.data);
    ck_assert_msg(worst <= tolerance, "%s: %s: off by %g, allowed %g (%s)", c.name, what, worst,
                  tolerance, DFO_REAL_NAME);
}

/* The gradient of the weights `name`, compared with that of the case's parameter, which is what
 * they say times `chain` (d parameter / d weight) (NULL: 1).  */
static void check_weights(struct distfix *f, ref_case c, const char *name, const double *chain,
                          double tolerance)
{
    char path[64];
    double got[64];
    size_t n;
    snprintf(path, sizeof path, "base.%s", strcmp(name, "df") ? name : "raw_df");
    size_t offset = distfix_weights(f, path, &n);
    snprintf(path, sizeof path, "grad.%s", name);
    ref_array want = ref_need(c, path);
    ck_assert_uint_eq(n, want.n);
    for (size_t i = 0; i < n; i++)
        got[i] = (double)f->grads[offset + i] / (chain ? chain[i] : 1);
    close_to(c, name, got, want, tolerance);
}

static void check_cholesky(struct distfix *f, ref_case c, double tolerance)
{
    ref_array l = ref_need(c, "params.L"), want = ref_need(c, "grad.L");
    size_t n, d = l.shape[0], diagonal = distfix_weights(f, "base.log_diagonal", &n),
              lower = distfix_weights(f, "base.lower", &n);
    double got[64] = {0};
    for (size_t i = 0; i < d; i++) {
        got[i * d + i] = (double)f->grads[diagonal + i] / l.data[i * d + i];
        for (size_t k = 0; k < i; k++)
            got[i * d + k] = (double)f->grads[lower++];
    }
    close_to(c, "L", got, want, tolerance);
}

static void check_learned(struct distfix *f, ref_case c, const struct kind *kind, double tolerance)
{
    static const char *const names[] = {"mean", "loc", "log_std", "log_scale", "logits"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[64];
        snprintf(path, sizeof path, "grad.%s", names[i]);
        if (ref_get(c, path).data)
            check_weights(f, c, names[i], NULL, tolerance);
    }
    if (ref_get(c, "grad.df").data) {
        ref_array df = ref_need(c, "params.df");
        double chain[8];
        for (size_t i = 0; i < df.n; i++)
            chain[i] = -expm1(-df.data[i]); /* sigmoid(raw) where softplus(raw) = df */
        check_weights(f, c, "df", chain, tolerance);
    }
    if (!strcmp(kind->type, "normal-full"))
        check_cholesky(f, c, tolerance);
}

static void check_case(ref_case c, const struct kind *kind, int learned)
{
    struct distfix f;
    double got[256];
    ref_array x = ref_need(c, "x"), want = ref_need(c, "log_prob"),
              seed = ref_need(c, "grad.seed_log_prob");
    double tolerance = DOUBLE_BUILD ? ref_tolerance(c, "log_prob") : 1e-4;
    double tolerance_grad = DOUBLE_BUILD ? ref_tolerance(c, "grad") : 1e-3;
    json_t *config = config_of(c, kind, learned);
    distfix_open(&f, config, x.shape[1], 0, NULL, x.shape[0]);
    dfo_batch rows = rows_of(&f, x);
    distfix_log_prob(&f, rows, NULL, got);
    close_to(c, "log_prob", got, want, tolerance);

    dfo_batch gx = rows_of(&f, x);
    memset(gx.x, 0, x.n * sizeof *gx.x);
    f.run.grads = f.grads;
    ck_assert_int_eq(dfo_dist_log_prob_grad(f.dist, &f.run, rows, NULL, seed.data, gx, NULL),
                     DFO_OK);
    for (size_t i = 0; i < x.n; i++)
        got[i] = (double)gx.x[i];
    if (ref_get(c, "grad.x").data)                 /* not of whole numbers */
        close_to(c, "gradient of x", got, ref_need(c, "grad.x"), tolerance_grad);
    if (learned)
        check_learned(&f, c, kind, tolerance_grad);

    ref_array outside = ref_get(c, "settings.outside");
    if (outside.data) {
        dfo_batch beyond = rows_of(&f, outside);
        distfix_log_prob(&f, beyond, NULL, got);
        for (size_t i = 0; i < beyond.n; i++)
            ck_assert_msg(isinf(got[i]) && got[i] < 0, "%s: outside row %zu has %g", c.name, i,
                          got[i]);
        dfoi_free(f.ctx, beyond.x);
    }
    dfoi_free(f.ctx, rows.x);
    dfoi_free(f.ctx, gx.x);
    distfix_close(&f);
    json_decref(config);
}

START_TEST(reference_vectors)
{
    ref_file *file = ref_open("distributions");
    size_t met = 0;
    for (size_t i = 0; i < ref_cases(file); i++) {
        ref_case c = ref_at(file, i);
        const char *name = ref_text(c, "settings.distribution", "");
        if (!DOUBLE_BUILD && ref_double_only(c))
            continue;
        for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
            if (!strcmp(kinds[k].distribution, name)) {
                check_case(c, &kinds[k], 0);
                if (strcmp(name, "box"))
                    check_case(c, &kinds[k], 1);
                met++;
            }
    }
    ref_close(file);
    ck_assert_uint_ge(met, DOUBLE_BUILD ? 19 : 12);
}
END_TEST

/* Whole numbers between bounds: probabilities sum to 1, and draws come as often as they say.  */
START_TEST(whole_numbers)
{
    enum { N = 40000, LOW = -3, HIGH = 4 };
    json_t *config = json_pack("{s:s, s:i, s:[f, f], s:[[f], [f]], s:[[f], [f]], s:i, s:i}", "type",
                               "discretised-logistic-mixture", "components", 2, "logits", 0.5, -0.3, "loc", -1.5, 2.5,
                               "log_scale", -1.0, 0.4, "low", LOW, "high", HIGH);
    struct distfix f;
    dfo_real *x;
    double count[HIGH - LOW + 1] = {0}, log_prob[HIGH - LOW + 3], sum = 0;
    distfix_open(&f, config, 1, 0, NULL, N);
    ck_assert_int_eq(dfoi_alloc(f.ctx, N, sizeof *x, &x), DFO_OK);
    ck_assert_int_eq(dfo_dist_sample(f.dist, &f.run, dfo_batch_of(x, N, 1), NULL, 1), DFO_OK);
    for (size_t i = 0; i < N; i++) {
        double v = (double)x[i];
        ck_assert_msg(v == floor(v) && v >= LOW && v <= HIGH, "draw %zu: %g", i, v);
        count[(int)v - LOW] += 1.0 / N;
    }
    for (int k = 0; k < HIGH - LOW + 3; k++)
        x[k] = (dfo_real)(LOW - 1 + k);
    distfix_log_prob(&f, dfo_batch_of(x, HIGH - LOW + 3, 1), NULL, log_prob);
    ck_assert(isinf(log_prob[0]) && isinf(log_prob[HIGH - LOW + 2]));
    for (int k = 0; k <= HIGH - LOW; k++) {
        double p = exp(log_prob[k + 1]), error = sqrt(p * (1 - p) / N);
        ck_assert_msg(fabs(count[k] - p) <= 5 * error, "%d: probability %g, drawn %g", k + LOW, p, count[k]);
        sum += p;
    }
    ck_assert_msg(fabs(sum - 1) <= 1e-12, "probabilities sum to %.17g", sum);
    dfoi_free(f.ctx, x);
    distfix_close(&f);
    json_decref(config);
}
END_TEST

struct refusal {
    const char *config, *names; /* a text that the message must have */
    size_t d;
};

static const struct refusal refusals[] = {
    {"[]", "object", 2},
    {"{}", "type is missing", 2},
    {"{\"type\":3}", "type: expected a string", 2},
    {"{\"type\":\"normall\"}", "normall", 2},
    {"{\"type\":\"normal\",\"men\":0}", "unknown key 'men'", 2},
    {"{\"type\":\"normal\",\"learned\":1}", "learned", 2},
    {"{\"type\":\"normal\",\"mean\":[1]}", "mean: expected 2 entries, got 1", 2},
    {"{\"type\":\"normal\",\"log_std\":100}", "log_std", 2},
    {"{\"type\":\"normal\",\"log_std\":[0,\"a\"]}", "log_std", 2},
    {"{\"type\":\"normal\"}", "no columns", 0},
    {"{\"type\":\"normal-full\",\"cholesky\":1}", "cholesky", 2},
    {"{\"type\":\"normal-full\",\"cholesky\":[[1,0]]}", "cholesky: expected 2 rows", 2},
    {"{\"type\":\"normal-full\",\"cholesky\":[[1,0],[0,-1]]}", "cholesky: diagonal entry 2", 2},
    {"{\"type\":\"normal-full\",\"cholesky\":[[1,0.5],[0,1]]}", "above the diagonal", 2},
    {"{\"type\":\"normal-full\",\"cholesky\":[[1,0],[0]]}", "cholesky: expected 2 entries", 2},
    {"{\"type\":\"box\",\"low\":1,\"high\":1}", "high: must be above low", 2},
    {"{\"type\":\"box\",\"low\":[0,2]}", "column 2", 2},
    {"{\"type\":\"logistic\",\"mean\":0}", "unknown key 'mean'", 2},
    {"{\"type\":\"student-t\",\"df\":0}", "df", 2},
    {"{\"type\":\"student-t\",\"df\":-1}", "df", 2},
    {"{\"type\":\"student-t\",\"learned_df\":true,\"df\":1}", "df must be above df_floor", 2},
    {"{\"type\":\"student-t-multivariate\",\"df\":[1,2]}", "df: expected 1 entries", 2},
    {"{\"type\":\"mixture-normal\",\"components\":2}", "mean is missing", 2},
    {"{\"type\":\"mixture-normal\",\"components\":2,\"low\":1}", "unknown key 'low'", 2},
    {"{\"type\":\"discretised-logistic-mixture\",\"loc\":0,\"low\":0.5}", "whole numbers", 2},
    {"{\"type\":\"discretised-logistic-mixture\",\"loc\":0,\"low\":2,\"high\":2}", "high: must be above low", 2},
    {"{\"type\":\"mixture-normal\",\"components\":0}", "components must be at least 1", 2},
    {"{\"type\":\"mixture-normal\",\"components\":2,\"mean\":[[0,1]]}", "mean: expected 2 rows", 2},
    {"{\"type\":\"mixture-normal\",\"components\":2,\"mean\":[[0,1],[0,1]],\"logits\":[1]}",
     "logits", 2},
    {"{\"type\":\"mixture-logistic\",\"components\":2,\"loc\":[[0,1],[0]]}",
     "loc: expected 2 entries", 2},
    {"{\"type\":\"conditional-normal\"}", "net: expected an object", 2},
    {"{\"type\":\"conditional-normal\",\"net\":{\"type\":\"mlp\"},\"max_log_std\":0}",
     "max_log_std", 2},
    {"{\"type\":\"conditional-normal\",\"net\":{\"type\":\"mlp\"}}", "no condition", 2},
};

START_TEST(bad_configurations)
{
    dfo_ctx *ctx;
    ck_assert_int_eq(dfo_ctx_new(&ctx), DFO_OK);
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        dfo_store *store;
        dfo_dist *dist;
        json_t *config = json_loads(refusals[i].config, 0, NULL);
        ck_assert_ptr_nonnull(config);
        ck_assert_int_eq(dfo_store_new(ctx, &store), DFO_OK);
        dfo_status status = distfix_create(ctx, store, config, refusals[i].d, 0, NULL, 1, &dist);
        ck_assert_msg(status == DFO_EARG || status == DFO_ESHAPE, "%s: status %d",
                      refusals[i].config, status);
        ck_assert_ptr_null(dist);
        ck_assert_msg(strstr(dfo_ctx_error(ctx), refusals[i].names) != NULL,
                      "%s: '%s' says nothing of '%s'", refusals[i].config, dfo_ctx_error(ctx),
                      refusals[i].names);
        ck_assert_msg(!strncmp(dfo_ctx_error(ctx), "base", 4), "%s: '%s'", refusals[i].config,
                      dfo_ctx_error(ctx));
        dfo_store_free(store);
        json_decref(config);
    }
    ck_assert_uint_eq(dfo_ctx_bytes(ctx), 0);
    dfo_ctx_free(ctx);
}
END_TEST

/* Learning needs a store; a fixed density does without.  */
START_TEST(without_a_store)
{
    dfo_ctx *ctx;
    dfo_dist *dist;
    json_t *fixed = json_pack("{ss}", "type", "normal"),
           *learned = json_pack("{sssb}", "type", "normal", "learned", 1);
    ck_assert_int_eq(dfo_ctx_new(&ctx), DFO_OK);
    ck_assert_int_eq(distfix_create(ctx, NULL, learned, 2, 0, NULL, 1, &dist), DFO_EARG);
    ck_assert_int_eq(distfix_create(ctx, NULL, fixed, 2, 0, NULL, 1, &dist), DFO_OK);
    ck_assert_ptr_null(dist->store);
    dfo_dist_free(dist);
    dfo_dist_free(NULL);
    dfo_ctx_free(ctx);
    json_decref(fixed);
    json_decref(learned);
}
END_TEST

static void refused(struct distfix *f, dfo_status got, dfo_status want, const char *names)
{
    ck_assert_int_eq(got, want);
    ck_assert_msg(strstr(f->run.text, names) != NULL, "'%s' says nothing of '%s'", f->run.text,
                  names);
    f->run.status = DFO_OK;
    f->run.text[0] = 0;
}

START_TEST(bad_shapes)
{
    struct distfix f;
    dfo_real memory[32] = {0}, grad[32] = {0};
    double out[8] = {0};
    json_t *config = json_pack("{ss}", "type", "laplace");
    dfo_batch x = dfo_batch_of(memory, 4, 3), wide = x, close = x, none = {0},
              short_grad = dfo_batch_of(grad, 3, 3);
    wide.d = 4;
    close.ld = 2;
    distfix_open(&f, config, 3, 0, NULL, 4);
    refused(&f, dfo_dist_log_prob(f.dist, &f.run, wide, NULL, out), DFO_ESHAPE,
            "laplace: expected 3 columns, got 4");
    refused(&f, dfo_dist_log_prob(f.dist, &f.run, close, NULL, out), DFO_ESHAPE, "apart");
    refused(&f, dfo_dist_log_prob_grad(f.dist, &f.run, x, NULL, out, short_grad, NULL), DFO_ESHAPE,
            "gradient of 3 x 3");
    refused(&f, dfo_dist_sample(f.dist, &f.run, wide, NULL, 1), DFO_ESHAPE, "got 4");
    refused(&f, dfo_dist_sample(f.dist, &f.run, x, NULL, -1), DFO_EARG, "temperature");
    refused(&f, dfo_dist_sample(f.dist, &f.run, x, NULL, NAN), DFO_EARG, "temperature");
    for (size_t i = 0; i < 8; i++)
        ck_assert(out[i] >= 0 && out[i] <= 0);
    none.d = none.ld = 3;
    ck_assert_int_eq(dfo_dist_log_prob(f.dist, &f.run, none, NULL, NULL), DFO_OK);
    f.run.arena_size = 0; /* scratch that is missing is an error, not a crash */
    refused(&f, dfo_dist_log_prob(f.dist, &f.run, x, NULL, out), DFO_EMEM, "scratch");
    distfix_close(&f);
    json_decref(config);
}
END_TEST

/* What is not in the table is explained.  */
START_TEST(absent_abilities)
{
    static const struct dfo_dist_ops nothing = {.type = "nothing"};
    dfo_dist dist = {.ops = &nothing, .d = 2};
    dfo_real memory[4] = {0};
    double out[2];
    dfo_batch x = dfo_batch_of(memory, 2, 2);
    struct distfix f = {.dist = &dist};
    refused(&f, dfo_dist_log_prob(&dist, &f.run, x, NULL, out), DFO_EUNSUP,
            "nothing: this density has no log-density");
    refused(&f, dfo_dist_log_prob_grad(&dist, &f.run, x, NULL, out, x, NULL), DFO_EUNSUP,
            "no gradient");
    refused(&f, dfo_dist_sample(&dist, &f.run, x, NULL, 1), DFO_EUNSUP, "no sampling");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("dist (" DFO_REAL_NAME ")");
    TCase *tc = tcase_create("dist");
    tcase_add_test(tc, reference_vectors);
    tcase_add_test(tc, whole_numbers);
    tcase_add_test(tc, bad_configurations);
    tcase_add_test(tc, without_a_store);
    tcase_add_test(tc, bad_shapes);
    tcase_add_test(tc, absent_abilities);
    suite_add_tcase(suite, tc);
    return test_run(suite);
}
