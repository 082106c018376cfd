/* Numbers to text: the fewest digits (%g drops trailing zeros) that the reader turns back into the same
 * bits.  Most numbers take the quick way, one product and one quotient; what it cannot do snprintf does.  */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/parse_impl.h"

/* snprintf("%.*g") in the C locale.  */
static size_t print(double value, int digits, char *out)
{
    locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0);     /* glibc: a constant, no memory */
    locale_t old = c ? uselocale(c) : (locale_t)0;
    int n = snprintf(out, DFOI_NUMBER_TEXT, "%.*g", digits, value);
    if (c) {
        uselocale(old);
        freelocale(c);
    }
    return (size_t)n;
}

static size_t constant(const char *text, char *out)
{
    size_t n = strlen(text);
    memcpy(out, text, n + 1);
    return n;
}

/* 10^0 .. 10^22: exact doubles.  */
static const double ten[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                             1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

#define TOO_SHORT SIZE_MAX

static int same(double back, double value, int single)
{
    return single ? (float)back == (float)value : back == value;
}

/* Plain notation of a in [10^-4, 10^15) with at most `digits` <= 15 digits, where %g would use it too and
 * the text reads back; TOO_SHORT where it does not; 0 where snprintf must see to it.  m / 10^p is what the reader computes from the text, m being below 2^53, so
 * whether m was rounded well shows.  */
static size_t quick(double a, int single, int digits, char *out)
{
    int e = 0;
    if (!(a >= 1e-4 && a < 1e15))
        return 0;
    while (a >= ten[e + 1])
        e++;
    while (e <= 0 && a * ten[-e] < 1)
        e--;
    int p = digits - 1 - e;
    if (p < 0 || p > 22)
        return 0;
    uint64_t m = (uint64_t)rint(a * ten[p]);
    if (m >= (uint64_t)ten[digits])
        return 0;
    if (!same((double)m / ten[p], a, single))
        return TOO_SHORT;
    for (; p > 0 && m % 10 == 0; p--)
        m /= 10;
    char text[DFOI_NUMBER_TEXT];
    size_t n = 0;
    for (int k = 0; m || k <= p; k++, m /= 10) {             /* from the right */
        if (k == p && p)
            text[n++] = '.';
        text[n++] = (char)('0' + m % 10);
    }
    for (size_t i = 0; i < n; i++)
        out[i] = text[n - 1 - i];
    out[n] = 0;
    return n;
}

/* Tries digits = from .. to.  */
static size_t shortest(double value, int single, int from, int to, char *out)
{
    double back;
    size_t n = 0;
    if (isnan(value))
        return constant("nan", out);
    if (isinf(value))
        return constant(value < 0 ? "-inf" : "inf", out);
    for (int digits = from; digits <= to; digits++) {
        *out = '-';
        n = digits <= 15 ? quick(fabs(value), single, digits, out + (value < 0)) : 0;
        if (n == TOO_SHORT && digits < to)
            continue;
        if (n && n != TOO_SHORT)
            return n + (value < 0);
        n = print(value, digits, out);
        if (dfoi_number(out, n, &back) && same(back, value, single))
            break;
    }
    return n;
}

size_t dfoi_format_float(float value, char out[DFOI_NUMBER_TEXT])
{
    return shortest((double)value, 1, 6, 9, out);
}

size_t dfoi_format_double(double value, char out[DFOI_NUMBER_TEXT])
{
    return shortest(value, 0, 15, 17, out);
}
