/* Self-attention of an image's pixels (Vaswani et al. 2017), one head, on maps of 3c channels, queries, keys and values:
 *
 *   S = Q^T K / sqrt(c),  P = softmax of S's rows,  O = V P^T
 *
 * where Q, K, V and O are (c, pixels).  What is between is computed again on the way back; sums over pixels and channels run in
 * an order that does not depend on where the image lies.  Private.  */
#ifndef DFOI_ATTEND_IMPL_H
#define DFOI_ATTEND_IMPL_H

#include <diffeo/run.h>
#include "base/real_impl.h"
#include "nn/conv_impl.h"

/* Most pixels of an image: the passes work on matrices of their square.  */
#define DFOI_ATTEND_PIXELS 1024

/* Reals of working memory for c channels and images of `plane` pixels.  */
size_t dfoi_attend_scratch(size_t c, size_t plane);

/* o (c channels) of qkv (3c channels); and the tangent beside it.  Columns behind the last image become zeros.  */
void dfoi_attend(size_t c, dfoi_area area, dfoi_map qkv, dfoi_map o, dfo_real *scratch);
void dfoi_attend_tangent(size_t c, dfoi_area area, dfoi_map_pair qkv, dfoi_map_pair o, dfo_real *scratch);

/* Adds to g, of qkv, from go, of o; with tangents: from and to both adjoints.  */
void dfoi_attend_backward(size_t c, dfoi_area area, dfoi_map qkv, dfoi_map go, dfoi_map g, dfo_real *scratch);
void dfoi_attend_tangent_backward(size_t c, dfoi_area area, dfoi_map_pair qkv, dfoi_map_pair go, dfoi_map_pair g,
                                  dfo_real *scratch);

#endif
