/* Training of couplings whose nets have batch normalisation: running statistics become those of the
 * data, the same bits for any number of threads, and the flow stays invertible in evaluation.  */
#include <check.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <diffeo/fit.h>
#include <diffeo/flow.h>
#include "util.h"

#define IMAGES 96
#define CHANNELS 4
#define PLANE 9
#define D (CHANNELS * PLANE)

static const char config_text[] =
    "{'bijector':{'type':'chain','layers':["
    "{'type':'affine-coupling','mask':'channels','net':{'type':'conv','layers':["
    "{'norm':'batch','activation':'relu','channels':6},{'norm':'batch'}]}},"
    "{'type':'affine-coupling','mask':'channels','net':{'type':'residual-conv','hidden':5,'blocks':"
    "1,"
    "'norm':'batch'}}]}}";

struct trained {
    dfo_ctx *ctx;
    dfo_store *store;
    dfo_flow *flow;
};

/* Channel c has mean c and standard deviation 1 + c / 2.  */
static dfo_batch images(void)
{
    dfo_batch x = dfo_batch_of(calloc(IMAGES * D, sizeof(dfo_real)), IMAGES, D);
    dfo_key key = {.seed = 7, .purpose = DFO_FOR_TEST};
    ck_assert_ptr_nonnull(x.x);
    dfo_draw_real_normal(key, IMAGES * D, x.x);
    for (size_t i = 0; i < IMAGES * D; i++) {
        size_t c = i % D / PLANE;
        x.x[i] = (dfo_real)c + (1 + (dfo_real)0.5 * (dfo_real)c) * x.x[i];
    }
    return x;
}

static void train(struct trained *t, dfo_batch x, int threads, dfo_memory_mode memory)
{
    dfo_source *source;
    dfo_loss *loss;
    dfo_fit_options options;
    dfo_fit_report report;
    memset(t, 0, sizeof *t);
    ck_assert_int_eq(dfo_ctx_new(&t->ctx), DFO_OK);
    ck_assert_int_eq(dfo_store_new(t->ctx, &t->store), DFO_OK);
    char text[sizeof config_text];
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = config_text[i] == '\'' ? '"' : config_text[i];
    json_t *config = json_loads(text, 0, NULL);
    dfo_build build = {.ctx = t->ctx,
                       .store = t->store,
                       .seed = 3,
                       .path = "flow",
                       .shape = {CHANNELS, 3, PLANE / 3}};
    dfo_status status = dfo_flow_new(&build, config, &t->flow);
    ck_assert_msg(status == DFO_OK, "%s", dfo_ctx_error(t->ctx));
    json_decref(config);
    ck_assert_int_eq(dfo_source_rows(t->ctx, x, &source), DFO_OK);
    ck_assert_int_eq(dfo_loss_nll_new(t->flow, &loss), DFO_OK);
    dfo_fit_defaults(&options);
    options.steps = 80;
    options.batch = 48;
    options.shards = 4;
    options.threads = threads;
    options.lr = 1e-3;
    options.memory = memory;
    options.keep_best = 0;
    status = dfo_fit(loss, source, source, 0, &options, &report);
    ck_assert_msg(status == DFO_OK, "%s", dfo_ctx_error(t->ctx));
    dfo_loss_free(loss);
    dfo_source_free(source);
}

static void drop(struct trained *t)
{
    dfo_flow_free(t->flow);
    dfo_store_free(t->store);
    ck_assert_uint_eq(dfo_ctx_bytes(t->ctx), 0);
    dfo_ctx_free(t->ctx);
}

static const dfo_real *buffer(const struct trained *t, const char *name, size_t count)
{
    const dfo_entry *e = dfo_store_find(t->store, name);
    ck_assert_msg(e && e->buffer && e->count == count, "no buffer %s of %zu", name, count);
    return dfo_store_buffers(t->store) + e->offset;
}

START_TEST(running_statistics_become_the_datas)
{
    struct trained t;
    dfo_batch x = images();
    train(&t, x, 1, (dfo_memory_mode)_i);
    for (size_t j = 0; j < 3; j++) {
        const char *const name[] = {"flow.bijector.0.net.mean1", "flow.bijector.1.net.block0.var0",
                                    "flow.bijector.1.net.block0.mean1"};
        const dfo_real *v = buffer(&t, name[j], j ? 5 : 6);
        for (size_t c = 0; c < (j ? 5 : 6); c++)
            ck_assert_msg(isfinite((double)v[c]) && (double)v[c] != (j == 1), "%s[%zu] is %g",
                          name[j], c, (double)v[c]);
    }
    /* The first norm sees the channels that pass as they are.  */
    const dfo_real *mean = buffer(&t, "flow.bijector.0.net.mean0", CHANNELS / 2);
    const dfo_real *var = buffer(&t, "flow.bijector.0.net.var0", CHANNELS / 2);
    for (size_t c = 0; c < CHANNELS / 2; c++) {
        double std = 1 + 0.5 * (double)c;
        ck_assert_msg(fabs((double)mean[c] - (double)c) < 0.25 * std, "mean %zu is %g", c,
                      (double)mean[c]);
        ck_assert_msg(fabs((double)var[c] / (std * std) - 1) < 0.2, "variance %zu is %g", c,
                      (double)var[c]);
    }
    free(x.x);
    drop(&t);
}
END_TEST

START_TEST(bits_do_not_depend_on_threads)
{
    struct trained one, three;
    dfo_batch x = images();
    train(&one, x, 1, DFO_MEMORY_STORE);
    train(&three, x, 3, DFO_MEMORY_STORE);
    size_t weights = dfo_store_weights_size(one.store), buffers = dfo_store_buffers_size(one.store);
    ck_assert(!memcmp(dfo_store_weights(one.store), dfo_store_weights(three.store),
                      weights * sizeof(dfo_real)));
    ck_assert(!memcmp(dfo_store_buffers(one.store), dfo_store_buffers(three.store),
                      buffers * sizeof(dfo_real)));
    free(x.x);
    drop(&one);
    drop(&three);
}
END_TEST

START_TEST(evaluation_is_inverted)
{
    struct trained t;
    dfo_flow_plan *plan;
    dfo_batch x = images(), z = images();
    double *logdet = calloc(IMAGES, sizeof *logdet);
    ck_assert_ptr_nonnull(logdet);
    train(&t, x, 1, DFO_MEMORY_ANCHORS);
    ck_assert_int_eq(dfo_flow_plan_new(t.ctx, t.flow, 0, &plan), DFO_OK);
    ck_assert_int_eq(dfo_flow_encode(plan, 0, z, NULL, logdet), DFO_OK);
    ck_assert_int_eq(dfo_flow_decode(plan, 0, z, NULL, logdet), DFO_OK);
    for (size_t i = 0; i < IMAGES * D; i++)
        ck_assert_msg(fabs((double)x.x[i] - (double)z.x[i]) <=
                          1e3 * DFO_REAL_EPS * (1 + fabs((double)x.x[i])),
                      "%zu: %g came back as %g", i, (double)x.x[i], (double)z.x[i]);
    dfo_flow_plan_free(plan);
    free(logdet);
    free(x.x);
    free(z.x);
    drop(&t);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("batch normalisation in flows");
    TCase *all = tcase_create("training");
    tcase_add_loop_test(all, running_statistics_become_the_datas, DFO_MEMORY_INVERT,
                        DFO_MEMORY_STORE + 1);
    tcase_add_test(all, bits_do_not_depend_on_threads);
    tcase_add_test(all, evaluation_is_inverted);
    suite_add_tcase(suite, all);
    return test_run(suite);
}
