/* The presets, and those for rows: NICE (Dinh et al. 2015), Real NVP (2017), RQ-NSF coupling (Durkan et al.
 * 2019), written out as chains of layers.  They begin with standardise, so that densities stay in data units.  */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "layer_impl.h"
#include "preset_impl.h"

static const struct dfoi_setting nice_settings[] = {
    {"layers", "6"}, {"hidden", "128"}, {"depth", "2"}, {"activation", "\"relu\""}, {"mask", "\"half\""},
    {"actnorm", "false"}, {"linear", "\"none\""}, {"permute", "\"none\""}, {"standardise", "true"},
    {"base", "{\"type\":\"logistic\"}"}, {NULL, NULL},
};

static const struct dfoi_setting realnvp_settings[] = {
    {"layers", "10"}, {"hidden", "128"}, {"depth", "2"}, {"activation", "\"relu\""}, {"scale_max", "2.0"},
    {"mask", "\"half\""}, {"actnorm", "true"}, {"linear", "\"none\""}, {"permute", "\"none\""},
    {"standardise", "true"}, {"base", "{\"type\":\"normal\"}"}, {NULL, NULL},
};

static const struct dfoi_setting nsf_settings[] = {
    {"layers", "10"}, {"hidden", "128"}, {"blocks", "2"}, {"activation", "\"relu\""}, {"dropout", "0.0"},
    {"bins", "8"}, {"tail_bound", "3.0"}, {"mask", "\"alternate\""}, {"actnorm", "false"},
    {"linear", "\"lu\""}, {"permute", "\"random\""}, {"standardise", "true"},
    {"base", "{\"type\":\"normal\"}"}, {NULL, NULL},
};

#define CNF_SETTINGS                                                                                               \
    {"blocks", "1"}, {"depth", "3"}, {"net", "\"concatsquash\""}, {"solver", "\"dopri5\""}, {"solver_steps", "0"}, {"rtol", "1e-5"}, \
    {"atol", "1e-5"}, {"most_steps", "100"}, {"probes", "null"}, {"probe", "\"rademacher\""}, {"trace", "\"hutchinson\""}, \
    {"gradient", "\"stored\""}, {"coupling", "0.999"}, {"end", "1.0"}, {"learn_end", "false"}, {"together", "false"}, \
    {"standardise", "true"}, {"base", "{\"type\":\"normal\"}"}, {NULL, NULL}

static const struct dfoi_setting ffjord_settings[] = {
    {"hidden", "64"}, {"activation", "\"tanh\""}, {"kinetic", "0.0"}, {"jacobian", "0.0"}, {"acceleration", "0.0"}, {"order", "2"}, CNF_SETTINGS,
};

static const struct dfoi_setting rnode_settings[] = {
    {"hidden", "64"}, {"activation", "\"tanh\""}, {"kinetic", "0.01"}, {"jacobian", "0.01"}, {"acceleration", "0.0"}, {"order", "2"}, CNF_SETTINGS,
};

static const struct dfoi_setting matching_settings[] = {
    {"path", "\"straight\""}, {"sigma", "0.0"}, {"pairing", "\"independent\""}, {"label_dropout", "null"}, {"hidden", "128"}, {"activation", "\"silu\""}, CNF_SETTINGS,
};

static const struct dfoi_setting perflow_settings[] = {
    {"path", "\"straight\""}, {"sigma", "0.0"}, {"pairing", "\"independent\""}, {"windows", "4"}, {"teacher_steps", "4"}, {"hidden", "128"},
    {"activation", "\"silu\""}, {"blocks", "1"}, {"depth", "3"}, {"net", "\"concatsquash\""}, {"solver", "\"euler\""}, {"solver_steps", "4"},
    {"probes", "null"}, {"end", "1.0"}, {"standardise", "true"}, {"base", "{\"type\":\"normal\"}"}, {NULL, NULL},
};

static const struct dfoi_setting transport_settings[] = {
    {"path", "\"straight\""}, {"sigma", "0.0"}, {"pairing", "\"transport\""}, {"label_dropout", "null"}, {"hidden", "128"}, {"activation", "\"silu\""}, CNF_SETTINGS,
};

const char *const dfoi_preset_linear[] = {"none", "lu", NULL};
const char *const dfoi_preset_permute[] = {"none", "random", "reverse", NULL};
const char *const dfoi_preset_mask[] = {"half", "alternate", NULL};

static dfo_status write_rows(dfo_ctx *ctx, const json_t *config, dfo_shape shape, json_t *list);
static dfo_status complete_matching(dfo_ctx *ctx, const json_t *config, json_t *to);
static dfo_status write_ffjord(dfo_ctx *ctx, const json_t *config, dfo_shape shape, json_t *list);

static const struct dfoi_preset presets[] = {
    {"nice", "additive couplings over a logistic base (Dinh et al. 2015)", nice_settings, write_rows, NULL},
    {"realnvp", "affine couplings with bounded scales (Dinh et al. 2017)", realnvp_settings, write_rows, NULL},
    {"nsf", "rational-quadratic spline couplings with residual nets (Durkan et al. 2019)", nsf_settings, write_rows, NULL},
    {"maf", "autoregressive affine layers, densities in one pass (Papamakarios et al. 2017)", dfoi_maf_settings, dfoi_autoregressive_write,
     NULL},
    {"iaf", "the same the other way round, samples in one pass (Kingma et al. 2016)", dfoi_maf_settings, dfoi_autoregressive_write, NULL},
    {"naf", "neural autoregressive: deep sigmoidal maps (Huang et al. 2018)", dfoi_naf_settings, dfoi_autoregressive_write, NULL},
    {"bnaf", "autoregressive blocks of one net (De Cao et al. 2019)", dfoi_bnaf_settings, dfoi_autoregressive_write, NULL},
    {"bernstein", "autoregressive Bernstein polynomials (Ramasinghe et al. 2021)", dfoi_bernstein_settings, dfoi_autoregressive_write,
     NULL},
    {"sum-of-squares", "autoregressive integrals of sums of squares (Jaini et al. 2019)", dfoi_squares_settings,
     dfoi_autoregressive_write, NULL},
    {"nsf-ar", "autoregressive rational-quadratic splines (Durkan et al. 2019)", dfoi_nsf_ar_settings, dfoi_autoregressive_write, NULL},
    {"ferumal", "affine couplings by kernels over inducing points, for few data (English et al. 2023)", dfoi_ferumal_settings,
     dfoi_preset_write_coupling, NULL},
    {"ferumal-glow", "the same with activation normalisation and learned linear maps", dfoi_ferumal_glow_settings,
     dfoi_preset_write_coupling, NULL},
    {"mixture-coupling", "couplings by distribution functions of mixtures of logistics (Ho et al. 2019)", dfoi_mixture_settings,
     dfoi_preset_write_coupling, NULL},
    {"deep-sigmoidal", "couplings by the maps of neural autoregressive flows (Huang et al. 2018)", dfoi_deep_sigmoidal_settings,
     dfoi_preset_write_coupling, NULL},
    {"gaussianization", "each column to a normal, rotations between, begun from data (Meng et al. 2020)",
     dfoi_gaussianization_settings, dfoi_preset_write_gaussianization, NULL},
    {"planar", "planes, each with a bend along it (Rezende and Mohamed 2015)", dfoi_single_settings, dfoi_preset_write_chain, NULL},
    {"radial", "balls, from whose middles rows are drawn or pushed (Rezende and Mohamed 2015)", dfoi_single_settings,
     dfoi_preset_write_chain, NULL},
    {"sylvester", "several planes at a time, in a subspace (van den Berg et al. 2018)", dfoi_sylvester_settings, dfoi_preset_write_chain,
     NULL},
    {"residual", "the row and a net that contracts (Chen et al. 2019)", dfoi_residual_settings, dfoi_preset_write_chain, NULL},
    {"ffjord", "continuous flow of a net gated by the time (Grathwohl et al. 2019)", ffjord_settings, write_ffjord, NULL},
    {"rnode", "the same, its field kept slow and smooth so that few steps do (Finlay et al. 2020)", rnode_settings, write_ffjord, NULL},
    {"flow-matching", "continuous flow fitted to straight paths from noise to data (Lipman et al. 2023)", matching_settings,
     write_ffjord, complete_matching},
    {"rectified-flow", "the same by a name of its own; --pairs makes the paths of a fitted flow straight (Liu et al. 2023)",
     matching_settings, write_ffjord, complete_matching},
    {"perflow", "a fitted flow (--teacher) made straight in windows of time, a step each (Yan et al. 2024)", perflow_settings, write_ffjord,
     complete_matching},
    {"ot-flow-matching", "the same, noise and data paired by optimal transport (Tong et al. 2024)", transport_settings, write_ffjord,
     complete_matching},
    {"vp", "diffusion that keeps the variance, by its probability flow (Song et al. 2021)",
     dfoi_vp_settings, dfoi_preset_write_diffusion, dfoi_preset_complete_diffusion},
    {"subvp", "the same with less noise on the way",
     dfoi_vp_settings, dfoi_preset_write_diffusion, dfoi_preset_complete_diffusion},
    {"ve", "diffusion whose variance explodes (Song et al. 2021)",
     dfoi_ve_settings, dfoi_preset_write_diffusion, dfoi_preset_complete_diffusion},
    {"ddpm", "diffusion of 1000 times, as Ho et al. (2020) train it", dfoi_ddpm_settings, dfoi_preset_write_diffusion,
     dfoi_preset_complete_diffusion},
    {"edm", "diffusion as Karras et al. (2022) scale, weigh and sample its noise",
     dfoi_edm_settings, dfoi_preset_write_diffusion, dfoi_preset_complete_diffusion},
    {"diffusion-2015", "a Markov chain of Gaussian noise, by the bound of its density (Sohl-Dickstein et al. 2015)", dfoi_markov_settings,
     dfoi_markov_write, dfoi_markov_complete},
    {"diffusion-2015-binary", "the same of bits", dfoi_markov_binary_settings, dfoi_markov_write, dfoi_markov_complete},
    {"sphere", "latitude and longitude: splines of each given the other, rotations between (Rezende et al. 2020)", dfoi_sphere_settings,
     dfoi_preset_write_sphere, NULL},
    {"realnvp-image", "affine couplings of images, checkerboards then channels (Dinh et al. 2017)",
     dfoi_realnvp_image_settings, dfoi_preset_write_image, NULL},
    {"ffjord-image", "images: continuous flows of convolutional nets at several scales (Grathwohl et al. 2019)",
     dfoi_ffjord_image_settings, dfoi_preset_write_image, NULL},
    {"glow", "images: activation normalisation, 1x1 convolutions, affine couplings (Kingma and Dhariwal 2018)",
     dfoi_glow_settings, dfoi_preset_write_image, NULL},
    {"nsf-image", "images: 1x1 convolutions and rational-quadratic spline couplings (Durkan et al. 2019)",
     dfoi_nsf_image_settings, dfoi_preset_write_image, NULL},
    {"inverse-flow", "images: Glow with causal convolutions, solved on the way to latents (Nagar and Varma 2024)",
     dfoi_inverse_flow_settings, dfoi_preset_write_image, NULL},
    {"finc-flow", "images: Glow with causal convolutions of groups of channels (Kallappa, Nagar and Varma 2023)",
     dfoi_finc_flow_settings, dfoi_preset_write_image, NULL},
    {"emerging", "images: Glow with pairs of opposite causal convolutions (Hoogeboom et al. 2019)",
     dfoi_emerging_settings, dfoi_preset_write_image, NULL},
    {"periodic", "images: Glow with periodic convolutions, inverted by FFT (Hoogeboom et al. 2019)",
     dfoi_periodic_settings, dfoi_preset_write_image, NULL},
    {"irevnet", "classifier of images with invertible features (Jacobsen et al. 2018)", dfoi_irevnet_settings,
     dfoi_irevnet_write, dfoi_irevnet_complete},
};

#define PRESETS (sizeof presets / sizeof *presets)

size_t dfo_presets(void)
{
    return PRESETS;
}

const char *dfo_preset(size_t i)
{
    return i < PRESETS ? presets[i].name : NULL;
}

const char *dfo_preset_text(size_t i)
{
    return i < PRESETS ? presets[i].text : NULL;
}

static dfo_status find(dfo_ctx *ctx, const char *name, const struct dfoi_preset **out)
{
    char list[2048] = "";
    for (size_t i = 0; i < PRESETS; i++) {
        size_t used = strlen(list);
        if (!strcmp(presets[i].name, name)) {
            *out = &presets[i];
            return DFO_OK;
        }
        snprintf(list + used, sizeof list - used, "%s, ", presets[i].name);
    }
    return dfoi_fail(ctx, DFO_EARG, "unknown flow '%s'; known: %sor a .json file", name, list);
}

/* Classifiers take none.  */
static int takes_condition(const struct dfoi_preset *p)
{
    return p->complete != dfoi_irevnet_complete;
}

dfo_status dfo_preset_config(dfo_ctx *ctx, const char *name, json_t **out)
{
    dfo_status status;
    const struct dfoi_preset *p;
    *out = NULL;
    DFO_TRY(find(ctx, name, &p));
    *out = json_object();
    DFO_GO(dfoi_json_set(ctx, *out, "flow", json_string(p->name)));
    for (const struct dfoi_setting *s = p->settings; s->key; s++) {
        json_t *value;
        DFO_GO(dfoi_json_parse(ctx, s->value, strlen(s->value), s->key, &value));
        DFO_GO(dfoi_json_set(ctx, *out, s->key, value));
    }
    if (takes_condition(p))
        DFO_GO(dfoi_json_set(ctx, *out, "condition", json_null()));
    return DFO_OK;
fail:
    json_decref(*out);
    *out = NULL;
    return status;
}

/* ---- writing the chain */

struct settings {
    const char *flow, *activation, *mask, *linear, *permute;
    size_t layers, hidden, depth, blocks, bins;
    int    actnorm, standardise;
    double scale_max, tail_bound, dropout;
};

static dfo_status read_settings(dfo_ctx *ctx, const json_t *config, struct settings *s)
{
    DFO_TRY(dfoi_json_string(ctx, config, "flow", NULL, &s->flow));
    DFO_TRY(dfoi_json_size(ctx, config, "layers", 0, 0, 1000, &s->layers));
    DFO_TRY(dfoi_json_size(ctx, config, "hidden", 0, 1, 65536, &s->hidden));
    DFO_TRY(dfoi_json_size(ctx, config, "depth", 0, 1, 100, &s->depth));
    DFO_TRY(dfoi_json_size(ctx, config, "blocks", 0, 1, 100, &s->blocks));
    DFO_TRY(dfoi_json_size(ctx, config, "bins", 0, 2, 64, &s->bins));
    DFO_TRY(dfoi_json_bool(ctx, config, "actnorm", 0, &s->actnorm));
    DFO_TRY(dfoi_json_bool(ctx, config, "standardise", 0, &s->standardise));
    DFO_TRY(dfoi_json_real(ctx, config, "scale_max", 0, 1e-3, 20, &s->scale_max));
    DFO_TRY(dfoi_json_real(ctx, config, "tail_bound", 0, 1e-3, 1e6, &s->tail_bound));
    DFO_TRY(dfoi_json_real(ctx, config, "dropout", 0, 0, 0.99, &s->dropout));
    DFO_TRY(dfoi_json_string(ctx, config, "activation", NULL, &s->activation));
    DFO_TRY(dfoi_json_word(ctx, config, "mask", dfoi_preset_mask, &s->mask));
    DFO_TRY(dfoi_json_word(ctx, config, "linear", dfoi_preset_linear, &s->linear));
    DFO_TRY(dfoi_json_word(ctx, config, "permute", dfoi_preset_permute, &s->permute));
    return DFO_OK;
}

/* A net as big as asked, but no bigger than rows of a single column want.  */
static json_t *net(const struct settings *s)
{
    if (!strcmp(s->flow, "nsf"))
        return json_pack("{s:s, s:I, s:I, s:s, s:f}", "type", "residual-mlp", "hidden", (json_int_t)s->hidden,
                         "blocks", (json_int_t)s->blocks, "activation", s->activation, "dropout", s->dropout);
    json_t *hidden = json_array();
    for (size_t i = 0; i < s->depth; i++)
        if (json_array_append_new(hidden, json_integer((json_int_t)s->hidden))) {
            json_decref(hidden);
            return NULL;
        }
    return json_pack("{s:s, s:o, s:s}", "type", "mlp", "hidden", hidden, "activation", s->activation);
}

static json_t *coupling(const struct settings *s, size_t i)
{
    const char *mask = !strcmp(s->mask, "half") ? (i % 2 ? "half-swapped" : "half")
                                                : (i % 2 ? "alternate-swapped" : "alternate");
    if (!strcmp(s->flow, "nice"))
        return json_pack("{s:s, s:s, s:o}", "type", "additive-coupling", "mask", mask, "net", net(s));
    if (!strcmp(s->flow, "realnvp"))
        return json_pack("{s:s, s:s, s:s, s:f, s:o}", "type", "affine-coupling", "mask", mask, "scale", "tanh",
                         "scale_max", s->scale_max, "net", net(s));
    return json_pack("{s:s, s:s, s:I, s:f, s:f, s:o}", "type", "spline-coupling", "mask", mask, "bins",
                     (json_int_t)s->bins, "tail_bound", s->tail_bound, "parameter_scale",
                     1 / sqrt((double)s->hidden), "net", net(s));
}

dfo_status dfoi_preset_append(dfo_ctx *ctx, json_t *list, json_t *layer)
{
    if (!layer || json_array_append_new(list, layer))
        return dfoi_fail(ctx, DFO_EMEM, "out of memory: layers");
    return DFO_OK;
}

static dfo_status write_rows(dfo_ctx *ctx, const json_t *config, dfo_shape shape, json_t *list)
{
    struct settings settings = {0}, *s = &settings;
    size_t d = dfo_shape_size(shape);
    DFO_TRY(read_settings(ctx, config, s));
    if (s->standardise)
        DFO_TRY(dfoi_preset_append(ctx, list, json_pack("{s:s}", "type", "standardise")));
    for (size_t i = 0; i < s->layers; i++) {
        if (s->actnorm)
            DFO_TRY(dfoi_preset_append(ctx, list, json_pack("{s:s}", "type", "actnorm")));
        if (strcmp(s->permute, "none") && d > 1)
            DFO_TRY(dfoi_preset_append(ctx, list, json_pack("{s:s, s:s}", "type", "permute", "order", s->permute)));
        if (strcmp(s->linear, "none"))
            DFO_TRY(dfoi_preset_append(ctx, list, json_pack("{s:s}", "type", "linear")));
        DFO_TRY(dfoi_preset_append(ctx, list, coupling(s, i)));
    }
    if (!strcmp(s->flow, "nice"))                /* NICE ends with a learned scaling */
        DFO_TRY(dfoi_preset_append(ctx, list, json_pack("{s:s}", "type", "actnorm")));
    return DFO_OK;
}

/* Probes of the trace: one where there are more than 4 columns, none, the exact trace, else.  */
static dfo_status write_ffjord(dfo_ctx *ctx, const json_t *config, dfo_shape shape, json_t *list)
{
    static const char *const net[] = {"concatsquash", "concat", "hyper", "mlp", "time-mlp", NULL};
    size_t blocks, hidden, depth, which, probes = dfo_shape_size(shape) > 4;
    int standardise;
    DFO_TRY(dfoi_json_size(ctx, config, "blocks", 0, 1, 100, &blocks));
    DFO_TRY(dfoi_json_size(ctx, config, "hidden", 0, 1, 65536, &hidden));
    DFO_TRY(dfoi_json_size(ctx, config, "depth", 0, 0, 64, &depth));
    DFO_TRY(dfoi_json_choice(ctx, config, "net", net, 0, &which));
    DFO_TRY(dfoi_json_bool(ctx, config, "standardise", 0, &standardise));
    if (!json_is_null(json_object_get(config, "probes")))
        DFO_TRY(dfoi_json_size(ctx, config, "probes", 0, 0, 10000, &probes));
    if (standardise)
        DFO_TRY(dfoi_preset_append(ctx, list, json_pack("{s:s}", "type", "standardise")));
    for (size_t i = 0; i < blocks; i++)
        DFO_TRY(dfoi_preset_append(ctx, list, dfoi_preset_cnf(config, probes, json_pack("{s:s, s:I, s:I, s:O}", "type", net[which], "hidden",
            (json_int_t)hidden, "layers", (json_int_t)depth, "activation", json_object_get(config, "activation")))));
    return DFO_OK;
}

json_t *dfoi_preset_cnf(const json_t *config, size_t probes, json_t *net)
{
    static const char *const key[] = {"solver", "rtol", "atol", "most_steps", "gradient", "coupling", "end", "learn_end", "together",
                                      "probe", "trace", "kinetic", "jacobian", "acceleration", "order"};
    json_t *layer = json_pack("{s:s, s:O, s:I, s:o}", "type", "cnf", "steps", json_object_get(config, "solver_steps"), "probes",
                              (json_int_t)probes, "net", net);
    for (size_t i = 0; i < sizeof key / sizeof *key && layer; i++) {
        json_t *value = json_object_get(config, key[i]);
        if (value && json_object_set(layer, key[i], value)) {
            json_decref(layer);
            return NULL;
        }
    }
    return layer;
}

dfo_status dfoi_preset_copy(dfo_ctx *ctx, const json_t *config, const char *const *key, json_t *to)
{
    for (size_t i = 0; key[i]; i++) {
        json_t *value = json_object_get(config, key[i]);
        if (value && !json_is_null(value))
            DFO_TRY(dfoi_json_set(ctx, to, key[i], json_incref(value)));
    }
    return DFO_OK;
}

static dfo_status complete_matching(dfo_ctx *ctx, const json_t *config, json_t *to)
{
    static const char *const key[] = {"path", "sigma", "pairing", "windows", "teacher_steps", "label_dropout", NULL};
    json_t *matching = json_object();
    DFO_TRY(dfoi_json_set(ctx, to, "matching", matching));
    return dfoi_preset_copy(ctx, config, key, matching);
}

static dfo_status check_keys(dfo_ctx *ctx, const json_t *config, const struct dfoi_preset *p)
{
    const char *known[37] = {"flow", "columns", "missing"};
    size_t n = 3;
    for (const struct dfoi_setting *s = p->settings; s->key && n < 35; s++)
        known[n++] = s->key;
    if (takes_condition(p))
        known[n++] = "condition";
    known[n] = NULL;
    return dfoi_json_keys(ctx, config, known);
}

/* What the configuration does not say is as dfo_preset_config has it.  */
static dfo_status with_defaults(dfo_ctx *ctx, json_t *config, json_t **out)
{
    DFO_TRY(dfo_preset_config(ctx, json_string_value(json_object_get(config, "flow")), out));
    if (!json_object_update(*out, config))
        return DFO_OK;
    json_decref(*out);
    *out = NULL;
    return dfoi_fail(ctx, DFO_EMEM, "out of memory: settings");
}

/* How the condition is taken, beside the bijector; null leaves it as it is given.  */
static dfo_status write_condition(dfo_ctx *ctx, json_t *config, json_t *to)
{
    static const char *const key[] = {"condition", NULL};
    DFO_TRY(dfoi_preset_copy(ctx, config, key, to));
    json_object_del(config, "condition");
    return DFO_OK;
}

/* The layer of the columns' kinds, in front of the preset's; its settings leave the preset's own.  */
static dfo_status write_columns(dfo_ctx *ctx, json_t *config, json_t *list)
{
    json_t *columns = json_object_get(config, "columns"), *missing = json_object_get(config, "missing"), *layer;
    if (missing && !columns)
        return dfoi_fail(ctx, DFO_EARG, "missing: goes with columns");
    if (!columns)
        return DFO_OK;
    layer = json_pack("{s:s, s:O}", "type", "columns", "columns", columns);
    DFO_TRY(dfoi_preset_append(ctx, list, layer));
    if (missing)
        DFO_TRY(dfoi_json_set(ctx, layer, "missing", json_incref(missing)));
    json_object_del(config, "columns");
    json_object_del(config, "missing");
    return DFO_OK;
}

dfo_status dfo_preset_expand(dfo_ctx *ctx, json_t *config, dfo_shape shape, json_t **out)
{
    static const char *const custom_keys[] = {"flow", "bijector", "base", "matching", "condition", "head", "augment", "levels", NULL};
    dfo_status status;
    const struct dfoi_preset *p;
    const char *flow;
    json_t *full = NULL;
    *out = NULL;
    DFO_TRY(dfoi_json_string(ctx, config, "flow", NULL, &flow));
    if (!strcmp(flow, "custom")) {
        DFO_TRY(dfoi_json_keys(ctx, config, custom_keys));
        *out = json_object();
        for (size_t i = 1; custom_keys[i]; i++) {              /* all but "flow" */
            json_t *value = json_incref(json_object_get(config, custom_keys[i]));
            if (value || !*out)
                DFO_GO(dfoi_json_set(ctx, *out, custom_keys[i], value));
        }
        return DFO_OK;
    }
    DFO_TRY(find(ctx, flow, &p));
    DFO_TRY(check_keys(ctx, config, p));
    DFO_TRY(with_defaults(ctx, config, &full));
    json_t *list = json_array(), *base = json_object_get(full, "base");
    *out = json_pack("{s:{s:s, s:o}}", "bijector", "type", "chain", "layers", list);
    if (!*out) {
        status = dfoi_fail(ctx, DFO_EMEM, "out of memory: layers");
        goto fail;
    }
    DFO_GO(write_columns(ctx, full, list));
    DFO_GO(write_condition(ctx, full, *out));
    DFO_GO(p->write(ctx, full, shape, list));
    if (p->complete)
        DFO_GO(p->complete(ctx, full, *out));
    if (base)
        DFO_GO(dfoi_json_set(ctx, *out, "base", dfoi_json_copy(base)));
    json_decref(full);
    return DFO_OK;
fail:
    json_decref(full);
    json_decref(*out);
    *out = NULL;
    return status;
}
