/* Noise schedules of diffusion models: x_t = alpha(t) x_0 + sigma(t) eps, clocks made of them, and grids of times.  */
#ifndef DIFFEO_SCHEDULE_H
#define DIFFEO_SCHEDULE_H

#include <stddef.h>
#include <diffeo/real.h>
#include <diffeo/ctx.h>

#ifdef __cplusplus
extern "C" {
#endif

/* vp, subvp: beta(t) = beta_min + (beta_max - beta_min) t, log alpha = -1/2 int beta, sigma^2 = 1 - alpha^2 and sigma = 1 -
 * alpha^2; ve: alpha = 1, sigma = sigma_min (sigma_max/sigma_min)^t (Song et al. 2021).  scaled-linear: vp whose sqrt(beta) is
 * linear.  cosine: alpha = cos((t+s)/(1+s) pi/2) / cos(s/(1+s) pi/2) (Nichol and Dhariwal 2021, continuous).  edm: alpha = 1, sigma
 * = t (Karras et al. 2022).  flow-matching: alpha = t, sigma = 1 - t, noise at t = 0.  All others have their noise at t = 1, edm at
 * t = sigma_max.  */
typedef enum dfo_noise_schedule_kind {
    DFO_NOISE_VP, DFO_NOISE_SUBVP, DFO_NOISE_VE, DFO_NOISE_SCALED_LINEAR, DFO_NOISE_COSINE, DFO_NOISE_EDM, DFO_NOISE_FLOW_MATCHING,
    DFO_NOISE_KINDS
} dfo_noise_schedule_kind;

/* Copied by value; nobody frees it.  Numbers that a kind has no use for are not read.  */
typedef struct dfo_noise_schedule {
    dfo_noise_schedule_kind kind;
    double beta_min, beta_max;         /* vp, subvp, scaled-linear: above 0, and at least beta_min */
    double sigma_min, sigma_max;       /* ve, edm: above 0, and above sigma_min */
    double s;                          /* cosine: from 0, below 1 */
} dfo_noise_schedule;

/* The i-th kind's name ("vp"), NULL past the end.  */
const char *dfo_noise_schedule_name(size_t i);

/* The schedule of that name with its usual numbers: beta 0.1 .. 20 (scaled-linear 0.85 .. 12), sigma 0.01 .. 50 (edm 0.002 .. 80),
 * s 0.008.  DFO_EARG lists the names.  */
dfo_status dfo_noise_schedule_named(dfo_ctx *ctx, const char *name, dfo_noise_schedule *out);

/* DFO_EARG names the number that is wrong.  */
dfo_status dfo_noise_schedule_check(dfo_ctx *ctx, const dfo_noise_schedule *schedule);

/* The times its noise and its data end stand at.  */
double dfo_noise_schedule_noisy(const dfo_noise_schedule *schedule);
double dfo_noise_schedule_clean(const dfo_noise_schedule *schedule);

typedef struct dfo_noise_point {
    double t, alpha, sigma, log_alpha, log_sigma, dlog_alpha, dlog_sigma, drift, g2;
} dfo_noise_point;

/* At one time: the marginal, the derivatives of its logarithms, and the SDE dx = drift x dt + sqrt(g2) dW that has it (drift =
 * dlog_alpha, g2 = 2 sigma^2 (dlog_sigma - dlog_alpha); flow-matching runs from noise to data, so its g2 is negative).  */
dfo_noise_point dfo_noise_schedule_at(const dfo_noise_schedule *schedule, double t);

/* Clocks that rise or fall all along a schedule: gamma = alpha/sigma, chi = sigma/alpha, rho = gamma^2, the logarithm of rho.
 * Where sigma is 0 some are infinite.  dfo_noise_schedule_time inverts the clock, in closed form and without cancellation at either
 * end; NaN for values that no time has.  */
typedef enum dfo_noise_clock { DFO_CLOCK_GAMMA, DFO_CLOCK_CHI, DFO_CLOCK_RHO, DFO_CLOCK_LOG_SNR } dfo_noise_clock;
double dfo_noise_schedule_clock(const dfo_noise_schedule *schedule, dfo_noise_clock clock, double t);
double dfo_noise_schedule_time(const dfo_noise_schedule *schedule, dfo_noise_clock clock, double value);

/* Where a grid of times puts them.  uniform: equal steps of t; log-snr: of log rho; edm: of chi^(1/rho) (Karras et al. 2022, eq.
 * 5); ddpm: of t, each time moved to the nearest multiple of 1/levels (Ho et al. 2020).  */
typedef struct dfo_time_grid {
    const char *kind;                  /* NULL: uniform */
    double      from, to;
    double      rho;                   /* edm; 0: 7 */
    size_t      levels;                /* ddpm; 0: 1000 */
} dfo_time_grid;

/* Writes t[0] = from .. t[steps] = to (ddpm: the multiples next to them).  DFO_EARG: no steps, an unknown kind, from = to, an end
 * where the clock is not finite, more steps than levels.  */
dfo_status dfo_noise_schedule_grid(dfo_ctx *ctx, const dfo_noise_schedule *schedule, const dfo_time_grid *grid, size_t steps,
                                   double *t);

typedef struct dfo_edm_scales {
    double skip, out, in, noise, weight;
} dfo_edm_scales;

/* What EDM puts around its net at noise level sigma, for data of standard deviation sigma_data: D(x) = skip x + out net(in x;
 * noise), and the weight of the loss (Karras et al. 2022, table 1).  */
dfo_edm_scales dfo_edm_scales_at(double sigma, double sigma_data);

/* Discrete schedules, beta[0] of step 1 .. beta[steps-1]: linear from `first` to `last` (Ho et al. 2020); cosine, 1 -
 * abar_i/abar_(i-1) of abar = cos^2((i/steps+s)/(1+s) pi/2), normalised, clipped at `most` (Nichol and Dhariwal 2021; abar: before
 * that, or NULL).  */
void dfo_ddpm_linear(size_t steps, double first, double last, double *beta);
void dfo_ddpm_cosine(size_t steps, double s, double most, double *beta, double *abar);

/* The products abar of 1 - beta, and the variance of q(x_(i-1) | x_i, x_0), 0 for the first step; either may be NULL.  */
void dfo_ddpm_products(size_t steps, const double *beta, double *abar, double *posterior);

#ifdef __cplusplus
}
#endif
#endif
