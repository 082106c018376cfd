/* Solves: steps of rows that go together or alone, until all have arrived.  */
#include <float.h>
#include <math.h>
#include <string.h>

#include "dist/dist_impl.h"
#include "math/kern_impl.h"
#include "rk_impl.h"

/* A solve.  */
struct solve {
    const dfo_ode *ode;
    dfoi_rk  rk;
    double   start, end, *q;
    size_t   accepted, rejected, worst;    /* worst: of rows together, the one with the last step's largest error */
    double  *size[3];                      /* (n) of the starting step */
    dfoi_control *control;                 /* (n), or one for all */
    dfo_ode_trace *trace;
    const dfoi_saves *saves;               /* or NULL */
    const dfoi_watch *watch;               /* or NULL */
};

static size_t controls(const dfo_ode *ode, size_t rows)
{
    return ode->options.together ? 1 : rows;
}

size_t dfo_ode_scratch(const dfo_ode *ode, const dfo_field *field, size_t rows)
{
    return dfoi_rk_size(ode->tableau, field, rows) + dfoi_doubles_size(DFOI_CONTROL * controls(ode, rows)) + 3 * dfoi_doubles_size(rows) +
           (field->ops->scratch ? field->ops->scratch(field, rows) : 0);
}

static dfo_status gave_up(struct solve *s, size_t row, const char *why)
{
    return dfo_run_fail(s->rk.run, DFO_ENUM, row, "%s, row %llu, t = %.9g: %s", s->rk.tableau->name,
                        (unsigned long long)(s->rk.run->key.row + row), s->rk.t[row], why);
}

/* Where the stages of the next step are kept; the last one's slopes may be those of the step after it.  */
static void aim(struct solve *s)
{
    dfoi_rk *rk = &s->rk;
    int active[DFOI_STAGES], taken[DFOI_STAGES];
    dfoi_rk_needed(rk->tableau, active, taken);
    for (size_t i = 0; s->trace && i < rk->tableau->stages; i++)
        rk->kept[i] = taken[i] ? dfoi_kept_at(s->trace, rk->tableau, rk->field, rk->n, s->accepted, i) : NULL;
    if (s->trace && rk->tableau->reuses)
        rk->kept[rk->tableau->stages - 1] = dfoi_kept_at(s->trace, rk->tableau, rk->field, rk->n, s->accepted + 1, 0);
}

static dfo_status keep(struct solve *s)
{
    dfo_ode_trace *trace = s->trace;
    size_t size = s->rk.n * s->rk.x.d;
    if (!trace)
        return DFO_OK;
    if (s->accepted > trace->most)
        return dfo_run_fail(s->rk.run, DFO_ENUM, 0, "%s, t = %.9g: more than %zu steps; larger tolerances or more room for "
                            "steps (most_steps) would help", s->rk.tableau->name, s->rk.t[0], trace->most);
    aim(s);
    trace->n = s->accepted;
    trace->t[trace->n] = s->rk.n ? s->rk.t[0] : s->start;
    for (size_t i = 0; trace->x && i < s->rk.n; i++)
        memcpy(trace->x + trace->n * size + i * s->rk.x.d, dfo_row(s->rk.x, i), s->rk.x.d * sizeof *trace->x);
    return DFO_OK;
}

/* The states of row i wanted up to time t, inside the step that goes there.  */
static void save(struct solve *s, size_t i, double t)
{
    const dfoi_saves *v = s->saves;
    const dfoi_rk *rk = &s->rk;
    size_t d = rk->x.d;
    double sign = s->end > s->start ? 1 : -1, w[DFOI_STAGES];
    for (; v->next[i] < v->count && sign * (t - v->times[v->next[i]]) >= 0; v->next[i]++) {
        double at = v->times[v->next[i]];
        dfo_real *to = v->out + (v->next[i] * rk->n + i) * d;
        if (at == t) {
            memcpy(to, rk->y + i * d, d * sizeof *to);
            continue;
        }
        dfoi_tableau_dense(rk->tableau, (at - rk->t[i]) / (t - rk->t[i]), w);
        for (size_t j = 0; j < d; j++) {
            double sum = 0;
            for (size_t k = 0; k < rk->tableau->stages; k++)
                sum += w[k] * (double)rk->k[k][i * d + j];
            to[j] = (dfo_real)((double)dfo_row(rk->x, i)[j] + (t - rk->t[i]) * sum);
        }
    }
}

/* Row i moves to the new state at time t.  */
static void commit(struct solve *s, size_t i, double t)
{
    dfoi_rk *rk = &s->rk;
    size_t d = rk->x.d, last = rk->tableau->stages - 1;
    if (s->saves)
        save(s, i, t);
    memcpy(dfo_row(rk->x, i), rk->y + i * d, d * sizeof *rk->y);
    for (size_t j = 0; s->q && j < rk->field->nq; j++)
        s->q[i * rk->field->nq + j] += dfoi_rk_quadrature(rk, rk->tableau->b, i, j);
    rk->t[i] = t;
    if (!rk->tableau->reuses)
        return;
    memcpy(rk->k[0] + i * d, rk->k[last] + i * d, d * sizeof *rk->y);
    if (rk->quadratures)
        memcpy(rk->kq[0] + i * rk->field->nq, rk->kq[last] + i * rk->field->nq, rk->field->nq * sizeof **rk->kq);
}

static int arrived(const dfoi_rk *rk, size_t i)
{
    size_t d = rk->x.d;
    int fine = dfoi_all_finite(d, rk->y + i * d);
    for (size_t s = 0; rk->quadratures && s < rk->tableau->stages; s++)
        for (size_t j = 0; j < rk->field->nq; j++)
            fine &= isfinite(rk->kq[s][i * rk->field->nq + j]) != 0;
    return fine;
}

static dfo_status watched(struct solve *s)
{
    return s->watch ? s->watch->accepted(s->watch->state, &s->rk) : DFO_OK;
}

/* h such that t + h - t is h: a step's slopes can be found again, with the same bits, from the times that it went between.  */
static double exactly(double t, double h)
{
    return t + h - t;
}

static dfo_status equal_steps(struct solve *s)
{
    size_t steps = s->ode->options.steps;
    dfoi_rk *rk = &s->rk;
    for (size_t m = 0; m < steps; m++) {
        double next = s->start + (s->end - s->start) * (double)(m + 1) / (double)steps;
        for (size_t i = 0; i < rk->n; i++)
            rk->h[i] = m + 1 == steps ? s->end - rk->t[i] : exactly(rk->t[i], next - rk->t[i]);
        DFO_TRY(dfoi_rk_step(rk));
        for (size_t i = 0; i < rk->n; i++)
            if (!arrived(rk, i))
                return gave_up(s, i, rk->tableau->gamma != 0 ? "Newton's iteration did not converge, or not finite" : "not finite");
        DFO_TRY(watched(s));
        for (size_t i = 0; i < rk->n; i++)
            commit(s, i, m + 1 == steps ? s->end : rk->t[i] + rk->h[i]);
        rk->known = rk->tableau->reuses;
        s->accepted++;
        DFO_TRY(keep(s));
    }
    return DFO_OK;
}

/* The order that exponents are divided by.  */
static double exponent(const dfoi_tableau *m)
{
    return (double)(m->embedded < m->order ? m->embedded : m->order) + 1;
}

/* The mean of squares of row i's scaled error by one estimate: the state's errors, the weights of the quadratures'.  */
static double estimate(struct solve *s, size_t i, const dfo_real *err, const double *w)
{
    const dfo_ode_options *o = &s->ode->options;
    const dfoi_rk *rk = &s->rk;
    size_t d = rk->x.d, nq = s->q && o->quadratures ? rk->field->nq : 0;
    double sum = dfoi_error_squares(o, d, err + i * d, dfo_row(rk->x, i), rk->y + i * d);
    for (size_t j = 0; j < nq; j++) {
        double before = s->q[i * nq + j], step = dfoi_rk_quadrature(rk, rk->tableau->b, i, j);
        double e = dfoi_rk_quadrature(rk, w, i, j) / (o->atol + o->rtol * fmax(fabs(before), fabs(before + step)));
        sum += e * e;
    }
    return sum / (double)(d + nq);
}

/* The same by all estimates of the method; not a number where the new state is none.  */
static double error_of(struct solve *s, size_t i)
{
    const dfoi_rk *rk = &s->rk;
    const dfoi_tableau *m = rk->tableau;
    double e = estimate(s, i, rk->err, m->e);
    if (m->second)
        e = dfoi_two_errors(e, estimate(s, i, rk->second, m->second));
    return arrived(rk, i) ? e : NAN;
}

/* The same of n numbers over the scale of the state.  */
static double scaled(const struct solve *s, size_t i, const dfo_real *x)
{
    const dfo_ode_options *o = &s->ode->options;
    const dfo_real *y = dfo_row(s->rk.x, i);
    double sum = 0;
    for (size_t j = 0; j < s->rk.x.d; j++) {
        double e = (double)x[j] / (o->atol + o->rtol * fabs((double)y[j]));
        sum += e * e;
    }
    return sum / (double)s->rk.x.d;
}

/* Roots of the mean over rows that go together, the same for all, else of each row's own.  */
static void spread(const struct solve *s, double *x)
{
    double sum = 0;
    for (size_t i = 0; s->ode->options.together && i < s->rk.n; i++)
        sum += x[i];
    for (size_t i = 0; i < s->rk.n; i++)
        x[i] = sqrt(s->ode->options.together ? sum / (double)s->rk.n : x[i]);
}

/* h of every row, from the slopes at the start and a little way on (algorithm of II.4 in the book).  */
static dfo_status first_steps(struct solve *s)
{
    dfoi_rk *rk = &s->rk;
    size_t n = rk->n, d = rk->x.d, mark = rk->run->arena_used;
    double span = fabs(s->end - s->start), sign = s->end > s->start ? 1 : -1, one = 1;
    for (size_t i = 0; i < n; i++)
        rk->h[i] = 0;
    DFO_TRY(dfoi_rk_stage(rk, 0));
    rk->known = 1;
    for (size_t i = 0; i < n; i++) {
        if (!dfoi_all_finite(d, rk->k[0] + i * d))
            return gave_up(s, i, "the field is not finite");
        s->size[0][i] = scaled(s, i, dfo_row(rk->x, i));
        s->size[1][i] = scaled(s, i, rk->k[0] + i * d);
    }
    spread(s, s->size[0]);
    spread(s, s->size[1]);
    for (size_t i = 0; i < n; i++) {
        rk->h[i] = sign * fmin(dfoi_first_guess(s->size[0][i], s->size[1][i]), span);
        rk->at[i] = rk->t[i] + rk->h[i];
    }
    dfoi_rk_combine(rk, 1, &one, 0, rk->y);
    rk->evaluations++;
    DFO_TRY(rk->field->ops->eval(rk->field, rk->run, rk->at, dfo_batch_of(rk->y, n, d), dfo_batch_of(rk->err, n, d), NULL));
    rk->run->arena_used = mark;
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < d; j++)
            rk->err[i * d + j] = (dfo_real)(((double)rk->err[i * d + j] - (double)rk->k[0][i * d + j]) / rk->h[i]);
        s->size[2][i] = scaled(s, i, rk->err + i * d);
    }
    spread(s, s->size[2]);
    for (size_t i = 0; i < n; i++)
        rk->h[i] = sign * dfoi_first_step(fabs(rk->h[i]), s->size[1][i], s->size[2][i], exponent(rk->tableau));
    return DFO_OK;
}

/* What is left of the way; a step that nearly gets there goes all of it.  */
static int clip(const struct solve *s, size_t i)
{
    double left = s->end - s->rk.t[i];
    int last = fabs(s->rk.h[i]) * (1 + 1e-9) >= fabs(left);
    s->rk.h[i] = last ? left : exactly(s->rk.t[i], s->rk.h[i]);
    return last;
}

static dfo_status too_small(struct solve *s, size_t i)
{
    double t = fmax(fabs(s->rk.t[i]), fabs(s->end));
    if (fabs(s->rk.h[i]) > 8 * DBL_EPSILON * t)
        return DFO_OK;
    return gave_up(s, i, s->control[s->ode->options.together ? 0 : i].lost ? "not finite" : "the step became too small");
}

/* Rows together: one error, one decision.  */
static dfo_status step_together(struct solve *s, int *done)
{
    dfoi_rk *rk = &s->rk;
    double err = 0, most = -1, factor;
    int last = clip(s, 0);
    for (size_t i = 1; i < rk->n; i++)
        rk->h[i] = rk->h[0];
    DFO_TRY(too_small(s, s->worst));
    DFO_TRY(dfoi_rk_step(rk));
    for (size_t i = 0; i < rk->n; i++) {
        double one = error_of(s, i);
        err += one / (double)rk->n;
        if (!isnan(most) && !(one <= most)) {
            most = one;
            s->worst = i;
        }
    }
    double h = rk->h[0], next = last ? s->end : rk->t[0] + h;
    int accepted = dfoi_control_step(&s->ode->options, exponent(rk->tableau), s->control, sqrt(err), &factor);
    if (accepted)
        DFO_TRY(watched(s));
    for (size_t i = 0; accepted && i < rk->n; i++)
        commit(s, i, next);
    for (size_t i = 0; i < rk->n; i++)
        rk->h[i] = h * factor;
    rk->known = rk->tableau->reuses || !accepted;
    s->accepted += accepted != 0;
    s->rejected += !accepted;
    *done = accepted && last;
    return accepted ? keep(s) : DFO_OK;
}

/* Rows alone: those that have arrived stay, with steps of zero.  */
static dfo_status step_alone(struct solve *s, int *done)
{
    dfoi_rk *rk = &s->rk;
    int any = 0, left = 0;
    for (size_t i = 0; i < rk->n; i++) {
        if (rk->t[i] == s->end)
            rk->h[i] = 0;
        else
            clip(s, i);
    }
    DFO_TRY(dfoi_rk_step(rk));
    for (size_t i = 0; i < rk->n; i++) {
        double factor, h = rk->h[i];
        if (rk->t[i] == s->end)
            continue;
        DFO_TRY(too_small(s, i));
        int last = rk->t[i] + h == s->end || h == s->end - rk->t[i];
        int accepted = dfoi_control_step(&s->ode->options, exponent(rk->tableau), &s->control[i], sqrt(error_of(s, i)), &factor);
        if (accepted)
            commit(s, i, last ? s->end : rk->t[i] + h);
        rk->h[i] = h * factor;
        any |= accepted;
        left |= !(accepted && last);
    }
    rk->known = rk->tableau->reuses || !any;
    s->accepted += any != 0;
    s->rejected += !any;
    *done = !left;
    return DFO_OK;
}

static dfo_status chosen_steps(struct solve *s)
{
    size_t n = controls(s->ode, s->rk.n);
    int done = 0;
    for (size_t i = 0; i < n; i++)
        s->control[i] = DFOI_CONTROL_FIRST;
    DFO_TRY(first_steps(s));
    while (!done) {
        if (s->accepted + s->rejected >= s->ode->options.most) {
            size_t row = s->worst;
            while (row + 1 < s->rk.n && s->rk.t[row] == s->end)
                row++;
            return gave_up(s, row, s->ode->options.rtol < 4 * (double)DFO_REAL_EPS && sizeof(dfo_real) < sizeof(double) ?
                           "too many steps: a relative tolerance below the rounding of single precision wants double" : "too many steps");
        }
        DFO_TRY(s->ode->options.together ? step_together(s, &done) : step_alone(s, &done));
    }
    return DFO_OK;
}

dfo_status dfoi_ode_steps(const dfo_ode *ode, const dfo_field *field, dfo_run *run, double t0, double t1, dfo_batch x, double *q,
                        dfo_ode_trace *trace, const dfoi_saves *saves, const dfoi_watch *watch, dfo_ode_report *report)
{
    size_t mark = run->arena_used;
    if (trace && !ode->options.together && !ode->options.steps)
        return dfo_run_fail(run, DFO_EARG, (size_t)-1, "%s: steps are kept of rows that go together alone", ode->tableau->name);
    struct solve s = {.ode = ode, .start = t0, .end = t1, .q = q, .trace = trace, .saves = saves, .watch = watch};
    dfoi_rk_take(&s.rk, ode->tableau, field, run, x, q && field->nq);
    if (trace)
        trace->rates = s.rk.rates;
    if (!ode->options.steps) {
        s.rk.newton.rtol = ode->options.rtol / 100;
        s.rk.newton.atol = ode->options.atol / 100;
    }
    s.control = (dfoi_control *)(void *)dfoi_take_doubles(run, DFOI_CONTROL * controls(ode, x.n));
    for (size_t i = 0; i < 3; i++)
        s.size[i] = dfoi_take_doubles(run, x.n);
    for (size_t i = 0; i < x.n; i++)
        s.rk.t[i] = t0;
    dfo_status status = keep(&s);
    if (status == DFO_OK && x.n && t0 != t1)
        status = ode->options.steps ? equal_steps(&s) : chosen_steps(&s);
    if (report) {
        report->evaluations += s.rk.evaluations;
        report->accepted += s.accepted;
        report->rejected += s.rejected;
    }
    run->arena_used = mark;
    return status;
}
