/* Estimates of errors: the conditions of their orders, how they fall with the step, what two of them make; that errors follow the
 * tolerances, on orbits that come back to where they began, and at what cost.  */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ctxfix.h"
#include "odefields.h"
#include "rk_impl.h"
#include "util.h"

/* sum w_i c_i^k over the stages, against what rounding makes of it.  */
static double moment(const dfoi_tableau *m, const double *w, size_t k, double *rounding)
{
    double sum = 0;
    *rounding = 0;
    for (size_t i = 0; i < m->stages; i++) {
        double term = w[i] * pow(m->c[i], (double)k);
        sum += term;
        *rounding += 4e-16 * fabs(term);
    }
    return sum;
}

static void of_order(const dfoi_tableau *m, const double *w, size_t order)
{
    double rounding, sum;
    for (size_t k = 0; k < order; k++) {
        sum = moment(m, w, k, &rounding);
        ck_assert_msg(fabs(sum) <= rounding, "%s: moment %zu is %g, rounding %g", m->name, k, sum, rounding);
    }
    sum = moment(m, w, order, &rounding);
    ck_assert_msg(fabs(sum) > 1e-5, "%s: moment %zu is %g: of a higher order than %zu", m->name, order, sum, order);
}

/* An estimate is the difference of two methods: to the lower one's order their moments agree, and no further (`falls` measures the order).  */
START_TEST(conditions)
{
    size_t pairs = 0;
    for (size_t i = 0; dfoi_tableau_at(i); i++) {
        const dfoi_tableau *m = dfoi_tableau_at(i);
        ck_assert((m->e != NULL) == (dfo_ode_method_embedded(m->name) > 0) && (m->e || !m->second));
        if (m->second) {
            pairs++;
            ck_assert_str_eq(m->name, "dop853");
            of_order(m, m->e, 5);
            of_order(m, m->second, 3);
        } else if (m->e)
            of_order(m, m->e, m->embedded);
    }
    ck_assert_uint_eq(pairs, 1);
}
END_TEST

/* err = e^2 / sqrt(e^2 + 0.01 second^2), of their squares.  */
START_TEST(two_errors)
{
    const double size[] = {1e-160, 1e-9, 0.02, 1, 7, 1e40};
    for (size_t i = 0; i < 6; i++) {
        ck_assert(dfoi_two_errors(size[i] * size[i], 0) == size[i] * size[i] && dfoi_two_errors(0, size[i]) == 0);
        for (size_t j = 1; j < 5; j++) {
            double got = sqrt(dfoi_two_errors(size[j] * size[j], size[i] * size[i]));
            double want = size[j] / sqrt(1 + 0.01 * (size[i] / size[j]) * (size[i] / size[j]));
            ck_assert_msg(fabs(got - want) <= 1e-14 * want, "%g and %g: %g, expected %g", size[j], size[i], got, want);
        }
    }
    ck_assert(isnan(dfoi_two_errors(NAN, 1)) && isnan(dfoi_two_errors(1, NAN)));
    ck_assert(dfoi_two_errors(0, 0) == 0 && !(dfoi_two_errors(HUGE_VAL, HUGE_VAL) < HUGE_VAL));
}
END_TEST

enum { D = 4, ROWS = 3 };

static dfo_ode *ode_of(const char *method, double tol, int together)
{
    dfo_ode_options o;
    dfo_ode *ode;
    dfo_ode_defaults(&o);
    o.method = method;
    o.rtol = o.atol = tol;
    o.together = together;
    o.quadratures = 1;
    o.most = 100000;
    OK(dfo_ode_new(ctx, &o, &ode));
    return ode;
}

#ifdef DFO_DOUBLE
/* The estimated error of one step of a planet's orbit, both estimates counted as a solve does.  */
static void estimates_of(const dfoi_tableau *m, double h, double estimate[3])
{
    dfo_field f = odefield_named("kepler", D);
    dfo_run run = {.arena_size = dfoi_rk_size(m, &f, 1)};
    double x[D] = {0.8, 0.3, -0.5, 1.0}, squares[2] = {0, 0};
    dfoi_rk rk;
    run.arena = calloc(run.arena_size, sizeof *run.arena);
    dfoi_rk_take(&rk, m, &f, &run, dfo_batch_of(x, 1, D), 0);
    rk.t[0] = 0;
    rk.h[0] = h;
    OK(dfoi_rk_step(&rk));
    for (size_t j = 0; j < D; j++) {
        squares[0] += rk.err[j] * rk.err[j];
        squares[1] += m->second ? rk.second[j] * rk.second[j] : 0;
    }
    estimate[0] = sqrt(squares[0]);
    estimate[1] = sqrt(squares[1]);
    estimate[2] = sqrt(dfoi_two_errors(squares[0], squares[1]));
    free(run.arena);
}

/* They fall as the step to the order that the control divides by; two of them by themselves slower, together as one of order 7.  */
START_TEST(falls)
{
    for (size_t i = 0; dfoi_tableau_at(i); i++) {
        const dfoi_tableau *m = dfoi_tableau_at(i);
        double far[3], near[3], h = m->embedded > 4 ? 0.07 : 0.01;
        if (!m->e)
            continue;
        estimates_of(m, h, far);
        estimates_of(m, h / 2, near);
        double want[3] = {(double)m->embedded + 1, 0, (double)m->embedded + 1};
        if (m->second)
            want[0] = 6, want[1] = 4, want[2] = 8;
        for (size_t k = 0; k < 3; k++) {
            double order = log2(far[k] / near[k]);
            ck_assert_msg(want[k] == 0 || fabs(order - want[k]) < 0.3, "%s: estimate %zu falls with order %.3f, expected %g", m->name, k, order,
                          want[k]);
        }
    }
}
END_TEST
#endif

/* One round of orbits of eccentricities 0.1, 0.25 and 0.4, there or back: the largest error, over the tolerance's scale.  */
static double round_trip(const char *method, double tol, int together, double end, uint64_t *evaluations)
{
    dfo_field f = odefield_named("kepler", D);
    dfo_ode *ode = ode_of(method, tol, together);
    dfo_ode_report r = {0};
    dfo_real x[ROWS * D], out[2 * ROWS * D];
    double t[2] = {0, end}, worst = 0;
    for (size_t i = 0; i < ROWS; i++) {
        double e = 0.1 + 0.15 * (double)i;
        x[i * D] = (dfo_real)(1 - e);
        x[i * D + 1] = x[i * D + 2] = 0;
        x[i * D + 3] = (dfo_real)sqrt((1 + e) / (1 - e));
    }
    ck_assert_msg(dfo_ode_integrate(ctx, ode, &f, dfo_batch_of(x, ROWS, D), 2, t, out, NULL, &r) == DFO_OK, "%s", dfo_ctx_error(ctx));
    for (size_t i = 0; i < ROWS * D; i++)
        worst = fmax(worst, fabs((double)out[ROWS * D + i] - (double)x[i]));
    *evaluations = r.evaluations;
    dfo_ode_free(ode);
    return worst;
}

/* The error follows the tolerance (of both methods in the long run as itself: the power is less where steps are long), and what that
 * costs is the order's: tolerances of six decades less take 10^(6/8) = 5.6 times the evaluations of an estimate of order 8 in h, 10
 * times those of one of order 6.  */
START_TEST(tolerances)
{
    static const char *const method[] = {"pd87", "dop853"};
    int first = IS_DOUBLE ? 4 : 2, last = IS_DOUBLE ? 10 : 4;
    double error[2][11];
    uint64_t cost[2][11];
    for (int together = 0; together < 2; together++)
        for (size_t m = 0; m < 2; m++) {
            for (int k = first; k <= last; k++) {
                double tol = pow(10, -k);
                error[m][k] = round_trip(method[m], tol, together, (k % 2 ? -2 : 2) * M_PI, &cost[m][k]);
                ck_assert_msg(error[m][k] <= 100 * tol, "%s at %g: error %g", method[m], tol, error[m][k]);
                ck_assert(k == first || cost[m][k] > cost[m][k - 1]);
                ck_assert_msg(cost[m][k] <= 1.5 * (double)cost[0][k], "%s at %g: %llu evaluations, pd87 %llu", method[m], tol,
                              (unsigned long long)cost[m][k], (unsigned long long)cost[0][k]);
            }
            double fall = log10(error[m][first] / error[m][last]) / (last - first), rise = (double)cost[m][last] / (double)cost[m][first];
            ck_assert_msg(!IS_DOUBLE || (fall > 0.65 && fall < 1.4), "%s: the error falls like the tolerance to the power of %g", method[m], fall);
            ck_assert_msg(!IS_DOUBLE || (rise > 3.5 && rise < 7.5), "%s: %g times the evaluations", method[m], rise);
        }
}
END_TEST

/* Rows that go alone are what each is by itself, to the last bit.  */
START_TEST(rows_alone)
{
    dfo_field f = odefield_named("kepler", D);
    f.nq = 2;
    dfo_ode *ode = ode_of("dop853", 1e-4, 0);
    dfo_real x[ROWS * D], out[2 * ROWS * D], one[2 * D];
    double t[2] = {0, 5}, q[ROWS * 2], single[2];
    for (size_t i = 0; i < ROWS; i++)
        memcpy(x + i * D, (dfo_real[D]){1, 0, 0, (dfo_real)(0.8 + 0.2 * (double)i)}, D * sizeof *x);
    OK(dfo_ode_integrate(ctx, ode, &f, dfo_batch_of(x, ROWS, D), 2, t, out, q, NULL));
    for (size_t i = 0; i < ROWS; i++) {
        OK(dfo_ode_integrate(ctx, ode, &f, dfo_batch_of(x + i * D, 1, D), 2, t, one, single, NULL));
        ck_assert(!memcmp(one + D, out + (ROWS + i) * D, D * sizeof *one) && !memcmp(single, q + 2 * i, sizeof single));
    }
    dfo_ode_free(ode);
}
END_TEST

/* A state that stays, and an integral that does not: only its own errors choose the steps.  */
static dfo_status still(const dfo_field *f, dfo_run *run, const double *t, dfo_batch x, dfo_batch dx, double *dq)
{
    (void)f;
    (void)run;
    for (size_t i = 0; i < x.n; i++) {
        dfo_row(dx, i)[0] = 0;
        if (dq)
            dq[i] = 1 / (1 + 25 * t[i] * t[i]);
    }
    return DFO_OK;
}

START_TEST(integrals)
{
    static const struct dfo_field_ops ops = {.type = "still", .eval = still};
    static const char *const method[] = {"pd87", "dop853"};
    dfo_field f = {.ops = &ops, .d = 1, .nq = 1};
    double want = 2 * atan(5) / 5, t[2] = {-1, 1};
    for (int together = 0; together < 2; together++)
        for (int k = 4; k <= 10; k++) {
            dfo_ode_report r[2] = {{0}, {0}};
            for (size_t m = 0; m < 2; m++) {
                double tol = pow(10, -k), q[2];
                dfo_real x[2] = {3, -1}, out[4];
                dfo_ode *ode = ode_of(method[m], tol, together);
                OK(dfo_ode_integrate(ctx, ode, &f, dfo_batch_of(x, 2, 1), 2, t, out, q, &r[m]));
                ck_assert(out[2] == 3 && out[3] == -1);
                ck_assert_msg(fabs(q[0] - want) <= 30 * tol && q[1] == q[0], "%s at %g: off by %g", method[m], tol, q[0] - want);
                dfo_ode_free(ode);
            }
            ck_assert_msg(r[1].evaluations <= 1.5 * (double)r[0].evaluations, "at 1e-%d: %llu evaluations, pd87 %llu", k,
                          (unsigned long long)r[1].evaluations, (unsigned long long)r[0].evaluations);
        }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("estimates of errors " DFO_REAL_NAME);
    TCase *t = tcase_create("estimates");
    tcase_set_timeout(t, 60);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, conditions);
    tcase_add_test(t, two_errors);
#ifdef DFO_DOUBLE
    tcase_add_test(t, falls);
#endif
    tcase_add_test(t, tolerances);
    tcase_add_test(t, rows_alone);
    tcase_add_test(t, integrals);
    suite_add_tcase(suite, t);
    return test_run(suite);
}
