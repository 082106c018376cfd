/* The header of IDX files (LeCun, Cortes, Burges, "The MNIST database"): two bytes 0, one with the
 * type of the values (8: bytes), one with the number of dimensions; then each dimension as 4 bytes,
 * big-endian. Bytes in one (labels), two (rows) or three dimensions (images) are read.  */
#include <string.h>

#include "base/ctx_impl.h"
#include "data/idx_impl.h"

static size_t big_endian(const unsigned char *b)
{
    return (size_t)b[0] << 24 | (size_t)b[1] << 16 | (size_t)b[2] << 8 | b[3];
}

static dfo_status shape(dfo_ctx *ctx, const char *file, const unsigned char *b, dfoi_idx *out)
{
    uint64_t row = 1, all;
    for (size_t i = 0; i < out->ndim; i++) {
        out->shape[i] = big_endian(b + 4 + 4 * i);
        if (!out->shape[i])
            return dfoi_fail(ctx, DFO_EFORMAT,
                             "%s: expected rows of bytes, found none (dimension %zu is 0)", file,
                             i + 1);
        if (i)
            row *= out->shape[i]; /* below 2^64: two dimensions */
    }
    if (__builtin_mul_overflow(row, out->shape[0], &all) || all > SIZE_MAX - out->start)
        return dfoi_fail(
            ctx, DFO_EFORMAT,
            "%s: the header promises %zu rows of %llu bytes, more than can be addressed", file,
            out->shape[0], (unsigned long long)row);
    out->elements = (size_t)row;
    return DFO_OK;
}

dfo_status dfoi_idx_header(dfo_ctx *ctx, const char *file, const void *bytes, size_t n,
                           uint64_t size, dfoi_idx *out)
{
    const unsigned char *b = bytes;
    *out = (dfoi_idx){0};
    if (n < 4)
        return dfoi_fail(ctx, DFO_EFORMAT, "%s: truncated: expected an IDX header, found %zu bytes",
                         file, n);
    if (b[0] || b[1])
        return dfoi_fail(ctx, DFO_EFORMAT,
                         "%s: not an IDX file: expected it to begin with two bytes 0", file);
    if (b[2] != 8)
        return dfoi_fail(ctx, DFO_EUNSUP, "%s: IDX values of type 0x%02x, expected bytes (0x08)",
                         file, b[2]);
    if (b[3] < 1 || b[3] > 3)
        return dfoi_fail(ctx, DFO_EUNSUP, "%s: an IDX array of %d dimensions, expected 1 to 3",
                         file, b[3]);
    out->ndim = b[3];
    out->start = 4 + 4 * out->ndim;
    if (n < out->start)
        return dfoi_fail(ctx, DFO_EFORMAT,
                         "%s: truncated: expected an IDX header of %zu bytes, the file has %zu",
                         file, out->start, n);
    DFO_TRY(shape(ctx, file, b, out));
    uint64_t all = out->start + (uint64_t)out->shape[0] * out->elements;
    if (size != UINT64_MAX && size != all)
        return dfoi_fail(ctx, DFO_EFORMAT,
                         "%s: %s: the header promises %llu bytes, the file has %llu", file,
                         size < all ? "truncated" : "too long", (unsigned long long)all,
                         (unsigned long long)size);
    return DFO_OK;
}
