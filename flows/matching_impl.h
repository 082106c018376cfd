/* Flow matching: paths from noise to data, and the loss.  Private to flows.  */
#ifndef DFOI_MATCHING_IMPL_H
#define DFOI_MATCHING_IMPL_H

#include <jansson.h>
#include "base/real_impl.h"
#include "flow_impl.h"

/* {"path":"straight","sigma":0,"pairing":"independent"|"transport"|"given","windows":0,"teacher_steps":4,
 * "label_dropout":0}.  */
dfo_status dfoi_matching_read(dfo_ctx *ctx, const json_t *config, dfoi_matching *m);
dfo_status dfoi_matching_describe(dfo_ctx *ctx, const dfoi_matching *m, json_t *to);

/* Of d numbers at time t: where the path is, and how fast.  x may be x1.  */
void dfoi_matching_path(const dfoi_matching *m, double t, size_t d, const dfo_real *x0, const dfo_real *x1, const dfo_real *e,
                        dfo_real *x, dfo_real *u);

/* At time t of the straight line from `from` at start to `to` at end: where it is, and how fast.  x may be `from`.  */
void dfoi_matching_window(double start, double end, double t, size_t d, const dfo_real *from, const dfo_real *to, dfo_real *x, dfo_real *u);

/* The last layer of a flow, if it is a continuous one, with its place in derived data; else NULL.  */
const dfo_bijector *dfoi_matching_layer(const dfo_flow *flow, size_t *derived);

/* Is it the only one?  Fields before it would be solved and never fitted.  */
int dfoi_matching_alone(const dfo_flow *flow);

#endif
