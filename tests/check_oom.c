/* Refused allocations: contexts, the store and JSON; and the framework itself, which must find a
 * leak, a wrong status and a missing text.  */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <diffeo/build.h>
#include <diffeo/store.h>
#include "base/ctx_impl.h"
#include "base/json_impl.h"
#include "oom.h"
#include "util.h"

static dfo_status fill_store(dfo_ctx *ctx, void *data)
{
    dfo_status status;
    dfo_store *store = NULL;
    size_t offset, n = *(size_t *)data;
    DFO_GO(dfo_store_new(ctx, &store));
    for (size_t i = 0; i < n; i++) {
        char name[32];
        const size_t shape[2] = {3 + i, 7};
        snprintf(name, sizeof name, "w%zu", i);
        DFO_GO(dfo_store_add(store, name, 2, shape, &offset));
        snprintf(name, sizeof name, "b%zu", i);
        DFO_GO(dfo_store_add_buffer(store, name, 1, shape, &offset));
    }
fail:
    dfo_store_free(store);
    return status;
}

START_TEST(store)
{
    size_t n = 150;                    /* past two growths of the list */
    ck_assert_uint_gt(oom_check("a store of 300 arrays", OOM_ALL, fill_store, &n), 300);
}
END_TEST

static dfo_status parse(dfo_ctx *ctx, void *data)
{
    dfo_status status;
    const char *text = data;
    json_t *json = NULL;
    char *out = NULL;
    DFO_GO(dfoi_json_parse(ctx, text, strlen(text), "test", &json));
    DFO_GO(dfoi_json_set(ctx, json, "more", json_string("value")));
    DFO_GO(dfoi_json_dump(ctx, json, JSON_COMPACT, &out));
fail:
    dfoi_free(ctx, out);
    json_decref(json);
    return status;
}

START_TEST(json)
{
    char text[] = "{\"type\":\"mlp\",\"hidden\":[16,16],\"activation\":\"relu\",\"deep\":{\"x\":[1.5,true,null]}}";
    oom_check("parsing and printing JSON", OOM_ALL, parse, text);
}
END_TEST

/* The framework must notice each of these.  */
static dfo_status leak(dfo_ctx *ctx, void *data)
{
    char *a, *b;
    (void)data;
    DFO_TRY(dfoi_alloc(ctx, 10, 1, &a));
    DFO_TRY(dfoi_alloc(ctx, 10, 1, &b));         /* if this fails, a is lost */
    dfoi_free(ctx, b);
    dfoi_free(ctx, a);
    return DFO_OK;
}

static dfo_status unnoticed(dfo_ctx *ctx, void *data)
{
    char *a;
    (void)data;
    if (dfoi_alloc(ctx, 10, 1, &a) == DFO_OK)
        dfoi_free(ctx, a);
    return DFO_OK;
}

static dfo_status other_status(dfo_ctx *ctx, void *data)
{
    char *a;
    (void)data;
    if (dfoi_alloc(ctx, 10, 1, &a) != DFO_OK)
        return dfoi_fail(ctx, DFO_EARG, "something else");
    dfoi_free(ctx, a);
    return DFO_OK;
}

static dfo_status silent(dfo_ctx *ctx, void *data)
{
    char *a;
    (void)data;
    if (dfoi_alloc(ctx, 10, 1, &a) != DFO_OK) {
        dfo_ctx_clear(ctx);
        return DFO_EMEM;
    }
    dfoi_free(ctx, a);
    return DFO_OK;
}

static dfo_status json_leak(dfo_ctx *ctx, void *data)
{
    (void)data;
    json_t *a = json_object();
    json_t *b = json_object();
    if (!a || !b)
        return dfoi_fail(ctx, DFO_EMEM, "out of memory");        /* one of them may be lost */
    json_decref(a);
    json_decref(b);
    return DFO_OK;
}

START_TEST(notices)
{
    static const oom_work faulty[] = {leak, unnoticed, other_status, silent, json_leak};
    oom_check("faulty work", OOM_OURS, faulty[_i], NULL);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("oom");
    TCase *good = tcase_create("work");
    tcase_set_timeout(good, 120);
    tcase_add_test(good, store);
    tcase_add_test(good, json);
    suite_add_tcase(suite, good);
    int status = test_run(suite);

    /* The same runner for what must fail: as many failures as cases (valgrind would report the leaks).  */
    const char *preload = getenv("LD_PRELOAD");
    if (preload && strstr(preload, "vgpreload"))
        return status;
    suite = suite_create("faulty");
    TCase *bad = tcase_create("must fail");
    tcase_add_loop_test(bad, notices, 0, 5);
    suite_add_tcase(suite, bad);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_SILENT);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    if (failed != 5) {
        printf("the framework let %d of 5 faults pass\n", 5 - failed);
        return EXIT_FAILURE;
    }
    return status;
}
