/* Convolution of a picture and its inverse: by FFT (periodic), DCT-II (symmetric; Martucci 1994), or, causal, pixel by
 * pixel in raster order.  */
#include <math.h>
#include <string.h>

#include <diffeo/filter.h>
#include "base/ctx_impl.h"
#include "math/fft_impl.h"

struct dfo_filter {
    dfo_ctx     *ctx;
    dfo_boundary boundary;
    size_t       h, w, kh, kw;
    double      *kernel;               /* (kh, kw) */
    dfoi_fft    *fft;
    dfo_real    *value;                /* of the map: a spectrum, or eigenvalues (h, w) */
    dfo_real    *plane, *spectrum;     /* work */
    dfo_filter_report report;
};

static size_t spectrum_size(const dfo_filter *f)
{
    return f->boundary == DFO_PERIODIC ? dfo_arena_size(2 * dfoi_fft_count(f->h, f->w)) : dfo_arena_size(f->h * f->w);
}

/* ---- causal */

static double causal_sum(const dfo_filter *f, const dfo_real *x, size_t y, size_t at, size_t from)
{
    double sum = 0;
    for (size_t i = 0; i < f->kh && i <= y; i++)
        for (size_t j = i ? 0 : from; j < f->kw && j <= at; j++)
            sum += f->kernel[i * f->kw + j] * (double)x[(y - i) * f->w + at - j];
    return sum;
}

static void causal_apply(const dfo_filter *f, dfo_real *x)
{
    for (size_t p = f->h * f->w; p-- > 0;)
        x[p] = (dfo_real)causal_sum(f, x, p / f->w, p % f->w, 0);
}

static void causal_solve(const dfo_filter *f, dfo_real *x)
{
    for (size_t p = 0; p < f->h * f->w; p++)
        x[p] = (dfo_real)(((double)x[p] - causal_sum(f, x, p / f->w, p % f->w, 1)) / f->kernel[0]);
}

/* The last pixel's row of either matrix has all entries: the kernel's, and the impulse's response.  */
static void causal_report(dfo_filter *f)
{
    double norm = 0, inverse = 0;
    for (size_t k = 0; k < f->kh * f->kw; k++)
        norm += fabs(f->kernel[k]);
    memset(f->plane, 0, f->h * f->w * sizeof *f->plane);
    f->plane[0] = 1;
    if (f->kernel[0] != 0)
        causal_solve(f, f->plane);
    for (size_t p = 0; p < f->h * f->w; p++)
        inverse += fabs((double)f->plane[p]);
    int none = f->kernel[0] == 0 || !isfinite(inverse);
    f->report = (dfo_filter_report){.smallest = none ? 0 : 1 / inverse, .largest = norm,
                                    .condition = none ? INFINITY : norm * inverse};
}

/* ---- by transform */

/* The kernel's spectrum: its centre is pixel 0, the rest wraps around.  */
static void periodic_values(dfo_filter *f)
{
    memset(f->plane, 0, f->h * f->w * sizeof *f->plane);
    for (size_t i = 0; i < f->kh; i++)
        for (size_t j = 0; j < f->kw; j++)
            f->plane[(i + f->h - f->kh / 2) % f->h * f->w + (j + f->w - f->kw / 2) % f->w] =
                (dfo_real)f->kernel[i * f->kw + j];
    dfoi_fft_forward(f->fft, f->plane, f->value);
}

/* cos(pi u i / n), exactly periodic.  */
static double cosine(size_t u, size_t i, size_t n)
{
    return cos(M_PI * (double)(u * i % (2 * n)) / (double)n);
}

/* sum over i, j of k[i, j] cos(pi u i / h) cos(pi v j / w), i and j counted from the centre.  */
static dfo_status symmetric_values(dfo_filter *f)
{
    size_t across = f->kw / 2 + 1, ci = f->kh / 2, cj = f->kw / 2;
    double *columns, *table;
    DFO_TRY(dfoi_alloc(f->ctx, across * (1 + f->w), sizeof *columns, &columns));
    table = columns + across;
    for (size_t j = 0; j < across; j++)
        for (size_t v = 0; v < f->w; v++)
            table[j * f->w + v] = (j ? 2 : 1) * cosine(v, j, f->w);
    for (size_t u = 0; u < f->h; u++) {
        for (size_t j = 0; j < across; j++) {
            columns[j] = f->kernel[ci * f->kw + cj + j];
            for (size_t i = 1; i <= ci; i++)
                columns[j] += 2 * cosine(u, i, f->h) * f->kernel[(ci + i) * f->kw + cj + j];
        }
        for (size_t v = 0; v < f->w; v++) {
            double sum = 0;
            for (size_t j = 0; j < across; j++)
                sum += columns[j] * table[j * f->w + v];
            f->value[u * f->w + v] = (dfo_real)sum;
        }
    }
    dfoi_free(f->ctx, columns);
    return DFO_OK;
}

static size_t frequencies(const dfo_filter *f)
{
    return f->boundary == DFO_PERIODIC ? dfoi_fft_count(f->h, f->w) : f->h * f->w;
}

/* Reals of a frequency's value.  */
static size_t parts(const dfo_filter *f)
{
    return f->boundary == DFO_PERIODIC ? 2 : 1;
}

static double imaginary(const dfo_filter *f, const dfo_real *value)
{
    return f->boundary == DFO_PERIODIC ? (double)value[1] : 0;
}

static void transform_report(dfo_filter *f)
{
    size_t across = f->boundary == DFO_PERIODIC ? f->w / 2 + 1 : f->w;
    dfo_filter_report r = {.smallest = INFINITY};
    for (size_t k = 0; k < frequencies(f); k++) {
        const dfo_real *value = f->value + parts(f) * k;
        double size = hypot((double)value[0], imaginary(f, value));
        r.largest = fmax(r.largest, size);
        if (size < r.smallest) {
            r.smallest = size;
            r.frequency[0] = k / across;
            r.frequency[1] = k % across;
        }
    }
    r.condition = r.smallest > 0 ? r.largest / r.smallest : INFINITY;
    f->report = r;
}

/* Multiplies every frequency by the map's value k, or by conj(k) / (|k|^2 + t).  */
static void multiply(dfo_filter *f, int inverse, double t, dfo_real *plane)
{
    size_t n = f->h * f->w;
    double scale = 1 / (double)((f->boundary == DFO_PERIODIC ? 1 : 4) * n);
    memcpy(f->plane, plane, n * sizeof *plane);
    dfoi_fft_forward(f->fft, f->plane, f->spectrum);
    for (size_t k = 0; k < frequencies(f); k++) {
        const dfo_real *value = f->value + parts(f) * k;
        dfo_real *to = f->spectrum + parts(f) * k;
        double re = (double)value[0], im = imaginary(f, value), below = scale, a = (double)to[0], b = imaginary(f, to);
        if (inverse) {
            below /= re * re + im * im + t;
            im = -im;
        }
        to[0] = (dfo_real)((a * re - b * im) * below);
        if (f->boundary == DFO_PERIODIC)
            to[1] = (dfo_real)((a * im + b * re) * below);
    }
    dfoi_fft_inverse(f->fft, f->spectrum, f->plane);
    memcpy(plane, f->plane, n * sizeof *plane);
}

/* ---- the filter */

static dfo_status check_kernel(const dfo_filter *f)
{
    double most = 0;
    if (f->kh > f->h || f->kw > f->w)
        return dfoi_fail(f->ctx, DFO_ESHAPE, "a kernel of %zux%zu is larger than the picture, %zux%zu", f->kh, f->kw, f->h,
                         f->w);
    if (f->boundary != DFO_CAUSAL && !(f->kh % 2 && f->kw % 2))
        return dfoi_fail(f->ctx, DFO_EARG, "expected a kernel with odd sides, which has a centre, got %zux%zu", f->kh, f->kw);
    for (size_t k = 0; k < f->kh * f->kw; k++) {
        if (!isfinite(f->kernel[k]))
            return dfoi_fail(f->ctx, DFO_EARG, "entry %zu, %zu of the kernel is not finite", k / f->kw, k % f->kw);
        most = fmax(most, fabs(f->kernel[k]));
    }
    for (size_t k = 0; f->boundary == DFO_SYMMETRIC && k < f->kh * f->kw; k++) {
        size_t i = k / f->kw, j = k % f->kw, down = (f->kh - 1 - i) * f->kw + j, across = i * f->kw + f->kw - 1 - j;
        double off = fmax(fabs(f->kernel[k] - f->kernel[down]), fabs(f->kernel[k] - f->kernel[across]));
        if (off > 1e-12 * most)
            return dfoi_fail(f->ctx, DFO_EARG, "a symmetric boundary wants a kernel that is its own mirror image: entry %zu, "
                             "%zu is %g off", i, j, off);
    }
    return DFO_OK;
}

static dfo_status prepare(dfo_filter *f)
{
    DFO_TRY(dfoi_alloc(f->ctx, f->h * f->w, sizeof *f->plane, &f->plane));
    if (f->boundary == DFO_CAUSAL) {
        causal_report(f);
        return DFO_OK;
    }
    DFO_TRY(dfoi_fft_new(f->ctx, f->boundary == DFO_PERIODIC ? DFOI_FFT_REAL : DFOI_FFT_COSINE, f->h, f->w, &f->fft));
    DFO_TRY(dfoi_alloc(f->ctx, spectrum_size(f), sizeof *f->value, &f->value));
    DFO_TRY(dfoi_alloc(f->ctx, spectrum_size(f), sizeof *f->spectrum, &f->spectrum));
    if (f->boundary == DFO_PERIODIC)
        periodic_values(f);
    else
        DFO_TRY(symmetric_values(f));
    transform_report(f);
    return DFO_OK;
}

dfo_status dfo_filter_new(dfo_ctx *ctx, dfo_boundary boundary, size_t h, size_t w, size_t kh, size_t kw,
                          const double *kernel, dfo_filter **out)
{
    dfo_filter *f;
    dfo_status status;
    size_t n;
    *out = NULL;
    if (!h || !w || !kh || !kw)
        return dfoi_fail(ctx, DFO_ESHAPE, "expected a picture and a kernel with pixels, got %zux%zu and %zux%zu", h, w, kh, kw);
    DFO_TRY(dfoi_mul(ctx, h, w, "picture", &n));
    DFO_TRY(dfoi_mul(ctx, kh, kw, "kernel", &n));
    DFO_TRY(dfoi_alloc(ctx, 1, sizeof *f, &f));
    *f = (dfo_filter){.ctx = ctx, .boundary = boundary, .h = h, .w = w, .kh = kh, .kw = kw};
    DFO_GO(dfoi_alloc(ctx, n, sizeof *kernel, &f->kernel));
    memcpy(f->kernel, kernel, n * sizeof *kernel);
    DFO_GO(check_kernel(f));
    DFO_GO(prepare(f));
    *out = f;
    return DFO_OK;
fail:
    dfo_filter_free(f);
    return status;
}

void dfo_filter_free(dfo_filter *f)
{
    if (!f)
        return;
    dfoi_fft_free(f->ctx, f->fft);
    dfoi_free(f->ctx, f->spectrum);
    dfoi_free(f->ctx, f->value);
    dfoi_free(f->ctx, f->plane);
    dfoi_free(f->ctx, f->kernel);
    dfoi_free(f->ctx, f);
}

void dfo_filter_report_of(const dfo_filter *f, dfo_filter_report *out)
{
    *out = f->report;
}

void dfo_filter_apply(dfo_filter *f, dfo_real *plane)
{
    if (f->boundary == DFO_CAUSAL)
        causal_apply(f, plane);
    else
        multiply(f, 0, 0, plane);
}

dfo_status dfo_filter_invert(dfo_filter *f, dfo_real *plane, double tikhonov)
{
    const dfo_filter_report *r = &f->report;
    if (tikhonov > 0 && f->boundary == DFO_CAUSAL)
        return dfoi_fail(f->ctx, DFO_EUNSUP, "a causal boundary has no Tikhonov inverse here: expected periodic or symmetric");
    if (!(tikhonov > 0) && !(r->condition <= 1 / (16 * (double)DFO_REAL_EPS))) {
        if (f->boundary == DFO_CAUSAL)
            return dfoi_fail(f->ctx, DFO_ENUM, "the kernel has no inverse: its first entry is %g, its condition number %.3g",
                             f->kernel[0], r->condition);
        return dfoi_fail(f->ctx, DFO_ENUM, "the kernel has no inverse: at frequency %zu, %zu it is %.3g of its largest value",
                         r->frequency[0], r->frequency[1], r->smallest / r->largest);
    }
    if (f->boundary == DFO_CAUSAL)
        causal_solve(f, plane);
    else
        multiply(f, 1, tikhonov, plane);
    return DFO_OK;
}
