/* The toys' definitions.  Row i is a function of the key alone.  Sources: moons, circles, rings,
 * swissroll, pinwheel, spirals, gaussians8, checkerboard are FFJORD's (Grathwohl et al. 2019,
 * toy_data.py; the first ones scikit-learn's), gaussians25 that of Gulrajani et al. 2017, two-moons and
 * ring-mixture the targets of these names in normflows (Stimper et al. 2023).  Three differ, so that their
 * densities are known: spirals has no uniform jitter, angles along moons and circles are random, not a
 * grid, and pinwheel (Johnson et al. 2016) twists by exp(|x|) in place of exp(x_1): a twist keeps areas.
 *
 * Entropies, nats: checkerboard and gaussian exact; the others by quadrature of -p log p, a second
 * program's, unchanged to 1e-8 when the step was halved.  */
#include <math.h>
#include <string.h>

#include "data/toy_impl.h"

#define PI 3.14159265358979323846
#define LOG_2PI 1.83787706640934548356

/* Two uniforms, or two normals from two uniforms (Box, Muller 1958), at place `at` of the row's stream.  */
static void uniform2(dfo_key key, size_t at, double u[2])
{
    dfo_draw_uniform(key, 2 * at, 2, u);
}

static void normal2(dfo_key key, size_t at, double z[2])
{
    double u[2];
    uniform2(key, at, u);
    double r = sqrt(-2 * log(u[0]));
    z[0] = r * cos(2 * PI * u[1]);
    z[1] = r * sin(2 * PI * u[1]);
}

static size_t choose(double u, size_t n)
{
    size_t k = (size_t)(u * (double)n);
    return k < n ? k : n - 1;
}

static void add_noise(const dfoi_toy *toy, dfo_key key, double *x)
{
    double z[2];
    normal2(key, 1, z);
    x[0] += toy->sigma * z[0];
    x[1] += toy->sigma * z[1];
}

static double log_normal(double x, double mean, double sigma)
{
    double t = (x - mean) / sigma;
    return -0.5 * t * t - log(sigma) - 0.5 * LOG_2PI;
}

static double log_add(double a, double b)
{
    double high = fmax(a, b);
    return high + log1p(exp(fmin(a, b) - high));
}

/* ---- mixtures of round normals ---- */

static void centre8(size_t k, double *x)
{
    double r = 4 / sqrt(2.0), t = PI / 4 * (double)k;
    x[0] = r * cos(t);
    x[1] = r * sin(t);
}

static void centre25(size_t k, double *x)
{
    x[0] = 2 / 2.828 * ((double)(k / 5) - 2);
    x[1] = 2 / 2.828 * ((double)(k % 5) - 2);
}

static void centre(const dfoi_toy *toy, size_t k, double *x)
{
    if (toy->count == 8)
        centre8(k, x);
    else
        centre25(k, x);
}

static void draw_centres(const dfoi_toy *toy, dfo_key key, size_t d, double *x)
{
    double u[2];
    (void)d;
    uniform2(key, 0, u);
    centre(toy, choose(u[0], toy->count), x);
    add_noise(toy, key, x);
}

static size_t nodes_centres(const dfoi_toy *toy, size_t room, dfoi_node *out)
{
    for (size_t k = 0; k < room; k++) {
        double x[2];
        centre(toy, k, x);
        out[k] = (dfoi_node){x[0], x[1], 1 / (double)toy->count};
    }
    return toy->count;
}

/* ---- curves with normal noise ---- */

/* Point t of arm k.  */
static void moon(size_t k, double t, double *x)
{
    x[0] = 2 * (k ? 1 - cos(t) : cos(t)) - 1;
    x[1] = 2 * (k ? 0.5 - sin(t) : sin(t)) - 0.2;
}

static void spiral(size_t k, double t, double *x)
{
    double s = k ? 1 : -1;
    x[0] = s * t * cos(t) / 3;
    x[1] = -s * t * sin(t) / 3;
}

static void roll(size_t k, double t, double *x)
{
    (void)k;
    x[0] = t * cos(t) / 5;
    x[1] = t * sin(t) / 5;
}

/* number = {first t, last t, power, panels}: t is uniform (power 1) or has a density that rises with t
 * from 0 (power 2: the largest of two uniforms); panels are for the quadrature.  */
typedef void (*curve)(size_t k, double t, double *x);

static curve curve_of(const dfoi_toy *toy)
{
    return toy->number[2] > 1 ? spiral : toy->count > 1 ? moon : roll;
}

static void draw_curve(const dfoi_toy *toy, dfo_key key, size_t d, double *x)
{
    const double *c = toy->number;
    double u[2];
    (void)d;
    uniform2(key, 0, u);
    curve_of(toy)(choose(u[0], toy->count), c[0] + (c[1] - c[0]) * pow(u[1], 1 / c[2]), x);
    add_noise(toy, key, x);
}

/* Gauss-Legendre, 8 nodes a panel; panels move by about one sigma at most.  */
static size_t nodes_curve(const dfoi_toy *toy, size_t room, dfoi_node *out)
{
    static const double at[4] = {0.1834346424956498, 0.5255324099163290, 0.7966664774136267, 0.9602898564975363};
    static const double weight[4] = {0.3626837833783620, 0.3137066458778873, 0.2223810344533745,
                                     0.1012285362903763};
    const double *c = toy->number;
    const size_t panels = (size_t)c[3];
    double h = (c[1] - c[0]) / (double)panels;
    size_t n = 0;
    for (size_t k = 0; room && k < toy->count; k++)
        for (size_t p = 0; p < panels; p++)
            for (int j = 0; j < 8; j++) {
                double s = j < 4 ? at[j] : -at[j - 4], x[2];
                double t = c[0] + h * ((double)p + 0.5 + 0.5 * s);
                double density = c[2] > 1 ? 2 * t / (c[1] * c[1]) : 1 / (c[1] - c[0]);
                curve_of(toy)(k, t, x);
                out[n++] = (dfoi_node){x[0], x[1], 0.5 * h * weight[j & 3] * density / (double)toy->count};
            }
    return toy->count * panels * 8;
}

/* ---- circles with normal noise ---- */

static void draw_circle(const dfoi_toy *toy, dfo_key key, size_t d, double *x)
{
    double u[2];
    (void)d;
    uniform2(key, 0, u);
    double r = toy->number[choose(u[0], toy->count)];
    x[0] = r * cos(2 * PI * u[1]);
    x[1] = r * sin(2 * PI * u[1]);
    add_noise(toy, key, x);
}

/* log(e^-z I_0(z)), z >= 0: power series, or asymptotic series (Abramowitz, Stegun 9.6.12, 9.7.1).  */
static double log_bessel(double z)
{
    double sum = 1, term = 1;
    if (z < 30) {
        for (int k = 1; k < 80; k++) {
            term *= z * z / (4.0 * k * k);
            sum += term;
        }
        return log(sum) - z;
    }
    for (int k = 1; k < 26; k++) {
        term *= (2.0 * k - 1) * (2.0 * k - 1) / (8.0 * k * z);
        sum += term;
    }
    return log(sum) - 0.5 * (LOG_2PI + log(z));
}

/* A circle of radius R blurred by N(0, s^2 I): e^(-(r^2+R^2)/2s^2) I_0(rR/s^2) / (2 pi s^2).  */
static double log_prob_circle(const dfoi_toy *toy, size_t d, const double *x)
{
    double r = hypot(x[0], x[1]), s = toy->sigma, sum = -HUGE_VAL;
    (void)d;
    for (size_t k = 0; k < toy->count; k++) {
        double t = (r - toy->number[k]) / s, z = r / s * toy->number[k] / s;
        double one = -0.5 * t * t + log_bessel(z);
        sum = k ? log_add(sum, one) : one;
    }
    return sum - log((double)toy->count) - LOG_2PI - 2 * log(s);
}

/* ---- ring-mixture: p proportional to sum_k exp(-(r - R_k)^2 / 2s^2) ---- */

/* Integral of r exp(-(r-R)^2/2s^2) from 0 to `to`.  */
static double ring_mass(double radius, double s, double to)
{
    double a = radius / s, b = (to - radius) / s;
    return s * s * (exp(-0.5 * a * a) - exp(-0.5 * b * b)) +
           radius * s * sqrt(PI / 2) * (erf(b / sqrt(2.0)) + erf(a / sqrt(2.0)));
}

static void draw_ring(const dfoi_toy *toy, dfo_key key, size_t d, double *x)
{
    double mass[2], u[2], v[2], s = toy->sigma;
    (void)d;
    uniform2(key, 0, u);
    uniform2(key, 1, v);
    for (int k = 0; k < 2; k++)
        mass[k] = ring_mass(toy->number[k], s, toy->number[k] + 12 * s);
    int k = u[0] * (mass[0] + mass[1]) >= mass[0];
    double low = 0, high = toy->number[k] + 12 * s, want = u[1] * mass[k];
    for (int i = 0; i < 56; i++) {                         /* the mass rises with r */
        double middle = 0.5 * (low + high);
        if (ring_mass(toy->number[k], s, middle) < want)
            low = middle;
        else
            high = middle;
    }
    x[0] = high * cos(2 * PI * v[0]);
    x[1] = high * sin(2 * PI * v[0]);
}

static double log_prob_ring(const dfoi_toy *toy, size_t d, const double *x)
{
    const double *c = toy->number;
    double r = hypot(x[0], x[1]), s = toy->sigma;
    double a = (r - c[0]) / s, b = (r - c[1]) / s;
    (void)d;
    return log_add(-0.5 * a * a, -0.5 * b * b) - LOG_2PI -
           log(ring_mass(c[0], s, c[0] + 12 * s) + ring_mass(c[1], s, c[1] + 12 * s));
}

/* ---- two-moons: exp(-(r-2)^2/2(.2)^2) (exp(-(x-2)^2/2(.3)^2) + exp(-(x+2)^2/2(.3)^2)) / Z ---- */

#define LOG_Z 0.8042144486322

/* Rejection from r = 2 + .2 z and a uniform angle: r <= 4 as |z| < 9 for 53-bit uniforms.  */
static void draw_two_moons(const dfoi_toy *toy, dfo_key key, size_t d, double *x)
{
    (void)toy;
    (void)d;
    for (size_t attempt = 0; attempt < 2000; attempt++) {
        double z[2], u[2], v[2];
        normal2(key, 3 * attempt, z);
        uniform2(key, 3 * attempt + 1, u);
        uniform2(key, 3 * attempt + 2, v);
        double r = 2 + 0.2 * z[0], t = (r * cos(2 * PI * u[0]) - 2) / 0.3;
        x[0] = v[0] < 0.5 ? r * cos(2 * PI * u[0]) : -r * cos(2 * PI * u[0]);
        x[1] = r * sin(2 * PI * u[0]);
        if (u[1] * 4 < r * exp(-0.5 * t * t))              /* r is the area's, not in the density */
            return;
    }
}

static double log_prob_two_moons(const dfoi_toy *toy, size_t d, const double *x)
{
    double t = (hypot(x[0], x[1]) - 2) / 0.2, a = (x[0] - 2) / 0.3, b = (x[0] + 2) / 0.3;
    (void)toy;
    (void)d;
    return -0.5 * t * t + log_add(-0.5 * a * a, -0.5 * b * b) - LOG_Z;
}

/* ---- pinwheel: five blades N((1,0), diag(.3^2,.1^2)), turned by 2 pi k/5 + e^r/4, times 2 ---- */

static void draw_pinwheel(const dfoi_toy *toy, dfo_key key, size_t d, double *x)
{
    double u[2], z[2];
    (void)toy;
    (void)d;
    uniform2(key, 0, u);
    normal2(key, 1, z);
    double a = 1 + 0.3 * z[0], b = 0.1 * z[1];
    double turn = 2 * PI / 5 * (double)choose(u[0], 5) + 0.25 * exp(hypot(a, b));
    x[0] = 2 * (cos(turn) * a - sin(turn) * b);
    x[1] = 2 * (sin(turn) * a + cos(turn) * b);
}

static double log_prob_pinwheel(const dfoi_toy *toy, size_t d, const double *x)
{
    double r = hypot(x[0], x[1]) / 2, sum = 0;
    (void)toy;
    (void)d;
    if (r > 700)
        return -HUGE_VAL;                                  /* 2,000 sigma out; e^r would overflow */
    for (int k = 0; k < 5; k++) {
        double turn = 2 * PI / 5 * k + 0.25 * exp(r);
        double a = (cos(turn) * x[0] + sin(turn) * x[1]) / 2, b = (cos(turn) * x[1] - sin(turn) * x[0]) / 2;
        double one = log_normal(a, 1, 0.3) + log_normal(b, 0, 0.1);
        sum = k ? log_add(sum, one) : one;
    }
    return sum - log(5 * 4.0);
}

/* ---- checkerboard: uniform on eight squares of side 2 in [-4,4]^2 ---- */

static void draw_checkerboard(const dfoi_toy *toy, dfo_key key, size_t d, double *x)
{
    double u[2], v[2];
    (void)toy;
    (void)d;
    uniform2(key, 0, u);
    uniform2(key, 1, v);
    double a = 4 * u[0] - 2, odd = fmod(floor(a) + 4, 2);
    x[0] = 2 * a;
    x[1] = 2 * (u[1] - (v[0] < 0.5 ? 2 : 0) + odd);
}

static double log_prob_checkerboard(const dfoi_toy *toy, size_t d, const double *x)
{
    double a = floor(x[0] / 2), b = floor(x[1] / 2);
    (void)toy;
    (void)d;
    if (!(a >= -2 && a < 2 && b >= -2 && b < 2) || fmod(a + b + 8, 2) != 0)
        return -HUGE_VAL;
    return -log(32.0);
}

/* ---- one column, and any number of columns ---- */

static void draw_bimodal(const dfoi_toy *toy, dfo_key key, size_t d, double *x)
{
    double u[2], z[2];
    (void)toy;
    (void)d;
    uniform2(key, 0, u);
    normal2(key, 1, z);
    x[0] = u[0] < 0.4 ? -2 + 0.5 * z[0] : 1.5 + 0.8 * z[0];
}

static double log_prob_bimodal(const dfoi_toy *toy, size_t d, const double *x)
{
    (void)toy;
    (void)d;
    return log_add(log(0.4) + log_normal(x[0], -2, 0.5), log(0.6) + log_normal(x[0], 1.5, 0.8));
}

/* Mean 0, covariance 0.6^|i-j|: x_0 = z_0, x_j = 0.6 x_{j-1} + 0.8 z_j.  */
static void draw_gaussian(const dfoi_toy *toy, dfo_key key, size_t d, double *x)
{
    (void)toy;
    for (size_t j = 0; j < d; j += 2) {
        double z[2];
        normal2(key, j / 2, z);
        x[j] = j ? 0.6 * x[j - 1] + 0.8 * z[0] : z[0];
        if (j + 1 < d)
            x[j + 1] = 0.6 * x[j] + 0.8 * z[1];
    }
}

static double log_prob_gaussian(const dfoi_toy *toy, size_t d, const double *x)
{
    double sum = log_normal(x[0], 0, 1);
    (void)toy;
    for (size_t j = 1; j < d; j++)
        sum += log_normal(x[j], 0.6 * x[j - 1], 0.8);
    return sum;
}

double dfoi_toy_entropy(const dfoi_toy *toy, size_t d)
{
    if (toy->d)
        return toy->entropy;
    return 0.5 * (double)d * (1 + LOG_2PI) + (double)(d - 1) * log(0.8);
}

#define NUMBERS(...) (const double[]){__VA_ARGS__}

const dfoi_toy dfoi_toy_list[DFOI_TOYS] = {
    {.name = "moons", .d = 2, .entropy = 2.39387919597, .sigma = 0.2, .count = 2, .number = NUMBERS(0, PI, 1, 40),
     .draw = draw_curve, .nodes = nodes_curve},
    {.name = "circles", .d = 2, .entropy = 3.26813571171, .sigma = 0.24, .count = 2, .number = NUMBERS(3, 1.5),
     .draw = draw_circle, .log_prob = log_prob_circle},
    {.name = "rings", .d = 2, .entropy = 2.62318277030, .sigma = 0.08, .count = 4,
     .number = NUMBERS(0.75, 1.5, 2.25, 3), .draw = draw_circle, .log_prob = log_prob_circle},
    {.name = "pinwheel", .d = 2, .entropy = 2.32058848503, .draw = draw_pinwheel, .log_prob = log_prob_pinwheel},
    {.name = "checkerboard", .d = 2, .entropy = 3.46573590280, .draw = draw_checkerboard,
     .log_prob = log_prob_checkerboard},
    {.name = "spirals", .d = 2, .entropy = 2.54061789430, .sigma = 0.1, .count = 2, .number = NUMBERS(0, 3 * PI, 2, 320),
     .draw = draw_curve, .nodes = nodes_curve},
    {.name = "swissroll", .d = 2, .entropy = 2.66964617388, .sigma = 0.2, .count = 1,
     .number = NUMBERS(1.5 * PI, 4.5 * PI, 1, 140), .draw = draw_curve, .nodes = nodes_curve},
    {.name = "gaussians8", .d = 2, .entropy = 2.83157836053, .sigma = 0.35355339059327376, .count = 8,
     .draw = draw_centres, .nodes = nodes_centres},
    {.name = "gaussians25", .d = 2, .entropy = -2.01385115190, .sigma = 0.05 / 2.828, .count = 25,
     .draw = draw_centres, .nodes = nodes_centres},
    {.name = "ring-mixture", .d = 2, .entropy = 2.27589281153, .sigma = 0.125, .count = 2, .number = NUMBERS(1, 2),
     .draw = draw_ring, .log_prob = log_prob_ring},
    {.name = "two-moons", .d = 2, .entropy = 1.57106236730, .draw = draw_two_moons, .log_prob = log_prob_two_moons},
    {.name = "bimodal", .d = 1, .entropy = 1.67043040166, .draw = draw_bimodal, .log_prob = log_prob_bimodal},
    {.name = "gaussian", .d = 0, .draw = draw_gaussian, .log_prob = log_prob_gaussian},
};
