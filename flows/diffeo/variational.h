/* Flows fitted to a density that is known up to a constant, and gradients through their draws.  */
#ifndef DIFFEO_VARIATIONAL_H
#define DIFFEO_VARIATIONAL_H

#include <diffeo/real.h>
#include <diffeo/flow.h>
#include <diffeo/target.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The way back through dfo_flow_decode.  On entry x (n,d) is what it made, gx (n,d) is dL/dx and glogdet (n) is dL/d log|det dx/dz|;
 * on exit x holds the latents again and gx is dL/dz.  Arguments and errors as in <diffeo/flow.h>; DFO_EARG for a plan without
 * gradients, DFO_EUNSUP names a layer whose inverse has no gradient.  */
dfo_status dfo_flow_decode_backward(dfo_flow_plan *plan, uint64_t first_row, dfo_batch x, dfo_batch gx, const dfo_cond *cond,
                                    const double *glogdet);

/* A loss whose minimum is at the target p, from the flow's own draws x = T(z), w = p(x)/q(x); the rows of the data that dfo_fit
 * goes through count alone, their values do not matter.  Over the K rows of a shard (training) or block (validation)
 *     alpha = 0:      mean_i -log w_i, the reverse Kullback-Leibler divergence KL(q|p) less log Z
 *     0 < alpha <= 1: -1/alpha log mean_i w_i^alpha, which covers p the better the larger alpha is: the alpha-divergence's bound
 *                     (Hernandez-Lobato et al. 2016; Li and Turner 2016 write 1 - alpha for it); at 1 the importance-weighted bound
 *                     of log Z (Burda et al. 2016), which asks the less of the flow the more draws a shard has
 * by gradients through T (Rezende and Mohamed 2015).  The draws of step t are functions of seed, t and place.
 * flow and target must outlive the loss; several threads ask the target at once, which that of <diffeo/neutra.h> does not bear.  DFO_ESHAPE: their rows differ; DFO_EUNSUP: a flow with a condition, one that is fitted by
 * matching, a base with weights; DFO_EARG: alpha out of range.  Training ends with DFO_EUNSUP, naming the layer, for layers whose
 * inverse has no gradient.  */
dfo_status dfo_loss_reverse_new(dfo_flow *flow, const dfo_target *target, double alpha, dfo_loss **out);

#ifdef __cplusplus
}
#endif
#endif
