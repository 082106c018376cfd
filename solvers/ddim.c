/* DDIM, its inversions, EDICT, BDIA and O-BELM, see <diffeo/ddim.h>.  */
#include <math.h>
#include <string.h>

#include "base/ctx_impl.h"
#include "base/real_impl.h"
#include "dist/dist_impl.h"
#include "math/kern_impl.h"
#include <diffeo/ddim.h>

enum scheme { DDIM, EDICT, BDIA, OBELM, SCHEMES };
static const char *const names[SCHEMES] = {"ddim", "edict", "bdia", "o-belm"};

struct dfo_ddim {
    dfo_ctx *ctx;
    dfo_ddim_options options;
    enum scheme scheme;
};

const char *dfo_ddim_scheme(size_t i)
{
    return i < SCHEMES ? names[i] : NULL;
}

dfo_status dfo_ddim_new(dfo_ctx *ctx, const dfo_ddim_options *o, dfo_ddim **out)
{
    struct dfo_ddim s = {.ctx = ctx, .options = *o};
    *out = NULL;
    while (o->scheme && s.scheme < SCHEMES && strcmp(o->scheme, names[s.scheme]))
        s.scheme++;
    if (s.scheme == SCHEMES)
        return dfoi_fail(ctx, DFO_EARG, "ddim: no scheme is called '%.40s'; known: ddim, edict, bdia, o-belm", o->scheme);
    DFO_TRY(dfo_noise_schedule_check(ctx, &o->schedule));
    if (o->weight == 0)
        s.options.weight = s.scheme == EDICT ? 0.93 : 0.5;
    if (!(s.options.weight > 0 && s.options.weight <= 1))
        return dfoi_fail(ctx, DFO_EARG, "%s: weight %g: expected a number above 0, 1 at most", names[s.scheme], o->weight);
    if (!(o->tolerance >= 0 && o->tolerance < HUGE_VAL))
        return dfoi_fail(ctx, DFO_EARG, "%s: tolerance %g: expected a number from 0", names[s.scheme], o->tolerance);
    s.options.scheme = names[s.scheme];
    DFO_TRY(dfoi_alloc(ctx, 1, sizeof **out, out));
    **out = s;
    return DFO_OK;
}

void dfo_ddim_free(dfo_ddim *ddim)
{
    if (ddim)
        dfoi_free(ddim->ctx, ddim);
}

int dfo_ddim_pair(const dfo_ddim *ddim)
{
    return ddim->scheme != DDIM;
}

/* ---- a call's memory, and the predictor */

struct work {
    const dfo_ddim  *ddim;
    const dfo_field *field;
    dfo_run   *run;
    size_t     n, d;
    double    *t;                          /* (n) */
    dfo_real  *eps;                        /* (n,d) */
    dfo_batch  a, b;                       /* (n,d) */
};

size_t dfo_ddim_scratch(const dfo_ddim *ddim, const dfo_field *field, size_t rows)
{
    (void)ddim;
    return dfoi_doubles_size(rows) + 3 * dfo_arena_size(rows * field->d) +
           (field->ops->scratch ? field->ops->scratch(field, rows) : 0);
}

static void take(struct work *k, const dfo_ddim *ddim, const dfo_field *field, dfo_run *run, size_t n)
{
    size_t all = n * field->d;
    *k = (struct work){.ddim = ddim, .field = field, .run = run, .n = n, .d = field->d};
    k->t = dfoi_take_doubles(run, n);
    k->eps = dfo_arena_take(run, all);
    k->a = dfo_batch_of(dfo_arena_take(run, all), n, field->d);
    k->b = dfo_batch_of(dfo_arena_take(run, all), n, field->d);
}

static dfo_noise_point at(const struct work *k, double t)
{
    return dfo_noise_schedule_at(&k->ddim->options.schedule, t);
}

/* eps of the rows at time t.  */
static dfo_status predict(struct work *k, dfo_noise_point p, dfo_batch x)
{
    size_t mark = k->run->arena_used;
    for (size_t i = 0; i < k->n; i++)
        k->t[i] = p.t;
    dfo_status status = k->field->ops->eval(k->field, k->run, k->t, x, dfo_batch_of(k->eps, k->n, k->d), NULL);
    k->run->arena_used = mark;
    for (size_t i = 0; k->ddim->options.data && i < k->n; i++)
        for (size_t j = 0; j < k->d; j++)
            k->eps[i * k->d + j] = (dfo_real)(((double)dfo_row(x, i)[j] - p.alpha * (double)k->eps[i * k->d + j]) / p.sigma);
    return status;
}

/* to = a x + b s + c eps; to may be x or s.  */
static void mix(const struct work *k, dfo_batch to, double a, dfo_batch x, double b, dfo_batch s, double c)
{
    for (size_t i = 0; i < k->n; i++)
        for (size_t j = 0; j < k->d; j++)
            dfo_row(to, i)[j] =
                (dfo_real)(a * (double)dfo_row(x, i)[j] + b * (double)dfo_row(s, i)[j] + c * (double)k->eps[i * k->d + j]);
}

static void copy(const struct work *k, dfo_batch to, dfo_batch from)
{
    for (size_t i = 0; i < k->n; i++)
        memcpy(dfo_row(to, i), dfo_row(from, i), k->d * sizeof *to.x);
}

static dfo_status all_finite(const struct work *k, dfo_batch x, double t)
{
    for (size_t i = 0; i < k->n; i++)
        if (!dfoi_all_finite(k->d, dfo_row(x, i)))
            return dfo_run_fail(k->run, DFO_ENUM, i, "%s, row %llu, t = %.9g: not finite", k->ddim->options.scheme,
                                (unsigned long long)(k->run->key.row + i), t);
    return DFO_OK;
}

/* ---- DDIM */

struct ddim_step {
    double a, b;
};

static struct ddim_step between(dfo_noise_point from, dfo_noise_point to)
{
    double a = to.alpha / from.alpha;
    return (struct ddim_step){a, to.sigma - from.sigma * a};
}

static dfo_status ddim_step(struct work *k, dfo_noise_point from, dfo_noise_point to, dfo_batch x)
{
    struct ddim_step s = between(from, to);
    DFO_TRY(predict(k, from, x));
    mix(k, x, s.a, x, 0, x, s.b);
    return DFO_OK;
}

/* x_0 with x_1 = a x_0 + b eps(x_0, t_0), by iteration.  */
static dfo_status fixed_point(struct work *k, dfo_noise_point p, dfo_noise_point q, dfo_batch x)
{
    const dfo_ddim_options *o = &k->ddim->options;
    struct ddim_step s = between(p, q);
    double change = HUGE_VAL;
    memset(k->eps, 0, k->n * k->d * sizeof *k->eps);
    mix(k, k->a, 1 / s.a, x, 0, x, 0);
    for (size_t m = 0; m < o->iterations && !(change <= o->tolerance && o->tolerance > 0); m++) {
        DFO_TRY(predict(k, p, k->a));
        mix(k, k->b, 1 / s.a, x, 0, x, -s.b / s.a);
        change = 0;
        for (size_t i = 0; i < k->n; i++)
            for (size_t j = 0; j < k->d; j++)
                change = fmax(change, fabs((double)dfo_row(k->b, i)[j] - (double)dfo_row(k->a, i)[j]) /
                                          fmax(1, fabs((double)dfo_row(k->b, i)[j])));
        copy(k, k->a, k->b);
        DFO_TRY(all_finite(k, k->a, p.t));
    }
    if (o->tolerance > 0 && !(change <= o->tolerance))
        return dfo_run_fail(k->run, DFO_ENUM, (size_t)-1,
                            "ddim, t = %.9g: after %zu iterations the fixed point still changes by %g", p.t, o->iterations, change);
    copy(k, x, k->a);
    return DFO_OK;
}

/* ---- EDICT.  The last mixing takes the new x.  */

static dfo_status edict_step(struct work *k, dfo_noise_point from, dfo_noise_point to, dfo_batch x, dfo_batch y)
{
    struct ddim_step s = between(from, to);
    double p = k->ddim->options.weight;
    DFO_TRY(predict(k, from, y));
    mix(k, x, s.a, x, 0, x, s.b);
    DFO_TRY(predict(k, from, x));
    mix(k, y, s.a, y, 0, y, s.b);
    mix(k, x, p, x, 1 - p, y, 0);
    mix(k, y, p, y, 1 - p, x, 0);
    return DFO_OK;
}

static dfo_status edict_back(struct work *k, dfo_noise_point from, dfo_noise_point to, dfo_batch x, dfo_batch y)
{
    struct ddim_step s = between(from, to);
    double p = k->ddim->options.weight;
    memset(k->eps, 0, k->n * k->d * sizeof *k->eps);
    mix(k, y, 1 / p, y, -(1 - p) / p, x, 0);
    mix(k, x, 1 / p, x, -(1 - p) / p, y, 0);
    DFO_TRY(predict(k, from, x));
    mix(k, y, 1 / s.a, y, 0, y, -s.b / s.a);
    DFO_TRY(predict(k, from, y));
    mix(k, x, 1 / s.a, x, 0, x, -s.b / s.a);
    return DFO_OK;
}

/* ---- schemes of two steps, next = a before + b now + c eps(now) */

struct two_step {
    double a, b, c;
};

static struct two_step two_step_of(const dfo_ddim *ddim, dfo_noise_point before, dfo_noise_point now, dfo_noise_point next)
{
    if (ddim->scheme == BDIA) {
        struct ddim_step on = between(now, next), back = between(now, before);
        double g = ddim->options.weight;
        return (struct two_step){g, on.a - g * back.a, on.b - g * back.b};
    }
    double h = now.sigma / now.alpha - next.sigma / next.alpha, last = before.sigma / before.alpha - now.sigma / now.alpha,
           r = h / last;
    return (struct two_step){r * r * next.alpha / before.alpha, (1 - r * r) * next.alpha / now.alpha, -r * (h + last) * next.alpha};
}

/* s becomes the next state, then the two change places; back: s, the state before; likewise.  */
static void change_places(const struct work *k, dfo_batch x, dfo_batch s)
{
    copy(k, k->a, x);
    copy(k, x, s);
    copy(k, s, k->a);
}

static dfo_status two_step(struct work *k, const double *t, dfo_batch x, dfo_batch s)
{
    dfo_noise_point now = at(k, t[1]);
    struct two_step c = two_step_of(k->ddim, at(k, t[0]), now, at(k, t[2]));
    DFO_TRY(predict(k, now, x));
    mix(k, s, c.a, s, c.b, x, c.c);
    change_places(k, x, s);
    return DFO_OK;
}

static dfo_status two_step_back(struct work *k, const double *t, dfo_batch x, dfo_batch s)
{
    dfo_noise_point now = at(k, t[1]);
    struct two_step c = two_step_of(k->ddim, at(k, t[0]), now, at(k, t[2]));
    DFO_TRY(predict(k, now, s));
    mix(k, x, 1 / c.a, x, -c.b / c.a, s, -c.c / c.a);
    change_places(k, x, s);
    return DFO_OK;
}

/* ---- all steps */

static dfo_status check(struct work *k, size_t steps, const double *t, dfo_batch x, dfo_batch s)
{
    const char *name = k->ddim->options.scheme;
    if (!steps)
        return dfo_run_fail(k->run, DFO_EARG, (size_t)-1, "%s: 0 steps: expected a grid of two times at least", name);
    if (x.d != k->d || (dfo_ddim_pair(k->ddim) && (!s.x || s.n != x.n || s.d != x.d)))
        return dfo_run_fail(k->run, DFO_ESHAPE, (size_t)-1, "%s: rows of %zu numbers and a second state of %zu, expected %zu", name,
                            x.d, s.x ? s.d : 0, k->d);
    for (size_t i = 0; i <= steps; i++) {
        if (i && !((t[i] > t[i - 1]) == (t[1] > t[0]) && t[i] != t[i - 1]))
            return dfo_run_fail(k->run, DFO_EARG, (size_t)-1, "%s: time %zu of the grid, %.9g, does not go on from %.9g", name, i,
                                t[i], t[i - 1]);
        dfo_noise_point p = at(k, t[i]);
        if (!(p.alpha > 0 && isfinite(p.sigma) && p.sigma >= 0 && (p.sigma > 0 || !k->ddim->options.data)))
            return dfo_run_fail(k->run, DFO_EARG, (size_t)-1,
                                "%s: time %zu of the grid, %.9g: the schedule has no finite clock there", name, i, t[i]);
    }
    return DFO_OK;
}

static dfo_status step(struct work *k, const double *t, size_t m, dfo_batch x, dfo_batch s)
{
    dfo_noise_point p = at(k, t[m]), q = at(k, t[m + 1]);
    if (k->ddim->scheme == EDICT)
        return edict_step(k, p, q, x, s);
    if (k->ddim->scheme != DDIM && m)
        return two_step(k, t + m - 1, x, s);
    if (k->ddim->scheme != DDIM)
        copy(k, s, x);
    return ddim_step(k, p, q, x);
}

static dfo_status step_back(struct work *k, const double *t, size_t m, dfo_batch x, dfo_batch s)
{
    dfo_noise_point p = at(k, t[m]), q = at(k, t[m + 1]);
    if (k->ddim->scheme == EDICT)
        return edict_back(k, p, q, x, s);
    if (k->ddim->scheme == DDIM)
        return k->ddim->options.iterations ? fixed_point(k, p, q, x) : ddim_step(k, q, p, x);
    if (m)
        return two_step_back(k, t + m - 1, x, s);
    change_places(k, x, s);
    return DFO_OK;
}

dfo_status dfo_ddim_forward(const dfo_ddim *ddim, const dfo_field *field, dfo_run *run, size_t steps, const double *t, dfo_batch x,
                            dfo_batch s)
{
    size_t mark = run->arena_used;
    struct work k;
    take(&k, ddim, field, run, x.n);
    dfo_status status = check(&k, steps, t, x, s);
    for (size_t m = 0; m < steps && status == DFO_OK; m++) {
        status = step(&k, t, m, x, s);
        if (status == DFO_OK)
            status = all_finite(&k, x, t[m + 1]);
    }
    run->arena_used = mark;
    return status;
}

dfo_status dfo_ddim_inverse(const dfo_ddim *ddim, const dfo_field *field, dfo_run *run, size_t steps, const double *t, dfo_batch x,
                            dfo_batch s)
{
    size_t mark = run->arena_used;
    struct work k;
    take(&k, ddim, field, run, x.n);
    dfo_status status = check(&k, steps, t, x, s);
    for (size_t m = steps; m-- > 0 && status == DFO_OK;) {
        status = step_back(&k, t, m, x, s);
        if (status == DFO_OK)
            status = all_finite(&k, x, t[m]);
    }
    run->arena_used = mark;
    return status;
}
