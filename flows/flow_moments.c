/* The mean and standard deviation of all training rows, for a flow that begins with standardise (with columns: columns_fit.c), and of
 * their condition where it is standardised.  Sums run over differences from the first row, in double.  */
#include <math.h>
#include <string.h>

#include "columns_impl.h"
#include "flow_impl.h"
#include "layer_impl.h"
#include "standardise_impl.h"

#define CHUNK 4096

/* Columns at, at + plane, ... of rows, each with the plane - 1 behind it.  */
struct moments {
    size_t    at, c, plane;
    double   *shift, *sum, *squares;     /* (c); in the end the mean is in sum, the standard deviation in squares */
};

static void add_row(struct moments *m, const dfo_real *row)
{
    for (size_t c = 0; c < m->c; c++)
        for (size_t p = 0; p < m->plane; p++) {
            double e = (double)row[m->at + c * m->plane + p] - m->shift[c];
            m->sum[c] += e;
            m->squares[c] += e * e;
        }
}

static dfo_status all_rows(dfo_ctx *ctx, const dfo_source *train, dfo_batch x, struct moments *m)
{
    dfo_source_info info;
    dfo_source_describe(train, &info);
    for (uint64_t first = 0; first < info.rows; first += CHUNK) {
        dfo_batch rows = x;
        rows.n = info.rows - first < CHUNK ? (size_t)(info.rows - first) : CHUNK;
        DFO_TRY(dfo_source_read(train, ctx, first, rows, NULL));
        for (size_t c = 0; c < m->c && !first; c++)
            m->shift[c] = (double)x.x[m->at + c * m->plane];
        for (size_t i = 0; i < rows.n; i++)
            add_row(m, dfo_row(rows, i));
    }
    double n = (double)info.rows * (double)m->plane;
    for (size_t c = 0; c < m->c; c++) {
        double mean = m->sum[c] / n;
        m->squares[c] = sqrt(fmax(0, m->squares[c] / n - mean * mean));
        m->sum[c] = m->shift[c] + mean;
    }
    return DFO_OK;
}

/* Afterwards m->shift is to be freed.  */
static dfo_status measure(dfo_ctx *ctx, const dfo_source *train, struct moments *m)
{
    dfo_status status;
    dfo_source_info info;
    dfo_real *x = NULL;
    dfo_source_describe(train, &info);
    size_t width = dfo_shape_size(info.shape), end = m->at + m->c * m->plane;
    if (width < end || !info.rows)
        return dfoi_fail(ctx, DFO_ESHAPE, "%s: expected rows of at least %zu columns, got %llu of %zu", dfo_source_name(train), end,
                         (unsigned long long)info.rows, width);
    DFO_GO(dfoi_alloc(ctx, CHUNK, width * sizeof *x, &x));
    DFO_GO(dfoi_alloc(ctx, 3 * m->c, sizeof *m->shift, &m->shift));
    m->sum = m->shift + m->c;
    m->squares = m->sum + m->c;
    status = all_rows(ctx, train, dfo_batch_of(x, CHUNK, width), m);
fail:
    dfoi_free(ctx, x);
    return status;
}

/* The likelihood of a column that never changes has no upper bound: the fit would chase a spike.  */
static dfo_status refuse_constants(dfo_ctx *ctx, const dfo_source *train, const struct moments *m)
{
    for (size_t c = 0; c < m->c; c++) {
        if (m->squares[c] > 0)
            continue;
        const char *name = dfo_source_column(train, c);
        return dfoi_fail(ctx, DFO_EARG, "%s: column %zu%s%s%s is constant (%.9g): its density has no upper bound; leave "
                         "it out", dfo_source_name(train), c + 1, name ? " (" : "", name ? name : "", name ? ")" : "",
                         m->sum[c]);
    }
    return DFO_OK;
}

static dfo_status standardise_rows(dfo_flow *flow, const dfo_source *train, int density)
{
    dfo_status status;
    size_t derived;
    if (!dfoi_chain_count(flow->bij))
        return DFO_OK;
    dfo_bijector *first = (dfo_bijector *)dfoi_chain_layer(flow->bij, 0, &derived);
    if (dfoi_columns_of(first))
        return dfoi_columns_fit(first, train, density);
    if (strcmp(first->ops->type, "standardise"))
        return DFO_OK;
    struct moments m = {.c = first->shape.c, .plane = first->shape.h * first->shape.w};
    DFO_GO(measure(flow->ctx, train, &m));
    if (density)
        DFO_GO(refuse_constants(flow->ctx, train, &m));
    status = dfoi_standardise_set(first, m.sum, m.squares);
fail:
    dfoi_free(flow->ctx, m.shift);
    return status;
}

dfo_status dfo_flow_standardise(dfo_flow *flow, const dfo_source *train, int density)
{
    dfo_status status;
    struct moments m = {.at = flow->d, .c = flow->cond_d, .plane = 1};
    DFO_TRY(standardise_rows(flow, train, density));
    if (!flow->condition.on)
        return DFO_OK;
    DFO_GO(measure(flow->ctx, train, &m));
    status = dfoi_flow_condition_set(flow, m.sum, m.squares);
fail:
    dfoi_free(flow->ctx, m.shift);
    return status;
}
