/* Writing safetensors: the header is complete before the first byte, so the data stream through.  It is
 * padded with blanks to a multiple of 64 bytes: mapped tensors whose sizes are multiples too are aligned.  */
#include <string.h>

#include "base/ctx_impl.h"
#include "base/file_impl.h"
#include "base/json_impl.h"
#include "data/safetensors_impl.h"

struct dfoi_tensors_writer {
    dfo_ctx  *ctx;
    dfo_file *file;
    json_t   *root, *metadata;         /* metadata belongs to root */
    size_t   *bytes;                   /* (count) of each tensor */
    size_t    count, room;
    size_t    end;                     /* of the data declared so far */
    int       begun;
    size_t    current, written;        /* tensor now due; bytes of it that came */
};

dfo_status dfoi_tensors_create(dfo_ctx *ctx, const char *path, dfoi_tensors_writer **out)
{
    dfoi_tensors_writer *w;
    dfo_status status;
    *out = NULL;
    DFO_TRY(dfoi_alloc(ctx, 1, sizeof *w, &w));
    w->ctx = ctx;
    DFO_GO(dfoi_file_create(ctx, path, &w->file));
    w->root = json_object();
    w->metadata = w->root ? json_object() : NULL;
    DFO_GO(dfoi_json_set(ctx, w->root, "__metadata__", w->metadata));
    *out = w;
    return DFO_OK;
fail:
    dfoi_tensors_writer_free(w);
    return status;
}

void dfoi_tensors_writer_free(dfoi_tensors_writer *w)
{
    if (!w)
        return;
    json_decref(w->root);
    dfoi_free(w->ctx, w->bytes);
    dfoi_file_free(w->file);
    dfoi_free(w->ctx, w);
}

/* Text that JSON can hold: UTF-8 without surrogates or overlong forms (RFC 3629).  */
static int is_utf8(const char *text)
{
    const unsigned char *s = (const unsigned char *)text;
    while (*s) {
        static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
        int more = *s < 0x80 ? 0 : *s >> 5 == 6 ? 1 : *s >> 4 == 14 ? 2 : *s >> 3 == 30 ? 3 : -1;
        if (more < 0)
            return 0;
        uint32_t c = more ? *s & (0x3fu >> more) : *s;
        s++;
        for (int k = 0; k < more; k++, s++) {
            if (*s >> 6 != 2)
                return 0;
            c = c << 6 | (*s & 0x3f);
        }
        if (c < least[more] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
            return 0;
    }
    return 1;
}

static dfo_status check_text(dfoi_tensors_writer *w, const char *text, const char *what)
{
    if (w->begun)
        return dfoi_fail(w->ctx, DFO_EARG, "%s: %s after the data have begun", dfoi_file_name(w->file), what);
    if (!is_utf8(text))
        return dfoi_fail(w->ctx, DFO_EARG, "%s: %s '%.40s' is not UTF-8", dfoi_file_name(w->file), what, text);
    return DFO_OK;
}

dfo_status dfoi_tensors_meta(dfoi_tensors_writer *w, const char *key, const char *value)
{
    DFO_TRY(check_text(w, key, "metadata"));
    DFO_TRY(check_text(w, value, "metadata"));
    return dfoi_json_set(w->ctx, w->metadata, key, json_string(value));
}

/* {"dtype":"F32","shape":[2,3],"data_offsets":[0,24]} */
static dfo_status describe(dfoi_tensors_writer *w, json_t *entry, dfoi_dtype type, size_t ndim, const size_t *shape,
                           size_t end)
{
    DFO_TRY(dfoi_json_set(w->ctx, entry, "dtype", json_string(dfoi_dtype_name(type))));
    json_t *sizes = json_array();
    DFO_TRY(dfoi_json_set(w->ctx, entry, "shape", sizes));
    json_t *offsets = json_array();
    DFO_TRY(dfoi_json_set(w->ctx, entry, "data_offsets", offsets));
    int failed = 0;
    for (size_t i = 0; i < ndim; i++)
        failed |= json_array_append_new(sizes, json_integer((json_int_t)shape[i]));
    failed |= json_array_append_new(offsets, json_integer((json_int_t)w->end));
    failed |= json_array_append_new(offsets, json_integer((json_int_t)end));
    return failed ? dfoi_fail(w->ctx, DFO_EMEM, "out of memory: header") : DFO_OK;
}

dfo_status dfoi_tensors_declare(dfoi_tensors_writer *w, const char *name, dfoi_dtype type, size_t ndim,
                                const size_t *shape)
{
    size_t bytes = dfoi_dtype_size(type), end;
    DFO_TRY(check_text(w, name, "tensor"));
    if (ndim > 8)
        return dfoi_fail(w->ctx, DFO_EARG, "%s: %zu dimensions, expected at most 8", name, ndim);
    if (json_object_get(w->root, name))
        return dfoi_fail(w->ctx, DFO_EARG, "%s: two tensors of this name", name);
    for (size_t i = 0; i < ndim; i++)
        DFO_TRY(dfoi_mul(w->ctx, bytes, shape[i], name, &bytes));
    if (__builtin_add_overflow(w->end, bytes, &end) || end > INT64_MAX)
        return dfoi_fail(w->ctx, DFO_EMEM, "%s: more bytes than can be addressed", name);
    if (w->count == w->room) {
        size_t room = w->room ? 2 * w->room : 64;
        DFO_TRY(dfoi_grow(w->ctx, w->count, room, sizeof *w->bytes, &w->bytes));
        w->room = room;
    }
    json_t *entry = json_object();
    DFO_TRY(dfoi_json_set(w->ctx, w->root, name, entry));
    DFO_TRY(describe(w, entry, type, ndim, shape, end));
    w->bytes[w->count++] = bytes;
    w->end = end;
    return DFO_OK;
}

/* Goes on to the next tensor that has bytes.  */
static void advance(dfoi_tensors_writer *w)
{
    while (w->current < w->count && w->written == w->bytes[w->current]) {
        w->current++;
        w->written = 0;
    }
}

dfo_status dfoi_tensors_begin(dfoi_tensors_writer *w)
{
    static const char blanks[64] = "                                                                ";
    char *text;
    if (!json_object_size(w->metadata))
        json_object_del(w->root, "__metadata__");
    DFO_TRY(dfoi_json_dump(w->ctx, w->root, JSON_COMPACT, &text));
    size_t n = strlen(text), pad = (64 - (8 + n) % 64) % 64;
    uint64_t length = n + pad;
    w->begun = 1;
    dfo_status status = dfoi_file_write(w->file, &length, sizeof length);
    if (status == DFO_OK)
        status = dfoi_file_write(w->file, text, n);
    if (status == DFO_OK)
        status = dfoi_file_write(w->file, blanks, pad);
    dfoi_free(w->ctx, text);
    advance(w);
    return status;
}

dfo_status dfoi_tensors_write(dfoi_tensors_writer *w, const void *data, size_t bytes)
{
    size_t due = w->begun && w->current < w->count ? w->bytes[w->current] - w->written : 0;
    if (bytes > due)
        return dfoi_fail(w->ctx, DFO_EARG, "%s: %zu bytes for a tensor that lacks %zu", dfoi_file_name(w->file), bytes,
                         due);
    DFO_TRY(dfoi_file_write(w->file, data, bytes));
    w->written += bytes;
    advance(w);
    return DFO_OK;
}

dfo_status dfoi_tensors_finish(dfoi_tensors_writer *w)
{
    if (!w->begun || w->current < w->count)
        return dfoi_fail(w->ctx, DFO_EARG, "%s: not all tensors were written", dfoi_file_name(w->file));
    return dfoi_file_commit(w->file);
}
