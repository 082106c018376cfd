/* Layers against the reference vectors: output, log-determinant, inverse and every gradient.  */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <diffeo/real.h>
#include "layerfix.h"
#include "reflayer.h"
#include "util.h"

/* Which array of the file is which of the layer's; entries first, first+step, … of the layer's
 * array.  */
struct name {
    const char *file, *layer;
};

static int actnorm_case(ref_case c)
{
    layerfix f = layerfix_new(json_pack("{s:s}", "type", "actnorm"), reflayer_shape(c), 0, reflayer_rows(c));
    reflayer_set(&f, "log_scale", ref_need(c, "params.s"));
    reflayer_set(&f, "shift", ref_need(c, "params.b"));
    reflayer_check(&f, c);
    reflayer_compare_grad(&f, c, "log_scale", "s");
    reflayer_compare_grad(&f, c, "shift", "b");
    layerfix_free(&f);
    return 1;
}

START_TEST(actnorm)
{
    reflayer_each("actnorm", 3, actnorm_case);
}
END_TEST

/* "lu" holds L below the diagonal, logdiag on it, U above.  */
static double plu_entry(size_t d, size_t at, const char *front, ref_case c)
{
    size_t i = at / d, j = at % d;
    char path[64];
    snprintf(path, sizeof path, "%s.%s", front, i > j ? "L" : i < j ? "U" : "logdiag");
    return ref_need(c, path).data[i == j ? i : at];
}

static int plu_case(ref_case c)
{
    dfo_shape shape = reflayer_shape(c);
    size_t d = shape.c, n;
    int bias = ref_get(c, "params.b").data != NULL;
    json_t *config = json_pack("{s:s, s:O, s:O, s:b}", "type", "linear", "perm",
                               json_object_get(c.settings, "perm"), "sign",
                               json_object_get(c.settings, "sign"), "bias", bias);
    layerfix f = layerfix_new(config, shape, 0, reflayer_rows(c));
    dfo_real *lu = layerfix_array(&f, "lu", &n);
    ck_assert_uint_eq(n, d * d);
    for (size_t i = 0; i < n; i++)
        lu[i] = (dfo_real)plu_entry(d, i, "params", c);
    if (bias)
        reflayer_set(&f, "bias", ref_need(c, "params.b"));
    reflayer_check(&f, c);
    double *got = malloc(n * sizeof *got), *want = malloc(n * sizeof *want);
    for (size_t i = 0; i < n; i++) {
        got[i] = (double)layerfix_grad(&f, "lu")[i];
        want[i] = plu_entry(d, i, "grad", c);
    }
    reflayer_compare(c, "lu", n, got, want, reflayer_tolerance(c, "grad"));
    if (bias)
        reflayer_compare_grad(&f, c, "bias", "b");
    free(got);
    free(want);
    layerfix_free(&f);
    return 1;
}

START_TEST(linear_plu)
{
    reflayer_each("linear_plu", 6, plu_case);
}
END_TEST

static json_t *coupling_config(ref_case c, size_t hidden)
{
    const char *transform = ref_text(c, "settings.transform", "");
    json_t *config = json_pack("{s:O, s:{s:s, s:[I, I], s:s}}", "mask",
                               json_object_get(c.settings, "mask"), "net", "type", "mlp", "hidden",
                               (json_int_t)hidden, (json_int_t)hidden, "activation", "tanh");
    ck_assert_ptr_nonnull(config);
    if (!strcmp(transform, "additive")) {
        json_object_set_new(config, "type", json_string("additive-coupling"));
    } else if (!strcmp(transform, "spline")) {
        static const char *const keys[] = {"bins", "min_width", "min_height", "min_derivative",
                                           "tails"};
        json_object_set_new(config, "type", json_string("spline-coupling"));
        json_object_set(config, "tail_bound", json_object_get(c.settings, "bound"));
        for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
            json_object_set(config, keys[i], json_object_get(c.settings, keys[i]));
    } else {
        int sigmoid = !strcmp(transform, "affine_sigmoid");
        json_object_set_new(config, "type", json_string("affine-coupling"));
        json_object_set_new(config, "scale", json_string(sigmoid ? "sigmoid" : "tanh"));
        if (!sigmoid)
            json_object_set(config, "scale_max", json_object_get(c.settings, "scale_max"));
    }
    return config;
}

static int coupling_case(ref_case c)
{
    static const struct name names[] = {{"W1", "net.w0"}, {"b1", "net.b0"}, {"W2", "net.w1"},
                                        {"b2", "net.b1"}, {"W3", "net.w2"}, {"b3", "net.b2"}};
    ref_array cond = ref_get(c, "context"), w2 = ref_need(c, "params.W2");
    layerfix f = layerfix_new(coupling_config(c, w2.shape[0]), reflayer_shape(c),
                              cond.data ? cond.shape[1] : 0, reflayer_rows(c));
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[64];
        snprintf(path, sizeof path, "params.%s", names[i].file);
        reflayer_set(&f, names[i].layer, ref_need(c, path));
    }
    reflayer_check(&f, c);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        reflayer_compare_grad(&f, c, names[i].layer, names[i].file);
    layerfix_free(&f);
    return 1;
}

START_TEST(couplings)
{
    reflayer_each("coupling_affine", 8, coupling_case);
    reflayer_each("coupling_additive", 2, coupling_case);
    reflayer_each("coupling_spline", 3, coupling_case);
}
END_TEST

static int dense_case(ref_case c)
{
    layerfix f =
        layerfix_new(json_pack("{s:s}", "type", "linear-dense"), reflayer_shape(c), 0, reflayer_rows(c));
    reflayer_set(&f, "w", ref_need(c, "params.W"));
    reflayer_check(&f, c);
    reflayer_compare_grad(&f, c, "w", "W");
    layerfix_free(&f);
    return 1;
}

START_TEST(linear_dense)
{
    reflayer_each("linear_dense", 3, dense_case);
}
END_TEST

static int householder_case(ref_case c)
{
    ref_array v = ref_need(c, "params.V");
    json_t *config =
        json_pack("{s:s, s:I}", "type", "householder", "reflections", (json_int_t)v.shape[0]);
    layerfix f = layerfix_new(config, reflayer_shape(c), 0, reflayer_rows(c));
    reflayer_set(&f, "v", v);
    reflayer_check(&f, c);
    reflayer_compare_grad(&f, c, "v", "V");
    layerfix_free(&f);
    return 1;
}

START_TEST(householder)
{
    reflayer_each("householder", 5, householder_case);
}
END_TEST

/* ---- elementwise functions: z purely relative; in float row by row, those that float can hold */

static layerfix elementwise_layer(ref_case c, size_t rows)
{
    char type[32];
    snprintf(type, sizeof type, "%s", ref_text(c, "settings.function", ""));
    for (char *p = type; *p; p++)
        *p = *p == '_' ? '-' : *p;
    json_t *config = json_pack("{s:s}", "type", type);
    if (ref_number(c, "settings.slope", 0) > 0)
        json_object_set(config, "slope", json_object_get(c.settings, "slope"));
    layerfix f = layerfix_new(config, dfo_shape_vector(1), 0, rows);
    ref_array lambda = ref_get(c, "params.lambda");
    if (lambda.data)
        reflayer_set(&f, "lambda", lambda);
    ck_assert_int_eq(layerfix_prepare(&f), DFO_OK);
    return f;
}

/* Rows where x, z and the gradient mean in this precision what they mean in the file.  */
static size_t usable(ref_case c, double *keep[4])
{
    static const char *const path[] = {"x", "z", "logdet", "grad.x"};
    size_t n = reflayer_rows(c), used = 0;
    for (size_t i = 0; i < n; i++) {
        double x = ref_need(c, "x").data[i], here = (double)(dfo_real)x;
        int good =
            IS_DOUBLE || here == x || fabs(here - x) <= 1e-6 * fmin(fabs(x), fabs(1 - fabs(x)));
        for (size_t a = 0; a < 4 && !IS_DOUBLE; a++) {
            double v = fabs(ref_need(c, path[a]).data[i]);
            good = good && (v == 0 || (v > 1e-30 && v < 1e30));
        }
        for (size_t a = 0; a < 4 && good; a++)
            keep[a][used] = ref_need(c, path[a]).data[i];
        used += (size_t)good;
    }
    return used;
}

static void elementwise_rows(ref_case c, layerfix *f, size_t n, double *const a[4],
                             const double *seed, const double *sl)
{
    double out[32], ld[32], g[32], back[32];
    ck_assert_uint_le(n, 32);
    ck_assert_msg(layerfix_forward(f, n, a[0], NULL, out, ld) == DFO_OK, "%s: %s", c.name,
                  f->t->run.text);
    for (size_t i = 0; i < n; i++) {
        double error = fabs(out[i] - a[1][i]),
               allowed = IS_DOUBLE ? ref_tolerance(c, "z_relative") : 1e-5;
        ck_assert_msg(error <= allowed * fabs(a[1][i]), "%s: x %.17g: z %.17g, not %.17g", c.name,
                      a[0][i], out[i], a[1][i]);
    }
    reflayer_compare(c, "logdet", n, ld, a[2], reflayer_tolerance(c, "logdet"));
    ck_assert_int_eq(layerfix_grads(f, 0, n, a[0], NULL, seed, sl, g, NULL, back), DFO_OK);
    reflayer_compare(c, "gradient", n, g, a[3], reflayer_tolerance(c, "grad"));
    reflayer_compare(c, "rebuilt x", n, back, a[0], reflayer_tolerance(c, "inverse"));
    if (ref_number(c, "settings.invertible", 1) <= 0)
        return;
    ck_assert_msg(layerfix_inverse(f, n, a[1], NULL, out, ld) == DFO_OK, "%s: %s", c.name,
                  f->t->run.text);
    reflayer_compare(c, "inverse", n, out, a[0], reflayer_tolerance(c, "inverse"));
}

static int elementwise_case(ref_case c)
{
    double memory[4][32], *keep[4] = {memory[0], memory[1], memory[2], memory[3]}, seed[32], sl[32];
    size_t n = usable(c, keep), all = reflayer_rows(c);
    layerfix f = elementwise_layer(c, all);
    for (size_t i = 0, k = 0; i < all && k < n; i++)
        if (ref_need(c, "x").data[i] == keep[0][k]) {
            seed[k] = ref_need(c, "grad.seed_z").data[i];
            sl[k++] = ref_need(c, "grad.seed_logdet").data[i];
        }
    elementwise_rows(c, &f, n, keep, seed, sl);
    if (n == all && ref_get(c, "grad.lambda").data) {
        ck_assert_int_eq(
            layerfix_grads(&f, 0, n, keep[0], NULL, seed, sl, memory[1], NULL, memory[2]), DFO_OK);
        reflayer_compare_grad(&f, c, "lambda", "lambda");
    }
    layerfix_free(&f);
    return n > 2;
}

START_TEST(elementwise)
{
    reflayer_each("elementwise", 17, elementwise_case);
}
END_TEST

/* ---- splines: each row has parameters of its own, so each row a layer (d splines) of its own */

static void spline_row(ref_case c, size_t i)
{
    static const char *const keys[] = {"bins", "min_width", "min_height", "min_derivative",
                                       "tails"};
    static const char *const names[] = {"widths", "heights", "slopes"};
    ref_array x = ref_need(c, "x"), z = ref_need(c, "z");
    size_t d = x.shape[1], n;
    json_t *config = json_pack("{s:s, s:O}", "type", "spline", "tail_bound",
                               json_object_get(c.settings, "bound"));
    double out[8], ld, g[8], back[8], want[64], got[64];
    for (size_t k = 0; k < sizeof keys / sizeof *keys; k++)
        json_object_set(config, keys[k], json_object_get(c.settings, keys[k]));
    layerfix f = layerfix_new(config, dfo_shape_vector(d), 0, 1);
    for (size_t k = 0; k < 3; k++) {
        char path[64];
        dfo_real *to = layerfix_array(&f, names[k], &n);
        snprintf(path, sizeof path, "params.%s", names[k]);
        for (size_t v = 0; v < n; v++)
            to[v] = (dfo_real)ref_need(c, path).data[i * n + v];
    }
    ck_assert_int_eq(layerfix_prepare(&f), DFO_OK);
    ck_assert_int_eq(layerfix_forward(&f, 1, x.data + i * d, NULL, out, &ld), DFO_OK);
    reflayer_compare(c, "z", d, out, z.data + i * d, reflayer_tolerance(c, "z"));
    reflayer_compare(c, "logdet", 1, &ld, ref_need(c, "logdet").data + i, reflayer_tolerance(c, "logdet"));
    ck_assert_int_eq(layerfix_inverse(&f, 1, z.data + i * d, NULL, out, &ld), DFO_OK);
    reflayer_compare(c, "inverse", d, out, x.data + i * d, IS_DOUBLE ? ref_tolerance(c, "inverse") : 1e-3);
    if (ref_get(c, "grad.x").data) {
        ck_assert_int_eq(layerfix_grads(&f, 0, 1, x.data + i * d, NULL,
                                        ref_need(c, "grad.seed_z").data + i * d,
                                        ref_need(c, "grad.seed_logdet").data + i, g, NULL, back),
                         DFO_OK);
        reflayer_compare(c, "gradient of x", d, g, ref_need(c, "grad.x").data + i * d, reflayer_tolerance(c, "grad"));
        for (size_t k = 0; k < 3; k++) {
            char path[64];
            snprintf(path, sizeof path, "grad.%s", names[k]);
            (void)layerfix_array(&f, names[k], &n);
            ck_assert_uint_le(n, 64);
            for (size_t v = 0; v < n; v++) {
                want[v] = ref_need(c, path).data[i * n + v];
                got[v] = (double)layerfix_grad(&f, names[k])[v];
            }
            reflayer_compare(c, names[k], n, got, want, reflayer_tolerance(c, "grad"));
        }
    }
    layerfix_free(&f);
}

static int spline_case(ref_case c)
{
    if (!IS_DOUBLE && !strcmp(c.name, "at_knots"))     /* float has other knots */
        return 0;
    for (size_t i = 0; i < reflayer_rows(c); i++)
        spline_row(c, i);
    return 1;
}

START_TEST(spline)
{
    reflayer_each("spline_rq", IS_DOUBLE ? 15 : 10, spline_case);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("reference layers " DFO_REAL_NAME);
    TCase *t = tcase_create("layers");
    tcase_add_test(t, actnorm);
    tcase_add_test(t, linear_plu);
    tcase_add_test(t, linear_dense);
    tcase_add_test(t, householder);
    tcase_add_test(t, elementwise);
    tcase_add_test(t, spline);
    tcase_add_test(t, couplings);
    suite_add_tcase(suite, t);
    return test_run(suite);
}
