/* Discrete diffusion, see <diffeo/discrete.h>.  */
#include <math.h>

#include <diffeo/discrete.h>

#define LOG_2PI 1.8378770664093454836

void dfo_discrete_posterior(size_t steps, const double *beta, double *of_data, double *of_x, double *variance, double *abar)
{
    double before = 1;
    for (size_t i = 0; i < steps; i++) {
        double rest = beta[i] + (1 - beta[i]) * (1 - before);          /* 1 - abar, without cancellation */
        abar[i] = before * (1 - beta[i]);
        of_data[i] = i ? sqrt(before) * beta[i] / rest : 1;
        of_x[i] = sqrt(1 - beta[i]) * (1 - before) / rest;
        variance[i] = beta[i] * (1 - before) / rest;
        before = abar[i];
    }
}

double dfo_discrete_normal_kl(double m1, double v1, double m2, double v2)
{
    return (log(v2 / v1) + (v1 + (m1 - m2) * (m1 - m2)) / v2 - 1) / 2;
}

/* Of the joint normal law of x_(t-1), of variance V, and x_t.  */
void dfo_discrete_exact_reverse(size_t steps, const double *beta, double mean, double variance, double *u, double *w, double *v)
{
    double abar = 1;
    for (size_t i = 0; i < steps; i++) {
        double root = sqrt(1 - beta[i]), before = abar * variance + 1 - abar, after = (1 - beta[i]) * before + beta[i];
        u[i] = root * before / after;
        w[i] = (1 - u[i] * root) * sqrt(abar) * mean;
        v[i] = before * beta[i] / after;
        abar *= 1 - beta[i];
    }
}

/* x_t = sqrt(abar) x_0 + sqrt(1 - abar) e: the difference of means is linear in x_0 and e, and its square's expectation is what the
 * divergence wants.  */
void dfo_discrete_bound(size_t steps, const double *beta, const dfo_discrete_reverse *p, double mean, double variance, double *term, double *work)
{
    double *of_data = work, *of_x = work + steps, *var = of_x + steps, *abar = var + steps;
    dfo_discrete_posterior(steps, beta, of_data, of_x, var, abar);
    for (size_t i = 0; i < steps; i++) {
        double by_x = of_x[i] - p->u[i], by_data = of_data[i] + by_x * sqrt(abar[i]), off = by_data * mean - p->w[i];
        double square = off * off + by_data * by_data * variance + by_x * by_x * (1 - abar[i]);
        term[i] = i ? dfo_discrete_normal_kl(0, var[i], sqrt(square), p->v[i]) : (LOG_2PI + log(p->v[0]) + square / p->v[0]) / 2;
    }
    double last = abar[steps - 1];
    term[steps] = dfo_discrete_normal_kl(sqrt(last * (mean * mean + variance)), 1 - last, 0, 1);
}

void dfo_discrete_bits_marginal(size_t steps, const double *beta, double *marginal)
{
    double kept = 1;
    for (size_t i = 0; i < steps; i++) {
        kept *= 1 - beta[i];
        marginal[2 * i] = (1 - kept) / 2;
        marginal[2 * i + 1] = (1 + kept) / 2;
    }
}

void dfo_discrete_bits_posterior(size_t steps, const double *beta, double *posterior)
{
    double kept = 1;
    for (size_t i = 1; i < steps; i++) {
        kept *= 1 - beta[i - 1];
        for (size_t x0 = 0; x0 < 2; x0++)
            for (size_t xt = 0; xt < 2; xt++) {
                double one = (x0 ? 1 + kept : 1 - kept) / 2, to[2];
                for (size_t x = 0; x < 2; x++)             /* q(x_t | x_(t-1) = x) */
                    to[x] = x == xt ? 1 - beta[i] / 2 : beta[i] / 2;
                posterior[4 * (i - 1) + 2 * x0 + xt] = one * to[1] / (one * to[1] + (1 - one) * to[0]);
            }
    }
}

static double part(double p, double q)
{
    return p > 0 ? p * log(p / q) : 0;
}

double dfo_discrete_bits_kl(double p, double q)
{
    return part(p, q) + part(1 - p, 1 - q);
}
