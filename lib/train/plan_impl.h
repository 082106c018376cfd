/* The plan's inside and the parallel loops over its workers.  Private.  */
#ifndef DFOI_PLAN_IMPL_H
#define DFOI_PLAN_IMPL_H

#include "base/real_impl.h"
#include <diffeo/plan.h>

struct dfo_plan {
    dfo_ctx   *ctx;
    dfo_store *store;
    dfo_plan_options options;
    int        threads;
    dfo_need   need;
    dfo_run   *run;                /* (threads) */
    dfo_real  *memory;             /* all workers' arena, saved, aux */
    dfo_real  *derived;            /* (need.derived) */
    dfo_real  *grads;              /* (threads, range + grange): workers' blocks */
    dfo_real  *total;              /* (weights + gderived): their sum */
    dfo_reduction *reduction;
    uint64_t   version;            /* of the weights that derived belongs to */
    const dfo_real *weights;       /* the store's, or a copy to use instead */
    int        stale;
};

/* A task over rows first .. first+n-1 (absolute, n = block except in the last).  */
typedef dfo_status (*dfoi_block_task)(void *data, dfo_run *run, size_t first, size_t n);

/* Cuts `rows` rows into blocks of plan->options.block and runs the task over them; the error of the
 * lowest row goes into the context.  first_row is the absolute index of row 0 (for the key).  */
dfo_status dfoi_plan_blocks(dfo_plan *plan, dfo_key key, size_t rows, dfoi_block_task task, void *data);

/* A task over shard s, rows first .. first+n-1 of the minibatch.  */
typedef dfo_status (*dfoi_shard_task)(void *data, dfo_run *run, size_t shard, size_t first, size_t n);

/* Cuts a minibatch into plan->options.shards shards (fewer if rows are few), runs the task with gradient
 * blocks and sums them in shard order into plan->total.  */
dfo_status dfoi_plan_shards(dfo_plan *plan, dfo_key key, size_t rows, dfoi_shard_task task, void *data);

/* Number of shards for so many rows: clamp(rows/128, 1, 16).  */
size_t dfoi_shards_default(size_t rows, int images);

/* Readies a run that belongs to no worker (prepare, pullback, init): worker 0's with threads set.  */
dfo_run *dfoi_plan_single(dfo_plan *plan, dfo_key key);

/* Moves a worker's error into the context.  */
dfo_status dfoi_plan_error(dfo_plan *plan, const dfo_run *run);

/* Makes the plan use other weights (their moving average); NULL: the store's.  Derived data become stale.  */
void dfoi_plan_use_weights(dfo_plan *plan, const dfo_real *weights);

#endif
