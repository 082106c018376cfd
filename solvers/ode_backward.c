/* The gradient of Runge-Kutta steps that were taken: with slopes k_i at states Y_i = x + h sum a_ij k_j and the gradient g of
 * x + h sum b_i k_i, from the last stage to the first,
 *
 *     gk_i = h b_i g + h sum over j > i of a_ji gY_j,   gY_i = (df/dx)^T gk_i,   and g + sum gY_i is that of x.
 *
 * A step's slopes are kept in the trace with what the field recorded, or computed again from the state it began at; what the field keeps
 * of that serves the way back, if it is not much.  */
#include <string.h>

#include "dist/dist_impl.h"
#include "math/kern_impl.h"
#include "rk_impl.h"

void dfoi_rk_needed(const dfoi_tableau *m, int *active, int *taken)
{
    for (size_t i = m->stages; i-- > 0;) {
        active[i] = m->b[i] != 0;
        taken[i] = 0;
        for (size_t j = i + 1; j < m->stages; j++)
            taken[i] |= active[j] && m->a[j * m->stages + i] != 0;
        active[i] |= taken[i];
    }
}

size_t dfoi_kept_stage(const dfo_field *field, size_t rows)
{
    size_t size = field->ops->record ? dfo_arena_size(field->ops->kept(field, rows)) : 0;
    return size ? dfo_arena_size(rows * field->d) + size : 0;
}

dfo_real *dfoi_kept_field(dfo_real *kept, const dfo_field *field, size_t rows)
{
    return kept + dfo_arena_size(rows * field->d);
}

/* Of stages 0 .. i-1, how many are kept.  */
static size_t before(const dfoi_tableau *m, size_t i)
{
    int active[DFOI_STAGES], taken[DFOI_STAGES];
    size_t count = 0;
    dfoi_rk_needed(m, active, taken);
    for (size_t j = 0; j < i; j++)
        count += taken[j] != 0;
    return count;
}

dfo_real *dfoi_kept_at(const dfo_ode_trace *trace, const dfoi_tableau *m, const dfo_field *field, size_t rows, size_t step, size_t i)
{
    if (!trace || !trace->kept || step >= trace->room)
        return NULL;
    return trace->kept + (step * before(m, m->stages) + before(m, i)) * dfoi_kept_stage(field, rows);
}

size_t dfo_ode_kept(const dfo_ode *ode, const dfo_field *field, size_t rows)
{
    return ode->tableau->gamma != 0 ? 0 : before(ode->tableau, ode->tableau->stages) * dfoi_kept_stage(field, rows);
}

#define KEPT_NUMBERS ((size_t)16 << 20)    /* of a step alone, at most */

/* Numbers kept of a stage of one step; 0: nothing.  And room for all its stages, of so many rows or fewer.  */
static size_t kept_of(const dfoi_tableau *m, const dfo_field *field, size_t rows)
{
    size_t size = dfoi_kept_stage(field, rows);
    return size <= KEPT_NUMBERS / m->stages ? size : 0;
}

static size_t kept_room(const dfoi_tableau *m, const dfo_field *field, size_t rows)
{
    size_t size = dfoi_kept_stage(field, rows);
    return size <= KEPT_NUMBERS / m->stages ? m->stages * size : KEPT_NUMBERS;
}

size_t dfoi_rk_back_size(const dfoi_tableau *tableau, const dfo_field *field, size_t rows)
{
    return dfoi_rk_size(tableau, field, rows) + (tableau->stages + 1) * dfo_arena_size(rows * field->d) +
           dfoi_doubles_size(rows * field->nq) + kept_room(tableau, field, rows);
}

void dfoi_rk_back_take(dfoi_rk_back *b, const dfoi_tableau *tableau, const dfo_field *field, dfo_run *run, size_t n, const double *given)
{
    *b = (dfoi_rk_back){.given = given};
    dfoi_rk_take(&b->rk, tableau, field, run, dfo_batch_of(NULL, n, field->d), 0);
    for (size_t i = 0; i < tableau->stages; i++)
        b->gk[i] = dfo_arena_take(run, n * field->d);
    b->gy = dfo_arena_take(run, n * field->d);
    b->gq = dfoi_take_doubles(run, n * field->nq);
    dfoi_rk_needed(tableau, b->active, b->taken);
    size_t kept = kept_of(tableau, field, n);
    for (size_t i = 0; kept && i < tableau->stages; i++)
        b->own[i] = b->taken[i] ? dfo_arena_take(run, kept) : NULL;
}

static dfo_status slopes(dfoi_rk_back *b)
{
    const dfoi_tableau *m = b->rk.tableau;
    b->rk.rates = b->given != NULL;
    memcpy(b->rk.kept, b->own, sizeof b->own);
    for (size_t i = 0; i < m->stages; i++) {
        if (!b->taken[i])
            continue;
        if (i)
            dfoi_rk_combine(&b->rk, i, m->a + i * m->stages, 0, b->rk.y);
        DFO_TRY(dfoi_rk_stage(&b->rk, i));
    }
    return DFO_OK;
}

static dfo_status stage(dfoi_rk_back *b, size_t i, double h, dfo_batch to)
{
    dfoi_rk *rk = &b->rk;
    const dfoi_tableau *m = rk->tableau;
    size_t n = rk->n, d = rk->x.d, mark = rk->run->arena_used;
    dfo_batch at = i ? dfo_batch_of(rk->y, n, d) : rk->x;
    if (i)
        dfoi_rk_combine(rk, i, m->a + i * m->stages, 0, rk->y);
    memset(b->gy, 0, n * d * sizeof *b->gy);
    for (size_t r = 0; r < n; r++)
        rk->at[r] = rk->t[r] + m->c[i] * h;
    for (size_t j = 0; b->given && j < n * rk->field->nq; j++)
        b->gq[j] = h * m->b[i] * b->given[j];
    const struct dfo_field_ops *ops = rk->field->ops;
    const double *gq = b->given ? b->gq : NULL;
    dfo_batch gk = dfo_batch_of(b->gk[i], n, d), gy = dfo_batch_of(b->gy, n, d);
    dfo_real *kept = rk->kept[i] ? dfoi_kept_field(rk->kept[i], rk->field, n) : NULL;
    dfo_status status = kept ? ops->replay(rk->field, rk->run, rk->at, at, gk, gq, gy, kept)
                             : ops->vjp(rk->field, rk->run, rk->at, at, gk, gq, gy);
    rk->run->arena_used = mark;
    for (size_t r = 0; r < n; r++)
        dfoi_add(d, b->gy + r * d, dfo_row(to, r));
    for (size_t j = 0; j < i; j++)
        if (m->a[i * m->stages + j] != 0)
            dfoi_axpy(n * d, (dfo_real)(h * m->a[i * m->stages + j]), b->gy, b->gk[j]);
    return status;
}

dfo_status dfoi_rk_back_step(dfoi_rk_back *b, dfo_batch x, double t, double h, dfo_batch g, dfo_batch to)
{
    dfoi_rk *rk = &b->rk;
    size_t n = rk->n, d = rk->x.d;
    rk->x = x;
    for (size_t r = 0; r < n; r++) {
        rk->t[r] = t;
        rk->h[r] = h;
    }
    if (!b->known)
        DFO_TRY(slopes(b));
    for (size_t i = 0; i < rk->tableau->stages; i++)
        for (size_t r = 0; r < n; r++) {
            dfo_real *gk = b->gk[i] + r * d, by = (dfo_real)(h * rk->tableau->b[i]);
            const dfo_real *from = dfo_row(g, r);
            for (size_t j = 0; j < d; j++)
                gk[j] = by * from[j];
        }
    for (size_t i = rk->tableau->stages; i-- > 0;)
        if (b->active[i])
            DFO_TRY(stage(b, i, h, to));
    memset(b->rk.kept, 0, sizeof b->rk.kept);
    return DFO_OK;
}

size_t dfo_ode_backward_scratch(const dfo_ode *ode, const dfo_field *field, size_t rows)
{
    return dfoi_rk_back_size(ode->tableau, field, rows) + (field->ops->scratch ? field->ops->scratch(field, rows) : 0);
}

/* The slopes of step m from the trace, if they are there.  */
static void recall(dfoi_rk_back *b, const dfo_ode_trace *trace, size_t m)
{
    dfoi_rk *rk = &b->rk;
    b->known = trace->kept && m < trace->room && trace->rates == (b->given != NULL);
    for (size_t i = 0; b->known && i < rk->tableau->stages; i++) {
        if (!b->taken[i])
            continue;
        rk->kept[i] = dfoi_kept_at(trace, rk->tableau, rk->field, rk->n, m, i);
        memcpy(rk->k[i], rk->kept[i], rk->n * rk->field->d * sizeof *rk->k[i]);
    }
}

dfo_status dfo_ode_backward(const dfo_ode *ode, const dfo_field *field, dfo_run *run, const dfo_ode_trace *trace, dfo_batch gx,
                            const double *gq, dfo_ode_report *report)
{
    size_t mark = run->arena_used, size = gx.n * gx.d;
    dfoi_rk_back b;
    dfo_status status = DFO_OK;
    if (ode->tableau->gamma != 0)
        return dfo_run_fail(run, DFO_EUNSUP, (size_t)-1, "%s: steps of implicit methods have no gradient", ode->tableau->name);
    dfoi_rk_back_take(&b, ode->tableau, field, run, gx.n, gq);
    for (size_t m = trace->n; m-- > 0 && status == DFO_OK;) {
        recall(&b, trace, m);
        status = dfoi_rk_back_step(&b, dfo_batch_of(trace->x + m * size, gx.n, gx.d), trace->t[m], trace->t[m + 1] - trace->t[m], gx, gx);
    }
    if (report)
        report->evaluations += b.rk.evaluations;
    run->arena_used = mark;
    return status;
}
