include_diffeo_HEADERS += \
    lib/diffeo/dist.h
LIB_REAL += \
    lib/dist/dist.c \
    lib/dist/registry.c \
    lib/dist/normal.c
