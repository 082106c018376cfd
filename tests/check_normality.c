/* The test of normality: p-values of normal rows are as they should be, and rows that are not normal are found out; distances by brute
 * force; the incomplete gamma function against GSL's.  */
#include <gsl/gsl_cdf.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <diffeo/normality.h>
#include "ctxfix.h"
#include "dist/special_impl.h"
#include "oom.h"
#include "util.h"

enum { ROWS = 400, MANY = 8000, COLS = 12 };     /* MANY: Laplace's distance is 0.045 */
static double rows[MANY * COLS];

static dfo_normality tested(size_t n, size_t d)
{
    dfo_normality out;
    OK(dfo_normality_test(ctx, &(dfo_samples){n, d, rows}, &out));
    return out;
}

static void fill(test_rng *rng, size_t n)
{
    for (size_t i = 0; i < n * COLS; i++)
        rows[i] = test_rng_normal(rng);
}

/* Of so many normal samples p < a in at most about a part of a: all three p-values, and those of columns and norms are not shy.  */
START_TEST(normals)
{
    enum { TIMES = 600 };
    static const double level[] = {0.5, 0.1, 0.02};
    double below[3][3] = {{0}};
    test_rng rng = test_rng_new(test_seed());
    for (size_t k = 0; k < TIMES; k++) {
        fill(&rng, ROWS);
        dfo_normality got = tested(k % 2 ? ROWS : 40, k % 3 ? COLS : 1);
        double p[3] = {got.column_p, got.norm_p, got.p};
        for (size_t i = 0; i < 3; i++)
            for (size_t j = 0; j < 3; j++)
                below[i][j] += p[i] < level[j] ? 1.0 / TIMES : 0;
        ck_assert(fabs(got.mean) < 1 && got.variance > 0.3 && got.variance < 2.5);
    }
    for (size_t i = 0; i < 3; i++)
        for (size_t j = 0; j < 3; j++) {
            double spread = sqrt(level[j] * (1 - level[j]) / TIMES);
            ck_assert_msg(below[i][j] < level[j] + 4.5 * spread + 0.01, "%zu: p < %g in a part of %g", i, level[j], below[i][j]);
            ck_assert_msg(i == 2 || below[i][j] > 0.6 * level[j] - 4.5 * spread, "%zu: p < %g in a part of %g", i, level[j], below[i][j]);
        }
}
END_TEST

/* One column of another law, or all stretched, or rows whose columns alone are normal.  */
START_TEST(others)
{
    test_rng rng = test_rng_new(test_seed());
    for (int kind = 0; kind < 5; kind++) {
        size_t column = test_rng_next(&rng) % COLS;
        fill(&rng, MANY);
        for (size_t i = 0; i < MANY; i++)
            for (size_t j = 0; j < COLS; j++) {
                double *x = rows + i * COLS + j, u = (erfc(-*x / sqrt(2)) / 2);
                if (kind == 0 && j == column)              /* Laplace's and the uniform law, each of unit scale */
                    *x = u < 0.5 ? log(2 * u) : -log(2 * (1 - u));
                else if (kind == 1 && j == column)
                    *x = sqrt(12) * (u - 0.5);
                else if (kind == 2 && j == column)
                    *x += 0.4;
                else if (kind == 3)
                    *x *= 1.15;
                else if (kind == 4)
                    *x = rows[i * COLS];                   /* all the same */
            }
        dfo_normality got = tested(MANY, COLS);
        ck_assert_msg(got.p < 0.01, "kind %d: p = %g, %g of columns, %g of norms", kind, got.p, got.column_p, got.norm_p);
        if (kind == 2)
            ck_assert_uint_eq(got.column, column);
        if (kind == 4)
            ck_assert(got.norm_p < 1e-6);
    }
}
END_TEST

/* sup |F_n - F| over both sides of every number.  */
static double brute(size_t n, size_t d, size_t j)
{
    double most = 0;
    for (size_t i = 0; i < n; i++) {
        double x = rows[i * d + j], below = 0, to = 0;
        for (size_t k = 0; k < n; k++) {
            below += rows[k * d + j] < x;
            to += rows[k * d + j] <= x;
        }
        most = fmax(most, fmax(fabs(below / (double)n - gsl_cdf_ugaussian_P(x)), fabs(to / (double)n - gsl_cdf_ugaussian_P(x))));
    }
    return most;
}

START_TEST(distances)
{
    test_rng rng = test_rng_new(test_seed());
    for (int k = 0; k < 20; k++) {
        size_t n = 5 + test_rng_next(&rng) % 40, d = 1 + test_rng_next(&rng) % 4;
        fill(&rng, ROWS);
        dfo_normality got = tested(n, d);
        double most = 0;
        for (size_t j = 0; j < d; j++)
            most = fmax(most, brute(n, d, j));
        ck_assert_msg(fabs(got.distance - most) < 1e-14 && fabs(brute(n, d, got.column) - most) < 1e-14, "%.17g, expected %.17g", got.distance, most);
    }
}
END_TEST

START_TEST(gamma_below)
{
    static const double shape[] = {0.5, 1, 1.5, 6, 31.5, 392, 6144};
    for (size_t k = 0; k < sizeof shape / sizeof *shape; k++)
        for (double z = -6; z <= 8; z += 0.25) {
            double a = shape[k], x = fmax(0, a + z * sqrt(a)), got = dfoi_gamma_below(a, x), want = gsl_cdf_chisq_P(2 * x, 2 * a);
            ck_assert_msg(fabs(got - want) < 1e-14 * fmax(a, 100), "P(%g, %g): %.17g, expected %.17g", a, x, got, want);
        }
    ck_assert(dfoi_gamma_below(2, 0) <= 0 && dfoi_gamma_below(2, -1) <= 0);
}
END_TEST

static dfo_status work(dfo_ctx *c, void *data)
{
    dfo_normality out;
    (void)data;
    return dfo_normality_test(c, &(dfo_samples){10, 3, rows}, &out);
}

START_TEST(refused)
{
    dfo_normality out;
    ck_assert_int_eq(dfo_normality_test(ctx, &(dfo_samples){0, 3, rows}, &out), DFO_EARG);
    ck_assert_int_eq(dfo_normality_test(ctx, &(dfo_samples){3, 0, rows}, &out), DFO_EARG);
    memset(rows, 0, sizeof rows);
    rows[7] = NAN;
    ck_assert_int_eq(dfo_normality_test(ctx, &(dfo_samples){4, 3, rows}, &out), DFO_EARG);
    ck_assert(strstr(dfo_ctx_error(ctx), "row 2") != NULL);
    rows[7] = 0;
    ck_assert_uint_ge(oom_check("normality", OOM_ALL, work, NULL), 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("normality");
    TCase *t = tcase_create("normality");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, normals);
    tcase_add_test(t, others);
    tcase_add_test(t, distances);
    tcase_add_test(t, gamma_below);
    tcase_add_test(t, refused);
    suite_add_tcase(suite, t);
    return test_run(suite);
}
