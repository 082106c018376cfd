include_diffeo_HEADERS += \
    lib/diffeo/status.h \
    lib/diffeo/ctx.h \
    lib/diffeo/real.h \
    lib/diffeo/batch.h \
    lib/diffeo/rng.h \
    lib/diffeo/run.h \
    lib/diffeo/store.h \
    lib/diffeo/build.h
noinst_HEADERS += \
    lib/base/ctx_impl.h \
    lib/base/cpu_impl.h \
    lib/base/ctx_state.h \
    lib/base/real_impl.h \
    lib/base/par_impl.h \
    lib/base/file_impl.h \
    lib/base/file_state.h \
    lib/base/json_impl.h \
    lib/base/parse_impl.h \
    lib/base/folder_impl.h \
    lib/base/png_impl.h
LIB_ONCE += \
    lib/base/status.c \
    lib/base/ctx.c \
    lib/base/mem.c \
    lib/base/cpu.c \
    lib/base/json.c \
    lib/base/file.c \
    lib/base/file_disk.c \
    lib/base/file_gzip.c \
    lib/base/file_memory.c \
    lib/base/file_atomic.c \
    lib/base/folder.c \
    lib/base/png.c \
    lib/base/png_grid.c \
    lib/base/parse.c \
    lib/base/format.c \
    lib/base/par.c
LIB_REAL += \
    lib/base/run.c \
    lib/base/store.c \
    lib/base/build.c
