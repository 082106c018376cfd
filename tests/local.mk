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
include tests/contract.mk
include tests/layers.mk
include tests/math.mk

# Reference vectors: add $(REFERENCE) to the sources of a test that reads them.
REFERENCE = tests/reference.c
noinst_HEADERS += tests/reference.h
EXTRA_DIST += tests/reference

# A dfo_run without a plan: add $(TESTRUN) to the sources of a test that wants one.
TESTRUN = tests/testrun.c
noinst_HEADERS += tests/testrun.h

include tests/solvers.mk
include tests/examples.mk
include tests/spline.mk
include tests/dist.mk
include tests/classify.mk
include tests/samplers.mk
include tests/nn.mk
include tests/data.mk
include tests/plot.mk
include tests/bench.mk
include tests/results.mk
