include_diffeo_HEADERS += \
    lib/diffeo/source.h \
    lib/diffeo/words.h
noinst_HEADERS += \
    lib/data/source_impl.h \
    lib/data/table_impl.h \
    lib/data/sink_impl.h \
    lib/data/words_impl.h \
    lib/data/toy_impl.h \
    lib/data/idx_impl.h \
    lib/data/pixels_impl.h \
    lib/data/safetensors_impl.h
LIB_ONCE += \
    lib/data/columns.c \
    lib/data/csv.c \
    lib/data/words.c \
    lib/data/idx_header.c \
    lib/data/npy_header.c \
    lib/data/safetensors.c \
    lib/data/safetensors_write.c
LIB_REAL += \
    lib/data/source.c \
    lib/data/view.c \
    lib/data/frame.c \
    lib/data/join.c \
    lib/data/labels.c \
    lib/data/registry.c \
    lib/data/read_csv.c \
    lib/data/read_npy.c \
    lib/data/pixels.c \
    lib/data/read_idx.c \
    lib/data/read_cifar.c \
    lib/data/read_png.c \
    lib/data/toy.c \
    lib/data/toy_kinds.c \
    lib/data/sink.c \
    lib/data/sink_images.c
EXTRA_DIST += lib/data/README.md
