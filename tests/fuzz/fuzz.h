/* What fuzz targets share: a context with a limit on memory, and a trap for broken promises.  */
#ifndef DIFFEO_TESTS_FUZZ_H
#define DIFFEO_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <diffeo/ctx.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

/* What must hold whatever the input; ends the process otherwise (the fuzzer keeps the input).  */
#define FUZZ_ASSERT(what)                                                        \
    do {                                                                         \
        if (!(what)) {                                                           \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #what); \
            abort();                                                             \
        }                                                                        \
    } while (0)

#define FUZZ_MEMORY ((size_t)64 << 20)      /* more than this at once is refused */

static inline void *fuzz_alloc(void *data, size_t bytes)
{
    (void)data;
    return bytes > FUZZ_MEMORY ? NULL : malloc(bytes);
}

static inline void fuzz_free(void *data, void *memory)
{
    (void)data;
    free(memory);
}

static inline dfo_ctx *fuzz_ctx(void)
{
    static const dfo_alloc alloc = {fuzz_alloc, fuzz_free, NULL};
    dfo_ctx *ctx;
    FUZZ_ASSERT(dfo_ctx_new_with(&alloc, &ctx) == DFO_OK);
    dfo_ctx_set_threads(ctx, 1);
    return ctx;
}

/* The status and the text of the context agree, nothing is left, and the context ends.  */
static inline void fuzz_end(dfo_ctx *ctx, dfo_status status)
{
    FUZZ_ASSERT((unsigned)status < DFO_STATUS_COUNT);
    FUZZ_ASSERT(status == DFO_OK || dfo_ctx_error(ctx)[0]);
    FUZZ_ASSERT(dfo_ctx_bytes(ctx) == 0);
    dfo_ctx_free(ctx);
}

#endif
