/* What a dense net is told of the features that pass: their values, or harmonics of them.  A net of smooth functions is
 * slow to find what changes over a small part of a circle or an interval; the number of harmonics is how fine it begins
 * to see.  Of an angle x with period 2B, cosines and sines of k pi x / B: the net's output does not jump where -B meets
 * B.  Of a number x in [-B, B], Chebyshev's polynomials T_k(t), t = x/B: cosines of k times the angle whose cosine is t,
 *   T_k = 2 t T_k-1 - T_k-2,   T'_k = 2 T_k-1 + 2 t T'_k-1 - T'_k-2.  */
#include <math.h>
#include <string.h>

#include "coupling_impl.h"

static const char *const names[] = {[DFOI_VALUES] = "value", [DFOI_CIRCLE] = "circle", [DFOI_INTERVAL] = "interval", NULL};

dfo_status dfoi_coupling_features_read(dfo_ctx *ctx, const json_t *config, dfoi_coupling *c)
{
    size_t input;
    DFO_TRY(dfoi_json_choice(ctx, config, "input", names, c->spline.circular ? DFOI_CIRCLE : DFOI_VALUES, &input));
    c->features = (dfoi_features)input;
    DFO_TRY(dfoi_json_size(ctx, config, "harmonics", 1, 1, c->features == DFOI_VALUES ? 1 : 64, &c->harmonics));
    if (c->mask.na)
        c->each = c->features == DFOI_CIRCLE ? 2 * c->harmonics : c->harmonics;
    return DFO_OK;
}

dfo_status dfoi_coupling_features_describe(dfo_ctx *ctx, json_t *to, const dfoi_coupling *c)
{
    DFO_TRY(dfoi_json_set(ctx, to, "input", json_string(names[c->features])));
    DFO_TRY(dfoi_json_set(ctx, to, "fade", json_boolean(c->fade)));
    return dfoi_json_set(ctx, to, "harmonics", json_integer((json_int_t)c->harmonics));
}

/* The k-th of one row: cosines of all features that pass, then sines.  */
static void circle(const dfoi_coupling *c, const dfo_real *x, size_t k, dfo_real *cosines)
{
    dfo_real *sines = cosines + c->mask.na;
    for (size_t j = 0; j < c->mask.na; j++) {
        double turns = (double)k * (double)x[c->mask.a[j]] / (2 * (double)c->spline.bound);
        sines[j] = (dfo_real)(turns - floor(turns));
    }
    dfoi_vsincos2pi(c->mask.na, sines, sines, cosines);
}

double dfoi_coupling_place(const dfoi_coupling *c, dfo_real x)
{
    double t = (double)x / (double)c->spline.bound;
    return t > 1 ? 1 : t < -1 ? -1 : t;
}

static void chebyshev(double t, size_t n, size_t stride, dfo_real *to)
{
    double before = 1, here = t;
    for (size_t k = 0; k < n; k++) {
        double next = 2 * t * here - before;
        to[k * stride] = (dfo_real)here;
        before = here;
        here = next;
    }
}

/* sum g_k T'_k(t) */
static double chebyshev_slope(double t, size_t n, size_t stride, const dfo_real *g)
{
    double before = 1, here = t, slope_before = 0, slope = 1, sum = 0;
    for (size_t k = 0; k < n; k++) {
        double next = 2 * t * here - before, slope_next = 2 * here + 2 * t * slope - slope_before;
        sum += slope * (double)g[k * stride];
        before = here;
        here = next;
        slope_before = slope;
        slope = slope_next;
    }
    return sum;
}

dfo_batch dfoi_coupling_features(const dfoi_coupling *c, dfo_batch x, dfo_real *pass)
{
    size_t na = c->mask.na;
    dfo_batch to = dfo_batch_of(pass, x.n, na * c->each);
    for (size_t i = 0; i < x.n; i++) {
        const dfo_real *from = dfo_row(x, i);
        dfo_real *row = dfo_row(to, i);
        for (size_t k = 0; c->features == DFOI_CIRCLE && k < c->harmonics; k++)
            circle(c, from, k + 1, row + 2 * k * na);
        for (size_t j = 0; c->features == DFOI_INTERVAL && j < na; j++)
            chebyshev(dfoi_coupling_place(c, from[c->mask.a[j]]), c->harmonics, na, row + j);
        for (size_t j = 0; c->features == DFOI_VALUES && j < na; j++)
            row[j] = from[c->mask.a[j]];
    }
    return to;
}

/* Of feature j of a row: v and g, the cosines and sines and their gradients, na apart.  */
static double circle_back(const dfoi_coupling *c, const dfo_real *v, const dfo_real *g)
{
    size_t na = c->mask.na;
    double sum = 0;
    for (size_t k = 0; k < c->harmonics; k++, v += 2 * na, g += 2 * na)
        sum += (double)(k + 1) * ((double)v[0] * (double)g[na] - (double)v[na] * (double)g[0]);
    return 3.14159265358979323846 / (double)c->spline.bound * sum;
}

static double interval_back(const dfoi_coupling *c, dfo_real x, const dfo_real *g)
{
    if ((double)x > (double)c->spline.bound || (double)x < -(double)c->spline.bound)
        return 0;
    return chebyshev_slope(dfoi_coupling_place(c, x), c->harmonics, c->mask.na, g) / (double)c->spline.bound;
}

void dfoi_coupling_features_back(const dfoi_coupling *c, dfo_batch x, const dfo_real *pass, const dfo_real *gpass, dfo_batch gx)
{
    for (size_t i = 0; i < gx.n; i++) {
        const dfo_real *v = pass + i * c->mask.na * c->each, *g = gpass + i * c->mask.na * c->each;
        for (size_t j = 0; j < c->mask.na; j++) {
            size_t at = c->mask.a[j];
            dfo_row(gx, i)[at] += c->features == DFOI_VALUES   ? g[j]
                                  : c->features == DFOI_CIRCLE ? (dfo_real)circle_back(c, v + j, g + j)
                                                               : (dfo_real)interval_back(c, dfo_row(x, i)[at], g + j);
        }
    }
}
