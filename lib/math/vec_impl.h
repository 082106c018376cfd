/* Vectors of the instruction set being compiled (GNU C), and the transpose of a square tile in
 * registers.  For sources of LIB_KERN and LIB_GEMM.  Private.  */
#ifndef DFOI_VEC_IMPL_H
#define DFOI_VEC_IMPL_H

#include <stddef.h>
#include <stdint.h>
#include "base/real_impl.h"

#define DFOI_INLINE static inline __attribute__((always_inline))

typedef dfo_real dfoi_vec __attribute__((vector_size(DFOI_VBYTES), may_alias));
typedef dfo_real dfoi_uvec __attribute__((vector_size(DFOI_VBYTES), may_alias, aligned(sizeof(dfo_real))));
#define DFOI_VL (DFOI_VBYTES / sizeof(dfo_real))          /* lanes */

DFOI_INLINE dfoi_vec dfoi_load(const dfo_real *p)         /* aligned to DFOI_VBYTES */
{
    return *(const dfoi_vec *)p;
}

DFOI_INLINE dfoi_vec dfoi_loadu(const dfo_real *p)
{
    return *(const dfoi_uvec *)p;
}

DFOI_INLINE void dfoi_store(dfo_real *p, dfoi_vec v)
{
    *(dfoi_vec *)p = v;
}

DFOI_INLINE void dfoi_storeu(dfo_real *p, dfoi_vec v)
{
    *(dfoi_uvec *)p = v;
}

/* Integers as wide as the lanes: masks of all bits or none.  */
#ifdef DFO_DOUBLE
typedef int64_t dfoi_mask;
#else
typedef int32_t dfoi_mask;
#endif
typedef dfoi_mask dfoi_masks __attribute__((vector_size(DFOI_VBYTES), may_alias));

DFOI_INLINE dfoi_vec dfoi_masked(const dfoi_mask *mask, dfoi_vec v)
{
    return (dfoi_vec)((dfoi_masks)v & *(const dfoi_masks *)mask);
}

/* Transposes: tiles of DFOI_TL x DFOI_TL.  Rounds of interleaving rows i and i + TL/2 transpose a tile;
 * AVX-512 interleaves whole vectors in one instruction, below it 128 bits are the natural width.  */
#if DFOI_VBYTES == 64
#define DFOI_TBYTES 64
#else
#define DFOI_TBYTES 16
#endif
#define DFOI_TL (DFOI_TBYTES / sizeof(dfo_real))
typedef dfo_real dfoi_tvec __attribute__((vector_size(DFOI_TBYTES), may_alias));
typedef dfo_real dfoi_utvec __attribute__((vector_size(DFOI_TBYTES), may_alias, aligned(sizeof(dfo_real))));
#if DFOI_TBYTES == 64 && !defined DFO_DOUBLE
#define DFOI_LOW_LANES 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define DFOI_HIGH_LANES 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#define DFOI_ROUNDS 4
#elif DFOI_TBYTES == 64
#define DFOI_LOW_LANES 0, 8, 1, 9, 2, 10, 3, 11
#define DFOI_HIGH_LANES 4, 12, 5, 13, 6, 14, 7, 15
#define DFOI_ROUNDS 3
#elif !defined DFO_DOUBLE
#define DFOI_LOW_LANES 0, 4, 1, 5
#define DFOI_HIGH_LANES 2, 6, 3, 7
#define DFOI_ROUNDS 2
#else
#define DFOI_LOW_LANES 0, 2
#define DFOI_HIGH_LANES 1, 3
#define DFOI_ROUNDS 1
#endif

DFOI_INLINE void dfoi_transpose_round(const dfoi_tvec *in, dfoi_tvec *out)
{
#pragma GCC unroll 16
    for (size_t i = 0; i < DFOI_TL / 2; i++) {
        out[2 * i] = __builtin_shufflevector(in[i], in[i + DFOI_TL / 2], DFOI_LOW_LANES);
        out[2 * i + 1] = __builtin_shufflevector(in[i], in[i + DFOI_TL / 2], DFOI_HIGH_LANES);
    }
}

/* tile[c][r] becomes tile[r][c].  */
DFOI_INLINE void dfoi_transpose(dfoi_tvec tile[DFOI_TL])
{
    dfoi_tvec other[DFOI_TL];
    dfoi_transpose_round(tile, other);
#if DFOI_ROUNDS > 1
    dfoi_transpose_round(other, tile);
#endif
#if DFOI_ROUNDS > 2
    dfoi_transpose_round(tile, other);
#endif
#if DFOI_ROUNDS > 3
    dfoi_transpose_round(other, tile);
#endif
#if DFOI_ROUNDS % 2
    __builtin_memcpy(tile, other, sizeof other);
#endif
}

#endif
