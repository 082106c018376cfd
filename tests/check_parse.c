/* Numbers from and to text.  */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <diffeo/ctx.h>
#include "base/parse_impl.h"
#include "util.h"

static uint64_t bits(double x)
{
    uint64_t b;
    memcpy(&b, &x, sizeof b);
    return b;
}

static const struct {
    const char *text;
    double value;
} good[] = {
    {"0", 0}, {"-0", -0.0}, {"1", 1}, {"+5", 5}, {"-2.5", -2.5}, {".5", 0.5}, {"5.", 5}, {"1e3", 1e3}, {"1E+3", 1e3},
    {"1e-3", 1e-3}, {"  7 ", 7}, {"\t8\t", 8}, {"00012.50", 12.5}, {"0.1", 0.1}, {"123456789012345678", 123456789012345678.0},
    {"9007199254740993", 9007199254740993.0}, {"1e22", 1e22}, {"1e23", 1e23}, {"4.9e-324", 4.9e-324}, {"1e-400", 0},
    {"1e400", HUGE_VAL}, {"-1e400", -HUGE_VAL}, {"inf", HUGE_VAL}, {"-Inf", -HUGE_VAL}, {"+INFINITY", HUGE_VAL},
    {"2.2250738585072011e-308", 2.2250738585072011e-308}, {"0e999999999999", 0}, {"1e99999999999999999999", HUGE_VAL},
    {"17976931348623157e292", 1.7976931348623157e308},
    {"0.000000000000000000000000000000000000000000000000000000000000001e63", 1.0},
};

START_TEST(numbers)
{
    double x = 77;
    ck_assert_msg(dfoi_number(good[_i].text, strlen(good[_i].text), &x), "'%s' was refused", good[_i].text);
    ck_assert_msg(bits(x) == bits(good[_i].value), "'%s': expected %.17g, got %.17g", good[_i].text, good[_i].value, x);
}
END_TEST

START_TEST(not_numbers)
{
    static const char *const bad[] = {"", " ", "-", "+", ".", "e5", "1e", "1e+", "1.2.3", "1,5", "0x10", "1 2", "--1", "1-",
                                      "abc", "1abc", "nan(1)", "in", "infin", "1d5", "1_000", "\xef\xbc\x91", "- 1", "1\n"};
    double x;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        ck_assert_msg(!dfoi_number(bad[i], strlen(bad[i]), &x), "'%s' was taken for %g", bad[i], x);
    ck_assert_msg(!dfoi_number("1\0002", 3, &x), "a zero byte was taken for part of a number");
    ck_assert(dfoi_number("12345", 2, &x) && x == 12);
    ck_assert(dfoi_number("NaN", 3, &x) && isnan(x));
    ck_assert(dfoi_number("-nan", 4, &x) && isnan(x));
}
END_TEST

/* Random decimals against strtod, short and very long ones.  */
START_TEST(like_strtod)
{
    test_rng rng = test_rng_new(test_seed());
    for (size_t i = 0; i < test_times(50000); i++) {
        char text[3000];
        size_t n = 0, digits = test_rng_between(&rng, 1, i % 100 ? 25 : 2500), point = test_rng_between(&rng, 0, digits);
        if (test_rng_between(&rng, 0, 1))
            text[n++] = '-';
        for (size_t j = 0; j < digits; j++) {
            if (j == point)
                text[n++] = '.';
            text[n++] = (char)('0' + (i % 7 ? test_rng_between(&rng, 0, 9) : 0));
        }
        if (test_rng_between(&rng, 0, 1))
            n += (size_t)snprintf(text + n, 20, "e%d", (int)test_rng_between(&rng, 0, 660) - 330);
        text[n] = 0;
        double x = 0, y = strtod(text, NULL);
        ck_assert_msg(dfoi_number(text, n, &x) && bits(x) == bits(y), "seed %llu: '%s': expected %.17g, got %.17g",
                      (unsigned long long)test_seed(), text, y, x);
    }
}
END_TEST

/* 2^53 + 1 is half way between two doubles; what stands in the 1,500th digit decides.  */
START_TEST(far_digits)
{
    char text[1600] = "9007199254740993.";
    double x;
    memset(text + 17, '0', 1500);
    ck_assert(dfoi_number(text, 1517, &x) && x == 9007199254740992.0);
    text[1516] = '1';
    ck_assert(dfoi_number(text, 1517, &x) && x == 9007199254740994.0);
}
END_TEST

START_TEST(round_trips)
{
    static const double special[] = {0, -0.0, 1, 0.1, 1.0 / 3, 5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, 1e23,
                                     123456789, 1e15, 1e16, 1e17, 16777217, 0.3, 1e-5, 1e5, -1e-7};
    test_rng rng = test_rng_new(test_seed());
    char text[DFOI_NUMBER_TEXT];
    for (size_t i = 0; i < test_times(30000); i++) {
        uint64_t b = test_rng_next(&rng);
        uint32_t c = (uint32_t)(b >> 7);
        double x, back;
        float y;
        memcpy(&x, &b, sizeof x);
        memcpy(&y, &c, sizeof y);
        if (i < sizeof special / sizeof *special) {
            x = special[i];
            y = (float)x;
        } else if (i % 3 == 0) {
            x = (double)(int64_t)(b % 2000001) / 1000 - 1000;
            y = (float)x;
        }
        size_t n = dfoi_format_double(x, text);
        ck_assert_uint_eq(n, strlen(text));
        ck_assert_msg(dfoi_number(text, n, &back), "%.17g was written as '%s'", x, text);
        ck_assert_msg(isnan(x) ? isnan(back) : bits(back) == bits(x), "%.17g was written as '%s'", x, text);
        n = dfoi_format_float(y, text);
        ck_assert_msg(dfoi_number(text, n, &back), "%.9g was written as '%s'", (double)y, text);
        ck_assert_msg(isnan(y) ? isnan(back) : bits((double)(float)back) == bits((double)y), "%.9g was written as '%s'",
                      (double)y, text);
    }
}
END_TEST

START_TEST(shortest)
{
    static const struct { double x; const char *d, *f; } want[] = {
        {0.1, "0.1", "0.1"}, {1, "1", "1"}, {-2.5, "-2.5", "-2.5"}, {1e10, "10000000000", "1e+10"}, {1.0 / 3, "0.3333333333333333", "0.33333334"},
        {123456, "123456", "123456"}, {1e-7, "1e-07", "1e-07"}, {HUGE_VAL, "inf", "inf"}, {-HUGE_VAL, "-inf", "-inf"},
        {16777216, "16777216", "16777216"}, {0.30000000000000004, "0.30000000000000004", "0.3"},
    };
    char text[DFOI_NUMBER_TEXT];
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        dfoi_format_double(want[i].x, text);
        ck_assert_str_eq(text, want[i].d);
        dfoi_format_float((float)want[i].x, text);
        ck_assert_str_eq(text, want[i].f);
    }
    dfoi_format_double(NAN, text);
    ck_assert_str_eq(text, "nan");
}
END_TEST

/* With a decimal comma in the program's locale nothing changes.  Skipped where no such locale is installed.  */
START_TEST(decimal_comma)
{
    static const char *const name[] = {"de_DE.UTF-8", "de_DE", "fr_FR.UTF-8", "ru_RU.UTF-8"};
    int found = 0;
    for (size_t i = 0; i < sizeof name / sizeof *name && !found; i++)
        found = setlocale(LC_ALL, name[i]) != NULL;
    if (!found) {
        printf("no locale with a decimal comma is installed: skipped\n");
        return;
    }
    char text[DFOI_NUMBER_TEXT];
    double x;
    dfoi_format_double(0.30000000000000004, text);
    ck_assert_str_eq(text, "0.30000000000000004");
    ck_assert(dfoi_number("0.30000000000000004", 19, &x) && x == 0.30000000000000004);
    ck_assert(!dfoi_number("0,5", 3, &x));
}
END_TEST

START_TEST(words)
{
    dfo_ctx *ctx;
    uint64_t u;
    double x;
    ck_assert_int_eq(dfo_ctx_new(&ctx), DFO_OK);
    ck_assert_int_eq(dfoi_parse_u64(ctx, "18446744073709551615", "n", &u), DFO_OK);
    ck_assert(u == UINT64_MAX);
    static const char *const bad[] = {"18446744073709551616", "-1", "", " 1", "1 ", "+1", "1.0", "99999999999999999999999"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ck_assert_msg(dfoi_parse_u64(ctx, bad[i], "--seed", &u) == DFO_EARG, "'%s' was taken for %llu", bad[i],
                      (unsigned long long)u);
        ck_assert_ptr_nonnull(strstr(dfo_ctx_error(ctx), "--seed: expected"));
    }
    static const struct { const char *text; uint64_t bytes; } size[] = {{"0", 0}, {"123", 123}, {"2K", 2048}, {"3m", 3u << 20}, {"5G", (uint64_t)5 << 30}};
    for (size_t i = 0; i < sizeof size / sizeof *size; i++) {
        ck_assert_int_eq(dfoi_parse_bytes(ctx, size[i].text, "--memory", &u), DFO_OK);
        ck_assert(u == size[i].bytes);
    }
    static const char *const badsize[] = {"", "K", "1T", "1KB", "1.5G", "-1K", "99999999999999999999K", "18014398509481984K"};
    for (size_t i = 0; i < sizeof badsize / sizeof *badsize; i++)
        ck_assert_msg(dfoi_parse_bytes(ctx, badsize[i], "--memory", &u) == DFO_EARG, "'%s' was taken", badsize[i]);
    ck_assert_int_eq(dfoi_parse_double(ctx, "1e-3", "--lr", &x), DFO_OK);
    ck_assert(x == 1e-3);
    ck_assert_int_eq(dfoi_parse_double(ctx, "abc", "--lr", &x), DFO_EARG);
    ck_assert_str_eq(dfo_ctx_error(ctx), "--lr: expected a number, got 'abc'");
    dfo_ctx_free(ctx);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("parse");
    TCase *tc = tcase_create("parse");
    tcase_add_loop_test(tc, numbers, 0, sizeof good / sizeof *good);
    tcase_add_test(tc, not_numbers);
    tcase_add_test(tc, like_strtod);
    tcase_add_test(tc, far_digits);
    tcase_add_test(tc, round_trips);
    tcase_add_test(tc, shortest);
    tcase_add_test(tc, decimal_comma);
    tcase_add_test(tc, words);
    suite_add_tcase(suite, tc);
    return test_run(suite);
}
