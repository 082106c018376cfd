/* A grid of images as one picture: image i stands in row i / columns, with gaps between, white
 * where there is none.  */
#include <string.h>

#include "base/ctx_impl.h"
#include "base/png_impl.h"

#define MOST_PIXELS 65535

struct layout {
    const dfoi_png_grid *grid;
    size_t columns, zoom, width;
};

/* Row y of the picture.  */
static void fill_row(void *data, size_t y, unsigned char *row)
{
    const struct layout *l = data;
    const dfoi_png_grid *g = l->grid;
    size_t size = g->bits / 8, cell_h = g->h * l->zoom + g->gap, cell_w = g->w * l->zoom + g->gap,
           plane = g->h * g->w;
    memset(row, 255, l->width * g->c * size);
    size_t i = y / cell_h, v = y % cell_h / l->zoom;
    if (y % cell_h >= g->h * l->zoom)
        return;
    for (size_t j = 0; j < l->columns && i * l->columns + j < g->n; j++) {
        const unsigned char *from =
            g->pixel + ((i * l->columns + j) * g->c * plane + v * g->w) * size;
        unsigned char *to = row + j * cell_w * g->c * size;
        for (size_t u = 0; u < g->w * l->zoom; u++)
            for (size_t c = 0; c < g->c; c++)
                memcpy(to + (u * g->c + c) * size, from + (c * plane + u / l->zoom) * size, size);
    }
}

/* n images of side a with gaps between them.  */
static dfo_status extent(dfo_ctx *ctx, size_t n, size_t a, size_t zoom, size_t gap,
                         const char *what, size_t *out)
{
    size_t cell;
    if (__builtin_mul_overflow(a, zoom, &cell) || __builtin_add_overflow(cell, gap, &cell) ||
        __builtin_mul_overflow(cell, n, out) || *out - gap > MOST_PIXELS)
        return dfoi_fail(ctx, DFO_EARG, "image grid: %zu images of %s %zu are more than %d pixels",
                         n, what, a, MOST_PIXELS);
    *out -= gap;
    return DFO_OK;
}

static dfo_status lay_out(dfo_ctx *ctx, const dfoi_png_grid *g, struct layout *l, dfoi_png *head)
{
    size_t square = 1;
    if (!g->n || !g->h || !g->w)
        return dfoi_fail(ctx, DFO_EARG, "image grid: nothing to draw (%zu images of %zu x %zu)",
                         g->n, g->h, g->w);
    if (g->c != 1 && g->c != 3)
        return dfoi_fail(ctx, DFO_EARG, "image grid: images have 1 or 3 channels, got %zu", g->c);
    while (square < MOST_PIXELS && square * square < g->n)
        square++;
    size_t columns = g->columns ? g->columns : square;
    *l = (struct layout){
        .grid = g, .columns = columns < g->n ? columns : g->n, .zoom = g->zoom ? g->zoom : 1};
    *head = (dfoi_png){.c = g->c, .bits = g->bits};
    DFO_TRY(extent(ctx, l->columns, g->w, l->zoom, g->gap, "width", &head->w));
    DFO_TRY(extent(ctx, (g->n - 1) / l->columns + 1, g->h, l->zoom, g->gap, "height", &head->h));
    l->width = head->w;
    return DFO_OK;
}

dfo_status dfoi_png_grid_head(dfo_ctx *ctx, const dfoi_png_grid *grid, dfoi_png *head)
{
    struct layout l;
    return lay_out(ctx, grid, &l, head);
}

dfo_status dfoi_png_grid_write(dfo_ctx *ctx, dfo_file *file, const dfoi_png_grid *grid)
{
    struct layout l;
    dfoi_png head;
    DFO_TRY(lay_out(ctx, grid, &l, &head));
    return dfoi_png_write(ctx, file, &head, fill_row, &l);
}
