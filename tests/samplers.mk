# Markov chains; flows fitted to densities, and densities seen through flows.
CHAINFIX = tests/chainfix.c
noinst_HEADERS += tests/chainfix.h
check_PROGRAMS += tests/check_mcmc
TESTS += tests/check_mcmc
tests_check_mcmc_SOURCES = tests/check_mcmc.c $(CHAINFIX)
tests_check_mcmc_CPPFLAGS = $(TEST_CPPFLAGS)
tests_check_mcmc_LDADD = $(OOM_LIBS) $(TEST_LIBS)

check_PROGRAMS += tests/check_neutra tests/check_neutra_d
TESTS += tests/check_neutra tests/check_neutra_d
tests_check_neutra_SOURCES = tests/check_neutra.c $(CHAINFIX) $(TESTRUN)
tests_check_neutra_CPPFLAGS = $(TEST_CPPFLAGS)
tests_check_neutra_LDADD = $(OOM_LIBS) $(TEST_LIBS)
tests_check_neutra_d_SOURCES = $(tests_check_neutra_SOURCES)
tests_check_neutra_d_CPPFLAGS = $(TEST_CPPFLAGS) -DDFO_DOUBLE
tests_check_neutra_d_LDADD = $(OOM_LIBS) $(TEST_LIBS)

check_PROGRAMS += tests/check_targets tests/check_targets_d
TESTS += tests/check_targets tests/check_targets_d
tests_check_targets_SOURCES = tests/check_targets.c
tests_check_targets_CPPFLAGS = $(TEST_CPPFLAGS)
tests_check_targets_LDADD = $(OOM_LIBS) $(TEST_LIBS)
tests_check_targets_d_SOURCES = tests/check_targets.c
tests_check_targets_d_CPPFLAGS = $(TEST_CPPFLAGS) -DDFO_DOUBLE
tests_check_targets_d_LDADD = $(OOM_LIBS) $(TEST_LIBS)
