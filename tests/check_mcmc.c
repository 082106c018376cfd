/* Markov chains: moments of known laws, detailed balance, acceptance; summaries against a reference and known laws; weights.  */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <diffeo/mcmc.h>
#include "chainfix.h"
#include "ctxfix.h"
#include "dist/tail_impl.h"
#include "oom.h"
#include "util.h"

static const char *const kinds[] = {"random walk", "MALA", "HMC"};

static void near(double got, double want, double within, const char *what, const char *of)
{
    ck_assert_msg(fabs(got - want) <= within, "%s, %s: expected %.12g within %g, got %.12g (seed %llu)", of, what, want, within, got,
                  (unsigned long long)test_seed());
}

/* Means, and variances as means of squares about the true mean, within 5 standard errors that their own ESS gives.  */
static void check_moments(const chain_target *t, size_t chains, size_t draws, const double *x, double least_ess, double most_rhat)
{
    size_t d = t->target.d;
    double *both = malloc(chains * draws * 2 * d * sizeof *both);
    dfo_mcmc_summary s[20];
    for (size_t i = 0; i < chains * draws; i++)
        for (size_t k = 0; k < d; k++) {
            both[i * 2 * d + k] = x[i * d + k];
            both[i * 2 * d + d + k] = pow(x[i * d + k] - t->mean[k], 2);
        }
    OK(dfo_mcmc_summarise(ctx, chains, draws, 2 * d, both, s));
    for (size_t k = 0; k < d; k++) {
        ck_assert_msg(s[k].rhat < most_rhat && s[k].ess > least_ess && s[k].ess_bulk > least_ess && s[k].ess_tail > least_ess / 2,
                      "%s, column %zu: R-hat %g, ESS %g, %g, %g (seed %llu)", t->name, k + 1, s[k].rhat, s[k].ess, s[k].ess_bulk,
                      s[k].ess_tail, (unsigned long long)test_seed());
        near(s[k].mean, t->mean[k], 5 * s[k].error, "mean", t->name);
        near(s[d + k].mean, t->variance[k], 5 * s[d + k].error, "variance", t->name);
    }
    free(both);
}

static void starts(const chain_target *t, size_t chains, double *to)
{
    test_rng rng = test_rng_new(test_seed());
    for (size_t i = 0; i < chains * t->target.d; i++)
        to[i] = t == chain_target_at(CHAIN_HALF) ? test_rng_real(&rng, 0.1, 2) : 2 * test_rng_normal(&rng);
}

START_TEST(moments)
{
    static const struct {
        dfo_mcmc_kind kind;
        size_t target, chains, draws;
        double acceptance, ess;                    /* 0: the usual one.  Tails that are steep want shorter steps */
    } rows[] = {{DFO_HMC, CHAIN_NORMAL, 4, 2000, 0, 500},      {DFO_MALA, CHAIN_NORMAL, 8, 6000, 0, 200},
                {DFO_METROPOLIS, CHAIN_NORMAL, 16, 12000, 0, 200}, {DFO_HMC, CHAIN_BANANA, 8, 3000, 0.95, 300},
                {DFO_HMC, CHAIN_FUNNEL, 8, 3000, 0.95, 300},   {DFO_MALA, CHAIN_BANANA, 16, 8000, 0.9, 200},
                {DFO_METROPOLIS, CHAIN_BANANA, 16, 8000, 0, 200}, {DFO_HMC, CHAIN_HALF, 4, 3000, 0, 500},
                {DFO_METROPOLIS, CHAIN_HALF, 4, 5000, 0, 300}};
    const chain_target *t = chain_target_at(rows[_i].target);
    dfo_mcmc_options o;
    dfo_mcmc_report r;
    dfo_mcmc_defaults(rows[_i].kind, &o);
    o.chains = rows[_i].chains;
    o.draws = rows[_i].draws;
    o.leapfrog = 8;
    o.seed = test_seed();
    o.warmup *= 2;
    o.acceptance = rows[_i].acceptance > 0 ? rows[_i].acceptance : o.acceptance;
    double *x = malloc(o.chains * o.draws * t->target.d * sizeof *x), *logp = malloc(o.chains * o.draws * sizeof *logp), start[160], want;
    starts(t, o.chains, start);
    OK(dfo_mcmc_run(ctx, &t->target, &o, start, x, logp, &r));
    near(r.acceptance, o.acceptance, 0.12, kinds[o.kind], "acceptance");
    check_moments(t, o.chains, o.draws, x, rows[_i].ess, o.kind == DFO_HMC ? 1.05 : 1.1);
    for (size_t i = 0; i < o.chains * o.draws; i += 97) {
        OK(t->target.log_prob(&t->target, 1, x + i * t->target.d, &want, NULL));
        ck_assert(logp[i] == want);
    }
    ck_assert(r.evaluations >= o.chains * (o.draws + o.warmup) && r.step > 0);
    free(x);
    free(logp);
}
END_TEST

/* A two-sided law on a line, a third of it about -1 and two thirds about 2: log p and its derivative.  */
static dfo_status two(const dfo_target *target, size_t n, const double *x, double *out, double *g)
{
    (void)target;
    for (size_t i = 0; i < n; i++) {
        double a = log(1.0 / 3 / 0.5) - 2 * pow(x[i] + 1, 2), b = log(2.0 / 3) - 0.5 * pow(x[i] - 2, 2), top = fmax(a, b);
        out[i] = top + log(exp(a - top) + exp(b - top));
        if (g)
            g[i] = exp(a - out[i]) * -4 * (x[i] + 1) - exp(b - out[i]) * (x[i] - 2);
    }
    return DFO_OK;
}

static int rising(const void *p, const void *q)
{
    double a = *(const double *)p, b = *(const double *)q;
    return (a > b) - (a < b);
}

static double two_below(double x)
{
    return erfc(-(x + 1) * 2 * M_SQRT1_2) / 6 + erfc(-(x - 2) * M_SQRT1_2) / 3;
}

/* From exact draws one iteration: the law is the same again, and from any part of the line to any other go as many as back.  */
START_TEST(detailed_balance)
{
    enum { N = 20000, BINS = 5 };
    static const double edge[BINS - 1] = {-1.2, -0.6, 1, 2.3};
    static double x[N], y[N];
    const dfo_target target = {.d = 1, .log_prob = two};
    test_rng rng = test_rng_new(test_seed());
    size_t count[BINS][BINS] = {{0}};
    dfo_mcmc_options o;
    dfo_mcmc_report r;
    dfo_mcmc_defaults((dfo_mcmc_kind)_i, &o);
    o.chains = N;
    o.warmup = 0;
    o.draws = 1;
    o.step = _i == DFO_HMC ? 0.6 : 0.9;
    o.leapfrog = 3;
    o.seed = test_seed();
    for (size_t i = 0; i < N; i++)
        x[i] = test_rng_real(&rng, 0, 1) < 1.0 / 3 ? -1 + 0.5 * test_rng_normal(&rng) : 2 + test_rng_normal(&rng);
    OK(dfo_mcmc_run(ctx, &target, &o, x, y, NULL, &r));
    ck_assert_msg(r.acceptance > 0.3 && r.acceptance < 0.97, "%s: acceptance %g", kinds[_i], r.acceptance);
    for (size_t i = 0; i < N; i++) {
        size_t from = 0, to = 0;
        for (size_t b = 0; b < BINS - 1; b++) {
            from += x[i] > edge[b];
            to += y[i] > edge[b];
        }
        count[from][to]++;
    }
    for (size_t a = 0; a < BINS; a++)
        for (size_t b = 0; b < a; b++)
            ck_assert_msg(fabs((double)count[a][b] - (double)count[b][a]) <= 5 * sqrt((double)(count[a][b] + count[b][a])) + 1,
                          "%s: %zu go from %zu to %zu, %zu back (seed %llu)", kinds[_i], count[a][b], a, b, count[b][a],
                          (unsigned long long)test_seed());
    ck_assert(count[1][2] + count[2][1] + count[3][2] + count[2][3] > 500);
    double most = 0;
    qsort(y, N, sizeof *y, rising);
    for (size_t i = 0; i < N; i++)
        most = fmax(most, fmax(two_below(y[i]) - (double)i / N, (double)(i + 1) / N - two_below(y[i])));
    ck_assert_msg(dfoi_kolmogorov_tail(most, N) > 1e-6, "%s: distance %g (seed %llu)", kinds[_i], most, (unsigned long long)test_seed());
}
END_TEST

/* Bits depend on the seed alone; without warm-up the step stays.  */
START_TEST(same_bits)
{
    const chain_target *t = chain_target_at(CHAIN_BANANA);
    dfo_mcmc_options o;
    dfo_mcmc_report r, again;
    double start[8], x[2][4 * 50 * 2];
    dfo_mcmc_defaults(DFO_HMC, &o);
    o.draws = 50;
    o.warmup = 60;
    o.seed = test_seed();
    starts(t, 4, start);
    OK(dfo_mcmc_run(ctx, &t->target, &o, start, x[0], NULL, &r));
    OK(dfo_mcmc_run(ctx, &t->target, &o, start, x[1], NULL, &again));
    ck_assert(!memcmp(x[0], x[1], sizeof x[0]) && !memcmp(&r, &again, sizeof r));
    o.seed++;
    OK(dfo_mcmc_run(ctx, &t->target, &o, start, x[1], NULL, &again));
    ck_assert(memcmp(x[0], x[1], sizeof x[0]));
    o.warmup = 0;
    o.step = 0.25;
    OK(dfo_mcmc_run(ctx, &t->target, &o, start, x[1], NULL, &again));
    ck_assert(again.step == 0.25);
    o.step = 1000;                                 /* every proposal is far off */
    OK(dfo_mcmc_run(ctx, &t->target, &o, start, x[1], NULL, &again));
    ck_assert(again.divergences == 200 && again.acceptance == 0 && !memcmp(x[1], start, 2 * sizeof *start));
}
END_TEST

static dfo_status fails(const dfo_target *target, size_t n, const double *x, double *out, double *g)
{
    (void)target, (void)n, (void)x, (void)out, (void)g;
    return DFO_EIO;
}

static dfo_status flat_lie(const dfo_target *target, size_t n, const double *x, double *out, double *g)
{
    (void)target, (void)x;
    memset(out, 0, n * sizeof *out);
    memset(g, 0, n * sizeof *g);
    return DFO_OK;
}

START_TEST(refusals)
{
    const chain_target *t = chain_target_at(CHAIN_HALF);
    const dfo_target broken = {.d = 1, .log_prob = fails}, flat = {.d = 1, .log_prob = flat_lie};
    dfo_mcmc_options good, o;
    dfo_mcmc_report r;
    double start[4] = {1, 1, -1, 1}, x[4000];
    dfo_mcmc_defaults(DFO_HMC, &good);
#define BAD(change, target, status, text)                                                                        \
    do {                                                                                                         \
        o = good;                                                                                                \
        change;                                                                                                  \
        ck_assert_int_eq(dfo_mcmc_run(ctx, target, &o, start, x, NULL, &r), status);                             \
        ck_assert_msg(strstr(dfo_ctx_error(ctx), text) != NULL, "%s", dfo_ctx_error(ctx));                       \
    } while (0)
    BAD((void)0, &t->target, DFO_ENUM, "mcmc: chain 2 starts where log p is -inf");
    start[2] = 1;
    BAD(o.chains = 0, &t->target, DFO_EARG, "no columns, chains or draws");
    BAD(o.draws = 0, &t->target, DFO_EARG, "no columns, chains or draws");
    BAD(o.leapfrog = 0, &t->target, DFO_EARG, "leapfrog: expected 1 to");
    BAD(o.step = -1, &t->target, DFO_EARG, "step: expected a number above 0, or 0, got -1");
    BAD(o.step = NAN, &t->target, DFO_EARG, "step:");
    BAD(o.acceptance = 1, &t->target, DFO_EARG, "acceptance: expected a number between 0 and 1, got 1");
    BAD(o.warmup = (size_t)1 << 40, &t->target, DFO_EARG, "at most");
    BAD((void)0, &broken, DFO_EIO, "the target's density failed");
    BAD((void)0, &flat, DFO_ENUM, "no step was found");
    dfo_mcmc_summary s;
    dfo_weight_summary w;
    double weight[2] = {-INFINITY, -INFINITY};
    size_t places[2];
    memset(x, 0, sizeof x);
    ck_assert_int_eq(dfo_mcmc_summarise(ctx, 1, 3, 1, x, &s), DFO_EARG);
    ck_assert_int_eq(dfo_mcmc_summarise(ctx, 0, 9, 1, x, &s), DFO_EARG);
    OK(dfo_mcmc_summarise(ctx, 1, 9, 1, x, &s));
    ck_assert(isnan(s.rhat) && isnan(s.ess) && s.mean == 0 && s.deviation == 0);
    for (size_t i = 0; i < 8; i++)
        x[i] = i < 4 ? 1 : 2;              /* two chains, each of them stuck */
    OK(dfo_mcmc_summarise(ctx, 2, 4, 1, x, &s));
    ck_assert_msg(isinf(s.rhat) && s.rhat > 0, "R-hat %g", s.rhat);
    x[7] = NAN;
    ck_assert_int_eq(dfo_mcmc_summarise(ctx, 2, 4, 2, x, &s), DFO_ENUM);
    ck_assert_str_eq(dfo_ctx_error(ctx), "mcmc: chain 0, draw 3, column 2 is not finite");
    ck_assert_int_eq(dfo_weights_summarise(ctx, 2, weight, &w), DFO_EARG);
    ck_assert_int_eq(dfo_weights_summarise(ctx, 0, weight, &w), DFO_EARG);
    weight[1] = NAN;
    ck_assert_int_eq(dfo_weights_resample(ctx, 2, weight, 0, 2, places), DFO_EARG);
    ck_assert_str_eq(dfo_ctx_error(ctx), "weights: log weight 1 is nan");
}
END_TEST

/* The figures come from a program of its own, written after the paper, that compares every pair for its ranks.  */
START_TEST(reference)
{
    enum { C = 3, N = 21 };
    double x[C * N];
    dfo_mcmc_summary s;
    for (size_t i = 0; i < C * N; i++)
        x[i] = sin(1.7 * pow((double)i, 1.1)) + 0.3 * (double)(i / N) + (i / N == 1 ? 0.2 * (double)(i % N) : 0);
    x[3] = x[2 * N + 5];
    OK(dfo_mcmc_summarise(ctx, C, N, 1, x, &s));
    near(s.mean, 1.0024549098807958, 1e-12, "mean", "reference");
    near(s.deviation, 1.4190238354150242, 1e-12, "deviation", "reference");
    near(s.ess, 4.509085503245969, 1e-11, "ESS", "reference");
    near(s.error, 1.4190238354150242 / sqrt(4.509085503245969), 1e-11, "error", "reference");
    near(s.ess_bulk, 5.557603567102313, 1e-10, "bulk ESS", "reference");
    near(s.ess_tail, 14.492753623188404, 1e-11, "tail ESS", "reference");
    near(s.rhat, 1.5224084839267036, 1e-11, "R-hat", "reference");
}
END_TEST

/* x_t = a x_{t-1} + noise has an ESS of S (1 - a)/(1 + a); chains about other means, or of other widths, have another R-hat.  */
START_TEST(known_chains)
{
    enum { C = 4, N = 10000 };
    static const double a[] = {0, 0.7, 0.95, -0.4};
    static double x[C * N];
    test_rng rng = test_rng_new(test_seed());
    dfo_mcmc_summary s;
    for (size_t k = 0; k < 4; k++) {
        for (size_t i = 0; i < C * N; i++)
            x[i] = i % N ? a[k] * x[i - 1] + sqrt(1 - a[k] * a[k]) * test_rng_normal(&rng) : test_rng_normal(&rng);
        OK(dfo_mcmc_summarise(ctx, C, N, 1, x, &s));
        near(s.ess / (C * N), (1 - a[k]) / (1 + a[k]), (a[k] > 0.9 ? 0.4 : 0.2) * (1 - a[k]) / (1 + a[k]), "ESS", "chains");
        near(s.ess_bulk / s.ess, 1, 0.15, "bulk ESS", "chains");
        ck_assert_msg(s.rhat < 1.04 && s.rhat > 0.99, "R-hat %g (seed %llu)", s.rhat, (unsigned long long)test_seed());
        near(s.mean, 0, 5 * s.error, "mean", "chains");
    }
    for (size_t i = 0; i < C * N; i++)
        x[i] = test_rng_normal(&rng) + (i / N == 2);
    OK(dfo_mcmc_summarise(ctx, C, N, 1, x, &s));
    ck_assert_msg(s.rhat > 1.06 && s.ess < 80, "R-hat %g, ESS %g", s.rhat, s.ess);      /* 1.10 and 39 on average */
    for (size_t i = 0; i < C * N; i++)
        x[i] = test_rng_normal(&rng) * (i / N == 2 ? 3 : 1);
    OK(dfo_mcmc_summarise(ctx, C, N, 1, x, &s));
    ck_assert_msg(s.rhat > 1.1, "R-hat %g", s.rhat);
}
END_TEST

/* p = exp(-x^2/2) against draws of N(0, s^2): log Z is log(2 pi)/2, ESS/n goes to sqrt(2 s^2 - 1)/s^2.  */
START_TEST(weights)
{
    enum { N = 20000, M = 7000 };
    static double log_weight[N];
    static size_t places[M], times[N];
    const double s = 1.5;
    test_rng rng = test_rng_new(test_seed());
    dfo_weight_summary w;
    for (size_t i = 0; i < N; i++) {
        double x = s * test_rng_normal(&rng);
        log_weight[i] = i % 1000 == 999 ? -INFINITY : 500 - 0.5 * x * x + 0.5 * x * x / (s * s) + log(s) + 0.5 * log(2 * M_PI) - log(0.999);
    }
    OK(dfo_weights_summarise(ctx, N, log_weight, &w));
    near(w.log_mean, 500 + 0.5 * log(2 * M_PI), 5 * w.log_mean_error, "log Z", "weights");
    ck_assert(w.log_mean_error > 0 && w.log_mean_error < 0.01);
    near(w.ess / N, 0.999 * sqrt(2 * s * s - 1) / (s * s), 0.02, "ESS", "weights");
    OK(dfo_weights_resample(ctx, N, log_weight, test_seed(), M, places));
    for (size_t k = 0; k < M; k++) {
        ck_assert(places[k] < N && (!k || places[k] >= places[k - 1]));
        times[places[k]]++;
    }
    for (size_t i = 0; i < N; i++) {
        double want = M * exp(log_weight[i] - w.log_mean) / N;
        ck_assert_msg(fabs((double)times[i] - want) < 1 + 1e-9, "place %zu: %zu times for %g", i, times[i], want);
    }
}
END_TEST

/* k of weights u^-k, u evenly spread.  */
START_TEST(heavy_weights)
{
    enum { N = 40000 };
    static double log_weight[N];
    static const double known[] = {0.3, 0.6, 0.9, 1.4};
    dfo_weight_summary w;
    for (size_t c = 0; c < 4; c++) {
        for (size_t i = 0; i < N; i++)
            log_weight[i] = -known[c] * log((double)(i * 7919 % N + 1) / N);
        OK(dfo_weights_summarise(ctx, N, log_weight, &w));
        near(w.tail, known[c], 0.05, "Pareto k", "weights");
    }
    for (size_t i = 0; i < N; i++)
        log_weight[i] = 3;
    OK(dfo_weights_summarise(ctx, N, log_weight, &w));
    ck_assert(isnan(w.tail));
    OK(dfo_weights_summarise(ctx, 24, log_weight, &w));
    ck_assert(isnan(w.tail) && w.ess > 23.9);
}
END_TEST

static dfo_status work(dfo_ctx *c, void *data)
{
    const chain_target *t = chain_target_at(CHAIN_BANANA);
    dfo_mcmc_options o;
    dfo_mcmc_report r;
    dfo_mcmc_summary s[2];
    double start[8] = {0}, x[80];
    (void)data;
    dfo_mcmc_defaults(DFO_HMC, &o);
    o.warmup = 20;
    o.draws = 10;
    dfo_status status = dfo_mcmc_run(c, &t->target, &o, start, x, NULL, &r);
    return status ? status : dfo_mcmc_summarise(c, 4, 10, 2, x, s);
}

START_TEST(no_memory)
{
    ck_assert_uint_eq(oom_check("mcmc", OOM_ALL, work, NULL), 7);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("mcmc");
    TCase *tests = tcase_create("mcmc");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_loop_test(tests, moments, 0, 9);
    tcase_add_loop_test(tests, detailed_balance, 0, 3);
    tcase_add_test(tests, same_bits);
    tcase_add_test(tests, refusals);
    tcase_add_test(tests, reference);
    tcase_add_test(tests, known_chains);
    tcase_add_test(tests, weights);
    tcase_add_test(tests, heavy_weights);
    tcase_add_test(tests, no_memory);
    suite_add_tcase(suite, tests);
    return test_run(suite);
}
