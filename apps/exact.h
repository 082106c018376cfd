/* A model in double, for the rows that float does not give back well enough.  Compiled once.  */
#ifndef DIFFEO_APPS_EXACT_H
#define DIFFEO_APPS_EXACT_H

#include "cmd.h"

struct exact;

/* Loads a model, and a file of latents unless that is NULL.  Exit status; *out may be half made then.  */
int exact_open(const struct common *c, const char *model, const char *latents, struct exact **out);
void exact_close(struct exact *e);

/* In both, `first` is the absolute index of row 0 and begins a block of the model; there are at most a block's rows.
 * Rows (n, d + context) to latents z (n, d) and back to x (n, d).  */
dfo_status exact_round_trip(struct exact *e, uint64_t first, size_t n, const double *rows, double *z, double *x);
/* The file's latents decoded: context (n, context), x (n, d).  */
dfo_status exact_decode(struct exact *e, uint64_t first, size_t n, const double *context, double *x);

#endif
