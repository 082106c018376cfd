# The benchmark of flows (make bench), and the peers beside it (make bench-peers); whole processes are timed without
# the script that libtool puts before the program.
EXTRA_PROGRAMS += tests/bench/bench
tests_bench_bench_SOURCES = tests/bench/bench.c tests/bench/timed_fit.c tests/bench/timed_fit.h tests/bench/timing.c tests/bench/timing.h
tests_bench_bench_CPPFLAGS = $(TEST_CPPFLAGS)
tests_bench_bench_LDADD = $(FLOOR_LIBS) $(DEP_LIBS)
EXTRA_PROGRAMS += tests/bench/bench_irevnet
tests_bench_bench_irevnet_SOURCES = tests/bench/bench_irevnet.c tests/bench/timing.c tests/bench/timing.h
tests_bench_bench_irevnet_CPPFLAGS = $(TEST_CPPFLAGS)
tests_bench_bench_irevnet_LDADD = $(FLOOR_LIBS) $(DEP_LIBS)
EXTRA_PROGRAMS += tests/bench/bench_diffusion
tests_bench_bench_diffusion_SOURCES = tests/bench/bench_diffusion.c tests/bench/timed_fit.c tests/bench/timed_fit.h tests/bench/timing.c tests/bench/timing.h
tests_bench_bench_diffusion_CPPFLAGS = $(TEST_CPPFLAGS)
tests_bench_bench_diffusion_LDADD = $(FLOOR_LIBS) $(DEP_LIBS)
EXTRA_PROGRAMS += tests/bench/bench_sides
tests_bench_bench_sides_SOURCES = tests/bench/bench_sides.c tests/bench/timing.c tests/bench/timing.h
tests_bench_bench_sides_CPPFLAGS = $(TEST_CPPFLAGS)
tests_bench_bench_sides_LDADD = $(FLOOR_LIBS) $(DEP_LIBS)
EXTRA_DIST += tests/bench/peers/README.md tests/bench/peers/common.py tests/bench/peers/w1_coupling.py \
    tests/bench/peers/w2_spline_maf.py tests/bench/peers/w3_glow.py tests/bench/peers/w4_ffjord.py tests/bench/peers/dopri5_torch.py tests/bench/peers/w5_invconv.py tests/bench/peers/w6_irevnet.py tests/bench/peers/w7_diffusion.py \
    tests/bench/peers/run.py tests/bench/peers/startup.py

bench: tests/bench/bench$(EXEEXT) tests/bench/bench_irevnet$(EXEEXT) tests/bench/bench_diffusion$(EXEEXT)
	. $(srcdir)/tests/env.sh; tests/bench/bench$(EXEEXT) --threads 1
	. $(srcdir)/tests/env.sh; tests/bench/bench$(EXEEXT) --threads 2
	. $(srcdir)/tests/env.sh; tests/bench/bench$(EXEEXT) --memory
	. $(srcdir)/tests/env.sh; tests/bench/bench_irevnet$(EXEEXT) --threads 1
	. $(srcdir)/tests/env.sh; tests/bench/bench_irevnet$(EXEEXT) --threads 2
	. $(srcdir)/tests/env.sh; tests/bench/bench_diffusion$(EXEEXT) --threads 1
	. $(srcdir)/tests/env.sh; tests/bench/bench_diffusion$(EXEEXT) --threads 2
bench-peers: tests/bench/bench$(EXEEXT) tests/bench/bench_irevnet$(EXEEXT) tests/bench/bench_diffusion$(EXEEXT) diffeo$(EXEEXT)
	/usr/bin/python3 $(srcdir)/tests/bench/peers/run.py --ours tests/bench/bench$(EXEEXT)
	LD_LIBRARY_PATH=.libs /usr/bin/python3 $(srcdir)/tests/bench/peers/startup.py --ours .libs/diffeo$(EXEEXT)
.PHONY: bench bench-peers
