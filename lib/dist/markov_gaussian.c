/* Gaussian chain: q(x_t | x_t-1) = N(sqrt(1 - b) x_t-1, b), b = beta_t (Sohl-Dickstein et al. 2015, table 1).  With A = abar_t, P = abar_t-1:
 *
 *     x_t = sqrt(A) x + sqrt(1 - A) e,    q(x_t-1 | x_t, x) = N(m, v),
 *     m = c x + k x_t,   c = sqrt(P) b/(1 - A),   k = sqrt(1 - b) (1 - P)/(1 - A),   v = b (1 - P)/(1 - A).
 *
 * The net says u and s of every column, and the way back is N(x_t (1 - S) + u S, S), S = sigmoid(s + logit b): at zero it all but
 * shrinks by the noise of the step.  KL = (log(S/v) + (v + (m - mu)^2)/S - 1)/2; at t = 1, where v = 0, the density of x itself.
 *
 * What is known of x, y with noise of deviation s, multiplies every step back by the likelihood r(x_t-1) = N(y; x_t-1, s^2), the same for all
 * t (section 2.5): N(mu, S) r is N(mu + g (y - mu), S (1 - g)) but for a constant, g = S/(S + s^2).  */
#include <math.h>

#include "dist/dist_impl.h"
#include "dist/markov_impl.h"

static void noise(const dfoi_markov_step *s, size_t d, const dfo_real *x, dfo_key key, dfo_real *e, dfo_real *xt)
{
    dfo_real keep = (dfo_real)exp(0.5 * s->here), spread = (dfo_real)sqrt(-expm1(s->here));
    dfo_draw_real_normal(key, d, e);
    for (size_t j = 0; j < d; j++)
        xt[j] = keep * x[j] + spread * e[j];
}

static void noise_grad(const dfoi_markov_step *s, size_t d, const dfo_real *x, const dfo_real *e, dfoi_markov_grads *g)
{
    double keep = exp(0.5 * s->here), slope = -0.5 * exp(s->here) / sqrt(-expm1(s->here)), sum = 0;
    for (size_t j = 0; j < d; j++) {
        double at = (double)g->noisy[j];
        g->x[j] += (dfo_real)(keep * at);
        sum += at * (0.5 * keep * (double)x[j] + slope * (double)e[j]);
    }
    g->slope.here += sum;
}

dfoi_markov_posterior dfoi_markov_posterior_of(const dfoi_markov_step *s)
{
    double a = exp(s->here), p = exp(s->before), r = exp(s->here - s->before), b = -expm1(s->here - s->before), left = -expm1(s->here),
           over = a / left, free = -expm1(s->before);
    dfoi_markov_posterior q = {.c = sqrt(p) * b / left, .k = sqrt(r) * free / left, .v = b * free / left};
    q.c_here = q.c * over - sqrt(p) * r / left;
    q.c_before = 0.5 * q.c + sqrt(p) * r / left;
    q.k_here = q.k * (0.5 + over);
    q.k_before = -0.5 * q.k - sqrt(r) * p / left;
    q.v_here = q.v * over - r * free / left;
    q.v_before = r * free / left - b * p / left;
    return q;
}

static double sigmoid(double x)
{
    return x < 0 ? exp(x) / (1 + exp(x)) : 1 / (1 + exp(-x));
}

static double term(const dfoi_markov_step *s, size_t d, const dfo_real *x, const dfo_real *xt, const dfo_real *net, double by,
                   dfoi_markov_grads *g)
{
    dfoi_markov_posterior q = dfoi_markov_posterior_of(s);
    double sum = 0, first = s->t == 1, logit = log(s->beta) - log1p(-s->beta), log_v = first ? 0 : log(q.v), of_v = 0, of_here = 0, of_before = 0;
    for (size_t j = 0; j < d; j++) {
        double at = (double)xt[j], x0 = (double)x[j], u = (double)net[j], raw = (double)net[d + j] + logit, spread = sigmoid(raw),
               log_spread = raw < 0 ? raw - log1p(exp(raw)) : -log1p(exp(-raw)), mean = at + spread * (u - at),
               want = first ? x0 : q.c * x0 + q.k * at, v = first ? 0 : q.v, off = want - mean, scaled = off / spread;
        sum += 0.5 * (log_spread - log_v + v / spread + off * scaled) + (first ? 0.5 * DFOI_LOG_2PI : -0.5);
        if (!g->net)
            continue;
        /* of mu, S by itself, and what mean depends on */
        double of_mean = -by * scaled, of_spread = 0.5 * by * (1 - (v + off * off) / spread) / spread + of_mean * (u - at),
               of_raw = of_spread * spread * (1 - spread), of_want = by * scaled;
        g->net[j] = (dfo_real)(of_mean * spread);
        g->net[d + j] = (dfo_real)of_raw;
        g->noisy[j] += (dfo_real)(of_mean * (1 - spread) + (first ? 0 : of_want * q.k));
        g->x[j] += (dfo_real)(of_want * (first ? 1 : q.c));
        of_v += 0.5 * by * (1 / spread - 1 / q.v);
        of_here += of_want * (q.c_here * x0 + q.k_here * at);
        of_before += of_want * (q.c_before * x0 + q.k_before * at);
        /* logit b = log(1 - r) - log r, r = e^(here - before) */
        of_here -= of_raw / s->beta;
        of_before += of_raw / s->beta;
    }
    if (g->net && !first) {
        g->slope.here += of_here + of_v * q.v_here;
        g->slope.before += of_before + of_v * q.v_before;
    }
    return sum;
}

static double last(const dfoi_markov_step *s, size_t d, const dfo_real *x, double by, dfoi_markov_grads *g)
{
    double a = exp(s->here), left = -expm1(s->here), sum = 0, slope = 0;
    for (size_t j = 0; j < d; j++) {
        double x0 = (double)x[j];
        sum += 0.5 * (a * x0 * x0 - a - log(left));
        slope += 0.5 * (a * x0 * x0 - a + a / left);
        if (g->x)
            g->x[j] += (dfo_real)(by * a * x0);
    }
    g->slope.here += by * slope;
    return sum;
}

static void begin(size_t d, dfo_key key, double temperature, dfo_real *xt)
{
    dfo_draw_real_normal(key, d, xt);
    for (size_t j = 0; j < d; j++)
        xt[j] *= (dfo_real)temperature;
}

static void step(const dfoi_markov_step *s, size_t d, const dfo_real *net, dfo_key key, double temperature, const dfoi_markov_given *given,
                 dfo_real *room, dfo_real *xt)
{
    double logit = log(s->beta) - log1p(-s->beta);
    dfo_draw_real_normal(key, d, room);
    for (size_t j = 0; j < d; j++) {
        double spread = sigmoid((double)net[d + j] + logit), at = (double)xt[j], mean = at + spread * ((double)net[j] - at);
        if (given && !isnan(given->y[j])) {        /* the product of two normal densities; without noise it is what is known */
            double of_y = spread / (spread + given->noise * given->noise);
            mean += of_y * ((double)given->y[j] - mean);
            spread *= 1 - of_y;
        }
        xt[j] = (dfo_real)(mean + temperature * sqrt(spread) * (double)room[j]);
    }
}

const struct dfoi_markov_kind dfoi_markov_gaussian = {
    .outs = 2,
    .noise = noise,
    .noise_grad = noise_grad,
    .term = term,
    .last = last,
    .begin = begin,
    .step = step,
};
