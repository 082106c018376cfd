/* Rows to panels and back; compiled per instruction set (see isa_impl.h).
 * Whole tiles of consecutive columns are transposed in registers, the rest is moved one by one.  */
#include "math/kern_table.h"
#include "math/vec_impl.h"

/* Length of the run of consecutive columns that begins at j.  */
static size_t run_length(size_t d, const size_t *index, size_t j)
{
    size_t n = 1;
    if (!index)
        return d - j;
    while (j + n < d && index[j + n] == index[j] + n)
        n++;
    return n;
}

/* A tile: TL rows of x, TL columns, to and from the panel.  */
DFOI_INLINE void tile_in(const dfo_real *x, size_t ldx, dfo_real *panel)
{
    dfoi_tvec tile[DFOI_TL];
#pragma GCC unroll 16
    for (size_t r = 0; r < DFOI_TL; r++)
        tile[r] = *(const dfoi_utvec *)(x + r * ldx);
    dfoi_transpose(tile);
#pragma GCC unroll 16
    for (size_t r = 0; r < DFOI_TL; r++)
        *(dfoi_tvec *)(panel + r * DFO_PANEL) = tile[r];
}

DFOI_INLINE void tile_out(const dfo_real *panel, dfo_real *x, size_t ldx, int adding)
{
    dfoi_tvec tile[DFOI_TL];
#pragma GCC unroll 16
    for (size_t r = 0; r < DFOI_TL; r++)
        tile[r] = *(const dfoi_tvec *)(panel + r * DFO_PANEL);
    dfoi_transpose(tile);
#pragma GCC unroll 16
    for (size_t r = 0; r < DFOI_TL; r++) {
        dfoi_utvec *to = (dfoi_utvec *)(x + r * ldx);
        if (adding)
            *to += tile[r];
        else
            *to = tile[r];
    }
}

static void to_panel(size_t n, size_t d, const dfo_real *x, size_t ldx, const size_t *index, int zero_tail,
                     dfo_real *panel)
{
    size_t whole = n / DFOI_TL * DFOI_TL;
    for (size_t j = 0; j < d;) {
        size_t run = run_length(d, index, j), tiles = run / DFOI_TL * DFOI_TL;
        const dfo_real *from = x + (index ? index[j] : j);
        dfo_real *to = panel + j * DFO_PANEL;
        for (size_t c = 0; c < tiles; c += DFOI_TL)
            for (size_t i = 0; i < whole; i += DFOI_TL)
                tile_in(from + i * ldx + c, ldx, to + c * DFO_PANEL + i);
        for (size_t c = 0; c < run; c++)
            for (size_t i = c < tiles ? whole : 0; i < n; i++)
                to[c * DFO_PANEL + i] = from[i * ldx + c];
        j += run;
    }
    for (size_t j = 0; n < DFO_PANEL && j < d; j++) {
        dfo_real *p = panel + j * DFO_PANEL;
        dfo_real fill = n && !zero_tail ? p[n - 1] : 0;
        for (size_t i = n; i < DFO_PANEL; i++)
            p[i] = fill;
    }
}

DFOI_INLINE void out(size_t n, size_t d, const dfo_real *panel, const size_t *index, dfo_real *x, size_t ldx,
                     int adding)
{
    size_t whole = n / DFOI_TL * DFOI_TL;
    for (size_t j = 0; j < d;) {
        size_t run = run_length(d, index, j), tiles = run / DFOI_TL * DFOI_TL;
        dfo_real *to = x + (index ? index[j] : j);
        const dfo_real *from = panel + j * DFO_PANEL;
        for (size_t i = 0; i < whole; i += DFOI_TL)
            for (size_t c = 0; c < tiles; c += DFOI_TL)
                tile_out(from + c * DFO_PANEL + i, to + i * ldx + c, ldx, adding);
        for (size_t i = 0; i < n; i++)
            for (size_t c = i < whole ? tiles : 0; c < run; c++) {
                dfo_real v = from[c * DFO_PANEL + i];
                to[i * ldx + c] = adding ? to[i * ldx + c] + v : v;
            }
        j += run;
    }
}

static void from_panel(size_t n, size_t d, const dfo_real *panel, const size_t *index, dfo_real *x, size_t ldx)
{
    out(n, d, panel, index, x, ldx, 0);
}

static void from_panel_add(size_t n, size_t d, const dfo_real *panel, const size_t *index, dfo_real *x,
                           size_t ldx)
{
    out(n, d, panel, index, x, ldx, 1);
}

typedef dfo_real quad __attribute__((vector_size(4 * sizeof(dfo_real)), may_alias, aligned(sizeof(dfo_real))));

/* Four rows of four, transposed.  */
DFOI_INLINE void transpose_quad(quad *v)
{
    quad a = __builtin_shufflevector(v[0], v[1], 0, 4, 1, 5), b = __builtin_shufflevector(v[0], v[1], 2, 6, 3, 7);
    quad c = __builtin_shufflevector(v[2], v[3], 0, 4, 1, 5), d = __builtin_shufflevector(v[2], v[3], 2, 6, 3, 7);
    v[0] = __builtin_shufflevector(a, c, 0, 1, 4, 5);
    v[1] = __builtin_shufflevector(a, c, 2, 3, 6, 7);
    v[2] = __builtin_shufflevector(b, d, 0, 1, 4, 5);
    v[3] = __builtin_shufflevector(b, d, 2, 3, 6, 7);
}

static void spread(size_t n, size_t w, const dfo_real *x, size_t ldx, dfo_real *to, ptrdiff_t step)
{
    size_t rows = n / 4 * 4, wide = w / 4 * 4;
    for (size_t i = 0; i < rows; i += 4)
        for (size_t j = 0; j < wide; j += 4) {
            quad v[4];
            for (size_t r = 0; r < 4; r++)
                v[r] = *(const quad *)(x + (i + r) * ldx + j);
            transpose_quad(v);
            for (size_t r = 0; r < 4; r++)
                *(quad *)(to + (ptrdiff_t)(j + r) * step + (ptrdiff_t)i) = v[r];
        }
    for (size_t j = 0; j < w; j++)
        for (size_t i = j < wide ? rows : 0; i < n; i++)
            to[(ptrdiff_t)j * step + (ptrdiff_t)i] = x[i * ldx + j];
}

static void collect(size_t n, size_t w, const dfo_real *from, ptrdiff_t step, dfo_real *x, size_t ldx)
{
    size_t rows = n / 4 * 4, wide = w / 4 * 4;
    for (size_t i = 0; i < rows; i += 4)
        for (size_t j = 0; j < wide; j += 4) {
            quad v[4];
            for (size_t r = 0; r < 4; r++)
                v[r] = *(const quad *)(from + (ptrdiff_t)(j + r) * step + (ptrdiff_t)i);
            transpose_quad(v);
            for (size_t r = 0; r < 4; r++)
                *(quad *)(x + (i + r) * ldx + j) = v[r];
        }
    for (size_t j = 0; j < w; j++)
        for (size_t i = j < wide ? rows : 0; i < n; i++)
            x[i * ldx + j] = from[(ptrdiff_t)j * step + (ptrdiff_t)i];
}

const struct dfoi_panel_kernels DFOI_TABLE(dfoi_panel_kernels) = {DFOI_PANEL_LIST(DFOI_FILL)};
