/* Group normalisation, see group_impl.h: its four passes.  P(v) = v - mean(v) - u mean(u v) is symmetric; dy = scale r P(dx),
 * and with adjoints g of y and gd of dy, alpha = scale g and w = scale gd,
 *
 *   gdx = r P(w),   gx = r P(alpha) - r u mean(w du) - r^2 P(mean(u dx) w + mean(u w) dx),   du = r P(dx),
 *
 * where the last two terms are what r and u lose in dy (as for layers, norm.c).  All is linear in the maps, with factors of
 * a group from sums over it; u itself is never stored.  */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/ctx_impl.h"
#include "nn/group_impl.h"

#define EPSILON 1e-5
#define KEEP 4        /* numbers of a group: mean, r, mean(dx), mean(u dx) */

static const dfoi_map none = {NULL, 0};

dfo_status dfoi_group_new(dfo_build *build, const char *prefix, size_t width, size_t groups, dfoi_group_norm *norm)
{
    char name[64];
    *norm = (dfoi_group_norm){.width = width, .groups = groups};
    if (!groups || width % groups)
        return dfoi_fail(build->ctx, DFO_EARG, "groups: %zu do not divide %zu channels", groups, width);
    snprintf(name, sizeof name, "%sscale", prefix);
    DFO_TRY(dfo_build_weights(build, name, 1, &width, &norm->scale));
    snprintf(name, sizeof name, "%sshift", prefix);
    DFO_TRY(dfo_build_weights(build, name, 1, &width, &norm->shift));
    dfo_build_constant(build, norm->scale, width, 1);
    return DFO_OK;
}

size_t dfoi_group_keep(const dfoi_group_norm *norm, size_t n)
{
    return KEEP * norm->groups * n;
}

/* One group of one image.  */
struct group {
    dfoi_strip strip;
    size_t first, end;      /* channels */
    double n;               /* values */
    dfo_real *keep;
};

static struct group group_of(const dfoi_group_norm *norm, dfoi_area area, const dfo_real *keep, size_t i)
{
    size_t image = i / norm->groups, k = i % norm->groups, wide = norm->width / norm->groups;
    return (struct group){{image * area.plane, area.plane}, k * wide, (k + 1) * wide, (double)(wide * area.plane),
                          (dfo_real *)keep + KEEP * i};
}

static size_t count(const dfoi_group_norm *norm, dfoi_area area)
{
    return norm->groups * area.images;
}

/* Columns behind the last image become zeros.  */
static void clear_tail(dfoi_area area, size_t width, dfoi_map y)
{
    size_t columns = area.images * area.plane, from = columns % DFO_PANEL;
    for (size_t c = 0; from && c < width; c++)
        memset(dfoi_map_panel(y, area.panels - 1) + c * DFO_PANEL + from, 0, (DFO_PANEL - from) * sizeof *y.x);
}

void dfoi_group_measure(const dfoi_group_norm *norm, dfoi_area area, dfoi_map x, dfo_real *keep)
{
    for (size_t i = 0; i < count(norm, area); i++) {
        struct group k = group_of(norm, area, keep, i);
        double mean = 0, var = 0;
        for (size_t c = k.first; c < k.end; c++) {
            double sum, unused;
            DFOI_GROUP_KERN->sums(k.strip, c, x, x, 0, &sum, &unused);
            mean += sum;
        }
        mean /= k.n;
        for (size_t c = k.first; c < k.end; c++)
            var += DFOI_GROUP_KERN->squares(k.strip, c, x, mean);
        k.keep[0] = (dfo_real)mean;
        k.keep[1] = (dfo_real)(1 / sqrt(var / k.n + EPSILON));
    }
}

void dfoi_group_apply(const dfoi_group_norm *norm, const dfo_run *run, dfoi_area area, dfoi_map x, const dfo_real *keep,
                      dfoi_map y)
{
    const dfo_real *scale = dfo_run_weights(run, norm->scale), *shift = dfo_run_weights(run, norm->shift);
    for (size_t i = 0; i < count(norm, area); i++) {
        struct group k = group_of(norm, area, keep, i);
        double mean = (double)k.keep[0], r = (double)k.keep[1];
        for (size_t c = k.first; c < k.end; c++) {
            double a = (double)scale[c] * r;
            DFOI_GROUP_KERN->combine(k.strip, c, (dfo_real)a, x, 0, none, (dfo_real)((double)shift[c] - a * mean), 0, y);
        }
    }
    clear_tail(area, norm->width, y);
}

void dfoi_group_tangent_measure(const dfoi_group_norm *norm, dfoi_area area, dfoi_map_pair x, dfo_real *keep)
{
    for (size_t i = 0; i < count(norm, area); i++) {
        struct group k = group_of(norm, area, keep, i);
        double sum = 0, dot = 0;
        for (size_t c = k.first; c < k.end; c++) {
            double s, d;
            DFOI_GROUP_KERN->sums(k.strip, c, x.dx, x.x, (double)k.keep[0], &s, &d);
            sum += s;
            dot += d;
        }
        k.keep[2] = (dfo_real)(sum / k.n);
        k.keep[3] = (dfo_real)(dot / k.n * (double)k.keep[1]);
    }
}

void dfoi_group_tangent(const dfoi_group_norm *norm, const dfo_run *run, dfoi_area area, dfoi_map_pair x, const dfo_real *keep,
                        dfoi_map dy)
{
    const dfo_real *scale = dfo_run_weights(run, norm->scale);
    for (size_t i = 0; i < count(norm, area); i++) {
        struct group k = group_of(norm, area, keep, i);
        double mean = (double)k.keep[0], r = (double)k.keep[1], dmean = (double)k.keep[2], s = (double)k.keep[3];
        for (size_t c = k.first; c < k.end; c++) {
            double a = (double)scale[c] * r;
            DFOI_GROUP_KERN->combine(k.strip, c, (dfo_real)a, x.dx, (dfo_real)(-a * r * s), x.x,
                                     (dfo_real)(a * (r * s * mean - dmean)), 0, dy);
        }
    }
    clear_tail(area, norm->width, dy);
}

/* Sums over one channel: of g, and of g u.  */
struct channel {
    double sum, dot;
};

static struct channel channel_of(const struct group *k, size_t c, dfoi_map g, dfoi_map x)
{
    struct channel s;
    DFOI_GROUP_KERN->sums(k->strip, c, g, x, (double)k->keep[0], &s.sum, &s.dot);
    s.dot *= (double)k->keep[1];
    return s;
}

void dfoi_group_backward(const dfoi_group_norm *norm, const dfo_run *run, dfoi_area area, dfoi_map x, const dfo_real *keep,
                         dfoi_map g, dfoi_map gx)
{
    const dfo_real *scale = dfo_run_weights(run, norm->scale);
    dfo_real *gscale = dfo_run_grads(run, norm->scale), *gshift = dfo_run_grads(run, norm->shift);
    for (size_t i = 0; i < count(norm, area); i++) {
        struct group k = group_of(norm, area, keep, i);
        double mean = (double)k.keep[0], r = (double)k.keep[1], sum = 0, dot = 0;
        for (size_t c = k.first; c < k.end; c++) {
            struct channel s = channel_of(&k, c, g, x);
            sum += (double)scale[c] * s.sum / k.n;
            dot += (double)scale[c] * s.dot / k.n;
            if (gscale) {
                gscale[c] += (dfo_real)s.dot;
                gshift[c] += (dfo_real)s.sum;
            }
        }
        for (size_t c = k.first; c < k.end; c++)
            DFOI_GROUP_KERN->combine(k.strip, c, (dfo_real)((double)scale[c] * r), g, (dfo_real)(-r * r * dot), x,
                                     (dfo_real)(r * (r * dot * mean - sum)), 1, gx);
    }
}

/* Means over a group: of alpha, u alpha, w, u w, w dx.  */
struct means {
    double alpha, ualpha, w, uw, wdx;
};

static struct means means_of(const dfoi_group_norm *norm, const dfo_run *run, const struct group *k, dfoi_map_pair x,
                             dfoi_map_pair g)
{
    const dfo_real *scale = dfo_run_weights(run, norm->scale);
    dfo_real *gscale = dfo_run_grads(run, norm->scale), *gshift = dfo_run_grads(run, norm->shift);
    struct means m = {0};
    for (size_t c = k->first; c < k->end; c++) {
        struct channel s = channel_of(k, c, g.x, x.x), d = channel_of(k, c, g.dx, x.x);
        double by = (double)scale[c] / k->n, unused, dot;
        DFOI_GROUP_KERN->sums(k->strip, c, g.dx, x.dx, (double)k->keep[2], &unused, &dot);
        m.alpha += by * s.sum;
        m.ualpha += by * s.dot;
        m.w += by * d.sum;
        m.uw += by * d.dot;
        m.wdx += by * dot;
        if (gscale) {       /* sum of g u + gd du */
            gscale[c] += (dfo_real)(s.dot + (double)k->keep[1] * (dot - (double)k->keep[3] * d.dot));
            gshift[c] += (dfo_real)s.sum;
        }
    }
    return m;
}

void dfoi_group_tangent_backward(const dfoi_group_norm *norm, const dfo_run *run, dfoi_area area, dfoi_map_pair x,
                                 const dfo_real *keep, dfoi_map_pair g, dfoi_map_pair gx)
{
    const dfo_real *scale = dfo_run_weights(run, norm->scale);
    for (size_t i = 0; i < count(norm, area); i++) {
        struct group k = group_of(norm, area, keep, i);
        const struct means m = means_of(norm, run, &k, x, g);
        double mean = (double)k.keep[0], r = (double)k.keep[1], dmean = (double)k.keep[2], s = (double)k.keep[3];
        double wdu = r * (m.wdx - m.uw * s);     /* mean(w du): m.wdx is of dx - mean(dx) */
        /* gx = r alpha - r^2 s w - r^2 uw dx + u by_u + more, u = (x - mean) r.  */
        double by_u = -r * m.ualpha - r * wdu + 2 * r * r * s * m.uw;
        double more = -r * m.alpha + r * r * (s * m.w + m.uw * dmean);
        for (size_t c = k.first; c < k.end; c++) {
            double w = (double)scale[c];
            DFOI_GROUP_KERN->combine(k.strip, c, (dfo_real)(r * w), g.x, (dfo_real)(-r * r * s * w), g.dx,
                                     (dfo_real)(more - by_u * r * mean), 1, gx.x);
            DFOI_GROUP_KERN->combine(k.strip, c, (dfo_real)(by_u * r), x.x, (dfo_real)(-r * r * m.uw), x.dx, 0, 1, gx.x);
            DFOI_GROUP_KERN->combine(k.strip, c, (dfo_real)(r * w), g.dx, (dfo_real)(-r * r * m.uw), x.x,
                                     (dfo_real)(r * (r * m.uw * mean - m.w)), 1, gx.dx);
        }
    }
}
