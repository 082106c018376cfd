/* Densities of Markov chains of noise, whose net says nothing yet (zero): the bound against formulas of its mean, the same in training,
 * draws against what the chain makes, and a bound that is met.  */
#include <math.h>
#include <string.h>

#include "distfix.h"
#include "util.h"

#define STEPS 7
#define TIMES 4000

static void open_chain(struct distfix *f, json_t *json, const char *type, int learned)
{
    json_object_set_new(json, "type", json_string(type));
    json_object_set_new(json, "steps", json_integer(STEPS));
    json_object_set_new(json, "net", json_pack("{sssisi}", "type", "time-mlp", "hidden", 8, "layers", 1));
    if (learned)
        json_object_set_new(json, "learned", json_true());
    distfix_open(f, json, 2, 0, NULL, 64);
}

/* Mean and standard error of the bound of one row over many keys.  */
static void bound_of(struct distfix *f, const dfo_real *row, dfo_mode mode, double *mean, double *error)
{
    double sum = 0, squares = 0, out[64];
    dfo_real x[128];
    for (size_t i = 0; i < 64; i++)
        memcpy(x + 2 * i, row, 2 * sizeof *x);
    f->run.mode = mode;
    for (size_t k = 0; k < TIMES; k += 64) {
        f->run.key.row = k;
        f->run.key.step = (uint32_t)k;
        distfix_log_prob(f, dfo_batch_of(x, 64, 2), NULL, out);
        for (size_t i = 0; i < 64; i++) {
            sum += out[i];
            squares += out[i] * out[i];
        }
    }
    size_t n = (TIMES + 63) / 64 * 64;
    *mean = sum / (double)n;
    *error = sqrt(fmax(squares / (double)n - *mean * *mean, 0) / (double)n);
    f->run.mode = DFO_EVALUATE;
}

static double rate(size_t t)
{
    double first = 0.1 / STEPS, last = fmin(20.0 / STEPS, 0.999);
    return first + (last - first) * ((double)t - 1) / (STEPS - 1);
}

/* The mean of the Gaussian chain's bound: the way back is N(x_t (1 - b), b).  */
static double gaussian_bound(const dfo_real *row)
{
    double bound = 0, abar[STEPS + 1] = {1};
    for (size_t t = 1; t <= STEPS; t++)
        abar[t] = abar[t - 1] * (1 - rate(t));
    for (size_t j = 0; j < 2; j++) {
        double x = (double)row[j], end = abar[STEPS];
        bound -= 0.5 * (1 - end + end * x * x - 1 - log(1 - end));
        for (size_t t = 1; t <= STEPS; t++) {
            double b = rate(t), a = abar[t], p = abar[t - 1], c = t == 1 ? 1 : sqrt(p) * b / (1 - a),
                   k = (t == 1 ? 0 : sqrt(1 - b) * (1 - p) / (1 - a)) - (1 - b), v = b * (1 - p) / (1 - a),
                   shift = (c + k * sqrt(a)) * x, off = shift * shift + k * k * (1 - a);
            bound -= t == 1 ? 0.5 * (log(2 * acos(-1) * b) + off / b) : 0.5 * (log(b / v) + (v + off) / b - 1);
        }
    }
    return bound;
}

START_TEST(bounds)
{
    static const dfo_real rows[][2] = {{(dfo_real)0.3, (dfo_real)-1.2}, {2, 0}};
    for (int learned = 0; learned < 2; learned++) {
        json_t *json = json_object();
        struct distfix f;
        open_chain(&f, json, "diffusion-gaussian", learned);
        for (size_t k = 0; k < 2; k++)
            for (int mode = 0; mode < 2; mode++) {
                double mean, error, want = gaussian_bound(rows[k]);
                bound_of(&f, rows[k], mode ? DFO_TRAIN : DFO_EVALUATE, &mean, &error);
                ck_assert_msg(fabs(mean - want) < 5 * error + 1e-5, "row %zu, mode %d: bound %g +- %g, expected %g", k, mode, mean, error, want);
                ck_assert(error < (mode ? 0.5 : 0.1));
            }
        distfix_close(&f);
        json_decref(json);
    }
}
END_TEST

/* Independent bits are what the binary chain takes every x for while its net is zero: its bound is their law.  */
START_TEST(bits)
{
    json_t *json = json_object();
    struct distfix f;
    dfo_real row[2] = {1, 0}, x[128];
    double mean, error, count[4] = {0}, out[1] = {0};
    open_chain(&f, json, "diffusion-binary", 0);
    for (int mode = 0; mode < 2; mode++) {
        bound_of(&f, row, mode ? DFO_TRAIN : DFO_EVALUATE, &mean, &error);
        ck_assert_msg(fabs(mean + 2 * log(2)) < 5 * error + 1e-5, "mode %d: bound %g +- %g, expected %g", mode, mean, error, -2 * log(2));
    }
    for (size_t k = 0; k < TIMES; k += 64) {
        f.run.key.row = k;
        ck_assert_int_eq(dfo_dist_sample(f.dist, &f.run, dfo_batch_of(x, 64, 2), NULL, 1), DFO_OK);
        for (size_t i = 0; i < 64; i++) {
            ck_assert((x[2 * i] == 0 || x[2 * i] == 1) && (x[2 * i + 1] == 0 || x[2 * i + 1] == 1));
            count[(size_t)(2 * x[2 * i] + x[2 * i + 1])]++;
        }
    }
    for (size_t k = 0; k < 4; k++)
        ck_assert_msg(fabs(count[k] / TIMES - 0.25) < 0.04, "%zu drawn %g times of %d", k, count[k], TIMES);
    x[0] = (dfo_real)0.5;
    x[1] = 1;
    ck_assert_int_eq(dfo_dist_log_prob(f.dist, &f.run, dfo_batch_of(x, 1, 2), NULL, out), DFO_EARG);
    ck_assert_ptr_nonnull(strstr(f.run.text, "column 0: expected 0 or 1, got 0.5"));
    distfix_close(&f);
    json_decref(json);
}
END_TEST

/* The spread of the Gaussian chain's draws: v becomes (1 - b)^2 v + b from step to step.  */
START_TEST(draws)
{
    json_t *json = json_object();
    struct distfix f;
    dfo_real x[128];
    double v = 1, squares = 0;
    size_t n = 0;
    open_chain(&f, json, "diffusion-gaussian", 0);
    for (size_t t = STEPS; t; t--)
        v = (1 - rate(t)) * (1 - rate(t)) * v + rate(t);
    for (size_t k = 0; k < TIMES; k += 64) {
        f.run.key.row = k;
        ck_assert_int_eq(dfo_dist_sample(f.dist, &f.run, dfo_batch_of(x, 64, 2), NULL, 1), DFO_OK);
        for (size_t i = 0; i < 128; i++, n++)
            squares += (double)x[i] * (double)x[i];
    }
    ck_assert_msg(fabs(squares / (double)n / v - 1) < 5 * sqrt(2 / (double)n), "variance %g, expected %g", squares / (double)n, v);
    distfix_close(&f);
    json_decref(json);
}
END_TEST

/* Draws are scored by noise of their own: with the seed and the rows that drew them as with another seed.  */
START_TEST(scored)
{
    static const char *const types[] = {"diffusion-gaussian", "diffusion-binary"};
    json_t *json = json_object();
    struct distfix f;
    double mean[2] = {0}, squares[2] = {0}, out[64];
    dfo_real x[128];
    size_t n = 0;
    open_chain(&f, json, types[_i], 0);
    for (size_t k = 0; k < 16 * TIMES; k += 64, n += 64)
        for (size_t other = 0; other < 2; other++) {
            f.run.key.row = k;
            f.run.key.step = 0;
            f.run.key.seed = other;
            ck_assert_int_eq(dfo_dist_sample(f.dist, &f.run, dfo_batch_of(x, 64, 2), NULL, 1), DFO_OK);
            f.run.key.seed = 0;
            distfix_log_prob(&f, dfo_batch_of(x, 64, 2), NULL, out);
            for (size_t i = 0; i < 64; i++) {
                mean[other] += out[i];
                squares[other] += out[i] * out[i];
            }
        }
    for (size_t other = 0; other < 2; other++) {
        mean[other] /= (double)n;
        squares[other] = (squares[other] / (double)n - mean[other] * mean[other]) / (double)n;
    }
    ck_assert_msg(fabs(mean[0] - mean[1]) < 5 * sqrt(squares[0] + squares[1]), "%s: %g and %g, errors %g, %g", types[_i], mean[0], mean[1],
                  sqrt(squares[0]), sqrt(squares[1]));
    distfix_close(&f);
    json_decref(json);
}
END_TEST

/* Of two columns the first is known, of the Gaussian chain with noise s or without: a step times the likelihood takes a mean m to (1 - g) (1 - b)
 * m + g y and a variance v to (1 - g)^2 (1 - b)^2 v + (1 - g) b, g = b/(b + s^2).  The second is drawn as ever.  */
START_TEST(given_numbers)
{
    json_t *json = json_object();
    struct distfix f;
    dfo_real x[128], y[128];
    double noise = 0.7 * _i, m[2] = {0, 0}, v[2] = {1, 1}, sum[2] = {0}, squares[2] = {0}, n = (TIMES + 63) / 64 * 64;
    open_chain(&f, json, "diffusion-gaussian", 0);
    for (size_t t = STEPS; t; t--)
        for (int j = 0; j < 2; j++) {
            double b = rate(t), g = j ? 0 : b / (b + noise * noise);
            m[j] = (1 - g) * (1 - b) * m[j] + g * 1.5;
            v[j] = pow((1 - g) * (1 - b), 2) * v[j] + (1 - g) * b;
        }
    for (size_t i = 0; i < 128; i++)
        y[i] = i % 2 ? (dfo_real)NAN : (dfo_real)1.5;
    for (size_t k = 0; k < TIMES; k += 64) {
        f.run.key.row = k;
        ck_assert_msg(dfo_dist_sample_given(f.dist, &f.run, dfo_batch_of(x, 64, 2), NULL, 1, dfo_batch_of(y, 64, 2), noise) == DFO_OK, "%s", f.run.text);
        for (size_t i = 0; i < 128; i++) {
            double off = (double)x[i] - m[i % 2];
            sum[i % 2] += off;
            squares[i % 2] += off * off;
            ck_assert(i % 2 || noise > 0 || x[i] == y[i]);
        }
    }
    for (int j = noise > 0 ? 0 : 1; j < 2; j++) {
        ck_assert_msg(fabs(sum[j] / n) < 4 * sqrt(v[j] / n), "column %d: mean off by %g, standard error %g", j, sum[j] / n, sqrt(v[j] / n));
        ck_assert_msg(fabs(squares[j] / n / v[j] - 1) < 4 * sqrt(2 / n) + 1e-3, "column %d: variance %g, expected %g", j, squares[j] / n, v[j]);
    }
    distfix_close(&f);
    json_decref(json);
}
END_TEST

/* A bit that is wrong with the chance s: its chances from step to step, by both bits before.  */
START_TEST(given_bits)
{
    json_t *json = json_object();
    struct distfix f;
    dfo_real x[128], y[128];
    double noise = 0.2 * _i, one = 0.5, sum[2] = {0}, n = (TIMES + 63) / 64 * 64;
    open_chain(&f, json, "diffusion-binary", 0);
    double abar[STEPS + 1] = {1};
    for (size_t t = 1; t <= STEPS; t++)
        abar[t] = abar[t - 1] * (1 - 1 / (STEPS - (double)t + 1));
    for (size_t t = STEPS; t; t--) {
        double next = 0, r = abar[t - 1] > 0 ? abar[t] / abar[t - 1] : 0;
        for (int k = -1; k < 2; k += 2) {
            double w = (1 + abar[t] * k) / 2, q[2], p;
            for (int b = 0; b < 2; b++)
                q[b] = t == 1 ? b : 0.5 * (1 + r * k) * (1 + abar[t - 1] * (2 * b - 1)) / (1 + abar[t] * k * (2 * b - 1));
            p = w * q[1] + (1 - w) * q[0];
            p = p * (1 - noise) / (p * (1 - noise) + (1 - p) * noise);          /* the bit is given as 1 */
            next += (k > 0 ? one : 1 - one) * p;
        }
        one = next;
    }
    for (size_t i = 0; i < 128; i++)
        y[i] = i % 2 ? (dfo_real)NAN : 1;
    for (size_t k = 0; k < TIMES; k += 64) {
        f.run.key.row = k;
        ck_assert_msg(dfo_dist_sample_given(f.dist, &f.run, dfo_batch_of(x, 64, 2), NULL, 1, dfo_batch_of(y, 64, 2), noise) == DFO_OK, "%s", f.run.text);
        for (size_t i = 0; i < 128; i++)
            sum[i % 2] += (double)x[i];
    }
    ck_assert_msg(fabs(sum[0] / n - one) <= 4 * sqrt(one * (1 - one) / n), "%g of the known bits are 1, expected %g", sum[0] / n, one);
    ck_assert_msg(fabs(sum[1] / n - 0.5) < 4 * sqrt(0.25 / n), "%g of the other bits are 1", sum[1] / n);
    y[0] = (dfo_real)0.5;
    ck_assert_int_eq(dfo_dist_sample_given(f.dist, &f.run, dfo_batch_of(x, 64, 2), NULL, 1, dfo_batch_of(y, 64, 2), noise), DFO_EARG);
    ck_assert_ptr_nonnull(strstr(f.run.text, "column 0: expected 0 or 1, got 0.5"));
    distfix_close(&f);
    json_decref(json);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("chains of noise (" DFO_REAL_NAME ")");
    TCase *tc = tcase_create("markov");
    tcase_add_test(tc, bounds);
    tcase_add_test(tc, bits);
    tcase_add_test(tc, draws);
    tcase_add_loop_test(tc, scored, 0, 2);
    tcase_add_loop_test(tc, given_numbers, 0, 2);
    tcase_add_loop_test(tc, given_bits, 0, 2);
    suite_add_tcase(suite, tc);
    return test_run(suite);
}
