/* Sources of CIFAR-10's binary files (Krizhevsky 2009): records of 3,073 bytes, one of the label
 * (0..9), then 1,024 each of red, green and blue, 32 rows of 32.  The rows are the images; the
 * labels are read by themselves (dfo_source_labels), from the same bytes.  */
#include "data/pixels_impl.h"

#define RECORD ((size_t)3073)
#define CLASSES 10

static dfo_status check(dfo_source *source, const dfoi_pixels *p)
{
    if (p->size % RECORD)
        return dfoi_fail(
            source->ctx, DFO_EFORMAT,
            "%s: expected records of %zu bytes (CIFAR-10), found %zu and %zu bytes more",
            source->name, RECORD, p->size / RECORD, p->size % RECORD);
    for (size_t i = 0; i < p->size / RECORD; i++)
        if (p->bytes[i * RECORD] >= CLASSES)
            return dfoi_fail(
                source->ctx, DFO_EFORMAT,
                "%s: row %zu: expected a label from 0 to %d, found %d (not a CIFAR-10 file?)",
                source->name, i, CLASSES - 1, p->bytes[i * RECORD]);
    return DFO_OK;
}

static dfo_status open(dfo_source *source, const char *path, dfo_file *file,
                       const dfo_source_options *options)
{
    dfoi_pixels *p;
    const void *bytes;
    int mapped;
    (void)path;
    DFO_TRY(dfoi_pixels_new(source, &p));
    DFO_TRY(dfoi_pixels_options(source, options));
    size_t limit = dfoi_memory_limit(source->ctx);
    DFO_TRY(dfoi_file_whole(file, limit ? limit : SIZE_MAX, &bytes, &p->size, &mapped));
    p->bytes = bytes;
    p->width = 1;
    p->stride = RECORD;
    DFO_TRY(check(source, p));
    p->data = p->bytes + !options->labels;
    source->blockwise = mapped && dfoi_source_is_large(p->size);
    if (options->labels)
        dfoi_pixels_rows(source, p->size / RECORD, 1);
    else
        dfoi_pixels_images(source, p->size / RECORD, (dfo_shape){3, 32, 32});
    p->file = file;
    return DFO_OK;
}

const dfoi_reader dfoi_reader_cifar = {
    .name = "cifar10",
    .suffixes = (const char *const[]){".bin", NULL},
    .open = open,
};
