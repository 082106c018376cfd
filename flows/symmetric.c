/* Symmetric convolution of each channel with a kernel of its own, the picture reflected at its edges (half-sample): with
 * taps k[i, j], i < kh, j < kw, a quarter of an even kernel,
 *
 *     y[h, w] = sum over |i| < kh, |j| < kw of k[|i|, |j|] x~[h - i, w - j],
 *
 * diagonal under the DCT-II with the eigenvalues sum c_i c_j k[i, j] cos(pi u i / H) cos(pi v j / W), c_0 = 1, else 2
 * (Karami et al. 2019).  The map is its own adjoint.  Data go to latents by it, or with "solve" by its inverse.  */
#include <math.h>
#include <string.h>

#include "channels_impl.h"
#include "convolution_impl.h"
#include "layers.h"
#include "math/fft_impl.h"

struct symmetric {
    struct dfoi_convolution conv;      /* its kernel: (c, kh, kw) */
    dfoi_fft *fft;
};

static const struct symmetric *state(const dfo_bijector *bij)
{
    return bij->state;
}

static size_t plane_size(const dfo_bijector *bij)
{
    return dfo_arena_size(dfoi_plane(bij));
}

/* Derived data: eigenvalues (c, plane), the log-det, prepare's sums over rows of taps (h, kw).  */
static double *logdet_of(const dfo_bijector *bij, const dfo_real *derived)
{
    return (double *)(void *)((dfo_real *)derived + bij->shape.c * plane_size(bij));
}

static size_t derived(const dfo_bijector *bij)
{
    return bij->shape.c * plane_size(bij) + dfoi_doubles_size(1) + dfoi_doubles_size(bij->shape.h * state(bij)->conv.kw);
}

/* The gradient with respect to the eigenvalues, then the sum of the log-det's.  */
static size_t gderived(const dfo_bijector *bij)
{
    return bij->shape.c * plane_size(bij) + 1;
}

static size_t scratch(const dfo_bijector *bij, size_t rows)
{
    size_t back = dfoi_doubles_size(bij->shape.h * state(bij)->conv.kw);
    (void)rows;
    return 3 * plane_size(bij) > back ? 3 * plane_size(bij) : back;
}

/* c_i cos(pi u i / n).  */
static double cosine(size_t u, size_t i, size_t n)
{
    return (i ? 2 : 1) * cos(M_PI * (double)(u * i % (2 * n)) / (double)n);
}

static dfo_status prepare(const dfo_bijector *bij, dfo_run *run, dfo_real *to)
{
    const struct symmetric *s = state(bij);
    dfo_shape shape = bij->shape;
    double *logdet = logdet_of(bij, to), *sums = (double *)(void *)((dfo_real *)(void *)logdet + dfoi_doubles_size(1));
    *logdet = 0;
    for (size_t c = 0; c < shape.c; c++) {
        const dfo_real *k = dfo_run_weights(run, s->conv.kernel) + c * s->conv.kh * s->conv.kw;
        dfo_real *value = to + c * plane_size(bij);
        for (size_t u = 0; u < shape.h; u++)
            for (size_t j = 0; j < s->conv.kw; j++) {
                double sum = 0;
                for (size_t i = 0; i < s->conv.kh; i++)
                    sum += cosine(u, i, shape.h) * (double)k[i * s->conv.kw + j];
                sums[u * s->conv.kw + j] = sum;
            }
        for (size_t f = 0; f < dfoi_plane(bij); f++) {
            size_t u = f / shape.w, v = f % shape.w;
            double sum = 0;
            for (size_t j = 0; j < s->conv.kw; j++)
                sum += cosine(v, j, shape.w) * sums[u * s->conv.kw + j];
            value[f] = (dfo_real)sum;
            if (value[f] == 0 || !isfinite(value[f]))
                return dfo_run_fail(run, DFO_ENUM, (size_t)-1, "%s: the kernel of channel %zu has no inverse at frequency "
                                    "%zu, %zu", bij->ops->type, c, u, v);
            *logdet += log(fabs((double)value[f]));
        }
    }
    return DFO_OK;
}

static dfo_status conditioning(const dfo_bijector *bij, dfo_run *run, dfo_conditioning *out)
{
    *out = (dfo_conditioning){INFINITY, 0};
    for (size_t c = 0; c < bij->shape.c; c++)
        for (size_t f = 0; f < dfoi_plane(bij); f++) {
            double size = fabs((double)run->derived[c * plane_size(bij) + f]);
            *out = (dfo_conditioning){fmin(out->smallest, size), fmax(out->largest, size)};
        }
    dfoi_convolution_turn(bij, out);
    return DFO_OK;
}

static dfo_status pullback(const dfo_bijector *bij, dfo_run *run, const dfo_real *from, const dfo_real *gfrom)
{
    const struct symmetric *s = state(bij);
    dfo_shape shape = bij->shape;
    dfo_real *g = dfo_run_grads(run, s->conv.kernel);
    double glogdet = (double)gfrom[shape.c * plane_size(bij)];
    double *sums = dfoi_take_doubles(run, shape.h * s->conv.kw);
    for (size_t c = 0; g && c < shape.c; c++, g += s->conv.kh * s->conv.kw) {
        const dfo_real *value = from + c * plane_size(bij), *of = gfrom + c * plane_size(bij);
        for (size_t u = 0; u < shape.h; u++)
            for (size_t j = 0; j < s->conv.kw; j++) {
                double sum = 0;
                for (size_t v = 0; v < shape.w; v++)
                    sum += cosine(v, j, shape.w) *
                           ((double)of[u * shape.w + v] + glogdet / (double)value[u * shape.w + v]);
                sums[u * s->conv.kw + j] = sum;
            }
        for (size_t t = 0; t < s->conv.kh * s->conv.kw; t++) {
            double sum = 0;
            for (size_t u = 0; u < shape.h; u++)
                sum += cosine(u, t / s->conv.kw, shape.h) * sums[u * s->conv.kw + t % s->conv.kw];
            g[t] += (dfo_real)sum;
        }
    }
    return DFO_OK;
}

/* A plane of a row in the cosines' basis, and back, divided by the transforms' factor.  */
static void to_cosines(const dfo_bijector *bij, const dfo_real *x, dfo_real *plane, dfo_real *spectrum)
{
    memcpy(plane, x, dfoi_plane(bij) * sizeof *x);
    dfoi_fft_forward(state(bij)->fft, plane, spectrum);
}

static void from_cosines(const dfo_bijector *bij, dfo_real *spectrum, dfo_real *plane, dfo_real *x)
{
    size_t pixels = dfoi_plane(bij);
    dfoi_fft_inverse(state(bij)->fft, spectrum, plane);
    for (size_t i = 0; i < pixels; i++)
        x[i] = plane[i] / (dfo_real)(4 * pixels);
}

static void scale(size_t n, const dfo_real *value, int divide, dfo_real *x)
{
    for (size_t i = 0; divide && i < n; i++)
        x[i] /= value[i];
    for (size_t i = 0; !divide && i < n; i++)
        x[i] *= value[i];
}

static dfo_status apply(const dfo_bijector *bij, dfo_run *run, dfo_batch x, int solve, double *logdet)
{
    size_t pixels = dfoi_plane(bij);
    dfo_real *plane = dfo_arena_take(run, plane_size(bij)), *spectrum = dfo_arena_take(run, plane_size(bij));
    double each = *logdet_of(bij, run->derived);
    for (size_t i = 0; i < x.n; i++)
        for (size_t c = 0; c < bij->shape.c; c++) {
            dfo_real *at = dfo_row(x, i) + c * pixels;
            to_cosines(bij, at, plane, spectrum);
            scale(pixels, run->derived + c * plane_size(bij), solve, spectrum);
            from_cosines(bij, spectrum, plane, at);
        }
    for (size_t i = 0; logdet && i < x.n; i++)
        logdet[i] += solve ? -each : each;
    return DFO_OK;
}

/* A plane of the output x and its gradient g, in cosines, to the input's; the eigenvalues' gradient, in the orthonormal
 * basis, is added to gvalue (NULL: not wanted).  */
static void back(dfo_shape shape, const dfo_real *value, int solve, dfo_real *x, dfo_real *g, dfo_real *gvalue)
{
    dfo_real each = 1 / (dfo_real)(16 * shape.h * shape.w);
    for (size_t f = 0; f < shape.h * shape.w; f++) {
        dfo_real in = solve ? x[f] * value[f] : x[f] / value[f], gin = solve ? g[f] / value[f] : g[f] * value[f];
        dfo_real factor = each * (f < shape.w ? 1 : 2) * (f % shape.w ? 2 : 1);
        if (gvalue)
            gvalue[f] += factor * (solve ? -gin * x[f] : g[f] * in);
        x[f] = in;
        g[f] = gin;
    }
}

static dfo_status pull(const dfo_bijector *bij, dfo_run *run, dfo_batch y, dfo_batch gy, int solve,
                       const dfo_real *kept, const double *glogdet)
{
    (void)kept;
    size_t pixels = dfoi_plane(bij), size = plane_size(bij);
    dfo_real *gvalue = run->grads ? run->gderived : NULL;
    dfo_real *plane = dfo_arena_take(run, size), *spectrum = dfo_arena_take(run, size), *gspectrum = dfo_arena_take(run, size);
    for (size_t i = 0; i < y.n; i++)
        for (size_t c = 0; c < bij->shape.c; c++) {
            const dfo_real *value = run->derived + c * size;
            dfo_real *at = dfo_row(y, i) + c * pixels, *gat = dfo_row(gy, i) + c * pixels;
            to_cosines(bij, at, plane, spectrum);
            to_cosines(bij, gat, plane, gspectrum);
            back(bij->shape, value, solve, spectrum, gspectrum, gvalue ? gvalue + c * size : NULL);
            from_cosines(bij, spectrum, plane, at);
            from_cosines(bij, gspectrum, plane, gat);
        }
    for (size_t i = 0; gvalue && i < y.n; i++)
        gvalue[bij->shape.c * size] += (dfo_real)(solve ? -glogdet[i] : glogdet[i]);
    return DFO_OK;
}

static void symmetric_free(dfo_bijector *bij)
{
    struct symmetric *s = bij->state;
    if (s)
        dfoi_fft_free(bij->ctx, s->fft);
    dfoi_free(bij->ctx, s);
}

dfo_status dfoi_symmetric_create(dfo_build *build, json_t *config, dfo_bijector *bij)
{
    static const char *const keys[] = {"type", "kernel", "solve", NULL};
    dfo_ctx *ctx = build->ctx;
    struct symmetric *s;
    size_t c = build->shape.c, most[2] = {build->shape.h, build->shape.w}, taps, all;
    DFO_TRY(dfoi_json_keys(ctx, config, keys));
    DFO_TRY(dfoi_alloc(ctx, 1, sizeof *s, &s));
    bij->state = s;
    s->conv.apply = apply;
    s->conv.pull = pull;
    DFO_TRY(dfoi_convolution_read(ctx, config, most, &s->conv));
    taps = s->conv.kh * s->conv.kw;
    DFO_TRY(dfoi_mul(ctx, c, taps, "symmetric-conv", &all));
    DFO_TRY(dfoi_fft_new(ctx, DFOI_FFT_COSINE, build->shape.h, build->shape.w, &s->fft));
    DFO_TRY(dfo_build_weights(build, "kernel", 3, (size_t[3]){c, s->conv.kh, s->conv.kw}, &s->conv.kernel));
    dfo_build_normal(build, s->conv.kernel, all, 0.05 / sqrt((double)taps));
    for (size_t i = 0; i < c; i++)
        dfo_build_constant(build, s->conv.kernel + i * taps, 1, 1);
    return DFO_OK;
}

const struct dfo_bijector_ops dfoi_symmetric_ops = {
    .type = "symmetric-conv",
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
    .conditioning = conditioning,
    .describe = dfoi_convolution_describe,
    .free = symmetric_free,
};
