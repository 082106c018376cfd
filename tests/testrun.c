/* See testrun.h.  */
#include <check.h>
#include <math.h>
#include <string.h>

#include "base/ctx_impl.h"
#include "base/real_impl.h"
#include "testrun.h"

#define GUARD 16 /* reals behind a block */
#define GUARD_VALUE ((dfo_real)-12345.678)

enum { ARENA, SAVED, DERIVED, GDERIVED, GRADS, AUX, BLOCKS };
static const char *const block_name[] = {"arena", "saved", "derived", "gderived", "grads", "aux"};

static void fill(dfo_real *x, size_t n, dfo_real value)
{
    for (size_t i = 0; i < n; i++)
        x[i] = value;
}

dfo_status testrun_new(dfo_ctx *ctx, dfo_store *store, const dfo_need *need, testrun **out)
{
    dfo_status status = dfoi_alloc(ctx, 1, sizeof **out, out);
    if (status != DFO_OK)
        return status;
    testrun *t = *out;
    t->ctx = ctx;
    t->store = store;
    t->need = *need;
    t->weights = dfo_store_weights_size(store);
    const size_t size[BLOCKS] = {need->scratch,  need->saved, need->derived,
                                 need->gderived, t->weights,  need->aux};
    for (int b = 0; b < BLOCKS; b++) {
        t->size[b] = size[b];
        status = dfoi_alloc(ctx, size[b] + GUARD, sizeof(dfo_real), &t->block[b]);
        if (status != DFO_OK) {
            testrun_free(t);
            *out = NULL;
            return status;
        }
        fill(t->block[b] + size[b], GUARD, GUARD_VALUE);
    }
    t->run = (dfo_run){
        .mode = DFO_EVALUATE,
        .memory = DFO_MEMORY_INVERT,
        .weights = dfo_store_weights(store),
        .buffers = dfo_store_buffers(store),
        .new_buffers = dfo_store_buffers(store),
        .grads = t->block[GRADS],
        .derived = t->block[DERIVED],
        .gderived = t->block[GDERIVED],
        .saved = t->block[SAVED],
        .arena = t->block[ARENA],
        .arena_size = need->scratch,
        .key = {.seed = 1},
        .threads = 1,
        .error_row = (size_t)-1,
    };
    if (need->aux)
        t->run.aux = dfo_batch_of(t->block[AUX], need->rows, need->aux / need->rows);
    fill(t->block[DERIVED], need->derived, (dfo_real)NAN);
    testrun_reset(t);
    return DFO_OK;
}

void testrun_free(testrun *t)
{
    if (!t)
        return;
    for (int b = 0; b < BLOCKS; b++)
        dfoi_free(t->ctx, t->block[b]);
    dfoi_free(t->ctx, t);
}

void testrun_reset(testrun *t)
{
    fill(t->block[ARENA], t->size[ARENA], (dfo_real)NAN);
    fill(t->block[SAVED], t->size[SAVED], (dfo_real)NAN);
    fill(t->block[GDERIVED], t->size[GDERIVED], 0);
    fill(t->block[GRADS], t->size[GRADS], 0);
    t->run.arena_used = 0;
    t->run.status = DFO_OK;
    t->run.error_row = (size_t)-1;
    t->run.text[0] = 0;
}

void testrun_check(const testrun *t, const char *what)
{
    for (int b = 0; b < BLOCKS; b++)
        for (size_t i = 0; i < GUARD; i++)
            if (t->block[b][t->size[b] + i] != GUARD_VALUE)
                ck_abort_msg("%s: wrote behind %s (%zu reals), at +%zu", what, block_name[b],
                             t->size[b], i);
    if (t->run.arena_used)
        ck_abort_msg("%s: the arena was not put back (%zu)", what, t->run.arena_used);
}
