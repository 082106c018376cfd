/* A continuous flow's field at some rows: what cnf_field.c, its costs (cnf_cost.c) and cnf_net.c share.  Private.  */
#ifndef DFOI_CNF_CALL_IMPL_H
#define DFOI_CNF_CALL_IMPL_H

#include "base/real_impl.h"
#include "cnf_impl.h"
#include "math/gemm_impl.h"
#include "nn/rows_impl.h"

/* A chunk's arguments of the net: rows, condition, time; pulled: J^T e, or an adjoint of the tangent; ones: the time's tangent.  */
struct dfoi_cnf_call {
    const dfo_net *net;
    dfo_cond  in, din, gin;
    dfo_block out, dout;
    dfo_batch tangent, pulled;
    dfo_real *acts, *ones, *path;
    double   *trace;
    size_t    order;                       /* of the derivative whose square is the acceleration's cost */
    size_t    first, n, d, nq;
};

/* Where feature e of row i stands in a block.  */
static inline dfo_real *dfoi_cnf_spot(dfo_block b, size_t i, size_t e)
{
    return b.layout == DFO_FEATURES ? b.x + (i / DFO_PANEL * b.d + e) * DFO_PANEL + i % DFO_PANEL : b.x + i * b.ld + e;
}

static inline size_t dfoi_cnf_passes(const struct dfoi_cnf_solve *f)
{
    return f->probe ? ((const struct dfoi_cnf *)f->bij->state)->probes : f->bij->d;
}

/* Rows that the net takes at a time.  */
size_t dfoi_cnf_chunk(size_t rows);

/* Rows first .. first+n-1 of a call; its arena, and that of the field.  */
struct dfoi_cnf_call dfoi_cnf_call_of(const dfo_field *field, dfo_run *run, const double *t, dfo_batch x, size_t first, size_t n);
size_t dfoi_cnf_field_scratch(const dfo_field *field, size_t rows);

/* The direction of pass j: a probe, or the j-th unit vector.  */
void dfoi_cnf_direct(const struct dfoi_cnf_solve *f, const struct dfoi_cnf_call *c, size_t j);

/* The gradient of gdx . f and of the kinetic energy in `out`, which holds f: zero but for the first pass.  */
void dfoi_cnf_seed_field(const struct dfoi_cnf_solve *f, struct dfoi_cnf_call *c, size_t j, dfo_batch gdx, const double *gdq);

/* The trace and the Jacobian's norm by J^T e; `to` gets f.  The costs that need no direction; `to` holds f.  */
dfo_status dfoi_cnf_eval_pulls(const struct dfoi_cnf_solve *f, dfo_run *run, struct dfoi_cnf_call *c, dfo_batch to, double *dq);
dfo_status dfoi_cnf_eval_costs(const struct dfoi_cnf_solve *f, dfo_run *run, struct dfoi_cnf_call *c, dfo_batch to, double *dq);

/* Gradients of the trace, the kinetic energy and the Jacobian's norm; of the acceleration.  */
dfo_status dfoi_cnf_vjp_pulls(const struct dfoi_cnf_solve *f, dfo_run *run, struct dfoi_cnf_call *c, dfo_batch gdx, const double *gdq);
dfo_status dfoi_cnf_vjp_acceleration(dfo_run *run, struct dfoi_cnf_call *c, dfo_batch gdx, const double *gdq);

#endif
