/* The nets that diffeo knows: one line a type.  */
#include "nn/net_impl.h"

static const struct dfoi_net_type *const types[] = {
    &dfoi_net_mlp,
    &dfoi_net_residual,
    &dfoi_net_conv,
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
