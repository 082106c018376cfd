/* The matrices of sylvester.c from its weights: the columns of a product of reflections, and two triangles; and from their
 * gradients to those of the weights.  */
#include <math.h>
#include <string.h>

#include "sylvester_impl.h"

static const struct dfoi_sylvester *state(const dfo_bijector *bij)
{
    return dfoi_sylvester(bij);
}

struct dfoi_sylvester_place dfoi_sylvester_places(const dfo_bijector *bij)
{
    size_t m = state(bij)->m, square = dfo_arena_size(m * m);
    struct dfoi_sylvester_place p;
    p.r1 = dfo_arena_size(m * bij->d);
    p.r2 = p.r1 + square;
    p.product = p.r2 + square;
    p.gsize = p.slack = p.product + dfo_arena_size(m);
    p.q = p.slack + dfoi_doubles_size(m);
    p.v = p.q + dfoi_doubles_size(m * bij->d);
    p.end = p.v + dfoi_doubles_size(bij->d);
    return p;
}

/* Where row i of a packed triangle has its diagonal.  */
static size_t corner(size_t m, size_t i)
{
    return i * (2 * m - i + 1) / 2;
}

static double dot(size_t n, const double *u, const double *v)
{
    double sum = 0;
    for (size_t k = 0; k < n; k++)
        sum += u[k] * v[k];
    return sum;
}

static void add(size_t n, double a, const double *u, double *v)
{
    for (size_t k = 0; k < n; k++)
        v[k] += a * u[k];
}

/* The rows of q (m, d) reflected at v.  */
static void reflect(size_t m, size_t d, const double *v, double *q)
{
    double square = dot(d, v, v);
    for (size_t i = 0; i < m; i++)
        add(d, -2 * dot(d, v, q + i * d) / square, v, q + i * d);
}

static void widen(size_t n, const dfo_real *from, double *to)
{
    for (size_t i = 0; i < n; i++)
        to[i] = (double)from[i];
}

/* Q^T (m, d).  */
static dfo_status make_q(const dfo_bijector *bij, dfo_run *run, double *v, double *q)
{
    const dfo_real *vectors = dfo_run_weights(run, state(bij)->v);
    size_t m = state(bij)->m, d = bij->d;
    for (size_t i = 0; i < m * d; i++)
        q[i] = i / d == i % d;
    for (size_t k = state(bij)->n; k-- > 0;) {
        widen(d, vectors + k * d, v);
        double square = dot(d, v, v);
        if (!(square > 0 && isfinite(square)))
            return dfo_run_fail(run, DFO_ENUM, (size_t)-1, "sylvester: vector %zu has no direction", k);
        reflect(m, d, v, q);
    }
    return DFO_OK;
}

/* A packed triangle to (m, m).  */
static void unpack(size_t m, const dfo_real *raw, dfo_real *to)
{
    memset(to, 0, m * m * sizeof *to);
    for (size_t i = 0; i < m; i++) {
        const dfo_real *from = raw + corner(m, i);
        to[i * m + i] = (dfo_real)tanh((double)*from);
        memcpy(to + i * m + i + 1, from + 1, (m - i - 1) * sizeof *to);
    }
}

/* 1 + tanh a tanh b: where that is a difference, of 1 - tanh|x| = 2/(1 + e^(2|x|)).  */
static double slack_of(double a, double b)
{
    double one = 2 / (1 + exp(2 * fabs(a))), other = 2 / (1 + exp(2 * fabs(b)));
    return (a < 0) == (b < 0) ? 1 + (1 - one) * (1 - other) : one + (1 - one) * other;
}

dfo_status dfoi_sylvester_prepare(const dfo_bijector *bij, dfo_run *run, dfo_real *to)
{
    const struct dfoi_sylvester *s = state(bij);
    const dfo_real *r1 = dfo_run_weights(run, s->r1), *r2 = dfo_run_weights(run, s->r2);
    struct dfoi_sylvester_place p = dfoi_sylvester_places(bij);
    double *slack = (double *)(void *)(to + p.slack);
    for (size_t i = 0; i < s->m; i++) {
        double a = (double)r1[corner(s->m, i)], b = (double)r2[corner(s->m, i)];
        to[p.product + i] = (dfo_real)(tanh(a) * tanh(b));
        slack[i] = slack_of(a, b);
    }
    unpack(s->m, r1, to + p.r1);
    unpack(s->m, r2, to + p.r2);
    double *q = (double *)(void *)(to + p.q);
    DFO_TRY(make_q(bij, run, (double *)(void *)(to + p.v), q));
    for (size_t i = 0; i < s->m * bij->d; i++)
        to[i] = (dfo_real)q[i];
    return DFO_OK;
}

size_t dfoi_sylvester_pullback_scratch(const dfo_bijector *bij)
{
    return 2 * dfoi_doubles_size(state(bij)->m * bij->d) + 2 * dfoi_doubles_size(bij->d);
}

/* From Q's gradient gq to those of the vectors: for y = H x, with n = v.v,
 * gv = -2 ((v.gy) x + (v.x) gy)/n + 4 (v.x)(v.gy) v/n^2.  q and gq are overwritten, v and gv (d) are for work.  */
static void reflections_back(const dfo_bijector *bij, dfo_run *run, double *q, double *gq, double *v, double *gv)
{
    size_t m = state(bij)->m, d = bij->d;
    for (size_t k = 0; k < state(bij)->n; k++) {
        dfo_real *to = dfo_run_grads(run, state(bij)->v) + k * d;
        widen(d, dfo_run_weights(run, state(bij)->v) + k * d, v);
        memset(gv, 0, d * sizeof *gv);
        reflect(m, d, v, q);
        double square = dot(d, v, v);
        for (size_t i = 0; i < m; i++) {
            double along = dot(d, v, q + i * d), galong = dot(d, v, gq + i * d);
            add(d, -2 * galong / square, q + i * d, gv);
            add(d, -2 * along / square, gq + i * d, gv);
            add(d, 4 * along * galong / (square * square), v, gv);
        }
        reflect(m, d, v, gq);
        for (size_t j = 0; j < d; j++)
            to[j] += (dfo_real)gv[j];
    }
}

/* From (m, m) to a packed triangle; gproduct (m) of the products of diagonals, other the diagonal of the other triangle.  */
static void pack_back(size_t m, const dfo_real *g, const dfo_real *gproduct, const dfo_real *of, const dfo_real *other, dfo_real *to)
{
    for (size_t i = 0; i < m; i++) {
        double own = (double)of[i * m + i];
        for (size_t j = i + 1; j < m; j++)
            to[corner(m, i) + j - i] += g[i * m + j];
        to[corner(m, i)] += (dfo_real)(((double)g[i * m + i] + (double)gproduct[i] * (double)other[i * m + i]) * (1 - own * own));
    }
}

dfo_status dfoi_sylvester_pullback(const dfo_bijector *bij, dfo_run *run, const dfo_real *from, const dfo_real *gfrom)
{
    const struct dfoi_sylvester *s = state(bij);
    struct dfoi_sylvester_place p = dfoi_sylvester_places(bij);
    size_t m = s->m, d = bij->d;
    if (!run->grads)
        return DFO_OK;
    double *q = dfoi_take_doubles(run, m * d), *gq = dfoi_take_doubles(run, m * d);
    double *v = dfoi_take_doubles(run, d), *gv = dfoi_take_doubles(run, d);
    memcpy(q, from + p.q, m * d * sizeof *q);
    widen(m * d, gfrom, gq);
    reflections_back(bij, run, q, gq, v, gv);
    pack_back(m, gfrom + p.r1, gfrom + p.product, from + p.r1, from + p.r2, dfo_run_grads(run, s->r1));
    pack_back(m, gfrom + p.r2, gfrom + p.product, from + p.r2, from + p.r1, dfo_run_grads(run, s->r2));
    return DFO_OK;
}
