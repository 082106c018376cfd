# Tests of nets.
NETCASE = tests/netcase.c $(TESTRUN)
noinst_HEADERS += tests/netcase.h
check_PROGRAMS += tests/contract_net tests/contract_net_d
TESTS += tests/contract_net tests/contract_net_d
tests_contract_net_SOURCES = tests/contract_net.c $(NETCASE)
tests_contract_net_CPPFLAGS = $(TEST_CPPFLAGS)
tests_contract_net_LDADD = $(OOM_LIBS) $(TEST_LIBS)
tests_contract_net_d_SOURCES = $(tests_contract_net_SOURCES)
tests_contract_net_d_CPPFLAGS = $(TEST_CPPFLAGS) -DDFO_DOUBLE
tests_contract_net_d_LDADD = $(OOM_LIBS) $(TEST_LIBS)

check_PROGRAMS += tests/check_net tests/check_net_d
TESTS += tests/check_net tests/check_net_d
tests_check_net_SOURCES = tests/check_net.c $(NETCASE)
tests_check_net_CPPFLAGS = $(TEST_CPPFLAGS)
tests_check_net_LDADD = $(OOM_LIBS) $(TEST_LIBS)
tests_check_net_d_SOURCES = $(tests_check_net_SOURCES)
tests_check_net_d_CPPFLAGS = $(TEST_CPPFLAGS) -DDFO_DOUBLE
tests_check_net_d_LDADD = $(OOM_LIBS) $(TEST_LIBS)

check_PROGRAMS += tests/check_net_path tests/check_net_path_d
TESTS += tests/check_net_path tests/check_net_path_d
tests_check_net_path_SOURCES = tests/check_net_path.c $(NETCASE)
tests_check_net_path_CPPFLAGS = $(TEST_CPPFLAGS)
tests_check_net_path_LDADD = $(TEST_LIBS)
tests_check_net_path_d_SOURCES = $(tests_check_net_path_SOURCES)
tests_check_net_path_d_CPPFLAGS = $(TEST_CPPFLAGS) -DDFO_DOUBLE
tests_check_net_path_d_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/check_time_net tests/check_time_net_d
TESTS += tests/check_time_net tests/check_time_net_d
tests_check_time_net_SOURCES = tests/check_time_net.c $(NETCASE)
tests_check_time_net_CPPFLAGS = $(TEST_CPPFLAGS)
tests_check_time_net_LDADD = $(OOM_LIBS) $(TEST_LIBS)
tests_check_time_net_d_SOURCES = $(tests_check_time_net_SOURCES)
tests_check_time_net_d_CPPFLAGS = $(TEST_CPPFLAGS) -DDFO_DOUBLE
tests_check_time_net_d_LDADD = $(OOM_LIBS) $(TEST_LIBS)

check_PROGRAMS += tests/check_time_trace tests/check_time_trace_d
TESTS += tests/check_time_trace tests/check_time_trace_d
tests_check_time_trace_SOURCES = tests/check_time_trace.c $(NETCASE)
tests_check_time_trace_CPPFLAGS = $(TEST_CPPFLAGS)
tests_check_time_trace_LDADD = $(TEST_LIBS)
tests_check_time_trace_d_SOURCES = $(tests_check_time_trace_SOURCES)
tests_check_time_trace_d_CPPFLAGS = $(TEST_CPPFLAGS) -DDFO_DOUBLE
tests_check_time_trace_d_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/check_time_net_config tests/check_time_net_config_d
TESTS += tests/check_time_net_config tests/check_time_net_config_d
tests_check_time_net_config_SOURCES = tests/check_time_net_config.c $(NETCASE)
tests_check_time_net_config_CPPFLAGS = $(TEST_CPPFLAGS)
tests_check_time_net_config_LDADD = $(OOM_LIBS) $(TEST_LIBS)
tests_check_time_net_config_d_SOURCES = $(tests_check_time_net_config_SOURCES)
tests_check_time_net_config_d_CPPFLAGS = $(TEST_CPPFLAGS) -DDFO_DOUBLE
tests_check_time_net_config_d_LDADD = $(OOM_LIBS) $(TEST_LIBS)

check_PROGRAMS += tests/check_conv tests/check_conv_d
TESTS += tests/check_conv tests/check_conv_d
tests_check_conv_SOURCES = tests/check_conv.c $(NETCASE)
tests_check_conv_CPPFLAGS = $(TEST_CPPFLAGS)
tests_check_conv_LDADD = $(OOM_LIBS) $(TEST_LIBS)
tests_check_conv_d_SOURCES = $(tests_check_conv_SOURCES)
tests_check_conv_d_CPPFLAGS = $(TEST_CPPFLAGS) -DDFO_DOUBLE
tests_check_conv_d_LDADD = $(OOM_LIBS) $(TEST_LIBS)

check_PROGRAMS += tests/check_conv_config tests/check_conv_config_d
TESTS += tests/check_conv_config tests/check_conv_config_d
tests_check_conv_config_SOURCES = tests/check_conv_config.c $(NETCASE)
tests_check_conv_config_CPPFLAGS = $(TEST_CPPFLAGS)
tests_check_conv_config_LDADD = $(OOM_LIBS) $(TEST_LIBS)
tests_check_conv_config_d_SOURCES = $(tests_check_conv_config_SOURCES)
tests_check_conv_config_d_CPPFLAGS = $(TEST_CPPFLAGS) -DDFO_DOUBLE
tests_check_conv_config_d_LDADD = $(OOM_LIBS) $(TEST_LIBS)

check_PROGRAMS += tests/check_batch_flow tests/check_batch_flow_d
TESTS += tests/check_batch_flow tests/check_batch_flow_d
tests_check_batch_flow_SOURCES = tests/check_batch_flow.c
tests_check_batch_flow_CPPFLAGS = $(TEST_CPPFLAGS)
tests_check_batch_flow_LDADD = $(TEST_LIBS)
tests_check_batch_flow_d_SOURCES = $(tests_check_batch_flow_SOURCES)
tests_check_batch_flow_d_CPPFLAGS = $(TEST_CPPFLAGS) -DDFO_DOUBLE
tests_check_batch_flow_d_LDADD = $(TEST_LIBS)

noinst_HEADERS += tests/bench/peak.h
EXTRA_PROGRAMS += tests/bench/bench_net tests/bench/bench_net_d
tests_bench_bench_net_SOURCES = tests/bench/bench_net.c
tests_bench_bench_net_CPPFLAGS = $(TEST_CPPFLAGS)
tests_bench_bench_net_LDADD = $(FLOOR_LIBS) $(DEP_LIBS)
tests_bench_bench_net_d_SOURCES = tests/bench/bench_net.c
tests_bench_bench_net_d_CPPFLAGS = $(TEST_CPPFLAGS) -DDFO_DOUBLE
tests_bench_bench_net_d_LDADD = $(FLOOR_LIBS) $(DEP_LIBS)
EXTRA_PROGRAMS += tests/bench/bench_conv tests/bench/bench_conv_d
tests_bench_bench_conv_SOURCES = tests/bench/bench_conv.c
tests_bench_bench_conv_CPPFLAGS = $(TEST_CPPFLAGS)
tests_bench_bench_conv_LDADD = $(FLOOR_LIBS) $(DEP_LIBS)
tests_bench_bench_conv_d_SOURCES = tests/bench/bench_conv.c
tests_bench_bench_conv_d_CPPFLAGS = $(TEST_CPPFLAGS) -DDFO_DOUBLE
tests_bench_bench_conv_d_LDADD = $(FLOOR_LIBS) $(DEP_LIBS)
bench-conv: tests/bench/bench_conv$(EXEEXT) tests/bench/bench_conv_d$(EXEEXT)
	tests/bench/bench_conv$(EXEEXT)
	tests/bench/bench_conv_d$(EXEEXT)
bench-net: tests/bench/bench_net$(EXEEXT) tests/bench/bench_net_d$(EXEEXT)
	tests/bench/bench_net$(EXEEXT)
	tests/bench/bench_net_d$(EXEEXT)
.PHONY: bench-net bench-conv
