/* Rex on whole numbers, its gradients, and its stochastic forms: rows apart, strong orders, marginals.  */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ctxfix.h"
#include "odefields.h"
#include "rextools.h"

/* 1,000 steps on whole numbers, noise included: the start to the last bit.  */
static const struct { dfo_rex_form form; const char *method; } whole[] = {
    {DFO_REX_ODE_DATA, "euler"}, {DFO_REX_ODE_DATA, "dopri5"}, {DFO_REX_ODE_NOISE, "midpoint"}, {DFO_REX_SDE_DATA, NULL},
    {DFO_REX_SDE_DATA, "shark"}, {DFO_REX_SDE_NOISE, NULL}};

START_TEST(whole_numbers)
{
    static double t[1001];
    dfo_rex_options o = options_of(whole[_i].form, whole[_i].method, 1);
    mixture m = mixture_usual(DFO_NOISE_VP, wants_data(o.form));
    dfo_field f = mixture_field(&m);
    dfo_rex *rex = made(ctx, &o);
    dfo_run run = run_of(rex, &f, 8);
    int64_t y[16], yh[16], start[16];
    dfo_real x[16], xh[16], there[16];
    dfo_batch bx = dfo_batch_of(x, 8, 2), bt = dfo_batch_of(there, 8, 2);
    start_rows(x, xh, 16);
    grid_of(ctx, &m.schedule, "log-snr", 0.5, 0.1, 1000, t);
    RUN(dfo_rex_fixed_from(rex, &run, t[0], 34, bx, y));
    memcpy(yh, y, sizeof y);
    memcpy(start, y, sizeof y);
    RUN(dfo_rex_fixed_to(rex, &run, t[0], 34, y, bt));
    for (size_t i = 0; i < 16; i++)
        ck_assert(fabs((double)there[i] - (double)x[i]) < 1e-6);
    RUN(dfo_rex_fixed_forward(rex, &f, &run, 1000, t, 34, 8, y, yh));
    ck_assert(memcmp(y, start, sizeof y));
    RUN(dfo_rex_fixed_to(rex, &run, t[1000], 34, y, bt));
    RUN(dfo_rex_forward(rex, &f, &run, 1000, t, bx, dfo_batch_of(xh, 8, 2)));
    for (size_t i = 0; IS_DOUBLE && i < 16 && o.form < DFO_REX_SDE_DATA; i++)            /* the same scheme but for the grid */
        ck_assert_msg(fabs((double)there[i] - (double)x[i]) < 1e-3, "%zu: %g on whole numbers, %g on reals", i, (double)there[i],
                      (double)x[i]);
    RUN(dfo_rex_fixed_inverse(rex, &f, &run, 1000, t, 34, 8, y, yh));
    ck_assert(!memcmp(y, start, sizeof y) && !memcmp(yh, start, sizeof y));
    ck_assert_int_eq(dfo_rex_fixed_from(rex, &run, t[0], 60, dfo_batch_of((dfo_real[]){100, 1}, 1, 2), y), DFO_ENUM);
    ck_assert_ptr_nonnull(strstr(run.text, "row 0"));
    free(run.arena);
    dfo_rex_free(rex);
}
END_TEST

/* ---- gradients */

#ifdef DFO_DOUBLE
/* cos(i) x_i + sin(i) xh_i at the end, and its gradient on the way back.  */
static double loss_of(const dfo_rex *rex, const dfo_field *f, dfo_run *run, const double *t, const dfo_real *start, dfo_real *gx)
{
    size_t d = f->d;
    dfo_real x[6], xh[6], gxh[6];
    dfo_batch bx = dfo_batch_of(x, 2, d), bh = dfo_batch_of(xh, 2, d);
    double loss = 0;
    memcpy(x, start, 2 * d * sizeof *x);
    memcpy(xh, start, 2 * d * sizeof *x);
    ck_assert_msg(dfo_rex_forward(rex, f, run, 5, t, bx, bh) == DFO_OK, "%s", run->text);
    for (size_t i = 0; i < 2 * d; i++) {
        loss += cos((double)i) * x[i] + sin((double)i + 1) * xh[i];
        if (gx)
            gx[i] = cos((double)i), gxh[i] = sin((double)i + 1);
    }
    if (!gx)
        return loss;
    ck_assert_msg(dfo_rex_backward(rex, f, run, 5, t, bx, bh, dfo_batch_of(gx, 2, d), dfo_batch_of(gxh, 2, d)) == DFO_OK, "%s",
                  run->text);
    for (size_t i = 0; i < 2 * d; i++) {
        ck_assert(fabs(x[i] - start[i]) < 1e-9 && fabs(xh[i] - start[i]) < 1e-9);
        gx[i] += gxh[i];
    }
    return loss;
}

static double difference(const dfo_rex *rex, const dfo_field *f, dfo_run *run, const double *t, const dfo_real *start,
                         double *number)
{
    double was = *number, h = 1e-5, up, down;
    *number = was + h;
    up = loss_of(rex, f, run, t, start, NULL);
    *number = was - h;
    down = loss_of(rex, f, run, t, start, NULL);
    *number = was;
    return (up - down) / (2 * h);
}

static const struct { dfo_rex_form form; const char *method; double zeta;
} graded[] = {{DFO_REX_ODE_DATA, "midpoint", 0.999}, {DFO_REX_ODE_DATA, "dopri5", 0.9}, {DFO_REX_ODE_NOISE, "rk4", 0.8},
              {DFO_REX_ODE_NOISE, "bosh3", 1},       {DFO_REX_SDE_DATA, NULL, 0.9},     {DFO_REX_SDE_DATA, "shark", 0.95},
              {DFO_REX_SDE_NOISE, NULL, 0.9}};

/* Of the rows and of the condition (mixture), of the rows and the weights (a small net), against differences.  */
START_TEST(gradients)
{
    ref_file *file = ref_open("reversible_mf");
    dfo_rex_options o = options_of(graded[_i].form, graded[_i].method, graded[_i].zeta);
    mixture m = mixture_usual(DFO_NOISE_VP, wants_data(o.form));
    double t[6];
    dfo_rex *rex = made(ctx, &o);
    grid_of(ctx, &m.schedule, NULL, 0.6, 0.2, 5, t);
    for (int net = 0; net < 2; net++) {
        dfo_real c[4] = {0.3, -0.2, 0.1, 0.5}, gc[4] = {0}, x[6], gx[6], gw[256] = {0}, *w;
        dfo_cond cond = {.n = 1, .part[0].rows = dfo_batch_of(c, 2, 2)}, gcond = {.n = 1, .part[0].rows = dfo_batch_of(gc, 2, 2)};
        dfo_field f = net ? odefield_of(ref_at(file, 0), "inputs") : mixture_field(&m);
        dfo_run run = run_of(rex, &f, 2);
        double worst = 0;
        if (!net) {
            f.cond = &cond;
            f.gcond = &gcond;
        }
        for (size_t i = 0; i < 6; i++)
            x[i] = sin(1.3 * (double)i);
        run.grads = gw;
        loss_of(rex, &f, &run, t, x, gx);
        run.grads = NULL;
        for (size_t i = 0; i < 2 * f.d; i++)
            worst = fmax(worst, fabs(difference(rex, &f, &run, t, x, &x[i]) - gx[i]) / fmax(1, fabs(gx[i])));
        for (size_t i = 0; !net && i < 4; i++)
            worst = fmax(worst, fabs(difference(rex, &f, &run, t, x, &c[i]) - gc[i]) / fmax(1, fabs(gc[i])));
        for (size_t k = 0; net && (w = odefield_weight(k)); k++)
            worst = fmax(worst, fabs(difference(rex, &f, &run, t, x, w) - gw[k]) / fmax(1, fabs(gw[k])));
        ck_assert_msg(worst < 1e-6, "%s, %s, %s: off by %g", dfo_rex_form_name(o.form), o.method, net ? "net" : "mixture", worst);
        free(run.arena);
    }
    dfo_rex_free(rex);
    ref_close(file);
}
END_TEST

/* ---- noise */

/* Brownian paths on a fine grid of the clock, with their areas: increments over any of its intervals.  Concatenation: bH = bH_1 +
 * bH_2 + (q W_1 - p W_2)/2 for lengths p, q.  */
#define FINE 512
struct paths {
    double clock[FINE + 1];
    size_t d;
};

static void of_path(const void *data, uint64_t row, size_t d, double s, double t, double *w, double *h)
{
    const struct paths *k = data;
    size_t a = 0, b = 0;
    while (a < FINE && k->clock[a] != fmin(s, t))
        a++;
    for (b = a; b < FINE && k->clock[b] != fmax(s, t);)
        b++;
    for (size_t j = 0; j < d; j++)
        w[j] = h[j] = 0;
    for (size_t i = a; i < b; i++) {
        double w1[4], h1[4], p = k->clock[i] - k->clock[a], q = k->clock[i + 1] - k->clock[i];
        brownian(&test_path, row, d, k->clock[i], k->clock[i + 1], w1, h1);
        for (size_t j = 0; j < d; j++) {
            h[j] += q * h1[j] + (q * w[j] - p * w1[j]) / 2;
            w[j] += w1[j];
        }
    }
    for (size_t j = 0; j < d; j++) {
        h[j] /= k->clock[b] - k->clock[a];
        w[j] *= s < t ? 1 : -1;
    }
}

/* The root mean square over 100 paths of what n steps miss, against ShARK on the fine grid.  */
static double strong_error(const struct paths *p, const mixture *m, const double *fine, dfo_rex_options o, size_t n,
                           const dfo_real *want, dfo_real *x)
{
    static dfo_real xh[200];
    static double t[FINE + 1];
    double sum = 0;
    mixture own = *m;
    dfo_field f = mixture_field(&own);
    o.noise = of_path;
    o.noise_data = p;
    dfo_rex *rex = made(ctx, &o);
    dfo_run run = run_of(rex, &f, 100);
    for (size_t i = 0; i <= n; i++)
        t[i] = fine[i * (FINE / n)];
    start_rows(x, xh, 200);
    RUN(dfo_rex_forward(rex, &f, &run, n, t, dfo_batch_of(x, 100, 2), dfo_batch_of(o.one_state ? NULL : xh, 100, 2)));
    for (size_t i = 0; want && i < 200; i++)
        sum += (x[i] - want[i]) * (x[i] - want[i]);
    free(run.arena);
    dfo_rex_free(rex);
    return sqrt(sum / 200);
}

/* Strong orders on the same paths: 1 for Euler and Maruyama, 1.5 for ShARK, as Princeps and with the second state.  */
START_TEST(strong_orders)
{
    static dfo_real want[200], x[200];
    static double fine[FINE + 1];
    static const double zetas[] = {0, 0.9, 0.999};
    mixture m = mixture_usual(DFO_NOISE_VP, 1);
    struct paths p = {.d = 2};
    grid_of(ctx, &m.schedule, "log-snr", 0.6, 0.2, FINE, fine);
    for (size_t i = 0; i <= FINE; i++)
        p.clock[i] = dfo_noise_schedule_clock(&m.schedule, DFO_CLOCK_RHO, fine[i]);
    strong_error(&p, &m, fine, options_of(DFO_REX_SDE_DATA, "shark", 0), FINE, NULL, want);
    for (int k = 0; k < 6; k++) {
        int is_shark = k / 3;
        dfo_rex_options o = options_of(DFO_REX_SDE_DATA, is_shark ? "shark" : NULL, zetas[k % 3]);
        double wide = strong_error(&p, &m, fine, o, 32, want, x), narrow = strong_error(&p, &m, fine, o, 64, want, x);
        ck_assert_msg(fabs(log2(wide / narrow) - (is_shark ? 1.5 : 1)) < 0.15, "%s, zeta %g: slope %g, errors %g, %g", o.method,
                      zetas[k % 3], log2(wide / narrow), wide, narrow);
    }
}
END_TEST

/* The marginal of Gaussian data at the end, from exact draws at the start: means and variances of both states within 4 standard
 * errors. 100 steps: what they are off by is far less.  */
static const struct { dfo_rex_form form; const char *method; double zeta; dfo_noise_schedule_kind kind; } drawn[] = {
    {DFO_REX_SDE_DATA, NULL, 0, DFO_NOISE_VP},          {DFO_REX_SDE_DATA, NULL, 0.999, DFO_NOISE_VP},
    {DFO_REX_SDE_DATA, "shark", 0.999, DFO_NOISE_VP},   {DFO_REX_SDE_NOISE, NULL, 0, DFO_NOISE_VP},
    {DFO_REX_SDE_DATA, "shark", 0.999, DFO_NOISE_VE},   {DFO_REX_SDE_NOISE, NULL, 0, DFO_NOISE_COSINE},
    {DFO_REX_SDE_DATA, NULL, 0.999, DFO_NOISE_SUBVP},   {DFO_REX_SDE_DATA, "shark", 0.999, DFO_NOISE_FLOW_MATCHING}};

START_TEST(marginals)
{
    enum { ROWS = 2000, STEPS = 100 };
    static dfo_real x[2 * ROWS], xh[2 * ROWS];
    double t[STEPS + 1];
    mixture m = {.data = wants_data(drawn[_i].form), .n = 1, .w = {1}, .mean = {{0.7, -0.3}}, .cov = {{0.3, 0, 0.05}}};
    OK(dfo_noise_schedule_named(ctx, dfo_noise_schedule_name(drawn[_i].kind), &m.schedule));
    dfo_rex_options o = options_of(drawn[_i].form, drawn[_i].method, drawn[_i].zeta);
    o.schedule = m.schedule;
    dfo_field f = mixture_field(&m);
    dfo_rex *rex = made(ctx, &o);
    dfo_run run = run_of(rex, &f, ROWS);
    grid_of(ctx, &m.schedule, "log-snr", dfo_noise_schedule_time(&m.schedule, DFO_CLOCK_CHI, 20),
            dfo_noise_schedule_time(&m.schedule, DFO_CLOCK_CHI, 0.15), STEPS, t);
    dfo_noise_point a = dfo_noise_schedule_at(&m.schedule, t[0]), b = dfo_noise_schedule_at(&m.schedule, t[STEPS]);
    test_rng rng = test_rng_new(11);
    for (size_t i = 0; i < 2 * ROWS; i++)
        x[i] = xh[i] =
            a.alpha * m.mean[0][i % 2] + sqrt(a.alpha * a.alpha * m.cov[0][i % 2 * 2] + a.sigma * a.sigma) * test_rng_normal(&rng);
    RUN(dfo_rex_forward(rex, &f, &run, STEPS, t, dfo_batch_of(x, ROWS, 2), dfo_batch_of(o.one_state ? NULL : xh, ROWS, 2)));
    for (size_t k = 0; k < (o.one_state ? 2 : 4); k++) {
        const dfo_real *from = k < 2 ? x : xh;
        double mean = 0, var = 0, want = b.alpha * m.mean[0][k % 2],
               v = b.alpha * b.alpha * m.cov[0][k % 2 * 2] + b.sigma * b.sigma;
        for (size_t i = 0; i < ROWS; i++)
            mean += from[2 * i + k % 2] / ROWS;
        for (size_t i = 0; i < ROWS; i++)
            var += pow(from[2 * i + k % 2] - mean, 2) / (ROWS - 1);
        ck_assert_msg(fabs(mean - want) <= 4 * sqrt(v / ROWS), "column %zu: mean %g, expected %g", k, mean, want);
        ck_assert_msg(fabs(var / v - 1) <= 4 * sqrt(2.0 / ROWS), "column %zu: variance %g, expected %g, standard error %g", k, var,
                      v, v * sqrt(2.0 / ROWS));
    }
    free(run.arena);
    dfo_rex_free(rex);
}
END_TEST
#endif

/* In sde-noise the two states part where steps are wider than (1 - zeta)/2 of chi: here 0.05 of 0.034 and of 0.134.  */
START_TEST(parting)
{
    double t[201], largest[2] = {0, 0};
    for (int wide = 0; wide < 2; wide++) {
        size_t n = wide ? 50 : 200;
        dfo_rex_options o = options_of(DFO_REX_SDE_NOISE, NULL, 0.9);
        mixture m = mixture_usual(DFO_NOISE_VP, 0);
        dfo_field f = mixture_field(&m);
        dfo_rex *rex = made(ctx, &o);
        dfo_run run = run_of(rex, &f, 8);
        dfo_real x[16], xh[16];
        start_rows(x, xh, 16);
        grid_of(ctx, &m.schedule, "log-snr", 0.9, 0.02, n, t);
        RUN(dfo_rex_forward(rex, &f, &run, n, t, dfo_batch_of(x, 8, 2), dfo_batch_of(xh, 8, 2)));
        for (size_t i = 0; i < 16; i++)
            largest[wide] = fmax(largest[wide], fmax(fabs((double)x[i]), fabs((double)xh[i])));
        free(run.arena);
        dfo_rex_free(rex);
    }
    ck_assert_msg(largest[0] < 4 && largest[1] > 100, "largest %g and %g", largest[0], largest[1]);
}
END_TEST

/* A row's noise goes with its absolute index, and its bits do not depend on the rows beside it.  */
START_TEST(blocks)
{
    dfo_real x[16], xh[16], apart[16], hat[16];
    double t[11];
    dfo_rex_options o = options_of(DFO_REX_SDE_DATA, "shark", 0.999);
    mixture m = mixture_usual(DFO_NOISE_VP, 1);
    dfo_field f = mixture_field(&m);
    dfo_rex *rex = made(ctx, &o);
    dfo_run run = run_of(rex, &f, 8);
    grid_of(ctx, &m.schedule, NULL, 0.9, 0.1, 10, t);
    start_rows(x, xh, 16);
    start_rows(apart, hat, 16);
    RUN(dfo_rex_forward(rex, &f, &run, 10, t, dfo_batch_of(x, 8, 2), dfo_batch_of(xh, 8, 2)));
    for (size_t i = 8; i > 0; i -= 4) {
        run.key.row = i - 4;
        RUN(dfo_rex_forward(rex, &f, &run, 10, t, dfo_batch_of(apart + 2 * i - 8, 4, 2), dfo_batch_of(hat + 2 * i - 8, 4, 2)));
    }
    ck_assert(!memcmp(x, apart, sizeof x) && !memcmp(xh, hat, sizeof xh));
    free(run.arena);
    dfo_rex_free(rex);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("rex, noise and gradients " DFO_REAL_NAME);
    TCase *t = tcase_create("rex");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 60);
    tcase_add_loop_test(t, whole_numbers, 0, sizeof whole / sizeof *whole);
    tcase_add_test(t, blocks);
    tcase_add_test(t, parting);
#ifdef DFO_DOUBLE
    tcase_add_loop_test(t, gradients, 0, sizeof graded / sizeof *graded);
    tcase_add_test(t, strong_orders);
    tcase_add_loop_test(t, marginals, 0, sizeof drawn / sizeof *drawn);
#endif
    suite_add_tcase(suite, t);
    return test_run(suite);
}
