/* Probability flows of diffusion models (Song et al. 2021): dx/dt = drift x + sigma (log sigma - log alpha)' e(x, t), with e the
 * noise that the net finds in x, in the variable y = x / n, which has unit variance all the way where data have.  Data are taken for y at
 * the time `first`, where n is 1 to some 1e-4 and less noise than that is in them.  */
#include <math.h>
#include <string.h>

#include "base/ctx_impl.h"
#include "base/json_impl.h"
#include "diffusion_impl.h"

#define NOISIEST -14                       /* log(alpha^2/sigma^2): beyond, x_0 of a net that finds noise has no digits */

static const char *const prediction_name[] = {"noise", "data", "velocity", "edm", NULL};
static const char *const weighting_name[] = {"simple", "likelihood", "min-snr", NULL};
static const char *const spread_name[] = {"time", "log-snr", NULL};

static double log_snr(const dfoi_diffusion *d, double t)
{
    return dfo_noise_schedule_clock(&d->schedule, DFO_CLOCK_LOG_SNR, t);
}

dfo_status dfoi_diffusion_read(dfo_ctx *ctx, const json_t *config, dfoi_diffusion *d)
{
    static const char *const keys[] = {"schedule", "beta_min", "beta_max", "sigma_min", "sigma_max", "s", "prediction", "weighting", "spread", "times", "first", NULL};
    const char *schedule;
    size_t prediction, weighting, spread;
    *d = (dfoi_diffusion){.on = config != NULL};
    if (!config)
        return DFO_OK;
    DFO_TRY(dfoi_json_keys(ctx, config, keys));
    DFO_TRY(dfoi_json_string(ctx, config, "schedule", "vp", &schedule));
    dfo_noise_schedule *of = &d->schedule;
    DFO_TRY(dfo_noise_schedule_named(ctx, schedule, of));
    if (of->kind == DFO_NOISE_FLOW_MATCHING)
        return dfoi_fail(ctx, DFO_EARG, "schedule: flow-matching is the preset flow-matching's");
    DFO_TRY(dfoi_json_real(ctx, config, "beta_min", of->beta_min, 0, 1e6, &of->beta_min));
    DFO_TRY(dfoi_json_real(ctx, config, "beta_max", of->beta_max, 0, 1e6, &of->beta_max));
    DFO_TRY(dfoi_json_real(ctx, config, "sigma_min", of->sigma_min, 0, 1e6, &of->sigma_min));
    DFO_TRY(dfoi_json_real(ctx, config, "sigma_max", of->sigma_max, 0, 1e6, &of->sigma_max));
    DFO_TRY(dfoi_json_real(ctx, config, "s", of->s, 0, 1, &of->s));
    DFO_TRY(dfo_noise_schedule_check(ctx, of));
    DFO_TRY(dfoi_json_choice(ctx, config, "prediction", prediction_name, 0, &prediction));
    DFO_TRY(dfoi_json_choice(ctx, config, "weighting", weighting_name, 0, &weighting));
    DFO_TRY(dfoi_json_choice(ctx, config, "spread", spread_name, 0, &spread));
    d->prediction = (dfoi_prediction)prediction;
    d->weighting = (dfoi_weighting)weighting;
    d->spread = (dfoi_spreading)spread;
    int edm = of->kind == DFO_NOISE_EDM;
    DFO_TRY(dfoi_json_size(ctx, config, "times", 0, 0, 1000000, &d->times));
    if (d->times && edm)
        return dfoi_fail(ctx, DFO_EARG, "times: edm draws the logarithm of its noise, of any value");
    if (d->times && d->spread == DFOI_SPREAD_LOG_SNR)
        return dfoi_fail(ctx, DFO_EARG, "spread: steps of a chain are drawn alike, log-snr goes with times of 0");
    DFO_TRY(dfoi_json_real(ctx, config, "first", edm ? of->sigma_min : of->kind == DFO_NOISE_VE ? 1e-5 : 1e-3, 1e-9,
                           edm ? of->sigma_max : 0.999, &d->first));
    d->noisy = dfo_noise_schedule_noisy(of);
    if (!(log_snr(d, d->noisy) >= NOISIEST))               /* not a number where rounding takes alpha below 0 */
        d->noisy = dfo_noise_schedule_time(of, DFO_CLOCK_LOG_SNR, NOISIEST);
    if (!((d->noisy - d->first) * (dfo_noise_schedule_noisy(of) - dfo_noise_schedule_clean(of)) > 0))
        return dfoi_fail(ctx, DFO_EARG, "first: %g is not before %g, where there is no more data to be found", d->first, d->noisy);
    d->noisy_snr = log_snr(d, d->noisy);
    d->first_snr = log_snr(d, d->first);
    return DFO_OK;
}

dfo_status dfoi_diffusion_describe(dfo_ctx *ctx, const dfoi_diffusion *d, json_t *to)
{
    const dfo_noise_schedule *of = &d->schedule;
    int vp = of->kind == DFO_NOISE_VP || of->kind == DFO_NOISE_SUBVP || of->kind == DFO_NOISE_SCALED_LINEAR;
    json_t *out = json_pack("{s:s, s:s, s:s, s:f}", "schedule", dfo_noise_schedule_name(of->kind), "prediction", prediction_name[d->prediction],
                            "weighting", weighting_name[d->weighting], "first", d->first);
    DFO_TRY(dfoi_json_set(ctx, to, "diffusion", out));
    if (d->spread != DFOI_SPREAD_TIME)
        DFO_TRY(dfoi_json_set(ctx, out, "spread", json_string(spread_name[d->spread])));
    if (d->times)
        DFO_TRY(dfoi_json_set(ctx, out, "times", json_integer((json_int_t)d->times)));
    if (of->kind == DFO_NOISE_COSINE)
        return dfoi_json_set(ctx, out, "s", json_real(of->s));
    DFO_TRY(dfoi_json_set(ctx, out, vp ? "beta_min" : "sigma_min", json_real(vp ? of->beta_min : of->sigma_min)));
    return dfoi_json_set(ctx, out, vp ? "beta_max" : "sigma_max", json_real(vp ? of->beta_max : of->sigma_max));
}

/* The way is one of the log-SNR, in which the field is about as steep everywhere.  */
static double time_of(const dfoi_diffusion *d, double s)
{
    if (s <= 0 || s >= 1)
        return s <= 0 ? d->noisy : d->first;
    return dfo_noise_schedule_time(&d->schedule, DFO_CLOCK_LOG_SNR, d->noisy_snr + s * (d->first_snr - d->noisy_snr));
}

static double place_of(const dfoi_diffusion *d, double t)
{
    double s = (log_snr(d, t) - d->noisy_snr) / (d->first_snr - d->noisy_snr);
    return s < 0 ? 0 : s > 1 ? 1 : s;
}

/* e = p x + q N, x = n y.  */
static void noise_of(const dfoi_diffusion *d, const dfo_noise_point *at, double n, double *p, double *q)
{
    double alpha = at->alpha, sigma = at->sigma;
    *p = 0;
    *q = 1;
    if (d->prediction == DFOI_PREDICT_DATA) {
        *p = 1 / sigma;
        *q = -alpha / sigma;
    } else if (d->prediction != DFOI_PREDICT_NOISE) {
        *p = sigma / (n * n);
        *q = (d->prediction == DFOI_PREDICT_EDM ? -alpha : alpha) / n;
    }
}

static double net_time(const dfoi_diffusion *d, double t)
{
    return d->schedule.kind == DFO_NOISE_EDM ? log(t) / 4 : t;
}

/* x_0 = (x - sigma e) / alpha.  */
dfoi_diffusion_data dfoi_diffusion_data_at(const dfoi_diffusion *d, double t)
{
    dfo_noise_point at = dfo_noise_schedule_at(&d->schedule, t);
    dfoi_diffusion_data o = {.n = sqrt(at.alpha * at.alpha + at.sigma * at.sigma), .net_time = net_time(d, t)};
    double p, q;
    noise_of(d, &at, o.n, &p, &q);
    o.of_x = (1 - at.sigma * p) / at.alpha;
    o.of_net = -at.sigma * q / at.alpha;
    return o;
}

dfoi_diffusion_point dfoi_diffusion_at(const dfoi_diffusion *d, double s)
{
    dfoi_diffusion_point o;
    double p, q, t = time_of(d, s);
    o.at = dfo_noise_schedule_at(&d->schedule, t);
    double rate = (d->first_snr - d->noisy_snr) / (2 * (o.at.dlog_alpha - o.at.dlog_sigma));      /* dt/ds */
    double a2 = o.at.alpha * o.at.alpha, s2 = o.at.sigma * o.at.sigma;
    o.n = sqrt(a2 + s2);
    o.net_time = net_time(d, t);
    noise_of(d, &o.at, o.n, &p, &q);
    double by = o.at.sigma * (o.at.dlog_sigma - o.at.dlog_alpha), dlog_n = (a2 * o.at.dlog_alpha + s2 * o.at.dlog_sigma) / (a2 + s2);
    o.a = rate * (o.at.drift - dlog_n + by * p);
    o.b = rate * by * q / o.n;
    return o;
}

/* Are times drawn evenly in place?  Of edm, whose own density of times would leave weights of the likelihood without bound, with these too.  */
static int evenly(const dfoi_diffusion *d)
{
    return d->spread == DFOI_SPREAD_LOG_SNR || (d->schedule.kind == DFO_NOISE_EDM && d->weighting == DFOI_WEIGH_LIKELIHOOD);
}

/* Uniform in place, or in time, or in k/times, k from 1 to times (Ho et al. 2020); of edm ln sigma is normal: -1.2 + ln 2 for data of unit variance, 1.2 (Karras et al. 2022).  */
double dfoi_diffusion_draw(const dfoi_diffusion *d, dfo_key key)
{
    double u;
    if (d->schedule.kind != DFO_NOISE_EDM || evenly(d)) {
        dfo_draw_uniform(key, 0, 1, &u);
        if (evenly(d))
            return u;
        return place_of(d, d->times ? (floor(u * (double)d->times) + 1) / (double)d->times : d->first + u * (d->noisy - d->first));
    }
    dfo_real normal;
    dfo_draw_real_normal(key, 1, &normal);
    return place_of(d, exp(1.2 * (double)normal - 1.2 + log(2)));
}

void dfoi_diffusion_target(const dfoi_diffusion *d, const dfoi_diffusion_point *p, size_t count, const dfo_real *x0, const dfo_real *e,
                           dfo_real *y, dfo_real *want)
{
    double alpha = p->at.alpha, sigma = p->at.sigma, of_data = 0, of_noise = 1;
    if (d->prediction == DFOI_PREDICT_DATA) {
        of_data = 1;
        of_noise = 0;
    } else if (d->prediction != DFOI_PREDICT_NOISE) {
        double sign = d->prediction == DFOI_PREDICT_EDM ? -1 : 1;
        of_data = -sign * sigma / p->n;
        of_noise = sign * alpha / p->n;
    }
    for (size_t i = 0; i < count; i++) {
        double data = (double)x0[i], noise = (double)e[i];
        want[i] = (dfo_real)(of_data * data + of_noise * noise);
        y[i] = (dfo_real)((alpha * data + sigma * noise) / p->n);
    }
}

double dfoi_diffusion_weight(const dfoi_diffusion *d, const dfoi_diffusion_point *p)
{
    double ignored, q, sigma = p->at.sigma, snr = p->at.alpha * p->at.alpha / (sigma * sigma);
    noise_of(d, &p->at, p->n, &ignored, &q);
    if (d->weighting == DFOI_WEIGH_LIKELIHOOD && evenly(d))
        return q * q * (d->first_snr - d->noisy_snr) / 2;
    if (d->weighting == DFOI_WEIGH_LIKELIHOOD)
        return q * q * p->at.g2 / (2 * sigma * sigma) * (d->times ? 1 : fabs(d->noisy - d->first));
    if (d->weighting == DFOI_WEIGH_MIN_SNR)
        return q * q / snr * (snr < 5 ? snr : 5);
    return 1;
}

double dfoi_diffusion_of_net(const dfoi_diffusion *d, const dfoi_diffusion_point *p)
{
    double ignored, q;
    noise_of(d, &p->at, p->n, &ignored, &q);
    return q;
}

/* The first of the chain's steps that is not before the data's time.  */
static double first_step(const dfoi_diffusion *d)
{
    double k = ceil(d->first * (double)d->times * (1 - 1e-9));
    return k < 1 ? 1 : k;
}

double dfoi_diffusion_data_place(const dfoi_diffusion *d)
{
    return d->times ? place_of(d, first_step(d) / (double)d->times) : 1;
}

double dfoi_diffusion_noise_place(const dfoi_diffusion *d)
{
    double times = (double)d->times, k = floor(d->noisy * times + 1e-9);
    return d->times ? place_of(d, (k < first_step(d) ? first_step(d) : k) / times) : 0;
}

/* l = log SNR.  In the limit 1/2 int |e - e(x)|^2 dl (Kingma et al. 2021, eq. 15-18), u spread evenly over l.  Of a chain sum 1/2
 * (exp(l_(k-1) - l_k) - 1) |e - e(x_k)|^2 (their eq. 13-14; the variance is the posterior's), u falling into the steps by their
 * parts of l.  Either from the noise's place to the data's.  */
dfoi_diffusion_term dfoi_diffusion_term_at(const dfoi_diffusion *d, double u)
{
    double all = d->first_snr - d->noisy_snr, from = dfoi_diffusion_noise_place(d), part = dfoi_diffusion_data_place(d) - from;
    double place = from + u * part, times = (double)d->times;
    if (!d->times)
        return (dfoi_diffusion_term){place, part * all / 2};
    if (!(part > 0))                       /* a chain of one step: its ends are all there is */
        return (dfoi_diffusion_term){from, 0};
    double low = first_step(d) + 1, high = floor(time_of(d, from) * times + 0.5), k = ceil(time_of(d, place) * times - 1e-9);
    k = k < low ? low : k > high ? high : k;
    double step = log_snr(d, (k - 1) / times) - log_snr(d, k / times);
    return (dfoi_diffusion_term){place_of(d, k / times), part * all * expm1(step) / (2 * step)};
}
