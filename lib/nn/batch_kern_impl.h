/* Kernels of batch normalisation, compiled per instruction set (math/isa_impl.h), same bits at
 * every level.  Maps as in conv_kern_impl.h, of `columns` columns; sums over a channel's columns
 * are in double, what stands behind the last column is taken for zero and becomes zero.  Called as
 * DFOI_BATCH_KERN->sums(...).  Private.  */
#ifndef DFOI_BATCH_KERN_IMPL_H
#define DFOI_BATCH_KERN_IMPL_H

#include <stddef.h>
#include "base/real_impl.h"
#include "math/isa_impl.h"
#include "nn/conv_kern_impl.h"

struct dfoi_batch_kernels {
    /* Sums over the columns of channel c: of x, and of x (y - middle).  */
    void (*sums)(size_t columns, size_t c, dfoi_map x, dfoi_map y, double middle, double *sum,
                 double *dot);
    /* The sum of (x - mean)^2.  */
    double (*squares)(size_t columns, size_t c, dfoi_map x, double mean);
    /* y = a x + b u + d, all channel c.  u.x = NULL: without.  y may be x or u.  */
    void (*combine)(size_t columns, size_t c, dfo_real a, dfoi_map x, dfo_real b, dfoi_map u,
                    dfo_real d, dfoi_map y);
};

extern const struct dfoi_batch_kernels dfoi_batch_kernels_generic;
extern const struct dfoi_batch_kernels dfoi_batch_kernels_avx2;
extern const struct dfoi_batch_kernels dfoi_batch_kernels_avx512;

#define DFOI_BATCH_KERN DFOI_PICK(dfoi_batch_kernels)

#endif
