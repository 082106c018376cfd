/* gzip (RFC 1952) on the fly, over any other file: several members one after another, zero padding
 * behind the last.  Errors: ENODATA the data end early, EBADMSG they are damaged (check sum, structure,
 * rubbish behind the end).  */
#include <errno.h>
#include <limits.h>
#define ZLIB_CONST
#include <zlib.h>

#include "base/file_state.h"

#define INPUT ((size_t)1 << 16)

struct gzip {
    dfo_ctx            *ctx;
    const dfo_file_ops *inner;
    void               *inner_state;
    z_stream            z;
    int                 started;         /* inflateInit2 was called */
    int                 between;         /* a member has just ended */
    int                 ended;           /* the inner file has no more */
    unsigned char       input[INPUT];
};

static void *z_alloc(void *data, unsigned n, unsigned size)
{
    void *memory;
    return dfoi_alloc(data, n, size, &memory) == DFO_OK ? memory : NULL;
}

static void z_free(void *data, void *memory)
{
    dfoi_free(data, memory);
}

static int gzip_close(void *state)
{
    struct gzip *g = state;
    int error = g->inner->close(g->inner_state);
    if (g->started)
        inflateEnd(&g->z);
    dfoi_free(g->ctx, g);
    return error;
}

dfo_status dfoi_gzip_open(dfo_ctx *ctx, const dfo_file_ops *inner, void *inner_state, const void *head, size_t n,
                          void **state)
{
    struct gzip *g;
    *state = NULL;
    dfo_status status = dfoi_alloc(ctx, 1, sizeof *g, &g);
    if (status != DFO_OK) {
        inner->close(inner_state);
        return status;
    }
    g->ctx = ctx;
    g->inner = inner;
    g->inner_state = inner_state;
    g->z.zalloc = z_alloc;
    g->z.zfree = z_free;
    g->z.opaque = ctx;
    if (inflateInit2(&g->z, 15 + 16) != Z_OK) {         /* 15: largest window, 16: gzip's head and tail */
        gzip_close(g);
        return dfoi_fail(ctx, DFO_EMEM, "out of memory: zlib");
    }
    g->started = 1;
    for (size_t i = 0; i < n; i++)
        g->input[i] = ((const unsigned char *)head)[i];
    g->z.next_in = g->input;
    g->z.avail_in = (unsigned)n;
    *state = g;
    return DFO_OK;
}

/* Fills the input if it is empty.  */
static int refill(struct gzip *g)
{
    size_t got = 0;
    if (g->z.avail_in || g->ended)
        return 0;
    int error = g->inner->read(g->inner_state, g->input, INPUT, &got);
    if (error)
        return error;
    g->ended = got < INPUT;
    g->z.next_in = g->input;
    g->z.avail_in = (unsigned)got;
    return 0;
}

/* After a member: skips zero padding, starts the next member; *end at the end of the file.  */
static int next_member(struct gzip *g, int *end)
{
    *end = 0;
    for (;;) {
        int error = refill(g);
        if (error)
            return error;
        if (!g->z.avail_in) {
            *end = 1;
            return 0;
        }
        if (*g->z.next_in)
            break;
        g->z.next_in++;
        g->z.avail_in--;
    }
    if (*g->z.next_in != 0x1f || inflateReset(&g->z) != Z_OK)
        return EBADMSG;
    g->between = 0;
    return 0;
}

static int gzip_read(void *state, void *to, size_t bytes, size_t *got)
{
    struct gzip *g = state;
    *got = 0;
    while (*got < bytes) {
        int error = refill(g), end = 0;
        if (!error && g->between)
            error = next_member(g, &end);
        if (error || end)
            return error;
        size_t want = bytes - *got < INT_MAX ? bytes - *got : INT_MAX;
        g->z.next_out = (unsigned char *)to + *got;
        g->z.avail_out = (unsigned)want;
        int answer = inflate(&g->z, Z_NO_FLUSH);
        *got += want - g->z.avail_out;
        if (answer == Z_STREAM_END)
            g->between = 1;
        else if (answer == Z_MEM_ERROR)
            return ENOMEM;
        else if (answer == Z_BUF_ERROR || answer == Z_OK) {
            if (g->z.avail_out && !g->z.avail_in && g->ended)
                return ENODATA;
        } else
            return EBADMSG;
    }
    return 0;
}

const dfo_file_ops dfoi_gzip_ops = {
    .read = gzip_read,
    .close = gzip_close,
};
