# Tests see everything, private headers too, and link the folders' own libraries.
# One block for each test program (and one more, name_d, with -DDFO_DOUBLE, where precision matters):
#
#   check_PROGRAMS += tests/check_thing
#   TESTS += tests/check_thing
#   tests_check_thing_SOURCES = tests/check_thing.c
#   tests_check_thing_CPPFLAGS = $(TEST_CPPFLAGS)
#   tests_check_thing_LDADD = $(TEST_LIBS)              (with tests/oom.h: $(OOM_LIBS) $(TEST_LIBS))
#
# Scripts stand in TESTS and EXTRA_DIST.
TEST_CPPFLAGS = -I$(srcdir)/tests $(SAMPLERS_CPPFLAGS) $(CHECK_CFLAGS) -DDFOI_TESTS_DIR='"$(abs_srcdir)/tests"'
TEST_LIBS = tests/libtest.la $(FLOOR_LIBS) $(DEP_LIBS) $(CHECK_LIBS)
OOM_LIBS = tests/liboom.la
include tests/checks.mk
include tests/math.mk

# Reference vectors: add $(REFERENCE) to the sources of a test that reads them.
REFERENCE = tests/reference.c
noinst_HEADERS += tests/reference.h
EXTRA_DIST += tests/reference

# A dfo_run without a plan: add $(TESTRUN) to the sources of a test that wants one.
TESTRUN = tests/testrun.c
noinst_HEADERS += tests/testrun.h

check_PROGRAMS += tests/check_spline tests/check_spline_d
TESTS += tests/check_spline tests/check_spline_d
noinst_HEADERS += tests/spline_scalar.h
tests_check_spline_SOURCES = tests/check_spline.c tests/spline_scalar.c $(REFERENCE)
tests_check_spline_CPPFLAGS = $(TEST_CPPFLAGS)
tests_check_spline_LDADD = $(TEST_LIBS)
tests_check_spline_d_SOURCES = $(tests_check_spline_SOURCES)
tests_check_spline_d_CPPFLAGS = $(TEST_CPPFLAGS) -DDFO_DOUBLE
tests_check_spline_d_LDADD = $(TEST_LIBS)

include tests/dist.mk
