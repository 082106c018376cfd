/* A learned rotation of the sphere, of rows (z, v) on the cylinder that it unrolls to (sphere_impl.h):
 *   u = (s cos(pi v), s sin(pi v), z),  s^2 = 1 - z^2,    w = R u,    z' = w_3,  v' = atan2(w_2, w_1) / pi,
 * R of a quaternion q = (a, b, c, d) that need not be a unit one:
 *   |q|^2 R = [ a^2+b^2-c^2-d^2  2(bc-ad)          2(bd+ac)        ]
 *             [ 2(bc+ad)         a^2-b^2+c^2-d^2   2(cd-ab)        ]
 *             [ 2(bd-ac)         2(cd+ab)          a^2-b^2-c^2+d^2 ],
 * back by R^T.  It keeps areas: log-det 0.  Between layers that have poles it moves them.  At a pole v says nothing, and the
 * derivatives by it are those next to it.  */
#include <math.h>
#include <string.h>

#include "layers.h"
#include "math/kern_impl.h"
#include "sphere_impl.h"

#define PI 3.14159265358979323846

struct rotation {
    size_t q;                          /* (4) */
    int    random;
};

/* Derived data: the nine reals that gderived mirrors, then R (3, 3) in doubles.  */
static size_t derived(const dfo_bijector *bij)
{
    (void)bij;
    return dfo_arena_size(9) + dfoi_doubles_size(9);
}

static size_t gderived(const dfo_bijector *bij)
{
    (void)bij;
    return dfo_arena_size(9);
}

static const double *matrix(const dfo_run *run)
{
    return (const double *)(const void *)(run->derived + dfo_arena_size(9));
}

static double take_quaternion(const struct rotation *r, const dfo_run *run, double *q)
{
    double square = 0;
    for (size_t k = 0; k < 4; k++) {
        q[k] = (double)dfo_run_weights(run, r->q)[k];
        square += q[k] * q[k];
    }
    return square;
}

/* |q|^2 R */
static void matrix_of(const double *q, double *m)
{
    double a = q[0], b = q[1], c = q[2], d = q[3];
    const double of[9] = {a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c),
                          2 * (b * c + a * d), a * a - b * b + c * c - d * d, 2 * (c * d - a * b),
                          2 * (b * d - a * c), 2 * (c * d + a * b), a * a - b * b - c * c + d * d};
    memcpy(m, of, sizeof of);
}

static dfo_status prepare(const dfo_bijector *bij, dfo_run *run, dfo_real *to)
{
    double q[4], square = take_quaternion(bij->state, run, q), *m = (double *)(void *)(to + dfo_arena_size(9));
    if (!(square >= 1e-30 && square <= 1e30))
        return dfo_run_fail(run, DFO_ENUM, (size_t)-1, "sphere-rotation: a quaternion of length %g says no rotation", sqrt(square));
    matrix_of(q, m);
    for (size_t k = 0; k < 9; k++) {
        m[k] /= square;
        to[k] = (dfo_real)m[k];
    }
    return DFO_OK;
}

/* The point of a row, and what its derivatives need.  */
struct point {
    double u[3], s, cosine, sine;
};

static struct point point_of(const dfo_real *row)
{
    double z = (double)row[0], angle = PI * (double)row[1];
    struct point p = {.s = dfoi_axis_distance(z), .cosine = cos(angle), .sine = sin(angle)};
    p.u[0] = p.s * p.cosine;
    p.u[1] = p.s * p.sine;
    p.u[2] = z;
    return p;
}

/* w = M u, or M^T u */
static void multiply(const double *m, int transposed, const double *u, double *w)
{
    for (size_t i = 0; i < 3; i++) {
        w[i] = 0;
        for (size_t j = 0; j < 3; j++)
            w[i] += m[transposed ? 3 * j + i : 3 * i + j] * u[j];
    }
}

/* u[2] may have been rounded beyond 1.  */
static void to_row(const double *u, dfo_real *row)
{
    row[0] = (dfo_real)fmax(-1, fmin(1, u[2]));
    row[1] = (dfo_real)(atan2(u[1], u[0]) / PI);
}

static dfo_status map(const dfo_bijector *bij, dfo_run *run, dfo_batch x, int back)
{
    const double *m = matrix(run);
    DFO_TRY(dfoi_sphere_check(bij, run, x));
    for (size_t i = 0; i < x.n; i++) {
        double w[3];
        multiply(m, back, point_of(dfo_row(x, i)).u, w);
        to_row(w, dfo_row(x, i));
    }
    return DFO_OK;
}

static dfo_status forward(const dfo_bijector *bij, dfo_run *run, dfo_batch x, const dfo_cond *cond, double *logdet)
{
    (void)cond;
    (void)logdet;
    return map(bij, run, x, 0);
}

static dfo_status inverse(const dfo_bijector *bij, dfo_run *run, dfo_batch z, const dfo_cond *cond, double *logdet)
{
    (void)cond;
    (void)logdet;
    return map(bij, run, z, 1);
}

/* The gradient by (z, v) as one by the point: by v, (-sin, cos, 0) / (pi s).  */
static void lift(const struct point *p, const dfo_real *g, double *gu)
{
    double by_v = (double)g[1] / (PI * dfoi_off_axis(p->s));
    gu[0] = -by_v * p->sine;
    gu[1] = by_v * p->cosine;
    gu[2] = (double)g[0];
}

/* And back: s changes by -z/s with z, u by pi s (-sin, cos, 0) with v.  */
static void lower(const struct point *p, const double *gu, dfo_real *g)
{
    double along = gu[0] * p->cosine + gu[1] * p->sine, across = gu[1] * p->cosine - gu[0] * p->sine;
    g[0] = (dfo_real)(gu[2] - along * p->u[2] / dfoi_off_axis(p->s));
    g[1] = (dfo_real)(across * PI * p->s);
}

/* y: output, then input; g likewise.  back: of inverse, whose matrix is R^T.  */
static dfo_status map_back(const dfo_bijector *bij, dfo_run *run, dfo_batch y, dfo_batch g, int back)
{
    const double *m = matrix(run);
    double gm[9] = {0};
    DFO_TRY(dfoi_sphere_check(bij, run, y));
    for (size_t i = 0; i < y.n; i++) {
        double gw[3], gu[3], u[3];
        struct point out = point_of(dfo_row(y, i));
        lift(&out, dfo_row(g, i), gw);
        multiply(m, !back, gw, gu);
        multiply(m, !back, out.u, u);
        to_row(u, dfo_row(y, i));
        struct point in = point_of(dfo_row(y, i));
        lower(&in, gu, dfo_row(g, i));
        for (size_t k = 0; k < 9; k++)                 /* of R: w = R u gives gw u^T, of R^T: u gw^T */
            gm[k] += back ? u[k / 3] * gw[k % 3] : gw[k / 3] * u[k % 3];
    }
    for (size_t k = 0; run->grads && run->gderived && k < 9; k++)
        run->gderived[k] += (dfo_real)gm[k];
    return DFO_OK;
}

static dfo_status backward(const dfo_bijector *bij, dfo_run *run, dfo_batch z, dfo_batch gz, const dfo_cond *cond,
                           dfo_cond *gcond, const double *glogdet)
{
    (void)cond;
    (void)gcond;
    (void)glogdet;
    return map_back(bij, run, z, gz, 0);
}

static dfo_status inverse_backward(const dfo_bijector *bij, dfo_run *run, dfo_batch x, dfo_batch gx, const dfo_cond *cond,
                                   dfo_cond *gcond, const double *glogdet)
{
    (void)cond;
    (void)gcond;
    (void)glogdet;
    return map_back(bij, run, x, gx, 1);
}

/* R = M/|q|^2: gq_k = (sum gR dM/dq_k - 2 q_k sum gR R) / |q|^2.  M is quadratic in q: dM/dq_k is its difference
 * (M(q + e_k) - M(q - e_k)) / 2.  */
static dfo_status pullback(const dfo_bijector *bij, dfo_run *run, const dfo_real *from, const dfo_real *gfrom)
{
    const struct rotation *r = bij->state;
    dfo_real *g = dfo_run_grads(run, r->q);
    double q[4], square = take_quaternion(r, run, q), along = 0;
    if (!g)
        return DFO_OK;
    for (size_t k = 0; k < 9; k++)
        along += (double)gfrom[k] * (double)from[k];
    for (size_t k = 0; k < 4; k++) {
        double above[9], below[9], sum = -2 * q[k] * along, here = q[k];
        q[k] = here + 1;
        matrix_of(q, above);
        q[k] = here - 1;
        matrix_of(q, below);
        q[k] = here;
        for (size_t e = 0; e < 9; e++)
            sum += (double)gfrom[e] * (above[e] - below[e]) / 2;
        g[k] += (dfo_real)(sum / square);
    }
    return DFO_OK;
}

static dfo_status describe(const dfo_bijector *bij, json_t *to)
{
    const struct rotation *r = bij->state;
    return dfoi_json_set(bij->ctx, to, "init", json_string(r->random ? "random" : "identity"));
}

dfo_status dfoi_sphere_rotation_create(dfo_build *build, json_t *config, dfo_bijector *bij)
{
    static const char *const keys[] = {"type", "init", NULL};
    const size_t four = 4;
    struct rotation *r;
    int identity;
    DFO_TRY(dfoi_json_keys(build->ctx, config, keys));
    DFO_TRY(dfoi_sphere_shape(build));
    DFO_TRY(dfoi_json_either(build->ctx, config, "init", "random", "identity", &identity));
    DFO_TRY(dfoi_alloc(build->ctx, 1, sizeof *r, &r));
    bij->state = r;
    r->random = !identity;
    DFO_TRY(dfo_build_weights(build, "quaternion", 1, &four, &r->q));
    if (r->random)
        dfo_build_normal(build, r->q, 4, 1);           /* all rotations alike */
    else
        dfo_build_constant(build, r->q, 1, 1);
    return DFO_OK;
}

const struct dfo_bijector_ops dfoi_sphere_rotation_ops = {
    .type = "sphere-rotation",
    .caps = DFO_CLOSED_INVERSE | DFO_VOLUME_PRESERVING,
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
