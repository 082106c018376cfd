/* Brownian paths as functions of (seed, row, column) and time: nothing is drawn beforehand and nothing kept, so that who goes
 * forward, back or twice sees the same noise.  */
#ifndef DIFFEO_BROWNIAN_H
#define DIFFEO_BROWNIAN_H

#include <stddef.h>
#include <stdint.h>
#include <diffeo/ctx.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A path a row and column on [t0, t1].  tol, in units of time: two times less than that apart have an increment of about the
 * right size, but its law is exact only for times further apart; a query costs log2((t1 - t0) / tol) halvings.  */
typedef struct dfo_brownian { uint64_t seed; double t0, t1, tol; } dfo_brownian;

/* DFO_EARG names the field that is wrong: finite t0 below t1, tol above 0 and below t1 - t0, from (t1 - t0) 2^-50 on.  */
dfo_status dfo_brownian_check(dfo_ctx *ctx, const dfo_brownian *b);

/* w (d) = W(t) - W(s) of the row's d paths (variance |t - s|), and h (d) their space-time Levy area over the interval,
 *
 *     H = 1/(t - s) int_s^t (W(r) - W(s) - (r - s)/(t - s) (W(t) - W(s))) dr      (variance |t - s|/12, independent of W);
 *
 * h NULL: not wanted.  s > t: W negated, H the same.  Times outside are taken to the nearer end.  The same bits in any order, thread
 * and precision; column j does not depend on d.  row < 2^48.  The virtual tree of Foster, Lyons and Oberhauser 2020 with the
 * formulas of Jelincic, Foster and Kidger 2024.  Concurrent calls are fine; takes no memory.  */
void dfo_brownian_increment(const dfo_brownian *b, uint64_t row, size_t d, double s, double t, double *w, double *h);

/* The same numbers, to the last bit, for one row whose times follow each other, either way: halvings that the query before
 * went through are not drawn again, which leaves about log2(step / tol) of them to a step.  Memory: some kilobytes for 16
 * columns and a halving.  One thread at a time.  */
typedef struct dfo_brownian_interval dfo_brownian_interval;

/* Of a checked path (copied).  Checks it, DFO_EMEM.  */
dfo_status dfo_brownian_interval_new(dfo_ctx *ctx, const dfo_brownian *b, uint64_t row, size_t d, dfo_brownian_interval **out);
void dfo_brownian_interval_free(dfo_brownian_interval *interval);

/* See dfo_brownian_increment.  */
void dfo_brownian_interval_increment(dfo_brownian_interval *interval, double s, double t, double *w, double *h);

#ifdef __cplusplus
}
#endif
#endif
