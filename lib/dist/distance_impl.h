/* What the distances between samples share.  Private.  */
#ifndef DFOI_DISTANCE_IMPL_H
#define DFOI_DISTANCE_IMPL_H

#include <diffeo/distance.h>

#define DFOI_GROUPS 10

/* Sizes and values of both samples are such that distances can be taken.  */
dfo_status dfoi_samples_check(dfo_ctx *ctx, const dfo_samples *a, const dfo_samples *b);

/* Standard error from the estimates without group 0, 1, ...: sqrt((G-1)/G sum (t_g - mean t)^2).  */
double dfoi_jackknife(const double *without);

#endif
