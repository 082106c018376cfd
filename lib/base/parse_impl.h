/* Numbers from and to text, with care: no locale, nothing but a number.  Private.  */
#ifndef DFOI_PARSE_IMPL_H
#define DFOI_PARSE_IMPL_H

#include <stdint.h>
#include <stddef.h>
#include <diffeo/ctx.h>

/* The whole text must be one number; what names it in the message
 * ("--lr: expected a number, got 'abc'").  Locale-free.  DFO_EARG.  */
dfo_status dfoi_parse_double(dfo_ctx *ctx, const char *text, const char *what, double *out);
dfo_status dfoi_parse_u64(dfo_ctx *ctx, const char *text, const char *what, uint64_t *out);

/* Bytes with an optional suffix K, M, G (1024s).  */
dfo_status dfoi_parse_bytes(dfo_ctx *ctx, const char *text, const char *what, uint64_t *out);

/* 1 and *out if text[0..n-1] is exactly one decimal number (blanks around it allowed; nan, inf,
 * infinity in any case count as numbers; hexadecimal does not), else 0.  Correctly rounded,
 * locale-free; too large gives infinity.  */
int dfoi_number(const char *text, size_t n, double *out);

/* Writes the shortest text of at most 9 (float) or 17 (double) digits that dfoi_number reads back to
 * the same bits (a float through a double); "nan", "inf", "-inf".  Returns its length; 0-terminated.  */
#define DFOI_NUMBER_TEXT 32
size_t dfoi_format_float(float value, char out[DFOI_NUMBER_TEXT]);
size_t dfoi_format_double(double value, char out[DFOI_NUMBER_TEXT]);

#endif
