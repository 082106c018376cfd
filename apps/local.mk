# The program: public headers alone; commands are compiled twice, for --precision; exact.c in double alone.
noinst_HEADERS += \
    apps/cmd.h \
    apps/plot_images.h \
    apps/plot_sphere.h \
    apps/exact.h \
    apps/verify.h \
    apps/rex.h \
    apps/mask.h \
    apps/given.h \
    apps/columns.h \
    apps/normal.h \
    apps/sampler.h \
    apps/fit_options.h \
    apps/target.h \
    apps/train_config.h
APPS_REAL = \
    apps/common.c \
    apps/labels.c \
    apps/rows.c \
    apps/solver.c \
    apps/verify.c \
    apps/rex.c \
    apps/mask.c \
    apps/given.c \
    apps/columns.c \
    apps/normal.c \
    apps/sampler.c \
    apps/train_config.c \
    apps/fit_options.c \
    apps/target.c \
    apps/weighted.c \
    apps/cmd_train.c \
    apps/cmd_loglik.c \
    apps/cmd_sample.c \
    apps/cmd_encode.c \
    apps/cmd_decode.c \
    apps/cmd_edit.c \
    apps/cmd_classify.c \
    apps/cmd_check.c \
    apps/check_pixels.c \
    apps/cmd_info.c \
    apps/cmd_plot.c \
    apps/plot_images.c \
    apps/plot_sphere.c \
    apps/cmd_interpolate.c \
    apps/cmd_distance.c \
    apps/cmd_calibrate.c \
    apps/cmd_mcmc.c \
    apps/cmd_filter.c
noinst_LTLIBRARIES += libapps_f.la libapps_d.la
libapps_f_la_SOURCES = $(APPS_REAL)
libapps_f_la_CPPFLAGS = $(APPS_CPPFLAGS)
libapps_d_la_SOURCES = $(APPS_REAL) apps/exact.c
libapps_d_la_CPPFLAGS = $(APPS_CPPFLAGS) -DDFO_DOUBLE

bin_PROGRAMS += diffeo
diffeo_SOURCES = apps/main.c
diffeo_CPPFLAGS = $(APPS_CPPFLAGS)
diffeo_LDADD = libapps_f.la libapps_d.la libdiffeo.la $(JANSSON_LIBS) -lm
EXTRA_DIST += apps/demo.sh

# bash loads a command's completion from a file of the command's name.
completionsdir = $(datadir)/bash-completion/completions
EXTRA_DIST += apps/diffeo.bash-completion
install-data-local:
	$(MKDIR_P) '$(DESTDIR)$(completionsdir)'
	$(INSTALL_DATA) '$(srcdir)/apps/diffeo.bash-completion' '$(DESTDIR)$(completionsdir)/diffeo'
uninstall-local:
	rm -f '$(DESTDIR)$(completionsdir)/diffeo'

dist_man_MANS += \
    apps/man/diffeo.1 \
    apps/man/diffeo-train.1 \
    apps/man/diffeo-loglik.1 \
    apps/man/diffeo-sample.1 \
    apps/man/diffeo-encode.1 \
    apps/man/diffeo-decode.1 \
    apps/man/diffeo-edit.1 \
    apps/man/diffeo-classify.1 \
    apps/man/diffeo-interpolate.1 \
    apps/man/diffeo-check.1 \
    apps/man/diffeo-info.1 \
    apps/man/diffeo-distance.1 \
    apps/man/diffeo-calibrate.1 \
    apps/man/diffeo-mcmc.1 \
    apps/man/diffeo-filter.1 \
    apps/man/diffeo-plot.1 \
    apps/man/diffeo-layers.5

# Examples for C users; tests/cli.sh runs them.
check_PROGRAMS += apps/examples/threads
apps_examples_threads_SOURCES = apps/examples/threads.c
apps_examples_threads_CPPFLAGS = $(APPS_CPPFLAGS)
apps_examples_threads_LDADD = libdiffeo.la
