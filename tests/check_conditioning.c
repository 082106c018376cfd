/* The conditioning of linear layers, against singular values and sums of rows of their matrices.  */
#include <gsl/gsl_linalg.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "layer_impl.h"
#include "layerfix.h"
#include "util.h"

/* sums: in sums of rows, else singular values.  */
static const struct {
    const char *config;
    int sums;
    dfo_shape shape;
} cases[] = {
    {"{\"type\":\"periodic-conv\"}", 0, {3, 4, 5}},
    {"{\"type\":\"periodic-conv\",\"kernel\":[1,3],\"solve\":true}", 0, {1, 4, 4}},
    {"{\"type\":\"symmetric-conv\",\"kernel\":[2,3]}", 0, {2, 5, 4}},
    {"{\"type\":\"symmetric-conv\",\"kernel\":2,\"solve\":true}", 0, {1, 3, 6}},
    {"{\"type\":\"causal-conv\",\"kernel\":[3,2],\"diagonal\":\"log\"}", 1, {3, 4, 5}},
    {"{\"type\":\"causal-conv\",\"kernel\":2,\"orientation\":\"bottom-right\",\"solve\":true}", 1, {2, 4, 3}},
    {"{\"type\":\"causal-conv\",\"kernel\":[9,2],\"orientation\":\"top-right\",\"diagonal\":\"full\"}", 1, {2, 3, 4}},
    {"{\"type\":\"causal-conv\",\"kernel\":3,\"diagonal\":\"log\",\"stable\":true,\"solve\":true}", 1, {3, 4, 4}},
    {"{\"type\":\"invert\",\"layer\":{\"type\":\"causal-conv\",\"kernel\":2,\"orientation\":\"bottom-left\"}}", 1, {2, 3, 3}},
    {"{\"type\":\"part\",\"first\":1,\"count\":2,\"layer\":{\"type\":\"periodic-conv\",\"kernel\":3}}", 0, {4, 3, 3}},
};
#define CASES (int)(sizeof cases / sizeof *cases)

/* The rows of the matrix are what the map makes of unit vectors, transposed.  */
static gsl_matrix *matrix(layerfix *f, size_t d, size_t first, size_t n, int inverse)
{
    gsl_matrix *m = gsl_matrix_alloc(n, n);
    double *x = calloc(2 * d, sizeof *x);
    ck_assert_ptr_nonnull(x);
    for (size_t j = 0; j < n; j++) {
        double logdet = 0;
        memset(x, 0, d * sizeof *x);
        x[first + j] = 1;
        ck_assert_int_eq(inverse ? layerfix_inverse(f, 1, x, NULL, x + d, &logdet)
                                 : layerfix_forward(f, 1, x, NULL, x + d, &logdet), DFO_OK);
        for (size_t i = 0; i < n; i++)
            gsl_matrix_set(m, i, j, x[d + first + i]);
    }
    free(x);
    return m;
}

static double most_of_a_row(const gsl_matrix *m)
{
    double most = 0;
    for (size_t i = 0; i < m->size1; i++) {
        double sum = 0;
        for (size_t j = 0; j < m->size2; j++)
            sum += fabs(gsl_matrix_get(m, i, j));
        most = fmax(most, sum);
    }
    return most;
}

static void expected(layerfix *f, int k, dfo_conditioning *out)
{
    size_t d = dfo_shape_size(cases[k].shape), plane = cases[k].shape.h * cases[k].shape.w;
    int part = strstr(cases[k].config, "\"part\"") != NULL;
    size_t first = part ? plane : 0, n = part ? 2 * plane : d;
    gsl_matrix *m = matrix(f, d, first, n, 0);
    if (cases[k].sums) {
        gsl_matrix *back = matrix(f, d, first, n, 1);
        *out = (dfo_conditioning){1 / most_of_a_row(back), most_of_a_row(m)};
        gsl_matrix_free(back);
    } else {
        gsl_matrix *v = gsl_matrix_alloc(n, n);
        gsl_vector *s = gsl_vector_alloc(n);
        gsl_linalg_SV_decomp_jacobi(m, v, s);
        *out = (dfo_conditioning){gsl_vector_get(s, n - 1), gsl_vector_get(s, 0)};
        gsl_matrix_free(v);
        gsl_vector_free(s);
    }
    gsl_matrix_free(m);
}

static void draw_weights(layerfix *f, test_rng *rng)
{
    dfo_real *w = dfo_store_weights(f->store);
    for (size_t k = 0; k < dfo_store_weights_size(f->store); k++)
        w[k] += (dfo_real)(0.1 * test_rng_normal(rng));
    dfo_store_touch(f->store);
    ck_assert_int_eq(layerfix_prepare(f), DFO_OK);
}

static int near(double got, double want)
{
    return fabs(got - want) <= 1e4 * (double)DFO_REAL_EPS * want;
}

START_TEST(matrices)
{
    test_rng rng = test_rng_new(test_seed());
    for (size_t t = 0; t < test_times(5); t++) {
        layerfix f = layerfix_new(json_loads(cases[_i].config, 0, NULL), cases[_i].shape, 0, 8);
        dfo_conditioning got, want;
        draw_weights(&f, &rng);
        expected(&f, _i, &want);
        ck_assert_int_eq(dfo_bijector_conditioning(f.bij, &f.t->run, &got), DFO_OK);
        ck_assert_msg(near(got.smallest, want.smallest) && near(got.largest, want.largest),
                      "seed %llu: %s: %g to %g, expected %g to %g", (unsigned long long)test_seed(), cases[_i].config,
                      got.smallest, got.largest, want.smallest, want.largest);
        layerfix_free(&f);
    }
}
END_TEST

/* A chain has its worst layer's, and other layers have none.  */
START_TEST(chains)
{
    static const char text[] = "{\"type\":\"chain\",\"layers\":[{\"type\":\"actnorm\"},{\"type\":\"finc\"},"
                               "{\"type\":\"periodic-conv\"},{\"type\":\"actnorm\"}]}";
    layerfix f = layerfix_new(json_loads(text, 0, NULL), (dfo_shape){5, 3, 4}, 0, 8);
    test_rng rng = test_rng_new(test_seed());
    dfo_conditioning all, one;
    double worst = 0;
    draw_weights(&f, &rng);
    ck_assert_int_eq(dfo_bijector_conditioning(f.bij, &f.t->run, &all), DFO_OK);
    dfo_real *derived = f.t->run.derived;
    for (size_t k = 0; k < 4; k++) {
        size_t at;
        const dfo_bijector *layer = dfoi_chain_layer(f.bij, k, &at);
        f.t->run.derived = derived + at;
        ck_assert_int_eq(dfo_bijector_conditioning(layer, &f.t->run, &one), DFO_OK);
        ck_assert_int_eq(isnan(one.largest) != 0, k % 3 == 0);
        worst = fmax(worst, one.largest / one.smallest);
    }
    f.t->run.derived = derived;
    ck_assert_msg(worst > 1 && all.largest / all.smallest == worst, "%g, expected %g", all.largest / all.smallest, worst);
    layerfix_free(&f);
}
END_TEST

/* Whatever the weights, and however large the image, a stable solve grows rows by ten at most; the same weights without
 * the bound overflow.  */
START_TEST(stable)
{
    for (int bound = 0; bound < 2; bound++) {
        json_t *config = json_pack("{s:s, s:b, s:b}", "type", "causal-conv", "stable", bound, "solve", _i);
        layerfix f = layerfix_new(config, (dfo_shape){2, 40, 40}, 0, 8);
        test_rng rng = test_rng_new(test_seed());
        dfo_conditioning got;
        dfo_real *w = dfo_store_weights(f.store);
        for (size_t k = 0; k < dfo_store_weights_size(f.store); k++)
            w[k] = (dfo_real)(5 * test_rng_normal(&rng));
        dfo_store_touch(f.store);
        ck_assert_int_eq(layerfix_prepare(&f), DFO_OK);
        ck_assert_int_eq(dfo_bijector_conditioning(f.bij, &f.t->run, &got), DFO_OK);
        if (bound)
            ck_assert_msg((_i ? 1 / got.largest : got.smallest) > 0.0999 && (_i ? 1 / got.smallest : got.largest) < 1.901,
                          "seed %llu: %g to %g", (unsigned long long)test_seed(), got.smallest, got.largest);
        else
            ck_assert_msg(!(got.largest / got.smallest < 1e6), "seed %llu: %g to %g", (unsigned long long)test_seed(),
                          got.smallest, got.largest);
        layerfix_free(&f);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("conditioning " DFO_REAL_NAME);
    TCase *t = tcase_create("conditioning");
    tcase_add_loop_test(t, matrices, 0, CASES);
    tcase_add_test(t, chains);
    tcase_add_loop_test(t, stable, 0, 2);
    suite_add_tcase(suite, t);
    return test_run(suite);
}
