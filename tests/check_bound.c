/* The variational bound of diffusion's likelihood: against its mean in closed form where the net says 0, which is right for normal data if it
 * finds velocities, and wrong if it finds noise or data; below the exact density, by what is known; its own error; pixels; what is refused.  */
#include <jansson.h>
#include <math.h>
#include <string.h>

#include "cnf_impl.h"
#include "util.h"

enum { N = 3000, D = 2, DRAWS = 16 };
#define LOG_2PI 1.8378770664093454836

struct model {
    dfo_ctx   *ctx;
    dfo_store *store;
    dfo_flow  *flow;
    const dfoi_diffusion *diffusion;
};

static struct model model_of(const char *of, const char *predicts, size_t times, const char *before)
{
    struct model m = {0};
    char text[600];
    size_t at;
    ck_assert(dfo_ctx_new(&m.ctx) == DFO_OK && dfo_store_new(m.ctx, &m.store) == DFO_OK);
    dfo_build build = {.ctx = m.ctx, .store = m.store, .seed = 7, .path = "f", .shape = dfo_shape_vector(D)};
    snprintf(text, sizeof text, "{\"bijector\":{\"type\":\"chain\",\"layers\":[%s{\"type\":\"cnf\",\"zero_init\":true,\"net\":{\"type\":\"time-mlp\",\"hidden\":8,"
             "\"layers\":1},\"diffusion\":{\"schedule\":\"%s\",\"prediction\":\"%s\",\"times\":%zu}}]}}", before, of, predicts, times);
    json_t *config = json_loads(text, 0, NULL);
    ck_assert_msg(config && dfo_flow_new(&build, config, &m.flow) == DFO_OK, "%s", dfo_ctx_error(m.ctx));
    json_decref(config);
    const dfo_bijector *chain = dfo_flow_bijector(m.flow);
    m.diffusion = dfoi_cnf_diffusion(dfoi_chain_layer(chain, dfoi_chain_count(chain) - 1, &at));
    return m;
}

static void done(struct model *m)
{
    dfo_flow_free(m->flow);
    dfo_store_free(m->store);
    dfo_ctx_free(m->ctx);
}

static dfo_flow_bound *bound_of(struct model *m, size_t draws, uint64_t seed)
{
    dfo_flow_bound *b;
    ck_assert_msg(dfo_flow_bound_new(m->ctx, m->flow, draws, seed, &b) == DFO_OK, "%s", dfo_ctx_error(m->ctx));
    return b;
}

/* E |e - e(x)|^2 where the net says 0, the row's square being xx: e(x) = sigma x/n^2; 0; x/sigma.  */
static double error_of(const dfoi_diffusion *d, double t, double xx)
{
    dfo_noise_point p = dfo_noise_schedule_at(&d->schedule, t);
    double a = p.alpha * p.alpha, s = p.sigma * p.sigma, n = a + s;
    switch (d->prediction) {
    case DFOI_PREDICT_NOISE: return D;
    case DFOI_PREDICT_DATA: return a / s * xx;
    default: return a * (a * D + s * xx) / (n * n);
    }
}

static double log_snr(const dfoi_diffusion *d, double t)
{
    return dfo_noise_schedule_clock(&d->schedule, DFO_CLOCK_LOG_SNR, t);
}

/* The bound's mean: Simpson's rule over the log-SNR, or the chain's sum.  */
static double mean_of(const dfoi_diffusion *d, double xx)
{
    double noisy = d->noisy, times = (double)d->times, end = d->times ? 1 / times : d->first, sum = 0;
    size_t steps = (size_t)floor(noisy * times + 1e-9);    /* the chain begins at one of its own */
    noisy = d->times ? (double)steps / times : noisy;
    double from = log_snr(d, noisy);
    dfo_noise_point p = dfo_noise_schedule_at(&d->schedule, noisy), q = dfo_noise_schedule_at(&d->schedule, end);
    double n = p.alpha * p.alpha + p.sigma * p.sigma, parts = 4000, h = (log_snr(d, end) - from) / parts;
    for (size_t k = 2; k <= steps; k++) {
        double t = (double)k / times, before = (double)(k - 1) / times;
        sum += 0.5 * expm1(log_snr(d, before) - log_snr(d, t)) * error_of(d, t, xx);
    }
    for (double k = 0; k <= parts && !d->times; k++) {
        double t = k < 0.5 ? noisy : dfo_noise_schedule_time(&d->schedule, DFO_CLOCK_LOG_SNR, from + k * h);
        sum += (k < 0.5 || k > parts - 0.5 ? 1 : fmod(k, 2) > 0.5 ? 4 : 2) * h / 6 * error_of(d, t, xx);
    }
    double prior = D * (log(p.sigma * p.sigma / n) + 1) / 2 - (p.alpha * p.alpha * xx + p.sigma * p.sigma * D) / (2 * n);
    return prior - sum - D * (LOG_2PI / 2 + log(q.sigma / q.alpha)) - error_of(d, end, xx) / 2;
}

/* Of the model whose reverse is exact for normal data: x at the data's time normal of variance n^2, x_0 about alpha x/n^2.  The gap is
 * that of the normal law around alpha x_0 to that model's x given x_0.  */
static double exact_of(const dfoi_diffusion *d, double xx, double *gap)
{
    dfo_noise_point p = dfo_noise_schedule_at(&d->schedule, d->first);
    double a = p.alpha, s2 = p.sigma * p.sigma, n2 = a * a + s2, v = a * a / n2 + s2 / (a * a), narrow = (1 + a * a * a * a / (n2 * s2)) / n2,
           off = a - a * a * a / (n2 * s2 * narrow);
    *gap = D * (-log(narrow * s2) + narrow * s2 - 1) / 2 + narrow * off * off * xx / 2;
    return -D * (LOG_2PI + log(v)) / 2 - xx / (2 * v);
}

struct measured {
    double mean, error, told;              /* of the mean: its standard error, and what the bound says of it */
};

static struct measured measure(struct model *m, const dfo_real row[D], size_t draws)
{
    static dfo_real x[N * D];
    static double out[N], variance[N];
    double sum = 0, squares = 0, told = 0;
    dfo_flow_bound *b = bound_of(m, draws, test_seed());
    for (size_t i = 0; i < N * D; i++)
        x[i] = row[i % D];
    ck_assert_msg(dfo_flow_bound_log_prob(b, 0, dfo_batch_of(x, N, D), NULL, out, variance) == DFO_OK, "%s", dfo_ctx_error(m->ctx));
    dfo_flow_bound_free(b);
    for (size_t i = 0; i < N; i++) {
        sum += out[i];
        told += variance[i];
    }
    for (size_t i = 0; i < N; i++)
        squares += (out[i] - sum / N) * (out[i] - sum / N);
    return (struct measured){sum / N, sqrt(squares / (N - 1.0) / N), sqrt(told) / N};
}

static const char *const schedule[] = {"vp", "subvp", "ve", "edm", "scaled-linear", "cosine"};
static const dfo_real rows[2][D] = {{(dfo_real)0.3, (dfo_real)-1.2}, {(dfo_real)2.1, 0}};

START_TEST(means)
{
    static const struct { const char *predicts; size_t times; } kinds[] = {{"velocity", 0}, {"edm", 0}, {"noise", 0}, {"data", 0}, {"velocity", 10}, {"noise", 50}};
    for (size_t s = 0; s < sizeof schedule / sizeof *schedule; s++)
        for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
            if (kinds[k].times && !strcmp(schedule[s], "edm"))
                continue;                  /* its times are no steps */
            struct model m = model_of(schedule[s], kinds[k].predicts, kinds[k].times, "");
            const dfo_real *row = rows[(s + k) % 2];
            double xx = (double)(row[0] * row[0] + row[1] * row[1]), want = mean_of(m.diffusion, xx);
            struct measured got = measure(&m, row, DRAWS);
            ck_assert_msg(fabs(got.mean - want) < 5 * got.error + 1e-5 * fabs(want), "%s, %s, times %zu: %.9g +- %.2g, expected %.9g", schedule[s],
                          kinds[k].predicts, kinds[k].times, got.mean, got.error, want);
            ck_assert_msg(fabs(got.told / got.error - 1) < 0.15, "%s, %s: an error of %g is said to be %g", schedule[s], kinds[k].predicts, got.error, got.told);
            ck_assert(got.error < 0.02 * fabs(want) + 0.1);
            done(&m);
        }
}
END_TEST

/* A net that is right gives the density but for the known gap, any other less.  */
START_TEST(below_exact)
{
    for (size_t s = 0; s < 4; s++)
        for (size_t k = 0; k < 2; k++) {
            struct model right = model_of(schedule[s], "velocity", 0, ""), wrong = model_of(schedule[s], "noise", 0, "");
            double xx = (double)(rows[k][0] * rows[k][0] + rows[k][1] * rows[k][1]), gap, exact = exact_of(right.diffusion, xx, &gap);
            struct measured got = measure(&right, rows[k], DRAWS), less = measure(&wrong, rows[k], 4);
            ck_assert(gap > 0 && gap < 1e-3);
            ck_assert_msg(fabs(got.mean - (exact - gap)) < 5 * got.error + 1e-5, "%s: %.9g +- %.2g, expected %.9g less %.2g", schedule[s], got.mean, got.error,
                          exact, gap);
            ck_assert_msg(less.mean < exact - 1, "%s: %g of a wrong net, the density is %g", schedule[s], less.mean, exact);
            done(&right);
            done(&wrong);
        }
}
END_TEST

/* Four values, (x + u - 2)/2 with u on a grid of 32: log-probabilities of the bins, whose mean over u is the densities' and log 1/2 a column.  */
START_TEST(pixels)
{
    struct model m = model_of("vp", "velocity", 0, "{\"type\":\"dequantise\",\"bins\":4},{\"type\":\"rescale\",\"low\":1,\"high\":3},");
    double all = 0, error = 0;
    for (size_t a = 0; a < 4; a++)
        for (size_t b = 0; b < 4; b++) {
            struct measured got = measure(&m, (dfo_real[]){(dfo_real)a, (dfo_real)b}, DRAWS);
            double want = 0;
            for (size_t u = 0; u < 32; u++) {
                double v = ((double)u + 0.5) / 32, x = ((double)a + v - 2) / 2, y = ((double)b + v - 2) / 2;
                want += mean_of(m.diffusion, x * x + y * y) / 32;      /* linear in the squares: the columns' u are as good as one */
            }
            want -= 2 * log(2);
            ck_assert_msg(fabs(got.mean - want) < 5 * got.error + 1e-5, "%zu %zu: %.9g +- %.2g, expected %.9g", a, b, got.mean, got.error, want);
            all += exp(got.mean);
            error += exp(got.mean) * got.error;
        }
    double inside = erf(1 / sqrt(2));      /* of each column */
    ck_assert_msg(all < inside * inside + 5 * error && all > inside * inside - 0.05, "probabilities of all values sum to %g, exactly %g", all, inside * inside);
    done(&m);
}
END_TEST

/* The same for the same seed, whatever the blocks and threads; another for another one.  */
START_TEST(repeated)
{
    enum { ROWS = 300 };
    struct model m = model_of("vp", "noise", _i ? 10 : 0, "{\"type\":\"affine\"},");
    dfo_real x[ROWS * D], again[ROWS * D];
    double out[3][ROWS], variance[3][ROWS];
    size_t first = dfo_flow_block(m.flow);
    for (size_t i = 0; i < ROWS * D; i++)
        again[i] = x[i] = (dfo_real)cos(3.0 * (double)i);
    dfo_ctx_set_threads(m.ctx, 1);
    dfo_flow_bound *b = bound_of(&m, 8, 5);
    ck_assert_int_eq(dfo_flow_bound_log_prob(b, 0, dfo_batch_of(again, ROWS, D), NULL, out[0], variance[0]), DFO_OK);
    dfo_flow_bound_free(b);
    dfo_ctx_set_threads(m.ctx, 3);
    b = bound_of(&m, 8, 5);
    memcpy(again, x, sizeof x);
    ck_assert_int_eq(dfo_flow_bound_log_prob(b, 0, dfo_batch_of(again, first, D), NULL, out[1], variance[1]), DFO_OK);
    ck_assert_int_eq(dfo_flow_bound_log_prob(b, first, dfo_batch_of(again + first * D, ROWS - first, D), NULL, out[1] + first, variance[1] + first), DFO_OK);
    dfo_flow_bound_free(b);
    ck_assert(!memcmp(out[0], out[1], sizeof *out) && !memcmp(variance[0], variance[1], sizeof *out));
    b = bound_of(&m, 8, 6);
    memcpy(again, x, sizeof x);
    ck_assert_int_eq(dfo_flow_bound_log_prob(b, 0, dfo_batch_of(again, ROWS, D), NULL, out[2], variance[2]), DFO_OK);
    for (size_t i = 0; i < ROWS; i++)
        ck_assert(out[2][i] < out[0][i] || out[2][i] > out[0][i]);
    dfo_flow_bound_free(b);
    done(&m);
}
END_TEST

START_TEST(refused)
{
    struct model m = model_of("vp", "noise", 0, "");
    dfo_flow_bound *b;
    static const size_t bad[] = {0, 1, 7, 1000002};
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
        ck_assert_int_eq(dfo_flow_bound_new(m.ctx, m.flow, bad[k], 0, &b), DFO_EARG);
        ck_assert(!b && strstr(dfo_ctx_error(m.ctx), "an even number of draws"));
    }
    dfo_real x[2 * D] = {0};
    double out[2], variance[2];
    b = bound_of(&m, 2, 0);
    ck_assert_int_eq(dfo_flow_bound_log_prob(b, 0, dfo_batch_of(x, 2, D - 1), NULL, out, variance), DFO_ESHAPE);
    x[D] = NAN;
    ck_assert_int_eq(dfo_flow_bound_log_prob(b, 0, dfo_batch_of(x, 2, D), NULL, out, variance), DFO_ENUM);
    ck_assert_msg(strstr(dfo_ctx_error(m.ctx), "row 1") != NULL, "%s", dfo_ctx_error(m.ctx));
    dfo_flow_bound_free(b);
    done(&m);
    ck_assert(dfo_ctx_new(&m.ctx) == DFO_OK && dfo_store_new(m.ctx, &m.store) == DFO_OK);
    dfo_build build = {.ctx = m.ctx, .store = m.store, .path = "f", .shape = dfo_shape_vector(D)};
    json_t *config = json_pack("{s:{s:s}}", "bijector", "type", "affine");
    ck_assert_int_eq(dfo_flow_new(&build, config, &m.flow), DFO_OK);
    ck_assert_int_eq(dfo_flow_bound_new(m.ctx, m.flow, 2, 0, &b), DFO_EUNSUP);
    ck_assert(!b && strstr(dfo_ctx_error(m.ctx), "no diffusion layer"));
    json_decref(config);
    done(&m);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("bounds of diffusion's likelihood " DFO_REAL_NAME);
    TCase *t = tcase_create("bound");
    tcase_add_test(t, means);
    tcase_add_test(t, below_exact);
    tcase_add_test(t, pixels);
    tcase_add_loop_test(t, repeated, 0, 2);
    tcase_add_test(t, refused);
    suite_add_tcase(suite, t);
    return test_run(suite);
}
