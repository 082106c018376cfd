/* The parts of a check.  Private to flows.  */
#ifndef DFOI_CHECK_IMPL_H
#define DFOI_CHECK_IMPL_H

#include "base/real_impl.h"
#include <diffeo/check.h>
#include "flow_impl.h"

#define DFOI_CHECK_BLOCK 256       /* rows that the layers are checked with at a time */

/* Every layer of a chain (or the bijector itself) by itself: rows go through the layer and back; the errors of
 * rows and of log-dets are held against their bounds.  */
typedef struct dfoi_layer_check dfoi_layer_check;

/* Makes report->layer.  */
dfo_status dfoi_layer_check_new(dfo_ctx *ctx, const dfo_flow *flow, uint64_t seed, dfo_check_report *report,
                                dfoi_layer_check **out);
/* More rows; `first` is the absolute index of the first, a multiple of DFOI_CHECK_BLOCK.  */
dfo_status dfoi_layer_check_rows(dfoi_layer_check *check, uint64_t first, dfo_batch x, const dfo_cond *cond);
/* The figures over all layers.  */
void dfoi_layer_check_end(dfoi_layer_check *check);
void dfoi_layer_check_free(dfoi_layer_check *check);

/* As dfo_flow_check, of the rows one by one or of their first few: log-dets against numerical Jacobians, gradients
 * against differences, and the integral of the density over low[j] .. high[j] (d <= 2), the range of all rows.  */
typedef struct dfoi_row_check {
    dfo_ctx *ctx;
    const dfo_flow *flow;
    dfo_flow_plan *plan;
    dfo_check_report *report;
    const dfo_source *rows;
    uint64_t seed;
    double low[2], high[2];
} dfoi_row_check;

dfo_status dfoi_check_jacobians(const dfoi_row_check *c);
dfo_status dfoi_check_gradients(const dfoi_row_check *c);
dfo_status dfoi_check_normalisation(const dfoi_row_check *c);

/* x (n, d + cond_d), packed, as the flow's rows and their condition.  */
dfo_batch dfoi_check_split(const dfo_flow *flow, dfo_real *x, size_t n, dfo_cond *cond);

#endif
