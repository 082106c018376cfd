/* Self-attention of an image's pixels, see attend_impl.h: its four passes, one image at a time.
 *
 * With J(v) = P (v - sum of P v), row by row: dP = J(dS), dO = V dP^T + dV P^T.  Backwards, with adjoints G of O and Gd of dO,
 *
 *   gP = G^T V + Gd^T dV,  gdP = Gd^T V,  gdS = J(gdP),  gS = J(gP + gdP (dS - s) - dS sum(gdP P)),  s = sum of P dS,
 *
 * the last two terms being what P and s lose in dP.  */
#include <math.h>
#include <string.h>

#include "math/kern_impl.h"
#include "nn/attend_impl.h"

/* An image's matrices: q, k, v and o with their tangents and gradients, (c, n) each, and (n, n): p, dS, gP, gdP.  */
struct image {
    size_t c, n;
    double scale;
    dfo_real *qkv, *dqkv, *g, *gd, *o, *od, *p, *ds, *gp, *gdp;
};

size_t dfoi_attend_scratch(size_t c, size_t plane)
{
    return dfo_arena_size((4 * 3 + 2) * c * plane + 4 * plane * plane);
}

static struct image image_of(size_t c, size_t plane, dfo_real *scratch)
{
    struct image m = {.c = c, .n = plane, .scale = 1 / sqrt((double)c)};
    dfo_real **wide[] = {&m.qkv, &m.dqkv, &m.g, &m.gd}, **one[] = {&m.o, &m.od}, **square[] = {&m.p, &m.ds, &m.gp, &m.gdp};
    for (size_t i = 0; i < 4; i++, scratch += 3 * c * plane)
        *wide[i] = scratch;
    for (size_t i = 0; i < 2; i++, scratch += c * plane)
        *one[i] = scratch;
    for (size_t i = 0; i < 4; i++, scratch += plane * plane)
        *square[i] = scratch;
    return m;
}

/* Image i's pixels of `channels` channels, one after the other; and back, written or added.  */
static void take(size_t channels, size_t plane, dfoi_map map, size_t i, dfo_real *to)
{
    for (size_t at = 0, n; at < plane; at += n) {
        size_t q = i * plane + at, j = q % DFO_PANEL;
        n = plane - at < DFO_PANEL - j ? plane - at : DFO_PANEL - j;
        const dfo_real *from = dfoi_map_panel(map, q / DFO_PANEL) + j;
        for (size_t c = 0; c < channels; c++)
            memcpy(to + c * plane + at, from + c * DFO_PANEL, n * sizeof *to);
    }
}

static void give(size_t channels, size_t plane, const dfo_real *x, int adding, size_t i, dfoi_map map)
{
    for (size_t at = 0, n; at < plane; at += n) {
        size_t q = i * plane + at, j = q % DFO_PANEL;
        n = plane - at < DFO_PANEL - j ? plane - at : DFO_PANEL - j;
        dfo_real *to = dfoi_map_panel(map, q / DFO_PANEL) + j;
        for (size_t c = 0; c < channels; c++)
            if (adding)
                dfoi_add(n, x + c * plane + at, to + c * DFO_PANEL);
            else
                memcpy(to + c * DFO_PANEL, x + c * plane + at, n * sizeof *to);
    }
}

static void clear_tail(size_t channels, dfoi_area area, dfoi_map map)
{
    size_t from = area.images * area.plane % DFO_PANEL;
    for (size_t c = 0; from && c < channels; c++)
        memset(dfoi_map_panel(map, area.panels - 1) + c * DFO_PANEL + from, 0, (DFO_PANEL - from) * sizeof *map.x);
}

/* s (n,n) += by A^T B;  o (c,n) += by B M^T;  o += by B M, for A, B (c,n) and M (n,n).  */
static void outer(const struct image *m, double by, const dfo_real *a, const dfo_real *b, dfo_real *s)
{
    for (size_t i = 0; i < m->n; i++)
        for (size_t c = 0; c < m->c; c++)
            dfoi_axpy(m->n, (dfo_real)(by * (double)a[c * m->n + i]), b + c * m->n, s + i * m->n);
}

static void mix(const struct image *m, double by, const dfo_real *b, const dfo_real *s, dfo_real *o)
{
    for (size_t c = 0; c < m->c; c++)
        for (size_t i = 0; i < m->n; i++)
            o[c * m->n + i] += (dfo_real)(by * dfoi_dot(m->n, s + i * m->n, b + c * m->n));
}

static void mix_back(const struct image *m, double by, const dfo_real *b, const dfo_real *s, dfo_real *o)
{
    for (size_t c = 0; c < m->c; c++)
        for (size_t i = 0; i < m->n; i++)
            dfoi_axpy(m->n, (dfo_real)(by * (double)b[c * m->n + i]), s + i * m->n, o + c * m->n);
}

static dfo_real *zeros(size_t n, dfo_real *x)
{
    memset(x, 0, n * sizeof *x);
    return x;
}

static const dfo_real *part(const struct image *m, const dfo_real *qkv, size_t which)
{
    return qkv + which * m->c * m->n;
}

static dfo_real *part_of(const struct image *m, dfo_real *qkv, size_t which)
{
    return qkv + which * m->c * m->n;
}

/* p from q and k.  */
static void weigh(const struct image *m)
{
    outer(m, m->scale, part(m, m->qkv, 0), part(m, m->qkv, 1), zeros(m->n * m->n, m->p));
    for (size_t i = 0; i < m->n; i++) {
        dfo_real *row = m->p + i * m->n, most = row[0];
        for (size_t j = 1; j < m->n; j++)
            most = row[j] > most ? row[j] : most;
        for (size_t j = 0; j < m->n; j++)
            row[j] -= most;
        dfoi_vexp(m->n, row, row);
        dfoi_scale(m->n, (dfo_real)(1 / dfoi_sum(m->n, row)), row);
    }
}

/* x becomes J(x).  */
static void soften(const struct image *m, dfo_real *x)
{
    for (size_t i = 0; i < m->n; i++) {
        const dfo_real *p = m->p + i * m->n;
        dfo_real *row = x + i * m->n, mean = (dfo_real)dfoi_dot(m->n, p, row);
        for (size_t j = 0; j < m->n; j++)
            row[j] = p[j] * (row[j] - mean);
    }
}

/* ds = dS.  */
static void weigh_tangent(const struct image *m)
{
    outer(m, m->scale, part(m, m->dqkv, 0), part(m, m->qkv, 1), zeros(m->n * m->n, m->ds));
    outer(m, m->scale, part(m, m->qkv, 0), part(m, m->dqkv, 1), m->ds);
}

void dfoi_attend(size_t c, dfoi_area area, dfoi_map qkv, dfoi_map o, dfo_real *scratch)
{
    const struct image m = image_of(c, area.plane, scratch);
    for (size_t i = 0; i < area.images; i++) {
        take(3 * c, m.n, qkv, i, m.qkv);
        weigh(&m);
        mix(&m, 1, part(&m, m.qkv, 2), m.p, zeros(c * m.n, m.o));
        give(c, m.n, m.o, 0, i, o);
    }
    clear_tail(c, area, o);
}

void dfoi_attend_tangent(size_t c, dfoi_area area, dfoi_map_pair qkv, dfoi_map_pair o, dfo_real *scratch)
{
    const struct image m = image_of(c, area.plane, scratch);
    for (size_t i = 0; i < area.images; i++) {
        take(3 * c, m.n, qkv.x, i, m.qkv);
        take(3 * c, m.n, qkv.dx, i, m.dqkv);
        weigh(&m);
        weigh_tangent(&m);
        soften(&m, m.ds);
        mix(&m, 1, part(&m, m.qkv, 2), m.p, zeros(c * m.n, m.o));
        mix(&m, 1, part(&m, m.qkv, 2), m.ds, zeros(c * m.n, m.od));
        mix(&m, 1, part(&m, m.dqkv, 2), m.p, m.od);
        give(c, m.n, m.o, 0, i, o.x);
        give(c, m.n, m.od, 0, i, o.dx);
    }
    clear_tail(c, area, o.x);
    clear_tail(c, area, o.dx);
}

/* Adds to the gradients in g what S = Q^T K gives, gs its gradient.  */
static void through_scores(const struct image *m, const dfo_real *gs, const dfo_real *qkv, dfo_real *g)
{
    mix(m, m->scale, part(m, qkv, 1), gs, part_of(m, g, 0));
    mix_back(m, m->scale, part(m, qkv, 0), gs, part_of(m, g, 1));
}

void dfoi_attend_backward(size_t c, dfoi_area area, dfoi_map qkv, dfoi_map go, dfoi_map g, dfo_real *scratch)
{
    const struct image m = image_of(c, area.plane, scratch);
    for (size_t i = 0; i < area.images; i++) {
        take(3 * c, m.n, qkv, i, m.qkv);
        take(c, m.n, go, i, m.o);
        zeros(3 * c * m.n, m.g);
        weigh(&m);
        outer(&m, 1, m.o, part(&m, m.qkv, 2), zeros(m.n * m.n, m.gp));
        mix_back(&m, 1, m.o, m.p, part_of(&m, m.g, 2));
        soften(&m, m.gp);
        through_scores(&m, m.gp, m.qkv, m.g);
        give(3 * c, m.n, m.g, 1, i, g);
    }
}

/* gp += gdp (dS - s) - dS sum(gdp P).  */
static void add_lost(const struct image *m)
{
    for (size_t i = 0; i < m->n; i++) {
        const dfo_real *p = m->p + i * m->n, *ds = m->ds + i * m->n, *gdp = m->gdp + i * m->n;
        dfo_real s = (dfo_real)dfoi_dot(m->n, p, ds), t = (dfo_real)dfoi_dot(m->n, p, gdp), *gp = m->gp + i * m->n;
        for (size_t j = 0; j < m->n; j++)
            gp[j] += gdp[j] * (ds[j] - s) - ds[j] * t;
    }
}

void dfoi_attend_tangent_backward(size_t c, dfoi_area area, dfoi_map_pair qkv, dfoi_map_pair go, dfoi_map_pair g,
                                  dfo_real *scratch)
{
    const struct image m = image_of(c, area.plane, scratch);
    for (size_t i = 0; i < area.images; i++) {
        take(3 * c, m.n, qkv.x, i, m.qkv);
        take(3 * c, m.n, qkv.dx, i, m.dqkv);
        take(c, m.n, go.x, i, m.o);
        take(c, m.n, go.dx, i, m.od);
        zeros(3 * c * m.n, m.g);
        zeros(3 * c * m.n, m.gd);
        weigh(&m);
        weigh_tangent(&m);
        outer(&m, 1, m.o, part(&m, m.qkv, 2), zeros(m.n * m.n, m.gp));
        outer(&m, 1, m.od, part(&m, m.dqkv, 2), m.gp);
        outer(&m, 1, m.od, part(&m, m.qkv, 2), zeros(m.n * m.n, m.gdp));
        mix_back(&m, 1, m.o, m.p, part_of(&m, m.g, 2));
        mix_back(&m, 1, m.od, m.p, part_of(&m, m.gd, 2));
        add_lost(&m);
        soften(&m, m.gp);
        soften(&m, m.gdp);
        soften(&m, m.ds);
        mix_back(&m, 1, m.od, m.ds, part_of(&m, m.g, 2));
        through_scores(&m, m.gp, m.qkv, m.g);
        through_scores(&m, m.gdp, m.dqkv, m.g);
        through_scores(&m, m.gdp, m.qkv, m.gd);
        give(3 * c, m.n, m.g, 1, i, g.x);
        give(3 * c, m.n, m.gd, 1, i, g.dx);
    }
}
