# Folder lib: three libraries: sources compiled once, with float, with double; and the kernels, per
# instruction set.
LIB_ONCE =
LIB_REAL =
LIB_KERN =

include lib/base/local.mk
include lib/math/local.mk
include lib/dist/local.mk
include lib/nn/local.mk
include lib/train/local.mk
include lib/data/local.mk
include lib/plot/local.mk

noinst_LTLIBRARIES += libonce.la liblib_f.la liblib_d.la
libonce_la_SOURCES = $(LIB_ONCE)
libonce_la_CPPFLAGS = $(LIB_CPPFLAGS)
liblib_f_la_SOURCES = $(LIB_REAL)
liblib_f_la_CPPFLAGS = $(LIB_CPPFLAGS)
liblib_d_la_SOURCES = $(LIB_REAL)
liblib_d_la_CPPFLAGS = $(LIB_CPPFLAGS) -DDFO_DOUBLE

KERN_CFLAGS = $(AM_CFLAGS)
noinst_LTLIBRARIES += libkern_generic_f.la libkern_generic_d.la
libkern_generic_f_la_SOURCES = $(LIB_KERN)
libkern_generic_f_la_CPPFLAGS = $(LIB_CPPFLAGS) -DDFOI_ISA=generic -DDFOI_VBYTES=16
libkern_generic_d_la_SOURCES = $(LIB_KERN)
libkern_generic_d_la_CPPFLAGS = $(LIB_CPPFLAGS) -DDFOI_ISA=generic -DDFOI_VBYTES=16 -DDFO_DOUBLE
KERN_LIBS = libkern_generic_f.la libkern_generic_d.la
if X86
noinst_LTLIBRARIES += libkern_avx2_f.la libkern_avx2_d.la libkern_avx512_f.la libkern_avx512_d.la
AVX2_CFLAGS = -march=x86-64-v3 $(KERN_CFLAGS)
AVX512_CFLAGS = -march=x86-64-v4 -mprefer-vector-width=512 $(KERN_CFLAGS)
libkern_avx2_f_la_SOURCES = $(LIB_KERN)
libkern_avx2_f_la_CPPFLAGS = $(LIB_CPPFLAGS) -DDFOI_ISA=avx2 -DDFOI_VBYTES=32
libkern_avx2_f_la_CFLAGS = $(AVX2_CFLAGS)
libkern_avx2_d_la_SOURCES = $(LIB_KERN)
libkern_avx2_d_la_CPPFLAGS = $(LIB_CPPFLAGS) -DDFOI_ISA=avx2 -DDFOI_VBYTES=32 -DDFO_DOUBLE
libkern_avx2_d_la_CFLAGS = $(AVX2_CFLAGS)
libkern_avx512_f_la_SOURCES = $(LIB_KERN)
libkern_avx512_f_la_CPPFLAGS = $(LIB_CPPFLAGS) -DDFOI_ISA=avx512 -DDFOI_VBYTES=64
libkern_avx512_f_la_CFLAGS = $(AVX512_CFLAGS)
libkern_avx512_d_la_SOURCES = $(LIB_KERN)
libkern_avx512_d_la_CPPFLAGS = $(LIB_CPPFLAGS) -DDFOI_ISA=avx512 -DDFOI_VBYTES=64 -DDFO_DOUBLE
libkern_avx512_d_la_CFLAGS = $(AVX512_CFLAGS)
KERN_LIBS += libkern_avx2_f.la libkern_avx2_d.la libkern_avx512_f.la libkern_avx512_d.la
endif

FLOOR_LIBS = libsamplers_f.la libsamplers_d.la libflows_f.la libflows_d.la liblib_f.la liblib_d.la $(KERN_LIBS) libonce.la
