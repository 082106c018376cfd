/* Presets for images: every pixel comes back, a few steps of training lower the loss in every memory mode alike,
 * levels follow the sides, settings that make no sense are refused by name.  */
#include <check.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <diffeo/fit.h>
#include <diffeo/flow.h>
#include <diffeo/preset.h>
#include "base/ctx_impl.h"
#include "base/json_impl.h"
#include "oom.h"
#include "util.h"

struct fixture {
    dfo_ctx   *ctx;
    dfo_store *store;
    dfo_flow  *flow;
};

static const char *const preset[] = {"realnvp-image", "glow", "nsf-image", "inverse-flow", "finc-flow", "emerging",
                                     "periodic"};
#define PRESETS (sizeof preset / sizeof *preset)

/* The configuration of a small preset with other members.  */
static json_t *configuration(dfo_ctx *ctx, const char *name, const char *others)
{
    json_t *config, *more = json_loads(others, 0, NULL);
    ck_assert_ptr_nonnull(more);
    ck_assert_int_eq(dfo_preset_config(ctx, name, &config), DFO_OK);
    json_object_set_new(config, "depth", json_integer(2));
    json_object_set_new(config, "hidden", json_integer(8));
    json_object_update(config, more);
    json_decref(more);
    return config;
}

static void open_flow(struct fixture *f, const char *name, const char *others, dfo_shape shape, size_t classes)
{
    json_t *expanded;
    memset(f, 0, sizeof *f);
    ck_assert_int_eq(dfo_ctx_new(&f->ctx), DFO_OK);
    ck_assert_int_eq(dfo_store_new(f->ctx, &f->store), DFO_OK);
    json_t *config = configuration(f->ctx, name, others);
    dfo_status status = dfo_preset_expand(f->ctx, config, shape, &expanded);
    ck_assert_msg(status == DFO_OK, "%s %s: %s", name, others, dfo_ctx_error(f->ctx));
    dfo_build build = {.ctx = f->ctx, .store = f->store, .seed = 3, .path = "flow", .shape = shape,
                       .conds = classes > 0, .cond = {dfo_shape_vector(classes)}};
    status = dfo_flow_new(&build, expanded, &f->flow);
    ck_assert_msg(status == DFO_OK, "%s %s: %s", name, others, dfo_ctx_error(f->ctx));
    json_decref(config);
    json_decref(expanded);
}

static void close_flow(struct fixture *f)
{
    dfo_flow_free(f->flow);
    dfo_store_free(f->store);
    ck_assert_uint_eq(dfo_ctx_bytes(f->ctx), 0);
    dfo_ctx_free(f->ctx);
}

/* Blots of light on noise.  */
static dfo_batch pictures(size_t n, dfo_shape s, test_rng *rng)
{
    size_t d = dfo_shape_size(s);
    dfo_batch x = dfo_batch_of(calloc(n * d, sizeof(dfo_real)), n, d);
    ck_assert_ptr_nonnull(x.x);
    for (size_t i = 0; i < n; i++) {
        double top = test_rng_real(rng, 0, (double)s.h), left = test_rng_real(rng, 0, (double)s.w);
        for (size_t j = 0; j < d; j++) {
            double y = (double)(j / s.w % s.h) - top, z = (double)(j % s.w) - left;
            double v = 230 * exp(-(y * y + z * z) / 8) + test_rng_real(rng, 0, 20);
            dfo_row(x, i)[j] = (dfo_real)floor(v);
        }
    }
    return x;
}

static void every_pixel(const char *name, const char *others, dfo_shape shape, size_t classes)
{
    struct fixture f;
    test_rng rng = test_rng_new(test_seed());
    open_flow(&f, name, others, shape, classes);
    ck_assert_uint_eq(dfo_flow_bins(f.flow), 256);
    dfo_real *w = dfo_store_weights(f.store);
    for (size_t k = 0; k < dfo_store_weights_size(f.store); k++)
        w[k] += (dfo_real)(0.05 * test_rng_normal(&rng));
    dfo_store_touch(f.store);
    size_t n = 40, d = dfo_shape_size(shape);
    dfo_flow_plan *plan;
    dfo_batch x = pictures(n, shape, &rng), y = pictures(n, shape, &rng), c = {0};
    dfo_cond cond = {.n = classes > 0};
    if (classes) {
        c = dfo_batch_of(calloc(n * classes, sizeof(dfo_real)), n, classes);
        for (size_t i = 0; i < n; i++)
            dfo_row(c, i)[i % classes] = 1;
        cond.part[0].rows = c;
        cond.part[0].shape = dfo_shape_vector(classes);
    }
    double *there = calloc(n, sizeof *there), *here = calloc(n, sizeof *here);
    memcpy(y.x, x.x, n * d * sizeof *y.x);
    ck_assert_int_eq(dfo_flow_plan_new(f.ctx, f.flow, 0, &plan), DFO_OK);
    dfo_status status = dfo_flow_encode(plan, 0, y, &cond, there);
    ck_assert_msg(status == DFO_OK, "%s %s: %s", name, others, dfo_ctx_error(f.ctx));
    ck_assert(memcmp(x.x, y.x, n * d * sizeof *x.x));
    ck_assert_int_eq(dfo_flow_decode(plan, 0, y, &cond, here), DFO_OK);
    for (size_t i = 0; i < n * d; i++)
        ck_assert_msg(x.x[i] == y.x[i], "%s %s: row %zu, column %zu: %g became %g", name, others, i / d, i % d,
                      (double)x.x[i], (double)y.x[i]);
    for (size_t i = 0; i < n; i++)
        ck_assert_msg(fabs(there[i] + here[i]) <= 1e-3 * (1 + fabs(there[i])), "log-dets %g and %g", there[i], here[i]);
    ck_assert_int_eq(dfo_flow_sample(plan, 1, 0, y, &cond, 0.7), DFO_OK);
    for (size_t i = 0; i < n * d; i++)
        ck_assert_msg(y.x[i] >= 0 && y.x[i] <= 255 && (double)y.x[i] == floor((double)y.x[i]), "sample: %g",
                      (double)y.x[i]);
    free(x.x);
    free(y.x);
    free(c.x);
    free(there);
    free(here);
    dfo_flow_plan_free(plan);
    close_flow(&f);
}

/* What a configuration leaves out is the same for the library as for the program.  */
START_TEST(defaults_stand_once)
{
    const dfo_shape image = {1, 8, 8};
    dfo_ctx *ctx;
    ck_assert_int_eq(dfo_ctx_new(&ctx), DFO_OK);
    for (size_t i = 0; i < dfo_presets(); i++) {
        json_t *name = json_pack("{s:s}", "flow", dfo_preset(i)), *full, *a, *b;
        dfo_shape shape = !strcmp(dfo_preset(i), "sphere")                     ? dfo_shape_vector(2)
                          : strncmp(dfo_preset(i), "diffusion-2015", 14) ? image
                                                                         : dfo_shape_vector(64);      /* those are for rows alone */
        ck_assert_int_eq(dfo_preset_config(ctx, dfo_preset(i), &full), DFO_OK);
        ck_assert_msg(dfo_preset_expand(ctx, name, shape, &a) == DFO_OK, "%s", dfo_ctx_error(ctx));
        ck_assert_int_eq(dfo_preset_expand(ctx, full, shape, &b), DFO_OK);
        ck_assert_msg(json_equal(a, b), "%s", dfo_preset(i));
        json_decref(name);
        json_decref(full);
        json_decref(a);
        json_decref(b);
    }
    dfo_ctx_free(ctx);
}
END_TEST

START_TEST(pixels)
{
    every_pixel(preset[_i], "{}", (dfo_shape){1, 8, 8}, 0);
    every_pixel(preset[_i], "{}", (dfo_shape){3, 8, 4}, 3);
    every_pixel(preset[_i], "{\"squeeze\":\"haar\",\"linear\":\"householder\"}", (dfo_shape){1, 8, 8}, 0);
    every_pixel(preset[_i], "{\"dequantise\":\"variational\",\"scaling\":\"logit\"}", (dfo_shape){1, 8, 8}, 2);
    every_pixel(preset[_i], "{\"coupling\":\"spline\",\"bins\":3}", (dfo_shape){1, 8, 8}, 1);
    every_pixel(preset[_i], "{\"coupling\":\"affine\",\"convolution\":\"causal\",\"solve\":false,\"kernel\":2}", (dfo_shape){1, 8, 8}, 1);
    every_pixel(preset[_i], "{\"prior\":false,\"coupling\":\"additive\",\"scaling\":\"centre\"}", (dfo_shape){1, 12, 12}, 0);
}
END_TEST

/* The loss, in bits per dimension, after some steps of training.  */
static double train(const char *name, const char *others, dfo_memory_mode memory, uint64_t steps)
{
    struct fixture f;
    dfo_shape shape = {1, 8, 8};
    test_rng rng = test_rng_new(5);
    dfo_source *source;
    dfo_loss *nll;
    dfo_fit_options options;
    dfo_fit_report report;
    dfo_batch x = pictures(128, shape, &rng);
    open_flow(&f, name, others, shape, 0);
    ck_assert_int_eq(dfo_source_rows(f.ctx, x, &source), DFO_OK);
    ck_assert_int_eq(dfo_loss_nll_new(f.flow, &nll), DFO_OK);
    dfo_fit_defaults(&options);
    options.steps = steps;
    options.batch = 64;
    options.lr = 2e-3;
    options.memory = memory;
    dfo_status status = dfo_fit(nll, source, source, 0, &options, &report);
    ck_assert_msg(status == DFO_OK, "%s %s: %s", name, others, dfo_ctx_error(f.ctx));
    dfo_loss_free(nll);
    dfo_source_free(source);
    free(x.x);
    close_flow(&f);
    return dfo_bits_per_dim(-report.valid_loss, (double)dfo_shape_size(shape), 1);
}

START_TEST(training)
{
    static const char *const others[] = {"{}", "{\"dequantise\":\"variational\"}"};
    for (int k = 0; k < 2; k++) {
        double before = train(preset[_i], others[k], DFO_MEMORY_STORE, 1);
        double store = train(preset[_i], others[k], DFO_MEMORY_STORE, 40);
        double invert = train(preset[_i], others[k], DFO_MEMORY_INVERT, 40);
        double anchors = train(preset[_i], others[k], DFO_MEMORY_ANCHORS, 40);
        ck_assert_msg(store < before - 0.1 && store > 2 && before < 10, "%s %s: %g, then %g bits", preset[_i], others[k],
                      before, store);
        ck_assert_msg(fabs(store - invert) <= 0.02 && fabs(store - anchors) <= 0.02, "%s %s: %g, %g, %g bits",
                      preset[_i], others[k], store, invert, anchors);
    }
}
END_TEST

static size_t squeezes(const json_t *config)
{
    size_t n = 0, i;
    json_t *layer;
    json_array_foreach(json_object_get(json_object_get(config, "bijector"), "layers"), i, layer) {
        const json_t *inner = json_object_get(layer, "layer");
        const char *type = json_string_value(json_object_get(inner ? inner : layer, "type"));
        n += !strcmp(type, "squeeze");
    }
    return n;
}

START_TEST(levels)
{
    static const struct { size_t h, w, levels; } want[] = {{28, 28, 2}, {32, 32, 3}, {64, 64, 3}, {6, 28, 1}};
    dfo_ctx *ctx;
    ck_assert_int_eq(dfo_ctx_new(&ctx), DFO_OK);
    for (size_t k = 0; k < sizeof want / sizeof *want; k++) {
        json_t *config = configuration(ctx, preset[_i], "{}"), *expanded;
        dfo_shape shape = {1, want[k].h, want[k].w};
        ck_assert_int_eq(dfo_preset_expand(ctx, config, shape, &expanded), DFO_OK);
        ck_assert_uint_eq(squeezes(expanded), want[k].levels);
        json_decref(config);
        json_decref(expanded);
    }
    dfo_ctx_free(ctx);
}
END_TEST

START_TEST(refused)
{
    static const struct { const char *others; size_t side; const char *text; } bad[] = {
        {"{}", 9, "even number of rows and columns, got 9x9 pixels"},
        {"{\"levels\":3}", 28, "levels must be at most 2 for 28x28 pixels, got 3"},
        {"{\"squeeze\":\"wavelet\"}", 8, "squeeze: expected squeeze or haar, got wavelet"},
        {"{\"dequantise\":\"none\"}", 8, "dequantise: expected uniform or variational, got none"},
        {"{\"coupling\":\"cubic\"}", 8, "coupling: expected affine, additive or spline, got cubic"},
        {"{\"alpha\":0.5}", 8, "alpha must"},
        {"{\"no_such_key\":0.5}", 8, "no_such_key"},
    };
    dfo_ctx *ctx;
    ck_assert_int_eq(dfo_ctx_new(&ctx), DFO_OK);
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
        json_t *config = configuration(ctx, preset[_i], bad[k].others), *expanded;
        dfo_shape shape = {1, bad[k].side, bad[k].side};
        ck_assert(dfo_preset_expand(ctx, config, shape, &expanded) != DFO_OK);
        ck_assert_ptr_null(expanded);
        ck_assert_msg(strstr(dfo_ctx_error(ctx), bad[k].text) != NULL, "%s: %s", bad[k].text, dfo_ctx_error(ctx));
        json_decref(config);
    }
    ck_assert_uint_eq(dfo_ctx_bytes(ctx), 0);
    dfo_ctx_free(ctx);
}
END_TEST

static dfo_status make(dfo_ctx *ctx, void *data)
{
    const char *text = data;
    dfo_status status;
    json_t *config = NULL, *expanded = NULL;
    dfo_store *store = NULL;
    dfo_flow *flow = NULL;
    dfo_shape shape = {1, 8, 8};
    DFO_GO(dfoi_json_parse(ctx, text, strlen(text), "configuration", &config));
    DFO_GO(dfo_preset_expand(ctx, config, shape, &expanded));
    DFO_GO(dfo_store_new(ctx, &store));
    dfo_build build = {.ctx = ctx, .store = store, .seed = 3, .path = "flow", .shape = shape};
    DFO_GO(dfo_flow_new(&build, expanded, &flow));
fail:
    dfo_flow_free(flow);
    dfo_store_free(store);
    json_decref(expanded);
    json_decref(config);
    return status;
}

START_TEST(memory)
{
    static char text[][160] = {
        "{\"flow\":\"glow\",\"levels\":2,\"depth\":1,\"hidden\":4,\"dequantise\":\"variational\",\"dequantise_layers\":1}",
        "{\"flow\":\"realnvp-image\",\"levels\":1,\"depth\":1,\"hidden\":4}",
        "{\"flow\":\"nsf-image\",\"levels\":1,\"depth\":1,\"hidden\":4,\"scaling\":\"centre\"}",
        "{\"flow\":\"inverse-flow\",\"levels\":1,\"depth\":1,\"hidden\":4}",
        "{\"flow\":\"finc-flow\",\"levels\":1,\"depth\":1,\"hidden\":4}",
        "{\"flow\":\"emerging\",\"levels\":1,\"depth\":1,\"hidden\":4}",
        "{\"flow\":\"periodic\",\"levels\":1,\"depth\":1,\"hidden\":4}",
    };
    oom_check(text[_i], OOM_ALL, make, text[_i]);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("image flows " DFO_REAL_NAME);
    TCase *t = tcase_create("presets");
    tcase_set_timeout(t, 120);
    tcase_add_loop_test(t, pixels, 0, PRESETS);
    tcase_add_loop_test(t, training, 0, PRESETS);
    tcase_add_loop_test(t, levels, 0, PRESETS);
    tcase_add_loop_test(t, refused, 0, PRESETS);
    tcase_add_loop_test(t, memory, 0, PRESETS);
    tcase_add_test(t, defaults_stand_once);
    suite_add_tcase(suite, t);
    return test_run(suite);
}
