/* Elementwise functions, activations, sums, Adam and the affine transform: accuracy against libm in
 * long double over wide ranges and at the extremes, and the same bits at every instruction set.  */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "math/fun_impl.h"
#include "math/kern_table.h"
#include "util.h"

/* Not ck_assert_msg, which writes to a pipe each time: these run over every element.  */
#define REQUIRE(condition, ...)                  \
    do {                                         \
        if (!(condition))                        \
            ck_abort_msg(__VA_ARGS__);           \
    } while (0)
#define N 20011                                  /* no multiple of a vector */

static const char *const level_name[] = {"generic", "avx2", "avx512"};
static dfo_real x[N], y[N], z[N];

/* |got - want| in units in the last place of want.  */
static double ulps(dfo_real got, long double want)
{
    dfo_real near = (dfo_real)want;
    if (isnan(got) || isnan(want))
        return isnan(got) && isnan(want) ? 0 : INFINITY;
    if (isinf(got) || isinf(near))
        return got == near ? 0 : INFINITY;
    int e, lowest = DFOI_C(FLT_MIN_EXP, DBL_MIN_EXP), digits = DFOI_C(FLT_MANT_DIG, DBL_MANT_DIG);
    frexp((double)near, &e);
    if (near == 0 || e < lowest)
        e = lowest;
    return (double)(fabsl((long double)got - want) / ldexpl(1, e - digits));
}

/* ---- functions against libm ---- */

static long double sigmoid_true(long double v)
{
    return v < 0 ? expl(v) / (1 + expl(v)) : 1 / (1 + expl(-v));
}

static long double softplus_true(long double v)
{
    return (v > 0 ? v : 0) + log1pl(expl(-fabsl(v)));
}

struct function {
    const char *name;
    size_t slot;                                 /* of struct dfoi_kernels */
    long double (*truth)(long double);
    double bound;                                /* ulps */
};
#define FUNCTION(slot, truth, bound) {#slot, offsetof(struct dfoi_kernels, slot), truth, bound}
static const struct function functions[] = {
    FUNCTION(vexp, expl, 1.0),           FUNCTION(vlog, logl, 1.0),
    FUNCTION(vtanh, tanhl, 3.0),         FUNCTION(vsigmoid, sigmoid_true, 3.0),
    FUNCTION(vsoftplus, softplus_true, 2.0),
};
#define FUNCTIONS (sizeof functions / sizeof functions[0])

typedef void (*elementwise)(size_t n, const dfo_real *from, dfo_real *to);

static elementwise slot(const struct function *f, int level)
{
    elementwise run;
    memcpy(&run, (const char *)DFOI_AT_LEVEL(dfoi_kernels, level) + f->slot, sizeof run);
    return run;
}

/* Points of many magnitudes, moderate ones, and extremes.  */
static void points(test_rng *rng)
{
    static const double extremes[] = {0, -0.0, 1, -1, INFINITY, -INFINITY, NAN, 88.722839, 88.7229, -87.3, -103.9, -104,
                                      -104.1, 709.782712893, 709.79, -708.4, -745.1, -745.14, -746, 1e30, -1e30, 0.5};
    const size_t have = sizeof extremes / sizeof extremes[0];
    for (size_t i = 0; i < N; i++) {
        double v = test_rng_normal(rng);
        if (i % 4 == 0)
            v *= pow(10, test_rng_real(rng, -40, 38));
        else if (i % 4 == 1)
            v *= DFOI_C(60, 400);
        x[i] = (dfo_real)v;
    }
    for (size_t i = 0; i < have; i++)
        x[i * 17] = (dfo_real)extremes[i];
    x[3] = DFOI_TINY, x[4] = DFOI_TINY / 8, x[5] = DFO_REAL_MAX, x[6] = -DFO_REAL_MAX, x[7] = -DFOI_TINY / 1024;
    x[8] = (dfo_real)1 - DFO_REAL_EPS / 2, x[9] = (dfo_real)1 + DFO_REAL_EPS;
}

START_TEST(accuracy)
{
    test_rng rng = test_rng_new(test_seed());
    double worst[FUNCTIONS] = {0};
    for (size_t t = test_times(4); t--;) {
        points(&rng);
        for (size_t f = 0; f < FUNCTIONS; f++) {
            slot(&functions[f], 0)(N, x, y);
            for (size_t i = 0; i < N; i++) {
                double u = ulps(y[i], functions[f].truth((long double)x[i]));
                REQUIRE(u <= functions[f].bound, "%s(%.17g) = %.17g: %.2f ulp", functions[f].name, (double)x[i],
                        (double)y[i], u);
                worst[f] = u > worst[f] ? u : worst[f];
            }
        }
    }
    if (getenv("DIFFEO_TEST_VERBOSE"))
        for (size_t f = 0; f < FUNCTIONS; f++)
            printf("%s %s: %.3f ulp\n", DFO_REAL_NAME, functions[f].name, worst[f]);
}
END_TEST

START_TEST(limits)
{
    static const double at[] = {INFINITY, -INFINITY, 0, -0.0};
    static const double want[FUNCTIONS][4] = {
        {INFINITY, 0, 1, 1}, {INFINITY, NAN, -INFINITY, -INFINITY}, {1, -1, 0, -0.0}, {1, 0, 0.5, 0.5}, {INFINITY, 0, 0, 0}};
    dfo_real in[5] = {(dfo_real)at[0], (dfo_real)at[1], 0, (dfo_real)at[3], (dfo_real)NAN}, out[5];
    for (size_t f = 0; f < FUNCTIONS; f++)
        for (int level = 0; level <= (int)dfoi_cpu_level(); level++) {
            slot(&functions[f], level)(5, in, out);
            for (int i = 0; i < 4; i++) {
                if (isnan(want[f][i]))
                    ck_assert(isnan(out[i]));
                else if (f != 4 || i < 2)
                    ck_assert_msg((double)out[i] == want[f][i] && !signbit(out[i]) == !signbit(want[f][i]), "%s(%g) = %g",
                                  functions[f].name, at[i], (double)out[i]);
            }
            ck_assert_msg(isnan(out[4]), "%s(NaN)", functions[f].name);
        }
}
END_TEST

START_TEST(circle)
{
    test_rng rng = test_rng_new(test_seed());
    for (size_t i = 0; i < N; i++)
        x[i] = (dfo_real)(i < 64 ? (double)i / 64 : test_rng_real(&rng, 0, 1));
    dfoi_vsincos2pi(N, x, y, z);
    for (size_t i = 0; i < N; i++) {
        const long double pi = 3.14159265358979323846264338327950288L;
        long double s = sinl(2 * pi * (long double)x[i]), c = cosl(2 * pi * (long double)x[i]);
        REQUIRE(fabsl((long double)y[i] - s) <= 0.75L * DFO_REAL_EPS && fabsl((long double)z[i] - c) <= 0.75L * DFO_REAL_EPS,
                "sincos2pi(%.17g) = %.17g %.17g", (double)x[i], (double)y[i], (double)z[i]);
    }
}
END_TEST

/* ---- activations ---- */

static long double phi_true(long double a)
{
    return 0.398942280401432677939946059934L * expl(-a * a / 2);
}

static long double Phi_true(long double a)
{
    return 0.5L * erfcl(-a * 0.707106781186547524400844362105L);
}

/* Value, first and second derivative in long double.  */
static void act_true(dfoi_act act, long double a, long double d[3])
{
    long double s = sigmoid_true(a), r = sigmoid_true(-a), t = tanhl(a), left = act == DFOI_ACT_RELU ? 0 : (dfo_real)0.01;
    d[0] = a, d[1] = 1, d[2] = 0;
    switch (act) {
    case DFOI_ACT_RELU:
    case DFOI_ACT_LEAKY_RELU:
        d[0] = a > 0 ? a : left * a, d[1] = a > 0 ? 1 : left;
        break;
    case DFOI_ACT_ELU:
        if (a <= 0)
            d[0] = expm1l(a), d[1] = d[2] = expl(a);
        break;
    case DFOI_ACT_GELU:
        d[0] = a * Phi_true(a), d[1] = Phi_true(a) + a * phi_true(a), d[2] = phi_true(a) * (2 - a * a);
        break;
    case DFOI_ACT_SILU:
        d[0] = a * s, d[1] = s * (1 + a * r), d[2] = s * r * (2 + a * (r - s));
        break;
    case DFOI_ACT_TANH:
        d[0] = t, d[1] = 1 - t * t, d[2] = -2 * t * d[1];
        break;
    case DFOI_ACT_SOFTPLUS:
        d[0] = softplus_true(a), d[1] = s, d[2] = s * r;
        break;
    case DFOI_ACT_SIGMOID:
        d[0] = s, d[1] = s * r, d[2] = s * r * (r - s);
        break;
    default:
        break;
    }
}

START_TEST(activations)
{
    static dfo_real d1[N], d2[N], g[N];
    test_rng rng = test_rng_new(test_seed());
    for (int act = 0; act < DFOI_ACT_COUNT; act++) {
        for (size_t i = 0; i < N; i++)
            x[i] = (dfo_real)(test_rng_normal(&rng) * (i % 3 ? 2 : 30));
        dfoi_vact((dfoi_act)act, N, x, y);
        dfoi_vact_derivatives((dfoi_act)act, N, x, d1, d2);
        for (size_t i = 0; i < N; i++)
            g[i] = 3;
        dfoi_vdact((dfoi_act)act, N, dfoi_act_from_output((dfoi_act)act) ? NULL : x, y, g);
        for (size_t i = 0; i < N; i++) {
            long double d[3];
            act_true((dfoi_act)act, (long double)x[i], d);
            const long double eps = DFO_REAL_EPS, size = 1 + fabsl((long double)x[i]);
            REQUIRE(fabsl((long double)y[i] - d[0]) <= 4 * eps * (fabsl(d[0]) + (act == DFOI_ACT_GELU ? 0.1L * size : 0)) +
                        DFOI_TINY * eps * size,
                    "%s(%.9g) = %.17g, want %.17Lg", dfoi_act_name((dfoi_act)act), (double)x[i], (double)y[i], d[0]);
            REQUIRE(fabsl((long double)d1[i] - d[1]) <= 4 * eps && fabsl((long double)d2[i] - d[2]) <= 8 * eps,
                    "%s at %.9g: slopes %.17g %.17g, want %.17Lg %.17Lg", dfoi_act_name((dfoi_act)act), (double)x[i],
                    (double)d1[i], (double)d2[i], d[1], d[2]);
            REQUIRE(fabsl((long double)g[i] - 3 * d[1]) <= 12 * eps, "%s at %.9g: 3 x slope = %.17g, want %.17Lg",
                    dfoi_act_name((dfoi_act)act), (double)x[i], (double)g[i], 3 * d[1]);
        }
        ck_assert_int_eq(dfoi_act_named(dfoi_act_name((dfoi_act)act)), act);
        dfo_real in[3] = {(dfo_real)INFINITY, -(dfo_real)INFINITY, (dfo_real)NAN}, out[3], s1[3], s2[3];
        dfoi_vact((dfoi_act)act, 3, in, out);
        dfoi_vact_derivatives((dfoi_act)act, 3, in, s1, s2);
        ck_assert_msg(!isnan(out[0]) && !isnan(out[1]) && isnan(out[2]), "%s at inf: %g %g %g",
                      dfoi_act_name((dfoi_act)act), (double)out[0], (double)out[1], (double)out[2]);
        ck_assert_msg(!isnan(s1[0] + s1[1] + s2[0] + s2[1]), "slopes of %s at inf: %g %g %g %g",
                      dfoi_act_name((dfoi_act)act), (double)s1[0], (double)s1[1], (double)s2[0], (double)s2[1]);
    }
    ck_assert_int_eq(dfoi_act_named("ReLU"), DFOI_ACT_COUNT);
}
END_TEST

/* ---- sums ---- */

START_TEST(sums)
{
    test_rng rng = test_rng_new(test_seed());
    for (size_t t = test_times(50); t--;) {
        size_t n = test_rng_between(&rng, 0, t % 2 ? 70 : N);
        long double sum = 0, dot = 0, squares = 0, size = 0;
        double most = 0, apart = 0;
        for (size_t i = 0; i < n; i++) {
            x[i] = (dfo_real)test_rng_normal(&rng), y[i] = (dfo_real)test_rng_normal(&rng);
            sum += x[i], dot += (long double)x[i] * y[i], squares += (long double)x[i] * x[i];
            size += 1 + fabsl((long double)x[i]) * (1 + fabsl((long double)y[i]) + fabsl((long double)x[i]));
            most = fmax(most, fabs((double)x[i])), apart = fmax(apart, fabs((double)(x[i] - y[i])));
        }
        size *= (double)(n / 16 + 8) * DBL_EPSILON / 2;      /* the longest chain of additions */
        ck_assert(fabsl(dfoi_sum(n, x) - sum) <= size && fabsl(dfoi_dot(n, x, y) - dot) <= size);
        ck_assert_msg(fabsl(dfoi_sum_squares(n, x) - squares) <= size, "n %zu: %.17g, want %.17Lg", n,
                      dfoi_sum_squares(n, x), squares);
        ck_assert(dfoi_max_abs(n, x) == most && dfoi_max_abs_diff(n, x, y) == apart);
        ck_assert_int_eq(dfoi_all_finite(n, x), 1);
        if (n) {
            size_t at = test_rng_between(&rng, 0, n - 1);
            dfo_real was = x[at];
            x[at] = -(dfo_real)INFINITY;
            ck_assert(!dfoi_all_finite(n, x) && isinf(dfoi_max_abs(n, x)));
            x[at] = (dfo_real)NAN;
            ck_assert(!dfoi_all_finite(n, x) && isnan(dfoi_max_abs(n, x)) && isnan(dfoi_max_abs_diff(n, y, x)));
            x[at] = was;
        }
        memcpy(z, y, sizeof z);
        dfoi_axpy(n, (dfo_real)0.3, x, z);
        for (size_t i = 0; i < n; i++)
            REQUIRE(z[i] == y[i] + (dfo_real)0.3 * x[i], "axpy at %zu of %zu", i, n);
        dfoi_add(n, x, z), dfoi_scale(n, 2, z);
        for (size_t i = 0; i < n; i++)
            REQUIRE(z[i] == (y[i] + (dfo_real)0.3 * x[i] + x[i]) * 2, "add, scale at %zu of %zu", i, n);
        dfoi_add_to(n, x, y, z);
        for (size_t i = 0; i < n; i++)
            REQUIRE(z[i] == x[i] + y[i], "add_to at %zu of %zu", i, n);
        ck_assert(n == N || z[n] == y[n]);
    }
}
END_TEST

/* Matrices of complex numbers at every level, against sums in double; the last row, output and input stand apart.  */
START_TEST(complex_products)
{
    enum { ROWS = 7, OUT = 3, IN = 5, PAIR = 2 * DFOI_COMPLEX };
    static dfo_real k[OUT * IN * PAIR] __attribute__((aligned(64))), xs[ROWS * IN * PAIR] __attribute__((aligned(64))),
        start[ROWS * OUT * PAIR], ys[ROWS * OUT * PAIR] __attribute__((aligned(64)));
    test_rng rng = test_rng_new(test_seed());
    for (size_t i = 0; i < sizeof k / sizeof *k; i++)
        k[i] = (dfo_real)test_rng_normal(&rng);
    for (size_t i = 0; i < sizeof xs / sizeof *xs; i++)
        xs[i] = (dfo_real)test_rng_normal(&rng);
    for (size_t i = 0; i < sizeof ys / sizeof *ys; i++)
        start[i] = (dfo_real)test_rng_normal(&rng);
    dfoi_complex how = {.inputs = IN, .outputs = OUT, .rows = ROWS, .k_output = IN * PAIR, .k_input = PAIR, .x_row = IN * PAIR,
                        .x_input = PAIR, .y_row = OUT * PAIR, .y_output = PAIR, .conjugate = _i & 1, .negative = _i >> 1 & 1,
                        .add = _i >> 2};
    double sign = how.negative ? -1 : 1, turn = how.conjugate ? -sign : sign;
    for (int level = 0; level <= (int)dfoi_cpu_level(); level++) {
        memcpy(ys, start, sizeof ys);
        DFOI_AT_LEVEL(dfoi_complex_kernels, level)->complex_product(&how, k, xs, ys);
        for (size_t at = 0; at < ROWS * OUT * DFOI_COMPLEX; at++) {
            size_t r = at / DFOI_COMPLEX / OUT, o = at / DFOI_COMPLEX % OUT, f = at % DFOI_COMPLEX, to = at / DFOI_COMPLEX * PAIR + f;
            double re = how.add ? (double)start[to] : 0, im = how.add ? (double)start[to + DFOI_COMPLEX] : 0, size = fabs(re) + fabs(im);
            for (size_t i = 0; i < IN; i++) {
                const dfo_real *a = k + (o * IN + i) * PAIR + f, *b = xs + (r * IN + i) * PAIR + f;
                double ar = sign * (double)a[0], ai = turn * (double)a[DFOI_COMPLEX], br = (double)b[0], bi = (double)b[DFOI_COMPLEX];
                re += ar * br - ai * bi;
                im += ar * bi + ai * br;
                size += (fabs(ar) + fabs(ai)) * (fabs(br) + fabs(bi));
            }
            REQUIRE(fabs((double)ys[to] - re) <= 8 * (double)DFO_REAL_EPS * size &&
                        fabs((double)ys[to + DFOI_COMPLEX] - im) <= 8 * (double)DFO_REAL_EPS * size,
                    "complex_product %d at %s, row %zu, output %zu, number %zu", _i, level_name[level], r, o, f);
        }
    }
}
END_TEST

/* ---- the same bits at every level ---- */

static void same(const dfo_real *a, const dfo_real *b, size_t n, const char *what, int level)
{
    for (size_t i = 0; i < n; i++)
        REQUIRE(!memcmp(&a[i], &b[i], sizeof *a) || (isnan(a[i]) && isnan(b[i])), "%s differs at %s, element %zu: %a, %a",
                what, level_name[level], i, (double)a[i], (double)b[i]);
}

START_TEST(levels_agree)
{
    static dfo_real a[N], b[N], c[N], d[N];
    test_rng rng = test_rng_new(test_seed());
    points(&rng);
    for (int level = 1; level <= (int)dfoi_cpu_level(); level++) {
        const struct dfoi_kernels *k0 = &dfoi_kernels_generic, *k = DFOI_AT_LEVEL(dfoi_kernels, level);
        for (size_t f = 0; f < FUNCTIONS; f++) {
            slot(&functions[f], 0)(N, x, a);
            memcpy(b, x, sizeof b);
            slot(&functions[f], level)(N, b, b);             /* in place too */
            same(a, b, N, functions[f].name, level);
            slot(&functions[f], level)(N - 3, x + 3, b);     /* and not aligned */
            same(a + 3, b, N - 3, functions[f].name, level);
        }
        for (size_t i = 0; i < N; i++)
            z[i] = (dfo_real)test_rng_real(&rng, 0, 1);
        k0->vsincos2pi(N, z, a, b), k->vsincos2pi(N, z, c, d);
        same(a, c, N, "sin", level), same(b, d, N, "cos", level);
        for (size_t n = N - 40; n < N; n++) {
            ck_assert(k0->sum(n, z) == k->sum(n, z) && k0->dot(n, z, a) == k->dot(n, z, a));
            ck_assert(k0->sum_squares(n, a) == k->sum_squares(n, a) && k0->max_abs(n, a) == k->max_abs(n, a));
        }
        for (int act = 0; act < DFOI_ACT_COUNT; act++) {
            const struct dfoi_act_kernels *a0 = &dfoi_act_kernels_generic, *al = DFOI_AT_LEVEL(dfoi_act_kernels, level);
            a0->vact((dfoi_act)act, N, x, a), al->vact((dfoi_act)act, N, x, b);
            same(a, b, N, dfoi_act_name((dfoi_act)act), level);
            memcpy(c, z, sizeof c), memcpy(d, z, sizeof d);
            a0->vdact((dfoi_act)act, N, x, a, c), al->vdact((dfoi_act)act, N, x, a, d);
            same(c, d, N, dfoi_act_name((dfoi_act)act), level);
            a0->vact_derivatives((dfoi_act)act, N, x, a, b), al->vact_derivatives((dfoi_act)act, N, x, c, d);
            same(a, c, N, dfoi_act_name((dfoi_act)act), level), same(b, d, N, dfoi_act_name((dfoi_act)act), level);
        }
        dfo_key key = {test_seed(), 5, DFO_FOR_TEST, 1};
        for (size_t wide = 1, n = N; wide <= N; wide += 1 + wide / 2, n = N / wide) {
            dfoi_draw_kernels_generic.normal(key, n, wide, a, wide), DFOI_AT_LEVEL(dfoi_draw_kernels, level)->normal(key, n, wide, b, wide);
            same(a, b, n * wide, "normal", level);
        }
        dfoi_draw_kernels_generic.uniform(key, N, a), DFOI_AT_LEVEL(dfoi_draw_kernels, level)->uniform(key, N, b);
        same(a, b, N, "uniform", level);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("math");
    TCase *tcase = tcase_create("math");
    tcase_set_timeout(tcase, 120);
    suite_add_tcase(suite, tcase);
    tcase_add_test(tcase, accuracy);
    tcase_add_test(tcase, limits);
    tcase_add_test(tcase, circle);
    tcase_add_test(tcase, activations);
    tcase_add_test(tcase, sums);
    tcase_add_test(tcase, levels_agree);
    tcase_add_loop_test(tcase, complex_products, 0, 8);
    return test_run(suite);
}
