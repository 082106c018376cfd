# Tests see everything, private headers too, and link the folders' own libraries.
TEST_CPPFLAGS = -I$(srcdir)/tests $(SAMPLERS_CPPFLAGS) $(CHECK_CFLAGS) -DDFOI_TESTS_DIR='"$(abs_srcdir)/tests"'
TEST_LIBS = $(FLOOR_LIBS) $(DEP_LIBS) $(CHECK_LIBS)
