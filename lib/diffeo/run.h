/* What a worker carries through the layers, and how working memory is measured.  */
#ifndef DIFFEO_RUN_H
#define DIFFEO_RUN_H

#include <diffeo/real.h>

#include <diffeo/batch.h>
#include <diffeo/ctx.h>
#include <diffeo/rng.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum dfo_mode { DFO_EVALUATE, DFO_TRAIN, DFO_EXACT } dfo_mode;

/* How backward finds a layer's input: rebuilt from the output, rebuilt with anchors, or kept.  */
typedef enum dfo_memory_mode { DFO_MEMORY_INVERT, DFO_MEMORY_ANCHORS, DFO_MEMORY_STORE } dfo_memory_mode;

/* Shared by the workers of one gradient step; sums gradient blocks in shard order.  */
typedef struct dfo_reduction dfo_reduction;

typedef struct dfo_run {
    dfo_mode        mode;
    dfo_memory_mode memory;
    unsigned        anchors;      /* DFO_MEMORY_ANCHORS: how many in all */

    const dfo_real *weights;      /* the store's weights, or a copy such as their average */
    const dfo_real *buffers;      /* the store's buffers */
    dfo_real       *new_buffers;  /* update() writes here; NULL elsewhere */
    dfo_real       *grads;        /* this worker's gradient block, or NULL: no weight gradients wanted */

    /* Composite layers move these to their children's slices and put them back.  */
    dfo_real       *derived;      /* of this layer, once per weight version */
    dfo_real       *gderived;     /* gradients with respect to the first gderived() reals of derived, and
                                     what else shards add up; in update() the step's sum */
    dfo_real       *saved;        /* of this layer, for these rows */
    dfo_batch       aux;          /* second state of reversible solvers; x = NULL: not wanted */

    dfo_real       *arena;        /* scratch: arena[used .. size-1] is free */
    size_t          arena_used, arena_size;

    dfo_key         key;          /* row = absolute index of the first row */
    uint32_t        draw;         /* of layers that draw: 0 evaluation's own, or one of several for an estimate, off the grid */
    const uint32_t *chosen;       /* NULL, or (n): which of several draws of what is missing each row takes in training */
    int             threads;      /* prepare() and pullback() may use this many; elsewhere 1 */
    double          drift;        /* largest |rebuilt - anchor| met on the way back */
    double         *variance;     /* NULL, or (n): layers whose log-det is an estimate add its variance */
    uint64_t        evaluations, solves;   /* of continuous flows' fields, of rows at a time; count up */
    dfo_reduction  *reduction;    /* NULL outside a gradient step */
    dfo_real       *block, *gblock;   /* this worker's gradients of one range of weights, of derived data */
    size_t          shard;

    dfo_status      status;       /* this worker's error: the first one stays */
    size_t          error_row;    /* absolute row it belongs to, or (size_t)-1 */
    char            text[512];
} dfo_run;

/* What something needs of a plan, in reals.  saved and scratch are for `rows` rows at a time.  */
typedef struct dfo_need {
    size_t rows;
    size_t scratch, saved, derived, gderived, aux;
    size_t range, grange;         /* the longest ranges of dfo_run_grads_begin */
} dfo_need;

/* Weights at an offset that dfo_store_add gave.  */
static inline const dfo_real *dfo_run_weights(const dfo_run *run, size_t offset)
{
    return run->weights + offset;
}

/* Where gradients of these weights are added; NULL if none are wanted.  */
static inline dfo_real *dfo_run_grads(const dfo_run *run, size_t offset)
{
    return run->grads ? run->grads + offset : NULL;
}

static inline const dfo_real *dfo_run_buffers(const dfo_run *run, size_t offset)
{
    return run->buffers + offset;
}

/* Scratch for n reals, 64-byte aligned, uninitialised; given back by the dispatcher after the
 * call.  Must have been counted in scratch() with dfo_arena_size(n).  */
dfo_real *dfo_arena_take(dfo_run *run, size_t n);

/* What dfo_arena_take(run, n) uses up.  */
static inline size_t dfo_arena_size(size_t n)
{
    return (n + 15) / 16 * 16;
}

/* Puts an error into the run: the first one stays.  row is relative to the run's key.row, or
 * (size_t)-1.  Returns status.  */
dfo_status dfo_run_fail(dfo_run *run, dfo_status status, size_t row, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Puts text in front of the run's error ("layer 4 (spline-coupling): ").  Returns its status.  */
dfo_status dfo_run_wrap(dfo_run *run, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Says that this worker will add nothing more to grads[first .. first+n-1] and gderived[gfirst ..
 * gfirst+gn-1] (gfirst: from the start of the whole block): they are added to the sum, in shard order.  A no-op
 * outside a gradient step.  */
void dfo_run_grads_done(dfo_run *run, size_t first, size_t n, size_t gfirst, size_t gn);

/* Before a layer's backward adds to them: grads[first .. first+n-1] and gderived[gfirst .. gfirst+gn-1] are zero
 * afterwards, and nothing outside these ranges may be touched until _done: a worker has memory for the largest
 * range alone (need.range, need.grange), and run->grads and run->gderived are moved so that the indices fit.  */
void dfo_run_grads_begin(dfo_run *run, size_t first, size_t n, size_t gfirst, size_t gn);

#ifdef __cplusplus
}
#endif
#endif
