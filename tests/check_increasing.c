/* Increasing polynomials against their formulas written out, and their kernels at every level; a small block neural
 * autoregressive flow against its formula; batch normalisation in training.  */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <diffeo/real.h>
#include "layerfix.h"
#include "math/polynomials_impl.h"
#include "util.h"

#define EPS ((double)DFO_REAL_EPS)

enum { VALUES = 37, MOST = 1 + 16 * 9 };

static void draw(test_rng *rng, size_t n, double scale, dfo_real *to)
{
    for (size_t i = 0; i < n; i++)
        to[i] = (dfo_real)(scale * test_rng_normal(rng));
}

static double choose(size_t n, size_t k)
{
    double c = 1;
    for (size_t i = 1; i <= k; i++)
        c = c * (double)(n - k + i) / (double)i;
    return c;
}

/* z and dz/dx of a Bernstein polynomial from its coefficients; p (degree + 1) apart by m.  */
static void bernstein(const dfoi_polynomial *how, const dfo_real *p, size_t m, double x, double *z, double *slope)
{
    size_t k = how->degree;
    double b = (double)how->bound, e = (double)how->least, at = fmax(-b, fmin(b, x)), t = (at + b) / (2 * b), c = (double)p[0] - b, last = c;
    *z = *slope = 0;
    for (size_t j = 0; j <= k; j++) {
        if (j)
            c += 2 * b / (double)k * (e + (1 - e) * log1p(exp((double)p[j * m] + log(exp(1) - 1))));
        *z += c * choose(k, j) * pow(t, (double)j) * pow(1 - t, (double)(k - j));
        if (j)
            *slope += (double)k * (c - last) * choose(k - 1, j - 1) * pow(t, (double)(j - 1)) * pow(1 - t, (double)(k - j)) / (2 * b);
        last = c;
    }
    *z += (x - at) * *slope;
}

/* The same of a sum of squares, whose coefficients are multiplied out and integrated one by one.  */
static void squares(const dfoi_polynomial *how, const dfo_real *p, size_t m, double x, double *z, double *slope)
{
    size_t n = how->degree + 1;
    double b = (double)how->bound, e = (double)how->least, at = fmax(-b, fmin(b, x)), by = (1 - e) / (double)how->terms;
    *z = (double)p[0] + e * at;
    *slope = e;
    for (size_t k = 0; k < how->terms; k++) {
        double a[9];
        for (size_t l = 0; l < n; l++)
            a[l] = (double)p[(1 + k * n + l) * m] + (l == 0);
        if (n > 1 && how->terms > 1)
            a[1] += (double)how->spread * (2 * (double)k / (double)(how->terms - 1) - 1);
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < n; j++) {
                *z += by * a[i] * a[j] * pow(at / b, (double)(i + j)) * at / (double)(i + j + 1);
                *slope += by * a[i] * a[j] * pow(at / b, (double)(i + j));
            }
    }
    *z += (x - at) * *slope;
}

static dfoi_polynomial random_polynomial(test_rng *rng)
{
    dfoi_polynomial how = {.squares = (int)test_rng_between(rng, 0, 1), .bound = (dfo_real)test_rng_real(rng, 1, 4),
                           .spread = (dfo_real)test_rng_real(rng, 0, 1), .least = (dfo_real)0.001};
    how.degree = how.squares ? test_rng_between(rng, 0, 8) : test_rng_between(rng, 1, 12);
    how.terms = test_rng_between(rng, 1, 16);
    return how;
}

START_TEST(formulas)
{
    static dfo_real par[MOST * VALUES];
    test_rng rng = test_rng_new(test_seed());
    for (size_t k = 0; k < test_times(200); k++) {
        dfoi_polynomial how = random_polynomial(&rng);
        dfo_real x[VALUES], z[VALUES], ld[VALUES] = {0};
        draw(&rng, dfoi_polynomial_params(&how) * VALUES, 0.5, par);
        draw(&rng, VALUES, 2, x);
        x[0] = how.bound;
        x[1] = -how.bound;
        memcpy(z, x, sizeof z);
        DFOI_POLYNOMIAL_KERN->forward(&how, 1, VALUES, par, z, ld);
        for (size_t i = 0; i < VALUES; i++) {
            double want, slope;
            (how.squares ? squares : bernstein)(&how, par + i, VALUES, (double)x[i], &want, &slope);
            double scale = 1 + fabs((double)par[i]) + (double)how.bound + fabs((double)x[i]) * slope;
            ck_assert_msg(fabs((double)z[i] - want) <= 200 * EPS * scale, "squares %d, degree %zu, x %g: z %.17g, not %.17g", how.squares,
                          how.degree, (double)x[i], (double)z[i], want);
            ck_assert_msg(fabs((double)ld[i] - log(slope)) <= 500 * EPS * (1 + 1 / slope), "squares %d, degree %zu, x %g: log slope %.17g, not %.17g",
                          how.squares, how.degree, (double)x[i], (double)ld[i], log(slope));
        }
    }
}
END_TEST

/* Without parameters: the identity, of squares where all terms are alike.  */
START_TEST(identities)
{
    static const dfo_real par[MOST * VALUES];
    test_rng rng = test_rng_new(test_seed());
    for (size_t k = 0; k < test_times(50); k++) {
        dfoi_polynomial how = random_polynomial(&rng);
        dfo_real x[VALUES], z[VALUES], ld[VALUES] = {0};
        how.spread = 0;
        draw(&rng, VALUES, 3, x);
        memcpy(z, x, sizeof z);
        DFOI_POLYNOMIAL_KERN->forward(&how, 1, VALUES, par, z, ld);
        for (size_t i = 0; i < VALUES; i++)
            ck_assert_msg(fabs((double)(z[i] - x[i])) <= 50 * EPS * (double)(how.bound + 3) && fabs((double)ld[i]) <= 50 * EPS,
                          "squares %d, degree %zu: %g becomes %.17g, log slope %g", how.squares, how.degree, (double)x[i], (double)z[i],
                          (double)ld[i]);
    }
}
END_TEST

/* x, log-dets and gradients of the four passes, of `count` values from `first` on.  */
static size_t passes(const struct dfoi_polynomial_kernels *kern, const dfoi_polynomial *how, const dfo_real *all, const dfo_real *x,
                     size_t first, size_t count, dfo_real *to)
{
    static dfo_real par[MOST * VALUES];
    size_t params = dfoi_polynomial_params(how);
    dfo_real *begin = to;
    for (size_t p = 0; p < params; p++)
        memcpy(par + p * count, all + p * VALUES + first, count * sizeof *par);
    for (int pass = 0; pass < 4; pass++) {
        dfo_real *at = to, *ld = at + count, *g = ld + count, *gpar = g + count;
        memcpy(at, x + first, count * sizeof *at);
        memcpy(ld, x + first, count * sizeof *ld);
        memcpy(g, x + first, count * sizeof *g);
        memset(gpar, 0, params * count * sizeof *gpar);
        if (pass < 2)
            (pass ? kern->inverse : kern->forward)(how, 1, count, par, at, ld);
        else if (pass == 2)
            kern->backward(how, 1, count, par, at, g, ld, gpar);
        else
            kern->inverse_backward(how, 1, count, par, at, g, ld, gpar);
        to = gpar + params * count;
    }
    return (size_t)(to - begin);
}

START_TEST(levels_and_neighbours)
{
    static dfo_real par[MOST * VALUES], want[4 * (MOST + 3) * VALUES], got[4 * (MOST + 3) * VALUES], alone[4 * (MOST + 3)];
    test_rng rng = test_rng_new(test_seed());
    for (size_t k = 0; k < test_times(20); k++) {
        dfoi_polynomial how = random_polynomial(&rng);
        dfo_real x[VALUES];
        draw(&rng, MOST * VALUES, 1, par);
        draw(&rng, VALUES, 2, x);
        size_t n = passes(&dfoi_polynomial_kernels_generic, &how, par, x, 0, VALUES, want);
        for (int level = 1; level <= (int)dfoi_cpu_level(); level++) {
            passes(DFOI_AT_LEVEL(dfoi_polynomial_kernels, (dfoi_cpu)level), &how, par, x, 0, VALUES, got);
            ck_assert_msg(!memcmp(got, want, n * sizeof *got), "squares %d, degree %zu: level %d gives other bits than generic",
                          how.squares, how.degree, level);
        }
        for (size_t i = 0; i < VALUES; i++) {
            n = passes(&dfoi_polynomial_kernels_generic, &how, par, x, i, 1, alone);
            for (size_t at = 0; at < n; at++)
                ck_assert_msg(!memcmp(&alone[at], &want[at * VALUES + i], sizeof *alone), "squares %d, degree %zu: value %zu, number %zu: %a, %a",
                              how.squares, how.degree, i, at, (double)alone[at], (double)want[at * VALUES + i]);
        }
    }
}
END_TEST

static layerfix layer(const char *config, dfo_shape shape, size_t rows)
{
    layerfix f = layerfix_new(json_loads(config, 0, NULL), shape, 0, rows);
    ck_assert_msg(layerfix_prepare(&f) == DFO_OK, "%s: %s", config, f.t->run.text);
    return f;
}

/* One unit a column: f_1 = s_1 tanh(u_1 x_1 + b_1) + c_1, f_2 likewise with what the first column adds, rows of the matrices
 * being e^scale (w, e^v)/sqrt(w^2 + e^2v).  */
START_TEST(block_autoregressive)
{
    layerfix f = layer("{\"type\":\"bnaf\",\"hidden\":1,\"depth\":1}", dfo_shape_vector(2), VALUES);
    test_rng rng = test_rng_new(test_seed());
    dfo_real *array[7];
    static const char *const name[] = {"weight0", "log_scale0", "bias0", "weight1", "log_scale1", "bias1", "gate"};
    double x[2 * VALUES], z[2 * VALUES], back[2 * VALUES], logdet[VALUES];
    for (size_t k = 0; k < 7; k++) {
        size_t n;
        array[k] = layerfix_array(&f, name[k], &n);
        draw(&rng, n, 0.5, array[k]);
    }
    ck_assert_int_eq(layerfix_prepare(&f), DFO_OK);
    for (size_t i = 0; i < 2 * VALUES; i++)
        x[i] = (double)(dfo_real)(2 * test_rng_normal(&rng));
    ck_assert_int_eq(layerfix_forward(&f, VALUES, x, NULL, z, logdet), DFO_OK);
    double a = 1 / (1 + exp(-(double)*array[6]));
    for (size_t i = 0; i < VALUES; i++) {
        double in[2] = {x[2 * i], x[2 * i + 1]}, slope[2] = {1, 1};
        for (size_t l = 0; l < 2; l++) {
            const dfo_real *w = array[3 * l];
            double s0 = exp((double)array[3 * l + 1][0]), own = exp((double)w[3]), norm = hypot((double)w[2], own);
            double s1 = exp((double)array[3 * l + 1][1]) / norm;
            double first = s0 * in[0] + (double)array[3 * l + 2][0], second = s1 * ((double)w[2] * in[0] + own * in[1]) + (double)array[3 * l + 2][1];
            in[0] = l ? first : tanh(first);
            in[1] = l ? second : tanh(second);
            slope[0] *= s0 * (l ? 1 : 1 - in[0] * in[0]);
            slope[1] *= s1 * own * (l ? 1 : 1 - in[1] * in[1]);
        }
        double want = 0;
        for (size_t j = 0; j < 2; j++) {
            double value = a * x[2 * i + j] + (1 - a) * in[j];
            want += log(a + (1 - a) * slope[j]);
            ck_assert_msg(fabs(z[2 * i + j] - value) <= 50 * EPS * (3 + fabs(value)), "row %zu, column %zu: %.17g, not %.17g", i, j,
                          z[2 * i + j], value);
        }
        ck_assert_msg(fabs(logdet[i] - want) <= 100 * EPS * (1 + fabs(want)), "row %zu: log-det %.17g, not %.17g", i, logdet[i], want);
    }
    ck_assert_int_eq(layerfix_inverse(&f, VALUES, z, NULL, back, logdet), DFO_OK);
    for (size_t i = 0; i < 2 * VALUES; i++)
        ck_assert_msg(fabs(back[i] - x[i]) <= 100 * EPS * (3 + fabs(x[i])) / a, "number %zu: %.17g, not %.17g", i, back[i], x[i]);
    layerfix_free(&f);
}
END_TEST

/* In training latents have mean b and variance e^2s v/(v + e) whatever the data, and rows come back; running statistics move by
 * the momentum; evaluation takes them and goes back exactly.  */
START_TEST(batch_normalisation)
{
    enum { N = 60, C = 2, PLANE = 6, D = C * PLANE };
    layerfix f = layer("{\"type\":\"batchnorm\",\"momentum\":0.25,\"epsilon\":0.001}", (dfo_shape){C, 2, 3}, N);
    test_rng rng = test_rng_new(test_seed());
    size_t count;
    dfo_real *s = layerfix_array(&f, "log_scale", &count), *b = layerfix_array(&f, "shift", &count);
    dfo_real *mean = layerfix_array(&f, "mean", &count), *var = layerfix_array(&f, "var", &count);
    dfo_real *rows = calloc(2 * N * D, sizeof *rows), *z = rows + N * D, *g = calloc(N * D, sizeof *g);
    double glogdet[N] = {0}, m[C] = {0}, v[C] = {0};
    dfo_batch x = dfo_batch_of(rows, N, D), out = dfo_batch_of(z, N, D);
    draw(&rng, C, 0.3, s);
    draw(&rng, C, 1, b);
    for (size_t i = 0; i < N * D; i++) {
        size_t c = i % D / PLANE;
        rows[i] = (dfo_real)(3 - (double)c + (1 + 2 * (double)c) * test_rng_normal(&rng));
        m[c] += (double)rows[i] / (N * PLANE);
    }
    for (size_t i = 0; i < N * D; i++)
        v[i % D / PLANE] += ((double)rows[i] - m[i % D / PLANE]) * ((double)rows[i] - m[i % D / PLANE]) / (N * PLANE);
    memcpy(z, rows, N * D * sizeof *z);
    f.t->run.mode = DFO_TRAIN;
    ck_assert_int_eq(dfo_bijector_forward(f.bij, &f.t->run, out, NULL, NULL), DFO_OK);
    for (size_t c = 0; c < C; c++) {
        double sum = 0, square = 0, want = exp(2 * (double)s[c]) * v[c] / (v[c] + 0.001);
        for (size_t i = 0; i < N * D; i++)
            sum += i % D / PLANE == c ? (double)z[i] / (N * PLANE) : 0;
        for (size_t i = 0; i < N * D; i++)
            square += i % D / PLANE == c ? ((double)z[i] - sum) * ((double)z[i] - sum) / (N * PLANE) : 0;
        ck_assert_msg(fabs(sum - (double)b[c]) <= 100 * EPS, "channel %zu: mean %g, not %g", c, sum, (double)b[c]);
        ck_assert_msg(fabs(square / want - 1) <= 100 * EPS, "channel %zu: variance %g, not %g", c, square, want);
    }
    ck_assert_int_eq(dfo_bijector_backward(f.bij, &f.t->run, out, dfo_batch_of(g, N, D), NULL, NULL, glogdet), DFO_OK);
    for (size_t i = 0; i < N * D; i++)
        ck_assert_msg(fabs((double)(z[i] - rows[i])) <= 100 * EPS * 10, "number %zu: %.17g, not %.17g", i, (double)z[i], (double)rows[i]);
    ck_assert(mean[0] == 0 && var[0] == 1);
    ck_assert_int_eq(dfo_bijector_update(f.bij, &f.t->run), DFO_OK);
    for (size_t c = 0; c < C; c++) {
        double unbiased = v[c] * N * PLANE / (N * PLANE - 1);
        ck_assert_msg(fabs((double)mean[c] - 0.25 * m[c]) <= 100 * EPS * 5, "running mean %zu is %g", c, (double)mean[c]);
        ck_assert_msg(fabs((double)var[c] - (0.75 + 0.25 * unbiased)) <= 100 * EPS * 10, "running variance %zu is %g", c, (double)var[c]);
    }
    f.t->run.mode = DFO_EVALUATE;
    testrun_reset(f.t);
    memcpy(z, rows, N * D * sizeof *z);
    ck_assert_int_eq(dfo_bijector_forward(f.bij, &f.t->run, out, NULL, NULL), DFO_OK);
    double first = exp((double)s[0]) * ((double)rows[0] - (double)mean[0]) / sqrt((double)var[0] + 0.001) + (double)b[0];
    ck_assert_msg(fabs((double)z[0] - first) <= 100 * EPS * 5, "%.17g, not %.17g", (double)z[0], first);
    ck_assert_int_eq(dfo_bijector_inverse(f.bij, &f.t->run, out, NULL, NULL), DFO_OK);
    for (size_t i = 0; i < N * D; i++)
        ck_assert_msg(fabs((double)(z[i] - x.x[i])) <= 100 * EPS * 10, "number %zu does not come back", i);
    free(rows);
    free(g);
    layerfix_free(&f);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("increasing maps (" DFO_REAL_NAME ")");
    TCase *tcase = tcase_create("increasing");
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, formulas);
    tcase_add_test(tcase, identities);
    tcase_add_test(tcase, levels_and_neighbours);
    tcase_add_test(tcase, block_autoregressive);
    tcase_add_test(tcase, batch_normalisation);
    suite_add_tcase(suite, tcase);
    return test_run(suite);
}
