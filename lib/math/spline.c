/* Rational-quadratic splines: the kernels (spline_kern.c) of the CPU's instruction set.  */
#include "math/isa_impl.h"
#include "math/spline_impl.h"

size_t dfoi_spline_params(const dfoi_spline *how)
{
    return 3 * how->bins - (how->circular ? 0 : 1);
}

void dfoi_spline_forward(const dfoi_spline *how, size_t nb, size_t m, const dfo_real *par,
                         dfo_real *x, dfo_real *ld)
{
    DFOI_PICK(dfoi_spline_kernels)->forward(how, nb, m, par, x, ld);
}

void dfoi_spline_inverse(const dfoi_spline *how, size_t nb, size_t m, const dfo_real *par,
                         dfo_real *z, dfo_real *ld)
{
    DFOI_PICK(dfoi_spline_kernels)->inverse(how, nb, m, par, z, ld);
}

void dfoi_spline_backward(const dfoi_spline *how, size_t nb, size_t m, const dfo_real *par,
                          dfo_real *z, dfo_real *gz, const dfo_real *gld, dfo_real *gpar)
{
    DFOI_PICK(dfoi_spline_kernels)->backward(how, nb, m, par, z, gz, gld, gpar);
}

void dfoi_spline_inverse_backward(const dfoi_spline *how, size_t nb, size_t m, const dfo_real *par,
                                  dfo_real *x, dfo_real *gx, const dfo_real *gld, dfo_real *gpar)
{
    DFOI_PICK(dfoi_spline_kernels)->inverse_backward(how, nb, m, par, x, gx, gld, gpar);
}
