/* Causal convolutions together, as chains.
 *
 *   finc       channels in four groups, each convolved from its own corner of the image; fewer than four channels make
 *              as many groups.  Kallappa, Nagar and Varma 2023.
 *   emerging   two one after the other, from opposite corners: their product sees the whole neighbourhood of a pixel.
 *              Hoogeboom, van den Berg and Welling 2019, whose masks are in raster order (an inverse takes H W steps);
 *              these are quadrants, whose inverse takes the H + W - 1 diagonals.
 *
 * Keys: those of causal-conv but for orientation and sign.  */
#include "layers.h"

static const char *const corners[] = {"top-left", "bottom-right", "top-right", "bottom-left"};

static dfo_status check_keys(dfo_ctx *ctx, const json_t *config)
{
    static const char *const keys[] = {"type", "kernel", "solve", "diagonal", "stable", NULL};
    return dfoi_json_keys(ctx, config, keys);
}

/* The causal-conv from this corner with the settings of config.  */
static json_t *corner(const json_t *config, size_t which)
{
    json_t *layer = dfoi_json_copy(config);
    if (layer && (json_object_set_new(layer, "type", json_string("causal-conv")) ||
                  json_object_set_new(layer, "orientation", json_string(corners[which])))) {
        json_decref(layer);
        return NULL;
    }
    return layer;
}

/* Takes the list's reference.  */
static dfo_status create(dfo_build *build, const json_t *config, json_t *list, dfo_bijector *bij)
{
    dfo_status status = dfoi_chain_named(build, config, list, bij);
    json_decref(list);
    return status;
}

static json_t *append(json_t *list, json_t *layer)
{
    if (!json_array_append_new(list, layer))
        return list;
    json_decref(list);
    return NULL;
}

dfo_status dfoi_finc_create(dfo_build *build, json_t *config, dfo_bijector *bij)
{
    size_t c = build->shape.c, groups = c < 4 ? c : 4;
    DFO_TRY(check_keys(build->ctx, config));
    json_t *list = json_array();
    for (size_t g = 0; list && g < groups; g++) {
        size_t first = g * c / groups, count = (g + 1) * c / groups - first;
        json_t *layer = corner(config, g);
        list = append(list, layer ? json_pack("{s:s, s:I, s:I, s:o}", "type", "part", "first", (json_int_t)first, "count",
                                              (json_int_t)count, "layer", layer)
                                  : NULL);
    }
    return create(build, config, list, bij);
}

dfo_status dfoi_emerging_create(dfo_build *build, json_t *config, dfo_bijector *bij)
{
    DFO_TRY(check_keys(build->ctx, config));
    json_t *list = json_array();
    for (size_t i = 0; list && i < 2; i++)
        list = append(list, corner(config, i));
    return create(build, config, list, bij);
}
