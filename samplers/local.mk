include_diffeo_HEADERS += \
    samplers/diffeo/diffeo.h \
    samplers/diffeo/latents.h \
    samplers/diffeo/mcmc.h \
    samplers/diffeo/model.h \
    samplers/diffeo/neutra.h \
    samplers/diffeo/targets.h
noinst_HEADERS += \
    samplers/model_impl.h \
    samplers/model_file.h \
    samplers/targets_impl.h
SAMPLERS_REAL = \
    samplers/classifier_model.c \
    samplers/flow_model.c \
    samplers/latents.c \
    samplers/model.c \
    samplers/model_file.c \
    samplers/neutra.c \
    samplers/target_kinds.c \
    samplers/target_logistic.c \
    samplers/targets.c
# They know no reals: compiled once.
SAMPLERS_ONCE = \
    samplers/mcmc.c \
    samplers/mcmc_summary.c \
    samplers/weights.c
noinst_LTLIBRARIES += libsamplers_f.la libsamplers_d.la
libsamplers_f_la_SOURCES = $(SAMPLERS_REAL) $(SAMPLERS_ONCE)
libsamplers_f_la_CPPFLAGS = $(SAMPLERS_CPPFLAGS)
libsamplers_d_la_SOURCES = $(SAMPLERS_REAL)
libsamplers_d_la_CPPFLAGS = $(SAMPLERS_CPPFLAGS) -DDFO_DOUBLE
