# The contract of a layer, over the whole registry.
CONTRACT_BIJECTOR = tests/contract_bijector.c tests/contract_rows.c tests/contract_rows_increasing.c tests/contract_rows_sphere.c tests/contract_rows_columns.c tests/contract_fix.c \
    tests/contract_maps.c \
    tests/contract_grads.c tests/contract_plans.c tests/contract_making.c $(TESTRUN)
noinst_HEADERS += tests/contract.h tests/contract_rows.h tests/contract_twin.h
check_LTLIBRARIES += tests/libtwin.la
tests_libtwin_la_SOURCES = tests/contract_twin.c
tests_libtwin_la_CPPFLAGS = $(TEST_CPPFLAGS) -DDFO_DOUBLE
check_PROGRAMS += tests/contract_bijector tests/contract_bijector_d
TESTS += tests/contract_bijector tests/contract_bijector_d
tests_contract_bijector_SOURCES = $(CONTRACT_BIJECTOR)
tests_contract_bijector_CPPFLAGS = $(TEST_CPPFLAGS)
tests_contract_bijector_LDADD = tests/libtwin.la $(OOM_LIBS) $(TEST_LIBS)
tests_contract_bijector_d_SOURCES = $(CONTRACT_BIJECTOR)
tests_contract_bijector_d_CPPFLAGS = $(TEST_CPPFLAGS) -DDFO_DOUBLE
tests_contract_bijector_d_LDADD = $(OOM_LIBS) $(TEST_LIBS)

check_PROGRAMS += tests/check_verify tests/check_verify_d
TESTS += tests/check_verify tests/check_verify_d
tests_check_verify_SOURCES = tests/check_verify.c
tests_check_verify_CPPFLAGS = $(TEST_CPPFLAGS)
tests_check_verify_LDADD = $(OOM_LIBS) $(TEST_LIBS)
tests_check_verify_d_SOURCES = $(tests_check_verify_SOURCES)
tests_check_verify_d_CPPFLAGS = $(TEST_CPPFLAGS) -DDFO_DOUBLE
tests_check_verify_d_LDADD = $(OOM_LIBS) $(TEST_LIBS)

check_PROGRAMS += tests/check_latents tests/check_latents_d
TESTS += tests/check_latents tests/check_latents_d
tests_check_latents_SOURCES = tests/check_latents.c
tests_check_latents_CPPFLAGS = $(TEST_CPPFLAGS)
tests_check_latents_LDADD = $(OOM_LIBS) $(TEST_LIBS)
tests_check_latents_d_SOURCES = $(tests_check_latents_SOURCES)
tests_check_latents_d_CPPFLAGS = $(TEST_CPPFLAGS) -DDFO_DOUBLE
tests_check_latents_d_LDADD = $(OOM_LIBS) $(TEST_LIBS)

check_PROGRAMS += tests/check_flow tests/check_flow_d
TESTS += tests/check_flow tests/check_flow_d
tests_check_flow_SOURCES = tests/check_flow.c
tests_check_flow_CPPFLAGS = $(TEST_CPPFLAGS)
tests_check_flow_LDADD = $(TEST_LIBS)
tests_check_flow_d_SOURCES = $(tests_check_flow_SOURCES)
tests_check_flow_d_CPPFLAGS = $(TEST_CPPFLAGS) -DDFO_DOUBLE
tests_check_flow_d_LDADD = $(TEST_LIBS)

# Conditions that flows standardise.
noinst_HEADERS += tests/contextfix.h
CONTEXTFIX = tests/contextfix.c
check_PROGRAMS += tests/check_context tests/check_context_d
TESTS += tests/check_context tests/check_context_d
tests_check_context_SOURCES = tests/check_context.c $(CONTEXTFIX)
tests_check_context_CPPFLAGS = $(TEST_CPPFLAGS)
tests_check_context_LDADD = $(OOM_LIBS) $(TEST_LIBS)
tests_check_context_d_SOURCES = $(tests_check_context_SOURCES)
tests_check_context_d_CPPFLAGS = $(TEST_CPPFLAGS) -DDFO_DOUBLE
tests_check_context_d_LDADD = $(OOM_LIBS) $(TEST_LIBS)

check_PROGRAMS += tests/check_context_config tests/check_context_config_d
TESTS += tests/check_context_config tests/check_context_config_d
tests_check_context_config_SOURCES = tests/check_context_config.c $(CONTEXTFIX)
tests_check_context_config_CPPFLAGS = $(TEST_CPPFLAGS)
tests_check_context_config_LDADD = $(OOM_LIBS) $(TEST_LIBS)
tests_check_context_config_d_SOURCES = $(tests_check_context_config_SOURCES)
tests_check_context_config_d_CPPFLAGS = $(TEST_CPPFLAGS) -DDFO_DOUBLE
tests_check_context_config_d_LDADD = $(OOM_LIBS) $(TEST_LIBS)
