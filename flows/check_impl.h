/* The parts of a check.  Private to flows.  */
#ifndef DFOI_CHECK_IMPL_H
#define DFOI_CHECK_IMPL_H

#include "base/real_impl.h"
#include <diffeo/check.h>
#include "flow_impl.h"

/* Every layer of a chain (or the bijector itself) by itself: rows go through the layer and back; the error of
 * each is held against 64 eps kappa.  Fills report->layer and the figures over layers.  */
dfo_status dfoi_check_layers(dfo_ctx *ctx, const dfo_flow *flow, uint64_t seed, dfo_batch x, const dfo_cond *cond,
                             dfo_check_report *report);

#endif
