/* Fixed points z = g(z) of contractions, row by row.  */
#ifndef DIFFEO_FIXPOINT_H
#define DIFFEO_FIXPOINT_H

#include <diffeo/real.h>
#include <diffeo/batch.h>
#include <diffeo/ctx.h>
#include <diffeo/run.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DFO_FIXPOINT_DEPTH 16

/* A map of rows of d numbers that do not depend on each other.  Nobody frees it: it may stand on the stack.  */
typedef struct dfo_map dfo_map;
struct dfo_map {
    dfo_status (*eval)(const dfo_map *, dfo_run *, dfo_batch z, dfo_batch g);   /* g (n,d) = g(z); z is only read */
    size_t     (*scratch)(const dfo_map *, size_t rows);                       /* arena; NULL: none */
    const void *state;
    size_t      d;
};

typedef struct dfo_fixpoint_options {
    size_t depth;              /* m: differences of earlier iterates that a step is mixed from, up to DFO_FIXPOINT_DEPTH; 0: Banach's
                                  iteration z <- g(z) */
    double regularisation;     /* r: times the mean diagonal of the differences' products, added to it */
    double rtol, atol;         /* a row is done when all its |g(z) - z| <= atol + rtol |g(z)| */
    size_t most;               /* iterations before it gives up */
} dfo_fixpoint_options;

typedef struct dfo_fixpoint_report {
    uint64_t iterations;       /* of the slowest row: evaluations of g over all rows at a time */
    double   contraction;      /* of the row where it is largest: the mean factor by which |g(z) - z| shrank in an iteration; Banach's
                                  iteration ends within residual c / (1 - c) of the fixed point if g contracts by c */
} dfo_fixpoint_report;

/* Depth 5, regularisation 1e-10, rtol and atol 1e-5, at most 200 iterations.  */
void dfo_fixpoint_defaults(dfo_fixpoint_options *options);

/* From z (n,d), a first guess, to g of the first iterate that is good enough, in place.  Rows go alone: one that is done stays as it
 * is, and its bits do not depend on its neighbours.  A step is g_k - sum c_j (g_j+1 - g_j), c the least squares solution of
 * sum c_j (f_j+1 - f_j) = f_k, f = g(z) - z, over the last m differences (Anderson 1965; type II of Walker and Ni 2011, eq. (2.2)); a
 * row whose residual more than doubles forgets them.  report: or NULL.  DFO_EARG names the option that is wrong, DFO_ESHAPE where z and
 * the map differ; DFO_ENUM, naming row (absolute: key.row is the first's) and iteration, where g is not finite or `most` were not
 * enough; what z holds then is not said.  The arena mark is put back.  */
dfo_status dfo_fixpoint_solve(const dfo_fixpoint_options *options, const dfo_map *map, dfo_run *run, dfo_batch z, dfo_fixpoint_report *report);

/* Arena that it takes for `rows` rows, the map's own with it.  */
size_t dfo_fixpoint_scratch(const dfo_fixpoint_options *options, const dfo_map *map, size_t rows);

/* The same for use without a plan: allocates what it needs; the error goes to ctx.  */
dfo_status dfo_fixpoint_find(dfo_ctx *ctx, const dfo_fixpoint_options *options, const dfo_map *map, dfo_batch z, dfo_fixpoint_report *report);

#ifdef __cplusplus
}
#endif
#endif
