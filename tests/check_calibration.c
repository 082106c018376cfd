/* Scores of predicted probabilities against values worked out by hand; the temperature against its closed form;
 * what is refused.  */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <diffeo/calibration.h>
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

/* Four rows, two classes: confidences 0.9 (right), 0.55 (wrong), 0.7 (right), 0.75 (wrong).  */
static const double probability[8] = {0.9, 0.1, 0.55, 0.45, 0.3, 0.7, 0.25, 0.75};
static const uint32_t label[4] = {0, 1, 1, 0};

static dfo_predictions four(double *logits)
{
    for (int i = 0; i < 8; i++)
        logits[i] = log(probability[i]) + 5 * (i / 2);         /* a constant a row changes nothing */
    return (dfo_predictions){.n = 4, .k = 2, .logits = logits, .label = label, .temperature = 1};
}

static void near(double got, double want)
{
    ck_assert_msg(fabs(got - want) <= 1e-14, "expected %.17g, got %.17g", want, got);
}

START_TEST(by_hand)
{
    double logits[8];
    dfo_predictions p = four(logits);
    dfo_calibration c;
    dfo_reliability table[5], mass[5];
    ck_assert_int_eq(dfo_calibration_measure(ctx, &p, 5, &c, table, mass), DFO_OK);
    near(c.accuracy, 0.5);
    near(c.nll, -(log(0.9) + log(0.45) + log(0.7) + log(0.25)) / 4);
    near(c.brier, (0.02 + 0.605 + 0.18 + 1.125) / 4);
    near(c.ece, 0.25 * 0.55 + 0.5 * 0.225 + 0.25 * 0.1);
    near(c.ece_classwise, 0.275);
    near(c.mce, 0.55);
    ck_assert_uint_eq(table[0].rows + table[1].rows, 0);
    ck_assert(isnan(table[0].accuracy) && isnan(table[0].confidence));
    ck_assert_uint_eq(table[3].rows, 2);
    near(table[3].low, 0.6);
    near(table[3].high, 0.8);
    near(table[3].confidence, 0.725);
    near(table[3].accuracy, 0.5);
    ck_assert_int_eq(dfo_calibration_measure(ctx, &p, 2, &c, NULL, mass), DFO_OK);
    near(c.ece_mass, 0.5 * 0.125 + 0.5 * 0.325);
    near(mass[0].low, 0.55);
    near(mass[0].high, 0.7);
    near(mass[1].confidence, 0.825);
}
END_TEST

/* More bins of equal mass than rows: empty ones count nothing.  */
START_TEST(few_rows)
{
    double logits[8];
    dfo_predictions p = four(logits);
    dfo_calibration c;
    dfo_reliability mass[15];
    ck_assert_int_eq(dfo_calibration_measure(ctx, &p, 15, &c, NULL, mass), DFO_OK);
    near(c.ece_mass, (0.1 + 0.55 + 0.3 + 0.75) / 4);
    size_t rows = 0;
    for (int i = 0; i < 15; i++)
        rows += mass[i].rows;
    ck_assert_uint_eq(rows, 4);
}
END_TEST

/* Logits far apart: no probability of the label is left, but its logarithm is.  */
START_TEST(far_logits)
{
    const double logits[6] = {2000, 0, -2000, 0, 0, 3000};
    const uint32_t y[2] = {2, 2};
    dfo_predictions p = {.n = 2, .k = 3, .logits = logits, .label = y, .temperature = 1};
    dfo_calibration c;
    ck_assert_int_eq(dfo_calibration_measure(ctx, &p, 15, &c, NULL, NULL), DFO_OK);
    near(c.nll, 2000);
    near(c.brier, 1);
    near(c.ece, 0.5);
    p.temperature = 1000;
    ck_assert_int_eq(dfo_calibration_measure(ctx, &p, 15, &c, NULL, NULL), DFO_OK);
    near(c.nll, (4 + log1p(exp(-2) + exp(-4)) + log1p(2 * exp(-3))) / 2);
    double q[6];
    dfo_calibration_softmax(&p, q);
    near(q[1], exp(-2) / (1 + exp(-2) + exp(-4)));
    near(q[3] + q[4] + q[5], 1);
}
END_TEST

/* Rows of logits (a, 0) of which the part q is of class 0: sigmoid(a/T) = q.  */
START_TEST(temperature)
{
    enum { N = 40 };
    double logits[2 * N], t;
    uint32_t y[N];
    for (int right = N / 2 + 1; right < N; right += 3)
        for (double a = 0.01; a < 200; a *= 7) {
            for (int i = 0; i < N; i++) {
                logits[2 * i] = a;
                logits[2 * i + 1] = 0;
                y[i] = i >= right;
            }
            dfo_predictions p = {.n = N, .k = 2, .logits = logits, .label = y};
            ck_assert_int_eq(dfo_calibration_temperature(ctx, &p, &t), DFO_OK);
            double want = a / log((double)right / (N - right));
            want = want < 1e-3 ? 1e-3 : want > 1e3 ? 1e3 : want;
            ck_assert_msg(fabs(t / want - 1) < 1e-9, "a = %g, %d of %d: expected %.12g, got %.12g", a, right, N, want, t);
        }
    for (int i = 0; i < N; i++)                       /* all right, all wrong: the ends of the range */
        y[i] = 0;
    dfo_predictions p = {.n = N, .k = 2, .logits = logits, .label = y};
    ck_assert_int_eq(dfo_calibration_temperature(ctx, &p, &t), DFO_OK);
    ck_assert(t > 0.999e-3 && t < 1.001e-3);
    for (int i = 0; i < N; i++)
        y[i] = 1;
    ck_assert_int_eq(dfo_calibration_temperature(ctx, &p, &t), DFO_OK);
    ck_assert(t > 999 && t < 1001);
}
END_TEST

/* No other temperature is better, on random predictions.  */
START_TEST(temperature_is_best)
{
    enum { N = 200, K = 7 };
    test_rng rng = test_rng_new(test_seed());
    double logits[N * K], t;
    uint32_t y[N];
    for (size_t i = 0; i < N; i++) {
        y[i] = (uint32_t)test_rng_between(&rng, 0, K - 1);
        for (size_t k = 0; k < K; k++)
            logits[i * K + k] = 4 * test_rng_normal(&rng) + 3 * (k == y[i]);
    }
    dfo_predictions p = {.n = N, .k = K, .logits = logits, .label = y, .temperature = 1};
    dfo_calibration best, other;
    ck_assert_int_eq(dfo_calibration_temperature(ctx, &p, &t), DFO_OK);
    p.temperature = t;
    ck_assert_int_eq(dfo_calibration_measure(ctx, &p, 15, &best, NULL, NULL), DFO_OK);
    for (double f = 0.25; f < 4; f *= 1.05) {
        p.temperature = t * f;
        ck_assert_int_eq(dfo_calibration_measure(ctx, &p, 15, &other, NULL, NULL), DFO_OK);
        ck_assert_msg(other.nll >= best.nll - 1e-12, "seed %llu: temperature %g is better than %g",
                      (unsigned long long)test_seed(), t * f, t);
        ck_assert_double_eq(other.accuracy, best.accuracy);
    }
}
END_TEST

static void refused(const dfo_predictions *p, size_t bins, const char *text)
{
    dfo_calibration c;
    ck_assert_int_eq(dfo_calibration_measure(ctx, p, bins, &c, NULL, NULL), DFO_EARG);
    ck_assert_msg(strstr(dfo_ctx_error(ctx), text) != NULL, "expected '%s', got '%s'", text, dfo_ctx_error(ctx));
}

START_TEST(refusals)
{
    double logits[8], t;
    dfo_predictions p = four(logits), q = p;
    const uint32_t bad[4] = {0, 1, 2, 0};
    refused(&p, 0, "bins must be at least 1");
    q.n = 0;
    refused(&q, 15, "no predictions");
    q = p;
    q.temperature = 0;
    refused(&q, 15, "temperature must be positive");
    q.temperature = NAN;
    refused(&q, 15, "temperature must be positive");
    q = p;
    q.label = bad;
    refused(&q, 15, "row 2: label 2, expected 0 to 1");
    ck_assert_int_eq(dfo_calibration_temperature(ctx, &q, &t), DFO_EARG);
    logits[5] = NAN;
    refused(&p, 15, "row 2: logit 1 is not finite");
}
END_TEST

static dfo_status work(dfo_ctx *c, void *data)
{
    double logits[8], t;
    dfo_predictions p = four(logits);
    dfo_calibration out;
    (void)data;
    dfo_status status = dfo_calibration_measure(c, &p, 15, &out, NULL, NULL);
    return status ? status : dfo_calibration_temperature(c, &p, &t);
}

START_TEST(no_memory)
{
    ck_assert_uint_eq(oom_check("calibration", OOM_ALL, work, NULL), 4);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("calibration");
    TCase *tests = tcase_create("calibration");
    tcase_add_checked_fixture(tests, open_ctx, close_ctx);
    tcase_add_test(tests, by_hand);
    tcase_add_test(tests, few_rows);
    tcase_add_test(tests, far_logits);
    tcase_add_test(tests, temperature);
    tcase_add_test(tests, temperature_is_best);
    tcase_add_test(tests, refusals);
    tcase_add_test(tests, no_memory);
    suite_add_tcase(suite, tests);
    return test_run(suite);
}
