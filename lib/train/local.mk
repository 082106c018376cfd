include_diffeo_HEADERS += \
    lib/diffeo/c2st.h \
    lib/diffeo/fit.h \
    lib/diffeo/loss.h \
    lib/diffeo/plan.h
noinst_HEADERS += \
    lib/train/fit_impl.h \
    lib/train/plan_impl.h
LIB_REAL += \
    lib/train/c2st.c \
    lib/train/chunk.c \
    lib/train/ckpt.c \
    lib/train/fit.c \
    lib/train/loss.c \
    lib/train/mean_loss.c \
    lib/train/optim.c \
    lib/train/plan.c
