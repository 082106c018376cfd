/* Philox4x32-10 (Salmon et al. 2011) in the lanes of vectors, one block a 64-bit lane: Random123's words (rng.c, tested).  For
 * kernels, compiled per instruction set.  Private.  */
#ifndef DFOI_PHILOX_IMPL_H
#define DFOI_PHILOX_IMPL_H

#ifdef __x86_64__
#include <immintrin.h>
#endif
#include <stdint.h>

#include <diffeo/rng.h>

typedef uint64_t dfoi_words __attribute__((vector_size(DFOI_VBYTES)));
#define DFOI_WORDS (sizeof(dfoi_words) / 8)

/* Products of the lanes' low 32 bits.  */
static inline dfoi_words dfoi_low_product(dfoi_words a, dfoi_words b)
{
#if defined __x86_64__ && DFOI_VBYTES == 64
    return (dfoi_words)_mm512_mul_epu32((__m512i)a, (__m512i)b);
#elif defined __x86_64__ && DFOI_VBYTES == 32
    return (dfoi_words)_mm256_mul_epu32((__m256i)a, (__m256i)b);
#elif defined __x86_64__
    return (dfoi_words)_mm_mul_epu32((__m128i)a, (__m128i)b);
#else
    return (a & 0xffffffff) * (b & 0xffffffff);
#endif
}

/* Block index[l] of the stream of row[l] (key's row plays no part): its four words, each in the low half of its lane.  */
static inline void dfoi_philox_lanes(dfo_key key, dfoi_words index, dfoi_words row, dfoi_words word[4])
{
    const dfoi_words zero = {0}, m0 = 0xD2511F53u - zero, m1 = 0xCD9E8D57u - zero;
    dfoi_words a = index, b = row, c = (row >> 32 & 0xffff) | (((uint64_t)key.purpose << 16) - zero), d = key.step - zero;
    uint32_t k0 = (uint32_t)key.seed, k1 = (uint32_t)(key.seed >> 32);
#pragma GCC unroll 10
    for (int round = 0; round < 10; round++) {
        dfoi_words p0 = dfoi_low_product(a, m0), p1 = dfoi_low_product(c, m1);
        a = (p1 >> 32) ^ b ^ ((uint64_t)k0 - zero);
        b = p1;
        c = (p0 >> 32) ^ d ^ ((uint64_t)k1 - zero);
        d = p0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    word[0] = a;
    word[1] = b;
    word[2] = c;
    word[3] = d;
}

#endif
