/* Woodbury transform of images (Lu and Huang 2020): with X a row as a matrix (channels, pixels),
 *
 *     X <- (I + U_c V_c) X,  then  X <- X (I + U_s V_s)^T,
 *
 * so that channels mix in the same way at every pixel, and pixels in the same way in every channel, by matrices of rank r_c
 * and r_s.  With A = I_r + V U,  log|det (I + U V)| = log|det A|  and  (I + U V)^-1 = I - U A^-1 V,  so both ways cost
 * r (channels + pixels), and only matrices of the rank's size are inverted, once per version of the weights.
 *
 * Factors are (r, n): P^T Q with P, Q of these adds to the identity: the map is (U^T, V), its inverse (U^T, -A^-1 V),
 * their transposes the same with P and Q exchanged.  "solve": data go to latents by the inverse.  Gradients: of y = M x,
 * U^bar = y^bar (V x)^T, V^bar = (U^T y^bar) x^T; of x = M^-1 y, with u = M^-T x^bar, the negative of the same with u and x;
 * and of the log-det A^-1 V and A^-T U^T, each as many times as the matrix is applied.  Either way adds to
 * the row what may nearly cancel it: what is small then has the rounding of what was large.  */
#include <math.h>
#include <string.h>

#include "channels_impl.h"
#include "convolution_impl.h"
#include "layers.h"
#include "math/kern_impl.h"
#include "mix_impl.h"

enum { CHANNELS, PIXELS, PARTS };

struct woodbury {
    struct dfoi_convolution conv;      /* solve, apply, pull */
    size_t rank[PARTS];
    size_t u[PARTS], v[PARTS];         /* in the store, (rank, n) each */
};

static const struct woodbury *state(const dfo_bijector *bij)
{
    return bij->state;
}

/* What a part's matrix acts on: n values, `step` apart, `times` in a row, `next` apart.  */
struct side {
    size_t rank, n, step, times, next;
};

static struct side side_of(const dfo_bijector *bij, int part)
{
    size_t c = bij->shape.c, pixels = dfoi_plane(bij), rank = state(bij)->rank[part];
    return part == CHANNELS ? (struct side){rank, c, pixels, pixels, 1} : (struct side){rank, pixels, 1, c, pixels};
}

/* Derived data of a part: -A^-1 V and A^-T U^T, (rank, n) each; then, in doubles, log|det A|; for prepare A and its
 * inverse, and the permutation.  */
struct place {
    dfo_real *back, *slope;
    double   *logdet, *lu, *inverse;
    size_t   *perm;
};

static size_t factor_size(struct side s)
{
    return dfo_arena_size(s.rank * s.n);
}

static size_t part_size(struct side s)
{
    return 2 * factor_size(s) + dfoi_doubles_size(1) + 2 * dfoi_doubles_size(s.rank * s.rank) +
           dfo_arena_size(s.rank * sizeof(size_t) / sizeof(dfo_real) + 1);
}

static struct place place_of(const dfo_bijector *bij, const dfo_real *derived, int part)
{
    struct side s = side_of(bij, part);
    dfo_real *at = (dfo_real *)derived + (part == PIXELS ? part_size(side_of(bij, CHANNELS)) : 0);
    struct place p = {.back = at, .slope = at + factor_size(s)};
    at += 2 * factor_size(s);
    p.logdet = (double *)(void *)at;
    p.lu = (double *)(void *)(at + dfoi_doubles_size(1));
    p.inverse = (double *)(void *)(at + dfoi_doubles_size(1) + dfoi_doubles_size(s.rank * s.rank));
    p.perm = (size_t *)(void *)(at + dfoi_doubles_size(1) + 2 * dfoi_doubles_size(s.rank * s.rank));
    return p;
}

static size_t derived(const dfo_bijector *bij)
{
    return part_size(side_of(bij, CHANNELS)) + part_size(side_of(bij, PIXELS));
}

/* Gradients of the factors, then the sum of the log-det's.  */
static size_t gradient_at(const dfo_bijector *bij, int part)
{
    return part == PIXELS ? 2 * factor_size(side_of(bij, CHANNELS)) : 0;
}

static size_t gderived(const dfo_bijector *bij)
{
    return gradient_at(bij, PIXELS) + 2 * factor_size(side_of(bij, PIXELS)) + 16;
}

/* Two products of a factor with a row.  */
static size_t scratch(const dfo_bijector *bij, size_t rows)
{
    struct side c = side_of(bij, CHANNELS), p = side_of(bij, PIXELS);
    size_t most = c.rank * c.times > p.rank * p.times ? c.rank * c.times : p.rank * p.times;
    (void)rows;
    return 2 * dfo_arena_size(most);
}

/* ---- once per version of the weights */

static dfo_status prepare_part(const dfo_bijector *bij, dfo_run *run, struct place p, int part)
{
    struct side s = side_of(bij, part);
    const dfo_real *u = dfo_run_weights(run, state(bij)->u[part]), *v = dfo_run_weights(run, state(bij)->v[part]);
    size_t r = s.rank;
    double sum = 0;
    for (size_t i = 0; i < r; i++)
        for (size_t j = 0; j < r; j++) {
            double dot = i == j;
            for (size_t k = 0; k < s.n; k++)
                dot += (double)v[i * s.n + k] * (double)u[j * s.n + k];
            p.lu[i * r + j] = dot;
        }
    int good = dfoi_lu(r, p.lu, p.perm);
    for (size_t i = 0; good && i < r; i++)
        sum += log(fabs(p.lu[i * r + i]));
    if (!good || !isfinite(sum))
        return dfo_run_fail(run, DFO_ENUM, (size_t)-1, "woodbury: the matrix of the %s has no inverse",
                            part == CHANNELS ? "channels" : "pixels");
    dfoi_lu_inverse(r, p.lu, p.inverse);                       /* its column j belongs to perm[j] */
    *p.logdet = (double)s.times * sum;
    for (size_t i = 0; i < r; i++)
        for (size_t k = 0; k < s.n; k++) {
            double back = 0;
            for (size_t j = 0; j < r; j++)
                back -= p.inverse[i * r + j] * (double)v[p.perm[j] * s.n + k];
            p.back[i * s.n + k] = (dfo_real)back;
        }
    for (size_t j = 0; j < r; j++)
        for (size_t k = 0; k < s.n; k++) {
            double slope = 0;
            for (size_t i = 0; i < r; i++)
                slope += p.inverse[i * r + j] * (double)u[i * s.n + k];
            p.slope[p.perm[j] * s.n + k] = (dfo_real)slope;
        }
    return DFO_OK;
}

static dfo_status prepare(const dfo_bijector *bij, dfo_run *run, dfo_real *to)
{
    DFO_TRY(prepare_part(bij, run, place_of(bij, to, CHANNELS), CHANNELS));
    return prepare_part(bij, run, place_of(bij, to, PIXELS), PIXELS);
}

static dfo_status pullback(const dfo_bijector *bij, dfo_run *run, const dfo_real *from, const dfo_real *gfrom)
{
    double glogdet = (double)gfrom[gderived(bij) - 16];
    for (int part = 0; part < PARTS; part++) {
        struct side s = side_of(bij, part);
        struct place p = place_of(bij, from, part);
        dfo_real *gu = dfo_run_grads(run, state(bij)->u[part]), *gv = dfo_run_grads(run, state(bij)->v[part]);
        const dfo_real *of = gfrom + gradient_at(bij, part);
        double each = glogdet * (double)s.times;
        for (size_t k = 0; gu && k < s.rank * s.n; k++) {
            gu[k] += (dfo_real)((double)of[k] - each * (double)p.back[k]);
            gv[k] += (dfo_real)((double)of[factor_size(s) + k] + each * (double)p.slope[k]);
        }
    }
    return DFO_OK;
}

/* ---- a row */

/* t (rank, times) = Q X.  */
static void product(struct side s, const dfo_real *q, const dfo_real *x, dfo_real *t)
{
    memset(t, 0, s.rank * s.times * sizeof *t);
    for (size_t k = 0; k < s.rank; k++)
        for (size_t i = 0; i < s.n && s.next == 1; i++)
            for (size_t m = 0; m < s.times; m++)
                t[k * s.times + m] += q[k * s.n + i] * x[i * s.step + m];
    for (size_t k = 0; k < s.rank && s.next != 1; k++)
        for (size_t m = 0; m < s.times; m++)
            t[k * s.times + m] = (dfo_real)dfoi_dot(s.n, q + k * s.n, x + m * s.next);
}

/* X += P^T t.  */
static void add(struct side s, const dfo_real *p, const dfo_real *t, dfo_real *x)
{
    for (size_t k = 0; k < s.rank; k++)
        for (size_t i = 0; i < s.n && s.next == 1; i++)
            for (size_t m = 0; m < s.times; m++)
                x[i * s.step + m] += p[k * s.n + i] * t[k * s.times + m];
    for (size_t k = 0; k < s.rank && s.next != 1; k++)
        for (size_t m = 0; m < s.times; m++)
            for (size_t i = 0; i < s.n; i++)
                x[m * s.next + i] += p[k * s.n + i] * t[k * s.times + m];
}

/* g (rank, n) += sign t X^T.  */
static void outer(struct side s, double sign, const dfo_real *t, const dfo_real *x, dfo_real *g)
{
    for (size_t k = 0; k < s.rank; k++)
        for (size_t i = 0; i < s.n && s.next == 1; i++)
            g[k * s.n + i] += (dfo_real)(sign * dfoi_dot(s.times, t + k * s.times, x + i * s.step));
    for (size_t k = 0; k < s.rank && s.next != 1; k++)
        for (size_t m = 0; m < s.times; m++) {
            dfo_real factor = (dfo_real)sign * t[k * s.times + m];
            for (size_t i = 0; i < s.n; i++)
                g[k * s.n + i] += factor * x[m * s.next + i];
        }
}

/* One part's factors: the map adds P^T Q.  */
struct factors {
    const dfo_real *p, *q;
};

static struct factors factors_of(const dfo_bijector *bij, const dfo_run *run, int part, int inverse)
{
    const dfo_real *u = dfo_run_weights(run, state(bij)->u[part]);
    return (struct factors){u, inverse ? place_of(bij, run->derived, part).back : dfo_run_weights(run, state(bij)->v[part])};
}

/* The parts of M run from the channels on, those of its inverse the other way.  */
static int part_at(int k, int inverse)
{
    return inverse ? PARTS - 1 - k : k;
}

static void transform(const dfo_bijector *bij, const dfo_run *run, int part, int inverse, dfo_real *t, dfo_real *x)
{
    struct side s = side_of(bij, part);
    struct factors f = factors_of(bij, run, part, inverse);
    product(s, f.q, x, t);
    add(s, f.p, t, x);
}

static dfo_status apply(const dfo_bijector *bij, dfo_run *run, dfo_batch x, int solve, double *logdet)
{
    double each = *place_of(bij, run->derived, CHANNELS).logdet + *place_of(bij, run->derived, PIXELS).logdet;
    dfo_real *t = dfo_arena_take(run, scratch(bij, 1) / 2);
    for (size_t i = 0; i < x.n; i++) {
        for (int k = 0; k < PARTS; k++)
            transform(bij, run, part_at(k, solve), solve, t, dfo_row(x, i));
        if (logdet)
            logdet[i] += solve ? -each : each;
    }
    return DFO_OK;
}

/* Back through a part, from its output y and gradient g to its input and its gradient.  t, e: work.  */
static void pull_part(const dfo_bijector *bij, const dfo_run *run, int part, int inverse, dfo_real *t, dfo_real *e, dfo_real *y,
                      dfo_real *g, dfo_real *grads)
{
    struct side s = side_of(bij, part);
    struct factors f = factors_of(bij, run, part, inverse);
    const dfo_real *v = dfo_run_weights(run, state(bij)->v[part]);
    if (!inverse)
        transform(bij, run, part, 1, t, y);                    /* x of y = M x */
    product(s, f.p, g, e);
    if (inverse) {
        add(s, f.q, e, g);                                     /* u = M^-T g */
        product(s, f.p, g, e);
    }
    product(s, v, y, t);
    if (grads) {
        outer(s, inverse ? -1 : 1, t, g, grads);
        outer(s, inverse ? -1 : 1, e, y, grads + factor_size(s));
    }
    if (inverse)
        add(s, f.p, t, y);                                     /* y of x = M^-1 y */
    else
        add(s, f.q, e, g);
}

static dfo_status pull(const dfo_bijector *bij, dfo_run *run, dfo_batch y, dfo_batch gy, int solve, const dfo_real *kept,
                       const double *glogdet)
{
    size_t half = scratch(bij, 1) / 2;
    dfo_real *t = dfo_arena_take(run, half), *e = dfo_arena_take(run, half), *grads = run->grads ? run->gderived : NULL;
    double sum = 0;
    (void)kept;
    for (size_t i = 0; i < y.n; i++) {
        for (int k = 0; k < PARTS; k++) {
            int part = part_at(k, !solve);
            pull_part(bij, run, part, solve, t, e, dfo_row(y, i), dfo_row(gy, i),
                      grads ? grads + gradient_at(bij, part) : NULL);
        }
        sum += glogdet[i];
    }
    if (grads)
        grads[gderived(bij) - 16] += (dfo_real)(solve ? -sum : sum);
    return DFO_OK;
}

static dfo_status describe(const dfo_bijector *bij, json_t *to)
{
    const struct woodbury *s = state(bij);
    DFO_TRY(dfoi_json_set(bij->ctx, to, "rank",
                          json_pack("[I, I]", (json_int_t)s->rank[CHANNELS], (json_int_t)s->rank[PIXELS])));
    return dfoi_json_set(bij->ctx, to, "solve", json_boolean(s->conv.solve));
}

static dfo_status make_factors(dfo_build *build, struct woodbury *s, int part, size_t n)
{
    static const char *const names[PARTS][2] = {{"channels_u", "channels_v"}, {"pixels_u", "pixels_v"}};
    size_t shape[2] = {s->rank[part], n}, all;
    DFO_TRY(dfoi_mul(build->ctx, s->rank[part], n, "woodbury", &all));
    DFO_TRY(dfo_build_weights(build, names[part][0], 2, shape, &s->u[part]));
    DFO_TRY(dfo_build_weights(build, names[part][1], 2, shape, &s->v[part]));
    dfo_build_normal(build, s->u[part], all, 0.1 / sqrt((double)n));
    dfo_build_normal(build, s->v[part], all, 1 / sqrt((double)n));
    return DFO_OK;
}

dfo_status dfoi_woodbury_create(dfo_build *build, json_t *config, dfo_bijector *bij)
{
    static const char *const keys[] = {"type", "rank", "solve", NULL};
    dfo_ctx *ctx = build->ctx;
    struct woodbury *s;
    size_t n[PARTS] = {build->shape.c, build->shape.h * build->shape.w}, given = PARTS;
    DFO_TRY(dfoi_json_keys(ctx, config, keys));
    DFO_TRY(dfoi_alloc(ctx, 1, sizeof *s, &s));
    bij->state = s;
    s->conv.apply = apply;
    s->conv.pull = pull;
    for (int part = 0; part < PARTS; part++)
        s->rank[part] = n[part] < 8 ? n[part] : 8;
    if (json_object_get(config, "rank"))
        DFO_TRY(dfoi_json_sizes(ctx, config, "rank", 1, 4096, PARTS, s->rank, &given));
    if (given != PARTS)
        return dfoi_fail(ctx, DFO_EARG, "rank: expected two numbers, of channels and of pixels, got %zu", given);
    for (size_t part = 0; part < PARTS; part++)        /* more would only cancel */
        if (s->rank[part] > n[part])
            return dfoi_fail(ctx, DFO_ESHAPE, "rank: expected at most %zu and %zu, got %zu and %zu", n[CHANNELS], n[PIXELS],
                             s->rank[CHANNELS], s->rank[PIXELS]);
    DFO_TRY(dfoi_json_bool(ctx, config, "solve", 0, &s->conv.solve));
    for (int part = 0; part < PARTS; part++)
        DFO_TRY(make_factors(build, s, part, n[part]));
    return DFO_OK;
}

const struct dfo_bijector_ops dfoi_woodbury_ops = {
    .type = "woodbury",
    .caps = DFO_CLOSED_INVERSE,
    .scratch = scratch,
    .derived = derived,
    .gderived = gderived,
    .prepare = prepare,
    .forward = dfoi_convolution_forward,
    .inverse = dfoi_convolution_inverse,
    .backward = dfoi_convolution_backward,
    .inverse_backward = dfoi_convolution_inverse_backward,
    .pullback = pullback,
    .describe = describe,
};
