/* A net of random configuration with random inputs, for tests of nets.  */
#ifndef DIFFEO_TESTS_NETCASE_H
#define DIFFEO_TESTS_NETCASE_H

#include <jansson.h>
#include <diffeo/net.h>
#include "testrun.h"
#include "util.h"

typedef struct netcase {
    uint64_t seed;
    dfo_ctx *ctx;
    dfo_store *store;
    dfo_net *net;
    testrun *t;
    char *config; /* JSON text */
    size_t n, parts;
    dfo_shape shape[DFO_COND_PARTS];
    size_t classes;   /* of the part in front of the last; 0: there is no class */
    dfo_cond in, din; /* rows with ld > d; din's last part may be absent */
    dfo_real *memory;
    size_t size;    /* reals in memory */
    dfo_real *acts; /* of jvp's size */
} netcase;

/* type: a registered one; rows at most DFO_NET_ROWS, features of parts and widths of layers small (or, now
 * and then, larger than a panel).  activation: NULL for a random one.  All weights are drawn anew.
 * Fails the test on errors.  */
void netcase_new(netcase *c, uint64_t seed, const char *type, const char *activation);
/* The same of a given configuration, n rows (at most DFO_NET_ROWS) and shapes.  */
void netcase_of(netcase *c, uint64_t seed, const char *text, size_t n, size_t parts,
                const dfo_shape *shape, dfo_shape out);
void netcase_free(netcase *c);

/* A block for outputs, or a random one with a zero tail for adjoints; memory from the case's
 * context, freed by dfoi_free.  Row-major ones have ld > d.  */
dfo_block netcase_block(netcase *c, uint64_t seed);

/* Value of row i, feature j.  */
dfo_real *netcase_at(dfo_block block, size_t i, size_t j);

/* All of a block, with what lies beside its values.  */
void netcase_copy_block(const netcase *c, dfo_block to, dfo_block from);

/* Inputs' shape, zero or random (seed != 0), with ld = d + pad; freed by netcase_cond_free.  */
dfo_cond netcase_cond(netcase *c, uint64_t seed, size_t pad);
void netcase_cond_free(netcase *c, dfo_cond *cond);

/* <x, y> over all parts that both have; over rows of two blocks.  sum of |terms| goes to *size.  */
double netcase_dot_cond(const netcase *c, const dfo_cond *x, const dfo_cond *y, double *size);
double netcase_dot_block(dfo_block x, dfo_block y, double *size);

/* A line about the case for messages; valid until the next call.  */
const char *netcase_text(const netcase *c);

#endif
