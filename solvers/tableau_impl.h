/* Coefficients of Runge-Kutta methods, and the control of steps.  Private to solvers.  */
#ifndef DFOI_TABLEAU_IMPL_H
#define DFOI_TABLEAU_IMPL_H

#include <stddef.h>
#include "base/real_impl.h"
#include <diffeo/ode.h>

#define DFOI_STAGES 16

typedef struct dfoi_tableau {
    const char *name, *text;
    size_t stages, order, embedded;        /* embedded: the order of what errors are estimated with (two estimates: that of both), 0: none */
    int    reuses;                         /* the last stage is the next step's first */
    const double *c, *a, *b, *e, *second;  /* a (stages, stages); e = b - b^, or NULL; second: of a method of lower order, or NULL */
    double gamma;                          /* a's diagonal from the second stage on; 0: the method is explicit */
} dfoi_tableau;

/* Dense output: w (stages) such that x + h sum w[i] k[i] is the solution at t + theta h, 0 <= theta <= 1; its order, 0: the
 * method has none.  */
size_t dfoi_tableau_dense(const dfoi_tableau *m, double theta, double *w);

/* NULL past the end, and for names that are not known.  */
const dfoi_tableau *dfoi_tableau_at(size_t i);
const dfoi_tableau *dfoi_tableau_named(const char *name);

/* The names, "euler, midpoint, ...", of all methods or of the explicit ones.  */
#define DFOI_METHODS 256
void dfoi_tableau_list(int implicit, char list[DFOI_METHODS]);

/* Inverse scaled errors of the last two accepted steps; both 1 before the first.  */
typedef struct dfoi_control {
    double last, before;
    int    lost;                           /* the last step that was rejected had an error that is not a number */
} dfoi_control;

#define DFOI_CONTROL ((sizeof(dfoi_control) + sizeof(double) - 1) / sizeof(double))       /* doubles that hold one */
#define DFOI_CONTROL_FIRST ((dfoi_control){1, 1, 0})

/* Is a step of scaled error err accepted?  *factor: the next step over this one.  k: the order that the exponents p, i, d are
 * divided by.  The history moves on acceptance.  An error that is not a number is rejected.  */
int dfoi_control_step(const dfo_ode_options *o, double k, dfoi_control *c, double err, double *factor);

/* The error scaled by atol + rtol max(|y0|, |y1|): the sum of squares over n numbers.  */
double dfoi_error_squares(const dfo_ode_options *o, size_t n, const dfo_real *err, const dfo_real *y0, const dfo_real *y1);

/* The square of the error that two estimates make, from theirs: e^4/(e^2 + second^2/100).  Where steps are small it falls as if by
 * itself of the order 2 p - q of their orders p, q in h; where the second vanishes it is the first.  */
double dfoi_two_errors(double e2, double second2);

/* h0 of the starting step, from the scaled sizes of y0 and f0; then the step itself, with the size d2 of (f1 - f0)/h0.  */
double dfoi_first_guess(double d0, double d1);
double dfoi_first_step(double h0, double d1, double d2, double k);

#endif
