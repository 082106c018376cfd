/* Statistics for `standardise` from elsewhere.  Private to the library.  */
#ifndef DFOI_STANDARDISE_IMPL_H
#define DFOI_STANDARDISE_IMPL_H

#include "base/real_impl.h"
#include <diffeo/bijector.h>

/* Sets mean and standard deviation (shape.c each: features, or channels of images) of a layer of
 * type "standardise" exactly, from all rows; data init then leaves it alone.  Constant columns as
 * in init. DFO_EARG for other types, DFO_ENUM for values that are not finite: nothing was changed
 * then.  */
dfo_status dfoi_standardise_set(dfo_bijector *bij, const double *mean, const double *std);

/* n means and standard deviations as rows are divided by them, constant columns as in init.  DFO_ENUM, naming what they are of, for
 * values that are not finite: nothing was changed then.  */
dfo_status dfoi_standardise_keep(dfo_ctx *ctx, const char *what, size_t n, const double *mean, const double *std, dfo_real *to_mean,
                                 dfo_real *to_std);

#endif
