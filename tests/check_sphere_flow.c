/* Flows on the sphere: densities that are uniform without layers, integrate to 1 over the sphere, and know poles and the date
 * line for single places.  */
#include <check.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <diffeo/flow.h>
#include <diffeo/preset.h>
#include "util.h"

#define EPS ((double)DFO_REAL_EPS)
#define PI 3.14159265358979323846

struct flow {
    dfo_ctx       *ctx;
    dfo_store     *store;
    dfo_flow      *flow;
    dfo_flow_plan *plan;
};

/* The preset, its weights this far from where they begin.  */
static void open_flow(struct flow *f, const char *settings, double noise, test_rng *rng)
{
    json_t *config = json_loads(settings, 0, NULL), *full;
    ck_assert_int_eq(dfo_ctx_new(&f->ctx), DFO_OK);
    ck_assert_int_eq(dfo_store_new(f->ctx, &f->store), DFO_OK);
    ck_assert_msg(dfo_preset_expand(f->ctx, config, dfo_shape_vector(2), &full) == DFO_OK, "%s", dfo_ctx_error(f->ctx));
    dfo_build build = {.ctx = f->ctx, .store = f->store, .seed = test_rng_next(rng) >> 32, .path = "flow",
                       .shape = dfo_shape_vector(2)};
    ck_assert_msg(dfo_flow_new(&build, full, &f->flow) == DFO_OK, "%s", dfo_ctx_error(f->ctx));
    json_decref(config);
    json_decref(full);
    dfo_real *w = dfo_store_weights(f->store);
    for (size_t k = 0; k < dfo_store_weights_size(f->store); k++)
        w[k] += (dfo_real)(noise * test_rng_normal(rng));
    dfo_store_touch(f->store);
    ck_assert_int_eq(dfo_flow_plan_new(f->ctx, f->flow, 0, &f->plan), DFO_OK);
}

static void close_flow(struct flow *f)
{
    dfo_flow_plan_free(f->plan);
    dfo_flow_free(f->flow);
    dfo_store_free(f->store);
    ck_assert_uint_eq(dfo_ctx_bytes(f->ctx), 0);
    dfo_ctx_free(f->ctx);
}

static void log_prob(struct flow *f, size_t n, const dfo_real *x, double *out)
{
    dfo_real *copy = malloc(2 * n * sizeof *copy);
    memcpy(copy, x, 2 * n * sizeof *copy);
    dfo_status status = dfo_flow_log_prob(f->plan, 0, dfo_batch_of(copy, n, 2), NULL, out);
    ck_assert_msg(status == DFO_OK, "seed %llu: %s", (unsigned long long)test_seed(), dfo_ctx_error(f->ctx));
    free(copy);
}

#define SMALL "{\"flow\":\"sphere\",\"layers\":3,\"hidden\":16,\"blocks\":1,\"bins\":6,\"harmonics\":3}"

/* Without layers: 1 over 4 pi everywhere.  */
START_TEST(uniform)
{
    static const dfo_real x[10] = {0, 0, 90, 12, -90, -180, 45, 180, -89, 719};
    test_rng rng = test_rng_new(test_seed());
    struct flow f;
    double out[5];
    open_flow(&f, "{\"flow\":\"sphere\",\"layers\":0}", 0, &rng);
    log_prob(&f, 5, x, out);
    for (size_t k = 0; k < 5; k++)
        ck_assert_msg(fabs(out[k] + log(4 * PI)) <= 100 * EPS, "log p %.9g", out[k]);
    close_flow(&f);
}
END_TEST

/* By the midpoint rule over heights and longitudes.  */
START_TEST(integral)
{
    enum { Z = 400, V = 800 };
    dfo_real *x = malloc(2 * Z * V * sizeof *x);
    double *out = malloc(Z * V * sizeof *out);
    test_rng rng = test_rng_new(test_seed());
    for (size_t i = 0; i < Z * V; i++) {
        x[2 * i] = (dfo_real)(asin(2 * ((double)(i / V) + 0.5) / Z - 1) * 180 / PI);
        x[2 * i + 1] = (dfo_real)(360 * ((double)(i % V) + 0.5) / V - 180);
    }
    for (size_t k = 0; k < test_times(3); k++) {
        struct flow f;
        double sum = 0, low = INFINITY, high = -INFINITY;
        open_flow(&f, SMALL, 0.2, &rng);
        log_prob(&f, Z * V, x, out);
        for (size_t i = 0; i < Z * V; i++) {
            sum += exp(out[i]) * 4 * PI / (Z * V);
            low = fmin(low, out[i]);
            high = fmax(high, out[i]);
        }
        ck_assert_msg(high - low > 0.5, "the density is all but flat: %g to %g", low, high);
        ck_assert_msg(fabs(sum - 1) <= 1e-3, "seed %llu: integral %.6f, log p from %g to %g", (unsigned long long)test_seed(), sum, low,
                      high);
        close_flow(&f);
    }
    free(x);
    free(out);
}
END_TEST

/* A pole is one place whatever its longitude, and its neighbours are like it; so are both sides of the date line.  */
START_TEST(poles_and_date_line)
{
    test_rng rng = test_rng_new(test_seed());
    struct flow f;
    double out[6], scale = 1e4 * EPS;
    open_flow(&f, SMALL, 0.2, &rng);
    for (int south = 0; south < 2; south++) {
        dfo_real pole = south ? -90 : 90, near = south ? (dfo_real)-89.9 : (dfo_real)89.9;
        const dfo_real x[12] = {pole, 0, pole, 77, pole, -180, near, 0, near, 90, near, -120};
        log_prob(&f, 6, x, out);
        ck_assert_msg(out[0] == out[1] && out[0] == out[2], "at the pole: %.9g %.9g %.9g", out[0], out[1], out[2]);
        for (size_t k = 3; k < 6; k++)
            ck_assert_msg(fabs(out[k] - out[0]) <= 0.1, "beside the pole: %g, at it %g", out[k], out[0]);
    }
    for (double latitude = -80; latitude <= 80; latitude += 20) {
        dfo_real l = (dfo_real)latitude;
        const dfo_real x[8] = {l, 180, l, -180, l, 540, l, (dfo_real)179.999};
        log_prob(&f, 4, x, out);
        ck_assert_msg(fabs(out[0] - out[1]) <= scale && fabs(out[0] - out[2]) <= scale && fabs(out[0] - out[3]) <= 1e-2 + scale,
                      "latitude %g: %.9g %.9g %.9g %.9g", latitude, out[0], out[1], out[2], out[3]);
    }
    close_flow(&f);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("flows on the sphere " DFO_REAL_NAME);
    TCase *t = tcase_create("sphere");
    tcase_set_timeout(t, 60);
    tcase_add_test(t, uniform);
    tcase_add_test(t, integral);
    tcase_add_test(t, poles_and_date_line);
    suite_add_tcase(suite, t);
    return test_run(suite);
}
