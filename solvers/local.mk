include_diffeo_HEADERS += \
    solvers/diffeo/brownian.h \
    solvers/diffeo/ddim.h \
    solvers/diffeo/field.h \
    solvers/diffeo/fixpoint.h \
    solvers/diffeo/leapfrog.h \
    solvers/diffeo/netfield.h \
    solvers/diffeo/ode.h \
    solvers/diffeo/path.h \
    solvers/diffeo/reversible.h \
    solvers/diffeo/denoise.h \
    solvers/diffeo/rex.h \
    solvers/diffeo/schedule.h \
    solvers/diffeo/sde.h
noinst_HEADERS += \
    solvers/brownian_impl.h \
    solvers/rk_impl.h \
    solvers/reversible_impl.h \
    solvers/rex_impl.h \
    solvers/sde_impl.h \
    solvers/tableau_impl.h
SOLVERS_REAL = \
    solvers/adjoint.c \
    solvers/tableau.c \
    solvers/control.c \
    solvers/checkpoint.c \
    solvers/ddim.c \
    solvers/dense.c \
    solvers/fixpoint.c \
    solvers/implicit.c \
    solvers/leapfrog.c \
    solvers/netfield.c \
    solvers/noise.c \
    solvers/ode.c \
    solvers/ode_steps.c \
    solvers/ode_backward.c \
    solvers/path.c \
    solvers/reversible.c \
    solvers/reversible_fixed.c \
    solvers/denoise.c \
    solvers/rex.c \
    solvers/rex_fixed.c \
    solvers/rex_step.c \
    solvers/rk.c \
    solvers/schedule.c \
    solvers/schedule_grid.c \
    solvers/sde.c \
    solvers/sde_methods.c \
    solvers/sde_reversible.c
# Compiled once, for double.
SOLVERS_ONCE = \
    solvers/brownian.c
noinst_LTLIBRARIES += libsolvers_f.la libsolvers_d.la
libsolvers_f_la_SOURCES = $(SOLVERS_REAL)
libsolvers_f_la_CPPFLAGS = $(SOLVERS_CPPFLAGS)
libsolvers_d_la_SOURCES = $(SOLVERS_REAL) $(SOLVERS_ONCE)
libsolvers_d_la_CPPFLAGS = $(SOLVERS_CPPFLAGS) -DDFO_DOUBLE
