/* The toys: small densities everybody draws.  Private; toy.c makes them a source.  */
#ifndef DFOI_TOY_IMPL_H
#define DFOI_TOY_IMPL_H

#include "base/real_impl.h"
#include <diffeo/rng.h>

/* A point of a mixture of round normals, or of a quadrature along a curve.  */
typedef struct dfoi_node {
    double x, y, weight;          /* weights sum to 1 */
} dfoi_node;

typedef struct dfoi_toy dfoi_toy;
struct dfoi_toy {
    const char *name;
    size_t      d;                /* 0: any, from the name */
    double      entropy;          /* nats; 0 with d = 0: by formula */
    double      sigma;            /* of the noise */
    const double *number;         /* constants of the kind: radii, ... */
    size_t      count;
    void (*draw)(const dfoi_toy *, dfo_key key, size_t d, double *x);
    /* Either log_prob, or nodes: writes up to `room` nodes (or NULL) and returns their number.  */
    double (*log_prob)(const dfoi_toy *, size_t d, const double *x);
    size_t (*nodes)(const dfoi_toy *, size_t room, dfoi_node *out);
};

extern const dfoi_toy dfoi_toy_list[];
#define DFOI_TOYS 13

/* The toy of that name ("gaussian7" is gaussian with *d = 7), or NULL.  */
const dfoi_toy *dfoi_toy_named(const char *name, size_t n, size_t *d);
double dfoi_toy_entropy(const dfoi_toy *toy, size_t d);

#endif
