/* Counter-based random numbers by Philox4x32-10 (Random123).  The counter is
 * [block, row's low word, row's high 16 bits | purpose << 16, step], the key is the seed.  */
#include <Random123/philox.h>

#include <diffeo/rng.h>
#include "math/kern_table.h"

void dfo_philox(dfo_key key, uint32_t index, uint32_t out[4])
{
    philox4x32_ctr_t counter = {{index, (uint32_t)key.row,
                                 (uint32_t)(key.row >> 32 & 0xffff) | key.purpose << 16, key.step}};
    philox4x32_key_t seed = {{(uint32_t)key.seed, (uint32_t)(key.seed >> 32)}};
    philox4x32_ctr_t r = philox4x32(counter, seed);
    for (int i = 0; i < 4; i++)
        out[i] = r.v[i];
}

/* An odd multiple of 2^-53: 52 random bits, symmetric about 1/2.  */
static double unit(uint32_t high, uint32_t low)
{
    uint64_t k = ((uint64_t)high << 32 | low) >> 12;
    return ((double)k + 0.5) * 0x1p-52;
}

void dfo_draw_uniform(dfo_key key, size_t first, size_t n, double *out)
{
    for (size_t j = 0; j < n;) {
        uint32_t w[4];
        dfo_philox(key, (uint32_t)((first + j) / 2), w);
        if ((first + j) % 2 == 0)
            out[j++] = unit(w[0], w[1]);
        if (j < n && (first + j) % 2 == 1)
            out[j++] = unit(w[2], w[3]);
    }
}

void dfo_draw_real_uniform(dfo_key key, size_t n, dfo_real *out)
{
    DFOI_PICK(dfoi_draw_kernels)->uniform(key, n, out);
}

void dfo_draw_real_normal(dfo_key key, size_t n, dfo_real *out)
{
    DFOI_PICK(dfoi_draw_kernels)->normal(key, 1, n, out, n);
}

void dfo_draw_real_normals(dfo_key key, size_t n, size_t d, dfo_real *out, size_t ld)
{
    DFOI_PICK(dfoi_draw_kernels)->normal(key, n, d, out, ld);
}

#define ROUNDS 8

/* Words for round r: those of the seed's stream number r / 4.  */
static void round_words(dfo_key key, unsigned stream, uint32_t index, uint32_t w[4])
{
    key.seed += (uint64_t)stream * UINT64_C(0x9E3779B97F4A7C15);
    dfo_philox(key, index, w);
}

/* A Feistel network on numbers of 2*half bits; word r mod 4 of block `right` is the round function.
 * Such a network is an even permutation; half of the keys swap 0 and 1 at the end, without which the
 * orders of few things would not be equally likely.  */
static uint64_t feistel(dfo_key key, unsigned half, uint64_t x)
{
    const uint32_t mask = half < 32 ? ((uint32_t)1 << half) - 1 : UINT32_MAX;
    uint32_t left = (uint32_t)(x >> half) & mask, right = (uint32_t)x & mask, w[4];
    for (unsigned r = 0; r < ROUNDS; r++) {
        round_words(key, r / 4, right, w);
        uint32_t next = (left ^ w[r % 4]) & mask;
        left = right;
        right = next;
    }
    x = (uint64_t)left << half | right;
    if (x < 2) {
        round_words(key, ROUNDS / 4, 0, w);
        x ^= w[0] & 1;
    }
    return x;
}

uint64_t dfo_permute_index(dfo_key key, uint64_t n, uint64_t i)
{
    unsigned bits = n > 1 ? 64u - (unsigned)__builtin_clzll(n - 1) : 1;
    unsigned half = (bits + 1) / 2;
    do {                                  /* walk the cycle until it comes back into 0 .. n-1 */
        i = feistel(key, half, i);
    } while (i >= n);
    return i;
}
