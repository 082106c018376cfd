/* Reading and writing the settings that nets share.  Private.  */
#ifndef DFOI_CONFIG_IMPL_H
#define DFOI_CONFIG_IMPL_H

#include <jansson.h>
#include <diffeo/ctx.h>
#include "base/real_impl.h"
#include "math/gemm_impl.h"

#define DFOI_NET_WIDEST ((size_t)1 << 20) /* features of a hidden layer */
#define DFOI_DROPOUT_MAX 0.99

/* "activation": one of the names in kern_impl.h, `usual` if absent.  */
dfo_status dfoi_config_activation(dfo_ctx *ctx, const json_t *config, const char *usual, dfoi_act *act);

/* Hidden layers, at most `most`: "hidden", a list, or one number (`usual` if absent) and "layers" (2) of them.  */
dfo_status dfoi_config_hidden(dfo_ctx *ctx, const json_t *config, size_t usual, size_t most, size_t *hidden, size_t *layers);

/* to[key] = [values].  */
dfo_status dfoi_config_set_sizes(dfo_ctx *ctx, json_t *to, const char *key, size_t n,
                                 const size_t *values);

#endif
