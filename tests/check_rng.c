/* Philox against Random123's known answers; uniforms and normals: range, moments, distribution, tails,
 * independence of length and precision; permutations.  */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <diffeo/real.h>
#include <diffeo/rng.h>
#include "util.h"

#define REQUIRE(condition, ...)                  \
    do {                                         \
        if (!(condition))                        \
            ck_abort_msg(__VA_ARGS__);           \
    } while (0)
#define N 1000000

static dfo_key test_key(uint64_t row)
{
    dfo_key key = {test_seed(), row, DFO_FOR_TEST, 9};
    return key;
}

/* The lines for philox4x32-10 of Random123's kat_vectors: counter, key, words.  */
START_TEST(known_answers)
{
    static const uint32_t lines[][10] = {
        {0, 0, 0, 0, 0, 0, 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8},
        {0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0x408f276d, 0x41c83b0e, 0xa20bc7c6,
         0x6d5451fd},
        {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0, 0xd16cfe09, 0x94fdcceb, 0x5001e420,
         0x24126ea1}};
    for (size_t i = 0; i < 3; i++) {
        const uint32_t *l = lines[i];
        dfo_key key = {(uint64_t)l[5] << 32 | l[4], (uint64_t)(l[2] & 0xffff) << 32 | l[1], l[2] >> 16, l[3]};
        uint32_t out[4];
        dfo_philox(key, l[0], out);
        for (int w = 0; w < 4; w++)
            ck_assert_msg(out[w] == l[6 + w], "line %zu word %d: %08x, want %08x", i, w, out[w], l[6 + w]);
    }
}
END_TEST

/* Vectorised draws are made of the same words as dfo_philox gives.  */
START_TEST(words)
{
    static dfo_real u[1001], z[1001];
    dfo_key key = test_key(0xabcdef012345);
    dfo_draw_real_uniform(key, 1001, u);
    dfo_draw_real_normal(key, 1001, z);
    for (uint32_t j = 0; j < 1001; j++) {
        uint32_t w[4];
        dfo_philox(key, j / 2, w);
        double first = ((double)(((uint64_t)w[0] << 32 | w[1]) >> 12) + 0.5) * 0x1p-52;
        double second = ((double)(((uint64_t)w[2] << 32 | w[3]) >> 12) + 0.5) * 0x1p-52;
        long double turn = 2 * 3.14159265358979323846264338327950288L * (long double)second;
        double normal = (double)(sqrtl(-2 * logl((long double)first)) * (j % 2 ? sinl(turn) : cosl(turn)));
        REQUIRE(fabs((double)u[j] - (j % 2 ? second : first)) <= DFO_REAL_EPS / 2, "uniform %u", j);
        REQUIRE(fabs((double)z[j] - normal) <= 8 * DFO_REAL_EPS * (1 + fabs(normal)), "normal %u: %.17g, want %.17g", j,
                (double)z[j], normal);
    }
}
END_TEST

/* Draw j depends on the key and j alone; keys that differ in one place differ everywhere.  */
START_TEST(keys)
{
    static dfo_real a[600], b[600];
    dfo_key key = test_key(7);
    dfo_draw_real_normal(key, 600, a);
    for (size_t n = 0; n < 600; n += 1 + n / 7) {
        for (size_t j = 0; j < 600; j++)
            b[j] = -1;
        dfo_draw_real_normal(key, n, b);
        ck_assert(!memcmp(a, b, n * sizeof *a) && (n == 600 || b[n] == -1));
        dfo_draw_real_uniform(key, n, b);
        ck_assert(n == 600 || n == 0 || b[n] == -1);
    }
    double u[64], part[64];
    dfo_draw_uniform(key, 0, 64, u);
    for (size_t first = 0; first < 64; first++) {
        dfo_draw_uniform(key, first, 64 - first, part);
        ck_assert(!memcmp(u + first, part, (64 - first) * sizeof *u));
    }
    for (int change = 0; change < 5; change++) {
        dfo_key other = key;
        other.seed ^= change == 0 ? (uint64_t)1 << 40 : 0;
        other.row += change == 1;
        other.row ^= change == 2 ? (uint64_t)1 << 47 : 0;
        other.purpose += change == 3;
        other.step += change == 4;
        dfo_draw_real_normal(other, 600, b);
        size_t equal = 0;                  /* two floats meet by chance once in some thousand runs */
        for (size_t j = 0; j < 600; j++)
            equal += a[j] == b[j] && a[j] != 0;
        REQUIRE(equal < 3, "change %d: %zu draws of 600 are the same", change, equal);
    }
}
END_TEST

/* Rows together have the bits that each has alone, and what stands between them stays.  */
START_TEST(rows_together)
{
    static dfo_real all[40 * 310], one[310];
    test_rng rng = test_rng_new(test_seed());
    for (size_t k = 0; k < test_times(60); k++) {
        size_t n = test_rng_between(&rng, 0, 40), d = test_rng_between(&rng, 0, test_rng_between(&rng, 0, 2) ? 7 : 300), ld = d + test_rng_between(&rng, 0, 9);
        dfo_key key = test_key(((uint64_t)1 << 32) - test_rng_between(&rng, 0, 40));
        for (size_t i = 0; i < n * ld; i++)
            all[i] = -1;
        dfo_draw_real_normals(key, n, d, all, ld);
        for (size_t i = 0; i < n; i++, key.row++) {
            dfo_draw_real_normal(key, d, one);
            REQUIRE(!memcmp(all + i * ld, one, d * sizeof *one), "%zu rows of %zu, row %zu", n, d, i);
            for (size_t j = d; j < ld; j++)
                REQUIRE(all[i * ld + j] == -1, "%zu rows of %zu, %zu apart: row %zu, number %zu", n, d, ld, i, j);
        }
    }
}
END_TEST

static int rising(const void *a, const void *b)
{
    dfo_real x = *(const dfo_real *)a, y = *(const dfo_real *)b;
    return (x > y) - (x < y);
}

/* Kolmogorov's distance times sqrt(n); above 2.2 with probability 1.2e-4.  */
static double distance(dfo_real *x, size_t n, double (*cdf)(double))
{
    double most = 0;
    qsort(x, n, sizeof *x, rising);
    for (size_t i = 0; i < n; i++) {
        double f = cdf((double)x[i]);
        most = fmax(most, fmax(fabs(f - (double)i / (double)n), fabs(f - (double)(i + 1) / (double)n)));
    }
    return most * sqrt((double)n);
}

static double normal_cdf(double x)
{
    return 0.5 * erfc(-x * 0.70710678118654752440);
}

static double uniform_cdf(double x)
{
    return x;
}

START_TEST(normals)
{
    static dfo_real x[N];
    double sum[7] = {0}, neighbours = 0;
    dfo_draw_real_normal(test_key(0), N, x);
    for (size_t i = 0; i < N; i++) {
        double power = 1;
        for (int k = 1; k <= 6; k++)
            sum[k] += power *= (double)x[i];
        neighbours += i ? (double)x[i] * (double)x[i - 1] : 0;
    }
    static const double moment[7] = {1, 0, 1, 0, 3, 0, 15}, twice[7] = {1, 1, 3, 15, 105, 945, 10395};
    for (int k = 1; k <= 6; k++) {
        double error = sqrt((twice[k] - moment[k] * moment[k]) / N);      /* standard error of the k-th moment */
        ck_assert_msg(fabs(sum[k] / N - moment[k]) < 4.5 * error, "moment %d: %g, want %g +- %g", k, sum[k] / N, moment[k],
                      error);
    }
    ck_assert_msg(fabs(neighbours) < 4.5 * sqrt(N), "neighbours: %g", neighbours / N);
    double apart = distance(x, N, normal_cdf);
    ck_assert_msg(apart < 2.2, "Kolmogorov's distance %g", apart);
}
END_TEST

START_TEST(uniforms)
{
    static dfo_real x[N];
    static double u[N];
    dfo_draw_real_uniform(test_key(1), N, x);
    double least = 1, most = 0;
    for (size_t i = 0; i < N; i++) {
        least = fmin(least, (double)x[i]), most = fmax(most, (double)x[i]);
        REQUIRE(x[i] > 0 && x[i] < 1, "uniform %zu is %g", i, (double)x[i]);
    }
    ck_assert_msg(least < 30.0 / N && most > 1 - 30.0 / N, "range %g to %g", least, most);
    double apart = distance(x, N, uniform_cdf);
    ck_assert_msg(apart < 2.2, "Kolmogorov's distance %g", apart);
    dfo_draw_uniform(test_key(2), 5, N, u);
    for (size_t i = 0; i < N; i++) {
        REQUIRE(u[i] > 0 && u[i] < 1, "uniform %zu is %g", i, u[i]);
        x[i] = (dfo_real)u[i];
    }
    apart = distance(x, N, uniform_cdf);
    ck_assert_msg(apart < 2.2, "Kolmogorov's distance %g", apart);
}
END_TEST

/* Of 33 million draws about 223 lie beyond 4.5 and 19 beyond 5; the least is near 4e-8.  */
START_TEST(tails)
{
    static dfo_real x[4096];
    size_t draws = 0, beyond = 0;
    dfo_real most = 0, least = 1;
    for (uint64_t row = 0; row < 8000; row++) {
        dfo_draw_real_normal(test_key(row), 4096, x);
        draws += 4096;
        for (size_t i = 0; i < 4096; i++) {
            dfo_real size = x[i] < 0 ? -x[i] : x[i];
            beyond += size > (dfo_real)4.5;
            most = size > most ? size : most;
            least = size < least ? size : least;
        }
    }
    double expected = (double)draws * erfc(4.5 * 0.70710678118654752440);
    ck_assert_msg(fabs((double)beyond - expected) < 4.5 * sqrt(expected), "%zu beyond 4.5, expected %g", beyond, expected);
    ck_assert_msg(most > 5 && most < 7.5, "largest %g", (double)most);
    ck_assert_msg(least > 0 && (double)least < 50 / (double)draws, "smallest %g", (double)least);
}
END_TEST

START_TEST(permutations)
{
    static unsigned char seen[5000];
    test_rng rng = test_rng_new(test_seed());
    for (size_t t = test_times(60); t--;) {
        uint64_t n = t < 20 ? t + 1 : test_rng_between(&rng, 1, 5000);
        size_t fixed = 0;
        memset(seen, 0, sizeof seen);
        for (uint64_t i = 0; i < n; i++) {
            uint64_t to = dfo_permute_index(test_key(t), n, i);
            REQUIRE(to < n && !seen[to], "n %llu: %llu -> %llu", (unsigned long long)n, (unsigned long long)i,
                    (unsigned long long)to);
            seen[to] = 1;
            fixed += to == i;
        }
        ck_assert_msg(n < 20 || fixed < 12, "n %llu: %zu stay in place", (unsigned long long)n, fixed);
    }
    uint64_t far = dfo_permute_index(test_key(0), (uint64_t)1 << 40, 12345678901);
    ck_assert(far < (uint64_t)1 << 40 && far != dfo_permute_index(test_key(0), (uint64_t)1 << 40, 12345678902));
}
END_TEST

/* All orders of five things come up equally often.  */
START_TEST(small_permutations)
{
    size_t count[3125] = {0}, rows = 24000;
    for (uint64_t row = 0; row < rows; row++) {
        size_t code = 0;
        for (uint64_t i = 0; i < 5; i++)
            code = code * 5 + dfo_permute_index(test_key(row), 5, i);
        count[code]++;
    }
    double chi = 0, expected = (double)rows / 120;
    size_t orders = 0;
    for (size_t c = 0; c < 3125; c++)
        if (count[c]) {
            orders++;
            chi += ((double)count[c] - expected) * ((double)count[c] - expected) / expected;
        }
    ck_assert_uint_eq(orders, 120);
    ck_assert_msg(chi < 119 + 5 * sqrt(2 * 119), "chi^2 %g with 119 degrees of freedom", chi);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("rng");
    TCase *tcase = tcase_create("rng");
    tcase_set_timeout(tcase, 120);
    suite_add_tcase(suite, tcase);
    tcase_add_test(tcase, known_answers);
    tcase_add_test(tcase, words);
    tcase_add_test(tcase, keys);
    tcase_add_test(tcase, rows_together);
    tcase_add_test(tcase, normals);
    tcase_add_test(tcase, uniforms);
    tcase_add_test(tcase, tails);
    tcase_add_test(tcase, permutations);
    tcase_add_test(tcase, small_permutations);
    return test_run(suite);
}
