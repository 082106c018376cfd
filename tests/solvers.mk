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

check_PROGRAMS += tests/check_schedule tests/check_schedule_d
TESTS += tests/check_schedule tests/check_schedule_d
tests_check_schedule_SOURCES = tests/check_schedule.c $(REFERENCE)
tests_check_schedule_CPPFLAGS = $(TEST_CPPFLAGS)
tests_check_schedule_LDADD = $(TEST_LIBS)
tests_check_schedule_d_SOURCES = $(tests_check_schedule_SOURCES)
tests_check_schedule_d_CPPFLAGS = $(TEST_CPPFLAGS) -DDFO_DOUBLE
tests_check_schedule_d_LDADD = $(TEST_LIBS)

# Exact predictors of diffusion models: add $(MIXFIELD) to the sources of a test that wants them, $(REXTOOLS) to those of Rex.
MIXFIELD = tests/mixfield.c
REXTOOLS = tests/rextools.c $(MIXFIELD)
noinst_HEADERS += tests/mixfield.h tests/rextools.h
check_PROGRAMS += tests/check_rex tests/check_rex_d
TESTS += tests/check_rex tests/check_rex_d
tests_check_rex_SOURCES = tests/check_rex.c $(REXTOOLS) $(REFERENCE)
tests_check_rex_CPPFLAGS = $(TEST_CPPFLAGS)
tests_check_rex_LDADD = $(TEST_LIBS)
tests_check_rex_d_SOURCES = $(tests_check_rex_SOURCES)
tests_check_rex_d_CPPFLAGS = $(TEST_CPPFLAGS) -DDFO_DOUBLE
tests_check_rex_d_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/check_rex_order tests/check_rex_order_d
TESTS += tests/check_rex_order tests/check_rex_order_d
tests_check_rex_order_SOURCES = tests/check_rex_order.c $(REXTOOLS) $(REFERENCE)
tests_check_rex_order_CPPFLAGS = $(TEST_CPPFLAGS)
tests_check_rex_order_LDADD = $(TEST_LIBS)
tests_check_rex_order_d_SOURCES = $(tests_check_rex_order_SOURCES)
tests_check_rex_order_d_CPPFLAGS = $(TEST_CPPFLAGS) -DDFO_DOUBLE
tests_check_rex_order_d_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/check_rex_noise tests/check_rex_noise_d
TESTS += tests/check_rex_noise tests/check_rex_noise_d
tests_check_rex_noise_SOURCES = tests/check_rex_noise.c tests/odefields.c $(REXTOOLS) $(REFERENCE)
tests_check_rex_noise_CPPFLAGS = $(TEST_CPPFLAGS)
tests_check_rex_noise_LDADD = $(TEST_LIBS)
tests_check_rex_noise_d_SOURCES = $(tests_check_rex_noise_SOURCES)
tests_check_rex_noise_d_CPPFLAGS = $(TEST_CPPFLAGS) -DDFO_DOUBLE
tests_check_rex_noise_d_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/check_ddim tests/check_ddim_d
TESTS += tests/check_ddim tests/check_ddim_d
tests_check_ddim_SOURCES = tests/check_ddim.c $(MIXFIELD) $(REFERENCE)
tests_check_ddim_CPPFLAGS = $(TEST_CPPFLAGS)
tests_check_ddim_LDADD = $(TEST_LIBS)
tests_check_ddim_d_SOURCES = $(tests_check_ddim_SOURCES)
tests_check_ddim_d_CPPFLAGS = $(TEST_CPPFLAGS) -DDFO_DOUBLE
tests_check_ddim_d_LDADD = $(TEST_LIBS)
