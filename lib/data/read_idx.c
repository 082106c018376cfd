/* Sources of IDX files, the format of MNIST: mapped, or unpacked from gzip, as bytes.  Three
 * dimensions are images (n, h, w), one is a column of labels.  */
#include <string.h>

#include "data/idx_impl.h"
#include "data/pixels_impl.h"

/* --images HxW[xC] would give a shape to rows of two dimensions.  */
static dfo_status shape(dfo_source *source, const dfoi_idx *idx, const dfo_source_options *options)
{
    if (options->labels && idx->ndim != 1)
        return dfoi_fail(source->ctx, DFO_EFORMAT,
                         "%s: an IDX array of %zu dimensions, expected labels (1 dimension)",
                         source->name, idx->ndim);
    if (idx->ndim == 3) {
        DFO_TRY(dfoi_pixels_options(source, options));
        dfoi_pixels_images(source, idx->shape[0], (dfo_shape){1, idx->shape[1], idx->shape[2]});
        return DFO_OK;
    }
    if (options->columns || options->weights_column || options->images)
        return dfoi_fail(
            source->ctx, DFO_EARG,
            "%s: an IDX array of %zu dimensions; neither columns nor a size of images can "
            "be given for it",
            source->name, idx->ndim);
    dfoi_pixels_rows(source, idx->shape[0], idx->elements);
    return DFO_OK;
}

static dfo_status open(dfo_source *source, const char *path, dfo_file *file,
                       const dfo_source_options *options)
{
    dfoi_pixels *p;
    dfoi_idx idx;
    const void *head;
    uint64_t size;
    size_t got;
    int mapped;
    (void)path;
    DFO_TRY(dfoi_pixels_new(source, &p));
    DFO_TRY(dfoi_file_size(file, &size));
    DFO_TRY(dfoi_file_peek(file, DFOI_IDX_HEAD, &head, &got));
    DFO_TRY(dfoi_idx_header(source->ctx, source->name, head, got, size, &idx));
    DFO_TRY(
        dfoi_file_whole(file, idx.start + idx.shape[0] * idx.elements, &head, &p->size, &mapped));
    DFO_TRY(dfoi_idx_header(source->ctx, source->name, head, p->size, p->size, &idx));
    p->bytes = head;
    p->data = p->bytes + idx.start;
    p->stride = idx.elements;
    p->width = 1;
    source->blockwise = mapped && dfoi_source_is_large(p->size);
    DFO_TRY(shape(source, &idx, options));
    p->file = file;
    return DFO_OK;
}

static int sniff(const unsigned char *head, size_t n)
{
    return n >= 8 && !head[0] && !head[1] && head[2] == 8 && head[3] >= 1 && head[3] <= 3;
}

const dfoi_reader dfoi_reader_idx = {
    .name = "idx",
    .suffixes = (const char *const[]){"idx1-ubyte", "idx2-ubyte", "idx3-ubyte", ".idx", NULL},
    .sniff = sniff,
    .open = open,
};
