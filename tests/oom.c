/* Fails each allocation in turn: see oom.h.  */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <check.h>
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <jansson.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "oom.h"
#include "util.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define INTERPOSED 0
#else
#define INTERPOSED 1
#endif

static atomic_int    armed;            /* counting: 1 ours, 2 everybody's */
static atomic_size_t counted;          /* allocations since arming */
static size_t        refuse;           /* the one to refuse, from 1; 0: none */
static size_t        traced;           /* DIFFEO_OOM_TRACE=K: says where allocation K is asked for */
static atomic_int    refused;          /* whose that was: enum owner */
static atomic_long   json_live;        /* jansson's blocks */

static _Thread_local int reading;      /* jansson is reading text */

enum owner { NOBODY, CONTEXT, JANSSON, LIBRARY };

/* 1 if this allocation is to fail.  */
static int asked(enum owner owner)
{
    int mode = atomic_load(&armed);
    if (!mode || reading || (owner == LIBRARY && mode == 1))
        return 0;
    if (atomic_fetch_add(&counted, 1) + 1 != refuse)
        return 0;
    atomic_store(&refused, (int)owner);
    if (refuse == traced) {
        void *at[40];
        atomic_store(&armed, 0);
        backtrace_symbols_fd(at, backtrace(at, 40), 2);
        atomic_store(&armed, mode);
    }
    errno = ENOMEM;
    return 1;
}

/* jansson 2.14 does not survive refused memory while it reads text (it aborts or crashes), so nothing is refused
 * then: the library asks for that much memory beforehand, and that is refused.  */
json_t *json_loadb(const char *text, size_t n, size_t flags, json_error_t *error)
{
    json_t *(*next)(const char *, size_t, size_t, json_error_t *);
    void *f = dlsym(RTLD_NEXT, "json_loadb");
    memcpy(&next, &f, sizeof f);
    reading++;
    json_t *value = next(text, n, flags, error);
    reading--;
    return value;
}

#if INTERPOSED
void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t n, size_t size);

static void *(*next_malloc)(size_t);
static void *(*next_calloc)(size_t, size_t);
static void *(*next_realloc)(void *, size_t);

/* The allocator behind this one (glibc's, or valgrind's).  */
__attribute__((constructor)) static void find_next(void)
{
    void *f = dlsym(RTLD_NEXT, "malloc");
    memcpy(&next_malloc, &f, sizeof f);
    f = dlsym(RTLD_NEXT, "calloc");
    memcpy(&next_calloc, &f, sizeof f);
    f = dlsym(RTLD_NEXT, "realloc");
    memcpy(&next_realloc, &f, sizeof f);
}

void *malloc(size_t bytes)
{
    if (asked(LIBRARY))
        return NULL;
    return next_malloc ? next_malloc(bytes) : __libc_malloc(bytes);
}

void *calloc(size_t n, size_t size)
{
    if (asked(LIBRARY))
        return NULL;
    return next_calloc ? next_calloc(n, size) : __libc_calloc(n, size);
}

void *realloc(void *memory, size_t bytes)
{
    if (asked(LIBRARY))
        return NULL;
    if (!next_realloc)
        find_next();
    return next_realloc(memory, bytes);
}
#endif

static void *take(enum owner owner, size_t bytes)
{
    if (asked(owner))
        return NULL;
#if INTERPOSED
    return next_malloc(bytes);             /* not through malloc above: it would be counted twice */
#else
    return malloc(bytes);
#endif
}

static void *ctx_alloc(void *data, size_t bytes)
{
    (void)data;
    return take(CONTEXT, bytes);
}

static void ctx_free(void *data, void *memory)
{
    (void)data;
    free(memory);
}

static void *json_alloc(size_t bytes)
{
    void *memory = take(JANSSON, bytes);
    if (memory)
        atomic_fetch_add(&json_live, 1);
    return memory;
}

static void json_drop(void *memory)
{
    if (memory)
        atomic_fetch_sub(&json_live, 1);
    free(memory);
}

dfo_status oom_ctx(dfo_ctx **out)
{
    static const dfo_alloc alloc = {ctx_alloc, ctx_free, NULL};
    return dfo_ctx_new_with(&alloc, out);
}

struct result {
    dfo_status status;
    size_t     left;              /* bytes of the context that remain */
    long       json_left;
    int        refused;
    size_t     counted;
    char       text[512];
};

static struct result run(int flags, size_t which, oom_work work, void *data)
{
    struct result r = {0};
    dfo_ctx *ctx;
    if (oom_ctx(&ctx) != DFO_OK)
        ck_abort_msg("no memory for the test itself");
    dfo_ctx_set_threads(ctx, 1);
    long json = atomic_load(&json_live);
    refuse = which;
    atomic_store(&counted, 0);
    atomic_store(&refused, 0);
    atomic_store(&armed, flags & OOM_OURS ? 1 : 2);
    r.status = work(ctx, data);
    atomic_store(&armed, 0);
    r.left = dfo_ctx_bytes(ctx);
    r.json_left = atomic_load(&json_live) - json;
    r.refused = atomic_load(&refused);
    r.counted = atomic_load(&counted);
    strncpy(r.text, dfo_ctx_error(ctx), sizeof r.text - 1);
    if (!r.left)
        dfo_ctx_free(ctx);        /* else blocks stand in it: the failure is reported by the caller */
    return r;
}

static void check_clean(const char *what, const char *when, const struct result *r)
{
    ck_assert_msg(r->status == DFO_OK, "%s: %s: %s: %s", what, when, dfo_status_text(r->status), r->text);
    ck_assert_msg(!r->left && !r->json_left, "%s: %s: %zu bytes of the context and %ld JSON values remain",
                  what, when, r->left, r->json_left);
}

size_t oom_check(const char *what, int flags, oom_work work, void *data)
{
    json_malloc_t old_malloc;
    json_free_t old_free;
    json_get_alloc_funcs(&old_malloc, &old_free);
    json_set_alloc_funcs(json_alloc, json_drop);

    struct result r = run(flags, 0, work, data);        /* warms what is made once in a process */
    check_clean(what, "first run", &r);
    r = run(flags, 0, work, data);
    check_clean(what, "counting run", &r);
    size_t all = r.counted, most = test_times(400);
    ck_assert_msg(all > 0, "%s: makes no allocation", what);

    const char *trace = getenv("DIFFEO_OOM_TRACE");
    traced = trace ? strtoull(trace, NULL, 10) : 0;
    size_t tries = all < most ? all : most;
    for (size_t t = 0; t < tries; t++) {
        size_t k = 1 + (tries == all ? t : (size_t)((double)t * (double)(all - 1) / (double)(tries - 1)));
        r = run(flags, k, work, data);
        ck_assert_msg(!r.left && !r.json_left,
                      "%s: allocation %zu of %zu refused: %zu bytes of the context and %ld JSON values remain"
                      " (status: %s; text: %s)", what, k, all, r.left, r.json_left, dfo_status_text(r.status),
                      r.text);
        ck_assert_msg(r.refused != JANSSON || r.status != DFO_OK, "%s: allocation %zu of %zu, a JSON value's, "
                      "refused: not noticed", what, k, all);
        ck_assert_msg(r.refused != CONTEXT || r.status == DFO_EMEM,
                      "%s: allocation %zu of %zu refused: status '%s' (text: %s), expected '%s'", what, k, all,
                      dfo_status_text(r.status), r.text, dfo_status_text(DFO_EMEM));
        ck_assert_msg(r.status == DFO_OK || r.text[0],
                      "%s: allocation %zu of %zu refused: status '%s' without a text", what, k, all,
                      dfo_status_text(r.status));
    }
    r = run(flags, 0, work, data);
    check_clean(what, "run after all failures", &r);
    json_set_alloc_funcs(old_malloc, old_free);
    return all;
}

void oom_count_begin(void)
{
    refuse = 0;
    atomic_store(&counted, 0);
    atomic_store(&armed, 2);
}

size_t oom_count_end(void)
{
    atomic_store(&armed, 0);
    return atomic_load(&counted);
}
