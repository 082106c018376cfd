/* Kernels of group normalisation, compiled per instruction set (math/isa_impl.h), same bits at every level.  A strip is
 * the pixels of one image: columns first .. first+n-1 of a map (conv_kern_impl.h).  Sums are in double, in lanes counted
 * from the strip's first pixel: they do not depend on where the image lies.  Called as DFOI_GROUP_KERN->sums(...).
 * Private.  */
#ifndef DFOI_GROUP_KERN_IMPL_H
#define DFOI_GROUP_KERN_IMPL_H

#include <stddef.h>
#include "base/real_impl.h"
#include "math/isa_impl.h"
#include "nn/conv_kern_impl.h"

typedef struct dfoi_strip {
    size_t first, n;
} dfoi_strip;

struct dfoi_group_kernels {
    /* Of channel c: the sum of x, and of x (y - middle).  */
    void (*sums)(dfoi_strip strip, size_t c, dfoi_map x, dfoi_map y, double middle, double *sum, double *dot);
    /* The sum of (x - mean)^2.  */
    double (*squares)(dfoi_strip strip, size_t c, dfoi_map x, double mean);
    /* y = a x + b u + d, all channel c; u.x = NULL: without.  add: y += that.  */
    void (*combine)(dfoi_strip strip, size_t c, dfo_real a, dfoi_map x, dfo_real b, dfoi_map u, dfo_real d, int add, dfoi_map y);
};

extern const struct dfoi_group_kernels dfoi_group_kernels_generic;
extern const struct dfoi_group_kernels dfoi_group_kernels_avx2;
extern const struct dfoi_group_kernels dfoi_group_kernels_avx512;

#define DFOI_GROUP_KERN DFOI_PICK(dfoi_group_kernels)

#endif
