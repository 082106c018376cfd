/* Kernel couplings, and the maps made of sigmoids, against the reference vectors.  */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <diffeo/real.h>
#include "layerfix.h"
#include "reflayer.h"
#include "util.h"

/* The net's outputs are all raw scales, then all shifts: "a" holds As, then At.  */
static void set_expansion(layerfix *f, ref_case c)
{
    size_t n;
    dfo_real *a = layerfix_array(f, "net.a", &n);
    for (size_t i = 0; i < n; i++)
        a[i] = (dfo_real)ref_need(c, i < n / 2 ? "params.As" : "params.At").data[i % (n / 2)];
}

static void compare_expansion(layerfix *f, ref_case c)
{
    size_t n;
    (void)layerfix_array(f, "net.a", &n);
    double *got = malloc(n * sizeof *got), *want = malloc(n * sizeof *want);
    for (size_t i = 0; i < n; i++) {
        got[i] = (double)layerfix_grad(f, "net.a")[i];
        want[i] = ref_need(c, i < n / 2 ? "grad.As" : "grad.At").data[i % (n / 2)];
    }
    reflayer_compare(c, "As, At", n, got, want, reflayer_tolerance(c, "grad"));
    free(got);
    free(want);
}

static int kernel_case(ref_case c)
{
    const char *kernel = ref_text(c, "settings.kernel", "");
    double clamp = ref_number(c, "settings.clamp", 0);
    json_t *config = json_pack("{s:s, s:O, s:s, s:{s:s, s:I, s:s}}", "type", "affine-coupling", "mask",
                               json_object_get(c.settings, "mask"), "scale", clamp > 0 ? "tanh" : "free", "net", "type",
                               "kernel", "points", (json_int_t)ref_need(c, "params.Za").shape[0], "kernel",
                               strcmp(kernel, "se") ? kernel : "squared-exponential");
    if (clamp > 0)
        json_object_set(config, "scale_max", json_object_get(c.settings, "clamp"));
    layerfix f = layerfix_new(config, reflayer_shape(c), 0, reflayer_rows(c));
    reflayer_set(&f, "net.z", ref_need(c, "params.Za"));
    reflayer_set(&f, "net.log_length", ref_need(c, "params.log_length"));
    set_expansion(&f, c);
    reflayer_check(&f, c);
    if (ref_get(c, "grad.As").data) {
        reflayer_compare_grad(&f, c, "net.z", "Za");
        reflayer_compare_grad(&f, c, "net.log_length", "log_length");
        compare_expansion(&f, c);
    }
    layerfix_free(&f);
    return 1;
}

START_TEST(kernel_coupling)
{
    reflayer_each("kernel_coupling", IS_DOUBLE ? 16 : 12, kernel_case);
}
END_TEST

/* ---- sums of sigmoids: each row has parameters of its own, so each row a layer whose net is a constant */

static const char *const mixture[] = {"logits", "mu", "log_scale", "a", "b", NULL}, *const deep[] = {"w_raw", "a_raw", "b", NULL};

/* Where the layer's constant number `at` stands in array `*which` of the file, for row i.  */
static size_t constant_at(ref_case c, const char *const *names, size_t i, size_t at, size_t *which)
{
    char path[64];
    size_t d = ref_need(c, "x").shape[1], params = 0, each[5] = {0}, j, p;
    for (size_t k = 0; names[k]; k++) {
        snprintf(path, sizeof path, "params.%s", names[k]);
        ref_array of = ref_need(c, path);
        params += each[k] = of.n / (of.shape[0] * d);
    }
    j = at / params;
    p = at % params;
    for (*which = 0; p >= each[*which]; (*which)++)
        p -= each[*which];
    return (i * d + j) * each[*which] + p;
}

static double constant(ref_case c, const char *const *names, const char *front, size_t i, size_t at)
{
    char path[64];
    size_t which, place = constant_at(c, names, i, at, &which);
    snprintf(path, sizeof path, "%s.%s", front, names[which]);
    return ref_need(c, path).data[place];
}

static void sigmoids_row(ref_case c, const char *type, const char *const *names, size_t i)
{
    ref_array x = ref_need(c, "x"), z = ref_need(c, "z");
    size_t d = x.shape[1], n;
    double out[8], ld, g[8], back[8], want[128], got[128];
    int outer = names[3] != NULL;
    json_t *config = json_pack("{s:s, s:s, s:I, s:i}", "type", type, "mask", "none", "components",
                               (json_int_t)(ref_need(c, outer ? "params.mu" : "params.b").shape[2]), "spread", 0);
    if (outer)
        json_object_set_new(config, "scale", json_string("free"));
    layerfix f = layerfix_new(config, dfo_shape_vector(d), 0, 1);
    dfo_real *to = layerfix_array(&f, "net.c", &n);
    ck_assert_uint_le(n, 128);
    for (size_t at = 0; at < n; at++)
        to[at] = (dfo_real)constant(c, names, "params", i, at);
    ck_assert_int_eq(layerfix_prepare(&f), DFO_OK);
    ck_assert_int_eq(layerfix_forward(&f, 1, x.data + i * d, NULL, out, &ld), DFO_OK);
    reflayer_compare(c, "z", d, out, z.data + i * d, reflayer_tolerance(c, "z"));
    reflayer_compare(c, "logdet", 1, &ld, ref_need(c, "logdet").data + i, reflayer_tolerance(c, "logdet"));
    ck_assert_int_eq(layerfix_inverse(&f, 1, z.data + i * d, NULL, out, &ld), DFO_OK);
    reflayer_compare(c, "inverse", d, out, x.data + i * d, reflayer_tolerance(c, "inverse"));
    ck_assert_int_eq(layerfix_grads(&f, 0, 1, x.data + i * d, NULL, ref_need(c, "grad.seed_z").data + i * d,
                                    ref_need(c, "grad.seed_logdet").data + i, g, NULL, back),
                     DFO_OK);
    reflayer_compare(c, "gradient of x", d, g, ref_need(c, "grad.x").data + i * d, reflayer_tolerance(c, "grad"));
    for (size_t at = 0; at < n; at++) {
        want[at] = constant(c, names, "grad", i, at);
        got[at] = (double)layerfix_grad(&f, "net.c")[at];
    }
    reflayer_compare(c, "parameters", n, got, want, reflayer_tolerance(c, "grad"));
    layerfix_free(&f);
}

static int mixture_case(ref_case c)
{
    for (size_t i = 0; i < reflayer_rows(c); i++)
        sigmoids_row(c, "mixture-coupling", mixture, i);
    return 1;
}

static int deep_case(ref_case c)
{
    for (size_t i = 0; i < reflayer_rows(c); i++)
        sigmoids_row(c, "deep-sigmoidal-coupling", deep, i);
    return 1;
}

START_TEST(sums_of_sigmoids)
{
    reflayer_each("mixture_logistic", IS_DOUBLE ? 4 : 3, mixture_case);
    reflayer_each("deep_sigmoidal", IS_DOUBLE ? 4 : 3, deep_case);
}
END_TEST

static int gaussianization_case(ref_case c)
{
    static const char *const names[] = {"logits", "mu", "log_scale"};
    json_t *config = json_pack("{s:s, s:I}", "type", "gaussianization", "components",
                               (json_int_t)ref_need(c, "params.mu").shape[1]);
    layerfix f = layerfix_new(config, reflayer_shape(c), 0, reflayer_rows(c));
    for (size_t k = 0; k < 3; k++) {
        char path[64];
        snprintf(path, sizeof path, "params.%s", names[k]);
        reflayer_set(&f, names[k], ref_need(c, path));
    }
    reflayer_check(&f, c);
    for (size_t k = 0; k < 3; k++)
        reflayer_compare_grad(&f, c, names[k], names[k]);
    layerfix_free(&f);
    return 1;
}

START_TEST(gaussianization)
{
    reflayer_each("gaussianization", IS_DOUBLE ? 4 : 3, gaussianization_case);
}
END_TEST

/* The points are rows, then midpoints of two; lengths are the columns' spreads times the median distance.  */
START_TEST(points_from_data)
{
    enum { ROWS = 4, POINTS = 6 };
    static const double want[POINTS][2] = {{0, 0}, {2, 10}, {4, 0}, {6, 10}, {1, 5}, {3, 5}};
    json_t *config = json_pack("{s:s, s:[i,i,i], s:{s:s, s:i}}", "type", "affine-coupling", "mask", 1, 0, 1, "net", "type", "kernel",
                               "points", POINTS);
    layerfix f = layerfix_new(config, dfo_shape_vector(3), 0, ROWS);
    dfo_real x[ROWS * 3] = {0, 7, 0, 2, 7, 10, 4, 7, 0, 6, 7, 10};
    size_t n;
    ck_assert_uint_ne(f.bij->caps & DFO_DATA_INIT, 0);
    testrun_reset(f.t);
    ck_assert_int_eq(dfo_bijector_init(f.bij, &f.t->run, dfo_batch_of(x, ROWS, 3), NULL), DFO_OK);
    const dfo_real *z = layerfix_array(&f, "net.z", &n);
    for (size_t i = 0; i < POINTS; i++)
        for (size_t j = 0; j < 2; j++)
            ck_assert_msg((double)z[2 * i + j] == want[i][j], "point %zu, %zu: %g", i, j, (double)z[2 * i + j]);
    const dfo_real *length = layerfix_array(&f, "net.log_length", &n);
    double spread[2] = {sqrt(5), 5}, median = sqrt(1.8 + 1);        /* of the 15 pairs the eighth: (0, 0), (3, 5) */
    for (size_t j = 0; j < 2; j++)
        ck_assert_msg(fabs((double)length[j] - log(median * spread[j])) < 100 * DFO_REAL_EPS, "length %zu: %g", j,
                      exp((double)length[j]) / spread[j]);
    layerfix_free(&f);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("reference kernels " DFO_REAL_NAME);
    TCase *t = tcase_create("kernels");
    tcase_add_test(t, kernel_coupling);
    tcase_add_test(t, points_from_data);
    tcase_add_test(t, sums_of_sigmoids);
    tcase_add_test(t, gaussianization);
    suite_add_tcase(suite, t);
    return test_run(suite);
}
