/* The control of steps (Hairer, Norsett and Wanner 1993, II.4 and II.10; Gustafsson 1991; Söderlind 2003).  */
#include <math.h>

#include "tableau_impl.h"

#define SAFETY 0.9

static double within(double x, double low, double high)
{
    return !(x > low) ? low : x < high ? x : high;
}

int dfoi_control_step(const dfo_ode_options *o, double k, dfoi_control *c, double err, double *factor)
{
    double d = isnan(err) ? 0 : 1 / fmax(err, 1e-300);
    int accepted = err < 1;
    double raw = SAFETY * pow(d, (o->p + o->i + o->d) / k) * pow(c->last, -(o->p + 2 * o->d) / k) * pow(c->before, o->d / k);
    *factor = accepted ? within(raw, 1, 10) : within(raw, 0.2, 0.9);
    if (accepted) {
        c->before = c->last;
        c->last = d;
    } else
        c->lost = isnan(err) != 0;
    return accepted;
}

double dfoi_error_squares(const dfo_ode_options *o, size_t n, const dfo_real *err, const dfo_real *y0, const dfo_real *y1)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        double e = (double)err[i] / (o->atol + o->rtol * fmax(fabs((double)y0[i]), fabs((double)y1[i])));
        sum += e * e;
    }
    return sum;
}

double dfoi_two_errors(double e2, double second2)
{
    return e2 > 0 ? e2 / (1 + 0.01 * second2 / e2) : e2;
}

double dfoi_first_guess(double d0, double d1)
{
    return d0 < 1e-5 || d1 < 1e-5 ? 1e-6 : 0.01 * d0 / d1;
}

double dfoi_first_step(double h0, double d1, double d2, double k)
{
    double most = fmax(d1, d2), h1 = most <= 1e-15 ? fmax(1e-6, 1e-3 * h0) : pow(0.01 / most, 1 / k);
    return fmin(100 * h0, h1);
}
