/* Layers of the contract's table for places on a sphere.  */
#include "contract_rows.h"

json_t *make_sphere(test_rng *rng, const struct setting *s, const char *type)
{
    (void)s;
    return json_pack("{s:s, s:s}", "type", type, "units", test_rng_between(rng, 0, 1) ? "degrees" : "radians");
}

json_t *make_sphere_rotation(test_rng *rng, const struct setting *s, const char *type)
{
    (void)s;
    return json_pack("{s:s, s:s}", "type", type, "init", test_rng_between(rng, 0, 1) ? "random" : "identity");
}
