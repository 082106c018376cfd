/* The gradient of steps of which few states are kept: binomial checkpoints (Griewank and Walther 2000, revolve).  With c free
 * places, C(c + r, c) steps are gone back through with none taken more than r times.  */
#include <string.h>

#include "dist/dist_impl.h"
#include "rk_impl.h"

struct again {
    dfoi_rk_back b;
    const dfo_ode_trace *trace;
    size_t    places;
    dfo_real *place;                       /* (places + 1, n, d): the last to work in */
    dfo_batch g;
};

/* Places for states of up to `most` steps.  */
static size_t places_of(size_t most)
{
    size_t n = 2;
    while (n < 40 && (size_t)1 << n < most)
        n++;
    return n;
}

static double reach(size_t places, size_t times)
{
    double n = 1;
    for (size_t i = 1; i <= places; i++)
        n = n * (double)(times + i) / (double)i;
    return n;
}

static dfo_batch place(const struct again *a, size_t i)
{
    return dfo_batch_of(a->place + i * a->g.n * a->g.d, a->g.n, a->g.d);
}

/* The state in place `to` from that in place `from`, steps first .. last-1 taken.  */
static dfo_status advance(struct again *a, size_t from, size_t to, size_t first, size_t last)
{
    dfoi_rk *rk = &a->b.rk;
    size_t size = a->g.n * a->g.d, end = rk->tableau->stages - 1;
    memmove(place(a, to).x, place(a, from).x, size * sizeof *a->place);
    rk->x = place(a, to);
    rk->known = 0;
    for (size_t m = first; m < last; m++) {
        for (size_t i = 0; i < rk->n; i++) {
            rk->t[i] = a->trace->t[m];
            rk->h[i] = a->trace->t[m + 1] - a->trace->t[m];
        }
        DFO_TRY(dfoi_rk_step(rk));
        memcpy(rk->x.x, rk->y, size * sizeof *rk->y);
        rk->known = rk->tableau->reuses;
        if (rk->known)
            memcpy(rk->k[0], rk->k[end], size * sizeof *rk->y);
    }
    return DFO_OK;
}

static dfo_status back(struct again *a, size_t at, size_t m)
{
    return dfoi_rk_back_step(&a->b, place(a, at), a->trace->t[m], a->trace->t[m + 1] - a->trace->t[m], a->g, a->g);
}

/* Back through steps first .. last-1, whose first state is in place `at`; those behind it are free.  */
static dfo_status reverse(struct again *a, size_t first, size_t last, size_t at)
{
    while (last > first) {
        size_t steps = last - first, left = a->places - 1 - at, times = 0, there;
        if (steps == 1)
            return back(a, at, first);
        if (!left) {
            DFO_TRY(advance(a, at, a->places, first, last - 1));
            DFO_TRY(back(a, a->places, --last));
            continue;
        }
        while (reach(left, times) < (double)steps)
            times++;
        double beyond = reach(left - 1, times);
        there = first + (beyond < (double)steps ? steps - (size_t)beyond : 1);
        DFO_TRY(advance(a, at, at + 1, first, there));
        DFO_TRY(reverse(a, there, last, at + 1));
        last = there;
    }
    return DFO_OK;
}

size_t dfo_ode_checkpoint_scratch(const dfo_ode *ode, const dfo_field *field, size_t rows, size_t most)
{
    return dfo_ode_backward_scratch(ode, field, rows) + dfo_arena_size((places_of(most) + 1) * rows * field->d);
}

dfo_status dfo_ode_checkpoint_backward(const dfo_ode *ode, const dfo_field *field, dfo_run *run, const dfo_ode_trace *trace, dfo_batch x,
                                       dfo_batch gx, const double *gq, dfo_ode_report *report)
{
    size_t mark = run->arena_used;
    if (ode->tableau->gamma != 0)
        return dfo_run_fail(run, DFO_EUNSUP, (size_t)-1, "%s: steps of implicit methods have no gradient", ode->tableau->name);
    struct again a = {.trace = trace, .places = places_of(trace->most), .g = gx};
    dfoi_rk_back_take(&a.b, ode->tableau, field, run, gx.n, gq);
    a.place = dfo_arena_take(run, (a.places + 1) * gx.n * gx.d);
    for (size_t i = 0; i < gx.n; i++)
        memcpy(a.place + i * gx.d, dfo_row(x, i), gx.d * sizeof *x.x);
    dfo_status status = reverse(&a, 0, trace->n, 0);
    if (report)
        report->evaluations += a.b.rk.evaluations;
    run->arena_used = mark;
    return status;
}
