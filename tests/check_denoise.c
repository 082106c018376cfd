/* Samplers of diffusion models: the moments of Gaussian data, whose score is known; DDIM and Heun's method against what they are; the
 * order; rows whatever the batch; what is refused.  */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <diffeo/ddim.h>
#include <diffeo/denoise.h>
#include <diffeo/rex.h>
#include "ctxfix.h"
#include "mixfield.h"
#include "oom.h"
#include "util.h"

static dfo_denoiser *made(const dfo_denoiser_options *o, size_t steps, const double *t)
{
    dfo_denoiser *r;
    OK(dfo_denoiser_new(ctx, o, steps, t, &r));
    return r;
}

static dfo_run run_of(size_t size)
{
    dfo_run run = {.arena_size = size};
    run.arena = aligned_alloc(64, size * sizeof *run.arena);
    ck_assert_ptr_nonnull(run.arena);
    memset(run.arena, -1, size * sizeof *run.arena);       /* not a number */
    return run;
}

static void levels_of(const dfo_noise_schedule *of, const char *kind, size_t steps, double *t)
{
    int edm = of->kind == DFO_NOISE_EDM;
    dfo_time_grid g = {.kind = edm && !strcmp(kind, "uniform") ? "edm" : kind, .from = dfo_noise_schedule_noisy(of), .to = edm ? 0.02 : 1e-3};
    if (of->kind == DFO_NOISE_COSINE)
        g.from = 0.99;
    t[0] = g.from;
    if (steps > 1)
        OK(dfo_noise_schedule_grid(ctx, of, &g, steps - 1, t));
}

/* n rows of the mixture's first component alone at level t[0] to data, in place.  */
static void sample(mixture *m, const dfo_denoiser_options *o, size_t steps, const double *t, size_t n, dfo_real *x)
{
    dfo_field f = mixture_field(m);
    dfo_denoiser *r = made(o, steps, t);
    dfo_run run = run_of(dfo_denoiser_scratch(r, &f, n));
    RUN(dfo_denoiser_run(r, &f, &run, dfo_batch_of(x, n, 2)));
    ck_assert_uint_eq(run.arena_used, 0);
    free(run.arena);
    dfo_denoiser_free(r);
}

static const double mean[2] = {0.7, -0.4}, variance[2] = {0.5, 1.5};

static mixture gaussian(dfo_noise_schedule_kind kind)
{
    mixture m = {.data = 1, .n = 1, .w = {1}, .mean = {{mean[0], mean[1]}}, .cov = {{variance[0], 0, variance[1]}}};
    OK(dfo_noise_schedule_named(ctx, dfo_noise_schedule_name(kind), &m.schedule));
    return m;
}

static void start(const mixture *m, double t, size_t n, dfo_real *x)
{
    test_rng rng = test_rng_new(test_seed());
    dfo_noise_point p = dfo_noise_schedule_at(&m->schedule, t);
    for (size_t i = 0; i < 2 * n; i++)
        x[i] = (dfo_real)(p.alpha * mean[i % 2] + sqrt(p.alpha * p.alpha * variance[i % 2] + p.sigma * p.sigma) * test_rng_normal(&rng));
}

/* Means and variances of the columns within 4 standard errors, and `allowed` of the variance.  */
static void same_moments(const char *what, const dfo_real *x, size_t n, const double want_mean[2], const double want[2], double allowed)
{
    for (size_t j = 0; j < 2; j++) {
        double sum = 0, squares = 0;
        for (size_t i = 0; i < n; i++)
            sum += (double)x[2 * i + j];
        for (size_t i = 0; i < n; i++)
            squares += ((double)x[2 * i + j] - sum / (double)n) * ((double)x[2 * i + j] - sum / (double)n);
        double off = sum / (double)n - want_mean[j], v = squares / (double)(n - 1), se = sqrt(want[j] / (double)n);
        ck_assert_msg(fabs(off) < 4 * se + 0.02, "%s, column %zu: mean off by %g, standard error %g", what, j, off, se);
        ck_assert_msg(fabs(v / want[j] - 1) < 4 * sqrt(2 / (double)n) + allowed, "%s, column %zu: variance %g, expected %g", what, j, v, want[j]);
    }
}

/* In many steps every sampler gives back the data's law, whatever the schedule: two of them each.  */
START_TEST(marginals)
{
    enum { N = 600, STEPS = 80 };
    static const dfo_noise_schedule_kind kinds[] = {DFO_NOISE_VP, DFO_NOISE_SUBVP, DFO_NOISE_VE, DFO_NOISE_EDM, DFO_NOISE_COSINE};
    const char *name = dfo_denoiser_kind_at((size_t)_i)->name;
    dfo_real *x = malloc(2 * N * sizeof *x);
    for (size_t k = (size_t)_i % 5, left = 2; left; k = (k + 3) % 5, left--) {
        double t[STEPS];
        char what[80];
        mixture m = gaussian(kinds[k]);
        dfo_denoiser_options o;
        dfo_denoiser_defaults(&o);
        o.schedule = m.schedule;
        o.sampler = name;
        o.seed = test_seed();
        o.eta = 0.5;
        o.snr = 0.25;                      /* corrections' variance is 1/(1 - snr^2 sigma^2) times what it should be */
        o.corrections = strcmp(name, "langevin") ? 1 : 20;
        o.churn = 30;
        o.sde = 1;
        snprintf(what, sizeof what, "%s, %s", name, dfo_noise_schedule_name(kinds[k]));
        levels_of(&m.schedule, dfo_denoiser_kind_at((size_t)_i)->grid, STEPS, t);
        start(&m, t[0], N, x);
        sample(&m, &o, STEPS, t, N, x);
        same_moments(what, x, N, mean, variance, 0.06);
    }
    free(x);
}
END_TEST

/* In few steps ancestral's moments are those of DDPM's posterior in its own symbols (Ho et al. 2020, eq. 7): of x_0 and x_t,
 * [sqrt(abar_s) b x_0 + sqrt(1 - b) (1 - abar_s) x_t]/(1 - abar_t), with variance b (1 - abar_s)/(1 - abar_t).  */
START_TEST(ancestral)
{
    enum { N = 20000, STEPS = 5 };
    double t[STEPS], to_mean[2], to_variance[2];
    mixture m = gaussian(DFO_NOISE_VP);
    dfo_real *x = malloc(2 * N * sizeof *x);
    dfo_denoiser_options o;
    dfo_denoiser_defaults(&o);
    o.seed = test_seed();
    levels_of(&m.schedule, "uniform", STEPS, t);
    start(&m, t[0], N, x);
    sample(&m, &o, STEPS, t, N, x);
    for (size_t j = 0; j < 2; j++) {
        double at = dfo_noise_schedule_at(&m.schedule, t[0]).alpha, abar = at * at, mu = at * mean[j], v = abar * variance[j] + 1 - abar;
        for (size_t i = 0; i < STEPS; i++) {
            double root = sqrt(abar), gain = root * variance[j] / (abar * variance[j] + 1 - abar);      /* x_0 = mean + gain (x - root mean) */
            double before = dfo_noise_schedule_at(&m.schedule, i + 1 < STEPS ? t[i + 1] : 0).alpha, less = before * before, b = 1 - abar / less;
            double of_data = sqrt(less) * b / (1 - abar), of_x = sqrt(1 - b) * (1 - less) / (1 - abar), of_mean = of_data * (1 - gain * root);
            mu = of_mean * mean[j] + (of_data * gain + of_x) * mu;
            v = (of_data * gain + of_x) * (of_data * gain + of_x) * v + b * (1 - less) / (1 - abar);
            abar = less;
        }
        to_mean[j] = mu;
        to_variance[j] = v;
    }
    same_moments("ancestral, 5 steps", x, N, to_mean, to_variance, 0);
    ck_assert(fabs(to_variance[1] / variance[1] - 1) > 0.05);          /* few steps: it is the recursion that is met, not the data */
    free(x);
}
END_TEST

static void points(size_t n, dfo_real *x)
{
    for (size_t i = 0; i < 2 * n; i++)
        x[i] = (dfo_real)(1.3 * sin(3.0 * (double)i + 1));
}

static double gap(const dfo_real *a, const dfo_real *b, size_t count)
{
    double most = 0;
    for (size_t i = 0; i < count; i++)
        most = fmax(most, fabs((double)a[i] - (double)b[i]));
    return most;
}

/* ddim is dfo_ddim_forward, and Euler's method of Rex, then the data that are found; with eta 1 it is ancestral, to the bit.  */
START_TEST(implicit)
{
    enum { N = 6, STEPS = 12 };
    double t[STEPS];
    mixture m = mixture_usual(DFO_NOISE_VP, 1);
    dfo_field f = mixture_field(&m);
    dfo_denoiser_options o;
    dfo_real x[2 * N], other[2 * N], x0[2 * N];
    double last[N];
    dfo_denoiser_defaults(&o);
    levels_of(&m.schedule, "log-snr", STEPS, t);
    o.sampler = "ddim";
    points(N, x);
    sample(&m, &o, STEPS, t, N, x);
    dfo_ddim *ddim;
    OK(dfo_ddim_new(ctx, &(dfo_ddim_options){.schedule = m.schedule, .data = 1}, &ddim));
    dfo_run run = run_of(dfo_ddim_scratch(ddim, &f, N));
    points(N, other);
    RUN(dfo_ddim_forward(ddim, &f, &run, STEPS - 1, t, dfo_batch_of(other, N, 2), dfo_batch_of(NULL, N, 2)));
    for (size_t i = 0; i < N; i++)
        last[i] = t[STEPS - 1];
    RUN(f.ops->eval(&f, &run, last, dfo_batch_of(other, N, 2), dfo_batch_of(x0, N, 2), NULL));
    ck_assert_double_le(gap(x, x0, 2 * N), IS_DOUBLE ? 1e-12 : 2e-5);
    free(run.arena);
    dfo_ddim_free(ddim);
    o.sampler = "rex:euler";
    points(N, other);
    sample(&m, &o, STEPS, t, N, other);
    ck_assert_double_le(gap(x, other, 2 * N), IS_DOUBLE ? 1e-12 : 2e-5);
    o.sampler = "ddim";
    o.eta = 1;
    points(N, x);
    sample(&m, &o, STEPS, t, N, x);
    o.sampler = "ancestral";
    points(N, other);
    sample(&m, &o, STEPS, t, N, other);
    ck_assert(!memcmp(x, other, sizeof x) && gap(x, x0, 2 * N) > 0.1);
}
END_TEST

/* edm-heun without churn: the seed says nothing, 2 steps - 1 evaluations, order 2; with churn noise is met.  */
START_TEST(heun)
{
    enum { N = 4, MOST = 1024 };
    static const dfo_noise_schedule_kind kinds[] = {DFO_NOISE_EDM, DFO_NOISE_VP};
    double t[MOST], err[2];
    dfo_real exact[2 * N], x[2 * N], other[2 * N];
    for (size_t k = 0; k < 2; k++) {
        mixture m = mixture_usual(kinds[k], 1);
        dfo_denoiser_options o;
        dfo_denoiser_defaults(&o);
        o.schedule = m.schedule;
        o.sampler = "edm-heun";
        for (size_t i = 0; i < 3; i++) {
            size_t steps = i ? (size_t)32 << i : MOST;
            levels_of(&m.schedule, "edm", steps, t);
            points(N, x);
            m.evaluations = 0;
            sample(&m, &o, steps, t, N, x);
            ck_assert_uint_eq(m.evaluations, 2 * steps - 1);
            if (i)
                err[i - 1] = gap(x, exact, 2 * N);
            else
                memcpy(exact, x, sizeof x);
        }
        double slope = log2(err[0] / err[1]);
        ck_assert_msg(!IS_DOUBLE || fabs(slope - 2) < 0.25, "%s: slope %g, errors %g and %g", dfo_noise_schedule_name(kinds[k]), slope, err[0], err[1]);
        o.seed = 1;
        points(N, other);
        sample(&m, &o, 128, t, N, other);
        ck_assert(!memcmp(x, other, sizeof x));
        o.churn = 20;
        points(N, other);
        sample(&m, &o, 128, t, N, other);
        ck_assert_double_gt(gap(x, other, 2 * N), 1e-2);
        o.churn_max = 0;
        points(N, other);
        sample(&m, &o, 128, t, N, other);
        ck_assert(!memcmp(x, other, sizeof x));
    }
}
END_TEST

/* Rows in one call or in two.  */
START_TEST(batches)
{
    enum { N = 7, FIRST = 3, STEPS = 8 };
    double t[STEPS];
    mixture m = mixture_usual(DFO_NOISE_VP, 1);
    dfo_field f = mixture_field(&m);
    for (size_t i = 0; dfo_denoiser_kind_at(i); i++) {
        dfo_real x[2 * N], other[2 * N];
        dfo_denoiser_options o;
        dfo_denoiser_defaults(&o);
        o.sampler = dfo_denoiser_kind_at(i)->name;
        o.eta = 0.5;
        o.churn = 5;
        o.sde = 1;
        levels_of(&m.schedule, dfo_denoiser_kind_at(i)->grid, STEPS, t);
        points(N, x);
        memcpy(other, x, sizeof x);
        sample(&m, &o, STEPS, t, N, x);
        dfo_denoiser *r = made(&o, STEPS, t);
        dfo_run run = run_of(dfo_denoiser_scratch(r, &f, N));
        RUN(dfo_denoiser_run(r, &f, &run, dfo_batch_of(other, FIRST, 2)));
        run.key.row = FIRST;
        RUN(dfo_denoiser_run(r, &f, &run, dfo_batch_of(other + 2 * FIRST, N - FIRST, 2)));
        ck_assert_msg(!memcmp(x, other, sizeof x), "%s", o.sampler);
        free(run.arena);
        dfo_denoiser_free(r);
        sample(&m, &o, 1, t, N, x);        /* from noise to data in one step */
    }
}
END_TEST

START_TEST(refused)
{
    static const struct { dfo_denoiser_options how; double t[2]; size_t steps; const char *says; } bad[] = {
        {{.sampler = "ddpm"}, {1, 0.5}, 2, "none is called 'ddpm'; known: ancestral, ddim, euler-maruyama, predictor-corrector, edm-heun, langevin, rex"},
        {{.sampler = "ddim:heun"}, {1, 0.5}, 2, "'ddim:heun'"},
        {{.sampler = "rex:"}, {1, 0.5}, 2, "'rex:'"},
        {{.sampler = "rex:leapfrog"}, {1, 0.5}, 2, "leapfrog"},
        {{.sampler = "ddim", .eta = 1.5}, {1, 0.5}, 2, "eta 1.5"},
        {{.sampler = "langevin", .snr = 0.9}, {1, 0.5}, 2, "snr 0.9"},
        {{.sampler = "edm-heun", .churn = -1}, {1, 0.5}, 2, "churn -1"},
        {{.sampler = "edm-heun", .churn_min = 2, .churn_max = 1}, {1, 0.5}, 2, "from 2 to 1"},
        {{.sampler = "ddim"}, {1, 0.5}, 0, "steps, got 0"},
        {{.sampler = "ddim"}, {0.5, 1}, 2, "less noise than at t = 0.5"},
        {{.sampler = "ddim"}, {1, 0}, 2, "no finite clock"},
    };
    dfo_denoiser *r;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        dfo_denoiser_options o = bad[i].how;
        OK(dfo_noise_schedule_named(ctx, "vp", &o.schedule));
        o.churn_noise = 1;
        ck_assert_int_eq(dfo_denoiser_new(ctx, &o, bad[i].steps, bad[i].t, &r), DFO_EARG);
        ck_assert_msg(!r && strstr(dfo_ctx_error(ctx), bad[i].says), "%s", dfo_ctx_error(ctx));
    }
    dfo_real x[4] = {1, 1, (dfo_real)NAN, 1};
    mixture m = mixture_usual(DFO_NOISE_VP, 1);
    dfo_field f = mixture_field(&m);
    dfo_denoiser_options o;
    dfo_denoiser_defaults(&o);
    r = made(&o, 2, (double[]){0.9, 0.5});
    dfo_run run = run_of(dfo_denoiser_scratch(r, &f, 2));
    run.key.row = 40;
    ck_assert_int_eq(dfo_denoiser_run(r, &f, &run, dfo_batch_of(x, 2, 2)), DFO_ENUM);
    ck_assert_msg(strstr(run.text, "ancestral, row 41, t = 0.9: not finite") != NULL, "%s", run.text);
    run.status = DFO_OK;
    ck_assert_int_eq(dfo_denoiser_run(r, &f, &run, dfo_batch_of(x, 4, 1)), DFO_ESHAPE);
    free(run.arena);
    dfo_denoiser_free(r);
    dfo_denoiser_free(NULL);
}
END_TEST

static dfo_status work(dfo_ctx *of, void *data)
{
    static const double t[2] = {1, 0.5};
    dfo_denoiser *r;
    dfo_status status = dfo_denoiser_new(of, data, 2, t, &r);
    dfo_denoiser_free(r);
    return status;
}

START_TEST(memory)
{
    dfo_denoiser_options o;
    dfo_denoiser_defaults(&o);
    ck_assert_uint_ge(oom_check("a denoiser", OOM_ALL, work, &o), 2);
    o.sampler = "rex";
    ck_assert_uint_ge(oom_check("a denoiser with Rex", OOM_ALL, work, &o), 3);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("samplers of diffusion models " DFO_REAL_NAME);
    TCase *t = tcase_create("denoise");
    int kinds = 0;
    while (dfo_denoiser_kind_at((size_t)kinds))
        kinds++;
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_loop_test(t, marginals, 0, kinds);
    tcase_add_test(t, ancestral);
    tcase_add_test(t, implicit);
    tcase_add_test(t, heun);
    tcase_add_test(t, batches);
    tcase_add_test(t, refused);
    tcase_add_test(t, memory);
    suite_add_tcase(suite, t);
    return test_run(suite);
}
