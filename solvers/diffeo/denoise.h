/* Samplers of diffusion models: from noise to data along a grid of times, deterministic or with noise on the way.  */
#ifndef DIFFEO_DENOISE_H
#define DIFFEO_DENOISE_H

#include <stdint.h>
#include <diffeo/real.h>
#include <diffeo/ctx.h>
#include <diffeo/field.h>
#include <diffeo/schedule.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dfo_denoiser dfo_denoiser;

/* Which numbers of the options a sampler takes.  */
typedef enum dfo_denoiser_takes {
    DFO_TAKES_ETA = 1, DFO_TAKES_SNR = 2, DFO_TAKES_CORRECTIONS = 4, DFO_TAKES_CHURN = 8, DFO_TAKES_METHOD = 16,
    DFO_TAKES_GIVEN = 32                   /* dfo_denoiser_run_given */
} dfo_denoiser_takes;

/* With x_0 and e = (x - alpha x_0)/sigma as predicted at x, from level 0 (noisier) to 1, z new normal numbers, u = 1 - rho_0/rho_1,
 * rho = alpha^2/sigma^2:
 *     ancestral            x_1 = alpha_1 x_0 + sigma_1 sqrt(1 - u) e + sigma_1 sqrt(u) z, the posterior q(x_1 | x, x_0) (Ho et al. 2020)
 *     ddim                 x_1 = alpha_1 x_0 + sigma_1 sqrt(1 - eta^2 u) e + eta sigma_1 sqrt(u) z (Song, Meng and Ermon 2021, eq. 12)
 *     euler-maruyama       of the reverse SDE, dx = (drift x + g^2 e/sigma) dt + g dW (Song et al. 2021, eq. 6)
 *     predictor-corrector  so many corrections at every level, then a step of euler-maruyama (Song et al. 2021, algorithm 1); a correction
 *                          is Langevin's step of size s = 2 (snr sigma)^2, x + s score + sqrt(2 s) z: x - 2 snr^2 sigma e + 2 snr sigma z
 *     edm-heun             of dx/dchi = e in x/alpha and chi = sigma/alpha: to chi (1 + gamma) by fresh noise, churn_noise times as
 *                          much, where chi lies in churn_min .. churn_max, gamma = min(churn/steps, sqrt(2) - 1), then Heun's step
 *                          (Karras et al. 2022, algorithm 2); never noisier than the first level
 *     langevin             the corrections alone, x/alpha kept from level to level (Song and Ermon 2019)
 *     rex                  Rex with one state, rex:METHOD with a method of <diffeo/rex.h>: the probability flow, midpoint; or with sde
 *                          the reverse SDE, shark
 * The size of a correction has the expectations of |z| and |score| in place of both (Song et al. take the batch's means, which would
 * make rows depend on each other).  */
typedef struct dfo_denoiser_options {
    dfo_noise_schedule schedule;
    const char *sampler;                   /* NULL: ancestral */
    double   eta;                          /* from 0, 1 at most */
    double   snr;                          /* above 0, below 0.7; 0: the sampler's own */
    size_t   corrections;                  /* at a level; 0: the sampler's own */
    double   churn, churn_min, churn_max, churn_noise;
    int      sde;
    double   given_noise;                  /* from 0: deviation of the noise in what is given of data (dfo_denoiser_run_given); above 0 corrections
                                            * end there, and neither churn nor langevin, which would forget it, goes with it (DFO_EARG) */
    int      given_whole;                  /* nothing is missing: dfo_flow_denoiser_new has the levels begin at that noise */
    uint64_t seed;                         /* of all noise: a function of it, the row and the step */
} dfo_denoiser_options;

/* vp, eta 0, no churn at any level with noise as it is, the rest 0.  */
void dfo_denoiser_defaults(dfo_denoiser_options *options);

/* One sampler of the list.  grid: the kind of dfo_time_grid that suits it.  */
typedef struct dfo_denoiser_kind {
    const char *name, *text, *grid;
    unsigned    takes;                     /* of dfo_denoiser_takes */
    double      snr;
    size_t      corrections;
} dfo_denoiser_kind;

/* The i-th, NULL past the end; and the one that is meant by "rex:heun".  DFO_EARG lists the names.  */
const dfo_denoiser_kind *dfo_denoiser_kind_at(size_t i);
dfo_status dfo_denoiser_kind_named(dfo_ctx *ctx, const char *name, const dfo_denoiser_kind **out);

/* Levels t[0] .. t[steps-1] from noise on, and from the last of them to the data: steps steps.  Copies options and times.  DFO_EARG
 * names what is wrong: a number of the options, no steps, times that do not go towards data or where a clock is not finite.  */
dfo_status dfo_denoiser_new(dfo_ctx *ctx, const dfo_denoiser_options *options, size_t steps, const double *t, dfo_denoiser **out);
void dfo_denoiser_free(dfo_denoiser *denoiser);

/* Arena that dfo_denoiser_run takes for `rows` rows.  */
size_t dfo_denoiser_scratch(const dfo_denoiser *denoiser, const dfo_field *field, size_t rows);

/* Rows x (n,d) of level t[0], usually of deviation sqrt(alpha^2 + sigma^2), to data, in place; field predicts x_0.  The last step takes
 * the data that it finds at the last level.  DFO_ENUM, naming time and row, where something is not finite.  */
dfo_status dfo_denoiser_run(const dfo_denoiser *denoiser, const dfo_field *field, dfo_run *run, dfo_batch x);

/* The same where something is known of the data: given (n,d), y = x_0 + s e, s = given_noise, or NaN.  At every level, after every step and
 * correction, known entries are multiplied by their likelihood there (Sohl-Dickstein et al. 2015, section 2.5), the law of x given y
 *
 *     N(alpha y, sigma^2 - alpha^2 s^2)     while sigma > alpha s,
 *
 * and drawn from it (Song et al. 2021, appendix I.2); less noise than s tells nothing new, and they go on as the others do.  With s = 0 they end
 * as y.  Rows that are known whole are exact draws of p(x_0 | y) up to the steps, if a level has sigma = alpha s: what comes before it is
 * forgotten; samplers without noise (ddim with eta 0, edm-heun without churn) have one end for one y, no law.  Entries that are not known are drawn as if the noise of the known ones were no news: exact in the limit of many corrections
 * at each level, biased without; s > 0 is biased wherever not all is known.  DFO_EUNSUP: rex, which goes all the way at once.  */
dfo_status dfo_denoiser_run_given(const dfo_denoiser *denoiser, const dfo_field *field, dfo_run *run, dfo_batch x, dfo_batch given);

#ifdef __cplusplus
}
#endif
#endif
