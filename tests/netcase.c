/* See netcase.h.  */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ctx_impl.h"
#include "base/json_impl.h"
#include "math/kern_impl.h"
#include "netcase.h"

static void must(const netcase *c, dfo_status status, const char *what)
{
    if (status != DFO_OK)
        ck_abort_msg("%s: %s: %s; run: %s", what, dfo_status_text(status), dfo_ctx_error(c->ctx),
                     c->t ? c->t->run.text : "");
}

static size_t width(test_rng *rng)
{
    return test_rng_between(rng, 0, 9) ? test_rng_between(rng, 1, 20)
                                       : test_rng_between(rng, 60, 140);
}

/* Layers of a chain of convolutions, their strides in pairs: down, then up again.  At least three
 * channels: normalisation of fewer takes all that depends on the input away, up to rounding.  */
static json_t *conv_layers(test_rng *rng)
{
    json_t *list = json_array();
    size_t n = test_rng_between(rng, 1, 4), step = test_rng_between(rng, 1, 3), down = 1;
    for (size_t l = 0; l < n; l++) {
        int up = down > 1 && (l + 1 == n || test_rng_between(rng, 0, 1));
        int go_down = down == 1 && l + 1 < n && test_rng_between(rng, 0, 1);
        size_t stride = up || go_down ? step : 1;
        json_t *layer = json_object();
        if (l + 1 < n)
            json_object_set_new(layer, "channels",
                                json_integer((json_int_t)test_rng_between(rng, 3, 9)));
        json_object_set_new(layer, "kernel", json_integer((json_int_t)test_rng_between(rng, 1, 4)));
        json_object_set_new(layer, "stride", json_integer((json_int_t)stride));
        json_object_set_new(layer, "transposed",
                            json_boolean(up || (stride == 1 && !test_rng_between(rng, 0, 2))));
        json_object_set_new(layer, "bias", json_boolean(test_rng_between(rng, 0, 3) > 0));
        if (!l && test_rng_between(rng, 0, 1))
            json_object_set_new(layer, "activation", json_string("silu"));
        if (!test_rng_between(rng, 0, 2))
            json_object_set_new(layer, "norm",
                                json_string(test_rng_between(rng, 0, 1) ? "layer" : "batch"));
        down = up ? 1 : go_down ? step : down;
        json_array_append_new(list, layer);
    }
    return list;
}

/* 3x3 kernels between many channels (conv_winograd.c, on images of wide_images).  */
static json_t *wide_layers(test_rng *rng)
{
    json_t *list = json_array();
    for (size_t l = test_rng_between(rng, 2, 3); l > 0; l--) {
        json_t *layer = json_pack("{s:i, s:b}", "kernel", 3, "bias", test_rng_between(rng, 0, 3) > 0);
        if (l > 1)
            json_object_set_new(layer, "channels", json_integer((json_int_t)test_rng_between(rng, 16, 36)));
        json_array_append_new(list, layer);
    }
    return list;
}

static void conv_config(test_rng *rng, json_t *o)
{
    static const char *const norm[] = {"none", "none", "layer", "batch"};
    json_object_set_new(o, "norm", json_string(norm[test_rng_between(rng, 0, 3)]));
    if (!test_rng_between(rng, 0, 4)) {
        json_object_set_new(o, "layers", wide_layers(rng));
    } else if (test_rng_between(rng, 0, 2)) {
        json_object_set_new(o, "layers", conv_layers(rng));
    } else if (test_rng_between(rng, 0, 2)) {
        json_object_set_new(o, "hidden", json_integer((json_int_t)test_rng_between(rng, 3, 20)));
    } else {
        json_t *hidden = json_array();
        for (size_t l = test_rng_between(rng, 0, 3); l > 0; l--)
            json_array_append_new(hidden, json_integer((json_int_t)test_rng_between(rng, 3, 20)));
        json_object_set_new(o, "hidden", hidden);
        json_object_set_new(o, "kernel", json_integer((json_int_t)test_rng_between(rng, 1, 3)));
    }
    if (test_rng_between(rng, 0, 1))
        json_object_set_new(o, "last_scale", json_boolean(test_rng_between(rng, 0, 1)));
}

/* An embedding of time, condition and class; of low frequencies, so that central differences see it.  */
static void time_config(test_rng *rng, json_t *o)
{
    size_t embedding = test_rng_between(rng, 0, 12);
    json_object_set_new(o, "frequencies", json_integer((json_int_t)test_rng_between(rng, 1, 8)));
    json_object_set_new(o, "most", json_real(0.3));
    json_object_set_new(o, "embedding", json_integer((json_int_t)embedding));
    if (embedding && test_rng_between(rng, 0, 1))
        json_object_set_new(o, "classes", json_integer((json_int_t)test_rng_between(rng, 1, 5)));
}

/* Groups of three channels at least, as above.  */
static void unet_config(test_rng *rng, json_t *o)
{
    size_t groups = test_rng_between(rng, 1, 3), levels = test_rng_between(rng, 1, 3);
    json_t *channels = json_array();
    int wide = !test_rng_between(rng, 0, 4);
    for (size_t l = 0; l < levels; l++)
        json_array_append_new(channels, json_integer((json_int_t)(groups * (wide ? 18 / groups : test_rng_between(rng, 3, 5)))));
    json_object_set_new(o, "channels", channels);
    json_object_set_new(o, "blocks", json_integer((json_int_t)test_rng_between(rng, 1, 2)));
    json_object_set_new(o, "groups", json_integer((json_int_t)groups));
    json_object_set_new(o, "norm", json_string(test_rng_between(rng, 0, 2) ? "group" : "none"));
    json_object_set_new(o, "attention", json_boolean(test_rng_between(rng, 0, 1)));
}

/* Nets whose last input is the time (squash.c).  */
static int with_time(const char *type)
{
    return !strcmp(type, "concatsquash") || !strcmp(type, "concat") || !strcmp(type, "hyper");
}

static json_t *make_config(test_rng *rng, const char *type, const char *activation)
{
    static const double dropout[] = {0, 0, 0.25, 0.5};
    json_t *o = json_object();
    json_object_set_new(o, "type", json_string(type));
    if (!strcmp(type, "constant"))
        return o;
    if (!strcmp(type, "kernel")) {
        static const char *const kernel[] = {"squared-exponential", "matern12", "matern32", "matern52"};
        json_object_set_new(o, "kernel", json_string(kernel[test_rng_between(rng, 0, 3)]));
        json_object_set_new(o, "points", json_integer((json_int_t)width(rng)));
        return o;
    }
    if (!activation)
        activation = dfoi_act_name((dfoi_act)test_rng_between(rng, 0, DFOI_ACT_COUNT - 1));
    json_object_set_new(o, "activation", json_string(activation));
    if (with_time(type)) {
        json_object_set_new(o, "hidden", json_integer((json_int_t)width(rng)));
        json_object_set_new(o, "layers", json_integer((json_int_t)test_rng_between(rng, 0, 3)));
        return o;
    }
    if (!strcmp(type, "time-mlp") || !strcmp(type, "unet"))
        time_config(rng, o);
    if (!strcmp(type, "unet")) {
        unet_config(rng, o);
        return o;
    }
    json_object_set_new(o, "dropout", json_real(dropout[test_rng_between(rng, 0, 3)]));
    json_object_set_new(o, "last_init", json_real(test_rng_between(rng, 0, 1) ? 1e-3 : 0));
    if (!strcmp(type, "conv")) {
        conv_config(rng, o);
    } else if (!strcmp(type, "residual-conv")) {
        static const char *const norm[] = {"none", "none", "layer", "batch"};
        int wide = !test_rng_between(rng, 0, 4);
        json_object_set_new(o, "hidden", json_integer((json_int_t)(wide ? test_rng_between(rng, 24, 36) : test_rng_between(rng, 3, 20))));
        json_object_set_new(o, "blocks", json_integer((json_int_t)test_rng_between(rng, 0, wide ? 2 : 3)));
        json_object_set_new(o, "first_kernel",
                            json_integer((json_int_t)test_rng_between(rng, 1, 3)));
        json_object_set_new(o, "norm", json_string(norm[test_rng_between(rng, 0, 3)]));
        json_object_set_new(o, "context",
                            json_string(test_rng_between(rng, 0, 1) ? "gate" : "concat"));
    } else if (!strcmp(type, "time-mlp")) {
        json_object_set_new(o, "hidden", json_integer((json_int_t)width(rng)));
        json_object_set_new(o, "layers", json_integer((json_int_t)test_rng_between(rng, 0, 3)));
        json_object_set_new(o, "inject", json_string(test_rng_between(rng, 0, 1) ? "first" : "layers"));
    } else if (!strcmp(type, "mlp") || (!strcmp(type, "made") && test_rng_between(rng, 0, 1))) {
        json_t *hidden = json_array();
        for (size_t l = test_rng_between(rng, 0, 3); l > 0; l--)
            json_array_append_new(hidden, json_integer((json_int_t)width(rng)));
        json_object_set_new(o, "hidden", hidden);
    } else {
        json_object_set_new(o, "hidden", json_integer((json_int_t)width(rng)));
        json_object_set_new(o, "blocks", json_integer((json_int_t)test_rng_between(rng, 0, 3)));
        if (!strcmp(type, "made"))
            json_object_set_new(o, "residual", json_true());
        else
            json_object_set_new(o, "norm", json_string(test_rng_between(rng, 0, 2) ? "none" : "layer"));
        json_object_set_new(o, "context",
                            json_string(test_rng_between(rng, 0, 1) ? "gate" : "concat"));
    }
    return o;
}

/* Matrices of size about 1/sqrt(in), vectors about 1; no numbers between the arrays, where nobody may read.  */
static void draw_weights(netcase *c)
{
    for (size_t i = 0; i < dfo_store_weights_size(c->store); i++)
        dfo_store_weights(c->store)[i] = (dfo_real)NAN;
    for (size_t e = 0; e < dfo_store_entries(c->store); e++) {
        const dfo_entry *entry = dfo_store_entry(c->store, e);
        dfo_real *w = (entry->buffer ? dfo_store_buffers(c->store) : dfo_store_weights(c->store)) +
                      entry->offset;
        dfo_key key = {.seed = c->seed, .row = e, .purpose = DFO_FOR_TEST};
        double fan = (double)entry->count / (double)entry->shape[0];
        double scale = entry->ndim > 1 ? 1 / sqrt(fan) : strstr(entry->name, "log") ? 0.1 : 0.7;
        dfo_draw_real_normal(key, entry->count, w);
        for (size_t i = 0; i < entry->count; i++)
            w[i] = (dfo_real)(scale * (double)w[i]);
        for (size_t i = 0; entry->buffer && strstr(entry->name, "var") && i < entry->count; i++)
            w[i] = (dfo_real)0.5 + w[i] * w[i];
    }
}

/* Is it one of 3x3 kernels between many channels?  */
static int is_wide(const json_t *config)
{
    const json_t *layer = json_array_get(json_object_get(config, "layers"), 0), *level = json_array_get(json_object_get(config, "channels"), 0);
    return json_integer_value(json_object_get(layer, "channels")) >= 16 || json_integer_value(level) >= 16 ||
           (json_object_get(config, "first_kernel") && json_integer_value(json_object_get(config, "hidden")) >= 24);
}

/* Images of even sides, of U-nets multiples of four, large enough for tiles of conv_winograd.c, few in a block or more.  */
static void wide_images(netcase *c, test_rng *rng, const json_t *config, dfo_shape *out)
{
    static const size_t side[][2] = {{12, 12}, {4, 36}, {14, 12}, {2, 74}, {16, 10}, {18, 18}};
    const size_t *s = side[test_rng_between(rng, 0, json_object_get(config, "groups") ? 1 : sizeof side / sizeof side[0] - 1)];
    c->n = test_rng_between(rng, strstr(json_string_value(json_object_get(config, "norm")), "batch") ? 4 : 1, 5);
    c->parts = 1;
    c->shape[0] = (dfo_shape){test_rng_between(rng, 3, 20), s[0], s[1]};
    *out = (dfo_shape){test_rng_between(rng, 1, 20), s[0], s[1]};
}

/* Few images of few pixels: some parts are images, some vectors; sides are multiples of strides. */
static void make_images(netcase *c, test_rng *rng, const json_t *config, dfo_shape *out)
{
    size_t stride = 1, layer;
    const json_t *l;
    if (is_wide(config)) {
        wide_images(c, rng, config, out);
        return;
    }
    json_array_foreach(json_object_get(config, "layers"), layer, l)
    {
        size_t s = (size_t)json_integer_value(json_object_get(l, "stride"));
        stride = s > stride ? s : stride;
    }
    for (size_t level = 1; level < json_array_size(json_object_get(config, "channels")); level++)
        stride *= 2;
    size_t h = stride * test_rng_between(rng, 1, 9 / stride);
    size_t w = stride * test_rng_between(rng, 1, 9 / stride);
    char *text = json_dumps(config, 0);
    size_t least =
        strstr(text, "batch") ? 4 : 1; /* statistics of fewer numbers are rounding errors */
    free(text);
    c->n = test_rng_between(rng, 0, 3) ? test_rng_between(rng, least, 12) : least;
    for (size_t p = 0; p < c->parts; p++)
        c->shape[p] = !p || test_rng_between(rng, 0, 1)
                          ? (dfo_shape){test_rng_between(rng, p ? 0 : 3, 6), h, w}
                          : dfo_shape_vector(test_rng_between(rng, 0, 5));
    *out = (dfo_shape){test_rng_between(rng, 1, 9), h, w};
}

/* Nets with a time: two parts at least, or three with a class; the last ones are of one number.  */
static void make_time(netcase *c)
{
    size_t own = c->classes ? 2 : 1;
    c->parts = c->parts > own ? c->parts : own + 1;
    for (size_t p = c->parts - own; p < c->parts; p++)
        c->shape[p] = dfo_shape_vector(1);
    }

/* Classes are whole numbers, and not moved.  */
static void draw_classes(netcase *c, test_rng *rng)
{
    for (size_t i = 0; c->classes && i < c->n; i++)
        dfo_row(c->in.part[c->parts - 2].rows, i)[0] = (dfo_real)test_rng_between(rng, 0, c->classes);
}

/* Now and then all rows have one time, as in solves of common steps, or one that does not move.  */
static void draw_times(netcase *c, test_rng *rng)
{
    size_t p = c->parts, one = test_rng_between(rng, 0, 1), still = test_rng_between(rng, 0, 1);
    while (p && !dfo_shape_size(c->shape[p - 1]))
        p--;
    for (size_t i = 0; p && with_time(c->net->ops->type) && i < c->n; i++) {
        size_t last = c->in.part[p - 1].rows.d - 1;
        if (one)
            dfo_row(c->in.part[p - 1].rows, i)[last] = dfo_row(c->in.part[p - 1].rows, 0)[last];
        if (still)
            dfo_row(c->din.part[p - 1].rows, i)[last] = 0;
    }
}

static void finish(netcase *c, test_rng *rng, json_t *config, dfo_shape out)
{
    dfo_build build = {.ctx = c->ctx, .store = c->store, .seed = c->seed, .path = "net"};
    must(c, dfo_net_new(&build, config, c->parts, c->shape, out, 0, &c->net), "net");
    must(c, dfoi_json_dump(c->ctx, config, JSON_COMPACT, &c->config), "text");
    json_decref(config);
    draw_weights(c);
    dfo_need need = {.rows = c->n,
                     .scratch = dfo_net_scratch(c->net, c->n),
                     .gderived = dfo_net_statistics(c->net)};
    must(c, testrun_new(c->ctx, c->store, &need, &c->t), "run");
    c->t->run.key = (dfo_key){.seed = c->seed, .row = test_rng_between(rng, 0, 1000000), .step = 3};
    c->t->run.mode = test_rng_between(rng, 0, 1) ? DFO_TRAIN : DFO_EVALUATE;
    c->size = 2 * dfo_net_acts(c->net, c->n);
    must(c, dfoi_alloc(c->ctx, c->size, sizeof *c->acts, &c->acts), "acts");
    c->in = netcase_cond(c, c->seed + 1, test_rng_between(rng, 0, 3));
    draw_classes(c, rng);
    c->din = netcase_cond(c, c->seed + 2, test_rng_between(rng, 0, 3));
    draw_times(c, rng);
}

static void begin(netcase *c, uint64_t seed)
{
    memset(c, 0, sizeof *c);
    c->seed = seed;
    must(c, dfo_ctx_new(&c->ctx), "context");
    must(c, dfo_store_new(c->ctx, &c->store), "store");
}

void netcase_new(netcase *c, uint64_t seed, const char *type, const char *activation)
{
    test_rng rng = test_rng_new(seed);
    begin(c, seed);
    c->n = test_rng_between(&rng, 0, 3) ? test_rng_between(&rng, 1, DFO_NET_ROWS)
                                        : test_rng_between(&rng, 1, 2);
    c->parts = test_rng_between(&rng, 1, DFO_COND_PARTS);
    size_t least = with_time(type) ? 2 : 1;          /* they want a feature beside the time */
    for (size_t p = 0; p < c->parts; p++)
        c->shape[p] = dfo_shape_vector(test_rng_between(&rng, p == 0 ? least : 0, 9));
    json_t *config = make_config(&rng, type, activation);
    dfo_shape out = dfo_shape_vector(width(&rng));
    c->classes = (size_t)json_integer_value(json_object_get(config, "classes"));
    if (strstr(type, "conv") || !strcmp(type, "unet"))
        make_images(c, &rng, config, &out);
    if (json_object_get(config, "most"))
        make_time(c);
    if (!strcmp(type, "made")) {                     /* the last part holds columns, the outputs are some for each */
        c->shape[c->parts - 1] = dfo_shape_vector(test_rng_between(&rng, 1, 9));
        out = dfo_shape_vector(c->shape[c->parts - 1].c * test_rng_between(&rng, 1, 9));
    }
    finish(c, &rng, config, out);
}

void netcase_of(netcase *c, uint64_t seed, const char *text, size_t n, size_t parts,
                const dfo_shape *shape, dfo_shape out)
{
    test_rng rng = test_rng_new(seed);
    json_t *config;
    begin(c, seed);
    must(c, dfoi_json_parse(c->ctx, text, strlen(text), "test", &config), "configuration");
    c->classes = (size_t)json_integer_value(json_object_get(config, "classes"));
    c->n = n;
    c->parts = parts;
    for (size_t p = 0; p < parts; p++)
        c->shape[p] = shape[p];
    finish(c, &rng, config, out);
}

void netcase_free(netcase *c)
{
    netcase_cond_free(c, &c->in);
    netcase_cond_free(c, &c->din);
    dfoi_free(c->ctx, c->acts);
    dfoi_free(c->ctx, c->config);
    testrun_free(c->t);
    dfo_net_free(c->net);
    dfo_store_free(c->store);
    ck_assert_uint_eq(dfo_ctx_bytes(c->ctx), 0);
    dfo_ctx_free(c->ctx);
}

/* Reals that a block of the case takes: whole panels of a dense net, n rows of images.  */
static size_t block_size(const netcase *c, dfo_block block)
{
    return block.layout == DFO_FEATURES ? (c->n + 63) / 64 * 64 * block.d : c->n * block.ld;
}

dfo_block netcase_block(netcase *c, uint64_t seed)
{
    dfo_block block = {.n = c->n, .d = c->net->out, .ld = 64, .layout = c->net->ops->layout};
    if (block.layout == DFO_ROWS)
        block.ld = block.d + 3;
    must(c, dfoi_alloc(c->ctx, block_size(c, block), sizeof *block.x, &block.x), "block");
    for (size_t j = 0; seed && j < block.d; j++) {
        dfo_key key = {.seed = seed, .row = j, .purpose = DFO_FOR_TEST};
        dfo_real column[DFO_NET_ROWS];
        dfo_draw_real_normal(key, c->n, column);
        for (size_t i = 0; i < c->n; i++)
            *netcase_at(block, i, j) = column[i];
    }
    return block;
}

dfo_real *netcase_at(dfo_block block, size_t i, size_t j)
{
    return block.x +
           (block.layout == DFO_FEATURES ? (i / 64 * block.d + j) * 64 + i % 64 : i * block.ld + j);
}

void netcase_copy_block(const netcase *c, dfo_block to, dfo_block from)
{
    memcpy(to.x, from.x, block_size(c, from) * sizeof *to.x);
}

dfo_cond netcase_cond(netcase *c, uint64_t seed, size_t pad)
{
    dfo_cond cond = {.n = c->parts};
    for (size_t p = 0; p < c->parts; p++) {
        size_t d = dfo_shape_size(c->shape[p]), ld = d + pad;
        dfo_key key = {.seed = seed, .row = p, .purpose = DFO_FOR_TEST};
        dfo_real *x;
        must(c, dfoi_alloc(c->ctx, c->n * ld, sizeof *x, &x), "rows");
        if (seed && !(c->classes && p + 2 == c->parts))
            dfo_draw_real_normal(key, c->n * ld, x);
        cond.part[p].rows = (dfo_batch){x, c->n, d, ld};
        cond.part[p].shape = c->shape[p];
    }
    return cond;
}

void netcase_cond_free(netcase *c, dfo_cond *cond)
{
    for (size_t p = 0; p < cond->n; p++)
        dfoi_free(c->ctx, cond->part[p].rows.x);
    cond->n = 0;
}

double netcase_dot_cond(const netcase *c, const dfo_cond *x, const dfo_cond *y, double *size)
{
    double sum = 0;
    for (size_t p = 0; p < c->parts; p++) {
        dfo_batch a = x->part[p].rows, b = y->part[p].rows;
        for (size_t i = 0; a.x && b.x && i < c->n; i++)
            for (size_t j = 0; j < a.d; j++) {
                double term = (double)dfo_row(a, i)[j] * (double)dfo_row(b, i)[j];
                sum += term;
                *size += fabs(term);
            }
    }
    return sum;
}

double netcase_dot_block(dfo_block x, dfo_block y, double *size)
{
    double sum = 0;
    for (size_t j = 0; j < x.d; j++)
        for (size_t i = 0; i < x.n; i++) {
            double term = (double)*netcase_at(x, i, j) * (double)*netcase_at(y, i, j);
            sum += term;
            *size += fabs(term);
        }
    return sum;
}

const char *netcase_text(const netcase *c)
{
    static char text[1024];
    int used =
        snprintf(text, sizeof text, "seed %llu, n %zu, mode %d, %s, out %zu, parts",
                 (unsigned long long)c->seed, c->n, (int)c->t->run.mode, c->config, c->net->out);
    for (size_t p = 0; p < c->parts && used > 0 && (size_t)used < sizeof text; p++)
        used += snprintf(text + used, sizeof text - (size_t)used, " %zux%zux%zu", c->shape[p].c,
                         c->shape[p].h, c->shape[p].w);
    return text;
}
