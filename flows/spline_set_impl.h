/* The settings that layers of splines share.  Private to flows.  */
#ifndef DFOI_SPLINE_SET_IMPL_H
#define DFOI_SPLINE_SET_IMPL_H

#include "base/real_impl.h"
#include "base/json_impl.h"
#include "math/kern_impl.h"

/* Reads bins, tail_bound, tails, min_width, min_height, min_derivative and parameter_scale.  given:
 * the numbers as they stand in the configuration, for describe: what float makes of them may be out
 * of range.  */
dfo_status dfoi_spline_read(dfo_ctx *ctx, const json_t *config, dfoi_spline *spline,
                            double given[5]);
dfo_status dfoi_spline_describe(dfo_ctx *ctx, json_t *to, const dfoi_spline *spline,
                                const double given[5]);

#endif
