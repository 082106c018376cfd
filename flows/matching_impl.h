/* Flow matching: paths from noise to data, and the loss.  Private to flows.  */
#ifndef DFOI_MATCHING_IMPL_H
#define DFOI_MATCHING_IMPL_H

#include <jansson.h>
#include "base/real_impl.h"
#include "flow_impl.h"

/* {"path":"straight","sigma":0,"pairing":"independent"|"transport"}.  */
dfo_status dfoi_matching_read(dfo_ctx *ctx, const json_t *config, dfoi_matching *m);
dfo_status dfoi_matching_describe(dfo_ctx *ctx, const dfoi_matching *m, json_t *to);

/* Of d numbers at time t: where the path is, and how fast.  x may be x1.  */
void dfoi_matching_path(const dfoi_matching *m, double t, size_t d, const dfo_real *x0, const dfo_real *x1, const dfo_real *e,
                        dfo_real *x, dfo_real *u);

/* The last layer of a flow, if it is a continuous one, with its place in derived data; else NULL.  */
const dfo_bijector *dfoi_matching_layer(const dfo_flow *flow, size_t *derived);

/* In cnf.c.  loss[i] = mean square of f(x_i, end t_i) end - u_i, with weights' gradients of sum by[i] loss[i] if run->grads.  */
dfo_status dfoi_cnf_regress(const dfo_bijector *bij, dfo_run *run, const double *t, dfo_batch x, const dfo_cond *cond, dfo_batch u,
                            const double *by, double *loss);
size_t dfoi_cnf_regress_scratch(const dfo_bijector *bij, size_t rows);

/* In cnf.c: see dfo_flow_set_solver, dfo_flow_probes.  */
dfo_status dfoi_cnf_set_solver(dfo_ctx *ctx, dfo_bijector *bij, const dfo_solver_options *o);
size_t dfoi_cnf_probes(const dfo_bijector *bij);

#endif
