/* Model files: one safetensors file with the arrays by name, and under __metadata__.diffeo one JSON text:
 * {"format":1,"kind":…,"version":…,"shape":[c,h,w],"context":n,"config":{…},"architecture":{…},"notes":{…}}.
 * Nothing else is needed to use the model.  */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "data/safetensors_impl.h"
#include "model_file.h"

#define FORMAT 1
#define REAL (sizeof(dfo_real) == sizeof(float) ? DFOI_F32 : DFOI_F64)

static dfo_status text_of(dfo_model *model, int notes, char **out)
{
    dfo_status status;
    dfo_ctx *ctx = model->ctx;
    json_t *architecture = json_object();
    json_t *top = json_pack("{s:i, s:s, s:s, s:[I,I,I], s:I, s:O, s:o}", "format", FORMAT, "kind", model->ops->kind,
                            "version", dfo_version(), "shape", (json_int_t)model->shape.c,
                            (json_int_t)model->shape.h, (json_int_t)model->shape.w, "context",
                            (json_int_t)model->context, "config", model->config, "architecture", architecture);
    if (!top)
        return dfoi_fail(ctx, DFO_EMEM, "out of memory: model description");
    DFO_GO(dfo_model_describe(model, architecture));
    if (notes)
        DFO_GO(dfoi_json_set(ctx, top, "notes", json_incref(model->notes)));
    status = dfoi_json_dump(ctx, top, JSON_COMPACT | JSON_SORT_KEYS | JSON_REAL_PRECISION(17), out);
fail:
    json_decref(top);
    return status;
}

static const dfo_real *data_of(dfo_model *model, const dfo_entry *e)
{
    return (e->buffer ? dfo_store_buffers(model->store) : dfo_store_weights(model->store)) + e->offset;
}

dfo_status dfo_model_save(dfo_model *model, const char *path)
{
    dfo_status status;
    dfoi_tensors_writer *w = NULL;
    char *text = NULL;
    size_t entries = dfo_store_entries(model->store);
    DFO_GO(text_of(model, 1, &text));
    DFO_GO(dfoi_tensors_create(model->ctx, path, &w));
    DFO_GO(dfoi_tensors_meta(w, "diffeo", text));
    for (size_t i = 0; i < entries; i++) {
        const dfo_entry *e = dfo_store_entry(model->store, i);
        DFO_GO(dfoi_tensors_declare(w, e->name, REAL, e->ndim, e->shape));
    }
    DFO_GO(dfoi_tensors_begin(w));
    for (size_t i = 0; i < entries; i++) {
        const dfo_entry *e = dfo_store_entry(model->store, i);
        DFO_GO(dfoi_tensors_write(w, data_of(model, e), e->count * sizeof(dfo_real)));
    }
    status = dfoi_tensors_finish(w);
fail:
    dfoi_tensors_writer_free(w);
    dfoi_free(model->ctx, text);
    return status;
}

static uint64_t fnv(uint64_t h, const void *bytes, size_t n)
{
    const unsigned char *b = bytes;
    for (size_t i = 0; i < n; i++)
        h = (h ^ b[i]) * UINT64_C(0x100000001b3);
    return h;
}

dfo_status dfoi_model_keep_made(dfo_model *model)
{
    return model->made ? DFO_OK : text_of(model, 0, &model->made);
}

dfo_status dfo_model_hash(dfo_model *model, char out[17])
{
    char *text = model->made;
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    if (!text)
        DFO_TRY(text_of(model, 0, &text));
    h = fnv(h, text, strlen(text));
    if (!model->made)
        dfoi_free(model->ctx, text);
    for (size_t i = 0; i < dfo_store_entries(model->store); i++) {
        const dfo_entry *e = dfo_store_entry(model->store, i);
        h = fnv(h, e->name, strlen(e->name));
        const dfo_real *value = data_of(model, e);
        for (size_t k = 0; k < e->count; k++) {
            float v = (float)value[k];
            h = fnv(h, &v, sizeof v);
        }
    }
    snprintf(out, 17, "%016" PRIx64, h);
    return DFO_OK;
}

static dfo_status load_arrays(dfo_model *model, const dfoi_tensors *t, const char *name)
{
    dfo_ctx *ctx = model->ctx;
    size_t entries = dfo_store_entries(model->store);
    for (size_t i = 0; i < entries; i++) {
        const dfo_entry *e = dfo_store_entry(model->store, i);
        const dfoi_tensor *tensor = dfoi_tensors_find(t, e->name);
        if (!tensor)
            return dfoi_fail(ctx, DFO_EFORMAT, "%s: array '%s' is missing", name, e->name);
        if (tensor->ndim != e->ndim || memcmp(tensor->shape, e->shape, e->ndim * sizeof *e->shape))
            return dfoi_fail(ctx, DFO_EFORMAT, "%s: array '%s' has another shape than its layer", name, e->name);
        dfo_real *to = (dfo_real *)data_of(model, e);
#ifdef DFO_DOUBLE
        dfoi_tensor_doubles(tensor, 0, e->count, to);
#else
        dfoi_tensor_floats(tensor, 0, e->count, to);
#endif
    }
    if (dfoi_tensors_count(t) != entries)
        return dfoi_fail(ctx, DFO_EFORMAT, "%s: expected %zu arrays, found %zu", name, entries,
                         dfoi_tensors_count(t));
    dfo_store_touch(model->store);
    return DFO_OK;
}

static dfo_status check_top(dfo_ctx *ctx, const json_t *top)
{
    static const char *const keys[] = {"format", "kind", "version", "shape", "context", "config", "architecture",
                                       "notes", NULL};
    size_t format;
    if (!json_is_object(top))
        return dfoi_fail(ctx, DFO_EFORMAT, "the description is not an object");
    DFO_TRY(dfoi_json_size(ctx, top, "format", 0, 0, SIZE_MAX, &format));
    if (format != FORMAT)
        return dfoi_fail(ctx, DFO_EFORMAT, "format %zu; this version of diffeo reads format %d", format, FORMAT);
    DFO_TRY(dfoi_json_keys(ctx, top, keys));
    if (!json_is_object(json_object_get(top, "config")) || !json_is_object(json_object_get(top, "architecture")))
        return dfoi_fail(ctx, DFO_EFORMAT, "config or architecture is missing");
    return DFO_OK;
}

#define MOST_FEATURES ((size_t)1 << 26)

static dfo_status from_text(dfo_ctx *ctx, const char *text, size_t limit, dfo_model **out)
{
    dfo_status status;
    json_t *top;
    const char *kind;
    size_t shape[3] = {0, 1, 1}, dims, context;
    *out = NULL;
    DFO_TRY(dfoi_json_parse(ctx, text, strlen(text), "description", &top));
    DFO_GO(check_top(ctx, top));
    DFO_GO(dfoi_json_string(ctx, top, "kind", NULL, &kind));
    DFO_GO(dfoi_json_sizes(ctx, top, "shape", 1, MOST_FEATURES, 3, shape, &dims));
    DFO_GO(dfoi_json_size(ctx, top, "context", 0, 0, MOST_FEATURES, &context));
    if (dims != 3 || shape[0] > MOST_FEATURES / shape[1] / shape[2]) {
        status = dfoi_fail(ctx, DFO_EFORMAT, "shape: expected three sizes of a row");
        goto fail;
    }
    dfo_shape row = {shape[0], shape[1], shape[2]};
    DFO_GO(dfoi_model_create(ctx, kind, json_object_get(top, "config"), json_object_get(top, "architecture"), row,
                             context, 0, limit, out));
    json_t *notes = json_object_get(top, "notes");
    if (json_is_object(notes) && json_object_update((*out)->notes, notes))
        status = dfoi_fail(ctx, DFO_EMEM, "out of memory: notes");
fail:
    json_decref(top);
    if (status != DFO_OK) {
        dfo_model_free(*out);
        *out = NULL;
    }
    return status;
}

/* An error in a model file is the file's fault, whatever it is called further down.  */
static dfo_status blame(dfo_ctx *ctx, const char *name, dfo_status status)
{
    dfoi_wrap(ctx, "%s: ", name);
    return status == DFO_EARG || status == DFO_ESHAPE ? DFO_EFORMAT : status;
}

static dfo_status load(dfo_ctx *ctx, const dfoi_tensors *t, const char *name, dfo_model **out)
{
    const char *text = dfoi_tensors_metadata(t, "diffeo");
    if (!text)
        return dfoi_fail(ctx, DFO_EFORMAT, "%s is not a diffeo model: no architecture in its metadata%s", name,
                         dfoi_tensors_metadata(t, "diffeo_checkpoint") ? " (it is a checkpoint: use it with "
                                                                         "'diffeo train --resume')" : "");
    size_t limit = 1;
    for (size_t i = 0; i < dfoi_tensors_count(t); i++)
        limit += dfoi_tensors_at(t, i)->count;
    dfo_status status = from_text(ctx, text, limit, out);
    if (status != DFO_OK)
        return blame(ctx, name, status);
    status = load_arrays(*out, t, name);
    if (status != DFO_OK) {
        dfo_model_free(*out);
        *out = NULL;
    }
    return status;
}

dfo_status dfo_model_load(dfo_ctx *ctx, const char *path, dfo_model **out)
{
    dfoi_tensors *t;
    *out = NULL;
    DFO_TRY(dfoi_tensors_open(ctx, path, &t));
    dfo_status status = load(ctx, t, path, out);
    dfoi_tensors_free(t);
    if (status == DFO_OK && (status = dfoi_strdup(ctx, path, &(*out)->file)) != DFO_OK) {
        dfo_model_free(*out);
        *out = NULL;
    }
    return status;
}

dfo_status dfo_model_load_memory(dfo_ctx *ctx, const void *bytes, size_t n, const char *name, dfo_model **out)
{
    dfoi_tensors *t;
    *out = NULL;
    DFO_TRY(dfoi_tensors_memory(ctx, bytes, n, name, &t));
    dfo_status status = load(ctx, t, name, out);
    dfoi_tensors_free(t);
    return status;
}
