/* Stochastic equations: single steps against the reference vectors, strong orders on shared paths, both calculi, either way in
 * time, chosen steps, refusals.  */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "oom.h"
#include "reference.h"
#include "sde_impl.h"
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

/* ---- equations: f, and entry i of G's column k with its slope */

enum { MOST = 16 };

struct equation {
    const char *name;
    const double *a, *b, *s;               /* of the reference's fields */
    size_t m;
};

static double drift_of(const struct equation *e, double t, const double *x, size_t i)
{
    switch (e->name[0]) {
    case 'o': return e->a[i] * (e->b[i] - x[i]);                                            /* ou */
    case 'g': return e->a[i % 2] * x[i];                                                        /* gbm */
    case 'n': return strcmp(e->name, "nonlinear_additive") ? i ? -sin(x[0]) - x[1] / 2 : x[1] - x[0] + t / 4
                                                           : i ? cos(x[0]) - x[1] * x[1] * x[1] / 2 : sin(2 * x[1]) - x[0] + t / 4;
    case 's': case 't': return sin(2 * x[i]) - x[i];                                        /* sine, time */
    case 'u': return x[i] * x[i];                                                           /* unbounded */
    default: return 0;                                                                      /* area, quiet */
    }
}

static double noise_of(const struct equation *e, double t, const double *x, size_t i, size_t k, double *slope)
{
    *slope = 0;
    switch (e->name[0]) {
    case 'g': *slope = i == k ? e->b[i % 2] : 0; return *slope * x[i];
    case 'n': if (e->s) return e->s[i * e->m + k];
        *slope = e->b[i] * cos(x[i]);
        return e->a[i] + e->b[i] * sin(x[i]);
    case 'a': return i == k ? i % 2 ? x[i - 1] : 1 : 0;      /* pairs: the second one's noise is the first */
    case 't': return 1 + sin(3 * t);
    default: return e->s ? e->s[i * e->m + k] : 1;
    }
}

static void row_of(dfo_batch x, size_t r, double *out)
{
    for (size_t j = 0; j < x.d; j++)
        out[j] = (double)dfo_row(x, r)[j];
}

static dfo_status eval_drift(const dfo_field *f, dfo_run *run, const double *t, dfo_batch x, dfo_batch dx, double *dq)
{
    double in[MOST];
    (void)run, (void)dq;
    for (size_t r = 0; r < x.n; r++) {
        row_of(x, r, in);
        for (size_t i = 0; i < f->d; i++)
            dfo_row(dx, r)[i] = (dfo_real)drift_of(f->state, t[r], in, i);
    }
    return DFO_OK;
}

/* what: 0 G, 1 the slopes of its diagonal, 2 its correction (of the equations here the diagonal's, or none).  */
static dfo_status noises(const dfo_noise *noise, const double *t, dfo_batch x, int what, dfo_real *out)
{
    double in[MOST], slope;
    for (size_t r = 0; r < x.n; r++) {
        row_of(x, r, in);
        for (size_t i = 0; i < noise->d; i++)
            for (size_t k = 0; k < (noise->m && !what ? noise->m : 1); k++) {
                double g = noise_of(noise->state, t[r], in, i, noise->m && !what ? k : i, &slope);
                *out++ = (dfo_real)(what == 0 ? g : what == 1 ? slope : g * slope);
            }
    }
    return DFO_OK;
}

static dfo_status eval_noise(const dfo_noise *noise, dfo_run *run, const double *t, dfo_batch x, dfo_real *g)
{
    (void)run;
    return noises(noise, t, x, 0, g);
}

static dfo_status eval_slope(const dfo_noise *noise, dfo_run *run, const double *t, dfo_batch x, dfo_real *dg)
{
    (void)run;
    return noises(noise, t, x, 1, dg);
}

static dfo_status eval_correction(const dfo_noise *noise, dfo_run *run, const double *t, dfo_batch x, dfo_real *c)
{
    (void)run;
    return noises(noise, t, x, 2, c);
}

static const struct dfo_field_ops drift_ops = {.type = "test", .eval = eval_drift};
static const struct dfo_noise_ops noise_ops = {.type = "test", .eval = eval_noise, .slope = eval_slope, .correction = eval_correction};

static dfo_field field_of(const struct equation *e, size_t d)
{
    return (dfo_field){.ops = &drift_ops, .state = e, .d = d};
}

static dfo_noise noise_for(const struct equation *e, size_t d, dfo_noise_kind kind, dfo_calculus calculus)
{
    return (dfo_noise){.ops = &noise_ops, .state = e, .kind = kind, .calculus = calculus, .d = d, .m = e->m};
}

/* ---- single steps */

static void close_to(ref_case c, const char *what, size_t n, const dfo_real *got, const double *want, double allowed)
{
    double size = 1;
    for (size_t i = 0; i < n; i++)
        size = fmax(size, fabs(want[i]));
    for (size_t i = 0; i < n; i++)
        ck_assert_msg(fabs((double)got[i] - want[i]) <= allowed * size, "%s, %s: %zu is %.17g, expected %.17g", c.name, what, i,
                      (double)got[i], want[i]);
}

static const dfoi_sde_method *method_of(ref_case c)
{
    char name[32];
    snprintf(name, sizeof name, "%s", ref_text(c, "settings.method", ""));
    for (char *p = name; *p; p++)
        *p = *p == '_' ? '-' : *p;
    const dfoi_sde_method *m = dfoi_sde_method_named(!strcmp(name, "milstein-ito") ? "milstein" : name);
    ck_assert_msg(m != NULL, "%s", name);
    return m;
}

static const double *either(ref_case c, const char *first, const char *second)
{
    ref_array a = ref_get(c, first);
    return a.data ? a.data : ref_get(c, second).data;
}

static void step_case(ref_case c)
{
    const dfoi_sde_method *m = method_of(c);
    ref_array y0 = ref_need(c, "inputs.y0"), w = ref_need(c, "inputs.W"), area = ref_need(c, "inputs.H"), y = ref_need(c, "outputs.y");
    int additive = !strcmp(ref_text(c, "settings.noise", ""), "additive");
    size_t d = y0.n, columns = w.shape[1];
    struct equation e = {ref_text(c, "settings.field", ""), ref_get(c, "inputs.theta").data, ref_get(c, "inputs.mu").data,
                         ref_get(c, "inputs.S").data, additive ? columns : 0};
    if (!additive) {
        e.a = either(c, "inputs.a", "inputs.mu");
        e.b = either(c, "inputs.b", "inputs.sig");
    }
    dfo_field f = field_of(&e, d);
    dfo_noise noise = noise_for(&e, d, additive ? DFO_NOISE_ADDITIVE : DFO_NOISE_DIAGONAL, m->calculus);
    dfo_run run = {.arena_size = dfoi_sde_step_size(m, &f, &noise, 1)};
    dfo_real x[MOST];
    dfoi_sde_step k;
    run.arena = calloc(run.arena_size, sizeof *run.arena);
    memset(run.arena, -1, run.arena_size * sizeof *run.arena);
    for (size_t i = 0; i < d; i++)
        x[i] = (dfo_real)y0.data[i];
    dfoi_sde_step_take(&k, m, &f, &noise, &run, dfo_batch_of(x, 1, d));
    k.h[0] = ref_number(c, "settings.h", 0);
    for (size_t s = 0; s < w.shape[0]; s++) {
        k.t[0] = ref_number(c, "settings.t0", 0) + (double)s * k.h[0];
        memcpy(k.w, w.data + s * columns, columns * sizeof *k.w);
        memcpy(k.area, area.data + s * columns, columns * sizeof *k.w);
        ck_assert_int_eq(dfoi_sde_advance(&k), DFO_OK);
        close_to(c, "y", d, k.y, y.data + (s + 1) * d, IS_DOUBLE ? 1e-13 : 2e-6 * (double)w.shape[0]);
        ck_assert((ref_get(c, "outputs.err").data != NULL) == m->embedded);
        if (m->embedded)
            close_to(c, "err", d, k.err, ref_need(c, "outputs.err").data + s * d, IS_DOUBLE ? 1e-13 : 2e-6 * (double)w.shape[0]);
        memcpy(x, k.y, d * sizeof *x);
    }
    free(run.arena);
}

START_TEST(single_steps)
{
    ref_file *f = ref_open("sde_steps");
    ck_assert_uint_eq(ref_cases(f), 24);
    for (size_t i = 0; i < ref_cases(f); i++)
        step_case(ref_at(f, i));
    ref_close(f);
}
END_TEST

/* ---- solves */

static dfo_sde *sde_of(const char *method, size_t steps, double tol)
{
    dfo_sde_options o;
    dfo_sde *sde;
    dfo_sde_defaults(&o);
    o.method = method;
    o.steps = steps;
    o.rtol = o.atol = tol;
    OK(dfo_sde_new(ctx, &o, &sde));
    return sde;
}

/* n rows from x, in place; the first one's number.  */
static dfo_status go(const dfo_sde *sde, const dfo_field *f, const dfo_noise *noise, const dfo_brownian *b, double t0, double t1, size_t n,
                     uint64_t row, dfo_real *x, dfo_sde_report *report, char *text)
{
    dfo_run run = {.arena_size = dfo_sde_scratch(sde, f, noise, n), .key.row = row};
    run.arena = calloc(run.arena_size, sizeof *run.arena);
    memset(run.arena, -1, run.arena_size * sizeof *run.arena);
    dfo_status status = dfo_sde_solve(sde, f, noise, &run, b, t0, t1, dfo_batch_of(x, n, f->d), report);
    ck_assert_uint_eq(run.arena_used, 0);
    if (text)
        snprintf(text, sizeof run.text, "%s", run.text);
    else
        ck_assert_msg(status == DFO_OK, "%s", run.text);
    free(run.arena);
    return status;
}

static void solve(const char *method, size_t steps, const dfo_field *f, const dfo_noise *noise, const dfo_brownian *b, double t0, double t1,
                  size_t n, dfo_real *x)
{
    dfo_sde *sde = sde_of(method, steps, 1e-3);
    go(sde, f, noise, b, t0, t1, n, 0, x, NULL, NULL);
    dfo_sde_free(sde);
}

static void start_at(size_t n, double x0, dfo_real *x)
{
    for (size_t i = 0; i < n; i++)
        x[i] = (dfo_real)x0;
}

static const double gbm_mu[2] = {0.7, -0.4}, gbm_sigma[2] = {0.8, 0.5};

/* Geometric Brownian motion at time t from 1 at s, n rows of d; Ito's sense is that of the direction.  */
static void gbm_exact(dfo_calculus calculus, const dfo_brownian *b, double s, double t, size_t n, size_t d, double *out)
{
    for (size_t r = 0; r < n; r++, out += d) {
        dfo_brownian_increment(b, r, d, s, t, out, NULL);
        for (size_t i = 0; i < d; i++) {
            double sigma = gbm_sigma[i % 2], ito = calculus == DFO_ITO ? copysign(sigma * sigma / 2, t - s) : 0;
            out[i] = exp((gbm_mu[i % 2] - ito) * (t - s) + sigma * out[i]);
        }
    }
}

static double rms(size_t n, const dfo_real *x, const double *want)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += ((double)x[i] - want[i]) * ((double)x[i] - want[i]);
    return sqrt(sum / (double)n);
}

#ifdef DFO_DOUBLE
enum { ROWS = 25, PATHS = ROWS * MOST, SIZES = 5 };

/* The slope of log error over log step, by least squares.  */
static double slope_of(const double *error)
{
    double sum = 0, squares = 0;
    for (size_t k = 0; k < SIZES; k++) {
        double at = (double)k - (SIZES - 1) / 2.0;
        sum -= at * log2(error[k]);
        squares += at * at;
    }
    return sum / squares;
}

static void order_is(const char *what, const char *method, const double *error, double want)
{
    double got = slope_of(error);
    ck_assert_msg(fabs(got - want) <= 0.2, "%s, %s: order %.2f, expected %g (errors %g .. %g)", what, method, got, want, error[0],
                  error[SIZES - 1]);
}

/* sine: additive; time: additive and changing; area: two columns that do not commute.  Against many more steps on the same paths.  */
START_TEST(orders)
{
    static const struct { const char *name, *best; size_t m, steps; dfo_noise_kind kind; } some[] = {
        {"sine", "shark", 0, 4096, DFO_NOISE_ADDITIVE}, {"time", "shark", 0, 4096, DFO_NOISE_ADDITIVE},
        {"area", "heun", MOST, 2048, DFO_NOISE_GENERAL}};
    struct equation e = {.name = some[_i].name, .m = some[_i].m};
    dfo_field f = field_of(&e, MOST);
    dfo_noise noise = noise_for(&e, MOST, some[_i].kind, DFO_STRATONOVICH);
    dfo_brownian b = {40 + (uint64_t)_i, 0, 1, 1.0 / 4096};
    static dfo_real x[PATHS];
    static double want[PATHS];
    start_at(PATHS, 0.5, x);
    solve(some[_i].best, some[_i].steps, &f, &noise, &b, 0, 1, ROWS, x);
    for (size_t i = 0; i < PATHS; i++)
        want[i] = (double)x[i];
    for (size_t m = 0; dfo_sde_method(m); m++) {
        double error[SIZES], order = dfo_sde_method_order(dfo_sde_method(m), some[_i].kind);
        for (size_t k = 0; order > 0 && k < SIZES; k++) {
            start_at(PATHS, 0.5, x);
            solve(dfo_sde_method(m), (size_t)8 << k, &f, &noise, &b, 0, 1, ROWS, x);
            error[k] = rms(PATHS, x, want);
        }
        if (order > 0)
            order_is(e.name, dfo_sde_method(m), error, order);
    }
}
END_TEST

/* Geometric Brownian motion, a drift in each calculus (methods of the other one have it converted), forward and back.  */
START_TEST(exact_orders)
{
    dfo_calculus calculus = _i & 1 ? DFO_STRATONOVICH : DFO_ITO;
    double from = _i & 2 ? 1 : 0, to = 1 - from;
    struct equation e = {.name = "gbm", .a = gbm_mu, .b = gbm_sigma};
    dfo_field f = field_of(&e, MOST);
    dfo_noise noise = noise_for(&e, MOST, DFO_NOISE_DIAGONAL, calculus);
    dfo_brownian b = {51, 0, 1, 1.0 / 1024};
    static dfo_real x[PATHS];
    static double want[PATHS];
    gbm_exact(calculus, &b, from, to, ROWS, MOST, want);
    for (size_t m = 0; dfo_sde_method(m); m++) {
        double error[SIZES], order = dfo_sde_method_order(dfo_sde_method(m), DFO_NOISE_DIAGONAL);
        for (size_t k = 0; order > 0 && k < SIZES; k++) {
            start_at(PATHS, 1, x);
            solve(dfo_sde_method(m), (size_t)16 << k, &f, &noise, &b, from, to, ROWS, x);
            error[k] = rms(PATHS, x, want);
        }
        if (order > 0)
            order_is(calculus == DFO_ITO ? "Ito" : "Stratonovich", dfo_sde_method(m), error, order);
    }
}
END_TEST
#endif

/* Both calculi meet at the exact solution, diagonal noise and the same as a matrix.  */
START_TEST(conversion)
{
    enum { N = 3 * MOST, STEPS = 1024 };
    static const char *const method[] = {"euler-maruyama", "milstein", "milstein-strat", "euler-heun", "heun", "spark"};
    dfo_brownian b = {60, 0, 1, 1.0 / STEPS};
    for (size_t m = 0; m < 6; m++)
        for (int k = 0; k < 4; k++) {
            dfo_calculus calculus = k & 1 ? DFO_STRATONOVICH : DFO_ITO;
            struct equation e = {.name = "gbm", .a = gbm_mu, .b = gbm_sigma, .m = k & 2 ? MOST : 0};
            dfo_field f = field_of(&e, MOST);
            dfo_noise noise = noise_for(&e, MOST, k & 2 ? DFO_NOISE_GENERAL : DFO_NOISE_DIAGONAL, calculus);
            dfo_real x[N];
            double want[N];
            if (dfo_sde_method_order(method[m], noise.kind) == 0)
                continue;
            start_at(N, 1, x);
            gbm_exact(calculus, &b, 0, 1, N / MOST, MOST, want);
            solve(method[m], STEPS, &f, &noise, &b, 0, 1, N / MOST, x);
            ck_assert_msg(rms(N, x, want) < (m ? 5e-3 : 0.1), "%s, %d: off by %g", method[m], k, rms(N, x, want));
        }
    struct equation e = {.name = "gbm", .a = gbm_mu, .b = gbm_sigma};
    dfo_noise noise = noise_for(&e, 2, DFO_NOISE_DIAGONAL, DFO_ITO);
    dfo_run run = {.arena_size = dfo_noise_correction_scratch(&noise, 1)};
    dfo_real x[2] = {2, -3}, c[2];
    double t = 0;
    run.arena = calloc(run.arena_size, sizeof *run.arena);
    ck_assert_int_eq(dfo_noise_correction(&noise, &run, &t, dfo_batch_of(x, 1, 2), c), DFO_OK);
    for (size_t i = 0; i < 2; i++)
        ck_assert(fabs((double)c[i] - gbm_sigma[i] * gbm_sigma[i] * (double)x[i] / 2) < 1e-6);
    free(run.arena);
}
END_TEST

/* Back along the same noise: without a drift to the start, to rounding; with one (Stratonovich) to the method's error, which
 * falls with the step.  */
START_TEST(there_and_back)
{
    enum { N = 5 * MOST };
    struct equation quiet = {.name = "quiet"}, gbm = {.name = "gbm", .a = gbm_mu, .b = gbm_sigma};
    dfo_brownian b = {70, -1, 2, 1e-4}, even = {71, 0, 1, 1.0 / 1024};
    double one[N];
    dfo_real x[N];
    for (size_t i = 0; i < N; i++)
        one[i] = 1;
    for (size_t m = 0; dfo_sde_method(m); m++) {
        dfo_field f = field_of(&quiet, MOST);
        dfo_noise noise = noise_for(&quiet, MOST, DFO_NOISE_ADDITIVE, DFO_ITO);
        start_at(N, 1, x);
        solve(dfo_sde_method(m), 77, &f, &noise, &b, -1, 1.7, N / MOST, x);
        ck_assert(fabs((double)x[0] - 1) > 1e-3);
        solve(dfo_sde_method(m), 77, &f, &noise, &b, 1.7, -1, N / MOST, x);
        for (size_t i = 0; i < N; i++)
            ck_assert_msg(fabs((double)x[i] - 1) < 100 * (double)DFO_REAL_EPS, "%s: off by %g", dfo_sde_method(m), (double)x[i] - 1);
        double error[2];
        f = field_of(&gbm, MOST);
        noise = noise_for(&gbm, MOST, DFO_NOISE_DIAGONAL, DFO_STRATONOVICH);
        for (size_t k = 0; k < 2 && dfo_sde_method_calculus(dfo_sde_method(m)) == DFO_STRATONOVICH; k++) {
            start_at(N, 1, x);
            solve(dfo_sde_method(m), k ? 1024 : 64, &f, &noise, &even, 0, 1, N / MOST, x);
            solve(dfo_sde_method(m), k ? 1024 : 64, &f, &noise, &even, 1, 0, N / MOST, x);
            error[k] = rms(N, x, one);
            ck_assert_msg(error[k] < (k ? error[0] / 6 + 1e-5 : 0.2), "%s: %g", dfo_sde_method(m), error[k]);
        }
    }
}
END_TEST

/* A row's bits know nothing of its neighbours, equal steps or chosen ones.  */
START_TEST(rows_alone)
{
    enum { N = 9 };
    struct equation e = {.name = "gbm", .a = gbm_mu, .b = gbm_sigma};
    dfo_field f = field_of(&e, 2);
    dfo_noise noise = noise_for(&e, 2, DFO_NOISE_DIAGONAL, DFO_STRATONOVICH);
    dfo_brownian b = {80, 0, 1, 1e-5};
    for (size_t steps = 0; steps <= 30; steps += 30) {
        dfo_sde *sde = sde_of("spark", steps, 1e-2);
        dfo_real all[2 * N], some[2 * N];
        start_at(2 * N, 1, all);
        start_at(2 * N, 1, some);
        go(sde, &f, &noise, &b, 0, 1, N, 100, all, NULL, NULL);
        for (size_t i = 0; i < N; i += 4)
            go(sde, &f, &noise, &b, 0, 1, N - i < 4 ? N - i : 4, 100 + i, some + 2 * i, NULL, NULL);
        ck_assert(!memcmp(all, some, sizeof all));
        ck_assert(all[0] != all[2]);
        dfo_sde_free(sde);
    }
}
END_TEST

/* Chosen steps: the error follows the tolerance, either way in time; more steps where it is small.  */
START_TEST(chosen_steps)
{
    enum { N = 40 };
    struct equation gbm = {.name = "gbm", .a = gbm_mu, .b = gbm_sigma}, sine = {.name = "sine"};
    dfo_brownian b = {90, 0, 1, 1e-5};
    double last[2] = {1, 1};
    dfo_real x[N], fine[N];
    double want[N];
    uint64_t steps[2] = {0, 0};
    for (int k = 0; k < 3; k++)
        for (int back = 0; back < 2; back++) {
            double tol = pow(10, -1.5 - k), error;
            dfo_sde_report report = {0};
            dfo_field f = field_of(back ? &sine : &gbm, 1);
            dfo_noise noise = noise_for(back ? &sine : &gbm, 1, back ? DFO_NOISE_ADDITIVE : DFO_NOISE_DIAGONAL, DFO_ITO);
            dfo_sde *sde = sde_of(back ? "shark" : "spark", 0, tol);
            start_at(N, 1, x);
            start_at(N, 1, fine);
            gbm_exact(DFO_ITO, &b, 0, 1, N, 1, want);
            if (back) {
                solve("sra1", 1024, &f, &noise, &b, 1, 0, N, fine);
                for (size_t i = 0; i < N; i++)
                    want[i] = (double)fine[i];
            }
            go(sde, &f, &noise, &b, back, 1 - back, N, 0, x, &report, NULL);
            for (size_t i = 0; i < N; i++) {       /* over what tolerances are scaled by */
                x[i] /= (dfo_real)(1 + fabs(want[i]));
                want[i] /= 1 + fabs(want[i]);
            }
            error = rms(N, x, want);
            ck_assert_msg(error < 15 * tol && error < 0.7 * last[back], "tol %g: %g, before %g", tol, error, last[back]);
            ck_assert(report.accepted > steps[back] && report.drifts == (back ? 2 : 3) * (report.accepted + report.rejected));
            last[back] = error;
            steps[back] = report.accepted;
            dfo_sde_free(sde);
        }
}
END_TEST

/* ---- refusals and failures */

static void fails(const char *method, size_t steps, double tol, const char *equation, size_t m, dfo_noise_kind kind, dfo_brownian b,
                  double t1, dfo_status status, const char *text)
{
    struct equation e = {.name = equation, .a = gbm_mu, .b = gbm_sigma, .m = m};
    dfo_field f = field_of(&e, 1);
    dfo_noise noise = noise_for(&e, 1, kind, DFO_ITO);
    dfo_sde *sde = sde_of(method, steps, tol);
    dfo_real x[3] = {1, 1, 1};
    char got[sizeof ((dfo_run *)NULL)->text];
    struct dfo_noise_ops bare = {.type = "bare", .eval = eval_noise};
    if (status == DFO_EUNSUP)
        noise.ops = &bare;
    dfo_status was = go(sde, &f, &noise, &b, 0, t1, 3, 7, x, NULL, got);
    ck_assert_msg(was == status && strstr(got, text) && !strchr(got, '\n'), "%s: status %d, '%s', expected '%s'", method, (int)was, got, text);
    dfo_sde_free(sde);
}

START_TEST(refused)
{
    static const struct { dfo_sde_options o; const char *text; } bad[] = {
        {{.method = "rk4", .steps = 1}, "no method is called 'rk4'; known: euler-maruyama"}, {{.method = NULL, .steps = 1}, "no method"},
        {{.method = "heun"}, "wants a number of steps, got 0"}, {{.method = "spark", .rtol = -1, .i = 1, .most = 1}, "rtol -1"},
        {{.method = "spark", .atol = 1, .most = 1}, "controller"}, {{.method = "spark", .atol = 1, .i = 1}, "at most 0 steps"},
        {{.method = "spark", .atol = 1, .i = 1, .first = NAN, .most = 1}, "first step nan"}};
    dfo_brownian b = {1, 0, 1, 1e-3}, none = {1, 1, 1, 1e-3}, zero = {1, 0, 1, 0};
    dfo_sde *sde;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ck_assert_int_eq(dfo_sde_new(ctx, &bad[i].o, &sde), DFO_EARG);
        ck_assert_msg(strstr(dfo_ctx_error(ctx), bad[i].text) != NULL, "%s", dfo_ctx_error(ctx));
        ck_assert_ptr_null(sde);
    }
    fails("sra1", 10, 0, "gbm", 0, DFO_NOISE_DIAGONAL, b, 1, DFO_EARG, "sra1: expected additive noise, got diagonal noise 'test'");
    fails("milstein", 10, 0, "gbm", 1, DFO_NOISE_GENERAL, b, 1, DFO_EARG, "milstein: expected additive or diagonal noise, got general");
    fails("heun", 10, 0, "gbm", 0, DFO_NOISE_GENERAL, b, 1, DFO_EARG, "does not fit");
    fails("heun", 10, 0, "gbm", 0, DFO_NOISE_DIAGONAL, none, 1, DFO_EARG, "from 1 to 1");
    fails("heun", 10, 0, "gbm", 0, DFO_NOISE_DIAGONAL, zero, 1, DFO_EARG, "tol 0");
    fails("heun", 10, 0, "gbm", 0, DFO_NOISE_DIAGONAL, b, 1.5, DFO_EARG, "expected times of the path, 0 to 1");
    fails("heun", 2000, 0, "gbm", 0, DFO_NOISE_DIAGONAL, b, 1, DFO_EARG, "expected steps from the path's tol on");
    fails("milstein", 10, 0, "gbm", 0, DFO_NOISE_DIAGONAL, b, 1, DFO_EUNSUP, "'bare' does not tell its slope");
    fails("heun", 10, 0, "gbm", 1, DFO_NOISE_GENERAL, b, 1, DFO_EUNSUP, "'bare' does not tell its correction");
    dfo_brownian wide = {1, 0, 100, 1e-3};
    fails("heun", 50, 0, "unbounded", 0, DFO_NOISE_ADDITIVE, wide, 50, DFO_ENUM, "heun, row ");
    fails("spark", 0, 1e-6, "unbounded", 0, DFO_NOISE_ADDITIVE, wide, 50, DFO_ENUM, "smaller than the path's tol");
    ck_assert(!dfo_sde_method_adaptive("heun") && dfo_sde_method_adaptive("shark") && !dfo_sde_method_adaptive("no"));
    ck_assert(dfo_sde_method_order("no", DFO_NOISE_ADDITIVE) == 0 && dfo_sde_method_text(0) && !dfo_sde_method_text(100));
    dfo_sde_free(NULL);
}
END_TEST

/* Without a plan: the states of solves from time to time; times that do not go on; no memory.  */
static dfo_status integrate(dfo_ctx *c, void *out)
{
    static const double times[3] = {0.1, 0.4, 0.9};
    struct equation e = {.name = "sine"};
    dfo_field f = field_of(&e, 1);
    dfo_noise noise = noise_for(&e, 1, DFO_NOISE_ADDITIVE, DFO_ITO);
    dfo_brownian b = {5, 0, 1, 1e-3};
    dfo_sde_options o = {.method = "sra1", .steps = 10};
    dfo_real x[2] = {1, 2};
    dfo_sde *sde;
    dfo_status status = dfo_sde_new(c, &o, &sde);
    if (status == DFO_OK)
        status = dfo_sde_integrate(c, sde, &f, &noise, &b, dfo_batch_of(x, 2, 1), 3, times, out, NULL);
    dfo_sde_free(sde);
    return status;
}

START_TEST(without_plan)
{
    struct equation e = {.name = "sine"};
    dfo_field f = field_of(&e, 1);
    dfo_noise noise = noise_for(&e, 1, DFO_NOISE_ADDITIVE, DFO_ITO);
    dfo_brownian b = {5, 0, 1, 1e-3};
    dfo_real x[2] = {1, 2}, out[6];
    double times[2] = {0.5, 0.5};
    OK(integrate(ctx, out));
    ck_assert(!memcmp(out, x, sizeof x));
    solve("sra1", 10, &f, &noise, &b, 0.1, 0.4, 2, x);
    ck_assert(!memcmp(out + 2, x, sizeof x));
    solve("sra1", 10, &f, &noise, &b, 0.4, 0.9, 2, x);
    ck_assert(!memcmp(out + 4, x, sizeof x));
    dfo_sde *sde = sde_of("sra1", 10, 0);
    ck_assert_int_eq(dfo_sde_integrate(ctx, sde, &f, &noise, &b, dfo_batch_of(x, 2, 1), 2, times, out, NULL), DFO_EARG);
    ck_assert_int_eq(dfo_sde_integrate(ctx, sde, &f, &noise, &b, dfo_batch_of(x, 1, 2), 2, times, out, NULL), DFO_ESHAPE);
    times[1] = 2;
    ck_assert_int_eq(dfo_sde_integrate(ctx, sde, &f, &noise, &b, dfo_batch_of(x, 2, 1), 2, times, out, NULL), DFO_EARG);
    ck_assert_msg(strstr(dfo_ctx_error(ctx), "times of the path") != NULL, "%s", dfo_ctx_error(ctx));
    dfo_sde_free(sde);
    ck_assert_uint_ge(oom_check("stochastic solver", OOM_ALL, integrate, out), 2);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("stochastic equations " DFO_REAL_NAME);
    TCase *t = tcase_create("sde");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, single_steps);
    tcase_add_test(t, conversion);
    tcase_add_test(t, there_and_back);
    tcase_add_test(t, rows_alone);
    tcase_add_test(t, chosen_steps);
    tcase_add_test(t, refused);
    tcase_add_test(t, without_plan);
#ifdef DFO_DOUBLE
    tcase_add_loop_test(t, orders, 0, 3);
    tcase_add_loop_test(t, exact_orders, 0, 4);
#endif
    suite_add_tcase(suite, t);
    return test_run(suite);
}
