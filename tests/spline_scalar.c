/* The scalar spline (spline_scalar.h): textbook formulas in long double.  */
#include <math.h>
#include <string.h>

#include "spline_scalar.h"

typedef long double real;
enum { MOST = 256 };

struct knots {
    real x[MOST + 1], y[MOST + 1], d[MOST + 1], pw[MOST], ph[MOST], sigmoid[MOST + 1];
};

static void softmax(size_t bins, real scale, const double *raw, real *p)
{
    real top = raw[0], sum = 0;
    for (size_t k = 1; k < bins; k++)
        top = fmaxl(top, raw[k]);
    for (size_t k = 0; k < bins; k++)
        sum += p[k] = expl(scale * (raw[k] - top));
    for (size_t k = 0; k < bins; k++)
        p[k] /= sum;
}

static void knots_of(const scalar_spline *how, const double *raw, struct knots *t)
{
    size_t bins = how->bins;
    real b = how->bound, kw = 1 - (real)bins * how->min_width,
         kh = 1 - (real)bins * how->min_height;
    softmax(bins, how->scale, raw, t->pw);
    softmax(bins, how->scale, raw + bins, t->ph);
    t->x[0] = t->y[0] = -b;
    for (size_t k = 0; k < bins; k++) {
        t->x[k + 1] = t->x[k] + 2 * b * (how->min_width + kw * t->pw[k]);
        t->y[k + 1] = t->y[k] + 2 * b * (how->min_height + kh * t->ph[k]);
    }
    t->x[bins] = t->y[bins] = b;
    for (size_t k = 0; k <= bins; k++) {
        t->d[k] = 1;
        t->sigmoid[k] = 0;
        if (how->circular || (k > 0 && k < bins)) {
            real r = raw[2 * bins + (how->circular ? k % bins : k - 1)];
            t->d[k] = how->min_derivative + (r > 0 ? r : 0) + log1pl(expl(-fabsl(r)));
            t->sigmoid[k] = 1 / (1 + expl(-r));
        }
    }
}

static size_t find(const real *knot, size_t bins, real at)
{
    size_t k = 0;
    while (k + 1 < bins && at >= knot[k + 1])
        k++;
    return k;
}

static int outside(const scalar_spline *how, double *x)
{
    if (how->circular && fabs(*x) > how->bound && isfinite(*x))
        *x = (double)remainderl(*x, 2 * (real)how->bound);
    return !(fabs(*x) <= how->bound);
}

static void value(const struct knots *t, size_t k, real x, real *y, real *slope)
{
    real w = t->x[k + 1] - t->x[k], h = t->y[k + 1] - t->y[k], s = h / w, xi = (x - t->x[k]) / w;
    real a = xi * (1 - xi), dn = s + (t->d[k + 1] + t->d[k] - 2 * s) * a;
    *y = t->y[k] + h * (s * xi * xi + t->d[k] * a) / dn;
    *slope =
        s * s * (t->d[k + 1] * xi * xi + 2 * s * a + t->d[k] * (1 - xi) * (1 - xi)) / (dn * dn);
}

void scalar_forward(const scalar_spline *how, const double *raw, double x, double *y,
                    double *logdet)
{
    struct knots t;
    real v, slope;
    *logdet = 0;
    if (outside(how, &x)) {
        *y = x;
        return;
    }
    knots_of(how, raw, &t);
    value(&t, find(t.x, how->bins, x), x, &v, &slope);
    *y = (double)v;
    *logdet = (double)logl(slope);
}

double scalar_inverse(const scalar_spline *how, const double *raw, double y)
{
    struct knots t;
    if (outside(how, &y))
        return y;
    knots_of(how, raw, &t);
    size_t k = find(t.y, how->bins, y);
    real w = t.x[k + 1] - t.x[k], h = t.y[k + 1] - t.y[k], s = h / w, dy = y - t.y[k], v, slope;
    real sum = t.d[k + 1] + t.d[k] - 2 * s;
    real a = h * (s - t.d[k]) + dy * sum, b = h * t.d[k] - dy * sum, c = -s * dy;
    real x = t.x[k] + w * 2 * c / (-b - sqrtl(fmaxl(b * b - 4 * a * c, 0)));
    value(&t, k, x, &v, &slope);
    return (double)(x - (v - y) / slope);
}

double scalar_backward(const scalar_spline *how, const double *raw, double x, double gy, double gl,
                       double *graw)
{
    struct knots t;
    size_t bins = how->bins, count = 3 * bins - (how->circular ? 0 : 1);
    memset(graw, 0, count * sizeof *graw);
    if (outside(how, &x))
        return gy;
    knots_of(how, raw, &t);
    size_t k = find(t.x, bins, x);
    real w = t.x[k + 1] - t.x[k], h = t.y[k + 1] - t.y[k], s = h / w, xi = (x - t.x[k]) / w,
         om = 1 - xi;
    real d0 = t.d[k], d1 = t.d[k + 1], a = xi * om, bc = d1 + d0 - 2 * s, n = s * xi * xi + d0 * a,
         dn = s + bc * a;
    real m = d1 * xi * xi + 2 * s * a + d0 * om * om, q = dn * dn;
    real g_xi =
        gy * h * ((2 * s * xi + d0 * (1 - 2 * xi)) * dn - n * bc * (1 - 2 * xi)) / q +
        gl * ((2 * d1 * xi + 2 * s * (1 - 2 * xi) - 2 * d0 * om) / m - 2 * bc * (1 - 2 * xi) / dn);
    real g_s = gy * h * (xi * xi * dn - n * (1 - 2 * a)) / q +
               gl * (2 / s + 2 * a / m - 2 * (1 - 2 * a) / dn);
    real g_d0 = gy * h * a * (dn - n) / q + gl * (om * om / m - 2 * a / dn);
    real g_d1 = -gy * h * n * a / q + gl * (xi * xi / m - 2 * a / dn);
    real g_w = -g_xi * xi / w - g_s * h / (w * w), g_h = gy * n / dn + g_s / w;

    real mean_w = 0, mean_h = 0, b2 = 2 * (real)how->bound * how->scale;
    for (size_t j = 0; j <= k; j++) {
        mean_w += t.pw[j] * (j < k ? -g_xi / w : g_w);
        mean_h += t.ph[j] * (j < k ? gy : g_h);
    }
    for (size_t j = 0; j < bins; j++) {
        real gw = j < k ? -g_xi / w : j == k ? g_w : 0, gh = j < k ? gy : j == k ? g_h : 0;
        graw[j] = (double)(b2 * (1 - (real)bins * how->min_width) * t.pw[j] * (gw - mean_w));
        graw[bins + j] =
            (double)(b2 * (1 - (real)bins * how->min_height) * t.ph[j] * (gh - mean_h));
    }
    for (size_t e = 0; e < 2; e++) {
        size_t knot = k + e;
        if (how->circular || (knot > 0 && knot < bins))
            graw[2 * bins + (how->circular ? knot % bins : knot - 1)] +=
                (double)((e ? g_d1 : g_d0) * t.sigmoid[knot]);
    }
    return (double)(g_xi / w);
}

double scalar_inverse_backward(const scalar_spline *how, const double *raw, double x, double gx,
                               double gl, double *graw)
{
    double y, logdet, curve = scalar_backward(how, raw, x, 0, 1, graw);
    scalar_forward(how, raw, x, &y, &logdet);
    double gy = (gx - gl * curve) * exp(-logdet);
    scalar_backward(how, raw, x, -gy, -gl, graw);
    return gy;
}

double scalar_extent(const scalar_spline *how, const double *raw, double x)
{
    struct knots t;
    if (outside(how, &x))
        return 2 * how->bound;
    knots_of(how, raw, &t);
    size_t k = find(t.x, how->bins, x);
    return (double)fminl(t.x[k + 1] - t.x[k], t.y[k + 1] - t.y[k]);
}
