/* Images to PNG (a grid in one file, or a folder with a file each) and NPY ((n,h,w) or (n,h,w,c) of
 * u1 or u2, or of reals). Values are rounded and kept within 0 .. levels-1.  Grid and files are gathered in
 * memory or beside their place: nothing half-written appears.  */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/ctx_impl.h"
#include "base/file_impl.h"
#include "base/folder_impl.h"
#include "base/png_impl.h"
#include "data/sink_impl.h"
#include "data/table_impl.h"

#define MOST_GRID ((size_t)256 << 20) /* bytes, where the context has no limit */

enum kind { GRID, FOLDER, ARRAY };

struct dfoi_image_sink {
    dfo_ctx *ctx;
    enum kind kind;
    uint64_t rows, at;
    dfo_shape shape;
    size_t columns;
    size_t size; /* bytes of a value */
    double most; /* levels - 1; 0: values are written as they are */
    char *path;
    dfo_file *file;        /* ARRAY */
    dfoi_folder *folder;   /* FOLDER */
    unsigned char *pixel;  /* GRID: (rows, c, h, w); else one image */
    unsigned char *turned; /* ARRAY of colours: one image (h, w, c) */
};

static size_t image_bytes(const dfoi_image_sink *s)
{
    return dfo_shape_size(s->shape) * s->size;
}

/* ---- opening ---- */

static dfo_status choose(dfoi_image_sink *s, const char *format)
{
    size_t n = strlen(s->path);
    int png = format ? !strcmp(format, "png") : n > 4 && !strcasecmp(s->path + n - 4, ".png");
    int npy = format ? !strcmp(format, "npy") : n > 4 && !strcasecmp(s->path + n - 4, ".npy");
    int folder = dfoi_is_folder(s->path) || (n && s->path[n - 1] == '/');
    if (folder && (!format || png))
        s->kind = FOLDER;
    else if (png)
        s->kind = GRID;
    else if (npy)
        s->kind = ARRAY;
    else
        return dfoi_fail(s->ctx, DFO_EARG,
                         "%s: expected the name of an output of images to end in .png, .npy or /",
                         s->path);
    if (s->kind != ARRAY && s->most == 0)
        return dfoi_fail(s->ctx, DFO_EARG, "%s: images of real values go to an output that ends in .npy", s->path);
    if (s->kind != ARRAY && s->shape.c != 1 && s->shape.c != 3)
        return dfoi_fail(s->ctx, DFO_EARG, "%s: pictures have 1 or 3 channels, these images %zu",
                         s->path, s->shape.c);
    return DFO_OK;
}

static dfoi_png_grid grid_of(const dfoi_image_sink *s)
{
    return (dfoi_png_grid){
        .pixel = s->pixel,
        .n = (size_t)s->rows,
        .c = s->shape.c,
        .h = s->shape.h,
        .w = s->shape.w,
        .bits = (unsigned)(8 * s->size),
        .columns = s->columns,
        .gap = s->shape.w < 64 && s->shape.h < 64 ? 1 : 2,
    };
}

static dfo_status open_grid(dfoi_image_sink *s)
{
    dfoi_png_grid grid = grid_of(s);
    dfoi_png head;
    size_t all, limit = dfoi_memory_limit(s->ctx);
    limit = limit ? limit : MOST_GRID;
    DFO_TRY(dfoi_png_grid_head(s->ctx, &grid, &head));
    if (__builtin_mul_overflow((size_t)s->rows, image_bytes(s), &all) || all > limit)
        return dfoi_fail(s->ctx, DFO_ELIMIT,
                         "%s: %llu images of %zu bytes need more than %zu bytes in a grid", s->path,
                         (unsigned long long)s->rows, image_bytes(s), limit);
    DFO_TRY(dfoi_alloc_big(s->ctx, all, 1, &s->pixel));
    return dfoi_file_create(s->ctx, s->path, &s->file);
}

static dfo_status open_array(dfoi_image_sink *s)
{
    char shape[128];
    int n = snprintf(shape, sizeof shape, "(%llu, %zu, %zu", (unsigned long long)s->rows,
                     s->shape.h, s->shape.w);
    if (s->shape.c > 1)
        n += snprintf(shape + n, sizeof shape - (size_t)n, ", %zu", s->shape.c);
    snprintf(shape + n, sizeof shape - (size_t)n, ")");
    DFO_TRY(dfoi_alloc(s->ctx, image_bytes(s), 1, &s->pixel));
    DFO_TRY(dfoi_alloc(s->ctx, image_bytes(s), 1, &s->turned));
    DFO_TRY(dfoi_file_create(s->ctx, s->path, &s->file));
    return dfoi_npy_write_head(s->file, s->most > 0 ? 'u' : 'f', s->size, shape);
}

dfo_status dfoi_images_open(dfo_ctx *ctx, const char *path, const char *format, uint64_t rows,
                            dfo_shape shape, uint32_t levels, size_t columns, dfoi_image_sink **out)
{
    dfoi_image_sink *s;
    dfo_status status;
    *out = NULL;
    if (levels == 1 || levels > 65536 || !rows || !dfo_shape_size(shape))
        return dfoi_fail(ctx, DFO_EARG, "%s: expected images of 2 to 65536 levels, got %llu of %u",
                         path, (unsigned long long)rows, levels);
    DFO_TRY(dfoi_alloc(ctx, 1, sizeof *s, &s));
    s->ctx = ctx;
    s->rows = rows;
    s->shape = shape;
    s->size = levels == 0 ? sizeof(dfo_real) : levels <= 256 ? 1 : 2;
    s->most = levels ? levels - 1 : 0;
    s->columns = columns;
    DFO_GO(dfoi_strdup(ctx, path, &s->path));
    DFO_GO(choose(s, format));
    if (s->kind == GRID) {
        DFO_GO(open_grid(s));
    } else if (s->kind == ARRAY) {
        DFO_GO(open_array(s));
    } else {
        DFO_GO(dfoi_alloc(ctx, image_bytes(s), 1, &s->pixel));
        DFO_GO(dfoi_folder_create(ctx, path, &s->folder));
    }
    *out = s;
    return DFO_OK;
fail:
    dfoi_images_free(s);
    return status;
}

/* ---- writing ---- */

/* Rounds a row into values of 1 or 2 bytes.  */
static void quantise(const dfoi_image_sink *s, const dfo_real *row, unsigned char *to)
{
    size_t d = dfo_shape_size(s->shape);
    if (s->most == 0)
        memcpy(to, row, d * sizeof *row);
    for (size_t j = 0; s->most > 0 && j < d; j++) {
        double v = (double)row[j] + 0.5;
        uint16_t word = (uint16_t)(!(v > 0) ? 0 : v > s->most ? s->most : v);
        if (s->size == 1)
            to[j] = (unsigned char)word;
        else
            memcpy(to + 2 * j, &word, 2);
    }
}

/* (c, h, w) to (h, w, c).  */
static void turn(const dfoi_image_sink *s)
{
    size_t area = s->shape.h * s->shape.w, c = s->shape.c;
    for (size_t i = 0; i < area; i++)
        for (size_t k = 0; k < c; k++)
            memcpy(s->turned + (i * c + k) * s->size, s->pixel + (k * area + i) * s->size, s->size);
}

/* The name of the next picture: its number, with as many digits as the last one has (at least 5).
 */
static dfo_status write_picture(dfoi_image_sink *s)
{
    char name[32], *path;
    int digits = 1;
    for (uint64_t last = s->rows - 1; last >= 10; last /= 10)
        digits++;
    snprintf(name, sizeof name, "%0*llu.png", digits > 5 ? digits : 5, (unsigned long long)s->at);
    dfoi_png_grid one = grid_of(s);
    dfo_file *file;
    one.n = one.columns = 1;
    DFO_TRY(dfoi_folder_join(s->ctx, dfoi_folder_path(s->folder), name, &path));
    dfo_status status = dfoi_file_create(s->ctx, path, &file);
    dfoi_free(s->ctx, path);
    if (status == DFO_OK)
        status = dfoi_png_grid_write(s->ctx, file, &one);
    if (status == DFO_OK)
        status = dfoi_file_commit(file);
    dfoi_file_free(file);
    return status;
}

dfo_status dfoi_images_write(dfoi_image_sink *s, dfo_batch x)
{
    for (size_t i = 0; i < x.n; i++, s->at++) {
        unsigned char *to = s->kind == GRID ? s->pixel + (size_t)s->at * image_bytes(s) : s->pixel;
        quantise(s, dfo_row(x, i), to);
        if (s->kind == FOLDER)
            DFO_TRY(write_picture(s));
        if (s->kind == ARRAY) {
            turn(s);
            DFO_TRY(dfoi_file_write(s->file, s->turned, image_bytes(s)));
        }
    }
    return DFO_OK;
}

dfo_status dfoi_images_finish(dfoi_image_sink *s)
{
    if (s->kind == FOLDER)
        return dfoi_folder_commit(s->folder);
    if (s->kind == GRID) {
        dfoi_png_grid grid = grid_of(s);
        DFO_TRY(dfoi_png_grid_write(s->ctx, s->file, &grid));
    }
    return dfoi_file_commit(s->file);
}

void dfoi_images_free(dfoi_image_sink *s)
{
    if (!s)
        return;
    dfoi_folder_free(s->folder);
    dfoi_file_free(s->file);
    dfoi_free(s->ctx, s->turned);
    dfoi_free(s->ctx, s->pixel);
    dfoi_free(s->ctx, s->path);
    dfoi_free(s->ctx, s);
}
