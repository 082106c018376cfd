# lib/math: tests in both precisions, and benches (make bench-gemm, make bench-kern).
check_PROGRAMS += tests/check_gemm tests/check_gemm_d
TESTS += tests/check_gemm tests/check_gemm_d
tests_check_gemm_SOURCES = tests/check_gemm.c
tests_check_gemm_CPPFLAGS = $(TEST_CPPFLAGS)
tests_check_gemm_LDADD = $(TEST_LIBS)
tests_check_gemm_d_SOURCES = tests/check_gemm.c
tests_check_gemm_d_CPPFLAGS = $(TEST_CPPFLAGS) -DDFO_DOUBLE
tests_check_gemm_d_LDADD = $(TEST_LIBS)

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
