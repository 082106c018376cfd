/* Rows of which something is known, for draws of the rest: NaN stands where nothing is.  Layers before the draws' own space must act on
 * entries one by one, or what is known there would be mixed with what is not.  */
#include <math.h>
#include <string.h>

#include "flow_impl.h"
#include "layer_impl.h"

static const char *const one_by_one[] = {"dequantise", "rescale", "standardise", "actnorm", "affine", NULL};

dfo_status dfoi_given_check(const dfo_flow *flow, dfo_ctx *ctx, size_t count, dfo_batch x, dfo_batch given)
{
    if (given.n != x.n || given.d != x.d || given.ld < given.d)
        return dfoi_fail(ctx, DFO_ESHAPE, "what is given: expected (%zu, %zu), got (%zu, %zu)", x.n, x.d, given.n, given.d);
    for (size_t i = 0, k, at; i < count; i++) {
        const char *type = dfoi_chain_layer(flow->bij, i, &at)->ops->type;
        for (k = 0; one_by_one[k] && strcmp(type, one_by_one[k]);)
            k++;
        if (!one_by_one[k])
            return dfoi_fail(ctx, DFO_EUNSUP, "layer %zu (%s) mixes what is given with what is not: draws of the rest want none such", i, type);
    }
    return DFO_OK;
}

/* The layers in one_by_one take zeros.  */
dfo_batch dfoi_given_take(dfo_run *run, dfo_batch given, size_t rows)
{
    dfo_batch y = dfoi_flow_fill(run, given, rows);
    for (size_t i = 0; i < y.n; i++)
        for (size_t j = 0; j < y.d; j++)
            if (isnan(dfo_row(y, i)[j]))
                dfo_row(y, i)[j] = 0;
    return y;
}

void dfoi_given_mark(dfo_batch given, dfo_batch y)
{
    for (size_t i = 0; i < y.n; i++)
        for (size_t j = 0; j < y.d; j++)
            if (isnan(dfo_row(given, i < given.n ? i : given.n - 1)[j]))
                dfo_row(y, i)[j] = (dfo_real)NAN;
}

void dfoi_given_put(dfo_batch given, dfo_batch x)
{
    for (size_t i = 0; i < given.n; i++)
        for (size_t j = 0; j < given.d; j++)
            if (!isnan(dfo_row(given, i)[j]))
                dfo_row(x, i)[j] = dfo_row(given, i)[j];
}
