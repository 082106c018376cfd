/* Cubics from observation to observation, in s = t - t_j, with h = t_j+1 - t_j, d_j = (x_j+1 - x_j) / h:
 *
 *     linear    x_j + d_j s
 *     Hermite   slopes m_j at the points: b = m_j, c = (3 d_j - 2 m_j - m_j+1) / h, e = (m_j + m_j+1 - 2 d_j) / h^2,
 *               m_j = d_j-1 and m_0 = d_0 (Morrill et al. 2021)
 *     natural   second derivatives M_j, M = 0 at both ends, h_j-1 M_j-1 + 2 (h_j-1 + h_j) M_j + h_j M_j+1 = 6 (d_j - d_j-1):
 *               b = d_j - h (2 M_j + M_j+1) / 6, c = M_j / 2, e = (M_j+1 - M_j) / (6 h)
 *
 * A channel's cubics go from one of its own observations to the next, over points where it was not observed, and are cut at all
 * points: a cubic about t_j is one about a later point.  */
#include <math.h>

#include "base/ctx_impl.h"
#include "math/kern_impl.h"
#include <diffeo/path.h>

size_t dfo_path_size(const dfo_path *path)
{
    return path->points > 1 ? 4 * (path->points - 1) * path->channels : 0;
}

/* A channel's own observations.  */
struct knots {
    const dfo_path *path;
    size_t  n, *at;            /* (n) their points */
    double *x, *m, *work;      /* (n) values; slopes or second derivatives */
};

static double span(const struct knots *k, size_t j)
{
    return k->path->times[k->at[j + 1]] - k->path->times[k->at[j]];
}

static double rise(const struct knots *k, size_t j)
{
    return (k->x[j + 1] - k->x[j]) / span(k, j);
}

/* Channel c of a row's first `length` points; only a gap between two observations can be left out.  */
static void gather(struct knots *k, dfo_path_gaps gaps, const dfo_real *x, size_t length, size_t c)
{
    size_t step = k->path->channels, first = 0, last = length;
    while (first < length && isnan((double)x[first * step + c]))
        first++;
    while (last > 0 && isnan((double)x[(last - 1) * step + c]))
        last--;
    double value = first < length ? (double)x[first * step + c] : 0;
    k->n = 0;
    for (size_t p = 0; p < length; p++) {
        double here = (double)x[p * step + c];
        if (isnan(here) && gaps == DFO_PATH_THROUGH && p > first && p < last)
            continue;
        if (!isnan(here))
            value = here;
        k->at[k->n] = p;
        k->x[k->n++] = value;
    }
}

static void backward_slopes(struct knots *k)
{
    for (size_t j = 0; j < k->n; j++)
        k->m[j] = rise(k, j ? j - 1 : 0);
}

/* Second derivatives, by elimination from the first row on; the system's diagonal dominates.  */
static void natural_moments(struct knots *k)
{
    size_t last = k->n - 1;
    k->m[0] = k->m[last] = k->work[0] = 0;
    for (size_t j = 1; j < last; j++) {
        double before = span(k, j - 1), pivot = 2 * (before + span(k, j)) - before * k->work[j - 1];
        k->work[j] = span(k, j) / pivot;
        k->m[j] = (6 * (rise(k, j) - rise(k, j - 1)) - before * k->m[j - 1]) / pivot;
    }
    for (size_t j = last; j-- > 1;)
        k->m[j] -= k->work[j] * k->m[j + 1];
}

/* Coefficients from observation j to the next.  */
static void cubic(const struct knots *k, dfo_path_kind kind, size_t j, double *p)
{
    double h = span(k, j), d = rise(k, j), m = k->m[j], next = k->m[j + 1];
    p[0] = k->x[j];
    p[1] = d;
    p[2] = p[3] = 0;
    if (kind == DFO_PATH_HERMITE) {
        p[1] = m;
        p[2] = (3 * d - 2 * m - next) / h;
        p[3] = (m + next - 2 * d) / (h * h);
    } else if (kind == DFO_PATH_SPLINE) {
        p[1] = d - h * (2 * m + next) / 6;
        p[2] = m / 2;
        p[3] = (next - m) / (6 * h);
    }
}

/* The cubic about a point s later, into piece q.  */
static void put(const struct knots *k, const double *p, double s, size_t q, size_t c, dfo_real *row)
{
    size_t step = k->path->channels;
    dfo_real *to = row + q * 4 * step + c;
    to[0] = (dfo_real)(((p[3] * s + p[2]) * s + p[1]) * s + p[0]);
    to[step] = (dfo_real)((3 * p[3] * s + 2 * p[2]) * s + p[1]);
    to[2 * step] = (dfo_real)(3 * p[3] * s + p[2]);
    to[3 * step] = (dfo_real)p[3];
}

static void fit_channel(struct knots *k, dfo_path_kind kind, size_t length, size_t c, dfo_real *row)
{
    const double *t = k->path->times;
    double p[4] = {k->x[k->n - 1]};
    for (size_t q = length - 1; q + 1 < k->path->points; q++)
        put(k, p, 0, q, c, row);
    if (length < 2)
        return;
    if (kind == DFO_PATH_SPLINE)
        natural_moments(k);
    else
        backward_slopes(k);
    for (size_t j = 0; j + 1 < k->n; j++) {
        cubic(k, kind, j, p);
        for (size_t q = k->at[j]; q < k->at[j + 1]; q++)
            put(k, p, t[q] - t[k->at[j]], q, c, row);
    }
}

static dfo_status check(dfo_ctx *ctx, const dfo_path *path, dfo_batch x, const size_t *lengths, dfo_batch to)
{
    if (path->points < 2 || !path->channels)
        return dfoi_fail(ctx, DFO_EARG, "path: expected two points and a channel at least, got %zu and %zu", path->points,
                         path->channels);
    for (size_t p = 0; p < path->points; p++)
        if (!isfinite(path->times[p]) || (p && !(path->times[p] > path->times[p - 1])))
            return dfoi_fail(ctx, DFO_EARG, "path: time number %zu, %g, does not go on from %g", p, path->times[p],
                             p ? path->times[p - 1] : -HUGE_VAL);
    if (x.d != path->points * path->channels || to.d != dfo_path_size(path) || to.n != x.n)
        return dfoi_fail(ctx, DFO_ESHAPE, "path: expected rows of %zu and as many of %zu, got %zu of %zu and %zu of %zu",
                         path->points * path->channels, dfo_path_size(path), x.n, x.d, to.n, to.d);
    for (size_t i = 0; lengths && i < x.n; i++)
        if (!lengths[i] || lengths[i] > path->points)
            return dfoi_fail(ctx, DFO_EARG, "path: row %zu has a length of %zu, expected 1 to %zu points", i, lengths[i],
                             path->points);
    return DFO_OK;
}

static dfo_status fit_row(dfo_ctx *ctx, struct knots *k, dfo_path_kind kind, dfo_path_gaps gaps, const dfo_real *x, size_t i,
                          size_t length, dfo_real *row)
{
    size_t channels = k->path->channels;
    for (size_t j = 0; j < length * channels; j++)
        if (isinf((double)x[j]))
            return dfoi_fail(ctx, DFO_ENUM, "path: row %zu, point %zu, channel %zu: %g, expected a finite number or NaN", i,
                             j / channels, j % channels, (double)x[j]);
    for (size_t c = 0; c < channels; c++) {
        gather(k, gaps, x, length, c);
        fit_channel(k, kind, length, c, row);
    }
    if (!dfoi_all_finite(dfo_path_size(k->path), row))
        return dfoi_fail(ctx, DFO_ENUM, "path: row %zu: a coefficient is not finite; expected observations and times of "
                         "moderate size", i);
    return DFO_OK;
}

dfo_status dfo_path_fit(dfo_ctx *ctx, const dfo_path *path, dfo_path_kind kind, dfo_path_gaps gaps, dfo_batch x,
                        const size_t *lengths, dfo_batch to)
{
    struct knots k = {.path = path};
    dfo_status status;
    DFO_TRY(check(ctx, path, x, lengths, to));
    DFO_GO(dfoi_alloc(ctx, path->points, sizeof *k.at, &k.at));
    DFO_GO(dfoi_alloc(ctx, path->points, 3 * sizeof *k.x, &k.x));
    k.m = k.x + path->points;
    k.work = k.m + path->points;
    for (size_t i = 0; i < x.n; i++) {
        size_t length = lengths ? lengths[i] : path->points;
        DFO_GO(fit_row(ctx, &k, kind, gaps, dfo_row(x, i), i, length, dfo_row(to, i)));
    }
    status = DFO_OK;
fail:
    dfoi_free(ctx, k.x);
    dfoi_free(ctx, k.at);
    return status;
}

size_t dfo_path_piece(const dfo_path *path, double t)
{
    size_t low = 0, high = path->points - 1;
    while (high - low > 1) {
        size_t middle = (low + high) / 2;
        if (t >= path->times[middle])
            low = middle;
        else
            high = middle;
    }
    return low;
}

void dfo_path_value(const dfo_path *path, const dfo_real *row, size_t piece, double t, dfo_real *value)
{
    size_t n = path->channels;
    const dfo_real *a = row + piece * 4 * n, *b = a + n, *c = b + n, *e = c + n;
    dfo_real s = (dfo_real)(t - path->times[piece]);
    for (size_t j = 0; j < n; j++)
        value[j] = ((e[j] * s + c[j]) * s + b[j]) * s + a[j];
}

void dfo_path_slope(const dfo_path *path, const dfo_real *row, size_t piece, double t, dfo_real *slope)
{
    size_t n = path->channels;
    const dfo_real *b = row + piece * 4 * n + n, *c = b + n, *e = c + n;
    dfo_real s = (dfo_real)(t - path->times[piece]);
    for (size_t j = 0; j < n; j++)
        slope[j] = (3 * e[j] * s + 2 * c[j]) * s + b[j];
}
