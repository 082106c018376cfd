/* Reading and writing safetensors: 8 bytes length, a JSON header, raw little-endian data.  Private.  */
#ifndef DFOI_SAFETENSORS_IMPL_H
#define DFOI_SAFETENSORS_IMPL_H

#include <stdint.h>
#include <stddef.h>
#include <jansson.h>
#include <diffeo/ctx.h>

typedef enum dfoi_dtype { DFOI_F32, DFOI_F64, DFOI_U8, DFOI_I32, DFOI_I64, DFOI_U64, DFOI_DTYPES } dfoi_dtype;
size_t dfoi_dtype_size(dfoi_dtype type);
const char *dfoi_dtype_name(dfoi_dtype type);        /* "F32" */

/* ---- reading: the whole file is checked before any tensor is handed out (header length, JSON depth,
 * duplicate names, overlaps, holes, sizes that overflow or pass the end).  */
typedef struct dfoi_tensors dfoi_tensors;

typedef struct dfoi_tensor {
    const char *name;
    dfoi_dtype  type;
    size_t      ndim, shape[8];
    size_t      count;               /* elements */
    const void *data;                /* in memory, aligned to the element if the file is; use dfoi_tensor_get */
} dfoi_tensor;

/* Opens a file (mapped or read) or a memory block (not copied).  */
dfo_status dfoi_tensors_open(dfo_ctx *ctx, const char *path, dfoi_tensors **out);
dfo_status dfoi_tensors_memory(dfo_ctx *ctx, const void *bytes, size_t n, const char *name, dfoi_tensors **out);
void dfoi_tensors_free(dfoi_tensors *t);
size_t dfoi_tensors_count(const dfoi_tensors *t);
const dfoi_tensor *dfoi_tensors_at(const dfoi_tensors *t, size_t i);
const dfoi_tensor *dfoi_tensors_find(const dfoi_tensors *t, const char *name);   /* or NULL */
/* A string under __metadata__, or NULL.  */
const char *dfoi_tensors_metadata(const dfoi_tensors *t, const char *key);
/* FNV-1a 64 of the whole file, as text.  */
void dfoi_tensors_hash(const dfoi_tensors *t, char out[17]);
/* Converts elements to doubles or floats (any dtype); n must be the count.  */
void dfoi_tensor_doubles(const dfoi_tensor *t, size_t first, size_t n, double *out);
void dfoi_tensor_floats(const dfoi_tensor *t, size_t first, size_t n, float *out);

/* ---- writing: declare all tensors, then begin, then their data in the order declared.  */
typedef struct dfoi_tensors_writer dfoi_tensors_writer;
dfo_status dfoi_tensors_create(dfo_ctx *ctx, const char *path, dfoi_tensors_writer **out);
dfo_status dfoi_tensors_meta(dfoi_tensors_writer *w, const char *key, const char *value);
dfo_status dfoi_tensors_declare(dfoi_tensors_writer *w, const char *name, dfoi_dtype type, size_t ndim,
                                const size_t *shape);
dfo_status dfoi_tensors_begin(dfoi_tensors_writer *w);
/* bytes of the tensor now due; may come in pieces.  */
dfo_status dfoi_tensors_write(dfoi_tensors_writer *w, const void *data, size_t bytes);
dfo_status dfoi_tensors_finish(dfoi_tensors_writer *w);          /* checks completeness, renames into place */
void dfoi_tensors_writer_free(dfoi_tensors_writer *w);           /* NULL fine; before finish nothing appears */

#endif
