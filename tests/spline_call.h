/* What the tests of the spline kernels share: one call's arrays, in both forms.  */
#ifndef DFOI_TESTS_SPLINE_CALL_H
#define DFOI_TESTS_SPLINE_CALL_H

#include "util.h"
#include <check.h>

#include "math/spline_impl.h"
#include "spline_scalar.h"

/* Each array has two entries before and after that nobody may touch.  */
struct call {
    dfoi_spline how;
    scalar_spline scalar;
    size_t nb, m, params;
    dfo_real *par, *x, *g, *ld, *gpar;
    double *raw; /* (nb*m, params): the parameters as the scalar spline wants them */
};

/* The scalar spline's settings are rounded to the kernels' precision.  */
struct call call_new(scalar_spline scalar, size_t nb, size_t m);
void call_free(struct call *c); /* fails the test if an array's neighbourhood was written */

/* n reals; given back by put_reals, which looks at the neighbourhood.  */
dfo_real *new_reals(size_t n);
void put_reals(dfo_real *p, size_t n);

/* Index of parameter p of value i of feature f in par and gpar.  */
size_t par_at(const struct call *c, size_t f, size_t i, size_t p);
/* Sets it in par and raw, rounded.  */
void set_par(struct call *c, size_t f, size_t i, size_t p, double value);
/* The raw parameters of value v = f*m + i.  */
const double *raw_of(const struct call *c, size_t v);

TCase *spline_random_tests(void);
TCase *spline_edge_tests(void);

#endif
