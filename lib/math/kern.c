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

/* Bits of |x| are ordered as the numbers are, and NaN comes behind infinity.  */
#ifdef DFO_DOUBLE
typedef int64_t order;
#else
typedef int32_t order;
#endif

static inline order magnitude(dfo_real x)
{
    return (order)(dfoi_to_bits(x) & ~DFOI_SIGN);
}

static double max_abs(size_t n, const dfo_real *x)
{
    order most = 0;
    for (size_t i = 0; i < n; i++) {
        order here = magnitude(x[i]);
        most = here > most ? here : most;
    }
    return (double)dfoi_from_bits((dfoi_bits)most);
}

static double max_abs_diff(size_t n, const dfo_real *x, const dfo_real *y)
{
    order most = 0;
    for (size_t i = 0; i < n; i++) {
        order here = magnitude(x[i] - y[i]);
        most = here > most ? here : most;
    }
    return (double)dfoi_from_bits((dfoi_bits)most);
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

static void add_to(size_t n, const dfo_real *x, const dfo_real *y, dfo_real *to)
{
#pragma GCC ivdep
    for (size_t i = 0; i < n; i++)
        to[i] = x[i] + y[i];
}

static void scale(size_t n, dfo_real a, dfo_real *x)
{
    for (size_t i = 0; i < n; i++)
        x[i] *= a;
}

const struct dfoi_kernels DFOI_TABLE(dfoi_kernels) = {DFOI_KERN_LIST(DFOI_FILL)};
