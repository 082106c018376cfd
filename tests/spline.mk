# The spline kernels: tests, and a benchmark (make tests/bench/bench_spline).
check_PROGRAMS += tests/check_spline tests/check_spline_d
TESTS += tests/check_spline tests/check_spline_d
noinst_HEADERS += tests/spline_scalar.h tests/spline_call.h
tests_check_spline_SOURCES = \
    tests/check_spline.c \
    tests/check_spline_random.c \
    tests/check_spline_edge.c \
    tests/spline_call.c \
    tests/spline_scalar.c \
    $(REFERENCE)
tests_check_spline_CPPFLAGS = $(TEST_CPPFLAGS)
tests_check_spline_LDADD = $(TEST_LIBS)
tests_check_spline_d_SOURCES = $(tests_check_spline_SOURCES)
tests_check_spline_d_CPPFLAGS = $(TEST_CPPFLAGS) -DDFO_DOUBLE
tests_check_spline_d_LDADD = $(TEST_LIBS)

EXTRA_PROGRAMS += tests/bench/bench_spline tests/bench/bench_spline_d
tests_bench_bench_spline_SOURCES = tests/bench/bench_spline.c
tests_bench_bench_spline_CPPFLAGS = $(TEST_CPPFLAGS)
tests_bench_bench_spline_LDADD = $(FLOOR_LIBS) $(DEP_LIBS)
tests_bench_bench_spline_d_SOURCES = tests/bench/bench_spline.c
tests_bench_bench_spline_d_CPPFLAGS = $(TEST_CPPFLAGS) -DDFO_DOUBLE
tests_bench_bench_spline_d_LDADD = $(FLOOR_LIBS) $(DEP_LIBS)
