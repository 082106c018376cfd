/* One layer with a store and a run, for tests of layers: made from JSON, weights by name, the
 * passes.  */
#ifndef DIFFEO_TESTS_LAYERFIX_H
#define DIFFEO_TESTS_LAYERFIX_H

#include <diffeo/real.h>
#include <diffeo/bijector.h>
#include <jansson.h>
#include "testrun.h"

typedef struct layerfix {
    dfo_ctx      *ctx;
    dfo_store    *store;
    dfo_bijector *bij;
    testrun      *t;
    size_t        rows;
} layerfix;

/* Makes the layer (config is consumed) for batches of up to `rows` rows; cond 0: no condition.
 * Weights are named "b.…".  Fails the test if that is impossible.  */
layerfix layerfix_new(json_t *config, dfo_shape shape, size_t cond, size_t rows);
void layerfix_free(layerfix *f);

/* The status of making a layer, and the message in text.  */
dfo_status layerfix_try(const char *config, dfo_shape shape, char *text, size_t size);

/* Weights or buffer "b.NAME", and the gradient of weights.  */
dfo_real *layerfix_array(layerfix *f, const char *name, size_t *count);
const dfo_real *layerfix_grad(layerfix *f, const char *name);

/* After weights were set: derived data again.  */
dfo_status layerfix_prepare(layerfix *f);

/* Rows (n, d) as doubles: into out, the other way z or x, log-dets added to zero.  */
dfo_status layerfix_forward(layerfix *f, size_t n, const double *x, const double *cond, double *z,
                            double *logdet);
dfo_status layerfix_inverse(layerfix *f, size_t n, const double *z, const double *cond, double *x,
                            double *logdet);

/* forward at x and backward (inverse != 0: inverse at x and inverse_backward), then pullback:
 * gradients of sum seed . out + sum seed_logdet . logdet with respect to x and cond (may be NULL)
 * and, in the run, weights.  back: the rows that backward rebuilt; may be NULL.  */
dfo_status layerfix_grads(layerfix *f, int inverse, size_t n, const double *x, const double *cond,
                          const double *seed, const double *seed_logdet, double *gx, double *gcond,
                          double *back);

/* Central differences of value(data) over steps of about h with respect to x (count numbers, as reals round them) and then *w:
 * slopes (count + 1).  All are put back.  */
void layerfix_slopes(size_t count, double *x, dfo_real *w, double h, double (*value)(void *data), void *data, double *slopes);

/* Such a value: the sum of the log-dets of a layerfix_rows.  */
typedef struct layerfix_rows {
    layerfix     *f;
    size_t        n;
    const double *x;
} layerfix_rows;
double layerfix_logdets(void *rows);

#endif
