/* Binary chain over numbers 0 and 1: q(x_t = 1 | x_t-1) = x_t-1 (1 - b) + b/2, b = beta_t (Sohl-Dickstein et al. 2015, table 1).  With
 * s = 2 x - 1, r = 1 - b, A = abar_t, P = abar_t-1:
 *
 *     q(x_t = 1 | x) = (1 + A s)/2,   q(x_t-1 = 1 | x_t, x) = (1 + r s_t)(1 + P s)/(2 (1 + A s_t s)).
 *
 * The net says by its logit l how likely x = 1 is, w = sigmoid(l + log((1 + A s_t)/(1 - A s_t))), beside what x_t alone tells; the way
 * back is p(x_t-1 = 1 | x_t) = w q(1 | x_t, 1) + (1 - w) q(1 | x_t, 0), as Austin et al. (2021) make it, and at t = 1 w itself.  Between
 * Bernoulli laws KL = q log(q/p) + (1 - q) log((1 - q)/(1 - p)).
 *
 * What is known of x, bits y that are wrong with the chance s, multiplies every step back by the likelihood r(x_t-1) of y, 1 - s where they are
 * the same and s where not (section 2.5).  */
#include <math.h>

#include "dist/dist_impl.h"
#include "dist/markov_impl.h"

double dfoi_markov_bits_marginal(const dfoi_markov_step *s, double x)
{
    return 0.5 * (1 + exp(s->here) * x);
}

static void noise(const dfoi_markov_step *s, size_t d, const dfo_real *x, dfo_key key, dfo_real *e, dfo_real *xt)
{
    double of[2] = {dfoi_markov_bits_marginal(s, -1), dfoi_markov_bits_marginal(s, 1)};
    dfo_draw_real_uniform(key, d, e);
    for (size_t j = 0; j < d; j++)
        xt[j] = (double)e[j] < of[x[j] > 0];
}

double dfoi_markov_bits_posterior(const dfoi_markov_step *s, double at, double x)
{
    double r = exp(s->here - s->before), p = exp(s->before);
    return 0.5 * (1 + r * at) * (1 + p * x) / (1 + r * p * at * x);
}

static double part(double q, double p)
{
    return q > 0 ? q * log(q / p) : 0;
}

double dfoi_markov_bits_kl(double q, double p, double rest)
{
    return part(q, p) + part(1 - q, rest);
}

/* log w and log(1 - w).  */
static void log_weights(const dfoi_markov_step *s, double at, double net, double *one, double *zero)
{
    double l = net + 2 * at * atanh(exp(s->here));
    *one = l < 0 ? l - log1p(exp(l)) : -log1p(exp(-l));
    *zero = *one - l;
}

static double term(const dfoi_markov_step *s, size_t d, const dfo_real *x, const dfo_real *xt, const dfo_real *net, double by,
                   dfoi_markov_grads *g)
{
    double sum = 0, q[2][2];
    for (int t = 0; t < 2; t++)
        for (int k = 0; k < 2; k++)
            q[t][k] = s->t == 1 ? k : dfoi_markov_bits_posterior(s, 2 * t - 1, 2 * k - 1);
    for (size_t j = 0; j < d; j++) {
        double bit = (double)x[j], one, zero;
        int t = xt[j] > 0, k = bit > 0;
        log_weights(s, 2 * t - 1, (double)net[j], &one, &zero);
        double w = exp(one), rest = exp(zero), want = q[t][k];
        if (s->t == 1) {
            sum -= k ? one : zero;
            if (g->net)
                g->net[j] = (dfo_real)(by * (w - bit));
            continue;
        }
        double p = w * q[t][1] + rest * q[t][0], not = w * (1 - q[t][1]) + rest * (1 - q[t][0]);
        sum += dfoi_markov_bits_kl(want, p, not);
        if (g->net)
            g->net[j] = (dfo_real)(by * ((1 - want) / not - want / p) * w * rest * (q[t][1] - q[t][0]));
    }
    return sum;
}

/* abar_T = 0: x_T is all noise.  */
static double last(const dfoi_markov_step *s, size_t d, const dfo_real *x, double by, dfoi_markov_grads *g)
{
    (void)s, (void)d, (void)x, (void)by, (void)g;
    return 0;
}

static void begin(size_t d, dfo_key key, double temperature, dfo_real *xt)
{
    (void)temperature;
    dfo_draw_real_uniform(key, d, xt);
    for (size_t j = 0; j < d; j++)
        xt[j] = xt[j] < (dfo_real)0.5;
}

/* Odds to the power of 1/temperature; at 0 the likelier bit.  */
static void step(const dfoi_markov_step *s, size_t d, const dfo_real *net, dfo_key key, double temperature, const dfoi_markov_given *given,
                 dfo_real *room, dfo_real *xt)
{
    dfo_draw_real_uniform(key, d, room);
    for (size_t j = 0; j < d; j++) {
        double at = xt[j] > 0 ? 1 : -1, one, zero;
        log_weights(s, at, (double)net[j], &one, &zero);
        double w = exp(one), p = s->t == 1 ? w : w * dfoi_markov_bits_posterior(s, at, 1) + exp(zero) * dfoi_markov_bits_posterior(s, at, -1);
        if (given && !isnan(given->y[j])) {
            double one_of_y = given->y[j] > 0 ? 1 - given->noise : given->noise;
            p = given->noise > 0 ? p * one_of_y / (p * one_of_y + (1 - p) * (1 - one_of_y)) : one_of_y;
        }
        double odds = temperature > 0 ? (log(p) - log1p(-p)) / temperature : p > 0.5 ? INFINITY : -INFINITY;
        xt[j] = (double)room[j] < 1 / (1 + exp(-odds));
    }
}

const struct dfoi_markov_kind dfoi_markov_binary = {
    .outs = 1,
    .noise = noise,
    .term = term,
    .last = last,
    .begin = begin,
    .step = step,
};
