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

check_PROGRAMS += tests/check_reversible tests/check_reversible_d
TESTS += tests/check_reversible tests/check_reversible_d
tests_check_reversible_SOURCES = tests/check_reversible.c tests/odefields.c $(REFERENCE)
tests_check_reversible_CPPFLAGS = $(TEST_CPPFLAGS)
tests_check_reversible_LDADD = $(TEST_LIBS)
tests_check_reversible_d_SOURCES = $(tests_check_reversible_SOURCES)
tests_check_reversible_d_CPPFLAGS = $(TEST_CPPFLAGS) -DDFO_DOUBLE
tests_check_reversible_d_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/check_path tests/check_path_d
TESTS += tests/check_path tests/check_path_d
tests_check_path_SOURCES = tests/check_path.c
tests_check_path_CPPFLAGS = $(TEST_CPPFLAGS)
tests_check_path_LDADD = $(OOM_LIBS) $(TEST_LIBS)
tests_check_path_d_SOURCES = $(tests_check_path_SOURCES)
tests_check_path_d_CPPFLAGS = $(TEST_CPPFLAGS) -DDFO_DOUBLE
tests_check_path_d_LDADD = $(OOM_LIBS) $(TEST_LIBS)

check_PROGRAMS += tests/check_netfield tests/check_netfield_d
TESTS += tests/check_netfield tests/check_netfield_d
tests_check_netfield_SOURCES = tests/check_netfield.c $(TESTRUN)
tests_check_netfield_CPPFLAGS = $(TEST_CPPFLAGS)
tests_check_netfield_LDADD = $(TEST_LIBS)
tests_check_netfield_d_SOURCES = $(tests_check_netfield_SOURCES)
tests_check_netfield_d_CPPFLAGS = $(TEST_CPPFLAGS) -DDFO_DOUBLE
tests_check_netfield_d_LDADD = $(TEST_LIBS)
