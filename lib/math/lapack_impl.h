/* LAPACK's Fortran entry points that linalg.c uses (OpenBLAS has them; LAPACKE allocates and prints).
 * Matrices are column-major, the trailing size_t are the hidden lengths of character arguments.
 * Arguments must be right: LAPACK's answer to a wrong one is to print and stop.  Private.  */
#ifndef DFOI_LAPACK_IMPL_H
#define DFOI_LAPACK_IMPL_H

#include <stddef.h>
#include "base/real_impl.h"

#ifdef DFO_DOUBLE
#define DFOI_LAPACK(name) d##name##_
#else
#define DFOI_LAPACK(name) s##name##_
#endif

/* P A = L U.  */
void DFOI_LAPACK(getrf)(const int *m, const int *n, dfo_real *a, const int *lda, int *pivot, int *info);
/* A = L L^T or U^T U.  */
void DFOI_LAPACK(potrf)(const char *uplo, const int *n, dfo_real *a, const int *lda, int *info, size_t);
/* Inverse of a triangle.  */
void DFOI_LAPACK(trtri)(const char *uplo, const char *diag, const int *n, dfo_real *a, const int *lda, int *info,
                        size_t, size_t);
/* A = Q R and Q; A = L Q and Q; work: n reals (m for the L Q pair).  */
void DFOI_LAPACK(geqr2)(const int *m, const int *n, dfo_real *a, const int *lda, dfo_real *tau, dfo_real *work,
                        int *info);
void DFOI_LAPACK(org2r)(const int *m, const int *n, const int *k, dfo_real *a, const int *lda, const dfo_real *tau,
                        dfo_real *work, int *info);
void DFOI_LAPACK(gelq2)(const int *m, const int *n, dfo_real *a, const int *lda, dfo_real *tau, dfo_real *work,
                        int *info);
void DFOI_LAPACK(orgl2)(const int *m, const int *n, const int *k, dfo_real *a, const int *lda, const dfo_real *tau,
                        dfo_real *work, int *info);

/* Complex, always in double: numbers are pairs.  P A = L U, and A^-1 from it; lwork: complex numbers in work.  */
void zgetrf_(const int *m, const int *n, double *a, const int *lda, int *pivot, int *info);
void zgetri_(const int *n, double *a, const int *lda, const int *pivot, double *work, const int *lwork, int *info);
/* Singular values (n, falling) of A, which is overwritten; jobs "N": no vectors; work: lwork >= 3 n complex numbers,
 * rwork: 5 n reals.  */
void zgesvd_(const char *jobu, const char *jobvt, const int *m, const int *n, double *a, const int *lda, double *s, double *u,
             const int *ldu, double *vt, const int *ldvt, double *work, const int *lwork, double *rwork, int *info, size_t,
             size_t);

#endif
