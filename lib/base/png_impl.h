/* PNG pictures, gray or RGB, 8 or 16 bits a value: reading, writing, grids.  libpng reports errors by
 * longjmp, which stays inside png.c.  Private.  */
#ifndef DFOI_PNG_IMPL_H
#define DFOI_PNG_IMPL_H

#include <stddef.h>
#include <diffeo/ctx.h>
#include "base/file_impl.h"

typedef struct dfoi_png {
    size_t   w, h, c;              /* c: 1 gray, 3 RGB */
    unsigned bits;                 /* 8 or 16 a value */
} dfoi_png;

/* Bytes of the picture as it lies in memory.  */
static inline size_t dfoi_png_bytes(const dfoi_png *png)
{
    return png->w * png->h * png->c * (png->bits / 8);
}

typedef struct dfoi_png_reader dfoi_png_reader;

/* Reads up to the pixels of a file (which must stay open until the reader is freed) and says what they
 * will be: palettes become RGB, gray of 1, 2 or 4 bits becomes 8.  Nothing is asked for that depends on
 * the size before it is known to be within the context's memory limit (256 MiB where there is none):
 * else DFO_ELIMIT with the bytes needed.  DFO_EUNSUP for alpha or transparency, DFO_EFORMAT for what is no
 * PNG, truncated or damaged; messages name the file.  */
dfo_status dfoi_png_open(dfo_ctx *ctx, dfo_file *file, dfoi_png_reader **out, dfoi_png *head);
/* The pixels (h, w, c) to `to`, values of 16 bits in the machine's byte order; once.  */
dfo_status dfoi_png_pixels(dfoi_png_reader *reader, unsigned char *to);
void dfoi_png_reader_free(dfoi_png_reader *reader);     /* NULL is fine */

/* Gives row y of a picture (w, c), as dfoi_png_pixels does.  */
typedef void (*dfoi_png_row)(void *data, size_t y, unsigned char *row);

/* Writes a picture whose rows come one by one; the file is not committed.  */
dfo_status dfoi_png_write(dfo_ctx *ctx, dfo_file *file, const dfoi_png *head, dfoi_png_row row, void *data);

/* n images laid out row after row.  */
typedef struct dfoi_png_grid {
    const unsigned char *pixel;    /* (n, c, h, w): channel by channel; 16 bits: in the machine's order */
    size_t   n, c, h, w;
    unsigned bits;
    size_t   columns;              /* 0: about as many as rows */
    size_t   gap;                  /* white pixels between images */
    size_t   zoom;                 /* each pixel as zoom x zoom; 0: 1 */
} dfoi_png_grid;

/* The picture that a grid becomes.  DFO_EARG if there is nothing to draw, c is neither 1 nor 3, or it would
 * be wider or higher than 65,535 pixels.  */
dfo_status dfoi_png_grid_head(dfo_ctx *ctx, const dfoi_png_grid *grid, dfoi_png *head);
dfo_status dfoi_png_grid_write(dfo_ctx *ctx, dfo_file *file, const dfoi_png_grid *grid);

#endif
