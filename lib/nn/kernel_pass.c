/* The four passes of the kernel net, panel by panel.  Rows and points are scaled first, u = x / l and v = z / l, so that
 * lengths appear in nothing but that scaling: their gradient is -(sum u gu + sum v gv).  Kept for backward: the squared
 * distances, and their tangents.  */
#include <string.h>

#include "base/ctx_impl.h"
#include "math/kern_impl.h"
#include "nn/dense_impl.h"
#include "nn/kernel_impl.h"

/* Memory of a pass: what belongs to the points, and one panel's.  */
struct work {
    dfo_real *over;                    /* (in) 1 / l */
    dfo_real *v, *gv;                  /* (points, in) */
    dfo_real *u, *du, *gu, *gdu;       /* (in, 64) */
    dfo_real *q, *dq, *k, *dk;         /* (points, 64) */
    dfo_real *gemm;
};

static size_t gemm_scratch(const dfoi_kernel_net *k, size_t out)
{
    size_t grads = dfoi_gemm_grad_scratch(k->points, 1), back = dfoi_gemm_back_scratch(out);
    return grads > back ? grads : back;
}

size_t dfoi_kernel_scratch(const dfo_net *net, size_t rows)
{
    const dfoi_kernel_net *k = net->state;
    (void)rows;
    return dfo_arena_size(net->in) + 2 * dfo_arena_size(k->points * net->in) +
           4 * (net->in + k->points) * DFO_PANEL + dfo_arena_size(gemm_scratch(k, net->out));
}

size_t dfoi_kernel_acts(const dfo_net *net, size_t rows)
{
    const dfoi_kernel_net *k = net->state;
    return dfoi_panels_of(rows) * k->points * DFO_PANEL;
}

static dfo_status take(const dfo_net *net, dfo_run *run, struct work *out)
{
    const dfoi_kernel_net *k = net->state;
    const dfo_real *log_length = dfo_run_weights(run, k->log_length), *z = dfo_run_weights(run, k->z);
    size_t in = net->in, all = k->points * in;
    struct work w = {.over = dfo_arena_take(run, in), .v = dfo_arena_take(run, all), .gv = dfo_arena_take(run, all)};
    dfo_real **panels[] = {&w.u, &w.du, &w.gu, &w.gdu}, **wide[] = {&w.q, &w.dq, &w.k, &w.dk};
    int missing = !w.over || !w.v || !w.gv;
    for (size_t i = 0; i < 4; i++) {
        *panels[i] = dfo_arena_take(run, in * DFO_PANEL);
        *wide[i] = dfo_arena_take(run, k->points * DFO_PANEL);
        missing |= !*panels[i] || !*wide[i];
    }
    w.gemm = dfo_arena_take(run, gemm_scratch(k, net->out));
    if (missing || !w.gemm)
        return dfo_run_fail(run, DFO_EMEM, (size_t)-1, "kernel net: the arena is too small");
    for (size_t j = 0; j < in; j++)
        w.over[j] = -log_length[j];
    dfoi_vexp(in, w.over, w.over);
    for (size_t n = 0; n < k->points; n++)
        for (size_t j = 0; j < in; j++)
            w.v[n * in + j] = z[n * in + j] * w.over[j];
    *out = w;
    return DFO_OK;
}

/* Features (in, 64) times 1 / l.  */
static void scale(const dfo_net *net, const struct work *w, dfo_real *panel)
{
    for (size_t j = 0; j < net->in; j++)
        dfoi_scale(DFO_PANEL, w->over[j], panel + j * DFO_PANEL);
}

static void scaled_panel(const dfo_net *net, const struct work *w, const dfo_cond *in, size_t n, size_t p, dfo_real *panel)
{
    dfoi_parts_to_panel(net, in, n, p, panel);
    scale(net, w, panel);
}

dfo_status dfoi_kernel_forward(const dfo_net *net, dfo_run *run, const dfo_cond *in, dfo_block out, dfo_real *acts)
{
    const dfoi_kernel_net *k = net->state;
    size_t wide = k->points * DFO_PANEL;
    struct work w;
    DFO_TRY(take(net, run, &w));
    for (size_t p = 0; p < dfoi_panels_of(out.n); p++) {
        dfo_real *q = acts ? acts + p * wide : w.q;
        scaled_panel(net, &w, in, out.n, p, w.u);
        DFOI_KERNEL_KERN->distances(net->in, k->points, w.v, w.u, q);
        DFOI_KERNEL_KERN->value(k->kind, wide, q, w.k);
        dfoi_gemm(net->out, k->points, dfo_run_weights(run, k->a), k->points, w.k, NULL, DFOI_ACT_NONE, NULL,
                  out.x + p * net->out * DFO_PANEL);
    }
    return DFO_OK;
}

/* Gradients begin at zero: those of the points in units of the lengths, summed over panels.  */
static dfo_real *points_begin(const dfo_net *net, const dfo_run *run, const struct work *w)
{
    const dfoi_kernel_net *k = net->state;
    memset(w->gv, 0, k->points * net->in * sizeof *w->gv);
    return run->grads ? w->gv : NULL;
}

static void points_end(const dfo_net *net, dfo_run *run, const struct work *w)
{
    const dfoi_kernel_net *k = net->state;
    dfo_real *gz = dfo_run_grads(run, k->z), *glength = dfo_run_grads(run, k->log_length);
    size_t in = net->in;
    for (size_t n = 0; gz && n < k->points; n++)
        for (size_t j = 0; j < in; j++) {
            gz[n * in + j] += w->gv[n * in + j] * w->over[j];
            glength[j] -= w->v[n * in + j] * w->gv[n * in + j];
        }
}

/* The rows' gradients gu, of x / l, become those of x and of the lengths.  */
static void rows_end(const dfo_net *net, dfo_run *run, const struct work *w, const dfo_real *u, dfo_real *gu, size_t n,
                     size_t p, dfo_cond *gin)
{
    const dfoi_kernel_net *k = net->state;
    dfo_real *glength = dfo_run_grads(run, k->log_length);
    for (size_t j = 0; glength && j < net->in; j++)
        glength[j] -= (dfo_real)dfoi_dot(DFO_PANEL, u + j * DFO_PANEL, gu + j * DFO_PANEL);
    scale(net, w, gu);
    dfoi_parts_add(net, gu, n, p, gin);
}

/* gk = A^T gy, and A's gradient from k.  */
static void expansion_back(const dfo_net *net, dfo_run *run, const struct work *w, const dfo_real *gy, const dfo_real *k,
                           dfo_real *gk)
{
    const dfoi_kernel_net *s = net->state;
    if (run->grads)
        dfoi_gemm_grad(net->out, s->points, gy, k, dfo_run_grads(run, s->a), s->points, NULL, w->gemm);
    dfoi_gemm_back(net->out, s->points, dfo_run_weights(run, s->a), s->points, gy, NULL, NULL, gk, w->gemm);
}

dfo_status dfoi_kernel_backward(const dfo_net *net, dfo_run *run, const dfo_cond *in, dfo_block gout, dfo_cond *gin,
                                const dfo_real *acts)
{
    const dfoi_kernel_net *k = net->state;
    size_t points = k->points, wide = points * DFO_PANEL;
    struct work w;
    DFO_TRY(take(net, run, &w));
    dfo_real *gv = points_begin(net, run, &w);
    for (size_t p = 0; p < dfoi_panels_of(gout.n); p++) {
        const dfo_real *q = acts + p * wide;
        DFOI_KERNEL_KERN->value(k->kind, wide, q, w.k);
        expansion_back(net, run, &w, gout.x + p * net->out * DFO_PANEL, w.k, w.dk);
        DFOI_KERNEL_KERN->slope(k->kind, wide, q, w.dk, w.dk);
        dfoi_scale(wide, 2, w.dk);
        scaled_panel(net, &w, in, gout.n, p, w.u);
        memset(w.gu, 0, net->in * DFO_PANEL * sizeof *w.gu);
        DFOI_KERNEL_KERN->pull(net->in, points, w.v, w.u, w.dk, w.gu, gv);
        rows_end(net, run, &w, w.u, w.gu, gout.n, p, gin);
    }
    points_end(net, run, &w);
    return DFO_OK;
}

/* One panel; the tangents of the distances are kept behind these.  */
dfo_status dfoi_kernel_jvp(const dfo_net *net, dfo_run *run, const dfo_cond *in, const dfo_cond *din, dfo_block out,
                           dfo_block dout, dfo_real *acts)
{
    const dfoi_kernel_net *k = net->state;
    const dfo_real *a = dfo_run_weights(run, k->a);
    size_t wide = k->points * DFO_PANEL;
    struct work w;
    DFO_TRY(take(net, run, &w));
    dfo_real *q = acts ? acts : w.q, *dq = acts ? acts + wide : w.dq;
    scaled_panel(net, &w, in, out.n, 0, w.u);
    scaled_panel(net, &w, din, out.n, 0, w.du);
    DFOI_KERNEL_KERN->distances(net->in, k->points, w.v, w.u, q);
    DFOI_KERNEL_KERN->tangents(net->in, k->points, w.v, w.u, w.du, dq);
    DFOI_KERNEL_KERN->value(k->kind, wide, q, w.k);
    DFOI_KERNEL_KERN->slope(k->kind, wide, q, dq, w.dk);
    dfoi_gemm(net->out, k->points, a, k->points, w.k, NULL, DFOI_ACT_NONE, NULL, out.x);
    dfoi_gemm(net->out, k->points, a, k->points, w.dk, NULL, DFOI_ACT_NONE, NULL, dout.x);
    return DFO_OK;
}

dfo_status dfoi_kernel_jvp_backward(const dfo_net *net, dfo_run *run, const dfo_cond *in, const dfo_cond *din,
                                    dfo_block gout, dfo_block gdout, dfo_cond *gin, dfo_cond *gdin, const dfo_real *acts)
{
    const dfoi_kernel_net *k = net->state;
    const dfo_real *q = acts, *dq = acts + k->points * DFO_PANEL;
    size_t points = k->points, wide = points * DFO_PANEL, narrow = net->in * DFO_PANEL;
    struct work w;
    DFO_TRY(take(net, run, &w));
    dfo_real *gv = points_begin(net, run, &w);
    DFOI_KERNEL_KERN->value(k->kind, wide, q, w.k);
    DFOI_KERNEL_KERN->slope(k->kind, wide, q, dq, w.dk);
    expansion_back(net, run, &w, gout.x, w.k, w.q);
    expansion_back(net, run, &w, gdout.x, w.dk, w.dq);
    DFOI_KERNEL_KERN->second(k->kind, wide, q, dq, w.q, w.dq, w.q, w.dq);
    scaled_panel(net, &w, in, gout.n, 0, w.u);
    scaled_panel(net, &w, din, gout.n, 0, w.du);
    memset(w.gu, 0, narrow * sizeof *w.gu);
    memset(w.gdu, 0, narrow * sizeof *w.gdu);
    DFOI_KERNEL_KERN->pull(net->in, points, w.v, w.u, w.q, w.gu, gv);
    DFOI_KERNEL_KERN->pull_tangent(net->in, points, w.du, w.dq, w.gu, gv);
    DFOI_KERNEL_KERN->pull(net->in, points, w.v, w.u, w.dq, w.gdu, NULL);
    rows_end(net, run, &w, w.u, w.gu, gout.n, 0, gin);
    rows_end(net, run, &w, w.du, w.gdu, gout.n, 0, gdin);
    points_end(net, run, &w);
    return DFO_OK;
}
