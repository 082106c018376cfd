/* The store owns weights and buffers, each in one aligned block; layers keep offsets.  */
#ifndef DIFFEO_STORE_H
#define DIFFEO_STORE_H

#include <stdint.h>
#include <diffeo/real.h>

#include <diffeo/batch.h>
#include <diffeo/ctx.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dfo_store dfo_store;

/* One named array.  */
typedef struct dfo_entry {
    const char *name;         /* "flow.3.net.w0"; owned by the store */
    size_t ndim, shape[4];
    size_t offset, count;     /* in reals, within its block */
    int    buffer;            /* 0: weights, 1: buffers */
} dfo_entry;

/* An empty store in ctx, freed by dfo_store_free (NULL is fine).  DFO_EMEM.  */
dfo_status dfo_store_new(dfo_ctx *ctx, dfo_store **out);
void dfo_store_free(dfo_store *store);

/* Adds a zeroed array and gives its offset (a multiple of 64 bytes).  The name must be new:
 * DFO_EARG.  Pointers into the block are invalid afterwards; offsets stay.  */
dfo_status dfo_store_add(dfo_store *store, const char *name, size_t ndim, const size_t *shape,
                         size_t *offset);
dfo_status dfo_store_add_buffer(dfo_store *store, const char *name, size_t ndim,
                                const size_t *shape, size_t *offset);

/* Refuses (DFO_EFORMAT) arrays that would bring weights and buffers together over so many reals: for
 * descriptions from files, which must not ask for more than the file holds.  */
void dfo_store_limit(dfo_store *store, size_t reals);

/* Gives back the room that growing left over: once everything was added.  DFO_EMEM: as before.  */
dfo_status dfo_store_trim(dfo_store *store);

/* Sizes in reals: the blocks with their padding; the number of weights without.  */
size_t dfo_store_weights_size(const dfo_store *store);
size_t dfo_store_buffers_size(const dfo_store *store);
size_t dfo_store_parameters(const dfo_store *store);

/* The blocks themselves, 64-byte aligned, owned by the store; NULL while nothing was added.  Whoever
 * writes weights calls dfo_store_touch afterwards.  */
dfo_real *dfo_store_weights(dfo_store *store);
dfo_real *dfo_store_buffers(dfo_store *store);

/* The arrays in the order in which they were added: i < dfo_store_entries.  */
size_t dfo_store_entries(const dfo_store *store);
const dfo_entry *dfo_store_entry(const dfo_store *store, size_t i);
/* The entry of that name, or NULL.  */
const dfo_entry *dfo_store_find(const dfo_store *store, const char *name);

/* Counts changes of the weights; plans compare it to know when derived data are stale.  */
uint64_t dfo_store_version(const dfo_store *store);
void dfo_store_touch(dfo_store *store);

#ifdef __cplusplus
}
#endif
#endif
