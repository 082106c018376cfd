/* The field of a continuous flow: a net of rows, condition and time, its trace by passes with tangents, and the gradients of
 * both; and the same field fitted to velocities.  Rows go through the net some at a time.  */
#include <string.h>

#include "cnf_call_impl.h"

static const struct dfoi_cnf *state(const dfo_bijector *bij)
{
    return bij->state;
}

static const struct dfoi_cnf_solve *flow_of(const dfo_field *field)
{
    return field->state;
}

/* Rows that the net takes at a time.  */
static size_t chunk(size_t rows)
{
    return rows < DFO_NET_ROWS ? rows : DFO_NET_ROWS;
}

/* Is the acceleration's cost of a derivative above the second?  */
static int higher(const struct dfoi_cnf *c)
{
    return c->order > 2 && c->cost[DFOI_CNF_ACCELERATION] > 0;
}

static size_t path_scratch(const struct dfoi_cnf *c, size_t n)
{
    return higher(c) ? dfo_arena_size(dfo_net_path_kept(c->net, n, c->order)) + dfo_net_path_scratch(c->net, c->order) : 0;
}

static size_t field_scratch(const dfo_field *field, size_t rows)
{
    const dfo_bijector *bij = flow_of(field)->bij;
    size_t n = chunk(rows);
    const dfo_net *net = state(bij)->net;
    return dfo_arena_size(dfo_net_trace_size(net)) + 2 * dfo_arena_size(n) + dfoi_doubles_size(n) + 2 * dfo_arena_size(n * bij->d) +
           2 * dfo_arena_size(dfoi_block_size(net->ops->layout, n, bij->d)) + dfo_arena_size(2 * dfo_net_acts(net, n)) + dfo_net_scratch(net, n) +
           path_scratch(state(bij), n);
}

static struct dfoi_cnf_call call_of(const dfo_field *field, dfo_run *run, const double *t, dfo_batch x, size_t first, size_t n)
{
    const dfo_bijector *bij = flow_of(field)->bij;
    const dfo_net *net = state(bij)->net;
    struct dfoi_cnf_call c = {.net = net, .first = first, .n = n, .d = bij->d, .nq = field->nq};
    dfo_real *time = dfo_arena_take(run, n);
    c.ones = dfo_arena_take(run, n);
    c.trace = dfoi_take_doubles(run, n);
    c.tangent = dfo_batch_of(dfo_arena_take(run, n * bij->d), n, bij->d);
    c.pulled = dfo_batch_of(dfo_arena_take(run, n * bij->d), n, bij->d);
    c.out = dfoi_block_take(run, net->ops->layout, n, bij->d);
    c.dout = dfoi_block_take(run, net->ops->layout, n, bij->d);
    c.acts = dfo_arena_take(run, 2 * dfo_net_acts(net, n));
    c.order = state(bij)->order;
    if (higher(state(bij)))
        c.path = dfo_arena_take(run, dfo_net_path_kept(net, n, c.order));
    for (size_t i = 0; i < n; i++) {
        time[i] = (dfo_real)t[first + i];
        c.ones[i] = 1;
    }
    dfo_cond cond = dfo_cond_rows(field->cond, first, n);
    c.in.part[c.in.n].rows = dfo_batch_rows(x, first, n);
    c.in.part[c.in.n++].shape = bij->shape;
    for (size_t p = 0; p < cond.n; p++)
        c.in.part[c.in.n++] = cond.part[p];
    c.in.part[c.in.n].rows = dfo_batch_of(time, n, 1);
    c.in.part[c.in.n++].shape = dfo_shape_vector(1);
    c.din.n = c.gin.n = c.in.n;
    if (flow_of(field)->gtime)
        c.gin.part[c.in.n - 1].rows = dfo_batch_of(flow_of(field)->gtime + first, n, 1);
    c.din.part[0].rows = c.tangent;
    return c;
}

void dfoi_cnf_direct(const struct dfoi_cnf_solve *f, const struct dfoi_cnf_call *c, size_t j)
{
    size_t d = c->d;
    for (size_t i = 0; i < c->n; i++) {
        dfo_real *to = dfo_row(c->tangent, i);
        if (f->probe) {
            memcpy(to, f->probe + (j * f->n + c->first + i) * d, d * sizeof *to);
        } else {
            memset(to, 0, d * sizeof *to);
            to[j] = 1;
        }
    }
}

/* Adds e^T J e of every row, over the number of probes.  */
static void add_trace(const struct dfoi_cnf_solve *f, const struct dfoi_cnf_call *c, size_t j, double *dq)
{
    for (size_t i = 0; i < c->n; i++) {
        double sum = 0;
        for (size_t e = 0; f->probe && e < c->d; e++)
            sum += (double)dfo_row(c->tangent, i)[e] * (double)*dfoi_cnf_spot(c->dout, i, e);
        dq[(c->first + i) * c->nq] += f->probe ? sum / (double)dfoi_cnf_passes(f) : (double)*dfoi_cnf_spot(c->dout, i, j);
        if (f->each)
            dq[(c->first + i) * c->nq + 1 + j] = sum;
    }
}

/* kept: what the trace in closed form has found for the time, or NULL.  */
static dfo_status eval_chunk(const dfo_field *field, dfo_run *run, struct dfoi_cnf_call *c, const dfo_real *kept, dfo_batch dx, double *dq)
{
    const struct dfoi_cnf_solve *f = flow_of(field);
    dfo_batch to = dfo_batch_rows(dx, c->first, c->n);
    if (!dq) {
        DFO_TRY(dfo_net_forward(c->net, run, &c->in, c->out, NULL));
        dfoi_block_to_rows(c->out, to);
        return DFO_OK;
    }
    memset(dq + c->first * c->nq, 0, c->n * c->nq * sizeof *dq);
    if (kept) {
        DFO_TRY(dfo_net_trace(c->net, run, &c->in, kept, c->out, c->trace));
        for (size_t i = 0; i < c->n; i++)
            dq[(c->first + i) * c->nq] = c->trace[i];
        dfoi_block_to_rows(c->out, to);
        return dfoi_cnf_eval_costs(f, run, c, to, dq);
    }
    if (f->wanted[DFOI_CNF_JACOBIAN]) {
        DFO_TRY(dfoi_cnf_eval_pulls(f, run, c, to, dq));
        return dfoi_cnf_eval_costs(f, run, c, to, dq);
    }
    for (size_t j = 0; j < dfoi_cnf_passes(f); j++) {
        dfoi_cnf_direct(f, c, j);
        DFO_TRY(dfo_net_jvp(c->net, run, &c->in, &c->din, c->out, c->dout, NULL));
        if (!j)
            dfoi_block_to_rows(c->out, to);
        add_trace(f, c, j, dq);
    }
    return dfoi_cnf_eval_costs(f, run, c, to, dq);
}

static dfo_status eval(const dfo_field *field, dfo_run *run, const double *t, dfo_batch x, dfo_batch dx, double *dq)
{
    const struct dfoi_cnf_solve *f = flow_of(field);
    const dfo_net *net = state(f->bij)->net;
    run->evaluations += !f->back;
    size_t start = run->arena_used;
    dfo_real *kept = NULL;
    dfo_status status = DFO_OK;
    if (dq && x.n && f->shared && !f->probe && !f->wanted[DFOI_CNF_JACOBIAN] && dfo_net_trace_size(net)) {
        kept = dfo_arena_take(run, dfo_net_trace_size(net));
        status = dfo_net_trace_begin(net, run, (dfo_real)t[0], kept);
    }
    size_t mark = run->arena_used;
    for (size_t first = 0, n; first < x.n && status == DFO_OK; first += n) {
        n = chunk(x.n - first);
        struct dfoi_cnf_call c = call_of(field, run, t, x, first, n);
        status = eval_chunk(field, run, &c, kept, dx, dq);
        run->arena_used = mark;
    }
    run->arena_used = start;
    return status;
}

void dfoi_cnf_seed_field(const struct dfoi_cnf_solve *f, struct dfoi_cnf_call *c, size_t j, dfo_batch gdx, const double *gdq)
{
    dfo_batch g = dfo_batch_rows(gdx, c->first, c->n);
    if (j) {
        memset(c->out.x, 0, dfoi_block_size(c->out.layout, c->n, c->d) * sizeof *c->out.x);
        return;
    }
    for (size_t i = 0; i < c->n && f->wanted[DFOI_CNF_KINETIC]; i++) {
        dfo_real by = (dfo_real)(2 * gdq[(c->first + i) * c->nq + 1 + DFOI_CNF_KINETIC]);
        for (size_t e = 0; e < c->d; e++)
            dfo_row(g, i)[e] += by * *dfoi_cnf_spot(c->out, i, e);
    }
    dfoi_block_from_rows(g, c->out);
}

/* The gradient of gdq times the trace in `dout`.  */
static void seed_trace(const struct dfoi_cnf_solve *f, struct dfoi_cnf_call *c, size_t j, const double *gdq)
{
    memset(c->dout.x, 0, dfoi_block_size(c->out.layout, c->n, c->d) * sizeof *c->dout.x);
    for (size_t i = 0; i < c->n; i++) {
        double g = gdq[(c->first + i) * c->nq];
        if (!f->probe)
            *dfoi_cnf_spot(c->dout, i, j) = (dfo_real)g;
        for (size_t e = 0; f->probe && e < c->d; e++)
            *dfoi_cnf_spot(c->dout, i, e) = (dfo_real)(g / (double)dfoi_cnf_passes(f) * (double)dfo_row(c->tangent, i)[e]);
    }
}

static dfo_status vjp_chunk(const dfo_field *field, dfo_run *run, struct dfoi_cnf_call *c, dfo_batch gdx, const double *gdq, dfo_batch gx)
{
    const struct dfoi_cnf_solve *f = flow_of(field);
    dfo_cond gcond = dfo_cond_rows(field->gcond, c->first, c->n);
    c->gin.part[0].rows = dfo_batch_rows(gx, c->first, c->n);
    for (size_t p = 0; p < gcond.n; p++)
        c->gin.part[p + 1] = gcond.part[p];
    if (!gdq) {
        DFO_TRY(dfo_net_forward(c->net, run, &c->in, c->out, c->acts));
        dfoi_block_from_rows(dfo_batch_rows(gdx, c->first, c->n), c->out);
        return dfo_net_backward(c->net, run, &c->in, c->out, &c->gin, c->acts);
    }
    if (f->wanted[DFOI_CNF_ACCELERATION])
        DFO_TRY(dfoi_cnf_vjp_acceleration(run, c, gdx, gdq));
    if (f->wanted[DFOI_CNF_JACOBIAN])
        return dfoi_cnf_vjp_pulls(f, run, c, gdx, gdq);
    for (size_t j = 0; j < dfoi_cnf_passes(f); j++) {
        dfoi_cnf_direct(f, c, j);
        DFO_TRY(dfo_net_jvp(c->net, run, &c->in, &c->din, c->out, c->dout, c->acts));
        dfoi_cnf_seed_field(f, c, j, gdx, gdq);
        seed_trace(f, c, j, gdq);
        DFO_TRY(dfo_net_jvp_backward(c->net, run, &c->in, &c->din, c->out, c->dout, &c->gin, NULL, c->acts));
    }
    return DFO_OK;
}

static dfo_status vjp(const dfo_field *field, dfo_run *run, const double *t, dfo_batch x, dfo_batch gdx, const double *gdq, dfo_batch gx)
{
    size_t mark = run->arena_used;
    dfo_status status = DFO_OK;
    for (size_t first = 0, n; first < x.n && status == DFO_OK; first += n) {
        n = chunk(x.n - first);
        struct dfoi_cnf_call c = call_of(field, run, t, x, first, n);
        status = vjp_chunk(field, run, &c, gdx, gdq, gx);
        run->arena_used = mark;
    }
    return status;
}

const struct dfo_field_ops dfoi_cnf_field_ops = {.type = "cnf", .scratch = field_scratch, .eval = eval, .vjp = vjp};

dfo_field dfoi_cnf_field(const struct dfoi_cnf_solve *f, const dfo_cond *cond, dfo_cond *gcond)
{
    size_t costs = f->each ? state(f->bij)->probes : 0;
    for (size_t k = 0; k < DFOI_CNF_COSTS; k++)
        costs = f->wanted[k] ? DFOI_CNF_COSTS : costs;
    const struct dfo_field_ops *ops = state(f->bij)->learn_end ? &dfoi_cnf_end_ops : dfoi_cnf_own_ops(state(f->bij));
    if (state(f->bij)->diffusion.on)
        ops = &dfoi_cnf_diffusion_ops;
    return (dfo_field){.ops = ops, .state = f, .d = f->bij->d, .nq = 1 + costs, .cond = cond, .gcond = gcond};
}

/* ---- directions */

size_t dfoi_cnf_push_scratch(const dfo_bijector *bij, size_t rows)
{
    struct dfoi_cnf_solve f = {.bij = bij};
    dfo_field field = dfoi_cnf_field(&f, NULL, NULL);
    return field_scratch(&field, rows) + dfoi_doubles_size(rows);
}

dfo_status dfoi_cnf_push(const dfo_bijector *bij, dfo_run *run, double t, dfo_batch x, const dfo_cond *cond, dfo_real *e)
{
    struct dfoi_cnf_solve f = {.bij = bij, .n = x.n};
    dfo_field field = dfoi_cnf_field(&f, cond, NULL);
    size_t start = run->arena_used, d = bij->d;
    double *time = dfoi_take_doubles(run, x.n);
    size_t mark = run->arena_used;
    for (size_t i = 0; i < x.n; i++)
        time[i] = state(bij)->learn_end ? dfoi_cnf_factor(state(bij), run) * t : t;
    for (size_t first = 0, n; first < x.n; first += n) {
        n = chunk(x.n - first);
        struct dfoi_cnf_call c = call_of(&field, run, time, x, first, n);
        memcpy(c.tangent.x, e + first * d, n * d * sizeof *e);
        DFO_TRY(dfo_net_jvp(c.net, run, &c.in, &c.din, c.out, c.dout, NULL));
        dfoi_block_to_rows(c.dout, dfo_batch_of(e + first * d, n, d));
        run->arena_used = mark;
    }
    run->arena_used = start;
    return DFO_OK;
}

/* ---- the net alone */

size_t dfoi_cnf_net_scratch(const dfo_bijector *bij, size_t rows)
{
    struct dfoi_cnf_solve f = {.bij = bij};
    dfo_field field = dfoi_cnf_field(&f, NULL, NULL);
    return dfoi_cnf_own_ops(state(bij))->scratch(&field, rows);
}

dfo_layout dfoi_cnf_net_layout(const dfo_bijector *bij)
{
    return state(bij)->net->ops->layout;
}

dfo_status dfoi_cnf_net(const struct dfoi_cnf_solve *of, dfo_run *run, const double *t, dfo_batch y, const dfo_cond *cond, dfo_batch out)
{
    struct dfoi_cnf_solve f = {.bij = of->bij, .n = y.n, .guidance = of->guidance};
    dfo_field field = dfoi_cnf_field(&f, cond, NULL);
    return dfoi_cnf_own_ops(state(of->bij))->eval(&field, run, t, y, out, NULL);
}

/* ---- flow matching */

size_t dfoi_cnf_regress_scratch(const dfo_bijector *bij, size_t rows)
{
    struct dfoi_cnf_solve f = {.bij = bij};
    dfo_field field = dfoi_cnf_field(&f, NULL, NULL);
    return field_scratch(&field, rows) + dfoi_doubles_size(rows) + dfo_arena_size(rows);
}

/* The net's output in c->out becomes the gradient of sum by loss with respect to it; gend gets the end's.  */
static void residuals(dfo_real end, struct dfoi_cnf_call *c, dfo_batch u, const double *by, double *loss, double *gend)
{
    dfoi_block_to_rows(c->out, c->tangent);
    for (size_t i = 0; i < c->n; i++) {
        dfo_real *v = dfo_row(c->tangent, i);
        const dfo_real *want = dfo_row(u, c->first + i);
        double sum = 0;
        for (size_t e = 0; e < c->d; e++) {
            dfo_real off = end * v[e] - want[e], g = by ? (dfo_real)(2 * by[c->first + i] / (double)c->d) * off : 0;
            sum += (double)off * (double)off;
            *gend += (double)g * (double)v[e];
            v[e] = g * end;
        }
        loss[c->first + i] = sum / (double)c->d;
    }
    dfoi_block_from_rows(c->tangent, c->out);
}

dfo_status dfoi_cnf_regress(const dfo_bijector *bij, dfo_run *run, const double *t, dfo_batch x, const dfo_cond *cond, dfo_batch u,
                            const double *by, double *loss)
{
    const struct dfoi_cnf *s = state(bij);
    struct dfoi_cnf_solve f = {.bij = bij, .n = x.n};
    dfo_field field = dfoi_cnf_field(&f, cond, NULL);
    double *time = dfoi_take_doubles(run, x.n), end = dfoi_cnf_factor(s, run), gend = 0;
    f.gtime = dfo_arena_take(run, x.n);
    size_t mark = run->arena_used;
    memset(f.gtime, 0, x.n * sizeof *f.gtime);
    for (size_t i = 0; i < x.n; i++)
        time[i] = s->diffusion.on ? dfoi_diffusion_at(&s->diffusion, t[i]).net_time : end * t[i];
    for (size_t first = 0, n; first < x.n; first += n) {
        n = chunk(x.n - first);
        struct dfoi_cnf_call c = call_of(&field, run, time, x, first, n);
        DFO_TRY(dfo_net_forward(s->net, run, &c.in, c.out, c.acts));
        residuals((dfo_real)end, &c, u, by, loss, &gend);
        if (run->grads)
            DFO_TRY(dfo_net_backward(s->net, run, &c.in, c.out, s->learn_end ? &c.gin : NULL, c.acts));
        run->arena_used = mark;
    }
    for (size_t i = 0; i < x.n; i++)
        gend += t[i] * (double)f.gtime[i];
    dfoi_cnf_add_end(s, run, gend);
    return DFO_OK;
}
