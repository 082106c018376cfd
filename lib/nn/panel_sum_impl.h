/* The sum over the rows of a panel for kernels of nets: in 16 lanes that are added in a fixed order, so that every instruction set
 * gives the same bits.  Private.  */
#ifndef DFOI_PANEL_SUM_IMPL_H
#define DFOI_PANEL_SUM_IMPL_H

#include <string.h>

#include "base/real_impl.h"
#include "math/gemm_impl.h"

static inline dfo_real dfoi_panel_sum(const dfo_real *x)
{
    enum { LANES = 16 };
    dfo_real lane[LANES];
    memcpy(lane, x, sizeof lane);
    for (size_t at = LANES; at < DFO_PANEL; at += LANES)
        for (size_t l = 0; l < LANES; l++)
            lane[l] += x[at + l];
    for (size_t half = LANES / 2; half; half /= 2)
        for (size_t l = 0; l < half; l++)
            lane[l] += lane[l + half];
    return lane[0];
}

#endif
