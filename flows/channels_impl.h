/* Rows as columns of channels: column k is pixel k % plane of row k / plane (plane = 1 for vectors,
 * so a column is a row), and a panel holds 64 columns, channel after channel.  What mixes channels,
 * or treats each by itself, works on such panels for vectors and images alike.  Private to flows.
 * */
#ifndef DFOI_CHANNELS_IMPL_H
#define DFOI_CHANNELS_IMPL_H

#include "base/real_impl.h"
#include "math/gemm_impl.h"
#include <diffeo/bijector.h>

static inline size_t dfoi_plane(const dfo_bijector *bij)
{
    return bij->shape.h * bij->shape.w;
}

/* Columns first .. first+n-1 (n <= 64) of x to a panel (c, 64); the tail repeats the last one, or
 * is zero.  */
void dfoi_columns_to_panel(const dfo_bijector *bij, dfo_batch x, size_t first, size_t n,
                           int zero_tail, dfo_real *panel);
void dfoi_columns_from_panel(const dfo_bijector *bij, const dfo_real *panel, size_t first, size_t n,
                             dfo_batch x);

/* value (64) per column is added to the logdet (n rows) of the column's row, or taken from it.  */
void dfoi_columns_add(const dfo_bijector *bij, const dfo_real *value, size_t first, size_t n,
                      double *logdet);

/* glogdet of each column's row, zero behind.  */
void dfoi_columns_glogdet(const dfo_bijector *bij, const double *glogdet, size_t first, size_t n,
                          dfo_real *value);

#endif
