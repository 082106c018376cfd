/* Periodic convolution: with any kernel up to the image's size,
 *
 *     y[c, h, w] = sum over taps (i, j), channels c' of K[c, i, j, c'] x[c', (h - i) mod H, (w - j) mod W].
 *
 * At each frequency f it multiplies the channels by a complex matrix K^_f (C, C), so y^_f = K^_f x^_f, log|det| = sum over
 * frequencies of log|det K^_f|, and the inverse takes K^_f^-1, computed once per version of the weights (Hoogeboom, van den
 * Berg and Welling 2019).  The layer maps data to latents by K, or with "solve" by K^-1.  Gradients:
 * x^bar = K^H y^bar, K^bar = sum over rows of y^bar x^^H; of a solve x = K^-1 y: u = K^-H x^bar, K^bar = -u x^^H.  Spectra
 * are kept by planes, real parts and imaginary ones, so that products run along frequencies.  */
#include <math.h>
#include <string.h>

#include "channels_impl.h"
#include "convolution_impl.h"
#include "layers.h"
#include "math/fft_impl.h"
#include "math/kern_impl.h"
#include "math/lapack_impl.h"

#define GROUP 4            /* images that share a reading of the matrices */
#define CHUNK 256          /* frequencies at a time */

struct periodic {
    struct dfoi_convolution conv;      /* its kernel: (c, kh, kw, c) */
    dfoi_fft *fft;
};

static const struct periodic *state(const dfo_bijector *bij)
{
    return bij->state;
}

/* Reals of a spectrum, of a matrix of them, of a plane of pixels.  */
static size_t spectrum_size(const dfo_bijector *bij)
{
    return 2 * dfoi_fft_pitch(bij->shape.h, bij->shape.w);
}

static size_t matrix_size(const dfo_bijector *bij)
{
    return bij->shape.c * bij->shape.c * spectrum_size(bij);
}

static size_t plane_size(const dfo_bijector *bij)
{
    return dfo_arena_size(dfoi_plane(bij));
}

/* Derived data: K^, K^^-1 and, for prepare, a plane, a frequency's matrix, LAPACK's work; last the log-det.  */
struct place {
    dfo_real *kernel, *inverse, *plane;
    double   *matrix, *work, *logdet;
    int      *pivot;
};

static struct place place_of(const dfo_bijector *bij, const dfo_real *derived)
{
    size_t c = bij->shape.c, doubles = dfoi_doubles_size(2 * c * c), size = matrix_size(bij);
    dfo_real *at = (dfo_real *)derived + 2 * size + plane_size(bij);
    struct place p = {.kernel = (dfo_real *)derived, .inverse = (dfo_real *)derived + size,
                      .plane = (dfo_real *)derived + 2 * size};
    p.matrix = (double *)(void *)at;
    p.work = (double *)(void *)(at + doubles);
    p.logdet = (double *)(void *)(at + 2 * doubles);
    p.pivot = (int *)(void *)(at + 2 * doubles + dfoi_doubles_size(1));
    return p;
}

static size_t derived(const dfo_bijector *bij)
{
    size_t c = bij->shape.c;
    return 2 * matrix_size(bij) + plane_size(bij) + 2 * dfoi_doubles_size(2 * c * c) + dfoi_doubles_size(1) +
           dfo_arena_size(c * sizeof(int) / sizeof(dfo_real) + 1);
}

/* The gradient with respect to K^, then the sum of the log-det's.  */
static size_t gderived(const dfo_bijector *bij)
{
    return matrix_size(bij) + 16;
}

/* Doubles for the singular values of a frequency's matrix: the matrix, the values, LAPACK's work.  */
static size_t singular_size(size_t c)
{
    return 2 * c * c + c + 6 * c + 5 * c;
}

static size_t scratch(const dfo_bijector *bij, size_t rows)
{
    size_t n = rows < GROUP ? rows : GROUP, pass = 4 * n * bij->shape.c * spectrum_size(bij);
    size_t values = dfoi_doubles_size(singular_size(bij->shape.c));
    pass = pass > spectrum_size(bij) ? pass : spectrum_size(bij);
    return plane_size(bij) + (pass > values ? pass : values);
}

/* ---- once per version of the weights */

static void transform_kernel(const dfo_bijector *bij, const dfo_run *run, struct place p)
{
    const struct periodic *s = state(bij);
    size_t c = bij->shape.c, taps = s->conv.kh * s->conv.kw;
    const dfo_real *k = dfo_run_weights(run, s->conv.kernel);
    for (size_t o = 0; o < c; o++)
        for (size_t i = 0; i < c; i++) {
            memset(p.plane, 0, plane_size(bij) * sizeof *p.plane);
            for (size_t t = 0; t < taps; t++)
                p.plane[t / s->conv.kw * bij->shape.w + t % s->conv.kw] = k[(o * taps + t) * c + i];
            dfoi_fft_forward(s->fft, p.plane, p.kernel + (o * c + i) * spectrum_size(bij));
        }
}

/* One frequency between the spectra of a matrix and (c, c) complex, by columns.  */
static void pick(const dfo_bijector *bij, const dfo_real *spectra, size_t f, double *matrix)
{
    size_t c = bij->shape.c, size = spectrum_size(bij);
    for (size_t o = 0; o < c; o++)
        for (size_t i = 0; i < c; i++) {
            const dfo_real *from = spectra + (o * c + i) * size + f;
            matrix[2 * (i * c + o)] = (double)from[0];
            matrix[2 * (i * c + o) + 1] = (double)from[size / 2];
        }
}

static void put(const dfo_bijector *bij, const double *matrix, size_t f, dfo_real *spectra)
{
    size_t c = bij->shape.c, size = spectrum_size(bij);
    for (size_t o = 0; o < c; o++)
        for (size_t i = 0; i < c; i++) {
            dfo_real *to = spectra + (o * c + i) * size + f;
            to[0] = (dfo_real)matrix[2 * (i * c + o)];
            to[size / 2] = (dfo_real)matrix[2 * (i * c + o) + 1];
        }
}

static int all_finite(size_t n, const double *x)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += 0 * x[i];
    return sum == 0;
}

static dfo_status prepare(const dfo_bijector *bij, dfo_run *run, dfo_real *to)
{
    struct place p = place_of(bij, to);
    size_t half = bij->shape.w / 2 + 1;
    int c = (int)bij->shape.c, work = c * c, info = 0;
    transform_kernel(bij, run, p);
    memset(p.inverse, 0, matrix_size(bij) * sizeof *p.inverse);
    *p.logdet = 0;
    for (size_t f = 0; f < bij->shape.h * half; f++) {
        double sum = 0;
        pick(bij, p.kernel, f, p.matrix);
        int bad = !all_finite(2 * bij->shape.c * bij->shape.c, p.matrix);
        if (!bad)
            zgetrf_(&c, &c, p.matrix, &c, p.pivot, &info);
        for (int i = 0; !bad && i < c; i++)
            sum += log(hypot(p.matrix[2 * (i * c + i)], p.matrix[2 * (i * c + i) + 1]));
        if (!bad && info == 0)
            zgetri_(&c, p.matrix, &c, p.pivot, p.work, &work, &info);
        if (bad || info || !isfinite(sum) || !all_finite(2 * bij->shape.c * bij->shape.c, p.matrix))
            return dfo_run_fail(run, DFO_ENUM, (size_t)-1, "%s: the kernel has no inverse at frequency %zu, %zu",
                                bij->ops->type, f / half, f % half);
        *p.logdet += dfoi_fft_weight(bij->shape.w, f % half) * sum;
        put(bij, p.matrix, f, p.inverse);
    }
    return DFO_OK;
}

/* Singular values, over all frequencies.  */
static dfo_status conditioning(const dfo_bijector *bij, dfo_run *run, dfo_conditioning *out)
{
    int c = (int)bij->shape.c, work = 3 * c, info;
    size_t n = bij->shape.c;
    double *matrix = dfoi_take_doubles(run, singular_size(n)), *value = matrix + 2 * n * n, none[2];
    *out = (dfo_conditioning){INFINITY, 0};
    for (size_t f = 0; f < dfoi_fft_count(bij->shape.h, bij->shape.w); f++) {
        pick(bij, place_of(bij, run->derived).kernel, f, matrix);
        zgesvd_("N", "N", &c, &c, matrix, &c, value, none, &c, none, &c, value + n, &work, value + 7 * n, &info, 1, 1);
        if (info)
            return dfo_run_fail(run, DFO_ENUM, (size_t)-1, "%s: no singular values at frequency %zu", bij->ops->type, f);
        *out = (dfo_conditioning){fmin(out->smallest, value[n - 1]), fmax(out->largest, value[0])};
    }
    dfoi_convolution_turn(bij, out);
    return DFO_OK;
}

/* K^bar with the log-det's part, g weight (K^^-T)^*, transformed back; its taps.  */
static dfo_status pullback(const dfo_bijector *bij, dfo_run *run, const dfo_real *from, const dfo_real *gfrom)
{
    const struct periodic *s = state(bij);
    struct place p = place_of(bij, from);
    size_t c = bij->shape.c, size = spectrum_size(bij), taps = s->conv.kh * s->conv.kw;
    dfo_real *g = dfo_run_grads(run, s->conv.kernel), glogdet = gfrom[matrix_size(bij)], each = 1 / (dfo_real)dfoi_plane(bij);
    dfo_real *spectrum = dfo_arena_take(run, size), *plane = dfo_arena_take(run, plane_size(bij));
    for (size_t o = 0; g && o < c; o++)
        for (size_t i = 0; i < c; i++) {
            const dfo_real *inverse = p.inverse + (i * c + o) * size, *of = gfrom + (o * c + i) * size;
            for (size_t f = 0; f < size; f++)
                spectrum[f] = each * of[f] + (f < size / 2 ? glogdet : -glogdet) * inverse[f];
            dfoi_fft_inverse(s->fft, spectrum, plane);
            for (size_t t = 0; t < taps; t++)
                g[(o * taps + t) * c + i] += plane[t / s->conv.kw * bij->shape.w + t % s->conv.kw];
        }
    return DFO_OK;
}

/* ---- passes: spectra of a group's images are (n, c, spectrum) */

static void load(const dfo_bijector *bij, dfo_batch x, dfo_real *plane, dfo_real *spectra)
{
    size_t pixels = dfoi_plane(bij), size = spectrum_size(bij);
    for (size_t i = 0; i < x.n; i++)
        for (size_t c = 0; c < bij->shape.c; c++) {
            memcpy(plane, dfo_row(x, i) + c * pixels, pixels * sizeof *plane);
            dfoi_fft_forward(state(bij)->fft, plane, spectra + (i * bij->shape.c + c) * size);
        }
}

static void store(const dfo_bijector *bij, dfo_real *spectra, dfo_real *plane, dfo_batch x)
{
    size_t pixels = dfoi_plane(bij), size = spectrum_size(bij);
    for (size_t i = 0; i < x.n; i++)
        for (size_t c = 0; c < bij->shape.c; c++) {
            dfo_real *to = dfo_row(x, i) + c * pixels;
            dfoi_fft_inverse(state(bij)->fft, spectra + (i * bij->shape.c + c) * size, plane);
            for (size_t k = 0; k < pixels; k++)
                to[k] = plane[k] / (dfo_real)pixels;
        }
}

/* y = M x, or with `adjoint` y = M^H x, for n images.  */
static void multiply(const dfo_bijector *bij, const dfo_real *matrix, int adjoint, size_t n, const dfo_real *x, dfo_real *y)
{
    size_t c = bij->shape.c, size = spectrum_size(bij), half = size / 2, all = dfoi_fft_count(bij->shape.h, bij->shape.w);
    memset(y, 0, n * c * size * sizeof *y);
    for (size_t f = 0, m; f < all; f += m) {
        m = all - f < CHUNK ? all - f : CHUNK;
        for (size_t o = 0; o < c; o++)
            for (size_t i = 0; i < c; i++) {
                const dfo_real *k = matrix + (adjoint ? i * c + o : o * c + i) * size + f;
                for (size_t r = 0; r < n; r++)
                    dfoi_complex_add(m, adjoint, 1, half, k, x + (r * c + i) * size + f, y + (r * c + o) * size + f);
            }
    }
}

/* gk += sign g x^H.  */
static void add_kernel(const dfo_bijector *bij, dfo_real sign, size_t n, const dfo_real *g, const dfo_real *x, dfo_real *gk)
{
    size_t c = bij->shape.c, size = spectrum_size(bij), half = size / 2, all = dfoi_fft_count(bij->shape.h, bij->shape.w);
    for (size_t f = 0, m; f < all; f += m) {
        m = all - f < CHUNK ? all - f : CHUNK;
        for (size_t o = 0; o < c; o++)
            for (size_t i = 0; i < c; i++)
                for (size_t r = 0; r < n; r++)
                    dfoi_complex_add(m, 1, sign, half, x + (r * c + i) * size + f, g + (r * c + o) * size + f,
                                     gk + (o * c + i) * size + f);
    }
}

static dfo_status apply(const dfo_bijector *bij, dfo_run *run, dfo_batch x, int solve, double *logdet)
{
    struct place p = place_of(bij, run->derived);
    size_t most = x.n < GROUP ? x.n : GROUP, all = most * bij->shape.c * spectrum_size(bij);
    dfo_real *plane = dfo_arena_take(run, plane_size(bij)), *in = dfo_arena_take(run, all), *out = dfo_arena_take(run, all);
    for (size_t first = 0; first < x.n; first += most) {
        dfo_batch rows = dfo_batch_rows(x, first, x.n - first < most ? x.n - first : most);
        load(bij, rows, plane, in);
        multiply(bij, solve ? p.inverse : p.kernel, 0, rows.n, in, out);
        store(bij, out, plane, rows);
    }
    for (size_t i = 0; logdet && i < x.n; i++)
        logdet[i] += solve ? -*p.logdet : *p.logdet;
    return DFO_OK;
}

/* Back through M (solve = 0) or M^-1: from the output and its gradient to the input and its own.  */
static dfo_status pull(const dfo_bijector *bij, dfo_run *run, dfo_batch y, dfo_batch gy, int solve,
                       const dfo_real *kept, const double *glogdet)
{
    (void)kept;
    struct place p = place_of(bij, run->derived);
    size_t most = y.n < GROUP ? y.n : GROUP, all = most * bij->shape.c * spectrum_size(bij);
    dfo_real *gk = run->grads ? run->gderived : NULL, *plane = dfo_arena_take(run, plane_size(bij));
    dfo_real *out = dfo_arena_take(run, all), *gout = dfo_arena_take(run, all), *in = dfo_arena_take(run, all),
             *gin = dfo_arena_take(run, all);
    for (size_t first = 0; first < y.n; first += most) {
        size_t n = y.n - first < most ? y.n - first : most;
        dfo_batch rows = dfo_batch_rows(y, first, n), grows = dfo_batch_rows(gy, first, n);
        load(bij, rows, plane, out);
        load(bij, grows, plane, gout);
        multiply(bij, solve ? p.kernel : p.inverse, 0, n, out, in);
        multiply(bij, solve ? p.inverse : p.kernel, 1, n, gout, gin);
        if (gk && solve)
            add_kernel(bij, -1, n, gin, out, gk);
        else if (gk)
            add_kernel(bij, 1, n, gout, in, gk);
        store(bij, in, plane, rows);
        store(bij, gin, plane, grows);
    }
    for (size_t i = 0; gk && i < y.n; i++)
        gk[matrix_size(bij)] += (dfo_real)(solve ? -glogdet[i] : glogdet[i]);
    return DFO_OK;
}

static void periodic_free(dfo_bijector *bij)
{
    struct periodic *s = bij->state;
    if (s)
        dfoi_fft_free(bij->ctx, s->fft);
    dfoi_free(bij->ctx, s);
}

dfo_status dfoi_periodic_create(dfo_build *build, json_t *config, dfo_bijector *bij)
{
    static const char *const keys[] = {"type", "kernel", "solve", NULL};
    dfo_ctx *ctx = build->ctx;
    struct periodic *s;
    size_t c = build->shape.c, most[2] = {build->shape.h, build->shape.w}, all;
    DFO_TRY(dfoi_json_keys(ctx, config, keys));
    DFO_TRY(dfoi_alloc(ctx, 1, sizeof *s, &s));
    bij->state = s;
    s->conv.apply = apply;
    s->conv.pull = pull;
    DFO_TRY(dfoi_convolution_read(ctx, config, most, &s->conv));
    if (c > 4096)
        return dfoi_fail(ctx, DFO_ESHAPE, "%zu channels: expected at most 4096", c);
    DFO_TRY(dfoi_mul(ctx, c * c, s->conv.kh * s->conv.kw, "periodic-conv", &all));
    DFO_TRY(dfoi_fft_new(ctx, DFOI_FFT_REAL, build->shape.h, build->shape.w, &s->fft));
    DFO_TRY(dfo_build_weights(build, "kernel", 4, (size_t[4]){c, s->conv.kh, s->conv.kw, c}, &s->conv.kernel));
    dfo_build_normal(build, s->conv.kernel, all, 0.1 / sqrt((double)(s->conv.kh * s->conv.kw * c)));
    for (size_t i = 0; i < c; i++)     /* the pixel itself, and little of the others */
        dfo_build_constant(build, s->conv.kernel + i * s->conv.kh * s->conv.kw * c + i, 1, 1);
    return DFO_OK;
}

const struct dfo_bijector_ops dfoi_periodic_ops = {
    .type = "periodic-conv",
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
    .free = periodic_free,
};
