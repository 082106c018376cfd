/* Classifiers: the gradient of the cross-entropy against differences, augmentation, training on a toy, what a file
 * gives back, rows back from features, and everything that is refused.  */
#include <check.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <diffeo/diffeo.h>
#include "base/ctx_impl.h"
#include "base/json_impl.h"
#include "classifier_impl.h"
#include "oom.h"
#include "testrun.h"
#include "util.h"

/* Two couplings over vectors of four; over images of two channels an actnorm and a mixing of channels.  */
#define NET "\"net\":{\"type\":\"mlp\",\"hidden\":[16],\"activation\":\"tanh\"}"
#define VECTORS "\"bijector\":{\"type\":\"chain\",\"layers\":[{\"type\":\"affine-coupling\"," NET "}," \
                "{\"type\":\"affine-coupling\",\"mask\":\"half-swapped\"," NET "}]}"
#define IMAGES "\"bijector\":{\"type\":\"chain\",\"layers\":[{\"type\":\"actnorm\"},{\"type\":\"linear\",\"init\":\"orthogonal\"}]}"
#define BATCH "\"bijector\":{\"type\":\"chain\",\"layers\":[{\"type\":\"irevnet\",\"hidden\":3,\"leading\":false," SMOOTH "}," \
              "{\"type\":\"irevnet\",\"hidden\":2," SMOOTH "}]}"
#define SMOOTH "\"activation\":\"tanh\",\"norm\":\"batch\",\"zero_init\":false"
#define LONE "\"bijector\":{\"type\":\"actnorm\"}"

static const dfo_shape vector = {4, 1, 1}, image = {2, 3, 5}, odd = {1, 4, 4};

static json_t *json(const char *text)
{
    json_error_t error;
    json_t *out = json_loads(text, 0, &error);
    ck_assert_msg(out != NULL, "%s: %s", text, error.text);
    return out;
}

static dfo_real *drawn(size_t n, double scale, test_rng *rng)
{
    dfo_real *x = malloc((n + 1) * sizeof *x);
    ck_assert_ptr_nonnull(x);
    for (size_t i = 0; i < n; i++)
        x[i] = (dfo_real)(scale * test_rng_normal(rng));
    return x;
}

/* ---- gradients */

struct graded {
    dfo_ctx   *ctx;
    dfo_store *store;
    dfo_classifier *c;
    dfo_loss  *loss;
    testrun   *t;
    dfo_real  *rows, *x;               /* (n, d + 1): the last column is the label; x is worked on */
    double     weight[5];
    size_t     n, d;
};

static double loss_of(struct graded *g, int gradients)
{
    dfo_minibatch b = {.x = dfo_batch_columns(dfo_batch_of(g->x, g->n, g->d + 1), 0, g->d), .weight = g->weight};
    double sum = 0, out[5];
    b.cond.n = 1;
    b.cond.part[0].rows = dfo_batch_columns(dfo_batch_of(g->x, g->n, g->d + 1), g->d, 1);
    b.cond.part[0].shape = dfo_shape_vector(1);
    memcpy(g->x, g->rows, g->n * (g->d + 1) * sizeof *g->x);
    testrun_reset(g->t);
    dfo_run *run = &g->t->run;
    run->mode = DFO_TRAIN;
    dfo_status status = g->loss->ops->prepare(g->loss, run, run->derived);
    if (status == DFO_OK && gradients)
        status = g->loss->ops->grad(g->loss, run, b, 0.25, &sum);
    else if (status == DFO_OK)
        status = g->loss->ops->eval(g->loss, run, b, out);
    for (size_t i = 0; i < g->n && !gradients; i++)
        sum += g->weight[i] * out[i];
    if (status == DFO_OK && gradients)
        status = g->loss->ops->pullback(g->loss, run, run->derived, run->gderived);
    ck_assert_msg(status == DFO_OK, "%s", run->text);
    run->arena_used = 0;               /* the caller of a loss puts the mark back */
    return sum;
}

static void open_graded(struct graded *g, const char *config, dfo_shape shape, size_t classes, test_rng *rng)
{
    json_t *j = json(config);
    memset(g, 0, sizeof *g);
    g->n = 5;
    g->d = dfo_shape_size(shape);
    ck_assert_int_eq(dfo_ctx_new(&g->ctx), DFO_OK);
    ck_assert_int_eq(dfo_store_new(g->ctx, &g->store), DFO_OK);
    dfo_build build = {.ctx = g->ctx, .store = g->store, .seed = 3, .path = "c", .shape = shape};
    ck_assert_msg(dfo_classifier_new(&build, j, &g->c) == DFO_OK, "%s", dfo_ctx_error(g->ctx));
    ck_assert_int_eq(dfo_loss_classify_new(g->c, &g->loss), DFO_OK);
    json_decref(j);
    g->rows = drawn(g->n * (g->d + 1), 1, rng);
    g->x = drawn(g->n * (g->d + 1), 1, rng);
    for (size_t i = 0; i < g->n; i++) {
        g->rows[i * (g->d + 1) + g->d] = (dfo_real)test_rng_between(rng, 0, classes - 1);
        g->weight[i] = test_rng_real(rng, 0.5, 2);
    }
    for (size_t i = 0; i < dfo_store_weights_size(g->store); i++)
        dfo_store_weights(g->store)[i] += (dfo_real)(0.1 * test_rng_normal(rng));
    dfo_run how = {.memory = DFO_MEMORY_INVERT};
    dfo_need need = g->loss->ops->need(g->loss, g->n, &how, 1);
    ck_assert_int_eq(testrun_new(g->ctx, g->store, &need, &g->t), DFO_OK);
}

static void close_graded(struct graded *g)
{
    testrun_free(g->t);
    dfo_loss_free(g->loss);
    dfo_classifier_free(g->c);
    dfo_store_free(g->store);
    ck_assert_uint_eq(dfo_ctx_bytes(g->ctx), 0);
    dfo_ctx_free(g->ctx);
    free(g->rows);
    free(g->x);
}

static const struct {
    const char *config;
    const dfo_shape *shape;
    size_t classes;
} graded[] = {
    {"{" VECTORS ",\"head\":{\"classes\":3}}", &vector, 3},
    {"{" VECTORS ",\"head\":{\"classes\":2,\"norm\":false,\"activation\":\"none\"}}", &vector, 2},
    {"{" IMAGES ",\"head\":{\"classes\":4}}", &image, 4},
    {"{" LONE ",\"head\":{\"classes\":3,\"norm\":false}}", &image, 3},
    {"{" BATCH ",\"head\":{\"classes\":3}}", &image, 3},         /* statistics of the rows, there and back */
};

/* Along random directions in the space of the weights, in double: in float a step that tells more than rounding
 * crosses kinks of relu.  The loss of grad is that of eval.  */
START_TEST(gradient)
{
    struct graded g;
    test_rng rng = test_rng_new(test_seed());
    open_graded(&g, graded[_i].config, *graded[_i].shape, graded[_i].classes, &rng);
    size_t n = dfo_store_weights_size(g.store);
    dfo_real *w = dfo_store_weights(g.store), *w0 = malloc(n * sizeof *w0), *direction = drawn(n, 1, &rng);
    double h = 1e-6, slope = 0, value = loss_of(&g, 1), size = 0;
    for (size_t i = 0; i < n; i++) {
        slope += (double)g.t->run.grads[i] * (double)direction[i];
        size += fabs((double)g.t->run.grads[i] * (double)direction[i]);
    }
    ck_assert_double_eq_tol(value, loss_of(&g, 0), 1e-12 * (1 + value));
    memcpy(w0, w, n * sizeof *w);
    double sides[2];
    for (int s = 0; s < 2; s++) {
        for (size_t i = 0; i < n; i++)
            w[i] = w0[i] + (dfo_real)((s ? h : -h) * (double)direction[i]);
        sides[s] = loss_of(&g, 0);
    }
    double want = 0.25 * (sides[1] - sides[0]) / (2 * h);
    ck_assert_msg(isfinite(slope) && (sizeof(dfo_real) == 4 || fabs(slope - want) <= 1e-7 * (1 + size)),
                  "seed %llu: %s: slope %.12g, difference %.12g", (unsigned long long)test_seed(), graded[_i].config,
                  slope, want);
    free(w0);
    free(direction);
    close_graded(&g);
}
END_TEST

/* A bad label is named; labels are needed.  */
START_TEST(labels)
{
    static const double bad[] = {3, -1, 0.5, NAN};
    struct graded g;
    test_rng rng = test_rng_new(test_seed());
    open_graded(&g, graded[0].config, vector, 3, &rng);
    for (size_t i = 0; i < 4; i++) {
        dfo_batch all = dfo_batch_of(g.x, g.n, g.d + 1);
        dfo_minibatch b = {.x = dfo_batch_columns(all, 0, g.d)};
        double sum = 0;
        b.cond.n = 1;
        b.cond.part[0].rows = dfo_batch_columns(all, g.d, 1);
        loss_of(&g, 0);
        memcpy(g.x, g.rows, g.n * (g.d + 1) * sizeof *g.x);
        dfo_row(all, 3)[g.d] = (dfo_real)bad[i];
        ck_assert_int_eq(g.loss->ops->grad(g.loss, &g.t->run, b, 1, &sum), DFO_EARG);
        ck_assert_msg(strstr(g.t->run.text, "expected an integer from 0 to 2") != NULL, "%s", g.t->run.text);
    }
    dfo_minibatch none = {.x = dfo_batch_columns(dfo_batch_of(g.rows, g.n, g.d + 1), 0, g.d)};
    double out[5];
    loss_of(&g, 0);
    ck_assert_int_eq(g.loss->ops->eval(g.loss, &g.t->run, none, out), DFO_ESHAPE);
    g.t->run.arena_used = 0;
    close_graded(&g);
}
END_TEST

/* ---- augmentation */

/* Which move of the pictures 1..d the row is: 18 (2k+1 = 3, mirrored or not), or -1.  */
static int which_move(dfo_shape s, const dfo_real *row)
{
    for (int move = 0; move < 18; move++) {
        int down = move % 3 - 1, right = move / 3 % 3 - 1, mirror = move / 9, good = 1;
        for (size_t c = 0; c < s.c; c++)
            for (int y = 0; y < (int)s.h; y++)
                for (int x = 0; x < (int)s.w; x++) {
                    int fy = y - down, fx = (mirror ? (int)s.w - 1 - x : x) - right;
                    double want = fy < 0 || fy >= (int)s.h || fx < 0 || fx >= (int)s.w
                                      ? 0 : 1 + ((double)c * (double)s.h + fy) * (double)s.w + fx;
                    good &= (double)row[(c * s.h + (size_t)y) * s.w + (size_t)x] == want;
                }
        if (good)
            return move;
    }
    return -1;
}

START_TEST(augmentation)
{
    enum { N = 600, D = 30 };
    static dfo_real rows[N][D + 1], alone[D], room[D];
    size_t seen[18] = {0}, plain = 0;
    dfo_key key = {.seed = 5, .purpose = DFO_FOR_AUGMENT, .step = 9};
    for (size_t i = 0; i < N; i++)
        for (size_t j = 0; j <= D; j++)
            rows[i][j] = (dfo_real)(j + 1);
    dfo_batch x = {&rows[0][0], N, D, D + 1};
    dfoi_augment(image, 1, 1, key, x, room);
    for (size_t i = 0; i < N; i++) {
        int move = which_move(image, rows[i]);
        ck_assert_msg(move >= 0, "row %zu is no shift of the picture", i);
        ck_assert_msg(rows[i][D] == D + 1, "row %zu: the label was touched", i);
        seen[move]++;
        for (size_t j = 0; j < D; j++)
            alone[j] = (dfo_real)(j + 1);
        dfo_key own = key;
        own.row = i;
        dfoi_augment(image, 1, 1, own, dfo_batch_of(alone, 1, D), room);
        ck_assert_msg(!memcmp(alone, rows[i], sizeof alone), "row %zu depends on the others", i);
    }
    for (int m = 0; m < 18; m++)                      /* 33 expected of each */
        ck_assert_msg(seen[m] >= 10 && seen[m] <= 70, "move %d came %zu times in %d", m, seen[m], N);
    for (size_t i = 0; i < N; i++)
        for (size_t j = 0; j < D; j++)
            rows[i][j] = (dfo_real)(j + 1);
    dfoi_augment(image, 0, 1, key, x, room);
    for (size_t i = 0; i < N; i++)
        plain += which_move(image, rows[i]) == 4;
    ck_assert(plain > N / 3 && plain < 2 * N / 3);
}
END_TEST

/* ---- models */

static dfo_ctx *ctx;

static void open_ctx(void)
{
    ck_assert_int_eq(dfo_ctx_new(&ctx), DFO_OK);
}

static void close_ctx(void)
{
    ck_assert_uint_eq(dfo_ctx_bytes(ctx), 0);
    dfo_ctx_free(ctx);
}

/* Rows of two columns and a label: two half circles, one in the other's mouth.  */
static void moons(size_t n, dfo_real *rows)
{
    test_rng rng = test_rng_new(11);
    for (size_t i = 0; i < n; i++) {
        double t = test_rng_real(&rng, 0, M_PI), side = i % 2 ? -1 : 1;
        rows[3 * i] = (dfo_real)(side * cos(t) + (double)(i % 2) + 0.05 * test_rng_normal(&rng));
        rows[3 * i + 1] = (dfo_real)(side * sin(t) + 0.5 * (double)(i % 2) + 0.05 * test_rng_normal(&rng));
        rows[3 * i + 2] = (dfo_real)(i % 2);
    }
}

#define WIDE "\"net\":{\"type\":\"mlp\",\"hidden\":[32,32],\"activation\":\"tanh\"}"
#define ADD "{\"type\":\"additive-coupling\"," WIDE "},{\"type\":\"additive-coupling\",\"mask\":\"half-swapped\"," WIDE "}"
#define MOONS "{\"flow\":\"custom\",\"bijector\":{\"type\":\"chain\",\"layers\":[{\"type\":\"standardise\"}," ADD "," ADD \
              "]},\"head\":{\"classes\":2,\"activation\":\"none\"}}"

static dfo_model *trained(int threads, uint64_t steps, dfo_batch all)
{
    json_t *config = json(MOONS);
    dfo_model *model;
    dfo_loss *loss;
    dfo_source *source;
    dfo_fit_options o;
    dfo_fit_report report;
    ck_assert_msg(dfo_model_new(ctx, config, dfo_shape_vector(2), 1, 4, &model) == DFO_OK, "%s", dfo_ctx_error(ctx));
    json_decref(config);
    dfo_fit_defaults(&o);
    o.steps = steps;
    o.batch = 300;
    o.lr = 5e-3;
    o.threads = threads;
    o.shards = 3;
    ck_assert_int_eq(dfo_source_rows(ctx, all, &source), DFO_OK);
    ck_assert_int_eq(dfo_model_prepare_data(model, source), DFO_OK);
    ck_assert_int_eq(dfo_model_loss(model, &loss), DFO_OK);
    ck_assert_msg(dfo_fit(loss, source, NULL, 1, &o, &report) == DFO_OK, "%s", dfo_ctx_error(ctx));
    dfo_loss_free(loss);
    dfo_source_free(source);
    return model;
}

static void logits_of(const dfo_model *model, size_t n, const dfo_real *rows, dfo_real *x, double *logits)
{
    dfo_model_plan *plan;
    for (size_t i = 0; i < n; i++)
        memcpy(x + 2 * i, rows + 3 * i, 2 * sizeof *x);
    ck_assert_int_eq(dfo_model_plan_new(ctx, model, 0, &plan), DFO_OK);
    ck_assert_int_eq(dfo_model_classify(plan, 0, dfo_batch_of(x, n, 2), logits), DFO_OK);
    dfo_model_plan_free(plan);
}

START_TEST(moons_are_told_apart)
{
    enum { N = 600 };
    static dfo_real rows[3 * N], x[2 * N], y[2 * N];
    static double logits[2 * N], again[2 * N];
    static uint32_t label[N];
    moons(N, rows);
    dfo_model *model = trained(1, 300, dfo_batch_of(rows, N, 3)), *loaded;
    ck_assert_uint_eq(dfo_model_classes(model), 2);
    ck_assert_uint_eq(dfo_model_context(model), 0);
    ck_assert_str_eq(dfo_model_kind(model), "classifier");
    logits_of(model, N, rows, x, logits);
    for (size_t i = 0; i < N; i++)
        label[i] = (uint32_t)rows[3 * i + 2];
    dfo_predictions p = {.n = N, .k = 2, .logits = logits, .label = label, .temperature = 1};
    dfo_calibration figures;
    ck_assert_int_eq(dfo_calibration_measure(ctx, &p, 15, &figures, NULL, NULL), DFO_OK);
    ck_assert_msg(figures.accuracy > 0.98, "accuracy %g", figures.accuracy);

    const char *path = test_tmp_file("c.safetensors");
    ck_assert_int_eq(dfo_model_save(model, path), DFO_OK);
    ck_assert_msg(dfo_model_load(ctx, path, &loaded) == DFO_OK, "%s", dfo_ctx_error(ctx));
    logits_of(loaded, N, rows, y, again);
    ck_assert_msg(!memcmp(logits, again, sizeof logits) && !memcmp(x, y, sizeof x), "a file gives other bits");
    for (size_t i = 0; i < 7; i++) {                   /* a row alone */
        double one[2];
        logits_of(loaded, 1, rows + 3 * i, y, one);
        ck_assert_msg(!memcmp(one, logits + 2 * i, sizeof one), "row %zu depends on the others", i);
    }
    dfo_model_plan *plan;
    ck_assert_int_eq(dfo_model_plan_new(ctx, loaded, 0, &plan), DFO_OK);
    ck_assert_int_eq(dfo_model_decode(plan, 0, dfo_batch_of(x, N, 2), NULL, NULL), DFO_OK);
    for (size_t i = 0; i < N; i++)
        for (size_t j = 0; j < 2; j++)
            ck_assert_double_eq_tol((double)x[2 * i + j], (double)rows[3 * i + j], 64 * DFO_REAL_EPS);
    dfo_model_plan_free(plan);

    dfo_model_free(loaded);
    dfo_model_free(model);
}
END_TEST

START_TEST(threads)
{
    enum { N = 600 };
    static dfo_real rows[3 * N];
    moons(N, rows);
    dfo_model *one = trained(1, 5, dfo_batch_of(rows, N, 3)), *two = trained(2, 5, dfo_batch_of(rows, N, 3));
    ck_assert_msg(!memcmp(dfo_store_weights(dfo_model_store(one)), dfo_store_weights(dfo_model_store(two)),
                          dfo_store_weights_size(dfo_model_store(two)) * sizeof(dfo_real)),
                  "two threads train to other bits");
    dfo_model_free(two);
    dfo_model_free(one);
}
END_TEST

static dfo_model *made(const char *config, dfo_shape shape, size_t context)
{
    json_t *c = json(config);
    dfo_model *model;
    dfo_model_new(ctx, c, shape, context, 1, &model);
    json_decref(c);
    return model;
}

#define PICTURES(levels) "{\"flow\":\"custom\"," IMAGES ",\"head\":{\"classes\":2},\"levels\":" levels "}"

/* With levels decode gives whole numbers within them.  */
START_TEST(levels)
{
    dfo_real x[90], z[90];
    dfo_model_plan *plan;
    dfo_model *model = made(PICTURES("256"), image, 0), *plain = made(PICTURES("0"), image, 0);
    ck_assert_msg(model && plain, "%s", dfo_ctx_error(ctx));
    for (size_t i = 0; i < 90; i++)
        x[i] = z[i] = (dfo_real)(i * 8 % 256);
    ck_assert_int_eq(dfo_model_plan_new(ctx, model, 0, &plan), DFO_OK);
    ck_assert_int_eq(dfo_model_encode(plan, 0, dfo_batch_of(z, 3, 30), NULL, NULL), DFO_OK);
    ck_assert_msg(memcmp(x, z, sizeof x) != 0, "the features are the pixels");
    ck_assert_int_eq(dfo_model_decode(plan, 0, dfo_batch_of(z, 3, 30), NULL, NULL), DFO_OK);
    ck_assert_msg(!memcmp(x, z, sizeof x), "the pixels did not come back");
    for (size_t i = 0; i < 90; i++)
        z[i] = (dfo_real)(1000 * ((int)i % 3 - 1));
    ck_assert_int_eq(dfo_model_decode(plan, 0, dfo_batch_of(z, 3, 30), NULL, NULL), DFO_OK);
    for (size_t i = 0; i < 90; i++)
        ck_assert(z[i] >= 0 && z[i] <= 255 && (double)z[i] == floor((double)z[i]));
    dfo_model_plan_free(plan);
    ck_assert_int_eq(dfo_model_plan_new(ctx, plain, 0, &plan), DFO_OK);
    z[0] = (dfo_real)0.3;
    ck_assert_int_eq(dfo_model_decode(plan, 0, dfo_batch_of(z, 3, 30), NULL, NULL), DFO_OK);
    int whole = 1;
    for (size_t i = 0; i < 30; i++)
        whole &= (double)z[i] == floor((double)z[i]);
    ck_assert_msg(!whole, "rounded without levels");
    dfo_model_plan_free(plan);
    dfo_model_free(model);
    dfo_model_free(plain);
}
END_TEST

/* The preset: pictures come back, every pixel, also from features that weights far from their first values made.  */
static const struct {
    const char *config;
    dfo_shape shape;
} pictures[] = {
    {"{\"flow\":\"irevnet\",\"classes\":3,\"levels\":256,\"hidden\":5,\"blocks\":2,\"dense_hidden\":6}", {1, 8, 8}},
    {"{\"flow\":\"irevnet\",\"classes\":3,\"levels\":256,\"hidden\":0,\"blocks\":[3,1],\"dense_blocks\":0}", {3, 8, 12}},
    {"{\"flow\":\"irevnet\",\"classes\":2,\"levels\":256,\"hidden\":3,\"blocks\":1,\"strides\":[2,2,2],\"squeeze\":1}", {2, 8, 8}},
};

START_TEST(preset)
{
    enum { N = 40 };
    size_t d = dfo_shape_size(pictures[_i].shape);
    test_rng rng = test_rng_new(test_seed());
    dfo_model_plan *plan;
    dfo_model *model = made(pictures[_i].config, pictures[_i].shape, 1);
    ck_assert_msg(model != NULL, "%s", dfo_ctx_error(ctx));
    dfo_store *store = dfo_model_store(model);
    for (size_t k = 0; k < dfo_store_weights_size(store); k++)
        dfo_store_weights(store)[k] += (dfo_real)(0.1 * test_rng_normal(&rng));
    dfo_store_touch(store);
    dfo_real *x = malloc(N * d * sizeof *x), *z = malloc(N * d * sizeof *z);
    for (size_t k = 0; k < N * d; k++)
        x[k] = z[k] = (dfo_real)test_rng_between(&rng, 0, 255);
    ck_assert_int_eq(dfo_model_plan_new(ctx, model, 0, &plan), DFO_OK);
    ck_assert_msg(dfo_model_encode(plan, 0, dfo_batch_of(z, N, d), NULL, NULL) == DFO_OK, "%s", dfo_ctx_error(ctx));
    double change = 0;
    for (size_t k = 0; k < N * d; k++)
        change += fabs((double)z[k] - (double)x[k]) > 1;
    ck_assert_msg(change > 0.5 * (double)(N * d), "the features are pixels");
    ck_assert_int_eq(dfo_model_decode(plan, 0, dfo_batch_of(z, N, d), NULL, NULL), DFO_OK);
    for (size_t k = 0; k < N * d; k++)
        ck_assert_msg(x[k] == z[k], "seed %llu: pixel %zu: %g came back as %g", (unsigned long long)test_seed(), k,
                      (double)x[k], (double)z[k]);
    free(x);
    free(z);
    dfo_model_plan_free(plan);
    dfo_model_free(model);
}
END_TEST

static void says(const char *text)
{
    ck_assert_msg(strstr(dfo_ctx_error(ctx), text) != NULL, "expected '%s', got '%s'", text, dfo_ctx_error(ctx));
}

/* What a classifier lacks is one line, and so is what a flow lacks.  */
START_TEST(absent_abilities)
{
    dfo_real x[4] = {0};
    double out[4];
    dfo_model *model = made("{\"flow\":\"custom\"," VECTORS ",\"head\":{\"classes\":2}}", vector, 1), *loaded;
    const char *path = test_tmp_file("kind.safetensors");
    dfo_model_plan *plan;
    dfo_loss *loss;
    ck_assert_msg(model != NULL, "%s", dfo_ctx_error(ctx));
    ck_assert_int_eq(dfo_model_save(model, path), DFO_OK);
    ck_assert_int_eq(dfo_model_load(ctx, path, &loaded), DFO_OK);
    ck_assert_int_eq(dfo_model_plan_new(ctx, loaded, 1, &plan), DFO_OK);
    ck_assert_int_eq(dfo_model_log_prob(plan, 0, dfo_batch_of(x, 1, 4), NULL, out), DFO_EUNSUP);
    says("kind.safetensors is a classifier: it has no density; try 'diffeo classify'");
    ck_assert_int_eq(dfo_model_sample(plan, 0, 0, dfo_batch_of(x, 1, 4), NULL, 1), DFO_EUNSUP);
    says("it has no samples");
    ck_assert_int_eq(dfo_model_wants_density(loaded), DFO_EUNSUP);
    ck_assert_int_eq(dfo_model_loss_target(loaded, NULL, 0, &loss), DFO_EUNSUP);
    ck_assert_ptr_null(loss);
    ck_assert_int_eq(dfo_model_wants_samples(loaded), DFO_EUNSUP);
    ck_assert_int_eq(dfo_model_wants_classes(loaded), DFO_OK);
    dfo_model_plan_free(plan);
    dfo_model_free(loaded);
    dfo_model_free(model);
    model = made("{\"flow\":\"custom\"," VECTORS "}", vector, 0);
    ck_assert_msg(model != NULL, "%s", dfo_ctx_error(ctx));
    ck_assert_int_eq(dfo_model_wants_classes(model), DFO_EUNSUP);
    says("the model is a flow: it has no classes; try 'diffeo loglik'");
    ck_assert_uint_eq(dfo_model_classes(model), 0);
    dfo_model_free(model);
}
END_TEST

START_TEST(refusals)
{
    static const struct {
        const char *config;
        const dfo_shape *shape;
        size_t context;
        const char *text;
    } bad[] = {
        {"{\"flow\":\"custom\"," VECTORS ",\"head\":{}}", &vector, 1, "classes: expected their number"},
        {"{\"flow\":\"custom\"," VECTORS ",\"head\":{\"classes\":1}}", &vector, 1, "classes must be at least 2"},
        {"{\"flow\":\"custom\"," VECTORS ",\"head\":7}", &vector, 1, "head: expected an object"},
        {"{\"flow\":\"custom\"," VECTORS ",\"head\":{\"classes\":2,\"pool\":1}}", &vector, 1, "unknown key 'pool'"},
        {"{\"flow\":\"custom\"," VECTORS ",\"head\":{\"classes\":2,\"activation\":\"tanh\"}}", &vector, 1,
         "activation: expected relu or none, got tanh"},
        {"{\"flow\":\"custom\"," VECTORS ",\"head\":{\"classes\":2},\"augment\":{\"shift\":1}}", &vector, 1,
         "augment: rows are not images"},
        {"{\"flow\":\"custom\"," VECTORS ",\"head\":{\"classes\":2},\"augment\":3}", &vector, 1, "augment: expected an object"},
        {"{\"flow\":\"custom\"," VECTORS ",\"head\":{\"classes\":2},\"base\":{\"type\":\"normal\"}}", &vector, 1,
         "unknown key 'base'"},
        {"{\"flow\":\"custom\"," VECTORS ",\"head\":{\"classes\":2}}", &vector, 2, "takes no context"},
        {"{\"flow\":\"custom\",\"head\":{\"classes\":2}}", &vector, 1, "expected a bijector"},
        {"{\"flow\":\"custom\"," VECTORS ",\"head\":{\"classes\":2},\"levels\":70000}", &vector, 1, "levels"},
        {"{\"flow\":\"irevnet\",\"classes\":3}", &vector, 1, "expected images"},
        {"{\"flow\":\"irevnet\",\"classes\":3}", &image, 1, "images of 3x5 cannot be divided by 2"},
        {"{\"flow\":\"irevnet\",\"classes\":3,\"squeeze\":1,\"strides\":1,\"blocks\":1,\"hidden\":2}", &image, 1, "only square images"},
        {"{\"flow\":\"irevnet\",\"squeeze\":1,\"strides\":1,\"blocks\":1,\"hidden\":2,\"dense_blocks\":0}", &image, 1, "classes: expected"},
        {"{\"flow\":\"irevnet\",\"classes\":3,\"squeeze\":1,\"strides\":1,\"blocks\":1,\"hidden\":[1,2]}", &image, 1,
         "hidden: expected 1 numbers"},
        {"{\"flow\":\"irevnet\",\"classes\":3,\"squeeze\":1,\"strides\":[1,2]}", &odd, 1, "1 channels have no halves"},
        {"{\"flow\":\"irevnet\",\"classes\":3,\"bins\":8}", &image, 1, "unknown key 'bins'"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ck_assert_msg(made(bad[i].config, *bad[i].shape, bad[i].context) == NULL, "%s was taken", bad[i].config);
        says(bad[i].text);
    }
}
END_TEST

struct life {
    char path[256];
    const char *config;
};

static dfo_status life(dfo_ctx *c, void *data)
{
    struct life *l = data;
    dfo_status status;
    dfo_model *model = NULL, *loaded = NULL;
    dfo_model_plan *plan = NULL;
    dfo_loss *loss = NULL;
    json_t *config = NULL;
    dfo_real x[60] = {1, 2, 3};
    double logits[4];
    DFO_GO(dfoi_json_parse(c, l->config, strlen(l->config), "configuration", &config));
    DFO_GO(dfo_model_new(c, config, image, 1, 7, &model));
    DFO_GO(dfo_model_loss(model, &loss));
    DFO_GO(dfo_model_save(model, l->path));
    DFO_GO(dfo_model_load(c, l->path, &loaded));
    DFO_GO(dfo_model_plan_new(c, loaded, 0, &plan));
    DFO_GO(dfo_model_classify(plan, 0, dfo_batch_of(x, 2, 30), logits));
    DFO_GO(dfo_model_decode(plan, 0, dfo_batch_of(x, 2, 30), NULL, NULL));
fail:
    dfo_loss_free(loss);
    dfo_model_plan_free(plan);
    dfo_model_free(loaded);
    dfo_model_free(model);
    json_decref(config);
    return status;
}

START_TEST(no_memory)
{
    static const char *const config[] = {
        PICTURES("256"),
        "{\"flow\":\"irevnet\",\"classes\":2,\"levels\":256,\"squeeze\":1,\"strides\":1,\"blocks\":1,\"hidden\":2,\"dense_blocks\":0}",
    };
    struct life l = {.config = config[_i]};
    snprintf(l.path, sizeof l.path, "%s", test_tmp_file("m.safetensors"));
    oom_check(l.config, OOM_ALL, life, &l);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("classifiers (" DFO_REAL_NAME ")");
    TCase *parts = tcase_create("parts"), *models = tcase_create("models");
    tcase_add_loop_test(parts, gradient, 0, (int)(sizeof graded / sizeof *graded));
    tcase_add_test(parts, labels);
    tcase_add_test(parts, augmentation);
    suite_add_tcase(suite, parts);
    tcase_add_checked_fixture(models, open_ctx, close_ctx);
    tcase_add_test(models, moons_are_told_apart);
    tcase_add_test(models, threads);
    tcase_add_test(models, levels);
    tcase_add_test(models, absent_abilities);
    tcase_add_test(models, refusals);
    tcase_add_loop_test(models, preset, 0, (int)(sizeof pictures / sizeof *pictures));
    tcase_add_loop_test(models, no_memory, 0, 2);
    suite_add_tcase(suite, models);
    return test_run(suite);
}
