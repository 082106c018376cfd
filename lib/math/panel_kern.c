/* Packing of weights, and rows to panels and back; compiled per instruction set (see isa_impl.h).  */
#include "math/kern_table.h"

/* Packed: blocks of 8 rows, each [k][8]; the last block is filled with zeros.  */
static void gemm_pack(size_t m, size_t k, const dfo_real *w, size_t ldw, int transpose, dfo_real *packed)
{
    size_t row = transpose ? 1 : ldw, column = transpose ? ldw : 1;
    for (size_t i = 0; i < m; i += 8)
        for (size_t j = 0; j < k; j++)
            for (size_t r = 0; r < 8; r++)
                *packed++ = i + r < m ? w[(i + r) * row + j * column] : 0;
}

static void to_panel(size_t n, size_t d, const dfo_real *x, size_t ldx, const size_t *index,
                     int zero_tail, dfo_real *panel)
{
    for (size_t j = 0; j < d; j++) {
        const dfo_real *column = x + (index ? index[j] : j);
        dfo_real *p = panel + j * DFO_PANEL;
        for (size_t i = 0; i < n; i++)
            p[i] = column[i * ldx];
        dfo_real fill = n && !zero_tail ? p[n - 1] : 0;
        for (size_t i = n; i < DFO_PANEL; i++)
            p[i] = fill;
    }
}

static void from_panel(size_t n, size_t d, const dfo_real *panel, const size_t *index, dfo_real *x, size_t ldx)
{
    for (size_t j = 0; j < d; j++) {
        dfo_real *column = x + (index ? index[j] : j);
        for (size_t i = 0; i < n; i++)
            column[i * ldx] = panel[j * DFO_PANEL + i];
    }
}

static void from_panel_add(size_t n, size_t d, const dfo_real *panel, const size_t *index, dfo_real *x,
                           size_t ldx)
{
    for (size_t j = 0; j < d; j++) {
        dfo_real *column = x + (index ? index[j] : j);
        for (size_t i = 0; i < n; i++)
            column[i * ldx] += panel[j * DFO_PANEL + i];
    }
}

const struct dfoi_panel_kernels DFOI_TABLE(dfoi_panel_kernels) = {DFOI_PANEL_LIST(DFOI_FILL)};
