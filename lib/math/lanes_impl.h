/* Sixteen values at a time, in kernels whose loops the compiler takes apart, and the bracketed Newton step of many roots at once.
 * Private.  */
#ifndef DFOI_LANES_IMPL_H
#define DFOI_LANES_IMPL_H

#include <stddef.h>
#include <string.h>
#include "base/real_impl.h"

enum { DFOI_WIDE = 16 };
typedef dfo_real dfoi_lanes[DFOI_WIDE];
#define LANES _Pragma("GCC ivdep") for (size_t i = 0; i < DFOI_WIDE; i++)

static inline dfo_real dfoi_smaller(dfo_real x, dfo_real y)
{
    return x < y ? x : y;
}

static inline dfo_real dfoi_larger(dfo_real x, dfo_real y)
{
    return x > y ? x : y;
}

/* The values at..at+count-1 of m, of parameter p; those behind repeat the last one.  */
static inline void dfoi_lanes_load(const dfo_real *par, size_t m, size_t p, size_t at, size_t count, dfo_real *to)
{
    const dfo_real *from = par + p * m + at;
    for (size_t i = 0; i < DFOI_WIDE; i++)
        to[i] = from[i < count ? i : count - 1];
}

static inline void dfoi_lanes_store(dfo_real *par, size_t m, size_t p, size_t at, size_t count, const dfo_real *from)
{
    memcpy(par + p * m + at, from, count * sizeof *from);
}

/* Over features, sixteen values at a time: `first` of m, `count` of them, whose parameters SET reads.  */
#define DFOI_OVER_VALUES(nb, m, SET)                                                                       \
    for (size_t j = 0; j < (nb); j++)                                                                      \
        for (size_t first = 0, count; first < (m); first += count)                                         \
            if (count = (m) - first < DFOI_WIDE ? (m) - first : DFOI_WIDE, SET, 1)

/* The next place after `at` on the way to the root of a rising function, which is `off` from its goal there and has this slope; rounding
 * of off is about eps times `size`.  A step of Newton's, or half the bracket low..high where that would leave it or steps do not halve
 * (last: the one before).  A root is done when nothing moves or off is rounding, and stays, so that none depends on its neighbours:
 * open becomes 0.  */
static inline __attribute__((always_inline)) dfo_real dfoi_newton(dfo_real *low, dfo_real *high, dfo_real *last, dfo_real *open,
                                                                  dfo_real at, dfo_real off, dfo_real slope, dfo_real size)
{
    dfo_real step = off / slope, far = off < 0 ? -off : off, stride = step < 0 ? -step : step;
    *low = off < 0 ? at : *low;
    *high = off > 0 ? at : *high;
    dfo_real newton = at - step, half = (dfo_real)0.5 * (*low + *high);
    int near = far <= 4 * DFO_REAL_EPS * size;
    int inside = (newton >= *low) & (newton <= *high) & ((2 * stride <= *last) | near);
    dfo_real next = inside ? newton : near ? at : half, moved = next > at ? next - at : at - next;
    next = *open > 0 ? next : at;
    *last = moved;
    *open = near | !(moved > 0) ? 0 : *open;
    return next;
}

static inline int dfoi_any_open(const dfo_real *open, size_t n)
{
    dfo_real left = 0;
    for (size_t i = 0; i < n; i++)
        left += open[i];
    return left > 0;
}

#endif
