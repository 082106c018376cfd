/* Kernel couplings against the reference vectors.  */
#include <math.h>
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
    suite_add_tcase(suite, t);
    return test_run(suite);
}
