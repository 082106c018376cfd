/* Diffusion as a continuous flow: the probability flow of a noise schedule, whose score a net gives.  Private to flows.  */
#ifndef DFOI_DIFFUSION_IMPL_H
#define DFOI_DIFFUSION_IMPL_H

#include <jansson.h>
#include <diffeo/rng.h>
#include <diffeo/schedule.h>
#include "base/real_impl.h"

/* What the net's output N stands for, with x = alpha x_0 + sigma e, n^2 = alpha^2 + sigma^2 and rows seen as y = x / n: e; x_0; (alpha
 * e - sigma x_0) / n; of edm, x_0 = (alpha x + sigma N n) / n^2, which is (x_0 sigma - alpha e) / n.  */
typedef enum dfoi_prediction { DFOI_PREDICT_NOISE, DFOI_PREDICT_DATA, DFOI_PREDICT_VELOCITY, DFOI_PREDICT_EDM } dfoi_prediction;

/* Of rows' losses: 1; that of the likelihood's bound (Song et al. 2021b); min(SNR, 5) of the loss of x_0 (Hang et al. 2023).  */
typedef enum dfoi_weighting { DFOI_WEIGH_SIMPLE, DFOI_WEIGH_LIKELIHOOD, DFOI_WEIGH_MIN_SNR } dfoi_weighting;

/* Over what training's draws are even: the time (of edm: see dfoi_diffusion_draw), or the log-SNR, as the way is.  */
typedef enum dfoi_spreading { DFOI_SPREAD_TIME, DFOI_SPREAD_LOG_SNR } dfoi_spreading;

typedef struct dfoi_diffusion {
    int    on;
    dfo_noise_schedule schedule;
    dfoi_prediction prediction;
    dfoi_weighting weighting;
    dfoi_spreading spread;
    size_t times;                          /* of training, or 0: any */
    double first;                          /* the time that data are at */
    double noisy;                          /* the time that the way begins at: the schedule's noisiest, or where its log-SNR is -14, if that is nearer */
    double noisy_snr, first_snr;           /* the log-SNR there and at the data's time */
} dfoi_diffusion;

/* {"schedule":"vp","beta_min":..,"prediction":"noise","weighting":"simple","spread":"time","times":0,"first":1e-3}; config NULL: off.  */
dfo_status dfoi_diffusion_read(dfo_ctx *ctx, const json_t *config, dfoi_diffusion *d);
dfo_status dfoi_diffusion_describe(dfo_ctx *ctx, const dfoi_diffusion *d, json_t *to);

/* At place s of the way, 0 noise and 1 data: the schedule's point, n; the net's time; and the field, dy/ds = a y + b N.  */
typedef struct dfoi_diffusion_point {
    dfo_noise_point at;
    double n, net_time, a, b;
} dfoi_diffusion_point;
dfoi_diffusion_point dfoi_diffusion_at(const dfoi_diffusion *d, double s);

/* At time t the data that the net finds in x: x_0 = of_x x + of_net N(x / n; net_time).  */
typedef struct dfoi_diffusion_data {
    double n, net_time, of_x, of_net;
} dfoi_diffusion_data;
dfoi_diffusion_data dfoi_diffusion_data_at(const dfoi_diffusion *d, double t);

/* A place to train at, from a key; of d numbers there: y, what the net should say, from x_0 and noise e (y may be x_0); the weight of
 * the squared error.  */
double dfoi_diffusion_draw(const dfoi_diffusion *d, dfo_key key);
void dfoi_diffusion_target(const dfoi_diffusion *d, const dfoi_diffusion_point *p, size_t count, const dfo_real *x0, const dfo_real *e,
                           dfo_real *y, dfo_real *want);
double dfoi_diffusion_weight(const dfoi_diffusion *d, const dfoi_diffusion_point *p);

/* What an error of 1 of the net's is in the noise that it finds.  */
double dfoi_diffusion_of_net(const dfoi_diffusion *d, const dfoi_diffusion_point *p);

/* Of the likelihood's bound (diffusion_bound.c): with u uniform in [0,1), a place, and what the squared error of the noise found there weighs;
 * the places that the way begins at and that data are read at.  With `times` they are steps of the chain with
 * so many, else of its limit.  */
typedef struct dfoi_diffusion_term {
    double place, weight;
} dfoi_diffusion_term;
dfoi_diffusion_term dfoi_diffusion_term_at(const dfoi_diffusion *d, double u);
double dfoi_diffusion_noise_place(const dfoi_diffusion *d);
double dfoi_diffusion_data_place(const dfoi_diffusion *d);

#endif
