/* A proposal q whose draws are accepted with probability a(z), a net's, the T-th try whatever it is:
 *
 *     p(z) = q(z) (w a(z) + alpha),   Z = E_q a,   alpha = (1 - Z)^{T-1},   w = (1 - alpha)/Z = sum over k < T-1 of (1 - Z)^k
 *
 * (Bauer and Mnih 2019, eq. 5; as base of a flow Stimper, Schoelkopf and Hernandez-Lobato 2022).  It has modes, holes and edges that a
 * smooth map of one normal cannot make.  Z is the mean of a over "draws" of q, the same ones whenever a model is evaluated, so that
 * log p is that of one density up to a constant, whose error is that of log Z: 0.4/(Z sqrt(draws)) or less; in training over
 * "train_draws", others at every step, and the gradient through Z is taken on as many of them as there are rows, which is right in the
 * mean.  a = sigmoid(net(z)) starts at 1/2 everywhere, where p = q.  */
#include <math.h>
#include <string.h>

#include <diffeo/net.h>
#include "base/ctx_impl.h"
#include "base/json_impl.h"
#include "dist/dist_impl.h"
#include "dist/special_impl.h"
#include "math/gemm_impl.h"

#define DRAWS_SEED 0x7265736d70u           /* of the draws that Z is made of, in evaluation */
#define NEXT_TRY 0x9e3779b97f4a7c15u       /* between the seeds of tries */

struct resampled {
    dfo_dist *proposal;
    dfo_net  *net;
    size_t    tries, draws, train_draws;
};

/* A panel of points, what the net says of them, and its activations, if gradients follow.  */
struct panel {
    dfo_batch z;
    dfo_cond  in;
    dfo_block out;                         /* one number a row */
    dfo_real *acts;
};

/* The logarithms of w and alpha, and their derivatives by Z.  */
struct ratio {
    double w, alpha, dw, dalpha;
};

static struct ratio ratio_of(size_t tries, double z)
{
    double sum = 0, slope = 0, power = 1, dpower = 0;
    for (size_t k = 0; k + 1 < tries; k++) {           /* power = (1 - Z)^k */
        sum += power;
        slope += dpower;
        dpower = dpower * (1 - z) - power;
        power *= 1 - z;
    }
    double others = (double)tries - 1;
    return (struct ratio){.w = log(sum), .alpha = others > 0 ? others * log1p(-z) : 0, .dw = others > 0 ? slope / sum : 0, .dalpha = -others / (1 - z)};
}

/* log(w a + alpha) and the shares of its terms, of which one may be 0.  */
static double log_ratio(const struct ratio *r, dfo_real logit, double share[2])
{
    double term[2] = {r->w + dfoi_log_sigmoid((double)logit), r->alpha}, all = dfoi_log_sum_exp(2, term);
    share[0] = exp(term[0] - all);
    share[1] = exp(term[1] - all);
    return all;
}

static const struct resampled *state(const dfo_dist *dist)
{
    return dist->state;
}

static size_t own_scratch(const dfo_dist *dist)
{
    return dfo_arena_size(dist->d * DFO_PANEL) + dfo_arena_size(DFO_PANEL) + dfo_arena_size(dfo_net_acts(state(dist)->net, DFO_PANEL));
}

static size_t scratch(const dfo_dist *dist, size_t rows)
{
    size_t net = dfo_net_scratch(state(dist)->net, DFO_PANEL), q = dfo_dist_scratch(state(dist)->proposal, rows < DFO_PANEL ? DFO_PANEL : rows);
    return own_scratch(dist) + (net > q ? net : q);
}

static dfo_status take(const dfo_dist *dist, dfo_run *run, int gradient, struct panel *p)
{
    const dfo_net *net = state(dist)->net;
    *p = (struct panel){.z = dfo_batch_of(dfoi_take_reals(run, dist->d * DFO_PANEL), DFO_PANEL, dist->d), .in = {.n = 1}};
    p->in.part[0].shape = dfo_shape_vector(dist->d);
    p->out = (dfo_block){dfoi_take_reals(run, DFO_PANEL), 0, 1, net->ops->layout == DFO_ROWS ? 1 : DFO_PANEL, net->ops->layout};
    p->acts = gradient ? dfoi_take_reals(run, dfo_net_acts(net, DFO_PANEL)) : NULL;
    return p->z.x && p->out.x && (p->acts || !gradient) ? DFO_OK : run->status;
}

/* The net's logits of rows z, at most a panel.  */
static dfo_status judge(const dfo_dist *dist, dfo_run *run, struct panel *p, dfo_batch z)
{
    p->in.part[0].rows = z;
    p->out.n = z.n;
    return dfo_net_forward(state(dist)->net, run, &p->in, p->out, p->acts);
}

/* Back through the net from gradients in place of the logits; gz NULL: weights alone.  */
static dfo_status back(const dfo_dist *dist, dfo_run *run, struct panel *p, dfo_batch gz)
{
    dfo_cond gin = p->in;
    gin.part[0].rows = gz;
    for (size_t i = p->out.n; i < DFO_PANEL; i++)
        p->out.x[i] = 0;
    return dfo_net_backward(state(dist)->net, run, &p->in, p->out, &gin, p->acts);
}

/* Draws first .. first+n of those that Z is made of, at most a panel, and their logits.  The run's key becomes theirs; given: as it was.  */
static dfo_status draw(const dfo_dist *dist, dfo_run *run, dfo_key given, struct panel *p, size_t first, size_t n)
{
    int train = run->mode == DFO_TRAIN;
    dfo_batch z = dfo_batch_rows(p->z, 0, n);
    run->key = (dfo_key){.seed = train ? given.seed ^ DRAWS_SEED : DRAWS_SEED, .row = first, .step = train ? given.step : 0};
    DFO_TRY(dfo_dist_sample(state(dist)->proposal, run, z, NULL, 1));
    return judge(dist, run, p, z);
}

static size_t draws_of(const dfo_dist *dist, const dfo_run *run)
{
    return run->mode == DFO_TRAIN ? state(dist)->train_draws : state(dist)->draws;
}

static size_t derived(const dfo_dist *dist)
{
    (void)dist;
    return dfoi_doubles_size(1);
}

static dfo_status prepare(const dfo_dist *dist, dfo_run *run, dfo_real *to)
{
    size_t draws = draws_of(dist, run), mark = run->arena_used, n;
    const dfo_key key = run->key;
    dfo_status status = DFO_OK;
    struct panel p;
    double sum = 0;
    DFO_TRY(take(dist, run, 0, &p));
    for (size_t first = 0; first < draws && status == DFO_OK; first += n) {
        n = draws - first < DFO_PANEL ? draws - first : DFO_PANEL;
        status = draw(dist, run, key, &p, first, n);
        for (size_t i = 0; i < n && status == DFO_OK; i++)
            sum += dfoi_sigmoid((double)p.out.x[i]);
    }
    sum /= (double)draws;
    memcpy(to, &sum, sizeof sum);
    run->arena_used = mark;
    run->key = key;
    return status;
}

static struct ratio present(const dfo_dist *dist, const dfo_run *run)
{
    double z;
    memcpy(&z, run->derived, sizeof z);
    return ratio_of(state(dist)->tries, z);
}

static dfo_status log_prob(const dfo_dist *dist, dfo_run *run, dfo_batch x, const dfo_cond *cond, double *out)
{
    struct ratio r = present(dist, run);
    dfo_status status = dfo_dist_log_prob(state(dist)->proposal, run, x, NULL, out);
    const dfo_key key = run->key;
    struct panel p;
    (void)cond;
    DFO_TRY(take(dist, run, 0, &p));
    for (size_t first = 0; first < x.n && status == DFO_OK; first += p.out.n) {
        run->key.row = key.row + first;
        status = judge(dist, run, &p, dfo_batch_rows(x, first, x.n - first < DFO_PANEL ? x.n - first : DFO_PANEL));
        for (size_t i = 0; i < p.out.n && status == DFO_OK; i++)
            out[first + i] += log_ratio(&r, p.out.x[i], (double[2]){0});
    }
    run->key = key;
    return status;
}

/* What the gradient gz with respect to Z gives the weights, by `n` of the draws from `first` on.  */
static dfo_status through_mean(const dfo_dist *dist, dfo_run *run, struct panel *p, double gz, size_t first, size_t n)
{
    size_t all = draws_of(dist, run), some;
    const dfo_key key = run->key;
    for (size_t done = 0; done < n; done += some) {
        size_t at = (first + done) % all;
        some = n - done < DFO_PANEL ? n - done : DFO_PANEL;
        some = some < all - at ? some : all - at;
        DFO_TRY(draw(dist, run, key, p, at, some));
        for (size_t i = 0; i < some; i++) {
            double a = dfoi_sigmoid((double)p->out.x[i]);
            p->out.x[i] = (dfo_real)(gz / (double)n * a * (1 - a));
        }
        DFO_TRY(back(dist, run, p, (dfo_batch){0}));
        run->key = key;
    }
    return DFO_OK;
}

static dfo_status log_prob_grad(const dfo_dist *dist, dfo_run *run, dfo_batch x, const dfo_cond *cond, const double *glogp, dfo_batch gx,
                                dfo_cond *gcond)
{
    struct ratio r = present(dist, run);
    dfo_status status = dfo_dist_log_prob_grad(state(dist)->proposal, run, x, NULL, glogp, gx, NULL);
    const dfo_key key = run->key;
    size_t all = draws_of(dist, run);
    struct panel p;
    double gz = 0;
    (void)cond;
    (void)gcond;
    DFO_TRY(take(dist, run, 1, &p));
    for (size_t first = 0; first < x.n && status == DFO_OK; first += p.out.n) {
        size_t n = x.n - first < DFO_PANEL ? x.n - first : DFO_PANEL;
        run->key.row = key.row + first;
        status = judge(dist, run, &p, dfo_batch_rows(x, first, n));
        for (size_t i = 0; i < n && status == DFO_OK; i++) {
            double share[2];
            log_ratio(&r, p.out.x[i], share);
            gz += glogp[first + i] * (share[0] * r.dw + (share[1] > 0 ? share[1] * r.dalpha : 0));
            p.out.x[i] = (dfo_real)(glogp[first + i] * share[0] * (1 - dfoi_sigmoid((double)p.out.x[i])));
        }
        if (status == DFO_OK)
            status = back(dist, run, &p, gx.x ? dfo_batch_rows(gx, first, n) : (dfo_batch){0});
    }
    run->key = key;
    size_t some = run->mode == DFO_TRAIN && x.n < all ? x.n : all;
    return status == DFO_OK && run->grads && some ? through_mean(dist, run, &p, gz, (size_t)(run->key.row % all), some) : status;
}

/* Try after try for a panel of rows, of which those that are still to be accepted take the new ones: the proposal's draw of the
 * temperature, where that of temperature 1 is accepted.  */
static dfo_status sample_panel(const dfo_dist *dist, dfo_run *run, struct panel *p, dfo_batch x, double temperature)
{
    const struct resampled *s = state(dist);
    const dfo_key key = run->key;
    unsigned char done[DFO_PANEL] = {0};
    size_t left = x.n;
    for (size_t t = 0; left; t++) {
        dfo_batch z = dfo_batch_rows(p->z, 0, x.n);
        run->key.seed = key.seed + t * NEXT_TRY;
        dfo_status status = dfo_dist_sample(s->proposal, run, z, NULL, 1);
        if (status == DFO_OK && t + 1 < s->tries)
            status = judge(dist, run, p, z);
        if (status == DFO_OK && temperature != 1)
            status = dfo_dist_sample(s->proposal, run, z, NULL, temperature);
        for (size_t i = 0; i < x.n && status == DFO_OK; i++) {
            dfo_key own = dfoi_base_key(run, i);
            double u;
            own.purpose = DFO_FOR_CHOICE;              /* the proposal may draw anything else of the row's */
            own.seed ^= DRAWS_SEED;
            dfo_draw_uniform(own, 0, 1, &u);
            if (done[i] || (t + 1 < s->tries && u >= dfoi_sigmoid((double)p->out.x[i])))
                continue;
            memcpy(dfo_row(x, i), dfo_row(z, i), x.d * sizeof(dfo_real));
            done[i] = 1;
            left--;
        }
        run->key = key;
        DFO_TRY(status);
    }
    return DFO_OK;
}

static dfo_status sample(const dfo_dist *dist, dfo_run *run, dfo_batch x, const dfo_cond *cond, double temperature)
{
    const dfo_key key = run->key;
    dfo_status status = DFO_OK;
    struct panel p;
    (void)cond;
    DFO_TRY(take(dist, run, 0, &p));
    for (size_t first = 0; first < x.n && status == DFO_OK; first += DFO_PANEL) {
        run->key.row = key.row + first;
        status = sample_panel(dist, run, &p, dfo_batch_rows(x, first, x.n - first < DFO_PANEL ? x.n - first : DFO_PANEL), temperature);
    }
    run->key = key;
    return status;
}

static dfo_status describe(const dfo_dist *dist, json_t *to)
{
    const struct resampled *s = state(dist);
    DFO_TRY(dfoi_dist_describe_head(dist, to, -1));
    DFO_TRY(dfoi_json_set(dist->ctx, to, "proposal", json_object()));
    DFO_TRY(dfo_dist_describe(s->proposal, json_object_get(to, "proposal")));
    DFO_TRY(dfoi_json_set(dist->ctx, to, "net", json_object()));
    DFO_TRY(dfo_net_describe(s->net, json_object_get(to, "net")));
    DFO_TRY(dfoi_json_set(dist->ctx, to, "tries", json_integer((json_int_t)s->tries)));
    DFO_TRY(dfoi_json_set(dist->ctx, to, "draws", json_integer((json_int_t)s->draws)));
    return dfoi_json_set(dist->ctx, to, "train_draws", json_integer((json_int_t)s->train_draws));
}

static void free_state(dfo_dist *dist)
{
    struct resampled *s = dist->state;
    if (s) {
        dfo_net_free(s->net);
        dfo_dist_free(s->proposal);
    }
    dfoi_free(dist->ctx, s);
}

static const struct dfo_dist_ops ops = {
    .type = "resampled",
    .scratch = scratch,
    .derived = derived,
    .prepare = prepare,
    .log_prob = log_prob,
    .log_prob_grad = log_prob_grad,
    .sample = sample,
    .describe = describe,
    .free = free_state,
};

static dfo_status make_proposal(dfo_build *build, json_t *config, struct resampled *s)
{
    json_t *given = json_object_get(config, "proposal"), *proposal = given ? json_incref(given) : json_pack("{s:s}", "type", "normal");
    dfo_build inner;
    char path[256];
    dfo_status status = dfo_build_child(build, "proposal", path, sizeof path, &inner);
    inner.conds = 0;
    if (status == DFO_OK)
        status = proposal ? dfo_dist_new(&inner, proposal, &s->proposal) : dfoi_fail(build->ctx, DFO_EMEM, "out of memory");
    json_decref(proposal);
    DFO_TRY(status);
    if (s->proposal->ops->bound || s->proposal->count || dfo_dist_derived(s->proposal))
        return dfoi_fail(build->ctx, DFO_EUNSUP, "proposal: expected a density in closed form that learns nothing, got %s", s->proposal->ops->type);
    return DFO_OK;
}

dfo_status dfoi_dist_resampled(dfo_build *build, json_t *config, dfo_dist *dist)
{
    static const char *const known[] = {"type", "proposal", "net", "tries", "draws", "train_draws", NULL};
    dfo_ctx *ctx = build->ctx;
    struct resampled *s;
    dfo_shape in = dfo_shape_vector(dist->d);
    dfo_build inner;
    char path[256];
    dist->ops = &ops;
    DFO_TRY(dfoi_alloc(ctx, 1, sizeof *s, &s));
    dist->state = s;
    DFO_TRY(dfoi_json_keys(ctx, config, known));
    DFO_TRY(dfoi_json_size(ctx, config, "tries", 100, 1, 100000, &s->tries));
    DFO_TRY(dfoi_json_size(ctx, config, "draws", 65536, 1, (size_t)1 << 30, &s->draws));
    DFO_TRY(dfoi_json_size(ctx, config, "train_draws", 1024, 1, (size_t)1 << 30, &s->train_draws));
    if (!json_is_object(json_object_get(config, "net")))
        return dfoi_fail(ctx, DFO_EARG, "net: expected an object that describes a net of the rows");
    if (!build->store)
        return dfoi_fail(ctx, DFO_EARG, "net: a net needs a store");
    DFO_TRY(make_proposal(build, config, s));
    DFO_TRY(dfo_build_child(build, "net", path, sizeof path, &inner));
    DFO_TRY(dfo_net_new(&inner, json_object_get(config, "net"), 1, &in, dfo_shape_vector(1), 1, &s->net));
    if (dfo_net_statistics(s->net))
        return dfoi_fail(ctx, DFO_EUNSUP, "net: batch normalisation has no place in a density");
    return DFO_OK;
}
