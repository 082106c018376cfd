/* NeuTra (Hoffman et al. 2019, "NeuTra-lizing bad geometry in Hamiltonian Monte Carlo using neural transport"): a target seen through
 * a flow that was fitted to it, where it is nearly normal; and draws of a flow weighted by a target.  */
#ifndef DIFFEO_NEUTRA_H
#define DIFFEO_NEUTRA_H

#include <diffeo/real.h>
#include <diffeo/flow.h>
#include <diffeo/mcmc.h>
#include <diffeo/variational.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dfo_neutra dfo_neutra;

/* The target's density of the flow's latents, log p(x(z)) + log|det dx/dz|.  flow and target must outlive it.  DFO_ESHAPE: rows
 * differ; DFO_EUNSUP: a flow with a condition; DFO_EMEM, DFO_ELIMIT.  Not for several threads at once.  */
dfo_status dfo_neutra_new(dfo_ctx *ctx, const dfo_flow *flow, const dfo_target *target, dfo_neutra **out);
void dfo_neutra_free(dfo_neutra *neutra);

/* It, as a target for dfo_mcmc_run; owned by neutra.  Latents that the flow takes to no finite row have density 0.  */
const dfo_target *dfo_neutra_target(const dfo_neutra *neutra);

/* Latents z (n,d) to rows x (n,d), which may be the same memory.  */
dfo_status dfo_neutra_rows(dfo_neutra *neutra, size_t n, const double *z, double *x);

/* n draws of the flow, functions of seed and place: x (n,d), and log_weight (n) = log p(x) - log q(x), for
 * dfo_weights_summarise and dfo_weights_resample.  */
dfo_status dfo_neutra_draw(dfo_neutra *neutra, uint64_t seed, size_t n, double *x, double *log_weight);

#ifdef __cplusplus
}
#endif
#endif
