/* Sources made of rows in memory or of other sources: slices, splits, the order of an epoch.  A view of
 * a view goes straight to the data.  */
#include <string.h>

#include <diffeo/rng.h>
#include "data/source_impl.h"

#define BLOCK ((uint64_t)4096)               /* rows that stay together on disk */
#define WINDOW (16 * BLOCK)                  /* rows shuffled among each other */

/* ---- the caller's rows ---- */

static dfo_status fetch(const dfo_source *source, dfo_ctx *ctx, const uint64_t *rows, uint64_t first, dfo_batch x,
                        double *weight)
{
    const dfo_batch *from = source->state;
    for (size_t i = 0; i < x.n; i++) {
        uint64_t at = rows ? rows[i] : first + i;
        memcpy(dfo_row(x, i), dfo_row(*from, (size_t)at), x.d * sizeof *x.x);
        DFO_TRY(dfoi_source_check(source, ctx, dfo_row(x, i), at, NULL));
        if (weight)
            weight[i] = 1;
    }
    return DFO_OK;
}

/* The values, row by row, in the precision they have.  */
static uint64_t hash(const dfo_source *source)
{
    const dfo_batch *from = source->state;
    uint64_t h = DFOI_HASH_START;
    for (size_t i = 0; i < from->n; i++)
        h = dfoi_hash(h, dfo_row(*from, i), from->d * sizeof *from->x);
    return h;
}

static void release(dfo_source *source)
{
    dfoi_free(source->ctx, source->state);
}

dfo_status dfo_source_rows(dfo_ctx *ctx, dfo_batch rows, dfo_source **out)
{
    static const struct dfoi_source_ops ops = {
        .fetch = fetch,
        .hash = hash,
        .free = release,
    };
    dfo_source *source;
    dfo_batch *state;
    *out = NULL;
    if (!rows.n || !rows.d || rows.ld < rows.d)
        return dfoi_fail(ctx, DFO_ESHAPE, "rows in memory: expected at least one row and column, got (%zu,%zu), stride "
                         "%zu", rows.n, rows.d, rows.ld);
    DFO_TRY(dfoi_source_new(ctx, "rows in memory", &source));
    dfo_status status = dfoi_alloc(ctx, 1, sizeof *state, &state);
    if (status != DFO_OK) {
        dfo_source_free(source);
        return status;
    }
    *state = rows;
    source->ops = &ops;
    source->state = state;
    source->d = rows.d;
    source->info.rows = rows.n;
    source->info.shape = dfo_shape_vector(rows.d);
    *out = source;
    return DFO_OK;
}

/* ---- views ---- */

/* A view that shares what it can with `of`.  */
static dfo_status view(dfo_ctx *ctx, const dfo_source *of, dfo_source **out)
{
    DFO_TRY(dfoi_source_new(ctx, of->name, out));
    dfo_source *source = *out;
    source->info = of->info;
    source->d = of->d;
    source->allow_nan = of->allow_nan;
    source->blockwise = of->blockwise;
    source->root = of->root;
    source->offset = of->offset;
    source->index = of->index;
    return DFO_OK;
}

dfo_status dfo_source_slice(dfo_ctx *ctx, dfo_source *of, uint64_t first, uint64_t n, dfo_source **out)
{
    *out = NULL;
    if (first > of->info.rows || n > of->info.rows - first)
        return dfoi_fail(ctx, DFO_EARG, "%s: %llu rows from row %llu wanted, it has %llu", of->name,
                         (unsigned long long)n, (unsigned long long)first, (unsigned long long)of->info.rows);
    DFO_TRY(view(ctx, of, out));
    (*out)->info.rows = n;
    if (of->index)
        (*out)->index = of->index + first;
    else
        (*out)->offset = of->offset + first;
    return DFO_OK;
}

dfo_status dfo_source_split(dfo_ctx *ctx, dfo_source *of, double fraction, uint64_t seed, int complement,
                            dfo_source **out)
{
    dfo_source *source;
    uint64_t rows = of->info.rows, n = 0;
    *out = NULL;
    if (!(fraction >= 0 && fraction <= 1))
        return dfoi_fail(ctx, DFO_EARG, "%s: a fraction must be from 0 to 1, got %g", of->name, fraction);
    if (of->root->info.rows + of->root->offset > UINT32_MAX)
        return dfoi_fail(ctx, DFO_EUNSUP, "%s: only files of up to %lu rows can be split, it has %llu", of->name,
                         (unsigned long)UINT32_MAX, (unsigned long long)rows);
    DFO_TRY(view(ctx, of, &source));
    dfo_status status = DFO_OK;
    for (int pass = 0; pass < 2 && status == DFO_OK; pass++) {         /* count, then list */
        n = 0;
        for (uint64_t i = 0; i < rows; i++) {
            double u;
            dfo_draw_uniform((dfo_key){.seed = seed, .row = i, .purpose = DFO_FOR_SPLIT}, 0, 1, &u);
            if ((u < fraction) == !complement) {
                if (pass)
                    source->own_index[n] = (uint32_t)(of->index ? of->index[i] : of->offset + i);
                n++;
            }
        }
        if (!pass)
            status = dfoi_alloc_big(ctx, (size_t)n, sizeof *source->own_index, &source->own_index);
    }
    if (status != DFO_OK) {
        dfo_source_free(source);
        return status;
    }
    source->info.rows = n;
    source->index = source->own_index;
    source->offset = 0;
    *out = source;
    return DFO_OK;
}

void dfo_source_hash(const dfo_source *source, char out[17])
{
    const dfo_source *root = source->root;
    uint64_t h = root->ops->hash(root);
    uint64_t place[2] = {source->offset, source->info.rows};
    h = dfoi_hash(h, place, sizeof place);
    if (source->index)
        h = dfoi_hash(h, source->index, (size_t)source->info.rows * sizeof *source->index);
    dfoi_hash_text(h, out);
}

/* ---- the order of an epoch ---- */

uint64_t dfo_source_shuffle(const dfo_source *source, dfo_key key, uint64_t epoch, uint64_t i)
{
    uint64_t rows = source->info.rows, blocks = rows / BLOCK;
    key.step = (uint32_t)epoch;
    key.row = epoch >> 32;
    if (!source->blockwise || blocks < 2)
        return dfo_permute_index(key, rows, i);
    /* Place i of the order lies in a window (the last one takes what is left); inside it places are
     * permuted; place p belongs to block p / 4096 of the permuted blocks.  Rows behind the last whole
     * block are in the last window.  */
    uint64_t windows = rows / WINDOW ? rows / WINDOW : 1;
    uint64_t window = i / WINDOW < windows ? i / WINDOW : windows - 1;
    uint64_t start = window * WINDOW, n = window + 1 < windows ? WINDOW : rows - start;
    dfo_key inside = key;
    inside.row += (window + 1) << 16;
    uint64_t place = start + dfo_permute_index(inside, n, i - start);
    if (place >= blocks * BLOCK)
        return place;
    return dfo_permute_index(key, blocks, place / BLOCK) * BLOCK + place % BLOCK;
}
