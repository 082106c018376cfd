/* The one place with threads.  Back ends: OpenMP, or pthreads (--without-openmp).  Private.  */
#ifndef DFOI_PAR_IMPL_H
#define DFOI_PAR_IMPL_H

#include <stddef.h>

typedef void (*dfoi_task)(void *data, size_t index, int worker);

/* Calls task(data, i, worker) for i = 0..n-1 on up to `threads` workers (0 <= worker < threads).
 * Indices are handed out in rising order as workers come for them.  Returns when all are done.  */
void dfoi_par_for(int threads, size_t n, dfoi_task task, void *data);

/* Number of cores this process may use, at least 1.  */
int dfoi_cores(void);

/* Lets others run for a moment (for short waits).  */
void dfoi_yield(void);

#endif
