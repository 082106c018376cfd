/* See contract_twin.h.  */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include <diffeo/bijector.h>
#include <diffeo/store.h>
#include "contract_twin.h"

static void *zeros(size_t n)
{
    void *memory = aligned_alloc(64, (n * sizeof(double) / 64 + 1) * 64);
    ck_assert_ptr_nonnull(memory);
    return memset(memory, 0, n * sizeof(double));
}

static dfo_shape shape_of(const size_t s[3])
{
    dfo_shape shape = {s[0], s[1], s[2]};
    return shape;
}

/* Weights into the store, or gradients out of a block of its layout.  */
static void move(dfo_store *store, int buffers, double *block, const double **from, double *to)
{
    for (size_t e = 0; e < dfo_store_entries(store); e++) {
        const dfo_entry *entry = dfo_store_entry(store, e);
        if (entry->buffer != buffers)
            continue;
        if (from) {
            memcpy(block + entry->offset, *from, entry->count * sizeof(double));
            *from += entry->count;
        } else {
            memcpy(to, block + entry->offset, entry->count * sizeof(double));
            to += entry->count;
        }
    }
}

void twin_run(struct twin *t)
{
    dfo_ctx *ctx;
    dfo_store *store;
    dfo_bijector *bij;
    ck_assert_int_eq(dfo_ctx_new(&ctx), DFO_OK);
    ck_assert_int_eq(dfo_store_new(ctx, &store), DFO_OK);
    dfo_build build = {.ctx = ctx, .store = store, .seed = t->seed, .path = "test", .shape = shape_of(t->shape),
                       .conds = t->conds};
    for (size_t p = 0; p < t->conds; p++)
        build.cond[p] = shape_of(t->cond_shape[p]);
    dfo_status status = dfo_bijector_new(&build, t->config, &bij);
    ck_assert_msg(status == DFO_OK, "twin: %s", dfo_ctx_error(ctx));
    const double *from = t->weights;
    move(store, 0, dfo_store_weights(store), &from, NULL);
    move(store, 1, dfo_store_buffers(store), &from, NULL);

    size_t scratch = dfo_bijector_scratch(bij, t->n), weights = dfo_store_weights_size(store);
    dfo_run run = {.mode = DFO_EVALUATE, .weights = dfo_store_weights(store), .buffers = dfo_store_buffers(store),
                   .key = {.seed = 1}, .threads = 1, .error_row = (size_t)-1};
    run.arena = zeros(scratch);
    run.arena_size = scratch;
    run.saved = zeros(dfo_bijector_saved(bij, t->n, &run));
    run.derived = zeros(dfo_bijector_derived(bij));
    run.gderived = zeros(dfo_bijector_gderived(bij));
    run.grads = zeros(weights);
    status = dfo_bijector_prepare(bij, &run, run.derived);
    ck_assert_msg(status == DFO_OK, "twin: %s", run.text);

    dfo_cond cond = {.n = t->conds}, gcond = cond;
    for (size_t p = 0; p < t->conds; p++) {
        size_t d = dfo_shape_size(build.cond[p]);
        cond.part[p].shape = gcond.part[p].shape = build.cond[p];
        cond.part[p].rows = dfo_batch_of((double *)t->cond[p], t->n, d);
        gcond.part[p].rows = dfo_batch_of(t->gcond[p], t->n, d);
        memset(t->gcond[p], 0, t->n * d * sizeof(double));
    }
    dfo_batch z = dfo_batch_of(t->z, t->n, t->d), g = dfo_batch_of(t->gx, t->n, t->d);
    memcpy(t->z, t->x, t->n * t->d * sizeof(double));
    memcpy(t->gx, t->g, t->n * t->d * sizeof(double));
    memset(t->logdet, 0, t->n * sizeof(double));
    status = (t->back ? dfo_bijector_inverse : dfo_bijector_forward)(bij, &run, z, &cond, t->logdet);
    ck_assert_msg(status == DFO_OK, "twin: %s", run.text);
    dfo_batch again = dfo_batch_of(zeros(t->n * t->d), t->n, t->d);
    memcpy(again.x, t->z, t->n * t->d * sizeof(double));
    status = (t->back ? dfo_bijector_inverse_backward : dfo_bijector_backward)(bij, &run, again, g, &cond, &gcond,
                                                                               t->glogdet);
    ck_assert_msg(status == DFO_OK, "twin: %s", run.text);
    status = dfo_bijector_pullback(bij, &run, run.derived, run.gderived);
    ck_assert_msg(status == DFO_OK, "twin: %s", run.text);
    move(store, 0, run.grads, NULL, t->gweights);

    free(again.x);
    free(run.arena);
    free(run.saved);
    free(run.derived);
    free(run.gderived);
    free(run.grads);
    dfo_bijector_free(bij);
    dfo_store_free(store);
    dfo_ctx_free(ctx);
}
