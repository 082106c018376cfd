/* The settings that layers of sums of sigmoids share.  Private to flows.  */
#ifndef DFOI_SIGMOIDS_SET_IMPL_H
#define DFOI_SIGMOIDS_SET_IMPL_H

#include "base/real_impl.h"
#include "base/json_impl.h"
#include "math/sigmoids_impl.h"

/* Reads components and spread, of the mixture also scale and scale_max.  given: the numbers as they stand in the
 * configuration, for describe: what float makes of them may be out of range.  */
dfo_status dfoi_sigmoids_read(dfo_ctx *ctx, const json_t *config, int deep, dfoi_sigmoids *how, double given[5]);
dfo_status dfoi_sigmoids_describe(dfo_ctx *ctx, json_t *to, const dfoi_sigmoids *how, const double given[5]);

#endif
