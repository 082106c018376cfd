/* Dense linear algebra on small row-major matrices: a (n, n), row stride lda >= n.  Allocates
 * nothing.  Statuses: DFO_ESHAPE where a size does not fit LAPACK's int, DFO_ENUM where the matrix is
 * singular, not positive definite or not finite; the caller words the message.  n = 0 is fine.  Private.  */
#ifndef DFOI_LINALG_IMPL_H
#define DFOI_LINALG_IMPL_H

#include <stddef.h>
#include <diffeo/status.h>
#include "base/real_impl.h"

/* In place: P A = L U with partial pivoting, L unit lower (its ones not stored), U upper.  Row i was
 * swapped with row pivot[i] >= i, in the order i = 0, 1, ...; pivot (n).  DFO_ENUM: a pivot is zero or not
 * finite; a then holds the factors as far as they exist.  */
dfo_status dfoi_lu_factor(size_t n, dfo_real *a, size_t lda, int *pivot);

/* perm (n) such that row i of L U is row perm[i] of A.  */
void dfoi_lu_permutation(size_t n, const int *pivot, size_t *perm);

/* Every row of b (rows, n), stride ldb, becomes the solution x of A x = row; transpose != 0: of
 * A^T x = row.  lu, pivot from dfoi_lu_factor.  DFO_ESHAPE.  */
dfo_status dfoi_lu_solve(size_t n, const dfo_real *lu, size_t lda, const int *pivot, int transpose, size_t rows,
                         dfo_real *b, size_t ldb);

/* inverse (n, n), stride ldi, = A^-1 from dfoi_lu_factor's lu, pivot; must not overlap lu.  DFO_ESHAPE.  */
dfo_status dfoi_lu_invert(size_t n, const dfo_real *lu, size_t lda, const int *pivot, dfo_real *inverse, size_t ldi);

/* Sum of log |a_ii|: log |det| of a factored or triangular matrix.  -inf where one is 0.  */
double dfoi_log_abs_det(size_t n, const dfo_real *a, size_t lda);

/* In place: inverse of the upper or lower triangle; the other one is left alone.  unit != 0: the
 * diagonal counts as ones and is left alone.  DFO_ENUM: a diagonal entry is 0.  */
dfo_status dfoi_invert_triangular(size_t n, dfo_real *a, size_t lda, int upper, int unit);

/* a (m, n), m rows: becomes the orthogonal factor of its QR (LQ) decomposition with positive diagonal
 * in R: orthonormal rows where m <= n, else orthonormal columns.  Standard normal entries give Haar's
 * distribution (Mezzadri 2007).  scratch: dfoi_qr_scratch(m, n) reals.  DFO_ESHAPE.  */
size_t dfoi_qr_scratch(size_t m, size_t n);
dfo_status dfoi_qr_orthogonal(size_t m, size_t n, dfo_real *a, size_t lda, dfo_real *scratch);

/* In place: A = L L^T of a symmetric matrix whose lower triangle is given; the upper one becomes
 * zeros.  DFO_ENUM: not positive definite (or not finite).  */
dfo_status dfoi_cholesky(size_t n, dfo_real *a, size_t lda);

#endif
