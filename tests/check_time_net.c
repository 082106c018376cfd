/* Nets that depend on a time: embeddings, group normalisation and both nets against plain loops in double; classes.  */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/ctx_impl.h"
#include "base/json_impl.h"
#include "math/kern_impl.h"
#include "nn/embed_impl.h"
#include "nn/group_impl.h"
#include "netcase.h"

#define OK(c, call) ck_assert_msg((call) == DFO_OK, "%s: %s: %s", netcase_text(c), #call, (c)->t->run.text)

/* ---- plain loops */

enum { CHANNELS = 64, PIXELS = 144, FEATURES = 1024 };

/* Where a row is computed again, by name of the weights.  */
struct plain {
    const netcase *c;
    json_t *config;
    size_t row, op, used;   /* operations and features of q so far */
    double q[FEATURES];
    double size;            /* largest value that came by */
};

struct image {
    size_t c, h, w;
    double x[CHANNELS][PIXELS];
};

static size_t setting(const struct plain *p, const char *key)
{
    return (size_t)json_integer_value(json_object_get(p->config, key));
}

static const dfo_entry *entry(const struct plain *p, const char *name)
{
    char text[96];
    snprintf(text, sizeof text, "net.%s", name);
    const dfo_entry *e = dfo_store_find(p->c->store, text);
    ck_assert_msg(e != NULL, "%s: no weights %s", netcase_text(p->c), text);
    return e;
}

static const dfo_real *weights(const struct plain *p, const char *name)
{
    return dfo_store_weights(p->c->store) + entry(p, name)->offset;
}

static double note(struct plain *p, double x)
{
    p->size = fmax(p->size, fabs(x));
    return x;
}

static double act(const struct plain *p, double a)
{
    const char *name = json_string_value(json_object_get(p->config, "activation"));
    return !strcmp(name, "silu") ? a / (1 + exp(-a)) : !strcmp(name, "tanh") ? tanh(a) : a;
}

/* y = W x + b.  */
static size_t linear(struct plain *p, const char *w_name, const char *b_name, const double *x, double *y)
{
    const size_t *shape = entry(p, w_name)->shape;
    const dfo_real *w = weights(p, w_name), *b = weights(p, b_name);
    for (size_t i = 0; i < shape[0]; i++) {
        y[i] = (double)b[i];
        for (size_t j = 0; j < shape[1]; j++)
            y[i] += (double)w[i * shape[1] + j] * x[j];
        note(p, y[i]);
    }
    return shape[0];
}

static double input(const struct plain *p, size_t part, size_t j)
{
    return (double)dfo_row(p->c->in.part[part].rows, p->row)[j];
}

/* q; vectors: which parts go into the embedding.  */
static void embed(struct plain *p, const int *vector)
{
    double e[FEATURES], u[FEATURES], t = input(p, p->c->parts - 1, 0);
    double most = json_number_value(json_object_get(p->config, "most"));
    size_t count = setting(p, "frequencies"), n = 2 * count;
    for (size_t k = 0; k < count; k++) {
        double f = most * pow(10, count > 1 ? -4.0 * (double)k / (double)(count - 1) : 0);
        e[k] = sin(2 * M_PI * f * t);
        e[count + k] = cos(2 * M_PI * f * t);
    }
    for (size_t part = 1; part + (p->c->classes ? 2 : 1) < p->c->parts; part++)
        for (size_t j = 0; vector[part] && j < dfo_shape_size(p->c->shape[part]); j++)
            e[n++] = input(p, part, j);
    if (setting(p, "embedding")) {
        n = linear(p, "embed.w", "embed.b", e, u);
        const dfo_real *table = p->c->classes ? weights(p, "embed.classes") + (size_t)input(p, p->c->parts - 2, 0) * n : NULL;
        for (size_t j = 0; j < n; j++) {
            if (table)
                u[j] += (double)table[j];
            e[j] = u[j] / (1 + exp(-u[j]));
        }
    }
    linear(p, "project.w", "project.b", e, p->q);
}

static void plain_mlp(struct plain *p, double *out)
{
    double x[64], h[FEATURES], y[FEATURES], r[FEATURES];
    const int vector[DFO_COND_PARTS] = {0, 1, 1, 1};
    size_t layers = setting(p, "layers");
    int first = !strcmp(json_string_value(json_object_get(p->config, "inject")), "first");
    embed(p, vector);
    for (size_t j = 0; j < dfo_shape_size(p->c->shape[0]); j++)
        x[j] = input(p, 0, j);
    size_t n = linear(p, "first.w", "first.b", x, h);
    for (size_t k = 0; k <= layers; k++) {
        char w[24], b[24];
        snprintf(w, sizeof w, k < layers ? "w%zu" : "last.w", k);
        snprintf(b, sizeof b, k < layers ? "b%zu" : "last.b", k);
        for (size_t j = 0; j < n; j++)
            y[j] = act(p, h[j] + (k && first ? 0 : p->q[k * n + j]));
        linear(p, w, b, y, k < layers ? r : out);
        for (size_t j = 0; k < layers && j < n; j++)
            h[j] += r[j];
    }
}

static void op_name(const struct plain *p, const char *part, char *name)
{
    snprintf(name, 24, "op%zu.%s", p->op, part);
}

/* The next operation's norm and activation.  */
static void front(struct plain *p, struct image *x, int active)
{
    char name[2][24];
    size_t plane = x->h * x->w, groups = setting(p, "groups"), wide = x->c / groups;
    op_name(p, "scale", name[0]);
    op_name(p, "shift", name[1]);
    int norm = !strcmp(json_string_value(json_object_get(p->config, "norm")), "group");
    const dfo_real *scale = norm ? weights(p, name[0]) : NULL, *shift = norm ? weights(p, name[1]) : NULL;
    for (size_t g = 0; norm && g < groups; g++) {
        double mean = 0, var = 0, n = (double)(wide * plane);
        for (size_t c = g * wide; c < (g + 1) * wide; c++)
            for (size_t i = 0; i < plane; i++)
                mean += x->x[c][i] / n;
        for (size_t c = g * wide; c < (g + 1) * wide; c++)
            for (size_t i = 0; i < plane; i++)
                var += (x->x[c][i] - mean) * (x->x[c][i] - mean) / n;
        note(p, 1 / sqrt(var + 1e-5));
        for (size_t c = g * wide; c < (g + 1) * wide; c++)
            for (size_t i = 0; i < plane; i++)
                x->x[c][i] = (double)scale[c] * (x->x[c][i] - mean) / sqrt(var + 1e-5) + (double)shift[c];
    }
    for (size_t c = 0; c < x->c; c++)
        for (size_t i = 0; i < plane; i++)
            x->x[c][i] = active ? act(p, note(p, x->x[c][i])) : note(p, x->x[c][i]);
}

/* The next operation's convolution: of stride 1, 2 (down) or 2 (up).  */
static struct image conv(struct plain *p, const struct image *x, int down, int up)
{
    char name[2][24];
    op_name(p, "w", name[0]);
    op_name(p, "b", name[1]);
    const size_t *shape = entry(p, name[0])->shape;
    const dfo_real *w = weights(p, name[0]), *b = weights(p, name[1]);
    long kernel = (long)shape[1], pad = (kernel - 1) / 2;
    struct image y = {.c = shape[0], .h = down ? x->h / 2 : up ? x->h * 2 : x->h, .w = down ? x->w / 2 : up ? x->w * 2 : x->w};
    const struct image *many = up ? &y : x, *few = up ? x : &y;
    for (size_t o = 0; o < y.c; o++)
        for (size_t i = 0; i < y.h * y.w; i++)
            y.x[o][i] = (double)b[o];
    for (long i = 0; i < (long)(few->h * few->w); i++)
        for (long t = 0; t < kernel * kernel; t++) {
            long step = down || up ? 2 : 1, at = (long)few->w;
            long r = i / at * step - pad + t / kernel, s = i % at * step - pad + t % kernel;
            if (r < 0 || s < 0 || r >= (long)many->h || s >= (long)many->w)
                continue;
            size_t j = (size_t)r * many->w + (size_t)s, to = up ? j : (size_t)i, from = up ? (size_t)i : j;
            for (size_t o = 0; o < y.c; o++)
                for (size_t c = 0; c < x->c; c++)
                    y.x[o][to] += (double)w[(o * (size_t)(kernel * kernel) + (size_t)t) * x->c + c] * x->x[c][from];
        }
    for (size_t o = 0; o < y.c; o++)
        for (size_t i = 0; i < y.h * y.w; i++)
            note(p, y.x[o][i]);
    p->op++;
    return y;
}

static struct image block(struct plain *p, struct image h, size_t out)
{
    struct image skip = h, y;
    if (h.c != out)
        skip = conv(p, &h, 0, 0);
    front(p, &h, 1);
    y = conv(p, &h, 0, 0);
    for (size_t c = 0; c < out; c++)
        for (size_t i = 0; i < y.h * y.w; i++)
            y.x[c][i] += p->q[p->used + c];
    p->used += out;
    front(p, &y, 1);
    y = conv(p, &y, 0, 0);
    for (size_t c = 0; c < out; c++)
        for (size_t i = 0; i < y.h * y.w; i++)
            y.x[c][i] += skip.x[c][i];
    return y;
}

/* Attention of the coarsest level.  */
static struct image attention(struct plain *p, struct image h)
{
    struct image x = h, mixed = {.c = h.c, .h = h.h, .w = h.w}, y;
    size_t n = h.h * h.w;
    if (!strcmp(json_string_value(json_object_get(p->config, "norm")), "group"))
        front(p, &x, 0);
    y = conv(p, &x, 0, 0);
    for (size_t i = 0; i < n; i++) {
        double weight[PIXELS], sum = 0;
        for (size_t j = 0; j < n; j++) {
            double s = 0;
            for (size_t c = 0; c < h.c; c++)
                s += y.x[c][i] * y.x[h.c + c][j] / sqrt((double)h.c);
            sum += weight[j] = exp(note(p, s));
        }
        for (size_t c = 0; c < h.c; c++)
            for (size_t j = 0; j < n; j++)
                mixed.x[c][i] += weight[j] / sum * y.x[2 * h.c + c][j];
    }
    p->op++;
    y = conv(p, &mixed, 0, 0);
    for (size_t c = 0; c < h.c; c++)
        for (size_t i = 0; i < n; i++)
            h.x[c][i] += y.x[c][i];
    return h;
}

/* A level and all below it: recursion instead of the library's list.  */
static struct image level(struct plain *p, struct image h, size_t l)
{
    const json_t *channels = json_object_get(p->config, "channels");
    size_t c = (size_t)json_integer_value(json_array_get(channels, l)), blocks = setting(p, "blocks");
    int coarsest = l + 1 == json_array_size(channels);
    for (size_t k = 0; k < blocks; k++) {
        h = block(p, h, c);
        if (!k && coarsest && json_is_true(json_object_get(p->config, "attention")))
            h = attention(p, h);
    }
    if (coarsest)
        return h;
    struct image beside = h;
    h = level(p, conv(p, &h, 1, 0), l + 1);
    h = conv(p, &h, 0, 1);
    for (size_t k = 0; k < c; k++)
        memcpy(h.x[h.c + k], beside.x[k], sizeof h.x[0]);
    h.c += c;
    for (size_t k = 0; k < blocks; k++)
        h = block(p, h, c);
    return h;
}

static void plain_unet(struct plain *p, double *out)
{
    const dfo_shape *s = p->c->shape;
    struct image h = {.h = s[0].h, .w = s[0].w};
    int vector[DFO_COND_PARTS] = {0};
    size_t plane = h.h * h.w;
    for (size_t part = 0; part + (p->c->classes ? 2 : 1) < p->c->parts; part++) {
        vector[part] = part && (s[part].h != h.h || s[part].w != h.w || plane == 1);
        for (size_t c = 0; !vector[part] && c < s[part].c; c++, h.c++)
            for (size_t i = 0; i < plane; i++)
                h.x[h.c][i] = input(p, part, c * plane + i);
    }
    embed(p, vector);
    h = conv(p, &h, 0, 0);
    h = level(p, h, 0);
    front(p, &h, 1);
    h = conv(p, &h, 0, 0);
    for (size_t c = 0; c < h.c; c++)
        memcpy(out + c * plane, h.x[c], plane * sizeof *out);
}

static void compare(netcase *c, void (*plain)(struct plain *, double *))
{
    dfo_block out = netcase_block(c, 0);
    c->t->run.mode = DFO_EVALUATE;
    OK(c, dfo_net_forward(c->net, &c->t->run, &c->in, out, NULL));
    for (size_t i = 0; i < c->n && i < 70; i++) {
        static double want[CHANNELS * PIXELS];
        struct plain p = {.c = c, .config = json_loads(c->config, 0, NULL), .row = i, .size = 1};
        plain(&p, want);
        for (size_t j = 0; j < c->net->out; j++) {
            double got = (double)*netcase_at(out, i, j), error = fabs(got - want[j]);
            if (!(error <= 1000 * DFO_REAL_EPS * p.size * p.size))
                ck_abort_msg("%s: row %zu, output %zu: %.15g, plain loops %.15g", netcase_text(c), i, j, got, want[j]);
        }
        json_decref(p.config);
    }
    dfoi_free(c->ctx, out.x);
    netcase_free(c);
}

static void compare_type(const char *type, size_t times, void (*plain)(struct plain *, double *))
{
    static const char *const acts[] = {"silu", "tanh", "none"};
    test_rng rng = test_rng_new(test_seed());
    for (size_t k = 0; k < test_times(times); k++) {
        netcase c;
        netcase_new(&c, test_rng_next(&rng) >> 16, type, acts[k % 3]);
        compare(&c, plain);
    }
}

START_TEST(vectors_are_plain_loops)
{
    compare_type("time-mlp", 40, plain_mlp);
}
END_TEST

/* Rows of one time, condition and class go through the embedding together: each has the bits that it has alone.  */
START_TEST(rows_that_are_alike_keep_their_bits)
{
    const dfo_shape shape[] = {{3, 1, 1}, {2, 1, 1}, {1, 1, 1}, {1, 1, 1}};
    test_rng rng = test_rng_new(test_seed());
    for (size_t k = 0; k < test_times(20); k++) {
        char text[200];
        netcase c;
        snprintf(text, sizeof text, "{\"type\":\"time-mlp\",\"hidden\":%zu,\"layers\":%zu,\"frequencies\":%zu,\"most\":2,\"embedding\":%zu,"
                 "\"classes\":3,\"inject\":\"%s\"}", test_rng_between(&rng, 1, 40), test_rng_between(&rng, 0, 3), test_rng_between(&rng, 1, 20),
                 test_rng_between(&rng, 1, 70), k % 2 ? "first" : "layers");
        netcase_of(&c, test_rng_next(&rng) >> 16, text, test_rng_between(&rng, 2, 100), 4, shape, dfo_shape_vector(3));
        dfo_block all = netcase_block(&c, 0), one = netcase_block(&c, 0);
        for (size_t part = 1; part < 4; part++)
            for (size_t i = 1; i < c.n; i++)
                memcpy(dfo_row(c.in.part[part].rows, i), dfo_row(c.in.part[part].rows, 0), shape[part].c * sizeof(dfo_real));
        c.t->run.mode = DFO_EVALUATE;
        OK(&c, dfo_net_forward(c.net, &c.t->run, &c.in, all, NULL));
        one.n = 1;
        for (size_t i = 0; i < c.n; i++) {
            dfo_cond in = dfo_cond_rows(&c.in, i, 1);
            OK(&c, dfo_net_forward(c.net, &c.t->run, &in, one, NULL));
            for (size_t j = 0; j < 3; j++)
                ck_assert_msg(!memcmp(netcase_at(one, 0, j), netcase_at(all, i, j), sizeof(dfo_real)), "%s: row %zu, output %zu", netcase_text(&c), i, j);
        }
        dfoi_free(c.ctx, all.x);
        dfoi_free(c.ctx, one.x);
        netcase_free(&c);
    }
}
END_TEST

START_TEST(images_are_plain_loops)
{
    compare_type("unet", 30, plain_unet);
}
END_TEST

/* More rows than one panel of embeddings holds, in blocks of images that do not divide it.  */
START_TEST(many_images_are_plain_loops)
{
    const dfo_shape shape[] = {{3, 6, 6}, {2, 1, 1}, {1, 1, 1}, {1, 1, 1}};
    netcase c;
    netcase_of(&c, test_seed(),
               "{\"type\":\"unet\",\"channels\":[4,6],\"blocks\":1,\"groups\":2,\"norm\":\"group\",\"activation\":\"silu\","
               "\"frequencies\":4,\"most\":2,\"embedding\":5,\"classes\":3}",
               70, 4, shape, (dfo_shape){3, 6, 6});
    compare(&c, plain_unet);
}
END_TEST

/* Rows far behind in a call learn what they do alone, bit by bit.  */
START_TEST(many_images_learn_alone)
{
    const dfo_shape shape[] = {{2, 4, 6}, {3, 1, 1}, {1, 1, 1}};
    netcase c;
    netcase_of(&c, test_seed(),
               "{\"type\":\"unet\",\"channels\":[4,6],\"blocks\":1,\"groups\":2,\"norm\":\"group\",\"activation\":\"silu\","
               "\"frequencies\":4,\"most\":2,\"embedding\":5,\"attention\":true}",
               100, 3, shape, (dfo_shape){2, 4, 6});
    dfo_block out = netcase_block(&c, 0), dout = netcase_block(&c, 0), g = netcase_block(&c, 5), gd = netcase_block(&c, 6);
    dfo_block last = g, dlast = gd;
    dfo_cond all = netcase_cond(&c, 0, 0), dall = netcase_cond(&c, 0, 0);
    dfo_cond one = netcase_cond(&c, 0, 0), done = netcase_cond(&c, 0, 0);
    enum { FIRST = 57, SOME = 20 };
    dfo_run *run = &c.t->run;
    OK(&c, dfo_net_jvp(c.net, run, &c.in, &c.din, out, dout, c.acts));
    OK(&c, dfo_net_jvp_backward(c.net, run, &c.in, &c.din, g, gd, &all, &dall, c.acts));
    OK(&c, dfo_net_forward(c.net, run, &c.in, out, c.acts));
    OK(&c, dfo_net_backward(c.net, run, &c.in, g, &all, c.acts));
    dfo_cond in = dfo_cond_rows(&c.in, FIRST, SOME), din = dfo_cond_rows(&c.din, FIRST, SOME);
    dfo_cond to = dfo_cond_rows(&one, FIRST, SOME), dto = dfo_cond_rows(&done, FIRST, SOME);
    out.n = dout.n = last.n = dlast.n = SOME;
    last.x += FIRST * last.ld;
    dlast.x += FIRST * dlast.ld;
    OK(&c, dfo_net_jvp(c.net, run, &in, &din, out, dout, c.acts));
    OK(&c, dfo_net_jvp_backward(c.net, run, &in, &din, last, dlast, &to, &dto, c.acts));
    OK(&c, dfo_net_forward(c.net, run, &in, out, c.acts));
    OK(&c, dfo_net_backward(c.net, run, &in, last, &to, c.acts));
    for (size_t p = 0; p < c.parts; p++)
        for (size_t i = FIRST; i < FIRST + SOME; i++) {
            size_t bytes = all.part[p].rows.d * sizeof(dfo_real);
            ck_assert_msg(!memcmp(dfo_row(all.part[p].rows, i), dfo_row(one.part[p].rows, i), bytes) &&
                              !memcmp(dfo_row(dall.part[p].rows, i), dfo_row(done.part[p].rows, i), bytes),
                          "gradients of part %zu, row %zu", p, i);
        }
    dfo_block blocks[] = {out, dout, g, gd};
    dfo_cond *conds[] = {&all, &dall, &one, &done};
    for (size_t i = 0; i < 4; i++) {
        dfoi_free(c.ctx, blocks[i].x);
        netcase_cond_free(&c, conds[i]);
    }
    netcase_free(&c);
}
END_TEST

/* ---- embeddings */

/* Of a time with many turns, and of the usual frequencies: a real's digits, no fewer.  */
START_TEST(sines_are_the_formula)
{
    static const double times[] = {0, 1, -1, 0.37, 1e-3, 12.5, -77.125, 1000};
    const dfo_shape shape[] = {{1, 1, 1}, {1, 1, 1}};
    netcase c;
    netcase_of(&c, 1, "{\"type\":\"time-mlp\",\"hidden\":4,\"layers\":0,\"embedding\":0}", 8, 2, shape, dfo_shape_vector(1));
    size_t w = dfo_store_find(c.store, "net.project.w")->offset, b = dfo_store_find(c.store, "net.project.b")->offset;
    dfo_real *weights = dfo_store_weights(c.store);
    for (size_t k = 0; k < 64; k += 4) {                    /* four features of p at a time, to the four outputs of q */
        for (size_t i = 0; i < 4 * 64; i++)
            weights[w + i] = i % 64 == k + i / 64;
        for (size_t i = 0; i < 4; i++)
            weights[b + i] = 0;
        dfo_real q[4 * 64] __attribute__((aligned(64)));
        static dfoi_embed embed;
        const int none[DFO_COND_PARTS] = {0};
        char path[24];
        snprintf(path, sizeof path, "again%zu", k);
        dfo_build build = {.ctx = c.ctx, .store = c.store, .seed = 1, .path = path, .blank = 1};
        OK(&c, dfoi_embed_new(&build, c.net, &(dfoi_embed_settings){.frequencies = 32, .most = 160}, none, 4, &embed));
        embed.project.w = w;
        embed.project.b = b;
        dfo_real *keep;
        OK(&c, dfoi_alloc(c.ctx, dfoi_embed_keep(&embed), sizeof *keep, &keep));
        for (size_t i = 0; i < 8; i++)
            dfo_row(c.in.part[1].rows, i)[0] = (dfo_real)times[i];
        c.t->run.weights = dfo_store_weights(c.store);
        weights = dfo_store_weights(c.store);
        OK(&c, dfoi_embed_forward(&embed, c.net, &c.t->run, &c.in, 0, 8, keep, q));
        for (size_t j = 0; j < 4; j++)
            for (size_t i = 0; i < 8; i++) {
                size_t f = (k + j) % 32;
                double t = (double)(dfo_real)times[i], turn = 160 * pow(10, -4.0 * (double)f / 31) * t;
                double want = k + j < 32 ? sin(2 * M_PI * fmod(turn, 1)) : cos(2 * M_PI * fmod(turn, 1));
                double got = (double)q[j * 64 + i];
                ck_assert_msg(fabs(got - want) < 8 * DFO_REAL_EPS + 4e-12, "feature %zu of t = %g: %.17g, expected %.17g", k + j, t,
                              got, want);
            }
        dfoi_free(c.ctx, keep);
    }
    netcase_free(&c);
}
END_TEST

/* ---- classes */

#define LABELLED "{\"type\":\"time-mlp\",\"hidden\":6,\"embedding\":5,\"classes\":3}"

static void labelled(netcase *c, size_t n)
{
    const dfo_shape shape[] = {{2, 1, 1}, {1, 1, 1}, {1, 1, 1}};
    netcase_of(c, 3, LABELLED, n, 3, shape, dfo_shape_vector(2));
}

START_TEST(a_class_out_of_range_names_its_row)
{
    static const double bad[] = {4, -1, 0.5, NAN, 1e30};
    netcase c;
    labelled(&c, 70);
    dfo_block out = netcase_block(&c, 0), dout = netcase_block(&c, 0);
    dfo_run *run = &c.t->run;
    run->key.row = 1000;
    for (size_t k = 0; k < sizeof bad / sizeof bad[0]; k++) {
        dfo_real *label = dfo_row(c.in.part[1].rows, 66), kept = *label;
        *label = (dfo_real)bad[k];
        ck_assert_int_eq(dfo_net_forward(c.net, run, &c.in, out, NULL), DFO_EARG);
        ck_assert_uint_eq(run->error_row, 1066);
        ck_assert_msg(strstr(run->text, "time-mlp net: expected a class from 0 to 3 (none), got ") != NULL, "%s", run->text);
        ck_assert(!strchr(run->text, '\n'));
        testrun_reset(c.t);
        ck_assert_int_eq(dfo_net_jvp(c.net, run, &c.in, &c.din, out, dout, NULL), DFO_EARG);
        ck_assert_uint_eq(run->error_row, 1066);
        testrun_reset(c.t);
        *label = kept;
    }
    dfoi_free(c.ctx, out.x);
    dfoi_free(c.ctx, dout.x);
    netcase_free(&c);
}
END_TEST

/* A class's row of the table learns from its rows alone, and the last one is that of none.  */
START_TEST(classes_learn_their_own_row)
{
    netcase c;
    labelled(&c, 3);
    dfo_block out = netcase_block(&c, 0), g = netcase_block(&c, 5);
    dfo_cond gin = netcase_cond(&c, 0, 0);
    const dfo_entry *table = dfo_store_find(c.store, "net.embed.classes");
    ck_assert_uint_eq(table->shape[0], 4);
    ck_assert_uint_eq(table->shape[1], 5);
    for (size_t i = 0; i < 3; i++)
        dfo_row(c.in.part[1].rows, i)[0] = i == 1 ? 0 : 3;
    OK(&c, dfo_net_forward(c.net, &c.t->run, &c.in, out, c.acts));
    OK(&c, dfo_net_backward(c.net, &c.t->run, &c.in, g, &gin, c.acts));
    for (size_t k = 0; k < 4; k++)
        for (size_t j = 0; j < 5; j++) {
            dfo_real learned = c.t->run.grads[table->offset + k * 5 + j];
            ck_assert_msg((k == 0 || k == 3) == (learned != 0), "class %zu, feature %zu: %g", k, j, (double)learned);
        }
    for (size_t i = 0; i < 3; i++)
        ck_assert(gin.part[1].rows.x[i] == 0);
    netcase_cond_free(&c, &gin);
    dfoi_free(c.ctx, out.x);
    dfoi_free(c.ctx, g.x);
    netcase_free(&c);
}
END_TEST

/* ---- group normalisation */

/* Images whose pixels begin and end inside of panels; a group far from zero; the tail is zero.  */
START_TEST(group_norm_is_its_formula)
{
    test_rng rng = test_rng_new(test_seed());
    for (size_t k = 0; k < test_times(30); k++) {
        enum { MOST = 12 * 64 * 10 };
        static dfo_real x[MOST], y[MOST], keep[4 * 4 * 8], weights[24];
        size_t groups = test_rng_between(&rng, 1, 4), width = groups * test_rng_between(&rng, 1, 3);
        size_t n = test_rng_between(&rng, 1, 8);
        size_t plane = test_rng_between(&rng, 2, 80), panels = dfoi_panels(n, 1, plane);
        const dfoi_group_norm norm = {.width = width, .groups = groups, .scale = 0, .shift = 12};
        const dfoi_area area = {panels, n, plane, 0};
        const dfo_run run = {.weights = weights};
        for (size_t i = 0; i < 24; i++)
            weights[i] = (dfo_real)test_rng_normal(&rng);
        for (size_t i = 0; i < MOST; i++) {
            x[i] = (dfo_real)(test_rng_normal(&rng) + 3);
            y[i] = NAN;
        }
        dfoi_group_measure(&norm, area, dfoi_map_of(x, width), keep);
        dfoi_group_apply(&norm, &run, area, dfoi_map_of(x, width), keep, dfoi_map_of(y, width));
        for (size_t q = n * plane; q < panels * 64; q++)
            for (size_t c = 0; c < width; c++)
                if (y[q / 64 * width * 64 + c * 64 + q % 64] != 0)
                    ck_abort_msg("column %zu behind %zu images of %zu is not zero", q, n, plane);
        for (size_t i = 0; i < n; i++)
            for (size_t c = 0; c < width; c++) {
                size_t wide = width / groups, g = c / wide;
                double mean = 0, var = 0, count = (double)(wide * plane);
#define AT(z, c, q) ((double)(z)[(q) / 64 * width * 64 + (c) * 64 + (q) % 64])
                for (size_t j = g * wide; j < (g + 1) * wide; j++)
                    for (size_t q = i * plane; q < (i + 1) * plane; q++)
                        mean += AT(x, j, q) / count;
                for (size_t j = g * wide; j < (g + 1) * wide; j++)
                    for (size_t q = i * plane; q < (i + 1) * plane; q++)
                        var += pow(AT(x, j, q) - mean, 2) / count;
                for (size_t q = i * plane; q < (i + 1) * plane; q++) {
                    double want = (double)weights[c] * (AT(x, c, q) - mean) / sqrt(var + 1e-5) + (double)weights[12 + c];
                    if (!(fabs(AT(y, c, q) - want) < 100 * DFO_REAL_EPS / sqrt(var + 1e-5) + 20 * DFO_REAL_EPS))
                        ck_abort_msg("%zu images of %zu, channel %zu of %zu in %zu groups: %.9g, expected %.9g", n, plane, c, width,
                                     groups, AT(y, c, q), want);
                }
            }
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("nets with a time");
    TCase *all = tcase_create("nets");
    tcase_set_timeout(all, 120);
    tcase_add_test(all, vectors_are_plain_loops);
    tcase_add_test(all, rows_that_are_alike_keep_their_bits);
    tcase_add_test(all, images_are_plain_loops);
    tcase_add_test(all, many_images_are_plain_loops);
    tcase_add_test(all, many_images_learn_alone);
    tcase_add_test(all, sines_are_the_formula);
    tcase_add_test(all, a_class_out_of_range_names_its_row);
    tcase_add_test(all, classes_learn_their_own_row);
    tcase_add_test(all, group_norm_is_its_formula);
    suite_add_tcase(suite, all);
    return test_run(suite);
}
