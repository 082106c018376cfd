/* Kernel couplings, and the maps made of sigmoids, against the reference vectors.  */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <diffeo/real.h>
#include <diffeo/rng.h>
#include "base/cpu_impl.h"
#include "layerfix.h"
#include "math/gemm_impl.h"
#include "math/sigmoids_impl.h"
#include "nn/kernel_kern_impl.h"
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
                               json_object_get(c.settings, "mask"), "scale", clamp > 0 ? "tanh" : "exp", "net", "type",
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

static const char *const mixture_names[] = {"logits", "mu", "log_scale", "a", "b", NULL}, *const deep_names[] = {"w_raw", "a_raw", "b", NULL};

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
        json_object_set_new(config, "scale", json_string("exp"));
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
        sigmoids_row(c, "mixture-coupling", mixture_names, i);
    return 1;
}

static int deep_case(ref_case c)
{
    for (size_t i = 0; i < reflayer_rows(c); i++)
        sigmoids_row(c, "deep-sigmoidal-coupling", deep_names, i);
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

/* ---- every instruction set gives the same bits, and a value the same among others as by itself */

enum { IN = 5, POINTS_AT_ONCE = 7, VALUES = 37, COMPONENTS = 6 };

static void draw(uint32_t step, size_t n, dfo_real *to)
{
    dfo_draw_real_normal((dfo_key){.seed = test_seed(), .purpose = DFO_FOR_TEST, .step = step}, n, to);
}

/* What the kernels of one level make of the same panels, one after the other.  */
static size_t kernel_results(const struct dfoi_kernel_kernels *kern, dfoi_kernel_kind kind, dfo_real *out)
{
    enum { WIDE = POINTS_AT_ONCE * DFO_PANEL, NARROW = IN * DFO_PANEL };
    static dfo_real v[POINTS_AT_ONCE * IN], u[NARROW], du[NARROW], g[WIDE], gd[WIDE];
    dfo_real *q = out, *dq = q + WIDE, *k = dq + WIDE, *dk = k + WIDE, *w = dk + WIDE, *wd = w + WIDE, *gu = wd + WIDE, *gv = gu + NARROW;
    draw(1, POINTS_AT_ONCE * IN, v);
    draw(2, NARROW, u);
    draw(3, NARROW, du);
    draw(4, WIDE, g);
    draw(5, WIDE, gd);
    memset(gu, 0, (NARROW + POINTS_AT_ONCE * IN) * sizeof *gu);
    kern->distances(IN, POINTS_AT_ONCE, v, u, q);
    kern->tangents(IN, POINTS_AT_ONCE, v, u, du, dq);
    kern->value(kind, WIDE, q, k);
    kern->slope(kind, WIDE, q, dq, dk);
    kern->second(kind, WIDE, q, dq, g, gd, w, wd);
    kern->pull(IN, POINTS_AT_ONCE, v, u, w, gu, gv);
    kern->pull_tangent(IN, POINTS_AT_ONCE, du, wd, gu, gv);
    return 6 * WIDE + NARROW + POINTS_AT_ONCE * IN;
}

/* Four passes over `count` of the values from `first` on: x, log-det, gradients.  */
static size_t sigmoid_results(const struct dfoi_sigmoids_kernels *kern, const dfoi_sigmoids *how, size_t first, size_t count,
                              dfo_real *out)
{
    static dfo_real all[(3 * COMPONENTS + 2) * VALUES], par[(3 * COMPONENTS + 2) * VALUES], x[VALUES], g[VALUES], gld[VALUES];
    size_t params = dfoi_sigmoids_params(how);
    dfo_real *to = out;
    draw(6, params * VALUES, all);
    draw(7, VALUES, x);
    draw(8, VALUES, g);
    draw(9, VALUES, gld);
    for (size_t p = 0; p < params; p++)
        memcpy(par + p * count, all + p * VALUES + first, count * sizeof *par);
    for (int pass = 0; pass < 8; pass++) {
        dfo_real *at = to, *ld = at + count, *gx = ld + count, *gpar = gx + count;
        memcpy(at, x + first, count * sizeof *at);
        memcpy(ld, gld + first, count * sizeof *ld);
        memcpy(gx, g + first, count * sizeof *gx);
        memset(gpar, 0, params * count * sizeof *gpar);
        if (pass < 2)
            (pass ? kern->inverse : kern->forward)(how, 1, count, par, at, ld);
        else if (pass == 2)
            kern->backward(how, 1, count, par, at, gx, ld, gpar);
        else if (pass == 3)
            kern->inverse_backward(how, 1, count, par, at, gx, ld, gpar);
        else if (pass < 6)
            (pass == 4 ? kern->to_normal : kern->from_normal)(count, at, ld);
        else if (pass == 6)
            kern->to_normal_backward(count, at, gx, ld);
        else
            kern->from_normal_backward(count, at, gx, ld);
        to = gpar + params * count;
    }
    return (size_t)(to - out);
}

START_TEST(levels_agree)
{
    static dfo_real want[8 * (3 * COMPONENTS + 5) * VALUES + 4096], got[8 * (3 * COMPONENTS + 5) * VALUES + 4096];
    for (int level = 1; level <= (int)dfoi_cpu_level(); level++) {
        for (int kind = 0; kind < DFOI_KERNEL_KINDS; kind++) {
            size_t n = kernel_results(&dfoi_kernel_kernels_generic, (dfoi_kernel_kind)kind, want);
            kernel_results(DFOI_AT_LEVEL(dfoi_kernel_kernels, (dfoi_cpu)level), (dfoi_kernel_kind)kind, got);
            ck_assert_msg(!memcmp(got, want, n * sizeof *got), "kernel %d: level %d gives other bits than generic", kind, level);
        }
        for (int deep = 0; deep < 2; deep++) {
            dfoi_sigmoids how = {.deep = deep, .outer = !deep, .components = COMPONENTS, .spread = 2, .scale_max = 2};
            size_t n = sigmoid_results(&dfoi_sigmoids_kernels_generic, &how, 0, VALUES, want);
            sigmoid_results(DFOI_AT_LEVEL(dfoi_sigmoids_kernels, (dfoi_cpu)level), &how, 0, VALUES, got);
            ck_assert_msg(!memcmp(got, want, n * sizeof *got), "sigmoids, deep %d: level %d gives other bits than generic", deep,
                          level);
        }
    }
}
END_TEST

START_TEST(alone_and_together)
{
    static dfo_real together[8 * (3 * COMPONENTS + 5) * VALUES], alone[8 * (3 * COMPONENTS + 5)];
    for (int deep = 0; deep < 2; deep++) {
        dfoi_sigmoids how = {.deep = deep, .outer = !deep, .components = COMPONENTS, .spread = 2, .scale_max = 2};
        sigmoid_results(DFOI_SIGMOIDS_KERN, &how, 0, VALUES, together);
        for (size_t i = 0; i < VALUES; i++) {
            size_t n = sigmoid_results(DFOI_SIGMOIDS_KERN, &how, i, 1, alone);
            for (size_t at = 0; at < n; at++)
                ck_assert_msg(!memcmp(&alone[at], &together[at * VALUES + i], sizeof *alone), "deep %d: value %zu, number %zu: %a, %a",
                              deep, i, at, (double)alone[at], (double)together[at * VALUES + i]);
        }
    }
}
END_TEST

static void close_to(const char *what, double at, double got, double want, double allowed)
{
    ck_assert_msg(fabs(got - want) <= allowed, "%s at %g: %.9g, expected %.9g", what, at, got, want);
}

/* As far out as numbers go: z rises by the smallest slope, x comes back, and the log-det's gradient fades.  */
START_TEST(far_sigmoids)
{
    enum { K = 3 };
    const dfoi_sigmoids how = {.components = K, .spread = 0, .scale_max = 2};
    dfo_real par[3 * K] = {(dfo_real)0.3, -1, (dfo_real)0.5, -1, 2, (dfo_real)0.5, 0, (dfo_real)0.7, (dfo_real)-0.4}, gpar[3 * K];
    for (int e = 3; e < (IS_DOUBLE ? 300 : 37); e++)
        for (int side = -1; side < 2; side += 2) {
            double at = side * pow(10, e), slope = exp(-(double)(dfo_real)0.7);
            dfo_real x = (dfo_real)at, ld = 0, back, gx = 1, gld = 1;
            DFOI_SIGMOIDS_KERN->forward(&how, 1, 1, par, &x, &ld);
            close_to("z", at, (double)x / (at * slope), 1, 2e-2 * pow(10, 3 - e) + 32 * (double)DFO_REAL_EPS);
            close_to("log dz/dx", at, (double)ld, -(double)(dfo_real)0.7, 8 * (double)DFO_REAL_EPS);
            back = x;
            DFOI_SIGMOIDS_KERN->inverse(&how, 1, 1, par, &back, &ld);
            close_to("x", at, (double)back / at, 1, 32 * (double)DFO_REAL_EPS);
            close_to("both log-dets", at, (double)ld, 0, 16 * (double)DFO_REAL_EPS);
            back = (dfo_real)at;
            DFOI_SIGMOIDS_KERN->backward(&how, 1, 1, par, &back, &gx, &gld, gpar);
            close_to("dz/dx and the log-det's slope", at, (double)gx, slope, 8 * (double)DFO_REAL_EPS);
            gx = 1;
            DFOI_SIGMOIDS_KERN->inverse_backward(&how, 1, 1, par, &back, &gx, &gld, gpar);
            close_to("dx/dz and the log-det's slope", at, (double)gx, 1 / slope, 32 * (double)DFO_REAL_EPS);
        }
}
END_TEST

/* y = z^2/2 + log z + log sqrt(2 pi) + 1/z^2 - ..., log dy/dz = log z + 1/z^2 - ..., there and back, with slopes.  */
START_TEST(far_quantiles)
{
    for (double size = IS_DOUBLE ? 3e3 : 30; size < (IS_DOUBLE ? 1e150 : 1e18); size *= 3)
        for (int side = -1; side < 2; side += 2) {
            const double v = 1 / (size * size), at = side * size;
            dfo_real y = (dfo_real)at, ld = 0, z = (dfo_real)at, g = 1, gld = 0;
            size_t n = 1;
            double is = fabs((double)z), allowed = 8 * (double)DFO_REAL_EPS;
            DFOI_SIGMOIDS_KERN->from_normal(n, &y, &ld);
            close_to("y", at, side * (double)y / (is * is / 2 + log(is) + 0.5 * log(2 * M_PI) + v - 2.5 * v * v), 1, allowed);
            close_to("log dy/dz", at, (double)ld, log(is) + v - 2.5 * v * v, allowed * fmax(1, log(is)));
            z = y;
            DFOI_SIGMOIDS_KERN->to_normal(n, &z, &ld);
            close_to("z", at, side * (double)z / is, 1, allowed);
            close_to("both log-dets", at, (double)ld, 0, 2 * allowed * fmax(1, log(is)));
            z = y;
            DFOI_SIGMOIDS_KERN->from_normal_backward(n, &z, &g, &gld);
            close_to("dy/dz", at, (double)g / is, 1 + v - 2 * v * v, 8 * allowed * fmax(1, log(is)));
            z = y;
            g = 0;
            gld = 1;
            DFOI_SIGMOIDS_KERN->from_normal_backward(n, &z, &g, &gld);
            close_to("slope of log dy/dz", at, side * (double)g * is, 1 - 2 * v + 10 * v * v, 8 * allowed * fmax(1, log(is)));
            z = y;
            g = 0;
            DFOI_SIGMOIDS_KERN->to_normal_backward(n, &z, &g, &gld);
            close_to("slope of log dz/dy", at, -side * (double)g * is * is, 1 - 3 * v + 15 * v * v, 8 * allowed);
        }
}
END_TEST

/* Quantiles of the data, as far apart as these are; the column that does not vary keeps scales of 1/2.  */
START_TEST(components_from_data)
{
    enum { ROWS = 400, K = 4 };
    layerfix f = layerfix_new(json_pack("{s:s, s:i}", "type", "gaussianization", "components", K), dfo_shape_vector(2), 0, ROWS);
    static dfo_real x[2 * ROWS];
    size_t n;
    for (size_t i = 0; i < ROWS; i++) {
        x[2 * i] = (dfo_real)((double)((i * 7) % ROWS) + 0.5);
        x[2 * i + 1] = 3;
    }
    testrun_reset(f.t);
    ck_assert_int_eq(dfo_bijector_init(f.bij, &f.t->run, dfo_batch_of(x, ROWS, 2), NULL), DFO_OK);
    const dfo_real *mu = layerfix_array(&f, "mu", &n), *log_scale = layerfix_array(&f, "log_scale", &n);
    for (size_t k = 0; k < K; k++) {
        ck_assert_msg(fabs((double)mu[k] - 100 * ((double)k + 0.5)) < 1e-3, "mean %zu: %g", k, (double)mu[k]);
        ck_assert_msg(fabs(exp((double)log_scale[k]) - 50) < 0.3, "scale %zu: %g", k, exp((double)log_scale[k]));
        ck_assert_msg((double)mu[K + k] == 3 && fabs(exp((double)log_scale[K + k]) - 0.5) < 1e-6, "constant %zu", k);
    }
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
    tcase_add_test(t, far_sigmoids);
    tcase_add_test(t, far_quantiles);
    tcase_add_test(t, gaussianization);
    tcase_add_test(t, levels_agree);
    tcase_add_test(t, alone_and_together);
    tcase_add_test(t, components_from_data);
    suite_add_tcase(suite, t);
    return test_run(suite);
}
