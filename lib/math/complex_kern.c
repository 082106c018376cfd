/* Products of complex matrices, 16 of them side by side (frequencies, say); compiled per instruction set (see
 * isa_impl.h), with fused multiply-add.  A tile of OUTPUTS by 4 rows stays in registers while the inputs run: 16
 * accumulators of 32 with AVX-512; 8 of 16 below it.  */
#include "math/kern_table.h"
#include "math/vec_impl.h"

#if DFOI_VBYTES == 64
#define OUTPUTS 2
#else
#define OUTPUTS 1
#endif
#define ROWS 4
#define UNROLL _Pragma("GCC unroll 8")

/* outputs and rows are constants.  */
DFOI_INLINE void tile(const dfoi_complex *how, size_t outputs, size_t rows, const dfo_real *k, const dfo_real *x, dfo_real *y)
{
    dfoi_vec re[OUTPUTS][ROWS], im[OUTPUTS][ROWS];
    dfo_real sign = how->negative ? -1 : 1, turn = how->conjugate ? -sign : sign;
    UNROLL for (size_t o = 0; o < outputs; o++)
        UNROLL for (size_t r = 0; r < rows; r++) {
            const dfo_real *from = y + o * how->y_output + r * how->y_row;
            re[o][r] = how->add ? dfoi_load(from) : (dfoi_vec){0};
            im[o][r] = how->add ? dfoi_load(from + DFOI_COMPLEX) : (dfoi_vec){0};
        }
    for (size_t i = 0; i < how->inputs; i++) {
        dfoi_vec kr[OUTPUTS], ki[OUTPUTS];
        UNROLL for (size_t o = 0; o < outputs; o++) {
            const dfo_real *from = k + o * how->k_output + i * how->k_input;
            kr[o] = sign * dfoi_load(from);
            ki[o] = turn * dfoi_load(from + DFOI_COMPLEX);
        }
        UNROLL for (size_t r = 0; r < rows; r++) {
            const dfo_real *from = x + r * how->x_row + i * how->x_input;
            dfoi_vec xr = dfoi_load(from), xi = dfoi_load(from + DFOI_COMPLEX);
            UNROLL for (size_t o = 0; o < outputs; o++) {
                re[o][r] += kr[o] * xr;
                im[o][r] += kr[o] * xi;
                re[o][r] -= ki[o] * xi;
                im[o][r] += ki[o] * xr;
            }
        }
    }
    UNROLL for (size_t o = 0; o < outputs; o++)
        UNROLL for (size_t r = 0; r < rows; r++) {
            dfo_real *to = y + o * how->y_output + r * how->y_row;
            dfoi_store(to, re[o][r]);
            dfoi_store(to + DFOI_COMPLEX, im[o][r]);
        }
}

DFOI_INLINE void band(const dfoi_complex *how, size_t outputs, const dfo_real *k, const dfo_real *x, dfo_real *y)
{
    size_t r = 0;
    for (; r + ROWS <= how->rows; r += ROWS)
        tile(how, outputs, ROWS, k, x + r * how->x_row, y + r * how->y_row);
    for (; r < how->rows; r++)
        tile(how, outputs, 1, k, x + r * how->x_row, y + r * how->y_row);
}

static void complex_product(const dfoi_complex *how, const dfo_real *k, const dfo_real *x, dfo_real *y)
{
    size_t o = 0;
    for (size_t f = 0; f < DFOI_COMPLEX; f += DFOI_VL, o = 0, k += DFOI_VL, x += DFOI_VL, y += DFOI_VL) {
        for (; o + OUTPUTS <= how->outputs; o += OUTPUTS)
            band(how, OUTPUTS, k + o * how->k_output, x, y + o * how->y_output);
        for (; o < how->outputs; o++)
            band(how, 1, k + o * how->k_output, x, y + o * how->y_output);
    }
}

const struct dfoi_complex_kernels DFOI_TABLE(dfoi_complex_kernels) = {DFOI_COMPLEX_LIST(DFOI_FILL)};
