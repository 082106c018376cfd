/* Increasing functions of one variable with their slopes, in double, for the elementwise layers.
 * Private to flows.  */
#ifndef DFOI_SCALAR_IMPL_H
#define DFOI_SCALAR_IMPL_H

#include "base/real_impl.h"

/* Settings of a function; each uses its own.  */
struct dfoi_scalar_set {
    double slope;                      /* leaky-relu */
    double lambda;                     /* box-cox */
    double alpha, low, high;           /* logit; rescale: low and high */
};

/* z = value(x), x = inverse(z).  log_slope = log dz/dx, slope = dz/dx and change = d log_slope / dx
 * are functions of u: of z where from_z is set (functions that stretch: z tells more than x), else
 * of x. x must lie between low and high, z between z_low and z_high, ends excluded.  */
struct dfoi_scalar {
    const char *type;
    int         from_z;
    double    (*value)(const struct dfoi_scalar_set *, double x);
    double    (*inverse)(const struct dfoi_scalar_set *, double z);
    double    (*log_slope)(const struct dfoi_scalar_set *, double u);
    double    (*slope)(const struct dfoi_scalar_set *, double u);
    double    (*change)(const struct dfoi_scalar_set *, double u);
    double      low, high, z_low, z_high;
};

/* By the layer's type; never NULL for the types of the registry.  */
const struct dfoi_scalar *dfoi_scalar_named(const char *type);

/* dz/dlambda of box-cox at x.  */
double dfoi_box_cox_lambda_slope(double lambda, double x);

/* log sigmoid(z)(1 - sigmoid(z)): the log-slope of the logistic function.  */
double dfoi_log_sigmoid_slope(double z);

#endif
