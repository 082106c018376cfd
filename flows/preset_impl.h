/* Presets that stand in files of their own.  Private to flows.  */
#ifndef DFOI_PRESET_IMPL_H
#define DFOI_PRESET_IMPL_H

#include "base/real_impl.h"
#include "base/json_impl.h"
#include <diffeo/preset.h>

/* A setting and its default, as JSON text.  */
struct dfoi_setting {
    const char *key, *value;
};

extern const struct dfoi_setting dfoi_irevnet_settings[];

/* What dfo_preset_expand gives, for a configuration whose keys are known.  */
dfo_status dfoi_irevnet_expand(dfo_ctx *ctx, const json_t *config, dfo_shape shape, json_t **out);

#endif
