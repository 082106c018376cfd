/* What sphere.c and sphere_rotation.c share: rows on the cylinder that a sphere unrolls to, (z, v), z the height
 * over the equator's plane in [-1, 1], v the longitude in half turns, whole turns of 2 apart.  Private to flows.  */
#ifndef DFOI_SPHERE_IMPL_H
#define DFOI_SPHERE_IMPL_H

#include "base/real_impl.h"
#include "layer_impl.h"

/* DFO_ENUM naming the first row whose height is outside [-1, 1] or whose v is not a number.  */
dfo_status dfoi_sphere_check(const dfo_bijector *bij, dfo_run *run, dfo_batch x);

/* DFO_ESHAPE unless rows have two features.  */
dfo_status dfoi_sphere_shape(const dfo_build *build);

/* v modulo 2, in [-1, 1).  */
double dfoi_half_turns(double v);

/* Distance from the axis of a point of height z, from both ends so that it keeps its digits at the poles.  */
double dfoi_axis_distance(double z);

/* A distance from the axis as gradients divide by it: the least that rows of this precision have beside a pole's 0.  */
double dfoi_off_axis(double distance);

#endif
