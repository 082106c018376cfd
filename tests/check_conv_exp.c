/* The exponential of a convolution against the exponential of its matrix, by its series in long double (GSL's, by squares of one of few terms,
 * has been up to 9e-13 off here).  */
#include <gsl/gsl_matrix.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "layerfix.h"
#include "util.h"

static const struct sizes {
    size_t n, c, h, w, k;
    double bound, weights;             /* their standard deviation */
} some[] = {{1, 1, 1, 1, 3, 2, 0.3}, {2, 2, 1, 5, 3, 2, 0.1}, {3, 1, 4, 3, 5, 1, 0.3}, {70, 2, 3, 4, 3, 8, 0.2}, {2, 3, 4, 4, 1, 0.5, 0.5},
            {2, 5, 4, 3, 3, 3, 0.2}};

/* Entry (o, h, w), (i, y, x) of the convolution's matrix: each row of weights is cut to the bound.  */
static gsl_matrix *matrix(const struct sizes *s, const dfo_real *weights, double *trace)
{
    size_t plane = s->h * s->w, d = s->c * plane, wide = s->k * s->k * s->c;
    gsl_matrix *m = gsl_matrix_calloc(d, d);
    *trace = 0;
    for (size_t o = 0; o < s->c; o++) {
        const dfo_real *row = weights + o * wide;
        double sum = 0;
        for (size_t i = 0; i < wide; i++)
            sum += fabs((double)row[i]);
        double factor = sum > s->bound ? s->bound / sum : 1;
        for (size_t at = 0; at < plane; at++)
            for (size_t t = 0; t < s->k * s->k; t++) {
                size_t y = at / s->w + t / s->k - s->k / 2, x = at % s->w + t % s->k - s->k / 2;
                for (size_t i = 0; i < s->c && y < s->h && x < s->w; i++)
                    gsl_matrix_set(m, o * plane + at, i * plane + y * s->w + x, factor * (double)row[t * s->c + i]);
            }
    }
    for (size_t i = 0; i < d; i++)
        *trace += gsl_matrix_get(m, i, i);
    return m;
}

/* y = sum over k of m^k x / k!, rows of which are at most 8 in sum.  */
static void exponential(const gsl_matrix *m, size_t n, const double *x, double *y)
{
    size_t d = m->size1;
    long double *term = calloc(2 * d, sizeof *term), *next = term + d, *sum = calloc(d, sizeof *sum);
    for (size_t i = 0; i < n; i++) {
        for (size_t r = 0; r < d; r++)
            sum[r] = term[r] = x[i * d + r];
        for (size_t k = 1; k < 80; k++) {
            for (size_t r = 0; r < d; r++) {
                next[r] = 0;
                for (size_t c = 0; c < d; c++)
                    next[r] += gsl_matrix_get(m, r, c) * term[c];
            }
            for (size_t r = 0; r < d; r++)
                sum[r] += term[r] = next[r] / (long double)k;
        }
        for (size_t r = 0; r < d; r++)
            y[i * d + r] = (double)sum[r];
    }
    free(term);
    free(sum);
}

static void near(const struct sizes *s, const char *what, const double *got, const double *want)
{
    double allowed = (IS_DOUBLE ? 1e-13 : 3e-6) * exp(fmin(s->bound, 3)), size = 0;
    size_t all = s->n * s->c * s->h * s->w;
    for (size_t i = 0; i < all; i++)
        size = fmax(size, fabs(want[i]));
    for (size_t i = 0; i < all; i++)
        ck_assert_msg(fabs(got[i] - want[i]) <= allowed * size, "%s, case %d: %zu is %.17g, expected %.17g (seed %llu)", what,
                      (int)(s - some), i, got[i], want[i], (unsigned long long)test_seed());
}

START_TEST(definition)
{
    const struct sizes *s = &some[_i];
    test_rng rng = test_rng_new(test_seed() + (uint64_t)_i);
    size_t d = s->c * s->h * s->w, all = s->n * d, count;
    double *x = calloc(all, sizeof *x), *y = calloc(all, sizeof *y), *got = calloc(all, sizeof *got),
           *logdet = calloc(s->n, sizeof *logdet), *back = calloc(s->n, sizeof *back), trace;
    for (size_t i = 0; i < all; i++)
        x[i] = (double)(dfo_real)test_rng_normal(&rng);
    json_t *config = json_pack("{s:s, s:I, s:f}", "type", "conv-exp", "kernel", (json_int_t)s->k, "bound", s->bound);
    layerfix f = layerfix_new(config, (dfo_shape){s->c, s->h, s->w}, 0, s->n);
    dfo_real *k = layerfix_array(&f, "kernel", &count);
    for (size_t i = 0; i < count; i++)
        k[i] = (dfo_real)(s->weights * test_rng_normal(&rng));
    gsl_matrix *m = matrix(s, k, &trace);
    exponential(m, s->n, x, y);
    ck_assert_int_eq(layerfix_prepare(&f), DFO_OK);
    ck_assert_int_eq(layerfix_forward(&f, s->n, x, NULL, got, logdet), DFO_OK);
    near(s, "exponential", got, y);
    ck_assert_int_eq(layerfix_inverse(&f, s->n, y, NULL, got, back), DFO_OK);
    near(s, "its inverse", got, x);
    for (size_t i = 0; i < s->n; i++)
        ck_assert(logdet[i] == -back[i] && fabs(logdet[i] - trace) <= (IS_DOUBLE ? 1e-13 : 1e-5) * (1 + fabs(trace)));
    layerfix_free(&f);
    gsl_matrix_free(m);
    free(x);
    free(y);
    free(got);
    free(logdet);
    free(back);
}
END_TEST

START_TEST(not_finite)
{
    layerfix f = layerfix_new(json_pack("{s:s}", "type", "conv-exp"), (dfo_shape){2, 3, 3}, 0, 1);
    size_t count;
    layerfix_array(&f, "kernel", &count)[20] = (dfo_real)NAN;
    ck_assert_int_eq(layerfix_prepare(&f), DFO_ENUM);
    ck_assert_ptr_nonnull(strstr(f.t->run.text, "the kernel of channel 1 is not finite"));
    layerfix_free(&f);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("exponentials of convolutions " DFO_REAL_NAME);
    TCase *t = tcase_create("conv-exp");
    tcase_add_loop_test(t, definition, 0, (int)(sizeof some / sizeof *some));
    tcase_add_test(t, not_finite);
    suite_add_tcase(suite, t);
    return test_run(suite);
}
