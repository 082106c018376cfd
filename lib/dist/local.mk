include_diffeo_HEADERS += \
    lib/diffeo/calibration.h \
    lib/diffeo/dist.h \
    lib/diffeo/distance.h \
    lib/diffeo/forecast.h \
    lib/diffeo/normality.h \
    lib/diffeo/target.h
noinst_HEADERS += \
    lib/dist/dist_impl.h \
    lib/dist/distance_impl.h \
    lib/dist/markov_impl.h \
    lib/dist/special_impl.h \
    lib/dist/tail_impl.h
LIB_ONCE += \
    lib/dist/calibration.c \
    lib/dist/distance.c \
    lib/dist/forecast.c \
    lib/dist/normality.c \
    lib/dist/pairs.c \
    lib/dist/sliced.c \
    lib/dist/special.c \
    lib/dist/tail.c
LIB_REAL += \
    lib/dist/dist.c \
    lib/dist/registry.c \
    lib/dist/param.c \
    lib/dist/location_scale.c \
    lib/dist/normal_full.c \
    lib/dist/box.c \
    lib/dist/student.c \
    lib/dist/mixture.c \
    lib/dist/conditional.c \
    lib/dist/resampled.c \
    lib/dist/markov.c \
    lib/dist/markov_binary.c \
    lib/dist/markov_gaussian.c \
    lib/dist/markov_rows.c
EXTRA_DIST += lib/dist/README.md
