/* A grid of gray or RGB images of 8 bits as one PNG file.  */
#include <diffeo/plot.h>
#include "base/ctx_impl.h"
#include "base/png_impl.h"

dfo_status dfo_plot_images_png(dfo_ctx *ctx, const dfo_plot_images *images, const char *path)
{
    const dfoi_png_grid grid = {
        .pixel = images->pixel,
        .n = images->pixel ? images->n : 0,
        .c = images->c,
        .h = images->h,
        .w = images->w,
        .bits = 8,
        .columns = images->columns,
        .gap = images->gap,
        .zoom = images->zoom,
    };
    dfoi_png head;
    dfo_file *file = NULL;
    dfo_status status;
    DFO_TRY(dfoi_png_grid_head(ctx, &grid, &head)); /* before a file is opened */
    DFO_GO(dfoi_file_create(ctx, path, &file));
    DFO_GO(dfoi_png_grid_write(ctx, file, &grid));
    DFO_GO(dfoi_file_commit(file));
fail:
    dfoi_file_free(file);
    return status;
}
