/* What a constructor is given: where weights go, what the rows are, and under which name.  */
#ifndef DIFFEO_BUILD_H
#define DIFFEO_BUILD_H

#include <diffeo/real.h>
#include <diffeo/batch.h>
#include <diffeo/ctx.h>
#include <diffeo/store.h>

#ifdef __cplusplus
extern "C" {
#endif

struct json_t;      /* jansson's; an application that writes layers includes <jansson.h> */

typedef struct dfo_build {
    dfo_ctx   *ctx;
    dfo_store *store;
    uint64_t   seed;           /* initial weights are drawn from (seed, DFO_FOR_WEIGHTS, row = offset) */
    int        blank;          /* 1: weights will be loaded; the fills below do nothing */
    const char *path;          /* "flow.3": names of weights begin with it, errors mention it */
    dfo_shape  shape;          /* of a row */
    size_t     conds;          /* parts of the condition */
    dfo_shape  cond[DFO_COND_PARTS];
} dfo_build;

/* Adds "path.name" to the store.  */
dfo_status dfo_build_weights(dfo_build *build, const char *name, size_t ndim, const size_t *shape,
                             size_t *offset);
dfo_status dfo_build_buffer(dfo_build *build, const char *name, size_t ndim, const size_t *shape,
                            size_t *offset);

/* Fills n weights at offset with draws: normal of that standard deviation, or uniform in [-a, a].  */
void dfo_build_normal(dfo_build *build, size_t offset, size_t n, double std);
void dfo_build_uniform(dfo_build *build, size_t offset, size_t n, double a);
void dfo_build_constant(dfo_build *build, size_t offset, size_t n, double value);

/* A child's build: path becomes "parent.name" in text (caller's memory, `size` bytes).  DFO_EARG if
 * it does not fit.  */
dfo_status dfo_build_child(const dfo_build *parent, const char *name, char *text, size_t size, dfo_build *child);

#ifdef __cplusplus
}
#endif
#endif
