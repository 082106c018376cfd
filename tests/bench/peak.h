/* Clock and the peak of fused multiply-adds in registers, for benches.  */
#ifndef DIFFEO_BENCH_PEAK_H
#define DIFFEO_BENCH_PEAK_H

#include <time.h>

#include "base/real_impl.h"
#include "math/isa_impl.h"

/* Seconds that this thread ran: other programs count as little as they can.  */
static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* 24 independent chains of multiply-adds on vectors of `bytes`: returns operations done.  */
#define PEAK(name, bytes, target_text)                                                       \
    __attribute__((target(target_text), noinline)) static double name(size_t n, dfo_real *out) \
    {                                                                                        \
        typedef dfo_real vec __attribute__((vector_size(bytes)));                            \
        vec c[12] = {{0}}, a = {0}, b = {0};                                                 \
        a += (dfo_real)0.5;                                                                  \
        b += out[0];                                                                         \
        for (size_t i = 0; i < n; i++)                                                       \
            _Pragma("GCC unroll 12") for (int j = 0; j < 12; j++)                            \
                c[j] = __extension__({                                                       \
                    vec v = c[j];                                                            \
                    __asm__("vfmadd231p" SUFFIX " %1, %2, %0" : "+v"(v) : "v"(a), "v"(b));   \
                    v;                                                                       \
                });                                                                          \
        vec s = {0};                                                                         \
        for (int j = 0; j < 12; j++)                                                         \
            s += c[j];                                                                       \
        out[1] = s[0];                                                                       \
        return (double)n * 12 * 2 * (bytes / sizeof(dfo_real));                              \
    }
#ifdef DFO_DOUBLE
#define SUFFIX "d"
#else
#define SUFFIX "s"
#endif
#ifdef DFOI_X86
PEAK(peak_avx2, 32, "avx2,fma")
PEAK(peak_avx512, 64, "avx512f")
#endif

/* GFLOP/s of one core in this precision at the level in use; 0 where there is no such figure.  */
static double peak(void)
{
    double best = 0;
#ifdef DFOI_X86
    dfo_real out[2] = {0};
    for (int i = 0; i < 40; i++) {
        double t = now(), flop = 0;
        if (dfoi_isa() == DFOI_CPU_AVX512)
            flop = peak_avx512(400000, out);
        else if (dfoi_isa() == DFOI_CPU_AVX2)
            flop = peak_avx2(400000, out);
        t = now() - t;
        if (flop / t > best)
            best = flop / t;
    }
#endif
    return best * 1e-9;
}

#endif
