# Layers against reference vectors.
noinst_HEADERS += tests/layerfix.h tests/reflayer.h
LAYERFIX = tests/layerfix.c $(TESTRUN)

check_PROGRAMS += tests/check_reference_layers tests/check_reference_layers_d
TESTS += tests/check_reference_layers tests/check_reference_layers_d
tests_check_reference_layers_SOURCES = tests/check_reference_layers.c tests/reflayer.c $(LAYERFIX) $(REFERENCE)
tests_check_reference_layers_CPPFLAGS = $(TEST_CPPFLAGS)
tests_check_reference_layers_LDADD = $(TEST_LIBS)
tests_check_reference_layers_d_SOURCES = $(tests_check_reference_layers_SOURCES)
tests_check_reference_layers_d_CPPFLAGS = $(TEST_CPPFLAGS) -DDFO_DOUBLE
tests_check_reference_layers_d_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/check_autoregressive tests/check_autoregressive_d
TESTS += tests/check_autoregressive tests/check_autoregressive_d
tests_check_autoregressive_SOURCES = tests/check_autoregressive.c tests/netcase.c tests/reflayer.c $(LAYERFIX) $(REFERENCE)
tests_check_autoregressive_CPPFLAGS = $(TEST_CPPFLAGS)
tests_check_autoregressive_LDADD = $(TEST_LIBS)
tests_check_autoregressive_d_SOURCES = $(tests_check_autoregressive_SOURCES)
tests_check_autoregressive_d_CPPFLAGS = $(TEST_CPPFLAGS) -DDFO_DOUBLE
tests_check_autoregressive_d_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/check_reference_kernels tests/check_reference_kernels_d
TESTS += tests/check_reference_kernels tests/check_reference_kernels_d
tests_check_reference_kernels_SOURCES = tests/check_reference_kernels.c tests/reflayer.c $(LAYERFIX) $(REFERENCE)
tests_check_reference_kernels_CPPFLAGS = $(TEST_CPPFLAGS)
tests_check_reference_kernels_LDADD = $(TEST_LIBS)
tests_check_reference_kernels_d_SOURCES = $(tests_check_reference_kernels_SOURCES)
tests_check_reference_kernels_d_CPPFLAGS = $(TEST_CPPFLAGS) -DDFO_DOUBLE
tests_check_reference_kernels_d_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/check_reference_flows tests/check_reference_flows_d
TESTS += tests/check_reference_flows tests/check_reference_flows_d
tests_check_reference_flows_SOURCES = tests/check_reference_flows.c tests/reflayer.c $(LAYERFIX) $(REFERENCE)
tests_check_reference_flows_CPPFLAGS = $(TEST_CPPFLAGS)
tests_check_reference_flows_LDADD = $(TEST_LIBS)
tests_check_reference_flows_d_SOURCES = $(tests_check_reference_flows_SOURCES)
tests_check_reference_flows_d_CPPFLAGS = $(TEST_CPPFLAGS) -DDFO_DOUBLE
tests_check_reference_flows_d_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/check_layers tests/check_layers_d
TESTS += tests/check_layers tests/check_layers_d
tests_check_layers_SOURCES = tests/check_layers.c $(LAYERFIX)
tests_check_layers_CPPFLAGS = $(TEST_CPPFLAGS)
tests_check_layers_LDADD = $(TEST_LIBS)
tests_check_layers_d_SOURCES = $(tests_check_layers_SOURCES)
tests_check_layers_d_CPPFLAGS = $(TEST_CPPFLAGS) -DDFO_DOUBLE
tests_check_layers_d_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/check_sphere tests/check_sphere_d
TESTS += tests/check_sphere tests/check_sphere_d
tests_check_sphere_SOURCES = tests/check_sphere.c $(LAYERFIX)
tests_check_sphere_CPPFLAGS = $(TEST_CPPFLAGS)
tests_check_sphere_LDADD = $(TEST_LIBS)
tests_check_sphere_d_SOURCES = $(tests_check_sphere_SOURCES)
tests_check_sphere_d_CPPFLAGS = $(TEST_CPPFLAGS) -DDFO_DOUBLE
tests_check_sphere_d_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/check_sphere_flow tests/check_sphere_flow_d
TESTS += tests/check_sphere_flow tests/check_sphere_flow_d
tests_check_sphere_flow_SOURCES = tests/check_sphere_flow.c
tests_check_sphere_flow_CPPFLAGS = $(TEST_CPPFLAGS)
tests_check_sphere_flow_LDADD = $(TEST_LIBS)
tests_check_sphere_flow_d_SOURCES = $(tests_check_sphere_flow_SOURCES)
tests_check_sphere_flow_d_CPPFLAGS = $(TEST_CPPFLAGS) -DDFO_DOUBLE
tests_check_sphere_flow_d_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/check_increasing tests/check_increasing_d
TESTS += tests/check_increasing tests/check_increasing_d
tests_check_increasing_SOURCES = tests/check_increasing.c $(LAYERFIX)
tests_check_increasing_CPPFLAGS = $(TEST_CPPFLAGS)
tests_check_increasing_LDADD = $(TEST_LIBS)
tests_check_increasing_d_SOURCES = $(tests_check_increasing_SOURCES)
tests_check_increasing_d_CPPFLAGS = $(TEST_CPPFLAGS) -DDFO_DOUBLE
tests_check_increasing_d_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/check_dequantise tests/check_dequantise_d
TESTS += tests/check_dequantise tests/check_dequantise_d
tests_check_dequantise_SOURCES = tests/check_dequantise.c $(LAYERFIX)
tests_check_dequantise_CPPFLAGS = $(TEST_CPPFLAGS)
tests_check_dequantise_LDADD = $(TEST_LIBS)
tests_check_dequantise_d_SOURCES = $(tests_check_dequantise_SOURCES)
tests_check_dequantise_d_CPPFLAGS = $(TEST_CPPFLAGS) -DDFO_DOUBLE
tests_check_dequantise_d_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/check_columns tests/check_columns_d
TESTS += tests/check_columns tests/check_columns_d
tests_check_columns_SOURCES = tests/check_columns.c $(LAYERFIX)
tests_check_columns_CPPFLAGS = $(TEST_CPPFLAGS)
tests_check_columns_LDADD = $(OOM_LIBS) $(TEST_LIBS)
tests_check_columns_d_SOURCES = $(tests_check_columns_SOURCES)
tests_check_columns_d_CPPFLAGS = $(TEST_CPPFLAGS) -DDFO_DOUBLE
tests_check_columns_d_LDADD = $(OOM_LIBS) $(TEST_LIBS)

check_PROGRAMS += tests/check_image_flow tests/check_image_flow_d
TESTS += tests/check_image_flow tests/check_image_flow_d
tests_check_image_flow_SOURCES = tests/check_image_flow.c
tests_check_image_flow_CPPFLAGS = $(TEST_CPPFLAGS)
tests_check_image_flow_LDADD = $(OOM_LIBS) $(TEST_LIBS)
tests_check_image_flow_d_SOURCES = $(tests_check_image_flow_SOURCES)
tests_check_image_flow_d_CPPFLAGS = $(TEST_CPPFLAGS) -DDFO_DOUBLE
tests_check_image_flow_d_LDADD = $(OOM_LIBS) $(TEST_LIBS)

check_PROGRAMS += tests/check_reference_images tests/check_reference_images_d
TESTS += tests/check_reference_images tests/check_reference_images_d
tests_check_reference_images_SOURCES = tests/check_reference_images.c tests/reflayer.c $(LAYERFIX) $(REFERENCE)
tests_check_reference_images_CPPFLAGS = $(TEST_CPPFLAGS)
tests_check_reference_images_LDADD = $(TEST_LIBS)
tests_check_reference_images_d_SOURCES = $(tests_check_reference_images_SOURCES)
tests_check_reference_images_d_CPPFLAGS = $(TEST_CPPFLAGS) -DDFO_DOUBLE
tests_check_reference_images_d_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/check_fourier tests/check_fourier_d
TESTS += tests/check_fourier tests/check_fourier_d
tests_check_fourier_SOURCES = tests/check_fourier.c tests/reflayer.c $(LAYERFIX) $(REFERENCE)
tests_check_fourier_CPPFLAGS = $(TEST_CPPFLAGS)
tests_check_fourier_LDADD = $(TEST_LIBS)
tests_check_fourier_d_SOURCES = $(tests_check_fourier_SOURCES)
tests_check_fourier_d_CPPFLAGS = $(TEST_CPPFLAGS) -DDFO_DOUBLE
tests_check_fourier_d_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/check_causal tests/check_causal_d
TESTS += tests/check_causal tests/check_causal_d
tests_check_causal_SOURCES = tests/check_causal.c tests/reflayer.c $(LAYERFIX) $(REFERENCE)
tests_check_causal_CPPFLAGS = $(TEST_CPPFLAGS)
tests_check_causal_LDADD = $(TEST_LIBS)
tests_check_causal_d_SOURCES = $(tests_check_causal_SOURCES)
tests_check_causal_d_CPPFLAGS = $(TEST_CPPFLAGS) -DDFO_DOUBLE
tests_check_causal_d_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/check_conditioning tests/check_conditioning_d
TESTS += tests/check_conditioning tests/check_conditioning_d
tests_check_conditioning_SOURCES = tests/check_conditioning.c $(LAYERFIX)
tests_check_conditioning_CPPFLAGS = $(TEST_CPPFLAGS)
tests_check_conditioning_LDADD = $(TEST_LIBS)
tests_check_conditioning_d_SOURCES = $(tests_check_conditioning_SOURCES)
tests_check_conditioning_d_CPPFLAGS = $(TEST_CPPFLAGS) -DDFO_DOUBLE
tests_check_conditioning_d_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/check_conv_exp tests/check_conv_exp_d
TESTS += tests/check_conv_exp tests/check_conv_exp_d
tests_check_conv_exp_SOURCES = tests/check_conv_exp.c $(LAYERFIX)
tests_check_conv_exp_CPPFLAGS = $(TEST_CPPFLAGS)
tests_check_conv_exp_LDADD = $(TEST_LIBS)
tests_check_conv_exp_d_SOURCES = $(tests_check_conv_exp_SOURCES)
tests_check_conv_exp_d_CPPFLAGS = $(TEST_CPPFLAGS) -DDFO_DOUBLE
tests_check_conv_exp_d_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/check_diffusion tests/check_diffusion_d
TESTS += tests/check_diffusion tests/check_diffusion_d
tests_check_diffusion_SOURCES = tests/check_diffusion.c $(LAYERFIX)
tests_check_diffusion_CPPFLAGS = $(TEST_CPPFLAGS)
tests_check_diffusion_LDADD = $(TEST_LIBS)
tests_check_diffusion_d_SOURCES = $(tests_check_diffusion_SOURCES)
tests_check_diffusion_d_CPPFLAGS = $(TEST_CPPFLAGS) -DDFO_DOUBLE
tests_check_diffusion_d_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/check_cnf tests/check_cnf_d
TESTS += tests/check_cnf tests/check_cnf_d
tests_check_cnf_SOURCES = tests/check_cnf.c $(LAYERFIX) $(REFERENCE)
tests_check_cnf_CPPFLAGS = $(TEST_CPPFLAGS)
tests_check_cnf_LDADD = $(TEST_LIBS)
tests_check_cnf_d_SOURCES = $(tests_check_cnf_SOURCES)
tests_check_cnf_d_CPPFLAGS = $(TEST_CPPFLAGS) -DDFO_DOUBLE
tests_check_cnf_d_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/check_cnf_trace tests/check_cnf_trace_d
TESTS += tests/check_cnf_trace tests/check_cnf_trace_d
tests_check_cnf_trace_SOURCES = tests/check_cnf_trace.c $(LAYERFIX)
tests_check_cnf_trace_CPPFLAGS = $(TEST_CPPFLAGS)
tests_check_cnf_trace_LDADD = $(TEST_LIBS)
tests_check_cnf_trace_d_SOURCES = $(tests_check_cnf_trace_SOURCES)
tests_check_cnf_trace_d_CPPFLAGS = $(TEST_CPPFLAGS) -DDFO_DOUBLE
tests_check_cnf_trace_d_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/check_matching tests/check_matching_d
TESTS += tests/check_matching tests/check_matching_d
tests_check_matching_SOURCES = tests/check_matching.c $(TESTRUN) $(REFERENCE)
tests_check_matching_CPPFLAGS = $(TEST_CPPFLAGS)
tests_check_matching_LDADD = $(TEST_LIBS)
tests_check_matching_d_SOURCES = $(tests_check_matching_SOURCES)
tests_check_matching_d_CPPFLAGS = $(TEST_CPPFLAGS) -DDFO_DOUBLE
tests_check_matching_d_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/check_edit tests/check_edit_d
TESTS += tests/check_edit tests/check_edit_d
tests_check_edit_SOURCES = tests/check_edit.c
tests_check_edit_CPPFLAGS = $(TEST_CPPFLAGS)
tests_check_edit_LDADD = $(OOM_LIBS) $(TEST_LIBS)
tests_check_edit_d_SOURCES = $(tests_check_edit_SOURCES)
tests_check_edit_d_CPPFLAGS = $(TEST_CPPFLAGS) -DDFO_DOUBLE
tests_check_edit_d_LDADD = $(OOM_LIBS) $(TEST_LIBS)

check_PROGRAMS += tests/check_given tests/check_given_d
TESTS += tests/check_given tests/check_given_d
tests_check_given_SOURCES = tests/check_given.c $(MIXFIELD) $(REFERENCE)
tests_check_given_CPPFLAGS = $(TEST_CPPFLAGS)
tests_check_given_LDADD = $(TEST_LIBS)
tests_check_given_d_SOURCES = $(tests_check_given_SOURCES)
tests_check_given_d_CPPFLAGS = $(TEST_CPPFLAGS) -DDFO_DOUBLE
tests_check_given_d_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/check_rex_map tests/check_rex_map_d
TESTS += tests/check_rex_map tests/check_rex_map_d
tests_check_rex_map_SOURCES = tests/check_rex_map.c
tests_check_rex_map_CPPFLAGS = $(TEST_CPPFLAGS)
tests_check_rex_map_LDADD = $(TEST_LIBS)
tests_check_rex_map_d_SOURCES = $(tests_check_rex_map_SOURCES)
tests_check_rex_map_d_CPPFLAGS = $(TEST_CPPFLAGS) -DDFO_DOUBLE
tests_check_rex_map_d_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/check_bound tests/check_bound_d
TESTS += tests/check_bound tests/check_bound_d
tests_check_bound_SOURCES = tests/check_bound.c
tests_check_bound_CPPFLAGS = $(TEST_CPPFLAGS)
tests_check_bound_LDADD = $(TEST_LIBS)
tests_check_bound_d_SOURCES = $(tests_check_bound_SOURCES)
tests_check_bound_d_CPPFLAGS = $(TEST_CPPFLAGS) -DDFO_DOUBLE
tests_check_bound_d_LDADD = $(TEST_LIBS)
