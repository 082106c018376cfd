/* The laws of Brownian increments that a path is made by.  Private to solvers.  */
#ifndef DFOI_BROWNIAN_IMPL_H
#define DFOI_BROWNIAN_IMPL_H

#include <stddef.h>
#include <diffeo/brownian.h>

/* Of n columns over an interval of length L: W and b = L H.  */
typedef struct dfoi_increments {
    double *w, *b;
} dfoi_increments;

/* Given those over an interval and standard normals x (n,2), those over its halves.  */
void dfoi_brownian_halve(size_t n, double length, dfoi_increments of, const double *x, dfoi_increments left, dfoi_increments right);

/* The same where the parts' lengths are p and q, both above 0.  */
void dfoi_brownian_split(size_t n, double p, double q, dfoi_increments of, const double *x, dfoi_increments left, dfoi_increments right);

/* Over two intervals of lengths p and q together, and the second part of both; `to` may be one of those given.  */
void dfoi_brownian_join(size_t n, double p, double q, dfoi_increments left, dfoi_increments right, dfoi_increments to);
void dfoi_brownian_rest(size_t n, double p, double q, dfoi_increments both, dfoi_increments left, dfoi_increments to);

/* 1 where a field of the path is wrong, and a line that says which.  */
int dfoi_brownian_wrong(const dfo_brownian *b, char *text, size_t size);

#endif
