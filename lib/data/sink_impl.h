/* Sinks of images behind the common front of sink.c.  Private.  */
#ifndef DFOI_SINK_IMPL_H
#define DFOI_SINK_IMPL_H

#include "base/real_impl.h"
#include <diffeo/source.h>

typedef struct dfoi_image_sink dfoi_image_sink;

/* A sink of `rows` images by its name: X.png (a grid), a folder, X.npy; or as format says ("png", "npy").  */
dfo_status dfoi_images_open(dfo_ctx *ctx, const char *path, const char *format, uint64_t rows,
                            dfo_shape shape, uint32_t levels, size_t columns,
                            dfoi_image_sink **out);
dfo_status dfoi_images_write(dfoi_image_sink *sink, dfo_batch x);
dfo_status dfoi_images_finish(dfoi_image_sink *sink);
void dfoi_images_free(dfoi_image_sink *sink);           /* NULL is fine */

#endif
