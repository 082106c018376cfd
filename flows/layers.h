/* The layers' tables and constructors, for the registry.  Private to flows.  */
#ifndef DFOI_LAYERS_H
#define DFOI_LAYERS_H

#include "base/real_impl.h"
#include "layer_impl.h"

extern const struct dfo_bijector_ops dfoi_chain_ops;
extern const struct dfo_bijector_ops dfoi_part_ops;
extern const struct dfo_bijector_ops dfoi_invert_ops;
extern const struct dfo_bijector_ops dfoi_actnorm_ops;
extern const struct dfo_bijector_ops dfoi_standardise_ops;
extern const struct dfo_bijector_ops dfoi_permute_ops;
extern const struct dfo_bijector_ops dfoi_squeeze_ops;
extern const struct dfo_bijector_ops dfoi_haar_ops;
extern const struct dfo_bijector_ops dfoi_causal_ops;
extern const struct dfo_bijector_ops dfoi_finc_ops;
extern const struct dfo_bijector_ops dfoi_emerging_ops;
extern const struct dfo_bijector_ops dfoi_periodic_ops;
extern const struct dfo_bijector_ops dfoi_symmetric_ops;
extern const struct dfo_bijector_ops dfoi_woodbury_ops;
extern const struct dfo_bijector_ops dfoi_conv_exp_ops;
extern const struct dfo_bijector_ops dfoi_dequantise_ops;
extern const struct dfo_bijector_ops dfoi_columns_ops;
extern const struct dfo_bijector_ops dfoi_rescale_ops;
extern const struct dfo_bijector_ops dfoi_linear_ops;
extern const struct dfo_bijector_ops dfoi_bounds_ops;
extern const struct dfo_bijector_ops dfoi_affine_ops;
extern const struct dfo_bijector_ops dfoi_spline_ops;
extern const struct dfo_bijector_ops dfoi_linear_dense_ops;
extern const struct dfo_bijector_ops dfoi_householder_ops;
extern const struct dfo_bijector_ops dfoi_planar_ops;
extern const struct dfo_bijector_ops dfoi_radial_ops;
extern const struct dfo_bijector_ops dfoi_sylvester_ops;
extern const struct dfo_bijector_ops dfoi_residual_ops;
extern const struct dfo_bijector_ops dfoi_sigmoid_ops;
extern const struct dfo_bijector_ops dfoi_logit_ops;
extern const struct dfo_bijector_ops dfoi_tanh_ops;
extern const struct dfo_bijector_ops dfoi_atanh_ops;
extern const struct dfo_bijector_ops dfoi_softplus_ops;
extern const struct dfo_bijector_ops dfoi_softplus_inverse_ops;
extern const struct dfo_bijector_ops dfoi_exp_ops;
extern const struct dfo_bijector_ops dfoi_log_ops;
extern const struct dfo_bijector_ops dfoi_sinh_ops;
extern const struct dfo_bijector_ops dfoi_asinh_ops;
extern const struct dfo_bijector_ops dfoi_leaky_relu_ops;
extern const struct dfo_bijector_ops dfoi_box_cox_ops;
extern const struct dfo_bijector_ops dfoi_additive_coupling_ops;
extern const struct dfo_bijector_ops dfoi_affine_coupling_ops;
extern const struct dfo_bijector_ops dfoi_spline_coupling_ops;
extern const struct dfo_bijector_ops dfoi_autoregressive_ops;
extern const struct dfo_bijector_ops dfoi_mixture_coupling_ops;
extern const struct dfo_bijector_ops dfoi_deep_sigmoidal_coupling_ops;
extern const struct dfo_bijector_ops dfoi_bernstein_coupling_ops;
extern const struct dfo_bijector_ops dfoi_squares_coupling_ops;
extern const struct dfo_bijector_ops dfoi_gaussianization_ops;
extern const struct dfo_bijector_ops dfoi_batchnorm_ops;
extern const struct dfo_bijector_ops dfoi_bnaf_ops;
extern const struct dfo_bijector_ops dfoi_irevnet_ops;
extern const struct dfo_bijector_ops dfoi_cnf_ops;
extern const struct dfo_bijector_ops dfoi_sphere_ops;
extern const struct dfo_bijector_ops dfoi_sphere_rotation_ops;

dfo_status dfoi_chain_create(dfo_build *build, json_t *config, dfo_bijector *bij);
dfo_status dfoi_part_create(dfo_build *build, json_t *config, dfo_bijector *bij);
dfo_status dfoi_invert_create(dfo_build *build, json_t *config, dfo_bijector *bij);
dfo_status dfoi_actnorm_create(dfo_build *build, json_t *config, dfo_bijector *bij);
dfo_status dfoi_standardise_create(dfo_build *build, json_t *config, dfo_bijector *bij);
dfo_status dfoi_permute_create(dfo_build *build, json_t *config, dfo_bijector *bij);
dfo_status dfoi_squeeze_create(dfo_build *build, json_t *config, dfo_bijector *bij);
dfo_status dfoi_causal_create(dfo_build *build, json_t *config, dfo_bijector *bij);
dfo_status dfoi_finc_create(dfo_build *build, json_t *config, dfo_bijector *bij);
dfo_status dfoi_emerging_create(dfo_build *build, json_t *config, dfo_bijector *bij);
dfo_status dfoi_periodic_create(dfo_build *build, json_t *config, dfo_bijector *bij);
dfo_status dfoi_symmetric_create(dfo_build *build, json_t *config, dfo_bijector *bij);
dfo_status dfoi_woodbury_create(dfo_build *build, json_t *config, dfo_bijector *bij);
dfo_status dfoi_conv_exp_create(dfo_build *build, json_t *config, dfo_bijector *bij);
dfo_status dfoi_dequantise_create(dfo_build *build, json_t *config, dfo_bijector *bij);
dfo_status dfoi_columns_create(dfo_build *build, json_t *config, dfo_bijector *bij);
dfo_status dfoi_linear_create(dfo_build *build, json_t *config, dfo_bijector *bij);
dfo_status dfoi_bounds_create(dfo_build *build, json_t *config, dfo_bijector *bij);
dfo_status dfoi_affine_create(dfo_build *build, json_t *config, dfo_bijector *bij);
dfo_status dfoi_spline_create(dfo_build *build, json_t *config, dfo_bijector *bij);
dfo_status dfoi_linear_dense_create(dfo_build *build, json_t *config, dfo_bijector *bij);
dfo_status dfoi_householder_create(dfo_build *build, json_t *config, dfo_bijector *bij);
dfo_status dfoi_planar_create(dfo_build *build, json_t *config, dfo_bijector *bij);
dfo_status dfoi_radial_create(dfo_build *build, json_t *config, dfo_bijector *bij);
dfo_status dfoi_sylvester_create(dfo_build *build, json_t *config, dfo_bijector *bij);
dfo_status dfoi_residual_create(dfo_build *build, json_t *config, dfo_bijector *bij);
dfo_status dfoi_elementwise_create(dfo_build *build, json_t *config, dfo_bijector *bij);
dfo_status dfoi_coupling_create(dfo_build *build, json_t *config, dfo_bijector *bij);
dfo_status dfoi_autoregressive_create(dfo_build *build, json_t *config, dfo_bijector *bij);
dfo_status dfoi_batchnorm_create(dfo_build *build, json_t *config, dfo_bijector *bij);
dfo_status dfoi_bnaf_create(dfo_build *build, json_t *config, dfo_bijector *bij);
dfo_status dfoi_gaussianization_create(dfo_build *build, json_t *config, dfo_bijector *bij);
dfo_status dfoi_irevnet_create(dfo_build *build, json_t *config, dfo_bijector *bij);
dfo_status dfoi_cnf_create(dfo_build *build, json_t *config, dfo_bijector *bij);
dfo_status dfoi_sphere_create(dfo_build *build, json_t *config, dfo_bijector *bij);
dfo_status dfoi_sphere_rotation_create(dfo_build *build, json_t *config, dfo_bijector *bij);

/* The bins of a dequantise layer; 0 for any other.  */
size_t dfoi_dequantise_bins(const dfo_bijector *bij);

#endif
