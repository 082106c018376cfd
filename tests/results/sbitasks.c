/* See sbitasks.h.  Where the paper leaves something open (times of observations, the stimulus of bernoulli_glm), sbibm's program decides.  */
#include <gsl/gsl_rng.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <diffeo/ode.h>
#include "sbitasks.h"

static dfo_ctx *ctx;
static dfo_ode *ode;

static double square(double x)
{
    return x * x;
}

/* n standard normal numbers.  */
static void normals(dfo_key key, size_t n, double *to)
{
    dfo_draw_real_normal(key, n, to);
}

/* ---- gaussian_linear, gaussian_linear_uniform: x ~ N(theta, 0.1 I) */

static void linear(const double *theta, dfo_key key, double *x)
{
    normals(key, 10, x);
    for (size_t j = 0; j < 10; j++)
        x[j] = theta[j] + sqrt(0.1) * x[j];
}

static double linear_likelihood(const double *theta, const double *x)
{
    double sum = 0;
    for (size_t j = 0; j < 10; j++)
        sum -= square(x[j] - theta[j]) / 0.2;
    return sum;
}

/* ---- gaussian_mixture: x ~ 1/2 N(theta, I) + 1/2 N(theta, 0.01 I) */

static void mixture(const double *theta, dfo_key key, double *x)
{
    double n[2], u;
    normals(key, 2, n);
    key.step++;
    dfo_draw_uniform(key, 0, 1, &u);
    for (size_t j = 0; j < 2; j++)
        x[j] = theta[j] + (u < 0.5 ? 1 : 0.1) * n[j];
}

static double mixture_likelihood(const double *theta, const double *x)
{
    double r2 = square(x[0] - theta[0]) + square(x[1] - theta[1]);
    return log(exp(-r2 / 2) + 100 * exp(-r2 / 0.02));
}

/* ---- two_moons: a half ring, moved by (-|theta_1 + theta_2|, theta_2 - theta_1)/sqrt(2) */

static void two_moons(const double *theta, dfo_key key, double *x)
{
    double n, u;
    normals(key, 1, &n);
    key.step++;
    dfo_draw_uniform(key, 0, 1, &u);
    double r = 0.1 + 0.01 * n, a = M_PI * (u - 0.5);
    x[0] = r * cos(a) + 0.25 - fabs(theta[0] + theta[1]) / sqrt(2);
    x[1] = r * sin(a) + (theta[1] - theta[0]) / sqrt(2);
}

static double two_moons_edge(const double *theta, const double *x)
{
    return fmax(0, x[0] - 0.25 + fabs(theta[0] + theta[1]) / sqrt(2));
}

static double two_moons_likelihood(const double *theta, const double *x)
{
    double p = two_moons_edge(theta, x), r = hypot(p, x[1] - (theta[1] - theta[0]) / sqrt(2));
    return p > 0 ? -square((r - 0.1) / 0.01) / 2 - log(r) : -INFINITY;
}

/* ---- slcp: four points of N((theta_1, theta_2), S), deviations theta_3^2 and theta_4^2, correlation tanh theta_5 */

static void slcp(const double *theta, dfo_key key, double *x)
{
    double s = square(theta[2]), t = square(theta[3]), rho = tanh(theta[4]), n[8];
    normals(key, 8, n);
    for (size_t k = 0; k < 8; k += 2) {
        x[k] = theta[0] + s * n[k];
        x[k + 1] = theta[1] + t * (rho * n[k] + sqrt(1 - rho * rho) * n[k + 1]);
    }
}

static double slcp_likelihood(const double *theta, const double *x)
{
    double s = square(theta[2]), t = square(theta[3]), rho = tanh(theta[4]), sum = 0;
    for (size_t k = 0; k < 8; k += 2) {
        double u = (x[k] - theta[0]) / s, v = (x[k + 1] - theta[1]) / t;
        sum -= (u * u - 2 * rho * u * v + v * v) / (1 - rho * rho) / 2 + log(s * t) + log(1 - rho * rho) / 2;
    }
    return sum;
}

/* ---- bernoulli_glm: a neuron spikes in bin t with the logit theta_1 + sum_k theta_(2+k) stimulus(t-k); what is observed are the
 * spikes' number and the sums of the stimulus k bins before them */

enum { BINS = 100, LAGS = 9 };
static double stimulus[BINS];

/* NumPy's RandomState(42).randn(100), in float: Marsaglia's polar method on the Mersenne twister.  */
static void make_stimulus(void)
{
    gsl_rng *rng = gsl_rng_alloc(gsl_rng_mt19937);
    if (!rng)
        exit(1);
    gsl_rng_set(rng, 42);
    for (size_t t = 0; t < BINS; t += 2) {
        double u[2], r2;
        do {
            for (size_t k = 0; k < 2; k++) {
                double high = (double)(gsl_rng_get(rng) >> 5), low = (double)(gsl_rng_get(rng) >> 6);
                u[k] = 2 * (high * 0x1p26 + low) * 0x1p-53 - 1;
            }
            r2 = u[0] * u[0] + u[1] * u[1];
        } while (r2 >= 1 || r2 == 0);
        for (size_t k = 0; k < 2; k++)
            stimulus[t + k] = (double)(float)(sqrt(-2 * log(r2) / r2) * u[1 - k]);
    }
    gsl_rng_free(rng);
}

static double drive(const double *theta, size_t t)
{
    double sum = theta[0];
    for (size_t k = 0; k < LAGS && k <= t; k++)
        sum += theta[1 + k] * stimulus[t - k];
    return sum;
}

static void glm(const double *theta, dfo_key key, double *x)
{
    double u[BINS];
    dfo_draw_uniform(key, 0, BINS, u);
    memset(x, 0, (1 + LAGS) * sizeof *x);
    for (size_t t = 0; t < BINS; t++) {
        if (u[t] * (1 + exp(-drive(theta, t))) >= 1)
            continue;
        x[0]++;
        for (size_t k = 0; k < LAGS && k <= t; k++)
            x[1 + k] += stimulus[t - k];
    }
}

static double glm_likelihood(const double *theta, const double *x)
{
    double sum = 0;
    for (size_t j = 0; j <= LAGS; j++)
        sum += theta[j] * x[j];
    for (size_t t = 0; t < BINS; t++) {
        double p = drive(theta, t);
        sum -= fmax(p, 0) + log1p(exp(-fabs(p)));
    }
    return sum;
}

/* ---- lotka_volterra, sir: logarithms u, v with du/dt = a - b e^v, dv/dt = d e^u - c, at ten times */

enum { TIMES = 10 };

static dfo_status rates(const dfo_field *field, dfo_run *run, const double *t, dfo_batch x, dfo_batch dx, double *dq)
{
    const double *rate = field->state;
    (void)run, (void)t, (void)dq;
    for (size_t i = 0; i < x.n; i++) {
        const double *at = dfo_row(x, i);
        dfo_row(dx, i)[0] = rate[0] - rate[1] * exp(at[1]);
        dfo_row(dx, i)[1] = rate[3] * exp(at[0]) - rate[2];
    }
    return DFO_OK;
}

/* out (TIMES, 2) begins with u, v.  */
static void solve(const double rate[4], double u, double v, double every, double *out)
{
    static const struct dfo_field_ops ops = {.type = "sbibm", .eval = rates};
    const dfo_field field = {.ops = &ops, .state = rate, .d = 2};
    double start[2] = {u, v}, times[TIMES];
    for (size_t k = 0; k < TIMES; k++)
        times[k] = every * (double)k;
    if (dfo_ode_integrate(ctx, ode, &field, dfo_batch_of(start, 1, 2), TIMES, times, out, NULL, NULL)) {
        fprintf(stderr, "simulate: rates %g %g %g %g: %s\n", rate[0], rate[1], rate[2], rate[3], dfo_ctx_error(ctx));
        exit(1);
    }
}

/* Prey, then predators, from 30 and 1, every 2.1 days; log x ~ N(log state, 0.1^2), states kept within 1e-10 and 1e4.  */
static void animals(const double *theta, double *log_state)
{
    double out[2 * TIMES];
    solve(theta, log(30), 0, 2.1, out);
    for (size_t k = 0; k < 2 * TIMES; k++)
        log_state[k] = fmin(fmax(out[k % TIMES * 2 + k / TIMES], log(1e-10)), log(1e4));
}

static void lotka_volterra(const double *theta, dfo_key key, double *x)
{
    double at[2 * TIMES];
    normals(key, 2 * TIMES, x);
    animals(theta, at);
    for (size_t k = 0; k < 2 * TIMES; k++)
        x[k] = exp(at[k] + 0.1 * x[k]);
}

static double lotka_volterra_likelihood(const double *theta, const double *x)
{
    double at[2 * TIMES], sum = 0;
    animals(theta, at);
    for (size_t k = 0; k < 2 * TIMES; k++)
        sum -= square((log(x[k]) - at[k]) / 0.1) / 2;
    return sum;
}

/* One of a million is ill; every 17 days 1,000 are asked.  S' = -b S I, I' = b S I - c I.  */
enum { ASKED = 1000 };

static void ill(const double *theta, double *out)
{
    double rate[4] = {0, theta[0], theta[1], theta[0]};
    solve(rate, log1p(-1e-6), log(1e-6), 17, out);
}

/* The least k whose distribution function reaches u; p^n must be a number, so at most 1/2 is summed up from.  */
static double binomial(double p, double u)
{
    if (p > 0.5)
        return ASKED - binomial(1 - p, 1 - u);
    double k = 0, term = exp(ASKED * log1p(-p)), sum = term;
    while (sum < u && k < ASKED) {
        term *= (ASKED - k) / (k + 1) * p / (1 - p);
        sum += term;
        k++;
    }
    return k;
}

static void sir(const double *theta, dfo_key key, double *x)
{
    double out[2 * TIMES];
    dfo_draw_uniform(key, 0, TIMES, x);
    ill(theta, out);
    for (size_t k = 0; k < TIMES; k++)
        x[k] = binomial(exp(out[2 * k + 1]), x[k]);
}

static double sir_likelihood(const double *theta, const double *x)
{
    double out[2 * TIMES], sum = 0;
    ill(theta, out);
    for (size_t k = 0; k < TIMES; k++) {
        double log_p = out[2 * k + 1];
        sum += x[k] * log_p + (ASKED - x[k]) * log1p(-exp(log_p)) - lgamma(x[k] + 1) - lgamma(ASKED - x[k] + 1);
    }
    return sum;
}

/* ---- */

#define SD_PRIOR 0.31622776601683794 /* sqrt(0.1) */
const struct sbi_task sbi_tasks[] = {
    {"two_moons", 2, 2, SBI_UNIFORM, {-1, -1}, {1, 1}, 0, 10000, two_moons, two_moons_likelihood, two_moons_edge},
    {"gaussian_linear", 10, 10, SBI_NORMAL, {0, 0}, {SD_PRIOR, SD_PRIOR}, 0, 10000, linear, linear_likelihood, NULL},
    {"gaussian_linear_uniform", 10, 10, SBI_UNIFORM, {-1, -1}, {1, 1}, 0, 10000, linear, linear_likelihood, NULL},
    {"gaussian_mixture", 2, 2, SBI_UNIFORM, {-10, -10}, {10, 10}, 0, 10000, mixture, mixture_likelihood, NULL},
    {"slcp", 5, 8, SBI_UNIFORM, {-3, -3}, {3, 3}, 0, 10000, slcp, slcp_likelihood, NULL},
    {"bernoulli_glm", 10, 10, SBI_SMOOTH, {0, 0}, {1, 1}, 0, 10000, glm, glm_likelihood, NULL},
    {"lotka_volterra", 4, 20, SBI_LOG_NORMAL, {-0.125, -3}, {0.5, 0.5}, 0.01, 1000, lotka_volterra, lotka_volterra_likelihood, NULL},
    {"sir", 2, 10, SBI_LOG_NORMAL, {-0.916290731874155, -2.0794415416798357}, {0.5, 0.2}, 1, 1000, sir, sir_likelihood, NULL},
};
const size_t sbi_count = sizeof sbi_tasks / sizeof *sbi_tasks;

void sbi_start(dfo_ctx *c)
{
    dfo_ode_options o;
    ctx = c;
    dfo_ode_defaults(&o);
    o.rtol = o.atol = 1e-10;
    o.most = 1000000;
    if (dfo_ode_new(ctx, &o, &ode)) {
        fprintf(stderr, "simulate: %s\n", dfo_ctx_error(ctx));
        exit(1);
    }
    make_stimulus();
}

const struct sbi_task *sbi_task_named(const char *name)
{
    for (size_t k = 0; k < sbi_count; k++)
        if (!strcmp(sbi_tasks[k].name, name))
            return &sbi_tasks[k];
    return NULL;
}

/* bernoulli_glm: theta_1 ~ N(0, 2), the filter f ~ N(0, (F'F)^-1): row i of F is f_i (1 + sqrt(i/9)) - 2 f_(i-1) + f_(i-2), i from 0.  */
static double rest(const double *f, size_t i)
{
    return (i > 0 ? -2 * f[i - 1] : 0) + (i > 1 ? f[i - 2] : 0);
}

static double diagonal(size_t i)
{
    return 1 + sqrt((double)i / LAGS);
}

void sbi_draw(const struct sbi_task *t, dfo_key key, double *theta)
{
    if (t->prior == SBI_UNIFORM)
        dfo_draw_uniform(key, 0, t->d, theta);
    else
        normals(key, t->d, theta);
    if (t->prior == SBI_SMOOTH) {
        theta[0] *= sqrt(2);
        for (size_t i = 0; i < LAGS; i++)
            theta[1 + i] = (theta[1 + i] - rest(theta + 1, i)) / diagonal(i);
        return;
    }
    for (size_t j = 0; j < t->d; j++) {
        double a = t->a[j % 2], b = t->b[j % 2];
        theta[j] = a + (t->prior == SBI_UNIFORM ? b - a : b) * theta[j];
        if (t->prior == SBI_LOG_NORMAL)
            theta[j] = exp(theta[j]);
    }
}

double sbi_log_prior(const struct sbi_task *t, const double *theta)
{
    double sum = 0;
    if (t->prior == SBI_UNIFORM)
        return 0;
    if (t->prior == SBI_SMOOTH) {
        sum = -square(theta[0]) / 4;
        for (size_t i = 0; i < LAGS; i++)
            sum -= square(theta[1 + i] * diagonal(i) + rest(theta + 1, i)) / 2;
        return sum;
    }
    for (size_t j = 0; j < t->d; j++) {
        double z = t->prior == SBI_LOG_NORMAL ? log(theta[j]) : theta[j];
        sum -= square((z - t->a[j % 2]) / t->b[j % 2]) / 2 + (t->prior == SBI_LOG_NORMAL ? z : 0);
    }
    return sum;
}

double sbi_free(const struct sbi_task *t, size_t j, double theta)
{
    switch (t->prior) {
    case SBI_UNIFORM: return log((theta - t->a[j % 2]) / (t->b[j % 2] - theta));
    case SBI_LOG_NORMAL: return log(theta);
    default: return theta;
    }
}

double sbi_back(const struct sbi_task *t, size_t j, double z)
{
    switch (t->prior) {
    case SBI_UNIFORM: return t->a[j % 2] + (t->b[j % 2] - t->a[j % 2]) / (1 + exp(-z));
    case SBI_LOG_NORMAL: return exp(z);
    default: return z;
    }
}
