/* Numbers to text: the fewest digits (%g drops trailing zeros) that the reader turns back into the same
 * bits.  */
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
        n = print(value, digits, out);
        if (dfoi_number(out, n, &back) && (single ? (float)back == (float)value : back == value))
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
