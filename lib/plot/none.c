/* Pictures in a library without cairo: an explanation.  */
#include <diffeo/plot.h>
#include "base/ctx_impl.h"

static dfo_status none(dfo_ctx *ctx)
{
    return dfoi_fail(ctx, DFO_EUNSUP,
                     "this library draws no pictures: it was configured with --without-cairo");
}

int dfo_plot_available(void)
{
    return 0;
}

dfo_status dfo_plot_map_png(dfo_ctx *ctx, const dfo_plot_map *map, const char *path)
{
    (void)map;
    (void)path;
    return none(ctx);
}

dfo_status dfo_plot_corner_png(dfo_ctx *ctx, const dfo_plot_corner *corner, const char *path)
{
    (void)corner;
    (void)path;
    return none(ctx);
}

dfo_status dfo_plot_curves_png(dfo_ctx *ctx, const dfo_plot_curves *curves, const char *path)
{
    (void)curves;
    (void)path;
    return none(ctx);
}

dfo_status dfo_plot_histogram_png(dfo_ctx *ctx, const dfo_plot_histogram *histogram,
                                  const char *path)
{
    (void)histogram;
    (void)path;
    return none(ctx);
}
