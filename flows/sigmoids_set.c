/* Settings of sums of sigmoids, read and described.  The scale and the shift behind the sum are the mixture's alone.  */
#include <string.h>

#include "base/ctx_impl.h"
#include "layer_impl.h"
#include "sigmoids_set_impl.h"

dfo_status dfoi_sigmoids_read(dfo_ctx *ctx, const json_t *config, int deep, dfoi_sigmoids *how, double given[5])
{
    int unbounded;
    how->deep = deep;
    how->outer = !deep;
    DFO_TRY(dfoi_json_size(ctx, config, "components", 8, 1, DFOI_SIGMOIDS_MOST, &how->components));
    DFO_TRY(dfoi_json_real(ctx, config, "scale_max", 2, 1e-3, 20, &given[0]));
    DFO_TRY(dfoi_json_real(ctx, config, "spread", 2, 0, 100, &given[1]));
    DFO_TRY(dfoi_json_either(ctx, config, "scale", "tanh", "exp", &unbounded));
    how->scale_max = unbounded ? DFOI_UNBOUNDED : (dfo_real)given[0];
    how->spread = (dfo_real)given[1];
    return DFO_OK;
}

dfo_status dfoi_sigmoids_describe(dfo_ctx *ctx, json_t *to, const dfoi_sigmoids *how, const double given[5])
{
    DFO_TRY(dfoi_json_set(ctx, to, "components", json_integer((json_int_t)how->components)));
    DFO_TRY(dfoi_json_set(ctx, to, "spread", json_real(given[1])));
    if (how->deep)
        return DFO_OK;
    DFO_TRY(dfoi_json_set(ctx, to, "scale", json_string(how->scale_max < DFOI_UNBOUNDED ? "tanh" : "exp")));
    return dfoi_json_set(ctx, to, "scale_max", json_real(given[0]));
}
