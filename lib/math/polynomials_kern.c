/* Kernels of increasing polynomials; see polynomials_impl.h.  Sixteen values at a time.  Values, slopes and what gradients
 * are made of are sums of positive terms: Bernstein polynomials by their recurrence in the degree, integrals by quadrature.  */
#include <string.h>

#include "math/fun_impl.h"
#include "math/lanes_impl.h"
#include "math/polynomials_impl.h"
#include "math/quadrature_impl.h"

enum { ITERATIONS = 200, MOST = DFOI_SQUARES_TERMS * (DFOI_SQUARES_MOST + 1) };

typedef dfoi_lanes lanes;

/* The polynomials of sixteen values.  */
struct polynomial {
    lanes base;                        /* z without the sum (the integral) */
    lanes c[MOST];                     /* d_1 .. d_K; or the squares' coefficients, with their 1 and o_k */
    lanes t, rest;                     /* Bernstein at x: t, 1 - t */
    lanes b[DFOI_BERNSTEIN_MOST + 1];  /* and the polynomials of degree K - 1 */
    lanes level[DFOI_BERNSTEIN_MOST + 1];      /* base, and with d_1 .. d_k added */
};

/* x between the ends, what it is beyond them, and what the map is there.  */
struct place {
    lanes at, beyond, z, slope, curve;
};

#define ONE ((dfo_real)0.54132485461291805736)             /* softplus(ONE) = 1 */

/* The step that softplus(p + ONE) = 1 stands for, all told 2B.  */
static dfo_real step_of(const dfoi_polynomial *how)
{
    return 2 * how->bound / (dfo_real)how->degree;
}

static dfo_real offset(const dfoi_polynomial *how, size_t k)
{
    size_t most = how->terms - 1;
    return most ? how->spread * ((dfo_real)(2 * k) / (dfo_real)most - 1) : 0;
}

static void set(const dfoi_polynomial *how, size_t m, const dfo_real *par, size_t at, size_t count, struct polynomial *x)
{
    size_t each = how->degree + 1, n = dfoi_polynomial_params(how) - 1;
    dfo_real step = how->squares ? 0 : step_of(how);
    dfoi_lanes_load(par, m, 0, at, count, x->base);
    for (size_t k = 0; k < n; k++) {
        dfoi_lanes_load(par, m, 1 + k, at, count, x->c[k]);
        if (how->squares) {
            dfo_real by = k % each == 0 ? 1 : k % each == 1 ? offset(how, k / each) : 0;
            LANES x->c[k][i] += by;
        } else {
            LANES x->c[k][i] = step * (how->least + (1 - how->least) * dfoi_fun_softplus(x->c[k][i] + ONE));
        }
    }
    if (how->squares)
        return;
    LANES x->level[0][i] = x->base[i] -= how->bound;
    for (size_t k = 0; k < n; k++)
        LANES x->level[k + 1][i] = x->level[k][i] + x->c[k][i];
}

/* b_j^n = t b_(j-1)^(n-1) + (1 - t) b_j^(n-1), to degree K - 1; where there is a place, its curve on the way, from those of
 * degree K - 2.  */
static void basis(const dfoi_polynomial *how, struct polynomial *x, struct place *p)
{
    size_t k = how->degree;
    dfo_real scale = (dfo_real)(k * (k - 1)) / (4 * how->bound * how->bound);
    LANES {
        x->t[i] = (p->at[i] + how->bound) / (2 * how->bound);
        x->rest[i] = (how->bound - p->at[i]) / (2 * how->bound);
        x->b[0][i] = 1;
        p->curve[i] = 0;
    }
    for (size_t n = 1; n < k; n++) {
        for (size_t j = 0; n + 1 == k && j < n; j++)
            LANES p->curve[i] += scale * (x->c[j + 1][i] - x->c[j][i]) * x->b[j][i];
        LANES x->b[n][i] = x->t[i] * x->b[n - 1][i];
        for (size_t j = n - 1; j > 0; j--)
            LANES x->b[j][i] = x->t[i] * x->b[j - 1][i] + x->rest[i] * x->b[j][i];
        LANES x->b[0][i] *= x->rest[i];
    }
}

/* z is the mean of levels that the polynomials of degree K make: near x levels are near z, and so is the rounding.  */
static void bernstein(const dfoi_polynomial *how, struct polynomial *x, struct place *p)
{
    dfo_real scale = (dfo_real)how->degree / (2 * how->bound);
    lanes sum = {0}, slope = {0};
    basis(how, x, p);
    for (size_t j = 0; j < how->degree; j++)
        LANES {
            sum[i] += x->b[j][i] * (x->rest[i] * x->level[j][i] + x->t[i] * x->level[j + 1][i]);
            slope[i] += x->b[j][i] * x->c[j][i];
        }
    LANES {
        p->z[i] = sum[i];
        p->slope[i] = scale * slope[i];
    }
}

/* Term k at v.  */
static void term(const dfoi_polynomial *how, const struct polynomial *x, size_t k, const dfo_real *v, dfo_real *to)
{
    const lanes *c = x->c + k * (how->degree + 1);
    memcpy(to, c[how->degree], sizeof(lanes));
    for (size_t l = how->degree; l > 0; l--)
        LANES to[i] = to[i] * v[i] + c[l - 1][i];
}

/* P at v, and where it is wanted dP/du.  */
static void density(const dfoi_polynomial *how, const struct polynomial *x, const dfo_real *v, dfo_real *to, dfo_real *curve)
{
    dfo_real share = (1 - how->least) / (dfo_real)how->terms, turn = 2 * share / how->bound;
    lanes sum = {0}, bend = {0}, value;
    for (size_t k = 0; k < how->terms; k++) {
        const lanes *c = x->c + k * (how->degree + 1);
        lanes rise = {0};
        term(how, x, k, v, value);
        for (size_t l = how->degree; curve && l > 0; l--)
            LANES rise[i] = rise[i] * v[i] + (dfo_real)l * c[l][i];
        LANES {
            sum[i] += value[i] * value[i];
            bend[i] += value[i] * rise[i];
        }
    }
    LANES to[i] = how->least + share * sum[i];
    if (curve)
        LANES curve[i] = turn * bend[i];
}

static void squares(const dfoi_polynomial *how, const struct polynomial *x, struct place *p)
{
    const dfo_real *at = dfoi_gauss_point[how->degree], *w = dfoi_gauss_weight[how->degree];
    lanes sum = {0}, v, value;
    for (size_t n = 0; n <= how->degree; n++) {
        LANES v[i] = at[n] * p->at[i] / how->bound;
        density(how, x, v, value, NULL);
        LANES sum[i] += w[n] * value[i];
    }
    LANES {
        p->z[i] = x->base[i] + p->at[i] * sum[i];
        v[i] = p->at[i] / how->bound;
    }
    density(how, x, v, p->slope, p->curve);
}

static void evaluate(const dfoi_polynomial *how, struct polynomial *x, const dfo_real *at, struct place *p)
{
    LANES {
        p->at[i] = dfoi_larger(dfoi_smaller(at[i], how->bound), -how->bound);
        p->beyond[i] = at[i] - p->at[i];
    }
    if (how->squares)
        squares(how, x, p);
    else
        bernstein(how, x, p);
    LANES {
        p->z[i] += p->beyond[i] * p->slope[i];
        p->curve[i] = p->beyond[i] > 0 || p->beyond[i] < 0 ? 0 : p->curve[i];
    }
}

/* The root of z(x) = z: beyond the ends a straight line's; between them to the last digit.  */
static void solve(const dfoi_polynomial *how, struct polynomial *x, const dfo_real *z, dfo_real *to, struct place *p)
{
    struct place end[2];
    lanes low, high, last, open, at;
    LANES {
        low[i] = -how->bound;
        high[i] = how->bound;
    }
    evaluate(how, x, low, &end[0]);
    evaluate(how, x, high, &end[1]);
    LANES {
        dfo_real share = (z[i] - end[0].z[i]) / (end[1].z[i] - end[0].z[i]);
        at[i] = dfoi_larger(dfoi_smaller(how->bound * (2 * share - 1), how->bound), -how->bound);
        last[i] = high[i] - low[i];
        open[i] = z[i] > end[0].z[i] && z[i] < end[1].z[i] ? 1 : 0;
    }
    for (size_t n = 0; n < ITERATIONS && dfoi_any_open(open, DFOI_WIDE); n++) {
        evaluate(how, x, at, p);
        LANES at[i] = dfoi_newton(&low[i], &high[i], &last[i], &open[i], at[i], p->z[i] - z[i], p->slope[i],
                                  dfoi_fabs(x->base[i]) + dfoi_fabs(z[i] - x->base[i]));
    }
    LANES {
        dfo_real below = z[i] - end[0].z[i], above = z[i] - end[1].z[i];
        dfo_real root = below <= 0 ? below / end[0].slope[i] - how->bound : above >= 0 ? above / end[1].slope[i] + how->bound : at[i];
        to[i] = z[i] == z[i] && end[0].slope[i] == end[0].slope[i] ? root : z[i] + end[0].slope[i];
    }
    evaluate(how, x, to, p);
}

/* d_k counts in z with the polynomials of degree K from k on, t b_(k-1) + b_k + ... + b_(K-1); from d_k to p_k: d softplus = 1 -
 * e^-softplus.  */
static void bernstein_gradients(const dfoi_polynomial *how, const struct polynomial *x, const struct place *p, const dfo_real *g,
                                const dfo_real *gl, size_t m, size_t first, size_t count, dfo_real *gpar)
{
    dfo_real scale = (dfo_real)how->degree / (2 * how->bound), step = step_of(how);
    lanes behind = {0}, to;
    for (size_t j = how->degree; j > 0; j--) {
        LANES {
            dfo_real b = x->b[j - 1][i], soft = (x->c[j - 1][i] / step - how->least) / (1 - how->least);
            dfo_real of_slope = g[i] * p->beyond[i] + gl[i] / p->slope[i];
            to[i] = g[i] * (x->t[i] * b + behind[i]) + of_slope * scale * b;
            to[i] *= -step * (1 - how->least) * dfoi_fun_expm1_negative(-dfoi_larger(soft, 0));
            behind[i] += b;
        }
        dfoi_lanes_store(gpar, m, j, first, count, to);
    }
}

/* P at every point counts with its weight, at the place with what is beyond it and in the log-det.  */
static void squares_gradients(const dfoi_polynomial *how, const struct polynomial *x, const struct place *p, const dfo_real *g,
                              const dfo_real *gl, size_t m, size_t first, size_t count, dfo_real *gpar)
{
    dfo_real share = 2 * (1 - how->least) / (dfo_real)how->terms;
    size_t each = how->degree + 1;
    lanes sum[DFOI_SQUARES_MOST + 1], v, by, value;
    for (size_t k = 0; k < how->terms; k++) {
        memset(sum, 0, sizeof sum);
        for (size_t n = 0; n <= each; n++) {
            dfo_real at = n < each ? dfoi_gauss_point[how->degree][n] : 1, w = n < each ? dfoi_gauss_weight[how->degree][n] : 0;
            LANES {
                v[i] = at * p->at[i] / how->bound;
                by[i] = share * (n < each ? w * g[i] * p->at[i] : g[i] * p->beyond[i] + gl[i] / p->slope[i]);
            }
            term(how, x, k, v, value);
            LANES by[i] *= value[i];
            for (size_t l = 0; l < each; l++)
                LANES {
                    sum[l][i] += by[i];
                    by[i] *= v[i];
                }
        }
        for (size_t l = 0; l < each; l++)
            dfoi_lanes_store(gpar, m, 1 + k * each + l, first, count, sum[l]);
    }
}

/* Of g of z and gl of the log-det, at the place: g becomes that of x, and gpar is written.  */
static void gradients(const dfoi_polynomial *how, const struct polynomial *x, const struct place *p, dfo_real *g,
                      const dfo_real *gl, size_t m, size_t first, size_t count, dfo_real *gpar)
{
    (how->squares ? squares_gradients : bernstein_gradients)(how, x, p, g, gl, m, first, count, gpar);
    dfoi_lanes_store(gpar, m, 0, first, count, g);
    LANES g[i] = g[i] * p->slope[i] + gl[i] * p->curve[i] / p->slope[i];
}

#define OVER_VALUES DFOI_OVER_VALUES(nb, m, set(how, m, par + j * params * m, first, count, &now))

static void forward(const dfoi_polynomial *how, size_t nb, size_t m, const dfo_real *par, dfo_real *x, dfo_real *ld)
{
    size_t params = dfoi_polynomial_params(how);
    struct polynomial now;
    struct place p;
    lanes at;
    OVER_VALUES {
        dfoi_lanes_load(x, m, j, first, count, at);
        evaluate(how, &now, at, &p);
        dfoi_lanes_store(x, m, j, first, count, p.z);
        LANES p.slope[i] = dfoi_fun_log(p.slope[i]);
        for (size_t i = 0; i < count; i++)
            ld[first + i] += p.slope[i];
    }
}

static void inverse(const dfoi_polynomial *how, size_t nb, size_t m, const dfo_real *par, dfo_real *z, dfo_real *ld)
{
    size_t params = dfoi_polynomial_params(how);
    struct polynomial now;
    struct place p;
    lanes at;
    OVER_VALUES {
        dfoi_lanes_load(z, m, j, first, count, at);
        solve(how, &now, at, at, &p);
        dfoi_lanes_store(z, m, j, first, count, at);
        LANES p.slope[i] = dfoi_fun_log(p.slope[i]);
        for (size_t i = 0; i < count; i++)
            ld[first + i] -= p.slope[i];
    }
}

static void backward(const dfoi_polynomial *how, size_t nb, size_t m, const dfo_real *par, const dfo_real *x, dfo_real *gz,
                     const dfo_real *gld, dfo_real *gpar)
{
    size_t params = dfoi_polynomial_params(how);
    struct polynomial now;
    struct place p;
    lanes at, g, gl;
    OVER_VALUES {
        dfoi_lanes_load(x, m, j, first, count, at);
        dfoi_lanes_load(gz, m, j, first, count, g);
        dfoi_lanes_load(gld, m, 0, first, count, gl);
        evaluate(how, &now, at, &p);
        gradients(how, &now, &p, g, gl, m, first, count, gpar + j * params * m);
        dfoi_lanes_store(gz, m, j, first, count, g);
    }
}

/* gz = (gx - gl ds/dx) / z', s = log z'; parameters have the gradients of forward for -gz and -gl.  */
static void inverse_backward(const dfoi_polynomial *how, size_t nb, size_t m, const dfo_real *par, dfo_real *x, dfo_real *gx,
                             const dfo_real *gld, dfo_real *gpar)
{
    size_t params = dfoi_polynomial_params(how);
    struct polynomial now;
    struct place p;
    lanes at, g, gl, back;
    OVER_VALUES {
        dfoi_lanes_load(x, m, j, first, count, at);
        dfoi_lanes_load(gx, m, j, first, count, g);
        dfoi_lanes_load(gld, m, 0, first, count, gl);
        evaluate(how, &now, at, &p);
        LANES {
            back[i] = (g[i] - gl[i] * p.curve[i] / p.slope[i]) / p.slope[i];
            g[i] = -back[i];
            gl[i] = -gl[i];
        }
        gradients(how, &now, &p, g, gl, m, first, count, gpar + j * params * m);
        dfoi_lanes_store(x, m, j, first, count, p.z);
        dfoi_lanes_store(gx, m, j, first, count, back);
    }
}

const struct dfoi_polynomial_kernels DFOI_TABLE(dfoi_polynomial_kernels) = {
    .forward = forward,
    .inverse = inverse,
    .backward = backward,
    .inverse_backward = inverse_backward,
};
