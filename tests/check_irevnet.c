/* i-RevNet's block against its reference vectors: output, inverse and every gradient.  */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <diffeo/real.h>
#include "layerfix.h"
#include "reference.h"
#include "util.h"

static double tolerance(ref_case c, const char *key)
{
    return sizeof(dfo_real) == sizeof(double) ? ref_tolerance(c, key) : key[0] == 'g' ? 1e-3 : 1e-4;
}

static void compare(ref_case c, const char *what, const char *key, size_t n, const double *got, const double *want)
{
    double worst = ref_worst(n, got, want), allowed = tolerance(c, key);
    ck_assert_msg(worst <= allowed, "%s: %s: off by %.3g, allowed %.3g", c.name, what, worst, allowed);
}

/* The store has a tap's inputs together, (out, 3, 3, in); the file (out, in, 3, 3).  */
static size_t tap(ref_array file, size_t at)
{
    size_t in = file.shape[1], i = at % in, ij = at / in % 9, o = at / in / 9;
    return (o * in + i) * 9 + ij;
}

/* Entry i of the layer's array is which of the file's: W1 .. W3, b1 .. b3.  */
static size_t entry(ref_array file, size_t i)
{
    return file.dims == 4 ? tap(file, i) : i;
}

static const char *const mine[] = {"net.w0", "net.w1", "net.w2", "net.b0", "net.b1", "net.b2"};
static const char *const theirs[] = {"W1", "W2", "W3", "b1", "b2", "b3"};

static void set_weights(layerfix *f, ref_case c)
{
    for (int a = 0; a < 6; a++) {
        char path[32];
        size_t n;
        snprintf(path, sizeof path, "params.%s", theirs[a]);
        ref_array from = ref_need(c, path);
        dfo_real *to = layerfix_array(f, mine[a], &n);
        ck_assert_uint_eq(n, from.n);
        for (size_t i = 0; i < n; i++)
            to[i] = (dfo_real)from.data[entry(from, i)];
    }
}

static void check_weights(layerfix *f, ref_case c)
{
    for (int a = 0; a < 6; a++) {
        char path[32];
        snprintf(path, sizeof path, "grad.%s", theirs[a]);
        ref_array want = ref_need(c, path);
        const dfo_real *g = layerfix_grad(f, mine[a]);
        for (size_t i = 0; i < want.n; i++) {
            double got = (double)g[i];
            compare(c, theirs[a], "grad", 1, &got, &want.data[entry(want, i)]);
        }
    }
}

static void one_case(ref_case c)
{
    ref_array x = ref_need(c, "x"), z = ref_need(c, "z"), seed = ref_need(c, "grad.seed_z");
    size_t n = x.shape[0];
    dfo_shape shape = {x.shape[1], x.shape[2], x.shape[3]};
    json_t *config = json_pack("{s:s, s:O, s:O, s:I}", "type", "irevnet", "stride", json_object_get(c.settings, "stride"),
                               "leading", json_object_get(c.settings, "leading_relu"), "hidden",
                               (json_int_t)ref_need(c, "params.W1").shape[0]);
    layerfix f = layerfix_new(config, shape, 0, n);
    ck_assert(f.bij->out.c == z.shape[1] && f.bij->out.h == z.shape[2] && f.bij->out.w == z.shape[3]);
    set_weights(&f, c);
    double *rows = malloc(x.n * sizeof *rows), *grows = malloc(x.n * sizeof *grows), *ld = malloc(n * sizeof *ld), none;
    ck_assert_int_eq(layerfix_prepare(&f), DFO_OK);
    ck_assert_int_eq(layerfix_forward(&f, n, x.data, NULL, rows, ld), DFO_OK);
    compare(c, "z", "z", x.n, rows, z.data);
    for (size_t i = 0; i < n; i++)
        ck_assert_double_eq(ld[i], 0);
    ck_assert_int_eq(layerfix_inverse(&f, n, z.data, NULL, rows, ld), DFO_OK);
    compare(c, "inverse", "inverse", x.n, rows, x.data);
    ck_assert_int_eq(layerfix_grads(&f, 0, n, x.data, NULL, seed.data, ref_need(c, "grad.seed_logdet").data, grows, &none,
                                    rows), DFO_OK);
    compare(c, "gradient of x", "grad", x.n, grows, ref_need(c, "grad.x").data);
    compare(c, "rebuilt x", "inverse", x.n, rows, x.data);
    check_weights(&f, c);
    free(rows);
    free(grows);
    free(ld);
    layerfix_free(&f);
}

START_TEST(reference)
{
    ref_file *file = ref_open("irevnet_block");
    ck_assert_uint_ge(ref_cases(file), 4);
    for (size_t i = 0; i < ref_cases(file); i++)
        one_case(ref_at(file, i));
    ref_close(file);
}
END_TEST

/* Zeros appended to the channels: refused, with the reason.  */
START_TEST(injective)
{
    char text[512];
    ck_assert_int_eq(layerfix_try("{\"type\":\"irevnet\",\"channels\":16}", (dfo_shape){6, 4, 4}, text, sizeof text),
                     DFO_EARG);
    ck_assert_msg(strstr(text, "16 in a half instead of 3 would need zeros for padding: such a map is injective, not "
                               "bijective, and has no density") != NULL, "%s", text);
    ck_assert_int_eq(layerfix_try("{\"type\":\"irevnet\",\"channels\":12,\"stride\":2}", (dfo_shape){6, 4, 4}, text,
                                  sizeof text), DFO_OK);
    ck_assert_int_eq(layerfix_try("{\"type\":\"irevnet\",\"net\":{\"type\":\"mlp\"}}", (dfo_shape){6, 4, 4}, text,
                                  sizeof text), DFO_EARG);
    ck_assert_int_eq(layerfix_try("{\"type\":\"irevnet\"}", (dfo_shape){3, 4, 4}, text, sizeof text), DFO_ESHAPE);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("i-RevNet's block (" DFO_REAL_NAME ")");
    TCase *tests = tcase_create("block");
    tcase_add_test(tests, reference);
    tcase_add_test(tests, injective);
    suite_add_tcase(suite, tests);
    return test_run(suite);
}
