/* Numbers from text.  A decimal w 10^e with w < 2^53 and |e| <= 22 is one exact product or quotient
 * (Clinger, "How to read floating point numbers accurately", PLDI 1990); all else goes to strtod_l
 * in the C locale.  */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/ctx_impl.h"
#include "base/parse_impl.h"

#define PLAIN 1000             /* characters that strtod sees as they are */
#define DIGITS 800             /* of longer ones; no rounding of a double needs more than 768 (and a mark) */

static int is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static int is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* The syntax [sign] digits [. digits] [e [sign] digits]: 1 if all n characters are it.  Gives the first
 * 19 digits as *w, how many digits were not taken into it as *dropped, and the power of ten.  */
static int scan(const char *s, size_t n, uint64_t *w, int *dropped, long *exponent)
{
    size_t i = n && (*s == '+' || *s == '-'), digits = 0;
    long shift = 0, e = 0;
    int taken = 0;
    *w = 0;
    *dropped = 0;
    for (int point = 0; i < n && (is_digit(s[i]) || (!point && s[i] == '.')); i++) {
        if (s[i] == '.') {
            point = 1;
            continue;
        }
        digits++;
        if (taken < 19 && (taken || s[i] != '0')) {
            *w = *w * 10 + (uint64_t)(s[i] - '0');
            taken++;
            shift -= point;
        } else if (taken) {
            (*dropped)++;
            shift += !point;
        } else {
            shift -= point;                     /* a leading zero */
        }
    }
    if (!digits)
        return 0;
    if (i < n && (s[i] == 'e' || s[i] == 'E')) {
        int minus = ++i < n && s[i] == '-';
        if (i < n && (s[i] == '+' || s[i] == '-'))
            i++;
        if (i == n)
            return 0;
        for (; i < n && is_digit(s[i]); i++)
            e = e < 1000000000 ? e * 10 + (s[i] - '0') : e;
        e = minus ? -e : e;
    }
    *exponent = e + shift;
    return i == n;
}

/* A longer number as DIGITS digits, a 1 for what follows if that is not zero, and an exponent.  `exponent`
 * belongs to the first 19 digits, as scan gives it.  */
static void shorten(const char *s, size_t n, long exponent, char text[PLAIN + 1])
{
    size_t m = 0, digits = 0;
    int rest = 0;
    if (*s == '-')
        text[m++] = '-';
    for (size_t i = 0; i < n && s[i] != 'e' && s[i] != 'E'; i++) {
        if (!is_digit(s[i]) || (!digits && s[i] == '0'))
            continue;
        if (digits < DIGITS)
            text[m + digits++] = s[i];
        else
            rest |= s[i] != '0';
    }
    if (!digits)
        text[m + digits++] = '0';
    exponent -= digits > 19 ? (long)digits - 19 : 0;
    m += digits;
    if (rest) {
        text[m++] = '1';
        exponent--;
    }
    snprintf(text + m, PLAIN + 1 - m, "e%ld", exponent);
}

static double slow(const char *s, size_t n, long exponent)
{
    char text[PLAIN + 1];
    locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0);     /* glibc: a constant, no memory */
    if (n > PLAIN) {
        shorten(s, n, exponent, text);
    } else {
        memcpy(text, s, n);
        text[n] = 0;
    }
    double x = c ? strtod_l(text, NULL, c) : strtod(text, NULL);
    if (c)
        freelocale(c);
    return x;
}

int dfoi_number(const char *s, size_t n, double *out)
{
    static const double ten[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    uint64_t w;
    int dropped;
    long e;
    while (n && is_blank(*s)) {
        s++;
        n--;
    }
    while (n && is_blank(s[n - 1]))
        n--;
    if (!n)
        return 0;
    int minus = *s == '-';
    if (scan(s, n, &w, &dropped, &e)) {
        if (!dropped && w <= (UINT64_C(1) << 53) && e >= -22 && e <= 22) {
            double x = e < 0 ? (double)w / ten[-e] : (double)w * ten[e];
            *out = minus ? -x : x;
        } else {
            *out = slow(s, n, e);
        }
        return 1;
    }
    if (*s == '+' || *s == '-') {
        s++;
        n--;
    }
    if (n == 3 && !strncasecmp(s, "nan", 3))
        *out = NAN;
    else if ((n == 3 && !strncasecmp(s, "inf", 3)) || (n == 8 && !strncasecmp(s, "infinity", 8)))
        *out = minus ? -HUGE_VAL : HUGE_VAL;
    else
        return 0;
    return 1;
}

dfo_status dfoi_parse_double(dfo_ctx *ctx, const char *text, const char *what, double *out)
{
    if (!dfoi_number(text, strlen(text), out))
        return dfoi_fail(ctx, DFO_EARG, "%s: expected a number, got '%.100s'", what, text);
    return DFO_OK;
}

/* Digits at the start of text; *end behind them.  0 if there are none or they pass 2^64 - 1.  */
static int whole(const char *text, uint64_t *out, const char **end)
{
    *out = 0;
    for (*end = text; is_digit(**end); (*end)++)
        if (__builtin_mul_overflow(*out, 10, out) || __builtin_add_overflow(*out, (uint64_t)(**end - '0'), out))
            return 0;
    return *end > text;
}

dfo_status dfoi_parse_u64(dfo_ctx *ctx, const char *text, const char *what, uint64_t *out)
{
    const char *end;
    if (!whole(text, out, &end) || *end)
        return dfoi_fail(ctx, DFO_EARG, "%s: expected a whole number from 0 to 18446744073709551615, got '%.100s'",
                         what, text);
    return DFO_OK;
}

dfo_status dfoi_parse_bytes(dfo_ctx *ctx, const char *text, const char *what, uint64_t *out)
{
    static const char suffix[] = "KMG";
    const char *end;
    if (whole(text, out, &end)) {
        const char *s = *end ? strchr(suffix, *end >= 'a' ? *end - 'a' + 'A' : *end) : NULL;
        if (!*end)
            return DFO_OK;
        if (s && !end[1] && !__builtin_mul_overflow(*out, UINT64_C(1) << 10 * (s - suffix + 1), out))
            return DFO_OK;
    }
    return dfoi_fail(ctx, DFO_EARG, "%s: expected a number of bytes such as 500M or 2G, got '%.100s'", what, text);
}
