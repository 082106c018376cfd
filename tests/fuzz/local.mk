# Fuzz targets: each is a file with LLVMFuzzerTestOneInput.  make check replays the corpora in
# tests/fuzz/corpus/NAME through them; make check-fuzz (configure --enable-fuzz, clang) searches on.
#
# A new target: one block as below, a folder corpus/NAME with a few small valid and broken inputs.
FUZZ_TARGETS =
FUZZ_CPPFLAGS = $(TEST_CPPFLAGS)
FUZZ_LIBS = $(FLOOR_LIBS) $(DEP_LIBS)
if FUZZ
FUZZ_LD = $(AM_LDFLAGS) -fsanitize=fuzzer
FUZZ_MAIN =
else
FUZZ_LD = $(AM_LDFLAGS)
FUZZ_MAIN = tests/fuzz/replay.c
TESTS += $(FUZZ_TARGETS)
endif
check_PROGRAMS += $(FUZZ_TARGETS)
EXTRA_DIST += tests/fuzz/corpus tests/fuzz/run.sh tests/fuzz/replay.c
noinst_HEADERS += tests/fuzz/fuzz.h tests/fuzz/reader.h

FUZZ_TARGETS += tests/fuzz/json
tests_fuzz_json_SOURCES = tests/fuzz/json.c $(FUZZ_MAIN)
tests_fuzz_json_CPPFLAGS = $(FUZZ_CPPFLAGS)
tests_fuzz_json_LDFLAGS = $(FUZZ_LD)
tests_fuzz_json_LDADD = $(FUZZ_LIBS)

FUZZ_TARGETS += tests/fuzz/number
tests_fuzz_number_SOURCES = tests/fuzz/number.c $(FUZZ_MAIN)
tests_fuzz_number_CPPFLAGS = $(FUZZ_CPPFLAGS)
tests_fuzz_number_LDFLAGS = $(FUZZ_LD)
tests_fuzz_number_LDADD = $(FUZZ_LIBS)

FUZZ_TARGETS += tests/fuzz/csv
tests_fuzz_csv_SOURCES = tests/fuzz/csv.c $(FUZZ_MAIN)
tests_fuzz_csv_CPPFLAGS = $(FUZZ_CPPFLAGS)
tests_fuzz_csv_LDFLAGS = $(FUZZ_LD)
tests_fuzz_csv_LDADD = $(FUZZ_LIBS)

FUZZ_TARGETS += tests/fuzz/npy
tests_fuzz_npy_SOURCES = tests/fuzz/npy.c $(FUZZ_MAIN)
tests_fuzz_npy_CPPFLAGS = $(FUZZ_CPPFLAGS)
tests_fuzz_npy_LDFLAGS = $(FUZZ_LD)
tests_fuzz_npy_LDADD = $(FUZZ_LIBS)

FUZZ_TARGETS += tests/fuzz/safetensors
tests_fuzz_safetensors_SOURCES = tests/fuzz/safetensors.c $(FUZZ_MAIN)
tests_fuzz_safetensors_CPPFLAGS = $(FUZZ_CPPFLAGS)
tests_fuzz_safetensors_LDFLAGS = $(FUZZ_LD)
tests_fuzz_safetensors_LDADD = $(FUZZ_LIBS)

FUZZ_TARGETS += tests/fuzz/model
tests_fuzz_model_SOURCES = tests/fuzz/model.c $(FUZZ_MAIN)
tests_fuzz_model_CPPFLAGS = $(FUZZ_CPPFLAGS)
tests_fuzz_model_LDFLAGS = $(FUZZ_LD)
tests_fuzz_model_LDADD = $(FUZZ_LIBS)

FUZZ_TARGETS += tests/fuzz/idx
tests_fuzz_idx_SOURCES = tests/fuzz/idx.c $(FUZZ_MAIN)
tests_fuzz_idx_CPPFLAGS = $(FUZZ_CPPFLAGS)
tests_fuzz_idx_LDFLAGS = $(FUZZ_LD)
tests_fuzz_idx_LDADD = $(FUZZ_LIBS)

FUZZ_TARGETS += tests/fuzz/cifar10
tests_fuzz_cifar10_SOURCES = tests/fuzz/cifar10.c $(FUZZ_MAIN)
tests_fuzz_cifar10_CPPFLAGS = $(FUZZ_CPPFLAGS)
tests_fuzz_cifar10_LDFLAGS = $(FUZZ_LD)
tests_fuzz_cifar10_LDADD = $(FUZZ_LIBS)

FUZZ_TARGETS += tests/fuzz/png
tests_fuzz_png_SOURCES = tests/fuzz/png.c $(FUZZ_MAIN)
tests_fuzz_png_CPPFLAGS = $(FUZZ_CPPFLAGS)
tests_fuzz_png_LDFLAGS = $(FUZZ_LD)
tests_fuzz_png_LDADD = $(FUZZ_LIBS)
