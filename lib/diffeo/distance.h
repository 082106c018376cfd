/* How far two samples are apart: sliced Wasserstein, energy distance, maximum mean discrepancy; each with its standard
 * error.  */
#ifndef DIFFEO_DISTANCE_H
#define DIFFEO_DISTANCE_H

#include <stddef.h>
#include <stdint.h>
#include <diffeo/ctx.h>

#ifdef __cplusplus
extern "C" {
#endif

/* n rows of d features, finite; borrowed.  */
typedef struct dfo_samples {
    size_t n, d;
    const double *x;               /* (n, d) */
} dfo_samples;

typedef struct dfo_estimate {
    double value, error;           /* error: its standard error */
} dfo_estimate;

/* Rows that each sample must have: standard errors come from ten groups of rows (row i is in group i mod 10), each
 * left out in turn (the delete-a-group jackknife).  */
#define DFO_DISTANCE_ROWS 20

/* Sliced 2-Wasserstein distance sqrt(E_v W2^2(v.x, v.y)), v uniform on the sphere (Bonneel et al. 2015), over
 * `directions` draws of v keyed by the seed (1 if d = 1): W2 of a direction is exact, between sorted projections of any
 * two sizes.  In the data's units.  same: NULL, or the distance between the two halves of b (odd and even rows):
 * what is left between samples half the size of one law.  Memory: 16 bytes a row and thread.  The same bits for any
 * number of threads.  DFO_ESHAPE: a.d != b.d; DFO_EARG: too few rows, no direction; DFO_EMEM, DFO_ELIMIT.  */
dfo_status dfo_sliced_wasserstein(dfo_ctx *ctx, const dfo_samples *a, const dfo_samples *b, size_t directions,
                                  uint64_t seed, dfo_estimate *distance, dfo_estimate *same);

/* Unbiased estimates from all pairs of rows (they may be negative; 0 is expected of samples of one law):
 *     energy = 2 E|x - y| - E|x - x'| - E|y - y'|                  (Szekely and Rizzo 2013)
 *     mmd    = E k(x,x') + E k(y,y') - 2 E k(x,y), the squared maximum mean discrepancy of the Gaussian kernel
 *              k = exp(-|x - y|^2 / (2 w^2))                       (Gretton et al. 2012, lemma 6)
 * *bandwidth: w on entry, or 0: the median distance of pairs among the first 1,000 rows of both, written back.
 * Time goes with (n + m)^2 d.  Errors as above; DFO_EARG too for a median of 0.  */
dfo_status dfo_pair_distances(dfo_ctx *ctx, const dfo_samples *a, const dfo_samples *b, double *bandwidth,
                              dfo_estimate *energy, dfo_estimate *mmd);

#ifdef __cplusplus
}
#endif
#endif
