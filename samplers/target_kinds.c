/* Densities in closed form; definitions and sources in <diffeo/targets.h>.  Each writes log p + constant and its gradient row by row.  */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/parse_impl.h"
#include "targets_impl.h"

#define PI 3.14159265358979323846
#define WIDEST 4096                    /* columns, as of toy:gaussianD */

/* log(e^a + e^b), and the first one's part of the sum.  */
static double log_add(double a, double b, double *part)
{
    *part = 1 / (1 + exp(b - a));
    return fmax(a, b) + log1p(exp(-fabs(a - b)));
}

/* D at the beginning of text, from `least` on; *text goes behind it and its colon, or becomes NULL.  */
static dfo_status columns_of(dfo_named_target *t, const char **text, size_t least, size_t usual)
{
    double d = (double)usual;
    size_t n = *text ? strcspn(*text, ":") : 0;
    if (*text && (!dfoi_number(*text, n, &d) || !(d >= (double)least && d <= WIDEST) || d > floor(d)))
        return dfoi_fail(t->ctx, DFO_EARG, "expected a number of columns from %zu to %d, got '%.50s'", least, WIDEST, *text);
    t->target.d = (size_t)d;
    *text = *text && (*text)[n] ? *text + n + 1 : NULL;
    return DFO_OK;
}

/* ---- normal: x_1 ~ N(0,1), x_k ~ N(rho x_{k-1}, 1 - rho^2); data: rho */

static dfo_status normal(const dfo_target *target, size_t n, const double *x, double *out, double *g)
{
    double rho = *(const double *)target->data, scale = 1 / (1 - rho * rho);
    size_t d = target->d;
    for (size_t i = 0; i < n; i++) {
        const double *row = x + i * d;
        double sum = 0;
        for (size_t k = 0; k < d; k++) {
            double off = k ? row[k] - rho * row[k - 1] : row[k];
            sum += off * off * (k ? scale : 1);
            if (g)
                g[i * d + k] = -off * (k ? scale : 1) + (k + 1 < d ? rho * scale * (row[k + 1] - rho * row[k]) : 0);
        }
        out[i] = -0.5 * sum;
    }
    return DFO_OK;
}

dfo_status dfoi_target_normal(dfo_named_target *t, const char *text)
{
    double *rho;
    DFO_TRY(columns_of(t, &text, 1, 2));
    DFO_TRY(dfoi_alloc(t->ctx, 1, sizeof *rho, &rho));
    t->target.data = rho;
    if (text && (!dfoi_number(text, strlen(text), rho) || !(fabs(*rho) < 1)))
        return dfoi_fail(t->ctx, DFO_EARG, "expected a correlation between -1 and 1, got '%.50s'", text);
    t->target.log_prob = normal;
    t->log_normaliser = 0.5 * ((double)t->target.d * DFOI_LOG_2PI + ((double)t->target.d - 1) * log1p(-*rho * *rho));
    return DFO_OK;
}

/* ---- banana */

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

dfo_status dfoi_target_banana(dfo_named_target *t, const char *text)
{
    (void)text;
    t->target.d = 2;
    t->target.log_prob = banana;
    t->log_normaliser = DFOI_LOG_2PI;
    return DFO_OK;
}

/* ---- funnel */

static dfo_status funnel(const dfo_target *target, size_t n, const double *x, double *out, double *g)
{
    size_t d = target->d;
    double others = (double)(d - 1);
    for (size_t i = 0; i < n; i++) {
        const double *row = x + i * d;
        double w = exp(-row[0]), squares = 0;
        for (size_t k = 1; k < d; k++)
            squares += row[k] * row[k];
        out[i] = -0.5 * (row[0] * row[0] / 9 + others * row[0] + squares * w);
        if (!g)
            continue;
        g[i * d] = -row[0] / 9 - 0.5 * others + 0.5 * squares * w;
        for (size_t k = 1; k < d; k++)
            g[i * d + k] = -row[k] * w;
    }
    return DFO_OK;
}

dfo_status dfoi_target_funnel(dfo_named_target *t, const char *text)
{
    DFO_TRY(columns_of(t, &text, 2, 10));
    if (text)
        return dfoi_fail(t->ctx, DFO_EARG, "expected a number of columns alone, got ':%.50s' behind it", text);
    t->target.log_prob = funnel;
    t->log_normaliser = 0.5 * (double)t->target.d * DFOI_LOG_2PI + log(3);
    return DFO_OK;
}

/* ---- ring: of radius R and width S */

#define R 2.0
#define S 0.2

static dfo_status ring(const dfo_target *target, size_t n, const double *x, double *out, double *g)
{
    (void)target;
    for (size_t i = 0; i < n; i++) {
        double r = hypot(x[2 * i], x[2 * i + 1]), u = (r - R) / S;
        out[i] = -0.5 * u * u;
        for (size_t k = 0; g && k < 2; k++)
            g[2 * i + k] = r > 0 ? -u / S * x[2 * i + k] / r : 0;
    }
    return DFO_OK;
}

/* 2 pi times the integral of r exp(-(r - R)^2 / 2 S^2).  */
dfo_status dfoi_target_ring(dfo_named_target *t, const char *text)
{
    (void)text;
    t->target.d = 2;
    t->target.log_prob = ring;
    t->log_normaliser = log(2 * PI * (S * S * exp(-0.5 * R * R / (S * S)) + R * S * sqrt(PI / 2) * erfc(-R / S / sqrt(2))));
    return DFO_OK;
}

/* ---- gaussians8: at distance 4/sqrt 2 from 0, variances 1/8 */

static dfo_status gaussians(const dfo_target *target, size_t n, const double *x, double *out, double *g)
{
    (void)target;
    for (size_t i = 0; i < n; i++) {
        double top = -INFINITY, sum = 0, way[2] = {0}, off[8][2], log_p[8];
        for (size_t k = 0; k < 8; k++) {
            off[k][0] = x[2 * i] - 4 / sqrt(2) * cos(PI / 4 * (double)k);
            off[k][1] = x[2 * i + 1] - 4 / sqrt(2) * sin(PI / 4 * (double)k);
            log_p[k] = -4 * (off[k][0] * off[k][0] + off[k][1] * off[k][1]);
            top = fmax(top, log_p[k]);
        }
        for (size_t k = 0; k < 8; k++) {
            double w = exp(log_p[k] - top);
            sum += w;
            way[0] -= 8 * w * off[k][0];
            way[1] -= 8 * w * off[k][1];
        }
        out[i] = top + log(sum);
        for (size_t k = 0; g && k < 2; k++)
            g[2 * i + k] = way[k] / sum;
    }
    return DFO_OK;
}

dfo_status dfoi_target_gaussians(dfo_named_target *t, const char *text)
{
    (void)text;
    t->target.d = 2;
    t->target.log_prob = gaussians;
    t->log_normaliser = log(8 * 2 * PI / 8);
    return DFO_OK;
}

/* ---- two-moons: exp(-(r - 2)^2 / 2 0.2^2) (exp(-(x1 - 2)^2 / 2 0.3^2) + exp(-(x1 + 2)^2 / 2 0.3^2)) */

static dfo_status moons(const dfo_target *target, size_t n, const double *x, double *out, double *g)
{
    (void)target;
    for (size_t i = 0; i < n; i++) {
        double r = hypot(x[2 * i], x[2 * i + 1]), u = (r - 2) / 0.2, a = (x[2 * i] - 2) / 0.3, b = (x[2 * i] + 2) / 0.3, part;
        out[i] = -0.5 * u * u + log_add(-0.5 * a * a, -0.5 * b * b, &part);
        for (size_t k = 0; g && k < 2; k++)
            g[2 * i + k] = (r > 0 ? -u / 0.2 * x[2 * i + k] / r : 0) - (k ? 0 : (part * a + (1 - part) * b) / 0.3);
    }
    return DFO_OK;
}

dfo_status dfoi_target_moons(dfo_named_target *t, const char *text)
{
    (void)text;
    t->target.d = 2;
    t->target.log_prob = moons;
    t->log_normaliser = 0.8042144486322;       /* by quadrature */
    return DFO_OK;
}

/* ---- eight-schools */

#define SCHOOLS 8

static dfo_status schools(const dfo_target *target, size_t n, const double *x, double *out, double *g)
{
    static const double y[SCHOOLS] = {28, 8, -3, 7, -1, 1, 18, 12}, s[SCHOOLS] = {15, 10, 16, 11, 9, 11, 10, 18};
    size_t d = target->d;
    for (size_t i = 0; i < n; i++) {
        const double *row = x + i * d;
        double mu = row[0], log_tau = row[1], tau = exp(log_tau), heavy = tau * tau / 25, pull = 0, spread = 0;
        double sum = -0.5 * (mu * mu / 25 + DFOI_LOG_2PI) - log(5) + log(2 / (5 * PI)) - log1p(heavy) + log_tau;
        for (size_t j = 0; j < SCHOOLS; j++) {
            double eta = row[2 + j], off = (y[j] - mu - tau * eta) / s[j];
            sum -= 0.5 * (off * off + eta * eta) + log(s[j]) + DFOI_LOG_2PI;
            pull += off / s[j];
            spread += off / s[j] * eta;
            if (g)
                g[i * d + 2 + j] = off / s[j] * tau - eta;
        }
        out[i] = isfinite(sum) ? sum : -INFINITY;          /* tau beyond numbers */
        if (g) {
            g[i * d] = pull - mu / 25;
            g[i * d + 1] = spread * tau - 2 * heavy / (1 + heavy) + 1;
        }
    }
    return DFO_OK;
}

dfo_status dfoi_target_schools(dfo_named_target *t, const char *text)
{
    char name[16];
    (void)text;
    t->target.d = 2 + SCHOOLS;
    t->target.log_prob = schools;
    t->log_normaliser = -31.31134735229279;    /* by quadrature over log tau: mu and eta are normal given it */
    DFO_TRY(dfoi_target_column(t, 0, "mu"));
    DFO_TRY(dfoi_target_column(t, 1, "log_tau"));
    for (int j = 0; j < SCHOOLS; j++) {
        snprintf(name, sizeof name, "eta%d", j + 1);
        DFO_TRY(dfoi_target_column(t, 2 + (size_t)j, name));
    }
    return DFO_OK;
}
