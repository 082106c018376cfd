/* Sources of bytes: images (and labels) held as they lie in the file, converted when rows are read.
 * Private.  */
#ifndef DFOI_PIXELS_IMPL_H
#define DFOI_PIXELS_IMPL_H

#include "base/real_impl.h"
#include "data/source_impl.h"

typedef struct dfoi_pixels {
    dfo_file            *file;           /* what holds the bytes, or NULL ... */
    unsigned char       *own;            /* ... then this does, or NULL */
    const unsigned char *bytes;          /* all of them, for the hash */
    size_t               size;
    const unsigned char *data;           /* the first value of row 0; rows channel by channel */
    size_t               stride;         /* bytes from row to row */
    size_t               width;          /* bytes of a value: 1, or 2 in the machine's order */
} dfoi_pixels;

/* Gives the source an empty state, freed with it; fill it, then call dfoi_pixels_images or _column.  */
dfo_status dfoi_pixels_new(dfo_source *source, dfoi_pixels **out);
/* Rows are discrete images of this shape ...  */
void dfoi_pixels_images(dfo_source *source, uint64_t rows, dfo_shape shape);
/* ... or plain vectors of d numbers.  */
void dfoi_pixels_rows(dfo_source *source, uint64_t rows, size_t d);

/* DFO_EARG if columns, weights or a size of images were asked for: the file has one of its own.  */
dfo_status dfoi_pixels_options(dfo_source *source, const dfo_source_options *options);

#endif
