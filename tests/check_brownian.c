/* Brownian paths: the laws that they are made by against the reference vectors, the same bits for any order of queries,
 * additivity, moments.  */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ctxfix.h"
#include "brownian_impl.h"
#include "oom.h"
#include "reference.h"
#include "util.h"

static void close_to(const char *name, const char *what, size_t n, const double *got, const double *want, double allowed)
{
    for (size_t i = 0; i < n; i++)
        ck_assert_msg(fabs(got[i] - want[i]) <= allowed * fmax(1, fabs(want[i])), "%s, %s: %zu is %.17g, expected %.17g", name, what, i,
                      got[i], want[i]);
}

/* ---- laws */

/* W, b of both parts for one column.  */
static void split(int halve, double p, double q, double w, double b, const double *x, double *out)
{
    dfoi_increments of = {&w, &b}, left = {out, out + 1}, right = {out + 2, out + 3};
    if (halve)
        dfoi_brownian_halve(1, p + q, of, x, left, right);
    else
        dfoi_brownian_split(1, p, q, of, x, left, right);
}

/* The split is linear in what is given and the normals: its coefficients are the mean, their squares the covariance.  */
static void split_law(ref_case c, int halve, double p, double q)
{
    double unit[4][4] = {{0}}, mean[8], cov[16];
    for (size_t k = 0; k < 4; k++) {
        double x[2] = {k == 2, k == 3};
        split(halve, p, q, k == 0, k == 1, x, unit[k]);
    }
    for (size_t i = 0; i < 4; i++)
        for (size_t j = 0; j < 4; j++) {
            cov[4 * i + j] = unit[2][i] * unit[2][j] + unit[3][i] * unit[3][j];
            if (j < 2)
                mean[2 * i + j] = unit[j][i];
        }
    close_to(c.name, "mean", 8, mean, ref_need(c, "outputs.mean").data, 1e-13);
    close_to(c.name, "covariance", 16, cov, ref_need(c, "outputs.cov").data, 1e-13);
    double l = p + q;
    for (size_t i = 0; i < 4; i++)
        for (size_t j = 0; j < 4; j++)
            cov[4 * i + j] += unit[0][i] * unit[0][j] * l + unit[1][i] * unit[1][j] * l * l * l / 12;
    close_to(c.name, "covariance of nothing given", 16, cov, ref_need(c, "outputs.uncond_cov").data, 1e-13);
}

static void split_case(ref_case c)
{
    double p = ref_number(c, "settings.p", 0), q = ref_number(c, "settings.q", 0), got[4];
    const double *of = ref_need(c, "inputs.WbH_su").data, *x = ref_need(c, "inputs.X1X2").data;
    split(0, p, q, of[0], of[1], x, got);
    close_to(c.name, "split", 4, got, ref_need(c, "outputs.split_general").data, 1e-13);
    split_law(c, 0, p, q);
    if (!ref_get(c, "outputs.split_midpoint").data)
        return;
    split(1, p, q, of[0], of[1], x, got);
    close_to(c.name, "halves", 4, got, ref_need(c, "outputs.split_midpoint").data, 1e-13);
    split_law(c, 1, p, q);
}

static void join_case(ref_case c)
{
    double p = ref_number(c, "settings.p", 0), q = ref_number(c, "settings.q", 0), w[3], b[3];
    memcpy(w, ref_need(c, "inputs.W").data, 2 * sizeof *w);
    memcpy(b, ref_need(c, "inputs.bH").data, 2 * sizeof *b);
    dfoi_brownian_join(1, p, q, (dfoi_increments){w, b}, (dfoi_increments){w + 1, b + 1}, (dfoi_increments){w + 2, b + 2});
    close_to(c.name, "W", 1, w + 2, ref_need(c, "outputs.W_total").data, 1e-13);
    close_to(c.name, "bH", 1, b + 2, ref_need(c, "outputs.bH_total").data, 1e-13);
}

/* From those of [0, s] and [0, u].  */
static void rest_case(ref_case c)
{
    double s = ref_number(c, "settings.s", 0), u = ref_number(c, "settings.u", 0), w[3], b[3];
    memcpy(w, ref_need(c, "inputs.W_s_u").data, 2 * sizeof *w);
    memcpy(b, ref_need(c, "inputs.bH_s_u").data, 2 * sizeof *b);
    dfoi_brownian_rest(1, s, u - s, (dfoi_increments){w + 1, b + 1}, (dfoi_increments){w, b}, (dfoi_increments){w + 2, b + 2});
    close_to(c.name, "W", 1, w + 2, ref_need(c, "outputs.W").data, 1e-13);
    close_to(c.name, "bH", 1, b + 2, ref_need(c, "outputs.bH").data, 1e-13);
}

/* W(r) of a bridge whose Levy area is not known.  */
static void bridge_case(ref_case c)
{
    double s = ref_number(c, "settings.s", 0), r = ref_number(c, "settings.r", 0), u = ref_number(c, "settings.u", 0), out[4], var = 0;
    double l = u - s, none[2] = {0, 0}, first[2] = {1, 0}, second[2] = {0, 1};
    split(0, r - s, u - r, 1, 0, none, out);
    close_to(c.name, "mean", 1, out, ref_need(c, "outputs.mean_coef").data, 1e-13);
    split(0, r - s, u - r, 0, sqrt(l * l * l / 12), none, out);
    var += out[0] * out[0];
    split(0, r - s, u - r, 0, 0, first, out);
    var += out[0] * out[0];
    split(0, r - s, u - r, 0, 0, second, out);
    var += out[0] * out[0];
    close_to(c.name, "variance", 1, &var, ref_need(c, "outputs.var").data, 1e-13);
}

START_TEST(laws)
{
    ref_file *f = ref_open("brownian");
    size_t seen = 0;
    for (size_t i = 0; i < ref_cases(f); i++) {
        ref_case c = ref_at(f, i);
        void (*run)(ref_case) = ref_get(c, "outputs.split_general").data ? split_case : ref_get(c, "inputs.bH").data ? join_case :
                                ref_get(c, "inputs.W_s_u").data ? rest_case : bridge_case;
        run(c);
        seen++;
    }
    ck_assert_uint_eq(seen, 11);
    ref_close(f);
}
END_TEST

/* ---- bits */

enum { D = 21 };

static const dfo_brownian path = {7, -0.3, 1.9, 1e-6};

/* Any order, any number of columns, kept halvings or not; back is forward with W negated.  */
START_TEST(same_bits)
{
    enum { N = 200 };
    test_rng rng = test_rng_new(3);
    static double s[N], t[N], w[N][D], h[N][D];
    double got[D], area[D];
    dfo_brownian_interval *kept;
    ck_assert_int_eq(dfo_brownian_interval_new(ctx, &path, 5, D, &kept), DFO_OK);
    for (size_t i = 0; i < N; i++) {
        s[i] = test_rng_real(&rng, path.t0, path.t1);
        t[i] = i % 3 ? test_rng_real(&rng, path.t0, path.t1) : i % 2 ? s[i] + 1e-7 : path.t1;
        dfo_brownian_increment(&path, 5, D, s[i], t[i], w[i], h[i]);
    }
    for (size_t k = 0; k < 3 * N; k++) {
        size_t i = test_rng_between(&rng, 0, N - 1), d = test_rng_between(&rng, 1, D);
        dfo_brownian_increment(&path, 5, d, s[i], t[i], got, area);
        ck_assert(!memcmp(got, w[i], d * sizeof *got) && !memcmp(area, h[i], d * sizeof *area));
        dfo_brownian_increment(&path, 5, d, s[i], t[i], got, NULL);
        ck_assert(!memcmp(got, w[i], d * sizeof *got));
        dfo_brownian_interval_increment(kept, s[i], t[i], got, area);
        ck_assert(!memcmp(got, w[i], sizeof got) && !memcmp(area, h[i], sizeof area));
        dfo_brownian_increment(&path, 5, D, t[i], s[i], got, area);
        for (size_t j = 0; j < D; j++)
            ck_assert(got[j] == -w[i][j] && area[j] == h[i][j]);
        dfo_brownian_increment(&path, 6, D, s[i], t[i], got, area);
        ck_assert(memcmp(got, w[i], sizeof got));
    }
    dfo_brownian_interval_free(kept);
}
END_TEST

/* Steps one after the other, there and back, of several lengths, as a solver asks.  */
START_TEST(in_sequence)
{
    static const size_t steps[] = {64, 100, 1000};
    for (size_t k = 0; k < 3; k++)
        for (int levels = 1; levels <= 50; levels += 7) {
            dfo_brownian b = {11, 0, 1, ldexp(1, -levels)};
            dfo_brownian_interval *kept;
            double w[2], h[2], got[2], area[2];
            ck_assert_int_eq(dfo_brownian_interval_new(ctx, &b, 0, 2, &kept), DFO_OK);
            for (size_t m = 0; m < 2 * steps[k]; m++) {
                size_t at = m < steps[k] ? m : 2 * steps[k] - 1 - m;
                double s = (double)at / (double)steps[k], t = (double)(at + 1) / (double)steps[k];
                dfo_brownian_increment(&b, 0, 2, s, t, w, h);
                dfo_brownian_interval_increment(kept, s, t, got, area);
                ck_assert(!memcmp(got, w, sizeof w) && !memcmp(area, h, sizeof h));
            }
            dfo_brownian_interval_free(kept);
        }
}
END_TEST

/* By how much W and H of two steps miss those of both together, over the increment's size.  */
static double gap(const dfo_brownian *b, const double *t)
{
    double w[3][D], h[3][D], p = t[1] - t[0], q = t[2] - t[1], worst = 0;
    dfo_brownian_increment(b, 2, D, t[0], t[1], w[0], h[0]);
    dfo_brownian_increment(b, 2, D, t[1], t[2], w[1], h[1]);
    dfo_brownian_increment(b, 2, D, t[0], t[2], w[2], h[2]);
    for (size_t j = 0; j < D; j++) {
        double area = (p * h[0][j] + q * h[1][j] + (q * w[0][j] - p * w[1][j]) / 2) / (p + q);
        worst = fmax(worst, fmax(fabs(w[0][j] + w[1][j] - w[2][j]), fabs(area - h[2][j])));
    }
    return worst / sqrt(p + q);
}

/* Wherever the points are, bottoms of the tree included: what times are rounded by is a share eps/(p + q) of the interval.  */
START_TEST(additive)
{
    test_rng rng = test_rng_new(4);
    double t[3], first[D], again[D];
    for (size_t i = 0; i < 2000; i++) {
        double scale = pow(10, -test_rng_real(&rng, 0, 9)), start = test_rng_real(&rng, path.t0, path.t1);
        t[0] = i % 7 ? start : path.t0 + 2.2 * ldexp((double)test_rng_between(&rng, 0, 63), -6);
        for (size_t k = 1; k < 3; k++)
            t[k] = fmin(path.t1, t[k - 1] + (i % 7 ? scale * test_rng_real(&rng, 0, 1) : 2.2 / 64));
        if (t[1] - t[0] > 1e-10 && t[2] - t[1] > 1e-10)
            ck_assert_msg(gap(&path, t) * (t[2] - t[0]) < 1e-14, "from %g by %g: off by %g", t[0], t[2] - t[0], gap(&path, t));
    }
    for (size_t i = 0; i < 100; i++) {                /* the path is continuous below tol */
        double at = test_rng_real(&rng, path.t0, path.t1);
        dfo_brownian_increment(&path, 2, D, path.t0, at, first, NULL);
        dfo_brownian_increment(&path, 2, D, path.t0, at + 1e-9, again, NULL);
        for (size_t j = 0; j < D; j++)
            ck_assert(fabs(first[j] - again[j]) < 1e-3);
    }
}
END_TEST

/* Where times are exact, short increments are as exact as long ones.  */
START_TEST(short_steps)
{
    dfo_brownian b = {8, 0, 1, ldexp(1, -40)};
    test_rng rng = test_rng_new(5);
    for (int level = 2; level <= 40; level++)
        for (size_t i = 0; i < 20; i++) {
            double t[3] = {ldexp((double)(test_rng_next(&rng) >> 24), -40) * 0.5};
            t[0] = i % 2 ? t[0] : 0.5 - ldexp((double)test_rng_between(&rng, 0, 2), -level);       /* across the middle */
            t[1] = t[0] + ldexp(1, -level);
            t[2] = t[1] + ldexp((double)test_rng_between(&rng, 1, 3), -level) / 4;
            ck_assert_msg(gap(&b, t) < 1e-14, "from %g by %g: off by %g", t[0], t[2] - t[0], gap(&b, t));
        }
}
END_TEST

/* ---- moments, over rows and columns */

struct moments { double n, sum, squares; };

static void see(struct moments *m, double x)
{
    m->n++;
    m->sum += x;
    m->squares += x * x;
}

/* The mean within 4 of its standard errors.  */
static void mean_is(const char *what, const struct moments *m, double want)
{
    double mean = m->sum / m->n, error = sqrt((m->squares / m->n - mean * mean) / m->n);
    ck_assert_msg(fabs(mean - want) <= 4 * error, "%s: %g +- %g, expected %g", what, mean, error, want);
}

/* Three intervals in a row, the middle one across the middle of the tree or inside its bottom, each wider than tol.  */
START_TEST(moments)
{
    static const double end[][4] = {{0, 0.2, 0.55, 0.9}, {0.5, 0.625, 0.75, 1}, {0.31, 0.3101, 0.3103, 0.3105}, {0.1, 0.35, 0.36, 0.97}};
    const double *t = end[_i];
    dfo_brownian b = {20 + (uint64_t)_i, 0, 1, 1e-5};
    struct moments m[6][7] = {{{0}}};      /* of pairs of W1 W2 W3 H1 H2 H3: their product; and the mean */
    for (uint64_t row = 0; row < test_times(2500); row++) {
        double x[6][D];
        for (size_t k = 0; k < 3; k++)
            dfo_brownian_increment(&b, row, D, t[k], t[k + 1], x[k], x[3 + k]);
        for (size_t j = 0; j < D; j++)
            for (size_t k = 0; k < 6; k++) {
                see(&m[k][6], x[k][j]);
                for (size_t l = 0; l <= k; l++)
                    see(&m[k][l], x[k][j] * x[l][j]);
            }
    }
    for (size_t k = 0; k < 6; k++) {
        double h = t[k % 3 + 1] - t[k % 3];
        mean_is("mean", &m[k][6], 0);
        for (size_t l = 0; l <= k; l++)
            mean_is(l == k ? k < 3 ? "variance of W" : "variance of H" : "covariance", &m[k][l], l == k ? k < 3 ? h : h / 12 : 0);
    }
}
END_TEST

/* Seeds, rows and columns have nothing to do with each other; W(s) W(t) has mean min(s, t).  */
START_TEST(independent)
{
    enum { N = 20000 };
    struct moments seeds = {0}, rows = {0}, columns = {0}, lots = {0}, shared = {0};
    for (uint64_t i = 0; i < N; i++) {
        dfo_brownian a = {2 * i, 0, 2, 1e-3}, b = {2 * i + 1, 0, 2, 1e-3};
        double x[D], y[D], z[D];
        dfo_brownian_increment(&a, 3, D, 0, 0.7, x, NULL);
        dfo_brownian_increment(&b, 3, D, 0, 0.7, y, NULL);
        dfo_brownian_increment(&a, 4, D, 0, 0.7, z, NULL);
        see(&seeds, x[0] * y[0]);
        see(&rows, x[0] * z[0]);
        see(&columns, x[0] * x[1]);
        see(&lots, x[0] * x[16]);          /* of different batches of draws */
        dfo_brownian_increment(&a, 3, D, 0, 1.3, y, NULL);
        see(&shared, x[0] * y[0]);
    }
    mean_is("seeds", &seeds, 0);
    mean_is("rows", &rows, 0);
    mean_is("columns", &columns, 0);
    mean_is("columns apart", &lots, 0);
    mean_is("W(0.7) W(1.3)", &shared, 0.7);
}
END_TEST

/* H is the integral it is said to be.  */
START_TEST(area_of_path)
{
    enum { N = 20000 };
    dfo_brownian b = {31, 0, 1, 1e-6};
    dfo_brownian_interval *kept;
    double s = 0.21, t = 0.83, w, h, area = 0, at = 0, step;
    ck_assert_int_eq(dfo_brownian_interval_new(ctx, &b, 9, 1, &kept), DFO_OK);
    dfo_brownian_increment(&b, 9, 1, s, t, &w, &h);
    for (size_t i = 0; i < N; i++) {       /* the trapezoidal rule */
        dfo_brownian_interval_increment(kept, s + (t - s) * (double)i / N, s + (t - s) * (double)(i + 1) / N, &step, NULL);
        area += (at + step / 2 - ((double)i + 0.5) / N * w) / N;
        at += step;
    }
    ck_assert_msg(fabs(at - w) < 1e-12 && fabs(area - h) < 1e-4, "W %g, expected %g; H %g, expected %g", at, w, area, h);
    dfo_brownian_interval_free(kept);
}
END_TEST

/* ---- the rest */

START_TEST(refused)
{
    static const struct { dfo_brownian b; const char *text; } bad[] = {
        {{1, 0, 1, 0}, "tol 0"}, {{1, 0, 1, -1}, "tol -1"}, {{1, 0, 1, 1}, "tol 1"}, {{1, 0, 1, NAN}, "tol"}, {{1, 0, 1, 1e-16}, "tol 1e-16"},
        {{1, 1, 1, 1e-3}, "from 1 to 1"}, {{1, 1, 0, 1e-3}, "from 1 to 0"}, {{1, 0, INFINITY, 1e-3}, "from 0 to inf"},
        {{1, NAN, 1, 1e-3}, "to 1"}};
    dfo_brownian_interval *kept;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ck_assert_int_eq(dfo_brownian_check(ctx, &bad[i].b), DFO_EARG);
        ck_assert_msg(strstr(dfo_ctx_error(ctx), bad[i].text) != NULL, "%s", dfo_ctx_error(ctx));
        ck_assert_int_eq(dfo_brownian_interval_new(ctx, &bad[i].b, 0, 1, &kept), DFO_EARG);
        ck_assert_ptr_null(kept);
    }
    ck_assert_int_eq(dfo_brownian_check(ctx, &path), DFO_OK);
    dfo_brownian_interval_free(NULL);
    double w[D], h[D], end[D];             /* times outside; no time at all */
    dfo_brownian_increment(&path, 0, D, path.t0 - 1, path.t1 + 1, w, h);
    dfo_brownian_increment(&path, 0, D, path.t0, path.t1, end, NULL);
    ck_assert(!memcmp(w, end, sizeof w));
    dfo_brownian_increment(&path, 0, D, 0.5, 0.5, w, h);
    for (size_t j = 0; j < D; j++)
        ck_assert(w[j] == 0 && h[j] == 0);
}
END_TEST

static dfo_status without_memory(dfo_ctx *c, void *data)
{
    dfo_brownian_interval *kept;
    dfo_status status = dfo_brownian_interval_new(c, data, 0, 40, &kept);
    dfo_brownian_interval_free(kept);
    return status;
}

START_TEST(allocations)
{
    dfo_brownian b = path;
    ck_assert_uint_ge(oom_check("Brownian interval", OOM_ALL, without_memory, &b), 2);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("Brownian paths");
    TCase *t = tcase_create("brownian");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, laws);
    tcase_add_test(t, same_bits);
    tcase_add_test(t, in_sequence);
    tcase_add_test(t, additive);
    tcase_add_test(t, short_steps);
    tcase_add_loop_test(t, moments, 0, 4);
    tcase_add_test(t, independent);
    tcase_add_test(t, area_of_path);
    tcase_add_test(t, refused);
    tcase_add_test(t, allocations);
    suite_add_tcase(suite, t);
    return test_run(suite);
}
