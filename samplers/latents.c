/* Latents files: safetensors with an array "z" and, under __metadata__.diffeo_latents, one JSON text:
 * {"format":1,"model":hash,"kind":…,"seed":n,"precision":"float"}, of a model with continuous layers also
 * "solver":{"method":…,"steps":n,"rtol":x,"atol":x}, of a guided one "guidance":w.  Rows held in double are the arrays "exact_rows", their numbers, and
 * "exact_z".  What Rex made has "sampler":"rex" and how besides ("start_noise":true,"start_time":t, drawn by the seed), and the second states "aux" or, as whole
 * numbers, both states "state" and "state_hat".  */
#include <stdio.h>
#include <string.h>

#include <diffeo/latents.h>
#include "base/file_impl.h"
#include "data/safetensors_impl.h"
#include "model_impl.h"

#define FORMAT 1                           /* of the metadata */
#define REAL (sizeof(dfo_real) == sizeof(float) ? DFOI_F32 : DFOI_F64)

struct dfo_latents_writer {
    dfo_ctx *ctx;
    dfoi_tensors_writer *file;
    size_t   d;
    dfo_latents_exact exact;
    uint64_t rows;
    int      by_rex;
    dfo_latents_rex rex;
};

/* How the model is solved, which decoding has to repeat.  What its layers do not agree on is theirs, and left out.  */
static dfo_status add_solver(const dfo_model *model, json_t *meta)
{
    dfo_solver_options o;
    if (!dfo_model_solver(model, &o))
        return DFO_OK;
    json_t *solver = json_object();
    DFO_TRY(dfoi_json_set(model->ctx, meta, "solver", solver));
    if (o.method)
        DFO_TRY(dfoi_json_set(model->ctx, solver, "method", json_string(o.method)));
    if (o.steps != DFO_AS_IT_IS)
        DFO_TRY(dfoi_json_set(model->ctx, solver, "steps", json_integer((json_int_t)o.steps)));
    if (o.rtol >= 0)
        DFO_TRY(dfoi_json_set(model->ctx, solver, "rtol", json_real(o.rtol)));
    return o.atol >= 0 ? dfoi_json_set(model->ctx, solver, "atol", json_real(o.atol)) : DFO_OK;
}

/* Adds how Rex went.  */
static dfo_status write_how(dfo_ctx *ctx, json_t *meta, const dfo_flow_rex_options *how)
{
    DFO_TRY(dfoi_json_set(ctx, meta, "sampler", json_string("rex")));
    DFO_TRY(dfoi_json_set(ctx, meta, "method", json_string(how->method)));
    DFO_TRY(dfoi_json_set(ctx, meta, "steps", json_integer((json_int_t)how->steps)));
    DFO_TRY(dfoi_json_set(ctx, meta, "zeta", json_real(how->zeta)));
    DFO_TRY(dfoi_json_set(ctx, meta, "sde", json_boolean(how->sde)));
    DFO_TRY(dfoi_json_set(ctx, meta, "start_noise", json_boolean(how->start_noise)));
    if (how->start_noise)
        DFO_TRY(dfoi_json_set(ctx, meta, "start_time", json_real(how->start_time)));
    return dfoi_json_set(ctx, meta, "bit_exact", json_boolean(how->exact));
}

static dfo_status write_meta(dfo_latents_writer *w, dfo_model *model, uint64_t seed)
{
    char hash[17], *text;
    if (seed > INT64_MAX)
        return dfoi_fail(w->ctx, DFO_EARG, "seed: expected one of at most %lld in latents, got %llu", (long long)INT64_MAX, (unsigned long long)seed);
    DFO_TRY(dfo_model_hash(model, hash));
    json_t *meta = json_pack("{s:i, s:s, s:s, s:I, s:s}", "format", FORMAT, "model", hash, "kind", model->ops->kind, "seed",
                             (json_int_t)seed, "precision", DFO_REAL_NAME);
    if (!meta)
        return dfoi_fail(w->ctx, DFO_EMEM, "out of memory: metadata of latents");
    double guidance = dfo_model_guidance(model);
    dfo_status status = w->by_rex ? write_how(w->ctx, meta, &w->rex.how) : add_solver(model, meta);
    if (status == DFO_OK && (guidance < 1 || guidance > 1))
        status = dfoi_json_set(w->ctx, meta, "guidance", json_real(guidance));
    if (status == DFO_OK)
        status = dfoi_json_dump(w->ctx, meta, JSON_COMPACT | JSON_SORT_KEYS, &text);
    json_decref(meta);
    DFO_TRY(status);
    status = dfoi_tensors_meta(w->file, "diffeo_latents", text);
    dfoi_free(w->ctx, text);
    return status;
}

static dfo_status declare(dfo_latents_writer *w)
{
    uint64_t rows = w->rows;
    size_t shape[2] = {(size_t)rows, w->d}, exact[2] = {w->exact.n, w->d};
    DFO_TRY(dfoi_tensors_declare(w->file, "z", REAL, 2, shape));
    if (w->by_rex && !w->rex.how.exact)
        return dfoi_tensors_declare(w->file, "aux", REAL, 2, shape);
    if (w->by_rex) {
        DFO_TRY(dfoi_tensors_declare(w->file, "state", DFOI_I64, 2, shape));
        return dfoi_tensors_declare(w->file, "state_hat", DFOI_I64, 2, shape);
    }
    for (size_t i = 0; i < w->exact.n; i++)
        if (w->exact.row[i] >= rows || (i && w->exact.row[i] <= w->exact.row[i - 1]))
            return dfoi_fail(w->ctx, DFO_EARG, "latents: row %llu, the %zu-th in double: expected rising rows below %llu",
                             (unsigned long long)w->exact.row[i], i, (unsigned long long)rows);
    if (!w->exact.n)
        return DFO_OK;
    DFO_TRY(dfoi_tensors_declare(w->file, "exact_rows", DFOI_U64, 1, exact));
    return dfoi_tensors_declare(w->file, "exact_z", DFOI_F64, 2, exact);
}

static dfo_status create(dfo_model *model, const char *path, uint64_t seed, const dfo_latents_writer *what, dfo_latents_writer **out)
{
    dfo_status status;
    dfo_ctx *ctx = model->ctx;
    dfo_latents_writer *w;
    *out = NULL;
    DFO_TRY(dfoi_alloc(ctx, 1, sizeof *w, &w));
    *w = *what;
    w->ctx = ctx;
    w->d = dfo_model_features(model);
    DFO_GO(dfoi_tensors_create(ctx, path, &w->file));
    DFO_GO(write_meta(w, model, seed));
    DFO_GO(declare(w));
    DFO_GO(dfoi_tensors_begin(w->file));
    *out = w;
    return DFO_OK;
fail:
    dfo_latents_writer_free(w);
    return status;
}

dfo_status dfo_latents_create(dfo_model *model, const char *path, uint64_t rows, uint64_t seed,
                              const dfo_latents_exact *exact, dfo_latents_writer **out)
{
    dfo_latents_writer what = {.rows = rows};
    if (exact)
        what.exact = *exact;
    return create(model, path, seed, &what, out);
}

dfo_status dfo_latents_create_rex(dfo_model *model, const char *path, uint64_t rows, const dfo_latents_rex *rex,
                                  dfo_latents_writer **out)
{
    dfo_latents_writer what = {.rows = rows, .by_rex = 1, .rex = *rex};
    return create(model, path, rex->how.seed, &what, out);
}

dfo_status dfo_latents_write(dfo_latents_writer *w, dfo_batch z)
{
    DFO_TRY(dfoi_stopped(w->ctx));
    if (z.d != w->d)
        return dfoi_fail(w->ctx, DFO_ESHAPE, "latents: expected %zu features, got %zu", w->d, z.d);
    if (z.ld == z.d)
        return dfoi_tensors_write(w->file, z.x, z.n * z.d * sizeof(dfo_real));
    for (size_t i = 0; i < z.n; i++)
        DFO_TRY(dfoi_tensors_write(w->file, dfo_row(z, i), z.d * sizeof(dfo_real)));
    return DFO_OK;
}

dfo_status dfo_latents_finish(dfo_latents_writer *w)
{
    if (w->exact.n) {
        DFO_TRY(dfoi_tensors_write(w->file, w->exact.row, w->exact.n * sizeof *w->exact.row));
        DFO_TRY(dfoi_tensors_write(w->file, w->exact.z, w->exact.n * w->d * sizeof *w->exact.z));
    }
    size_t all = (size_t)w->rows * w->d;
    if (w->by_rex && !w->rex.how.exact)
        DFO_TRY(dfoi_tensors_write(w->file, w->rex.aux, all * sizeof *w->rex.aux));
    if (w->by_rex && w->rex.how.exact) {
        DFO_TRY(dfoi_tensors_write(w->file, w->rex.y, all * sizeof *w->rex.y));
        DFO_TRY(dfoi_tensors_write(w->file, w->rex.yh, all * sizeof *w->rex.yh));
    }
    return dfoi_tensors_finish(w->file);
}

void dfo_latents_writer_free(dfo_latents_writer *w)
{
    if (!w)
        return;
    dfoi_tensors_writer_free(w->file);
    dfoi_free(w->ctx, w);
}

struct dfo_latents {
    dfo_ctx *ctx;
    dfoi_tensors *file;
    const dfoi_tensor *z, *exact_z;
    uint64_t *exact;               /* (exacts) rows held in double */
    size_t   exacts;
    char     model[17], precision[8], method[32];
    uint64_t seed;
    int      solved;               /* it says how */
    dfo_solver_options solver;
    double   guidance;
    int      by_rex;
    dfo_flow_rex_options how;
    char     rex_method[32];
    const dfoi_tensor *aux, *state[2];
};

/* A safetensors file begins with the length of its header, then '{'.  */
static dfo_status is_safetensors(dfo_ctx *ctx, const char *path, int *yes)
{
    dfo_file *file;
    unsigned char head[9];
    size_t got = 0;
    *yes = 0;
    if (!strcmp(path, "-"))
        return DFO_OK;
    DFO_TRY(dfoi_file_open(ctx, path, &file));
    dfo_status status = dfoi_file_read(file, head, sizeof head, &got);
    dfoi_file_free(file);
    *yes = status == DFO_OK && got == sizeof head && head[8] == '{' && head[5] == 0 && head[6] == 0 && head[7] == 0;
    return status;
}

/* Older files, and those of models without continuous layers, have none.  */
static dfo_status read_solver(dfo_latents *l, const json_t *meta)
{
    static const char *const keys[] = {"method", "steps", "rtol", "atol", NULL};
    const json_t *solver = json_object_get(meta, "solver");
    dfo_solver_options *o = &l->solver;
    const char *method;
    *o = (dfo_solver_options){.steps = DFO_AS_IT_IS, .probes = DFO_AS_IT_IS, .rtol = -1, .atol = -1};
    if (!solver)
        return DFO_OK;
    if (!json_is_object(solver))
        return dfoi_fail(l->ctx, DFO_EFORMAT, "latents: solver: expected an object");
    DFO_TRY(dfoi_json_keys(l->ctx, solver, keys));
    DFO_TRY(dfoi_json_string(l->ctx, solver, "method", "", &method));
    if (json_object_get(solver, "steps"))
        DFO_TRY(dfoi_json_size(l->ctx, solver, "steps", 0, 0, (size_t)1 << 30, &o->steps));
    if (json_object_get(solver, "rtol"))
        DFO_TRY(dfoi_json_real(l->ctx, solver, "rtol", 0, 0, 1, &o->rtol));
    if (json_object_get(solver, "atol"))
        DFO_TRY(dfoi_json_real(l->ctx, solver, "atol", 0, 0, 1e6, &o->atol));
    snprintf(l->method, sizeof l->method, "%s", method);
    o->method = *method ? l->method : NULL;
    l->solved = 1;
    return DFO_OK;
}

static dfo_status read_how(dfo_latents *l, const json_t *meta, const char *path)
{
    const char *sampler, *method;
    DFO_TRY(dfoi_json_string(l->ctx, meta, "sampler", "", &sampler));
    l->by_rex = !strcmp(sampler, "rex");
    if (*sampler && !l->by_rex)
        return dfoi_fail(l->ctx, DFO_EFORMAT, "%s: expected latents of the sampler rex, got %.40s", path, sampler);
    if (!l->by_rex)
        return DFO_OK;
    DFO_TRY(dfoi_json_string(l->ctx, meta, "method", NULL, &method));
    DFO_TRY(dfoi_json_size(l->ctx, meta, "steps", 0, 1, 1000000, &l->how.steps));
    DFO_TRY(dfoi_json_real(l->ctx, meta, "zeta", 1, 0, 1, &l->how.zeta));
    DFO_TRY(dfoi_json_bool(l->ctx, meta, "sde", 0, &l->how.sde));
    DFO_TRY(dfoi_json_bool(l->ctx, meta, "start_noise", 0, &l->how.start_noise));      /* older files have none */
    DFO_TRY(dfoi_json_real(l->ctx, meta, "start_time", 0, 0, 1e6, &l->how.start_time));
    DFO_TRY(dfoi_json_bool(l->ctx, meta, "bit_exact", 0, &l->how.exact));
    snprintf(l->rex_method, sizeof l->rex_method, "%s", method);
    l->how.method = l->rex_method;
    l->how.seed = l->seed;
    return DFO_OK;
}

/* An array beside z, of its shape.  */
static dfo_status beside(dfo_latents *l, const char *path, const char *name, int whole, const dfoi_tensor **out)
{
    const dfoi_tensor *t = *out = dfoi_tensors_find(l->file, name);
    int fits = t && (whole ? t->type == DFOI_I64 : t->type == DFOI_F32 || t->type == DFOI_F64);
    if (!fits || t->ndim != 2 || t->shape[0] != l->z->shape[0] || t->shape[1] != l->z->shape[1])
        return dfoi_fail(l->ctx, DFO_EFORMAT, "%s: expected an array '%s' (%zu, %zu) of %s", path, name, l->z->shape[0], l->z->shape[1],
                         whole ? "I64" : "F32 or F64");
    return DFO_OK;
}

static dfo_status read_states(dfo_latents *l, const char *path)
{
    if (!l->by_rex)
        return DFO_OK;
    if (!l->how.exact)
        return beside(l, path, "aux", 0, &l->aux);
    DFO_TRY(beside(l, path, "state", 1, &l->state[0]));
    return beside(l, path, "state_hat", 1, &l->state[1]);
}

static dfo_status read_meta(dfo_latents *l, const char *path)
{
    json_t *meta;
    const char *model, *precision, *kind;
    uint64_t format;
    const char *text = dfoi_tensors_metadata(l->file, "diffeo_latents");
    if (!text)
        return dfoi_fail(l->ctx, DFO_EFORMAT, "%s is a safetensors file, but not one of latents", path);
    DFO_TRY(dfoi_json_parse(l->ctx, text, strlen(text), path, &meta));
    dfo_status status = dfoi_json_u64(l->ctx, meta, "format", 0, &format);
    if (status == DFO_OK && format != FORMAT)
        status = dfoi_fail(l->ctx, DFO_EFORMAT, "%s: latents of format %llu, this program reads %d", path, (unsigned long long)format, FORMAT);
    if (status == DFO_OK)
        status = dfoi_json_string(l->ctx, meta, "kind", NULL, &kind);
    if (status == DFO_OK && strcmp(kind, "flow") && strcmp(kind, "classifier"))
        status = dfoi_fail(l->ctx, DFO_EFORMAT, "%s: latents of a %.40s, expected those of a flow or a classifier", path, kind);
    if (status == DFO_OK)
        status = dfoi_json_string(l->ctx, meta, "model", NULL, &model);
    if (status == DFO_OK)
        status = dfoi_json_string(l->ctx, meta, "precision", NULL, &precision);
    if (status == DFO_OK)
        status = dfoi_json_u64(l->ctx, meta, "seed", 0, &l->seed);
    if (status == DFO_OK)
        status = dfoi_json_real(l->ctx, meta, "guidance", 1, -1e6, 1e6, &l->guidance);
    if (status == DFO_OK)
        status = read_solver(l, meta);
    if (status == DFO_OK)
        status = read_how(l, meta, path);
    if (status == DFO_OK) {
        snprintf(l->model, sizeof l->model, "%s", model);
        snprintf(l->precision, sizeof l->precision, "%s", precision);
    }
    json_decref(meta);
    return status;
}

static dfo_status read_exact(dfo_latents *l, const char *path)
{
    const dfoi_tensor *rows = dfoi_tensors_find(l->file, "exact_rows");
    l->exact_z = dfoi_tensors_find(l->file, "exact_z");
    if (!rows && !l->exact_z)
        return DFO_OK;
    if (!rows || !l->exact_z || rows->type != DFOI_U64 || rows->ndim != 1 || l->exact_z->type != DFOI_F64 ||
        l->exact_z->ndim != 2 || l->exact_z->shape[0] != rows->shape[0] || l->exact_z->shape[1] != l->z->shape[1])
        return dfoi_fail(l->ctx, DFO_EFORMAT, "%s: expected arrays 'exact_rows' (m) U64 and 'exact_z' (m, %zu) F64", path,
                         l->z->shape[1]);
    l->exacts = rows->count;
    DFO_TRY(dfoi_alloc(l->ctx, l->exacts, sizeof *l->exact, &l->exact));
    memcpy(l->exact, rows->data, l->exacts * sizeof *l->exact);
    for (size_t i = 0; i < l->exacts; i++)
        if (l->exact[i] >= l->z->shape[0] || (i && l->exact[i] <= l->exact[i - 1]))
            return dfoi_fail(l->ctx, DFO_EFORMAT, "%s: exact_rows: %llu at %zu: expected rising rows below %zu", path,
                             (unsigned long long)l->exact[i], i, l->z->shape[0]);
    return DFO_OK;
}

dfo_status dfo_latents_open(dfo_ctx *ctx, const char *path, dfo_latents **out)
{
    dfo_status status;
    dfo_latents *l;
    int yes;
    *out = NULL;
    DFO_TRY(is_safetensors(ctx, path, &yes));
    if (!yes)
        return DFO_OK;
    DFO_TRY(dfoi_alloc(ctx, 1, sizeof *l, &l));
    l->ctx = ctx;
    DFO_GO(dfoi_tensors_open(ctx, path, &l->file));
    DFO_GO(read_meta(l, path));
    l->z = dfoi_tensors_find(l->file, "z");
    if (!l->z || l->z->ndim != 2) {
        status = dfoi_fail(ctx, DFO_EFORMAT, "%s: no array 'z' of two dimensions", path);
        goto fail;
    }
    DFO_GO(read_exact(l, path));
    DFO_GO(read_states(l, path));
    *out = l;
    return DFO_OK;
fail:
    dfo_latents_free(l);
    return status;
}

void dfo_latents_free(dfo_latents *l)
{
    if (!l)
        return;
    dfoi_tensors_free(l->file);
    dfoi_free(l->ctx, l->exact);
    dfoi_free(l->ctx, l);
}

uint64_t dfo_latents_rows(const dfo_latents *l)
{
    return l->z->shape[0];
}

size_t dfo_latents_features(const dfo_latents *l)
{
    return l->z->shape[1];
}

uint64_t dfo_latents_seed(const dfo_latents *l)
{
    return l->seed;
}

const char *dfo_latents_model(const dfo_latents *l)
{
    return l->model;
}

const char *dfo_latents_precision(const dfo_latents *l)
{
    return l->precision;
}

int dfo_latents_solver(const dfo_latents *l, dfo_solver_options *options)
{
    *options = l->solver;
    return l->solved;
}

double dfo_latents_guidance(const dfo_latents *latents)
{
    return latents->guidance;
}

size_t dfo_latents_exacts(const dfo_latents *l)
{
    return l->exacts;
}

uint64_t dfo_latents_exact_row(const dfo_latents *l, size_t i)
{
    return l->exact[i];
}

#ifdef DFO_DOUBLE
/* Rows first .. that are held in double.  */
static void read_doubles(const dfo_latents *l, uint64_t first, dfo_batch z)
{
    size_t low = 0, high = l->exacts;
    while (low < high) {                       /* the first that is not before */
        size_t middle = low + (high - low) / 2;
        if (l->exact[middle] < first)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < l->exacts && l->exact[low] - first < z.n; low++)
        dfoi_tensor_doubles(l->exact_z, low * z.d, z.d, dfo_row(z, (size_t)(l->exact[low] - first)));
}
#endif

static dfo_status rows_there(const dfo_latents *l, uint64_t first, size_t n, size_t d)
{
    if (d != l->z->shape[1] || first > l->z->shape[0] || n > l->z->shape[0] - first)
        return dfoi_fail(l->ctx, DFO_ESHAPE, "latents: rows %llu to %llu of %zu features asked for, (%zu, %zu) there",
                         (unsigned long long)first, (unsigned long long)(first + n), d, l->z->shape[0], l->z->shape[1]);
    return DFO_OK;
}

static void read_rows(const dfoi_tensor *from, uint64_t first, dfo_batch x)
{
    for (size_t i = 0; i < x.n; i++)
#ifdef DFO_DOUBLE
        dfoi_tensor_doubles(from, (size_t)(first + i) * x.d, x.d, dfo_row(x, i));
#else
        dfoi_tensor_floats(from, (size_t)(first + i) * x.d, x.d, dfo_row(x, i));
#endif
}

dfo_status dfo_latents_read(const dfo_latents *l, uint64_t first, dfo_batch z)
{
    DFO_TRY(rows_there(l, first, z.n, z.d));
    read_rows(l->z, first, z);
#ifdef DFO_DOUBLE
    read_doubles(l, first, z);
#endif
    return DFO_OK;
}

const dfo_flow_rex_options *dfo_latents_how(const dfo_latents *l)
{
    return l->by_rex ? &l->how : NULL;
}

dfo_status dfo_latents_read_aux(const dfo_latents *l, uint64_t first, dfo_batch aux)
{
    if (!l->aux)
        return dfoi_fail(l->ctx, DFO_EARG, "latents: there are no second states");
    DFO_TRY(rows_there(l, first, aux.n, aux.d));
    read_rows(l->aux, first, aux);
    return DFO_OK;
}

dfo_status dfo_latents_read_whole(const dfo_latents *l, uint64_t first, size_t n, int64_t *y, int64_t *yh)
{
    size_t d = l->z->shape[1];
    if (!l->state[0])
        return dfoi_fail(l->ctx, DFO_EARG, "latents: there are no states of whole numbers");
    DFO_TRY(rows_there(l, first, n, d));
    memcpy(y, (const char *)l->state[0]->data + (size_t)first * d * sizeof *y, n * d * sizeof *y);
    memcpy(yh, (const char *)l->state[1]->data + (size_t)first * d * sizeof *yh, n * d * sizeof *yh);
    return DFO_OK;
}
