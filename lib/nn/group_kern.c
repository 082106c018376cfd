/* Kernels of group normalisation: sums over the pixels of an image in one channel, and linear combinations; see
 * group_kern_impl.h.  Pixel i of the strip is added to lane i % 8, the lanes in their order.  */
#include "math/gemm_impl.h"
#include "nn/group_kern_impl.h"

enum { LANES = 8 };
#define EACH for (size_t l = 0; l < LANES; l++)

/* Pixels at .. at+n-1 of the strip, next to each other in a panel.  */
struct piece {
    size_t at, n, panel, column;
};

static int next(dfoi_strip strip, struct piece *p)
{
    p->at += p->n;
    size_t q = strip.first + p->at, left = strip.n - p->at;
    p->panel = q / DFO_PANEL;
    p->column = q % DFO_PANEL;
    p->n = left < DFO_PANEL - p->column ? left : DFO_PANEL - p->column;
    return left > 0;
}

static dfo_real *row_of(dfoi_map x, const struct piece *p, size_t c)
{
    return x.x + p->panel * x.stride + c * DFO_PANEL + p->column;
}

/* How many pixels of the piece come before one of lane 0, and behind them in whole rounds of lanes.  */
static size_t uneven(const struct piece *p)
{
    size_t n = (LANES - p->at % LANES) % LANES;
    return n < p->n ? n : p->n;
}

static double total(const double *lanes)
{
    double sum = 0;
    EACH sum += lanes[l];
    return sum;
}

static void add_one(const struct piece *p, size_t i, double x, double y, double *a, double *b)
{
    a[(p->at + i) % LANES] += x;
    b[(p->at + i) % LANES] += x * y;
}

static void sums(dfoi_strip strip, size_t c, dfoi_map x, dfoi_map y, double middle, double *sum, double *dot)
{
    double a[LANES] = {0}, b[LANES] = {0};
    struct piece p = {0};
    while (next(strip, &p)) {
        const dfo_real *rx = row_of(x, &p, c), *ry = row_of(y, &p, c);
        size_t i = 0, front = uneven(&p);
        for (; i < front; i++)
            add_one(&p, i, (double)rx[i], (double)ry[i] - middle, a, b);
        for (; i + LANES <= p.n; i += LANES)
            EACH
            {
                double v = (double)rx[i + l];
                a[l] += v;
                b[l] += v * ((double)ry[i + l] - middle);
            }
        for (; i < p.n; i++)
            add_one(&p, i, (double)rx[i], (double)ry[i] - middle, a, b);
    }
    *sum = total(a);
    *dot = total(b);
}

static double squares(dfoi_strip strip, size_t c, dfoi_map x, double mean)
{
    double a[LANES] = {0}, b[LANES] = {0};
    struct piece p = {0};
    while (next(strip, &p)) {
        const dfo_real *row = row_of(x, &p, c);
        size_t i = 0, front = uneven(&p);
        for (; i < front; i++)
            add_one(&p, i, (double)row[i] - mean, (double)row[i] - mean, a, b);
        for (; i + LANES <= p.n; i += LANES)
            EACH
            {
                double v = (double)row[i + l] - mean;
                b[l] += v * v;
            }
        for (; i < p.n; i++)
            add_one(&p, i, (double)row[i] - mean, (double)row[i] - mean, a, b);
    }
    return total(b);
}

#define LOOP _Pragma("GCC ivdep") for (size_t i = 0; i < p.n; i++)

static void combine(dfoi_strip strip, size_t c, dfo_real a, dfoi_map x, dfo_real b, dfoi_map u, dfo_real d, int add, dfoi_map y)
{
    struct piece p = {0};
    while (next(strip, &p)) {
        const dfo_real *rx = row_of(x, &p, c), *ru = u.x ? row_of(u, &p, c) : rx;
        dfo_real *to = row_of(y, &p, c);
        if (u.x && add)
            LOOP to[i] += a * rx[i] + (b * ru[i] + d);
        else if (u.x)
            LOOP to[i] = a * rx[i] + (b * ru[i] + d);
        else if (add)
            LOOP to[i] += a * rx[i] + d;
        else
            LOOP to[i] = a * rx[i] + d;
    }
}

const struct dfoi_group_kernels DFOI_TABLE(dfoi_group_kernels) = {
    .sums = sums,
    .squares = squares,
    .combine = combine,
};
