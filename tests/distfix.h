/* A density with everything that a run of it needs, for tests.  */
#ifndef DFOI_TESTS_DISTFIX_H
#define DFOI_TESTS_DISTFIX_H

#include <jansson.h>
#include <stdint.h>
#include <diffeo/real.h>
#include <diffeo/dist.h>

struct distfix {
    dfo_ctx *ctx;
    dfo_store *store;
    dfo_dist *dist;
    json_t *config; /* borrowed */
    dfo_run run;
    dfo_real *derived, *grads; /* grads: as long as the store's weights */
    size_t d, parts, cond_d[DFO_COND_PARTS];
};

/* Makes the density from config over rows of d columns with `parts` parts of condition; the test
 * fails if that fails.  The arena holds exactly what dfo_dist_scratch says for `rows` rows.  */
void distfix_open(struct distfix *f, json_t *config, size_t d, size_t parts, const size_t *cond_d,
                  size_t rows);
void distfix_close(struct distfix *f);

/* To call after the weights were changed.  */
void distfix_prepare(struct distfix *f);

/* The same without a context or test of its own: what creation of the density gives.  */
dfo_status distfix_create(dfo_ctx *ctx, dfo_store *store, json_t *config, size_t d, size_t parts,
                          const size_t *cond_d, uint64_t seed, dfo_dist **out);

/* log p of the rows of x; fails the test on an error.  */
void distfix_log_prob(struct distfix *f, dfo_batch x, const dfo_cond *cond, double *out);

/* The array of that name in the store, as an offset; *count is its length.  */
size_t distfix_weights(struct distfix *f, const char *name, size_t *count);

#endif
