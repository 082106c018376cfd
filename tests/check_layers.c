/* Layers where the contract does not look: statistics of `standardise`, messages, starts, circles,
 * lists.  */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <diffeo/real.h>
#include "layerfix.h"
#include "standardise_impl.h"
#include "util.h"

#define EPS ((double)DFO_REAL_EPS)

static layerfix layer(const char *config, dfo_shape shape, size_t rows)
{
    layerfix f = layerfix_new(json_loads(config, 0, NULL), shape, 0, rows);
    ck_assert_msg(layerfix_prepare(&f) == DFO_OK, "%s: %s", config, f.t->run.text);
    return f;
}

static void init(layerfix *f, size_t n, dfo_real *x)
{
    testrun_reset(f->t);
    ck_assert_int_eq(dfo_bijector_init(f->bij, &f->t->run, dfo_batch_of(x, n, f->bij->d), NULL),
                     DFO_OK);
}

/* Means far from 0, a constant column, and statistics from elsewhere, which init must leave alone.
 * */
START_TEST(standardise)
{
    enum { N = 400 };
    layerfix f = layer("{\"type\":\"standardise\"}", dfo_shape_vector(3), N);
    test_rng rng = test_rng_new(test_seed());
    dfo_real *x = calloc(3 * N, sizeof *x);
    double mean = 0, squares = 0;
    size_t n;
    for (size_t i = 0; i < N; i++) {
        x[3 * i] = (dfo_real)(1e4 + test_rng_normal(&rng));
        x[3 * i + 1] = (dfo_real)0.1;
        x[3 * i + 2] = (dfo_real)(1e-3 * test_rng_normal(&rng));
        mean += (double)x[3 * i] / N;
    }
    for (size_t i = 0; i < N; i++)
        squares += ((double)x[3 * i] - mean) * ((double)x[3 * i] - mean) / N;
    init(&f, N, x);
    const dfo_real *m = layerfix_array(&f, "mean", &n), *s = layerfix_array(&f, "std", &n);
    ck_assert_msg(fabs((double)m[0] - mean) <= 100 * EPS * 1e4, "mean %.17g, not %.17g",
                  (double)m[0], mean);
    ck_assert_msg(fabs((double)s[0] - sqrt(squares)) <= 1000 * EPS, "std %.17g, not %.17g",
                  (double)s[0], sqrt(squares));
    ck_assert_msg(s[1] == 1 && fabs((double)m[1] - 0.1) <= 4 * EPS,
                  "constant column: mean %g, std %g", (double)m[1], (double)s[1]);
    ck_assert_msg(s[2] < (dfo_real)0.01, "std %g", (double)s[2]);
    const double given_mean[3] = {1, 2, 3}, given_std[3] = {2, 0, 0.5}, bad[3] = {1, NAN, 1};
    ck_assert_int_eq(dfoi_standardise_set(f.bij, given_mean, bad), DFO_ENUM);
    ck_assert_msg(s[1] == 1 && m[1] < (dfo_real)0.2, "a refused set changed something");
    ck_assert_int_eq(dfoi_standardise_set(f.bij, given_mean, given_std), DFO_OK);
    init(&f, N, x);
    ck_assert_msg(m[0] == 1 && s[0] == 2 && s[1] == 1 && s[2] == (dfo_real)0.5, "set: %g %g %g %g",
                  (double)m[0], (double)s[0], (double)s[1], (double)s[2]);
    double row[3] = {5, 2, 4}, z[3], ld;
    ck_assert_int_eq(layerfix_forward(&f, 1, row, NULL, z, &ld), DFO_OK);
    ck_assert_msg(z[0] == 2 && z[1] == 0 && z[2] == 2 && fabs(ld + log(2) + log(0.5)) < 1e-12,
                  "z %g %g %g, %g", z[0], z[1], z[2], ld);
    free(x);
    layerfix_free(&f);
}
END_TEST

/* Row and column of what is outside; what decodes is inside, however far out the latent.  */
START_TEST(bounds)
{
    static const char config[] = "{\"type\":\"bounds\",\"lower\":[0,null,-1],\"upper\":[1,5,null]}";
    layerfix f = layer(config, dfo_shape_vector(3), 2);
    double out[6], ld[2];
    const double edges[][3] = {{0, 0, 0},    {1, 0, 0},   {0.5, 5, 0},
                               {0.5, 0, -1}, {0.5, 7, 0}, {NAN, 0, 0}};
    const char *const column[] = {"column 0", "column 0", "column 1",
                                  "column 2", "column 1", "column 0"};
    for (size_t k = 0; k < sizeof edges / sizeof *edges; k++) {
        double x[6] = {0.5, 0, 0, edges[k][0], edges[k][1], edges[k][2]};
        ck_assert_int_eq(layerfix_forward(&f, 2, x, NULL, out, ld), DFO_ENUM);
        ck_assert_msg(strstr(f.t->run.text, "row 1") && strstr(f.t->run.text, column[k]), "%s",
                      f.t->run.text);
    }
    for (double far = -70; far <= 70; far += 10) {
        double z[3] = {far, far, far}, again[3];
        ck_assert_int_eq(layerfix_inverse(&f, 1, z, NULL, out, ld), DFO_OK);
        ck_assert_msg(out[0] > 0 && out[0] < 1 && out[1] < 5 && out[2] > -1, "z %g: %g %g %g", far,
                      out[0], out[1], out[2]);
        ck_assert_int_eq(layerfix_forward(&f, 1, out, NULL, again, ld), DFO_OK);
    }
    const double low[3] = {0.25, 0, 0}, high[3] = {0.26, 0.01, 0.01};
    double a[3], b[3];
    ck_assert_int_eq(layerfix_forward(&f, 1, low, NULL, a, ld), DFO_OK);
    ck_assert_int_eq(layerfix_forward(&f, 1, high, NULL, b, ld), DFO_OK);
    ck_assert_msg(b[0] > a[0] && b[1] > a[1] && b[2] > a[2], "a bound's map falls");
    layerfix_free(&f);
}
END_TEST

/* The list is what is stored, and says what happens.  */
START_TEST(permute)
{
    layerfix f = layer("{\"type\":\"permute\"}", dfo_shape_vector(17), 1), g;
    json_t *config = json_pack("{s:s}", "type", "permute");
    double x[17], z[17], again[17], ld;
    int moved = 0;
    ck_assert_int_eq(dfo_bijector_describe(f.bij, config), DFO_OK);
    for (size_t j = 0; j < 17; j++)
        x[j] = (double)j;
    ck_assert_int_eq(layerfix_forward(&f, 1, x, NULL, z, &ld), DFO_OK);
    for (size_t j = 0; j < 17; j++) {
        moved += z[j] != x[j];
        ck_assert_msg(
            (double)json_integer_value(json_array_get(json_object_get(config, "order"), j)) == z[j],
            "place %zu holds %g", j, z[j]);
    }
    ck_assert_int_gt(moved, 5);
    g = layerfix_new(config, dfo_shape_vector(17), 0, 1);
    ck_assert_int_eq(layerfix_forward(&g, 1, x, NULL, again, &ld), DFO_OK);
    ck_assert_mem_eq(z, again, sizeof z);
    layerfix_free(&f);
    layerfix_free(&g);
}
END_TEST

/* The first W is a rotation: lengths stay, the log-det is 0.  */
START_TEST(orthogonal)
{
    static const char *const config[] = {"{\"type\":\"linear\",\"init\":\"orthogonal\"}",
                                         "{\"type\":\"linear-dense\",\"init\":\"orthogonal\"}",
                                         "{\"type\":\"householder\"}"};
    for (size_t k = 0; k < 3; k++) {
        layerfix f = layer(config[k], dfo_shape_vector(11), 1);
        double x[11], z[11], ld, before = 0, after = 0, moved = 0;
        for (size_t j = 0; j < 11; j++)
            x[j] = (double)j - 4.5;
        ck_assert_int_eq(layerfix_forward(&f, 1, x, NULL, z, &ld), DFO_OK);
        for (size_t j = 0; j < 11; j++) {
            before += x[j] * x[j];
            after += z[j] * z[j];
            moved += fabs(z[j] - x[j]);
        }
        ck_assert_msg(fabs(after / before - 1) <= 200 * EPS && fabs(ld) <= 200 * EPS && moved > 1,
                      "%s: squares %.17g and %.17g, log-det %g", config[k], before, after, ld);
        layerfix_free(&f);
    }
}
END_TEST

START_TEST(singular)
{
    static const char *const config[] = {"{\"type\":\"linear-dense\"}",
                                         "{\"type\":\"householder\",\"reflections\":2}"};
    static const char *const array[] = {"w", "v"}, *const text[] = {"singular", "vector 0"};
    for (size_t k = 0; k < 2; k++) {
        layerfix f = layer(config[k], dfo_shape_vector(4), 1);
        size_t n;
        dfo_real *w = layerfix_array(&f, array[k], &n);
        memset(w, 0, 4 * sizeof *w);
        ck_assert_int_eq(layerfix_prepare(&f), DFO_ENUM);
        ck_assert_msg(strstr(f.t->run.text, text[k]) != NULL, "%s", f.t->run.text);
        layerfix_free(&f);
    }
}
END_TEST

/* Angles: a turn more changes nothing, and what goes across the seam goes on smoothly.  */
START_TEST(circles)
{
    static const char *const config[] = {
        "{\"type\":\"spline\",\"tails\":\"circular\",\"period\":360,\"start\":0}",
        "{\"type\":\"spline-coupling\",\"tails\":\"circular\",\"tail_bound\":180,\"zero_init\":"
        "false,"
        "\"net\":{\"type\":\"mlp\",\"hidden\":[6],\"activation\":\"tanh\"}}"};
    static const double low[] = {0, -180};
    test_rng rng = test_rng_new(test_seed());
    for (size_t k = 0; k < 2; k++) {
        layerfix f = layer(config[k], dfo_shape_vector(2), 1);
        dfo_real *w = dfo_store_weights(f.store);
        for (size_t i = 0; i < dfo_store_weights_size(f.store); i++)
            w[i] += (dfo_real)(0.3 * test_rng_normal(&rng));
        ck_assert_int_eq(layerfix_prepare(&f), DFO_OK);
        double x[2] = {low[k] + 100, low[k] + 259}, turned[2] = {x[0], x[1] + 360}, z[2], other[2],
               ld, other_ld;
        ck_assert_int_eq(layerfix_forward(&f, 1, x, NULL, z, &ld), DFO_OK);
        ck_assert_int_eq(layerfix_forward(&f, 1, turned, NULL, other, &other_ld), DFO_OK);
        ck_assert_msg(fabs(z[1] - other[1]) <= 1e5 * EPS && fabs(ld - other_ld) <= 1e4 * EPS,
                      "%s: a turn: %g and %g", config[k], z[1], other[1]);
        ck_assert_int_eq(layerfix_inverse(&f, 1, z, NULL, other, &other_ld), DFO_OK);
        ck_assert_msg(fabs(other[0] - x[0]) + fabs(other[1] - x[1]) <= 1e5 * EPS, "%s: back: %g %g",
                      config[k], other[0], other[1]);
        const double step = 1e-2; /* the feature that passes, on either side of the seam */
        double near[2] = {low[k] + step, x[1]}, far[2] = {low[k] + 360 - step, x[1]};
        ck_assert_int_eq(layerfix_forward(&f, 1, near, NULL, z, &ld), DFO_OK);
        ck_assert_int_eq(layerfix_forward(&f, 1, far, NULL, other, &other_ld), DFO_OK);
        ck_assert_msg(fabs(z[1] - other[1]) <= 0.5 && fabs(ld - other_ld) <= 0.1,
                      "%s: across the seam: %g and %g", config[k], z[1], other[1]);
        layerfix_free(&f);
    }
}
END_TEST

/* A learned box begins where the data are.  */
START_TEST(learned_box)
{
    layerfix f = layer("{\"type\":\"spline\",\"box\":\"learned\"}", dfo_shape_vector(1), 4);
    dfo_real x[4] = {9, 11, 9, 11};
    size_t n;
    init(&f, 4, x);
    ck_assert_msg(*layerfix_array(&f, "location", &n) == 10 &&
                      *layerfix_array(&f, "log_scale", &n) == 0,
                  "box");
    ck_assert_int_ne((int)(f.bij->caps & DFO_DATA_INIT), 0);
    layerfix_free(&f);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("layers " DFO_REAL_NAME);
    TCase *t = tcase_create("layers");
    tcase_add_test(t, standardise);
    tcase_add_test(t, bounds);
    tcase_add_test(t, permute);
    tcase_add_test(t, orthogonal);
    tcase_add_test(t, singular);
    tcase_add_test(t, circles);
    tcase_add_test(t, learned_box);
    suite_add_tcase(suite, t);
    return test_run(suite);
}
