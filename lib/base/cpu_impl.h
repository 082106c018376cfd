/* The kernels' instruction set, chosen once at run time.  Private.  */
#ifndef DFOI_CPU_IMPL_H
#define DFOI_CPU_IMPL_H

#include <diffeo/ctx.h>

typedef enum dfoi_cpu { DFOI_CPU_GENERIC, DFOI_CPU_AVX2, DFOI_CPU_AVX512 } dfoi_cpu;

/* The best that this CPU has and DIFFEO_CPU allows.  */
dfoi_cpu dfoi_cpu_level(void);

#endif
