# Tests of the folder solvers.
noinst_HEADERS += tests/ctxfix.h tests/odefields.h tests/sdefields.h
check_PROGRAMS += tests/check_ode tests/check_ode_d
TESTS += tests/check_ode tests/check_ode_d
tests_check_ode_SOURCES = tests/check_ode.c tests/odefields.c $(REFERENCE)
tests_check_ode_CPPFLAGS = $(TEST_CPPFLAGS)
tests_check_ode_LDADD = $(TEST_LIBS)
tests_check_ode_d_SOURCES = $(tests_check_ode_SOURCES)
tests_check_ode_d_CPPFLAGS = $(TEST_CPPFLAGS) -DDFO_DOUBLE
tests_check_ode_d_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/check_estimates tests/check_estimates_d
TESTS += tests/check_estimates tests/check_estimates_d
tests_check_estimates_SOURCES = tests/check_estimates.c tests/odefields.c $(REFERENCE)
tests_check_estimates_CPPFLAGS = $(TEST_CPPFLAGS)
tests_check_estimates_LDADD = $(TEST_LIBS)
tests_check_estimates_d_SOURCES = $(tests_check_estimates_SOURCES)
tests_check_estimates_d_CPPFLAGS = $(TEST_CPPFLAGS) -DDFO_DOUBLE
tests_check_estimates_d_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/check_reversible tests/check_reversible_d
TESTS += tests/check_reversible tests/check_reversible_d
tests_check_reversible_SOURCES = tests/check_reversible.c tests/odefields.c $(REFERENCE)
tests_check_reversible_CPPFLAGS = $(TEST_CPPFLAGS)
tests_check_reversible_LDADD = $(TEST_LIBS)
tests_check_reversible_d_SOURCES = $(tests_check_reversible_SOURCES)
tests_check_reversible_d_CPPFLAGS = $(TEST_CPPFLAGS) -DDFO_DOUBLE
tests_check_reversible_d_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/check_adjoint tests/check_adjoint_d
TESTS += tests/check_adjoint tests/check_adjoint_d
tests_check_adjoint_SOURCES = tests/check_adjoint.c tests/odefields.c $(REFERENCE)
tests_check_adjoint_CPPFLAGS = $(TEST_CPPFLAGS)
tests_check_adjoint_LDADD = $(TEST_LIBS)
tests_check_adjoint_d_SOURCES = $(tests_check_adjoint_SOURCES)
tests_check_adjoint_d_CPPFLAGS = $(TEST_CPPFLAGS) -DDFO_DOUBLE
tests_check_adjoint_d_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/check_orders
TESTS += tests/check_orders
tests_check_orders_SOURCES = tests/check_orders.c
tests_check_orders_CPPFLAGS = $(TEST_CPPFLAGS) -DDFO_DOUBLE
tests_check_orders_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/check_fixpoint tests/check_fixpoint_d
TESTS += tests/check_fixpoint tests/check_fixpoint_d
tests_check_fixpoint_SOURCES = tests/check_fixpoint.c
tests_check_fixpoint_CPPFLAGS = $(TEST_CPPFLAGS)
tests_check_fixpoint_LDADD = $(TEST_LIBS)
tests_check_fixpoint_d_SOURCES = $(tests_check_fixpoint_SOURCES)
tests_check_fixpoint_d_CPPFLAGS = $(TEST_CPPFLAGS) -DDFO_DOUBLE
tests_check_fixpoint_d_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/check_leapfrog tests/check_leapfrog_d
TESTS += tests/check_leapfrog tests/check_leapfrog_d
tests_check_leapfrog_SOURCES = tests/check_leapfrog.c
tests_check_leapfrog_CPPFLAGS = $(TEST_CPPFLAGS)
tests_check_leapfrog_LDADD = $(TEST_LIBS)
tests_check_leapfrog_d_SOURCES = $(tests_check_leapfrog_SOURCES)
tests_check_leapfrog_d_CPPFLAGS = $(TEST_CPPFLAGS) -DDFO_DOUBLE
tests_check_leapfrog_d_LDADD = $(TEST_LIBS)
check_PROGRAMS += tests/check_brownian
TESTS += tests/check_brownian
tests_check_brownian_SOURCES = tests/check_brownian.c $(REFERENCE)
tests_check_brownian_CPPFLAGS = $(TEST_CPPFLAGS)
tests_check_brownian_LDADD = $(OOM_LIBS) $(TEST_LIBS)

check_PROGRAMS += tests/check_sde tests/check_sde_d
TESTS += tests/check_sde tests/check_sde_d
tests_check_sde_SOURCES = tests/check_sde.c tests/sdefields.c $(REFERENCE)
tests_check_sde_CPPFLAGS = $(TEST_CPPFLAGS)
tests_check_sde_LDADD = $(OOM_LIBS) $(TEST_LIBS)
tests_check_sde_d_SOURCES = $(tests_check_sde_SOURCES)
tests_check_sde_d_CPPFLAGS = $(TEST_CPPFLAGS) -DDFO_DOUBLE
tests_check_sde_d_LDADD = $(OOM_LIBS) $(TEST_LIBS)

check_PROGRAMS += tests/check_sde_orders tests/check_sde_orders_d
TESTS += tests/check_sde_orders tests/check_sde_orders_d
tests_check_sde_orders_SOURCES = tests/check_sde_orders.c tests/sdefields.c
tests_check_sde_orders_CPPFLAGS = $(TEST_CPPFLAGS)
tests_check_sde_orders_LDADD = $(TEST_LIBS)
tests_check_sde_orders_d_SOURCES = $(tests_check_sde_orders_SOURCES)
tests_check_sde_orders_d_CPPFLAGS = $(TEST_CPPFLAGS) -DDFO_DOUBLE
tests_check_sde_orders_d_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/check_sde_reversible tests/check_sde_reversible_d
TESTS += tests/check_sde_reversible tests/check_sde_reversible_d
tests_check_sde_reversible_SOURCES = tests/check_sde_reversible.c tests/odefields.c tests/sdefields.c $(REFERENCE)
tests_check_sde_reversible_CPPFLAGS = $(TEST_CPPFLAGS)
tests_check_sde_reversible_LDADD = $(TEST_LIBS)
tests_check_sde_reversible_d_SOURCES = $(tests_check_sde_reversible_SOURCES)
tests_check_sde_reversible_d_CPPFLAGS = $(TEST_CPPFLAGS) -DDFO_DOUBLE
tests_check_sde_reversible_d_LDADD = $(TEST_LIBS)
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

check_PROGRAMS += tests/check_denoise tests/check_denoise_d
TESTS += tests/check_denoise tests/check_denoise_d
tests_check_denoise_SOURCES = tests/check_denoise.c $(MIXFIELD) $(REFERENCE)
tests_check_denoise_CPPFLAGS = $(TEST_CPPFLAGS)
tests_check_denoise_LDADD = $(OOM_LIBS) $(TEST_LIBS)
tests_check_denoise_d_SOURCES = $(tests_check_denoise_SOURCES)
tests_check_denoise_d_CPPFLAGS = $(TEST_CPPFLAGS) -DDFO_DOUBLE
tests_check_denoise_d_LDADD = $(OOM_LIBS) $(TEST_LIBS)

check_PROGRAMS += tests/check_likelihood
TESTS += tests/check_likelihood
tests_check_likelihood_SOURCES = tests/check_likelihood.c $(MIXFIELD) $(REFERENCE)
tests_check_likelihood_CPPFLAGS = $(TEST_CPPFLAGS) -DDFO_DOUBLE
tests_check_likelihood_LDADD = $(TEST_LIBS)
