/* Verifying a flow as a whole: round trip, log-dets, gradient, normalisation.  Layers: check_layers.c.  */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <diffeo/check.h>
#include "check_impl.h"
#include "layer_impl.h"

#define JACOBIAN_ROWS 16
#define JACOBIAN_D 12
#define GRADIENT_ROWS 256

struct check {
    dfo_ctx *ctx;
    const dfo_flow *flow;
    dfo_flow_plan *plan;
    dfo_check_report *report;
    dfo_batch x;
    const dfo_cond *cond;
    uint64_t seed;
    dfo_real *y, *g;               /* (n, d) each */
    double   *a, *b, *error;       /* (n) each */
};

static void copy_rows(dfo_batch from, dfo_real *to)
{
    for (size_t i = 0; i < from.n; i++)
        memcpy(to + i * from.d, dfo_row(from, i), from.d * sizeof *to);
}

static int ascending(const void *a, const void *b)
{
    double x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return (x > y) - (x < y);
}

static dfo_status round_trip(struct check *c)
{
    dfo_check_report *r = c->report;
    size_t n = c->x.n, d = c->x.d;
    dfo_batch y = dfo_batch_of(c->y, n, d);
    copy_rows(c->x, c->y);
    DFO_TRY(dfo_flow_encode(c->plan, 0, y, c->cond, c->a));
    DFO_TRY(dfo_flow_decode(c->plan, 0, y, c->cond, c->b));
    r->roundtrip_max_abs = r->roundtrip_max_rel = r->logdet_sum_max_abs = 0;
    for (size_t i = 0; i < n; i++) {
        c->error[i] = 0;
        for (size_t j = 0; j < d; j++) {
            double x = (double)dfo_row(c->x, i)[j], e = fabs((double)c->y[i * d + j] - x);
            c->error[i] = fmax(c->error[i], e);
            r->roundtrip_max_rel = fmax(r->roundtrip_max_rel, e / (1 + fabs(x)));
        }
        r->logdet_sum_max_abs = fmax(r->logdet_sum_max_abs, fabs(c->a[i] + c->b[i]));
    }
    qsort(c->error, n, sizeof *c->error, ascending);
    r->roundtrip_max_abs = c->error[n - 1];
    r->roundtrip_p999_abs = c->error[n - 1 - n / 1000];
    return DFO_OK;
}

/* Step of central differences of a value of size x: the cube root of eps balances their two errors.  */
static double step_of(double x)
{
    return cbrt((double)DFO_REAL_EPS) * (1 + fabs(x));
}

/* log|det A| of a (n,n) by elimination with row exchanges, in place.  In double whatever the rows are.  */
static double log_abs_det(size_t n, double *a)
{
    double sum = 0;
    for (size_t k = 0; k < n; k++) {
        size_t top = k;
        for (size_t i = k + 1; i < n; i++)
            if (fabs(a[i * n + k]) > fabs(a[top * n + k]))
                top = i;
        for (size_t j = 0; j < n; j++) {
            double t = a[k * n + j];
            a[k * n + j] = a[top * n + j];
            a[top * n + j] = t;
        }
        sum += log(fabs(a[k * n + k]));
        for (size_t i = k + 1; i < n; i++) {
            double factor = a[i * n + k] / a[k * n + k];
            for (size_t j = k; j < n; j++)
                a[i * n + j] -= factor * a[k * n + j];
        }
    }
    return sum;
}

/* log|det J| by differences of encode, column by column.  */
static dfo_status jacobian_row(struct check *c, size_t i, double *jacobian, double *found)
{
    size_t d = c->x.d;
    dfo_cond cond = dfo_cond_rows(c->cond, i, 1);
    dfo_batch y = dfo_batch_of(c->y, 1, d);
    for (size_t j = 0; j < d; j++) {
        double end[2] = {0, 0};
        for (int side = 0; side < 2; side++) {
            memcpy(c->y, dfo_row(c->x, i), d * sizeof *c->y);
            double h = step_of((double)c->y[j]);
            c->y[j] += (dfo_real)(side ? h : -h);
            end[side] = (double)c->y[j];
            DFO_TRY(dfo_flow_encode(c->plan, i, y, &cond, NULL));
            for (size_t k = 0; k < d; k++)
                jacobian[k * d + j] = (side ? jacobian[k * d + j] : 0) + (side ? 1 : -1) * (double)c->y[k];
        }
        for (size_t k = 0; k < d; k++)
            jacobian[k * d + j] /= end[1] - end[0];
    }
    *found = log_abs_det(d, jacobian);
    return DFO_OK;
}

static dfo_status jacobians(struct check *c)
{
    double jacobian[JACOBIAN_D * JACOBIAN_D], found, logdet;
    size_t d = c->x.d, rows = c->x.n < JACOBIAN_ROWS ? c->x.n : JACOBIAN_ROWS;
    if (d > JACOBIAN_D)
        return DFO_OK;
    c->report->logdet_jacobian_max_abs = 0;
    for (size_t k = 0; k < rows; k++) {
        size_t i = k * c->x.n / rows;
        dfo_cond cond = dfo_cond_rows(c->cond, i, 1);
        memcpy(c->y, dfo_row(c->x, i), d * sizeof *c->y);
        DFO_TRY(dfo_flow_encode(c->plan, i, dfo_batch_of(c->y, 1, d), &cond, &logdet));
        DFO_TRY(jacobian_row(c, i, jacobian, &found));
        c->report->logdet_jacobian_max_abs = fmax(c->report->logdet_jacobian_max_abs, fabs(found - logdet));
    }
    return DFO_OK;
}

/* The slope of log p along u against g.u, relative to the lengths of both, by central differences of three
 * widths; the best counts, since a step may fall across a kink (ReLU nets have many).  */
static dfo_status slopes(struct check *c, dfo_batch x, const dfo_cond *cond, const dfo_real *u, double *error)
{
    size_t d = x.d;
    dfo_batch y = dfo_batch_of(c->y, x.n, d);
    for (double h = cbrt((double)DFO_REAL_EPS), end = h / 100; h > end; h /= 8) {
        for (int side = 0; side < 2; side++) {
            copy_rows(x, c->y);
            for (size_t i = 0; i < x.n * d; i++)
                c->y[i] += (dfo_real)(side ? h : -h) * u[i];
            DFO_TRY(dfo_flow_log_prob(c->plan, 0, y, cond, side ? c->b : c->a));
        }
        for (size_t i = 0; i < x.n; i++) {
            double dot = 0, norm = 0, length = 0;
            for (size_t j = i * d; j < (i + 1) * d; j++) {
                dot += (double)c->g[j] * (double)u[j];
                norm += (double)c->g[j] * (double)c->g[j];
                length += (double)u[j] * (double)u[j];
            }
            double slope = (c->b[i] - c->a[i]) / (2 * h);
            error[i] = fmin(error[i], fabs(slope - dot) / (1 + sqrt(norm * length)));
        }
    }
    return DFO_OK;
}

/* Along a random direction u of each row, of the rows' own spread in every column.  */
static dfo_status gradients(struct check *c)
{
    size_t d = c->x.d, n = c->x.n < GRADIENT_ROWS ? c->x.n : GRADIENT_ROWS;
    dfo_batch x = dfo_batch_rows(c->x, 0, n), y = dfo_batch_of(c->y, n, d), g = dfo_batch_of(c->g, n, d);
    dfo_cond cond = dfo_cond_rows(c->cond, 0, n);
    dfo_flow_plan *plan;
    dfo_real *u = NULL;
    dfo_status status;
    DFO_TRY(dfo_flow_plan_new(c->ctx, c->flow, 1, &plan));
    DFO_GO(dfoi_alloc(c->ctx, n * d, sizeof *u, &u));
    dfo_key key = {.seed = c->seed, .purpose = DFO_FOR_CHECK};
    dfo_draw_real_normal(key, n * d, u);
    for (size_t j = 0; j < d; j++) {
        double mean, std;
        dfoi_column_moments(c->x, j, 1, &mean, &std);
        for (size_t i = 0; i < n && std > 0; i++)
            u[i * d + j] *= (dfo_real)std;
    }
    copy_rows(x, c->y);
    DFO_GO(dfo_flow_log_prob_grad(plan, 0, y, &cond, c->error, g, NULL));
    for (size_t i = 0; i < n; i++)
        c->error[i] = INFINITY;
    DFO_GO(slopes(c, x, &cond, u, c->error));
    c->report->gradient_max_rel = 0;
    for (size_t i = 0; i < n; i++)
        c->report->gradient_max_rel = fmax(c->report->gradient_max_rel, c->error[i]);
fail:
    dfoi_free(c->ctx, u);
    dfo_flow_plan_free(plan);
    return status;
}

/* The integral of exp(log p) by the trapezium rule over the rows' range, widened by its own width to each
 * side: 8,001 points, or 501 by 501.  */
static dfo_status normalisation(struct check *c)
{
    size_t d = c->x.d, side = d == 1 ? 8001 : 501, total = d == 1 ? side : side * side;
    double low[2], width[2], cell = 1, sum = 0;
    dfo_real *grid;
    double *out = NULL;
    dfo_status status;
    if (d > 2 || c->flow->cond_d)
        return DFO_OK;
    for (size_t j = 0; j < d; j++) {
        double least = INFINITY, most = -INFINITY;
        for (size_t i = 0; i < c->x.n; i++) {
            least = fmin(least, (double)dfo_row(c->x, i)[j]);
            most = fmax(most, (double)dfo_row(c->x, i)[j]);
        }
        double spread = most > least ? most - least : 1;
        low[j] = least - spread;
        width[j] = 3 * spread / (double)(side - 1);
        cell *= width[j];
    }
    DFO_TRY(dfoi_alloc(c->ctx, total, d * sizeof *grid, &grid));
    DFO_GO(dfoi_alloc(c->ctx, total, sizeof *out, &out));
    for (size_t i = 0; i < total; i++) {
        grid[i * d] = (dfo_real)(low[0] + width[0] * (double)(i % side));
        if (d == 2)
            grid[i * d + 1] = (dfo_real)(low[1] + width[1] * (double)(i / side));
    }
    DFO_GO(dfo_flow_log_prob(c->plan, 0, dfo_batch_of(grid, total, d), NULL, out));
    for (size_t i = 0; i < total; i++)
        sum += exp(out[i]);
    c->report->normalisation = sum * cell;
fail:
    if (status == DFO_ENUM) {          /* the grid left the support: nothing to say */
        dfo_ctx_clear(c->ctx);
        status = DFO_OK;
    }
    dfoi_free(c->ctx, out);
    dfoi_free(c->ctx, grid);
    return status;
}

static dfo_status all(struct check *c)
{
    size_t n = c->x.n, d = c->x.d;
    DFO_TRY(dfo_flow_plan_new(c->ctx, c->flow, 0, &c->plan));
    DFO_TRY(dfoi_alloc(c->ctx, n * d, sizeof *c->y, &c->y));
    DFO_TRY(dfoi_alloc(c->ctx, n * d, sizeof *c->g, &c->g));
    DFO_TRY(dfoi_alloc(c->ctx, n, sizeof *c->a, &c->a));
    DFO_TRY(dfoi_alloc(c->ctx, n, sizeof *c->b, &c->b));
    DFO_TRY(dfoi_alloc(c->ctx, n, sizeof *c->error, &c->error));
    DFO_TRY(round_trip(c));
    DFO_TRY(dfoi_check_layers(c->ctx, c->flow, c->seed, c->x, c->cond, c->report));
    DFO_TRY(jacobians(c));
    DFO_TRY(gradients(c));
    return normalisation(c);
}

dfo_status dfo_flow_check(dfo_ctx *ctx, const dfo_flow *flow, uint64_t seed, dfo_batch x, const dfo_cond *cond,
                          dfo_check_report *report)
{
    struct check c = {.ctx = ctx, .flow = flow, .report = report, .x = x, .cond = cond, .seed = seed};
    *report = (dfo_check_report){
        .rows = x.n, .finite = 1, .roundtrip_max_abs = NAN, .roundtrip_p999_abs = NAN, .roundtrip_max_rel = NAN,
        .roundtrip_over_bound = NAN, .kappa = NAN, .logdet_sum_max_abs = NAN, .logdet_jacobian_max_abs = NAN,
        .gradient_max_rel = NAN, .normalisation = NAN,
    };
    if (!x.n)
        return dfoi_fail(ctx, DFO_ESHAPE, "no rows to check with");
    dfo_status status = all(&c);
    if (status == DFO_ENUM) {
        report->finite = 0;
        dfoi_log(ctx, DFO_LOG_WARNING, "%s", dfo_ctx_error(ctx));
        dfo_ctx_clear(ctx);
        status = DFO_OK;
    }
    dfo_flow_plan_free(c.plan);
    dfoi_free(ctx, c.y);
    dfoi_free(ctx, c.g);
    dfoi_free(ctx, c.a);
    dfoi_free(ctx, c.b);
    dfoi_free(ctx, c.error);
    return status;
}

void dfo_check_free(dfo_ctx *ctx, dfo_check_report *report)
{
    dfoi_free(ctx, report->layer);
    report->layer = NULL;
}
