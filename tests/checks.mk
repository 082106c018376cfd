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
EXTRA_DIST += tests/env.sh tests/lsan.supp

# The shell tests' library, and JSON for it.
check_PROGRAMS += tests/jsonget
tests_jsonget_SOURCES = tests/jsonget.c
tests_jsonget_CPPFLAGS = $(TEST_CPPFLAGS)
tests_jsonget_LDADD = $(JANSSON_LIBS) -lm

# What a command takes of memory.
check_PROGRAMS += tests/peak
tests_peak_SOURCES = tests/peak.c
TESTS += tests/harness.sh tests/install.sh tests/symbols.sh tests/cli.sh tests/man_examples.sh tests/reader.sh \
    tests/completion.sh tests/images.sh tests/classify.sh tests/filter.sh tests/solve.sh tests/diffuse.sh tests/calibrate.sh tests/context.sh tests/mcmc.sh tests/edit.sh tests/sphere.sh tests/columns.sh
EXTRA_DIST += tests/sh.sh tests/harness.sh tests/symbols.sh tests/install.sh tests/cli.sh tests/man_examples.sh \
    tests/reader.sh tests/reader.py tests/completion.sh tests/images.sh tests/classify.sh tests/filter.sh tests/solve.sh tests/diffuse.sh tests/calibrate.sh tests/context.sh tests/mcmc.sh tests/edit.sh tests/sphere.sh tests/columns.sh

# The house rules, see the script.
TESTS += tests/lint.sh
EXTRA_DIST += tests/lint.sh tests/coverage.sh
lint:
	@top_srcdir=$(abs_srcdir) top_builddir=$(abs_builddir) $(SHELL) $(srcdir)/tests/lint.sh

include tests/fuzz/local.mk

# ---- slower checks, each in a folder of its own below the build folder ----------------------------
# DIFFEO_TEST_MULTIPLIER, FUZZ_SECONDS and VALGRIND_TESTS may be given: make check-fuzz FUZZ_SECONDS=60
FUZZ_SECONDS = 20
VALGRIND = valgrind -q --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite --gen-suppressions=no
# Quick ones with much of the library in them; valgrind runs them some 30 times slower, and knows no AVX-512.
VALGRIND_TESTS = tests/check_oom tests/check_blas
SUB_CONFIGURE = test -f config.status || $(abs_srcdir)/configure --quiet --disable-static
MULTIPLIER = DIFFEO_TEST_MULTIPLIER=$${DIFFEO_TEST_MULTIPLIER:-

# All tests but those that are another's source in double: half of the time to build and run.
float-tests:
	@echo $(TESTS) | tr ' ' '\n' | sed -e '/check_.*_d$$/d' -e '/contract_.*_d$$/d' | tr '\n' ' '
float-programs:
	@echo $(check_PROGRAMS) | tr ' ' '\n' | sed -e '/check_.*_d$(EXEEXT)$$/d' -e '/contract_.*_d$(EXEEXT)$$/d' | tr '\n' ' '
# What distcheck runs: tests that read what is distributed (vectors, corpora, scripts), and the programs that these need.
dist_checks = tests/check_oom tests/check_flow tests/check_cnf tests/check_ode tests/check_reference_layers tests/check_reference_flows \
    tests/check_reference_kernels tests/check_reference_images tests/fuzz/json tests/fuzz/number tests/fuzz/csv tests/fuzz/npy \
    tests/fuzz/safetensors tests/fuzz/model tests/fuzz/idx tests/fuzz/cifar10 tests/fuzz/png
dist_tests = $(dist_checks) tests/harness.sh tests/install.sh tests/symbols.sh tests/cli.sh tests/man_examples.sh tests/reader.sh \
    tests/completion.sh tests/examples.sh tests/lint.sh
dist-tests:
	@echo $(dist_tests)
dist-programs:
	@echo $(dist_checks) tests/jsonget tests/blascore apps/examples/threads tests/examples/neural_ode tests/examples/neural_ode_d \
	    tests/examples/neural_cde
check-float:
	$(MAKE) check TESTS="`$(MAKE) -s float-tests`" check_PROGRAMS="`$(MAKE) -s float-programs`"

# CHECK=check-float: without double
CHECK = check
check-asan:
	$(MKDIR_P) check-asan
	cd check-asan && { $(SUB_CONFIGURE) --enable-asan --enable-ubsan CFLAGS='-g1 -O1'; }
	cd check-asan && $(MULTIPLIER)0.3} CK_TIMEOUT_MULTIPLIER=10 $(MAKE) $(CHECK)

# Without ASLR where the system allows: gcc 12's ThreadSanitizer does not know the newest memory layouts.
check-tsan:
	$(MKDIR_P) check-tsan
	cd check-tsan && { $(SUB_CONFIGURE) --enable-tsan --without-openmp CFLAGS='-g -O1'; }
	cd check-tsan && if setarch `uname -m` -R true 2>/dev/null; then off="setarch `uname -m` -R"; else off=; fi; \
	    $(MULTIPLIER)0.3} CK_TIMEOUT_MULTIPLIER=10 $$off $(MAKE) check

check-valgrind: $(check_LTLIBRARIES) $(check_PROGRAMS)
	$(MULTIPLIER)0.1} CK_TIMEOUT_MULTIPLIER=60 \
	    OPENBLAS_CORETYPE=Haswell $(MAKE) check TESTS='$(VALGRIND_TESTS)' LOG_COMPILER='$(VALGRIND)'

# The test programs that use tests/oom.h, and those that use tests/faults.h.
check-oom check-faults: check-%:
	@header=`echo $@ | sed 's/check-//'`.h; tests=; \
	for t in $(TESTS); do \
	    source=`echo $$t | sed 's/_d$$//'`.c; \
	    if test -f $(srcdir)/$$source && grep -q "\"$$header\"" $(srcdir)/$$source; then tests="$$tests $$t"; fi; \
	done; \
	if test -z "$$tests"; then echo "$@: no test includes $$header"; exit 1; fi; \
	$(MULTIPLIER)3} $(MAKE) check TESTS="$$tests"

check-fuzz:
	$(MKDIR_P) check-fuzz
	cd check-fuzz && { $(SUB_CONFIGURE) --enable-fuzz --enable-asan --enable-ubsan --without-openmp \
	    --without-cairo CC=clang CFLAGS='-g1 -O1 -w'; }
	cd check-fuzz && $(MAKE) fuzz-targets
	cd check-fuzz && top_srcdir=$(abs_srcdir) $(SHELL) $(abs_srcdir)/tests/fuzz/run.sh $(FUZZ_SECONDS) $(FUZZ_TARGETS)

fuzz-targets: $(BUILT_SOURCES)
	$(MAKE) $(FUZZ_TARGETS)

coverage:
	$(MKDIR_P) check-coverage
	cd check-coverage && { $(SUB_CONFIGURE) --enable-gcov CFLAGS='-g -O0'; }
	cd check-coverage && $(MAKE) check
	cd check-coverage && top_srcdir=$(abs_srcdir) $(SHELL) $(abs_srcdir)/tests/coverage.sh

.PHONY: lint dist-tests dist-programs float-tests float-programs check-float check-asan check-tsan check-valgrind check-oom check-faults check-fuzz fuzz-targets coverage

check_PROGRAMS += tests/check_model_faults
TESTS += tests/check_model_faults
tests_check_model_faults_SOURCES = tests/check_model_faults.c
tests_check_model_faults_CPPFLAGS = $(TEST_CPPFLAGS)
tests_check_model_faults_LDADD = $(OOM_LIBS) $(TEST_LIBS)
