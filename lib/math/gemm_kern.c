/* Packed weights times a panel of 64 rows, and its two gradients; compiled per instruction set.  */
#include "math/kern_table.h"

static void product(size_t m, size_t k, const dfo_real *packed, const dfo_real *x, size_t i, dfo_real sum[DFO_PANEL])
{
    (void)m;
    for (size_t l = 0; l < DFO_PANEL; l++)
        sum[l] = 0;
    for (size_t j = 0; j < k; j++) {
        dfo_real w = packed[(i / 8 * k + j) * 8 + i % 8];
        for (size_t l = 0; l < DFO_PANEL; l++)
            sum[l] += w * x[j * DFO_PANEL + l];
    }
}

static void gemm(size_t m, size_t k, const dfo_real *packed, const dfo_real *x, const dfo_real *b,
                 dfoi_act act, const dfo_real *residual, dfo_real *y)
{
    for (size_t i = 0; i < m; i++) {
        dfo_real sum[DFO_PANEL];
        product(m, k, packed, x, i, sum);
        for (size_t l = 0; l < DFO_PANEL; l++) {
            dfo_real v = sum[l] + (b ? b[i] : 0);
            if (act == DFOI_ACT_RELU && v < 0)
                v = 0;
            if (act == DFOI_ACT_LEAKY_RELU && v < 0)
                v *= (dfo_real)0.01;
            y[i * DFO_PANEL + l] = residual ? v + residual[i * DFO_PANEL + l] : v;
        }
    }
}

static void gemm_back(size_t m, size_t k, const dfo_real *packed_t, const dfo_real *gy,
                      const dfo_real *mask, const dfo_real *add, dfo_real *gx)
{
    for (size_t j = 0; j < k; j++) {
        dfo_real sum[DFO_PANEL];
        product(k, m, packed_t, gy, j, sum);
        for (size_t l = 0; l < DFO_PANEL; l++) {
            size_t at = j * DFO_PANEL + l;
            dfo_real v = !mask || mask[at] > 0 ? sum[l] : 0;
            gx[at] = add ? v + add[at] : v;
        }
    }
}

static void gemm_grad(size_t m, size_t k, const dfo_real *gy, const dfo_real *x, dfo_real *gw, size_t ldgw,
                      dfo_real *gb, dfo_real *scratch)
{
    (void)scratch;
    for (size_t i = 0; i < m; i++) {
        for (size_t j = 0; j < k; j++) {
            dfo_real sum = 0;
            for (size_t l = 0; l < DFO_PANEL; l++)
                sum += gy[i * DFO_PANEL + l] * x[j * DFO_PANEL + l];
            gw[i * ldgw + j] += sum;
        }
        dfo_real sum = 0;
        for (size_t l = 0; l < DFO_PANEL; l++)
            sum += gy[i * DFO_PANEL + l];
        if (gb)
            gb[i] += sum;
    }
}

const struct dfoi_gemm_kernels DFOI_TABLE(dfoi_gemm_kernels) = {DFOI_GEMM_LIST(DFOI_FILL)};
