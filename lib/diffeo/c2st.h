/* How well a classifier tells two samples apart.  */
#ifndef DIFFEO_C2ST_H
#define DIFFEO_C2ST_H

#include <diffeo/real.h>
#include <diffeo/distance.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Classifier two-sample test (Lopez-Paz and Oquab 2017): held-out accuracy, over five folds, of a net of two hidden
 * layers trained to tell a's rows from b's; 0.5: not told apart, 1: always.  As many rows of each (the first
 * min(n, m)) are used, features standardised.  error: binomial.  Deterministic in seed.  Errors as above.  */
dfo_status dfo_c2st(dfo_ctx *ctx, const dfo_samples *a, const dfo_samples *b, uint64_t seed, dfo_estimate *accuracy);

#ifdef __cplusplus
}
#endif
#endif
