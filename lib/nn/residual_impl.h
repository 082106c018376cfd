/* The residual network's state, and its passes.  Private.  */
#ifndef DFOI_RESIDUAL_IMPL_H
#define DFOI_RESIDUAL_IMPL_H

#include <diffeo/net.h>
#include "base/real_impl.h"
#include "nn/dense_impl.h"
#include "nn/unit_impl.h"

#define DFOI_RESIDUAL_BLOCKS 64

struct dfoi_residual_settings {
    size_t hidden, blocks;
    dfoi_act act;
    double dropout, last_init;
    int norm, gate;
};

struct dfoi_residual_block {
    dfoi_unit unit[2];
    const dfoi_linear *linear[2];
    const dfoi_linear *gate; /* NULL: none */
    size_t at[2], at_gate;   /* in acts: what the units keep; r and the gate's value */
};

struct dfoi_residual {
    struct dfoi_residual_settings settings;
    size_t hidden, in;
    size_t before_context, context; /* where the context's features begin, and how many gate */
    size_t keep, scratch_grad;
    size_t at_last; /* in acts: the stream behind the last block */
    size_t linears;
    const dfoi_linear *first, *last;
    dfoi_linear linear[3 * DFOI_RESIDUAL_BLOCKS + 2];
    struct dfoi_residual_block block[DFOI_RESIDUAL_BLOCKS];
};

size_t dfoi_residual_scratch(const dfo_net *net, size_t rows);
dfo_status dfoi_residual_forward(const dfo_net *net, dfo_run *run, const dfo_cond *in,
                                 dfo_block out, dfo_real *acts);
dfo_status dfoi_residual_backward(const dfo_net *net, dfo_run *run, const dfo_cond *in,
                                  dfo_block gout, dfo_cond *gin, const dfo_real *acts);
dfo_status dfoi_residual_jvp(const dfo_net *net, dfo_run *run, const dfo_cond *in,
                             const dfo_cond *din, dfo_block out, dfo_block dout, dfo_real *acts);
dfo_status dfoi_residual_jvp_backward(const dfo_net *net, dfo_run *run, const dfo_cond *in,
                                      const dfo_cond *din, dfo_block gout, dfo_block gdout,
                                      dfo_cond *gin, dfo_cond *gdin, const dfo_real *acts);

#endif
