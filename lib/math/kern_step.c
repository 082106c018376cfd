/* The affine transform of coupling layers and the Adam pass; compiled per instruction set (see
 * isa_impl.h).  Affine: z = x e^s + t with s = smax tanh(r/smax) (Glow, RealNVP) or s = log
 * sigmoid(r + 2); derivatives ds/dr = 1 - tanh^2 and sigmoid(-(r + 2)).
 * Adam: Kingma and Ba 2015; decoupled decay: Loshchilov and Hutter 2019.  */
#include "math/fun_impl.h"
#include "math/kern_table.h"

/* The log-scale and its derivative; the scale e^s and 1/e^s come from s, so that forward and
 * inverse use factors that belong together.  */
static inline dfo_real log_scale(int kind, dfo_real smax, dfo_real over, dfo_real r)
{
    return kind == 0 ? smax * dfoi_fun_tanh(r * over) : -dfoi_fun_softplus(-(r + (dfo_real)2));
}

static inline dfo_real log_scale_slope(int kind, dfo_real over, dfo_real r)
{
    dfo_real y = kind == 0 ? dfoi_fun_tanh(r * over) : (dfo_real)0;
    return kind == 0 ? (dfo_real)1 - y * y : dfoi_fun_sigmoid(-(r + (dfo_real)2));
}

/* `kind` is a constant where these are called, so each becomes two loops.  */
static inline __attribute__((always_inline)) void forward_kind(
    int kind, dfo_real smax, size_t nb, size_t m, const dfo_real *par, dfo_real *x, dfo_real *ld)
{
    dfo_real over = (dfo_real)1 / smax;
    for (size_t f = 0; f < nb; f++) {
        const dfo_real *raw = par + f * m, *shift = par + (nb + f) * m;
        dfo_real *v = x + f * m;
#pragma GCC ivdep
        for (size_t i = 0; i < m; i++) {
            dfo_real s = log_scale(kind, smax, over, raw[i]);
            v[i] = v[i] * dfoi_fun_exp(s) + shift[i];
            ld[i] += s;
        }
    }
}

static inline __attribute__((always_inline)) void inverse_kind(
    int kind, dfo_real smax, size_t nb, size_t m, const dfo_real *par, dfo_real *z, dfo_real *ld)
{
    dfo_real over = (dfo_real)1 / smax;
    for (size_t f = 0; f < nb; f++) {
        const dfo_real *raw = par + f * m, *shift = par + (nb + f) * m;
        dfo_real *v = z + f * m;
#pragma GCC ivdep
        for (size_t i = 0; i < m; i++) {
            dfo_real s = log_scale(kind, smax, over, raw[i]);
            v[i] = (v[i] - shift[i]) / dfoi_fun_exp(s);
            ld[i] -= s;
        }
    }
}

static inline __attribute__((always_inline)) void backward_kind(
    int kind, dfo_real smax, size_t nb, size_t m, const dfo_real *par, dfo_real *z, dfo_real *gz,
    const dfo_real *gld, dfo_real *gpar)
{
    dfo_real over = (dfo_real)1 / smax;
    for (size_t f = 0; f < nb; f++) {
        const dfo_real *raw = par + f * m, *shift = par + (nb + f) * m;
        dfo_real *v = z + f * m, *g = gz + f * m;
        dfo_real *graw = gpar + f * m, *gshift = gpar + (nb + f) * m;
#pragma GCC ivdep
        for (size_t i = 0; i < m; i++) {
            dfo_real r = raw[i], moved = v[i] - shift[i], gi = g[i];      /* moved = x e^s */
            dfo_real e = dfoi_fun_exp(log_scale(kind, smax, over, r));
            v[i] = moved / e;
            g[i] = gi * e;
            graw[i] = (gi * moved + gld[i]) * log_scale_slope(kind, over, r);
            gshift[i] = gi;
        }
    }
}

static inline __attribute__((always_inline)) void inverse_backward_kind(
    int kind, dfo_real smax, size_t nb, size_t m, const dfo_real *par, dfo_real *x, dfo_real *gx,
    const dfo_real *gld, dfo_real *gpar)
{
    dfo_real over = (dfo_real)1 / smax;
    for (size_t f = 0; f < nb; f++) {
        const dfo_real *raw = par + f * m, *shift = par + (nb + f) * m;
        dfo_real *v = x + f * m, *g = gx + f * m;
        dfo_real *graw = gpar + f * m, *gshift = gpar + (nb + f) * m;
#pragma GCC ivdep
        for (size_t i = 0; i < m; i++) {
            dfo_real r = raw[i], vi = v[i], gi = g[i];
            dfo_real e = dfoi_fun_exp(log_scale(kind, smax, over, r));
            dfo_real gzi = gi / e;
            v[i] = vi * e + shift[i];
            g[i] = gzi;
            graw[i] = -(gi * vi + gld[i]) * log_scale_slope(kind, over, r);
            gshift[i] = -gzi;
        }
    }
}

static void affine_forward(const dfoi_affine *how, size_t nb, size_t m, const dfo_real *par,
                           dfo_real *x, dfo_real *ld)
{
    if (how->kind == 0)
        forward_kind(0, how->smax, nb, m, par, x, ld);
    else
        forward_kind(1, 1, nb, m, par, x, ld);
}

static void affine_inverse(const dfoi_affine *how, size_t nb, size_t m, const dfo_real *par,
                           dfo_real *z, dfo_real *ld)
{
    if (how->kind == 0)
        inverse_kind(0, how->smax, nb, m, par, z, ld);
    else
        inverse_kind(1, 1, nb, m, par, z, ld);
}

static void affine_backward(const dfoi_affine *how, size_t nb, size_t m, const dfo_real *par,
                            dfo_real *z, dfo_real *gz, const dfo_real *gld, dfo_real *gpar)
{
    if (how->kind == 0)
        backward_kind(0, how->smax, nb, m, par, z, gz, gld, gpar);
    else
        backward_kind(1, 1, nb, m, par, z, gz, gld, gpar);
}

static void affine_inverse_backward(const dfoi_affine *how, size_t nb, size_t m, const dfo_real *par,
                                    dfo_real *x, dfo_real *gx, const dfo_real *gld, dfo_real *gpar)
{
    if (how->kind == 0)
        inverse_backward_kind(0, how->smax, nb, m, par, x, gx, gld, gpar);
    else
        inverse_backward_kind(1, 1, nb, m, par, x, gx, gld, gpar);
}

/* w, m, v at i, and the new w.  */
static inline dfo_real adam_one(const struct dfoi_adam_constants *how, dfo_real g, dfo_real w,
                                dfo_real *m, dfo_real *v)
{
    dfo_real slope = g * how->scale + how->l2 * w;
    dfo_real first = how->beta1 * *m + how->rest1 * slope;
    dfo_real second = how->beta2 * *v + how->rest2 * slope * slope;
    *m = first;
    *v = second;
    return w * how->keep - how->rate * first / (dfoi_sqrt(second) * how->root + how->eps);
}

static void adam(const struct dfoi_adam_constants *constants, size_t n, const dfo_real *g, dfo_real *w,
                 dfo_real *m, dfo_real *v, dfo_real *ema)
{
    const struct dfoi_adam_constants how = *constants;
    if (ema) {
#pragma GCC ivdep
        for (size_t i = 0; i < n; i++) {
            dfo_real next = adam_one(&how, g[i], w[i], &m[i], &v[i]);
            w[i] = next;
            ema[i] += how.ema_rest * (next - ema[i]);
        }
    } else {
#pragma GCC ivdep
        for (size_t i = 0; i < n; i++)
            w[i] = adam_one(&how, g[i], w[i], &m[i], &v[i]);
    }
}

const struct dfoi_step_kernels DFOI_TABLE(dfoi_step_kernels) = {
    DFOI_AFFINE_LIST(DFOI_FILL)
    .adam = adam,
};
