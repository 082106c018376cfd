/* Transforms that fade to the identity where the one feature x that passes comes to an end of its interval [-B, B]: raw
 * parameters r of the spline, which is the identity at e, become
 *   e + f (r - e),  f = 1 - (x/B)^2,  0 beyond.
 * On a sphere f is the square of the distance from the axis: longitudes turn with the height, and stay as they are at the
 * poles, where heights' splines with linear tails have slope 1 whatever the longitude.  So a coupling of either kind is
 * a smooth map of the sphere, and its density no star with a pole as its middle.  */
#include <math.h>

#include "coupling_impl.h"

dfo_status dfoi_coupling_fade_read(dfo_ctx *ctx, const json_t *config, dfoi_coupling *c)
{
    DFO_TRY(dfoi_json_bool(ctx, config, "fade", 0, &c->fade));
    if (c->fade && (c->features != DFOI_INTERVAL || c->mask.na != 1))
        return dfoi_fail(ctx, DFO_EARG, "fade: wants input interval and a mask that lets one feature pass");
    return DFO_OK;
}

/* e of parameter k of a panel: equal widths and heights, slopes of 1.  */
static double identity(const dfoi_coupling *c, size_t k)
{
    return k % c->params < 2 * c->spline.bins ? 0 : log(expm1(1 - (double)c->spline.min_derivative));
}

const dfo_real *dfoi_coupling_fade(const dfoi_coupling *c, dfo_batch rows, const dfo_real *par, dfo_real *to)
{
    dfo_real f[DFO_PANEL] = {0};
    if (!c->fade)
        return par;
    for (size_t i = 0; i < rows.n; i++) {
        double t = dfoi_coupling_place(c, dfo_row(rows, i)[c->mask.a[0]]);
        f[i] = (dfo_real)((1 - t) * (1 + t));
    }
    for (size_t k = 0; k < c->params * c->mask.nb; k++) {
        dfo_real e = (dfo_real)identity(c, k);
        for (size_t i = 0; i < DFO_PANEL; i++)
            to[k * DFO_PANEL + i] = e + f[i] * (par[k * DFO_PANEL + i] - e);
    }
    return to;
}

void dfoi_coupling_fade_back(const dfoi_coupling *c, dfo_batch rows, const dfo_real *par, dfo_real *gpar, dfo_batch grows)
{
    for (size_t i = 0; c->fade && i < rows.n; i++) {
        double t = dfoi_coupling_place(c, dfo_row(rows, i)[c->mask.a[0]]), f = (1 - t) * (1 + t), sum = 0;
        for (size_t k = 0; k < c->params * c->mask.nb; k++) {
            dfo_real *g = &gpar[k * DFO_PANEL + i];
            sum += (double)*g * ((double)par[k * DFO_PANEL + i] - identity(c, k));
            *g = (dfo_real)((double)*g * f);
        }
        dfo_row(grows, i)[c->mask.a[0]] -= (dfo_real)(2 * t * sum / (double)c->spline.bound);
    }
}
