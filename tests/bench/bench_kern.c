/* Nanoseconds per element of the elementwise kernels, sums, draws, panel moves, the affine transform
 * and Adam, at every instruction set of this processor, as JSON lines.
 *     bench_kern [milliseconds per figure]  */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <diffeo/ctx.h>
#include "math/kern_table.h"

#define N 4096                             /* elements: in the first caches */
#define COLUMNS (N / DFO_PANEL)

static dfo_real a[N], b[2 * N] __attribute__((aligned(64))), c[2 * N], d[N], e[N];     /* b: panels */
static volatile double sink;
static int level;
static const dfo_key key = {1, 2, DFO_FOR_TEST, 3};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

#define KERN DFOI_AT_LEVEL(dfoi_kernels, level)
#define ACT DFOI_AT_LEVEL(dfoi_act_kernels, level)
#define STEP DFOI_AT_LEVEL(dfoi_step_kernels, level)
#define DRAW DFOI_AT_LEVEL(dfoi_draw_kernels, level)
#define PANEL DFOI_AT_LEVEL(dfoi_panel_kernels, level)

static const dfoi_affine tanh_scale = {0, 2}, sigmoid_scale = {1, 1};
static const dfoi_adam settings = {1e-3, 0.9, 0.999, 1e-8, 0.01, 0, 1, 0.999, 10};
static struct dfoi_adam_constants constants;
static size_t jumps[COLUMNS];

#define JOB(name, call) static void name(void) { call; }
JOB(run_exp, KERN->vexp(N, a, b))
JOB(run_exp_in_place, KERN->vexp(N, e, e))
JOB(run_log, KERN->vlog(N, d, b))
JOB(run_tanh, KERN->vtanh(N, a, b))
JOB(run_sigmoid, KERN->vsigmoid(N, a, b))
JOB(run_softplus, KERN->vsoftplus(N, a, b))
JOB(run_sincos, KERN->vsincos2pi(N, d, b, c))
JOB(run_sum, sink = KERN->sum(N, a))
JOB(run_dot, sink = KERN->dot(N, a, d))
JOB(run_max_abs, sink = KERN->max_abs(N, a))
JOB(run_all_finite, sink = KERN->all_finite(N, a))
JOB(run_axpy, KERN->axpy(N, 0, a, b))
JOB(run_elu, ACT->vact(DFOI_ACT_ELU, N, a, b))
JOB(run_gelu, ACT->vact(DFOI_ACT_GELU, N, a, b))
JOB(run_silu, ACT->vact(DFOI_ACT_SILU, N, a, b))
JOB(run_gelu_slopes, ACT->vact_derivatives(DFOI_ACT_GELU, N, a, b, c))
JOB(run_affine_tanh, STEP->affine_forward(&tanh_scale, COLUMNS, DFO_PANEL, c, a, b))
JOB(run_affine_sigmoid, STEP->affine_inverse(&sigmoid_scale, COLUMNS, DFO_PANEL, c, a, b))
JOB(run_affine_back, STEP->affine_backward(&tanh_scale, COLUMNS, DFO_PANEL, c, a, d, e, b))
JOB(run_adam, STEP->adam(&constants, N, a, b, c, d, NULL))
JOB(run_adam_ema, STEP->adam(&constants, N, a, b, c, d, e))
JOB(run_uniform, DRAW->uniform(key, N, b))
JOB(run_normal, DRAW->normal(key, N, b))
JOB(run_to_panel, PANEL->to_panel(DFO_PANEL, COLUMNS, a, COLUMNS, NULL, 0, b))
JOB(run_to_panel_jumps, PANEL->to_panel(DFO_PANEL, COLUMNS, a, COLUMNS, jumps, 0, b))
JOB(run_from_panel, PANEL->from_panel(DFO_PANEL, COLUMNS, b, NULL, a, COLUMNS))
JOB(run_from_panel_add, PANEL->from_panel_add(DFO_PANEL, COLUMNS, b, NULL, a, COLUMNS))

static const struct { const char *name; void (*run)(void); } jobs[] = {
    {"exp", run_exp}, {"exp in place", run_exp_in_place}, {"log", run_log}, {"tanh", run_tanh},
    {"sigmoid", run_sigmoid}, {"softplus", run_softplus}, {"sincos2pi", run_sincos}, {"sum", run_sum},
    {"dot", run_dot}, {"max_abs", run_max_abs}, {"all_finite", run_all_finite}, {"axpy", run_axpy},
    {"elu", run_elu}, {"gelu", run_gelu}, {"silu", run_silu}, {"gelu slopes", run_gelu_slopes},
    {"affine forward tanh", run_affine_tanh}, {"affine inverse sigmoid", run_affine_sigmoid},
    {"affine backward tanh", run_affine_back}, {"adam", run_adam}, {"adam with average", run_adam_ema},
    {"uniform", run_uniform}, {"normal", run_normal}, {"to_panel", run_to_panel},
    {"to_panel with jumps", run_to_panel_jumps}, {"from_panel", run_from_panel},
    {"from_panel_add", run_from_panel_add},
};

int main(int argc, char **argv)
{
    double seconds = (argc > 1 ? strtod(argv[1], NULL) : 20) * 1e-3;
    constants = dfoi_adam_prepare(&settings);
    for (size_t j = 0; j < COLUMNS; j++)
        jumps[j] = j * 2 % COLUMNS + j * 2 / COLUMNS;
    for (size_t i = 0; i < sizeof jobs / sizeof jobs[0]; i++) {
        printf("{\"kernel\": \"%s\", \"real\": \"%s\"", jobs[i].name, DFO_REAL_NAME);
        for (level = 0; level <= (int)dfoi_cpu_level(); level++) {
            double best = 1;
            for (double end = now() + seconds; now() < end;) {
                for (size_t k = 0; k < N; k++) {
                    a[k] = (dfo_real)((double)(k * 2654435761u % 8000) / 1000 - 4);
                    d[k] = (dfo_real)((double)(k * 2654435761u % 8000) / 8000 + 1e-4);
                    b[k] = c[k] = c[N + k] = e[k] = 0;
                }
                double t = now();
                jobs[i].run();
                t = now() - t;
                best = t < best ? t : best;
            }
            printf(", \"%s\": %.3f", level == 0 ? "generic" : level == 1 ? "avx2" : "avx512", best / N * 1e9);
        }
        puts("}");
    }
    return 0;
}
