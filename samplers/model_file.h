/* Making a model from its parts, for model.c and model_file.c.  Private to samplers.  */
#ifndef DFOI_MODEL_FILE_H
#define DFOI_MODEL_FILE_H

#include "base/real_impl.h"
#include "model_impl.h"

/* limit: 0, or the number of reals that a file holds for this model: then weights are left at zero, since
 * they will be loaded, and an architecture that wants more is refused before memory is asked for.  */
dfo_status dfoi_model_create(dfo_ctx *ctx, const char *kind, json_t *config, json_t *architecture, dfo_shape shape,
                             size_t context, uint64_t seed, size_t limit, dfo_model **out);

#endif
