SAMPLERS_REAL =
noinst_LTLIBRARIES += libsamplers_f.la libsamplers_d.la
libsamplers_f_la_SOURCES = $(SAMPLERS_REAL)
libsamplers_f_la_CPPFLAGS = $(SAMPLERS_CPPFLAGS)
libsamplers_d_la_SOURCES = $(SAMPLERS_REAL)
libsamplers_d_la_CPPFLAGS = $(SAMPLERS_CPPFLAGS) -DDFO_DOUBLE
