/* Nets of images, making them: settings and their errors, sizes that do not fit, descriptions,
 * initial weights, construction without memory.  */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/ctx_impl.h"
#include "base/json_impl.h"
#include "math/kern_impl.h"
#include "netcase.h"
#include "oom.h"

struct made {
    dfo_store *store;
    dfo_net *net;
};

/* A net of an image 3x4x6 and a vector of 2; the output's shape is given.  */
static dfo_status make(dfo_ctx *ctx, const char *text, dfo_shape out, int zero_last, struct made *m)
{
    const dfo_shape shape[2] = {{3, 4, 6}, {2, 1, 1}};
    dfo_status status;
    json_t *config = NULL;
    *m = (struct made){0};
    DFO_GO(dfo_store_new(ctx, &m->store));
    DFO_GO(dfoi_json_parse(ctx, text, strlen(text), "test", &config));
    dfo_build build = {.ctx = ctx, .store = m->store, .seed = 7, .path = "net"};
    status = dfo_net_new(&build, config, 2, shape, out, zero_last, &m->net);
fail:
    json_decref(config);
    return status;
}

static void drop(struct made *m)
{
    dfo_net_free(m->net);
    dfo_store_free(m->store);
}

static const dfo_shape same = {5, 4, 6};

static const struct {
    const char *text, *error;
} bad[] = {
    {"{\"type\":\"conv\",\"hiden\":3}", "conv net: unknown key 'hiden'"},
    {"{\"type\":\"conv\",\"hidden\":0}", "conv net: hidden must be at least 1, got 0"},
    {"{\"type\":\"conv\",\"kernel\":16}", "conv net: kernel must be at most 15, got 16"},
    {"{\"type\":\"conv\",\"kernel\":[3,3]}",
     "conv net: kernel: expected 3 numbers, one more than hidden, got 2"},
    {"{\"type\":\"conv\",\"norm\":\"instance\"}",
     "conv net: norm: expected none, layer or batch, got instance"},
    {"{\"type\":\"conv\",\"activation\":\"rellu\"}", "conv net: activation: there is no 'rellu'"},
    {"{\"type\":\"conv\",\"dropout\":1}", "conv net: dropout must be from 0 to 0.99"},
    {"{\"type\":\"conv\",\"last_scale\":1}", "conv net: last_scale: expected true or false"},
    {"{\"type\":\"conv\",\"last_init\":-1}", "conv net: last_init must be from 0 to 1"},
    {"{\"type\":\"conv\",\"layers\":3}", "conv net: layers: expected a list of 1 to 64 objects"},
    {"{\"type\":\"conv\",\"layers\":[]}", "conv net: layers: expected a list of 1 to 64 objects"},
    {"{\"type\":\"conv\",\"layers\":[3]}", "conv net: layers[0]: expected an object"},
    {"{\"type\":\"conv\",\"layers\":[{}],\"kernel\":3}",
     "conv net: layers: goes without hidden and kernel"},
    {"{\"type\":\"conv\",\"layers\":[{},{}]}", "conv net: layers[0]: channels: missing"},
    {"{\"type\":\"conv\",\"layers\":[{\"channels\":3}]}",
     "conv net: layers[0]: channels: the last layer's are those of the output"},
    {"{\"type\":\"conv\",\"layers\":[{\"channels\":3},{\"stride\":0}]}",
     "conv net: layers[1]: stride must be at least 1, got 0"},
    {"{\"type\":\"conv\",\"layers\":[{\"bais\":true}]}", "conv net: layers[0]: unknown key 'bais'"},
    {"{\"type\":\"residual-conv\",\"kernel\":3}", "residual-conv net: unknown key 'kernel'"},
    {"{\"type\":\"residual-conv\",\"blocks\":33}", "residual-conv net: blocks must be at most 32"},
    {"{\"type\":\"residual-conv\",\"context\":\"film\"}",
     "residual-conv net: context: expected concat or gate, got film"},
    {"{\"type\":\"residual-conv\",\"norm\":1}", "residual-conv net: norm: expected a string"},
};

START_TEST(bad_settings_are_errors_that_name_the_key)
{
    dfo_ctx *ctx;
    ck_assert_int_eq(dfo_ctx_new(&ctx), DFO_OK);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct made m;
        ck_assert_int_eq(make(ctx, bad[i].text, same, 0, &m), DFO_EARG);
        ck_assert_msg(strstr(dfo_ctx_error(ctx), bad[i].error) != NULL, "%s: expected '%s' in '%s'",
                      bad[i].text, bad[i].error, dfo_ctx_error(ctx));
        drop(&m);
    }
    ck_assert_uint_eq(dfo_ctx_bytes(ctx), 0);
    dfo_ctx_free(ctx);
}
END_TEST

START_TEST(sizes_that_do_not_fit_are_errors)
{
    dfo_ctx *ctx;
    struct made m;
    ck_assert_int_eq(dfo_ctx_new(&ctx), DFO_OK);
    ck_assert_int_eq(make(ctx, "{\"type\":\"conv\",\"layers\":[{\"stride\":2}]}", same, 0, &m),
                     DFO_ESHAPE);
    ck_assert_str_eq(dfo_ctx_error(ctx),
                     "conv net: its layers make 2x3 pixels of 4x6, expected 4x6");
    drop(&m);
    ck_assert_int_eq(make(ctx, "{\"type\":\"residual-conv\"}", (dfo_shape){5, 4, 5}, 0, &m),
                     DFO_ESHAPE);
    ck_assert_str_eq(dfo_ctx_error(ctx),
                     "residual-conv net: its input has 4x6 pixels, expected 4x5");
    drop(&m);
    const dfo_shape part[2] = {{1, 4, 6}, {1, 3, 6}};
    dfo_build build = {.ctx = ctx, .seed = 1, .path = "net"};
    json_t *config = json_pack("{s:s}", "type", "conv");
    ck_assert_int_eq(dfo_store_new(ctx, &m.store), DFO_OK);
    build.store = m.store;
    ck_assert_int_eq(dfo_net_new(&build, config, 2, part, same, 0, &m.net), DFO_ESHAPE);
    ck_assert_str_eq(dfo_ctx_error(ctx),
                     "conv net: input part 1 has 3x6 pixels, expected 4x6 or a vector");
    drop(&m);
    const dfo_shape large = {1, (size_t)1 << 21, 1};
    ck_assert_int_eq(dfo_store_new(ctx, &m.store), DFO_OK);
    build.store = m.store;
    ck_assert_int_eq(dfo_net_new(&build, config, 1, &large, large, 0, &m.net), DFO_ESHAPE);
    ck_assert_str_eq(dfo_ctx_error(ctx), "conv net: an image of 2097152x1 pixels is too large");
    drop(&m);
    json_decref(config);
    dfo_ctx_free(ctx);
}
END_TEST

static const char *const good[][2] = {
    {"{\"type\":\"conv\"}",
     "{\"type\":\"conv\",\"hidden\":[128,128],\"kernel\":[3,1,3],\"activation\":\"relu\","
     "\"dropout\":0.0,\"norm\":\"none\",\"last_scale\":true,\"last_init\":0.0}"},
    {"{\"type\":\"conv\",\"hidden\":[4],\"kernel\":5,\"norm\":\"layer\",\"last_scale\":false}",
     "{\"type\":\"conv\",\"hidden\":[4],\"kernel\":[5,5],\"activation\":\"relu\",\"dropout\":0.0,"
     "\"norm\":\"layer\",\"last_scale\":false,\"last_init\":0.0}"},
    {"{\"type\":\"conv\",\"hidden\":[2],\"norm\":\"batch\",\"kernel\":[3,1]}",
     "{\"type\":\"conv\",\"hidden\":[2],\"kernel\":[3,1],\"activation\":\"relu\",\"dropout\":0.0,"
     "\"norm\":\"batch\",\"last_scale\":true,\"last_init\":0.0}"},
    {"{\"type\":\"conv\",\"hidden\":[],\"activation\":\"tanh\"}",
     "{\"type\":\"conv\",\"hidden\":[],\"kernel\":[3],\"activation\":\"none\",\"dropout\":0.0,"
     "\"norm\":\"none\",\"last_scale\":true,\"last_init\":0.0}"},
    {"{\"type\":\"conv\",\"dropout\":0.25,\"layers\":[{\"channels\":3,\"stride\":2,\"norm\":"
     "\"layer\"},{\"transposed\":true,\"stride\":2,\"kernel\":4,\"bias\":false}]}",
     "{\"type\":\"conv\",\"layers\":[{\"channels\":3,\"kernel\":3,\"stride\":2,\"transposed\":"
     "false,"
     "\"bias\":true,\"activation\":\"none\",\"dropout\":0.0,\"norm\":\"layer\"},{\"kernel\":4,"
     "\"stride\":2,\"transposed\":true,\"bias\":false,\"activation\":\"relu\",\"dropout\":0.25,"
     "\"norm\":\"none\"}],\"last_scale\":false,\"last_init\":0.0}"},
    {"{\"type\":\"residual-conv\"}",
     "{\"type\":\"residual-conv\",\"hidden\":96,\"blocks\":3,\"first_kernel\":1,"
     "\"activation\":\"relu\",\"dropout\":0.0,\"norm\":\"none\",\"context\":\"concat\","
     "\"last_init\":0.0}"},
    {"{\"type\":\"residual-conv\",\"hidden\":5,\"context\":\"gate\",\"norm\":\"batch\"}",
     "{\"type\":\"residual-conv\",\"hidden\":5,\"blocks\":3,\"first_kernel\":1,"
     "\"activation\":\"relu\",\"dropout\":0.0,\"norm\":\"batch\",\"context\":\"gate\","
     "\"last_init\":0.0}"},
};

static char *text_of(dfo_ctx *ctx, const struct made *m)
{
    char *text;
    json_t *json = json_object();
    ck_assert_int_eq(dfo_net_describe(m->net, json), DFO_OK);
    ck_assert_int_eq(dfoi_json_dump(ctx, json, JSON_COMPACT, &text), DFO_OK);
    json_decref(json);
    return text;
}

START_TEST(a_description_makes_the_same_net)
{
    dfo_ctx *ctx;
    ck_assert_int_eq(dfo_ctx_new(&ctx), DFO_OK);
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        struct made m, again;
        ck_assert_msg(make(ctx, good[i][0], same, 0, &m) == DFO_OK, "%s: %s", good[i][0],
                      dfo_ctx_error(ctx));
        char *text = text_of(ctx, &m);
        ck_assert_str_eq(text, good[i][1]);
        ck_assert_int_eq(make(ctx, text, same, 0, &again), DFO_OK);
        char *second = text_of(ctx, &again);
        ck_assert_str_eq(second, text);
        size_t n = dfo_store_weights_size(m.store);
        ck_assert_uint_eq(n, dfo_store_weights_size(again.store));
        ck_assert(!memcmp(dfo_store_weights(m.store), dfo_store_weights(again.store),
                          n * sizeof(dfo_real)));
        dfoi_free(ctx, text);
        dfoi_free(ctx, second);
        drop(&m);
        drop(&again);
    }
    ck_assert_uint_eq(dfo_ctx_bytes(ctx), 0);
    dfo_ctx_free(ctx);
}
END_TEST

/* ---- initial weights, memory
 * ------------------------------------------------------------------------- */

static double largest(const struct made *m, const char *name)
{
    char text[96];
    snprintf(text, sizeof text, "net.%s", name);
    const dfo_entry *e = dfo_store_find(m->store, text);
    ck_assert_ptr_nonnull(e);
    return dfoi_max_abs(e->count, dfo_store_weights(m->store) + e->offset);
}

static void assert_bound(const struct made *m, const char *name, double bound)
{
    double most = largest(m, name);
    ck_assert_msg(most <= bound * (1 + 1e-6) && most >= 0.8 * bound, "%s: largest %g, bound %g",
                  name, most, bound);
}

START_TEST(weights_start_as_pytorchs)
{
    dfo_ctx *ctx;
    struct made m;
    ck_assert_int_eq(dfo_ctx_new(&ctx), DFO_OK);
    ck_assert_int_eq(make(ctx, "{\"type\":\"conv\",\"hidden\":100}", same, 1, &m), DFO_OK);
    assert_bound(&m, "w0", 1 / sqrt(27));
    assert_bound(&m, "b0", 1 / sqrt(27));
    assert_bound(&m, "vector.w", 1 / sqrt(2));
    assert_bound(&m, "w1", 0.1);
    ck_assert(largest(&m, "w2") == 0 && largest(&m, "b2") == 0 && largest(&m, "log_scale") == 0);
    drop(&m);
    ck_assert_int_eq(make(ctx, "{\"type\":\"conv\",\"last_init\":0.01}", same, 1, &m), DFO_OK);
    assert_bound(&m, "w2", 0.01);
    drop(&m);
    ck_assert_int_eq(make(ctx, "{\"type\":\"conv\",\"layers\":[{}]}", same, 1, &m), DFO_OK);
    ck_assert(largest(&m, "w0") == 0 && largest(&m, "vector.w") == 0);
    drop(&m);
    ck_assert_int_eq(make(ctx, "{\"type\":\"residual-conv\",\"hidden\":30}", same, 1, &m), DFO_OK);
    assert_bound(&m, "first.w", 1 / sqrt(3));
    assert_bound(&m, "block2.w0", 1 / sqrt(270));
    assert_bound(&m, "block2.w1", 1e-3);
    ck_assert(largest(&m, "last.w") == 0 && largest(&m, "last.b") == 0);
    drop(&m);
    dfo_ctx_free(ctx);
}
END_TEST

static dfo_status work(dfo_ctx *ctx, void *data)
{
    struct made m;
    dfo_status status = make(ctx, data, same, 1, &m);
    json_t *json = json_object();
    if (status == DFO_OK)
        status = json ? dfo_net_describe(m.net, json) : dfoi_fail(ctx, DFO_EMEM, "no memory");
    json_decref(json);
    drop(&m);
    return status;
}

START_TEST(construction_survives_without_memory)
{
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        ck_assert_uint_gt(oom_check(good[i][0], OOM_ALL, work, (void *)good[i][0]), 5);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("making nets of images");
    TCase *all = tcase_create("nets");
    tcase_add_test(all, bad_settings_are_errors_that_name_the_key);
    tcase_add_test(all, sizes_that_do_not_fit_are_errors);
    tcase_add_test(all, a_description_makes_the_same_net);
    tcase_add_test(all, weights_start_as_pytorchs);
    tcase_add_test(all, construction_survives_without_memory);
    suite_add_tcase(suite, all);
    return test_run(suite);
}
