# Tests of the folder solvers.
noinst_HEADERS += tests/odefields.h
check_PROGRAMS += tests/check_ode tests/check_ode_d
TESTS += tests/check_ode tests/check_ode_d
tests_check_ode_SOURCES = tests/check_ode.c tests/odefields.c $(REFERENCE)
tests_check_ode_CPPFLAGS = $(TEST_CPPFLAGS)
tests_check_ode_LDADD = $(TEST_LIBS)
tests_check_ode_d_SOURCES = $(tests_check_ode_SOURCES)
tests_check_ode_d_CPPFLAGS = $(TEST_CPPFLAGS) -DDFO_DOUBLE
tests_check_ode_d_LDADD = $(TEST_LIBS)
