/* Paths through observations: what drives a controlled differential equation dz = f(z) dX, <diffeo/netfield.h>.  */
#ifndef DIFFEO_PATH_H
#define DIFFEO_PATH_H

#include <diffeo/real.h>
#include <diffeo/batch.h>
#include <diffeo/ctx.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum dfo_path_kind {
    DFO_PATH_LINEAR,           /* straight from point to point; a piece depends on its two points */
    DFO_PATH_HERMITE,          /* cubic, slope at a point: of the line from the point before (at the first one: to the next); once
                                  differentiable, a piece depends on its two points and the one before (Morrill et al. 2021) */
    DFO_PATH_SPLINE            /* natural cubic spline: twice differentiable, depends on all points (Kidger et al. 2020) */
} dfo_path_kind;

/* What takes the place of a missing observation (NaN).  Before a channel's first observation it is the first, after its last the
 * last; a channel that was never observed is 0.  */
typedef enum dfo_path_gaps {
    DFO_PATH_THROUGH,          /* the curve through the channel's other observations, which knows the next one */
    DFO_PATH_CARRY             /* the last observation before it */
} dfo_path_gaps;

/* When observations were made, the same for all rows.  Owns nothing.  */
typedef struct dfo_path {
    size_t        points, channels;
    const double *times;       /* (points), rising */
} dfo_path;

/* Reals of a row of coefficients, (points-1, 4, channels): in piece k the path is a + b s + c s^2 + e s^3, s = t - times[k].  */
size_t dfo_path_size(const dfo_path *path);

/* The paths through the rows of x (n, points*channels), point after point, go to rows of coefficients, to (n, dfo_path_size).
 * lengths: NULL, or how many of a row's points there are (n); behind its last point a path stands still.  Every channel is on
 * its own; time is a channel if the caller makes it one.  DFO_EARG: fewer than two points, times that do not rise, a length of
 * 0 or too many; DFO_ESHAPE; DFO_ENUM, naming row, point and channel, for an infinite observation, and where
 * a coefficient is too large for a dfo_real.  Allocates a few columns of
 * `points` doubles for the time of the call.  */
dfo_status dfo_path_fit(dfo_ctx *ctx, const dfo_path *path, dfo_path_kind kind, dfo_path_gaps gaps, dfo_batch x,
                        const size_t *lengths, dfo_batch to);

/* The piece that t is in: times[piece] <= t < times[piece+1]; outside of all times the first or the last.  */
size_t dfo_path_piece(const dfo_path *path, double t);

/* Value and derivative at t of the path with these coefficients (one row), taken from this piece: at a point's time the pieces
 * on its two sides have one value, and of a linear path two derivatives.  value, slope (channels).  */
void dfo_path_value(const dfo_path *path, const dfo_real *row, size_t piece, double t, dfo_real *value);
void dfo_path_slope(const dfo_path *path, const dfo_real *row, size_t piece, double t, dfo_real *slope);

#ifdef __cplusplus
}
#endif
#endif
