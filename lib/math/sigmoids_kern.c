/* Kernels of maps made of sigmoids; see sigmoids_impl.h.  Everything is a log-sum-exp of log-sigmoids, so that the far tails,
 * where u is 0 or 1 to any precision, keep their digits:
 *   a = log u,  b = log(1 - u),    z = a - b,  log dz/dx = log du/dx - a - b.
 * The last is a difference of large numbers there: terms of du/dx are taken from those of u or 1 - u, whichever is smaller, before
 * they are summed, and what is left is as large as logs of slopes.
 * Sixteen values at a time; the shares of the components in the three sums are what gradients are made of.  */
#include <string.h>

#include "math/fun_impl.h"
#include "math/lanes_impl.h"
#include "math/sigmoids_impl.h"
#include "math/vec_impl.h"

enum { ITERATIONS = 200 };
#define EACH for (size_t k = 0; k < how->components; k++)

typedef dfoi_lanes lanes;

/* The components of sixteen values, and what they are at x.  */
struct mixture {
    lanes log_weight[DFOI_SIGMOIDS_MOST], slope[DFOI_SIGMOIDS_MOST], log_slope[DFOI_SIGMOIDS_MOST];
    lanes centre[DFOI_SIGMOIDS_MOST], shift[DFOI_SIGMOIDS_MOST];           /* t = (x - centre) slope + shift */
    lanes t[DFOI_SIGMOIDS_MOST], soft[DFOI_SIGMOIDS_MOST];                 /* log(1 + e^-|t|) */
    lanes log_up[DFOI_SIGMOIDS_MOST], log_down[DFOI_SIGMOIDS_MOST];        /* log w sigmoid(t), log w sigmoid(-t), */
    lanes log_density[DFOI_SIGMOIDS_MOST];                                 /* and of their product, see evaluate */
    lanes most_up, most_down, most_density, up, down, density;             /* the largest ones, and sums of exponentials less these */
    lanes a, b, s;                                                         /* s = log dz/dx, but for outer */
    lanes outer, add;                                                      /* z e^outer + add */
};

static void set_weights(const dfoi_sigmoids *how, struct mixture *x)
{
    lanes most, sum = {0};
    memcpy(most, x->log_weight[0], sizeof most);
    EACH LANES most[i] = dfoi_larger(most[i], x->log_weight[k][i]);
    EACH LANES sum[i] += dfoi_fun_exp(x->log_weight[k][i] - most[i]);
    LANES most[i] += dfoi_fun_log(sum[i]);
    EACH LANES x->log_weight[k][i] -= most[i];
}

static inline dfo_real outer_scale(const dfoi_sigmoids *how, dfo_real raw)
{
    return how->scale_max * dfoi_fun_tanh(raw / how->scale_max);
}

static dfo_real offset(const dfoi_sigmoids *how, size_t k)
{
    size_t most = how->components - 1;
    return most ? how->spread * ((dfo_real)(2 * k) / (dfo_real)most - 1) : 0;
}

static void set(const dfoi_sigmoids *how, size_t m, const dfo_real *par, size_t at, size_t count, struct mixture *x)
{
    size_t components = how->components;
    EACH {
        dfoi_lanes_load(par, m, k, at, count, x->log_weight[k]);
        dfoi_lanes_load(par, m, components + k, at, count, how->deep ? x->slope[k] : x->centre[k]);
        dfoi_lanes_load(par, m, 2 * components + k, at, count, how->deep ? x->shift[k] : x->log_slope[k]);
        dfo_real o = offset(how, k);
        if (how->deep) {
            LANES {
                x->centre[k][i] = o;
                x->slope[k][i] = dfoi_fun_softplus(x->slope[k][i]);
                x->log_slope[k][i] = dfoi_fun_log(x->slope[k][i]);
            }
        } else {
            LANES {
                x->centre[k][i] += o;
                x->shift[k][i] = 0;
                x->log_slope[k][i] = -x->log_slope[k][i];
                x->slope[k][i] = dfoi_fun_exp(x->log_slope[k][i]);
            }
        }
    }
    set_weights(how, x);
    memset(x->outer, 0, sizeof x->outer);
    memset(x->add, 0, sizeof x->add);
    if (how->outer) {
        dfoi_lanes_load(par, m, 3 * components, at, count, x->outer);
        dfoi_lanes_load(par, m, 3 * components + 1, at, count, x->add);
        LANES x->outer[i] = outer_scale(how, x->outer[i]);
    }
}

/* A term of du/dx is w slope sigmoid(t) sigmoid(-t); its logarithm is taken less the largest one of 1 - u, or of u where that is smaller.  */
static void evaluate(const dfoi_sigmoids *how, struct mixture *x, const dfo_real *at)
{
    LANES x->most_up[i] = x->most_down[i] = x->most_density[i] = -DFOI_INF;
    EACH LANES {
        dfo_real t = (at[i] - x->centre[k][i]) * x->slope[k][i] + x->shift[k][i], soft = dfoi_fun_log1p_unit(dfoi_fun_exp(-dfoi_fabs(t)));
        dfo_real up = x->log_weight[k][i] + dfoi_smaller(t, 0) - soft, down = x->log_weight[k][i] + dfoi_smaller(-t, 0) - soft;
        x->t[k][i] = t;
        x->soft[k][i] = soft;
        x->log_up[k][i] = up;
        x->log_down[k][i] = down;
        x->most_up[i] = dfoi_larger(x->most_up[i], up);
        x->most_down[i] = dfoi_larger(x->most_down[i], down);
    }
    EACH LANES {
        dfo_real t = x->t[k][i], up = x->log_up[k][i] - x->most_up[i] + dfoi_smaller(-t, 0);
        dfo_real down = x->log_down[k][i] - x->most_down[i] + dfoi_smaller(t, 0);
        dfo_real density = (x->most_up[i] > x->most_down[i] ? down : up) + (x->log_slope[k][i] - x->soft[k][i]);
        x->log_density[k][i] = density;
        x->most_density[i] = dfoi_larger(x->most_density[i], density);
    }
    LANES x->up[i] = x->down[i] = x->density[i] = 0;
    EACH LANES {
        x->up[i] += dfoi_fun_exp(x->log_up[k][i] - x->most_up[i]);
        x->down[i] += dfoi_fun_exp(x->log_down[k][i] - x->most_down[i]);
        x->density[i] += dfoi_fun_exp(x->log_density[k][i] - x->most_density[i]);
    }
    LANES {
        dfo_real up = dfoi_fun_log(x->up[i]), down = dfoi_fun_log(x->down[i]);
        x->a[i] = x->most_up[i] + up;
        x->b[i] = x->most_down[i] + down;
        x->s[i] = x->most_density[i] + dfoi_fun_log(x->density[i]) - (x->most_up[i] > x->most_down[i] ? down + x->a[i] : up + x->b[i]);
    }
}

/* Where the components alone would be at the logit: one of them lies on either side of the root.  */
static void bracket(const dfoi_sigmoids *how, const struct mixture *x, const dfo_real *logit, dfo_real *low, dfo_real *high)
{
    LANES low[i] = DFOI_INF;
    LANES high[i] = -DFOI_INF;
    EACH LANES {
        dfo_real place = (logit[i] - x->shift[k][i]) / x->slope[k][i] + x->centre[k][i];
        low[i] = dfoi_smaller(low[i], place);
        high[i] = dfoi_larger(high[i], place);
    }
}

/* The root of a(x) - b(x) = logit to the last digit.  */
static void solve(const dfoi_sigmoids *how, struct mixture *x, const dfo_real *logit, dfo_real *at)
{
    lanes low, high, last, open;
    bracket(how, x, logit, low, high);
    LANES {
        at[i] = (dfo_real)0.5 * (low[i] + high[i]);
        last[i] = high[i] - low[i];
        open[i] = 1;
    }
    for (size_t n = 0; n < ITERATIONS && dfoi_any_open(open, DFOI_WIDE); n++) {
        evaluate(how, x, at);
        LANES at[i] = dfoi_newton(&low[i], &high[i], &last[i], &open[i], at[i], x->a[i] - x->b[i] - logit[i],
                                  dfoi_fun_exp(x->s[i]), 1 - x->a[i] - x->b[i]);
    }
}

/* The shares of component k in the three sums.  */
struct shares {
    dfo_real up, down, density;
};

static inline struct shares shares_of(const struct mixture *x, size_t k, size_t i)
{
    return (struct shares){dfoi_fun_exp(x->log_up[k][i] - x->most_up[i]) / x->up[i],
                           dfoi_fun_exp(x->log_down[k][i] - x->most_down[i]) / x->down[i],
                           dfoi_fun_exp(x->log_density[k][i] - x->most_density[i]) / x->density[i]};
}

/* d log dz/dx / dx (outer changes nothing).  */
static void bend(const dfoi_sigmoids *how, const struct mixture *x, dfo_real *to)
{
    memset(to, 0, sizeof(lanes));
    EACH LANES {
        struct shares s = shares_of(x, k, i);
        dfo_real p = dfoi_fun_sigmoid(x->t[k][i]), q = dfoi_fun_sigmoid(-x->t[k][i]);
        to[i] += x->slope[k][i] * (s.density * (q - p) - s.up * q + s.down * p);
    }
}

/* Of g of z and gl of the log-det at `at`: g becomes that of x, and gpar is written.  */
static void gradients(const dfoi_sigmoids *how, const struct mixture *x, const dfo_real *at, dfo_real *g, const dfo_real *gl,
                      size_t m, size_t first, size_t count, dfo_real *gpar)
{
    size_t components = how->components;
    lanes up, down, gx = {0}, weight, second, third;          /* gradients of a, b and x; of component k's three */
    LANES {
        dfo_real inner = g[i] * dfoi_fun_exp(x->outer[i]);
        up[i] = inner - gl[i];
        down[i] = -inner - gl[i];
    }
    EACH {
        LANES {
            struct shares s = shares_of(x, k, i);
            dfo_real t = x->t[k][i], p = dfoi_fun_sigmoid(t), q = dfoi_fun_sigmoid(-t), slope = x->slope[k][i];
            dfo_real gt = up[i] * s.up * q - down[i] * s.down * p + gl[i] * s.density * (q - p);
            weight[i] = up[i] * s.up + down[i] * s.down + gl[i] * s.density -
                        dfoi_fun_exp(x->log_weight[k][i]) * (up[i] + down[i] + gl[i]);
            gx[i] += gt * slope;
            if (how->deep) {            /* d softplus = 1 - e^-softplus */
                dfo_real gslope = gt * (at[i] - x->centre[k][i]) + gl[i] * s.density / slope;
                second[i] = -gslope * dfoi_fun_expm1_negative(-slope);
                third[i] = gt;
            } else {
                second[i] = -gt * slope;
                third[i] = -gt * t - gl[i] * s.density;
            }
        }
        dfoi_lanes_store(gpar, m, k, first, count, weight);
        dfoi_lanes_store(gpar, m, components + k, first, count, second);
        dfoi_lanes_store(gpar, m, 2 * components + k, first, count, third);
    }
    if (how->outer) {
        LANES {
            dfo_real bound = x->outer[i] / how->scale_max;
            second[i] = (g[i] * (x->a[i] - x->b[i]) * dfoi_fun_exp(x->outer[i]) + gl[i]) * (1 - bound * bound);
        }
        dfoi_lanes_store(gpar, m, 3 * components, first, count, second);
        dfoi_lanes_store(gpar, m, 3 * components + 1, first, count, g);
    }
    memcpy(g, gx, sizeof gx);
}

/* Sixteen values' way there: x at `at` becomes z, s is log dz/dx.  */
static void there(const dfoi_sigmoids *how, struct mixture *x, dfo_real *at, dfo_real *s)
{
    evaluate(how, x, at);
    LANES {
        s[i] = x->s[i] + x->outer[i];
        at[i] = (x->a[i] - x->b[i]) * dfoi_fun_exp(x->outer[i]) + x->add[i];
    }
}

/* And back: the mixture is left at x.  */
static void back(const dfoi_sigmoids *how, struct mixture *x, dfo_real *at, dfo_real *s)
{
    lanes logit;
    LANES logit[i] = (at[i] - x->add[i]) / dfoi_fun_exp(x->outer[i]);
    solve(how, x, logit, at);
    evaluate(how, x, at);
    LANES s[i] = x->s[i] + x->outer[i];
}

#define OVER_VALUES DFOI_OVER_VALUES(nb, m, set(how, m, par + j * params * m, first, count, &now))

static void forward(const dfoi_sigmoids *how, size_t nb, size_t m, const dfo_real *par, dfo_real *x, dfo_real *ld)
{
    size_t params = dfoi_sigmoids_params(how);
    struct mixture now;
    lanes at, s;
    OVER_VALUES {
        dfoi_lanes_load(x, m, j, first, count, at);
        there(how, &now, at, s);
        dfoi_lanes_store(x, m, j, first, count, at);
        for (size_t i = 0; i < count; i++)
            ld[first + i] += s[i];
    }
}

static void inverse(const dfoi_sigmoids *how, size_t nb, size_t m, const dfo_real *par, dfo_real *z, dfo_real *ld)
{
    size_t params = dfoi_sigmoids_params(how);
    struct mixture now;
    lanes at, s;
    OVER_VALUES {
        dfoi_lanes_load(z, m, j, first, count, at);
        back(how, &now, at, s);
        dfoi_lanes_store(z, m, j, first, count, at);
        for (size_t i = 0; i < count; i++)
            ld[first + i] -= s[i];
    }
}

static void backward(const dfoi_sigmoids *how, size_t nb, size_t m, const dfo_real *par, const dfo_real *x, dfo_real *gz,
                     const dfo_real *gld, dfo_real *gpar)
{
    size_t params = dfoi_sigmoids_params(how);
    struct mixture now;
    lanes at, g, gl;
    OVER_VALUES {
        dfoi_lanes_load(x, m, j, first, count, at);
        dfoi_lanes_load(gz, m, j, first, count, g);
        dfoi_lanes_load(gld, m, 0, first, count, gl);
        evaluate(how, &now, at);
        gradients(how, &now, at, g, gl, m, first, count, gpar + j * params * m);
        dfoi_lanes_store(gz, m, j, first, count, g);
    }
}

/* x(z, w) has dx = (dz - dw z') / z', and the log-det is -s(x, w): gz = (gx - gl ds/dx) / z', and parameters have the
 * gradients of forward for -gz and -gl.  */
static void inverse_backward(const dfoi_sigmoids *how, size_t nb, size_t m, const dfo_real *par, dfo_real *x, dfo_real *gx,
                             const dfo_real *gld, dfo_real *gpar)
{
    size_t params = dfoi_sigmoids_params(how);
    struct mixture now;
    lanes at, z, s, g, gl, curve;
    OVER_VALUES {
        dfoi_lanes_load(x, m, j, first, count, at);
        dfoi_lanes_load(gx, m, j, first, count, g);
        dfoi_lanes_load(gld, m, 0, first, count, gl);
        memcpy(z, at, sizeof z);
        there(how, &now, z, s);
        bend(how, &now, curve);
        LANES {
            gl[i] = -gl[i];
            g[i] = -(g[i] + gl[i] * curve[i]) / dfoi_fun_exp(s[i]);
        }
        memcpy(s, g, sizeof s);
        gradients(how, &now, at, g, gl, m, first, count, gpar + j * params * m);
        LANES g[i] = -s[i];
        dfoi_lanes_store(x, m, j, first, count, z);
        dfoi_lanes_store(gx, m, j, first, count, g);
    }
}

/* ---- from logits to normal quantiles: Wichura 1988, algorithm AS 241 (PPND16), which in the tails takes sqrt(-log p), here
 * without p.  Its last piece ends at p = 1e-316; beyond that z^2/2 + log z + log sqrt(2 pi) - log(1 - m) = -log p, with
 * 1 - m = z p/phi(z) = 1 - 1/z^2 + 3/z^4 - 15/z^6 ... (Mills' ratio).  From TAIL on, where this series has all digits, log-dets and
 * slopes are made of it too: z^2/2 less |y| would leave none of theirs.  */

static const dfo_real middle[2][8] = {
    {(dfo_real)3.3871328727963666080e0, (dfo_real)1.3314166789178437745e2, (dfo_real)1.9715909503065514427e3,
     (dfo_real)1.3731693765509461125e4, (dfo_real)4.5921953931549871457e4, (dfo_real)6.7265770927008700853e4,
     (dfo_real)3.3430575583588128105e4, (dfo_real)2.5090809287301226727e3},
    {1, (dfo_real)4.2313330701600911252e1, (dfo_real)6.8718700749205790830e2, (dfo_real)5.3941960214247511077e3,
     (dfo_real)2.1213794301586595867e4, (dfo_real)3.9307895800092710610e4, (dfo_real)2.8729085735721942674e4,
     (dfo_real)5.2264952788528545610e3},
};
static const dfo_real near_tail[2][8] = {
    {(dfo_real)1.42343711074968357734e0, (dfo_real)4.63033784615654529590e0, (dfo_real)5.76949722146069140550e0,
     (dfo_real)3.64784832476320460504e0, (dfo_real)1.27045825245236838258e0, (dfo_real)2.41780725177450611770e-1,
     (dfo_real)2.27238449892691845833e-2, (dfo_real)7.74545014278341407640e-4},
    {1, (dfo_real)2.05319162663775882187e0, (dfo_real)1.67638483018380384940e0, (dfo_real)6.89767334985100004550e-1,
     (dfo_real)1.48103976427480074590e-1, (dfo_real)1.51986665636164571966e-2, (dfo_real)5.47593808499534494600e-4,
     (dfo_real)1.05075007164441684324e-9},
};
static const dfo_real far_tail[2][8] = {
    {(dfo_real)6.65790464350110377720e0, (dfo_real)5.46378491116411436990e0, (dfo_real)1.78482653991729133580e0,
     (dfo_real)2.96560571828504891230e-1, (dfo_real)2.65321895265761230930e-2, (dfo_real)1.24266094738807843860e-3,
     (dfo_real)2.71155556874348757815e-5, (dfo_real)2.01033439929228813265e-7},
    {1, (dfo_real)5.99832206555887937690e-1, (dfo_real)1.36929880922735805310e-1, (dfo_real)1.48753612908506148525e-2,
     (dfo_real)7.86869131145613259100e-4, (dfo_real)1.84631831751005468180e-5, (dfo_real)1.42151175831644588870e-7,
     (dfo_real)2.04426310338993978564e-15},
};

DFOI_INLINE dfo_real rational(const dfo_real c[2][8], dfo_real x)
{
    dfo_real up = c[0][7], down = c[1][7];
    for (size_t i = 7; i-- > 0;) {
        up = up * x + c[0][i];
        down = down * x + c[1][i];
    }
    return up / down;
}

#define LOG_ROOT_2PI ((dfo_real)0.91893853320467274178)
#define TAIL DFOI_C(8, 16)

/* m at |z| >= TAIL.  */
DFOI_INLINE dfo_real mills(dfo_real z)
{
    dfo_real v = 1 / (z * z), r = 1;
    for (size_t k = DFOI_C(13, 21); k > 1; k -= 2)
        r = 1 - (dfo_real)k * v * r;
    return v * r;
}

/* -z for log p = -l < -729.  */
DFOI_INLINE dfo_real beyond(dfo_real l)
{
    dfo_real z = 2 * dfoi_sqrt((dfo_real)0.5 * l);
    for (size_t n = 0; n < DFOI_C(3, 5); n++)              /* each gives three digits */
        z = 2 * dfoi_sqrt((dfo_real)0.5 * (l - LOG_ROOT_2PI + dfoi_fun_log((1 - mills(z)) / z)));
    return z;
}

DFOI_INLINE dfo_real quantile(dfo_real y)
{
    dfo_real half = (dfo_real)0.5 * dfoi_fun_tanh((dfo_real)0.5 * y), l = dfoi_fun_softplus(dfoi_fabs(y)), r = dfoi_sqrt(l);
    dfo_real inner = half * rational(middle, (dfo_real)0.180625 - half * half);
    dfo_real tail = r <= 5 ? rational(near_tail, r - (dfo_real)1.6) : rational(far_tail, r - 5);
    tail = dfoi_signed(r <= 27 ? tail : beyond(l), y);
    return dfoi_fabs(half) <= (dfo_real)0.425 ? inner : tail;
}

/* log dz/dy = log sqrt(2 pi) e^(z^2/2) u (1 - u).  */
DFOI_INLINE dfo_real normal_slope(dfo_real y, dfo_real z)
{
    dfo_real soft = dfoi_fun_log1p_unit(dfoi_fun_exp(-dfoi_fabs(y)));
    dfo_real inner = (dfo_real)0.5 * z * z + LOG_ROOT_2PI - dfoi_fabs(y) - 2 * soft;
    dfo_real tail = dfoi_fun_log((1 - mills(z)) / dfoi_fabs(z)) - soft;
    return dfoi_fabs(z) >= TAIL ? tail : inner;
}

/* Newton's method for z >= 0, where the quantile is concave: from below steps never pass the root, and the first guess is
 * within two per cent.  In the tail -log p, which there is y.  */
DFOI_INLINE dfo_real logit_of(dfo_real z)
{
    dfo_real w = dfoi_fabs(z), cubic = w * ((dfo_real)1.5957691 + (dfo_real)0.0706 * w * w);
    dfo_real y = dfoi_smaller(cubic, (dfo_real)0.5 * w * w + dfoi_fun_log(1 + w) + LOG_ROOT_2PI);
    dfo_real tail = (dfo_real)0.5 * w * w + LOG_ROOT_2PI - dfoi_fun_log((1 - mills(w)) / w);
    for (size_t n = 0; n < 4; n++) {
        dfo_real q = quantile(y);
        y += (w - q) / dfoi_fun_exp(normal_slope(y, q));
    }
    return dfoi_signed(w >= TAIL ? tail : y, z);
}

/* d log dz/dy / dy.  */
DFOI_INLINE dfo_real normal_bend(dfo_real y, dfo_real z, dfo_real slope)
{
    return dfoi_fabs(z) >= TAIL ? dfoi_signed(mills(z), -z) : z * slope - dfoi_fun_tanh((dfo_real)0.5 * y);
}

static void to_normal(size_t n, dfo_real *y, dfo_real *ld)
{
#pragma GCC ivdep
    for (size_t i = 0; i < n; i++) {
        dfo_real z = quantile(y[i]);
        ld[i] += normal_slope(y[i], z);
        y[i] = z;
    }
}

static void from_normal(size_t n, dfo_real *z, dfo_real *ld)
{
#pragma GCC ivdep
    for (size_t i = 0; i < n; i++) {
        dfo_real y = logit_of(z[i]);
        ld[i] -= normal_slope(y, z[i]);
        z[i] = y;
    }
}

static void to_normal_backward(size_t n, const dfo_real *y, dfo_real *gz, const dfo_real *gld)
{
#pragma GCC ivdep
    for (size_t i = 0; i < n; i++) {
        dfo_real z = quantile(y[i]), slope = dfoi_fun_exp(normal_slope(y[i], z));
        gz[i] = gz[i] * slope + gld[i] * normal_bend(y[i], z, slope);
    }
}

static void from_normal_backward(size_t n, dfo_real *y, dfo_real *gy, const dfo_real *gld)
{
#pragma GCC ivdep
    for (size_t i = 0; i < n; i++) {
        dfo_real z = quantile(y[i]), slope = dfoi_fun_exp(normal_slope(y[i], z));
        gy[i] = (gy[i] - gld[i] * normal_bend(y[i], z, slope)) / slope;
        y[i] = z;
    }
}

const struct dfoi_sigmoids_kernels DFOI_TABLE(dfoi_sigmoids_kernels) = {
    .forward = forward,
    .inverse = inverse,
    .backward = backward,
    .inverse_backward = inverse_backward,
    .to_normal = to_normal,
    .from_normal = from_normal,
    .to_normal_backward = to_normal_backward,
    .from_normal_backward = from_normal_backward,
};
