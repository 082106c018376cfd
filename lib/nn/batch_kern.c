/* Kernels of batch normalisation: sums over all columns of one channel, and linear combinations of
 * maps; compiled per instruction set.  Sums stay in eight lanes and are added in a fixed order.  */
#include <string.h>

#include "math/gemm_impl.h"
#include "nn/batch_kern_impl.h"

enum { LANES = 8 };
#define EACH for (size_t l = 0; l < LANES; l++)
#define LOOP _Pragma("GCC ivdep") for (size_t j = 0; j < DFO_PANEL; j++)

/* Row c of panel p, and how many of its columns there are.  */
static const dfo_real *row_of(dfoi_map x, size_t p, size_t c)
{
    return x.x + p * x.stride + c * DFO_PANEL;
}

static size_t count(size_t columns, size_t p)
{
    size_t left = columns - p * DFO_PANEL;
    return left < DFO_PANEL ? left : DFO_PANEL;
}

/* The row, or a copy with zeros behind its n columns.  */
static const dfo_real *whole(const dfo_real *row, size_t n, dfo_real *copy)
{
    if (n == DFO_PANEL)
        return row;
    memset(copy, 0, DFO_PANEL * sizeof *copy);
    memcpy(copy, row, n * sizeof *copy);
    return copy;
}

static double total(const double *lanes)
{
    double sum = 0;
    EACH sum += lanes[l];
    return sum;
}

static void sums(size_t columns, size_t c, dfoi_map x, dfoi_map y, double middle, double *sum,
                 double *dot)
{
    double a[LANES] = {0}, b[LANES] = {0};
    for (size_t p = 0; p * DFO_PANEL < columns; p++) {
        dfo_real x_copy[DFO_PANEL], y_copy[DFO_PANEL];
        size_t n = count(columns, p);
        const dfo_real *rx = whole(row_of(x, p, c), n, x_copy);
        const dfo_real *ry = whole(row_of(y, p, c), n, y_copy);
        for (size_t j = 0; j < DFO_PANEL; j += LANES)
            EACH
            {
                double v = (double)rx[j + l];
                a[l] += v;
                b[l] += v * ((double)ry[j + l] - middle);
            }
    }
    *sum = total(a);
    *dot = total(b);
}

static double squares(size_t columns, size_t c, dfoi_map x, double mean)
{
    double a[LANES] = {0};
    for (size_t p = 0; p * DFO_PANEL < columns; p++) {
        const dfo_real *row = row_of(x, p, c);
        size_t n = count(columns, p);
        for (size_t j = 0; j < n / LANES * LANES; j += LANES)
            EACH
            {
                double v = (double)row[j + l] - mean;
                a[l] += v * v;
            }
        for (size_t j = n / LANES * LANES; j < n; j++)
            a[j % LANES] += ((double)row[j] - mean) * ((double)row[j] - mean);
    }
    return total(a);
}

static void combine(size_t columns, size_t c, dfo_real a, dfoi_map x, dfo_real b, dfoi_map u,
                    dfo_real d, dfoi_map y)
{
    for (size_t p = 0; p * DFO_PANEL < columns; p++) {
        const dfo_real *rx = row_of(x, p, c), *ru = u.x ? row_of(u, p, c) : rx;
        dfo_real *to = y.x + p * y.stride + c * DFO_PANEL;
        if (u.x)
            LOOP to[j] = a * rx[j] + (b * ru[j] + d);
        else
            LOOP to[j] = a * rx[j] + d;
        for (size_t j = count(columns, p); j < DFO_PANEL; j++)
            to[j] = 0;
    }
}

const struct dfoi_batch_kernels DFOI_TABLE(dfoi_batch_kernels) = {
    .sums = sums,
    .squares = squares,
    .combine = combine,
};
