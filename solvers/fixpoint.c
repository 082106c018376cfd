/* Fixed points by Banach's iteration and Anderson's mixing of earlier iterates.  With f_k = g(z_k) - z_k and the differences
 * F = (f_j+1 - f_j), G = (g_j+1 - g_j) of the last m iterates of a row,
 *
 *     z_k+1 = g(z_k) - G c,     (F^T F + r tr(F^T F) / m I) c = F^T f_k.
 *
 * r keeps the normal equations solvable where differences nearly depend on each other; it moves the way to the fixed point, not
 * the fixed point.  */
#include <math.h>
#include <string.h>

#include "base/ctx_impl.h"
#include "dist/dist_impl.h"
#include "math/kern_impl.h"
#include <diffeo/fixpoint.h>

struct row {
    double first, last, done;              /* norms of residuals; done: iterations it took, or 0 */
    double columns, next;                  /* differences there are, where the next one goes */
};

struct search {
    const dfo_fixpoint_options *options;
    dfo_run   *run;
    dfo_batch  z;
    dfo_real  *g, *f, *last_g, *last_f;    /* (n,d) */
    dfo_real  *more_g, *more_f;            /* (n, depth, d) differences */
    struct row *row;                       /* (n) */
    double     contraction;
};

void dfo_fixpoint_defaults(dfo_fixpoint_options *o)
{
    *o = (dfo_fixpoint_options){.depth = 5, .regularisation = 1e-10, .rtol = 1e-5, .atol = 1e-5, .most = 200};
}

static size_t row_doubles(size_t rows)
{
    return rows * (sizeof(struct row) / sizeof(double));
}

size_t dfo_fixpoint_scratch(const dfo_fixpoint_options *o, const dfo_map *map, size_t rows)
{
    return 4 * dfo_arena_size(rows * map->d) + 2 * dfo_arena_size(rows * o->depth * map->d) + dfoi_doubles_size(row_doubles(rows)) +
           (map->scratch ? map->scratch(map, rows) : 0);
}

static dfo_status check_options(dfo_run *run, const dfo_fixpoint_options *o, const dfo_map *map, dfo_batch z)
{
    if (o->depth > DFO_FIXPOINT_DEPTH)
        return dfo_run_fail(run, DFO_EARG, (size_t)-1, "fixed point: depth %zu, at most %d", o->depth, DFO_FIXPOINT_DEPTH);
    if (!(o->regularisation >= 0 && o->regularisation < HUGE_VAL))
        return dfo_run_fail(run, DFO_EARG, (size_t)-1, "fixed point: regularisation %g, expected a number from 0", o->regularisation);
    if (!(o->rtol >= 0 && o->rtol < 1 && o->atol >= 0 && o->atol < HUGE_VAL && o->rtol + o->atol > 0))
        return dfo_run_fail(run, DFO_EARG, (size_t)-1, "fixed point: rtol %g, atol %g: expected tolerances above 0, rtol below 1", o->rtol,
                            o->atol);
    if (!o->most)
        return dfo_run_fail(run, DFO_EARG, (size_t)-1, "fixed point: expected at least 1 iteration");
    if (z.d != map->d)
        return dfo_run_fail(run, DFO_ESHAPE, (size_t)-1, "fixed point: expected rows of %zu, got rows of %zu", map->d, z.d);
    return DFO_OK;
}

/* Solves (A + add I) x = b in place, A (m,m) symmetric with its lower half given; 0 where it is not positive.  */
static int cholesky(size_t m, double a[][DFO_FIXPOINT_DEPTH], double add, double *b)
{
    for (size_t i = 0; i < m; i++) {
        a[i][i] += add;
        for (size_t j = 0; j <= i; j++) {
            for (size_t k = 0; k < j; k++)
                a[i][j] -= a[i][k] * a[j][k];
            if (j < i)
                a[i][j] /= a[j][j];
        }
        if (!(a[i][i] > 0))
            return 0;
        a[i][i] = sqrt(a[i][i]);
    }
    for (size_t i = 0; i < m; i++) {
        for (size_t k = 0; k < i; k++)
            b[i] -= a[i][k] * b[k];
        b[i] /= a[i][i];
    }
    for (size_t i = m; i-- > 0;) {
        for (size_t k = i + 1; k < m; k++)
            b[i] -= a[k][i] * b[k];
        b[i] /= a[i][i];
    }
    return 1;
}

/* The weights c of row i's differences; 0: there are none, or none that help.  */
static size_t weights(const struct search *s, size_t i, double *c)
{
    size_t d = s->z.d, m = (size_t)s->row[i].columns;
    const dfo_real *more = s->more_f + i * s->options->depth * d, *f = s->f + i * d;
    double a[DFO_FIXPOINT_DEPTH][DFO_FIXPOINT_DEPTH], trace = 0;
    for (size_t p = 0; p < m; p++) {
        for (size_t q = 0; q <= p; q++)
            a[p][q] = dfoi_dot(d, more + p * d, more + q * d);
        trace += a[p][p];
        c[p] = dfoi_dot(d, more + p * d, f);
    }
    return m && cholesky(m, a, s->options->regularisation * trace / (double)m, c) ? m : 0;
}

/* The differences to the last iterate.  */
static void remember(struct search *s, size_t i)
{
    struct row *r = &s->row[i];
    size_t d = s->z.d, depth = s->options->depth, at = i * d, to = (i * depth + (size_t)r->next) * d;
    for (size_t j = 0; j < d; j++) {
        s->more_f[to + j] = s->f[at + j] - s->last_f[at + j];
        s->more_g[to + j] = s->g[at + j] - s->last_g[at + j];
    }
    r->next = (size_t)r->next + 1 == depth ? 0 : r->next + 1;
    r->columns = fmin(r->columns + 1, (double)depth);
}

static void move(struct search *s, size_t i, size_t iteration, double norm)
{
    struct row *r = &s->row[i];
    size_t d = s->z.d, depth = s->options->depth, at = i * d, m = 0;
    double c[DFO_FIXPOINT_DEPTH];
    if (depth && iteration > 1)
        remember(s, i);
    if (norm > 2 * r->last)
        r->columns = r->next = 0;
    m = weights(s, i, c);
    for (size_t j = 0; j < d; j++) {
        double to = (double)s->g[at + j];
        for (size_t p = 0; p < m; p++)
            to -= c[p] * (double)s->more_g[(i * depth + p) * d + j];
        dfo_row(s->z, i)[j] = (dfo_real)to;
    }
    memcpy(s->last_g + at, s->g + at, d * sizeof *s->g);
    memcpy(s->last_f + at, s->f + at, d * sizeof *s->f);
    r->last = norm;
}

/* What g says of row i: done, or where to next.  */
static dfo_status judge(struct search *s, size_t i, size_t iteration)
{
    const dfo_fixpoint_options *o = s->options;
    struct row *r = &s->row[i];
    size_t d = s->z.d, good = 0;
    dfo_real *g = s->g + i * d, *f = s->f + i * d, *z = dfo_row(s->z, i);
    unsigned long long name = (unsigned long long)(s->run->key.row + i);
    for (size_t j = 0; j < d; j++) {
        f[j] = g[j] - z[j];
        good += fabs((double)f[j]) <= o->atol + o->rtol * fabs((double)g[j]);
    }
    if (!dfoi_all_finite(d, f))
        return dfo_run_fail(s->run, DFO_ENUM, i, "fixed point, row %llu, iteration %zu: not finite", name, iteration);
    double norm = sqrt(dfoi_dot(d, f, f));
    r->first = iteration == 1 ? norm : r->first;
    r->last = iteration == 1 ? norm : r->last;
    double mean = iteration > 1 ? pow(norm / r->first, 1 / (double)(iteration - 1)) : 0;
    if (good == d) {
        memcpy(z, g, d * sizeof *g);
        r->done = (double)iteration;
        s->contraction = fmax(s->contraction, mean);
    } else if (iteration == o->most) {
        return dfo_run_fail(s->run, DFO_ENUM, i, "fixed point, row %llu: not found in %zu iterations, |g(z) - z| is %.3g, after %.3g at the start",
                            name, iteration, norm, r->first);
    } else {
        move(s, i, iteration, norm);
    }
    return DFO_OK;
}

static dfo_status iterate(struct search *s, const dfo_map *map, size_t *iterations)
{
    size_t left = s->z.n, mark = s->run->arena_used;
    for (size_t k = 1; left; k++) {
        DFO_TRY(map->eval(map, s->run, s->z, dfo_batch_of(s->g, s->z.n, s->z.d)));
        s->run->arena_used = mark;
        for (size_t i = 0; i < s->z.n; i++)
            if (s->row[i].done == 0) {
                DFO_TRY(judge(s, i, k));
                left -= s->row[i].done != 0;
            }
        *iterations = k;
    }
    return DFO_OK;
}

dfo_status dfo_fixpoint_solve(const dfo_fixpoint_options *o, const dfo_map *map, dfo_run *run, dfo_batch z, dfo_fixpoint_report *report)
{
    size_t mark = run->arena_used, size = z.n * z.d, iterations = 0;
    struct search s = {.options = o, .run = run, .z = z};
    DFO_TRY(check_options(run, o, map, z));
    s.g = dfo_arena_take(run, size);
    s.f = dfo_arena_take(run, size);
    s.last_g = dfo_arena_take(run, size);
    s.last_f = dfo_arena_take(run, size);
    s.more_g = dfo_arena_take(run, size * o->depth);
    s.more_f = dfo_arena_take(run, size * o->depth);
    s.row = (struct row *)(void *)dfoi_take_doubles(run, row_doubles(z.n));
    for (size_t i = 0; i < z.n; i++)
        s.row[i] = (struct row){0};
    dfo_status status = iterate(&s, map, &iterations);
    if (report)
        *report = (dfo_fixpoint_report){iterations, s.contraction};
    run->arena_used = mark;
    return status;
}

dfo_status dfo_fixpoint_find(dfo_ctx *ctx, const dfo_fixpoint_options *o, const dfo_map *map, dfo_batch z, dfo_fixpoint_report *report)
{
    dfo_run run = {0};
    dfo_status status = check_options(&run, o, map, z);
    if (status == DFO_OK) {
        run.arena_size = dfo_fixpoint_scratch(o, map, z.n);
        DFO_TRY(dfoi_alloc(ctx, run.arena_size, sizeof *run.arena, &run.arena));
        status = dfo_fixpoint_solve(o, map, &run, z, report);
        dfoi_free(ctx, run.arena);
    }
    return status == DFO_OK ? status : dfoi_fail(ctx, status, "%s", run.text);
}
