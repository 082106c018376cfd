/* Kernels of layers with the time (squash.c), compiled per instruction set (math/isa_impl.h), same bits at every level.
 * a, g, u and their gradients and tangents are panels (out, 64), t and dt rows of 64.  Called as
 * DFOI_SQUASH_KERN->gate(...).  Private.  */
#ifndef DFOI_SQUASH_KERN_IMPL_H
#define DFOI_SQUASH_KERN_IMPL_H

#include <stddef.h>
#include "base/real_impl.h"
#include "math/isa_impl.h"

/* g = sigmoid(gate t + shift), u = a g + drift t.  Without a gate g is 1, and not read.  Without a drift either, a, its tangent
 * and their gradients are panels (2 out, 64), and u = a + a' t, a' the second half.  */
typedef struct dfoi_squash {
    size_t          out;
    const dfo_real *gate, *shift, *drift;      /* (out), or NULL */
    dfo_real       *ggate, *gshift, *gdrift;   /* their gradients, added; all NULL: not wanted */
    const dfo_real *t, *dt;                    /* dt NULL: zeros */
    dfo_real       *gt, *gdt;                  /* (64) added; gdt may be NULL */
} dfoi_squash;

struct dfoi_squash_kernels {
    void (*gate)(const dfoi_squash *how, dfo_real *g);
    void (*value)(const dfoi_squash *how, const dfo_real *a, const dfo_real *g, dfo_real *u);
    /* du = g da + dt (a g (1 - g) gate + drift), or da + da' t + a' dt; du may be da.  */
    void (*tangent)(const dfoi_squash *how, const dfo_real *a, const dfo_real *g, const dfo_real *da, dfo_real *du);
    /* The gradient gu of u becomes that of a.  */
    void (*backward)(const dfoi_squash *how, const dfo_real *a, const dfo_real *g, dfo_real *gu);
    /* Those of u and du become those of a and da.  */
    void (*tangent_backward)(const dfoi_squash *how, const dfo_real *a, const dfo_real *da, const dfo_real *g, dfo_real *gu,
                             dfo_real *gdu);
    /* Those of h = act(u) and of its tangent become those of u and du: gh = act' gh + act'' du gdh, gdh = act' gdh; n numbers, with act' and
     * act'' given, and of tanh with h.  */
    void (*act_backward)(size_t n, const dfo_real *d1, const dfo_real *d2, const dfo_real *du, dfo_real *gh, dfo_real *gdh);
    void (*tanh_backward)(size_t n, const dfo_real *h, const dfo_real *du, dfo_real *gh, dfo_real *gdh);
};

extern const struct dfoi_squash_kernels dfoi_squash_kernels_generic;
extern const struct dfoi_squash_kernels dfoi_squash_kernels_avx2;
extern const struct dfoi_squash_kernels dfoi_squash_kernels_avx512;

#define DFOI_SQUASH_KERN DFOI_PICK(dfoi_squash_kernels)

#endif
