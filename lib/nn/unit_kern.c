/* Kernels of units and gates: dropout masks, layer normalisation, gates, small products; compiled
 * per instruction set.  Sums over features are in double, one for each row, eight rows at a time.
 */
#include <math.h>
#include <string.h>

#include "math/gemm_impl.h"
#include "math/philox_impl.h"
#include "nn/unit_kern_impl.h"

#define EPSILON 1e-5
#define RUN(expression)                                                                            \
    do {                                                                                           \
        _Pragma("GCC ivdep") for (size_t i = 0; i < n; i++) expression;                            \
    } while (0)

static void multiply(size_t n, const dfo_real *x, const dfo_real *y, dfo_real *to)
{
    RUN(to[i] = x[i] * y[i]);
}

static void reverse(size_t n, const dfo_real *d1, const dfo_real *d2, const dfo_real *da,
                    dfo_real *g, dfo_real *gd)
{
    RUN(g[i] = d1[i] * g[i] + d2[i] * da[i] * gd[i]);
    RUN(gd[i] = d1[i] * gd[i]);
}

/* ---- dropout
 * --------------------------------------------------------------------------------------- */

/* Block `index` of the streams of 64 keys, rows key.row ...: four words a row.  */
static void blocks(dfo_key key, uint32_t index, uint32_t out[4][DFO_PANEL])
{
    uint64_t word[4][DFO_PANEL];
    for (size_t i = 0; i < DFO_PANEL; i += DFOI_WORDS) {
        dfoi_words row, four[4];
        for (size_t l = 0; l < DFOI_WORDS; l++)
            row[l] = key.row + i + l;
        dfoi_philox_lanes(key, index - (dfoi_words){0}, row, four);
        for (size_t w = 0; w < 4; w++)
            memcpy(&word[w][i], &four[w], sizeof four[w]);
    }
    for (size_t w = 0; w < 4; w++)
        for (size_t i = 0; i < DFO_PANEL; i++)
            out[w][i] = (uint32_t)word[w][i];
}

static void draw(dfo_key key, uint32_t stream, unsigned drop, size_t width, dfo_real *mask)
{
    const dfo_real scale = (dfo_real)(65536.0 / (65536.0 - drop));
    for (size_t j = 0; j < width; j += 8) {
        uint32_t word[4][DFO_PANEL];
        blocks(key, stream + (uint32_t)(j / 8), word);
        for (size_t q = 0; q < 8 && j + q < width; q++) {
            dfo_real *to = mask + (j + q) * DFO_PANEL;
            const uint32_t *w = word[q / 2];
            unsigned shift = q % 2 ? 16 : 0;
            for (size_t i = 0; i < DFO_PANEL; i++)
                to[i] = (w[i] >> shift & 0xffff) < drop ? 0 : scale;
        }
    }
}

/* ---- layer normalisation
 * --------------------------------------------------------------------------- */

#define CHUNK 8 /* rows whose sums stay in registers */
#define EACH for (size_t l = 0; l < CHUNK; l++)

static void normalise(size_t width, const dfo_real *x, dfo_real *u, dfo_real *r)
{
    for (size_t i = 0; i < DFO_PANEL; i += CHUNK) {
        double mean[CHUNK] = {0}, var[CHUNK] = {0}, inverse[CHUNK];
        for (size_t j = 0; j < width; j++)
            EACH mean[l] += (double)x[j * DFO_PANEL + i + l];
        EACH mean[l] /= (double)width;
        for (size_t j = 0; j < width; j++)
            EACH
            {
                double c = (double)x[j * DFO_PANEL + i + l] - mean[l];
                var[l] += c * c;
            }
        EACH inverse[l] = 1 / sqrt(var[l] / (double)width + EPSILON);
        for (size_t j = 0; j < width; j++)
            EACH u[j * DFO_PANEL + i + l] =
                (dfo_real)(((double)x[j * DFO_PANEL + i + l] - mean[l]) * inverse[l]);
        EACH r[i + l] = (dfo_real)inverse[l];
    }
}

/* mean[l] = mean of x, dot[l] = u.x / width.  */
static inline void moments(size_t width, size_t i, const dfo_real *u, const dfo_real *x,
                           double mean[CHUNK], double dot[CHUNK])
{
    double a[CHUNK] = {0}, b[CHUNK] = {0};
    for (size_t j = 0; j < width; j++)
        EACH
        {
            double v = (double)x[j * DFO_PANEL + i + l];
            a[l] += v;
            b[l] += v * (double)u[j * DFO_PANEL + i + l];
        }
    EACH mean[l] = a[l] / (double)width;
    EACH dot[l] = b[l] / (double)width;
}

static void jacobian(size_t width, const dfo_real *u, const dfo_real *r, const dfo_real *x,
                     dfo_real *y, dfo_real *slope)
{
    for (size_t i = 0; i < DFO_PANEL; i += CHUNK) {
        double mean[CHUNK], dot[CHUNK], by[CHUNK];
        moments(width, i, u, x, mean, dot);
        EACH by[l] = (double)r[i + l];
        for (size_t j = 0; j < width; j++)
            EACH
            {
                size_t at = j * DFO_PANEL + i + l;
                y[at] = (dfo_real)(by[l] * ((double)x[at] - mean[l] - (double)u[at] * dot[l]));
            }
        if (slope)
            EACH slope[i + l] = (dfo_real)dot[l];
    }
}

static void affine(size_t width, const dfo_real *scale, const dfo_real *shift, const dfo_real *u,
                   dfo_real *y)
{
    for (size_t j = 0; j < width; j++) {
        dfo_real s = scale[j], t = shift ? shift[j] : 0;
        for (size_t i = 0; i < DFO_PANEL; i++)
            y[j * DFO_PANEL + i] = s * u[j * DFO_PANEL + i] + t;
    }
}

static void add_grads(size_t width, const dfo_real *g, const dfo_real *u, dfo_real *gscale,
                      dfo_real *gshift)
{
    for (size_t j = 0; j < width; j++) {
        double a[CHUNK] = {0}, b[CHUNK] = {0}, sum_a = 0, sum_b = 0;
        for (size_t i = 0; i < DFO_PANEL; i += CHUNK)
            EACH
            {
                double v = (double)g[j * DFO_PANEL + i + l];
                a[l] += v * (double)u[j * DFO_PANEL + i + l];
                b[l] += v;
            }
        EACH sum_a += a[l];
        EACH sum_b += b[l];
        gscale[j] += (dfo_real)sum_a;
        if (gshift)
            gshift[j] += (dfo_real)sum_b;
    }
}

static void jacobian_reverse(size_t width, const dfo_real *u, const dfo_real *du, const dfo_real *r,
                             const dfo_real *slope, dfo_real *g, dfo_real *gd)
{
    for (size_t i = 0; i < DFO_PANEL; i += CHUNK) {
        double g_mean[CHUNK], g_u[CHUNK], q_mean[CHUNK], q_u[CHUNK], q_du[CHUNK], unused[CHUNK];
        double by[CHUNK], u_dx[CHUNK];
        moments(width, i, u, g, g_mean, g_u);
        moments(width, i, u, gd, q_mean, q_u);
        moments(width, i, du, gd, unused, q_du);
        EACH by[l] = (double)r[i + l];
        EACH u_dx[l] = (double)slope[i + l];
        for (size_t j = 0; j < width; j++)
            EACH
            {
                size_t at = j * DFO_PANEL + i + l;
                double v = (double)u[at];
                double jp = by[l] * ((double)g[at] - g_mean[l] - v * g_u[l]);
                double jq = by[l] * ((double)gd[at] - q_mean[l] - v * q_u[l]);
                g[at] =
                    (dfo_real)(jp - by[l] * (q_du[l] * v + u_dx[l] * jq + q_u[l] * (double)du[at]));
                gd[at] = (dfo_real)jq;
            }
    }
}

/* ---- gates
 * ----------------------------------------------------------------------------------------- */

static void gate(size_t n, const struct dfoi_gate *x, dfo_real *s)
{
    const dfo_real *from = x->s, *r = x->r, *g = x->g;
    RUN(s[i] = from[i] + r[i] * g[i]);
}

static void gate_jvp(size_t n, const struct dfoi_gate *x, dfo_real *s, dfo_real *ds)
{
    const dfo_real *dfrom = x->ds, *r = x->r, *dr = x->dr, *g = x->g, *dq = x->dq;
    gate(n, x, s);
    RUN(ds[i] = dfrom[i] + dr[i] * g[i] + r[i] * g[i] * (1 - g[i]) * dq[i]);
}

static void gate_backward(size_t n, const struct dfoi_gate *x, const dfo_real *gs, dfo_real *gr,
                          dfo_real *gq)
{
    const dfo_real *r = x->r, *g = x->g;
    RUN(gr[i] = gs[i] * g[i]);
    RUN(gq[i] = gr[i] * r[i] * (1 - g[i]));
}

static void gate_jvp_backward(size_t n, const struct dfoi_gate *x, const dfo_real *gs,
                              const dfo_real *gds, dfo_real *gr, dfo_real *gdr, dfo_real *gq,
                              dfo_real *gdq)
{
    const dfo_real *r = x->r, *dr = x->dr, *g = x->g, *dq = x->dq;
    RUN({
        dfo_real slope = g[i] * (1 - g[i]);
        gr[i] = gs[i] * g[i] + gds[i] * slope * dq[i];
        gdr[i] = gds[i] * g[i];
        gdq[i] = slope * gds[i] * r[i];
        gq[i] = slope * (gs[i] * r[i] + gds[i] * dr[i]) +
                (1 - 2 * g[i]) * dq[i] * (slope * gds[i] * r[i]);
    });
}

const struct dfoi_unit_kernels DFOI_TABLE(dfoi_unit_kernels) = {
    .multiply = multiply,
    .reverse = reverse,
    .draw = draw,
    .normalise = normalise,
    .jacobian = jacobian,
    .affine = affine,
    .add_grads = add_grads,
    .jacobian_reverse = jacobian_reverse,
    .gate = gate,
    .gate_jvp = gate_jvp,
    .gate_backward = gate_backward,
    .gate_jvp_backward = gate_jvp_backward,
};
