/* A target seen through a flow x = T(z): log p(T(z)) + log|det dT/dz|, whose gradient is the way back through T from (d log p/dx, 1).
 * Rows go a block at a time.  */
#include <math.h>
#include <string.h>

#include <diffeo/neutra.h>
#include "base/ctx_impl.h"

#define ROWS 512

struct dfo_neutra {
    dfo_ctx          *ctx;
    const dfo_flow   *flow;
    const dfo_target *target;
    dfo_flow_plan    *plan;
    dfo_target        own;
    dfo_real         *x, *g;           /* (ROWS, d) */
    double           *wide, *gwide;    /* (ROWS, d) */
    double           *logdet, *ones;   /* (ROWS) */
};

static dfo_status log_prob(const dfo_target *target, size_t n, const double *x, double *out, double *gradient);

dfo_status dfo_neutra_new(dfo_ctx *ctx, const dfo_flow *flow, const dfo_target *target, dfo_neutra **out)
{
    size_t d = dfo_flow_features(flow);
    dfo_neutra *t = NULL;
    dfo_status status;
    *out = NULL;
    if (d != target->d)
        return dfoi_fail(ctx, DFO_ESHAPE, "neutra: a flow of rows of %zu numbers, a target of %zu", d, target->d);
    if (dfo_flow_context(flow))
        return dfoi_fail(ctx, DFO_EUNSUP, "neutra: expected a flow without a condition, got one of %zu columns", dfo_flow_context(flow));
    DFO_TRY(dfoi_alloc(ctx, 1, sizeof *t, &t));
    t->ctx = ctx;
    t->flow = flow;
    t->target = target;
    t->own = (dfo_target){.d = d, .log_prob = log_prob, .data = t};
    DFO_GO(dfo_flow_plan_new(ctx, flow, 1, &t->plan));
    DFO_GO(dfoi_alloc(ctx, ROWS, d * sizeof *t->x, &t->x));
    DFO_GO(dfoi_alloc(ctx, ROWS, d * sizeof *t->g, &t->g));
    DFO_GO(dfoi_alloc(ctx, ROWS, d * sizeof *t->wide, &t->wide));
    DFO_GO(dfoi_alloc(ctx, ROWS, d * sizeof *t->gwide, &t->gwide));
    DFO_GO(dfoi_alloc(ctx, ROWS, sizeof *t->logdet, &t->logdet));
    DFO_GO(dfoi_alloc(ctx, ROWS, sizeof *t->ones, &t->ones));
    for (size_t i = 0; i < ROWS; i++)
        t->ones[i] = 1;
    *out = t;
    return DFO_OK;
fail:
    dfo_neutra_free(t);
    return status;
}

void dfo_neutra_free(dfo_neutra *neutra)
{
    if (!neutra)
        return;
    dfo_flow_plan_free(neutra->plan);
    dfoi_free(neutra->ctx, neutra->ones);
    dfoi_free(neutra->ctx, neutra->logdet);
    dfoi_free(neutra->ctx, neutra->gwide);
    dfoi_free(neutra->ctx, neutra->wide);
    dfoi_free(neutra->ctx, neutra->g);
    dfoi_free(neutra->ctx, neutra->x);
    dfoi_free(neutra->ctx, neutra);
}

const dfo_target *dfo_neutra_target(const dfo_neutra *neutra)
{
    return &neutra->own;
}

static void narrow(size_t n, const double *from, dfo_real *to)
{
    for (size_t i = 0; i < n; i++)
        to[i] = (dfo_real)from[i];
}

static void widen(size_t n, const dfo_real *from, double *to)
{
    for (size_t i = 0; i < n; i++)
        to[i] = (double)from[i];
}

static int all_finite(size_t n, const double *x)
{
    for (size_t i = 0; i < n; i++)
        if (!isfinite(x[i]))
            return 0;
    return 1;
}

/* At most ROWS rows.  by_flow: was it the flow that failed?  */
static dfo_status some(dfo_neutra *t, size_t n, const double *z, double *out, double *gradient, int *by_flow)
{
    size_t d = t->own.d;
    dfo_batch x = dfo_batch_of(t->x, n, d), g = dfo_batch_of(t->g, n, d);
    narrow(n * d, z, t->x);
    *by_flow = 1;
    DFO_TRY(dfo_flow_decode(t->plan, 0, x, NULL, t->logdet));
    widen(n * d, t->x, t->wide);
    *by_flow = 0;
    DFO_TRY(t->target->log_prob(t->target, n, t->wide, out, gradient ? t->gwide : NULL));
    for (size_t i = 0; i < n; i++) {
        out[i] += t->logdet[i];
        if (gradient && !(isfinite(out[i]) && all_finite(d, t->gwide + i * d)))     /* such a row's gradient is not asked for */
            memset(t->gwide + i * d, 0, d * sizeof *t->gwide);
    }
    if (!gradient)
        return DFO_OK;
    narrow(n * d, t->gwide, t->g);
    *by_flow = 1;
    DFO_TRY(dfo_flow_decode_backward(t->plan, 0, x, g, NULL, t->ones));
    widen(n * d, t->g, gradient);
    return DFO_OK;
}

/* A row that the flow cannot take has density 0.  */
static dfo_status alone(dfo_neutra *t, const double *z, double *out, double *gradient)
{
    int by_flow;
    dfo_status status = some(t, 1, z, out, gradient, &by_flow);
    if (status != DFO_ENUM || !by_flow)
        return status;
    dfo_ctx_clear(t->ctx);
    *out = -INFINITY;
    if (gradient)
        memset(gradient, 0, t->own.d * sizeof *gradient);
    return DFO_OK;
}

static dfo_status log_prob(const dfo_target *target, size_t n, const double *x, double *out, double *gradient)
{
    dfo_neutra *t = target->data;
    size_t d = target->d;
    for (size_t first = 0; first < n; first += ROWS) {
        size_t m = n - first < ROWS ? n - first : ROWS;
        int by_flow;
        dfo_status status = some(t, m, x + first * d, out + first, gradient ? gradient + first * d : NULL, &by_flow);
        if (status == DFO_ENUM && by_flow) {
            dfo_ctx_clear(t->ctx);
            status = DFO_OK;
            for (size_t i = first; i < first + m && status == DFO_OK; i++)
                status = alone(t, x + i * d, out + i, gradient ? gradient + i * d : NULL);
        }
        DFO_TRY(status);
    }
    return DFO_OK;
}

dfo_status dfo_neutra_rows(dfo_neutra *neutra, size_t n, const double *z, double *x)
{
    dfo_neutra *t = neutra;
    size_t d = t->own.d;
    for (size_t first = 0; first < n; first += ROWS) {
        size_t m = n - first < ROWS ? n - first : ROWS;
        narrow(m * d, z + first * d, t->x);
        DFO_TRY(dfo_flow_decode(t->plan, first, dfo_batch_of(t->x, m, d), NULL, NULL));
        widen(m * d, t->x, x + first * d);
    }
    return DFO_OK;
}

dfo_status dfo_neutra_draw(dfo_neutra *neutra, uint64_t seed, size_t n, double *x, double *log_weight)
{
    dfo_neutra *t = neutra;
    size_t d = t->own.d;
    for (size_t first = 0; first < n; first += ROWS) {
        size_t m = n - first < ROWS ? n - first : ROWS;
        dfo_batch rows = dfo_batch_of(t->x, m, d);
        DFO_TRY(dfoi_stopped(t->ctx));
        DFO_TRY(dfo_flow_sample(t->plan, seed, first, rows, NULL, 1));
        widen(m * d, t->x, x + first * d);
        DFO_TRY(dfo_flow_log_prob(t->plan, first, rows, NULL, t->logdet));
        DFO_TRY(t->target->log_prob(t->target, m, x + first * d, log_weight + first, NULL));
        for (size_t i = 0; i < m; i++)
            log_weight[first + i] -= t->logdet[i];
    }
    return DFO_OK;
}
