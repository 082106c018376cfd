/* LU, triangular inverse, orthogonal factors, Cholesky: the identities that define them, on random
 * matrices with room between rows; roots of monotone functions.  */
#include <float.h>
#include <limits.h>
#include <math.h>
#include <string.h>

#include "math/linalg_impl.h"
#include "math/root_impl.h"
#include "util.h"

#define REQUIRE(condition, ...)                  \
    do {                                         \
        if (!(condition))                        \
            ck_abort_msg(__VA_ARGS__);           \
    } while (0)
#define MOST 40
#define LD (MOST + 3)
#define CANARY ((dfo_real)-12345)
typedef dfo_real matrix[MOST * LD];

static matrix a, b, c, inverse;
static dfo_real scratch[3 * MOST];

static void randoms(test_rng *rng, size_t m, size_t n, dfo_real *x)
{
    for (size_t i = 0; i < MOST; i++)
        for (size_t j = 0; j < LD; j++)
            x[i * LD + j] = i < m && j < n ? (dfo_real)test_rng_normal(rng) : CANARY;
}

static void check_canaries(size_t m, size_t n, const dfo_real *x)
{
    for (size_t i = 0; i < MOST; i++)
        for (size_t j = 0; j < LD; j++)
            REQUIRE((i < m && j < n) || x[i * LD + j] == CANARY, "(%zu, %zu): wrote at %zu, %zu", m, n, i, j);
}

/* Largest entry of x in modulus.  */
static double size_of(size_t m, size_t n, const dfo_real *x)
{
    double most = 0;
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++)
            most = fmax(most, fabs((double)x[i * LD + j]));
    return most;
}

START_TEST(lu)
{
    test_rng rng = test_rng_new(test_seed());
    for (size_t t = test_times(200); t--;) {
        size_t n = test_rng_between(&rng, 0, MOST), rows = test_rng_between(&rng, 0, MOST), perm[MOST];
        int pivot[MOST];
        randoms(&rng, n, n, a);
        memcpy(b, a, sizeof b);
        ck_assert_int_eq(dfoi_lu_factor(n, b, LD, pivot), DFO_OK);
        check_canaries(n, n, b);
        dfoi_lu_permutation(n, pivot, perm);
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < n; j++) {
                double sum = 0;
                for (size_t k = 0; k <= i && k <= j; k++)
                    sum += (k == i ? 1 : (double)b[i * LD + k]) * (double)b[k * LD + j];
                REQUIRE(fabs(sum - (double)a[perm[i] * LD + j]) <= 8 * DFO_REAL_EPS * (double)(n + 4), "n %zu: P A - L U = %g", n,
                        sum - (double)a[perm[i] * LD + j]);
                REQUIRE(j >= i || fabs((double)b[i * LD + j]) <= 1, "n %zu: L has %g", n, (double)b[i * LD + j]);
            }
        ck_assert_int_eq(dfoi_lu_invert(n, b, LD, pivot, inverse, LD), DFO_OK);
        double condition = (1 + size_of(n, n, a)) * (1 + size_of(n, n, inverse)) * (double)(n * n + 1);
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < n; j++) {
                double sum = 0;
                for (size_t k = 0; k < n; k++)
                    sum += (double)a[i * LD + k] * (double)inverse[k * LD + j];
                REQUIRE(fabs(sum - (i == j)) <= DFO_REAL_EPS * condition, "n %zu: A inv(A) - 1 = %g at %zu, %zu", n,
                        sum - (i == j), i, j);
            }
        for (int transposed = 0; transposed < 2; transposed++) {
            randoms(&rng, rows, n, c);
            static matrix x;
            memcpy(x, c, sizeof x);
            ck_assert_int_eq(dfoi_lu_solve(n, b, LD, pivot, transposed, rows, x, LD), DFO_OK);
            check_canaries(rows, n, x);
            for (size_t r = 0; r < rows; r++)
                for (size_t i = 0; i < n; i++) {
                    double sum = 0, size = 1;
                    for (size_t k = 0; k < n; k++) {
                        double term = (double)(transposed ? a[k * LD + i] : a[i * LD + k]) * (double)x[r * LD + k];
                        sum += term, size += fabs(term);
                    }
                    REQUIRE(fabs(sum - (double)c[r * LD + i]) <= 8 * DFO_REAL_EPS * (double)(n + 4) * size,
                            "n %zu, transposed %d: residual %g", n, transposed, sum - (double)c[r * LD + i]);
                }
        }
    }
}
END_TEST

/* Determinants that are known, and matrices that have no inverse.  */
START_TEST(determinants)
{
    dfo_real m[9] = {2, 1, 1, 4, -6, 0, -2, 7, 2}, singular[9] = {1, 2, 3, 2, 4, 6, 1, 0, 1}, bad[4] = {1, 2, 3, 4};
    int pivot[3];
    ck_assert_int_eq(dfoi_lu_factor(3, m, 3, pivot), DFO_OK);
    ck_assert(fabs(dfoi_log_abs_det(3, m, 3) - log(16)) < 8 * DFO_REAL_EPS);
    ck_assert_int_eq(dfoi_lu_factor(3, singular, 3, pivot), DFO_ENUM);
    ck_assert(dfoi_log_abs_det(3, singular, 3) < log(10 * DFO_REAL_EPS));
    bad[2] = (dfo_real)NAN;
    ck_assert_int_eq(dfoi_lu_factor(2, bad, 2, pivot), DFO_ENUM);
    ck_assert(dfoi_log_abs_det(0, NULL, 0) == 0);
    ck_assert_int_eq(dfoi_lu_factor((size_t)INT_MAX + 1, m, (size_t)INT_MAX + 1, pivot), DFO_ESHAPE);
    ck_assert_int_eq(dfoi_lu_factor(3, m, 2, pivot), DFO_ESHAPE);
}
END_TEST

START_TEST(triangles)
{
    test_rng rng = test_rng_new(test_seed());
    for (size_t t = test_times(100); t--;) {
        size_t n = test_rng_between(&rng, 0, MOST);
        int upper = (int)test_rng_between(&rng, 0, 1), unit = (int)test_rng_between(&rng, 0, 1);
        randoms(&rng, n, n, a);
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < n; j++)
                a[i * LD + j] *= (dfo_real)(i == j ? 1 : 0.3);
        for (size_t i = 0; i < n; i++)
            a[i * LD + i] += a[i * LD + i] < 0 ? (dfo_real)-1 : (dfo_real)1;
        memcpy(b, a, sizeof b);
        ck_assert_int_eq(dfoi_invert_triangular(n, b, LD, upper, unit), DFO_OK);
        check_canaries(n, n, b);
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < n; j++) {
                int mine = upper ? j > i : j < i;
                if (!mine && (i != j || unit)) {
                    REQUIRE(b[i * LD + j] == a[i * LD + j], "n %zu: touched %zu, %zu", n, i, j);
                    if (i != j)
                        continue;
                }
                double sum = 0, size = 1;
                for (size_t k = upper ? i : j; k <= (upper ? j : i); k++) {
                    double left = k == i && unit ? 1 : (double)a[i * LD + k], right = k == j && unit ? 1 : (double)b[k * LD + j];
                    sum += left * right, size += fabs(left * right);
                }
                REQUIRE(fabs(sum - (i == j)) <= 8 * DFO_REAL_EPS * (double)(n + 4) * size, "n %zu upper %d unit %d: %g at %zu, %zu",
                        n, upper, unit, sum - (i == j), i, j);
            }
    }
    dfo_real zero[4] = {1, 0, 5, 0};
    ck_assert_int_eq(dfoi_invert_triangular(2, zero, 2, 0, 0), DFO_ENUM);
}
END_TEST

START_TEST(orthogonal)
{
    test_rng rng = test_rng_new(test_seed());
    for (size_t t = test_times(100); t--;) {
        size_t m = test_rng_between(&rng, 0, MOST), n = test_rng_between(&rng, 0, MOST), small = m < n ? m : n;
        ck_assert_uint_le(dfoi_qr_scratch(m, n), 3 * MOST);
        randoms(&rng, m, n, a);
        memcpy(b, a, sizeof b);
        ck_assert_int_eq(dfoi_qr_orthogonal(m, n, a, LD, scratch), DFO_OK);
        check_canaries(m, n, a);
        for (size_t i = 0; i < small; i++)
            for (size_t j = 0; j < small; j++) {
                double sum = 0, r = 0;
                for (size_t k = 0; k < (m <= n ? n : m); k++) {
                    sum += m <= n ? (double)a[i * LD + k] * (double)a[j * LD + k] : (double)a[k * LD + i] * (double)a[k * LD + j];
                    r += m <= n ? (double)a[i * LD + k] * (double)b[j * LD + k] : (double)a[k * LD + i] * (double)b[k * LD + j];
                }
                REQUIRE(fabs(sum - (i == j)) <= 8 * DFO_REAL_EPS * (double)(m + n), "(%zu, %zu): Q Q^T - 1 = %g", m, n,
                        sum - (i == j));
                /* r = R_ij: triangular, with a positive diagonal */
                REQUIRE(i < j || (i == j ? r > 0 : fabs(r) <= 32 * DFO_REAL_EPS * (double)(m + n)), "(%zu, %zu): R_%zu,%zu = %g",
                        m, n, i, j, r);
            }
    }
    double mean = 0;                             /* Haar: entries have mean 0 and variance 1/n */
    for (size_t t = 0; t < 4000; t++) {
        randoms(&rng, 3, 3, a);
        ck_assert_int_eq(dfoi_qr_orthogonal(3, 3, a, LD, scratch), DFO_OK);
        mean += (double)a[0] + (double)a[LD + 1] + (double)a[2 * LD + 2];
    }
    ck_assert_msg(fabs(mean / 4000) < 4.5 / sqrt(4000), "mean trace %g", mean / 4000);
}
END_TEST

START_TEST(cholesky)
{
    test_rng rng = test_rng_new(test_seed());
    for (size_t t = test_times(100); t--;) {
        size_t n = test_rng_between(&rng, 0, MOST);
        randoms(&rng, n, n, b);
        randoms(&rng, n, n, a);
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j <= i; j++) {
                double sum = i == j;
                for (size_t k = 0; k < n; k++)
                    sum += (double)b[i * LD + k] * (double)b[j * LD + k];
                a[i * LD + j] = (dfo_real)sum;       /* the upper triangle stays random */
            }
        memcpy(c, a, sizeof c);
        ck_assert_int_eq(dfoi_cholesky(n, c, LD), DFO_OK);
        check_canaries(n, n, c);
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < n; j++) {
                double sum = 0;
                for (size_t k = 0; k <= j; k++)
                    sum += (double)c[i * LD + k] * (double)c[j * LD + k];
                REQUIRE(j <= i || c[i * LD + j] == 0, "n %zu: upper triangle", n);
                REQUIRE(j > i || fabs(sum - (double)a[i * LD + j]) <= 8 * DFO_REAL_EPS * (double)(n + 4) * (double)(n + 1),
                        "n %zu: L L^T - A = %g", n, sum - (double)a[i * LD + j]);
            }
    }
    dfo_real indefinite[4] = {1, 0, 2, 1}, bad[1] = {(dfo_real)NAN};
    ck_assert_int_eq(dfoi_cholesky(2, indefinite, 2), DFO_ENUM);
    ck_assert_int_eq(dfoi_cholesky(1, bad, 1), DFO_ENUM);
}
END_TEST

/* ---- roots ---- */

struct curve { int kind; double at; size_t calls; };

static double curve(const void *data, double x, double *slope)
{
    struct curve *k = (struct curve *)data;
    double v = x - k->at;
    k->calls++;
    switch (k->kind) {
    case 0: *slope = 1 + 0.9 * cos(v); return v + 0.9 * sin(v);
    case 1: *slope = -3 * v * v; return -v * v * v;                   /* falls; no slope at the root */
    case 2: *slope = 1 / (1 + v * v); return atan(v);                 /* Newton alone runs away */
    case 3: *slope = NAN; return v < 0 ? -1 : v > 0 ? 1 : 0;          /* a jump */
    case 4: *slope = exp(x); return exp(x) - exp(k->at);
    case 5: *slope = INFINITY; return v;
    default: *slope = 1; return NAN;
    }
}

START_TEST(roots)
{
    test_rng rng = test_rng_new(test_seed());
    for (size_t t = test_times(300); t--;) {
        struct curve k = {(int)(t % 6), test_rng_normal(&rng) * 10, 0};
        double low = test_rng_real(&rng, -100, 100), high = low + test_rng_real(&rng, 0.1, 50), root = NAN;
        ck_assert_int_eq(dfoi_bracket(curve, &k, &low, &high), DFO_OK);
        ck_assert(low <= k.at && k.at <= high);
        k.calls = 0;
        ck_assert_int_eq(dfoi_root(curve, &k, low, high, test_rng_real(&rng, low, high), 0, &root), DFO_OK);
        double bound = k.kind == 1 ? 1e-5 : 1e-14;            /* a cube cannot be told from 0 sooner */
        ck_assert_msg(fabs(root - k.at) <= bound * (1 + fabs(k.at)), "kind %d: root %.17g, want %.17g", k.kind, root, k.at);
        ck_assert_msg(k.calls < 200, "kind %d: %zu evaluations", k.kind, k.calls);
    }
    struct curve none = {0, 5, 0}, nan = {9, 0, 0};
    double root = 0, low = 0, high = 1;
    ck_assert_int_eq(dfoi_root(curve, &none, 0, 1, 0.5, 0, &root), DFO_EARG);
    ck_assert_int_eq(dfoi_root(curve, &nan, 0, 1, 0.5, 0, &root), DFO_ENUM);
    ck_assert_int_eq(dfoi_bracket(curve, &nan, &low, &high), DFO_ENUM);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("linalg");
    TCase *tcase = tcase_create("linalg");
    tcase_set_timeout(tcase, 120);
    suite_add_tcase(suite, tcase);
    tcase_add_test(tcase, lu);
    tcase_add_test(tcase, determinants);
    tcase_add_test(tcase, triangles);
    tcase_add_test(tcase, orthogonal);
    tcase_add_test(tcase, cholesky);
    tcase_add_test(tcase, roots);
    return test_run(suite);
}
