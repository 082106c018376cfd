/* Convolutions that a transform makes diagonal, against the reference vectors and against their definition as a dense
 * matrix: product, solve and determinant.  */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "reflayer.h"
#include "util.h"

/* ---- reference vectors */

static int solving(ref_case c)
{
    return !strcmp(ref_text(c, "settings.use", ""), "solve");
}

static int periodic_case(ref_case c)
{
    ref_array k = ref_need(c, "params.K");
    json_t *config = json_pack("{s:s, s:[I, I], s:b}", "type", "periodic-conv", "kernel", (json_int_t)k.shape[2],
                               (json_int_t)k.shape[3], "solve", solving(c));
    layerfix f = layerfix_new(config, reflayer_shape(c), 0, reflayer_rows(c));
    reflayer_set_kernel(&f, c);
    reflayer_check(&f, c);
    reflayer_compare_kernel(&f, c);
    layerfix_free(&f);
    return 1;
}

static int symmetric_case(ref_case c)
{
    ref_array k = ref_need(c, "params.k");
    json_t *config = json_pack("{s:s, s:[I, I], s:b}", "type", "symmetric-conv", "kernel", (json_int_t)k.shape[0],
                               (json_int_t)k.shape[1], "solve", solving(c));
    layerfix f = layerfix_new(config, reflayer_shape(c), 0, reflayer_rows(c));
    reflayer_set(&f, "kernel", k);
    reflayer_check(&f, c);
    reflayer_compare_grad(&f, c, "kernel", "k");
    layerfix_free(&f);
    return 1;
}

START_TEST(reference)
{
    reflayer_each("periodic_conv", 8, periodic_case);
    reflayer_each("periodic_solve", 8, periodic_case);
    reflayer_each("symmetric_conv", 4, symmetric_case);
    reflayer_each("symmetric_solve", 4, symmetric_case);
}
END_TEST

/* ---- the definition, as a matrix (d, d) in double */

struct sizes {
    size_t n, c, h, w, kh, kw;
};

static double *periodic_matrix(const struct sizes *s, const dfo_real *k)
{
    size_t plane = s->h * s->w, d = s->c * plane;
    double *m = calloc(d * d, sizeof *m);
    for (size_t at = 0; m && at < d * s->kh * s->kw * s->c; at++) {
        size_t in = at % s->c, j = at / s->c % s->kw, i = at / s->c / s->kw % s->kh, row = at / s->c / s->kw / s->kh;
        size_t o = row / plane, h = row % plane / s->w, w = row % s->w;
        m[row * d + in * plane + (h + s->h - i) % s->h * s->w + (w + s->w - j) % s->w] +=
            (double)k[((o * s->kh + i) * s->kw + j) * s->c + in];
    }
    return m;
}

/* The pixel that half-sample reflection shows at `at`.  */
static size_t mirror(long at, size_t n)
{
    size_t p = (size_t)((at % (2 * (long)n) + 2 * (long)n) % (2 * (long)n));
    return p < n ? p : 2 * n - 1 - p;
}

static double *symmetric_matrix(const struct sizes *s, const dfo_real *k)
{
    size_t plane = s->h * s->w, d = s->c * plane;
    double *m = calloc(d * d, sizeof *m);
    for (size_t row = 0; m && row < d; row++) {
        size_t c = row / plane, h = row % plane / s->w, w = row % s->w;
        for (long i = 1 - (long)s->kh; i < (long)s->kh; i++)
            for (long j = 1 - (long)s->kw; j < (long)s->kw; j++)
                m[row * d + c * plane + mirror((long)h - i, s->h) * s->w + mirror((long)w - j, s->w)] +=
                    (double)k[(c * s->kh + (size_t)labs(i)) * s->kw + (size_t)labs(j)];
    }
    return m;
}

/* Solves m y = x in place by elimination with pivots; returns log|det|.  */
static double dense_solve(size_t d, double *m, double *x)
{
    double logdet = 0;
    for (size_t k = 0; k < d; k++) {
        size_t best = k;
        for (size_t i = k; i < d; i++)
            best = fabs(m[i * d + k]) > fabs(m[best * d + k]) ? i : best;
        for (size_t j = 0; j < d; j++) {
            double t = m[k * d + j];
            m[k * d + j] = m[best * d + j];
            m[best * d + j] = t;
        }
        double t = x[k];
        x[k] = x[best];
        x[best] = t;
        logdet += log(fabs(m[k * d + k]));
        for (size_t i = k + 1; i < d; i++) {
            double f = m[i * d + k] / m[k * d + k];
            for (size_t j = k; j < d; j++)
                m[i * d + j] -= f * m[k * d + j];
            x[i] -= f * x[k];
        }
    }
    for (size_t k = d; k-- > 0;) {
        for (size_t j = k + 1; j < d; j++)
            x[k] -= m[k * d + j] * x[j];
        x[k] /= m[k * d + k];
    }
    return logdet;
}

static void near(const struct sizes *s, const char *what, size_t n, const double *got, const double *want)
{
    double allowed = sizeof(dfo_real) == 4 ? 1e-4 : 1e-12, size = 0;
    for (size_t i = 0; i < n; i++)
        size = fmax(size, fabs(want[i]));
    for (size_t i = 0; i < n; i++)
        ck_assert_msg(fabs(got[i] - want[i]) <= allowed * (1 + size), "%s, %zux%zux%zu, kernel %zux%zu: %zu is %.17g, expected "
                      "%.17g (seed %llu)", what, s->c, s->h, s->w, s->kh, s->kw, i, got[i], want[i],
                      (unsigned long long)test_seed());
}

static void against_matrix(const char *type, const struct sizes *s, int seed)
{
    test_rng rng = test_rng_new(test_seed() + (uint64_t)seed);
    size_t d = s->c * s->h * s->w, all = s->n * d, count;
    json_t *config = json_pack("{s:s, s:[I, I]}", "type", type, "kernel", (json_int_t)s->kh, (json_int_t)s->kw);
    layerfix f = layerfix_new(config, (dfo_shape){s->c, s->h, s->w}, 0, s->n);
    dfo_real *k = layerfix_array(&f, "kernel", &count);
    for (size_t i = 0; i < count; i++)
        k[i] += (dfo_real)(0.1 / (double)(s->kh * s->kw) * test_rng_normal(&rng));
    ck_assert_int_eq(layerfix_prepare(&f), DFO_OK);
    double *m = type[0] == 'p' ? periodic_matrix(s, k) : symmetric_matrix(s, k), *copy = calloc(d * d, sizeof *copy);
    double *x = calloc(all, sizeof *x), *y = calloc(all, sizeof *y), *got = calloc(all, sizeof *got),
           *logdet = calloc(s->n, sizeof *logdet), want = 0;
    ck_assert(m && copy && x && y && got && logdet);
    for (size_t i = 0; i < all; i++)
        x[i] = (double)(dfo_real)test_rng_normal(&rng);
    for (size_t i = 0; i < all; i++)
        for (size_t j = 0; j < d; j++)
            y[i] += m[i % d * d + j] * x[i / d * d + j];
    ck_assert_int_eq(layerfix_forward(&f, s->n, x, NULL, got, logdet), DFO_OK);
    near(s, type, all, got, y);
    memcpy(y, x, all * sizeof *y);
    for (size_t i = 0; i < s->n; i++) {
        memcpy(copy, m, d * d * sizeof *m);
        want = dense_solve(d, copy, y + i * d);
    }
    near(s, "log-det", 1, logdet, &want);
    ck_assert_int_eq(layerfix_inverse(&f, s->n, x, NULL, got, logdet), DFO_OK);
    near(s, "solve", all, got, y);
    layerfix_free(&f);
    free(m);
    free(copy);
    free(x);
    free(y);
    free(got);
    free(logdet);
}

START_TEST(definition)
{
    static const struct sizes some[] = {{3, 1, 1, 1, 1, 1}, {2, 2, 1, 7, 1, 3}, {5, 3, 5, 2, 5, 2}, {9, 2, 3, 4, 2, 2},
                                        {1, 4, 6, 5, 3, 3}, {2, 1, 8, 6, 8, 6}};
    against_matrix("periodic-conv", &some[_i], _i);
    against_matrix("symmetric-conv", &some[_i], _i);
}
END_TEST

/* A kernel with a zero at a frequency, (1, 1) at Nyquist's, and one that is not a number.  */
static void refused(const char *type, dfo_real first, dfo_real second)
{
    layerfix f = layerfix_new(json_pack("{s:s, s:[i, i]}", "type", type, "kernel", 1, 2), (dfo_shape){1, 2, 4}, 0, 1);
    size_t n;
    dfo_real *k = layerfix_array(&f, "kernel", &n);
    k[0] = first;
    k[1] = second;
    ck_assert_int_eq(layerfix_prepare(&f), DFO_ENUM);
    ck_assert_msg(strstr(f.t->run.text, "has no inverse at frequency") != NULL, "%s", f.t->run.text);
    layerfix_free(&f);
}

START_TEST(no_inverse)
{
    refused("periodic-conv", 1, 1);
    refused("periodic-conv", 1, (dfo_real)NAN);
    refused("symmetric-conv", 0, 0);
    refused("symmetric-conv", 1, (dfo_real)NAN);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("convolutions by transforms " DFO_REAL_NAME);
    TCase *t = tcase_create("fourier");
    tcase_add_test(t, reference);
    tcase_add_loop_test(t, definition, 0, 6);
    tcase_add_test(t, no_inverse);
    suite_add_tcase(suite, t);
    return test_run(suite);
}
