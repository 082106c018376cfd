/* Noise schedules, see <diffeo/schedule.h>.  With q = sigma^2/alpha^2 and B = int_0^t beta: vp has B = log(1 + q), subvp B = 2
 * asinh(sqrt(q)/2), the cosine tan^2 u = tan^2 u0 + q/cos^2 u0 for u = (t+s)/(1+s) pi/2, u0 its value at 0.  */
#include <math.h>
#include <string.h>

#include "base/ctx_impl.h"
#include <diffeo/schedule.h>

#define HALF_PI 1.5707963267948966192

static const dfo_noise_schedule usual[DFO_NOISE_KINDS] = {
    [DFO_NOISE_VP] = {.kind = DFO_NOISE_VP, .beta_min = 0.1, .beta_max = 20},
    [DFO_NOISE_SUBVP] = {.kind = DFO_NOISE_SUBVP, .beta_min = 0.1, .beta_max = 20},
    [DFO_NOISE_VE] = {.kind = DFO_NOISE_VE, .sigma_min = 0.01, .sigma_max = 50},
    [DFO_NOISE_SCALED_LINEAR] = {.kind = DFO_NOISE_SCALED_LINEAR, .beta_min = 0.85, .beta_max = 12},
    [DFO_NOISE_COSINE] = {.kind = DFO_NOISE_COSINE, .s = 0.008},
    [DFO_NOISE_EDM] = {.kind = DFO_NOISE_EDM, .sigma_min = 0.002, .sigma_max = 80},
    [DFO_NOISE_FLOW_MATCHING] = {.kind = DFO_NOISE_FLOW_MATCHING},
};
static const char *const names[DFO_NOISE_KINDS] = {"vp", "subvp", "ve", "scaled-linear", "cosine", "edm", "flow-matching"};

const char *dfo_noise_schedule_name(size_t i)
{
    return i < DFO_NOISE_KINDS ? names[i] : NULL;
}

dfo_status dfo_noise_schedule_named(dfo_ctx *ctx, const char *name, dfo_noise_schedule *out)
{
    for (size_t i = 0; i < DFO_NOISE_KINDS; i++)
        if (!strcmp(name, names[i])) {
            *out = usual[i];
            return DFO_OK;
        }
    return dfoi_fail(ctx, DFO_EARG,
                     "schedule: none is called '%.40s'; known: vp, subvp, ve, scaled-linear, cosine, edm, flow-matching", name);
}

dfo_status dfo_noise_schedule_check(dfo_ctx *ctx, const dfo_noise_schedule *s)
{
    switch (s->kind) {
    case DFO_NOISE_VP:
    case DFO_NOISE_SUBVP:
    case DFO_NOISE_SCALED_LINEAR:
        if (!(s->beta_min > 0 && s->beta_max >= s->beta_min && s->beta_max < HUGE_VAL))
            return dfoi_fail(ctx, DFO_EARG, "schedule %s: beta %g .. %g: expected 0 < beta_min <= beta_max", names[s->kind],
                             s->beta_min, s->beta_max);
        return DFO_OK;
    case DFO_NOISE_VE:
    case DFO_NOISE_EDM:
        if (!(s->sigma_min > 0 && s->sigma_max > s->sigma_min && s->sigma_max < HUGE_VAL))
            return dfoi_fail(ctx, DFO_EARG, "schedule %s: sigma %g .. %g: expected 0 < sigma_min < sigma_max", names[s->kind],
                             s->sigma_min, s->sigma_max);
        return DFO_OK;
    case DFO_NOISE_COSINE:
        return s->s >= 0 && s->s < 1 ? DFO_OK : dfoi_fail(ctx, DFO_EARG, "schedule cosine: s = %g: expected 0 <= s < 1", s->s);
    case DFO_NOISE_FLOW_MATCHING:
        return DFO_OK;
    default:
        return dfoi_fail(ctx, DFO_EARG, "schedule: there is no kind number %d", (int)s->kind);
    }
}

double dfo_noise_schedule_noisy(const dfo_noise_schedule *s)
{
    return s->kind == DFO_NOISE_FLOW_MATCHING ? 0 : s->kind == DFO_NOISE_EDM ? s->sigma_max : 1;
}

double dfo_noise_schedule_clean(const dfo_noise_schedule *s)
{
    return s->kind == DFO_NOISE_FLOW_MATCHING ? 1 : s->kind == DFO_NOISE_EDM ? s->sigma_min : 0;
}

/* beta at t, and its integral from 0.  */
static double beta_of(const dfo_noise_schedule *s, double t, double *integral)
{
    double change = s->beta_max - s->beta_min, beta;
    if (s->kind == DFO_NOISE_SCALED_LINEAR) {
        double r = sqrt(s->beta_min), w = r + (sqrt(s->beta_max) - r) * t;
        beta = w * w;
        *integral = t * (w * w + w * r + r * r) / 3;
    } else {
        beta = s->beta_min + change * t;
        *integral = t * (s->beta_min + change * t / 2);
    }
    return beta;
}

/* t with the integral b; the usual formulas subtract where t is small.  */
static double integral_inverse(const dfo_noise_schedule *s, double b)
{
    if (s->kind == DFO_NOISE_SCALED_LINEAR) {
        double r = sqrt(s->beta_min), w = cbrt(r * r * r + 3 * (sqrt(s->beta_max) - r) * b);
        return 3 * b / (w * w + w * r + r * r);
    }
    return 2 * b / (s->beta_min + sqrt(s->beta_min * s->beta_min + 2 * (s->beta_max - s->beta_min) * b));
}

/* log(1 - e^-b), b >= 0.  */
static double log_rest(double b)
{
    return b < 0.6931471805599453 ? log(-expm1(-b)) : log1p(-exp(-b));
}

static void from_beta(const dfo_noise_schedule *s, dfo_noise_point *p)
{
    int sub = s->kind == DFO_NOISE_SUBVP;
    double b, beta = beta_of(s, p->t, &b);
    p->log_alpha = -b / 2;
    p->alpha = exp(p->log_alpha);
    double rest = -expm1(-b);                          /* 1 - alpha^2 */
    p->log_sigma = sub ? log_rest(b) : log_rest(b) / 2;
    p->sigma = sub ? rest : sqrt(rest);
    p->dlog_alpha = -beta / 2;
    p->dlog_sigma = p->alpha * p->alpha * beta / rest / (sub ? 1 : 2);
    p->g2 = sub ? beta * -expm1(-2 * b) : beta;
}

/* 1 - alpha^2 = sin(u - u0) sin(u + u0)/cos^2 u0.  */
static void from_cosine(const dfo_noise_schedule *s, dfo_noise_point *p)
{
    double u0 = s->s / (1 + s->s) * HALF_PI, step = p->t / (1 + s->s) * HALF_PI, u = u0 + step;
    double rate = HALF_PI / (1 + s->s), rest = sin(step) * sin(u + u0) / (cos(u0) * cos(u0));
    p->alpha = cos(u) / cos(u0);
    p->log_alpha = log(p->alpha);
    p->sigma = sqrt(rest);
    p->log_sigma = log(rest) / 2;
    p->dlog_alpha = -tan(u) * rate;
    p->dlog_sigma = sin(2 * u) * rate / (2 * cos(u0) * cos(u0) * rest);
    p->g2 = -2 * p->dlog_alpha;                        /* as for all that preserve the variance */
}

dfo_noise_point dfo_noise_schedule_at(const dfo_noise_schedule *s, double t)
{
    dfo_noise_point p = {.t = t, .alpha = 1};
    switch (s->kind) {
    case DFO_NOISE_VE:
        p.dlog_sigma = log(s->sigma_max / s->sigma_min);
        p.log_sigma = log(s->sigma_min) + p.dlog_sigma * t;
        p.sigma = s->sigma_min * pow(s->sigma_max / s->sigma_min, t);
        p.g2 = 2 * p.sigma * p.sigma * p.dlog_sigma;
        break;
    case DFO_NOISE_EDM:
        p.sigma = t;
        p.log_sigma = log(t);
        p.dlog_sigma = 1 / t;
        p.g2 = 2 * t;
        break;
    case DFO_NOISE_FLOW_MATCHING:
        p.alpha = t;
        p.sigma = 1 - t;
        p.log_alpha = log(t);
        p.log_sigma = log1p(-t);
        p.dlog_alpha = 1 / t;
        p.dlog_sigma = -1 / (1 - t);
        p.g2 = -2 * (1 - t) / t;
        break;
    case DFO_NOISE_COSINE:
        from_cosine(s, &p);
        break;
    default:
        from_beta(s, &p);
    }
    p.drift = p.dlog_alpha;
    return p;
}

double dfo_noise_schedule_clock(const dfo_noise_schedule *s, dfo_noise_clock clock, double t)
{
    dfo_noise_point p = dfo_noise_schedule_at(s, t);
    switch (clock) {
    case DFO_CLOCK_GAMMA: return p.alpha / p.sigma;
    case DFO_CLOCK_CHI: return p.sigma / p.alpha;
    case DFO_CLOCK_RHO: return p.alpha / p.sigma * (p.alpha / p.sigma);
    default: return 2 * (p.log_alpha - p.log_sigma);
    }
}

static double cosine_time(const dfo_noise_schedule *s, double q)
{
    double u0 = s->s / (1 + s->s) * HALF_PI, t0 = tan(u0), more = q / (cos(u0) * cos(u0)), t = sqrt(t0 * t0 + more);
    return atan(more / ((t + t0) * (1 + t * t0))) * (1 + s->s) / HALF_PI;
}

double dfo_noise_schedule_time(const dfo_noise_schedule *s, dfo_noise_clock clock, double value)
{
    if (!(clock == DFO_CLOCK_LOG_SNR || value >= 0))
        return NAN;
    double chi = clock == DFO_CLOCK_CHI ? value : clock == DFO_CLOCK_GAMMA ? 1 / value : clock == DFO_CLOCK_RHO ? 1 / sqrt(value)
                                                                                        : exp(-value / 2);
    switch (s->kind) {
    case DFO_NOISE_VE: return log(chi / s->sigma_min) / log(s->sigma_max / s->sigma_min);
    case DFO_NOISE_EDM: return chi;
    case DFO_NOISE_FLOW_MATCHING: return 1 / (1 + chi);
    case DFO_NOISE_COSINE: return cosine_time(s, chi * chi);
    case DFO_NOISE_SUBVP: return integral_inverse(s, 2 * asinh(chi / 2));
    default: return integral_inverse(s, clock == DFO_CLOCK_RHO ? log1p(1 / value) : log1p(chi * chi));
    }
}
