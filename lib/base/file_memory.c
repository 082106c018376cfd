/* A block of memory, the caller's, read as a file.  */
#include <errno.h>
#include <string.h>

#include "base/file_state.h"

struct memory {
    dfo_ctx    *ctx;
    const char *bytes;
    size_t      n, at;
};

static int memory_read(void *state, void *to, size_t bytes, size_t *got)
{
    struct memory *m = state;
    int error = dfoi_file_ask("read");
    *got = 0;
    if (error > 0)
        return error;
    *got = bytes < m->n - m->at ? bytes : m->n - m->at;
    if (*got)
        memcpy(to, m->bytes + m->at, *got);
    m->at += *got;
    return 0;
}

static int memory_seek(void *state, uint64_t offset)
{
    struct memory *m = state;
    m->at = offset < m->n ? (size_t)offset : m->n;
    return 0;
}

static int memory_size(void *state, uint64_t *bytes)
{
    *bytes = ((const struct memory *)state)->n;
    return 0;
}

static int memory_map(void *state, const void **bytes, size_t *n)
{
    const struct memory *m = state;
    *bytes = m->bytes;
    *n = m->n;
    return 0;
}

static int memory_close(void *state)
{
    struct memory *m = state;
    dfoi_free(m->ctx, m);
    return 0;
}

dfo_status dfoi_file_memory(dfo_ctx *ctx, const void *bytes, size_t n, const char *name, dfo_file **out)
{
    static const dfo_file_ops ops = {
        .read = memory_read,
        .seek = memory_seek,
        .size = memory_size,
        .close = memory_close,
        .map = memory_map,
    };
    struct memory *m;
    *out = NULL;
    DFO_TRY(dfoi_alloc(ctx, 1, sizeof *m, &m));
    *m = (struct memory){.ctx = ctx, .bytes = bytes, .n = n};
    return dfoi_file_wrap(ctx, &ops, m, name, out);
}
