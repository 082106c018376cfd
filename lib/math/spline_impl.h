/* The spline kernels of each instruction set.  Private to spline.c and spline_kern.c.  */
#ifndef DFOI_SPLINE_IMPL_H
#define DFOI_SPLINE_IMPL_H

#include "base/real_impl.h"
#include "math/kern_impl.h"

struct dfoi_spline_kernels {
    void (*forward)(const dfoi_spline *, size_t nb, size_t m, const dfo_real *par, dfo_real *x,
                    dfo_real *ld);
    void (*inverse)(const dfoi_spline *, size_t nb, size_t m, const dfo_real *par, dfo_real *z,
                    dfo_real *ld);
    void (*backward)(const dfoi_spline *, size_t nb, size_t m, const dfo_real *par, dfo_real *z,
                     dfo_real *gz, const dfo_real *gld, dfo_real *gpar);
    void (*inverse_backward)(const dfoi_spline *, size_t nb, size_t m, const dfo_real *par,
                             dfo_real *x, dfo_real *gx, const dfo_real *gld, dfo_real *gpar);
};

extern const struct dfoi_spline_kernels dfoi_spline_kernels_generic;
extern const struct dfoi_spline_kernels dfoi_spline_kernels_avx2;
extern const struct dfoi_spline_kernels dfoi_spline_kernels_avx512;

#endif
