include_diffeo_HEADERS += \
    solvers/diffeo/field.h \
    solvers/diffeo/netfield.h \
    solvers/diffeo/ode.h \
    solvers/diffeo/path.h \
    solvers/diffeo/reversible.h
noinst_HEADERS += \
    solvers/rk_impl.h \
    solvers/reversible_impl.h \
    solvers/tableau_impl.h
SOLVERS_REAL = \
    solvers/tableau.c \
    solvers/control.c \
    solvers/checkpoint.c \
    solvers/dense.c \
    solvers/path.c \
    solvers/netfield.c \
    solvers/implicit.c \
    solvers/rk.c \
    solvers/ode.c \
    solvers/ode_backward.c \
    solvers/reversible.c \
    solvers/reversible_fixed.c
noinst_LTLIBRARIES += libsolvers_f.la libsolvers_d.la
libsolvers_f_la_SOURCES = $(SOLVERS_REAL)
libsolvers_f_la_CPPFLAGS = $(SOLVERS_CPPFLAGS)
libsolvers_d_la_SOURCES = $(SOLVERS_REAL)
libsolvers_d_la_CPPFLAGS = $(SOLVERS_CPPFLAGS) -DDFO_DOUBLE
