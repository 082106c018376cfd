/* Transforms of planes (h, w) of reals: the discrete Fourier transform with its half of frequencies, and the DCT-II;
 * FFTW's, fenced here.  A plan is made once and used by many threads.  Private.  */
#ifndef DFOI_FFT_IMPL_H
#define DFOI_FFT_IMPL_H

#include <stddef.h>
#include <diffeo/ctx.h>
#include <diffeo/run.h>
#include "base/real_impl.h"

/* DFOI_FFT_REAL: plane (h, w) to spectrum: complex numbers (h, w/2 + 1).
 * DFOI_FFT_COSINE: plane to plane, REDFT10 = 2 sum x cos(pi (j + 1/2) k / n) in both directions, and REDFT01 back.  */
typedef enum dfoi_fft_kind { DFOI_FFT_REAL, DFOI_FFT_COSINE } dfoi_fft_kind;

typedef struct dfoi_fft dfoi_fft;

/* FFTW stops the process where it finds no memory for a plan (some kilobytes).  DFO_EMEM, DFO_ESHAPE.  */
dfo_status dfoi_fft_new(dfo_ctx *ctx, dfoi_fft_kind kind, size_t h, size_t w, dfoi_fft **out);
void dfoi_fft_free(dfo_ctx *ctx, dfoi_fft *fft);

/* Frequencies of a plane, (h, w/2 + 1).  */
static inline size_t dfoi_fft_count(size_t h, size_t w)
{
    return h * (w / 2 + 1);
}

/* How many of all h w frequencies the kept one in column v stands for: 1 or 2.  */
static inline int dfoi_fft_weight(size_t w, size_t v)
{
    return v == 0 || 2 * v == w ? 1 : 2;
}

/* Unnormalised: forward and inverse multiply by h w (cosine: 4 h w).  All arrays are 64-byte aligned and apart from each
 * other.  The inverse overwrites its input.  */
void dfoi_fft_forward(const dfoi_fft *fft, dfo_real *plane, dfo_real *spectrum);
void dfoi_fft_inverse(const dfoi_fft *fft, dfo_real *spectrum, dfo_real *plane);

#endif
