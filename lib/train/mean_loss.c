/* The mean loss over the rows of a source, and minibatches of such rows.  */
#include <math.h>

#include "base/ctx_impl.h"
#include "train/fit_impl.h"

#define CHUNK 4096

dfo_minibatch dfoi_minibatch_of(dfo_real *x, size_t n, size_t d, size_t cond_d)
{
    dfo_batch all = dfo_batch_of(x, n, d + cond_d);
    dfo_minibatch b = {.x = dfo_batch_columns(all, 0, d)};
    if (cond_d) {
        b.cond.n = 1;
        b.cond.part[0].rows = dfo_batch_columns(all, d, cond_d);
        b.cond.part[0].shape = dfo_shape_vector(cond_d);
    }
    return b;
}

dfo_minibatch dfoi_minibatch_rows(const dfo_minibatch *b, size_t first, size_t n)
{
    dfo_minibatch s = *b;
    s.x = dfo_batch_rows(b->x, first, n);
    s.cond = dfo_cond_rows(&b->cond, first, n);
    s.weight = b->weight ? b->weight + first : NULL;
    s.row = b->row ? b->row + first : NULL;
    return s;
}

struct evaluation {
    dfo_loss     *loss;
    dfo_minibatch chunk;
    double       *out;             /* (rows of the chunk) */
};

static dfo_status task(void *data, dfo_run *run, size_t first, size_t n)
{
    struct evaluation *e = data;
    return e->loss->ops->eval(e->loss, run, dfoi_minibatch_rows(&e->chunk, first, n), e->out + first);
}

/* Room for a chunk.  */
struct room {
    dfo_real *x;                   /* (CHUNK, features of the source) */
    double   *out, *weight;        /* (CHUNK); weight NULL where rows have none */
};

static dfo_status add_chunk(dfo_plan *plan, struct evaluation *e, const struct room *room, dfo_key key, double *sum,
                            double *total)
{
    size_t n = e->chunk.x.n;
    DFO_TRY(dfoi_plan_blocks(plan, key, n, task, e));
    for (size_t i = 0; i < n; i++) {
        *sum += room->out[i] * (room->weight ? room->weight[i] : 1.0);
        *total += room->weight ? room->weight[i] : 1.0;
    }
    return DFO_OK;
}

dfo_status dfoi_mean_loss(dfo_plan *plan, dfo_loss *loss, const dfo_source *rows, size_t cond_d, uint64_t seed,
                          uint64_t step, double *mean)
{
    dfo_ctx *ctx = plan->ctx;
    dfo_status status;
    struct room room = {0};
    double sum = 0, total = 0;
    dfo_source_info info;
    dfo_source_describe(rows, &info);
    size_t width = dfo_shape_size(info.shape);
    DFO_GO(dfoi_alloc(ctx, CHUNK, width * sizeof *room.x, &room.x));
    DFO_GO(dfoi_alloc(ctx, CHUNK, sizeof *room.out, &room.out));
    if (info.weighted)
        DFO_GO(dfoi_alloc(ctx, CHUNK, sizeof *room.weight, &room.weight));
    for (uint64_t at = 0; at < info.rows; at += CHUNK) {
        size_t n = info.rows - at < CHUNK ? (size_t)(info.rows - at) : CHUNK;
        DFO_GO(dfo_source_read(rows, ctx, at, dfo_batch_of(room.x, n, width), room.weight));
        struct evaluation e = {loss, dfoi_minibatch_of(room.x, n, width - cond_d, cond_d), room.out};
        e.chunk.weight = room.weight;
        e.chunk.step = step;
        dfo_key key = {.seed = seed, .purpose = DFO_FOR_CHECK, .row = at};
        status = add_chunk(plan, &e, &room, key, &sum, &total);
        if (status == DFO_ENUM) {
            sum = INFINITY;
            dfo_ctx_clear(ctx);
            break;
        }
        if (status != DFO_OK)
            goto fail;
    }
    *mean = isfinite(sum) && total > 0 ? sum / total : INFINITY;
    status = DFO_OK;
fail:
    dfoi_free(ctx, room.weight);
    dfoi_free(ctx, room.out);
    dfoi_free(ctx, room.x);
    return status;
}
