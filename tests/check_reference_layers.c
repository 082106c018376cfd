/* Layers against the reference vectors: output, log-determinant, inverse and every gradient.  */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <diffeo/real.h>
#include "layerfix.h"
#include "reference.h"
#include "util.h"

#ifdef DFO_DOUBLE
#define IS_DOUBLE 1
#else
#define IS_DOUBLE 0
#endif

/* Which array of the file is which of the layer's; entries first, first+step, … of the layer's
 * array.  */
struct name {
    const char *file, *layer;
};

static double tolerance(ref_case c, const char *key)
{
    return IS_DOUBLE ? ref_tolerance(c, key) : !strcmp(key, "grad") ? 1e-3 : 1e-4;
}

static void compare(ref_case c, const char *what, size_t n, const double *got, const double *want,
                    double allowed)
{
    double worst = ref_worst(n, got, want);
    ck_assert_msg(worst <= allowed, "%s: %s: off by %.3g, allowed %.3g", c.name, what, worst,
                  allowed);
}

static void set(layerfix *f, const char *name, ref_array from)
{
    size_t n;
    dfo_real *to = layerfix_array(f, name, &n);
    ck_assert_uint_eq(n, from.n);
    for (size_t i = 0; i < n; i++)
        to[i] = (dfo_real)from.data[i];
}

static ref_array grad_of(ref_case c, const char *name)
{
    char path[64];
    snprintf(path, sizeof path, "grad.%s", name);
    return ref_get(c, path);
}

static void compare_grad(layerfix *f, ref_case c, const char *name, const char *file)
{
    ref_array want = grad_of(c, file);
    const dfo_real *g = layerfix_grad(f, name);
    double *got = malloc(want.n * sizeof *got);
    for (size_t i = 0; i < want.n; i++)
        got[i] = (double)g[i];
    compare(c, file, want.n, got, want.data, tolerance(c, "grad"));
    free(got);
}

/* Everything but the weights' gradients, which stand in the run afterwards.  */
static void check(layerfix *f, ref_case c)
{
    ref_array x = ref_need(c, "x"), z = ref_need(c, "z"), logdet = ref_need(c, "logdet"),
              cond = ref_get(c, "context");
    ref_array gx = ref_get(c, "grad.x"), gcond = ref_get(c, "grad.context");
    size_t n = x.shape[0];
    double *rows = malloc(x.n * sizeof *rows), *ld = malloc(n * sizeof *ld),
           *grows = malloc(x.n * sizeof *grows);
    double *gc = malloc((cond.n + 1) * sizeof *gc);
    dfo_status status = layerfix_prepare(f);
    ck_assert_msg(status == DFO_OK, "%s: %s", c.name, f->t->run.text);
    ck_assert_int_eq(layerfix_forward(f, n, x.data, cond.data, rows, ld), DFO_OK);
    compare(c, "z", x.n, rows, z.data, tolerance(c, "z"));
    compare(c, "logdet", n, ld, logdet.data, tolerance(c, "logdet"));
    if (ref_number(c, "settings.invertible", 1) > 0) {
        ck_assert_int_eq(layerfix_inverse(f, n, z.data, cond.data, rows, ld), DFO_OK);
        compare(c, "inverse", x.n, rows, x.data, tolerance(c, "inverse"));
        for (size_t i = 0; i < n; i++)
            ld[i] = -ld[i];
        compare(c, "logdet of the inverse", n, ld, logdet.data,
                fmax(tolerance(c, "logdet"), tolerance(c, "inverse")));
    }
    if (gx.data) {
        ref_array seed = ref_need(c, "grad.seed_z"), seed_logdet = ref_need(c, "grad.seed_logdet");
        ck_assert_int_eq(layerfix_grads(f, 0, n, x.data, cond.data, seed.data, seed_logdet.data,
                                        grows, gc, rows),
                         DFO_OK);
        compare(c, "gradient of x", x.n, grows, gx.data, tolerance(c, "grad"));
        if (gcond.data)
            compare(c, "gradient of the context", gcond.n, gc, gcond.data, tolerance(c, "grad"));
        compare(c, "rebuilt x", x.n, rows, x.data, tolerance(c, "inverse"));
    }
    free(rows);
    free(ld);
    free(grows);
    free(gc);
}

static dfo_shape shape_of(ref_case c)
{
    ref_array x = ref_need(c, "x");
    return x.dims == 4 ? (dfo_shape){x.shape[1], x.shape[2], x.shape[3]}
                       : dfo_shape_vector(x.shape[1]);
}

static size_t rows_of(ref_case c)
{
    return ref_need(c, "x").shape[0];
}

/* Calls one(case) for each case of a file that this precision can meet; counts them.  */
static void each_case(const char *name, size_t at_least, int (*one)(ref_case c))
{
    ref_file *file = ref_open(name);
    size_t done = 0;
    for (size_t i = 0; i < ref_cases(file); i++) {
        ref_case c = ref_at(file, i);
        if (IS_DOUBLE || !ref_double_only(c))
            done += (size_t)one(c);
    }
    ref_close(file);
    ck_assert_msg(done >= at_least, "%s: only %zu cases", name, done);
}

static int actnorm_case(ref_case c)
{
    layerfix f = layerfix_new(json_pack("{s:s}", "type", "actnorm"), shape_of(c), 0, rows_of(c));
    set(&f, "log_scale", ref_need(c, "params.s"));
    set(&f, "shift", ref_need(c, "params.b"));
    check(&f, c);
    compare_grad(&f, c, "log_scale", "s");
    compare_grad(&f, c, "shift", "b");
    layerfix_free(&f);
    return 1;
}

START_TEST(actnorm)
{
    each_case("actnorm", 3, actnorm_case);
}
END_TEST

/* "lu" holds L below the diagonal, logdiag on it, U above.  */
static double plu_entry(size_t d, size_t at, const char *front, ref_case c)
{
    size_t i = at / d, j = at % d;
    char path[64];
    snprintf(path, sizeof path, "%s.%s", front, i > j ? "L" : i < j ? "U" : "logdiag");
    return ref_need(c, path).data[i == j ? i : at];
}

static int plu_case(ref_case c)
{
    dfo_shape shape = shape_of(c);
    size_t d = shape.c, n;
    int bias = ref_get(c, "params.b").data != NULL;
    json_t *config = json_pack("{s:s, s:O, s:O, s:b}", "type", "linear", "perm",
                               json_object_get(c.settings, "perm"), "sign",
                               json_object_get(c.settings, "sign"), "bias", bias);
    layerfix f = layerfix_new(config, shape, 0, rows_of(c));
    dfo_real *lu = layerfix_array(&f, "lu", &n);
    ck_assert_uint_eq(n, d * d);
    for (size_t i = 0; i < n; i++)
        lu[i] = (dfo_real)plu_entry(d, i, "params", c);
    if (bias)
        set(&f, "bias", ref_need(c, "params.b"));
    check(&f, c);
    double *got = malloc(n * sizeof *got), *want = malloc(n * sizeof *want);
    for (size_t i = 0; i < n; i++) {
        got[i] = (double)layerfix_grad(&f, "lu")[i];
        want[i] = plu_entry(d, i, "grad", c);
    }
    compare(c, "lu", n, got, want, tolerance(c, "grad"));
    if (bias)
        compare_grad(&f, c, "bias", "b");
    free(got);
    free(want);
    layerfix_free(&f);
    return 1;
}

START_TEST(linear_plu)
{
    each_case("linear_plu", 6, plu_case);
}
END_TEST

static int squeeze_case(ref_case c)
{
    int slow = !strcmp(ref_text(c, "settings.order", ""), "channel_slow");
    json_t *config = json_pack("{s:s, s:O, s:s}", "type", "squeeze", "block",
                               json_object_get(c.settings, "block"), "order",
                               slow ? "channel-slow" : "offset-slow");
    ref_array z = ref_need(c, "z");
    layerfix f = layerfix_new(config, shape_of(c), 0, rows_of(c));
    dfo_shape out = f.bij->out;
    ck_assert(out.c == z.shape[1] && out.h == z.shape[2] && out.w == z.shape[3]);
    check(&f, c);
    double got[144], ld[2];
    ck_assert_uint_le(z.n, 144);
    ck_assert_int_eq(layerfix_forward(&f, rows_of(c), ref_need(c, "x").data, NULL, got, ld), DFO_OK);
    compare(c, "integers", z.n, got, z.data, 0);
    layerfix_free(&f);
    return 1;
}

START_TEST(squeeze)
{
    each_case("squeeze", 8, squeeze_case);
}
END_TEST

static int haar_case(ref_case c)
{
    int slow = !strcmp(ref_text(c, "settings.order", ""), "channel_slow");
    json_t *config = json_pack("{s:s, s:s}", "type", "haar", "order", slow ? "channel-slow" : "band-slow");
    layerfix f = layerfix_new(config, shape_of(c), 0, rows_of(c));
    check(&f, c);
    layerfix_free(&f);
    return 1;
}

START_TEST(haar)
{
    each_case("haar", 4, haar_case);
}
END_TEST

/* What an additive coupling of that mask leaves as it was.  */
static int mask_case(ref_case c)
{
    static const char *const name[] = {"checkerboard", "checkerboard-swapped", "channels", "channels-swapped",
                                       "alternate-swapped", "alternate"};
    const char *kind = ref_text(c, "settings.kind", "");
    ref_array mask = ref_need(c, "mask");
    int board = !strcmp(kind, "checkerboard");
    size_t which = !strcmp(kind, "channel") ? 2 : board ? 0 : 4;
    which += ref_number(c, "settings.parity", 0) + ref_number(c, "settings.reversed", 0) > 0;
    dfo_shape shape = board ? (dfo_shape){1, mask.shape[0], mask.shape[1]} : dfo_shape_vector(mask.shape[0]);
    json_t *config = json_pack("{s:s, s:s, s:b, s:{s:s, s:[i]}}", "type", "additive-coupling", "mask", name[which],
                               "zero_init", 0, "net", "type", "mlp", "hidden", 3);
    layerfix f = layerfix_new(config, shape, 0, 1);
    double x[16], z[16], ld;
    ck_assert_uint_le(mask.n, 16);
    for (size_t j = 0; j < mask.n; j++)
        x[j] = 0.5;
    ck_assert_int_eq(layerfix_prepare(&f), DFO_OK);
    ck_assert_int_eq(layerfix_forward(&f, 1, x, NULL, z, &ld), DFO_OK);
    for (size_t j = 0; j < mask.n; j++)
        ck_assert_msg((z[j] == x[j]) == (mask.data[j] > 0), "%s: entry %zu: %g", c.name, j, z[j]);
    layerfix_free(&f);
    return 1;
}

START_TEST(masks)
{
    each_case("masks", 16, mask_case);
}
END_TEST

static json_t *coupling_config(ref_case c, size_t hidden)
{
    const char *transform = ref_text(c, "settings.transform", "");
    json_t *config = json_pack("{s:O, s:{s:s, s:[I, I], s:s}}", "mask",
                               json_object_get(c.settings, "mask"), "net", "type", "mlp", "hidden",
                               (json_int_t)hidden, (json_int_t)hidden, "activation", "tanh");
    ck_assert_ptr_nonnull(config);
    if (!strcmp(transform, "additive")) {
        json_object_set_new(config, "type", json_string("additive-coupling"));
    } else if (!strcmp(transform, "spline")) {
        static const char *const keys[] = {"bins", "min_width", "min_height", "min_derivative",
                                           "tails"};
        json_object_set_new(config, "type", json_string("spline-coupling"));
        json_object_set(config, "tail_bound", json_object_get(c.settings, "bound"));
        for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
            json_object_set(config, keys[i], json_object_get(c.settings, keys[i]));
    } else {
        int sigmoid = !strcmp(transform, "affine_sigmoid");
        json_object_set_new(config, "type", json_string("affine-coupling"));
        json_object_set_new(config, "scale", json_string(sigmoid ? "sigmoid" : "tanh"));
        if (!sigmoid)
            json_object_set(config, "scale_max", json_object_get(c.settings, "scale_max"));
    }
    return config;
}

static int coupling_case(ref_case c)
{
    static const struct name names[] = {{"W1", "net.w0"}, {"b1", "net.b0"}, {"W2", "net.w1"},
                                        {"b2", "net.b1"}, {"W3", "net.w2"}, {"b3", "net.b2"}};
    ref_array cond = ref_get(c, "context"), w2 = ref_need(c, "params.W2");
    layerfix f = layerfix_new(coupling_config(c, w2.shape[0]), shape_of(c),
                              cond.data ? cond.shape[1] : 0, rows_of(c));
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[64];
        snprintf(path, sizeof path, "params.%s", names[i].file);
        set(&f, names[i].layer, ref_need(c, path));
    }
    check(&f, c);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        compare_grad(&f, c, names[i].layer, names[i].file);
    layerfix_free(&f);
    return 1;
}

START_TEST(couplings)
{
    each_case("coupling_affine", 8, coupling_case);
    each_case("coupling_additive", 2, coupling_case);
    each_case("coupling_spline", 3, coupling_case);
}
END_TEST

static int dense_case(ref_case c)
{
    layerfix f =
        layerfix_new(json_pack("{s:s}", "type", "linear-dense"), shape_of(c), 0, rows_of(c));
    set(&f, "w", ref_need(c, "params.W"));
    check(&f, c);
    compare_grad(&f, c, "w", "W");
    layerfix_free(&f);
    return 1;
}

START_TEST(linear_dense)
{
    each_case("linear_dense", 3, dense_case);
}
END_TEST

static int householder_case(ref_case c)
{
    ref_array v = ref_need(c, "params.V");
    json_t *config =
        json_pack("{s:s, s:I}", "type", "householder", "reflections", (json_int_t)v.shape[0]);
    layerfix f = layerfix_new(config, shape_of(c), 0, rows_of(c));
    set(&f, "v", v);
    check(&f, c);
    compare_grad(&f, c, "v", "V");
    layerfix_free(&f);
    return 1;
}

START_TEST(householder)
{
    each_case("householder", 5, householder_case);
}
END_TEST

/* ---- elementwise functions: z purely relative; in float row by row, those that float can hold */

static layerfix elementwise_layer(ref_case c, size_t rows)
{
    char type[32];
    snprintf(type, sizeof type, "%s", ref_text(c, "settings.function", ""));
    for (char *p = type; *p; p++)
        *p = *p == '_' ? '-' : *p;
    json_t *config = json_pack("{s:s}", "type", type);
    if (ref_number(c, "settings.slope", 0) > 0)
        json_object_set(config, "slope", json_object_get(c.settings, "slope"));
    layerfix f = layerfix_new(config, dfo_shape_vector(1), 0, rows);
    ref_array lambda = ref_get(c, "params.lambda");
    if (lambda.data)
        set(&f, "lambda", lambda);
    ck_assert_int_eq(layerfix_prepare(&f), DFO_OK);
    return f;
}

/* Rows where x, z and the gradient mean in this precision what they mean in the file.  */
static size_t usable(ref_case c, double *keep[4])
{
    static const char *const path[] = {"x", "z", "logdet", "grad.x"};
    size_t n = rows_of(c), used = 0;
    for (size_t i = 0; i < n; i++) {
        double x = ref_need(c, "x").data[i], here = (double)(dfo_real)x;
        int good =
            IS_DOUBLE || here == x || fabs(here - x) <= 1e-6 * fmin(fabs(x), fabs(1 - fabs(x)));
        for (size_t a = 0; a < 4 && !IS_DOUBLE; a++) {
            double v = fabs(ref_need(c, path[a]).data[i]);
            good = good && (v == 0 || (v > 1e-30 && v < 1e30));
        }
        for (size_t a = 0; a < 4 && good; a++)
            keep[a][used] = ref_need(c, path[a]).data[i];
        used += (size_t)good;
    }
    return used;
}

static void elementwise_rows(ref_case c, layerfix *f, size_t n, double *const a[4],
                             const double *seed, const double *sl)
{
    double out[32], ld[32], g[32], back[32];
    ck_assert_uint_le(n, 32);
    ck_assert_msg(layerfix_forward(f, n, a[0], NULL, out, ld) == DFO_OK, "%s: %s", c.name,
                  f->t->run.text);
    for (size_t i = 0; i < n; i++) {
        double error = fabs(out[i] - a[1][i]),
               allowed = IS_DOUBLE ? ref_tolerance(c, "z_relative") : 1e-5;
        ck_assert_msg(error <= allowed * fabs(a[1][i]), "%s: x %.17g: z %.17g, not %.17g", c.name,
                      a[0][i], out[i], a[1][i]);
    }
    compare(c, "logdet", n, ld, a[2], tolerance(c, "logdet"));
    ck_assert_int_eq(layerfix_grads(f, 0, n, a[0], NULL, seed, sl, g, NULL, back), DFO_OK);
    compare(c, "gradient", n, g, a[3], tolerance(c, "grad"));
    compare(c, "rebuilt x", n, back, a[0], tolerance(c, "inverse"));
    if (ref_number(c, "settings.invertible", 1) <= 0)
        return;
    ck_assert_msg(layerfix_inverse(f, n, a[1], NULL, out, ld) == DFO_OK, "%s: %s", c.name,
                  f->t->run.text);
    compare(c, "inverse", n, out, a[0], tolerance(c, "inverse"));
}

static int elementwise_case(ref_case c)
{
    double memory[4][32], *keep[4] = {memory[0], memory[1], memory[2], memory[3]}, seed[32], sl[32];
    size_t n = usable(c, keep), all = rows_of(c);
    layerfix f = elementwise_layer(c, all);
    for (size_t i = 0, k = 0; i < all && k < n; i++)
        if (ref_need(c, "x").data[i] == keep[0][k]) {
            seed[k] = ref_need(c, "grad.seed_z").data[i];
            sl[k++] = ref_need(c, "grad.seed_logdet").data[i];
        }
    elementwise_rows(c, &f, n, keep, seed, sl);
    if (n == all && ref_get(c, "grad.lambda").data) {
        ck_assert_int_eq(
            layerfix_grads(&f, 0, n, keep[0], NULL, seed, sl, memory[1], NULL, memory[2]), DFO_OK);
        compare_grad(&f, c, "lambda", "lambda");
    }
    layerfix_free(&f);
    return n > 2;
}

START_TEST(elementwise)
{
    each_case("elementwise", 17, elementwise_case);
}
END_TEST

/* ---- logit preprocessing, and bits per dimension of what it gives */

static int logit_case(ref_case c)
{
    const char *kind = ref_text(c, "settings.kind", "");
    double bins = ref_number(c, "settings.bins", 0);
    if (strncmp(kind, "logit", 5))
        return 0;
    if (!IS_DOUBLE &&
        ref_number(c, "settings.alpha", 0) < 1e-3) /* 0 .. 65536 has no room for 1e-6 there */
        return 0;
    ref_array x = ref_need(c, "x"), z = ref_need(c, "z"), want = ref_need(c, "logdet");
    json_t *config = json_pack("{s:s, s:O, s:f, s:f}", "type", "logit", "alpha",
                               json_object_get(c.settings, "alpha"), "low", 0.0, "high", bins);
    layerfix f = layerfix_new(config, dfo_shape_vector(x.shape[1]), 0, x.shape[0]);
    double out[64], ld[8], bpd[8];
    ck_assert_int_eq(layerfix_prepare(&f), DFO_OK);
    ck_assert_int_eq(layerfix_forward(&f, x.shape[0], x.data, NULL, out, ld), DFO_OK);
    compare(c, "z", x.n, out, z.data, tolerance(c, "z"));
    if (!strcmp(kind, "logit")) {
        compare(c, "logdet", x.shape[0], ld, want.data, tolerance(c, "logdet"));
        for (size_t i = 0; i < x.shape[0]; i++)
            bpd[i] = -(ref_need(c, "nats").data[i] + ld[i]) / ((double)x.shape[1] * log(2));
        compare(c, "bits per dimension", x.shape[0], bpd, ref_need(c, "bpd").data,
                IS_DOUBLE ? 1e-10 : 1e-4);
    }
    ck_assert_int_eq(layerfix_inverse(&f, x.shape[0], z.data, NULL, out, ld), DFO_OK);
    double back[64];
    for (size_t i = 0; i < x.n; i++) { /* in parts of the range: z has only so many digits */
        out[i] /= IS_DOUBLE ? 1 : bins;
        back[i] = x.data[i] / (IS_DOUBLE ? 1 : bins);
    }
    compare(c, "inverse", x.n, out, back, tolerance(c, "inverse"));
    layerfix_free(&f);
    return 1;
}

START_TEST(preprocess)
{
    each_case("preprocess", IS_DOUBLE ? 8 : 4, logit_case);
}
END_TEST

/* ---- splines: each row has parameters of its own, so each row a layer (d splines) of its own */

static void spline_row(ref_case c, size_t i)
{
    static const char *const keys[] = {"bins", "min_width", "min_height", "min_derivative",
                                       "tails"};
    static const char *const names[] = {"widths", "heights", "slopes"};
    ref_array x = ref_need(c, "x"), z = ref_need(c, "z");
    size_t d = x.shape[1], n;
    json_t *config = json_pack("{s:s, s:O}", "type", "spline", "tail_bound",
                               json_object_get(c.settings, "bound"));
    double out[8], ld, g[8], back[8], want[64], got[64];
    for (size_t k = 0; k < sizeof keys / sizeof *keys; k++)
        json_object_set(config, keys[k], json_object_get(c.settings, keys[k]));
    layerfix f = layerfix_new(config, dfo_shape_vector(d), 0, 1);
    for (size_t k = 0; k < 3; k++) {
        char path[64];
        dfo_real *to = layerfix_array(&f, names[k], &n);
        snprintf(path, sizeof path, "params.%s", names[k]);
        for (size_t v = 0; v < n; v++)
            to[v] = (dfo_real)ref_need(c, path).data[i * n + v];
    }
    ck_assert_int_eq(layerfix_prepare(&f), DFO_OK);
    ck_assert_int_eq(layerfix_forward(&f, 1, x.data + i * d, NULL, out, &ld), DFO_OK);
    compare(c, "z", d, out, z.data + i * d, tolerance(c, "z"));
    compare(c, "logdet", 1, &ld, ref_need(c, "logdet").data + i, tolerance(c, "logdet"));
    ck_assert_int_eq(layerfix_inverse(&f, 1, z.data + i * d, NULL, out, &ld), DFO_OK);
    compare(c, "inverse", d, out, x.data + i * d, IS_DOUBLE ? ref_tolerance(c, "inverse") : 1e-3);
    if (ref_get(c, "grad.x").data) {
        ck_assert_int_eq(layerfix_grads(&f, 0, 1, x.data + i * d, NULL,
                                        ref_need(c, "grad.seed_z").data + i * d,
                                        ref_need(c, "grad.seed_logdet").data + i, g, NULL, back),
                         DFO_OK);
        compare(c, "gradient of x", d, g, ref_need(c, "grad.x").data + i * d, tolerance(c, "grad"));
        for (size_t k = 0; k < 3; k++) {
            char path[64];
            snprintf(path, sizeof path, "grad.%s", names[k]);
            (void)layerfix_array(&f, names[k], &n);
            ck_assert_uint_le(n, 64);
            for (size_t v = 0; v < n; v++) {
                want[v] = ref_need(c, path).data[i * n + v];
                got[v] = (double)layerfix_grad(&f, names[k])[v];
            }
            compare(c, names[k], n, got, want, tolerance(c, "grad"));
        }
    }
    layerfix_free(&f);
}

static int spline_case(ref_case c)
{
    if (!IS_DOUBLE && !strcmp(c.name, "at_knots"))     /* float has other knots */
        return 0;
    for (size_t i = 0; i < rows_of(c); i++)
        spline_row(c, i);
    return 1;
}

START_TEST(spline)
{
    each_case("spline_rq", IS_DOUBLE ? 15 : 10, spline_case);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("reference layers " DFO_REAL_NAME);
    TCase *t = tcase_create("layers");
    tcase_add_test(t, actnorm);
    tcase_add_test(t, linear_plu);
    tcase_add_test(t, squeeze);
    tcase_add_test(t, haar);
    tcase_add_test(t, masks);
    tcase_add_test(t, linear_dense);
    tcase_add_test(t, householder);
    tcase_add_test(t, elementwise);
    tcase_add_test(t, preprocess);
    tcase_add_test(t, spline);
    tcase_add_test(t, couplings);
    suite_add_tcase(suite, t);
    return test_run(suite);
}
