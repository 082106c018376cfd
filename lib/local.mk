# Folder lib: libraries of sources compiled once, with float, with double; and the kernels, per
# instruction set.
LIB_ONCE =
LIB_REAL =
LIB_KERN =
LIB_GEMM =

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

# LIB_KERN: the same bits at every instruction set, so no fused multiply-add.  LIB_GEMM: with it.
KERN_CFLAGS = $(AM_CFLAGS)
GEMM_CFLAGS = $(AM_CFLAGS) $(GEMM_SAN_CFLAGS) -ffp-contract=fast
GENERIC_CPPFLAGS = $(LIB_CPPFLAGS) -DDFOI_ISA=generic -DDFOI_VBYTES=16
noinst_LTLIBRARIES += libkern_generic_f.la libkern_generic_d.la libgemm_generic_f.la libgemm_generic_d.la
libkern_generic_f_la_SOURCES = $(LIB_KERN)
libkern_generic_f_la_CPPFLAGS = $(GENERIC_CPPFLAGS)
libkern_generic_f_la_CFLAGS = $(KERN_CFLAGS)
libkern_generic_d_la_SOURCES = $(LIB_KERN)
libkern_generic_d_la_CPPFLAGS = $(GENERIC_CPPFLAGS) -DDFO_DOUBLE
libkern_generic_d_la_CFLAGS = $(KERN_CFLAGS)
libgemm_generic_f_la_SOURCES = $(LIB_GEMM)
libgemm_generic_f_la_CPPFLAGS = $(GENERIC_CPPFLAGS)
libgemm_generic_f_la_CFLAGS = $(GEMM_CFLAGS)
libgemm_generic_d_la_SOURCES = $(LIB_GEMM)
libgemm_generic_d_la_CPPFLAGS = $(GENERIC_CPPFLAGS) -DDFO_DOUBLE
libgemm_generic_d_la_CFLAGS = $(GEMM_CFLAGS)
KERN_LIBS = libkern_generic_f.la libkern_generic_d.la libgemm_generic_f.la libgemm_generic_d.la
if X86
AVX2_CPPFLAGS = $(LIB_CPPFLAGS) -DDFOI_ISA=avx2 -DDFOI_VBYTES=32
AVX2_CFLAGS = -march=x86-64-v3
AVX512_CPPFLAGS = $(LIB_CPPFLAGS) -DDFOI_ISA=avx512 -DDFOI_VBYTES=64
AVX512_CFLAGS = -march=x86-64-v4 -mprefer-vector-width=512
noinst_LTLIBRARIES += libkern_avx2_f.la libkern_avx2_d.la libgemm_avx2_f.la libgemm_avx2_d.la
libkern_avx2_f_la_SOURCES = $(LIB_KERN)
libkern_avx2_f_la_CPPFLAGS = $(AVX2_CPPFLAGS)
libkern_avx2_f_la_CFLAGS = $(AVX2_CFLAGS) $(KERN_CFLAGS)
libkern_avx2_d_la_SOURCES = $(LIB_KERN)
libkern_avx2_d_la_CPPFLAGS = $(AVX2_CPPFLAGS) -DDFO_DOUBLE
libkern_avx2_d_la_CFLAGS = $(AVX2_CFLAGS) $(KERN_CFLAGS)
libgemm_avx2_f_la_SOURCES = $(LIB_GEMM)
libgemm_avx2_f_la_CPPFLAGS = $(AVX2_CPPFLAGS)
libgemm_avx2_f_la_CFLAGS = $(AVX2_CFLAGS) $(GEMM_CFLAGS)
libgemm_avx2_d_la_SOURCES = $(LIB_GEMM)
libgemm_avx2_d_la_CPPFLAGS = $(AVX2_CPPFLAGS) -DDFO_DOUBLE
libgemm_avx2_d_la_CFLAGS = $(AVX2_CFLAGS) $(GEMM_CFLAGS)
noinst_LTLIBRARIES += libkern_avx512_f.la libkern_avx512_d.la libgemm_avx512_f.la libgemm_avx512_d.la
libkern_avx512_f_la_SOURCES = $(LIB_KERN)
libkern_avx512_f_la_CPPFLAGS = $(AVX512_CPPFLAGS)
libkern_avx512_f_la_CFLAGS = $(AVX512_CFLAGS) $(KERN_CFLAGS)
libkern_avx512_d_la_SOURCES = $(LIB_KERN)
libkern_avx512_d_la_CPPFLAGS = $(AVX512_CPPFLAGS) -DDFO_DOUBLE
libkern_avx512_d_la_CFLAGS = $(AVX512_CFLAGS) $(KERN_CFLAGS)
libgemm_avx512_f_la_SOURCES = $(LIB_GEMM)
libgemm_avx512_f_la_CPPFLAGS = $(AVX512_CPPFLAGS)
libgemm_avx512_f_la_CFLAGS = $(AVX512_CFLAGS) $(GEMM_CFLAGS)
libgemm_avx512_d_la_SOURCES = $(LIB_GEMM)
libgemm_avx512_d_la_CPPFLAGS = $(AVX512_CPPFLAGS) -DDFO_DOUBLE
libgemm_avx512_d_la_CFLAGS = $(AVX512_CFLAGS) $(GEMM_CFLAGS)
KERN_LIBS += libkern_avx2_f.la libkern_avx2_d.la libgemm_avx2_f.la libgemm_avx2_d.la \
    libkern_avx512_f.la libkern_avx512_d.la libgemm_avx512_f.la libgemm_avx512_d.la
endif

# All floors in one: libtool takes its time over every archive a program is linked to.
noinst_LTLIBRARIES += libfloors.la
FLOOR_LIBS = libfloors.la
libfloors_la_SOURCES =
libfloors_la_LIBADD = libsamplers_f.la libsamplers_d.la libflows_f.la libflows_d.la libsolvers_f.la libsolvers_d.la liblib_f.la liblib_d.la $(KERN_LIBS) libonce.la
