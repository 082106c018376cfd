/* Kernels of convolutions, compiled per instruction set (math/isa_impl.h), same bits at every
 * level. Called as DFOI_CONV_KERN->gather(...).  Private.  */
#ifndef DFOI_CONV_KERN_IMPL_H
#define DFOI_CONV_KERN_IMPL_H

#include <stddef.h>
#include "base/real_impl.h"
#include "math/isa_impl.h"

/* A map: several images of equal size in panels of 64 columns.  Column q = (i h + y) w + x, pixel
 * (y, x) of image i, of channel c stands at x[(q / 64) stride + c 64 + q % 64].  Columns behind the
 * last one fill the last panel: finite rubbish (values) or zeros (gradients).  */
typedef struct dfoi_map {
    dfo_real *x;
    size_t stride; /* reals from one panel to the next */
} dfoi_map;

/* Where the taps of a square kernel find their pixels: those of `to` are the columns, those of
 * `from` are read.  up = 0: from = to stride + tap - pad.  up = 1, its adjoint: from = (to + pad -
 * tap) / stride where that is whole.  Pixels outside of an image are zeros.  */
typedef struct dfoi_taps {
    size_t images, to_h, to_w, from_h, from_w, kernel, stride, pad;
    int up;
} dfoi_taps;

/* Rows of what is gathered or summed: channel c under tap t is row c by_channel + t by_tap.  */
typedef struct dfoi_tap_rows {
    size_t channels, by_channel, by_tap;
} dfoi_tap_rows;

struct dfoi_conv_kernels {
    /* One panel (rows, 64) of all taps' pixels of a map.  */
    void (*gather)(const dfoi_taps *taps, size_t panel, dfoi_tap_rows rows, dfoi_map from,
                   dfo_real *to);
    /* The adjoint: one panel (channels, 64) = start[c] (or 0) + the sum over taps, in their order,
     * of what stands in their rows of `from`.  */
    void (*gather_sum)(const dfoi_taps *taps, size_t panel, dfoi_tap_rows rows, dfoi_map from,
                       const dfo_real *start, dfo_real *to);
    /* x[c][j] *= by[c], (channels, 64).  */
    void (*scale)(size_t channels, const dfo_real *by, dfo_real *x);
    /* to[c] += sum over j of x[c][j] y[c][j], in double.  */
    void (*add_dots)(size_t channels, const dfo_real *x, const dfo_real *y, dfo_real *to);
};

extern const struct dfoi_conv_kernels dfoi_conv_kernels_generic;
extern const struct dfoi_conv_kernels dfoi_conv_kernels_avx2;
extern const struct dfoi_conv_kernels dfoi_conv_kernels_avx512;

#define DFOI_CONV_KERN DFOI_PICK(dfoi_conv_kernels)

#endif
