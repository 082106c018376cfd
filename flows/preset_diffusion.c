/* Presets of diffusion: Song et al. 2021 (vp, subvp, ve), Ho et al. 2020 (ddpm), Karras et al. 2022 (edm), each
 *
 *     standardise, cnf with "diffusion" over a time-mlp                            rows
 *     dequantise, rescale to [-scale, scale], cnf with "diffusion" over a unet      images of whole numbers
 *     standardise, cnf with "diffusion" over a unet                                other images
 *
 * Whole numbers of b values are divided by b/(2 scale), whose log-det per pixel, log2(128) = 7 bits of 256 values in [-1, 1], is the
 * rescale layer's.  Of edm the scale is 2: its noise is meant for data of a deviation of a half in [-1, 1], here of 1.
 * Data of images are taken where noise is a part of a bin: of vp at the time 1e-5.  Of vp and subvp nets of images say the velocity: what
 * one that says noise gets wrong near noise is far more of the picture, sigma/alpha times as much.  */
#include <string.h>

#include "layer_impl.h"
#include "preset_impl.h"

#define MAX_LEVELS 6
#define USUAL_LEVELS 3
#define FEW_PIXELS 64      /* of the coarsest level: then they attend to each other */
#define FEW_FEATURES 64    /* of a row: more want probes */

#define DIFFUSION_SETTINGS(prediction, scale)                                                                                         \
    {"prediction", prediction}, {"weighting", "\"simple\""}, {"spread", "null"}, {"first", "null"}, {"net", "null"}, {"hidden", "256"}, {"depth", "3"}, \
    {"channels", "32"}, {"levels", "0"}, {"blocks", "1"}, {"attention", "null"}, {"norm", "\"group\""}, {"activation", "\"silu\""}, {"label_dropout", "null"}, \
    {"values", "0"}, {"scale", scale}, {"centre", "0.5"}, {"solver", "\"dopri5\""}, {"solver_steps", "0"}, {"rtol", "1e-5"}, {"atol", "1e-5"},              \
    {"most_steps", "1000"}, {"probes", "null"}, {"standardise", "true"}, {"base", "{\"type\":\"normal\"}"}, {NULL, NULL}

const struct dfoi_setting dfoi_vp_settings[] = {
    {"beta_min", "0.1"}, {"beta_max", "20.0"}, DIFFUSION_SETTINGS("null", "1.0"),
};

const struct dfoi_setting dfoi_ve_settings[] = {
    {"sigma_min", "0.01"}, {"sigma_max", "50.0"}, DIFFUSION_SETTINGS("\"noise\"", "1.0"),
};

const struct dfoi_setting dfoi_ddpm_settings[] = {
    {"schedule", "\"vp\""}, {"times", "1000"}, DIFFUSION_SETTINGS("\"noise\"", "1.0"),
};

const struct dfoi_setting dfoi_edm_settings[] = {
    {"sigma_min", "0.002"}, {"sigma_max", "80.0"}, DIFFUSION_SETTINGS("\"edm\"", "2.0"),
};

/* "channels": a list of levels, or the first one's: the others have twice as many.  */
static dfo_status read_channels(dfo_ctx *ctx, const json_t *config, dfo_shape shape, size_t *levels, size_t *channels)
{
    size_t most = 1, asked;
    while (most < MAX_LEVELS && !(shape.h >> (most - 1) & 1) && !(shape.w >> (most - 1) & 1))
        most++;
    DFO_TRY(dfoi_json_sizes(ctx, config, "channels", 1, 65536, MAX_LEVELS, channels, levels));
    DFO_TRY(dfoi_json_size(ctx, config, "levels", 0, 0, MAX_LEVELS, &asked));
    if (json_is_array(json_object_get(config, "channels")) && asked && asked != *levels)
        return dfoi_fail(ctx, DFO_EARG, "levels: channels has %zu, got %zu", *levels, asked);
    if (!json_is_array(json_object_get(config, "channels"))) {
        *levels = asked ? asked : most < USUAL_LEVELS ? most : USUAL_LEVELS;
        for (size_t i = 1; i < *levels; i++)
            channels[i] = 2 * channels[0];
    }
    if (*levels < 1 || *levels > most)
        return dfoi_fail(ctx, DFO_EARG, "levels: expected from 1 to %zu for %zux%zu pixels, got %zu", most, shape.h, shape.w, *levels);
    return DFO_OK;
}

static dfo_status unet(dfo_ctx *ctx, const json_t *config, dfo_shape shape, json_t **out)
{
    size_t levels, channels[MAX_LEVELS];
    DFO_TRY(read_channels(ctx, config, shape, &levels, channels));
    json_t *list = json_array();
    for (size_t i = 0; i < levels && list; i++)
        json_array_append_new(list, json_integer((json_int_t)channels[i]));
    int attend = (shape.h >> (levels - 1)) * (shape.w >> (levels - 1)) <= FEW_PIXELS;
    if (!json_is_null(json_object_get(config, "attention")))
        attend = json_is_true(json_object_get(config, "attention"));
    *out = json_pack("{s:s, s:o, s:O, s:b, s:O, s:O}", "type", "unet", "channels", list, "blocks", json_object_get(config, "blocks"), "attention",
                     attend, "norm", json_object_get(config, "norm"), "activation", json_object_get(config, "activation"));
    return *out ? DFO_OK : dfoi_fail(ctx, DFO_EMEM, "out of memory: net");
}

static json_t *time_mlp(const json_t *config)
{
    return json_pack("{s:s, s:O, s:O, s:O}", "type", "time-mlp", "hidden", json_object_get(config, "hidden"), "layers",
                     json_object_get(config, "depth"), "activation", json_object_get(config, "activation"));
}

/* A unet for images, unless the configuration says otherwise.  */
static dfo_status net(dfo_ctx *ctx, const json_t *config, dfo_shape shape, json_t **out)
{
    const char *given = shape.h * shape.w > 1 ? "unet" : "time-mlp";
    if (!json_is_null(json_object_get(config, "net")))
        DFO_TRY(dfoi_json_string(ctx, config, "net", NULL, &given));
    if (!strcmp(given, "unet"))
        return unet(ctx, config, shape, out);
    *out = NULL;
    if (strcmp(given, "time-mlp"))
        return dfoi_fail(ctx, DFO_EARG, "net: expected unet or time-mlp, got %s", given);
    *out = time_mlp(config);
    return *out ? DFO_OK : dfoi_fail(ctx, DFO_EMEM, "out of memory: net");
}

/* What stands before diffusion; discrete: it takes whole numbers of images.  */
static dfo_status write_begin(dfo_ctx *ctx, const json_t *config, dfo_shape shape, json_t *list, int *discrete)
{
    size_t values;
    double scale, centre;
    int standardise;
    DFO_TRY(dfoi_json_size(ctx, config, "values", 0, 0, 65536, &values));
    DFO_TRY(dfoi_json_real(ctx, config, "scale", 1, 1e-3, 1e3, &scale));
    DFO_TRY(dfoi_json_real(ctx, config, "centre", 0.5, 0, 1, &centre));
    DFO_TRY(dfoi_json_bool(ctx, config, "standardise", 0, &standardise));
    *discrete = values && shape.h * shape.w > 1;
    if (!*discrete)
        return standardise ? dfoi_preset_append(ctx, list, json_pack("{s:s}", "type", "standardise")) : DFO_OK;
    double middle = (double)values * centre, half = (double)values / (4 * scale);
    DFO_TRY(dfoi_preset_append(ctx, list, json_pack("{s:s, s:I}", "type", "dequantise", "bins", (json_int_t)values)));
    return dfoi_preset_append(ctx, list, json_pack("{s:s, s:f, s:f}", "type", "rescale", "low", middle - half, "high", middle + half));
}

/* The schedule has the preset's name, but for ddpm.  */
static dfo_status diffusion(dfo_ctx *ctx, const json_t *config, int image, int discrete, json_t *to)
{
    static const char *const key[] = {"schedule", "beta_min", "beta_max", "sigma_min", "sigma_max", "prediction", "weighting", "spread", "times", "first", NULL};
    const char *flow;
    DFO_TRY(dfoi_json_string(ctx, config, "flow", NULL, &flow));
    if (strcmp(flow, "ddpm"))
        DFO_TRY(dfoi_json_set(ctx, to, "schedule", json_string(flow)));
    if (discrete && !strcmp(flow, "vp"))
        DFO_TRY(dfoi_json_set(ctx, to, "first", json_real(1e-5)));
    if (image && (!strcmp(flow, "vp") || !strcmp(flow, "subvp")))
        DFO_TRY(dfoi_json_set(ctx, to, "prediction", json_string("velocity")));
    return dfoi_preset_copy(ctx, config, key, to);
}

dfo_status dfoi_preset_write_diffusion(dfo_ctx *ctx, const json_t *config, dfo_shape shape, json_t *list)
{
    size_t probes = dfo_shape_size(shape) > FEW_FEATURES;
    int discrete;
    json_t *of = NULL, *layer, *to;
    if (!json_is_null(json_object_get(config, "probes")))
        DFO_TRY(dfoi_json_size(ctx, config, "probes", 0, 0, 10000, &probes));
    DFO_TRY(write_begin(ctx, config, shape, list, &discrete));
    DFO_TRY(net(ctx, config, shape, &of));
    DFO_TRY(dfoi_preset_append(ctx, list, layer = dfoi_preset_cnf(config, probes, of)));
    DFO_TRY(dfoi_json_set(ctx, layer, "diffusion", to = json_object()));
    return diffusion(ctx, config, shape.h * shape.w > 1, discrete, to);
}

dfo_status dfoi_preset_complete_diffusion(dfo_ctx *ctx, const json_t *config, json_t *to)
{
    static const char *const key[] = {"label_dropout", NULL};
    json_t *matching = json_pack("{s:s}", "path", "diffusion");
    DFO_TRY(dfoi_json_set(ctx, to, "matching", matching));
    return dfoi_preset_copy(ctx, config, key, matching);
}
