/* Convolution of pictures with a kernel, and its exact inverse.  */
#ifndef DIFFEO_FILTER_H
#define DIFFEO_FILTER_H

#include <stddef.h>
#include <diffeo/real.h>
#include <diffeo/ctx.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What lies outside a picture.  Periodic: the picture again; symmetric: its reflection about the edge between
 * pixels (both take kernels with odd sides, centred); causal: zeros, and the kernel's first entry belongs to the pixel
 * itself, the others to pixels above and to the left of it.  */
typedef enum dfo_boundary { DFO_PERIODIC, DFO_SYMMETRIC, DFO_CAUSAL } dfo_boundary;

typedef struct dfo_filter dfo_filter;

/* y[h, w] = sum of kernel[i, j] x[h - i + ci, w - j + cj], with ci = (kh - 1)/2, cj = (kw - 1)/2, or 0 where causal, for
 * pictures (h, w).  kernel (kh, kw) is copied.  A symmetric boundary wants a kernel that is its own mirror image both
 * ways (its transform is the DCT-II; Martucci 1994).  DFO_EARG: even sides, no mirror image, NaN or infinite entries;
 * DFO_ESHAPE: a kernel larger than the picture; DFO_EMEM.  */
dfo_status dfo_filter_new(dfo_ctx *ctx, dfo_boundary boundary, size_t h, size_t w, size_t kh, size_t kw,
                          const double *kernel, dfo_filter **out);
void dfo_filter_free(dfo_filter *filter);

/* Periodic, symmetric: the smallest and largest singular values (absolute values over frequencies), their ratio, and
 * the frequency (row, column) of the smallest.  Causal: largest is the map's norm, smallest one over its inverse's norm
 * (largest sums of absolute values of a row), and the frequency is 0, 0.  condition: largest/smallest, infinite where
 * there is no inverse.  */
typedef struct dfo_filter_report {
    double smallest, largest, condition;
    size_t frequency[2];
} dfo_filter_report;

/* What dfo_filter_new found.  */
void dfo_filter_report_of(const dfo_filter *filter, dfo_filter_report *out);

/* In place on a plane (h, w); working memory is the filter's own: one thread at a time.  */
void dfo_filter_apply(dfo_filter *filter, dfo_real *plane);

/* Its inverse.  tikhonov = t > 0: the x with the least |K x - y|^2 + t |x|^2 instead, for pictures with noise (t: the
 * noise's variance over the picture's); not for the causal boundary (DFO_EUNSUP).  DFO_ENUM, with t = 0, where the
 * condition exceeds 1/(16 eps): nothing was written.  */
dfo_status dfo_filter_invert(dfo_filter *filter, dfo_real *plane, double tikhonov);

#ifdef __cplusplus
}
#endif
#endif
