/* Nets one by one: values against plain loops, settings and their errors, initial weights, dropout,
 * shapes that do not fit, and construction without memory.  */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ctx_impl.h"
#include "base/json_impl.h"
#include "math/kern_impl.h"
#include "nn/unit_impl.h"
#include "netcase.h"
#include "oom.h"

#define OK(c, call)                                                                                \
    ck_assert_msg((call) == DFO_OK, "%s: %s: %s", netcase_text(c), #call, (c)->t->run.text)

/* ---- values */

static double act_of(const char *name, double a)
{
    if (!strcmp(name, "relu"))
        return a > 0 ? a : 0;
    if (!strcmp(name, "leaky-relu"))
        return a > 0 ? a : 0.01 * a;
    if (!strcmp(name, "elu"))
        return a > 0 ? a : expm1(a);
    if (!strcmp(name, "gelu"))
        return a * 0.5 * erfc(-a * M_SQRT1_2);
    if (!strcmp(name, "silu"))
        return a / (1 + exp(-a));
    if (!strcmp(name, "tanh"))
        return tanh(a);
    if (!strcmp(name, "softplus"))
        return log1p(exp(a));
    if (!strcmp(name, "sigmoid"))
        return 1 / (1 + exp(-a));
    return a;
}

/* One row in double, by name of the weights.  */
struct plain {
    const netcase *c;
    const char *act;
    double size; /* largest intermediate value */
};

static const dfo_real *weight(const struct plain *p, const char *prefix, const char *name,
                              const dfo_entry **entry)
{
    char text[96];
    snprintf(text, sizeof text, "net.%s%s", prefix, name);
    const dfo_entry *e = dfo_store_find(p->c->store, text);
    ck_assert_msg(e != NULL, "%s: no weights %s", netcase_text(p->c), text);
    if (entry)
        *entry = e;
    return dfo_store_weights(p->c->store) + e->offset;
}

/* y = W x + b; returns the number of outputs.  */
static size_t linear(struct plain *p, const char *prefix, const char *w_name, const char *b_name,
                     const double *x, double *y)
{
    const dfo_entry *e;
    const dfo_real *w = weight(p, prefix, w_name, &e), *b = weight(p, prefix, b_name, NULL);
    for (size_t i = 0; i < e->shape[0]; i++) {
        double sum = (double)b[i];
        for (size_t j = 0; j < e->shape[1]; j++)
            sum += (double)w[i * e->shape[1] + j] * x[j];
        y[i] = sum;
        p->size = fmax(p->size, fabs(sum));
    }
    return e->shape[0];
}

static void unit(struct plain *p, const char *prefix, int norm, int which, size_t n, double *x)
{
    if (norm) {
        char scale[16], shift[16];
        snprintf(scale, sizeof scale, "scale%d", which);
        snprintf(shift, sizeof shift, "shift%d", which);
        const dfo_real *s = weight(p, prefix, scale, NULL), *t = weight(p, prefix, shift, NULL);
        double mean = 0, var = 0;
        for (size_t i = 0; i < n; i++)
            mean += x[i] / (double)n;
        for (size_t i = 0; i < n; i++)
            var += (x[i] - mean) * (x[i] - mean) / (double)n;
        p->size = fmax(p->size, 1 / sqrt(var + 1e-5));
        for (size_t i = 0; i < n; i++)
            x[i] = (double)s[i] * (x[i] - mean) / sqrt(var + 1e-5) + (double)t[i];
    }
    for (size_t i = 0; i < n; i++)
        x[i] = act_of(p->act, x[i]);
}

static void plain_mlp(struct plain *p, const json_t *config, double *x, double *out)
{
    size_t layers = json_array_size(json_object_get(config, "hidden"));
    double y[256];
    char w[16], b[16];
    for (size_t l = 0; l <= layers; l++) {
        snprintf(w, sizeof w, "w%zu", l);
        snprintf(b, sizeof b, "b%zu", l);
        size_t n = linear(p, "", w, b, x, l == layers ? out : y);
        if (l < layers) {
            unit(p, "", 0, 0, n, y);
            memcpy(x, y, n * sizeof *x);
        }
    }
}

static void plain_residual(struct plain *p, const json_t *config, double *x, const double *context,
                           double *out)
{
    double s[256], u[256], v[256], q[256];
    int norm = !strcmp(json_string_value(json_object_get(config, "norm")), "layer");
    int gate = !strcmp(json_string_value(json_object_get(config, "context")), "gate");
    size_t blocks = (size_t)json_integer_value(json_object_get(config, "blocks"));
    size_t h = linear(p, "first.", "w", "b", x, s);
    gate = gate && p->c->net->in > dfo_shape_size(p->c->shape[0]);
    for (size_t k = 0; k < blocks; k++) {
        char prefix[32];
        snprintf(prefix, sizeof prefix, "block%zu.", k);
        memcpy(u, s, h * sizeof *u);
        unit(p, prefix, norm, 0, h, u);
        linear(p, prefix, "w0", "b0", u, v);
        unit(p, prefix, norm, 1, h, v);
        linear(p, prefix, "w1", "b1", v, u);
        if (gate)
            linear(p, prefix, "gate_w", "gate_b", context, q);
        for (size_t i = 0; i < h; i++)
            s[i] += gate ? u[i] / (1 + exp(-q[i])) : u[i];
    }
    linear(p, "last.", "w", "b", s, out);
}

/* The last input is the time.  */
static void plain_squash(struct plain *p, const json_t *config, const char *type, double *x, double *out)
{
    double y[512], t = x[p->c->net->in - 1];
    size_t layers = (size_t)json_integer_value(json_object_get(config, "layers"));
    for (size_t l = 0; l <= layers; l++) {
        char name[5][16] = {"w", "b", "gate", "shift", "drift"};
        for (size_t k = 0; k < 5; k++)
            snprintf(name[k] + strlen(name[k]), 8, "%zu", l);
        size_t n = linear(p, "", name[0], name[1], x, y);
        n = strcmp(type, "hyper") ? n : n / 2;
        for (size_t i = 0; i < n; i++) {
            if (!strcmp(type, "concatsquash"))
                y[i] /= 1 + exp(-(double)weight(p, "", name[2], NULL)[i] * t - (double)weight(p, "", name[3], NULL)[i]);
            y[i] += t * (strcmp(type, "hyper") ? (double)weight(p, "", name[4], NULL)[i] : y[n + i]);
            x[i] = out[i] = l == layers ? y[i] : act_of(p->act, y[i]);
        }
    }
}

static void compare_rows(netcase *c)
{
    json_t *config = json_loads(c->config, 0, NULL);
    const char *type = json_string_value(json_object_get(config, "type"));
    dfo_block out = netcase_block(c, 0);
    c->t->run.mode = DFO_EVALUATE;
    OK(c, dfo_net_forward(c->net, &c->t->run, &c->in, out, NULL));
    for (size_t i = 0; i < c->n; i++) {
        double x[256], want[256], *at = x;
        for (size_t p = 0; p < c->parts; p++)
            for (size_t j = 0; j < dfo_shape_size(c->shape[p]); j++)
                *at++ = (double)dfo_row(c->in.part[p].rows, i)[j];
        struct plain plain = {c, json_string_value(json_object_get(config, "activation")), 1};
        double context[256];
        size_t first = dfo_shape_size(c->shape[0]);
        memcpy(context, x + first, (c->net->in - first) * sizeof *x);
        if (!strcmp(type, "mlp"))
            plain_mlp(&plain, config, x, want);
        else if (!strcmp(type, "residual-mlp"))
            plain_residual(&plain, config, x, context, want);
        else if (strcmp(type, "constant"))
            plain_squash(&plain, config, type, x, want);
        else
            for (size_t j = 0; j < c->net->out; j++)
                want[j] = (double)weight(&plain, "", "c", NULL)[j];
        for (size_t j = 0; j < c->net->out; j++) {
            double got = (double)*netcase_at(out, i, j), error = fabs(got - want[j]);
            ck_assert_msg(error <= 1000 * DFO_REAL_EPS * plain.size * plain.size,
                          "%s: row %zu, output %zu: %.15g, plain loops %.15g", netcase_text(c), i,
                          j, got, want[j]);
        }
    }
    dfoi_free(c->ctx, out.x);
    json_decref(config);
}

/* Nets of images: check_conv.c; those with a time: check_time_net.c.  */
START_TEST(values_are_those_of_plain_loops)
{
    static const char *const types[] = {"mlp", "residual-mlp", "concatsquash", "concat", "hyper", "constant"};
    test_rng rng = test_rng_new(test_seed());
    for (size_t type = 0; type < sizeof types / sizeof types[0]; type++)
        for (size_t k = 0; k < test_times(40); k++) {
            netcase c;
            netcase_new(&c, test_rng_next(&rng) >> 16, types[type], k < DFOI_ACT_COUNT ? dfoi_act_name((dfoi_act)k) : NULL);
            compare_rows(&c);
            netcase_free(&c);
        }
}
END_TEST

/* ---- settings */

struct made {
    dfo_ctx *ctx;
    dfo_store *store;
    dfo_net *net;
};

/* A net of `text` with two parts (3 and 2 features, or none) and 5 outputs.  */
static dfo_status make(dfo_ctx *ctx, const char *text, int parts, int zero_last, struct made *m)
{
    const dfo_shape shape[2] = {dfo_shape_vector(3), dfo_shape_vector(2)};
    dfo_status status;
    json_t *config = NULL;
    *m = (struct made){.ctx = ctx};
    DFO_GO(dfo_store_new(ctx, &m->store));
    DFO_GO(dfoi_json_parse(ctx, text, strlen(text), "test", &config));
    dfo_build build = {.ctx = ctx, .store = m->store, .seed = 7, .path = "net"};
    status = dfo_net_new(&build, config, (size_t)parts, shape, dfo_shape_vector(5), zero_last, &m->net);
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
} bad[] = {
    {"{\"type\":\"mpl\"}", "no net is called 'mpl'; known: mlp, residual-mlp, conv, residual-conv, concatsquash, concat, hyper, time-mlp, unet, made, kernel, constant"},
    {"{\"type\":3}", "type: expected a string"},
    {"[1]", "expected an object"},
    {"{\"type\":\"mlp\",\"hiden\":3}", "mlp net: unknown key 'hiden'"},
    {"{\"type\":\"mlp\",\"hidden\":0}", "mlp net: hidden must be at least 1, got 0"},
    {"{\"type\":\"mlp\",\"hidden\":[3,-1]}", "mlp net: hidden must be at least 1, got -1"},
    {"{\"type\":\"mlp\",\"hidden\":\"wide\"}", "mlp net: hidden: expected an integer"},
    {"{\"type\":\"mlp\",\"hidden\":4611686018427387904}", "mlp net: hidden must be at most 1048576"},
    {"{\"type\":\"mlp\",\"hidden\":[2,2],\"layers\":2}", "mlp net: layers: goes with a single number"},
    {"{\"type\":\"mlp\",\"layers\":65}", "mlp net: layers must be at most 64"},
    {"{\"type\":\"mlp\",\"activation\":\"rellu\"}",
     "mlp net: activation: there is no 'rellu'; known: "},
    {"{\"type\":\"mlp\",\"dropout\":1}", "mlp net: dropout must be from 0 to 0.99"},
    {"{\"type\":\"mlp\",\"dropout\":-0.1}", "mlp net: dropout must be from 0"},
    {"{\"type\":\"mlp\",\"last_init\":2}", "mlp net: last_init must be from 0 to 1, got 2"},
    {"{\"type\":\"residual-mlp\",\"layers\":3}", "residual-mlp net: unknown key 'layers'"},
    {"{\"type\":\"residual-mlp\",\"blocks\":65}", "residual-mlp net: blocks must be at most 64"},
    {"{\"type\":\"residual-mlp\",\"hidden\":[3]}", "residual-mlp net: hidden: expected an integer"},
    {"{\"type\":\"residual-mlp\",\"norm\":\"batch\"}",
     "residual-mlp net: norm: expected none or layer, got "},
    {"{\"type\":\"residual-mlp\",\"context\":\"film\"}",
     "residual-mlp net: context: expected concat or gate, got "},
    {"{\"type\":\"residual-mlp\",\"activation\":1}",
     "residual-mlp net: activation: expected a string"},
    {"{\"type\":\"constant\",\"value\":1}", "constant net: unknown key 'value'"},
    {"{\"type\":\"concatsquash\",\"dropout\":0}", "concatsquash net: unknown key 'dropout'"},
    {"{\"type\":\"hyper\",\"norm\":\"layer\"}", "hyper net: unknown key 'norm'"},
    {"{\"type\":\"concatsquash\",\"hidden\":[2],\"layers\":1}", "concatsquash net: layers: goes with a single number"},
};

/* Also where the net depends on nothing and a constant takes its place.  */
START_TEST(bad_settings_are_errors_that_name_the_key)
{
    dfo_ctx *ctx;
    ck_assert_int_eq(dfo_ctx_new(&ctx), DFO_OK);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        for (int parts = 0; parts < 3; parts++) {
            struct made m;
            ck_assert_int_eq(make(ctx, bad[i].text, parts, 0, &m), DFO_EARG);
            ck_assert_msg(strstr(dfo_ctx_error(ctx), bad[i].error) != NULL,
                          "%s: expected '%s' in '%s'", bad[i].text, bad[i].error,
                          dfo_ctx_error(ctx));
            ck_assert_ptr_null(m.net);
            drop(&m);
        }
    ck_assert_uint_eq(dfo_ctx_bytes(ctx), 0);
    dfo_ctx_free(ctx);
}
END_TEST

static const char *const good[][2] = {
    {"{}", "{\"type\":\"mlp\",\"hidden\":[128,128],\"activation\":\"relu\",\"dropout\":0.0,\"last_"
           "init\":0.0}"},
    {"{\"type\":\"mlp\",\"hidden\":7,\"layers\":3,\"activation\":\"tanh\"}",
     "{\"type\":\"mlp\",\"hidden\":[7,7,7],\"activation\":\"tanh\",\"dropout\":0.0,\"last_init\":0."
     "0}"},
    {"{\"type\":\"mlp\",\"hidden\":[],\"dropout\":0.25}",
     "{\"type\":\"mlp\",\"hidden\":[],\"activation\":\"relu\",\"dropout\":0.25,\"last_init\":0.0}"},
    {"{\"type\":\"residual-mlp\"}", "{\"type\":\"residual-mlp\",\"hidden\":128,\"blocks\":2,"
                                    "\"activation\":\"relu\",\"dropout\":0.0,\"norm\":\"none\","
                                    "\"context\":\"concat\",\"last_init\":0.0}"},
    {"{\"type\":\"residual-mlp\",\"hidden\":9,\"blocks\":0,\"norm\":\"layer\",\"context\":\"gate\","
     "\"last_init\":0.5}",
     "{\"type\":\"residual-mlp\",\"hidden\":9,\"blocks\":0,\"activation\":\"relu\",\"dropout\":0.0,"
     "\"norm\":\"layer\","
     "\"context\":\"gate\",\"last_init\":0.5}"},
    {"{\"type\":\"constant\"}", "{\"type\":\"constant\"}"},
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
        ck_assert_msg(make(ctx, good[i][0], 2, 0, &m) == DFO_OK, "%s: %s", good[i][0],
                      dfo_ctx_error(ctx));
        char *text = described(&m);
        ck_assert_str_eq(text, good[i][1]);
        ck_assert_int_eq(make(ctx, text, 2, 0, &again), DFO_OK);
        char *second = described(&again);
        ck_assert_str_eq(second, text);
        size_t n = dfo_store_weights_size(m.store);
        ck_assert_uint_eq(n, dfo_store_weights_size(again.store));
        ck_assert(!memcmp(dfo_store_weights(m.store), dfo_store_weights(again.store),
                          n * sizeof(dfo_real)));
        ck_assert_uint_eq(m.net->first, 0);
        ck_assert_uint_eq(m.net->count, n);
        dfoi_free(ctx, text);
        dfoi_free(ctx, second);
        drop(&m);
        drop(&again);
    }
    ck_assert_uint_eq(dfo_ctx_bytes(ctx), 0);
    dfo_ctx_free(ctx);
}
END_TEST

START_TEST(without_inputs_a_net_is_a_constant)
{
    dfo_ctx *ctx;
    struct made m;
    ck_assert_int_eq(dfo_ctx_new(&ctx), DFO_OK);
    ck_assert_int_eq(make(ctx, "{\"type\":\"residual-mlp\",\"hidden\":8}", 0, 1, &m), DFO_OK);
    char *text = described(&m);
    ck_assert_str_eq(text, "{\"type\":\"constant\"}");
    ck_assert_uint_eq(dfo_store_parameters(m.store), 5);
    dfoi_free(ctx, text);
    drop(&m);
    dfo_ctx_free(ctx);
}
END_TEST

/* ---- initial weights
 * ------------------------------------------------------------------------------- */

static double largest(const struct made *m, const char *name)
{
    char text[96];
    snprintf(text, sizeof text, "net.%s", name);
    const dfo_entry *e = dfo_store_find(m->store, text);
    ck_assert_ptr_nonnull(e);
    return dfoi_max_abs(e->count, dfo_store_weights(m->store) + e->offset);
}

/* Uniform in +-bound: the largest of many is close below it.  */
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
    ck_assert_int_eq(make(ctx, "{\"type\":\"mlp\",\"hidden\":[100,200]}", 2, 0, &m), DFO_OK);
    assert_bound(&m, "w0", 1 / sqrt(5));
    assert_bound(&m, "b0", 1 / sqrt(5));
    assert_bound(&m, "w1", 0.1);
    assert_bound(&m, "w2", 1 / sqrt(200));
    drop(&m);
    ck_assert_int_eq(make(ctx, "{\"type\":\"mlp\",\"hidden\":[100,200]}", 2, 1, &m), DFO_OK);
    assert_bound(&m, "w1", 0.1);
    ck_assert(largest(&m, "w2") == 0 && largest(&m, "b2") == 0);
    drop(&m);
    ck_assert_int_eq(
        make(ctx, "{\"type\":\"residual-mlp\",\"hidden\":100,\"last_init\":0.001}", 2, 1, &m),
        DFO_OK);
    assert_bound(&m, "first.w", 1 / sqrt(5));
    assert_bound(&m, "block1.w0", 0.1);
    assert_bound(&m, "block1.w1", 1e-3);
    assert_bound(&m, "last.w", 1e-3);
    drop(&m);
    dfo_ctx_free(ctx);
}
END_TEST

/* ---- dropout
 * --------------------------------------------------------------------------------------- */

/* A net whose output is the mean of 1,000 ones behind dropout: over 64 rows it is 1 in the mean,
 * its variance that of Bernoulli draws; other steps, units and rows give other draws, evaluation
 * none.  */
START_TEST(dropout_keeps_the_mean)
{
    enum { WIDTH = 1000 };
    dfo_ctx *ctx;
    struct made m;
    testrun *t;
    dfo_real x[64 * 5] = {0}, out[4][5 * 64] __attribute__((aligned(64)));
    const double p = 0.25;
    ck_assert_int_eq(dfo_ctx_new(&ctx), DFO_OK);
    ck_assert_int_eq(make(ctx, "{\"type\":\"mlp\",\"hidden\":[1000],\"dropout\":0.25}", 2, 1, &m),
                     DFO_OK);
    const char *const name[] = {"net.b0", "net.w1"};
    for (int k = 0; k < 2; k++) {
        const dfo_entry *e = dfo_store_find(m.store, name[k]);
        for (size_t i = 0; i < e->count; i++)
            dfo_store_weights(m.store)[e->offset + i] = k ? (dfo_real)(1.0 / WIDTH) : 1;
    }
    dfo_need need = {.scratch = dfo_net_scratch(m.net, 64)};
    ck_assert_int_eq(testrun_new(ctx, m.store, &need, &t), DFO_OK);
    dfo_cond in = {.n = 2, .part = {{.rows = {x, 64, 3, 5}}, {.rows = {x + 3, 64, 2, 5}}}};
    t->run.key.seed = test_seed();
    for (int k = 0; k < 4;
         k++) { /* evaluation; a step; the next step; the first step, a row further */
        dfo_block block = {out[k], 64, 5, 64, DFO_FEATURES};
        t->run.mode = k ? DFO_TRAIN : DFO_EVALUATE;
        t->run.key.step = k == 2 ? 8 : 7;
        t->run.key.row = k == 3 ? 101 : 100;
        ck_assert_int_eq(dfo_net_forward(m.net, &t->run, &in, block, NULL), DFO_OK);
    }
    double mean = 0, var = 0, want = p / (1 - p) / WIDTH;
    int same_step = 0;
    for (size_t i = 0; i < 64; i++) {
        ck_assert(fabs((double)out[0][i] - 1) < 1e-4);
        mean += (double)out[1][i] / 64;
        var += ((double)out[1][i] - 1) * ((double)out[1][i] - 1) / 64;
        same_step += out[1][i] == out[2][i];
        ck_assert(i == 63 || out[1][i + 1] == out[3][i]);
    }
    ck_assert_msg(fabs(mean - 1) < 5 * sqrt(want / 64), "mean %g", mean);
    ck_assert_msg(var > 0.3 * want && var < 2.2 * want, "variance %g, expected %g", var, want);
    ck_assert_msg(same_step < 20, "%d of 64 rows have the same value at the next step", same_step);
    testrun_free(t);
    drop(&m);
    dfo_ctx_free(ctx);
}
END_TEST

/* Masks are a function of seed, step, absolute row, unit and feature: here by one Philox block at a
 * time.  */
START_TEST(dropout_masks_are_philox_words)
{
    test_rng rng = test_rng_new(test_seed());
    for (size_t k = 0; k < test_times(20); k++) {
        dfoi_unit unit = {.width = test_rng_between(&rng, 1, 70),
                          .act = DFOI_ACT_RELU,
                          .drop = dfoi_unit_drop(0.3),
                          .stream = (uint32_t)test_rng_next(&rng)};
        dfo_run run = {
            .key = {.seed = test_rng_next(&rng), .row = test_rng_next(&rng) >> 16, .step = 5}};
        dfo_real mask[70 * 64];
        const dfoi_unit_room room = {.mask = mask, .first = test_rng_between(&rng, 0, 1) * 64};
        if (k % 2)
            run.key.row =
                (run.key.row | 0xffffffff) - 3; /* the row's low word overflows in the panel */
        dfoi_unit_mask(&unit, &run, &room);
        for (size_t i = 0; i < 64; i++)
            for (size_t j = 0; j < unit.width; j++) {
                dfo_key key = {run.key.seed, run.key.row + room.first + i, DFO_FOR_DROPOUT, 5};
                uint32_t word[4];
                dfo_philox(key, unit.stream + (uint32_t)(j / 8), word);
                uint32_t draw = word[j % 8 / 2] >> (j % 2 ? 16 : 0) & 0xffff;
                dfo_real want = draw < unit.drop ? 0 : (dfo_real)(65536.0 / (65536.0 - unit.drop));
                ck_assert_msg(mask[j * 64 + i] == want, "row %zu, feature %zu of %zu", i, j,
                              unit.width);
            }
    }
}
END_TEST

/* ---- shapes
 * ---------------------------------------------------------------------------------------- */

static void refused(netcase *c, dfo_status got, dfo_status want, const char *text)
{
    ck_assert_msg(got == want && strstr(c->t->run.text, text), "expected '%s' (%s), got '%s' (%s)",
                  text, dfo_status_text(want), c->t->run.text, dfo_status_text(got));
    testrun_reset(c->t);
}

START_TEST(shapes_that_do_not_fit_are_refused)
{
    test_rng rng = test_rng_new(test_seed());
    for (size_t type = 0; type < dfo_net_types(); type++) {
        netcase c;
        netcase_new(&c, test_rng_next(&rng) >> 16, dfo_net_type(type), NULL);
        dfo_run *run = &c.t->run;
        dfo_block out = netcase_block(&c, 0), block = out;
        dfo_cond in = c.in;
        in.n--;
        refused(&c, dfo_net_forward(c.net, run, &in, out, NULL), DFO_ESHAPE, "input parts, got");
        in = c.in;
        in.part[0].rows.d++;
        refused(&c, dfo_net_forward(c.net, run, &in, out, NULL), DFO_ESHAPE,
                "input part 0: expected");
        refused(&c, dfo_net_jvp(c.net, run, &c.in, &in, out, out, NULL), DFO_ESHAPE, "(tangent)");
        refused(&c, dfo_net_backward(c.net, run, &c.in, out, &in, c.acts), DFO_ESHAPE,
                "(gradient)");
        block.d++;
        refused(&c, dfo_net_forward(c.net, run, &c.in, block, NULL), DFO_ESHAPE,
                "outputs, got a block");
        int panel = out.layout == DFO_FEATURES;
        block = out;
        block.n = DFO_NET_ROWS + 1;
        if (panel)
            refused(&c, dfo_net_forward(c.net, run, &c.in, block, NULL), DFO_ESHAPE, "129 rows");
        block = out;
        block.ld = (panel ? DFO_PANEL : c.net->out) - 1;
        refused(&c, dfo_net_forward(c.net, run, &c.in, block, NULL), DFO_ESHAPE, ", stride ");
        block = out;
        block.layout = panel ? DFO_ROWS : DFO_FEATURES;
        refused(&c, dfo_net_forward(c.net, run, &c.in, block, NULL), DFO_ESHAPE,
                panel ? "feature-major" : "row-major");
        if (dfo_net_acts(c.net, 64))
            refused(&c, dfo_net_backward(c.net, run, &c.in, out, NULL, NULL), DFO_EARG,
                    "needs the activations");
        if (dfo_net_scratch(c.net, 64)) {
            run->arena_size = 16;
            refused(&c, dfo_net_forward(c.net, run, &c.in, out, NULL), DFO_EMEM,
                    "arena is too small");
            run->arena_size = c.t->size[0];
        }
        block = out;
        block.n = 0;
        ck_assert_int_eq(
            dfo_net_forward(c.net, run, &(dfo_cond){.n = c.parts, .part = {{{0}}}}, block, NULL),
            DFO_ESHAPE);
        testrun_reset(c.t);
        in = dfo_cond_rows(&c.in, 0, 0);
        ck_assert_int_eq(dfo_net_forward(c.net, run, &in, block, NULL), DFO_OK);
        dfoi_free(c.ctx, out.x);
        netcase_free(&c);
    }
}
END_TEST

/* ---- memory */

static dfo_status work(dfo_ctx *ctx, void *data)
{
    struct made m;
    dfo_status status = make(ctx, data, 2, 1, &m);
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
    Suite *suite = suite_create("single nets");
    TCase *all = tcase_create("nets");
    tcase_set_timeout(all, 120);
    tcase_add_test(all, values_are_those_of_plain_loops);
    tcase_add_test(all, bad_settings_are_errors_that_name_the_key);
    tcase_add_test(all, a_description_makes_the_same_net);
    tcase_add_test(all, without_inputs_a_net_is_a_constant);
    tcase_add_test(all, weights_start_as_pytorchs);
    tcase_add_test(all, dropout_keeps_the_mean);
    tcase_add_test(all, dropout_masks_are_philox_words);
    tcase_add_test(all, shapes_that_do_not_fit_are_refused);
    tcase_add_test(all, construction_survives_without_memory);
    suite_add_tcase(suite, all);
    return test_run(suite);
}
