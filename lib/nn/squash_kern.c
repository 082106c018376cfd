/* Kernels of layers with the time; see squash_kern_impl.h.  Sums over the rows of a panel stay in 16 lanes and are added
 * in a fixed order.  */
#include <string.h>

#include "math/fun_impl.h"
#include "math/gemm_impl.h"
#include "nn/panel_sum_impl.h"
#include "nn/squash_kern_impl.h"

#define LOOP _Pragma("GCC ivdep") for (size_t j = 0; j < DFO_PANEL; j++)

/* Rows of one time, as in solves whose steps are the batch's: an output's gate is one number.  */
static int one_time(const dfo_real *t)
{
    int same = 1;
    for (size_t j = 1; j < DFO_PANEL; j++)
        same &= t[j] == t[0];
    return same;
}

static int moves(const dfo_real *dt)
{
    int still = 1;
    for (size_t j = 0; dt && j < DFO_PANEL; j++)
        still &= dt[j] == 0;
    return !still;
}

static void gate_of_one_time(const dfoi_squash *how, dfo_real *g)
{
    dfo_real value[DFO_PANEL];
    for (size_t first = 0, n; first < how->out; first += n) {
        n = how->out - first < DFO_PANEL ? how->out - first : DFO_PANEL;
        for (size_t o = 0; o < n; o++)
            value[o] = dfoi_fun_sigmoid(how->gate[first + o] * how->t[0] + how->shift[first + o]);
        for (size_t o = 0; o < n; o++, g += DFO_PANEL)
            LOOP g[j] = value[o];
    }
}

static void gate(const dfoi_squash *how, dfo_real *g)
{
    if (how->gate && one_time(how->t)) {
        gate_of_one_time(how, g);
        return;
    }
    for (size_t o = 0; how->gate && o < how->out; o++, g += DFO_PANEL) {
        dfo_real w = how->gate[o], b = how->shift[o];
        LOOP g[j] = dfoi_fun_sigmoid(w * how->t[j] + b);
    }
}

static void plain_value(const dfoi_squash *how, const dfo_real *a, dfo_real *u)
{
    for (size_t o = 0; o < how->out; o++, a += DFO_PANEL, u += DFO_PANEL) {
        if (how->drift) {
            dfo_real w = how->drift[o];
            LOOP u[j] = a[j] + w * how->t[j];
        } else {
            const dfo_real *second = a + how->out * DFO_PANEL;
            LOOP u[j] = a[j] + second[j] * how->t[j];
        }
    }
}

static void value(const dfoi_squash *how, const dfo_real *a, const dfo_real *g, dfo_real *u)
{
    if (!how->gate) {
        plain_value(how, a, u);
        return;
    }
    for (size_t o = 0; o < how->out; o++, a += DFO_PANEL, g += DFO_PANEL, u += DFO_PANEL) {
        dfo_real w = how->drift[o];
        LOOP u[j] = a[j] * g[j] + w * how->t[j];
    }
}

static void plain_tangent(const dfoi_squash *how, const dfo_real *a, const dfo_real *da, dfo_real *du)
{
    static const dfo_real zeros[DFO_PANEL];
    const dfo_real *dt = how->dt ? how->dt : zeros;
    for (size_t o = 0; o < how->out; o++, a += DFO_PANEL, da += DFO_PANEL, du += DFO_PANEL) {
        if (how->drift) {
            dfo_real v = how->drift[o];
            LOOP du[j] = da[j] + v * dt[j];
        } else {
            const dfo_real *second = a + how->out * DFO_PANEL, *dsecond = da + how->out * DFO_PANEL;
            LOOP du[j] = da[j] + dsecond[j] * how->t[j] + second[j] * dt[j];
        }
    }
}

static void tangent(const dfoi_squash *how, const dfo_real *a, const dfo_real *g, const dfo_real *da, dfo_real *du)
{
    if (!how->gate) {
        plain_tangent(how, a, da, du);
        return;
    }
    if (!moves(how->dt)) {
        _Pragma("GCC ivdep") for (size_t i = 0; i < how->out * DFO_PANEL; i++)
            du[i] = g[i] * da[i];
        return;
    }
    for (size_t o = 0; o < how->out; o++, a += DFO_PANEL, g += DFO_PANEL, da += DFO_PANEL, du += DFO_PANEL) {
        dfo_real w = how->gate[o], v = how->drift[o];
        LOOP du[j] = g[j] * da[j] + how->dt[j] * (a[j] * g[j] * (1 - g[j]) * w + v);
    }
}

/* gdu NULL: there is no tangent.  */
static void drift_backward(const dfoi_squash *how, const dfo_real *gu, const dfo_real *gdu)
{
    static const dfo_real zeros[DFO_PANEL];
    const dfo_real *dt = how->dt ? how->dt : zeros;
    for (size_t o = 0; o < how->out; o++) {
        const dfo_real *g = gu + o * DFO_PANEL, *gd = gdu ? gdu + o * DFO_PANEL : NULL;
        dfo_real v = how->drift[o], along[DFO_PANEL];
        LOOP {
            how->gt[j] += g[j] * v;
            along[j] = g[j] * how->t[j];
        }
        if (gd)
            LOOP along[j] += gd[j] * dt[j];
        if (gd && how->gdt)
            LOOP how->gdt[j] += gd[j] * v;
        if (how->gdrift)
            how->gdrift[o] += dfoi_panel_sum(along);
    }
}

/* The second halves get t gu + dt gdu and t gdu.  */
static void second_backward(const dfoi_squash *how, const dfo_real *a, const dfo_real *da, dfo_real *gu, dfo_real *gdu)
{
    static const dfo_real zeros[DFO_PANEL];
    const dfo_real *dt = how->dt ? how->dt : zeros;
    size_t half = how->out * DFO_PANEL;
    for (size_t at = 0; at < half; at += DFO_PANEL) {
        const dfo_real *second = a + half + at, *g = gu + at;
        dfo_real *to = gu + half + at;
        LOOP {
            how->gt[j] += g[j] * second[j];
            to[j] = how->t[j] * g[j];
        }
        if (!gdu)
            continue;
        const dfo_real *gd = gdu + at, *dsecond = da + half + at;
        dfo_real *dto = gdu + half + at;
        LOOP {
            how->gt[j] += gd[j] * dsecond[j];
            to[j] += dt[j] * gd[j];
            dto[j] = how->t[j] * gd[j];
        }
        if (how->gdt)
            LOOP how->gdt[j] += gd[j] * second[j];
    }
}

static void plain_backward(const dfoi_squash *how, const dfo_real *a, const dfo_real *da, dfo_real *gu, dfo_real *gdu)
{
    if (how->drift)
        drift_backward(how, gu, gdu);
    else
        second_backward(how, a, da, gu, gdu);
}

static void backward(const dfoi_squash *how, const dfo_real *a, const dfo_real *g, dfo_real *gu)
{
    if (!how->gate) {
        plain_backward(how, a, NULL, gu, NULL);
        return;
    }
    dfo_real inside[DFO_PANEL], along[DFO_PANEL];        /* gradients of gate t + shift; times t */
    for (size_t o = 0; o < how->out; o++, a += DFO_PANEL, g += DFO_PANEL, gu += DFO_PANEL) {
        dfo_real w = how->gate[o], v = how->drift[o];
        LOOP {
            inside[j] = gu[j] * a[j] * g[j] * (1 - g[j]);
            how->gt[j] += inside[j] * w + gu[j] * v;
        }
        if (how->ggate) {
            how->gshift[o] += dfoi_panel_sum(inside);
            LOOP along[j] = inside[j] * how->t[j];
            how->ggate[o] += dfoi_panel_sum(along);
            LOOP along[j] = gu[j] * how->t[j];
            how->gdrift[o] += dfoi_panel_sum(along);
        }
        LOOP gu[j] *= g[j];
    }
}

/* The gradients of gate and drift, which stand beside the time.  moving: its tangent is not 0; together: one time, which does not
 * move.  */
static inline __attribute__((always_inline)) void time_grads(const dfoi_squash *how, size_t o, int moving, int together,
                                                             const dfo_real *inside, const dfo_real *turned, const dfo_real *gu,
                                                             const dfo_real *gdu)
{
    dfo_real along[DFO_PANEL], sum = dfoi_panel_sum(inside);
    how->gshift[o] += sum;
    if (together) {
        how->ggate[o] += sum * how->t[0];
        how->gdrift[o] += dfoi_panel_sum(gu) * how->t[0];
        return;
    }
    LOOP along[j] = inside[j] * how->t[j] + (moving ? turned[j] * how->dt[j] : 0);
    how->ggate[o] += dfoi_panel_sum(along);
    LOOP along[j] = gu[j] * how->t[j] + (moving ? gdu[j] * how->dt[j] : 0);
    how->gdrift[o] += dfoi_panel_sum(along);
}

static inline __attribute__((always_inline)) void gated_tangent_backward(const dfoi_squash *how, int moving, int together,
                                                                         const dfo_real *a, const dfo_real *da, const dfo_real *g,
                                                                         dfo_real *gu, dfo_real *gdu)
{
    const dfo_real *dt = how->dt;
    dfo_real inside[DFO_PANEL], slope[DFO_PANEL], turned[DFO_PANEL];
    for (size_t o = 0; o < how->out; o++, a += DFO_PANEL, da += DFO_PANEL, g += DFO_PANEL, gu += DFO_PANEL, gdu += DFO_PANEL) {
        dfo_real w = how->gate[o], v = how->drift[o];
        LOOP {
            slope[j] = g[j] * (1 - g[j]);
            turned[j] = gdu[j] * a[j] * slope[j];
            inside[j] = slope[j] * (gu[j] * a[j] + gdu[j] * da[j]);
            if (moving)
                inside[j] += turned[j] * (1 - 2 * g[j]) * w * dt[j];
            how->gt[j] += inside[j] * w + gu[j] * v;
        }
        if (how->gdt)
            LOOP how->gdt[j] += turned[j] * w + gdu[j] * v;
        if (how->ggate)
            time_grads(how, o, moving, together, inside, turned, gu, gdu);
        LOOP {
            gu[j] *= g[j];
            if (moving)
                gu[j] += slope[j] * w * dt[j] * gdu[j];
            gdu[j] *= g[j];
        }
    }
}

static void tangent_backward(const dfoi_squash *how, const dfo_real *a, const dfo_real *da, const dfo_real *g, dfo_real *gu,
                             dfo_real *gdu)
{
    if (!how->gate)
        plain_backward(how, a, da, gu, gdu);
    else if (moves(how->dt))
        gated_tangent_backward(how, 1, 0, a, da, g, gu, gdu);
    else if (one_time(how->t))
        gated_tangent_backward(how, 0, 1, a, da, g, gu, gdu);
    else
        gated_tangent_backward(how, 0, 0, a, da, g, gu, gdu);
}

static void act_backward(size_t n, const dfo_real *d1, const dfo_real *d2, const dfo_real *du, dfo_real *gh, dfo_real *gdh)
{
    _Pragma("GCC ivdep") for (size_t i = 0; i < n; i++) {
        gh[i] = d1[i] * gh[i] + d2[i] * du[i] * gdh[i];
        gdh[i] *= d1[i];
    }
}

static void tanh_backward(size_t n, const dfo_real *h, const dfo_real *du, dfo_real *gh, dfo_real *gdh)
{
    _Pragma("GCC ivdep") for (size_t i = 0; i < n; i++) {
        dfo_real d1 = 1 - h[i] * h[i];
        gh[i] = d1 * (gh[i] - 2 * h[i] * du[i] * gdh[i]);
        gdh[i] *= d1;
    }
}

const struct dfoi_squash_kernels DFOI_TABLE(dfoi_squash_kernels) = {
    .gate = gate,
    .value = value,
    .tangent = tangent,
    .backward = backward,
    .tangent_backward = tangent_backward,
    .act_backward = act_backward,
    .tanh_backward = tanh_backward,
};
