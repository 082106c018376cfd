/* Student-t densities, column by column or with one common length.
 *
 * student-t: with z_j = (x_j - loc_j) / e^{log_scale_j} and v_j degrees of freedom
 *     log p = sum_j log G((v+1)/2) - log G(v/2) - log(pi v)/2 - log_scale - (v+1)/2 log(1 + z^2/v)
 * student-t-multivariate: r = z.z, one v
 *     log p = log G((v+d)/2) - log G(v/2) - d/2 log(pi v) - sum log_scale - (v+d)/2 log(1 + r/v)
 * (Kotz and Nadarajah 2004, ch. 1).  A group below is what shares one v: a column, or the whole
 * row.
 *
 * v is given, or with "learned_df" it is df_floor + softplus(raw_df).
 * Draws: a column by Bailey 1994 ("Polar generation of random variates with the t-distribution",
 * Math. Comp. 62), z = sqrt(v (u1^{-2/v} - 1)) cos(2 pi u2), which rejects nothing; a row as normal
 * / sqrt(gamma(v/2)/(v/2)).  */
#include <math.h>

#include "base/ctx_impl.h"
#include "base/json_impl.h"
#include "dist/dist_impl.h"
#include "dist/special_impl.h"

struct student {
    int joint; /* one group: multivariate */
    int learned, learned_df;
    double df_floor;
    struct dfoi_param loc, log_scale, df;
    struct dfoi_param raw_df; /* learned_df: the weights; df above only has the first values */
};

/* Of m groups of w columns each: df and what follows from it.  */
struct values {
    size_t d, m, w;
    double *loc, *inverse, *scale; /* (d) */
    double *df, *ddf;              /* (m) v, dv/draw */
    double *slope;                 /* (m) d constant/dv */
    double constant;
};

static double softplus(double x)
{
    return fmax(x, 0) + log1p(exp(-fabs(x)));
}

static size_t groups(const dfo_dist *dist)
{
    const struct student *s = dist->state;
    return s->joint ? 1 : dist->d;
}

static dfo_status take_values(const dfo_dist *dist, dfo_run *run, struct values *v)
{
    const struct student *s = dist->state;
    v->d = dist->d;
    v->m = groups(dist);
    v->w = v->d / v->m;
    v->loc = dfoi_take_doubles(run, 3 * v->d);
    v->df = dfoi_take_doubles(run, 3 * v->m);
    if (!v->loc || !v->df)
        return run->status;
    v->inverse = v->loc + v->d;
    v->scale = v->inverse + v->d;
    v->ddf = v->df + v->m;
    v->slope = v->ddf + v->m;
    v->constant = 0;
    dfoi_param_get(&s->loc, run, v->loc);
    dfoi_param_get(&s->log_scale, run, v->scale);
    for (size_t j = 0; j < v->d; j++) {
        v->constant -= v->scale[j];
        v->inverse[j] = exp(-v->scale[j]);
        v->scale[j] = exp(v->scale[j]);
    }
    dfoi_param_get(s->learned_df ? &s->raw_df : &s->df, run, v->df);
    for (size_t g = 0; g < v->m; g++) {
        double raw = v->df[g], half = 0.5 * (double)v->w;
        if (s->learned_df) {
            v->df[g] = s->df_floor + softplus(raw);
            v->ddf[g] = 1 / (1 + exp(-raw));
        }
        double df = v->df[g], step;
        v->constant += dfoi_log_gamma_step(0.5 * df, v->w, &step) - half * log(M_PI * df);
        v->slope[g] = 0.5 * step - half / df;
    }
    return DFO_OK;
}

/* What a group of columns with this v has at a point: log(1 + r/v), and (v+w) times 1/(v+r) and
 * r/(v (v+r)) for the gradients; all finite for any r, also where r is infinite.  */
struct point {
    double log_term, pull, df_pull;
};

static struct point at(const double *z, size_t w, double df)
{
    struct point p;
    double r = 0, sum = df + (double)w;
    for (size_t j = 0; j < w; j++)
        r += z[j] * z[j];
    p.log_term = log1p(r / df);
    p.pull = sum / (df + r);
    p.df_pull = sum * (r / df) / (df + r);
    if (r > DBL_MAX) { /* z.z overflowed: measure in units of the largest |z| */
        double most = 0, t = 0;
        for (size_t j = 0; j < w; j++)
            most = fmax(most, fabs(z[j]));
        for (size_t j = 0; j < w; j++)
            t += (z[j] / most) * (z[j] / most);
        p.log_term = 2 * log(most) + (most > DBL_MAX ? 0 : log(t / df));
        p.pull = most > DBL_MAX ? 0 : sum / t / most / most;
        p.df_pull = sum / df;
    }
    return p;
}

static void standardise(const struct values *v, const dfo_real *x, double *z)
{
    for (size_t j = 0; j < v->d; j++)
        z[j] = ((double)x[j] - v->loc[j]) * v->inverse[j];
}

static size_t scratch(const dfo_dist *dist, size_t rows)
{
    size_t d = dist->d, m = groups(dist);
    (void)rows;
    return dfoi_doubles_size(3 * d) + dfoi_doubles_size(3 * m) + dfoi_doubles_size(3 * d + m) +
           dfoi_doubles_size(2 * d);
}

static dfo_status log_prob(const dfo_dist *dist, dfo_run *run, dfo_batch x, const dfo_cond *cond,
                           double *out)
{
    struct values v;
    (void)cond;
    DFO_TRY(take_values(dist, run, &v));
    double *z = dfoi_take_doubles(run, x.d);
    if (!z)
        return run->status;
    for (size_t i = 0; i < x.n; i++) {
        double sum = v.constant;
        standardise(&v, dfo_row(x, i), z);
        for (size_t g = 0; g < v.m; g++)
            sum -= 0.5 * (v.df[g] + (double)v.w) * at(z + g * v.w, v.w, v.df[g]).log_term;
        out[i] += sum;
    }
    return DFO_OK;
}

static dfo_status log_prob_grad(const dfo_dist *dist, dfo_run *run, dfo_batch x,
                                const dfo_cond *cond, const double *glogp, dfo_batch gx,
                                dfo_cond *gcond)
{
    const struct student *s = dist->state;
    struct values v;
    (void)cond;
    (void)gcond;
    DFO_TRY(take_values(dist, run, &v));
    double *z = dfoi_take_doubles(run, 3 * v.d + v.m);
    if (!z)
        return run->status;
    double *gloc = z + v.d, *gscale = gloc + v.d, *gdf = gscale + v.d;
    for (size_t j = 0; j < 2 * v.d + v.m; j++)
        gloc[j] = 0;
    for (size_t i = 0; i < x.n; i++) {
        standardise(&v, dfo_row(x, i), z);
        for (size_t g = 0; g < v.m; g++) {
            struct point p = at(z + g * v.w, v.w, v.df[g]);
            gdf[g] += glogp[i] * (v.slope[g] - 0.5 * p.log_term + 0.5 * p.df_pull);
            for (size_t j = g * v.w; j < (g + 1) * v.w; j++) {
                double slope = z[j] * p.pull; /* -d log p/dz; 0 * inf only at x = inf */
                double gj = glogp[i] * slope * v.inverse[j];
                if (gx.x)
                    dfo_row(gx, i)[j] -= (dfo_real)gj;
                gloc[j] += gj;
                gscale[j] += glogp[i] * (slope * z[j] - 1);
            }
        }
    }
    dfoi_param_add_grad(&s->loc, run, gloc);
    dfoi_param_add_grad(&s->log_scale, run, gscale);
    if (s->learned_df) {
        for (size_t g = 0; g < v.m; g++)
            gdf[g] *= v.ddf[g];
        dfoi_param_add_grad(&s->raw_df, run, gdf);
    }
    return DFO_OK;
}

#define GAMMA_TRIES 64

/* A gamma(a) variate of scale 1 (Marsaglia and Tsang 2000, "A simple method for generating gamma
 * variables"): each try takes three draws of its own and is accepted with more than 95 %; the mode
 * after 64 tries (probability below 1e-83).  */
static double draw_gamma(dfo_key key, size_t first, double a)
{
    double boost = 1, shape = a < 1 ? a + 1 : a, b = shape - 1.0 / 3, c = 1 / sqrt(9 * b), u[3];
    if (a < 1) {
        dfo_draw_uniform(key, first + 3 * GAMMA_TRIES, 1, u);
        boost = pow(u[0], 1 / a);
    }
    for (size_t t = 0; t < GAMMA_TRIES; t++) {
        dfo_draw_uniform(key, first + 3 * t, 3, u);
        double n = sqrt(-2 * log(u[0])) * cos(2 * M_PI * u[1]), cube = 1 + c * n;
        cube = cube * cube * cube;
        if (cube > 0 && log(u[2]) < 0.5 * n * n + b - b * cube + b * log(cube))
            return boost * b * cube;
    }
    return boost * b;
}

static dfo_status sample(const dfo_dist *dist, dfo_run *run, dfo_batch x, const dfo_cond *cond,
                         double temperature)
{
    const struct student *s = dist->state;
    struct values v;
    (void)cond;
    DFO_TRY(take_values(dist, run, &v));
    double *u = dfoi_take_doubles(run, 2 * v.d);
    if (!u)
        return run->status;
    for (size_t i = 0; i < x.n; i++) {
        dfo_real *row = dfo_row(x, i);
        dfo_key key = dfoi_base_key(run, i);
        if (s->joint) {
            double df = v.df[0],
                   length = sqrt(0.5 * df / draw_gamma(key, DFOI_DRAWS_APART, 0.5 * df));
            dfo_draw_real_normal(key, v.d, row);
            for (size_t j = 0; j < v.d; j++)
                u[j] = length * (double)row[j];
        } else {
            dfo_draw_uniform(key, 0, 2 * v.d, u);
            for (size_t j = 0; j < v.d; j++) /* pair j; entries after 2j are still uniform */
                u[j] = sqrt(v.df[j] * expm1(-2 / v.df[j] * log(u[2 * j]))) *
                       cos(2 * M_PI * u[2 * j + 1]);
        }
        for (size_t j = 0; j < v.d; j++)
            row[j] = (dfo_real)(v.loc[j] + temperature * v.scale[j] * u[j]);
    }
    return DFO_OK;
}

static dfo_status describe(const dfo_dist *dist, json_t *to)
{
    const struct student *s = dist->state;
    DFO_TRY(dfoi_dist_describe_head(dist, to, s->learned));
    DFO_TRY(dfoi_param_describe(dist->ctx, &s->loc, to));
    DFO_TRY(dfoi_param_describe(dist->ctx, &s->log_scale, to));
    DFO_TRY(dfoi_param_describe(dist->ctx, &s->df, to));
    DFO_TRY(dfoi_json_set(dist->ctx, to, "learned_df", json_boolean(s->learned_df)));
    return dfoi_json_set(dist->ctx, to, "df_floor", json_real(s->df_floor));
}

static void free_state(dfo_dist *dist)
{
    struct student *s = dist->state;
    if (s) {
        dfoi_param_free(dist->ctx, &s->loc);
        dfoi_param_free(dist->ctx, &s->log_scale);
        dfoi_param_free(dist->ctx, &s->df);
        dfoi_param_free(dist->ctx, &s->raw_df);
    }
    dfoi_free(dist->ctx, s);
}

static const struct dfo_dist_ops columns_ops = {
    .type = "student-t",
    .scratch = scratch,
    .log_prob = log_prob,
    .log_prob_grad = log_prob_grad,
    .sample = sample,
    .describe = describe,
    .free = free_state,
};

static const struct dfo_dist_ops joint_ops = {
    .type = "student-t-multivariate",
    .scratch = scratch,
    .log_prob = log_prob,
    .log_prob_grad = log_prob_grad,
    .sample = sample,
    .describe = describe,
    .free = free_state,
};

/* The weights raw_df = log(e^{df - floor} - 1), so that training starts from df.  */
static dfo_status learn_df(dfo_build *build, size_t m, struct student *s)
{
    DFO_TRY(dfoi_param_new(build, NULL, "raw_df", 0, m, 0, 0, 0, 0, &s->raw_df));
    for (size_t g = 0; g < m; g++) {
        double above = s->df.value[g] - s->df_floor;
        if (!(above > 0))
            return dfoi_fail(build->ctx, DFO_EARG,
                             "df must be above df_floor = %g to be learned, got %g", s->df_floor,
                             s->df.value[g]);
        s->raw_df.value[g] = above + log(-expm1(-above));
    }
    return dfoi_param_learn(build, &s->raw_df);
}

static dfo_status create(dfo_build *build, json_t *config, dfo_dist *dist, int joint)
{
    static const char *const known[] = {"type", "learned",    "loc",      "log_scale",
                                        "df",   "learned_df", "df_floor", NULL};
    dfo_ctx *ctx = build->ctx;
    struct student *s;
    dist->ops = joint ? &joint_ops : &columns_ops;
    DFO_TRY(dfoi_alloc(ctx, 1, sizeof *s, &s));
    dist->state = s;
    s->joint = joint;
    DFO_TRY(dfoi_json_keys(ctx, config, known));
    DFO_TRY(dfoi_json_bool(ctx, config, "learned", 0, &s->learned));
    DFO_TRY(dfoi_json_bool(ctx, config, "learned_df", 0, &s->learned_df));
    DFO_TRY(dfoi_json_real(ctx, config, "df_floor", 1, 0, 1e6, &s->df_floor));
    DFO_TRY(dfoi_param_new(build, config, "loc", 0, dist->d, 0, -DFO_REAL_MAX, DFO_REAL_MAX,
                           s->learned, &s->loc));
    DFO_TRY(dfoi_param_new(build, config, "log_scale", 0, dist->d, 0, -80, 80, s->learned,
                           &s->log_scale));
    DFO_TRY(dfoi_param_new(build, config, "df", 0, groups(dist), 5, 1e-3, 1e8, 0, &s->df));
    return s->learned_df ? learn_df(build, groups(dist), s) : DFO_OK;
}

dfo_status dfoi_dist_student(dfo_build *build, json_t *config, dfo_dist *dist)
{
    return create(build, config, dist, 0);
}

dfo_status dfoi_dist_student_multivariate(dfo_build *build, json_t *config, dfo_dist *dist)
{
    return create(build, config, dist, 1);
}
