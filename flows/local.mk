include_diffeo_HEADERS += \
    flows/diffeo/bijector.h \
    flows/diffeo/check.h \
    flows/diffeo/classifier.h \
    flows/diffeo/flow.h \
    flows/diffeo/preset.h
noinst_HEADERS += \
    flows/layer_impl.h \
    flows/layers.h \
    flows/channels_impl.h \
    flows/mix_impl.h \
    flows/causal_impl.h \
    flows/convolution_impl.h \
    flows/standardise_impl.h \
    flows/check_impl.h \
    flows/scalar_impl.h \
    flows/sylvester_impl.h \
    flows/residual_impl.h \
    flows/tanh_root_impl.h \
    flows/sigmoids_set_impl.h \
    flows/spline_set_impl.h \
    flows/flow_impl.h \
    flows/matching_impl.h \
    flows/cnf_impl.h \
    flows/diffusion_impl.h \
    flows/autoregressive_impl.h \
    flows/coupling_impl.h \
    flows/classifier_impl.h \
    flows/head_impl.h \
    flows/preset_impl.h
FLOWS_REAL = \
    flows/bijector.c \
    flows/registry.c \
    flows/layer.c \
    flows/chain.c \
    flows/part.c \
    flows/invert.c \
    flows/actnorm.c \
    flows/standardise.c \
    flows/permute.c \
    flows/squeeze.c \
    flows/convolution.c \
    flows/causal.c \
    flows/causal_sweep.c \
    flows/causal_chains.c \
    flows/periodic.c \
    flows/symmetric.c \
    flows/woodbury.c \
    flows/conv_exp.c \
    flows/dequantise.c \
    flows/diffusion.c \
    flows/diffusion_map.c \
    flows/denoise_map.c \
    flows/diffusion_bound.c \
    flows/rex_map.c \
    flows/channels.c \
    flows/matrix.c \
    flows/mix.c \
    flows/linear.c \
    flows/linear_dense.c \
    flows/householder.c \
    flows/tanh_root.c \
    flows/planar.c \
    flows/radial.c \
    flows/sylvester.c \
    flows/sylvester_weights.c \
    flows/residual.c \
    flows/residual_weights.c \
    flows/residual_trace.c \
    flows/scalar.c \
    flows/elementwise.c \
    flows/bounds.c \
    flows/affine.c \
    flows/sigmoids_set.c \
    flows/spline_set.c \
    flows/spline.c \
    flows/gaussianization.c \
    flows/coupling.c \
    flows/coupling_mask.c \
    flows/coupling_rows.c \
    flows/coupling_image.c \
    flows/autoregressive.c \
    flows/autoregressive_rows.c \
    flows/irevnet.c \
    flows/cnf.c \
    flows/cnf_diffusion.c \
    flows/cnf_end.c \
    flows/cnf_field.c \
    flows/cnf_guide.c \
    flows/cnf_probe.c \
    flows/flow.c \
    flows/flow_plan.c \
    flows/flow_moments.c \
    flows/loss_nll.c \
    flows/matching.c \
    flows/loss_matching.c \
    flows/head.c \
    flows/augment.c \
    flows/classifier.c \
    flows/loss_classify.c \
    flows/check.c \
    flows/check_layers.c \
    flows/check_rows.c \
    flows/preset.c \
    flows/preset_autoregressive.c \
    flows/preset_coupling.c \
    flows/preset_chain.c \
    flows/preset_image.c \
    flows/preset_diffusion.c \
    flows/preset_irevnet.c \
    flows/preset_markov.c
noinst_LTLIBRARIES += libflows_f.la libflows_d.la
libflows_f_la_SOURCES = $(FLOWS_REAL)
libflows_f_la_CPPFLAGS = $(FLOWS_CPPFLAGS)
libflows_d_la_SOURCES = $(FLOWS_REAL)
libflows_d_la_CPPFLAGS = $(FLOWS_CPPFLAGS) -DDFO_DOUBLE
