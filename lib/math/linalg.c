/* LU, triangular inverse, orthogonal factor and Cholesky by LAPACK.  LAPACK sees a row-major matrix as
 * its transpose: LU transposes before and after; triangles swap their names; Q of A^T = Q R is Q^T of
 * A = L Q.  */
#include <cblas.h>
#include <limits.h>
#include <math.h>

#include "math/lapack_impl.h"
#include "math/linalg_impl.h"

#ifdef DFO_DOUBLE
#define TRSM cblas_dtrsm
#else
#define TRSM cblas_strsm
#endif

static int fits(size_t n)
{
    return n <= INT_MAX;
}

static void transpose(size_t n, dfo_real *a, size_t lda)
{
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < i; j++) {
            dfo_real v = a[i * lda + j];
            a[i * lda + j] = a[j * lda + i];
            a[j * lda + i] = v;
        }
}

dfo_status dfoi_lu_factor(size_t n, dfo_real *a, size_t lda, int *pivot)
{
    if (n == 0)
        return DFO_OK;
    if (!fits(n) || !fits(lda) || lda < n)
        return DFO_ESHAPE;
    int size = (int)n, stride = (int)lda, info = 0;
    transpose(n, a, lda);
    DFOI_LAPACK(getrf)(&size, &size, a, &stride, pivot, &info);
    transpose(n, a, lda);
    for (size_t i = 0; i < n; i++) {
        pivot[i]--;
        if (!isfinite(a[i * lda + i]))
            info = 1;
    }
    return info == 0 ? DFO_OK : DFO_ENUM;
}

void dfoi_lu_permutation(size_t n, const int *pivot, size_t *perm)
{
    for (size_t i = 0; i < n; i++)
        perm[i] = i;
    for (size_t i = 0; i < n; i++) {
        size_t other = (size_t)pivot[i], v = perm[i];
        perm[i] = perm[other];
        perm[other] = v;
    }
}

/* Swaps entries as rows were swapped, or back.  */
static void swap_entries(size_t n, const int *pivot, int back, dfo_real *x)
{
    for (size_t s = 0; s < n; s++) {
        size_t i = back ? n - 1 - s : s, other = (size_t)pivot[i];
        dfo_real v = x[i];
        x[i] = x[other];
        x[other] = v;
    }
}

dfo_status dfoi_lu_solve(size_t n, const dfo_real *lu, size_t lda, const int *pivot, int transposed, size_t rows,
                         dfo_real *b, size_t ldb)
{
    if (n == 0 || rows == 0)
        return DFO_OK;
    if (!fits(n) || !fits(lda) || !fits(rows) || !fits(ldb) || lda < n || ldb < n)
        return DFO_ESHAPE;
    int size = (int)n, stride = (int)lda, count = (int)rows, step = (int)ldb;
    if (!transposed) {                    /* x = U^-1 L^-1 P b; rows: B P^T L^-T U^-T */
        for (size_t i = 0; i < rows; i++)
            swap_entries(n, pivot, 0, b + i * ldb);
        TRSM(CblasRowMajor, CblasRight, CblasLower, CblasTrans, CblasUnit, count, size, 1, lu, stride, b, step);
        TRSM(CblasRowMajor, CblasRight, CblasUpper, CblasTrans, CblasNonUnit, count, size, 1, lu, stride, b, step);
    } else {                              /* x = P^T L^-T U^-T b; rows: B U^-1 L^-1 P */
        TRSM(CblasRowMajor, CblasRight, CblasUpper, CblasNoTrans, CblasNonUnit, count, size, 1, lu, stride, b, step);
        TRSM(CblasRowMajor, CblasRight, CblasLower, CblasNoTrans, CblasUnit, count, size, 1, lu, stride, b, step);
        for (size_t i = 0; i < rows; i++)
            swap_entries(n, pivot, 1, b + i * ldb);
    }
    return DFO_OK;
}

dfo_status dfoi_lu_invert(size_t n, const dfo_real *lu, size_t lda, const int *pivot, dfo_real *inverse, size_t ldi)
{
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++)
            inverse[i * ldi + j] = i == j;
    return dfoi_lu_solve(n, lu, lda, pivot, 1, n, inverse, ldi);      /* row i: A^T x = e_i */
}

double dfoi_log_abs_det(size_t n, const dfo_real *a, size_t lda)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += log(fabs((double)a[i * lda + i]));
    return sum;
}

dfo_status dfoi_invert_triangular(size_t n, dfo_real *a, size_t lda, int upper, int unit)
{
    if (n == 0)
        return DFO_OK;
    if (!fits(n) || !fits(lda) || lda < n)
        return DFO_ESHAPE;
    int size = (int)n, stride = (int)lda, info = 0;
    DFOI_LAPACK(trtri)(upper ? "L" : "U", unit ? "U" : "N", &size, a, &stride, &info, 1, 1);
    return info == 0 ? DFO_OK : DFO_ENUM;
}

size_t dfoi_qr_scratch(size_t m, size_t n)
{
    return 3 * (m < n ? m : n);           /* tau, signs, work */
}

dfo_status dfoi_qr_orthogonal(size_t m, size_t n, dfo_real *a, size_t lda, dfo_real *scratch)
{
    if (m == 0 || n == 0)
        return DFO_OK;
    if (!fits(m) || !fits(n) || !fits(lda) || lda < n)
        return DFO_ESHAPE;
    size_t small = m < n ? m : n;
    dfo_real *tau = scratch, *sign = scratch + small, *work = scratch + 2 * small;
    int height = (int)n, width = (int)m, count = (int)small, stride = (int)lda, info = 0;   /* as LAPACK sees it */
    if (m <= n)
        DFOI_LAPACK(geqr2)(&height, &width, a, &stride, tau, work, &info);
    else
        DFOI_LAPACK(gelq2)(&height, &width, a, &stride, tau, work, &info);
    for (size_t i = 0; i < small; i++)
        sign[i] = a[i * lda + i] < 0 ? (dfo_real)-1 : (dfo_real)1;
    if (m <= n)
        DFOI_LAPACK(org2r)(&height, &width, &count, a, &stride, tau, work, &info);
    else
        DFOI_LAPACK(orgl2)(&height, &width, &count, a, &stride, tau, work, &info);
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++)
            a[i * lda + j] *= sign[m <= n ? i : j];
    return info == 0 ? DFO_OK : DFO_ENUM;
}

dfo_status dfoi_cholesky(size_t n, dfo_real *a, size_t lda)
{
    if (n == 0)
        return DFO_OK;
    if (!fits(n) || !fits(lda) || lda < n)
        return DFO_ESHAPE;
    int size = (int)n, stride = (int)lda, info = 0;
    DFOI_LAPACK(potrf)("U", &size, a, &stride, &info, 1);
    for (size_t i = 0; i < n; i++) {
        for (size_t j = i + 1; j < n; j++)
            a[i * lda + j] = 0;
        if (!isfinite(a[i * lda + i]))
            info = 1;
    }
    return info == 0 ? DFO_OK : DFO_ENUM;
}
