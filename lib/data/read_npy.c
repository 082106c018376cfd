/* Sources of NPY files: mapped, converted on read.  (n) is one column, (n,d) rows, in C or Fortran order, (n,h,w) and (n,h,w,c)
 * images, given channel by channel.  8- and 16-bit integers are discrete in images only.  */
#include <math.h>
#include <string.h>

#include "data/source_impl.h"
#include "data/table_impl.h"

typedef void (*converter)(const unsigned char *from, size_t n, size_t stride, dfo_real *to);

struct npy {
    dfo_file            *file;
    const unsigned char *bytes, *data;
    size_t               size;             /* of the file */
    dfoi_npy             head;
    converter            convert;
    size_t               channels;         /* interleaved in the file; 1: none */
    size_t               row, step;        /* bytes from a row to the next, from an element of a row to the next */
    dfoi_pick            pick;
    int                  all;              /* every column, in order */
};

/* n elements, stride bytes apart (they need not be aligned), to dfo_real.  Those side by side have a
 * loop of their own, with a constant stride.  */
#define CONVERT(name, type, raw, swap)                                                            \
    static void name(const unsigned char *from, size_t n, size_t stride, dfo_real *to)            \
    {                                                                                             \
        if (stride == sizeof(raw))                                                                \
            name##_each(from, n, sizeof(raw), to);                                                \
        else                                                                                      \
            name##_each(from, n, stride, to);                                                     \
    }
#define EACH(name, type, raw, swap)                                                               \
    static inline __attribute__((always_inline)) void name##_each(const unsigned char *from,      \
                                                                  size_t n, size_t stride,        \
                                                                  dfo_real *to)                   \
    {                                                                                             \
        for (size_t j = 0; j < n; j++) {                                                          \
            raw word;                                                                             \
            type value;                                                                           \
            memcpy(&word, from + j * stride, sizeof word);                                        \
            word = (raw)swap(word);                                                               \
            memcpy(&value, &word, sizeof value);                                                  \
            to[j] = (dfo_real)value;                                                              \
        }                                                                                         \
    }                                                                                             \
    CONVERT(name, type, raw, swap)
#define SAME(word) (word)
EACH(from_u1, uint8_t, uint8_t, SAME)
EACH(from_u2, uint16_t, uint16_t, SAME)
EACH(from_i4, int32_t, uint32_t, SAME)
EACH(from_i8, int64_t, uint64_t, SAME)
EACH(from_f4, float, uint32_t, SAME)
EACH(from_f8, double, uint64_t, SAME)
EACH(from_u2_swapped, uint16_t, uint16_t, __builtin_bswap16)
EACH(from_i4_swapped, int32_t, uint32_t, __builtin_bswap32)
EACH(from_i8_swapped, int64_t, uint64_t, __builtin_bswap64)
EACH(from_f4_swapped, float, uint32_t, __builtin_bswap32)
EACH(from_f8_swapped, double, uint64_t, __builtin_bswap64)

static converter choose(const dfoi_npy *head)
{
    switch (head->kind << 8 | (int)head->size) {
    case 'u' << 8 | 1: return from_u1;
    case 'u' << 8 | 2: return head->swap ? from_u2_swapped : from_u2;
    case 'i' << 8 | 4: return head->swap ? from_i4_swapped : from_i4;
    case 'i' << 8 | 8: return head->swap ? from_i8_swapped : from_i8;
    case 'f' << 8 | 4: return head->swap ? from_f4_swapped : from_f4;
    default:           return head->swap ? from_f8_swapped : from_f8;
    }
}

static dfo_status weigh(const dfo_source *source, dfo_ctx *ctx, const unsigned char *row, uint64_t at, double *weight)
{
    const struct npy *npy = source->state;
    dfo_real w;
    npy->convert(row + npy->pick.weights * npy->step, 1, 0, &w);
    if (!(w >= 0 && w <= DFO_REAL_MAX))
        return dfoi_fail(ctx, DFO_EFORMAT, "%s: row %llu, column %zu: expected a weight of 0 or more, found %g",
                         source->name, (unsigned long long)at, npy->pick.weights + 1, (double)w);
    *weight = (double)w;
    return DFO_OK;
}

static dfo_status fetch(const dfo_source *source, dfo_ctx *ctx, const uint64_t *rows, uint64_t first, dfo_batch x,
                        double *weight)
{
    const struct npy *npy = source->state;
    size_t step = npy->step, c = npy->channels, area = x.d / c;
    for (size_t i = 0; i < x.n; i++) {
        uint64_t at = rows ? rows[i] : first + i;
        const unsigned char *row = npy->data + (size_t)at * npy->row;
        dfo_real *to = dfo_row(x, i);
        if (rows && i + DFOI_AHEAD < x.n)
            dfoi_prefetch(npy->data + (size_t)rows[i + DFOI_AHEAD] * npy->row, npy->row);
        if (npy->all && c == 1)
            npy->convert(row, x.d, step, to);
        else if (npy->all)
            for (size_t k = 0; k < c; k++)
                npy->convert(row + k * step, area, c * step, to + k * area);
        else
            for (size_t j = 0; j < x.d; j++)
                npy->convert(row + npy->pick.column[j] * step, 1, step, to + j);
        if (npy->head.kind == 'f')
            DFO_TRY(dfoi_source_check(source, ctx, to, at, npy->pick.column));
        if (weight && npy->pick.weights == DFOI_NO_COLUMN)
            weight[i] = 1;
        else if (weight)
            DFO_TRY(weigh(source, ctx, row, at, &weight[i]));
    }
    return DFO_OK;
}

static uint64_t hash(const dfo_source *source)
{
    const struct npy *npy = source->state;
    return dfoi_source_hash_bytes(npy->bytes, npy->size);
}

static void release(dfo_source *source)
{
    struct npy *npy = source->state;
    dfoi_pick_free(source->ctx, &npy->pick);
    dfoi_file_free(npy->file);
    dfoi_free(source->ctx, npy);
}

static dfo_status open_images(dfo_source *source, struct npy *npy, const dfo_source_options *options)
{
    dfoi_npy *head = &npy->head;
    if (options->columns || options->weights_column)
        return dfoi_fail(source->ctx, DFO_EARG, "%s: columns cannot be chosen from images", source->name);
    npy->all = 1;
    npy->pick.weights = DFOI_NO_COLUMN;
    source->d = head->elements;
    if (head->ndim <= 2) {
        DFO_TRY(dfoi_source_shape(source, options->images));
    } else {
        size_t c = head->ndim == 4 ? (size_t)head->shape[3] : 1;
        source->info.shape = (dfo_shape){c, (size_t)head->shape[1], (size_t)head->shape[2]};
    }
    npy->channels = source->info.shape.c;
    source->info.discrete = head->kind == 'u';
    source->info.levels = head->kind != 'u' ? 0 : head->size == 1 ? 256 : 65536;
    return DFO_OK;
}

static dfo_status open_table(dfo_source *source, struct npy *npy, const dfo_source_options *options)
{
    dfoi_pick *pick = &npy->pick;
    DFO_TRY(dfoi_pick_columns(source->ctx, source->name, options->columns, options->weights_column,
                              npy->head.elements, NULL, pick));
    npy->channels = 1;
    npy->all = pick->n == npy->head.elements;
    for (size_t j = 0; j < pick->n; j++)
        npy->all &= pick->column[j] == j;
    source->d = pick->n;
    source->info.weighted = pick->weights != DFOI_NO_COLUMN;
    return dfoi_source_shape(source, NULL);
}

static dfo_status open(dfo_source *source, const char *path, dfo_file *file, const dfo_source_options *options)
{
    static const struct dfoi_source_ops ops = {
        .fetch = fetch,
        .hash = hash,
        .free = release,
    };
    struct npy *npy;
    const void *bytes;
    int mapped;
    (void)path;
    DFO_TRY(dfoi_alloc(source->ctx, 1, sizeof *npy, &npy));
    npy->pick.weights = DFOI_NO_COLUMN;
    source->ops = &ops;
    source->state = npy;
    DFO_TRY(dfoi_file_whole(file, SIZE_MAX, &bytes, &npy->size, &mapped));
    DFO_TRY(dfoi_npy_header(source->ctx, source->name, bytes, npy->size, &npy->head));
    npy->bytes = bytes;
    npy->data = npy->bytes + npy->head.start;
    npy->convert = choose(&npy->head);
    npy->row = npy->head.by_column ? npy->head.size : npy->head.elements * npy->head.size;
    npy->step = npy->head.by_column ? (size_t)npy->head.shape[0] * npy->head.size : npy->head.size;
    source->info.rows = npy->head.shape[0];
    source->blockwise = mapped && dfoi_source_is_large(npy->size);
    if (npy->head.ndim > 2 || options->images)
        DFO_TRY(open_images(source, npy, options));
    else
        DFO_TRY(open_table(source, npy, options));
    npy->file = file;
    return DFO_OK;
}

static int sniff(const unsigned char *head, size_t n)
{
    return n >= 6 && !memcmp(head, "\x93NUMPY", 6) ? 2 : 0;
}

const dfoi_reader dfoi_reader_npy = {
    .name = "npy",
    .suffixes = (const char *const[]){".npy", NULL},
    .sniff = sniff,
    .open = open,
};
