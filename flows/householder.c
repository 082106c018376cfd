/* A product of reflections on rows, or on the channels of pixels: z = Q x, Q = H_1 ... H_m (H_m
 * acts first), H_i = I - 2 v_i v_i^T / |v_i|^2; log-det 0 (Tomczak & Welling 2016).  In compact
 * form (Joffrain et al. 2006): with V (m, c) the vectors by rows, made unit vectors,
 *   Q = I - V^T S^-1 V,  S upper triangular, S_ij = v_i.v_j above the diagonal, S_ii = 1/2,
 * so with A = S^-1 V and B = -V^T:  z = x + B A x,  and Q^T = I + B A', A' = S^-T V.  Two small
 * products for each 64 columns.  Gradients with respect to A and B are summed over shards, then
 *   gV = -gB^T + T,  T = S^-T gA,  gS = -T A^T above the diagonal,
 *   gv_i += gS_ij v_j,  gv_j += gS_ij v_i;
 * of a vector w, v = w / |w|:  gw = (gv - (gv.v) v) / |w|.  */
#include <math.h>
#include <string.h>

#include "channels_impl.h"
#include "layers.h"
#include "math/kern_impl.h"

struct householder {
    size_t m;                          /* reflections */
    size_t v;                          /* (m, c) */
};

/* Derived data: A and B, which gderived mirrors, then A', then doubles.  */
struct place {
    size_t b;                          /* where B begins, after A */
    size_t gsize;
    size_t back;                       /* A' */
    size_t s, unit, work;              /* doubles: S (m, m), unit vectors (m, c), A or A' (m, c) */
    size_t end;
};

static struct place places(const dfo_bijector *bij)
{
    const struct householder *h = bij->state;
    size_t m = h->m, c = bij->shape.c;
    struct place p;
    p.b = dfo_arena_size(m * c);
    p.gsize = 2 * p.b;
    p.back = p.gsize;
    p.s = p.back + p.b;
    p.unit = p.s + dfoi_doubles_size(m * m);
    p.work = p.unit + dfoi_doubles_size(m * c);
    p.end = p.work + dfoi_doubles_size(m * c);
    return p;
}

static size_t derived(const dfo_bijector *bij)
{
    return places(bij).end;
}

static size_t gderived(const dfo_bijector *bij)
{
    return places(bij).gsize;
}

static size_t scratch(const dfo_bijector *bij, size_t rows)
{
    const struct householder *h = bij->state;
    size_t m = h->m, c = bij->shape.c;
    size_t a = dfoi_gemm_grad_scratch(c, 1), b = dfoi_gemm_grad_scratch(m, 1);
    size_t pass = (4 * c + 2 * m) * DFO_PANEL + dfo_arena_size(a > b ? a : b) +
                  dfo_arena_size(dfoi_gemm_back_scratch(m > c ? m : c));
    size_t back = dfoi_doubles_size(m * m) + 4 * dfoi_doubles_size(m * c);
    (void)rows;
    return pass > back ? pass : back;
}

/* v += a u */
static void add_row(size_t n, double a, const double *restrict u, double *restrict v)
{
    for (size_t k = 0; k < n; k++)
        v[k] += a * u[k];
}

static double dot(size_t n, const double *u, const double *v)
{
    double sum = 0;
    for (size_t k = 0; k < n; k++)
        sum += u[k] * v[k];
    return sum;
}

/* Unit vectors and S.  Returns the first vector that has no direction, m if all have one.  */
static size_t make_s(size_t m, size_t c, const dfo_real *w, double *v, double *s)
{
    size_t bad = m;
    for (size_t i = m; i-- > 0;) {
        double length = sqrt(dfoi_sum_squares(c, w + i * c));
        for (size_t l = 0; l < c; l++)
            v[i * c + l] = (double)w[i * c + l] / length;
        bad = length > 0 && isfinite(length) ? bad : i;
    }
    for (size_t i = 0; i < m; i++)
        for (size_t j = i; j < m; j++)
            s[i * m + j] = i == j ? 0.5 : dot(c, v + i * c, v + j * c);
    return bad;
}

/* y = S^-1 y, or S^-T y, for y (m, c).  */
static void solve(size_t m, size_t c, const double *s, int transposed, double *y)
{
    for (size_t k = 0; k < m; k++) {
        size_t i = transposed ? k : m - 1 - k;
        for (size_t j = transposed ? 0 : i + 1; j < (transposed ? i : m); j++)
            add_row(c, -(transposed ? s[j * m + i] : s[i * m + j]), y + j * c, y + i * c);
        for (size_t l = 0; l < c; l++)
            y[i * c + l] /= s[i * m + i];
    }
}

static void copy_out(size_t n, const double *from, dfo_real *to)
{
    for (size_t i = 0; i < n; i++)
        to[i] = (dfo_real)from[i];
}

static dfo_status prepare(const dfo_bijector *bij, dfo_run *run, dfo_real *to)
{
    const struct householder *h = bij->state;
    size_t m = h->m, c = bij->shape.c;
    struct place p = places(bij);
    double *s = (double *)(void *)(to + p.s), *v = (double *)(void *)(to + p.unit),
           *a = (double *)(void *)(to + p.work);
    size_t bad = make_s(m, c, dfo_run_weights(run, h->v), v, s);
    if (bad < m)
        return dfo_run_fail(run, DFO_ENUM, (size_t)-1, "householder: vector %zu has no direction",
                            bad);
    memcpy(a, v, m * c * sizeof *a);
    solve(m, c, s, 1, a);
    copy_out(m * c, a, to + p.back);
    memcpy(a, v, m * c * sizeof *a);
    solve(m, c, s, 0, a);
    copy_out(m * c, a, to);
    for (size_t i = 0; i < m; i++)
        for (size_t l = 0; l < c; l++)
            to[p.b + l * m + i] = (dfo_real)-v[i * c + l];
    return DFO_OK;
}

/* y = x + B (first x), first = where A or A' begins; h (m, 64) is A x.  */
static void reflect(const dfo_bijector *bij, const dfo_run *run, size_t first, const dfo_real *x,
                    dfo_real *h, dfo_real *y)
{
    const struct householder *hh = bij->state;
    size_t m = hh->m, c = bij->shape.c;
    dfoi_gemm(m, c, run->derived + first, c, x, NULL, DFOI_ACT_NONE, NULL, h);
    dfoi_gemm(c, m, run->derived + places(bij).b, m, h, NULL, DFOI_ACT_NONE, x, y);
}

static dfo_status map(const dfo_bijector *bij, dfo_run *run, dfo_batch x, size_t which)
{
    const struct householder *hh = bij->state;
    size_t c = bij->shape.c, all = x.n * dfoi_plane(bij);
    dfo_real *in = dfo_arena_take(run, c * DFO_PANEL), *out = dfo_arena_take(run, c * DFO_PANEL);
    dfo_real *h = dfo_arena_take(run, hh->m * DFO_PANEL);
    for (size_t first = 0; first < all; first += DFO_PANEL) {
        size_t n = all - first < DFO_PANEL ? all - first : DFO_PANEL;
        dfoi_columns_to_panel(bij, x, first, n, 0, in);
        reflect(bij, run, which, in, h, out);
        dfoi_columns_from_panel(bij, out, first, n, x);
    }
    return DFO_OK;
}

static dfo_status forward(const dfo_bijector *bij, dfo_run *run, dfo_batch x, const dfo_cond *cond,
                          double *logdet)
{
    (void)cond;
    (void)logdet;
    return map(bij, run, x, 0);
}

static dfo_status inverse(const dfo_bijector *bij, dfo_run *run, dfo_batch z, const dfo_cond *cond,
                          double *logdet)
{
    (void)cond;
    (void)logdet;
    return map(bij, run, z, places(bij).back);
}

/* gB += g (A x)^T, gA += (B^T g) x^T; k (m, 64) is B^T g.  */
static void matrix_grads(const dfo_bijector *bij, dfo_run *run, const dfo_real *x,
                         const dfo_real *g, const dfo_real *k, dfo_real *h, dfo_real *tmp)
{
    const struct householder *hh = bij->state;
    size_t m = hh->m, c = bij->shape.c;
    struct place p = places(bij);
    dfoi_gemm(m, c, run->derived, c, x, NULL, DFOI_ACT_NONE, NULL, h);
    dfoi_gemm_grad(c, m, g, h, run->gderived + p.b, m, NULL, tmp);
    dfoi_gemm_grad(m, c, k, x, run->gderived, c, NULL, tmp);
}

/* Both directions: y (output, then input), gy.  */
static dfo_status map_back(const dfo_bijector *bij, dfo_run *run, dfo_batch y, dfo_batch gy,
                           int inverse_pass)
{
    const struct householder *hh = bij->state;
    size_t m = hh->m, c = bij->shape.c, all = y.n * dfoi_plane(bij);
    struct place p = places(bij);
    dfo_real *out = dfo_arena_take(run, c * DFO_PANEL), *in = dfo_arena_take(run, c * DFO_PANEL);
    dfo_real *gout = dfo_arena_take(run, c * DFO_PANEL), *gin = dfo_arena_take(run, c * DFO_PANEL);
    dfo_real *h = dfo_arena_take(run, m * DFO_PANEL), *k = dfo_arena_take(run, m * DFO_PANEL);
    size_t a = dfoi_gemm_grad_scratch(c, 1), b = dfoi_gemm_grad_scratch(m, 1);
    dfo_real *tmp = dfo_arena_take(run, a > b ? a : b);
    dfo_real *copy = dfo_arena_take(run, dfoi_gemm_back_scratch(m > c ? m : c));
    int wanted = run->grads && run->gderived;
    for (size_t first = 0; first < all; first += DFO_PANEL) {
        size_t n = all - first < DFO_PANEL ? all - first : DFO_PANEL;
        dfoi_columns_to_panel(bij, y, first, n, 0, out);
        dfoi_columns_to_panel(bij, gy, first, n, 1, gout);
        reflect(bij, run, inverse_pass ? 0 : p.back, out, h, in);
        if (inverse_pass) { /* gz = Q gx, and dx = Q^T (dz - dQ x): the matrices see -gz */
            reflect(bij, run, 0, gout, h, gin);
            dfoi_columns_from_panel(bij, gin, first, n, gy);
            if (wanted) {
                dfoi_scale(c * DFO_PANEL, -1, gin);
                dfoi_gemm_back(c, m, run->derived + p.b, m, gin, NULL, NULL, k, copy);
                matrix_grads(bij, run, out, gin, k, h, tmp);
            }
        } else { /* gx = gz + A^T (B^T gz) */
            dfoi_gemm_back(c, m, run->derived + p.b, m, gout, NULL, NULL, k, copy);
            dfoi_gemm_back(m, c, run->derived, c, k, NULL, gout, gin, copy);
            dfoi_columns_from_panel(bij, gin, first, n, gy);
            if (wanted)
                matrix_grads(bij, run, in, gout, k, h, tmp);
        }
        dfoi_columns_from_panel(bij, in, first, n, y);
    }
    return DFO_OK;
}

static dfo_status backward(const dfo_bijector *bij, dfo_run *run, dfo_batch z, dfo_batch gz,
                           const dfo_cond *cond, dfo_cond *gcond, const double *glogdet)
{
    (void)cond;
    (void)gcond;
    (void)glogdet;
    return map_back(bij, run, z, gz, 0);
}

static dfo_status inverse_backward(const dfo_bijector *bij, dfo_run *run, dfo_batch x, dfo_batch gx,
                                   const dfo_cond *cond, dfo_cond *gcond, const double *glogdet)
{
    (void)cond;
    (void)gcond;
    (void)glogdet;
    return map_back(bij, run, x, gx, 1);
}

static dfo_status pullback(const dfo_bijector *bij, dfo_run *run, const dfo_real *from,
                           const dfo_real *gfrom)
{
    const struct householder *h = bij->state;
    const dfo_real *w = dfo_run_weights(run, h->v);
    dfo_real *g = dfo_run_grads(run, h->v);
    size_t m = h->m, c = bij->shape.c;
    struct place p = places(bij);
    (void)from;
    if (!g)
        return DFO_OK;
    double *s = dfoi_take_doubles(run, m * m), *v = dfoi_take_doubles(run, m * c),
           *gv = dfoi_take_doubles(run, m * c);
    double *a = dfoi_take_doubles(run, m * c), *t = dfoi_take_doubles(run, m * c);
    (void)make_s(m, c, w, v, s);
    memcpy(a, v, m * c * sizeof *a);
    solve(m, c, s, 0, a);
    for (size_t i = 0; i < m * c; i++)
        t[i] = (double)gfrom[i];
    solve(m, c, s, 1, t);
    for (size_t i = 0; i < m; i++)
        for (size_t l = 0; l < c; l++)
            gv[i * c + l] = t[i * c + l] - (double)gfrom[p.b + l * m + i];
    for (size_t i = 0; i < m; i++)
        for (size_t j = i + 1; j < m; j++) {
            double gs = -dot(c, t + i * c, a + j * c);
            add_row(c, gs, v + j * c, gv + i * c);
            add_row(c, gs, v + i * c, gv + j * c);
        }
    for (size_t i = 0; i < m; i++) {
        double length = sqrt(dfoi_sum_squares(c, w + i * c));
        add_row(c, -dot(c, gv + i * c, v + i * c), v + i * c, gv + i * c);
        for (size_t l = 0; l < c; l++)
            g[i * c + l] += (dfo_real)(gv[i * c + l] / length);
    }
    return DFO_OK;
}

static dfo_status describe(const dfo_bijector *bij, json_t *to)
{
    const struct householder *h = bij->state;
    return dfoi_json_set(bij->ctx, to, "reflections", json_integer((json_int_t)h->m));
}

dfo_status dfoi_householder_create(dfo_build *build, json_t *config, dfo_bijector *bij)
{
    static const char *const keys[] = {"type", "reflections", NULL};
    size_t c = build->shape.c;
    struct householder *h;
    DFO_TRY(dfoi_json_keys(build->ctx, config, keys));
    DFO_TRY(dfoi_alloc(build->ctx, 1, sizeof *h, &h));
    bij->state = h;
    DFO_TRY(dfoi_json_size(build->ctx, config, "reflections", c < 32 ? c : 32, 1, 1024, &h->m));
    size_t shape[2] = {h->m, c};
    DFO_TRY(dfo_build_weights(build, "v", 2, shape, &h->v));
    dfo_build_normal(build, h->v, h->m * c, 1);
    return DFO_OK;
}

const struct dfo_bijector_ops dfoi_householder_ops = {
    .type = "householder",
    .caps = DFO_CLOSED_INVERSE | DFO_VOLUME_PRESERVING,
    .scratch = scratch,
    .derived = derived,
    .gderived = gderived,
    .prepare = prepare,
    .forward = forward,
    .inverse = inverse,
    .backward = backward,
    .inverse_backward = inverse_backward,
    .pullback = pullback,
    .describe = describe,
};
