/* The preset for places on a sphere: recursive flows (Rezende et al. 2020) on the cylinder that has the sphere's areas.  A
 * layer turns longitudes by circular splines that know the height, then heights by splines that know the longitude; between
 * layers a learned rotation moves the poles and the meridian that splines keep.  Longitudes fade to themselves at the poles, so that
 * every layer is a smooth map of the sphere.  */
#include <math.h>

#include "layer_impl.h"
#include "preset_impl.h"

const struct dfoi_setting dfoi_sphere_settings[] = {
    {"units", "\"degrees\""}, {"layers", "8"}, {"hidden", "64"}, {"blocks", "2"}, {"activation", "\"silu\""}, {"dropout", "0.0"},
    {"bins", "32"}, {"harmonics", "8"}, {"base", "{\"type\":\"box\",\"low\":-1,\"high\":1}"}, {NULL, NULL},
};

static json_t *coupling(const json_t *config, size_t hidden, int longitudes)
{
    return json_pack("{s:s, s:[i, i], s:s, s:s, s:f, s:b, s:O, s:O, s:f, s:{s:s, s:O, s:O, s:O, s:O}}", "type", "spline-coupling", "mask",
                     longitudes, !longitudes, "tails", longitudes ? "circular" : "linear", "input",
                     longitudes ? "interval" : "circle", "tail_bound", 1.0, "fade", longitudes,
                     "harmonics", json_object_get(config, "harmonics"), "bins",
                     json_object_get(config, "bins"), "parameter_scale", 1 / sqrt((double)hidden), "net", "type", "residual-mlp",
                     "hidden", json_object_get(config, "hidden"), "blocks", json_object_get(config, "blocks"), "activation",
                     json_object_get(config, "activation"), "dropout", json_object_get(config, "dropout"));
}

dfo_status dfoi_preset_write_sphere(dfo_ctx *ctx, const json_t *config, dfo_shape shape, json_t *list)
{
    size_t layers, hidden;
    if (dfo_shape_size(shape) != 2)
        return dfoi_fail(ctx, DFO_ESHAPE, "sphere: rows are latitude and longitude, got %zu columns", dfo_shape_size(shape));
    DFO_TRY(dfoi_json_size(ctx, config, "layers", 0, 0, 1000, &layers));
    DFO_TRY(dfoi_json_size(ctx, config, "hidden", 0, 1, 65536, &hidden));
    DFO_TRY(dfoi_preset_append(ctx, list, json_pack("{s:s, s:O}", "type", "sphere", "units", json_object_get(config, "units"))));
    for (size_t i = 0; i < layers; i++) {
        DFO_TRY(dfoi_preset_append(ctx, list, json_pack("{s:s}", "type", "sphere-rotation")));
        DFO_TRY(dfoi_preset_append(ctx, list, coupling(config, hidden, 1)));
        DFO_TRY(dfoi_preset_append(ctx, list, coupling(config, hidden, 0)));
    }
    return DFO_OK;
}
