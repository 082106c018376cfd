/* Settings of rational-quadratic splines, read and described.  */
#include <string.h>

#include "base/ctx_impl.h"
#include "spline_set_impl.h"

dfo_status dfoi_spline_read(dfo_ctx *ctx, const json_t *config, dfoi_spline *spline,
                            double given[5])
{
    DFO_TRY(dfoi_json_size(ctx, config, "bins", 8, 2, 64, &spline->bins));
    DFO_TRY(dfoi_json_real(ctx, config, "tail_bound", 3, 1e-3, 1e6, &given[0]));
    DFO_TRY(dfoi_json_either(ctx, config, "tails", "linear", "circular", &spline->circular));
    double most = 0.5 / (double)spline->bins;
    DFO_TRY(dfoi_json_real(ctx, config, "min_width", 1e-3, 1e-6, most, &given[1]));
    DFO_TRY(dfoi_json_real(ctx, config, "min_height", 1e-3, 1e-6, most, &given[2]));
    DFO_TRY(dfoi_json_real(ctx, config, "min_derivative", 1e-3, 1e-6, 0.5, &given[3]));
    DFO_TRY(dfoi_json_real(ctx, config, "parameter_scale", 1, 1e-6, 1e6, &given[4]));
    spline->bound = (dfo_real)given[0];
    spline->min_width = (dfo_real)given[1];
    spline->min_height = (dfo_real)given[2];
    spline->min_derivative = (dfo_real)given[3];
    spline->scale = (dfo_real)given[4];
    return DFO_OK;
}

dfo_status dfoi_spline_describe(dfo_ctx *ctx, json_t *to, const dfoi_spline *spline,
                                const double given[5])
{
    DFO_TRY(dfoi_json_set(ctx, to, "bins", json_integer((json_int_t)spline->bins)));
    DFO_TRY(dfoi_json_set(ctx, to, "tail_bound", json_real(given[0])));
    DFO_TRY(dfoi_json_set(ctx, to, "tails", json_string(spline->circular ? "circular" : "linear")));
    DFO_TRY(dfoi_json_set(ctx, to, "min_width", json_real(given[1])));
    DFO_TRY(dfoi_json_set(ctx, to, "min_height", json_real(given[2])));
    DFO_TRY(dfoi_json_set(ctx, to, "min_derivative", json_real(given[3])));
    return dfoi_json_set(ctx, to, "parameter_scale", json_real(given[4]));
}
