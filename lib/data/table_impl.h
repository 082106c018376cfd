/* Tables of text and the choice of columns: what is read once, in double.  Private.  */
#ifndef DFOI_TABLE_IMPL_H
#define DFOI_TABLE_IMPL_H

#include <stddef.h>
#include <stdint.h>
#include <diffeo/ctx.h>
#include <diffeo/words.h>
#include "base/file_impl.h"

/* Which columns of a file are wanted.  */
typedef struct dfoi_pick {
    size_t *column;         /* (n) counted from 0, in the order wanted; no column twice */
    size_t  n;
    size_t  weights;        /* the column of weights, or DFOI_NO_COLUMN */
} dfoi_pick;
#define DFOI_NO_COLUMN SIZE_MAX

/* Resolves "1,3-7,name" (counted from 1; NULL: all but the weights) and the name or number of the column
 * of weights (or NULL) for a file of `count` columns, names (count) or NULL.  file is for messages.
 * DFO_EARG names the column that is missing or listed twice.  Free with dfoi_pick_free.  */
dfo_status dfoi_pick_columns(dfo_ctx *ctx, const char *file, const char *columns, const char *weights, size_t count,
                             char *const *names, dfoi_pick *out);
void dfoi_pick_free(dfo_ctx *ctx, dfoi_pick *pick);

/* "28x28" or "32x32x3" as h, w, c.  */
dfo_status dfoi_parse_images(dfo_ctx *ctx, const char *text, size_t *h, size_t *w, size_t *c);

/* A table in memory, the wanted columns alone.  */
typedef struct dfoi_table {
    size_t    rows, d;
    double   *value;        /* (rows, d) */
    double   *weight;       /* (rows) or NULL */
    char    **name;         /* (d) or NULL: no header */
    uint64_t  hash;         /* of the file's bytes, unpacked */
} dfoi_table;

/* Reads text to its end (csv.c says what is accepted).  A value that is not a number, or not finite
 * unless allow_nan, in a wanted column is DFO_EFORMAT naming row (from 0), line and column (from 1).  words: NULL, or the columns that
 * may hold some.  */
dfo_status dfoi_csv_read(dfo_ctx *ctx, dfo_file *file, const char *columns, const char *weights, int allow_nan,
                         dfo_words *words, dfoi_table *out);
void dfoi_table_free(dfo_ctx *ctx, dfoi_table *table);

/* What the header of a NPY file says.  */
typedef struct dfoi_npy {
    char     kind;          /* 'u', 'i', 'f' */
    size_t   size;          /* bytes of an element */
    int      swap;          /* bytes are in the other order */
    size_t   ndim;          /* 1 .. 4 */
    uint64_t shape[4];
    size_t   start;         /* where the data begin */
    size_t   elements;      /* product of shape[1 ..]: of a row */
    int      by_column;     /* (n,d), one column after the other: Fortran order */
} dfoi_npy;

/* Checks the whole header against the n bytes of the file.  DFO_EFORMAT or DFO_EUNSUP.  */
dfo_status dfoi_npy_header(dfo_ctx *ctx, const char *file, const void *bytes, size_t n, dfoi_npy *out);

/* Writes a header of version 1.0: elements of `kind` and `size` in the machine's order, shape as "(3, 4)".  */
dfo_status dfoi_npy_write_head(dfo_file *file, char kind, size_t size, const char *shape);

#endif
