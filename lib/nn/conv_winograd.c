/* 3x3 convolutions of stride 1 by Winograd's minimal filtering (winograd_kern_impl.h), 2.25 times fewer products than taps have.
 *
 * The image is split into planes of odd and even pixels; a panel of 64 tiles at a time is transformed, multiplied place by place
 * (the weights' place is (out, in) as it lies), and transformed back, some channels of the result at a time, so that they
 * stay in the second cache.  The gradient with respect to the input is the same convolution with the kernel turned: G J = S G, where J reverses three and
 * S exchanges the first and the last of four, so that its weights at place (i, j) are those at (S i, S j), transposed.  The
 * weights' gradients are summed place by place and transformed once a call.  A tile's bits depend on its own pixels alone.  */
#include <string.h>

#include "base/ctx_impl.h"
#include "math/kern_impl.h"
#include "nn/conv_impl.h"
#include "nn/winograd_kern_impl.h"

/* Measured: with fewer channels, or many more on one side than on the other, transforms cost what the products save; with more, or
 * fewer pixels, transformed weights cost too much for the tiles that they serve.  */
#define FEWEST 16
#define MOST 512
#define LOPSIDED 16
#define SMALLEST 144    /* pixels of an image */
#define SLICE 32        /* channels of a result at a time */

int dfoi_winograd_fits(const dfoi_conv *c)
{
    size_t least = c->in < c->out ? c->in : c->out, most = c->in < c->out ? c->out : c->in;
    return c->kernel == 3 && c->stride == 1 && !c->transposed && least >= FEWEST && most <= MOST && most <= LOPSIDED * least &&
           c->in_h % 2 == 0 && c->in_w % 2 == 0 && c->in_h * c->in_w >= SMALLEST;
}

static dfoi_tiling tiling_of(const dfoi_conv *c, size_t n)
{
    return (dfoi_tiling){n, c->in_h, c->in_w};
}

/* Working memory: planes of the input and of the output's gradient, two transformed panels, transformed weights or their gradients.  */
struct room {
    dfo_real *x, *gy, *panel[2], *u;
};

static size_t plane_reals(const dfoi_conv *c, size_t n, size_t channels)
{
    return 4 * channels * dfoi_plane_length(tiling_of(c, n));
}

static size_t panel_reals(const dfoi_conv *c)
{
    return DFOI_PLACES * dfoi_place_step(c->in > c->out ? c->in : c->out);
}

static size_t weight_reals(const dfoi_conv *c)
{
    return dfo_arena_size(DFOI_PLACES * dfoi_weight_step(c->out, c->in));
}

size_t dfoi_winograd_columns(const dfoi_conv *c, size_t n)
{
    return plane_reals(c, n, c->in) + plane_reals(c, n, c->out) + 2 * panel_reals(c) + weight_reals(c);
}

static struct room room_of(const dfoi_conv *c, size_t n, dfo_real *columns)
{
    struct room r = {.x = columns};
    r.gy = r.x + plane_reals(c, n, c->in);
    r.panel[0] = r.gy + plane_reals(c, n, c->out);
    r.panel[1] = r.panel[0] + panel_reals(c);
    r.u = r.panel[1] + panel_reals(c);
    return r;
}

static size_t panels_of(const dfoi_conv *c, size_t n)
{
    return (dfoi_tiles(tiling_of(c, n)) + DFO_PANEL - 1) / DFO_PANEL;
}

/* Where place k of a transformed panel or of weights stands.  */
static dfo_real *panel_place(dfo_real *panel, size_t k, size_t channels)
{
    return panel + k * dfoi_place_step(channels);
}

static size_t turned(size_t k)
{
    static const size_t exchanged[4] = {3, 1, 2, 0};
    return 4 * exchanged[k / 4] + exchanged[k % 4];
}

void dfoi_winograd_forward(const dfoi_conv *c, const dfo_run *run, size_t n, dfoi_map x, const dfo_real *b, dfoi_act act,
                           dfoi_map mask, dfoi_map add, const dfoi_conv_room *given, dfoi_map y)
{
    const struct room room = room_of(c, n, given->columns);
    const dfoi_tiling tiling = tiling_of(c, n);
    const dfoi_finish finish = {mask, add, act};
    DFOI_WINOGRAD_KERN->weights(c->out, c->in, dfo_run_weights(run, c->w), room.u);
    DFOI_WINOGRAD_KERN->split(tiling, c->in, x, room.x);
    for (size_t p = 0; p < panels_of(c, n); p++) {
        DFOI_WINOGRAD_KERN->input(tiling, c->in, p, room.x, room.panel[0]);
        for (size_t o = 0, count; o < c->out; o += count) {
            count = c->out - o < SLICE ? c->out - o : SLICE;
            for (size_t k = 0; k < DFOI_PLACES; k++)
                dfoi_gemm(count, c->in, room.u + k * dfoi_weight_step(c->out, c->in) + o * c->in, c->in, panel_place(room.panel[0], k, c->in), NULL,
                          DFOI_ACT_NONE, NULL, panel_place(room.panel[1], k, count));
            DFOI_WINOGRAD_KERN->output(tiling, o, count, p, room.panel[1], b, &finish, y);
        }
    }
}

static void weight_grads(const dfoi_conv *c, const dfo_run *run, size_t n, dfoi_map x, const dfoi_conv_room *given,
                         const struct room *room)
{
    const dfoi_tiling tiling = tiling_of(c, n);
    size_t step = dfoi_weight_step(c->out, c->in);
    memset(room->u, 0, DFOI_PLACES * step * sizeof *room->u);
    DFOI_WINOGRAD_KERN->split(tiling, c->in, x, room->x);
    for (size_t p = 0; p < panels_of(c, n); p++) {
        DFOI_WINOGRAD_KERN->input(tiling, c->in, p, room->x, room->panel[0]);
        DFOI_WINOGRAD_KERN->output_adjoint(tiling, c->out, p, room->gy, room->panel[1]);
        for (size_t k = 0; k < DFOI_PLACES; k++)
            dfoi_gemm_grad(c->out, c->in, panel_place(room->panel[1], k, c->out), panel_place(room->panel[0], k, c->in),
                           room->u + k * step, c->in, NULL, given->scratch);
    }
    DFOI_WINOGRAD_KERN->weights_adjoint(c->out, c->in, room->u, dfo_run_grads(run, c->w));
}

void dfoi_winograd_backward(const dfoi_conv *c, const dfo_run *run, size_t n, dfoi_map gy, dfoi_map x, dfoi_map mask,
                            dfoi_map add, const dfoi_conv_room *given, dfoi_map gx)
{
    const struct room room = room_of(c, n, given->columns);
    const dfoi_tiling tiling = tiling_of(c, n);
    const dfoi_finish finish = {mask, add, DFOI_ACT_NONE};
    DFOI_WINOGRAD_KERN->split(tiling, c->out, gy, room.gy);
    if (run->grads)
        weight_grads(c, run, n, x, given, &room);
    if (!gx.x)
        return;
    DFOI_WINOGRAD_KERN->weights(c->out, c->in, dfo_run_weights(run, c->w), room.u);
    for (size_t p = 0; p < panels_of(c, n); p++) {
        DFOI_WINOGRAD_KERN->input(tiling, c->out, p, room.gy, room.panel[0]);
        for (size_t i = 0, count; i < c->in; i += count) {
            count = c->in - i < SLICE ? c->in - i : SLICE;
            for (size_t k = 0; k < DFOI_PLACES; k++)
                dfoi_gemm_back(c->out, count, room.u + turned(k) * dfoi_weight_step(c->out, c->in) + i, c->in,
                               panel_place(room.panel[0], k, c->out), NULL, NULL, panel_place(room.panel[1], k, count),
                               given->scratch);
            DFOI_WINOGRAD_KERN->output(tiling, i, count, p, room.panel[1], NULL, &finish, gx);
        }
    }
}
