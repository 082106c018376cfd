/* Periodic convolution: with any kernel up to the image's size,
 *
 *     y[c, h, w] = sum over taps (i, j), channels c' of K[c, i, j, c'] x[c', (h - i) mod H, (w - j) mod W].
 *
 * At each frequency f it multiplies the channels by a complex matrix K^_f (C, C), so y^_f = K^_f x^_f, log|det| = sum over
 * frequencies of log|det K^_f|, and the inverse takes K^_f^-1, computed once per version of the weights (Hoogeboom, van den
 * Berg and Welling 2019).  The layer maps data to latents by K, or with "solve" by K^-1.  Gradients:
 * x^bar = K^H y^bar, K^bar = sum over rows of y^bar x^^H; of a solve x = K^-1 y: u = K^-H x^bar, K^bar = -u x^^H.  Spectra
 * of several planes are kept (frequencies/16, planes, 2, 16), real and imaginary parts of 16 frequencies beside each other, so
 * that products run along frequencies and read matrices from end to end.  */
#include <math.h>
#include <string.h>

#include "channels_impl.h"
#include "convolution_impl.h"
#include "layers.h"
#include "math/fft_impl.h"
#include "math/kern_impl.h"
#include "math/lapack_impl.h"

#define GROUP 4            /* images that share a reading of the matrices */
#define PAIR ((size_t)2 * DFOI_COMPLEX)       /* reals of 16 frequencies of a plane */

struct periodic {
    struct dfoi_convolution conv;      /* its kernel: (c, kh, kw, c) */
    dfoi_fft *fft;
};

static const struct periodic *state(const dfo_bijector *bij)
{
    return bij->state;
}

static size_t count(const dfo_bijector *bij)
{
    return dfoi_fft_count(bij->shape.h, bij->shape.w);
}

static size_t chunks(const dfo_bijector *bij)
{
    return (count(bij) + DFOI_COMPLEX - 1) / DFOI_COMPLEX;
}

/* Reals of one spectrum as FFTW has it, of spectra of so many planes, of a matrix of them.  */
static size_t spectrum_size(const dfo_bijector *bij)
{
    return dfo_arena_size(2 * count(bij));
}

static size_t spectra_size(const dfo_bijector *bij, size_t planes)
{
    return chunks(bij) * planes * PAIR;
}

static size_t matrix_size(const dfo_bijector *bij)
{
    return spectra_size(bij, bij->shape.c * bij->shape.c);
}

static size_t plane_size(const dfo_bijector *bij)
{
    return dfo_arena_size(dfoi_plane(bij));
}

/* Derived data: K^, K^^-1 and, for prepare, a plane, its spectrum, a frequency's matrix, LAPACK's work; last the log-det.  */
struct place {
    dfo_real *kernel, *inverse, *plane, *spectrum;
    double   *matrix, *work, *logdet;
    int      *pivot;
};

static struct place place_of(const dfo_bijector *bij, const dfo_real *derived)
{
    size_t c = bij->shape.c, doubles = dfoi_doubles_size(2 * c * c), size = matrix_size(bij);
    dfo_real *at = (dfo_real *)derived + 2 * size + plane_size(bij) + spectrum_size(bij);
    struct place p = {.kernel = (dfo_real *)derived, .inverse = (dfo_real *)derived + size,
                      .plane = (dfo_real *)derived + 2 * size, .spectrum = at - spectrum_size(bij)};
    p.matrix = (double *)(void *)at;
    p.work = (double *)(void *)(at + doubles);
    p.logdet = (double *)(void *)(at + 2 * doubles);
    p.pivot = (int *)(void *)(at + 2 * doubles + dfoi_doubles_size(1));
    return p;
}

static size_t derived(const dfo_bijector *bij)
{
    size_t c = bij->shape.c;
    return 2 * matrix_size(bij) + plane_size(bij) + spectrum_size(bij) + 2 * dfoi_doubles_size(2 * c * c) + dfoi_doubles_size(1) +
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
    size_t n = rows < GROUP ? rows : GROUP, pass = 4 * spectra_size(bij, n * bij->shape.c);
    size_t values = dfoi_doubles_size(singular_size(bij->shape.c));
    return plane_size(bij) + spectrum_size(bij) + (pass > values ? pass : values);
}

/* A spectrum to plane p of spectra, zeros behind its end; and back.  */
static void spread(const dfo_bijector *bij, const dfo_real *spectrum, size_t planes, size_t p, dfo_real *spectra)
{
    size_t all = count(bij);
    for (size_t f = 0; f < all; f += DFOI_COMPLEX) {
        dfo_real *to = spectra + (f / DFOI_COMPLEX * planes + p) * PAIR;
        const dfo_real *from = spectrum + 2 * f;
        size_t n = all - f < DFOI_COMPLEX ? all - f : DFOI_COMPLEX;
        for (size_t l = n; l < DFOI_COMPLEX; l++)
            to[l] = to[DFOI_COMPLEX + l] = 0;
        for (size_t l = 0; l < n; l++) {
            to[l] = from[2 * l];
            to[DFOI_COMPLEX + l] = from[2 * l + 1];
        }
    }
}

static void collect(const dfo_bijector *bij, const dfo_real *spectra, size_t planes, size_t p, dfo_real *spectrum)
{
    size_t all = count(bij);
    for (size_t f = 0; f < all; f += DFOI_COMPLEX) {
        const dfo_real *from = spectra + (f / DFOI_COMPLEX * planes + p) * PAIR;
        dfo_real *to = spectrum + 2 * f;
        size_t n = all - f < DFOI_COMPLEX ? all - f : DFOI_COMPLEX;
        for (size_t l = 0; l < n; l++) {
            to[2 * l] = from[l];
            to[2 * l + 1] = from[DFOI_COMPLEX + l];
        }
    }
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
            dfoi_fft_forward(s->fft, p.plane, p.spectrum);
            spread(bij, p.spectrum, c * c, o * c + i, p.kernel);
        }
}

/* One frequency between the spectra of a matrix and (c, c) complex, by columns.  */
static void pick(const dfo_bijector *bij, const dfo_real *spectra, size_t f, double *matrix)
{
    size_t c = bij->shape.c;
    spectra += f / DFOI_COMPLEX * c * c * PAIR + f % DFOI_COMPLEX;
    for (size_t o = 0; o < c; o++)
        for (size_t i = 0; i < c; i++, spectra += PAIR) {
            matrix[2 * (i * c + o)] = (double)spectra[0];
            matrix[2 * (i * c + o) + 1] = (double)spectra[DFOI_COMPLEX];
        }
}

static void put(const dfo_bijector *bij, const double *matrix, size_t f, dfo_real *spectra)
{
    size_t c = bij->shape.c;
    spectra += f / DFOI_COMPLEX * c * c * PAIR + f % DFOI_COMPLEX;
    for (size_t o = 0; o < c; o++)
        for (size_t i = 0; i < c; i++, spectra += PAIR) {
            spectra[0] = (dfo_real)matrix[2 * (i * c + o)];
            spectra[DFOI_COMPLEX] = (dfo_real)matrix[2 * (i * c + o) + 1];
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
    for (size_t f = 0; f < count(bij); f++) {
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
    size_t c = bij->shape.c, taps = s->conv.kh * s->conv.kw;
    dfo_real *g = dfo_run_grads(run, s->conv.kernel), glogdet = gfrom[matrix_size(bij)], each = 1 / (dfo_real)dfoi_plane(bij);
    dfo_real *spectrum = dfo_arena_take(run, spectrum_size(bij)), *plane = dfo_arena_take(run, plane_size(bij));
    for (size_t o = 0; g && o < c; o++)
        for (size_t i = 0; i < c; i++) {
            for (size_t f = 0; f < count(bij); f++) {
                size_t at = f / DFOI_COMPLEX * c * c * PAIR + f % DFOI_COMPLEX;
                const dfo_real *inverse = p.inverse + at + (i * c + o) * PAIR, *of = gfrom + at + (o * c + i) * PAIR;
                spectrum[2 * f] = each * of[0] + glogdet * inverse[0];
                spectrum[2 * f + 1] = each * of[DFOI_COMPLEX] - glogdet * inverse[DFOI_COMPLEX];
            }
            dfoi_fft_inverse(s->fft, spectrum, plane);
            for (size_t t = 0; t < taps; t++)
                g[(o * taps + t) * c + i] += plane[t / s->conv.kw * bij->shape.w + t % s->conv.kw];
        }
    return DFO_OK;
}

/* ---- passes: a group's images are planes (n, c) */

struct room {
    dfo_real *plane, *spectrum;
};

static struct room room_of(const dfo_bijector *bij, dfo_run *run)
{
    struct room room = {dfo_arena_take(run, plane_size(bij)), dfo_arena_take(run, spectrum_size(bij))};
    return room;
}

static void load(const dfo_bijector *bij, struct room room, dfo_batch x, dfo_real *spectra)
{
    size_t pixels = dfoi_plane(bij), c = bij->shape.c;
    for (size_t p = 0; p < x.n * c; p++) {
        memcpy(room.plane, dfo_row(x, p / c) + p % c * pixels, pixels * sizeof *room.plane);
        dfoi_fft_forward(state(bij)->fft, room.plane, room.spectrum);
        spread(bij, room.spectrum, x.n * c, p, spectra);
    }
}

static void store(const dfo_bijector *bij, struct room room, const dfo_real *spectra, dfo_batch x)
{
    size_t pixels = dfoi_plane(bij), c = bij->shape.c;
    for (size_t p = 0; p < x.n * c; p++) {
        dfo_real *to = dfo_row(x, p / c) + p % c * pixels;
        collect(bij, spectra, x.n * c, p, room.spectrum);
        dfoi_fft_inverse(state(bij)->fft, room.spectrum, room.plane);
        for (size_t k = 0; k < pixels; k++)
            to[k] = room.plane[k] / (dfo_real)pixels;
    }
}

/* y = M x, or with `adjoint` y = M^H x, for n images.  */
static void multiply(const dfo_bijector *bij, const dfo_real *matrix, int adjoint, size_t n, const dfo_real *x, dfo_real *y)
{
    size_t c = bij->shape.c, row = c * PAIR, matrices = c * c * PAIR;
    dfoi_complex how = {.inputs = c, .outputs = c, .rows = n, .k_output = adjoint ? PAIR : row, .k_input = adjoint ? row : PAIR,
                        .x_row = row, .x_input = PAIR, .y_row = row, .y_output = PAIR, .conjugate = adjoint};
    for (size_t q = 0; q < chunks(bij); q++)
        dfoi_complex_product(&how, matrix + q * matrices, x + q * n * row, y + q * n * row);
}

/* gk += g x^H, or -g x^H.  */
static void add_kernel(const dfo_bijector *bij, int negative, size_t n, const dfo_real *g, const dfo_real *x, dfo_real *gk)
{
    size_t c = bij->shape.c, row = c * PAIR, matrices = c * c * PAIR;
    dfoi_complex how = {.inputs = n, .outputs = c, .rows = c, .k_output = PAIR, .k_input = row, .x_row = PAIR, .x_input = row,
                        .y_row = row, .y_output = PAIR, .conjugate = 1, .negative = negative, .add = 1};
    for (size_t q = 0; q < chunks(bij); q++)
        dfoi_complex_product(&how, x + q * n * row, g + q * n * row, gk + q * matrices);
}

static dfo_status apply(const dfo_bijector *bij, dfo_run *run, dfo_batch x, int solve, double *logdet)
{
    struct place p = place_of(bij, run->derived);
    size_t most = x.n < GROUP ? x.n : GROUP, all = spectra_size(bij, most * bij->shape.c);
    struct room room = room_of(bij, run);
    dfo_real *in = dfo_arena_take(run, all), *out = dfo_arena_take(run, all);
    for (size_t first = 0; first < x.n; first += most) {
        dfo_batch rows = dfo_batch_rows(x, first, x.n - first < most ? x.n - first : most);
        load(bij, room, rows, in);
        multiply(bij, solve ? p.inverse : p.kernel, 0, rows.n, in, out);
        store(bij, room, out, rows);
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
    size_t most = y.n < GROUP ? y.n : GROUP, all = spectra_size(bij, most * bij->shape.c);
    struct room room = room_of(bij, run);
    dfo_real *gk = run->grads ? run->gderived : NULL;
    dfo_real *out = dfo_arena_take(run, all), *gout = dfo_arena_take(run, all), *in = dfo_arena_take(run, all),
             *gin = dfo_arena_take(run, all);
    for (size_t first = 0; first < y.n; first += most) {
        size_t n = y.n - first < most ? y.n - first : most;
        dfo_batch rows = dfo_batch_rows(y, first, n), grows = dfo_batch_rows(gy, first, n);
        load(bij, room, rows, out);
        load(bij, room, grows, gout);
        multiply(bij, solve ? p.kernel : p.inverse, 0, n, out, in);
        multiply(bij, solve ? p.inverse : p.kernel, 1, n, gout, gin);
        if (gk && solve)
            add_kernel(bij, 1, n, gin, out, gk);
        else if (gk)
            add_kernel(bij, 0, n, gout, in, gk);
        store(bij, room, in, rows);
        store(bij, room, gin, grows);
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
