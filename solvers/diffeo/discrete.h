/* Diffusion in discrete steps: posteriors and the terms of the variational bound, for numbers and for bits.  Schedules beta[0] of step 1
 * .. beta[steps-1] as in <diffeo/schedule.h>.  */
#ifndef DIFFEO_DISCRETE_H
#define DIFFEO_DISCRETE_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* q(x_(t-1) | x_t, x_0) = N(of_data[t-1] x_0 + of_x[t-1] x_t, variance[t-1]) where q(x_t | x_(t-1)) = N(sqrt(1 - beta_t) x_(t-1),
 * beta_t); of step 1: x_0 itself.  (steps) each, and abar, the products of 1 - beta.  Ho et al. 2020, eq. 7.  */
void dfo_discrete_posterior(size_t steps, const double *beta, double *of_data, double *of_x, double *variance, double *abar);

/* KL(N(m1, v1) || N(m2, v2)) in nats, v1 from 0 (then infinite).  */
double dfo_discrete_normal_kl(double m1, double v1, double m2, double v2);

/* A reverse model p(x_(t-1) | x_t) = N(u[t-1] x_t + w[t-1], v[t-1]).  */
typedef struct dfo_discrete_reverse {
    const double *u, *w, *v;           /* (steps) */
} dfo_discrete_reverse;

/* The model that is right for data N(mean, variance), into u, w, v (steps).  */
void dfo_discrete_exact_reverse(size_t steps, const double *beta, double mean, double variance, double *u, double *w, double *v);

/* The terms that the bound takes off, in nats, as their expectation over x_0 of that mean and variance (0: of one x_0): term[0] = -E log
 * p(x_0 | x_1), term[t-1] = E KL(q(x_(t-1) | x_t, x_0) || p), term[steps] = KL(q(x_T | x_0) || N(0, 1)); log p(x_0) is at least minus their
 * sum.  work: 4 steps numbers.  Sohl-Dickstein et al. 2015; Ho et al. 2020, eq. 5.  */
void dfo_discrete_bound(size_t steps, const double *beta, const dfo_discrete_reverse *p, double mean, double variance, double *term,
                        double *work);

/* Bits that become a fair coin's: q(x_t = 1 | x_(t-1)) = x_(t-1) (1 - beta_t) + beta_t/2.  marginal (steps,2): q(x_t = 1 | x_0 = 0, 1);
 * posterior (steps-1,2,2) at t-2: q(x_(t-1) = 1 | x_t, x_0), x_0 first.  Sohl-Dickstein et al. 2015, table 1.  */
void dfo_discrete_bits_marginal(size_t steps, const double *beta, double *marginal);
void dfo_discrete_bits_posterior(size_t steps, const double *beta, double *posterior);

/* KL of two coins that show 1 with probabilities p and q, in nats.  */
double dfo_discrete_bits_kl(double p, double q);

#ifdef __cplusplus
}
#endif
#endif
