/* Parameters of densities: read from the configuration, learned or not; and scratch in double.  */
#include <math.h>
#include <string.h>

#include "base/ctx_impl.h"
#include "base/json_impl.h"
#include "dist/dist_impl.h"

static dfo_status in_range(dfo_ctx *ctx, const struct dfoi_param *param, double low, double high)
{
    for (size_t i = 0; i < param->count; i++)
        if (!(param->value[i] >= low && param->value[i] <= high))
            return dfoi_fail(ctx, DFO_EARG, "%s must be from %g to %g, got %g", param->name, low,
                             high, param->value[i]);
    return DFO_OK;
}

/* value (rows, cols) from an array of rows, each a number or an array of cols numbers.  */
static dfo_status read_rows(dfo_ctx *ctx, const json_t *array, struct dfoi_param *param)
{
    if (json_array_size(array) != param->rows)
        return dfoi_fail(ctx, DFO_EARG, "%s: expected %zu rows, got %zu", param->name, param->rows,
                         json_array_size(array));
    for (size_t i = 0; i < param->rows; i++) {
        json_t *row = json_array_get(array, i);
        json_t *one =
            json_pack("{sO}", param->name, row); /* so that the reader below names the key */
        if (!one)
            return dfoi_fail(ctx, DFO_EMEM, "out of memory: %s", param->name);
        dfo_status status =
            dfoi_json_reals(ctx, one, param->name, param->cols, 0, param->value + i * param->cols);
        json_decref(one);
        DFO_TRY(status);
    }
    return DFO_OK;
}

dfo_status dfoi_param_learn(dfo_build *build, struct dfoi_param *param)
{
    size_t shape[2] = {param->rows, param->cols};
    if (!build->store)
        return dfoi_fail(build->ctx, DFO_EARG, "%s: a learned parameter needs a store",
                         param->name);
    if (!param->count)
        return DFO_OK;
    if (param->rows)
        DFO_TRY(dfo_build_weights(build, param->name, 2, shape, &param->offset));
    else
        DFO_TRY(dfo_build_weights(build, param->name, 1, shape + 1, &param->offset));
    dfo_real *w = dfo_store_weights(build->store) + param->offset;
    for (size_t i = 0; i < param->count; i++)
        w[i] = (dfo_real)param->value[i];
    param->learned = 1;
    return DFO_OK;
}

dfo_status dfoi_param_new(dfo_build *build, const json_t *config, const char *name, size_t rows,
                          size_t cols, double fallback, double low, double high, int learned,
                          struct dfoi_param *out)
{
    dfo_ctx *ctx = build->ctx;
    const json_t *given = json_object_get(config, name);
    memset(out, 0, sizeof *out);
    out->name = name;
    out->rows = rows;
    out->cols = cols;
    DFO_TRY(dfoi_mul(ctx, rows ? rows : 1, cols, name, &out->count));
    DFO_TRY(dfoi_alloc(ctx, out->count, sizeof *out->value, &out->value));
    if (!given && isnan(fallback))
        return dfoi_fail(ctx, DFO_EARG, "%s is missing", name);
    if (given && json_is_array(given) && rows)
        DFO_TRY(read_rows(ctx, given, out));
    else
        DFO_TRY(dfoi_json_reals(ctx, config, name, out->count, fallback, out->value));
    out->given = !given ? 0 : json_is_array(given) ? 2 : 1;
    DFO_TRY(in_range(ctx, out, low, high));
    return learned ? dfoi_param_learn(build, out) : DFO_OK;
}

void dfoi_param_free(dfo_ctx *ctx, struct dfoi_param *param)
{
    dfoi_free(ctx, param->value);
    param->value = NULL;
}

void dfoi_param_get(const struct dfoi_param *param, const dfo_run *run, double *out)
{
    if (!param->learned) {
        memcpy(out, param->value, param->count * sizeof *out);
        return;
    }
    const dfo_real *w = dfo_run_weights(run, param->offset);
    for (size_t i = 0; i < param->count; i++)
        out[i] = (double)w[i];
}

void dfoi_param_add_grad(const struct dfoi_param *param, dfo_run *run, const double *g)
{
    dfo_real *grad = param->learned ? dfo_run_grads(run, param->offset) : NULL;
    for (size_t i = 0; grad && i < param->count; i++)
        grad[i] += (dfo_real)g[i];
}

/* An array of n numbers, NULL if there is no memory.  */
static json_t *array_of(size_t n, const double *value)
{
    json_t *array = json_array();
    for (size_t i = 0; array && i < n; i++)
        if (json_array_append_new(array, json_real(value[i]))) {
            json_decref(array);
            array = NULL;
        }
    return array;
}

dfo_status dfoi_param_describe(dfo_ctx *ctx, const struct dfoi_param *param, json_t *to)
{
    if (!param->given)
        return DFO_OK;
    if (param->given == 1)
        return dfoi_json_set(ctx, to, param->name, json_real(param->count ? param->value[0] : 0));
    if (!param->rows)
        return dfoi_json_set(ctx, to, param->name, array_of(param->cols, param->value));
    json_t *rows = json_array();
    for (size_t i = 0; rows && i < param->rows; i++)
        if (json_array_append_new(rows, array_of(param->cols, param->value + i * param->cols))) {
            json_decref(rows);
            rows = NULL;
        }
    return dfoi_json_set(ctx, to, param->name, rows);
}

dfo_status dfoi_dist_describe_head(const dfo_dist *dist, json_t *to, int learned)
{
    DFO_TRY(dfoi_json_set(dist->ctx, to, "type", json_string(dist->ops->type)));
    return learned < 0 ? DFO_OK : dfoi_json_set(dist->ctx, to, "learned", json_boolean(learned));
}

dfo_real *dfoi_take_reals(dfo_run *run, size_t n)
{
    dfo_real *memory = dfo_arena_take(run, n);
    if (!memory)
        dfo_run_fail(run, DFO_EMEM, (size_t)-1, "no scratch left for %zu reals", n);
    return memory;
}

double *dfoi_take_doubles(dfo_run *run, size_t n)
{
    return (double *)(void *)dfoi_take_reals(run, n * (sizeof(double) / sizeof(dfo_real)));
}
