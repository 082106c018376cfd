/* Draws of diffusion models where something is known: of correlated Gaussian data, whose predictor is linear, against the law that the
 * algorithm has there and against the exact conditional law, from which that law differs by what the steps leave; of flows, to the bit where
 * nothing is noisy; whatever the blocks; what is refused.  */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <diffeo/denoise.h>
#include <diffeo/flow.h>
#include "ctxfix.h"
#include "mixfield.h"
#include "util.h"

/* ---- a Gaussian of two columns, of which the first is known */

static const double mu[2] = {0.4, -0.3}, known = 1.3;

static mixture gaussian(double correlation)
{
    mixture m = {.data = 1, .n = 1, .w = {1}, .mean = {{mu[0], mu[1]}}, .cov = {{1, correlation, 1}}};
    OK(dfo_noise_schedule_named(ctx, "vp", &m.schedule));
    return m;
}

/* A normal law of two columns.  */
struct law {
    double mean[2], cov[3];                /* (0,0), (0,1), (1,1) */
};

/* x -> a x + b x_0(x) + c z.  */
static void go(const mixture *m, struct law *l, dfo_noise_point p, double a, double b, double c)
{
    double zero[2] = {0, 0}, at[2], jacobian[4], to[4], shift[2];
    mixture_at(m, p.t, zero, at, jacobian);
    for (int i = 0; i < 4; i++)
        to[i] = b * jacobian[i] + (i == 0 || i == 3 ? a : 0);
    for (int i = 0; i < 2; i++)
        shift[i] = to[2 * i] * l->mean[0] + to[2 * i + 1] * l->mean[1] + b * at[i];
    double s = l->cov[0], t = l->cov[1], u = l->cov[2];
    *l = (struct law){{shift[0], shift[1]},
                      {to[0] * to[0] * s + 2 * to[0] * to[1] * t + to[1] * to[1] * u + c * c,
                       to[0] * to[2] * s + (to[0] * to[3] + to[1] * to[2]) * t + to[1] * to[3] * u,
                       to[2] * to[2] * s + 2 * to[2] * to[3] * t + to[3] * to[3] * u + c * c}};
}

/* What is known of the first column, in the algorithm's words.  */
static void know(struct law *l, dfo_noise_point p, double noise)
{
    double left = p.sigma * p.sigma - p.alpha * p.alpha * noise * noise;
    if (left < -1e-6 * p.sigma * p.sigma)
        return;
    l->mean[0] = p.alpha * known;
    l->cov[0] = fmax(0, left);
    l->cov[1] = 0;
}

/* ancestral, or predictor-corrector with so many corrections of size snr, after the header's formulas.  */
static struct law law_of(const mixture *m, size_t steps, const double *t, size_t corrections, double snr, double noise)
{
    dfo_noise_point p = dfo_noise_schedule_at(&m->schedule, t[0]);
    struct law l = {{0, 0}, {1, 0, 1}};
    know(&l, p, noise);
    for (size_t i = 0; i < steps; i++) {
        p = dfo_noise_schedule_at(&m->schedule, t[i]);
        for (size_t k = 0; k < corrections && p.sigma * (1 + 1e-6) >= p.alpha * noise; k++) {
            double by = 2 * snr * snr;     /* x - 2 snr^2 sigma e, e = (x - alpha x_0)/sigma */
            go(m, &l, p, 1 - by, by * p.alpha, 2 * snr * p.sigma);
            know(&l, p, noise);
        }
        if (i + 1 == steps)
            break;
        dfo_noise_point q = dfo_noise_schedule_at(&m->schedule, t[i + 1]);
        if (corrections) {
            double h = q.t - p.t, by = h * p.g2 / (p.sigma * p.sigma);
            go(m, &l, p, 1 + h * p.drift + by, -by * p.alpha, sqrt(fabs(h * p.g2)));
        } else {
            double u = 1 - pow(p.alpha * q.sigma / (p.sigma * q.alpha), 2), c = q.sigma / p.sigma * sqrt(1 - u);
            go(m, &l, p, c, q.alpha - c * p.alpha, q.sigma * sqrt(u));
        }
        know(&l, q, noise);
    }
    go(m, &l, p, 0, 1, 0);
    return l;
}

static void levels_of(const dfo_noise_schedule *of, double from, size_t steps, double *t)
{
    t[0] = from;
    OK(dfo_noise_schedule_grid(ctx, of, &(dfo_time_grid){.kind = "log-snr", .from = from, .to = 1e-4}, steps - 1, t));
}

/* n draws with the columns of y known (NaN: not).  */
static void draws_of(mixture *m, const dfo_denoiser_options *o, size_t steps, const double *t, const double y[2], size_t n, dfo_real *x)
{
    dfo_field f = mixture_field(m);
    dfo_denoiser *r;
    test_rng rng = test_rng_new(test_seed() + 1);
    dfo_real *given = malloc(2 * n * sizeof *given);
    OK(dfo_denoiser_new(ctx, o, steps, t, &r));
    dfo_run run = {.arena_size = dfo_denoiser_scratch(r, &f, n)};
    run.arena = aligned_alloc(64, run.arena_size * sizeof *run.arena);
    ck_assert(run.arena && given);
    for (size_t i = 0; i < 2 * n; i++) {
        x[i] = (dfo_real)test_rng_normal(&rng);
        given[i] = (dfo_real)y[i % 2];
    }
    RUN(dfo_denoiser_run_given(r, &f, &run, dfo_batch_of(x, n, 2), dfo_batch_of(given, n, 2)));
    ck_assert_uint_eq(run.arena_used, 0);
    free(given);
    free(run.arena);
    dfo_denoiser_free(r);
}

/* A column's mean and variance within 4 standard errors of these.  */
static void like(const char *what, const dfo_real *x, size_t n, size_t column, double mean, double variance, double bias)
{
    double sum = 0, squares = 0, count = (double)n;
    for (size_t i = 0; i < n; i++)
        sum += (double)x[2 * i + column];
    for (size_t i = 0; i < n; i++)
        squares += pow((double)x[2 * i + column] - sum / count, 2);
    ck_assert_msg(fabs(sum / count - mean) < 4 * sqrt(variance / count) + bias, "%s: mean %g, expected %g +- %g", what, sum / count, mean,
                  sqrt(variance / count));
    ck_assert_msg(fabs(squares / (count - 1) / variance - 1) < 4 * sqrt(2 / count) + bias / variance, "%s: variance %g, expected %g", what,
                  squares / (count - 1), variance);
}

static dfo_denoiser_options options_of(const mixture *m, const char *sampler, size_t corrections)
{
    dfo_denoiser_options o;
    dfo_denoiser_defaults(&o);
    o.schedule = m->schedule;
    o.sampler = sampler;
    o.corrections = corrections;
    o.seed = test_seed();
    return o;
}

/* The second column, the first being known, with the noise of _i halves: the algorithm's law.  Its distance to the exact law N(mu_2 + c (y -
 * mu_1), 1 - c s), c = s = correlation without noise, is what few corrections leave; many leave a part of it.  */
START_TEST(second_column)
{
    enum { N = 4000, STEPS = 40 };
    double t[STEPS], noise = 0.5 * _i, gap[3];
    static const size_t corrections[3] = {0, 2, 40};
    mixture m = gaussian(0.8);
    dfo_real *x = malloc(2 * N * sizeof *x);
    ck_assert_ptr_nonnull(x);
    levels_of(&m.schedule, 1, STEPS, t);
    for (size_t k = 0; k < 3; k++) {
        dfo_denoiser_options o = options_of(&m, k ? "predictor-corrector" : "ancestral", corrections[k]);
        struct law want = law_of(&m, STEPS, t, corrections[k], 0.2, noise);
        o.snr = 0.2;
        o.given_noise = noise;
        draws_of(&m, &o, STEPS, t, (double[2]){known, NAN}, N, x);
        like("second column", x, N, 1, want.mean[1], want.cov[2], IS_DOUBLE ? 1e-9 : 1e-3);
        double gain = 0.8 / (1 + noise * noise);
        gap[k] = fabs(want.mean[1] - (mu[1] + gain * (known - mu[0])));
        for (size_t i = 0; i < N && noise <= 0; i++)
            ck_assert(x[2 * i] == (dfo_real)known);
    }
    if (!_i)
        ck_assert_msg(gap[2] < 0.5 * gap[0] && gap[2] < 0.1, "means off by %g, %g, %g", gap[0], gap[1], gap[2]);
    free(x);
}
END_TEST

/* What knows nothing of the other column: the law of the data, exactly.  */
START_TEST(independent)
{
    enum { N = 4000, STEPS = 150 };
    double t[STEPS];
    mixture m = gaussian(0);
    dfo_real *x = malloc(2 * N * sizeof *x);
    dfo_denoiser_options o = options_of(&m, "ancestral", 0);
    ck_assert_ptr_nonnull(x);
    levels_of(&m.schedule, 1, STEPS, t);
    draws_of(&m, &o, STEPS, t, (double[2]){known, NAN}, N, x);
    like("independent", x, N, 1, mu[1], 1, 0.03);
    free(x);
}
END_TEST

/* Denoising, all known with noise s: draws of p(x_0 | y) itself, N(mu + G (y - mu), C - G C) with G = C (C + s^2)^-1, but for the bias of 250
 * steps, some hundredths.  */
START_TEST(denoising)
{
    enum { N = 4000, STEPS = 250 };
    double t[STEPS], s = 0.6, y[2] = {known, -0.9}, c = 0.8, on = 1 + s * s, det = on * on - c * c;
    mixture m = gaussian(c);
    dfo_real *x = malloc(2 * N * sizeof *x);
    ck_assert_ptr_nonnull(x);
    double own = (on - c * c) / det, other = c * (on - 1) / det;                /* G */
    for (size_t k = 0; k < 3; k++) {       /* corrections below the noise would take the rows back to the prior */
        static const char *const sampler[3] = {"ancestral", "euler-maruyama", "predictor-corrector"};
        dfo_denoiser_options o = options_of(&m, sampler[k], 2);
        o.given_noise = s;
        levels_of(&m.schedule, dfo_noise_schedule_time(&m.schedule, DFO_CLOCK_CHI, s), STEPS, t);
        draws_of(&m, &o, STEPS, t, y, N, x);
        for (size_t j = 0; j < 2; j++)
            like(o.sampler, x, N, j, mu[j] + own * (y[j] - mu[j]) + other * (y[1 - j] - mu[1 - j]), 1 - own - other * c, 0.012);
    }
    free(x);
}
END_TEST

/* ---- flows */

enum { ROWS = 150, D = 3 };                /* more than a block of rows */

static dfo_store *store;

/* first: a layer before diffusion.  */
static dfo_flow *flow_of(const char *first)
{
    dfo_flow *flow;
    OK(dfo_store_new(ctx, &store));
    dfo_build build = {.ctx = ctx, .store = store, .seed = 7, .path = "f", .shape = dfo_shape_vector(D)};
    json_t *config = json_pack("{s:{s:s, s:[{s:s}, {s:s, s:b, s:{s:s, s:i, s:i}, s:{s:s, s:s}}]}}", "bijector", "type", "chain", "layers", "type", first,
                               "type", "cnf", "zero_init", 0, "net", "type", "time-mlp", "hidden", 8, "layers", 1, "diffusion", "schedule", "vp",
                               "prediction", "edm");
    OK(dfo_flow_new(&build, config, &flow));
    json_decref(config);
    return flow;
}

static void done(dfo_flow *flow)
{
    dfo_flow_free(flow);
    dfo_store_free(store);
}

/* Every sampler that takes it: what is known stays to the bit, in one call or in two.  */
START_TEST(flows)
{
    dfo_flow *flow = flow_of("affine");
    size_t first = dfo_flow_block(flow);
    dfo_real y[ROWS * D], x[ROWS * D], other[ROWS * D];
    ck_assert(first < ROWS);
    for (size_t i = 0; i < ROWS * D; i++)
        y[i] = i % 4 ? (dfo_real)cos(3.0 * (double)i) : (dfo_real)NAN;
    for (size_t i = 0; dfo_denoiser_kind_at(i); i++) {
        const dfo_denoiser_kind *kind = dfo_denoiser_kind_at(i);
        dfo_denoiser_options o;
        dfo_flow_denoiser *r;
        dfo_denoiser_defaults(&o);
        o.sampler = kind->name;
        o.churn = 3;
        OK(dfo_flow_denoiser_new(ctx, flow, &o, NULL, 6, &r));
        dfo_status status = dfo_flow_denoiser_draw_given(r, 0, dfo_batch_of(x, ROWS, D), NULL, dfo_batch_of(y, ROWS, D));
        if (!(kind->takes & DFO_TAKES_GIVEN)) {
            ck_assert(status == DFO_EUNSUP && !strcmp(kind->name, "rex") && strstr(dfo_ctx_error(ctx), "goes all the way at once"));
            dfo_flow_denoiser_free(r);
            continue;
        }
        ck_assert_msg(status == DFO_OK, "%s", dfo_ctx_error(ctx));
        OK(dfo_flow_denoiser_draw_given(r, 0, dfo_batch_of(other, first, D), NULL, dfo_batch_of(y, first, D)));
        OK(dfo_flow_denoiser_draw_given(r, first, dfo_batch_of(other + first * D, ROWS - first, D), NULL,
                                        dfo_batch_of(y + first * D, ROWS - first, D)));
        ck_assert_msg(!memcmp(x, other, sizeof x), "%s", kind->name);
        for (size_t k = 0; k < ROWS * D; k++)
            ck_assert(isfinite((double)x[k]) && (isnan(y[k]) || x[k] == y[k]));
        dfo_flow_denoiser_free(r);
    }
    done(flow);
}
END_TEST

/* Known whole, with hardly any noise: near what is known; with more the further off.  */
/* A column that is known with noise beside one that is not: their exact laws, as the net of velocities that is zero is right for normal
 * data.  Steps below the noise alone give the first its width.  */
START_TEST(partly)
{
    enum { N = 1500 };
    static const double noises[] = {0.1, 0.5, 2};
    dfo_flow *flow;
    dfo_real *y = malloc(2 * N * sizeof *y), *x = malloc(2 * N * sizeof *x);
    OK(dfo_store_new(ctx, &store));
    dfo_build build = {.ctx = ctx, .store = store, .seed = 7, .path = "f", .shape = dfo_shape_vector(2)};
    json_t *config = json_pack("{s:{s:s, s:[{s:s, s:b, s:{s:s, s:i, s:i}, s:{s:s, s:s}}]}}", "bijector", "type", "chain", "layers", "type", "cnf",
                               "zero_init", 1, "net", "type", "time-mlp", "hidden", 8, "layers", 1, "diffusion", "schedule", "vp", "prediction",
                               "velocity");
    OK(dfo_flow_new(&build, config, &flow));
    json_decref(config);
    for (size_t i = 0; i < N; i++) {
        y[2 * i] = (dfo_real)1.3;
        y[2 * i + 1] = NAN;
    }
    for (size_t k = 0; k < 6; k++) {
        double s = noises[k % 3], deviation = s / sqrt(1 + s * s);
        dfo_denoiser_options o;
        dfo_flow_denoiser *r;
        dfo_denoiser_defaults(&o);
        o.sampler = k < 3 ? "ancestral" : "euler-maruyama";
        o.given_noise = s;
        OK(dfo_flow_denoiser_new(ctx, flow, &o, NULL, 240, &r));
        OK(dfo_flow_denoiser_draw_given(r, 0, dfo_batch_of(x, N, 2), NULL, dfo_batch_of(y, N, 2)));
        for (size_t j = 0; j < 2; j++) {
            double mean = 0, squares = 0, want = j ? 0 : 1.3 / (1 + s * s), wide = j ? 1 : deviation;
            for (size_t i = 0; i < N; i++) {
                mean += (double)x[2 * i + j] / N;
                squares += pow((double)x[2 * i + j], 2) / N;
            }
            double got = sqrt(squares - mean * mean);
            ck_assert_msg(fabs(mean - want) < 0.1 * wide && got > 0.92 * wide && got < 1.08 * wide,
                          "%s, noise %g, column %zu: %g +- %g, expected %g +- %g", o.sampler, s, j + 1, mean, got, want, wide);
        }
        dfo_flow_denoiser_free(r);
    }
    free(y);
    free(x);
    done(flow);
}
END_TEST

START_TEST(whole)
{
    dfo_flow *flow = flow_of("affine");
    dfo_real y[ROWS * D], x[ROWS * D];
    double before = 0;
    for (size_t i = 0; i < ROWS * D; i++)
        y[i] = (dfo_real)cos(3.0 * (double)i);
    for (size_t k = 0; k < 3; k++) {
        dfo_denoiser_options o;
        dfo_flow_denoiser *r;
        double squares = 0;
        dfo_denoiser_defaults(&o);
        o.given_whole = 1;
        o.given_noise = k == 0 ? 0.05 : k == 1 ? 0.3 : 1;
        OK(dfo_flow_denoiser_new(ctx, flow, &o, NULL, 20, &r));
        OK(dfo_flow_denoiser_draw_given(r, 0, dfo_batch_of(x, ROWS, D), NULL, dfo_batch_of(y, ROWS, D)));
        for (size_t i = 0; i < ROWS * D; i++)
            squares += pow((double)x[i] - (double)y[i], 2) / (ROWS * D);
        ck_assert_msg(squares > before && (k || squares < 0.02), "noise %g: off by %g", o.given_noise, sqrt(squares));
        before = squares;
        dfo_flow_denoiser_free(r);
    }
    done(flow);
}
END_TEST

START_TEST(refused)
{
    dfo_flow *flow = flow_of("affine"), *mixed;
    dfo_denoiser_options o;
    dfo_flow_denoiser *r;
    dfo_flow_plan *plan;
    dfo_real x[2 * D] = {0}, y[2 * D] = {0};
    dfo_denoiser_defaults(&o);
    o.given_noise = -1;
    ck_assert_int_eq(dfo_flow_denoiser_new(ctx, flow, &o, NULL, 5, &r), DFO_EARG);
    ck_assert_msg(!r && strstr(dfo_ctx_error(ctx), "given -1"), "%s", dfo_ctx_error(ctx));
    o.given_noise = 1e-9;
    o.given_whole = 1;
    ck_assert_int_eq(dfo_flow_denoiser_new(ctx, flow, &o, NULL, 5, &r), DFO_EARG);
    ck_assert_msg(!r && strstr(dfo_ctx_error(ctx), "what the schedule has"), "%s", dfo_ctx_error(ctx));
    o.given_whole = 0;
    ck_assert_int_eq(dfo_flow_denoiser_new(ctx, flow, &o, NULL, 5, &r), DFO_EARG);
    ck_assert_msg(!r && strstr(dfo_ctx_error(ctx), "expected none, or from"), "%s", dfo_ctx_error(ctx));
    o.given_noise = 0.5;
    for (size_t k = 0; k < 3; k++) {
        static const char *const sampler[3] = {"langevin", "edm-heun", "edm-heun"};
        o.sampler = sampler[k];
        o.churn = k < 2 ? 10 : 0;
        ck_assert_int_eq(dfo_flow_denoiser_new(ctx, flow, &o, NULL, 5, &r), k < 2 ? DFO_EARG : DFO_OK);
        ck_assert_msg(k == 2 || (!r && strstr(dfo_ctx_error(ctx), "would forget it")), "%s", dfo_ctx_error(ctx));
        dfo_flow_denoiser_free(r);
    }
    dfo_denoiser_defaults(&o);
    OK(dfo_flow_denoiser_new(ctx, flow, &o, NULL, 5, &r));
    ck_assert_int_eq(dfo_flow_denoiser_draw_given(r, 0, dfo_batch_of(x, 2, D), NULL, dfo_batch_of(y, 1, D)), DFO_ESHAPE);
    dfo_flow_denoiser_free(r);
    OK(dfo_flow_plan_new(ctx, flow, 0, &plan));
    ck_assert_int_eq(dfo_flow_sample_given(plan, 1, 0, dfo_batch_of(x, 2, D), NULL, 1, dfo_batch_of(y, 2, D), 0), DFO_EUNSUP);
    ck_assert_msg(strstr(dfo_ctx_error(ctx), "the base normal has no draws") != NULL, "%s", dfo_ctx_error(ctx));
    dfo_flow_plan_free(plan);
    done(flow);
    mixed = flow_of("linear");
    OK(dfo_flow_denoiser_new(ctx, mixed, &o, NULL, 5, &r));
    ck_assert_int_eq(dfo_flow_denoiser_draw_given(r, 0, dfo_batch_of(x, 2, D), NULL, dfo_batch_of(y, 2, D)), DFO_EUNSUP);
    ck_assert_msg(strstr(dfo_ctx_error(ctx), "layer 0 (linear) mixes") != NULL, "%s", dfo_ctx_error(ctx));
    dfo_flow_denoiser_free(r);
    done(mixed);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("draws where something is known " DFO_REAL_NAME);
    TCase *t = tcase_create("given");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_loop_test(t, second_column, 0, 2);
    tcase_add_test(t, independent);
    tcase_add_test(t, denoising);
    tcase_add_test(t, flows);
    tcase_add_test(t, partly);
    tcase_add_test(t, whole);
    tcase_add_test(t, refused);
    suite_add_tcase(suite, t);
    return test_run(suite);
}
