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

/* For passes of the caller's own, in one thread and of at most need.rows rows at a time: the memory of the first worker of a plan
 * for evaluation, with the store's present weights, an empty arena and no error, until the next call that takes the plan.
 * Derived data are not prepared: nets and solvers have none.  What failed stands in run->text.  */
dfo_run *dfo_plan_run(dfo_plan *plan, dfo_key key);

/* What its workers have counted since it was made: evaluations of continuous flows' fields, and the solves that they were
 * for.  */
void dfo_plan_evaluations(const dfo_plan *plan, uint64_t *evaluations, uint64_t *solves);

/* Bytes that a plan with these measures takes.  */
size_t dfo_plan_bytes(const dfo_store *store, const dfo_need *need, const dfo_plan_options *options, int threads);

/* What the number of rows that are taken at a time is chosen by.  */
typedef struct dfo_chunk {
    uint64_t asked, rows;          /* how many were asked for (0: the usual number); how many there are */
    size_t   block;                /* >= 1; a chunk is a multiple of it */
    size_t   row_bytes, taken;     /* bytes that a row of a chunk takes, and what other working memory takes */
} dfo_chunk;

/* How many rows to take at a time: as many as asked, else 8,192 and at most 64 MiB of them, rounded up to whole
 * blocks; no more than there are, and than the context's memory limit leaves room for.  DFO_ELIMIT, with the bytes
 * needed, if it leaves no room for one block; DFO_EMEM if so many cannot be addressed.  */
dfo_status dfo_chunk_rows(dfo_ctx *ctx, const dfo_chunk *what, size_t *rows);

#ifdef __cplusplus
}
#endif
#endif
