/* Layers whose inverse wants a search, or a triangle of them, against the reference vectors.  */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <diffeo/real.h>
#include "layerfix.h"
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
    suite_add_tcase(suite, t);
    return test_run(suite);
}
