/* Group normalisation (Wu and He 2018) of a map of images: each image's channels in groups that lie next to each other,
 * over all pixels and channels of a group,
 *
 *   u = (x - mean) r,  r = (var + 1e-5)^(-1/2),  y = scale u + shift,
 *
 * scale and shift of each channel.  Private.  */
#ifndef DFOI_GROUP_IMPL_H
#define DFOI_GROUP_IMPL_H

#include <diffeo/net.h>
#include "base/real_impl.h"
#include "nn/conv_impl.h"
#include "nn/group_kern_impl.h"

typedef struct dfoi_group_norm {
    size_t width, groups;
    size_t scale, shift; /* offsets in the store: (width) each */
} dfoi_group_norm;

/* Adds its weights, prefix + "scale" and "shift", ones and zeros.  DFO_EARG if the groups are not equal.  */
dfo_status dfoi_group_new(dfo_build *build, const char *prefix, size_t width, size_t groups, dfoi_group_norm *norm);

/* Reals of the statistics of n images: of a group mean and r; with tangents mean(dx), mean(u dx).  */
size_t dfoi_group_keep(const dfoi_group_norm *norm, size_t n);

/* Statistics of x, and y from x and them (y may be x); what stands behind the last image becomes zero.  */
void dfoi_group_measure(const dfoi_group_norm *norm, dfoi_area area, dfoi_map x, dfo_real *keep);
void dfoi_group_apply(const dfoi_group_norm *norm, const dfo_run *run, dfoi_area area, dfoi_map x, const dfo_real *keep,
                      dfoi_map y);

/* The same with tangents, behind dfoi_group_measure: dy = scale r (dx - mean(dx) - u mean(u dx)).  */
void dfoi_group_tangent_measure(const dfoi_group_norm *norm, dfoi_area area, dfoi_map_pair x, dfo_real *keep);
void dfoi_group_tangent(const dfoi_group_norm *norm, const dfo_run *run, dfoi_area area, dfoi_map_pair x, const dfo_real *keep,
                        dfoi_map dy);

/* From g, the gradient of y: adds that of x to gx, and those of scale and shift to run->grads.  */
void dfoi_group_backward(const dfoi_group_norm *norm, const dfo_run *run, dfoi_area area, dfoi_map x, const dfo_real *keep,
                         dfoi_map g, dfoi_map gx);
/* From those of y and dy: adds those of x and dx.  */
void dfoi_group_tangent_backward(const dfoi_group_norm *norm, const dfo_run *run, dfoi_area area, dfoi_map_pair x,
                                 const dfo_real *keep, dfoi_map_pair g, dfoi_map_pair gx);

#endif
