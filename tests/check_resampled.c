/* Proposals that a net accepts: what is the proposal's own density, and the gradient in training, which is right in the mean.  */
#include <check.h>
#include <math.h>
#include <string.h>

#include "distfix.h"
#include "util.h"

enum { ROWS = 64, STEPS = 400 };

static struct distfix f;
static dfo_real x[ROWS * 2];

static void open_with(size_t tries, size_t draws, size_t train_draws)
{
    json_t *config = json_pack("{s:s, s:{s:s, s:[i], s:s}, s:i, s:i, s:i}", "type", "resampled", "net", "type", "mlp", "hidden", 6, "activation",
                               "tanh", "tries", (int)tries, "draws", (int)draws, "train_draws", (int)train_draws);
    test_rng rng = test_rng_new(test_seed());
    distfix_open(&f, config, 2, 0, NULL, ROWS);
    for (size_t i = 0; i < ROWS * 2; i++)
        x[i] = (dfo_real)test_rng_normal(&rng);
}

static void shake(void)
{
    test_rng rng = test_rng_new(test_seed() + 1);
    for (size_t i = 0; i < dfo_store_weights_size(f.store); i++)
        dfo_store_weights(f.store)[i] += (dfo_real)(0.7 * test_rng_normal(&rng));
    distfix_prepare(&f);
}

static void close_it(void)
{
    json_t *config = f.config;
    distfix_close(&f);
    json_decref(config);
}

/* A net that says the same everywhere, or one try alone: the proposal.  */
START_TEST(proposal)
{
    static const size_t tries[] = {1, 2, 100, 100000};
    double got[ROWS];
    for (size_t k = 0; k < 4; k++) {
        open_with(tries[k], 100, 100);
        if (tries[k] == 1)
            shake();
        distfix_log_prob(&f, dfo_batch_of(x, ROWS, 2), NULL, got);
        for (size_t i = 0; i < ROWS; i++) {
            double a = (double)x[2 * i], b = (double)x[2 * i + 1], want = -0.5 * (a * a + b * b) - log(2 * acos(-1));
            ck_assert_msg(fabs(got[i] - want) < (sizeof(dfo_real) == 8 ? 1e-12 : 1e-5), "%zu tries: %.12g, expected %.12g", tries[k], got[i], want);
        }
        close_it();
    }
}
END_TEST

/* Gradients of weights by the key's row and step, for weights of rows that are all 1.  */
static void gradient(double *to)
{
    double ones[ROWS];
    size_t n = dfo_store_weights_size(f.store);
    for (size_t i = 0; i < ROWS; i++)
        ones[i] = 1;
    memset(f.grads, 0, n * sizeof *f.grads);
    f.run.grads = f.grads;
    ck_assert_int_eq(dfo_dist_log_prob_grad(f.dist, &f.run, dfo_batch_of(x, ROWS, 2), NULL, ones, (dfo_batch){0}, NULL), DFO_OK);
    for (size_t i = 0; i < n; i++)
        to[i] = (double)f.grads[i];
}

START_TEST(mean_gradient)
{
    static double want[64], got[64], sum[64], square[64];
    open_with(20, 300000, 2048);
    size_t n = dfo_store_weights_size(f.store);
    ck_assert_uint_le(n, 64);
    shake();
    f.run.mode = DFO_EVALUATE;
    distfix_prepare(&f);
    gradient(want);
    f.run.mode = DFO_TRAIN;
    for (size_t step = 0; step < STEPS; step++) {
        f.run.key.step = (uint32_t)step;
        f.run.key.row = step % 32 * ROWS;
        distfix_prepare(&f);
        gradient(got);
        for (size_t i = 0; i < n; i++) {
            sum[i] += got[i];
            square[i] += got[i] * got[i];
        }
    }
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(want[i]))                        /* what stands between arrays is not a number */
            continue;
        double mean = sum[i] / STEPS, error = sqrt(fmax(square[i] / STEPS - mean * mean, 0) / STEPS);
        ck_assert_msg(fabs(mean - want[i]) < 5 * error + 0.01 * (1 + fabs(want[i])), "weight %zu: %g +- %g, with all draws %g", i, mean, error,
                      want[i]);
    }
    close_it();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("resampled proposals (" DFO_REAL_NAME ")");
    TCase *tc = tcase_create("resampled");
    tcase_add_test(tc, proposal);
    tcase_add_test(tc, mean_gradient);
    suite_add_tcase(suite, tc);
    return test_run(suite);
}
