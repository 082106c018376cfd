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

const struct dfoi_panel_kernels DFOI_TABLE(dfoi_panel_kernels) = {DFOI_PANEL_LIST(DFOI_FILL)};
