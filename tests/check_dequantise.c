/* Dequantisation, given its key: what is added, where it lies, probabilities of a toy of four bins, and that what
 * is no whole number is refused.  */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "layerfix.h"
#include "util.h"

#define ROWS 20000

static json_t *uniform(int bins)
{
    return json_pack("{s:s, s:i}", "type", "dequantise", "bins", bins);
}

/* An affine map of the logits whose scale and shift follow x.  */
static json_t *variational(int bins)
{
    return json_pack("{s:s, s:i, s:s, s:{s:s, s:b, s:{s:s, s:[i], s:s}}}", "type", "dequantise", "bins", bins, "kind",
                     "variational", "layer", "type", "affine", "zero_init", 0, "net", "type", "mlp", "hidden", 5,
                     "activation", "tanh");
}

/* Some widths of the added noise: those that the layer begins with, moved.  */
static layerfix fix_new(json_t *config, size_t d, size_t rows)
{
    layerfix f = layerfix_new(config, dfo_shape_vector(d), 0, rows);
    for (size_t i = 0; i < dfo_store_weights_size(f.store); i++)
        dfo_store_weights(f.store)[i] += (dfo_real)(0.2 * sin(3.0 * (double)i));
    dfo_store_touch(f.store);
    ck_assert_int_eq(layerfix_prepare(&f), DFO_OK);
    return f;
}

/* The density z/8 on (0, 4): the middle three quarters of bin x have probability 3 (2x + 1)/64, which is the mean of
 * (x + u)/8 / q(u | x) over the draws with u in (1/8, 7/8).  (Over all draws the mean is right, its spread infinite.)  */
static void probabilities(json_t *config, dfo_mode mode)
{
    layerfix f = fix_new(config, 1, ROWS);
    double *x = calloc(ROWS, sizeof *x), *z = calloc(ROWS, sizeof *z), *logdet = calloc(ROWS, sizeof *logdet), all = 0,
           error = 0;
    f.t->run.mode = mode;
    for (int bin = 0; bin < 4; bin++) {
        double sum = 0, squares = 0, want = 3 * (2 * bin + 1) / 64.0;
        for (size_t i = 0; i < ROWS; i++)
            x[i] = bin;
        ck_assert_int_eq(layerfix_forward(&f, ROWS, x, NULL, z, logdet), DFO_OK);
        for (size_t i = 0; i < ROWS; i++) {
            ck_assert_msg(floor(z[i]) == bin, "row %zu: %g of bin %d", i, z[i], bin);
            if (fabs(z[i] - bin - 0.5) > 0.375)
                continue;
            double p = z[i] / 8 * exp(logdet[i]);
            sum += p / ROWS;
            squares += p * p / ROWS;
        }
        double spread = sqrt((squares - sum * sum) / ROWS);
        ck_assert_msg(fabs(sum - want) <= 4 * spread + 2e-4, "bin %d: probability %g, not %g, error %g", bin, sum, want,
                      spread);
        all += sum;
        error += spread * spread;
    }
    ck_assert_msg(fabs(all - 0.75) <= 4 * sqrt(error) + 4e-4, "probabilities sum to %g, error %g", all, sqrt(error));
    free(x);
    free(z);
    free(logdet);
    layerfix_free(&f);
}

START_TEST(toy)
{
    probabilities(uniform(4), DFO_EVALUATE);
    probabilities(uniform(4), DFO_TRAIN);
    probabilities(variational(4), DFO_EVALUATE);
    probabilities(variational(4), DFO_TRAIN);
}
END_TEST

static void images(test_rng *rng, size_t n, int bins, double *x)
{
    for (size_t i = 0; i < n; i++)
        x[i] = (double)test_rng_between(rng, 0, (size_t)bins - 1);
}

/* In evaluation an odd number of 64ths, whatever the step; exact, and back again.  */
static void on_grid(json_t *config, int bins)
{
    enum { N = 50, D = 6 };
    double x[N * D], z[N * D], again[N * D], back[N * D], there[N], here[N];
    test_rng rng = test_rng_new(test_seed());
    layerfix f = fix_new(config, D, N);
    images(&rng, N * D, bins, x);
    ck_assert_int_eq(layerfix_forward(&f, N, x, NULL, z, there), DFO_OK);
    for (size_t i = 0; i < N * D; i++) {
        double k = (z[i] - x[i]) * 64;
        ck_assert_msg(k > 0 && k < 64 && fmod(k, 2) == 1, "%g added to %g", z[i] - x[i], x[i]);
    }
    f.t->run.key.step = 7;
    ck_assert_int_eq(layerfix_forward(&f, N, x, NULL, again, here), DFO_OK);
    ck_assert(!memcmp(z, again, sizeof z) && !memcmp(there, here, sizeof there));
    ck_assert_int_eq(layerfix_inverse(&f, N, z, NULL, back, here), DFO_OK);
    for (size_t i = 0; i < N; i++)
        ck_assert_msg(there[i] + here[i] == 0, "row %zu: log-dets %g and %g", i, there[i], here[i]);
    ck_assert(!memcmp(x, back, sizeof x));
    for (size_t i = 0; i < N * D; i++)                 /* as far off as the bins, and float there, allow */
        z[i] += (i % 2 ? 1 : -1) / (bins > 256 ? 80.0 : 65.0);
    ck_assert_int_eq(layerfix_inverse(&f, N, z, NULL, back, here), DFO_OK);
    ck_assert(!memcmp(x, back, sizeof x));
    f.t->run.key.seed = 2;
    ck_assert_int_eq(layerfix_forward(&f, N, x, NULL, again, here), DFO_OK);
    ck_assert(memcmp(z, again, sizeof z));
    layerfix_free(&f);
}

START_TEST(grid)
{
    on_grid(uniform(256), 256);
    on_grid(uniform(65536), 65536);
    on_grid(variational(256), 256);
}
END_TEST

/* In training anything between 0 and 1, other at every step; in evaluation other for every further draw.  */
static void continuous(json_t *config, int bins, dfo_mode mode)
{
    enum { N = 200, D = 20 };
    static double x[N * D], z[N * D], again[N * D], logdet[N];
    double sum = 0, odd = 0, same = 0;
    test_rng rng = test_rng_new(test_seed());
    layerfix f = fix_new(config, D, N);
    f.t->run.mode = mode;
    f.t->run.draw = mode == DFO_TRAIN ? 0 : 1;
    images(&rng, N * D, bins, x);
    ck_assert_int_eq(layerfix_forward(&f, N, x, NULL, z, logdet), DFO_OK);
    f.t->run.key.step = 1;
    f.t->run.draw *= 2;
    ck_assert_int_eq(layerfix_forward(&f, N, x, NULL, again, logdet), DFO_OK);
    for (size_t i = 0; i < N * D; i++) {
        ck_assert_msg(floor(z[i]) == x[i], "%.9g of %g", z[i], x[i]);
        sum += (z[i] - x[i]) / (N * D);
        odd += fmod((z[i] - x[i]) * 64, 2) == 1;
        same += z[i] == again[i];
    }
    ck_assert_msg(odd < 0.05 * N * D && same < 0.05 * N * D, "%g on the grid, %g as before", odd, same);
    ck_assert_msg(sum > 0.2 && sum < 0.8, "mean %g", sum);
    layerfix_free(&f);
}

START_TEST(training)
{
    continuous(uniform(256), 256, DFO_TRAIN);
    continuous(variational(256), 256, DFO_TRAIN);
    continuous(uniform(256), 256, DFO_EVALUATE);
    continuous(variational(256), 256, DFO_EVALUATE);
}
END_TEST

/* Far outside of its range latents become the nearest value.  */
START_TEST(range)
{
    static const double in[] = {-3.5, 0, 3.999, 4, 1e9}, want[] = {0, 0, 3, 3, 3};
    double out[5], logdet[1];
    layerfix f = fix_new(variational(4), 5, 1);
    ck_assert_int_eq(layerfix_inverse(&f, 1, in, NULL, out, logdet), DFO_OK);
    ck_assert(!memcmp(out, want, sizeof want) && isfinite(logdet[0]));
    layerfix_free(&f);
}
END_TEST

START_TEST(refused)
{
    static const struct { double value; const char *text; } bad[] = {
        {0.5, "row 1, column 2: 0.5 is not a whole number from 0 to 255"},
        {-1, "row 1, column 2: -1 is not a whole number from 0 to 255"},
        {256, "row 1, column 2: 256 is not a whole number from 0 to 255"},
        {NAN, "row 1, column 2: "},
    };
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
        double x[8] = {0, 1, 2, 3, 4, 5, bad[k].value, 7}, z[8], logdet[2];
        layerfix f = fix_new(uniform(256), 4, 2);
        ck_assert_int_eq(layerfix_forward(&f, 2, x, NULL, z, logdet), DFO_ENUM);
        ck_assert_msg(strstr(f.t->run.text, bad[k].text) != NULL, "%s", f.t->run.text);
        layerfix_free(&f);
    }
    char text[256];
    ck_assert_int_eq(layerfix_try("{\"type\":\"dequantise\",\"kind\":\"variational\",\"layer\":{\"type\":\"sigmoid\"}}",
                                  dfo_shape_vector(2), text, sizeof text), DFO_EUNSUP);
    ck_assert_msg(strstr(text, "sigmoid has no exact inverse") != NULL, "%s", text);
    ck_assert_int_eq(layerfix_try("{\"type\":\"dequantise\",\"layer\":{\"type\":\"affine\"}}", dfo_shape_vector(2), text,
                                  sizeof text), DFO_EARG);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("dequantisation " DFO_REAL_NAME);
    TCase *t = tcase_create("dequantise");
    tcase_set_timeout(t, 60);
    tcase_add_test(t, toy);
    tcase_add_test(t, grid);
    tcase_add_test(t, training);
    tcase_add_test(t, range);
    tcase_add_test(t, refused);
    suite_add_tcase(suite, t);
    return test_run(suite);
}
