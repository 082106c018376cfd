/* Kernels of expansions over inducing points; see kernel_kern_impl.h.  Distances are sums of squared differences, not
 * |u|^2 + |v|^2 - 2 u v: that form loses the digits of r where a row is close to a point, as all are that the points were
 * taken from.  Where r = 0 Matern's 1/2 has no slope and counts with 0.  */
#include <string.h>

#include "math/fun_impl.h"
#include "math/gemm_impl.h"
#include "nn/panel_sum_impl.h"
#include "nn/kernel_kern_impl.h"

#define LOOP _Pragma("GCC ivdep") for (size_t i = 0; i < DFO_PANEL; i++)
#define EACH _Pragma("GCC ivdep") for (size_t i = 0; i < n; i++)
#define ROOT_3 ((dfo_real)1.7320508075688772935)
#define ROOT_5 ((dfo_real)2.2360679774997896964)
#define FAR ((dfo_real)1000)              /* exp(-FAR) is 0 in either precision */

static void distances(size_t in, size_t points, const dfo_real *v, const dfo_real *u, dfo_real *q)
{
    for (size_t n = 0; n < points; n++, v += in, q += DFO_PANEL) {
        dfo_real total[DFO_PANEL] = {0};
        for (size_t j = 0; j < in; j++) {
            const dfo_real *row = u + j * DFO_PANEL;
            LOOP total[i] += (row[i] - v[j]) * (row[i] - v[j]);
        }
        memcpy(q, total, sizeof total);
    }
}

static void tangents(size_t in, size_t points, const dfo_real *v, const dfo_real *u, const dfo_real *du, dfo_real *dq)
{
    for (size_t n = 0; n < points; n++, v += in, dq += DFO_PANEL) {
        dfo_real total[DFO_PANEL] = {0};
        for (size_t j = 0; j < in; j++) {
            const dfo_real *row = u + j * DFO_PANEL, *drow = du + j * DFO_PANEL;
            LOOP total[i] += (row[i] - v[j]) * drow[i];
        }
        LOOP dq[i] = 2 * total[i];
    }
}

/* r, no further than where k is 0.  */
static inline dfo_real distance(dfo_real q)
{
    dfo_real r = dfoi_sqrt(q);
    return r > FAR ? FAR : r;
}

static inline dfo_real matern_32(dfo_real q)
{
    dfo_real s = ROOT_3 * distance(q);
    return (1 + s) * dfoi_fun_exp(-s);
}

static inline dfo_real matern_52(dfo_real q)
{
    dfo_real s = ROOT_5 * distance(q);
    return (1 + s + s * s / 3) * dfoi_fun_exp(-s);
}

static void value(dfoi_kernel_kind kind, size_t n, const dfo_real *q, dfo_real *k)
{
    if (kind == DFOI_SQUARED_EXPONENTIAL)
        EACH k[i] = dfoi_fun_exp((dfo_real)-0.5 * q[i]);
    else if (kind == DFOI_MATERN_12)
        EACH k[i] = dfoi_fun_exp(-distance(q[i]));
    else if (kind == DFOI_MATERN_32)
        EACH k[i] = matern_32(q[i]);
    else
        EACH k[i] = matern_52(q[i]);
}

/* dk/dq.  */
static inline dfo_real first_squared(dfo_real q)
{
    return (dfo_real)-0.5 * dfoi_fun_exp((dfo_real)-0.5 * q);
}

static inline dfo_real first_12(dfo_real q)
{
    dfo_real r = distance(q), slope = (dfo_real)-0.5 * dfoi_fun_exp(-r) / r;
    return q == 0 ? 0 : slope;
}

static inline dfo_real first_32(dfo_real q)
{
    return (dfo_real)-1.5 * dfoi_fun_exp(-ROOT_3 * distance(q));
}

static inline dfo_real first_52(dfo_real q)
{
    dfo_real s = ROOT_5 * distance(q);
    return (dfo_real)(-5.0 / 6) * (1 + s) * dfoi_fun_exp(-s);
}

static void slope(dfoi_kernel_kind kind, size_t n, const dfo_real *q, const dfo_real *dq, dfo_real *dk)
{
    if (kind == DFOI_SQUARED_EXPONENTIAL)
        EACH dk[i] = first_squared(q[i]) * dq[i];
    else if (kind == DFOI_MATERN_12)
        EACH dk[i] = first_12(q[i]) * dq[i];
    else if (kind == DFOI_MATERN_32)
        EACH dk[i] = first_32(q[i]) * dq[i];
    else
        EACH dk[i] = first_52(q[i]) * dq[i];
}

/* d2k/dq2.  */
static inline dfo_real second_12(dfo_real q)
{
    dfo_real r = distance(q), bend = (dfo_real)0.25 * dfoi_fun_exp(-r) * (1 + 1 / r) / (r * r);
    return q == 0 ? 0 : bend;
}

static inline dfo_real second_32(dfo_real q)
{
    dfo_real r = distance(q), bend = (dfo_real)0.75 * ROOT_3 * dfoi_fun_exp(-ROOT_3 * r) / r;
    return q == 0 ? 0 : bend;
}

static inline dfo_real second_52(dfo_real q)
{
    return (dfo_real)(25.0 / 12) * dfoi_fun_exp(-ROOT_5 * distance(q));
}

#define SECOND(first, bend)                                                        \
    EACH {                                                                         \
        dfo_real d1 = first, d2 = bend;                                            \
        w[i] = 2 * (g[i] * d1 + gd[i] * d2 * dq[i]);                               \
        wd[i] = 2 * gd[i] * d1;                                                    \
    }

static void second(dfoi_kernel_kind kind, size_t n, const dfo_real *q, const dfo_real *dq, const dfo_real *g,
                   const dfo_real *gd, dfo_real *w, dfo_real *wd)
{
    if (kind == DFOI_SQUARED_EXPONENTIAL)
        SECOND(first_squared(q[i]), (dfo_real)-0.5 * d1)
    else if (kind == DFOI_MATERN_12)
        SECOND(first_12(q[i]), second_12(q[i]))
    else if (kind == DFOI_MATERN_32)
        SECOND(first_32(q[i]), second_32(q[i]))
    else
        SECOND(first_52(q[i]), second_52(q[i]))
}

static void pull(size_t in, size_t points, const dfo_real *v, const dfo_real *u, const dfo_real *w, dfo_real *gu,
                 dfo_real *gv)
{
    for (size_t n = 0; n < points; n++, v += in, w += DFO_PANEL)
        for (size_t j = 0; j < in; j++) {
            const dfo_real *row = u + j * DFO_PANEL;
            dfo_real *to = gu + j * DFO_PANEL, part[DFO_PANEL];
            LOOP {
                part[i] = w[i] * (row[i] - v[j]);
                to[i] += part[i];
            }
            if (gv)
                gv[n * in + j] -= dfoi_panel_sum(part);
        }
}

static void pull_tangent(size_t in, size_t points, const dfo_real *du, const dfo_real *wd, dfo_real *gu, dfo_real *gv)
{
    for (size_t n = 0; n < points; n++, wd += DFO_PANEL)
        for (size_t j = 0; j < in; j++) {
            const dfo_real *row = du + j * DFO_PANEL;
            dfo_real *to = gu + j * DFO_PANEL, part[DFO_PANEL];
            LOOP {
                part[i] = wd[i] * row[i];
                to[i] += part[i];
            }
            if (gv)
                gv[n * in + j] -= dfoi_panel_sum(part);
        }
}

const struct dfoi_kernel_kernels DFOI_TABLE(dfoi_kernel_kernels) = {
    .distances = distances,
    .tangents = tangents,
    .value = value,
    .slope = slope,
    .second = second,
    .pull = pull,
    .pull_tangent = pull_tangent,
};
