noinst_HEADERS += \
    lib/math/gemm_impl.h \
    lib/math/kern_impl.h
