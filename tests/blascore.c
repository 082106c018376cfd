/* Prints the OPENBLAS_CORETYPE that this processor needs: nothing where OpenBLAS knows it, else
 * SkylakeX or Haswell by what the processor can do.  */
#include <stdio.h>
#include <string.h>

char *openblas_get_corename(void);

int main(void)
{
#if defined(__x86_64__)
    static const char *const slow[] = {"Prescott", "Core2", "Generic", "Unknown", "prescott", "generic"};
    const char *core = openblas_get_corename();
    __builtin_cpu_init();
    for (size_t i = 0; core && i < sizeof slow / sizeof *slow; i++)
        if (!strcmp(core, slow[i])) {
            if (__builtin_cpu_supports("avx512f"))
                puts("SkylakeX");
            else if (__builtin_cpu_supports("avx2"))
                puts("Haswell");
            break;
        }
#endif
    return 0;
}
