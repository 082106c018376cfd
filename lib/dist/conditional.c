/* A normal density whose mean and spread are a net's function of the condition c:
 *
 *     (m, r) = net(c),   s = b tanh(r/b),   log p(x|c) = sum_j -z_j^2/2 - s_j - log(2 pi)/2,   z =
 * (x - m) e^{-s} d/dx = -z e^{-s},   d/dm = z e^{-s},   d/dr = (z^2 - 1)(1 - (s/b)^2)
 *
 * The bound b ("max_log_std") keeps the spread away from 0 and infinity.  The net's last layer
 * starts at zero, so this starts as the standard normal.  Rows go through the net in panels.  */
#include <math.h>
#include <string.h>

#include <diffeo/net.h>
#include "base/ctx_impl.h"
#include "base/json_impl.h"
#include "dist/dist_impl.h"
#include "math/gemm_impl.h"
#include "math/kern_impl.h"

struct conditional {
    dfo_net *net;
    double bound;
};

/* A panel of rows on its way: the net's output (or its gradient), and one row's mean and log_std.
 */
struct panel {
    size_t first, n;
    dfo_block out;
    dfo_real *acts;
    dfo_real *mean, *log_std, *inverse; /* (d) */
    dfo_key key;                        /* the run's, before it was moved to this panel */
};

static dfo_block block_of(const dfo_net *net, dfo_real *memory)
{
    dfo_block b = {memory, 0, net->out, DFO_PANEL, net->ops->layout};
    if (net->ops->layout == DFO_ROWS)
        b.ld = net->out;
    return b;
}

static dfo_real *value(dfo_block b, size_t i, size_t j)
{
    return b.layout == DFO_FEATURES ? b.x + j * b.ld + i : b.x + i * b.ld + j;
}

static dfo_status take_panel(const dfo_dist *dist, dfo_run *run, int gradient, struct panel *p)
{
    const struct conditional *s = dist->state;
    memset(p, 0, sizeof *p);
    p->key = run->key;
    dfo_real *memory = dfoi_take_reals(run, s->net->out * DFO_PANEL);
    p->mean = dfoi_take_reals(run, 3 * dist->d);
    if (gradient)
        p->acts = dfoi_take_reals(run, dfo_net_acts(s->net, DFO_PANEL));
    if (!memory || !p->mean || (gradient && !p->acts))
        return run->status;
    p->log_std = p->mean + dist->d;
    p->inverse = p->log_std + dist->d;
    p->out = block_of(s->net, memory);
    return DFO_OK;
}

/* Runs the net on rows first .. of n; the run's key follows, so that what the net draws belongs to
 * the row.  */
static dfo_status run_net(const dfo_dist *dist, dfo_run *run, const dfo_cond *cond, size_t n,
                          size_t first, struct panel *p)
{
    const struct conditional *s = dist->state;
    p->first = first;
    p->n = n - first < DFO_PANEL ? n - first : DFO_PANEL;
    p->out.n = p->n;
    run->key.row = p->key.row + first;
    dfo_cond rows = dfo_cond_rows(cond, first, p->n);
    return dfo_net_forward(s->net, run, &rows, p->out, p->acts);
}

/* Mean, log_std and e^{sign log_std} of row i of the panel.  */
static void row_values(const struct conditional *s, struct panel *p, size_t d, size_t i,
                       dfo_real sign)
{
    for (size_t j = 0; j < d; j++) {
        p->mean[j] = *value(p->out, i, j);
        p->log_std[j] = *value(p->out, i, d + j) / (dfo_real)s->bound;
    }
    dfoi_vtanh(d, p->log_std, p->log_std);
    for (size_t j = 0; j < d; j++) {
        p->log_std[j] *= (dfo_real)s->bound;
        p->inverse[j] = sign * p->log_std[j];
    }
    dfoi_vexp(d, p->inverse, p->inverse);
}

static size_t scratch(const dfo_dist *dist, size_t rows)
{
    const struct conditional *s = dist->state;
    (void)rows;
    return dfo_arena_size(s->net->out * DFO_PANEL) + dfo_arena_size(3 * dist->d) +
           dfo_arena_size(dfo_net_acts(s->net, DFO_PANEL)) + dfo_net_scratch(s->net, DFO_PANEL);
}

static dfo_status log_prob(const dfo_dist *dist, dfo_run *run, dfo_batch x, const dfo_cond *cond,
                           double *out)
{
    const struct conditional *s = dist->state;
    size_t d = x.d;
    dfo_status status = DFO_OK;
    struct panel p;
    DFO_TRY(take_panel(dist, run, 0, &p));
    for (size_t first = 0; first < x.n && status == DFO_OK; first += p.n) {
        status = run_net(dist, run, cond, x.n, first, &p);
        for (size_t i = 0; i < p.n && status == DFO_OK; i++) {
            const dfo_real *row = dfo_row(x, first + i);
            row_values(s, &p, d, i, -1);
            for (size_t j = 0; j < d; j++)
                p.inverse[j] *= row[j] - p.mean[j];
            out[first + i] -= 0.5 * dfoi_sum_squares(d, p.inverse) + dfoi_sum(d, p.log_std) +
                              0.5 * DFOI_LOG_2PI * (double)d;
        }
    }
    run->key = p.key;
    return status;
}

/* Turns the panel's values into gradients with respect to them; adds to gx.  */
static void panel_grad(const struct conditional *s, struct panel *p, dfo_batch x,
                       const double *glogp, dfo_batch gx)
{
    size_t d = x.d;
    for (size_t i = 0; i < p->n; i++) {
        const dfo_real *row = dfo_row(x, p->first + i);
        dfo_real g = (dfo_real)glogp[p->first + i];
        row_values(s, p, d, i, -1);
        for (size_t j = 0; j < d; j++) {
            dfo_real z = (row[j] - p->mean[j]) * p->inverse[j], pull = g * z * p->inverse[j];
            dfo_real t = p->log_std[j] / (dfo_real)s->bound;
            if (gx.x)
                dfo_row(gx, p->first + i)[j] -= pull;
            *value(p->out, i, j) = pull;
            *value(p->out, i, d + j) = g * (z * z - 1) * (1 - t * t);
        }
    }
    if (p->out.layout == DFO_FEATURES) /* rows that are not there have no gradient */
        for (size_t j = 0; j < 2 * d; j++)
            for (size_t i = p->n; i < DFO_PANEL; i++)
                *value(p->out, i, j) = 0;
}

static dfo_status log_prob_grad(const dfo_dist *dist, dfo_run *run, dfo_batch x,
                                const dfo_cond *cond, const double *glogp, dfo_batch gx,
                                dfo_cond *gcond)
{
    const struct conditional *s = dist->state;
    dfo_status status = DFO_OK;
    struct panel p;
    DFO_TRY(take_panel(dist, run, 1, &p));
    for (size_t first = 0; first < x.n && status == DFO_OK; first += p.n) {
        status = run_net(dist, run, cond, x.n, first, &p);
        if (status != DFO_OK)
            break;
        panel_grad(s, &p, x, glogp, gx);
        dfo_cond rows = dfo_cond_rows(cond, first, p.n), grows = dfo_cond_rows(gcond, first, p.n);
        status = dfo_net_backward(s->net, run, &rows, p.out, gcond ? &grows : NULL, p.acts);
    }
    run->key = p.key;
    return status;
}

static dfo_status sample(const dfo_dist *dist, dfo_run *run, dfo_batch x, const dfo_cond *cond,
                         double temperature)
{
    const struct conditional *s = dist->state;
    size_t d = x.d;
    dfo_status status = DFO_OK;
    struct panel p;
    DFO_TRY(take_panel(dist, run, 0, &p));
    for (size_t first = 0; first < x.n && status == DFO_OK; first += p.n) {
        status = run_net(dist, run, cond, x.n, first, &p);
        for (size_t i = 0; i < p.n && status == DFO_OK; i++) {
            dfo_real *row = dfo_row(x, first + i);
            row_values(s, &p, d, i, 1);
            dfo_draw_real_normal(dfoi_base_key(run, i), d, row);
            for (size_t j = 0; j < d; j++)
                row[j] = p.mean[j] + (dfo_real)temperature * p.inverse[j] * row[j];
        }
    }
    run->key = p.key;
    return status;
}

static dfo_status describe(const dfo_dist *dist, json_t *to)
{
    const struct conditional *s = dist->state;
    DFO_TRY(dfoi_dist_describe_head(dist, to, -1));
    DFO_TRY(dfoi_json_set(dist->ctx, to, "max_log_std", json_real(s->bound)));
    json_t *net = json_object();
    DFO_TRY(dfoi_json_set(dist->ctx, to, "net", net));
    return dfo_net_describe(s->net, net);
}

static void free_state(dfo_dist *dist)
{
    struct conditional *s = dist->state;
    if (s)
        dfo_net_free(s->net);
    dfoi_free(dist->ctx, s);
}

static const struct dfo_dist_ops ops = {
    .type = "conditional-normal",
    .scratch = scratch,
    .log_prob = log_prob,
    .log_prob_grad = log_prob_grad,
    .sample = sample,
    .describe = describe,
    .free = free_state,
};

dfo_status dfoi_dist_conditional_normal(dfo_build *build, json_t *config, dfo_dist *dist)
{
    static const char *const known[] = {"type", "max_log_std", "net", NULL};
    dfo_ctx *ctx = build->ctx;
    struct conditional *s;
    dfo_build inner;
    char path[256];
    size_t out;
    dist->ops = &ops;
    DFO_TRY(dfoi_alloc(ctx, 1, sizeof *s, &s));
    dist->state = s;
    DFO_TRY(dfoi_json_keys(ctx, config, known));
    DFO_TRY(dfoi_json_real(ctx, config, "max_log_std", 5, 0.01, 40, &s->bound));
    if (!json_is_object(json_object_get(config, "net")))
        return dfoi_fail(ctx, DFO_EARG,
                         "net: expected an object that describes a net of the condition");
    if (!build->store)
        return dfoi_fail(ctx, DFO_EARG, "net: a net needs a store");
    dist->conds = build->conds;
    for (size_t p = 0; p < build->conds; p++)
        dist->cond_d += dfo_shape_size(build->cond[p]);
    if (!dist->cond_d)
        return dfoi_fail(ctx, DFO_EARG, "rows have no condition");
    DFO_TRY(dfoi_mul(ctx, 2, dist->d, "net", &out));
    DFO_TRY(dfo_build_child(build, "net", path, sizeof path, &inner));
    DFO_TRY(dfo_net_new(&inner, json_object_get(config, "net"), build->conds, build->cond,
                        dfo_shape_vector(out), 1, &s->net));
    if (dfo_net_statistics(s->net))
        return dfoi_fail(ctx, DFO_EUNSUP, "net: batch normalisation has no place in a density");
    return DFO_OK;
}
