/* Nets of images, values: against direct loops over images, channels, taps and pixels; batch
 * normalisation's statistics.  */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ctx_impl.h"
#include "base/json_impl.h"
#include "math/kern_impl.h"
#include "netcase.h"

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

static const dfo_real *numbered(const netcase *c, const char *prefix, const char *name, size_t l)
{
    char text[64];
    snprintf(text, sizeof text, "%s%s%zu", prefix, name, l);
    return weight(c, text);
}

static double act_of(const char *name, double a)
{
    dfo_real x = (dfo_real)a, y;
    dfoi_vact(dfoi_act_named(name), 1, &x, &y);
    return (double)y;
}

/* Normalisation over channels, pixel by pixel, or with running statistics; activation.  */
static void plain_unit(const netcase *c, const char *prefix, size_t l, const json_t *unit,
                       struct image *x)
{
    const char *act = json_string_value(json_object_get(unit, "activation"));
    const char *kind = json_string_value(json_object_get(unit, "norm"));
    int norm = !strcmp(kind, "layer"), batch = !strcmp(kind, "batch");
    const dfo_real *running = numbered(c, prefix, "mean", l),
                   *spread = numbered(c, prefix, "var", l);
    const dfo_real *scale = numbered(c, prefix, "scale", l),
                   *shift = numbered(c, prefix, "shift", l);
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
                p[k * step] =
                    (double)scale[k] * (p[k * step] - mean) / sqrt(var + 1e-5) + (double)shift[k];
            p[k * step] = act_of(act, p[k * step]);
        }
    }
}

/* Every pair of an input and an output pixel that a tap joins: small = big stride + tap - pad.  */
static struct image plain_conv(const dfo_real *weights, const dfo_real *bias, size_t kernel, long s,
                               int up, const struct image *x, size_t channels)
{
    long pad = ((long)kernel - 1) / 2;
    size_t h = up ? x->h * (size_t)s : (x->h + (size_t)s - 1) / (size_t)s;
    size_t w = up ? x->w * (size_t)s : (x->w + (size_t)s - 1) / (size_t)s;
    struct image y = image_new(channels, h, w);
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
                            double v =
                                (double)weights[((o * kernel + ky) * kernel + kx) * x->c + i];
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

static void add_vectors(const netcase *c, const char *name, size_t from, size_t row,
                        struct image *y)
{
    size_t features = 0, f = 0, h = c->shape[0].h, w = c->shape[0].w;
    for (size_t p = from; p < c->parts; p++)
        features += is_vector(c, p, h, w) ? c->shape[p].c : 0;
    for (size_t p = from; p < c->parts; p++)
        for (size_t j = 0; is_vector(c, p, h, w) && j < c->shape[p].c; j++, f++)
            for (size_t o = 0; o < y->c; o++)
                for (size_t q = 0; q < y->h * y->w; q++)
                    y->x[o * y->h * y->w + q] += (double)weight(c, name)[o * features + f] *
                                                 (double)dfo_row(c->in.part[p].rows, row)[j];
}

static struct image plain_chain(const netcase *c, const json_t *config, struct image x, size_t row)
{
    const json_t *list = json_object_get(config, "layers");
    size_t layers =
        list ? json_array_size(list) : json_array_size(json_object_get(config, "kernel"));
    for (size_t l = 0; l < layers; l++) {
        size_t channels;
        json_t *layer = layer_of(config, l, &channels);
        plain_unit(c, "", l, layer, &x);
        struct image y = plain_conv(numbered(c, "", "w", l), numbered(c, "", "b", l),
                                    (size_t)json_integer_value(json_object_get(layer, "kernel")),
                                    (long)json_integer_value(json_object_get(layer, "stride")),
                                    json_is_true(json_object_get(layer, "transposed")), &x,
                                    l + 1 < layers ? channels : c->net->shape.c);
        if (!l)
            add_vectors(c, "vector.w", 0, row, &y);
        free(x.x);
        x = y;
        json_decref(layer);
    }
    const dfo_real *s = weight(c, "log_scale");
    for (size_t j = 0; s && j < x.c * x.h * x.w; j++)
        x.x[j] *= exp(3 * (double)s[j / (x.h * x.w)]);
    return x;
}

static struct image copy_of(const struct image *x, size_t from)
{
    struct image y = image_new(x->c - from, x->h, x->w);
    memcpy(y.x, x->x + from * x->h * x->w, y.c * y.h * y.w * sizeof *y.x);
    y.size = x->size;
    return y;
}

static void plain_block(const netcase *c, const json_t *config, const char *prefix, size_t row,
                        const struct image *all, struct image *s)
{
    struct image x = copy_of(s, 0), y;
    int gate = !strcmp(json_string_value(json_object_get(config, "context")), "gate");
    for (size_t u = 0; u < 2; u++, x = y) {
        plain_unit(c, prefix, u, config, &x);
        y = plain_conv(numbered(c, prefix, "w", u), numbered(c, prefix, "b", u), 3, 1, 0, &x, s->c);
        free(x.x);
    }
    char w[64], b[64], v[64];
    snprintf(w, sizeof w, "%sgate_w", prefix);
    snprintf(b, sizeof b, "%sgate_b", prefix);
    snprintf(v, sizeof v, "%sgate.vector.w", prefix);
    gate = gate && weight(c, b);
    struct image context = copy_of(all, gate ? c->shape[0].c : 0);
    struct image q = gate ? plain_conv(weight(c, w), weight(c, b), 1, 1, 0, &context, s->c)
                          : image_new(s->c, s->h, s->w);
    if (gate)
        add_vectors(c, v, 1, row, &q);
    for (size_t i = 0; i < s->c * s->h * s->w; i++)
        s->x[i] += gate ? x.x[i] / (1 + exp(-q.x[i])) : x.x[i];
    s->size = fmax(s->size, x.size);
    free(x.x);
    free(q.x);
    free(context.x);
}

static struct image plain_residual(const netcase *c, const json_t *config, struct image x,
                                   size_t row)
{
    size_t kernel = (size_t)json_integer_value(json_object_get(config, "first_kernel"));
    size_t hidden = (size_t)json_integer_value(json_object_get(config, "hidden"));
    struct image s =
        plain_conv(weight(c, "first.w"), weight(c, "first.b"), kernel, 1, 0, &x, hidden);
    add_vectors(c, "first.vector.w", 0, row, &s);
    for (long k = 0; k < (long)json_integer_value(json_object_get(config, "blocks")); k++) {
        char prefix[32];
        snprintf(prefix, sizeof prefix, "block%ld.", k);
        plain_block(c, config, prefix, row, &x, &s);
    }
    struct image y =
        plain_conv(weight(c, "last.w"), weight(c, "last.b"), 1, 1, 0, &s, c->net->shape.c);
    free(x.x);
    free(s.x);
    return y;
}

/* Row by row.  */
static void compare(netcase *c, const json_t *config, size_t h, size_t w)
{
    int residual = !strcmp(c->net->ops->type, "residual-conv");
    dfo_block out = netcase_block(c, 0);
    c->t->run.mode = DFO_EVALUATE;
    OK(c, dfo_net_forward(c->net, &c->t->run, &c->in, out, NULL));
    for (size_t i = 0; i < c->n; i++) {
        struct image x = read_image(c, i, h, w);
        x = residual ? plain_residual(c, config, x, i) : plain_chain(c, config, x, i);
        for (size_t j = 0; j < c->net->out; j++) {
            double want = x.x[j], got = (double)*netcase_at(out, i, j);
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
    for (size_t k = 0; k < test_times(80); k++) {
        netcase c;
        netcase_new(&c, test_rng_next(&rng) >> 16, k % 2 ? "conv" : "residual-conv", NULL);
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

/* 3x3 kernels of many channels and more pixels: conv_winograd.c.  Sides that cut tiles and panels in all ways, one image and more than
 * a block.  */
START_TEST(tiles_are_direct_loops)
{
    static const size_t side[][2] = {{12, 12}, {14, 14}, {2, 74}, {74, 2}, {4, 36}, {32, 6}, {28, 28}, {16, 10}, {6, 130}};
    test_rng rng = test_rng_new(test_seed());
    for (size_t s = 0; s < sizeof side / sizeof side[0]; s++) {
        static const char text[] = "{\"type\":\"conv\",\"activation\":\"leaky-relu\",\"layers\":[{\"kernel\":3,\"channels\":20},{\"kernel\":3}]}";
        dfo_shape in = {test_rng_between(&rng, 15, 40), side[s][0], side[s][1]}, out = in;
        out.c = test_rng_between(&rng, 15, 40);
        netcase c;
        netcase_of(&c, test_rng_next(&rng) >> 16, text, test_rng_between(&rng, 1, 6), 1, &in, out);
        json_t *config = described(&c);
        compare(&c, config, in.h, in.w);
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

/* In training: y = scale (x - mean) / sqrt(var + 1e-5) + shift with mean and variance of all rows
 * and pixels; backward adds them, weighted, to the statistics, twice if called twice; update moves
 * the running ones by a tenth.  In evaluation nothing is added.  */
START_TEST(batch_statistics_are_those_of_the_rows)
{
    test_rng rng = test_rng_new(test_seed());
    for (size_t k = 0; k < test_times(10); k++) {
        netcase c;
        dfo_shape in = {test_rng_between(&rng, 1, 5), test_rng_between(&rng, 1, 9),
                        test_rng_between(&rng, 1, 9)};
        size_t plane = in.h * in.w;
        netcase_of(
            &c, test_rng_next(&rng) >> 16,
            "{\"type\":\"conv\",\"layers\":[{\"norm\":\"batch\",\"kernel\":1,\"bias\":false}]}",
            test_rng_between(&rng, 4, 40), 1, &in, in);
        dfo_run *run = &c.t->run;
        double count = (double)(c.n * plane);
        dfo_real *w = dfo_store_weights(c.store) + dfo_store_find(c.store, "net.w0")->offset;
        const dfo_real *scale = weight(&c, "scale0"), *shift = weight(&c, "shift0");
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
            before[ch] = (double)weight(&c, "mean0")[ch];
            before[5 + ch] = (double)weight(&c, "var0")[ch];
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
            ck_assert_msg(
                fabs((double)weight(&c, "mean0")[ch] - new_mean) <= 100 * DFO_REAL_EPS &&
                    fabs((double)weight(&c, "var0")[ch] - new_var) <= 100 * DFO_REAL_EPS * new_var,
                "%s: running mean %g, expected %g; var %g, expected %g", netcase_text(&c),
                (double)weight(&c, "mean0")[ch], new_mean, (double)weight(&c, "var0")[ch], new_var);
        }
        dfoi_free(c.ctx, out.x);
        dfoi_free(c.ctx, gout.x);
        netcase_free(&c);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("nets of images");
    TCase *all = tcase_create("values");
    tcase_add_test(all, random_nets_are_direct_loops);
    tcase_add_test(all, every_geometry_is_direct_loops);
    tcase_add_test(all, tiles_are_direct_loops);
    tcase_add_test(all, batch_statistics_are_those_of_the_rows);
    suite_add_tcase(suite, all);
    return test_run(suite);
}
