/* The header of NPY files, versions 1.0, 2.0 and 3.0 (NEP 1): 6 bytes of magic, 2 of version, the length
 * of the text (2 bytes, later 4, little-endian), then a Python dictionary with the keys descr,
 * fortran_order and shape.  Nothing in it is believed before it fits the size of the file.  */
#include <stdio.h>
#include <string.h>

#include "base/ctx_impl.h"
#include "data/table_impl.h"

#define LONGEST ((size_t)1 << 20)      /* bytes of header text */

struct scanner {
    const char *at, *end;
};

static void blanks(struct scanner *s)
{
    while (s->at < s->end && strchr(" \t\n\r", *s->at) && *s->at)
        s->at++;
}

static int take(struct scanner *s, char c)
{
    blanks(s);
    if (s->at == s->end || *s->at != c)
        return 0;
    s->at++;
    return 1;
}

/* A quoted word of at most 31 bytes.  */
static int word(struct scanner *s, char to[32])
{
    size_t n = 0;
    blanks(s);
    char quote = s->at < s->end ? *s->at : 0;
    if (quote != '\'' && quote != '"')
        return 0;
    for (s->at++; s->at < s->end && *s->at != quote && n < 31; s->at++)
        to[n++] = *s->at;
    to[n] = 0;
    return take(s, quote);
}

static int literal(struct scanner *s, const char *text)
{
    size_t n = strlen(text);
    blanks(s);
    if ((size_t)(s->end - s->at) < n || memcmp(s->at, text, n))
        return 0;
    s->at += n;
    return 1;
}

/* Digits; a value of 2^64 or more stays at UINT64_MAX, which no file can hold.  */
static int whole(struct scanner *s, uint64_t *out)
{
    const char *start;
    blanks(s);
    *out = 0;
    for (start = s->at; s->at < s->end && *s->at >= '0' && *s->at <= '9'; s->at++)
        if (__builtin_mul_overflow(*out, 10, out) || __builtin_add_overflow(*out, (uint64_t)(*s->at - '0'), out))
            *out = UINT64_MAX;
    return s->at > start;
}

/* "(3, 4)", "(3,)", "()" */
static int tuple(struct scanner *s, dfoi_npy *npy)
{
    if (!take(s, '('))
        return 0;
    for (npy->ndim = 0; !take(s, ')'); npy->ndim++) {
        uint64_t n;
        if (!whole(s, &n))
            return 0;
        if (npy->ndim < 4)
            npy->shape[npy->ndim] = n;
        (void)literal(s, "L");                         /* Python 2 wrote 3L */
        if (!take(s, ',')) {
            npy->ndim++;
            return take(s, ')');
        }
    }
    return 1;
}

static dfo_status type(dfo_ctx *ctx, const char *file, const char *text, dfoi_npy *npy)
{
    static const char *const known[] = {"u1", "u2", "i4", "i8", "f4", "f8"};
    int big = __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__;
    char order = strchr("<>=|", text[0]) && text[0] ? text[0] : '=';
    const char *name = text + (text[0] == order);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcmp(name, known[i])) {
            npy->kind = name[0];
            npy->size = (size_t)(name[1] - '0');
            npy->swap = npy->size > 1 && ((order == '<' && big) || (order == '>' && !big));
            return DFO_OK;
        }
    return dfoi_fail(ctx, DFO_EUNSUP, "%s: elements of type '%s', expected u1, u2, i4, i8, f4 or f8", file, text);
}

/* The dictionary: every key once, nothing else.  */
static dfo_status dictionary(dfo_ctx *ctx, const char *file, struct scanner *s, dfoi_npy *npy)
{
    char key[32], descr[32] = "";
    int have[3] = {0}, fortran = 0, good = take(s, '{');
    while (good && !take(s, '}')) {
        good = word(s, key) && take(s, ':');
        if (good && !strcmp(key, "descr") && !have[0]++) {
            blanks(s);
            if (s->at < s->end && *s->at == '[')
                return dfoi_fail(ctx, DFO_EUNSUP, "%s: records of several fields, expected u1, u2, i4, i8, f4 or f8",
                                 file);
            good = word(s, descr);
        } else if (good && !strcmp(key, "fortran_order") && !have[1]++) {
            fortran = literal(s, "True");
            good = fortran || literal(s, "False");
        } else if (good && !strcmp(key, "shape") && !have[2]++) {
            good = tuple(s, npy);
        } else {
            good = 0;
        }
        if (good && !take(s, ',')) {
            good = take(s, '}');
            break;
        }
    }
    blanks(s);
    if (!good || s->at != s->end || !have[0] || !have[1] || !have[2])
        return dfoi_fail(ctx, DFO_EFORMAT, "%s: damaged NPY header: expected descr, fortran_order and shape", file);
    DFO_TRY(type(ctx, file, descr, npy));
    size_t wide = 0;
    for (size_t i = 0; i < npy->ndim && i < 4; i++)
        wide += npy->shape[i] > 1;
    if (fortran && ((wide > 1 && npy->ndim > 2) || npy->ndim > 4))
        return dfoi_fail(ctx, DFO_EUNSUP, "%s: an array of %zu dimensions in Fortran order, expected C order "
                         "(numpy.ascontiguousarray)", file, npy->ndim);
    npy->by_column = fortran && wide > 1;
    return DFO_OK;
}

static dfo_status sizes(dfo_ctx *ctx, const char *file, size_t n, dfoi_npy *npy)
{
    uint64_t row = 1, all, bytes;
    if (npy->ndim < 1 || npy->ndim > 4)
        return dfoi_fail(ctx, DFO_EUNSUP, "%s: an array of %zu dimensions, expected 1 to 4", file, npy->ndim);
    for (size_t i = 0; i < npy->ndim; i++)
        if (!npy->shape[i])
            return dfoi_fail(ctx, DFO_EFORMAT, "%s: expected rows of numbers, found none (dimension %zu is 0)", file,
                             i + 1);
    int over = 0;
    for (size_t i = 1; i < npy->ndim; i++)
        over |= __builtin_mul_overflow(row, npy->shape[i], &row);
    over |= __builtin_mul_overflow(row, npy->shape[0], &all);
    over |= __builtin_mul_overflow(all, npy->size, &bytes);
    if (over || bytes > SIZE_MAX)
        return dfoi_fail(ctx, DFO_EFORMAT, "%s: the header promises %llu rows, more than can be addressed, but the "
                         "file has %zu bytes", file, (unsigned long long)npy->shape[0], n);
    if (bytes != n - npy->start)
        return dfoi_fail(ctx, DFO_EFORMAT, "%s: %s: the header promises %llu bytes of data, found %zu", file,
                         bytes > n - npy->start ? "truncated" : "too long", (unsigned long long)bytes, n - npy->start);
    npy->elements = (size_t)row;
    return DFO_OK;
}

dfo_status dfoi_npy_header(dfo_ctx *ctx, const char *file, const void *bytes, size_t n, dfoi_npy *out)
{
    const unsigned char *b = bytes;
    *out = (dfoi_npy){0};
    if (n < 6 || memcmp(b, "\x93NUMPY", 6))
        return dfoi_fail(ctx, DFO_EFORMAT, "%s: not a NPY file: expected it to begin with \\x93NUMPY", file);
    if (n < 8)
        return dfoi_fail(ctx, DFO_EFORMAT, "%s: truncated: expected a NPY header, found %zu bytes", file, n);
    if (b[6] < 1 || b[6] > 3)
        return dfoi_fail(ctx, DFO_EUNSUP, "%s: NPY version %d.%d, expected 1, 2 or 3", file, b[6], b[7]);
    size_t front = b[6] == 1 ? 10 : 12;
    size_t length = n < front ? 0
                  : b[6] == 1 ? b[8] | (size_t)b[9] << 8
                              : b[8] | (size_t)b[9] << 8 | (size_t)b[10] << 16 | (size_t)b[11] << 24;
    if (n < front || length > n - front)
        return dfoi_fail(ctx, DFO_EFORMAT, "%s: truncated: expected a NPY header of %zu bytes, the file has %zu", file,
                         front + length, n);
    if (length > LONGEST)
        return dfoi_fail(ctx, DFO_EFORMAT, "%s: a NPY header of %zu bytes, expected at most %zu", file, length,
                         LONGEST);
    struct scanner s = {(const char *)b + front, (const char *)b + front + length};
    out->start = front + length;
    DFO_TRY(dictionary(ctx, file, &s, out));
    return sizes(ctx, file, n, out);
}

dfo_status dfoi_npy_write_head(dfo_file *file, char kind, size_t size, const char *shape)
{
    static const char order = __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? '>' : '<';
    char head[256];
    memset(head, ' ', sizeof head);
    memcpy(head, "\x93NUMPY\x01\x00", 8);
    int n = 10 + snprintf(head + 10, sizeof head - 10, "{'descr': '%c%c%zu', 'fortran_order': False, 'shape': %.128s, }",
                          size == 1 ? '|' : order, kind, size, shape);
    head[n] = ' ';
    size_t all = ((size_t)n + 1 + 63) / 64 * 64;          /* data aligned, as numpy does */
    head[all - 1] = '\n';
    head[8] = (char)((all - 10) & 255);
    head[9] = (char)((all - 10) >> 8);
    return dfoi_file_write(file, head, all);
}
