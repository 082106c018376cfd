/* PNG pictures through libpng (ISO/IEC 15948), row by row.  Errors of libpng are longjmps; they end
 * in this file: everything that may longjmp stands in functions that hold nothing to free.  */
#include <png.h>
#include <setjmp.h>
#include <string.h>

#include "base/ctx_impl.h"
#include "base/png_impl.h"

#define MOST_BYTES ((size_t)256 << 20) /* of a picture, where the context has no limit */

/* What libpng's callbacks see.  */
struct stream {
    dfo_ctx *ctx;
    dfo_file *file;
    int writing;
    dfo_status status;
};

struct dfoi_png_reader {
    struct stream stream;
    png_structp png;
    png_infop info;
    dfoi_png head;
};

static void read_bytes(png_structp png, png_bytep bytes, png_size_t n)
{
    struct stream *s = png_get_io_ptr(png);
    size_t got;
    s->status = dfoi_file_read(s->file, bytes, n, &got);
    if (s->status == DFO_OK && got < n)
        s->status = dfoi_fail(s->ctx, DFO_EFORMAT, "%s: truncated: the PNG data end early",
                              dfoi_file_name(s->file));
    if (s->status != DFO_OK)
        png_error(png, "read");
}

static void write_bytes(png_structp png, png_bytep bytes, png_size_t n)
{
    struct stream *s = png_get_io_ptr(png);
    s->status = dfoi_file_write(s->file, bytes, n);
    if (s->status != DFO_OK)
        png_error(png, "write");
}

static void flush_bytes(png_structp png)
{
    (void)png; /* dfoi_file_commit does */
}

static void failed(png_structp png, png_const_charp text)
{
    struct stream *s = png_get_error_ptr(png);
    if (s->status == DFO_OK)
        s->status = dfoi_fail(s->ctx,
                              strstr(text, "emory") ? DFO_EMEM
                              : s->writing          ? DFO_EIO
                                                    : DFO_EFORMAT,
                              "%s: libpng: %s", dfoi_file_name(s->file), text);
    png_longjmp(png, 1);
}

static void warned(png_structp png, png_const_charp text)
{
    (void)png;
    (void)text;
}

static int is_little_endian(void)
{
    return __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__;
}

/* ---- reading ---- */

/* Texts and profiles are not ours to read, and may claim more than memory holds.  May longjmp.  */
static void skip_chunks(png_structp png)
{
    static const png_byte names[] = "tEXt\0zTXt\0iTXt\0iCCP\0sPLT\0hIST\0pCAL\0eXIf";
    png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, names, sizeof names / 5);
    png_set_chunk_malloc_max(png, (png_alloc_size_t)1 << 20);
}

/* May longjmp.  */
static void read_info(dfoi_png_reader *r)
{
    if (setjmp(png_jmpbuf(r->png)))
        return;
    png_set_user_limits(r->png, PNG_UINT_31_MAX, PNG_UINT_31_MAX); /* check_head says more */
    skip_chunks(r->png);
    png_read_info(r->png, r->info);
}

static dfo_status check_head(dfoi_png_reader *r)
{
    struct stream *s = &r->stream;
    const char *name = dfoi_file_name(s->file);
    size_t limit = dfoi_memory_limit(s->ctx), w = png_get_image_width(r->png, r->info),
           h = png_get_image_height(r->png, r->info), bytes;
    int type = png_get_color_type(r->png, r->info);
    if ((type & PNG_COLOR_MASK_ALPHA) || png_get_valid(r->png, r->info, PNG_INFO_tRNS))
        return dfoi_fail(s->ctx, DFO_EUNSUP, "%s: expected gray or RGB, found %s", name,
                         (type & PNG_COLOR_MASK_ALPHA) ? "an alpha channel"
                                                       : "transparent colours");
    r->head = (dfoi_png){
        .w = w,
        .h = h,
        .c = (type & PNG_COLOR_MASK_COLOR) ? 3 : 1,
        .bits = png_get_bit_depth(r->png, r->info) == 16 ? 16 : 8,
    };
    size_t each = r->head.c * (r->head.bits / 8);
    limit = limit ? limit : MOST_BYTES;
    if (__builtin_mul_overflow(w, h, &bytes) || __builtin_mul_overflow(bytes, each, &bytes))
        bytes = SIZE_MAX;
    if (bytes > limit)
        return dfoi_fail(s->ctx, DFO_ELIMIT,
                         "%s: %zu x %zu pixels need %zu bytes, expected at most %zu", name, w, h,
                         bytes, limit);
    return DFO_OK;
}

dfo_status dfoi_png_open(dfo_ctx *ctx, dfo_file *file, dfoi_png_reader **out, dfoi_png *head)
{
    static const unsigned char magic[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
    dfo_status status;
    const void *start;
    size_t n;
    dfoi_png_reader *r = NULL;
    *out = NULL;
    DFO_TRY(dfoi_file_peek(file, sizeof magic, &start, &n));
    if (n < sizeof magic || memcmp(start, magic, sizeof magic))
        return dfoi_fail(ctx, DFO_EFORMAT, "%s: not a PNG file", dfoi_file_name(file));
    DFO_TRY(dfoi_alloc(ctx, 1, sizeof *r, &r));
    r->stream = (struct stream){.ctx = ctx, .file = file};
    r->png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &r->stream, failed, warned);
    r->info = r->png ? png_create_info_struct(r->png) : NULL;
    if (!r->info) {
        status = dfoi_fail(ctx, DFO_EMEM, "%s: out of memory: picture", dfoi_file_name(file));
        goto fail;
    }
    png_set_read_fn(r->png, &r->stream, read_bytes);
    read_info(r);
    DFO_GO(r->stream.status);
    DFO_GO(check_head(r));
    *head = r->head;
    *out = r;
    return DFO_OK;
fail:
    dfoi_png_reader_free(r);
    return status;
}

/* May longjmp.  Interlaced pictures come in seven passes over the same rows.  */
static void read_rows(dfoi_png_reader *r, unsigned char *to)
{
    if (setjmp(png_jmpbuf(r->png)))
        return;
    png_set_expand(r->png); /* palettes, gray below 8 bits */
    if (is_little_endian())
        png_set_swap(r->png);
    int passes = png_set_interlace_handling(r->png);
    png_read_update_info(r->png, r->info);
    size_t stride = r->head.w * r->head.c * (r->head.bits / 8);
    if (png_get_rowbytes(r->png, r->info) != stride)
        png_error(r->png, "rows of another length than the header says");
    for (int pass = 0; pass < passes; pass++)
        for (size_t y = 0; y < r->head.h; y++)
            png_read_row(r->png, to + y * stride, NULL);
    png_read_end(r->png, NULL);
}

dfo_status dfoi_png_pixels(dfoi_png_reader *reader, unsigned char *to)
{
    read_rows(reader, to);
    return reader->stream.status;
}

void dfoi_png_reader_free(dfoi_png_reader *reader)
{
    if (!reader)
        return;
    png_destroy_read_struct(&reader->png, &reader->info, NULL);
    dfoi_free(reader->stream.ctx, reader);
}

/* ---- writing ---- */

/* May longjmp.  */
static void write_rows(png_structp png, png_infop info, const dfoi_png *head, dfoi_png_row give,
                       void *data, unsigned char *row)
{
    if (setjmp(png_jmpbuf(png)))
        return;
    png_set_user_limits(png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
    png_set_IHDR(png, info, (png_uint_32)head->w, (png_uint_32)head->h, (int)head->bits,
                 head->c == 3 ? PNG_COLOR_TYPE_RGB : PNG_COLOR_TYPE_GRAY, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_write_info(png, info);
    if (head->bits == 16 && is_little_endian())
        png_set_swap(png);
    for (size_t y = 0; y < head->h; y++) {
        give(data, y, row);
        png_write_row(png, row);
    }
    png_write_end(png, info);
}

dfo_status dfoi_png_write(dfo_ctx *ctx, dfo_file *file, const dfoi_png *head, dfoi_png_row row,
                          void *data)
{
    struct stream s = {.ctx = ctx, .file = file, .writing = 1};
    unsigned char *bytes = NULL;
    DFO_TRY(dfoi_alloc(ctx, head->w, head->c * (head->bits / 8), &bytes));
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &s, failed, warned);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    if (!info) {
        s.status = dfoi_fail(ctx, DFO_EMEM, "%s: out of memory: picture", dfoi_file_name(file));
    } else {
        png_set_write_fn(png, &s, write_bytes, flush_bytes);
        write_rows(png, info, head, row, data, bytes);
    }
    png_destroy_write_struct(&png, &info);
    dfoi_free(ctx, bytes);
    return s.status;
}
