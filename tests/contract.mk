# The contract of a layer, over the whole registry.
CONTRACT_BIJECTOR = tests/contract_bijector.c tests/contract_rows.c tests/contract_fix.c tests/contract_maps.c $(TESTRUN)
noinst_HEADERS += tests/contract.h
check_PROGRAMS += tests/contract_bijector tests/contract_bijector_d
TESTS += tests/contract_bijector tests/contract_bijector_d
tests_contract_bijector_SOURCES = $(CONTRACT_BIJECTOR)
tests_contract_bijector_CPPFLAGS = $(TEST_CPPFLAGS)
tests_contract_bijector_LDADD = $(OOM_LIBS) $(TEST_LIBS)
tests_contract_bijector_d_SOURCES = $(CONTRACT_BIJECTOR)
tests_contract_bijector_d_CPPFLAGS = $(TEST_CPPFLAGS) -DDFO_DOUBLE
tests_contract_bijector_d_LDADD = $(OOM_LIBS) $(TEST_LIBS)
