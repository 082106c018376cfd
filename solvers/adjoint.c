/* Gradients by the continuous adjoint (Chen et al. 2018): with L of the end and of the quadratures, dx/dt = f and dq/dt = r, the
 * adjoint a = dL/dx goes back beside the state, and weights' gradients are an integral along the way,
 *
 *     da/dt = -(df/dx)^T a - (dr/dx)^T dL/dq,     dL/dw = int from t0 to t1 of (df/dw)^T a + (dr/dw)^T dL/dq.
 *
 * State and adjoint are the solver's rows; the integral does not feed back, so that its errors have no part in the choice of
 * steps (the seminorm of Kidger et al. 2021): its terms are taken once a step is accepted, with the method's weights.  The
 * equations are linear in a: it is scaled by a power of two to numbers of about 1, or tolerances would mean less for small
 * losses.  */
#include <math.h>
#include <string.h>

#include "dist/dist_impl.h"
#include "rk_impl.h"

struct adjoint {
    const dfo_field *field;
    dfo_field   alone;                     /* the same without the condition's gradient */
    double      scale, *gq, *part;         /* a over dL/dx; scaled (n,nq) or NULL; a stage's */
    dfo_real   *seed, *lost;               /* (n,d) */
    dfo_real   *grads;
};

static size_t scratch(const dfo_field *both, size_t rows)
{
    const dfo_field *field = ((const struct adjoint *)both->state)->field;
    return dfo_arena_size(rows * field->d) + (field->ops->scratch ? field->ops->scratch(field, rows) : 0);
}

static void times(dfo_batch from, double by, dfo_batch to)
{
    for (size_t i = 0; i < from.n; i++)
        for (size_t j = 0; j < from.d; j++)
            dfo_row(to, i)[j] = (dfo_real)(by * (double)dfo_row(from, i)[j]);
}

static void clear(dfo_batch x)
{
    for (size_t i = 0; i < x.n; i++)
        memset(dfo_row(x, i), 0, x.d * sizeof *x.x);
}

/* Rows (x, a) of 2 d numbers.  */
static dfo_status eval(const dfo_field *both, dfo_run *run, const double *t, dfo_batch xa, dfo_batch to, double *none)
{
    const struct adjoint *s = both->state;
    const dfo_field *f = &s->alone;
    dfo_batch x = dfo_batch_columns(xa, 0, f->d), da = dfo_batch_columns(to, f->d, f->d);
    dfo_batch seed = dfo_batch_of(dfo_arena_take(run, xa.n * f->d), xa.n, f->d);
    size_t mark = run->arena_used;
    (void)none;
    DFO_TRY(f->ops->eval(f, run, t, x, dfo_batch_columns(to, 0, f->d), NULL));
    run->arena_used = mark;
    times(dfo_batch_columns(xa, f->d, f->d), 1, seed);
    clear(da);
    DFO_TRY(f->ops->vjp(f, run, t, x, seed, s->gq, da));
    times(da, -1, da);
    return DFO_OK;
}

/* Stage i's term of the integral; h points back in time.  */
static dfo_status add_term(struct adjoint *s, dfoi_rk *rk, size_t i)
{
    const dfoi_tableau *m = rk->tableau;
    const dfo_field *f = s->field;
    dfo_run *run = rk->run;
    double by = -rk->h[0] * m->b[i] / s->scale;
    size_t mark = run->arena_used;
    dfo_batch at = dfo_batch_of(rk->err, rk->n, 2 * f->d), seed = dfo_batch_of(s->seed, rk->n, f->d), lost = dfo_batch_of(s->lost, rk->n, f->d);
    dfoi_rk_combine(rk, i + 1, m->a + i * m->stages, 0, rk->err);
    for (size_t r = 0; r < rk->n; r++)
        rk->at[r] = rk->t[r] + m->c[i] * rk->h[r];
    times(dfo_batch_columns(at, f->d, f->d), by, seed);
    for (size_t j = 0; s->gq && j < rk->n * f->nq; j++)
        s->part[j] = by * s->gq[j];
    clear(lost);
    run->grads = s->grads;
    dfo_status status = f->ops->vjp(f, run, rk->at, dfo_batch_columns(at, 0, f->d), seed, s->gq ? s->part : NULL, lost);
    run->grads = NULL;
    run->arena_used = mark;
    return status;
}

static dfo_status accepted(void *state, dfoi_rk *rk)
{
    struct adjoint *s = state;
    for (size_t i = 0; i < rk->tableau->stages && (s->grads || s->field->gcond); i++)
        if (rk->tableau->b[i] != 0)
            DFO_TRY(add_term(s, rk, i));
    return DFO_OK;
}

static const struct dfo_field_ops both_ops = {.type = "adjoint", .scratch = scratch, .eval = eval};

static dfo_field begin(struct adjoint *s, const dfo_field *field)
{
    *s = (struct adjoint){.field = field, .alone = *field, .scale = 1};
    s->alone.gcond = NULL;
    return (dfo_field){.ops = &both_ops, .state = s, .d = 2 * field->d, .cond = field->cond};
}

size_t dfo_ode_adjoint_scratch(const dfo_ode *ode, const dfo_field *field, size_t rows)
{
    struct adjoint s;
    dfo_field both = begin(&s, field);
    return dfo_ode_scratch(ode, &both, rows) + dfo_arena_size(rows * both.d) + 2 * dfo_arena_size(rows * field->d) +
           2 * dfoi_doubles_size(rows * field->nq);
}

/* Over the largest of the gradients given, a power of two.  */
static double scale_of(dfo_batch gx, size_t n, const double *gq)
{
    double most = 0;
    int e;
    for (size_t i = 0; i < gx.n; i++)
        for (size_t j = 0; j < gx.d; j++)
            most = fmax(most, fabs((double)dfo_row(gx, i)[j]));
    for (size_t j = 0; gq && j < n; j++)
        most = fmax(most, fabs(gq[j]));
    if (!(most > 0 && isfinite(most)))
        return 1;
    frexp(most, &e);
    return ldexp(1, e < -1000 ? 1000 : e > 1000 ? -1000 : -e);
}

dfo_status dfo_ode_adjoint(const dfo_ode *ode, const dfo_field *field, dfo_run *run, double t0, double t1, dfo_batch x, dfo_batch gx,
                           const double *gq, dfo_ode_report *report)
{
    size_t mark = run->arena_used, d = field->d, quadratures = x.n * field->nq;
    struct adjoint s;
    dfo_field both = begin(&s, field);
    struct dfo_ode together = *ode;
    if (!field->ops->vjp)
        return dfo_run_fail(run, DFO_EUNSUP, (size_t)-1, "adjoint: the field %s has no gradient", field->ops->type);
    together.options.together = 1;
    dfo_batch xa = dfo_batch_of(dfo_arena_take(run, x.n * both.d), x.n, both.d), a = dfo_batch_columns(xa, d, d);
    s.seed = dfo_arena_take(run, x.n * d);
    s.lost = dfo_arena_take(run, x.n * d);
    s.scale = scale_of(gx, quadratures, gq);
    s.grads = run->grads;
    s.part = dfoi_take_doubles(run, quadratures);
    s.gq = gq ? dfoi_take_doubles(run, quadratures) : NULL;
    for (size_t j = 0; gq && j < quadratures; j++)
        s.gq[j] = s.scale * gq[j];
    times(x, 1, dfo_batch_columns(xa, 0, d));
    times(gx, s.scale, a);
    run->grads = NULL;
    dfo_status status = dfoi_ode_solve(&together, &both, run, t1, t0, xa, &(dfoi_watch){accepted, &s}, report);
    run->grads = s.grads;
    times(dfo_batch_columns(xa, 0, d), 1, x);
    times(a, 1 / s.scale, gx);
    run->arena_used = mark;
    return status == DFO_OK ? status : dfo_run_wrap(run, "adjoint: ");
}
