/* The spline kernels where things are exact or extreme: bounds, knots, far away, wrapped, huge raw
 * parameters, values that are not finite.  */
#include <math.h>
#include <string.h>

#include "spline_call.h"
#include "util.h"

static scalar_spline settings(size_t bins, int circular)
{
    return (scalar_spline){.bins = bins,
                           .circular = circular,
                           .bound = 3,
                           .scale = 1,
                           .min_width = 1e-3,
                           .min_height = 1e-3,
                           .min_derivative = 1e-3};
}

static void fill(struct call *c, test_rng *rng, double std)
{
    for (size_t f = 0; f < c->nb; f++)
        for (size_t i = 0; i < c->m; i++)
            for (size_t p = 0; p < c->params; p++)
                set_par(c, f, i, p, std * test_rng_normal(rng));
    for (size_t v = 0; v < c->nb * c->m; v++)
        c->g[v] = 1;
    for (size_t i = 0; i < c->m; i++)
        c->ld[i] = 0;
}

static dfo_real next(dfo_real x, dfo_real to)
{
#ifdef DFO_DOUBLE
    return nextafter(x, to);
#else
    return nextafterf(x, to);
#endif
}

START_TEST(bounds_are_exact)
{
    test_rng rng = test_rng_new(test_seed());
    for (int circular = 0; circular < 2; circular++)
        for (size_t bins = 1; bins < 70; bins += 4) {
            struct call c = call_new(settings(bins, circular), 1, 2);
            for (int inverse = 0; inverse < 2; inverse++) {
                fill(&c, &rng, 2);
                c.x[0] = -3;
                c.x[1] = 3;
                (inverse ? dfoi_spline_inverse : dfoi_spline_forward)(&c.how, 1, 2, c.par, c.x,
                                                                      c.ld);
                ck_assert_msg(c.x[0] == -3 && c.x[1] == 3, "bins %zu: %.9g %.9g", bins,
                              (double)c.x[0], (double)c.x[1]);
                ck_assert_msg(circular || fabs((double)c.ld[0]) + fabs((double)c.ld[1]) <=
                                              16 * (double)DFO_REAL_EPS,
                              "bins %zu: logdet %g %g", bins, (double)c.ld[0], (double)c.ld[1]);
            }
            call_free(&c);
        }
}
END_TEST

START_TEST(outside_is_identity)
{
    test_rng rng = test_rng_new(test_seed());
    struct call c = call_new(settings(8, 0), 1, 8);
    const dfo_real far[8] = {next(3, 4),   next(-3, -4),  (dfo_real)3.5,      -1000,
                             DFO_REAL_MAX, -DFO_REAL_MAX, (dfo_real)INFINITY, (dfo_real)-INFINITY};
    for (int op = 0; op < 4; op++) {
        fill(&c, &rng, 2);
        memcpy(c.x, far, sizeof far);
        if (op < 2)
            (op ? dfoi_spline_inverse : dfoi_spline_forward)(&c.how, 1, 8, c.par, c.x, c.ld);
        else
            (op == 3 ? dfoi_spline_inverse_backward : dfoi_spline_backward)(&c.how, 1, 8, c.par,
                                                                            c.x, c.g, c.ld, c.gpar);
        for (size_t i = 0; i < 8; i++)
            ck_assert_msg(c.x[i] == far[i] && c.ld[i] == 0 && c.g[i] == 1, "pass %d: %g", op,
                          (double)far[i]);
        for (size_t p = 0; op >= 2 && p < 8 * c.params; p++)
            ck_assert(c.gpar[p] == 0);
    }
    call_free(&c);
}
END_TEST

/* Values outside the circle's box are the same as those inside they are wrapped to.  */
START_TEST(circles_wrap)
{
    test_rng rng = test_rng_new(test_seed());
    struct call c = call_new(settings(6, 1), 1, 40);
    fill(&c, &rng, 0.5);
    dfo_real z[40], ld[40];
    for (size_t i = 0; i < 40; i++) {
        for (size_t p = 0; p < c.params; p++)
            set_par(&c, 0, i, p, c.raw[p]);
        c.x[i] = (dfo_real)test_rng_real(&rng, -3, 3);
    }
    memcpy(z, c.x, sizeof z);
    memset(ld, 0, sizeof ld);
    dfoi_spline_forward(&c.how, 1, 40, c.par, z, ld);
    for (size_t i = 0; i < 40; i++)
        c.x[i] += (dfo_real)(6 * ((int)i - 20));
    dfoi_spline_forward(&c.how, 1, 40, c.par, c.x, c.ld);
    for (size_t i = 0; i < 40; i++) {
        double off = fabs((double)(c.x[i] - z[i]));
        off = fmin(off, 6 - off); /* -3 and 3 are one point */
        ck_assert_msg(off < 120 * 64 * (double)DFO_REAL_EPS, "wrapped %zu: off by %g", i, off);
        ck_assert_msg(fabs((double)(c.ld[i] - ld[i])) < 120 * 256 * (double)DFO_REAL_EPS,
                      "wrapped %zu: logdet", i);
    }
    /* huge values end somewhere in the box */
    for (size_t i = 0; i < 40; i++)
        c.x[i] = (dfo_real)(pow(10, (double)i - 2) * (i % 2 ? 1 : -1));
    dfoi_spline_forward(&c.how, 1, 40, c.par, c.x, c.ld);
    for (size_t i = 0; i < 40; i++)
        ck_assert_msg(fabs((double)c.x[i]) <= 3 || (double)DFO_REAL_MAX < pow(10, (double)i - 2),
                      "%zu: %g", i, (double)c.x[i]);
    call_free(&c);
}
END_TEST

/* Both passes at the knots themselves: the scalar spline agrees, and knots map to knots.  */
START_TEST(knots_map_to_knots)
{
    test_rng rng = test_rng_new(test_seed());
    for (size_t bins = 2; bins < 40; bins += 5) {
        struct call c = call_new(settings(bins, 0), 1, bins + 1);
        fill(&c, &rng, 1);
        for (size_t i = 1; i <= bins; i++)
            for (size_t p = 0; p < c.params; p++)
                set_par(&c, 0, i, p, c.raw[p]);
        double knot_x = -3, knot_y = -3, sum_w = 0, sum_h = 0, y[40];
        for (size_t k = 0; k < bins; k++) {
            sum_w += exp(c.raw[k]);
            sum_h += exp(c.raw[bins + k]);
        }
        for (size_t k = 0; k <= bins; k++) {
            c.x[k] = (dfo_real)knot_x;
            y[k] = knot_y;
            if (k < bins) {
                knot_x += 6 * (1e-3 + (1 - 1e-3 * (double)bins) * exp(c.raw[k]) / sum_w);
                knot_y += 6 * (1e-3 + (1 - 1e-3 * (double)bins) * exp(c.raw[bins + k]) / sum_h);
            }
        }
        c.x[bins] = 3;
        dfoi_spline_forward(&c.how, 1, c.m, c.par, c.x, c.ld);
        for (size_t k = 0; k <= bins; k++) {
            double slope = k > 0 && k < bins ? 1e-3 + log1p(exp(c.raw[2 * bins + k - 1])) : 1;
            ck_assert_msg(fabs((double)c.x[k] - y[k]) <=
                              32 * (double)DFO_REAL_EPS * 3 * (1 + slope),
                          "bins %zu, knot %zu: "
                          "%.9g, expected %.9g",
                          bins, k, (double)c.x[k], y[k]);
        }
        call_free(&c);
    }
}
END_TEST

/* Raw parameters up to 1e30: everything stays finite, in the box, and monotonic; the inverse comes
 * back into the right bin.  */
START_TEST(huge_parameters)
{
    static const double size[] = {30, 80, 1e3, 1e30};
    test_rng rng = test_rng_new(test_seed());
    for (size_t t = 0; t < 4 * test_times(40); t++) {
        struct call c = call_new(settings(test_rng_between(&rng, 1, 20), (int)(t / 4 % 2)), 1, 65);
        fill(&c, &rng, 1);
        for (size_t p = 0; p < c.params; p++) {
            double raw = size[t % 4] * (double)((int)test_rng_between(&rng, 0, 2) - 1);
            for (size_t i = 0; i < c.m; i++)
                set_par(&c, 0, i, p, p < 2 * c.scalar.bins ? raw : fmax(fmin(raw, 1e4), -1e4));
        }
        for (size_t i = 0; i < c.m; i++)
            c.x[i] = (dfo_real)(-3 + 6 * (double)i / 64);
        dfoi_spline_forward(&c.how, 1, c.m, c.par, c.x, c.ld);
        for (size_t i = 0; i < c.m; i++) {
            ck_assert_msg(fabs((double)c.x[i]) <= 3 && isfinite((double)c.ld[i]),
                          "seed %llu: size %g: %g, logdet %g", (unsigned long long)test_seed(),
                          size[t % 4], (double)c.x[i], (double)c.ld[i]);
            ck_assert_msg(!i || (double)(c.x[i] - c.x[i - 1]) >= -16 * (double)DFO_REAL_EPS * 3,
                          "seed %llu: not monotonic: "
                          "%.9g after %.9g",
                          (unsigned long long)test_seed(), (double)c.x[i], (double)c.x[i - 1]);
            c.ld[i] = 1;
        }
        dfoi_spline_backward(&c.how, 1, c.m, c.par, c.x, c.g, c.ld, c.gpar);
        for (size_t i = 0; i < c.m; i++)
            ck_assert(fabs((double)c.x[i]) <= 3 && isfinite((double)c.g[i]));
        for (size_t p = 0; p < c.m * c.params; p++)
            ck_assert(isfinite((double)c.gpar[p]));
        call_free(&c);
    }
}
END_TEST

/* NaN in, NaN out, in that value alone; whatever the pass.  */
START_TEST(not_finite)
{
    test_rng rng = test_rng_new(test_seed());
    for (int circular = 0; circular < 2; circular++)
        for (int op = 0; op < 4; op++)
            for (size_t what = 0; what < 5;
                 what++) { /* x, a width, a height, the slopes, an infinite width */
                struct call c = call_new(settings(5, circular), 1, 37);
                size_t bad = test_rng_between(&rng, 0, 36);
                fill(&c, &rng, 1);
                for (size_t i = 0; i < c.m; i++)
                    c.x[i] = (dfo_real)test_rng_real(&rng, -3, 3);
                if (what == 0)
                    c.x[bad] = (dfo_real)NAN;
                else if (what < 3)
                    set_par(&c, 0, bad, (what - 1) * 5 + test_rng_between(&rng, 0, 4), NAN);
                else if (what == 4)
                    set_par(&c, 0, bad, test_rng_between(&rng, 0, 9), INFINITY);
                for (size_t p = 10; what == 3 && p < c.params; p++)
                    set_par(&c, 0, bad, p, NAN);
                if (op < 2)
                    (op ? dfoi_spline_inverse : dfoi_spline_forward)(&c.how, 1, c.m, c.par, c.x,
                                                                     c.ld);
                else
                    (op == 3 ? dfoi_spline_inverse_backward
                             : dfoi_spline_backward)(&c.how, 1, c.m, c.par, c.x, c.g, c.ld, c.gpar);
                for (size_t i = 0; i < c.m; i++)
                    ck_assert_msg(isnan((double)c.x[i]) == (i == bad) &&
                                      (i == bad || isfinite((double)c.ld[i])),
                                  "pass %d, circular %d, kind %zu: value %zu of %zu: %g", op,
                                  circular, what, i, bad, (double)c.x[i]);
                call_free(&c);
            }
}
END_TEST

TCase *spline_edge_tests(void)
{
    TCase *t = tcase_create("edge");
    tcase_set_timeout(t, 120);
    tcase_add_test(t, bounds_are_exact);
    tcase_add_test(t, outside_is_identity);
    tcase_add_test(t, circles_wrap);
    tcase_add_test(t, knots_map_to_knots);
    tcase_add_test(t, huge_parameters);
    tcase_add_test(t, not_finite);
    return t;
}
