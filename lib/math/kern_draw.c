/* Philox4x32-10 over many blocks at once, and uniforms and normals from its words; compiled per
 * instruction set (see isa_impl.h); the same words as Random123's philox4x32 (rng.c, tested).
 * A block of four words gives two draws.  Uniform: (k + 1/2) 2^-b from the top bits of a pair of words
 * (b = 52; float: 23, so that 0 and 1 do not occur).  Normal: Box and Muller's r cos, r sin with r =
 * sqrt(-2 log u); u has 52 bits (float: its logarithm to full precision near 0 and near 1), so tails
 * reach 8.5 sigma.  The float draws are the double ones, rounded, but for a few units in the last place. */
#include <string.h>

#include "math/fun_impl.h"
#include "math/kern_table.h"
#include "math/philox_impl.h"

#define BATCH 64                          /* blocks at a time */
#define WHOLE 16                          /* fewer are made up to whole vectors */

/* Block i of n, n a multiple of DFOI_WORDS, is block index[i] of row[i]'s stream: a word in each 64-bit lane; what stands in the upper
 * halves meanwhile does not matter.  */
static void philox(dfo_key key, const uint64_t *index, const uint64_t *row, size_t n, uint64_t out[4][BATCH])
{
    for (size_t i = 0; i < n; i += DFOI_WORDS) {
        dfoi_words at, of, word[4];
        memcpy(&at, index + i, sizeof at);
        memcpy(&of, row + i, sizeof of);
        dfoi_philox_lanes(key, at, of, word);
        for (size_t w = 0; w < 4; w++)
            memcpy(&out[w][i], &word[w], sizeof word[w]);
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

/* The blocks that rows' draws take, `per` a row, one row behind the other, from block `next` of row `at` on.  */
struct blocks {
    uint64_t at, next, per;
    uint64_t row[BATCH], index[BATCH];
};

/* n of them and others that make up whole vectors; their number with these.  */
static size_t take(struct blocks *b, size_t n)
{
    size_t all = (n + WHOLE - 1) / WHOLE * WHOLE;
    int one = b->per - b->next >= all;
    for (size_t i = 0; one && i < all; i++) {
        b->row[i] = b->at;
        b->index[i] = b->next + i;
    }
    for (size_t i = 0; !one && i < all; i++) {
        int last = b->next + 1 == b->per;
        b->row[i] = b->at;
        b->index[i] = b->next;
        b->at += (uint64_t)last;
        b->next = last ? 0 : b->next + 1;
    }
    b->next += one ? all : 0;
    return all;
}

static void uniform(dfo_key key, size_t n, dfo_real *out)
{
    struct blocks b = {.at = key.row, .per = UINT64_MAX};
    uint64_t w[4][BATCH];
    dfo_real draw[2 * BATCH];
    for (size_t at = 0; at < n; at += 2 * BATCH) {
        size_t left = n - at < 2 * BATCH ? n - at : 2 * BATCH, m = take(&b, (left + 1) / 2);
        philox(key, b.index, b.row, m, w);
        for (size_t i = 0; i < m; i++) {
            draw[2 * i] = unit((uint32_t)w[0][i], (uint32_t)w[1][i]);
            draw[2 * i + 1] = unit((uint32_t)w[2][i], (uint32_t)w[3][i]);
        }
        memcpy(out + at, draw, left * sizeof *out);
    }
}

/* The normals of m blocks.  */
static void pairs(dfo_key key, const struct blocks *b, size_t m, dfo_real draw[2 * BATCH])
{
    uint64_t w[4][BATCH];
    philox(key, b->index, b->row, m, w);
    for (size_t i = 0; i < m; i++)
        pair((uint32_t)w[0][i], (uint32_t)w[1][i], (uint32_t)w[2][i], (uint32_t)w[3][i], &draw[2 * i], &draw[2 * i + 1]);
}

/* Of wide rows a batch of blocks lies in one row, of narrow ones in several.  */
static void normal(dfo_key key, size_t n, size_t d, dfo_real *out, size_t ld)
{
    size_t per = (d + 1) / 2;
    struct blocks b = {.at = key.row, .per = n > 1 ? per : UINT64_MAX};
    dfo_real draw[2 * BATCH];
    for (size_t i = 0, j = 0; i < n && d;) {
        size_t left = (n - i) * per - j / 2, count = left < BATCH ? left : BATCH;
        pairs(key, &b, take(&b, count), draw);
        for (size_t at = 0; at < count;) {
            size_t here = per - j / 2 < count - at ? per - j / 2 : count - at, have = d - j < 2 * here ? d - j : 2 * here;
            memcpy(out + i * ld + j, draw + 2 * at, have * sizeof *out);
            at += here;
            j += 2 * here;
            if (j >= d) {
                j = 0;
                i++;
            }
        }
        b.at = key.row + i;
        b.next = j / 2;
    }
}

const struct dfoi_draw_kernels DFOI_TABLE(dfoi_draw_kernels) = {.uniform = uniform, .normal = normal};
