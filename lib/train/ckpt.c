/* Checkpoints: everything that a run needs to go on with the same bits, in one safetensors file.  */
#include <math.h>
#include <string.h>

#include "base/ctx_impl.h"
#include "base/json_impl.h"
#include "data/safetensors_impl.h"
#include "train/fit_impl.h"

#define REAL (sizeof(dfo_real) == sizeof(float) ? DFOI_F32 : DFOI_F64)

/* The arrays of a state, in file order.  */
struct array {
    const char *name;
    dfo_real   *data;
    size_t      n;
};

#define ARRAYS 7

static void list_arrays(dfo_store *store, const dfoi_fit_state *s, struct array a[ARRAYS])
{
    struct array all[ARRAYS] = {
        {"weights", dfo_store_weights(store), s->size}, {"buffers", dfo_store_buffers(store), s->buffers},
        {"m", s->m, s->size}, {"v", s->v, s->size}, {"ema", s->ema, s->size},
        {"best", s->best, s->size}, {"best_buffers", s->best_buffers, s->buffers},
    };
    memcpy(a, all, sizeof all);
}

/* The numbers of a state.  A loss may be infinite or NaN, which JSON cannot say: those are left out.  */
struct number {
    const char *name;
    uint64_t   *integer;
    double     *real;
};

#define NUMBERS 12

static void list_numbers(dfoi_fit_state *s, struct number n[NUMBERS])
{
    struct number all[NUMBERS] = {
        {"step", &s->step, NULL}, {"best_step", &s->best_step, NULL}, {"skipped", &s->skipped, NULL},
        {"validations", &s->validations, NULL}, {"since_best", &s->since_best, NULL}, {"bad", &s->bad, NULL},
        {"best_loss", NULL, &s->best_loss}, {"last_valid", NULL, &s->last_valid},
        {"loss_sum", NULL, &s->loss_sum}, {"loss_weight", NULL, &s->loss_weight},
        {"elapsed", NULL, &s->elapsed}, {"last_train", NULL, &s->last_train},
    };
    memcpy(n, all, sizeof all);
}

static dfo_status state_text(dfo_ctx *ctx, const dfoi_fit_state *state, const char *extra, char **out)
{
    dfo_status status;
    dfoi_fit_state copy = *state;
    struct number n[NUMBERS];
    json_t *object = json_object();
    list_numbers(&copy, n);
    for (size_t i = 0; i < NUMBERS; i++) {
        if (n[i].integer)
            DFO_GO(dfoi_json_set(ctx, object, n[i].name, json_integer((json_int_t)*n[i].integer)));
        else if (isfinite(*n[i].real))
            DFO_GO(dfoi_json_set(ctx, object, n[i].name, json_real(*n[i].real)));
    }
    DFO_GO(dfoi_json_set(ctx, object, "extra", json_string(extra ? extra : "")));
    status = dfoi_json_dump(ctx, object, JSON_COMPACT | JSON_REAL_PRECISION(17), out);
fail:
    json_decref(object);
    return status;
}

dfo_status dfoi_checkpoint_write(dfo_ctx *ctx, const char *path, dfo_store *store, const dfo_fit_options *options,
                                 const dfoi_fit_state *state)
{
    dfo_status status;
    struct array a[ARRAYS];
    dfoi_tensors_writer *w = NULL;
    char *text = NULL;
    list_arrays(store, state, a);
    DFO_GO(state_text(ctx, state, options->extra, &text));
    DFO_GO(dfoi_tensors_create(ctx, path, &w));
    DFO_GO(dfoi_tensors_meta(w, "diffeo_checkpoint", text));
    for (size_t i = 0; i < ARRAYS; i++)
        if (a[i].data)
            DFO_GO(dfoi_tensors_declare(w, a[i].name, REAL, 1, &a[i].n));
    DFO_GO(dfoi_tensors_begin(w));
    for (size_t i = 0; i < ARRAYS; i++)
        if (a[i].data)
            DFO_GO(dfoi_tensors_write(w, a[i].data, a[i].n * sizeof(dfo_real)));
    status = dfoi_tensors_finish(w);
fail:
    dfoi_tensors_writer_free(w);
    dfoi_free(ctx, text);
    return status;
}

static dfo_status parse_state(dfo_ctx *ctx, const dfoi_tensors *t, const char *path, json_t **out)
{
    const char *text = dfoi_tensors_metadata(t, "diffeo_checkpoint");
    *out = NULL;
    if (!text)
        return dfoi_fail(ctx, DFO_EFORMAT, "%s is not a diffeo checkpoint", path);
    DFO_TRY(dfoi_json_parse(ctx, text, strlen(text), path, out));
    if (!json_is_object(*out))
        return dfoi_fail(ctx, DFO_EFORMAT, "%s: the checkpoint's state is not an object", path);
    return DFO_OK;
}

static dfo_status read_array(dfo_ctx *ctx, const dfoi_tensors *t, const char *path, const struct array *a)
{
    const dfoi_tensor *tensor = dfoi_tensors_find(t, a->name);
    if (!tensor && !a->data)
        return DFO_OK;
    if (!tensor || !a->data)
        return dfoi_fail(ctx, DFO_EFORMAT, "%s: '%s' is %s: the checkpoint belongs to other training options",
                         path, a->name, tensor ? "there" : "missing");
    if (tensor->type != REAL || tensor->count != a->n)
        return dfoi_fail(ctx, DFO_EFORMAT, "%s: '%s': expected %zu %s, got %zu %s", path, a->name, a->n,
                         dfoi_dtype_name(REAL), tensor->count, dfoi_dtype_name(tensor->type));
    memcpy(a->data, tensor->data, a->n * sizeof(dfo_real));
    return DFO_OK;
}

dfo_status dfoi_checkpoint_read(dfo_ctx *ctx, const char *path, dfo_store *store, dfoi_fit_state *state)
{
    dfo_status status;
    struct array a[ARRAYS];
    struct number n[NUMBERS];
    dfoi_tensors *t = NULL;
    json_t *object = NULL;
    DFO_GO(dfoi_tensors_open(ctx, path, &t));
    DFO_GO(parse_state(ctx, t, path, &object));
    list_arrays(store, state, a);
    for (size_t i = 0; i < ARRAYS; i++)
        DFO_GO(read_array(ctx, t, path, &a[i]));
    list_numbers(state, n);
    for (size_t i = 0; i < NUMBERS; i++) {
        if (n[i].integer) {
            DFO_GO(dfoi_json_u64(ctx, object, n[i].name, 0, n[i].integer));
        } else {
            const json_t *v = json_object_get(object, n[i].name);
            if (json_is_number(v))
                *n[i].real = json_number_value(v);
        }
    }
    dfo_store_touch(store);
fail:
    json_decref(object);
    dfoi_tensors_free(t);
    return status;
}

dfo_status dfo_checkpoint_extra(dfo_ctx *ctx, const char *path, char **out)
{
    dfo_status status;
    dfoi_tensors *t = NULL;
    json_t *object = NULL;
    const char *extra;
    *out = NULL;
    DFO_GO(dfoi_tensors_open(ctx, path, &t));
    DFO_GO(parse_state(ctx, t, path, &object));
    DFO_GO(dfoi_json_string(ctx, object, "extra", NULL, &extra));
    status = dfoi_strdup(ctx, extra, out);
fail:
    json_decref(object);
    dfoi_tensors_free(t);
    return status;
}

void dfo_text_free(dfo_ctx *ctx, char *text)
{
    dfoi_free(ctx, text);
}
