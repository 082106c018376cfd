/* The field of a continuous flow: a net of rows, condition and time, its trace by passes with tangents, and the gradients of
 * both, anew or from activations that were kept.  Rows go through the net some at a time.  */
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

size_t dfoi_cnf_chunk(size_t rows)
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

size_t dfoi_cnf_field_scratch(const dfo_field *field, size_t rows)
{
    const dfo_bijector *bij = flow_of(field)->bij;
    size_t n = dfoi_cnf_chunk(rows);
    const dfo_net *net = state(bij)->net;
    return dfo_arena_size(dfo_net_trace_size(net)) + 2 * dfo_arena_size(n) + dfoi_doubles_size(n) + 2 * dfo_arena_size(n * bij->d) +
           2 * dfo_arena_size(dfoi_block_size(net->ops->layout, n, bij->d)) + dfo_arena_size(2 * dfo_net_acts(net, n)) + dfo_net_scratch(net, n) +
           path_scratch(state(bij), n);
}

struct dfoi_cnf_call dfoi_cnf_call_of(const dfo_field *field, dfo_run *run, const double *t, dfo_batch x, size_t first, size_t n)
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
    if (dq && x.n && (f->shared || net->ops->trace_alone) && !f->probe && !f->wanted[DFOI_CNF_JACOBIAN] && dfo_net_trace_size(net)) {
        kept = dfo_arena_take(run, dfo_net_trace_size(net));
        status = dfo_net_trace_begin(net, run, (dfo_real)t[0], kept);
    }
    size_t mark = run->arena_used;
    for (size_t first = 0, n; first < x.n && status == DFO_OK; first += n) {
        n = dfoi_cnf_chunk(x.n - first);
        struct dfoi_cnf_call c = dfoi_cnf_call_of(field, run, t, x, first, n);
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

/* Where gradients of the rows and of the condition go.  */
static void set_inputs(const dfo_field *field, struct dfoi_cnf_call *c, dfo_batch gx)
{
    dfo_cond gcond = dfo_cond_rows(field->gcond, c->first, c->n);
    c->gin.part[0].rows = dfo_batch_rows(gx, c->first, c->n);
    for (size_t p = 0; p < gcond.n; p++)
        c->gin.part[p + 1] = gcond.part[p];
}

/* With the net's activations: without the trace; with pass j of it, whose direction is set and whose output is in `out`.  */
static dfo_status back_alone(dfo_run *run, struct dfoi_cnf_call *c, dfo_batch gdx)
{
    dfoi_block_from_rows(dfo_batch_rows(gdx, c->first, c->n), c->out);
    return dfo_net_backward(c->net, run, &c->in, c->out, &c->gin, c->acts);
}

static dfo_status back_pass(const struct dfoi_cnf_solve *f, dfo_run *run, struct dfoi_cnf_call *c, size_t j, dfo_batch gdx, const double *gdq)
{
    dfoi_cnf_seed_field(f, c, j, gdx, gdq);
    seed_trace(f, c, j, gdq);
    return dfo_net_jvp_backward(c->net, run, &c->in, &c->din, c->out, c->dout, &c->gin, NULL, c->acts);
}

static dfo_status vjp_chunk(const dfo_field *field, dfo_run *run, struct dfoi_cnf_call *c, dfo_batch gdx, const double *gdq, dfo_batch gx)
{
    const struct dfoi_cnf_solve *f = flow_of(field);
    set_inputs(field, c, gx);
    if (!gdq) {
        DFO_TRY(dfo_net_forward(c->net, run, &c->in, c->out, c->acts));
        return back_alone(run, c, gdx);
    }
    if (f->wanted[DFOI_CNF_ACCELERATION])
        DFO_TRY(dfoi_cnf_vjp_acceleration(run, c, gdx, gdq));
    if (f->wanted[DFOI_CNF_JACOBIAN])
        return dfoi_cnf_vjp_pulls(f, run, c, gdx, gdq);
    for (size_t j = 0; j < dfoi_cnf_passes(f); j++) {
        dfoi_cnf_direct(f, c, j);
        DFO_TRY(dfo_net_jvp(c->net, run, &c->in, &c->din, c->out, c->dout, c->acts));
        DFO_TRY(back_pass(f, run, c, j, gdx, gdq));
    }
    return DFO_OK;
}

static dfo_status vjp(const dfo_field *field, dfo_run *run, const double *t, dfo_batch x, dfo_batch gdx, const double *gdq, dfo_batch gx)
{
    size_t mark = run->arena_used;
    dfo_status status = DFO_OK;
    for (size_t first = 0, n; first < x.n && status == DFO_OK; first += n) {
        n = dfoi_cnf_chunk(x.n - first);
        struct dfoi_cnf_call c = dfoi_cnf_call_of(field, run, t, x, first, n);
        status = vjp_chunk(field, run, &c, gdx, gdq, gx);
        run->arena_used = mark;
    }
    return status;
}

/* ---- activations kept: of one pass, chunk after chunk the net's and its output */

static size_t kept_of_chunk(const dfo_bijector *bij, size_t n)
{
    const dfo_net *net = state(bij)->net;
    return dfo_arena_size(2 * dfo_net_acts(net, n)) + dfo_arena_size(dfoi_block_size(net->ops->layout, n, bij->d));
}

static size_t kept(const dfo_field *field, size_t rows)
{
    const dfo_bijector *bij = flow_of(field)->bij;
    size_t size = 0;
    for (size_t first = 0, n; first < rows; first += n) {
        n = dfoi_cnf_chunk(rows - first);
        size += kept_of_chunk(bij, n);
    }
    return state(bij)->probes == 1 ? size : 0;
}

/* Whether the way back is one pass along a probe, without costs of its own.  */
static int one_pass(const struct dfoi_cnf_solve *f, int rates)
{
    return !rates || (f->probe && dfoi_cnf_passes(f) == 1 && !f->wanted[DFOI_CNF_ACCELERATION] && !f->wanted[DFOI_CNF_JACOBIAN]);
}

static dfo_status record(const dfo_field *field, dfo_run *run, const double *t, dfo_batch x, dfo_batch dx, double *dq, int rates, dfo_real *keep)
{
    const struct dfoi_cnf_solve *f = flow_of(field);
    size_t mark = run->arena_used;
    if (!one_pass(f, rates))
        return eval(field, run, t, x, dx, dq);
    run->evaluations += !f->back;
    if (dq)
        memset(dq, 0, x.n * field->nq * sizeof *dq);
    for (size_t first = 0, n; first < x.n; first += n) {
        n = dfoi_cnf_chunk(x.n - first);
        struct dfoi_cnf_call c = dfoi_cnf_call_of(field, run, t, x, first, n);
        if (rates)
            dfoi_cnf_direct(f, &c, 0);
        DFO_TRY(rates ? dfo_net_jvp(c.net, run, &c.in, &c.din, c.out, c.dout, keep) : dfo_net_forward(c.net, run, &c.in, c.out, keep));
        dfoi_block_to_rows(c.out, dfo_batch_rows(dx, first, n));
        if (dq) {
            add_trace(f, &c, 0, dq);
            DFO_TRY(dfoi_cnf_eval_costs(f, run, &c, dfo_batch_rows(dx, first, n), dq));
        }
        keep += kept_of_chunk(f->bij, n);
        size_t size = dfoi_block_size(c.out.layout, n, c.d);
        memcpy(keep - dfo_arena_size(size), c.out.x, size * sizeof *keep);
        run->arena_used = mark;
    }
    return DFO_OK;
}

static dfo_status replay(const dfo_field *field, dfo_run *run, const double *t, dfo_batch x, dfo_batch gdx, const double *gdq, dfo_batch gx,
                         dfo_real *keep)
{
    const struct dfoi_cnf_solve *f = flow_of(field);
    size_t mark = run->arena_used;
    if (!one_pass(f, gdq != NULL))
        return vjp(field, run, t, x, gdx, gdq, gx);
    for (size_t first = 0, n; first < x.n; first += n) {
        n = dfoi_cnf_chunk(x.n - first);
        struct dfoi_cnf_call c = dfoi_cnf_call_of(field, run, t, x, first, n);
        size_t size = dfoi_block_size(c.out.layout, n, c.d);
        c.acts = keep;
        keep += kept_of_chunk(f->bij, n);
        memcpy(c.out.x, keep - dfo_arena_size(size), size * sizeof *keep);
        set_inputs(field, &c, gx);
        if (gdq)
            dfoi_cnf_direct(f, &c, 0);
        DFO_TRY(gdq ? back_pass(f, run, &c, 0, gdx, gdq) : back_alone(run, &c, gdx));
        run->arena_used = mark;
    }
    return DFO_OK;
}

const struct dfo_field_ops dfoi_cnf_field_ops = {.type = "cnf", .scratch = dfoi_cnf_field_scratch, .eval = eval, .vjp = vjp, .kept = kept,
                                                 .record = record, .replay = replay};

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
