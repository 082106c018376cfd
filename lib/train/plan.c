/* The plan: workers' memory, and the two ways of spreading rows over workers: blocks (evaluation)
 * and shards (a gradient step, with gradient blocks summed in shard order).  */
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

#include "base/ctx_impl.h"
#include "base/par_impl.h"
#include "train/plan_impl.h"

#define MAX_SHARDS 16

struct dfo_reduction {
    dfo_real    *total, *gtotal;             /* of weights, of derived data */
    atomic_size_t done[MAX_SHARDS];          /* ranges that shard s has added */
};

size_t dfoi_shards_default(size_t rows, int images)
{
    size_t s = rows / (images ? 8 : 128);
    return s < 1 ? 1 : s > MAX_SHARDS ? MAX_SHARDS : s;
}

/* Reals of one worker's memory, and of its gradient block.  */
static size_t worker_size(const dfo_need *need)
{
    return dfo_arena_size(need->scratch) + dfo_arena_size(need->saved) +
           dfo_arena_size(need->aux * need->rows);
}

static size_t block_size(const dfo_need *need)
{
    return dfo_arena_size(need->range) + dfo_arena_size(need->grange);
}

static size_t total_size(const dfo_store *store, const dfo_need *need)
{
    return dfo_store_weights_size(store) + dfo_arena_size(need->gderived);
}

static int workers(const dfo_plan_options *options, int threads)
{
    return options->shards && (size_t)threads > options->shards ? (int)options->shards : threads;
}

size_t dfo_plan_bytes(const dfo_store *store, const dfo_need *need, const dfo_plan_options *options, int threads)
{
    size_t n = (size_t)workers(options, threads);
    size_t reals = n * worker_size(need) + (options->share ? 0 : dfo_arena_size(need->derived));
    if (options->shards)
        reals += n * block_size(need) + total_size(store, need);
    return reals * sizeof(dfo_real) + sizeof(dfo_plan) + n * sizeof(dfo_run);
}

static void hand_out(dfo_plan *plan)
{
    const dfo_need *need = &plan->need;
    size_t size = worker_size(need), grads = block_size(need);
    for (int w = 0; w < plan->threads; w++) {
        dfo_run *run = &plan->run[w];
        dfo_real *at = plan->memory + (size_t)w * size;
        run->mode = plan->options.mode;
        run->memory = plan->options.memory;
        run->anchors = plan->options.anchors;
        run->threads = 1;
        run->arena = at;
        run->arena_size = dfo_arena_size(need->scratch);
        at += run->arena_size;
        run->saved = need->saved ? at : NULL;
        at += dfo_arena_size(need->saved);
        run->aux = dfo_batch_of(need->aux ? at : NULL, need->rows, need->aux);
        run->derived = plan->derived;
        if (plan->grads) {
            run->block = plan->grads + (size_t)w * grads;
            run->gblock = run->block + dfo_arena_size(need->range);
            run->grads = run->block;
            run->gderived = run->gblock;
        }
    }
}

dfo_status dfo_plan_new(dfo_ctx *ctx, dfo_store *store, const dfo_need *need, const dfo_plan_options *options,
                        dfo_plan **out)
{
    dfo_status status;
    dfo_plan *plan = NULL;
    *out = NULL;
    int threads = options->threads > 0 ? options->threads : dfo_ctx_threads(ctx);
    if (options->shards > MAX_SHARDS)
        return dfoi_fail(ctx, DFO_EARG, "shards must be at most %d, got %zu", MAX_SHARDS, options->shards);
    size_t bytes = dfo_plan_bytes(store, need, options, threads);
    size_t limit = dfoi_memory_limit(ctx);
    if (limit && bytes > limit)
        return dfoi_fail(ctx, DFO_ELIMIT, "working memory: %zu bytes needed, --memory allows %zu", bytes, limit);
    DFO_TRY(dfoi_alloc(ctx, 1, sizeof *plan, &plan));
    plan->ctx = ctx;
    plan->store = store;
    plan->options = *options;
    plan->need = *need;
    plan->threads = workers(options, threads);
    plan->stale = 1;
    size_t n = (size_t)plan->threads;
    DFO_GO(dfoi_alloc(ctx, n, sizeof *plan->run, &plan->run));
    DFO_GO(dfoi_alloc_big(ctx, n * worker_size(need), sizeof(dfo_real), &plan->memory));
    if (options->share)
        plan->derived = options->share->derived;
    else
        DFO_GO(dfoi_alloc_big(ctx, dfo_arena_size(need->derived), sizeof(dfo_real), &plan->derived));
    if (options->shards) {
        DFO_GO(dfoi_alloc_big(ctx, n * block_size(need), sizeof(dfo_real), &plan->grads));
        DFO_GO(dfoi_alloc_big(ctx, total_size(store, need), sizeof(dfo_real), &plan->total));
        DFO_GO(dfoi_alloc(ctx, 1, sizeof *plan->reduction, &plan->reduction));
        plan->reduction->total = plan->total;
        plan->reduction->gtotal = plan->total + dfo_store_weights_size(store);
    }
    hand_out(plan);
    *out = plan;
    return DFO_OK;
fail:
    dfo_plan_free(plan);
    return status;
}

void dfo_plan_free(dfo_plan *plan)
{
    if (!plan)
        return;
    dfoi_free(plan->ctx, plan->reduction);
    dfoi_free(plan->ctx, plan->total);
    dfoi_free(plan->ctx, plan->grads);
    if (!plan->options.share)
        dfoi_free(plan->ctx, plan->derived);
    dfoi_free(plan->ctx, plan->memory);
    dfoi_free(plan->ctx, plan->run);
    dfoi_free(plan->ctx, plan);
}

void dfo_plan_evaluations(const dfo_plan *plan, uint64_t *evaluations, uint64_t *solves)
{
    *evaluations = *solves = 0;
    for (int i = 0; i < plan->threads; i++) {
        *evaluations += plan->run[i].evaluations;
        *solves += plan->run[i].solves;
    }
}

void dfoi_plan_use_weights(dfo_plan *plan, const dfo_real *weights)
{
    plan->weights = weights;
    plan->stale = 1;
}

/* A run, fresh for a task.  */
static dfo_run *ready(dfo_plan *plan, int worker, dfo_key key, size_t first)
{
    dfo_run *run = &plan->run[worker];
    run->weights = plan->weights ? plan->weights : dfo_store_weights(plan->store);
    run->buffers = dfo_store_buffers(plan->store);
    run->new_buffers = NULL;
    run->derived = plan->derived;
    run->arena_used = 0;
    run->key = key;
    run->key.row += first;
    run->drift = 0;
    run->reduction = NULL;
    run->threads = 1;
    run->status = DFO_OK;
    run->error_row = (size_t)-1;
    run->text[0] = 0;
    return run;
}

dfo_run *dfoi_plan_single(dfo_plan *plan, dfo_key key)
{
    dfo_run *run = ready(plan, 0, key, 0);
    run->threads = plan->threads;
    return run;
}

dfo_run *dfo_plan_run(dfo_plan *plan, dfo_key key)
{
    return ready(plan, 0, key, 0);
}

dfo_status dfoi_plan_error(dfo_plan *plan, const dfo_run *run)
{
    if (run->status == DFO_OK)
        return DFO_OK;
    return dfoi_fail(plan->ctx, run->status, "%s", run->text);
}

/* Of all tasks that failed the one of the lowest first row is reported: the same for any number of
 * threads, since tasks are handed out in order and those before it have all been run.  */
struct spread {
    dfo_plan       *plan;
    dfo_key         key;
    size_t          rows, tasks;
    dfoi_block_task block;
    dfoi_shard_task shard;
    void           *data;
    atomic_flag     lock;
    atomic_size_t   failed;                  /* lowest task that failed, or tasks */
    dfo_status      status;
    char            text[sizeof((dfo_run *)0)->text];
};

static void note_error(struct spread *s, size_t task, dfo_run *run, dfo_status status)
{
    while (atomic_flag_test_and_set(&s->lock))
        dfoi_yield();
    if (task < atomic_load(&s->failed)) {
        atomic_store(&s->failed, task);
        s->status = run->status != DFO_OK ? run->status : status;
        memcpy(s->text, run->status != DFO_OK ? run->text : dfo_status_text(status),
               run->status != DFO_OK ? sizeof s->text : strlen(dfo_status_text(status)) + 1);
    }
    atomic_flag_clear(&s->lock);
}

static dfo_status finish(struct spread *s)
{
    if (atomic_load(&s->failed) < s->tasks)
        return dfoi_fail(s->plan->ctx, s->status, "%s", s->text);
    return DFO_OK;
}

static void one_block(void *data, size_t i, int worker)
{
    struct spread *s = data;
    size_t size = s->plan->options.block, first = i * size;
    size_t n = s->rows - first < size ? s->rows - first : size;
    if (i > atomic_load(&s->failed))
        return;
    dfo_run *run = ready(s->plan, worker, s->key, first);
    dfo_status status = s->block(s->data, run, first, n);
    if (status != DFO_OK)
        note_error(s, i, run, status);
}

dfo_status dfoi_plan_blocks(dfo_plan *plan, dfo_key key, size_t rows, dfoi_block_task task, void *data)
{
    size_t size = plan->options.block;
    struct spread s = {.plan = plan, .key = key, .rows = rows, .tasks = (rows + size - 1) / size,
                       .block = task, .data = data, .lock = ATOMIC_FLAG_INIT};
    atomic_store(&s.failed, s.tasks);
    dfoi_par_for(plan->threads, s.tasks, one_block, &s);
    return finish(&s);
}

static void one_shard(void *data, size_t i, int worker)
{
    struct spread *s = data;
    size_t first = s->rows * i / s->tasks, end = s->rows * (i + 1) / s->tasks;
    dfo_run *run = ready(s->plan, worker, s->key, first);
    run->reduction = s->plan->reduction;
    run->shard = i;
    dfo_status status = s->shard(s->data, run, i, first, end - first);
    if (status != DFO_OK)
        note_error(s, i, run, status);
    atomic_store(&s->plan->reduction->done[i], SIZE_MAX);     /* even after an error: nobody waits for us */
}

dfo_status dfoi_plan_shards(dfo_plan *plan, dfo_key key, size_t rows, dfoi_shard_task task, void *data)
{
    size_t shards = plan->options.shards < rows ? plan->options.shards : rows;
    struct spread s = {.plan = plan, .key = key, .rows = rows, .tasks = shards, .shard = task, .data = data,
                       .lock = ATOMIC_FLAG_INIT};
    atomic_store(&s.failed, shards);
    for (size_t i = 0; i < shards; i++)
        atomic_store(&plan->reduction->done[i], 0);
    dfoi_par_for(plan->threads, shards, one_shard, &s);
    return finish(&s);
}

/* An address such that [first] is `block`: the arithmetic is on integers, since the address itself may lie outside
 * of any array.  */
static dfo_real *moved(dfo_real *block, size_t first)
{
    return (dfo_real *)((uintptr_t)block - first * sizeof *block);
}

void dfo_run_grads_begin(dfo_run *run, size_t first, size_t n, size_t gfirst, size_t gn)
{
    if (!run->reduction)
        return;
    memset(run->block, 0, n * sizeof(dfo_real));
    memset(run->gblock, 0, gn * sizeof(dfo_real));
    run->grads = moved(run->block, first);
    run->gderived = moved(run->gblock, gfirst);
}

static void add(dfo_real *restrict total, const dfo_real *restrict from, size_t n, int copy)
{
    if (copy)
        memcpy(total, from, n * sizeof(dfo_real));
    else
        for (size_t i = 0; i < n; i++)
            total[i] += from[i];
}

/* Shard s adds its k-th range when shard s-1 has added its own: all go through the ranges in the same
 * order, and shards are handed out in rising order, so nobody waits for one that has not started.  */
void dfo_run_grads_done(dfo_run *run, size_t first, size_t n, size_t gfirst, size_t gn)
{
    dfo_reduction *r = run->reduction;
    if (!r)
        return;
    size_t k = atomic_load_explicit(&r->done[run->shard], memory_order_relaxed);
    if (run->shard)
        for (unsigned spin = 0; atomic_load_explicit(&r->done[run->shard - 1], memory_order_acquire) <= k; spin++)
            if (spin > 1000)
                dfoi_yield();
    add(r->total + first, run->block, n, run->shard == 0);
    add(r->gtotal + gfirst, run->gblock, gn, run->shard == 0);
    atomic_store_explicit(&r->done[run->shard], k + 1, memory_order_release);
}
