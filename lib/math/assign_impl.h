/* The assignment problem.  Private.  */
#ifndef DFOI_ASSIGN_IMPL_H
#define DFOI_ASSIGN_IMPL_H

#include <stddef.h>

/* Numbers of 8 bytes that dfoi_assign works in.  */
static inline size_t dfoi_assign_room(size_t n)
{
    return 6 * (n + 1);
}

/* Pairs n rows with n columns so that the sum of cost[i n + to[i]] is least, exactly: shortest augmenting paths (Kuhn 1955;
 * Jonker and Volgenant 1987), O(n^3).  Costs are finite.  room: dfoi_assign_room(n) doubles.  */
void dfoi_assign(size_t n, const double *cost, double *room, size_t *to);

#endif
