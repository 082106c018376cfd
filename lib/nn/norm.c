/* Layer normalisation (Ba, Kiros, Hinton 2016) over the features of a row, with its four passes:
 *
 *   u = (x - mean) r,  r = (var + 1e-5)^(-1/2),  y = scale u + shift.
 *
 * du = J dx with the symmetric J = r (I - 1 1^T/H - u u^T/H), H features.  For adjoints p, q of u and
 * du (p = scale gy, q = scale gdy):  g_dx = J q  and
 *   g_x = J p + grad_x <q, J dx> = J p - (r/H) [ (q.du) u + (u.dx) J q + (u.q) du ],
 * because dr = -(r^2/H) u.dx, and J dx = du.  */
#include <math.h>
#include <string.h>

#include "nn/unit_impl.h"

#define EPSILON 1e-5

/* Sums over features, a row each, in double.  */
typedef double columns[DFO_PANEL];

static void add_sum(size_t width, const dfo_real *x, columns sum)
{
    for (size_t i = 0; i < DFO_PANEL; i++)
        sum[i] = 0;
    for (size_t j = 0; j < width; j++)
        for (size_t i = 0; i < DFO_PANEL; i++)
            sum[i] += (double)x[j * DFO_PANEL + i];
}

static void add_product(size_t width, const dfo_real *x, const dfo_real *y, columns sum)
{
    for (size_t i = 0; i < DFO_PANEL; i++)
        sum[i] = 0;
    for (size_t j = 0; j < width; j++)
        for (size_t i = 0; i < DFO_PANEL; i++)
            sum[i] += (double)x[j * DFO_PANEL + i] * (double)y[j * DFO_PANEL + i];
}

/* u and r from x.  u may be x.  */
static void normalise(size_t width, const dfo_real *x, dfo_real *u, columns r)
{
    columns mean;
    add_sum(width, x, mean);
    for (size_t i = 0; i < DFO_PANEL; i++) {
        mean[i] /= (double)width;
        r[i] = 0;
    }
    for (size_t j = 0; j < width; j++)
        for (size_t i = 0; i < DFO_PANEL; i++) {
            double c = (double)x[j * DFO_PANEL + i] - mean[i];
            r[i] += c * c;
        }
    for (size_t i = 0; i < DFO_PANEL; i++)
        r[i] = 1 / sqrt(r[i] / (double)width + EPSILON);
    for (size_t j = 0; j < width; j++)
        for (size_t i = 0; i < DFO_PANEL; i++)
            u[j * DFO_PANEL + i] = (dfo_real)(((double)x[j * DFO_PANEL + i] - mean[i]) * r[i]);
}

/* y = J x.  slope (or NULL) = u.x/H.  y may be x.  */
static void apply_jacobian(size_t width, const dfo_real *u, const dfo_real *r, const dfo_real *x, dfo_real *y,
                           dfo_real *slope)
{
    columns mean, dot;
    add_sum(width, x, mean);
    add_product(width, u, x, dot);
    for (size_t i = 0; i < DFO_PANEL; i++) {
        mean[i] /= (double)width;
        dot[i] /= (double)width;
        if (slope)
            slope[i] = (dfo_real)dot[i];
    }
    for (size_t j = 0; j < width; j++)
        for (size_t i = 0; i < DFO_PANEL; i++) {
            size_t at = j * DFO_PANEL + i;
            y[at] = (dfo_real)((double)r[i] * ((double)x[at] - mean[i] - (double)u[at] * dot[i]));
        }
}

/* y = scale u + shift, or scale u where shift is NULL.  */
static void affine(size_t width, const dfo_real *scale, const dfo_real *shift, const dfo_real *u, dfo_real *y)
{
    for (size_t j = 0; j < width; j++) {
        dfo_real s = scale[j], t = shift ? shift[j] : 0;
        for (size_t i = 0; i < DFO_PANEL; i++)
            y[j * DFO_PANEL + i] = s * u[j * DFO_PANEL + i] + t;
    }
}

/* Adds to the weights' gradients: of scale, sum over rows of g u; of shift (if `shift`), of g.  */
static void add_grads(const dfoi_unit *unit, const dfo_run *run, const dfo_real *g, const dfo_real *u, int shift)
{
    if (!run->grads)
        return;
    dfo_real *gscale = dfo_run_grads(run, unit->scale);
    dfo_real *gshift = dfo_run_grads(run, unit->shift);
    for (size_t j = 0; j < unit->width; j++) {
        double a = 0, b = 0;
        for (size_t i = 0; i < DFO_PANEL; i++) {
            a += (double)g[j * DFO_PANEL + i] * (double)u[j * DFO_PANEL + i];
            b += (double)g[j * DFO_PANEL + i];
        }
        gscale[j] += (dfo_real)a;
        if (shift)
            gshift[j] += (dfo_real)b;
    }
}

void dfoi_norm_forward(const dfoi_unit *unit, const dfo_run *run, const dfo_real *x, dfo_real *y, dfo_real *normal,
                       dfo_real *inverse_std)
{
    columns r;
    dfo_real *u = normal ? normal : y;
    normalise(unit->width, x, u, r);
    for (size_t i = 0; i < DFO_PANEL && inverse_std; i++)
        inverse_std[i] = (dfo_real)r[i];
    affine(unit->width, dfo_run_weights(run, unit->scale), dfo_run_weights(run, unit->shift), u, y);
}

void dfoi_norm_backward(const dfoi_unit *unit, const dfo_run *run, const dfo_real *normal,
                        const dfo_real *inverse_std, dfo_real *g)
{
    add_grads(unit, run, g, normal, 1);
    affine(unit->width, dfo_run_weights(run, unit->scale), NULL, g, g);
    apply_jacobian(unit->width, normal, inverse_std, g, g, NULL);
}

void dfoi_norm_jvp(const dfoi_unit *unit, const dfo_run *run, dfoi_pair x, dfoi_pair y, dfo_real *keep)
{
    columns r;
    dfo_real r_here[DFO_PANEL];
    size_t panel = unit->width * DFO_PANEL;
    const dfo_real *scale = dfo_run_weights(run, unit->scale);
    dfo_real *u = keep ? keep : y.x, *du = keep ? keep + panel : y.dx;
    dfo_real *inverse_std = keep ? du + panel : r_here;
    normalise(unit->width, x.x, u, r);
    for (size_t i = 0; i < DFO_PANEL; i++)
        inverse_std[i] = (dfo_real)r[i];
    apply_jacobian(unit->width, u, inverse_std, x.dx, du, keep ? inverse_std + DFO_PANEL : NULL);
    affine(unit->width, scale, dfo_run_weights(run, unit->shift), u, y.x);
    affine(unit->width, scale, NULL, du, y.dx);
}

void dfoi_norm_jvp_backward(const dfoi_unit *unit, const dfo_run *run, const dfo_real *keep, dfo_real *g,
                            dfo_real *gd)
{
    size_t width = unit->width, panel = width * DFO_PANEL;
    const dfo_real *scale = dfo_run_weights(run, unit->scale);
    const dfo_real *u = keep, *du = keep + panel;
    const dfo_real *r = du + panel, *slope = r + DFO_PANEL;
    columns q_du, q_u;
    add_grads(unit, run, g, u, 1);
    add_grads(unit, run, gd, du, 0);
    affine(width, scale, NULL, g, g);
    affine(width, scale, NULL, gd, gd);
    add_product(width, gd, du, q_du);
    add_product(width, gd, u, q_u);
    apply_jacobian(width, u, r, g, g, NULL);
    apply_jacobian(width, u, r, gd, gd, NULL);
    for (size_t i = 0; i < DFO_PANEL; i++) {
        q_du[i] /= (double)width;
        q_u[i] /= (double)width;
    }
    for (size_t j = 0; j < width; j++)
        for (size_t i = 0; i < DFO_PANEL; i++) {
            size_t at = j * DFO_PANEL + i;
            double sum = q_du[i] * (double)u[at] + (double)slope[i] * (double)gd[at] + q_u[i] * (double)du[at];
            g[at] -= (dfo_real)((double)r[i] * sum);
        }
}
