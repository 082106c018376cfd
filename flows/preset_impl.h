/* What preset.c, which lists the presets and writes those for rows, preset_autoregressive.c, preset_chain.c, preset_coupling.c,
 * preset_markov.c and preset_sphere.c, which write others for rows, preset_image.c and preset_irevnet.c, which write those for images, and preset_diffusion.c share.
 * Private to flows.  */
#ifndef DFOI_PRESET_IMPL_H
#define DFOI_PRESET_IMPL_H

#include "base/real_impl.h"
#include <jansson.h>
#include <diffeo/preset.h>

/* A setting and its default as JSON text.  */
struct dfoi_setting {
    const char *key, *value;
};

struct dfoi_preset {
    const char *name, *text;
    const struct dfoi_setting *settings;
    /* Appends the layers for rows of this shape to list.  config has all of the settings' keys and no others.  */
    dfo_status (*write)(dfo_ctx *ctx, const json_t *config, dfo_shape shape, json_t *list);
    /* Adds what stands beside the bijector, or NULL.  */
    dfo_status (*complete)(dfo_ctx *ctx, const json_t *config, json_t *to);
};

extern const struct dfoi_setting dfoi_maf_settings[];
extern const struct dfoi_setting dfoi_naf_settings[];
extern const struct dfoi_setting dfoi_bernstein_settings[];
extern const struct dfoi_setting dfoi_squares_settings[];
extern const struct dfoi_setting dfoi_bnaf_settings[];
extern const struct dfoi_setting dfoi_nsf_ar_settings[];
extern const struct dfoi_setting dfoi_ferumal_settings[];
extern const struct dfoi_setting dfoi_ferumal_glow_settings[];
extern const struct dfoi_setting dfoi_mixture_settings[];
extern const struct dfoi_setting dfoi_deep_sigmoidal_settings[];
extern const struct dfoi_setting dfoi_gaussianization_settings[];
extern const struct dfoi_setting dfoi_single_settings[];
extern const struct dfoi_setting dfoi_sylvester_settings[];
extern const struct dfoi_setting dfoi_residual_settings[];
extern const struct dfoi_setting dfoi_realnvp_image_settings[];
extern const struct dfoi_setting dfoi_ffjord_image_settings[];
extern const struct dfoi_setting dfoi_glow_settings[];
extern const struct dfoi_setting dfoi_nsf_image_settings[];
extern const struct dfoi_setting dfoi_inverse_flow_settings[];
extern const struct dfoi_setting dfoi_finc_flow_settings[];
extern const struct dfoi_setting dfoi_emerging_settings[];
extern const struct dfoi_setting dfoi_periodic_settings[];
extern const struct dfoi_setting dfoi_irevnet_settings[];
extern const struct dfoi_setting dfoi_vp_settings[];
extern const struct dfoi_setting dfoi_ve_settings[];
extern const struct dfoi_setting dfoi_ddpm_settings[];
extern const struct dfoi_setting dfoi_edm_settings[];
extern const struct dfoi_setting dfoi_markov_settings[];
extern const struct dfoi_setting dfoi_markov_binary_settings[];
extern const struct dfoi_setting dfoi_sphere_settings[];

/* Words that settings of several presets take.  */
extern const char *const dfoi_preset_linear[];
extern const char *const dfoi_preset_permute[];
extern const char *const dfoi_preset_mask[];

/* Takes the layer's reference; DFO_EMEM if it is NULL.  */
dfo_status dfoi_preset_append(dfo_ctx *ctx, json_t *list, json_t *layer);

/* Copies those of the keys, up to NULL, that the configuration has, but for nulls.  */
dfo_status dfoi_preset_copy(dfo_ctx *ctx, const json_t *config, const char *const *key, json_t *to);

/* A continuous layer with the solver of these settings; takes the net's reference.  NULL: out of memory.  */
json_t *dfoi_preset_cnf(const json_t *config, size_t probes, json_t *net);

dfo_status dfoi_autoregressive_write(dfo_ctx *ctx, const json_t *config, dfo_shape shape, json_t *list);

dfo_status dfoi_preset_write_coupling(dfo_ctx *ctx, const json_t *config, dfo_shape shape, json_t *list);
dfo_status dfoi_preset_write_gaussianization(dfo_ctx *ctx, const json_t *config, dfo_shape shape, json_t *list);
dfo_status dfoi_preset_write_chain(dfo_ctx *ctx, const json_t *config, dfo_shape shape, json_t *list);

dfo_status dfoi_preset_write_image(dfo_ctx *ctx, const json_t *config, dfo_shape shape, json_t *list);

dfo_status dfoi_markov_write(dfo_ctx *ctx, const json_t *config, dfo_shape shape, json_t *list);
dfo_status dfoi_markov_complete(dfo_ctx *ctx, const json_t *config, json_t *to);

dfo_status dfoi_preset_write_sphere(dfo_ctx *ctx, const json_t *config, dfo_shape shape, json_t *list);

dfo_status dfoi_irevnet_write(dfo_ctx *ctx, const json_t *config, dfo_shape shape, json_t *list);
dfo_status dfoi_irevnet_complete(dfo_ctx *ctx, const json_t *config, json_t *to);

dfo_status dfoi_preset_write_diffusion(dfo_ctx *ctx, const json_t *config, dfo_shape shape, json_t *list);
dfo_status dfoi_preset_complete_diffusion(dfo_ctx *ctx, const json_t *config, json_t *to);

#endif
