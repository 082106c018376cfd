/* A training step's time in the benchmarks.  */
#ifndef TIMED_FIT_H
#define TIMED_FIT_H

#include <diffeo/diffeo.h>

#define TIMED_MOST 4096                /* samples kept */

/* Trains the model on the rows, steps of about so many seconds together: a few to warm up and to see how many that is, then all.
 * ms (TIMED_MOST): each step's milliseconds, without the first, which meets cold pages; returns their number, 0: an error, which
 * the context has.  */
size_t timed_fit(dfo_ctx *ctx, dfo_model *model, dfo_batch x, dfo_fit_options o, double seconds, double *ms);

#endif
