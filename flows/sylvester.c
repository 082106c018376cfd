/* Sylvester's flow with reflections (van den Berg et al. 2018, sections 3 and 4):  z = x + Q R1 tanh(R2 Q^T x + b); Q (d, m)
 * has the first m columns of a product of reflections H_1 ... H_n, H_i = I - 2 v_i v_i^T/|v_i|^2, R1 and R2 (m, m) are upper
 * triangular with tanh of a weight on the diagonal, so that products of their diagonals are above -1. With p = Q^T x,
 * t = tanh(R2 p + b), s = 1 - t^2 the log-det is sum log D_i, D_i = 1 + r1_ii r2_ii s_i. Back: y = Q^T z = p + R1 t is
 * triangular in p, from the last entry up one root at a time, and x = z - Q R1 t.
 *
 * Rows are columns of panels. Gradients, with g = dL/dz and e = dL/dlogdet:
 *     gu = Q^T g, gt = R1^T gu - 2 e r1_ii r2_ii t/D, ga = s gt, gp = R2^T ga, gx = g + Q gp;
 * through the inverse (e of its own log-det, g = dL/dx) the sign of the log-det's part turns, w = Q^T gz solves
 *     (I + R2^T s R1^T) w = Q^T g + R2^T s (2 e r1_ii r2_ii t/D),
 * from the first entry down, and gu = -w gives ga, gp and gz = g + Q gp. Those of Q, R1, R2 and of the products of diagonals
 * are summed over shards; Q's go back through the reflections, which undo themselves.  */
#include <math.h>
#include <string.h>

#include "channels_impl.h"
#include "math/kern_impl.h"
#include "sylvester_impl.h"
#include "tanh_root_impl.h"

static const struct dfoi_sylvester *state(const dfo_bijector *bij)
{
    return dfoi_sylvester(bij);
}

static size_t derived(const dfo_bijector *bij)
{
    return dfoi_sylvester_places(bij).end;
}

static size_t gderived(const dfo_bijector *bij)
{
    return dfoi_sylvester_places(bij).gsize;
}

/* ---- a panel of rows */

struct work {
    struct dfoi_sylvester_place at;
    const dfo_real  *derived;
    const double    *slack;
    dfo_real        *x, *y, *g;        /* (d, 64) */
    dfo_real        *p, *t, *u;        /* (m, 64): Q^T x, tanh, R1 t */
    dfo_real        *det;              /* (m, 64): D */
    dfo_real        *gu, *gt, *gp;     /* (m, 64) */
    dfo_real        *copy;
};

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

static size_t copy_size(const dfo_bijector *bij)
{
    size_t m = state(bij)->m, d = bij->d;
    return larger(dfoi_gemm_back_scratch(m), larger(dfoi_gemm_grad_scratch(d, 1), dfoi_gemm_grad_scratch(m, 1)));
}

static size_t scratch(const dfo_bijector *bij, size_t rows)
{
    size_t m = state(bij)->m, d = bij->d;
    size_t pass = (3 * d + 7 * m) * DFO_PANEL + dfo_arena_size(copy_size(bij));
    (void)rows;
    return larger(pass, dfoi_sylvester_pullback_scratch(bij));
}

static void take(const dfo_bijector *bij, dfo_run *run, struct work *w)
{
    size_t wide = bij->d * DFO_PANEL, low = state(bij)->m * DFO_PANEL;
    w->at = dfoi_sylvester_places(bij);
    w->derived = run->derived;
    w->slack = (const double *)(const void *)(run->derived + w->at.slack);
    w->x = dfo_arena_take(run, wide);
    w->y = dfo_arena_take(run, wide);
    w->g = dfo_arena_take(run, wide);
    w->p = dfo_arena_take(run, low);
    w->t = dfo_arena_take(run, low);
    w->u = dfo_arena_take(run, low);
    w->det = dfo_arena_take(run, low);
    w->gu = dfo_arena_take(run, low);
    w->gt = dfo_arena_take(run, low);
    w->gp = dfo_arena_take(run, low);
    w->copy = dfo_arena_take(run, copy_size(bij));
}

/* D from t: sums of positive numbers.  */
static void make_det(const dfo_bijector *bij, const struct work *w)
{
    for (size_t i = 0; i < state(bij)->m; i++) {
        const dfo_real *t = w->t + i * DFO_PANEL;
        dfo_real product = w->derived[w->at.product + i], slack = (dfo_real)w->slack[i], *det = w->det + i * DFO_PANEL;
        for (size_t k = 0; k < DFO_PANEL; k++)
            det[k] = product < 0 ? slack - product * (t[k] * t[k]) : 1 + product * (1 - t[k] * t[k]);
    }
}

/* What lies between x and z.  */
static void hidden(const dfo_bijector *bij, const dfo_run *run, const struct work *w)
{
    size_t m = state(bij)->m;
    dfoi_gemm(m, bij->d, w->derived, bij->d, w->x, NULL, DFOI_ACT_NONE, NULL, w->p);
    dfoi_gemm(m, m, w->derived + w->at.r2, m, w->p, dfo_run_weights(run, state(bij)->b), DFOI_ACT_NONE, NULL, w->t);
    dfoi_vtanh(m * DFO_PANEL, w->t, w->t);
    dfoi_gemm(m, m, w->derived + w->at.r1, m, w->t, NULL, DFOI_ACT_NONE, NULL, w->u);
    make_det(bij, w);
}

/* to = from + Q v */
static void widened(const dfo_bijector *bij, const struct work *w, const dfo_real *v, const dfo_real *from, dfo_real *to)
{
    dfoi_gemm_back(state(bij)->m, bij->d, w->derived, bij->d, v, NULL, from, to, w->copy);
}

/* logdet (n) += sign times the sum of log D, which is overwritten.  */
static void add_log_dets(const dfo_bijector *bij, const struct work *w, size_t n, double sign, double *logdet)
{
    dfoi_vlog(state(bij)->m * DFO_PANEL, w->det, w->det);
    for (size_t k = 0; k < n; k++) {
        double sum = 0;
        for (size_t i = 0; i < state(bij)->m; i++)
            sum += (double)w->det[i * DFO_PANEL + k];
        logdet[k] += sign * sum;
    }
}

static size_t block(size_t rows)
{
    return rows < DFO_PANEL ? rows : DFO_PANEL;
}

static dfo_status forward(const dfo_bijector *bij, dfo_run *run, dfo_batch x, const dfo_cond *cond, double *logdet)
{
    struct work w;
    (void)cond;
    take(bij, run, &w);
    for (size_t first = 0, n; first < x.n; first += n) {
        n = block(x.n - first);
        dfoi_to_panel(n, x.d, dfo_row(x, first), x.ld, NULL, 0, w.x);
        hidden(bij, run, &w);
        widened(bij, &w, w.u, w.x, w.y);
        dfoi_from_panel(n, x.d, w.y, NULL, dfo_row(x, first), x.ld);
        if (logdet)
            add_log_dets(bij, &w, n, 1, logdet + first);
    }
    return DFO_OK;
}

/* t of column k, from y at w->p, which becomes p.  */
static dfo_status solve_column(const dfo_bijector *bij, const dfo_run *run, const struct work *w, size_t k)
{
    size_t m = state(bij)->m;
    const dfo_real *r1 = w->derived + w->at.r1, *r2 = w->derived + w->at.r2, *b = dfo_run_weights(run, state(bij)->b);
    for (size_t i = m; i-- > 0;) {
        dfoi_tanh_line line = {.r = (double)r1[i * m + i], .s = (double)r2[i * m + i], .e = (double)b[i],
                               .slack = w->slack[i], .y = (double)w->p[i * DFO_PANEL + k]};
        double p, slope;
        for (size_t j = i + 1; j < m; j++) {
            line.e += (double)r2[i * m + j] * (double)w->p[j * DFO_PANEL + k];
            line.y -= (double)r1[i * m + j] * (double)w->t[j * DFO_PANEL + k];
        }
        DFO_TRY(dfoi_tanh_line_root(&line, &p));
        w->p[i * DFO_PANEL + k] = (dfo_real)p;
        w->t[i * DFO_PANEL + k] = (dfo_real)dfoi_tanh_slope(line.s * p + line.e, &slope);
    }
    return DFO_OK;
}

static dfo_status inverse(const dfo_bijector *bij, dfo_run *run, dfo_batch z, const dfo_cond *cond, double *logdet)
{
    struct work w;
    size_t m = state(bij)->m;
    (void)cond;
    take(bij, run, &w);
    memset(w.t, 0, m * DFO_PANEL * sizeof *w.t);
    for (size_t first = 0, n; first < z.n; first += n) {
        n = block(z.n - first);
        dfoi_to_panel(n, z.d, dfo_row(z, first), z.ld, NULL, 0, w.x);
        dfoi_gemm(m, z.d, w.derived, z.d, w.x, NULL, DFOI_ACT_NONE, NULL, w.p);
        for (size_t k = 0; k < n; k++)
            if (solve_column(bij, run, &w, k) != DFO_OK)
                return dfo_run_fail(run, DFO_ENUM, first + k, "sylvester: row %llu: not finite",
                                    (unsigned long long)(run->key.row + first + k));
        dfoi_gemm(m, m, w.derived + w.at.r1, m, w.t, NULL, DFOI_ACT_NONE, NULL, w.u);
        dfoi_scale(m * DFO_PANEL, -1, w.u);
        widened(bij, &w, w.u, w.x, w.y);
        dfoi_from_panel(n, z.d, w.y, NULL, dfo_row(z, first), z.ld);
        make_det(bij, &w);
        if (logdet)
            add_log_dets(bij, &w, n, -1, logdet + first);
    }
    return DFO_OK;
}

/* ---- gradients */

/* From gu, and e (64) of the log-det, to gt (which becomes ga), gp and those of products of diagonals.  */
static void hidden_back(const dfo_bijector *bij, dfo_run *run, const struct work *w, const dfo_real *e)
{
    size_t m = state(bij)->m;
    dfoi_gemm_back(m, m, w->derived + w->at.r1, m, w->gu, NULL, NULL, w->gt, w->copy);
    for (size_t i = 0; i < m; i++) {
        const dfo_real *t = w->t + i * DFO_PANEL, *det = w->det + i * DFO_PANEL;
        dfo_real product = w->derived[w->at.product + i], *gt = w->gt + i * DFO_PANEL;
        double sum = 0;
        for (size_t k = 0; k < DFO_PANEL; k++) {
            dfo_real slope = 1 - t[k] * t[k], part = e[k] / det[k];
            sum += (double)(part * slope);
            gt[k] = slope * (gt[k] - 2 * product * t[k] * part);
        }
        if (run->grads)
            run->gderived[w->at.product + i] += (dfo_real)sum;
    }
    dfoi_gemm_back(m, m, w->derived + w->at.r2, m, w->gt, NULL, NULL, w->gp, w->copy);
}

/* u (with the pass's sign) and g = dL/dz of a panel, beside what hidden_back left.  */
static void matrix_grads(const dfo_bijector *bij, dfo_run *run, const struct work *w, const dfo_real *g)
{
    size_t m = state(bij)->m, d = bij->d;
    if (!run->grads)
        return;
    dfoi_gemm_grad(m, d, w->u, g, run->gderived, d, NULL, w->copy);
    dfoi_gemm_grad(m, d, w->gp, w->x, run->gderived, d, NULL, w->copy);
    dfoi_gemm_grad(m, m, w->gu, w->t, run->gderived + w->at.r1, m, NULL, w->copy);
    dfoi_gemm_grad(m, m, w->gt, w->p, run->gderived + w->at.r2, m, dfo_run_grads(run, state(bij)->b), w->copy);
}

static dfo_status backward(const dfo_bijector *bij, dfo_run *run, dfo_batch z, dfo_batch gz, const dfo_cond *cond,
                           dfo_cond *gcond, const double *glogdet)
{
    struct work w;
    (void)cond;
    (void)gcond;
    take(bij, run, &w);
    for (size_t first = 0, n; first < z.n; first += n) {
        dfo_real e[DFO_PANEL] = {0}, *x = run->saved + first * z.d;
        n = block(z.n - first);
        for (size_t k = 0; k < n; k++)
            e[k] = (dfo_real)glogdet[first + k];
        dfoi_to_panel(n, z.d, x, z.d, NULL, 0, w.x);
        dfoi_to_panel(n, z.d, dfo_row(gz, first), gz.ld, NULL, 1, w.g);
        hidden(bij, run, &w);
        dfoi_gemm(state(bij)->m, z.d, w.derived, z.d, w.g, NULL, DFOI_ACT_NONE, NULL, w.gu);
        hidden_back(bij, run, &w, e);
        matrix_grads(bij, run, &w, w.g);
        widened(bij, &w, w.gp, w.g, w.y);
        dfoi_from_panel(n, z.d, w.y, NULL, dfo_row(gz, first), gz.ld);
        dfoi_from_panel(n, z.d, w.x, NULL, dfo_row(z, first), z.ld);
    }
    return DFO_OK;
}

/* gu = -w, with w the solution of (I + R2^T s R1^T) w = c; c at gp, which is overwritten.  Row by row, all columns at once:
 * gt takes s R1^T w.  */
static void solve_back(const dfo_bijector *bij, const struct work *w)
{
    size_t m = state(bij)->m;
    const dfo_real *r1 = w->derived + w->at.r1, *r2 = w->derived + w->at.r2;
    for (size_t i = 0; i < m; i++) {
        const dfo_real *t = w->t + i * DFO_PANEL, *det = w->det + i * DFO_PANEL;
        dfo_real above[DFO_PANEL] = {0}, *c = w->gp + i * DFO_PANEL, *gu = w->gu + i * DFO_PANEL, *se = w->gt + i * DFO_PANEL;
        for (size_t j = 0; j < i; j++) {
            dfoi_axpy(DFO_PANEL, -r1[j * m + i], w->gu + j * DFO_PANEL, above);
            dfoi_axpy(DFO_PANEL, -r2[j * m + i], w->gt + j * DFO_PANEL, c);
        }
        for (size_t k = 0; k < DFO_PANEL; k++) {
            dfo_real slope = 1 - t[k] * t[k];
            gu[k] = -(c[k] - r2[i * m + i] * slope * above[k]) / det[k];
            se[k] = slope * (above[k] - r1[i * m + i] * gu[k]);
        }
    }
}

static dfo_status inverse_backward(const dfo_bijector *bij, dfo_run *run, dfo_batch x, dfo_batch gx, const dfo_cond *cond,
                                   dfo_cond *gcond, const double *glogdet)
{
    struct work w;
    size_t m = state(bij)->m;
    (void)cond;
    (void)gcond;
    take(bij, run, &w);
    for (size_t first = 0, n; first < x.n; first += n) {
        dfo_real e[DFO_PANEL] = {0};
        n = block(x.n - first);
        for (size_t k = 0; k < n; k++)
            e[k] = (dfo_real)-glogdet[first + k];
        dfoi_to_panel(n, x.d, dfo_row(x, first), x.ld, NULL, 0, w.x);
        dfoi_to_panel(n, x.d, dfo_row(gx, first), gx.ld, NULL, 1, w.g);
        hidden(bij, run, &w);
        widened(bij, &w, w.u, w.x, w.y);
        dfoi_from_panel(n, x.d, w.y, NULL, dfo_row(x, first), x.ld);
        dfoi_gemm(m, x.d, w.derived, x.d, w.g, NULL, DFOI_ACT_NONE, NULL, w.gu);
        for (size_t i = 0; i < m * DFO_PANEL; i++) {
            dfo_real t = w.t[i], product = w.derived[w.at.product + i / DFO_PANEL];
            w.gt[i] = -2 * product * t * (1 - t * t) * e[i % DFO_PANEL] / w.det[i];
        }
        dfoi_gemm_back(m, m, w.derived + w.at.r2, m, w.gt, NULL, w.gu, w.gp, w.copy);
        solve_back(bij, &w);
        hidden_back(bij, run, &w, e);
        widened(bij, &w, w.gp, w.g, w.y);
        dfoi_from_panel(n, x.d, w.y, NULL, dfo_row(gx, first), gx.ld);
        dfoi_scale(m * DFO_PANEL, -1, w.u);
        matrix_grads(bij, run, &w, w.y);
    }
    return DFO_OK;
}

static dfo_status describe(const dfo_bijector *bij, json_t *to)
{
    DFO_TRY(dfoi_json_set(bij->ctx, to, "rank", json_integer((json_int_t)state(bij)->m)));
    return dfoi_json_set(bij->ctx, to, "reflections", json_integer((json_int_t)state(bij)->n));
}

dfo_status dfoi_sylvester_create(dfo_build *build, json_t *config, dfo_bijector *bij)
{
    static const char *const keys[] = {"type", "rank", "reflections", NULL};
    dfo_ctx *ctx = build->ctx;
    size_t d = bij->d, most = d < 256 ? d : 256;
    struct dfoi_sylvester *s;
    DFO_TRY(dfoi_json_keys(ctx, config, keys));
    DFO_TRY(dfoi_alloc(ctx, 1, sizeof *s, &s));
    bij->state = s;
    DFO_TRY(dfoi_json_size(ctx, config, "rank", d < 8 ? d : 8, 1, most, &s->m));
    DFO_TRY(dfoi_json_size(ctx, config, "reflections", s->m, 1, 1024, &s->n));
    size_t vectors[2] = {s->n, d}, packed = s->m * (s->m + 1) / 2;
    DFO_TRY(dfo_build_weights(build, "v", 2, vectors, &s->v));
    DFO_TRY(dfo_build_weights(build, "r1", 1, &packed, &s->r1));
    DFO_TRY(dfo_build_weights(build, "r2", 1, &packed, &s->r2));
    DFO_TRY(dfo_build_weights(build, "b", 1, &s->m, &s->b));
    dfo_build_normal(build, s->v, s->n * d, 1);
    dfo_build_normal(build, s->r1, packed, 0.1);
    dfo_build_normal(build, s->r2, packed, 1);
    dfo_build_normal(build, s->b, s->m, 1);
    return DFO_OK;
}

const struct dfo_bijector_ops dfoi_sylvester_ops = {
    .type = "sylvester",
    .caps = DFO_CLOSED_INVERSE | DFO_NEEDS_INPUT,
    .scratch = scratch,
    .derived = derived,
    .gderived = gderived,
    .prepare = dfoi_sylvester_prepare,
    .forward = forward,
    .inverse = inverse,
    .backward = backward,
    .inverse_backward = inverse_backward,
    .pullback = dfoi_sylvester_pullback,
    .describe = describe,
};
