/* Layers that add to the row a function of it (planar, radial, sylvester, residual) against the reference vectors; residual's
 * estimates, and the bound of its matrices.  */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <diffeo/real.h>
#include "layerfix.h"
#include "math/spectral_impl.h"
#include "reflayer.h"
#include "util.h"

/* A layer whose weights have the file's names.  */
static void named_case(ref_case c, const char *type, const char *const *name)
{
    layerfix f = layerfix_new(json_pack("{s:s}", "type", type), reflayer_shape(c), 0, reflayer_rows(c));
    for (size_t i = 0; name[i]; i++)
        reflayer_set(&f, name[i], reflayer_param(c, name[i]));
    reflayer_check(&f, c);
    for (size_t i = 0; name[i]; i++)
        reflayer_compare_grad(&f, c, name[i], name[i]);
    layerfix_free(&f);
}

static int planar_case(ref_case c)
{
    named_case(c, "planar", (const char *const[]){"w", "u", "b", NULL});
    return 1;
}

static int radial_case(ref_case c)
{
    named_case(c, "radial", (const char *const[]){"x0", "log_alpha", "beta_raw", NULL});
    return 1;
}

START_TEST(planar_and_radial)
{
    reflayer_each("planar", IS_DOUBLE ? 4 : 2, planar_case);
    reflayer_each("radial", 4, radial_case);
}
END_TEST

/* Number `at` of the packed triangle by rows, of the file's matrix and diagonal.  */
static double triangle(ref_array matrix, ref_array diagonal, size_t at)
{
    size_t m = diagonal.n, i = 0;
    for (; at >= m - i; i++)
        at -= m - i;
    return at ? matrix.data[i * m + i + at] : diagonal.data[i];
}

static void check_triangle(layerfix *f, ref_case c, const char *name, const char *matrix, const char *diagonal)
{
    ref_array of = reflayer_grad(c, matrix), on = reflayer_grad(c, diagonal);
    for (size_t i = 0; i < on.n * (on.n + 1) / 2; i++) {
        double got = (double)layerfix_grad(f, name)[i], want = triangle(of, on, i);
        reflayer_compare(c, name, 1, &got, &want, reflayer_tolerance(c, "grad"));
    }
}

static void set_triangle(layerfix *f, ref_case c, const char *name, const char *matrix, const char *diagonal)
{
    size_t n;
    dfo_real *to = layerfix_array(f, name, &n);
    for (size_t i = 0; i < n; i++)
        to[i] = (dfo_real)triangle(reflayer_param(c, matrix), reflayer_param(c, diagonal), i);
}

static int sylvester_case(ref_case c)
{
    ref_array v = reflayer_param(c, "V"), b = reflayer_param(c, "b");
    layerfix f = layerfix_new(json_pack("{s:s, s:I, s:I}", "type", "sylvester", "rank", (json_int_t)b.n, "reflections",
                                        (json_int_t)v.shape[0]), reflayer_shape(c), 0, reflayer_rows(c));
    reflayer_set(&f, "v", v);
    reflayer_set(&f, "b", b);
    set_triangle(&f, c, "r1", "R1", "d1");
    set_triangle(&f, c, "r2", "R2", "d2");
    reflayer_check(&f, c);
    reflayer_compare_grad(&f, c, "v", "V");
    reflayer_compare_grad(&f, c, "b", "b");
    check_triangle(&f, c, "r1", "R1", "d1");
    check_triangle(&f, c, "r2", "R2", "d2");
    layerfix_free(&f);
    return 1;
}

START_TEST(sylvester)
{
    reflayer_each("sylvester", 3, sylvester_case);
}
END_TEST

/* ---- residual: its file has the log-det, powers of the Jacobian, and these between probes */

static layerfix residual_layer(ref_case c, const char *trace, size_t terms, size_t rows)
{
    static const char *const file[] = {"W1", "b1", "W2", "b2", "W3", "b3"};
    static const char *const mine[] = {"net.w0", "net.b0", "net.w1", "net.b1", "net.w2", "net.b2"};
    json_t *config = json_pack("{s:s, s:O, s:I, s:f, s:s, s:I}", "type", "residual", "activation", json_object_get(c.settings, "activation"),
                               "hidden", (json_int_t)reflayer_param(c, "b1").n, "lipschitz", 0.99, "trace", trace, "terms", (json_int_t)terms);
    layerfix f = layerfix_new(config, reflayer_shape(c), 0, rows);
    for (size_t i = 0; i < 6; i++)
        reflayer_set(&f, mine[i], reflayer_param(c, file[i]));
    if (ref_get(c, "params.beta").data)
        reflayer_set(&f, "beta", reflayer_param(c, "beta"));
    return f;
}

static int residual_case(ref_case c)
{
    layerfix f = residual_layer(c, "exact", 1, reflayer_rows(c));
    reflayer_check(&f, c);
    reflayer_compare_grad(&f, c, "net.w0", "W1");
    reflayer_compare_grad(&f, c, "net.b0", "b1");
    reflayer_compare_grad(&f, c, "net.w1", "W2");
    reflayer_compare_grad(&f, c, "net.b1", "b2");
    reflayer_compare_grad(&f, c, "net.w2", "W3");
    reflayer_compare_grad(&f, c, "net.b2", "b3");
    if (ref_get(c, "params.beta").data)
        reflayer_compare_grad(&f, c, "beta", "beta");
    layerfix_free(&f);
    return 1;
}

#define STEPS 1500

/* The mean over STEPS steps' draws is `want` within 5 of its standard errors (and a rounding).  */
static void compare_mean(ref_case c, const char *what, const double *said, double want)
{
    double mean = 0, squares = 0;
    for (size_t k = 0; k < STEPS; k++)
        mean += said[k] / STEPS;
    for (size_t k = 0; k < STEPS; k++)
        squares += (said[k] - mean) * (said[k] - mean);
    double allowed = 5 * sqrt(squares) / STEPS + 1e-6;
    ck_assert_msg(fabs(mean - want) <= allowed, "%s: %s: mean %.9g, expected %.9g +- %g", c.name, what, mean, want, allowed);
}

/* Training's estimates of the first row: of the log-det, and of its slope along the row's first column.  */
static void check_estimates(ref_case c, const char *trace, size_t terms, double logdet)
{
    static double said[STEPS], slopes[STEPS];
    ref_array x = ref_need(c, "x");
    size_t d = x.shape[1];
    double z[8], zero[8] = {0}, one = 1, g[8], exact[8], ld;
    layerfix f = residual_layer(c, trace, terms, 1);
    ck_assert_uint_le(d, 8);
    ck_assert_int_eq(layerfix_prepare(&f), DFO_OK);
    ck_assert_int_eq(layerfix_grads(&f, 0, 1, x.data, NULL, zero, &one, exact, NULL, z), DFO_OK);
    f.t->run.mode = DFO_TRAIN;
    for (size_t k = 0; k < STEPS; k++) {
        f.t->run.key.step = (uint32_t)k;
        ck_assert_int_eq(layerfix_forward(&f, 1, x.data, NULL, z, &said[k]), DFO_OK);
        ck_assert_int_eq(layerfix_grads(&f, 0, 1, x.data, NULL, zero, &one, g, NULL, z), DFO_OK);
        slopes[k] = g[0];
    }
    ck_assert_int_eq(layerfix_forward(&f, 1, x.data, NULL, z, &ld), DFO_OK);
    ck_assert_msg(ld == said[STEPS - 1], "%s: %s: another draw of the same step", c.name, trace);
    compare_mean(c, trace, said, logdet);
    if (terms >= 8 || !strcmp(trace, "roulette"))
        compare_mean(c, "its slope", slopes, exact[0]);
    layerfix_free(&f);
}

/* The series to one term has the trace as its mean, to eight series_8; roulette the log-det.  */
static int estimate_case(ref_case c)
{
    if (strcmp(c.name, "tanh_strong") && strcmp(c.name, "lipswish"))
        return 0;
    check_estimates(c, "series", 1, ref_need(c, "traces").data[0]);
    check_estimates(c, "series", 8, ref_need(c, "series_8").data[0]);
    check_estimates(c, "roulette", 1, ref_need(c, "logdet").data[0]);
    return 1;
}

START_TEST(residual)
{
    reflayer_each("residual", IS_DOUBLE ? 5 : 4, residual_case);
    reflayer_each("residual", 1, estimate_case);
}
END_TEST

/* The bound holds, and is near: against a matrix whose singular values are known, and far from rounding either way.  */
START_TEST(norms)
{
    test_rng rng = test_rng_new(test_seed());
    double room[4096];
    dfo_real w[20 * 12];
    for (size_t k = 0; k < 50; k++) {
        size_t rows = test_rng_between(&rng, 1, 20), cols = test_rng_between(&rng, 1, 12);
        double u[20], v[12], uu = 0, vv = 0, scale = exp(test_rng_real(&rng, -20, 20));
        for (size_t i = 0; i < rows; i++) {
            u[i] = test_rng_normal(&rng);
            uu += u[i] * u[i];
        }
        for (size_t j = 0; j < cols; j++) {
            v[j] = test_rng_normal(&rng);
            vv += v[j] * v[j];
        }
        for (size_t i = 0; i < rows * cols; i++)
            w[i] = (dfo_real)(scale * u[i / cols] * v[i % cols]);
        ck_assert_uint_le(dfoi_norm_room(rows, cols), 4096);
        double want = scale * sqrt(uu * vv), got = dfoi_norm_bound(rows, cols, w, room);
        ck_assert_msg(fabs(got / want - 1) <= 100 * DFO_REAL_EPS, "%zux%zu of rank 1: %.17g, not %.17g", rows, cols, got, want);
        for (size_t i = 0; i < rows * cols; i++)           /* singular values all the same */
            w[i] = (dfo_real)(i / cols == i % cols ? scale : 0);
        want = scale * pow((double)(rows < cols ? rows : cols), 1.0 / 1024);
        got = dfoi_norm_bound(rows, cols, w, room);
        ck_assert_msg(fabs(got / want - 1) <= 100 * DFO_REAL_EPS, "%zux%zu identity: %.17g, not %.17g", rows, cols, got, want);
    }
}
END_TEST

/* What has no direction is named.  */
START_TEST(no_direction)
{
    static const struct { const char *config, *weights, *text; } cases[] = {
        {"{\"type\":\"planar\"}", "w", "planar: w has no direction"},
        {"{\"type\":\"sylvester\",\"rank\":1}", "v", "sylvester: vector 0 has no direction"},
    };
    double x[2] = {1, 2}, z[2], logdet;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t n;
        layerfix f = layerfix_new(json_loads(cases[i].config, 0, NULL), dfo_shape_vector(2), 0, 1);
        dfo_real *w = layerfix_array(&f, cases[i].weights, &n);
        memset(w, 0, n * sizeof *w);
        dfo_status status = layerfix_prepare(&f);
        if (status == DFO_OK)
            status = layerfix_forward(&f, 1, x, NULL, z, &logdet);
        ck_assert_int_eq(status, DFO_ENUM);
        ck_assert_msg(strstr(f.t->run.text, cases[i].text), "text: %s", f.t->run.text);
        layerfix_free(&f);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("reference flows " DFO_REAL_NAME);
    TCase *t = tcase_create("layers");
    tcase_add_test(t, planar_and_radial);
    tcase_add_test(t, sylvester);
    tcase_add_test(t, no_direction);
    tcase_add_test(t, residual);
    tcase_add_test(t, norms);
    suite_add_tcase(suite, t);
    return test_run(suite);
}
