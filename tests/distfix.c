/* A density with everything that a run of it needs, for tests.  */
#include <check.h>
#include <string.h>

#include "base/ctx_impl.h"
#include "distfix.h"

dfo_status distfix_create(dfo_ctx *ctx, dfo_store *store, json_t *config, size_t d, size_t parts,
                          const size_t *cond_d, uint64_t seed, dfo_dist **out)
{
    dfo_build build = {.ctx = ctx,
                       .store = store,
                       .seed = seed,
                       .path = "base",
                       .shape = dfo_shape_vector(d),
                       .conds = parts};
    for (size_t p = 0; p < parts; p++)
        build.cond[p] = dfo_shape_vector(cond_d[p]);
    return dfo_dist_new(&build, config, out);
}

void distfix_open(struct distfix *f, json_t *config, size_t d, size_t parts, const size_t *cond_d,
                  size_t rows)
{
    memset(f, 0, sizeof *f);
    f->config = config;
    f->d = d;
    f->parts = parts;
    for (size_t p = 0; p < parts; p++)
        f->cond_d[p] = cond_d[p];
    ck_assert_int_eq(dfo_ctx_new(&f->ctx), DFO_OK);
    ck_assert_int_eq(dfo_store_new(f->ctx, &f->store), DFO_OK);
    dfo_status status = distfix_create(f->ctx, f->store, config, d, parts, cond_d, 7, &f->dist);
    ck_assert_msg(status == DFO_OK, "%s", dfo_ctx_error(f->ctx));
    size_t scratch = dfo_dist_scratch(f->dist, rows);
    ck_assert_int_eq(dfoi_alloc(f->ctx, scratch, sizeof(dfo_real), &f->run.arena), DFO_OK);
    ck_assert_int_eq(dfoi_alloc(f->ctx, dfo_dist_derived(f->dist), sizeof(dfo_real), &f->derived),
                     DFO_OK);
    ck_assert_int_eq(
        dfoi_alloc(f->ctx, dfo_store_weights_size(f->store), sizeof(dfo_real), &f->grads), DFO_OK);
    f->run.arena_size = scratch;
    f->run.threads = 1;
    f->run.weights = dfo_store_weights(f->store);
    f->run.buffers = dfo_store_buffers(f->store);
    f->run.derived = f->derived;
    f->run.error_row = (size_t)-1;
    f->run.key.seed = 7;
    distfix_prepare(f);
}

void distfix_prepare(struct distfix *f)
{
    dfo_status status = dfo_dist_prepare(f->dist, &f->run, f->derived);
    ck_assert_msg(status == DFO_OK, "%s", f->run.text);
}

void distfix_close(struct distfix *f)
{
    ck_assert_uint_eq(f->run.arena_used, 0);
    dfoi_free(f->ctx, f->grads);
    dfoi_free(f->ctx, f->derived);
    dfoi_free(f->ctx, f->run.arena);
    dfo_dist_free(f->dist);
    dfo_store_free(f->store);
    ck_assert_uint_eq(dfo_ctx_bytes(f->ctx), 0);
    dfo_ctx_free(f->ctx);
}

void distfix_log_prob(struct distfix *f, dfo_batch x, const dfo_cond *cond, double *out)
{
    for (size_t i = 0; i < x.n; i++)
        out[i] = 0;
    dfo_status status = dfo_dist_log_prob(f->dist, &f->run, x, cond, out);
    ck_assert_msg(status == DFO_OK, "%s", f->run.text);
}

size_t distfix_weights(struct distfix *f, const char *name, size_t *count)
{
    const dfo_entry *e = dfo_store_find(f->store, name);
    ck_assert_msg(e != NULL, "no weights %s", name);
    *count = e->count;
    return e->offset;
}
