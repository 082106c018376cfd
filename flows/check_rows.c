/* Checks of a flow on single rows and on its density as a whole: log-dets against numerical Jacobians, gradients of
 * log p against differences, normalisation.  */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check_impl.h"
#include "layer_impl.h"

#define JACOBIAN_ROWS 16
#define JACOBIAN_D 12
#define GRADIENT_ROWS 256

static size_t first_rows(const dfoi_row_check *c, size_t most)
{
    return c->report->rows < most ? (size_t)c->report->rows : most;
}

static void copy_rows(dfo_batch from, dfo_batch to)
{
    for (size_t i = 0; i < from.n; i++)
        memcpy(dfo_row(to, i), dfo_row(from, i), from.d * sizeof(dfo_real));
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

/* log|det J| at x (1, d) by differences of encode, column by column.  */
static dfo_status jacobian_row(const dfoi_row_check *c, uint64_t row, dfo_batch x, const dfo_cond *cond, dfo_batch y,
                               double *found)
{
    double jacobian[JACOBIAN_D * JACOBIAN_D];
    size_t d = x.d;
    for (size_t j = 0; j < d; j++) {
        double end[2] = {0, 0};
        for (int side = 0; side < 2; side++) {
            copy_rows(x, y);
            double h = step_of((double)y.x[j]);
            y.x[j] += (dfo_real)(side ? h : -h);
            end[side] = (double)y.x[j];
            DFO_TRY(dfo_flow_encode(c->plan, row, y, cond, NULL));
            for (size_t k = 0; k < d; k++)
                jacobian[k * d + j] = (side ? jacobian[k * d + j] : 0) + (side ? 1 : -1) * (double)y.x[k];
        }
        for (size_t k = 0; k < d; k++)
            jacobian[k * d + j] /= end[1] - end[0];
    }
    *found = log_abs_det(d, jacobian);
    return DFO_OK;
}

dfo_status dfoi_check_jacobians(const dfoi_row_check *c)
{
    dfo_status status = DFO_OK;
    size_t d = c->flow->d, width = d + c->flow->cond_d, rows = first_rows(c, JACOBIAN_ROWS);
    dfo_real *memory;
    double worst = 0;
    if (d > JACOBIAN_D)
        return DFO_OK;
    DFO_TRY(dfoi_alloc(c->ctx, width + d, sizeof *memory, &memory));
    dfo_batch y = dfo_batch_of(memory + width, 1, d);
    for (size_t k = 0; k < rows; k++) {
        uint64_t row = c->report->rows / rows * k;
        double found, logdet;
        dfo_cond cond;
        dfo_batch x = dfoi_check_split(c->flow, memory, 1, &cond);
        DFO_GO(dfo_source_read(c->rows, c->ctx, row, dfo_batch_of(memory, 1, width), NULL));
        copy_rows(x, y);
        DFO_GO(dfo_flow_encode(c->plan, row, y, &cond, &logdet));
        DFO_GO(jacobian_row(c, row, x, &cond, y, &found));
        worst = fmax(worst, fabs(found - logdet));
    }
    c->report->logdet_jacobian_max_abs = worst;
fail:
    dfoi_free(c->ctx, memory);
    return status;
}

/* What the gradients' check keeps.  */
struct slopes {
    dfo_real *x, *y, *g, *u;       /* (n, d + cond_d), (n, d) each */
    double   *a, *here, *b;        /* (n) each: log p a step behind, at and a step ahead of the rows */
    double   *error;               /* (n) */
};

/* The slope of log p along u against g.u, relative to the lengths of both, by differences of five widths, central
 * and of either side; the best counts: a step may fall across a kink (ReLU nets have many, and a spline one at every
 * knot), and a short one drown in rounding.  Widths that take a row out of the density's support (over a pole, say) do not.  */
static dfo_status slopes(const dfoi_row_check *c, const struct slopes *s, dfo_batch x, const dfo_cond *cond)
{
    size_t d = x.d;
    dfo_batch y = dfo_batch_of(s->y, x.n, d);
    for (double h = cbrt((double)DFO_REAL_EPS), end = h / 100; h > end; h /= 3) {
        dfo_status status = DFO_OK;
        for (int side = 0; side < 2 && status == DFO_OK; side++) {
            copy_rows(x, y);
            for (size_t i = 0; i < x.n * d; i++)
                s->y[i] += (dfo_real)(side ? h : -h) * s->u[i];
            status = dfo_flow_log_prob(c->plan, 0, y, cond, side ? s->b : s->a);
        }
        if (status == DFO_ENUM) {
            dfo_ctx_clear(c->ctx);
            continue;
        }
        DFO_TRY(status);
        for (size_t i = 0; i < x.n; i++) {
            double dot = 0, norm = 0, length = 0;
            for (size_t j = i * d; j < (i + 1) * d; j++) {
                dot += (double)s->g[j] * (double)s->u[j];
                norm += (double)s->g[j] * (double)s->g[j];
                length += (double)s->u[j] * (double)s->u[j];
            }
            const double slope[] = {(s->b[i] - s->a[i]) / (2 * h), (s->b[i] - s->here[i]) / h, (s->here[i] - s->a[i]) / h};
            for (int k = 0; k < 3; k++)
                s->error[i] = fmin(s->error[i], fabs(slope[k] - dot) / (1 + sqrt(norm * length)));
        }
    }
    return DFO_OK;
}

/* A random direction of each row, of these rows' own spread in every column.  */
static void directions(const dfoi_row_check *c, const struct slopes *s, dfo_batch x)
{
    size_t d = x.d;
    dfo_key key = {.seed = c->seed, .purpose = DFO_FOR_CHECK};
    dfo_draw_real_normal(key, x.n * d, s->u);
    for (size_t j = 0; j < d; j++) {
        double mean, std;
        dfoi_column_moments(x, j, 1, &mean, &std);
        for (size_t i = 0; i < x.n && std > 0; i++)
            s->u[i * d + j] *= (dfo_real)std;
    }
}

static dfo_status gradients(const dfoi_row_check *c, const struct slopes *s, size_t n)
{
    dfo_flow_plan *plan = NULL;
    dfo_status status;
    dfo_cond cond;
    double worst = 0;
    dfo_batch x = dfoi_check_split(c->flow, s->x, n, &cond), y = dfo_batch_of(s->y, n, x.d);
    DFO_GO(dfo_source_read(c->rows, c->ctx, 0, dfo_batch_of(s->x, n, x.ld), NULL));
    directions(c, s, x);
    copy_rows(x, y);
    DFO_GO(dfo_flow_plan_new(c->ctx, c->flow, 1, &plan));
    status = dfo_flow_log_prob_grad(plan, 0, y, &cond, s->here, dfo_batch_of(s->g, n, x.d), NULL);
    if (status == DFO_EUNSUP) {            /* a solver without gradients: all but their figure is there */
        dfoi_log(c->ctx, DFO_LOG_WARNING, "gradients are left out: %s", dfo_ctx_error(c->ctx));
        dfo_ctx_clear(c->ctx);
        status = DFO_OK;
        goto fail;
    }
    DFO_GO(status);
    for (size_t i = 0; i < n; i++)
        s->error[i] = INFINITY;
    DFO_GO(slopes(c, s, x, &cond));
    for (size_t i = 0; i < n; i++)
        worst = fmax(worst, s->error[i]);
    c->report->gradient_max_rel = isfinite(worst) ? worst : NAN;       /* no width stayed inside */
fail:
    dfo_flow_plan_free(plan);
    return status;
}

dfo_status dfoi_check_gradients(const dfoi_row_check *c)
{
    size_t d = c->flow->d, n = first_rows(c, GRADIENT_ROWS);
    struct slopes s = {0};
    dfo_status status;
    DFO_GO(dfoi_alloc(c->ctx, n * (4 * d + c->flow->cond_d), sizeof *s.x, &s.x));
    DFO_GO(dfoi_alloc(c->ctx, 4 * n, sizeof *s.a, &s.a));
    s.y = s.x + n * (d + c->flow->cond_d);
    s.g = s.y + n * d;
    s.u = s.g + n * d;
    s.here = s.a + n;
    s.b = s.here + n;
    s.error = s.b + n;
    DFO_GO(gradients(c, &s, n));
fail:
    dfoi_free(c->ctx, s.a);
    dfoi_free(c->ctx, s.x);
    return status;
}

/* By the trapezium rule over the rows' range, widened by its own width to each side: 8,001 points, or 501 by 501.  */
dfo_status dfoi_check_normalisation(const dfoi_row_check *c)
{
    size_t d = c->flow->d, side = d == 1 ? 8001 : 501, total = d == 1 ? side : side * side;
    double low[2], width[2], cell = 1, sum = 0;
    dfo_real *grid;
    double *out = NULL;
    dfo_status status;
    if (d > 2 || c->flow->cond_d)
        return DFO_OK;
    for (size_t j = 0; j < d; j++) {
        double spread = c->high[j] > c->low[j] ? c->high[j] - c->low[j] : 1;
        low[j] = c->low[j] - spread;
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
