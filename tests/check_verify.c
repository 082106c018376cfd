/* dfo_flow_check: its figures are small, do not depend on how many rows are taken at a time, say where rows are not
 * finite, and survive refused memory.  dfo_chunk_rows: how many rows are taken at a time.  */
#include <check.h>
#include <jansson.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <diffeo/check.h>
#include <diffeo/plan.h>
#include "base/ctx_impl.h"
#include "oom.h"
#include "util.h"

#define ROWS 700
#define D 2
#define CONTEXT 3

struct fixture {
    dfo_ctx    *ctx;
    dfo_store  *store;
    dfo_flow   *flow;
    dfo_source *rows;
};

/* Of the nets: smooth, so that differences tell; with relu, rows can be made to overflow.  */
static const char *activation = "tanh";

static dfo_real table[ROWS * (D + CONTEXT)];

static void fill(test_rng *rng)
{
    for (size_t k = 0; k < ROWS * (D + CONTEXT); k++)
        table[k] = (dfo_real)test_rng_normal(rng);
}

static void free_flow(struct fixture *f)
{
    dfo_source_free(f->rows);
    dfo_flow_free(f->flow);
    dfo_store_free(f->store);
}

/* Two couplings and an actnorm over two columns, with three of context where `conds` is 1.  */
static dfo_status make_flow(dfo_ctx *ctx, const char *kind, size_t conds, size_t n, struct fixture *f)
{
    dfo_status status;
    json_t *config = json_pack("{s:{s:s, s:[{s:s, s:s, s:{s:s, s:[i], s:s}}, {s:s}, {s:s, s:s, s:{s:s, s:[i], s:s}}]}}",
                               "bijector", "type", "chain", "layers", "type", kind, "mask", "half", "net", "type",
                               "mlp",
                               "hidden", 8, "activation", activation, "type", "actnorm", "type", kind, "mask",
                               "half-swapped", "net", "type", "mlp", "hidden", 8, "activation", activation);
    *f = (struct fixture){.ctx = ctx};
    if (!config)
        return dfoi_fail(ctx, DFO_EMEM, "out of memory: configuration");
    DFO_GO(dfo_store_new(ctx, &f->store));
    dfo_build build = {.ctx = ctx, .store = f->store, .seed = 5, .path = "flow", .shape = dfo_shape_vector(D),
                       .conds = conds, .cond = {dfo_shape_vector(CONTEXT)}};
    DFO_GO(dfo_flow_new(&build, config, &f->flow));
    dfo_real *w = dfo_store_weights(f->store);
    for (size_t k = 0; k < dfo_store_weights_size(f->store); k++)
        w[k] += (dfo_real)(0.3 * sin((double)k));
    dfo_store_touch(f->store);
    size_t d = D + (conds ? CONTEXT : 0);
    DFO_GO(dfo_source_rows(ctx, dfo_batch_of(table, n, d), &f->rows));
fail:
    json_decref(config);
    return status;
}

static const char *const kinds[] = {"affine-coupling", "spline-coupling"};

START_TEST(figures)
{
    static const uint64_t batches[] = {0, 1, 256, 257, 600, 100000};
    struct fixture f;
    dfo_ctx *ctx;
    dfo_check_report first, r;
    int conds = _i & 1;
    test_rng rng = test_rng_new(test_seed());
    fill(&rng);
    ck_assert_int_eq(dfo_ctx_new(&ctx), DFO_OK);
    ck_assert_msg(make_flow(ctx, kinds[_i >> 1], (size_t)conds, ROWS, &f) == DFO_OK, "%s", dfo_ctx_error(ctx));
    for (size_t b = 0; b < sizeof batches / sizeof *batches; b++) {
        dfo_ctx_set_threads(ctx, 1 + (int)b % 3);
        dfo_status status = dfo_flow_check(ctx, f.flow, 3, f.rows, batches[b], 1, &r);
        ck_assert_msg(status == DFO_OK, "%s", dfo_ctx_error(ctx));
        ck_assert_int_eq(r.finite, 1);
        ck_assert_uint_eq(r.rows, ROWS);
        ck_assert_uint_eq(r.layers, 3);
        ck_assert(r.roundtrip_max_abs < 1e3 * (double)DFO_REAL_EPS);
        ck_assert(r.roundtrip_p999_abs <= r.roundtrip_max_abs);
        ck_assert(r.roundtrip_over_bound > 0 && r.roundtrip_over_bound < 0.5);
        /* an affine layer's log-det depends on what it does not change: its sums are exactly 0 */
        ck_assert((r.logdet_over_bound > 0) == (_i >> 1 == 1) && r.logdet_over_bound < 0.5);
        ck_assert(r.logdet_sum_max_abs > 0 && r.logdet_sum_max_abs < 1e4 * (double)DFO_REAL_EPS);
        ck_assert(r.logdet_sum_p999_abs <= r.logdet_sum_max_abs);
        ck_assert(r.logdet_jacobian_max_abs < 30 * cbrt((double)DFO_REAL_EPS));
        ck_assert_msg(r.gradient_max_rel < 0.1, "gradient_max_rel %g", r.gradient_max_rel);
        if (conds)
            ck_assert(isnan(r.normalisation));
        else
            ck_assert(fabs(r.normalisation - 1) < 0.02);
        for (size_t k = 0; k < r.layers; k++)
            ck_assert(r.layer[k].logdet_kappa >= D && r.layer[k].kappa >= 1 &&
                      r.layer[k].logdet_over <= r.logdet_over_bound);
        if (!b) {
            first = r;
            continue;
        }
        ck_assert_int_eq(memcmp(first.layer, r.layer, r.layers * sizeof *r.layer), 0);
        const size_t from = offsetof(dfo_check_report, roundtrip_max_abs), to = offsetof(dfo_check_report, finite);
        ck_assert_msg(!memcmp((char *)&first + from, (char *)&r + from, to - from), "batch %llu: other figures",
                      (unsigned long long)batches[b]);
        dfo_check_free(ctx, &r);
    }
    dfo_check_free(ctx, &first);
    free_flow(&f);
    ck_assert_uint_eq(dfo_ctx_bytes(ctx), 0);
    dfo_ctx_free(ctx);
}
END_TEST

START_TEST(refused)
{
    struct fixture f;
    dfo_ctx *ctx;
    dfo_check_report r;
    dfo_source *wide, *none;
    test_rng rng = test_rng_new(test_seed());
    fill(&rng);
    ck_assert_int_eq(dfo_ctx_new(&ctx), DFO_OK);
    activation = "relu";
    ck_assert_int_eq(make_flow(ctx, kinds[0], 0, ROWS, &f), DFO_OK);
    ck_assert_int_eq(dfo_source_rows(ctx, dfo_batch_of(table, 10, D + 1), &wide), DFO_OK);
    ck_assert_int_eq(dfo_flow_check(ctx, f.flow, 3, wide, 0, 1, &r), DFO_ESHAPE);
    ck_assert_ptr_nonnull(strstr(dfo_ctx_error(ctx), "got 3"));
    dfo_check_free(ctx, &r);
    ck_assert_int_eq(dfo_source_slice(ctx, f.rows, 0, 0, &none), DFO_OK);
    ck_assert_int_eq(dfo_flow_check(ctx, f.flow, 3, none, 0, 1, &r), DFO_ESHAPE);
    dfo_check_free(ctx, &r);
    dfo_ctx_set_memory_limit(ctx, 1000);
    ck_assert_int_eq(dfo_flow_check(ctx, f.flow, 3, f.rows, 0, 1, &r), DFO_ELIMIT);
    dfo_check_free(ctx, &r);
    dfo_ctx_set_memory_limit(ctx, 0);
    table[D * 300] = (dfo_real)(0.5 * (sizeof(dfo_real) == 4 ? 3.4e38 : 1.7e308));      /* its square is not finite */
    dfo_real *w = dfo_store_weights(f.store);
    for (size_t k = 0; k < dfo_store_weights_size(f.store); k++)
        w[k] *= 3;
    dfo_store_touch(f.store);
    ck_assert_int_eq(dfo_flow_check(ctx, f.flow, 3, f.rows, 256, 1, &r), DFO_OK);
    ck_assert_int_eq(r.finite, 0);
    ck_assert(isnan(r.roundtrip_max_abs) && isnan(r.roundtrip_max_rel) && isnan(r.gradient_max_rel));
    dfo_check_free(ctx, &r);
    dfo_source_free(none);
    dfo_source_free(wide);
    free_flow(&f);
    ck_assert_uint_eq(dfo_ctx_bytes(ctx), 0);
    dfo_ctx_free(ctx);
}
END_TEST

static dfo_status work(dfo_ctx *ctx, void *data)
{
    struct fixture f;
    dfo_check_report r = {0};
    (void)data;
    dfo_status status = make_flow(ctx, kinds[1], 1, 20, &f);
    if (status == DFO_OK)
        status = dfo_flow_check(ctx, f.flow, 3, f.rows, 0, 1, &r);
    dfo_check_free(ctx, &r);
    free_flow(&f);
    return status;
}

START_TEST(memory)
{
    test_rng rng = test_rng_new(test_seed());
    fill(&rng);
    ck_assert_uint_ge(oom_check("a flow is checked", OOM_ALL, work, NULL), 20);
}
END_TEST

START_TEST(chunks)
{
    dfo_ctx *ctx;
    size_t n;
    ck_assert_int_eq(dfo_ctx_new(&ctx), DFO_OK);
    dfo_chunk k = {.rows = 1000000, .block = 128, .row_bytes = 100};
    ck_assert_int_eq(dfo_chunk_rows(ctx, &k, &n), DFO_OK);
    ck_assert_uint_eq(n, 8192);
    for (k.asked = 1; k.asked < 600; k.asked++) {
        ck_assert_int_eq(dfo_chunk_rows(ctx, &k, &n), DFO_OK);
        ck_assert_uint_eq(n, (k.asked + 127) / 128 * 128);
    }
    k.asked = UINT64_MAX;                              /* no more than there are, in whole blocks */
    ck_assert_int_eq(dfo_chunk_rows(ctx, &k, &n), DFO_OK);
    ck_assert_uint_eq(n, 1000064);
    k.rows = 0;
    ck_assert_int_eq(dfo_chunk_rows(ctx, &k, &n), DFO_OK);
    ck_assert_uint_eq(n, 128);
    k.rows = UINT64_MAX;                               /* more than can be addressed */
    ck_assert_int_eq(dfo_chunk_rows(ctx, &k, &n), DFO_EMEM);
    k.asked = 0;
    k.row_bytes = (size_t)1 << 20;                     /* 64 MiB are 64 rows: one block */
    ck_assert_int_eq(dfo_chunk_rows(ctx, &k, &n), DFO_OK);
    ck_assert_uint_eq(n, 128);
    k.row_bytes = 100;
    k.taken = 5000;
    dfo_ctx_set_memory_limit(ctx, 5000 + 3 * 12800 + 12799);
    ck_assert_int_eq(dfo_chunk_rows(ctx, &k, &n), DFO_OK);
    ck_assert_uint_eq(n, 384);
    dfo_ctx_set_memory_limit(ctx, 5000 + 12799);
    ck_assert_int_eq(dfo_chunk_rows(ctx, &k, &n), DFO_ELIMIT);
    ck_assert_str_eq(dfo_ctx_error(ctx), "working memory: 17800 bytes needed, --memory allows 17799");
    dfo_ctx_free(ctx);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("verify");
    TCase *tcase = tcase_create("verify");
    tcase_set_timeout(tcase, 120);
    tcase_add_loop_test(tcase, figures, 0, 4);
    tcase_add_test(tcase, refused);
    tcase_add_test(tcase, memory);
    tcase_add_test(tcase, chunks);
    suite_add_tcase(suite, tcase);
    return test_run(suite);
}
