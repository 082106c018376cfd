/* Störmer and Verlet's leapfrog in the form kick, drift, kick; a step's last kick and the next one's first are the same slope.  */
#include <math.h>

#include "base/ctx_impl.h"
#include "dist/dist_impl.h"
#include "math/kern_impl.h"
#include <diffeo/leapfrog.h>

struct leap {
    const dfo_field *field;
    dfo_run  *run;
    dfo_batch x, slope;
    double   *at;                          /* (n) */
    uint64_t  evaluations;
};

size_t dfo_leapfrog_scratch(const dfo_field *field, size_t rows)
{
    return dfo_arena_size(rows * field->d) + dfoi_doubles_size(rows) + (field->ops->scratch ? field->ops->scratch(field, rows) : 0);
}

static dfo_status slopes(struct leap *s, double t)
{
    size_t mark = s->run->arena_used;
    for (size_t i = 0; i < s->x.n; i++)
        s->at[i] = t;
    s->evaluations++;
    dfo_status status = s->field->ops->eval(s->field, s->run, s->at, s->x, s->slope, NULL);
    s->run->arena_used = mark;
    return status;
}

/* One half of the rows, from column `first`, moves on by its slope.  */
static void move(struct leap *s, size_t first, double by)
{
    for (size_t i = 0; i < s->x.n; i++) {
        dfo_real *x = dfo_row(s->x, i) + first;
        const dfo_real *slope = dfo_row(s->slope, i) + first;
        for (size_t j = 0; j < s->x.d / 2; j++)
            x[j] += (dfo_real)by * slope[j];
    }
}

static dfo_status check_rows(const struct leap *s, double t)
{
    for (size_t i = 0; i < s->x.n; i++)
        if (!dfoi_all_finite(s->x.d, dfo_row(s->x, i)))
            return dfo_run_fail(s->run, DFO_ENUM, i, "leapfrog, row %llu, t = %.9g: not finite",
                                (unsigned long long)(s->run->key.row + i), t);
    return DFO_OK;
}

/* The slope of p at t is there, and stays there.  */
static dfo_status step(struct leap *s, double t, double h)
{
    size_t half = s->x.d / 2;
    move(s, half, h / 2);
    DFO_TRY(slopes(s, t));
    move(s, 0, h);
    DFO_TRY(slopes(s, t + h));
    move(s, half, h / 2);
    return check_rows(s, t + h);
}

dfo_status dfo_leapfrog(const dfo_field *field, dfo_run *run, double t0, double t1, size_t steps, dfo_batch x, dfo_ode_report *report)
{
    size_t mark = run->arena_used;
    struct leap s = {.field = field, .run = run, .x = x};
    if (!steps || !isfinite(t0) || !isfinite(t1))
        return dfo_run_fail(run, DFO_EARG, (size_t)-1, "leapfrog: %zu steps from %g to %g", steps, t0, t1);
    if (x.d % 2 || x.d != field->d)
        return dfo_run_fail(run, DFO_ESHAPE, (size_t)-1, "leapfrog: expected rows (q, p) of %zu numbers, an even one, got %zu", field->d, x.d);
    s.slope = dfo_batch_of(dfo_arena_take(run, x.n * x.d), x.n, x.d);
    s.at = dfoi_take_doubles(run, x.n);
    dfo_status status = x.n ? slopes(&s, t0) : DFO_OK;
    double at = t0;
    for (size_t m = 0; m < steps && x.n && status == DFO_OK; m++) {
        double next = m + 1 == steps ? t1 : t0 + (t1 - t0) * (double)(m + 1) / (double)steps;
        status = step(&s, at, next - at);
        at = next;
    }
    if (report) {
        report->evaluations += s.evaluations;
        report->accepted += x.n ? steps : 0;
    }
    run->arena_used = mark;
    return status;
}
