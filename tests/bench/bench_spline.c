/* Speed of the spline kernels: a JSON line for each instruction set, direction and number of bins.
 * A block of 21 features and 64 rows (a coupling layer's half), over and over on one core;
 * processor time, the best of several rounds.  Backward passes are timed with the forward pass that
 * they follow.  */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "math/isa_impl.h"
#include "math/spline_impl.h"

enum { FEATURES = 21, ROWS = 64, VALUES = FEATURES * ROWS, MOST_BINS = 64 };

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static dfo_real uniform(void)
{
    static unsigned long long state = 1;
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    return (dfo_real)((double)(state >> 11) * 0x1p-52 - 1);
}

static dfo_real par[3 * MOST_BINS * VALUES], gpar[3 * MOST_BINS * VALUES];
static dfo_real x0[VALUES], x[VALUES], g[VALUES], ld[ROWS];

static void run(const struct dfoi_spline_kernels *k, const dfoi_spline *how, const char *isa,
                int op)
{
    static const char *const name[] = {"forward", "inverse", "forward+backward",
                                       "inverse+backward"};
    double best = 1e30;
    for (int round = 0; round < 100; round++) {
        int times = 0;
        double start = now(), spent;
        do {
            for (size_t i = 0; i < VALUES; i++) {
                x[i] = x0[i];
                g[i] = x0[i];
            }
            if (op == 0 || op == 2)
                k->forward(how, FEATURES, ROWS, par, x, ld);
            else
                k->inverse(how, FEATURES, ROWS, par, x, ld);
            if (op == 2)
                k->backward(how, FEATURES, ROWS, par, x, g, x0, gpar);
            if (op == 3)
                k->inverse_backward(how, FEATURES, ROWS, par, x, g, x0, gpar);
            times++;
            spent = now() - start;
        } while (spent < 0.002);
        if (spent / times < best)
            best = spent / times;
    }
    printf("{\"bench\": \"spline\", \"op\": \"%s\", \"precision\": \"%s\", \"isa\": \"%s\", "
           "\"bins\": %zu, "
           "\"msplines_per_s\": %.1f}\n",
           name[op], DFO_REAL_NAME, isa, how->bins, VALUES / best * 1e-6);
}

int main(void)
{
    static const char *const isa[] = {"generic", "avx2", "avx512"};
    static const size_t bins[] = {4, 8, 16, 32};
    for (size_t i = 0; i < sizeof par / sizeof *par; i++)
        par[i] = uniform();
    for (size_t i = 0; i < VALUES; i++)
        x0[i] = (dfo_real)2.9 * uniform();
    for (size_t b = 0; b < sizeof bins / sizeof *bins; b++) {
        dfoi_spline how = {.bins = bins[b],
                           .bound = 3,
                           .scale = 1,
                           .min_width = (dfo_real)1e-3,
                           .min_height = (dfo_real)1e-3,
                           .min_derivative = (dfo_real)1e-3};
        for (int level = 0; level <= (int)dfoi_cpu_level(); level++)
            for (int op = 0; op < 4; op++)
                if (bins[b] == 8 || level == (int)dfoi_cpu_level())
                    run(DFOI_AT_LEVEL(dfoi_spline_kernels, (dfoi_cpu)level), &how, isa[level], op);
    }
    return 0;
}
