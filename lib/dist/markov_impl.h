/* What a Markov chain of noise is made of, between its driver (markov.c) and its two kinds.  Private to lib/dist.  */
#ifndef DFOI_MARKOV_IMPL_H
#define DFOI_MARKOV_IMPL_H

#include "base/real_impl.h"
#include <diffeo/dist.h>
#include <diffeo/net.h>
#include <diffeo/rng.h>

/* Step t of a chain: its rate beta, and log abar_t, log abar_t-1, where abar is the product of 1 - beta_s up to there.  */
typedef struct dfoi_markov_step {
    size_t t;
    double beta, here, before;
} dfoi_markov_step;

/* Gradients with respect to a step's here and before.  */
typedef struct dfoi_markov_slope {
    double here, before;
} dfoi_markov_slope;

/* A row's gradients: net (outs d) is written, and may be where the net's outputs are; x, noisy (d) and slope are added to.  Pointers
 * that are NULL: none are wanted.  */
typedef struct dfoi_markov_grads {
    dfo_real *net, *x, *noisy;
    dfoi_markov_slope slope;
} dfoi_markov_grads;

/* What is known of a row: y (d), NaN where nothing is, with noise: its deviation, of bits the chance that one is wrong.  */
typedef struct dfoi_markov_given {
    const dfo_real *y;
    double noise;
} dfoi_markov_given;

struct dfoi_markov_kind {
    size_t outs;                        /* of the net, a column */
    /* xt (d) from q(x_t | x), drawn by key; e (d): the noise that it was drawn with.  */
    void   (*noise)(const dfoi_markov_step *, size_t d, const dfo_real *x, dfo_key key, dfo_real *e, dfo_real *xt);
    /* The gradient at xt, taken on to x and the step, times 1.  Absent: x is discrete.  */
    void   (*noise_grad)(const dfoi_markov_step *, size_t d, const dfo_real *x, const dfo_real *e, dfoi_markov_grads *g);
    /* KL(q(x_t-1 | x_t, x) || p(x_t-1 | x_t)), at t = 1 -log p(x | x_1), by what the net says of x_t; with by times its gradients.  */
    double (*term)(const dfoi_markov_step *, size_t d, const dfo_real *x, const dfo_real *xt, const dfo_real *net, double by,
                   dfoi_markov_grads *g);
    /* KL(q(x_T | x) || p(x_T)), the step being the last.  */
    double (*last)(const dfoi_markov_step *, size_t d, const dfo_real *x, double by, dfoi_markov_grads *g);
    /* xt from p(x_T); and from x_t to a draw of p(x_t-1 | x_t), or of it times the likelihood r(x_t-1) of what is given
     * (NULL: nothing).  */
    void   (*begin)(size_t d, dfo_key key, double temperature, dfo_real *xt);
    void   (*step)(const dfoi_markov_step *, size_t d, const dfo_real *net, dfo_key key, double temperature, const dfoi_markov_given *given,
                   dfo_real *room, dfo_real *xt);
};

extern const struct dfoi_markov_kind dfoi_markov_gaussian;
extern const struct dfoi_markov_kind dfoi_markov_binary;

/* Of numbers q(x_t-1 | x_t, x) = N(c x + k x_t, v), v = 0 at t = 1; and derivatives with respect to the step's here and before.  */
typedef struct dfoi_markov_posterior {
    double c, k, v, c_here, c_before, k_here, k_before, v_here, v_before;
} dfoi_markov_posterior;
dfoi_markov_posterior dfoi_markov_posterior_of(const dfoi_markov_step *step);

/* Of bits, with signs for them: q(x_t = 1 | x) and q(x_t-1 = 1 | x_t, x).  KL in nats of coins that show 1 with chances q and p, rest = 1 - p.  */
double dfoi_markov_bits_marginal(const dfoi_markov_step *step, double x);
double dfoi_markov_bits_posterior(const dfoi_markov_step *step, double xt, double x);
double dfoi_markov_bits_kl(double q, double p, double rest);

struct dfoi_markov {
    const struct dfoi_markov_kind *kind;
    dfo_net *net;
    size_t   steps, schedule;       /* where its learned rates are in the store, of steps 2 .. T */
    double   first, last;
    int      learned;
};

/* A chain's operations on rows (markov_rows.c), as <diffeo/dist.h> has them.  */
size_t dfoi_markov_scratch(const dfo_dist *dist, size_t rows);
dfo_status dfoi_markov_log_prob(const dfo_dist *dist, dfo_run *run, dfo_batch x, const dfo_cond *cond, double *out);
dfo_status dfoi_markov_log_prob_grad(const dfo_dist *dist, dfo_run *run, dfo_batch x, const dfo_cond *cond, const double *glogp, dfo_batch gx,
                                     dfo_cond *gcond);
dfo_status dfoi_markov_sample(const dfo_dist *dist, dfo_run *run, dfo_batch x, const dfo_cond *cond, double temperature);
dfo_status dfoi_markov_sample_given(const dfo_dist *dist, dfo_run *run, dfo_batch x, const dfo_cond *cond, double temperature,
                                    dfo_batch given, double noise);

#endif
