include_diffeo_HEADERS += \
    lib/diffeo/source.h
noinst_HEADERS += \
    lib/data/safetensors_impl.h
