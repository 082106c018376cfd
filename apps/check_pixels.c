/* How many pixels of images come back as others when they are encoded and decoded.  */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cmd.h"

static dfo_status chunk(const struct common *c, const struct input *in, dfo_model_plan *plan, uint64_t first, size_t n,
                        size_t d, dfo_real *rows, dfo_real *copy, uint64_t *wrong)
{
    size_t width = d + in->context_d;
    dfo_cond cond;
    dfo_batch x = split_chunk(in, copy, n, d, &cond);
    dfo_status status = dfo_source_read(in->source, c->ctx, first, dfo_batch_of(rows, n, width), NULL);
    memcpy(copy, rows, n * width * sizeof *rows);
    if (status == DFO_OK)
        status = dfo_model_encode(plan, first, x, &cond, NULL);
    if (status == DFO_OK)
        status = dfo_model_decode(plan, first, x, &cond, NULL);
    for (size_t i = 0; i < n && status == DFO_OK; i++)
        for (size_t k = 0; k < d; k++)
            if (!(fabs((double)dfo_row(x, i)[k] - (double)rows[i * width + k]) < 0.5))
                ++*wrong;
    return status;
}

int count_wrong_pixels(const struct common *c, const struct input *in, const dfo_model *model, uint64_t batch,
                       uint64_t *wrong)
{
    size_t d = dfo_model_features(model), width = d + in->context_d, most, before = dfo_ctx_bytes(c->ctx);
    dfo_model_plan *plan = NULL;
    dfo_source_info info;
    dfo_source_describe(in->source, &info);
    if (dfo_model_plan_new(c->ctx, model, 0, &plan))
        return failed(c);
    dfo_chunk k = {.asked = batch, .rows = info.rows, .block = dfo_model_block(model),
                   .row_bytes = 2 * width * sizeof(dfo_real), .taken = dfo_ctx_bytes(c->ctx) - before};
    if (dfo_chunk_rows(c->ctx, &k, &most)) {
        dfo_model_plan_free(plan);
        return failed(c);
    }
    dfo_real *rows = calloc(most * width, sizeof *rows), *copy = calloc(most * width, sizeof *copy);
    int status = 0;
    *wrong = 0;
    if (!rows || !copy)
        status = (usage_error(c, "out of memory"), EXIT_FAILED);
    for (uint64_t first = 0; first < info.rows && !status; first += most) {
        size_t n = info.rows - first < most ? (size_t)(info.rows - first) : most;
        if (chunk(c, in, plan, first, n, d, rows, copy, wrong))
            status = failed(c);
    }
    dfo_model_plan_free(plan);
    free(rows);
    free(copy);
    return status;
}
