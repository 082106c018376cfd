/* DDIM and the inversions of it that Rex is compared with: fixed-point inversion, EDICT, BDIA, O-BELM.  */
#ifndef DIFFEO_DDIM_H
#define DIFFEO_DDIM_H

#include <diffeo/real.h>
#include <diffeo/ctx.h>
#include <diffeo/field.h>
#include <diffeo/schedule.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dfo_ddim dfo_ddim;

/* With D(x; t, r) = a x + b eps(x, t), a = alpha_r/alpha_t, b = sigma_r - sigma_t a (Song, Meng and Ermon 2021, eq. 12 without noise):
 *     ddim    x_1 = D(x_0; 0, 1).  Its inverse takes eps where it stands, D(x_1; 1, 0), and misses by O(h) a step; or it solves for x_0 by
 *             x <- (x_1 - b eps(x, t_0))/a (Pan et al. 2023), which converges where |b/a| times eps's Lipschitz constant is below 1
 *     edict   two chains that take each other's eps, then are mixed with weight p (Wallace, Gokul and Naik 2023); going back multiplies
 *             rounding by up to 1/p^2 a step; of order 1, for the chains differ by O(h) alone
 *     bdia    x_2 = D(x_1; 1, 2) + gamma (x_0 - D(x_1; 1, 0)) (Zhang, Lewis and Kleijn 2024); back 1/gamma a step
 *     o-belm  the two-step scheme of order 2 (Wang et al. 2024): a leapfrog, only weakly stable
 * The first step of the last two is DDIM's.  */
typedef struct dfo_ddim_options {
    dfo_noise_schedule schedule;
    const char *scheme;        /* NULL: ddim */
    int         data;          /* 1: the predictor gives x_0, 0: eps */
    double      weight;        /* edict: p, bdia: gamma; above 0, 1 at most.  0: 0.93, 0.5 */
    size_t      iterations;    /* ddim's inverse: of the fixed point at most; 0: where it stands */
    double      tolerance;     /* of the fixed point: the largest change over max(1, |x|); 0: all iterations, unchecked */
} dfo_ddim_options;

/* The i-th scheme's name ("ddim"), NULL past the end.  */
const char *dfo_ddim_scheme(size_t i);

/* Copies the options.  DFO_EARG names the one that is wrong.  */
dfo_status dfo_ddim_new(dfo_ctx *ctx, const dfo_ddim_options *options, dfo_ddim **out);
void dfo_ddim_free(dfo_ddim *ddim);

/* 1: the scheme carries a second state.  */
int dfo_ddim_pair(const dfo_ddim *ddim);

/* Arena that the calls below take for `rows` rows.  */
size_t dfo_ddim_scratch(const dfo_ddim *ddim, const dfo_field *field, size_t rows);

/* Along t[0] .. t[steps], which rise or fall all the way, in place: x (n,d) and s (n,d), of edict the second chain (a copy of x at
 * the start), of bdia and o-belm the state one step before (written, not read); ddim has none (s.x NULL).  DFO_EARG: times that do
 * not go one way, or without finite clock.  DFO_ENUM, naming time and row, where something is not finite.  */
dfo_status dfo_ddim_forward(const dfo_ddim *ddim, const dfo_field *field, dfo_run *run, size_t steps, const double *t, dfo_batch x,
                            dfo_batch s);

/* Back from what forward left; bdia and o-belm: s ends as the state after the first step.  DFO_ENUM, naming time and change, where
 * the fixed point was not reached.  */
dfo_status dfo_ddim_inverse(const dfo_ddim *ddim, const dfo_field *field, dfo_run *run, size_t steps, const double *t, dfo_batch x,
                            dfo_batch s);

#ifdef __cplusplus
}
#endif
#endif
