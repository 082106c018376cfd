/* The one place that allocates.  A block has a head in front of it, so that free knows its size:
 * [allocator's memory][.. pad ..][head][block, aligned].  */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/ctx_impl.h"
#include "base/ctx_state.h"
#include "base/par_impl.h"

struct head {
    void  *raw;         /* what the allocator gave */
    size_t bytes;       /* what was asked of it */
};

#define HUGE_PAGE ((size_t)2 << 20)

static void *std_alloc(void *data, size_t bytes)
{
    (void)data;
    return malloc(bytes);
}

static void std_free(void *data, void *memory)
{
    (void)data;
    free(memory);
}

dfo_status dfo_ctx_new(dfo_ctx **out)
{
    static const dfo_alloc std = {std_alloc, std_free, NULL};
    return dfo_ctx_new_with(&std, out);
}

dfo_status dfo_ctx_new_with(const dfo_alloc *alloc, dfo_ctx **out)
{
    dfo_ctx *ctx = alloc->alloc(alloc->data, sizeof *ctx);
    *out = ctx;
    if (!ctx)
        return DFO_EMEM;
    memset(ctx, 0, sizeof *ctx);
    ctx->alloc = *alloc;
    ctx->threads = dfoi_cores();
    return DFO_OK;
}

void dfo_ctx_free(dfo_ctx *ctx)
{
    if (ctx)
        ctx->alloc.free(ctx->alloc.data, ctx);
}

size_t dfo_ctx_bytes(const dfo_ctx *ctx)
{
    return atomic_load(&((dfo_ctx *)ctx)->bytes);
}

size_t dfo_ctx_peak_bytes(const dfo_ctx *ctx)
{
    return atomic_load(&((dfo_ctx *)ctx)->peak);
}

static dfo_status allocate(dfo_ctx *ctx, size_t n, size_t size, size_t align, void *out)
{
    size_t bytes, all;
    void *result = NULL;
    memcpy(out, &result, sizeof result);
    if (__builtin_mul_overflow(n, size, &bytes) ||
        __builtin_add_overflow(bytes, align + sizeof(struct head), &all))
        return dfoi_fail(ctx, DFO_EMEM, "out of memory: %zu times %zu bytes is more than can be addressed",
                         n, size);
    void *raw = ctx->alloc.alloc(ctx->alloc.data, all);
    if (!raw)
        return dfoi_fail(ctx, DFO_EMEM, "out of memory: %zu bytes wanted", all);
    uintptr_t at = ((uintptr_t)raw + sizeof(struct head) + align - 1) / align * align;
    struct head head = {raw, all - align + DFOI_ALIGN};       /* pages that aligning skips are never touched */
    memcpy((char *)at - sizeof head, &head, sizeof head);
    result = (void *)at;
    if (align == HUGE_PAGE)
        (void)madvise(result, bytes / HUGE_PAGE * HUGE_PAGE, MADV_HUGEPAGE);   /* a wish only */
    memset(result, 0, bytes);
    size_t now = atomic_fetch_add(&ctx->bytes, head.bytes) + head.bytes;
    size_t peak = atomic_load(&ctx->peak);
    while (now > peak && !atomic_compare_exchange_weak(&ctx->peak, &peak, now))
        ;
    memcpy(out, &result, sizeof result);
    return DFO_OK;
}

dfo_status dfoi_alloc(dfo_ctx *ctx, size_t n, size_t size, void *out)
{
    return allocate(ctx, n, size, DFOI_ALIGN, out);
}

dfo_status dfoi_alloc_big(dfo_ctx *ctx, size_t n, size_t size, void *out)
{
    int big = size && n >= 4 * HUGE_PAGE / size;       /* else aligning would cost too much */
    return allocate(ctx, n, size, big ? HUGE_PAGE : DFOI_ALIGN, out);
}

void dfoi_free(dfo_ctx *ctx, void *memory)
{
    struct head head;
    if (!memory)
        return;
    memcpy(&head, (char *)memory - sizeof head, sizeof head);
    atomic_fetch_sub(&ctx->bytes, head.bytes);
    ctx->alloc.free(ctx->alloc.data, head.raw);
}

dfo_status dfoi_grow(dfo_ctx *ctx, size_t n_old, size_t n_new, size_t size, void *memory)
{
    void *old, *now;
    memcpy(&old, memory, sizeof old);
    DFO_TRY(dfoi_alloc_big(ctx, n_new, size, &now));
    if (old)
        memcpy(now, old, n_old * size);
    dfoi_free(ctx, old);
    memcpy(memory, &now, sizeof now);
    return DFO_OK;
}

dfo_status dfoi_strdup(dfo_ctx *ctx, const char *text, char **out)
{
    size_t n = strlen(text) + 1;
    DFO_TRY(dfoi_alloc(ctx, n, 1, out));
    memcpy(*out, text, n);
    return DFO_OK;
}

dfo_status dfoi_mul(dfo_ctx *ctx, size_t a, size_t b, const char *what, size_t *out)
{
    if (__builtin_mul_overflow(a, b, out))
        return dfoi_fail(ctx, DFO_EMEM, "%s: %zu times %zu is more than can be addressed", what, a, b);
    return DFO_OK;
}
