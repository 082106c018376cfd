/* Philox4x32-10 over many blocks at once, and uniforms and normals from its words; compiled per
 * instruction set (see isa_impl.h); the same words as Random123's philox4x32 (rng.c, tested).
 * A block of four words gives two draws.  Uniform: (k + 1/2) 2^-b from the top bits of a pair of words
 * (b = 52; float: 23, so that 0 and 1 do not occur).  Normal: Box and Muller's r cos, r sin with r =
 * sqrt(-2 log u); u has 52 bits (float: its logarithm to full precision near 0 and near 1), so tails
 * reach 8.5 sigma.  The float draws are the double ones, rounded, but for a few units in the last place. */
#ifdef __x86_64__
#include <immintrin.h>
#endif
#include <string.h>

#include "math/fun_impl.h"
#include "math/kern_table.h"

#define BATCH 64                          /* blocks at a time */
#define WHOLE 16                          /* fewer are made up to whole vectors */
typedef uint64_t words __attribute__((vector_size(DFOI_VBYTES)));
#define LANES (sizeof(words) / 8)

/* Products of the lanes' low 32 bits.  */
static inline words multiply(words a, words b)
{
#if defined __x86_64__ && DFOI_VBYTES == 64
    return (words)_mm512_mul_epu32((__m512i)a, (__m512i)b);
#elif defined __x86_64__ && DFOI_VBYTES == 32
    return (words)_mm256_mul_epu32((__m256i)a, (__m256i)b);
#elif defined __x86_64__
    return (words)_mm_mul_epu32((__m128i)a, (__m128i)b);
#else
    return (a & 0xffffffff) * (b & 0xffffffff);
#endif
}

/* The blocks first .. first + n-1, n a multiple of LANES: a word in each 64-bit lane; what stands in the upper halves meanwhile does not matter.  */
static void philox(dfo_key key, uint32_t first, uint32_t n, uint64_t out[4][BATCH])
{
    const words m0 = 0xD2511F53u - (words){0}, m1 = 0xCD9E8D57u - (words){0};
    for (uint32_t i = 0; i < n; i += LANES) {
        words a, b = key.row - (words){0}, d = key.step - (words){0};
        words c = ((key.row >> 32 & 0xffff) | (uint64_t)key.purpose << 16) - (words){0};
        uint32_t k0 = (uint32_t)key.seed, k1 = (uint32_t)(key.seed >> 32);
        for (uint32_t l = 0; l < LANES; l++)
            a[l] = first + i + l;
#pragma GCC unroll 10
        for (int round = 0; round < 10; round++) {
            words p0 = multiply(a, m0), p1 = multiply(c, m1);
            a = (p1 >> 32) ^ b ^ ((uint64_t)k0 - (words){0});
            b = p1;
            c = (p0 >> 32) ^ d ^ ((uint64_t)k1 - (words){0});
            d = p0;
            k0 += 0x9E3779B9u;
            k1 += 0xBB67AE85u;
        }
        memcpy(&out[0][i], &a, sizeof a);
        memcpy(&out[1][i], &b, sizeof b);
        memcpy(&out[2][i], &c, sizeof c);
        memcpy(&out[3][i], &d, sizeof d);
    }
}

#ifdef DFO_DOUBLE
/* (k + 1/2) 2^-52, k the top 52 bits of two words.  */
static inline double unit(uint32_t high, uint32_t low)
{
    uint64_t k = ((uint64_t)high << 32 | low) >> 12;
    return (dfoi_from_bits(k | UINT64_C(0x4330000000000000)) - 4503599627370495.5) * 0x1p-52;
}
#else
static inline float unit(uint32_t high, uint32_t low)
{
    (void)low;
    return ((float)(int32_t)(high >> 9) + 0.5f) * 0x1p-23f;
}
#endif

/* Two standard normals from one block.  */
static inline void pair(uint32_t w0, uint32_t w1, uint32_t w2, uint32_t w3, dfo_real *x, dfo_real *y)
{
    dfo_real f, n, s, c;
#ifdef DFO_DOUBLE
    dfoi_log_split(unit(w0, w1), &f, &n);
    dfoi_fun_sincos2pi(unit(w2, w3), &s, &c);
#else
    /* u and 1 - u, each to full relative precision; the angle's distance from a quarter turn too */
    float u = (float)w0 * 0x1p-32f + ((float)w1 + 0.5f) * 0x1p-64f;
    float rest = (float)~w0 * 0x1p-32f + ((float)~w1 + 0.5f) * 0x1p-64f;
    dfoi_log_split(u, &f, &n);
    int near_one = rest < 0.29289322f;
    f = near_one ? -rest : f;
    n = near_one ? 0.0f : n;
    (void)w3;
    uint32_t quarter = (w2 + 0x20000000u) >> 30;
    dfoi_sincos_core(quarter, ((float)(int32_t)(w2 - (quarter << 30)) + 0.5f) * 0x1p-32f, &s, &c);
#endif
    dfo_real r = dfoi_sqrt((dfo_real)-2 * dfoi_log_core(f, n));
    *x = r * c;
    *y = r * s;
}

/* How many blocks, whole vectors of them, serve n more draws.  */
static inline uint32_t blocks_for(size_t n)
{
    return n >= 2 * BATCH ? BATCH : (uint32_t)((n + 1) / 2 + WHOLE - 1) / WHOLE * WHOLE;
}

static void uniform(dfo_key key, size_t n, dfo_real *out)
{
    uint64_t w[4][BATCH];
    dfo_real draw[2 * BATCH];
    for (size_t at = 0; at < n; at += 2 * BATCH) {
        uint32_t m = blocks_for(n - at);
        philox(key, (uint32_t)(at / 2), m, w);
        for (uint32_t i = 0; i < m; i++) {
            draw[2 * i] = unit((uint32_t)w[0][i], (uint32_t)w[1][i]);
            draw[2 * i + 1] = unit((uint32_t)w[2][i], (uint32_t)w[3][i]);
        }
        memcpy(out + at, draw, (n - at < 2 * BATCH ? n - at : 2 * BATCH) * sizeof *out);
    }
}

static void normal(dfo_key key, size_t n, dfo_real *out)
{
    uint64_t w[4][BATCH];
    dfo_real draw[2 * BATCH];
    for (size_t at = 0; at < n; at += 2 * BATCH) {
        uint32_t m = blocks_for(n - at);
        philox(key, (uint32_t)(at / 2), m, w);
        for (uint32_t i = 0; i < m; i++)
            pair((uint32_t)w[0][i], (uint32_t)w[1][i], (uint32_t)w[2][i], (uint32_t)w[3][i],
                 &draw[2 * i], &draw[2 * i + 1]);
        memcpy(out + at, draw, (n - at < 2 * BATCH ? n - at : 2 * BATCH) * sizeof *out);
    }
}

const struct dfoi_draw_kernels DFOI_TABLE(dfoi_draw_kernels) = {.uniform = uniform, .normal = normal};
