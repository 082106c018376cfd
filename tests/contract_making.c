/* The contract of a layer, making it: what describe gives makes the same layer, through text too; wrong
 * configurations name layer and key; every refused allocation is survived.  */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/ctx_impl.h"
#include "base/json_impl.h"
#include "contract.h"
#include "oom.h"

static json_t *description(const struct layer *l)
{
    json_t *to = json_pack("{s:s}", "type", l->row->type);
    ck_assert_msg(dfo_bijector_describe(l->bij, to) == DFO_OK, "%s: %s", where(l), dfo_ctx_error(l->ctx));
    return to;
}

static json_t *through_text(const struct layer *l, const json_t *json)
{
    char *text = json_dumps(json, JSON_SORT_KEYS);
    json_t *again;
    ck_assert_msg(dfoi_json_parse(l->ctx, text, strlen(text), "test", &again) == DFO_OK, "%s: %s: %s", where(l), text,
                  dfo_ctx_error(l->ctx));
    free(text);
    return again;
}

static void copy_store(const struct layer *to, const struct layer *from)
{
    for (size_t e = 0; e < dfo_store_entries(from->store); e++) {
        const dfo_entry *a = dfo_store_entry(from->store, e), *b = dfo_store_find(to->store, a->name);
        ck_assert_msg(b && b->count == a->count && b->buffer == a->buffer, "%s: no array %s of %zu entries", where(to),
                      a->name, a->count);
        dfo_real *source = a->buffer ? dfo_store_buffers(from->store) : dfo_store_weights(from->store);
        dfo_real *target = b->buffer ? dfo_store_buffers(to->store) : dfo_store_weights(to->store);
        memcpy(target + b->offset, source + a->offset, a->count * sizeof *source);
    }
    ck_assert_uint_eq(dfo_store_entries(to->store), dfo_store_entries(from->store));
    dfo_store_touch(to->store);
}

START_TEST(described)
{
    const struct row *row = &contract_rows[_i];
    test_rng rng = contract_stream(_i, 21);
    for (size_t k = 0; k < test_times(8); k++) {
        struct setting set = random_setting(&rng, row, 8);
        struct layer l, again, twice;
        layer_new(&l, row, &set, &rng);
        layer_from(&again, row, &set, l.config, l.seed);
        size_t weights = dfo_store_weights_size(l.store);
        ck_assert_msg(weights == dfo_store_weights_size(again.store), "%s: made again", where(&l));
        ck_assert_msg(!weights || !memcmp(dfo_store_weights(l.store), dfo_store_weights(again.store),
                                          weights * sizeof(dfo_real)),
                      "%s: the same seed gave other weights", where(&l));
        layer_free(&again);

        layer_spread(&l, MODERATE, &rng);
        json_t *a = description(&l), *text = through_text(&l, a);
        layer_from(&twice, row, &set, text, l.seed);
        copy_store(&twice, &l);
        json_t *b = description(&twice);
        ck_assert_msg(json_equal(a, b), "%s: described differently: %s and %s", where(&l), json_dumps(a, 0),
                      json_dumps(b, 0));
        ck_assert_msg(l.bij->caps == twice.bij->caps, "%s: other abilities", where(&l));

        size_t n = test_rng_between(&rng, 1, 70);
        testrun *t = run_new(&l, n, DFO_MEMORY_INVERT), *u = run_new(&twice, n, DFO_MEMORY_INVERT);
        dfo_cond cond = cond_new(&set, n, &rng);
        double *p = doubles_new(n), *q = doubles_new(n);
        dfo_batch x = data_new(&l, t, n, 0, cond_or_null(&cond), &rng), y = rows_copy(x);
        forward(&l, t, x, cond_or_null(&cond), p);
        forward(&twice, u, y, cond_or_null(&cond), q);
        same_rows(&l, x, y, "described and made again");
        same_doubles(&l, n, p, q, "log-dets of the layer made again");
        testrun_free(t);
        testrun_free(u);
        json_decref(a);
        json_decref(b);
        json_decref(text);
        layer_free(&l);
        layer_free(&twice);
        memory_free_all();
    }
}
END_TEST

/* The layer must not be made, and the message must name it and `key`.  */
static void refused(const struct layer *l, const json_t *config, const char *key)
{
    dfo_ctx *ctx;
    dfo_store *store;
    dfo_bijector *bij;
    char *text = json_dumps(config, JSON_ENCODE_ANY);
    ck_assert_int_eq(dfo_ctx_new(&ctx), DFO_OK);
    ck_assert_int_eq(dfo_store_new(ctx, &store), DFO_OK);
    dfo_build build = {.ctx = ctx, .store = store, .seed = 1, .path = "test", .shape = l->set.shape,
                       .conds = l->set.conds};
    memcpy(build.cond, l->set.cond, sizeof build.cond);
    dfo_status status = dfo_bijector_new(&build, (json_t *)config, &bij);
    ck_assert_msg(status == DFO_EARG || status == DFO_ESHAPE, "%s: %s was taken (status %d)", where(l), text, (int)status);
    ck_assert_ptr_null(bij);
    const char *error = dfo_ctx_error(ctx);
    ck_assert_msg(!strncmp(error, "test", 4) && strstr(error, key), "%s: %s: message '%s' does not name %s", where(l),
                  text, error, key);
    dfo_store_free(store);
    ck_assert_msg(dfo_ctx_bytes(ctx) == 0, "%s: %s: %zu bytes remain", where(l), text, dfo_ctx_bytes(ctx));
    dfo_ctx_free(ctx);
    free(text);
}

/* A value of another kind than v.  */
static json_t *other_kind(const json_t *v)
{
    return json_is_string(v) ? json_real(3.5) : json_is_boolean(v) ? json_string("yes")
                                              : json_is_number(v)  ? json_string("many") : json_real(2.5);
}

START_TEST(bad_json)
{
    const struct row *row = &contract_rows[_i];
    test_rng rng = contract_stream(_i, 22);
    struct setting set = {.shape = row->flags & EVEN_SIDES ? (dfo_shape){2, 2, 4} : dfo_shape_vector(row->flags & SPHERE ? 2 : 6)};
    struct layer l;
    layer_new(&l, row, &set, &rng);
    json_t *whole = description(&l), *value;
    const char *key;

    json_t *config = json_deep_copy(whole);
    json_object_set_new(config, "no_such_key", json_integer(1));
    refused(&l, config, "no_such_key");
    refused(&l, config, row->type);
    json_decref(config);
    json_object_foreach(whole, key, value) {
        int list = json_is_array(value) && !json_is_object(json_array_get(value, 0));    /* a number may stand for it */
        if (!strcmp(key, "type"))
            continue;
        config = json_deep_copy(whole);
        json_object_set_new(config, key, list ? json_string("list") : other_kind(value));
        refused(&l, config, key);
        json_decref(config);
    }
    for (size_t k = 0; k < sizeof row->bad / sizeof *row->bad && row->bad[k].json; k++) {
        json_t *members = json_loads(row->bad[k].json, 0, NULL);
        ck_assert_msg(members != NULL, "contract_rows.c: %s", row->bad[k].json);
        config = json_copy(l.config);
        json_object_update(config, members);
        refused(&l, config, row->bad[k].key);
        json_decref(config);
        json_decref(members);
    }
    config = json_pack("{s:s}", "type", "no-such-layer");
    refused(&l, config, "no-such-layer");
    json_decref(config);
    config = json_object();
    refused(&l, config, "type");
    json_decref(config);
    config = json_array();
    refused(&l, config, "layer");
    json_decref(config);
    json_decref(whole);
    layer_free(&l);
}
END_TEST

struct creation {
    const struct setting *set;
    char *text;
};

static dfo_status create(dfo_ctx *ctx, void *data)
{
    const struct creation *c = data;
    dfo_status status;
    dfo_store *store = NULL;
    dfo_bijector *bij = NULL;
    json_t *config = NULL, *to = NULL;
    DFO_GO(dfoi_json_parse(ctx, c->text, strlen(c->text), "test", &config));
    DFO_GO(dfo_store_new(ctx, &store));
    dfo_build build = {.ctx = ctx, .store = store, .seed = 1, .path = "test", .shape = c->set->shape,
                       .conds = c->set->conds};
    memcpy(build.cond, c->set->cond, sizeof build.cond);
    DFO_GO(dfo_bijector_new(&build, config, &bij));
    to = json_object();
    if (!to) {
        status = dfoi_fail(ctx, DFO_EMEM, "out of memory: description");
        goto fail;
    }
    DFO_GO(dfo_bijector_describe(bij, to));
fail:
    json_decref(to);
    dfo_bijector_free(bij);
    dfo_store_free(store);
    json_decref(config);
    return status;
}

START_TEST(allocations)
{
    const struct row *row = &contract_rows[_i];
    test_rng rng = contract_stream(_i, 23);
    for (size_t k = 0; k < test_times(1); k++) {
        struct setting set = random_setting(&rng, row, 6);
        json_t *config = row->make(&rng, &set, row->type);
        struct creation c = {&set, json_dumps(config, 0)};
        json_decref(config);
        oom_check(c.text, OOM_ALL, create, &c);
        free(c.text);
    }
}
END_TEST

void contract_making(Suite *suite)
{
    TCase *tcase = tcase_create("making");
    int n = (int)contract_rows_count;
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, described, 0, n);
    tcase_add_loop_test(tcase, bad_json, 0, n);
    tcase_add_loop_test(tcase, allocations, 0, n);
    suite_add_tcase(suite, tcase);
}
