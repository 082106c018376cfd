/* See chainfix.h.  */
#include <math.h>

#include "chainfix.h"

#define RHO 0.6
#define D 10

static double scale_of(size_t k)
{
    return 0.1 * pow(10, 2.0 * (double)k / (D - 1));
}

/* u = x/s is a chain of its own: u_0 ~ N(0,1), u_k ~ N(rho u_{k-1}, 1 - rho^2).  Means are 1.  */
static dfo_status normal(const dfo_target *target, size_t n, const double *x, double *out, double *g)
{
    (void)target;
    for (size_t i = 0; i < n; i++) {
        double before = 0, sum = 0, off[D + 1] = {0};
        for (size_t k = 0; k < D; k++) {
            double u = (x[i * D + k] - 1) / scale_of(k);
            off[k] = (u - (k ? RHO : 0) * before) / (k ? 1 - RHO * RHO : 1);
            sum += off[k] * (u - (k ? RHO : 0) * before);
            before = u;
        }
        out[i] = -0.5 * sum;
        for (size_t k = 0; g && k < D; k++)
            g[i * D + k] = (-off[k] + RHO * off[k + 1]) / scale_of(k);
    }
    return DFO_OK;
}

/* x1 ~ N(0, 1), x2 ~ N((x1^2 - 1)/2, 1).  */
static dfo_status banana(const dfo_target *target, size_t n, const double *x, double *out, double *g)
{
    (void)target;
    for (size_t i = 0; i < n; i++) {
        double a = x[2 * i], r = x[2 * i + 1] - 0.5 * (a * a - 1);
        out[i] = -0.5 * (a * a + r * r);
        if (g) {
            g[2 * i] = -a + r * a;
            g[2 * i + 1] = -r;
        }
    }
    return DFO_OK;
}

/* x1 ~ N(0, 1), x2 ~ N(0, e^x1): Neal 2003, but wider at its neck.  */
static dfo_status funnel(const dfo_target *target, size_t n, const double *x, double *out, double *g)
{
    (void)target;
    for (size_t i = 0; i < n; i++) {
        double v = x[2 * i], y = x[2 * i + 1], w = exp(-v);
        out[i] = -0.5 * (v * v + v + y * y * w);
        if (g) {
            g[2 * i] = -v - 0.5 + 0.5 * y * y * w;
            g[2 * i + 1] = -y * w;
        }
    }
    return DFO_OK;
}

static dfo_status half(const dfo_target *target, size_t n, const double *x, double *out, double *g)
{
    (void)target;
    for (size_t i = 0; i < n; i++) {
        out[i] = x[i] > 0 ? -0.5 * x[i] * x[i] : -INFINITY;
        if (g)
            g[i] = x[i] > 0 ? -x[i] : NAN;     /* outside of the support it may be anything */
    }
    return DFO_OK;
}

const chain_target *chain_target_at(size_t which)
{
    static chain_target all[CHAIN_TARGETS] = {
        [CHAIN_NORMAL] = {.name = "normal", .target = {.d = D, .log_prob = normal}},
        [CHAIN_BANANA] = {.name = "banana", .target = {.d = 2, .log_prob = banana}, .variance = {1, 1.5}},
        [CHAIN_FUNNEL] = {.name = "funnel", .target = {.d = 2, .log_prob = funnel}},
        [CHAIN_HALF] = {.name = "half", .target = {.d = 1, .log_prob = half}},
    };
    double two_pi = log(2 * M_PI);
    all[CHAIN_NORMAL].log_normaliser = D * 0.5 * two_pi + (D - 1) * 0.5 * log(1 - RHO * RHO);
    for (size_t k = 0; k < D; k++) {
        all[CHAIN_NORMAL].mean[k] = 1;
        all[CHAIN_NORMAL].variance[k] = scale_of(k) * scale_of(k);
        all[CHAIN_NORMAL].log_normaliser += log(scale_of(k));
    }
    all[CHAIN_BANANA].log_normaliser = two_pi;
    all[CHAIN_FUNNEL].variance[0] = 1;
    all[CHAIN_FUNNEL].variance[1] = exp(0.5);
    all[CHAIN_FUNNEL].log_normaliser = two_pi;
    all[CHAIN_HALF].mean[0] = sqrt(2 / M_PI);
    all[CHAIN_HALF].variance[0] = 1 - 2 / M_PI;
    all[CHAIN_HALF].log_normaliser = 0.5 * log(M_PI / 2);
    return &all[which];
}
