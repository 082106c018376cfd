/* Residual flows: what the layer (residual.c), its contraction's weights (residual_weights.c) and its log-dets (residual_trace.c)
 * share, and what flows ask of the layer.  Private to flows.  */
#ifndef DFOI_RESIDUAL_FLOW_IMPL_H
#define DFOI_RESIDUAL_FLOW_IMPL_H

#include <diffeo/net.h>
#include "base/real_impl.h"
#include "layer_impl.h"

#define DFOI_RESIDUAL_DEPTH 8

enum dfoi_residual_trace { DFOI_TRACE_EXACT, DFOI_TRACE_SERIES, DFOI_TRACE_ROULETTE };

struct dfoi_residual {
    dfo_net *net;                          /* an mlp; its weights are derived data, from those of the same layout in the store */
    size_t   depth, hidden;
    size_t   rows[DFOI_RESIDUAL_DEPTH + 1], cols[DFOI_RESIDUAL_DEPTH + 1];      /* of matrix l, which contracts */
    size_t   more;                         /* columns of the first behind those, the condition's */
    size_t   w[DFOI_RESIDUAL_DEPTH + 1], b[DFOI_RESIDUAL_DEPTH + 1];            /* in the store */
    int      lipswish;
    size_t   beta;                         /* (depth), of lipswish */
    double   lipschitz;                    /* of every matrix, at most */
    const char *activation, *trace_name;   /* constant texts */
    enum dfoi_residual_trace trace;
    size_t   terms, probes;
    uint64_t stream;
};

static inline const struct dfoi_residual *dfoi_residual(const dfo_bijector *bij)
{
    return bij->state;
}

/* The net's input: rows, then what they are conditioned on, from row `first`.  */
dfo_cond dfoi_residual_input(dfo_batch x, const dfo_cond *cond, size_t first);

/* Derived data: the net's weights, whose gradients gderived holds.  residual_weights.c.  */
size_t dfoi_residual_derived(const dfo_bijector *bij);
size_t dfoi_residual_gderived(const dfo_bijector *bij);
dfo_status dfoi_residual_prepare(const dfo_bijector *bij, dfo_run *run, dfo_real *to);
size_t dfoi_residual_pullback_scratch(const dfo_bijector *bij);
dfo_status dfoi_residual_pullback(const dfo_bijector *bij, dfo_run *run, const dfo_real *from, const dfo_real *gfrom);

/* Between these the run's weights and gradients are the net's.  */
typedef struct dfoi_residual_place {
    const dfo_real *weights;
    dfo_real *grads;
} dfoi_residual_place;
dfoi_residual_place dfoi_residual_enter(const dfo_bijector *bij, dfo_run *run);
void dfoi_residual_leave(dfo_run *run, dfoi_residual_place was);

/* With the net's weights: logdet += sign log|det(I + J)| of rows x, or its estimate; and gx += J^T gz + glogdet d log|det|/dx with
 * the condition's and the weights' gradients.  residual_trace.c.  */
dfo_status dfoi_residual_log_det(const dfo_bijector *bij, dfo_run *run, dfo_batch x, const dfo_cond *cond, double sign, double *logdet);
dfo_status dfoi_residual_log_det_back(const dfo_bijector *bij, dfo_run *run, dfo_batch x, dfo_batch gz, const dfo_cond *cond,
                                      const dfo_cond *gcond, const double *glogdet);
size_t dfoi_residual_trace_scratch(const dfo_bijector *bij, size_t rows);

/* Probes with which evaluation estimates; 0: it is exact.  */
size_t dfoi_residual_probes(const dfo_bijector *bij);

#endif
