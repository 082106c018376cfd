include_diffeo_HEADERS += \
    lib/diffeo/plot.h
noinst_HEADERS += \
    lib/plot/axis_impl.h \
    lib/plot/canvas_impl.h \
    lib/plot/colour_impl.h \
    lib/plot/series_impl.h
LIB_ONCE += \
    lib/plot/axis.c \
    lib/plot/images.c
if HAVE_CAIRO
LIB_ONCE += \
    lib/plot/colour.c \
    lib/plot/canvas.c \
    lib/plot/frame.c \
    lib/plot/shapes.c \
    lib/plot/map.c \
    lib/plot/corner.c \
    lib/plot/curves.c \
    lib/plot/histogram.c
else
LIB_ONCE += \
    lib/plot/none.c
endif
EXTRA_DIST += lib/plot/README.md
