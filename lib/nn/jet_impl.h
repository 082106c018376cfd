/* Truncated Taylor series of values that move with the time ("jets"): u(s) = u_0 + u_1 s + u_2 s^2 + ..., each u_k so many numbers,
 * carried through functions order by order (Griewank & Walther 2008, chapter 13; Kelly et al. 2020).  Private.  */
#ifndef DFOI_JET_IMPL_H
#define DFOI_JET_IMPL_H

#include <diffeo/net.h>
#include "base/real_impl.h"
#include "math/gemm_impl.h"

/* h = act(u), and what its recursion wants beside it: s, and q, that is s - s^2 or 1 - h^2.  Orders 0 to 7.  tanh has no s,
 * sigmoid no h (s is the value).  */
typedef struct dfoi_jet {
    dfo_real *u[DFO_NET_ORDER], *s[DFO_NET_ORDER], *q[DFO_NET_ORDER], *h[DFO_NET_ORDER];
} dfoi_jet;

/* Has this activation one?  tanh, sigmoid, silu, softplus have.  */
int dfoi_jet_known(dfoi_act act);

/* Order k of s, q and h (n numbers each) from u up to it and their own lower orders.  */
void dfoi_jet_act(dfoi_act act, size_t n, size_t k, const dfoi_jet *x);

/* Back through that: from the gradients of order k (s, q, h: complete, those of q and h are changed) to those of u, s and q up to it,
 * added.  Orders in falling turn.  */
void dfoi_jet_act_backward(dfoi_act act, size_t n, size_t k, const dfoi_jet *x, const dfoi_jet *g);

/* y += by a b, number by number.  */
void dfoi_jet_add(size_t n, dfo_real by, const dfo_real *a, const dfo_real *b, dfo_real *y);

#endif
