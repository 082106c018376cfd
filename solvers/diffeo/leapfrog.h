/* The symplectic leapfrog, for fields with energy.  */
#ifndef DIFFEO_LEAPFROG_H
#define DIFFEO_LEAPFROG_H

#include <diffeo/real.h>
#include <diffeo/field.h>
#include <diffeo/ode.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Störmer and Verlet's steps of rows x = (q, p), n rows of field->d = 2 m numbers in place, from t0 to t1, either way, in `steps` equal
 * ones.  The field is separable: dq/dt a function of p alone, dp/dt of t and q alone, as x'' = a(t, x) has them with q = x, p = x'.
 * With u and a these halves and a step h,
 *     p_ = p + h/2 a(t, q),   q' = q + h u(p_),   p' = p_ + h/2 a(t + h, q'):
 * order 2; from t1 to t0 in as many steps it undoes itself but for rounding; where the field comes of an energy H(q, p) that does not
 * depend on t, that of the rows stays within O(h^2) of what it was over very long times (Hairer, Lubich and Wanner 2003).  Two
 * evaluations of the field a step and one; no quadratures.  report: added to, or NULL.  DFO_EARG: no steps, or times that are not
 * finite; DFO_ESHAPE: rows that are not (q, p); DFO_ENUM, naming time and row (absolute: key.row is the first's), where a state is
 * not finite.  The arena mark is put back.  */
dfo_status dfo_leapfrog(const dfo_field *field, dfo_run *run, double t0, double t1, size_t steps, dfo_batch x, dfo_ode_report *report);

/* Arena that it takes for `rows` rows, the field's own with it.  */
size_t dfo_leapfrog_scratch(const dfo_field *field, size_t rows);

#ifdef __cplusplus
}
#endif
#endif
