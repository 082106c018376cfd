/* Rex against exact predictors of a Gaussian mixture: the reference vectors, the way back, chosen steps, what is refused.  */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ctxfix.h"
#include "rextools.h"

/* ---- reference vectors */

struct table {
    size_t steps;
    const double *w, *h;
    double clock[16];
};

static void from_table(const void *data, uint64_t row, size_t d, double s, double t, double *w, double *h)
{
    const struct table *k = data;
    size_t i = 0;
    (void)row;
    while (i < k->steps && k->clock[i] != s)
        i++;
    ck_assert(i < k->steps && k->clock[i + 1] == t);
    for (size_t j = 0; j < d; j++) {
        w[j] = k->w[d * i + j];
        h[j] = k->h ? k->h[d * i + j] : 0;
    }
}

static void close_to(const char *name, const char *what, const dfo_real *got, const double *want, double size, double allowed)
{
    for (size_t j = 0; j < 2; j++)
        ck_assert_msg(fabs((double)got[j] - want[j]) <= allowed * size, "%s, %s: %zu is %.17g, expected %.17g", name, what, j,
                      (double)got[j], want[j]);
}

static double size_of(ref_array a)
{
    double size = 1;
    for (size_t i = 0; i < a.n; i++)
        size = fmax(size, fabs(a.data[i]));
    return size;
}

static void reference_case(ref_case c)
{
    static const char *const forms[] = {"ode_data", "ode_noise", "sde_data", "sde_noise"};
    ref_array t = ref_need(c, "inputs.t"), start = ref_need(c, "inputs.x_start"), x = ref_need(c, "outputs.x"),
              xh = ref_need(c, "outputs.xh");
    const char *method = ref_text(c, "settings.method", "");
    int form = 0;
    while (strcmp(forms[form], ref_text(c, "settings.mode", "")))
        ck_assert_int_lt(++form, DFO_REX_FORMS);
    dfo_rex_options o =
        options_of((dfo_rex_form)form, strcmp(method, "euler_maruyama") ? method : NULL, ref_number(c, "settings.zeta", 1));
    mixture m = mixture_of(c, wants_data(o.form));
    dfo_field f = mixture_field(&m);
    size_t n = t.n - 1;
    struct table table = {.steps = n, .w = ref_get(c, "inputs.dW").data, .h = ref_get(c, "inputs.H").data};
    for (size_t i = 0; i <= n; i++) {
        double chi = dfo_noise_schedule_clock(&m.schedule, DFO_CLOCK_CHI, t.data[i]);
        table.clock[i] = form == DFO_REX_SDE_DATA ? dfo_noise_schedule_clock(&m.schedule, DFO_CLOCK_RHO, t.data[i]) : chi * chi;
    }
    o.schedule = m.schedule;
    o.noise = from_table;
    o.noise_data = &table;
    dfo_rex *rex = made(ctx, &o);
    dfo_run run = run_of(rex, &f, 1);
    dfo_real at[2] = {(dfo_real)start.data[0], (dfo_real)start.data[1]}, hat[2] = {at[0], at[1]};
    dfo_batch bx = dfo_batch_of(at, 1, 2), bh = dfo_batch_of(hat, 1, 2);
    /* float: 2e-6 a step; more where large clocks meet, in the proportion that double shows (3e-11 and 6e-10, where eps is
     * 2e-16) */
    static const double coarse[4] = {8e-6, 2e-3, 8e-6, 8e-6}, coarse_back[4] = {8e-6, 8e-6, 2e-3, 4e-2};
    double allowed = IS_DOUBLE ? 1e-9 : coarse[form], back = IS_DOUBLE ? 1e-7 : coarse_back[form];
    for (size_t i = 0; i < n; i++) {
        RUN(dfo_rex_forward(rex, &f, &run, 1, t.data + i, bx, bh));
        close_to(c.name, "x", at, x.data + 2 * (i + 1), size_of(x), allowed);
        close_to(c.name, "second state", hat, xh.data + 2 * (i + 1), size_of(xh), allowed);
    }
    RUN(dfo_rex_inverse(rex, &f, &run, n, t.data, bx, bh));
    close_to(c.name, "start", at, start.data, 1, back);
    close_to(c.name, "start of the second state", hat, start.data, 1, back);
    close_to(c.name, "start as recorded", at, ref_need(c, "outputs.rec_x").data, 1, back);
    free(run.arena);
    dfo_rex_free(rex);
}

START_TEST(reference)
{
    ref_file *f = ref_open("diffusion_steps");
    size_t count = 0;
    for (size_t i = 0; i < ref_cases(f); i++)
        if (!strncmp(ref_at(f, i).name, "rex", 3)) {
            reference_case(ref_at(f, i));
            count++;
        }
    ck_assert_uint_eq(count, 22);
    ref_close(f);
}
END_TEST

/* ---- the way back */

/* What a round trip may lose, over eps times the growth times the largest number met: the condition of the single steps, and of the
 * predictor.  sde-noise is not stable with a zeta near 1 where its steps are no small part of chi.  */
static const struct trip {
    dfo_rex_form form;
    const char *method;
    double from, to, allowed;
} trips[] = {
    {DFO_REX_ODE_DATA, "euler", 0.9, 0.02, 30},   {DFO_REX_ODE_DATA, "midpoint", 0.9, 0.02, 30},
    {DFO_REX_ODE_DATA, "dopri5", 0.9, 0.02, 30},  {DFO_REX_ODE_DATA, "midpoint", 0.02, 0.9, 30},
    {DFO_REX_ODE_NOISE, "euler", 0.9, 0.02, 30},  {DFO_REX_ODE_NOISE, "midpoint", 0.9, 0.02, 30},
    {DFO_REX_ODE_NOISE, "dopri5", 0.9, 0.02, 30}, {DFO_REX_ODE_NOISE, "midpoint", 0.02, 0.9, 300},
    {DFO_REX_SDE_DATA, NULL, 0.9, 0.02, 400},     {DFO_REX_SDE_DATA, "shark", 0.9, 0.02, 400},
    {DFO_REX_SDE_NOISE, NULL, 0.9, 0.02, 1000},
};

START_TEST(round_trips)
{
    const struct trip *k = &trips[_i];
    static const size_t steps[] = {10, 20, 50};
    static const double zetas[] = {0.999, 0.9};
    for (size_t c = 0; c < 12; c++) {
        double t[64], largest = 1, off = 0, size = DFO_REAL_EPS;
        size_t n = steps[c % 3];
        dfo_rex_options o = options_of(k->form, k->method, zetas[c / 3 % 2]);
        mixture m = mixture_usual(DFO_NOISE_VP, wants_data(k->form));
        dfo_field f = mixture_field(&m);
        dfo_rex *rex = made(ctx, &o);
        dfo_run run = run_of(rex, &f, 8);
        dfo_real x[16], xh[16], start[16];
        dfo_batch bx = dfo_batch_of(x, 8, 2), bh = dfo_batch_of(xh, 8, 2);
        grid_of(ctx, &m.schedule, c < 6 ? "uniform" : "log-snr", k->from, k->to, n, t);
        start_rows(x, xh, 16);
        memcpy(start, x, sizeof x);
        RUN(dfo_rex_forward(rex, &f, &run, n, t, bx, bh));
        for (size_t i = 0; i < 16; i++)
            largest = fmax(largest, fmax(fabs((double)x[i]), fabs((double)xh[i])));
        ck_assert(fabs((double)x[0] - (double)start[0]) > 1e-3);
        RUN(dfo_rex_inverse(rex, &f, &run, n, t, bx, bh));
        for (size_t i = 0; i < 16; i++)
            off = fmax(off, fmax(fabs((double)x[i] - (double)start[i]), fabs((double)xh[i] - (double)start[i])));
        ck_assert(fabs(dfo_rex_growth(rex, n, NULL) / pow(o.zeta, -(double)n) - 1) < 1e-12);
        ck_assert_msg(off <= k->allowed * size * dfo_rex_growth(rex, n, t) * largest,
                      "%s, %s, %zu steps, zeta %g: off by %g, %g of the bound", dfo_rex_form_name(k->form), k->method, n, o.zeta,
                      off, off / (k->allowed * size * dfo_rex_growth(rex, n, t) * largest));
        free(run.arena);
        dfo_rex_free(rex);
    }
}
END_TEST

/* ---- chosen steps, and what is refused */

START_TEST(adaptive)
{
    /* missed: by the run with ten times the tolerance, over that.  ode-noise makes its errors where alpha is small, and the
     * difference of the two states grows as alpha does.  The test's noise is no path where steps overlap: nothing to miss.  */
    static const struct { dfo_rex_form form; const char *method; double tolerance, missed;
    } kinds[] = {{DFO_REX_ODE_DATA, "dopri5", 1e-5, 20},
                 {DFO_REX_ODE_NOISE, "bosh3", 1e-5, 400},
                 {DFO_REX_ODE_DATA, "dop853", 1e-5, 20},
                 {DFO_REX_SDE_DATA, "shark", 0.05, HUGE_VAL}};
    double t[1001], off = 0, missed = 0;
    size_t steps, fewer, evaluations;
    dfo_rex_options o = options_of(kinds[_i].form, kinds[_i].method, 0.999);
    o.rtol = o.atol = kinds[_i].tolerance;
    mixture m = mixture_usual(DFO_NOISE_VP, wants_data(o.form));
    dfo_field f = mixture_field(&m);
    dfo_rex *rex = made(ctx, &o);
    dfo_run run = run_of(rex, &f, 4);
    dfo_real x[8], xh[8], again[8], hat[8], start[8];
    dfo_batch bx = dfo_batch_of(x, 4, 2), bh = dfo_batch_of(xh, 4, 2), ba = dfo_batch_of(again, 4, 2), bg = dfo_batch_of(hat, 4, 2);
    start_rows(x, xh, 8);
    start_rows(again, hat, 8);
    memcpy(start, x, sizeof x);
    RUN(dfo_rex_adapt(rex, &f, &run, 0.9, 0.05, bx, bh, 1000, t, &steps));
    ck_assert(steps > 3 && t[0] == 0.9 && t[steps] == 0.05);
    evaluations = m.evaluations;
    RUN(dfo_rex_forward(rex, &f, &run, steps, t, ba, bg));                /* the same steps, to the last bit */
    ck_assert(!memcmp(x, again, sizeof x) && !memcmp(xh, hat, sizeof xh));
    ck_assert_uint_le(m.evaluations - evaluations, evaluations);
    RUN(dfo_rex_inverse(rex, &f, &run, steps, t, bx, bh));
    for (size_t i = 0; i < 8; i++)
        off = fmax(off, fabs((double)x[i] - (double)start[i]));
    ck_assert_msg(off <= 400 * (double)DFO_REAL_EPS * dfo_rex_growth(rex, steps, t) * 3, "%zu steps: off by %g", steps, off);
    dfo_rex_free(rex);
    o.rtol = o.atol = kinds[_i].tolerance * 10;
    rex = made(ctx, &o);
    start_rows(x, xh, 8);
    RUN(dfo_rex_adapt(rex, &f, &run, 0.9, 0.05, bx, bh, 1000, t, &fewer));
    for (size_t i = 0; i < 8; i++)
        missed = fmax(missed, fabs((double)x[i] - (double)again[i]));
    ck_assert_msg(fewer < steps && missed <= kinds[_i].missed * o.rtol, "%zu and %zu steps, off by %g", fewer, steps, missed);
    ck_assert_int_eq(dfo_rex_adapt(rex, &f, &run, 0.9, 0.05, bx, bh, 2, t, &fewer), DFO_ENUM);
    ck_assert_ptr_nonnull(strstr(run.text, "more than 2 steps"));
    free(run.arena);
    dfo_rex_free(rex);
}
END_TEST

#ifdef DFO_DOUBLE
/* Methods of order 8 take about the same steps, one with an estimate of order 7, one with two that make such a one.  */
START_TEST(adaptive_estimates)
{
    static const char *const method[] = {"pd87", "dop853"};
    double t[1001], off = 0;
    size_t steps[2];
    dfo_real x[2][8], xh[8];
    for (size_t m = 0; m < 2; m++) {
        dfo_rex_options o = options_of(DFO_REX_ODE_DATA, method[m], 0.999);
        o.rtol = o.atol = 1e-9;
        mixture mix = mixture_usual(DFO_NOISE_VP, wants_data(o.form));
        dfo_field f = mixture_field(&mix);
        dfo_rex *rex = made(ctx, &o);
        dfo_run run = run_of(rex, &f, 4);
        start_rows(x[m], xh, 8);
        RUN(dfo_rex_adapt(rex, &f, &run, 0.9, 0.05, dfo_batch_of(x[m], 4, 2), dfo_batch_of(xh, 4, 2), 1000, t, &steps[m]));
        free(run.arena);
        dfo_rex_free(rex);
    }
    for (size_t i = 0; i < 8; i++)
        off = fmax(off, fabs(x[0][i] - x[1][i]));
    ck_assert_msg(off < 1e-7 && steps[1] < 1.3 * (double)steps[0], "%zu and %zu steps, apart by %g", steps[0], steps[1], off);
}
END_TEST
#endif

static void one_line(const char *text, const char *part)
{
    ck_assert_msg(strlen(text) > 15 && !strchr(text, '\n') && strstr(text, part), "'%s' does not say '%s'", text, part);
}

START_TEST(refused)
{
    static const struct { dfo_rex_form form; const char *method; double zeta; const char *says;
    } bad[] = {{DFO_REX_ODE_DATA, "euler", -0.5, "zeta -0.5"},   {DFO_REX_ODE_DATA, "euler", 1.001, "zeta 1.001"},
               {DFO_REX_ODE_DATA, "euler", NAN, "zeta"},         {DFO_REX_ODE_DATA, "rk5", 0.9, "'rk5'"},
               {DFO_REX_ODE_NOISE, "kvaerno3", 0.9, "implicit"}, {DFO_REX_SDE_DATA, "dopri5", 0.9, "'dopri5'"},
               {DFO_REX_SDE_NOISE, "shark", 0.9, "sde-data"},    {(dfo_rex_form)9, NULL, 0.9, "number 9"}};
    dfo_rex_options o;
    dfo_rex *rex;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        o = options_of(bad[i].form, bad[i].method, bad[i].zeta);
        ck_assert_int_eq(dfo_rex_new(ctx, &o, &rex), DFO_EARG);
        ck_assert_ptr_null(rex);
        one_line(dfo_ctx_error(ctx), bad[i].says);
    }
    o = options_of(DFO_REX_SDE_DATA, NULL, 0.9);
    o.noise = NULL;
    ck_assert_int_eq(dfo_rex_new(ctx, &o, &rex), DFO_EARG);
    one_line(dfo_ctx_error(ctx), "noise");
    o.noise = brownian;
    rex = made(ctx, &o);
    ck_assert_str_eq(dfo_rex_options_of(rex)->method, "euler-maruyama");
    dfo_rex_free(rex);
    o = options_of(DFO_REX_ODE_DATA, NULL, 0);
    o.one_state = 0;
    ck_assert_int_eq(dfo_rex_new(ctx, &o, &rex), DFO_EARG);
    one_line(dfo_ctx_error(ctx), "zeta 0");
    ck_assert_ptr_null(dfo_rex_form_name(DFO_REX_FORMS));
    dfo_rex_free(NULL);
}
END_TEST

#define FAILS(call, code, says)                                               \
    do {                                                                      \
        run.status = DFO_OK;                                                  \
        run.text[0] = 0;                                                      \
        ck_assert_int_eq(call, code);                                         \
        one_line(run.text, says);                                             \
        ck_assert_uint_eq(run.arena_used, 0);                                 \
    } while (0)

START_TEST(refused_calls)
{
    double turns[] = {0.9, 0.5, 0.6, 0.1}, stands[] = {0.9, 0.9, 0.1}, clean[] = {0.5, 0}, good[] = {0.9, 0.5, 0.1};
    size_t steps;
    dfo_rex_options o = options_of(DFO_REX_ODE_DATA, "euler", 0.9), one = options_of(DFO_REX_ODE_DATA, "dopri5", 0);
    mixture m = mixture_usual(DFO_NOISE_VP, 1);
    dfo_field f = mixture_field(&m);
    dfo_rex *rex = made(ctx, &o), *princeps = made(ctx, &one);
    dfo_run run = run_of(princeps, &f, 2);
    dfo_real x[6] = {1, 1, 1, (dfo_real)NAN, 1, 1}, xh[6] = {1, 1, 1, 1, 1, 1};
    dfo_batch bx = dfo_batch_of(x, 2, 2), bh = dfo_batch_of(xh, 2, 2), three = dfo_batch_of(x, 2, 3),
              none = dfo_batch_of(NULL, 2, 2);
    int64_t y[4] = {0};
    run.key.row = 40;
    FAILS(dfo_rex_forward(rex, &f, &run, 0, good, bx, bh), DFO_EARG, "0 steps");
    FAILS(dfo_rex_forward(rex, &f, &run, 3, turns, bx, bh), DFO_EARG, "time 2 of the grid");
    FAILS(dfo_rex_inverse(rex, &f, &run, 2, stands, bx, bh), DFO_EARG, "time 1 of the grid");
    FAILS(dfo_rex_forward(rex, &f, &run, 1, clean, bx, bh), DFO_EARG, "no finite clock");
    FAILS(dfo_rex_forward(rex, &f, &run, 2, good, three, three), DFO_ESHAPE, "3 numbers, expected 2");
    FAILS(dfo_rex_forward(rex, &f, &run, 2, good, bx, none), DFO_ESHAPE, "second state");
    FAILS(dfo_rex_forward(rex, &f, &run, 2, good, bx, bh), DFO_ENUM, "row 41, t = 0.5");
    FAILS(dfo_rex_adapt(rex, &f, &run, 0.9, 0.1, bx, bh, 10, good, &steps), DFO_EARG, "no estimate");
    FAILS(dfo_rex_inverse(princeps, &f, &run, 2, good, bx, none), DFO_EUNSUP, "Princeps");
    FAILS(dfo_rex_fixed_forward(rex, &f, &run, 2, good, 30, 2, y, y), DFO_EUNSUP, "zeta of 1");
    FAILS(dfo_rex_fixed_from(rex, &run, 0.5, 70, bx, y), DFO_EARG, "70 bits");
    free(run.arena);
    dfo_rex_free(rex);
    dfo_rex_free(princeps);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("rex " DFO_REAL_NAME);
    TCase *t = tcase_create("rex");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, reference);
    tcase_add_loop_test(t, round_trips, 0, sizeof trips / sizeof *trips);
    tcase_add_loop_test(t, adaptive, 0, 4);
#ifdef DFO_DOUBLE
    tcase_add_test(t, adaptive_estimates);
#endif
    tcase_add_test(t, refused);
    tcase_add_test(t, refused_calls);
    suite_add_tcase(suite, t);
    return test_run(suite);
}
