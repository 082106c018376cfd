/* Derivatives along the path: the Taylor series they make against a fine solve, order by order, and their gradients against differences.  */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ctx_impl.h"
#include "base/json_impl.h"
#include "netcase.h"

enum { N = 70, D = 3, C = 2, ORDERS = 6 };

static const char *const type[] = {"concatsquash", "concat", "hyper"};
static const char *const act[] = {"tanh", "softplus", "silu", "sigmoid"};
static const char *const hidden[] = {"[]", "[5]", "[6, 4]"};

static void make(netcase *c, int k)
{
    char text[160];
    dfo_shape shape[3] = {dfo_shape_vector(D), dfo_shape_vector(C), dfo_shape_vector(1)};
    snprintf(text, sizeof text, "{\"type\":\"%s\",\"activation\":\"%s\",\"hidden\":%s}", type[k % 3], act[k / 3 % 4], hidden[k / 12]);
    netcase_of(c, test_seed() + (uint64_t)k, text, N, 3, shape, dfo_shape_vector(D));
    dfo_real *w = dfo_store_weights(c->store);
    for (size_t i = 0; i < dfo_store_weights_size(c->store) && k % 3 == 2; i++)
        w[i] *= (dfo_real)0.4;      /* weights that nets make: derivatives of high order stay where differences see them */
}

/* The derivative of order K of all rows, row-major.  */
static void derivative(netcase *c, size_t order, dfo_real *kept, dfo_block out, double *to)
{
    ck_assert_msg(dfo_net_path(c->net, &c->t->run, &c->in, order, out, kept) == DFO_OK, "%s: %s", netcase_text(c), c->t->run.text);
    for (size_t i = 0; i < N * D; i++)
        to[i] = (double)*netcase_at(out, i / D, i % D);
}

static double *start(netcase *c, size_t i)
{
    static double at[D + 1];
    for (size_t e = 0; e < D; e++)
        at[e] = (double)dfo_row(c->in.part[0].rows, i)[e];
    at[D] = (double)dfo_row(c->in.part[2].rows, i)[0];
    return at;
}

static void put(netcase *c, const double *x, const double *t, double later)
{
    for (size_t i = 0; i < N; i++) {
        for (size_t e = 0; e < D; e++)
            dfo_row(c->in.part[0].rows, i)[e] = (dfo_real)x[i * D + e];
        dfo_row(c->in.part[2].rows, i)[0] = (dfo_real)(t[i] + later);
    }
}

/* Where the path is at h, by the classical method of order 4.  */
static void solve(netcase *c, dfo_block out, const double *x0, const double *t, double h, int steps, double *x)
{
    static double k[4][N * D], y[N * D];
    const double dt = h / steps, ahead[4] = {0, 0.5, 0.5, 1};
    memcpy(x, x0, sizeof y);
    for (int s = 0; s < steps; s++) {
        for (int j = 0; j < 4; j++) {
            for (size_t i = 0; i < N * D; i++)
                y[i] = x[i] + (j ? ahead[j] * dt * k[j - 1][i] : 0);
            put(c, y, t, (s + ahead[j]) * dt);
            ck_assert_int_eq(dfo_net_forward(c->net, &c->t->run, &c->in, out, NULL), DFO_OK);
            for (size_t i = 0; i < N * D; i++)
                k[j][i] = (double)*netcase_at(out, i / D, i % D);
        }
        for (size_t i = 0; i < N * D; i++)
            x[i] += dt / 6 * (k[0][i] + 2 * k[1][i] + 2 * k[2][i] + k[3][i]);
    }
    put(c, x0, t, 0);
}

/* The largest difference of the series of orders up to K from the path at h, over the rows.  */
static double off(const double *x0, double (*d)[N * D], size_t order, double h, const double *path)
{
    double most = 0;
    for (size_t i = 0; i < N * D; i++) {
        double sum = x0[i], by = 1;
        for (size_t k = 1; k <= order; k++)
            sum += (by *= h / (double)k) * d[k][i];
        most = fmax(most, fabs(sum - path[i]));
    }
    return most;
}

static double largest(const double *d)
{
    double most = 0;
    for (size_t i = 0; i < N * D; i++)
        most = fmax(most, fabs(d[i]));
    return most;
}

START_TEST(series)
{
    static double d[ORDERS + 3][N * D], path[2][N * D], x0[N * D], t[N];
    for (int k = 0; k < 36; k++) {
        netcase c;
        make(&c, k);
        dfo_block out = netcase_block(&c, 0);
        dfo_real *kept;
        ck_assert_int_eq(dfoi_alloc(c.ctx, dfo_net_path_kept(c.net, N, ORDERS + 2), sizeof *kept, &kept), DFO_OK);
        for (size_t i = 0; i < N; i++) {
            const double *at = start(&c, i);
            memcpy(x0 + i * D, at, D * sizeof *at);
            t[i] = at[D];
        }
        for (size_t order = 1; order <= ORDERS + 2; order++)
            derivative(&c, order, kept, out, d[order]);
        ck_assert_int_eq(dfo_net_forward(c.net, &c.t->run, &c.in, out, NULL), DFO_OK);
        for (size_t i = 0; i < N * D; i++)
            ck_assert_msg(fabs((double)*netcase_at(out, i / D, i % D) - d[1][i]) < (IS_DOUBLE ? 1e-13 : 1e-5), "%s: row %zu: %g, the net's own %g",
                          netcase_text(&c), i / D, d[1][i], (double)*netcase_at(out, i / D, i % D));
        double h = 0.02, next = largest(d[ORDERS + 1]);    /* terms of the series fall by 10 at least, so that each stands out */
        for (size_t order = 1; order <= ORDERS + 1; order++)
            h = fmin(h, 0.1 * (double)(order + 1) * largest(d[order]) / largest(d[order + 1]));
        for (size_t order = 1; order <= ORDERS + 1; order++)
            next *= h / (double)order;
        for (int half = 0; half < 2; half++)
            solve(&c, out, x0, t, half ? h / 2 : h, 160, path[half]);
        for (size_t order = 1; order <= ORDERS && IS_DOUBLE; order++) {
            double whole = off(x0, d, order, h, path[0]), part = off(x0, d, order, h / 2, path[1]), slope = log2(whole / part);
            if (whole > 1e-11)
                ck_assert_msg(fabs(slope - (double)(order + 1)) < 0.4, "%s: the series of order %zu is %g off at h and %g at h / 2", netcase_text(&c),
                              order, whole, part);
        }
        ck_assert_msg(off(x0, d, ORDERS, h, path[0]) < (IS_DOUBLE ? 2 * next + 1e-11 : 2e-5), "%s: %g off", netcase_text(&c), off(x0, d, ORDERS, h, path[0]));
        dfoi_free(c.ctx, kept);
        dfoi_free(c.ctx, out.x);
        netcase_free(&c);
    }
}
END_TEST

/* Weighted sum of the derivatives.  */
struct sum {
    netcase *c;
    size_t order;
    dfo_real *kept;
    dfo_block out, weight;
};

static double value(const struct sum *s, double *size)
{
    double d[N * D], sum = 0;
    derivative(s->c, s->order, s->kept, s->out, d);
    *size = 1;
    for (size_t i = 0; i < N * D; i++) {
        double term = d[i] * (double)*netcase_at(s->weight, i / D, i % D);
        sum += term;
        *size += fabs(term);
    }
    return sum;
}

static void differ(const struct sum *s, const char *what, size_t i, dfo_real *x, double got)
{
    static const double side[4] = {-1, 1, -2, 2};
    double h = IS_DOUBLE ? 0x1p-12 : 0x1p-8, allowed = IS_DOUBLE ? 1e-7 : 2e-2, v[4], size;
    dfo_real was = *x;
    for (int k = 0; k < 4; k++) {
        *x = (dfo_real)((double)was + side[k] * h);
        v[k] = value(s, &size);
    }
    *x = was;
    double slope = (8 * (v[1] - v[0]) - (v[3] - v[2])) / (12 * h);
    ck_assert_msg(fabs(slope - got) < allowed * fmax(size, fabs(slope)), "%s, order %zu, %s %zu: %.9g, differences %.9g", netcase_text(s->c), s->order, what, i, got,
                  slope);
}

START_TEST(gradients)
{
    for (int k = 0; k < 36; k++) {
        netcase c;
        make(&c, k);
        size_t order = 1 + (size_t)(k / 3) % (IS_DOUBLE ? ORDERS : 3), weights = dfo_store_weights_size(c.store);
        dfo_need need = {.rows = N, .scratch = dfo_net_scratch(c.net, N) + dfo_net_path_scratch(c.net, order)};
        testrun_free(c.t);
        ck_assert_int_eq(testrun_new(c.ctx, c.store, &need, &c.t), DFO_OK);
        struct sum s = {&c, order, NULL, netcase_block(&c, 0), netcase_block(&c, c.seed + 7)};
        dfo_block g = netcase_block(&c, 0);
        ck_assert_int_eq(dfoi_alloc(c.ctx, dfo_net_path_kept(c.net, N, order), sizeof *s.kept, &s.kept), DFO_OK);
        netcase_copy_block(&c, g, s.weight);
        dfo_cond gin = netcase_cond(&c, 0, 0);
        double size;
        value(&s, &size);
        ck_assert_msg(dfo_net_path_backward(c.net, &c.t->run, &c.in, order, g, &gin, s.kept) == DFO_OK, "%s", c.t->run.text);
        for (size_t p = 0; p < 3; p++) {
            dfo_batch rows = c.in.part[p].rows, gx = gin.part[p].rows;
            for (size_t i = 3; i < N * rows.d; i += 29)
                differ(&s, "part", p, &dfo_row(rows, i / rows.d)[i % rows.d], (double)dfo_row(gx, i / rows.d)[i % rows.d]);
        }
        dfo_real *w = dfo_store_weights(c.store);
        for (size_t i = 0; i < weights; i += 1 + weights / 40)
            if (isfinite((double)w[i]))                    /* what stands between arrays is not a number */
                differ(&s, "weight", i, w + i, (double)c.t->run.grads[i]);
        testrun_check(c.t, "derivatives along the path");
        netcase_cond_free(&c, &gin);
        dfoi_free(c.ctx, s.kept);
        dfoi_free(c.ctx, s.out.x);
        dfoi_free(c.ctx, s.weight.x);
        dfoi_free(c.ctx, g.x);
        netcase_free(&c);
    }
}
END_TEST

/* Nets, activations and orders without one say so.  */
START_TEST(none)
{
    static const char *const bad[] = {"{\"type\":\"mlp\",\"hidden\":[4]}", "{\"type\":\"concat\",\"activation\":\"relu\",\"hidden\":[4]}"};
    dfo_shape shape[2] = {dfo_shape_vector(D), dfo_shape_vector(1)};
    for (int k = 0; k < 3; k++) {
        netcase c;
        netcase_of(&c, test_seed(), k < 2 ? bad[k] : "{\"type\":\"concat\",\"hidden\":[4]}", 2, 2, shape, dfo_shape_vector(D));
        dfo_block out = netcase_block(&c, 0);
        ck_assert_uint_eq(dfo_net_path_kept(c.net, 2, k < 2 ? 3 : DFO_NET_ORDER + 1), 0);
        ck_assert_int_eq(dfo_net_path(c.net, &c.t->run, &c.in, k < 2 ? 3 : DFO_NET_ORDER + 1, out, c.acts), DFO_EUNSUP);
        ck_assert(strstr(c.t->run.text, "derivative") != NULL);
        dfoi_free(c.ctx, out.x);
        netcase_free(&c);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("derivatives along the path " DFO_REAL_NAME);
    TCase *t = tcase_create("path");
    tcase_add_test(t, series);
    tcase_add_test(t, gradients);
    tcase_add_test(t, none);
    suite_add_tcase(s, t);
    return test_run(s);
}
