/* The trace of nets with the time (squash.c) in closed form.  With A, B, C the weights at that time of two hidden layers, D1, D2
 * the derivatives act'(u) sigmoid(gate t + shift) of their values and G the last layer's gates, rows' Jacobians are G C D2 B D1 A,
 * and
 *
 *     tr = d2^T N d1,   N = B o (A G C)^T,
 *
 * one product of N with a panel of d1: about another forward pass for any number of features.  With one hidden layer N is a
 * row, with none a number.  N depends on the time: rows share it.  Without gates D are act'(u) and G is 1.  */
#include <string.h>

#include "base/ctx_impl.h"
#include "math/kern_impl.h"
#include "nn/squash_impl.h"

size_t dfoi_squash_trace_size(const dfo_net *net)
{
    const struct squash *m = net->state;
    size_t hidden = m->layers - 1, size = 1;
    for (size_t l = 0; l < hidden; l++)
        size *= dfoi_squash_out(m, l);
    return hidden <= 2 && dfo_shape_size(net->part[0]) == net->out ? size : 0;
}

/* Panels of the trace: input, gates, a, the values in turn, d1, d2, N d1; a time for 64 rows; matrices at a time.  */
enum { INPUT, GATE, FIRST, X0, X1, D1, D2, PRODUCT, PANELS };

static size_t room(const struct squash *m)
{
    size_t matrices = 0;
    for (size_t l = 0; l < m->layers && m->kind == SQUASH_HYPER; l++)
        matrices += dfoi_squash_out(m, l) * m->linear[l].in;
    return PANELS * m->widest * DFO_PANEL + DFO_PANEL + m->scratch_grad + matrices;
}

size_t dfoi_squash_trace_scratch(const dfo_net *net, size_t rows)
{
    (void)rows;
    return dfo_arena_size(room(net->state));
}

static dfo_status take(const dfo_net *net, dfo_run *run, dfo_real *p[PANELS + 2])
{
    const struct squash *m = net->state;
    dfo_real *memory = dfo_arena_take(run, room(m));
    if (!memory)
        return dfo_run_fail(run, DFO_EMEM, (size_t)-1, "%s net: the arena is too small", net->ops->type);
    for (size_t i = 0; i <= PANELS; i++)
        p[i] = memory + i * m->widest * DFO_PANEL;
    p[PANELS + 1] = p[PANELS] + DFO_PANEL;
    return DFO_OK;
}

/* 1 where there are none.  */
static void gates(const dfoi_squash *how, dfo_real *g)
{
    DFOI_SQUASH_KERN->gate(how, g);
    for (size_t i = 0; !how->gate && i < how->out * DFO_PANEL; i++)
        g[i] = 1;
}

/* The layers' matrices (outputs, inputs) at time t, those that depend on it at `memory`.  */
static void matrices_at(const struct squash *m, const dfo_run *run, dfo_real t, dfo_real *memory, const dfo_real *matrix[3])
{
    for (size_t l = 0; l < m->layers; l++) {
        const dfo_real *w = dfo_run_weights(run, m->linear[l].w);
        size_t size = dfoi_squash_out(m, l) * m->linear[l].in;
        matrix[l] = w;
        if (m->kind != SQUASH_HYPER)
            continue;
        for (size_t i = 0; i < size; i++)
            memory[i] = w[i] + t * w[size + i];
        matrix[l] = memory;
        memory += size;
    }
}

/* (G C)^T A^T for 64 columns of A^T from the first one on, in `to` (hidden 2, 64).  */
static void around(const dfo_net *net, const dfo_real *const matrix[3], size_t first, dfo_real *const p[PANELS + 2], dfo_real *to)
{
    const struct squash *m = net->state;
    const dfoi_linear *start = &m->linear[0], *last = &m->linear[m->layers - 1];
    size_t left = dfoi_squash_out(m, 0) - first, n = left < DFO_PANEL ? left : DFO_PANEL;
    dfoi_to_panel(n, net->out, matrix[0] + first * start->in, start->in, NULL, 1, p[X0]);
    for (size_t e = 0; e < net->out; e++)
        for (size_t i = 0; i < DFO_PANEL; i++)
            p[X0][e * DFO_PANEL + i] *= p[GATE][e * DFO_PANEL];
    dfoi_gemm_back(net->out, last->in, matrix[m->layers - 1], last->in, p[X0], NULL, NULL, to, p[PANELS + 1]);
}

dfo_status dfoi_squash_trace_begin(const dfo_net *net, dfo_run *run, dfo_real t, dfo_real *kept)
{
    const struct squash *m = net->state;
    dfo_real *p[PANELS + 2] = {NULL};
    const dfo_real *matrix[3] = {NULL};
    DFO_TRY(take(net, run, p));
    for (size_t i = 0; i < DFO_PANEL; i++)
        p[PANELS][i] = t;
    dfoi_squash last = dfoi_squash_layer(net, run, m->layers - 1, p[PANELS], NULL);
    gates(&last, p[GATE]);
    matrices_at(m, run, t, p[PANELS + 1] + m->scratch_grad, matrix);
    const dfo_real *a = matrix[0], *b = matrix[m->layers > 1];
    size_t in = m->linear[0].in, columns = dfoi_squash_out(m, 0), rows = m->layers == 3 ? dfoi_squash_out(m, 1) : 1;
    if (m->layers < 3)
        for (size_t i = 0; i < (m->layers == 2 ? columns : 1); i++)
            kept[i] = 0;
    for (size_t e = 0; m->layers == 1 && e < net->out; e++)
        kept[0] += p[GATE][e * DFO_PANEL] * a[e * in + e];
    for (size_t e = 0; m->layers == 2 && e < net->out; e++)
        for (size_t i = 0; i < columns; i++)
            kept[i] += p[GATE][e * DFO_PANEL] * a[i * in + e] * b[e * columns + i];
    for (size_t first = 0; m->layers == 3 && first < columns; first += DFO_PANEL) {
        around(net, matrix, first, p, p[PRODUCT]);
        for (size_t j = 0; j < rows; j++)
            for (size_t i = first; i < columns && i < first + DFO_PANEL; i++)
                kept[j * columns + i] = b[j * columns + i] * p[PRODUCT][j * DFO_PANEL + i - first];
    }
    return DFO_OK;
}

/* Values of panel k in `out`, derivatives of the hidden layers in D1, D2.  */
static void values(const dfo_net *net, dfo_run *run, dfo_real *const p[PANELS + 2], dfo_real *out)
{
    const struct squash *m = net->state;
    const dfo_real *h = p[INPUT];
    for (size_t l = 0; l < m->layers; l++) {
        int last = l + 1 == m->layers;
        dfoi_squash how = dfoi_squash_layer(net, run, l, p[INPUT] + (net->in - 1) * DFO_PANEL, NULL);
        dfo_real *to = last ? out : p[l % 2 ? X1 : X0], *d = p[D1 + l];
        size_t size = how.out * DFO_PANEL;
        dfoi_linear_forward_one(&m->linear[l], run, h, DFOI_ACT_NONE, NULL, p[FIRST]);
        gates(&how, p[GATE]);
        DFOI_SQUASH_KERN->value(&how, p[FIRST], p[GATE], last ? to : p[PRODUCT]);
        if (last)
            break;
        dfoi_vact(m->settings.act, size, p[PRODUCT], to);
        memcpy(d, p[GATE], size * sizeof *d);
        dfoi_vdact(m->settings.act, size, p[PRODUCT], to, d);
        h = to;
    }
}

dfo_status dfoi_squash_trace(const dfo_net *net, dfo_run *run, const dfo_cond *in, const dfo_real *kept, dfo_block out, double *trace)
{
    const struct squash *m = net->state;
    dfo_real *p[PANELS + 2] = {NULL};
    DFO_TRY(take(net, run, p));
    for (size_t k = 0; k < dfoi_panels_of(out.n); k++) {
        size_t left = out.n - k * DFO_PANEL, n = left < DFO_PANEL ? left : DFO_PANEL, count = dfoi_squash_out(m, 0);
        double *to = trace + k * DFO_PANEL;
        dfoi_parts_to_panel(net, in, out.n, k, p[INPUT]);
        values(net, run, p, out.x + k * out.d * DFO_PANEL);
        for (size_t i = 0; i < n; i++)
            to[i] = m->layers == 1 ? (double)kept[0] : 0;
        for (size_t j = 0; m->layers == 2 && j < count; j++)
            for (size_t i = 0; i < n; i++)
                to[i] += (double)(kept[j] * p[D1][j * DFO_PANEL + i]);
        if (m->layers < 3)
            continue;
        size_t rows = dfoi_squash_out(m, 1);
        dfoi_gemm(rows, count, kept, count, p[D1], NULL, DFOI_ACT_NONE, NULL, p[PRODUCT]);
        for (size_t j = 0; j < rows; j++)
            for (size_t i = 0; i < n; i++)
                to[i] += (double)(p[D2][j * DFO_PANEL + i] * p[PRODUCT][j * DFO_PANEL + i]);
    }
    return DFO_OK;
}
