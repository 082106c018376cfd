/* A continuous flow whose field is a schedule's probability flow, f = a x + b N with N what the net says: as a field over the net's
 * own, whose places along the way become the net's times.  The trace, and each probe's estimate of it, are of the same form.  */
#include "cnf_impl.h"

/* The net's.  */
static const struct dfo_field_ops *own_ops(const dfo_field *field)
{
    const struct dfoi_cnf_solve *f = field->state;
    return dfoi_cnf_own_ops(f->bij->state);
}

static const dfoi_diffusion *diffusion_of(const dfo_field *field)
{
    const struct dfoi_cnf_solve *f = field->state;
    return dfoi_cnf_diffusion(f->bij);
}

static size_t scratch(const dfo_field *field, size_t rows)
{
    return 3 * dfoi_doubles_size(rows) + dfoi_doubles_size(rows * field->nq) + own_ops(field)->scratch(field, rows);
}

/* At places t of the way: times of the net, and the field's factors a and b, (n) each.  */
struct places {
    double *time, *a, *b;
};

static struct places places_of(const dfo_field *field, dfo_run *run, const double *t, size_t n)
{
    struct places s = {dfoi_take_doubles(run, n), dfoi_take_doubles(run, n), dfoi_take_doubles(run, n)};
    dfoi_diffusion_point p = {0};
    for (size_t i = 0; i < n; i++) {
        if (!i || t[i] < t[i - 1] || t[i] > t[i - 1])          /* rows that go together share it */
            p = dfoi_diffusion_at(diffusion_of(field), t[i]);
        s.time[i] = p.net_time;
        s.a[i] = p.a;
        s.b[i] = p.b;
    }
    return s;
}

static dfo_status eval(const dfo_field *field, dfo_run *run, const double *t, dfo_batch x, dfo_batch dx, double *dq)
{
    size_t mark = run->arena_used;
    struct places s = places_of(field, run, t, x.n);
    dfo_status status = own_ops(field)->eval(field, run, s.time, x, dx, dq);
    for (size_t i = 0; i < x.n && status == DFO_OK; i++) {
        for (size_t j = 0; j < x.d; j++)
            dfo_row(dx, i)[j] = (dfo_real)(s.a[i] * (double)dfo_row(x, i)[j] + s.b[i] * (double)dfo_row(dx, i)[j]);
        for (size_t j = 0; dq && j < field->nq; j++)
            dq[i * field->nq + j] = s.a[i] * (double)x.d + s.b[i] * dq[i * field->nq + j];
    }
    run->arena_used = mark;
    return status;
}

static dfo_status vjp(const dfo_field *field, dfo_run *run, const double *t, dfo_batch x, dfo_batch gdx, const double *gdq, dfo_batch gx)
{
    size_t mark = run->arena_used;
    struct places s = places_of(field, run, t, x.n);
    double *gq = gdq ? dfoi_take_doubles(run, x.n * field->nq) : NULL;
    for (size_t i = 0; i < x.n; i++) {
        for (size_t j = 0; j < x.d; j++) {
            dfo_row(gx, i)[j] += (dfo_real)s.a[i] * dfo_row(gdx, i)[j];
            dfo_row(gdx, i)[j] *= (dfo_real)s.b[i];
        }
        for (size_t j = 0; gq && j < field->nq; j++)
            gq[i * field->nq + j] = s.b[i] * gdq[i * field->nq + j];
    }
    dfo_status status = own_ops(field)->vjp(field, run, s.time, x, gdx, gq, gx);
    run->arena_used = mark;
    return status;
}

const struct dfo_field_ops dfoi_cnf_diffusion_ops = {.type = "cnf", .scratch = scratch, .eval = eval, .vjp = vjp};
