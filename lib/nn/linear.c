/* A linear layer on panels: y = W x + b, its tangent dy = W dx, its gradients gx = W^T gy,
 * gW += gy x^T, gb += sum over rows of gy.  W may be stairs, or be applied by parts.  */
#include <math.h>
#include <string.h>

#include "base/ctx_impl.h"
#include "nn/dense_impl.h"

dfo_status dfoi_linear_new(dfo_build *build, const char *w_name, const char *b_name, size_t in,
                           size_t out, double bound, dfoi_linear *linear)
{
    const size_t shape[2] = {out, in};
    linear->in = in;
    linear->out = out;
    linear->reach = NULL;
    DFO_TRY(dfo_build_weights(build, w_name, 2, shape, &linear->w));
    DFO_TRY(dfo_build_weights(build, b_name, 1, shape, &linear->b));
    if (bound < 0)
        bound = 1 / sqrt((double)in);
    if (bound > 0) {
        dfo_build_uniform(build, linear->w, out * in, bound);
        dfo_build_uniform(build, linear->b, out, bound);
    }
    return DFO_OK;
}

void dfoi_linear_forward(const dfoi_linear *linear, const dfo_run *run, size_t panels,
                         const dfo_real *const *x, dfoi_act act, const dfo_real *const *residual,
                         dfo_real *const *y)
{
    dfoi_gemm_stairs(linear->out, linear->in, dfo_run_weights(run, linear->w), linear->in, linear->reach, panels, x,
                     dfo_run_weights(run, linear->b), act, residual, y);
}

void dfoi_linear_tangent(const dfoi_linear *linear, const dfo_run *run, const dfo_real *dx,
                         const dfo_real *mask, const dfo_real *add, dfo_real *dy)
{
    dfoi_gemm_tangent_stairs(linear->out, linear->in, dfo_run_weights(run, linear->w), linear->in, linear->reach, 1, &dx,
                             mask ? &mask : NULL, add ? &add : NULL, &dy);
}

void dfoi_linear_backward(const dfoi_linear *linear, const dfo_run *run, size_t panels,
                          const dfo_real *const *gy, const dfo_real *const *mask,
                          const dfo_real *const *add, dfo_real *const *gx, dfo_real *scratch)
{
    dfoi_gemm_back_stairs(linear->out, linear->in, dfo_run_weights(run, linear->w), linear->in, linear->reach, panels,
                          gy, mask, add, gx, scratch);
}

void dfoi_linear_forward_part(const dfoi_linear *linear, const dfo_run *run, size_t first, size_t count,
                              size_t panels, const dfo_real *const *x, dfoi_act act,
                              const dfo_real *const *residual, dfo_real *const *y)
{
    if (count)
        dfoi_gemm_panels(count, linear->reach ? linear->reach[first] : linear->in,
                         dfo_run_weights(run, linear->w + first * linear->in), linear->in, panels, x,
                         dfo_run_weights(run, linear->b + first), act, residual, y);
}

void dfoi_linear_backward_part(const dfoi_linear *linear, const dfo_run *run, size_t first, size_t count,
                               size_t above, size_t panels, const dfo_real *const *gy, dfo_real *const *gx,
                               dfo_real *scratch)
{
    const dfo_real *below[DFOI_PANELS];
    for (size_t p = 0; p < panels; p++)
        below[p] = gy[p] + above * DFO_PANEL;
    dfoi_gemm_back_panels(linear->out - above, count, dfo_run_weights(run, linear->w + above * linear->in + first),
                          linear->in, panels, below, NULL, NULL, gx, scratch);
}

size_t dfoi_linear_scratch(const dfoi_linear *linear, size_t panels)
{
    size_t grads = dfoi_gemm_grad_scratch(linear->in, panels),
           back = dfoi_gemm_back_scratch(linear->out);
    return dfo_arena_size(grads > back ? grads : back);
}

void dfoi_linear_grads(const dfoi_linear *linear, const dfo_run *run, size_t panels,
                       const dfo_real *const *gy, const dfo_real *const *x, int bias,
                       dfo_real *scratch)
{
    if (run->grads)
        dfoi_gemm_grad_stairs(linear->out, linear->in, linear->reach, panels, gy, x, dfo_run_grads(run, linear->w),
                              linear->in, bias ? dfo_run_grads(run, linear->b) : NULL, scratch);
}

/* The rows of the p-th panel, of all n.  */
static dfo_batch panel_rows(const dfo_batch *all, size_t n, size_t p)
{
    size_t first = p * DFO_PANEL, left = n - first;
    return dfo_batch_rows(*all, first, left < DFO_PANEL ? left : DFO_PANEL);
}

void dfoi_parts_to_panel(const dfo_net *net, const dfo_cond *in, size_t n, size_t p, dfo_real *panel)
{
    for (size_t i = 0; i < net->parts; i++) {
        size_t d = dfo_shape_size(net->part[i]);
        dfo_batch rows = panel_rows(&in->part[i].rows, n, p);
        if (d && rows.x)
            dfoi_to_panel(rows.n, d, rows.x, rows.ld, NULL, 0, panel);
        else
            memset(panel, 0, d * DFO_PANEL * sizeof *panel);
        panel += d * DFO_PANEL;
    }
}

void dfoi_parts_add(const dfo_net *net, const dfo_real *panel, size_t n, size_t p, dfo_cond *to)
{
    for (size_t i = 0; to && i < net->parts; i++) {
        size_t d = dfo_shape_size(net->part[i]);
        dfo_batch rows = panel_rows(&to->part[i].rows, n, p);
        if (d && rows.x)
            dfoi_from_panel_add(rows.n, d, panel, NULL, rows.x, rows.ld);
        panel += d * DFO_PANEL;
    }
}

int dfoi_parts_wanted(const dfo_net *net, const dfo_cond *to)
{
    for (size_t p = 0; to && p < net->parts; p++)
        if (to->part[p].rows.x && dfo_shape_size(net->part[p]))
            return 1;
    return 0;
}
