/* Layer normalisation (Ba, Kiros, Hinton 2016) over the features of a row, with its four passes:
 *
 *   u = (x - mean) r,  r = (var + 1e-5)^(-1/2),  y = scale u + shift.
 *
 * du = J dx with the symmetric J = r (I - 1 1^T/H - u u^T/H), H features.  For adjoints p, q of u
 * and du (p = scale gy, q = scale gdy):  g_dx = J q  and g_x = J p + grad_x <q, J dx> = J p - (r/H)
 * [ (q.du) u + (u.dx) J q + (u.q) du ], because dr = -(r^2/H) u.dx, and J dx = du.  */
#include "nn/unit_impl.h"
#include "nn/unit_kern_impl.h"

/* Adds to the weights' gradients: of scale, sum over rows of g u; of shift (if `shift`), of g.  */
static void add_grads(const dfoi_unit *unit, const dfo_run *run, const dfo_real *g,
                      const dfo_real *u, int shift)
{
    if (run->grads)
        DFOI_UNIT_KERN->add_grads(unit->width, g, u, dfo_run_grads(run, unit->scale),
                                  shift ? dfo_run_grads(run, unit->shift) : NULL);
}

void dfoi_norm_forward(const dfoi_unit *unit, const dfo_run *run, const dfo_real *x, dfo_real *y,
                       dfo_real *normal, dfo_real *inverse_std)
{
    dfo_real here[DFO_PANEL];
    dfo_real *u = normal ? normal : y;
    DFOI_UNIT_KERN->normalise(unit->width, x, u, inverse_std ? inverse_std : here);
    DFOI_UNIT_KERN->affine(unit->width, dfo_run_weights(run, unit->scale),
                           dfo_run_weights(run, unit->shift), u, y);
}

void dfoi_norm_backward(const dfoi_unit *unit, const dfo_run *run, const dfo_real *normal,
                        const dfo_real *inverse_std, dfo_real *g)
{
    add_grads(unit, run, g, normal, 1);
    DFOI_UNIT_KERN->affine(unit->width, dfo_run_weights(run, unit->scale), NULL, g, g);
    DFOI_UNIT_KERN->jacobian(unit->width, normal, inverse_std, g, g, NULL);
}

void dfoi_norm_jvp(const dfoi_unit *unit, const dfo_run *run, dfoi_pair x, dfoi_pair y,
                   dfo_real *keep)
{
    dfo_real here[DFO_PANEL];
    size_t width = unit->width, panel = width * DFO_PANEL;
    const dfo_real *scale = dfo_run_weights(run, unit->scale);
    dfo_real *u = keep ? keep : y.x, *du = keep ? keep + panel : y.dx;
    dfo_real *inverse_std = keep ? du + panel : here;
    DFOI_UNIT_KERN->normalise(width, x.x, u, inverse_std);
    DFOI_UNIT_KERN->jacobian(width, u, inverse_std, x.dx, du,
                             keep ? inverse_std + DFO_PANEL : NULL);
    DFOI_UNIT_KERN->affine(width, scale, dfo_run_weights(run, unit->shift), u, y.x);
    DFOI_UNIT_KERN->affine(width, scale, NULL, du, y.dx);
}

void dfoi_norm_jvp_backward(const dfoi_unit *unit, const dfo_run *run, const dfo_real *keep,
                            dfo_real *g, dfo_real *gd)
{
    size_t width = unit->width, panel = width * DFO_PANEL;
    const dfo_real *scale = dfo_run_weights(run, unit->scale);
    const dfo_real *u = keep, *du = keep + panel, *inverse_std = du + panel,
                   *slope = inverse_std + DFO_PANEL;
    add_grads(unit, run, g, u, 1);
    add_grads(unit, run, gd, du, 0);
    DFOI_UNIT_KERN->affine(width, scale, NULL, g, g);
    DFOI_UNIT_KERN->affine(width, scale, NULL, gd, gd);
    DFOI_UNIT_KERN->jacobian_reverse(width, u, du, inverse_std, slope, g, gd);
}
