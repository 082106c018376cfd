/* One convolution and its gradients as products of weights with panels of 64 pixels.
 *
 *   y[o][q] = b[o] + sum over taps t, channels c of W[o][t][c] x[c][t(q)]
 *
 * where t(q) is the pixel under tap t.  The weights lie (out, kernel, kernel, in), so that both
 * ways are products with the matrix as it lies.  Few inputs: the taps' pixels are gathered into a
 * panel (kernel^2 in, 64), W is (out, kernel^2 in).  Few outputs: W is (out kernel^2, in), the
 * product comes first and its rows are summed where they belong.  A transposed convolution has the
 * two roles of t(q) exchanged.  */
#include <math.h>
#include <string.h>

#include "base/ctx_impl.h"
#include "math/kern_impl.h"
#include "nn/conv_impl.h"

size_t dfoi_conv_block(size_t h, size_t w)
{
    size_t plane = h * w, best = 1, most = 2 * DFOI_CONV_COLUMNS / plane;
    double least = HUGE_VAL;
    for (size_t n = 1; n <= (most ? most : 1); n++) {
        size_t columns = n * plane, whole = dfoi_panels(n, h, w) * DFO_PANEL;
        double far = fabs((double)columns / DFOI_CONV_COLUMNS - 1);
        double cost = (double)(whole - columns) / (double)columns + 0.05 * far;
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
    conv->scatter = !pointwise(conv) && conv->out < conv->in;
    conv->m = conv->scatter ? conv->out * taps_of(conv) : conv->out;
    conv->k = conv->scatter ? conv->in : fan;
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
    return (conv->scatter ? conv->m * in : conv->k * out) * DFO_PANEL;
}

size_t dfoi_conv_scratch(const dfoi_conv *conv)
{
    size_t grads = dfoi_gemm_grad_scratch(conv->k, 1), sum = conv->in * DFO_PANEL;
    size_t back = dfoi_gemm_back_scratch(conv->m), most = grads > back ? grads : back;
    return dfo_arena_size(most > sum ? most : sum);
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

void dfoi_conv_forward(const dfoi_conv *c, const dfo_run *run, size_t n, dfoi_map x, dfoi_act act,
                       dfoi_map residual, const dfoi_conv_room *room, dfoi_map y)
{
    const dfo_real *w = dfo_run_weights(run, c->w),
                   *b = c->bias ? dfo_run_weights(run, c->b) : NULL;
    const dfoi_taps taps = to_output(c, n);
    size_t in = dfoi_panels(n, c->in_h, c->in_w), out = dfoi_panels(n, c->out_h, c->out_w);
    for (size_t p = 0; c->scatter && p < in; p++)
        dfoi_gemm(c->m, c->k, w, c->k, dfoi_map_panel(x, p), NULL, DFOI_ACT_NONE, NULL,
                  room->columns + p * c->m * DFO_PANEL);
    for (size_t p = 0; p < out; p++) {
        const dfo_real *from = dfoi_map_panel(x, p), *add = dfoi_map_panel(residual, p);
        dfo_real *to = dfoi_map_panel(y, p);
        if (c->scatter) {
            DFOI_CONV_KERN->gather_sum(&taps, p, output_rows(c), dfoi_map_of(room->columns, c->m),
                                       b, to);
            finish(c->out * DFO_PANEL, act, NULL, add, to);
            continue;
        }
        if (!pointwise(c)) {
            DFOI_CONV_KERN->gather(&taps, p, input_rows(c), x, room->columns);
            from = room->columns;
        }
        dfoi_gemm(c->m, c->k, w, c->k, from, b, act, add, to);
    }
}

void dfoi_conv_tangent(const dfoi_conv *c, const dfo_run *run, size_t n, dfoi_map dx, dfoi_map mask,
                       dfoi_map add, const dfoi_conv_room *room, dfoi_map dy)
{
    const dfo_real *w = dfo_run_weights(run, c->w);
    const dfoi_taps taps = to_output(c, n);
    size_t in = dfoi_panels(n, c->in_h, c->in_w), out = dfoi_panels(n, c->out_h, c->out_w);
    for (size_t p = 0; c->scatter && p < in; p++)
        dfoi_gemm(c->m, c->k, w, c->k, dfoi_map_panel(dx, p), NULL, DFOI_ACT_NONE, NULL,
                  room->columns + p * c->m * DFO_PANEL);
    for (size_t p = 0; p < out; p++) {
        const dfo_real *from = dfoi_map_panel(dx, p), *m = dfoi_map_panel(mask, p);
        dfo_real *to = dfoi_map_panel(dy, p);
        if (c->scatter) {
            DFOI_CONV_KERN->gather_sum(&taps, p, output_rows(c), dfoi_map_of(room->columns, c->m),
                                       NULL, to);
            finish(c->out * DFO_PANEL, DFOI_ACT_NONE, m, dfoi_map_panel(add, p), to);
            continue;
        }
        if (!pointwise(c)) {
            DFOI_CONV_KERN->gather(&taps, p, input_rows(c), dx, room->columns);
            from = room->columns;
        }
        dfoi_gemm_tangent(c->m, c->k, w, c->k, from, m, dfoi_map_panel(add, p), to);
    }
}

/* Row sums of a panel, added to gb: its dot products with ones.  */
static void add_bias(const dfoi_conv *c, const dfo_run *run, const dfo_real *gy)
{
    dfo_real *gb = dfo_run_grads(run, c->b);
    for (size_t o = 0; o < c->out; o++)
        gb[o] += (dfo_real)dfoi_sum(DFO_PANEL, gy + o * DFO_PANEL);
}

/* Few outputs: one panel of the taps' gradients serves both products.  */
static void scattered_backward(const dfoi_conv *c, const dfo_run *run, size_t n, dfoi_map gy,
                               dfoi_map x, int bias, dfoi_map mask, dfoi_map add,
                               const dfoi_conv_room *room, dfoi_map gx)
{
    const dfoi_taps taps = to_input(c, n);
    size_t in = dfoi_panels(n, c->in_h, c->in_w), out = dfoi_panels(n, c->out_h, c->out_w);
    for (size_t p = 0; run->grads && bias && p < out; p++)
        add_bias(c, run, dfoi_map_panel(gy, p));
    for (size_t p = 0; (run->grads || gx.x) && p < in; p++) {
        DFOI_CONV_KERN->gather(&taps, p, output_rows(c), gy, room->columns);
        if (run->grads)
            dfoi_gemm_grad(c->m, c->k, room->columns, dfoi_map_panel(x, p),
                           dfo_run_grads(run, c->w), c->k, NULL, room->scratch);
        if (gx.x)
            dfoi_gemm_back(c->m, c->k, dfo_run_weights(run, c->w), c->k, room->columns,
                           dfoi_map_panel(mask, p), dfoi_map_panel(add, p), dfoi_map_panel(gx, p),
                           room->scratch);
    }
}

void dfoi_conv_backward(const dfoi_conv *c, const dfo_run *run, size_t n, dfoi_map gy, dfoi_map x,
                        int bias, dfoi_map mask, dfoi_map add, const dfoi_conv_room *room,
                        dfoi_map gx)
{
    const dfo_real *w = dfo_run_weights(run, c->w);
    size_t in = dfoi_panels(n, c->in_h, c->in_w), out = dfoi_panels(n, c->out_h, c->out_w);
    bias = bias && c->bias;
    if (c->scatter) {
        scattered_backward(c, run, n, gy, x, bias, mask, add, room, gx);
        return;
    }
    const dfoi_taps forth = to_output(c, n), back = to_input(c, n);
    for (size_t p = 0; run->grads && p < out; p++) {
        const dfo_real *from = dfoi_map_panel(x, p);
        if (!pointwise(c)) {
            DFOI_CONV_KERN->gather(&forth, p, input_rows(c), x, room->columns);
            from = room->columns;
        }
        dfoi_gemm_grad(c->m, c->k, dfoi_map_panel(gy, p), from, dfo_run_grads(run, c->w), c->k,
                       bias ? dfo_run_grads(run, c->b) : NULL, room->scratch);
    }
    if (!gx.x)
        return;
    for (size_t p = 0; p < out; p++)
        if (pointwise(c))
            dfoi_gemm_back(c->m, c->k, w, c->k, dfoi_map_panel(gy, p), dfoi_map_panel(mask, p),
                           dfoi_map_panel(add, p), dfoi_map_panel(gx, p), room->scratch);
        else
            dfoi_gemm_back(c->m, c->k, w, c->k, dfoi_map_panel(gy, p), NULL, NULL,
                           room->columns + p * c->k * DFO_PANEL, room->scratch);
    for (size_t p = 0; !pointwise(c) && p < in; p++) {
        /* gx may be add, which is then read before it is written: the sum goes through a panel.  */
        dfo_real *to = dfoi_map_panel(gx, p), *sum = room->scratch;
        DFOI_CONV_KERN->gather_sum(&back, p, input_rows(c), dfoi_map_of(room->columns, c->k), NULL,
                                   sum);
        finish(c->in * DFO_PANEL, DFOI_ACT_NONE, dfoi_map_panel(mask, p), dfoi_map_panel(add, p),
               sum);
        memcpy(to, sum, c->in * DFO_PANEL * sizeof *to);
    }
}
