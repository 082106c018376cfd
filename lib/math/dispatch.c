/* The public side of the kernels: picks the instruction set's table and calls it.  */
#include <math.h>
#include <stdatomic.h>
#include <string.h>

#include "math/kern_table.h"

dfoi_cpu dfoi_isa(void)
{
    static atomic_int known;              /* level + 1; 0: not asked yet.  Every thread finds the same */
    int level = atomic_load_explicit(&known, memory_order_relaxed);
    if (!level) {
        level = (int)dfoi_cpu_level() + 1;
        atomic_store_explicit(&known, level, memory_order_relaxed);
    }
    return (dfoi_cpu)(level - 1);
}

#define PUBLIC(table, type, name, params, args)                  \
    type dfoi_##name params                                      \
    {                                                            \
        return DFOI_PICK(table)->name args;                      \
    }
#define PUBLIC_KERN(type, name, params, args) PUBLIC(dfoi_kernels, type, name, params, args)
#define PUBLIC_ACT(type, name, params, args) PUBLIC(dfoi_act_kernels, type, name, params, args)
#define PUBLIC_STEP(type, name, params, args) PUBLIC(dfoi_step_kernels, type, name, params, args)
#define PUBLIC_GEMM(type, name, params, args) PUBLIC(dfoi_gemm_kernels, type, name, params, args)
#define PUBLIC_COMPLEX(type, name, params, args) PUBLIC(dfoi_complex_kernels, type, name, params, args)
#define PUBLIC_PANEL(type, name, params, args) PUBLIC(dfoi_panel_kernels, type, name, params, args)
DFOI_KERN_LIST(PUBLIC_KERN)
DFOI_ACT_LIST(PUBLIC_ACT)
DFOI_AFFINE_LIST(PUBLIC_STEP)
DFOI_GEMM_LIST(PUBLIC_GEMM)
DFOI_COMPLEX_LIST(PUBLIC_COMPLEX)
DFOI_PANEL_LIST(PUBLIC_PANEL)

struct dfoi_adam_constants dfoi_adam_prepare(const dfoi_adam *how)
{
    struct dfoi_adam_constants c = {
        .scale = (dfo_real)how->scale,
        .l2 = (dfo_real)how->l2,
        .beta1 = (dfo_real)how->beta1,
        .beta2 = (dfo_real)how->beta2,
        .rest1 = (dfo_real)(1 - how->beta1),
        .rest2 = (dfo_real)(1 - how->beta2),
        .keep = (dfo_real)(1 - how->lr * how->wd),
        .rate = (dfo_real)(how->lr / (1 - pow(how->beta1, how->step))),
        .root = (dfo_real)(1 / sqrt(1 - pow(how->beta2, how->step))),
        .eps = (dfo_real)how->eps,
        .ema_rest = (dfo_real)(1 - how->ema_decay),
    };
    return c;
}

void dfoi_adam_step(const dfoi_adam *how, size_t n, const dfo_real *g, dfo_real *w, dfo_real *m,
                    dfo_real *v, dfo_real *ema)
{
    struct dfoi_adam_constants constants = dfoi_adam_prepare(how);
    DFOI_PICK(dfoi_step_kernels)->adam(&constants, n, g, w, m, v, ema);
}

static const char *const act_name[DFOI_ACT_COUNT] = {
    [DFOI_ACT_NONE] = "none",   [DFOI_ACT_RELU] = "relu", [DFOI_ACT_LEAKY_RELU] = "leaky-relu",
    [DFOI_ACT_ELU] = "elu",     [DFOI_ACT_GELU] = "gelu", [DFOI_ACT_SILU] = "silu",
    [DFOI_ACT_TANH] = "tanh",   [DFOI_ACT_SOFTPLUS] = "softplus", [DFOI_ACT_SIGMOID] = "sigmoid",
};

dfoi_act dfoi_act_named(const char *name)
{
    for (int i = 0; i < DFOI_ACT_COUNT; i++)
        if (!strcmp(name, act_name[i]))
            return (dfoi_act)i;
    return DFOI_ACT_COUNT;
}

const char *dfoi_act_name(dfoi_act act)
{
    return (unsigned)act < DFOI_ACT_COUNT ? act_name[act] : "unknown";
}

int dfoi_act_from_output(dfoi_act act)
{
    return act != DFOI_ACT_GELU && act != DFOI_ACT_SILU;
}
