/* A neural controlled differential equation (Kidger et al. 2020), from public headers alone: sequences are classified by where
 *     dz = f(z) dX,  z(0) = g(X(0)),  logits = h(z(T))
 * ends, with X the path through a sequence's observations and time as one of its channels, f, g and h nets.
 *     neural_cde TRAIN TEST CHANNELS [STEPS [SEED]]
 * TRAIN, TEST: tables (CSV, NPY) of a sequence a row: its class, 0 and up, then the channels of its first observation, of its
 * second, ...; nan where nothing was observed, and behind its end.  STEPS of the optimiser, 1000 unless said.  */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <diffeo/fit.h>
#include <diffeo/netfield.h>
#include <diffeo/ode.h>
#include <diffeo/plan.h>

#define STATE 32                   /* numbers in z */
#define HIDDEN 32                  /* units of f, two layers */
#define SUBSTEPS 1                 /* of rk4, from one observation to the next */
#define JITTER 0.3                 /* of scale and level, in standard deviations of the channel */
#define MOST_POINTS 256            /* and channels */
#define MOST_CLASSES 64
#define BLOCK 128                  /* sequences at a time in evaluation */

static dfo_ctx *ctx;

static void must(dfo_status status)
{
    if (status == DFO_OK)
        return;
    fprintf(stderr, "neural_cde: %s\n", dfo_ctx_error(ctx));
    exit(1);
}

static void *take(size_t n, size_t size)
{
    void *memory = calloc(n ? n : 1, size);
    if (memory)
        return memory;
    fprintf(stderr, "neural_cde: out of memory\n");
    exit(1);
}

/* ---- sequences to paths: a row of the data set is a path's coefficients and a class */

struct scale {
    double mean[MOST_POINTS], deviation[MOST_POINTS];          /* of the channels, of what was observed in the training set */
};

static dfo_batch read_table(const char *name, size_t channels)
{
    const dfo_source_options options = {.allow_nan = 1};
    dfo_source_info info;
    dfo_source *source;
    must(dfo_source_open(ctx, name, &options, &source));
    dfo_source_describe(source, &info);
    size_t n = (size_t)info.rows, d = dfo_shape_size(info.shape), points = d > 1 ? (d - 1) / channels : 0;
    if (d != 1 + points * channels || points < 2 || points > MOST_POINTS || channels + 1 > MOST_POINTS) {
        fprintf(stderr, "neural_cde: %s: expected a class and 2 to %d points of %zu channels, got %zu columns\n", name, MOST_POINTS,
                channels, d);
        exit(1);
    }
    dfo_batch rows = dfo_batch_of(take(n * d, sizeof(dfo_real)), n, d);
    must(dfo_source_read(source, ctx, 0, rows, NULL));
    dfo_source_free(source);
    return rows;
}

static void measure(dfo_batch table, size_t channels, struct scale *scale)
{
    for (size_t c = 0; c < channels; c++) {
        double n = 0, sum = 0, squares = 0;
        for (size_t i = 0; i < table.n; i++)
            for (size_t j = 1 + c; j < table.d; j += channels) {
                double x = (double)dfo_row(table, i)[j];
                if (isnan(x))
                    continue;
                n++;
                sum += x;
                squares += x * x;
            }
        scale->mean[c] = n > 0 ? sum / n : 0;
        scale->deviation[c] = n > 0 && squares * n > sum * sum ? sqrt(squares / n - sum / n * (sum / n)) : 1;
    }
}

/* The points of a sequence, in their scale, with the time in front; how many there are.  */
static size_t points_of(const dfo_path *path, const struct scale *scale, const dfo_real *row, dfo_real *to)
{
    size_t channels = path->channels - 1, length = 1;
    for (size_t p = 0; p < path->points; p++) {
        dfo_real *at = to + p * path->channels;
        at[0] = (dfo_real)(path->times[p] / 10);
        for (size_t c = 0; c < channels; c++) {
            double x = (double)row[1 + p * channels + c];
            at[1 + c] = (dfo_real)((x - scale->mean[c]) / scale->deviation[c]);
            if (!isnan(x))
                length = p + 1;
        }
    }
    return length;
}

static dfo_batch paths_of(const dfo_path *path, const struct scale *scale, dfo_batch table)
{
    size_t d = path->points * path->channels, size = dfo_path_size(path);
    dfo_batch points = dfo_batch_of(take(table.n * d, sizeof(dfo_real)), table.n, d);
    dfo_batch rows = dfo_batch_of(take(table.n * (size + 1), sizeof(dfo_real)), table.n, size + 1);
    size_t *lengths = take(table.n, sizeof *lengths);
    for (size_t i = 0; i < table.n; i++) {
        lengths[i] = points_of(path, scale, dfo_row(table, i), dfo_row(points, i));
        dfo_row(rows, i)[size] = dfo_row(table, i)[0];
    }
    must(dfo_path_fit(ctx, path, DFO_PATH_HERMITE, DFO_PATH_CARRY, points, lengths, dfo_batch_columns(rows, 0, size)));
    free(lengths);
    free(points.x);
    return rows;
}

/* ---- the model */

struct model {
    dfo_path  path;
    dfo_net  *start, *field, *readout;
    dfo_ode  *ode;
    size_t    classes;
};

static dfo_cond rows_in(dfo_batch x)
{
    return (dfo_cond){.n = 1, .part = {{x, dfo_shape_vector(x.d)}}};
}

/* Where the path begins: the constant terms of the first piece.  */
static dfo_cond first_points(const struct model *m, dfo_batch paths)
{
    return rows_in(dfo_batch_columns(paths, 0, m->path.channels));
}

static dfo_netfield driven(const struct model *m, dfo_batch paths)
{
    return (dfo_netfield){.net = m->field, .path = &m->path, .rows = paths};
}

/* z (n, STATE) at the end, where all paths stand still, and logits (n, classes).  trace: NULL, or one a piece.  */
static dfo_status forward(const struct model *m, dfo_run *run, dfo_batch paths, dfo_ode_trace *trace, dfo_batch z, dfo_batch logits)
{
    const dfo_cond first = first_points(m, paths), end = rows_in(z);
    dfo_netfield of = driven(m, paths);
    const dfo_field field = dfo_netfield_of(&of, NULL, NULL);
    dfo_status status = dfo_net_rows_forward(m->start, run, &first, z);
    for (; of.piece + 1 < m->path.points && status == DFO_OK; of.piece++)
        status = dfo_ode_solve(m->ode, &field, run, m->path.times[of.piece], m->path.times[of.piece + 1], z, NULL,
                               trace ? &trace[of.piece] : NULL, NULL);
    return status == DFO_OK ? dfo_net_rows_forward(m->readout, run, &end, logits) : status;
}

/* From the gradient at the logits, back through the steps in the traces.  */
static dfo_status backward(const struct model *m, dfo_run *run, dfo_batch paths, const dfo_ode_trace *trace, dfo_batch z,
                           dfo_batch glogits, dfo_batch gz)
{
    const dfo_cond first = first_points(m, paths), end = rows_in(z);
    dfo_cond gend = rows_in(gz);
    dfo_netfield of = driven(m, paths);
    const dfo_field field = dfo_netfield_of(&of, NULL, NULL);
    memset(gz.x, 0, gz.n * gz.d * sizeof *gz.x);
    dfo_status status = dfo_net_rows_backward(m->readout, run, &end, glogits, &gend);
    for (of.piece = m->path.points - 1; of.piece-- > 0 && status == DFO_OK;)
        status = dfo_ode_backward(m->ode, &field, run, &trace[of.piece], gz, NULL, NULL);
    return status == DFO_OK ? dfo_net_rows_backward(m->start, run, &first, gz, NULL) : status;
}

/* -log softmax(logits)[label]; logits become the gradient of `scale` times that.  */
static double cross_entropy(size_t k, dfo_real *logits, size_t label, double scale)
{
    double top = (double)logits[0], sum = 0, at = (double)logits[label];
    for (size_t i = 1; i < k; i++)
        top = fmax(top, (double)logits[i]);
    for (size_t i = 0; i < k; i++)
        sum += exp((double)logits[i] - top);
    for (size_t i = 0; i < k; i++)
        logits[i] = (dfo_real)(scale * (exp((double)logits[i] - top) / sum - (i == label)));
    return top + log(sum) - at;
}

/* ---- the loss: what the trainer minimises; its rows are paths, their condition is the class */

static dfo_need need(const dfo_loss *loss, size_t rows, const dfo_run *how, int train)
{
    const struct model *m = loss->state;
    const dfo_netfield of = driven(m, (dfo_batch){0});
    const dfo_field field = dfo_netfield_of(&of, NULL, NULL);
    const size_t passes[4] = {dfo_ode_scratch(m->ode, &field, rows), dfo_ode_backward_scratch(m->ode, &field, rows),
                              dfo_net_rows_scratch(m->start, rows), dfo_net_rows_scratch(m->readout, rows)};
    size_t most = 0;
    (void)how;
    for (size_t i = 0; i < 4; i++)
        most = passes[i] > most ? passes[i] : most;
    dfo_need need = {.rows = rows, .scratch = most + 2 * dfo_arena_size(rows * STATE) + dfo_arena_size(rows * m->classes)};
    if (train) {
        need.scratch += (m->path.points - 1) * dfo_arena_size((SUBSTEPS + 1) * rows * STATE);
        need.range = dfo_store_weights_size(loss->store);
    }
    return need;
}

/* At every step each sequence's channels, but for the time, are stretched and moved a little, so that the training set is not
 * learned by heart: an affine map of a path is one of its coefficients.  Draws are functions of seed, step and place in the
 * batch.  */
static dfo_status draw(const dfo_loss *loss, dfo_run *run, dfo_minibatch *batch)
{
    const struct model *m = loss->state;
    size_t channels = m->path.channels;
    for (size_t i = 0; i < batch->x.n; i++) {
        dfo_real by[MOST_POINTS], level[MOST_POINTS], *at = dfo_row(batch->x, i);
        dfo_key key = {.seed = run->key.seed, .purpose = DFO_FOR_AUGMENT, .step = (uint32_t)batch->step, .row = 2 * i};
        dfo_draw_real_normal(key, channels, by);
        key.row++;
        dfo_draw_real_normal(key, channels, level);
        for (size_t k = 0; k < 4 * (m->path.points - 1); k++, at += channels)
            for (size_t c = 1; c < channels; c++)
                at[c] = at[c] * (1 + (dfo_real)JITTER * by[c]) + (k % 4 ? 0 : (dfo_real)JITTER * level[c]);
    }
    return DFO_OK;
}

static dfo_status grad(const dfo_loss *loss, dfo_run *run, dfo_minibatch shard, double scale, double *sum)
{
    const struct model *m = loss->state;
    size_t n = shard.x.n, weights = dfo_store_weights_size(loss->store);
    dfo_batch z = dfo_batch_of(dfo_arena_take(run, n * STATE), n, STATE);
    dfo_batch gz = dfo_batch_of(dfo_arena_take(run, n * STATE), n, STATE);
    dfo_batch logits = dfo_batch_of(dfo_arena_take(run, n * m->classes), n, m->classes);
    dfo_ode_trace trace[MOST_POINTS];
    double times[MOST_POINTS][SUBSTEPS + 1];
    for (size_t p = 0; p + 1 < m->path.points; p++)
        trace[p] = (dfo_ode_trace){.most = SUBSTEPS, .t = times[p], .x = dfo_arena_take(run, (SUBSTEPS + 1) * n * STATE)};
    dfo_status status = forward(m, run, shard.x, trace, z, logits);
    if (status != DFO_OK)
        return status;
    for (size_t i = 0; i < n; i++)
        *sum += cross_entropy(m->classes, dfo_row(logits, i), (size_t)dfo_row(shard.cond.part[0].rows, i)[0], scale);
    dfo_run_grads_begin(run, 0, weights, 0, 0);
    status = backward(m, run, shard.x, trace, z, logits, gz);
    dfo_run_grads_done(run, 0, weights, 0, 0);
    return status;
}

static dfo_status eval(const dfo_loss *loss, dfo_run *run, dfo_minibatch shard, double *out)
{
    const struct model *m = loss->state;
    size_t n = shard.x.n;
    dfo_batch z = dfo_batch_of(dfo_arena_take(run, n * STATE), n, STATE);
    dfo_batch logits = dfo_batch_of(dfo_arena_take(run, n * m->classes), n, m->classes);
    dfo_status status = forward(m, run, shard.x, NULL, z, logits);
    for (size_t i = 0; i < n && status == DFO_OK; i++)
        out[i] = cross_entropy(m->classes, dfo_row(logits, i), (size_t)dfo_row(shard.cond.part[0].rows, i)[0], 0);
    return status;
}

static const struct dfo_loss_ops loss_ops = {.type = "cde", .need = need, .draw = draw, .grad = grad, .eval = eval};

/* ---- making, fitting, testing */

static dfo_net *make_net(dfo_store *store, uint64_t seed, const char *name, size_t layers, size_t in, size_t out)
{
    const dfo_shape shape = dfo_shape_vector(in);
    dfo_build build = {.ctx = ctx, .store = store, .seed = seed, .path = name};
    json_t *config = json_pack("{s:s, s:i, s:i, s:s}", "type", "mlp", "hidden", HIDDEN, "layers", (int)layers, "activation", "silu");
    dfo_net *net;
    must(dfo_net_new(&build, config, 1, &shape, dfo_shape_vector(out), 0, &net));
    json_decref(config);
    return net;
}

static void tell(void *data, const dfo_fit_event *event)
{
    (void)data;
    if (event->kind == DFO_FIT_VALID)
        printf("step %5llu: cross entropy %.5f\n", (unsigned long long)event->step, event->train_loss);
    fflush(stdout);
}

static void fit(dfo_loss *loss, dfo_batch rows, uint64_t steps, uint64_t seed)
{
    dfo_fit_options options;
    dfo_fit_report report;
    dfo_source *source;
    dfo_fit_defaults(&options);
    options.steps = steps;
    options.valid_every = (steps + 9) / 10;
    options.batch = 64;
    options.lr = 3e-3;
    options.optimiser = DFO_ADAMW;
    options.weight_decay = 0.01;
    options.seed = seed;
    options.event = tell;
    must(dfo_source_rows(ctx, rows, &source));
    must(dfo_fit(loss, source, NULL, 1, &options, &report));
    dfo_source_free(source);
}

/* How many rows have their largest logit at their class.  */
static size_t right(const dfo_loss *loss, dfo_batch rows)
{
    const struct model *m = loss->state;
    const dfo_plan_options options = {.threads = 1, .block = BLOCK};
    dfo_need memory = need(loss, BLOCK, NULL, 0);
    dfo_plan *plan;
    size_t count = 0;
    must(dfo_plan_new(ctx, loss->store, &memory, &options, &plan));
    for (size_t first = 0; first < rows.n; first += BLOCK) {
        size_t n = rows.n - first < BLOCK ? rows.n - first : BLOCK;
        dfo_run *run = dfo_plan_run(plan, (dfo_key){.row = first});
        dfo_batch z = dfo_batch_of(dfo_arena_take(run, n * STATE), n, STATE);
        dfo_batch logits = dfo_batch_of(dfo_arena_take(run, n * m->classes), n, m->classes);
        if (forward(m, run, dfo_batch_columns(dfo_batch_rows(rows, first, n), 0, rows.d - 1), NULL, z, logits) != DFO_OK) {
            fprintf(stderr, "neural_cde: %s\n", run->text);
            exit(1);
        }
        for (size_t i = 0; i < n; i++) {
            size_t best = 0;
            for (size_t k = 1; k < m->classes; k++)
                best = dfo_row(logits, i)[k] > dfo_row(logits, i)[best] ? k : best;
            count += best == (size_t)dfo_row(rows, first + i)[rows.d - 1];
        }
    }
    dfo_plan_free(plan);
    return count;
}

static size_t count_classes(dfo_batch train, dfo_batch test)
{
    size_t classes = 2;
    for (size_t i = 0; i < train.n + test.n; i++) {
        double label = (double)dfo_row(i < train.n ? train : test, i < train.n ? i : i - train.n)[0];
        if (!(label >= 0 && label < MOST_CLASSES) || label != floor(label)) {
            fprintf(stderr, "neural_cde: row %zu: class %g, expected a whole number from 0 to %d\n", i, label, MOST_CLASSES - 1);
            exit(1);
        }
        classes = (size_t)label + 1 > classes ? (size_t)label + 1 : classes;
    }
    return classes;
}

int main(int argc, char **argv)
{
    const size_t channels = argc > 3 ? strtoull(argv[3], NULL, 10) : 0;
    const uint64_t steps = argc > 4 ? strtoull(argv[4], NULL, 10) : 1000, seed = argc > 5 ? strtoull(argv[5], NULL, 10) : 0;
    static double times[MOST_POINTS];
    static struct scale scale;
    if (!channels || !steps || dfo_ctx_new(&ctx) != DFO_OK) {
        fprintf(stderr, "usage: neural_cde TRAIN TEST CHANNELS [STEPS [SEED]]\n");
        return 2;
    }
    dfo_batch train = read_table(argv[1], channels), test = read_table(argv[2], channels);
    if (test.d != train.d) {
        fprintf(stderr, "neural_cde: %s has %zu columns, %s %zu\n", argv[1], train.d, argv[2], test.d);
        return 1;
    }
    struct model m = {.path = {(train.d - 1) / channels, channels + 1, times}, .classes = count_classes(train, test)};
    for (size_t p = 0; p < m.path.points; p++)
        times[p] = (double)p;
    measure(train, channels, &scale);
    dfo_batch train_paths = paths_of(&m.path, &scale, train), test_paths = paths_of(&m.path, &scale, test);

    dfo_store *store;
    const dfo_ode_options options = {.method = "rk4", .steps = SUBSTEPS, .most = SUBSTEPS};
    must(dfo_store_new(ctx, &store));
    m.start = make_net(store, seed, "start", 0, m.path.channels, STATE);
    m.field = make_net(store, seed, "field", 2, STATE, STATE * m.path.channels);
    m.readout = make_net(store, seed, "readout", 0, STATE, m.classes);
    must(dfo_ode_new(ctx, &options, &m.ode));
    dfo_loss loss = {.ops = &loss_ops, .ctx = ctx, .store = store, .state = &m};
    printf("%zu sequences of up to %zu points, %zu channels and time, %zu classes; %zu weights\n", train.n, m.path.points, channels,
           m.classes, dfo_store_parameters(store));
    fit(&loss, train_paths, steps, seed);
    size_t seen = right(&loss, train_paths), unseen = right(&loss, test_paths);
    printf("right: %zu of %zu in training, %zu of %zu in the test: accuracy %.4f\n", seen, train.n, unseen, test.n,
           (double)unseen / (double)test.n);
    dfo_ode_free(m.ode);
    dfo_net_free(m.readout);
    dfo_net_free(m.field);
    dfo_net_free(m.start);
    dfo_store_free(store);
    free(train_paths.x);
    free(test_paths.x);
    free(train.x);
    free(test.x);
    dfo_ctx_free(ctx);
    return 0;
}
