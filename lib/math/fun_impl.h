/* Branch-free scalar functions for loops that the compiler vectorises: only +, -, *, /, compares and
 * bit operations, no fused multiply-add, so that every instruction set gives the same bits.
 * Both precisions: exp, log within 1 ulp, the others within 3 (tests/check_math.c).  Exact limits at
 * +-inf; NaN stays NaN; subnormals are honoured.  Put `#pragma GCC ivdep` before loops that work in
 * place.  Method: Cody and Waite's reduction, polynomials interpolated at Chebyshev nodes;
 * the double logarithm is the series of fdlibm in s = f/(2+f).  Private.  */
#ifndef DFOI_FUN_IMPL_H
#define DFOI_FUN_IMPL_H

#include <float.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include "base/real_impl.h"

#ifdef DFO_DOUBLE
typedef uint64_t dfoi_bits;
#define DFOI_C(f, d) (d)                  /* a constant of either precision */
#define DFOI_MANTISSA 52
#define DFOI_BIAS 1023
#define DFOI_MAGIC 6755399441055744.0     /* 1.5 * 2^52: adding it rounds to an integer */
#define DFOI_SQRT_HALF UINT64_C(0x3fe6a09e667f3bcd)
#else
typedef uint32_t dfoi_bits;
#define DFOI_C(f, d) (f)
#define DFOI_MANTISSA 23
#define DFOI_BIAS 127
#define DFOI_MAGIC 12582912.0f            /* 1.5 * 2^23 */
#define DFOI_SQRT_HALF UINT32_C(0x3f3504f3)
#endif
#define DFOI_INF ((dfo_real)INFINITY)
#define DFOI_NAN ((dfo_real)NAN)
#define DFOI_TINY DFOI_C(FLT_MIN, DBL_MIN)
#define DFOI_SIGN ((dfoi_bits)1 << (8 * sizeof(dfo_real) - 1))

static inline dfoi_bits dfoi_to_bits(dfo_real x)
{
    dfoi_bits b;
    memcpy(&b, &x, sizeof b);
    return b;
}

static inline dfo_real dfoi_from_bits(dfoi_bits b)
{
    dfo_real x;
    memcpy(&x, &b, sizeof x);
    return x;
}

static inline dfo_real dfoi_fabs(dfo_real x)
{
    return DFOI_C(__builtin_fabsf, __builtin_fabs)(x);
}

static inline dfo_real dfoi_sqrt(dfo_real x)
{
    return DFOI_C(__builtin_sqrtf, __builtin_sqrt)(x);
}

/* |x| with the sign of s.  */
static inline dfo_real dfoi_signed(dfo_real x, dfo_real s)
{
    return dfoi_from_bits((dfoi_to_bits(x) & ~DFOI_SIGN) | (dfoi_to_bits(s) & DFOI_SIGN));
}

/* 2^n for t = n + DFOI_MAGIC, n an integer in the exponent's range.  */
static inline dfo_real dfoi_pow2(dfo_real t)
{
    return dfoi_from_bits((dfoi_to_bits(t) << DFOI_MANTISSA) + ((dfoi_bits)DFOI_BIAS << DFOI_MANTISSA));
}

/* x = n ln 2 + r, |r| <= ln 2 / 2; returns (e^r - 1), *t = n + DFOI_MAGIC.  */
static inline dfo_real dfoi_exp_core(dfo_real x, dfo_real *t)
{
    *t = x * DFOI_C(1.44269504f, 1.4426950408889634074) + DFOI_MAGIC;
    dfo_real n = *t - DFOI_MAGIC;
    dfo_real r = x - n * DFOI_C(0.693359375f, 6.93147180369123816490e-01);
    r -= n * DFOI_C(-2.12194440e-4f, 1.90821492927058770002e-10);
    dfo_real r2 = r * r;
#ifdef DFO_DOUBLE
    dfo_real r4 = r2 * r2;
    dfo_real q0 = (0.5 + 0.16666666666666671438 * r) + r2 * (0.041666666666666670074 + 0.0083333333333255446996 * r);
    dfo_real q1 = (0.0013888888888883326674 + 0.00019841269876864354929 * r) +
                  r2 * (0.000024801587327007186731 + 2.7557252833516909748e-6 * r);
    dfo_real q2 = (2.7557271810219799569e-7 + 2.5106274733573294687e-8 * r) + r2 * 2.0915442297780115216e-9;
    dfo_real q = q0 + r4 * (q1 + r4 * q2);
#else
    dfo_real q0 = 0.5f + 0.16666666682534356071f * r;
    dfo_real q1 = 0.041666456809677876034f + 0.0083333100242252924299f * r;
    dfo_real q2 = 0.0013934541928270264477f + 0.00019891981313977690212f * r;
    dfo_real q = q0 + r2 * (q1 + r2 * q2);
#endif
    return r + r2 * q;
}

static inline dfo_real dfoi_fun_exp(dfo_real x)
{
    const dfo_real low = DFOI_C(-105.0f, -746.0), high = DFOI_C(89.0f, 710.0);
    dfo_real c = x < low ? low : x;
    c = c > high ? high : c;
    dfo_real t;
    dfo_real p = (dfo_real)1 + dfoi_exp_core(c, &t);
    /* 2^n in two factors: n = 128 and the subnormals lie outside one factor's range */
    dfo_real t1 = (t - DFOI_MAGIC) * (dfo_real)0.5 + DFOI_MAGIC;
    dfo_real t2 = (t - DFOI_MAGIC) - (t1 - DFOI_MAGIC) + DFOI_MAGIC;
    return p * dfoi_pow2(t1) * dfoi_pow2(t2);
}

/* e^x for x <= 0, the same bits: 2^n in one factor that is never out of range, and a constant.  */
static inline dfo_real dfoi_fun_exp_negative(dfo_real x)
{
    const dfo_real low = DFOI_C(-105.0f, -746.0), up = DFOI_C(64, 512), down = DFOI_C(0x1p-64f, 0x1p-512);
    dfo_real t;
    dfo_real p = (dfo_real)1 + dfoi_exp_core(x < low ? low : x, &t);
    return p * dfoi_pow2(t + up) * down;
}

/* e^x - 1 for x <= 0, accurate near 0.  */
static inline dfo_real dfoi_fun_expm1_negative(dfo_real x)
{
    const dfo_real low = DFOI_C(-30.0f, -60.0);
    dfo_real t;
    dfo_real p = dfoi_exp_core(x < low ? low : x, &t);
    dfo_real s = dfoi_pow2(t);
    return s * p + (s - (dfo_real)1);
}

/* log(1 + f) + n ln 2 for 1 + f in [sqrt(1/2), sqrt(2)].  */
static inline dfo_real dfoi_log_core(dfo_real f, dfo_real n)
{
    dfo_real h = (dfo_real)0.5 * f * f;
#ifdef DFO_DOUBLE
    dfo_real s = f / (2.0 + f);
    dfo_real z = s * s, z2 = z * z;
    dfo_real q0 = 0.6666666666666669773 + 0.39999999999897028217 * z;
    dfo_real q1 = 0.28571428627096444411 + 0.22222210952175509969 * z;
    dfo_real q2 = 0.18182902404129661178 + 0.15331281094185633851 * z;
    dfo_real q = q0 + z2 * (q1 + z2 * (q2 + z2 * 0.14621883669496514399));
    return n * 6.93147180369123816490e-01 - ((h - (s * (h + q * z) + n * 1.90821492927058770002e-10)) - f);
#else
    dfo_real f2 = f * f, f4 = f2 * f2;
    dfo_real q0 = (0.33333331121880150518f - 0.24999996626939480931f * f) +
                  f2 * (0.20000730503852239003f - 0.16667850972851766368f * f);
    dfo_real q1 = (0.14248551264361468965f - 0.12424037717650197427f * f) +
                  f2 * (0.11689071137457869152f - 0.1149454661289021927f * f);
    dfo_real q = q0 + f4 * (q1 + f4 * 0.069807019586649741938f);
    return n * 0.693359375f + (f - (h - (f2 * f * q + n * -2.12194440e-4f)));
#endif
}

/* x = (1 + f) 2^n with 1 + f in [sqrt(1/2), sqrt(2)), for normal x > 0.  */
static inline void dfoi_log_split(dfo_real x, dfo_real *f, dfo_real *n)
{
    const dfo_real up = DFOI_C(8388608.0f, 4503599627370496.0);       /* 2^mantissa */
    const dfoi_bits one = (dfoi_bits)1 << DFOI_MANTISSA;
    dfoi_bits i = dfoi_to_bits(x) - DFOI_SQRT_HALF;
    *f = dfoi_from_bits((i & (one - 1)) + DFOI_SQRT_HALF) - (dfo_real)1;
    /* the exponent, made a real by the bits of 2^mantissa */
    dfoi_bits e = (i + (dfoi_bits)(DFOI_BIAS + 1) * one) >> DFOI_MANTISSA;
    *n = dfoi_from_bits(e | dfoi_to_bits(up)) - up - (dfo_real)(DFOI_BIAS + 1);
}

static inline dfo_real dfoi_fun_log(dfo_real x)
{
    const dfo_real up = DFOI_C(8388608.0f, 4503599627370496.0);
    dfo_real scaled = x < DFOI_TINY ? x * up : x;
    dfo_real n0 = x < DFOI_TINY ? (dfo_real)-DFOI_MANTISSA : (dfo_real)0;
    dfo_real f, n;
    dfoi_log_split(scaled, &f, &n);
    dfo_real y = dfoi_log_core(f, n + n0);
    y = x > DFO_REAL_MAX ? x : y;
    y = x == 0 ? -DFOI_INF : y;
    return x >= 0 ? y : DFOI_NAN;
}

/* log(1 + x) for 0 <= x <= 1, accurate near 0.  */
static inline dfo_real dfoi_fun_log1p_unit(dfo_real x)
{
    int big = x > (dfo_real)0.41421356;
    dfo_real f = big ? (x - (dfo_real)1) * (dfo_real)0.5 : x;
    return dfoi_log_core(f, big ? (dfo_real)1 : (dfo_real)0);
}

static inline dfo_real dfoi_fun_tanh(dfo_real x)
{
    dfo_real t = dfoi_fun_expm1_negative((dfo_real)-2 * dfoi_fabs(x));
    return dfoi_signed(t / ((dfo_real)2 + t), x);
}

static inline dfo_real dfoi_fun_sigmoid(dfo_real x)
{
    dfo_real e = dfoi_fun_exp_negative(-dfoi_fabs(x));
    return (x < 0 ? e : (dfo_real)1) / ((dfo_real)1 + e);
}

static inline dfo_real dfoi_fun_softplus(dfo_real x)
{
    return (x > 0 ? x : (dfo_real)0) + dfoi_fun_log1p_unit(dfoi_fun_exp_negative(-dfoi_fabs(x)));
}

/* Sine and cosine of 2 pi (quarter/4 + r), |r| <= 1/8.  */
static inline void dfoi_sincos_core(dfoi_bits quarter, dfo_real r, dfo_real *s, dfo_real *c)
{
    dfo_real z = r * r;
    dfo_real z2 = z * z;
#ifdef DFO_DOUBLE
    dfo_real a0 = -41.341702240399635462 + 81.605249275947399838 * z;
    dfo_real a1 = -76.705859704079480716 + 42.058684993423844807 * z;
    dfo_real a2 = -15.093802537781872807 + 3.7808300639822999234 * z;
    dfo_real a = (z * (a0 + z2 * (a1 + z2 * a2))) * r + 6.283185307179586457 * r;
    dfo_real b0 = -19.739208802178716987 + 64.939394022667955523 * z;
    dfo_real b1 = -85.456817206521857041 + 60.244641328695323711 * z;
    dfo_real b2 = -26.426250891022193653 + 7.9030908007717028545 * z;
    dfo_real b = b0 + z2 * (b1 + z2 * (b2 + z2 * -1.6968320130156793261));
#else
    dfo_real a0 = -41.341702153047217462f + 81.605204577636744315f * z;
    dfo_real a1 = -76.697850423245642605f + 41.472251141419129026f * z;
    dfo_real a = (z * (a0 + z2 * a1) + -1.7484556e-07f) * r + 6.2831855f * r;      /* 2 pi in two parts */
    dfo_real b0 = -19.739208649523260412f + 64.939315902681799512f * z;
    dfo_real b1 = -85.442816854217472572f + 59.219152261314265955f * z;
    dfo_real b = b0 + z2 * b1;
#endif
    b = b * z + (dfo_real)1;
    int odd = (quarter & 1) != 0;
    dfo_real sine = odd ? b : a, cosine = odd ? a : b;
    dfoi_bits flip_s = (quarter & 2) << (8 * sizeof(dfo_real) - 2);
    dfoi_bits flip_c = ((quarter + 1) & 2) << (8 * sizeof(dfo_real) - 2);
    *s = dfoi_from_bits(dfoi_to_bits(sine) ^ flip_s);
    *c = dfoi_from_bits(dfoi_to_bits(cosine) ^ flip_c);
}

/* *s = sin(2 pi x), *c = cos(2 pi x), 0 <= x <= 1.  */
static inline void dfoi_fun_sincos2pi(dfo_real x, dfo_real *s, dfo_real *c)
{
    dfo_real t = x * (dfo_real)4 + DFOI_MAGIC;
    dfo_real r = x - (t - DFOI_MAGIC) * (dfo_real)0.25;      /* exact */
    dfoi_sincos_core(dfoi_to_bits(t), r, s, c);
}

#endif
