/* The residual net with a time: what the net (time_mlp.c) and its exact trace (time_mlp_trace.c) share.  Private.  */
#ifndef DFOI_TIME_MLP_IMPL_H
#define DFOI_TIME_MLP_IMPL_H

#include "base/real_impl.h"
#include "nn/embed_impl.h"
#include "nn/unit_impl.h"

#define TIME_MLP_LAYERS 64

struct time_mlp_settings {
    size_t hidden, layers;
    dfoi_act act;
    double dropout, last_init;
    dfoi_embed_settings embed;
};

struct time_mlp {
    struct time_mlp_settings settings;
    dfoi_embed embed;
    dfoi_linear first, last, layer[TIME_MLP_LAYERS];
    dfoi_unit unit[TIME_MLP_LAYERS + 1];
    size_t keep, keep_unit;         /* reals that forward keeps of a panel: the embedding's, then so many of each unit */
    size_t products;                /* scratch of products */
};

/* The net's passes trace_size, trace_begin, trace, and the arena of the last two.  */
size_t dfoi_time_mlp_trace_size(const dfo_net *net);
size_t dfoi_time_mlp_trace_scratch(const dfo_net *net);
dfo_status dfoi_time_mlp_trace_begin(const dfo_net *net, dfo_run *run, dfo_real t, dfo_real *kept);
dfo_status dfoi_time_mlp_trace(const dfo_net *net, dfo_run *run, const dfo_cond *in, const dfo_real *kept, dfo_block out, double *trace);

#endif
