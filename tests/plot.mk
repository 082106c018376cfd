# Pictures.
check_PROGRAMS += tests/check_plot
TESTS += tests/check_plot
tests_check_plot_SOURCES = tests/check_plot.c
tests_check_plot_CPPFLAGS = $(TEST_CPPFLAGS)
tests_check_plot_LDADD = $(OOM_LIBS) $(TEST_LIBS)
