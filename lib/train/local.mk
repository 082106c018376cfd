include_diffeo_HEADERS += \
    lib/diffeo/store.h \
    lib/diffeo/loss.h \
    lib/diffeo/plan.h
noinst_HEADERS += \
    lib/train/plan_impl.h
LIB_REAL += \
    lib/train/store.c \
    lib/train/build.c \
    lib/train/plan.c
