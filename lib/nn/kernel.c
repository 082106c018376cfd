/* An expansion in kernels over inducing points, as the couplings of kernelised normalizing flows use instead of a net
 * (Ferumal: English et al. 2023).
 *
 *   {"type":"kernel", "points":150, "kernel":"squared-exponential"|"matern12"|"matern32"|"matern52", "last_init":0}
 *
 * out = A k(r_1 .. r_N), r_n^2 = sum_j ((x_j - z_nj) / l_j)^2 with k(r) = exp(-r^2/2), exp(-r), (1 + sqrt3 r) exp(-sqrt3 r) or
 * (1 + sqrt5 r + 5 r^2/3) exp(-sqrt5 r).  Weights: z (points, in), log_length (in), a (out, points); a net made with
 * zero_last starts a at zero, or in +-last_init, another one as a linear layer.  The first rows of data set points and
 * lengths (fit): points are rows, evenly spaced, and where there are too few of them midpoints of two; l_j is the column's
 * standard deviation times the median of the points' distances from each other in such units.  */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/ctx_impl.h"
#include "base/json_impl.h"
#include "nn/config_impl.h"
#include "nn/kernel_impl.h"
#include "nn/net_impl.h"

#define MEDIAN_POINTS ((size_t)256)        /* of more points only so many are compared */

static const char *const kind_name[DFOI_KERNEL_KINDS + 1] = {
    [DFOI_SQUARED_EXPONENTIAL] = "squared-exponential",
    [DFOI_MATERN_12] = "matern12",
    [DFOI_MATERN_32] = "matern32",
    [DFOI_MATERN_52] = "matern52",
};

static dfo_status read_settings(dfo_ctx *ctx, const json_t *config, dfoi_kernel_net *k)
{
    static const char *const keys[] = {"type", "points", "kernel", "last_init", NULL};
    size_t kind;
    DFO_TRY(dfoi_json_keys(ctx, config, keys));
    DFO_TRY(dfoi_json_size(ctx, config, "points", 150, 1, DFOI_NET_WIDEST, &k->points));
    DFO_TRY(dfoi_json_real(ctx, config, "last_init", 0, 0, 1, &k->last_init));
    DFO_TRY(dfoi_json_choice(ctx, config, "kernel", kind_name, 0, &kind));
    k->kind = (dfoi_kernel_kind)kind;
    return DFO_OK;
}

static dfo_status check(dfo_ctx *ctx, const json_t *config)
{
    dfoi_kernel_net k;
    return read_settings(ctx, config, &k);
}

/* Without data: points of a standard normal, and the median of their distances.  */
static dfo_status create(dfo_build *build, const json_t *config, int zero_last, dfo_net *net)
{
    dfoi_kernel_net *k;
    DFO_TRY(dfoi_alloc(build->ctx, 1, sizeof *k, &k));
    net->state = k;
    DFO_TRY(read_settings(build->ctx, config, k));
    const size_t z[2] = {k->points, net->in}, a[2] = {net->out, k->points};
    DFO_TRY(dfo_build_weights(build, "z", 2, z, &k->z));
    DFO_TRY(dfo_build_weights(build, "log_length", 1, &net->in, &k->log_length));
    DFO_TRY(dfo_build_weights(build, "a", 2, a, &k->a));
    double bound = zero_last ? k->last_init : 1 / sqrt((double)k->points);
    dfo_build_normal(build, k->z, k->points * net->in, 1);
    dfo_build_constant(build, k->log_length, net->in, 0.5 * log(2 * (double)net->in));
    if (bound > 0)
        dfo_build_uniform(build, k->a, net->out * k->points, bound);
    return DFO_OK;
}

static dfo_status describe(const dfo_net *net, json_t *to)
{
    const dfoi_kernel_net *k = net->state;
    DFO_TRY(dfoi_json_set(net->ctx, to, "points", json_integer((json_int_t)k->points)));
    DFO_TRY(dfoi_json_set(net->ctx, to, "kernel", json_string(kind_name[k->kind])));
    return dfoi_json_set(net->ctx, to, "last_init", json_real(k->last_init));
}

static void release(dfo_net *net)
{
    dfoi_free(net->ctx, net->state);
}

/* ---- points and lengths from data */

static double value_at(const dfo_cond *in, size_t row, size_t j)
{
    size_t p = 0;
    for (; j >= in->part[p].rows.d; p++)
        j -= in->part[p].rows.d;
    return (double)dfo_row(in->part[p].rows, row)[j];
}

static void set_points(const dfo_net *net, const dfo_cond *in, size_t rows, dfo_real *z)
{
    const dfoi_kernel_net *k = net->state;
    for (size_t n = 0; n < k->points; n++) {
        size_t round = n / rows, first = k->points > rows ? n % rows : n * rows / k->points;
        size_t second = round ? (first + round) % rows : first;
        for (size_t j = 0; j < net->in; j++)
            z[n * net->in + j] = (dfo_real)(0.5 * (value_at(in, first, j) + value_at(in, second, j)));
    }
}

/* The column's standard deviation; 1 where it does not vary.  */
static double spread(const dfo_cond *in, size_t rows, size_t j)
{
    double mean = 0, square = 0;
    for (size_t i = 0; i < rows; i++)
        mean += value_at(in, i, j) / (double)rows;
    for (size_t i = 0; i < rows; i++)
        square += (value_at(in, i, j) - mean) * (value_at(in, i, j) - mean) / (double)rows;
    double std = sqrt(square);
    return std > 1e-12 * fabs(mean) && std > 1e-30 ? std : 1;
}

static int rising(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Distances of pairs, in units of the columns' spreads: their median, 1 where that is 0.  */
static double median_distance(const dfo_net *net, const dfo_real *z, const double *unit, double *memory)
{
    const dfoi_kernel_net *k = net->state;
    size_t step = (k->points + MEDIAN_POINTS - 1) / MEDIAN_POINTS, count = 0;
    for (size_t n = 0; n < k->points; n += step)
        for (size_t m = 0; m < n; m += step) {
            double sum = 0;
            for (size_t j = 0; j < net->in; j++) {
                double apart = ((double)z[n * net->in + j] - (double)z[m * net->in + j]) / unit[j];
                sum += apart * apart;
            }
            memory[count++] = sqrt(sum);
        }
    qsort(memory, count, sizeof *memory, rising);
    return count && memory[count / 2] > 0 ? memory[count / 2] : 1;
}

static dfo_status fit(const dfo_net *net, const dfo_cond *in, dfo_real *weights)
{
    const dfoi_kernel_net *k = net->state;
    size_t rows = in->part[0].rows.n, most = k->points < MEDIAN_POINTS ? k->points : MEDIAN_POINTS;
    double *memory;
    DFO_TRY(dfoi_alloc(net->ctx, net->in + most * most, sizeof *memory, &memory));
    for (size_t j = 0; j < net->in; j++)
        memory[j] = spread(in, rows, j);
    set_points(net, in, rows, weights + k->z);
    double length = median_distance(net, weights + k->z, memory, memory + net->in);
    for (size_t j = 0; j < net->in; j++)
        weights[k->log_length + j] = (dfo_real)log(length * memory[j]);
    dfoi_free(net->ctx, memory);
    return DFO_OK;
}

static const struct dfo_net_ops ops = {
    .type = "kernel",
    .layout = DFO_FEATURES,
    .scratch = dfoi_kernel_scratch,
    .acts = dfoi_kernel_acts,
    .forward = dfoi_kernel_forward,
    .backward = dfoi_kernel_backward,
    .jvp = dfoi_kernel_jvp,
    .jvp_backward = dfoi_kernel_jvp_backward,
    .fit = fit,
    .describe = describe,
    .free = release,
};

const struct dfoi_net_type dfoi_net_kernel = {&ops, check, create};
