/* Kernels of maps made of sigmoids; see sigmoids_impl.h.  Everything is a log-sum-exp of log-sigmoids, so that the far tails,
 * where u is 0 or 1 to any precision, keep their digits:
 *   a = log u,  b = log(1 - u),  f = log du/dx,    z = a - b,  log dz/dx = f - a - b.
 * Sixteen values at a time; the shares of the components in the three sums are what gradients are made of.  */
#include <string.h>

#include "math/fun_impl.h"
#include "math/sigmoids_impl.h"
#include "math/vec_impl.h"

enum { WIDE = 16, ITERATIONS = 200 };
#define LANES _Pragma("GCC ivdep") for (size_t i = 0; i < WIDE; i++)
#define EACH for (size_t k = 0; k < how->components; k++)

typedef dfo_real lanes[WIDE];

/* The components of sixteen values, and what they are at x.  */
struct mixture {
    lanes log_weight[DFOI_SIGMOIDS_MOST], slope[DFOI_SIGMOIDS_MOST], log_slope[DFOI_SIGMOIDS_MOST];
    lanes centre[DFOI_SIGMOIDS_MOST], shift[DFOI_SIGMOIDS_MOST];           /* t = (x - centre) slope + shift */
    lanes t[DFOI_SIGMOIDS_MOST], soft[DFOI_SIGMOIDS_MOST];                 /* log(1 + e^-|t|) */
    lanes a, b, f;
    lanes outer, add;                                                      /* z e^outer + add */
};

static inline dfo_real smaller(dfo_real x, dfo_real y)
{
    return x < y ? x : y;
}

static inline dfo_real larger(dfo_real x, dfo_real y)
{
    return x > y ? x : y;
}

/* The values at..at+count-1 of parameter p; those behind repeat the last one.  */
static void load(const dfo_real *par, size_t m, size_t p, size_t at, size_t count, dfo_real *to)
{
    const dfo_real *from = par + p * m + at;
    for (size_t i = 0; i < WIDE; i++)
        to[i] = from[i < count ? i : count - 1];
}

static void set_weights(const dfoi_sigmoids *how, struct mixture *x)
{
    lanes most, sum = {0};
    memcpy(most, x->log_weight[0], sizeof most);
    EACH LANES most[i] = larger(most[i], x->log_weight[k][i]);
    EACH LANES sum[i] += dfoi_fun_exp(x->log_weight[k][i] - most[i]);
    LANES most[i] += dfoi_fun_log(sum[i]);
    EACH LANES x->log_weight[k][i] -= most[i];
}

/* a of z e^a + b, and its derivative by the raw one.  */
static inline dfo_real outer_scale(const dfoi_sigmoids *how, dfo_real raw)
{
    return how->scale_max * dfoi_fun_tanh(raw / how->scale_max);
}

static inline dfo_real outer_slope(const dfoi_sigmoids *how, dfo_real raw)
{
    dfo_real y = dfoi_fun_tanh(raw / how->scale_max);
    return 1 - y * y;
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
        load(par, m, k, at, count, x->log_weight[k]);
        load(par, m, components + k, at, count, how->deep ? x->slope[k] : x->centre[k]);
        load(par, m, 2 * components + k, at, count, how->deep ? x->shift[k] : x->log_slope[k]);
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
        load(par, m, 3 * components, at, count, x->outer);
        load(par, m, 3 * components + 1, at, count, x->add);
        LANES x->outer[i] = outer_scale(how, x->outer[i]);
    }
}

/* log w sigmoid(t), log w sigmoid(-t), log w slope sigmoid(t) sigmoid(-t).  */
static inline dfo_real log_up(const struct mixture *x, size_t k, size_t i)
{
    return x->log_weight[k][i] + smaller(x->t[k][i], 0) - x->soft[k][i];
}

static inline dfo_real log_down(const struct mixture *x, size_t k, size_t i)
{
    return x->log_weight[k][i] + smaller(-x->t[k][i], 0) - x->soft[k][i];
}

static inline dfo_real log_density(const struct mixture *x, size_t k, size_t i)
{
    return x->log_weight[k][i] + x->log_slope[k][i] - dfoi_fabs(x->t[k][i]) - 2 * x->soft[k][i];
}

static void evaluate(const dfoi_sigmoids *how, struct mixture *x, const dfo_real *at)
{
    lanes up = {0}, down = {0}, density = {0};
    LANES x->a[i] = x->b[i] = x->f[i] = -DFOI_INF;
    EACH LANES {
        dfo_real t = (at[i] - x->centre[k][i]) * x->slope[k][i] + x->shift[k][i];
        x->t[k][i] = t;
        x->soft[k][i] = dfoi_fun_log1p_unit(dfoi_fun_exp(-dfoi_fabs(t)));
        x->a[i] = larger(x->a[i], log_up(x, k, i));
        x->b[i] = larger(x->b[i], log_down(x, k, i));
        x->f[i] = larger(x->f[i], log_density(x, k, i));
    }
    EACH LANES {
        up[i] += dfoi_fun_exp(log_up(x, k, i) - x->a[i]);
        down[i] += dfoi_fun_exp(log_down(x, k, i) - x->b[i]);
        density[i] += dfoi_fun_exp(log_density(x, k, i) - x->f[i]);
    }
    LANES {
        x->a[i] += dfoi_fun_log(up[i]);
        x->b[i] += dfoi_fun_log(down[i]);
        x->f[i] += dfoi_fun_log(density[i]);
    }
}

/* Where the components alone would be at the logit: one of them lies on either side of the root.  */
static void bracket(const dfoi_sigmoids *how, const struct mixture *x, const dfo_real *logit, dfo_real *low, dfo_real *high)
{
    LANES low[i] = DFOI_INF;
    LANES high[i] = -DFOI_INF;
    EACH LANES {
        dfo_real place = (logit[i] - x->shift[k][i]) / x->slope[k][i] + x->centre[k][i];
        low[i] = smaller(low[i], place);
        high[i] = larger(high[i], place);
    }
}

/* The root of a(x) - b(x) = logit to the last digit: a step of Newton's, or half the bracket where that would leave it or
 * steps do not halve.  Values that are done stay, so none depends on its neighbours.  */
static void solve(const dfoi_sigmoids *how, struct mixture *x, const dfo_real *logit, dfo_real *at)
{
    lanes low, high, last, open;
    bracket(how, x, logit, low, high);
    LANES {
        at[i] = (dfo_real)0.5 * (low[i] + high[i]);
        last[i] = high[i] - low[i];
        open[i] = 1;
    }
    for (size_t n = 0; n < ITERATIONS; n++) {
        dfo_real left = 0;
        evaluate(how, x, at);
        LANES {
            dfo_real off = x->a[i] - x->b[i] - logit[i];
            dfo_real step = off / dfoi_fun_exp(x->f[i] - x->a[i] - x->b[i]);
            low[i] = off < 0 ? at[i] : low[i];
            high[i] = off > 0 ? at[i] : high[i];
            dfo_real newton = at[i] - step, half = (dfo_real)0.5 * (low[i] + high[i]);
            int near = dfoi_fabs(off) <= 4 * DFO_REAL_EPS * (1 - x->a[i] - x->b[i]);
            int inside = (newton >= low[i]) & (newton <= high[i]) & ((2 * dfoi_fabs(step) <= last[i]) | near);
            dfo_real next = inside ? newton : near ? at[i] : half, moved = dfoi_fabs(next - at[i]);
            next = open[i] > 0 ? next : at[i];
            last[i] = moved;
            open[i] = near | !(moved > 0) ? 0 : open[i];
            at[i] = next;
        }
        for (size_t i = 0; i < WIDE; i++)
            left += open[i];
        if (!(left > 0))
            return;
    }
}

/* The shares of component k in the three sums.  */
struct shares {
    dfo_real up, down, density;
};

static inline struct shares shares_of(const struct mixture *x, size_t k, size_t i)
{
    return (struct shares){dfoi_fun_exp(log_up(x, k, i) - x->a[i]), dfoi_fun_exp(log_down(x, k, i) - x->b[i]),
                           dfoi_fun_exp(log_density(x, k, i) - x->f[i])};
}

/* d log dz/dx / dx, the slope of f - a - b (outer changes nothing).  */
static void bend(const dfoi_sigmoids *how, const struct mixture *x, dfo_real *to)
{
    memset(to, 0, sizeof(lanes));
    EACH LANES {
        struct shares s = shares_of(x, k, i);
        dfo_real p = dfoi_fun_sigmoid(x->t[k][i]), q = dfoi_fun_sigmoid(-x->t[k][i]);
        to[i] += x->slope[k][i] * (s.density * (q - p) - s.up * q + s.down * p);
    }
}

static void store(dfo_real *par, size_t m, size_t p, size_t at, size_t count, const dfo_real *from)
{
    memcpy(par + p * m + at, from, count * sizeof *from);
}

/* Of g of z and gl of the log-det: g becomes that of x, and gpar is written.  */
static void gradients(const dfoi_sigmoids *how, const struct mixture *x, const dfo_real *z, dfo_real *g, const dfo_real *gl,
                      const dfo_real *raw_outer, size_t m, const dfo_real *par, size_t at, size_t count, dfo_real *gpar)
{
    size_t components = how->components;
    lanes ga, gb, gx = {0}, ones, raw;
    LANES {
        dfo_real inner = g[i] * dfoi_fun_exp(x->outer[i]);
        ga[i] = inner - gl[i];
        gb[i] = -inner - gl[i];
    }
    EACH {
        lanes weight, first, second;
        if (how->deep)
            load(par, m, components + k, at, count, raw);
        LANES {
            struct shares s = shares_of(x, k, i);
            dfo_real t = x->t[k][i], p = dfoi_fun_sigmoid(t), q = dfoi_fun_sigmoid(-t);
            dfo_real along = ga[i] * s.up * q - gb[i] * s.down * p + gl[i] * s.density * (q - p);
            dfo_real slope = x->slope[k][i], total = ga[i] + gb[i] + gl[i];
            weight[i] = ga[i] * s.up + gb[i] * s.down + gl[i] * s.density - dfoi_fun_exp(x->log_weight[k][i]) * total;
            gx[i] += along * slope;
            first[i] = -along * slope;
            second[i] = -along * t - gl[i] * s.density;
            ones[i] = along;
        }
        if (how->deep) {
            LANES {
                dfo_real reach = z[i] - x->centre[k][i];
                first[i] = (ones[i] * reach + gl[i] * shares_of(x, k, i).density / x->slope[k][i]) * dfoi_fun_sigmoid(raw[i]);
                second[i] = ones[i];
            }
        }
        store(gpar, m, k, at, count, weight);
        store(gpar, m, components + k, at, count, first);
        store(gpar, m, 2 * components + k, at, count, second);
    }
    if (how->outer) {
        lanes scale;
        LANES {
            dfo_real logit = x->a[i] - x->b[i];
            scale[i] = (g[i] * logit * dfoi_fun_exp(x->outer[i]) + gl[i]) * outer_slope(how, raw_outer[i]);
        }
        store(gpar, m, 3 * components, at, count, scale);
        store(gpar, m, 3 * components + 1, at, count, g);
    }
    memcpy(g, gx, sizeof gx);
}
