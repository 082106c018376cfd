# lib/math: tests in both precisions, and benches (make bench-gemm, make bench-kern).
check_PROGRAMS += tests/check_gemm tests/check_gemm_d
TESTS += tests/check_gemm tests/check_gemm_d
tests_check_gemm_SOURCES = tests/check_gemm.c
tests_check_gemm_CPPFLAGS = $(TEST_CPPFLAGS)
tests_check_gemm_LDADD = $(TEST_LIBS)
tests_check_gemm_d_SOURCES = tests/check_gemm.c
tests_check_gemm_d_CPPFLAGS = $(TEST_CPPFLAGS) -DDFO_DOUBLE
tests_check_gemm_d_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/check_math tests/check_math_d
TESTS += tests/check_math tests/check_math_d
tests_check_math_SOURCES = tests/check_math.c
tests_check_math_CPPFLAGS = $(TEST_CPPFLAGS)
tests_check_math_LDADD = $(TEST_LIBS)
tests_check_math_d_SOURCES = tests/check_math.c
tests_check_math_d_CPPFLAGS = $(TEST_CPPFLAGS) -DDFO_DOUBLE
tests_check_math_d_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/check_step tests/check_step_d
TESTS += tests/check_step tests/check_step_d
tests_check_step_SOURCES = tests/check_step.c
tests_check_step_CPPFLAGS = $(TEST_CPPFLAGS)
tests_check_step_LDADD = $(TEST_LIBS)
tests_check_step_d_SOURCES = tests/check_step.c
tests_check_step_d_CPPFLAGS = $(TEST_CPPFLAGS) -DDFO_DOUBLE
tests_check_step_d_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/check_rng tests/check_rng_d
TESTS += tests/check_rng tests/check_rng_d
tests_check_rng_SOURCES = tests/check_rng.c
tests_check_rng_CPPFLAGS = $(TEST_CPPFLAGS)
tests_check_rng_LDADD = $(TEST_LIBS)
tests_check_rng_d_SOURCES = tests/check_rng.c
tests_check_rng_d_CPPFLAGS = $(TEST_CPPFLAGS) -DDFO_DOUBLE
tests_check_rng_d_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/check_linalg tests/check_linalg_d
TESTS += tests/check_linalg tests/check_linalg_d
tests_check_linalg_SOURCES = tests/check_linalg.c
tests_check_linalg_CPPFLAGS = $(TEST_CPPFLAGS)
tests_check_linalg_LDADD = $(TEST_LIBS)
tests_check_linalg_d_SOURCES = tests/check_linalg.c
tests_check_linalg_d_CPPFLAGS = $(TEST_CPPFLAGS) -DDFO_DOUBLE
tests_check_linalg_d_LDADD = $(TEST_LIBS)

EXTRA_PROGRAMS += tests/bench/bench_gemm tests/bench/bench_gemm_d
tests_bench_bench_gemm_SOURCES = tests/bench/bench_gemm.c
tests_bench_bench_gemm_CPPFLAGS = $(TEST_CPPFLAGS)
tests_bench_bench_gemm_LDADD = $(FLOOR_LIBS) $(DEP_LIBS)
tests_bench_bench_gemm_d_SOURCES = tests/bench/bench_gemm.c
tests_bench_bench_gemm_d_CPPFLAGS = $(TEST_CPPFLAGS) -DDFO_DOUBLE
tests_bench_bench_gemm_d_LDADD = $(FLOOR_LIBS) $(DEP_LIBS)
bench-gemm: tests/bench/bench_gemm$(EXEEXT) tests/bench/bench_gemm_d$(EXEEXT)
	tests/bench/bench_gemm$(EXEEXT)
	tests/bench/bench_gemm_d$(EXEEXT)
.PHONY: bench-gemm

EXTRA_PROGRAMS += tests/bench/bench_kern tests/bench/bench_kern_d
tests_bench_bench_kern_SOURCES = tests/bench/bench_kern.c
tests_bench_bench_kern_CPPFLAGS = $(TEST_CPPFLAGS)
tests_bench_bench_kern_LDADD = $(FLOOR_LIBS) $(DEP_LIBS)
tests_bench_bench_kern_d_SOURCES = tests/bench/bench_kern.c
tests_bench_bench_kern_d_CPPFLAGS = $(TEST_CPPFLAGS) -DDFO_DOUBLE
tests_bench_bench_kern_d_LDADD = $(FLOOR_LIBS) $(DEP_LIBS)
bench-kern: tests/bench/bench_kern$(EXEEXT) tests/bench/bench_kern_d$(EXEEXT)
	tests/bench/bench_kern$(EXEEXT)
	tests/bench/bench_kern_d$(EXEEXT)
.PHONY: bench-kern

check_PROGRAMS += tests/check_filter tests/check_filter_d
TESTS += tests/check_filter tests/check_filter_d
tests_check_filter_SOURCES = tests/check_filter.c
tests_check_filter_CPPFLAGS = $(TEST_CPPFLAGS)
tests_check_filter_LDADD = $(OOM_LIBS) $(TEST_LIBS)
tests_check_filter_d_SOURCES = tests/check_filter.c
tests_check_filter_d_CPPFLAGS = $(TEST_CPPFLAGS) -DDFO_DOUBLE
tests_check_filter_d_LDADD = $(OOM_LIBS) $(TEST_LIBS)
