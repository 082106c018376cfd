/* One convolution and its gradients as products of weights with panels of 64 pixels.
 *
 *   y[o][q] = b[o] + sum over taps t, channels c of W[o][t][c] x[c][t(q)]
 *
 * where t(q) is the pixel under tap t.  The weights lie (out, kernel, kernel, in), so that both
 * ways are products with the matrix as it lies.  Few inputs: the taps' pixels are gathered into a
 * panel (kernel^2 in, 64), W is (out, kernel^2 in).  Few outputs: W is (out kernel^2, in), the
 * product comes first and its rows are summed where they belong.  A transposed convolution has the
 * two roles of t(q) exchanged.  3x3 taps of many channels: see conv_winograd.c.  */
#include <math.h>
#include <string.h>

#include "base/ctx_impl.h"
#include "math/kern_impl.h"
#include "nn/conv_impl.h"

size_t dfoi_conv_block(size_t h, size_t w)
{
    size_t plane = h * w, best = 1, most = 4 * DFOI_CONV_COLUMNS / plane;
    double least = HUGE_VAL;
    for (size_t n = 1; n <= (most ? most : 1); n++) {
        size_t columns = n * plane, whole = dfoi_panels(n, h, w) * DFO_PANEL;
        double far = fabs((double)columns / DFOI_CONV_COLUMNS - 1);
        double cost = (double)(whole - columns) / (double)columns + 0.02 * far;
        if (cost < least) {
            least = cost;
            best = n;
        }
    }
    return best;
}

static size_t taps_of(const dfoi_conv *conv)
{
    return conv->kernel * conv->kernel;
}

static int pointwise(const dfoi_conv *conv)
{
    return conv->kernel == 1 && conv->stride == 1;
}

/* Sizes of working memory are products of what an image takes at most, or of the weights (allocated before): within bounds, none wraps
 * around.  */
static dfo_status check_work(dfo_ctx *ctx, const dfoi_conv *conv)
{
    size_t in = conv->in_h * conv->in_w, out = conv->out_h * conv->out_w, all;
    size_t widest = conv->m > conv->k ? conv->m : conv->k;
    DFO_TRY(dfoi_mul(ctx, widest, in > out ? in : out, "convolution", &all));
    if (all > DFOI_CONV_VALUES)
        return dfoi_fail(ctx, DFO_ESHAPE, "a convolution with %zu values an image is too large", all);
    return DFO_OK;
}

dfo_status dfoi_conv_new(dfo_build *build, const char *w_name, const char *b_name, double bound,
                         dfoi_conv *conv)
{
    const size_t shape[4] = {conv->out, conv->kernel, conv->kernel, conv->in};
    size_t fan, size;
    DFO_TRY(dfoi_mul(build->ctx, taps_of(conv), conv->in, "convolution", &fan));
    DFO_TRY(dfoi_mul(build->ctx, fan, conv->out, "convolution", &size));
    conv->pad = (conv->kernel - 1) / 2;
    if (conv->transposed) {
        conv->out_h = conv->in_h * conv->stride;
        conv->out_w = conv->in_w * conv->stride;
    } else {
        conv->out_h = (conv->in_h + conv->stride - 1) / conv->stride;
        conv->out_w = (conv->in_w + conv->stride - 1) / conv->stride;
    }
    if (conv->out_h > DFOI_CONV_SIDE || conv->out_w > DFOI_CONV_SIDE)
        return dfoi_fail(build->ctx, DFO_ESHAPE, "an image of %zux%zu pixels is too large",
                         conv->out_h, conv->out_w);
    conv->winograd = dfoi_winograd_fits(conv);
    conv->scatter = !pointwise(conv) && !conv->winograd && conv->out < conv->in;
    conv->m = conv->scatter ? conv->out * taps_of(conv) : conv->out;
    conv->k = conv->scatter ? conv->in : fan;
    DFO_TRY(check_work(build->ctx, conv));
    if (size)
        DFO_TRY(dfo_build_weights(build, w_name, 4, shape, &conv->w));
    if (conv->bias)
        DFO_TRY(dfo_build_weights(build, b_name, 1, shape, &conv->b));
    if (bound < 0)
        bound = fan ? 1 / sqrt((double)fan) : 0;
    if (bound > 0) {
        if (size)
            dfo_build_uniform(build, conv->w, size, bound);
        if (conv->bias)
            dfo_build_uniform(build, conv->b, conv->out, bound);
    }
    return DFO_OK;
}

size_t dfoi_conv_columns(const dfoi_conv *conv, size_t n)
{
    size_t in = dfoi_panels(n, conv->in_h, conv->in_w);
    size_t out = dfoi_panels(n, conv->out_h, conv->out_w);
    if (pointwise(conv))
        return 0;
    if (conv->winograd)
        return dfoi_winograd_columns(conv, n);
    return (conv->scatter ? conv->m * in : conv->k * out) * DFO_PANEL;
}

size_t dfoi_conv_scratch(const dfoi_conv *conv)
{
    size_t grads = dfoi_gemm_grad_scratch(conv->k, DFOI_PANELS), sum = conv->in * DFO_PANEL;
    size_t back = dfoi_gemm_back_scratch(conv->m), most = grads > back ? grads : back;
    return dfo_arena_size(most > sum ? most : sum);
}

/* Panels that go through a product together: weights are read once for them, unless their columns
 * of taps would not stay in the second cache.  */
#define TOGETHER ((size_t)1 << 18) /* bytes */

struct group {
    dfo_real *at[DFOI_PANELS];
};

static size_t group_size(const dfoi_conv *c, size_t left)
{
    size_t rows = pointwise(c) ? 1 : c->scatter ? c->m : c->k;
    size_t most = rows * DFO_PANEL * DFOI_PANELS * sizeof(dfo_real) > TOGETHER ? 1 : DFOI_PANELS;
    return left < most ? left : most;
}

static struct group group_of(dfoi_map map, size_t first, size_t n)
{
    struct group g = {{NULL}};
    for (size_t i = 0; map.x && i < n; i++)
        g.at[i] = dfoi_map_panel(map, first + i);
    return g;
}

/* The group's pointers, or NULL where there is no map.  */
static const dfo_real *const *given(const struct group *g)
{
    return g->at[0] ? (const dfo_real *const *)g->at : NULL;
}

/* From the input's pixels to the output's, and the adjoint.  */
static dfoi_taps to_output(const dfoi_conv *c, size_t n)
{
    return (dfoi_taps){n,         c->out_h,  c->out_w, c->in_h,      c->in_w,
                       c->kernel, c->stride, c->pad,   c->transposed};
}

static dfoi_taps to_input(const dfoi_conv *c, size_t n)
{
    return (dfoi_taps){n,         c->in_h,   c->in_w, c->out_h,      c->out_w,
                       c->kernel, c->stride, c->pad,  !c->transposed};
}

/* Rows of a panel of taps: of inputs (t, c), of outputs (o, t).  */
static dfoi_tap_rows input_rows(const dfoi_conv *c)
{
    return (dfoi_tap_rows){c->in, 1, c->in};
}

static dfoi_tap_rows output_rows(const dfoi_conv *c)
{
    return (dfoi_tap_rows){c->out, taps_of(c), 1};
}

/* What dfoi_gemm does behind a product, where the product's rows were summed.  */
static void finish(size_t size, dfoi_act act, const dfo_real *mask, const dfo_real *add,
                   dfo_real *y)
{
    if (act != DFOI_ACT_NONE)
        dfoi_vact(act, size, y, y);
    if (mask)
        dfoi_vdact(DFOI_ACT_RELU, size, NULL, mask, y);
    if (add)
        dfoi_add(size, add, y);
}

/* The columns of taps of some panels.  */
static struct group gather(const dfoi_taps *taps, size_t first, size_t n, dfoi_tap_rows rows,
                           dfoi_map from, size_t height, dfo_real *columns)
{
    struct group g = group_of(dfoi_map_of(columns, height), 0, n);
    for (size_t i = 0; i < n; i++)
        DFOI_CONV_KERN->gather(taps, first + i, rows, from, g.at[i]);
    return g;
}

/* Few outputs: the product of all panels, then its rows are summed.  */
static void scattered_forward(const dfoi_conv *c, const dfo_run *run, size_t n, dfoi_map x,
                              const dfo_real *b, dfoi_act act, dfoi_map mask, dfoi_map add,
                              const dfoi_conv_room *room, dfoi_map y)
{
    const dfoi_taps taps = to_output(c, n);
    const dfoi_map columns = dfoi_map_of(room->columns, c->m);
    size_t in = dfoi_panels(n, c->in_h, c->in_w), out = dfoi_panels(n, c->out_h, c->out_w);
    for (size_t p = 0, count; p < in; p += count) {
        count = group_size(c, in - p);
        struct group from = group_of(x, p, count), to = group_of(columns, p, count);
        dfoi_gemm_panels(c->m, c->k, dfo_run_weights(run, c->w), c->k, count, given(&from), NULL,
                         DFOI_ACT_NONE, NULL, to.at);
    }
    for (size_t p = 0; p < out; p++) {
        dfo_real *to = dfoi_map_panel(y, p);
        DFOI_CONV_KERN->gather_sum(&taps, p, output_rows(c), columns, b, to);
        finish(c->out * DFO_PANEL, act, dfoi_map_panel(mask, p), dfoi_map_panel(add, p), to);
    }
}

void dfoi_conv_forward(const dfoi_conv *c, const dfo_run *run, size_t n, dfoi_map x, dfoi_act act,
                       dfoi_map residual, const dfoi_conv_room *room, dfoi_map y)
{
    const dfo_real *b = c->bias ? dfo_run_weights(run, c->b) : NULL;
    const dfoi_taps taps = to_output(c, n);
    size_t out = dfoi_panels(n, c->out_h, c->out_w);
    if (c->winograd) {
        dfoi_winograd_forward(c, run, n, x, b, act, (dfoi_map){NULL, 0}, residual, room, y);
        return;
    }
    if (c->scatter) {
        scattered_forward(c, run, n, x, b, act, (dfoi_map){NULL, 0}, residual, room, y);
        return;
    }
    for (size_t p = 0, count; p < out; p += count) {
        count = group_size(c, out - p);
        struct group from = group_of(x, p, pointwise(c) ? count : 0);
        struct group add = group_of(residual, p, count), to = group_of(y, p, count);
        if (!pointwise(c))
            from = gather(&taps, p, count, input_rows(c), x, c->k, room->columns);
        dfoi_gemm_panels(c->m, c->k, dfo_run_weights(run, c->w), c->k, count, given(&from), b, act,
                         given(&add), to.at);
    }
}

void dfoi_conv_tangent(const dfoi_conv *c, const dfo_run *run, size_t n, dfoi_map dx, dfoi_map mask,
                       dfoi_map add, const dfoi_conv_room *room, dfoi_map dy)
{
    const dfoi_taps taps = to_output(c, n);
    size_t out = dfoi_panels(n, c->out_h, c->out_w);
    if (c->winograd) {
        dfoi_winograd_forward(c, run, n, dx, NULL, DFOI_ACT_NONE, mask, add, room, dy);
        return;
    }
    if (c->scatter) {
        scattered_forward(c, run, n, dx, NULL, DFOI_ACT_NONE, mask, add, room, dy);
        return;
    }
    for (size_t p = 0, count; p < out; p += count) {
        count = group_size(c, out - p);
        struct group from = group_of(dx, p, pointwise(c) ? count : 0), m = group_of(mask, p, count);
        struct group more = group_of(add, p, count), to = group_of(dy, p, count);
        if (!pointwise(c))
            from = gather(&taps, p, count, input_rows(c), dx, c->k, room->columns);
        dfoi_gemm_tangent_panels(c->m, c->k, dfo_run_weights(run, c->w), c->k, count, given(&from),
                                 given(&m), given(&more), to.at);
    }
}

static void add_bias(const dfoi_conv *c, const dfo_run *run, const dfo_real *gy)
{
    dfo_real *gb = dfo_run_grads(run, c->b);
    for (size_t o = 0; o < c->out; o++)
        gb[o] += (dfo_real)dfoi_sum(DFO_PANEL, gy + o * DFO_PANEL);
}

/* Few outputs: the columns of the taps' gradients serve both products.  */
static void scattered_backward(const dfoi_conv *c, const dfo_run *run, size_t n, dfoi_map gy,
                               dfoi_map x, int bias, dfoi_map mask, dfoi_map add,
                               const dfoi_conv_room *room, dfoi_map gx)
{
    const dfoi_taps taps = to_input(c, n);
    size_t in = dfoi_panels(n, c->in_h, c->in_w), out = dfoi_panels(n, c->out_h, c->out_w);
    for (size_t p = 0; run->grads && bias && p < out; p++)
        add_bias(c, run, dfoi_map_panel(gy, p));
    for (size_t p = 0, count; (run->grads || gx.x) && p < in; p += count) {
        count = group_size(c, in - p);
        struct group g = gather(&taps, p, count, output_rows(c), gy, c->m, room->columns);
        struct group from = group_of(x, p, count), m = group_of(mask, p, count);
        struct group more = group_of(add, p, count), to = group_of(gx, p, count);
        if (run->grads)
            dfoi_gemm_grad_panels(c->m, c->k, count, given(&g), given(&from),
                                  dfo_run_grads(run, c->w), c->k, NULL, room->scratch);
        if (gx.x)
            dfoi_gemm_back_panels(c->m, c->k, dfo_run_weights(run, c->w), c->k, count, given(&g),
                                  given(&m), given(&more), to.at, room->scratch);
    }
}

/* Gradients of the weights where the taps of the input are gathered, or there is but one.  */
static void gathered_grads(const dfoi_conv *c, const dfo_run *run, size_t n, dfoi_map gy,
                           dfoi_map x, int bias, const dfoi_conv_room *room)
{
    const dfoi_taps taps = to_output(c, n);
    size_t out = dfoi_panels(n, c->out_h, c->out_w);
    for (size_t p = 0, count; p < out; p += count) {
        count = group_size(c, out - p);
        struct group from = group_of(x, p, pointwise(c) ? count : 0), g = group_of(gy, p, count);
        if (!pointwise(c))
            from = gather(&taps, p, count, input_rows(c), x, c->k, room->columns);
        dfoi_gemm_grad_panels(c->m, c->k, count, given(&g), given(&from), dfo_run_grads(run, c->w),
                              c->k, bias ? dfo_run_grads(run, c->b) : NULL, room->scratch);
    }
}

void dfoi_conv_backward(const dfoi_conv *c, const dfo_run *run, size_t n, dfoi_map gy, dfoi_map x,
                        int bias, dfoi_map mask, dfoi_map add, const dfoi_conv_room *room,
                        dfoi_map gx)
{
    const dfo_real *w = dfo_run_weights(run, c->w);
    const dfoi_map columns = dfoi_map_of(room->columns, c->k);
    size_t in = dfoi_panels(n, c->in_h, c->in_w), out = dfoi_panels(n, c->out_h, c->out_w);
    bias = bias && c->bias;
    if (c->winograd) {
        for (size_t p = 0; run->grads && bias && p < out; p++)
            add_bias(c, run, dfoi_map_panel(gy, p));
        dfoi_winograd_backward(c, run, n, gy, x, mask, add, room, gx);
        return;
    }
    if (c->scatter) {
        scattered_backward(c, run, n, gy, x, bias, mask, add, room, gx);
        return;
    }
    if (run->grads)
        gathered_grads(c, run, n, gy, x, bias, room);
    for (size_t p = 0, count; gx.x && p < out; p += count) {
        count = group_size(c, out - p);
        struct group g = group_of(gy, p, count), m = group_of(mask, p, count);
        struct group more = group_of(add, p, count), to = group_of(gx, p, count);
        struct group taps = group_of(columns, p, count);
        dfoi_gemm_back_panels(c->m, c->k, w, c->k, count, given(&g),
                              pointwise(c) ? given(&m) : NULL, pointwise(c) ? given(&more) : NULL,
                              pointwise(c) ? to.at : taps.at, room->scratch);
    }
    const dfoi_taps back = to_input(c, n);
    for (size_t p = 0; gx.x && !pointwise(c) && p < in; p++) {
        /* gx may be add, which is then read before it is written: the sum goes through a panel.  */
        dfo_real *sum = room->scratch;
        DFOI_CONV_KERN->gather_sum(&back, p, input_rows(c), columns, NULL, sum);
        finish(c->in * DFO_PANEL, DFOI_ACT_NONE, dfoi_map_panel(mask, p), dfoi_map_panel(add, p),
               sum);
        memcpy(dfoi_map_panel(gx, p), sum, c->in * DFO_PANEL * sizeof *sum);
    }
}
