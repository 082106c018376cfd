/* The plan owns working memory: measured and allocated once, nothing after.  */
#ifndef DIFFEO_PLAN_H
#define DIFFEO_PLAN_H

#include <diffeo/real.h>
#include <diffeo/run.h>
#include <diffeo/store.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dfo_plan dfo_plan;

typedef struct dfo_plan_options {
    int      threads;              /* 0: the context's */
    size_t   block;                /* rows a worker takes at a time (evaluation) */
    size_t   shards;               /* training: number of shards of a minibatch; 0: evaluation */
    dfo_memory_mode memory;
    unsigned anchors;
    uint64_t seed;
    dfo_mode mode;
    dfo_plan *share;               /* use this plan's derived data (it outlives the new one and needs as much), or
                                      NULL; the two then take turns: whoever prepares makes the other stale */
} dfo_plan_options;

/* Allocates a worker's memory for `need` (of need.rows rows) per thread, derived data once, and in
 * training a gradient block per worker and their sum.  The plan keeps pointers to store and ctx; ctx
 * may differ from the store's (one per thread).  DFO_ELIMIT if the context's memory limit is passed:
 * nothing was allocated and the message says how many bytes it takes.  */
dfo_status dfo_plan_new(dfo_ctx *ctx, dfo_store *store, const dfo_need *need,
                        const dfo_plan_options *options, dfo_plan **out);
void dfo_plan_free(dfo_plan *plan);

/* Bytes that a plan with these measures takes.  */
size_t dfo_plan_bytes(const dfo_store *store, const dfo_need *need, const dfo_plan_options *options, int threads);

#ifdef __cplusplus
}
#endif
#endif
