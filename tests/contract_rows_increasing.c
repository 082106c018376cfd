/* Layers of the contract's table whose transforms are increasing maps: sums of sigmoids, polynomials, a net's.  */
#include <string.h>

#include "contract_rows.h"

json_t *make_mixture_coupling(test_rng *rng, const struct setting *s, const char *type)
{
    json_t *c = make_coupling(rng, s, type);
    json_object_set_new(c, "components", json_integer((json_int_t)test_rng_between(rng, 1, 5)));
    json_object_set_new(c, "spread", json_real(contract_real(rng, 0, 3)));
    return c;
}

json_t *make_gaussianization(test_rng *rng, const struct setting *s, const char *type)
{
    (void)s;
    return json_pack("{s:s, s:i}", "type", type, "components", (int)test_rng_between(rng, 1, 9));
}

static json_t *autoregressive(test_rng *rng, const struct setting *s, const char *type, const char *transform)
{
    json_t *of = json_pack("{s:s, s:i, s:s}", "type", "made", "hidden", (int)test_rng_between(rng, 1, 9), "activation",
                           s->smooth ? "tanh" : "relu");
    return json_pack("{s:s, s:s, s:b, s:s, s:s, s:o}", "type", type, "transform", transform, "solve", (int)test_rng_between(rng, 0, 1),
                     "order", test_rng_between(rng, 0, 1) ? "natural" : "random", "sweep", test_rng_between(rng, 0, 1) ? "jacobi" : "columns", "net",
                     of);
}

json_t *make_neural_autoregressive(test_rng *rng, const struct setting *s, const char *type)
{
    json_t *a = autoregressive(rng, s, type, test_rng_between(rng, 0, 1) ? "mixture" : "deep-sigmoidal");
    json_object_set_new(a, "components", json_integer((json_int_t)test_rng_between(rng, 1, 5)));
    return a;
}

/* Ends that rows pass now and then.  */
static json_t *set_polynomial(test_rng *rng, int squares, json_t *layer)
{
    json_object_set_new(layer, "degree", json_integer((json_int_t)(squares ? test_rng_between(rng, 0, 4) : test_rng_between(rng, 1, 12))));
    json_object_set_new(layer, "tail_bound", json_real(contract_real(rng, 1, 6)));
    if (test_rng_between(rng, 0, 1))
        json_object_set_new(layer, "min_derivative", json_real(0.0078125));
    if (squares) {
        json_object_set_new(layer, "components", json_integer((json_int_t)test_rng_between(rng, 1, 4)));
        json_object_set_new(layer, "spread", json_real(contract_real(rng, 0, 1)));
    }
    return layer;
}

json_t *make_polynomial_coupling(test_rng *rng, const struct setting *s, const char *type)
{
    return set_polynomial(rng, !strcmp(type, "sum-of-squares-coupling"), make_coupling(rng, s, type));
}

json_t *make_polynomial_autoregressive(test_rng *rng, const struct setting *s, const char *type)
{
    int squares = (int)test_rng_between(rng, 0, 1);
    return set_polynomial(rng, squares, autoregressive(rng, s, type, squares ? "sum-of-squares" : "bernstein"));
}

json_t *make_bnaf(test_rng *rng, const struct setting *s, const char *type)
{
    (void)s;
    return json_pack("{s:s, s:i, s:i}", "type", type, "hidden", (int)test_rng_between(rng, 1, 6), "depth", (int)test_rng_between(rng, 1, 3));
}
