/* Verifying a flow as a whole: one pass over the rows for round trip, log-dets and layers (check_layers.c), then what
 * takes single rows or the density (check_rows.c).  */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <diffeo/plan.h>
#include "check_impl.h"
#include "layer_impl.h"

struct check {
    dfoi_row_check  rows;
    dfoi_layer_check *layers;
    size_t    chunk;
    dfo_real *x, *y;               /* (chunk, d + cond_d), (chunk, d) */
    double   *to, *from;           /* (chunk) each: log-dets */
    double   *error, *sum;         /* (rows) each: of the round trip, of the two log-dets */
    double    relative;
};

dfo_batch dfoi_check_split(const dfo_flow *flow, dfo_real *x, size_t n, dfo_cond *cond)
{
    const dfo_bijector *bij = flow->bij;
    dfo_batch all = dfo_batch_of(x, n, flow->d + flow->cond_d);
    size_t at = flow->d;
    memset(cond, 0, sizeof *cond);
    for (size_t p = 0; p < bij->conds; p++) {
        size_t d = dfo_shape_size(bij->cond[p]);
        cond->part[p].rows = dfo_batch_columns(all, at, d);
        cond->part[p].shape = bij->cond[p];
        cond->n++;
        at += d;
    }
    return dfo_batch_columns(all, 0, flow->d);
}

/* Rows first .. first+n-1, which x holds.  */
static dfo_status round_trip(struct check *c, uint64_t first, dfo_batch x, const dfo_cond *cond)
{
    dfo_batch y = dfo_batch_of(c->y, x.n, x.d);
    for (size_t i = 0; i < x.n; i++)
        memcpy(dfo_row(y, i), dfo_row(x, i), x.d * sizeof *c->y);
    DFO_TRY(dfo_flow_encode(c->rows.plan, first, y, cond, c->to));
    DFO_TRY(dfo_flow_decode(c->rows.plan, first, y, cond, c->from));
    for (size_t i = 0; i < x.n; i++) {
        double worst = 0;
        for (size_t j = 0; j < x.d; j++) {
            double v = (double)dfo_row(x, i)[j], e = fabs((double)dfo_row(y, i)[j] - v);
            worst = fmax(worst, e);
            c->relative = fmax(c->relative, e / (1 + fabs(v)));
        }
        c->error[first + i] = worst;
        c->sum[first + i] = fabs(c->to[i] + c->from[i]);
    }
    return DFO_OK;
}

static void range(dfoi_row_check *c, dfo_batch x)
{
    for (size_t j = 0; j < x.d && j < 2; j++)
        for (size_t i = 0; i < x.n; i++) {
            c->low[j] = fmin(c->low[j], (double)dfo_row(x, i)[j]);
            c->high[j] = fmax(c->high[j], (double)dfo_row(x, i)[j]);
        }
}

static int ascending(const void *a, const void *b)
{
    double x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return (x > y) - (x < y);
}

/* The largest, and the largest but for the worst thousandth.  */
static void worst(size_t n, double *value, double *most, double *p999)
{
    qsort(value, n, sizeof *value, ascending);
    *most = value[n - 1];
    *p999 = value[n - 1 - n / 1000];
}

static dfo_status pass(struct check *c)
{
    dfo_check_report *r = c->rows.report;
    size_t width = c->rows.flow->d + c->rows.flow->cond_d;
    for (uint64_t first = 0; first < r->rows; first += c->chunk) {
        size_t n = r->rows - first < c->chunk ? (size_t)(r->rows - first) : c->chunk;
        dfo_cond cond;
        dfo_batch x = dfoi_check_split(c->rows.flow, c->x, n, &cond);
        DFO_TRY(dfo_source_read(c->rows.rows, c->rows.ctx, first, dfo_batch_of(c->x, n, width), NULL));
        DFO_TRY(round_trip(c, first, x, &cond));
        range(&c->rows, x);
        DFO_TRY(dfoi_layer_check_rows(c->layers, first, x, &cond));
    }
    r->roundtrip_max_rel = c->relative;
    worst((size_t)r->rows, c->error, &r->roundtrip_max_abs, &r->roundtrip_p999_abs);
    worst((size_t)r->rows, c->sum, &r->logdet_sum_max_abs, &r->logdet_sum_p999_abs);
    dfoi_layer_check_end(c->layers);
    return DFO_OK;
}

static dfo_status make(struct check *c, uint64_t batch)
{
    dfo_ctx *ctx = c->rows.ctx;
    const dfo_flow *flow = c->rows.flow;
    size_t d = flow->d, width = d + flow->cond_d, block = dfo_flow_block(flow), before = dfo_ctx_bytes(ctx);
    uint64_t rows = c->rows.report->rows;
    DFO_TRY(dfo_flow_plan_new(ctx, flow, 0, &c->rows.plan));
    DFO_TRY(dfoi_layer_check_new(ctx, flow, c->rows.seed, c->rows.report, &c->layers));
    if (rows > SIZE_MAX / sizeof(double))
        return dfoi_fail(ctx, DFO_EMEM, "%llu rows are too many to check", (unsigned long long)rows);
    DFO_TRY(dfoi_alloc(ctx, (size_t)rows, sizeof *c->error, &c->error));
    DFO_TRY(dfoi_alloc(ctx, (size_t)rows, sizeof *c->sum, &c->sum));
    dfo_chunk k = {.asked = batch, .rows = rows, .taken = dfo_ctx_bytes(ctx) - before,
                   .block = block > DFOI_CHECK_BLOCK ? block : DFOI_CHECK_BLOCK,       /* powers of two */
                   .row_bytes = (width + d) * sizeof(dfo_real) + 2 * sizeof(double)};
    DFO_TRY(dfo_chunk_rows(ctx, &k, &c->chunk));
    DFO_TRY(dfoi_alloc(ctx, c->chunk, width * sizeof *c->x, &c->x));
    DFO_TRY(dfoi_alloc(ctx, c->chunk, d * sizeof *c->y, &c->y));
    DFO_TRY(dfoi_alloc(ctx, c->chunk, sizeof *c->to, &c->to));
    return dfoi_alloc(ctx, c->chunk, sizeof *c->from, &c->from);
}

static void release(struct check *c)
{
    dfo_ctx *ctx = c->rows.ctx;
    dfoi_free(ctx, c->from);
    dfoi_free(ctx, c->to);
    dfoi_free(ctx, c->y);
    dfoi_free(ctx, c->x);
    dfoi_free(ctx, c->sum);
    dfoi_free(ctx, c->error);
    dfoi_layer_check_free(c->layers);
    dfo_flow_plan_free(c->rows.plan);
}

static dfo_status all(struct check *c, uint64_t batch, int density)
{
    DFO_TRY(make(c, batch));
    DFO_TRY(pass(c));
    if (c->rows.flow->bij->caps & DFO_STOCHASTIC || c->rows.flow->base->ops->whole)    /* no differences between whole numbers */
        return DFO_OK;
    int volumes = !(c->rows.flow->bij->caps & DFO_OWN_MEASURE);        /* of coordinates are what densities are by */
    if (volumes)
        DFO_TRY(dfoi_check_jacobians(&c->rows));
    if (density)
        DFO_TRY(dfoi_check_gradients(&c->rows));
    return density && volumes ? dfoi_check_normalisation(&c->rows) : DFO_OK;
}

dfo_status dfo_flow_check(dfo_ctx *ctx, const dfo_flow *flow, uint64_t seed, const dfo_source *rows, uint64_t batch,
                          int density, dfo_check_report *report)
{
    struct check c = {.rows = {.ctx = ctx, .flow = flow, .report = report, .rows = rows, .seed = seed,
                               .low = {INFINITY, INFINITY}, .high = {-INFINITY, -INFINITY}}};
    dfo_source_info info;
    dfo_source_describe(rows, &info);
    *report = (dfo_check_report){
        .rows = info.rows, .finite = 1, .roundtrip_max_abs = NAN, .roundtrip_p999_abs = NAN, .roundtrip_max_rel = NAN,
        .roundtrip_over_bound = NAN, .kappa = NAN, .logdet_sum_max_abs = NAN, .logdet_sum_p999_abs = NAN,
        .logdet_over_bound = NAN, .logdet_jacobian_max_abs = NAN, .gradient_max_rel = NAN, .normalisation = NAN,
    };
    if (!info.rows)
        return dfoi_fail(ctx, DFO_ESHAPE, "no rows to check with");
    if (dfo_shape_size(info.shape) != flow->d + flow->cond_d)
        return dfoi_fail(ctx, DFO_ESHAPE, "expected rows of %zu features and %zu of context, got %zu in all", flow->d,
                         flow->cond_d, dfo_shape_size(info.shape));
    dfo_status status = all(&c, batch, density);
    if (status == DFO_ENUM) {
        report->finite = 0;
        dfoi_log(ctx, DFO_LOG_WARNING, "%s", dfo_ctx_error(ctx));
        dfo_ctx_clear(ctx);
        status = DFO_OK;
    }
    release(&c);
    return status;
}

void dfo_check_free(dfo_ctx *ctx, dfo_check_report *report)
{
    dfoi_free(ctx, report->layer);
    report->layer = NULL;
}
