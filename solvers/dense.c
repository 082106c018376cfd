/* Solutions inside a step, as weights of its slopes: dopri5 by the quartic through both ends, their slopes and the middle
 * (Shampine 1986), tsit5 by its own weights (Tsitouras 2011), other methods that end a step where the next begins by the cubic
 * of Hermite.  */
#include <string.h>

#include "tableau_impl.h"

static void quartic(const dfoi_tableau *m, double t, double *w)
{
    static const double middle[] = {6025192743.0 / 30085553152.0, 0, 51252292925.0 / 65400821598.0, -2691868925.0 / 45128329728.0,
                                    187940372067.0 / 1594534317056.0, -1776094331.0 / 19743644256.0, 11237099.0 / 235043384.0};
    for (size_t i = 0; i < m->stages; i++) {
        double first = i == 0, last = i + 1 == m->stages, mid = middle[i] / 2, b = m->b[i];
        double p4 = 2 * (last - first) - 8 * b + 16 * mid, p3 = 5 * first - 3 * last + 14 * b - 32 * mid,
               p2 = last - 4 * first - 5 * b + 16 * mid;
        w[i] = ((p4 * t + p3) * t + p2) * t * t + first * t;
    }
}

static void tsitouras(double t, double *w)
{
    w[0] = -1.0530884977290216 * t * (t - 1.3299890189751412) * (t * t - 1.4364028541716351 * t + 0.7139816917074209);
    w[1] = 0.1017 * t * t * (t * t - 2.1966568338249754 * t + 1.2949852507374631);
    w[2] = 2.490627285651252793 * t * t * (t * t - 2.38535645472061657 * t + 1.57803468208092486);
    w[3] = -16.54810288924490272 * (t - 1.21712927295533244) * (t - 0.61620406037800089) * t * t;
    w[4] = 47.37952196281928122 * (t - 1.203071208372362603) * (t - 0.658047292653547382) * t * t;
    w[5] = -34.87065786149660974 * (t - 1.2) * (t - 0.666666666666666667) * t * t;
    w[6] = 2.5 * (t - 1) * (t - 0.6) * t * t;
}

static void hermite(const dfoi_tableau *m, double t, double *w)
{
    for (size_t i = 0; i < m->stages; i++)
        w[i] = m->b[i] * t * t * (3 - 2 * t);
    w[0] += t * (1 - t) * (1 - t);
    w[m->stages - 1] += t * t * (t - 1);
}

size_t dfoi_tableau_dense(const dfoi_tableau *m, double theta, double *w)
{
    if (!m->reuses)
        return 0;
    if (!strcmp(m->name, "tsit5"))
        tsitouras(theta, w);
    else if (m->order == 5)                /* dopri5, with either estimate of its errors */
        quartic(m, theta, w);
    else
        hermite(m, theta, w);
    return m->order == 5 ? 4 : 3;
}

size_t dfo_ode_method_dense(const char *name)
{
    const dfoi_tableau *m = dfoi_tableau_named(name);
    double w[DFOI_STAGES];
    return m ? dfoi_tableau_dense(m, 0, w) : 0;
}
