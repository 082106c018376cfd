/* Cross-entropy of a classifier: -log softmax(logits)[label], in nats.  The gradient at the logits is
 * softmax(logits) - [k = label]; from there through the head into the body's backward.  */
#include <math.h>
#include <string.h>

#include "base/ctx_impl.h"
#include "classifier_impl.h"
#include "flow_impl.h"
#include "layer_impl.h"

static const dfo_classifier *classifier_of(const dfo_loss *loss)
{
    return loss->state;
}

static dfo_need need(const dfo_loss *loss, size_t rows, const dfo_run *how, int train)
{
    const dfo_classifier *c = classifier_of(loss);
    const dfoi_head *head = c->head;
    dfo_need n = dfoi_flow_need(c->body, rows, how, train);
    n.scratch += dfoi_doubles_size(head->c) + dfoi_doubles_size(head->classes);
    if (train) {
        n.scratch += dfo_arena_size(rows * c->body->d) + dfoi_doubles_size(rows) +
                     dfoi_doubles_size(dfoi_head_sums(head));
        n.range = head->count > n.range ? head->count : n.range;
    }
    return n;
}

static dfo_status prepare(const dfo_loss *loss, dfo_run *run, dfo_real *derived)
{
    return dfoi_flow_prepare(classifier_of(loss)->body, run, derived);
}

static dfo_status pullback(const dfo_loss *loss, dfo_run *run, const dfo_real *derived, const dfo_real *gderived)
{
    return dfo_bijector_pullback(classifier_of(loss)->body->bij, run, derived, gderived);
}

static dfo_status draw(const dfo_loss *loss, dfo_run *run, dfo_minibatch *batch)
{
    const dfo_classifier *c = classifier_of(loss);
    dfo_key key = {.seed = run->key.seed, .step = (uint32_t)batch->step, .purpose = DFO_FOR_AUGMENT};
    size_t mark = run->arena_used;
    if (c->shift || c->flip)
        dfoi_augment(c->shape, c->shift, c->flip, key, batch->x, dfo_arena_take(run, batch->x.d));
    run->arena_used = mark;
    return DFO_OK;
}

static dfo_status label_of(const dfo_classifier *c, dfo_run *run, const dfo_minibatch *b, size_t i, size_t *label)
{
    if (b->cond.n != 1 || b->cond.part[0].rows.d != 1)
        return dfo_run_fail(run, DFO_ESHAPE, (size_t)-1, "a classifier is trained with one column of labels");
    double value = (double)dfo_row(b->cond.part[0].rows, i)[0];
    if (!(value >= 0 && value < (double)c->head->classes) || value != floor(value))
        return dfo_run_fail(run, DFO_EARG, i, "row %llu: label %g, expected an integer from 0 to %zu",
                            (unsigned long long)(b->row ? b->row[i] : run->key.row + i), value, c->head->classes - 1);
    *label = (size_t)value;
    return DFO_OK;
}

/* -log softmax(logits)[label]; logits become softmax - [k = label].  */
static double cross_entropy(size_t k, double *logits, size_t label)
{
    double top = logits[0], sum = 0, at = logits[label];
    for (size_t i = 1; i < k; i++)
        top = fmax(top, logits[i]);
    for (size_t i = 0; i < k; i++) {
        logits[i] = exp(logits[i] - top);
        sum += logits[i];
    }
    for (size_t i = 0; i < k; i++)
        logits[i] = logits[i] / sum - (i == label);
    return top + log(sum) - at;
}

/* The head's part of the gradient: *sum and gz, with weights' gradients in run->grads.  */
static dfo_status head_grad(const dfo_classifier *c, dfo_run *run, const dfo_minibatch *b, double scale, dfo_batch gz,
                            double *sum)
{
    const dfoi_head *head = c->head;
    double *pooled = dfoi_take_doubles(run, head->c), *logits = dfoi_take_doubles(run, head->classes);
    double *sums = dfoi_take_doubles(run, dfoi_head_sums(head));
    memset(sums, 0, dfoi_head_sums(head) * sizeof *sums);
    for (size_t i = 0; i < b->x.n; i++) {
        double weight = b->weight ? b->weight[i] : 1;
        size_t label = 0;
        DFO_TRY(label_of(c, run, b, i, &label));
        dfoi_head_forward(head, run->weights, dfo_row(b->x, i), pooled, logits);
        *sum += weight * cross_entropy(head->classes, logits, label);
        for (size_t k = 0; k < head->classes; k++)
            logits[k] *= weight * scale;
        dfoi_head_backward(head, run->weights, dfo_row(b->x, i), pooled, logits, dfo_row(gz, i), sums);
    }
    dfo_run_grads_begin(run, head->first, head->count, 0, 0);
    dfoi_head_grads(head, run, sums);
    dfo_run_grads_done(run, head->first, head->count, 0, 0);
    return DFO_OK;
}

static dfo_status grad(const dfo_loss *loss, dfo_run *run, dfo_minibatch shard, double scale, double *sum)
{
    const dfo_classifier *c = classifier_of(loss);
    size_t n = shard.x.n;
    dfo_batch gz = dfo_batch_of(dfo_arena_take(run, n * shard.x.d), n, shard.x.d);
    double *glogdet = dfoi_take_doubles(run, n);
    memset(glogdet, 0, n * sizeof *glogdet);
    DFO_TRY(dfoi_flow_forward(c->body, run, shard.x, NULL, NULL));
    DFO_TRY(head_grad(c, run, &shard, scale, gz, sum));
    return dfoi_flow_backward(c->body, run, shard.x, gz, NULL, NULL, glogdet);
}

static dfo_status eval(const dfo_loss *loss, dfo_run *run, dfo_minibatch shard, double *out)
{
    const dfo_classifier *c = classifier_of(loss);
    const dfoi_head *head = c->head;
    double *pooled = dfoi_take_doubles(run, head->c), *logits = dfoi_take_doubles(run, head->classes);
    DFO_TRY(dfoi_flow_forward(c->body, run, shard.x, NULL, NULL));
    for (size_t i = 0; i < shard.x.n; i++) {
        size_t label = 0;
        DFO_TRY(label_of(c, run, &shard, i, &label));
        dfoi_head_forward(head, run->weights, dfo_row(shard.x, i), pooled, logits);
        out[i] = cross_entropy(head->classes, logits, label);
    }
    return DFO_OK;
}

static dfo_status init(dfo_loss *loss, dfo_run *run, dfo_minibatch batch)
{
    const dfo_classifier *c = classifier_of(loss);
    DFO_TRY(dfoi_flow_init(c->body, run, batch.x, NULL));
    dfoi_head_init(c->head, dfo_store_weights(loss->store), batch.x);
    return DFO_OK;
}

static dfo_status update(const dfo_loss *loss, dfo_run *run)
{
    return dfo_bijector_update(classifier_of(loss)->body->bij, run);
}

static const struct dfo_loss_ops ops = {
    .type = "classify",
    .need = need,
    .prepare = prepare,
    .pullback = pullback,
    .draw = draw,
    .grad = grad,
    .eval = eval,
    .init = init,
    .update = update,
};

dfo_status dfo_loss_classify_new(dfo_classifier *classifier, dfo_loss **out)
{
    DFO_TRY(dfoi_alloc(classifier->ctx, 1, sizeof **out, out));
    (*out)->ops = &ops;
    (*out)->ctx = classifier->ctx;
    (*out)->store = classifier->body->store;
    (*out)->state = classifier;
    return DFO_OK;
}
