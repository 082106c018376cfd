/* Autoregressive layers on panels of 64 rows, in blocks of up to DFO_NET_ROWS.  What the net is given (data, or with "solve"
 * latents) is called u, the other end v.
 *
 * pass   u to v: the net's outputs, then all columns.         sweep   v to u: column j's outputs, which know u_k, k < j,
 *                                                             then u_j.
 * back of pass, from v: u by a sweep, which leaves what the net's backward pass wants, then that.
 * back of sweep, from u: the net's pass, then columns from the last to the first: u_j's gradient is its own and what
 * the outputs of the columns behind it send back through the net, so it is complete when it is asked for.
 *
 * Or a sweep by Jacobi's iteration: u = v, then all columns by the net's outputs at the last u, until none changes; after k of them
 * the first k columns are right, as they were after fewer (Song et al. 2021, "Accelerating feedforward computation via parallel
 * nonlinear equation solving").  What overflows on the way goes column by column.
 *
 * Where x was kept it is u of a pass, which is then run again: a sweep's errors grow from column to column.  Some transforms
 * want it on their way back, as v of a sweep too.
 *
 * Memory mode store keeps the net's activations and outputs.  */
#include <string.h>

#include "autoregressive_impl.h"
#include "nn/made_impl.h"

static size_t outputs(const dfo_bijector *bij)
{
    return ((const dfoi_autoregressive *)bij->state)->params * bij->d;
}

static size_t block_rows(size_t rows, size_t first)
{
    return rows - first < DFO_NET_ROWS ? rows - first : DFO_NET_ROWS;
}

static size_t block_acts(const dfo_bijector *bij, size_t n)
{
    const dfoi_autoregressive *a = bij->state;
    return dfo_arena_size(dfo_net_acts(a->net, n));
}

/* Panels of d columns, and of the net's outputs.  */
static size_t block_columns(const dfo_bijector *bij, size_t n)
{
    return bij->d * DFO_PANEL * dfoi_panels_of(n);
}

static size_t block_params(const dfo_bijector *bij, size_t n)
{
    return outputs(bij) * DFO_PANEL * dfoi_panels_of(n);
}

size_t dfoi_autoregressive_scratch(const dfo_bijector *bij, size_t rows)
{
    const dfoi_autoregressive *a = bij->state;
    size_t n = block_rows(rows, 0);
    return 2 * block_columns(bij, n) + 2 * block_params(bij, n) + 2 * dfo_arena_size(n * bij->d) +
           2 * DFO_PANEL * dfoi_panels_of(n) + block_acts(bij, n) + dfoi_made_sweep_scratch(a->net, n) +
           dfo_net_scratch(a->net, n);
}

size_t dfoi_autoregressive_saved(const dfo_bijector *bij, size_t rows, const dfo_run *how)
{
    size_t size = 0;
    for (size_t first = 0, n; how->memory == DFO_MEMORY_STORE && first < rows; first += n) {
        n = block_rows(rows, first);
        size += block_acts(bij, n) + block_params(bij, n);
    }
    return size;
}

/* A block of rows and its memory.  */
struct block {
    const dfo_bijector *bij;
    const dfoi_autoregressive *a;
    dfo_run *run;
    size_t panels, first;              /* first: of the call's rows */
    dfo_batch rows, grows;
    dfo_cond  cond, gcond;
    dfo_real *x, *gx;                  /* panels (d,64), columns in their order */
    dfo_real *par, *gpar;              /* panels (outputs,64) */
    dfo_real *ordered, *gordered;      /* (n, d), columns in their order */
    dfo_real *ld, *gld;                /* panels of (64) */
    dfo_real *acts;
    int       kept;                    /* acts and par are forward's */
    int       at_input;                /* the transforms want x; input holds it where it was kept */
    dfo_batch input;
};

static struct block take(const dfo_bijector *bij, dfo_run *run, size_t rows)
{
    size_t n = block_rows(rows, 0);
    struct block b = {.bij = bij, .a = bij->state, .run = run};
    b.x = dfo_arena_take(run, block_columns(bij, n));
    b.gx = dfo_arena_take(run, block_columns(bij, n));
    b.par = dfo_arena_take(run, block_params(bij, n));
    b.gpar = dfo_arena_take(run, block_params(bij, n));
    b.ordered = dfo_arena_take(run, n * bij->d);
    b.gordered = dfo_arena_take(run, n * bij->d);
    b.ld = dfo_arena_take(run, DFO_PANEL * dfoi_panels_of(n));
    b.gld = dfo_arena_take(run, DFO_PANEL * dfoi_panels_of(n));
    b.acts = dfo_arena_take(run, block_acts(bij, n));
    return b;
}

static size_t panel_rows(const struct block *b, size_t p)
{
    size_t left = b->rows.n - p * DFO_PANEL;
    return left < DFO_PANEL ? left : DFO_PANEL;
}

static dfo_real *columns(const struct block *b, dfo_real *x, size_t p)
{
    return x + p * b->bij->d * DFO_PANEL;
}

static dfo_real *params(const struct block *b, dfo_real *par, size_t p, size_t j)
{
    return par + (p * outputs(b->bij) + j * b->a->params) * DFO_PANEL;
}

static void to_panels(const struct block *b, dfo_batch rows, int zero_tail, dfo_real *x)
{
    for (size_t p = 0; p < b->panels; p++)
        dfoi_to_panel(panel_rows(b, p), b->bij->d, dfo_row(rows, p * DFO_PANEL), rows.ld, b->a->order, zero_tail,
                      columns(b, x, p));
}

static void from_panels(const struct block *b, dfo_real *x, dfo_batch rows)
{
    for (size_t p = 0; p < b->panels; p++)
        dfoi_from_panel(panel_rows(b, p), b->bij->d, columns(b, x, p), b->a->order, dfo_row(rows, p * DFO_PANEL), rows.ld);
}

/* The net's inputs: the condition, then the rows' columns in their order.  */
static dfo_cond inputs(const struct block *b)
{
    dfo_cond in = b->cond;
    struct dfo_cond_part *last = &in.part[in.n++];
    *last = (struct dfo_cond_part){b->rows, dfo_shape_vector(b->bij->d)};
    if (b->a->natural)
        return in;
    last->rows = dfo_batch_of(b->ordered, b->rows.n, b->bij->d);
    for (size_t i = 0; i < b->rows.n; i++)
        for (size_t j = 0; j < b->bij->d; j++)
            dfo_row(last->rows, i)[j] = dfo_row(b->rows, i)[b->a->order[j]];
    return in;
}

static dfo_block outputs_of(const struct block *b, dfo_real *par)
{
    return (dfo_block){par, b->rows.n, outputs(b->bij), DFO_PANEL, DFO_FEATURES};
}

static void add_log_dets(const struct block *b, double *logdet)
{
    for (size_t i = 0; logdet && i < b->rows.n; i++)
        logdet[b->first + i] += (double)b->ld[i];
}

static dfo_status pass(struct block *b, dfo_real *acts, int to_latents)
{
    dfo_cond in = inputs(b);
    DFO_TRY(dfo_net_forward(b->a->net, b->run, &in, outputs_of(b, b->par), acts));
    to_panels(b, b->rows, 0, b->x);
    for (size_t p = 0; p < b->panels; p++)
        dfoi_autoregressive_transform(b->a, to_latents, b->bij->d, params(b, b->par, p, 0), columns(b, b->x, p),
                                      b->ld + p * DFO_PANEL);
    from_panels(b, b->x, b->rows);
    return DFO_OK;
}

/* x is left as it is: v.  */
static dfo_status sweep(struct block *b, int to_latents)
{
    const dfoi_autoregressive *a = b->a;
    struct dfoi_made_sweep s;
    dfo_cond in = b->cond;
    dfo_real *out[DFOI_PANELS];
    in.part[in.n++] = (struct dfo_cond_part){b->rows, dfo_shape_vector(b->bij->d)};
    DFO_TRY(dfoi_made_begin(a->net, b->run, &in, b->rows.n, b->acts, &s));
    to_panels(b, b->rows, 0, b->x);
    for (size_t j = 0; j < b->bij->d; j++) {
        for (size_t p = 0; p < b->panels; p++)
            out[p] = params(b, b->par, p, j);
        dfoi_made_column(a->net, b->run, &s, j, out);
        for (size_t p = 0; p < b->panels; p++) {
            dfo_real *u = s.x[p] + dfoi_made_column_at(a->net->state, j);
            memcpy(u, columns(b, b->x, p) + j * DFO_PANEL, DFO_PANEL * sizeof *u);
            dfoi_autoregressive_transform(a, to_latents, 1, out[p], u, b->ld + p * DFO_PANEL);
        }
    }
    for (size_t p = 0; p < b->panels; p++)
        dfoi_from_panel(panel_rows(b, p), b->bij->d, s.x[p] + dfoi_made_column_at(a->net->state, 0), a->order,
                        dfo_row(b->rows, p * DFO_PANEL), b->rows.ld);
    return DFO_OK;
}

/* Columns to rows; whether none of them changes.  */
static int settle(const struct block *b, const dfo_real *x)
{
    int same = 1;
    for (size_t i = 0; i < b->rows.n; i++)
        for (size_t j = 0; j < b->bij->d; j++) {
            dfo_real *to = dfo_row(b->rows, i) + b->a->order[j], now = x[(i / DFO_PANEL * b->bij->d + j) * DFO_PANEL + i % DFO_PANEL];
            same &= *to == now;
            *to = now;
        }
    return same;
}

static dfo_status iterate(struct block *b, int to_latents)
{
    size_t d = b->bij->d, mark = b->run->arena_used;
    int done = 0;
    to_panels(b, b->rows, 0, b->x);
    for (size_t k = 0; k <= d && !done; k++) {
        dfo_cond in = inputs(b);
        DFO_TRY(dfo_net_forward(b->a->net, b->run, &in, outputs_of(b, b->par), b->acts));
        b->run->arena_used = mark;
        memset(b->ld, 0, b->panels * DFO_PANEL * sizeof *b->ld);
        memcpy(b->gx, b->x, b->panels * d * DFO_PANEL * sizeof *b->x);
        for (size_t p = 0; p < b->panels; p++)
            dfoi_autoregressive_transform(b->a, to_latents, d, params(b, b->par, p, 0), columns(b, b->gx, p), b->ld + p * DFO_PANEL);
        done = settle(b, b->gx);
    }
    if (done)
        return DFO_OK;
    memset(b->ld, 0, b->panels * DFO_PANEL * sizeof *b->ld);
    from_panels(b, b->x, b->rows);
    return sweep(b, to_latents);
}

/* Rows first .. of a call; memory of the arena stays where it was taken.  */
static void begin_block(struct block *b, dfo_batch x, const dfo_cond *cond, size_t first)
{
    b->first = first;
    b->rows = dfo_batch_rows(x, first, block_rows(x.n, first));
    b->cond = dfo_cond_rows(cond, first, b->rows.n);
    b->panels = dfoi_panels_of(b->rows.n);
    memset(b->ld, 0, b->panels * DFO_PANEL * sizeof *b->ld);
}

static dfo_real *saved_by_forward(const dfo_bijector *bij, const dfo_run *run, size_t rows, int to_latents)
{
    return run->saved && to_latents && run->memory == DFO_MEMORY_STORE ? run->saved + dfoi_input_size(bij, rows) : NULL;
}

/* Places of what store keeps of this block; *at moves behind them.  */
static void use_saved(struct block *b, dfo_real **at)
{
    b->acts = *at;
    b->par = b->acts + block_acts(b->bij, b->rows.n);
    b->kept = 1;
    *at = b->par + block_params(b->bij, b->rows.n);
}

dfo_status dfoi_autoregressive_map(const dfo_bijector *bij, dfo_run *run, dfo_batch x, const dfo_cond *cond, double *logdet,
                                   int to_latents)
{
    struct block b = take(bij, run, x.n);
    size_t mark = run->arena_used, row = run->key.row;
    dfo_real *saved = saved_by_forward(bij, run, x.n, to_latents);
    dfo_status status = DFO_OK;
    for (size_t first = 0; first < x.n && status == DFO_OK; first += b.rows.n) {
        begin_block(&b, x, cond, first);
        if (saved)
            use_saved(&b, &saved);
        run->key.row = row + first;
        status = b.a->solve == to_latents ? (b.a->jacobi ? iterate : sweep)(&b, to_latents) : pass(&b, b.kept ? b.acts : NULL, to_latents);
        add_log_dets(&b, logdet);
        run->arena_used = mark;
    }
    run->key.row = row;
    return status;
}

/* Gradients of the net's inputs, added to the condition's and to the rows'.  */
static dfo_status net_backward(struct block *b)
{
    dfo_cond in = inputs(b), gin = b->gcond;
    size_t d = b->bij->d;
    gin.n = b->cond.n;
    gin.part[gin.n++] = (struct dfo_cond_part){b->grows, dfo_shape_vector(d)};
    if (b->a->natural)
        return dfo_net_backward(b->a->net, b->run, &in, outputs_of(b, b->gpar), &gin, b->acts);
    dfo_batch g = gin.part[gin.n - 1].rows = dfo_batch_of(b->gordered, b->rows.n, d);
    memset(b->gordered, 0, b->rows.n * d * sizeof *b->gordered);
    DFO_TRY(dfo_net_backward(b->a->net, b->run, &in, outputs_of(b, b->gpar), &gin, b->acts));
    for (size_t i = 0; i < g.n; i++)
        for (size_t j = 0; j < d; j++)
            dfo_row(b->grows, i)[b->a->order[j]] += dfo_row(g, i)[j];
    return DFO_OK;
}

/* In rows u, in acts and par what its pass makes; where those were kept the transforms find u themselves.  */
static dfo_status find_u(struct block *b, int to_latents)
{
    size_t mark = b->run->arena_used;
    if (b->input.x) {
        for (size_t i = 0; i < b->rows.n; i++)
            memcpy(dfo_row(b->rows, i), dfo_row(b->input, i), b->rows.d * sizeof(dfo_real));
        dfo_cond in = inputs(b);
        return b->kept ? DFO_OK : dfo_net_forward(b->a->net, b->run, &in, outputs_of(b, b->par), b->acts);
    }
    if (!b->kept)
        DFO_TRY(sweep(b, !to_latents));
    b->run->arena_used = mark;
    return DFO_OK;
}

static dfo_status pass_back(struct block *b, int to_latents)
{
    to_panels(b, b->rows, 0, b->x);
    DFO_TRY(find_u(b, to_latents));
    if (b->at_input)
        to_panels(b, b->rows, 0, b->x);
    to_panels(b, b->grows, 1, b->gx);
    for (size_t p = 0; p < b->panels; p++)
        dfoi_autoregressive_transform_back(b->a, to_latents, b->bij->d, params(b, b->par, p, 0), columns(b, b->x, p),
                                           columns(b, b->gx, p), b->gld + p * DFO_PANEL, params(b, b->gpar, p, 0));
    if (!b->input.x)
        from_panels(b, b->x, b->rows);
    from_panels(b, b->gx, b->grows);
    return net_backward(b);
}

/* Of rows z the panels x, where the transforms want those.  */
static void find_x(struct block *b)
{
    to_panels(b, b->input.x ? b->input : b->rows, 0, b->x);
    for (size_t p = 0; !b->input.x && p < b->panels; p++)
        dfoi_autoregressive_transform(b->a, 0, b->bij->d, params(b, b->par, p, 0), columns(b, b->x, p), b->ld + p * DFO_PANEL);
}

static dfo_status sweep_back(struct block *b, int to_latents)
{
    const dfoi_autoregressive *a = b->a;
    const struct dfoi_made *net = a->net->state;
    struct dfoi_made_sweep s;
    dfo_cond in = inputs(b), gin = b->gcond;
    dfo_real *gout[DFOI_PANELS];
    if (!b->kept)
        DFO_TRY(dfo_net_forward(a->net, b->run, &in, outputs_of(b, b->par), b->acts));
    for (size_t p = 0; p < b->panels; p++)
        gout[p] = params(b, b->gpar, p, 0);
    DFO_TRY(dfoi_made_back_begin(a->net, b->run, &in, b->rows.n, b->acts, gout, &s));
    if (b->at_input)
        find_x(b);
    else
        to_panels(b, b->rows, 0, b->x);
    to_panels(b, b->grows, 1, b->gx);
    for (size_t j = b->bij->d; j-- > 0;) {
        for (size_t p = 0; p < b->panels; p++) {
            dfo_real *u = columns(b, b->x, p) + j * DFO_PANEL, *gu = columns(b, b->gx, p) + j * DFO_PANEL;
            dfoi_add(DFO_PANEL, s.gx[p] + dfoi_made_column_at(net, j), gu);
            dfoi_autoregressive_transform_back(a, to_latents, 1, params(b, b->par, p, j), u, gu, b->gld + p * DFO_PANEL,
                                               params(b, b->gpar, p, j));
        }
        dfoi_made_back_column(a->net, b->run, &s, j);
    }
    from_panels(b, b->x, b->rows);
    from_panels(b, b->gx, b->grows);
    gin.n = b->cond.n + 1;
    dfoi_made_back_end(a->net, b->run, &s, &gin);
    return DFO_OK;
}

dfo_status dfoi_autoregressive_back(const dfo_bijector *bij, dfo_run *run, dfo_batch x, dfo_batch gx, const dfo_cond *cond,
                                    const dfo_cond *gcond, const double *glogdet, int to_latents)
{
    struct block b = take(bij, run, x.n);
    size_t mark = run->arena_used, row = run->key.row;
    dfo_real *saved = saved_by_forward(bij, run, x.n, to_latents);
    dfo_status status = DFO_OK;
    for (size_t first = 0; first < x.n && status == DFO_OK; first += b.rows.n) {
        begin_block(&b, x, cond, first);
        b.grows = dfo_batch_rows(gx, first, b.rows.n);
        b.gcond = dfo_cond_rows(gcond, first, b.rows.n);
        b.at_input = to_latents && b.a->at_input;
        if (to_latents && run->saved && bij->caps & DFO_KEEPS_INPUT)
            b.input = dfo_batch_of(run->saved + first * bij->d, b.rows.n, bij->d);
        for (size_t i = 0; i < b.panels * DFO_PANEL; i++)
            b.gld[i] = i < b.rows.n ? (dfo_real)glogdet[first + i] : 0;
        if (saved)
            use_saved(&b, &saved);
        run->key.row = row + first;
        status = b.a->solve == to_latents ? sweep_back(&b, to_latents) : pass_back(&b, to_latents);
        run->arena_used = mark;
    }
    run->key.row = row;
    return status;
}
