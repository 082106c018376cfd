/* FFTW behind a fence: plans are made here alone, one at a time, without measuring, so that every run has the same.  */
#include <fftw3.h>
#include <limits.h>
#include <pthread.h>

#include "base/ctx_impl.h"
#include "math/fft_impl.h"

#ifdef DFO_DOUBLE
#define FFTW(name) fftw_##name
#else
#define FFTW(name) fftwf_##name
#endif

struct dfoi_fft {
    dfoi_fft_kind kind;
    FFTW(plan)    forward, inverse;
};

static pthread_mutex_t planner = PTHREAD_MUTEX_INITIALIZER;

static void make(dfoi_fft *f, int h, int w, dfo_real *plane, dfo_real *spectrum)
{
    unsigned flags = FFTW_ESTIMATE | FFTW_DESTROY_INPUT;
    pthread_mutex_lock(&planner);
    if (f->kind == DFOI_FFT_REAL) {
        f->forward = FFTW(plan_dft_r2c_2d)(h, w, plane, (FFTW(complex) *)(void *)spectrum, flags);
        f->inverse = FFTW(plan_dft_c2r_2d)(h, w, (FFTW(complex) *)(void *)spectrum, plane, flags);
    } else {
        f->forward = FFTW(plan_r2r_2d)(h, w, plane, spectrum, FFTW_REDFT10, FFTW_REDFT10, flags);
        f->inverse = FFTW(plan_r2r_2d)(h, w, spectrum, plane, FFTW_REDFT01, FFTW_REDFT01, flags);
    }
    pthread_mutex_unlock(&planner);
}

dfo_status dfoi_fft_new(dfo_ctx *ctx, dfoi_fft_kind kind, size_t h, size_t w, dfoi_fft **out)
{
    dfoi_fft *f = NULL;
    dfo_real *work;
    size_t size = dfo_arena_size(h * w) + dfo_arena_size(2 * dfoi_fft_count(h, w));
    *out = NULL;
    if (h > INT_MAX / 4 || w > INT_MAX / 4 || h * w > INT_MAX / 4)
        return dfoi_fail(ctx, DFO_ESHAPE, "a transform of %zux%zu pixels is too large", h, w);
    DFO_TRY(dfoi_alloc(ctx, 1, sizeof *f, &f));
    dfo_status status = dfoi_alloc(ctx, size, sizeof *work, &work);
    if (status != DFO_OK) {
        dfoi_free(ctx, f);
        return status;
    }
    f->kind = kind;
    make(f, (int)h, (int)w, work, work + dfo_arena_size(h * w));
    dfoi_free(ctx, work);
    if (!f->forward || !f->inverse) {
        dfoi_fft_free(ctx, f);
        return dfoi_fail(ctx, DFO_EMEM, "FFTW has no plan for %zux%zu pixels", h, w);
    }
    *out = f;
    return DFO_OK;
}

void dfoi_fft_free(dfo_ctx *ctx, dfoi_fft *f)
{
    if (!f)
        return;
    pthread_mutex_lock(&planner);
    FFTW(destroy_plan)(f->forward);
    FFTW(destroy_plan)(f->inverse);
    pthread_mutex_unlock(&planner);
    dfoi_free(ctx, f);
}

void dfoi_fft_forward(const dfoi_fft *f, dfo_real *plane, dfo_real *spectrum)
{
    if (f->kind == DFOI_FFT_REAL)
        FFTW(execute_dft_r2c)(f->forward, plane, (FFTW(complex) *)(void *)spectrum);
    else
        FFTW(execute_r2r)(f->forward, plane, spectrum);
}

void dfoi_fft_inverse(const dfoi_fft *f, dfo_real *spectrum, dfo_real *plane)
{
    if (f->kind == DFOI_FFT_REAL)
        FFTW(execute_dft_c2r)(f->inverse, (FFTW(complex) *)(void *)spectrum, plane);
    else
        FFTW(execute_r2r)(f->inverse, spectrum, plane);
}
