/* The header of IDX files.  Private.  */
#ifndef DFOI_IDX_IMPL_H
#define DFOI_IDX_IMPL_H

#include <stddef.h>
#include <stdint.h>
#include <diffeo/ctx.h>

typedef struct dfoi_idx {
    size_t ndim, shape[3];
    size_t start;                  /* of the data, in bytes */
    size_t elements;               /* of a row, bytes each */
} dfoi_idx;

#define DFOI_IDX_HEAD ((size_t)16)     /* bytes: the longest header */

/* Reads a header from the first n bytes (at least DFOI_IDX_HEAD of them, or the whole file) of a file of
 * `size` bytes (UINT64_MAX: not known yet).  DFO_EFORMAT, DFO_EUNSUP; after DFO_OK
 * start + shape[0] * elements does not overflow, and is the size where that is known.  */
dfo_status dfoi_idx_header(dfo_ctx *ctx, const char *file, const void *bytes, size_t n, uint64_t size,
                           dfoi_idx *out);

#endif
