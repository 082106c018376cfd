/* Schatten's norm with p = 1024, (sum of s_i^p)^(1/p) of the singular values s_i: between the largest one and n^(1/p) times it,
 * n = min(rows, cols), and smooth. With G = W W^T (or W^T W, the smaller) it is f = (tr G^512)^(1/1024), by eight squarings of
 * G, each result brought to norm 1 and the logarithm of the factors kept. Its slope is f G^511 W / tr G^512, and G^511 the
 * product of all squares on the way, whose factors drop out.  */
#include <cblas.h>
#include <math.h>
#include <string.h>

#include "math/spectral_impl.h"

#define SQUARINGS 8

static size_t side(size_t rows, size_t cols)
{
    return rows < cols ? rows : cols;
}

/* W in double, then four squares.  */
size_t dfoi_norm_room(size_t rows, size_t cols)
{
    return rows * cols + 4 * side(rows, cols) * side(rows, cols);
}

static void product(size_t n, const double *a, const double *b, double *c)
{
    int k = (int)n;
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, k, k, k, 1, a, k, b, k, 0, c, k);
}

static void gram(size_t rows, size_t cols, const double *w, double *g)
{
    int m = (int)rows, k = (int)cols;
    if (rows <= cols)
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, m, m, k, 1, w, k, w, k, 0, g, m);
    else
        cblas_dgemm(CblasRowMajor, CblasTrans, CblasNoTrans, k, k, m, 1, w, k, w, k, 0, g, k);
}

/* Brings s to Frobenius norm 1; the logarithm of what it was.  */
static double norm_out(size_t n, double *s)
{
    double norm = cblas_dnrm2((int)(n * n), s, 1);
    for (size_t i = 0; i < n * n; i++)
        s[i] /= norm;
    return log(norm);
}

/* The bound; where all is not NULL it takes the product of G and its squares, up to a factor.  */
static double powers(size_t rows, size_t cols, const dfo_real *w, double *room, double **all)
{
    size_t n = side(rows, cols);
    double *wide = room, *s = room + rows * cols, *next = s + n * n, *p = next + n * n, *other = p + n * n, log_norm = 0, scale = 2;
    for (size_t i = 0; i < rows * cols; i++)
        wide[i] = (double)w[i];
    gram(rows, cols, wide, s);
    log_norm = norm_out(n, s);
    memcpy(p, s, n * n * sizeof *p);
    for (int k = 0; k < SQUARINGS && isfinite(log_norm); k++) {
        double *was = s;
        product(n, s, s, next);
        s = next;
        next = was;
        log_norm = 2 * log_norm + norm_out(n, s);
        scale *= 2;
        if (all) {
            product(n, p, s, other);
            was = p;
            p = other;
            other = was;
            (void)norm_out(n, p);
        }
    }
    if (all)
        *all = p;
    return exp(log_norm / scale);
}

double dfoi_norm_bound(size_t rows, size_t cols, const dfo_real *w, double *room)
{
    return powers(rows, cols, w, room, NULL);
}

void dfoi_norm_bound_slope(size_t rows, size_t cols, const dfo_real *w, double *room, double *slope)
{
    double *p, bound = powers(rows, cols, w, room, &p), trace;
    int m = (int)rows, k = (int)cols;
    if (rows <= cols)
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, m, k, m, 1, p, m, room, k, 0, slope, k);
    else
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, m, k, k, 1, room, k, p, k, 0, slope, k);
    trace = cblas_ddot((int)(rows * cols), slope, 1, room, 1);
    for (size_t i = 0; i < rows * cols; i++)
        slope[i] *= bound / trace;
}
