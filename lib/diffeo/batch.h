/* Rows of numbers: what goes through the house.  */
#ifndef DIFFEO_BATCH_H
#define DIFFEO_BATCH_H

#include <stddef.h>
#include <string.h>
#include <diffeo/real.h>
#include <diffeo/status.h>

#ifdef __cplusplus
extern "C" {
#endif

/* n rows of d contiguous features, ld >= d reals from one row to the next.  Owns nothing.  */
typedef struct dfo_batch {
    dfo_real *x;          /* (n, d), row stride ld */
    size_t    n, d, ld;
} dfo_batch;

/* What a row is: d features (c = d, h = w = 1) or an image, channel by channel.  */
typedef struct dfo_shape {
    size_t c, h, w;
} dfo_shape;

#define DFO_COND_PARTS 4

/* What a density is conditioned on: up to four blocks with as many rows as the batch.  The same
 * type carries their gradients.  A NULL pointer to it, or n = 0, means unconditional.  */
typedef struct dfo_cond {
    size_t n;
    struct dfo_cond_part {
        dfo_batch rows;
        dfo_shape shape;
    } part[DFO_COND_PARTS];
} dfo_cond;

static inline dfo_batch dfo_batch_of(dfo_real *x, size_t n, size_t d)
{
    dfo_batch b = {x, n, d, d};
    return b;
}

/* Rows first .. first+n-1 of x.  */
static inline dfo_batch dfo_batch_rows(dfo_batch x, size_t first, size_t n)
{
    dfo_batch b = {x.x ? x.x + first * x.ld : x.x, n, x.d, x.ld};
    return b;
}

/* Columns first .. first+d-1 of x.  */
static inline dfo_batch dfo_batch_columns(dfo_batch x, size_t first, size_t d)
{
    dfo_batch b = {x.x ? x.x + first : x.x, x.n, d, x.ld};
    return b;
}

static inline dfo_real *dfo_row(dfo_batch x, size_t i)
{
    return x.x + i * x.ld;
}

static inline size_t dfo_shape_size(dfo_shape s)
{
    return s.c * s.h * s.w;
}

static inline dfo_shape dfo_shape_vector(size_t d)
{
    dfo_shape s = {d, 1, 1};
    return s;
}

/* Rows first .. first+n-1 of every part.  */
static inline dfo_cond dfo_cond_rows(const dfo_cond *cond, size_t first, size_t n)
{
    dfo_cond c;
    memset(&c, 0, sizeof c);
    if (cond) {
        c = *cond;
        for (size_t p = 0; p < c.n; p++)
            c.part[p].rows = dfo_batch_rows(c.part[p].rows, first, n);
    }
    return c;
}

/* Total number of features over all parts.  */
static inline size_t dfo_cond_features(const dfo_cond *cond)
{
    size_t d = 0;
    for (size_t p = 0; cond && p < cond->n; p++)
        d += cond->part[p].rows.d;
    return d;
}

#ifdef __cplusplus
}
#endif
#endif
