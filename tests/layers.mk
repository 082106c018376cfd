# Layers against reference vectors.
noinst_HEADERS += tests/layerfix.h
LAYERFIX = tests/layerfix.c $(TESTRUN)

check_PROGRAMS += tests/check_reference_layers tests/check_reference_layers_d
TESTS += tests/check_reference_layers tests/check_reference_layers_d
tests_check_reference_layers_SOURCES = tests/check_reference_layers.c $(LAYERFIX) $(REFERENCE)
tests_check_reference_layers_CPPFLAGS = $(TEST_CPPFLAGS)
tests_check_reference_layers_LDADD = $(TEST_LIBS)
tests_check_reference_layers_d_SOURCES = $(tests_check_reference_layers_SOURCES)
tests_check_reference_layers_d_CPPFLAGS = $(TEST_CPPFLAGS) -DDFO_DOUBLE
tests_check_reference_layers_d_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/check_layers tests/check_layers_d
TESTS += tests/check_layers tests/check_layers_d
tests_check_layers_SOURCES = tests/check_layers.c $(LAYERFIX)
tests_check_layers_CPPFLAGS = $(TEST_CPPFLAGS)
tests_check_layers_LDADD = $(TEST_LIBS)
tests_check_layers_d_SOURCES = $(tests_check_layers_SOURCES)
tests_check_layers_d_CPPFLAGS = $(TEST_CPPFLAGS) -DDFO_DOUBLE
tests_check_layers_d_LDADD = $(TEST_LIBS)
