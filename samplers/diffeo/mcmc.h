/* Markov chains whose law is a target's: random walk, MALA, HMC; the same in a flow's latents; what such draws are worth.  */
#ifndef DIFFEO_MCMC_H
#define DIFFEO_MCMC_H

#include <stddef.h>
#include <stdint.h>
#include <diffeo/ctx.h>
#include <diffeo/target.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum dfo_mcmc_kind {
    DFO_METROPOLIS,                /* random walk (Metropolis et al. 1953) */
    DFO_MALA,                      /* one step along the gradient (Roberts and Tweedie 1996): HMC with one leapfrog step */
    DFO_HMC                        /* Hamiltonian Monte Carlo (Neal 2011, section 5.2) */
} dfo_mcmc_kind;

typedef struct dfo_mcmc_options {
    dfo_mcmc_kind kind;
    size_t   chains, warmup, draws;        /* iterations of every chain: warmup is thrown away, draws are kept */
    size_t   leapfrog;             /* HMC: mean number of leapfrog steps; each iteration takes 1 .. 2 leapfrog - 1, by lot */
    double   step;                 /* the first step; 0: found.  Without warmup: the step */
    double   acceptance;           /* that warm-up aims at, between 0 and 1 */
    int      mass;                 /* 1: warm-up learns the columns' scales (a diagonal mass) */
    uint64_t seed;
} dfo_mcmc_options;

typedef struct dfo_mcmc_report {
    double   step;                 /* after warm-up */
    double   acceptance;           /* mean probability of acceptance after warm-up */
    uint64_t divergences;          /* iterations after warm-up whose energy rose by more than 1000 */
    uint64_t evaluations;          /* of the target, of rows, in all */
} dfo_mcmc_report;

/* Four chains, 1,000 iterations of warm-up and of draws, masses learned, 16 leapfrog steps; acceptance 0.8 (HMC), 0.574 (MALA:
 * Roberts and Rosenthal 1998), 0.234 (random walk: Roberts et al. 1997).  */
void dfo_mcmc_defaults(dfo_mcmc_kind kind, dfo_mcmc_options *options);

/* Runs chains from start (chains, d).  out (chains, draws, d); logp (chains, draws) or NULL.  The chains go side by side, so that the
 * target sees all of them at once, and share step and masses, which warm-up alone changes: the step by dual averaging (Hoffman
 * and Gelman 2014, section 3.2), the inverse masses by variances over windows that double (as Stan does).  Draws are functions of
 * seed, chain and iteration.  DFO_EARG: options out of range; DFO_ENUM: a chain that starts where the density is 0 or no number, named;
 * what the target returned; DFO_EMEM.  */
dfo_status dfo_mcmc_run(dfo_ctx *ctx, const dfo_target *target, const dfo_mcmc_options *options, const double *start, double *out,
                        double *logp, dfo_mcmc_report *report);

/* What chains say of a column, after Vehtari et al. 2021, "Rank-normalization, folding, and localization: an improved R-hat".  */
typedef struct dfo_mcmc_summary {
    double mean, deviation;
    double error;                  /* of the mean: deviation / sqrt(ess) */
    double ess;                    /* effective sample size for the mean: Geyer's initial monotone sequence, over split chains */
    double ess_bulk, ess_tail;     /* of rank-normalised values; of the 5 and 95 % quantiles, the smaller */
    double rhat;                   /* of ranks, split, the larger of bulk and folded; NAN where all values are the same,
                                    * infinite where no chain moves and they differ */
} dfo_mcmc_summary;

/* Summarises chains (chains, draws, d) column by column to out (d).  At least 4 draws a chain (DFO_EARG); DFO_ENUM names a value
 * that is not finite; DFO_EMEM.  */
dfo_status dfo_mcmc_summarise(dfo_ctx *ctx, size_t chains, size_t draws, size_t d, const double *x, dfo_mcmc_summary *out);

/* What weights log w (n) of draws from one law are worth as draws of another: log of the mean weight (the log of the normalising constant, if the weights
 * are p/q) with its standard error by the delta method, and the effective number (sum w)^2 / sum w^2 (Kong 1992).  tail: the k of a generalised
 * Pareto law of the largest weights (Vehtari et al. 2024; Zhang and Stephens 2009): weights have 1/k moments, and above 0.7 neither the mean nor
 * its error is to be trusted.  NAN of fewer than 25 weights or where the largest are all the same.  */
typedef struct dfo_weight_summary {
    double log_mean, log_mean_error, ess;
    double largest;                /* part of the sum that the largest weight has */
    double tail;
} dfo_weight_summary;

/* DFO_EARG: no weights, one that is NaN or +infinity, or all are 0.  DFO_EMEM.  */
dfo_status dfo_weights_summarise(dfo_ctx *ctx, size_t n, const double *log_weight, dfo_weight_summary *out);

/* m places 0 .. n-1 drawn in proportion to their weights, in rising order, by systematic resampling: place i comes floor or ceil
 * of m w_i / sum w times (Kitagawa 1996).  A function of the seed.  Errors as above.  */
dfo_status dfo_weights_resample(dfo_ctx *ctx, size_t n, const double *log_weight, uint64_t seed, size_t m, size_t *places);

#ifdef __cplusplus
}
#endif
#endif
