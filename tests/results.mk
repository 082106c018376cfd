# Long training runs that prove quality targets (make results); not part of make check.
EXTRA_PROGRAMS += tests/results/prepare
tests_results_prepare_SOURCES = tests/results/prepare.c
tests_results_prepare_CPPFLAGS = $(TEST_CPPFLAGS)
tests_results_prepare_LDADD = libdiffeo.la
EXTRA_PROGRAMS += tests/results/detest
tests_results_detest_SOURCES = tests/results/detest.c tests/odefields.c $(REFERENCE)
tests_results_detest_CPPFLAGS = $(TEST_CPPFLAGS) $(GSL_CFLAGS) -DDFO_DOUBLE
tests_results_detest_LDADD = $(TEST_LIBS)
# Gradients of continuous flows, in float and in double.
EXTRA_PROGRAMS += tests/results/gradients tests/results/gradients_d
tests_results_gradients_SOURCES = tests/results/gradients.c
tests_results_gradients_CPPFLAGS = $(TEST_CPPFLAGS)
tests_results_gradients_LDADD = $(FLOOR_LIBS) $(DEP_LIBS)
tests_results_gradients_d_SOURCES = tests/results/gradients.c
tests_results_gradients_d_CPPFLAGS = $(TEST_CPPFLAGS) -DDFO_DOUBLE
tests_results_gradients_d_LDADD = $(FLOOR_LIBS) $(DEP_LIBS)
# Round trips of diffusion, likewise.
EXTRA_PROGRAMS += tests/results/roundtrip tests/results/roundtrip_d
tests_results_roundtrip_SOURCES = tests/results/roundtrip.c tests/mixfield.c $(REFERENCE)
tests_results_roundtrip_CPPFLAGS = $(TEST_CPPFLAGS)
tests_results_roundtrip_LDADD = $(TEST_LIBS)
tests_results_roundtrip_d_SOURCES = $(tests_results_roundtrip_SOURCES)
tests_results_roundtrip_d_CPPFLAGS = $(TEST_CPPFLAGS) -DDFO_DOUBLE
tests_results_roundtrip_d_LDADD = $(TEST_LIBS)
# Simulation-based inference.
EXTRA_PROGRAMS += tests/results/simulate
tests_results_simulate_SOURCES = tests/results/simulate.c tests/results/sbitasks.c tests/results/sbitasks.h
tests_results_simulate_CPPFLAGS = $(TEST_CPPFLAGS) $(GSL_CFLAGS) -DDFO_DOUBLE
tests_results_simulate_LDADD = $(TEST_LIBS)
# Curves from a table of text.
EXTRA_PROGRAMS += tests/results/curves
tests_results_curves_SOURCES = tests/results/curves.c
tests_results_curves_CPPFLAGS = $(TEST_CPPFLAGS)
tests_results_curves_LDADD = libdiffeo.la
EXTRA_DIST += tests/results/results.sh tests/results/tables.sh tests/results/inference.sh tests/results/diffusion.sh tests/results/README.md tests/results/power37k.txt tests/results/bsds300.txt \
    tests/results/wine_red.txt tests/results/wine_white.txt tests/results/glow_fashion-mnist.txt tests/results/glow_mnist.txt \
    tests/results/glow_cifar10.txt tests/results/irevnet.txt tests/results/glow_mnist_0.7.png \
    tests/results/irevnet_interpolation.png tests/results/deblur.txt tests/results/deblur.png tests/results/sides.txt tests/results/sides.png tests/results/sampling.txt tests/results/kodak.txt tests/results/memory.png \
    tests/results/inverse-flow_fashion-mnist.txt tests/results/inverse-flow_mnist.txt tests/results/bench.txt tests/results/bench_flows.txt tests/results/bsds300_long.txt tests/results/reflow.txt tests/results/continuous_power37k.txt \
    tests/results/continuous_bsds300.txt tests/results/matching_bsds300.txt tests/results/detest_peers.py tests/results/detest.txt tests/results/detest.png tests/results/neural_cde.txt tests/results/perflow.txt tests/results/samplers.txt tests/results/samplers.png tests/results/samplers_error.png tests/results/binary.txt tests/results/columns.txt \
    tests/results/toys_flow-matching.txt tests/results/toys_flow-matching.png tests/results/toys_ffjord.txt tests/results/toys_ffjord.png tests/results/gradients.txt tests/results/gradients.png \
    tests/results/diffusion_mnist.txt tests/results/diffusion_mnist.png tests/results/rex.txt tests/results/latents_mnist.txt tests/results/diffusion_power37k.txt \
    tests/results/roundtrip.txt tests/results/roundtrip.png tests/results/edit.txt tests/results/edit.png tests/results/edit_mask.png tests/results/inpaint.png tests/results/ffjord_image.txt tests/results/glow_mnist_1.0.png \
    tests/results/earth.txt tests/results/earth.png tests/results/regression.txt tests/results/regression_protein.txt tests/results/sbibm.txt tests/results/table_power37k.txt \
    tests/results/table_bsds300.txt tests/results/table_bsds500rows.txt tests/results/table_wine_red.txt tests/results/table_wine_white.txt tests/results/table_higgs.txt

results: diffeo$(EXEEXT) tests/results/prepare$(EXEEXT) tests/results/detest$(EXEEXT) tests/results/gradients$(EXEEXT) tests/results/gradients_d$(EXEEXT) tests/results/roundtrip$(EXEEXT) tests/results/roundtrip_d$(EXEEXT) tests/results/simulate$(EXEEXT) tests/results/curves$(EXEEXT) tests/examples/neural_cde$(EXEEXT) tests/bench/bench_sides$(EXEEXT)
	top_srcdir=$(abs_top_srcdir) top_builddir=$(abs_top_builddir) PATH=$(abs_top_builddir):$$PATH \
	    sh $(srcdir)/tests/results/results.sh
.PHONY: results
