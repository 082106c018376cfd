/* Stochastic equations: strong orders on shared paths, both calculi, either way in time.  */
#include <math.h>
#include <stdlib.h>

#include "ctxfix.h"
#include "sdefields.h"
#include "util.h"

#ifdef DFO_DOUBLE
enum { ROWS = 20, PATHS = ROWS * MOST, SIZES = 5 };

/* The slope of log error over log step, by least squares.  */
static double slope_of(const double *error)
{
    double sum = 0, squares = 0;
    for (size_t k = 0; k < SIZES; k++) {
        double at = (double)k - (SIZES - 1) / 2.0;
        sum -= at * log2(error[k]);
        squares += at * at;
    }
    return sum / squares;
}

static void order_is(const char *what, const char *method, const double *error, double want)
{
    double got = slope_of(error);
    ck_assert_msg(fabs(got - want) <= 0.2, "%s, %s: order %.2f, expected %g (errors %g .. %g)", what, method, got, want, error[0],
                  error[SIZES - 1]);
}

/* sine: additive; time: additive and changing; area: two columns that do not commute.  Against many more steps on the same paths.  */
START_TEST(orders)
{
    static const struct { const char *name, *best; size_t m, steps; dfo_noise_kind kind; } some[] = {
        {"sine", "shark", 0, 2048, DFO_NOISE_ADDITIVE}, {"time", "shark", 0, 2048, DFO_NOISE_ADDITIVE},
        {"area", "heun", MOST, 2048, DFO_NOISE_GENERAL}};
    struct equation e = {.name = some[_i].name, .m = some[_i].m};
    dfo_field f = sdefield_of(&e, MOST);
    dfo_noise noise = sdefield_noise(&e, MOST, some[_i].kind, DFO_STRATONOVICH);
    dfo_brownian b = {40 + (uint64_t)_i, 0, 1, 1.0 / 2048};
    static dfo_real x[PATHS];
    static double want[PATHS];
    sdefield_start(PATHS, 0.5, x);
    sdefield_solve(ctx, some[_i].best, some[_i].steps, &f, &noise, &b, 0, 1, ROWS, x);
    for (size_t i = 0; i < PATHS; i++)
        want[i] = (double)x[i];
    for (size_t m = 0; dfo_sde_method(m); m++) {
        double error[SIZES], order = dfo_sde_method_order(dfo_sde_method(m), some[_i].kind);
        for (size_t k = 0; order > 0 && k < SIZES; k++) {
            sdefield_start(PATHS, 0.5, x);
            sdefield_solve(ctx, dfo_sde_method(m), (size_t)8 << k, &f, &noise, &b, 0, 1, ROWS, x);
            error[k] = sdefield_rms(PATHS, x, want);
        }
        if (order > 0)
            order_is(e.name, dfo_sde_method(m), error, order);
    }
}
END_TEST

/* Geometric Brownian motion, a drift in each calculus (methods of the other one have it converted), forward and back.  */
START_TEST(exact_orders)
{
    dfo_calculus calculus = _i & 1 ? DFO_STRATONOVICH : DFO_ITO;
    double from = _i & 2 ? 1 : 0, to = 1 - from;
    struct equation e = {.name = "gbm", .a = gbm_mu, .b = gbm_sigma};
    dfo_field f = sdefield_of(&e, MOST);
    dfo_noise noise = sdefield_noise(&e, MOST, DFO_NOISE_DIAGONAL, calculus);
    dfo_brownian b = {51, 0, 1, 1.0 / 1024};
    static dfo_real x[PATHS];
    static double want[PATHS];
    sdefield_gbm(calculus, &b, from, to, ROWS, MOST, want);
    for (size_t m = 0; dfo_sde_method(m); m++) {
        double error[SIZES], order = dfo_sde_method_order(dfo_sde_method(m), DFO_NOISE_DIAGONAL);
        for (size_t k = 0; order > 0 && k < SIZES; k++) {
            sdefield_start(PATHS, 1, x);
            sdefield_solve(ctx, dfo_sde_method(m), (size_t)16 << k, &f, &noise, &b, from, to, ROWS, x);
            error[k] = sdefield_rms(PATHS, x, want);
        }
        if (order > 0)
            order_is(calculus == DFO_ITO ? "Ito" : "Stratonovich", dfo_sde_method(m), error, order);
    }
}
END_TEST
#endif

/* Both calculi meet at the exact solution, diagonal noise and the same as a matrix.  */
START_TEST(conversion)
{
    enum { N = 3 * MOST, STEPS = 1024 };
    static const char *const method[] = {"euler-maruyama", "milstein", "milstein-strat", "euler-heun", "heun", "spark"};
    dfo_brownian b = {60, 0, 1, 1.0 / STEPS};
    for (size_t m = 0; m < 6; m++)
        for (int k = 0; k < 4; k++) {
            dfo_calculus calculus = k & 1 ? DFO_STRATONOVICH : DFO_ITO;
            struct equation e = {.name = "gbm", .a = gbm_mu, .b = gbm_sigma, .m = k & 2 ? MOST : 0};
            dfo_field f = sdefield_of(&e, MOST);
            dfo_noise noise = sdefield_noise(&e, MOST, k & 2 ? DFO_NOISE_GENERAL : DFO_NOISE_DIAGONAL, calculus);
            dfo_real x[N];
            double want[N];
            if (dfo_sde_method_order(method[m], noise.kind) == 0)
                continue;
            sdefield_start(N, 1, x);
            sdefield_gbm(calculus, &b, 0, 1, N / MOST, MOST, want);
            sdefield_solve(ctx, method[m], STEPS, &f, &noise, &b, 0, 1, N / MOST, x);
            ck_assert_msg(sdefield_rms(N, x, want) < (m ? 5e-3 : 0.1), "%s, %d: off by %g", method[m], k, sdefield_rms(N, x, want));
        }
    struct equation e = {.name = "gbm", .a = gbm_mu, .b = gbm_sigma};
    dfo_noise noise = sdefield_noise(&e, 2, DFO_NOISE_DIAGONAL, DFO_ITO);
    dfo_run run = {.arena_size = dfo_noise_correction_scratch(&noise, 1)};
    dfo_real x[2] = {2, -3}, c[2];
    double t = 0;
    run.arena = calloc(run.arena_size, sizeof *run.arena);
    ck_assert_int_eq(dfo_noise_correction(&noise, &run, &t, dfo_batch_of(x, 1, 2), c), DFO_OK);
    for (size_t i = 0; i < 2; i++)
        ck_assert(fabs((double)c[i] - gbm_sigma[i] * gbm_sigma[i] * (double)x[i] / 2) < 1e-6);
    free(run.arena);
}
END_TEST

/* Back along the same noise: without a drift to the start, to rounding; with one (Stratonovich) to the method's error, which
 * falls with the step.  */
START_TEST(there_and_back)
{
    enum { N = 5 * MOST };
    struct equation quiet = {.name = "quiet"}, gbm = {.name = "gbm", .a = gbm_mu, .b = gbm_sigma};
    dfo_brownian b = {70, -1, 2, 1e-4}, even = {71, 0, 1, 1.0 / 1024};
    double one[N];
    dfo_real x[N];
    for (size_t i = 0; i < N; i++)
        one[i] = 1;
    for (size_t m = 0; dfo_sde_method(m); m++) {
        dfo_field f = sdefield_of(&quiet, MOST);
        dfo_noise noise = sdefield_noise(&quiet, MOST, DFO_NOISE_ADDITIVE, DFO_ITO);
        sdefield_start(N, 1, x);
        sdefield_solve(ctx, dfo_sde_method(m), 77, &f, &noise, &b, -1, 1.7, N / MOST, x);
        ck_assert(fabs((double)x[0] - 1) > 1e-3);
        sdefield_solve(ctx, dfo_sde_method(m), 77, &f, &noise, &b, 1.7, -1, N / MOST, x);
        for (size_t i = 0; i < N; i++)
            ck_assert_msg(fabs((double)x[i] - 1) < 100 * (double)DFO_REAL_EPS, "%s: off by %g", dfo_sde_method(m), (double)x[i] - 1);
        double error[2];
        f = sdefield_of(&gbm, MOST);
        noise = sdefield_noise(&gbm, MOST, DFO_NOISE_DIAGONAL, DFO_STRATONOVICH);
        for (size_t k = 0; k < 2 && dfo_sde_method_calculus(dfo_sde_method(m)) == DFO_STRATONOVICH; k++) {
            sdefield_start(N, 1, x);
            sdefield_solve(ctx, dfo_sde_method(m), k ? 1024 : 64, &f, &noise, &even, 0, 1, N / MOST, x);
            sdefield_solve(ctx, dfo_sde_method(m), k ? 1024 : 64, &f, &noise, &even, 1, 0, N / MOST, x);
            error[k] = sdefield_rms(N, x, one);
            ck_assert_msg(error[k] < (k ? error[0] / 6 + 1e-5 : 0.2), "%s: %g", dfo_sde_method(m), error[k]);
        }
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("stochastic orders " DFO_REAL_NAME);
    TCase *t = tcase_create("sde");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, conversion);
    tcase_add_test(t, there_and_back);
#ifdef DFO_DOUBLE
    tcase_add_loop_test(t, orders, 0, 3);
    tcase_add_loop_test(t, exact_orders, 0, 4);
#endif
    suite_add_tcase(suite, t);
    return test_run(suite);
}
