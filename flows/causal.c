/* Causal convolution: every pixel sees itself and pixels before it,
 *
 *     y[c, h, w] = sum over taps (i, j), channels c' of K[c, i, j, c'] x[c', h - i, w - j],
 *
 * zero outside, so that with pixels in raster order y = M x is block triangular and log|det M| = H W log|det K00|.  K00 is
 * lower triangular with a unit or a free diagonal sign e^s, or any matrix.  The layer maps data to latents by M, or with
 * "solve" by M^-1 (so that sampling is the plain convolution).  Either way, and backward, by anti-diagonals of pixels:
 * causal_sweep.c.  With u = M^-T g, the solve's gradient is dL/dK_ij = -sum u x^T(h - i, w - j), x the output, and
 * dL/dK00 -= dL/dlogdet H W K00^-T.
 *
 * "stable": with weights w, all entries of row o but the diagonal's, d, are d w min(1, 0.9 / sum |w|): rows of M are
 * diagonally dominant, so sums of rows of M^-1 are at most 10 / min |d| however large the image.
 *
 * Kallappa, Nagar and Varma 2023 (FInC Flow); Nagar and Varma 2024 (Inverse-Flow).  */
#include <math.h>
#include <string.h>

#include "causal_impl.h"
#include "channels_impl.h"
#include "layers.h"
#include "mix_impl.h"

static const char *const orientations[] = {"top-left", "top-right", "bottom-left", "bottom-right", NULL};
static const char *const diagonals[] = {"unit", "log", "full", NULL};

static dfoi_causal *state(const dfo_bijector *bij)
{
    return bij->state;
}

static size_t taps_size(const dfo_bijector *bij)
{
    const dfoi_causal *s = bij->state;
    return bij->shape.c * s->conv.kh * s->conv.kw * bij->shape.c;
}

/* Off the diagonal a stable row has at most this much of it.  */
#define DOMINATED 0.9

/* Derived data behind the matrices: log-det, what each row's weights are multiplied by, K00^-1, its factors, their
 * permutation.  */
struct place {
    double *logdet, *scale, *inverse, *lu;
    size_t *perm;
};

static struct place place_of(const dfo_bijector *bij, const dfo_real *derived)
{
    size_t c = bij->shape.c;
    dfo_real *at = (dfo_real *)derived + DFOI_SWEEPS * dfoi_causal_matrix(bij);
    struct place p = {.logdet = (double *)(void *)at};
    p.scale = (double *)(void *)(at + dfoi_doubles_size(1));
    at += dfoi_doubles_size(1) + dfoi_doubles_size(c);
    p.inverse = (double *)(void *)at;
    p.lu = (double *)(void *)(at + dfoi_doubles_size(c * c));
    p.perm = (size_t *)(void *)(at + 2 * dfoi_doubles_size(c * c));
    return p;
}

static size_t derived(const dfo_bijector *bij)
{
    size_t c = bij->shape.c;
    return DFOI_SWEEPS * dfoi_causal_matrix(bij) + dfoi_doubles_size(1) + dfoi_doubles_size(c) +
           2 * dfoi_doubles_size(c * c) + dfo_arena_size(c * sizeof(size_t) / sizeof(dfo_real) + 1);
}

/* The gradient with respect to the taps, then the sum of the log-det's times pixels.  */
static size_t gderived(const dfo_bijector *bij)
{
    return dfo_arena_size(taps_size(bij) + 1);
}

static double diagonal(const dfo_bijector *bij, const dfo_run *run, size_t o)
{
    const dfoi_causal *s = state(bij);
    return s->diagonal == DFOI_CAUSAL_UNIT ? 1 : s->sign[o] * exp((double)dfo_run_weights(run, s->log_diagonal)[o]);
}

/* Sum of the absolute values of row o's weights, those that count.  */
static double row_sum(const dfo_bijector *bij, const dfo_run *run, size_t o)
{
    const dfoi_causal *s = state(bij);
    size_t c = bij->shape.c, wide = s->conv.kh * s->conv.kw * c;
    const dfo_real *k = dfo_run_weights(run, s->conv.kernel) + o * wide;
    double sum = 0;
    for (size_t i = 0; i < wide; i++)
        sum += i < o || i >= c ? fabs((double)k[i]) : 0;
    return sum;
}

static void scale_rows(const dfo_bijector *bij, const dfo_run *run, struct place p)
{
    for (size_t o = 0; o < bij->shape.c; o++) {
        double sum = state(bij)->stable ? row_sum(bij, run, o) : 0;
        p.scale[o] = !state(bij)->stable ? 1 : diagonal(bij, run, o) * (sum > DOMINATED ? DOMINATED / sum : 1);
    }
}

/* K[o][0][i].  */
static double first_tap(const dfo_bijector *bij, const dfo_run *run, struct place p, size_t o, size_t i)
{
    const dfoi_causal *s = state(bij);
    double free = (double)dfo_run_weights(run, s->conv.kernel)[o * s->conv.kh * s->conv.kw * bij->shape.c + i];
    if (s->diagonal == DFOI_CAUSAL_FULL || i < o)
        return p.scale[o] * free;
    return i > o ? 0 : diagonal(bij, run, o);
}

/* K00^-1 and log|det K00|.  */
static dfo_status invert_first(const dfo_bijector *bij, dfo_run *run, struct place p)
{
    const dfoi_causal *s = state(bij);
    size_t c = bij->shape.c;
    double sum = 0;
    for (size_t o = 0; o < c; o++)
        for (size_t i = 0; i < c; i++)
            p.lu[o * c + i] = first_tap(bij, run, p, o, i);
    if (s->diagonal == DFOI_CAUSAL_FULL && !dfoi_lu(c, p.lu, p.perm))
        return dfo_run_fail(run, DFO_ENUM, (size_t)-1, "causal-conv: the first tap's matrix is singular");
    for (size_t o = 0; s->diagonal != DFOI_CAUSAL_FULL && o < c; o++) {
        p.perm[o] = o;                 /* (K00 D^-1) D */
        for (size_t i = 0; i < o; i++)
            p.lu[o * c + i] /= p.lu[i * c + i];
    }
    double *plain = p.inverse;
    dfoi_lu_inverse(c, p.lu, plain);
    for (size_t i = 0; i < c; i++)
        sum += s->diagonal == DFOI_CAUSAL_LOG ? (double)dfo_run_weights(run, s->log_diagonal)[i] : log(fabs(p.lu[i * c + i]));
    for (size_t r = 0; s->diagonal == DFOI_CAUSAL_FULL && r < c; r++) {        /* column i to column perm[i] */
        double *row = p.lu + r * c;
        for (size_t i = 0; i < c; i++)
            row[p.perm[i]] = plain[r * c + i];
        memcpy(plain + r * c, row, c * sizeof *row);
    }
    for (size_t i = 0; i < c * c; i++)
        sum += fabs(p.inverse[i]) * 0; /* NaN if any is infinite or NaN */
    *p.logdet = (double)dfoi_plane(bij) * sum;
    if (!isfinite(sum))
        return dfo_run_fail(run, DFO_ENUM, (size_t)-1, "causal-conv: the first tap's matrix is singular");
    return DFO_OK;
}

/* Tap t of the four matrices: B = K_t or, of the solves, -K00^-1 K_t (K00^-1 for the first tap).  */
static void write_tap(const dfo_bijector *bij, const dfo_run *run, struct place p, size_t t, dfo_real *to)
{
    const dfoi_causal *s = state(bij);
    size_t c = bij->shape.c, wide = s->conv.kh * s->conv.kw * c, size = dfoi_causal_matrix(bij);
    const dfo_real *k = dfo_run_weights(run, s->conv.kernel) + t * c;
    for (size_t o = 0; o < c; o++)
        for (size_t i = 0; i < c; i++) {
            double plain = t ? p.scale[o] * (double)k[o * wide + i] : first_tap(bij, run, p, o, i), left = 0, right = 0;
            for (size_t q = 0; t && q < c; q++) {
                left -= p.inverse[o * c + q] * p.scale[q] * (double)k[q * wide + i];    /* -K00^-1 K_t */
                right -= p.inverse[q * c + o] * p.scale[i] * (double)k[i * wide + q];   /* -K00^-T K_t^T */
            }
            to[DFOI_CONVOLVE * size + o * wide + t * c + i] = (dfo_real)plain;
            to[DFOI_CONVOLVE_BACK * size + i * wide + t * c + o] = (dfo_real)plain;
            to[DFOI_SOLVE * size + o * wide + t * c + i] = (dfo_real)(t ? left : p.inverse[o * c + i]);
            to[DFOI_SOLVE_BACK * size + o * wide + t * c + i] = (dfo_real)(t ? right : p.inverse[i * c + o]);
        }
}

static dfo_status prepare(const dfo_bijector *bij, dfo_run *run, dfo_real *to)
{
    const dfoi_causal *s = state(bij);
    struct place p = place_of(bij, to);
    scale_rows(bij, run, p);
    DFO_TRY(invert_first(bij, run, p));
    for (size_t t = 0; t < s->conv.kh * s->conv.kw; t++)
        write_tap(bij, run, p, t, to);
    return DFO_OK;
}

/* From the gradient with respect to row o of K to that of the row's weights, and of the logarithm of d.  */
static void pull_row(const dfo_bijector *bij, dfo_run *run, struct place p, size_t o, const dfo_real *from, dfo_real *g,
                     double *glog)
{
    const dfoi_causal *s = state(bij);
    size_t c = bij->shape.c, wide = s->conv.kh * s->conv.kw * c;
    const dfo_real *k = dfo_run_weights(run, s->conv.kernel) + o * wide;
    double dot = 0, sum = s->stable ? row_sum(bij, run, o) : 0;
    for (size_t i = 0; s->stable && i < wide; i++)
        dot += i < o || i >= c ? (double)from[i] * (double)k[i] : 0;
    double across = sum > DOMINATED ? p.scale[o] * dot / sum : 0;
    for (size_t i = 0; i < wide; i++)
        if (i < o || i >= c)
            g[i] += (dfo_real)(p.scale[o] * (double)from[i] - across * ((k[i] > 0) - (k[i] < 0)));
    *glog = (double)from[o] * diagonal(bij, run, o) + p.scale[o] * dot;
}

static dfo_status pullback(const dfo_bijector *bij, dfo_run *run, const dfo_real *from, const dfo_real *gfrom)
{
    const dfoi_causal *s = state(bij);
    size_t c = bij->shape.c, wide = s->conv.kh * s->conv.kw * c;
    struct place p = place_of(bij, from);
    double glogdet = (double)gfrom[c * wide], glog;
    dfo_real *g = dfo_run_grads(run, s->conv.kernel), *gs = dfo_run_grads(run, s->log_diagonal);
    for (size_t o = 0; g && o < c; o++) {
        const dfo_real *row = gfrom + o * wide;
        if (s->diagonal == DFOI_CAUSAL_FULL) {
            for (size_t i = 0; i < wide; i++)
                g[o * wide + i] += (dfo_real)((double)row[i] + (i < c ? glogdet * p.inverse[i * c + o] : 0));
            continue;
        }
        pull_row(bij, run, p, o, row, g + o * wide, &glog);
        if (s->diagonal == DFOI_CAUSAL_LOG)
            gs[o] += (dfo_real)(glog + glogdet);
    }
    return DFO_OK;
}

/* M or M^-1.  */
static dfo_status apply(const dfo_bijector *bij, dfo_run *run, dfo_batch x, int solve, double *logdet)
{
    double each = (solve ? -1 : 1) * *place_of(bij, run->derived).logdet;
    dfoi_causal_sweep(bij, run, x, solve ? DFOI_SOLVE : DFOI_CONVOLVE);
    for (size_t i = 0; logdet && i < x.n; i++)
        logdet[i] += each;
    return DFO_OK;
}

static dfo_status pull(const dfo_bijector *bij, dfo_run *run, dfo_batch y, dfo_batch gy, int solve, const dfo_real *kept,
                       const double *glogdet)
{
    dfo_real *gk = run->grads ? run->gderived : NULL;
    double sum = 0;
    dfoi_causal_back(bij, run, y, gy, solve, kept, gk);
    for (size_t i = 0; i < y.n; i++)
        sum += glogdet[i];
    if (gk)
        gk[taps_size(bij)] += (dfo_real)((solve ? -sum : sum) * (double)dfoi_plane(bij));
    return DFO_OK;
}

/* In sums of rows: the last pixel's row has all entries, those of M the kernel's that fit the image, those of M^-1 what
 * becomes of a one in each channel of the first pixel.  */
static dfo_status conditioning(const dfo_bijector *bij, dfo_run *run, dfo_conditioning *out)
{
    const dfoi_causal *s = state(bij);
    size_t c = bij->shape.c, h = bij->shape.h, w = bij->shape.w;
    size_t corner = (s->from_bottom ? h - 1 : 0) * w + (s->from_right ? w - 1 : 0);
    dfo_batch x = dfo_batch_of(dfo_arena_take(run, bij->d), 1, bij->d);
    double *sum = dfoi_take_doubles(run, c), largest[2] = {0, 0};
    size_t mark = run->arena_used;
    for (int solve = 0; solve < 2; solve++) {
        memset(sum, 0, c * sizeof *sum);
        for (size_t i = 0; i < c; i++) {
            memset(x.x, 0, bij->d * sizeof *x.x);
            x.x[i * h * w + corner] = 1;
            run->arena_used = mark;
            dfoi_causal_sweep(bij, run, x, solve ? DFOI_SOLVE : DFOI_CONVOLVE);
            for (size_t k = 0; k < bij->d; k++)
                sum[k / (h * w)] += fabs((double)x.x[k]);
        }
        for (size_t o = 0; o < c; o++)
            largest[solve] = isfinite(sum[o]) ? fmax(largest[solve], sum[o]) : INFINITY;
    }
    *out = (dfo_conditioning){1 / largest[1], largest[0]};
    dfoi_convolution_turn(bij, out);
    return DFO_OK;
}

static dfo_status describe(const dfo_bijector *bij, json_t *to)
{
    const dfoi_causal *s = state(bij);
    dfo_ctx *ctx = bij->ctx;
    DFO_TRY(dfoi_convolution_describe(bij, to));
    DFO_TRY(dfoi_json_set(ctx, to, "orientation", json_string(orientations[2 * s->from_bottom + s->from_right])));
    DFO_TRY(dfoi_json_set(ctx, to, "diagonal", json_string(diagonals[s->diagonal])));
    DFO_TRY(dfoi_json_set(ctx, to, "stable", json_boolean(s->stable)));
    if (s->diagonal != DFOI_CAUSAL_LOG)
        return DFO_OK;
    json_t *list = json_array();
    dfo_status status = dfoi_json_set(ctx, to, "sign", list);
    for (size_t i = 0; i < bij->shape.c && status == DFO_OK; i++)
        if (json_array_append_new(list, json_integer((json_int_t)s->sign[i])))
            status = dfoi_fail(ctx, DFO_EMEM, "out of memory: sign");
    return status;
}

static void causal_free(dfo_bijector *bij)
{
    dfoi_causal *s = bij->state;
    if (s)
        dfoi_free(bij->ctx, s->sign);
    dfoi_free(bij->ctx, s);
}

static dfo_status read_settings(dfo_ctx *ctx, const json_t *config, size_t c, dfoi_causal *s)
{
    static const char *const keys[] = {"type", "kernel", "orientation", "solve", "diagonal", "sign", "stable", NULL};
    static const size_t most[2] = {64, 64};
    size_t orientation, diagonal;
    DFO_TRY(dfoi_json_keys(ctx, config, keys));
    DFO_TRY(dfoi_convolution_read(ctx, config, most, &s->conv));
    DFO_TRY(dfoi_json_choice(ctx, config, "orientation", orientations, 0, &orientation));
    s->from_right = orientation % 2;
    s->from_bottom = orientation > 1;
    DFO_TRY(dfoi_json_choice(ctx, config, "diagonal", diagonals, 0, &diagonal));
    s->diagonal = diagonal == 0 ? DFOI_CAUSAL_UNIT : diagonal == 1 ? DFOI_CAUSAL_LOG : DFOI_CAUSAL_FULL;
    DFO_TRY(dfoi_json_bool(ctx, config, "stable", 0, &s->stable));
    if (s->stable && s->diagonal == DFOI_CAUSAL_FULL)
        return dfoi_fail(ctx, DFO_EARG, "stable: goes with a unit or log diagonal");
    if (json_object_get(config, "sign") && s->diagonal != DFOI_CAUSAL_LOG)
        return dfoi_fail(ctx, DFO_EARG, "sign: goes with diagonal log alone");
    DFO_TRY(dfoi_alloc(ctx, c, sizeof *s->sign, &s->sign));
    DFO_TRY(dfoi_json_reals(ctx, config, "sign", c, 1, s->sign));
    for (size_t i = 0; i < c; i++)
        if (fabs(s->sign[i]) != 1)
            return dfoi_fail(ctx, DFO_EARG, "sign: entry %zu is not 1 or -1", i);
    return DFO_OK;
}

dfo_status dfoi_causal_create(dfo_build *build, json_t *config, dfo_bijector *bij)
{
    dfo_ctx *ctx = build->ctx;
    dfoi_causal *s;
    DFO_TRY(dfoi_alloc(ctx, 1, sizeof *s, &s));
    bij->state = s;
    s->conv.apply = apply;
    s->conv.pull = pull;
    size_t c = build->shape.c, shape[4] = {c, 0, 0, c}, all;
    DFO_TRY(read_settings(ctx, config, c, s));
    shape[1] = s->conv.kh;
    shape[2] = s->conv.kw;
    DFO_TRY(dfoi_mul(ctx, c, c, "causal-conv", &all));
    DFO_TRY(dfoi_mul(ctx, all, s->conv.kh * s->conv.kw, "causal-conv", &all));
    DFO_TRY(dfo_build_weights(build, "kernel", 4, shape, &s->conv.kernel));
    if (s->diagonal == DFOI_CAUSAL_LOG)
        DFO_TRY(dfo_build_weights(build, "log_diagonal", 1, shape, &s->log_diagonal));
    if (s->diagonal == DFOI_CAUSAL_UNIT)
        bij->caps |= DFO_VOLUME_PRESERVING;
    dfo_build_normal(build, s->conv.kernel, all, 0.1 / sqrt((double)(s->conv.kh * s->conv.kw * c)));
    for (size_t i = 0; s->diagonal == DFOI_CAUSAL_FULL && i < c; i++)
        dfo_build_constant(build, s->conv.kernel + i * (s->conv.kh * s->conv.kw * c) + i, 1, 1);
    return DFO_OK;
}

const struct dfo_bijector_ops dfoi_causal_ops = {
    .type = "causal-conv",
    .caps = DFO_CLOSED_INVERSE,
    .scratch = dfoi_causal_scratch,
    .saved = dfoi_convolution_saved,
    .derived = derived,
    .gderived = gderived,
    .prepare = prepare,
    .forward = dfoi_convolution_forward,
    .inverse = dfoi_convolution_inverse,
    .backward = dfoi_convolution_backward,
    .inverse_backward = dfoi_convolution_inverse_backward,
    .pullback = pullback,
    .conditioning = conditioning,
    .describe = describe,
    .free = causal_free,
};
