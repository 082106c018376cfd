/* What the tests of data sets share: a context, files written on the spot, whole sources in memory.  */
#ifndef DIFFEO_TESTS_DATAFIX_H
#define DIFFEO_TESTS_DATAFIX_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <diffeo/real.h>
#include <diffeo/source.h>
#include "base/ctx_impl.h"
#include "util.h"

static dfo_ctx *ctx;

static inline void data_begin(void)
{
    ck_assert_int_eq(dfo_ctx_new(&ctx), DFO_OK);
}

static inline void data_end(void)
{
    ck_assert_uint_eq(dfo_ctx_bytes(ctx), 0);
    dfo_ctx_free(ctx);
}

#define OK(call) ck_assert_msg((call) == DFO_OK, "%s", dfo_ctx_error(ctx))
#define SAYS(part) ck_assert_msg(strstr(dfo_ctx_error(ctx), part), "expected '%s' in '%s'", part, dfo_ctx_error(ctx))

/* All rows (rows, *d), freed by free.  weight: NULL or where weights go, likewise.  */
static inline dfo_real *data_read(const dfo_source *source, size_t *d, double **weight)
{
    dfo_source_info info;
    dfo_source_describe(source, &info);
    *d = dfo_shape_size(info.shape);
    dfo_real *x = malloc((size_t)info.rows * *d * sizeof *x + 1);
    double *w = malloc((size_t)info.rows * sizeof *w + 1);
    ck_assert(x && w);
    OK(dfo_source_read(source, ctx, 0, dfo_batch_of(x, (size_t)info.rows, *d), w));
    if (weight)
        *weight = w;
    else
        free(w);
    return x;
}

static inline uint64_t data_rows(const dfo_source *source)
{
    dfo_source_info info;
    dfo_source_describe(source, &info);
    return info.rows;
}

/* FILE of ../shared/data (DIFFEO_SHARED names another folder), or NULL: then the test is skipped.  */
static inline const char *data_shared(const char *file)
{
    static char path[1024];
    const char *folder = getenv("DIFFEO_SHARED"), *top = getenv("top_srcdir");
    if (folder)
        snprintf(path, sizeof path, "%s/data/%s", folder, file);
    else
        snprintf(path, sizeof path, "%s/../shared/data/%s", top ? top : "..", file);
    FILE *f = fopen(path, "rb");
    if (!f) {
        printf("%s is not here: skipped\n", path);
        return NULL;
    }
    fclose(f);
    return path;
}

#endif
