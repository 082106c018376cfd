/* Layers of the sphere: known places, rotations against a formula of their own, densities that turn with the sphere, poles,
 * what nets are told of features that pass, rows and settings that are refused.  check_sphere_flow.c has flows.  */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coupling_impl.h"
#include "layerfix.h"
#include "util.h"

#define EPS ((double)DFO_REAL_EPS)
#define PI 3.14159265358979323846
#define DEGREE (PI / 180)

static layerfix layer(const char *config, size_t rows)
{
    layerfix f = layerfix_new(json_loads(config, 0, NULL), dfo_shape_vector(2), 0, rows);
    ck_assert_msg(layerfix_prepare(&f) == DFO_OK, "%s: %s", config, f.t->run.text);
    return f;
}

START_TEST(places)
{
    static const double place[][4] = {          /* latitude, longitude, height, half turns */
        {0, 0, 0, 0}, {30, 90, 0.5, 0.5}, {-30, -45, -0.5, -0.25}, {90, 17, 1, 17.0 / 180}, {-90, 0, -1, 0},
        {0, 180, 0, -1}, {0, -180, 0, -1}, {0, 190, 0, -170.0 / 180}, {0, 359, 0, -1.0 / 180}, {0, -540, 0, -1},
    };
    for (int radians = 0; radians < 2; radians++) {
        layerfix f = layer(radians ? "{\"type\":\"sphere\",\"units\":\"radians\"}" : "{\"type\":\"sphere\"}", 1);
        double unit = radians ? DEGREE : 1;
        for (size_t k = 0; k < sizeof place / sizeof *place; k++) {
            double x[2] = {place[k][0] * unit, place[k][1] * unit}, z[2], again[2], to, from;
            ck_assert_int_eq(layerfix_forward(&f, 1, x, NULL, z, &to), DFO_OK);
            double turn = fabs(z[1] - place[k][3]);
            ck_assert_msg(fabs(z[0] - place[k][2]) <= 4 * EPS && fmin(turn, fabs(turn - 2)) <= 8 * EPS, "%g, %g: %.17g %.17g",
                          x[0], x[1], z[0], z[1]);
            ck_assert_int_eq(layerfix_inverse(&f, 1, z, NULL, again, &from), DFO_OK);
            double off = fabs(remainder(again[1] - x[1], 360 * unit));
            ck_assert_msg(fabs(again[0] - x[0]) <= 360 * unit * EPS && off <= 1440 * unit * EPS, "%g, %g back: %.17g, %.17g", x[0],
                          x[1], again[0], again[1]);
            ck_assert_msg(fabs(to + log(PI)) <= 1e-15 && from == -to, "log-dets %.17g, %.17g", to, from);
        }
        layerfix_free(&f);
    }
}
END_TEST

/* The row is named; nothing is off the cylinder either.  */
START_TEST(not_on_earth)
{
    static const double bad[][2] = {{90.5, 0}, {-91, 3}, {1e30, 0}, {NAN, 0}, {0, NAN}, {0, INFINITY}};
    static const double off[][2] = {{1.5, 0}, {-1.001, 0}, {NAN, 0}, {0, INFINITY}};
    double out[4], ld[2];
    layerfix f = layer("{\"type\":\"sphere\"}", 2), r = layer("{\"type\":\"sphere-rotation\"}", 2);
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
        double x[4] = {45, 45, bad[k][0], bad[k][1]};
        ck_assert_int_eq(layerfix_forward(&f, 2, x, NULL, out, ld), DFO_ENUM);
        ck_assert_msg(strstr(f.t->run.text, "sphere: row 1: latitude") && strstr(f.t->run.text, "from -90 to 90"), "%s", f.t->run.text);
    }
    for (size_t k = 0; k < sizeof off / sizeof *off; k++) {
        double z[4] = {0.5, 0.5, off[k][0], off[k][1]};
        ck_assert_int_eq(layerfix_inverse(&f, 2, z, NULL, out, ld), DFO_ENUM);
        ck_assert_msg(strstr(f.t->run.text, "sphere: row 1: height") != NULL, "%s", f.t->run.text);
        ck_assert_int_eq(layerfix_forward(&r, 2, z, NULL, out, ld), DFO_ENUM);
        ck_assert_msg(strstr(r.t->run.text, "sphere-rotation: row 1: height") != NULL, "%s", r.t->run.text);
        ck_assert_int_eq(layerfix_inverse(&r, 2, z, NULL, out, ld), DFO_ENUM);
    }
    layerfix_free(&f);
    size_t n;
    memset(layerfix_array(&r, "quaternion", &n), 0, 4 * sizeof(dfo_real));
    ck_assert_int_eq(layerfix_prepare(&r), DFO_ENUM);
    ck_assert_msg(strstr(r.t->run.text, "no rotation") != NULL, "%s", r.t->run.text);
    layerfix_free(&r);
}
END_TEST

START_TEST(refused)
{
    static const struct { const char *config, *text; size_t d; } bad[] = {
        {"{\"type\":\"sphere\"}", "expected 2 features", 3},
        {"{\"type\":\"sphere-rotation\"}", "expected 2 features", 1},
        {"{\"type\":\"chain\",\"layers\":[{\"type\":\"actnorm\"},{\"type\":\"sphere\"}]}", "sphere: goes first", 2},
        {"{\"type\":\"chain\",\"layers\":[{\"type\":\"actnorm\"},{\"type\":\"part\",\"count\":2,\"layer\":{\"type\":\"sphere\"}}]}",
         "part: goes first", 3},
        {"{\"type\":\"invert\",\"layer\":{\"type\":\"sphere\"}}", "sphere: goes first", 2},
        {"{\"type\":\"dequantise\",\"kind\":\"variational\",\"layer\":{\"type\":\"sphere\"}}", "sphere: goes first", 2},
        {"{\"type\":\"spline-coupling\",\"mask\":[1,1,0],\"input\":\"interval\",\"fade\":true}", "fade: wants", 3},
        {"{\"type\":\"spline-coupling\",\"mask\":\"channels\",\"net\":{\"type\":\"conv\"},\"input\":\"circle\"}", "input: harmonics", 2},
    };
    char text[500];
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
        dfo_status status = layerfix_try(bad[k].config, dfo_shape_vector(bad[k].d), text, sizeof text);
        ck_assert_msg(status == DFO_EARG || status == DFO_ESHAPE, "%s: status %d", bad[k].config, (int)status);
        ck_assert_msg(strstr(text, bad[k].text) != NULL, "%s: %s", bad[k].config, text);
    }
    layerfix f = layerfix_new(json_loads("{\"type\":\"chain\",\"layers\":[{\"type\":\"part\",\"count\":2,\"layer\":{\"type\":\"sphere\"}},"
                                         "{\"type\":\"actnorm\"}]}", 0, NULL), dfo_shape_vector(3), 0, 1);
    ck_assert_int_ne((int)(f.bij->caps & DFO_OWN_MEASURE), 0);
    layerfix_free(&f);
}
END_TEST

/* ---- rotations */

static void point_of(const double *zv, double *u)
{
    double s = sqrt((1 - zv[0]) * (1 + zv[0]));
    u[0] = s * cos(PI * zv[1]);
    u[1] = s * sin(PI * zv[1]);
    u[2] = zv[0];
}

/* u turned about a unit axis (Rodrigues): u cos + (axis x u) sin + axis (axis.u) (1 - cos).  */
static void turn(const double *axis, double angle, const double *u, double *w)
{
    double dot = axis[0] * u[0] + axis[1] * u[1] + axis[2] * u[2];
    for (size_t k = 0; k < 3; k++) {
        size_t l = (k + 1) % 3, m = (k + 2) % 3;
        w[k] = u[k] * cos(angle) + (axis[l] * u[m] - axis[m] * u[l]) * sin(angle) + axis[k] * dot * (1 - cos(angle));
    }
}

static double apart(const double *a, const double *b)
{
    return sqrt((a[0] - b[0]) * (a[0] - b[0]) + (a[1] - b[1]) * (a[1] - b[1]) + (a[2] - b[2]) * (a[2] - b[2]));
}

static void random_axis(test_rng *rng, double *axis)
{
    double length = 0;
    for (size_t k = 0; k < 3; k++) {
        axis[k] = test_rng_normal(rng);
        length += axis[k] * axis[k];
    }
    for (size_t k = 0; k < 3; k++)
        axis[k] /= sqrt(length);
}

/* Of any length but 0.  */
static void set_quaternion(layerfix *f, const char *name, const double *axis, double angle, double length)
{
    size_t n;
    dfo_real *q = layerfix_array(f, name, &n);
    q[0] = (dfo_real)(length * cos(angle / 2));
    for (size_t k = 0; k < 3; k++)
        q[k + 1] = (dfo_real)(length * sin(angle / 2) * axis[k]);
    ck_assert_int_eq(layerfix_prepare(f), DFO_OK);
}

/* As rows are kept; by way of memory, since GCC 12 leaves out the conversions of two neighbours to float and back (-O2).  */
static double rounded(double x)
{
    volatile dfo_real row = (dfo_real)x;
    return (double)row;
}

/* At the ends the rounding of z by one eps moves a point by the root of that.  */
START_TEST(rotations)
{
    test_rng rng = test_rng_new(test_seed());
    layerfix f = layer("{\"type\":\"sphere-rotation\"}", 1);
    for (size_t k = 0; k < test_times(300); k++) {
        double axis[3], angle = test_rng_real(&rng, -PI, PI), ld = 0, out[2], again[2], u[3], w[3], want[3];
        double x[2] = {k % 10 == 0 ? 1 : k % 10 == 1 ? -1 : test_rng_real(&rng, -1, 1), test_rng_real(&rng, -1, 1)};
        x[0] = rounded(x[0]);
        x[1] = rounded(x[1]);
        random_axis(&rng, axis);
        set_quaternion(&f, "quaternion", axis, angle, test_rng_real(&rng, 0.1, 5));
        ck_assert_int_eq(layerfix_forward(&f, 1, x, NULL, out, &ld), DFO_OK);
        point_of(x, u);
        point_of(out, w);
        turn(axis, angle, u, want);
        double room = sqrt((1 - out[0]) * (1 + out[0])), allowed = 8 * EPS / fmax(room, sqrt(EPS));
        ck_assert_msg(ld == 0 && fabs(out[0]) <= 1 && fabs(out[1]) <= 1, "log-det %g, %g %g", ld, out[0], out[1]);
        ck_assert_msg(apart(w, want) <= allowed, "%g %g by %g: %.9g %.9g, off by %g", x[0], x[1], angle, out[0], out[1],
                      apart(w, want));
        ck_assert_int_eq(layerfix_inverse(&f, 1, out, NULL, again, &ld), DFO_OK);
        point_of(again, w);
        room = fmin(room, sqrt((1 - again[0]) * (1 + again[0])));
        ck_assert_msg(apart(w, u) <= 16 * EPS / fmax(room, sqrt(EPS)), "%g %g by %g and back: off by %g", x[0], x[1], angle,
                      apart(w, u));
    }
    layerfix_free(&f);
}
END_TEST

/* Gradients stay numbers at poles, of rows and of what they are turned to.  */
START_TEST(gradients_at_poles)
{
    static const double axis[3] = {1, 0, 0}, z[4] = {1, 0.25, -1, 0}, seed[4] = {1, 1, 1, 1}, none[2] = {0, 0};
    layerfix f = layer("{\"type\":\"sphere-rotation\",\"init\":\"identity\"}", 2), s = layer("{\"type\":\"sphere\"}", 2);
    static const double poles[4] = {90, 30, -90, 0};
    double g[4];
    for (int turned = 0; turned < 2; turned++) {
        set_quaternion(&f, "quaternion", axis, turned ? PI / 2 : 0, 1);
        for (int inverse = 0; inverse < 2; inverse++) {
            ck_assert_int_eq(layerfix_grads(&f, inverse, 2, z, NULL, seed, none, g, NULL, NULL), DFO_OK);
            for (size_t k = 0; k < 4; k++)
                ck_assert_msg(isfinite(g[k]) && isfinite(layerfix_grad(&f, "quaternion")[k]), "gradient %g", g[k]);
        }
    }
    for (int inverse = 0; inverse < 2; inverse++) {
        ck_assert_int_eq(layerfix_grads(&s, inverse, 2, inverse ? z : poles, NULL, seed, none, g, NULL, NULL), DFO_OK);
        ck_assert_msg(isfinite(g[0]) && isfinite(g[1]) && isfinite(g[2]) && isfinite(g[3]), "gradients %g %g", g[0], g[2]);
    }
    layerfix_free(&f);
    layerfix_free(&s);
}
END_TEST

/* A rotation in front turns the density: its value at x is the other's at x turned.  */
START_TEST(turned_density)
{
#define REST                                                                                                             \
    "{\"type\":\"spline-coupling\",\"mask\":[1,0],\"tails\":\"circular\",\"input\":\"interval\",\"fade\":true,\"harmonics\":3,\"tail_bound\":1," \
    "\"zero_init\":false,\"net\":{\"hidden\":[8],\"activation\":\"tanh\"}},"                                                 \
    "{\"type\":\"spline-coupling\",\"mask\":[0,1],\"input\":\"circle\",\"harmonics\":3,\"tail_bound\":1,"                          \
    "\"zero_init\":false,\"net\":{\"hidden\":[8],\"activation\":\"tanh\"}}]}"
    test_rng rng = test_rng_new(test_seed());
    layerfix plain = layer("{\"type\":\"chain\",\"layers\":[{\"type\":\"sphere\"}," REST, 1);
    layerfix turned = layer("{\"type\":\"chain\",\"layers\":[{\"type\":\"sphere\"},{\"type\":\"sphere-rotation\"}," REST, 1);
    const char *const name[] = {"net.w0", "net.b0", "net.w1", "net.b1"};
    for (size_t l = 0; l < 2; l++)
        for (size_t k = 0; k < 4; k++) {
            char from[40], to[40];
            size_t n;
            snprintf(from, sizeof from, "%zu.%s", l + 1, name[k]);
            snprintf(to, sizeof to, "%zu.%s", l + 2, name[k]);
            const dfo_real *w = layerfix_array(&plain, from, &n);
            memcpy(layerfix_array(&turned, to, &n), w, n * sizeof *w);
        }
    double axis[3], spread = 0;
    random_axis(&rng, axis);
    set_quaternion(&turned, "1.quaternion", axis, 1.1, 1);
    for (size_t k = 0; k < test_times(50); k++) {
        double x[2] = {test_rng_real(&rng, -80, 80), test_rng_real(&rng, -180, 180)}, u[3], w[3], out[2], a, b;
        const double zv[2] = {sin(x[0] * DEGREE), x[1] / 180};
        point_of(zv, u);
        turn(axis, 1.1, u, w);
        const double there[2] = {asin(fmax(-1, fmin(1, w[2]))) / DEGREE, atan2(w[1], w[0]) / DEGREE};
        if (fabs(there[0]) > 85)                   /* there float's heights are coarse */
            continue;
        ck_assert_int_eq(layerfix_forward(&turned, 1, x, NULL, out, &a), DFO_OK);
        ck_assert_int_eq(layerfix_forward(&plain, 1, there, NULL, out, &b), DFO_OK);
        ck_assert_msg(fabs(a - b) <= 1e4 * EPS, "%g, %g: %.9g, at the place it is turned to %.9g", x[0], x[1], a, b);
        spread = fmax(spread, fabs(a + log(PI)));
    }
    ck_assert_msg(spread > 0.1, "the density is all but flat: %g", spread);
    layerfix_free(&plain);
    layerfix_free(&turned);
}
END_TEST

/* At the poles longitudes that fade stay as they are, and heights' log-dets do not depend on them; off the poles they move.  */
START_TEST(layers_at_poles)
{
    static const char *const config[] = {
        "{\"type\":\"spline-coupling\",\"mask\":[1,0],\"tails\":\"circular\",\"input\":\"interval\",\"fade\":true,"
        "\"harmonics\":4,\"tail_bound\":1,\"zero_init\":false,\"net\":{\"hidden\":[8],\"activation\":\"tanh\"}}",
        "{\"type\":\"spline-coupling\",\"mask\":[0,1],\"input\":\"circle\",\"harmonics\":4,\"tail_bound\":1,"
        "\"zero_init\":false,\"net\":{\"hidden\":[8],\"activation\":\"tanh\"}}"};
    for (size_t k = 0; k < 2; k++) {
        layerfix f = layer(config[k], 1);
        double out[2], ld, moved = 0;
        for (double v = -0.9; v < 1; v += 0.1)
            for (int place = -1; place <= 1; place++) {
                const double x[2] = {place, (double)(dfo_real)v};
                ck_assert_int_eq(layerfix_forward(&f, 1, x, NULL, out, &ld), DFO_OK);
                if (!place)
                    moved = fmax(moved, fabs(out[0] - x[0]) + fabs(out[1] - x[1]) + fabs(ld));
                else
                    ck_assert_msg(fabs(out[0] - x[0]) + fabs(out[1] - x[1]) + fabs(ld) <= 40 * EPS, "%s: %d, %g: %.9g %.9g, %g", config[k],
                                  place, v, out[0], out[1], ld);
            }
        ck_assert_msg(moved > 0.05, "%s: moves nothing", config[k]);
        layerfix_free(&f);
    }
}
END_TEST

/* What a net is told, against the definitions: cosines and sines of k pi x/B, cos(k acos(x/B)).  */
START_TEST(features)
{
    enum { N = 40, H = 7 };
    size_t columns[2] = {0, 2};
    test_rng rng = test_rng_new(test_seed());
    for (int interval = 0; interval < 2; interval++) {
        dfoi_coupling c = {.features = interval ? DFOI_INTERVAL : DFOI_CIRCLE, .harmonics = H, .each = interval ? H : 2 * H,
                           .spline.bound = 2, .mask = {.na = 2, .nb = 1, .a = columns}};
        dfo_real x[3 * N], pass[N * 2 * 2 * H];
        for (size_t k = 0; k < 3 * N; k++)
            x[k] = (dfo_real)(k < 3 ? -2 : k < 6 ? 2 : k < 9 ? 3 : test_rng_real(&rng, -2, 2));
        dfo_batch to = dfoi_coupling_features(&c, dfo_batch_of(x, N, 3), pass);
        ck_assert_uint_eq(to.d, 2 * c.each);
        for (size_t i = 0; i < N; i++)
            for (size_t j = 0; j < 2; j++)
                for (size_t k = 1; k <= H; k++) {
                    double t = (double)x[3 * i + columns[j]] / 2, inside = fmax(-1, fmin(1, t));
                    double first = interval ? cos((double)k * acos(inside)) : cos((double)k * PI * t);
                    const dfo_real *row = dfo_row(to, i) + j + 2 * (interval ? k - 1 : 2 * (k - 1));
                    ck_assert_msg(fabs((double)row[0] - first) <= 40 * EPS, "feature %zu of %g: %.9g, not %.9g", k, t, (double)row[0],
                                  first);
                    ck_assert_msg(interval || fabs((double)row[2] - sin((double)k * PI * t)) <= 40 * EPS, "sine %zu of %g: %.9g", k, t,
                                  (double)row[2]);
                }
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sphere " DFO_REAL_NAME);
    TCase *t = tcase_create("sphere");
    tcase_add_test(t, places);
    tcase_add_test(t, not_on_earth);
    tcase_add_test(t, refused);
    tcase_add_test(t, rotations);
    tcase_add_test(t, gradients_at_poles);
    tcase_add_test(t, turned_density);
    tcase_add_test(t, layers_at_poles);
    tcase_add_test(t, features);
    suite_add_tcase(suite, t);
    return test_run(suite);
}
