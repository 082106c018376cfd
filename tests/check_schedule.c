/* Noise schedules: every number of the reference vectors, clocks and their inverses at both ends, derivatives, grids.  */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <diffeo/schedule.h>
#include "ctxfix.h"
#include "reference.h"
#include "util.h"

/* max|got - want| <= 1e-12 max(1, max|want|): the tolerance of the reference vectors.  */
static void close_to(const char *name, const char *what, size_t n, const double *got, const double *want)
{
    double size = 1;
    for (size_t i = 0; i < n; i++)
        size = fmax(size, fabs(want[i]));
    for (size_t i = 0; i < n; i++)
        ck_assert_msg(fabs(got[i] - want[i]) <= 1e-12 * size, "%s, %s: %zu is %.17g, expected %.17g", name, what, i, got[i],
                      want[i]);
}

static void output(ref_case c, const char *what, const double *got)
{
    char path[64];
    snprintf(path, sizeof path, "outputs.%s", what);
    ref_array want = ref_need(c, path);
    close_to(c.name, what, want.n, got, want.data);
}

static dfo_noise_schedule schedule_of(ref_case c)
{
    static const char *const theirs[] = {"vp_linear", "scaled_linear", "cosine", "ve", "subvp", "flow_matching", "edm"},
                      *const ours[] = {"vp", "scaled-linear", "cosine", "ve", "subvp", "flow-matching", "edm"};
    const char *name = ref_text(c, "settings.schedule", "");
    dfo_noise_schedule s;
    size_t i = 0;
    while (i < 6 && strcmp(name, theirs[i]))
        i++;
    ck_assert_int_eq(dfo_noise_schedule_named(ctx, ours[i], &s), DFO_OK);
    s.beta_min = ref_number(c, "settings.beta_min", s.beta_min);
    s.beta_max = ref_number(c, "settings.beta_max", s.beta_max);
    s.sigma_min = ref_number(c, "settings.sigma_min", s.sigma_min);
    s.sigma_max = ref_number(c, "settings.sigma_max", s.sigma_max);
    s.s = ref_number(c, "settings.s", s.s);
    ck_assert_int_eq(dfo_noise_schedule_check(ctx, &s), DFO_OK);
    return s;
}

/* Three of the schedule's clocks and its inverses.  */
static void clocks(ref_case c, const dfo_noise_schedule *s, ref_array t)
{
    static const char *const name[] = {"gamma", "chi", "rho"};
    char path[64];
    double got[32];
    for (int k = 0; k < 3; k++) {
        for (size_t i = 0; i < t.n; i++)
            got[i] = dfo_noise_schedule_clock(s, (dfo_noise_clock)k, t.data[i]);
        output(c, name[k], got);
        snprintf(path, sizeof path, "inputs.%s_in", name[k]);
        ref_array in = ref_need(c, path);
        for (size_t i = 0; i < in.n; i++)
            got[i] = dfo_noise_schedule_time(s, (dfo_noise_clock)k, in.data[i]);
        snprintf(path, sizeof path, "t_of_%s", name[k]);
        output(c, path, got);
    }
}

static void continuous(ref_case c)
{
    ref_array t = ref_need(c, "inputs.t");
    dfo_noise_schedule s = schedule_of(c);
    double got[9][32];
    for (size_t i = 0; i < t.n; i++) {
        dfo_noise_point p = dfo_noise_schedule_at(&s, t.data[i]);
        got[0][i] = p.alpha, got[1][i] = p.sigma, got[2][i] = p.dlog_alpha, got[3][i] = p.g2;
        got[4][i] = dfo_noise_schedule_clock(&s, DFO_CLOCK_LOG_SNR, t.data[i]);
        got[5][i] = p.sigma * p.sigma / p.alpha;
        got[6][i] = p.drift;
        ck_assert(fabs(exp(p.log_alpha) - p.alpha) <= 1e-14 * p.alpha && fabs(exp(p.log_sigma) - p.sigma) <= 1e-13 * p.sigma);
        ck_assert(fabs(2 * p.sigma * p.sigma * (p.dlog_sigma - p.dlog_alpha) - p.g2) <= 1e-12 * fmax(1, fabs(p.g2)));
    }
    output(c, "alpha", got[0]);
    output(c, "sigma", got[1]);
    output(c, "dlog_alpha_dt", got[2]);
    output(c, "dlog_alpha_dt", got[6]);
    output(c, "g2", got[3]);
    output(c, "log_snr", got[4]);
    output(c, "kappa_sde_data", got[5]);
    clocks(c, &s, t);
}

static void edm(ref_case c)
{
    dfo_noise_schedule s = schedule_of(c);
    size_t n = (size_t)ref_number(c, "settings.N", 0);
    dfo_time_grid grid = {.kind = "edm", .from = s.sigma_max, .to = s.sigma_min, .rho = ref_number(c, "settings.rho", 7)};
    double t[32], got[5][32];
    ck_assert_int_eq(dfo_noise_schedule_grid(ctx, &s, &grid, n - 1, t), DFO_OK);
    output(c, "sigma", t);
    for (size_t i = 0; i < n; i++) {
        dfo_edm_scales e = dfo_edm_scales_at(t[i], ref_number(c, "settings.sigma_data", 0.5));
        got[0][i] = e.skip, got[1][i] = e.out, got[2][i] = e.in, got[3][i] = e.noise, got[4][i] = e.weight;
    }
    static const char *const name[] = {"c_skip", "c_out", "c_in", "c_noise", "loss_weight"};
    for (size_t k = 0; k < 5; k++)
        output(c, name[k], got[k]);
}

static void ddpm(ref_case c)
{
    size_t n = (size_t)ref_number(c, "settings.T", 0);
    double beta[64], abar[64], posterior[64];
    if (strstr(c.name, "cosine")) {
        dfo_ddpm_cosine(n, ref_number(c, "settings.s", 0), ref_number(c, "settings.beta_max", 1), beta, abar);
        output(c, "abar_unclipped", abar);
    } else {
        dfo_ddpm_linear(n, ref_number(c, "settings.beta_1", 0), ref_number(c, "settings.beta_T", 0), beta);
        dfo_ddpm_products(n, beta, abar, posterior);
        output(c, "abar", abar);
        output(c, "beta_tilde", posterior);
    }
    output(c, "beta", beta);
}

START_TEST(reference)
{
    ref_file *f = ref_open("schedules");
    ck_assert_uint_eq(ref_cases(f), 10);
    for (size_t i = 0; i < ref_cases(f); i++) {
        ref_case c = ref_at(f, i);
        if (!strncmp(c.name, "ddpm", 4))
            ddpm(c);
        else if (!strncmp(c.name, "edm", 3))
            edm(c);
        else
            continuous(c);
    }
    ref_close(f);
}
END_TEST

/* t -> clock -> t with a relative error of some eps near the clean end too, where sigma is tiny; the derivatives against
 * differences.  */
START_TEST(ends)
{
    dfo_noise_schedule s;
    ck_assert_int_eq(dfo_noise_schedule_named(ctx, dfo_noise_schedule_name((size_t)_i), &s), DFO_OK);
    double most = s.kind == DFO_NOISE_EDM ? 80 : 1;
    for (double t = most * 0.98; t > 1e-7; t *= 0.7) {
        /* a relative change of the clock that moves t by as much: where alpha hardly changes, t follows it at once */
        dfo_noise_point p = dfo_noise_schedule_at(&s, t);
        double sensitivity = fmax(1, 1 / (t * fabs(p.dlog_sigma - p.dlog_alpha)));
        for (int k = 0; k < 4; k++) {
            double back = dfo_noise_schedule_time(&s, (dfo_noise_clock)k, dfo_noise_schedule_clock(&s, (dfo_noise_clock)k, t));
            ck_assert_msg(fabs(back - t) <= 1e-14 * t * sensitivity, "%s, clock %d: %.17g came back as %.17g",
                          dfo_noise_schedule_name((size_t)_i), k, t, back);
        }
        double h = 1e-5 * fmin(t, 1.0001 * most - t);
        dfo_noise_point up = dfo_noise_schedule_at(&s, t + h), down = dfo_noise_schedule_at(&s, t - h);
        double noise = 1e-15 * fmax(1, fabs(p.log_sigma)) / h;           /* of the differences */
        ck_assert(fabs((up.log_alpha - down.log_alpha) / (2 * h) - p.dlog_alpha) <= 1e-6 * fmax(1, fabs(p.dlog_alpha)) + noise);
        ck_assert(fabs((up.log_sigma - down.log_sigma) / (2 * h) - p.dlog_sigma) <= 1e-6 * fmax(1, fabs(p.dlog_sigma)) + noise);
    }
    ck_assert(isnan(dfo_noise_schedule_time(&s, DFO_CLOCK_CHI, -1)));
}
END_TEST

START_TEST(grids)
{
    static const char *const kind[] = {NULL, "uniform", "log-snr", "edm", "ddpm"};
    dfo_noise_schedule s;
    ck_assert_int_eq(dfo_noise_schedule_named(ctx, dfo_noise_schedule_name((size_t)_i), &s), DFO_OK);
    int rises = s.kind == DFO_NOISE_FLOW_MATCHING;
    for (size_t k = 0; k < 5; k++) {
        dfo_time_grid g = {.kind = kind[k], .from = rises ? 0.05 : 0.95, .to = rises ? 0.95 : 0.05};
        double t[51], x[51];
        ck_assert_msg(dfo_noise_schedule_grid(ctx, &s, &g, 50, t) == DFO_OK, "%s", dfo_ctx_error(ctx));
        ck_assert(t[0] == g.from && t[50] == g.to);
        for (size_t i = 0; i <= 50; i++) {
            ck_assert(!i || (t[i] > t[i - 1]) == rises);
            double chi = dfo_noise_schedule_clock(&s, DFO_CLOCK_CHI, t[i]);
            x[i] = k == 2 ? log(chi) : k == 3 ? pow(chi, 1.0 / 7) : t[i];
            ck_assert(k != 4 || fabs(t[i] * 1000 - round(t[i] * 1000)) < 1e-9);
        }
        for (size_t i = 1; i <= 50; i++)
            ck_assert_msg(fabs(x[i] - x[0] - (x[50] - x[0]) * (double)i / 50) < (k == 4 ? 0.00051 : 1e-12 * fmax(1, fabs(x[0]))),
                          "%s, grid %zu, time %zu", dfo_noise_schedule_name((size_t)_i), k, i);
    }
}
END_TEST

START_TEST(refused)
{
    dfo_noise_schedule s, bad[] = {{.kind = DFO_NOISE_VP, .beta_min = 0, .beta_max = 1},
                                   {.kind = DFO_NOISE_SUBVP, .beta_min = 2, .beta_max = 1},
                                   {.kind = DFO_NOISE_VE, .sigma_min = 1, .sigma_max = 1},
                                   {.kind = DFO_NOISE_COSINE, .s = -1},
                                   {.kind = DFO_NOISE_SCALED_LINEAR, .beta_min = 1, .beta_max = NAN},
                                   {.kind = (dfo_noise_schedule_kind)77}};
    dfo_time_grid grid[] = {{.kind = "sideways", .from = 1, .to = 0.1},
                            {.from = 1, .to = 1},
                            {.kind = "log-snr", .from = 1, .to = 0},
                            {.kind = "ddpm", .from = 1, .to = 0.1, .levels = 9},
                            {.kind = "edm", .from = 1, .to = 0.1, .rho = -1}};
    double t[32];
    ck_assert_int_eq(dfo_noise_schedule_named(ctx, "linear", &s), DFO_EARG);
    ck_assert_ptr_nonnull(strstr(dfo_ctx_error(ctx), "'linear'"));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        ck_assert_int_eq(dfo_noise_schedule_check(ctx, &bad[i]), DFO_EARG);
    ck_assert_int_eq(dfo_noise_schedule_named(ctx, "vp", &s), DFO_OK);
    for (size_t i = 0; i < sizeof grid / sizeof *grid; i++) {
        ck_assert_int_eq(dfo_noise_schedule_grid(ctx, &s, &grid[i], 20, t), DFO_EARG);
        ck_assert(!strchr(dfo_ctx_error(ctx), '\n') && strlen(dfo_ctx_error(ctx)) > 20);
    }
    dfo_time_grid good = {.from = 1, .to = 0.1};
    ck_assert_int_eq(dfo_noise_schedule_grid(ctx, &s, &good, 0, t), DFO_EARG);
    ck_assert_ptr_null(dfo_noise_schedule_name(DFO_NOISE_KINDS));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("noise schedules " DFO_REAL_NAME);
    TCase *t = tcase_create("schedules");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, reference);
    tcase_add_loop_test(t, ends, 0, DFO_NOISE_KINDS);
    tcase_add_loop_test(t, grids, 0, DFO_NOISE_KINDS);
    tcase_add_test(t, refused);
    suite_add_tcase(suite, t);
    return test_run(suite);
}
