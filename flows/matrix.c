/* Small square matrices in double, by rows: LU with partial pivoting, its inverse, random
 * rotations.  For the channels of a layer: a few hundred at most.  Golub & Van Loan, Matrix
 * Computations, 3.4.  */
#include <math.h>
#include <string.h>

#include "mix_impl.h"

/* v += a u */
static void add_row(size_t n, double a, const double *restrict u, double *restrict v)
{
    for (size_t k = 0; k < n; k++)
        v[k] += a * u[k];
}

static double dot(size_t n, const double *u, const double *v)
{
    double sum = 0;
    for (size_t k = 0; k < n; k++)
        sum += u[k] * v[k];
    return sum;
}

static void swap_rows(size_t c, double *u, double *v)
{
    for (size_t k = 0; k < c; k++) {
        double t = u[k];
        u[k] = v[k];
        v[k] = t;
    }
}

int dfoi_lu(size_t c, double *a, size_t *perm)
{
    for (size_t i = 0; i < c; i++)
        perm[i] = i;
    for (size_t k = 0; k < c; k++) {
        size_t p = k;
        for (size_t i = k + 1; i < c; i++)
            p = fabs(a[i * c + k]) > fabs(a[p * c + k]) ? i : p;
        if (!(fabs(a[p * c + k]) > 0) || isinf(a[p * c + k]))
            return 0;
        if (p != k) {
            size_t t = perm[k];
            perm[k] = perm[p];
            perm[p] = t;
            swap_rows(c, a + k * c, a + p * c);
        }
        for (size_t i = k + 1; i < c; i++) {
            a[i * c + k] /= a[k * c + k];
            add_row(c - k - 1, -a[i * c + k], a + k * c + k + 1, a + i * c + k + 1);
        }
    }
    return 1;
}

void dfoi_lu_inverse(size_t c, const double *lu, double *inverse)
{
    memset(inverse, 0, c * c * sizeof *inverse);
    for (size_t i = 0; i < c; i++) {
        inverse[i * c + i] = 1;
        for (size_t k = 0; k < i; k++)
            add_row(k + 1, -lu[i * c + k], inverse + k * c, inverse + i * c);
    }
    for (size_t i = c; i-- > 0;) {
        for (size_t k = i + 1; k < c; k++)
            add_row(c, -lu[i * c + k], inverse + k * c, inverse + i * c);
        for (size_t k = 0; k < c; k++)
            inverse[i * c + k] /= lu[i * c + i];
    }
}

/* Rows of independent normal numbers, made orthonormal one after the other (twice: Gram and Schmidt
 * alone lose digits).  */
void dfoi_random_orthogonal(const dfo_build *build, size_t c, double *q)
{
    dfo_key key = dfoi_layer_key(build);
    for (size_t i = 0; i < c; i++) {
        double *row = q + i * c, length = 0;
        for (unsigned trial = 0; !(length > 1e-6); trial++) {
            for (size_t k = 0; k < c; k++) {           /* Box and Muller */
                double u[2];
                dfo_draw_uniform(key, 2 * ((i + trial * c) * c + k), 2, u);
                row[k] = sqrt(-2 * log(u[0])) * cos(2 * 3.14159265358979323846 * u[1]);
            }
            for (int pass = 0; pass < 2; pass++)
                for (size_t j = 0; j < i; j++)
                    add_row(c, -dot(c, q + j * c, row), q + j * c, row);
            length = sqrt(dot(c, row, row));
        }
        for (size_t k = 0; k < c; k++)
            row[k] /= length;
    }
}
