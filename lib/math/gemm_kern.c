/* Weights times a panel of 64 rows, and its gradients; compiled per instruction set (see isa_impl.h),
 * with fused multiply-add.  A tile of ROWS outputs by 2 vectors of panel rows stays in registers while
 * k runs: 16 accumulators of 32 with AVX-512; 8 of 16 below it.  Forward reads the weights as they lie,
 * ROWS of their rows side by side; the transposed product copies 16 columns at a time into scratch
 * first, since what lies one row apart would fall into few cache sets.  What stands around the product
 * (bias, relu, residual, mask) happens on the accumulators.  Of stairs a tile takes what its first row sees at full speed,
 * and the few inputs that only its later rows see with zeros for the others.  */
#include <string.h>

#include "math/kern_table.h"
#include "math/vec_impl.h"

#if DFOI_VBYTES == 64
#define ROWS 8
#else
#define ROWS 4
#endif
#define COLUMNS (2 * DFOI_VL)             /* panel rows of a tile */
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

/* Where a tile's weights stand: output r's for input j at row[r][j], or, if copied (a constant too), at
 * row[0][j ROWS + r].  */
struct tile {
    const dfo_real *row[ROWS];
    size_t ahead;                          /* from a row to the one that is needed ROWS outputs later */
};

DFOI_INLINE void step(size_t height, int copied, const struct tile *w, size_t j, const dfo_real *x, dfoi_vec c[ROWS][2])
{
    dfoi_vec x0 = dfoi_load(x), x1 = dfoi_load(x + DFOI_VL);
UNROLL
    for (size_t r = 0; r < height; r++) {
        dfo_real v = copied ? w->row[0][j * ROWS + r] : w->row[r][j];
        c[r][0] += v * x0;
        c[r][1] += v * x1;
    }
}

#define AHEAD (64 / sizeof(dfo_real))      /* weights in a cache line */

/* c[r][.] += sum over j < k of the tile's weights times x[j stride + .], r < height (constants where this is
 * expanded, as in all that follows).  The next tile's rows are asked for on the way.  */
DFOI_INLINE void accumulate(size_t height, int copied, size_t k, const struct tile *w, const dfo_real *x, dfoi_vec c[ROWS][2])
{
    size_t j = 0;
    for (; k - j >= AHEAD; j += AHEAD) {
        if (!copied) {
UNROLL
            for (size_t r = 0; r < height; r++)
                __builtin_prefetch(w->row[r] + w->ahead + j);
        }
#pragma GCC unroll 16
        for (size_t q = 0; q < AHEAD; q++)
            step(height, copied, w, j + q, x + q * DFO_PANEL, c);
        x += AHEAD * DFO_PANEL;
    }
    for (; j < k; j++, x += DFO_PANEL)
        step(height, copied, w, j, x, c);
}

/* What rows of a tile see beyond the first row's inputs: reach is at the tile's first row.  */
DFOI_INLINE void accumulate_steps(size_t height, size_t rows, const size_t *reach, const struct tile *w,
                                  const dfo_real *x, dfoi_vec c[ROWS][2])
{
    for (size_t j = reach[0]; j < reach[rows - 1]; j++) {
        dfoi_vec x0 = dfoi_load(x + j * DFO_PANEL), x1 = dfoi_load(x + j * DFO_PANEL + DFOI_VL);
UNROLL
        for (size_t r = 0; r < height; r++) {
            dfo_real v = r < rows && j < reach[r] ? w->row[r][j] : 0;
            c[r][0] += v * x0;
            c[r][1] += v * x1;
        }
    }
}

/* The tile whose first output stands at w; rows behind the last of `rows` are read as the last.  */
DFOI_INLINE struct tile tile_rows(size_t rows, const dfo_real *w, size_t ldw)
{
    struct tile t = {.ahead = ROWS * ldw};
UNROLL
    for (size_t r = 0; r < ROWS; r++)
        t.row[r] = w + (r < rows ? r : rows - 1) * ldw;
    return t;
}

/* One tile of dfoi_gemm: `rows` <= height outputs; b, residual, y at the tile's corner.  */
DFOI_INLINE void forward_tile(size_t height, size_t rows, size_t k, const size_t *reach, const struct tile *w,
                              const dfo_real *x, const dfo_real *b, dfoi_act act, const dfo_real *residual, dfo_real *y)
{
    dfoi_vec c[ROWS][2];
UNROLL
    for (size_t r = 0; r < height; r++) {
        dfo_real start = b && r < rows ? b[r] : 0;
        c[r][0] = c[r][1] = start + (dfoi_vec){0};
    }
    accumulate(height, 0, reach ? reach[0] : k, w, x, c);
    if (reach)
        accumulate_steps(height, rows, reach, w, x, c);
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
                v = keep(~(v < 0), v) + keep(v < 0, DFOI_LEAK * v);
            if (residual)
                v += dfoi_load(residual + at);
            dfoi_store(y + at, v);
        }
    }
}

/* The same of dfoi_gemm_tangent and dfoi_gemm_back.  */
DFOI_INLINE void masked_tile(size_t height, size_t rows, int copied, size_t k, const size_t *reach,
                             const struct tile *w, const dfo_real *x, const dfo_real *mask, const dfo_real *add, dfo_real *y)
{
    dfoi_vec c[ROWS][2] = {{{0}}};
    accumulate(height, copied, reach ? reach[0] : k, w, x, c);
    if (reach)
        accumulate_steps(height, rows, reach, w, x, c);
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
            dfoi_store(y + at, v);
        }
    }
}

/* A row of tiles: outputs i.. of m, all columns of the panels; the last rows take a tile of half the height
 * if they fit in.  A tile's weights stay in the first cache while the columns go by.  Operands are named by
 * p (which panel), l (first column) and `at` (the tile's corner).  */
#define TILE_ROW(m, i, at_row, expand, ...)                                                  \
    for (size_t p = 0; p < panels; p++)                                                      \
        for (size_t l = 0; l < DFO_PANEL; l += COLUMNS) {                                    \
            size_t at = (at_row) * DFO_PANEL + l;                                            \
            if ((m) - (i) >= ROWS)                                                           \
                expand(ROWS, ROWS, __VA_ARGS__);                                             \
            else if ((m) - (i) > ROWS / 2)                                                   \
                expand(ROWS, (m) - (i), __VA_ARGS__);                                        \
            else                                                                             \
                expand(ROWS / 2, (m) - (i), __VA_ARGS__);                                    \
        }

#define TILES(expand, ...)                                                                   \
    for (size_t i = 0; i < m; i += ROWS) {                                                   \
        const struct tile t = tile_rows(m - i < ROWS ? m - i : ROWS, w + i * ldw, ldw);      \
        TILE_ROW(m, i, i, expand, __VA_ARGS__)                                               \
    }

#define FORWARD(act, residual)                                                               \
    TILES(forward_tile, k, reach ? reach + i : NULL, &t, x[p] + l, b ? b + i : NULL, act, residual, y[p] + at)

static void gemm_stairs(size_t m, size_t k, const dfo_real *w, size_t ldw, const size_t *reach, size_t panels,
                        const dfo_real *const *x, const dfo_real *b, dfoi_act act,
                        const dfo_real *const *residual, dfo_real *const *y)
{
    if (act == DFOI_ACT_RELU && residual)
        FORWARD(DFOI_ACT_RELU, residual[p] + at)
    else if (act == DFOI_ACT_RELU)
        FORWARD(DFOI_ACT_RELU, NULL)
    else if (act == DFOI_ACT_LEAKY_RELU)
        FORWARD(DFOI_ACT_LEAKY_RELU, residual ? residual[p] + at : NULL)
    else if (residual)
        FORWARD(DFOI_ACT_NONE, residual[p] + at)
    else
        FORWARD(DFOI_ACT_NONE, NULL)
}

/* Adds to the lanes of `sum` what DFOI_TL outputs take of DFOI_TL inputs, of which there are `rows` and `wide`: their weights
 * are transposed, so that lanes are outputs.  */
DFOI_INLINE void alike_tile(size_t rows, size_t wide, const dfo_real *w, size_t ldw, const dfo_real *x, dfoi_tvec *sum)
{
    dfoi_tvec tile[DFOI_TL];
    if (rows == DFOI_TL && wide == DFOI_TL) {
#pragma GCC unroll 16
        for (size_t r = 0; r < DFOI_TL; r++)
            tile[r] = *(const dfoi_utvec *)(w + r * ldw);
    } else {
        memset(tile, 0, sizeof tile);
        for (size_t r = 0; r < rows; r++)
            memcpy(&tile[r], w + r * ldw, wide * sizeof *w);
    }
    dfoi_transpose(tile);
#pragma GCC unroll 16
    for (size_t q = 0; q < DFOI_TL; q++)
        if (q < wide)
            *sum += tile[q] * x[q * DFO_PANEL];
}

/* Two tiles of outputs at a time: the sums of one go on while those of the other wait.  */
static void gemm_alike(size_t m, size_t k, const dfo_real *w, size_t ldw, const dfo_real *x, const dfo_real *b, dfo_real *y)
{
    for (size_t i = 0; i < m; i += 2 * DFOI_TL) {
        dfo_real sum[2 * DFOI_TL] __attribute__((aligned(DFOI_TBYTES))) = {0};
        dfoi_tvec *half = (dfoi_tvec *)sum;
        size_t rows = m - i < 2 * DFOI_TL ? m - i : 2 * DFOI_TL;
        if (b)
            memcpy(sum, b + i, rows * sizeof *b);
        for (size_t j = 0; j < k; j += DFOI_TL)
            for (size_t h = 0; h < rows; h += DFOI_TL)
                alike_tile(rows - h < DFOI_TL ? rows - h : DFOI_TL, k - j < DFOI_TL ? k - j : DFOI_TL, w + (i + h) * ldw + j, ldw,
                           x + j * DFO_PANEL, half + h / DFOI_TL);
        for (size_t r = 0; r < rows; r++)
            for (size_t l = 0; l < DFO_PANEL; l += DFOI_VL)
                dfoi_store(y + (i + r) * DFO_PANEL + l, sum[r] + (dfoi_vec){0});
    }
}

#define TANGENT(mask, add) TILES(masked_tile, 0, k, reach ? reach + i : NULL, &t, x[p] + l, mask, add, y[p] + at)

static void gemm_tangent_stairs(size_t m, size_t k, const dfo_real *w, size_t ldw, const size_t *reach,
                                size_t panels, const dfo_real *const *x, const dfo_real *const *mask,
                                const dfo_real *const *add, dfo_real *const *y)
{
    if (mask && add)
        TANGENT(mask[p] + at, add[p] + at)
    else if (mask)
        TANGENT(mask[p] + at, NULL)
    else if (add)
        TANGENT(NULL, add[p] + at)
    else
        TANGENT(NULL, NULL)
}

/* `wide` <= 16 columns of W (m, .) to blocks of ROWS of them, each [m][ROWS]; zeros behind the last.  */
DFOI_INLINE void copy_columns(size_t m, size_t wide, const dfo_real *w, size_t ldw, dfo_real *copy)
{
    if (wide == DFOI_BACK_WIDE) {
        for (size_t j = 0; j < m; j++, w += ldw) {
            __builtin_prefetch(w + 8 * ldw);
UNROLL
            for (size_t r = 0; r < DFOI_BACK_WIDE; r += ROWS)
                memcpy(copy + r * m + j * ROWS, w + r, ROWS * sizeof *w);
        }
        return;
    }
    for (size_t r = 0; r < wide; r += ROWS)
        for (size_t j = 0; j < m; j++)
            for (size_t q = 0; q < ROWS; q++)
                copy[r * m + j * ROWS + q] = r + q < wide ? w[j * ldw + r + q] : 0;
}

/* Zeros where rows do not see all of the `wide` columns from `first` on; reach is that of the first row copied.  */
static void mask_columns(size_t m, size_t first, size_t wide, const size_t *reach, dfo_real *copy)
{
    for (size_t j = 0; j < m && reach[j] < first + wide; j++)
        for (size_t r = reach[j] - first; r < wide; r++)
            copy[r / ROWS * ROWS * m + j * ROWS + r % ROWS] = 0;
}

#define BACK(mask, add)                                                                      \
    for (size_t i = 0; i < wide; i += ROWS) {                                                \
        const struct tile t = {.row = {scratch + i * rows}};                                 \
        TILE_ROW(wide, i, first + i, masked_tile, 1, rows, NULL, &t, gy[p] + above * DFO_PANEL + l, mask, add, gx[p] + at) \
    }

/* Rows above the first that sees any of the columns are left out.  */
static void gemm_back_stairs(size_t m, size_t k, const dfo_real *w, size_t ldw, const size_t *reach, size_t panels,
                             const dfo_real *const *gy, const dfo_real *const *mask,
                             const dfo_real *const *add, dfo_real *const *gx, dfo_real *scratch)
{
    size_t above = 0;
    for (size_t first = 0; first < k; first += DFOI_BACK_WIDE) {
        size_t wide = k - first < DFOI_BACK_WIDE ? k - first : DFOI_BACK_WIDE;
        while (reach && above < m && reach[above] <= first)
            above++;
        size_t rows = m - above;
        copy_columns(rows, wide, w + above * ldw + first, ldw, scratch);
        if (reach)
            mask_columns(rows, first, wide, reach + above, scratch);
        if (mask && add)
            BACK(mask[p] + at, add[p] + at)
        else if (mask)
            BACK(mask[p] + at, NULL)
        else if (add)
            BACK(NULL, add[p] + at)
        else
            BACK(NULL, NULL)
    }
}

/* Rows of panel x, k of them, to blocks of COLUMNS features, `step` reals apart: t[block][64][COLUMNS];
 * zeros behind k.  */
static void transpose_panel(size_t k, const dfo_real *x, size_t step, dfo_real *t)
{
    for (size_t j = 0; j < k; j += COLUMNS, t += step)
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

/* Where gradients of a block of weights go: its rows from input `first` on; reach NULL: rows see all inputs.  */
struct grad_to {
    dfo_real *gw;
    size_t ldgw, first;
    const size_t *reach;
};

/* Inputs of row r from `first` on, at most `columns`.  */
DFOI_INLINE size_t seen(const struct grad_to *to, size_t r, size_t columns)
{
    if (!to->reach)
        return columns;
    size_t all = to->reach[r] > to->first ? to->reach[r] - to->first : 0;
    return all < columns ? all : columns;
}

/* Adds the tile GY X^T of `rows` outputs and `columns` inputs; gy: panels' rows of the tile.  height >=
 * rows outputs and `width` vectors of inputs are computed: constants where this is expanded.  */
DFOI_INLINE void grad_tile(size_t height, size_t width, size_t rows, size_t columns, size_t panels,
                           const dfo_real *const *gy, const dfo_real *t, const struct grad_to *to)
{
    dfoi_vec c[2 * ROWS][2] = {{{0}}};
#pragma GCC unroll 16
    for (size_t r = 0; r < height; r++)
        for (size_t h = 0; h < width * sizeof c[0][0]; h += 64)
            __builtin_prefetch((const char *)(to->gw + (r < rows ? r : rows - 1) * to->ldgw) + h, 1);
    for (size_t p = 0; p < panels; p++, t += COLUMNS * DFO_PANEL) {
        const dfo_real *g = gy[p];
        for (size_t l = 0; l < DFO_PANEL; l++) {
            dfoi_vec x0 = dfoi_load(t + l * COLUMNS);
            dfoi_vec x1 = width > 1 ? dfoi_load(t + l * COLUMNS + DFOI_VL) : x0;
#pragma GCC unroll 16
            for (size_t r = 0; r < height; r++) {
                c[r][0] += g[r * DFO_PANEL + l] * x0;
                if (width > 1)
                    c[r][1] += g[r * DFO_PANEL + l] * x1;
            }
        }
    }
#pragma GCC unroll 16
    for (size_t r = 0; r < height; r++) {
        if (r >= rows)
            break;
        size_t mine = seen(to, r, columns);
UNROLL
        for (size_t h = 0; h < width; h++) {
            dfo_real *out = to->gw + r * to->ldgw + h * DFOI_VL;
            if (mine >= (h + 1) * DFOI_VL) {
                dfoi_storeu(out, dfoi_loadu(out) + c[r][h]);
            } else if (mine > h * DFOI_VL) {
                dfo_real spill[DFOI_VL] __attribute__((aligned(DFOI_VBYTES)));
                dfoi_store(spill, c[r][h]);
                for (size_t j = 0; j < mine - h * DFOI_VL; j++)
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

/* Outputs i.. of a block, at most 2 ROWS of them: whole tiles, and one of twice the height where a vector of
 * inputs is left.  g: the block's rows of the panels.  */
DFOI_INLINE void grad_block(size_t rows, size_t k, const size_t *reach, size_t panels, const dfo_real *const *g,
                            const dfo_real *t, dfo_real *gw, size_t ldgw)
{
    for (size_t j = 0; j < k; j += COLUMNS, t += COLUMNS * DFO_PANEL * panels) {
        size_t columns = k - j;
        if (columns <= DFOI_VL) {
            const struct grad_to all = {gw + j, ldgw, j, reach};
            grad_tile(2 * ROWS, 1, rows, columns, panels, g, t, &all);
            continue;
        }
        for (size_t r = 0; r < rows; r += ROWS) {
            const dfo_real *half[DFOI_PANELS];
            const struct grad_to to = {gw + r * ldgw + j, ldgw, j, reach ? reach + r : NULL};
            for (size_t p = 0; p < panels; p++)
                half[p] = g[p] + r * DFO_PANEL;
            if (rows - r >= ROWS && columns >= COLUMNS)
                grad_tile(ROWS, 2, ROWS, COLUMNS, panels, half, t, &to);
            else if (rows - r > ROWS / 2)
                grad_tile(ROWS, 2, rows - r, columns, panels, half, t, &to);
            else
                grad_tile(ROWS / 2, 2, rows - r, columns, panels, half, t, &to);
        }
    }
}

static void gemm_grad_stairs(size_t m, size_t k, const size_t *reach, size_t panels, const dfo_real *const *gy,
                             const dfo_real *const *x, dfo_real *gw, size_t ldgw, dfo_real *gb,
                             dfo_real *scratch)
{
    for (size_t p = 0; p < panels; p++)
        transpose_panel(k, x[p], COLUMNS * DFO_PANEL * panels, scratch + p * COLUMNS * DFO_PANEL);
    for (size_t i = 0; i < m; i += 2 * ROWS) {
        dfo_real last[DFOI_PANELS][2 * ROWS * DFO_PANEL] __attribute__((aligned(64)));
        const dfo_real *g[DFOI_PANELS];
        size_t rows = m - i < 2 * ROWS ? m - i : 2 * ROWS;
        for (size_t p = 0; p < panels; p++) {
            g[p] = gy[p] + i * DFO_PANEL;
            if (rows < 2 * ROWS) {                            /* GY ends here: read a copy */
                memset(last[p], 0, sizeof last[p]);
                memcpy(last[p], g[p], rows * DFO_PANEL * sizeof *gw);
                g[p] = last[p];
            }
        }
        grad_block(rows, reach ? reach[i + rows - 1] : k, reach ? reach + i : NULL, panels, g, scratch, gw + i * ldgw, ldgw);
    }
    for (size_t p = 0; gb && p < panels; p++)
        add_row_sums(m, gy[p], gb);
}

const struct dfoi_gemm_kernels DFOI_TABLE(dfoi_gemm_kernels) = {DFOI_GEMM_LIST(DFOI_FILL)};
