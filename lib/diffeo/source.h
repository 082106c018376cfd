/* Where rows come from and where they go.  */
#ifndef DIFFEO_SOURCE_H
#define DIFFEO_SOURCE_H

#include <stdint.h>
#include <diffeo/real.h>
#include <diffeo/batch.h>
#include <diffeo/ctx.h>
#include <diffeo/rng.h>
#include <diffeo/words.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dfo_source dfo_source;

typedef struct dfo_source_options {
    const char *format;            /* "csv", "npy", "idx", "cifar10" or "png"; NULL: by content and name */
    const char *columns;           /* "1,3-7,name" counted from 1; "!LIST": all others; NULL: all */
    const char *weights_column;    /* name or number of the column of sample weights, or NULL */
    const char *images;            /* "HxW[xC]": rows are images, or NULL */
    int         allow_nan;         /* 0: a NaN or infinite value is an error naming row and column */
    dfo_words  *words;             /* columns of text tables that may hold words, or NULL; kept until it is open */
    int         labels;            /* 1: the file's labels instead of its rows (see dfo_source_labels) */
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

/* Opens a data set: rows.csv[.gz], rows.npy[.gz], X-idx3-ubyte[.gz], X.bin (CIFAR-10), X.png, a folder of
 * *.png, toy:NAME[:N[:SEED]], "-" (standard input), each with
 * "#A:B" for rows A..B-1 (A or B may be left out).  The format is options->format, else what the content
 * says, else the name; other text is taken for CSV.
 * CSV: one row a line, separated by semicolons, tabs, commas or blanks, as the first line has it; a
 * first row without any number is a header; blank lines are skipped; quotes, CRLF, a UTF-8 mark are fine.
 * Held in memory as doubles in both precisions.  Columns that are not wanted may hold text.
 * NPY: versions 1-3, u1 u2 i4 i8 f4 f8, either byte order, (n), (n,d) in C or Fortran order, images (n,h,w) and (n,h,w,c) in C order.
 * Mapped, not read (gzip and pipes: read), converted whenever rows are read.
 * IDX: bytes in one (labels), two or three dimensions (images).  CIFAR-10: records of a label and 3 x 32 x 32
 * bytes; rows are the images.  Both mapped or unpacked, kept as bytes.
 * PNG: gray or RGB of 8 or 16 bits, palettes as RGB, no alpha; a folder has one row a file, sorted by name,
 * all of one size.  A picture may take 256 MiB, or the context's memory limit if that is set (DFO_ELIMIT).
 * All images are given channel by channel and are discrete: 256 or 65536 levels.
 * Toys: computed whenever rows are read; row i is a function of seed and i.
 * options may be NULL.  DFO_EIO, DFO_EFORMAT, DFO_EARG, DFO_EUNSUP; the message names file, row (counted
 * from 0, as in #A:B), for text its line, and column (counted from 1): what was expected, what was found.  */
dfo_status dfo_source_open(dfo_ctx *ctx, const char *spec, const dfo_source_options *options,
                           dfo_source **out);

/* A source over the caller's rows (not copied; must outlive the source).  */
dfo_status dfo_source_rows(dfo_ctx *ctx, dfo_batch rows, dfo_source **out);

/* Rows first .. first+n-1 of another source (which must outlive this one).  */
dfo_status dfo_source_slice(dfo_ctx *ctx, dfo_source *of, uint64_t first, uint64_t n, dfo_source **out);

/* The rows whose keyed draw falls below (or, with complement, not below) the fraction: a fixed random
 * split, rows in their order; maybe none.  Takes 4 bytes a row; DFO_EUNSUP above 2^32 - 1 rows.  The other
 * source must outlive this one.  */
dfo_status dfo_source_split(dfo_ctx *ctx, dfo_source *of, double fraction, uint64_t seed, int complement,
                            dfo_source **out);

/* Two sources side by side: row i holds a's columns, then b's; weights are a's.  Both must have as many rows
 * (DFO_ESHAPE) and outlive this one.  */
dfo_status dfo_source_join(dfo_ctx *ctx, const dfo_source *a, const dfo_source *b, dfo_source **out);

/* Class labels, one column of numbers from 0: IDX of one dimension, CIFAR-10 (the records' labels), one column of
 * NPY or CSV (options->columns; options may be NULL).  *classes is the largest label and one more.  spec as for
 * dfo_source_open.  DFO_EFORMAT names the first row that is not a whole number from 0 to 9999; DFO_ESHAPE if
 * there is more than a column.  */
dfo_status dfo_source_labels(dfo_ctx *ctx, const char *spec, const dfo_source_options *options,
                             dfo_source **out, size_t *classes);
/* The labels as rows of `classes` numbers, 1 in the label's place and 0 elsewhere: a condition, once it is
 * joined to the data.  The labels must outlive it; reading a label that is no class is DFO_EFORMAT.  */
dfo_status dfo_source_one_hot(dfo_ctx *ctx, const dfo_source *labels, size_t classes, dfo_source **out);
/* The same for `rows` rows of one class; DFO_EARG if there is no such class.  */
dfo_status dfo_source_class(dfo_ctx *ctx, size_t label, size_t classes, uint64_t rows, dfo_source **out);

/* Rows that begin with a picture, with the picture set into the middle of a larger frame of zeros (an odd row or
 * column goes below or to the right); what follows it in the row follows the frame.  The channels stay
 * (DFO_ESHAPE).  The other source must outlive this one.  */
dfo_status dfo_source_frame(dfo_ctx *ctx, const dfo_source *of, dfo_shape picture, dfo_shape frame,
                            dfo_source **out);
/* The pictures of framed rows, moved in place to the rows' first columns: these are returned.  */
dfo_batch dfo_unframe(dfo_batch x, dfo_shape picture, dfo_shape frame);
void dfo_source_free(dfo_source *source);

/* What a source holds, and the name it was opened by (owned by the source).  */
void dfo_source_describe(const dfo_source *source, dfo_source_info *info);
const char *dfo_source_name(const dfo_source *source);
/* Column j's name, or NULL where the file has none.  */
const char *dfo_source_column(const dfo_source *source, size_t j);

/* Copies rows first .. first+n-1 to x (n, d).  Random access.  weight (n) or NULL; 1 where the source has
 * none.  DFO_EFORMAT for a value that is not finite (or too large for float), naming row and column (of the
 * file, for a slice too); DFO_EARG for rows that do not exist; DFO_ESHAPE if x.d is not d.  Any number of
 * threads may read at once, each with a context of its own.  */
dfo_status dfo_source_read(const dfo_source *source, dfo_ctx *ctx, uint64_t first, dfo_batch x, double *weight);

/* Copies rows[0..n-1] (numbers from 0) to x (n, d); otherwise as dfo_source_read.  */
dfo_status dfo_source_gather(const dfo_source *source, dfo_ctx *ctx, const uint64_t *rows, dfo_batch x,
                             double *weight);

/* log p of the toy's true density at x, per row, in nats: for toys that have one (else DFO_EUNSUP).  */
dfo_status dfo_source_true_log_prob(const dfo_source *source, dfo_ctx *ctx, dfo_batch x, double *out);

/* Row at place i of the order in which epoch `epoch` goes through the source; every row comes once an
 * epoch.  Normally a keyed permutation of all rows (dfo_permute_index).  For mapped files larger than half
 * of the machine's memory, by blocks, so that reading stays local: whole blocks of 4,096 rows are permuted,
 * then rows are permuted inside windows of 16 such blocks; the last window also takes what is left over,
 * the rows behind the last whole block included.  0 <= i < rows.  No memory is needed.  */
uint64_t dfo_source_shuffle(const dfo_source *source, dfo_key key, uint64_t epoch, uint64_t i);

/* FNV-1a 64 of the content, as 16 hexadecimal digits and a 0.  Content is: text, NPY, IDX, CIFAR-10: the
 * file's bytes, unpacked (but for text, above 64 MiB: size, first and last MiB); pictures: their pixels likewise; toys: their name; rows in memory: their values.
 * Then which rows of it the source has.  */
void dfo_source_hash(const dfo_source *source, char out[17]);

/* The toys' names: toy:NAME opens each.  "gaussian" also takes a number of columns: toy:gaussian5.  */
size_t dfo_toys(void);
const char *dfo_toy(size_t i);

typedef struct dfo_sink dfo_sink;

/* Opens an output by its name (.npy, .csv), or as format says ("npy", "csv"); "-" is standard output, CSV
 * unless format says otherwise.  rows: how many will come (for the header).  columns: NULL (no header) or d
 * names.  Nothing appears under `path` before dfo_sink_finish; devices and pipes are written directly.
 * NPY holds (rows, d) of dfo_real; CSV the shortest text that reads back to the same bits.  */
dfo_status dfo_sink_open(dfo_ctx *ctx, const char *path, const char *format, uint64_t rows, size_t d,
                         const char *const *columns, dfo_sink **out);
/* The same for one column of doubles in both precisions; NPY is one-dimensional.  column: its name, or NULL.  */
dfo_status dfo_sink_open_doubles(dfo_ctx *ctx, const char *path, const char *format, uint64_t rows,
                                 const char *column, dfo_sink **out);
/* Images of this shape, of 2 to 256 levels (8 bits) or up to 65536 (16): X.png, a grid of `columns` (0: about as
 * many as rows); a
 * folder (it exists, or the name ends in /) with a PNG each, 00000.png and on, which must be empty or new; X.npy,
 * (n,h,w) or (n,h,w,c) of u1 or u2.  format: "png", "npy" or NULL.  Values are rounded and kept within 0 ..
 * levels-1; levels = 0: real values, to NPY alone.  PNG takes 1 or 3 channels (DFO_EARG), a grid is held in memory: at most 256 MiB or the context's
 * memory limit (DFO_ELIMIT), and 65,535 pixels a side.  */
dfo_status dfo_sink_open_images(dfo_ctx *ctx, const char *path, const char *format, uint64_t rows,
                                dfo_shape shape, uint32_t levels, size_t columns, dfo_sink **out);
/* Writes words for their codes, in text; NPY has the codes.  Before the first row.  Takes words.  */
void dfo_sink_words(dfo_sink *sink, dfo_words *words);
/* Appends rows.  DFO_EIO when the file cannot take them; DFO_ESHAPE, DFO_EARG if they are not what was
 * promised.  */
dfo_status dfo_sink_write(dfo_sink *sink, dfo_batch x);
dfo_status dfo_sink_write_doubles(dfo_sink *sink, const double *x, size_t n);
/* Completes the file and puts it in place; fewer rows than promised is an error.  */
dfo_status dfo_sink_finish(dfo_sink *sink);
void dfo_sink_free(dfo_sink *sink);                  /* before finish: the output never appears */

#ifdef __cplusplus
}
#endif
#endif
