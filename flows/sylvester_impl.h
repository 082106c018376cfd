/* What sylvester.c, which maps rows, and sylvester_weights.c, which makes the matrices from the weights and takes their
 * gradients back, share.  Private to flows.  */
#ifndef DFOI_SYLVESTER_IMPL_H
#define DFOI_SYLVESTER_IMPL_H

#include "base/real_impl.h"
#include "layers.h"

struct dfoi_sylvester {
    size_t m, n;                       /* columns of Q; reflections */
    size_t v;                          /* (n, d) */
    size_t r1, r2;                     /* upper triangles by rows, (m (m+1)/2): the diagonal's are raw */
    size_t b;                          /* (m) */
};

static inline const struct dfoi_sylvester *dfoi_sylvester(const dfo_bijector *bij)
{
    return bij->state;
}

/* Derived data: Q^T (m, d), R1, R2 (m, m), products of their diagonals (m), all of which gderived mirrors; then doubles:
 * 1 + these products (m), Q^T (m, d), a vector (d).  */
struct dfoi_sylvester_place {
    size_t r1, r2, product;
    size_t gsize;
    size_t slack, q, v, end;
};
struct dfoi_sylvester_place dfoi_sylvester_places(const dfo_bijector *bij);

dfo_status dfoi_sylvester_prepare(const dfo_bijector *bij, dfo_run *run, dfo_real *to);
size_t dfoi_sylvester_pullback_scratch(const dfo_bijector *bij);
dfo_status dfoi_sylvester_pullback(const dfo_bijector *bij, dfo_run *run, const dfo_real *from, const dfo_real *gfrom);

#endif
