include_diffeo_HEADERS += \
    lib/diffeo/rng.h
noinst_HEADERS += \
    lib/math/gemm_impl.h \
    lib/math/kern_impl.h
