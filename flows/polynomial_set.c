/* Settings of increasing polynomials, read and described.  Components and spread are those of sums of squares.  */
#include "base/ctx_impl.h"
#include "layer_impl.h"
#include "polynomial_set_impl.h"

dfo_status dfoi_polynomial_read(dfo_ctx *ctx, const json_t *config, int squares, dfoi_polynomial *how, double given[5])
{
    how->squares = squares;
    if (squares)
        DFO_TRY(dfoi_json_size(ctx, config, "degree", 3, 0, DFOI_SQUARES_MOST, &how->degree));
    else
        DFO_TRY(dfoi_json_size(ctx, config, "degree", 16, 1, DFOI_BERNSTEIN_MOST, &how->degree));
    DFO_TRY(dfoi_json_size(ctx, config, "components", 4, 1, DFOI_SQUARES_TERMS, &how->terms));
    DFO_TRY(dfoi_json_real(ctx, config, "tail_bound", 5, 1e-3, 1e6, &given[0]));
    DFO_TRY(dfoi_json_real(ctx, config, "min_derivative", 1e-3, 1e-6, 0.5, &given[1]));
    DFO_TRY(dfoi_json_real(ctx, config, "spread", 0.5, 0, 100, &given[2]));
    how->bound = (dfo_real)given[0];
    how->least = (dfo_real)given[1];
    how->spread = (dfo_real)given[2];
    return DFO_OK;
}

dfo_status dfoi_polynomial_describe(dfo_ctx *ctx, json_t *to, const dfoi_polynomial *how, const double given[5])
{
    DFO_TRY(dfoi_json_set(ctx, to, "degree", json_integer((json_int_t)how->degree)));
    DFO_TRY(dfoi_json_set(ctx, to, "tail_bound", json_real(given[0])));
    DFO_TRY(dfoi_json_set(ctx, to, "min_derivative", json_real(given[1])));
    if (!how->squares)
        return DFO_OK;
    DFO_TRY(dfoi_json_set(ctx, to, "components", json_integer((json_int_t)how->terms)));
    return dfoi_json_set(ctx, to, "spread", json_real(given[2]));
}
