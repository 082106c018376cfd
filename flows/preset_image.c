/* Presets for images: Real NVP (Dinh et al. 2017), Glow (Kingma and Dhariwal 2018), RQ-NSF (Durkan et al.
 * 2019), Inverse-Flow (Nagar and Varma 2024), FInC Flow (Kallappa, Nagar and Varma 2023), emerging and periodic
 * convolutions (Hoogeboom, van den Berg and Welling 2019), FFJORD (Grathwohl et al. 2019), each
 *
 *     dequantise, scaling (a logit, which gives dark and saturated pixels room, or to [-1/2, 1/2]), then every level
 *         squeeze (or haar), `depth` steps, split
 *
 * where a step is actnorm, invertible convolution (Inverse-Flow: the solve of one), 1x1 convolution, a spline for each
 * channel (Inverse-Flow's), coupling, or FFJORD's continuous flow (Real NVP: checkerboard couplings before the squeeze,
 * channel couplings behind it, with actnorm), and split sets half of the channels aside as latents: they get a
 * normal distribution whose mean and scale are a convolution of the channels that go on.  The last level's
 * latents have a learned scale and mean for each channel.  Rows keep all features, so levels behind the first
 * work on a part of the row, the first features, seen in that level's shape.  */
#include <math.h>
#include <string.h>

#include "layer_impl.h"
#include "preset_impl.h"

#define MAX_LEVELS 8
#define USUAL_LEVELS 3

/* kernel, solve: of the convolution; spline_bins, spline_bound: of the splines for channels; blocks: of residual-conv nets; scale, scale_max, bins, tail_bound: of couplings of their kind.  */
#define IMAGE_SETTINGS                                                                                            \
    {"levels", "0"}, {"activation", "\"relu\""}, {"blocks", "1"}, {"scale", "\"tanh\""}, {"scale_max", "2.0"},      \
    {"bins", "4"}, {"tail_bound", "3.0"}, {"kernel", "3"}, {"stable", "false"}, {"pad", "false"}, {"spline_bound", "20.0"}, {"squeeze", "\"squeeze\""}, {"prior", "true"},             \
    {"values", "0"}, {"dequantise", "\"uniform\""}, {"dequantise_layers", "4"}, {"dequantise_hidden", "32"},          \
    {"scaling", "\"logit\""}, {"alpha", "1e-6"}, {"base", "{\"type\":\"normal\"}"}, {NULL, NULL}

const struct dfoi_setting dfoi_realnvp_image_settings[] = {
    {"depth", "3"}, {"hidden", "64"}, {"coupling", "\"affine\""}, {"linear", "\"none\""}, {"convolution", "\"none\""}, {"solve", "false"},
    {"net", "\"conv\""}, {"spline_bins", "0"}, IMAGE_SETTINGS,
};

const struct dfoi_setting dfoi_ffjord_image_settings[] = {
    {"depth", "1"}, {"hidden", "64"}, {"conv_layers", "3"}, {"activation", "\"softplus\""}, {"solver", "\"dopri5\""}, {"solver_steps", "0"},
    {"rtol", "1e-4"}, {"atol", "1e-4"}, {"most_steps", "100"}, {"probes", "1"}, {"gradient", "\"stored\""},
    {"kinetic", "0.01"}, {"jacobian", "0.01"}, {"levels", "2"}, {"pad", "false"}, {"squeeze", "\"squeeze\""}, {"prior", "true"},
    {"values", "0"}, {"dequantise", "\"uniform\""}, {"scaling", "\"logit\""}, {"alpha", "1e-6"}, {"base", "{\"type\":\"normal\"}"}, {NULL, NULL},
};

const struct dfoi_setting dfoi_glow_settings[] = {
    {"depth", "8"}, {"hidden", "128"}, {"coupling", "\"affine\""}, {"linear", "\"lu\""}, {"convolution", "\"none\""}, {"solve", "false"},
    {"net", "\"conv\""}, {"spline_bins", "0"}, IMAGE_SETTINGS,
};

const struct dfoi_setting dfoi_nsf_image_settings[] = {
    {"depth", "7"}, {"hidden", "64"}, {"coupling", "\"spline\""}, {"linear", "\"lu\""}, {"convolution", "\"none\""}, {"solve", "false"},
    {"net", "\"residual-conv\""}, {"spline_bins", "0"}, IMAGE_SETTINGS,
};

const struct dfoi_setting dfoi_inverse_flow_settings[] = {
    {"depth", "8"}, {"hidden", "128"}, {"coupling", "\"affine\""}, {"linear", "\"lu\""}, {"convolution", "\"causal\""},
    {"solve", "true"}, {"net", "\"conv\""}, {"spline_bins", "5"}, IMAGE_SETTINGS,
};

const struct dfoi_setting dfoi_finc_flow_settings[] = {
    {"depth", "8"}, {"hidden", "128"}, {"coupling", "\"affine\""}, {"linear", "\"lu\""}, {"convolution", "\"finc\""},
    {"solve", "false"}, {"net", "\"conv\""}, {"spline_bins", "0"}, IMAGE_SETTINGS,
};

const struct dfoi_setting dfoi_emerging_settings[] = {
    {"depth", "8"}, {"hidden", "128"}, {"coupling", "\"affine\""}, {"linear", "\"lu\""}, {"convolution", "\"emerging\""},
    {"solve", "false"}, {"net", "\"conv\""}, {"spline_bins", "0"}, IMAGE_SETTINGS,
};

const struct dfoi_setting dfoi_periodic_settings[] = {
    {"depth", "8"}, {"hidden", "128"}, {"coupling", "\"affine\""}, {"linear", "\"none\""}, {"convolution", "\"periodic\""},
    {"solve", "false"}, {"net", "\"conv\""}, {"spline_bins", "0"}, IMAGE_SETTINGS,
};

struct settings {
    const json_t *config;
    const char *flow, *activation, *squeeze, *dequantise, *scaling, *scale, *coupling, *linear, *convolution, *net;
    size_t levels, depth, hidden, kernel, blocks, bins, spline_bins, values, dequantise_layers, dequantise_hidden, conv_layers, probes;
    int    prior, solve, stable;
    double alpha, scale_max, tail_bound, spline_bound;
};

static dfo_status read_words(dfo_ctx *ctx, const json_t *config, struct settings *s)
{
    static const char *const convolutions[] = {"none", "causal", "finc", "emerging", "periodic", "symmetric", "exp", NULL},
                            *const nets[] = {"conv", "residual-conv", NULL}, *const squeezes[] = {"squeeze", "haar", NULL},
                            *const kinds[] = {"uniform", "variational", NULL}, *const scalings[] = {"logit", "centre", NULL},
                            *const scales[] = {"tanh", "sigmoid", NULL}, *const linears[] = {"lu", "householder", "none", NULL},
                            *const couplings[] = {"affine", "additive", "spline", NULL};
    DFO_TRY(dfoi_json_word(ctx, config, "convolution", convolutions, &s->convolution));
    DFO_TRY(dfoi_json_word(ctx, config, "net", nets, &s->net));
    DFO_TRY(dfoi_json_word(ctx, config, "squeeze", squeezes, &s->squeeze));
    DFO_TRY(dfoi_json_word(ctx, config, "dequantise", kinds, &s->dequantise));
    DFO_TRY(dfoi_json_word(ctx, config, "scaling", scalings, &s->scaling));
    DFO_TRY(dfoi_json_word(ctx, config, "scale", scales, &s->scale));
    DFO_TRY(dfoi_json_word(ctx, config, "linear", linears, &s->linear));
    return dfoi_json_word(ctx, config, "coupling", couplings, &s->coupling);
}

static dfo_status read_settings(dfo_ctx *ctx, const json_t *config, struct settings *s)
{
    s->config = config;
    DFO_TRY(dfoi_json_string(ctx, config, "flow", NULL, &s->flow));
    DFO_TRY(dfoi_json_size(ctx, config, "conv_layers", 1, 1, 64, &s->conv_layers));
    DFO_TRY(dfoi_json_size(ctx, config, "probes", 0, 0, 10000, &s->probes));
    DFO_TRY(dfoi_json_size(ctx, config, "levels", 0, 0, MAX_LEVELS, &s->levels));
    DFO_TRY(dfoi_json_size(ctx, config, "depth", 0, 0, 256, &s->depth));
    DFO_TRY(dfoi_json_size(ctx, config, "hidden", 0, 1, 65536, &s->hidden));
    DFO_TRY(dfoi_json_size(ctx, config, "blocks", 0, 0, 64, &s->blocks));
    DFO_TRY(dfoi_json_size(ctx, config, "values", 0, 0, 65536, &s->values));
    DFO_TRY(dfoi_json_size(ctx, config, "bins", 0, 2, 64, &s->bins));
    DFO_TRY(dfoi_json_size(ctx, config, "dequantise_layers", 0, 0, 64, &s->dequantise_layers));
    DFO_TRY(dfoi_json_size(ctx, config, "dequantise_hidden", 0, 1, 65536, &s->dequantise_hidden));
    DFO_TRY(dfoi_json_bool(ctx, config, "prior", 0, &s->prior));
    DFO_TRY(dfoi_json_real(ctx, config, "alpha", 0, 1e-9, 0.499, &s->alpha));
    DFO_TRY(dfoi_json_real(ctx, config, "scale_max", 0, 1e-3, 20, &s->scale_max));
    DFO_TRY(dfoi_json_real(ctx, config, "tail_bound", 0, 1e-3, 1e6, &s->tail_bound));
    DFO_TRY(dfoi_json_string(ctx, config, "activation", NULL, &s->activation));
    DFO_TRY(read_words(ctx, config, s));
    DFO_TRY(dfoi_json_bool(ctx, config, "solve", 0, &s->solve));
    DFO_TRY(dfoi_json_bool(ctx, config, "stable", 0, &s->stable));
    if (s->stable && strcmp(s->convolution, "causal") && strcmp(s->convolution, "finc") && strcmp(s->convolution, "emerging"))
        return dfoi_fail(ctx, DFO_EARG, "stable: goes with causal, finc or emerging convolutions, got %s", s->convolution);
    DFO_TRY(dfoi_json_size(ctx, config, "spline_bins", 0, 0, 64, &s->spline_bins));
    DFO_TRY(dfoi_json_real(ctx, config, "spline_bound", 0, 1e-3, 1e6, &s->spline_bound));
    return dfoi_json_size(ctx, config, "kernel", 0, 1, 15, &s->kernel);
}

/* ---- layers */

/* Where layers go: the whole row, or its first features, seen as images of this shape.  */
struct place {
    dfo_ctx  *ctx;
    json_t   *list;
    dfo_shape shape;
    int       part;
};

static json_t *shape_json(dfo_shape s)
{
    return json_pack("[I, I, I]", (json_int_t)s.c, (json_int_t)s.h, (json_int_t)s.w);
}

/* Takes the layer's reference.  */
static dfo_status append(const struct place *p, json_t *layer)
{
    if (layer && p->part)
        layer = json_pack("{s:s, s:o, s:o}", "type", "part", "shape", shape_json(p->shape), "layer", layer);
    return dfoi_preset_append(p->ctx, p->list, layer);
}

static json_t *net(const struct settings *s)
{
    if (!strcmp(s->net, "residual-conv"))
        return json_pack("{s:s, s:I, s:I, s:s}", "type", s->net, "hidden", (json_int_t)s->hidden, "blocks",
                         (json_int_t)s->blocks, "activation", s->activation);
    return json_pack("{s:s, s:[I, I], s:[i, i, i], s:s}", "type", "conv", "hidden", (json_int_t)s->hidden,
                     (json_int_t)s->hidden, "kernel", 3, 1, 3, "activation", s->activation);
}

static json_t *coupling(const struct settings *s, const char *mask, json_t *of)
{
    if (!strcmp(s->coupling, "additive"))
        return json_pack("{s:s, s:s, s:o}", "type", "additive-coupling", "mask", mask, "net", of);
    if (!strcmp(s->coupling, "affine"))
        return json_pack("{s:s, s:s, s:s, s:f, s:o}", "type", "affine-coupling", "mask", mask, "scale", s->scale,
                         "scale_max", s->scale_max, "net", of);
    return json_pack("{s:s, s:s, s:I, s:f, s:f, s:o}", "type", "spline-coupling", "mask", mask, "bins",
                     (json_int_t)s->bins, "tail_bound", s->tail_bound, "parameter_scale",
                     1 / sqrt((double)s->hidden), "net", of);
}

static json_t *plain(const char *type)
{
    return json_pack("{s:s}", "type", type);
}

/* Mean and scale of some pixels from one convolution: of everything else that is given.  */
static json_t *conditional_normal(void)
{
    return json_pack("{s:s, s:s, s:f, s:{s:s, s:[], s:i}}", "type", "affine", "scale", "tanh", "scale_max", 3.0,
                     "net", "type", "conv", "hidden", "kernel", 3);
}

/* ---- dequantisation and scaling */

/* v of what is added to a pixel, by couplings of checkerboards that see the image too.  */
static json_t *noise_coupling(const struct settings *s, size_t i)
{
    json_t *of = json_pack("{s:s, s:[I, I], s:s}", "type", "conv", "hidden", (json_int_t)s->dequantise_hidden,
                           (json_int_t)s->dequantise_hidden, "activation", s->activation);
    return json_pack("{s:s, s:s, s:o}", "type", "affine-coupling", "mask",
                     i % 2 ? "checkerboard-swapped" : "checkerboard", "net", of);
}

static json_t *noise_layers(const struct settings *s)
{
    json_t *list = json_array();
    for (size_t i = 0; i <= s->dequantise_layers; i++)
        if (json_array_append_new(list, i < s->dequantise_layers ? noise_coupling(s, i) : conditional_normal())) {
            json_decref(list);
            return NULL;
        }
    return json_pack("{s:s, s:o}", "type", "chain", "layers", list);
}

static dfo_status write_begin(const struct settings *s, const struct place *p)
{
    json_int_t bins = (json_int_t)(s->values ? s->values : 256);
    json_t *dequantise = json_pack("{s:s, s:I, s:s}", "type", "dequantise", "bins", bins, "kind", s->dequantise);
    DFO_TRY(append(p, dequantise));
    if (!strcmp(s->dequantise, "variational"))
        DFO_TRY(dfoi_json_set(p->ctx, dequantise, "layer", noise_layers(s)));
    if (!strcmp(s->scaling, "logit"))
        return append(p, json_pack("{s:s, s:f, s:i, s:I}", "type", "logit", "alpha", s->alpha, "low", 0, "high", bins));
    return append(p, json_pack("{s:s, s:i, s:I}", "type", "rescale", "low", 0, "high", bins));
}

/* ---- levels */

/* The invertible convolution of step i; causal ones begin at another corner in every step.  Kernels of those that a
 * transform diagonalises fit the image.  */
static json_t *convolution_layer(const struct settings *s, dfo_shape shape, size_t i)
{
    static const char *const corner[] = {"top-left", "bottom-right", "top-right", "bottom-left"};
    json_int_t k = (json_int_t)s->kernel, h = (json_int_t)shape.h, w = (json_int_t)shape.w;
    if (!strcmp(s->convolution, "causal"))
        return json_pack("{s:s, s:I, s:s, s:b, s:s, s:b}", "type", "causal-conv", "kernel", k, "orientation", corner[i % 4],
                         "solve", s->solve, "diagonal", "log", "stable", s->stable);
    if (!strcmp(s->convolution, "periodic") || !strcmp(s->convolution, "symmetric"))
        return json_pack("{s:s, s:[I, I], s:b}", "type", s->convolution[0] == 'p' ? "periodic-conv" : "symmetric-conv",
                         "kernel", k < h ? k : h, k < w ? k : w, "solve", s->solve);
    if (!strcmp(s->convolution, "exp"))
        return json_pack("{s:s, s:I}", "type", "conv-exp", "kernel", k);
    return json_pack("{s:s, s:I, s:b, s:s, s:b}", "type", s->convolution, "kernel", k, "solve", s->solve, "diagonal",
                     s->convolution[0] == 'f' ? "unit" : "log", "stable", s->stable);
}

static dfo_status write_step(const struct settings *s, const struct place *p, size_t i)
{
    DFO_TRY(append(p, plain("actnorm")));
    if (strcmp(s->convolution, "none"))
        DFO_TRY(append(p, convolution_layer(s, p->shape, i)));
    if (!strcmp(s->linear, "lu"))
        DFO_TRY(append(p, json_pack("{s:s, s:s}", "type", "linear", "init", "orthogonal")));
    else if (!strcmp(s->linear, "householder"))
        DFO_TRY(append(p, plain("householder")));
    if (s->spline_bins)
        DFO_TRY(append(p, json_pack("{s:s, s:I, s:f}", "type", "spline", "bins", (json_int_t)s->spline_bins, "tail_bound",
                                    s->spline_bound)));
    return append(p, coupling(s, i % 2 ? "channels-swapped" : "channels", net(s)));
}

static dfo_status write_checkerboards(const struct settings *s, const struct place *p)
{
    for (size_t i = 0; i < s->depth; i++) {
        DFO_TRY(append(p, plain("actnorm")));
        DFO_TRY(append(p, coupling(s, i % 2 ? "checkerboard-swapped" : "checkerboard", net(s))));
    }
    return DFO_OK;
}

/* The second half of the channels gets its distribution; the first goes on.  */
static dfo_status write_split(const struct settings *s, struct place *p)
{
    json_int_t kept = (json_int_t)(p->shape.c / 2);
    if (s->prior)
        DFO_TRY(append(p, json_pack("{s:s, s:I, s:b, s:o}", "type", "part", "first", kept, "rest", 1, "layer",
                                    conditional_normal())));
    p->shape.c /= 2;
    p->part = 1;
    return DFO_OK;
}

/* The field of a level: `conv_layers` convolutions, the time beside the pixels.  */
static json_t *field(const struct settings *s)
{
    json_t *hidden = json_array();
    for (size_t i = 0; i + 1 < s->conv_layers; i++)
        if (json_array_append_new(hidden, json_integer((json_int_t)s->hidden))) {
            json_decref(hidden);
            return NULL;
        }
    return json_pack("{s:s, s:o, s:i, s:s}", "type", "conv", "hidden", hidden, "kernel", 3, "activation", s->activation);
}

static dfo_status write_level(const struct settings *s, struct place *p, int last)
{
    const int continuous = !strcmp(s->flow, "ffjord-image");
    if (!strcmp(s->flow, "realnvp-image"))
        DFO_TRY(write_checkerboards(s, p));
    DFO_TRY(append(p, plain(s->squeeze)));
    p->shape = (dfo_shape){4 * p->shape.c, p->shape.h / 2, p->shape.w / 2};
    for (size_t i = 0; i < s->depth; i++)
        DFO_TRY(continuous ? append(p, dfoi_preset_cnf(s->config, s->probes, field(s))) : write_step(s, p, i));
    return last ? append(p, plain("affine")) : write_split(s, p);
}

/* As many as the sides can be halved, three unless more are asked for.  */
static dfo_status count_levels(dfo_ctx *ctx, dfo_shape shape, struct settings *s)
{
    size_t most = 0;
    while (most < MAX_LEVELS && !(shape.h >> most & 1) && !(shape.w >> most & 1))
        most++;
    if (most == 0)
        return dfoi_fail(ctx, DFO_ESHAPE, "%s wants images with an even number of rows and columns, got %zux%zu pixels%s",
                         s->flow, shape.h, shape.w, shape.h * shape.w > 1 ? "; pad=true frames them" : "");
    if (s->levels > most)
        return dfoi_fail(ctx, DFO_EARG, "levels must be at most %zu for %zux%zu pixels, got %zu; pad=true frames them",
                         most, shape.h, shape.w, s->levels);
    if (!s->levels)
        s->levels = most < USUAL_LEVELS ? most : USUAL_LEVELS;
    return DFO_OK;
}

dfo_status dfo_preset_frame(dfo_ctx *ctx, const json_t *config, dfo_shape picture, dfo_shape *frame)
{
    size_t levels, unit;
    int pad;
    *frame = picture;
    DFO_TRY(dfoi_json_bool(ctx, config, "pad", 0, &pad));
    if (!pad)
        return DFO_OK;
    DFO_TRY(dfoi_json_size(ctx, config, "levels", 0, 0, MAX_LEVELS, &levels));
    if (picture.h * picture.w == 1)
        return dfoi_fail(ctx, DFO_ESHAPE, "pad=true frames images, got rows of %zu columns", picture.c);
    unit = (size_t)1 << (levels ? levels : USUAL_LEVELS);
    frame->h = (picture.h + unit - 1) / unit * unit;
    frame->w = (picture.w + unit - 1) / unit * unit;
    return DFO_OK;
}

dfo_status dfoi_preset_write_image(dfo_ctx *ctx, const json_t *config, dfo_shape shape, json_t *list)
{
    struct settings s;
    DFO_TRY(read_settings(ctx, config, &s));
    DFO_TRY(count_levels(ctx, shape, &s));
    struct place p = {.ctx = ctx, .list = list, .shape = shape};
    DFO_TRY(write_begin(&s, &p));
    for (size_t level = 0; level < s.levels; level++)
        DFO_TRY(write_level(&s, &p, level + 1 == s.levels));
    return DFO_OK;
}
