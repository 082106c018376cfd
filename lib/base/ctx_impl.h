/* The context's inside: memory, errors, log.  Private.  */
#ifndef DFOI_CTX_IMPL_H
#define DFOI_CTX_IMPL_H

#include <stdarg.h>
#include <stdint.h>
#include <diffeo/ctx.h>

#define DFOI_ALIGN 64          /* bytes: a cache line, an AVX-512 vector */
#define DFOI_TEXT 1024         /* bytes of an error text */

/* Passes a failure on.  */
#define DFO_TRY(call)                                                         \
    do {                                                                      \
        dfo_status try_status_ = (call);                                      \
        if (try_status_ != DFO_OK)                                            \
            return try_status_;                                               \
    } while (0)

/* The same in functions that clean up: sets `status` and goes to `fail`.  */
#define DFO_GO(call)                                                          \
    do {                                                                      \
        status = (call);                                                      \
        if (status != DFO_OK)                                                 \
            goto fail;                                                        \
    } while (0)

/* Puts a text into the context (needs no memory) and returns status.  */
dfo_status dfoi_fail(dfo_ctx *ctx, dfo_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts text in front of the present error: "train.json: " + "layer 4: ...".  Returns the status.  */
dfo_status dfoi_wrap(dfo_ctx *ctx, const char *format, ...) __attribute__((format(printf, 2, 3)));

void dfoi_log(dfo_ctx *ctx, dfo_log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Zeroed memory for n things of `size` bytes, 64-byte aligned; overflow-checked.  *out is NULL on
 * failure.  n = 0 gives a pointer that may be freed.  DFO_EMEM.  */
dfo_status dfoi_alloc(dfo_ctx *ctx, size_t n, size_t size, void *out);

/* The same in 2 MiB-aligned memory for which huge pages are asked: for blocks of many megabytes
 * (smaller ones come from dfoi_alloc).  Freed by dfoi_free.  */
dfo_status dfoi_alloc_big(dfo_ctx *ctx, size_t n, size_t size, void *out);

/* Makes *memory (from dfoi_alloc, holding n_old) hold n_new things; old content kept, rest zero.  */
dfo_status dfoi_grow(dfo_ctx *ctx, size_t n_old, size_t n_new, size_t size, void *memory);

void dfoi_free(dfo_ctx *ctx, void *memory);          /* NULL is fine */
dfo_status dfoi_strdup(dfo_ctx *ctx, const char *text, char **out);

/* *out = a*b or DFO_EMEM with a text that names `what`.  */
dfo_status dfoi_mul(dfo_ctx *ctx, size_t a, size_t b, const char *what, size_t *out);

size_t dfoi_memory_limit(const dfo_ctx *ctx);

/* DFO_EINTR once dfo_ctx_set_stop's number is not zero: for loops that take long.  */
dfo_status dfoi_stopped(dfo_ctx *ctx);

/* n rounded up to whole cache lines of `size`-byte things.  */
static inline size_t dfoi_round(size_t n, size_t size)
{
    size_t per = DFOI_ALIGN / size;
    return (n + per - 1) / per * per;
}

#endif
