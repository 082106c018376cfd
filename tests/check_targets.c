/* Densities with names: gradients against differences, normalisers by quadrature, draws' own densities, what goes wrong.  */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <diffeo/source.h>
#include <diffeo/targets.h>
#include "ctxfix.h"
#include "oom.h"
#include "util.h"

#define LOG_2PI 1.83787706640934548356

static const char rows_text[] = "size,age,y\n0.5,-1,0\n-1.5,0.25,1\n2,1,1\n0.1,-3,0\n1,1,0\n";

/* logistic: on rows of two features, of width 2.  */
static const char *logistic(void)
{
    static char spec[1100];
    const char *path = test_tmp_file("rows.csv");
    test_write(path, rows_text, sizeof rows_text - 1);
    snprintf(spec, sizeof spec, "logistic:%s:2", path);
    return spec;
}

static double density(const dfo_named_target *t, const double *x)
{
    double out;
    dfo_status status = t->target.log_prob(&t->target, 1, x, &out, NULL);
    if (status != DFO_OK)                      /* an assertion each time would take longer than all the rest */
        ck_abort_msg("%s", dfo_ctx_error(ctx));
    return out;
}

static void near(double got, double want, double within, const char *what)
{
    ck_assert_msg(fabs(got - want) <= within, "%s: expected %.12g within %g, got %.12g (seed %llu)", what, want, within, got,
                  (unsigned long long)test_seed());
}

static const char *const specs[] = {"normal", "normal:5:0.7", "banana", "funnel", "funnel:2", "ring", "gaussians8", "two-moons", "eight-schools", NULL};

#define SPECS (sizeof specs / sizeof *specs)

/* Several rows at once give what each gives alone, and the gradient is that of central differences.  */
START_TEST(gradient)
{
    enum { N = 50 };
    const double h = 1e-5;
    const char *spec = specs[_i] ? specs[_i] : logistic();
    dfo_named_target *t;
    test_rng rng = test_rng_new(test_seed());
    OK(dfo_named_target_open(ctx, spec, &t));
    size_t d = t->target.d;
    double *x = calloc(N * d, sizeof *x), *g = calloc(N * d, sizeof *g), out[N];
    for (size_t i = 0; i < N * d; i++)
        x[i] = 2 * test_rng_normal(&rng);
    OK(t->target.log_prob(&t->target, N, x, out, g));
    for (size_t i = 0; i < N; i++) {
        near(density(t, x + i * d), out[i], 0, spec);
        for (size_t k = 0; k < d; k++) {
            double at = x[i * d + k];
            x[i * d + k] = at + h;
            double high = density(t, x + i * d);
            x[i * d + k] = at - h;
            double low = density(t, x + i * d);
            x[i * d + k] = at;
            near(g[i * d + k], (high - low) / (2 * h), 1e-6 * (1 + fabs(out[i]) + fabs(g[i * d + k])), spec);
        }
    }
    free(x);
    free(g);
    dfo_named_target_free(t);
}
END_TEST

/* The trapezoid rule on a wide grid: exact but for rounding where a density falls off at the ends and is smooth.  The funnel's second
 * column goes by u = x2 e^{-x1/2}.  */
START_TEST(normaliser)
{
    static const struct { const char *spec; double half, step; } rows[] = {
        {"normal:1", 12, 0.1}, {"normal", 9, 0.1}, {"normal:2:-0.8", 9, 0.1}, {"normal:3:0.5", 8, 0.25}, {"banana", 40, 0.1}, {"funnel:2", 30, 0.1},
        {"ring", 5, 0.02}, {"gaussians8", 7, 0.05}, {"two-moons", 5, 0.02}};
    dfo_named_target *t;
    double sum = 0, step = rows[_i].step;
    OK(dfo_named_target_open(ctx, rows[_i].spec, &t));
    size_t d = t->target.d, side = 2 * (size_t)(rows[_i].half / step) + 1, all = 1;
    int funnel = !strcmp(rows[_i].spec, "funnel:2");
    for (size_t k = 0; k < d; k++)
        all *= side;
    for (size_t i = 0; i < all; i++) {
        double x[3], factor = 1;
        for (size_t k = 0, rest = i; k < d; k++, rest /= side)
            x[k] = step * (double)(rest % side) - rows[_i].half;
        if (funnel) {
            factor = exp(0.5 * x[0]);
            x[1] *= factor;
        }
        sum += factor * exp(density(t, x));
    }
    near(log(sum * pow(step, (double)d)), t->log_normaliser, 1e-9, rows[_i].spec);
    dfo_named_target_free(t);
}
END_TEST

/* Given mu and log tau the log density is quadratic in each eta on its own, c + b eta - a eta^2/2, so that three places give the
 * integral, and a grid over the other two the rest.  */
START_TEST(schools)
{
    const double step = 0.25;
    dfo_named_target *t;
    double sum = 0;
    OK(dfo_named_target_open(ctx, "eight-schools", &t));
    ck_assert_uint_eq(t->target.d, 10);
    ck_assert_str_eq(t->columns[1], "log_tau");
    ck_assert_str_eq(t->columns[9], "eta8");
    for (double log_tau = -30; log_tau < 12; log_tau += step)
        for (double mu = -40; mu < 50; mu += 1) {
            double x[10] = {mu, log_tau}, middle = density(t, x), logs = middle;
            for (size_t j = 2; j < 10; j++) {
                x[j] = 1;
                double high = density(t, x) - middle;
                x[j] = -1;
                double low = density(t, x) - middle, a = -(high + low), b = 0.5 * (high - low);
                x[j] = 0;
                logs += 0.5 * (LOG_2PI - log(a)) + 0.5 * b * b / a;
            }
            sum += step * exp(logs);
        }
    near(log(sum), t->log_normaliser, 1e-7, "evidence");       /* the cancellation of huge terms where tau is */
    dfo_named_target_free(t);
}
END_TEST

/* The toys of these names are draws, and know their density.  */
START_TEST(toys)
{
    static const char *const names[] = {"gaussians8", "two-moons"};
    enum { N = 200 };
    char spec[64];
    dfo_named_target *t;
    dfo_source *toy;
    dfo_real x[N * 2];
    double log_p[N];
    snprintf(spec, sizeof spec, "toy:%s:%d", names[_i], N);
    OK(dfo_source_open(ctx, spec, NULL, &toy));
    OK(dfo_named_target_open(ctx, names[_i], &t));
    dfo_batch rows = dfo_batch_of(x, N, 2);
    OK(dfo_source_read(toy, ctx, 0, rows, NULL));
    OK(dfo_source_true_log_prob(toy, ctx, rows, log_p));
    for (size_t i = 0; i < N; i++) {
        double at[2] = {(double)x[2 * i], (double)x[2 * i + 1]};
        near(density(t, at) - t->log_normaliser, log_p[i], 1e-10, names[_i]);
    }
    dfo_named_target_free(t);
    dfo_source_free(toy);
}
END_TEST

/* log p of a regression by its definition; names from the header; numbers too large are no density, not NaN.  */
START_TEST(regression)
{
    static const double row[5][3] = {{0.5, -1, 0}, {-1.5, 0.25, 1}, {2, 1, 1}, {0.1, -3, 0}, {1, 1, 0}};
    double w[3] = {0.3, -1.2, 0.8}, want = 0, huge[3] = {1e300, 1e300, -1e300};
    dfo_named_target *t;
    OK(dfo_named_target_open(ctx, logistic(), &t));
    ck_assert_uint_eq(t->target.d, 3);
    ck_assert(isnan(t->log_normaliser));
    ck_assert_str_eq(t->columns[0], "intercept");
    ck_assert_str_eq(t->columns[1], "size");
    ck_assert_str_eq(t->columns[2], "age");
    for (size_t i = 0; i < 5; i++) {
        double h = w[0] + w[1] * row[i][0] + w[2] * row[i][1];
        want -= log(1 + exp(row[i][2] > 0 ? -h : h));
    }
    for (size_t k = 0; k < 3; k++)
        want -= 0.5 * (w[k] * w[k] / 4 + LOG_2PI) + log(2);
    near(density(t, w), want, IS_DOUBLE ? 1e-12 : 1e-6, "log density");    /* 0.1 is read as float */
    ck_assert(density(t, huge) < -1e300);
    dfo_named_target_free(t);
}
END_TEST

static void refused(const char *spec, dfo_status status, const char *text)
{
    dfo_named_target *t;
    ck_assert_int_eq(dfo_named_target_open(ctx, spec, &t), status);
    ck_assert_ptr_null(t);
    ck_assert_msg(strstr(dfo_ctx_error(ctx), text), "%s: expected '%s' in '%s'", spec, text, dfo_ctx_error(ctx));
}

START_TEST(refusals)
{
    char spec[1100];
    const char *bad = test_tmp_file("bad.csv"), *one = test_tmp_file("one.csv");
    refused("bananas", DFO_EARG, "unknown target 'bananas'; known: normal[:D[:RHO]], banana, funnel[:D], ring");
    refused("", DFO_EARG, "unknown target ''");
    refused("banana:3", DFO_EARG, "target 'banana:3': banana takes no numbers");
    refused("normal:0", DFO_EARG, "target normal: expected a number of columns from 1 to 4096, got '0'");
    refused("normal:2.5", DFO_EARG, "got '2.5'");
    refused("normal:nan", DFO_EARG, "got 'nan'");
    refused("normal:1e99", DFO_EARG, "got '1e99'");
    refused("normal:", DFO_EARG, "got ''");
    refused("normal:3:1", DFO_EARG, "expected a correlation between -1 and 1, got '1'");
    refused("normal:3:nan", DFO_EARG, "got 'nan'");
    refused("normal:3:0:1", DFO_EARG, "got '0:1'");
    refused("funnel:1", DFO_EARG, "from 2 to 4096, got '1'");
    refused("funnel:3:1", DFO_EARG, "got ':1' behind it");
    refused("logistic", DFO_EARG, "the rows are missing");
    refused("logistic:none.csv", DFO_EIO, "target logistic: none.csv");
    refused("logistic:none.csv#0:4", DFO_EIO, "none.csv");
    refused("logistic:none.csv:x", DFO_EARG, "expected a deviation above 0 behind the last colon, got 'x'");
    refused("logistic:none.csv#0:4:0", DFO_EARG, "got '0'");
    test_write(bad, "1,0\n2,1\n3,2\n", 12);
    snprintf(spec, sizeof spec, "logistic:%s", bad);
    refused(spec, DFO_EFORMAT, "row 2: expected 0 or 1 in the last column, got 2");
    snprintf(spec, sizeof spec, "logistic:%s#0:2", bad);
    dfo_named_target *t;
    OK(dfo_named_target_open(ctx, spec, &t));
    ck_assert_str_eq(t->columns[1], "x1");
    dfo_named_target_free(t);
    test_write(one, "1\n0\n", 4);
    snprintf(spec, sizeof spec, "logistic:%s", one);
    refused(spec, DFO_ESHAPE, "a last column of 0 and 1, got 2 rows of 1 numbers");
    ck_assert_uint_eq(dfo_ctx_bytes(ctx), 0);
    ck_assert_ptr_null(dfo_named_target_syntax(8));
    ck_assert_str_eq(dfo_named_target_syntax(7), "logistic:SPEC[:DEVIATION]");
}
END_TEST

static dfo_status work(dfo_ctx *c, void *data)
{
    dfo_named_target *t;
    dfo_status status = dfo_named_target_open(c, data, &t);
    dfo_named_target_free(t);
    return status;
}

START_TEST(no_memory)
{
    char text[1100];
    snprintf(text, sizeof text, "%s", _i ? "eight-schools" : logistic());
    ck_assert_uint_ge(oom_check(text, OOM_ALL, work, text), 4);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("targets");
    TCase *tests = tcase_create("targets");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_loop_test(tests, gradient, 0, (int)SPECS);
    tcase_add_loop_test(tests, normaliser, 0, 9);
    tcase_add_test(tests, schools);
    tcase_add_loop_test(tests, toys, 0, 2);
    tcase_add_test(tests, regression);
    tcase_add_test(tests, refusals);
    tcase_add_loop_test(tests, no_memory, 0, 2);
    suite_add_tcase(suite, tests);
    return test_run(suite);
}
