/* Packed weights times a panel of 64 rows, and its gradients; compiled per instruction set (see
 * isa_impl.h), with fused multiply-add.  A tile of ROWS outputs by 2 vectors of panel rows stays in
 * registers while k runs: 16 accumulators of 32 with AVX-512; 8 of 16 below it.  The weights come in
 * panels [k][8] (panel_kern.c), so a step reads 8 of them in a row and broadcasts.  What stands around
 * the product (bias, relu, residual, mask) happens on the accumulators.  */
#include <string.h>

#include "math/kern_table.h"
#include "math/vec_impl.h"

#if DFOI_VBYTES == 64
#define ROWS 8
#else
#define ROWS 4
#endif
#define COLUMNS (2 * DFOI_VL)             /* panel rows of a tile */
#define LEAK ((dfo_real)0.01)
#define UNROLL _Pragma("GCC unroll 8")

/* The lanes' integers: masks of comparisons.  */
#ifdef DFO_DOUBLE
typedef int64_t mask_vec __attribute__((vector_size(DFOI_VBYTES)));
#else
typedef int32_t mask_vec __attribute__((vector_size(DFOI_VBYTES)));
#endif

/* v where mask is set, else 0.  */
DFOI_INLINE dfoi_vec keep(mask_vec mask, dfoi_vec v)
{
    return (dfoi_vec)((mask_vec)v & mask);
}

/* c[r][.] += sum over j of w[8j + r] x[j stride + .], r < height (a constant where this is expanded,
 * as in all that follows).  */
DFOI_INLINE void accumulate(size_t height, size_t k, const dfo_real *w, const dfo_real *x, dfoi_vec c[ROWS][2])
{
    for (size_t j = 0; j < k; j++) {
        dfoi_vec x0 = dfoi_load(x), x1 = dfoi_load(x + DFOI_VL);
UNROLL
        for (size_t r = 0; r < height; r++) {
            c[r][0] += w[r] * x0;
            c[r][1] += w[r] * x1;
        }
        w += 8;
        x += DFO_PANEL;
    }
}

/* One tile of dfoi_gemm: `rows` <= height outputs; b, residual, y at the tile's corner.  */
DFOI_INLINE void forward_tile(size_t height, size_t rows, size_t k, const dfo_real *w, const dfo_real *x,
                              const dfo_real *b, dfoi_act act, const dfo_real *residual, dfo_real *y)
{
    dfoi_vec c[ROWS][2];
UNROLL
    for (size_t r = 0; r < height; r++) {
        dfo_real start = b && r < rows ? b[r] : 0;
        c[r][0] = c[r][1] = start + (dfoi_vec){0};
    }
    accumulate(height, k, w, x, c);
UNROLL
    for (size_t r = 0; r < height; r++) {
        if (r >= rows)
            break;
UNROLL
        for (size_t h = 0; h < 2; h++) {
            size_t at = r * DFO_PANEL + h * DFOI_VL;
            dfoi_vec v = c[r][h];
            if (act == DFOI_ACT_RELU)                         /* NaN stays */
                v = keep(~(v < 0), v);
            if (act == DFOI_ACT_LEAKY_RELU)
                v = keep(~(v < 0), v) + keep(v < 0, LEAK * v);
            if (residual)
                v += dfoi_load(residual + at);
            dfoi_store(y + at, v);
        }
    }
}

/* The same of dfoi_gemm_back.  */
DFOI_INLINE void back_tile(size_t height, size_t rows, size_t k, const dfo_real *w, const dfo_real *gy,
                           const dfo_real *mask, const dfo_real *add, dfo_real *gx)
{
    dfoi_vec c[ROWS][2] = {{{0}}};
    accumulate(height, k, w, gy, c);
UNROLL
    for (size_t r = 0; r < height; r++) {
        if (r >= rows)
            break;
UNROLL
        for (size_t h = 0; h < 2; h++) {
            size_t at = r * DFO_PANEL + h * DFOI_VL;
            dfoi_vec v = c[r][h];
            if (mask)
                v = keep(dfoi_load(mask + at) > 0, v);
            if (add)
                v += dfoi_load(add + at);
            dfoi_store(gx + at, v);
        }
    }
}

/* All tiles; the last rows take a tile of half the height if they fit in.  The panel's columns stand
 * outside: a strip of X stays in the first cache while the weights stream by.  */
#define TILES(m, k, packed, tile, ...)                                                       \
    for (size_t l = 0; l < DFO_PANEL; l += COLUMNS)                                          \
        for (size_t i = 0; i < (m); i += ROWS) {                                             \
            const dfo_real *w = (packed) + (i & ~(size_t)7) * (k) + (i & 7);                 \
            size_t at = i * DFO_PANEL + l;                                                   \
            if ((m) - i >= ROWS)                                                             \
                tile(ROWS, ROWS, k, w, __VA_ARGS__);                                         \
            else if ((m) - i > ROWS / 2)                                                     \
                tile(ROWS, (m) - i, k, w, __VA_ARGS__);                                      \
            else                                                                             \
                tile(ROWS / 2, (m) - i, k, w, __VA_ARGS__);                                  \
        }

#define FORWARD(act, residual)                                                               \
    TILES(m, k, packed, forward_tile, x + l, b ? b + i : NULL, act, residual, y + at)

static void gemm(size_t m, size_t k, const dfo_real *packed, const dfo_real *x, const dfo_real *b,
                 dfoi_act act, const dfo_real *residual, dfo_real *y)
{
    if (act == DFOI_ACT_RELU && residual)
        FORWARD(DFOI_ACT_RELU, residual + at)
    else if (act == DFOI_ACT_RELU)
        FORWARD(DFOI_ACT_RELU, NULL)
    else if (act == DFOI_ACT_LEAKY_RELU)
        FORWARD(DFOI_ACT_LEAKY_RELU, residual ? residual + at : NULL)
    else if (residual)
        FORWARD(DFOI_ACT_NONE, residual + at)
    else
        FORWARD(DFOI_ACT_NONE, NULL)
}

#define BACK(mask, add) TILES(k, m, packed_t, back_tile, gy + l, mask, add, gx + at)

static void gemm_back(size_t m, size_t k, const dfo_real *packed_t, const dfo_real *gy,
                      const dfo_real *mask, const dfo_real *add, dfo_real *gx)
{
    if (mask && add)
        BACK(mask + at, add + at)
    else if (mask)
        BACK(mask + at, NULL)
    else if (add)
        BACK(NULL, add + at)
    else
        BACK(NULL, NULL)
}

/* Rows of panel x, k of them, to blocks of COLUMNS features: t[block][64][COLUMNS]; zeros behind k.  */
static void transpose_panel(size_t k, const dfo_real *x, dfo_real *t)
{
    for (size_t j = 0; j < k; j += COLUMNS, t += COLUMNS * DFO_PANEL)
        for (size_t c = 0; c < COLUMNS; c += DFOI_TL)
            for (size_t l = 0; l < DFO_PANEL; l += DFOI_TL) {
                dfoi_tvec tile[DFOI_TL];
                size_t have = j + c < k ? k - j - c : 0;
                const dfo_real *from = x + (j + c) * DFO_PANEL + l;
                if (have >= DFOI_TL) {
#pragma GCC unroll 16
                    for (size_t r = 0; r < DFOI_TL; r++)
                        tile[r] = *(const dfoi_tvec *)(from + r * DFO_PANEL);
                } else {
                    memset(tile, 0, sizeof tile);
                    for (size_t r = 0; r < have; r++)
                        tile[r] = *(const dfoi_tvec *)(from + r * DFO_PANEL);
                }
                dfoi_transpose(tile);
#pragma GCC unroll 16
                for (size_t r = 0; r < DFOI_TL; r++)
                    *(dfoi_tvec *)(t + (l + r) * COLUMNS + c) = tile[r];
            }
}

/* Adds the tile GY X^T of `rows` outputs and `columns` inputs to gw.  height >= rows outputs and
 * `width` vectors of inputs are computed: constants where this is expanded.  */
DFOI_INLINE void grad_tile(size_t height, size_t width, size_t rows, size_t columns, const dfo_real *gy,
                           const dfo_real *t, dfo_real *gw, size_t ldgw)
{
    dfoi_vec c[ROWS][2] = {{{0}}};
    for (size_t l = 0; l < DFO_PANEL; l++) {
        dfoi_vec x0 = dfoi_load(t + l * COLUMNS);
        dfoi_vec x1 = width > 1 ? dfoi_load(t + l * COLUMNS + DFOI_VL) : x0;
UNROLL
        for (size_t r = 0; r < height; r++) {
            c[r][0] += gy[r * DFO_PANEL + l] * x0;
            if (width > 1)
                c[r][1] += gy[r * DFO_PANEL + l] * x1;
        }
    }
UNROLL
    for (size_t r = 0; r < height; r++) {
        if (r >= rows)
            break;
UNROLL
        for (size_t h = 0; h < width; h++) {
            dfo_real *out = gw + r * ldgw + h * DFOI_VL;
            if (columns >= (h + 1) * DFOI_VL) {
                dfoi_storeu(out, dfoi_loadu(out) + c[r][h]);
            } else if (columns > h * DFOI_VL) {
                dfo_real spill[DFOI_VL] __attribute__((aligned(DFOI_VBYTES)));
                dfoi_store(spill, c[r][h]);
                for (size_t j = 0; j < columns - h * DFOI_VL; j++)
                    out[j] += spill[j];
            }
        }
    }
}

/* Sums of the panel's rows, added to gb: a tile of vectors transposed, so that lanes are added in order.  */
static void add_row_sums(size_t m, const dfo_real *gy, dfo_real *gb)
{
    for (size_t i = 0; i < m; i += DFOI_TL) {
        size_t rows = m - i < DFOI_TL ? m - i : DFOI_TL;
        dfo_real sum[DFOI_TL];
        dfoi_tvec tile[DFOI_TL] = {{0}}, total = {0};
        for (size_t r = 0; r < rows; r++)
#pragma GCC unroll 32
            for (size_t l = 0; l < DFO_PANEL; l += DFOI_TL)
                tile[r] += *(const dfoi_tvec *)(gy + (i + r) * DFO_PANEL + l);
        dfoi_transpose(tile);
#pragma GCC unroll 16
        for (size_t l = 0; l < DFOI_TL; l++)
            total += tile[l];
        memcpy(sum, &total, sizeof sum);
        for (size_t r = 0; r < rows; r++)
            gb[i + r] += sum[r];
    }
}

static void gemm_grad(size_t m, size_t k, const dfo_real *gy, const dfo_real *x, dfo_real *gw, size_t ldgw,
                      dfo_real *gb, dfo_real *scratch)
{
    transpose_panel(k, x, scratch);
    for (size_t i = 0; i < m; i += ROWS) {
        dfo_real last[ROWS * DFO_PANEL] __attribute__((aligned(64)));
        const dfo_real *g = gy + i * DFO_PANEL;
        size_t rows = m - i < ROWS ? m - i : ROWS;
        if (rows < ROWS) {                                    /* GY ends here: read a copy */
            memset(last, 0, sizeof last);
            memcpy(last, g, rows * DFO_PANEL * sizeof *g);
            g = last;
        }
        for (size_t j = 0; j < k; j += COLUMNS) {
            const dfo_real *t = scratch + j * DFO_PANEL;
            dfo_real *out = gw + i * ldgw + j;
            size_t columns = k - j;
            if (rows == ROWS && columns >= COLUMNS)
                grad_tile(ROWS, 2, ROWS, COLUMNS, g, t, out, ldgw);
            else if (rows == ROWS && columns <= DFOI_VL)
                grad_tile(ROWS, 1, ROWS, columns, g, t, out, ldgw);
            else if (rows <= ROWS / 2)
                grad_tile(ROWS / 2, 2, rows, columns, g, t, out, ldgw);
            else
                grad_tile(ROWS, 2, rows, columns, g, t, out, ldgw);
        }
    }
    if (gb)
        add_row_sums(m, gy, gb);
}

const struct dfoi_gemm_kernels DFOI_TABLE(dfoi_gemm_kernels) = {DFOI_GEMM_LIST(DFOI_FILL)};
