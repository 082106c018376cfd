/* The table of net types and what their constructors share.  Private.  */
#ifndef DFOI_NET_IMPL_H
#define DFOI_NET_IMPL_H

#include <jansson.h>
#include <diffeo/net.h>
#include "base/real_impl.h"

/* One type of net.  */
struct dfoi_net_type {
    const struct dfo_net_ops *ops;
    /* Reads the configuration and drops it: errors as create's.  */
    dfo_status (*check)(dfo_ctx *ctx, const json_t *config);
    /* Fills net->state; net->in, out and the parts are set.  What it made before a failure is
     * freed by ops->free, which takes state == NULL and half-built states.  */
    dfo_status (*create)(dfo_build *build, const json_t *config, int zero_last, dfo_net *net);
};

size_t dfoi_net_type_count(void);
const struct dfoi_net_type *dfoi_net_type_at(size_t i);

extern const struct dfoi_net_type dfoi_net_mlp;
extern const struct dfoi_net_type dfoi_net_residual;
extern const struct dfoi_net_type dfoi_net_conv;
extern const struct dfoi_net_type dfoi_net_residual_conv;
extern const struct dfoi_net_type dfoi_net_squash;
extern const struct dfoi_net_type dfoi_net_concat;
extern const struct dfoi_net_type dfoi_net_hyper;
extern const struct dfoi_net_type dfoi_net_time_mlp;
extern const struct dfoi_net_type dfoi_net_unet;
extern const struct dfoi_net_type dfoi_net_made;
extern const struct dfoi_net_type dfoi_net_kernel;
extern const struct dfoi_net_type dfoi_net_constant;

#endif
