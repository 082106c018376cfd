/* Couplings with dense nets: rows are worked on in blocks of 64, feature-major: the net's output is
 * parameter-major already, so the transforms are unit-stride over rows.  With no feature to pass (a row of
 * one column) and no condition the net is a learned constant: the elementwise form.
 * What passes unchanged and the condition are the net's inputs; its weights' gradients come from the same
 * activations, recomputed in backward unless the memory mode keeps them.  */
#include <math.h>
#include <string.h>

#include "coupling_impl.h"

/* Activations that backward needs, for one block.  */
static size_t block_acts(const dfoi_coupling *c)
{
    return dfo_arena_size(dfo_net_acts(c->net, DFO_PANEL));
}

static size_t outputs(const dfoi_coupling *c)
{
    return c->params * c->mask.nb;
}

static size_t block_params(const dfoi_coupling *c)
{
    return outputs(c) * DFO_PANEL;
}

/* The net's inputs of one block, where it does not read the rows themselves.  */
static size_t pass_size(const dfoi_coupling *c)
{
    return c->mask.na * c->each * DFO_PANEL;
}

size_t dfoi_coupling_rows_scratch(const dfoi_coupling *c)
{
    return 2 * block_params(c) + 2 * c->mask.nb * DFO_PANEL + 2 * dfo_arena_size(pass_size(c)) + 2 * DFO_PANEL +
           block_acts(c) + dfo_net_scratch(c->net, DFO_PANEL);
}

size_t dfoi_coupling_rows_saved(const dfoi_coupling *c, size_t rows)
{
    return (rows + DFO_PANEL - 1) / DFO_PANEL * (block_acts(c) + block_params(c));
}

/* Memory of one block of rows.  */
struct work {
    dfo_real *x, *gx;                  /* (nb, 64) */
    dfo_real *par, *gpar;              /* (params, 64) */
    dfo_real *pass, *gpass;            /* (64, na * each) where the net does not read the rows themselves */
    dfo_real *ld;                      /* (64) */
    dfo_real *gld;                     /* (64) */
    dfo_real *acts;
};

static struct work take(const dfoi_coupling *c, dfo_run *run)
{
    struct work w;
    w.x = dfo_arena_take(run, c->mask.nb * DFO_PANEL);
    w.gx = dfo_arena_take(run, c->mask.nb * DFO_PANEL);
    w.par = dfo_arena_take(run, block_params(c));
    w.gpar = dfo_arena_take(run, block_params(c));
    w.pass = dfo_arena_take(run, pass_size(c));
    w.gpass = dfo_arena_take(run, pass_size(c));
    w.ld = dfo_arena_take(run, DFO_PANEL);
    w.gld = dfo_arena_take(run, DFO_PANEL);
    w.acts = dfo_arena_take(run, block_acts(c));
    return w;
}

/* Columns a side by side; of columns on a circle (period 2B) the cosines, then the sines: the net's output
 * must not jump where -B meets B.  */
static dfo_batch gather(const dfoi_coupling *c, dfo_batch x, dfo_real *pass)
{
    dfo_batch to = dfo_batch_of(pass, x.n, c->mask.na * c->each);
    for (size_t i = 0; i < x.n; i++) {
        dfo_real *row = dfo_row(to, i), *sines = row + c->mask.na;
        for (size_t j = 0; j < c->mask.na; j++)
            row[j] = dfo_row(x, i)[c->mask.a[j]];
        if (c->each == 1)
            continue;
        for (size_t j = 0; j < c->mask.na; j++) {
            double turns = (double)row[j] / (2 * (double)c->spline.bound);
            sines[j] = (dfo_real)(turns - floor(turns));
        }
        dfoi_vsincos2pi(c->mask.na, sines, sines, row);
    }
    return to;
}

/* Gradients of what gather made, added to those of the rows.  */
static void scatter_add(const dfoi_coupling *c, const dfo_real *pass, const dfo_real *gpass, dfo_batch gx)
{
    dfo_real turn = (dfo_real)(3.14159265358979323846 / (double)c->spline.bound);
    for (size_t i = 0; i < gx.n; i++) {
        const dfo_real *v = pass + i * c->mask.na * c->each, *g = gpass + i * c->mask.na * c->each;
        dfo_real *to = dfo_row(gx, i);
        for (size_t j = 0; j < c->mask.na; j++)
            to[c->mask.a[j]] += c->each == 1 ? g[j] : turn * (v[j] * g[c->mask.na + j] - v[c->mask.na + j] * g[j]);
    }
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
            in.part[0].rows = gather(c, x, pass);
    }
    dfoi_coupling_add_conds(cond, cond ? cond->n : 0, &in);
    return in;
}

static dfo_block block(dfo_real *x, size_t n, size_t d)
{
    dfo_block b = {x, n, d, DFO_PANEL, DFO_FEATURES};
    return b;
}

dfo_status dfoi_coupling_rows_map(const dfoi_coupling *c, dfo_run *run, dfo_batch x, const dfo_cond *cond,
                                  double *logdet, int inverse)
{
    struct work w = take(c, run);
    int keep = run->saved && run->memory == DFO_MEMORY_STORE && !inverse;
    dfo_real *saved_at = run->saved;
    for (size_t first = 0; first < x.n; first += DFO_PANEL) {
        size_t n = x.n - first < DFO_PANEL ? x.n - first : DFO_PANEL;
        dfo_batch rows = dfo_batch_rows(x, first, n);
        dfo_cond sub = dfo_cond_rows(cond, first, n), in = inputs(c, rows, &sub, w.pass);
        dfo_real *par = keep ? saved_at + block_acts(c) : w.par;
        DFO_TRY(dfo_net_forward(c->net, run, &in, block(par, n, outputs(c)), keep ? saved_at : NULL));
        dfoi_to_panel(n, c->mask.nb, rows.x, rows.ld, c->mask.b, 0, w.x);
        memset(w.ld, 0, DFO_PANEL * sizeof *w.ld);
        dfoi_coupling_transform(c, inverse, c->mask.nb, DFO_PANEL, par, w.x, w.ld);
        dfoi_from_panel(n, c->mask.nb, w.x, c->mask.b, rows.x, rows.ld);
        for (size_t i = 0; logdet && i < n; i++)
            logdet[first + i] += (double)w.ld[i];
        if (keep)
            saved_at += block_acts(c) + block_params(c);
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

dfo_status dfoi_coupling_rows_back(const dfoi_coupling *c, dfo_run *run, dfo_batch x, dfo_batch gx,
                                   const dfo_cond *cond, const dfo_cond *gcond, const double *glogdet, int inverse)
{
    struct work w = take(c, run);
    int kept = run->saved && run->memory == DFO_MEMORY_STORE && !inverse;
    dfo_real *saved_at = run->saved;
    for (size_t first = 0; first < x.n; first += DFO_PANEL) {
        size_t n = x.n - first < DFO_PANEL ? x.n - first : DFO_PANEL;
        dfo_batch rows = dfo_batch_rows(x, first, n), grows = dfo_batch_rows(gx, first, n);
        dfo_cond sub = dfo_cond_rows(cond, first, n), gsub = dfo_cond_rows(gcond, first, n);
        dfo_cond in = inputs(c, rows, &sub, w.pass);
        dfo_cond gin = input_grads(c, grows, &gsub, sub.n, w.gpass);
        dfo_real *par = w.par, *acts = w.acts;
        if (kept) {
            acts = saved_at;
            par = saved_at + block_acts(c);
            saved_at = par + block_params(c);
        } else {
            DFO_TRY(dfo_net_forward(c->net, run, &in, block(par, n, outputs(c)), acts));
        }
        dfoi_to_panel(n, c->mask.nb, rows.x, rows.ld, c->mask.b, 0, w.x);
        dfoi_to_panel(n, c->mask.nb, grows.x, grows.ld, c->mask.b, 1, w.gx);
        for (size_t i = 0; i < DFO_PANEL; i++)
            w.gld[i] = i < n ? (dfo_real)glogdet[first + i] : 0;
        dfoi_coupling_transform_back(c, inverse, c->mask.nb, DFO_PANEL, par, w.x, w.gx, w.gld, w.gpar);
        dfoi_from_panel(n, c->mask.nb, w.x, c->mask.b, rows.x, rows.ld);
        dfoi_from_panel(n, c->mask.nb, w.gx, c->mask.b, grows.x, grows.ld);
        DFO_TRY(dfo_net_backward(c->net, run, &in, block(w.gpar, n, outputs(c)), &gin, acts));
        if (c->mask.na && !c->mask.run_a)
            scatter_add(c, w.pass, w.gpass, grows);
    }
    return DFO_OK;
}
