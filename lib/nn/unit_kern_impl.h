/* Kernels of units and gates, compiled per instruction set (math/isa_impl.h), same bits at every
 * level. n: reals; width: features of panels of 64 rows; r, slope: (64).  Called as
 * DFOI_UNIT_KERN->multiply(...). Private.  */
#ifndef DFOI_UNIT_KERN_IMPL_H
#define DFOI_UNIT_KERN_IMPL_H

#include <diffeo/rng.h>
#include "base/real_impl.h"
#include "math/isa_impl.h"

/* A gate's values: s the stream, r what is gated, g = sigmoid(q); and their tangents.  */
struct dfoi_gate {
    const dfo_real *s, *ds, *r, *dr, *g, *dq;
};

struct dfoi_unit_kernels {
    /* to = x y.  */
    void (*multiply)(size_t n, const dfo_real *x, const dfo_real *y, dfo_real *to);
    /* g = d1 g + d2 da gd, gd = d1 gd.  */
    void (*reverse)(size_t n, const dfo_real *d1, const dfo_real *d2, const dfo_real *da,
                    dfo_real *g, dfo_real *gd);
    /* Row i, feature j: 0 where the draw, a 16-bit word of the stream's block j / 8 under the key
     * of row key.row + i, is below drop, else 65536 / (65536 - drop).  */
    void (*draw)(dfo_key key, uint32_t stream, unsigned drop, size_t width, dfo_real *mask);

    /* Layer normalisation, see norm.c.  Output panels may be input panels; slope may be NULL.  */
    void (*normalise)(size_t width, const dfo_real *x, dfo_real *u, dfo_real *r);
    void (*jacobian)(size_t width, const dfo_real *u, const dfo_real *r, const dfo_real *x,
                     dfo_real *y, dfo_real *slope);
    void (*affine)(size_t width, const dfo_real *scale, const dfo_real *shift, const dfo_real *u,
                   dfo_real *y);
    void (*add_grads)(size_t width, const dfo_real *g, const dfo_real *u, dfo_real *gscale,
                      dfo_real *gshift);
    void (*jacobian_reverse)(size_t width, const dfo_real *u, const dfo_real *du, const dfo_real *r,
                             const dfo_real *slope, dfo_real *g, dfo_real *gd);

    /* The gate of residual networks, see residual_pass.c.  */
    void (*gate)(size_t n, const struct dfoi_gate *x, dfo_real *s);
    void (*gate_jvp)(size_t n, const struct dfoi_gate *x, dfo_real *s, dfo_real *ds);
    void (*gate_backward)(size_t n, const struct dfoi_gate *x, const dfo_real *gs, dfo_real *gr,
                          dfo_real *gq);
    void (*gate_jvp_backward)(size_t n, const struct dfoi_gate *x, const dfo_real *gs,
                              const dfo_real *gds, dfo_real *gr, dfo_real *gdr, dfo_real *gq,
                              dfo_real *gdq);
};

extern const struct dfoi_unit_kernels dfoi_unit_kernels_generic;
extern const struct dfoi_unit_kernels dfoi_unit_kernels_avx2;
extern const struct dfoi_unit_kernels dfoi_unit_kernels_avx512;

#define DFOI_UNIT_KERN DFOI_PICK(dfoi_unit_kernels)

#endif
