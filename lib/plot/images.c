/* A grid of gray or RGB images as one PNG, written by libpng row by row.  libpng reports errors by
 * longjmp: that is fenced here.  */
#include <png.h>
#include <setjmp.h>
#include <string.h>

#include <diffeo/plot.h>
#include "base/ctx_impl.h"
#include "base/file_impl.h"

#define MOST_PIXELS 65535

struct grid {
    const dfo_plot_images *images;
    size_t columns, rows, zoom, width, height;
};

struct sink {
    dfo_ctx *ctx;
    dfo_file *file;
    dfo_status status;
};

static void write_bytes(png_structp png, png_bytep bytes, png_size_t n)
{
    struct sink *s = png_get_io_ptr(png);
    s->status = dfoi_file_write(s->file, bytes, n);
    if (s->status != DFO_OK)
        png_error(png, "write");
}

static void flush_bytes(png_structp png)
{
    (void)png; /* dfoi_file_commit does */
}

static void failed(png_structp png, png_const_charp text)
{
    struct sink *s = png_get_error_ptr(png);
    if (s->status == DFO_OK)
        s->status = dfoi_fail(s->ctx, strstr(text, "emory") ? DFO_EMEM : DFO_EIO, "%s: libpng: %s",
                              dfoi_file_name(s->file), text);
    png_longjmp(png, 1);
}

static void warned(png_structp png, png_const_charp text)
{
    (void)png;
    (void)text;
}

/* Row y of the picture: white where there is no image.  */
static void fill_row(const struct grid *g, size_t y, unsigned char *row)
{
    const dfo_plot_images *im = g->images;
    size_t cell_h = im->h * g->zoom + im->gap, cell_w = im->w * g->zoom + im->gap,
           plane = im->h * im->w;
    memset(row, 255, g->width * im->c);
    size_t i = y / cell_h, v = y % cell_h / g->zoom;
    if (y % cell_h >= im->h * g->zoom)
        return;
    for (size_t j = 0; j < g->columns && i * g->columns + j < im->n; j++) {
        const unsigned char *from = im->pixel + (i * g->columns + j) * im->c * plane + v * im->w;
        unsigned char *to = row + j * cell_w * im->c;
        for (size_t u = 0; u < im->w * g->zoom; u++)
            for (size_t c = 0; c < im->c; c++)
                to[u * im->c + c] = from[c * plane + u / g->zoom];
    }
}

/* Everything that may longjmp, and nothing else.  */
static void write_png(png_structp png, png_infop info, const struct grid *g, unsigned char *row)
{
    if (setjmp(png_jmpbuf(png)))
        return;
    png_set_IHDR(png, info, (png_uint_32)g->width, (png_uint_32)g->height, 8,
                 g->images->c == 3 ? PNG_COLOR_TYPE_RGB : PNG_COLOR_TYPE_GRAY, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_write_info(png, info);
    for (size_t y = 0; y < g->height; y++) {
        fill_row(g, y, row);
        png_write_row(png, row);
    }
    png_write_end(png, info);
}

static dfo_status write_file(dfo_ctx *ctx, const struct grid *g, unsigned char *row, struct sink *s)
{
    s->ctx = ctx;
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, s, failed, warned);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    if (!info) {
        png_destroy_write_struct(&png, NULL);
        return dfoi_fail(ctx, DFO_EMEM, "out of memory: picture");
    }
    png_set_write_fn(png, s, write_bytes, flush_bytes);
    write_png(png, info, g, row);
    png_destroy_write_struct(&png, &info);
    return s->status;
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

dfo_status dfo_plot_images_png(dfo_ctx *ctx, const dfo_plot_images *images, const char *path)
{
    struct grid g = {.images = images};
    struct sink s = {0};
    unsigned char *row = NULL;
    size_t n = images->n, square = 1;
    dfo_status status;
    if (!n || !images->h || !images->w || !images->pixel)
        return dfoi_fail(ctx, DFO_EARG, "image grid: nothing to draw (%zu images of %zu x %zu)", n,
                         images->h, images->w);
    if (images->c != 1 && images->c != 3)
        return dfoi_fail(ctx, DFO_EARG, "image grid: images have 1 or 3 channels, got %zu",
                         images->c);
    while (square < MOST_PIXELS && square * square < n)
        square++;
    g.columns = images->columns ? images->columns : square;
    g.columns = g.columns < n ? g.columns : n;
    g.rows = (n - 1) / g.columns + 1;
    g.zoom = images->zoom ? images->zoom : 1;
    DFO_TRY(extent(ctx, g.columns, images->w, g.zoom, images->gap, "width", &g.width));
    DFO_TRY(extent(ctx, g.rows, images->h, g.zoom, images->gap, "height", &g.height));
    DFO_GO(dfoi_alloc(ctx, g.width, images->c, &row));
    DFO_GO(dfoi_file_create(ctx, path, &s.file));
    DFO_GO(write_file(ctx, &g, row, &s));
    DFO_GO(dfoi_file_commit(s.file));
fail:
    dfoi_file_free(s.file);
    dfoi_free(ctx, row);
    return status;
}
