/* Forecasts against rows: scores pair by pair and in closed form, ranks and coverage of normal laws that are right and wrong, and the
 * tails of the tests' laws.  */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <diffeo/forecast.h>
#include "ctxfix.h"
#include "dist/tail_impl.h"
#include "oom.h"
#include "util.h"

static void near(double got, double want, double within, const char *what)
{
    ck_assert_msg(fabs(got - want) <= within, "%s: expected %.12g within %g, got %.12g (seed %llu)", what, want, within, got,
                  (unsigned long long)test_seed());
}

/* Rows of a standard normal law in d dimensions, draws and densities of one `scale` times as wide.  */
struct normals {
    size_t n, d, draws;
    double *y, *x, *logp, *draw_logp;
};

static double log_density(size_t d, const double *x, double scale)
{
    double squares = 0;
    for (size_t k = 0; k < d; k++)
        squares += x[k] * x[k];
    return -0.5 * squares / (scale * scale);
}

static struct normals normals_new(test_rng *rng, size_t n, size_t d, size_t draws, double scale)
{
    struct normals s = {n, d, draws, malloc(n * d * 8), malloc(n * draws * d * 8), malloc(n * 8), malloc(n * draws * 8)};
    for (size_t i = 0; i < n * d; i++)
        s.y[i] = test_rng_normal(rng);
    for (size_t i = 0; i < n * draws * d; i++)
        s.x[i] = scale * test_rng_normal(rng);
    for (size_t i = 0; i < n; i++)
        s.logp[i] = log_density(d, s.y + i * d, scale);
    for (size_t i = 0; i < n * draws; i++)
        s.draw_logp[i] = log_density(d, s.x + i * d, scale);
    return s;
}

static void normals_free(struct normals *s)
{
    free(s->y);
    free(s->x);
    free(s->logp);
    free(s->draw_logp);
}

static dfo_forecast *forecast_of(const struct normals *s, size_t bins, uint64_t seed)
{
    dfo_forecast *f;
    dfo_forecast_options o = {s->n, s->d, s->draws, bins, seed};
    OK(dfo_forecast_new(ctx, &o, &f));
    OK(dfo_forecast_add(f, 0, s->n, s->y, s->x, s->logp, s->draw_logp));
    return f;
}

START_TEST(tails)
{
    test_rng rng = test_rng_new(test_seed());
    near(dfoi_chi_square_tail(3.841458820694124, 1), 0.05, 1e-14, "chi-square, 1");
    near(dfoi_chi_square_tail(18.307038053275146, 10), 0.05, 1e-14, "chi-square, 10");
    near(dfoi_chi_square_tail(3.9402991361190605, 10), 0.95, 1e-14, "chi-square, 10");
    near(dfoi_chi_square_tail(1074.6794, 1000), 0.05, 1e-6, "chi-square, 1000");
    ck_assert(dfoi_chi_square_tail(0, 3) == 1 && dfoi_chi_square_tail(INFINITY, 3) == 0);
    for (int i = 0; i < 100; i++) {                /* two degrees: e^{-x/2}; four: (1 + x/2) e^{-x/2} */
        double x = test_rng_real(&rng, 0.001, 60);
        near(dfoi_chi_square_tail(x, 2) / exp(-x / 2), 1, 1e-12, "chi-square, 2");
        near(dfoi_chi_square_tail(x, 4) / ((1 + x / 2) * exp(-x / 2)), 1, 1e-12, "chi-square, 4");
    }
    const size_t n = 1000000000000;
    const double root = 1e6 + 0.12;
    near(dfoi_kolmogorov_tail(1.2238478702170825 / root, n), 0.10, 1e-9, "Kolmogorov");
    near(dfoi_kolmogorov_tail(1.3580986393225507 / root, n), 0.05, 1e-9, "Kolmogorov");
    near(dfoi_kolmogorov_tail(1.6276236115189499 / root, n), 0.01, 1e-9, "Kolmogorov");
    near(dfoi_kolmogorov_tail(0.5196103791686224 / root, n), 0.95, 1e-9, "Kolmogorov");
    near(dfoi_kolmogorov_tail((1.18 - 1e-9) / root, n), dfoi_kolmogorov_tail((1.18 + 1e-9) / root, n), 1e-8, "both series");
    ck_assert(dfoi_kolmogorov_tail(0, 10) == 1 && dfoi_kolmogorov_tail(1, 1000) < 1e-300);
}
END_TEST

/* Every pair, as the definitions have it.  */
START_TEST(by_hand)
{
    test_rng rng = test_rng_new(test_seed());
    for (int t = 0; t < 20; t++) {
        size_t d = test_rng_between(&rng, 1, 4), draws = test_rng_between(&rng, 2, 12);
        struct normals s = normals_new(&rng, 7, d, draws, 1.5);
        dfo_forecast *f = forecast_of(&s, 2, test_seed());
        double pairs = (double)draws * (double)(draws - 1);
        for (size_t i = 0; i < s.n; i++) {
            const double *x = s.x + i * draws * d, *y = s.y + i * d;
            double energy = 0, higher = 0;
            for (size_t k = 0; k < d; k++) {
                double crps = 0, below = 0;
                for (size_t l = 0; l < draws; l++) {
                    crps += fabs(x[l * d + k] - y[k]) / (double)draws;
                    below += x[l * d + k] < y[k];
                    for (size_t m = 0; m < draws; m++)
                        crps -= fabs(x[l * d + k] - x[m * d + k]) / (2 * pairs);
                }
                near(dfo_forecast_score(f, i, k), crps, 1e-13, "CRPS");
                ck_assert(floor(dfo_forecast_pit(f, i, k) * (double)(draws + 1)) == below);
            }
            for (size_t l = 0; l < draws; l++) {
                double off = 0;
                for (size_t k = 0; k < d; k++)
                    off += pow(x[l * d + k] - y[k], 2);
                energy += sqrt(off) / (double)draws;
                for (size_t m = 0; m < draws; m++) {
                    off = 0;
                    for (size_t k = 0; k < d; k++)
                        off += pow(x[l * d + k] - x[m * d + k], 2);
                    energy -= sqrt(off) / (2 * pairs);
                }
                higher += s.draw_logp[i * draws + l] > s.logp[i];
            }
            near(dfo_forecast_score(f, i, d), energy, 1e-13, "energy score");
            ck_assert(floor(dfo_forecast_pit(f, i, d) * (double)(draws + 1)) == higher);
        }
        dfo_forecast_free(f);
        normals_free(&s);
    }
}
END_TEST

/* X ~ N(0, s^2), Y ~ N(0, 1): E|X - Y| - E|X - X'|/2 is sqrt(2 (1 + s^2)/pi) - s/sqrt(pi), in two dimensions
 * sqrt(pi (1 + s^2)/2) - s sqrt(pi)/2, for two draws as for many.  */
START_TEST(fair)
{
    static const double scale[] = {1, 0.4, 3};
    test_rng rng = test_rng_new(test_seed());
    for (size_t t = 0; t < 6; t++) {
        double s = scale[t % 3];
        struct normals a = normals_new(&rng, t < 3 ? 20000 : 2000, 2, t < 3 ? 2 : 30, s);
        dfo_forecast *f = forecast_of(&a, 2, test_seed());
        dfo_forecast_result r;
        for (size_t k = 0; k < 2; k++) {
            OK(dfo_forecast_measure(f, k, &r, NULL));
            near(r.score.value, sqrt(2 * (1 + s * s) / M_PI) - s / sqrt(M_PI), 5 * r.score.error, "mean CRPS");
            ck_assert(r.score.error > 0 && r.score.error < 0.1);
        }
        OK(dfo_forecast_measure(f, 2, &r, NULL));
        near(r.score.value, sqrt(M_PI * (1 + s * s) / 2) - s * sqrt(M_PI) / 2, 5 * r.score.error, "mean energy score");
        dfo_forecast_free(f);
        normals_free(&a);
    }
}
END_TEST

/* Right forecasts: coverage is exact whatever the number of draws.  Wrong ones, of scale s in two dimensions: a region of mass q
 * covers 1 - (1-q)^{s^2}, a middle interval erf(s inverse_erf(q)), but for 1/draws.  */
START_TEST(coverage)
{
    static const double level[] = {0.1, 0.5, 0.9, 0.99}, inverse_erf[] = {0.08885599049425769, 0.4769362762044699, 1.1630871536766743,
                                                                         1.8213863677184496};
    test_rng rng = test_rng_new(test_seed());
    dfo_estimate e;
    dfo_forecast_result r;
    for (size_t t = 0; t < 4; t++) {
        struct normals a = normals_new(&rng, 4000, 2, 2 + 7 * t, 1);
        dfo_forecast *f = forecast_of(&a, 3, test_seed());
        for (size_t k = 0; k <= 2; k++) {
            OK(dfo_forecast_measure(f, k, &r, NULL));
            ck_assert_msg(r.chi_square_p > 1e-6 && r.ks_p > 1e-6, "p %g, %g (seed %llu)", r.chi_square_p, r.ks_p, (unsigned long long)test_seed());
            for (size_t q = 0; q < 4; q++) {
                OK(dfo_forecast_coverage(f, k, level[q], &e));
                near(e.error, sqrt(level[q] * (1 - level[q]) / 4000), 1e-15, "its error");
                near(e.value, level[q], 5 * e.error, "coverage");
            }
        }
        dfo_forecast_free(f);
        normals_free(&a);
    }
    for (double s = 0.7; s < 1.6; s += 0.7) {
        struct normals a = normals_new(&rng, 1500, 2, 400, s);
        dfo_forecast *f = forecast_of(&a, 20, test_seed());
        for (size_t k = 0; k <= 2; k++) {
            OK(dfo_forecast_measure(f, k, &r, NULL));
            ck_assert(r.chi_square_p < 1e-6 && r.ks_p < 1e-4);
            for (size_t q = 0; q < 4; q++) {
                double want = k == 2 ? 1 - pow(1 - level[q], s * s) : erf(s * inverse_erf[q]);
                OK(dfo_forecast_coverage(f, k, level[q], &e));
                near(e.value, want, 5 * sqrt(want * (1 - want) / 1500) + 0.005, "coverage of a wrong law");
            }
        }
        dfo_forecast_free(f);
        normals_free(&a);
    }
}
END_TEST

/* p is uniform for forecasts that are right: below 0.05 in one of twenty.  Values that are equal count by lot.  */
START_TEST(p_values)
{
    enum { TIMES = 400 };
    test_rng rng = test_rng_new(test_seed());
    size_t low[2][2] = {{0}};
    for (size_t t = 0; t < TIMES; t++) {
        struct normals a = normals_new(&rng, 100, 1, 19, 1);
        for (size_t i = 0; t % 2 && i < 100; i++)
            a.y[i] = floor(a.y[i]);
        for (size_t i = 0; t % 2 && i < 1900; i++)
            a.x[i] = floor(a.x[i]);
        dfo_forecast *f = forecast_of(&a, 5, test_rng_next(&rng));
        dfo_forecast_result r;
        uint64_t ranks[5], sum = 0;
        OK(dfo_forecast_measure(f, 0, &r, ranks));
        for (size_t b = 0; b < 5; b++)
            sum += ranks[b];
        ck_assert_uint_eq(sum, 100);
        low[t % 2][0] += r.chi_square_p < 0.05;
        low[t % 2][1] += r.ks_p < 0.05;
        dfo_forecast_free(f);
        normals_free(&a);
    }
    for (size_t t = 0; t < 4; t++)                 /* 10 on average, deviation 3.1 */
        ck_assert_msg(low[t / 2][t % 2] <= 28, "%zu of %d below 0.05 (seed %llu)", low[t / 2][t % 2], TIMES / 2, (unsigned long long)test_seed());
    ck_assert(low[0][0] + low[0][1] + low[1][0] + low[1][1] >= 8);
}
END_TEST

/* Any threads, any parts: the same bits.  Without densities the rows' tests are unknown.  */
START_TEST(parts)
{
    test_rng rng = test_rng_new(test_seed());
    struct normals a = normals_new(&rng, 50, 2, 9, 1);
    dfo_forecast *f = forecast_of(&a, 10, 3), *g;
    dfo_forecast_options o = {50, 2, 9, 10, 3};
    dfo_estimate e;
    dfo_forecast_result r, again;
    dfo_ctx_set_threads(ctx, 3);
    OK(dfo_forecast_new(ctx, &o, &g));
    OK(dfo_forecast_add(g, 20, 30, a.y + 40, a.x + 360, a.logp + 20, a.draw_logp + 180));
    ck_assert_int_eq(dfo_forecast_measure(g, 0, &again, NULL), DFO_EARG);
    ck_assert_str_eq(dfo_ctx_error(ctx), "forecast: row 0 is missing");
    OK(dfo_forecast_add(g, 0, 20, a.y, a.x, a.logp, a.draw_logp));
    for (size_t k = 0; k <= 2; k++) {
        OK(dfo_forecast_measure(f, k, &r, NULL));
        OK(dfo_forecast_measure(g, k, &again, NULL));
        ck_assert(!memcmp(&r, &again, sizeof r));
    }
    OK(dfo_forecast_add(g, 0, 50, a.y, a.x, NULL, NULL));
    OK(dfo_forecast_measure(g, 2, &again, NULL));
    ck_assert(isnan(again.ks) && isnan(again.chi_square_p) && again.score.value == r.score.value);
    ck_assert_int_eq(dfo_forecast_coverage(g, 2, 0.5, &e), DFO_EARG);
    dfo_forecast_free(f);
    dfo_forecast_free(g);
    normals_free(&a);
}
END_TEST

static void refused(dfo_forecast_options o, dfo_status status, const char *text)
{
    dfo_forecast *f;
    ck_assert_int_eq(dfo_forecast_new(ctx, &o, &f), status);
    ck_assert_msg(strstr(dfo_ctx_error(ctx), text) != NULL, "%s", dfo_ctx_error(ctx));
    ck_assert_ptr_null(f);
}

START_TEST(refusals)
{
    refused((dfo_forecast_options){0, 1, 9, 2, 0}, DFO_EARG, "no rows");
    refused((dfo_forecast_options){5, 0, 9, 2, 0}, DFO_EARG, "no columns");
    refused((dfo_forecast_options){5, 1, 1, 2, 0}, DFO_EARG, "draws: expected 2 at least, got 1");
    refused((dfo_forecast_options){5, 1, 9, 11, 0}, DFO_EARG, "bins: expected 2 to 10, as many as ranks, got 11");
    refused((dfo_forecast_options){SIZE_MAX / 4, 7, 9, 2, 0}, DFO_EMEM, "rows");
    dfo_ctx_set_memory_limit(ctx, 1000);
    refused((dfo_forecast_options){100, 1, 9, 2, 0}, DFO_ELIMIT, "100 rows take 3200 bytes, the limit is 1000");
    dfo_ctx_set_memory_limit(ctx, 0);

    test_rng rng = test_rng_new(test_seed());
    struct normals a = normals_new(&rng, 5, 2, 3, 1);
    dfo_forecast *f = forecast_of(&a, 2, 1);
    dfo_forecast_result r;
    dfo_estimate e;
    ck_assert_int_eq(dfo_forecast_add(f, 3, 3, a.y, a.x, NULL, NULL), DFO_EARG);
    ck_assert_int_eq(dfo_forecast_add(f, 0, 5, a.y, a.x, a.logp, NULL), DFO_EARG);
    ck_assert_int_eq(dfo_forecast_measure(f, 3, &r, NULL), DFO_EARG);
    ck_assert_int_eq(dfo_forecast_coverage(f, 0, 1, &e), DFO_EARG);
    ck_assert_int_eq(dfo_forecast_coverage(f, 0, NAN, &e), DFO_EARG);
    a.x[2 * 6 + 3] = INFINITY;
    ck_assert_int_eq(dfo_forecast_add(f, 0, 5, a.y, a.x, NULL, NULL), DFO_ENUM);
    ck_assert_str_eq(dfo_ctx_error(ctx), "forecast: row 2: draw 1, column 2 is not finite");
    a.y[3] = NAN;
    ck_assert_int_eq(dfo_forecast_add(f, 0, 5, a.y, a.x, NULL, NULL), DFO_ENUM);
    ck_assert_str_eq(dfo_ctx_error(ctx), "forecast: row 1, column 2 is not finite");
    a.logp[0] = NAN;
    ck_assert_int_eq(dfo_forecast_add(f, 0, 1, a.y, a.x, a.logp, a.draw_logp), DFO_ENUM);
    ck_assert_str_eq(dfo_ctx_error(ctx), "forecast: row 0: a log density is not a number");
    OK(dfo_forecast_measure(f, 2, &r, NULL));      /* what was there stays */
    ck_assert(isfinite(r.ks));
    dfo_forecast_free(f);
    normals_free(&a);
}
END_TEST

static dfo_status work(dfo_ctx *c, void *data)
{
    static const double y[2] = {0, 1}, x[4] = {0.5, -1, 2, 0};
    dfo_forecast_options o = {2, 1, 2, 3, 0};
    dfo_forecast *f;
    dfo_forecast_result r;
    (void)data;
    dfo_status status = dfo_forecast_new(c, &o, &f);
    if (!status)
        status = dfo_forecast_add(f, 0, 2, y, x, NULL, NULL);
    if (!status)
        status = dfo_forecast_measure(f, 0, &r, NULL);
    dfo_forecast_free(f);
    return status;
}

START_TEST(no_memory)
{
    ck_assert_uint_eq(oom_check("forecast", OOM_ALL, work, NULL), 8);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("forecast");
    TCase *tests = tcase_create("forecast");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, tails);
    tcase_add_test(tests, by_hand);
    tcase_add_test(tests, fair);
    tcase_add_test(tests, coverage);
    tcase_add_test(tests, p_values);
    tcase_add_test(tests, parts);
    tcase_add_test(tests, refusals);
    tcase_add_test(tests, no_memory);
    suite_add_tcase(suite, tests);
    return test_run(suite);
}
