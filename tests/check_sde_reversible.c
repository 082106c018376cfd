/* Reversible Heun for stochastic equations: the reference vectors, the way back, gradients against differences, its order.  */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ctxfix.h"
#include "odefields.h"
#include "sde_impl.h"
#include "sdefields.h"
#include "util.h"

/* ---- G = S (1 + 0.3 sin(x + t)), S (d,m), of m = 0 its first column as a diagonal; its gradient stands behind the drift's */

enum { D = 3, WEIGHTS = 59 };

static double s_weight[2 * D];

static double factor(double t, double x)
{
    return 1 + 0.3 * sin(x + t);
}

static dfo_status eval(const dfo_noise *noise, dfo_run *run, const double *t, dfo_batch x, dfo_real *g)
{
    size_t m = noise->m ? noise->m : 1;
    (void)run;
    for (size_t r = 0; r < x.n; r++)
        for (size_t i = 0; i < D; i++)
            for (size_t k = 0; k < m; k++)
                *g++ = (dfo_real)(s_weight[2 * i + k] * factor(t[r], (double)dfo_row(x, r)[i]));
    return DFO_OK;
}

static dfo_status vjp(const dfo_noise *noise, dfo_run *run, const double *t, dfo_batch x, dfo_real *gg, dfo_batch gx)
{
    size_t m = noise->m ? noise->m : 1;
    for (size_t r = 0; r < x.n; r++)
        for (size_t i = 0; i < D; i++)
            for (size_t k = 0; k < m; k++, gg++) {
                double at = (double)dfo_row(x, r)[i];
                dfo_row(gx, r)[i] += (dfo_real)((double)*gg * s_weight[2 * i + k] * 0.3 * cos(at + t[r]));
                if (run->grads)
                    run->grads[WEIGHTS + 2 * i + k] += (dfo_real)((double)*gg * factor(t[r], at));
            }
    return DFO_OK;
}

static const struct dfo_noise_ops ops = {.type = "sine", .eval = eval, .vjp = vjp};

static dfo_noise noise_of(size_t m)
{
    return (dfo_noise){.ops = &ops, .kind = m ? DFO_NOISE_GENERAL : DFO_NOISE_DIAGONAL, .calculus = DFO_STRATONOVICH, .d = D, .m = m};
}

static dfo_run run_of(const dfo_sde_reversible *how, size_t rows)
{
    dfo_run run = {.arena_size = dfo_sde_reversible_scratch(how, rows)};
    run.arena = calloc(run.arena_size, sizeof *run.arena);
    ck_assert_ptr_nonnull(run.arena);
    memset(run.arena, -1, run.arena_size * sizeof *run.arena);      /* not a number */
    return run;
}

/* The file's case of that name.  */
static ref_case case_of(ref_file *file, const char *name)
{
    for (size_t i = 0; i < ref_cases(file); i++)
        if (!strcmp(ref_at(file, i).name, name))
            return ref_at(file, i);
    ck_abort_msg("no case %s", name);
}

static dfo_field start(ref_file *file)
{
    ref_case c = case_of(file, "reversible_heun_sde");
    memcpy(s_weight, ref_need(c, "inputs.S").data, sizeof s_weight);
    return odefield_of(c, "inputs");
}

static void close_to(const char *what, size_t n, const dfo_real *got, const double *want, double allowed)
{
    double size = 1;
    for (size_t i = 0; i < n; i++)
        size = fmax(size, fabs(want[i]));
    for (size_t i = 0; i < n; i++)
        ck_assert_msg(fabs((double)got[i] - want[i]) <= allowed * size, "%s: %zu is %.17g, expected %.17g", what, i, (double)got[i], want[i]);
}

/* The states after 1, 2, .. steps, the way back, the gradient of seed . y_N.  */
START_TEST(reference)
{
    ref_file *file = ref_open("reversible_other");
    ref_case c = case_of(file, "reversible_heun_sde");
    dfo_field f = start(file);
    dfo_noise noise = noise_of(2);
    ref_array y0 = ref_need(c, "inputs.y0"), seed = ref_need(c, "inputs.seed"), w = ref_need(c, "inputs.dW");
    double t0 = ref_number(c, "settings.t0", 0), h = ref_number(c, "settings.h", 0), allowed = IS_DOUBLE ? 1e-13 : 1e-5;
    for (size_t n = 1; n <= 5; n++) {
        dfo_sde_reversible how = {&f, &noise, NULL, t0, t0 + (double)n * h, n};
        dfo_run run = run_of(&how, 1);
        dfo_real y[D], s[D], gy[D], gs[D] = {0}, gw[WEIGHTS + 2 * D] = {0};
        dfo_batch by = dfo_batch_of(y, 1, D), bs = dfo_batch_of(s, 1, D), bgy = dfo_batch_of(gy, 1, D), bgs = dfo_batch_of(gs, 1, D);
        for (size_t i = 0; i < D; i++) {
            y[i] = s[i] = (dfo_real)y0.data[i];
            gy[i] = (dfo_real)seed.data[i];
        }
        RUN(dfoi_sde_reversible_go(&how, &run, DFOI_FORWARD, w.data, by, bs, by, bs));
        close_to("y", D, y, ref_need(c, "outputs.y").data + n * D, allowed);
        close_to("second state", D, s, ref_need(c, "outputs.yh").data + n * D, allowed);
        run.grads = gw;
        RUN(dfoi_sde_reversible_go(&how, &run, DFOI_BACKWARD, w.data, by, bs, bgy, bgs));
        ck_assert_uint_eq(run.arena_used, 0);
        close_to("start", D, y, y0.data, 10 * allowed);
        close_to("its second state", D, s, y0.data, 10 * allowed);
        if (n == 5) {
            static const char *const name[] = {"outputs.grad_W1", "outputs.grad_wt", "outputs.grad_b1", "outputs.grad_W2", "outputs.grad_b2",
                                               "outputs.grad_S"};
            size_t at = 0;
            for (size_t k = 0; k < 6; at += ref_need(c, name[k]).n, k++)
                close_to(name[k], ref_need(c, name[k]).n, gw + at, ref_need(c, name[k]).data, 10 * allowed);
            ck_assert_uint_eq(at, WEIGHTS + 2 * D);
            for (size_t i = 0; i < D; i++)
                gy[i] += gs[i];
            close_to("gradient", D, gy, ref_need(c, "outputs.grad_y0").data, 10 * allowed);
        }
        free(run.arena);
    }
    ref_close(file);
}
END_TEST

/* Rows that start somewhere, the whole way and back along their paths, either direction of time.  */
START_TEST(there_and_back)
{
    enum { ROWS = 4 };
    ref_file *file = ref_open("reversible_other");
    dfo_field f = start(file);
    dfo_brownian b = {3, 0, 2, 1e-4};
    for (size_t m = 0; m <= 2; m += 2)
        for (int back = 0; back < 2; back++) {
            dfo_noise noise = noise_of(m);
            dfo_sde_reversible how = {&f, &noise, &b, back ? 2 : 0, back ? 0 : 2, 100};
            dfo_run run = run_of(&how, ROWS);
            dfo_real y[ROWS * D], s[ROWS * D], first[ROWS * D], alone[D], second[D];
            dfo_batch by = dfo_batch_of(y, ROWS, D), bs = dfo_batch_of(s, ROWS, D);
            for (size_t i = 0; i < ROWS * D; i++)
                first[i] = y[i] = s[i] = (dfo_real)cos(2.0 * (double)i);
            memcpy(alone, y + 2 * D, sizeof alone);
            memcpy(second, alone, sizeof alone);
            RUN(dfo_sde_reversible_forward(&how, &run, by, bs));
            run.key.row = 2;
            RUN(dfo_sde_reversible_forward(&how, &run, dfo_batch_of(alone, 1, D), dfo_batch_of(second, 1, D)));
            run.key.row = 0;
            ck_assert(!memcmp(alone, y + 2 * D, sizeof alone));
            ck_assert(fabs((double)y[0] - (double)first[0]) > 1e-3);
            RUN(dfo_sde_reversible_inverse(&how, &run, by, bs));
            for (size_t i = 0; i < ROWS * D; i++)
                ck_assert_msg(fabs((double)y[i] - (double)first[i]) <= 500 * (double)DFO_REAL_EPS && fabs((double)s[i] - (double)first[i]) <= 500 * (double)DFO_REAL_EPS,
                              "%zu is off by %g, %g", i, (double)y[i] - (double)first[i], (double)s[i] - (double)first[i]);
            size_t few = dfo_sde_reversible_scratch(&how, ROWS);
            how.steps = 100000;
            ck_assert_uint_eq(dfo_sde_reversible_scratch(&how, ROWS), few);
            free(run.arena);
        }
    ref_close(file);
}
END_TEST

#ifdef DFO_DOUBLE
/* sum cos(i) y_i at the end of two rows; gy and run->grads: gradients.  */
static double loss_of(const dfo_sde_reversible *how, dfo_run *run, const dfo_real *from, dfo_real *gy)
{
    dfo_real y[2 * D], s[2 * D], gs[2 * D] = {0};
    dfo_batch by = dfo_batch_of(y, 2, D), bs = dfo_batch_of(s, 2, D);
    double loss = 0;
    memcpy(y, from, sizeof y);
    memcpy(s, from, sizeof s);
    ck_assert_int_eq(dfo_sde_reversible_forward(how, run, by, bs), DFO_OK);
    for (size_t i = 0; i < 2 * D; i++) {
        loss += cos((double)i) * (double)y[i];
        if (gy)
            gy[i] = (dfo_real)cos((double)i);
    }
    if (gy) {
        ck_assert_int_eq(dfo_sde_reversible_backward(how, run, by, bs, dfo_batch_of(gy, 2, D), dfo_batch_of(gs, 2, D)), DFO_OK);
        for (size_t i = 0; i < 2 * D; i++)
            gy[i] += gs[i];
    }
    return loss;
}

static double difference(const dfo_sde_reversible *how, dfo_run *run, dfo_real *x, double *at)
{
    double was = *at, up;
    *at = was + 1e-5;
    up = loss_of(how, run, x, NULL);
    *at = was - 1e-5;
    up -= loss_of(how, run, x, NULL);
    *at = was;
    return up / 2e-5;
}

START_TEST(gradients)
{
    ref_file *file = ref_open("reversible_other");
    dfo_field f = start(file);
    dfo_noise noise = noise_of(_i ? 2 : 0);
    dfo_brownian b = {4, 0, 1, 1e-3};
    dfo_sde_reversible how = {&f, &noise, &b, 0.1, 0.9, 12};
    dfo_run run = run_of(&how, 2);
    dfo_real x[2 * D], gy[2 * D], gw[WEIGHTS + 2 * D] = {0};
    double worst = 0;
    for (size_t i = 0; i < 2 * D; i++)
        x[i] = sin(1.3 * (double)i);
    run.grads = gw;
    loss_of(&how, &run, x, gy);
    run.grads = NULL;
    for (size_t i = 0; i < 2 * D; i++)
        worst = fmax(worst, fabs(difference(&how, &run, x, &x[i]) - gy[i]));
    for (size_t k = 0; k < WEIGHTS + 2 * D; k++) {
        double *w = k < WEIGHTS ? odefield_weight(k) : &s_weight[k - WEIGHTS];
        worst = fmax(worst, fabs(difference(&how, &run, x, w) - gw[k]));
    }
    ck_assert_msg(worst < 1e-8, "off by %g", worst);
    free(run.arena);
    ref_close(file);
}
END_TEST

/* Strong order 1 for additive noise, against many more steps on the same paths.  */
START_TEST(order)
{
    enum { ROWS = 20, N = ROWS * MOST, SIZES = 5 };
    struct equation e = {.name = "sine"};
    dfo_field f = sdefield_of(&e, MOST);
    dfo_noise noise = sdefield_noise(&e, MOST, DFO_NOISE_ADDITIVE, DFO_ITO);
    dfo_brownian b = {6, 0, 1, 1.0 / 2048};
    dfo_sde_reversible how = {&f, &noise, &b, 0, 1, 0};
    dfo_run run = run_of(&how, ROWS);
    static dfo_real want[N], y[N], s[N];
    double error[SIZES], slope = 0;
    sdefield_start(N, 0.5, want);
    sdefield_solve(ctx, "shark", 2048, &f, &noise, &b, 0, 1, ROWS, want);
    for (size_t k = 0; k < SIZES; k++) {
        how.steps = (size_t)16 << k;
        sdefield_start(N, 0.5, y);
        sdefield_start(N, 0.5, s);
        RUN(dfo_sde_reversible_forward(&how, &run, dfo_batch_of(y, ROWS, MOST), dfo_batch_of(s, ROWS, MOST)));
        error[k] = sdefield_rms(N, y, want);
        slope -= ((double)k - 2) * log2(error[k]) / 10;
    }
    ck_assert_msg(fabs(slope - 1) <= 0.2, "order %.2f (errors %g .. %g)", slope, error[0], error[SIZES - 1]);
    free(run.arena);
}
END_TEST
#endif

START_TEST(refused)
{
    enum { FORWARD, BACKWARD };
    static const struct { int way, ito, bare; size_t steps; double t1; dfo_status status; const char *text; } bad[] = {
        {FORWARD, 0, 0, 0, 1, DFO_EARG, "0 steps"}, {FORWARD, 1, 0, 10, 1, DFO_EUNSUP, "got Ito's"},
        {FORWARD, 0, 0, 10, 3, DFO_EARG, "expected times of the path"}, {FORWARD, 0, 0, 5000, 1, DFO_EARG, "the path's tol"},
        {BACKWARD, 0, 1, 10, 1, DFO_EUNSUP, "noise 'bare' has no gradient"}, {FORWARD, 0, 2, 10, 1, DFO_ENUM, "row 9, t = 0.1: not finite"}};
    static const struct dfo_noise_ops bare = {.type = "bare", .eval = eval};
    ref_file *file = ref_open("reversible_other");
    dfo_field f = start(file);
    dfo_brownian b = {4, 0, 2, 1e-3};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        dfo_noise noise = noise_of(2);
        noise.ops = bad[i].bare ? &bare : noise.ops;
        noise.calculus = bad[i].ito ? DFO_ITO : DFO_STRATONOVICH;
        dfo_sde_reversible how = {&f, &noise, &b, 0, bad[i].t1, bad[i].steps};
        dfo_run run = run_of(&how, 3);
        dfo_real x[4][3 * D] = {{0}};
        dfo_batch y = dfo_batch_of(x[0], 3, D), s = dfo_batch_of(x[1], 3, D);
        run.key.row = 7;
        x[0][2 * D] = bad[i].bare == 2 ? (dfo_real)INFINITY : 0;
        dfo_status status = bad[i].way == BACKWARD
            ? dfo_sde_reversible_backward(&how, &run, y, s, dfo_batch_of(x[2], 3, D), dfo_batch_of(x[3], 3, D))
            : dfo_sde_reversible_forward(&how, &run, y, s);
        ck_assert_msg(status == bad[i].status && strstr(run.text, bad[i].text), "%zu: '%s', expected '%s'", i, run.text, bad[i].text);
        ck_assert_uint_eq(run.arena_used, 0);
        free(run.arena);
    }
    ref_close(file);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("reversible Heun for stochastic equations " DFO_REAL_NAME);
    TCase *t = tcase_create("sde reversible");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, reference);
    tcase_add_test(t, there_and_back);
    tcase_add_test(t, refused);
#ifdef DFO_DOUBLE
    tcase_add_loop_test(t, gradients, 0, 2);
    tcase_add_test(t, order);
#endif
    suite_add_tcase(suite, t);
    return test_run(suite);
}
