/* Activations with first and second derivatives; compiled per instruction set (see isa_impl.h).
 *   relu max(a, 0);  leaky relu slope 0.01;  elu a or e^a - 1;  gelu a Phi(a) (exact form);
 *   silu a sigmoid(a);  tanh;  softplus log(1 + e^a);  sigmoid.
 * At the kink a = 0 derivatives are those of the left side.  NaN goes through every one of them.  */
#include "math/fun_impl.h"
#include "math/kern_table.h"


/* phi = density, Phi = distribution function of the standard normal at a.  Phi(-x) = e^(-x^2/2) H(t)
 * / (x + 4), t = (x-4)/(x+4), x >= 0: a polynomial fitted for this library, good to rounding over the
 * whole half line.  */
static inline void normal(dfo_real a, dfo_real *phi, dfo_real *Phi)
{
    dfo_real x = dfoi_fabs(a);
    x = x > (dfo_real)64 ? (dfo_real)64 : x;
    dfo_real over = (dfo_real)1 / (x + (dfo_real)4);
    dfo_real t = (x - (dfo_real)4) * over;
#ifdef DFO_DOUBLE
    static const double h[] = {
        0.75528513041575147471, -0.60789664197189328069, 0.38713740074222076993,
        -0.18652185795955316726, 0.060396574890603067295, -0.0075401889694859120649,
        -0.0034796923605753854056, 0.0016308184918042038133, 0.00013334424178890332416,
        -0.00023109517480644204928, -1.9078344018301472618e-6, 0.000035145732318885953815,
        7.1508162735512192221e-7, -5.9231793931563478219e-6, -6.258878425467574496e-7,
        1.0273799700480780333e-6, 2.6589991764546216193e-7, -1.6256772825351554191e-7,
        -7.9689436773679928606e-8, 1.9729140476064465347e-8, 1.6465200049443714449e-8,
        -1.3096583930103902608e-9, -1.7641378016180030587e-9};
#else
    static const float h[] = {
        0.75528513024262148095f, -0.60789664013146897873f, 0.38713741043802330497f,
        -0.18652197553274381786f, 0.060396491180671272829f, -0.0075388054368136865499f,
        -0.0034794421553124749766f, 0.0016246674750990778312f, 0.00013297985562425822044f,
        -0.00021835194308081687218f, -1.424497008751019845e-6f, 0.000022251992962697766557f};
#endif
    enum { TERMS = sizeof h / sizeof h[0] };
    dfo_real t2 = t * t, even = 0, odd = 0;              /* two short chains instead of a long one */
#pragma GCC unroll 12
    for (int j = (TERMS - 1) / 2; j >= 0; j--) {
        even = even * t2 + h[2 * j];
        odd = odd * t2 + (2 * j + 1 < TERMS ? h[2 * j + 1] : 0);
    }
    dfo_real p = even + t * odd;
    dfo_real e = dfoi_fun_exp((dfo_real)-0.5 * x * x);
    dfo_real tail = e * p * over;
    *phi = (dfo_real)0.398942280401432677940 * e;
    *Phi = a > 0 ? (dfo_real)1 - tail : tail;
}

static inline dfo_real relu(dfo_real a)
{
    return a < 0 ? (dfo_real)0 : a;
}

static inline dfo_real leaky(dfo_real a)
{
    return a < 0 ? DFOI_LEAK * a : a;
}

static inline dfo_real elu(dfo_real a)
{
    dfo_real e = dfoi_fun_expm1_negative(a > 0 ? (dfo_real)0 : a);
    return a > 0 ? a : e;
}

static inline dfo_real gelu(dfo_real a)
{
    dfo_real phi, Phi;
    normal(a, &phi, &Phi);
    dfo_real y = a * Phi;
    return a < (dfo_real)-64 ? (dfo_real)0 : y;       /* not -inf * 0 */
}

static inline dfo_real silu(dfo_real a)
{
    dfo_real y = a * dfoi_fun_sigmoid(a);
    return a < -DFO_REAL_MAX ? (dfo_real)0 : y;
}

#define RUN(expression)                          \
    do {                                         \
        _Pragma("GCC ivdep")                     \
        for (size_t i = 0; i < n; i++)           \
            (expression);                        \
    } while (0)

static void vact(dfoi_act act, size_t n, const dfo_real *a, dfo_real *y)
{
    switch (act) {
    case DFOI_ACT_RELU:       RUN(y[i] = relu(a[i])); break;
    case DFOI_ACT_LEAKY_RELU: RUN(y[i] = leaky(a[i])); break;
    case DFOI_ACT_ELU:        RUN(y[i] = elu(a[i])); break;
    case DFOI_ACT_GELU:       RUN(y[i] = gelu(a[i])); break;
    case DFOI_ACT_SILU:       RUN(y[i] = silu(a[i])); break;
    case DFOI_ACT_TANH:       RUN(y[i] = dfoi_fun_tanh(a[i])); break;
    case DFOI_ACT_SOFTPLUS:   RUN(y[i] = dfoi_fun_softplus(a[i])); break;
    case DFOI_ACT_SIGMOID:    RUN(y[i] = dfoi_fun_sigmoid(a[i])); break;
    default:                  RUN(y[i] = a[i]); break;
    }
}

/* First derivatives; from the output y where that suffices.  */
static inline dfo_real elu_slope(dfo_real y)
{
    return y > 0 ? (dfo_real)1 : y + (dfo_real)1;
}

static inline dfo_real softplus_slope(dfo_real y)
{
    return -dfoi_fun_expm1_negative(-y);
}

static inline void gelu_slopes(dfo_real a, dfo_real *d1, dfo_real *d2)
{
    dfo_real phi, Phi;
    normal(a, &phi, &Phi);
    dfo_real c = a < (dfo_real)-64 ? (dfo_real)-64 : a;
    c = c > (dfo_real)64 ? (dfo_real)64 : c;          /* phi is 0 there: not inf * 0 */
    *d1 = Phi + c * phi;
    *d2 = phi * ((dfo_real)2 - c * c);
}

/* sigmoid(a) and sigmoid(-a) = 1 - sigmoid(a), without cancellation, by one division.  */
static inline void sigmoids(dfo_real a, dfo_real *s, dfo_real *r)
{
    dfo_real e = dfoi_fun_exp_negative(-dfoi_fabs(a)), large = (dfo_real)1 / ((dfo_real)1 + e), small = e * large;
    *s = a < 0 ? small : large;
    *r = a < 0 ? large : small;
}

static inline void silu_slopes(dfo_real a, dfo_real *d1, dfo_real *d2)
{
    const dfo_real far = DFOI_C(200.0f, 1000.0);
    dfo_real c = a < -far ? -far : a;
    c = c > far ? far : c;
    dfo_real s, r;
    sigmoids(c, &s, &r);
    *d1 = s * ((dfo_real)1 + c * r);
    *d2 = s * r * ((dfo_real)2 + c * (r - s));
}

static inline dfo_real gelu_slope(dfo_real a)
{
    dfo_real d1, d2;
    gelu_slopes(a, &d1, &d2);
    return d1;
}

static inline dfo_real silu_slope(dfo_real a)
{
    dfo_real d1, d2;
    silu_slopes(a, &d1, &d2);
    return d1;
}

static void vdact(dfoi_act act, size_t n, const dfo_real *a, const dfo_real *y, dfo_real *g)
{
    switch (act) {
    case DFOI_ACT_RELU:       RUN(g[i] = y[i] > 0 ? g[i] : (dfo_real)0); break;
    case DFOI_ACT_LEAKY_RELU: RUN(g[i] *= y[i] > 0 ? (dfo_real)1 : DFOI_LEAK); break;
    case DFOI_ACT_ELU:        RUN(g[i] *= elu_slope(y[i])); break;
    case DFOI_ACT_GELU:       RUN(g[i] *= gelu_slope(a[i])); break;
    case DFOI_ACT_SILU:       RUN(g[i] *= silu_slope(a[i])); break;
    case DFOI_ACT_TANH:       RUN(g[i] *= (dfo_real)1 - y[i] * y[i]); break;
    case DFOI_ACT_SOFTPLUS:   RUN(g[i] *= softplus_slope(y[i])); break;
    case DFOI_ACT_SIGMOID:    RUN(g[i] *= y[i] * ((dfo_real)1 - y[i])); break;
    default:                  break;
    }
}

static inline void tanh_slopes(dfo_real a, dfo_real *d1, dfo_real *d2)
{
    dfo_real y = dfoi_fun_tanh(a);
    *d1 = (dfo_real)1 - y * y;
    *d2 = (dfo_real)-2 * y * *d1;
}

static inline void sigmoid_slopes(dfo_real a, dfo_real *d1, dfo_real *d2)
{
    dfo_real s, r;
    sigmoids(a, &s, &r);
    *d1 = s * r;
    *d2 = s * r * (r - s);
}

static inline void softplus_slopes(dfo_real a, dfo_real *d1, dfo_real *d2)
{
    *d1 = dfoi_fun_sigmoid(a);
    *d2 = *d1 * dfoi_fun_sigmoid(-a);
}

static inline void elu_slopes(dfo_real a, dfo_real *d1, dfo_real *d2)
{
    dfo_real e = dfoi_fun_exp(a > 0 ? (dfo_real)0 : a);
    *d1 = e;
    *d2 = a > 0 ? (dfo_real)0 : e;
}

#define RUN_SLOPES(function)                     \
    do {                                         \
        _Pragma("GCC ivdep")                     \
        for (size_t i = 0; i < n; i++) {         \
            dfo_real s1, s2;                     \
            function(a[i], &s1, &s2);            \
            d1[i] = s1;                          \
            d2[i] = s2;                          \
        }                                        \
    } while (0)

static void vact_derivatives(dfoi_act act, size_t n, const dfo_real *a, dfo_real *d1, dfo_real *d2)
{
    switch (act) {
    case DFOI_ACT_RELU:       RUN((d1[i] = a[i] > 0 ? (dfo_real)1 : (dfo_real)0, d2[i] = 0)); break;
    case DFOI_ACT_LEAKY_RELU: RUN((d1[i] = a[i] > 0 ? (dfo_real)1 : DFOI_LEAK, d2[i] = 0)); break;
    case DFOI_ACT_ELU:        RUN_SLOPES(elu_slopes); break;
    case DFOI_ACT_GELU:       RUN_SLOPES(gelu_slopes); break;
    case DFOI_ACT_SILU:       RUN_SLOPES(silu_slopes); break;
    case DFOI_ACT_TANH:       RUN_SLOPES(tanh_slopes); break;
    case DFOI_ACT_SOFTPLUS:   RUN_SLOPES(softplus_slopes); break;
    case DFOI_ACT_SIGMOID:    RUN_SLOPES(sigmoid_slopes); break;
    default:                  RUN((d1[i] = 1, d2[i] = 0)); break;
    }
}

const struct dfoi_act_kernels DFOI_TABLE(dfoi_act_kernels) = {DFOI_ACT_LIST(DFOI_FILL)};
