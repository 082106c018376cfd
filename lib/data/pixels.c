/* Rows of bytes or 16-bit words, mapped or in memory: as small as the file, and a shuffled
 * minibatch costs one conversion a value.  */
#include "data/pixels_impl.h"

static void from_bytes(const unsigned char *from, size_t n, dfo_real *to)
{
    for (size_t j = 0; j < n; j++)
        to[j] = (dfo_real)from[j];
}

static void from_words(const uint16_t *from, size_t n, dfo_real *to)
{
    for (size_t j = 0; j < n; j++)
        to[j] = (dfo_real)from[j];
}

static dfo_status fetch(const dfo_source *source, dfo_ctx *ctx, const uint64_t *rows,
                        uint64_t first, dfo_batch x, double *weight)
{
    const dfoi_pixels *p = source->state;
    (void)ctx;
    for (size_t i = 0; i < x.n; i++) {
        const unsigned char *row = p->data + (size_t)(rows ? rows[i] : first + i) * p->stride;
        if (rows && i + DFOI_AHEAD < x.n)
            dfoi_prefetch(p->data + (size_t)rows[i + DFOI_AHEAD] * p->stride, x.d * p->width);
        if (p->width == 1)
            from_bytes(row, x.d, dfo_row(x, i));
        else
            from_words((const void *)row, x.d, dfo_row(x, i));
        if (weight)
            weight[i] = 1;
    }
    return DFO_OK;
}

static uint64_t hash(const dfo_source *source)
{
    const dfoi_pixels *p = source->state;
    return dfoi_source_hash_bytes(p->bytes, p->size);
}

static void release(dfo_source *source)
{
    dfoi_pixels *p = source->state;
    dfoi_file_free(p->file);
    dfoi_free(source->ctx, p->own);
    dfoi_free(source->ctx, p);
}

dfo_status dfoi_pixels_new(dfo_source *source, dfoi_pixels **out)
{
    static const struct dfoi_source_ops ops = {
        .fetch = fetch,
        .hash = hash,
        .free = release,
    };
    DFO_TRY(dfoi_alloc(source->ctx, 1, sizeof **out, out));
    source->ops = &ops;
    source->state = *out;
    return DFO_OK;
}

void dfoi_pixels_rows(dfo_source *source, uint64_t rows, size_t d)
{
    source->d = d;
    source->info.rows = rows;
    source->info.shape = dfo_shape_vector(d);
}

void dfoi_pixels_images(dfo_source *source, uint64_t rows, dfo_shape shape)
{
    const dfoi_pixels *p = source->state;
    dfoi_pixels_rows(source, rows, dfo_shape_size(shape));
    source->info.shape = shape;
    source->info.discrete = 1;
    source->info.levels = p->width == 1 ? 256 : 65536;
}

dfo_status dfoi_pixels_options(dfo_source *source, const dfo_source_options *options)
{
    if (options->columns || options->weights_column)
        return dfoi_fail(source->ctx, DFO_EARG, "%s: columns cannot be chosen from images",
                         source->name);
    if (options->images)
        return dfoi_fail(source->ctx, DFO_EARG,
                         "%s: its images have a size of their own, none can be given",
                         source->name);
    return DFO_OK;
}
