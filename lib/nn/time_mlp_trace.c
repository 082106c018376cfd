/* The exact trace of a residual net with a time (time_mlp.c).  With A, C the first and the last matrix, W_k the layers' and D_k the
 * derivatives of their units, dropout's factors among them, rows' Jacobians are
 *
 *     C D_L (I + W_(L-1) D_(L-1)) ... (I + W_0 D_0) A.
 *
 * Of no layer tr = n . d_0 with n_a = sum_e C_ea A_ae; of one tr = d_1 . (n + N d_0), N = W_0 o (A C)^T, one product more than the values
 * take for any number of features.  Of more, the columns of A go through the layers as panels of tangents, by twos, whose weights are read as those of
 * rows are; values, derivatives and the embedding of the time are found once, where a pass with tangents for every feature finds
 * them anew.  The time comes in by the derivatives alone: rows may be at times of their own.  */
#include <string.h>

#include "base/ctx_impl.h"
#include "math/kern_impl.h"
#include "nn/time_mlp_impl.h"
#include "nn/unit_kern_impl.h"

static size_t panel(const struct time_mlp *m)
{
    return m->settings.hidden * DFO_PANEL;
}

/* Kept: n, and N (hidden, hidden) behind it; of two layers and more A's columns (features, hidden).  */
size_t dfoi_time_mlp_trace_size(const dfo_net *net)
{
    const struct time_mlp *m = net->state;
    size_t hidden = m->settings.hidden, layers = m->settings.layers;
    if (m->first.in != net->out)
        return 0;
    return layers > 1 ? net->out * hidden : layers ? hidden + hidden * hidden : hidden;
}

/* Panels of the hidden width behind the derivatives of all units: the stream, a unit's value, mask and argument; tangents and what goes into
 * the products.  Of A, of the width of a row.  */
enum { STREAM, VALUE, MASK, ARGUMENT, TANGENT, SCALED = TANGENT + DFOI_PANELS, PANELS = SCALED + DFOI_PANELS };

struct room {
    dfo_real *x, *q, *embed, *back, *p[PANELS], *d;
};

static size_t room_size(const struct time_mlp *m)
{
    return (m->first.in + m->embed.project.out) * DFO_PANEL + dfoi_embed_keep(&m->embed) + dfo_arena_size(dfoi_gemm_back_scratch(m->last.out)) +
           (PANELS + m->settings.layers + 1) * panel(m);
}

size_t dfoi_time_mlp_trace_scratch(const dfo_net *net)
{
    return dfoi_time_mlp_trace_size(net) ? dfo_arena_size(room_size(net->state)) : 0;
}

static dfo_status take(const struct time_mlp *m, dfo_run *run, struct room *r)
{
    dfo_real *at = dfo_arena_take(run, room_size(m));
    if (!at)
        return dfo_run_fail(run, DFO_EMEM, (size_t)-1, "time-mlp net: the arena is too small");
    r->x = at;
    r->q = r->x + m->first.in * DFO_PANEL;
    r->d = r->q + m->embed.project.out * DFO_PANEL;
    for (size_t i = 0; i < PANELS; i++)
        r->p[i] = r->d + (m->settings.layers + 1 + i) * panel(m);
    r->back = r->d + (m->settings.layers + 1 + PANELS) * panel(m);
    r->embed = r->back + dfo_arena_size(dfoi_gemm_back_scratch(m->last.out));
    return DFO_OK;
}

/* N, by 64 of its columns: C^T A^T of these, times W_0.  */
static void around(const struct time_mlp *m, const dfo_run *run, const struct room *r, dfo_real *to)
{
    const dfo_real *a = dfo_run_weights(run, m->first.w), *w = dfo_run_weights(run, m->layer[0].w), *c = dfo_run_weights(run, m->last.w);
    size_t hidden = m->settings.hidden, d = m->first.in;
    for (size_t first = 0; first < hidden; first += DFO_PANEL) {
        size_t n = hidden - first < DFO_PANEL ? hidden - first : DFO_PANEL;
        dfoi_to_panel(n, d, a + first * d, d, NULL, 1, r->x);
        dfoi_gemm_back(d, hidden, c, hidden, r->x, NULL, NULL, r->p[STREAM], r->back);
        for (size_t j = 0; j < hidden; j++)
            for (size_t i = 0; i < n; i++)
                to[j * hidden + first + i] = w[j * hidden + first + i] * r->p[STREAM][j * DFO_PANEL + i];
    }
}

dfo_status dfoi_time_mlp_trace_begin(const dfo_net *net, dfo_run *run, dfo_real t, dfo_real *kept)
{
    const struct time_mlp *m = net->state;
    const dfo_real *a = dfo_run_weights(run, m->first.w), *c = dfo_run_weights(run, m->last.w);
    size_t hidden = m->settings.hidden, d = m->first.in;
    struct room r;
    (void)t;
    DFO_TRY(take(m, run, &r));
    if (m->settings.layers > 1) {
        for (size_t e = 0; e < d; e++)
            for (size_t j = 0; j < hidden; j++)
                kept[e * hidden + j] = a[j * d + e];
        return DFO_OK;
    }
    for (size_t j = 0; j < hidden; j++) {
        kept[j] = 0;
        for (size_t e = 0; e < d; e++)
            kept[j] += c[e * hidden + j] * a[j * d + e];
    }
    if (m->settings.layers)
        around(m, run, &r, kept + hidden);
    return DFO_OK;
}

/* The values of panel p's rows in `out`, the units' derivatives.  */
static dfo_status values(const dfo_net *net, dfo_run *run, const dfo_cond *in, size_t n, size_t p, const struct room *r, dfo_real *out)
{
    const struct time_mlp *m = net->state;
    size_t size = panel(m), rows = dfoi_panel_rows(n, p);
    dfo_batch x = in->part[0].rows;
    DFO_TRY(dfoi_embed_forward(&m->embed, net, run, in, p * DFO_PANEL, rows, r->embed, r->q));
    dfoi_to_panel(rows, m->first.in, dfo_row(x, p * DFO_PANEL), x.ld, NULL, 0, r->x);
    dfoi_linear_forward_one(&m->first, run, r->x, DFOI_ACT_NONE, NULL, r->p[STREAM]);
    for (size_t k = 0; k <= m->settings.layers; k++) {
        int last = k == m->settings.layers;
        const dfoi_unit_room room = {.h = r->p[VALUE], .dh = r->d + k * size, .mask = r->p[MASK], .d1 = r->p[ARGUMENT], .first = p * DFO_PANEL};
        dfoi_pair a = dfoi_unit_jvp_target(&m->unit[k], &room, NULL);
        time_mlp_argument(m, k, r->p[STREAM], r->q, a.x);
        for (size_t i = 0; i < size; i++)          /* the tangent of all ones is the derivative */
            a.dx[i] = 1;
        dfoi_pair y = dfoi_unit_jvp(&m->unit[k], run, a, 0, &room, NULL);
        dfoi_linear_forward_one(last ? &m->last : &m->layer[k], run, y.x, DFOI_ACT_NONE, last ? NULL : r->p[STREAM], last ? out : r->p[STREAM]);
    }
    return DFO_OK;
}

/* to[i] += sum_j by[j] x_ji y_ji of a panel's first n rows; y NULL: ones.  */
static void contract(size_t width, size_t n, const dfo_real *by, const dfo_real *x, const dfo_real *y, double *to)
{
    for (size_t j = 0; j < width; j++)
        for (size_t i = 0; i < n; i++)
            to[i] += (double)(by[j] * x[j * DFO_PANEL + i] * (y ? y[j * DFO_PANEL + i] : 1));
}

/* Tangents of features first .. first + count - 1, at most DFOI_PANELS.  */
static void columns(const struct time_mlp *m, const dfo_run *run, const struct room *r, const dfo_real *kept, size_t first, size_t count, size_t n,
                    double *to)
{
    size_t hidden = m->settings.hidden, size = panel(m);
    dfo_real *const *dh = r->p + TANGENT;
    const dfo_real *tangent[DFOI_PANELS], *scaled[DFOI_PANELS];
    for (size_t e = 0; e < count; e++) {
        for (size_t j = 0; j < hidden; j++)
            for (size_t i = 0; i < DFO_PANEL; i++)
                dh[e][j * DFO_PANEL + i] = kept[(first + e) * hidden + j];
        tangent[e] = dh[e];
        scaled[e] = r->p[SCALED + e];
    }
    for (size_t k = 0; k < m->settings.layers; k++) {
        for (size_t e = 0; e < count; e++)
            DFOI_UNIT_KERN->multiply(size, r->d + k * size, dh[e], r->p[SCALED + e]);
        dfoi_gemm_tangent_panels(hidden, hidden, dfo_run_weights(run, m->layer[k].w), hidden, count, scaled, NULL, tangent, dh);
    }
    for (size_t e = 0; e < count; e++)
        contract(hidden, n, dfo_run_weights(run, m->last.w) + (first + e) * hidden, r->d + m->settings.layers * size, dh[e], to);
}

dfo_status dfoi_time_mlp_trace(const dfo_net *net, dfo_run *run, const dfo_cond *in, const dfo_real *kept, dfo_block out, double *trace)
{
    const struct time_mlp *m = net->state;
    size_t hidden = m->settings.hidden, layers = m->settings.layers;
    struct room r;
    DFO_TRY(take(m, run, &r));
    for (size_t p = 0; p < dfoi_panels_of(out.n); p++) {
        size_t n = dfoi_panel_rows(out.n, p);
        double *to = trace + p * DFO_PANEL;
        DFO_TRY(values(net, run, in, out.n, p, &r, out.x + p * out.d * DFO_PANEL));
        memset(to, 0, n * sizeof *to);
        if (!layers)
            contract(hidden, n, kept, r.d, NULL, to);
        if (layers == 1) {
            dfoi_gemm(hidden, hidden, kept + hidden, hidden, r.d, kept, DFOI_ACT_NONE, NULL, r.p[STREAM]);
            for (size_t j = 0; j < hidden; j++)
                for (size_t i = 0; i < n; i++)
                    to[i] += (double)(r.d[panel(m) + j * DFO_PANEL + i] * r.p[STREAM][j * DFO_PANEL + i]);
        }
        for (size_t e = 0; layers > 1 && e < net->out; e += DFOI_PANELS)
            columns(m, run, &r, kept, e, net->out - e < DFOI_PANELS ? net->out - e : DFOI_PANELS, n, to);
    }
    return DFO_OK;
}
