/* Reversible schemes on reals, see <diffeo/reversible.h>: steps, steps back, and gradients of a step with the state before it
 * rebuilt (McCallum and Foster 2024; Kidger et al. 2021; Zhuang et al. 2021).  */
#include <math.h>
#include <string.h>

#include "base/ctx_impl.h"
#include "dist/dist_impl.h"
#include "math/kern_impl.h"
#include "reversible_impl.h"

static const char *const scheme_name[DFOI_SCHEMES] = {"mccallum-foster", "heun", "leapfrog"};

dfo_status dfo_reversible_new(dfo_ctx *ctx, const dfo_reversible_options *o, dfo_reversible **out)
{
    struct dfo_reversible r = {.ctx = ctx, .coupling = o->coupling, .steps = o->steps};
    const char *scheme = o->scheme ? o->scheme : scheme_name[0], *method = o->method ? o->method : "midpoint";
    *out = NULL;
    while (r.scheme < DFOI_SCHEMES && strcmp(scheme, scheme_name[r.scheme]))
        r.scheme++;
    if (r.scheme == DFOI_SCHEMES)
        return dfoi_fail(ctx, DFO_EARG, "reversible: no scheme is called '%.40s'; known: mccallum-foster, heun, leapfrog", scheme);
    if (!(r.tableau = dfoi_tableau_named(method)))
        return dfoi_fail(ctx, DFO_EARG, "reversible: no method is called '%.40s'", method);
    if (r.tableau->gamma != 0)
        return dfoi_fail(ctx, DFO_EARG, "reversible: %s is implicit: expected an explicit method", method);
    if (!(o->coupling > (r.scheme == DFOI_LEAPFROG ? 0.5 : 0) && o->coupling <= 1))
        return dfoi_fail(ctx, DFO_EARG, "reversible: coupling %g: expected a number above %g, 1 at most", o->coupling,
                         r.scheme == DFOI_LEAPFROG ? 0.5 : 0);
    if (!o->steps || o->steps > (size_t)1 << 30)
        return dfoi_fail(ctx, DFO_EARG, "reversible: %zu steps", o->steps);
    DFO_TRY(dfoi_alloc(ctx, 1, sizeof **out, out));
    **out = r;
    return DFO_OK;
}

void dfo_reversible_free(dfo_reversible *rev)
{
    if (rev)
        dfoi_free(rev->ctx, rev);
}

double dfo_reversible_growth(const dfo_reversible *rev)
{
    double one = rev->scheme == DFOI_MCCALLUM_FOSTER ? rev->coupling : rev->scheme == DFOI_LEAPFROG ? fabs(1 - 2 * rev->coupling) : 1;
    return pow(1 / one, (double)rev->steps);
}

size_t dfo_reversible_scratch(const dfo_reversible *rev, const dfo_field *field, size_t rows)
{
    return dfoi_rk_back_size(rev->tableau, field, rows) + 4 * dfo_arena_size(rows * field->d) + 3 * dfoi_doubles_size(rows * field->nq) +
           dfoi_doubles_size(rows) + (field->ops->scratch ? field->ops->scratch(field, rows) : 0);
}

dfo_status dfoi_reversible_check(dfo_run *run, dfo_batch x, double t)
{
    for (size_t i = 0; i < x.n; i++)
        if (!dfoi_all_finite(x.d, dfo_row(x, i)))
            return dfo_run_fail(run, DFO_ENUM, i, "reversible solver, row %llu, t = %.9g: not finite",
                                (unsigned long long)(run->key.row + i), t);
    return DFO_OK;
}

dfo_status dfoi_increment(dfoi_rk *rk, dfo_batch x, double t, double h)
{
    const dfoi_tableau *m = rk->tableau;
    rk->x = x;
    for (size_t r = 0; r < rk->n; r++) {
        rk->t[r] = t;
        rk->h[r] = h;
    }
    for (size_t i = 0; i < m->stages - (m->reuses != 0); i++) {
        if (i)
            dfoi_rk_combine(rk, i, m->a + i * m->stages, 0, rk->y);
        DFO_TRY(dfoi_rk_stage(rk, i));
    }
    dfoi_rk_combine(rk, m->stages - (m->reuses != 0), m->b, 1, rk->err);
    return DFO_OK;
}

/* y = a y + b s + c k, where k (n,d) is packed.  */
static void mix(double a, dfo_batch y, double b, dfo_batch s, double c, const dfo_real *k)
{
    dfo_real fa = (dfo_real)a, fb = (dfo_real)b, fc = (dfo_real)c;
    for (size_t i = 0; i < y.n; i++, k += y.d)
        for (size_t j = 0; j < y.d; j++)
            dfo_row(y, i)[j] = fa * dfo_row(y, i)[j] + fb * dfo_row(s, i)[j] + fc * k[j];
}

/* ---- a worker's memory, and the field at one time for all rows */

struct work {
    const dfo_reversible *rev;
    const dfo_field *field;
    dfo_run   *run;
    dfoi_rk_back back;
    size_t     n, d;
    double    *t, *rate, *half, *grate;    /* (n); (n,nq) */
    dfo_real  *f, *g, *v, *w;              /* (n,d) */
};

static void take(struct work *k, const dfo_reversible *rev, const dfo_field *field, dfo_run *run, size_t n, const double *gq)
{
    *k = (struct work){.rev = rev, .field = field, .run = run, .n = n, .d = field->d};
    dfoi_rk_back_take(&k->back, rev->tableau, field, run, n, gq);
    k->f = dfo_arena_take(run, n * field->d);
    k->g = dfo_arena_take(run, n * field->d);
    k->v = dfo_arena_take(run, n * field->d);
    k->w = dfo_arena_take(run, n * field->d);
    k->t = dfoi_take_doubles(run, n);
    k->rate = dfoi_take_doubles(run, n * field->nq);
    k->half = dfoi_take_doubles(run, n * field->nq);
    k->grate = dfoi_take_doubles(run, n * field->nq);
}

static dfo_batch rows_of(const struct work *k, dfo_real *x)
{
    return dfo_batch_of(x, k->n, k->d);
}

static dfo_status eval(struct work *k, double t, dfo_batch x, dfo_real *f, double *rate)
{
    size_t mark = k->run->arena_used;
    for (size_t i = 0; i < k->n; i++)
        k->t[i] = t;
    dfo_status status = k->field->ops->eval(k->field, k->run, k->t, x, rows_of(k, f), rate);
    k->run->arena_used = mark;
    return status;
}

/* to = the gradient through f(t, x), with g that of f (overwritten) and `by` gq that of the rates.  */
static dfo_status vjp(struct work *k, double t, dfo_batch x, dfo_real *g, double by, const double *gq, dfo_real *to)
{
    size_t mark = k->run->arena_used;
    for (size_t i = 0; i < k->n; i++)
        k->t[i] = t;
    for (size_t i = 0; gq && i < k->n * k->field->nq; i++)
        k->grate[i] = by * gq[i];
    memset(to, 0, k->n * k->d * sizeof *to);
    dfo_status status = k->field->ops->vjp(k->field, k->run, k->t, x, rows_of(k, g), gq ? k->grate : NULL, rows_of(k, to));
    k->run->arena_used = mark;
    return status;
}

static void add_rates(const struct work *k, double h, const double *rate, double *q)
{
    for (size_t i = 0; q && i < k->n * k->field->nq; i++)
        q[i] += h * rate[i];
}

/* ---- McCallum and Foster */

static dfo_status foster_forward(struct work *k, double t0, double t1, dfo_batch y, dfo_batch s, double *q)
{
    dfoi_rk *rk = &k->back.rk;
    double c = k->rev->coupling;
    rk->quadratures = q != NULL;
    DFO_TRY(dfoi_increment(rk, s, t0, t1 - t0));
    mix(c, y, 1 - c, s, 1, rk->err);
    for (size_t i = 0; q && i < k->n; i++)
        for (size_t j = 0; j < k->field->nq; j++)
            q[i * k->field->nq + j] += dfoi_rk_quadrature(rk, rk->tableau->b, i, j);
    rk->quadratures = 0;
    DFO_TRY(dfoi_increment(rk, y, t1, t0 - t1));
    mix(1, s, 0, y, -1, rk->err);
    return DFO_OK;
}

static dfo_status foster_inverse(struct work *k, double t0, double t1, dfo_batch y, dfo_batch s)
{
    dfoi_rk *rk = &k->back.rk;
    double c = k->rev->coupling;
    DFO_TRY(dfoi_increment(rk, y, t1, t0 - t1));
    mix(1, s, 0, y, 1, rk->err);
    DFO_TRY(dfoi_increment(rk, s, t0, t1 - t0));
    mix(1 / c, y, -(1 - c) / c, s, -1 / c, rk->err);
    return DFO_OK;
}

static dfo_status foster_backward(struct work *k, double t0, double t1, dfo_batch y, dfo_batch s, dfo_batch gy, dfo_batch gs,
                                  const double *gq)
{
    double c = k->rev->coupling;
    dfo_batch g = rows_of(k, k->g);
    for (size_t i = 0; i < k->n; i++)                /* s1 = s0 - P_-h(y1) */
        for (size_t j = 0; j < k->d; j++)
            dfo_row(g, i)[j] = -dfo_row(gs, i)[j];
    k->back.given = NULL;
    DFO_TRY(dfoi_rk_back_step(&k->back, y, t1, t0 - t1, g, gy));
    DFO_TRY(foster_inverse(k, t0, t1, y, s));
    for (size_t i = 0; i < k->n; i++)                /* y1 = c y0 + (1-c) s0 + P_h(s0) */
        for (size_t j = 0; j < k->d; j++)
            dfo_row(gs, i)[j] += (dfo_real)(1 - c) * dfo_row(gy, i)[j];
    k->back.given = gq;
    DFO_TRY(dfoi_rk_back_step(&k->back, s, t0, t1 - t0, gy, gs));
    for (size_t i = 0; i < k->n; i++)
        for (size_t j = 0; j < k->d; j++)
            dfo_row(gy, i)[j] *= (dfo_real)c;
    return DFO_OK;
}

/* ---- reversible Heun: f holds the field at s and the present time, rate its quadratures' rates */

static dfo_status heun_forward(struct work *k, double t0, double t1, dfo_batch y, dfo_batch s, double *q)
{
    double h = t1 - t0;
    mix(-1, s, 2, y, h, k->f);
    memcpy(k->g, k->f, k->n * k->d * sizeof *k->f);
    add_rates(k, h / 2, k->rate, q);
    DFO_TRY(eval(k, t1, s, k->f, q ? k->rate : NULL));
    add_rates(k, h / 2, k->rate, q);
    mix(1, y, 0, s, h / 2, k->g);
    mix(1, y, 0, s, h / 2, k->f);
    return DFO_OK;
}

static dfo_status heun_inverse(struct work *k, double t0, double t1, dfo_batch y, dfo_batch s)
{
    double h = t1 - t0;
    mix(-1, s, 2, y, -h, k->f);
    memcpy(k->g, k->f, k->n * k->d * sizeof *k->f);
    DFO_TRY(eval(k, t0, s, k->f, NULL));
    mix(1, y, 0, s, -h / 2, k->f);
    mix(1, y, 0, s, -h / 2, k->g);
    return DFO_OK;
}

/* v carries the gradient of f from step to step.  With w = gs + (df/ds)^T (gf + h/2 gy): gy += 2 w, gs = -w, and that of the
 * f before is h/2 gy + h w.  */
static dfo_status heun_backward(struct work *k, double t0, double t1, dfo_batch y, dfo_batch s, dfo_batch gy, dfo_batch gs,
                                const double *gq)
{
    double h = t1 - t0;
    dfo_real half = (dfo_real)(h / 2);
    for (size_t i = 0; i < k->n; i++)
        for (size_t j = 0; j < k->d; j++)
            k->g[i * k->d + j] = k->v[i * k->d + j] + half * dfo_row(gy, i)[j];
    for (size_t i = 0; gq && i < k->n * k->field->nq; i++)
        k->half[i] += h / 2 * gq[i];                  /* of the rates at t1, both steps' */
    DFO_TRY(vjp(k, t1, s, k->g, 1, gq ? k->half : NULL, k->w));
    for (size_t i = 0; gq && i < k->n * k->field->nq; i++)
        k->half[i] = h / 2 * gq[i];
    for (size_t i = 0; i < k->n; i++)
        for (size_t j = 0; j < k->d; j++) {
            dfo_real w = dfo_row(gs, i)[j] + k->w[i * k->d + j];
            k->v[i * k->d + j] = half * dfo_row(gy, i)[j] + (dfo_real)h * w;
            dfo_row(gy, i)[j] += 2 * w;
            dfo_row(gs, i)[j] = -w;
        }
    return heun_inverse(k, t0, t1, y, s);
}

/* ---- asynchronous leapfrog */

static dfo_status leap_forward(struct work *k, double t0, double t1, dfo_batch y, dfo_batch s, double *q)
{
    double h = t1 - t0, eta = k->rev->coupling;
    memset(k->g, 0, k->n * k->d * sizeof *k->g);
    mix(1, y, h / 2, s, 0, k->g);
    DFO_TRY(eval(k, t0 + h / 2, y, k->f, q ? k->rate : NULL));
    add_rates(k, h, k->rate, q);
    mix(1 - 2 * eta, s, 0, y, 2 * eta, k->f);
    mix(1, y, h / 2, s, 0, k->g);
    return DFO_OK;
}

/* The middle state first: its field is what forward saw.  */
static dfo_status leap_inverse(struct work *k, double t0, double t1, dfo_batch y, dfo_batch s)
{
    double h = t1 - t0, eta = k->rev->coupling;
    memset(k->g, 0, k->n * k->d * sizeof *k->g);
    mix(1, y, -h / 2, s, 0, k->g);
    DFO_TRY(eval(k, t0 + h / 2, y, k->f, NULL));
    mix(1 / (1 - 2 * eta), s, 0, y, -2 * eta / (1 - 2 * eta), k->f);
    mix(1, y, -h / 2, s, 0, k->g);
    return DFO_OK;
}

static dfo_status leap_backward(struct work *k, double t0, double t1, dfo_batch y, dfo_batch s, dfo_batch gy, dfo_batch gs,
                                const double *gq)
{
    double h = t1 - t0, eta = k->rev->coupling;
    memset(k->v, 0, k->n * k->d * sizeof *k->v);
    mix(1, gs, h / 2, gy, 0, k->v);                   /* y1 = middle + h/2 s1 */
    for (size_t i = 0; i < k->n; i++)
        for (size_t j = 0; j < k->d; j++)
            k->g[i * k->d + j] = (dfo_real)(2 * eta) * dfo_row(gs, i)[j];
    memcpy(k->w, k->g, k->n * k->d * sizeof *k->g);
    mix(1, y, -h / 2, s, 0, k->v);                    /* the middle */
    DFO_TRY(eval(k, t0 + h / 2, y, k->f, NULL));
    DFO_TRY(vjp(k, t0 + h / 2, y, k->w, h, gq, k->g));
    mix(1, gy, 0, gs, 1, k->g);
    mix(1 - 2 * eta, gs, h / 2, gy, 0, k->g);
    memset(k->v, 0, k->n * k->d * sizeof *k->v);
    mix(1 / (1 - 2 * eta), s, 0, y, -2 * eta / (1 - 2 * eta), k->f);
    mix(1, y, -h / 2, s, 0, k->v);
    return DFO_OK;
}

/* ---- all steps */

static const struct {
    dfo_status (*forward)(struct work *, double t0, double t1, dfo_batch y, dfo_batch s, double *q);
    dfo_status (*inverse)(struct work *, double t0, double t1, dfo_batch y, dfo_batch s);
    dfo_status (*backward)(struct work *, double t0, double t1, dfo_batch y, dfo_batch s, dfo_batch gy, dfo_batch gs, const double *gq);
} schemes[DFOI_SCHEMES] = {
    {foster_forward, foster_inverse, foster_backward},
    {heun_forward, heun_inverse, heun_backward},
    {leap_forward, leap_inverse, leap_backward},
};

dfo_status dfo_reversible_start(const dfo_reversible *rev, const dfo_field *field, dfo_run *run, double t0, dfo_batch y, dfo_batch s)
{
    size_t mark = run->arena_used;
    struct work k;
    dfo_status status = DFO_OK;
    take(&k, rev, field, run, y.n, NULL);
    if (rev->scheme == DFOI_LEAPFROG)
        status = eval(&k, t0, y, k.f, NULL);
    for (size_t i = 0; i < y.n; i++)
        memcpy(dfo_row(s, i), rev->scheme == DFOI_LEAPFROG ? k.f + i * y.d : dfo_row(y, i), y.d * sizeof *y.x);
    run->arena_used = mark;
    return status;
}

dfo_status dfo_reversible_forward(const dfo_reversible *rev, const dfo_field *field, dfo_run *run, double t0, double t1, dfo_batch y,
                                  dfo_batch s, double *q)
{
    size_t mark = run->arena_used;
    struct work k;
    dfo_status status = DFO_OK;
    take(&k, rev, field, run, y.n, NULL);
    q = field->nq ? q : NULL;
    if (rev->scheme == DFOI_REVERSIBLE_HEUN)
        status = eval(&k, t0, s, k.f, q ? k.rate : NULL);
    for (size_t m = 0; m < rev->steps && status == DFO_OK; m++) {
        double from = dfoi_step_time(rev, t0, t1, m), to = dfoi_step_time(rev, t0, t1, m + 1);
        status = schemes[rev->scheme].forward(&k, from, to, y, s, q);
        if (status == DFO_OK)
            status = dfoi_reversible_check(run, y, to);
    }
    run->arena_used = mark;
    return status;
}

dfo_status dfo_reversible_inverse(const dfo_reversible *rev, const dfo_field *field, dfo_run *run, double t0, double t1, dfo_batch y,
                                  dfo_batch s)
{
    size_t mark = run->arena_used;
    struct work k;
    dfo_status status = DFO_OK;
    take(&k, rev, field, run, y.n, NULL);
    if (rev->scheme == DFOI_REVERSIBLE_HEUN)
        status = eval(&k, t1, s, k.f, NULL);
    for (size_t m = rev->steps; m-- > 0 && status == DFO_OK;) {
        double from = dfoi_step_time(rev, t0, t1, m), to = dfoi_step_time(rev, t0, t1, m + 1);
        status = schemes[rev->scheme].inverse(&k, from, to, y, s);
        if (status == DFO_OK)
            status = dfoi_reversible_check(run, y, from);
    }
    run->arena_used = mark;
    return status;
}

/* What is left of f's gradient at the first time goes through the second state.  */
static dfo_status heun_finish(struct work *k, double t0, dfo_batch s, dfo_batch gs, const double *gq)
{
    DFO_TRY(vjp(k, t0, s, k->v, 1, gq ? k->half : NULL, k->w));
    mix(1, gs, 0, s, 1, k->w);
    return DFO_OK;
}

dfo_status dfo_reversible_backward(const dfo_reversible *rev, const dfo_field *field, dfo_run *run, double t0, double t1, dfo_batch y,
                                   dfo_batch s, dfo_batch gy, dfo_batch gs, const double *gq)
{
    size_t mark = run->arena_used;
    int heun = rev->scheme == DFOI_REVERSIBLE_HEUN;
    struct work k;
    dfo_status status = DFO_OK;
    take(&k, rev, field, run, y.n, gq);
    memset(k.v, 0, k.n * k.d * sizeof *k.v);
    for (size_t i = 0; i < k.n * field->nq; i++)
        k.half[i] = 0;
    if (heun)
        status = eval(&k, t1, s, k.f, NULL);
    for (size_t m = rev->steps; m-- > 0 && status == DFO_OK;)
        status = schemes[rev->scheme].backward(&k, dfoi_step_time(rev, t0, t1, m), dfoi_step_time(rev, t0, t1, m + 1), y, s, gy, gs, gq);
    if (heun && status == DFO_OK)
        status = heun_finish(&k, t0, s, gs, gq);
    if (status == DFO_OK)
        status = dfoi_reversible_check(run, y, t0);
    run->arena_used = mark;
    return status;
}

dfo_status dfo_reversible_start_backward(const dfo_reversible *rev, const dfo_field *field, dfo_run *run, double t0, dfo_batch y,
                                         dfo_batch gy, dfo_batch gs)
{
    size_t mark = run->arena_used;
    struct work k;
    dfo_status status = DFO_OK;
    take(&k, rev, field, run, y.n, NULL);
    for (size_t i = 0; i < y.n; i++)
        memcpy(k.g + i * y.d, dfo_row(gs, i), y.d * sizeof *y.x);
    if (rev->scheme == DFOI_LEAPFROG) {
        status = vjp(&k, t0, y, k.g, 0, NULL, k.w);
        memcpy(k.g, k.w, y.n * y.d * sizeof *k.w);
    }
    mix(1, gy, 0, gs, 1, k.g);
    run->arena_used = mark;
    return status;
}
