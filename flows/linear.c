/* Linear layer, or 1x1 convolution over channels, in PLU form (Kingma & Dhariwal 2018; Oliva et al.
 * 2018):
 *   W = P L (U + diag(sign e^{s})),  log|det W| = sum s,
 * L unit lower, U strictly upper triangular, P and the signs fixed when the layer is made.  One
 * array "lu" (c, c) in the store holds them as LAPACK would: L below the diagonal, s on it, U
 * above.  Row i of W is row perm[i] of M = L V, V = U + diag(sign e^s).
 * Gradients from G = dL/dM (rows of dL/dW put back):  gL = strictly lower part of G V^T, H = L^T G,
 * gU = strictly upper part of H, gs = diag(H) sign e^s + dL/dlogdet.  */
#include <math.h>
#include <string.h>

#include "channels_impl.h"
#include "layers.h"
#include "mix_impl.h"

struct linear {
    struct dfoi_mix mix;
    size_t  lu;                        /* (c, c) */
    size_t *perm;                      /* (c) */
    double *sign;                      /* (c) 1 or -1 */
};

static size_t scratch(const dfo_bijector *bij, size_t rows)
{
    size_t c = bij->shape.c, pass = dfoi_mix_scratch(bij, rows),
           back = 3 * dfoi_doubles_size(c * c);
    return pass > back ? pass : back;
}

/* v += a u */
static void add_row(size_t n, double a, const double *restrict u, double *restrict v)
{
    for (size_t k = 0; k < n; k++)
        v[k] += a * u[k];
}

/* Diagonal entry j of V.  */
static double diagonal(const struct linear *l, const dfo_real *lu, size_t j)
{
    return l->sign[j] * exp((double)lu[j * l->mix.c + j]);
}

/* v += a u */
static void add_weights(size_t n, double a, const dfo_real *restrict u, double *restrict v)
{
    for (size_t k = 0; k < n; k++)
        v[k] += a * (double)u[k];
}

/* w = P L V, row by row.  */
static void multiply(const struct linear *l, const dfo_real *lu, double *w)
{
    size_t c = l->mix.c;
    memset(w, 0, c * c * sizeof *w);
    for (size_t i = 0; i < c; i++) {
        const dfo_real *row = lu + l->perm[i] * c;
        for (size_t k = 0; k <= l->perm[i]; k++) {
            double factor = k < l->perm[i] ? (double)row[k] : 1;
            w[i * c + k] += factor * diagonal(l, lu, k);
            add_weights(c - k - 1, factor, lu + k * c + k + 1, w + i * c + k + 1);
        }
    }
}

/* m = V^-1 L^-1: forward substitution on the identity, then backward.  */
static void invert(const struct linear *l, const dfo_real *lu, double *m)
{
    size_t c = l->mix.c;
    for (size_t i = 0; i < c; i++) {
        memset(m + i * c, 0, c * sizeof *m);
        m[i * c + i] = 1;
        for (size_t k = 0; k < i; k++)
            add_row(k + 1, -(double)lu[i * c + k], m + k * c, m + i * c);
    }
    for (size_t i = c; i-- > 0;) {
        double *row = m + i * c, d = diagonal(l, lu, i);
        for (size_t k = i + 1; k < c; k++)
            add_row(c, -(double)lu[i * c + k], m + k * c, row);
        for (size_t k = 0; k < c; k++)
            row[k] /= d;
    }
}

static dfo_status prepare(const dfo_bijector *bij, dfo_run *run, dfo_real *derived)
{
    const struct linear *l = bij->state;
    const dfo_real *lu = dfo_run_weights(run, l->lu);
    double *w = dfoi_mix_matrix(bij, derived), *inverse = dfoi_mix_inverse_matrix(bij, derived);
    size_t c = l->mix.c;
    double logdet = 0;
    invert(l, lu, w);
    for (size_t r = 0; r < c; r++) {                   /* W^-1 = M^-1 P^T */
        for (size_t i = 0; i < c; i++)
            inverse[r * c + i] = w[r * c + l->perm[i]];
        logdet += (double)lu[r * c + r];
    }
    multiply(l, lu, w);
    return dfoi_mix_finish(bij, run, derived, logdet);
}

static dfo_status pullback(const dfo_bijector *bij, dfo_run *run, const dfo_real *derived,
                           const dfo_real *gderived)
{
    const struct linear *l = bij->state;
    const dfo_real *lu = dfo_run_weights(run, l->lu);
    dfo_real *g = dfo_run_grads(run, l->lu);
    size_t c = l->mix.c;
    (void)derived;
    if (!g)
        return DFO_OK;
    double *gm = dfoi_take_doubles(run, c * c);        /* G */
    double *vt = dfoi_take_doubles(run, c * c);        /* V^T */
    double *h = dfoi_take_doubles(run, c * c);         /* gL below the diagonal, H on and above */
    for (size_t i = 0; i < c; i++)
        for (size_t k = 0; k < c; k++) {
            gm[l->perm[i] * c + k] = (double)gderived[i * c + k];
            vt[k * c + i] = k < i ? 0 : k == i ? diagonal(l, lu, i) : (double)lu[i * c + k];
        }
    memset(h, 0, c * c * sizeof *h);
    for (size_t i = 0; i < c; i++) {
        for (size_t k = 0; k < c; k++)                 /* row k of V^T ends at its diagonal */
            add_row(k + 1 < i ? k + 1 : i, gm[i * c + k], vt + k * c, h + i * c);
        for (size_t j = 0; j <= i; j++)
            add_row(c - j, j < i ? (double)lu[i * c + j] : 1, gm + i * c + j, h + j * c + j);
    }
    for (size_t i = 0; i < c; i++)
        for (size_t k = 0; k < c; k++)
            g[i * c + k] +=
                (dfo_real)(i == k ? h[i * c + k] * diagonal(l, lu, i) + (double)gderived[c * c]
                                  : h[i * c + k]);
    return DFO_OK;
}

static json_t *list_of(size_t c, const size_t *index, const double *sign)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < c; i++)
        if (json_array_append_new(
                list, json_integer(index ? (json_int_t)index[i] : (json_int_t)sign[i]))) {
            json_decref(list);
            return NULL;
        }
    return list;
}

static dfo_status describe(const dfo_bijector *bij, json_t *to)
{
    const struct linear *l = bij->state;
    DFO_TRY(dfoi_json_set(bij->ctx, to, "bias", json_boolean(l->mix.bias)));
    DFO_TRY(dfoi_json_set(bij->ctx, to, "perm", list_of(l->mix.c, l->perm, NULL)));
    return dfoi_json_set(bij->ctx, to, "sign", list_of(l->mix.c, NULL, l->sign));
}

static void linear_free(dfo_bijector *bij)
{
    struct linear *l = bij->state;
    if (!l)
        return;
    dfoi_free(bij->ctx, l->perm);
    dfoi_free(bij->ctx, l->sign);
    dfoi_free(bij->ctx, l);
}

/* A random rotation, factorised: Glow's start.  */
static dfo_status start_orthogonal(dfo_build *build, struct linear *l)
{
    size_t c = l->mix.c;
    double *q;
    DFO_TRY(dfoi_alloc(build->ctx, c * c, sizeof *q, &q));
    dfoi_random_orthogonal(build, c, q);
    size_t *row; /* row i of P q is row row[i] of q: W's row row[i] is M's row i */
    dfo_status status = dfoi_alloc(build->ctx, c, sizeof *row, &row);
    if (status == DFO_OK && !dfoi_lu(c, q, row))
        status = dfoi_fail(build->ctx, DFO_ENUM, "the random rotation is singular");
    dfo_real *lu = dfo_store_weights(build->store) + l->lu;
    for (size_t i = 0; status == DFO_OK && i < c; i++) {
        l->perm[row[i]] = i;
        l->sign[i] = q[i * c + i] < 0 ? -1 : 1;
        for (size_t k = 0; k < c; k++)
            lu[i * c + k] = (dfo_real)(k == i ? log(fabs(q[i * c + i])) : q[i * c + k]);
    }
    dfoi_free(build->ctx, row);
    dfoi_free(build->ctx, q);
    return status;
}

static dfo_status read_perm(dfo_ctx *ctx, const json_t *config, struct linear *l)
{
    size_t c = l->mix.c, n;
    for (size_t i = 0; i < c; i++)
        l->perm[i] = i;
    if (!json_object_get(config, "perm"))
        return DFO_OK;
    DFO_TRY(dfoi_json_sizes(ctx, config, "perm", 0, c - 1, c, l->perm, &n));
    return dfoi_check_permutation(ctx, "perm", c, n, l->perm);
}

static dfo_status read_sign(dfo_ctx *ctx, const json_t *config, struct linear *l)
{
    DFO_TRY(dfoi_json_reals(ctx, config, "sign", l->mix.c, 1, l->sign));
    for (size_t i = 0; i < l->mix.c; i++)
        if (fabs(l->sign[i]) != 1)
            return dfoi_fail(ctx, DFO_EARG, "sign: entry %zu is not 1 or -1", i);
    return DFO_OK;
}

dfo_status dfoi_linear_create(dfo_build *build, json_t *config, dfo_bijector *bij)
{
    static const char *const keys[] = {"type", "init", "bias", "perm", "sign", NULL};
    dfo_ctx *ctx = build->ctx;
    size_t c = build->shape.c, shape[2] = {c, c};
    struct linear *l;
    int orthogonal;
    DFO_TRY(dfoi_json_keys(ctx, config, keys));
    DFO_TRY(dfoi_alloc(ctx, 1, sizeof *l, &l));
    bij->state = l;
    l->mix.c = c;
    DFO_TRY(dfoi_json_bool(ctx, config, "bias", 0, &l->mix.bias));
    DFO_TRY(dfoi_json_either(ctx, config, "init", "identity", "orthogonal", &orthogonal));
    if (orthogonal && (json_object_get(config, "perm") || json_object_get(config, "sign")))
        return dfoi_fail(ctx, DFO_EARG, "init: orthogonal sets perm and sign itself");
    DFO_TRY(dfoi_alloc(ctx, c, sizeof *l->perm, &l->perm));
    DFO_TRY(dfoi_alloc(ctx, c, sizeof *l->sign, &l->sign));
    DFO_TRY(read_perm(ctx, config, l));
    DFO_TRY(read_sign(ctx, config, l));
    DFO_TRY(dfo_build_weights(build, "lu", 2, shape, &l->lu));
    if (l->mix.bias)
        DFO_TRY(dfo_build_weights(build, "bias", 1, shape, &l->mix.bias_at));
    return orthogonal ? start_orthogonal(build, l) : DFO_OK;
}

const struct dfo_bijector_ops dfoi_linear_ops = {
    .type = "linear",
    .caps = DFO_CLOSED_INVERSE,
    .scratch = scratch,
    .derived = dfoi_mix_derived,
    .gderived = dfoi_mix_gderived,
    .prepare = prepare,
    .forward = dfoi_mix_forward,
    .inverse = dfoi_mix_inverse,
    .backward = dfoi_mix_backward,
    .inverse_backward = dfoi_mix_inverse_backward,
    .pullback = pullback,
    .describe = describe,
    .free = linear_free,
};
