include_diffeo_HEADERS += \
    lib/diffeo/loss.h \
    lib/diffeo/plan.h
noinst_HEADERS += \
    lib/train/plan_impl.h
LIB_REAL += \
    lib/train/loss.c \
    lib/train/plan.c
