/* Batch normalisation (Ioffe and Szegedy 2015) of a map, each channel over all N pixels of all
 * images of a call, with its four passes:
 *
 *   u = (x - mean) r,  r = (var + 1e-5)^(-1/2),  y = scale u + shift.
 *
 * In training mean and var are those of the call's rows: of a shard, so that no bit depends on
 * threads. The derivatives are those of layer normalisation (norm.c) with pixels for features.
 * Elsewhere they are the running statistics, buffers of the store: u is linear in x.
 *
 * Backward adds N mean, N var and N to the step's statistics; after the step
 * running += 0.1 (mean over shards - running), with N / (N - 1) var as PyTorch has it.  */
#include <math.h>
#include <string.h>

#include "math/kern_impl.h"
#include "nn/batch_kern_impl.h"
#include "nn/conv_impl.h"

#define EPSILON 1e-5
#define MOMENTUM 0.1

/* What is kept of the normalisation, in front of what the unit keeps: u, du, and for each channel
 * r, mean of u dx, mean of x, var of x.  */
struct kept {
    dfoi_map u, du;
    dfo_real *r, *slope, *mean, *var;
};

static struct kept kept(const dfoi_conv_unit *unit, dfoi_area area, const dfo_real *keep,
                        int tangents)
{
    size_t width = unit->unit.width, map = area.panels * width * DFO_PANEL;
    struct kept k = {.u = dfoi_map_of((dfo_real *)keep, width)};
    dfo_real *at = (dfo_real *)keep + map;
    if (tangents) {
        k.du = dfoi_map_of(at, width);
        at += map;
    }
    k.r = at;
    k.slope = k.r + width;
    k.mean = k.slope + width;
    k.var = k.mean + width;
    return k;
}

size_t dfoi_batch_keep(const dfoi_conv_unit *unit, size_t panels)
{
    return panels * unit->unit.width * DFO_PANEL + dfo_arena_size(4 * unit->unit.width);
}

static int of_rows(const dfo_run *run)
{
    return run->mode == DFO_TRAIN;
}

static size_t columns_of(dfoi_area area)
{
    return area.images * area.plane;
}

/* y = a x + b u + d of channel c.  */
static void combine(dfoi_area area, size_t c, double a, dfoi_map x, double b, dfoi_map u, double d,
                    dfoi_map y)
{
    DFOI_BATCH_KERN->combine(columns_of(area), c, (dfo_real)a, x, (dfo_real)b, u, (dfo_real)d, y);
}

/* Mean and variance of channel c.  */
static void moments(const dfoi_conv_unit *unit, const dfo_run *run, dfoi_area area, dfoi_map x,
                    size_t c, double *mean, double *var)
{
    double n = (double)columns_of(area), unused;
    if (of_rows(run)) {
        DFOI_BATCH_KERN->sums(columns_of(area), c, x, x, 0, mean, &unused);
        *mean /= n;
        *var = DFOI_BATCH_KERN->squares(columns_of(area), c, x, *mean) / n;
    } else {
        *mean = (double)dfo_run_buffers(run, unit->mean)[c];
        *var = (double)dfo_run_buffers(run, unit->var)[c];
    }
}

void dfoi_batch_forward(const dfoi_conv_unit *unit, const dfo_run *run, dfoi_area area, dfoi_map x,
                        dfoi_map y, dfo_real *keep)
{
    const dfoi_map none = {NULL, 0};
    const dfo_real *scale = dfo_run_weights(run, unit->unit.scale);
    const dfo_real *shift = dfo_run_weights(run, unit->unit.shift);
    for (size_t c = 0; c < unit->unit.width; c++) {
        double mean, var, s = (double)scale[c], t = (double)shift[c];
        moments(unit, run, area, x, c, &mean, &var);
        double r = 1 / sqrt(var + EPSILON);
        if (keep) {
            struct kept k = kept(unit, area, keep, 0);
            combine(area, c, r, x, 0, none, -mean * r, k.u);
            k.r[c] = (dfo_real)r;
            k.mean[c] = (dfo_real)mean;
            k.var[c] = (dfo_real)var;
        }
        combine(area, c, s * r, x, 0, none, t - s * mean * r, y);
    }
}

/* y = r (x - mean x - u mean(u x)) times `by`: the symmetric Jacobian; r x where statistics are
 * fixed. *slope = mean(u x).  */
static void jacobian(const dfo_run *run, dfoi_area area, size_t c, dfoi_map u, double r, dfoi_map x,
                     double by, dfoi_map y, double *slope)
{
    const dfoi_map none = {NULL, 0};
    double n = (double)columns_of(area), sum = 0;
    *slope = 0;
    if (!of_rows(run)) {
        combine(area, c, by * r, x, 0, none, 0, y);
        return;
    }
    DFOI_BATCH_KERN->sums(columns_of(area), c, x, u, 0, &sum, slope);
    *slope /= n;
    combine(area, c, by * r, x, -by * r * *slope, u, -by * r * sum / n, y);
}

/* Adds gradients of scale, sum of g u, and of shift (if `shift`), sum of g.  */
static void add_grads(const dfoi_conv_unit *unit, const dfo_run *run, dfoi_area area, size_t c,
                      dfoi_map g, dfoi_map u, int shift)
{
    double sum, dot;
    if (!run->grads)
        return;
    DFOI_BATCH_KERN->sums(columns_of(area), c, g, u, 0, &sum, &dot);
    dfo_run_grads(run, unit->unit.scale)[c] += (dfo_real)dot;
    if (shift)
        dfo_run_grads(run, unit->unit.shift)[c] += (dfo_real)sum;
}

/* Adds this call's statistics to the step's.  */
static void add_statistics(const dfoi_conv_unit *unit, const dfo_run *run, dfoi_area area,
                           const struct kept *k)
{
    size_t width = unit->unit.width;
    dfo_real n = (dfo_real)columns_of(area);
    if (!run->grads || !run->gderived || !of_rows(run) || columns_of(area) < 2)
        return;
    dfo_real *to = run->gderived + unit->statistics;
    for (size_t c = 0; c < width; c++) {
        to[c] += n * k->mean[c];
        to[width + c] += n * (n / (n - 1)) * k->var[c];
    }
    to[2 * width] += n;
}

size_t dfoi_batch_statistics(size_t width)
{
    return dfo_arena_size(2 * width + 1);
}

void dfoi_batch_update(const dfoi_conv_unit *unit, const dfo_run *run)
{
    size_t width = unit->unit.width;
    if (!unit->batch)
        return;
    const dfo_real *sums = run->gderived + unit->statistics;
    if (!(sums[2 * width] > 0))
        return;
    for (size_t c = 0; c < 2 * width; c++) {
        dfo_real *to = run->new_buffers + (c < width ? unit->mean + c : unit->var + c - width);
        *to += (dfo_real)(MOMENTUM * ((double)sums[c] / (double)sums[2 * width] - (double)*to));
    }
}

void dfoi_batch_backward(const dfoi_conv_unit *unit, const dfo_run *run, dfoi_area area,
                         const dfo_real *keep, dfoi_map g)
{
    const struct kept k = kept(unit, area, keep, 0);
    const dfo_real *scale = dfo_run_weights(run, unit->unit.scale);
    double unused;
    for (size_t c = 0; c < unit->unit.width; c++) {
        add_grads(unit, run, area, c, g, k.u, 1);
        jacobian(run, area, c, k.u, (double)k.r[c], g, (double)scale[c], g, &unused);
    }
    add_statistics(unit, run, area, &k);
}

/* du = r (dx - mean dx - u mean(u dx)) with u = r (x - mean): a combination of dx and x.  */
void dfoi_batch_jvp(const dfoi_conv_unit *unit, const dfo_run *run, dfoi_area area, dfoi_map_pair x,
                    dfoi_map_pair y, dfo_real *keep)
{
    const dfoi_map none = {NULL, 0};
    const dfo_real *scale = dfo_run_weights(run, unit->unit.scale);
    const dfo_real *shift = dfo_run_weights(run, unit->unit.shift);
    size_t columns = columns_of(area);
    for (size_t c = 0; c < unit->unit.width; c++) {
        double mean, var, sum = 0, slope = 0, s = (double)scale[c], t = (double)shift[c];
        moments(unit, run, area, x.x, c, &mean, &var);
        double r = 1 / sqrt(var + EPSILON);
        if (of_rows(run)) {
            DFOI_BATCH_KERN->sums(columns, c, x.dx, x.x, mean, &sum, &slope);
            sum /= (double)columns;
            slope *= r / (double)columns;
        }
        double by_x = -r * r * slope, rest = r * (r * slope * mean - sum);
        if (keep) {
            struct kept k = kept(unit, area, keep, 1);
            combine(area, c, r, x.x, 0, none, -mean * r, k.u);
            combine(area, c, r, x.dx, by_x, x.x, rest, k.du);
            k.r[c] = (dfo_real)r;
            k.slope[c] = (dfo_real)slope;
            k.mean[c] = (dfo_real)mean;
            k.var[c] = (dfo_real)var;
        }
        combine(area, c, s * r, x.dx, s * by_x, x.x, s * rest, y.dx);
        combine(area, c, s * r, x.x, 0, none, t - s * mean * r, y.x);
    }
}

/* As dfoi_norm_jvp_backward: g_dx = J q, g_x = J p - r [mean(q du) u + mean(u dx) J q + mean(q u)
 * du], p = scale g, q = scale gd.  */
void dfoi_batch_jvp_backward(const dfoi_conv_unit *unit, const dfo_run *run, dfoi_area area,
                             const dfo_real *keep, dfoi_map_pair g)
{
    const struct kept k = kept(unit, area, keep, 1);
    const dfo_real *scale = dfo_run_weights(run, unit->unit.scale);
    size_t columns = columns_of(area);
    for (size_t c = 0; c < unit->unit.width; c++) {
        double r = (double)k.r[c], s = (double)scale[c], unused, q_u, q_du;
        add_grads(unit, run, area, c, g.x, k.u, 1);
        add_grads(unit, run, area, c, g.dx, k.du, 0);
        DFOI_BATCH_KERN->sums(columns, c, g.dx, k.du, 0, &unused, &q_du);
        q_du *= s / (double)columns;
        jacobian(run, area, c, k.u, r, g.x, s, g.x, &unused);
        jacobian(run, area, c, k.u, r, g.dx, s, g.dx, &q_u);
        if (!of_rows(run))
            continue;
        combine(area, c, 1, g.x, -r * q_du, k.u, 0, g.x);
        combine(area, c, 1, g.x, -r * (double)k.slope[c], g.dx, 0, g.x);
        combine(area, c, 1, g.x, -r * s * q_u, k.du, 0, g.x);
    }
    add_statistics(unit, run, area, &k);
}
