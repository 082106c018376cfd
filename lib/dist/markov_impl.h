/* What a Markov chain of noise is made of, between its driver (markov.c) and its two kinds.  Private to lib/dist.  */
#ifndef DFOI_MARKOV_IMPL_H
#define DFOI_MARKOV_IMPL_H

#include "base/real_impl.h"
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

#endif
