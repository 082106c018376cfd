/* The store: named arrays in two aligned blocks, weights and buffers.  */
#include <stdio.h>
#include <string.h>

#include <diffeo/store.h>
#include "base/ctx_impl.h"

struct block {
    dfo_real *data;
    size_t    used, room;
};

struct dfo_store {
    dfo_ctx      *ctx;
    struct block  block[2];            /* weights, buffers */
    dfo_entry    *entry;
    size_t        entries, entry_room;
    size_t        parameters;
    size_t        limit, held;         /* reals allowed (0: any number) and added, both blocks */
    uint64_t      version;
};

dfo_status dfo_store_new(dfo_ctx *ctx, dfo_store **out)
{
    DFO_TRY(dfoi_alloc(ctx, 1, sizeof **out, out));
    (*out)->ctx = ctx;
    (*out)->version = 1;
    return DFO_OK;
}

void dfo_store_free(dfo_store *store)
{
    if (!store)
        return;
    for (size_t i = 0; i < store->entries; i++)
        dfoi_free(store->ctx, (char *)store->entry[i].name);
    dfoi_free(store->ctx, store->entry);
    dfoi_free(store->ctx, store->block[0].data);
    dfoi_free(store->ctx, store->block[1].data);
    dfoi_free(store->ctx, store);
}

static dfo_status add(dfo_store *store, const char *name, size_t ndim, const size_t *shape, int buffer,
                      size_t *offset)
{
    dfo_ctx *ctx = store->ctx;
    struct block *block = &store->block[buffer];
    size_t count = 1, end;
    if (ndim > 4)
        return dfoi_fail(ctx, DFO_EARG, "%s: at most 4 dimensions, got %zu", name, ndim);
    if (dfo_store_find(store, name))
        return dfoi_fail(ctx, DFO_EARG, "%s: two arrays of this name", name);
    for (size_t i = 0; i < ndim; i++)
        DFO_TRY(dfoi_mul(ctx, count, shape[i], name, &count));
    if (count > SIZE_MAX / 64 || __builtin_add_overflow(block->used, dfoi_round(count, sizeof(dfo_real)), &end))
        return dfoi_fail(ctx, DFO_EMEM, "%s: %zu reals are more than can be addressed", name, count);
    if (store->limit && (count > store->limit || store->held > store->limit - count))
        return dfoi_fail(ctx, DFO_EFORMAT, "%s: the file holds fewer numbers than its layers want", name);
    if (store->entries == store->entry_room) {
        size_t room = store->entry_room ? 2 * store->entry_room : 64;
        DFO_TRY(dfoi_grow(ctx, store->entries, room, sizeof *store->entry, &store->entry));
        store->entry_room = room;
    }
    if (end > block->room) {
        size_t room = end > 2 * block->room ? end : 2 * block->room;
        DFO_TRY(dfoi_grow(ctx, block->used, room, sizeof(dfo_real), &block->data));
        block->room = room;
    }
    char *own;
    DFO_TRY(dfoi_strdup(ctx, name, &own));
    dfo_entry *e = &store->entry[store->entries++];
    *e = (dfo_entry){.name = own, .ndim = ndim, .offset = block->used, .count = count, .buffer = buffer};
    for (size_t i = 0; i < ndim; i++)
        e->shape[i] = shape[i];
    block->used = end;
    store->held += count;
    if (!buffer)
        store->parameters += count;
    *offset = e->offset;
    return DFO_OK;
}

dfo_status dfo_store_add(dfo_store *store, const char *name, size_t ndim, const size_t *shape, size_t *offset)
{
    return add(store, name, ndim, shape, 0, offset);
}

dfo_status dfo_store_add_buffer(dfo_store *store, const char *name, size_t ndim, const size_t *shape,
                                size_t *offset)
{
    return add(store, name, ndim, shape, 1, offset);
}

void dfo_store_limit(dfo_store *store, size_t reals)
{
    store->limit = reals;
}

dfo_status dfo_store_trim(dfo_store *store)
{
    for (int b = 0; b < 2; b++) {
        struct block *block = &store->block[b];
        if (block->room == block->used)
            continue;
        DFO_TRY(dfoi_grow(store->ctx, block->used, block->used, sizeof(dfo_real), &block->data));
        block->room = block->used;
    }
    return DFO_OK;
}

size_t dfo_store_weights_size(const dfo_store *store)
{
    return store->block[0].used;
}

size_t dfo_store_buffers_size(const dfo_store *store)
{
    return store->block[1].used;
}

size_t dfo_store_parameters(const dfo_store *store)
{
    return store->parameters;
}

dfo_real *dfo_store_weights(dfo_store *store)
{
    return store->block[0].data;
}

dfo_real *dfo_store_buffers(dfo_store *store)
{
    return store->block[1].data;
}

size_t dfo_store_entries(const dfo_store *store)
{
    return store->entries;
}

const dfo_entry *dfo_store_entry(const dfo_store *store, size_t i)
{
    return &store->entry[i];
}

const dfo_entry *dfo_store_find(const dfo_store *store, const char *name)
{
    for (size_t i = 0; i < store->entries; i++)
        if (!strcmp(store->entry[i].name, name))
            return &store->entry[i];
    return NULL;
}

uint64_t dfo_store_version(const dfo_store *store)
{
    return store->version;
}

void dfo_store_touch(dfo_store *store)
{
    store->version++;
}
