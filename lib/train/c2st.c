/* Classifier two-sample test: a net learns to tell a's rows from b's; its accuracy on rows that it has not seen says how
 * far the samples are apart (Lopez-Paz and Oquab 2017).  Five folds; of the other rows a tenth chooses when to stop.  */
#include <jansson.h>
#include <math.h>
#include <string.h>

#include <diffeo/c2st.h>
#include <diffeo/net.h>
#include "base/ctx_impl.h"
#include "dist/distance_impl.h"
#include "train/fit_impl.h"

#define FOLDS 5
#define VALID 10                       /* every so many'th row that is not held out */

/* -log sigmoid(t f(x)), t = 1 for a's rows and -1 for b's; the condition says which.  */
struct test {
    dfo_net *net;
    int      errors;                   /* eval gives 1 for a row on the wrong side, 0 for another */
};

static dfo_block outputs(dfo_run *run)
{
    return (dfo_block){dfo_arena_take(run, DFO_NET_ROWS), 0, 1, DFO_NET_ROWS / 2, DFO_FEATURES};
}

static dfo_need need(const dfo_loss *loss, size_t rows, const dfo_run *how, int train)
{
    const struct test *t = loss->state;
    (void)how;
    dfo_need n = {.rows = rows, .scratch = dfo_arena_size(DFO_NET_ROWS) + dfo_net_scratch(t->net, DFO_NET_ROWS)};
    if (train) {
        n.scratch += dfo_arena_size(dfo_net_acts(t->net, DFO_NET_ROWS));
        n.range = t->net->count;
    }
    return n;
}

static dfo_cond inputs(dfo_batch x)
{
    dfo_cond in = {.n = 1};
    in.part[0].rows = x;
    in.part[0].shape = dfo_shape_vector(x.d);
    return in;
}

/* Loss of a row whose output is f; its derivative in *slope.  */
static double row_loss(double f, double sign, double *slope)
{
    double m = sign * f, e = exp(-fabs(m));
    *slope = -sign * (m > 0 ? e : 1) / (1 + e);
    return log1p(e) + (m > 0 ? 0 : -m);
}

static double sign_of(const dfo_minibatch *b, size_t i)
{
    return (double)dfo_row(b->cond.part[0].rows, i)[0];
}

static dfo_status grad(const dfo_loss *loss, dfo_run *run, dfo_minibatch shard, double scale, double *sum)
{
    const struct test *t = loss->state;
    size_t mark = run->arena_used;
    dfo_block out = outputs(run);
    dfo_real *acts = dfo_arena_take(run, dfo_net_acts(t->net, DFO_NET_ROWS));
    dfo_run_grads_begin(run, t->net->first, t->net->count, 0, 0);
    for (size_t first = 0; first < shard.x.n; first += out.n) {
        out.n = shard.x.n - first < DFO_NET_ROWS ? shard.x.n - first : DFO_NET_ROWS;
        dfo_cond in = inputs(dfo_batch_rows(shard.x, first, out.n));
        DFO_TRY(dfo_net_forward(t->net, run, &in, out, acts));
        for (size_t i = 0; i < DFO_NET_ROWS; i++) {
            double slope = 0;
            if (i < out.n)
                *sum += row_loss((double)out.x[i], sign_of(&shard, first + i), &slope);
            out.x[i] = (dfo_real)(slope * scale);
        }
        DFO_TRY(dfo_net_backward(t->net, run, &in, out, NULL, acts));
    }
    dfo_run_grads_done(run, t->net->first, t->net->count, 0, 0);
    run->arena_used = mark;
    return DFO_OK;
}

static dfo_status eval(const dfo_loss *loss, dfo_run *run, dfo_minibatch shard, double *to)
{
    const struct test *t = loss->state;
    size_t mark = run->arena_used;
    dfo_block out = outputs(run);
    for (size_t first = 0; first < shard.x.n; first += out.n) {
        out.n = shard.x.n - first < DFO_NET_ROWS ? shard.x.n - first : DFO_NET_ROWS;
        dfo_cond in = inputs(dfo_batch_rows(shard.x, first, out.n));
        DFO_TRY(dfo_net_forward(t->net, run, &in, out, NULL));
        for (size_t i = 0; i < out.n; i++) {
            double slope, sign = sign_of(&shard, first + i), value = row_loss((double)out.x[i], sign, &slope);
            to[first + i] = t->errors ? sign * (double)out.x[i] <= 0 : value;
        }
    }
    run->arena_used = mark;
    return DFO_OK;
}

static const struct dfo_loss_ops ops = {.type = "c2st", .need = need, .grad = grad, .eval = eval};

/* Rows of both samples in turn, features standardised, then 1 or -1.  */
struct rows {
    size_t    n, d;
    dfo_real *x;                       /* (n, d + 1) */
};

static void take_rows(const dfo_samples *a, const dfo_samples *b, struct rows *r)
{
    for (size_t j = 0; j < r->d; j++) {
        double mean = 0, squares = 0;
        for (size_t i = 0; i < r->n; i++)
            mean += (i % 2 ? b : a)->x[i / 2 * r->d + j] / (double)r->n;
        for (size_t i = 0; i < r->n; i++) {
            double gap = (i % 2 ? b : a)->x[i / 2 * r->d + j] - mean;
            squares += gap * gap / (double)r->n;
        }
        for (size_t i = 0; i < r->n; i++)
            r->x[i * (r->d + 1) + j] = (dfo_real)(((i % 2 ? b : a)->x[i / 2 * r->d + j] - mean) /
                                                  (squares > 0 ? sqrt(squares) : 1));
    }
    for (size_t i = 0; i < r->n; i++)
        r->x[i * (r->d + 1) + r->d] = i % 2 ? -1 : 1;
}

/* The rows of one part of a fold: 0 trains, 1 chooses, 2 is held out.  Pairs of rows stay together.  */
static dfo_batch part(const struct rows *r, size_t fold, int which, dfo_real *to)
{
    size_t n = 0, width = r->d + 1;
    for (size_t i = 0; i < r->n; i++) {
        size_t pair = i / 2;
        int of = pair % FOLDS == fold ? 2 : pair / FOLDS % VALID == 0;
        if (of == which)
            memcpy(to + n++ * width, r->x + i * width, width * sizeof *to);
    }
    return dfo_batch_of(to, n, width);
}

/* What one fold holds.  */
struct fold {
    dfo_store  *store;
    struct test test;
    dfo_loss    loss;
    dfo_source *source[3];
    dfo_plan   *plan;
};

static dfo_status make_net(dfo_ctx *ctx, size_t d, uint64_t seed, struct fold *f)
{
    size_t wide = 10 * d < 32 ? 32 : 10 * d > 256 ? 256 : 10 * d;
    dfo_build build = {.ctx = ctx, .seed = seed, .path = "c2st"};
    dfo_shape in = dfo_shape_vector(d);
    DFO_TRY(dfo_store_new(ctx, &f->store));
    build.store = f->store;
    json_t *config = json_pack("{s:[I,I], s:s}", "hidden", (json_int_t)wide, (json_int_t)wide, "activation", "relu");
    if (!config)
        return dfoi_fail(ctx, DFO_EMEM, "out of memory");
    dfo_status status = dfo_net_new(&build, config, 1, &in, dfo_shape_vector(1), 1, &f->test.net);
    json_decref(config);
    f->loss = (dfo_loss){&ops, ctx, f->store, &f->test};
    return status;
}

static dfo_status train(dfo_ctx *ctx, uint64_t seed, struct fold *f)
{
    dfo_fit_options how;
    dfo_fit_report report;
    dfo_fit_defaults(&how);
    how.epochs = 100;
    how.patience = 10;
    how.batch = 128;
    how.lr = 1e-3;
    how.schedule = DFO_CONSTANT;
    how.seed = seed;
    how.threads = dfo_ctx_threads(ctx);
    return dfo_fit(&f->loss, f->source[0], f->source[1], 1, &how, &report);
}

static dfo_status score(dfo_ctx *ctx, uint64_t seed, struct fold *f, double *errors)
{
    dfo_plan_options how = {.block = DFO_NET_ROWS, .seed = seed, .mode = DFO_EVALUATE};
    dfo_run plain = {.memory = DFO_MEMORY_INVERT};
    dfo_need n = need(&f->loss, how.block, &plain, 0);
    DFO_TRY(dfo_plan_new(ctx, f->store, &n, &how, &f->plan));
    f->test.errors = 1;
    return dfoi_mean_loss(f->plan, &f->loss, f->source[2], 1, seed, 0, errors);
}

/* memory: room for all rows.  *errors: how many of the held-out rows were on the wrong side.  */
static dfo_status one_fold(dfo_ctx *ctx, const struct rows *r, size_t which, uint64_t seed, dfo_real *memory,
                           double *errors)
{
    dfo_status status;
    struct fold f = {0};
    dfo_batch rows = {.x = memory};
    for (int k = 0; k < 3; k++) {
        rows = part(r, which, k, memory);
        memory += rows.n * rows.d;
        DFO_GO(dfo_source_rows(ctx, rows, &f.source[k]));
    }
    DFO_GO(make_net(ctx, r->d, seed + which, &f));
    DFO_GO(train(ctx, seed + which, &f));
    DFO_GO(score(ctx, seed, &f, errors));
    *errors *= (double)rows.n;
fail:
    dfo_plan_free(f.plan);
    dfo_net_free(f.test.net);
    dfo_store_free(f.store);
    for (int k = 0; k < 3; k++)
        dfo_source_free(f.source[k]);
    return status;
}

dfo_status dfo_c2st(dfo_ctx *ctx, const dfo_samples *a, const dfo_samples *b, uint64_t seed, dfo_estimate *accuracy)
{
    dfo_status status;
    double wrong = 0, errors;
    dfo_real *memory = NULL;
    DFO_TRY(dfoi_samples_check(ctx, a, b));
    struct rows r = {.n = 2 * (a->n < b->n ? a->n : b->n), .d = a->d};
    DFO_GO(dfoi_alloc(ctx, r.n, (r.d + 1) * sizeof *r.x, &r.x));
    DFO_GO(dfoi_alloc(ctx, r.n, (r.d + 1) * sizeof *memory, &memory));
    take_rows(a, b, &r);
    for (size_t k = 0; k < FOLDS; k++) {
        DFO_GO(one_fold(ctx, &r, k, seed, memory, &errors));
        wrong += errors;
    }
    double right = 1 - wrong / (double)r.n;
    *accuracy = (dfo_estimate){right, sqrt(right * (1 - right) / (double)r.n)};
fail:
    dfoi_free(ctx, memory);
    dfoi_free(ctx, r.x);
    return status;
}
