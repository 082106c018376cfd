/* A plane's flow (Rezende and Mohamed 2015, section 4.1 and its appendix):  z = x + uh tanh(w.x + b), with
 *
 *     uh = u + k w,  k = (softplus(a) - 1 - a)/|w|^2 = (softplus(-a) - 1)/|w|^2,  a = w.u,
 *
 * so that w.uh = softplus(a) - 1 > -1 and the map is invertible. With t = tanh(w.x + b), s = 1 - t^2 the log-det is
 * log D, D = 1 + s w.uh = t^2 + s softplus(a). Back: p = w.x is the root of p + (w.uh) tanh(p + b) = w.z, x = z - uh t.
 *
 * Gradients: of the log-det with respect to w.x, 2 t s (1 - softplus(a))/D; through the inverse, with J = I + s uh w^T,
 * J^-T q = q - s w (uh.q)/D.  Numbers of a row are double, in both precisions.  */
#include <math.h>
#include <string.h>

#include "layers.h"
#include "math/kern_impl.h"
#include "tanh_root_impl.h"

struct planar {
    size_t w, u;                       /* (d) */
    size_t b;                          /* (1) */
};

/* What the weights say.  */
struct plane {
    const dfo_real *w, *u;             /* (d) */
    double a, k, square;               /* w.u, k, |w|^2 */
    dfoi_tanh_line line;               /* r = w.uh, s = 1, e = b, slack = softplus(a) */
};

static dfo_status plane_of(const dfo_bijector *bij, dfo_run *run, struct plane *p)
{
    const struct planar *s = bij->state;
    p->w = dfo_run_weights(run, s->w);
    p->u = dfo_run_weights(run, s->u);
    p->a = dfoi_dot(bij->d, p->w, p->u);
    p->square = dfoi_sum_squares(bij->d, p->w);
    double rest = log1p(exp(-fabs(p->a)));
    p->k = (fmax(-p->a, 0) + rest - 1) / p->square;
    p->line = (dfoi_tanh_line){.s = 1, .e = (double)*dfo_run_weights(run, s->b), .slack = fmax(p->a, 0) + rest};
    p->line.r = p->line.slack - 1;
    return p->square > 0 && isfinite(p->k)
               ? DFO_OK
               : dfo_run_fail(run, DFO_ENUM, (size_t)-1, "planar: w has no direction or is not finite");
}

/* row += by uh */
static void shift(const struct plane *p, size_t d, double by, dfo_real *row)
{
    double along = by * p->k;
    for (size_t j = 0; j < d; j++)
        row[j] = (dfo_real)((double)row[j] + (by * (double)p->u[j] + along * (double)p->w[j]));
}

static dfo_status forward(const dfo_bijector *bij, dfo_run *run, dfo_batch x, const dfo_cond *cond, double *logdet)
{
    struct plane p;
    (void)cond;
    DFO_TRY(plane_of(bij, run, &p));
    for (size_t i = 0; i < x.n; i++) {
        double slope, t = dfoi_tanh_slope(dfoi_dot(x.d, p.w, dfo_row(x, i)) + p.line.e, &slope);
        shift(&p, x.d, t, dfo_row(x, i));
        if (logdet)
            logdet[i] += log(dfoi_tanh_line_slope(&p.line, t, slope));
    }
    return DFO_OK;
}

static dfo_status inverse(const dfo_bijector *bij, dfo_run *run, dfo_batch z, const dfo_cond *cond, double *logdet)
{
    struct plane p;
    (void)cond;
    DFO_TRY(plane_of(bij, run, &p));
    for (size_t i = 0; i < z.n; i++) {
        double at, slope;
        p.line.y = dfoi_dot(z.d, p.w, dfo_row(z, i));
        if (dfoi_tanh_line_root(&p.line, &at) != DFO_OK)
            return dfo_run_fail(run, DFO_ENUM, i, "planar: row %llu: no root for w.z = %g",
                                (unsigned long long)(run->key.row + i), p.line.y);
        double t = dfoi_tanh_slope(at + p.line.e, &slope);
        shift(&p, z.d, -t, dfo_row(z, i));
        if (logdet)
            logdet[i] -= log(dfoi_tanh_line_slope(&p.line, t, slope));
    }
    return DFO_OK;
}

/* ---- gradients, summed over the rows of a call */

struct sums {
    double *uh, *w;                    /* (d); NULL: not wanted */
    double  b, slack;
};

static struct sums sums_new(const dfo_bijector *bij, dfo_run *run)
{
    struct sums s = {0};
    if (run->grads) {
        s.uh = dfoi_take_doubles(run, bij->d);
        s.w = dfoi_take_doubles(run, bij->d);
        memset(s.uh, 0, bij->d * sizeof *s.uh);
        memset(s.w, 0, bij->d * sizeof *s.w);
    }
    return s;
}

/* Of a row: at, the gradient of w.x + b; by, that of z times the sign of the pass.  */
static void add_row(struct sums *s, size_t d, const dfo_real *x, const dfo_real *gz, double at, double by)
{
    for (size_t j = 0; s->w && j < d; j++) {
        s->w[j] += at * (double)x[j];
        s->uh[j] += by * (double)gz[j];
    }
    s->b += at;
}

/* From uh and softplus(a) to w and u.  */
static void add_sums(const dfo_bijector *bij, dfo_run *run, const struct plane *p, const struct sums *s)
{
    const struct planar *o = bij->state;
    dfo_real *gw = dfo_run_grads(run, o->w), *gu = dfo_run_grads(run, o->u);
    double gk = 0, sigmoid = p->a >= 0 ? 1 / (1 + exp(-p->a)) : exp(p->a) / (1 + exp(p->a));
    if (!s->w)
        return;
    for (size_t j = 0; j < bij->d; j++)
        gk += s->uh[j] * (double)p->w[j];
    double ga = s->slack * sigmoid + gk * (sigmoid - 1) / p->square, gsquare = -gk * p->k / p->square;
    for (size_t j = 0; j < bij->d; j++) {
        gu[j] += (dfo_real)(s->uh[j] + ga * (double)p->w[j]);
        gw[j] += (dfo_real)(s->w[j] + p->k * s->uh[j] + ga * (double)p->u[j] + 2 * gsquare * (double)p->w[j]);
    }
    *dfo_run_grads(run, o->b) += (dfo_real)s->b;
}

static double along_uh(const struct plane *p, size_t d, const dfo_real *g)
{
    return dfoi_dot(d, p->u, g) + p->k * dfoi_dot(d, p->w, g);
}

static void add_w(const struct plane *p, size_t d, double by, dfo_real *g)
{
    for (size_t j = 0; j < d; j++)
        g[j] = (dfo_real)((double)g[j] + by * (double)p->w[j]);
}

static dfo_status backward(const dfo_bijector *bij, dfo_run *run, dfo_batch z, dfo_batch gz, const dfo_cond *cond,
                           dfo_cond *gcond, const double *glogdet)
{
    struct plane p;
    (void)cond;
    (void)gcond;
    DFO_TRY(plane_of(bij, run, &p));
    struct sums sums = sums_new(bij, run);
    for (size_t i = 0; i < z.n; i++) {
        const dfo_real *x = run->saved + i * z.d;
        double slope, t = dfoi_tanh_slope(dfoi_dot(z.d, p.w, x) + p.line.e, &slope);
        double det = dfoi_tanh_line_slope(&p.line, t, slope);
        double at = slope * (along_uh(&p, z.d, dfo_row(gz, i)) - glogdet[i] * 2 * t * p.line.r / det);
        add_row(&sums, z.d, x, dfo_row(gz, i), at, t);
        sums.slack += glogdet[i] * slope / det;
        add_w(&p, z.d, at, dfo_row(gz, i));
        memcpy(dfo_row(z, i), x, z.d * sizeof *x);
    }
    add_sums(bij, run, &p, &sums);
    return DFO_OK;
}

/* With q = gx - glogdet dlogD/dx, gz = J^-T q; weights get -gz through z(x) and -glogdet through log D.  */
static dfo_status inverse_backward(const dfo_bijector *bij, dfo_run *run, dfo_batch x, dfo_batch gx, const dfo_cond *cond,
                                   dfo_cond *gcond, const double *glogdet)
{
    struct plane p;
    (void)cond;
    (void)gcond;
    DFO_TRY(plane_of(bij, run, &p));
    struct sums sums = sums_new(bij, run);
    for (size_t i = 0; i < x.n; i++) {
        double slope, t = dfoi_tanh_slope(dfoi_dot(x.d, p.w, dfo_row(x, i)) + p.line.e, &slope);
        double det = dfoi_tanh_line_slope(&p.line, t, slope), of_det = glogdet[i] * 2 * t * p.line.r / det;
        double down = (along_uh(&p, x.d, dfo_row(gx, i)) + slope * of_det * p.line.r) / det;      /* uh.gz */
        double at = slope * (of_det - down);
        add_w(&p, x.d, at, dfo_row(gx, i));
        add_row(&sums, x.d, dfo_row(x, i), dfo_row(gx, i), at, -t);
        sums.slack -= glogdet[i] * slope / det;
        shift(&p, x.d, t, dfo_row(x, i));
    }
    add_sums(bij, run, &p, &sums);
    return DFO_OK;
}

static size_t scratch(const dfo_bijector *bij, size_t rows)
{
    (void)rows;
    return 2 * dfoi_doubles_size(bij->d);
}

/* Begins at the identity: softplus(a) = 1, uh = 0.  */
dfo_status dfoi_planar_create(dfo_build *build, json_t *config, dfo_bijector *bij)
{
    static const char *const keys[] = {"type", NULL};
    size_t d = bij->d, one = 1;
    struct planar *s;
    DFO_TRY(dfoi_json_keys(build->ctx, config, keys));
    DFO_TRY(dfoi_alloc(build->ctx, 1, sizeof *s, &s));
    bij->state = s;
    DFO_TRY(dfo_build_weights(build, "w", 1, &d, &s->w));
    DFO_TRY(dfo_build_weights(build, "u", 1, &d, &s->u));
    DFO_TRY(dfo_build_weights(build, "b", 1, &one, &s->b));
    dfo_build_normal(build, s->w, d, 1 / sqrt((double)d));
    dfo_build_normal(build, s->b, 1, 1);
    dfo_real *w = dfo_store_weights(build->store) + s->w, *u = dfo_store_weights(build->store) + s->u;
    double scale = log(expm1(1)) / dfoi_sum_squares(d, w);
    for (size_t j = 0; j < d && !build->blank; j++)
        u[j] = (dfo_real)(scale * (double)w[j]);
    return DFO_OK;
}

const struct dfo_bijector_ops dfoi_planar_ops = {
    .type = "planar",
    .caps = DFO_CLOSED_INVERSE | DFO_NEEDS_INPUT,
    .scratch = scratch,
    .forward = forward,
    .inverse = inverse,
    .backward = backward,
    .inverse_backward = inverse_backward,
};
