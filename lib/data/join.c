/* Two sources side by side: row i is a's row i, then b's.  */
#include "data/source_impl.h"

struct join {
    const dfo_source *a, *b;
};

static dfo_status fetch_part(const dfo_source *part, dfo_ctx *ctx, const uint64_t *rows, uint64_t first, dfo_batch x,
                             double *weight)
{
    return rows ? dfo_source_gather(part, ctx, rows, x, weight) : dfo_source_read(part, ctx, first, x, weight);
}

static dfo_status fetch(const dfo_source *source, dfo_ctx *ctx, const uint64_t *rows, uint64_t first, dfo_batch x,
                        double *weight)
{
    const struct join *j = source->state;
    DFO_TRY(fetch_part(j->a, ctx, rows, first, dfo_batch_columns(x, 0, j->a->d), weight));
    return fetch_part(j->b, ctx, rows, first, dfo_batch_columns(x, j->a->d, j->b->d), NULL);
}

static const char *column(const dfo_source *source, size_t i)
{
    const struct join *j = source->state;
    return i < j->a->d ? dfo_source_column(j->a, i) : dfo_source_column(j->b, i - j->a->d);
}

static uint64_t hash(const dfo_source *source)
{
    const struct join *j = source->state;
    char text[17];
    uint64_t h = DFOI_HASH_START;
    dfo_source_hash(j->a, text);
    h = dfoi_hash(h, text, 16);
    dfo_source_hash(j->b, text);
    return dfoi_hash(h, text, 16);
}

static void release(dfo_source *source)
{
    dfoi_free(source->ctx, source->state);
}

dfo_status dfo_source_join(dfo_ctx *ctx, const dfo_source *a, const dfo_source *b, dfo_source **out)
{
    static const struct dfoi_source_ops ops = {.fetch = fetch, .column = column, .hash = hash, .free = release};
    dfo_source *source;
    struct join *state;
    *out = NULL;
    if (a->info.rows != b->info.rows)
        return dfoi_fail(ctx, DFO_ESHAPE, "%s has %llu rows, %s %llu: expected one for each", a->name,
                         (unsigned long long)a->info.rows, b->name, (unsigned long long)b->info.rows);
    DFO_TRY(dfoi_source_new(ctx, a->name, &source));
    dfo_status status = dfoi_alloc(ctx, 1, sizeof *state, &state);
    if (status != DFO_OK) {
        dfo_source_free(source);
        return status;
    }
    *state = (struct join){a, b};
    source->ops = &ops;
    source->state = state;
    source->d = a->d + b->d;
    source->info = a->info;
    source->info.has_entropy = 0;
    source->info.discrete = 0;
    source->info.shape = dfo_shape_vector(source->d);
    source->allow_nan = 1;                    /* the parts have looked */
    source->blockwise = a->blockwise || b->blockwise;
    *out = source;
    return DFO_OK;
}
