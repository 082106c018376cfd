/* Distances between samples: against brute force, closed forms of normals, and their own errors.  */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <diffeo/c2st.h>
#include "oom.h"
#include "util.h"

static dfo_ctx *ctx;

static void open_ctx(void)
{
    ck_assert_int_eq(dfo_ctx_new(&ctx), DFO_OK);
}

static void close_ctx(void)
{
    ck_assert_uint_eq(dfo_ctx_bytes(ctx), 0);
    dfo_ctx_free(ctx);
}

static void near(double got, double want, double within, const char *what)
{
    ck_assert_msg(fabs(got - want) <= within, "%s: expected %.12g within %g, got %.12g (seed %llu)", what, want, within, got,
                  (unsigned long long)test_seed());
}

static dfo_samples normals(test_rng *rng, size_t n, size_t d, double shift)
{
    double *x = malloc(n * d * sizeof *x);
    for (size_t i = 0; i < n * d; i++)
        x[i] = test_rng_normal(rng) + (i % d ? 0 : shift);
    return (dfo_samples){n, d, x};
}

static void drop(dfo_samples *s)
{
    free((double *)s->x);
}

static int rising(const void *p, const void *q)
{
    double a = *(const double *)p, b = *(const double *)q;
    return (a > b) - (a < b);
}

/* Each value repeated so that both samples have n m of them.  */
static double *repeated(const dfo_samples *s, size_t times)
{
    double *to = malloc(s->n * times * sizeof *to);
    for (size_t i = 0; i < s->n * times; i++)
        to[i] = s->x[i / times];
    qsort(to, s->n * times, sizeof *to, rising);
    return to;
}

START_TEST(on_a_line)
{
    test_rng rng = test_rng_new(test_seed());
    for (int t = 0; t < 20; t++) {
        dfo_samples a = normals(&rng, test_rng_between(&rng, 20, 60), 1, 0.5),
                    b = normals(&rng, test_rng_between(&rng, 20, 60), 1, 0);
        double *x = repeated(&a, b.n), *y = repeated(&b, a.n), want = 0;
        for (size_t i = 0; i < a.n * b.n; i++)
            want += (x[i] - y[i]) * (x[i] - y[i]) / (double)(a.n * b.n);
        dfo_estimate w;
        ck_assert_int_eq(dfo_sliced_wasserstein(ctx, &a, &b, 7, 3, &w, NULL), DFO_OK);
        near(w.value, sqrt(want), 1e-12, "W2");
        free(x);
        free(y);
        drop(&a);
        drop(&b);
    }
}
END_TEST

/* A translation by m: W2 of direction v is |v.m|, its mean square |m|^2/d.  */
START_TEST(translation)
{
    enum { N = 300, D = 4 };
    test_rng rng = test_rng_new(test_seed());
    const double m[D] = {1, -2, 0, 0.5};
    dfo_samples a = normals(&rng, N, D, 0);
    double moved[N * D];
    for (size_t i = 0; i < N * D; i++)
        moved[i] = a.x[i] + m[i % D];
    dfo_samples b = {N, D, moved};
    dfo_estimate w, again, same;
    ck_assert_int_eq(dfo_sliced_wasserstein(ctx, &a, &b, 2000, test_seed(), &w, &same), DFO_OK);
    near(w.value, sqrt(5.25 / D), 5 * w.error, "sliced Wasserstein");
    ck_assert(w.error > 0 && w.error < 0.05);
    ck_assert(same.value > 0 && same.value < 0.3);
    dfo_ctx_set_threads(ctx, 3);
    ck_assert_int_eq(dfo_sliced_wasserstein(ctx, &a, &b, 2000, test_seed(), &again, &same), DFO_OK);
    ck_assert(!memcmp(&w, &again, sizeof w));
    drop(&a);
}
END_TEST

/* Both statistics of the rows whose number mod 10 is not g, pair by pair.  */
static void brute(const dfo_samples *a, const dfo_samples *b, size_t g, double width, double *energy, double *mmd)
{
    const dfo_samples *s[2] = {a, b};
    double sum[3][2] = {{0}}, count[3] = {0};
    for (int p = 0; p < 2; p++)
        for (int q = 0; q < 2; q++)
            for (size_t i = 0; i < s[p]->n; i++)
                for (size_t j = 0; j < s[q]->n; j++) {
                    if (i % 10 == g || j % 10 == g || (p == q && i == j))
                        continue;
                    double square = 0;
                    for (size_t k = 0; k < a->d; k++)
                        square += pow(s[p]->x[i * a->d + k] - s[q]->x[j * a->d + k], 2);
                    sum[p + q][0] += sqrt(square);
                    sum[p + q][1] += exp(-square / (2 * width * width));
                    count[p + q]++;
                }
    *energy = 2 * sum[1][0] / count[1] - sum[0][0] / count[0] - sum[2][0] / count[2];
    *mmd = sum[0][1] / count[0] + sum[2][1] / count[2] - 2 * sum[1][1] / count[1];
}

START_TEST(all_pairs)
{
    test_rng rng = test_rng_new(test_seed());
    for (int t = 0; t < 5; t++) {
        size_t d = test_rng_between(&rng, 1, 5);
        dfo_samples a = normals(&rng, test_rng_between(&rng, 20, 400), d, 0.7),
                    b = normals(&rng, test_rng_between(&rng, 20, 90), d, 0);
        double want[2], without[10][2], mean[2] = {0}, squares[2] = {0}, width = 1.3;
        dfo_estimate energy, mmd, again, mmd_again;
        dfo_ctx_set_threads(ctx, 1);
        ck_assert_int_eq(dfo_pair_distances(ctx, &a, &b, &width, &energy, &mmd), DFO_OK);
        brute(&a, &b, 10, width, &want[0], &want[1]);
        near(energy.value, want[0], 1e-12, "energy");
        near(mmd.value, want[1], 1e-12, "mmd");
        for (size_t g = 0; g < 10; g++) {
            brute(&a, &b, g, width, &without[g][0], &without[g][1]);
            for (int k = 0; k < 2; k++)
                mean[k] += without[g][k] / 10;
        }
        for (size_t g = 0; g < 10; g++)
            for (int k = 0; k < 2; k++)
                squares[k] += 0.9 * pow(without[g][k] - mean[k], 2);
        near(energy.error, sqrt(squares[0]), 1e-11, "energy's error");
        near(mmd.error, sqrt(squares[1]), 1e-11, "mmd's error");
        dfo_ctx_set_threads(ctx, 3);
        ck_assert_int_eq(dfo_pair_distances(ctx, &a, &b, &width, &again, &mmd_again), DFO_OK);
        ck_assert(!memcmp(&energy, &again, sizeof again) && !memcmp(&mmd, &mmd_again, sizeof mmd));
        drop(&a);
        drop(&b);
    }
}
END_TEST

/* E|X - Y| of normals whose difference is normal with mean m and variance 2.  */
static double mean_distance(double m)
{
    return 2 / sqrt(M_PI) * exp(-m * m / 4) + m * erf(m / 2);
}

START_TEST(known_laws)
{
    test_rng rng = test_rng_new(test_seed());
    dfo_samples a = normals(&rng, 2000, 1, 1), b = normals(&rng, 1500, 1, 0), c = normals(&rng, 2000, 1, 0);
    double width = 1;
    dfo_estimate energy, mmd;
    ck_assert_int_eq(dfo_pair_distances(ctx, &a, &b, &width, &energy, &mmd), DFO_OK);
    near(energy.value, 2 * mean_distance(1) - 2 * mean_distance(0), 6 * energy.error, "energy of normals");
    /* E k of a normal difference of mean m and variance 2 is exp(-m^2/6)/sqrt(3) at width 1.  */
    near(mmd.value, 2 / sqrt(3.0) * (1 - exp(-1 / 6.0)), 6 * mmd.error, "mmd of normals");
    ck_assert(energy.error < 0.1 && mmd.error < 0.05);
    ck_assert_int_eq(dfo_pair_distances(ctx, &c, &b, &width, &energy, &mmd), DFO_OK);
    near(energy.value, 0, 6 * energy.error, "energy of one law");
    near(mmd.value, 0, 6 * mmd.error, "mmd of one law");
    width = 0;
    ck_assert_int_eq(dfo_pair_distances(ctx, &c, &b, &width, &energy, &mmd), DFO_OK);
    near(width, 0.9539, 0.06, "median distance of standard normals");          /* sqrt(2) times 0.6745 */
    drop(&a);
    drop(&b);
    drop(&c);
}
END_TEST

/* The best that can be done between N(0, 1) and N(2, 1) is Phi(1) = 0.8413.  */
START_TEST(classifier)
{
    test_rng rng = test_rng_new(test_seed());
    dfo_samples a = normals(&rng, 1200, 2, 2), b = normals(&rng, 1000, 2, 0), far = normals(&rng, 200, 2, 30);
    dfo_estimate one, again;
    ck_assert_int_eq(dfo_c2st(ctx, &a, &b, 1, &one), DFO_OK);
    near(one.value, 0.8313, 0.01 + 5 * one.error, "two normals");
    dfo_ctx_set_threads(ctx, 3);
    ck_assert_int_eq(dfo_c2st(ctx, &a, &b, 1, &again), DFO_OK);
    ck_assert(!memcmp(&one, &again, sizeof one));
    dfo_samples half = {500, 2, b.x}, other = {500, 2, b.x + 1000};
    ck_assert_int_eq(dfo_c2st(ctx, &half, &other, 1, &one), DFO_OK);
    near(one.value, 0.5, 5 * one.error, "one law");
    half = b;
    half.n = 200;
    ck_assert_int_eq(dfo_c2st(ctx, &half, &far, 1, &one), DFO_OK);
    ck_assert(one.value == 1 && one.error == 0);
    drop(&a);
    drop(&b);
    drop(&far);
}
END_TEST

static void refused(const dfo_samples *a, const dfo_samples *b, dfo_status want, const char *text)
{
    double width = 1;
    dfo_estimate e, f;
    ck_assert_int_eq(dfo_sliced_wasserstein(ctx, a, b, 5, 0, &e, &f), want);
    ck_assert_msg(strstr(dfo_ctx_error(ctx), text) != NULL, "expected '%s', got '%s'", text, dfo_ctx_error(ctx));
    ck_assert_int_eq(dfo_pair_distances(ctx, a, b, &width, &e, &f), want);
    ck_assert_int_eq(dfo_c2st(ctx, a, b, 0, &e), want);
}

START_TEST(refusals)
{
    test_rng rng = test_rng_new(test_seed());
    dfo_samples a = normals(&rng, 40, 2, 0), b = normals(&rng, 40, 2, 0), few = a, wide = {20, 4, a.x};
    double constant[80] = {0}, width = 0;
    dfo_samples same = {40, 2, constant};
    dfo_estimate e, f;
    few.n = 19;
    refused(&few, &b, DFO_EARG, "the first sample has 19 rows, expected 20 or more");
    refused(&a, &wide, DFO_ESHAPE, "2 and of 4 features");
    ((double *)b.x)[7] = NAN;
    refused(&a, &b, DFO_EARG, "row 3, column 2 of the second sample is not finite");
    ck_assert_int_eq(dfo_sliced_wasserstein(ctx, &a, &a, 0, 0, &e, &f), DFO_EARG);
    ck_assert_int_eq(dfo_pair_distances(ctx, &same, &same, &width, &e, &f), DFO_EARG);
    width = -1;
    ck_assert_int_eq(dfo_pair_distances(ctx, &a, &a, &width, &e, &f), DFO_EARG);
    drop(&a);
    drop(&b);
}
END_TEST

static dfo_status work(dfo_ctx *c, void *data)
{
    const dfo_samples *s = data;
    double width = 0;
    dfo_estimate e, f;
    dfo_status status = dfo_sliced_wasserstein(c, s, s + 1, 3, 0, &e, &f);
    if (status == DFO_OK)
        status = dfo_pair_distances(c, s, s + 1, &width, &e, &f);
    return status == DFO_OK ? dfo_c2st(c, s, s + 1, 0, &e) : status;
}

START_TEST(no_memory)
{
    test_rng rng = test_rng_new(test_seed());
    dfo_samples s[2] = {normals(&rng, 20, 1, 0), normals(&rng, 20, 1, 1)};
    oom_check("distances", OOM_ALL, work, s);
    drop(&s[0]);
    drop(&s[1]);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("distance");
    TCase *tests = tcase_create("distance");
    tcase_add_checked_fixture(tests, open_ctx, close_ctx);
    tcase_add_test(tests, on_a_line);
    tcase_add_test(tests, translation);
    tcase_add_test(tests, all_pairs);
    tcase_add_test(tests, known_laws);
    tcase_add_test(tests, classifier);
    tcase_add_test(tests, refusals);
    tcase_add_test(tests, no_memory);
    suite_add_tcase(suite, tests);
    return test_run(suite);
}
