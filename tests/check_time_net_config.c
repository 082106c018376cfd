/* Nets that depend on a time: settings and their errors, descriptions, construction without memory.  */
#include <stdio.h>
#include <string.h>

#include <diffeo/net.h>
#include "base/ctx_impl.h"
#include "base/json_impl.h"
#include "oom.h"
#include "util.h"

struct made {
    dfo_ctx *ctx;
    dfo_store *store;
    dfo_net *net;
};

/* Parts: images 3x8x4, a vector of 2, a class, a time; or vectors of 3 and 2, a class, a time.  */
static dfo_status make(dfo_ctx *ctx, const char *text, size_t parts, struct made *m)
{
    int images = strstr(text, "unet") != NULL;
    dfo_shape shape[4] = {images ? (dfo_shape){3, 8, 4} : dfo_shape_vector(3), dfo_shape_vector(2), dfo_shape_vector(1),
                          dfo_shape_vector(1)};
    dfo_status status;
    json_t *config = NULL;
    *m = (struct made){.ctx = ctx};
    DFO_GO(dfo_store_new(ctx, &m->store));
    DFO_GO(dfoi_json_parse(ctx, text, strlen(text), "test", &config));
    dfo_build build = {.ctx = ctx, .store = m->store, .seed = 7, .path = "net"};
    status = dfo_net_new(&build, config, parts, shape, shape[0], 1, &m->net);
fail:
    json_decref(config);
    return status;
}

static void drop(struct made *m)
{
    dfo_net_free(m->net);
    dfo_store_free(m->store);
}

static const struct {
    const char *text, *error;
    size_t parts;
} bad[] = {
    {"{\"type\":\"time-mlp\",\"layer\":3}", "time-mlp net: unknown key 'layer'", 4},
    {"{\"type\":\"time-mlp\",\"hidden\":[3]}", "time-mlp net: hidden: expected an integer", 4},
    {"{\"type\":\"time-mlp\",\"layers\":65}", "time-mlp net: layers must be at most 64", 4},
    {"{\"type\":\"time-mlp\",\"inject\":\"last\"}", "time-mlp net: inject: expected layers or first, got last", 4},
    {"{\"type\":\"time-mlp\",\"frequencies\":0}", "time-mlp net: frequencies must be at least 1, got 0", 4},
    {"{\"type\":\"time-mlp\",\"most\":0}", "time-mlp net: most must be from 1e-06 to 1e+06, got 0", 4},
    {"{\"type\":\"time-mlp\",\"classes\":3,\"embedding\":0}",
     "time-mlp net: classes: goes with an embedding of at least one feature", 4},
    {"{\"type\":\"time-mlp\"}", "time-mlp net: expected 2 input parts or more (x, ..., time), got 1", 1},
    {"{\"type\":\"time-mlp\",\"classes\":3}", "time-mlp net: input part 1 is the class: expected one number a row, got 2", 3},
    {"{\"type\":\"time-mlp\"}", "time-mlp net: input part 1 is the time: expected one number a row, got 2", 2},
    {"{\"type\":\"unet\",\"hidden\":3}", "unet net: unknown key 'hidden'", 4},
    {"{\"type\":\"unet\",\"channels\":[]}", "unet net: channels: expected", 4},
    {"{\"type\":\"unet\",\"channels\":[8,8],\"levels\":2}", "unet net: levels: goes with a single number channels", 4},
    {"{\"type\":\"unet\",\"channels\":[8,12]}", "unet net: groups: 8 do not divide the 12 channels of level 1", 4},
    {"{\"type\":\"unet\",\"norm\":\"batch\"}", "unet net: norm: expected group or none, got batch", 4},
    {"{\"type\":\"unet\",\"blocks\":0}", "unet net: blocks must be at least 1, got 0", 4},
    {"{\"type\":\"unet\",\"levels\":4}", "unet net: 4 levels want sides that are multiples of 8, got 8x4 pixels", 4},
    {"{\"type\":\"unet\"}", "unet net: expected 2 input parts or more (x, ..., time), got 1", 1},
};

START_TEST(bad_settings_are_errors_that_name_the_key)
{
    dfo_ctx *ctx;
    ck_assert_int_eq(dfo_ctx_new(&ctx), DFO_OK);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct made m;
        ck_assert_int_ne(make(ctx, bad[i].text, bad[i].parts, &m), DFO_OK);
        ck_assert_msg(strstr(dfo_ctx_error(ctx), bad[i].error) != NULL, "%s: expected '%s' in '%s'", bad[i].text, bad[i].error,
                      dfo_ctx_error(ctx));
        drop(&m);
    }
    ck_assert_uint_eq(dfo_ctx_bytes(ctx), 0);
    dfo_ctx_free(ctx);
}
END_TEST

#define EMBEDDED(width, classes) \
    "\"frequencies\":32,\"most\":16.0,\"embedding\":" width ",\"classes\":" classes ",\"last_init\":0.0}"

static const char *const good[][2] = {
    {"{\"type\":\"time-mlp\"}",
     "{\"type\":\"time-mlp\",\"hidden\":256,\"layers\":3,\"activation\":\"silu\",\"dropout\":0.0,\"inject\":\"layers\","
     EMBEDDED("64", "0")},
    {"{\"type\":\"time-mlp\",\"inject\":\"first\",\"layers\":0}",
     "{\"type\":\"time-mlp\",\"hidden\":256,\"layers\":0,\"activation\":\"silu\",\"dropout\":0.0,\"inject\":\"first\","
     EMBEDDED("64", "0")},
    {"{\"type\":\"unet\",\"channels\":8,\"levels\":3,\"classes\":10,\"attention\":true}",
     "{\"type\":\"unet\",\"channels\":[8,16,32],\"blocks\":2,\"norm\":\"group\",\"groups\":8,"
     "\"activation\":\"silu\",\"attention\":true," EMBEDDED("128", "10")},
    {"{\"type\":\"unet\",\"channels\":[6],\"norm\":\"none\",\"blocks\":1,\"embedding\":0}",
     "{\"type\":\"unet\",\"channels\":[6],\"blocks\":1,\"norm\":\"none\",\"groups\":8,"
     "\"activation\":\"silu\",\"attention\":false," EMBEDDED("0", "0")},
};

static char *described(const struct made *m)
{
    char *text;
    json_t *json = json_object();
    ck_assert_int_eq(dfo_net_describe(m->net, json), DFO_OK);
    ck_assert_int_eq(dfoi_json_dump(m->ctx, json, JSON_COMPACT, &text), DFO_OK);
    json_decref(json);
    return text;
}

START_TEST(a_description_makes_the_same_net)
{
    dfo_ctx *ctx;
    ck_assert_int_eq(dfo_ctx_new(&ctx), DFO_OK);
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        struct made m, again;
        ck_assert_msg(make(ctx, good[i][0], 4, &m) == DFO_OK, "%s: %s", good[i][0], dfo_ctx_error(ctx));
        char *text = described(&m);
        ck_assert_str_eq(text, good[i][1]);
        ck_assert_int_eq(make(ctx, text, 4, &again), DFO_OK);
        ck_assert_uint_eq(dfo_store_weights_size(m.store), dfo_store_weights_size(again.store));
        ck_assert(!memcmp(dfo_store_weights(m.store), dfo_store_weights(again.store),
                          dfo_store_weights_size(m.store) * sizeof(dfo_real)));
        dfoi_free(ctx, text);
        drop(&m);
        drop(&again);
    }
    ck_assert_uint_eq(dfo_ctx_bytes(ctx), 0);
    dfo_ctx_free(ctx);
}
END_TEST

static dfo_status work(dfo_ctx *ctx, void *data)
{
    struct made m;
    dfo_status status = make(ctx, data, 4, &m);
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
    Suite *suite = suite_create("settings of nets with a time");
    TCase *all = tcase_create("nets");
    tcase_set_timeout(all, 120);
    tcase_add_test(all, bad_settings_are_errors_that_name_the_key);
    tcase_add_test(all, a_description_makes_the_same_net);
    tcase_add_test(all, construction_survives_without_memory);
    suite_add_tcase(suite, all);
    return test_run(suite);
}
