/* Exact predictors of diffusion models: noise or data given a mixture of Gaussians in two dimensions, for tests of solvers.
 * Compile mixfield.c into the test program.  */
#ifndef DIFFEO_TESTS_MIXFIELD_H
#define DIFFEO_TESTS_MIXFIELD_H

#include <diffeo/real.h>
#include <diffeo/field.h>
#include <diffeo/schedule.h>
#include "reference.h"

typedef struct mixture {
    dfo_noise_schedule schedule;
    int    data;                           /* 1: x_0 given x, 0: eps */
    size_t n;
    double w[8], mean[8][2], cov[8][3];    /* cov: its (0,0), (0,1), (1,1) */
    size_t evaluations;
} mixture;

/* Weights, means and covariances of a case of diffusion_steps.json or likelihood.json, with its schedule; a mixture of three of our own.  */
mixture mixture_of(ref_case c, int data);
mixture mixture_usual(dfo_noise_schedule_kind kind, int data);

/* The value at one point, and its Jacobian (2,2) or NULL.  */
void mixture_at(const mixture *m, double t, const double x[2], double value[2], double jacobian[4]);

/* A field over it; a condition of 2 columns moves the mixture: the value is that of x - c (data: plus c/alpha, as it should be).
 * The mixture stays the caller's.  */
dfo_field mixture_field(mixture *m);

#endif
