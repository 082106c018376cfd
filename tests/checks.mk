# How tests are built and run, and the slower checks: sanitizers, valgrind, faults, fuzzing, coverage.

noinst_HEADERS += tests/util.h tests/oom.h tests/faults.h
check_LTLIBRARIES = tests/libtest.la tests/liboom.la
tests_libtest_la_SOURCES = tests/util.c tests/faults.c
tests_libtest_la_CPPFLAGS = $(TEST_CPPFLAGS)
tests_liboom_la_SOURCES = tests/oom.c
tests_liboom_la_CPPFLAGS = $(TEST_CPPFLAGS)

check_PROGRAMS += tests/check_oom
TESTS += tests/check_oom
tests_check_oom_SOURCES = tests/check_oom.c
tests_check_oom_CPPFLAGS = $(TEST_CPPFLAGS)
tests_check_oom_LDADD = $(OOM_LIBS) $(TEST_LIBS)

check_PROGRAMS += tests/check_blas
TESTS += tests/check_blas
tests_check_blas_SOURCES = tests/check_blas.c
tests_check_blas_CPPFLAGS = $(TEST_CPPFLAGS)
tests_check_blas_LDADD = $(TEST_LIBS)

# OpenBLAS is told which kernels to take where it does not know the processor (blascore asks it).
check_PROGRAMS += tests/blascore
tests_blascore_SOURCES = tests/blascore.c
tests_blascore_CPPFLAGS = $(TEST_CPPFLAGS)
tests_blascore_LDADD = $(OPENBLAS_LIBS)
AM_TESTS_ENVIRONMENT = . $(srcdir)/tests/env.sh;
EXTRA_DIST += tests/env.sh

# The shell tests' library, and JSON for it.
check_PROGRAMS += tests/jsonget
tests_jsonget_SOURCES = tests/jsonget.c
tests_jsonget_CPPFLAGS = $(TEST_CPPFLAGS)
tests_jsonget_LDADD = $(JANSSON_LIBS) -lm
TESTS += tests/harness.sh
EXTRA_DIST += tests/sh.sh tests/harness.sh tests/symbols.sh

# The house rules, see the script.
TESTS += tests/lint.sh
EXTRA_DIST += tests/lint.sh
lint:
	@top_srcdir=$(abs_srcdir) top_builddir=$(abs_builddir) $(SHELL) $(srcdir)/tests/lint.sh
.PHONY: lint
