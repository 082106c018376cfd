/* Causal convolutions against the reference vectors, and against their definition pixel by pixel.  */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "reflayer.h"
#include "util.h"

/* ---- reference vectors */

static const char *one_of(const char *text, const char *const *file, const char *const *ours)
{
    while (*file && strcmp(*file, text)) {
        file++;
        ours++;
    }
    ck_assert_msg(*file != NULL, "%s", text);
    return *ours;
}

static int reference_case(ref_case c)
{
    static const char *const corner[] = {"TL", "TR", "BL", "BR", NULL},
                             *const ours[] = {"top-left", "top-right", "bottom-left", "bottom-right"},
                             *const first[] = {"unit_lower", "lower_logdiag", "full", NULL},
                             *const diagonal[] = {"unit", "log", "full"};
    ref_array k = ref_need(c, "params.K");
    json_t *config = json_pack("{s:s, s:[I, I], s:s, s:b, s:s}", "type", "causal-conv", "kernel", (json_int_t)k.shape[2],
                               (json_int_t)k.shape[3], "orientation",
                               one_of(ref_text(c, "settings.orientation", ""), corner, ours), "solve",
                               !strcmp(ref_text(c, "settings.use", ""), "solve"), "diagonal",
                               one_of(ref_text(c, "settings.tap00", ""), first, diagonal));
    json_t *sign = json_object_get(c.settings, "sign");
    if (sign)
        json_object_set(config, "sign", sign);
    layerfix f = layerfix_new(config, reflayer_shape(c), 0, reflayer_rows(c));
    reflayer_set_kernel(&f, c);
    if (sign)
        reflayer_set(&f, "log_diagonal", ref_need(c, "params.logdiag"));
    reflayer_check(&f, c);
    reflayer_compare_kernel(&f, c);
    if (sign)
        reflayer_compare_grad(&f, c, "log_diagonal", "logdiag");
    layerfix_free(&f);
    return 1;
}

START_TEST(reference)
{
    reflayer_each("causal_conv", IS_DOUBLE ? 15 : 14, reference_case);
    reflayer_each("causal_solve", IS_DOUBLE ? 15 : 14, reference_case);
}
END_TEST

/* ---- the definition: orientation top-left, diagonal full, so that every weight is a tap */

struct sizes {
    size_t n, c, h, w, kh, kw;
};

static void define(const struct sizes *s, const dfo_real *k, const double *x, double *y)
{
    size_t plane = s->h * s->w, d = s->c * plane;
    for (size_t at = 0; at < s->n * d; at++) {
        size_t row = at / d, o = at % d / plane, h = at % plane / s->w, w = at % s->w;
        double sum = 0;
        for (size_t i = 0; i < s->kh && i <= h; i++)
            for (size_t j = 0; j < s->kw && j <= w; j++)
                for (size_t q = 0; q < s->c; q++)
                    sum += (double)k[((o * s->kh + i) * s->kw + j) * s->c + q] *
                           x[row * d + q * plane + (h - i) * s->w + w - j];
        y[at] = sum;
    }
}

static layerfix fix_new(const struct sizes *s, int solve)
{
    json_t *config = json_pack("{s:s, s:[I, I], s:b, s:s}", "type", "causal-conv", "kernel", (json_int_t)s->kh,
                               (json_int_t)s->kw, "solve", solve, "diagonal", "full");
    return layerfix_new(config, (dfo_shape){s->c, s->h, s->w}, 0, s->n);
}

static void near(const struct sizes *s, const char *what, const double *got, const double *want)
{
    double allowed = (sizeof(dfo_real) == 4 ? 3e-5 : 1e-12), size = 0;
    size_t all = s->n * s->c * s->h * s->w;
    for (size_t i = 0; i < all; i++)
        size = fmax(size, fabs(want[i]));
    for (size_t i = 0; i < all; i++)
        ck_assert_msg(fabs(got[i] - want[i]) <= allowed * (1 + size), "%s, %zu images %zux%zux%zu, kernel %zux%zu: %zu is %.17g, "
                      "expected %.17g (seed %llu)", what, s->n, s->c, s->h, s->w, s->kh, s->kw, i, got[i], want[i],
                      (unsigned long long)test_seed());
}

START_TEST(definition)
{
    static const struct sizes some[] = {{3, 1, 1, 1, 1, 1}, {2, 2, 1, 7, 3, 3}, {2, 3, 5, 2, 4, 5}, {70, 2, 3, 4, 2, 2},
                                        {33, 4, 6, 5, 3, 3}, {1, 5, 9, 11, 1, 3}};
    const struct sizes *s = &some[_i];
    test_rng rng = test_rng_new(test_seed() + (uint64_t)_i);
    size_t all = s->n * s->c * s->h * s->w, count;
    double *x = calloc(all, sizeof *x), *y = calloc(all, sizeof *y), *got = calloc(all, sizeof *got),
           *logdet = calloc(s->n, sizeof *logdet), *back = calloc(s->n, sizeof *back);
    for (size_t i = 0; i < all; i++)
        x[i] = (double)(dfo_real)test_rng_normal(&rng);
    layerfix plain = fix_new(s, 0), solve = fix_new(s, 1);
    dfo_real *k = layerfix_array(&plain, "kernel", &count), *other = layerfix_array(&solve, "kernel", &count);
    for (size_t i = 0; i < count; i++)
        other[i] = k[i] += (dfo_real)(0.1 / sqrt((double)(s->kh * s->kw * s->c)) * test_rng_normal(&rng));
    ck_assert_int_eq(layerfix_prepare(&plain), DFO_OK);
    ck_assert_int_eq(layerfix_prepare(&solve), DFO_OK);
    define(s, k, x, y);
    ck_assert_int_eq(layerfix_forward(&plain, s->n, x, NULL, got, logdet), DFO_OK);
    near(s, "convolution", got, y);
    ck_assert_int_eq(layerfix_inverse(&plain, s->n, y, NULL, got, back), DFO_OK);
    near(s, "its inverse", got, x);
    ck_assert_int_eq(layerfix_forward(&solve, s->n, y, NULL, got, back), DFO_OK);
    near(s, "solve", got, x);
    for (size_t i = 0; i < s->n; i++)
        ck_assert(logdet[i] == -back[i] && (s->c > 1 || fabs(logdet[i]) > 0));
    ck_assert_int_eq(layerfix_inverse(&solve, s->n, x, NULL, got, back), DFO_OK);
    near(s, "inverse of the solve", got, y);
    layerfix_free(&plain);
    layerfix_free(&solve);
    free(x);
    free(y);
    free(got);
    free(logdet);
    free(back);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("causal convolutions " DFO_REAL_NAME);
    TCase *t = tcase_create("causal");
    tcase_add_test(t, reference);
    tcase_add_loop_test(t, definition, 0, 6);
    suite_add_tcase(suite, t);
    return test_run(suite);
}
