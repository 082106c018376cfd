/* The settings that layers of increasing polynomials share.  Private to flows.  */
#ifndef DFOI_POLYNOMIAL_SET_IMPL_H
#define DFOI_POLYNOMIAL_SET_IMPL_H

#include "base/real_impl.h"
#include "base/json_impl.h"
#include "math/polynomials_impl.h"

/* Reads degree, tail_bound and min_derivative, of sums of squares also components and spread.  given: the numbers as they
 * stand in the configuration, for describe: what float makes of them may be out of range.  */
dfo_status dfoi_polynomial_read(dfo_ctx *ctx, const json_t *config, int squares, dfoi_polynomial *how, double given[5]);
dfo_status dfoi_polynomial_describe(dfo_ctx *ctx, json_t *to, const dfoi_polynomial *how, const double given[5]);

#endif
