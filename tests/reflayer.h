/* Layers against cases of the reference vectors, for both precisions.  */
#ifndef DIFFEO_TESTS_REFLAYER_H
#define DIFFEO_TESTS_REFLAYER_H

#include "util.h"
#include <diffeo/real.h>
#include "layerfix.h"
#include "reference.h"

/* The case's tolerance, in float 1e-4 (gradients 1e-3).  */
double reflayer_tolerance(ref_case c, const char *key);

/* Fails the test where got is further from want.  */
void reflayer_compare(ref_case c, const char *what, size_t n, const double *got, const double *want, double allowed);

/* Output, log-det, inverse and gradients of a layer whose weights are set; but for the weights' gradients, which
 * stand in the run afterwards.  */
void reflayer_check(layerfix *f, ref_case c);

/* What a row of the case's x is, and how many there are.  */
dfo_shape reflayer_shape(ref_case c);
size_t reflayer_rows(ref_case c);

/* Sets an array of the layer from one of the file with as many numbers.  */
void reflayer_set(layerfix *f, const char *name, ref_array from);

/* One of the file's arrays of weights.  */
ref_array reflayer_param(ref_case c, const char *name);

/* The file's gradient with respect to one of its arrays; and the layer's of `name` compared with it.  */
ref_array reflayer_grad(ref_case c, const char *name);
void reflayer_compare_grad(layerfix *f, ref_case c, const char *name, const char *file);

/* Both for the layer's "kernel" (out, kh, kw, in) and the file's K (out, in, kh, kw).  */
void reflayer_set_kernel(layerfix *f, ref_case c);
void reflayer_compare_kernel(layerfix *f, ref_case c);

/* Calls one(case) for each case of a file that this precision can meet; fails unless it did at_least of them.  */
void reflayer_each(const char *name, size_t at_least, int (*one)(ref_case c));

#endif
