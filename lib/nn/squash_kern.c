/* Kernels of layers with the time; see squash_kern_impl.h.  Sums over the rows of a panel stay in 16 lanes and are added
 * in a fixed order.  */
#include <string.h>

#include "math/fun_impl.h"
#include "math/gemm_impl.h"
#include "nn/panel_sum_impl.h"
#include "nn/squash_kern_impl.h"

#define LOOP _Pragma("GCC ivdep") for (size_t j = 0; j < DFO_PANEL; j++)

static void gate(const dfoi_squash *how, dfo_real *g)
{
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
    for (size_t o = 0; o < how->out; o++, a += DFO_PANEL, g += DFO_PANEL, da += DFO_PANEL, du += DFO_PANEL) {
        dfo_real w = how->gate[o], v = how->drift[o];
        if (how->dt)
            LOOP du[j] = g[j] * da[j] + how->dt[j] * (a[j] * g[j] * (1 - g[j]) * w + v);
        else
            LOOP du[j] = g[j] * da[j];
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

static void tangent_backward(const dfoi_squash *how, const dfo_real *a, const dfo_real *da, const dfo_real *g, dfo_real *gu,
                             dfo_real *gdu)
{
    if (!how->gate) {
        plain_backward(how, a, da, gu, gdu);
        return;
    }
    static const dfo_real zeros[DFO_PANEL];
    const dfo_real *dt = how->dt ? how->dt : zeros;
    dfo_real inside[DFO_PANEL], slope[DFO_PANEL], along[DFO_PANEL];
    for (size_t o = 0; o < how->out; o++, a += DFO_PANEL, da += DFO_PANEL, g += DFO_PANEL, gu += DFO_PANEL, gdu += DFO_PANEL) {
        dfo_real w = how->gate[o], v = how->drift[o];
        LOOP {
            slope[j] = g[j] * (1 - g[j]);
            dfo_real second = slope[j] * (1 - 2 * g[j]);
            inside[j] = gu[j] * a[j] * slope[j] + gdu[j] * (da[j] * slope[j] + a[j] * second * w * dt[j]);
            how->gt[j] += inside[j] * w + gu[j] * v;
        }
        if (how->gdt)
            LOOP how->gdt[j] += gdu[j] * (a[j] * slope[j] * w + v);
        if (how->ggate) {
            how->gshift[o] += dfoi_panel_sum(inside);
            LOOP along[j] = inside[j] * how->t[j] + gdu[j] * a[j] * slope[j] * dt[j];
            how->ggate[o] += dfoi_panel_sum(along);
            LOOP along[j] = gu[j] * how->t[j] + gdu[j] * dt[j];
            how->gdrift[o] += dfoi_panel_sum(along);
        }
        LOOP {
            gu[j] = g[j] * gu[j] + slope[j] * w * dt[j] * gdu[j];
            gdu[j] *= g[j];
        }
    }
}

const struct dfoi_squash_kernels DFOI_TABLE(dfoi_squash_kernels) = {
    .gate = gate,
    .value = value,
    .tangent = tangent,
    .backward = backward,
    .tangent_backward = tangent_backward,
};
