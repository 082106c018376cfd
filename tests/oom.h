/* Fails each allocation of a piece of work in turn.  A test gives the work as a function; it is run
 * once to count its allocations, then once for each of them with that one refused, then once more
 * undisturbed.  Refused are: the context's allocator, jansson's, and (except in sanitizer builds)
 * malloc, calloc and realloc of the whole process, so zlib's, libpng's or libc's own too.  */
#ifndef DIFFEO_TESTS_OOM_H
#define DIFFEO_TESTS_OOM_H

#include <stddef.h>
#include <diffeo/ctx.h>

/* Does the work in ctx, frees everything it made (also after a failure) and returns the status of
 * the first failure, DFO_OK if there was none.  The context has one thread.  It must not print.
 * It may be run hundreds of times: keep it small.  */
typedef dfo_status (*oom_work)(dfo_ctx *ctx, void *data);

enum {
    OOM_ALL = 0,       /* every allocation of the process */
    OOM_OURS = 1       /* the context's and jansson's only: where a library aborts without memory (FFTW) */
};

/* Checks, for every allocation (at most DIFFEO_TEST_MULTIPLIER * 400 of them, evenly spread):
 *  - the context's refused: the work fails, with DFO_EMEM and a text in the context;
 *  - jansson's refused (but for its reading of text, which would crash): the work fails, with a text (jansson itself calls some of these bad syntax);
 *  - another library's refused: the work fails with any status and a text, or does without;
 *  - either way no byte of the context and none of jansson's remains;
 *  - afterwards the same work succeeds.
 * Fails the running test (libcheck) with `what`, the number of the allocation and what was seen.
 * DIFFEO_OOM_TRACE=K in the environment prints where allocation K is asked for (addresses for addr2line).
 * Returns how many allocations the work makes.  */
size_t oom_check(const char *what, int flags, oom_work work, void *data);

/* Counts the process's allocations between the two calls (in sanitizer builds: the context's made by
 * oom_ctx and jansson's): for "no allocation while running".  */
void oom_count_begin(void);
size_t oom_count_end(void);

/* A context whose allocations are counted.  */
dfo_status oom_ctx(dfo_ctx **out);

#endif
