/* Densities by name: the list of them.  */
#include <string.h>

#include "targets_impl.h"

static const struct kind {
    const char *name, *syntax;
    int numbers;                       /* it takes something behind its name */
    dfo_status (*open)(dfo_named_target *t, const char *text);
} kinds[] = {
    {"normal", "normal[:D[:RHO]]", 1, dfoi_target_normal},
    {"banana", "banana", 0, dfoi_target_banana},
    {"funnel", "funnel[:D]", 1, dfoi_target_funnel},
    {"ring", "ring", 0, dfoi_target_ring},
    {"gaussians8", "gaussians8", 0, dfoi_target_gaussians},
    {"two-moons", "two-moons", 0, dfoi_target_moons},
    {"eight-schools", "eight-schools", 0, dfoi_target_schools},
    {"logistic", "logistic:SPEC[:DEVIATION]", 1, dfoi_target_logistic},
};

#define KINDS (sizeof kinds / sizeof *kinds)

const char *dfo_named_target_syntax(size_t i)
{
    return i < KINDS ? kinds[i].syntax : NULL;
}

static dfo_status unknown(dfo_ctx *ctx, const char *spec)
{
    char known[256] = "";
    size_t used = 0;
    for (size_t i = 0; i < KINDS; i++) {               /* the list is constant and fits */
        size_t n = strlen(kinds[i].syntax);
        memcpy(known + used, i ? ", " : "", i ? 2 : 0);
        used += i ? 2 : 0;
        memcpy(known + used, kinds[i].syntax, n + 1);
        used += n;
    }
    return dfoi_fail(ctx, DFO_EARG, "unknown target '%.100s'; known: %s", spec, known);
}

dfo_status dfo_named_target_open(dfo_ctx *ctx, const char *spec, dfo_named_target **out)
{
    size_t n = strcspn(spec, ":"), i = 0;
    const char *text = spec[n] ? spec + n + 1 : NULL;
    dfo_named_target *t;
    *out = NULL;
    while (i < KINDS && (strlen(kinds[i].name) != n || memcmp(kinds[i].name, spec, n)))
        i++;
    if (i == KINDS)
        return unknown(ctx, spec);
    if (text && !kinds[i].numbers)
        return dfoi_fail(ctx, DFO_EARG, "target '%.100s': %s takes no numbers", spec, kinds[i].name);
    DFO_TRY(dfoi_alloc(ctx, 1, sizeof *t, &t));
    t->ctx = ctx;
    dfo_status status = kinds[i].open(t, text);
    if (status != DFO_OK) {
        dfo_named_target_free(t);
        return dfoi_wrap(ctx, "target %s: ", kinds[i].name);
    }
    *out = t;
    return DFO_OK;
}

dfo_status dfoi_target_column(dfo_named_target *t, size_t j, const char *name)
{
    if (!t->columns)
        DFO_TRY(dfoi_alloc(t->ctx, t->target.d, sizeof *t->columns, &t->columns));
    return dfoi_strdup(t->ctx, name, &t->columns[j]);
}

void dfo_named_target_free(dfo_named_target *target)
{
    dfo_named_target *t = target;
    if (!t)
        return;
    for (size_t j = 0; t->columns && j < t->target.d; j++)
        dfoi_free(t->ctx, t->columns[j]);
    dfoi_free(t->ctx, t->columns);
    dfoi_free(t->ctx, t->target.data);
    dfoi_free(t->ctx, t);
}
