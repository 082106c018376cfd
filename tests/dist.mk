# Densities: reference vectors and refusals; the contract; laws.
noinst_HEADERS += tests/distfix.h
check_PROGRAMS += tests/check_dist tests/check_dist_d
TESTS += tests/check_dist tests/check_dist_d
tests_check_dist_SOURCES = tests/check_dist.c tests/distfix.c $(REFERENCE)
tests_check_dist_CPPFLAGS = $(TEST_CPPFLAGS)
tests_check_dist_LDADD = $(TEST_LIBS)
tests_check_dist_d_SOURCES = $(tests_check_dist_SOURCES)
tests_check_dist_d_CPPFLAGS = $(TEST_CPPFLAGS) -DDFO_DOUBLE
tests_check_dist_d_LDADD = $(TEST_LIBS)
noinst_HEADERS += tests/distconf.h
check_PROGRAMS += tests/contract_dist tests/contract_dist_d tests/contract_dist_law tests/contract_dist_law_d
TESTS += tests/contract_dist tests/contract_dist_d tests/contract_dist_law tests/contract_dist_law_d
tests_contract_dist_SOURCES = tests/contract_dist.c tests/distfix.c tests/distconf.c
tests_contract_dist_CPPFLAGS = $(TEST_CPPFLAGS)
tests_contract_dist_LDADD = $(OOM_LIBS) $(TEST_LIBS)
tests_contract_dist_d_SOURCES = $(tests_contract_dist_SOURCES)
tests_contract_dist_d_CPPFLAGS = $(TEST_CPPFLAGS) -DDFO_DOUBLE
tests_contract_dist_d_LDADD = $(OOM_LIBS) $(TEST_LIBS)
tests_contract_dist_law_SOURCES = tests/contract_dist_law.c tests/distfix.c tests/distconf.c
tests_contract_dist_law_CPPFLAGS = $(TEST_CPPFLAGS)
tests_contract_dist_law_LDADD = $(TEST_LIBS)
tests_contract_dist_law_d_SOURCES = $(tests_contract_dist_law_SOURCES)
tests_contract_dist_law_d_CPPFLAGS = $(TEST_CPPFLAGS) -DDFO_DOUBLE
tests_contract_dist_law_d_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/check_markov tests/check_markov_d
TESTS += tests/check_markov tests/check_markov_d
tests_check_markov_SOURCES = tests/check_markov.c tests/distfix.c
tests_check_markov_CPPFLAGS = $(TEST_CPPFLAGS)
tests_check_markov_LDADD = $(TEST_LIBS)
tests_check_markov_d_SOURCES = $(tests_check_markov_SOURCES)
tests_check_markov_d_CPPFLAGS = $(TEST_CPPFLAGS) -DDFO_DOUBLE
tests_check_markov_d_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/check_resampled tests/check_resampled_d
TESTS += tests/check_resampled tests/check_resampled_d
tests_check_resampled_SOURCES = tests/check_resampled.c tests/distfix.c
tests_check_resampled_CPPFLAGS = $(TEST_CPPFLAGS)
tests_check_resampled_LDADD = $(TEST_LIBS)
tests_check_resampled_d_SOURCES = $(tests_check_resampled_SOURCES)
tests_check_resampled_d_CPPFLAGS = $(TEST_CPPFLAGS) -DDFO_DOUBLE
tests_check_resampled_d_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/check_distance
TESTS += tests/check_distance
tests_check_distance_SOURCES = tests/check_distance.c
tests_check_distance_CPPFLAGS = $(TEST_CPPFLAGS)
tests_check_distance_LDADD = $(OOM_LIBS) $(TEST_LIBS)

check_PROGRAMS += tests/check_forecast
TESTS += tests/check_forecast
tests_check_forecast_SOURCES = tests/check_forecast.c
tests_check_forecast_CPPFLAGS = $(TEST_CPPFLAGS)
tests_check_forecast_LDADD = $(OOM_LIBS) $(TEST_LIBS)

check_PROGRAMS += tests/check_normality
TESTS += tests/check_normality
tests_check_normality_SOURCES = tests/check_normality.c
tests_check_normality_CPPFLAGS = $(TEST_CPPFLAGS)
tests_check_normality_LDADD = $(OOM_LIBS) $(TEST_LIBS)
