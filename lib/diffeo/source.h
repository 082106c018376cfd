/* Where rows come from and where they go.  */
#ifndef DIFFEO_SOURCE_H
#define DIFFEO_SOURCE_H

#include <stdint.h>
#include <diffeo/real.h>
#include <diffeo/batch.h>
#include <diffeo/ctx.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dfo_source dfo_source;

typedef struct dfo_source_options {
    const char *format;            /* "csv" or "npy" for "-"; NULL: by name and content */
    const char *columns;           /* "1,3-7,name" counted from 1, or NULL: all */
    const char *weights_column;    /* name or number of the column of sample weights, or NULL */
    const char *images;            /* "HxW[xC]": rows are images, or NULL */
    int         allow_nan;         /* 0: a NaN or infinite value is an error naming row and column */
} dfo_source_options;

typedef struct dfo_source_info {
    uint64_t  rows;
    dfo_shape shape;               /* of a row; vectors are {d,1,1} */
    int       discrete;            /* rows are integers 0 .. levels-1 (images) */
    uint32_t  levels;              /* 256 or 65536 if discrete */
    int       weighted;
    int       has_entropy;         /* toys: the density is known */
    double    entropy;             /* nats */
} dfo_source_info;

/* Opens a data set, "SPEC" of commands.md: rows.csv[.gz], rows.npy, toy:NAME[:N[:SEED]], "-", with
 * "#A:B" for rows A..B-1.  NPY files are mapped, not read; others are held in memory.  options may be
 * NULL.  The error names file, row and column.  */
dfo_status dfo_source_open(dfo_ctx *ctx, const char *spec, const dfo_source_options *options, dfo_source **out);

/* A source over the caller's rows (not copied; must outlive the source).  */
dfo_status dfo_source_rows(dfo_ctx *ctx, dfo_batch rows, dfo_source **out);

/* Rows first .. first+n-1 of another source (which must outlive this one).  */
dfo_status dfo_source_slice(dfo_ctx *ctx, dfo_source *of, uint64_t first, uint64_t n, dfo_source **out);

/* The rows whose keyed hash falls below (or, with complement, not below) the fraction: a fixed random
 * split.  The other source must outlive this one.  */
dfo_status dfo_source_split(dfo_ctx *ctx, dfo_source *of, double fraction, uint64_t seed, int complement,
                            dfo_source **out);
void dfo_source_free(dfo_source *source);

/* What a source holds, and the name it was opened by (owned by the source).  */
void dfo_source_describe(const dfo_source *source, dfo_source_info *info);
const char *dfo_source_name(const dfo_source *source);
/* Column j's name, or NULL where the file has none.  */
const char *dfo_source_column(const dfo_source *source, size_t j);

/* Copies rows first .. first+n-1 to x (n, d).  Random access.  weight (n) or NULL.  DFO_EFORMAT for a
 * value that is not finite, naming row and column.  Any number of threads may read at once, each with
 * a context of its own.  */
dfo_status dfo_source_read(const dfo_source *source, dfo_ctx *ctx, uint64_t first, dfo_batch x, double *weight);

/* Copies the rows listed.  */
dfo_status dfo_source_gather(const dfo_source *source, dfo_ctx *ctx, const uint64_t *rows, dfo_batch x,
                             double *weight);

/* log p of the toy's true density at x, per row, in nats: for toys that have one (else DFO_EUNSUP).  */
dfo_status dfo_source_true_log_prob(const dfo_source *source, dfo_ctx *ctx, dfo_batch x, double *out);

/* FNV-1a 64 hash of the content and its length, as hexadecimal text (17 bytes with the 0).  */
void dfo_source_hash(const dfo_source *source, char out[17]);

/* The toys.  */
size_t dfo_toys(void);
const char *dfo_toy(size_t i);

typedef struct dfo_sink dfo_sink;

/* Opens an output by its name: .npy, .csv, "-" (CSV unless format says "npy").  rows is the number of
 * rows that will come (for the header).  columns: NULL or d names.  Nothing appears under `path` before
 * dfo_sink_finish.  The type of NPY is dfo_real's, or double where as_double is set.  */
dfo_status dfo_sink_open(dfo_ctx *ctx, const char *path, const char *format, uint64_t rows, size_t d,
                         const char *const *columns, dfo_sink **out);
dfo_status dfo_sink_open_doubles(dfo_ctx *ctx, const char *path, const char *format, uint64_t rows,
                                 const char *column, dfo_sink **out);
dfo_status dfo_sink_write(dfo_sink *sink, dfo_batch x);
dfo_status dfo_sink_write_doubles(dfo_sink *sink, const double *x, size_t n);
/* Completes the file and puts it in place; fewer rows than promised is an error.  */
dfo_status dfo_sink_finish(dfo_sink *sink);
void dfo_sink_free(dfo_sink *sink);                  /* before finish: the output never appears */

#ifdef __cplusplus
}
#endif
#endif
