/* The residual net with a time: what the net (time_mlp.c) and its exact trace (time_mlp_trace.c) share.  Private.  */
#ifndef DFOI_TIME_MLP_IMPL_H
#define DFOI_TIME_MLP_IMPL_H

#include <string.h>
#include "base/real_impl.h"
#include "math/kern_impl.h"
#include "nn/embed_impl.h"
#include "nn/unit_impl.h"

#define TIME_MLP_LAYERS 64

struct time_mlp_settings {
    size_t hidden, layers, inject;
    dfoi_act act;
    double dropout, last_init;
    dfoi_embed_settings embed;
};

struct time_mlp {
    struct time_mlp_settings settings;
    dfoi_embed embed;
    dfoi_linear first, last, layer[TIME_MLP_LAYERS];
    dfoi_unit unit[TIME_MLP_LAYERS + 1];
    size_t injected;                /* layers that take of the embedding, the first ones */
    size_t keep, keep_unit;         /* reals that forward keeps of a panel: the embedding's, then so many of each unit */
    size_t products;                /* scratch of products */
};

/* Layer k's argument: the stream, and what the embedding has for it (nothing behind the injected ones).  */
static inline void time_mlp_argument(const struct time_mlp *m, size_t k, const dfo_real *stream, const dfo_real *q, dfo_real *to)
{
    size_t size = m->settings.hidden * DFO_PANEL;
    if (k < m->injected)
        dfoi_add_to(size, stream, q + k * size, to);
    else
        memcpy(to, stream, size * sizeof *to);
}

/* The net's passes trace_size, trace_begin, trace, and the arena of the last two.  */
size_t dfoi_time_mlp_trace_size(const dfo_net *net);
size_t dfoi_time_mlp_trace_scratch(const dfo_net *net);
dfo_status dfoi_time_mlp_trace_begin(const dfo_net *net, dfo_run *run, dfo_real t, dfo_real *kept);
dfo_status dfoi_time_mlp_trace(const dfo_net *net, dfo_run *run, const dfo_cond *in, const dfo_real *kept, dfo_block out, double *trace);

#endif
