/* Solves of stochastic equations, see <diffeo/sde.h>: equal steps, or steps that every row chooses for itself.  A step that was
 * tried and taken back leaves no trace in the noise: the path is a function of time.  */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "dist/dist_impl.h"
#include "math/kern_impl.h"
#include "sde_impl.h"
#include "tableau_impl.h"

void dfo_sde_defaults(dfo_sde_options *o)
{
    *o = (dfo_sde_options){.method = "spark", .rtol = 1e-3, .atol = 1e-3, .p = 0.1, .i = 0.3, .most = 100000};
}

const char *dfo_sde_method(size_t i)
{
    return dfoi_sde_method_at(i) ? dfoi_sde_method_at(i)->name : NULL;
}

const char *dfo_sde_method_text(size_t i)
{
    return dfoi_sde_method_at(i) ? dfoi_sde_method_at(i)->text : NULL;
}

double dfo_sde_method_order(const char *name, dfo_noise_kind kind)
{
    return dfoi_sde_method_named(name) ? dfoi_sde_method_named(name)->order[kind] : 0;
}

dfo_calculus dfo_sde_method_calculus(const char *name)
{
    return dfoi_sde_method_named(name) ? dfoi_sde_method_named(name)->calculus : DFO_ITO;
}

int dfo_sde_method_adaptive(const char *name)
{
    return dfoi_sde_method_named(name) && dfoi_sde_method_named(name)->embedded;
}

static dfo_status unknown(dfo_ctx *ctx, const char *name)
{
    char list[256] = "";
    for (size_t i = 0; dfo_sde_method(i); i++) {
        size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "", dfo_sde_method(i));
    }
    return dfoi_fail(ctx, DFO_EARG, "stochastic solver: no method is called '%.40s'; known: %s", name ? name : "", list);
}

static dfo_status check_options(dfo_ctx *ctx, const dfo_sde_options *o, const dfoi_sde_method *m)
{
    if (!m)
        return unknown(ctx, o->method);
    if (!o->steps && !m->embedded)
        return dfoi_fail(ctx, DFO_EARG, "%s has no estimate of its errors: it wants a number of steps, got 0", m->name);
    if (o->steps > (size_t)1 << 30)
        return dfoi_fail(ctx, DFO_EARG, "%s: %zu steps", m->name, o->steps);
    if (o->steps)
        return DFO_OK;
    if (!(o->rtol >= 0 && o->rtol < 1 && o->atol >= 0 && o->atol < HUGE_VAL && o->rtol + o->atol > 0))
        return dfoi_fail(ctx, DFO_EARG, "%s: rtol %g, atol %g: expected tolerances above 0, rtol below 1", m->name, o->rtol, o->atol);
    if (!(o->p >= 0 && o->i > 0 && o->d >= 0 && o->p + o->i + o->d <= 2))
        return dfoi_fail(ctx, DFO_EARG, "%s: controller %g, %g, %g: expected numbers from 0, the second above it, of 2 at most", m->name,
                         o->p, o->i, o->d);
    if (!(o->first >= 0 && o->first < HUGE_VAL) || !o->most)
        return dfoi_fail(ctx, DFO_EARG, "%s: first step %g, at most %zu steps: expected a length from 0 and a step", m->name, o->first,
                         o->most);
    return DFO_OK;
}

dfo_status dfo_sde_new(dfo_ctx *ctx, const dfo_sde_options *options, dfo_sde **out)
{
    const dfoi_sde_method *m = dfoi_sde_method_named(options->method);
    *out = NULL;
    DFO_TRY(check_options(ctx, options, m));
    DFO_TRY(dfoi_alloc(ctx, 1, sizeof **out, out));
    **out = (struct dfo_sde){.ctx = ctx, .options = *options, .method = m};
    (*out)->options.method = m->name;
    return DFO_OK;
}

void dfo_sde_free(dfo_sde *sde)
{
    if (sde)
        dfoi_free(sde->ctx, sde);
}

/* ---- a solve */

struct solve {
    const dfo_sde *sde;
    const dfo_brownian *path;
    dfoi_sde_step step;
    double   start, end, order;            /* order: of the errors' estimate */
    size_t   accepted, rejected;
    dfo_ode_options how;                   /* the control's part of the options */
    dfoi_control *control;                 /* (n) */
};

size_t dfo_sde_scratch(const dfo_sde *sde, const dfo_field *field, const dfo_noise *noise, size_t rows)
{
    return dfoi_sde_step_size(sde->method, field, noise, rows) + dfoi_doubles_size(DFOI_CONTROL * rows) +
           dfoi_doubles_size(rows);
}

static dfo_status gave_up(struct solve *s, size_t row, const char *why)
{
    return dfo_run_fail(s->step.run, DFO_ENUM, row, "%s, row %llu, t = %.9g: %s", s->sde->method->name,
                        (unsigned long long)(s->step.run->key.row + row), s->step.t[row], why);
}

/* Row i's W and H from where it is to `next`.  */
static void look(struct solve *s, size_t i, double next)
{
    dfoi_sde_step *k = &s->step;
    dfo_brownian_increment(s->path, k->run->key.row + i, k->m, k->t[i], next, k->w + i * k->m, s->sde->method->levy ? k->area + i * k->m : NULL);
}

static void commit(struct solve *s, size_t i, double t)
{
    dfoi_sde_step *k = &s->step;
    memcpy(dfo_row(k->x, i), k->y + i * k->x.d, k->x.d * sizeof *k->y);
    k->t[i] = t;
}

static dfo_status equal_steps(struct solve *s)
{
    size_t steps = s->sde->options.steps;
    dfoi_sde_step *k = &s->step;
    for (size_t m = 0; m < steps; m++) {
        double next = m + 1 == steps ? s->end : s->start + (s->end - s->start) * (double)(m + 1) / (double)steps;
        for (size_t i = 0; i < k->n; i++) {
            k->h[i] = next - k->t[i];
            look(s, i, next);
        }
        DFO_TRY(dfoi_sde_advance(k));
        for (size_t i = 0; i < k->n; i++) {
            if (!dfoi_all_finite(k->x.d, k->y + i * k->x.d))
                return gave_up(s, i, "not finite");
            commit(s, i, next);
        }
        s->accepted++;
    }
    return DFO_OK;
}

/* Where row i's step leads: h, or what is left of the way if that is not much more.  */
static double aim(struct solve *s, size_t i)
{
    dfoi_sde_step *k = &s->step;
    double left = s->end - k->t[i];
    if (fabs(k->h[i]) * (1 + 1e-9) < fabs(left))
        return k->t[i] + k->h[i];
    k->h[i] = left;
    return s->end;
}

/* Row i's decision; its next step in h.  */
static dfo_status decide(struct solve *s, size_t i, double next, int *accepted)
{
    dfoi_sde_step *k = &s->step;
    size_t d = k->x.d;
    const dfo_real *y = k->y + i * d;
    double factor, err = dfoi_all_finite(d, y) ? sqrt(dfoi_error_squares(&s->how, d, k->err + i * d, dfo_row(k->x, i), y) / (double)d) : NAN;
    *accepted = dfoi_control_step(&s->how, s->order, &s->control[i], err, &factor);
    if (*accepted)
        commit(s, i, next);
    else if (fabs(k->h[i]) * factor < s->path->tol)
        return gave_up(s, i, isfinite(err) ? "the step became smaller than the path's tol" : "not finite");
    k->h[i] *= factor;
    return DFO_OK;
}

/* Rows that have arrived stay, with steps of zero.  */
static dfo_status step_rows(struct solve *s, double *next, int *done)
{
    dfoi_sde_step *k = &s->step;
    int any = 0;
    for (size_t i = 0; i < k->n; i++) {
        k->h[i] = k->t[i] == s->end ? 0 : k->h[i];
        next[i] = k->t[i] == s->end ? s->end : aim(s, i);
        look(s, i, next[i]);
    }
    DFO_TRY(dfoi_sde_advance(k));
    *done = 1;
    for (size_t i = 0; i < k->n; i++) {
        int accepted = 0;
        if (k->t[i] != s->end)
            DFO_TRY(decide(s, i, next[i], &accepted));
        any |= accepted;
        *done &= k->t[i] == s->end;
    }
    s->accepted += any != 0;
    s->rejected += !any;
    return DFO_OK;
}

static dfo_status chosen_steps(struct solve *s, double *next)
{
    dfoi_sde_step *k = &s->step;
    const dfo_sde_options *o = &s->sde->options;
    double span = s->end - s->start, first = fmax(s->path->tol, o->first > 0 ? o->first : fabs(span) / 100);
    int done = 0;
    s->how = (dfo_ode_options){.rtol = o->rtol, .atol = o->atol, .p = o->p, .i = o->i, .d = o->d};
    s->order = k->noise->kind == DFO_NOISE_GENERAL ? 1 : 1.5;
    for (size_t i = 0; i < k->n; i++) {
        s->control[i] = DFOI_CONTROL_FIRST;
        k->h[i] = copysign(first, span);
    }
    while (!done) {
        size_t row = 0;
        while (row + 1 < k->n && k->t[row] == s->end)
            row++;
        if (s->accepted + s->rejected >= o->most)
            return gave_up(s, row, "too many steps");
        DFO_TRY(step_rows(s, next, &done));
    }
    return DFO_OK;
}

static dfo_status check(const dfo_sde *sde, const dfo_field *field, const dfo_noise *noise, dfo_run *run, const dfo_brownian *b, double t0,
                        double t1)
{
    static const char *const kind[] = {"additive", "diagonal", "general"};
    const dfoi_sde_method *m = sde->method;
    double steps = sde->options.steps ? (double)sde->options.steps : 1;
    if (m->order[noise->kind] == 0)
        return dfo_run_fail(run, DFO_EARG, (size_t)-1, "%s: expected %s noise, got %s noise '%s'", m->name,
                            m->milstein ? "additive or diagonal" : "additive", kind[noise->kind], noise->ops->type);
    return dfoi_sde_check(run, m->name, field, noise, b, t0, t1, t0 == t1 ? b->tol : fabs(t1 - t0) / steps);
}

dfo_status dfo_sde_solve(const dfo_sde *sde, const dfo_field *field, const dfo_noise *noise, dfo_run *run, const dfo_brownian *b,
                         double t0, double t1, dfo_batch x, dfo_sde_report *report)
{
    size_t mark = run->arena_used;
    struct solve s = {.sde = sde, .path = b, .start = t0, .end = t1};
    dfo_status status = DFO_OK;
    DFO_TRY(check(sde, field, noise, run, b, t0, t1));
    dfoi_sde_step_take(&s.step, sde->method, field, noise, run, x);
    s.step.convert *= t1 < t0 ? -1 : 1;
    s.control = (dfoi_control *)(void *)dfoi_take_doubles(run, DFOI_CONTROL * x.n);
    double *next = dfoi_take_doubles(run, x.n);
    for (size_t i = 0; i < x.n; i++)
        s.step.t[i] = t0;
    if (x.n && t0 != t1)
        status = sde->options.steps ? equal_steps(&s) : chosen_steps(&s, next);
    if (report) {
        report->drifts += s.step.drifts;
        report->noises += s.step.noises;
        report->accepted += s.accepted;
        report->rejected += s.rejected;
    }
    run->arena_used = mark;
    return status;
}

dfo_status dfo_sde_integrate(dfo_ctx *ctx, const dfo_sde *sde, const dfo_field *field, const dfo_noise *noise, const dfo_brownian *b,
                             dfo_batch x, size_t count, const double *times, dfo_real *out, dfo_sde_report *report)
{
    dfo_run run = {.arena_size = dfo_sde_scratch(sde, field, noise, x.n)};
    dfo_status status = DFO_OK;
    if (!count || x.d != field->d)
        return dfoi_fail(ctx, DFO_ESHAPE, "expected rows of %zu and a time, got rows of %zu and %zu times", field->d, x.d, count);
    for (size_t m = 1; m < count; m++)
        if (!isfinite(times[m - 1]) || !isfinite(times[m]) || (times[m] > times[m - 1]) != (times[1] > times[0]) ||
            times[m] == times[m - 1])
            return dfoi_fail(ctx, DFO_EARG, "times: number %zu, %g, does not go on from %g", m, times[m], times[m - 1]);
    DFO_TRY(dfoi_alloc(ctx, run.arena_size, sizeof *run.arena, &run.arena));
    for (size_t i = 0; i < x.n; i++)
        memcpy(out + i * x.d, dfo_row(x, i), x.d * sizeof *out);
    for (size_t m = 1; m < count && status == DFO_OK; m++) {
        dfo_batch to = dfo_batch_of(out + m * x.n * x.d, x.n, x.d);
        memcpy(to.x, out + (m - 1) * x.n * x.d, x.n * x.d * sizeof *out);
        status = dfo_sde_solve(sde, field, noise, &run, b, times[m - 1], times[m], to, report);
    }
    if (status != DFO_OK)
        status = dfoi_fail(ctx, status, "%s", run.text);
    dfoi_free(ctx, run.arena);
    return status;
}
