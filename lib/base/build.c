/* Building: named weights under a path, and their first values.  */
#include <stdio.h>

#include <diffeo/build.h>
#include <diffeo/rng.h>
#include "base/ctx_impl.h"

#define NAME_MAX_BYTES 256

static dfo_status full_name(const dfo_build *build, const char *name, char *text)
{
    int n = snprintf(text, NAME_MAX_BYTES, "%s.%s", build->path, name);
    if (n < 0 || n >= NAME_MAX_BYTES)
        return dfoi_fail(build->ctx, DFO_EARG, "%s: layers nested too deeply", build->path);
    return DFO_OK;
}

dfo_status dfo_build_weights(dfo_build *build, const char *name, size_t ndim, const size_t *shape, size_t *offset)
{
    char text[NAME_MAX_BYTES];
    DFO_TRY(full_name(build, name, text));
    return dfo_store_add(build->store, text, ndim, shape, offset);
}

dfo_status dfo_build_buffer(dfo_build *build, const char *name, size_t ndim, const size_t *shape, size_t *offset)
{
    char text[NAME_MAX_BYTES];
    DFO_TRY(full_name(build, name, text));
    return dfo_store_add_buffer(build->store, text, ndim, shape, offset);
}

static dfo_key key_of(const dfo_build *build, size_t offset)
{
    dfo_key key = {.seed = build->seed, .row = offset, .purpose = DFO_FOR_WEIGHTS};
    return key;
}

void dfo_build_normal(dfo_build *build, size_t offset, size_t n, double std)
{
    dfo_real *w = dfo_store_weights(build->store) + offset;
    if (build->blank)
        return;
    dfo_draw_real_normal(key_of(build, offset), n, w);
    for (size_t i = 0; i < n; i++)
        w[i] *= (dfo_real)std;
}

void dfo_build_uniform(dfo_build *build, size_t offset, size_t n, double a)
{
    dfo_real *w = dfo_store_weights(build->store) + offset;
    if (build->blank)
        return;
    dfo_draw_real_uniform(key_of(build, offset), n, w);
    for (size_t i = 0; i < n; i++)
        w[i] = (dfo_real)(a * (2.0 * (double)w[i] - 1.0));
}

void dfo_build_constant(dfo_build *build, size_t offset, size_t n, double value)
{
    dfo_real *w = dfo_store_weights(build->store) + offset;
    for (size_t i = 0; i < n; i++)
        w[i] = (dfo_real)value;
}

dfo_status dfo_build_child(const dfo_build *parent, const char *name, char *text, size_t size, dfo_build *child)
{
    int n = snprintf(text, size, "%s.%s", parent->path, name);
    if (n < 0 || (size_t)n >= size)
        return dfoi_fail(parent->ctx, DFO_EARG, "%s: layers nested too deeply", parent->path);
    *child = *parent;
    child->path = text;
    return DFO_OK;
}
