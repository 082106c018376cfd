/* The spline kernels on random parameters: against the scalar spline in long double, against
 * central differences, there and back, every instruction set, and each value by itself.
 *
 * Allowed error of a quantity F at x: eps (128 + 16 B/extent) (1 + |F|), extent being the smaller
 * side of x's bin (a bin's sides differ from the true ones by rounding errors of the order eps B),
 * plus the difference that moving x by eps B (16 + bins/2) makes.  For gradients |F| is the largest
 * entry that the parts it is a sum of have by themselves.  */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "math/isa_impl.h"
#include "spline_call.h"
#include "util.h"

static const double spread[] = {0.1, 1, 4};
static const size_t bins[] = {1, 2, 3, 8, 16, 33, 64};

/* Random sizes and parameters, values mostly inside the box.  */
static struct call random_call(test_rng *rng, size_t k, double std)
{
    scalar_spline s = {.bins = k,
                       .circular = (int)test_rng_between(rng, 0, 1),
                       .bound = test_rng_real(rng, 0.5, 8),
                       .scale = test_rng_between(rng, 0, 1) ? 1 : 0.25,
                       .min_width = 1e-3,
                       .min_height = 1e-3,
                       .min_derivative = 1e-3};
    struct call c = call_new(s, test_rng_between(rng, 1, 3), test_rng_between(rng, 1, 70));
    for (size_t f = 0; f < c.nb; f++)
        for (size_t i = 0; i < c.m; i++)
            for (size_t p = 0; p < c.params; p++)
                set_par(&c, f, i, p, std * test_rng_normal(rng));
    for (size_t v = 0; v < c.nb * c.m; v++) {
        c.x[v] = (dfo_real)(c.scalar.bound * test_rng_real(rng, -1.1, 1.1));
        c.g[v] = (dfo_real)test_rng_normal(rng);
    }
    for (size_t i = 0; i < c.m; i++)
        c.ld[i] = (dfo_real)test_rng_normal(rng);
    return c;
}

static dfo_real *copy(const dfo_real *p, size_t n)
{
    dfo_real *to = new_reals(n);
    memcpy(to, p, n * sizeof *p);
    return to;
}

/* x itself and what lies a knot's rounding error to either side, unless x is outside the box.  */
static void around(const struct call *c, double x, double at[3])
{
    double bound = c->scalar.bound,
           step = (16 + (double)c->scalar.bins / 2) * (double)DFO_REAL_EPS * bound;
    at[0] = at[1] = at[2] = x;
    if (c->scalar.circular) {
        at[1] = x - step;
        at[2] = x + step;
    } else if (fabs(x) <= bound) {
        at[1] = fmax(x - step, -bound);
        at[2] = fmin(x + step, bound);
    }
}

static double rounding(const struct call *c, size_t v, double x)
{
    return (double)DFO_REAL_EPS *
           (128 + 16 * c->scalar.bound / scalar_extent(&c->scalar, raw_of(c, v), x));
}

static void check(const struct call *c, size_t v, const char *what, double got, const double f[3],
                  double size, double unit)
{
    double allowed = unit * (1 + size) + fabs(f[1] - f[0]) + fabs(f[2] - f[0]);
    ck_assert_msg(fabs(got - f[0]) <= allowed,
                  "seed %llu: %s: bins %zu, circular %d, %zu x %zu, value %zu: got %.9g, expected "
                  "%.9g, off by %.3g, "
                  "allowed %.3g",
                  (unsigned long long)test_seed(), what, c->scalar.bins, c->scalar.circular, c->nb,
                  c->m, v, got, f[0], fabs(got - f[0]), allowed);
}

static void values_agree(struct call *c)
{
    size_t n = c->nb * c->m;
    dfo_real *x = copy(c->x, n), *z = copy(c->x, n), *sum = new_reals(c->m);
    for (size_t f = 0; f < c->nb; f++) { /* one feature a time, for its own log-derivative */
        for (size_t i = 0; i < c->m; i++)
            sum[i] = 0;
        dfoi_spline_forward(&c->how, 1, c->m, c->par + f * c->params * c->m, z + f * c->m, sum);
        dfo_real *back = copy(z + f * c->m, c->m), *cancel = copy(sum, c->m);
        dfoi_spline_inverse(&c->how, 1, c->m, c->par + f * c->params * c->m, back, cancel);
        for (size_t i = 0; i < c->m; i++) {
            size_t v = f * c->m + i;
            double at[3], y[3], ld[3], unit = rounding(c, v, (double)x[v]);
            around(c, (double)x[v], at);
            for (size_t e = 0; e < 3; e++)
                scalar_forward(&c->scalar, raw_of(c, v), at[e], y + e, ld + e);
            check(c, v, "z", (double)z[v], y, c->scalar.bound, (double)DFO_REAL_EPS * 32);
            check(c, v, "logdet", (double)sum[i], ld, fabs(ld[0]), unit);

            double u[3], none[3] = {0, 0, 0};
            around(c, (double)z[v], at);
            for (size_t e = 0; e < 3; e++) {
                u[e] = scalar_inverse(&c->scalar, raw_of(c, v), at[e]);
                scalar_forward(&c->scalar, raw_of(c, v), u[e], y + e, ld + e);
            }
            check(c, v, "x", (double)back[i], u, c->scalar.bound, (double)DFO_REAL_EPS * 32);
            for (size_t e = 1; e < 3; e++)
                none[e] = ld[e] - ld[0];
            check(c, v, "sum of both logdets", (double)cancel[i], none, fabs(ld[0]), unit);
        }
        put_reals(back, c->m);
        put_reals(cancel, c->m);
    }
    put_reals(x, n);
    put_reals(z, n);
    put_reals(sum, c->m);
}

typedef double scalar_pass(const scalar_spline *, const double *, double, double, double, double *);

/* The largest entry of the parts that a value's gradient is a sum of.  */
static double parts(const struct call *c, size_t v, double x, double g, double gl, int inverse)
{
    double *entry = malloc(c->params * sizeof *entry), size = fabs(g);
    ck_assert_ptr_nonnull(entry);
    if (inverse) { /* the forward pass's gradient at (g - gl curve) / slope */
        double y, logdet, curve = scalar_backward(&c->scalar, raw_of(c, v), x, 0, 1, entry);
        scalar_forward(&c->scalar, raw_of(c, v), x, &y, &logdet);
        g = (fabs(g) + fabs(gl * curve)) * exp(-logdet);
        size = g;
    }
    for (int part = 0; part < 2; part++) {
        double row =
            scalar_backward(&c->scalar, raw_of(c, v), x, part ? 0 : g, part ? gl : 0, entry);
        size = fmax(size, inverse ? 0 : fabs(row));
        for (size_t k = 0; k < c->params; k++)
            size = fmax(size, fabs(entry[k]));
    }
    free(entry);
    return size;
}

/* c->x holds what the kernel is given; the gradient is taken at x (given or rebuilt).  The inverse's goes through
   the slope and the curvature, whose rounding adds to the forward map's: 1.5 times its bound was met in two of 101 runs.  */
static void gradient_agrees(struct call *c, int inverse)
{
    size_t n = c->nb * c->m, entries = c->params + 1;
    dfo_real *given = copy(c->x, n), *g = copy(c->g, n);
    double *want[3];
    for (size_t e = 0; e < 3; e++)
        want[e] = malloc(entries * sizeof *want[e]);
    if (inverse)
        dfoi_spline_inverse_backward(&c->how, c->nb, c->m, c->par, c->x, c->g, c->ld, c->gpar);
    else
        dfoi_spline_backward(&c->how, c->nb, c->m, c->par, c->x, c->g, c->ld, c->gpar);
    scalar_pass *pass = inverse ? scalar_inverse_backward : scalar_backward;
    for (size_t v = 0; v < n; v++) {
        size_t f = v / c->m, i = v % c->m;
        double at[3], size, x = (double)(inverse ? given[v] : c->x[v]);
        around(c, x, at);
        size = parts(c, v, x, (double)g[v], (double)c->ld[i], inverse);
        for (size_t e = 0; e < 3; e++)
            want[e][0] =
                pass(&c->scalar, raw_of(c, v), at[e], (double)g[v], (double)c->ld[i], want[e] + 1);
        for (size_t k = 0; k < entries; k++) {
            double three[3] = {want[0][k], want[1][k], want[2][k]};
            double got = (double)(k ? c->gpar[par_at(c, f, i, k - 1)] : c->g[v]);
            check(c, v, inverse ? "gradient of the inverse" : "gradient", got, three, size,
                  (inverse ? 2 : 1) * rounding(c, v, x));
        }
    }
    for (size_t e = 0; e < 3; e++)
        free(want[e]);
    put_reals(given, n);
    put_reals(g, n);
}

START_TEST(scalar)
{
    test_rng rng = test_rng_new(test_seed());
    for (size_t t = 0; t < test_times(1); t++)
        for (size_t s = 0; s < sizeof spread / sizeof *spread; s++)
            for (size_t k = 0; k < sizeof bins / sizeof *bins; k++) {
                struct call c = random_call(&rng, bins[k], spread[s]);
                values_agree(&c);
                call_free(&c);
                for (int inverse = 0; inverse < 2; inverse++) {
                    c = random_call(&rng, bins[k], spread[s]);
                    gradient_agrees(&c, inverse);
                    call_free(&c);
                }
            }
}
END_TEST

/* L = sum g z + sum gl logdet of the kernels themselves, for differences.  */
static double loss(const struct call *c, const dfo_real *par, const dfo_real *x, int inverse)
{
    size_t n = c->nb * c->m;
    dfo_real *z = copy(x, n), *ld = new_reals(c->m);
    double sum = 0;
    for (size_t i = 0; i < c->m; i++)
        ld[i] = 0;
    (inverse ? dfoi_spline_inverse : dfoi_spline_forward)(&c->how, c->nb, c->m, par, z, ld);
    for (size_t v = 0; v < n; v++)
        sum += (double)(c->g[v] * z[v]);
    for (size_t i = 0; i < c->m; i++)
        sum += (double)(c->ld[i] * ld[i]);
    put_reals(z, n);
    put_reals(ld, c->m);
    return sum;
}

/* The loss s steps of h along (dp, dx) from c's arrays.  */
static double stepped(const struct call *c, const dfo_real *dp, const dfo_real *dx, double s,
                      int inverse)
{
    size_t n = c->nb * c->m, np = n * c->params;
    dfo_real *par = copy(c->par, np), *x = copy(c->x, n);
    for (size_t p = 0; p < np; p++)
        par[p] += (dfo_real)s * dp[p];
    for (size_t v = 0; v < n; v++)
        x[v] += (dfo_real)s * dx[v];
    double value = loss(c, par, x, inverse);
    put_reals(par, np);
    put_reals(x, n);
    return value;
}

/* The slope of the loss is the backward pass's.  Differences of fourth order, since the curvature in narrow bins is
   large.  The log-determinant's slope jumps at a knot: where a step crosses one, the differences of the side that does
   not are taken.  */
static int slope_agrees(const struct call *c, const dfo_real *dp, const dfo_real *dx, int inverse,
                        double slope, double *measured)
{
    double h = 1e-6, tol = 1e-6 * (1 + fabs(slope)) * sqrt((double)(c->nb * c->m)), at[9];
    double *f = at + 4, side[2];
    for (int s = -4; s <= 4; s++)
        f[s] = stepped(c, dp, dx, s * h, inverse);
    *measured = (8 * (f[1] - f[-1]) - (f[2] - f[-2])) / (12 * h);
    for (int s = -1; s <= 1; s += 2)
        side[s > 0] = s * (48 * f[s] - 25 * f[0] - 36 * f[2 * s] + 16 * f[3 * s] - 3 * f[4 * s]) / (12 * h);
    return fabs(*measured - slope) <= tol || fabs(side[0] - slope) <= tol ||
           fabs(side[1] - slope) <= tol;
}

START_TEST(differences)
{
    test_rng rng = test_rng_new(test_seed());
    for (size_t t = 0; IS_DOUBLE && t < test_times(40); t++) {
        struct call c = random_call(&rng, bins[t % (sizeof bins / sizeof *bins)], 0.7);
        int inverse = (int)(t / 7 % 2);
        size_t n = c.nb * c.m, np = n * c.params;
        double slope = 0, measured;
        struct call start = c;
        start.par = copy(c.par, np);
        start.x = copy(c.x, n);
        start.g = copy(c.g, n);
        dfo_real *dx = new_reals(n), *dp = new_reals(np);
        for (size_t v = 0; v < n; v++)
            dx[v] = (dfo_real)test_rng_normal(&rng);
        for (size_t p = 0; p < np; p++)
            dp[p] = (dfo_real)test_rng_normal(&rng);
        if (inverse) { /* backward wants the pass's output */
            dfo_real *ld = copy(c.ld, c.m);
            dfoi_spline_inverse(&c.how, c.nb, c.m, c.par, c.x, ld);
            put_reals(ld, c.m);
            dfoi_spline_inverse_backward(&c.how, c.nb, c.m, c.par, c.x, c.g, c.ld, c.gpar);
        } else {
            dfo_real *ld = copy(c.ld, c.m);
            dfoi_spline_forward(&c.how, c.nb, c.m, c.par, c.x, ld);
            put_reals(ld, c.m);
            dfoi_spline_backward(&c.how, c.nb, c.m, c.par, c.x, c.g, c.ld, c.gpar);
        }
        for (size_t v = 0; v < n; v++)
            slope += (double)(c.g[v] * dx[v]);
        for (size_t p = 0; p < np; p++)
            slope += (double)(c.gpar[p] * dp[p]);
        ck_assert_msg(slope_agrees(&start, dp, dx, inverse, slope, &measured),
                      "seed %llu: bins %zu, circular %d, inverse %d, %zu x %zu: gradient %.9g, "
                      "difference %.9g",
                      (unsigned long long)test_seed(), c.scalar.bins, c.scalar.circular, inverse,
                      c.nb, c.m, slope, measured);
        put_reals(start.par, np);
        put_reals(start.x, n);
        put_reals(start.g, n);
        put_reals(dx, n);
        put_reals(dp, np);
        call_free(&c);
    }
}
END_TEST

/* Runs one pass of a table on copies of c's arrays and gives its results one after another.  */
static dfo_real *results(const struct dfoi_spline_kernels *k, const struct call *c, int op,
                         size_t first, size_t m)
{
    size_t n = c->nb * m, np = n * c->params;
    dfo_real *par = new_reals(np), *out = new_reals(2 * n + np + m), *x = out, *g = x + n,
             *gpar = g + n;
    dfo_real *ld = gpar + np;
    for (size_t f = 0; f < c->nb; f++)
        for (size_t i = 0; i < m; i++) {
            x[f * m + i] = c->x[f * c->m + first + i];
            g[f * m + i] = c->g[f * c->m + first + i];
            ld[i] = c->ld[first + i];
            for (size_t p = 0; p < c->params; p++)
                par[(f * c->params + p) * m + i] = c->par[par_at(c, f, first + i, p)];
        }
    for (size_t p = 0; p < np; p++)
        gpar[p] = 0;
    if (op == 0)
        k->forward(&c->how, c->nb, m, par, x, ld);
    else if (op == 1)
        k->inverse(&c->how, c->nb, m, par, x, ld);
    else if (op == 2)
        k->backward(&c->how, c->nb, m, par, x, g, ld, gpar);
    else
        k->inverse_backward(&c->how, c->nb, m, par, x, g, ld, gpar);
    put_reals(par, np);
    return out;
}

START_TEST(same_bits)
{
    test_rng rng = test_rng_new(test_seed());
    for (size_t t = 0; t < test_times(60); t++) {
        size_t k = bins[test_rng_between(&rng, 0, sizeof bins / sizeof *bins - 1)];
        struct call c = random_call(&rng, k, spread[t % 3]);
        int op = (int)(t % 4);
        size_t n = c.nb * c.m, all = 2 * n + n * c.params + c.m;
        dfo_real *want = results(&dfoi_spline_kernels_generic, &c, op, 0, c.m);
        for (int level = 1; level <= (int)dfoi_cpu_level(); level++) {
            dfo_real *got =
                results(DFOI_AT_LEVEL(dfoi_spline_kernels, (dfoi_cpu)level), &c, op, 0, c.m);
            ck_assert_msg(!memcmp(got, want, all * sizeof *got),
                          "seed %llu: pass %d, bins %zu, %zu x %zu: level %d "
                          "gives other bits than generic",
                          (unsigned long long)test_seed(), op, k, c.nb, c.m, level);
            put_reals(got, all);
        }
        /* a value by itself, with neither neighbours nor its place among the lanes */
        size_t i = test_rng_between(&rng, 0, c.m - 1);
        dfo_real *one = results(DFOI_PICK(dfoi_spline_kernels), &c, op, i, 1);
        for (size_t f = 0; f < c.nb; f++) {
            ck_assert(one[f] == want[f * c.m + i] && one[c.nb + f] == want[n + f * c.m + i]);
            for (size_t p = 0; p < c.params; p++)
                ck_assert(one[2 * c.nb + f * c.params + p] == want[2 * n + par_at(&c, f, i, p)]);
        }
        ck_assert(one[2 * c.nb + c.nb * c.params] == want[2 * n + n * c.params + i]);
        put_reals(one, 2 * c.nb + c.nb * c.params + 1);
        put_reals(want, all);
        call_free(&c);
    }
}
END_TEST

TCase *spline_random_tests(void)
{
    TCase *t = tcase_create("random");
    tcase_set_timeout(t, 120);
    tcase_add_test(t, scalar);
    tcase_add_test(t, differences);
    tcase_add_test(t, same_bits);
    return t;
}
