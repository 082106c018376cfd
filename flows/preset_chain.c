/* Presets for rows that are a chain of one kind of layer, whose settings are theirs.  */
#include <string.h>

#include "layer_impl.h"
#include "preset_impl.h"

#define CHAIN_SETTINGS(layers) \
    {"layers", layers}, {"standardise", "true"}, {"base", "{\"type\":\"normal\"}"}, {NULL, NULL}

const struct dfoi_setting dfoi_single_settings[] = {
    CHAIN_SETTINGS("32"),
};

const struct dfoi_setting dfoi_sylvester_settings[] = {
    {"rank", "null"}, {"reflections", "null"}, CHAIN_SETTINGS("8"),
};

const struct dfoi_setting dfoi_residual_settings[] = {
    {"hidden", "64"}, {"depth", "2"}, {"activation", "\"lipswish\""}, {"lipschitz", "0.97"}, {"trace", "null"}, {"terms", "4"},
    {"probes", "1"}, CHAIN_SETTINGS("10"),
};

static int in_layer(const char *key)
{
    return strcmp(key, "flow") && strcmp(key, "layers") && strcmp(key, "standardise") && strcmp(key, "base");
}

/* The layer has the preset's name, and its settings but for nulls.  */
dfo_status dfoi_preset_write_chain(dfo_ctx *ctx, const json_t *config, dfo_shape shape, json_t *list)
{
    size_t layers;
    int standardise;
    const char *key;
    json_t *value;
    (void)shape;
    DFO_TRY(dfoi_json_size(ctx, config, "layers", 0, 0, 1000, &layers));
    DFO_TRY(dfoi_json_bool(ctx, config, "standardise", 0, &standardise));
    if (standardise)
        DFO_TRY(dfoi_preset_append(ctx, list, json_pack("{s:s}", "type", "standardise")));
    for (size_t i = 0; i < layers; i++) {
        json_t *layer = json_pack("{s:O}", "type", json_object_get(config, "flow"));
        DFO_TRY(dfoi_preset_append(ctx, list, layer));
        json_object_foreach((json_t *)config, key, value)
            if (in_layer(key) && !json_is_null(value))
                DFO_TRY(dfoi_json_set(ctx, layer, key, json_incref(value)));
    }
    return DFO_OK;
}
