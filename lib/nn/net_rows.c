/* A net's two passes with rows on both sides, however its own outputs lie: some rows at a time, through a block in the arena.  */
#include <string.h>

#include "base/ctx_impl.h"
#include "math/gemm_impl.h"
#include "nn/rows_impl.h"

static size_t chunk(size_t rows)
{
    return rows < DFO_NET_ROWS ? rows : DFO_NET_ROWS;
}

size_t dfoi_block_size(dfo_layout layout, size_t n, size_t d)
{
    return (layout == DFO_FEATURES ? dfoi_panels_of(n) * DFO_PANEL : n) * d;
}

dfo_block dfoi_block_take(dfo_run *run, dfo_layout layout, size_t n, size_t d)
{
    return (dfo_block){dfo_arena_take(run, dfoi_block_size(layout, n, d)), n, d, layout == DFO_FEATURES ? DFO_PANEL : d, layout};
}

size_t dfo_net_rows_scratch(const dfo_net *net, size_t rows)
{
    size_t n = chunk(rows);
    return dfo_arena_size(dfoi_block_size(net->ops->layout, n, net->out)) + dfo_arena_size(dfo_net_acts(net, n)) + dfo_net_scratch(net, n);
}

static size_t in_panel(dfo_block b, size_t i)
{
    return b.n - i < DFO_PANEL ? b.n - i : DFO_PANEL;
}

void dfoi_block_to_rows(dfo_block b, dfo_batch to)
{
    for (size_t i = 0; b.layout == DFO_FEATURES && i < b.n; i += DFO_PANEL)
        dfoi_from_panel(in_panel(b, i), b.d, b.x + i * b.d, NULL, dfo_row(to, i), to.ld);
    for (size_t i = 0; b.layout == DFO_ROWS && i < b.n; i++)
        memcpy(dfo_row(to, i), b.x + i * b.ld, b.d * sizeof *b.x);
}

void dfoi_block_from_rows(dfo_batch from, dfo_block b)
{
    for (size_t i = 0; b.layout == DFO_FEATURES && i < b.n; i += DFO_PANEL)
        dfoi_to_panel(in_panel(b, i), b.d, dfo_row(from, i), from.ld, NULL, 1, b.x + i * b.d);
    for (size_t i = 0; b.layout == DFO_ROWS && i < b.n; i++)
        memcpy(b.x + i * b.ld, dfo_row(from, i), b.d * sizeof *b.x);
}

static dfo_status check(const dfo_net *net, dfo_run *run, dfo_batch out)
{
    if (out.d == net->out)
        return DFO_OK;
    return dfo_run_fail(run, DFO_ESHAPE, (size_t)-1, "%s net: expected rows of %zu outputs, got %zu", net->ops->type, net->out,
                        out.d);
}

/* Outputs to the rows, or with `back` these are its gradient.  */
static dfo_status some_rows(const dfo_net *net, dfo_run *run, const dfo_cond *in, dfo_batch rows, int back, dfo_cond *gin)
{
    dfo_block b = dfoi_block_take(run, net->ops->layout, rows.n, net->out);
    dfo_real *acts = back ? dfo_arena_take(run, dfo_net_acts(net, rows.n)) : NULL;
    DFO_TRY(dfo_net_forward(net, run, in, b, acts));
    if (!back) {
        dfoi_block_to_rows(b, rows);
        return DFO_OK;
    }
    dfoi_block_from_rows(rows, b);
    return dfo_net_backward(net, run, in, b, gin, acts);
}

static dfo_status all_rows(const dfo_net *net, dfo_run *run, const dfo_cond *in, dfo_batch out, int back, dfo_cond *gin)
{
    size_t mark = run->arena_used, row = run->key.row;
    dfo_status status = check(net, run, out);
    for (size_t first = 0, n; first < out.n && status == DFO_OK; first += n) {
        n = chunk(out.n - first);
        dfo_cond part = dfo_cond_rows(in, first, n), gpart = dfo_cond_rows(gin, first, n);
        run->key.row = row + first;
        status = some_rows(net, run, &part, dfo_batch_rows(out, first, n), back, gin ? &gpart : NULL);
        run->arena_used = mark;
    }
    run->key.row = row;
    return status;
}

dfo_status dfo_net_rows_forward(const dfo_net *net, dfo_run *run, const dfo_cond *in, dfo_batch out)
{
    return all_rows(net, run, in, out, 0, NULL);
}

dfo_status dfo_net_rows_backward(const dfo_net *net, dfo_run *run, const dfo_cond *in, dfo_batch gout, dfo_cond *gin)
{
    return all_rows(net, run, in, gout, 1, gin);
}
