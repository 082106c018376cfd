/* Speed of the products (lib/math/gemm_kern.c) on one core, as JSON lines: GFLOP/s of forward
 * (bias, relu), of the input gradient (relu mask), of the weight gradient (with bias gradient), next to
 * OpenBLAS's gemm of the same shapes and the peak of fused multiply-adds in registers.
 *     bench_gemm [milliseconds per figure]
 * OPENBLAS_CORETYPE is set where OpenBLAS fell back to its slowest kernels.  */
#include <cblas.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <diffeo/ctx.h>
#include "bench/peak.h"
#include "math/kern_table.h"

#ifdef DFO_DOUBLE
#define GEMM cblas_dgemm
#else
#define GEMM cblas_sgemm
#endif

struct job {
    size_t m, k;
    dfo_real *w, *x, *b, *y, *gy, *gx, *gw, *gb, *scratch;
};

static void forward(struct job *j)
{
    dfoi_gemm(j->m, j->k, j->w, j->k, j->x, j->b, DFOI_ACT_RELU, NULL, j->y);
}

static void back(struct job *j)
{
    dfoi_gemm_back(j->m, j->k, j->w, j->k, j->gy, j->x, NULL, j->gx, j->scratch);
}

static void grad(struct job *j)
{
    dfoi_gemm_grad(j->m, j->k, j->gy, j->x, j->gw, j->k, j->gb, j->scratch);
}

static void blas_forward(struct job *j)
{
    GEMM(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)j->m, DFO_PANEL, (int)j->k, 1, j->w, (int)j->k, j->x,
         DFO_PANEL, 0, j->y, DFO_PANEL);
}

static void blas_back(struct job *j)
{
    GEMM(CblasRowMajor, CblasTrans, CblasNoTrans, (int)j->k, DFO_PANEL, (int)j->m, 1, j->w, (int)j->k, j->gy,
         DFO_PANEL, 0, j->gx, DFO_PANEL);
}

static void blas_grad(struct job *j)
{
    GEMM(CblasRowMajor, CblasNoTrans, CblasTrans, (int)j->m, (int)j->k, DFO_PANEL, 1, j->gy, DFO_PANEL, j->x,
         DFO_PANEL, 1, j->gw, (int)j->k);
}

/* Best rate of several rounds.  */
static double rate(struct job *j, void (*run)(struct job *), double seconds)
{
    double work = 2.0 * DFO_PANEL * (double)j->m * (double)j->k, best = 0;
    size_t times = (size_t)(1e6 / work * 50) + 1;
    for (double end = now() + seconds; now() < end;) {
        double t = now();
        for (size_t i = 0; i < times; i++)
            run(j);
        t = now() - t;
        if (work * (double)times / t > best)
            best = work * (double)times / t;
    }
    return best * 1e-9;
}

static dfo_real *reals(size_t n)
{
    size_t bytes = (n * sizeof(dfo_real) + 63) / 64 * 64;
    dfo_real *p = aligned_alloc(64, bytes);
    if (!p)
        exit(1);
    for (size_t i = 0; i < n; i++)
        p[i] = (dfo_real)((double)(i * 2654435761u % 1000) / 1000 - 0.5);
    return p;
}

int main(int argc, char **argv)
{
    static const size_t shape[][2] = {{128, 128}, {506, 128}, {512, 512}, {128, 21}, {43, 128}};
    double seconds = (argc > 1 ? strtod(argv[1], NULL) : 100) * 1e-3;
    int fallback;
    dfo_blas_core(&fallback);
    if (fallback && !getenv("OPENBLAS_CORETYPE")) {
        setenv("OPENBLAS_CORETYPE", dfoi_cpu_level() == DFOI_CPU_AVX512 ? "SkylakeX" : "Haswell", 1);
        execv("/proc/self/exe", argv);
    }
    openblas_set_num_threads(1);
    double top = peak();
    printf("{\"real\": \"%s\", \"level\": \"%s\", \"openblas\": \"%s\", \"peak\": %.1f}\n", DFO_REAL_NAME,
           dfo_cpu_name(), dfo_blas_core(NULL), top);
    for (size_t s = 0; s < sizeof shape / sizeof shape[0]; s++) {
        size_t m = shape[s][0], k = shape[s][1];
        size_t scratch = dfoi_gemm_grad_scratch(k, 1) + dfoi_gemm_back_scratch(m);
        struct job j = {m, k, reals(m * k), reals(k * DFO_PANEL), reals(m), reals(m * DFO_PANEL), reals(m * DFO_PANEL),
                        reals(k * DFO_PANEL), reals(m * k), reals(m), reals(scratch)};
        double f = rate(&j, forward, seconds), b = rate(&j, back, seconds), g = rate(&j, grad, seconds);
        printf("{\"outputs\": %zu, \"inputs\": %zu, \"forward\": %.1f, \"back\": %.1f, \"grad\": %.1f, "
               "\"share_of_peak\": [%.3f, %.3f, %.3f], \"openblas\": [%.1f, %.1f, %.1f]}\n",
               m, k, f, b, g, f / top, b / top, g / top,
               rate(&j, blas_forward, seconds), rate(&j, blas_back, seconds), rate(&j, blas_grad, seconds));
        fflush(stdout);
        dfo_real *all[] = {j.w, j.x, j.b, j.y, j.gy, j.gx, j.gw, j.gb, j.scratch};
        for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
            free(all[i]);
    }
    return 0;
}
