/* Layers with the time: what the net (squash.c) and its trace in closed form (squash_trace.c) share.  Private.  */
#ifndef DFOI_SQUASH_IMPL_H
#define DFOI_SQUASH_IMPL_H

#include "base/real_impl.h"
#include "nn/dense_impl.h"
#include "nn/squash_kern_impl.h"

#define SQUASH_LAYERS 64

/* What the time does to a layer: see squash.c.  */
typedef enum squash_kind { SQUASH_GATE, SQUASH_CONCAT, SQUASH_HYPER } squash_kind;

struct squash_settings {
    size_t layers, hidden[SQUASH_LAYERS];
    dfoi_act act;
};

struct squash {
    struct squash_settings settings;
    squash_kind kind;
    size_t layers;                         /* all: hidden ones and the last */
    size_t keep, widest, scratch_grad;     /* reals kept of a panel; features; reals */
    dfoi_linear linear[SQUASH_LAYERS + 1];
    size_t time[SQUASH_LAYERS + 1][3];        /* gate, shift, drift in the store */
    size_t at[SQUASH_LAYERS + 1];             /* a, then h, in what is kept */
};

/* The outputs of layer l.  */
static inline size_t dfoi_squash_out(const struct squash *m, size_t l)
{
    return m->kind == SQUASH_HYPER ? m->linear[l].out / 2 : m->linear[l].out;
}

/* Layer l at the times t (64); gt (64): where the time's gradient is added, or NULL.  */
static inline dfoi_squash dfoi_squash_layer(const dfo_net *net, const dfo_run *run, size_t l, const dfo_real *t, dfo_real *gt)
{
    const struct squash *m = net->state;
    const size_t *at = m->time[l];
    dfoi_squash how = {.out = dfoi_squash_out(m, l), .gt = gt, .t = t};
    if (m->kind == SQUASH_GATE) {
        how.gate = dfo_run_weights(run, at[0]);
        how.shift = dfo_run_weights(run, at[1]);
        how.ggate = dfo_run_grads(run, at[0]);
        how.gshift = dfo_run_grads(run, at[1]);
    }
    if (m->kind != SQUASH_HYPER) {
        how.drift = dfo_run_weights(run, at[2]);
        how.gdrift = dfo_run_grads(run, at[2]);
    }
    return how;
}

/* The net's passes trace_size, trace_begin, trace, and the arena of the last two.  */
size_t dfoi_squash_trace_size(const dfo_net *net);
size_t dfoi_squash_trace_scratch(const dfo_net *net, size_t rows);
dfo_status dfoi_squash_trace_begin(const dfo_net *net, dfo_run *run, dfo_real t, dfo_real *kept);
dfo_status dfoi_squash_trace(const dfo_net *net, dfo_run *run, const dfo_cond *in, const dfo_real *kept, dfo_block out, double *trace);

/* Its derivatives along the path, squash_jet.c.  */
size_t dfoi_squash_path_kept(const dfo_net *net, size_t rows, size_t order);
size_t dfoi_squash_path_scratch(const dfo_net *net, size_t order);
dfo_status dfoi_squash_path(const dfo_net *net, dfo_run *run, const dfo_cond *in, size_t order, dfo_block out, dfo_real *kept);
dfo_status dfoi_squash_path_backward(const dfo_net *net, dfo_run *run, const dfo_cond *in, size_t order, dfo_block gout, dfo_cond *gin,
                                     const dfo_real *kept);

#endif
