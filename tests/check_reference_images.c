/* Layers of images against the reference vectors: squeeze, haar, i-RevNet's block, masks of couplings; logit preprocessing and
 * bits per dimension.  */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <diffeo/real.h>
#include <diffeo/dist.h>
#include "reflayer.h"
#include "util.h"

static int squeeze_case(ref_case c)
{
    int slow = !strcmp(ref_text(c, "settings.order", ""), "channel_slow");
    json_t *config = json_pack("{s:s, s:O, s:s}", "type", "squeeze", "block",
                               json_object_get(c.settings, "block"), "order",
                               slow ? "channel-slow" : "offset-slow");
    ref_array z = ref_need(c, "z");
    layerfix f = layerfix_new(config, reflayer_shape(c), 0, reflayer_rows(c));
    dfo_shape out = f.bij->out;
    ck_assert(out.c == z.shape[1] && out.h == z.shape[2] && out.w == z.shape[3]);
    reflayer_check(&f, c);
    double got[144], ld[2];
    ck_assert_uint_le(z.n, 144);
    ck_assert_int_eq(layerfix_forward(&f, reflayer_rows(c), ref_need(c, "x").data, NULL, got, ld), DFO_OK);
    reflayer_compare(c, "integers", z.n, got, z.data, 0);
    layerfix_free(&f);
    return 1;
}

START_TEST(squeeze)
{
    reflayer_each("squeeze", 8, squeeze_case);
}
END_TEST

static int haar_case(ref_case c)
{
    int slow = !strcmp(ref_text(c, "settings.order", ""), "channel_slow");
    json_t *config = json_pack("{s:s, s:s}", "type", "haar", "order", slow ? "channel-slow" : "band-slow");
    layerfix f = layerfix_new(config, reflayer_shape(c), 0, reflayer_rows(c));
    reflayer_check(&f, c);
    layerfix_free(&f);
    return 1;
}

START_TEST(haar)
{
    reflayer_each("haar", 4, haar_case);
}
END_TEST

/* The store has a tap's inputs together, (out, 3, 3, in); the file (out, in, 3, 3).  */
static size_t tap(ref_array file, size_t at)
{
    size_t in = file.shape[1], i = at % in, ij = at / in % 9, o = at / in / 9;
    return (o * in + i) * 9 + ij;
}

static int irevnet_case(ref_case c)
{
    int leading = json_is_true(json_object_get(c.settings, "leading_relu"));
    json_t *config = json_pack("{s:s, s:O, s:b, s:I}", "type", "irevnet", "stride", json_object_get(c.settings, "stride"),
                               "leading", leading, "hidden", (json_int_t)ref_need(c, "params.W1").shape[0]);
    layerfix f = layerfix_new(config, reflayer_shape(c), 0, reflayer_rows(c));
    ref_array z = ref_need(c, "z");
    ck_assert(f.bij->out.c == z.shape[1] && f.bij->out.h == z.shape[2] && f.bij->out.w == z.shape[3]);
    for (int l = 0; l < 3; l++) {
        char mine[16], file[16];
        size_t n;
        snprintf(file, sizeof file, "params.W%d", l + 1);
        snprintf(mine, sizeof mine, "net.w%d", l);
        ref_array from = ref_need(c, file);
        dfo_real *to = layerfix_array(&f, mine, &n);
        ck_assert_uint_eq(n, from.n);
        for (size_t i = 0; i < n; i++)
            to[i] = (dfo_real)from.data[tap(from, i)];
        snprintf(file, sizeof file, "params.b%d", l + 1);
        snprintf(mine, sizeof mine, "net.b%d", l);
        reflayer_set(&f, mine, ref_need(c, file));
    }
    reflayer_check(&f, c);
    for (int l = 0; l < 3; l++) {
        char mine[16], file[16];
        snprintf(file, sizeof file, "W%d", l + 1);
        snprintf(mine, sizeof mine, "net.w%d", l);
        ref_array want = reflayer_grad(c, file);
        const dfo_real *g = layerfix_grad(&f, mine);
        for (size_t i = 0; i < want.n; i++) {
            double got = (double)g[i];
            reflayer_compare(c, file, 1, &got, &want.data[tap(want, i)], reflayer_tolerance(c, "grad"));
        }
        snprintf(file, sizeof file, "b%d", l + 1);
        snprintf(mine, sizeof mine, "net.b%d", l);
        reflayer_compare_grad(&f, c, mine, file);
    }
    layerfix_free(&f);
    return 1;
}

START_TEST(irevnet)
{
    reflayer_each("irevnet_block", 4, irevnet_case);
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
    reflayer_each("masks", 16, mask_case);
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
    reflayer_compare(c, "z", x.n, out, z.data, reflayer_tolerance(c, "z"));
    if (!strcmp(kind, "logit")) {
        reflayer_compare(c, "logdet", x.shape[0], ld, want.data, reflayer_tolerance(c, "logdet"));
        for (size_t i = 0; i < x.shape[0]; i++)
            bpd[i] = dfo_bits_per_dim(ref_need(c, "nats").data[i] + ld[i], (double)x.shape[1], 1);
        reflayer_compare(c, "bits per dimension", x.shape[0], bpd, ref_need(c, "bpd").data,
                IS_DOUBLE ? 1e-10 : 1e-4);
    }
    ck_assert_int_eq(layerfix_inverse(&f, x.shape[0], z.data, NULL, out, ld), DFO_OK);
    double back[64];
    for (size_t i = 0; i < x.n; i++) { /* in parts of the range: z has only so many digits */
        out[i] /= IS_DOUBLE ? 1 : bins;
        back[i] = x.data[i] / (IS_DOUBLE ? 1 : bins);
    }
    reflayer_compare(c, "inverse", x.n, out, back, reflayer_tolerance(c, "inverse"));
    layerfix_free(&f);
    return 1;
}

/* The log-det of the kept columns alone: logit on the part of the row that they are.  */
static int padded_case(ref_case c)
{
    if (strcmp(ref_text(c, "settings.kind", ""), "logit_padded"))
        return 0;
    if (!IS_DOUBLE && ref_number(c, "settings.alpha", 0) < 1e-3)
        return 0;
    ref_array x = ref_need(c, "x"), want = ref_need(c, "logdet");
    double dims = ref_number(c, "settings.dims", 0), out[64], ld[8], bpd[8];
    json_t *config = json_pack("{s:s, s:i, s:{s:s, s:O, s:f, s:O}}", "type", "part", "count", (int)dims, "layer",
                               "type", "logit", "alpha", json_object_get(c.settings, "alpha"), "low", 0.0, "high",
                               json_object_get(c.settings, "bins"));
    layerfix f = layerfix_new(config, dfo_shape_vector(x.shape[1]), 0, x.shape[0]);
    ck_assert_int_eq(layerfix_prepare(&f), DFO_OK);
    ck_assert_int_eq(layerfix_forward(&f, x.shape[0], x.data, NULL, out, ld), DFO_OK);
    reflayer_compare(c, "logdet", x.shape[0], ld, want.data, reflayer_tolerance(c, "logdet"));
    for (size_t i = 0; i < x.shape[0]; i++)
        bpd[i] = dfo_bits_per_dim(ref_need(c, "nats").data[i] + ld[i], dims, 1);
    reflayer_compare(c, "bits per dimension", x.shape[0], bpd, ref_need(c, "bpd").data, IS_DOUBLE ? 1e-12 : 1e-4);
    layerfix_free(&f);
    return 1;
}

static int bits_case(ref_case c)
{
    const char *kind = ref_text(c, "settings.kind", "");
    if (strncmp(kind, "bpd", 3))
        return 0;
    ref_array nats = ref_need(c, "nats");
    double bins = strcmp(kind, "bpd_unit") ? 1 : ref_number(c, "settings.bins", 0), bpd[8];
    ck_assert_uint_le(nats.n, 8);
    for (size_t i = 0; i < nats.n; i++)
        bpd[i] = dfo_bits_per_dim(nats.data[i], ref_number(c, "settings.dims", 0), bins);
    reflayer_compare(c, "bits per dimension", nats.n, bpd, ref_need(c, "bpd").data, ref_tolerance(c, "bpd"));
    return 1;
}

START_TEST(preprocess)
{
    reflayer_each("preprocess", IS_DOUBLE ? 8 : 4, logit_case);
    reflayer_each("preprocess", IS_DOUBLE ? 4 : 2, padded_case);
    reflayer_each("preprocess", 10, bits_case);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("reference images " DFO_REAL_NAME);
    TCase *t = tcase_create("images");
    tcase_add_test(t, squeeze);
    tcase_add_test(t, haar);
    tcase_add_test(t, irevnet);
    tcase_add_test(t, masks);
    tcase_add_test(t, preprocess);
    suite_add_tcase(suite, t);
    return test_run(suite);
}
