/* Couplings with dense nets: rows are worked on in blocks of up to DFO_NET_ROWS, in panels of 64,
 * feature-major: the net's output is parameter-major already, so the transforms are unit-stride over rows.  With no feature to pass (a row of
 * one column) and no condition the net is a learned constant: the elementwise form.
 * What passes unchanged and the condition are the net's inputs; its weights' gradients come from the same
 * activations, recomputed in backward unless the memory mode keeps them.  */
#include <string.h>

#include "coupling_impl.h"

/* Activations that backward needs, for a block of n rows.  */
static size_t block_acts(const dfoi_coupling *c, size_t n)
{
    return dfo_arena_size(dfo_net_acts(c->net, n));
}

static size_t outputs(const dfoi_coupling *c)
{
    return c->params * c->mask.nb;
}

static size_t block_params(const dfoi_coupling *c, size_t n)
{
    return outputs(c) * DFO_PANEL * dfoi_panels_of(n);
}

/* The net's inputs of a block, where it does not read the rows themselves.  */
static size_t pass_size(const dfoi_coupling *c)
{
    return c->mask.na * c->each * DFO_NET_ROWS;
}

/* Rows of the block that begins at `first`.  */
static size_t block_rows(size_t rows, size_t first)
{
    return rows - first < DFO_NET_ROWS ? rows - first : DFO_NET_ROWS;
}

size_t dfoi_coupling_rows_scratch(const dfoi_coupling *c, size_t rows)
{
    size_t most = block_rows(rows, 0);
    return 2 * block_params(c, most) + 2 * c->mask.nb * DFO_PANEL + 2 * dfo_arena_size(pass_size(c)) +
           (c->fade ? outputs(c) : 0) * DFO_PANEL + 2 * DFO_PANEL + block_acts(c, most) + dfo_net_scratch(c->net, most);
}

size_t dfoi_coupling_rows_saved(const dfoi_coupling *c, size_t rows)
{
    size_t size = 0;
    for (size_t first = 0, n; first < rows; first += n) {
        n = block_rows(rows, first);
        size += block_acts(c, n) + block_params(c, n);
    }
    return size;
}

/* Memory of one block of rows: the net's, and one panel's of the transform.  */
struct work {
    dfo_real *x, *gx;                  /* (nb, 64) */
    dfo_real *par, *gpar;              /* panels of (params, 64) */
    dfo_real *pass, *gpass;            /* (rows, na * each) where the net does not read the rows themselves */
    dfo_real *faded;                   /* (params, 64) */
    dfo_real *ld;                      /* (64) */
    dfo_real *gld;                     /* (64) */
    dfo_real *acts;
};

static struct work take(const dfoi_coupling *c, dfo_run *run, size_t rows)
{
    size_t most = block_rows(rows, 0);
    struct work w;
    w.x = dfo_arena_take(run, c->mask.nb * DFO_PANEL);
    w.gx = dfo_arena_take(run, c->mask.nb * DFO_PANEL);
    w.par = dfo_arena_take(run, block_params(c, most));
    w.gpar = dfo_arena_take(run, block_params(c, most));
    w.pass = dfo_arena_take(run, pass_size(c));
    w.gpass = dfo_arena_take(run, pass_size(c));
    w.faded = c->fade ? dfo_arena_take(run, outputs(c) * DFO_PANEL) : NULL;
    w.ld = dfo_arena_take(run, DFO_PANEL);
    w.gld = dfo_arena_take(run, DFO_PANEL);
    w.acts = dfo_arena_take(run, block_acts(c, most));
    return w;
}

/* The net's inputs: what passes (if anything), then the condition.  */
static dfo_cond inputs(const dfoi_coupling *c, dfo_batch x, const dfo_cond *cond, dfo_real *pass)
{
    dfo_cond in = {0};
    if (c->mask.na) {
        in.n = 1;
        in.part[0].shape = dfo_shape_vector(c->mask.na * c->each);
        if (c->mask.run_a)
            in.part[0].rows = dfo_batch_columns(x, c->mask.a[0], c->mask.na);
        else
            in.part[0].rows = dfoi_coupling_features(c, x, pass);
    }
    dfoi_coupling_add_conds(cond, cond ? cond->n : 0, &in);
    return in;
}

static dfo_block block(dfo_real *x, size_t n, size_t d)
{
    dfo_block b = {x, n, d, DFO_PANEL, DFO_FEATURES};
    return b;
}

/* The net on the block that begins at row `first`: what it draws is a function of the absolute row.  */
static dfo_status net_forward(const dfoi_coupling *c, dfo_run *run, size_t first, const dfo_cond *in,
                              dfo_block out, dfo_real *acts)
{
    run->key.row += first;
    dfo_status status = dfo_net_forward(c->net, run, in, out, acts);
    run->key.row -= first;
    return status;
}

static dfo_status net_backward(const dfoi_coupling *c, dfo_run *run, size_t first, const dfo_cond *in,
                               dfo_block gout, dfo_cond *gin, const dfo_real *acts)
{
    run->key.row += first;
    dfo_status status = dfo_net_backward(c->net, run, in, gout, gin, acts);
    run->key.row -= first;
    return status;
}

/* The panel of rows that begins at `first`.  */
static dfo_batch panel_rows(dfo_batch x, size_t first)
{
    return dfo_batch_rows(x, first, x.n - first < DFO_PANEL ? x.n - first : DFO_PANEL);
}

static void map_panel(const dfoi_coupling *c, const struct work *w, const dfo_real *par, dfo_batch rows,
                      double *logdet, int inverse)
{
    dfoi_to_panel(rows.n, c->mask.nb, rows.x, rows.ld, c->mask.b, 0, w->x);
    memset(w->ld, 0, DFO_PANEL * sizeof *w->ld);
    par = dfoi_coupling_fade(c, rows, par, w->faded);
    dfoi_coupling_transform(c, inverse, c->mask.nb, DFO_PANEL, par, w->x, w->ld);
    dfoi_from_panel(rows.n, c->mask.nb, w->x, c->mask.b, rows.x, rows.ld);
    for (size_t i = 0; logdet && i < rows.n; i++)
        logdet[i] += (double)w->ld[i];
}

dfo_status dfoi_coupling_rows_map(const dfoi_coupling *c, dfo_run *run, dfo_batch x, const dfo_cond *cond,
                                  double *logdet, int inverse)
{
    struct work w = take(c, run, x.n);
    int keep = run->saved && run->memory == DFO_MEMORY_STORE && !inverse;
    dfo_real *saved_at = run->saved ? run->saved + dfo_arena_size(x.n * c->kept) : NULL;
    for (size_t first = 0, n; first < x.n; first += n) {
        n = block_rows(x.n, first);
        dfo_batch rows = dfo_batch_rows(x, first, n);
        dfo_cond sub = dfo_cond_rows(cond, first, n), in = inputs(c, rows, &sub, w.pass);
        dfo_real *par = keep ? saved_at + block_acts(c, n) : w.par;
        DFO_TRY(net_forward(c, run, first, &in, block(par, n, outputs(c)), keep ? saved_at : NULL));
        for (size_t i = 0; i < n; i += DFO_PANEL)
            map_panel(c, &w, par + i * outputs(c), panel_rows(rows, i), logdet ? logdet + first + i : NULL, inverse);
        if (keep)
            saved_at = par + block_params(c, n);
    }
    return DFO_OK;
}

/* Where the net's input gradients go: into the row's own gradient, and the condition's.  */
static dfo_cond input_grads(const dfoi_coupling *c, dfo_batch gx, const dfo_cond *gcond, size_t conds,
                            dfo_real *gpass)
{
    dfo_cond g = {0};
    if (c->mask.na) {
        g.n = 1;
        g.part[0].shape = dfo_shape_vector(c->mask.na * c->each);
        if (c->mask.run_a) {
            g.part[0].rows = dfo_batch_columns(gx, c->mask.a[0], c->mask.na);
        } else {
            g.part[0].rows = dfo_batch_of(gpass, gx.n, c->mask.na * c->each);
            memset(gpass, 0, gx.n * c->mask.na * c->each * sizeof *gpass);
        }
    }
    dfoi_coupling_add_conds(gcond, conds, &g);
    return g;
}

static void map_panel_back(const dfoi_coupling *c, const struct work *w, const dfo_real *par, dfo_real *gpar,
                           dfo_batch rows, dfo_batch grows, const double *glogdet, int inverse)
{
    dfoi_to_panel(rows.n, c->mask.nb, rows.x, rows.ld, c->mask.b, 0, w->x);
    dfoi_to_panel(rows.n, c->mask.nb, grows.x, grows.ld, c->mask.b, 1, w->gx);
    for (size_t i = 0; i < DFO_PANEL; i++)
        w->gld[i] = i < rows.n ? (dfo_real)glogdet[i] : 0;
    const dfo_real *used = dfoi_coupling_fade(c, rows, par, w->faded);
    dfoi_coupling_transform_back(c, inverse, c->mask.nb, DFO_PANEL, used, w->x, w->gx, w->gld, gpar);
    dfoi_coupling_fade_back(c, rows, par, gpar, grows);
    dfoi_from_panel(rows.n, c->mask.nb, w->x, c->mask.b, rows.x, rows.ld);
    dfoi_from_panel(rows.n, c->mask.nb, w->gx, c->mask.b, grows.x, grows.ld);
}

dfo_status dfoi_coupling_rows_back(const dfoi_coupling *c, dfo_run *run, dfo_batch x, dfo_batch gx,
                                   const dfo_cond *cond, const dfo_cond *gcond, const double *glogdet, int inverse)
{
    struct work w = take(c, run, x.n);
    int kept = run->saved && run->memory == DFO_MEMORY_STORE && !inverse;
    dfo_real *saved_at = run->saved ? run->saved + dfo_arena_size(x.n * c->kept) : NULL;
    for (size_t first = 0, n; first < x.n; first += n) {
        n = block_rows(x.n, first);
        dfo_batch rows = dfo_batch_rows(x, first, n), grows = dfo_batch_rows(gx, first, n);
        dfo_cond sub = dfo_cond_rows(cond, first, n), gsub = dfo_cond_rows(gcond, first, n);
        dfo_cond in = inputs(c, rows, &sub, w.pass);
        dfo_cond gin = input_grads(c, grows, &gsub, sub.n, w.gpass);
        dfo_real *par = w.par, *acts = w.acts;
        if (kept) {
            acts = saved_at;
            par = saved_at + block_acts(c, n);
            saved_at = par + block_params(c, n);
        } else {
            DFO_TRY(net_forward(c, run, first, &in, block(par, n, outputs(c)), acts));
        }
        for (size_t i = 0; i < n; i += DFO_PANEL)
            map_panel_back(c, &w, par + i * outputs(c), w.gpar + i * outputs(c), panel_rows(rows, i),
                           panel_rows(grows, i), glogdet + first + i, inverse);
        DFO_TRY(net_backward(c, run, first, &in, block(w.gpar, n, outputs(c)), &gin, acts));
        if (c->mask.na && !c->mask.run_a)
            dfoi_coupling_features_back(c, rows, w.pass, w.gpass, grows);
    }
    return DFO_OK;
}

dfo_status dfoi_coupling_rows_fit(dfo_bijector *bij, dfo_run *run, dfo_batch x, const dfo_cond *cond)
{
    const dfoi_coupling *c = bij->state;
    dfo_real *pass;
    if (dfoi_alloc(bij->ctx, x.n * c->mask.na * c->each, sizeof *pass, &pass) != DFO_OK)
        return dfo_run_fail(run, DFO_EMEM, (size_t)-1, "%s", dfo_ctx_error(bij->ctx));
    dfo_cond in = inputs(c, x, cond, pass);
    dfo_status status = dfo_net_fit(c->net, run, &in, dfo_store_weights(bij->store));
    dfoi_free(bij->ctx, pass);
    return status;
}
