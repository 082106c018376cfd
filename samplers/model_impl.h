/* The model's inside.  Private to samplers.  */
#ifndef DFOI_MODEL_IMPL_H
#define DFOI_MODEL_IMPL_H

#include "base/real_impl.h"
#include "base/ctx_impl.h"
#include "base/json_impl.h"
#include <diffeo/model.h>

struct dfo_model {
    const struct dfo_model_ops *ops;
    dfo_ctx   *ctx;
    dfo_store *store;
    void      *state;
    dfo_shape  shape;
    size_t     context;
    json_t    *config, *notes;
    char      *file;                   /* it was loaded from, or NULL */
    char      *made;                   /* what it was described as before a solver was set, or NULL */
};

extern const struct dfo_model_ops dfoi_flow_model_ops;
extern const struct dfo_model_ops dfoi_classifier_model_ops;

/* The flow of a flow model.  */
const dfo_flow *dfoi_flow_model_flow(const dfo_model *model);

/* Keeps the description as it is now, if none was kept: its hash is of that.  */
dfo_status dfoi_model_keep_made(dfo_model *model);

#endif
