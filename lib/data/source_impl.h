/* What a reader gives to a source, and the list of readers.  Private.
 * A new format is one file with a dfoi_reader and one line in registry.c.  */
#ifndef DFOI_SOURCE_IMPL_H
#define DFOI_SOURCE_IMPL_H

#include "base/real_impl.h"
#include <diffeo/source.h>
#include "base/ctx_impl.h"
#include "base/file_impl.h"

struct dfoi_source_ops {
    /* Copies rows to x (n, info.d) and weights to weight (n; or NULL).  Row i is rows[i], or first + i
     * where rows is NULL; all exist.  Reads only; any number of threads at once.  */
    dfo_status (*fetch)(const dfo_source *, dfo_ctx *, const uint64_t *rows, uint64_t first, dfo_batch x,
                        double *weight);
    const char *(*column)(const dfo_source *, size_t j);                          /* absent: no names */
    dfo_status (*log_prob)(const dfo_source *, dfo_ctx *, dfo_batch x, double *out);  /* absent: unknown density */
    uint64_t   (*hash)(const dfo_source *);
    void       (*free)(dfo_source *);                                             /* the state */
};

struct dfo_source {
    const struct dfoi_source_ops *ops;       /* of the data at the root */
    dfo_ctx          *ctx;
    char             *name;
    void             *state;
    dfo_source_info   info;                  /* info.rows: those of this view */
    size_t            d;
    int               allow_nan;
    int               blockwise;             /* shuffle by blocks: a large mapped file */
    const dfo_source *root;                  /* itself, or the source that has the data */
    uint64_t          offset;                /* view without index: row i is the root's offset + i */
    const uint32_t   *index;                 /* (info.rows) row i is the root's index[i]; or NULL */
    uint32_t         *own_index;
};

typedef struct dfoi_reader {
    const char *name;                        /* for --format */
    const char *prefix;                      /* "toy:", or NULL: a file */
    const char *const *suffixes;             /* of file names without .gz, lower case, NULL at the end; or NULL */
    int folders;                             /* 1: takes folders too */
    /* 2: its first bytes say so; 1: they may, if the name says nothing else; 0: no.  Or NULL.  */
    int (*sniff)(const unsigned char *head, size_t n);
    /* Fills ops, state, info, d.  path: what follows the prefix, or the file's name.  file: at its
     * start, never empty, NULL with a prefix or for a folder; taken over on success.  */
    dfo_status (*open)(dfo_source *source, const char *path, dfo_file *file, const dfo_source_options *options);
} dfoi_reader;

extern const dfoi_reader *const dfoi_readers[];          /* NULL at the end */
extern const dfoi_reader dfoi_reader_cifar;
extern const dfoi_reader dfoi_reader_csv;
extern const dfoi_reader dfoi_reader_idx;
extern const dfoi_reader dfoi_reader_npy;
extern const dfoi_reader dfoi_reader_png;
extern const dfoi_reader dfoi_reader_toy;

/* Asks for the `bytes` of a row that is to be read soon: rows of a shuffled minibatch lie anywhere, and
 * waiting for memory is most of what reading them takes.  */
static inline void dfoi_prefetch(const void *row, size_t bytes)
{
    for (size_t at = 0; at < bytes && at < 512; at += 64)
        __builtin_prefetch((const char *)row + at);
}
#define DFOI_AHEAD 8           /* rows */

/* FNV-1a 64 of all bytes; of more than 64 MiB: of the size, the first and the last MiB.  */
uint64_t dfoi_source_hash_bytes(const void *bytes, size_t n);
/* More than half of the machine's memory: shuffling a mapped file would read from disk row by row.  */
int dfoi_source_is_large(size_t bytes);

/* A source without data yet; its name copied.  */
dfo_status dfoi_source_new(dfo_ctx *ctx, const char *name, dfo_source **out);

/* info.shape, discrete and levels from "HxW[xC]" for rows of d values (DFO_EARG if they do not fit), or a
 * vector of d if images is NULL.  */
dfo_status dfoi_source_shape(dfo_source *source, const char *images);

/* DFO_EFORMAT for the first value of row (the root's number `at`) that is not finite, unless allowed.
 * column (d): numbers in the file, or NULL.  wide: the value in the file is finite, so a float is too narrow.  */
dfo_status dfoi_source_check(const dfo_source *source, dfo_ctx *ctx, const dfo_real *row, uint64_t at,
                             const size_t *column);

#endif
