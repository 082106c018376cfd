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

/* Of longitudes given the height, or heights given the longitude.  */
json_t *make_sphere_coupling(test_rng *rng, const struct setting *s, const char *type)
{
    int longitudes = (int)test_rng_between(rng, 0, 1);
    (void)s;
    return json_pack("{s:s, s:[i, i], s:s, s:s, s:i, s:b, s:i, s:i, s:b, s:{s:s, s:[i], s:s}}", "type", type, "mask", longitudes,
                     !longitudes, "tails", longitudes ? "circular" : "linear", "input", longitudes ? "interval" : "circle", "tail_bound", 1,
                     "fade", longitudes, "bins", (int)test_rng_between(rng, 2, 10), "harmonics", (int)test_rng_between(rng, 1, 5),
                     "zero_init", (int)test_rng_between(rng, 0, 1), "net", "type", "mlp", "hidden", (int)test_rng_between(rng, 3, 11),
                     "activation", "tanh");
}
