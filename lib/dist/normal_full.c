/* The normal density with a full covariance L L^T, L lower triangular with positive diagonal:
 *
 *     L u = x - mean,   log p = -u.u/2 - sum_i log L_ii - d/2 log(2 pi)
 *     v = L^-T u:       d/dx = -v,   d/dmean = v,   d/dL = tril(v u^T) - diag(1/L_ii)
 *
 * Learned, the diagonal is e^{log_diagonal}, so that L stays regular, and `lower` holds the
 * d(d-1)/2 entries below it row by row.  Both triangular solves run over columns of L, which the
 * compiler vectorises.  */
#include <math.h>

#include "base/ctx_impl.h"
#include "base/json_impl.h"
#include "dist/dist_impl.h"

struct normal_full {
    int learned;
    struct dfoi_param mean;
    struct dfoi_param cholesky;            /* (d, d) as it was given */
    struct dfoi_param log_diagonal, lower; /* what is used */
};

/* mean (d), L by columns (d, d): column k at l + k*d, entries k..d-1; and sum log L_ii.  */
struct values {
    double *mean, *l, log_det;
};

static dfo_status take_values(const dfo_dist *dist, dfo_run *run, struct values *v)
{
    const struct normal_full *s = dist->state;
    size_t d = dist->d;
    v->mean = dfoi_take_doubles(run, d);
    v->l = dfoi_take_doubles(run, d * d);
    double *flat = dfoi_take_doubles(run, d * (d + 1) / 2);
    if (!v->mean || !v->l || !flat)
        return run->status;
    dfoi_param_get(&s->mean, run, v->mean);
    dfoi_param_get(&s->log_diagonal, run, flat);
    v->log_det = 0;
    for (size_t i = 0; i < d; i++) {
        v->l[i * d + i] = exp(flat[i]);
        v->log_det += flat[i];
    }
    dfoi_param_get(&s->lower, run, flat);
    for (size_t i = 1, p = 0; i < d; i++)
        for (size_t k = 0; k < i; k++)
            v->l[k * d + i] = flat[p++];
    return DFO_OK;
}

/* c = x - mean becomes u.  */
static void solve(size_t d, const double *l, double *c)
{
    for (size_t k = 0; k < d; k++) {
        const double *column = l + k * d;
        double u = c[k] / column[k];
        c[k] = u;
        for (size_t i = k + 1; i < d; i++)
            c[i] -= column[i] * u;
    }
}

/* v = L^-T u.  */
static void solve_transposed(size_t d, const double *l, const double *u, double *v)
{
    for (size_t k = d; k-- > 0;) {
        const double *column = l + k * d;
        double sum = u[k];
        for (size_t i = k + 1; i < d; i++)
            sum -= column[i] * v[i];
        v[k] = sum / column[k];
    }
}

static size_t scratch(const dfo_dist *dist, size_t rows)
{
    size_t d = dist->d;
    (void)rows;
    return dfoi_doubles_size(d) + 2 * dfoi_doubles_size(d * d) +
           2 * dfoi_doubles_size(d * (d + 1) / 2) + dfoi_doubles_size(3 * d);
}

/* u and u.u of a row; infinity, not NaN, where infinite columns cancel each other.  */
static double centre_and_solve(const struct values *v, size_t d, const dfo_real *x, double *u)
{
    double sum = 0;
    int numbers = 1;
    for (size_t j = 0; j < d; j++) {
        u[j] = (double)x[j] - v->mean[j];
        numbers = numbers && !isnan(u[j]);
    }
    solve(d, v->l, u);
    for (size_t j = 0; j < d; j++)
        sum += u[j] * u[j];
    return isnan(sum) && numbers ? INFINITY : sum;
}

static dfo_status log_prob(const dfo_dist *dist, dfo_run *run, dfo_batch x, const dfo_cond *cond,
                           double *out)
{
    struct values v;
    (void)cond;
    DFO_TRY(take_values(dist, run, &v));
    double *u = dfoi_take_doubles(run, x.d);
    if (!u)
        return run->status;
    double constant = -0.5 * DFOI_LOG_2PI * (double)x.d - v.log_det;
    for (size_t i = 0; i < x.n; i++)
        out[i] += constant - 0.5 * centre_and_solve(&v, x.d, dfo_row(x, i), u);
    return DFO_OK;
}

/* Adds the sums over rows to the weights' gradients; gl (d, d) by columns is d/dL without the
 * determinant's part, total the sum of glogp.  */
static dfo_status add_grads(const dfo_dist *dist, dfo_run *run, const struct values *v,
                            const double *gmean, double *gl, double total)
{
    const struct normal_full *s = dist->state;
    size_t d = dist->d;
    double *flat = dfoi_take_doubles(run, d * (d + 1) / 2);
    if (!flat)
        return run->status;
    dfoi_param_add_grad(&s->mean, run, gmean);
    for (size_t i = 0; i < d; i++)
        flat[i] = gl[i * d + i] * v->l[i * d + i] - total;
    dfoi_param_add_grad(&s->log_diagonal, run, flat);
    for (size_t i = 1, p = 0; i < d; i++)
        for (size_t k = 0; k < i; k++)
            flat[p++] = gl[k * d + i];
    dfoi_param_add_grad(&s->lower, run, flat);
    return DFO_OK;
}

static dfo_status log_prob_grad(const dfo_dist *dist, dfo_run *run, dfo_batch x,
                                const dfo_cond *cond, const double *glogp, dfo_batch gx,
                                dfo_cond *gcond)
{
    const struct normal_full *s = dist->state;
    size_t d = x.d;
    struct values v;
    (void)cond;
    (void)gcond;
    DFO_TRY(take_values(dist, run, &v));
    double *u = dfoi_take_doubles(run, 3 * d), *w = u + d, *gmean = u + 2 * d, total = 0;
    double *gl = dfoi_take_doubles(run, d * d);
    if (!u || !gl)
        return run->status;
    int weights = s->learned && run->grads;
    for (size_t j = 0; j < d; j++)
        gmean[j] = 0;
    for (size_t j = 0; j < d * d; j++)
        gl[j] = 0;
    for (size_t i = 0; i < x.n; i++) {
        double g = glogp[i];
        centre_and_solve(&v, d, dfo_row(x, i), u);
        solve_transposed(d, v.l, u, w);
        for (size_t j = 0; gx.x && j < d; j++)
            dfo_row(gx, i)[j] -= (dfo_real)(g * w[j]);
        if (!weights)
            continue;
        total += g;
        for (size_t j = 0; j < d; j++)
            gmean[j] += g * w[j];
        for (size_t k = 0; k < d; k++)
            for (size_t j = k; j < d; j++)
                gl[k * d + j] += g * w[j] * u[k];
    }
    return weights ? add_grads(dist, run, &v, gmean, gl, total) : DFO_OK;
}

static dfo_status sample(const dfo_dist *dist, dfo_run *run, dfo_batch x, const dfo_cond *cond,
                         double temperature)
{
    size_t d = x.d;
    struct values v;
    (void)cond;
    DFO_TRY(take_values(dist, run, &v));
    double *y = dfoi_take_doubles(run, d);
    if (!y)
        return run->status;
    for (size_t i = 0; i < x.n; i++) { /* x = mean + t L z */
        dfo_real *row = dfo_row(x, i);
        dfo_draw_real_normal(dfoi_base_key(run, i), d, row);
        for (size_t j = 0; j < d; j++)
            y[j] = v.mean[j];
        for (size_t k = 0; k < d; k++) {
            double z = temperature * (double)row[k];
            for (size_t j = k; j < d; j++)
                y[j] += v.l[k * d + j] * z;
        }
        for (size_t j = 0; j < d; j++)
            row[j] = (dfo_real)y[j];
    }
    return DFO_OK;
}

static dfo_status describe(const dfo_dist *dist, json_t *to)
{
    const struct normal_full *s = dist->state;
    DFO_TRY(dfoi_dist_describe_head(dist, to, s->learned));
    DFO_TRY(dfoi_param_describe(dist->ctx, &s->mean, to));
    return dfoi_param_describe(dist->ctx, &s->cholesky, to);
}

static void free_state(dfo_dist *dist)
{
    struct normal_full *s = dist->state;
    if (s) {
        dfoi_param_free(dist->ctx, &s->mean);
        dfoi_param_free(dist->ctx, &s->cholesky);
        dfoi_param_free(dist->ctx, &s->log_diagonal);
        dfoi_param_free(dist->ctx, &s->lower);
    }
    dfoi_free(dist->ctx, s);
}

static const struct dfo_dist_ops ops = {
    .type = "normal-full",
    .scratch = scratch,
    .log_prob = log_prob,
    .log_prob_grad = log_prob_grad,
    .sample = sample,
    .describe = describe,
    .free = free_state,
};

/* "cholesky": an array of d rows; entries above the diagonal must be 0.  Absent: the unit matrix.
 */
static dfo_status read_cholesky(dfo_build *build, const json_t *config, size_t d,
                                struct normal_full *s)
{
    dfo_ctx *ctx = build->ctx;
    size_t square;
    DFO_TRY(dfoi_mul(ctx, d, d, "cholesky", &square));
    DFO_TRY(dfoi_mul(ctx, square, sizeof(double), "cholesky", &square));
    DFO_TRY(dfoi_param_new(build, NULL, "log_diagonal", 0, d, 0, 0, 0, 0, &s->log_diagonal));
    DFO_TRY(dfoi_param_new(build, NULL, "lower", 0, d * (d - 1) / 2, 0, 0, 0, 0, &s->lower));
    const json_t *given = json_object_get(config, "cholesky");
    if (!given)
        return DFO_OK;
    if (!json_is_array(given))
        return dfoi_fail(ctx, DFO_EARG, "cholesky: expected an array of %zu rows", d);
    DFO_TRY(dfoi_param_new(build, config, "cholesky", d, d, 0, -DFO_REAL_MAX, DFO_REAL_MAX, 0,
                           &s->cholesky));
    for (size_t i = 0, p = 0; i < d; i++) {
        const double *row = s->cholesky.value + i * d;
        s->log_diagonal.value[i] = log(row[i]);
        if (!(s->log_diagonal.value[i] >= -80 && s->log_diagonal.value[i] <= 80))
            return dfoi_fail(ctx, DFO_EARG, "cholesky: diagonal entry %zu must be positive, got %g",
                             i + 1, row[i]);
        for (size_t k = 0; k < i; k++)
            s->lower.value[p++] = row[k];
        for (size_t k = i + 1; k < d; k++)
            if (row[k] < 0 || row[k] > 0)
                return dfoi_fail(ctx, DFO_EARG,
                                 "cholesky: entry %zu,%zu above the diagonal must be 0, got %g",
                                 i + 1, k + 1, row[k]);
    }
    return DFO_OK;
}

dfo_status dfoi_dist_normal_full(dfo_build *build, json_t *config, dfo_dist *dist)
{
    static const char *const known[] = {"type", "learned", "mean", "cholesky", NULL};
    dfo_ctx *ctx = build->ctx;
    struct normal_full *s;
    dist->ops = &ops;
    DFO_TRY(dfoi_alloc(ctx, 1, sizeof *s, &s));
    dist->state = s;
    DFO_TRY(dfoi_json_keys(ctx, config, known));
    DFO_TRY(dfoi_json_bool(ctx, config, "learned", 0, &s->learned));
    DFO_TRY(dfoi_param_new(build, config, "mean", 0, dist->d, 0, -DFO_REAL_MAX, DFO_REAL_MAX,
                           s->learned, &s->mean));
    DFO_TRY(read_cholesky(build, config, dist->d, s));
    if (!s->learned)
        return DFO_OK;
    DFO_TRY(dfoi_param_learn(build, &s->log_diagonal));
    return dfoi_param_learn(build, &s->lower);
}
