/* A continuous flow whose end is a weight (FFJORD's root of the end: Grathwohl et al. 2019).  With end = root^2, over s = t / end
 * from 0 to 1, trace and costs r beside the field f,
 *
 *     dz/ds = end f(z, end s),   dq/ds = end r(z, end s),
 *
 * so that solvers and their gradients need not know.  What (gdz, gdq) gives the end is gdz . f + gdq . r, and s times what
 * end (gdz, gdq) gives the time.  */
#include <string.h>

#include "cnf_impl.h"

static const struct dfoi_cnf *state(const dfo_field *field)
{
    const struct dfoi_cnf_solve *f = field->state;
    return f->bij->state;
}

static dfo_field inside(const dfo_field *field)
{
    dfo_field own = *field;
    own.ops = dfoi_cnf_own_ops(state(field));
    return own;
}

static size_t scratch(const dfo_field *field, size_t rows)
{
    return dfoi_doubles_size(rows) + 2 * dfoi_doubles_size(rows * field->nq) + dfo_arena_size(rows) + dfo_arena_size(rows * field->d) +
           dfoi_cnf_own_ops(state(field))->scratch(field, rows);
}

static double *times_of(const dfo_field *field, dfo_run *run, const double *s, size_t n)
{
    double end = dfoi_cnf_factor(state(field), run), *t = dfoi_take_doubles(run, n);
    for (size_t i = 0; i < n; i++)
        t[i] = end * s[i];
    return t;
}

static void scale_rows(dfo_batch x, dfo_real by)
{
    for (size_t i = 0; i < x.n; i++)
        for (size_t j = 0; j < x.d; j++)
            dfo_row(x, i)[j] *= by;
}

static dfo_status eval(const dfo_field *field, dfo_run *run, const double *s, dfo_batch x, dfo_batch dx, double *dq)
{
    size_t mark = run->arena_used;
    double end = dfoi_cnf_factor(state(field), run);
    dfo_field own = inside(field);
    dfo_status status = own.ops->eval(&own, run, times_of(field, run, s, x.n), x, dx, dq);
    if (status == DFO_OK)
        scale_rows(dx, (dfo_real)end);
    for (size_t i = 0; status == DFO_OK && dq && i < x.n * field->nq; i++)
        dq[i] *= end;
    run->arena_used = mark;
    return status;
}

/* gdx . f + gdq . r, summed over rows.  */
static dfo_status along(const dfo_field *own, dfo_run *run, const double *t, dfo_batch x, dfo_batch gdx, const double *gdq, double *sum)
{
    size_t mark = run->arena_used, count = x.n * own->nq;
    dfo_batch dx = dfo_batch_of(dfo_arena_take(run, x.n * x.d), x.n, x.d);
    double *dq = gdq ? dfoi_take_doubles(run, count) : NULL;
    DFO_TRY(own->ops->eval(own, run, t, x, dx, dq));
    for (size_t i = 0; i < x.n; i++)
        for (size_t j = 0; j < x.d; j++)
            *sum += (double)dfo_row(gdx, i)[j] * (double)dfo_row(dx, i)[j];
    for (size_t i = 0; gdq && i < count; i++)
        *sum += gdq[i] * dq[i];
    run->arena_used = mark;
    return DFO_OK;
}

static dfo_status vjp(const dfo_field *field, dfo_run *run, const double *s, dfo_batch x, dfo_batch gdx, const double *gdq, dfo_batch gx)
{
    size_t mark = run->arena_used, count = x.n * field->nq;
    struct dfoi_cnf_solve with = *(const struct dfoi_cnf_solve *)field->state;
    double end = dfoi_cnf_factor(state(field), run), gend = 0, *t = times_of(field, run, s, x.n);
    double *gq = gdq ? dfoi_take_doubles(run, count) : NULL;
    dfo_field own = inside(field);
    own.state = &with;
    with.back = 1;
    if (run->grads) {
        DFO_TRY(along(&own, run, t, x, gdx, gdq, &gend));
        with.gtime = dfo_arena_take(run, x.n);
        memset(with.gtime, 0, x.n * sizeof *with.gtime);
    }
    scale_rows(gdx, (dfo_real)end);
    for (size_t i = 0; gdq && i < count; i++)
        gq[i] = end * gdq[i];
    dfo_status status = own.ops->vjp(&own, run, t, x, gdx, gq, gx);
    for (size_t i = 0; with.gtime && i < x.n; i++)
        gend += s[i] * (double)with.gtime[i];
    dfoi_cnf_add_end(state(field), run, gend);
    run->arena_used = mark;
    return status;
}

const struct dfo_field_ops dfoi_cnf_end_ops = {.type = "cnf", .scratch = scratch, .eval = eval, .vjp = vjp};

double dfoi_cnf_factor(const struct dfoi_cnf *c, const dfo_run *run)
{
    double root = c->learn_end ? (double)*dfo_run_weights(run, c->root) : 0;
    return c->learn_end ? root * root : c->end;
}

void dfoi_cnf_add_end(const struct dfoi_cnf *c, dfo_run *run, double gend)
{
    if (c->learn_end && run->grads)
        *dfo_run_grads(run, c->root) += (dfo_real)(2 * (double)*dfo_run_weights(run, c->root) * gend);
}
