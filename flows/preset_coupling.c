/* Presets of maps that are not a net's affine one or spline: kernelised flows (Ferumal: English et al. 2023) in Real NVP's
 * form and in Glow's, couplings by mixtures of logistics (Flow++: Ho et al. 2019) and by deep sigmoidal maps (Huang et al.
 * 2018), Gaussianization (Meng et al. 2020).  As those of preset.c they are chains that begin with standardise.  */
#include <string.h>

#include "layer_impl.h"
#include "preset_impl.h"

#define FERUMAL_SETTINGS(actnorm, linear)                                                                          \
    {"layers", "10"}, {"points", "150"}, {"kernel", "\"squared-exponential\""}, {"scale_max", "3.0"},              \
    {"mask", "\"half\""}, {"actnorm", actnorm}, {"linear", linear}, {"standardise", "true"},                       \
    {"base", "{\"type\":\"normal\"}"}, {NULL, NULL}

const struct dfoi_setting dfoi_ferumal_settings[] = {FERUMAL_SETTINGS("false", "\"none\"")};
const struct dfoi_setting dfoi_ferumal_glow_settings[] = {FERUMAL_SETTINGS("true", "\"lu\"")};

#define SIGMOIDS_SETTINGS                                                                                          \
    {"layers", "10"}, {"hidden", "128"}, {"blocks", "2"}, {"activation", "\"relu\""}, {"dropout", "0.0"},          \
    {"components", "8"}, {"mask", "\"alternate\""}, {"actnorm", "false"}, {"linear", "\"lu\""},                   \
    {"standardise", "true"}, {"base", "{\"type\":\"normal\"}"}, {NULL, NULL}

const struct dfoi_setting dfoi_mixture_settings[] = {{"scale_max", "2.0"}, SIGMOIDS_SETTINGS};
const struct dfoi_setting dfoi_deep_sigmoidal_settings[] = {SIGMOIDS_SETTINGS};

const struct dfoi_setting dfoi_gaussianization_settings[] = {
    {"layers", "10"}, {"components", "8"}, {"rotation", "\"householder\""}, {"standardise", "true"},
    {"base", "{\"type\":\"normal\"}"}, {NULL, NULL},
};

/* What stands around the couplings.  */
struct frame {
    const char *mask, *linear;
    size_t layers;
    int    actnorm, standardise;
};

static dfo_status read_frame(dfo_ctx *ctx, const json_t *config, struct frame *f)
{
    DFO_TRY(dfoi_json_size(ctx, config, "layers", 0, 0, 1000, &f->layers));
    DFO_TRY(dfoi_json_bool(ctx, config, "actnorm", 0, &f->actnorm));
    DFO_TRY(dfoi_json_bool(ctx, config, "standardise", 0, &f->standardise));
    DFO_TRY(dfoi_json_word(ctx, config, "mask", dfoi_preset_mask, &f->mask));
    return dfoi_json_word(ctx, config, "linear", dfoi_preset_linear, &f->linear);
}

/* A kernel coupling: the net says what the scales and shifts are.  */
static json_t *kernel_coupling(const json_t *config, const char *mask)
{
    return json_pack("{s:s, s:s, s:O, s:{s:s, s:O, s:O}}", "type", "affine-coupling", "mask", mask, "scale_max",
                     json_object_get(config, "scale_max"), "net", "type", "kernel", "points",
                     json_object_get(config, "points"), "kernel", json_object_get(config, "kernel"));
}

/* One by sums of sigmoids, whose parameters a residual net gives.  */
static json_t *sigmoids_coupling(const json_t *config, const char *mask, int deep)
{
    json_t *layer = json_pack("{s:s, s:s, s:O, s:{s:s, s:O, s:O, s:O, s:O}}", "type",
                              deep ? "deep-sigmoidal-coupling" : "mixture-coupling", "mask", mask, "components",
                              json_object_get(config, "components"), "net", "type", "residual-mlp", "hidden",
                              json_object_get(config, "hidden"), "blocks", json_object_get(config, "blocks"), "activation",
                              json_object_get(config, "activation"), "dropout", json_object_get(config, "dropout"));
    if (layer && !deep && json_object_set(layer, "scale_max", json_object_get(config, "scale_max"))) {
        json_decref(layer);
        return NULL;
    }
    return layer;
}

static json_t *coupling(const json_t *config, const char *mask)
{
    const char *flow = json_string_value(json_object_get(config, "flow"));
    if (!strncmp(flow, "ferumal", strlen("ferumal")))
        return kernel_coupling(config, mask);
    return sigmoids_coupling(config, mask, !strcmp(flow, "deep-sigmoidal"));
}

dfo_status dfoi_preset_write_coupling(dfo_ctx *ctx, const json_t *config, dfo_shape shape, json_t *list)
{
    static const char *const masks[2][2] = {{"alternate", "alternate-swapped"}, {"half", "half-swapped"}};
    struct frame f = {0};
    (void)shape;
    DFO_TRY(read_frame(ctx, config, &f));
    if (f.standardise)
        DFO_TRY(dfoi_preset_append(ctx, list, json_pack("{s:s}", "type", "standardise")));
    for (size_t i = 0; i < f.layers; i++) {
        if (f.actnorm)
            DFO_TRY(dfoi_preset_append(ctx, list, json_pack("{s:s}", "type", "actnorm")));
        if (strcmp(f.linear, "none"))
            DFO_TRY(dfoi_preset_append(ctx, list, json_pack("{s:s}", "type", "linear")));
        DFO_TRY(dfoi_preset_append(ctx, list, coupling(config, masks[!strcmp(f.mask, "half")][i % 2])));
    }
    return DFO_OK;
}

static json_t *turn(const char *rotation)
{
    return strcmp(rotation, "linear") ? json_pack("{s:s}", "type", rotation)
                                      : json_pack("{s:s, s:s}", "type", rotation, "init", "orthogonal");
}

/* Layers of Gaussianization with rotations between them.  */
dfo_status dfoi_preset_write_gaussianization(dfo_ctx *ctx, const json_t *config, dfo_shape shape, json_t *list)
{
    static const char *const rotations[] = {"householder", "linear", NULL};
    size_t layers;
    const char *rotation;
    int standardise;
    DFO_TRY(dfoi_json_size(ctx, config, "layers", 0, 1, 1000, &layers));
    DFO_TRY(dfoi_json_bool(ctx, config, "standardise", 0, &standardise));
    DFO_TRY(dfoi_json_word(ctx, config, "rotation", rotations, &rotation));
    if (standardise)
        DFO_TRY(dfoi_preset_append(ctx, list, json_pack("{s:s}", "type", "standardise")));
    for (size_t i = 0; i < layers; i++) {
        if (i && dfo_shape_size(shape) > 1)
            DFO_TRY(dfoi_preset_append(ctx, list, turn(rotation)));
        DFO_TRY(dfoi_preset_append(ctx, list, json_pack("{s:s, s:O}", "type", "gaussianization", "components",
                                                        json_object_get(config, "components"))));
    }
    return DFO_OK;
}
