# Tests see everything, private headers too, and link the folders' own libraries.
TEST_CPPFLAGS = -I$(srcdir)/tests $(SAMPLERS_CPPFLAGS) $(CHECK_CFLAGS) -DDFOI_TESTS_DIR='"$(abs_srcdir)/tests"'
TEST_LIBS = $(FLOOR_LIBS) $(DEP_LIBS) $(CHECK_LIBS)
# Reference vectors: add $(REFERENCE) to the sources of a test that reads them.
REFERENCE = tests/reference.c
noinst_HEADERS += tests/reference.h
EXTRA_DIST += tests/reference
