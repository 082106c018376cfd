/* The context: error text, log, threads.  Its memory is in mem.c.  */
#include <stdio.h>
#include <string.h>

#include "base/ctx_impl.h"
#include "base/ctx_state.h"
#include "base/par_impl.h"

const char *dfo_ctx_error(const dfo_ctx *ctx)
{
    return ctx->text;
}

dfo_status dfo_ctx_status(const dfo_ctx *ctx)
{
    return ctx->status;
}

void dfo_ctx_clear(dfo_ctx *ctx)
{
    ctx->status = DFO_OK;
    ctx->text[0] = 0;
}

void dfo_ctx_set_threads(dfo_ctx *ctx, int threads)
{
    ctx->threads = threads > 0 ? threads : dfoi_cores();
}

int dfo_ctx_threads(const dfo_ctx *ctx)
{
    return ctx->threads;
}

void dfo_ctx_set_memory_limit(dfo_ctx *ctx, size_t bytes)
{
    ctx->memory_limit = bytes;
}

void dfo_ctx_set_stop(dfo_ctx *ctx, const volatile int *stop)
{
    ctx->stop = stop;
}

dfo_status dfoi_stopped(dfo_ctx *ctx)
{
    return ctx->stop && *ctx->stop ? dfoi_fail(ctx, DFO_EINTR, "interrupted") : DFO_OK;
}

size_t dfoi_memory_limit(const dfo_ctx *ctx)
{
    return ctx->memory_limit;
}

void dfo_ctx_set_log(dfo_ctx *ctx, dfo_log_fn log, void *data)
{
    ctx->log = log;
    ctx->log_data = data;
}

dfo_status dfoi_fail(dfo_ctx *ctx, dfo_status status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    ctx->status = status;
    vsnprintf(ctx->text, sizeof ctx->text, format, args);
    va_end(args);
    for (char *c = ctx->text; *c; c++)         /* names from files may hold line breaks; a message is one line */
        if ((unsigned char)*c < 32 || *c == 127)
            *c = '?';
    return status;
}

dfo_status dfoi_wrap(dfo_ctx *ctx, const char *format, ...)
{
    char front[DFOI_TEXT];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(front, sizeof front, format, args);
    va_end(args);
    if (n > 0) {
        size_t have = (size_t)n < sizeof front - 1 ? (size_t)n : sizeof front - 1;
        size_t keep = strlen(ctx->text);
        if (keep > sizeof ctx->text - 1 - have)
            keep = sizeof ctx->text - 1 - have;
        memmove(ctx->text + have, ctx->text, keep);
        memcpy(ctx->text, front, have);
        ctx->text[have + keep] = 0;
    }
    return ctx->status;
}

void dfoi_log(dfo_ctx *ctx, dfo_log_level level, const char *format, ...)
{
    char text[DFOI_TEXT];
    if (!ctx->log)
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    ctx->log(ctx->log_data, level, text);
}
