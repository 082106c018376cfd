/* Presets of autoregressive layers for rows: MAF (Papamakarios et al. 2017), IAF (Kingma et al. 2016), NAF (Huang et al. 2018),
 * BNAF (De Cao et al. 2019), Bernstein polynomials (Ramasinghe et al. 2021), sums of squares (Jaini et al. 2019) and RQ-NSF (AR)
 * (Durkan et al. 2019).  All but the last have activation normalisation where MAF has batch normalisation; MAF and IAF may have
 * that too.  */
#include <math.h>
#include <string.h>

#include "layer_impl.h"
#include "preset_impl.h"

const struct dfoi_setting dfoi_maf_settings[] = {
    {"layers", "5"}, {"hidden", "128"}, {"depth", "2"}, {"activation", "\"relu\""}, {"scale", "\"tanh\""},
    {"scale_max", "2.0"}, {"actnorm", "true"}, {"batchnorm", "false"}, {"linear", "\"none\""}, {"permute", "\"reverse\""},
    {"standardise", "true"}, {"base", "{\"type\":\"normal\"}"}, {NULL, NULL},
};

const struct dfoi_setting dfoi_naf_settings[] = {
    {"layers", "5"}, {"hidden", "128"}, {"depth", "2"}, {"activation", "\"relu\""}, {"components", "16"},
    {"actnorm", "true"}, {"linear", "\"none\""}, {"permute", "\"reverse\""}, {"standardise", "true"},
    {"base", "{\"type\":\"normal\"}"}, {NULL, NULL},
};

#define POLYNOMIAL_SETTINGS                                                                                          \
    {"layers", "5"}, {"hidden", "128"}, {"depth", "2"}, {"activation", "\"relu\""}, {"tail_bound", "5.0"},           \
    {"actnorm", "true"}, {"linear", "\"none\""}, {"permute", "\"reverse\""}, {"standardise", "true"},              \
    {"base", "{\"type\":\"normal\"}"}, {NULL, NULL}

const struct dfoi_setting dfoi_bernstein_settings[] = {{"degree", "16"}, POLYNOMIAL_SETTINGS};
const struct dfoi_setting dfoi_squares_settings[] = {{"degree", "3"}, {"components", "4"}, POLYNOMIAL_SETTINGS};

const struct dfoi_setting dfoi_bnaf_settings[] = {
    {"layers", "5"}, {"hidden", "8"}, {"depth", "2"}, {"actnorm", "true"}, {"linear", "\"none\""}, {"permute", "\"reverse\""},
    {"standardise", "true"}, {"base", "{\"type\":\"normal\"}"}, {NULL, NULL},
};

const struct dfoi_setting dfoi_nsf_ar_settings[] = {
    {"layers", "10"}, {"hidden", "128"}, {"blocks", "2"}, {"activation", "\"relu\""}, {"dropout", "0.0"},
    {"bins", "8"}, {"tail_bound", "3.0"}, {"actnorm", "false"}, {"linear", "\"lu\""}, {"permute", "\"random\""},
    {"standardise", "true"}, {"base", "{\"type\":\"normal\"}"}, {NULL, NULL},
};

struct settings {
    const char *flow, *activation, *scale, *linear, *permute;
    size_t layers, hidden, depth, blocks, bins, components, degree;
    int    actnorm, batchnorm, standardise, spline, deep, bernstein, squares, block;
    double scale_max, tail_bound, dropout;
};

static dfo_status read_settings(dfo_ctx *ctx, const json_t *config, struct settings *s)
{
    DFO_TRY(dfoi_json_string(ctx, config, "flow", NULL, &s->flow));
    s->spline = !strcmp(s->flow, "nsf-ar");
    s->deep = !strcmp(s->flow, "naf");
    s->bernstein = !strcmp(s->flow, "bernstein");
    s->squares = !strcmp(s->flow, "sum-of-squares");
    s->block = !strcmp(s->flow, "bnaf");
    DFO_TRY(dfoi_json_size(ctx, config, "layers", 0, 0, 1000, &s->layers));
    DFO_TRY(dfoi_json_size(ctx, config, "hidden", 0, 1, 65536, &s->hidden));
    if (!s->block)
        DFO_TRY(dfoi_json_string(ctx, config, "activation", NULL, &s->activation));
    DFO_TRY(dfoi_json_bool(ctx, config, "actnorm", 0, &s->actnorm));
    DFO_TRY(dfoi_json_bool(ctx, config, "standardise", 0, &s->standardise));
    DFO_TRY(dfoi_json_word(ctx, config, "linear", dfoi_preset_linear, &s->linear));
    DFO_TRY(dfoi_json_word(ctx, config, "permute", dfoi_preset_permute, &s->permute));
    if (s->spline) {
        DFO_TRY(dfoi_json_size(ctx, config, "blocks", 0, 1, 64, &s->blocks));
        DFO_TRY(dfoi_json_size(ctx, config, "bins", 0, 2, 64, &s->bins));
        DFO_TRY(dfoi_json_real(ctx, config, "tail_bound", 0, 1e-3, 1e6, &s->tail_bound));
        return dfoi_json_real(ctx, config, "dropout", 0, 0, 0.99, &s->dropout);
    }
    DFO_TRY(dfoi_json_size(ctx, config, "depth", 0, 1, 64, &s->depth));
    if (s->deep)
        return dfoi_json_size(ctx, config, "components", 0, 1, 64, &s->components);
    if (s->bernstein || s->squares) {
        DFO_TRY(dfoi_json_size(ctx, config, "degree", 0, 0, 64, &s->degree));
        if (s->squares)
            DFO_TRY(dfoi_json_size(ctx, config, "components", 0, 1, 16, &s->components));
        return dfoi_json_real(ctx, config, "tail_bound", 0, 1e-3, 1e6, &s->tail_bound);
    }
    if (s->block)
        return DFO_OK;
    DFO_TRY(dfoi_json_bool(ctx, config, "batchnorm", 0, &s->batchnorm));
    DFO_TRY(dfoi_json_string(ctx, config, "scale", NULL, &s->scale));
    return dfoi_json_real(ctx, config, "scale_max", 0, 1e-3, 20, &s->scale_max);
}

static json_t *layer(const struct settings *s)
{
    if (s->spline)
        return json_pack("{s:s, s:s, s:I, s:f, s:f, s:{s:b, s:I, s:I, s:s, s:f}}", "type", "autoregressive", "transform", "spline",
                         "bins", (json_int_t)s->bins, "tail_bound", s->tail_bound, "parameter_scale", 1 / sqrt((double)s->hidden),
                         "net", "residual", 1, "hidden", (json_int_t)s->hidden, "blocks", (json_int_t)s->blocks, "activation",
                         s->activation, "dropout", s->dropout);
    if (s->deep)
        return json_pack("{s:s, s:s, s:I, s:{s:I, s:I, s:s}}", "type", "autoregressive", "transform", "deep-sigmoidal", "components",
                         (json_int_t)s->components, "net", "hidden", (json_int_t)s->hidden, "layers", (json_int_t)s->depth,
                         "activation", s->activation);
    if (s->block)
        return json_pack("{s:s, s:I, s:I}", "type", "bnaf", "hidden", (json_int_t)s->hidden, "depth", (json_int_t)s->depth);
    if (s->bernstein || s->squares) {
        json_t *of = json_pack("{s:s, s:s, s:I, s:f, s:{s:I, s:I, s:s}}", "type", "autoregressive", "transform", s->flow, "degree",
                               (json_int_t)s->degree, "tail_bound", s->tail_bound, "net", "hidden", (json_int_t)s->hidden, "layers",
                               (json_int_t)s->depth, "activation", s->activation);
        if (of && s->squares && json_object_set_new(of, "components", json_integer((json_int_t)s->components))) {
            json_decref(of);
            return NULL;
        }
        return of;
    }
    return json_pack("{s:s, s:b, s:s, s:f, s:{s:I, s:I, s:s}}", "type", "autoregressive", "solve", !strcmp(s->flow, "iaf"), "scale",
                     s->scale, "scale_max", s->scale_max, "net", "hidden", (json_int_t)s->hidden, "layers", (json_int_t)s->depth,
                     "activation", s->activation);
}

dfo_status dfoi_autoregressive_write(dfo_ctx *ctx, const json_t *config, dfo_shape shape, json_t *list)
{
    struct settings settings = {0}, *s = &settings;
    size_t d = dfo_shape_size(shape);
    DFO_TRY(read_settings(ctx, config, s));
    if (s->standardise)
        DFO_TRY(dfoi_preset_append(ctx, list, json_pack("{s:s}", "type", "standardise")));
    for (size_t i = 0; i < s->layers; i++) {
        if (s->actnorm)
            DFO_TRY(dfoi_preset_append(ctx, list, json_pack("{s:s}", "type", "actnorm")));
        if (s->batchnorm)
            DFO_TRY(dfoi_preset_append(ctx, list, json_pack("{s:s}", "type", "batchnorm")));
        if (i && strcmp(s->permute, "none") && d > 1)
            DFO_TRY(dfoi_preset_append(ctx, list, json_pack("{s:s, s:s}", "type", "permute", "order", s->permute)));
        if (strcmp(s->linear, "none"))
            DFO_TRY(dfoi_preset_append(ctx, list, json_pack("{s:s}", "type", "linear")));
        DFO_TRY(dfoi_preset_append(ctx, list, layer(s)));
    }
    return DFO_OK;
}
