/* The mean and standard deviation of all training rows, for a flow that begins with standardise (with columns: columns_fit.c).  Sums run
 * over differences from the first row, in double.  */
#include <math.h>
#include <string.h>

#include "columns_impl.h"
#include "flow_impl.h"
#include "layer_impl.h"
#include "standardise_impl.h"

#define CHUNK 4096

struct moments {
    size_t    c, plane;
    double   *shift, *sum, *squares;     /* (c) */
};

static void add_row(struct moments *m, const dfo_real *row)
{
    for (size_t c = 0; c < m->c; c++)
        for (size_t p = 0; p < m->plane; p++) {
            double e = (double)row[c * m->plane + p] - m->shift[c];
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
            m->shift[c] = (double)x.x[c * m->plane];
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

dfo_status dfo_flow_standardise(dfo_flow *flow, const dfo_source *train, int density)
{
    dfo_status status;
    size_t derived;
    dfo_source_info info;
    dfo_real *x = NULL;
    double *room = NULL;
    if (!dfoi_chain_count(flow->bij))
        return DFO_OK;
    dfo_bijector *first = (dfo_bijector *)dfoi_chain_layer(flow->bij, 0, &derived);
    if (dfoi_columns_of(first))
        return dfoi_columns_fit(first, train, density);
    if (strcmp(first->ops->type, "standardise"))
        return DFO_OK;
    dfo_source_describe(train, &info);
    size_t width = dfo_shape_size(info.shape), c = first->shape.c;
    if (width < flow->d || !info.rows)
        return dfoi_fail(flow->ctx, DFO_ESHAPE, "%s: expected rows of at least %zu columns, got %llu of %zu",
                         dfo_source_name(train), flow->d, (unsigned long long)info.rows, width);
    DFO_GO(dfoi_alloc(flow->ctx, CHUNK, width * sizeof *x, &x));
    DFO_GO(dfoi_alloc(flow->ctx, 3 * c, sizeof *room, &room));
    struct moments m = {c, first->shape.h * first->shape.w, room, room + c, room + 2 * c};
    DFO_GO(all_rows(flow->ctx, train, dfo_batch_of(x, CHUNK, width), &m));
    if (density)
        DFO_GO(refuse_constants(flow->ctx, train, &m));
    status = dfoi_standardise_set(first, m.sum, m.squares);
fail:
    dfoi_free(flow->ctx, room);
    dfoi_free(flow->ctx, x);
    return status;
}
