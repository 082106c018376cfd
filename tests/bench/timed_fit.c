/* A training step's time: a loss around the model's that looks at the clock once a step, in draw().  */
#include <stdlib.h>
#include <string.h>
#include "timed_fit.h"
#include "timing.h"

struct timed {
    dfo_loss *inner;
    double    ms[TIMED_MOST], last;
    size_t    n;
};

static struct timed *timed_of(const dfo_loss *l)
{
    return l->state;
}

static dfo_need need(const dfo_loss *l, size_t rows, const dfo_run *how, int train)
{
    return timed_of(l)->inner->ops->need(timed_of(l)->inner, rows, how, train);
}

static dfo_status prepare(const dfo_loss *l, dfo_run *run, dfo_real *derived)
{
    return timed_of(l)->inner->ops->prepare(timed_of(l)->inner, run, derived);
}

static dfo_status pullback(const dfo_loss *l, dfo_run *run, const dfo_real *derived, const dfo_real *g)
{
    return timed_of(l)->inner->ops->pullback(timed_of(l)->inner, run, derived, g);
}

static dfo_status draw(const dfo_loss *l, dfo_run *run, dfo_minibatch *batch)
{
    struct timed *t = timed_of(l);
    double at = now();
    if (t->last > 0 && t->n < TIMED_MOST)
        t->ms[t->n++] = 1e3 * (at - t->last);
    t->last = at;
    return t->inner->ops->draw ? t->inner->ops->draw(t->inner, run, batch) : DFO_OK;
}

static dfo_status grad(const dfo_loss *l, dfo_run *run, dfo_minibatch shard, double scale, double *sum)
{
    return timed_of(l)->inner->ops->grad(timed_of(l)->inner, run, shard, scale, sum);
}

size_t timed_fit(dfo_ctx *ctx, dfo_model *model, dfo_batch x, dfo_fit_options o, double seconds, double *ms)
{
    static struct timed t;
    dfo_source *source = NULL;
    dfo_fit_report report;
    memset(&t, 0, sizeof t);
    if (dfo_model_loss(model, &t.inner))
        return 0;
    struct dfo_loss_ops ops = {.type = "timed", .need = need, .prepare = prepare, .draw = draw, .grad = grad};
    ops.pullback = t.inner->ops->pullback ? pullback : NULL;
    dfo_loss loss = {&ops, ctx, dfo_model_store(model), &t};
    dfo_status status = dfo_source_rows(ctx, x, &source);
    o.steps = 8;
    for (int round = 0; round < 2 && status == DFO_OK; round++) {
        t.n = 0;
        t.last = 0;
        status = dfo_fit(&loss, source, NULL, 0, &o, &report);
        if (status == DFO_OK && !round) {
            qsort(t.ms, t.n, sizeof *t.ms, ascending);
            double steps = seconds * 1e3 / quantile(t.ms, t.n, 0.5) + 6;
            o.steps = steps < TIMED_MOST ? (uint64_t)steps : TIMED_MOST;
        }
    }
    dfo_source_free(source);
    dfo_loss_free(t.inner);
    if (status != DFO_OK)
        return 0;
    memcpy(ms, t.ms + 1, (t.n - 1) * sizeof *ms);
    return t.n - 1;
}
