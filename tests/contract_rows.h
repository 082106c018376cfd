/* What the files of the contract's table share: contract_rows.c holds it, contract_rows_increasing.c makes layers whose
 * transforms are sums of sigmoids and polynomials, contract_rows_sphere.c those of the sphere.  */
#ifndef DIFFEO_TESTS_CONTRACT_ROWS_H
#define DIFFEO_TESTS_CONTRACT_ROWS_H

#include "contract.h"

/* A number of few digits: jansson loses the tail of a long one, without a word, where memory ends just
 * then.  */
double contract_real(test_rng *rng, double low, double high);

json_t *make_coupling(test_rng *rng, const struct setting *s, const char *type);
json_t *make_mixture_coupling(test_rng *rng, const struct setting *s, const char *type);
json_t *make_gaussianization(test_rng *rng, const struct setting *s, const char *type);
json_t *make_neural_autoregressive(test_rng *rng, const struct setting *s, const char *type);
json_t *make_polynomial_coupling(test_rng *rng, const struct setting *s, const char *type);
json_t *make_polynomial_autoregressive(test_rng *rng, const struct setting *s, const char *type);
json_t *make_bnaf(test_rng *rng, const struct setting *s, const char *type);
json_t *make_columns(test_rng *rng, const struct setting *s, const char *type);
json_t *make_sphere(test_rng *rng, const struct setting *s, const char *type);
json_t *make_sphere_coupling(test_rng *rng, const struct setting *s, const char *type);
json_t *make_sphere_rotation(test_rng *rng, const struct setting *s, const char *type);

#endif
