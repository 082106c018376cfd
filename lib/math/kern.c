/* Elementwise functions and sums; compiled per instruction set (see isa_impl.h).  Sums keep 16 lanes
 * in double (element i goes to lane i mod 16) and add the lanes in a fixed tree, so that every
 * instruction set gives the same bits.  */
#include "math/fun_impl.h"
#include "math/kern_table.h"

#define LANES 16

#define ELEMENTWISE(name, function)                              \
    static void name(size_t n, const dfo_real *x, dfo_real *y)   \
    {                                                            \
        _Pragma("GCC ivdep")                                     \
        for (size_t i = 0; i < n; i++)                           \
            y[i] = function(x[i]);                               \
    }
ELEMENTWISE(vexp, dfoi_fun_exp)
ELEMENTWISE(vlog, dfoi_fun_log)
ELEMENTWISE(vtanh, dfoi_fun_tanh)
ELEMENTWISE(vsigmoid, dfoi_fun_sigmoid)
ELEMENTWISE(vsoftplus, dfoi_fun_softplus)

static void vsincos2pi(size_t n, const dfo_real *x, dfo_real *s, dfo_real *c)
{
#pragma GCC ivdep
    for (size_t i = 0; i < n; i++) {
        dfo_real sine, cosine;
        dfoi_fun_sincos2pi(x[i], &sine, &cosine);
        s[i] = sine;
        c[i] = cosine;
    }
}

static double tree(double lane[LANES])
{
    for (size_t half = LANES / 2; half; half /= 2)
        for (size_t l = 0; l < half; l++)
            lane[l] += lane[l + half];
    return lane[0];
}

/* lane[i mod 16] += term(i), i < n */
#define SUM_LANES(term)                                          \
    double lane[LANES] = {0};                                    \
    size_t whole = n / LANES * LANES;                            \
    for (size_t at = 0; at < whole; at += LANES)                 \
        for (size_t l = 0; l < LANES; l++) {                     \
            size_t i = at + l;                                   \
            lane[l] += (term);                                   \
        }                                                        \
    for (size_t i = whole; i < n; i++)                           \
        lane[i - whole] += (term);                               \
    return tree(lane)

static double sum(size_t n, const dfo_real *x)
{
    SUM_LANES((double)x[i]);
}

static double dot(size_t n, const dfo_real *x, const dfo_real *y)
{
    SUM_LANES((double)x[i] * (double)y[i]);
}

static double sum_squares(size_t n, const dfo_real *x)
{
    SUM_LANES((double)x[i] * (double)x[i]);
}

/* The larger one; NaN if either is.  */
static inline dfo_real larger(dfo_real a, dfo_real most)
{
    return (a > most) | (a != a) ? a : most;
}

static double max_lanes(dfo_real lane[LANES])
{
    for (size_t l = 1; l < LANES; l++)
        lane[0] = larger(lane[l], lane[0]);
    return (double)lane[0];
}

#define MAX_LANES(term)                                          \
    dfo_real lane[LANES] = {0};                                  \
    size_t whole = n / LANES * LANES;                            \
    for (size_t at = 0; at < whole; at += LANES)                 \
        for (size_t l = 0; l < LANES; l++) {                     \
            size_t i = at + l;                                   \
            lane[l] = larger(dfoi_fabs(term), lane[l]);          \
        }                                                        \
    for (size_t i = whole; i < n; i++)                           \
        lane[i - whole] = larger(dfoi_fabs(term), lane[i - whole]); \
    return max_lanes(lane)

static double max_abs(size_t n, const dfo_real *x)
{
    MAX_LANES(x[i]);
}

static double max_abs_diff(size_t n, const dfo_real *x, const dfo_real *y)
{
    MAX_LANES(x[i] - y[i]);
}

static int all_finite(size_t n, const dfo_real *x)
{
    const dfoi_bits mask = dfoi_to_bits(DFOI_INF);
    dfoi_bits bad = 0;
    for (size_t i = 0; i < n; i++)
        bad |= (dfoi_bits)((dfoi_to_bits(x[i]) & mask) == mask);
    return !bad;
}

static void axpy(size_t n, dfo_real a, const dfo_real *x, dfo_real *y)
{
#pragma GCC ivdep
    for (size_t i = 0; i < n; i++)
        y[i] += a * x[i];
}

static void add(size_t n, const dfo_real *x, dfo_real *y)
{
#pragma GCC ivdep
    for (size_t i = 0; i < n; i++)
        y[i] += x[i];
}

static void scale(size_t n, dfo_real a, dfo_real *x)
{
    for (size_t i = 0; i < n; i++)
        x[i] *= a;
}

const struct dfoi_kernels DFOI_TABLE(dfoi_kernels) = {DFOI_KERN_LIST(DFOI_FILL)};
