/* A bound of a matrix' largest singular value that holds, and its slope.  Private.  */
#ifndef DFOI_SPECTRAL_IMPL_H
#define DFOI_SPECTRAL_IMPL_H

#include <stddef.h>
#include "base/real_impl.h"

/* Doubles that the two below work in.  */
size_t dfoi_norm_room(size_t rows, size_t cols);

/* At least the largest singular value of w (rows, cols), and at most min(rows, cols)^(1/1024) times that; not finite if an entry
 * is not.  */
double dfoi_norm_bound(size_t rows, size_t cols, const dfo_real *w, double *room);

/* Its slope (rows, cols); w is not zero.  */
void dfoi_norm_bound_slope(size_t rows, size_t cols, const dfo_real *w, double *room, double *slope);

#endif
