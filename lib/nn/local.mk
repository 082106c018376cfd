include_diffeo_HEADERS += \
    lib/diffeo/net.h
LIB_REAL += \
    lib/nn/net.c \
    lib/nn/registry.c
