/* The context: allocator, error text, log, number of threads.  Everything is made in a context.
 * A context serves one thread at a time; objects made in it may be used by other threads through
 * plans that have contexts of their own.  */
#ifndef DIFFEO_CTX_H
#define DIFFEO_CTX_H

#include <stddef.h>
#include <diffeo/status.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dfo_ctx dfo_ctx;

/* An allocator the application may supply.  alloc returns memory aligned to at least
 * max_align_t, or NULL; free takes what alloc gave, or NULL.  Both may be called from any thread.  */
typedef struct dfo_alloc {
    void *(*alloc)(void *data, size_t bytes);
    void  (*free)(void *data, void *memory);
    void  *data;
} dfo_alloc;

typedef enum dfo_log_level { DFO_LOG_DEBUG, DFO_LOG_INFO, DFO_LOG_WARNING } dfo_log_level;
typedef void (*dfo_log_fn)(void *data, dfo_log_level level, const char *text);

/* Makes a context with malloc as its allocator, all cores as threads and no log.
 * DFO_EMEM if there is no memory for it; *out is then NULL.  */
dfo_status dfo_ctx_new(dfo_ctx **out);

/* The same with the caller's allocator (copied; alloc->data stays the caller's).  */
dfo_status dfo_ctx_new_with(const dfo_alloc *alloc, dfo_ctx **out);

/* Frees a context; NULL is fine.  Everything made in it must have been freed before.  */
void dfo_ctx_free(dfo_ctx *ctx);

/* The text of the last failure in this context, "" if there was none.  Owned by the context,
 * valid until the next failure.  */
const char *dfo_ctx_error(const dfo_ctx *ctx);

/* The status of the last failure, DFO_OK if there was none.  */
dfo_status dfo_ctx_status(const dfo_ctx *ctx);

/* Forgets the last failure.  */
void dfo_ctx_clear(dfo_ctx *ctx);

/* Sets the number of threads that plans made from now on use; 0 means all cores.  */
void dfo_ctx_set_threads(dfo_ctx *ctx, int threads);
int dfo_ctx_threads(const dfo_ctx *ctx);

/* Limits the bytes that plans may take; 0 means no limit.  A plan that needs more is refused
 * with DFO_ELIMIT and the number of bytes it would need.  */
void dfo_ctx_set_memory_limit(dfo_ctx *ctx, size_t bytes);

/* Chains, weighted draws and rows on their way to a file end with DFO_EINTR soon after *stop is not zero, as a signal's handler
 * may make it; fits have a number of their own.  NULL: never.  It must outlive the context.  */
void dfo_ctx_set_stop(dfo_ctx *ctx, const volatile int *stop);

/* Sets where messages go (NULL: nowhere).  The library itself never prints.  */
void dfo_ctx_set_log(dfo_ctx *ctx, dfo_log_fn log, void *data);

/* Bytes in use and the high-water mark of this context's allocations.  */
size_t dfo_ctx_bytes(const dfo_ctx *ctx);
size_t dfo_ctx_peak_bytes(const dfo_ctx *ctx);

/* The kernels that OpenBLAS chose ("SkylakeX"), for reports.  If OpenBLAS fell back to its slowest
 * kernels on a CPU that it does not know, *fallback is set to 1 (else 0); NULL is fine.  */
const char *dfo_blas_core(int *fallback);

/* Ends the threads that OpenBLAS's pthread build starts when it is loaded: they spin on the cores for tens of
 * milliseconds.  It starts them again when it needs them.  For a program's first line: no BLAS call may be
 * under way.  Does nothing with other builds.  */
void dfo_blas_rest(void);

/* The instruction set the library's own kernels use: "avx512", "avx2" or "generic"
 * (environment variable DIFFEO_CPU chooses a lower one).  */
const char *dfo_cpu_name(void);

/* "0.1.0" */
const char *dfo_version(void);

#ifdef __cplusplus
}
#endif
#endif
