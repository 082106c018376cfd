/* Initial value problems: methods by name, options, solves with a plan and without one.  */
#include <math.h>
#include <string.h>

#include "base/ctx_impl.h"
#include "dist/dist_impl.h"
#include "math/kern_impl.h"
#include "rk_impl.h"

void dfo_ode_defaults(dfo_ode_options *o)
{
    *o = (dfo_ode_options){.method = "dopri5", .rtol = 1e-5, .atol = 1e-5, .i = 1, .most = 1000};
}

const char *dfo_ode_method(size_t i)
{
    return dfoi_tableau_at(i) ? dfoi_tableau_at(i)->name : NULL;
}

const char *dfo_ode_method_text(size_t i)
{
    return dfoi_tableau_at(i) ? dfoi_tableau_at(i)->text : NULL;
}

size_t dfo_ode_method_order(const char *name)
{
    return dfoi_tableau_named(name) ? dfoi_tableau_named(name)->order : 0;
}

size_t dfo_ode_method_embedded(const char *name)
{
    return dfoi_tableau_named(name) ? dfoi_tableau_named(name)->embedded : 0;
}

size_t dfo_ode_method_stages(const char *name)
{
    return dfoi_tableau_named(name) ? dfoi_tableau_named(name)->stages : 0;
}

#define MOST_STEPS ((size_t)1 << 30)

static dfo_status unknown(dfo_ctx *ctx, const char *name)
{
    char list[DFOI_METHODS];
    dfoi_tableau_list(1, list);
    return dfoi_fail(ctx, DFO_EARG, "solver: no method is called '%.40s'; known: %s", name, list);
}

static dfo_status check_options(dfo_ctx *ctx, const dfo_ode_options *o, const dfoi_tableau *m)
{
    if (!m)
        return unknown(ctx, o->method);
    if (!o->steps && !m->e)
        return dfoi_fail(ctx, DFO_EARG, "solver: %s has no estimate of its errors: it wants a number of steps", m->name);
    if (!o->steps && !(o->rtol >= 0 && o->rtol < 1 && o->atol >= 0 && o->atol < HUGE_VAL && o->rtol + o->atol > 0))
        return dfoi_fail(ctx, DFO_EARG, "solver: rtol %g, atol %g: expected tolerances above 0, rtol below 1", o->rtol, o->atol);
    if (!o->steps && !(o->p >= 0 && o->i > 0 && o->d >= 0 && o->p + o->i + o->d <= 2))
        return dfoi_fail(ctx, DFO_EARG, "solver: controller %g, %g, %g: expected numbers from 0, the second above it, of 2 at most", o->p,
                         o->i, o->d);
    if (!o->most)
        return dfoi_fail(ctx, DFO_EARG, "solver: at most 0 steps: expected 1 at least");
    if (o->steps > MOST_STEPS)
        return dfoi_fail(ctx, DFO_EARG, "solver: %zu steps: expected %zu at most", o->steps, MOST_STEPS);
    return DFO_OK;
}

dfo_status dfo_ode_new(dfo_ctx *ctx, const dfo_ode_options *options, dfo_ode **out)
{
    const dfoi_tableau *m = dfoi_tableau_named(options->method);
    *out = NULL;
    DFO_TRY(check_options(ctx, options, m));
    DFO_TRY(dfoi_alloc(ctx, 1, sizeof **out, out));
    **out = (struct dfo_ode){.ctx = ctx, .options = *options, .tableau = m};
    (*out)->options.method = m->name;
    return DFO_OK;
}

void dfo_ode_free(dfo_ode *ode)
{
    if (ode)
        dfoi_free(ode->ctx, ode);
}

const dfo_ode_options *dfo_ode_options_of(const dfo_ode *ode)
{
    return &ode->options;
}

dfo_status dfo_ode_solve(const dfo_ode *ode, const dfo_field *field, dfo_run *run, double t0, double t1, dfo_batch x, double *q,
                         dfo_ode_trace *trace, dfo_ode_report *report)
{
    return dfoi_ode_steps(ode, field, run, t0, t1, x, q, trace, NULL, NULL, report);
}

dfo_status dfoi_ode_solve(const dfo_ode *ode, const dfo_field *field, dfo_run *run, double t0, double t1, dfo_batch x,
                          const dfoi_watch *watch, dfo_ode_report *report)
{
    return dfoi_ode_steps(ode, field, run, t0, t1, x, NULL, NULL, NULL, watch, report);
}

/* ---- without a plan */

/* All states from the steps of one solve.  */
static dfo_status save_inside(const dfo_ode *ode, const dfo_field *field, dfo_run *run, dfo_batch x, size_t count, const double *times,
                              dfo_real *out, double *q, dfo_ode_report *report)
{
    dfo_batch work = dfo_batch_of(dfo_arena_take(run, x.n * x.d), x.n, x.d);
    dfoi_saves saves = {.count = count, .times = times, .out = out, .next = (size_t *)(void *)dfoi_take_doubles(run, x.n)};
    for (size_t i = 0; i < x.n; i++)
        saves.next[i] = 1;
    memcpy(work.x, out, x.n * x.d * sizeof *out);
    return dfoi_ode_steps(ode, field, run, times[0], times[count - 1], work, q, NULL, &saves, NULL, report);
}

dfo_status dfo_ode_integrate(dfo_ctx *ctx, const dfo_ode *ode, const dfo_field *field, dfo_batch x, size_t count,
                             const double *times, dfo_real *out, double *q, dfo_ode_report *report)
{
    dfo_run run = {.arena_size = dfo_ode_scratch(ode, field, x.n) + dfo_arena_size(x.n * x.d) + dfoi_doubles_size(x.n)};
    int inside = !ode->options.steps && ode->tableau->reuses;
    dfo_status status = DFO_OK;
    for (size_t m = 1; m < count; m++)
        if (!isfinite(times[m - 1]) || !isfinite(times[m]) || (times[m] > times[m - 1]) != (times[1] > times[0]) ||
            times[m] == times[m - 1])
            return dfoi_fail(ctx, DFO_EARG, "times: number %zu, %g, does not go on from %g", m, times[m], times[m - 1]);
    if (!count || x.d != field->d)
        return dfoi_fail(ctx, DFO_ESHAPE, "expected rows of %zu and a time, got rows of %zu and %zu times", field->d, x.d, count);
    DFO_TRY(dfoi_alloc(ctx, run.arena_size, sizeof *run.arena, &run.arena));
    for (size_t i = 0; i < x.n; i++)
        memcpy(out + i * x.d, dfo_row(x, i), x.d * sizeof *out);
    for (size_t i = 0; q && i < x.n * field->nq; i++)
        q[i] = 0;
    if (inside && count > 1)
        status = save_inside(ode, field, &run, x, count, times, out, q, report);
    for (size_t m = 1; m < count && status == DFO_OK && !inside; m++) {
        dfo_batch to = dfo_batch_of(out + m * x.n * x.d, x.n, x.d);
        memcpy(to.x, out + (m - 1) * x.n * x.d, x.n * x.d * sizeof *out);
        status = dfo_ode_solve(ode, field, &run, times[m - 1], times[m], to, q, NULL, report);
    }
    if (status != DFO_OK)
        status = dfoi_fail(ctx, status, "%s", run.text);
    dfoi_free(ctx, run.arena);
    return status;
}
