/* How kernels are compiled once per instruction set and chosen at run time.  A source of LIB_KERN
 * (or LIB_GEMM) is compiled with -DDFOI_ISA=generic|avx2|avx512 and -DDFOI_VBYTES=16|32|64, in both
 * precisions.  All its functions are static; it ends in one constant table, the only symbol:
 *
 *     const struct dfoi_kernels DFOI_TABLE(dfoi_kernels) = {.vexp = vexp, ...};
 *
 * The three tables are declared one by one in a header that includes real_impl.h (so that the double
 * build's names differ) as `extern const struct dfoi_kernels dfoi_kernels_generic;` and so on.  The
 * public function, in a source of LIB_REAL, calls DFOI_PICK(dfoi_kernels)->vexp(...).  Private.  */
#ifndef DFOI_ISA_IMPL_H
#define DFOI_ISA_IMPL_H

#include <config.h>
#include "base/cpu_impl.h"
#include "base/real_impl.h"

#define DFOI_JOIN_(a, b) a##_##b
#define DFOI_JOIN(a, b) DFOI_JOIN_(a, b)

/* The table's name for the instruction set being compiled.  */
#define DFOI_TABLE(name) DFOI_JOIN(name, DFOI_ISA)

/* dfoi_cpu_level(), asked once.  */
dfoi_cpu dfoi_isa(void);

/* Pointer to the table of a given level, and to the one in use.  */
#ifdef DFOI_X86
#define DFOI_AT_LEVEL(name, level)                                                              \
    ((level) == DFOI_CPU_AVX512 ? &name##_avx512 : (level) == DFOI_CPU_AVX2 ? &name##_avx2      \
                                                                            : &name##_generic)
#else
#define DFOI_AT_LEVEL(name, level) ((void)(level), &name##_generic)
#endif
#define DFOI_PICK(name) DFOI_AT_LEVEL(name, dfoi_isa())

#endif
