/* Guidance without a classifier (Ho and Salimans 2021): the net was trained with its condition c and, some of the time, with zeros in
 * place of it, and says from now on
 *
 *     N(z, t, 0) + w (N(z, t, c) - N(z, t, 0)),
 *
 * w = 1 what it says of c, above 1 more of what c makes of it.  As a field over the net's own, the trace, and each probe's estimate
 * of it, of the same form.  */
#include <math.h>
#include <string.h>

#include "cnf_impl.h"
#include "flow_impl.h"
#include "matching_impl.h"

static const struct dfoi_cnf *state(const dfo_field *field)
{
    const struct dfoi_cnf_solve *f = field->state;
    return f->bij->state;
}

static size_t scratch(const dfo_field *field, size_t rows)
{
    return 2 * dfo_arena_size(rows * field->d) + dfo_arena_size(rows * state(field)->cond_d) + 2 * dfoi_doubles_size(rows * field->nq) +
           dfoi_cnf_field_ops.scratch(field, rows);
}

static double guidance(const dfo_field *field)
{
    const struct dfoi_cnf_solve *f = field->state;
    return f->guidance ? *f->guidance : state(field)->guidance;
}

static int guides(const dfo_field *field)
{
    return guidance(field) < 1 || guidance(field) > 1;
}

/* A condition of zeros like the field's.  */
static dfo_cond nothing(const dfo_field *field, dfo_run *run, size_t n)
{
    dfo_cond none = {0};
    if (field->cond)
        none = *field->cond;
    for (size_t p = 0; p < none.n; p++) {
        size_t d = none.part[p].rows.d;
        none.part[p].rows = dfo_batch_of(dfo_arena_take(run, n * d), n, d);
        memset(none.part[p].rows.x, 0, n * d * sizeof(dfo_real));
    }
    return none;
}

static dfo_status eval(const dfo_field *field, dfo_run *run, const double *t, dfo_batch x, dfo_batch dx, double *dq)
{
    size_t mark = run->arena_used, count = x.n * field->nq;
    double w = guidance(field);
    if (!guides(field))
        return dfoi_cnf_field_ops.eval(field, run, t, x, dx, dq);
    dfo_cond none = nothing(field, run, x.n);
    dfo_field other = *field;
    dfo_batch without = dfo_batch_of(dfo_arena_take(run, x.n * x.d), x.n, x.d);
    double *q = dq ? dfoi_take_doubles(run, count) : NULL;
    other.cond = &none;
    dfo_status status = dfoi_cnf_field_ops.eval(&other, run, t, x, without, q);
    if (status == DFO_OK)
        status = dfoi_cnf_field_ops.eval(field, run, t, x, dx, dq);
    for (size_t i = 0; i < x.n && status == DFO_OK; i++)
        for (size_t j = 0; j < x.d; j++)
            dfo_row(dx, i)[j] = (dfo_real)(w * (double)dfo_row(dx, i)[j] + (1 - w) * (double)dfo_row(without, i)[j]);
    for (size_t i = 0; q && i < count && status == DFO_OK; i++)
        dq[i] = w * dq[i] + (1 - w) * q[i];
    run->arena_used = mark;
    return status;
}

static dfo_status vjp(const dfo_field *field, dfo_run *run, const double *t, dfo_batch x, dfo_batch gdx, const double *gdq, dfo_batch gx)
{
    size_t mark = run->arena_used, count = x.n * field->nq;
    double w = guidance(field);
    if (!guides(field))
        return dfoi_cnf_field_ops.vjp(field, run, t, x, gdx, gdq, gx);
    dfo_cond none = nothing(field, run, x.n);
    dfo_field other = *field;
    dfo_batch gwithout = dfo_batch_of(dfo_arena_take(run, x.n * x.d), x.n, x.d);
    double *gq = gdq ? dfoi_take_doubles(run, count) : NULL, *gq_without = gdq ? dfoi_take_doubles(run, count) : NULL;
    other.cond = &none;
    other.gcond = NULL;
    for (size_t i = 0; i < x.n; i++)
        for (size_t j = 0; j < x.d; j++) {
            dfo_row(gwithout, i)[j] = (dfo_real)(1 - w) * dfo_row(gdx, i)[j];
            dfo_row(gdx, i)[j] *= (dfo_real)w;
        }
    for (size_t i = 0; gdq && i < count; i++) {
        gq[i] = w * gdq[i];
        gq_without[i] = (1 - w) * gdq[i];
    }
    dfo_status status = dfoi_cnf_field_ops.vjp(&other, run, t, x, gwithout, gq_without, gx);
    if (status == DFO_OK)
        status = dfoi_cnf_field_ops.vjp(field, run, t, x, gdx, gq, gx);
    run->arena_used = mark;
    return status;
}

static const struct dfo_field_ops guided = {.type = "cnf", .scratch = scratch, .eval = eval, .vjp = vjp};

const struct dfo_field_ops *dfoi_cnf_own_ops(const struct dfoi_cnf *c)
{
    return c->cond_d ? &guided : &dfoi_cnf_field_ops;
}

/* The flow's last layer, if its net knows how to do without a condition.  */
static struct dfoi_cnf *layer(const dfo_flow *flow)
{
    size_t at;
    const dfo_bijector *last = dfoi_matching_layer(flow, &at);
    return last && flow->cond_d && flow->matching.label_dropout > 0 ? last->state : NULL;
}

dfo_status dfo_flow_set_guidance(dfo_flow *flow, double w)
{
    struct dfoi_cnf *c = layer(flow);
    if (!isfinite(w))
        return dfoi_fail(flow->ctx, DFO_EARG, "guidance: expected a number, got %g", w);
    if (!flow->cond_d)
        return dfoi_fail(flow->ctx, DFO_EUNSUP, "guidance: it has no condition to be guided by");
    if (!c)
        return dfoi_fail(flow->ctx, DFO_EUNSUP, "guidance: it was not trained with label_dropout, to know rows without their condition");
    c->guidance = w;
    return DFO_OK;
}

double dfo_flow_guidance(const dfo_flow *flow)
{
    const struct dfoi_cnf *c = layer(flow);
    return c ? c->guidance : 1;
}
