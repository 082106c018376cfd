FLOWS_REAL =
noinst_LTLIBRARIES += libflows_f.la libflows_d.la
libflows_f_la_SOURCES = $(FLOWS_REAL)
libflows_f_la_CPPFLAGS = $(FLOWS_CPPFLAGS)
libflows_d_la_SOURCES = $(FLOWS_REAL)
libflows_d_la_CPPFLAGS = $(FLOWS_CPPFLAGS) -DDFO_DOUBLE
