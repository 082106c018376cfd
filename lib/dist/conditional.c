/* A normal density whose mean and spread are a net's function of the condition c, or a mixture of K of them with weights that are too:
 *
 *     (m, r, l) = net(c),   s = b tanh(r/b),   w = softmax(l),   log p(x|c) = log sum_k w_k N_k,
 *     log N_k = sum_j -z_kj^2/2 - s_kj - log(2 pi)/2,   z_k = (x - m_k - a_k) e^{-s_k};   q_k = w_k N_k / p:
 *     d/dx = -sum q_k z_k e^{-s_k},   d/dm_k = d/da_k = q_k z_k e^{-s_k},   d/dr_k = q_k (z_k^2 - 1)(1 - (s_k/b)^2),   d/dl_k = q_k - w_k
 *
 * The bound b ("max_log_std") keeps the spread away from 0 and infinity.  The net's last layer starts at zero, so one normal starts as
 * the standard normal; of a mixture (Bishop 1994) the a_k, weights that start as standard normal draws, set its parts apart.  Rows go
 * through the net in panels.  */
#include <math.h>
#include <string.h>

#include <diffeo/net.h>
#include "base/ctx_impl.h"
#include "base/json_impl.h"
#include "dist/dist_impl.h"
#include "dist/special_impl.h"
#include "math/gemm_impl.h"
#include "math/kern_impl.h"

struct conditional {
    dfo_net *net;
    double bound;
    size_t k;
    int mixture;
    struct dfoi_param apart; /* (K, d), of a mixture */
};

/* A panel of rows on its way: the net's output (or its gradient), and of one row the present part's mean and log_std, and of all its
 * parts log w_k and log w_k N_k.  */
struct panel {
    size_t first, n;
    dfo_block out;
    dfo_real *acts;
    dfo_real *mean, *log_std, *inverse; /* (d) */
    double *log_weight, *term;          /* (K) */
    double *apart, *gapart;             /* (K, d), or NULL */
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
    p->log_weight = dfoi_take_doubles(run, 2 * s->k);
    if (s->mixture)
        p->apart = dfoi_take_doubles(run, 2 * s->k * dist->d);
    if (!memory || !p->mean || !p->log_weight || (gradient && !p->acts) || (s->mixture && !p->apart))
        return run->status;
    p->term = p->log_weight + s->k;
    if (s->mixture) {
        p->gapart = p->apart + s->k * dist->d;
        dfoi_param_get(&s->apart, run, p->apart);
        memset(p->gapart, 0, s->k * dist->d * sizeof *p->gapart);
    }
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

/* Mean, log_std and e^{sign log_std} of part c of row i of the panel.  */
static void part_values(const struct conditional *s, struct panel *p, size_t d, size_t i, size_t c,
                        dfo_real sign)
{
    for (size_t j = 0; j < d; j++) {
        p->mean[j] = *value(p->out, i, c * d + j);
        p->log_std[j] = *value(p->out, i, (s->k + c) * d + j) / (dfo_real)s->bound;
        if (s->mixture)
            p->mean[j] += (dfo_real)p->apart[c * d + j];
    }
    dfoi_vtanh(d, p->log_std, p->log_std);
    for (size_t j = 0; j < d; j++) {
        p->log_std[j] *= (dfo_real)s->bound;
        p->inverse[j] = sign * p->log_std[j];
    }
    dfoi_vexp(d, p->inverse, p->inverse);
}

/* log w_k of row i.  */
static void weigh(const struct conditional *s, struct panel *p, size_t d, size_t i)
{
    for (size_t c = 0; c < s->k; c++)
        p->log_weight[c] = s->mixture ? (double)*value(p->out, i, 2 * s->k * d + c) : 0;
    double total = s->mixture ? dfoi_log_sum_exp(s->k, p->log_weight) : 0;
    for (size_t c = 0; c < s->k; c++)
        p->log_weight[c] -= total;
}

/* Fills log_weight and term, and gives log p of x in row i.  */
static double row_log_prob(const struct conditional *s, struct panel *p, size_t d, size_t i, const dfo_real *x)
{
    weigh(s, p, d, i);
    for (size_t c = 0; c < s->k; c++) {
        part_values(s, p, d, i, c, -1);
        for (size_t j = 0; j < d; j++)
            p->inverse[j] *= x[j] - p->mean[j];
        p->term[c] = p->log_weight[c] - (0.5 * dfoi_sum_squares(d, p->inverse) + dfoi_sum(d, p->log_std) + 0.5 * DFOI_LOG_2PI * (double)d);
    }
    return s->mixture ? dfoi_log_sum_exp(s->k, p->term) : p->term[0];
}

static size_t scratch(const dfo_dist *dist, size_t rows)
{
    const struct conditional *s = dist->state;
    (void)rows;
    return dfoi_doubles_size(2 * s->k) + (s->mixture ? dfoi_doubles_size(2 * s->k * dist->d) : 0) + dfo_arena_size(s->net->out * DFO_PANEL) + dfo_arena_size(3 * dist->d) +
           dfo_arena_size(dfo_net_acts(s->net, DFO_PANEL)) + dfo_net_scratch(s->net, DFO_PANEL);
}

static dfo_status log_prob(const dfo_dist *dist, dfo_run *run, dfo_batch x, const dfo_cond *cond,
                           double *out)
{
    const struct conditional *s = dist->state;
    dfo_status status = DFO_OK;
    struct panel p;
    DFO_TRY(take_panel(dist, run, 0, &p));
    for (size_t first = 0; first < x.n && status == DFO_OK; first += p.n) {
        status = run_net(dist, run, cond, x.n, first, &p);
        for (size_t i = 0; i < p.n && status == DFO_OK; i++)
            out[first + i] += row_log_prob(s, &p, x.d, i, dfo_row(x, first + i));
    }
    run->key = p.key;
    return status;
}

/* Turns part c of row i into gradients with respect to it, with g that of log p and q the part's share; adds to gx (or NULL).  */
static void part_grad(const struct conditional *s, struct panel *p, size_t d, size_t i, size_t c, double gq, const dfo_real *x, dfo_real *gx)
{
    dfo_real g = (dfo_real)gq;
    part_values(s, p, d, i, c, -1);
    for (size_t j = 0; j < d; j++) {
        dfo_real z = (x[j] - p->mean[j]) * p->inverse[j], pull = g * z * p->inverse[j];
        dfo_real t = p->log_std[j] / (dfo_real)s->bound;
        if (gx)
            gx[j] -= pull;
        if (s->mixture)
            p->gapart[c * d + j] += (double)pull;
        *value(p->out, i, c * d + j) = pull;
        *value(p->out, i, (s->k + c) * d + j) = g * (z * z - 1) * (1 - t * t);
    }
}

/* Turns the panel's values into gradients with respect to them; adds to gx.  */
static void panel_grad(const struct conditional *s, struct panel *p, dfo_batch x,
                       const double *glogp, dfo_batch gx)
{
    size_t d = x.d;
    for (size_t i = 0; i < p->n; i++) {
        const dfo_real *row = dfo_row(x, p->first + i);
        double g = glogp[p->first + i], logp = s->mixture ? row_log_prob(s, p, d, i, row) : 0;
        for (size_t c = 0; c < s->k; c++) {
            double q = s->mixture ? exp(p->term[c] - logp) : 1;
            part_grad(s, p, d, i, c, g * q, row, gx.x ? dfo_row(gx, p->first + i) : NULL);
            if (s->mixture)
                *value(p->out, i, 2 * s->k * d + c) = (dfo_real)(g * (q - exp(p->log_weight[c])));
        }
    }
    if (p->out.layout == DFO_FEATURES) /* rows that are not there have no gradient */
        for (size_t j = 0; j < s->net->out; j++)
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
    if (s->mixture && status == DFO_OK)
        dfoi_param_add_grad(&s->apart, run, p.gapart);
    return status;
}

static size_t draw_part(const struct conditional *s, struct panel *p, size_t d, size_t i, dfo_key key)
{
    if (!s->mixture)
        return 0;
    weigh(s, p, d, i);
    return dfoi_draw_component(s->k, p->log_weight, key);
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
            part_values(s, &p, d, i, draw_part(s, &p, d, i, dfoi_base_key(run, i)), 1);
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
    if (s->mixture)
        DFO_TRY(dfoi_json_set(dist->ctx, to, "components", json_integer((json_int_t)s->k)));
    json_t *net = json_object();
    DFO_TRY(dfoi_json_set(dist->ctx, to, "net", net));
    return dfo_net_describe(s->net, net);
}

static void free_state(dfo_dist *dist)
{
    struct conditional *s = dist->state;
    if (s) {
        dfo_net_free(s->net);
        dfoi_param_free(dist->ctx, &s->apart);
    }
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

static const struct dfo_dist_ops mixture_ops = {
    .type = "conditional-mixture",
    .scratch = scratch,
    .log_prob = log_prob,
    .log_prob_grad = log_prob_grad,
    .sample = sample,
    .describe = describe,
    .free = free_state,
};

static dfo_status create(dfo_build *build, json_t *config, dfo_dist *dist, int mixture)
{
    const char *const known[] = {"type", "max_log_std", "net", mixture ? "components" : NULL, NULL};
    dfo_ctx *ctx = build->ctx;
    struct conditional *s;
    dfo_build inner;
    char path[256];
    size_t out;
    dist->ops = mixture ? &mixture_ops : &ops;
    DFO_TRY(dfoi_alloc(ctx, 1, sizeof *s, &s));
    dist->state = s;
    s->mixture = mixture;
    s->k = 1;
    DFO_TRY(dfoi_json_keys(ctx, config, known));
    DFO_TRY(dfoi_json_real(ctx, config, "max_log_std", 5, 0.01, 40, &s->bound));
    if (mixture)
        DFO_TRY(dfoi_json_size(ctx, config, "components", 8, 1, 65536, &s->k));
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
    DFO_TRY(dfoi_mul(ctx, 2 * s->k, dist->d, "components", &out));
    DFO_TRY(dfoi_mul(ctx, out, 16 * DFO_PANEL * sizeof(double), "components", &(size_t){0}));
    if (mixture) {
        DFO_TRY(dfoi_param_new(build, config, "apart", s->k, dist->d, 0, -DFO_REAL_MAX, DFO_REAL_MAX, 1, &s->apart));
        dfo_build_normal(build, s->apart.offset, s->apart.count, 1);
    }
    DFO_TRY(dfo_build_child(build, "net", path, sizeof path, &inner));
    DFO_TRY(dfo_net_new(&inner, json_object_get(config, "net"), build->conds, build->cond,
                        dfo_shape_vector(out + (mixture ? s->k : 0)), 1, &s->net));
    if (dfo_net_statistics(s->net))
        return dfoi_fail(ctx, DFO_EUNSUP, "net: batch normalisation has no place in a density");
    return DFO_OK;
}

dfo_status dfoi_dist_conditional_normal(dfo_build *build, json_t *config, dfo_dist *dist)
{
    return create(build, config, dist, 0);
}

dfo_status dfoi_dist_conditional_mixture(dfo_build *build, json_t *config, dfo_dist *dist)
{
    return create(build, config, dist, 1);
}
