/* The contract's table for the layer of a table's columns.  */
#include "contract_rows.h"

/* Of kinds without draws: check_columns.c has the others.  */
json_t *make_columns(test_rng *rng, const struct setting *s, const char *type)
{
    json_t *list = json_array();
    for (size_t j = 0; j < dfo_shape_size(s->shape); j++) {
        double low = contract_real(rng, -2, 2);
        size_t kind = test_rng_between(rng, 0, 3);
        json_array_append_new(list, kind == 0   ? json_pack("{s:s}", "kind", "real")
                                    : kind == 1 ? json_pack("{s:s}", "kind", "positive")
                                    : kind == 2 ? json_pack("{s:s, s:f, s:f}", "kind", "interval", "low", low, "high",
                                                            low + contract_real(rng, 0.5, 9))
                                                : json_pack("{s:s, s:f, s:f, s:f}", "kind", "periodic", "start", low, "period",
                                                            5.0, "cut", low + contract_real(rng, 0.5, 4)));
    }
    return json_pack("{s:s, s:o}", "type", type, "columns", list);
}
