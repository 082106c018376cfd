/* DDIM, its inversions, EDICT, BDIA, O-BELM: the reference vectors, orders, the way back, what is refused.  */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <diffeo/ddim.h>
#include "ctxfix.h"
#include "mixfield.h"
#include "util.h"

static dfo_ddim *made(const dfo_ddim_options *o)
{
    dfo_ddim *ddim;
    OK(dfo_ddim_new(ctx, o, &ddim));
    return ddim;
}

static dfo_run run_of(const dfo_ddim *ddim, const dfo_field *f, size_t rows)
{
    dfo_run run = {.arena_size = dfo_ddim_scratch(ddim, f, rows)};
    run.arena = aligned_alloc(64, run.arena_size * sizeof *run.arena);
    ck_assert_ptr_nonnull(run.arena);
    memset(run.arena, -1, run.arena_size * sizeof *run.arena);      /* not a number */
    return run;
}

static double gap(const dfo_real *got, const double *want)
{
    return fmax(fabs((double)got[0] - want[0]), fabs((double)got[1] - want[1]));
}

/* ---- reference vectors: 1e-12 max(1, max|want|), in float 2e-6 a step; of EDICT 1e-5: here alpha grows up to eightfold in a step,
 * a x and b eps nearly cancel, and each chain takes the other's rounding */

static double allowed_of(ref_array want, size_t steps, double coarse)
{
    double size = 1;
    for (size_t i = 0; i < want.n; i++)
        size = fmax(size, fabs(want.data[i]));
    return size * (IS_DOUBLE ? 1e-12 : coarse * (double)steps);
}

/* The states after every number of steps: two-step schemes begin anew each time.  */
static void forward_case(ref_case c, const char *scheme, double weight, int data)
{
    ref_array t = ref_need(c, "inputs.t"), start = ref_need(c, "inputs.x_start"), x = ref_need(c, "outputs.x"),
              y = ref_get(c, "outputs.y");
    ref_array back = ref_get(c, "outputs.rec_x");
    double coarse = y.data ? 1e-5 : 2e-6;
    mixture m = mixture_of(c, data);
    dfo_field f = mixture_field(&m);
    dfo_ddim_options o = {.schedule = m.schedule, .scheme = scheme, .weight = weight, .data = data};
    dfo_ddim *ddim = made(&o);
    dfo_run run = run_of(ddim, &f, 1);
    dfo_real at[2], other[2];
    dfo_batch bx = dfo_batch_of(at, 1, 2), bs = dfo_batch_of(dfo_ddim_pair(ddim) ? other : NULL, 1, 2);
    for (size_t n = 1; n < t.n; n++) {
        for (size_t j = 0; j < 2; j++)
            at[j] = other[j] = (dfo_real)start.data[j];
        RUN(dfo_ddim_forward(ddim, &f, &run, n, t.data, bx, bs));
        ck_assert_msg(gap(at, x.data + 2 * n) <= allowed_of(x, n, coarse), "%s, step %zu: off by %g", c.name, n,
                      gap(at, x.data + 2 * n));
        if (dfo_ddim_pair(ddim)) {
            const double *want = y.data ? y.data + 2 * n : x.data + 2 * n - 2;
            ck_assert_msg(gap(other, want) <= allowed_of(y.data ? y : x, n, coarse), "%s, second state, step %zu: off by %g",
                          c.name, n, gap(other, want));
        }
    }
    if (back.data) {
        RUN(dfo_ddim_inverse(ddim, &f, &run, t.n - 1, t.data, bx, bs));
        double allowed = IS_DOUBLE ? 1e-7 : 1e-4;
        ck_assert_msg(gap(at, start.data) <= allowed && gap(at, back.data) <= allowed, "%s: back by %g", c.name,
                      gap(at, start.data));
        ck_assert(gap(other, y.data ? start.data : x.data + 2) <= allowed);
    }
    free(run.arena);
    dfo_ddim_free(ddim);
}

static void inversion_case(ref_case c)
{
    ref_array t = ref_need(c, "inputs.t"), end = ref_need(c, "inputs.x_end"), naive = ref_need(c, "outputs.naive_inverse"),
              point = ref_need(c, "outputs.fixed_point_iterates_last_step"),
              limit = ref_need(c, "outputs.fixed_point_limit_last_step");
    size_t n = t.n - 1;
    mixture m = mixture_of(c, 0);
    dfo_field f = mixture_field(&m);
    for (size_t k = 0; k < n + 9; k++) {
        size_t steps = k < n ? k + 1 : 1, iterations = k < n ? 0 : k < n + 8 ? k - n + 1 : 400;
        dfo_ddim_options o = {
            .schedule = m.schedule, .iterations = iterations, .tolerance = iterations == 400 ? 4 * DFO_REAL_EPS : 0};
        dfo_ddim *ddim = made(&o);
        dfo_run run = run_of(ddim, &f, 1);
        dfo_real x[2] = {(dfo_real)end.data[0], (dfo_real)end.data[1]};
        const double *want = k < n ? naive.data + 2 * steps : k < n + 8 ? point.data + 2 * iterations : limit.data;
        RUN(dfo_ddim_inverse(ddim, &f, &run, steps, t.data + n - steps, dfo_batch_of(x, 1, 2), dfo_batch_of(NULL, 1, 2)));
        double allowed =
            allowed_of(point, 8, 2e-6) * (iterations == 400 ? 4 : 1); /* the limit: the last change over 1 - its rate */
        ck_assert_msg(gap(x, want) <= allowed, "%s, %zu steps, %zu iterations: off by %g", c.name, steps, iterations, gap(x, want));
        free(run.arena);
        dfo_ddim_free(ddim);
    }
}

START_TEST(reference)
{
    ref_file *f = ref_open("diffusion_steps");
    size_t count = 0;
    for (size_t i = 0; i < ref_cases(f); i++) {
        ref_case c = ref_at(f, i);
        if (!strncmp(c.name, "rex", 3))
            continue;
        count++;
        for (int data = 0; data < 2; data++) {
            if (!strncmp(c.name, "ddim_inv", 8))
                inversion_case(c);
            else if (!strncmp(c.name, "ddim", 4))
                forward_case(c, NULL, 0, data);
            else if (!strncmp(c.name, "edict", 5))
                forward_case(c, "edict", ref_number(c, "settings.p", 0), data);
            else if (!strncmp(c.name, "bdia", 4))
                forward_case(c, "bdia", ref_number(c, "settings.gamma", 0), data);
            else
                forward_case(c, "o-belm", 0, data);
        }
    }
    ck_assert_uint_eq(count, 6);
    ref_close(f);
}
END_TEST

/* ---- orders and the way back */

static void grid_of(const mixture *m, size_t steps, double from, double to, double *t)
{
    dfo_time_grid g = {.kind = "log-snr", .from = from, .to = to};
    OK(dfo_noise_schedule_grid(ctx, &m->schedule, &g, steps, t));
}

#ifdef DFO_DOUBLE
static void end_of(const char *scheme, double weight, size_t n, dfo_real x[2])
{
    double *t = malloc((n + 1) * sizeof *t);
    mixture m = mixture_usual(DFO_NOISE_VP, 0);
    dfo_field f = mixture_field(&m);
    dfo_ddim_options o = {.schedule = m.schedule, .scheme = scheme, .weight = weight};
    dfo_ddim *ddim = made(&o);
    dfo_run run = run_of(ddim, &f, 1);
    dfo_real s[2];
    x[0] = s[0] = (dfo_real)0.7;
    x[1] = s[1] = (dfo_real)-0.4;
    grid_of(&m, n, 0.7, 0.15, t);
    RUN(dfo_ddim_forward(ddim, &f, &run, n, t, dfo_batch_of(x, 1, 2), dfo_batch_of(dfo_ddim_pair(ddim) ? s : NULL, 1, 2)));
    free(t);
    free(run.arena);
    dfo_ddim_free(ddim);
}

/* From 160 to 320 steps: DDIM 1, O-BELM 2, BDIA 2 with gamma 1 and 1 below, EDICT 1.  */
START_TEST(orders)
{
    static const struct { const char *scheme; double weight, order; } all[] = {
        {"ddim", 0, 1}, {"o-belm", 0, 2}, {"bdia", 1, 2}, {"bdia", 0.5, 1}, {"edict", 0.93, 1}};
    dfo_real want[2], fine[2], got[2];
    double exact[2], err[2];
    end_of("o-belm", 0, 20000, want);
    end_of("o-belm", 0, 40000, fine);
    for (size_t j = 0; j < 2; j++)
        exact[j] = (double)fine[j] + ((double)fine[j] - (double)want[j]) / 3;
    for (size_t k = 0; k < sizeof all / sizeof *all; k++) {
        for (size_t i = 0; i < 2; i++) {
            end_of(all[k].scheme, all[k].weight, (size_t)160 << i, got);
            err[i] = gap(got, exact);
        }
        double slope = log2(err[0] / err[1]);
        ck_assert_msg(fabs(slope - all[k].order) < 0.1, "%s: slope %g, errors %g, %g", all[k].scheme, slope, err[0], err[1]);
    }
}
END_TEST
#endif

/* What 8 rows lose there and back.  */
static double round_trip(const dfo_ddim_options *o, size_t n)
{
    double t[64], lost = 0;
    mixture m = mixture_usual(DFO_NOISE_VP, 0);
    dfo_field f = mixture_field(&m);
    dfo_ddim *ddim = made(o);
    dfo_run run = run_of(ddim, &f, 8);
    dfo_real x[16], s[16], start[16];
    dfo_batch bx = dfo_batch_of(x, 8, 2), bs = dfo_batch_of(dfo_ddim_pair(ddim) ? s : NULL, 8, 2);
    grid_of(&m, n, 0.9, 0.05, t);
    for (size_t i = 0; i < 16; i++)
        x[i] = s[i] = start[i] = (dfo_real)(1.3 * sin(3.0 * (double)i));
    RUN(dfo_ddim_forward(ddim, &f, &run, n, t, bx, bs));
    RUN(dfo_ddim_inverse(ddim, &f, &run, n, t, bx, bs));
    for (size_t i = 0; i < 16; i++)
        lost = fmax(lost, fabs((double)x[i] - (double)start[i]));
    free(run.arena);
    dfo_ddim_free(ddim);
    return lost;
}

/* Exact schemes lose rounding times their growth, DDIM as it stands O(h), its fixed point what it stops at.  */
START_TEST(round_trips)
{
    static const struct { const char *scheme; double weight, eps, growth; } exact[] = {
        {"edict", 0.93, 100, 1}, {"bdia", 1, 100, 1}, {"bdia", 0.5, 2, 2}, {"o-belm", 0, 100, 1}};
    static const size_t steps[] = {10, 20, 50};
    dfo_ddim_options o = {0};
    double naive[3], size = DFO_REAL_EPS;
    OK(dfo_noise_schedule_named(ctx, "vp", &o.schedule));
    for (size_t n = 0; n < 3; n++) {
        o.iterations = 0;
        for (size_t k = 0; k < sizeof exact / sizeof *exact; k++) {
            o.scheme = exact[k].scheme;
            o.weight = exact[k].weight;
            double lost = round_trip(&o, steps[n]), bound = exact[k].eps * size * pow(exact[k].growth, (double)steps[n]);
            ck_assert_msg(lost <= bound, "%s, %zu steps: lost %g, bound %g", o.scheme, steps[n], lost, bound);
        }
        o.scheme = NULL;
        o.weight = 0;
        naive[n] = round_trip(&o, steps[n]);
        o.iterations = 2000;
        o.tolerance = 8 * size;
        ck_assert_double_le(round_trip(&o, steps[n]), 200 * size);
    }
    ck_assert(naive[0] > 0.1 && naive[2] > 0.01);                        /* what the others are for */
    ck_assert(fabs(log(naive[1] / naive[2]) / log(2.5) - 1) < 0.2);
}
END_TEST

static void one_line(const char *text, const char *part)
{
    ck_assert_msg(strlen(text) > 15 && !strchr(text, '\n') && strstr(text, part), "'%s' does not say '%s'", text, part);
}

#define FAILS(call, code, says)                                               \
    do {                                                                      \
        run.status = DFO_OK;                                                  \
        run.text[0] = 0;                                                      \
        ck_assert_int_eq(call, code);                                         \
        one_line(run.text, says);                                             \
        ck_assert_uint_eq(run.arena_used, 0);                                 \
    } while (0)

START_TEST(refused)
{
    double turns[] = {0.9, 0.5, 0.6}, good[] = {0.9, 0.5, 0.1}, clean[] = {0.5, 0};
    dfo_ddim_options o = {.scheme = "ddpm"}, bad = {.scheme = "edict", .weight = 1.5}, sour = {.tolerance = -1};
    dfo_real x[4] = {1, 1, (dfo_real)NAN, 1}, s[4] = {1, 1, 1, 1};
    dfo_batch bx = dfo_batch_of(x, 2, 2), bs = dfo_batch_of(s, 2, 2), none = dfo_batch_of(NULL, 2, 2);
    dfo_ddim *ddim;
    OK(dfo_noise_schedule_named(ctx, "vp", &o.schedule));
    bad.schedule = sour.schedule = o.schedule;
    ck_assert_int_eq(dfo_ddim_new(ctx, &o, &ddim), DFO_EARG);
    one_line(dfo_ctx_error(ctx), "'ddpm'");
    ck_assert_int_eq(dfo_ddim_new(ctx, &bad, &ddim), DFO_EARG);
    one_line(dfo_ctx_error(ctx), "weight 1.5");
    ck_assert_int_eq(dfo_ddim_new(ctx, &sour, &ddim), DFO_EARG);
    one_line(dfo_ctx_error(ctx), "tolerance -1");
    mixture m = mixture_usual(DFO_NOISE_VP, 1);
    dfo_field f = mixture_field(&m);
    o.scheme = "o-belm";
    o.data = 1;
    ddim = made(&o);
    dfo_run run = run_of(ddim, &f, 2);
    run.key.row = 40;
    FAILS(dfo_ddim_forward(ddim, &f, &run, 0, good, bx, bs), DFO_EARG, "0 steps");
    FAILS(dfo_ddim_forward(ddim, &f, &run, 2, turns, bx, bs), DFO_EARG, "time 2 of the grid");
    FAILS(dfo_ddim_inverse(ddim, &f, &run, 1, clean, bx, bs), DFO_EARG, "no finite clock");
    FAILS(dfo_ddim_forward(ddim, &f, &run, 2, good, bx, none), DFO_ESHAPE, "second state");
    FAILS(dfo_ddim_forward(ddim, &f, &run, 2, good, bx, bs), DFO_ENUM, "row 41, t = 0.5");
    dfo_ddim_free(ddim);
    o = (dfo_ddim_options){.schedule = o.schedule, .iterations = 2, .tolerance = 1e-6};
    m.data = 0;
    x[2] = x[3] = 1;
    ddim = made(&o);
    FAILS(dfo_ddim_inverse(ddim, &f, &run, 2, good, bx, none), DFO_ENUM, "after 2 iterations");
    dfo_ddim_free(ddim);
    dfo_ddim_free(NULL);
    free(run.arena);
    ck_assert_ptr_null(dfo_ddim_scheme(4));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("ddim " DFO_REAL_NAME);
    TCase *t = tcase_create("ddim");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, reference);
    tcase_add_test(t, round_trips);
    tcase_add_test(t, refused);
#ifdef DFO_DOUBLE
    tcase_add_test(t, orders);
#endif
    suite_add_tcase(suite, t);
    return test_run(suite);
}
