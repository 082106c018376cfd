/* Nets of images one by one: values against direct loops over images, channels, taps and pixels;
 * settings and their errors; sizes that do not fit; initial weights; construction without memory.  */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ctx_impl.h"
#include "base/json_impl.h"
#include "math/kern_impl.h"
#include "netcase.h"
#include "oom.h"

#define OK(c, call)                                                                                \
    ck_assert_msg((call) == DFO_OK, "%s: %s: %s", netcase_text(c), #call, (c)->t->run.text)

/* ---- direct loops
 * -------------------------------------------------------------------------------------- */

/* An image in double, and the largest value met on the way to it.  */
struct image {
    size_t c, h, w;
    double *x, size;
};

static struct image image_new(size_t c, size_t h, size_t w)
{
    struct image im = {c, h, w, calloc(c * h * w + 1, sizeof(double)), 1};
    ck_assert_ptr_nonnull(im.x);
    return im;
}

static double *at(const struct image *im, size_t c, size_t y, size_t x)
{
    return &im->x[(c * im->h + y) * im->w + x];
}

static const dfo_real *weight(const netcase *c, const char *name)
{
    char text[96];
    snprintf(text, sizeof text, "net.%s", name);
    const dfo_entry *e = dfo_store_find(c->store, text);
    if (!e)
        return NULL;
    return (e->buffer ? dfo_store_buffers(c->store) : dfo_store_weights(c->store)) + e->offset;
}

static const dfo_real *numbered(const netcase *c, const char *name, size_t l)
{
    char text[32];
    snprintf(text, sizeof text, "%s%zu", name, l);
    return weight(c, text);
}

static double act_of(const char *name, double a)
{
    dfo_real x = (dfo_real)a, y;
    dfoi_vact(dfoi_act_named(name), 1, &x, &y);
    return (double)y;
}

/* Normalisation over channels, pixel by pixel, or with running statistics; activation.  */
static void plain_unit(const netcase *c, size_t l, const json_t *unit, struct image *x)
{
    const char *act = json_string_value(json_object_get(unit, "activation"));
    const char *kind = json_string_value(json_object_get(unit, "norm"));
    int norm = !strcmp(kind, "layer"), batch = !strcmp(kind, "batch");
    const dfo_real *running = numbered(c, "mean", l), *spread = numbered(c, "var", l);
    const dfo_real *scale = numbered(c, "scale", l), *shift = numbered(c, "shift", l);
    for (size_t q = 0; q < x->h * x->w; q++) {
        double mean = 0, var = 0, *p = x->x + q;
        size_t step = x->h * x->w;
        for (size_t k = 0; k < x->c; k++)
            mean += p[k * step] / (double)x->c;
        for (size_t k = 0; k < x->c; k++)
            var += (p[k * step] - mean) * (p[k * step] - mean) / (double)x->c;
        if (norm)
            x->size = fmax(x->size, 1 / sqrt(var + 1e-5));
        for (size_t k = 0; k < x->c; k++) {
            if (batch)
                p[k * step] = (double)scale[k] * (p[k * step] - (double)running[k]) /
                                  sqrt((double)spread[k] + 1e-5) +
                              (double)shift[k];
            if (norm)
                p[k * step] = (double)scale[k] * (p[k * step] - mean) / sqrt(var + 1e-5) +
                              (double)shift[k];
            p[k * step] = act_of(act, p[k * step]);
        }
    }
}

/* Every pair of an input and an output pixel that a tap joins: small = big stride + tap - pad.  */
static struct image plain_conv(const netcase *c, size_t l, const json_t *layer, const struct image *x,
                               size_t channels)
{
    size_t kernel = (size_t)json_integer_value(json_object_get(layer, "kernel"));
    long s = (long)json_integer_value(json_object_get(layer, "stride")), pad = ((long)kernel - 1) / 2;
    int up = json_is_true(json_object_get(layer, "transposed"));
    size_t h = up ? x->h * (size_t)s : (x->h + (size_t)s - 1) / (size_t)s;
    size_t w = up ? x->w * (size_t)s : (x->w + (size_t)s - 1) / (size_t)s;
    struct image y = image_new(channels, h, w);
    const dfo_real *weights = numbered(c, "w", l), *bias = numbered(c, "b", l);
    y.size = x->size;
    for (size_t o = 0; o < channels; o++)
        for (size_t q = 0; bias && q < h * w; q++)
            y.x[o * h * w + q] = (double)bias[o];
    const struct image *few = up ? x : &y, *many = up ? &y : x;
    for (size_t fy = 0; fy < few->h; fy++)
        for (size_t fx = 0; fx < few->w; fx++)
            for (size_t ky = 0; ky < kernel; ky++)
                for (size_t kx = 0; kx < kernel; kx++) {
                    long my = (long)fy * s + (long)ky - pad, mx = (long)fx * s + (long)kx - pad;
                    if (my < 0 || mx < 0 || my >= (long)many->h || mx >= (long)many->w)
                        continue;
                    for (size_t o = 0; o < channels; o++)
                        for (size_t i = 0; i < x->c; i++) {
                            double v = (double)weights[((o * kernel + ky) * kernel + kx) * x->c + i];
                            if (up)
                                *at(&y, o, (size_t)my, (size_t)mx) += v * *at(x, i, fy, fx);
                            else
                                *at(&y, o, fy, fx) += v * *at(x, i, (size_t)my, (size_t)mx);
                        }
                }
    for (size_t q = 0; q < channels * h * w; q++)
        y.size = fmax(y.size, fabs(y.x[q]));
    return y;
}

/* The layer as the list has it; in the short form, put together.  */
static json_t *layer_of(const json_t *config, size_t l, size_t *channels)
{
    const json_t *list = json_object_get(config, "layers");
    json_t *layer = json_object();
    if (list) {
        json_object_update(layer, json_array_get(list, l));
        *channels = (size_t)json_integer_value(json_object_get(layer, "channels"));
        return layer;
    }
    json_object_set(layer, "kernel", json_array_get(json_object_get(config, "kernel"), l));
    json_object_set_new(layer, "stride", json_integer(1));
    *channels = (size_t)json_integer_value(json_array_get(json_object_get(config, "hidden"), l));
    if (l) {
        json_object_set(layer, "activation", json_object_get(config, "activation"));
        json_object_set(layer, "norm", json_object_get(config, "norm"));
    } else {
        json_object_set_new(layer, "activation", json_string("none"));
        json_object_set_new(layer, "norm", json_string("none"));
    }
    return layer;
}

static int is_vector(const netcase *c, size_t p, size_t h, size_t w)
{
    return c->shape[p].h == 1 && c->shape[p].w == 1 && h * w > 1;
}

static struct image read_image(const netcase *c, size_t row, size_t h, size_t w)
{
    size_t channels = 0, first = 0;
    for (size_t p = 0; p < c->parts; p++)
        channels += is_vector(c, p, h, w) ? 0 : c->shape[p].c;
    struct image x = image_new(channels, h, w);
    for (size_t p = 0; p < c->parts; p++)
        for (size_t j = 0; !is_vector(c, p, h, w) && j < dfo_shape_size(c->shape[p]); j++)
            x.x[first++] = (double)dfo_row(c->in.part[p].rows, row)[j];
    return x;
}

static void add_vectors(const netcase *c, size_t row, size_t h, size_t w, struct image *y)
{
    size_t features = 0, f = 0;
    for (size_t p = 0; p < c->parts; p++)
        features += is_vector(c, p, h, w) ? c->shape[p].c : 0;
    for (size_t p = 0; p < c->parts; p++)
        for (size_t j = 0; is_vector(c, p, h, w) && j < c->shape[p].c; j++, f++)
            for (size_t o = 0; o < y->c; o++)
                for (size_t q = 0; q < y->h * y->w; q++)
                    y->x[o * y->h * y->w + q] += (double)weight(c, "vector.w")[o * features + f] *
                                                 (double)dfo_row(c->in.part[p].rows, row)[j];
}

/* Row by row.  */
static void compare(netcase *c, const json_t *config, size_t h, size_t w)
{
    const json_t *list = json_object_get(config, "layers");
    size_t layers = list ? json_array_size(list) : json_array_size(json_object_get(config, "kernel"));
    dfo_block out = netcase_block(c, 0);
    c->t->run.mode = DFO_EVALUATE;
    OK(c, dfo_net_forward(c->net, &c->t->run, &c->in, out, NULL));
    for (size_t i = 0; i < c->n; i++) {
        struct image x = read_image(c, i, h, w);
        for (size_t l = 0; l < layers; l++) {
            size_t channels;
            json_t *layer = layer_of(config, l, &channels);
            plain_unit(c, l, layer, &x);
            struct image y = plain_conv(c, l, layer, &x, l + 1 < layers ? channels : c->net->shape.c);
            if (!l)
                add_vectors(c, i, h, w, &y);
            free(x.x);
            x = y;
            json_decref(layer);
        }
        for (size_t j = 0; j < c->net->out; j++) {
            const dfo_real *s = weight(c, "log_scale");
            double want = x.x[j] * (s ? exp(3 * (double)s[j / (x.h * x.w)]) : 1);
            double got = (double)*netcase_at(out, i, j);
            ck_assert_msg(fabs(got - want) <= 1000 * DFO_REAL_EPS * x.size * x.size,
                          "%s: row %zu, output %zu: %.15g, direct loops %.15g", netcase_text(c), i,
                          j, got, want);
        }
        free(x.x);
    }
    dfoi_free(c->ctx, out.x);
}

static json_t *described(const netcase *c)
{
    json_t *config = json_object();
    ck_assert_int_eq(dfo_net_describe(c->net, config), DFO_OK);
    return config;
}

START_TEST(random_nets_are_direct_loops)
{
    test_rng rng = test_rng_new(test_seed());
    for (size_t k = 0; k < test_times(60); k++) {
        netcase c;
        netcase_new(&c, test_rng_next(&rng) >> 16, "conv", NULL);
        json_t *config = described(&c);
        compare(&c, config, c.shape[0].h, c.shape[0].w);
        json_decref(config);
        netcase_free(&c);
    }
}
END_TEST

/* One convolution of every kernel, stride and direction on images of awkward sizes, one channel and
 * several, one image and more than a block.  */
START_TEST(every_geometry_is_direct_loops)
{
    static const size_t side[][2] = {{1, 1}, {1, 7}, {2, 3}, {5, 4}, {7, 7}, {8, 8}, {13, 70}};
    static const size_t channel[][2] = {{1, 1}, {3, 2}, {2, 5}};
    test_rng rng = test_rng_new(test_seed());
    for (size_t s = 0; s < sizeof side / sizeof side[0]; s++)
        for (size_t kernel = 1; kernel <= 7; kernel += kernel < 5 ? 1 : 2)
            for (size_t stride = 1; stride <= 3; stride++)
                for (int up = 0; up < 2; up++) {
                    char text[200];
                    const size_t *ch = channel[test_rng_between(&rng, 0, 2)];
                    size_t h = side[s][0], w = side[s][1];
                    size_t most = 900 / (h * w) + 1;
                    dfo_shape in = {ch[0], h, w};
                    dfo_shape out = {ch[1], up ? h * stride : (h + stride - 1) / stride,
                                     up ? w * stride : (w + stride - 1) / stride};
                    snprintf(text, sizeof text,
                             "{\"type\":\"conv\",\"layers\":[{\"kernel\":%zu,\"stride\":%zu,"
                             "\"transposed\":%s}]}",
                             kernel, stride, up ? "true" : "false");
                    netcase c;
                    netcase_of(&c, test_rng_next(&rng) >> 16, text,
                               test_rng_between(&rng, 1, most < 40 ? most : 40), 1, &in, out);
                    json_t *config = described(&c);
                    compare(&c, config, h, w);
                    json_decref(config);
                    netcase_free(&c);
                }
}
END_TEST

/* ---- batch normalisation
 * ------------------------------------------------------------------------------- */

static double sum_of(const netcase *c, size_t channel, size_t plane, double minus, int power)
{
    double sum = 0;
    for (size_t i = 0; i < c->n; i++)
        for (size_t q = 0; q < plane; q++)
            sum += pow((double)dfo_row(c->in.part[0].rows, i)[channel * plane + q] - minus, power);
    return sum;
}

/* In training: y = scale (x - mean) / sqrt(var + 1e-5) + shift with mean and variance of all rows and
 * pixels; backward adds them, weighted, to the statistics, twice if called twice; update moves the
 * running ones by a tenth.  In evaluation nothing is added.  */
START_TEST(batch_statistics_are_those_of_the_rows)
{
    test_rng rng = test_rng_new(test_seed());
    for (size_t k = 0; k < test_times(10); k++) {
        netcase c;
        dfo_shape in = {test_rng_between(&rng, 1, 5), test_rng_between(&rng, 1, 9),
                        test_rng_between(&rng, 1, 9)};
        size_t plane = in.h * in.w;
        netcase_of(&c, test_rng_next(&rng) >> 16,
                   "{\"type\":\"conv\",\"layers\":[{\"norm\":\"batch\",\"kernel\":1,\"bias\":false}]}",
                   test_rng_between(&rng, 4, 40), 1, &in, in);
        dfo_run *run = &c.t->run;
        double count = (double)(c.n * plane);
        dfo_real *w = dfo_store_weights(c.store) + dfo_store_find(c.store, "net.w0")->offset;
        const dfo_real *scale = numbered(&c, "scale", 0), *shift = numbered(&c, "shift", 0);
        for (size_t i = 0; i < in.c * in.c; i++)
            w[i] = i % (in.c + 1) == 0; /* the convolution changes nothing */
        dfo_block out = netcase_block(&c, 0), gout = netcase_block(&c, 5);
        run->mode = DFO_TRAIN;
        OK(&c, dfo_net_forward(c.net, run, &c.in, out, c.acts));
        for (int twice = 0; twice < 2; twice++)
            OK(&c, dfo_net_backward(c.net, run, &c.in, gout, NULL, c.acts));
        run->mode = DFO_EVALUATE;
        OK(&c, dfo_net_forward(c.net, run, &c.in, gout, c.acts));
        OK(&c, dfo_net_backward(c.net, run, &c.in, gout, NULL, c.acts));
        double before[2 * 5];
        for (size_t ch = 0; ch < in.c; ch++) {
            before[ch] = (double)numbered(&c, "mean", 0)[ch];
            before[5 + ch] = (double)numbered(&c, "var", 0)[ch];
        }
        OK(&c, dfo_net_update(c.net, run));
        for (size_t ch = 0; ch < in.c; ch++) {
            double mean = sum_of(&c, ch, plane, 0, 1) / count;
            double squares = sum_of(&c, ch, plane, mean, 2);
            double r = 1 / sqrt(squares / count + 1e-5);
            for (size_t i = 0; i < c.n; i++)
                for (size_t q = 0; q < plane; q++) {
                    double x = (double)dfo_row(c.in.part[0].rows, i)[ch * plane + q];
                    double want = (double)scale[ch] * (x - mean) * r + (double)shift[ch];
                    double got = (double)*netcase_at(out, i, ch * plane + q);
                    ck_assert_msg(fabs(got - want) <= 100 * DFO_REAL_EPS * (1 + r),
                                  "%s: %.15g, expected %.15g", netcase_text(&c), got, want);
                }
            double new_mean = 0.9 * before[ch] + 0.1 * mean;
            double new_var = 0.9 * before[5 + ch] + 0.1 * squares / (count - 1);
            ck_assert_msg(fabs((double)numbered(&c, "mean", 0)[ch] - new_mean) <=
                                  100 * DFO_REAL_EPS &&
                              fabs((double)numbered(&c, "var", 0)[ch] - new_var) <=
                                  100 * DFO_REAL_EPS * new_var,
                          "%s: running mean %g, expected %g; var %g, expected %g", netcase_text(&c),
                          (double)numbered(&c, "mean", 0)[ch], new_mean,
                          (double)numbered(&c, "var", 0)[ch], new_var);
        }
        dfoi_free(c.ctx, out.x);
        dfoi_free(c.ctx, gout.x);
        netcase_free(&c);
    }
}
END_TEST

/* ---- settings
 * ---------------------------------------------------------------------------------------- */

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
     "conv net: norm must be \"none\", \"layer\" or \"batch\", got \"instance\""},
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
    {"{\"type\":\"conv\",\"layers\":[{\"bais\":true}]}",
     "conv net: layers[0]: unknown key 'bais'"},
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
     "{\"type\":\"conv\",\"layers\":[{\"channels\":3,\"kernel\":3,\"stride\":2,\"transposed\":false,"
     "\"bias\":true,\"activation\":\"none\",\"dropout\":0.0,\"norm\":\"layer\"},{\"kernel\":4,"
     "\"stride\":2,\"transposed\":true,\"bias\":false,\"activation\":\"relu\",\"dropout\":0.25,"
     "\"norm\":\"none\"}],\"last_scale\":false,\"last_init\":0.0}"},
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
    Suite *suite = suite_create("nets of images");
    TCase *all = tcase_create("nets");
    tcase_add_test(all, random_nets_are_direct_loops);
    tcase_add_test(all, every_geometry_is_direct_loops);
    tcase_add_test(all, batch_statistics_are_those_of_the_rows);
    tcase_add_test(all, bad_settings_are_errors_that_name_the_key);
    tcase_add_test(all, sizes_that_do_not_fit_are_errors);
    tcase_add_test(all, a_description_makes_the_same_net);
    tcase_add_test(all, weights_start_as_pytorchs);
    tcase_add_test(all, construction_survives_without_memory);
    suite_add_tcase(suite, all);
    return test_run(suite);
}
