/* Fields of the reference vectors and of DETEST (Hull et al. 1972), for tests of solvers.  Compile odefields.c into the test
 * program.  */
#ifndef DIFFEO_TESTS_ODEFIELDS_H
#define DIFFEO_TESTS_ODEFIELDS_H

#include <diffeo/real.h>
#include <diffeo/field.h>
#include "reference.h"

/* linear, prothero_robinson, lotka_volterra or mlp, with the arrays of a case; the mlp and the linear one have gradients: those
 * of the weights W1, wt, b1, W2, b2 (of A) one after the other are added to run->grads.  Its state is kept by the test: one at a
 * time.  */
dfo_field odefield_of(ref_case c, const char *inputs);

/* "A1" .. "E5", harmonic, kepler, van_der_pol (mu 1 unless said), lorenz.  d: rows' length.  */
dfo_field odefield_named(const char *problem, size_t d);

/* Weight k of the mlp in the order of its gradients, to be changed and put back; NULL behind the last.  */
double *odefield_weight(size_t k);

/* How often fields were evaluated since the program began, over all rows at a time.  */
extern size_t odefield_evaluations;

#endif
