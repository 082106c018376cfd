/* Reading safetensors (https://github.com/huggingface/safetensors): 8 bytes with the length of the header,
 * little-endian; the header, one JSON object NAME -> {dtype, shape, data_offsets: [begin, end)} and
 * __metadata__ -> strings; then the data, little-endian, without holes or overlaps.  Everything is
 * checked against the size of the file before a tensor is handed out.  */
#include <stdlib.h>
#include <string.h>

#include "base/ctx_impl.h"
#include "base/file_impl.h"
#include "base/json_impl.h"
#include "data/safetensors_impl.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "tensors are used as they lie in the file");

#define LONGEST ((uint64_t)100 << 20)      /* bytes of header; the reference implementation's limit */
#define DIMENSIONS 8

struct dfoi_tensors {
    dfo_ctx             *ctx;
    dfo_file            *file;             /* NULL: the caller's memory */
    char                *name;
    const unsigned char *bytes;
    size_t               n;
    json_t              *root;
    dfoi_tensor         *tensor;           /* (count) in the order of their data */
    size_t               count;
};

static const struct {
    const char *name;
    size_t      size;
} types[DFOI_DTYPES] = {
    [DFOI_F32] = {"F32", 4}, [DFOI_F64] = {"F64", 8}, [DFOI_U8] = {"U8", 1},
    [DFOI_I32] = {"I32", 4}, [DFOI_I64] = {"I64", 8}, [DFOI_U64] = {"U64", 8},
};

size_t dfoi_dtype_size(dfoi_dtype type)
{
    return types[type].size;
}

const char *dfoi_dtype_name(dfoi_dtype type)
{
    return types[type].name;
}

/* A JSON integer that is not negative.  */
static int whole(const json_t *v, size_t *out)
{
    *out = 0;
    if (!json_is_integer(v) || json_integer_value(v) < 0)
        return 0;
    *out = (size_t)json_integer_value(v);
    return 1;
}

static dfo_status bad(const dfoi_tensors *t, const char *name, const char *text)
{
    return dfoi_fail(t->ctx, DFO_EFORMAT, "%s: tensor '%.80s': %s", t->name, name, text);
}

static dfo_status read_type(const dfoi_tensors *t, const char *name, const json_t *v, dfoi_dtype *out)
{
    if (!json_is_string(v))
        return bad(t, name, "expected dtype, a string");
    for (int k = 0; k < DFOI_DTYPES; k++)
        if (!strcmp(types[k].name, json_string_value(v))) {
            *out = (dfoi_dtype)k;
            return DFO_OK;
        }
    return dfoi_fail(t->ctx, DFO_EUNSUP, "%s: tensor '%.80s': type %.20s, expected F32, F64, U8, I32, I64 or U64",
                     t->name, name, json_string_value(v));
}

static dfo_status read_shape(const dfoi_tensors *t, const char *name, const json_t *v, dfoi_tensor *out)
{
    if (!json_is_array(v))
        return bad(t, name, "expected shape, an array");
    out->ndim = json_array_size(v);
    if (out->ndim > DIMENSIONS)
        return dfoi_fail(t->ctx, DFO_EUNSUP, "%s: tensor '%.80s': %zu dimensions, expected at most %d", t->name, name,
                         out->ndim, DIMENSIONS);
    out->count = 1;
    for (size_t i = 0; i < out->ndim; i++) {
        if (!whole(json_array_get(v, i), &out->shape[i]))
            return bad(t, name, "expected sizes of 0 or more in its shape");
        if (__builtin_mul_overflow(out->count, out->shape[i], &out->count))
            return bad(t, name, "its shape promises more elements than can be addressed");
    }
    return DFO_OK;
}

/* One member of the header.  data: where the data begin, of `size` bytes.  */
static dfo_status read_tensor(const dfoi_tensors *t, const char *name, const json_t *v, const unsigned char *data,
                              size_t size, dfoi_tensor *out)
{
    size_t begin, end, bytes;
    if (!json_is_object(v) || json_object_size(v) != 3)
        return bad(t, name, "expected dtype, shape and data_offsets");
    out->name = name;
    DFO_TRY(read_type(t, name, json_object_get(v, "dtype"), &out->type));
    DFO_TRY(read_shape(t, name, json_object_get(v, "shape"), out));
    const json_t *offsets = json_object_get(v, "data_offsets");
    if (!json_is_array(offsets) || json_array_size(offsets) != 2 || !whole(json_array_get(offsets, 0), &begin) ||
        !whole(json_array_get(offsets, 1), &end) || begin > end)
        return bad(t, name, "expected data_offsets, two numbers of 0 or more, the smaller first");
    if (end > size)
        return dfoi_fail(t->ctx, DFO_EFORMAT, "%s: truncated: tensor '%.80s' ends at byte %zu of the data, found %zu",
                         t->name, name, end, size);
    if (__builtin_mul_overflow(out->count, types[out->type].size, &bytes) || bytes != end - begin)
        return dfoi_fail(t->ctx, DFO_EFORMAT, "%s: tensor '%.80s': its shape has %zu elements of %zu bytes, "
                         "data_offsets give %zu bytes", t->name, name, out->count, types[out->type].size, end - begin);
    out->data = data + begin;
    return DFO_OK;
}

static int by_place(const void *a, const void *b)
{
    const dfoi_tensor *x = a, *y = b;
    if (x->data != y->data)
        return (const char *)x->data < (const char *)y->data ? -1 : 1;
    return x->count < y->count ? -1 : x->count > y->count;          /* empty ones first */
}

/* Data must follow each other from the first byte to the last.  */
static dfo_status check_places(const dfoi_tensors *t, const unsigned char *data, size_t size)
{
    const unsigned char *at = data;
    for (size_t i = 0; i < t->count; i++) {
        const dfoi_tensor *one = &t->tensor[i];
        const unsigned char *begin = one->data;
        if (begin != at)
            return bad(t, one->name, begin < at ? "its data overlap another's" : "a hole before its data");
        at += one->count * types[one->type].size;
    }
    if (at != data + size)
        return dfoi_fail(t->ctx, DFO_EFORMAT, "%s: %zu bytes behind the last tensor, expected none", t->name,
                         (size_t)(data + size - at));
    return DFO_OK;
}

static dfo_status check_metadata(const dfoi_tensors *t, const json_t *metadata)
{
    const char *key;
    json_t *value;
    if (!json_is_object(metadata))
        return dfoi_fail(t->ctx, DFO_EFORMAT, "%s: __metadata__: expected an object of strings", t->name);
    json_object_foreach((json_t *)metadata, key, value)
        if (!json_is_string(value))
            return dfoi_fail(t->ctx, DFO_EFORMAT, "%s: __metadata__: '%.80s': expected a string", t->name, key);
    return DFO_OK;
}

static dfo_status read_header(dfoi_tensors *t)
{
    uint64_t length = 0;
    const char *key;
    json_t *value;
    if (t->n < 8)
        return dfoi_fail(t->ctx, DFO_EFORMAT, "%s: truncated: expected a safetensors file, found %zu bytes", t->name,
                         t->n);
    memcpy(&length, t->bytes, 8);
    if (length > LONGEST)
        return dfoi_fail(t->ctx, DFO_EFORMAT, "%s: not a safetensors file: its first 8 bytes promise a header of %llu "
                         "bytes, expected at most %llu", t->name, (unsigned long long)length,
                         (unsigned long long)LONGEST);
    if (length > t->n - 8)
        return dfoi_fail(t->ctx, DFO_EFORMAT, "%s: truncated: expected a header of %llu bytes, found %zu", t->name,
                         (unsigned long long)length, t->n - 8);
    const char *text = (const char *)t->bytes + 8;
    if (!length || text[0] != '{')
        return dfoi_fail(t->ctx, DFO_EFORMAT, "%s: not a safetensors file: expected its header to begin with {",
                         t->name);
    DFO_TRY(dfoi_json_parse(t->ctx, text, (size_t)length, t->name, &t->root));
    const unsigned char *data = t->bytes + 8 + length;
    size_t size = t->n - 8 - (size_t)length;
    DFO_TRY(dfoi_alloc(t->ctx, json_object_size(t->root), sizeof *t->tensor, &t->tensor));
    json_object_foreach(t->root, key, value) {
        if (!strcmp(key, "__metadata__"))
            DFO_TRY(check_metadata(t, value));
        else
            DFO_TRY(read_tensor(t, key, value, data, size, &t->tensor[t->count++]));
    }
    if (t->count)
        qsort(t->tensor, t->count, sizeof *t->tensor, by_place);
    return check_places(t, data, size);
}

static dfo_status make(dfo_ctx *ctx, dfo_file *file, const void *bytes, size_t n, const char *name, dfoi_tensors **out)
{
    dfoi_tensors *t;
    dfo_status status = dfoi_alloc(ctx, 1, sizeof *t, &t);
    if (status != DFO_OK) {
        dfoi_file_free(file);
        return status;
    }
    t->ctx = ctx;
    t->file = file;
    t->bytes = bytes;
    t->n = n;
    DFO_GO(dfoi_strdup(ctx, name, &t->name));
    DFO_GO(read_header(t));
    *out = t;
    return DFO_OK;
fail:
    dfoi_tensors_free(t);
    return status;
}

dfo_status dfoi_tensors_open(dfo_ctx *ctx, const char *path, dfoi_tensors **out)
{
    dfo_file *file;
    const void *bytes;
    size_t n;
    int mapped;
    *out = NULL;
    DFO_TRY(dfoi_file_open(ctx, path, &file));
    dfo_status status = dfoi_file_whole(file, SIZE_MAX, &bytes, &n, &mapped);
    if (status != DFO_OK) {
        dfoi_file_free(file);
        return status;
    }
    return make(ctx, file, bytes, n, dfoi_file_name(file), out);
}

dfo_status dfoi_tensors_memory(dfo_ctx *ctx, const void *bytes, size_t n, const char *name, dfoi_tensors **out)
{
    *out = NULL;
    return make(ctx, NULL, bytes, n, name, out);
}

void dfoi_tensors_free(dfoi_tensors *t)
{
    if (!t)
        return;
    json_decref(t->root);
    dfoi_free(t->ctx, t->tensor);
    dfoi_free(t->ctx, t->name);
    dfoi_file_free(t->file);
    dfoi_free(t->ctx, t);
}

size_t dfoi_tensors_count(const dfoi_tensors *t)
{
    return t->count;
}

const dfoi_tensor *dfoi_tensors_at(const dfoi_tensors *t, size_t i)
{
    return i < t->count ? &t->tensor[i] : NULL;
}

const dfoi_tensor *dfoi_tensors_find(const dfoi_tensors *t, const char *name)
{
    for (size_t i = 0; i < t->count; i++)
        if (!strcmp(t->tensor[i].name, name))
            return &t->tensor[i];
    return NULL;
}

const char *dfoi_tensors_metadata(const dfoi_tensors *t, const char *key)
{
    return json_string_value(json_object_get(json_object_get(t->root, "__metadata__"), key));
}

void dfoi_tensors_hash(const dfoi_tensors *t, char out[17])
{
    dfoi_hash_text(dfoi_hash(DFOI_HASH_START, t->bytes, t->n), out);
}

/* out[i] = element first + i; elements need not be aligned.  */
#define COPY(type, real)                                                        \
    for (size_t i = 0; i < n; i++) {                                            \
        type value;                                                             \
        memcpy(&value, at + i * sizeof value, sizeof value);                    \
        out[i] = (real)value;                                                   \
    }                                                                           \
    break

#define CONVERT(t, real)                                                        \
    switch ((t)->type) {                                                        \
    case DFOI_F32: COPY(float, real);                                           \
    case DFOI_F64: COPY(double, real);                                          \
    case DFOI_U8: COPY(uint8_t, real);                                          \
    case DFOI_I32: COPY(int32_t, real);                                         \
    case DFOI_I64: COPY(int64_t, real);                                         \
    case DFOI_U64: COPY(uint64_t, real);                                        \
    case DFOI_DTYPES: break;                                                    \
    }

void dfoi_tensor_doubles(const dfoi_tensor *t, size_t first, size_t n, double *out)
{
    const unsigned char *at = (const unsigned char *)t->data + first * types[t->type].size;
    CONVERT(t, double)
}

void dfoi_tensor_floats(const dfoi_tensor *t, size_t first, size_t n, float *out)
{
    const unsigned char *at = (const unsigned char *)t->data + first * types[t->type].size;
    CONVERT(t, float)
}
