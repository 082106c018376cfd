/* Random configurations of every type of density, for tests.  */
#ifndef DFOI_TESTS_DISTCONF_H
#define DFOI_TESTS_DISTCONF_H

#include <jansson.h>
#include <stddef.h>
#include <diffeo/real.h>
#include "util.h"

struct distconf {
    json_t *json;
    size_t d, parts, cond_d[4];
};

/* The number of variants of a type: fixed by default, given, learned, …  A type that is not known
 * here fails the test, so that no new density goes without.  */
int distconf_variants(const char *type);

/* Fills conf with a configuration over rows of d columns.  */
void distconf_make(struct distconf *conf, const char *type, size_t d, int variant, test_rng *rng);
void distconf_free(struct distconf *conf);

/* Moves weights away from where they start.  */
void distconf_shake(const struct distconf *conf, dfo_real *weights, size_t n, test_rng *rng);

#endif
