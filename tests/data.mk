# Files, numbers, data sets, safetensors.
check_PROGRAMS += tests/check_parse tests/check_file
TESTS += tests/check_parse tests/check_file
tests_check_parse_SOURCES = tests/check_parse.c
tests_check_parse_CPPFLAGS = $(TEST_CPPFLAGS)
tests_check_parse_LDADD = $(TEST_LIBS)
tests_check_file_SOURCES = tests/check_file.c
tests_check_file_CPPFLAGS = $(TEST_CPPFLAGS)
tests_check_file_LDADD = $(OOM_LIBS) $(TEST_LIBS)
