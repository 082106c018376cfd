/* Grids of times, EDM's scales and the discrete schedules of DDPM, see <diffeo/schedule.h>.  */
#include <math.h>
#include <string.h>

#include "base/ctx_impl.h"
#include <diffeo/schedule.h>

enum { UNIFORM, LOG_SNR, EDM, DDPM, KINDS };
static const char *const names[KINDS] = {"uniform", "log-snr", "edm", "ddpm"};

/* The coordinate that the grid divides equally, and back.  */
static double coordinate(const dfo_noise_schedule *s, int kind, double power, double t)
{
    if (kind == LOG_SNR)
        return dfo_noise_schedule_clock(s, DFO_CLOCK_LOG_SNR, t);
    return kind == EDM ? pow(dfo_noise_schedule_clock(s, DFO_CLOCK_CHI, t), 1 / power) : t;
}

static double time_of(const dfo_noise_schedule *s, int kind, double power, size_t levels, double x)
{
    switch (kind) {
    case LOG_SNR: return dfo_noise_schedule_time(s, DFO_CLOCK_LOG_SNR, x);
    case EDM: return dfo_noise_schedule_time(s, DFO_CLOCK_CHI, pow(x, power));
    case DDPM: return round(x * (double)levels) / (double)levels;
    default: return x;
    }
}

dfo_status dfo_noise_schedule_grid(dfo_ctx *ctx, const dfo_noise_schedule *s, const dfo_time_grid *g, size_t steps, double *t)
{
    int kind = 0;
    while (g->kind && kind < KINDS && strcmp(g->kind, names[kind]))
        kind++;
    if (kind == KINDS)
        return dfoi_fail(ctx, DFO_EARG, "time grid: none is called '%.40s'; known: uniform, log-snr, edm, ddpm", g->kind);
    DFO_TRY(dfo_noise_schedule_check(ctx, s));
    double power = g->rho == 0 ? 7 : g->rho, a = coordinate(s, kind, power, g->from), b = coordinate(s, kind, power, g->to);
    size_t levels = g->levels ? g->levels : 1000;
    if (!steps || steps > (size_t)1 << 30)
        return dfoi_fail(ctx, DFO_EARG, "time grid: %zu steps: expected at least one", steps);
    if (!(power > 0) || !isfinite(power))
        return dfoi_fail(ctx, DFO_EARG, "time grid edm: rho %g: expected a number above 0", power);
    if (!isfinite(a) || !isfinite(b) || a == b)
        return dfoi_fail(ctx, DFO_EARG, "time grid %s: from %g to %g: expected two times of the schedule %s with finite clocks",
                         names[kind], g->from, g->to, dfo_noise_schedule_name(s->kind));
    for (size_t i = 0; i <= steps; i++)
        t[i] = time_of(s, kind, power, levels, a + (b - a) * (double)i / (double)steps);
    if (kind != DDPM) {
        t[0] = g->from;
        t[steps] = g->to;
    }
    for (size_t i = 1; i <= steps; i++)
        if (!((t[i] > t[i - 1]) == (t[steps] > t[0]) && t[i] != t[i - 1]))
            return dfoi_fail(ctx, DFO_EARG,
                             "time grid %s: %zu steps from %g to %g are too many: time %zu, %.9g, does not go on from %.9g",
                             names[kind], steps, g->from, g->to, i, t[i], t[i - 1]);
    return DFO_OK;
}

dfo_edm_scales dfo_edm_scales_at(double sigma, double sigma_data)
{
    double sum = sigma * sigma + sigma_data * sigma_data, product = sigma * sigma_data;
    return (dfo_edm_scales){.skip = sigma_data * sigma_data / sum,
                            .out = product / sqrt(sum),
                            .in = 1 / sqrt(sum),
                            .noise = log(sigma) / 4,
                            .weight = sum / (product * product)};
}

void dfo_ddpm_linear(size_t steps, double first, double last, double *beta)
{
    for (size_t i = 0; i < steps; i++)
        beta[i] = steps > 1 ? first + (last - first) * (double)i / (double)(steps - 1) : first;
}

void dfo_ddpm_cosine(size_t steps, double s, double most, double *beta, double *abar)
{
    const dfo_noise_schedule cosine = {.kind = DFO_NOISE_COSINE, .s = s};
    double before = 1;
    for (size_t i = 0; i < steps; i++) {
        double alpha = dfo_noise_schedule_at(&cosine, (double)(i + 1) / (double)steps).alpha, now = alpha * alpha;
        beta[i] = fmin(1 - now / before, most);
        if (abar)
            abar[i] = now;
        before = now;
    }
}

void dfo_ddpm_products(size_t steps, const double *beta, double *abar, double *posterior)
{
    double before = 1;
    for (size_t i = 0; i < steps; i++) {
        double now = before * (1 - beta[i]);
        if (posterior)
            posterior[i] = i ? beta[i] * (1 - before) / (1 - now) : 0;
        if (abar)
            abar[i] = now;
        before = now;
    }
}
