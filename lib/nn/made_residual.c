/* Sweeps over the hidden units of a masked residual net (see made_sweep.c and residual.c).  All blocks have the
 * degrees of the first layer, so the stream of a unit is complete, through all blocks, as soon as its degree is; it
 * stands where the pass keeps it behind the last block.  On the way back the stream's gradient behind each block
 * and those inside it stay until the weights' gradients are added.  */
#include <string.h>

#include "math/kern_impl.h"
#include "nn/made_impl.h"
#include "nn/residual_impl.h"
#include "nn/unit_kern_impl.h"

/* Panels of a block: the second unit's output and mask, gradients of the second linear layer's input and output, of the
 * gate, and of the stream in front of the block; behind all blocks that of the stream.  */
enum panel { H, MASK, GV, GR, GQ, GS, PANELS };

static const struct dfoi_residual *net_of(const struct dfoi_made *m)
{
    return m->inner.state;
}

size_t dfoi_made_residual_room(const struct dfoi_made *m)
{
    return (PANELS * net_of(m)->settings.blocks + 1) * net_of(m)->hidden;
}

static dfo_real *own(const struct dfoi_made *m, const struct dfoi_made_sweep *s, size_t p, size_t k, enum panel which)
{
    return s->own[p] + (PANELS * k + which) * net_of(m)->hidden * DFO_PANEL;
}

/* The stream's gradient in front of block k, or behind all.  */
static dfo_real *stream_grad(const struct dfoi_made *m, const struct dfoi_made_sweep *s, size_t p, size_t k)
{
    return k < net_of(m)->settings.blocks ? own(m, s, p, k, GS) : own(m, s, p, k, H);
}

static dfo_real *kept(const struct dfoi_made *m, const struct dfoi_made_sweep *s, size_t p, size_t at)
{
    return s->acts + p * net_of(m)->keep + at;
}

static dfoi_unit_room room(const struct dfoi_made *m, const struct dfoi_made_sweep *s, size_t p, size_t k)
{
    return (dfoi_unit_room){.h = own(m, s, p, k, H), .mask = own(m, s, p, k, MASK), .first = p * DFO_PANEL};
}

static void draw_masks(const struct dfoi_made *m, const dfo_run *run, const struct dfoi_made_sweep *s)
{
    const struct dfoi_residual *r = net_of(m);
    for (size_t k = 0; k < r->settings.blocks; k++)
        for (size_t p = 0; p < s->panels && dfoi_unit_dropping(&r->block[k].unit[1], run); p++) {
            const dfoi_unit_room at = room(m, s, p, k);
            dfoi_unit_mask(&r->block[k].unit[1], run, &at);
        }
}

/* Gates depend on the parts in front of the columns alone.  */
void dfoi_made_residual_begin(const struct dfoi_made *m, const dfo_run *run, const struct dfoi_made_sweep *s)
{
    const struct dfoi_residual *r = net_of(m);
    size_t size = r->hidden * DFO_PANEL;
    draw_masks(m, run, s);
    for (size_t k = 0; k < r->settings.blocks; k++)
        for (size_t p = 0; p < s->panels && r->block[k].gate; p++) {
            dfo_real *g = kept(m, s, p, r->block[k].at_gate) + size;
            dfoi_linear_forward_one(r->block[k].gate, run, s->x[p], DFOI_ACT_NONE, NULL, g);
            dfoi_vsigmoid(size, g, g);
        }
}

/* Units first .. first + count - 1 of the stream through block k.  */
static void block_column(const struct dfoi_made *m, const dfo_run *run, const struct dfoi_made_sweep *s, size_t k,
                         size_t first, size_t count, dfo_real *const *stream)
{
    const struct dfoi_residual *r = net_of(m);
    const struct dfoi_residual_block *b = &r->block[k];
    size_t at = first * DFO_PANEL, size = count * DFO_PANEL;
    int fused = dfoi_unit_fused(&b->unit[1]);
    const dfo_real *h[DFOI_PANELS], *add[DFOI_PANELS];
    dfo_real *y[DFOI_PANELS];
    dfoi_unit_room second[DFOI_PANELS];
    for (size_t p = 0; p < s->panels; p++) {
        const dfoi_unit_room none = {.first = p * DFO_PANEL};
        h[p] = dfoi_unit_forward_part(&b->unit[0], run, stream[p], 0, &none, kept(m, s, p, b->at[0]), first, count);
        second[p] = room(m, s, p, k);
        y[p] = dfoi_unit_target(&b->unit[1], &second[p], kept(m, s, p, b->at[1])) + at;
    }
    dfoi_linear_forward_part(b->linear[0], run, first, count, s->panels, h, fused ? b->unit[1].act : DFOI_ACT_NONE, NULL, y);
    for (size_t p = 0; p < s->panels; p++) {
        h[p] = dfoi_unit_forward_part(&b->unit[1], run, y[p], fused, &second[p], kept(m, s, p, b->at[1]), first, count);
        add[p] = stream[p];
        y[p] = b->gate ? kept(m, s, p, b->at_gate) + at : stream[p];
    }
    dfoi_linear_forward_part(b->linear[1], run, first, count, s->panels, h, DFOI_ACT_NONE, b->gate ? NULL : add, y);
    for (size_t p = 0; p < s->panels && b->gate; p++) {
        const struct dfoi_gate gate = {.s = stream[p], .r = y[p], .g = y[p] + r->hidden * DFO_PANEL};
        DFOI_UNIT_KERN->gate(size, &gate, stream[p]);
    }
}

void dfoi_made_residual_column(const struct dfoi_made *m, const dfo_run *run, const struct dfoi_made_sweep *s, size_t j,
                               dfo_real *const *out)
{
    const struct dfoi_residual *r = net_of(m);
    size_t first = dfoi_made_at(m, 1, j), count = dfoi_made_at(m, 1, j + 1) - first;
    const dfo_real *x[DFOI_PANELS], *last[DFOI_PANELS];
    dfo_real *stream[DFOI_PANELS];
    for (size_t p = 0; p < s->panels; p++) {
        x[p] = s->x[p];
        last[p] = kept(m, s, p, r->at_last);
        stream[p] = kept(m, s, p, r->at_last) + first * DFO_PANEL;
    }
    dfoi_linear_forward_part(r->first, run, first, count, s->panels, x, DFOI_ACT_NONE, NULL, stream);
    for (size_t k = 0; k < r->settings.blocks; k++)
        block_column(m, run, s, k, first, count, stream);
    dfoi_linear_forward_part(r->last, run, j * m->each, m->each, s->panels, last, DFOI_ACT_NONE, NULL, out);
}

void dfoi_made_residual_back_begin(const struct dfoi_made *m, const dfo_run *run, const struct dfoi_made_sweep *s)
{
    const struct dfoi_residual *r = net_of(m);
    static const enum panel grads[] = {GV, GR, GQ};
    size_t first = dfoi_made_at(m, 1, m->d) * DFO_PANEL, bytes = (r->hidden * DFO_PANEL - first) * sizeof *s->scratch;
    draw_masks(m, run, s);
    for (size_t p = 0; p < s->panels; p++)
        for (size_t k = 0; k <= r->settings.blocks; k++) {
            memset(stream_grad(m, s, p, k) + first, 0, bytes);
            for (size_t g = 0; g < sizeof grads / sizeof *grads && k < r->settings.blocks; g++)
                memset(own(m, s, p, k, grads[g]) + first, 0, bytes);
        }
}

/* The gradient of what block k adds to the stream.  */
static const dfo_real *added_grad(const struct dfoi_made *m, const struct dfoi_made_sweep *s, size_t p, size_t k)
{
    return net_of(m)->block[k].gate ? own(m, s, p, k, GR) : stream_grad(m, s, p, k + 1);
}

static void block_back_column(const struct dfoi_made *m, const dfo_run *run, const struct dfoi_made_sweep *s, size_t k,
                              size_t first, size_t count)
{
    const struct dfoi_residual *r = net_of(m);
    const struct dfoi_residual_block *b = &r->block[k];
    size_t at = first * DFO_PANEL, size = count * DFO_PANEL;
    const dfo_real *g[DFOI_PANELS];
    dfo_real *to[DFOI_PANELS];
    for (size_t p = 0; p < s->panels; p++) {
        const dfo_real *value = kept(m, s, p, b->at_gate) + at;
        const struct dfoi_gate gate = {.r = value, .g = value + r->hidden * DFO_PANEL};
        if (b->gate)
            DFOI_UNIT_KERN->gate_backward(size, &gate, stream_grad(m, s, p, k + 1) + at, own(m, s, p, k, GR) + at,
                                          own(m, s, p, k, GQ) + at);
        g[p] = added_grad(m, s, p, k);
        to[p] = own(m, s, p, k, GV) + at;
    }
    dfoi_linear_backward_part(b->linear[1], run, first, count, first, s->panels, g, to, s->scratch);
    for (size_t p = 0; p < s->panels; p++) {
        const dfoi_unit_room second = room(m, s, p, k);
        dfoi_unit_backward_part(&b->unit[1], run, &second, kept(m, s, p, b->at[1]), to[p], first, count);
        g[p] = own(m, s, p, k, GV);
        to[p] = stream_grad(m, s, p, k) + at;
    }
    dfoi_linear_backward_part(b->linear[0], run, first, count, first, s->panels, g, to, s->scratch);
    for (size_t p = 0; p < s->panels; p++) {
        const dfoi_unit_room none = {.first = p * DFO_PANEL};
        dfoi_unit_backward_part(&b->unit[0], run, &none, kept(m, s, p, b->at[0]), to[p], first, count);
        dfoi_add(size, stream_grad(m, s, p, k + 1) + at, to[p]);
    }
}

void dfoi_made_residual_back_column(const struct dfoi_made *m, const dfo_run *run, const struct dfoi_made_sweep *s,
                                    size_t j)
{
    const struct dfoi_residual *r = net_of(m);
    size_t first = dfoi_made_at(m, 1, j), count = dfoi_made_at(m, 1, j + 1) - first;
    size_t input = dfoi_made_at(m, 0, j), inputs = dfoi_made_at(m, 0, j + 1) - input;
    const dfo_real *g[DFOI_PANELS];
    dfo_real *to[DFOI_PANELS], *gx[DFOI_PANELS];
    for (size_t p = 0; p < s->panels; p++) {
        to[p] = stream_grad(m, s, p, r->settings.blocks) + first * DFO_PANEL;
        g[p] = stream_grad(m, s, p, 0);
        gx[p] = s->gx[p] + input * DFO_PANEL;
    }
    dfoi_linear_backward_part(r->last, run, first, count, j * m->each, s->panels, s->gout, to, s->scratch);
    for (size_t k = r->settings.blocks; k-- > 0;)
        block_back_column(m, run, s, k, first, count);
    dfoi_linear_backward_part(r->first, run, input, inputs, first, s->panels, g, gx, s->scratch);
}

/* Weights of block k, and what its gate adds to the gradient of the parts in front of the columns.  */
static void block_back_end(const struct dfoi_made *m, const dfo_run *run, const struct dfoi_made_sweep *s, size_t k)
{
    const struct dfoi_residual_block *b = &net_of(m)->block[k];
    const dfo_real *u[DFOI_PANELS], *h[DFOI_PANELS], *gr[DFOI_PANELS], *gv[DFOI_PANELS];
    for (size_t p = 0; p < s->panels; p++) {
        const dfoi_unit_room none = {.first = p * DFO_PANEL}, second = room(m, s, p, k);
        u[p] = dfoi_unit_output(&b->unit[0], run, &none, kept(m, s, p, b->at[0]));
        h[p] = dfoi_unit_output(&b->unit[1], run, &second, kept(m, s, p, b->at[1]));
        gr[p] = added_grad(m, s, p, k);
        gv[p] = own(m, s, p, k, GV);
        if (b->gate) {
            dfoi_linear_grads_one(b->gate, run, own(m, s, p, k, GQ), s->x[p], 1, s->scratch);
            dfoi_linear_backward_one(b->gate, run, own(m, s, p, k, GQ), NULL, s->gx[p], s->gx[p], s->scratch);
        }
    }
    dfoi_linear_grads(b->linear[1], run, s->panels, gr, h, 1, s->scratch);
    dfoi_linear_grads(b->linear[0], run, s->panels, gv, u, 1, s->scratch);
}

void dfoi_made_residual_back_end(const struct dfoi_made *m, const dfo_run *run, const struct dfoi_made_sweep *s)
{
    const struct dfoi_residual *r = net_of(m);
    const dfo_real *x[DFOI_PANELS], *last[DFOI_PANELS], *g[DFOI_PANELS];
    for (size_t p = 0; p < s->panels; p++) {
        x[p] = s->x[p];
        last[p] = kept(m, s, p, r->at_last);
        g[p] = stream_grad(m, s, p, 0);
    }
    dfoi_linear_grads(r->last, run, s->panels, s->gout, last, 1, s->scratch);
    for (size_t k = 0; k < r->settings.blocks; k++)
        block_back_end(m, run, s, k);
    dfoi_linear_grads(r->first, run, s->panels, g, x, 1, s->scratch);
}
