/* The functions of the elementwise layers in forms that keep their digits in the tails:
 *   log sigma'(x) = -|x| - 2 log1p(e^-|x|),  log tanh'(x) = 2 (log 2 - |x| - log1p(e^-2|x|)),
 *   softplus(x) = max(x, 0) + log1p(e^-|x|), its inverse log(e^x - 1),
 *   log cosh x = |x| + log1p(e^-2|x|) - log 2,
 *   logit: v = alpha + (1 - 2 alpha)(x - low)/(high - low), and 1 - v the same from the other end,
 *   rescale: (x - low)/(high - low) - 1/2,
 *   Box-Cox: (x^l - 1)/l = expm1(l log x)/l (Box & Cox 1964).  */
#include <math.h>
#include <string.h>

#include "scalar_impl.h"

#define SET const struct dfoi_scalar_set *s
#define LOG2 0.69314718055994530942

static double sigmoid(double x)
{
    double e = exp(-fabs(x));
    return (x < 0 ? e : 1) / (1 + e);
}

static double softplus(double x)
{
    return fmax(x, 0) + log1p(exp(-fabs(x)));
}

double dfoi_log_sigmoid_slope(double z)
{
    return -fabs(z) - 2 * log1p(exp(-fabs(z)));
}

static double log_cosh(double x)
{
    return fabs(x) + log1p(exp(-2 * fabs(x))) - LOG2;
}

/* ---- sigmoid, logit */

static double sigmoid_value(SET, double x)
{
    (void)s;
    return sigmoid(x);
}

static double sigmoid_inverse(SET, double z)
{
    (void)s;
    return fabs(2 * z - 1) < 0.5 ? log1p((2 * z - 1) / (1 - z)) : log(z) - log1p(-z);
}

static double sigmoid_log_slope(SET, double x)
{
    (void)s;
    return dfoi_log_sigmoid_slope(x);
}

static double sigmoid_slope(SET, double x)
{
    (void)s;
    return sigmoid(x) * sigmoid(-x);
}

static double sigmoid_change(SET, double x)
{
    (void)s;
    return -tanh(x / 2);
}

static double logit_value(SET, double x)
{
    double range = s->high - s->low, keep = 1 - 2 * s->alpha;
    double v = s->alpha + keep * (x - s->low) / range, w = s->alpha + keep * (s->high - x) / range;
    double difference = keep * (2 * x - (s->low + s->high)) / range;
    return fabs(difference) < 0.5 ? log1p(difference / w) : log(v) - log(w);
}

static double logit_inverse(SET, double z)
{
    double range = s->high - s->low, keep = 1 - 2 * s->alpha;
    return z < 0 ? s->low + range * (sigmoid(z) - s->alpha) / keep
                 : s->high - range * (sigmoid(-z) - s->alpha) / keep;
}

static double logit_log_slope(SET, double z)
{
    return log((1 - 2 * s->alpha) / (s->high - s->low)) - dfoi_log_sigmoid_slope(z);
}

static double logit_slope(SET, double z)
{
    return (1 - 2 * s->alpha) / (s->high - s->low) / (sigmoid(z) * sigmoid(-z));
}

static double logit_change(SET, double z)
{
    return logit_slope(s, z) * tanh(z / 2);
}

/* ---- tanh, atanh */

static double tanh_value(SET, double x)
{
    (void)s;
    return tanh(x);
}

static double atanh_value(SET, double x)
{
    (void)s;
    return atanh(x);
}

static double tanh_log_slope(SET, double x)
{
    (void)s;
    return -2 * log_cosh(x);
}

static double tanh_slope(SET, double x)
{
    double e = exp(-2 * fabs(x));
    (void)s;
    return 4 * e / ((1 + e) * (1 + e));
}

static double tanh_change(SET, double x)
{
    (void)s;
    return -2 * tanh(x);
}

static double atanh_log_slope(SET, double z)
{
    (void)s;
    return 2 * log_cosh(z);
}

static double atanh_slope(SET, double z)
{
    return 1 / tanh_slope(s, z);
}

static double atanh_change(SET, double z)
{
    (void)s;
    return sinh(2 * z);
}

/* ---- softplus and its inverse */

static double softplus_value(SET, double x)
{
    (void)s;
    return softplus(x);
}

static double unsoftplus_value(SET, double x)
{
    (void)s;
    return x < 1 ? log(expm1(x)) : x + log1p(-exp(-x));
}

static double softplus_log_slope(SET, double x)
{
    (void)s;
    return -softplus(-x);
}

static double softplus_slope(SET, double x)
{
    (void)s;
    return sigmoid(x);
}

static double softplus_change(SET, double x)
{
    (void)s;
    return sigmoid(-x);
}

static double unsoftplus_log_slope(SET, double z)
{
    (void)s;
    return softplus(-z);
}

static double unsoftplus_slope(SET, double z)
{
    (void)s;
    return 1 / sigmoid(z);
}

static double unsoftplus_change(SET, double z)
{
    (void)s;
    return -exp(-z);
}

/* ---- exp, log */

static double exp_value(SET, double x)
{
    (void)s;
    return exp(x);
}

static double log_value(SET, double x)
{
    (void)s;
    return log(x);
}

static double same(SET, double u)
{
    (void)s;
    return u;
}

static double minus(SET, double u)
{
    (void)s;
    return -u;
}

static double one(SET, double u)
{
    (void)s;
    (void)u;
    return 1;
}

static double exp_minus(SET, double z)
{
    (void)s;
    return exp(-z);
}

static double minus_exp_minus(SET, double z)
{
    (void)s;
    return -exp(-z);
}

/* ---- sinh, asinh */

static double sinh_value(SET, double x)
{
    (void)s;
    return sinh(x);
}

static double asinh_value(SET, double x)
{
    (void)s;
    return asinh(x);
}

static double sinh_log_slope(SET, double x)
{
    (void)s;
    return log_cosh(x);
}

static double sinh_slope(SET, double x)
{
    (void)s;
    return cosh(x);
}

static double sinh_change(SET, double x)
{
    (void)s;
    return tanh(x);
}

static double asinh_log_slope(SET, double z)
{
    (void)s;
    return -log_cosh(z);
}

static double asinh_slope(SET, double z)
{
    (void)s;
    return 1 / cosh(z);
}

static double asinh_change(SET, double z)
{
    (void)s;
    return -tanh(z) / cosh(z);
}

/* ---- leaky relu */

static double leaky_value(SET, double x)
{
    return x < 0 ? s->slope * x : x;
}

static double leaky_inverse(SET, double z)
{
    return z < 0 ? z / s->slope : z;
}

static double leaky_log_slope(SET, double z)
{
    return z < 0 ? log(s->slope) : 0;
}

static double leaky_slope(SET, double z)
{
    return z < 0 ? s->slope : 1;
}

static double zero(SET, double u)
{
    (void)s;
    (void)u;
    return 0;
}

/* ---- rescale */

static double rescale_value(SET, double x)
{
    return (x - s->low) / (s->high - s->low) - 0.5;
}

static double rescale_inverse(SET, double z)
{
    return s->low + (z + 0.5) * (s->high - s->low);
}

static double rescale_log_slope(SET, double x)
{
    (void)x;
    return -log(s->high - s->low);
}

static double rescale_slope(SET, double x)
{
    (void)x;
    return 1 / (s->high - s->low);
}

/* ---- Box-Cox */

static double box_cox_value(SET, double x)
{
    double l = log(x);
    return s->lambda == 0 ? l : expm1(s->lambda * l) / s->lambda;
}

/* 1 + lambda z is the power x^lambda: a little below 0 it is 0 rounded, more is outside (NaN).  */
static double box_cox_inverse(SET, double z)
{
    double power = s->lambda * z;
    if (s->lambda == 0)
        return exp(z);
    if (power < -1 && power > -1 - 8 * DFO_REAL_EPS)
        power = -1;
    return exp(log1p(power) / s->lambda);
}

static double box_cox_log_slope(SET, double x)
{
    return (s->lambda - 1) * log(x);
}

static double box_cox_slope(SET, double x)
{
    return exp((s->lambda - 1) * log(x));
}

static double box_cox_change(SET, double x)
{
    return (s->lambda - 1) / x;
}

/* L^2 h(t), L = log x, t = lambda L, h(t) = (t e^t - e^t + 1)/t^2 = sum_k t^k / (k! (k+2)).  */
double dfoi_box_cox_lambda_slope(double lambda, double x)
{
    double l = log(x), t = lambda * l;
    if (fabs(t) > 0.5)
        return (t * exp(t) - expm1(t)) / (lambda * lambda);
    double sum = 0, power = 1;
    for (int k = 0; k < 16; k++) {
        sum += power / (k + 2);
        power *= t / (k + 1);
    }
    return l * l * sum;
}

#define REST -INFINITY, INFINITY

static const struct dfoi_scalar scalars[] = {
    {"sigmoid", 0, sigmoid_value, sigmoid_inverse, sigmoid_log_slope, sigmoid_slope, sigmoid_change,
     REST, 0, 1},
    {"logit", 1, logit_value, logit_inverse, logit_log_slope, logit_slope, logit_change, 0, 1,
     REST},
    {"tanh", 0, tanh_value, atanh_value, tanh_log_slope, tanh_slope, tanh_change, REST, -1, 1},
    {"atanh", 1, atanh_value, tanh_value, atanh_log_slope, atanh_slope, atanh_change, -1, 1, REST},
    {"softplus", 0, softplus_value, unsoftplus_value, softplus_log_slope, softplus_slope,
     softplus_change, REST, 0, INFINITY},
    {"softplus-inverse", 1, unsoftplus_value, softplus_value, unsoftplus_log_slope,
     unsoftplus_slope, unsoftplus_change, 0, INFINITY, REST},
    {"exp", 0, exp_value, log_value, same, exp_value, one, REST, 0, INFINITY},
    {"log", 1, log_value, exp_value, minus, exp_minus, minus_exp_minus, 0, INFINITY, REST},
    {"sinh", 0, sinh_value, asinh_value, sinh_log_slope, sinh_slope, sinh_change, REST, REST},
    {"asinh", 1, asinh_value, sinh_value, asinh_log_slope, asinh_slope, asinh_change, REST, REST},
    {"rescale", 0, rescale_value, rescale_inverse, rescale_log_slope, rescale_slope, zero, REST, REST},
    {"leaky-relu", 1, leaky_value, leaky_inverse, leaky_log_slope, leaky_slope, zero, REST, REST},
    {"box-cox", 0, box_cox_value, box_cox_inverse, box_cox_log_slope, box_cox_slope, box_cox_change,
     0, INFINITY, REST},
};

const struct dfoi_scalar *dfoi_scalar_named(const char *type)
{
    for (size_t i = 0; i < sizeof scalars / sizeof *scalars; i++)
        if (!strcmp(scalars[i].type, type))
            return &scalars[i];
    return NULL;
}
