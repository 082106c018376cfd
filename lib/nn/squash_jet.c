/* Derivatives along the path of layers with the time (squash.c): of x' = f(x, t + s), x_0 the first part, by jets: with x up to order k,
 * f_k is one more pass through the layers, and x_(k+1) = f_k / (k + 1).  The derivative of order K is (K-1)! f_(K-1).  Cost of
 * order K: products of K forward passes; elementwise work grows with K^2.  */
#include <string.h>

#include "nn/jet_impl.h"
#include "nn/squash_impl.h"

/* Of a layer: a, u, the activation's s, q and h, and of a gate its argument, itself and its q.  */
enum { A, U, S, Q, H, V, G, GQ, SLOTS };

/* Jets of one panel, or their gradients: of the input, then of the layers.  */
struct jets {
    const dfo_net *net;
    const struct squash *m;
    dfo_real *x;
    size_t orders;
};

static size_t layer_size(const struct squash *m, size_t l)
{
    return m->linear[l].out + (SLOTS - 1) * dfoi_squash_out(m, l);
}

static size_t panel_size(const dfo_net *net, size_t orders)
{
    const struct squash *m = net->state;
    size_t features = net->in;
    for (size_t l = 0; l < m->layers; l++)
        features += layer_size(m, l);
    return orders * features * DFO_PANEL;
}

static dfo_real *input(const struct jets *j, size_t k)
{
    return j->x + k * j->net->in * DFO_PANEL;
}

static dfo_real *slot(const struct jets *j, size_t l, int what, size_t k)
{
    size_t features = j->net->in, out = dfoi_squash_out(j->m, l);
    for (size_t i = 0; i < l; i++)
        features += layer_size(j->m, i);
    features = j->orders * features + (what == A ? k * j->m->linear[l].out : j->orders * (j->m->linear[l].out + (size_t)(what - 1) * out) + k * out);
    return j->x + features * DFO_PANEL;
}

static dfoi_jet jet_of(const struct jets *j, size_t l, int u, int s, int q, int h)
{
    dfoi_jet x;
    for (size_t k = 0; k < j->orders; k++) {
        x.u[k] = slot(j, l, u, k);
        x.s[k] = slot(j, l, s, k);
        x.q[k] = slot(j, l, q, k);
        x.h[k] = slot(j, l, h, k);
    }
    return x;
}

/* What layer l's linear map takes.  */
static dfo_real *argument(const struct jets *j, size_t l, size_t k)
{
    return l ? slot(j, l - 1, j->m->settings.act == DFOI_ACT_SIGMOID ? S : H, k) : input(j, k);
}

static dfo_real factorial(size_t n)
{
    return n < 2 ? 1 : (dfo_real)n * factorial(n - 1);
}

/* ---- forward */

static void gate(const struct jets *j, size_t l, size_t k, const dfoi_squash *how)
{
    dfoi_jet x = jet_of(j, l, V, G, GQ, H);
    size_t n = how->out * DFO_PANEL;
    for (size_t i = 0; i < n; i++) {
        dfo_real w = how->gate[i / DFO_PANEL];
        x.u[k][i] = k == 0 ? w * how->t[i % DFO_PANEL] + how->shift[i / DFO_PANEL] : k == 1 ? w : 0;
    }
    dfoi_jet_act(DFOI_ACT_SIGMOID, n, k, &x);
}

/* u_k from a up to k.  */
static void mix(const struct jets *j, size_t l, size_t k, const dfoi_squash *how)
{
    size_t n = how->out * DFO_PANEL;
    dfo_real *u = slot(j, l, U, k);
    const dfo_real *a = slot(j, l, A, k);
    if (how->gate) {
        gate(j, l, k, how);
        memset(u, 0, n * sizeof *u);
        for (size_t i = 0; i <= k; i++)
            dfoi_jet_add(n, 1, slot(j, l, A, i), slot(j, l, G, k - i), u);
    } else {
        memcpy(u, a, n * sizeof *u);
    }
    for (size_t i = 0; i < n; i++) {
        if (how->drift)
            u[i] += k == 0 ? how->drift[i / DFO_PANEL] * how->t[i % DFO_PANEL] : k == 1 ? how->drift[i / DFO_PANEL] : 0;
        else
            u[i] += how->t[i % DFO_PANEL] * a[n + i] + (k ? slot(j, l, A, k - 1)[n + i] : 0);
    }
}

static void one_order(const struct jets *j, dfo_run *run, size_t k)
{
    const struct squash *m = j->m;
    for (size_t l = 0; l < m->layers; l++) {
        dfoi_squash how = dfoi_squash_layer(j->net, run, l, input(j, 0) + (j->net->in - 1) * DFO_PANEL, NULL);
        if (k)
            dfoi_linear_tangent(&m->linear[l], run, argument(j, l, k), NULL, NULL, slot(j, l, A, k));
        else
            dfoi_linear_forward_one(&m->linear[l], run, argument(j, l, k), DFOI_ACT_NONE, NULL, slot(j, l, A, k));
        mix(j, l, k, &how);
        if (l + 1 < m->layers) {
            dfoi_jet x = jet_of(j, l, U, S, Q, H);
            dfoi_jet_act(m->settings.act, how.out * DFO_PANEL, k, &x);
        }
    }
}

size_t dfoi_squash_path_kept(const dfo_net *net, size_t rows, size_t order)
{
    const struct squash *m = net->state;
    int known = m->layers == 1 || dfoi_jet_known(m->settings.act);
    return known ? dfoi_panels_of(rows) * panel_size(net, order) : 0;
}

dfo_status dfoi_squash_path(const dfo_net *net, dfo_run *run, const dfo_cond *in, size_t order, dfo_block out, dfo_real *kept)
{
    const struct squash *m = net->state;
    for (size_t p = 0; p < dfoi_panels_of(out.n); p++, kept += panel_size(net, order)) {
        struct jets j = {net, m, kept, order};
        dfo_real *to = out.x + p * out.d * DFO_PANEL, by = factorial(order - 1);
        const dfo_real *last = NULL;
        for (size_t k = 0; k < order; k++) {
            if (k) {
                memset(input(&j, k), 0, net->in * DFO_PANEL * sizeof *to);
                for (size_t i = 0; i < out.d * DFO_PANEL; i++)
                    input(&j, k)[i] = last[i] / (dfo_real)k;
            } else {
                dfoi_parts_to_panel(net, in, out.n, p, input(&j, 0));
            }
            one_order(&j, run, k);
            last = slot(&j, m->layers - 1, U, k);
        }
        for (size_t i = 0; i < out.d * DFO_PANEL; i++)
            to[i] = by * last[i];
    }
    return DFO_OK;
}

/* ---- backward */

/* to[o] += the sum over rows of g [t].  */
static void add_sums(size_t out, const dfo_real *g, const dfo_real *t, dfo_real *to)
{
    for (size_t o = 0; to && o < out; o++) {
        dfo_real sum = 0;
        for (size_t r = 0; r < DFO_PANEL; r++)
            sum += g[o * DFO_PANEL + r] * (t ? t[r] : 1);
        to[o] += sum;
    }
}

static void gate_backward(const struct jets *j, const struct jets *g, size_t l, size_t k, const dfoi_squash *how)
{
    dfoi_jet x = jet_of(j, l, V, G, GQ, H), gx = jet_of(g, l, V, G, GQ, H);
    size_t n = how->out * DFO_PANEL;
    dfoi_jet_act_backward(DFOI_ACT_SIGMOID, n, k, &x, &gx);
    if (k == 0) {
        add_sums(how->out, gx.u[0], how->t, how->ggate);
        add_sums(how->out, gx.u[0], NULL, how->gshift);
        for (size_t i = 0; i < n; i++)
            how->gt[i % DFO_PANEL] += how->gate[i / DFO_PANEL] * gx.u[0][i];
    } else if (k == 1) {
        add_sums(how->out, gx.u[1], NULL, how->ggate);
    }
}

static void mix_backward(const struct jets *j, const struct jets *g, size_t l, size_t k, const dfoi_squash *how)
{
    size_t n = how->out * DFO_PANEL;
    const dfo_real *gu = slot(g, l, U, k), *a = slot(j, l, A, k);
    dfo_real *ga = slot(g, l, A, k), *below = k ? slot(g, l, A, k - 1) : NULL;
    for (size_t i = 0; how->gate && i <= k; i++) {
        dfoi_jet_add(n, 1, gu, slot(j, l, G, k - i), slot(g, l, A, i));
        dfoi_jet_add(n, 1, gu, slot(j, l, A, i), slot(g, l, G, k - i));
    }
    if (how->gate)
        gate_backward(j, g, l, k, how);
    for (size_t i = 0; i < n; i++) {
        if (!how->gate)
            ga[i] += gu[i];
        if (how->drift && k == 0)
            how->gt[i % DFO_PANEL] += how->drift[i / DFO_PANEL] * gu[i];
        if (!how->drift) {
            ga[n + i] += how->t[i % DFO_PANEL] * gu[i];
            how->gt[i % DFO_PANEL] += a[n + i] * gu[i];
        }
        if (!how->drift && k)
            below[n + i] += gu[i];
    }
    if (how->drift && k < 2)
        add_sums(how->out, gu, k ? NULL : how->t, how->gdrift);
}

static void one_order_backward(const struct jets *j, const struct jets *g, dfo_run *run, size_t k, dfo_real *gt, dfo_real *scratch)
{
    const struct squash *m = j->m;
    for (size_t l = m->layers; l-- > 0;) {
        dfoi_squash how = dfoi_squash_layer(j->net, run, l, input(j, 0) + (j->net->in - 1) * DFO_PANEL, gt);
        dfo_real *below = argument(g, l, k);
        if (l + 1 < m->layers) {
            dfoi_jet x = jet_of(j, l, U, S, Q, H), gx = jet_of(g, l, U, S, Q, H);
            dfoi_jet_act_backward(m->settings.act, how.out * DFO_PANEL, k, &x, &gx);
        }
        mix_backward(j, g, l, k, &how);
        dfoi_linear_grads_one(&m->linear[l], run, slot(g, l, A, k), argument(j, l, k), k == 0, scratch);
        dfoi_linear_backward_one(&m->linear[l], run, slot(g, l, A, k), NULL, below, below, scratch);
    }
}

size_t dfoi_squash_path_scratch(const dfo_net *net, size_t order)
{
    const struct squash *m = net->state;
    return dfo_arena_size(panel_size(net, order) + DFO_PANEL + m->scratch_grad);
}

dfo_status dfoi_squash_path_backward(const dfo_net *net, dfo_run *run, const dfo_cond *in, size_t order, dfo_block gout, dfo_cond *gin,
                                     const dfo_real *kept)
{
    const struct squash *m = net->state;
    size_t size = panel_size(net, order), last = m->layers - 1;
    dfo_real *memory = dfo_arena_take(run, size + DFO_PANEL + m->scratch_grad), *gt = memory ? memory + size : NULL;
    (void)in;
    if (!memory)
        return dfo_run_fail(run, DFO_EMEM, (size_t)-1, "%s net: the arena is too small", net->ops->type);
    for (size_t p = 0; p < dfoi_panels_of(gout.n); p++, kept += size) {
        struct jets j = {net, m, (dfo_real *)kept, order}, g = {net, m, memory, order};
        const dfo_real *from = gout.x + p * gout.d * DFO_PANEL;
        memset(memory, 0, (size + DFO_PANEL) * sizeof *memory);
        for (size_t i = 0; i < gout.d * DFO_PANEL; i++)
            slot(&g, last, U, order - 1)[i] = factorial(order - 1) * from[i];
        for (size_t k = order; k-- > 0;) {
            one_order_backward(&j, &g, run, k, gt, gt + DFO_PANEL);
            for (size_t i = 0; k && i < gout.d * DFO_PANEL; i++)
                slot(&g, last, U, k - 1)[i] += input(&g, k)[i] / (dfo_real)k;
        }
        memcpy(input(&g, 0) + (net->in - 1) * DFO_PANEL, gt, DFO_PANEL * sizeof *gt);
        dfoi_parts_add(net, input(&g, 0), gout.n, p, gin);
    }
    return DFO_OK;
}
