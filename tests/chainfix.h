/* Targets with known moments, for tests of Markov chains and of flows fitted to densities.  */
#ifndef DIFFEO_TESTS_CHAINFIX_H
#define DIFFEO_TESTS_CHAINFIX_H

#include <diffeo/target.h>

typedef struct chain_target {
    const char *name;
    dfo_target  target;
    double      mean[10], variance[10];
    double      log_normaliser;        /* log of the integral of what log_prob says */
} chain_target;

enum { CHAIN_NORMAL, CHAIN_BANANA, CHAIN_FUNNEL, CHAIN_HALF, CHAIN_TARGETS };

/* A correlated normal law of 10 columns whose scales go from 0.1 to 10; x2 around x1^2; the scale of x2 by x1; |N(0,1)|, which ends
 * at 0.  */
const chain_target *chain_target_at(size_t which);

#endif
