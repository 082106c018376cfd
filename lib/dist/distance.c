/* What the distances between samples share.  */
#include <math.h>

#include "base/ctx_impl.h"
#include "dist/distance_impl.h"

static dfo_status check_values(dfo_ctx *ctx, const dfo_samples *s, const char *name)
{
    if (s->n < DFO_DISTANCE_ROWS)
        return dfoi_fail(ctx, DFO_EARG, "distance: the %s sample has %zu rows, expected %d or more", name, s->n,
                         DFO_DISTANCE_ROWS);
    for (size_t i = 0; i < s->n; i++)
        for (size_t j = 0; j < s->d; j++)
            if (!isfinite(s->x[i * s->d + j]))
                return dfoi_fail(ctx, DFO_EARG, "distance: row %zu, column %zu of the %s sample is not finite", i, j + 1, name);
    return DFO_OK;
}

dfo_status dfoi_samples_check(dfo_ctx *ctx, const dfo_samples *a, const dfo_samples *b)
{
    if (a->d != b->d || !a->d)
        return dfoi_fail(ctx, DFO_ESHAPE, "distance: samples of %zu and of %zu features", a->d, b->d);
    DFO_TRY(check_values(ctx, a, "first"));
    return check_values(ctx, b, "second");
}

double dfoi_jackknife(const double *without)
{
    double mean = 0, squares = 0;
    for (int g = 0; g < DFOI_GROUPS; g++)
        mean += without[g] / DFOI_GROUPS;
    for (int g = 0; g < DFOI_GROUPS; g++)
        squares += (without[g] - mean) * (without[g] - mean);
    return sqrt(squares * (DFOI_GROUPS - 1) / DFOI_GROUPS);
}
