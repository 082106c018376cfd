/* The nets that diffeo knows: one line a type.  */
#include <string.h>

#include "nn/net_impl.h"

static const struct dfoi_net_type *const types[] = {
    &dfoi_net_mlp,
    &dfoi_net_residual,
    &dfoi_net_conv,
    &dfoi_net_residual_conv,
    &dfoi_net_squash,
    &dfoi_net_concat,
    &dfoi_net_hyper,
    &dfoi_net_time_mlp,
    &dfoi_net_unet,
    &dfoi_net_made,
    &dfoi_net_kernel,
    &dfoi_net_constant,
};

size_t dfoi_net_type_count(void)
{
    return sizeof types / sizeof types[0];
}

const struct dfoi_net_type *dfoi_net_type_at(size_t i)
{
    return types[i];
}

size_t dfo_net_types(void)
{
    return dfoi_net_type_count();
}

const char *dfo_net_type(size_t i)
{
    return types[i]->ops->type;
}

dfo_layout dfo_net_type_layout(const char *type)
{
    for (size_t i = 0; i < dfoi_net_type_count(); i++)
        if (!strcmp(types[i]->ops->type, type))
            return types[i]->ops->layout;
    return DFO_FEATURES;
}
