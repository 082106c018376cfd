/* Sources of PNG pictures: a file is one row; a folder has a row for each of its files *.png, in
 * the order of their names, all of one size and kind.  Kept as bytes or 16-bit words, channel by
 * channel.  */
#include <string.h>

#include "base/folder_impl.h"
#include "base/png_impl.h"
#include "data/pixels_impl.h"

/* (h, w, c) to (c, h, w), values of 1 or 2 bytes.  */
static void to_planes(const dfoi_png *png, const unsigned char *from, unsigned char *to)
{
    size_t area = png->h * png->w, c = png->c;
    if (png->bits == 8) {
        for (size_t k = 0; k < c; k++)
            for (size_t i = 0; i < area; i++)
                to[k * area + i] = from[i * c + k];
        return;
    }
    const uint16_t *words = (const void *)from;
    uint16_t *planes = (void *)to;
    for (size_t k = 0; k < c; k++)
        for (size_t i = 0; i < area; i++)
            planes[k * area + i] = words[i * c + k];
}

struct pictures {
    dfo_source *source;
    dfoi_pixels *pixels;
    uint64_t rows;
    dfoi_png head;          /* of row 0; w = 0: none yet */
    char *first;            /* the name of row 0's file, for messages */
    unsigned char *scratch; /* one picture as it is in the file */
};

static const char *kind(const dfoi_png *png)
{
    return png->c == 3 ? "RGB" : "gray";
}

/* Room for all rows, once the first one's size is known.  */
static dfo_status begin(struct pictures *s, const dfoi_png *head, const char *name)
{
    dfo_ctx *ctx = s->source->ctx;
    size_t bytes = dfoi_png_bytes(head), all;
    size_t limit = dfoi_memory_limit(ctx);
    if (__builtin_mul_overflow(bytes, s->rows, &all) || (limit && all > limit))
        return dfoi_fail(
            ctx, DFO_ELIMIT,
            "%s: %llu pictures of %zu bytes are more than the memory allowed (%zu bytes)",
            s->source->name, (unsigned long long)s->rows, bytes, limit ? limit : SIZE_MAX);
    DFO_TRY(dfoi_strdup(ctx, name, &s->first));
    DFO_TRY(dfoi_alloc_big(ctx, all, 1, &s->pixels->own));
    if (head->c > 1)
        DFO_TRY(dfoi_alloc(ctx, bytes, 1, &s->scratch));
    s->head = *head;
    s->pixels->bytes = s->pixels->data = s->pixels->own;
    s->pixels->size = all;
    s->pixels->stride = bytes;
    s->pixels->width = head->bits / 8;
    return DFO_OK;
}

static dfo_status picture(struct pictures *s, dfo_file *file, uint64_t row)
{
    dfo_ctx *ctx = s->source->ctx;
    const dfoi_png *want = &s->head;
    dfoi_png_reader *reader;
    dfoi_png head;
    dfo_status status = dfoi_png_open(ctx, file, &reader, &head);
    if (status == DFO_OK && !want->w)
        status = begin(s, &head, dfoi_file_name(file));
    if (status == DFO_OK &&
        (head.w != want->w || head.h != want->h || head.c != want->c || head.bits != want->bits))
        status = dfoi_fail(ctx, DFO_EFORMAT,
                           "%s: %zu x %zu pixels, %s, %u bits, but %s has %zu x %zu, %s, %u bits: "
                           "expected one size in a folder",
                           dfoi_file_name(file), head.w, head.h, kind(&head), head.bits, s->first,
                           want->w, want->h, kind(want), want->bits);
    if (status == DFO_OK) {
        unsigned char *to = s->pixels->own + row * s->pixels->stride;
        status = dfoi_png_pixels(reader, s->scratch ? s->scratch : to);
        if (status == DFO_OK && s->scratch)
            to_planes(&head, s->scratch, to);
    }
    dfoi_png_reader_free(reader);
    return status;
}

static dfo_status each_of(struct pictures *s, const char *folder, const dfoi_names *names)
{
    dfo_ctx *ctx = s->source->ctx;
    for (size_t i = 0; i < names->n; i++) {
        char *path;
        dfo_file *file;
        DFO_TRY(dfoi_folder_join(ctx, folder, names->name[i], &path));
        dfo_status status = dfoi_file_open(ctx, path, &file);
        dfoi_free(ctx, path);
        if (status == DFO_OK)
            status = picture(s, file, i);
        dfoi_file_free(file);
        DFO_TRY(status);
    }
    return DFO_OK;
}

static dfo_status read_folder(struct pictures *s, const char *path)
{
    dfo_ctx *ctx = s->source->ctx;
    dfoi_names names;
    dfo_status status = dfoi_folder_list(ctx, path, ".png", &names);
    s->rows = names.n;
    if (status == DFO_OK && !names.n)
        status = dfoi_fail(ctx, DFO_EFORMAT, "%s: is a directory without any *.png", path);
    if (status == DFO_OK)
        status = each_of(s, path, &names);
    dfoi_names_free(ctx, &names);
    return status;
}

static dfo_status open(dfo_source *source, const char *path, dfo_file *file,
                       const dfo_source_options *options)
{
    struct pictures s = {.source = source, .rows = 1};
    DFO_TRY(dfoi_pixels_new(source, &s.pixels));
    DFO_TRY(dfoi_pixels_options(source, options));
    if (options->labels)
        return dfoi_fail(source->ctx, DFO_EUNSUP, "%s: pictures hold no labels", source->name);
    dfo_status status = file ? picture(&s, file, 0) : read_folder(&s, path);
    dfoi_free(source->ctx, s.scratch);
    dfoi_free(source->ctx, s.first);
    DFO_TRY(status);
    dfoi_pixels_images(source, s.rows, (dfo_shape){s.head.c, s.head.h, s.head.w});
    dfoi_file_free(file);
    return DFO_OK;
}

static int sniff(const unsigned char *head, size_t n)
{
    return n >= 8 && !memcmp(head, "\x89PNG\r\n\x1a\n", 8) ? 2 : 0;
}

const dfoi_reader dfoi_reader_png = {
    .name = "png",
    .suffixes = (const char *const[]){".png", NULL},
    .folders = 1,
    .sniff = sniff,
    .open = open,
};
