/* Which instruction set the kernels use, and what OpenBLAS chose.  */
#include <stdlib.h>
#include <string.h>

#include "base/cpu_impl.h"

#ifdef HAVE_CONFIG_H
#include <config.h>
#endif

char *openblas_get_corename(void);        /* OpenBLAS's own, in no header of CBLAS */

static dfoi_cpu detect(void)
{
    dfoi_cpu best = DFOI_CPU_GENERIC;
#ifdef DFOI_X86
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        best = DFOI_CPU_AVX2;
    if (best == DFOI_CPU_AVX2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512cd"))
        best = DFOI_CPU_AVX512;
#endif
    return best;
}

dfoi_cpu dfoi_cpu_level(void)
{
    static const char *const name[] = {"generic", "avx2", "avx512"};
    dfoi_cpu level = detect();
    const char *wish = getenv("DIFFEO_CPU");
    for (int i = 0; wish && i < (int)level; i++)
        if (!strcmp(wish, name[i]))
            return (dfoi_cpu)i;
    return level;
}

const char *dfo_cpu_name(void)
{
    static const char *const name[] = {"generic", "avx2", "avx512"};
    return name[dfoi_cpu_level()];
}

const char *dfo_blas_core(int *fallback)
{
    const char *core = openblas_get_corename();
    if (fallback)
        *fallback = detect() >= DFOI_CPU_AVX2 && core &&
                    (!strcmp(core, "Prescott") || !strcmp(core, "Core2") || !strcmp(core, "Generic") ||
                     !strcmp(core, "Unknown"));
    return core ? core : "unknown";
}

/* OpenBLAS's own, not in its headers, and not in every build of it.  */
__attribute__((weak)) int blas_thread_shutdown_(void);

void dfo_blas_rest(void)
{
    if (blas_thread_shutdown_)
        (void)blas_thread_shutdown_();
}
