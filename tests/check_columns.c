/* The layer of a table's columns: known values of every kind, whole numbers and the probabilities of all outcomes, what is refused;
 * rows that lack something against the closed forms of a Gaussian.  */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <diffeo/flow.h>
#include "columns_impl.h"
#include "data/source_impl.h"
#include "layerfix.h"
#include "oom.h"
#include "util.h"

#define LOG_2PI 1.8378770664093454836
#define TOLERANCE (64 * (double)DFO_REAL_EPS)       /* a few roundings of numbers of order 1 */

static layerfix fix_new(const char *columns, const char *missing, size_t d, size_t rows)
{
    json_error_t error;
    json_t *list = json_loads(columns, 0, &error);
    ck_assert_msg(list != NULL, "%s: %s", columns, error.text);
    layerfix f = layerfix_new(json_pack("{s:s, s:o, s:s}", "type", "columns", "columns", list, "missing", missing), dfo_shape_vector(d), 0, rows);
    ck_assert_int_eq(layerfix_prepare(&f), DFO_OK);
    return f;
}

static double logit(double p)
{
    return log(p) - log1p(-p);
}

/* All but the grid of whole numbers.  */
START_TEST(maps)
{
    enum { D = 6 };
    static const char text[] = "[{\"kind\":\"real\"},{\"kind\":\"positive\"},{\"kind\":\"interval\",\"low\":-1,\"high\":3},"
                               "{\"kind\":\"interval\",\"high\":2},{\"kind\":\"interval\",\"low\":5},{\"kind\":\"periodic\",\"start\":-180,\"period\":360,\"cut\":-90}]";
    static const double x[D] = {0.7, 3, 0, -1, 7.5, 540};        /* 540 degrees: 180, three quarters of the way from -90; back as -180 */
    double z[D], again[D], there, here, want[D] = {0.7, log(3), logit(0.25), -log(3), log(2.5), logit(0.75)},
           slope = -log(3) - log(4 * 0.25 * 0.75) - log(3) - log(2.5) - log(360 * 0.75 * 0.25);
    layerfix f = fix_new(text, "refuse", D, 1);
    ck_assert_int_eq(f.bij->caps & (DFO_STOCHASTIC | DFO_NEEDS_INPUT), 0);
    ck_assert_int_eq(layerfix_forward(&f, 1, x, NULL, z, &there), DFO_OK);
    for (size_t j = 0; j < D; j++)
        ck_assert_msg(fabs(z[j] - want[j]) <= TOLERANCE, "column %zu: %.9g, not %.9g", j, z[j], want[j]);
    ck_assert_msg(fabs(there - slope) <= TOLERANCE, "log-det %.9g, not %.9g", there, slope);
    ck_assert_int_eq(layerfix_inverse(&f, 1, z, NULL, again, &here), DFO_OK);
    for (size_t j = 0; j < D - 1; j++)
        ck_assert_msg(fabs(again[j] - x[j]) <= 8 * TOLERANCE, "column %zu: back to %.9g from %.9g", j, again[j], x[j]);
    ck_assert_msg(fabs(again[5] + 180) <= 400 * TOLERANCE, "an angle of 540 comes back as %.9g", again[5]);
    ck_assert_msg(fabs(there + here) <= TOLERANCE, "log-dets %g and %g", there, here);
    layerfix_free(&f);
}
END_TEST

/* Values on the seam of a period are inside, and so is all that far latents become.  */
START_TEST(bounds)
{
    static const char text[] = "[{\"kind\":\"periodic\",\"start\":0,\"period\":360},{\"kind\":\"interval\",\"low\":0,\"high\":1},"
                               "{\"kind\":\"positive\"},{\"kind\":\"integer\",\"low\":-3,\"high\":5},{\"kind\":\"categorical\",\"count\":4}]";
    double seam[5] = {720, 0.5, 1, 0, 0}, z[5], x[5], logdet;
    layerfix f = fix_new(text, "refuse", 5, 1);
    ck_assert_int_eq(layerfix_forward(&f, 1, seam, NULL, z, &logdet), DFO_OK);
    ck_assert(isfinite(z[0]) && isfinite(logdet));
    for (int k = 0; k < 6; k++) {              /* however many turns away */
        double x0 = (double)(dfo_real)(k % 2 ? -1 : 1) * (k < 2 ? 1e9 : k < 4 ? 1e30 : IS_DOUBLE ? 1e300 : 3e38), turn = fmod((double)(dfo_real)x0, 360);
        seam[0] = x0;
        ck_assert_int_eq(layerfix_forward(&f, 1, seam, NULL, z, &logdet), DFO_OK);
        ck_assert_int_eq(layerfix_inverse(&f, 1, z, NULL, x, &logdet), DFO_OK);
        turn += turn < 0 ? 360 : 0;
        ck_assert_msg(fabs(x[0] - turn) < 360 * 1e3 * DFO_REAL_EPS, "%.9g became %.9g, expected %.9g", x0, x[0], turn);
    }
    for (int sign = -1; sign <= 1; sign += 2) {
        double far[5] = {80 * sign, 80 * sign, 80 * sign, 80 * sign, 80 * sign};
        ck_assert_int_eq(layerfix_inverse(&f, 1, far, NULL, x, &logdet), DFO_OK);
        ck_assert_msg(x[0] > 0 && x[0] < 360 && x[1] > 0 && x[1] < 1 && x[2] > 0, "%g %g %g", x[0], x[1], x[2]);
        ck_assert_msg(x[3] == (sign > 0 ? 5 : -3) && x[4] == (sign > 0 ? 3 : 0), "%g %g", x[3], x[4]);
    }
    layerfix_free(&f);
}
END_TEST

/* ---- whole numbers */

/* In evaluation x + an odd number of 64ths, exactly undone up to the largest that are taken; in training, and by further draws,
 * anything.  */
START_TEST(whole)
{
    enum { N = 200, D = 4 };
    static const char text[] = "[{\"kind\":\"integer\"},{\"kind\":\"integer\",\"low\":0},{\"kind\":\"integer\",\"low\":100,\"high\":109},"
                               "{\"kind\":\"categorical\",\"count\":3}]";
    static double x[N * D], z[N * D], again[N * D], back[N * D], logdet[N];
    test_rng rng = test_rng_new(test_seed());
    layerfix f = fix_new(text, "refuse", D, N);
    for (size_t i = 0; i < N; i++) {
        x[i * D] = (double)test_rng_between(&rng, 0, 131072) - 65536;
        x[i * D + 1] = (double)test_rng_between(&rng, 0, 2000);
        x[i * D + 2] = 100 + (double)test_rng_between(&rng, 0, 9);
        x[i * D + 3] = (double)test_rng_between(&rng, 0, 2);
    }
    ck_assert_int_eq(layerfix_forward(&f, N, x, NULL, z, logdet), DFO_OK);
    ck_assert_int_eq(layerfix_inverse(&f, N, z, NULL, back, logdet), DFO_OK);
    ck_assert(!memcmp(x, back, sizeof x));
    for (size_t i = 0; i < N; i++) {
        double k = (z[i * D] - x[i * D]) * 64;
        ck_assert_msg(k > 0 && k < 64 && fmod(k, 2) == 1, "%g added to %g", z[i * D] - x[i * D], x[i * D]);
    }
    f.t->run.key.step = 7;
    ck_assert_int_eq(layerfix_forward(&f, N, x, NULL, again, logdet), DFO_OK);
    ck_assert(!memcmp(z, again, sizeof z));
    for (int way = 0; way < 2; way++) {
        double odd = 0, same = 0;
        f.t->run.mode = way ? DFO_TRAIN : DFO_EVALUATE;
        f.t->run.draw = way ? 0 : 3;
        ck_assert_int_eq(layerfix_forward(&f, N, x, NULL, again, logdet), DFO_OK);
        for (size_t i = 0; i < N; i++) {
            double y = 100 + 10 / (1 + exp(-again[i * D + 2]));
            ck_assert_msg(floor(y) == x[i * D + 2], "%.9g of %g", y, x[i * D + 2]);
            odd += fabs(fmod((y - x[i * D + 2]) * 64, 2) - 1) < 1e-3;
            same += z[i * D + 2] == again[i * D + 2];
        }
        ck_assert_msg(odd < 0.05 * N && same < 0.05 * N, "%g on the grid, %g as before", odd, same);
    }
    layerfix_free(&f);
}
END_TEST

static double phi(double z)
{
    return 0.5 * erfc(-z / sqrt(2));
}

/* Over all outcomes of a number from 2 to 4 and three categories, under independent standard normal latents: each probability is the
 * product of two differences of the normal distribution function, and they sum to 1.  */
START_TEST(outcomes)
{
    enum { DRAWS = 4000 };
    static double x[2 * DRAWS], z[2 * DRAWS], logdet[DRAWS];
    double all = 0, error = 0;
    layerfix f = fix_new("[{\"kind\":\"integer\",\"low\":2,\"high\":4},{\"kind\":\"categorical\",\"count\":3}]", "refuse", 2, DRAWS);
    f.t->run.draw = 1;
    for (int a = 0; a < 3; a++)
        for (int b = 0; b < 3; b++) {
            double sum = 0, squares = 0, want = 1;
            for (int k = 0; k < 2; k++) {
                int at = k ? b : a;
                want *= (at < 2 ? phi(logit((at + 1) / 3.0)) : 1) - (at > 0 ? phi(logit(at / 3.0)) : 0);
            }
            for (size_t i = 0; i < DRAWS; i++) {
                x[2 * i] = 2 + a;
                x[2 * i + 1] = b;
            }
            ck_assert_int_eq(layerfix_forward(&f, DRAWS, x, NULL, z, logdet), DFO_OK);
            for (size_t i = 0; i < DRAWS; i++) {
                double p = exp(logdet[i] - 0.5 * (z[2 * i] * z[2 * i] + z[2 * i + 1] * z[2 * i + 1]) - LOG_2PI);
                sum += p / DRAWS;
                squares += p * p / DRAWS;
            }
            double spread = sqrt((squares - sum * sum) / DRAWS);
            ck_assert_msg(fabs(sum - want) <= 5 * spread, "%d %d: probability %g, not %g, error %g", a, b, sum, want, spread);
            ck_assert_msg(spread < 0.02 * want, "%d %d: error %g of %g", a, b, spread, want);
            all += sum;
            error += spread * spread;
        }
    ck_assert_msg(fabs(all - 1) <= 5 * sqrt(error), "probabilities sum to %g, error %g", all, sqrt(error));
    layerfix_free(&f);
}
END_TEST

/* Backward gives the rows back, and slopes at x + u.  */
START_TEST(backward)
{
    double x[3] = {3, 0.5, 1}, seed[3] = {0.7, -0.2, 1.5}, gx[3], back[3], z[3], logdet, one = 0.3;
    layerfix f = fix_new("[{\"kind\":\"integer\",\"low\":0,\"high\":9},{\"kind\":\"positive\"},{\"kind\":\"categorical\",\"count\":2}]", "refuse", 3, 1);
    ck_assert_int_eq(layerfix_grads(&f, 0, 1, x, NULL, seed, &one, gx, NULL, back), DFO_OK);
    ck_assert_int_eq(layerfix_forward(&f, 1, x, NULL, z, &logdet), DFO_OK);
    ck_assert(!memcmp(x, back, sizeof x));
    for (int j = 0; j < 3; j++) {
        double p = 1 / (1 + exp(-z[j])), range = j ? 2 : 10,
               want = j == 1 ? (seed[1] - one) / x[1] : (seed[j] + one * (2 * p - 1)) / (range * p * (1 - p));
        ck_assert_msg(fabs(gx[j] - want) <= TOLERANCE * (1 + fabs(want)), "column %d: slope %.9g, not %.9g", j, gx[j], want);
    }
    layerfix_free(&f);
}
END_TEST

START_TEST(refused)
{
    static const char text[] = "[{\"kind\":\"real\"},{\"kind\":\"positive\"},{\"kind\":\"interval\",\"low\":0,\"high\":1},{\"kind\":\"integer\"},"
                               "{\"kind\":\"integer\",\"low\":1,\"high\":6},{\"kind\":\"categorical\",\"count\":3}]";
    static const double good[6] = {0, 1, 0.5, -7, 6, 2};
    static const struct { size_t column; double value; const char *text; } bad[] = {
        {0, INFINITY, "row 1, column 0: inf"},
        {0, NAN, "row 1, column 0: NaN, but"},
        {1, 0, "row 1, column 1: 0 is not inside (0, inf) (positive)"},
        {2, 1, "row 1, column 2: 1 is not inside (0, 1) (interval)"},
        {3, 0.5, "row 1, column 3: 0.5 is not a whole number from -inf to inf (integer)"},
        {3, 1e30, "is not a whole number within"},
        {4, 7, "row 1, column 4: 7 is not a whole number from 1 to 6 (integer)"},
        {5, -1, "row 1, column 5: -1 is not a whole number from 0 to 2 (categorical)"},
    };
    static const struct { const char *json, *text; } made[] = {
        {"{\"type\":\"columns\"}", "columns: expected an array of 1"},
        {"{\"type\":\"columns\",\"columns\":[3]}", "column 0: expected an object"},
        {"{\"type\":\"columns\",\"columns\":[{\"kind\":\"complex\"}]}", "column 0: kind: expected real, positive"},
        {"{\"type\":\"columns\",\"columns\":[{\"kind\":\"real\",\"low\":1}]}", "unknown key 'low'"},
        {"{\"type\":\"columns\",\"columns\":[{\"kind\":\"interval\",\"low\":1,\"high\":1}]}", "nothing lies between 1 and 1"},
        {"{\"type\":\"columns\",\"columns\":[{\"kind\":\"integer\",\"low\":0.5}]}", "expected whole numbers"},
        {"{\"type\":\"columns\",\"columns\":[{\"kind\":\"integer\",\"low\":3,\"high\":2}]}", "expected whole numbers"},
        {"{\"type\":\"columns\",\"columns\":[{\"kind\":\"categorical\",\"count\":1}]}", "count"},
        {"{\"type\":\"columns\",\"columns\":[{\"kind\":\"periodic\",\"period\":0}]}", "period"},
        {"{\"type\":\"columns\",\"columns\":[{\"kind\":\"real\"}],\"missing\":\"zero\"}", "missing: expected refuse, marginalise or impute"},
    };
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
        double x[12], z[12], logdet[2];
        memcpy(x, good, sizeof good);
        memcpy(x + 6, good, sizeof good);
        x[6 + bad[k].column] = bad[k].value;
        layerfix f = fix_new(text, "refuse", 6, 2);
        ck_assert_int_eq(layerfix_forward(&f, 2, x, NULL, z, logdet), DFO_ENUM);
        ck_assert_msg(strstr(f.t->run.text, bad[k].text) != NULL, "%s", f.t->run.text);
        layerfix_free(&f);
    }
    for (size_t k = 0; k < sizeof made / sizeof *made; k++) {
        char said[512];
        ck_assert_int_eq(layerfix_try(made[k].json, dfo_shape_vector(1), said, sizeof said), DFO_EARG);
        ck_assert_msg(strstr(said, made[k].text) != NULL, "%s: %s", made[k].json, said);
    }
    char said[512];
    ck_assert_int_eq(layerfix_try("{\"type\":\"columns\",\"columns\":[]}", (dfo_shape){1, 2, 2}, said, sizeof said), DFO_ESHAPE);
}
END_TEST

/* ---- missing values: three columns of known mean and covariance, L L^T */

#define REALS "[{\"kind\":\"real\"},{\"kind\":\"real\"},{\"kind\":\"real\"}]"

static const double mu[3] = {1, -2, 0.5}, factor[3][3] = {{2, 0, 0}, {0.6, 0.8, 0}, {-0.5, 0.3, 0.4}};

static double covariance(int i, int j)
{
    double sum = 0;
    for (int k = 0; k < 3; k++)
        sum += factor[i][k] * factor[j][k];
    return sum;
}

/* log N(x), of one column or of three.  */
static double log_one(int j, double x)
{
    double s = covariance(j, j);
    return -0.5 * ((x - mu[j]) * (x - mu[j]) / s + log(s) + LOG_2PI);
}

static double log_three(const double *x)
{
    double sum = 0, w[3];
    for (int i = 0; i < 3; i++) {
        w[i] = x[i] - mu[i];
        for (int k = 0; k < i; k++)
            w[i] -= factor[i][k] * w[k];
        w[i] /= factor[i][i];
        sum -= 0.5 * (w[i] * w[i] + LOG_2PI) + log(factor[i][i]);
    }
    return sum;
}

static layerfix gaussian(const char *missing, size_t rows)
{
    size_t n;
    layerfix f = fix_new(REALS, missing, 3, rows);
    for (int i = 0; i < 3; i++) {
        layerfix_array(&f, "mean", &n)[i] = (dfo_real)mu[i];
        for (int j = 0; j < 3; j++)
            layerfix_array(&f, "covariance", &n)[3 * i + j] = (dfo_real)covariance(i, j);
    }
    return f;
}

/* If the model is that Gaussian itself, every draw gives the exact density of what is known: of nothing 0.  */
START_TEST(marginal)
{
    enum { N = 4 };
    double x[3 * N] = {NAN, -1.2, NAN, NAN, NAN, NAN, 0.3, NAN, NAN, 0.3, -1.2, 0.7}, z[3 * N], logdet[N],
           want[N] = {log_one(1, -1.2), 0, log_one(0, 0.3), log_three(x + 9)};
    layerfix f = gaussian("marginalise", N);
    ck_assert_int_eq(f.bij->caps & DFO_TAKES_MISSING, DFO_TAKES_MISSING);
    for (f.t->run.draw = 0; f.t->run.draw < 20; f.t->run.draw++) {
        ck_assert_int_eq(layerfix_forward(&f, N, x, NULL, z, logdet), DFO_OK);
        for (int i = 0; i < N; i++) {
            double got = log_three(z + 3 * i) + logdet[i];
            ck_assert_msg(fabs(got - want[i]) <= 16 * TOLERANCE, "row %d: log p %.9g, not %.9g", i, got, want[i]);
        }
        ck_assert_msg(z[1] == (double)(dfo_real)-1.2 && z[6] == (double)(dfo_real)0.3, "what is known moved: %g, %g", z[1], z[6]);
        ck_assert_msg(logdet[3] == 0, "log-det %g of a row that lacks nothing", logdet[3]);
    }
    layerfix_free(&f);
}
END_TEST

/* Filled entries have the conditional mean and variance, and the log-det is not theirs.  */
START_TEST(imputed)
{
    enum { N = 20000 };
    static double x[3 * N], z[3 * N], logdet[N];
    double known = 3, mean = 0, squares = 0, slope = covariance(1, 0) / covariance(0, 0), want = mu[1] + slope * (known - mu[0]),
           variance = covariance(1, 1) - slope * covariance(1, 0);
    layerfix f = gaussian("impute", N);
    for (size_t i = 0; i < N; i++) {
        x[3 * i] = known;
        x[3 * i + 1] = x[3 * i + 2] = NAN;
    }
    f.t->run.mode = DFO_TRAIN;
    ck_assert_int_eq(layerfix_forward(&f, N, x, NULL, z, logdet), DFO_OK);
    for (size_t i = 0; i < N; i++) {
        ck_assert(logdet[i] == 0 && z[3 * i] == known);
        mean += z[3 * i + 1] / N;
        squares += (z[3 * i + 1] - want) * (z[3 * i + 1] - want) / N;
    }
    ck_assert_msg(fabs(mean - want) <= 5 * sqrt(variance / N), "mean %g, not %g", mean, want);
    ck_assert_msg(fabs(squares / variance - 1) <= 5 * sqrt(2.0 / N), "variance %g, not %g", squares, variance);
    double first = z[1];
    f.t->run.key.step = 1;
    ck_assert_int_eq(layerfix_forward(&f, N, x, NULL, z, logdet), DFO_OK);
    ck_assert_msg(z[1] != first, "another step draws the same");
    layerfix_free(&f);
}
END_TEST

/* A NaN has no gradient, and comes back.  */
START_TEST(missing_backward)
{
    double x[3] = {0.5, NAN, 1}, seed[3] = {1, 2, 3}, gx[3], back[3], one = 1;
    layerfix f = gaussian("marginalise", 1);
    ck_assert_int_eq(layerfix_grads(&f, 0, 1, x, NULL, seed, &one, gx, NULL, back), DFO_OK);
    ck_assert(gx[0] == 1 && gx[1] == 0 && gx[2] == 3 && back[0] == 0.5 && isnan(back[1]) && back[2] == 1);
    layerfix_free(&f);
}
END_TEST

/* In training a row takes the draw that was chosen for it.  */
START_TEST(chosen)
{
    double x[6] = {NAN, 1, NAN, NAN, 1, NAN}, third[6], fifth[6], z[6], logdet[2];
    const uint32_t which[2] = {3, 5};
    layerfix f = gaussian("marginalise", 2);
    f.t->run.mode = DFO_TRAIN;
    f.t->run.draw = 3;
    ck_assert_int_eq(layerfix_forward(&f, 2, x, NULL, third, logdet), DFO_OK);
    f.t->run.draw = 5;
    ck_assert_int_eq(layerfix_forward(&f, 2, x, NULL, fifth, logdet), DFO_OK);
    f.t->run.draw = 0;
    f.t->run.chosen = which;
    ck_assert_int_eq(layerfix_forward(&f, 2, x, NULL, z, logdet), DFO_OK);
    ck_assert(!memcmp(z, third, 3 * sizeof *z) && !memcmp(z + 3, fifth + 3, 3 * sizeof *z));
    ck_assert(third[0] != fifth[0] && third[3] != fifth[3]);
    layerfix_free(&f);
}
END_TEST

/* A standard normal flow of two columns whose missing values are drawn with a standard deviation of s: log p of what is known, by many
 * draws, within its error; which is none for s = 1, and for s = 1.2 that of the weights s exp(-w^2 (s^2 - 1)/2), w ~ N(0, 1), whose
 * mean is 1 and mean square s^2 / sqrt(2 s^2 - 1).  */
START_TEST(estimated)
{
    enum { N = 3, DRAWS = 4000 };
    for (double s = 1; s < 1.3; s += 0.2) {
        dfo_ctx *c;
        dfo_store *store;
        dfo_flow *flow;
        dfo_flow_plan *plan;
        dfo_real x[2 * N] = {0.5, (dfo_real)NAN, (dfo_real)NAN, -1.5, 1, 2};
        double out[N], variance[N], spread = (s * s / sqrt(2 * s * s - 1) - 1) / DRAWS;
        json_t *config = json_loads("{\"bijector\":{\"type\":\"columns\",\"columns\":[{\"kind\":\"real\"},{\"kind\":\"real\"}],"
                                    "\"missing\":\"marginalise\"}}", 0, NULL);
        ck_assert_int_eq(dfo_ctx_new(&c), DFO_OK);
        ck_assert_int_eq(dfo_store_new(c, &store), DFO_OK);
        dfo_build build = {.ctx = c, .store = store, .seed = 7, .path = "flow", .shape = dfo_shape_vector(2)};
        ck_assert_msg(dfo_flow_new(&build, config, &flow) == DFO_OK, "%s", dfo_ctx_error(c));
        ck_assert_int_eq(dfo_flow_missing(flow), DFO_MISSING_INTEGRATED);
        for (int j = 0; j < 2; j++)
            dfo_store_buffers(store)[dfoi_columns_of(dfo_flow_bijector(flow))->covariance + 3 * (size_t)j] = (dfo_real)(s * s);
        ck_assert_int_eq(dfo_flow_plan_new(c, flow, 0, &plan), DFO_OK);
        ck_assert_int_eq(dfo_flow_log_prob_draws(plan, 0, dfo_batch_of(x, N, 2), NULL, 0, out, variance), DFO_EARG);
        ck_assert_msg(dfo_flow_log_prob_draws(plan, 0, dfo_batch_of(x, N, 2), NULL, DRAWS, out, variance) == DFO_OK, "%s", dfo_ctx_error(c));
        for (int i = 0; i < N; i++) {
            double known = i == 0 ? 0.25 : i == 1 ? 2.25 : 5, want = -0.5 * (known + (i < 2 ? 1 : 2) * LOG_2PI),
                   error = 5 * sqrt(variance[i]) + 16 * TOLERANCE;
            ck_assert_msg(fabs(out[i] - want) <= error, "s = %g, row %d: log p %.9g, not %.9g, error %g", s, i, out[i], want, error);
            ck_assert_msg(fabs(variance[i] - (i < 2 ? spread : 0)) <= 0.2 * spread + 1e-9, "s = %g, row %d: variance %g, not %g", s, i,
                          variance[i], spread);
        }
        dfo_flow_plan_free(plan);
        dfo_flow_free(flow);
        dfo_store_free(store);
        dfo_ctx_free(c);
        json_decref(config);
    }
}
END_TEST

/* ---- the fit of mean and covariance */

static dfo_batch rows_of(size_t n, dfo_real *x)
{
    test_rng rng = test_rng_new(11);
    for (size_t i = 0; i < n; i++) {
        double e[3];
        for (int k = 0; k < 3; k++)
            e[k] = test_rng_normal(&rng);
        for (int j = 0; j < 3; j++) {
            double sum = mu[j];
            for (int k = 0; k <= j; k++)
                sum += factor[j][k] * e[k];
            x[3 * i + (size_t)j] = (dfo_real)sum;
        }
        /* the second is known of large first ones alone: means of what is known are far off, those of the fit are not */
        if (x[3 * i] < 1)
            x[3 * i + 1] = (dfo_real)NAN;
        if (test_rng_real(&rng, 0, 1) < 0.2)
            x[3 * i + 2] = (dfo_real)NAN;
    }
    return dfo_batch_of(x, n, 3);
}

static dfo_status fit(dfo_ctx *c, layerfix *f, dfo_batch rows, int density)
{
    dfo_source *source;
    dfo_status status = dfo_source_rows(c, rows, &source);
    if (status)
        return status;
    source->allow_nan = 1;
    status = dfoi_columns_fit(f->bij, source, density);
    dfo_source_free(source);
    return status;
}

START_TEST(fitted)
{
    enum { N = 20000 };
    static dfo_real x[3 * N];
    size_t n;
    layerfix f = fix_new(REALS, "impute", 3, 1);
    dfo_status status = fit(f.ctx, &f, rows_of(N, x), 1);
    ck_assert_msg(status == DFO_OK, "%s", dfo_ctx_error(f.ctx));
    const dfo_real *mean = layerfix_array(&f, "mean", &n), *c = layerfix_array(&f, "covariance", &n);
    for (int i = 0; i < 3; i++) {          /* 5 errors of as many rows as are whole; what is missing makes them twice that at most */
        double s = sqrt(covariance(i, i));
        ck_assert_msg(fabs((double)mean[i] - mu[i]) <= 10 * s / sqrt(N), "mean %d: %g, not %g", i, (double)mean[i], mu[i]);
        for (int j = 0; j < 3; j++)
            ck_assert_msg(fabs((double)c[3 * i + j] - covariance(i, j)) <= 10 * sqrt(2.0 / N) * s * sqrt(covariance(j, j)),
                          "covariance %d, %d: %g, not %g", i, j, (double)c[3 * i + j], covariance(i, j));
    }
    layerfix_free(&f);
}
END_TEST

START_TEST(unfit)
{
    enum { N = 30 };
    static const char *const text[] = {"column 2 is missing in all rows", "column 2 is constant", "column 0: -1 is not inside"};
    for (int k = 0; k < 3; k++) {
        dfo_real x[3 * N];
        layerfix f = fix_new(k < 2 ? REALS : "[{\"kind\":\"positive\"},{\"kind\":\"real\"},{\"kind\":\"real\"}]", "impute", 3, 1);
        dfo_batch rows = rows_of(N, x);
        for (size_t i = 0; i < N; i++) {
            x[3 * i + 1] = k == 0 ? (dfo_real)NAN : k == 1 ? 4 : x[3 * i + 1];
            x[3 * i] = k == 2 ? -1 : x[3 * i];
        }
        ck_assert_int_eq(fit(f.ctx, &f, rows, 1), k < 2 ? DFO_EARG : DFO_ENUM);
        ck_assert_msg(strstr(dfo_ctx_error(f.ctx), text[k]) != NULL, "%s", dfo_ctx_error(f.ctx));
        layerfix_free(&f);
    }
}
END_TEST

static dfo_status made_and_fitted(dfo_ctx *c, void *data)
{
    static dfo_real x[3 * 40];
    dfo_bijector *bij = NULL;
    dfo_store *store = NULL;
    dfo_status status = dfo_store_new(c, &store);
    dfo_build build = {.ctx = c, .store = store, .seed = 7, .path = "b", .shape = dfo_shape_vector(3)};
    if (status == DFO_OK)
        status = dfo_bijector_new(&build, data, &bij);
    if (status == DFO_OK) {
        layerfix f = {.ctx = c, .bij = bij};
        status = fit(c, &f, rows_of(40, x), 1);
    }
    dfo_bijector_free(bij);
    dfo_store_free(store);
    return status;
}

START_TEST(memory_refused)
{
    json_t *config = json_pack("{s:s, s:o, s:s}", "type", "columns", "columns", json_loads(REALS, 0, NULL), "missing", "marginalise");
    oom_check("columns", OOM_OURS, made_and_fitted, config);
    json_decref(config);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("columns " DFO_REAL_NAME);
    TCase *t = tcase_create("columns");
    tcase_set_timeout(t, 60);
    tcase_add_test(t, maps);
    tcase_add_test(t, bounds);
    tcase_add_test(t, whole);
    tcase_add_test(t, outcomes);
    tcase_add_test(t, backward);
    tcase_add_test(t, refused);
    tcase_add_test(t, marginal);
    tcase_add_test(t, imputed);
    tcase_add_test(t, missing_backward);
    tcase_add_test(t, chosen);
    tcase_add_test(t, estimated);
    tcase_add_test(t, fitted);
    tcase_add_test(t, unfit);
    tcase_add_test(t, memory_refused);
    suite_add_tcase(suite, t);
    return test_run(suite);
}
