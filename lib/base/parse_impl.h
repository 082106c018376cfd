/* Numbers and words from text, with care.  Private.  */
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

/* 1 and *out if text[0..n-1] is exactly one number (spaces around it allowed; nan, inf count as
 * numbers), else 0.  Shortest correctly rounded conversion, locale-free.  */
int dfoi_number(const char *text, size_t n, double *out);

#endif
