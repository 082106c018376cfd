/* Rex against exact predictors of a Gaussian mixture: the reference vectors, DDIM, orders, the way back, whole numbers, gradients, noise,
 * chosen steps.  */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <diffeo/ode.h>
#include <diffeo/rex.h>
#include "mixfield.h"
#include "odefields.h"
#include "util.h"

static dfo_ctx *ctx;

static void setup(void)
{
    ck_assert_int_eq(dfo_ctx_new(&ctx), DFO_OK);
}

static void teardown(void)
{
    dfo_ctx_free(ctx);
}

#define OK(call) ck_assert_msg((call) == DFO_OK, "%s", dfo_ctx_error(ctx))
#define RUN(call) ck_assert_msg((call) == DFO_OK, "%s", run.text)

static dfo_rex *made(const dfo_rex_options *o)
{
    dfo_rex *rex;
    OK(dfo_rex_new(ctx, o, &rex));
    return rex;
}

static dfo_run run_of(const dfo_rex *rex, const dfo_field *f, size_t rows)
{
    dfo_run run = {.arena_size = dfo_rex_scratch(rex, f, rows)};
    size_t other = dfo_rex_backward_scratch(rex, f, rows);
    run.arena_size = other > run.arena_size ? other : run.arena_size;
    run.arena = aligned_alloc(64, run.arena_size * sizeof *run.arena);
    ck_assert_ptr_nonnull(run.arena);
    memset(run.arena, -1, run.arena_size * sizeof *run.arena);      /* not a number */
    return run;
}

/* A path that is right where intervals do not overlap: its increments are functions of row and interval.  */
static void brownian(const void *data, uint64_t row, size_t d, double s, double t, double *w, double *h)
{
    double low = fmin(s, t), high = fmax(s, t), size = sqrt(high - low);
    uint64_t a, b;
    memcpy(&a, &low, sizeof a);
    memcpy(&b, &high, sizeof b);
    dfo_key key = {.seed = *(const uint64_t *)data ^ (a * 0x9e3779b97f4a7c15u) ^ (b << 1), .row = row, .purpose = DFO_FOR_TEST};
    for (size_t j = 0; j < d; j++) {
        double u[4];
        dfo_draw_uniform(key, 4 * j, 4, u);
        w[j] = (s < t ? size : -size) * sqrt(-2 * log(u[0])) * cos(6.283185307179586 * u[1]);
        h[j] = size / sqrt(12) * sqrt(-2 * log(u[2])) * cos(6.283185307179586 * u[3]);
    }
}

static const uint64_t seed = 7;

static dfo_rex_options options_of(dfo_rex_form form, const char *method, double zeta)
{
    dfo_rex_options o;
    dfo_rex_defaults(&o);
    o.form = form;
    o.method = method;
    o.one_state = zeta == 0;
    o.zeta = zeta;
    o.noise = brownian;
    o.noise_data = &seed;
    return o;
}

static int wants_data(dfo_rex_form form)
{
    return form == DFO_REX_ODE_DATA || form == DFO_REX_SDE_DATA;
}

static void grid_of(const dfo_noise_schedule *s, const char *kind, double from, double to, size_t steps, double *t)
{
    dfo_time_grid g = {.kind = kind, .from = from, .to = to};
    OK(dfo_noise_schedule_grid(ctx, s, &g, steps, t));
}

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
    ref_array t = ref_need(c, "inputs.t"), start = ref_need(c, "inputs.x_start"), x = ref_need(c, "outputs.x"), xh = ref_need(c, "outputs.xh");
    const char *method = ref_text(c, "settings.method", "");
    int form = 0;
    while (strcmp(forms[form], ref_text(c, "settings.mode", "")))
        ck_assert_int_lt(++form, 4);
    dfo_rex_options o = options_of((dfo_rex_form)form, strcmp(method, "euler_maruyama") ? method : NULL, ref_number(c, "settings.zeta", 1));
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
    dfo_rex *rex = made(&o);
    dfo_run run = run_of(rex, &f, 1);
    dfo_real at[2] = {(dfo_real)start.data[0], (dfo_real)start.data[1]}, hat[2] = {at[0], at[1]};
    dfo_batch bx = dfo_batch_of(at, 1, 2), bh = dfo_batch_of(hat, 1, 2);
    double allowed = IS_DOUBLE ? 1e-9 : 1e-2, back = IS_DOUBLE ? 1e-7 : 1;
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

int main(void)
{
    Suite *suite = suite_create("rex " DFO_REAL_NAME);
    TCase *t = tcase_create("rex");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, reference);
    suite_add_tcase(suite, t);
    return test_run(suite);
}
