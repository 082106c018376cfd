/* Counter-based random numbers: a draw is a function of (seed, purpose, step, row, index), so it
 * does not depend on threads, batches or where a run was resumed.  Philox4x32-10: Salmon et al.,
 * "Parallel random numbers: as easy as 1, 2, 3", SC 2011.  */
#ifndef DIFFEO_RNG_H
#define DIFFEO_RNG_H

#include <stddef.h>
#include <stdint.h>
#include <diffeo/real.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What a draw is for; draws for different purposes are independent.  */
typedef enum dfo_purpose {
    DFO_FOR_WEIGHTS = 1, DFO_FOR_SHUFFLE, DFO_FOR_BASE, DFO_FOR_DEQUANTISE, DFO_FOR_DROPOUT,
    DFO_FOR_GRADIENT_NOISE, DFO_FOR_SPLIT, DFO_FOR_TOY, DFO_FOR_PROBE, DFO_FOR_TIME, DFO_FOR_PAIRING,
    DFO_FOR_AUGMENT, DFO_FOR_BROWNIAN, DFO_FOR_MCMC, DFO_FOR_TEST, DFO_FOR_CHECK, DFO_FOR_NOISE, DFO_FOR_SAMPLER,
    DFO_FOR_LABELS, DFO_FOR_MISSING, DFO_FOR_CHOICE
} dfo_purpose;

/* Where a draw stands.  row < 2^48.  */
typedef struct dfo_key {
    uint64_t seed;
    uint64_t row;
    uint32_t purpose;
    uint32_t step;
} dfo_key;

/* Four 32-bit words: block `index` of the key's stream.  */
void dfo_philox(dfo_key key, uint32_t index, uint32_t out[4]);

/* n doubles in (0,1) (never 0 or 1; 53 bits, draw j is a function of key and first+j).  */
void dfo_draw_uniform(dfo_key key, size_t first, size_t n, double *out);

/* n draws of a type; draw j is a function of key and j alone.  */
void dfo_draw_real_uniform(dfo_key key, size_t n, dfo_real *out);
void dfo_draw_real_normal(dfo_key key, size_t n, dfo_real *out);
/* d draws for each of the rows key.row .. key.row + n - 1, row i's at out + i ld: those that dfo_draw_real_normal gives row by row,
 * narrow rows several times as fast.  */
void dfo_draw_real_normals(dfo_key key, size_t n, size_t d, dfo_real *out, size_t ld);

/* Entry i of a pseudo-random permutation of 0..n-1 (a keyed Feistel network with cycle walking:
 * no memory).  n >= 1, i < n.  */
uint64_t dfo_permute_index(dfo_key key, uint64_t n, uint64_t i);

#ifdef __cplusplus
}
#endif
#endif
