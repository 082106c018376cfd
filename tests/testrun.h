/* A dfo_run without a plan, for tests of nets and layers: arena, derived and saved data and
 * gradient blocks for a store, filled with NaN so that reading what nobody wrote shows, and with
 * guards behind each block.  Compile testrun.c into the test program (it exists in both
 * precisions): add $(TESTRUN) to its sources.  */
#ifndef DIFFEO_TESTS_TESTRUN_H
#define DIFFEO_TESTS_TESTRUN_H

#include <diffeo/real.h>
#include <diffeo/run.h>
#include <diffeo/store.h>

typedef struct testrun {
    dfo_run run;
    dfo_ctx *ctx;
    dfo_store *store;
    dfo_need need;
    size_t weights;     /* reals in a gradient block */
    dfo_real *block[6]; /* arena, saved, derived, gderived, grads, aux */
    size_t size[6];
} testrun;

/* Makes a run over the store's present weights, which must not grow afterwards.  need: as measured;
 * 0 where nothing is wanted.  run.mode is DFO_EVALUATE, key.seed 1, new_buffers the store's own;
 * change run's fields as you like.  grads and gderived are zero.  */
dfo_status testrun_new(dfo_ctx *ctx, dfo_store *store, const dfo_need *need, testrun **out);
void testrun_free(testrun *t);

/* NaN into arena and saved data; grads and gderived to zero; status to DFO_OK.  */
void testrun_reset(testrun *t);

/* Fails the test (libcheck) if something wrote behind a block or did not put the arena back.  */
void testrun_check(const testrun *t, const char *what);

#endif
