/* McCallum and Foster's scheme on whole numbers: sums of 64-bit numbers undo themselves, and increments are functions of a
 * state that both ways see to the last bit.  */
#include <math.h>

#include "base/ctx_impl.h"
#include "reversible_impl.h"

struct fixed {
    const dfo_reversible *rev;
    dfoi_rk   rk;
    dfo_real *x;                           /* (n,d) */
    double    unit;                        /* of the grid */
    size_t    n, d;
};

/* Half of the range, so that a step cannot wrap around.  */
#define REACH ((int64_t)1 << 61)

/* to += sign times the rounded increment over h from `at` at t.  */
static dfo_status move(struct fixed *f, const int64_t *at, double t, double h, int64_t sign, int64_t *to)
{
    size_t all = f->n * f->d;
    for (size_t i = 0; i < all; i++)
        f->x[i] = (dfo_real)((double)at[i] * f->unit);
    DFO_TRY(dfoi_increment(&f->rk, dfo_batch_of(f->x, f->n, f->d), t, h));
    for (size_t i = 0; i < all; i++) {
        double step = rint((double)f->rk.err[i] / f->unit);
        if (!(fabs(step) < (double)REACH) || to[i] >= REACH || to[i] <= -REACH)
            return dfo_run_fail(f->rk.run, DFO_ENUM, i / f->d, "reversible solver, row %llu, t = %.9g: %g leaves the range of the grid",
                                (unsigned long long)(f->rk.run->key.row + i / f->d), t, (double)f->rk.err[i]);
        to[i] += sign * (int64_t)step;
    }
    return DFO_OK;
}

static dfo_status begin(struct fixed *f, const dfo_reversible *rev, const dfo_field *field, dfo_run *run, int bits, size_t n)
{
    if (rev->scheme != DFOI_MCCALLUM_FOSTER || rev->coupling != 1)
        return dfo_run_fail(run, DFO_EUNSUP, (size_t)-1, "reversible solver: whole numbers go with mccallum-foster and a coupling of 1");
    if (bits < 0 || bits > 60)
        return dfo_run_fail(run, DFO_EARG, (size_t)-1, "reversible solver: %d bits behind the point: expected 0 to 60", bits);
    *f = (struct fixed){.rev = rev, .unit = ldexp(1, -bits), .n = n, .d = field->d};
    f->x = dfo_arena_take(run, n * field->d);
    dfoi_rk_take(&f->rk, rev->tableau, field, run, dfo_batch_of(f->x, n, field->d), 0);
    return DFO_OK;
}

dfo_status dfo_reversible_fixed_forward(const dfo_reversible *rev, const dfo_field *field, dfo_run *run, double t0, double t1, int bits,
                                        size_t n, int64_t *y, int64_t *s)
{
    size_t mark = run->arena_used;
    struct fixed f;
    dfo_status status = begin(&f, rev, field, run, bits, n);
    for (size_t m = 0; m < rev->steps && status == DFO_OK; m++) {
        double from = dfoi_step_time(rev, t0, t1, m), to = dfoi_step_time(rev, t0, t1, m + 1);
        status = move(&f, s, from, to - from, 1, y);
        if (status == DFO_OK)
            status = move(&f, y, to, from - to, -1, s);
    }
    run->arena_used = mark;
    return status;
}

dfo_status dfo_reversible_fixed_inverse(const dfo_reversible *rev, const dfo_field *field, dfo_run *run, double t0, double t1, int bits,
                                        size_t n, int64_t *y, int64_t *s)
{
    size_t mark = run->arena_used;
    struct fixed f;
    dfo_status status = begin(&f, rev, field, run, bits, n);
    for (size_t m = rev->steps; m-- > 0 && status == DFO_OK;) {
        double from = dfoi_step_time(rev, t0, t1, m), to = dfoi_step_time(rev, t0, t1, m + 1);
        status = move(&f, y, to, from - to, 1, s);
        if (status == DFO_OK)
            status = move(&f, s, from, to - from, -1, y);
    }
    run->arena_used = mark;
    return status;
}
