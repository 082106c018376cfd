/* The presets of Sohl-Dickstein et al. (2015): densities of Markov chains of noise (lib/dist/markov.c).  Of numbers behind standardise, so
 * that the last of the chain's states is all but a standard normal; of bits as they are.  */
#include "base/ctx_impl.h"
#include "base/json_impl.h"
#include "preset_impl.h"

#define NET_SETTINGS {"hidden", "256"}, {"depth", "3"}, {"activation", "\"silu\""}, {"dropout", "0.0"}

const struct dfoi_setting dfoi_markov_settings[] = {
    {"steps", "100"}, {"learned", "true"}, {"first", "null"}, {"last", "null"}, {"standardise", "true"}, NET_SETTINGS, {NULL, NULL},
};

const struct dfoi_setting dfoi_markov_binary_settings[] = {
    {"steps", "50"}, NET_SETTINGS, {NULL, NULL},
};

dfo_status dfoi_markov_write(dfo_ctx *ctx, const json_t *config, dfo_shape shape, json_t *list)
{
    int standardise = 0;
    if (shape.h * shape.w > 1)
        return dfoi_fail(ctx, DFO_ESHAPE, "%s: expected rows of columns, got images; vp, edm and ddpm are for these",
                         json_string_value(json_object_get(config, "flow")));
    if (json_object_get(config, "standardise"))
        DFO_TRY(dfoi_json_bool(ctx, config, "standardise", 0, &standardise));
    return standardise ? dfoi_preset_append(ctx, list, json_pack("{s:s}", "type", "standardise")) : DFO_OK;
}

dfo_status dfoi_markov_complete(dfo_ctx *ctx, const json_t *config, json_t *to)
{
    static const char *const key[] = {"steps", "learned", "first", "last"};
    int bits = !json_object_get(config, "learned");
    json_t *net = json_pack("{s:s, s:O, s:O, s:O, s:O}", "type", "time-mlp", "hidden", json_object_get(config, "hidden"), "layers",
                            json_object_get(config, "depth"), "activation", json_object_get(config, "activation"), "dropout",
                            json_object_get(config, "dropout"));
    json_t *base = json_pack("{s:s, s:o}", "type", bits ? "diffusion-binary" : "diffusion-gaussian", "net", net);
    DFO_TRY(dfoi_json_set(ctx, to, "base", base));
    for (size_t i = 0; i < (bits ? 1 : sizeof key / sizeof *key); i++)
        DFO_TRY(dfoi_json_set(ctx, base, key[i], json_incref(json_object_get(config, key[i]))));
    return DFO_OK;
}
