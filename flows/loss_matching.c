/* Flow matching: the field of a continuous flow fitted without solving it.  With a row mapped by the layers before it to x1,
 * noise x0, a time t and a path x(t) between them, the loss of a row is the mean square of f(x(t), t) - dx/dt; its
 * minimiser's flow takes noise to data (Lipman et al. 2023).  Noise and times are functions of seed, step and row.
 * With "given", every row comes with its noise, which stands behind its condition: the latents of a flow that was fitted before,
 * whose paths are made straight so (reflow: Liu et al. 2023).
 * With windows, a teacher's field takes the path's point at the start of a row's window to the window's end, and the loss is that
 * of the straight line between them: afterwards a step a window makes a sample (PeRFlow: Yan et al. 2024).
 * With label_dropout, so many of training's rows come without their condition, as zeros, so that the net knows both (classifier-free
 * guidance: Ho and Salimans 2021).
 * With transport, the noises of a shard are dealt out to its rows at the least sum of squared distances (Pooladian et al.
 * 2023; Tong et al. 2024).  */
#include <math.h>
#include <string.h>

#include <diffeo/rng.h>
#include "base/ctx_impl.h"
#include "cnf_impl.h"
#include "layer_impl.h"
#include "math/assign_impl.h"
#include "matching_impl.h"

struct matching {
    dfo_flow *flow;
    const dfo_flow *teacher;               /* or NULL */
    dfo_ode  *ode;                         /* over a window, whose time goes from 0 to 1 */
};

static dfo_flow *flow_of(const dfo_loss *loss)
{
    const struct matching *m = loss->state;
    return m->flow;
}

/* ---- the teacher */

/* A field over windows of their own for rows: time 0 is at[i] of the teacher's, time 1 is at[i] + width.  */
struct windows {
    dfo_field field;
    const double *at;
    double width, end;
};

static size_t windows_scratch(const dfo_field *field, size_t rows)
{
    const struct windows *w = field->state;
    return w->field.ops->scratch(&w->field, rows) + dfoi_doubles_size(rows);
}

static dfo_status windows_eval(const dfo_field *field, dfo_run *run, const double *t, dfo_batch x, dfo_batch dx, double *dq)
{
    const struct windows *w = field->state;
    size_t mark = run->arena_used;
    double *time = dfoi_take_doubles(run, x.n);
    dfo_real by = (dfo_real)(w->width * w->end);
    for (size_t i = 0; i < x.n; i++)
        time[i] = w->end * (w->at[i] + w->width * t[i]);
    dfo_status status = w->field.ops->eval(&w->field, run, time, x, dx, dq);
    for (size_t i = 0; i < x.n; i++)
        for (size_t j = 0; j < x.d; j++)
            dfo_row(dx, i)[j] *= by;
    run->arena_used = mark;
    return status;
}

static const struct dfo_field_ops windows_ops = {.type = "windows", .scratch = windows_scratch, .eval = windows_eval};

static dfo_field windows_field(const struct windows *w)
{
    return (dfo_field){.ops = &windows_ops, .state = w, .d = w->field.d, .cond = w->field.cond};
}

static size_t teacher_scratch(const struct matching *m, size_t rows)
{
    size_t at;
    struct dfoi_cnf_solve solve = {.bij = m->teacher ? dfoi_matching_layer(m->teacher, &at) : NULL};
    if (!m->teacher)
        return 0;
    struct windows w = {.field = dfoi_cnf_field(&solve, NULL, NULL)};
    dfo_field field = windows_field(&w);
    return dfo_ode_scratch(m->ode, &field, rows) + dfoi_doubles_size(rows) + dfoi_flow_condition_scratch(m->teacher, rows) +
           dfo_arena_size(rows * m->teacher->cond_d);
}

int dfo_flow_wants_teacher(const dfo_flow *flow)
{
    return flow && flow->matching.windows > 0;
}

dfo_status dfo_loss_flow_teach(dfo_loss *loss, const dfo_flow *teacher)
{
    struct matching *m = loss->state;
    dfo_ode_options o;
    size_t at;
    if (strcmp(loss->ops->type, "matching") || !m->flow->matching.windows)
        return dfoi_fail(loss->ctx, DFO_EUNSUP, "a teacher goes with windows, as in the preset perflow");
    if (!dfoi_matching_layer(teacher, &at) || teacher->d != m->flow->d || teacher->cond_d != m->flow->cond_d)
        return dfoi_fail(loss->ctx, DFO_ESHAPE, "expected a teacher that ends in a cnf layer, for rows of %zu numbers and %zu of context",
                         m->flow->d, m->flow->cond_d);
    dfo_ode_defaults(&o);
    o.method = "rk4";
    o.steps = m->flow->matching.teacher_steps;
    o.together = 1;
    dfo_ode_free(m->ode);
    DFO_TRY(dfo_ode_new(loss->ctx, &o, &m->ode));
    m->teacher = teacher;
    return DFO_OK;
}

static const dfo_bijector *layer_of(const dfo_loss *loss)
{
    size_t derived;
    return dfoi_matching_layer(flow_of(loss), &derived);
}

static dfo_need need(const dfo_loss *loss, size_t rows, const dfo_run *how, int train)
{
    const dfo_flow *flow = flow_of(loss);
    const dfo_bijector *layer = layer_of(loss);
    dfo_need n = dfoi_flow_need(flow, rows, how, 0);
    size_t pairs = flow->matching.transport ? dfoi_doubles_size(rows * rows) + dfoi_doubles_size(dfoi_assign_room(rows)) +
                                                   dfoi_doubles_size(rows) : 0;
    size_t own = 4 * dfo_arena_size(rows * flow->d) + dfo_arena_size(rows * flow->cond_d) + 6 * dfoi_doubles_size(rows) + pairs + dfoi_cnf_regress_scratch(layer, rows);
    if (flow->matching.windows)
        own += dfo_arena_size(rows * flow->d) + dfoi_doubles_size(rows) + teacher_scratch(loss->state, rows);
    n.scratch = (n.scratch > own ? n.scratch : own) + dfoi_flow_condition_scratch(flow, rows);
    if (train)
        n.range = layer->count > n.range ? layer->count : n.range;
    return n;
}

static dfo_status prepare(const dfo_loss *loss, dfo_run *run, dfo_real *derived)
{
    return dfoi_flow_prepare(flow_of(loss), run, derived);
}

/* Rows through the layers before the continuous one, as they are.  */
static dfo_status to_field(const dfo_flow *flow, dfo_run *run, dfo_batch x, const dfo_cond *cond)
{
    dfo_real *derived = run->derived, *saved = run->saved;
    size_t n = dfoi_chain_count(flow->bij), at;
    dfo_status status = DFO_OK;
    run->saved = NULL;
    for (size_t i = 0; i + 1 < n && status == DFO_OK; i++) {
        const dfo_bijector *layer = dfoi_chain_layer(flow->bij, i, &at);
        run->derived = derived ? derived + at : NULL;
        status = dfo_bijector_forward(layer, run, x, cond, NULL);
    }
    run->derived = derived;
    run->saved = saved;
    return status;
}

static dfo_key key_of(const dfo_run *run, size_t i, dfo_purpose purpose)
{
    dfo_key key = {.seed = run->key.seed, .row = run->key.row + i, .purpose = (uint32_t)purpose};
    key.step = run->mode == DFO_TRAIN ? run->key.step : 0;
    return key;
}

/* The noise of every row: its own, or that which the assignment gives it.  */
static void pair(const dfo_flow *flow, dfo_run *run, dfo_batch x1, dfo_batch x0)
{
    size_t n = x1.n, d = x1.d;
    if (!flow->matching.transport)
        return;
    double *cost = dfoi_take_doubles(run, n * n), *room = dfoi_take_doubles(run, dfoi_assign_room(n));
    size_t *to = (size_t *)(void *)dfoi_take_doubles(run, n);
    dfo_batch old = dfo_batch_of(dfo_arena_take(run, n * d), n, d);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++) {
            double sum = 0;
            for (size_t k = 0; k < d; k++) {
                double by = (double)dfo_row(x1, i)[k] - (double)dfo_row(x0, j)[k];
                sum += by * by;
            }
            cost[i * n + j] = sum;
        }
    dfoi_assign(n, cost, room, to);
    memcpy(old.x, x0.x, n * d * sizeof *x0.x);
    for (size_t i = 0; i < n; i++)
        memcpy(dfo_row(x0, i), dfo_row(old, to[i]), d * sizeof *x0.x);
}

/* A minibatch's condition without the noise behind it.  */
static dfo_cond condition(const dfo_flow *flow, const dfo_minibatch *b)
{
    dfo_cond cond = b->cond;
    if (!flow->matching.given)
        return cond;
    cond.n = flow->cond_d > 0;
    cond.part[0].rows.d = flow->cond_d;
    cond.part[0].shape = dfo_shape_vector(flow->cond_d);
    return cond;
}

/* The condition of rows without those that training leaves out.  */
static void drop_labels(const dfo_flow *flow, dfo_run *run, dfo_cond *cond)
{
    double out = run->mode == DFO_TRAIN ? flow->matching.label_dropout : 0, u;
    for (size_t p = 0; p < cond->n && out > 0; p++) {
        dfo_batch from = cond->part[p].rows, to = dfo_batch_of(dfo_arena_take(run, from.n * from.d), from.n, from.d);
        for (size_t i = 0; i < from.n; i++) {
            dfo_draw_uniform(key_of(run, i, DFO_FOR_LABELS), 0, 1, &u);
            for (size_t j = 0; j < from.d; j++)
                dfo_row(to, i)[j] = u < out ? 0 : dfo_row(from, i)[j];
        }
        cond->part[p].rows = to;
    }
}

static dfo_status noise(const dfo_flow *flow, dfo_run *run, const dfo_minibatch *b, dfo_batch x0)
{
    const dfo_batch *given = &b->cond.part[0].rows;
    if (flow->matching.given && (!b->cond.n || given->d != flow->cond_d + flow->d))
        return dfo_run_fail(run, DFO_ESHAPE, (size_t)-1, "pairing: given wants the noise of every row, %zu numbers", flow->d);
    if (!flow->matching.given)
        dfo_draw_real_normals(key_of(run, 0, DFO_FOR_NOISE), x0.n, flow->d, x0.x, x0.ld);
    for (size_t i = 0; flow->matching.given && i < x0.n; i++)
        memcpy(dfo_row(x0, i), dfo_row(*given, i) + flow->cond_d, flow->d * sizeof *x0.x);
    return DFO_OK;
}

/* Paths' points and speeds at times t; the data x1 become the points.  */
static void walk(const dfo_flow *flow, dfo_run *run, const double *t, dfo_batch x0, dfo_batch x1, dfo_batch u)
{
    dfo_real *e = dfo_arena_take(run, x1.d);
    memset(e, 0, x1.d * sizeof *e);
    for (size_t i = 0; i < x1.n; i++) {
        if (flow->matching.sigma > 0)
            dfo_draw_real_normal(key_of(run, i, DFO_FOR_PAIRING), x1.d, e);
        dfoi_matching_path(&flow->matching, t[i], x1.d, dfo_row(x0, i), dfo_row(x1, i), e, dfo_row(x1, i), dfo_row(u, i));
    }
}

/* x (n,d) at times at[i] to times at[i] + 1/windows, by the teacher, who sees the condition (as it is given) in its own way.  */
static dfo_status teach(const struct matching *m, dfo_run *run, const double *at, dfo_batch x, const dfo_cond *given)
{
    size_t place;
    const dfo_real *weights = run->weights, *buffers = run->buffers;
    run->weights = dfo_store_weights(m->teacher->store);
    run->buffers = dfo_store_buffers(m->teacher->store);
    dfo_cond cond = dfoi_flow_condition(m->teacher, run, given);
    drop_labels(m->flow, run, &cond);
    struct dfoi_cnf_solve solve = {.bij = dfoi_matching_layer(m->teacher, &place), .n = x.n, .back = 1};
    struct windows w = {.field = dfoi_cnf_field(&solve, m->teacher->cond_d ? &cond : NULL, NULL), .at = at,
                        .width = 1 / (double)m->flow->matching.windows, .end = dfoi_cnf_end(solve.bij)};
    dfo_field field = windows_field(&w);
    dfo_status status = dfoi_flow_condition_check(m->teacher, run);
    if (status == DFO_OK)
        status = dfo_ode_solve(m->ode, &field, run, 0, 1, x, NULL, NULL, NULL);
    run->weights = weights;
    run->buffers = buffers;
    return status;
}

/* The same inside the windows that the times lie in, along the teacher's ways through them.  Of a window's times those in its first
 * half become its start, the others go over all of it: Euler's steps ask for the starts, where a net that is smooth in time
 * otherwise gives what is halfway between two windows.  */
static dfo_status walk_windows(const struct matching *m, dfo_run *run, double *t, dfo_batch x0, dfo_batch x1, dfo_batch u, const dfo_cond *given)
{
    double windows = (double)m->flow->matching.windows, *start = dfoi_take_doubles(run, x1.n);
    dfo_batch end = dfo_batch_of(dfo_arena_take(run, x1.n * x1.d), x1.n, x1.d);
    if (!m->teacher)
        return dfo_run_fail(run, DFO_EUNSUP, (size_t)-1, "windows want a teacher, a flow that was fitted before");
    for (size_t i = 0; i < x1.n; i++)
        start[i] = floor(t[i] * windows) / windows;
    for (size_t i = 0; i < x1.n; i++)
        t[i] = start[i] + fmax(0, 2 * (t[i] - start[i]) - 1 / windows);
    walk(m->flow, run, start, x0, x1, u);
    for (size_t i = 0; i < x1.n; i++)
        memcpy(dfo_row(end, i), dfo_row(x1, i), x1.d * sizeof *end.x);
    DFO_TRY(teach(m, run, start, end, given));
    for (size_t i = 0; i < x1.n; i++)
        dfoi_matching_window(start[i], start[i] + 1 / windows, t[i], x1.d, dfo_row(x1, i), dfo_row(end, i), dfo_row(x1, i), dfo_row(u, i));
    return DFO_OK;
}

/* The loss of a diffusion layer's net: weighted squared errors of what it should say of noised data (denoising score matching: Ho et
 * al. 2020, Song et al. 2021).  */
static dfo_status denoise(const dfo_flow *flow, dfo_run *run, dfo_batch x, dfo_batch e, dfo_batch want, const dfo_cond *cond, const double *by,
                          double *loss)
{
    size_t at;
    const dfo_bijector *layer = dfoi_matching_layer(flow, &at);
    const dfoi_diffusion *d = dfoi_cnf_diffusion(layer);
    dfo_real *derived = run->derived;
    double *t = dfoi_take_doubles(run, x.n), *weight = dfoi_take_doubles(run, x.n), *scaled = by ? dfoi_take_doubles(run, x.n) : NULL;
    for (size_t i = 0; i < x.n; i++) {
        t[i] = dfoi_diffusion_draw(d, key_of(run, i, DFO_FOR_TIME));
        dfoi_diffusion_point p = dfoi_diffusion_at(d, t[i]);
        dfoi_diffusion_target(d, &p, x.d, dfo_row(x, i), dfo_row(e, i), dfo_row(x, i), dfo_row(want, i));
        weight[i] = dfoi_diffusion_weight(d, &p);
        if (by)
            scaled[i] = by[i] * weight[i];
    }
    run->derived = derived ? derived + at : NULL;
    dfo_status status = dfoi_cnf_regress(layer, run, t, x, cond, want, scaled, loss);
    run->derived = derived;
    for (size_t i = 0; i < x.n && status == DFO_OK; i++)
        loss[i] *= weight[i];
    return status;
}

/* The rows' losses, and gradients of sum by[i] loss[i] if wanted.  */
static dfo_status regress(const struct matching *m, dfo_run *run, dfo_minibatch shard, const double *by, double *loss)
{
    const dfo_flow *flow = m->flow;
    size_t n = shard.x.n, d = flow->d, at;
    const dfo_bijector *layer = dfoi_matching_layer(flow, &at);
    dfo_cond given = condition(flow, &shard), own = dfoi_flow_condition(flow, run, &given), *cond = flow->cond_d ? &own : NULL;
    dfo_real *derived = run->derived;
    DFO_TRY(to_field(flow, run, shard.x, cond));
    drop_labels(flow, run, &own);
    dfo_batch x0 = dfo_batch_of(dfo_arena_take(run, n * d), n, d), u = dfo_batch_of(dfo_arena_take(run, n * d), n, d);
    double *t = dfoi_take_doubles(run, n);
    DFO_TRY(noise(flow, run, &shard, x0));
    pair(flow, run, shard.x, x0);
    if (flow->matching.denoising)
        return denoise(flow, run, shard.x, x0, u, cond, by, loss);
    for (size_t i = 0; i < n; i++)
        dfo_draw_uniform(key_of(run, i, DFO_FOR_TIME), 0, 1, t + i);
    if (flow->matching.windows)
        DFO_TRY(walk_windows(m, run, t, x0, shard.x, u, &given));
    else
        walk(flow, run, t, x0, shard.x, u);
    run->derived = derived ? derived + at : NULL;
    dfo_status status = dfoi_cnf_regress(layer, run, t, shard.x, cond, u, by, loss);
    run->derived = derived;
    return status;
}

static dfo_status grad(const dfo_loss *loss, dfo_run *run, dfo_minibatch shard, double scale, double *sum)
{
    const dfo_bijector *layer = layer_of(loss);
    size_t n = shard.x.n;
    double *out = dfoi_take_doubles(run, n), *by = dfoi_take_doubles(run, n);
    for (size_t i = 0; i < n; i++)
        by[i] = scale * (shard.weight ? shard.weight[i] : 1.0);
    dfo_run_grads_begin(run, layer->first, layer->count, 0, 0);
    dfo_status status = regress(loss->state, run, shard, by, out);
    dfo_run_grads_done(run, layer->first, layer->count, 0, 0);
    for (size_t i = 0; i < n && status == DFO_OK; i++)
        *sum += out[i] * (shard.weight ? shard.weight[i] : 1.0);
    return status;
}

static dfo_status eval(const dfo_loss *loss, dfo_run *run, dfo_minibatch shard, double *out)
{
    dfo_real *grads = run->grads;
    run->grads = NULL;
    dfo_status status = regress(loss->state, run, shard, NULL, out);
    run->grads = grads;
    return status;
}

/* The layers before the continuous one, which is not solved: nothing behind it looks at rows.  */
static dfo_status init(dfo_loss *loss, dfo_run *run, dfo_minibatch batch)
{
    dfo_flow *flow = flow_of(loss);
    dfo_cond given = condition(flow, &batch), own = dfoi_flow_condition(flow, run, &given), *cond = flow->cond_d ? &own : NULL;
    dfo_real *derived = run->derived;
    size_t n = dfoi_chain_count(flow->bij), at;
    dfo_status status = DFO_OK;
    for (size_t i = 0; i + 1 < n && status == DFO_OK; i++) {
        dfo_bijector *layer = (dfo_bijector *)dfoi_chain_layer(flow->bij, i, &at);
        run->derived = derived ? derived + at : NULL;
        status = dfo_bijector_init(layer, run, batch.x, cond);
        if (status == DFO_OK)
            status = dfo_bijector_prepare(layer, run, run->derived);
        if (status == DFO_OK)
            status = dfo_bijector_forward(layer, run, batch.x, cond, NULL);
    }
    run->derived = derived;
    return status;
}

static void matching_free(dfo_loss *loss)
{
    struct matching *m = loss->state;
    dfo_ode_free(m->ode);
    dfoi_free(loss->ctx, m);
}

static const struct dfo_loss_ops ops = {
    .type = "matching",
    .need = need,
    .prepare = prepare,
    .grad = grad,
    .eval = eval,
    .init = init,
    .free = matching_free,
};

static dfo_status matching_new(dfo_flow *flow, dfo_loss **out)
{
    struct matching *m;
    DFO_TRY(dfoi_alloc(flow->ctx, 1, sizeof **out, out));
    (*out)->ops = &ops;
    (*out)->ctx = flow->ctx;
    (*out)->store = flow->store;
    dfo_status status = dfoi_alloc(flow->ctx, 1, sizeof *m, &m);
    if (status != DFO_OK) {
        dfoi_free(flow->ctx, *out);
        *out = NULL;
        return status;
    }
    m->flow = flow;
    (*out)->state = m;
    return DFO_OK;
}

dfo_status dfo_loss_flow_new(dfo_flow *flow, dfo_loss **out)
{
    return flow->matching.on ? matching_new(flow, out) : dfo_loss_nll_new(flow, out);
}
