/* Measured orders: slopes of errors against steps, in double, of every method on two problems that are not linear.  */
#include <math.h>
#include <stdlib.h>

#include <diffeo/ode.h>
#include "ctxfix.h"
#include "util.h"

/* A forced pendulum, from its angle and speed.  */
static void pendulum(double t, const double *x, double *y)
{
    y[0] = x[1];
    y[1] = -2.3 * sin(x[0]) + 1.2 * cos(t);
}

/* A turn that grows where it is small.  */
static void turn(double t, const double *x, double *y)
{
    (void)t;
    y[0] = 1.5 * x[1] + 0.9 * sin(x[0]);
    y[1] = -1.5 * x[0];
}

static const struct problem {
    const char *name;
    void (*rate)(double t, const double *x, double *y);
    double begin[2], span;
} problems[] = {{"pendulum", pendulum, {0.2, -0.9}, 3}, {"turn", turn, {-0.9, -0.1}, 1.1}};

static dfo_status eval(const dfo_field *f, dfo_run *run, const double *t, dfo_batch x, dfo_batch dx, double *dq)
{
    const struct problem *p = f->state;
    (void)run;
    (void)dq;
    for (size_t i = 0; i < x.n; i++)
        p->rate(t[i], dfo_row(x, i), dfo_row(dx, i));
    return DFO_OK;
}

static void end_of(const struct problem *p, const char *method, size_t steps, double *end)
{
    static const struct dfo_field_ops ops = {.type = "test", .eval = eval};
    dfo_field f = {.ops = &ops, .state = p, .d = 2};
    dfo_ode_options o;
    dfo_ode *ode;
    double x[2] = {p->begin[0], p->begin[1]}, t[2] = {0, p->span}, out[4];
    dfo_ode_defaults(&o);
    o.method = method;
    o.steps = steps;
    ck_assert_int_eq(dfo_ode_new(ctx, &o, &ode), DFO_OK);
    ck_assert_msg(dfo_ode_integrate(ctx, ode, &f, dfo_batch_of(x, 1, 2), 2, t, out, NULL, NULL) == DFO_OK, "%s", dfo_ctx_error(ctx));
    end[0] = out[2];
    end[1] = out[3];
    dfo_ode_free(ode);
}

/* The slope of a least squares line through four points.  Steps are so small that the first term of the error outweighs the
 * others (in a unit of time that takes more of them for middle orders, whose methods were chosen for a small first term),
 * and errors stay above rounding.  */
static double slope(const struct problem *p, const char *method, size_t order)
{
    static const size_t few[] = {0, 100, 100, 30, 20, 15, 8, 5, 3};
    double sx = 0, sy = 0, sxx = 0, sxy = 0, want[2], got[2];
    ck_assert_uint_lt(order, sizeof few / sizeof *few);
    end_of(p, "pd87", 600, want);
    for (int k = 0; k < 4; k++) {
        size_t steps = (size_t)((double)(size_t)((double)few[order] * p->span) * pow(1.4, k) + 0.5);
        end_of(p, method, steps, got);
        double x = log((double)steps), y = log(hypot(got[0] - want[0], got[1] - want[1]));
        sx += x, sy += y, sxx += x * x, sxy += x * y;
    }
    return -(4 * sxy - sx * sy) / (4 * sxx - sx * sx);
}

START_TEST(orders)
{
    for (size_t m = 0; dfo_ode_method(m); m++) {
        const char *method = dfo_ode_method(m);
        size_t order = dfo_ode_method_order(method);
        double got = slope(&problems[_i], method, order);
        ck_assert_msg(fabs(got - (double)order) <= 0.15, "%s, %s: order %.3f, expected %zu", method, problems[_i].name, got, order);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("orders");
    TCase *t = tcase_create("orders");
    tcase_set_timeout(t, 60);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_loop_test(t, orders, 0, 2);
    suite_add_tcase(suite, t);
    return test_run(suite);
}
