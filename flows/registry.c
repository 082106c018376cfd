/* The one place where the kinds of layers are listed.  */
#include <stdio.h>
#include <string.h>

#include "layer_impl.h"
#include "layers.h"

static const dfoi_layer layers[] = {
    {&dfoi_chain_ops, dfoi_chain_create},
    {&dfoi_part_ops, dfoi_part_create},
    {&dfoi_invert_ops, dfoi_invert_create},
    {&dfoi_actnorm_ops, dfoi_actnorm_create},
    {&dfoi_batchnorm_ops, dfoi_batchnorm_create},
    {&dfoi_standardise_ops, dfoi_standardise_create},
    {&dfoi_permute_ops, dfoi_permute_create},
    {&dfoi_squeeze_ops, dfoi_squeeze_create},
    {&dfoi_haar_ops, dfoi_squeeze_create},
    {&dfoi_causal_ops, dfoi_causal_create},
    {&dfoi_finc_ops, dfoi_finc_create},
    {&dfoi_emerging_ops, dfoi_emerging_create},
    {&dfoi_periodic_ops, dfoi_periodic_create},
    {&dfoi_symmetric_ops, dfoi_symmetric_create},
    {&dfoi_woodbury_ops, dfoi_woodbury_create},
    {&dfoi_conv_exp_ops, dfoi_conv_exp_create},
    {&dfoi_dequantise_ops, dfoi_dequantise_create},
    {&dfoi_columns_ops, dfoi_columns_create},
    {&dfoi_linear_ops, dfoi_linear_create},
    {&dfoi_bounds_ops, dfoi_bounds_create},
    {&dfoi_affine_ops, dfoi_affine_create},
    {&dfoi_spline_ops, dfoi_spline_create},
    {&dfoi_linear_dense_ops, dfoi_linear_dense_create},
    {&dfoi_householder_ops, dfoi_householder_create},
    {&dfoi_planar_ops, dfoi_planar_create},
    {&dfoi_radial_ops, dfoi_radial_create},
    {&dfoi_sylvester_ops, dfoi_sylvester_create},
    {&dfoi_residual_ops, dfoi_residual_create},
    {&dfoi_sigmoid_ops, dfoi_elementwise_create},
    {&dfoi_logit_ops, dfoi_elementwise_create},
    {&dfoi_rescale_ops, dfoi_elementwise_create},
    {&dfoi_tanh_ops, dfoi_elementwise_create},
    {&dfoi_atanh_ops, dfoi_elementwise_create},
    {&dfoi_softplus_ops, dfoi_elementwise_create},
    {&dfoi_softplus_inverse_ops, dfoi_elementwise_create},
    {&dfoi_exp_ops, dfoi_elementwise_create},
    {&dfoi_log_ops, dfoi_elementwise_create},
    {&dfoi_sinh_ops, dfoi_elementwise_create},
    {&dfoi_asinh_ops, dfoi_elementwise_create},
    {&dfoi_leaky_relu_ops, dfoi_elementwise_create},
    {&dfoi_box_cox_ops, dfoi_elementwise_create},
    {&dfoi_additive_coupling_ops, dfoi_coupling_create},
    {&dfoi_affine_coupling_ops, dfoi_coupling_create},
    {&dfoi_spline_coupling_ops, dfoi_coupling_create},
    {&dfoi_autoregressive_ops, dfoi_autoregressive_create},
    {&dfoi_mixture_coupling_ops, dfoi_coupling_create},
    {&dfoi_deep_sigmoidal_coupling_ops, dfoi_coupling_create},
    {&dfoi_bernstein_coupling_ops, dfoi_coupling_create},
    {&dfoi_squares_coupling_ops, dfoi_coupling_create},
    {&dfoi_bnaf_ops, dfoi_bnaf_create},
    {&dfoi_gaussianization_ops, dfoi_gaussianization_create},
    {&dfoi_irevnet_ops, dfoi_irevnet_create},
    {&dfoi_cnf_ops, dfoi_cnf_create},
    {&dfoi_sphere_ops, dfoi_sphere_create},
    {&dfoi_sphere_rotation_ops, dfoi_sphere_rotation_create},
};

#define LAYERS (sizeof layers / sizeof *layers)

size_t dfo_bijector_types(void)
{
    return LAYERS;
}

const char *dfo_bijector_type(size_t i)
{
    return i < LAYERS ? layers[i].ops->type : NULL;
}

static const dfoi_layer *find(const char *type)
{
    for (size_t i = 0; i < LAYERS; i++)
        if (!strcmp(layers[i].ops->type, type))
            return &layers[i];
    return NULL;
}

const struct dfo_bijector_ops *dfo_bijector_ops_named(const char *type)
{
    const dfoi_layer *layer = find(type);
    return layer ? layer->ops : NULL;
}

dfo_status dfo_bijector_new(dfo_build *build, json_t *config, dfo_bijector **out)
{
    dfo_ctx *ctx = build->ctx;
    dfo_status status;
    const char *type = NULL;
    dfo_bijector *bij = NULL;
    *out = NULL;
    if (!json_is_object(config))
        return dfoi_fail(ctx, DFO_EARG, "%s: expected an object that describes a layer", build->path);
    if (dfoi_json_string(ctx, config, "type", NULL, &type) != DFO_OK)
        return dfoi_wrap(ctx, "%s: ", build->path);
    const dfoi_layer *layer = find(type);
    if (!layer)
        return dfoi_fail(ctx, DFO_EARG, "%s: unknown layer type '%s'", build->path, type);
    DFO_TRY(dfoi_alloc(ctx, 1, sizeof *bij, &bij));
    bij->ops = layer->ops;
    bij->caps = layer->ops->caps;
    bij->ctx = ctx;
    bij->store = build->store;
    bij->shape = bij->out = build->shape;
    bij->d = dfo_shape_size(build->shape);
    bij->conds = build->conds;
    for (size_t p = 0; p < build->conds; p++) {
        bij->cond[p] = build->cond[p];
        bij->cond_d += dfo_shape_size(build->cond[p]);
    }
    bij->first = dfo_store_weights_size(build->store);
    if (bij->d == 0) {
        status = dfoi_fail(ctx, DFO_ESHAPE, "a row needs at least one feature");
        goto fail;
    }
    DFO_GO(layer->create(build, config, bij));
    bij->count = dfo_store_weights_size(build->store) - bij->first;
    *out = bij;
    return DFO_OK;
fail:
    dfoi_wrap(ctx, "%s (%s): ", build->path, type);
    dfo_bijector_free(bij);
    return status;
}
