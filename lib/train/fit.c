/* The training loop: gather, draw, gradient by shards, optimiser, validation, checkpoint.
 * Row p of the endless stream of rows is entry p mod N of epoch p / N's permutation, so minibatches are all
 * of one size and a resumed run sees the same rows.  */
#include <math.h>
#include <string.h>
#include <time.h>

#include "base/ctx_impl.h"
#include "base/par_impl.h"
#include "train/fit_impl.h"

#define INIT_ROWS 4096
#define SHUFFLED 1024              /* places in the order that a thread finds at a time */
#define CLOCK_EVERY 16             /* steps between looks at the clock under a time limit */

struct fit {
    dfo_ctx    *ctx;
    dfo_loss   *loss;
    const dfo_fit_options *options;
    const dfo_source *train, *valid;
    uint64_t    rows;
    size_t      batch, d, cond_d;
    uint64_t    steps, valid_every;
    dfo_plan   *plan, *eval_plan;
    dfoi_fit_state state;
    dfo_real   *rowsx;             /* (batch, d + cond_d) as the source gives them */
    uint64_t   *index;             /* (batch) */
    double     *weight;            /* (batch) or NULL */
    double     *shard_loss;        /* (16) */
    double      scale;             /* of the gradient in grad(): 1 / sum of weights */
    dfo_minibatch minibatch;
    double      started, last_checkpoint, progress, drift, most_drift, valid_seconds, condition, nfe;
    double      window_started;    /* for rows per second */
    uint64_t    window_step, first_step;
};

void dfo_fit_defaults(dfo_fit_options *o)
{
    memset(o, 0, sizeof *o);
    o->batch = 512;
    o->optimiser = DFO_ADAM;
    o->lr = 5e-4;
    o->beta1 = 0.9;
    o->beta2 = 0.999;
    o->epsilon = 1e-8;
    o->momentum = 0.9;
    o->clip = 5;
    o->schedule = DFO_COSINE;
    o->step_factor = 0.1;
    o->step_every = 1.0 / 3;
    o->keep_best = 1;
    o->memory = DFO_MEMORY_ANCHORS;
    o->anchors = 4;
    o->most_bad = 20;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static dfo_minibatch minibatch_of(const struct fit *f, dfo_real *x, size_t n, const double *weight,
                                  const uint64_t *index, uint64_t step)
{
    dfo_minibatch b = dfoi_minibatch_of(x, n, f->d, f->cond_d);
    b.weight = weight;
    b.row = index;
    b.step = step;
    return b;
}

/* Rows at `at` of the stream and behind, n of them.  */
struct shuffle {
    const struct fit *f;
    uint64_t at, *index;
    size_t n;
};

static void shuffle_piece(void *data, size_t piece, int worker)
{
    const struct shuffle *s = data;
    dfo_key key = {.seed = s->f->options->seed, .purpose = DFO_FOR_SHUFFLE};
    size_t end = s->n - piece * SHUFFLED < SHUFFLED ? s->n : (piece + 1) * SHUFFLED;
    (void)worker;
    for (size_t i = piece * SHUFFLED; i < end; i++)
        s->index[i] = dfo_source_shuffle(s->f->train, key, (s->at + i) / s->f->rows, (s->at + i) % s->f->rows);
}

static dfo_status gather(struct fit *f, uint64_t step, size_t n, dfo_real *x, uint64_t *index, double *weight)
{
    struct shuffle s = {f, step * f->batch, index, n};
    dfoi_par_for(f->plan ? f->plan->threads : 1, (n + SHUFFLED - 1) / SHUFFLED, shuffle_piece, &s);
    return dfo_source_gather(f->train, f->ctx, index, dfo_batch_of(x, n, f->d + f->cond_d), weight);
}

static dfo_key step_key(const struct fit *f, dfo_purpose purpose)
{
    dfo_key key = {.seed = f->options->seed, .purpose = (uint32_t)purpose, .step = (uint32_t)f->state.step};
    return key;
}

static dfo_status prepare(struct fit *f, dfo_plan *plan)
{
    uint64_t version = dfo_store_version(f->loss->store);
    if (!plan->stale && plan->version == version)
        return DFO_OK;
    dfo_run *run = dfoi_plan_single(plan, step_key(f, DFO_FOR_NOISE));
    if (f->loss->ops->prepare && f->loss->ops->prepare(f->loss, run, plan->derived) != DFO_OK)
        return dfoi_plan_error(plan, run);
    plan->version = version;
    plan->stale = 0;
    (plan == f->plan ? f->eval_plan : f->plan)->stale = 1;        /* they share the memory */
    return DFO_OK;
}

/* Layers that start from data see up to 4,096 rows of the first epoch, once.  */
static dfo_status init_from_data(struct fit *f)
{
    dfo_status status;
    if (!f->loss->ops->init)
        return DFO_OK;
    size_t n = f->rows < INIT_ROWS ? (size_t)f->rows : INIT_ROWS;
    dfo_real *x = NULL;
    uint64_t *index = NULL;
    dfo_plan *plan = NULL;
    dfo_run how = {.memory = DFO_MEMORY_INVERT};
    dfo_need need = f->loss->ops->need(f->loss, n, &how, 0);
    dfo_plan_options options = {.threads = 1, .block = n, .seed = f->options->seed, .mode = DFO_TRAIN};
    DFO_GO(dfoi_alloc(f->ctx, n, (f->d + f->cond_d) * sizeof *x, &x));
    DFO_GO(dfoi_alloc(f->ctx, n, sizeof *index, &index));
    DFO_GO(gather(f, 0, n, x, index, NULL));
    DFO_GO(dfo_plan_new(f->ctx, f->loss->store, &need, &options, &plan));
    dfo_run *run = dfoi_plan_single(plan, step_key(f, DFO_FOR_NOISE));
    if (f->loss->ops->init(f->loss, run, minibatch_of(f, x, n, NULL, index, 0)) != DFO_OK) {
        status = dfoi_plan_error(plan, run);
        goto fail;
    }
    dfo_store_touch(f->loss->store);
    status = DFO_OK;
fail:
    dfo_plan_free(plan);
    dfoi_free(f->ctx, index);
    dfoi_free(f->ctx, x);
    return status;
}

static dfo_status shard_task(void *data, dfo_run *run, size_t shard, size_t first, size_t n)
{
    struct fit *f = data;
    dfo_minibatch rows = dfoi_minibatch_rows(&f->minibatch, first, n);
    f->shard_loss[shard] = 0;
    dfo_status status = f->loss->ops->grad(f->loss, run, rows, f->scale, &f->shard_loss[shard]);
    f->shard_loss[16 + shard] = run->drift;
    return status;
}

/* The gradient of the mean loss into plan->total; *loss is that mean.  */
static dfo_status gradient(struct fit *f, double *loss)
{
    double weights = 0;
    DFO_TRY(gather(f, f->state.step, f->batch, f->rowsx, f->index, f->weight));
    for (size_t i = 0; i < f->batch; i++)
        weights += f->weight ? f->weight[i] : 1.0;
    if (!(weights > 0))
        return dfoi_fail(f->ctx, DFO_ENUM, "the sample weights of this batch sum to %g", weights);
    f->scale = 1.0 / weights;
    f->minibatch = minibatch_of(f, f->rowsx, f->batch, f->weight, f->index, f->state.step);
    DFO_TRY(prepare(f, f->plan));
    dfo_key key = step_key(f, DFO_FOR_NOISE);
    if (f->loss->ops->draw) {
        dfo_run *run = dfoi_plan_single(f->plan, key);
        if (f->loss->ops->draw(f->loss, run, &f->minibatch) != DFO_OK)
            return dfoi_plan_error(f->plan, run);
    }
    uint64_t count[2], solves[2];
    dfo_plan_evaluations(f->plan, &count[0], &solves[0]);
    DFO_TRY(dfoi_plan_shards(f->plan, key, f->batch, shard_task, f));
    dfo_plan_evaluations(f->plan, &count[1], &solves[1]);
    f->nfe = solves[1] > solves[0] ? (double)(count[1] - count[0]) / (double)(solves[1] - solves[0]) : 0;
    double sum = 0;
    size_t shards = f->plan->options.shards < f->batch ? f->plan->options.shards : f->batch;
    for (size_t s = 0; s < shards; s++) {
        sum += f->shard_loss[s];
        f->drift = fmax(f->drift, f->shard_loss[16 + s]);
    }
    f->most_drift = fmax(f->most_drift, f->drift);
    *loss = sum * f->scale;
    if (f->loss->ops->pullback && f->plan->need.gderived) {
        dfo_run *run = dfoi_plan_single(f->plan, key);
        dfo_real *grads = run->grads;
        run->grads = f->plan->total;
        dfo_status status = f->loss->ops->pullback(f->loss, run, f->plan->derived,
                                                   f->plan->total + f->state.size);
        run->grads = grads;
        if (status != DFO_OK)
            return dfoi_plan_error(f->plan, run);
    }
    return DFO_OK;
}

static void tell(const struct fit *f, int kind, double valid, double norm, double lr, const char *text)
{
    const dfoi_fit_state *s = &f->state;
    double seconds = now() - f->window_started;
    dfo_fit_event e = {
        .kind = kind, .step = s->step, .steps = f->steps, .progress = f->progress,
        .epoch = (double)s->step * (double)f->batch / (double)f->rows,
        .train_loss = s->loss_weight > 0 ? s->loss_sum / s->loss_weight : s->last_train,
        .valid_loss = valid, .best_loss = s->best_loss, .lr = lr, .gradient_norm = norm,
        .seconds = s->elapsed + now() - f->started, .drift = f->drift, .condition = f->condition, .nfe = f->nfe,
        .skipped = s->skipped, .text = text,
        .rows_per_second = seconds > 0 ? (double)(s->step - f->window_step) * (double)f->batch / seconds : 0,
    };
    if (f->options->event)
        f->options->event(f->options->event_data, &e);
}

/* A skipped step changes nothing but counters; many in a row end the run.  */
static dfo_status skip(struct fit *f, const char *why)
{
    dfoi_fit_state *s = &f->state;
    s->skipped++;
    s->step++;
    char text[DFOI_TEXT];
    size_t n = strlen(why) < sizeof text - 1 ? strlen(why) : sizeof text - 1;
    memcpy(text, why, n);
    text[n] = 0;
    tell(f, DFO_FIT_SKIPPED, NAN, NAN, 0, text);
    if (++s->bad >= f->options->most_bad)
        return dfoi_fail(f->ctx, DFO_ENUM, "%llu steps in a row were not finite; the last, step %llu: %s; try a "
                         "smaller --lr", (unsigned long long)s->bad, (unsigned long long)(s->step - 1), text);
    dfo_ctx_clear(f->ctx);
    return DFO_OK;
}

static dfo_status one_step(struct fit *f)
{
    dfoi_fit_state *s = &f->state;
    const dfo_fit_options *o = f->options;
    double loss = 0;
    dfo_status status = gradient(f, &loss);
    if (status == DFO_ENUM)
        return skip(f, dfo_ctx_error(f->ctx));
    DFO_TRY(status);
    double norm = dfoi_fit_norm(f->plan->threads, s->size, f->plan->total);
    if (!isfinite(loss) || !isfinite(norm))
        return skip(f, isfinite(loss) ? "the gradient is not finite" : "the loss is not finite");
    s->bad = 0;
    double lr = dfoi_fit_rate(o, s->step, f->progress);
    double scale = o->clip > 0 && norm > o->clip ? o->clip / norm : 1;
    dfoi_fit_update(o, f->plan->threads, lr, scale, f->plan->total, dfo_store_weights(f->loss->store), s);
    dfo_store_touch(f->loss->store);
    if (f->loss->ops->update && s->buffers) {
        dfo_run *run = dfoi_plan_single(f->plan, step_key(f, DFO_FOR_NOISE));
        run->new_buffers = dfo_store_buffers(f->loss->store);
        dfo_real *gderived = run->gderived;
        run->gderived = f->plan->total + s->size;
        status = f->loss->ops->update(f->loss, run);
        run->gderived = gderived;
        if (status != DFO_OK)
            return dfoi_plan_error(f->plan, run);
    }
    s->loss_sum += loss;
    s->loss_weight += 1;
    s->step++;
    if (s->step % 64 == 0)
        tell(f, DFO_FIT_STEP, s->last_valid, norm, lr, NULL);
    return DFO_OK;
}

/* A model may have no buffers, or no weights: then there is no array either.  */
static void copy(size_t n, const dfo_real *from, dfo_real *to)
{
    if (n)
        memcpy(to, from, n * sizeof *to);
}

/* Of the weights just validated.  */
static dfo_status condition(struct fit *f)
{
    if (!f->loss->ops->condition)
        return DFO_OK;
    dfo_run *run = dfoi_plan_single(f->eval_plan, step_key(f, DFO_FOR_NOISE));
    return f->loss->ops->condition(f->loss, run, &f->condition) == DFO_OK ? DFO_OK : dfoi_plan_error(f->eval_plan, run);
}

static dfo_status validation(struct fit *f, int *stop)
{
    dfoi_fit_state *s = &f->state;
    double loss = NAN, before = now();
    if (f->valid) {
        dfoi_plan_use_weights(f->eval_plan, s->ema);
        DFO_TRY(prepare(f, f->eval_plan));
        DFO_TRY(dfoi_mean_loss(f->eval_plan, f->loss, f->valid, f->cond_d, f->options->seed, s->step, &loss));
        DFO_TRY(condition(f));
        s->last_valid = loss;
        s->validations++;
        if (loss < s->best_loss) {
            s->best_loss = loss;
            s->best_step = s->step;
            s->since_best = 0;
            if (s->best) {
                copy(s->size, s->ema ? s->ema : dfo_store_weights(f->loss->store), s->best);
                copy(s->buffers, dfo_store_buffers(f->loss->store), s->best_buffers);
            }
        } else {
            s->since_best++;
        }
        if (f->options->patience && s->since_best >= f->options->patience)
            *stop = 1;
    }
    if (s->loss_weight > 0)
        s->last_train = s->loss_sum / s->loss_weight;
    tell(f, DFO_FIT_VALID, loss, NAN, dfoi_fit_rate(f->options, s->step, f->progress), NULL);
    s->loss_sum = s->loss_weight = 0;
    f->drift = 0;
    f->valid_seconds = now() - before;
    f->window_started = now();
    f->window_step = s->step;
    return DFO_OK;
}

static dfo_status checkpoint(struct fit *f)
{
    double at = now();
    dfoi_fit_state copy = f->state;
    copy.elapsed += at - f->started;
    DFO_TRY(dfoi_checkpoint_write(f->ctx, f->options->checkpoint, f->loss->store, f->options, &copy));
    f->last_checkpoint = at;
    tell(f, DFO_FIT_CHECKPOINT, f->state.last_valid, NAN, 0, NULL);
    return DFO_OK;
}

static void look_at_clock(struct fit *f)
{
    const dfo_fit_options *o = f->options;
    double by_steps = f->steps ? (double)f->state.step / (double)f->steps : 0, by_time = 0;
    if (o->time_limit > 0 && (!f->steps || f->state.step % CLOCK_EVERY == 0 || f->progress == 0))
        by_time = (f->state.elapsed + now() - f->started) / (o->time_limit - f->valid_seconds > 0
                                                                 ? o->time_limit - f->valid_seconds
                                                                 : o->time_limit);
    if (f->steps && o->time_limit > 0)
        f->progress = fmax(f->progress, fmax(by_steps, by_time));
    else
        f->progress = f->steps ? by_steps : by_time;
}

static int due(const struct fit *f, double last_validation)
{
    if (f->options->time_limit > 0 && !f->steps)
        return f->state.step % CLOCK_EVERY == 0 && now() - last_validation > f->options->time_limit / 25 &&
               now() - last_validation > 10 * f->valid_seconds;
    return f->state.step % f->valid_every == 0;
}

static dfo_status loop(struct fit *f, int *early)
{
    const dfo_fit_options *o = f->options;
    double last_validation = now();
    int stop = 0;
    uint64_t validated = (uint64_t)-1;
    look_at_clock(f);
    while (!stop && f->progress < 1) {
        if (o->stop && *o->stop) {
            if (o->checkpoint)
                DFO_TRY(checkpoint(f));
            return dfoi_fail(f->ctx, DFO_EINTR, "interrupted at step %llu", (unsigned long long)f->state.step);
        }
        DFO_TRY(one_step(f));
        if (f->steps || f->state.step % CLOCK_EVERY == 0)
            look_at_clock(f);
        if (f->progress < 1 && due(f, last_validation)) {
            DFO_TRY(validation(f, &stop));
            *early = stop;
            validated = f->state.step;
            last_validation = now();
        }
        if (o->checkpoint && (o->checkpoint_every ? f->state.step % o->checkpoint_every == 0
                                                  : now() - f->last_checkpoint > 60))
            DFO_TRY(checkpoint(f));
    }
    if (validated != f->state.step)
        DFO_TRY(validation(f, &stop));
    return DFO_OK;
}

static dfo_status check_options(dfo_ctx *ctx, const dfo_fit_options *o)
{
    if (!o->steps && !(o->epochs > 0) && !(o->time_limit > 0))
        return dfoi_fail(ctx, DFO_EARG, "training needs a limit: steps, epochs or a time limit");
    if (!o->batch)
        return dfoi_fail(ctx, DFO_EARG, "batch must be at least 1");
    if (!(o->lr > 0) || !isfinite(o->lr))
        return dfoi_fail(ctx, DFO_EARG, "the learning rate must be positive, got %g", o->lr);
    if (!(o->ema >= 0 && o->ema < 1))
        return dfoi_fail(ctx, DFO_EARG, "ema must be at least 0 and below 1, got %g", o->ema);
    return DFO_OK;
}

static dfo_status set_up(struct fit *f, size_t cond_columns)
{
    const dfo_fit_options *o = f->options;
    dfo_source_info info;
    dfo_source_describe(f->train, &info);
    f->rows = info.rows;
    f->d = dfo_shape_size(info.shape);
    if (!f->rows)
        return dfoi_fail(f->ctx, DFO_ESHAPE, "%s: no rows", dfo_source_name(f->train));
    if (cond_columns >= f->d)
        return dfoi_fail(f->ctx, DFO_ESHAPE, "%s: %zu columns, all of them context", dfo_source_name(f->train), f->d);
    f->cond_d = cond_columns;
    f->d -= cond_columns;
    f->batch = o->batch < f->rows ? o->batch : (size_t)f->rows;
    f->steps = o->steps;
    uint64_t by_epochs = (uint64_t)ceil(o->epochs * (double)f->rows / (double)f->batch);
    if (o->epochs > 0 && (!f->steps || by_epochs < f->steps))
        f->steps = by_epochs ? by_epochs : 1;
    uint64_t epoch = (f->rows + f->batch - 1) / f->batch;
    f->valid_every = o->valid_every ? o->valid_every : epoch < 100 ? 100 : epoch;
    if (f->valid) {
        dfo_source_info v;
        dfo_source_describe(f->valid, &v);
        if (dfo_shape_size(v.shape) != f->d + f->cond_d)
            return dfoi_fail(f->ctx, DFO_ESHAPE, "%s: expected %zu columns as in %s, got %zu",
                             dfo_source_name(f->valid), f->d + f->cond_d, dfo_source_name(f->train),
                             dfo_shape_size(v.shape));
        if (!v.rows)
            f->valid = NULL;
    }
    DFO_TRY(dfoi_alloc(f->ctx, f->batch, (f->d + f->cond_d) * sizeof(dfo_real), &f->rowsx));
    DFO_TRY(dfoi_alloc(f->ctx, f->batch, sizeof *f->index, &f->index));
    DFO_TRY(dfoi_alloc(f->ctx, 32, sizeof *f->shard_loss, &f->shard_loss));
    if (info.weighted)
        DFO_TRY(dfoi_alloc(f->ctx, f->batch, sizeof *f->weight, &f->weight));
    return DFO_OK;
}

static dfo_status make_plans(struct fit *f)
{
    const dfo_fit_options *o = f->options;
    dfo_run how = {.memory = o->memory, .anchors = o->anchors, .mode = DFO_TRAIN};
    dfo_plan_options plan = {.threads = o->threads, .memory = o->memory, .anchors = o->anchors, .seed = o->seed,
                             .mode = DFO_TRAIN};
    plan.shards = o->shards ? o->shards : dfoi_shards_default(f->batch, o->images);
    size_t shards = plan.shards < f->batch ? plan.shards : f->batch;
    dfo_need need = f->loss->ops->need(f->loss, (f->batch + shards - 1) / shards, &how, 1);
    DFO_TRY(dfo_plan_new(f->ctx, f->loss->store, &need, &plan, &f->plan));
    dfo_plan_options eval = {.threads = o->threads, .block = 128, .seed = o->seed, .mode = DFO_EVALUATE,
                             .share = f->plan};
    dfo_run plain = {.memory = DFO_MEMORY_INVERT};
    need = f->loss->ops->need(f->loss, eval.block, &plain, 0);
    return dfo_plan_new(f->ctx, f->loss->store, &need, &eval, &f->eval_plan);
}

/* The weights that the caller gets.  */
static void choose_weights(struct fit *f)
{
    dfoi_fit_state *s = &f->state;
    dfo_real *w = dfo_store_weights(f->loss->store);
    if (s->best && s->best_loss < INFINITY) {
        copy(s->size, s->best, w);
        copy(s->buffers, s->best_buffers, dfo_store_buffers(f->loss->store));
    } else if (s->ema && s->step) {
        copy(s->size, s->ema, w);
    }
    dfo_store_touch(f->loss->store);
}

dfo_status dfo_fit(dfo_loss *loss, const dfo_source *train, const dfo_source *valid, size_t cond_columns,
                   const dfo_fit_options *options, dfo_fit_report *report)
{
    dfo_status status;
    int early = 0;
    struct fit f = {.ctx = loss->ctx, .loss = loss, .options = options, .train = train, .valid = valid,
                    .condition = NAN};
    memset(report, 0, sizeof *report);
    f.started = f.last_checkpoint = f.window_started = now();
    DFO_GO(check_options(f.ctx, options));
    DFO_GO(set_up(&f, cond_columns));
    DFO_GO(dfoi_fit_state_new(f.ctx, loss->store, options, f.valid != NULL, &f.state));
    if (options->resume)
        DFO_GO(dfoi_checkpoint_read(f.ctx, options->resume, loss->store, &f.state));
    else if (!options->started)
        DFO_GO(init_from_data(&f));
    if (!options->resume && f.state.ema)
        copy(f.state.size, dfo_store_weights(loss->store), f.state.ema);
    DFO_GO(make_plans(&f));
    f.first_step = f.window_step = f.state.step;
    status = loop(&f, &early);
    double seconds = now() - f.started;
    if (status == DFO_OK || status == DFO_EINTR || status == DFO_ENUM)
        choose_weights(&f);
    *report = (dfo_fit_report){
        .steps = f.state.step, .best_step = f.state.best ? f.state.best_step : f.state.step,
        .skipped = f.state.skipped, .validations = f.state.validations, .drift = f.most_drift,
        .epochs = (double)f.state.step * (double)f.batch / (double)f.rows, .train_loss = f.state.last_train,
        .valid_loss = f.state.best && f.state.best_loss < INFINITY ? f.state.best_loss : f.state.last_valid,
        .seconds = f.state.elapsed + seconds, .stopped_early = early, .resumed = options->resume != NULL,
        .rows_per_second = (double)(f.state.step - f.first_step) * (double)f.batch / seconds,
        .plan_bytes = dfo_plan_bytes(loss->store, &f.plan->need, &f.plan->options, f.plan->threads),
    };
fail:
    dfo_plan_free(f.eval_plan);
    dfo_plan_free(f.plan);
    dfoi_fit_state_free(f.ctx, &f.state);
    dfoi_free(f.ctx, f.weight);
    dfoi_free(f.ctx, f.shard_loss);
    dfoi_free(f.ctx, f.index);
    dfoi_free(f.ctx, f.rowsx);
    return status;
}
