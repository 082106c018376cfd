/* Settings that nets share.  */
#include <stdio.h>
#include <string.h>

#include "base/ctx_impl.h"
#include "base/json_impl.h"
#include "math/kern_impl.h"
#include "nn/config_impl.h"

dfo_status dfoi_config_activation(dfo_ctx *ctx, const json_t *config, const char *usual, dfoi_act *act)
{
    const char *name;
    char list[256] = "";
    *act = DFOI_ACT_RELU;
    DFO_TRY(dfoi_json_string(ctx, config, "activation", usual, &name));
    *act = dfoi_act_named(name);
    if (*act != DFOI_ACT_COUNT)
        return DFO_OK;
    for (int i = 0; i < DFOI_ACT_COUNT; i++) {
        size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "",
                 dfoi_act_name((dfoi_act)i));
    }
    return dfoi_fail(ctx, DFO_EARG, "activation: there is no '%s'; known: %s", name, list);
}

dfo_status dfoi_config_hidden(dfo_ctx *ctx, const json_t *config, size_t usual, size_t most, size_t *hidden, size_t *layers)
{
    const json_t *given = json_object_get(config, "hidden");
    hidden[0] = usual;
    *layers = 1;
    if (given)
        DFO_TRY(dfoi_json_sizes(ctx, config, "hidden", 1, DFOI_NET_WIDEST, most, hidden, layers));
    if (json_is_array(given))
        return json_object_get(config, "layers")
                   ? dfoi_fail(ctx, DFO_EARG, "layers: goes with a single number hidden, not with a list") : DFO_OK;
    DFO_TRY(dfoi_json_size(ctx, config, "layers", 2, 0, most, layers));
    for (size_t i = 1; i < *layers; i++)
        hidden[i] = hidden[0];
    return DFO_OK;
}

dfo_status dfoi_config_set_sizes(dfo_ctx *ctx, json_t *to, const char *key, size_t n,
                                 const size_t *values)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < n; i++) {
        if (json_array_append_new(list, json_integer((json_int_t)values[i]))) {
            json_decref(list);
            list = NULL;
        }
    }
    return dfoi_json_set(ctx, to, key, list);
}
