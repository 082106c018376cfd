/* A ball's flow (Rezende and Mohamed 2015, section 4.1):  z = x0 + k (x - x0), k = 1 + beta h, h = 1/(alpha + r),
 * r = |x - x0|, alpha = e^log_alpha > 0, beta = softplus(beta_raw) - alpha > -alpha, so that |z - x0| rises with r. The
 * log-det is (d - 1) log k + log m, with m = 1 + alpha beta h^2 the slope of |z - x0|. With c = softplus(beta_raw),
 *
 *     k = (c + r) h,  m = (r h)^2 + 2 (alpha h)(r h) + (alpha h)(c h)
 *
 * are sums of positive numbers. Back, from R = |z - x0|: r^2 + (c - R) r - R alpha = 0, whose positive root is taken in the
 * form without cancellation.
 *
 * Gradients: dk/dr = -beta h^2, dm/dr = -2 alpha beta h^3; the Jacobian is k across the ray and m along it, and symmetric.
 * Numbers of a row are double, in both precisions.  */
#include <math.h>
#include <string.h>

#include "layers.h"
#include "math/kern_impl.h"

struct radial {
    size_t x0;                         /* (d) */
    size_t log_alpha, beta_raw;        /* (1) */
};

/* What the weights say.  */
struct ball {
    const dfo_real *x0;                /* (d) */
    double alpha, beta, c, sigmoid;    /* c = alpha + beta; sigmoid of beta_raw = dc/dbeta_raw */
};

static struct ball ball_of(const dfo_bijector *bij, const dfo_run *run)
{
    const struct radial *s = bij->state;
    double raw = (double)*dfo_run_weights(run, s->beta_raw), e = exp(-fabs(raw));
    struct ball b = {.x0 = dfo_run_weights(run, s->x0), .alpha = exp((double)*dfo_run_weights(run, s->log_alpha))};
    b.c = fmax(raw, 0) + log1p(e);
    b.beta = b.c - b.alpha;
    b.sigmoid = (raw < 0 ? e : 1) / (1 + e);
    return b;
}

/* A place at distance r from x0.  */
struct place {
    double r, h, k, m;
};

static struct place place_at(const struct ball *b, double r)
{
    double h = 1 / (b->alpha + r), q = r * h, a = b->alpha * h;
    return (struct place){r, h, (b->c + r) * h, q * q + 2 * a * q + a * b->c * h};
}

static double log_det(const dfo_bijector *bij, const struct place *p)
{
    return (double)(bij->d - 1) * log(p->k) + log(p->m);
}

static double distance(const struct ball *b, size_t d, const dfo_real *row)
{
    double sum = 0;
    for (size_t j = 0; j < d; j++) {
        double delta = (double)row[j] - (double)b->x0[j];
        sum += delta * delta;
    }
    return sqrt(sum);
}

/* row = x0 + factor (row - x0), factor = 1 + rest: from the end that is nearer.  */
static void stretch(const struct ball *b, size_t d, double factor, double rest, dfo_real *row)
{
    for (size_t j = 0; j < d; j++) {
        double x0 = (double)b->x0[j], x = (double)row[j];
        row[j] = (dfo_real)(fabs(rest) < 0.5 ? x + rest * (x - x0) : x0 + factor * (x - x0));
    }
}

static dfo_status forward(const dfo_bijector *bij, dfo_run *run, dfo_batch x, const dfo_cond *cond, double *logdet)
{
    struct ball b = ball_of(bij, run);
    (void)cond;
    for (size_t i = 0; i < x.n; i++) {
        struct place p = place_at(&b, distance(&b, x.d, dfo_row(x, i)));
        stretch(&b, x.d, p.k, b.beta * p.h, dfo_row(x, i));
        if (logdet)
            logdet[i] += log_det(bij, &p);
    }
    return DFO_OK;
}

/* The place whose distance is R after the map.  */
static struct place place_before(const struct ball *b, double far)
{
    double half = 0.5 * (b->c - far), root = sqrt(half * half + far * b->alpha);
    return place_at(b, half > 0 ? far * b->alpha / (half + root) : root - half);
}

static void back(const struct ball *b, size_t d, const struct place *p, dfo_real *row)
{
    stretch(b, d, 1 / p->k, -b->beta * p->h / p->k, row);
}

static dfo_status inverse(const dfo_bijector *bij, dfo_run *run, dfo_batch z, const dfo_cond *cond, double *logdet)
{
    struct ball b = ball_of(bij, run);
    (void)cond;
    for (size_t i = 0; i < z.n; i++) {
        struct place p = place_before(&b, distance(&b, z.d, dfo_row(z, i)));
        back(&b, z.d, &p, dfo_row(z, i));
        if (logdet)
            logdet[i] -= log_det(bij, &p);
    }
    return DFO_OK;
}

/* ---- gradients, summed over the rows of a call */

struct sums {
    double *x0;                        /* (d); NULL: not wanted */
    double  alpha, beta;
};

static struct sums sums_new(const dfo_bijector *bij, dfo_run *run)
{
    struct sums s = {0};
    if (run->grads) {
        s.x0 = dfoi_take_doubles(run, bij->d);
        memset(s.x0, 0, bij->d * sizeof *s.x0);
    }
    return s;
}

/* along: gradient of k, as the sum of g (x - x0) over the row; glogdet that of the log-det.  */
static void add_row(const dfo_bijector *bij, struct sums *s, const struct ball *b, const struct place *p, double along,
                    double glogdet)
{
    double gk = along + glogdet * (double)(bij->d - 1) / p->k, gm = glogdet / p->m, h2 = p->h * p->h;
    s->beta += gk * p->h + gm * b->alpha * h2;
    s->alpha += -gk * b->beta * h2 + gm * b->beta * h2 * (1 - 2 * b->alpha * p->h);
}

static void add_sums(const dfo_bijector *bij, dfo_run *run, const struct ball *b, const struct sums *s)
{
    const struct radial *o = bij->state;
    dfo_real *g = dfo_run_grads(run, o->x0);
    if (!s->x0)
        return;
    for (size_t j = 0; j < bij->d; j++)
        g[j] += (dfo_real)s->x0[j];
    *dfo_run_grads(run, o->log_alpha) += (dfo_real)(b->alpha * (s->alpha - s->beta));
    *dfo_run_grads(run, o->beta_raw) += (dfo_real)(b->sigmoid * s->beta);
}

/* d log-det/dr over r; at x0 itself, where the log-det has no slope, 0.  */
static double log_det_slope(const dfo_bijector *bij, const struct ball *b, const struct place *p)
{
    double slope = -b->beta * p->h * p->h * ((double)(bij->d - 1) / p->k + 2 * b->alpha * p->h / p->m);
    return p->r > 0 ? slope / p->r : 0;
}

static double along_ray(const struct ball *b, size_t d, const dfo_real *x, const dfo_real *g)
{
    double sum = 0;
    for (size_t j = 0; j < d; j++)
        sum += (double)g[j] * ((double)x[j] - (double)b->x0[j]);
    return sum;
}

/* g = scale g + by (x - x0); what that takes away from g is x0's gradient, either way.  */
static void turn(const struct ball *b, size_t d, const dfo_real *x, double scale, double by, dfo_real *g, double *gx0)
{
    for (size_t j = 0; j < d; j++) {
        double was = (double)g[j], is = scale * was + by * ((double)x[j] - (double)b->x0[j]);
        g[j] = (dfo_real)is;
        if (gx0)
            gx0[j] += was - is;
    }
}

static dfo_status backward(const dfo_bijector *bij, dfo_run *run, dfo_batch z, dfo_batch gz, const dfo_cond *cond,
                           dfo_cond *gcond, const double *glogdet)
{
    struct ball b = ball_of(bij, run);
    struct sums sums = sums_new(bij, run);
    (void)cond;
    (void)gcond;
    for (size_t i = 0; i < z.n; i++) {
        dfo_real *x = dfo_row(z, i), *g = dfo_row(gz, i);
        struct place p = place_before(&b, distance(&b, z.d, x));
        back(&b, z.d, &p, x);
        double along = along_ray(&b, z.d, x, g), bend = p.r > 0 ? -b.beta * p.h * p.h / p.r : 0;      /* dk/dr over r */
        add_row(bij, &sums, &b, &p, along, glogdet[i]);
        turn(&b, z.d, x, p.k, along * bend + glogdet[i] * log_det_slope(bij, &b, &p), g, sums.x0);
    }
    add_sums(bij, run, &b, &sums);
    return DFO_OK;
}

/* With q = gx - glogdet dlogdet/dx, gz = J^-1 q = q/k + (1/m - 1/k) along the ray; weights get -gz through z(x) and -glogdet
 * through the log-det.  */
static dfo_status inverse_backward(const dfo_bijector *bij, dfo_run *run, dfo_batch x, dfo_batch gx, const dfo_cond *cond,
                                   dfo_cond *gcond, const double *glogdet)
{
    struct ball b = ball_of(bij, run);
    struct sums sums = sums_new(bij, run);
    (void)cond;
    (void)gcond;
    for (size_t i = 0; i < x.n; i++) {
        dfo_real *row = dfo_row(x, i), *g = dfo_row(gx, i);
        struct place p = place_at(&b, distance(&b, x.d, row));
        double of_det = -glogdet[i] * log_det_slope(bij, &b, &p);
        double along = along_ray(&b, x.d, row, g) + of_det * p.r * p.r;
        double turned = p.r > 0 ? b.beta * p.h * p.h / (p.r * p.k * p.m) * along : 0;     /* (1/m - 1/k)/r^2 (x-x0).q */
        add_row(bij, &sums, &b, &p, -along / p.m, -glogdet[i]);
        turn(&b, x.d, row, 1 / p.k, of_det / p.k + turned, g, sums.x0);
        stretch(&b, x.d, p.k, b.beta * p.h, row);
    }
    add_sums(bij, run, &b, &sums);
    return DFO_OK;
}

static size_t scratch(const dfo_bijector *bij, size_t rows)
{
    (void)rows;
    return dfoi_doubles_size(bij->d);
}

/* Begins with beta = 0, at the identity.  */
dfo_status dfoi_radial_create(dfo_build *build, json_t *config, dfo_bijector *bij)
{
    static const char *const keys[] = {"type", NULL};
    size_t d = bij->d, one = 1;
    struct radial *s;
    DFO_TRY(dfoi_json_keys(build->ctx, config, keys));
    DFO_TRY(dfoi_alloc(build->ctx, 1, sizeof *s, &s));
    bij->state = s;
    DFO_TRY(dfo_build_weights(build, "x0", 1, &d, &s->x0));
    DFO_TRY(dfo_build_weights(build, "log_alpha", 1, &one, &s->log_alpha));
    DFO_TRY(dfo_build_weights(build, "beta_raw", 1, &one, &s->beta_raw));
    dfo_build_normal(build, s->x0, d, 1);
    dfo_build_constant(build, s->beta_raw, 1, log(expm1(1)));
    return DFO_OK;
}

const struct dfo_bijector_ops dfoi_radial_ops = {
    .type = "radial",
    .caps = DFO_CLOSED_INVERSE,
    .scratch = scratch,
    .forward = forward,
    .inverse = inverse,
    .backward = backward,
    .inverse_backward = inverse_backward,
};
