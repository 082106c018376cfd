/* Rex with zeta = 1 on whole numbers: in the variable Y = x/kappa a step only adds, sums of 64-bit numbers undo themselves, and
 * increments (noise included) are functions of a state that both ways see to the last bit.  */
#include <math.h>

#include "rex_impl.h"

/* Half of the range, so that a step cannot wrap around.  */
#define REACH ((int64_t)1 << 61)

struct fixed {
    dfoi_rex_work k;
    dfo_real *x;                           /* (n,d) */
    double    unit;                        /* of the grid */
};

static dfo_status left(dfo_run *run, size_t row, double t, double number)
{
    return dfo_run_fail(run, DFO_ENUM, row, "rex, row %llu, t = %.9g: %g leaves the range of the grid",
                        (unsigned long long)(run->key.row + row), t, number);
}

/* to += add times the rounded increment of `at`; sign as in dfoi_rex_increment.  */
static dfo_status move(struct fixed *f, const int64_t *at, dfoi_rex_time a, dfoi_rex_time b, double sign, int64_t add, int64_t *to)
{
    size_t all = f->k.n * f->k.d;
    for (size_t i = 0; i < all; i++)
        f->x[i] = (dfo_real)((double)at[i] * f->unit * a.kappa);
    DFO_TRY(dfoi_rex_increment(&f->k, a, b, dfo_batch_of(f->x, f->k.n, f->k.d), sign, 0));
    for (size_t i = 0; i < all; i++) {
        double step = rint(f->k.psi[i] / f->unit);
        if (!(fabs(step) < (double)REACH) || to[i] >= REACH || to[i] <= -REACH)
            return left(f->k.run, i / f->k.d, a.t, f->k.psi[i]);
        to[i] += add * (int64_t)step;
    }
    return DFO_OK;
}

static dfo_status check_bits(dfo_run *run, int bits)
{
    if (bits < 0 || bits > 60)
        return dfo_run_fail(run, DFO_EARG, (size_t)-1, "rex: %d bits behind the point: expected 0 to 60", bits);
    return DFO_OK;
}

static dfo_status begin(struct fixed *f, const dfo_rex *rex, const dfo_field *field, dfo_run *run, size_t steps, const double *t,
                        int bits, size_t n)
{
    if (rex->options.one_state || rex->options.zeta != 1)
        return dfo_run_fail(run, DFO_EUNSUP, (size_t)-1, "rex: whole numbers go with two states and a zeta of 1");
    DFO_TRY(check_bits(run, bits));
    DFO_TRY(dfoi_rex_check(rex, run, steps, t));
    dfoi_rex_take(&f->k, rex, field, run, n, 0);
    f->x = dfo_arena_take(run, n * field->d);
    f->unit = ldexp(1, -bits);
    return DFO_OK;
}

static dfo_status one_step(struct fixed *f, dfoi_rex_time a, dfoi_rex_time b, int64_t *y, int64_t *yh)
{
    DFO_TRY(dfoi_rex_draw(&f->k, a, b));
    DFO_TRY(move(f, yh, a, b, 1, 1, y));
    return move(f, y, b, a, -1, -1, yh);
}

static dfo_status one_step_back(struct fixed *f, dfoi_rex_time a, dfoi_rex_time b, int64_t *y, int64_t *yh)
{
    DFO_TRY(dfoi_rex_draw(&f->k, a, b));
    DFO_TRY(move(f, y, b, a, -1, 1, yh));
    return move(f, yh, a, b, 1, -1, y);
}

dfo_status dfo_rex_fixed_forward(const dfo_rex *rex, const dfo_field *field, dfo_run *run, size_t steps, const double *t, int bits,
                                 size_t n, int64_t *y, int64_t *yh)
{
    size_t mark = run->arena_used;
    struct fixed f;
    dfo_status status = begin(&f, rex, field, run, steps, t, bits, n);
    for (size_t m = 0; m < steps && status == DFO_OK; m++)
        status = one_step(&f, dfoi_rex_at(rex, t[m]), dfoi_rex_at(rex, t[m + 1]), y, yh);
    run->arena_used = mark;
    return status;
}

dfo_status dfo_rex_fixed_inverse(const dfo_rex *rex, const dfo_field *field, dfo_run *run, size_t steps, const double *t, int bits,
                                 size_t n, int64_t *y, int64_t *yh)
{
    size_t mark = run->arena_used;
    struct fixed f;
    dfo_status status = begin(&f, rex, field, run, steps, t, bits, n);
    for (size_t m = steps; m-- > 0 && status == DFO_OK;)
        status = one_step_back(&f, dfoi_rex_at(rex, t[m]), dfoi_rex_at(rex, t[m + 1]), y, yh);
    run->arena_used = mark;
    return status;
}

dfo_status dfo_rex_fixed_from(const dfo_rex *rex, dfo_run *run, double t, int bits, dfo_batch x, int64_t *y)
{
    DFO_TRY(check_bits(run, bits));
    double by = ldexp(1 / dfoi_rex_at(rex, t).kappa, bits);
    for (size_t i = 0; i < x.n; i++)
        for (size_t j = 0; j < x.d; j++) {
            double whole = rint((double)dfo_row(x, i)[j] * by);
            if (!(fabs(whole) < (double)REACH))
                return left(run, i, t, (double)dfo_row(x, i)[j]);
            y[i * x.d + j] = (int64_t)whole;
        }
    return DFO_OK;
}

dfo_status dfo_rex_fixed_to(const dfo_rex *rex, dfo_run *run, double t, int bits, const int64_t *y, dfo_batch x)
{
    DFO_TRY(check_bits(run, bits));
    double by = ldexp(dfoi_rex_at(rex, t).kappa, -bits);
    for (size_t i = 0; i < x.n; i++)
        for (size_t j = 0; j < x.d; j++)
            dfo_row(x, i)[j] = (dfo_real)((double)y[i * x.d + j] * by);
    return DFO_OK;
}
