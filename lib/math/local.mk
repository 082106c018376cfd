include_diffeo_HEADERS += lib/diffeo/filter.h
noinst_HEADERS += \
    lib/math/gemm_impl.h \
    lib/math/kern_impl.h \
    lib/math/kern_table.h \
    lib/math/isa_impl.h \
    lib/math/fun_impl.h \
    lib/math/fft_impl.h \
    lib/math/assign_impl.h \
    lib/math/lapack_impl.h \
    lib/math/linalg_impl.h \
    lib/math/lanes_impl.h \
    lib/math/philox_impl.h \
    lib/math/quadrature_impl.h \
    lib/math/root_impl.h \
    lib/math/spectral_impl.h \
    lib/math/vec_impl.h \
    lib/math/polynomials_impl.h \
    lib/math/sigmoids_impl.h \
    lib/math/spline_impl.h
LIB_ONCE += \
    lib/math/assign.c \
    lib/math/root.c
LIB_REAL += \
    lib/math/dispatch.c \
    lib/math/fft.c \
    lib/math/filter.c \
    lib/math/linalg.c \
    lib/math/rng.c \
    lib/math/spectral.c \
    lib/math/spline.c
LIB_KERN += \
    lib/math/kern.c \
    lib/math/kern_act.c \
    lib/math/kern_step.c \
    lib/math/kern_draw.c \
    lib/math/panel_kern.c \
    lib/math/polynomials_kern.c \
    lib/math/sigmoids_kern.c \
    lib/math/spline_kern.c
LIB_GEMM += \
    lib/math/complex_kern.c \
    lib/math/gemm_kern.c
EXTRA_DIST += lib/math/README.md
