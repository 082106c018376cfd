# Examples of the library's use, made like a user's programs: public headers, the library alone.
EXAMPLE_LIBS = libdiffeo.la $(JANSSON_LIBS) -lm
check_PROGRAMS += tests/examples/neural_ode tests/examples/neural_ode_d tests/examples/neural_cde
tests_examples_neural_ode_SOURCES = tests/examples/neural_ode.c
tests_examples_neural_ode_CPPFLAGS = $(SAMPLERS_CPPFLAGS)
tests_examples_neural_ode_LDADD = $(EXAMPLE_LIBS)
tests_examples_neural_ode_d_SOURCES = tests/examples/neural_ode.c
tests_examples_neural_ode_d_CPPFLAGS = $(SAMPLERS_CPPFLAGS) -DDFO_DOUBLE
tests_examples_neural_ode_d_LDADD = $(EXAMPLE_LIBS)
tests_examples_neural_cde_SOURCES = tests/examples/neural_cde.c
tests_examples_neural_cde_CPPFLAGS = $(SAMPLERS_CPPFLAGS)
tests_examples_neural_cde_LDADD = $(EXAMPLE_LIBS)
TESTS += tests/examples.sh
EXTRA_DIST += tests/examples.sh tests/examples/README.md tests/examples/sequences.awk
