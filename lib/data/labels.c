/* Class labels: one column of the numbers 0, 1, 2, …, checked as a whole when it is opened, and the
 * same as one-hot rows, which is what a density can be conditioned on.  Nothing else here knows of
 * labels: they stand beside the data through dfo_source_join.  */
#include <string.h>

#include "data/source_impl.h"

#define MOST_CLASSES ((size_t)10000)
#define CHUNK ((size_t)512) /* labels read at a time */

/* DFO_EFORMAT unless label is one of 0 .. classes - 1.  */
static dfo_status check(const dfo_source *labels, dfo_ctx *ctx, uint64_t row, dfo_real label,
                        size_t classes)
{
    if (label >= 0 && label < (dfo_real)classes && label == (dfo_real)(size_t)label)
        return DFO_OK;
    return dfoi_fail(ctx, DFO_EFORMAT, "%s: row %llu: expected a class from 0 to %zu, found %g",
                     labels->name, (unsigned long long)row, classes - 1, (double)label);
}

static dfo_status read_labels(const dfo_source *labels, dfo_ctx *ctx, const uint64_t *rows,
                              uint64_t first, size_t n, size_t classes, dfo_real *to)
{
    dfo_batch column = dfo_batch_of(to, n, 1);
    DFO_TRY(rows ? dfo_source_gather(labels, ctx, rows, column, NULL)
                 : dfo_source_read(labels, ctx, first, column, NULL));
    for (size_t i = 0; i < n; i++)
        DFO_TRY(check(labels, ctx, rows ? rows[i] : first + i, to[i], classes));
    return DFO_OK;
}

static dfo_status count(const dfo_source *labels, dfo_ctx *ctx, size_t *classes)
{
    dfo_real label[CHUNK];
    *classes = 0;
    if (labels->d != 1)
        return dfoi_fail(ctx, DFO_ESHAPE, "%s: expected one column of labels, found %zu",
                         labels->name, labels->d);
    for (uint64_t first = 0; first < labels->info.rows; first += CHUNK) {
        uint64_t left = labels->info.rows - first;
        size_t n = left < CHUNK ? (size_t)left : CHUNK;
        DFO_TRY(read_labels(labels, ctx, NULL, first, n, MOST_CLASSES, label));
        for (size_t i = 0; i < n; i++)
            *classes = (size_t)label[i] >= *classes ? (size_t)label[i] + 1 : *classes;
    }
    return DFO_OK;
}

dfo_status dfo_source_labels(dfo_ctx *ctx, const char *spec, const dfo_source_options *options,
                             dfo_source **out, size_t *classes)
{
    dfo_source_options o = {0};
    if (options)
        o = *options;
    o.labels = 1;
    DFO_TRY(dfo_source_open(ctx, spec, &o, out));
    dfo_status status = count(*out, ctx, classes);
    if (status != DFO_OK) {
        dfo_source_free(*out);
        *out = NULL;
    }
    return status;
}

/* ---- one-hot ---- */

struct one_hot {
    const dfo_source *labels; /* or NULL: always `label` */
    size_t classes, label;
};

static dfo_status fetch(const dfo_source *source, dfo_ctx *ctx, const uint64_t *rows,
                        uint64_t first, dfo_batch x, double *weight)
{
    const struct one_hot *s = source->state;
    dfo_real label[CHUNK];
    for (size_t i = 0; i < CHUNK && !s->labels; i++)
        label[i] = (dfo_real)s->label;
    for (size_t at = 0; at < x.n; at += CHUNK) {
        size_t n = x.n - at < CHUNK ? x.n - at : CHUNK;
        if (s->labels)
            DFO_TRY(read_labels(s->labels, ctx, rows ? rows + at : NULL, first + at, n, s->classes,
                                label));
        for (size_t i = 0; i < n; i++) {
            dfo_real *row = dfo_row(x, at + i);
            memset(row, 0, x.d * sizeof *row);
            row[(size_t)label[i]] = 1;
            if (weight)
                weight[at + i] = 1;
        }
    }
    return DFO_OK;
}

static uint64_t hash(const dfo_source *source)
{
    const struct one_hot *s = source->state;
    uint64_t number[2] = {s->classes, s->label};
    char text[17] = "one class";
    if (s->labels)
        dfo_source_hash(s->labels, text);
    return dfoi_hash(dfoi_hash(DFOI_HASH_START, text, 16), number, sizeof number);
}

static void release(dfo_source *source)
{
    dfoi_free(source->ctx, source->state);
}

static dfo_status make(dfo_ctx *ctx, const char *name, const struct one_hot *how, uint64_t rows,
                       dfo_source **out)
{
    static const struct dfoi_source_ops ops = {
        .fetch = fetch,
        .hash = hash,
        .free = release,
    };
    dfo_source *source;
    struct one_hot *state;
    dfo_status status;
    *out = NULL;
    if (!how->classes || how->classes > MOST_CLASSES)
        return dfoi_fail(ctx, DFO_EARG, "%s: expected 1 to %zu classes, got %zu", name,
                         MOST_CLASSES, how->classes);
    DFO_TRY(dfoi_source_new(ctx, name, &source));
    DFO_GO(dfoi_alloc(ctx, 1, sizeof *state, &state));
    *state = *how;
    source->ops = &ops;
    source->state = state;
    source->d = how->classes;
    source->info.rows = rows;
    source->info.shape = dfo_shape_vector(how->classes);
    *out = source;
    return DFO_OK;
fail:
    dfo_source_free(source);
    return status;
}

dfo_status dfo_source_one_hot(dfo_ctx *ctx, const dfo_source *labels, size_t classes,
                              dfo_source **out)
{
    *out = NULL;
    if (labels->d != 1)
        return dfoi_fail(ctx, DFO_ESHAPE, "%s: expected one column of labels, found %zu",
                         labels->name, labels->d);
    return make(ctx, labels->name, &(struct one_hot){labels, classes, 0}, labels->info.rows, out);
}

dfo_status dfo_source_class(dfo_ctx *ctx, size_t label, size_t classes, uint64_t rows,
                            dfo_source **out)
{
    *out = NULL;
    if (label >= classes)
        return dfoi_fail(ctx, DFO_EARG, "expected a class from 0 to %zu, got %zu", classes - 1,
                         label);
    return make(ctx, "one class", &(struct one_hot){NULL, classes, label}, rows, out);
}
